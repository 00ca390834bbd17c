//! A small world to ask about; the contract's rules as tables are in the modules below.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::*;
use crate::domain::{
    CapabilityStatus, Channel, Cloud, Commit, Consent, Coverage, Features, GroupId, Host,
    HybridMode, Licence, LicenseKind, Mirror, Party, Path, PathState, Plan, Policy, Product,
    RawRecord, ServicePlan, ServicePlanId, Sku, SkuId, SourceKey, SourceState, Standing,
    Subscription, SubscriptionId, SubscriptionStatus, Tenant, TenantId, TenantUsers, Units, UserId,
    UserLicences, UserWrites, Via,
};

mod answers;
mod figures;
mod hidden;
mod hosts;
mod past;
mod proofs;
mod rights;
mod switch;
mod unread;
mod walk;

pub(super) const GROUP: u128 = 70;

pub(super) fn now() -> Timestamp {
    "2026-11-21T12:00:00Z".parse().unwrap()
}

pub(super) fn h(hours: i64) -> SignedDuration {
    SignedDuration::from_hours(hours)
}

pub(super) fn tenant(n: u128) -> TenantId {
    TenantId::from_uuid(Uuid::from_u128(n)).unwrap()
}

pub(super) fn user(n: u128) -> UserId {
    UserId::from_uuid(Uuid::from_u128(n))
}

pub(super) fn sku_id(n: u128) -> SkuId {
    SkuId::from_uuid(Uuid::from_u128(n))
}

pub(super) fn sub_id(n: u128) -> SubscriptionId {
    SubscriptionId::from_uuid(Uuid::from_u128(n))
}

pub(super) fn features(words: &str) -> Features {
    words.split_whitespace().map(Arc::from).collect()
}

pub(super) fn plan(service_id: &str, channel: Channel, words: &str) -> Plan {
    Plan {
        service_id: service_id.parse().unwrap(),
        channel,
        coverage: Coverage::Tenant,
        features: features(words),
        sku_ids: Vec::new(),
        service_plan_ids: Vec::new(),
        release_after: h(30 * 24),
    }
}

pub(super) fn product(hybrid: HybridMode, plans: Vec<Plan>) -> Product {
    let own = [(Channel::Direct, features("maps storage")), (Channel::Hybrid, features("maps"))];
    Product {
        id: "panel".parse().unwrap(),
        name: "Panel".into(),
        hybrid,
        features: BTreeMap::from(own),
        plans,
    }
}

pub(super) fn visual() -> Product {
    product(HybridMode::Entra, vec![plan("p.panel.team", Channel::Appsource, "maps")])
}

pub(super) fn saas(coverage: Coverage) -> Product {
    let plan = Plan { coverage, ..plan("p.suite.gold", Channel::Saas, "maps") };
    product(HybridMode::None, vec![plan])
}

pub(super) fn subscription(n: u128, status: &str) -> Subscription {
    Subscription {
        id: sub_id(n),
        offer: "suite".into(),
        plan: "gold".into(),
        status: SubscriptionStatus::from_word(status),
        beneficiary: Party { tenant: Some(Uuid::from_u128(1)), user: None },
        purchaser: Party { tenant: Some(Uuid::from_u128(2)), user: None },
        observed_at: now() - h(5),
        ..Subscription::sample()
    }
}

pub(super) fn sku(n: u128, status: &str, name: &str) -> Sku {
    let service_plan =
        ServicePlan { id: ServicePlanId::from_uuid(Uuid::from_u128(n + 1000)), name: name.into() };
    Sku {
        id: sku_id(n),
        part_number: "SKU".into(),
        status: CapabilityStatus::from_word(status),
        service_plans: vec![service_plan],
        units: Units::default(),
        next_lifecycle: None,
        missing_since: None,
    }
}

pub(super) fn path(via: Via, state: &str) -> Path {
    let error = (state == "Error").then(|| "CountViolation".into());
    Path { via, state: PathState::from_word(state), error, disabled_plans: Vec::new() }
}

pub(super) fn group() -> Via {
    Via::Group(GroupId::from_uuid(Uuid::from_u128(GROUP)))
}

pub(super) fn licence(n: u128, paths: Vec<Path>) -> Licence {
    Licence { sku: sku_id(n), assigned: true, disabled_plans: Vec::new(), paths }
}

pub(super) fn read(age_h: i64) -> SourceState {
    SourceState { last_complete: Some(now() - h(age_h)), ..SourceState::default() }
}

/// Everything of tenant 1, read `ages` hours ago; `None` for a source that was never read.
pub(super) fn world(
    subscriptions: Vec<Subscription>,
    skus: Vec<Sku>,
    licences: Vec<Licence>,
    ages: (Option<i64>, Option<i64>),
) -> Commit {
    let mut commit = Commit {
        subscriptions: subscriptions.into_iter().map(|it| (it, RawRecord::from("{}"))).collect(),
        ..Commit::default()
    };
    if let Some(age) = ages.0 {
        commit.sources.push((SourceKey::SUBSCRIPTIONS, read(age)));
    }
    if let Some(age) = ages.1 {
        let it =
            Tenant { id: tenant(1), name: None, consent: Consent::Granted, cloud: Cloud::Public };
        commit.tenants.push(it);
        commit.skus.push((tenant(1), skus));
        let writes = UserWrites::Patch(vec![(user(9), Some(UserLicences::new(licences)))]);
        commit.users.push(TenantUsers { tenant: tenant(1), writes });
        commit.sources.push((SourceKey::directory(tenant(1)), read(age)));
    }
    commit
}

pub(super) fn mirror(commit: &Commit) -> Mirror {
    Mirror::default().applied(commit)
}

pub(super) fn asked(product: &Product, host: Host) -> Question<'_> {
    Question::of_user(product, host, tenant(1), Some(user(9)))
}

/// Asks in the web, and compares `state/reason`.
#[track_caller]
pub(super) fn check(commit: &Commit, product: &Product, says: &str) -> Decision {
    check_question(commit, &asked(product, Host::Web), &Policy::default(), says)
}

#[track_caller]
pub(super) fn check_question(
    commit: &Commit,
    question: &Question<'_>,
    policy: &Policy,
    says: &str,
) -> Decision {
    let mirror = mirror(commit);
    let (decision, trail) = explain(&mirror, question, policy, now());
    assert_eq!(answer(&mirror, question, policy, now()), decision);
    assert_eq!(format!("{}/{}", decision.state, decision.reason), says, "{trail:#?}");
    assert_eq!(decision.usable, decision.state.is_usable());
    let winner = trail.steps.first().filter(|it| it.fate == Fate::Decided);
    assert_eq!(winner.map(|it| it.channel), decision.source, "{trail:#?}");
    decision
}

pub(super) fn license() -> License<'static> {
    License {
        id: "L-1",
        kind: LicenseKind::User,
        standing: Standing::Current,
        trial_end: None,
        paid_at: None,
        period_end: None,
        users: None,
        over_limit: None,
        seat: None,
        proof: Proof::Package,
        domain: None,
    }
}

#[track_caller]
pub(super) fn check_license(it: License<'_>, question: &Question<'_>, says: &str) -> Decision {
    let unread = Known::default();
    let knowledge = Knowledge::of(unread, Cloud::Public);
    let evidence = [Evidence::License(it)];
    let decision = decide(question, &evidence, &knowledge, &Policy::default(), now());
    assert_eq!(format!("{}/{}", decision.state, decision.reason), says, "{evidence:?}");
    decision
}
