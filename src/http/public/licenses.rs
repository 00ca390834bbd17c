//! Servers sell licenses: on disk before the answer.
//!
//! Source: contract sections 5, 6 and 7.

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::refusals::{CallerRefusals, WriteRefusals};
use super::{Shared, body, json};
use crate::config::Permission;
use crate::domain::Cause;
use crate::http::ids::Ids;
use crate::http::licenses::fields::Fields;
use crate::http::licenses::{self, Order};
use crate::http::once;
use crate::http::problem::{Problem, ProblemBody};

/// What is sold. Dates are RFC 3339, or days (their first moment, UTC); they may lie in the past.
#[derive(Deserialize, ToSchema)]
#[schema(as = LicenseSale)]
#[expect(dead_code, reason = "bodies are read field by field, so that the wrong one is named")]
pub(super) struct SaleBody {
    /// The product's id.
    product: String,
    /// `user`, `capacity` or `site`.
    kind: String,
    /// Whom it is made out to.
    licensee: String,
    /// How many users or nodes; absent sets no limit.
    max: Option<u64>,
    /// When the paid period begins; now by default. It counts from its activation on all the same.
    period_start: Option<String>,
    /// Until when it is paid; absent: for ever, or as `cycle` says.
    period_end: Option<String>,
    /// When its trial ends.
    trial_end: Option<String>,
    /// The domain of a `site`.
    domain: Option<String>,
    /// `warn` or `deny`, in place of the policy.
    over_limit: Option<String>,
    /// `trial`, `monthly`, `yearly` or `three_years`: sets the dates that are not named.
    cycle: Option<String>,
    /// The node size of a `capacity`, such as `P1`.
    node: Option<String>,
    /// The account that pays, when it is another one.
    billing: Option<String>,
    /// How many tenants may be bound to it; 1 by default.
    tenants_max: Option<u32>,
}

/// What changes. A new period begins, as long as the old one if nothing is said, where `max`, `kind`,
/// `node`, `domain`, `period_end` or `cycle` is named; the rest leaves the period as it is.
#[derive(Deserialize, ToSchema)]
#[schema(as = LicenseChange)]
#[expect(dead_code, reason = "bodies are read field by field, so that the wrong one is named")]
pub(super) struct ChangeBody {
    /// How many users or nodes.
    max: Option<u64>,
    /// `user`, `capacity` or `site`.
    kind: Option<String>,
    /// The end of the new period.
    period_end: Option<String>,
    /// How often it is paid from now on.
    cycle: Option<String>,
    /// `warn` or `deny`.
    over_limit: Option<String>,
    /// The node size of a `capacity`.
    node: Option<String>,
    /// The domain of a `site`.
    domain: Option<String>,
    /// How many tenants may be bound to it.
    tenants_max: Option<u32>,
    /// Whom it is made out to: the name before is not recognized any more.
    licensee: Option<String>,
    /// The account that pays.
    billing: Option<String>,
    /// The price of the period that ends: then the credit is an amount too.
    price: Option<f64>,
}

/// A license is issued: 201 once it is on disk, with its activation key, which is shown once.
#[utoipa::path(
    post, path = "/v1/licenses", tag = "licenses",
    params(("Idempotency-Key" = Option<String>, Header, description = "Remembered for 24 hours: the same request again issues nothing and gets the same answer")),
    request_body = SaleBody,
    responses(
        (status = 201, description = "The license, with `key`"),
        (status = 400, description = "The body is no object", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "A field cannot be accepted, or the idempotency key came with another body", body = ProblemBody, content_type = "application/problem+json"),
        WriteRefusals,
    ),
    security(("caller_key" = [])),
)]
pub(super) async fn issue(
    State(shared): State<Shared>,
    request: Request,
) -> Result<Response, Problem> {
    let (order, body) = read(&shared, request, "licenses").await?;
    let public = &shared.public;
    let sale = Fields(&body).sale(&public.catalog)?;
    let row = licenses::issue(&public.store, &public.policy, sale, order).await?;
    Ok(json(StatusCode::CREATED, bytes(&row)))
}

