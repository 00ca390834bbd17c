//! From Microsoft's answers to the mirror, through the whole daemon.

use std::collections::BTreeSet;

use entitled::domain::{Consent, Outcome, Run, TenantId, UserId};
use entitled::sandbox::{Fault, Faults, NewUser, Options, story};
use entitled::store::ChangeFilter;
use entitled::sync::RunRequest;
use jiff::SignedDuration;
use proptest::test_runner::{Config as Cases, TestRunner};
use uuid::Uuid;

use crate::world::World;

const SYNOPTIC: &str = "synoptic-panel";

fn tenant(id: Uuid) -> TenantId {
    id.to_string().parse().unwrap()
}

fn outcome_of(runs: &[Run], id: Uuid) -> Outcome {
    runs.iter().find(|it| it.key.tenant == Some(tenant(id))).unwrap().outcome
}

/// A seat, to be compared: who, which SKU, held or not, by which groups.
pub type Compared = BTreeSet<(String, String, bool, Vec<String>)>;

/// The mirror's seats of a tenant equal Microsoft's.
fn assert_converged(world: &World, id: Uuid) {
    let (mirrored, truth) = seats(world, id);
    assert_eq!(mirrored, truth);
}

/// The seats of a tenant that the mirror has, and those that are there.
pub fn seats(world: &World, id: Uuid) -> (Compared, Compared) {
    let mirror = world.mirror();
    let view = mirror.tenant(tenant(id)).unwrap();
    let mirrored: Compared = view
        .users
        .iter()
        .flat_map(|(user, it)| it.licences.into_iter().map(move |licence| (user, licence)))
        .map(|(user, it)| {
            let mut groups: Vec<_> = it.paths.iter().map(|path| path.via.to_string()).collect();
            groups.sort();
            let held = it.holds(entitled::domain::SkuMatch::Sku);
            (user.to_string(), it.sku.to_string(), held, groups)
        })
        .collect();
    let ours: BTreeSet<_> = view.skus.iter().map(|it| it.id.to_string()).collect();
    let truth: Compared = world
        .microsoft(|it| it.seats(id))
        .into_iter()
        .map(|it| {
            let name = |path: Option<Uuid>| path.map_or("direct".into(), |it| it.to_string());
            let mut groups: Vec<String> = it.paths.into_iter().map(name).collect();
            groups.sort();
            (it.user.to_string(), it.sku.to_string(), it.held, groups)
        })
        .filter(|it| ours.contains(&it.1))
        .collect();
    (mirrored, truth)
}

#[tokio::test]
async fn every_customer_of_the_story_gets_the_answer_that_the_contract_says() {
    let world = World::new().await;
    world.sync().await;
    let expected = [
        (story::ANA, SYNOPTIC, "active seat_direct"),
        (story::BEN, SYNOPTIC, "active seat_by_group"),
        (story::CLEO, SYNOPTIC, "unlicensed seat_in_error"),
        (story::DAN, SYNOPTIC, "unlicensed not_licensed"),
        (story::EVA, SYNOPTIC, "active seat_direct"),
        (story::FINN, SYNOPTIC, "unlicensed seat_switched_off"),
        (story::GIL, SYNOPTIC, "grace seat_grace"),
        (story::HANA, SYNOPTIC, "suspended seat_suspended"),
        (story::LENA, "calendar-pro", "suspended seat_suspended"),
        (story::IVO, "field-app", "active seat_direct"),
        (story::JO, SYNOPTIC, "unlicensed not_licensed"),
        (story::KAI, SYNOPTIC, "unknown no_consent"),
        (story::MIA, "viz-suite", "active subscription_active"),
        (story::NOA, "viz-suite", "trial subscription_trial"),
        (story::OLI, "viz-suite", "pending subscription_pending"),
        (story::PIA, "viz-suite", "suspended subscription_suspended"),
        (story::QUIN, "viz-suite", "expired subscription_ended"),
    ];
    for (person, product, answer) in expected {
        assert_eq!(world.answer(person, product).await, answer, "{}", person.name);
    }
}

#[tokio::test]
async fn a_second_sync_changes_nothing() {
    let world = World::new().await;
    world.sync().await;
    let before = world.daemon.store.changes(&ChangeFilter::default()).unwrap().len();
    for run in world.sync().await {
        assert_eq!((run.added, run.changed, run.removed), (0, 0, 0), "{run:?}");
    }
    for run in world.sync_by(RunRequest { full: true, ..RunRequest::default() }).await {
        assert_eq!((run.added, run.changed, run.removed), (0, 0, 0), "{run:?}");
        assert!(run.full || run.outcome == Outcome::Failed, "{run:?}");
    }
    assert_eq!(world.daemon.store.changes(&ChangeFilter::default()).unwrap().len(), before);
}

