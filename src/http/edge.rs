//! What happens to every request before and after its handler: limits, time, panics, CORS, the
//! one line in the log.

use std::any::Any;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use tokio::time::timeout;
use tower_http::catch_panic::CatchPanicLayer;
use tracing::{debug, error, info};

use super::awaited::awaited;
use super::limits::Limits;
use super::metrics::{Metrics, RequestLabels, Route, RuleLabel};
use super::places::{Lane, NoPlace, Taken};
use super::problem::{Cause, Problem};
use super::rates;
use super::serve::Peer;

/// Who may read the answers of a listener from a web page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cors {
    /// Any page, without credentials: a visual's frame has no origin of its own.
    AnyPage,
    /// None.
    NoPage,
}

/// What all requests of one listener share.
pub(super) struct Edge {
    listener: &'static str,
    cors: Cors,
    limits: Limits,
    templates: Vec<Route>,
    metrics: Metrics,
    places: Lane,
    webhook_places: Lane,
    requests: AtomicU64,
}

/// Which listener it is.
#[derive(Clone, Copy)]
pub(super) struct Listener {
    /// What it is called in the log.
    pub(super) name: &'static str,
    /// Who may read its answers.
    pub(super) cors: Cors,
    /// Where to see what it has, for who asks for something else.
    pub(super) see: &'static str,
}

/// Puts the edge around a router; `templates` are the paths of its routes.
pub(super) fn around(
    router: Router,
    templates: Vec<Route>,
    Listener { name: listener, cors, see }: Listener,
    limits: Limits,
    metrics: &Metrics,
) -> Router {
    let edge = Arc::new(Edge {
        listener,
        cors,
        limits,
        templates,
        metrics: metrics.clone(),
        places: Lane::new(limits.in_flight),
        webhook_places: Lane::new(limits.webhooks_in_flight),
        requests: AtomicU64::new(0),
    });
    router
        .fallback(move || async move { Problem::not_found(see) })
        .method_not_allowed_fallback(move || async move { Problem::method_not_allowed(see) })
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(edge, pass))
}

async fn pass(State(edge): State<Arc<Edge>>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let method = request.method().clone();
    let matched = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let route = edge.templates.iter().copied().find(|it| Some(*it) == matched).unwrap_or("");
    let number = edge.requests.fetch_add(1, Ordering::Relaxed);
    let mut response = if method == Method::OPTIONS && edge.cors == Cors::AnyPage {
        let fields = PREFLIGHT.map(|(name, value)| (name, HeaderValue::from_static(value)));
        (StatusCode::NO_CONTENT, HeaderMap::from_iter(fields)).into_response()
    } else {
        edge.answer(route, request, next).await
    };
    let took = began.elapsed();
    let status = response.status().as_u16();
    edge.metrics
        .requests
        .get_or_create(&RequestLabels { route, status })
        .observe(took.as_secs_f64());
    edge.log(number, &method, route, &response, took.as_secs_f64() * 1000.0);
    edge.head(response.headers_mut(), number);
    response
}

impl Edge {
    async fn answer(&self, route: Route, request: Request, next: Next) -> Response {
        if let Err(problem) = self.check_head(&request) {
            return problem.into_response();
        }
        let _running = match self.enter(route, &request) {
            Ok(running) => running,
            Err(no_place) => return self.sent_away(no_place).into_response(),
        };
        let (request, waits_for_body) = awaited(request);
        match timeout(self.limits.request, next.run(request)).await {
            Ok(response) => response,
            Err(_elapsed) if waits_for_body.load(Ordering::Relaxed) => {
                Problem::timeout("send the whole request, and sooner").into_response()
            }
            Err(_elapsed) => Problem::unavailable("this took too long on our side: try again")
                .retry_after(5)
                .because(TookTooLong)
                .into_response(),
        }
    }

