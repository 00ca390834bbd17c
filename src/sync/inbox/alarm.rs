//! When somebody has to look after the webhooks. Pure.

use std::fmt;

use jiff::{SignedDuration, Timestamp};

use crate::domain::{ON_ITS_WAY, WebhookNote, has_passed};

/// How far back refused tokens count.
pub(super) const REFUSED_WITHIN: SignedDuration = SignedDuration::from_hours(1);

/// So many refused tokens, and not one good one, are no accident: Microsoft tries one webhook about
/// once a minute.
///
/// Source: `marketplace-saas.md` section 8.1 (some 500 tries in 8 hours) and trap 24.
const REFUSED_MANY: u64 = 10;

/// Between two times that a standing alarm is said.
const SAID_EVERY: SignedDuration = SignedDuration::from_hours(24);

/// Why somebody has to look after the webhooks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WebhookAlarm {
    /// Changes were found that should have been announced, and no valid webhook came.
    Silence {
        /// The last valid one.
        since: Option<Timestamp>,
        /// How many changes were found since.
        missed: usize,
    },
    /// Tokens are refused, and not one was good.
    Refused {
        /// How many in the last hour.
        count: u64,
        /// By which checks, the most first.
        checks: String,
    },
}

impl WebhookAlarm {
    /// A word for it.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Silence { .. } => "silence",
            Self::Refused { .. } => "refused",
        }
    }

    /// What to do.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Silence { .. } => {
                "check the connection webhook of the offer's technical configuration in Partner \
                 Center: it must be {listen.public_url}/marketplace/webhook and reach this daemon"
            }
            Self::Refused { checks, .. } if checks.starts_with("no_token") => {
                "check whether a proxy before this daemon strips the Authorization header"
            }
            Self::Refused { .. } => {
                "check [publisher] tenant and [marketplace] app_id against the offer's technical \
                 configuration in Partner Center: a genuine webhook that is refused is a refused \
                 change"
            }
        }
    }
}

impl fmt::Display for WebhookAlarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silence { since: Some(since), missed } => {
                write!(
                    f,
                    "no valid webhook since {since}, while {missed} announced change(s) happened"
                )
            }
            Self::Silence { since: None, missed } => {
                write!(f, "no valid webhook ever, while {missed} announced change(s) happened")
            }
            Self::Refused { count, checks } => {
                write!(f, "{count} webhook tokens refused within an hour and none good ({checks})")
            }
        }
    }
}

/// What is wrong now, if anything. `last_valid` is when the last webhook came whose token was good:
/// whatever was wrong before it is over.
pub(super) fn judge(
    notes: &[WebhookNote],
    last_valid: Option<Timestamp>,
    alarm_after: SignedDuration,
    now: Timestamp,
) -> Option<WebhookAlarm> {
    let since_valid = |at: Timestamp| last_valid.is_none_or(|valid| at > valid);
    let mut refused = crate::domain::ForgedWebhooks { from: now, until: now, checks: [].into() };
    let mut missed = 0_usize;
    for note in notes {
        match note {
            WebhookNote::Missed(it) => {
                // What was found just now may be on its way.
                let overdue = now.duration_since(it.at) >= ON_ITS_WAY;
                missed = missed.saturating_add(usize::from(overdue && since_valid(it.at)));
            }
            WebhookNote::Forged(it) if since_valid(it.from) => {
                if now.duration_since(it.until) <= REFUSED_WITHIN {
                    for (check, count) in &it.checks {
                        let sum = refused.checks.entry(std::sync::Arc::clone(check)).or_default();
                        *sum = sum.saturating_add(*count);
                    }
                }
            }
            WebhookNote::Forged(_) | WebhookNote::Late(_) => {}
        }
    }
    if refused.count() >= REFUSED_MANY {
        return Some(WebhookAlarm::Refused { count: refused.count(), checks: refused.words() });
    }
    let silent = last_valid.is_none_or(|it| now.duration_since(it) >= alarm_after);
    (silent && missed > 0).then_some(WebhookAlarm::Silence { since: last_valid, missed })
}

/// What is to be said about an alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Say {
    /// That it began, or that it still stands.
    Ring,
    /// That it is over.
    Over,
}

