//! Resolve, activate, plans, change and cancel over HTTP. Source: marketplace-saas.md 6.

use serde_json::{Value, json};
use uuid::Uuid;

use super::{NEXT_HOST, fail};
use crate::sandbox::World;
use crate::sandbox::faults::Fault;
use crate::sandbox::wire::{Ask, Reply};
use crate::sandbox::world::offer::{self, Offered};
use crate::sandbox::world::requests::Cancel;

const NO_SUBSCRIPTION: &str = "Subscription with the specified id is not found.";

/// What a landing token stands for, in any state.
pub(super) fn resolve(world: &mut World, ask: &Ask) -> Reply {
    let token = ask.header("x-ms-marketplace-token").unwrap_or_default();
    let Some(mut subscription) = world.landed(token) else {
        return fail(400, "The marketplace purchase identification token is not valid.");
    };
    if world.strikes(Fault::ResolveWithoutTerm) {
        (subscription.term.start_date, subscription.term.end_date) = (None, None);
    }
    let body = json!({
        "id": subscription.id,
        "subscriptionName": subscription.name,
        "offerId": subscription.offer_id,
        "planId": subscription.plan_id,
        "quantity": subscription.quantity,
        "subscription": subscription,
    });
    Reply::json(200, &body)
}

/// Taken at once, done later; the body may be missing.
pub(super) fn activate(world: &mut World, ask: &Ask, id: &str) -> Reply {
    let body: Value = serde_json::from_slice(&ask.body).unwrap_or_default();
    let plan = body.get("planId").and_then(Value::as_str);
    let quantity = body.get("quantity").and_then(Value::as_u64);
    match id.parse().map(|id| world.activate(id, plan, quantity)) {
        Ok(Ok(())) => Reply::empty(200),
        Ok(Err((status, text))) => fail(status, text),
        Err(_) => fail(404, NO_SUBSCRIPTION),
    }
}

/// The plans the customer may move to, all of the same geography.
pub(super) fn plans(world: &mut World, ask: &Ask, id: &str) -> Reply {
    let Some(subscription) = id.parse().ok().and_then(|id: Uuid| world.subscription(id)) else {
        return fail(404, NO_SUBSCRIPTION);
    };
    if subscription.saas_subscription_status == "Unsubscribed" {
        return Reply::json(403, &Value::from("The subscription has been unsubscribed."));
    }
    let wanted = |plan: &&Offered| {
        ask.option("planId").is_none_or(|it| it.is_empty() || it.eq_ignore_ascii_case(plan.id))
    };
    let hidden = world.strikes(Fault::PlansWithoutCurrent);
    let there = |plan: &&Offered| !hidden || plan.id != subscription.plan_id;
    let plans: Vec<Value> = offer::PLANS.iter().filter(wanted).filter(there).map(shown).collect();
    Reply::json(200, &json!({"plans": plans}))
}

fn shown(plan: &Offered) -> Value {
    let months = |unit: &str, price: u32| {
        json!({"currency": "EUR", "price": price, "termUnit": unit, "termDescription": unit,
               "meteredQuantityIncluded": []})
    };
    let mut shown = json!({
        "planId": plan.id,
        "displayName": plan.name,
        "description": plan.name,
        "isPrivate": false,
        "hasFreeTrials": false,
        "isPricePerSeat": plan.seats.is_some(),
        "isStopSell": false,
        "market": "AT",
        "planComponents": {
            "recurrentBillingTerms": [months("P1M", plan.price), months("P1Y", plan.price * 10)],
            "meteringDimensions": [],
        },
    });
    if let (Some(fields), Some((least, most))) = (shown.as_object_mut(), plan.seats) {
        fields.insert("minQuantity".to_owned(), least.into());
        fields.insert("maxQuantity".to_owned(), most.into());
    }
    shown
}

/// Another plan or quantity.
pub(super) fn change(world: &mut World, ask: &Ask, id: &str, operation: Uuid) -> Reply {
    let Ok(id) = id.parse() else { return fail(404, NO_SUBSCRIPTION) };
    let body: Value = serde_json::from_slice(&ask.body).unwrap_or_default();
    let plan = body.get("planId").and_then(Value::as_str);
    let quantity = body.get("quantity").and_then(Value::as_u64);
    match world.request_change(operation, id, plan, quantity) {
        Ok(operation) => accepted(id, operation),
        Err((status, text)) => fail(status, text),
    }
}

/// The end.
pub(super) fn cancel(world: &mut World, id: &str, operation: Uuid) -> Reply {
    let Ok(id) = id.parse() else { return fail(404, NO_SUBSCRIPTION) };
    match world.request_end(operation, id) {
        Ok(Cancel::Accepted(operation)) => accepted(id, operation),
        Ok(Cancel::Already) => Reply::empty(200),
        Err((status, text)) => fail(status, text),
    }
}

/// The location names another host than the one that was asked.
fn accepted(id: Uuid, operation: Uuid) -> Reply {
    let location = format!(
        "{NEXT_HOST}/api/saas/subscriptions/{id}/operations/{operation}?api-version=2018-08-31"
    );
    Reply::empty(202)
        .with("operation-location", location)
        .with("operation-id", operation.to_string())
        .with("retry-after", "10")
}
