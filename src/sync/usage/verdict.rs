//! What Microsoft's word for an event means. Pure.
//!
//! Source: `marketplace-saas.md` section 13.

use std::sync::Arc;

use jiff::Timestamp;

use crate::domain::{UsageEvent, UsageState};
use crate::microsoft::{UsageSaid, UsageStatus};
use crate::store::UsageVerdict;

/// How often Microsoft may fail on an event by its own fault.
const TRIES_MAX: u32 = 4;

/// Two quantities are one when they differ by less than this share: they were doubles on the way.
const SAME: f64 = 1e-9;

/// How an event stands after Microsoft has spoken.
pub(super) fn of(event: &UsageEvent, said: &UsageSaid, now: Timestamp) -> UsageVerdict {
    let tries = event.tries.saturating_add(u32::from(said.status == UsageStatus::Error));
    let reference = || said.reference.as_ref().map(Arc::clone);
    let state = match why_dead(event, &said.status, tries) {
        Some(why) => {
            UsageState::Dead { at: now, status: Some(said.status.as_str().into()), why: why.into() }
        }
        None if said.status == UsageStatus::Accepted => {
            UsageState::Sent { at: now, reference: reference() }
        }
        None if said.status == UsageStatus::Duplicate => UsageState::Duplicate {
            at: now,
            accepted: said.accepted.map(|it| it.to_string().into()),
            differs: said.accepted.is_some_and(|it| differs(event, it)),
        },
        None => UsageState::Closed,
    };
    UsageVerdict { id: event.id, state, tries }
}

/// How an event stands whose time passed while Microsoft could not be reached.
pub(super) fn run_out(event: &UsageEvent, trouble: &str, now: Timestamp) -> UsageVerdict {
    let why = format!(
        "its 24 hours passed while Microsoft did not take it ({trouble}); should an earlier try have \
         arrived, `entitled usage reconcile` shows it"
    );
    let state = UsageState::Dead { at: now, status: None, why: why.into() };
    UsageVerdict { id: event.id, state, tries: event.tries }
}

/// Why it will not be billed; `None` if it is, or may yet be.
fn why_dead(event: &UsageEvent, status: &UsageStatus, tries: u32) -> Option<String> {
    let again = |what: String| format!("{what}; then: entitled usage retry {}", event.id);
    Some(match status {
        UsageStatus::Accepted | UsageStatus::Duplicate => return None,
        UsageStatus::Error if tries < TRIES_MAX => return None,
        UsageStatus::Error => again(format!("Microsoft failed on it {tries} times: wait a little")),
        UsageStatus::Expired => "Microsoft takes usage for 24 hours only, and they are over".into(),
        UsageStatus::ResourceNotFound => "Microsoft knows no such subscription".into(),
        UsageStatus::ResourceNotAuthorized => again(
            "the subscription's offer does not name our app: correct tenant and application id \
             under its technical configuration in Partner Center"
                .into(),
        ),
        UsageStatus::ResourceNotActive => {
            format!("the subscription was not active at {}", event.effective)
        }
        UsageStatus::InvalidDimension => again(format!(
            "plan `{}` has no dimension `{}` at Microsoft: compare with Partner Center",
            event.plan, event.key.dimension
        )),
        UsageStatus::InvalidQuantity => {
            format!("Microsoft does not allow the quantity {}", event.quantity)
        }
        UsageStatus::BadArgument => {
            "Microsoft finds something in it wrong: please report it".into()
        }
        UsageStatus::Unrecognized(word) => again(format!(
            "Microsoft answered with a status that is not known (`{word}`); `entitled status` has \
             the record as it came: find out what it means"
        )),
    })
}

fn differs(event: &UsageEvent, accepted: f64) -> bool {
    let ours: f64 = event.quantity.to_string().parse().unwrap_or(f64::NAN);
    (ours - accepted).abs() > SAME * ours
}

/// For counting: a word of a closed set.
pub(super) const fn label(status: &UsageStatus) -> &'static str {
    match status {
        UsageStatus::Accepted => "accepted",
        UsageStatus::Duplicate => "duplicate",
        UsageStatus::Expired => "expired",
        UsageStatus::Error => "error",
        UsageStatus::ResourceNotFound => "resource_not_found",
        UsageStatus::ResourceNotAuthorized => "resource_not_authorized",
        UsageStatus::ResourceNotActive => "resource_not_active",
        UsageStatus::InvalidDimension => "invalid_dimension",
        UsageStatus::InvalidQuantity => "invalid_quantity",
        UsageStatus::BadArgument => "bad_argument",
        UsageStatus::Unrecognized(_) => "unrecognized",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{SubscriptionId, UsageId, UsageKey};

    fn event(tries: u32) -> UsageEvent {
        let at = Timestamp::UNIX_EPOCH;
        UsageEvent {
            id: UsageId(7),
            key: UsageKey {
                subscription: SubscriptionId::from_uuid(uuid::Uuid::from_u128(1)),
                dimension: "dim1".into(),
                hour: at,
            },
            plan: "team".into(),
            effective: at,
            quantity: "0.3".parse().unwrap(),
            reports: 3,
            first: at,
            last: at,
            caller: "shop".into(),
            tries,
            state: UsageState::Closed,
        }
    }

    /// State, then a part of what is said about it.
    fn check(word: &str, accepted: Option<f64>, tries: u32, state: &str, part: &str) {
        let status = UsageStatus::from_word(word);
        let said = UsageSaid { id: UsageId(7), status, reference: None, accepted, raw: "".into() };
        let verdict = of(&event(tries), &said, Timestamp::UNIX_EPOCH);
        assert_eq!(verdict.state.as_str(), state, "{word}");
        let text = format!("{:?}", verdict.state);
        assert!(text.contains(part), "{part} in {text}");
    }

    #[test]
    fn every_word_of_microsofts_has_its_meaning() {
        check("Accepted", None, 0, "sent", "");
        check("Duplicate", None, 0, "duplicate", "differs: false");
        check("Duplicate", Some(0.1 + 0.2), 0, "duplicate", "differs: false");
        check("Duplicate", Some(0.2), 0, "duplicate", "differs: true");
        check("Expired", None, 0, "dead", "24 hours");
        check("Error", None, 0, "sending", "");
        check("Error", None, 3, "dead", "4 times");
        check("ResourceNotFound", None, 0, "dead", "no such subscription");
        check("ResourceNotAuthorized", None, 0, "dead", "Partner Center");
        check("ResourceNotActive", None, 0, "dead", "1970-01-01T00:00:00Z");
        check("InvalidDimension", None, 0, "dead", "`dim1`");
        check("InvalidQuantity", None, 0, "dead", "0.3");
        check("BadArgument", None, 0, "dead", "BadArgument");
        check("Deferred", None, 0, "dead", "`Deferred`");
        check("", None, 0, "dead", "usage retry u7");
    }

    #[test]
    fn what_ran_out_says_why_it_could_not_be_sent() {
        let verdict = run_out(&event(0), "Microsoft cannot be reached", Timestamp::UNIX_EPOCH);
        let text = format!("{:?}", verdict.state);
        assert!(text.contains("24 hours passed") && text.contains("cannot be reached"), "{text}");
    }
}
