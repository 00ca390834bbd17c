//! What the publisher's own systems are told of: which changes of the mirror are worth an event, and
//! which event. Pure: the same change makes the same notices.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::product::words;
use super::{
    Cause, Change, Consent, Entity, EventState, Fact, Source, SourceKey, SourceState, Subscription,
    SubscriptionStatus, Tenant, TenantId, UnknownWord, UserId, WebhookEvent,
};

words!(
    /// What an event is about: its `type` outside.
    NoticeKind, "event type" {
        /// A subscription that was not known before, whatever its status.
        SubscriptionCreated = "subscription.created",
        /// It was pending and is live now.
        SubscriptionActivated = "subscription.activated",
        /// It has another plan.
        SubscriptionPlanChanged = "subscription.plan_changed",
        /// It has another number of seats.
        SubscriptionQuantityChanged = "subscription.quantity_changed",
        /// It goes on for another term.
        SubscriptionRenewed = "subscription.renewed",
        /// The customer has not paid.
        SubscriptionSuspended = "subscription.suspended",
        /// The customer has paid after all.
        SubscriptionReinstated = "subscription.reinstated",
        /// It ended for good.
        SubscriptionCancelled = "subscription.cancelled",
        /// It has another status in a way that has no event of its own.
        SubscriptionStatusChanged = "subscription.status_changed",
        /// Something else about it differs.
        SubscriptionUpdated = "subscription.updated",
        /// Somebody found no seat free; once per subscription and day (UTC).
        SeatsRefused = "seats.refused",
        /// A source could not be read for longer than its `max_age`.
        SyncFailing = "sync.failing",
        /// It was read again.
        SyncRecovered = "sync.recovered",
        /// The brake holds rights that a read no longer showed.
        SyncHeldBack = "sync.held_back",
        /// The brake holds nothing any more.
        SyncReleased = "sync.released",
        /// A tenant that could be read lets us no longer.
        ConsentRevoked = "tenant.consent_revoked",
        /// A tenant lets us read it.
        ConsentGranted = "tenant.consent_granted",
        /// A webhook of Microsoft's was given up.
        WebhookDead = "webhook.dead",
        /// A webhook that was given up is worked on again.
        WebhookRevived = "webhook.revived",
    }
);

/// Something to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Which event.
    pub kind: NoticeKind,
    /// When we learned of it.
    pub at: Timestamp,
    /// What it is about: events of one subject go out in their order.
    pub subject: Arc<str>,
    /// What to say.
    pub about: About,
}

/// What an event says. Ids, never an address or a name of a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum About {
    /// A subscription.
    Subscription {
        /// As it was; `None` if it is new.
        before: Option<Box<Subscription>>,
        /// As it is.
        after: Box<Subscription>,
        /// What made it change.
        cause: Cause,
    },
    /// Who found no seat.
    Seat {
        /// Of which subscription.
        subscription: Box<Subscription>,
        /// The user's tenant.
        tenant: TenantId,
        /// The user.
        user: UserId,
    },
    /// A source and how far it has been read.
    Source {
        /// Which.
        key: SourceKey,
        /// Where it stands.
        state: Box<SourceState>,
    },
    /// A tenant's consent.
    Consent {
        /// Which tenant.
        tenant: TenantId,
        /// As it was.
        before: Consent,
        /// As it is.
        after: Consent,
        /// What made it change.
        cause: Cause,
    },
    /// A webhook.
    Webhook(Arc<WebhookEvent>),
}

impl Notice {
    /// Somebody found no seat free.
    pub fn seat_refused(
        subscription: &Subscription,
        (tenant, user): (TenantId, UserId),
        at: Timestamp,
    ) -> Self {
        let subject = of_subscription(subscription);
        let about = About::Seat { subscription: Box::new(subscription.clone()), tenant, user };
        Self { kind: NoticeKind::SeatsRefused, at, subject, about }
    }

    /// What a change of the journal is told as, in this order.
    pub fn of_change(change: &Change) -> Vec<Self> {
        match (change.entity, &change.before, &change.after) {
            (Entity::Subscription, before, Some(Fact::Subscription(after))) => {
                let before = match before {
                    Some(Fact::Subscription(it)) => Some(it),
                    _ => None,
                };
                Self::of_subscription(change, before, after)
            }
            (Entity::Tenant, before, Some(Fact::Tenant(after))) => {
                let before = match before {
                    Some(Fact::Tenant(it)) => it.consent,
                    _ => Consent::Unknown,
                };
                Self::of_tenant(change, before, after)
            }
            _ => Vec::new(),
        }
    }

