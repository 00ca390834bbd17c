//! How an endpoint fares. In memory only: a daemon that starts gives every endpoint a new chance.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::rest;

/// How an endpoint fares.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Health {
    /// Tries in a row after which it seemed to be in trouble.
    pub(super) fails: u32,
    /// It is left alone until then.
    pub(super) rest_until: Option<Timestamp>,
    /// Since when it is in trouble.
    pub(super) sick_since: Option<Timestamp>,
    /// When it last came out of it: what failed before is due at once.
    pub(super) well_since: Option<Timestamp>,
    /// It said that it wants nothing more.
    pub(super) gone: bool,
    /// When it last took an event.
    pub(super) last_success: Option<Timestamp>,
    /// When it last did not, and why.
    pub(super) last_error: Option<(Timestamp, Arc<str>)>,
}

/// Tries in a row that make trouble of the endpoint's: a single one may be the event's.
const SICK: u32 = 2;

impl Health {
    /// How many events may be under way to it; none while it is left alone.
    pub(super) fn slots(&self, now: Timestamp, most: usize) -> usize {
        if self.gone || self.rest_until.is_some_and(|until| until > now) {
            0
        } else if self.fails > 0 {
            1
        } else {
            most
        }
    }

    /// It took one. Says whether that is news.
    pub(super) fn took(&mut self, now: Timestamp) -> bool {
        let was_sick = self.fails >= SICK;
        if was_sick {
            self.well_since = Some(now);
        }
        self.last_success = Some(now);
        (self.fails, self.rest_until, self.sick_since) = (0, None, None);
        was_sick
    }

    /// It is in trouble, as far as one knows since `since`. Says whether that is news. `fails` is what
    /// it was when the try began: those that were under way together are one failure.
    pub(super) fn sickened(
        &mut self,
        why: &Arc<str>,
        (fails, since): (u32, Timestamp),
        asked: Option<SignedDuration>,
        now: Timestamp,
    ) -> bool {
        let alone = self.fails == fails;
        self.fails = fails.saturating_add(1).max(self.fails);
        self.sick_since.get_or_insert(since);
        self.last_error = Some((now, Arc::clone(why)));
        let seed = now.as_second().unsigned_abs();
        let rest = rest::rest(self.fails, seed).max(asked.unwrap_or_default());
        self.rest_until = self.rest_until.max(now.checked_add(rest).ok());
        alone && self.fails == SICK
    }

    /// It did not want one event.
    pub(super) fn refused(&mut self, why: &Arc<str>, now: Timestamp) {
        self.last_error = Some((now, Arc::clone(why)));
    }

    /// It wants nothing more.
    pub(super) fn left(&mut self, now: Timestamp) {
        self.gone = true;
        let why = "it answered 410: nothing is sent to it until a restart or a good `notify test`";
        self.last_error = Some((now, why.into()));
    }

    /// In one word.
    pub(super) const fn word(&self) -> &'static str {
        if self.gone {
            "gone"
        } else if self.fails > 0 {
            "failing"
        } else {
            "ok"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn trouble_means_rest_then_one_try_at_a_time_and_success_means_all() {
        let (mut it, why) = (Health::default(), Arc::from("it answered 500"));
        assert_eq!(it.slots(at(0), 4), 4);
        assert!(!it.sickened(&why, (0, at(0)), None, at(0)));
        assert!(!it.sickened(&why, (0, at(0)), None, at(0)), "it was under way with the first");
        assert_eq!((it.slots(at(3), 4), it.slots(at(6), 4)), (0, 1));
        assert!(it.sickened(&why, (1, at(6)), None, at(6)), "twice in a row is trouble");
        assert_eq!((it.slots(at(20), 4), it.slots(at(42), 4)), (0, 1));
        assert_eq!(it.word(), "failing");
        assert!(it.took(at(50)));
        assert_eq!((it.slots(at(50), 4), it.well_since), (4, Some(at(50))));
        it.sickened(&why, (0, at(60)), Some(SignedDuration::from_mins(10)), at(60));
        assert_eq!((it.slots(at(600), 4), it.slots(at(660), 4)), (0, 1), "it asked for that");
        it.left(at(700));
        assert_eq!((it.slots(at(9_999), 4), it.word()), (0, "gone"));
    }

    #[test]
    fn one_failure_between_successes_waives_no_rests() {
        let (mut it, why) = (Health::default(), Arc::from("it answered 500"));
        it.sickened(&why, (0, at(0)), None, at(0));
        assert!(!it.took(at(10)));
        assert_eq!((it.well_since, it.fails), (None, 0));
    }
}
