//! The durable mirror through its public doors: what was acknowledged is there again, whole.

mod copies;
mod damage;
mod grouped;
mod journal;
mod reading;
mod reports;
mod rights;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use entitled::domain::{
    Access, Cause, Change, Cloud, Commit, Consent, Document, HeldBack, HeldSeat, Licence, Life,
    Mirror, OddRecord, Outcome, Party, RawRecord, Run, RunId, SeatOutcome, SeatRequest, Sku, SkuId,
    SourceKey, SourceState, Subscription, Tenant, TenantId, TenantUsers, Trigger, Unread, UserId,
    UserLicences, UserTable, UserWrites, Whose,
};
use entitled::store::{
    ChangeFilter, Opened, RunFilter, Store, StoreError, StoreOptions, restore_into_empty,
};
use jiff::{SignedDuration, Timestamp};
use tempfile::TempDir;
use uuid::Uuid;

use self::grouped::{days, licensed, uses};

use crate::samples;

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
        name: format!("Subscription {n}").into(),
        quantity: Some(5),
        beneficiary: party,
        purchaser: party,
        term_start: Some(now()),
        term_end: Some(at(24 * 30)),
        term_unit: Some("P1M".into()),
        auto_renew: Some(true),
        allowed_operations: vec!["Read".into(), "Update".into()],
        created: Some(now()),
        observed_at: now(),
        ..samples::subscription(0x50b0_0000 + n)
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
    UserWrites::Replace(UserTable::new((0..count).map(|n| (user(n), licences(licence)))))
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
        all.insert(format!("subscription {}", it.id), format!("{it:?} {:?}", mirror.life(it)));
    }
    for it in mirror.tenants() {
        let id = it.tenant.id;
        all.insert(format!("tenant {id}"), format!("{:?} {:?}", it.tenant, it.skus));
        all.insert(format!("directory {id}"), format!("{:?}", it.directory));
        for group in it.groups.groups.values() {
            let mut members: Vec<_> = group.members.iter().map(|it| format!("{it:?}")).collect();
            members.sort();
            all.insert(format!("group {id} {}", group.id), format!("{group:?} {members:?}"));
        }
        let learned = (&it.rights_source, &it.mappings);
        all.insert(format!("learned {id}"), format!("{learned:?}"));
        for (user, rights) in it.rights.iter() {
            all.insert(format!("rights {id} {user}"), format!("{rights:?}"));
        }
        for (user, licences) in it.users.iter() {
            all.insert(format!("user {id} {user}"), format!("{licences:?}"));
        }
    }
    for (key, state) in mirror.sources() {
        all.insert(format!("source {key}"), format!("{state:?}"));
    }
    for (tenant, product, table) in mirror.all_uses() {
        all.insert(format!("uses {tenant} {product}"), format!("{:?}", table.daily(20_030)));
    }
    for (tenant, lines) in mirror.reported() {
        all.insert(format!("reported {tenant}"), format!("{lines:?}"));
    }
    for deal in mirror.deals() {
        all.insert(format!("deal {}", deal.id), format!("{deal:?}"));
    }
    for (tenant, sku, series) in mirror.all_series() {
        all.insert(format!("series {tenant} {sku}"), format!("{series:?}"));
    }
    for (id, holders) in mirror.all_holders() {
        all.insert(format!("holders {id}"), format!("{holders:?}"));
    }
    for it in mirror.unread() {
        all.insert(format!("unread {}", it.key), format!("{it:?}"));
    }
    for (name, bytes) in mirror.documents() {
        all.insert(format!("document {name}"), format!("{bytes:?}"));
    }
    for it in mirror.all_asked() {
        all.insert(format!("asked {}", it.operation), format!("{it:?}"));
    }
    all
}

