//! The ops listener: people and monitoring look, nothing acts. GET only, no CORS, no login: it
//! belongs on loopback.
//!
//! | route | answers |
//! |---|---|
//! | `/` | the status page |
//! | `/metrics` | OpenMetrics |
//! | `/healthz` | 200 while the process lives |
//! | `/readyz` | 200 once the store is loaded and writable, whether or not anything is synced |

mod facts;
mod figures;
mod health;
mod licenses;
mod life;
mod notify;
mod page;
mod permissions;
mod reports;
mod seats;
mod svg;
mod unsold;
mod usage;
mod webhooks;

use std::fmt;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use jiff::Timestamp;
use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use self::facts::Facts;
use super::edge::{self, Cors, Listener};
use super::limits::Limits;
use super::metrics::Metrics;
use super::problem::Problem;
use super::serve::Server;
use crate::domain::{Catalog, Policy};
use crate::notify::NotifyHandle;
use crate::store::Store;
use crate::sync::TaskStatus;
use crate::sync::inbox::Watch;
use crate::sync::keys::{Clock, EntraKeys};
use crate::sync::seats::Seats;

/// Tells what the sources' tasks are doing right now; what they have done is in the store.
pub type Activities = Arc<dyn Fn() -> Arc<Vec<TaskStatus>> + Send + Sync>;

/// What the ops listener needs.
pub struct OpsSettings {
    /// The durable mirror.
    pub store: Store,
    /// The publisher's products.
    pub catalog: Arc<Catalog>,
    /// The publisher's policy: when facts are stale.
    pub policy: Policy,
    /// Entra's signing keys.
    pub entra: Arc<EntraKeys>,
    /// How webhooks do.
    pub watch: Watch,
    /// What the listeners count.
    pub metrics: Metrics,
    /// What other floors count: made by [`registry`].
    pub registry: Registry,
    /// What the tasks are doing.
    pub activities: Activities,
    /// How the publisher's own systems fare that are told what happens.
    pub notify: Option<NotifyHandle>,
    /// Seats in figures, if anybody counts them.
    pub seats: Option<Seats>,
    /// Tells the time.
    pub clock: Clock,
}

/// A registry whose metrics are called `entitled_…`, for all floors to register theirs.
pub fn registry() -> Registry {
    Registry::with_prefix("entitled")
}

/// The ops listener's state. Cheap to clone.
#[derive(Clone)]
pub struct OpsState(Arc<Ops>);

pub(super) struct Ops {
    store: Store,
    catalog: Arc<Catalog>,
    policy: Policy,
    entra: Arc<EntraKeys>,
    watch: Watch,
    metrics: Metrics,
    registry: Registry,
    activities: Activities,
    notify: Option<NotifyHandle>,
    seats: Option<Seats>,
    started: Timestamp,
    clock: Clock,
}

impl OpsState {
    /// The state of a listener with these settings.
    pub fn new(settings: OpsSettings) -> Self {
        let mut registry = settings.registry;
        settings.metrics.register(&mut registry);
        let facts = Facts {
            store: settings.store.clone(),
            catalog: Arc::clone(&settings.catalog),
            policy: settings.policy.clone(),
            clock: Arc::clone(&settings.clock),
        };
        registry.register_collector(Box::new(facts));
        registry.register_collector(Box::new(usage::Usage { store: settings.store.clone() }));
        if let Some(seats) = &settings.seats {
            registry.register_collector(Box::new(seats::SeatMetrics(seats.clone())));
        }
        let seats = settings.seats.clone();
        registry.register_collector(Box::new(reports::ReportMetrics {
            store: settings.store.clone(),
            catalog: Arc::clone(&settings.catalog),
            seats,
            clock: Arc::clone(&settings.clock),
        }));
        let watch = settings.watch.clone();
        let clock = Arc::clone(&settings.clock);
        registry.register_collector(Box::new(webhooks::Waiting::new(
            settings.store.clone(),
            watch,
            clock,
        )));
        Self(Arc::new(Ops {
            store: settings.store,
            catalog: settings.catalog,
            policy: settings.policy,
            entra: settings.entra,
            watch: settings.watch,
            metrics: settings.metrics,
            registry,
            activities: settings.activities,
            notify: settings.notify,
            seats: settings.seats,
            started: (settings.clock)(),
            clock: settings.clock,
        }))
    }
}

impl fmt::Debug for Ops {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ops").finish_non_exhaustive()
    }
}

/// Serves the ops routes until cancelled, then lets requests in flight end.
pub async fn serve_ops(
    listener: TcpListener,
    state: OpsState,
    limits: Limits,
    cancel: CancellationToken,
) {
    let metrics = state.0.metrics.clone();
    let templates = vec!["/", "/metrics", "/healthz", "/readyz"];
    let router = Router::new()
        .route("/", get(status_page))
        .route("/metrics", get(exposition))
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .with_state(state.0);
    let see = "there are /, /metrics, /healthz and /readyz, to be read with GET";
    let edge = Listener { name: "ops", cors: Cors::NoPage, see };
    let router = edge::around(router, templates, edge, limits, &metrics);
    Server { name: "ops", router, tls: None, limits }.run(listener, cancel).await;
}

/// OpenMetrics: what the process counts, and facts read from the mirror now.
async fn exposition(State(ops): State<Arc<Ops>>) -> Result<Response, Problem> {
    let written = tokio::task::spawn_blocking(move || {
        let mut written = String::new();
        text::encode(&mut written, &ops.registry).map(|()| written)
    })
    .await
    .map_err(|error| Problem::internal("the metrics cannot be gathered").because(error))?
    .map_err(|error| Problem::internal("the metrics cannot be written").because(error))?;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], written).into_response())
}

/// The status page. Reading the log touches the disk, so it happens on a thread that may wait.
async fn status_page(State(ops): State<Arc<Ops>>) -> Result<Response, Problem> {
    let figures = tokio::task::spawn_blocking(move || figures::Figures::gather(&ops))
        .await
        .map_err(|error| Problem::internal("the page cannot be made").because(error))?
        .map_err(|error| Problem::internal("the sync log cannot be read").because(error))?;
    let mut response = axum::response::Html(page::render(&figures)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_POLICY));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// Nothing but what is written into the page: no script, no request, no frame around it.
const CONTENT_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
