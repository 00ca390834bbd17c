//! How long to wait before the next try, and how long to go on trying.

use jiff::{SignedDuration, Timestamp};

/// After so long an event is given up.
pub(super) const GIVE_UP_AFTER: SignedDuration = SignedDuration::from_hours(3 * 24);

/// The rests after the first, second, … try, in seconds; the last one goes on.
const RESTS: [i64; 9] = [5, 30, 120, 600, 1_800, 3_600, 7_200, 14_400, 21_600];

/// How long after so many tries in vain; a fifth shorter or longer, so that what failed together
/// does not come back together. `seed` tells events apart.
pub(super) fn rest(tries: u32, seed: u64) -> SignedDuration {
    let at = usize::try_from(tries.saturating_sub(1)).unwrap_or(usize::MAX);
    let seconds = RESTS.get(at).or(RESTS.last()).copied().unwrap_or(1);
    let mixed = seed.wrapping_add(u64::from(tries)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 54;
    let per_mille = i64::try_from(mixed % 401).unwrap_or(0).saturating_add(800);
    SignedDuration::from_millis(seconds.saturating_mul(per_mille))
}

/// Whether an event that came to be at `at` and first failed at `first_try` is tried no more.
pub(super) fn is_over(
    at: Timestamp,
    first_try: Option<Timestamp>,
    sick_since: Option<Timestamp>,
    now: Timestamp,
) -> bool {
    let long = |since: Timestamp| now.duration_since(since) >= GIVE_UP_AFTER;
    // An event that never had its try while we were down is not given up unheard.
    long(at) && (first_try.is_some_and(long) || sick_since.is_some_and(long))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn rests_grow_to_hours_and_drift_apart() {
        for (tries, seconds) in (1..).zip(RESTS.into_iter().chain([21_600, 21_600])) {
            for seed in 0..500 {
                let found = rest(tries, seed).as_millis();
                let wanted = i128::from(seconds) * 1_000;
                assert!((wanted * 8 / 10..=wanted * 12 / 10).contains(&found), "{tries} {found}");
            }
        }
        let different: BTreeSet<_> = (0..100).map(|seed| rest(9, seed)).collect();
        assert!(different.len() > 60, "{}", different.len());
    }

    #[test]
    fn three_days_of_tries_are_enough_and_three_days_without_one_are_not() {
        let at = |hours: i64| Timestamp::from_second(hours * 3_600).unwrap();
        let check = |first, sick, now, over| {
            assert_eq!(is_over(at(0), first, sick, at(now)), over, "{first:?} {sick:?} {now}");
        };
        check(Some(at(0)), None, 71, false);
        check(Some(at(0)), None, 72, true);
        check(Some(at(50)), None, 72, false);
        check(Some(at(50)), None, 122, true);
        check(None, None, 1_000, false);
        check(None, Some(at(0)), 72, true);
        check(None, Some(at(50)), 80, false);
    }
}
