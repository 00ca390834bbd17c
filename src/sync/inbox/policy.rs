//! What Microsoft is answered when it asks whether a change may happen. Pure.

use super::impact;
use crate::config::AcceptChanges;
use crate::domain::{
    Action, AskedState, Catalog, Channel, OperationStatus, RequestSource, Subscription,
};
use crate::microsoft::Operation;

/// Whether Microsoft waits for our word: only on what a customer asked for, and never on what we
/// asked for ourselves, where it would be answered by a 500.
///
/// Source: contract section 5; `marketplace-saas.md` sections 7.3 and 8.2.
pub(super) fn waits(operation: &Operation) -> bool {
    let asked = operation.action.asks() || operation.action == Action::Reinstate;
    asked
        && operation.status == OperationStatus::InProgress
        && operation.source == RequestSource::Azure
}

/// Our word on a change that waits for it.
///
/// A reinstatement is always welcome. Taking back a change that did not come to pass is too:
/// Microsoft then names the plan and quantity that the subscription has.
///
/// Source: `marketplace-saas.md` sections 8.2 and 8.8.
pub(super) fn judge(
    operation: &Operation,
    known: &Subscription,
    catalog: &Catalog,
    accept: AcceptChanges,
) -> AskedState {
    let welcome = !operation.action.asks() || is_taking_back(operation, known);
    match accept {
        AcceptChanges::Always => AskedState::Accepted,
        AcceptChanges::KnownPlans | AcceptChanges::Hold if welcome => AskedState::Accepted,
        AcceptChanges::KnownPlans if is_known_plan(operation, known, catalog) => {
            AskedState::Accepted
        }
        AcceptChanges::KnownPlans => AskedState::Refused,
        AcceptChanges::Hold => AskedState::Held,
    }
}

fn is_taking_back(operation: &Operation, known: &Subscription) -> bool {
    match operation.action {
        Action::ChangePlan => operation.plan.as_ref() == Some(&known.plan),
        Action::ChangeQuantity => operation.quantity == known.quantity,
        Action::Suspend
        | Action::Unsubscribe
        | Action::Reinstate
        | Action::Renew
        | Action::Subscribe
        | Action::Unrecognized(_) => false,
    }
}

/// Whether the plan is in the catalog, as one that covers users by the subscription itself.
fn is_known_plan(operation: &Operation, known: &Subscription, catalog: &Catalog) -> bool {
    let plan = operation.plan.as_ref().unwrap_or(&known.plan);
    impact::plans(catalog, known, plan).any(|(_, it)| it.channel == Channel::Saas)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Coverage, Features, HybridMode, Plan, Product, SubscriptionStatus};
    use jiff::SignedDuration;
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
            status: SubscriptionStatus::Subscribed,
            quantity: Some(5),
            ..Subscription::sample()
        }
    }

    /// What is answered to: action, status, source, plan, quantity.
    fn check(asked: (&str, &str, &str, &str, u64), known_plans: Option<AskedState>) {
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
        let of = |accept| {
            let judged = judge(&operation, &subscription(), &catalog(), accept);
            waits(&operation).then_some(judged)
        };
        assert_eq!(of(AcceptChanges::KnownPlans), known_plans, "{asked:?}");
        let always = known_plans.map(|_| AskedState::Accepted);
        assert_eq!(of(AcceptChanges::Always), always, "{asked:?}");
        let welcome = action == "Reinstate" || plan == "old" && quantity == 5;
        let held = if welcome { AskedState::Accepted } else { AskedState::Held };
        assert_eq!(of(AcceptChanges::Hold), known_plans.map(|_| held), "{asked:?}");
    }

    #[test]
    fn customers_changes_are_answered_by_policy_and_our_own_never() {
        let (yes, no) = (Some(AskedState::Accepted), Some(AskedState::Refused));
        check(("ChangePlan", "InProgress", "Azure", "company", 1), yes);
        check(("ChangePlan", "InProgress", "Azure", "COMPANY", 1), yes);
        check(("ChangePlan", "InProgress", "Azure", "enterprise", 1), no);
        check(("ChangePlan", "InProgress", "Azure", "visual", 1), no);
        check(("ChangePlan", "InProgress", "Azure", "team", 1), no);
        check(("ChangeQuantity", "InProgress", "Azure", "company", 9), yes);
        check(("ChangeQuantity", "InProgress", "Azure", "old", 9), no);
        check(("Reinstate", "InProgress", "Azure", "old", 1), yes);
        // A change that did not come to pass is taken back.
        check(("ChangePlan", "InProgress", "Azure", "old", 5), yes);
        check(("ChangeQuantity", "InProgress", "Azure", "old", 5), yes);
        for status in ["NotStarted", "Succeeded", "Failed", "Conflict", ""] {
            check(("ChangePlan", status, "Azure", "company", 1), None);
        }
        for source in ["Partner", "", "Somebody"] {
            check(("ChangePlan", "InProgress", source, "company", 1), None);
            check(("Reinstate", "InProgress", source, "company", 1), None);
        }
        for action in ["Suspend", "Unsubscribe", "Renew", "Subscribe", "Transfer", ""] {
            check((action, "InProgress", "Azure", "company", 1), None);
        }
    }
}
