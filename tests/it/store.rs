//! The durable mirror through its public doors: what was acknowledged is there again, whole.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use entitled::domain::{
    Cause, Change, Cloud, Commit, Consent, Document, HeldSeat, Licence, Mirror, OddRecord, Outcome,
    Party, RawRecord, Run, RunId, SeatOutcome, SeatRequest, Sku, SkuId, Source, SourceKey,
    SourceState, Subscription, SubscriptionId, SubscriptionStatus, Tenant, TenantId, TenantUsers,
    Trigger, UserId, UserLicences, UserWrites,
};
use entitled::store::{
    ChangeFilter, Guard, Opened, RunFilter, Store, StoreError, StoreOptions, restore_into_empty,
};
use jiff::{SignedDuration, Timestamp};
use tempfile::TempDir;
use uuid::Uuid;

fn now() -> Timestamp {
    "2026-11-22T02:00:00Z".parse().unwrap()
}

fn at(hours: i64) -> Timestamp {
    now() + SignedDuration::from_hours(hours)
}

fn tenant(n: u128) -> TenantId {
    TenantId::from_uuid(Uuid::from_u128(0x7e00_0000 + n)).unwrap()
}

fn user(n: u128) -> UserId {
    UserId::from_uuid(Uuid::from_u128(0x05e0_0000_0000 + n))
}

fn subscription(n: u128) -> Subscription {
    let party = Party { tenant: Some(tenant(n % 3).as_uuid()), user: Some(user(n)) };
    Subscription {
        id: SubscriptionId::from_uuid(Uuid::from_u128(0x50b0_0000 + n)),
        publisher: "vizmaker".into(),
        offer: "synoptic".into(),
        plan: "team".into(),
        name: format!("Subscription {n}").into(),
        status: SubscriptionStatus::Subscribed,
        quantity: Some(5),
        beneficiary: party,
        purchaser: party,
        term_start: Some(now()),
        term_end: Some(at(24 * 30)),
        term_unit: Some("P1M".into()),
        auto_renew: Some(true),
        free_trial: false,
        allowed_operations: vec!["Read".into(), "Update".into()],
        created: Some(now()),
        observed_at: now(),
    }
}

fn licences(n: u128) -> UserLicences {
    UserLicences::new([Licence {
        sku: SkuId::from_uuid(Uuid::from_u128(0x5c0 + n)),
        assigned: true,
        disabled_plans: Vec::new(),
        paths: Vec::new(),
    }])
}

fn users(tenant: TenantId, writes: UserWrites) -> Commit {
    Commit { users: vec![TenantUsers { tenant, writes }], ..Commit::default() }
}

fn everyone(count: u128, licence: u128) -> UserWrites {
    UserWrites::Replace((0..count).map(|n| (user(n), licences(licence))).collect())
}

fn run(id: RunId, hours: i64) -> Run {
    Run {
        id,
        key: SourceKey::SUBSCRIPTIONS,
        trigger: Trigger::Schedule,
        full: true,
        started: at(hours),
        ended: at(hours),
        outcome: Outcome::Complete,
        seen: 1,
        added: 2,
        changed: 3,
        removed: 4,
        odd: 5,
        requests: 6,
        throttled: SignedDuration::from_millis(1_500),
        error: None,
    }
}

fn options(path: &Path) -> StoreOptions {
    StoreOptions { reserve: Some(0), ..StoreOptions::new(path.join("store")) }
}

fn open(path: &Path) -> (Store, Opened) {
    Store::open(options(path), now()).unwrap()
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// Everything in a mirror, in a form that can be compared.
fn content(mirror: &Mirror) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for it in mirror.subscriptions() {
        all.insert(format!("subscription {}", it.id), format!("{it:?}"));
    }
    for it in mirror.tenants() {
        let id = it.tenant.id;
        all.insert(format!("tenant {id}"), format!("{:?} {:?}", it.tenant, it.skus));
        all.insert(format!("directory {id}"), format!("{:?}", it.directory));
        for (user, licences) in it.users.iter() {
            all.insert(format!("user {id} {user}"), format!("{licences:?}"));
        }
    }
    for (key, state) in mirror.sources() {
        all.insert(format!("source {key}"), format!("{state:?}"));
    }
    for (id, holders) in mirror.all_holders() {
        all.insert(format!("holders {id}"), format!("{holders:?}"));
    }
    for (name, bytes) in mirror.documents() {
        all.insert(format!("document {name}"), format!("{bytes:?}"));
    }
    all
}

/// A commit with something of everything.
fn mixed() -> Commit {
    let subscription = subscription(1);
    let view = Tenant {
        id: tenant(1),
        name: Some("Contoso".into()),
        consent: Consent::Granted,
        cloud: Cloud::Public,
    };
    let state = SourceState {
        cursor: Some("/users/delta?$deltatoken=abc".into()),
        last_full: Some(now()),
        last_complete: Some(now()),
        last_outcome: Some(Outcome::Complete),
        failures: 2,
        catalog: 77,
        ..SourceState::default()
    };
    let cause = Cause::Run(RunId(1));
    let holders = entitled::domain::Holders::new([(
        (tenant(1), user(1)),
        HeldSeat { taken_at: now(), last_used: at(1) },
    )]);
    Commit {
        changes: vec![
            Change::of_subscription(now(), cause.clone(), None, &subscription),
            Change::of_tenant(now(), cause, None, &view),
        ],
        holders: vec![(subscription.id, holders)],
        subscriptions: vec![(subscription, RawRecord::from("{\"id\": \"raw\"}"))],
        tenants: vec![view],
        skus: vec![(tenant(1), Vec::<Sku>::new())],
        users: vec![TenantUsers { tenant: tenant(1), writes: everyone(100, 1) }],
        sources: vec![
            (SourceKey::directory(tenant(1)), state.clone()),
            (SourceKey::SUBSCRIPTIONS, state),
        ],
        documents: vec![Document { name: "jwks".into(), bytes: vec![7; 9_000] }],
        odd: vec![OddRecord {
            at: now(),
            key: SourceKey::SUBSCRIPTIONS,
            why: "no id".into(),
            raw: "{}".into(),
        }],
        runs: vec![run(RunId(1), 0)],
    }
}

#[tokio::test]
async fn what_was_committed_is_there_again() {
    let folder = folder();
    let (store, opened) = open(folder.path());
    assert_eq!(opened, Opened::Fresh);
    store.commit(mixed()).await.unwrap();
    let before = content(&store.mirror());
    store.close().await;
    drop(store);

    let (store, opened) = open(folder.path());
    assert_eq!(opened, Opened::Loaded);
    assert_eq!(content(&store.mirror()), before);
    assert_eq!(store.runs(&RunFilter::default()).unwrap(), [run(RunId(1), 0)]);
    assert_eq!(store.changes(&ChangeFilter::default()).unwrap(), {
        let mut changes = mixed().changes;
        changes.sort_by_key(|it| it.tenant);
        changes
    });
    let raw = store.raw_subscription(subscription(1).id).unwrap();
    assert_eq!(raw.as_deref(), Some("{\"id\": \"raw\"}"));
    assert_eq!(store.odd_records(10).unwrap(), mixed().odd);
    assert_eq!(store.report().blobs, 0);
}
