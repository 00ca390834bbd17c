//! Metering: one event an hour for each subscription and dimension, in batches of 25, not older than
//! 24 hours. Source: marketplace-saas.md 13.
//!
//! That the plan is not part of what makes two events one is what the reference says; the shape of
//! single refusals is from memory.

use std::collections::BTreeMap;

use axum::http::Method;
use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use super::faults::Fault;
use super::wire::{Ask, DAY_S, Reply, midnight, stamp};
use super::{World, story};

/// Events in one batch.
const BATCH_MAX: usize = 25;
/// How old an event may be.
const AGE_MAX_S: i64 = DAY_S;
const HOUR_S: i64 = 3_600;

/// An event that counts.
#[derive(Clone, Debug, PartialEq)]
pub struct AcceptedUsage {
    /// `usageEventId`.
    pub id: Uuid,
    /// The subscription.
    pub subscription: Uuid,
    /// The dimension.
    pub dimension: String,
    /// The plan it named.
    pub plan: String,
    /// The clock hour's first second since 1970.
    pub hour_s: i64,
    /// The quantity as it was written.
    pub quantity: String,
    /// How often the same came again.
    pub duplicates: u32,
}

/// What was told, and what is to be answered in place of the truth.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    accepted: BTreeMap<(Uuid, String, i64), AcceptedUsage>,
    forced: Option<String>,
    largest_batch: usize,
}

impl World {
    /// All usage events that count, by subscription, dimension and hour.
    pub fn accepted_usage(&self) -> Vec<AcceptedUsage> {
        self.meter.accepted.values().cloned().collect()
    }

    /// Has every event answered with this status instead of being looked at; `None` ends that.
    pub fn answer_usage(&mut self, status: Option<String>) {
        self.meter.forced = status;
    }

    /// Somebody else tells of usage: what the publisher tells of the same hour is a duplicate.
    pub fn note_usage(&mut self, of: Uuid, dimension: &str, at: Timestamp, quantity: &str) {
        let hour_s = at.as_second() - at.as_second().rem_euclid(HOUR_S);
        let it = AcceptedUsage {
            id: self.fresh_id(),
            subscription: of,
            dimension: dimension.to_owned(),
            plan: story::SUITE_COMPANY.to_owned(),
            hour_s,
            quantity: quantity.to_owned(),
            duplicates: 0,
        };
        self.meter.accepted.insert((of, dimension.to_owned(), hour_s), it);
    }

    /// The most events that came in one batch.
    pub fn largest_usage_batch(&self) -> usize {
        self.meter.largest_batch
    }
}

/// Everything about metering.
pub(crate) fn answer(world: &mut World, ask: &Ask, path: &str) -> Option<Reply> {
    Some(match (&ask.method, path) {
        (&Method::POST, "usageEvent") => one(world, &read(&ask.body)),
        (&Method::POST, "batchUsageEvent") => batch(world, &read(&ask.body)),
        (&Method::GET, "usageEvents") => rows(world, ask),
        _ => return None,
    })
}

/// What was told, for `/control`.
pub(crate) fn figures(world: &World) -> Value {
    let row = |it: AcceptedUsage| {
        json!({"id": it.id, "subscription": it.subscription, "dimension": it.dimension,
            "plan": it.plan, "hour": stamp(it.hour_s), "quantity": it.quantity,
            "duplicates": it.duplicates})
    };
    json!({"accepted": world.accepted_usage().into_iter().map(row).collect::<Vec<_>>()})
}

fn read(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap_or_default()
}

/// What becomes of an event.
struct Told {
    status: String,
    event: Value,
    /// Of a duplicate: the event that counts.
    first: Option<Value>,
}

fn one(world: &mut World, event: &Value) -> Reply {
    let told = tell(world, event);
    match (told.status.as_str(), told.first) {
        ("Accepted", _) => Reply::json(200, &told.event),
        ("Duplicate", first) => {
            let body = json!({"additionalInfo": {"acceptedMessage": first},
                "message": "This usage event already exist.", "code": "Conflict"});
            Reply::json(409, &body)
        }
        (code, _) => {
            let detail = json!({"message": "The event is refused.", "target": "event",
                "code": code});
            let body = json!({"message": "One or more errors have occurred.",
                "target": "usageEventRequest", "details": [detail], "code": "BadArgument"});
            Reply::json(400, &body)
        }
    }
}

fn batch(world: &mut World, body: &Value) -> Reply {
    let events = body.get("request").and_then(Value::as_array).cloned().unwrap_or_default();
    let refused = world.strikes(Fault::UsageBatch400);
    if refused || events.is_empty() || events.len() > BATCH_MAX {
        let message = "A batch has 1 to 25 events.";
        let body = json!({"code": "BadArgument", "message": message, "target": "request"});
        return Reply::json(400, &body);
    }
    world.meter.largest_batch = world.meter.largest_batch.max(events.len());
    let mut result = Vec::with_capacity(events.len());
    for event in &events {
        let told = tell(world, event);
        let mut row = told.event;
        if let (Some(first), Value::Object(row)) = (told.first, &mut row) {
            let error = json!({"additionalInfo": {"acceptedMessage": first},
                "message": "This usage event already exist.", "code": "Conflict"});
            row.insert("error".to_owned(), error);
        }
        if !world.strikes(Fault::UsagePartial) {
            result.push(row);
        }
    }
    Reply::json(200, &json!({"count": result.len(), "result": result}))
}