#[tokio::test]
async fn a_change_in_the_tenant_changes_the_answer_and_the_journal_says_which_run_saw_it() {
    let world = World::new().await;
    world.sync().await;
    let (contoso, dan) = (story::CONTOSO.tenant, story::DAN);
    world.microsoft(|it| it.assign(contoso, dan.user, story::SYNOPTIC_SKU, &[])).unwrap();
    let run = world.sync_tenant(contoso).await;
    assert_eq!((run.full, run.added, run.outcome), (false, 1, Outcome::Complete), "{run:?}");
    assert_eq!(world.answer(dan, SYNOPTIC).await, "active seat_direct");

    world.microsoft(|it| it.unassign(contoso, dan.user, story::SYNOPTIC_SKU)).unwrap();
    let gone = world.sync_tenant(contoso).await;
    assert_eq!(gone.removed, 1, "{gone:?}");
    assert_eq!(world.answer(dan, SYNOPTIC).await, "unlicensed not_licensed");

    let user: UserId = dan.user.to_string().parse().unwrap();
    let filter = ChangeFilter { user: Some(user), ..ChangeFilter::default() };
    let changes = world.daemon.store.changes(&filter).unwrap();
    let told: Vec<_> = changes
        .iter()
        .map(|it| (it.cause.to_string(), it.before.is_some(), it.after.is_some()))
        .collect();
    assert_eq!(
        told,
        [(format!("run {}", run.id), false, true), (format!("run {}", gone.id), true, false)]
    );
}

#[tokio::test]
async fn a_read_that_fails_removes_nothing_and_the_answers_go_on() {
    let world = World::new().await;
    world.sync().await;
    world.microsoft(|it| it.outage(true));
    for run in world.sync().await {
        assert_eq!(run.outcome, Outcome::Failed);
        assert!(run.error.is_some());
    }
    assert_eq!(world.answer(story::BEN, SYNOPTIC).await, "active seat_by_group");
    assert_eq!(world.answer(story::MIA, "viz-suite").await, "active subscription_active");

    world.advance(SignedDuration::from_hours(2));
    assert_eq!(world.answer(story::BEN, SYNOPTIC).await, "active seat_by_group stale");
    world.advance(SignedDuration::from_hours(80));
    assert_eq!(world.answer(story::BEN, SYNOPTIC).await, "grace stale stale");
    assert_eq!(world.answer(story::DAN, SYNOPTIC).await, "unknown stale stale");
    assert_eq!(world.answer(story::QUIN, "viz-suite").await, "expired subscription_ended stale");
}

#[tokio::test]
async fn with_on_stale_deny_an_old_right_is_unknown() {
    let world = World::with(Options::default(), "\n[policy]\non_stale = \"deny\"\n").await;
    world.sync().await;
    world.microsoft(|it| it.outage(true));
    world.advance(SignedDuration::from_hours(80));
    assert_eq!(world.answer(story::BEN, SYNOPTIC).await, "unknown stale stale");
}

#[tokio::test]
async fn answers_go_on_after_a_restart_while_microsoft_is_down() {
    let mut world = World::new().await;
    world.sync().await;
    assert_eq!(world.answer(story::BEN, SYNOPTIC).await, "active seat_by_group");
    world.microsoft(|it| it.outage(true));
    world.restart().await;
    assert_eq!(world.answer(story::BEN, SYNOPTIC).await, "active seat_by_group");
    assert_eq!(world.answer(story::KAI, SYNOPTIC).await, "unknown no_consent");
    assert_eq!(world.ops("/readyz").await.0, 200);
}

#[tokio::test]
async fn nothing_is_unlicensed_before_it_was_read() {
    let world = World::new().await;
    world.microsoft(|it| it.outage(true));
    world.sync().await;
    let question = serde_json::json!({
        "product": "viz-suite", "host": "web",
        "tenant": story::MIA.tenant.to_string(), "user": story::MIA.user.to_string(),
    });
    // Entra's keys cannot be had either, so a server asks.
    let (status, answer) =
        world.post("/v1/entitlements", crate::world::CALLER_KEY, &question).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!((&answer["state"], &answer["reason"]), (&"unknown".into(), &"never_read".into()));
}

