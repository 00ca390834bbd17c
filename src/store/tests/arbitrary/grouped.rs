//! Groups, uses and series with anything in them.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::{tenant_id, text, time, user_id, uuid};
use crate::domain::{
    Feed, Gone, Group, GroupId, GroupLicence, Groups, Members, Membership, Point, Processing,
    Pseudonym, Series, SeriesWrite, ServicePlanId, SkuId, TenantId, UseWrite,
};

fn group_id() -> BoxedStrategy<GroupId> {
    uuid().prop_map(GroupId::from_uuid).boxed()
}

fn members() -> BoxedStrategy<Members> {
    let second = (1_u32..).prop_map(|it| Timestamp::from_second(it.into()).unwrap());
    let one =
        (any::<bool>(), option::of(second)).prop_map(|(here, since)| Membership { here, since });
    vec((user_id(), one), 0..200).prop_map(Members::new).boxed()
}

fn group() -> BoxedStrategy<Group> {
    let plans = vec(uuid().prop_map(ServicePlanId::from_uuid), 0..3);
    let licence = (uuid(), plans, option::of(time())).prop_map(|(sku, disabled_plans, since)| {
        GroupLicence { sku: SkuId::from_uuid(sku), disabled_plans, since }
    });
    let gone = (select(vec![Gone::Deleted, Gone::Purged, Gone::NotShown]), time());
    let processing = prop_oneof![
        Just(Processing::Queued),
        Just(Processing::InProgress),
        Just(Processing::Complete),
        "[a-z]{3,9}".prop_map(|it| Processing::Unrecognized(it.into())),
    ];
    let facts = (option::of(text()), vec(licence, 0..3), any::<bool>(), option::of(processing));
    let rest = (option::of(time()), option::of(gone), vec(group_id(), 0..3), members());
    (group_id(), facts, rest)
        .prop_map(|(id, facts, rest)| Group {
            id,
            name: facts.0,
            licences: facts.1,
            dynamic: facts.2,
            processing: facts.3,
            unfinished_since: rest.0,
            gone: rest.1,
            nested: rest.2,
            members: rest.3,
        })
        .boxed()
}

pub(super) fn groups() -> BoxedStrategy<(TenantId, Arc<Groups>)> {
    let feed = (vec(group_id(), 0..4), text(), time())
        .prop_map(|(groups, cursor, at)| Feed { groups, cursor: (cursor, at) });
    (tenant_id(), vec(feed, 0..3), vec(group(), 0..4), any::<u32>())
        .prop_map(|(tenant, feeds, groups, left_out)| {
            let groups: BTreeMap<_, _> =
                groups.into_iter().map(|it| (it.id, Arc::new(it))).collect();
            (tenant, Arc::new(Groups { feeds, groups, left_out }))
        })
        .boxed()
}

pub(super) fn uses() -> BoxedStrategy<UseWrite> {
    let used = vec(((0_u64..2_000).prop_map(Pseudonym), 19_990_u16..20_010), 0..300);
    (tenant_id(), "[a-b]{1,2}", used, 19_990_u16..20_010)
        .prop_map(|(tenant, product, used, today)| UseWrite {
            tenant,
            product: product.parse().unwrap(),
            used,
            today,
        })
        .boxed()
}

pub(super) fn series() -> BoxedStrategy<SeriesWrite> {
    let point = any::<(u16, u32, u32)>();
    let point = point.prop_map(|(day, bought, assigned)| Point { day, bought, assigned });
    (tenant_id(), uuid(), vec(point, 0..5), any::<bool>())
        .prop_map(|(tenant, sku, points, told)| SeriesWrite {
            tenant,
            sku: SkuId::from_uuid(sku),
            series: Series::new(points, told),
        })
        .boxed()
}
