//! Works the inbox of webhooks off: each is looked up, and what Microsoft says is taken.
//!
//! A webhook is a hint. Its operation and its subscription are read; the one decides whether
//! Microsoft waits for our word, the other is what the mirror takes over, by the same planning as
//! the list. What a webhook says of itself is compared, never believed. Webhooks of one
//! subscription are worked off one at a time, in the order in which they came while Microsoft cannot
//! be read; one that fails for itself waits aside and stops no other, and one that Microsoft waits
//! for waits for nothing.
//!
//! | file | subject |
//! |---|---|
//! | `work` | one look at one webhook |
//! | `asking` | our word on what a customer asks for |
//! | `policy` | what the word is. Pure |
//! | `impact` | who would lose what. Pure |
//! | `window` | the seconds in which Microsoft listens |
//! | `ledger` | what the list and the webhooks share, and figures |

mod alarm;
mod asking;
mod impact;
mod ledger;
mod missed;
mod policy;
mod watch;
mod window;
mod work;

use std::collections::{BTreeMap, BTreeSet, HashMap};
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
use crate::domain::{EventId, SubscriptionId, WebhookEvent, has_passed};

pub use alarm::WebhookAlarm;
pub(crate) use ledger::keep_newer;
pub use ledger::{Ledger, Ticket};
pub(crate) use missed::note_missed;
pub use watch::Watch;

/// Webhooks that are worked on at once. High, since most wait for Microsoft.
const AT_ONCE: usize = 64;

/// The same with those that Microsoft waits for: they must not queue behind what hangs.
const IN_ALL: usize = 2 * AT_ONCE;

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
        busy: BTreeMap::new(),
        later: HashMap::new(),
        held: HashMap::new(),
        tasks: JoinSet::new(),
    };
    worker.run(cancel).await
}

/// What is worked on one at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Lane {
    /// A subscription's webhooks.
    Of(SubscriptionId),
    /// A webhook that names no subscription, or for which Microsoft waits: it waits for no other.
    Alone(EventId),
}

impl Lane {
    fn of(event: &WebhookEvent) -> Self {
        event.said.subscription.map_or(Self::Alone(event.id), Self::Of)
    }
}

/// When something is looked at again.
#[derive(Clone, Copy, Debug)]
struct Later {
    due: Timestamp,
    looks: u32,
}

/// A lane for which Microsoft cannot be read: what came first goes first, once it can be again.
#[derive(Clone, Copy, Debug)]
struct Held {
    later: Later,
    /// The newest of its webhooks at the last look: a newer one is a reason to look at once.
    newest: EventId,
}

/// What is under way.
#[derive(Clone, Copy, Debug)]
struct Begun {
    id: EventId,
    /// The lane that is busy with it.
    lane: Lane,
    /// The lane that it belongs to.
    home: Lane,
    /// The newest of its webhooks then.
    newest: EventId,
}

type Ended = (Begun, Result<Next, SyncError>);

struct Worker {
    work: Work,
    busy: BTreeMap<Lane, EventId>,
    later: HashMap<EventId, Later>,
    held: HashMap<Lane, Held>,
    tasks: JoinSet<Ended>,
}

impl Worker {
    async fn run(mut self, cancel: CancellationToken) -> Result<(), SyncError> {
        let mut revisions = self.work.sources.store.revisions();
        let mut pruned: Option<Timestamp> = None;
        loop {
            let now = (self.work.sources.clock)();
            if pruned.is_none_or(|at| has_passed(PRUNE_EVERY, at, now)) {
                pruned = Some(now);
                self.prune(now).await;
            }
            self.begin(now);
            let look_again = async {
                if self.later.is_empty() && self.held.is_empty() {
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
        if let Err(error) = self.work.forget_asked(now).await {
            warn!(error = &error as &dyn std::error::Error, "Old requests stay for now");
        }
    }

    /// Begins what is due and has its lane free: what Microsoft waits for first, then in the order
    /// of arrival.
    fn begin(&mut self, now: Timestamp) {
        if self.tasks.len() >= IN_ALL {
            return;
        }
        let mut waiting = self.work.sources.store.waiting_webhooks();
        let newest: HashMap<Lane, EventId> =
            waiting.iter().map(|it| (Lane::of(it), it.id)).collect();
        self.held.retain(|lane, _| newest.contains_key(lane));
        if waiting.len() < self.later.len() {
            let ids: BTreeSet<EventId> = waiting.iter().map(|it| it.id).collect();
            self.later.retain(|id, _| ids.contains(id));
        }
        waiting.sort_by_key(|it| (work::left(it, now).is_none(), it.id));
        let under_way: BTreeSet<EventId> = self.busy.values().copied().collect();
        for event in waiting {
            let (urgent, home) = (work::left(&event, now).is_some(), Lane::of(&event));
            if self.tasks.len() >= if urgent { IN_ALL } else { AT_ONCE } {
                return;
            }
            let newest = newest.get(&home).copied().unwrap_or(event.id);
            let held = |it: &Held| it.later.due > now && newest <= it.newest;
            let resting = self.later.get(&event.id).is_some_and(|it| it.due > now)
                || under_way.contains(&event.id)
                || (!urgent && self.held.get(&home).is_some_and(held));
            let lane = if urgent { Lane::Alone(event.id) } else { home };
            if resting || self.busy.contains_key(&lane) {
                continue;
            }
            self.busy.insert(lane, event.id);
            self.spawn(Arc::clone(&event), Begun { id: event.id, lane, home, newest });
        }
    }

    fn spawn(&mut self, event: Arc<WebhookEvent>, begun: Begun) {
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
            (begun, result)
        };
        self.tasks.spawn(task.instrument(span));
    }

    fn end(&mut self, ended: Result<Ended, tokio::task::JoinError>) -> Result<(), SyncError> {
        let (begun, result) = ended.map_err(SyncError::Panicked)?;
        self.busy.remove(&begun.lane);
        let next = match result {
            Ok(next) => next,
            Err(SyncError::Store(error)) => {
                // It stays in the inbox. Whether the daemon goes on is housekeeping's to judge.
                warn!(error = &error as &dyn std::error::Error, "A webhook waits for the store");
                Next::Away(None)
            }
            Err(error) => return Err(error),
        };
        let now = (self.work.sources.clock)();
        let again = |looks: u32, asked: Option<Duration>| {
            let asked = asked.and_then(|it| SignedDuration::try_from(it).ok());
            let rest = rest(begun.id, looks).max(asked.unwrap_or_default());
            let due = now.checked_add(rest).unwrap_or(Timestamp::MAX);
            Later { due, looks: looks.saturating_add(1) }
        };
        match next {
            Next::Away(asked) if begun.lane == begun.home => {
                let looks = self.held.get(&begun.home).map_or(0, |it| it.later.looks);
                let held = Held { later: again(looks, asked), newest: begun.newest };
                self.held.insert(begun.home, held);
            }
            // Its own try was extra: those before it have their turn.
            Next::Away(asked) => {
                let looks = self.later.get(&begun.id).map_or(0, |it| it.looks);
                self.later.insert(begun.id, again(looks, asked));
            }
            Next::Later => {
                let looks = self.later.get(&begun.id).map_or(0, |it| it.looks);
                self.later.insert(begun.id, again(looks, None));
                self.held.remove(&begun.home);
            }
            Next::Over => {
                self.later.remove(&begun.id);
                self.held.remove(&begun.home);
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
