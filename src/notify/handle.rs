//! The door for commands and for those who look.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use prometheus_client::registry::Registry;
use serde_json::json;

use super::client::{Sender, Tried};
use super::health::Health;
use super::metrics::{Metrics, Queues};
use super::{Answer, Clock};
use crate::config::NotifyEndpoint;
use crate::domain::{
    Cause, Change, Commit, Delivery, DeliveryState, DeliveryWrite, Entity, Fact, NoticeWish,
};
use crate::store::{Store, StoreError};

/// One of the publisher's own systems.
pub(super) struct Endpoint {
    pub(super) name: Arc<str>,
    pub(super) wishes: Vec<NoticeWish>,
    pub(super) sender: Sender,
    url: String,
    health: Mutex<Health>,
}

impl Endpoint {
    pub(super) fn new(it: &NotifyEndpoint, sender: Sender) -> Self {
        Self {
            name: it.name.as_str().into(),
            wishes: it.types.clone(),
            sender,
            url: it.url.to_string(),
            health: Mutex::default(),
        }
    }

    pub(super) fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The door to the task that tells. Cheap to clone.
#[derive(Clone)]
pub struct NotifyHandle {
    pub(super) store: Store,
    pub(super) endpoints: Arc<Vec<Arc<Endpoint>>>,
    pub(super) clock: Clock,
    pub(super) metrics: Metrics,
}

/// How an endpoint fares.
#[derive(Clone, Debug)]
pub struct EndpointStatus {
    /// Its name.
    pub name: Arc<str>,
    /// Where it is; `None` if the configuration names it no longer.
    pub url: Option<String>,
    /// `ok`, `failing`, `gone`, or `removed` if the configuration names it no longer.
    pub state: &'static str,
    /// Events to be sent.
    pub waiting: usize,
    /// Events given up.
    pub dead: usize,
    /// When the oldest one that waits came to be.
    pub oldest: Option<Timestamp>,
    /// It is left alone until then.
    pub rest_until: Option<Timestamp>,
    /// When it last took an event.
    pub last_success: Option<Timestamp>,
    /// When it last did not.
    pub last_failure: Option<Timestamp>,
    /// Why it did not.
    pub last_error: Option<Arc<str>>,
}

/// Which events are to be sent again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Replay {
    /// This one, whether it was given up or sent.
    One(Arc<str>),
    /// All that were given up.
    Dead,
    /// All that came to be then or later, given up or sent.
    Since(Timestamp),
}

/// What an endpoint said to an event that means nothing.
#[derive(Clone, Debug)]
pub struct Tested {
    /// The event's id.
    pub id: String,
    /// What it said.
    pub answer: Answer,
    /// Whether that is a yes.
    pub taken: bool,
    /// How long it took.
    pub took: Duration,
}

/// Why a test has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TestError {
    /// There is no such endpoint.
    #[error("there is no [[notify]] called `{0}`")]
    Unknown(String),
    /// It did not answer.
    #[error("`{name}` got no event: {why}")]
    Failed {
        /// Which endpoint.
        name: String,
        /// What went wrong.
        why: String,
    },
}

impl NotifyHandle {
    pub(super) fn new(store: Store, endpoints: Vec<Arc<Endpoint>>, clock: Clock) -> Self {
        Self { store, endpoints: Arc::new(endpoints), clock, metrics: Metrics::default() }
    }

    /// How every endpoint fares, in the order of the configuration; last those that it names no
    /// longer and for which events are left.
    pub fn status(&self) -> Vec<EndpointStatus> {
        let mut queues = self.store.outbox();
        let mut all = Vec::new();
        for it in self.endpoints.iter() {
            let queue = queues.remove(&it.name).unwrap_or_default();
            let health = it.health().clone();
            let (last_failure, last_error) = health.last_error.clone().unzip();
            all.push(EndpointStatus {
                name: Arc::clone(&it.name),
                url: Some(it.url.clone()),
                state: health.word(),
                waiting: queue.waiting,
                dead: queue.dead,
                oldest: queue.oldest,
                rest_until: health.rest_until.filter(|it| *it > (self.clock)()),
                last_success: health.last_success.max(queue.last_sent),
                last_failure,
                last_error,
            });
        }
        all.extend(queues.into_iter().map(|(name, queue)| EndpointStatus {
            name,
            url: None,
            state: "removed",
            waiting: queue.waiting,
            dead: queue.dead,
            oldest: queue.oldest,
            rest_until: None,
            last_success: queue.last_sent,
            last_failure: None,
            last_error: None,
        }));
        all
    }