    #[expect(clippy::borrowed_box, reason = "it is cloned as a box")]
    fn of_subscription(
        change: &Change,
        before: Option<&Box<Subscription>>,
        after: &Box<Subscription>,
    ) -> Vec<Self> {
        let kinds = before.map_or_else(
            || vec![NoticeKind::SubscriptionCreated],
            |before| kinds_of(before, after),
        );
        let notice = |kind| Self {
            kind,
            at: change.at,
            subject: of_subscription(after),
            about: About::Subscription {
                before: before.cloned(),
                after: after.clone(),
                cause: change.cause.clone(),
            },
        };
        kinds.into_iter().map(notice).collect()
    }

    fn of_tenant(change: &Change, before: Consent, after: &Tenant) -> Vec<Self> {
        let kind = match (before, after.consent) {
            (Consent::Revoked, Consent::Revoked) | (Consent::Granted, Consent::Granted) => None,
            (_, Consent::Revoked) => Some(NoticeKind::ConsentRevoked),
            (_, Consent::Granted) => Some(NoticeKind::ConsentGranted),
            (_, Consent::Missing | Consent::Unknown) => None,
        };
        let notice = |kind| Self {
            kind,
            at: change.at,
            subject: of_source(SourceKey::directory(after.id)),
            about: About::Consent {
                tenant: after.id,
                before,
                after: after.consent,
                cause: change.cause.clone(),
            },
        };
        kind.map(notice).into_iter().collect()
    }

    /// What a source's new state is told as. `limit` is how old its last complete read may be.
    pub fn of_source(
        key: SourceKey,
        (before, after): (&SourceState, &SourceState),
        limit: SignedDuration,
        at: Timestamp,
    ) -> Vec<Self> {
        if key.source == Source::Groups {
            return Vec::new(); // they explain, and decide nothing
        }
        let failing = |it: &SourceState| is_failing(key, it, limit);
        let holds = |it: &SourceState| it.held_back > 0;
        let kinds = [
            (failing(before), failing(after), NoticeKind::SyncFailing, NoticeKind::SyncRecovered),
            (holds(before), holds(after), NoticeKind::SyncHeldBack, NoticeKind::SyncReleased),
        ];
        let told = kinds.into_iter().filter_map(|(before, after, begins, ends)| {
            (before != after).then_some(if after { begins } else { ends })
        });
        let notice = |kind| {
            let about = About::Source { key, state: Box::new(after.clone()) };
            Self { kind, at, subject: of_source(key), about }
        };
        told.map(notice).collect()
    }

    /// What a webhook's new state is told as.
    pub fn of_webhook(
        before: Option<&WebhookEvent>,
        after: &Arc<WebhookEvent>,
        at: Timestamp,
    ) -> Option<Self> {
        let dead = |it: &WebhookEvent| matches!(it.state, EventState::Dead { .. });
        let kind = match (before.is_some_and(dead), dead(after)) {
            (false, true) => NoticeKind::WebhookDead,
            (true, false) => NoticeKind::WebhookRevived,
            (false, false) | (true, true) => return None,
        };
        let subject = format!("webhook {}", after.id.0).into();
        Some(Self { kind, at, subject, about: About::Webhook(Arc::clone(after)) })
    }
}

fn of_subscription(it: &Subscription) -> Arc<str> {
    format!("subscription {}", it.id).into()
}

fn of_source(key: SourceKey) -> Arc<str> {
    key.to_string().into()
}

/// What differs, the status first: who knows that it ended needs no more.
fn kinds_of(before: &Subscription, after: &Subscription) -> Vec<NoticeKind> {
    use SubscriptionStatus as Status;
    let mut kinds = Vec::new();
    if before.status != after.status {
        kinds.push(match (&before.status, &after.status) {
            (Status::PendingFulfillmentStart, Status::Subscribed) => {
                NoticeKind::SubscriptionActivated
            }
            (Status::Suspended, Status::Subscribed) => NoticeKind::SubscriptionReinstated,
            (_, Status::Suspended) => NoticeKind::SubscriptionSuspended,
            (_, Status::Unsubscribed) => NoticeKind::SubscriptionCancelled,
            (_, Status::Subscribed | Status::PendingFulfillmentStart | Status::Unrecognized(_)) => {
                NoticeKind::SubscriptionStatusChanged
            }
        });
    }
    if before.plan != after.plan {
        kinds.push(NoticeKind::SubscriptionPlanChanged);
    }
    // Microsoft sometimes leaves the number out after a cancellation.
    if before.quantity != after.quantity && after.quantity.is_some() {
        kinds.push(NoticeKind::SubscriptionQuantityChanged);
    }
    let live = |it: &Subscription| it.status == Status::Subscribed;
    let longer = before.term_end.is_some() && before.term_end < after.term_end;
    if live(before) && live(after) && longer {
        kinds.push(NoticeKind::SubscriptionRenewed);
    }
    if kinds.is_empty() && !before.says_the_same(after) {
        kinds.push(NoticeKind::SubscriptionUpdated);
    }
    kinds
}

