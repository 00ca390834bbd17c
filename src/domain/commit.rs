//! One atomic step of the mirror: everything in it takes effect, or nothing does.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::{
    Access, ActivationWrite, AskedWrite, Cause, Change, Deal, DealId, DeliveryWrite, EventWrite,
    GraphSubscriptionWrite, Groups, HeldBack, Holders, License, LicenseId, LicenseUser,
    LicenseUserWrites, Life, MappingWrite, Mirror, Notice, Packaged, ReadWrite, ReportedLicence,
    RightsSource, Run, SeriesWrite, Sighted, Sku, SourceKey, SourceState, Subscription,
    SubscriptionId, Tenant, TenantId, Unread, UsageWrite, UseWrite, UserId, UserLicences,
    UserRights, UserTable,
};

/// What a run, a webhook or a command writes: facts, the cursors that stand for them, and the
/// journal of what changed. The whole is durable and published, or none of it.
#[derive(Clone, Debug, Default)]
pub struct Commit {
    /// Subscriptions that are new or differ, each with the record as Microsoft sent it. Never
    /// removed because a list lacks them. An empty record removes the one there was.
    pub subscriptions: Vec<(Subscription, RawRecord)>,
    /// Tenants that are new or differ.
    pub tenants: Vec<Tenant>,
    /// What tenants permit our app, in place of that before.
    pub access: Vec<(TenantId, Access)>,
    /// What the brake holds of tenants; `None` once it holds nothing.
    pub held: Vec<(TenantId, Option<HeldBack>)>,
    /// The SKUs of a tenant, all of them, in place of those before.
    pub skus: Vec<(TenantId, Vec<Sku>)>,
    /// What users hold.
    pub users: Vec<TenantUsers>,
    /// Enumerations that are under way.
    pub reads: Vec<ReadWrite>,
    /// The licensed groups of a tenant, all of them with their cursors, in place of those before.
    pub groups: Vec<(TenantId, Arc<Groups>)>,
    /// Who used what on which day.
    pub uses: Vec<UseWrite>,
    /// How many seats were bought and assigned, day by day.
    pub series: Vec<SeriesWrite>,
    /// How far sources have been read. A cursor in here stands for the data in the same commit.
    pub sources: Vec<(SourceKey, SourceState)>,
    /// Holders of seats, all of a subscription's, in place of those before.
    pub holders: Vec<(SubscriptionId, Holders)>,
    /// Small named documents, in place of those before.
    pub documents: Vec<Document>,
    /// Records that could not be understood.
    pub odd: Vec<OddRecord>,
    /// What is remembered of subscriptions, in place of that before.
    pub lives: Vec<(SubscriptionId, Life)>,
    /// Subscriptions that could not be read, by their keys; `None` once that is over.
    pub unread: Vec<(Arc<str>, Option<Unread>)>,
    /// Webhooks that came, and how far we are with them.
    pub inbox: Vec<EventWrite>,
    /// Metered usage, and how requests about it were answered.
    pub usage: Vec<UsageWrite>,
    /// What to tell the publisher's systems beyond what the rest of the commit shows.
    pub notices: Vec<Notice>,
    /// Events on their way, and how far they are.
    pub outbox: Vec<DeliveryWrite>,
    /// Changes that customers asked for, and what became of them.
    pub asked: Vec<AskedWrite>,
    /// Lines of the licence report, all of a tenant's, in place of those before.
    pub reported: Vec<(TenantId, Vec<ReportedLicence>)>,
    /// Deals that were entered by hand; `None` once they are removed.
    pub deals: Vec<(DealId, Option<Arc<Deal>>)>,
    /// Licenses of the publisher that are new or differ. Never removed.
    pub licenses: Vec<License>,
    /// The packages of licenses that work offline longest, in place of those before.
    pub packaged: Vec<(LicenseId, Packaged)>,
    /// Tenants that were bound to licenses, and that no longer are.
    pub activations: Vec<ActivationWrite>,
    /// Who uses licenses.
    pub license_users: Vec<(LicenseId, LicenseUserWrites)>,
    /// What visuals declared of where they run.
    pub sighted: Vec<(LicenseId, Sighted)>,
    /// Usage rights of users who were looked up; `None` forgets them.
    pub rights: Vec<(TenantId, UserId, Option<UserRights>)>,
    /// How far tenants' usage rights can be believed, in place of that before.
    pub rights_sources: Vec<(TenantId, RightsSource)>,
    /// What was learned of tenants, and decided.
    pub mappings: Vec<(TenantId, MappingWrite)>,
    /// Subscriptions to Graph's change notifications.
    pub graph_subscriptions: Vec<GraphSubscriptionWrite>,
    /// What differs from before.
    pub changes: Vec<Change>,
    /// Runs that ended.
    pub runs: Vec<Run>,
}

