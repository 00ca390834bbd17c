//! Licenses and activations as JSON: one shape for the command line, the public routes and the
//! journal.
//!
//! Source: contract section 4, `--json` fields.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::domain::{ActivatedBy, Activation, BillingCycle, License, OverLimit};

/// A license as it is kept, without anything that depends on the time.
pub(super) fn fact(it: &License) -> Value {
    json!({
        "id": it.id.as_str(),
        "product": it.product.as_str(),
        "kind": it.kind.as_str(),
        "max": it.max,
        "node": it.node.as_deref(),
        "licensee": &*it.licensee,
        "billing": it.billing.as_deref(),
        "domain": it.domain.as_deref(),
        "over_limit": it.over_limit.map(OverLimit::as_str),
        "cycle": it.cycle.map(BillingCycle::as_str),
        "standing": it.standing().as_str(),
        "created": it.created.to_string(),
        "trial_end": time(it.trial_end),
        "paid_at": time(it.paid_at),
        "period_start": it.period_start.to_string(),
        "period_end": time(it.period_end),
        "cancelled_at": time(it.cancelled_at),
        "suspended_at": time(it.suspended_at),
        "revoked_at": time(it.revoked_at),
        "tenants_max": it.tenants_max,
    })
}

/// A row of `activations list`.
pub(super) fn activation(it: &Activation) -> Value {
    let by = match &it.by {
        ActivatedBy::User(user) => user.to_string(),
        ActivatedBy::Licensee => "licensee".to_owned(),
        ActivatedBy::Server(name) => name.to_string(),
    };
    json!({
        "id": it.id.as_str(),
        "license": it.license.as_str(),
        "tenant": it.tenant.map(|it| it.to_string()),
        "by": by,
        "at": it.at.to_string(),
    })
}

pub(super) fn time(it: Option<Timestamp>) -> Option<String> {
    it.map(|it| it.to_string())
}
