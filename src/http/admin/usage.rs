//! `usage`: what was reported, what Microsoft has of it, and what it will not have.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Admin, Shared, lines, needed, parsed, rows, unreadable};
use crate::domain::{UsageEvent, UsageId, UsageState};
use crate::http::ids::Ids;
use crate::http::problem::Problem;
use crate::store::UsageFilter;
use crate::sync::SyncError;
use crate::sync::usage::{Reconciled, USAGE_ALARM};
use crate::telemetry;

/// How far back is compared unless it is said.
const RECONCILED: SignedDuration = SignedDuration::from_hours(7 * 24);

/// The routes of this file.
pub(super) fn routes() -> Router<Arc<Admin>> {
    Router::new()
        .route("/usage", get(list))
        .route("/usage/reconcile", get(reconcile))
        .route("/usage/{id}/retry", post(retry))
}

/// Which events are asked for.
#[derive(Deserialize)]
struct UsageQuery {
    subscription: Option<String>,
    since: Option<String>,
    state: Option<String>,
}

async fn list(State(admin): Shared, Query(query): Query<UsageQuery>) -> Result<Response, Problem> {
    let states = match query.state.as_deref() {
        None => Vec::new(),
        Some(word) => vec![known_state(word)?],
    };
    let filter = UsageFilter {
        subscription: parsed("subscription", query.subscription.as_deref())?,
        since: parsed("since", query.since.as_deref())?,
        states,
        limit: None,
    };
    let events = admin.store.usage(&filter);
    Ok(lines::rows(move |sink| events.iter().try_for_each(|it| sink.row(&row(it)))))
}

fn known_state(word: &str) -> Result<&'static str, Problem> {
    let known = UsageState::WORDS.into_iter().find(|it| *it == word.trim());
    known.ok_or_else(|| {
        let detail = format!("`state`: known are {}", UsageState::WORDS.join(", "));
        Problem::invalid(detail).of_field("state")
    })
}

async fn retry(State(admin): Shared, Ids(id): Ids<String>) -> Result<Json<Value>, Problem> {
    let id: UsageId = needed("id", &id)?;
    let revived = admin.usage.retry(id).await.map_err(unreadable)?;
    let missing = || match admin.store.usage_event(id) {
        None => Problem::not_found(format!("there is no usage event {id}")),
        Some(it) => {
            let detail = format!("{id} is {}: only dead ones are sent again", it.state.as_str());
            Problem::invalid(detail).of_field("id")
        }
    };
    let revived = revived.ok_or_else(missing)?;
    Ok(Json(row(&revived)))
}

/// What to compare.
#[derive(Deserialize)]
struct ReconcileQuery {
    since: Option<String>,
}

async fn reconcile(
    State(admin): Shared,
    Query(query): Query<ReconcileQuery>,
) -> Result<Response, Problem> {
    let since: Option<Timestamp> = parsed("since", query.since.as_deref())?;
    let week = || admin.now().checked_sub(RECONCILED).unwrap_or(Timestamp::UNIX_EPOCH);
    let compared = admin.usage.reconcile(since.unwrap_or_else(week)).await;
    let compared = compared.map_err(|error: SyncError| {
        let detail = format!("what Microsoft has cannot be read: {}", telemetry::chain(&error));
        Problem::unavailable(detail).because(error)
    })?;
    Ok(lines::all(compared.iter().map(compared_row)))
}

/// A row of `usage`.
fn row(it: &UsageEvent) -> Value {
    let (mut reference, mut accepted, mut why, mut status) = (None, None, None, None);
    match &it.state {
        UsageState::Open | UsageState::Closed => {}
        UsageState::Sent { reference: id, .. } => reference = id.as_deref(),
        UsageState::Duplicate { accepted: other, .. } => accepted = other.as_deref(),
        UsageState::Dead { status: word, why: reason, .. } => {
            (status, why) = (word.as_deref(), Some(&**reason));
        }
    }
    let differs = matches!(it.state, UsageState::Duplicate { differs: true, .. });
    json!({
        "id": it.id.to_string(),
        "subscription": it.key.subscription.to_string(),
        "dimension": *it.key.dimension,
        "plan": *it.plan,
        "hour": it.key.hour.to_string(),
        "effective": it.effective.to_string(),
        "quantity": it.quantity.to_string(),
        "reports": it.reports,
        "caller": *it.caller,
        "state": it.state.as_str(),
        "first": it.first.to_string(),
        "last": it.last.to_string(),
        "due": it.due().to_string(),
        "runs_out": it.runs_out().to_string(),
        "over_since": rows::time(it.state.over_since()),
        "reference": reference,
        "accepted_quantity": accepted,
        "differs": differs,
        "status": status,
        "why": why,
    })
}

fn compared_row(it: &Reconciled) -> Value {
    json!({
        "day": it.day.to_string(),
        "subscription": it.subscription.to_string(),
        "dimension": *it.dimension,
        "plan": *it.plan,
        "told": it.told,
        "events": it.events,
        "submitted": it.submitted,
        "processed": it.processed,
        "statuses": it.statuses.iter().map(|it| &**it).collect::<Vec<_>>(),
        "agrees": it.agrees(),
    })
}

/// Usage in `status`.
pub(super) fn status(admin: &Admin) -> Value {
    let (figures, now) = (admin.store.usage_figures(), admin.now());
    let mut counts: serde_json::Map<String, Value> = UsageState::WORDS
        .iter()
        .zip(figures.by_state)
        .map(|(word, count)| ((*word).to_owned(), count.into()))
        .collect();
    let alarm = figures.runs_out.is_some_and(|it| it.duration_since(now) <= USAGE_ALARM);
    let trouble = admin.usage.trouble();
    for (name, value) in [
        ("differing", figures.differing.into()),
        ("oldest", rows::time(figures.oldest)),
        ("next_due", rows::time(figures.next_due)),
        ("runs_out", rows::time(figures.runs_out)),
        ("about_to_run_out", alarm.into()),
        ("error", rows::text(trouble.as_ref().map(|it| &it.why))),
        ("error_since", rows::time(trouble.map(|it| it.since))),
    ] {
        counts.insert(name.to_owned(), value);
    }
    Value::Object(counts)
}
