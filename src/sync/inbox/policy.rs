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
