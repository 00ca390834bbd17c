//! Version 1: usage rights, how far they are believed, and what plans are called in a tenant.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::v1_base::{IdV1, TimeV1, id, moment, shared, text, text_option, time, uuid, word};
use crate::domain::{
    Mapping, Right, RightsSource, ServicePlanId, SkuId, Target, UserId, UserRights,
};
use crate::store::StoreError;

#[derive(Clone, Debug, Serialize, Deserialize)]
struct RightV1 {
    identifier: String,
    catalog: Option<String>,
    state: String,
    bare: Option<String>,
}

/// What usage rights a user was shown to hold.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::store) struct UserRightsV1 {
    rows: Vec<RightV1>,
    read_at: TimeV1,
    missing_since: Option<TimeV1>,
}

impl From<&UserRights> for UserRightsV1 {
    fn from(it: &UserRights) -> Self {
        let row = |it: &Right| RightV1 {
            identifier: text(&it.identifier),
            catalog: text_option(it.catalog.as_ref()),
            state: text(&it.state),
            bare: it.bare.as_ref().map(ToString::to_string),
        };
        Self {
            rows: it.rows.iter().map(row).collect(),
            read_at: it.read_at.into(),
            missing_since: time(it.missing_since),
        }
    }
}

impl TryFrom<UserRightsV1> for UserRights {
    type Error = StoreError;

    fn try_from(it: UserRightsV1) -> Result<Self, StoreError> {
        let row = |it: RightV1| {
            Ok::<_, StoreError>(Right {
                identifier: it.identifier.into(),
                catalog: shared(it.catalog),
                state: it.state.into(),
                bare: it.bare.as_deref().map(word).transpose()?,
            })
        };
        Ok(Self {
            rows: it.rows.into_iter().map(row).collect::<Result<_, _>>()?,
            read_at: it.read_at.try_into()?,
            missing_since: moment(it.missing_since)?,
        })
    }
}

/// A sixteenth of a tenant's users; the tenant is only in the key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::store) struct RightsV1(Vec<(IdV1, UserRightsV1)>);

impl<'a> FromIterator<(&'a UserId, &'a Arc<UserRights>)> for RightsV1 {
    fn from_iter<I: IntoIterator<Item = (&'a UserId, &'a Arc<UserRights>)>>(users: I) -> Self {
        let user = |(user, it): (&UserId, &Arc<UserRights>)| (id(user.as_uuid()), (&**it).into());
        Self(users.into_iter().map(user).collect())
    }
}

impl RightsV1 {
    pub(in crate::store) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(in crate::store) fn users(self) -> Result<Vec<(UserId, UserRights)>, StoreError> {
        let user =
            |(user, it): (IdV1, UserRightsV1)| Ok((UserId::from_uuid(uuid(user)), it.try_into()?));
        self.0.into_iter().map(user).collect()
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum TargetV1 {
    Sku(IdV1),
    ServicePlan(IdV1, IdV1),
    Right(String),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct MappingV1 {
    id: String,
    service_id: String,
    target: TargetV1,
    catalog: Option<String>,
    users: u32,
    evidence: String,
    state: String,
    since: TimeV1,
}

impl From<&Mapping> for MappingV1 {
    fn from(it: &Mapping) -> Self {
        let target = match &it.target {
            Target::Sku(sku) => TargetV1::Sku(id(sku.as_uuid())),
            Target::ServicePlan(sku, plan) => {
                TargetV1::ServicePlan(id(sku.as_uuid()), id(plan.as_uuid()))
            }
            Target::Right(identifier) => TargetV1::Right(text(identifier)),
        };
        Self {
            id: text(&it.id),
            service_id: it.service_id.to_string(),
            target,
            catalog: text_option(it.catalog.as_ref()),
            users: it.users,
            evidence: text(&it.evidence),
            state: it.state.as_str().to_owned(),
            since: it.since.into(),
        }
    }
}

impl TryFrom<MappingV1> for Mapping {
    type Error = StoreError;

    fn try_from(it: MappingV1) -> Result<Self, StoreError> {
        let target = match it.target {
            TargetV1::Sku(sku) => Target::Sku(SkuId::from_uuid(uuid(sku))),
            TargetV1::ServicePlan(sku, plan) => Target::ServicePlan(
                SkuId::from_uuid(uuid(sku)),
                ServicePlanId::from_uuid(uuid(plan)),
            ),
            TargetV1::Right(identifier) => Target::Right(identifier.into()),
        };
        Ok(Self {
            id: it.id.into(),
            service_id: word(&it.service_id)?,
            target,
            catalog: shared(it.catalog),
            users: it.users,
            evidence: it.evidence.into(),
            state: word(&it.state)?,
            since: it.since.try_into()?,
        })
    }
}

/// How far a tenant's usage rights can be believed, and what plans are called there; the tenant is
/// only in the key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::store) struct LearnedV1 {
    proven: Option<(String, TimeV1)>,
    refused: Option<(String, TimeV1)>,
    read_at: Option<TimeV1>,
    learned_at: Option<TimeV1>,
    mappings: Vec<MappingV1>,
}

impl LearnedV1 {
    pub(in crate::store) fn new(source: &RightsSource, mappings: &[Mapping]) -> Self {
        let noted = |it: &(Arc<str>, jiff::Timestamp)| (text(&it.0), it.1.into());
        Self {
            proven: source.proven.as_ref().map(noted),
            refused: source.refused.as_ref().map(noted),
            read_at: time(source.read_at),
            learned_at: time(source.learned_at),
            mappings: mappings.iter().map(MappingV1::from).collect(),
        }
    }

    pub(in crate::store) fn open(self) -> Result<(RightsSource, Vec<Mapping>), StoreError> {
        let noted = |it: (String, TimeV1)| Ok::<_, StoreError>((Arc::from(it.0), it.1.try_into()?));
        let source = RightsSource {
            proven: self.proven.map(noted).transpose()?,
            refused: self.refused.map(noted).transpose()?,
            read_at: moment(self.read_at)?,
            learned_at: moment(self.learned_at)?,
        };
        let mappings =
            self.mappings.into_iter().map(Mapping::try_from).collect::<Result<_, _>>()?;
        Ok((source, mappings))
    }
}
