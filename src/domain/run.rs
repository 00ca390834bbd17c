//! What a sync did, what it found changed, and why.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::product::words;
use super::{
    Access, Activation, Cause, GroupId, HeldSeat, License, Mapping, RunId, Sku, SkuId,
    Subscription, SubscriptionId, Tenant, TenantId, UnknownWord, UserId, UserLicences, UserRights,
};

words!(
    /// Where facts come from.
    Source, "source" {
        /// SaaS subscriptions of the commercial marketplace.
        Subscriptions = "subscriptions",
        /// Microsoft Graph, one tenant at a time.
        Directory = "directory",
        /// The licence report of Partner Center.
        Reports = "reports",
        /// The groups of a tenant through which licences come: read with its directory.
        Groups = "groups",
    }
);

words!(
    /// What made a run begin.
    Trigger, "trigger" {
        /// The daemon started.
        Start = "start",
        /// It was time.
        Schedule = "schedule",
        /// A marketplace webhook.
        Webhook = "webhook",
        /// A Graph change notification.
        Notification = "notification",
        /// An operator.
        Manual = "manual",
    }
);

words!(
    /// How a run ended.
    Outcome, "outcome" {
        /// Everything was read and applied.
        Complete = "complete",
        /// Something was left out or held back; nothing wrong was applied.
        Partial = "partial",
        /// Nothing was applied.
        Failed = "failed",
    }
);

words!(
    /// Which kind of fact a change is about.
    Entity, "entity" {
        /// A marketplace subscription.
        Subscription = "subscription",
        /// What one user holds in one tenant.
        Seat = "seat",
        /// A SKU of a tenant.
        Sku = "sku",
        /// A tenant and its consent.
        Tenant = "tenant",
        /// A seat taken on a subscription with `coverage = "seats"`.
        HeldSeat = "held_seat",
        /// A license of the publisher.
        License = "license",
        /// A key that signs our answers.
        Key = "key",
        /// Metered usage told to Microsoft; its id is the subscription's.
        Usage = "usage",
        /// An event for the publisher's own systems.
        Notice = "notice",
        /// A change that a customer asked for; its id is the subscription's.
        Operation = "operation",
        /// A webhook of the marketplace, by its place in the inbox.
        Webhook = "webhook",
        /// A line of the licence report; its id is the Service ID, with the SKU's name.
        Report = "report",
        /// A deal that was entered by hand.
        Deal = "deal",
        /// A group of a tenant that carries licences.
        Group = "group",
        /// What usage rights one user was shown to hold in one tenant.
        UsageRight = "usage_right",
        /// What a plan is called in one tenant, by the mapping's id.
        Mapping = "mapping",
    }
);

/// A source and the scope it is read for: a tenant for [`Source::Directory`] and
/// [`Source::Groups`], otherwise none.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct SourceKey {
    /// The source.
    pub source: Source,
    /// The tenant, where the source is read tenant by tenant.
    pub tenant: Option<TenantId>,
}

impl SourceKey {
    /// The one list of subscriptions.
    pub const SUBSCRIPTIONS: Self = Self { source: Source::Subscriptions, tenant: None };

    /// The one licence report.
    pub const REPORTS: Self = Self { source: Source::Reports, tenant: None };

    /// The directory of a tenant.
    pub const fn directory(tenant: TenantId) -> Self {
        Self { source: Source::Directory, tenant: Some(tenant) }
    }

    /// The licensed groups of a tenant.
    pub const fn groups(tenant: TenantId) -> Self {
        Self { source: Source::Groups, tenant: Some(tenant) }
    }
}

impl fmt::Display for SourceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.tenant {
            Some(tenant) => write!(f, "{} of {tenant}", self.source),
            None => self.source.fmt(f),
        }
    }
}

/// How far a source has been read.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct SourceState {
    /// Graph's delta link (path and query only); never ahead of the data beside it.
    pub cursor: Option<Arc<str>>,
    /// When [`Self::cursor`] was issued: it lives 7 days.
    pub cursor_issued: Option<Timestamp>,
    /// When the last complete read began: what was true then is known.
    pub last_complete: Option<Timestamp>,
    /// From when on the next full read is counted: the last complete one's beginning or up to a
    /// period before, so that the next falls on the tenant's own hour, or comes sooner.
    pub last_full: Option<Timestamp>,
    /// When the last run began, however it ended.
    pub last_run: Option<Timestamp>,
    /// How the last run ended.
    pub last_outcome: Option<Outcome>,
    /// What was wrong with the last run; no secrets, no names.
    pub last_error: Option<Arc<str>>,
    /// Runs in a row that failed, or in which a list that was due broke off.
    pub failures: u32,
    /// The [`Catalog::fingerprint`](super::Catalog::fingerprint) that the mirrored licences were
    /// chosen by.
    pub catalog: u64,
    /// Rights that the brake holds until a second complete read misses them too.
    pub held_back: u32,
}

