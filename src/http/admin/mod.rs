//! The admin listener: the command line's other end, on a Unix socket.
//!
//! | method and path | answers |
//! |---|---|
//! | `GET /status` | one object |
//! | `GET /doctor` | live checks, a line each |
//! | `GET /subscriptions`, `/subscriptions/{id}` | rows; one with its raw record |
//! | `GET /subscriptions/{id}/plans`, `…/order` | rows; what an order would mean |
//! | `POST /subscriptions/{id}/activate`, `…/order`, `…/operations/{id}` | progress, then the end |
//! | `GET /subscriptions/held` | what customers ask for |
//! | `POST /subscriptions/held/{operation}/confirm`, `…/dismiss` | the decided request |
//! | `GET /seats`, `/seats/usage`, `/seats/figures` | rows; used against bought; all figures |
//! | `GET /groups`, `/groups/users` | rows; how each user stands with a group |
//! | `GET /tenants`, `/tenants/{id}` | rows; one of them |
//! | `GET /tenants/{id}/consent-url` | the link for an administrator |
//! | `POST /tenants/{id}/release` | what the brake held |
//! | `GET /tenants/{id}/learn`, `/tenants/{id}/rights` | what plans are called there; how far usage rights are believed |
//! | `POST /tenants/{id}/learn/{mapping}/confirm`, `…/reject` | the mapping |
//! | `GET /log`, `/changes` | rows; `follow` goes on |
//! | `GET /webhooks`, `/webhooks/{id}`, `POST /webhooks/replay` | the ledger of webhooks |
//! | `GET /licenses`, `/licenses/{id}`, `/activations` | rows; one with who uses it |
//! | `GET /licenses/overlap` | users whom a seat and a license cover |
//! | `GET /licenses/switch-plan` | how a customer moves between seats and license |
//! | `GET /licenses/export`, `POST /licenses/import` | rows as files carry them; what each comes to |
//! | `POST /licenses`, `/licenses/{id}/{step}` | the license, issued or afterwards |
//! | `GET /query` | a decision |
//! | `POST /sync` | progress, then the runs |
//! | `GET /usage`, `/usage/reconcile`, `POST /usage/{id}/retry` | rows; one sent again |
//! | `GET /notify`, `/notify/dead`, `POST /notify/replay`, `/notify/test` | rows; what is sent again; an answer |
//! | `GET /reports`, `POST /reports/import` | rows; the run, and the rows that it skipped |
//! | `GET`, `POST /reports/deals`, `POST …/{id}/remove` | rows; the deal |
//! | `POST /backup` | the whole store as one file |
//! | `GET /keys`, `POST /keys/rotate` | rows; the new key |
//!
//! Rows are one JSON value a line, with the fields of contract section 4. Errors are
//! `application/problem+json`. Nobody logs in: the file's permissions decide who may connect.

mod backup;
mod doctor;
mod figures;
mod groups;
mod held;
mod learn;
mod licenses;
mod life;
mod lines;
mod log;
mod notify;
mod orders;
mod overlap;
mod query;
mod reports;
mod rows;
mod seats;
mod socket;
mod status;
mod subscriptions;
mod sync;
mod tenants;
mod usage;
mod webhooks;

use std::sync::Arc;