#[tokio::test]
async fn consent_that_is_taken_back_leaves_what_was_known_until_it_is_too_old() {
    let world = World::new().await;
    world.sync().await;
    let contoso = story::CONTOSO.tenant;
    world.microsoft(|it| it.consent(contoso, None)).unwrap();
    world.advance(SignedDuration::from_hours(2));
    let run = world.sync_tenant(contoso).await;
    assert_eq!(run.outcome, Outcome::Failed);
    let consent = |world: &World| world.mirror().tenant(tenant(contoso)).unwrap().tenant.consent;
    assert_eq!(consent(&world), Consent::Revoked);
    assert_eq!(world.answer(story::BEN, SYNOPTIC).await, "active seat_by_group stale");
    assert_eq!(world.answer(story::DAN, SYNOPTIC).await, "unknown no_consent stale");

    let roles = story::ROLES.iter().map(|it| (*it).to_owned()).collect();
    world.microsoft(|it| it.consent(contoso, Some(roles))).unwrap();
    world.sync_tenant(contoso).await;
    assert_eq!(consent(&world), Consent::Granted);
    assert_eq!(world.answer(story::DAN, SYNOPTIC).await, "unlicensed not_licensed");
}

#[tokio::test]
async fn a_customer_who_consents_later_is_read_then() {
    let world = World::new().await;
    let runs = world.sync().await;
    let litware = story::LITWARE.tenant;
    assert_eq!(outcome_of(&runs, litware), Outcome::Failed);
    assert_eq!(world.mirror().tenant(tenant(litware)).unwrap().tenant.consent, Consent::Missing);
    let roles = story::ROLES.iter().map(|it| (*it).to_owned()).collect();
    world.microsoft(|it| it.consent(litware, Some(roles))).unwrap();
    assert_eq!(world.sync_tenant(litware).await.outcome, Outcome::Complete);
    assert_eq!(world.answer(story::KAI, SYNOPTIC).await, "unlicensed not_licensed");
}

#[tokio::test]
async fn a_cursor_that_microsoft_no_longer_takes_means_a_full_read_in_the_same_run() {
    let world = World::new().await;
    world.sync().await;
    let contoso = story::CONTOSO.tenant;
    for fault in [Fault::Delta410, Fault::DeltaSyncStateNotFound] {
        world.microsoft(|it| it.set_faults(Faults::default().with(fault, 1.0)));
        world
            .microsoft(|it| it.assign(contoso, story::DAN.user, story::SYNOPTIC_SKU, &[]))
            .unwrap();
        let run = world.sync_tenant(contoso).await;
        assert_eq!((run.outcome, run.full), (Outcome::Complete, true), "{fault:?} {run:?}");
        assert_eq!(world.answer(story::DAN, SYNOPTIC).await, "active seat_direct");
        world.microsoft(|it| it.set_faults(Faults::default()));
        world.microsoft(|it| it.unassign(contoso, story::DAN.user, story::SYNOPTIC_SKU)).unwrap();
        world.sync_tenant(contoso).await;
        assert_eq!(world.answer(story::DAN, SYNOPTIC).await, "unlicensed not_licensed");
    }
}

#[tokio::test]
async fn throttling_is_waited_out_and_counted() {
    let world = World::new().await;
    world.microsoft(|it| it.set_faults(Faults::default().with(Fault::Graph429, 0.4)));
    let runs = world.sync().await;
    assert_eq!(outcome_of(&runs, story::CONTOSO.tenant), Outcome::Complete);
    let throttled: i64 = runs.iter().map(|it| it.throttled.as_secs()).sum();
    assert!(throttled > 0 && world.slept().as_secs() > 0, "{throttled} {:?}", world.slept());
    assert_eq!(world.answer(story::BEN, SYNOPTIC).await, "active seat_by_group");
}

#[tokio::test]
async fn a_lapsing_sku_changes_the_answers_of_all_who_hold_it() {
    let world = World::new().await;
    world.sync().await;
    for (status, answer) in [
        ("Warning", "grace seat_grace"),
        ("Suspended", "suspended seat_suspended"),
        ("LockedOut", "suspended seat_suspended"),
        ("Enabled", "active seat_direct"),
    ] {
        let contoso = story::CONTOSO.tenant;
        world.microsoft(|it| it.sku_status(contoso, story::SYNOPTIC_SKU, status)).unwrap();
        world.sync_tenant(contoso).await;
        assert_eq!(world.answer(story::ANA, SYNOPTIC).await, answer, "{status}");
    }
}

