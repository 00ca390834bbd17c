//! A line of the licence report and a deal, in a commit.

use std::sync::Arc;

use entitled::domain::{Deal, DealId, ReportOrigin, ReportedLicence, TenantId};

use super::{now, tenant};

/// A line of the licence report.
pub(super) fn reported() -> (TenantId, Vec<ReportedLicence>) {
    let line = ReportedLicence {
        tenant: tenant(1),
        service_id: "p.o.gold".into(),
        sku_name: "Gold".into(),
        provisioned: Some(30),
        assigned: None,
        state: Some("Active".into()),
        activated: Some(jiff::civil::date(2026, 3, 1)),
        product: Some("Tracker".into()),
        reported_at: now(),
        origin: ReportOrigin::Import,
    };
    (line.tenant, vec![line])
}

/// A deal.
pub(super) fn deal() -> (DealId, Option<Arc<Deal>>) {
    let deal = Deal {
        id: DealId(7),
        tenant: tenant(1),
        service_id: "p.o.gold".parse().unwrap(),
        licences: 30,
        starts: Some(jiff::civil::date(2026, 3, 1)),
        ends: None,
        reference: Some("deal 4711".into()),
        entered: now(),
    };
    (deal.id, Some(Arc::new(deal)))
}