/// Takes an event, unless something is wrong with it.
fn tell(world: &mut World, event: &Value) -> Told {
    let status = match world.meter.forced.clone() {
        Some(status) => Err(status),
        None => looked_at(world, event).map_err(str::to_owned),
    };
    let mut row = event.clone();
    let (status, id, first) = match status {
        Err(status) => (status, None, None),
        Ok(key) => {
            if let Some(known) = world.meter.accepted.get_mut(&key) {
                known.duplicates += 1;
                let mut first = event.clone();
                set(&mut first, "usageEventId", json!(known.id));
                let quantity = known.quantity.parse::<f64>().unwrap_or_default();
                set(&mut first, "quantity", json!(quantity));
                set(&mut first, "planId", json!(known.plan));
                set(&mut first, "status", json!("Duplicate"));
                ("Duplicate".to_owned(), None, Some(first))
            } else {
                let id = world.fresh_id();
                let (subscription, dimension, hour_s) = key.clone();
                let plan = word(event, "planId").to_owned();
                let quantity = event.get("quantity").unwrap_or(&Value::Null).to_string();
                let it = AcceptedUsage {
                    id,
                    subscription,
                    dimension,
                    plan,
                    hour_s,
                    quantity,
                    duplicates: 0,
                };
                world.meter.accepted.insert(key, it);
                ("Accepted".to_owned(), Some(id), None)
            }
        }
    };
    let time = if id.is_some() { world.now().to_string() } else { NEVER.to_owned() };
    set(&mut row, "status", json!(status));
    set(&mut row, "messageTime", json!(time));
    if let Some(id) = id {
        set(&mut row, "usageEventId", json!(id));
    }
    Told { status, event: row, first }
}

/// .NET's "never".
const NEVER: &str = "0001-01-01T00:00:00";

fn set(row: &mut Value, name: &str, value: Value) {
    if let Value::Object(row) = row {
        row.insert(name.to_owned(), value);
    }
}

fn word<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// What the event is known by, or the word for what is wrong with it.
fn looked_at(world: &World, event: &Value) -> Result<(Uuid, String, i64), &'static str> {
    let id: Uuid = word(event, "resourceId").parse().map_err(|_text| "BadArgument")?;
    let start: Timestamp =
        word(event, "effectiveStartTime").parse().map_err(|_text| "BadArgument")?;
    let quantity = event.get("quantity").and_then(Value::as_f64).ok_or("InvalidQuantity")?;
    let subscription = world.subscription(id).ok_or("ResourceNotFound")?;
    if !quantity.is_finite() || quantity <= 0.0 {
        return Err("InvalidQuantity");
    }
    let age_s = world.now_s() - start.as_second();
    if age_s > AGE_MAX_S {
        return Err("Expired");
    }
    if age_s < 0 {
        return Err("BadArgument");
    }
    if subscription.saas_subscription_status != "Subscribed" {
        return Err("ResourceNotActive");
    }
    let plan = word(event, "planId");
    if !plan.eq_ignore_ascii_case(&subscription.plan_id) {
        return Err("BadArgument");
    }
    let dimension = word(event, "dimension");
    let metered = plan.eq_ignore_ascii_case(story::SUITE_COMPANY);
    if !metered || !story::METERS.contains(&dimension) {
        return Err("InvalidDimension");
    }
    let hour_s = start.as_second() - start.as_second().rem_euclid(HOUR_S);
    Ok((id, dimension.to_owned(), hour_s))
}

/// What counts, day by day: today's is only submitted, that of other days is billed.
fn rows(world: &World, ask: &Ask) -> Reply {
    let day = |name: &str| {
        let text = ask.option(name)?;
        let moment = text.parse::<Timestamp>().ok().map(Timestamp::as_second);
        moment.or_else(|| format!("{text}T00:00:00Z").parse::<Timestamp>().ok()?.as_second().into())
    };
    let Some(from) = day("usageStartDate") else {
        let body = json!({"code": "BadArgument", "message": "usageStartDate is required."});
        return Reply::json(400, &body);
    };
    let to = day("usageEndDate").unwrap_or(i64::MAX);
    let mut sums: BTreeMap<(i64, Uuid, String, String), (f64, u64)> = BTreeMap::new();
    for it in world.accepted_usage() {
        let day = midnight(it.hour_s);
        let named = |name: &str, is: &str| ask.option(name).is_none_or(|it| it == is);
        if day < midnight(from)
            || day > to
            || !named("dimension", &it.dimension)
            || !named("planId", &it.plan)
        {
            continue;
        }
        let key = (day, it.subscription, it.dimension, it.plan);
        let sum = sums.entry(key).or_default();
        sum.0 += it.quantity.parse::<f64>().unwrap_or_default();
        sum.1 += 1;
    }
    let today = midnight(world.now_s());
    let row = |((day, id, dimension, plan), (sum, count)): ((i64, Uuid, String, String), _)| {
        let billed = day < today;
        json!({"usageDate": stamp(day), "usageResourceId": id, "dimension": dimension,
            "planId": plan, "planName": plan, "offerId": story::SUITE_OFFER,
            "offerName": "Viz Suite", "offerType": "SaaS", "azureSubscriptionId": "",
            "reconStatus": if billed { "Accepted" } else { "Submitted" },
            "submittedQuantity": sum, "processedQuantity": if billed { sum } else { 0.0 },
            "submittedCount": count})
    };
    Reply::json(200, &Value::Array(sums.into_iter().map(row).collect()))
}
