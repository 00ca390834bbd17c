//! Seats in figures: per tenant and product what was bought, assigned, in error and really used, when
//! seats run out, and who is without one.

use axum::extract::{Query, State};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Admin, Shared, lines, parsed};
use crate::domain::{TenantId, UserId, date_of};
use crate::http::problem::Problem;
use crate::sync::seats::{SHOWN_MAX, SeatFigures};

/// Which figures are asked for.
#[derive(Deserialize)]
pub(super) struct FiguresQuery {
    tenant: Option<String>,
    product: Option<String>,
}

/// A row for each tenant and plan, with all that was noted before.
pub(super) async fn list(
    State(admin): Shared,
    Query(query): Query<FiguresQuery>,
) -> Result<Response, Problem> {
    let tenant: Option<TenantId> = parsed("tenant", query.tenant.as_deref())?;
    if let Some(product) = &query.product {
        super::product(&admin.catalog, product)?;
    }
    let figures = admin.seats.now().await;
    let wanted = figures.iter().filter(|it| {
        tenant.is_none_or(|tenant| it.tenant == tenant)
            && query.product.as_ref().is_none_or(|product| it.product.as_str() == product)
    });
    Ok(lines::all(wanted.map(row)))
}

fn row(it: &SeatFigures) -> Value {
    let users = |all: &[UserId]| all.iter().map(ToString::to_string).collect::<Vec<_>>();
    json!({
        "tenant": it.tenant.to_string(),
        "name": it.name.as_deref(),
        "product": it.product.as_str(),
        "plan": *it.plan,
        "sku": it.sku.to_string(),
        "bought": it.bought,
        "consumed": it.consumed,
        "assigned": it.assigned,
        "in_error": it.in_error,
        "waiting": it.waiting,
        "used": it.used,
        "used_in_week": it.used_in_week,
        "short": it.is_short(),
        "without": users(&it.without),
        "next_without": users(&it.next_without),
        "names_are_all": it.without.len() < SHOWN_MAX && it.next_without.len() < SHOWN_MAX,
        "forecast": it.forecast.as_str(),
        "runs_out": it.forecast.runs_out().map(|day| date_of(day).to_string()),
        "grown": it.growth.map(|(by, _)| by),
        "grown_in_days": it.growth.map(|(_, days)| days),
    })
}

/// Who is short of seats, for `status`.
pub(super) fn status(admin: &Admin) -> Value {
    let figures = admin.seats.latest();
    let short = figures.iter().filter(|it| it.is_short());
    let rows: Vec<Value> = short
        .map(|it| {
            json!({
                "tenant": it.tenant.to_string(),
                "name": it.name.as_deref(),
                "product": it.product.as_str(),
                "bought": it.bought,
                "consumed": it.consumed,
                "without": it.without.len().saturating_add(it.next_without.len()),
            })
        })
        .collect();
    json!({"short": rows.len(), "some": rows.into_iter().take(20).collect::<Vec<_>>()})
}
