//! A look-up and a run of one tenant: newer is never overwritten by older.
//!
//! A run reads for seconds or for minutes and commits at its end; a look-up reads one user and
//! commits at once. Whatever commits takes the tenant's [`Turn`], plans against the mirror as it
//! is then, and commits before it lets go. Two rules make that safe:
//!
//! 1. **A look-up** that finds that a run committed since it asked asks again: its own word may be
//!    older than what the run read.
//! 2. **A run** that would write something else about a user than the mirror has, although he was
//!    looked up since the run began or shortly before it (delta lags behind single reads), asks for
//!    him by name before it writes.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::OwnedMutexGuard;

use crate::domain::{TenantId, UserId, has_passed};
use crate::planted::{Mistake, planted};

/// How long a look-up is remembered while no run is under way: as long as delta may lag behind.
///
/// Source: none; Microsoft names no limit (graph-licensing.md section 5.7), people saw minutes.
const LAG: SignedDuration = SignedDuration::from_mins(15);

/// Lanes that are kept before those that nobody needs are cleared away.
const LANES_MAX: usize = 1_024;

/// Everybody's turns.
#[derive(Default)]
pub(crate) struct Order(Mutex<HashMap<TenantId, Arc<Lane>>>);

#[derive(Default)]
struct Lane {
    turn: Arc<tokio::sync::Mutex<State>>,
    /// Runs under way.
    runs: AtomicUsize,
}

#[derive(Default)]
struct State {
    looked: HashMap<UserId, Timestamp>,
    /// Counts up with each run that committed.
    runs: u64,
}

/// A run under way: from its beginning on, look-ups are remembered for it.
pub(crate) struct Reading(Arc<Lane>);

/// The right to commit what users of a tenant hold; held until it is durable.
pub(crate) struct Turn {
    state: OwnedMutexGuard<State>,
    lane: Arc<Lane>,
}

impl Order {
    fn lane(&self, tenant: TenantId) -> Arc<Lane> {
        let mut lanes: MutexGuard<'_, _> = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lanes.len() >= LANES_MAX {
            lanes.retain(|_, lane: &mut Arc<Lane>| {
                let empty = || lane.turn.try_lock().is_ok_and(|it| it.looked.is_empty());
                Arc::strong_count(lane) > 1 || !empty()
            });
        }
        Arc::clone(lanes.entry(tenant).or_default())
    }

    /// A run begins.
    pub(crate) fn reading(&self, tenant: TenantId) -> Reading {
        let lane = self.lane(tenant);
        lane.runs.fetch_add(1, SeqCst);
        Reading(lane)
    }

    /// Somebody is about to be looked up: the moment to compare with later, and the lane, kept.
    pub(crate) async fn before(&self, tenant: TenantId) -> Before {
        let lane = self.lane(tenant);
        let runs = lane.turn.lock().await.runs;
        Before { lane, runs }
    }
}

/// The moment before a look-up's request.
pub(crate) struct Before {
    lane: Arc<Lane>,
    runs: u64,
}

impl Before {
    /// The turn, if no run committed since; otherwise the moment to ask again from.
    pub(crate) async fn turn(self) -> Result<Turn, Self> {
        let state = Arc::clone(&self.lane.turn).lock_owned().await;
        if state.runs == self.runs || planted(Mistake::LateLookup) {
            return Ok(Turn { state, lane: self.lane });
        }
        let runs = state.runs;
        drop(state);
        Err(Self { runs, ..self })
    }
}

impl Reading {
    /// Nobody else commits for this tenant before the turn is dropped.
    pub(crate) async fn turn(&self) -> Turn {
        let state = Arc::clone(&self.0.turn).lock_owned().await;
        Turn { state, lane: Arc::clone(&self.0) }
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.runs.fetch_sub(1, SeqCst);
    }
}

impl Turn {
    /// These were looked up at this moment.
    pub(crate) fn looked(&mut self, users: &[UserId], now: Timestamp) {
        self.forget(now, 0);
        self.state.looked.extend(users.iter().map(|it| (*it, now)));
    }

    /// Those of whom a run's word may be the older one.
    pub(crate) fn lately(&self) -> impl Iterator<Item = UserId> {
        self.state.looked.keys().copied()
    }

    /// A run commits: look-ups that asked before now ask again.
    pub(crate) fn committed(&mut self, now: Timestamp) {
        self.state.runs = self.state.runs.wrapping_add(1);
        self.forget(now, 1);
    }

    /// Forgets what no run needs: nothing while more than these are under way.
    fn forget(&mut self, now: Timestamp, runs: usize) {
        if self.lane.runs.load(SeqCst) > runs {
            return;
        }
        self.state.looked.retain(|_, at| !has_passed(LAG, *at, now));
    }
}