use axum::extract::{ConnectInfo, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;
use tracing::error;

use super::consent::{ConsentLink, Consents};
use super::disk;
use super::problem::Problem;
use super::query::{needed, parsed, product};
use crate::domain::{Catalog, Change, Commit, Messages, Policy, SubscriptionId};
use crate::http::ids::Ids;
use crate::notify::NotifyHandle;
use crate::store::{Store, StoreError};
use crate::sync::doctor::Upstreams;
use crate::sync::inbox::Watch;
use crate::sync::notifications::Notifications;
use crate::sync::orders::Orders;
use crate::sync::seats::Seats;
use crate::sync::usage::UsageSender;
use crate::sync::{Clock, SyncHandle};

use socket::Operator;
pub use socket::{Listener, SocketError};

/// What the admin listener works with.
pub struct AdminSettings {
    /// The durable mirror.
    pub store: Store,
    /// The publisher's products.
    pub catalog: Arc<Catalog>,
    /// The publisher's policy.
    pub policy: Policy,
    /// What visuals tell people.
    pub messages: Arc<Messages>,
    /// The door to the scheduler.
    pub sync: SyncHandle,
    /// What tells Microsoft of usage.
    pub usage: UsageSender,
    /// The door to orders.
    pub orders: Orders,
    /// The door to what tells the publisher's own systems.
    pub notify: NotifyHandle,
    /// Graph's change notifications.
    pub notifications: Notifications,
    /// Looks at what stands upstream.
    pub upstreams: Upstreams,
    /// How webhooks do.
    pub watch: Watch,
    /// Seats in figures.
    pub seats: Seats,
    /// Tells the time.
    pub clock: Clock,
    /// What a link to admin consent is made of.
    pub consent: ConsentLink,
    /// What packages name as their issuer: our public address.
    pub issuer: String,
}

/// The admin listener's state.
pub struct AdminState(AdminSettings);

impl AdminState {
    /// The state of a listener with these settings.
    pub const fn new(settings: AdminSettings) -> Self {
        Self(settings)
    }
}

/// What the handlers share.
struct Admin {
    settings: AdminSettings,
    consents: Consents,
    /// When it is cancelled, streams end.
    cancel: CancellationToken,
}

impl std::ops::Deref for Admin {
    type Target = AdminSettings;

    fn deref(&self) -> &AdminSettings {
        &self.settings
    }
}

type Shared = State<Arc<Admin>>;

impl Admin {
    fn now(&self) -> Timestamp {
        (self.clock)()
    }
}

/// Serves the command line until cancelled; then requests in flight end, and streams are cut.
pub async fn serve(listener: Listener, state: AdminState, cancel: CancellationToken) {
    let Listener { listener, file } = listener;
    let secret = state.0.store.keys().pseudonym_secret();
    let consents = Consents::new(state.0.consent.clone(), &secret);
    let admin = Admin { settings: state.0, consents, cancel: cancel.clone() };
    let router = router(admin).into_make_service_with_connect_info::<Operator>();
    let served = axum::serve(listener, router).with_graceful_shutdown(cancel.cancelled_owned());
    if let Err(error) = served.await {
        error!(
            error = &error as &dyn std::error::Error,
            "The admin socket cannot be served any more"
        );
    }
    drop(file);
}

fn router(admin: Admin) -> Router {
    Router::new()
        .route("/status", get(status::show))
        .route("/doctor", get(doctor::examine))
        .route("/subscriptions", get(subscriptions::list))
        .route("/subscriptions/{id}", get(subscription))
        .route("/subscriptions/{id}/plans", get(orders::plans))
        .route("/subscriptions/{id}/activate", post(orders::activate))
        .route("/subscriptions/{id}/order", get(orders::preview).post(orders::order))
        .route("/subscriptions/{id}/operations/{operation}", post(orders::follow))
        .route("/subscriptions/held", get(held::list))
        .route("/subscriptions/held/{operation}/confirm", post(held::confirm))
        .route("/subscriptions/held/{operation}/dismiss", post(held::dismiss))
        .route("/seats", get(seats::list))
        .route("/seats/usage", get(seats::usage))
        .route("/seats/figures", get(figures::list))
        .route("/log", get(log::runs))
        .route("/changes", get(log::changes))
        .route("/query", get(query::ask))
        .route("/webhooks", get(webhooks::list))
        .route("/webhooks/replay", post(webhooks::replay))
        .route("/webhooks/{id}", get(webhooks::show))
        .route("/sync", post(sync::now))
        .route("/backup", post(backup::send))
        .route("/keys", get(keys))
        .route("/keys/rotate", post(rotate))
        .merge(tenants::routes())
        .merge(groups::routes())
        .merge(learn::routes())
        .merge(licenses::routes())
        .merge(usage::routes())
        .merge(reports::routes())
        .merge(notify::routes())
        .fallback(|| async { Problem::not_found("this daemon does not know that command") })
        .layer(CatchPanicLayer::custom(|_panic| {
            Problem::internal("a fault of the daemon's: please report it with its log")
                .into_response()
        }))
        .with_state(Arc::new(admin))
}

async fn subscription(State(admin): Shared, Ids(id): Ids<String>) -> Result<Json<Value>, Problem> {
    let id: SubscriptionId = needed("id", &id)?;
    let mirror = admin.store.snapshot();
    let missing = || Problem::not_found(format!("there is no subscription {id} in the mirror"));
    let found = mirror.subscription(id).ok_or_else(missing)?;
    let raw = disk::look(&admin.store, move |it| it.raw_subscription(id)).await?;
    let raw = raw.map_err(unreadable)?;
    let raw: Option<Value> = raw.and_then(|it| serde_json::from_str(&it).ok());
    let holders = mirror.holders(id).map(|it| {
        let seats = it.iter().map(|(tenant, user, seat)| {
            json!({
                "tenant": tenant.to_string(),
                "user": user.to_string(),
                "taken_at": seat.taken_at.to_string(),
                "last_used": seat.last_used.to_string(),
            })
        });
        seats.collect::<Vec<_>>()
    });
    let mut row = life::row(&mirror, found, admin.now());
    if let Value::Object(row) = &mut row {
        row.insert("seats_taken".to_owned(), json!(holders.unwrap_or_default()));
        row.insert("raw".to_owned(), json!(raw));
    }
    Ok(Json(row))
}

/// The newest one first.
async fn keys(State(admin): Shared) -> Response {
    let ring = admin.store.keys();
    let current = ring.current();
    lines::all(ring.published().iter().rev().map(|it| rows::key(it, &current.kid)))
}

async fn rotate(
    State(admin): Shared,
    ConnectInfo(operator): ConnectInfo<Operator>,
) -> Result<Json<Value>, Problem> {
    let now = admin.now();
    let store = admin.store.clone();
    let before = store.keys().current();
    let made = tokio::task::spawn_blocking(move || store.keys().rotate(now)).await;
    let made = made.map_err(|error| Problem::internal("no key was made").because(error))?;
    let made = made.map_err(unreadable)?;
    let change = Change::of_key(now, operator.cause(), &before.kid, &made.kid);
    let noted = admin.store.commit(Commit { changes: vec![change], ..Commit::default() }).await;
    noted.map_err(|error| {
        let detail = format!("the key was made and signs, but the journal lacks it: {error}");
        Problem::internal(detail).because(error)
    })?;
    Ok(Json(rows::key(&made, &made.kid)))
}

/// What the store says is for the operator, who is the one who asks.
fn unreadable(error: StoreError) -> Problem {
    Problem::internal(error.to_string()).because(error)
}
