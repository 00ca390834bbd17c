//! `subscribedSkus`, `directory/subscriptions`, `organization`.
//! Source: graph-licensing.md 1.

use serde_json::{Value, json};
use uuid::Uuid;

use super::error::GraphError;
use super::{Answer, Caller};
use crate::sandbox::World;
use crate::sandbox::chance::{guid, halves, hash};
use crate::sandbox::wire::{Ask, DAY_S, Reply, midnight, stamp};
use crate::sandbox::world::catalog::{Catalog, SkuKind};
use crate::sandbox::world::tenant::{Tenant, TenantSku};

fn tenant<'w>(world: &'w World, caller: &Caller) -> Result<&'w Tenant, GraphError> {
    world.tenant(caller.tenant).ok_or_else(|| GraphError::missing(&caller.tenant.to_string()))
}

/// `GET /organization`.
pub(super) fn organization(world: &World, caller: &Caller) -> Answer {
    let tenant = tenant(world, caller)?;
    let domain = tenant.domain();
    let body = json!({
        "@odata.context": format!("{}/graph/v1.0/$metadata#organization", world.base()),
        "value": [{
            "id": tenant.id,
            "displayName": tenant.name,
            "countryLetterCode": "AT",
            "tenantType": "AAD",
            "verifiedDomains": [{"name": domain, "isDefault": true, "isInitial": true, "type": "Managed"}],
        }],
    });
    Ok(Reply::json(200, &body))
}

/// Fields of a subscribed SKU, for `$select`.
const FIELDS: [&str; 11] = [
    "id",
    "accountId",
    "accountName",
    "appliesTo",
    "capabilityStatus",
    "consumedUnits",
    "prepaidUnits",
    "skuId",
    "skuPartNumber",
    "subscriptionIds",
    "servicePlans",
];

/// `GET /subscribedSkus`; `$select` is the only option.
pub(super) fn list(world: &World, ask: &Ask, caller: &Caller) -> Answer {
    let refused = ["$filter", "$top", "$orderby", "$search"];
    if let Some(option) = refused.into_iter().find(|name| ask.option(name).is_some()) {
        return Err(GraphError::unsupported(format!("{option} is not supported here.")));
    }
    let tenant = tenant(world, caller)?;
    let mut rows: Vec<Value> =
        tenant.skus.iter().filter_map(|sku| row(world.catalog(), tenant, sku)).collect();
    if let Some(select) = ask.option("$select") {
        let wanted: Vec<&str> = select.split(',').map(str::trim).collect();
        if let Some(odd) = wanted.iter().find(|name| !FIELDS.contains(name)) {
            return Err(GraphError::bad(format!("Could not find a property named '{odd}'.")));
        }
        for fields in rows.iter_mut().filter_map(Value::as_object_mut) {
            fields.retain(|name, _| name == "id" || wanted.contains(&name.as_str()));
        }
    }
    let context = format!("{}/graph/v1.0/$metadata#subscribedSkus", world.base());
    Ok(Reply::json(200, &json!({"@odata.context": context, "value": rows})))
}

/// `GET /subscribedSkus/{tenant}_{sku}`.
pub(super) fn one(world: &World, caller: &Caller, id: &str) -> Answer {
    let tenant = tenant(world, caller)?;
    let mut rows = tenant.skus.iter().filter_map(|sku| row(world.catalog(), tenant, sku));
    let is = |row: &Value| {
        row.get("id").and_then(Value::as_str).is_some_and(|own| own.eq_ignore_ascii_case(id))
    };
    rows.find(is).map(|row| Reply::json(200, &row)).ok_or_else(|| GraphError::missing(id))
}

fn row(catalog: &Catalog, tenant: &Tenant, sku: &TenantSku) -> Option<Value> {
    let kind = catalog.sku(sku.kind).filter(|_| tenant.lists(sku.kind))?;
    Some(json!({
        "id": format!("{}_{}", tenant.id, kind.id),
        "accountId": tenant.id,
        "accountName": tenant.name.to_lowercase(),
        "appliesTo": "User",
        "capabilityStatus": sku.status,
        "consumedUnits": sku.consumed,
        "prepaidUnits": {
            "enabled": sku.units.enabled,
            "suspended": sku.units.suspended,
            "warning": sku.units.warning,
            "lockedOut": sku.units.locked_out,
        },
        "skuId": kind.id,
        "skuPartNumber": tenant.named(sku.kind, kind.id, kind.part_number),
        "subscriptionIds": [commerce(tenant, kind)],
        "servicePlans": plans(tenant, kind, sku),
    }))
}

/// `Disabled` can go with a suspended SKU. Source: graph-licensing.md 1.3.
fn plans(tenant: &Tenant, kind: &SkuKind, sku: &TenantSku) -> Vec<Value> {
    let usable = !matches!(sku.status.as_str(), "Suspended" | "LockedOut" | "Deleted");
    let status = if usable { "Success" } else { "Disabled" };
    let plans = kind.plans.iter().map(|plan| {
        json!({
            "servicePlanId": plan.id,
            "servicePlanName": tenant.named(sku.kind, plan.id, &plan.name),
            "provisioningStatus": status,
            "appliesTo": "User",
        })
    });
    plans.collect()
}

/// Id of the commerce subscription behind a SKU.
fn commerce(tenant: &Tenant, kind: &SkuKind) -> Uuid {
    guid(&[hash(&halves(tenant.id)), hash(&halves(kind.id)), 1])
}

/// `GET /directory/subscriptions`: one subscription behind each SKU. `skuId` is a text here, and in
/// capitals, so that readers that compare texts are found out.
pub(super) fn subscriptions(world: &World, caller: &Caller) -> Answer {
    let tenant = tenant(world, caller)?;
    let today = midnight(world.now_s());
    let rows: Vec<Value> = tenant
        .skus
        .iter()
        .filter_map(|sku| {
            let kind = world.catalog().sku(sku.kind).filter(|_| tenant.lists(sku.kind))?;
            Some(json!({
                "id": guid(&[hash(&halves(tenant.id)), hash(&halves(kind.id)), 2]),
                "commerceSubscriptionId": commerce(tenant, kind),
                "createdDateTime": stamp(today - 40 * DAY_S),
                "isTrial": sku.trial,
                "nextLifecycleDateTime": stamp(sku.next_lifecycle_s.unwrap_or(today + 25 * DAY_S)),
                "ownerId": null,
                "ownerTenantId": null,
                "ownerType": "User",
                "serviceStatus": plans(tenant, kind, sku),
                "skuId": kind.id.to_string().to_uppercase(),
                "skuPartNumber": tenant.named(sku.kind, kind.id, kind.part_number),
                "status": sku.status,
                "totalLicenses": sku.units.total(),
            }))
        })
        .collect();
    let context = format!("{}/graph/v1.0/$metadata#directory/subscriptions", world.base());
    Ok(Reply::json(200, &json!({"@odata.context": context, "value": rows})))
}
