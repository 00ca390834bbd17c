//! How far a run is, for whoever watches it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::sync::mpsc;

use super::lanes::Place;
use crate::domain::{Run, SourceKey, Trigger};
use crate::microsoft::{Meter, Room, Step};

/// How far a run is.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// Which source and scope.
    pub key: SourceKey,
    /// Records read so far.
    pub seen: u64,
    /// Requests sent so far.
    pub requests: u64,
    /// Time that Microsoft made us wait so far.
    pub throttled: Duration,
    /// The run, once it has ended.
    pub ended: Option<Run>,
}

/// Counts what a run does and tells those who watch.
#[derive(Debug)]
pub(crate) struct Gauge {
    /// Passed to every call to Microsoft.
    pub(crate) meter: Meter,
    told: Arc<Told>,
    place: Option<Arc<Place>>,
}

#[derive(Debug)]
struct Told {
    key: SourceKey,
    watchers: Vec<mpsc::Sender<Progress>>,
    seen: AtomicU64,
    requests: AtomicU64,
    throttled_ms: AtomicU64,
}

impl Gauge {
    pub(crate) fn new(key: SourceKey, watchers: Vec<mpsc::Sender<Progress>>) -> Self {
        let zero = || AtomicU64::new(0);
        let told = Told { key, watchers, seen: zero(), requests: zero(), throttled_ms: zero() };
        let told = Arc::new(told);
        let hook = Arc::clone(&told);
        let meter = Meter::with_hook(move |step| hook.step(step));
        Self { meter, told, place: None }
    }

    /// The gauge of a run that has a place among others.
    pub(crate) fn at(self, place: Place) -> Self {
        let place = Arc::new(place);
        Self { place: Some(Arc::clone(&place)), ..self.in_room(place) }
    }

    /// The gauge of one who leaves this room while he is made to wait.
    pub(crate) fn in_room(self, room: Arc<dyn Room>) -> Self {
        Self { meter: self.meter.in_room(room), ..self }
    }

    /// The gauge of a run that an operator asked for, unless it was something else that woke it.
    pub(crate) fn woken_by(self, trigger: Trigger) -> Self {
        match trigger {
            Trigger::Manual => Self { meter: self.meter.of_an_operator(), ..self },
            Trigger::Start | Trigger::Schedule | Trigger::Webhook | Trigger::Notification => self,
        }
    }

    /// For something that a person waits for and nobody watches.
    pub(crate) fn urgent(key: SourceKey) -> Self {
        let gauge = Self::new(key, Vec::new());
        Self { meter: gauge.meter.urgent(), ..gauge }
    }

    /// So many records have been read.
    pub(crate) fn seen(&self, seen: u64) {
        self.told.seen.store(seen, Relaxed);
        self.told.tell();
    }

    /// A page has been taken in, and with it so many records: others get their turn.
    pub(crate) async fn page(&self, seen: u64) {
        self.seen(seen);
        if let Some(place) = &self.place {
            place.breathe(seen).await;
        }
    }

    /// The run has ended: whoever watches hears it for certain.
    pub(crate) async fn ended(&self, run: &Run) {
        let progress = Progress { ended: Some(run.clone()), ..self.told.now() };
        for watcher in &self.told.watchers {
            // Nobody may be looking any more; the run stands in the log all the same.
            drop(watcher.send(progress.clone()).await);
        }
    }
}

impl Told {
    fn step(&self, step: Step) {
        match step {
            Step::Request => drop(self.requests.fetch_add(1, Relaxed)),
            Step::Waiting(wait) => {
                let wait = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
                self.throttled_ms.fetch_add(wait, Relaxed);
            }
        }
        self.tell();
    }

    fn now(&self) -> Progress {
        Progress {
            key: self.key,
            seen: self.seen.load(Relaxed),
            requests: self.requests.load(Relaxed),
            throttled: Duration::from_millis(self.throttled_ms.load(Relaxed)),
            ended: None,
        }
    }

    fn tell(&self) {
        for watcher in &self.watchers {
            // A full channel means that nobody looks closely: what is missed is only shown.
            drop(watcher.try_send(self.now()));
        }
    }
}