fn held() -> HeldBack {
    let users = [(SkuId::from_uuid(Uuid::nil()), [user(1)].into())].into();
    HeldBack { run: RunId(1), at: now(), total: 9, users, skus: Vec::new() }
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
    let id = subscription.id;
    let life = Life { purged_at: Some(at(3)), entered: true, ..Life::unremembered(&subscription) };
    let unread = Unread {
        key: "record 7".into(),
        id: None,
        whose: Whose::Tenant(tenant(1)),
        offer: Some("o".into()),
        plan: None,
        since: now(),
        why: "no id".into(),
    };
    Commit {
        changes: vec![
            Change::of_subscription(now(), cause.clone(), None, &subscription),
            Change::of_tenant(now(), cause, None, &view),
        ],
        holders: vec![(subscription.id, holders)],
        subscriptions: vec![(subscription, RawRecord::from("{\"id\": \"raw\"}"))],
        tenants: vec![view],
        access: vec![(tenant(1), Access::none().since(Some(now())))],
        held: vec![(tenant(1), Some(held()))],
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
        groups: vec![(tenant(1), licensed())],
        uses: vec![uses(100)],
        series: vec![days()],
        lives: vec![(id, life)],
        unread: vec![(Arc::clone(&unread.key), Some(unread))],
        runs: vec![run(RunId(1), 0)],
        reported: vec![reports::reported()],
        deals: vec![reports::deal()],
        ..rights::shown()
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

#[tokio::test]
async fn a_large_replace_is_there_whole_and_no_value_is_too_large() {
    let folder = folder();
    let (store, _) = open(folder.path());
    store.commit(users(tenant(1), everyone(20_000, 1))).await.unwrap();
    // Fewer, so that buckets go; then one user among many.
    store.commit(users(tenant(1), everyone(3_000, 2))).await.unwrap();
    let patch = UserWrites::Patch(vec![(user(7), None), (user(9_000), Some(licences(3)))]);
    store.commit(users(tenant(1), patch)).await.unwrap();
    let before = content(&store.mirror());
    assert_eq!(store.mirror().tenant(tenant(1)).unwrap().users.len(), 3_000);
    assert_eq!(store.report().blobs, 0);
    drop(store);

    let (store, opened) = open(folder.path());
    assert_eq!((content(&store.mirror()), opened), (before, Opened::Loaded));
}

fn seat(n: u128, quantity: u64, hours: i64) -> SeatRequest {
    SeatRequest {
        subscription: subscription(1).id,
        tenant: tenant(1),
        user: user(n),
        quantity: Some(quantity),
        release_after: SignedDuration::from_hours(24 * 30),
        now: at(hours),
        cause: Cause::Activation,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixty_four_askers_never_get_more_seats_than_there_are() {
    let folder = folder();
    let (store, _) = open(folder.path());
    let asks = (0..64_u128).map(|n| {
        let store = store.clone();
        // Some ask twice at the same time.
        async move { store.take_seat(seat(n / 2 * 2, 10, 0)).await.unwrap() }
    });
    let mut tasks = tokio::task::JoinSet::new();
    for ask in asks {
        tasks.spawn(ask);
    }
    let outcomes = tasks.join_all().await;
    let seated = outcomes.iter().filter(|it| **it == SeatOutcome::Holds).count();
    assert_eq!(seated, 20, "ten users, each twice");
    let mirror = store.snapshot();
    assert_eq!(mirror.holders(subscription(1).id).unwrap().iter().count(), 10);
    assert_eq!(store.changes(&ChangeFilter::default()).unwrap().len(), 10);
    drop(store);
    let (store, _) = open(folder.path());
    assert_eq!(store.mirror().holders(subscription(1).id).unwrap().iter().count(), 10);
}

#[tokio::test]
async fn a_seat_that_nobody_used_for_long_is_free_again() {
    let folder = folder();
    let (store, _) = open(folder.path());
    assert_eq!(store.take_seat(seat(1, 1, 0)).await.unwrap(), SeatOutcome::Holds);
    assert_eq!(store.take_seat(seat(2, 1, 1)).await.unwrap(), SeatOutcome::NoneFree);
    let revision = store.mirror().revision();
    assert_eq!(store.take_seat(seat(1, 1, 2)).await.unwrap(), SeatOutcome::Holds);
    assert_eq!(store.mirror().revision(), revision, "asking again soon writes nothing");
    assert_eq!(store.take_seat(seat(1, 1, 13)).await.unwrap(), SeatOutcome::Holds);
    assert_eq!(store.mirror().revision(), revision + 1, "a later use is remembered");
    assert_eq!(store.take_seat(seat(2, 1, 13 + 24 * 30)).await.unwrap(), SeatOutcome::NoneFree);
    assert_eq!(store.take_seat(seat(2, 1, 14 + 24 * 30)).await.unwrap(), SeatOutcome::Holds);
    assert_eq!(store.take_seat(seat(1, 1, 14 + 24 * 30)).await.unwrap(), SeatOutcome::NoneFree);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn commits_that_wait_together_become_durable_together() {
    let folder = folder();
    let (store, _) = open(folder.path());
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..500 {
        let store = store.clone();
        let subscriptions = vec![(subscription(n), RawRecord::from("{}"))];
        tasks.spawn(async move {
            store.commit(Commit { subscriptions, ..Commit::default() }).await.unwrap();
        });
    }
    tasks.join_all().await;
    assert_eq!(store.mirror().subscription_count(), 500);
    assert_eq!(store.mirror().revision(), 500 + 1, "each is applied in turn");
    let groups = store.report().commits;
    assert!(groups < 400, "{groups} groups for 500 commits");
}

#[tokio::test]
async fn the_number_of_a_run_is_never_handed_out_again() {
    let folder = folder();
    let mut seen = std::collections::BTreeSet::new();
    for round in 0..4 {
        let (store, _) = open(folder.path());
        for _ in 0..20 {
            assert!(seen.insert(store.next_run()), "round {round}");
        }
        // Closed or not.
        if round % 2 == 0 {
            store.close().await;
        }
    }
    assert_eq!(seen.first(), Some(&RunId(1)));
    assert_eq!(seen.iter().nth(39), Some(&RunId(40)), "a clean close leaves no gap");
}

#[tokio::test]
async fn readers_are_told_of_each_publish() {
    let folder = folder();
    let (store, _) = open(folder.path());
    let mut revisions = store.revisions();
    let before = *revisions.borrow_and_update();
    store.commit(mixed()).await.unwrap();
    revisions.changed().await.unwrap();
    assert_eq!(*revisions.borrow(), before + 1);
    assert_eq!(store.mirror().revision(), before + 1);
}

#[tokio::test]
async fn a_closed_store_says_so_and_can_be_opened_again_at_once() {
    let folder = folder();
    let (store, _) = open(folder.path());
    store.commit(mixed()).await.unwrap();
    store.close().await;
    store.close().await;
    assert!(matches!(store.commit(mixed()).await, Err(StoreError::Closed)));
    assert!(matches!(store.runs(&RunFilter::default()), Err(StoreError::Closed)));
    assert!(store.writable().is_err());
    assert_eq!(store.mirror().subscription_count(), 1, "answers go on");
    let (again, opened) = open(folder.path());
    assert_eq!((opened, again.mirror().subscription_count()), (Opened::Loaded, 1));
}

#[tokio::test]
async fn a_backup_restores_everything_into_an_empty_folder() {
    let folder = folder();
    let (store, _) = open(folder.path());
    store.commit(mixed()).await.unwrap();
    store.commit(users(tenant(2), everyone(5_000, 4))).await.unwrap();
    let (file, into) = (folder.path().join("copy.ent"), folder.path().join("elsewhere"));
    let report = store.backup(&file, now()).await.unwrap();
    assert_eq!(report.bytes, file.metadata().unwrap().len());
    // What comes later is not in it.
    let before = content(&store.mirror());
    store.commit(users(tenant(2), everyone(1, 5))).await.unwrap();

    restore_into_empty(&file, &into, now()).unwrap();
    let options = StoreOptions { reserve: Some(0), ..StoreOptions::new(&into) };
    let (restored, opened) = Store::open(options, now()).unwrap();
    assert_eq!((content(&restored.mirror()), opened), (before, Opened::Loaded));
    assert_eq!(restored.runs(&RunFilter::default()).unwrap().len(), 1);
    assert_eq!(restored.changes(&ChangeFilter::default()).unwrap().len(), 2);
    assert_eq!(restored.keys().list(), store.keys().list());
    assert_eq!(restored.keys().pseudonym_secret(), store.keys().pseudonym_secret());
    assert!(restored.next_run() > store.next_run());

    let again = restore_into_empty(&file, &into, now());
    assert!(matches!(again, Err(StoreError::NotEmpty { .. })), "{again:?}");
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let damaged = restore_into_empty(&file, &folder.path().join("third"), now());
    assert!(damaged.is_err());
    assert!(!folder.path().join("third").exists(), "nothing was begun");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_under_load_is_the_store_of_one_moment() {
    let folder = folder();
    let (store, _) = open(folder.path());
    let writing = {
        let store = store.clone();
        async move {
            // All users and the cursor name the same generation in each commit.
            for generation in 1..40_u128 {
                let mut commit = users(tenant(1), everyone(2_000, generation));
                let state = SourceState {
                    failures: u32::try_from(generation).unwrap(),
                    ..SourceState::default()
                };
                commit.sources = vec![(SourceKey::directory(tenant(1)), state)];
                store.commit(commit).await.unwrap();
            }
        }
    };
    let copying = async {
        for n in 0..8 {
            let file = folder.path().join(format!("{n}.ent"));
            store.backup(&file, now()).await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    futures_util::future::join(writing, copying).await;
    for n in 0..8 {
        let into = folder.path().join(format!("restored-{n}"));
        restore_into_empty(&folder.path().join(format!("{n}.ent")), &into, now()).unwrap();
        let options = StoreOptions { reserve: Some(0), ..StoreOptions::new(&into) };
        let (restored, _) = Store::open(options, now()).unwrap();
        let mirror = restored.snapshot();
        let Some(view) = mirror.tenant(tenant(1)) else { continue };
        let generation = licences(u128::from(view.directory.failures));
        assert_eq!(view.users.len(), 2_000);
        assert!(view.users.iter().all(|(_, it)| it == generation), "backup {n}");
    }
}

#[tokio::test]
async fn keys_are_made_once_rotated_and_pruned() {
    let folder = folder();
    let (store, _) = open(folder.path());
    let first = store.keys().current();
    let secret = store.keys().pseudonym_secret();
    let second = store.keys().rotate(at(1)).unwrap();
    assert_ne!(first.kid, second.kid);
    drop(store);
    let (store, _) = open(folder.path());
    let list = store.keys().list();
    assert_eq!(list.iter().map(|it| &it.kid).collect::<Vec<_>>(), [&first.kid, &second.kid]);
    assert_eq!((list[0].retired, list[1].retired), (Some(at(1)), None));
    assert_eq!(store.keys().current(), second);
    assert_eq!(store.keys().pseudonym_secret(), secret);
    assert_eq!(store.keys().prune(at(1)).unwrap(), 0);
    assert_eq!(store.keys().prune(at(2)).unwrap(), 1);
    assert_eq!(store.keys().list(), [second]);
}