/// Whether a source fails, and has for longer than its facts may be old. A directory that was never
/// read completely is waiting for consent: that is told by events of its own.
fn is_failing(key: SourceKey, it: &SourceState, limit: SignedDuration) -> bool {
    /// The first runs of a list that was never read: one failure may be chance.
    const NEVER_READ: u32 = 3;
    if it.failures == 0 {
        return false;
    }
    match (it.last_complete, it.last_run) {
        (Some(complete), Some(run)) => run.duration_since(complete) >= limit,
        (None, _) => key.tenant.is_none() && it.failures >= NEVER_READ,
        (Some(_), None) => false,
    }
}

/// Which events an endpoint wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoticeWish {
    /// This one.
    One(NoticeKind),
    /// All whose word begins like this, up to the dot.
    Group(&'static str),
}

impl NoticeWish {
    /// Every group: whoever wants all of them also gets what later versions tell.
    pub fn everything() -> Vec<Self> {
        let mut groups: Vec<Self> =
            NoticeKind::ALL.iter().map(|it| Self::Group(group_of(*it))).collect();
        groups.dedup();
        groups
    }

    /// Whether this event is wanted.
    pub fn wants(self, kind: NoticeKind) -> bool {
        match self {
            Self::One(it) => it == kind,
            Self::Group(it) => group_of(kind) == it,
        }
    }
}

fn group_of(kind: NoticeKind) -> &'static str {
    kind.as_str().split_once('.').map_or(kind.as_str(), |(group, _)| group)
}

impl fmt::Display for NoticeWish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(it) => it.fmt(f),
            Self::Group(it) => write!(f, "{it}.*"),
        }
    }
}

