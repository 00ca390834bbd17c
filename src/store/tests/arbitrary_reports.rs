//! Lines of the licence report and deals with anything in them.

use std::sync::Arc;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::arbitrary::{tenant_id, text, time};
use crate::domain::{Deal, DealId, ReportOrigin, ReportedLicence, TenantId};

fn day() -> BoxedStrategy<Option<jiff::civil::Date>> {
    option::of(
        (-9999..9999_i16, 1..13_i8, 1..29_i8).prop_map(|(y, m, d)| jiff::civil::date(y, m, d)),
    )
    .boxed()
}

pub(super) fn reported() -> BoxedStrategy<(TenantId, Vec<ReportedLicence>)> {
    let counts = (option::of(any::<u64>()), option::of(any::<u64>()));
    let texts = (text(), text(), option::of(text()), option::of(text()));
    let line = (tenant_id(), texts, counts, day(), time(), select(ReportOrigin::ALL)).prop_map(
        |(tenant, texts, counts, activated, reported_at, origin)| ReportedLicence {
            tenant,
            service_id: texts.0,
            sku_name: texts.1,
            provisioned: counts.0,
            assigned: counts.1,
            state: texts.2,
            activated,
            product: texts.3,
            reported_at,
            origin,
        },
    );
    (tenant_id(), vec(line, 0..4))
        .prop_map(|(tenant, lines)| {
            (tenant, lines.into_iter().map(|it| ReportedLicence { tenant, ..it }).collect())
        })
        .boxed()
}

pub(super) fn deal() -> BoxedStrategy<(DealId, Option<Arc<Deal>>)> {
    let id = (0..3_u32).prop_map(DealId);
    let plan = "[a-z]{1,3}[.][a-z]{1,3}[.][a-z]{1,3}".prop_map(|it| it.parse().unwrap());
    let deal = (tenant_id(), plan, any::<u64>(), (day(), day()), option::of(text()), time());
    (id, option::weighted(0.8, deal))
        .prop_map(|(id, deal)| {
            let deal = deal.map(|(tenant, service_id, licences, days, reference, entered)| {
                let (starts, ends) = days;
                Arc::new(Deal {
                    id,
                    tenant,
                    service_id,
                    licences,
                    starts,
                    ends,
                    reference,
                    entered,
                })
            });
            (id, deal)
        })
        .boxed()
}
