//! What the listings say of each thing: exactly the fields that programs rely on, and a few more.
//!
//! Source: contract section 4.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::decision::is_stale;
use crate::domain::{
    Access, AssignmentError, Change, Fact, Grant, HeldSeat, Licence, Path, Permission, Policy,
    Right, Run, Sku, Step, Subscription, Tenant, TenantView, UserLicences, UserRights, step,
};
use crate::http::licenses::rows as license_rows;
use crate::store::KeyRecord;

/// A moment, or `null`.
pub(super) fn time(at: Option<Timestamp>) -> Value {
    at.map_or(Value::Null, |at| at.to_string().into())
}

/// Anything with a text, or `null`.
pub(super) fn text(it: Option<impl ToString>) -> Value {
    it.map_or(Value::Null, |it| it.to_string().into())
}

/// A row of `subscriptions`.
pub(super) fn subscription(it: &Subscription) -> Value {
    json!({
        "id": it.id.to_string(),
        "offer": *it.offer,
        "plan": *it.plan,
        "name": *it.name,
        "status": it.status.as_str(),
        "quantity": it.quantity,
        "tenant": text(it.beneficiary.tenant),
        "user": text(it.beneficiary.user),
        "purchaser_tenant": text(it.purchaser.tenant),
        "term_start": time(it.term_start),
        "term_end": time(it.term_end),
        "term_unit": it.term_unit.as_deref(),
        "auto_renew": it.auto_renew,
        "free_trial": it.free_trial,
        "allowed_operations": it.allowed_operations.iter().map(|it| &**it).collect::<Vec<_>>(),
        "created": time(it.created),
        "observed_at": it.observed_at.to_string(),
    })
}

/// A row of `tenants`.
pub(super) fn tenant(view: &TenantView, policy: &Policy, now: Timestamp) -> Value {
    let (it, read) = (&view.tenant, &view.directory);
    json!({
        "id": it.id.to_string(),
        "name": it.name.as_deref(),
        "consent": it.consent.as_str(),
        "cloud": it.cloud.as_str(),
        "last_complete": time(read.last_complete),
        "stale": is_stale(read.last_complete, &policy.directory, now),
        "users": view.users.licensed(),
        "users_unread": view.users.unread(),
        "error": read.last_error.as_deref(),
        "held": held(view),
        "rights_held": view.rights_held(policy.remove_limit).len(),
        "permissions": permissions(&view.access),
        "lacks": lacks(&view.access),
        "permissions_since": time(view.access.since),
    })
}

/// What a tenant permits, permission by permission, and what works without those that are missing.
pub(super) fn permissions(access: &Access) -> Value {
    let row = |(permission, grant): (Permission, Grant)| {
        let without = (grant == Grant::Missing).then(|| access.without(permission));
        json!({
            "permission": permission.as_str(),
            "state": grant.as_str(),
            "for": permission.purpose(),
            "needed": permission.is_needed(),
            "without": without,
        })
    };
    access.all().map(row).collect()
}

/// Which permissions are missing: the needed ones first.
fn lacks(access: &Access) -> Vec<&'static str> {
    let missing = access.all().filter(|it| it.1 == Grant::Missing).map(|it| it.0);
    let (needed, useful): (Vec<_>, Vec<_>) = missing.partition(|it| it.is_needed());
    needed.into_iter().chain(useful).map(Permission::as_str).collect()
}