impl FromStr for NoticeWish {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        let group = text.strip_suffix(".*").and_then(|wanted| {
            NoticeKind::ALL.iter().map(|it| group_of(*it)).find(|it| *it == wanted)
        });
        group.map_or_else(|| text.parse().map(Self::One), |it| Ok(Self::Group(it)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Party, SubscriptionId};
    use uuid::Uuid;

    fn at(day: i64) -> Timestamp {
        Timestamp::from_second(day * 86_400).unwrap()
    }

    fn subscription(status: &str) -> Subscription {
        Subscription {
            id: SubscriptionId::from_uuid(Uuid::from_u128(1)),
            publisher: "p".into(),
            offer: "o".into(),
            plan: "team".into(),
            name: "n".into(),
            status: SubscriptionStatus::from_word(status),
            quantity: Some(5),
            beneficiary: Party::default(),
            purchaser: Party::default(),
            term_start: None,
            term_end: Some(at(30)),
            term_unit: None,
            auto_renew: Some(true),
            free_trial: false,
            allowed_operations: Vec::new(),
            created: None,
            observed_at: at(0),
        }
    }

    #[test]
    fn each_difference_of_a_subscription_is_told_as_what_it_is() {
        let check = |before: &str, after: &str, edit: fn(&mut Subscription), told: &str| {
            let before = subscription(before);
            let mut after = subscription(after);
            edit(&mut after);
            let change = Change::of_subscription(at(1), Cause::Command, Some(&before), &after);
            let kinds: Vec<_> =
                Notice::of_change(&change).iter().map(|it| it.kind.as_str()).collect();
            let told: Vec<String> =
                told.split_whitespace().map(|it| format!("subscription.{it}")).collect();
            assert_eq!(kinds, told, "{before:?} {after:?}");
        };
        let same = |_: &mut Subscription| {};
        check("PendingFulfillmentStart", "Subscribed", same, "activated");
        check("Subscribed", "Suspended", same, "suspended");
        check("Suspended", "Subscribed", same, "reinstated");
        check("Suspended", "Unsubscribed", |it| it.quantity = None, "cancelled");
        check("Subscribed", "Unsubscribed", same, "cancelled");
        check("PendingFulfillmentStart", "Unsubscribed", same, "cancelled");
        check("Unsubscribed", "Subscribed", same, "status_changed");
        check("Subscribed", "Frozen", same, "status_changed");
        check("Subscribed", "Subscribed", same, "");
        check("Subscribed", "Subscribed", |it| it.observed_at = at(9), "");
        check("Subscribed", "Subscribed", |it| it.plan = "b".into(), "plan_changed");
        check("Subscribed", "Subscribed", |it| it.quantity = Some(6), "quantity_changed");
        check("Subscribed", "Subscribed", |it| it.quantity = None, "updated");
        check("Subscribed", "Subscribed", |it| it.name = "other".into(), "updated");
        check("Subscribed", "Subscribed", |it| it.term_end = Some(at(60)), "renewed");
        check("Subscribed", "Subscribed", |it| it.term_end = Some(at(20)), "updated");
        // The term of an activation is its first.
        check(
            "PendingFulfillmentStart",
            "Subscribed",
            |it| it.term_end = Some(at(60)),
            "activated",
        );
        let all = |it: &mut Subscription| {
            it.plan = "b".into();
            it.quantity = Some(9);
            it.term_end = Some(at(60));
        };
        check("Subscribed", "Subscribed", all, "plan_changed quantity_changed renewed");
        check("Subscribed", "Suspended", all, "suspended plan_changed quantity_changed");
    }

    #[test]
    fn consent_is_told_when_it_comes_and_when_it_goes() {
        use Consent::{Granted, Missing, Revoked, Unknown};
        let id = TenantId::from_uuid(Uuid::from_u128(2)).unwrap();
        let tenant = |consent| Tenant { consent, ..Tenant::heard_of(id, None) };
        let check = |before, after, told: Option<NoticeKind>| {
            let (before, after) = (tenant(before), tenant(after));
            let change = Change::of_tenant(at(1), Cause::Command, Some(&before), &after);
            let kinds: Vec<_> = Notice::of_change(&change).iter().map(|it| it.kind).collect();
            assert_eq!(kinds, told.into_iter().collect::<Vec<_>>(), "{before:?} {after:?}");
        };
        check(Unknown, Granted, Some(NoticeKind::ConsentGranted));
        check(Missing, Granted, Some(NoticeKind::ConsentGranted));
        check(Revoked, Granted, Some(NoticeKind::ConsentGranted));
        check(Granted, Revoked, Some(NoticeKind::ConsentRevoked));
        check(Granted, Granted, None);
        check(Unknown, Missing, None);
        check(Unknown, Unknown, None);
    }

    #[test]
    fn a_source_is_told_once_when_it_has_failed_for_long_and_once_when_it_is_well() {
        let state = |failures, complete: Option<i64>, run, held_back| SourceState {
            failures,
            last_complete: complete.map(at),
            last_run: Some(at(run)),
            held_back,
            ..SourceState::default()
        };
        let limit = SignedDuration::from_hours(48);
        let tenant = SourceKey::directory(TenantId::from_uuid(Uuid::from_u128(2)).unwrap());
        let list = SourceKey::SUBSCRIPTIONS;
        let check = |key, before: &SourceState, after: &SourceState, told: &[&str]| {
            let notices = Notice::of_source(key, (before, after), limit, at(0));
            let kinds: Vec<_> = notices.iter().map(|it| it.kind.as_str()).collect();
            assert_eq!(kinds, told, "{before:?} {after:?}");
        };
        let (well, short, long) =
            (state(0, Some(1), 1, 0), state(1, Some(1), 2, 0), state(2, Some(1), 3, 0));
        check(list, &well, &short, &[]);
        check(list, &short, &long, &["sync.failing"]);
        check(list, &long, &state(3, Some(1), 4, 0), &[]);
        check(list, &long, &state(0, Some(5), 5, 0), &["sync.recovered"]);
        check(tenant, &well, &state(0, Some(1), 2, 9), &["sync.held_back"]);
        check(tenant, &state(0, Some(1), 2, 9), &state(0, Some(1), 3, 4), &[]);
        check(tenant, &state(0, Some(1), 2, 9), &well, &["sync.released"]);
        let never = |failures| state(failures, None, 1, 0);
        check(list, &never(2), &never(3), &["sync.failing"]);
        check(tenant, &never(2), &never(3), &[]);
    }

    #[test]
    fn a_wish_is_a_type_or_a_group_of_them() {
        let wish = |text: &str| text.parse::<NoticeWish>();
        assert!(wish("subscription.*").unwrap().wants(NoticeKind::SubscriptionRenewed));
        assert!(!wish("subscription.*").unwrap().wants(NoticeKind::SyncFailing));
        assert!(wish("sync.failing").unwrap().wants(NoticeKind::SyncFailing));
        assert!(!wish("sync.failing").unwrap().wants(NoticeKind::SyncRecovered));
        assert!(wish("license.*").is_err() && wish("*").is_err() && wish("test").is_err());
        for kind in NoticeKind::ALL {
            assert_eq!(wish(kind.as_str()).unwrap().to_string(), kind.as_str());
        }
    }
}
