//! Alive, and ready: two questions that a supervisor asks.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::Ops;
use crate::domain::SourceKey;
use crate::http::problem::Problem;
use crate::store::Guard;

/// 200 while the process lives.
pub(super) async fn alive() -> &'static str {
    "alive\n"
}

/// 200 once the store is loaded and writable. Not: synced. Answers flow from what is there.
/// Looking at the store's folder waits for the disk, so it happens on a thread that may.
pub(super) async fn ready(State(ops): State<Arc<Ops>>) -> Result<Response, Problem> {
    tokio::task::spawn_blocking(move || readiness(&ops))
        .await
        .map_err(|error| Problem::internal("readiness cannot be told").because(error))
}

fn readiness(ops: &Ops) -> Response {
    let report = ops.store.report();
    let mirror = ops.store.mirror();
    let subscriptions = mirror.source(SourceKey::SUBSCRIPTIONS);
    let read = mirror.tenants().filter(|it| it.directory.last_complete.is_some()).count();
    let ready = report.refused.is_none();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = json!({
        "ready": ready,
        "store": {
            "loaded": true,
            "writable": ready,
            "error": report.refused,
            "survives_power_loss": report.guard.guard == Guard::On,
            "seccomp": report.guard.seccomp,
            "disk_bytes": report.disk_bytes,
            "live_bytes": report.live_bytes,
            "free_bytes": report.free_bytes,
            "bloated": report.is_bloated(),
            "large_files": report.blobs,
            "last_commit": report.last_commit,
            "last_export": report.last_export,
        },
        "entra_keys_known": ops.entra.is_known(),
        "subscriptions_read": subscriptions.and_then(|it| it.last_complete).is_some(),
        "tenants": mirror.tenants().count(),
        "tenants_read": read,
    });
    (status, Json(body)).into_response()
}