/// One execution of one source for one scope: a line of the sync log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Its number.
    pub id: RunId,
    /// What was read, and for whom.
    pub key: SourceKey,
    /// What made it begin.
    pub trigger: Trigger,
    /// Whether everything was enumerated, not only changes.
    pub full: bool,
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
    /// How it ended.
    pub outcome: Outcome,
    /// Records read.
    pub seen: u64,
    /// Facts that are new.
    pub added: u64,
    /// Facts that differ.
    pub changed: u64,
    /// Facts that are gone.
    pub removed: u64,
    /// Records that could not be understood: kept raw, skipped.
    pub odd: u64,
    /// Requests sent to Microsoft.
    pub requests: u64,
    /// How long Microsoft made us wait.
    pub throttled: SignedDuration,
    /// What went wrong and what to do; no secrets, no names.
    pub error: Option<Arc<str>>,
}

/// A fact as it was or is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// A subscription.
    Subscription(Box<Subscription>),
    /// What a user holds.
    User(Box<UserLicences>),
    /// A SKU.
    Sku(Box<Sku>),
    /// A tenant.
    Tenant(Box<Tenant>),
    /// A seat taken.
    HeldSeat(HeldSeat),
    /// A license of the publisher.
    License(Box<License>),
    /// The binding of a license to a tenant.
    Activation(Box<Activation>),
    /// What usage rights a user was shown to hold.
    Rights(Box<UserRights>),
    /// Anything said best in words, such as a key that was rotated.
    Words(Arc<str>),
}

/// One mirrored fact that differs from before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// When we learned of it.
    pub at: Timestamp,
    /// What made it change.
    pub cause: Cause,
    /// Which kind of fact.
    pub entity: Entity,
    /// Its id: a [`SubscriptionId`], [`SkuId`], [`TenantId`], user id, …
    pub id: Arc<str>,
    /// The tenant it belongs to.
    pub tenant: Option<TenantId>,
    /// The user it concerns.
    pub user: Option<UserId>,
    /// As it was; `None` if it is new.
    pub before: Option<Fact>,
    /// As it is; `None` if it is gone.
    pub after: Option<Fact>,
}

impl Change {
    /// A subscription that is new or differs.
    pub fn of_subscription(
        at: Timestamp,
        cause: Cause,
        before: Option<&Subscription>,
        after: &Subscription,
    ) -> Self {
        let fact = |it: &Subscription| Fact::Subscription(Box::new(it.clone()));
        Self {
            at,
            cause,
            entity: Entity::Subscription,
            id: after.id.to_string().into(),
            tenant: after.beneficiary.tenant_id(),
            user: after.beneficiary.user,
            before: before.map(fact),
            after: Some(fact(after)),
        }
    }

    /// A key that signs our answers took another one's place.
    pub fn of_key(at: Timestamp, cause: Cause, before: &str, after: &str) -> Self {
        let signs = |kid: &str| Some(Fact::Words(format!("{kid} signs").into()));
        Self {
            at,
            cause,
            entity: Entity::Key,
            id: after.into(),
            tenant: None,
            user: None,
            before: signs(before),
            after: signs(after),
        }
    }

    /// Something about a subscription that is no fact of Microsoft's: said in words. What it says of
    /// the subscription itself stands in a change of its own.
    pub fn noted(
        at: Timestamp,
        cause: Cause,
        (id, tenant): (Arc<str>, Option<TenantId>),
        before: Option<String>,
        after: Option<String>,
    ) -> Self {
        let words = |it: String| Fact::Words(it.into());
        Self {
            at,
            cause,
            entity: Entity::Subscription,
            id,
            tenant,
            user: None,
            before: before.map(words),
            after: after.map(words),
        }
    }

    /// Whether it says something in words only, and no fact differs.
    pub const fn is_note(&self) -> bool {
        matches!(
            (&self.before, &self.after),
            (None | Some(Fact::Words(_)), None | Some(Fact::Words(_)))
        )
    }

