//! The brake: what a full read no longer shows of a tenant waits for a second one, or for an
//! operator.

use entitled::domain::{Entity, Fact, HeldBack, Outcome, TenantId};
use entitled::sandbox::{NewUser, Options, story};
use entitled::store::ChangeFilter;
use jiff::SignedDuration;
use uuid::Uuid;

use crate::cli::with;
use crate::world::World;

const CONTOSO: Uuid = story::CONTOSO.tenant;

fn contoso() -> TenantId {
    CONTOSO.to_string().parse().unwrap()
}

fn users(world: &World) -> usize {
    world.mirror().tenant(contoso()).unwrap().users.len()
}

fn held(world: &World) -> Option<HeldBack> {
    world.mirror().tenant(contoso()).unwrap().held.as_deref().cloned()
}

/// A world in which the brake holds the seats of forty users, who they are, and how many there are.
async fn braked() -> (World, Vec<Uuid>, usize) {
    let trusting = "[sync.directory]\ntrust_for = \"30d\"\n";
    let world = World::with(Options::default(), trusting).await;
    let mut all = Vec::new();
    for _ in 0..40 {
        let user = world.microsoft(|it| it.add_user(CONTOSO, NewUser::default())).unwrap();
        world.microsoft(|it| it.assign(CONTOSO, user, story::SYNOPTIC_SKU, &[])).unwrap();
        all.push(user);
    }
    world.sync().await;
    let before = users(&world);
    for user in &all {
        world.microsoft(|it| it.unassign(CONTOSO, *user, story::SYNOPTIC_SKU)).unwrap();
    }
    // The cursor is too old to tell: only an enumeration shows it.
    world.advance(SignedDuration::from_hours(8 * 24));
    assert_eq!(world.sync_tenant(CONTOSO).await.outcome, Outcome::Partial);
    assert_eq!((users(&world), held(&world).is_some()), (before, true));
    (world, all, before)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_lets_go_of_what_the_brake_holds_and_the_journal_says_who_did() {
    let (world, all, before) = braked().await;
    let config = world.config_path();
    let gone = story::Person { tenant: CONTOSO, user: all[0], ..story::ANA };
    let answer = world.ask(gone, "synoptic-panel", "web").await;
    assert_eq!(
        (&answer["state"], &answer["notice"]["reason"]),
        (&"active".into(), &"held_back".into())
    );
    let listed = with(&config, "tenants --json").await.ok().rows();
    let row = listed.iter().find(|it| it["id"] == CONTOSO.to_string()).unwrap();
    assert_eq!((&row["held"]["seats"], &row["held"]["of"]), (&40.into(), &(before as u64).into()));
    let (_, metrics) = world.ops("/metrics").await;
    assert!(metrics.contains("source_held_back{source=\"directory\"} 40"), "{metrics}");

    let line = format!("tenants release {CONTOSO} --json");
    let rows = with(&config, &line).await.ok().rows();
    assert_eq!(rows[0]["held"]["seats"], 40);
    assert_eq!((users(&world), held(&world)), (before - 40, None));
    assert_ne!(world.ask(gone, "synoptic-panel", "web").await["usable"], true);
    let journal = world.daemon.store.changes(&ChangeFilter::default()).unwrap();
    let note = journal.iter().find_map(|it| match (&it.entity, &it.after) {
        (Entity::Tenant, Some(Fact::Words(words))) => Some(words.to_string()),
        _ => None,
    });
    let note = note.unwrap();
    assert!(note.starts_with("released by user id "), "{note}");
    let again = with(&config, &line).await;
    assert_eq!(again.code, 1);
    assert!(again.err.contains("nothing to release"), "{}", again.err);
    let run = world.sync_tenant(CONTOSO).await;
    assert_eq!((run.outcome, run.removed), (Outcome::Complete, 0), "{run:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_sku_that_is_gone_the_seats_are_told_that_wait_and_that_go() {
    let world = World::with(Options::default(), "").await;
    for _ in 0..10 {
        let user = world.microsoft(|it| it.add_user(CONTOSO, NewUser::default())).unwrap();
        world.microsoft(|it| it.assign(CONTOSO, user, story::SYNOPTIC_SKU, &[])).unwrap();
    }
    world.sync().await;
    world.microsoft(|it| it.sku_remove(CONTOSO, story::SYNOPTIC_SKU)).unwrap();
    assert_eq!(world.sync_tenant(CONTOSO).await.outcome, Outcome::Partial);
    assert_eq!(world.answer(story::ANA, "synoptic-panel").await, "active seat_direct");
    let config = world.config_path();
    let listed = with(&config, "tenants --json").await.ok().rows();
    let row = listed.iter().find(|it| it["id"] == CONTOSO.to_string()).unwrap();
    let seats = row["held"]["seats"].as_u64().unwrap();
    assert!(seats >= 10, "{row}");
    let released = with(&config, &format!("tenants release {CONTOSO}")).await.ok().out;
    assert!(released.starts_with(&format!("released: {seats} seats that r")), "{released}");
    assert_eq!(world.answer(story::ANA, "synoptic-panel").await, "unlicensed not_licensed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_that_shows_the_seats_again_drops_what_was_held_without_a_trace() {
    let (world, all, before) = braked().await;
    for user in &all {
        world.microsoft(|it| it.assign(CONTOSO, *user, story::SYNOPTIC_SKU, &[])).unwrap();
    }
    let run = world.sync_tenant(CONTOSO).await;
    assert_eq!((run.outcome, run.removed), (Outcome::Complete, 0), "{run:?}");
    assert_eq!((users(&world), held(&world)), (before, None));
    let back = story::Person { tenant: CONTOSO, user: all[0], ..story::ANA };
    assert!(world.ask(back, "synoptic-panel", "web").await["notice"].is_null());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neither_a_restart_nor_a_failed_read_confirms_what_is_held() {
    let (mut world, _, before) = braked().await;
    let first = held(&world).unwrap();
    world.microsoft(|it| it.consent(CONTOSO, None)).unwrap();
    world.advance(SignedDuration::from_hours(2));
    world.restart().await;
    assert_eq!(world.sync_tenant(CONTOSO).await.outcome, Outcome::Failed);
    assert_eq!((users(&world), held(&world)), (before, Some(first)));
    let all = Some(story::ROLES.iter().map(ToString::to_string).collect());
    world.microsoft(|it| it.consent(CONTOSO, all)).unwrap();
    let run = world.sync_tenant(CONTOSO).await;
    assert_eq!((run.outcome, run.removed), (Outcome::Complete, 40), "{run:?}");
    assert_eq!((users(&world), held(&world)), (before - 40, None));
}
