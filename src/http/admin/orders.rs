//! `subscriptions activate`, `plans`, `change-plan`, `change-quantity`, `cancel`, `follow`.
//!
//! An order goes on when whoever asked for it leaves; its lines then go nowhere.

use std::sync::Arc;

use axum::Json;
use axum::extract::{ConnectInfo, Query, State};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::socket::Operator;
use super::{Shared, lines, needed, rows};
use crate::domain::SubscriptionId;
use crate::http::ids::Ids;
use crate::http::problem::Problem;
use crate::sync::orders::{
    Activated, AvailablePlan, Order, OrderError, OrderStep, Ordered, Preview, Request,
};

/// Steps that wait for a slow reader.
const STEPS: usize = 64;

/// What is ordered: one of the three.
#[derive(Deserialize)]
pub(super) struct OrderQuery {
    plan: Option<String>,
    quantity: Option<u64>,
    #[serde(default)]
    cancel: bool,
    #[serde(default)]
    force: bool,
    #[serde(default)]
    no_wait: bool,
}

impl OrderQuery {
    fn order(&self) -> Result<Order, Problem> {
        match (self.plan.as_deref().map(str::trim), self.quantity, self.cancel) {
            (Some(plan), None, false) if !plan.is_empty() => {
                Ok(Order::Plan(plan.to_ascii_lowercase().into()))
            }
            (None, Some(quantity), false) if quantity > 0 => Ok(Order::Quantity(quantity)),
            (None, None, true) => Ok(Order::Cancel),
            _ => {
                Err(Problem::invalid("one order is a plan, a quantity or the end").of_field("plan"))
            }
        }
    }
}

/// Whether to wait for the end.
#[derive(Deserialize)]
pub(super) struct ActivateQuery {
    #[serde(default)]
    no_wait: bool,
}

/// The plans that the customer may move to.
pub(super) async fn plans(State(admin): Shared, Ids(id): Ids<String>) -> Result<Response, Problem> {
    let id: SubscriptionId = needed("id", &id)?;
    let plans = admin.orders.plans(id).await.map_err(refused)?;
    let mirror = admin.store.snapshot();
    let present = mirror.subscription(id).map(|it| Arc::clone(&it.plan));
    Ok(lines::all(plans.iter().map(|it| plan(it, present.as_deref()))))
}

/// What an order would mean.
pub(super) async fn preview(
    State(admin): Shared,
    Ids(id): Ids<String>,
    Query(query): Query<OrderQuery>,
) -> Result<Json<Value>, Problem> {
    let id: SubscriptionId = needed("id", &id)?;
    let order = query.order()?;
    let told = admin.orders.preview(id, &order, query.force).await.map_err(refused)?;
    let Preview { subscription, plan: present, already, notes } = told;
    Ok(Json(json!({
        "subscription": rows::subscription(&subscription),
        "plan": present.as_ref().map(|it| plan(it, Some(&*subscription.plan))),
        "already": already,
        "notes": notes,
    })))
}

/// Lines `{"progress": …}` while it goes on, then `{"ordered": …}` or `{"error": …}`; the last one
/// is `{"done": true}`.
pub(super) async fn order(
    State(admin): Shared,
    Ids(id): Ids<String>,
    Query(query): Query<OrderQuery>,
    ConnectInfo(operator): ConnectInfo<Operator>,
) -> Result<Response, Problem> {
    let id: SubscriptionId = needed("id", &id)?;
    let (force, wait) = (query.force, !query.no_wait);
    let request = Request { order: query.order()?, by: operator.cause(), force, wait };
    let orders = admin.orders.clone();
    Ok(told(async move |progress| orders.order(id, request, progress).await))
}

/// As [`order`].
pub(super) async fn activate(
    State(admin): Shared,
    Ids(id): Ids<String>,
    Query(query): Query<ActivateQuery>,
    ConnectInfo(operator): ConnectInfo<Operator>,
) -> Result<Response, Problem> {
    let id: SubscriptionId = needed("id", &id)?;
    let (orders, by) = (admin.orders.clone(), operator.cause());
    Ok(told(async move |progress| {
        let activated = orders.activate(id, by.clone()).await?;
        if query.no_wait || matches!(activated, Activated::Already(_)) {
            return Ok(activated.into());
        }
        orders.follow_activation(id, &by, &progress).await
    }))
}

/// As [`order`].
pub(super) async fn follow(
    State(admin): Shared,
    Ids((id, operation)): Ids<(String, String)>,
    ConnectInfo(operator): ConnectInfo<Operator>,
) -> Result<Response, Problem> {
    let id: SubscriptionId = needed("id", &id)?;
    let orders = admin.orders.clone();
    Ok(told(async move |progress| {
        orders.follow(id, &operation, &operator.cause(), &progress).await
    }))
}

fn told<F>(work: impl FnOnce(mpsc::Sender<OrderStep>) -> F + Send + 'static) -> Response
where
    F: Future<Output = Result<Ordered, OrderError>> + Send,
{
    let (send, receive) = mpsc::channel(STEPS);
    let work = async move {
        let (progress, mut steps) = mpsc::channel(STEPS);
        let telling = async {
            while let Some(step) = steps.recv().await {
                drop(send.send(lines::line(&json!({"progress": step_row(&step)}))).await);
            }
        };
        let (ended, ()) = tokio::join!(work(progress), telling);
        let last = match ended {
            Ok(it) => json!({"ordered": ordered(&it)}),
            Err(error) => json!({"error": {"type": error.word(), "detail": error.to_string()}}),
        };
        for row in [&last, &json!({"done": true})] {
            drop(send.send(lines::line(row)).await);
        }
    };
    lines::driven(work, receive)
}

fn refused(error: OrderError) -> Problem {
    let detail = error.to_string();
    match error.word() {
        "unknown" => Problem::not_found(detail),
        "store" => Problem::internal(detail).because(error),
        _ => Problem::conflict(detail),
    }
}

fn ordered(it: &Ordered) -> Value {
    let mut row = rows::subscription(&it.subscription);
    if let Value::Object(row) = &mut row {
        row.insert("outcome".to_owned(), it.end.as_str().into());
        row.insert("operation".to_owned(), json!(it.operation.as_deref()));
    }
    row
}

fn step_row(it: &OrderStep) -> Value {
    match it {
        OrderStep::Accepted { operation } => json!({"step": "accepted", "operation": **operation}),
        OrderStep::Looked { status, waited } => {
            json!({"step": "looked", "status": **status, "waited_s": waited.as_secs()})
        }
        OrderStep::ReadingBack { because } => {
            json!({"step": "reading_back", "because": **because})
        }
        OrderStep::Unseen => json!({"step": "unseen"}),
    }
}

/// A row of `subscriptions plans`.
fn plan(it: &AvailablePlan, present: Option<&str>) -> Value {
    let terms = it
        .terms
        .iter()
        .map(|term| json!({"unit": *term.unit, "currency": *term.currency, "price": *term.price}));
    json!({
        "plan": *it.plan,
        "name": *it.name,
        "present": present == Some(&*it.plan),
        "private": it.private,
        "per_seat": it.per_seat,
        "min_quantity": it.min_quantity,
        "max_quantity": it.max_quantity,
        "free_trial": it.free_trial,
        "stop_sell": it.stop_sell,
        "terms": terms.collect::<Vec<_>>(),
        "private_offers": it.private_offers.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}
