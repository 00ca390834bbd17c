//! The licence report and deals, in the mirror.

use std::sync::Arc;

use super::{Mirror, TenantView};
use crate::domain::{
    Commit, Deal, DealId, Plan, ReportedLicence, Subscription, SubscriptionStatus, TenantId,
};

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

    /// Those with this tenant.
    pub fn deals_of(&self, tenant: TenantId) -> &[Arc<Deal>] {
        self.dealt.get(&tenant).map_or(&[], |deals| deals)
    }

    /// The deal of this number.
    pub fn deal(&self, id: DealId) -> Option<&Arc<Deal>> {
        self.deals.get(&id)
    }

    /// Whether the tenant is known to have licences of the plan that its directory does not list: by
    /// a usage right of anybody there, by the licence report, by a deal, or by its subscription to a
    /// plan whose licences Microsoft manages. Who holds them is then known only of users whose usage
    /// rights were read.
    ///
    /// A figure that is masked may be any. A deal's end switches nothing off.
    ///
    /// Source: `graph-licensing.md` section 0.1, `visuals-and-isv.md` sections 4.3 and 4.5.
    pub fn hides(&self, view: &TenantView, plan: &Plan) -> bool {
        let tenant = view.tenant.id;
        let reported = |it: &ReportedLicence| {
            plan.service_id.matches(&it.service_id)
                && (it.provisioned != Some(0) || it.assigned.is_some_and(|it| it > 0))
        };
        let dealt = |it: &Arc<Deal>| it.service_id == plan.service_id && it.licences > 0;
        let bought = |it: &Arc<Subscription>| {
            let goes_on = match it.status {
                SubscriptionStatus::Subscribed | SubscriptionStatus::Suspended => true,
                SubscriptionStatus::PendingFulfillmentStart
                | SubscriptionStatus::Unsubscribed
                | SubscriptionStatus::Unrecognized(_) => false,
            };
            goes_on && it.quantity != Some(0) && it.is_of(&plan.service_id)
        };
        !view.lists(plan)
            && (view.rights.shows(plan, &view.mappings)
                || self.reported_of(tenant).iter().any(reported)
                || self.deals_of(tenant).iter().any(dealt)
                || self.subscriptions_of(tenant).any(bought))
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
            let before = match deal {
                Some(it) => self.deals.insert(*id, Arc::clone(it)),
                None => self.deals.remove(id),
            };
            for tenant in before.iter().chain(deal).map(|it| it.tenant).collect::<Vec<_>>() {
                let theirs = self.deals.values().filter(|it| it.tenant == tenant).cloned();
                self.dealt.insert(tenant, theirs.collect());
            }
        }
    }
}
