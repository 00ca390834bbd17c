//! What can be known of an order before it is asked for, and what it means in money. Pure.

use std::sync::Arc;

use jiff::{SignedDuration, Span, Timestamp};

use super::{Order, OrderError};
use crate::domain::{Subscription, SubscriptionStatus};
use crate::microsoft::AvailablePlan;

/// How long after the purchase a cancellation costs nothing.
///
/// Source: marketplace-saas.md section 6.7.
const FREE_FOR: SignedDuration = SignedDuration::from_hours(72);

/// Whether the subscription already is as it was ordered.
pub(super) fn shows(subscription: &Subscription, order: &Order) -> bool {
    match order {
        Order::Plan(plan) => subscription.plan.eq_ignore_ascii_case(plan),
        Order::Quantity(quantity) => subscription.quantity == Some(*quantity),
        Order::Cancel => subscription.status == SubscriptionStatus::Unsubscribed,
    }
}

/// What forbids the order, as far as it can be known here. `plans` are those that Microsoft told:
/// for a plan all there are, for a quantity the present one; none told forbids nothing. `force`
/// leaves to Microsoft what is its to judge.
///
/// # Errors
///
/// [`OrderError`], which says why.
///
/// Source: marketplace-saas.md sections 6.6, 6.7 and 9.
pub(super) fn check(
    subscription: &Subscription,
    order: &Order,
    plans: &[AvailablePlan],
    force: bool,
    now: Timestamp,
) -> Result<(), OrderError> {
    check_status(subscription, order)?;
    let needed = match order {
        Order::Plan(_) | Order::Quantity(_) => "Update",
        Order::Cancel => "Delete",
    };
    let allowed = &subscription.allowed_operations;
    let named = |it: &Arc<str>| it.trim().eq_ignore_ascii_case(needed);
    if !allowed.is_empty() && !allowed.iter().any(named) {
        return Err(OrderError::NotAllowed { id: subscription.id, needed });
    }
    match order {
        Order::Plan(plan) => check_plan(plan, plans, force),
        Order::Quantity(quantity) => check_quantity(*quantity, subscription, plans),
        Order::Cancel if force => Ok(()),
        Order::Cancel => check_term(subscription, now),
    }
}

fn check_status(subscription: &Subscription, order: &Order) -> Result<(), OrderError> {
    let id = subscription.id;
    match &subscription.status {
        SubscriptionStatus::Unsubscribed => Err(OrderError::Ended(id)),
        // Every other state may be left by the customer's or our word.
        _ if *order == Order::Cancel => Ok(()),
        SubscriptionStatus::Suspended => Err(OrderError::Suspended(id)),
        SubscriptionStatus::PendingFulfillmentStart => Err(OrderError::NotActive(id)),
        // What a new word means is Microsoft's to say.
        SubscriptionStatus::Subscribed | SubscriptionStatus::Unrecognized(_) => Ok(()),
    }
}

fn check_plan(plan: &str, plans: &[AvailablePlan], force: bool) -> Result<(), OrderError> {
    if force || plans.is_empty() {
        return Ok(());
    }
    match plans.iter().find(|it| it.plan.eq_ignore_ascii_case(plan)) {
        Some(found) if found.stop_sell => Err(OrderError::StopSell(plan.into())),
        Some(_) => Ok(()),
        None => {
            let offered: Vec<&str> = plans.iter().map(|it| &*it.plan).collect();
            Err(OrderError::NotOffered { plan: plan.into(), offered: offered.join(", ").into() })
        }
    }
}

fn check_quantity(
    quantity: u64,
    subscription: &Subscription,
    plans: &[AvailablePlan],
) -> Result<(), OrderError> {
    let Some(plan) = plans.iter().find(|it| it.plan == subscription.plan) else { return Ok(()) };
    let per_seat = plan.per_seat || plan.min_quantity.is_some() || plan.max_quantity.is_some();
    if !per_seat && subscription.quantity.is_none() {
        return Err(OrderError::FlatRate(Arc::clone(&plan.plan)));
    }
    let (least, most) = (plan.min_quantity.unwrap_or(1), plan.max_quantity.unwrap_or(u64::MAX));
    if (least..=most).contains(&quantity) {
        return Ok(());
    }
    Err(OrderError::Seats { plan: Arc::clone(&plan.plan), least, most: plan.max_quantity })
}

