//! Users as JSON, from their compact records: what `$select` names, as list or as delta shows it.
//! Source: graph-licensing.md 2.1, 5.2.

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::error::GraphError;
use crate::sandbox::chance::{halves, hash};
use crate::sandbox::wire::stamp;
use crate::sandbox::world::catalog::{Catalog, SkuKind};
use crate::sandbox::world::tenant::{
    DIRECT, Life, Location, Path, PathState, Tenant, User, Violation, props,
};

/// Names that `$select` may use, and their bit; `id` is always there.
const NAMES: [(&str, u16); 13] = [
    ("id", 0),
    ("displayName", props::NAME),
    ("userPrincipalName", props::UPN),
    ("accountEnabled", props::ENABLED),
    ("usageLocation", props::LOCATION),
    ("assignedLicenses", props::LICENSES),
    ("assignedPlans", props::PLANS),
    ("licenseAssignmentStates", props::STATES),
    ("userType", props::USER_TYPE),
    ("deletedDateTime", props::DELETED_AT),
    ("onPremisesSyncEnabled", props::SYNCED),
    ("provisionedPlans", props::PROVISIONED),
    ("mail", props::MAIL),
];

/// What comes without `$select`: no licence property at all.
pub(super) const DEFAULT: u16 = props::NAME | props::UPN | props::MAIL;

/// Reads `$select`; names compare without case.
pub(super) fn select(option: Option<&str>) -> Result<u16, GraphError> {
    let Some(text) = option else { return Ok(DEFAULT) };
    text.split(',').map(str::trim).filter(|name| !name.is_empty()).try_fold(0, |mask, name| {
        let known = NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        known.map(|(_, bit)| mask | bit).ok_or_else(|| {
            let type_name = "microsoft.graph.user";
            GraphError::bad(format!(
                "Could not find a property named '{name}' on type '{type_name}'."
            ))
        })
    })
}

/// How unset properties look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// Unset is null.
    List,
    /// Never set is absent, cleared is null.
    Delta,
}

/// A GUID that some answers write in capitals, always the same ones.
pub(super) fn cased(id: Uuid, salt: u64) -> String {
    let text = id.to_string();
    if hash(&[hash(&halves(id)), salt]).is_multiple_of(4) { text.to_uppercase() } else { text }
}

/// One user with the properties of `mask`.
pub(super) fn user(
    catalog: &Catalog,
    tenant: &Tenant,
    (at, user): (u32, &User),
    mask: u16,
    style: Style,
) -> Map<String, Value> {
    let user = &*tenant.listed(user);
    let mut row = Map::new();
    row.insert("id".to_owned(), user.id.to_string().into());
    let mut put = |bit: u16, value: &dyn Fn() -> Option<Value>| {
        if mask & bit == 0 {
            return;
        }
        let name = NAMES.iter().find(|(_, own)| *own == bit).map(|(name, _)| *name);
        if let (Some(name), Some(value)) = (name, value()) {
            row.insert(name.to_owned(), value);
        }
    };
    let absent = || (style == Style::List).then_some(Value::Null);
    if mask & (props::NAME | props::UPN | props::MAIL) != 0 {
        let (display, login) = tenant.names(at);
        put(props::NAME, &|| Some(display.as_str().into()));
        put(props::UPN, &|| Some(login.as_str().into()));
        put(props::MAIL, &|| Some(login.as_str().into()));
    }
    put(props::ENABLED, &|| Some(user.enabled.into()));
    put(props::LOCATION, &|| match user.location {
        Location::Never => absent(),
        Location::Cleared => Some(Value::Null),
        Location::Country(code) => Some(String::from_utf8_lossy(&code).into()),
    });
    put(props::LICENSES, &|| Some(licenses(catalog, user)));
    put(props::PLANS, &|| Some(plans(catalog, tenant, user)));
    put(props::STATES, &|| Some(states(catalog, tenant, user)));
    put(props::USER_TYPE, &|| Some(if user.guest { "Guest" } else { "Member" }.into()));
    put(props::DELETED_AT, &|| match user.life {
        Life::Deleted(second) => Some(stamp(second).into()),
        Life::Live | Life::Purged => absent(),
    });
    put(props::SYNCED, &absent);
    put(props::PROVISIONED, &|| Some(provisioned(catalog, user)));
    row
}

fn ids(sku: &SkuKind, mask: u32) -> impl Iterator<Item = Uuid> + '_ {
    sku.plans_in(mask).map(|plan| plan.id)
}