/// Says an alarm when it begins and once a day while it stands.
#[derive(Debug, Default)]
pub(super) struct Bell {
    rang: Option<(&'static str, Timestamp)>,
}

impl Bell {
    pub(super) fn hear(&mut self, alarm: Option<&WebhookAlarm>, now: Timestamp) -> Option<Say> {
        let Some(alarm) = alarm else { return self.rang.take().map(|_| Say::Over) };
        let word = alarm.as_str();
        let said =
            self.rang.is_some_and(|(rang, at)| rang == word && !has_passed(SAID_EVERY, at, now));
        if said {
            return None;
        }
        self.rang = Some((word, now));
        Some(Say::Ring)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Action, ForgedWebhooks, MissedWebhook, SubscriptionId};
    use uuid::Uuid;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(minute * 60).unwrap()
    }

    fn missed(minute: i64) -> WebhookNote {
        WebhookNote::Missed(MissedWebhook {
            at: at(minute),
            since: at(minute - 15),
            subscription: SubscriptionId::from_uuid(Uuid::from_u128(1)),
            action: Action::Renew,
            found_by: "run r1".into(),
        })
    }

    fn forged(minute: i64, check: &str, count: u64) -> WebhookNote {
        let checks = [(check.into(), count)].into();
        WebhookNote::Forged(ForgedWebhooks { from: at(minute), until: at(minute), checks })
    }

    /// What is wrong at minute 10,000, if webhooks may be silent for 24 hours.
    fn check(notes: &[WebhookNote], last_valid: Option<i64>, expected: &str) {
        let day = SignedDuration::from_hours(24);
        let alarm = judge(notes, last_valid.map(at), day, at(10_000));
        let got = alarm.map_or("-", |it| it.as_str());
        assert_eq!(got, expected, "{notes:?} {last_valid:?}");
    }

    #[test]
    fn silence_is_wrong_only_while_announced_changes_happen() {
        check(&[], None, "-");
        check(&[], Some(1), "-");
        check(&[missed(9_980)], Some(8_000), "silence");
        check(&[missed(9_980)], None, "silence");
        check(&[missed(9_995)], None, "-"); // it may be on its way
        check(&[missed(9_980)], Some(8_561), "-"); // not yet that long
        check(&[missed(9_980)], Some(8_560), "silence");
        check(&[missed(7_000)], Some(8_000), "-"); // one came since
    }

    #[test]
    fn many_refused_tokens_are_wrong_until_a_good_one_comes_or_they_stop() {
        check(&[forged(9_990, "audience", 9)], None, "-");
        check(&[forged(9_950, "audience", 5), forged(9_990, "no_token", 5)], None, "refused");
        check(&[forged(9_990, "audience", 10)], Some(9_990), "-");
        check(&[forged(9_990, "audience", 10)], Some(9_989), "refused");
        check(&[forged(9_939, "audience", 99)], None, "-");
    }

    #[test]
    fn a_standing_alarm_is_said_once_a_day() {
        let silence = WebhookAlarm::Silence { since: None, missed: 1 };
        let refused = WebhookAlarm::Refused { count: 12, checks: "no_token 12".into() };
        let mut bell = Bell::default();
        let mut check = |alarm: Option<&WebhookAlarm>, minute, say| {
            assert_eq!(bell.hear(alarm, at(minute)), say, "{minute}");
        };
        check(None, 0, None);
        check(Some(&silence), 1, Some(Say::Ring));
        check(Some(&silence), 1_440, None);
        check(Some(&silence), 1_441, Some(Say::Ring));
        check(Some(&refused), 1_442, Some(Say::Ring));
        check(None, 1_443, Some(Say::Over));
        check(None, 1_444, None);
    }

    #[test]
    fn the_remedy_fits_what_is_wrong() {
        let of = |checks: &str| WebhookAlarm::Refused { count: 10, checks: checks.into() };
        assert!(of("no_token 9, audience 1").remedy().contains("proxy"));
        assert!(of("audience 10").remedy().contains("app_id"));
        let silence = WebhookAlarm::Silence { since: None, missed: 3 };
        assert!(silence.remedy().contains("Partner Center"));
        assert!(silence.to_string().contains("3 announced"), "{silence}");
    }
}
