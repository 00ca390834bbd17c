//! The process whose power is cut: writes to a store as fast as it can and says on its output what
//! was acknowledged; or looks whether everything that was acknowledged is there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use entitled::domain::{
    Cause, Change, Commit, Licence, RawRecord, SeatOutcome, SeatRequest, SkuId, SourceKey,
    SourceState, Subscription, SubscriptionId, TenantId, TenantUsers, UserId, UserLicences,
    UserTable, UserWrites,
};
use entitled::store::{ChangeFilter, Guard, Opened, Store, StoreOptions};
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use crate::samples;

/// So many users are replaced at once: more than one transaction carries.
const USERS: u64 = 6_000;

/// How many users ask for seats at the same time.
const ASKERS: usize = 4;

fn tenant() -> TenantId {
    TenantId::from_uuid(Uuid::from_u128(1)).unwrap()
}

fn user(n: u64) -> UserId {
    UserId::from_uuid(Uuid::from_u128(u128::from(n) + 1))
}

fn subscription(n: u64) -> Subscription {
    let name = format!("number {n}").into();
    Subscription { name, ..samples::subscription(u128::from(n) + 1) }
}

/// Seats are spread over subscriptions, so that no list of holders grows long.
fn seat_of(n: u64) -> SubscriptionId {
    subscription(n / 500).id
}

fn licences(generation: u64) -> UserLicences {
    UserLicences::new([Licence {
        sku: SkuId::from_uuid(Uuid::from_u128(u128::from(generation) + 1)),
        assigned: true,
        disabled_plans: Vec::new(),
        paths: Vec::new(),
    }])
}

/// What the parent says in the environment.
pub(super) struct Orders {
    /// The store's folder.
    pub(super) store: PathBuf,
    /// Whether to open it with the guard.
    pub(super) guard: Guard,
    /// What was acknowledged so far, a line each.
    pub(super) acknowledged: PathBuf,
    /// Whether to write, or only to look.
    pub(super) write: bool,
}

/// Looks, says what it saw as `verdict …`, and writes if told to, until it is killed.
pub(super) fn work(orders: &Orders) {
    let options =
        StoreOptions { guard: orders.guard, reserve: Some(0), ..StoreOptions::new(&orders.store) };
    // libtest has begun a line.
    println!();
    let (store, opened) = match Store::open(options, Timestamp::now()) {
        Ok(found) => found,
        Err(error) => return println!("verdict unreadable: {error}"),
    };
    let acknowledged = std::fs::read_to_string(&orders.acknowledged).unwrap_or_default();
    match look(&store, &opened, &acknowledged) {
        Ok(()) => println!("verdict ok"),
        Err(why) => return println!("verdict lost: {why}"),
    }
    if orders.write {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(write(store));
    }
}

/// The generation that the cursor names.
fn cursor(store: &Store) -> u64 {
    let mirror = store.mirror();
    let state = mirror.source(SourceKey::directory(tenant()));
    state.and_then(|it| it.cursor.as_deref()).map_or(0, |it| it.parse().unwrap())
}

fn look(store: &Store, opened: &Opened, acknowledged: &str) -> Result<(), String> {
    if let Opened::Rebuilt { why, .. } = opened {
        return Err(format!("it was rebuilt: {why}"));
    }
    let mirror = store.mirror();
    let generation = cursor(store);
    let changes = store.changes(&ChangeFilter::default()).map_err(|error| error.to_string())?;
    let mut journal: BTreeMap<(String, Option<UserId>), usize> = BTreeMap::new();
    for it in changes {
        *journal.entry((it.id.to_string(), it.user)).or_default() += 1;
    }
    let mut missing = Vec::new();
    for line in acknowledged.lines() {
        let (word, n) = line.split_once(' ').unwrap();
        let n: u64 = n.parse().unwrap();
        let there = match word {
            "seat" => {
                let id = seat_of(n);
                let held = mirror.holders(id).and_then(|it| it.seat(tenant(), user(n))).is_some();
                held && journal.contains_key(&(id.to_string(), Some(user(n))))
            }
            "subscription" => {
                let id = subscription(n).id;
                let raw = store.raw_subscription(id).map_err(|error| error.to_string())?;
                let said = raw.as_deref() == Some(format!("{{\"n\": {n}}}").as_str());
                let named = mirror.subscription(id).is_some_and(|it| **it == subscription(n));
                said && named && journal.contains_key(&(id.to_string(), None))
            }
            "generation" => generation >= n,
            other => panic!("{other}"),
        };
        if !there {
            missing.push(line);
        }
    }
    if let Some(first) = missing.first() {
        return Err(format!("{} writes, `{first}` first", missing.len()));
    }
    // One commit replaced all users and moved the cursor.
    let users = mirror.tenant(tenant()).map(|it| it.users.clone()).unwrap_or_default();
    let other = users.iter().find(|(_, it)| *it != licences(generation));
    let many = if generation == 0 { 0 } else { usize::try_from(USERS).unwrap() };
    if let Some((user, it)) = other {
        return Err(format!("half a replace: {user} has {it:?} at cursor {generation}"));
    }
    if users.len() == many { Ok(()) } else { Err(format!("{} users of {many}", users.len())) }
}

async fn write(store: Store) {
    let mirror = store.snapshot();
    let seats = mirror.all_holders().map(|(_, it)| it.iter().count() as u64).sum::<u64>();
    // Some numbers may have been taken and not acknowledged: they are simply taken again.
    let seat = Arc::new(AtomicU64::new(seats.saturating_sub(ASKERS as u64)));
    let first = mirror.subscription_count() as u64;
    drop(mirror);
    let askers = (0..ASKERS).map(|_| ask_for_seats(&store, &seat));
    futures_util::future::join(futures_util::future::join_all(askers), sync(&store, first)).await;
}

async fn ask_for_seats(store: &Store, seat: &AtomicU64) {
    loop {
        let n = seat.fetch_add(1, Ordering::Relaxed);
        let request = SeatRequest {
            subscription: seat_of(n),
            tenant: tenant(),
            user: user(n),
            quantity: Some(u64::MAX),
            release_after: SignedDuration::from_hours(24),
            now: Timestamp::now(),
            cause: Cause::Activation,
        };
        assert_eq!(store.take_seat(request).await.unwrap(), SeatOutcome::Holds);
        println!("seat {n}");
    }
}

async fn sync(store: &Store, first: u64) {
    for n in first.. {
        let it = subscription(n);
        let change = Change::of_subscription(Timestamp::now(), Cause::Command, None, &it);
        let raw = RawRecord::from(format!("{{\"n\": {n}}}"));
        let commit =
            Commit { subscriptions: vec![(it, raw)], changes: vec![change], ..Commit::default() };
        store.commit(commit).await.unwrap();
        println!("subscription {n}");
        if n % 60 == 20 {
            let generation = cursor(store) + 1;
            store.commit(everyone(generation)).await.unwrap();
            println!("generation {generation}");
        }
    }
}

fn everyone(generation: u64) -> Commit {
    let users = UserTable::new((0..USERS).map(|n| (user(n), licences(generation))));
    let state =
        SourceState { cursor: Some(generation.to_string().into()), ..SourceState::default() };
    Commit {
        users: vec![TenantUsers { tenant: tenant(), writes: UserWrites::Replace(users) }],
        sources: vec![(SourceKey::directory(tenant()), state)],
        ..Commit::default()
    }
}

/// Whether the folder holds a store at all.
pub(super) fn is_store(path: &Path) -> bool {
    path.join("format").exists()
}
