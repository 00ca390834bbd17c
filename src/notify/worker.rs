//! Which event goes when, and what comes of it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::Clock;
use super::client::Tried;
use super::handle::{Endpoint, NotifyHandle};
use super::rest;
use crate::domain::{Commit, Delivery, DeliveryState, DeliveryWrite, has_passed};
use crate::store::{Store, StoreError};

/// Events under way to one endpoint.
const AT_ONCE: usize = 4;

/// How often the clock is looked at while something waits for its time.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// How long what is under way may take when the daemon stops.
const STOP_GRACE: Duration = Duration::from_millis(500);

/// How often what is long over is forgotten.
const PRUNE_EVERY: SignedDuration = SignedDuration::from_hours(1);

/// Events given up in one commit.
const GIVEN_UP_AT_ONCE: usize = 500;

/// Why an event that waited behind others is given up.
const UNHEARD: &str = "the endpoint took nothing for three days";

/// An event that was tried, and what came of it.
struct Ended {
    lane: usize,
    delivery: Arc<Delivery>,
    /// In how much trouble the endpoint was when the try began.
    fails: u32,
    tried: Tried,
}

/// One endpoint and what is under way to it.
struct Lane {
    endpoint: Arc<Endpoint>,
    /// By subject: of each one event at most.
    busy: BTreeSet<Arc<str>>,
    /// What the store did not take yet: not to be sent again until it has.
    unwritten: Vec<Delivery>,
}

struct Worker {
    store: Store,
    clock: Clock,
    handle: NotifyHandle,
    lanes: Vec<Lane>,
    tries: JoinSet<Ended>,
}

/// Sends what is due until cancelled. What is under way then is sent again after a restart, under
/// the same id.
///
/// # Errors
///
/// Only if a try ended in a way that it cannot.
pub(super) async fn run(handle: NotifyHandle, cancel: CancellationToken) -> Result<(), JoinError> {
    let lane = |it: &Arc<Endpoint>| Lane {
        endpoint: Arc::clone(it),
        busy: BTreeSet::new(),
        unwritten: Vec::new(),
    };
    let worker = Worker {
        store: handle.store.clone(),
        clock: Arc::clone(&handle.clock),
        lanes: handle.endpoints.iter().map(lane).collect(),
        handle,
        tries: JoinSet::new(),
    };
    worker.run(cancel).await
}

impl Worker {
    async fn run(mut self, cancel: CancellationToken) -> Result<(), JoinError> {
        let mut revisions = self.store.revisions();
        let mut pruned: Option<Timestamp> = None;
        loop {
            let now = (self.clock)();
            if pruned.is_none_or(|at| has_passed(PRUNE_EVERY, at, now)) {
                pruned = Some(now);
                self.prune(now).await;
            }
            self.write_unwritten().await;
            self.begin(now);
            let idle = !self.store.has_events_waiting();
            let look_again = async {
                if idle {
                    std::future::pending::<()>().await;
                }
                tokio::time::sleep(LOOK_EVERY).await;
            };
            tokio::select! {
                biased;
                () = cancel.cancelled() => break,
                Some(ended) = self.tries.join_next() => {
                    self.end(ended?).await;
                }
                Ok(()) = revisions.changed() => {}
                () = look_again => {}
            }
        }
        // What is nearly done need not be done twice.
        let grace = async {
            while let Some(Ok(ended)) = self.tries.join_next().await {
                self.end(ended).await;
            }
        };
        drop(tokio::time::timeout(STOP_GRACE, grace).await);
        self.tries.shutdown().await;
        Ok(())
    }

    async fn prune(&self, now: Timestamp) {
        match self.store.prune_events(now).await {
            Ok(0) => {}
            Ok(gone) => info!(notify.gone = gone, "Forgot events that were long over"),
            Err(error) => {
                warn!(error = &error as &dyn std::error::Error, "Old events stay for now");
            }
        }
    }

    /// Begins what is due, each endpoint by itself.
    fn begin(&mut self, now: Timestamp) {
        for (at, lane) in self.lanes.iter_mut().enumerate() {
            let (slots, fails, well) = {
                let health = lane.endpoint.health();
                (health.slots(now, AT_ONCE), health.fails, health.well_since)
            };
            let free = slots.saturating_sub(lane.busy.len());
            if free == 0 {
                continue;
            }
            // One at a time, the one tried least: so no single event keeps an endpoint sick.
            let probing = fails > 0;
            let most = if probing { usize::MAX } else { free };
            let mut due = self.store.due_events(&lane.endpoint.name, (now, well), &lane.busy, most);
            if probing {
                due.sort_by_key(|it| (it.tries, it.number));
                due.truncate(free);
            }
            for delivery in due {
                lane.busy.insert(Arc::clone(&delivery.subject));
                let endpoint = Arc::clone(&lane.endpoint);
                self.tries.spawn(async move {
                    let tried = endpoint.sender.send(&delivery.id, &delivery.body, now).await;
                    Ended { lane: at, delivery, fails, tried }
                });
            }
        }
    }

