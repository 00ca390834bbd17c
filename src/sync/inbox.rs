//! Works the inbox of webhooks off: each is looked up, and what Microsoft says is taken.
//!
//! A webhook is a hint. Its operation and its subscription are read; the one decides whether
//! Microsoft waits for our word, the other is what the mirror takes over, by the same planning as
//! the list. What a webhook says of itself is compared, never believed. Webhooks of one
//! subscription are worked off one at a time, and one that fails waits aside: it stops no other.

mod alarm;
mod ledger;
mod missed;
mod policy;
mod watch;
mod work;

use std::collections::{BTreeSet, HashMap};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use jiff::{SignedDuration, Timestamp};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, error, info, info_span, warn};

use self::work::{Next, Work};
use super::{Sources, SyncError};
use crate::config::AcceptChanges;
use crate::domain::{EventId, SubscriptionId, WebhookEvent};

pub use alarm::WebhookAlarm;
pub(crate) use ledger::keep_newer;
pub use ledger::{Ledger, Ticket};
pub(crate) use missed::note_missed;
pub use watch::Watch;

/// Webhooks that are worked on at once. High, since most wait for Microsoft, and one that Microsoft
/// waits for must not queue behind them.
const AT_ONCE: usize = 64;

/// How often the clock is looked at while something waits for its time.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How often what is long over is forgotten.
const PRUNE_EVERY: SignedDuration = SignedDuration::from_hours(1);

/// The longest rest before a webhook is looked up again.
const REST_MAX: SignedDuration = SignedDuration::from_mins(5);

/// Works the inbox off until cancelled. What is under way then is begun again after a restart.
///
/// # Errors
///
/// [`SyncError::Panicked`] only: what cannot be looked up or written down now is tried again.
pub async fn worker(
    sources: Sources,
    accept: AcceptChanges,
    cancel: CancellationToken,
) -> Result<(), SyncError> {
    let worker = Worker {
        work: Work { sources, accept },
        busy: BTreeSet::new(),
        later: HashMap::new(),
        tasks: JoinSet::new(),
    };
    worker.run(cancel).await
}

/// What is worked on one at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Lane {
    /// A subscription's webhooks.
    Of(SubscriptionId),
    /// A webhook that names no subscription.
    Nameless(EventId),
}

impl Lane {
    fn of(event: &WebhookEvent) -> Self {
        event.said.subscription.map_or(Self::Nameless(event.id), Self::Of)
    }
}

/// A webhook that is not over.
#[derive(Clone, Copy, Debug)]
struct Later {
    due: Timestamp,
    looks: u32,
}

type Ended = (EventId, Lane, Result<Next, SyncError>);

struct Worker {
    work: Work,
    busy: BTreeSet<Lane>,
    later: HashMap<EventId, Later>,
    tasks: JoinSet<Ended>,
}

impl Worker {
    async fn run(mut self, cancel: CancellationToken) -> Result<(), SyncError> {
        let mut revisions = self.work.sources.store.revisions();
        let mut pruned: Option<Timestamp> = None;
        loop {
            let now = (self.work.sources.clock)();
            if pruned.is_none_or(|at| now.duration_since(at) >= PRUNE_EVERY) {
                pruned = Some(now);
                self.prune(now).await;
            }
            self.begin(now);
            let look_again = async {
                if self.later.is_empty() {
                    std::future::pending::<()>().await;
                }
                tokio::time::sleep(LOOK_EVERY).await;
            };
            tokio::select! {
                biased;
                () = cancel.cancelled() => break,
                Some(ended) = self.tasks.join_next() => self.end(ended)?,
                Ok(()) = revisions.changed() => {}
                () = look_again => {}
            }
        }
        // Nothing is lost: it is in the inbox, and what was said to Microsoft may be said again.
        self.tasks.shutdown().await;
        Ok(())
    }