    /// Counts a request as being answered, if there is room for it.
    fn enter(&self, route: Route, request: &Request) -> Result<Running<'_>, NoPlace> {
        let lane = if route == WEBHOOK { &self.webhook_places } else { &self.places };
        let peer = request.extensions().get::<Peer>();
        let here = IpAddr::from(Ipv4Addr::LOCALHOST);
        let ip = peer.map_or(here, |it| rates::client(it.0, request.headers()));
        let place = lane.enter(ip)?;
        self.metrics.in_flight.inc();
        Ok(Running { _place: place, metrics: &self.metrics })
    }

    fn sent_away(&self, no_place: NoPlace) -> Problem {
        self.metrics.limited.get_or_create(&RuleLabel { rule: no_place.rule() }).inc();
        // Not all at the same moment again: 1 to 5 s, by what came just before.
        let spread = u32::try_from(self.requests.load(Ordering::Relaxed) % 5).unwrap_or(0);
        let detail = match no_place {
            NoPlace::Full => "too many requests at once: try again in a moment",
            NoPlace::AddressFull => {
                "too many requests at once from one address: try again in a moment"
            }
        };
        Problem::unavailable(detail).retry_after(spread.saturating_add(1))
    }

    fn check_head(&self, request: &Request) -> Result<(), Problem> {
        let limits = &self.limits;
        let uri_bytes = request.uri().path_and_query().map_or(0, |it| it.as_str().len());
        let path = request.uri().path();
        let uri_bytes_max = if MICROSOFT_WRITES.iter().any(|it| path.starts_with(it)) {
            limits.microsoft_uri_bytes
        } else {
            limits.uri_bytes
        };
        if uri_bytes > uri_bytes_max {
            let detail = format!("at most {uri_bytes_max} bytes; send data in the body");
            return Err(Problem::uri_too_long(detail));
        }
        let headers = request.headers();
        let bytes: usize = headers.iter().map(|(k, v)| k.as_str().len() + v.len() + 4).sum();
        if headers.len() > limits.headers || bytes.saturating_add(uri_bytes) > limits.head_bytes {
            let (fields, bytes) = (limits.headers, limits.head_bytes);
            let detail = format!("at most {fields} header fields and {bytes} bytes of them");
            return Err(Problem::head_too_large(detail));
        }
        Ok(())
    }

    /// The one line of this request. A cause is logged here and nowhere else.
    ///
    /// What went well, and what was refused because there was too much of it, is counted and told
    /// at debug only: thousands a second of these would push what matters out of the journal, and
    /// cost more than the answers.
    fn log(&self, number: u64, method: &Method, route: &str, response: &Response, ms: f64) {
        let (listener, status, method) = (self.listener, response.status(), method.as_str());
        let cause = response.extensions().get::<Cause>();
        let error = cause.map(|it| it.0.as_ref() as &(dyn std::error::Error + 'static));
        macro_rules! line {
            ($level:ident, $message:literal) => {
                $level!(
                    error,
                    listener,
                    request.id = request_id(number),
                    http.method = method,
                    http.route = route,
                    http.status = status.as_u16(),
                    duration_ms = ms,
                    $message
                )
            };
        }
        let crowded = response.extensions().get::<Tallied>().is_some()
            || status == StatusCode::TOO_MANY_REQUESTS
            || (status == StatusCode::SERVICE_UNAVAILABLE && error.is_none());
        if crowded || !(status.is_client_error() || status.is_server_error()) {
            line!(debug, "Answered");
        } else if status.is_client_error() || status == StatusCode::SERVICE_UNAVAILABLE {
            line!(info, "Refused");
        } else {
            line!(error, "Answering failed");
        }
    }

    fn head(&self, headers: &mut HeaderMap, number: u64) {
        // Room for these and what the connection adds: grown once, not field by field.
        headers.reserve(6);
        if let Ok(id) = HeaderValue::from_str(&request_id(number)) {
            headers.insert(REQUEST_ID, id);
        }
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if self.cors == Cors::AnyPage {
            for (name, value) in READABLE {
                headers.insert(name, HeaderValue::from_static(value));
            }
        }
    }
}

/// In the extensions of an answer: such refusals are added up and told together elsewhere, so that
/// nobody can fill the log with them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tallied;

/// The marketplace's webhooks have places of their own.
const WEBHOOK: Route = "/marketplace/webhook";

/// Addresses that begin so come from Microsoft, with a purchase token or a code in them, with what an
/// administrator was told, or with a token to be echoed: 1,024 bytes can be three times as long there.
const MICROSOFT_WRITES: [&str; 3] = ["/marketplace/landing", "/marketplace/consent", "/graph/"];

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// On every answer, errors included: without them a visual sees nothing but "network error".
const READABLE: [(HeaderName, &str); 2] = [
    (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    (header::ACCESS_CONTROL_EXPOSE_HEADERS, "etag, retry-after, x-request-id"),
];

/// On the answer to a preflight; nobody reads them elsewhere.
///
/// Source: `visuals-and-isv.md` section 3.2. A wildcard does not cover `Authorization`, so the
/// headers are named; browsers cap the age of a preflight at two hours.
const PREFLIGHT: [(HeaderName, &str); 3] = [
    (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, OPTIONS"),
    (
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        "authorization, content-type, x-visual-version, idempotency-key",
    ),
    (header::ACCESS_CONTROL_MAX_AGE, "7200"),
];

fn request_id(number: u64) -> String {
    format!("q{number:x}")
}

/// What the log says of a request that we did not answer in time.
#[derive(Debug, thiserror::Error)]
#[error("the handler did not end in time, and did not wait for the client")]
struct TookTooLong;

#[derive(Debug, thiserror::Error)]
#[error("a handler panicked: {0}")]
struct Panicked(String);

#[expect(clippy::needless_pass_by_value, reason = "the layer hands the payload over")]
fn panicked(payload: Box<dyn Any + Send>) -> Response {
    let said = payload
        .downcast_ref::<&str>()
        .map(|it| (*it).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned());
    let cause = Panicked(said.unwrap_or_default());
    Problem::internal("this is our fault; the request id helps to find it")
        .because(cause)
        .into_response()
}

/// A request being answered; counted until dropped.
struct Running<'a> {
    _place: Taken<'a>,
    metrics: &'a Metrics,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.metrics.in_flight.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::{Body, to_bytes};
    use axum::routing::get;
    use std::time::Duration;
    use tower::ServiceExt as _;

    async fn boom() -> &'static str {
        panic!("the cause, which nobody outside may read")
    }

    async fn never() -> &'static str {
        std::future::pending().await
    }

    async fn answer(path: &str) -> (Response, Metrics) {
        let metrics = Metrics::default();
        let router = Router::new().route("/boom", get(boom)).route("/never", get(never));
        let templates = vec!["/boom", "/never"];
        let limits = Limits { request: Duration::from_millis(20), ..Limits::default() };
        let listener = Listener { name: "public", cors: Cors::AnyPage, see: "look elsewhere" };
        let router = around(router, templates, listener, limits, &metrics);
        let request = Request::builder().uri(path).body(Body::empty()).unwrap();
        (router.oneshot(request).await.unwrap(), metrics)
    }

    #[tokio::test]
    async fn a_panic_is_a_500_that_a_visual_can_read_and_tells_no_cause() {
        let (response, metrics) = answer("/boom").await;
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(response.headers()["access-control-allow-origin"], "*");
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        assert!(response.extensions().get::<Cause>().is_some(), "for the log");
        assert_eq!(metrics.in_flight.get(), 0);
        let labels = RequestLabels { route: "/boom", status: 500 };
        assert!(metrics.requests.get(&labels).is_some(), "counted under its route");
        let body = to_bytes(response.into_body(), 10_000).await.unwrap();
        assert!(!String::from_utf8_lossy(&body).contains("cause"), "{body:?}");
    }

    #[tokio::test]
    async fn a_handler_that_does_not_end_is_given_up() {
        let (response, metrics) = answer("/never").await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE, "it is our trouble");
        assert_eq!(response.headers()["retry-after"], "5");
        assert!(response.extensions().get::<Cause>().is_some(), "for the log");
        assert_eq!(metrics.in_flight.get(), 0, "and its place is free again");
    }
}
