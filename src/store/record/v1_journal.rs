//! Version 1: runs, changes, and the chunks that changes are kept in.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::v1_base::{
    IdV1, SourceKeyV1, SpanV1, TimeV1, id, shared, tenant_option, text, text_option, uuid, word,
};
use super::v1_directory::{SkuV1, TenantV1};
use super::v1_license::{ActivationV1, LicenseV1};
use super::v1_rights::UserRightsV1;
use super::v1_subscription::{HeldSeatV1, SubscriptionV1};
use crate::domain::{
    Cause, Change, Fact, GroupId, Licence, Path, PathState, Run, RunId, ServicePlanId, SkuId,
    TenantId, UserId, UserLicences, Via,
};
use crate::store::StoreError;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::store) struct RunV1 {
    id: u64,
    key: SourceKeyV1,
    trigger: String,
    full: bool,
    started: TimeV1,
    ended: TimeV1,
    outcome: String,
    seen: u64,
    added: u64,
    changed: u64,
    removed: u64,
    odd: u64,
    requests: u64,
    throttled: SpanV1,
    error: Option<String>,
}

impl From<&Run> for RunV1 {
    fn from(it: &Run) -> Self {
        Self {
            id: it.id.0,
            key: it.key.into(),
            trigger: it.trigger.as_str().to_owned(),
            full: it.full,
            started: it.started.into(),
            ended: it.ended.into(),
            outcome: it.outcome.as_str().to_owned(),
            seen: it.seen,
            added: it.added,
            changed: it.changed,
            removed: it.removed,
            odd: it.odd,
            requests: it.requests,
            throttled: it.throttled.into(),
            error: text_option(it.error.as_ref()),
        }
    }
}

impl TryFrom<RunV1> for Run {
    type Error = StoreError;