fn licenses(catalog: &Catalog, user: &User) -> Value {
    let held = user.held().into_iter().filter_map(|(kind, disabled)| {
        let sku = catalog.sku(kind)?;
        let disabled: Vec<Uuid> = ids(sku, disabled).collect();
        Some(json!({"skuId": sku.id, "disabledPlans": disabled}))
    });
    held.collect()
}

/// The SKU's state at this moment; a disabled plan stays in the list as `Deleted`.
fn plans(catalog: &Catalog, tenant: &Tenant, user: &User) -> Value {
    let mut rows = Vec::new();
    for (kind, disabled) in user.held() {
        let Some(sku) = catalog.sku(kind) else { continue };
        let status = tenant.sku(kind).map_or("Deleted", |sku| sku.status.as_str());
        let since =
            user.paths.iter().filter(|path| path.sku == kind).map(|path| path.updated).min();
        let since = stamp(since.unwrap_or(0).into());
        for plan in &sku.plans {
            let off = ids(sku, disabled).any(|id| id == plan.id);
            rows.push(json!({
                "assignedDateTime": since,
                "capabilityStatus": if off { "Deleted" } else { status },
                "service": plan.service,
                "servicePlanId": plan.id,
            }));
        }
    }
    rows.into()
}

fn provisioned(catalog: &Catalog, user: &User) -> Value {
    let skus = user.held().into_iter().filter_map(|(kind, _)| catalog.sku(kind));
    let rows = skus.flat_map(|sku| &sku.plans).map(|plan| {
        json!({"capabilityStatus": "Enabled", "provisioningStatus": "Success", "service": plan.service})
    });
    rows.collect()
}

/// One element per path, direct ones with `assignedByGroup` null.
fn states(catalog: &Catalog, tenant: &Tenant, user: &User) -> Value {
    let rows = user.paths.iter().filter_map(|path| {
        let sku = catalog.sku(path.sku)?;
        let disabled: Vec<Uuid> = ids(sku, path.disabled).collect();
        Some(json!({
            "skuId": cased(sku.id, hash(&halves(user.id))),
            "disabledPlans": disabled,
            "assignedByGroup": tenant.group_id(path.by).map(|id| cased(id, hash(&halves(user.id)))),
            "state": state(path.state),
            "error": error(path, user),
            "lastUpdatedDateTime": stamp(path.updated.into()),
        }))
    });
    rows.collect()
}

fn state(state: PathState) -> &'static str {
    match state {
        PathState::Active => "Active",
        PathState::ActiveWithError => "ActiveWithError",
        PathState::Disabled => "Disabled",
        PathState::Error => "Error",
    }
}

/// Null on success; for some users the literal `None`, as seen in practice.
fn error(path: &Path, user: &User) -> Option<&'static str> {
    match path.error {
        Violation::None if path.by == DIRECT && hash(&halves(user.id)).is_multiple_of(8) => {
            Some("None")
        }
        Violation::None => None,
        Violation::Count => Some("CountViolation"),
        Violation::MutuallyExclusive => Some("MutuallyExclusiveViolation"),
        Violation::Dependency => Some("DependencyViolation"),
        Violation::UsageLocation => Some("ProhibitedInUsageLocationViolation"),
        Violation::Uniqueness => Some("UniquenessViolation"),
        Violation::Other => Some("Other"),
    }
}

/// `users/{id}/licenseDetails`.
pub(super) fn details(catalog: &Catalog, tenant: &Tenant, user: &User) -> Value {
    let held = tenant.listed(user).held();
    let rows = held.into_iter().filter_map(|(kind, disabled)| {
        let sku = catalog.sku(kind)?;
        let plans: Vec<Value> = sku
            .plans
            .iter()
            .map(|plan| {
                let off = ids(sku, disabled).any(|id| id == plan.id);
                json!({
                    "servicePlanId": plan.id,
                    "servicePlanName": tenant.named(kind, plan.id, &plan.name),
                    "provisioningStatus": if off { "Disabled" } else { "Success" },
                    "appliesTo": "User",
                })
            })
            .collect();
        Some(json!({
            "id": format!("{:x}-{:x}", hash(&halves(tenant.id)), hash(&halves(sku.id))),
            "skuId": sku.id,
            "skuPartNumber": tenant.named(kind, sku.id, sku.part_number),
            "servicePlans": plans,
        }))
    });
    rows.collect()
}
