//! Room for runs: many short ones at once, and a few long ones that take nobody's place.
//!
//! A run begins in the quick lane. Once it has read so much that its tenant must be a large one it
//! moves to the long lane and gives its place back, so that a tenant of 300,000 users delays none
//! of ten thousand small ones, and not even fifty such tenants do. Since the long lane is narrow,
//! few large readings are in memory at a time.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// Short runs that may be under way at once. High, since most of them wait for Microsoft: what is
/// sent is bounded by the client's own budgets.
const QUICK: usize = 256;
/// Long runs that may be under way at once.
const LONG: usize = 16;
/// Records after which a run is a long one.
const LONG_AFTER: u64 = 10_000;

/// Both lanes.
#[derive(Debug)]
pub(super) struct Lanes {
    quick: Arc<Semaphore>,
    long: Arc<Semaphore>,
    freed: Notify,
}

impl Lanes {
    pub(super) fn new() -> Arc<Self> {
        let (quick, long) = (Arc::new(Semaphore::new(QUICK)), Arc::new(Semaphore::new(LONG)));
        Arc::new(Self { quick, long, freed: Notify::new() })
    }

    /// A place for a run that begins, if there is one.
    pub(super) fn enter(self: &Arc<Self>) -> Option<Place> {
        let permit = Arc::clone(&self.quick).try_acquire_owned().ok()?;
        Some(Place { lanes: Arc::clone(self), held: Mutex::new(Held::Quick(permit)) })
    }

    /// Wakes once a run has moved and left its place in the quick lane.
    pub(super) async fn freed(&self) {
        self.freed.notified().await;
    }
}

/// A run's place, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    lanes: Arc<Lanes>,
    held: Mutex<Held>,
}

#[derive(Debug)]
enum Held {
    Quick(#[expect(dead_code, reason = "held, and given back when dropped")] OwnedSemaphorePermit),
    Moving,
    Long(#[expect(dead_code, reason = "held, and given back when dropped")] OwnedSemaphorePermit),
}

impl Place {
    fn held(&self) -> std::sync::MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// So many records have been read: others get a turn on this thread, and a run that turns out
    /// to be a long one waits for its turn among those.
    pub(super) async fn breathe(&self, seen: u64) {
        tokio::task::yield_now().await;
        if seen < LONG_AFTER || !matches!(*self.held(), Held::Quick(_)) {
            return;
        }
        *self.held() = Held::Moving;
        self.lanes.freed.notify_one();
        // The lanes are never closed.
        if let Ok(permit) = Arc::clone(&self.lanes.long).acquire_owned().await {
            *self.held() = Held::Long(permit);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    #[tokio::test]
    async fn large_tenants_leave_the_quick_lane_to_the_small_ones() {
        let lanes = Lanes::new();
        let places: Vec<_> = (0..QUICK).map(|_| lanes.enter().unwrap()).collect();
        assert!(lanes.enter().is_none(), "the lane is full");
        for place in &places {
            place.breathe(LONG_AFTER - 1).await;
        }
        assert!(lanes.enter().is_none(), "nobody is long yet");

        let mut waiting = Vec::new();
        for place in &places {
            let mut moving = Box::pin(place.breathe(LONG_AFTER));
            // The first poll lets others run, the second moves.
            let done = moving.as_mut().now_or_never().or_else(|| moving.as_mut().now_or_never());
            waiting.extend(done.is_none().then_some(moving));
        }
        assert_eq!(waiting.len(), QUICK - LONG, "the rest waits for a place among the long ones");
        assert!(lanes.freed().now_or_never().is_some(), "the scheduler hears of it");
        let small: Vec<_> = (0..QUICK).map_while(|_| lanes.enter()).collect();
        assert_eq!(small.len(), QUICK, "and every place is free for small ones");
    }
}
