//! What Microsoft is answered when it asks whether a change may happen. Pure.

use crate::config::AcceptChanges;
use crate::domain::{Action, Catalog, Channel, OperationStatus, RequestSource, Subscription};
use crate::microsoft::{Operation, Verdict};

/// What an offer in preview has behind its name.
const PREVIEW: &str = "-preview";

/// Our answer, if Microsoft waits for one: only for changes that a customer asked for, and never
/// for our own.
///
/// A reinstatement is always welcome. Taking back a change that did not come to pass is too:
/// Microsoft then names the plan and quantity that the subscription has.
///
/// Source: contract section 5; `marketplace-saas.md` sections 8.2 and 8.8.
pub(super) fn verdict(
    operation: &Operation,
    known: Option<&Subscription>,
    catalog: &Catalog,
    accept: AcceptChanges,
) -> Option<Verdict> {
    let waits =
        operation.status == OperationStatus::InProgress && operation.source == RequestSource::Azure;
    if !waits {
        return None;
    }
    match operation.action {
        Action::Reinstate => Some(Verdict::Success),
        Action::ChangePlan | Action::ChangeQuantity => {
            let welcome = match accept {
                AcceptChanges::Always => true,
                AcceptChanges::KnownPlans => {
                    is_taking_back(operation, known) || is_known_plan(operation, known, catalog)
                }
            };
            Some(if welcome { Verdict::Success } else { Verdict::Failure })
        }
        Action::Suspend
        | Action::Unsubscribe
        | Action::Renew
        | Action::Subscribe
        | Action::Unrecognized(_) => None,
    }
}

fn is_taking_back(operation: &Operation, known: Option<&Subscription>) -> bool {
    known.is_some_and(|it| match operation.action {
        Action::ChangePlan => operation.plan.as_ref() == Some(&it.plan),
        Action::ChangeQuantity => operation.quantity == it.quantity,
        Action::Suspend
        | Action::Unsubscribe
        | Action::Reinstate
        | Action::Renew
        | Action::Subscribe
        | Action::Unrecognized(_) => false,
    })
}

/// Whether the plan is in the catalog; without a subscription the offer is not known either.
fn is_known_plan(operation: &Operation, known: Option<&Subscription>, catalog: &Catalog) -> bool {
    let Some(known) = known else { return false };
    let plan = operation.plan.as_ref().unwrap_or(&known.plan);
    let offer = known.offer.strip_suffix(PREVIEW).unwrap_or(&known.offer);
    let mut plans = catalog.products().flat_map(|it| &it.plans);
    plans.any(|it| {
        let id = &it.service_id;
        let offers = [offer, &known.offer];
        it.channel == Channel::Saas
            && id.publisher().eq_ignore_ascii_case(&known.publisher)
            && offers.iter().any(|it| id.offer().eq_ignore_ascii_case(it))
            && id.plan().eq_ignore_ascii_case(plan)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Coverage, Features, HybridMode, Party, Plan, Product, SubscriptionStatus};
    use jiff::{SignedDuration, Timestamp};
    use uuid::Uuid;

    fn catalog() -> Catalog {
        let plan = |service_id: &str, channel| Plan {
            service_id: service_id.parse().unwrap(),
            channel,
            coverage: Coverage::Tenant,
            features: Features::default(),
            sku_ids: Vec::new(),
            service_plan_ids: Vec::new(),
            release_after: SignedDuration::from_hours(720),
        };
        Catalog::new([Product {
            id: "suite".parse().unwrap(),
            name: "Suite".into(),
            hybrid: HybridMode::None,
            features: [].into(),
            plans: vec![
                plan("vizmaker.suite.company", Channel::Saas),
                plan("vizmaker.suite.visual", Channel::Appsource),
                plan("vizmaker.other.team", Channel::Saas),
            ],
        }])
    }

    fn subscription() -> Subscription {
        Subscription {
            id: Uuid::from_u128(1).to_string().parse().unwrap(),
            publisher: "vizmaker".into(),
            offer: "suite-preview".into(),
            plan: "old".into(),
            name: "n".into(),
            status: SubscriptionStatus::Subscribed,
            quantity: Some(5),
            beneficiary: Party::default(),
            purchaser: Party::default(),
            term_start: None,
            term_end: None,
            term_unit: None,
            auto_renew: None,
            free_trial: false,
            allowed_operations: Vec::new(),
            created: None,
            observed_at: Timestamp::UNIX_EPOCH,
        }
    }

    /// What is answered to: action, status, source, plan, quantity.
    fn check(asked: (&str, &str, &str, &str, u64), known_plans: Option<Verdict>) {
        let (action, status, source, plan, quantity) = asked;
        let operation = Operation {
            id: "o".into(),
            subscription: subscription().id,
            action: Action::from_word(action),
            status: OperationStatus::from_word(status),
            plan: Some(plan.into()),
            quantity: Some(quantity),
            source: RequestSource::from_word(source),
            at: None,
        };
        let of = |accept| verdict(&operation, Some(&subscription()), &catalog(), accept);
        assert_eq!(of(AcceptChanges::KnownPlans), known_plans, "{asked:?}");
        let always = known_plans.map(|_| Verdict::Success);
        assert_eq!(of(AcceptChanges::Always), always, "{asked:?}");
        if known_plans == Some(Verdict::Success) && action == "ChangePlan" {
            let unknown = verdict(&operation, None, &catalog(), AcceptChanges::KnownPlans);
            assert_eq!(unknown, Some(Verdict::Failure), "of an offer that nobody knows");
        }
    }

    #[test]
    fn customers_changes_are_answered_by_policy_and_our_own_never() {
        let (yes, no) = (Some(Verdict::Success), Some(Verdict::Failure));
        check(("ChangePlan", "InProgress", "Azure", "company", 1), yes);
        check(("ChangePlan", "InProgress", "Azure", "COMPANY", 1), yes);
        check(("ChangePlan", "InProgress", "Azure", "enterprise", 1), no);
        check(("ChangePlan", "InProgress", "Azure", "visual", 1), no);
        check(("ChangePlan", "InProgress", "Azure", "team", 1), no);
        check(("ChangeQuantity", "InProgress", "Azure", "company", 9), yes);
        check(("ChangeQuantity", "InProgress", "Azure", "old", 9), no);
        check(("Reinstate", "InProgress", "Azure", "old", 1), yes);
        // A change that did not come to pass is taken back.
        check(("ChangePlan", "InProgress", "Azure", "old", 1), yes);
        check(("ChangeQuantity", "InProgress", "Azure", "old", 5), yes);
        for status in ["NotStarted", "Succeeded", "Failed", "Conflict", ""] {
            check(("ChangePlan", status, "Azure", "company", 1), None);
        }
        for source in ["Partner", "", "Somebody"] {
            check(("ChangePlan", "InProgress", source, "company", 1), None);
            check(("Reinstate", "InProgress", source, "company", 1), None);
        }
        for action in ["Suspend", "Unsubscribe", "Renew", "Subscribe", "Transfer", ""] {
            check(("Suspend", "InProgress", "Azure", action, 1), None);
            check((action, "InProgress", "Azure", "company", 1), None);
        }
    }
}
