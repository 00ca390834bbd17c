//! `notify`: how the publisher's own systems fare that are told what happens, what they never got,
//! and sending it again.

use std::sync::Arc;

use axum::extract::{ConnectInfo, Query, State};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::socket::Operator;
use super::{Admin, Shared, lines, parsed, rows, unreadable};
use crate::domain::{Delivery, DeliveryState, Quoted};
use crate::http::problem::Problem;
use crate::notify::{EndpointStatus, NotifyHandle, Replay};

/// The routes of this file.
pub(super) fn routes() -> Router<Arc<Admin>> {
    Router::new()
        .route("/notify", get(list))
        .route("/notify/dead", get(dead))
        .route("/notify/replay", post(replay))
        .route("/notify/test", post(test))
}

/// Which events are asked for.
#[derive(Deserialize)]
struct Wanted {
    endpoint: Option<String>,
    id: Option<String>,
    #[serde(default)]
    all: bool,
    since: Option<String>,
}

/// A row an endpoint.
pub(super) fn rows(notify: &NotifyHandle) -> Vec<Value> {
    notify.status().iter().map(endpoint).collect()
}

fn endpoint(it: &EndpointStatus) -> Value {
    json!({
        "endpoint": *it.name,
        "url": it.url,
        "state": it.state,
        "waiting": it.waiting,
        "dead": it.dead,
        "oldest": rows::time(it.oldest),
        "rest_until": rows::time(it.rest_until),
        "last_success": rows::time(it.last_success),
        "last_failure": rows::time(it.last_failure),
        "last_error": it.last_error.as_deref(),
    })
}

fn delivery(it: &Delivery) -> Value {
    let (state, at) = match it.state {
        DeliveryState::Waiting { due } => ("waiting", due),
        DeliveryState::Sent { at } => ("sent", Some(at)),
        DeliveryState::Dead { at } => ("dead", Some(at)),
    };
    json!({
        "id": *it.id,
        "endpoint": *it.endpoint,
        "type": it.kind.as_str(),
        "subject": *it.subject,
        "at": it.at.to_string(),
        "state": state,
        "since": rows::time(at),
        "tries": it.tries,
        "error": it.error.as_deref(),
        "body": serde_json::from_str::<Value>(&it.body).unwrap_or_default(),
    })
}

async fn list(State(admin): Shared) -> Response {
    lines::all(rows(&admin.notify))
}

async fn dead(State(admin): Shared, Query(wanted): Query<Wanted>) -> Result<Response, Problem> {
    let endpoint = known(&admin, wanted.endpoint.as_deref())?;
    Ok(lines::all(admin.notify.dead(endpoint).iter().map(|it| delivery(it))))
}

/// Sends events again that were given up, or that were sent in the last days.
async fn replay(
    State(admin): Shared,
    Query(wanted): Query<Wanted>,
    ConnectInfo(operator): ConnectInfo<Operator>,
) -> Result<Response, Problem> {
    let since = parsed("since", wanted.since.as_deref())?;
    let which = match (wanted.id, wanted.all, since) {
        (Some(id), false, None) => Replay::One(id.into()),
        (None, true, None) => Replay::Dead,
        (None, false, Some(since)) => Replay::Since(since),
        _ => return Err(Problem::invalid("say one of an id, all, or since when")),
    };
    let endpoint = known(&admin, wanted.endpoint.as_deref())?;
    let again =
        admin.notify.replay(&which, endpoint, &operator.cause()).await.map_err(unreadable)?;
    if let (Replay::One(id), true) = (&which, again.is_empty()) {
        let detail = format!(
            "there is no event {id} that was given up or sent, and is kept, for an endpoint that is \
             configured"
        );
        return Err(Problem::not_found(detail));
    }
    Ok(lines::all(again.iter().map(|it| delivery(it))))
}

async fn test(State(admin): Shared, Query(wanted): Query<Wanted>) -> Result<Json<Value>, Problem> {
    let name = wanted.endpoint.unwrap_or_default();
    known(&admin, Some(&name))?;
    let tested = admin.notify.test(&name).await;
    let tested = tested.map_err(|error| Problem::unavailable(error.to_string()))?;
    Ok(Json(json!({
        "endpoint": name,
        "id": tested.id,
        "taken": tested.taken,
        "status": tested.answer.status,
        "answer": tested.answer.text,
        "took_ms": u64::try_from(tested.took.as_millis()).unwrap_or(u64::MAX),
    })))
}

/// The endpoint, if there is one of this name: configured, or with events left.
fn known<'a>(admin: &Admin, endpoint: Option<&'a str>) -> Result<Option<&'a str>, Problem> {
    let Some(name) = endpoint else { return Ok(None) };
    let all = admin.notify.status();
    if all.iter().any(|it| *it.name == *name) {
        return Ok(Some(name));
    }
    let names: Vec<&str> = all.iter().map(|it| &*it.name).collect();
    let there = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    let detail = format!("there is no [[notify]] called {}; there is: {there}", Quoted(name));
    Err(Problem::invalid(detail).of_field("endpoint"))
}
