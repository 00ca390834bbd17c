//! What an event says, in JSON: made once, in the commit that tells it, and sent like that in every
//! try.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::domain::{
    About, BillingCycle, EventState, License, Notice, OverLimit, Party, Shortage, Subscription,
    UserId, date_of,
};

/// The most characters of a text that is not ours.
const LONGEST: usize = 500;

/// The whole body.
pub(super) fn of(notice: &Notice) -> String {
    envelope(notice.kind.as_str(), notice.at, &data(&notice.about))
}

/// What every event is wrapped in.
///
/// Source: Standard Webhooks 1.0.0, "payload structure": `type`, `timestamp`, `data`.
pub(super) fn envelope(kind: &str, at: Timestamp, data: &Value) -> String {
    format!(r#"{{"type":{},"timestamp":{},"data":{data}}}"#, json!(kind), json!(at.to_string()))
}

fn data(about: &About) -> Value {
    match about {
        About::Subscription { before, after, cause } => {
            let after = subscription(after);
            let before = before.as_ref().map(|it| differing(subscription(it), &after));
            json!({
                "subscription": after,
                "before": before,
                "cause": cause.to_string(),
            })
        }
        About::Seat { subscription: of, tenant, user } => json!({
            "subscription": subscription(of),
            "tenant": tenant.to_string(),
            "user": user.to_string(),
        }),
        About::Shortage(it) => shortage(it),
        About::Source { key, state } => json!({
            "source": key.source.as_str(),
            "tenant": key.tenant.map(|it| it.to_string()),
            "last_complete": state.last_complete.map(|it| it.to_string()),
            "failures": state.failures,
            "held_back": state.held_back,
            "error": state.last_error.as_deref().map(short),
        }),
        About::Consent { tenant, before, after, cause } => json!({
            "tenant": tenant.to_string(),
            "before": before.as_str(),
            "consent": after.as_str(),
            "cause": cause.to_string(),
        }),
        About::Webhook(event) => json!({
            "webhook": event.id.0,
            "operation": event.said.operation.as_deref().map(short),
            "action": short(event.said.action.as_str()),
            "subscription": event.said.subscription.map(|it| it.to_string()),
            "received": event.received.to_string(),
            "error": match &event.state {
                EventState::Dead { why, .. } => Some(short(why)),
                EventState::Waiting | EventState::Done { .. } => None,
            },
        }),
        About::License { before, after, cause } => json!({
            "license": license(after),
            "before": before.as_ref().map(|before| differing(license(before), &license(after))),
            "cause": cause.to_string(),
        }),
        About::Activation { activation, cause } => json!({
            "activation": {
                "id": activation.id.to_string(),
                "license": activation.license.to_string(),
                "tenant": activation.tenant.map(|it| it.to_string()),
                "at": activation.at.to_string(),
            },
            "cause": cause.to_string(),
        }),
        About::LicenseTime { license: it, ends } => json!({
            "license": license(it),
            "ends": ends.to_string(),
        }),
        About::LicenseUsers { license: it, users, who } => json!({
            "license": license(it),
            "users": users,
            "tenant": who.map(|(tenant, _)| tenant.to_string()),
            "user": who.map(|(_, user)| user.to_string()),
        }),
    }
}

fn shortage(it: &Shortage) -> Value {
    let users = |all: &[UserId]| all.iter().map(ToString::to_string).collect::<Vec<_>>();
    json!({
        "tenant": it.tenant.to_string(),
        "product": it.product.as_str(),
        "plan": short(&it.plan),
        "sku": it.sku.to_string(),
        "short": it.now,
        "bought": it.bought,
        "consumed": it.consumed,
        "used": it.used,
        "forecast": it.forecast.as_str(),
        "runs_out": it.forecast.runs_out().map(|day| date_of(day).to_string()),
        "without": users(&it.without),
        "next_without": users(&it.next_without),
    })
}

/// Without its licensee, who pays and its domain: people's names and addresses may be in there.
fn license(it: &License) -> Value {
    json!({
        "id": it.id.to_string(),
        "product": it.product.as_str(),
        "kind": it.kind.as_str(),
        "max": it.max,
        "over_limit": it.over_limit.map(OverLimit::as_str),
        "cycle": it.cycle.map(BillingCycle::as_str),
        "standing": it.standing().as_str(),
        "trial_end": it.trial_end.map(|it| it.to_string()),
        "period_start": it.period_start.to_string(),
        "period_end": it.period_end.map(|it| it.to_string()),
        "tenants_max": it.tenants_max,
    })
}

/// Without its name: buyers write in there what they like, their own names too.
fn subscription(it: &Subscription) -> Value {
    json!({
        "id": it.id.to_string(),
        "offer": short(&it.offer),
        "plan": short(&it.plan),
        "status": short(it.status.as_str()),
        "quantity": it.quantity,
        "beneficiary": party(it.beneficiary),
        "purchaser": party(it.purchaser),
        "term_start": it.term_start.map(|it| it.to_string()),
        "term_end": it.term_end.map(|it| it.to_string()),
        "term_unit": it.term_unit.as_deref().map(short),
        "auto_renew": it.auto_renew,
        "free_trial": it.free_trial,
    })
}

fn party(it: Party) -> Value {
    json!({
        "tenant": it.tenant.map(|it| it.to_string()),
        "user": it.user.map(|it| it.to_string()),
    })
}

/// The fields that were different, as they were.
fn differing(mut before: Value, after: &Value) -> Value {
    if let Value::Object(fields) = &mut before {
        fields.retain(|name, value| after.get(name) != Some(value));
    }
    before
}

fn short(text: &str) -> String {
    text.chars().take(LONGEST).collect()
}
