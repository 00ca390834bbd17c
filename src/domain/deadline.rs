//! What a subscription waits for, and until when: a pure function of it and the time.

use std::fmt;

use jiff::{SignedDuration, Timestamp};

use super::{
    ACTIVATION_WITHIN, FREE_CANCELLATION, Life, SUSPENSION_GRACE, Subscription, SubscriptionStatus,
};

/// How long after its term a live subscription is not yet worth a warning: renewals take a while.
///
/// Source: `marketplace-saas.md` section 10, item 7.
const OVERDUE_AFTER: SignedDuration = SignedDuration::from_hours(3 * 24);

/// Within how long a deadline is shown without being asked for.
pub const NEAR: SignedDuration = SignedDuration::from_hours(7 * 24);

/// What happens at a deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DeadlineKind {
    /// A purchase that nobody activated lapses.
    Activation,
    /// A suspended subscription ends for good.
    Suspension,
    /// A term ends that is not renewed.
    TermEnd,
    /// A free trial ends.
    TrialEnd,
    /// Its term is over, and yet it is live: something at Microsoft hangs.
    Overdue,
    /// The purchase can no longer be cancelled without cost.
    FreeCancellation,
}

impl DeadlineKind {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Activation,
        Self::Suspension,
        Self::TermEnd,
        Self::TrialEnd,
        Self::Overdue,
        Self::FreeCancellation,
    ];

    /// Its word in listings and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Activation => "activation",
            Self::Suspension => "suspension",
            Self::TermEnd => "term_end",
            Self::TrialEnd => "trial_end",
            Self::Overdue => "overdue",
            Self::FreeCancellation => "free_cancellation",
        }
    }

    /// Whether somebody may want to act before it passes. The others are good to know.
    pub const fn is_pressing(self) -> bool {
        match self {
            Self::Activation
            | Self::Suspension
            | Self::TermEnd
            | Self::TrialEnd
            | Self::Overdue => true,
            Self::FreeCancellation => false,
        }
    }
}

impl fmt::Display for DeadlineKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Until when something holds, and what then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline {
    /// What then.
    pub kind: DeadlineKind,
    /// When.
    pub at: Timestamp,
    /// Whether that is only the latest it can be: the mirror did not see when it began.
    pub at_the_latest: bool,
}

impl Deadline {
    /// What happens then, as a sentence.
    pub const fn why(&self) -> &'static str {
        match (self.kind, self.at_the_latest) {
            (DeadlineKind::Activation, _) => {
                "bought and not activated: void 30 days after the purchase (an older source says 48 hours)"
            }
            (DeadlineKind::Suspension, false) => {
                "suspended, a payment failed: ends for good 30 days after the suspension was seen"
            }
            (DeadlineKind::Suspension, true) => {
                "suspended, a payment failed: ends for good at the latest 30 days after it was first seen, which was when it was suspended already"
            }
            (DeadlineKind::TermEnd, _) => "the term ends and is not renewed",
            (DeadlineKind::TrialEnd, _) => "the free trial ends",
            (DeadlineKind::Overdue, _) => {
                "the term was over more than 3 days ago and Microsoft still says Subscribed: look into Partner Center"
            }
            (DeadlineKind::FreeCancellation, _) => {
                "until then it can be cancelled without cost; after that we cannot cancel a yearly one"
            }
        }
    }

    /// Whether it has passed.
    pub fn is_past(&self, now: Timestamp) -> bool {
        self.at <= now
    }

    /// Whether it passes within so long, or has passed.
    pub fn is_within(&self, reach: SignedDuration, now: Timestamp) -> bool {
        now.checked_add(reach).is_ok_and(|until| self.at <= until)
    }
}