    /// What a user holds that is new, differs or is gone.
    pub fn of_user(
        at: Timestamp,
        cause: Cause,
        (tenant, user): (TenantId, UserId),
        before: Option<UserLicences>,
        after: Option<UserLicences>,
    ) -> Self {
        // That something could not be read is no part of what somebody holds.
        let fact = |it: UserLicences| Fact::User(Box::new(UserLicences { unread: false, ..it }));
        Self {
            at,
            cause,
            entity: Entity::Seat,
            id: user.to_string().into(),
            tenant: Some(tenant),
            user: Some(user),
            before: before.map(fact),
            after: after.map(fact),
        }
    }

    /// Usage rights of a user that are new, differ or are gone.
    pub fn of_rights(
        at: Timestamp,
        cause: Cause,
        (tenant, user): (TenantId, UserId),
        before: Option<&UserRights>,
        after: Option<&UserRights>,
    ) -> Self {
        let fact = |it: &UserRights| Fact::Rights(Box::new(it.clone()));
        Self {
            at,
            cause,
            entity: Entity::UsageRight,
            id: user.to_string().into(),
            tenant: Some(tenant),
            user: Some(user),
            before: before.map(fact),
            after: after.map(fact),
        }
    }

    /// A mapping of a tenant that is new or was decided, in words.
    pub fn of_mapping(
        at: Timestamp,
        cause: Cause,
        tenant: TenantId,
        before: Option<&Mapping>,
        after: &Mapping,
    ) -> Self {
        let fact = |it: &Mapping| {
            Fact::Words(format!("{} is {}: {}", it.service_id, it.target, it.state).into())
        };
        Self {
            at,
            cause,
            entity: Entity::Mapping,
            id: Arc::clone(&after.id),
            tenant: Some(tenant),
            user: None,
            before: before.map(fact),
            after: Some(fact(after)),
        }
    }

    /// A SKU that is new, differs or is gone.
    pub fn of_sku(
        at: Timestamp,
        cause: Cause,
        (tenant, sku): (TenantId, SkuId),
        before: Option<&Sku>,
        after: Option<&Sku>,
    ) -> Self {
        let fact = |it: &Sku| Fact::Sku(Box::new(it.clone()));
        Self {
            at,
            cause,
            entity: Entity::Sku,
            id: sku.to_string().into(),
            tenant: Some(tenant),
            user: None,
            before: before.map(fact),
            after: after.map(fact),
        }
    }

    /// A tenant that is new or whose consent differs.
    pub fn of_tenant(at: Timestamp, cause: Cause, before: Option<&Tenant>, after: &Tenant) -> Self {
        let fact = |it: &Tenant| Fact::Tenant(Box::new(it.clone()));
        Self {
            at,
            cause,
            entity: Entity::Tenant,
            id: after.id.to_string().into(),
            tenant: Some(after.id),
            user: None,
            before: before.map(fact),
            after: Some(fact(after)),
        }
    }

    /// What a tenant permits differs, in words.
    pub fn of_access(
        at: Timestamp,
        cause: Cause,
        tenant: TenantId,
        before: &Access,
        after: &Access,
    ) -> Self {
        let words = |it: &Access| Some(Fact::Words(it.to_string().into()));
        Self {
            at,
            cause,
            entity: Entity::Tenant,
            id: tenant.to_string().into(),
            tenant: Some(tenant),
            user: None,
            before: words(before),
            after: words(after),
        }
    }

    /// A group that is new, carries other licences, or is gone: in words without its name.
    pub fn of_group(
        at: Timestamp,
        cause: Cause,
        (tenant, group): (TenantId, GroupId),
        before: Option<String>,
        after: Option<String>,
    ) -> Self {
        let words = |it: String| Fact::Words(it.into());
        Self {
            at,
            cause,
            entity: Entity::Group,
            id: group.to_string().into(),
            tenant: Some(tenant),
            user: None,
            before: before.map(words),
            after: after.map(words),
        }
    }

    /// A seat that was taken.
    pub fn of_held_seat(
        at: Timestamp,
        cause: Cause,
        subscription: SubscriptionId,
        (tenant, user): (TenantId, UserId),
        before: Option<HeldSeat>,
        after: HeldSeat,
    ) -> Self {
        Self {
            at,
            cause,
            entity: Entity::HeldSeat,
            id: subscription.to_string().into(),
            tenant: Some(tenant),
            user: Some(user),
            before: before.map(Fact::HeldSeat),
            after: Some(Fact::HeldSeat(after)),
        }
    }
}
