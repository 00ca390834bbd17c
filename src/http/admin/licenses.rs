//! `licenses` and `activations list`: what operators see of licenses and do to them.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{ConnectInfo, Query, State};
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Map, Value, json};
use tracing::info;

use super::socket::Operator;
use super::{Admin, Shared, lines, needed, overlap};
use crate::domain::{ActivationId, LicenseId};
use crate::http::ids::Ids;
use crate::http::licenses::fields::Fields;
use crate::http::licenses::{self, ImportHow, ImportRow, Order, rows};
use crate::http::once;
use crate::http::problem::Problem;

/// Whose idempotency keys they are: no caller has such a name.
const OPERATORS: &str = "\0operators";

/// The routes, to be merged into the listener's.
pub(super) fn routes() -> Router<Arc<Admin>> {
    Router::new()
        .route("/licenses", get(list).post(issue))
        .route("/licenses/overlap", get(overlap::list))
        .route("/licenses/switch-plan", get(overlap::switch_plan))
        .route("/licenses/export", get(export))
        .route("/licenses/import", post(import))
        .route("/licenses/{id}", get(show))
        .route("/licenses/{id}/package", post(package))
        .route("/licenses/{id}/reissue", post(reissue))
        .route("/licenses/{id}/{step}", post(step))
        .route("/activations", get(activations))
        .route("/activations/{id}/remove", post(remove))
}

impl Admin {
    fn order(&self, by: Operator) -> Order {
        Order { cause: by.cause(), repeat: None, now: self.now() }
    }

    /// An order that may be the repetition of one: the command line's `--once` is the idempotency key
    /// of HTTP. Who gives it again does not matter: it is done.
    fn order_once(
        &self,
        by: Operator,
        (uri, headers): (&Uri, &HeaderMap),
    ) -> Result<Order, Problem> {
        let asked = uri.query().unwrap_or_default().as_bytes();
        let repeat = once::repeat(OPERATORS, uri.path(), headers, asked)?;
        Ok(Order { repeat, ..self.order(by) })
    }
}

async fn list(State(admin): Shared) -> Response {
    let (mirror, now) = (admin.store.snapshot(), admin.now());
    lines::rows(move |sink| {
        let book = mirror.licenses();
        book.all().try_for_each(|it| sink.row(&rows::license(book, it, &admin.policy, now)))
    })
}

async fn activations(State(admin): Shared) -> Response {
    let mirror = admin.store.snapshot();
    lines::rows(move |sink| {
        mirror.licenses().activations().try_for_each(|it| sink.row(&rows::activation(it)))
    })
}

/// All that a file carries away.
async fn export(State(admin): Shared) -> Response {
    let mirror = admin.store.snapshot();
    lines::rows(move |sink| {
        let book = mirror.licenses();
        book.all().try_for_each(|it| sink.row(&licenses::exported(book, it)))
    })
}

/// A batch of a file's rows; what each comes to.
async fn import(
    State(admin): Shared,
    Query(how): Query<ImportHow>,
    ConnectInfo(operator): ConnectInfo<Operator>,
    body: Bytes,
) -> Result<Json<Value>, Problem> {
    let rows: Vec<ImportRow> = serde_json::from_slice(&body)
        .map_err(|error| Problem::malformed(format!("these are no rows: {error}")))?;
    let catalog = Arc::clone(&admin.catalog);
    licenses::import(&admin.store, catalog, rows, how, (operator.cause(), admin.now()))
        .await
        .map(Json)
}

async fn issue(
    State(admin): Shared,
    Query(fields): Query<Map<String, Value>>,
    ConnectInfo(operator): ConnectInfo<Operator>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Json<Value>, Problem> {
    let sale = Fields(&fields).sale(&admin.catalog)?;
    let order = admin.order_once(operator, (&uri, &headers))?;
    let row = licenses::issue(&admin.store, &admin.policy, sale, order).await?;
    let id = row.get("id").and_then(Value::as_str).unwrap_or_default();
    info!(license.id = id, by = %operator, "An operator issued a license");
    Ok(Json(row))
}

async fn step(
    State(admin): Shared,
    Ids((id, name)): Ids<(String, String)>,
    Query(fields): Query<Map<String, Value>>,
    ConnectInfo(operator): ConnectInfo<Operator>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Json<Value>, Problem> {
    let id: LicenseId = needed("id", &id)?;
    let (step, price) = licenses::read_step(&name, &fields)?;
    let order = admin.order_once(operator, (&uri, &headers))?;
    let row = licenses::step(&admin.store, &admin.policy, (id, step), price, order).await?;
    info!(license.id = %id, step = name, by = %operator, "An operator changed a license");
    Ok(Json(row))
}

/// With who uses it, and what visuals declared of where they run.
async fn show(State(admin): Shared, Ids(id): Ids<String>) -> Result<Json<Value>, Problem> {
    let (mirror, now) = (admin.store.snapshot(), admin.now());
    let book = mirror.licenses();
    let id: LicenseId = needed("id", &id)?;
    let it = book.license(id).ok_or_else(licenses::unknown)?;
    Ok(Json(rows::whole(book, it, &admin.policy, now)))
}

/// The token to build into a package of this license.
async fn package(
    State(admin): Shared,
    Ids(id): Ids<String>,
    ConnectInfo(operator): ConnectInfo<Operator>,
) -> Result<Json<Value>, Problem> {
    let (id, order) = (needed("id", &id)?, admin.order(operator));
    let token = licenses::package(&admin.store, &admin.catalog, &admin.issuer, id, order);
    Ok(Json(json!({ "id": id.as_str(), "token": token.await? })))
}

/// The license under a new id and key; the old ones are worth nothing from now on.
async fn reissue(
    State(admin): Shared,
    Ids(id): Ids<String>,
    ConnectInfo(operator): ConnectInfo<Operator>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Json<Value>, Problem> {
    let id: LicenseId = needed("id", &id)?;
    let order = admin.order_once(operator, (&uri, &headers))?;
    let row = licenses::reissue(&admin.store, &admin.policy, id, order).await?;
    info!(license.id = %id, by = %operator, "An operator issued a license anew");
    Ok(Json(row))
}

/// Frees the place of a tenant.
async fn remove(
    State(admin): Shared,
    Ids(id): Ids<String>,
    ConnectInfo(operator): ConnectInfo<Operator>,
) -> Result<Json<Value>, Problem> {
    let id: ActivationId = needed("id", &id)?;
    let row = licenses::unbind(&admin.store, id, admin.order(operator)).await?;
    info!(activation.id = %id, by = %operator, "An operator let a tenant go");
    Ok(Json(row))
}
