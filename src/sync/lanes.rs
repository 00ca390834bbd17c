//! Room for runs: many short ones at once, and a few long ones that take nobody's place.
//!
//! A run begins in the quick lane. Once it has read so much that its tenant must be a large one it
//! moves to the long lane and gives its place back, so that a tenant of 300,000 users delays none
//! of ten thousand small ones, and not even fifty such tenants do. Since the long lane is narrow,
//! few large readings are in memory at a time.
//!
//! Who is told by Microsoft to wait gives his quick place back meanwhile: hundreds of throttled
//! tenants delay nobody else.

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::microsoft::Room;

/// Short runs that may be under way at once. High, since most of them wait for Microsoft: what is
/// sent is bounded by the client's own budgets.
const QUICK: usize = 256;
/// Long runs that may be under way at once.
const LONG: usize = 16;
/// Short runs that may wait for Microsoft without a place: each holds some memory.
const AWAY: usize = 2_048;
/// Records after which a run is a long one.
const LONG_AFTER: u64 = 10_000;

/// Both lanes.
#[derive(Debug)]
pub(super) struct Lanes {
    quick: Arc<Semaphore>,
    long: Arc<Semaphore>,
    away: Arc<Semaphore>,
    freed: Notify,
}

impl Lanes {
    pub(super) fn new() -> Arc<Self> {
        let [quick, long, away] = [QUICK, LONG, AWAY].map(|it| Arc::new(Semaphore::new(it)));
        Arc::new(Self { quick, long, away, freed: Notify::new() })
    }

    /// A place for a run that begins, if there is one.
    pub(super) fn enter(self: &Arc<Self>) -> Option<Place> {
        let permit = Arc::clone(&self.quick).try_acquire_owned().ok()?;
        Some(Place { lanes: Arc::clone(self), held: Mutex::new(Held::Quick(permit)) })
    }

    /// Wakes once a run has left its place in the quick lane, for the long one or for a wait.
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
    Away(#[expect(dead_code, reason = "held, and given back when dropped")] OwnedSemaphorePermit),
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

impl Room for Place {
    fn leave(&self) -> bool {
        let mut held = self.held();
        if !matches!(*held, Held::Quick(_)) {
            return false;
        }
        let Ok(permit) = Arc::clone(&self.lanes.away).try_acquire_owned() else { return false };
        *held = Held::Away(permit);
        self.lanes.freed.notify_one();
        true
    }

    /// Before those that have not begun: they find no place while somebody waits for one.
    fn come_back(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            // The lanes are never closed.
            if let Ok(permit) = Arc::clone(&self.lanes.quick).acquire_owned().await {
                *self.held() = Held::Quick(permit);
            }
        })
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

    #[tokio::test]
    async fn throttled_tenants_leave_their_places_to_others_and_come_back_before_new_ones() {
        let lanes = Lanes::new();
        let throttled: Vec<_> = (0..QUICK).map(|_| lanes.enter().unwrap()).collect();
        assert!(throttled.iter().all(Room::leave));
        assert!(!throttled[0].leave(), "he holds none");
        assert!(lanes.freed().now_or_never().is_some(), "the scheduler hears of it");
        let mut others: Vec<_> = (0..QUICK).map_while(|_| lanes.enter()).collect();
        assert_eq!(others.len(), QUICK);

        let mut coming = throttled[0].come_back();
        assert!(coming.as_mut().now_or_never().is_none(), "there is no room yet");
        drop(others.pop());
        assert!(lanes.enter().is_none(), "who was there first comes first");
        assert!(coming.as_mut().now_or_never().is_some());
        drop(coming);
        drop(throttled);
        assert!(lanes.enter().is_some(), "whoever ends gives it back");
    }

    #[tokio::test]
    async fn not_more_wait_without_a_place_than_memory_is_worth() {
        let lanes = Lanes::new();
        let enter = || lanes.enter().unwrap();
        let away: Vec<_> = (0..AWAY).map(|_| enter()).inspect(|it| assert!(it.leave())).collect();
        let last = enter();
        assert!(!last.leave(), "he keeps his place");
        drop(away);
        assert!(last.leave());
    }
}