/// What a subscription waits for, the nearest first; what has passed stays until its status says
/// that it took effect.
///
/// Source: `marketplace-saas.md` sections 9, 9.2 and 10.
pub fn deadlines(subscription: &Subscription, life: &Life, now: Timestamp) -> Vec<Deadline> {
    let mut found = Vec::new();
    let mut add = |kind, from: Option<Timestamp>, wait, at_the_latest| {
        if let Some(at) = from.and_then(|it| it.checked_add(wait).ok()) {
            found.push(Deadline { kind, at, at_the_latest });
        }
    };
    let created = subscription.created;
    match &subscription.status {
        SubscriptionStatus::PendingFulfillmentStart => {
            let from = created.unwrap_or(life.since);
            add(DeadlineKind::Activation, Some(from), ACTIVATION_WITHIN, created.is_none());
        }
        SubscriptionStatus::Suspended => {
            add(DeadlineKind::Suspension, Some(life.since), SUSPENSION_GRACE, !life.entered);
        }
        SubscriptionStatus::Subscribed => {
            let over = subscription.term_over();
            let late = over.is_some_and(|it| now.duration_since(it) > OVERDUE_AFTER);
            if late {
                add(DeadlineKind::Overdue, over, OVERDUE_AFTER, false);
            } else if subscription.auto_renew == Some(false) {
                add(DeadlineKind::TermEnd, over, SignedDuration::ZERO, false);
            } else if subscription.free_trial {
                add(DeadlineKind::TrialEnd, over, SignedDuration::ZERO, false);
            }
            let free = created.and_then(|it| it.checked_add(FREE_CANCELLATION).ok());
            if free.is_some_and(|it| it > now) {
                add(DeadlineKind::FreeCancellation, created, FREE_CANCELLATION, false);
            }
        }
        SubscriptionStatus::Unsubscribed | SubscriptionStatus::Unrecognized(_) => {}
    }
    found.sort_by_key(|it| (!it.kind.is_pressing(), it.at, it.kind));
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::SubscriptionId;
    use uuid::Uuid;

    fn at(days: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_hours(days * 24)
    }

    fn seen(status: &str) -> Subscription {
        Subscription {
            id: SubscriptionId::from_uuid(Uuid::from_u128(1)),
            plan: "team".into(),
            status: SubscriptionStatus::from_word(status),
            term_start: Some(at(10)),
            term_end: Some(at(39)),
            auto_renew: Some(true),
            created: Some(at(10)),
            observed_at: at(12),
            ..Subscription::sample()
        }
    }

    /// `kind@day`, with a `~` where that is only the latest it can be.
    fn told(subscription: &Subscription, entered: bool, now: i64) -> String {
        let life = Life { entered, ..Life::unremembered(subscription) };
        let day = |it: Timestamp| it.duration_since(at(0)).as_hours() / 24;
        let word = |it: Deadline| {
            let about = if it.at_the_latest { "~" } else { "" };
            format!("{}@{about}{}", it.kind, day(it.at))
        };
        let words: Vec<_> = deadlines(subscription, &life, at(now)).into_iter().map(word).collect();
        words.join(" ")
    }

    #[test]
    fn each_status_waits_for_what_section_9_says() {
        let check = |it: &Subscription, now, expected: &str| {
            assert_eq!(told(it, true, now), expected, "{it:?} on day {now}");
        };
        let pending = seen("PendingFulfillmentStart");
        check(&pending, 20, "activation@40");
        check(&pending, 50, "activation@40");
        check(&Subscription { created: None, ..pending }, 20, "activation@~42");
        check(&seen("Suspended"), 20, "suspension@42");
        assert_eq!(told(&seen("Suspended"), false, 20), "suspension@~42");
        check(&seen("Unsubscribed"), 20, "");
        check(&seen("Paused"), 20, "");

        let live = seen("Subscribed");
        check(&live, 20, "");
        check(&live, 11, "free_cancellation@13");
        check(&live, 43, "");
        check(&live, 44, "overdue@43");
        let last = Subscription { auto_renew: Some(false), ..live.clone() };
        check(&last, 20, "term_end@40");
        check(&last, 11, "term_end@40 free_cancellation@13");
        check(&last, 41, "term_end@40");
        check(&last, 44, "overdue@43");
        check(&Subscription { free_trial: true, ..live.clone() }, 20, "trial_end@40");
        check(&Subscription { free_trial: true, ..last }, 20, "term_end@40");
        check(&Subscription { term_end: None, free_trial: true, ..live }, 20, "");
    }

    #[test]
    fn a_deadline_is_near_before_it_passes_and_after() {
        let it = Deadline { kind: DeadlineKind::TermEnd, at: at(40), at_the_latest: false };
        assert!(!it.is_within(NEAR, at(32)) && it.is_within(NEAR, at(33)));
        assert!(!it.is_past(at(39)) && it.is_past(at(40)) && it.is_within(NEAR, at(90)));
    }
}
