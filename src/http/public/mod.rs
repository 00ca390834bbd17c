//! The public listener: what visuals and servers ask, and what the marketplace tells.

mod activations;
mod again;
mod answer;
mod consent;
mod entitlements;
mod graph;
mod grid;
mod keys;
mod landing;
mod license_book;
mod licensee;
mod licenses;
mod openapi;
mod packages;
mod page;
mod question;
mod refusals;
mod revocations;
mod sighted;
mod signed;
mod usage;
mod usage_report;
mod webhook;

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use self::consent::Consent;
use self::keys::Signers;
use self::landing::Landing;
use self::packages::{CountedGuesses, KnownPackages};
use self::signed::SignedAnswers;
use super::body;
use super::edge::{self, Cors, Listener};
use super::limits::Limits;
use super::metrics::{Metrics, RuleLabel};
use super::problem::Problem;
use super::rates::{self, Limited, Limiters, Rates};
use super::serve::{Peer, Server};
use super::who::Callers;
use crate::config::Caller;
use crate::domain::{Catalog, Messages, Policy};
use crate::store::{Digester, Store};
use crate::sync::inbox::Watch;
use crate::sync::keys::{Clock, EntraKeys};
use crate::sync::lookups::Lookups;
use crate::sync::notifications::Notifications;
use crate::sync::seats::Seats;
use crate::tokens::{UserRules, WebhookRules};

pub use answer::answer_json;
pub use consent::ConsentSettings;
pub use keys::KEYS_PUBLISHED_FOR;
pub use landing::LandingSettings;
pub use openapi::openapi;

/// What the public listener needs.
pub struct PublicSettings {
    /// The durable mirror.
    pub store: Store,
    /// The publisher's products.
    pub catalog: Arc<Catalog>,
    /// The publisher's policy.
    pub policy: Policy,
    /// What visuals tell people.
    pub messages: Arc<Messages>,
    /// Servers that ask with a key.
    pub callers: Vec<Caller>,
    /// Which user tokens are for us.
    pub rules: UserRules,
    /// Which tokens are the marketplace's.
    pub webhooks: WebhookRules,
    /// Told of each webhook and of each that was refused.
    pub watch: Watch,
    /// Entra's signing keys.
    pub entra: Arc<EntraKeys>,
    /// Where a look-up of whoever is refused is asked for.
    pub lookups: Lookups,
    /// Where Graph's change notifications go.
    pub notifications: Notifications,
    /// What signed answers name as their issuer: our public address.
    pub issuer: String,
    /// The purchase landing page.
    pub landing: Option<LandingSettings>,
    /// The page that administrators come back to after consenting.
    pub consent: Option<ConsentSettings>,
    /// How often each may ask.
    pub rates: Rates,
    /// Told who really uses what, if anybody counts it.
    pub seats: Option<Seats>,
    /// Where requests are counted.
    pub metrics: Metrics,
    /// Tells the time.
    pub clock: Clock,
}

/// The public listener's state. Cheap to clone.
#[derive(Clone)]
pub struct PublicState(Arc<Public>);

/// What the handlers of the public listener share.
pub(super) struct Public {
    pub(super) store: Store,
    pub(super) catalog: Arc<Catalog>,
    pub(super) policy: Policy,
    messages: Arc<Messages>,
    pub(super) callers: Callers,
    pub(super) rules: UserRules,
    webhooks: WebhookRules,
    watch: Watch,
    landing: Option<Landing>,
    consent: Option<Consent>,
    pub(super) entra: Arc<EntraKeys>,
    lookups: Lookups,
    notifications: Notifications,
    pub(super) limiters: Limiters,
    pub(super) seats: Option<Seats>,
    pub(super) metrics: Metrics,
    signers: Signers,
    signed: SignedAnswers,
    packages: KnownPackages,
    guesses: CountedGuesses,
    digests: Digests,
    clock: Clock,
}

/// What is not to be kept itself is kept by digests of these keys, which are made once.
struct Digests {
    anonymous: Digester,
    guess: Digester,
    sighting: Digester,
}

impl PublicState {
    /// The state of a listener with these settings.
    pub fn new(settings: PublicSettings) -> Self {
        let secret = settings.store.keys().pseudonym_secret();
        Self(Arc::new(Public {
            landing: settings.landing.map(|it| Landing::new(it, &secret)),
            consent: settings.consent.map(|it| Consent::new(it, &secret)),
            signers: Signers::new(settings.issuer),
            signed: SignedAnswers::new(),
            packages: KnownPackages::new(),
            guesses: CountedGuesses::new(),
            digests: Digests {
                anonymous: settings.store.digester("anonymous user"),
                guess: settings.store.digester("guess"),
                sighting: settings.store.digester("license sighting"),
            },
            callers: Callers::new(&settings.callers),
            limiters: Limiters::new(&settings.rates),
            store: settings.store,
            catalog: settings.catalog,
            policy: settings.policy,
            messages: settings.messages,
            rules: settings.rules,
            webhooks: settings.webhooks,
            watch: settings.watch,
            entra: settings.entra,
            lookups: settings.lookups,
            notifications: settings.notifications,
            seats: settings.seats,
            metrics: settings.metrics,
            clock: settings.clock,
        }))
    }
}