impl Commit {
    /// Makes a tenant known that somebody spoke of, so that it is read from now on. Nothing if it
    /// is known already, by the mirror or by this commit.
    pub fn hear_of(&mut self, mirror: &Mirror, tenant: TenantId, cause: &Cause, at: Timestamp) {
        let known = mirror.tenant(tenant).is_some();
        if known || self.tenants.iter().any(|it| it.id == tenant) {
            return;
        }
        let tenant = Tenant::heard_of(tenant, None);
        self.changes.push(Change::of_tenant(at, cause.clone(), None, &tenant));
        self.tenants.push(tenant);
    }
}

/// A record as Microsoft sent it.
pub type RawRecord = Arc<str>;

/// What users of one tenant hold.
#[derive(Clone, Debug)]
pub struct TenantUsers {
    /// Which tenant.
    pub tenant: TenantId,
    /// What is written.
    pub writes: UserWrites,
}

/// Changes, or the whole.
#[derive(Clone, Debug)]
pub enum UserWrites {
    /// These users hold this now; `None` holds nothing of ours.
    Patch(Vec<(UserId, Option<UserLicences>)>),
    /// These users and nobody else.
    Replace(UserTable),
}

/// A small named document, such as Entra's signing keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Its name.
    pub name: Arc<str>,
    /// Its content.
    pub bytes: Vec<u8>,
}

/// A record of Microsoft's that could not be understood: kept as it came, reported, skipped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OddRecord {
    /// When it was read.
    pub at: Timestamp,
    /// Where it came from.
    pub key: SourceKey,
    /// What could not be understood.
    pub why: Arc<str>,
    /// The record.
    pub raw: RawRecord,
}

/// A user asks for a seat of a subscription with `coverage = "seats"`.
#[derive(Clone, Debug)]
pub struct SeatRequest {
    /// Whose seat.
    pub subscription: SubscriptionId,
    /// The user's tenant.
    pub tenant: TenantId,
    /// The user.
    pub user: UserId,
    /// How many seats there are; `None` when Microsoft names no number, which then sets no limit.
    pub quantity: Option<u64>,
    /// After how long an unused seat is free again.
    pub release_after: SignedDuration,
    /// When he asked.
    pub now: Timestamp,
    /// Who asked for him.
    pub cause: Cause,
}

/// A user asks for a place among the users of a license.
#[derive(Clone, Debug)]
pub struct PlaceRequest {
    /// Of which license.
    pub license: LicenseId,
    /// Who.
    pub user: LicenseUser,
    /// How many places there are; `None` where more are only warned of.
    pub quantity: Option<u64>,
    /// After how long an unused place is free again.
    pub release_after: SignedDuration,
    /// When he asked.
    pub now: Timestamp,
    /// Who asked for him.
    pub cause: Cause,
}

/// What became of a [`SeatRequest`] or a [`PlaceRequest`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeatOutcome {
    /// He holds a seat, and it is on disk.
    Holds,
    /// All seats are taken.
    NoneFree,
}