/// The seats that the brake holds, and of how many.
pub(super) fn held(view: &TenantView) -> Value {
    let Some(it) = view.held.as_deref() else { return Value::Null };
    json!({
        "run": it.run.to_string(),
        "at": it.at.to_string(),
        "seats": view.directory.held_back,
        "of": it.total,
        "skus": it.skus.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}

/// A row of `log`.
pub(super) fn run(it: &Run) -> Value {
    json!({
        "run": it.id.to_string(),
        "source": it.key.source.as_str(),
        "tenant": text(it.key.tenant),
        "trigger": it.trigger.as_str(),
        "full": it.full,
        "started": it.started.to_string(),
        "ended": it.ended.to_string(),
        "outcome": it.outcome.as_str(),
        "seen": it.seen,
        "added": it.added,
        "changed": it.changed,
        "removed": it.removed,
        "odd": it.odd,
        "requests": it.requests,
        "throttled_s": it.throttled.as_secs_f64(),
        "error": it.error.as_deref(),
    })
}

/// A row of `changes`.
pub(super) fn change(it: &Change) -> Value {
    json!({
        "at": it.at.to_string(),
        "cause": it.cause.to_string(),
        "by": it.cause.operator(),
        "entity": it.entity.as_str(),
        "id": *it.id,
        "tenant": text(it.tenant),
        "user": text(it.user),
        "event": event(it),
        "before": it.before.as_ref().map_or(Value::Null, fact),
        "after": it.after.as_ref().map_or(Value::Null, fact),
    })
}

/// What happened to a subscription, where Microsoft documents the step.
fn event(it: &Change) -> Option<&'static str> {
    let before = match &it.before {
        Some(Fact::Subscription(it)) => Some(it),
        _ => None,
    };
    let Some(Fact::Subscription(after)) = &it.after else { return None };
    match step(before.map(|it| (it.as_ref(), it.observed_at)), after) {
        Step::Documented(event) => Some(event.as_str()),
        Step::Several | Step::Detail | Step::Undocumented => None,
    }
}

fn fact(it: &Fact) -> Value {
    match it {
        Fact::Subscription(it) => subscription(it),
        Fact::User(it) => licences(it),
        Fact::Sku(it) => sku(it),
        Fact::Tenant(it) => tenant_fact(it),
        Fact::HeldSeat(it) => held_seat(*it),
        Fact::Rights(it) => usage_rights(it),
        Fact::Words(it) => Value::from(&**it),
        Fact::License(it) => license_rows::fact(it),
        Fact::Activation(it) => license_rows::activation(it),
    }
}

fn tenant_fact(it: &Tenant) -> Value {
    json!({
        "id": it.id.to_string(),
        "name": it.name.as_deref(),
        "consent": it.consent.as_str(),
        "cloud": it.cloud.as_str(),
    })
}

fn held_seat(it: HeldSeat) -> Value {
    json!({"taken_at": it.taken_at.to_string(), "last_used": it.last_used.to_string()})
}

fn sku(it: &Sku) -> Value {
    let plans = it.service_plans.iter();
    let plans = plans.map(|it| json!({"id": it.id.to_string(), "name": *it.name}));
    json!({
        "id": it.id.to_string(),
        "part_number": *it.part_number,
        "status": it.status.as_str(),
        "service_plans": plans.collect::<Vec<_>>(),
        "enabled": it.units.enabled,
        "warning": it.units.warning,
        "suspended": it.units.suspended,
        "locked_out": it.units.locked_out,
        "consumed": it.units.consumed,
        "next_lifecycle": time(it.next_lifecycle),
        "missing_since": text(it.missing_since),
    })
}

fn licences(it: &UserLicences) -> Value {
    let licence = |it: &Licence| {
        json!({
            "sku": it.sku.to_string(),
            "assigned": it.assigned,
            "disabled_plans": it.disabled_plans.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "paths": it.paths.iter().map(path).collect::<Vec<_>>(),
        })
    };
    json!({
        "licences": it.licences.iter().map(licence).collect::<Vec<_>>(),
        "missing_since": text(it.missing_since),
    })
}

fn usage_rights(it: &UserRights) -> Value {
    let row = |it: &Right| {
        json!({
            "service_identifier": *it.identifier,
            "catalog_id": it.catalog.as_deref(),
            "state": *it.state,
        })
    };
    json!({
        "usage_rights": it.rows.iter().map(row).collect::<Vec<_>>(),
        "read_at": it.read_at.to_string(),
        "missing_since": time(it.missing_since),
    })
}

/// A path of a seat.
pub(super) fn path(it: &Path) -> Value {
    json!({
        "via": it.via.to_string(),
        "state": it.state.as_str(),
        "error": it.error.as_deref(),
    })
}

/// The same, with what its error means and what helps.
pub(super) fn explained_path(it: &Path) -> Value {
    let error = it.error.as_deref().and_then(AssignmentError::from_word);
    let mut row = path(it);
    if let Value::Object(fields) = &mut row {
        fields.insert("meaning".to_owned(), json!(error.as_ref().map(AssignmentError::meaning)));
        fields.insert("remedy".to_owned(), json!(error.as_ref().map(AssignmentError::remedy)));
    }
    row
}

/// A row of `keys list`: nothing secret. One that is neither current nor retired signs next.
pub(super) fn key(it: &KeyRecord, current: &str) -> Value {
    let current = it.kid == current;
    let state = match (current, it.retired) {
        (true, _) => "current",
        (false, Some(_)) => "retired",
        (false, None) => "next",
    };
    json!({
        "kid": it.kid,
        "created": it.created.to_string(),
        "retired": time(it.retired),
        "current": current,
        "state": state,
    })
}
