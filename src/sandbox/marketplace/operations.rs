//! Operations over HTTP. Source: marketplace-saas.md 7.

use serde_json::{Value, json};
use uuid::Uuid;

use super::fail;
use crate::sandbox::World;
use crate::sandbox::faults::Fault;
use crate::sandbox::webhook::source;
use crate::sandbox::wire::{Ask, Reply};
use crate::sandbox::world::orders::{Operation, precise};

/// Those that are being carried out. An unknown subscription has none, and none is an empty
/// object.
pub(super) fn all(world: &mut World, id: &str) -> Reply {
    let hidden = world.strikes(Fault::OperationsHidden);
    let listed = id.parse().map(|id| world.listed_operations(id)).unwrap_or_default();
    if hidden || listed.is_empty() {
        return Reply::json(200, &json!({}));
    }
    let listed: Vec<Value> = listed.into_iter().map(|it| shown(world, it)).collect();
    Reply::json(200, &json!({"operations": listed}))
}

/// One; unknown ones get a 400, whatever the documents say.
pub(super) fn one(world: &World, id: &str, operation: &str) -> Reply {
    match found(world, id, operation) {
        Some(operation) => Reply::json(200, &shown(world, operation)),
        None => unknown(),
    }
}

fn found<'a>(world: &'a World, id: &str, operation: &str) -> Option<&'a Operation> {
    let (id, operation): (Uuid, Uuid) = (id.parse().ok()?, operation.parse().ok()?);
    world.operation(operation).filter(|it| it.subscription == id)
}

/// The text speaks of the operation even where the subscription is unknown.
fn unknown() -> Reply {
    fail(400, "The operation with the specified id is not found.")
}

fn shown(world: &World, operation: &Operation) -> Value {
    let of = world.subscription(operation.subscription);
    let (publisher, offer) = of.map_or_else(Default::default, |it| (it.publisher_id, it.offer_id));
    let mut shown = json!({
        "id": operation.id,
        "activityId": operation.id,
        "publisherId": publisher,
        "offerId": offer,
        "planId": operation.plan,
        "subscriptionId": operation.subscription,
        "operationRequestSource": source(operation),
        "timeStamp": precise(operation.at),
        "action": operation.deed.word(),
        "status": operation.standing.word(),
        "errorStatusCode": "",
        "errorMessage": "",
    });
    if let (Some(fields), Some(quantity)) = (shown.as_object_mut(), operation.quantity) {
        fields.insert("quantity".to_owned(), quantity.into());
    }
    shown
}

/// The publisher's word on one.
pub(super) fn decide(
    world: &mut World,
    ask: &Ask,
    id: &str,
    operation: &str,
    request: &str,
) -> Reply {
    let Some((id, operation)) =
        found(world, id, operation).map(|operation| (operation.subscription, operation.id))
    else {
        return unknown();
    };
    let body: Value = serde_json::from_slice(&ask.body).unwrap_or_default();
    let Some(verdict) = body.get("status").and_then(Value::as_str) else {
        return fail(400, "The status is missing.");
    };
    match world.decide(operation, id, verdict) {
        Ok(()) => Reply::empty(200),
        Err(409) => Reply::json(409, &json!({"message": request})),
        Err(500) => {
            let error = json!({"code": "InternalServerError", "message": "An error has occurred."});
            Reply::json(500, &json!({"error": error}))
        }
        Err(_) => unknown(),
    }
}
