//! Alive, and ready: two questions that a supervisor asks.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::Ops;
use crate::domain::SourceKey;
use crate::telemetry;

/// 200 while the process lives.
pub(super) async fn alive() -> &'static str {
    "alive\n"
}

/// 200 once the store is loaded and writable. Not: synced. Answers flow from what is there.
pub(super) async fn ready(State(ops): State<Arc<Ops>>) -> Response {
    let writable = ops.store.writable();
    let report = ops.store.report();
    let mirror = ops.store.mirror();
    let subscriptions = mirror.source(SourceKey::SUBSCRIPTIONS);
    let read = mirror.tenants().filter(|it| it.directory.last_complete.is_some()).count();
    let status = if writable.is_ok() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = json!({
        "ready": writable.is_ok(),
        "store": {
            "loaded": true,
            "writable": writable.is_ok(),
            "error": writable.err().map(|it| telemetry::chain(&it)),
            "disk_bytes": report.disk_bytes,
            "live_bytes": report.live_bytes,
            "free_bytes": report.free_bytes,
        },
        "signing_keys_of_entra": ops.entra.is_known(),
        "subscriptions_read": subscriptions.and_then(|it| it.last_complete).is_some(),
        "tenants": mirror.tenants().count(),
        "tenants_read": read,
    });
    (status, Json(body)).into_response()
}
