//! Version 1: tenants, their SKUs, and how far sources have been read.

use serde::{Deserialize, Serialize};

use super::v1_base::{
    IdV1, SourceKeyV1, TimeV1, id, moment, shared, tenant, text, text_option, time, uuid, word,
};
use crate::domain::{
    CapabilityStatus, Outcome, RunId, ServicePlan, ServicePlanId, Sku, SkuId, SourceKey,
    SourceState, Tenant, Units,
};
use crate::store::StoreError;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::store) struct TenantV1 {
    id: IdV1,
    name: Option<String>,
    consent: String,
    cloud: String,
}

impl From<&Tenant> for TenantV1 {
    fn from(it: &Tenant) -> Self {
        Self {
            id: id(it.id.as_uuid()),
            name: text_option(it.name.as_ref()),
            consent: it.consent.as_str().to_owned(),
            cloud: it.cloud.as_str().to_owned(),
        }
    }
}

impl TryFrom<TenantV1> for Tenant {
    type Error = StoreError;

    fn try_from(it: TenantV1) -> Result<Self, StoreError> {
        Ok(Self {
            id: tenant(it.id)?,
            name: shared(it.name),
            consent: word(&it.consent)?,
            cloud: word(&it.cloud)?,
        })
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum CapabilityV1 {
    Enabled,
    Warning,
    Suspended,
    LockedOut,
    Deleted,
    Unrecognized(String),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct SkuV1 {
    id: IdV1,
    part_number: String,
    status: CapabilityV1,
    service_plans: Vec<(IdV1, String)>,
    enabled: u32,
    warning: u32,
    suspended: u32,
    locked_out: u32,
    consumed: u32,
    next_lifecycle: Option<TimeV1>,
    missing_since: Option<u64>,
}

impl From<&Sku> for SkuV1 {
    fn from(it: &Sku) -> Self {
        let status = match &it.status {
            CapabilityStatus::Enabled => CapabilityV1::Enabled,
            CapabilityStatus::Warning => CapabilityV1::Warning,
            CapabilityStatus::Suspended => CapabilityV1::Suspended,
            CapabilityStatus::LockedOut => CapabilityV1::LockedOut,
            CapabilityStatus::Deleted => CapabilityV1::Deleted,
            CapabilityStatus::Unrecognized(word) => CapabilityV1::Unrecognized(text(word)),
        };
        let plan = |it: &ServicePlan| (id(it.id.as_uuid()), text(&it.name));
        Self {
            id: id(it.id.as_uuid()),
            part_number: text(&it.part_number),
            status,
            service_plans: it.service_plans.iter().map(plan).collect(),
            enabled: it.units.enabled,
            warning: it.units.warning,
            suspended: it.units.suspended,
            locked_out: it.units.locked_out,
            consumed: it.units.consumed,
            next_lifecycle: time(it.next_lifecycle),
            missing_since: it.missing_since.map(|it| it.0),
        }
    }
}

impl TryFrom<SkuV1> for Sku {
    type Error = StoreError;

    fn try_from(it: SkuV1) -> Result<Self, StoreError> {
        let status = match it.status {
            CapabilityV1::Enabled => CapabilityStatus::Enabled,
            CapabilityV1::Warning => CapabilityStatus::Warning,
            CapabilityV1::Suspended => CapabilityStatus::Suspended,
            CapabilityV1::LockedOut => CapabilityStatus::LockedOut,
            CapabilityV1::Deleted => CapabilityStatus::Deleted,
            CapabilityV1::Unrecognized(word) => CapabilityStatus::Unrecognized(word.into()),
        };
        let plan = |(id, name): (IdV1, String)| ServicePlan {
            id: ServicePlanId::from_uuid(uuid(id)),
            name: name.into(),
        };
        Ok(Self {
            id: SkuId::from_uuid(uuid(it.id)),
            part_number: it.part_number.into(),
            status,
            service_plans: it.service_plans.into_iter().map(plan).collect(),
            units: Units {
                enabled: it.enabled,
                warning: it.warning,
                suspended: it.suspended,
                locked_out: it.locked_out,
                consumed: it.consumed,
            },
            next_lifecycle: moment(it.next_lifecycle)?,
            missing_since: it.missing_since.map(RunId),
        })
    }
}

/// All SKUs of a tenant.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::store) struct SkusV1(Vec<SkuV1>);

impl From<&[Sku]> for SkusV1 {
    fn from(it: &[Sku]) -> Self {
        Self(it.iter().map(SkuV1::from).collect())
    }
}

impl TryFrom<SkusV1> for Vec<Sku> {
    type Error = StoreError;

    fn try_from(it: SkusV1) -> Result<Self, StoreError> {
        it.0.into_iter().map(Sku::try_from).collect()
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::store) struct SourceV1 {
    key: SourceKeyV1,
    cursor: Option<String>,
    cursor_issued: Option<TimeV1>,
    last_complete: Option<TimeV1>,
    last_full: Option<TimeV1>,
    last_run: Option<TimeV1>,
    last_outcome: Option<String>,
    last_error: Option<String>,
    failures: u32,
    catalog: u64,
    held_back: u32,
}

impl From<(SourceKey, &SourceState)> for SourceV1 {
    fn from((key, it): (SourceKey, &SourceState)) -> Self {
        Self {
            key: key.into(),
            cursor: text_option(it.cursor.as_ref()),
            cursor_issued: time(it.cursor_issued),
            last_complete: time(it.last_complete),
            last_full: time(it.last_full),
            last_run: time(it.last_run),
            last_outcome: it.last_outcome.map(|it| it.as_str().to_owned()),
            last_error: text_option(it.last_error.as_ref()),
            failures: it.failures,
            catalog: it.catalog,
            held_back: it.held_back,
        }
    }
}

impl TryFrom<SourceV1> for (SourceKey, SourceState) {
    type Error = StoreError;

    fn try_from(it: SourceV1) -> Result<Self, StoreError> {
        let outcome = it.last_outcome.as_deref().map(word::<Outcome>).transpose()?;
        let state = SourceState {
            cursor: shared(it.cursor),
            cursor_issued: moment(it.cursor_issued)?,
            last_complete: moment(it.last_complete)?,
            last_full: moment(it.last_full)?,
            last_run: moment(it.last_run)?,
            last_outcome: outcome,
            last_error: shared(it.last_error),
            failures: it.failures,
            catalog: it.catalog,
            held_back: it.held_back,
        };
        Ok((it.key.try_into()?, state))
    }
}
