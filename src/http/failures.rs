//! How often somebody may be wrong. Unlike the limits of [`super::rates`] only failures count, and
//! whoever is over the limit is not judged at all any more: a guess that would be right is then
//! worth as little as a wrong one.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::rates::{Limited, Rate};

/// The most that are remembered; beyond, those that have recovered most go first.
const ENTRIES_MAX: usize = 100_000;

/// Counts failures by key. One is forgiven each `per / burst`.
pub(super) struct Failures<K> {
    rule: &'static str,
    burst: u32,
    each: Duration,
    /// When the key will have recovered from all its failures.
    recovered: Mutex<HashMap<K, Instant>>,
}

impl<K: Clone + Eq + Hash> Failures<K> {
    pub(super) fn new(rule: &'static str, rate: Rate) -> Self {
        let each = (rate.per / rate.burst.get()).max(Duration::from_nanos(1));
        Self { rule, burst: rate.burst.get(), each, recovered: Mutex::default() }
    }

    /// Whether the key may try.
    ///
    /// # Errors
    ///
    /// [`Limited`]: it failed too often lately.
    pub(super) fn check(&self, key: &K, now: Instant) -> Result<(), Limited> {
        let recovered = self.entries().get(key).copied();
        let debt = recovered.map_or(Duration::ZERO, |it| it.saturating_duration_since(now));
        // One more failure must fit.
        let room = self.each.saturating_mul(self.burst.saturating_sub(1));
        match debt.checked_sub(room).filter(|it| !it.is_zero()) {
            None => Ok(()),
            Some(wait) => {
                let wait_s = u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).saturating_add(1);
                Err(Limited { rule: self.rule, wait_s })
            }
        }
    }

    /// Counts a failure.
    pub(super) fn count(&self, key: &K, now: Instant) {
        let mut entries = self.entries();
        if entries.len() >= ENTRIES_MAX && !entries.contains_key(key) {
            make_room(&mut entries, now);
        }
        let recovered = entries.entry(key.clone()).or_insert(now);
        *recovered = (*recovered).max(now) + self.each;
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<K, Instant>> {
        self.recovered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Drops those that have recovered; where that is not enough, the half that is nearest to it.
fn make_room<K: Clone + Eq + Hash>(entries: &mut HashMap<K, Instant>, now: Instant) {
    entries.retain(|_, recovered| *recovered > now);
    if entries.len() >= ENTRIES_MAX {
        let mut times: Vec<Instant> = entries.values().copied().collect();
        let middle = times.len() / 2;
        let (_, median, _) = times.select_nth_unstable(middle);
        let median = *median;
        entries.retain(|_, recovered| *recovered > median);
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    fn ten_a_minute() -> Failures<u32> {
        let burst = NonZeroU32::new(10).unwrap();
        Failures::new("wrong", Rate { burst, per: Duration::from_mins(1) })
    }

    #[test]
    fn after_ten_failures_nothing_is_judged_until_one_is_forgiven() {
        let (failures, start) = (ten_a_minute(), Instant::now());
        for _ in 0..10 {
            assert_eq!(failures.check(&1, start), Ok(()));
            failures.count(&1, start);
        }
        let limited = failures.check(&1, start).unwrap_err();
        assert!((6..=7).contains(&limited.wait_s), "{limited:?}");
        assert_eq!(failures.check(&2, start), Ok(()), "another key has its own allowance");
        let later = start + Duration::from_secs(6);
        assert_eq!(failures.check(&1, later), Ok(()));
        failures.count(&1, later);
        assert!(failures.check(&1, later).is_err());
        assert_eq!(failures.check(&1, start + Duration::from_mins(3)), Ok(()));
    }

    #[test]
    fn the_table_is_bounded_and_keeps_the_worst() {
        let (failures, start) = (ten_a_minute(), Instant::now());
        for _ in 0..10 {
            failures.count(&0, start);
        }
        for key in 1..=u32::try_from(2 * ENTRIES_MAX).unwrap() {
            failures.count(&key, start);
        }
        assert!(failures.entries().len() <= ENTRIES_MAX);
        assert!(failures.check(&0, start).is_err());
    }
}