/// Longer terms cannot be ended by us once they are paid for.
fn check_term(subscription: &Subscription, now: Timestamp) -> Result<(), OrderError> {
    if is_free(subscription, now) != Some(false) || !is_long(subscription) {
        return Ok(());
    }
    Err(OrderError::LongTerm { id: subscription.id, over: subscription.term_over() })
}

/// Whether it was bought so recently that its end costs nothing; `None` if that is not known.
fn is_free(subscription: &Subscription, now: Timestamp) -> Option<bool> {
    if subscription.status == SubscriptionStatus::PendingFulfillmentStart {
        return Some(true); // not billed before it is activated
    }
    let bought = subscription.created.or(subscription.term_start)?;
    Some(now.duration_since(bought) <= FREE_FOR)
}

/// Whether the term is a year or longer. The words are an open set: what is no period is not.
fn is_long(subscription: &Subscription) -> bool {
    let unit = subscription.term_unit.as_deref().and_then(|it| it.parse::<Span>().ok());
    unit.is_some_and(|it| it.get_years() >= 1 || it.get_months() >= 12 || it.get_days() >= 360)
}

/// What the order means for those who pay: whole sentences.
///
/// Source: marketplace-saas.md sections 6.6 and 6.7.
pub(super) fn notes(subscription: &Subscription, order: &Order, now: Timestamp) -> Vec<String> {
    let mut notes = Vec::new();
    let mut say = |text: &str| notes.push(text.to_owned());
    match order {
        Order::Plan(_) | Order::Quantity(_) => {
            say("The customer must have agreed to it: from then on they are billed for it.");
        }
        Order::Cancel => {
            say("It ends at once and for good: a new purchase makes a new subscription.");
            match is_free(subscription, now) {
                Some(true) => say(
                    "Bought within the last 72 hours (or never activated): the customer is not \
                     billed, and gets back what was billed already.",
                ),
                Some(false) if is_long(subscription) => say(
                    "Bought more than 72 hours ago for a year or longer: Microsoft lets nobody but \
                     the customer end that, and what is paid stays paid.",
                ),
                Some(false) => say(
                    "Bought more than 72 hours ago: the customer is billed for the whole present \
                     term and gets nothing back.",
                ),
                None => say(
                    "When it was bought is not known: within 72 hours of it the customer is not \
                     billed, later the present term is.",
                ),
            }
            say("Microsoft advises to have customers cancel in the marketplace themselves.");
        }
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::SubscriptionId;
    use uuid::Uuid;

    fn now() -> Timestamp {
        "2026-11-22T12:00:00Z".parse().unwrap()
    }

    /// A live subscription for a month of 25 seats, a week old.
    fn subscription() -> Subscription {
        Subscription {
            id: SubscriptionId::from_uuid(Uuid::from_u128(7)),
            publisher: "vizmaker".into(),
            offer: "viz-suite".into(),
            plan: "team".into(),
            status: SubscriptionStatus::Subscribed,
            quantity: Some(25),
            term_end: Some("2026-12-14T00:00:00Z".parse().unwrap()),
            term_unit: Some("P1M".into()),
            auto_renew: Some(true),
            allowed_operations: ["Delete", "update", "Read"].map(Into::into).to_vec(),
            created: Some("2026-11-15T08:00:00Z".parse().unwrap()),
            ..Subscription::sample()
        }
    }

    fn plan(id: &str, seats: Option<(u64, u64)>) -> AvailablePlan {
        AvailablePlan {
            plan: id.into(),
            name: id.into(),
            private: false,
            min_quantity: seats.map(|it| it.0),
            max_quantity: seats.map(|it| it.1),
            per_seat: seats.is_some(),
            free_trial: false,
            stop_sell: id == "old",
            terms: Vec::new(),
            private_offers: Vec::new(),
        }
    }

    fn plans() -> Vec<AvailablePlan> {
        vec![plan("company", None), plan("team", Some((5, 500))), plan("old", None)]
    }

    fn to(plan: &str) -> Order {
        Order::Plan(plan.into())
    }

    /// The word of the error for a subscription that was changed so, unforced and forced.
    fn check(change: impl Fn(&mut Subscription), order: &Order, unforced: &str, forced: &str) {
        let mut it = subscription();
        change(&mut it);
        let told = |plans: &[AvailablePlan], force| {
            super::check(&it, order, plans, force, now()).map_or_else(|it| it.word(), |()| "fine")
        };
        let both = (told(&plans(), false), told(&plans(), true));
        assert_eq!(both, (unforced, forced), "{order:?} {it:?}");
        if ["not_offered", "stop_sell", "seats", "flat_rate"].contains(&unforced) {
            assert_eq!(told(&[], false), "fine", "nothing told forbids nothing: {order:?}");
        }
    }

    #[test]
    fn a_change_needs_a_live_subscription_that_may_be_updated() {
        let status =
            |it| move |to: &mut Subscription| to.status = SubscriptionStatus::from_word(it);
        for order in [to("company"), Order::Quantity(30)] {
            check(|_| {}, &order, "fine", "fine");
            check(status("Suspended"), &order, "suspended", "suspended");
            check(status("Unsubscribed"), &order, "ended", "ended");
            check(status("PendingFulfillmentStart"), &order, "not_active", "not_active");
            check(status("Frozen"), &order, "fine", "fine");
            let csp = |it: &mut Subscription| it.allowed_operations = vec!["Read".into()];
            check(csp, &order, "not_allowed", "not_allowed");
            check(|it| it.allowed_operations.clear(), &order, "fine", "fine");
        }
    }

    #[test]
    fn a_plan_must_be_offered_and_on_sale_unless_microsoft_is_to_judge() {
        check(|_| {}, &to("COMPANY"), "fine", "fine");
        check(|_| {}, &to("enterprise"), "not_offered", "fine");
        check(|_| {}, &to("old"), "stop_sell", "fine");
    }

    #[test]
    fn seats_keep_to_the_limits_of_the_present_plan() {
        check(|_| {}, &Order::Quantity(5), "fine", "fine");
        check(|_| {}, &Order::Quantity(500), "fine", "fine");
        check(|_| {}, &Order::Quantity(4), "seats", "seats");
        check(|_| {}, &Order::Quantity(501), "seats", "seats");
        let flat = |it: &mut Subscription| (it.plan, it.quantity) = ("company".into(), None);
        check(flat, &Order::Quantity(30), "flat_rate", "flat_rate");
        // The present plan may be missing from the list.
        check(|it| it.plan = "legacy".into(), &Order::Quantity(9_999), "fine", "fine");
    }

    #[test]
    fn long_terms_are_ended_within_72_hours_or_not_by_us() {
        let cancel = Order::Cancel;
        let unit = |it: &'static str| move |to: &mut Subscription| to.term_unit = Some(it.into());
        for short in ["P1M", "P3M", "PAY", ""] {
            check(unit(short), &cancel, "fine", "fine");
        }
        for long in ["P1Y", "P5Y", "P12M", "P18M", "P365D"] {
            check(unit(long), &cancel, "long_term", "fine");
            let fresh = |it: &mut Subscription| {
                it.term_unit = Some(long.into());
                it.created = Some("2026-11-19T12:00:00Z".parse().unwrap());
            };
            check(fresh, &cancel, "fine", "fine");
        }
        let readonly = |it: &mut Subscription| it.allowed_operations = vec!["Update".into()];
        check(readonly, &cancel, "not_allowed", "not_allowed");
        let pending = |it: &mut Subscription| {
            (it.term_unit, it.status) =
                (Some("P1Y".into()), SubscriptionStatus::PendingFulfillmentStart);
        };
        check(pending, &cancel, "fine", "fine");
        check(|it| it.status = SubscriptionStatus::Suspended, &cancel, "fine", "fine");
    }

    #[test]
    fn what_is_so_already_is_seen_whatever_its_case() {
        let it = subscription();
        assert!(shows(&it, &to("Team")) && shows(&it, &Order::Quantity(25)));
        assert!(!shows(&it, &to("company")) && !shows(&it, &Order::Quantity(24)));
        assert!(!shows(&Subscription { quantity: None, ..it.clone() }, &Order::Quantity(25)));
        assert!(!shows(&it, &Order::Cancel));
    }

    #[test]
    fn money_is_spoken_of_by_the_age_of_the_purchase() {
        let said = |change: &dyn Fn(&mut Subscription)| {
            let mut it = subscription();
            change(&mut it);
            notes(&it, &Order::Cancel, now()).join(" ")
        };
        assert!(said(&|_| {}).contains("billed for the whole present term"));
        assert!(said(&|it| it.term_unit = Some("P1Y".into())).contains("nobody but the customer"));
        assert!(said(&|it| it.created = Some(now())).contains("not billed, and gets back"));
        assert!(said(&|it| it.created = None).contains("not known"));
        assert!(notes(&subscription(), &to("company"), now())[0].contains("agreed"));
    }
}