#[tokio::test]
async fn a_full_read_that_misses_most_of_a_tenant_is_held_until_a_second_one_agrees() {
    let trusting = "[sync.directory]\ntrust_for = \"30d\"\n";
    let world = World::with(Options::default(), trusting).await;
    let contoso = story::CONTOSO.tenant;
    let mut users = Vec::new();
    for _ in 0..40 {
        let user = world.microsoft(|it| it.add_user(contoso, NewUser::default())).unwrap();
        world.microsoft(|it| it.assign(contoso, user, story::SYNOPTIC_SKU, &[])).unwrap();
        users.push(user);
    }
    world.sync().await;
    let held = |world: &World| world.mirror().tenant(tenant(contoso)).unwrap().users.len();
    let before = held(&world);
    for user in &users {
        world.microsoft(|it| it.purge_user(contoso, *user)).unwrap();
    }
    // The cursor is too old to tell: only the enumeration shows that they are gone.
    world.advance(SignedDuration::from_hours(8 * 24));
    let run = world.sync_tenant(contoso).await;
    assert_eq!((run.outcome, run.removed), (Outcome::Partial, 0), "{run:?}");
    assert!(run.error.as_deref().unwrap_or_default().contains("held back"), "{run:?}");
    assert_eq!(held(&world), before);
    // Who is not missing is told nothing; who is, that his licence is waited for.
    assert_ne!(world.ask(story::ANA, SYNOPTIC, "web").await["notice"]["reason"], "held_back");
    let mirror = world.mirror();
    let back = mirror.tenant(tenant(contoso)).unwrap().held.clone().unwrap();
    assert_eq!(back.run, run.id);
    let gone = story::Person { tenant: contoso, user: users[0], ..story::ANA };
    let answer = world.ask(gone, SYNOPTIC, "web").await;
    assert_eq!(answer["state"], "active");
    assert_eq!(answer["notice"]["reason"], "held_back", "{answer}");
    let run = world.sync_tenant(contoso).await;
    assert_eq!((run.outcome, run.removed), (Outcome::Complete, 40), "{run:?}");
    assert_eq!(held(&world), before - 40);
    assert_converged(&world, contoso);
}

#[tokio::test]
async fn who_is_there_and_not_found_by_name_keeps_what_he_has_and_soon_all_are_read() {
    let world = World::new().await;
    world.sync().await;
    let contoso = story::CONTOSO.tenant;
    let (before, _) = seats(&world, contoso);
    // Delta tells of both, without the ways: they are asked for by name.
    world.microsoft(|it| {
        it.unassign(contoso, story::ANA.user, story::CALENDAR_SKU).unwrap();
        it.assign(contoso, story::DAN.user, story::SYNOPTIC_SKU, &[]).unwrap();
        it.set_faults(Faults::default().with(Fault::User404, 1.0));
    });
    world.advance(SignedDuration::from_mins(10));
    assert_eq!(world.sync_tenant(contoso).await.outcome, Outcome::Complete);
    assert_eq!(seats(&world, contoso).0, before, "nobody said that Ana is gone");
    let (_, truth) = seats(&world, contoso);
    assert_ne!(before, truth);
    world.microsoft(|it| it.set_faults(Faults::default()));
    world.advance(SignedDuration::from_mins(61));
    let full = |world: &World| world.mirror().tenant(tenant(contoso)).unwrap().directory.last_full;
    let last = full(&world);
    world.sync_tenant(contoso).await;
    assert_ne!(full(&world), last, "a sweep was due");
    assert_converged(&world, contoso);
}

#[tokio::test]
async fn when_a_sku_moves_on_is_known_until_then_though_it_cannot_be_read_again() {
    let world = World::new().await;
    let (contoso, at) = (story::CONTOSO.tenant, world.now() + SignedDuration::from_hours(5));
    world.microsoft(|it| it.sku_lifecycle(contoso, story::SYNOPTIC_SKU, at)).unwrap();
    world.sync().await;
    let ends = async || world.ask(story::ANA, SYNOPTIC, "web").await["period_end"].clone();
    assert_eq!(ends().await, at.to_string());
    // What a purchase's dates are read with is taken back.
    let roles = ["User.Read.All", "LicenseAssignment.Read.All"].map(str::to_owned).to_vec();
    world.microsoft(|it| it.consent(contoso, Some(roles))).unwrap();
    world.advance(SignedDuration::from_hours(2));
    assert_eq!(world.sync_tenant(contoso).await.outcome, Outcome::Complete);
    assert_eq!(ends().await, at.to_string());
    world.advance(SignedDuration::from_hours(4));
    assert_eq!(world.sync_tenant(contoso).await.outcome, Outcome::Complete);
    assert!(ends().await.is_null());
}

