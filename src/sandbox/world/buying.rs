//! A purchase, and the days it is paid for.

use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, ToSpan as _, civil};
use serde::Deserialize;
use uuid::Uuid;

use super::offer;
use super::orders::{Deed, PATIENCE, Standing, Step, precise};
use super::subscription::{Buyer, Subscription, Term};
use super::{World, WorldError};
use crate::sandbox::story;
use crate::sandbox::wire::later;

/// A purchase to be made.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Purchase {
    /// The customer's Entra tenant.
    pub tenant: Uuid,
    /// Who buys.
    pub user: Uuid,
    /// What the buyer calls it.
    #[serde(default)]
    pub name: String,
    /// `company`, `team` or `enterprise`.
    pub plan: String,
    /// Seats of a per-seat plan.
    #[serde(default)]
    pub quantity: Option<u32>,
    /// Live without an activation, told by a `Subscribe` webhook.
    #[serde(default)]
    pub auto_activate: bool,
    /// A reseller pays: its tenant.
    #[serde(default)]
    pub reseller: Option<Uuid>,
}

impl World {
    /// A customer buys.
    ///
    /// # Errors
    /// No such plan.
    pub fn buy(&mut self, purchase: Purchase) -> Result<Uuid, WorldError> {
        self.settle_orders();
        let plan = offer::plan(&purchase.plan).ok_or(WorldError::Plan(purchase.plan))?;
        let now = self.now();
        let buyer = Buyer {
            email_id: "buyer@customer.example".to_owned(),
            object_id: purchase.user,
            tenant_id: purchase.tenant,
            puid: None,
        };
        let reseller = purchase.reseller.map(|tenant_id| Buyer { tenant_id, ..buyer.clone() });
        let operations =
            if reseller.is_some() { &["Read"][..] } else { &["Delete", "Update", "Read"] };
        let mut bought = Subscription {
            id: self.fresh_odd_id(),
            publisher_id: story::PUBLISHER.to_owned(),
            offer_id: story::SUITE_OFFER.to_owned(),
            name: purchase.name,
            saas_subscription_status: "PendingFulfillmentStart".to_owned(),
            purchaser: reseller.unwrap_or_else(|| buyer.clone()),
            beneficiary: buyer,
            plan_id: plan.id.to_owned(),
            term: Term { start_date: None, end_date: None, term_unit: "P1M".to_owned() },
            auto_renew: true,
            is_test: false,
            is_free_trial: false,
            allowed_customer_operations: operations.iter().map(|&it| it.to_owned()).collect(),
            sandbox_type: "None".to_owned(),
            created: precise(now),
            last_modified: "0001-01-01T00:00:00".to_owned(),
            quantity: plan.seats_for(purchase.quantity),
            session_mode: "None".to_owned(),
        };
        if purchase.auto_activate {
            start(&mut bought, now);
            self.happen(Deed::Subscribe, &bought, &bought, Standing::Succeeded, now);
        } else {
            self.put_subscription(&bought);
            self.plan_step(later(now, PATIENCE), Step::PendingOver(bought.id));
        }
        Ok(bought.id)
    }
}

/// Live from this day on.
pub(super) fn start(subscription: &mut Subscription, at: Timestamp) {
    "Subscribed".clone_into(&mut subscription.saas_subscription_status);
    set_term(&mut subscription.term, at);
}

/// A term that begins on this day; its end is its last valid day. What is no period is a month.
/// Source: marketplace-saas.md 5.3.
pub(super) fn set_term(term: &mut Term, at: Timestamp) {
    let unit: Span = term.term_unit.parse().unwrap_or(1.month());
    let first = at.to_zoned(TimeZone::UTC).date();
    let last = first.checked_add(unit).and_then(civil::Date::yesterday).unwrap_or(first);
    term.start_date = Some(format!("{first}T00:00:00Z"));
    term.end_date = Some(format!("{last}T00:00:00Z"));
}
