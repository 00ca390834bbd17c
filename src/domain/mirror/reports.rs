//! The licence report and deals, in the mirror.

use std::sync::Arc;

use super::Mirror;
use crate::domain::{Commit, Deal, DealId, ReportedLicence, TenantId};

impl Mirror {
    /// The lines of the licence report, tenant by tenant.
    pub fn reported(&self) -> impl Iterator<Item = (TenantId, &Arc<[ReportedLicence]>)> {
        self.reported.iter().map(|(tenant, lines)| (*tenant, lines))
    }

    /// The lines of the licence report about this tenant.
    pub fn reported_of(&self, tenant: TenantId) -> &[ReportedLicence] {
        self.reported.get(&tenant).map_or(&[], |lines| lines)
    }

    /// All deals that were entered by hand.
    pub fn deals(&self) -> impl Iterator<Item = &Arc<Deal>> {
        self.deals.values()
    }

    /// The deal of this number.
    pub fn deal(&self, id: DealId) -> Option<&Arc<Deal>> {
        self.deals.get(&id)
    }

    pub(super) fn put_reports(&mut self, commit: &Commit) {
        for (tenant, lines) in &commit.reported {
            if lines.is_empty() {
                self.reported.remove(tenant);
            } else {
                self.reported.insert(*tenant, lines.as_slice().into());
            }
        }
        for (id, deal) in &commit.deals {
            match deal {
                Some(it) => drop(self.deals.insert(*id, Arc::clone(it))),
                None => drop(self.deals.remove(id)),
            }
        }
    }
}