#[tokio::test]
async fn three_seats_are_for_the_first_three_and_for_others_once_they_are_free() {
    let world = World::new().await;
    world.sync().await;
    for person in [story::WIM, story::XIA, story::YAN, story::WIM] {
        assert_eq!(world.answer(person, "viz-suite").await, "active subscription_active");
        world.advance(SignedDuration::from_mins(1));
    }
    assert_eq!(world.answer(story::ZOE, "viz-suite").await, "unlicensed no_free_seat");
    world.advance(SignedDuration::from_hours(31 * 24));
    world.sync().await;
    assert_eq!(world.answer(story::ZOE, "viz-suite").await, "active subscription_active");
}

#[tokio::test]
async fn nobody_is_entitled_by_a_purchase_of_a_personal_account() {
    let world = World::new().await;
    world.sync().await;
    let question = serde_json::json!({
        "product": "viz-suite", "host": "web",
        "tenant": story::PERSONAL_TENANT.to_string(), "user": story::PAT.user.to_string(),
    });
    let (status, answer) =
        world.post("/v1/entitlements", crate::world::CALLER_KEY, &question).await;
    assert_eq!((status, &answer["usable"]), (200, &false.into()), "{answer}");
}

/// The law of the mirror: whatever happens, with whatever faults, once Microsoft is quiet and the
/// faults stop, the mirror equals it.
#[test]
fn the_mirror_converges_to_microsoft() {
    let cases = if std::env::var_os("CI").is_some() { 24 } else { 12 };
    let mut runner =
        TestRunner::new(Cases { cases, failure_persistence: None, ..Cases::default() });
    let steps = proptest::collection::vec((0_u8..9, 0_usize..8, 0_usize..2), 1..24);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runner
        .run(&(proptest::num::u64::ANY, steps), |(seed, steps)| {
            runtime.block_on(history(seed, &steps));
            Ok(())
        })
        .unwrap();
}

async fn history(seed: u64, steps: &[(u8, usize, usize)]) {
    let world = World::new().await;
    let contoso = story::CONTOSO.tenant;
    let skus = [story::SYNOPTIC_SKU, story::E5_SKU];
    let mut faults = Faults::default();
    faults.seed = seed;
    for fault in [
        Fault::Graph429,
        Fault::Graph503Html,
        Fault::GraphTruncated,
        Fault::GraphEmptyPage,
        Fault::GraphDuplicates,
        Fault::Batch429,
        Fault::Delta410,
        Fault::GraphExpiredPage,
        Fault::DeltaSyncStateNotFound,
        Fault::Token503,
    ] {
        faults = faults.with(fault, 0.1);
    }
    world.microsoft(|it| it.set_faults(faults));
    for (step, who, what) in steps {
        let users = world.microsoft(|it| it.users(contoso));
        // Somebody is always there to be changed, or is hired.
        let hire = |it: &mut entitled::sandbox::World| it.add_user(contoso, NewUser::default());
        let user = match users.len() {
            0 => world.microsoft(hire).unwrap(),
            some => users[who % some],
        };
        let sku = skus[*what];
        // What Microsoft refuses (no such assignment, no units left) is a step that does nothing.
        let done = world.microsoft(|it| match step {
            0 => it.assign(contoso, user, sku, &[]),
            1 => it.unassign(contoso, user, sku),
            2 => it.add_member(contoso, story::BI_USERS, user),
            3 => it.remove_member(contoso, story::BI_USERS, user),
            4 => it.delete_user(contoso, user),
            5 => it.restore_user(contoso, user),
            6 => it.add_user(contoso, NewUser::default()).map(drop),
            7 => it.purge_user(contoso, user),
            _ => Ok(()),
        });
        drop(done);
        if *step == 8 {
            world.advance(SignedDuration::from_hours(i64::try_from(*who).unwrap() * 30));
            world.sync_tenant(contoso).await;
        }
    }
    world.microsoft(|it| it.set_faults(Faults::default()));
    world.advance(SignedDuration::from_hours(1));
    // Quiet now: a delta round, and the brake may ask for one more complete read.
    for full in [false, true, true] {
        let request = RunRequest { tenant: Some(tenant(contoso)), full, ..RunRequest::default() };
        world.sync_by(request).await;
    }
    assert_converged(&world, contoso);
}
