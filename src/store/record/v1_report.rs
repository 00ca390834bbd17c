//! Version 1: the licence report, and deals that were entered by hand.

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::v1_base::{IdV1, TimeV1, id, shared, tenant, text, text_option, word};
use crate::domain::{Deal, DealId, ReportedLicence, TenantId};
use crate::store::StoreError;

/// A day: year, month, day.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct DayV1(i16, i8, i8);

impl From<Date> for DayV1 {
    fn from(it: Date) -> Self {
        Self(it.year(), it.month(), it.day())
    }
}

fn day(it: Option<DayV1>) -> Result<Option<Date>, StoreError> {
    let date = |DayV1(year, month, day)| {
        Date::new(year, month, day).map_err(|_range| StoreError::damaged("a day out of range"))
    };
    it.map(date).transpose()
}

/// All lines about one tenant, which stands in the key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::store) struct ReportedV1(Vec<LineV1>);

#[derive(Clone, Debug, Serialize, Deserialize)]
struct LineV1 {
    service_id: String,
    sku_name: String,
    provisioned: Option<u64>,
    assigned: Option<u64>,
    state: Option<String>,
    activated: Option<DayV1>,
    product: Option<String>,
    reported_at: TimeV1,
    origin: String,
}

impl From<&[ReportedLicence]> for ReportedV1 {
    fn from(lines: &[ReportedLicence]) -> Self {
        let line = |it: &ReportedLicence| LineV1 {
            service_id: text(&it.service_id),
            sku_name: text(&it.sku_name),
            provisioned: it.provisioned,
            assigned: it.assigned,
            state: text_option(it.state.as_ref()),
            activated: it.activated.map(DayV1::from),
            product: text_option(it.product.as_ref()),
            reported_at: it.reported_at.into(),
            origin: it.origin.as_str().to_owned(),
        };
        Self(lines.iter().map(line).collect())
    }
}

impl ReportedV1 {
    /// The lines, of this tenant.
    pub(in crate::store) fn of(self, tenant: TenantId) -> Result<Vec<ReportedLicence>, StoreError> {
        let line = |it: LineV1| {
            Ok(ReportedLicence {
                tenant,
                service_id: it.service_id.into(),
                sku_name: it.sku_name.into(),
                provisioned: it.provisioned,
                assigned: it.assigned,
                state: shared(it.state),
                activated: day(it.activated)?,
                product: shared(it.product),
                reported_at: it.reported_at.try_into()?,
                origin: word(&it.origin)?,
            })
        };
        self.0.into_iter().map(line).collect()
    }
}

/// A deal.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::store) struct DealV1 {
    id: u32,
    tenant: IdV1,
    service_id: String,
    licences: u64,
    starts: Option<DayV1>,
    ends: Option<DayV1>,
    reference: Option<String>,
    entered: TimeV1,
}

impl From<&Deal> for DealV1 {
    fn from(it: &Deal) -> Self {
        Self {
            id: it.id.0,
            tenant: id(it.tenant.as_uuid()),
            service_id: it.service_id.as_str().to_owned(),
            licences: it.licences,
            starts: it.starts.map(DayV1::from),
            ends: it.ends.map(DayV1::from),
            reference: text_option(it.reference.as_ref()),
            entered: it.entered.into(),
        }
    }
}

impl TryFrom<DealV1> for Deal {
    type Error = StoreError;

    fn try_from(it: DealV1) -> Result<Self, StoreError> {
        let service_id = it.service_id.parse();
        Ok(Self {
            id: DealId(it.id),
            tenant: tenant(it.tenant)?,
            service_id: service_id
                .map_err(|_wrong| StoreError::damaged("a Service ID that is none"))?,
            licences: it.licences,
            starts: day(it.starts)?,
            ends: day(it.ends)?,
            reference: shared(it.reference),
            entered: it.entered.try_into()?,
        })
    }
}
