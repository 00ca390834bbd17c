//! Graph tells that users or groups changed, and what becomes of its subscriptions. A hint: it starts a
//! look, and what is true is read from Microsoft (`sync::notifications`).
//!
//! Nothing here waits for the disk: Graph slows down and then drops whoever answers slowly. What a
//! crash loses the schedule makes good.
//!
//! Source: graph-licensing.md section 6.

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use tokio::time::Instant;

use super::{Shared, body, client_of};
use crate::http::problem::{Problem, ProblemBody};
use crate::http::serve::Peer;

/// The longest token that is echoed, in bytes.
///
/// Source: reliability.md, test C7.
const TOKEN_MAX: usize = 1_024;

/// Something changed in a tenant's directory. 202 whether or not it is of interest.
#[utoipa::path(
    post, path = "/graph/notifications", tag = "graph",
    params(("validationToken" = Option<String>, Query, description = "Graph asks whether the address is ours: echoed as plain text")),
    request_body(content = Object, description = "A delivery of Graph's change notifications"),
    responses(
        (status = 200, description = "The decoded `validationToken`", content_type = "text/plain"),
        (status = 202, description = "Taken in; what names no subscription of ours is counted and has no effect"),
        (status = 400, description = "The body is no delivery, or the token is longer than 1,024 bytes", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests: see Retry-After", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn notifications(
    State(shared): State<Shared>,
    request: Request,
) -> Result<Response, Problem> {
    receive(&shared, request).await
}

/// A subscription to notifications needs care, or is gone. 202 whether or not it is ours.
#[utoipa::path(
    post, path = "/graph/lifecycle", tag = "graph",
    params(("validationToken" = Option<String>, Query, description = "Graph asks whether the address is ours: echoed as plain text")),
    request_body(content = Object, description = "A delivery of Graph's lifecycle notifications"),
    responses(
        (status = 200, description = "The decoded `validationToken`", content_type = "text/plain"),
        (status = 202, description = "Taken in; what names no subscription of ours is counted and has no effect"),
        (status = 400, description = "The body is no delivery, or the token is longer than 1,024 bytes", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests: see Retry-After", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn lifecycle(
    State(shared): State<Shared>,
    request: Request,
) -> Result<Response, Problem> {
    receive(&shared, request).await
}

/// Each kind is told by what it says, not by where it came.
async fn receive(shared: &Shared, request: Request) -> Result<Response, Problem> {
    let (head, body) = request.into_parts();
    let public = &shared.public;
    let ip = client_of(head.extensions.get::<Peer>(), &head.headers);
    public.limiters.address(ip).map_err(|it| public.limited(it))?;
    if let Some(token) = validation_token(head.uri.query().unwrap_or_default()) {
        return echo(token);
    }
    let bytes = body::read(body, &head.headers, body::MANY_BYTES).await?;
    let mirror = public.store.snapshot();
    let taken = public.notifications.receive(&mirror, &bytes, public.now(), Instant::now());
    taken
        .ok_or_else(|| Problem::malformed("send a delivery of Graph: an object with a `value`"))?;
    Ok(StatusCode::ACCEPTED.into_response())
}

/// The token that Graph wants to see again, decoded; in it `+` is a space.
fn validation_token(query: &str) -> Option<String> {
    let mut pairs = url::form_urlencoded::parse(query.as_bytes());
    pairs.find(|(name, _)| name == "validationToken").map(|(_, token)| token.into_owned())
}

/// Plain text and nothing else, whatever a browser makes of it.
fn echo(token: String) -> Result<Response, Problem> {
    if token.is_empty() || token.len() > TOKEN_MAX {
        return Err(Problem::malformed("a validationToken has 1 to 1,024 bytes"));
    }
    let headers = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    Ok((headers, token).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_decoded_as_it_was_encoded() {
        let check = |query, token: Option<&str>| {
            assert_eq!(validation_token(query).as_deref(), token, "{query}");
        };
        check(
            "validationToken=Validation%3a+Testing+%2B+%C3%A9",
            Some("Validation: Testing + \u{e9}"),
        );
        check("a=b&validationToken=%3Cb%3E", Some("<b>"));
        check("validationtoken=x", None);
        check("", None);
        assert!(echo("x".repeat(TOKEN_MAX)).is_ok() && echo("x".repeat(TOKEN_MAX + 1)).is_err());
        let echoed = echo("<b>".to_owned()).unwrap();
        assert_eq!(echoed.headers()[header::CONTENT_TYPE], "text/plain; charset=utf-8");
    }
}