    fn try_from(it: RunV1) -> Result<Self, StoreError> {
        Ok(Self {
            id: RunId(it.id),
            key: it.key.try_into()?,
            trigger: word(&it.trigger)?,
            full: it.full,
            started: it.started.try_into()?,
            ended: it.ended.try_into()?,
            outcome: word(&it.outcome)?,
            seen: it.seen,
            added: it.added,
            changed: it.changed,
            removed: it.removed,
            odd: it.odd,
            requests: it.requests,
            throttled: it.throttled.into(),
            error: shared(it.error),
        })
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum CauseV1 {
    Run(u64),
    Webhook(String),
    Caller(String),
    Command,
    Activation,
    Schedule,
    Operator(u32),
}

impl From<&Cause> for CauseV1 {
    fn from(it: &Cause) -> Self {
        match it {
            Cause::Run(run) => Self::Run(run.0),
            Cause::Webhook(operation) => Self::Webhook(text(operation)),
            Cause::Caller(name) => Self::Caller(text(name)),
            Cause::Command => Self::Command,
            Cause::Activation => Self::Activation,
            Cause::Schedule => Self::Schedule,
            Cause::Operator(uid) => Self::Operator(*uid),
        }
    }
}

impl From<CauseV1> for Cause {
    fn from(it: CauseV1) -> Self {
        match it {
            CauseV1::Run(run) => Self::Run(RunId(run)),
            CauseV1::Webhook(operation) => Self::Webhook(operation.into()),
            CauseV1::Caller(name) => Self::Caller(name.into()),
            CauseV1::Command => Self::Command,
            CauseV1::Activation => Self::Activation,
            CauseV1::Schedule => Self::Schedule,
            CauseV1::Operator(uid) => Self::Operator(uid),
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum StateV1 {
    Active,
    ActiveWithError,
    Disabled,
    Error,
    Unrecognized(String),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct PathV1 {
    group: Option<IdV1>,
    state: StateV1,
    error: Option<String>,
    disabled_plans: Vec<IdV1>,
}

impl From<&Path> for PathV1 {
    fn from(it: &Path) -> Self {
        let state = match &it.state {
            PathState::Active => StateV1::Active,
            PathState::ActiveWithError => StateV1::ActiveWithError,
            PathState::Disabled => StateV1::Disabled,
            PathState::Error => StateV1::Error,
            PathState::Unrecognized(word) => StateV1::Unrecognized(text(word)),
        };
        let group = match it.via {
            Via::Direct => None,
            Via::Group(group) => Some(id(group.as_uuid())),
        };
        let error = text_option(it.error.as_ref());
        Self { group, state, error, disabled_plans: plan_ids(&it.disabled_plans) }
    }
}

impl From<PathV1> for Path {
    fn from(it: PathV1) -> Self {
        let state = match it.state {
            StateV1::Active => PathState::Active,
            StateV1::ActiveWithError => PathState::ActiveWithError,
            StateV1::Disabled => PathState::Disabled,
            StateV1::Error => PathState::Error,
            StateV1::Unrecognized(word) => PathState::Unrecognized(word.into()),
        };
        let group = |it| Via::Group(GroupId::from_uuid(uuid(it)));
        Self {
            via: it.group.map_or(Via::Direct, group),
            state,
            error: shared(it.error),
            disabled_plans: plans(it.disabled_plans),
        }
    }
}

fn plan_ids(plans: &[ServicePlanId]) -> Vec<IdV1> {
    plans.iter().map(|it| id(it.as_uuid())).collect()
}

fn plans(ids: Vec<IdV1>) -> Vec<ServicePlanId> {
    ids.into_iter().map(|it| ServicePlanId::from_uuid(uuid(it))).collect()
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct LicenceV1 {
    sku: IdV1,
    assigned: bool,
    disabled_plans: Vec<IdV1>,
    paths: Vec<PathV1>,
}

/// What a user holds, inside a change. Current facts are in the buckets of the domain's table.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct UserLicencesV1 {
    licences: Vec<LicenceV1>,
    missing_since: Option<u64>,
}

impl From<&UserLicences> for UserLicencesV1 {
    fn from(it: &UserLicences) -> Self {
        let licence = |it: &Licence| LicenceV1 {
            sku: id(it.sku.as_uuid()),
            assigned: it.assigned,
            disabled_plans: plan_ids(&it.disabled_plans),
            paths: it.paths.iter().map(PathV1::from).collect(),
        };
        Self {
            licences: it.licences.iter().map(licence).collect(),
            missing_since: it.missing_since.map(|it| it.0),
        }
    }
}

impl From<UserLicencesV1> for UserLicences {
    fn from(it: UserLicencesV1) -> Self {
        let licence = |it: LicenceV1| Licence {
            sku: SkuId::from_uuid(uuid(it.sku)),
            assigned: it.assigned,
            disabled_plans: plans(it.disabled_plans),
            paths: it.paths.into_iter().map(Path::from).collect(),
        };
        Self {
            licences: it.licences.into_iter().map(licence).collect(),
            missing_since: it.missing_since.map(RunId),
            // The journal tells what somebody holds; what could not be read it tells by itself.
            unread: false,
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum FactV1 {
    Subscription(Box<SubscriptionV1>),
    User(UserLicencesV1),
    Sku(Box<SkuV1>),
    Tenant(TenantV1),
    HeldSeat(HeldSeatV1),
    Words(String),
    License(Box<LicenseV1>),
    Activation(Box<ActivationV1>),
    Rights(UserRightsV1),
}

impl From<&Fact> for FactV1 {
    fn from(it: &Fact) -> Self {
        match it {
            Fact::Subscription(it) => Self::Subscription(Box::new(it.as_ref().into())),
            Fact::User(it) => Self::User(it.as_ref().into()),
            Fact::Sku(it) => Self::Sku(Box::new(it.as_ref().into())),
            Fact::Tenant(it) => Self::Tenant(it.as_ref().into()),
            Fact::HeldSeat(it) => Self::HeldSeat((*it).into()),
            Fact::Words(it) => Self::Words(text(it)),
            Fact::License(it) => Self::License(Box::new(it.as_ref().into())),
            Fact::Activation(it) => Self::Activation(Box::new(it.as_ref().into())),
            Fact::Rights(it) => Self::Rights(it.as_ref().into()),
        }
    }
}

impl TryFrom<FactV1> for Fact {
    type Error = StoreError;

    fn try_from(it: FactV1) -> Result<Self, StoreError> {
        Ok(match it {
            FactV1::Subscription(it) => Self::Subscription(Box::new((*it).try_into()?)),
            FactV1::User(it) => Self::User(Box::new(it.into())),
            FactV1::Sku(it) => Self::Sku(Box::new((*it).try_into()?)),
            FactV1::Tenant(it) => Self::Tenant(Box::new(it.try_into()?)),
            FactV1::HeldSeat(it) => Self::HeldSeat(it.try_into()?),
            FactV1::Words(it) => Self::Words(it.into()),
            FactV1::License(it) => Self::License(Box::new((*it).try_into()?)),
            FactV1::Activation(it) => Self::Activation(Box::new((*it).try_into()?)),
            FactV1::Rights(it) => Self::Rights(Box::new(it.try_into()?)),
        })
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::store) struct ChangeV1 {
    at: TimeV1,
    cause: CauseV1,
    entity: String,
    id: String,
    tenant: Option<IdV1>,
    user: Option<IdV1>,
    before: Option<FactV1>,
    after: Option<FactV1>,
}

impl From<&Change> for ChangeV1 {
    fn from(it: &Change) -> Self {
        Self {
            at: it.at.into(),
            cause: (&it.cause).into(),
            entity: it.entity.as_str().to_owned(),
            id: text(&it.id),
            tenant: it.tenant.map(|it| id(it.as_uuid())),
            user: it.user.map(|it| id(it.as_uuid())),
            before: it.before.as_ref().map(FactV1::from),
            after: it.after.as_ref().map(FactV1::from),
        }
    }
}

impl TryFrom<ChangeV1> for Change {
    type Error = StoreError;

    fn try_from(it: ChangeV1) -> Result<Self, StoreError> {
        Ok(Self {
            at: it.at.try_into()?,
            cause: it.cause.into(),
            entity: word(&it.entity)?,
            id: it.id.into(),
            tenant: tenant_option(it.tenant)?,
            user: it.user.map(|it| UserId::from_uuid(uuid(it))),
            before: it.before.map(Fact::try_from).transpose()?,
            after: it.after.map(Fact::try_from).transpose()?,
        })
    }
}

/// The head of a chunk; the changes follow it one by one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::store) struct ChunkV1 {
    tenant: Option<IdV1>,
    first: TimeV1,
    last: TimeV1,
    pub(in crate::store) count: u32,
}

impl ChunkV1 {
    pub(in crate::store) fn new(
        tenant: Option<TenantId>,
        (first, last): (Timestamp, Timestamp),
        count: u32,
    ) -> Self {
        let tenant = tenant.map(|it| id(it.as_uuid()));
        Self { tenant, first: first.into(), last: last.into(), count }
    }

    pub(in crate::store) fn tenant(&self) -> Result<Option<TenantId>, StoreError> {
        tenant_option(self.tenant)
    }

    pub(in crate::store) fn times(&self) -> Result<(Timestamp, Timestamp), StoreError> {
        Ok((self.first.try_into()?, self.last.try_into()?))
    }
}