    /// The events that were given up, oldest first.
    pub fn dead(&self, endpoint: Option<&str>) -> Vec<Arc<Delivery>> {
        let mut all = self.store.events(endpoint);
        all.retain(|it| matches!(it.state, DeliveryState::Dead { .. }));
        all
    }

    /// Whether the configuration names this endpoint.
    pub fn knows(&self, endpoint: &str) -> bool {
        self.endpoints.iter().any(|it| *it.name == *endpoint)
    }

    /// Puts events back as if they were new, with their ids, and notes it in the journal. Those of
    /// endpoints that are no longer configured stay as they are. Says which.
    ///
    /// # Errors
    ///
    /// As of [`Store::commit`]; then nothing was put back.
    pub async fn replay(
        &self,
        which: &Replay,
        endpoint: Option<&str>,
        by: &Cause,
    ) -> Result<Vec<Arc<Delivery>>, StoreError> {
        let wanted = |it: &Delivery| match (which, it.state) {
            (_, DeliveryState::Waiting { .. }) => false,
            (Replay::One(id), _) => it.id == *id,
            (Replay::Dead, state) => matches!(state, DeliveryState::Dead { .. }),
            (Replay::Since(since), _) => it.at >= *since,
        };
        let mut found = self.store.events(endpoint);
        found.retain(|it| wanted(it) && self.knows(&it.endpoint));
        let mut of_endpoint: BTreeMap<&str, usize> = BTreeMap::new();
        let mut commit = Commit::default();
        for it in &found {
            commit.outbox.push(DeliveryWrite::Put(Arc::new(it.anew())));
            let count = of_endpoint.entry(&it.endpoint).or_default();
            *count = count.saturating_add(1);
        }
        for (name, count) in of_endpoint {
            commit.changes.push(self.replayed(which, (name, count), by));
        }
        if !found.is_empty() {
            self.store.commit(commit).await?;
        }
        Ok(found)
    }

    fn replayed(&self, which: &Replay, (endpoint, count): (&str, usize), by: &Cause) -> Change {
        let id: Arc<str> = match which {
            Replay::One(id) => Arc::clone(id),
            Replay::Dead | Replay::Since(_) => endpoint.into(),
        };
        Change {
            at: (self.clock)(),
            cause: by.clone(),
            entity: Entity::Notice,
            id,
            tenant: None,
            user: None,
            before: None,
            after: Some(Fact::Words(
                format!("{count} event(s) are sent to {endpoint} again").into(),
            )),
        }
    }

    /// Sends an event that means nothing, now and once. An endpoint that had said 410 and takes it is
    /// told everything again.
    ///
    /// # Errors
    ///
    /// [`TestError`].
    pub async fn test(&self, endpoint: &str) -> Result<Tested, TestError> {
        let known = self.endpoints.iter().find(|it| *it.name == *endpoint);
        let endpoint = known.ok_or_else(|| TestError::Unknown(endpoint.to_owned()))?;
        let now = (self.clock)();
        let id = format!("evt_{}", uuid::Uuid::new_v4().simple());
        let data = json!({ "endpoint": *endpoint.name });
        let body = Store::event_body("test", now, &data);
        let began = Instant::now();
        let shown = endpoint.sender.show(&id, &body, now).await;
        let failed = |why| TestError::Failed { name: endpoint.name.to_string(), why };
        let (answer, tried) = shown.map_err(failed)?;
        let taken = tried == Tried::Taken;
        if taken {
            let mut health = endpoint.health();
            health.gone = false;
            health.took(now);
            health.well_since = Some(now);
        }
        Ok(Tested { id, answer, taken, took: began.elapsed() })
    }

    /// Puts what is counted into a registry.
    pub fn register(&self, registry: &mut Registry) {
        self.metrics.register(registry);
        registry.register_collector(Box::new(Queues(self.clone())));
    }
}
