//! Usage rights and mappings with anything in them.

use std::sync::Arc;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use uuid::Uuid;

use super::arbitrary::{some_time, tenant_id, text, time, uuid};
use crate::domain::{
    Mapping, MappingState, MappingWrite, Right, RightsSource, ServiceId, ServicePlanId, SkuId,
    Target, TenantId, UserId, UserRights,
};

type Writes = (
    Vec<(TenantId, UserId, Option<UserRights>)>,
    Vec<(TenantId, RightsSource)>,
    Vec<(TenantId, MappingWrite)>,
);

/// What a commit says of rights.
pub(super) fn writes() -> BoxedStrategy<Writes> {
    let rights = vec((tenant_id(), spread_user(), option::weighted(0.8, rights())), 0..6);
    let sources = vec((tenant_id(), rights_source()), 0..2);
    (rights, sources, vec((tenant_id(), mapping_write()), 0..3)).boxed()
}

/// Users of every sixteenth.
fn spread_user() -> BoxedStrategy<UserId> {
    (0_u128..16, 0_u128..3)
        .prop_map(|(high, low)| UserId::from_uuid(Uuid::from_u128(high << 124 | low)))
        .boxed()
}

fn service_id() -> BoxedStrategy<ServiceId> {
    "[a-c]\\.[a-c]\\.[a-c]".prop_map(|it| it.parse().unwrap()).boxed()
}

pub(super) fn rights() -> BoxedStrategy<UserRights> {
    let right = (text(), option::of(text()), text(), option::of(service_id()))
        .prop_map(|(identifier, catalog, state, bare)| Right { identifier, catalog, state, bare });
    (vec(right, 0..3), time(), some_time())
        .prop_map(|(rows, read_at, missing_since)| UserRights { rows, read_at, missing_since })
        .boxed()
}

fn rights_source() -> BoxedStrategy<RightsSource> {
    let noted = || option::of((text(), time()));
    (noted(), noted(), some_time(), some_time())
        .prop_map(|(proven, refused, read_at, learned_at)| RightsSource {
            proven,
            refused,
            read_at,
            learned_at,
        })
        .boxed()
}

fn mapping_write() -> BoxedStrategy<MappingWrite> {
    let target = prop_oneof![
        uuid().prop_map(|it| Target::Sku(SkuId::from_uuid(it))),
        (uuid(), uuid()).prop_map(|(sku, plan)| {
            Target::ServicePlan(SkuId::from_uuid(sku), ServicePlanId::from_uuid(plan))
        }),
        text().prop_map(Target::Right),
    ];
    let id = || "m[0-3]".prop_map(Arc::<str>::from);
    let rest = (option::of(text()), any::<u32>(), text(), select(MappingState::ALL), time());
    let propose = (id(), service_id(), target, rest).prop_map(|(id, service_id, target, rest)| {
        let (catalog, users, evidence, state, since) = rest;
        MappingWrite::Propose(Mapping {
            id,
            service_id,
            target,
            catalog,
            users,
            evidence,
            state,
            since,
        })
    });
    let decide = (id(), select(MappingState::ALL), time())
        .prop_map(|(id, state, at)| MappingWrite::Decide(id, state, at));
    prop_oneof![propose, decide].boxed()
}
