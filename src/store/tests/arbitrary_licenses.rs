//! Licenses, activations and users, anything in them.

use std::sync::Arc;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::arbitrary::{held_seat, tenant_id, text, time, user_id};
use crate::domain::{
    ActivatedBy, Activation, ActivationId, ActivationWrite, BillingCycle, License, LicenseId,
    LicenseKind, LicenseTold, LicenseUser, LicenseUserWrites, OverLimit, Packaged, Sighted,
    SightedKind,
};

/// Few ids, so that commits meet.
pub(super) fn license_id() -> BoxedStrategy<LicenseId> {
    (0_u8..4).prop_map(|it| LicenseId::from_random([it; LicenseId::RANDOM])).boxed()
}

fn activation_id() -> BoxedStrategy<ActivationId> {
    (0_u8..6).prop_map(|it| ActivationId::from_random([it; ActivationId::RANDOM])).boxed()
}

pub(super) fn license() -> BoxedStrategy<License> {
    let some_text = || option::of(text());
    let some_time = || option::of(time());
    let what = (license_id(), select(LicenseKind::ALL), option::of(any::<u64>()), some_text());
    let whose = (text(), some_text(), some_text(), option::of(select(OverLimit::ALL)));
    let times = (time(), some_time(), some_time(), time(), some_time());
    let steps = (some_time(), some_time(), some_time());
    let rest = (
        option::of(select(BillingCycle::ALL)),
        any::<u32>(),
        option::of(any::<[u8; 32]>()),
        select(LicenseTold::ALL),
    );
    (what, whose, times, steps, rest, "[a-z]{1,9}")
        .prop_map(|(what, whose, times, steps, rest, product)| License {
            id: what.0,
            product: product.parse().unwrap(),
            kind: what.1,
            max: what.2,
            node: what.3,
            licensee: whose.0,
            billing: whose.1,
            domain: whose.2,
            over_limit: whose.3,
            cycle: rest.0,
            created: times.0,
            trial_end: times.1,
            paid_at: times.2,
            period_start: times.3,
            period_end: times.4,
            cancelled_at: steps.0,
            suspended_at: steps.1,
            revoked_at: steps.2,
            tenants_max: rest.1,
            key_hash: rest.2,
            told: rest.3,
        })
        .boxed()
}

pub(super) fn packaged() -> BoxedStrategy<Vec<(LicenseId, Packaged)>> {
    let until = option::of(time()).prop_map(|until| Packaged { until });
    vec((license_id(), until), 0..2).boxed()
}

pub(super) fn activation() -> BoxedStrategy<Activation> {
    let by = prop_oneof![
        user_id().prop_map(ActivatedBy::User),
        Just(ActivatedBy::Licensee),
        text().prop_map(ActivatedBy::Server),
    ];
    (activation_id(), license_id(), option::of(tenant_id()), by, time())
        .prop_map(|(id, license, tenant, by, at)| Activation { id, license, tenant, by, at })
        .boxed()
}

pub(super) fn activations() -> BoxedStrategy<Vec<ActivationWrite>> {
    let write = prop_oneof![
        3 => activation().prop_map(ActivationWrite::Put),
        1 => activation_id().prop_map(ActivationWrite::Remove),
    ];
    vec(write, 0..3).boxed()
}

pub(super) fn users() -> BoxedStrategy<Vec<(LicenseId, LicenseUserWrites)>> {
    let user = prop_oneof![
        (tenant_id(), user_id()).prop_map(|(tenant, user)| LicenseUser::Known(tenant, user)),
        (0_u128..60).prop_map(|it| LicenseUser::Anonymous(it.to_be_bytes())),
    ];
    let writes = vec((user, option::weighted(0.8, held_seat())), 0..60);
    vec((license_id(), writes), 0..2).boxed()
}

pub(super) fn sighted() -> BoxedStrategy<Vec<(LicenseId, Sighted)>> {
    let kind = select(SightedKind::ALL);
    let one = (kind, text().prop_map(|it| Arc::from(&*it)), time());
    let one = one.prop_map(|(kind, text, at)| Sighted { kind, text, at });
    vec((license_id(), one), 0..3).boxed()
}