/// A license, with who uses it and which tenants are bound to it.
#[utoipa::path(
    get, path = "/v1/licenses/{id}", tag = "licenses",
    params(("id" = String, Path, description = "The license's id, such as L-7Q2M-…")),
    responses(
        (status = 200, description = "The license, as `licenses show` has it: with `bound`, the tenants, and `coverage`, who uses it"),
        (status = 404, description = "No such license", body = ProblemBody, content_type = "application/problem+json"),
        CallerRefusals,
    ),
    security(("caller_key" = [])),
)]
pub(super) async fn show(
    State(shared): State<Shared>,
    Ids(id): Ids<String>,
    request: Request,
) -> Result<Response, Problem> {
    let public = &shared.public;
    let (head, _) = request.into_parts();
    public.caller_that_may(Permission::Licenses, &head).await?;
    let mirror = public.store.snapshot();
    let book = mirror.licenses();
    let found = id.parse().ok().and_then(|id| book.license(id)).ok_or_else(licenses::unknown)?;
    let row = licenses::rows::whole(book, found, &public.policy, public.now());
    Ok(json(StatusCode::OK, bytes(&row)))
}

/// One handler a step: its documentation, its body and its answer.
macro_rules! steps {
    ($($(#[$doc:meta])* $name:ident $path:literal $word:literal $body:ty,)+) => {$(
        $(#[$doc])*
        #[utoipa::path(
            post, path = $path, tag = "licenses",
            params(
                ("id" = String, Path, description = "The license's id, such as L-7Q2M-…"),
                ("Idempotency-Key" = Option<String>, Header, description = "Remembered for 24 hours: the same request again does nothing and gets the same answer"),
            ),
            request_body = $body,
            responses(
                (status = 200, description = "The license afterwards; with `credit` where a paid period ended early"),
                (status = 400, description = "The body is no object", body = ProblemBody, content_type = "application/problem+json"),
                (status = 404, description = "No such license", body = ProblemBody, content_type = "application/problem+json"),
                (status = 409, description = "The license stands where this cannot be done", body = ProblemBody, content_type = "application/problem+json"),
                (status = 422, description = "A field cannot be accepted, or the idempotency key came with another body", body = ProblemBody, content_type = "application/problem+json"),
                WriteRefusals,
            ),
            security(("caller_key" = [])),
        )]
        pub(super) async fn $name(
            State(shared): State<Shared>,
            Ids(id): Ids<String>,
            request: Request,
        ) -> Result<Response, Problem> {
            step(&shared, &id, $word, request).await
        }
    )+};
}

steps! {
    /// It was paid: a new period begins now, as long as the old one unless an end is named.
    renew "/v1/licenses/{id}/renew" "renew" Option<ChangeBody>,
    /// Something about it differs at once: in a new period, if it covers something else.
    change "/v1/licenses/{id}/change" "change" ChangeBody,
    /// It ends with its period, without grace.
    cancel "/v1/licenses/{id}/cancel" "cancel" Option<Nothing>,
    /// It does not count until it is reinstated.
    suspend "/v1/licenses/{id}/suspend" "suspend" Option<Nothing>,
    /// It counts again.
    reinstate "/v1/licenses/{id}/reinstate" "reinstate" Option<Nothing>,
    /// It is over at once and for good.
    revoke "/v1/licenses/{id}/revoke" "revoke" Option<Nothing>,
}

/// Nothing is needed.
#[derive(Deserialize, ToSchema)]
#[schema(as = Nothing)]
pub(super) struct Nothing {}

async fn step(
    shared: &Shared,
    id: &str,
    name: &str,
    request: Request,
) -> Result<Response, Problem> {
    // The id is part of what an idempotency key stands for.
    let (order, body) = read(shared, request, &format!("licenses/{id}/{name}")).await?;
    let public = &shared.public;
    let id = id.parse().map_err(|_none| licenses::unknown())?;
    let (step, price) = licenses::read_step(name, &body)?;
    let row = licenses::step(&public.store, &public.policy, (id, step), price, order).await?;
    Ok(json(StatusCode::OK, bytes(&row)))
}

/// Who asks, and the body as an object; no body is an empty one.
pub(super) async fn read(
    shared: &Shared,
    request: Request,
    route: &str,
) -> Result<(Order, Map<String, Value>), Problem> {
    let (head, body) = request.into_parts();
    let public = &shared.public;
    let caller = public.caller_that_may(Permission::Licenses, &head).await?;
    let bytes = body::read(body, &head.headers, shared.body_bytes).await?;
    let repeat = once::repeat(&caller.name, route, &head.headers, &bytes)?;
    let object = if bytes.trim_ascii().is_empty() { Map::new() } else { body::json(&bytes)? };
    let cause = Cause::Caller(std::sync::Arc::clone(&caller.name));
    Ok((Order { cause, repeat, now: public.now() }, object))
}

/// A value always has a text.
pub(super) fn bytes(row: &Value) -> Vec<u8> {
    serde_json::to_vec(row).unwrap_or_default()
}
