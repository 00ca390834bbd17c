//! Whether so much time has passed since something was done.

use jiff::{SignedDuration, Timestamp};

/// Whether `every` has passed since this moment. One that lies ahead was noted before the clock was
/// set back: nobody knows how long ago it was, so it has, and what is done now and then is done.
pub fn has_passed(every: SignedDuration, since: Timestamp, now: Timestamp) -> bool {
    since > now || now.duration_since(since) >= every
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_has_passed_when_it_has_or_when_the_clock_was_set_back() {
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        let check = |since, now, passed| {
            let every = SignedDuration::from_secs(10);
            assert_eq!(has_passed(every, at(since), at(now)), passed, "{since} {now}");
        };
        check(100, 100, false);
        check(100, 109, false);
        check(100, 110, true);
        check(100, 9_999, true);
        check(101, 100, true);
        check(9_999, 100, true);
        assert!(has_passed(SignedDuration::MAX, Timestamp::MAX, Timestamp::MIN));
        assert!(!has_passed(SignedDuration::MAX, Timestamp::MIN, Timestamp::MAX));
    }
}
