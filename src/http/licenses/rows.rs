//! Licenses and activations as JSON: one shape for the command line, the public routes and the
//! journal.
//!
//! Source: contract section 4, `--json` fields.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::decision::license_now;
use crate::domain::{
    ActivatedBy, Activation, BillingCycle, Credit, License, LicenseBook, OverLimit, Policy,
    SightedKind,
};

/// A license as it is kept, without anything that depends on the time.
pub(in crate::http) fn fact(it: &License) -> Value {
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

/// A row of `licenses list`: as it is kept, and where it stands now.
pub(in crate::http) fn license(
    book: &LicenseBook,
    it: &License,
    policy: &Policy,
    now: Timestamp,
) -> Value {
    let stands = license_now(it, policy.grace, now);
    let mut row = fact(it);
    if let Value::Object(row) = &mut row {
        // Of a trial that nobody has paid, its end is what people look for.
        row.insert("period_end".to_owned(), json!(time(it.period_end.or(it.trial_end))));
        row.insert("state".to_owned(), stands.state.as_str().into());
        row.insert("status".to_owned(), stands.state.license_status().into());
        row.insert("reason".to_owned(), stands.reason.as_str().into());
        row.insert("grace_end".to_owned(), json!(time(stands.grace_end)));
        row.insert("activations".to_owned(), book.activations_of(it.id).count().into());
        let users = book.users(it.id).map_or(0, |it| it.in_use(policy.release_after, now));
        row.insert("users".to_owned(), users.into());
    }
    row
}

/// A row of `licenses list`, with which tenants are bound and who uses it.
pub(in crate::http) fn whole(
    book: &LicenseBook,
    it: &License,
    policy: &Policy,
    now: Timestamp,
) -> Value {
    let mut row = license(book, it, policy, now);
    if let Value::Object(row) = &mut row {
        let bound: Vec<Value> = book.activations_of(it.id).map(|it| activation(it)).collect();
        row.insert("bound".to_owned(), json!(bound));
        row.insert("coverage".to_owned(), coverage(book, it, policy, now));
    }
    row
}

/// What was paid and not used; with the price of the old period, what that is worth.
pub(super) fn credit(it: Credit, price: Option<f64>) -> Value {
    let rounded = |it: f64, places: f64| (it * places).round() / places;
    json!({
        "days": rounded(it.days(), 100.0),
        "share": rounded(it.share(), 10_000.0),
        "amount": price.map(|price| rounded(price * it.share(), 100.0)),
    })
}

/// The binding of a license to a tenant.
#[derive(Serialize, ToSchema)]
#[schema(as = Activation)]
pub(in crate::http) struct ActivationRow {
    /// Its id.
    id: String,
    /// The license.
    license: String,
    /// The tenant that is bound; none where id and licensee were used first without a user's token.
    tenant: Option<String>,
    /// The object id of the user who pasted the key first; `licensee`, where id and licensee were
    /// typed; or what else bound it.
    by: String,
    /// When.
    at: String,
}

impl From<&Activation> for ActivationRow {
    fn from(it: &Activation) -> Self {
        Self {
            id: it.id.to_string(),
            license: it.license.to_string(),
            tenant: it.tenant.map(|it| it.to_string()),
            by: match &it.by {
                ActivatedBy::User(user) => user.to_string(),
                ActivatedBy::Licensee => "licensee".to_owned(),
                ActivatedBy::Server(name) => name.to_string(),
            },
            at: it.at.to_string(),
        }
    }
}

/// A row of `activations list`.
pub(in crate::http) fn activation(it: &Activation) -> Value {
    json!(ActivationRow::from(it))
}

pub(super) fn time(it: Option<Timestamp>) -> Option<String> {
    it.map(|it| it.to_string())
}

/// Who uses a license, in figures, and what nobody can prove.
fn coverage(book: &LicenseBook, it: &License, policy: &Policy, now: Timestamp) -> Value {
    let report = book.coverage(it, policy.release_after, now);
    let lately = |kind| book.sightings(it.id).map_or(0, |all| all.lately(kind, now));
    let sightings = book.sightings(it.id).into_iter().flat_map(|all| all.iter());
    let declared = |kind| matches!(kind, SightedKind::Capacity | SightedKind::Site);
    let sightings =
        sightings.filter(|(kind, ..)| declared(*kind)).map(|(kind, text, (first, last))| {
            json!({
                "kind": kind.as_str(),
                "text": **text,
                "first": first.to_string(),
                "last": last.to_string(),
            })
        });
    json!({
        "users_now": report.now,
        "users_28_days": report.last_28_days,
        "anonymous": report.anonymous,
        // An anonymous id is made anew every 29 days and in each browser.
        "approximate": report.anonymous > 0,
        "max": it.max_users(),
        "over_limit_since": time(report.over_since),
        "unproven": sightings.collect::<Vec<_>>(),
        // Of the last seven days, where it was shown by id and licensee or by a package; counted up to
        // 64. Who they are is kept by pseudonyms alone.
        "tenants_7_days": lately(SightedKind::Tenant),
        "addresses_7_days": lately(SightedKind::Address),
        "odd": book.anomalies(it, now).iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}
