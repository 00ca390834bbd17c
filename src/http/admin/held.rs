//! `subscriptions held`, `confirm` and `dismiss`: what customers ask for, and an operator's word.

use std::sync::Arc;

use axum::Json;
use axum::extract::{ConnectInfo, Query, State};
use axum::response::Response;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::lines;
use super::rows::{text, time};
use super::socket::Operator;
use super::{Shared, unreadable};
use crate::domain::{
    AskedChange, AskedState, AskedWrite, Change, Commit, Entity, Fact, Impact, Losers, Terms,
};
use crate::http::ids::Ids;
use crate::http::problem::Problem;

/// Which requests are asked for.
#[derive(Deserialize)]
pub(super) struct HeldQuery {
    /// Those that wait for nobody too.
    #[serde(default)]
    all: bool,
}

/// Requests, oldest first: those that wait for an operator or that he has decided, or all.
pub(super) async fn list(State(admin): Shared, Query(query): Query<HeldQuery>) -> Response {
    let (mirror, now) = (admin.store.snapshot(), admin.now());
    let shown = |it: &&Arc<AskedChange>| {
        query.all
            || match it.state {
                AskedState::Held | AskedState::Confirmed => true,
                AskedState::Accepted
                | AskedState::Refused
                | AskedState::Dismissed
                | AskedState::Overruled => false,
            }
    };
    let mut asked: Vec<_> = mirror.all_asked().filter(shown).collect();
    asked.sort_by_key(|it| it.at);
    lines::all(asked.into_iter().map(|it| row(it, now)))
}

/// The next identical request of the customer's is accepted.
pub(super) async fn confirm(
    admin: Shared,
    operation: Ids<String>,
    by: ConnectInfo<Operator>,
) -> Result<Json<Value>, Problem> {
    decide(admin, operation, by, AskedState::Confirmed).await
}

/// The next identical request is held again.
pub(super) async fn dismiss(
    admin: Shared,
    operation: Ids<String>,
    by: ConnectInfo<Operator>,
) -> Result<Json<Value>, Problem> {
    decide(admin, operation, by, AskedState::Dismissed).await
}

async fn decide(
    State(admin): Shared,
    Ids(operation): Ids<String>,
    ConnectInfo(operator): ConnectInfo<Operator>,
    to: AskedState,
) -> Result<Json<Value>, Problem> {
    let operation = operation.trim().to_ascii_lowercase();
    let now = admin.now();
    let missing = || {
        let detail = format!("no change was asked for by an operation {operation}");
        Problem::not_found(detail)
    };
    let mirror = admin.store.snapshot();
    let asked = mirror.asked(&operation).ok_or_else(missing)?;
    let too_late = |state: AskedState| {
        Problem::conflict(format!("it is {state}: only what is held can be decided"))
    };
    if !asked.state.may_become(to) {
        return Err(too_late(asked.state));
    }
    let words = |state: &str| Some(Fact::Words(format!("{}: {state}", asked.asks).into()));
    let change = Change {
        at: now,
        cause: operator.cause(),
        entity: Entity::Operation,
        id: asked.subscription.to_string().into(),
        tenant: asked.tenant,
        user: None,
        before: words(asked.state_at(now)),
        after: words(to.as_str()),
    };
    let write = AskedWrite::Move { operation: Arc::clone(&asked.operation), to, at: now };
    let commit = Commit { asked: vec![write], changes: vec![change], ..Commit::default() };
    admin.store.commit(commit).await.map_err(unreadable)?;
    let mirror = admin.store.snapshot();
    let asked = mirror.asked(&operation).ok_or_else(missing)?;
    // Something may have come of it in the same moment.
    if asked.state == to { Ok(Json(row(asked, now))) } else { Err(too_late(asked.state)) }
}

/// A row of `subscriptions held`.
fn row(it: &AskedChange, now: Timestamp) -> Value {
    json!({
        "at": it.at.to_string(),
        "subscription": it.subscription.to_string(),
        "tenant": text(it.tenant),
        "operation": &*it.operation,
        "action": it.action.as_str(),
        "has": terms(&it.before),
        "asks": terms(&it.asks),
        "impact": impact(&it.impact),
        "state": it.state_at(now),
        "since": it.since.to_string(),
        "accepted_until": time(it.confirmed_until()),
    })
}

fn terms(it: &Terms) -> Value {
    json!({"plan": &*it.plan, "quantity": it.quantity})
}

fn impact(it: &Impact) -> Value {
    let loses = match it.losers {
        Losers::Nobody => "nobody",
        Losers::Users { .. } => "users",
        Losers::AllBut(_) => "all_but_seats",
        Losers::Everyone => "everyone",
    };
    json!({
        "words": it.to_string(),
        "plan_known": it.plan_known,
        "loses_access": loses,
        "users_losing": it.users_losing(),
        "users": it.users().iter().map(ToString::to_string).collect::<Vec<_>>(),
        "features_lost": it.features_lost.iter().map(|it| &**it).collect::<Vec<_>>(),
        "features_won": it.features_won.iter().map(|it| &**it).collect::<Vec<_>>(),
        "coverage_before": text(it.coverage_before),
        "coverage_after": text(it.coverage_after),
    })
}
