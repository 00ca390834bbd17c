//! Subscriptions that no product of the catalog is sold by: they give no right, so they are counted.

use crate::domain::{Catalog, Channel, Mirror, Subscription, SubscriptionStatus};

/// Live subscriptions whose offer and plan no product has. Another deployment of the same publisher
/// may sell them, or the catalog lacks them.
///
/// Source: `marketplace-saas.md` section 2.1: all offers of a publisher are listed.
pub(super) fn count(mirror: &Mirror, catalog: &Catalog) -> i64 {
    let ours = |it: &Subscription| {
        let mut plans = catalog.products().flat_map(|it| &it.plans);
        plans.any(|plan| plan.channel == Channel::Saas && it.is_of(&plan.service_id))
    };
    let live = mirror.subscriptions().filter(|it| it.status != SubscriptionStatus::Unsubscribed);
    i64::try_from(live.filter(|it| !ours(it)).count()).unwrap_or(i64::MAX)
}
