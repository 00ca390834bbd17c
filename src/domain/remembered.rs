//! What is remembered of a subscription beside what Microsoft says of it, and what stays of one that
//! is long over.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

use super::{Party, Step, Subscription, step};

/// What is remembered of a subscription beside what Microsoft says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Life {
    /// When it was first seen in the status that it has.
    pub since: Timestamp,
    /// Whether the mirror saw it enter that status: otherwise it was there before, nobody knows how
    /// long.
    pub entered: bool,
    /// Since when complete lists lack it.
    pub missing_since: Option<Timestamp>,
    /// When what belongs to the customer was removed.
    pub purged_at: Option<Timestamp>,
    /// The last step that Microsoft does not document.
    pub undocumented: Option<Undocumented>,
}

/// A step that Microsoft does not document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undocumented {
    /// When it was seen.
    pub at: Timestamp,
    /// From which status.
    pub from: Arc<str>,
    /// To which.
    pub to: Arc<str>,
}

impl fmt::Display for Undocumented {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} became {}", self.from, self.to)
    }
}

impl Life {
    /// What is known of a subscription of which nothing was remembered: it has been as it is at
    /// least since it was last seen to change.
    pub const fn unremembered(subscription: &Subscription) -> Self {
        Self {
            since: subscription.observed_at,
            entered: false,
            missing_since: None,
            purged_at: None,
            undocumented: None,
        }
    }

    /// What is remembered once a reading of the subscription is taken over.
    #[must_use]
    pub fn after(before: Option<(&Subscription, &Self)>, after: &Subscription) -> Self {
        let Some((earlier, life)) = before else { return Self::unremembered(after) };
        let step = step(Some((earlier, life.since)), after);
        let undocumented = match step {
            Step::Undocumented => Some(Undocumented {
                at: after.observed_at,
                from: earlier.status.as_str().into(),
                to: after.status.as_str().into(),
            }),
            Step::Documented(_) | Step::Several | Step::Detail => life.undocumented.clone(),
        };
        let kept = Self { undocumented, ..life.clone() };
        if earlier.status == after.status {
            return kept;
        }
        Self { since: after.observed_at, entered: true, purged_at: None, ..kept }
    }
}

impl Subscription {
    /// What stays of an ended subscription when what belongs to the customer is removed: what keeps
    /// answers right. The tenant stays, so that they go on saying `expired`.
    #[must_use]
    pub fn purged(&self) -> Self {
        Self {
            name: "".into(),
            beneficiary: Party { user: None, ..self.beneficiary },
            purchaser: Party::default(),
            ..self.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{SubscriptionId, SubscriptionStatus};
    use jiff::SignedDuration;
    use uuid::Uuid;

    fn at(days: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_hours(days * 24)
    }

    fn seen(status: &str, day: i64) -> Subscription {
        Subscription {
            id: SubscriptionId::from_uuid(Uuid::from_u128(1)),
            plan: "team".into(),
            status: SubscriptionStatus::from_word(status),
            quantity: Some(5),
            beneficiary: Party { tenant: Some(Uuid::from_u128(9)), user: None },
            term_start: Some(at(0)),
            term_end: Some(at(29)),
            term_unit: Some("P1M".into()),
            auto_renew: Some(true),
            created: Some(at(0)),
            observed_at: at(day),
            ..Subscription::sample()
        }
    }

    #[test]
    fn a_status_lasts_since_it_was_first_seen() {
        let subscribed = seen("Subscribed", 1);
        let life = Life::after(None, &subscribed);
        assert_eq!((life.since, life.entered), (at(1), false));
        let suspended = seen("Suspended", 4);
        let life = Life::after(Some((&subscribed, &life)), &suspended);
        assert_eq!((life.since, life.entered), (at(4), true));
        let renamed = Subscription { name: "m".into(), ..seen("Suspended", 9) };
        let life = Life::after(Some((&suspended, &life)), &renamed);
        assert_eq!((life.since, life.entered, &life.undocumented), (at(4), true, &None));
    }

    #[test]
    fn a_subscription_that_comes_back_from_its_end_is_remembered_and_no_longer_purged() {
        let ended = seen("Unsubscribed", 1);
        let purged = Life { purged_at: Some(at(40)), ..Life::unremembered(&ended) };
        let life = Life::after(Some((&ended, &purged)), &seen("Subscribed", 50));
        assert_eq!((life.purged_at, life.since), (None, at(50)));
        assert_eq!(life.undocumented.unwrap().to_string(), "Unsubscribed became Subscribed");
    }

    #[test]
    fn what_stays_of_a_purged_subscription_names_nobody() {
        let mut whole = seen("Unsubscribed", 1);
        whole.beneficiary.user = Some("0a0a0a0a-1111-4222-8333-444444444444".parse().unwrap());
        whole.purchaser = whole.beneficiary;
        let purged = whole.purged();
        assert_eq!((&*purged.name, purged.purchaser), ("", Party::default()));
        assert_eq!(purged.beneficiary, Party { user: None, ..whole.beneficiary });
        assert_eq!((purged.term_end, purged.status), (whole.term_end, whole.status));
    }
}
