//! `tenants`, `tenants show`, `consent-url` and `release`: who lets us look, how far, and what the
//! brake holds of them.

use axum::extract::{ConnectInfo, State};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use std::sync::Arc;
use tracing::info;

use super::socket::Operator;
use super::{Admin, Shared, lines, needed, rows, unreadable};
use crate::domain::{SourceKey, TenantId, Trigger};
use crate::http::ids::Ids;
use crate::http::problem::Problem;
use crate::sync::plan;

/// The routes below `/tenants`.
pub(super) fn routes() -> Router<Arc<Admin>> {
    Router::new()
        .route("/tenants", get(list))
        .route("/tenants/{id}", get(show))
        .route("/tenants/{id}/consent-url", get(consent_url))
        .route("/tenants/{id}/release", post(release))
}

async fn list(State(admin): Shared) -> Response {
    let (mirror, now) = (admin.store.snapshot(), admin.now());
    lines::rows(move |sink| {
        mirror.tenants().try_for_each(|it| sink.row(&rows::tenant(it, &admin.policy, now)))
    })
}

async fn show(State(admin): Shared, Ids(id): Ids<String>) -> Result<Json<Value>, Problem> {
    let tenant: TenantId = needed("tenant", &id)?;
    let (mirror, now) = (admin.store.snapshot(), admin.now());
    let view = mirror.tenant(tenant).ok_or_else(|| unknown(tenant))?;
    Ok(Json(rows::tenant(view, &admin.policy, now)))
}

async fn consent_url(State(admin): Shared, Ids(id): Ids<String>) -> Result<Json<Value>, Problem> {
    let tenant: TenantId = needed("tenant", &id)?;
    let nowhere = || {
        let detail = "set listen.public_url: the administrator is sent back to it after consenting";
        Problem::conflict(detail)
    };
    let url = admin.consents.link(tenant, admin.now()).ok_or_else(nowhere)?;
    Ok(Json(json!({"tenant": tenant.to_string(), "url": url.as_str()})))
}

/// Lets go of what the brake holds. What is there to release is looked up in the moment in which it
/// is released, so that nothing is taken away that a run has shown again meanwhile.
async fn release(
    State(admin): Shared,
    Ids(id): Ids<String>,
    ConnectInfo(operator): ConnectInfo<Operator>,
) -> Result<Json<Value>, Problem> {
    let tenant: TenantId = needed("tenant", &id)?;
    let (now, by, cause) = (admin.now(), operator.to_string(), operator.cause());
    let remove_limit = admin.policy.remove_limit;
    let decided = admin.store.decide(move |mirror| {
        let Some(view) = mirror.tenant(tenant) else { return (None, Err(unknown(tenant))) };
        let Some(commit) = plan::release(view, remove_limit, &cause, now) else {
            return (None, Err(nothing_held(tenant)));
        };
        let row = json!({
            "tenant": tenant.to_string(),
            "held": rows::held(view),
            "rights_held": commit.rights.len(),
            "by": by,
        });
        (Some(commit), Ok(row))
    });
    let row = decided.await.map_err(unreadable)??;
    info!(tenant.id = %tenant, by = %operator, "An operator released what the brake held");
    // The next read confirms it, or shows the licences again.
    admin.sync.nudge(SourceKey::directory(tenant), Trigger::Manual);
    Ok(Json(row))
}

fn unknown(tenant: TenantId) -> Problem {
    Problem::not_found(format!(
        "tenant {tenant} is not known; `entitled tenants` lists those that are"
    ))
}

fn nothing_held(tenant: TenantId) -> Problem {
    let detail = format!("the brake holds nothing of tenant {tenant}: there is nothing to release");
    Problem::conflict(detail)
}
