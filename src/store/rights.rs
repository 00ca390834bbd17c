//! Usage rights and what was learned of tenants, to disk and back.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::StoreError;
use super::layout::{self, Kind, Table};
use super::load::Parts;
use super::plan::Plan;
use super::record::{self, LearnedV1, RightsV1};
use crate::domain::{Commit, MappingWrite, Mirror, UserId};

/// Takes in a record as it comes by.
pub(super) fn take(
    commit: &mut Commit,
    key: &[u8],
    kind: Kind,
    payload: &[u8],
) -> Result<(), StoreError> {
    let tenant = Parts(key).skip(1)?.tenant()?;
    if kind == Kind::Rights {
        let users = record::decode::<RightsV1>(kind, payload)?.users()?;
        commit.rights.extend(users.into_iter().map(|(user, it)| (tenant, user, Some(it))));
    } else {
        let (source, mappings) = record::decode::<LearnedV1>(kind, payload)?.open()?;
        commit.rights_sources.push((tenant, source));
        let proposed = mappings.into_iter().map(MappingWrite::Propose);
        commit.mappings.extend(proposed.map(|it| (tenant, it)));
    }
    Ok(())
}

impl Plan {
    /// A record a sixteenth of a tenant's users: most are looked up together.
    pub(super) fn rights(&mut self, commits: &[Commit], after: &Mirror) -> Result<(), StoreError> {
        let of = |user: &UserId| user.as_bytes().first().map_or(0, |it| it >> 4);
        let rights = commits.iter().flat_map(|it| &it.rights);
        let touched: BTreeSet<_> = rights.map(|(tenant, user, _)| (*tenant, of(user))).collect();
        for (tenant, sixteenth) in touched {
            let least = |it: u8| UserId::from_uuid(Uuid::from_u128(u128::from(it) << 124));
            let key = layout::rights(tenant, sixteenth);
            let table = after.tenant(tenant).map(|it| it.rights.from(least(sixteenth)));
            let users = table.into_iter().flatten().take_while(|(user, _)| of(user) == sixteenth);
            let record: RightsV1 = users.collect();
            if record.is_empty() {
                self.set(Table::Facts, key, Kind::Rights, None);
            } else {
                self.put(Table::Facts, key, Kind::Rights, &record)?;
            }
        }
        Ok(())
    }

    /// What became of proposals is the mirror's to say.
    pub(super) fn learned(&mut self, commits: &[Commit], after: &Mirror) -> Result<(), StoreError> {
        let sources = commits.iter().flat_map(|it| &it.rights_sources).map(|(tenant, _)| *tenant);
        let mappings = commits.iter().flat_map(|it| &it.mappings).map(|(tenant, _)| *tenant);
        for tenant in sources.chain(mappings).collect::<BTreeSet<_>>() {
            let Some(view) = after.tenant(tenant) else { continue };
            let record = LearnedV1::new(&view.rights_source, &view.mappings);
            self.put(Table::Facts, layout::learned(tenant), Kind::Learned, &record)?;
        }
        Ok(())
    }
}