    async fn prune(&self, now: Timestamp) {
        match self.work.sources.store.prune_webhooks(now).await {
            Ok(0) => {}
            Ok(gone) => info!(webhooks.gone = gone, "Forgot webhooks that were long over"),
            Err(error) => {
                warn!(error = &error as &dyn std::error::Error, "Old webhooks stay for now");
            }
        }
    }

    /// Begins what is due and has its lane free: what Microsoft waits for first.
    fn begin(&mut self, now: Timestamp) {
        if self.tasks.len() >= AT_ONCE {
            return;
        }
        let mut waiting = self.work.sources.store.waiting_webhooks();
        if waiting.len() < self.later.len() {
            let ids: BTreeSet<EventId> = waiting.iter().map(|it| it.id).collect();
            self.later.retain(|id, _| ids.contains(id));
        }
        waiting.sort_by_key(|it| (work::left(it, now).is_none(), it.id));
        for event in waiting {
            let lane = Lane::of(&event);
            let resting = self.later.get(&event.id).is_some_and(|it| it.due > now);
            if resting || !self.busy.insert(lane) {
                continue;
            }
            self.spawn(event, lane);
            if self.tasks.len() >= AT_ONCE {
                return;
            }
        }
    }

    fn spawn(&mut self, event: Arc<WebhookEvent>, lane: Lane) {
        let work = self.work.clone();
        let span = info_span!(
            "webhook",
            webhook.id = event.id.0,
            webhook.action = event.said.action.as_str(),
            operation.id = event.said.operation.as_deref(),
            subscription.id = event.said.subscription.map(tracing::field::display)
        );
        let task = async move {
            let worked = AssertUnwindSafe(work.work_off(&event)).catch_unwind().await;
            let result = match worked {
                Ok(result) => result,
                Err(_panic) => {
                    error!("Working a webhook off panicked: please report it; others go on");
                    work.failed(&event, "an assumption of this program broke: please report it")
                        .await
                }
            };
            (event.id, lane, result)
        };
        self.tasks.spawn(task.instrument(span));
    }

    fn end(&mut self, ended: Result<Ended, tokio::task::JoinError>) -> Result<(), SyncError> {
        let (id, lane, result) = ended.map_err(SyncError::Panicked)?;
        self.busy.remove(&lane);
        let next = match result {
            Ok(next) => next,
            Err(SyncError::Store(error)) => {
                // It stays in the inbox. Whether the daemon goes on is housekeeping's to judge.
                warn!(error = &error as &dyn std::error::Error, "A webhook waits for the store");
                Next::Later(None)
            }
            Err(error) => return Err(error),
        };
        match next {
            Next::Over => {
                self.later.remove(&id);
            }
            Next::Later(asked) => {
                let looks = self.later.get(&id).map_or(0, |it| it.looks);
                let asked = asked.and_then(|it| SignedDuration::try_from(it).ok());
                let rest = rest(id, looks).max(asked.unwrap_or_default());
                let now = (self.work.sources.clock)();
                let due = now.checked_add(rest).unwrap_or(Timestamp::MAX);
                self.later.insert(id, Later { due, looks: looks.saturating_add(1) });
            }
        }
        Ok(())
    }
}

/// How long a webhook rests after so many looks: 1 s and doubling, up to a quarter longer, so that
/// those that came together drift apart.
fn rest(id: EventId, looks: u32) -> SignedDuration {
    let doubled = SignedDuration::from_secs(1_i64 << looks.min(9)).min(REST_MAX);
    let spread = i32::try_from(id.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 54).unwrap_or(0);
    doubled.saturating_add((doubled / 4_096).saturating_mul(spread))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rests_double_up_to_five_minutes_and_drift_apart() {
        let seconds: Vec<i64> = (0..11).map(|it| rest(EventId(0), it).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        let long: BTreeSet<_> = (1..100).map(|it| rest(EventId(it), 9)).collect();
        assert!(long.len() > 90 && long.iter().all(|it| *it < REST_MAX * 5 / 4), "{long:?}");
    }
}
