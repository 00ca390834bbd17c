//! Tells Microsoft of metered usage: once an hour is over, one event for each subscription and
//! dimension, again and again until Microsoft has it or will never have it.
//!
//! Nothing here needs to remember what was sent: an event that Microsoft knows is answered with
//! `Duplicate`, so one that may have arrived (a lost answer, a crash before it was noted) is sent
//! again. Sums are closed before they are sent, so that nothing is added to what is under way.
//!
//! `send` is one pass over what is due, `verdict` what an answer means, `reconcile` compares.

mod reconcile;
mod send;
mod verdict;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{Clock, SyncError};
use crate::domain::{UsageEvent, UsageId, has_passed};
use crate::microsoft::Microsoft;
use crate::store::{Store, StoreError};

pub use self::reconcile::Reconciled;

/// How often the clock is looked at while something is on its way.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How often what is long over is forgotten.
const PRUNE_EVERY: SignedDuration = SignedDuration::from_hours(1);

/// So long before an event runs out there is an alarm, and it is tried more often.
pub const USAGE_ALARM: SignedDuration = SignedDuration::from_hours(2);

/// Tells Microsoft of usage. Cheap to clone: all clones are one.
#[derive(Clone)]
pub struct UsageSender(Arc<Shared>);

struct Shared {
    store: Store,
    microsoft: Arc<Microsoft>,
    clock: Clock,
    /// Held during a pass: there is one at a time.
    pace: tokio::sync::Mutex<Pace>,
    /// An operator waits: the next pass sends, whatever the pace says.
    hurry: AtomicBool,
    nudge: Notify,
    trouble: Mutex<Option<UsageTrouble>>,
    sent: Family<StatusLabel, Counter>,
}

/// When the next pass may send.
#[derive(Debug, Default)]
struct Pace {
    failures: u32,
    not_before: Option<Timestamp>,
    alarmed: BTreeSet<UsageId>,
}

/// Why usage does not reach Microsoft.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageTrouble {
    /// Since when.
    pub since: Timestamp,
    /// What is wrong and what to do; no secrets, no names.
    pub why: Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StatusLabel {
    status: &'static str,
}

impl UsageSender {
    /// A sender of what this store holds.
    pub fn new(store: Store, microsoft: Arc<Microsoft>, clock: Clock) -> Self {
        Self(Arc::new(Shared {
            store,
            microsoft,
            clock,
            pace: tokio::sync::Mutex::default(),
            hurry: AtomicBool::new(false),
            nudge: Notify::new(),
            trouble: Mutex::default(),
            sent: Family::default(),
        }))
    }

    /// Registers what is counted under `entitled_…`.
    pub fn register(&self, registry: &mut Registry) {
        let help = "Usage events that Microsoft answered, by its word; failed: no answer";
        registry.register("usage_answers", help, self.0.sent.clone());
    }

    /// Why usage does not reach Microsoft, if so.
    pub fn trouble(&self) -> Option<UsageTrouble> {
        self.0.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sends a dead event once more, at the next pass; `None` if there is no dead one of this
    /// number.
    ///
    /// # Errors
    ///
    /// As of [`Store::commit`].
    pub async fn retry(&self, id: UsageId) -> Result<Option<Arc<UsageEvent>>, StoreError> {
        let event = self.0.store.revive_usage(id, (self.0.clock)()).await?;
        if event.is_some() {
            // What was wrong may be mended. He does not wait for a pass that is under way.
            self.0.hurry.store(true, Ordering::Relaxed);
            self.0.nudge.notify_one();
        }
        Ok(event)
    }

    /// Works until cancelled.
    ///
    /// # Errors
    ///
    /// Never: what cannot be sent or noted now is sent again. The store's health is housekeeping's.
    pub async fn worker(self, cancel: CancellationToken) -> Result<(), SyncError> {
        let store = self.0.store.clone();
        let mut revisions = store.revisions();
        let mut pruned: Option<Timestamp> = None;
        loop {
            let now = (self.0.clock)();
            if pruned.is_none_or(|at| has_passed(PRUNE_EVERY, at, now)) {
                pruned = Some(now);
                noted(store.prune_usage(now).await.map_err(SyncError::from));
            }
            tokio::select! {
                biased;
                () = cancel.cancelled() => return Ok(()),
                // Cut off in the middle it is as after a crash: sent again, and known there.
                passed = self.pass() => noted(passed),
            }
            let waits = store.has_usage_on_the_way();
            tokio::select! {
                biased;
                () = cancel.cancelled() => return Ok(()),
                () = self.0.nudge.notified() => {}
                Ok(()) = revisions.changed(), if !waits => {}
                () = tokio::time::sleep(LOOK_EVERY), if waits => {}
            }
        }
    }

    fn set_trouble(&self, why: Option<&str>) {
        let now = (self.0.clock)();
        let mut trouble = self.0.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        let since = trouble.as_ref().map_or(now, |it| it.since);
        *trouble = why.map(|why| UsageTrouble { since, why: why.into() });
    }

    fn counted(&self, status: &'static str, count: usize) {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        self.0.sent.get_or_create(&StatusLabel { status }).inc_by(count);
    }
}

fn noted(passed: Result<(), SyncError>) {
    if let Err(error) = passed {
        warn!(error = &error as &dyn std::error::Error, "Usage waits for the store");
    }
}
