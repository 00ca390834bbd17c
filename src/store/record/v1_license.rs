//! Version 1: licenses of the publisher, their packages, activations, and what visuals declared.

use serde::{Deserialize, Serialize};

use super::v1_base::{
    IdV1, TimeV1, id, moment, shared, tenant_option, text, text_option, time, uuid, word,
};
use crate::domain::{ActivatedBy, Activation, License, Packaged, Sightings, UserId};
use crate::store::StoreError;

/// A license.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::store) struct LicenseV1 {
    id: String,
    product: String,
    kind: String,
    max: Option<u64>,
    node: Option<String>,
    licensee: String,
    billing: Option<String>,
    domain: Option<String>,
    over_limit: Option<String>,
    cycle: Option<String>,
    created: TimeV1,
    trial_end: Option<TimeV1>,
    paid_at: Option<TimeV1>,
    period_start: TimeV1,
    period_end: Option<TimeV1>,
    cancelled_at: Option<TimeV1>,
    suspended_at: Option<TimeV1>,
    revoked_at: Option<TimeV1>,
    tenants_max: u32,
    key_hash: Option<[u8; 32]>,
    told: String,
}

impl From<&License> for LicenseV1 {
    fn from(it: &License) -> Self {
        Self {
            id: it.id.to_string(),
            product: it.product.to_string(),
            kind: it.kind.as_str().to_owned(),
            max: it.max,
            node: text_option(it.node.as_ref()),
            licensee: text(&it.licensee),
            billing: text_option(it.billing.as_ref()),
            domain: text_option(it.domain.as_ref()),
            over_limit: it.over_limit.map(|it| it.as_str().to_owned()),
            cycle: it.cycle.map(|it| it.as_str().to_owned()),
            created: it.created.into(),
            trial_end: time(it.trial_end),
            paid_at: time(it.paid_at),
            period_start: it.period_start.into(),
            period_end: time(it.period_end),
            cancelled_at: time(it.cancelled_at),
            suspended_at: time(it.suspended_at),
            revoked_at: time(it.revoked_at),
            tenants_max: it.tenants_max,
            key_hash: it.key_hash,
            told: it.told.as_str().to_owned(),
        }
    }
}

impl TryFrom<LicenseV1> for License {
    type Error = StoreError;

    fn try_from(it: LicenseV1) -> Result<Self, StoreError> {
        Ok(Self {
            id: word(&it.id)?,
            product: word(&it.product)?,
            kind: word(&it.kind)?,
            max: it.max,
            node: shared(it.node),
            licensee: it.licensee.into(),
            billing: shared(it.billing),
            domain: shared(it.domain),
            over_limit: it.over_limit.as_deref().map(word).transpose()?,
            cycle: it.cycle.as_deref().map(word).transpose()?,
            created: it.created.try_into()?,
            trial_end: moment(it.trial_end)?,
            paid_at: moment(it.paid_at)?,
            period_start: it.period_start.try_into()?,
            period_end: moment(it.period_end)?,
            cancelled_at: moment(it.cancelled_at)?,
            suspended_at: moment(it.suspended_at)?,
            revoked_at: moment(it.revoked_at)?,
            tenants_max: it.tenants_max,
            key_hash: it.key_hash,
            told: word(&it.told)?,
        })
    }
}

/// Until when the package of a license works offline that does so longest. Of its own, beside the
/// license: packages are signed long after it was sold, and the journal holds licenses as they were.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::store) struct PackagedV1 {
    until: Option<TimeV1>,
}

impl From<Packaged> for PackagedV1 {
    fn from(it: Packaged) -> Self {
        Self { until: time(it.until) }
    }
}

impl TryFrom<PackagedV1> for Packaged {
    type Error = StoreError;

    fn try_from(it: PackagedV1) -> Result<Self, StoreError> {
        Ok(Self { until: moment(it.until)? })
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum ActivatedByV1 {
    User(IdV1),
    Licensee,
    Server(String),
}

/// An activation.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::store) struct ActivationV1 {
    id: String,
    license: String,
    tenant: Option<IdV1>,
    by: ActivatedByV1,
    at: TimeV1,
}

impl From<&Activation> for ActivationV1 {
    fn from(it: &Activation) -> Self {
        Self {
            id: it.id.to_string(),
            license: it.license.to_string(),
            tenant: it.tenant.map(|it| id(it.as_uuid())),
            by: match &it.by {
                ActivatedBy::User(user) => ActivatedByV1::User(id(user.as_uuid())),
                ActivatedBy::Licensee => ActivatedByV1::Licensee,
                ActivatedBy::Server(name) => ActivatedByV1::Server(text(name)),
            },
            at: it.at.into(),
        }
    }
}

impl TryFrom<ActivationV1> for Activation {
    type Error = StoreError;

    fn try_from(it: ActivationV1) -> Result<Self, StoreError> {
        Ok(Self {
            id: word(&it.id)?,
            license: word(&it.license)?,
            tenant: tenant_option(it.tenant)?,
            by: match it.by {
                ActivatedByV1::User(user) => ActivatedBy::User(UserId::from_uuid(uuid(user))),
                ActivatedByV1::Licensee => ActivatedBy::Licensee,
                ActivatedByV1::Server(name) => ActivatedBy::Server(name.into()),
            },
            at: it.at.try_into()?,
        })
    }
}

/// What visuals declared by one license: kind, text, first, last.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::store) struct SightingsV1(Vec<(String, String, TimeV1, TimeV1)>);

impl From<&Sightings> for SightingsV1 {
    fn from(it: &Sightings) -> Self {
        let one = |(kind, what, times): (crate::domain::SightedKind, &_, (_, _))| {
            let (first, last): (jiff::Timestamp, jiff::Timestamp) = times;
            (kind.as_str().to_owned(), text(what), first.into(), last.into())
        };
        Self(it.iter().map(one).collect())
    }
}

impl TryFrom<SightingsV1> for Sightings {
    type Error = StoreError;

    fn try_from(it: SightingsV1) -> Result<Self, StoreError> {
        let one = |(kind, what, first, last): (String, String, TimeV1, TimeV1)| {
            let times = (first.try_into()?, last.try_into()?);
            Ok(((word(&kind)?, what.into()), times))
        };
        Ok(Self::new(it.0.into_iter().map(one).collect::<Result<Vec<_>, StoreError>>()?))
    }
}
