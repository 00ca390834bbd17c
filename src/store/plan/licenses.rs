//! What licenses mean on disk.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Plan;
use crate::domain::{ActivationWrite, Commit, LicenseId, LicenseUsers, Mirror};
use crate::store::StoreError;
use crate::store::layout::{self, Kind, Table};
use crate::store::record::{ActivationV1, LicenseV1, PackagedV1, SightingsV1};

impl Plan {
    /// Licenses and activations whole; of users the buckets that differ.
    pub(super) fn licenses(
        &mut self,
        commits: &[Commit],
        before: &Mirror,
        after: &Mirror,
    ) -> Result<(), StoreError> {
        let facts = Table::Facts;
        for it in commits.iter().flat_map(|it| &it.licenses) {
            self.put(facts, layout::license(it.id), Kind::License, &LicenseV1::from(it))?;
        }
        for (id, it) in commits.iter().flat_map(|it| &it.packaged) {
            self.put(facts, layout::packaged(*id), Kind::Packaged, &PackagedV1::from(*it))?;
        }
        for write in commits.iter().flat_map(|it| &it.activations) {
            match write {
                ActivationWrite::Put(it) => {
                    let record = ActivationV1::from(it);
                    self.put(facts, layout::activation(it.id), Kind::Activation, &record)?;
                }
                ActivationWrite::Remove(id) => {
                    self.set(facts, layout::activation(*id), Kind::Activation, None);
                }
            }
        }
        for (id, _) in commits.iter().flat_map(|it| &it.sighted) {
            if let Some(all) = after.licenses().sightings(*id) {
                let record = SightingsV1::from(&**all);
                self.put(facts, layout::sightings(*id), Kind::Sightings, &record)?;
            }
        }
        let touched: BTreeSet<LicenseId> =
            commits.iter().flat_map(|it| &it.license_users).map(|(id, _)| *id).collect();
        let none = Arc::new(LicenseUsers::default());
        for id in touched {
            let old = before.licenses().users(id).unwrap_or(&none);
            self.license_users(id, old, after.licenses().users(id).unwrap_or(&none));
        }
        Ok(())
    }

    /// An empty bucket has no record.
    fn license_users(&mut self, id: LicenseId, old: &LicenseUsers, new: &LicenseUsers) {
        let (was, is) = (old.bucket_count(), new.bucket_count());
        if was != is {
            for number in 0..was {
                let key = layout::license_users(id, was, number);
                self.set(Table::Facts, key, Kind::LicenseUsers, None);
            }
        }
        for number in 0..is {
            let Some(bytes) = new.bucket(number) else { continue };
            let was_there = old.bucket(number).filter(|_| was == is).map_or(&[][..], |it| it);
            if *was_there != **bytes {
                let payload = (!bytes.is_empty()).then(|| Arc::clone(bytes));
                let key = layout::license_users(id, is, number);
                self.set(Table::Facts, key, Kind::LicenseUsers, payload);
            }
        }
    }
}
