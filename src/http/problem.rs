//! Every way to fail, and what the caller hears (RFC 9457).
//!
//! A 4xx says what to fix; a 5xx says no cause, which goes to the log with the request's line.

use std::error::Error;
use std::sync::Arc;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

/// What failed, as the client gets it.
#[derive(Clone, Debug)]
pub struct Problem {
    status: StatusCode,
    kind: &'static str,
    title: &'static str,
    detail: String,
    field: Option<&'static str>,
    retry_after_s: Option<u32>,
    cause: Option<Cause>,
}

/// Why a request failed through our own fault: for the log only.
#[derive(Clone, Debug)]
pub(super) struct Cause(pub(super) Arc<dyn Error + Send + Sync>);

/// The body of every answer that is an error.
#[derive(Serialize, ToSchema)]
#[schema(as = Problem, example = json!({
    "type": "unknown-product", "title": "No such product", "status": 404,
    "detail": "`synoptic` is no product of ours: see the configuration's [[product]] ids",
}))]
pub struct ProblemBody<'a> {
    /// A stable name of what is wrong, such as `unknown-product`.
    #[serde(rename = "type")]
    kind: &'a str,
    /// The same for people, always the same for a `type`.
    title: &'a str,
    /// The HTTP status.
    status: u16,
    /// What to fix.
    detail: &'a str,
    /// The field that is wrong, where one is.
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a str>,
}

/// One constructor a problem: its `type`, status and title from one table.
macro_rules! problems {
    ($($(#[$doc:meta])* $name:ident = $status:ident $kind:literal $title:literal,)+) => {
        impl Problem {
            $($(#[$doc])*
            pub fn $name(detail: impl Into<String>) -> Self {
                Self {
                    status: StatusCode::$status,
                    kind: $kind,
                    title: $title,
                    detail: detail.into(),
                    field: None,
                    retry_after_s: None,
                    cause: None,
                }
            })+
        }
    };
}

problems! {
    /// The body is no question.
    malformed = BAD_REQUEST "malformed-body" "The body cannot be read",
    /// The host is missing or no word of ours.
    unknown_host = BAD_REQUEST "unknown-host" "No such host",
    /// The product is none of the publisher's.
    unknown_product = NOT_FOUND "unknown-product" "No such product",
    /// Nobody, or nobody we know, asks.
    unauthorized = UNAUTHORIZED "unauthorized" "The credentials are missing or not accepted",
    /// Known, but not allowed.
    forbidden = FORBIDDEN "forbidden" "The credentials do not allow this",
    /// The activation key does not count here; why is told to nobody.
    key_not_accepted = FORBIDDEN "key-not-accepted" "The activation key is not accepted",
    /// No such route.
    not_found = NOT_FOUND "not-found" "No such resource",
    /// The route knows other methods.
    method_not_allowed = METHOD_NOT_ALLOWED "method-not-allowed" "The method is not allowed here",
    /// The request did not arrive in time.
    timeout = REQUEST_TIMEOUT "timeout" "The request took too long",
    /// The usage of the hour was sent already.
    hour_closed = CONFLICT "hour-closed" "The usage of this hour is closed",
    /// An idempotency key came with another body.
    key_reused = UNPROCESSABLE_ENTITY "idempotency-key-reused" "The idempotency key came with another body",
    /// The body is too large.
    body_too_large = PAYLOAD_TOO_LARGE "body-too-large" "The body is too large",
    /// The URI is too long.
    uri_too_long = URI_TOO_LONG "uri-too-long" "The address is too long",
    /// The head is too large.
    head_too_large = REQUEST_HEADER_FIELDS_TOO_LARGE "head-too-large" "The request's head is too large",
    /// A field is wrong.
    invalid = UNPROCESSABLE_ENTITY "invalid-field" "A field cannot be accepted",
    /// As things stand it cannot be done.
    conflict = CONFLICT "conflict" "It cannot be done as things stand",
    /// Too many requests.
    too_many = TOO_MANY_REQUESTS "too-many-requests" "Too many requests",
    /// We lack something for a moment.
    unavailable = SERVICE_UNAVAILABLE "unavailable" "Temporarily unavailable",
    /// A fault of ours.
    internal = INTERNAL_SERVER_ERROR "internal" "Internal error",
}

impl Problem {
    /// What was sent cannot be kept, and so not be acknowledged.
    pub fn unwritten(cause: impl Error + Send + Sync + 'static) -> Self {
        let detail = "it cannot be written down: send it again";
        Self::unavailable(detail).retry_after(5).because(cause)
    }

    /// An idempotency key came with another body.
    pub fn other_body() -> Self {
        let detail = "this Idempotency-Key came with another body in the last 24 hours: use a new \
                      one for each request";
        Self::key_reused(detail).of_field("Idempotency-Key")
    }

    /// No further idempotency key can be remembered.
    pub fn too_many_keys() -> Self {
        let detail = "too many idempotency keys came in the last 24 hours: try again later";
        Self::unavailable(detail).retry_after(60)
    }

    /// Names the field that is wrong.
    #[must_use]
    pub fn of_field(self, field: &'static str) -> Self {
        Self { field: Some(field), ..self }
    }

    /// Says after how many seconds to try again.
    #[must_use]
    pub fn retry_after(self, seconds: u32) -> Self {
        Self { retry_after_s: Some(seconds), ..self }
    }

    /// Keeps the cause for the log.
    #[must_use]
    pub fn because(self, cause: impl Error + Send + Sync + 'static) -> Self {
        Self { cause: Some(Cause(Arc::new(cause))), ..self }
    }

    /// Its stable name.
    pub const fn kind(&self) -> &'static str {
        self.kind
    }

    /// Its HTTP status.
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// Its body.
    pub fn body(&self) -> ProblemBody<'_> {
        ProblemBody {
            kind: self.kind,
            title: self.title,
            status: self.status.as_u16(),
            detail: &self.detail,
            field: self.field,
        }
    }
}

impl ProblemBody<'_> {
    /// What to fix.
    pub const fn detail(&self) -> &str {
        self.detail
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self.body()).unwrap_or_default();
        let mut response = (self.status, body).into_response();
        let headers = response.headers_mut();
        let json = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, json);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(cause) = self.cause {
            response.extensions_mut().insert(cause);
        }
        response
    }
}