    /// Judges a try: what becomes of the event, and how the endpoint fares.
    async fn end(&mut self, ended: Ended) {
        let now = (self.clock)();
        let Some(lane) = self.lanes.get(ended.lane) else { return };
        let endpoint = Arc::clone(&lane.endpoint);
        let name = &*endpoint.name;
        let was = &*ended.delivery;
        let (after, sick) = match ended.tried {
            Tried::Taken => {
                self.handle.metrics.sent(name);
                if endpoint.health().took(now) {
                    info!(notify.endpoint = name, "An endpoint of [[notify]] takes events again");
                }
                (Some(Delivery { state: DeliveryState::Sent { at: now }, ..was.clone() }), false)
            }
            Tried::Gone => {
                self.handle.metrics.failed(name);
                endpoint.health().left(now);
                error!(
                    notify.endpoint = name,
                    "An endpoint of [[notify]] answered 410 Gone: nothing is sent to it any more, \
                     its events wait; correct or remove it and restart, or run `entitled notify \
                     test {name}`"
                );
                // It is no failure of the event: it waits as it was.
                (None, false)
            }
            Tried::Refused { why } => {
                self.handle.metrics.failed(name);
                endpoint.health().refused(&why, now);
                (Some(failed(was, &why, None, now)), false)
            }
            Tried::Sick { why, asked } => {
                self.handle.metrics.failed(name);
                let since = (ended.fails, was.first_try.unwrap_or(now));
                if endpoint.health().sickened(&why, since, asked, now) {
                    warn!(
                        notify.endpoint = name,
                        why = &*why,
                        "An endpoint of [[notify]] takes no events: they wait; `entitled notify` \
                         shows how many"
                    );
                }
                (Some(failed(was, &why, asked, now)), true)
            }
        };
        if let Some(after) = &after
            && matches!(after.state, DeliveryState::Dead { .. })
        {
            self.told_dead(name, 1);
        }
        match after {
            Some(after) => self.write(ended.lane, after).await,
            None => self.free(ended.lane, &was.subject),
        }
        if sick {
            self.give_up_unheard(&endpoint, now).await;
        }
    }

    /// Writes down how far an event is; until that is done its subject waits.
    async fn write(&mut self, at: usize, after: Delivery) {
        match put(&self.store, &after).await {
            Ok(()) => self.free(at, &after.subject),
            Err(error) => {
                warn!(
                    error = &error as &dyn std::error::Error,
                    "What became of an event cannot be written down yet; a restart now would send \
                     it again"
                );
                if let Some(lane) = self.lanes.get_mut(at) {
                    lane.unwritten.push(after);
                }
            }
        }
    }

    fn free(&mut self, at: usize, subject: &Arc<str>) {
        if let Some(lane) = self.lanes.get_mut(at) {
            lane.busy.remove(subject);
        }
    }

    async fn write_unwritten(&mut self) {
        for lane in &mut self.lanes {
            while let Some(after) = lane.unwritten.last() {
                if put(&self.store, after).await.is_err() {
                    break;
                }
                if let Some(after) = lane.unwritten.pop() {
                    lane.busy.remove(&after.subject);
                }
            }
        }
    }

    /// Gives up what is three days old while the endpoint took nothing for three days, also what
    /// never had its turn.
    async fn give_up_unheard(&self, endpoint: &Endpoint, now: Timestamp) {
        let sick_since = endpoint.health().sick_since;
        let Ok(long_ago) = now.checked_sub(rest::GIVE_UP_AFTER) else { return };
        if sick_since.is_none_or(|since| since > long_ago) {
            return;
        }
        let old = self.store.events_waiting_since(&endpoint.name, long_ago);
        for some in old.chunks(GIVEN_UP_AT_ONCE) {
            let dead = |it: &Arc<Delivery>| {
                let why = it.error.as_deref().unwrap_or(UNHEARD);
                DeliveryWrite::Put(Arc::new(it.dead(why, now)))
            };
            let commit = Commit { outbox: some.iter().map(dead).collect(), ..Commit::default() };
            match self.store.commit(commit).await {
                Ok(()) => self.told_dead(&endpoint.name, some.len()),
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    warn!(error, "Old events cannot be given up yet: they wait");
                    return;
                }
            }
        }
    }

    fn told_dead(&self, name: &str, count: usize) {
        self.handle.metrics.given_up(name, count);
        error!(
            notify.endpoint = name,
            notify.events = count,
            "Events were given up after three days: `entitled notify dead` shows them, `entitled \
             notify replay` sends them again"
        );
    }
}

async fn put(store: &Store, after: &Delivery) -> Result<(), StoreError> {
    let outbox = vec![DeliveryWrite::Put(Arc::new(after.clone()))];
    store.commit(Commit { outbox, ..Commit::default() }).await
}

/// The event after a try in vain: it rests, or is over.
fn failed(
    was: &Delivery,
    why: &Arc<str>,
    asked: Option<SignedDuration>,
    now: Timestamp,
) -> Delivery {
    let tries = was.tries.saturating_add(1);
    let first_try = was.first_try.or(Some(now));
    let rest = rest::rest(tries, was.number.0).max(asked.unwrap_or_default());
    let state = if rest::is_over(was.at, first_try, None, now) {
        DeliveryState::Dead { at: now }
    } else {
        DeliveryState::Waiting { due: now.checked_add(rest).ok() }
    };
    let error = Some(Arc::clone(why));
    Delivery { tries, first_try, last_try: Some(now), error, state, ..was.clone() }
}
