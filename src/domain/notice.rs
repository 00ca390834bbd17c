//! What the publisher's own systems are told of: which changes of the mirror are worth an event, and
//! which event. Pure: the same change makes the same notices.

mod license;
mod seats;
#[cfg(test)]
mod tests;
mod wish;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::product::words;
use super::{
    Activation, Cause, Change, Consent, Entity, EventState, Fact, License, Source, SourceKey,
    SourceState, Subscription, SubscriptionStatus, Tenant, TenantId, UnknownWord, UserId,
    WebhookEvent,
};

pub use self::seats::Shortage;
pub use self::wish::NoticeWish;

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
        /// A license was sold.
        LicenseIssued = "license.issued",
        /// A tenant was bound to it.
        LicenseActivated = "license.activated",
        /// A tenant that was bound to it was let go.
        LicenseDeactivated = "license.deactivated",
        /// It was paid: a new period began.
        LicenseRenewed = "license.renewed",
        /// It covers something else.
        LicenseChanged = "license.changed",
        /// It does not count until it is reinstated.
        LicenseSuspended = "license.suspended",
        /// It counts again.
        LicenseReinstated = "license.reinstated",
        /// It ends with its period.
        LicenseCancelled = "license.cancelled",
        /// It was ended at once and for good.
        LicenseRevoked = "license.revoked",
        /// Its trial ends within a week.
        LicenseTrialEnding = "license.trial_ending",
        /// Its trial is over, and the period that was paid for begins.
        LicenseTrialEnded = "license.trial_ended",
        /// What was paid for ends within a week.
        LicenseEnding = "license.ending",
        /// What was paid for is over, and the grace after it began.
        LicenseGraceStarted = "license.grace_started",
        /// It is over.
        LicenseExpired = "license.expired",
        /// It has more users than its maximum; once per crossing.
        LicenseOverLimit = "license.over_limit",
        /// Somebody was refused since it has its maximum of users; once per license and day (UTC).
        LicenseUserRefused = "license.user_refused",
        /// Somebody found no seat free; once per subscription and day (UTC).
        SeatsRefused = "seats.refused",
        /// Seats of a plan are short in a tenant, or soon will be; once per shortage.
        SeatsShort = "seats.short",
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

impl NoticeKind {
    /// Whether such an event is told once per subject and day (UTC).
    pub const fn is_daily(self) -> bool {
        matches!(self, Self::SeatsRefused | Self::LicenseUserRefused)
    }
}

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
    /// Seats that are short.
    Shortage(Box<Shortage>),
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
    /// A license that was sold or to which something was done.
    License {
        /// As it was; `None` if it is new.
        before: Option<Box<License>>,
        /// As it is.
        after: Box<License>,
        /// What made it change.
        cause: Cause,
    },
    /// A tenant that was bound to a license, or let go.
    Activation {
        /// The binding.
        activation: Box<Activation>,
        /// What made it change.
        cause: Cause,
    },
    /// A license with which time took a step.
    LicenseTime {
        /// Which.
        license: Box<License>,
        /// When the trial, the period or the grace ends or ended that it is about.
        ends: Timestamp,
    },
    /// A license that has its maximum of users, or more.
    LicenseUsers {
        /// Which.
        license: Box<License>,
        /// How many have a place.
        users: u64,
        /// Who asked, if he is known.
        who: Option<(TenantId, UserId)>,
    },
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
            (Entity::License, ..) => Self::of_license(change),
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
