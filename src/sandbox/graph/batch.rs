//! `$batch`: twenty questions in one request, each costed and refused alone.
//! Source: graph-licensing.md 7.

use std::collections::{HashMap, HashSet};

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::error::GraphError;
use super::{Caller, inner};
use crate::sandbox::World;
use crate::sandbox::faults::Fault;
use crate::sandbox::wire::{Ask, Reply};

/// Largest number of items.
const ITEMS_MAX: usize = 20;

#[derive(Deserialize)]
struct Batch {
    requests: Vec<Item>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    id: String,
    method: String,
    url: String,
    #[serde(default)]
    headers: HashMap<String, String>,
    #[serde(default)]
    depends_on: Vec<String>,
}

/// `POST /$batch`.
pub(super) fn answer(world: &mut World, ask: &Ask, version: &str, caller: &Caller) -> Reply {
    let items = match read(ask) {
        Ok(items) => items,
        Err(error) => return error.reply(world, ask),
    };
    let mut failed: HashSet<String> = HashSet::new();
    let mut responses: Vec<Value> = Vec::with_capacity(items.len());
    for item in items {
        let reply = if item.depends_on.iter().any(|id| failed.contains(&id.to_lowercase())) {
            let message = "The request this one depends on has failed.";
            GraphError::new(424, "FailedDependency", message).reply(world, ask)
        } else {
            one(world, ask, version, caller, &item)
        };
        if reply.status >= 400 {
            failed.insert(item.id.to_lowercase());
        }
        // Any order: every answer finds its own place.
        let places = u64::try_from(responses.len()).unwrap_or(0) + 1;
        let at = usize::try_from(world.fate().below(places)).unwrap_or(0);
        responses.insert(at.min(responses.len()), response(&item.id, &reply));
    }
    Reply::json(200, &json!({"responses": responses}))
}

/// The items, or why the whole batch is malformed.
fn read(ask: &Ask) -> Result<Vec<Item>, GraphError> {
    let batch: Batch = serde_json::from_slice(&ask.body)
        .ok()
        .ok_or_else(|| GraphError::new(400, "BadRequest", "Invalid batch payload format."))?;
    let count = batch.requests.len();
    if count == 0 || count > ITEMS_MAX {
        let message =
            format!("Number of batch request steps must be 1 to {ITEMS_MAX}, not {count}.");
        return Err(GraphError::new(400, "BadRequest", message));
    }
    let ids: HashSet<String> = batch.requests.iter().map(|item| item.id.to_lowercase()).collect();
    if ids.len() < count {
        return Err(GraphError::new(400, "BadRequest", "Request ids must be unique."));
    }
    let known = |item: &Item| item.depends_on.iter().all(|id| ids.contains(&id.to_lowercase()));
    if !batch.requests.iter().all(known) {
        return Err(GraphError::new(400, "BadRequest", "dependsOn names an unknown request."));
    }
    Ok(batch.requests)
}

fn one(world: &mut World, ask: &Ask, version: &str, caller: &Caller, item: &Item) -> Reply {
    if world.strikes(Fault::Batch429) {
        let error = GraphError::new(429, "TooManyRequests", "Too many requests.");
        return error.with("retry-after", "1").reply(world, ask);
    }
    if world.strikes(Fault::Batch503) {
        let message = "Please try again later.";
        return GraphError::new(503, "ServiceUnavailable", message).reply(world, ask);
    }
    let (Ok(method), false) = (item.method.parse::<Method>(), item.url.contains("://")) else {
        return GraphError::bad("An item needs a method and a relative url.").reply(world, ask);
    };
    let mut headers = HeaderMap::new();
    for (name, value) in &item.headers {
        let pair = (name.parse::<HeaderName>(), HeaderValue::from_str(value));
        if let (Ok(name), Ok(value)) = pair {
            headers.insert(name, value);
        }
    }
    let target = format!("{version}/{}", item.url.trim_start_matches('/'));
    let ask = Ask::new(method, &target, headers, Vec::new());
    inner(world, &ask, &ask.path(), caller)
}

fn response(id: &str, reply: &Reply) -> Value {
    let headers: Map<String, Value> = reply
        .headers
        .iter()
        .map(|(name, value)| {
            let name = match *name {
                "content-type" => "Content-Type",
                "retry-after" => "Retry-After",
                "location" => "Location",
                other => other,
            };
            (name.to_owned(), value.as_str().into())
        })
        .collect();
    let body: Value = serde_json::from_slice(&reply.body).unwrap_or(Value::Null);
    json!({"id": id, "status": reply.status, "headers": headers, "body": body})
}