impl Public {
    pub(super) fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// Counts a refusal by a limit and says so.
    pub(super) fn limited(&self, limited: Limited) -> Problem {
        self.metrics.limited.get_or_create(&RuleLabel { rule: limited.rule }).inc();
        limited.into()
    }
}

/// Serves the public routes until cancelled, then lets requests in flight end. With `tls` the
/// listener ends TLS itself; otherwise a proxy before it does.
pub async fn serve_public(
    listener: TcpListener,
    state: PublicState,
    tls: Option<TlsAcceptor>,
    limits: Limits,
    cancel: CancellationToken,
) {
    let mut router = Router::new();
    let mut templates = Vec::new();
    for (_, path, methods) in table() {
        router = router.route(path, methods);
        templates.push(path);
    }
    let metrics = state.0.metrics.clone();
    let router = router.with_state(Shared { public: state.0, body_bytes: limits.body_bytes });
    let see = "see /openapi.json for the routes there are, and their methods";
    let edge = Listener { name: "public", cors: Cors::AnyPage, see };
    let router = edge::around(router, templates, edge, limits, &metrics);
    Server { name: "public", router, tls, limits }.run(listener, cancel).await;
}

/// What a handler gets.
#[derive(Clone)]
struct Shared {
    public: Arc<Public>,
    body_bytes: usize,
}

/// The whole surface in one table.
fn table() -> Vec<(&'static str, &'static str, MethodRouter<Shared>)> {
    vec![
        ("post", "/v1/entitlements", post(entitlements::answer_one)),
        ("post", "/v1/entitlements/batch", post(entitlements::answer_batch)),
        ("post", "/v1/activations", post(activations::activate)),
        ("post", "/v1/usage", post(usage::report)),
        ("get", "/v1/usage/{id}", get(usage::show)),
        ("get", "/v1/activations", get(license_book::activations)),
        ("post", "/v1/activations/{id}/remove", post(license_book::remove)),
        ("post", "/v1/licenses", post(licenses::issue)),
        ("get", "/v1/licenses", get(license_book::list)),
        ("post", "/v1/licenses/import", post(license_book::import)),
        ("get", "/v1/licenses/export", get(license_book::export)),
        ("get", "/v1/licenses/overlap", get(license_book::overlap)),
        ("get", "/v1/licenses/switch-plan", get(license_book::switch_plan)),
        ("get", "/v1/licenses/{id}", get(licenses::show)),
        ("post", "/v1/licenses/{id}/renew", post(licenses::renew)),
        ("post", "/v1/licenses/{id}/change", post(licenses::change)),
        ("post", "/v1/licenses/{id}/cancel", post(licenses::cancel)),
        ("post", "/v1/licenses/{id}/suspend", post(licenses::suspend)),
        ("post", "/v1/licenses/{id}/reinstate", post(licenses::reinstate)),
        ("post", "/v1/licenses/{id}/revoke", post(licenses::revoke)),
        ("post", "/v1/licenses/{id}/reissue", post(license_book::reissue)),
        ("post", "/v1/licenses/{id}/package", post(license_book::package)),
        ("post", "/marketplace/webhook", post(webhook::receive)),
        ("post", "/graph/notifications", post(graph::notifications)),
        ("post", "/graph/lifecycle", post(graph::lifecycle)),
        ("get", "/marketplace/landing", get(landing::open)),
        ("get", "/marketplace/landing/account", get(landing::account)),
        ("get", "/marketplace/landing/return", get(landing::come_back)),
        ("get", "/marketplace/landing/purchase", get(landing::purchase)),
        ("post", "/marketplace/landing/purchase", post(landing::activate)),
        ("get", "/marketplace/consent", get(consent::come_back)),
        ("get", "/.well-known/jwks.json", get(keys::jwks)),
        ("get", "/.well-known/revocations", get(revocations::list)),
        ("get", "/openapi.json", get(openapi::document)),
    ]
}

/// Method (in lower case) and path of every public route.
pub fn routes() -> Vec<(&'static str, &'static str)> {
    table().into_iter().map(|(method, path, _)| (method, path)).collect()
}

/// Whose request it is.
fn client_of(peer: Option<&Peer>, headers: &HeaderMap) -> IpAddr {
    let peer = peer.map_or(IpAddr::from([0, 0, 0, 0]), |it| it.0);
    rates::client(peer, headers)
}

/// An answer in JSON, which nobody in between may keep.
fn json(status: StatusCode, body: impl Into<Body>) -> Response {
    let head = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    (status, head, body.into()).into_response()
}
