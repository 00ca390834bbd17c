//! Usage rights in a tenant whose directory does not show the publisher's licences, and what its
//! plans turn out to be called.

use std::time::Duration;

use entitled::domain::{Mirror, Outcome};
use entitled::sandbox::{Faults, NewUser, Shown, SkuUnits, story};
use jiff::SignedDuration;
use serde_json::{Value, json};
use uuid::{Uuid, uuid};

use crate::world::{CALLER_KEY, World};

const SYNOPTIC: &str = "synoptic-panel";
const TENANT: Uuid = uuid!("a1000000-0000-4000-8000-0000000000ee");
const ROLES: [&str; 3] = ["User.Read.All", "LicenseAssignment.Read.All", "Organization.Read.All"];

const ONE: Uuid = uuid!("b1000000-0000-4000-8000-0000000000e1");
const TWO: Uuid = uuid!("b1000000-0000-4000-8000-0000000000e2");
/// Has no licence of ours.
const NOBODY: Uuid = uuid!("b1000000-0000-4000-8000-0000000000e3");

/// A customer with two licensed users and one without, shown so, and completely read.
async fn customer(shown: Shown) -> World {
    let mut world = World::new().await;
    world.microsoft(|it| {
        it.add_tenant(TENANT, "Hidden", Some(&ROLES));
        let units = SkuUnits { enabled: 5, ..SkuUnits::default() };
        it.sku_units(TENANT, story::SYNOPTIC_SKU, units).unwrap();
        it.sku_shown(TENANT, story::SYNOPTIC_SKU, shown).unwrap();
        it.sku_units(TENANT, story::E5_SKU, units).unwrap();
        for user in [ONE, TWO, NOBODY] {
            it.add_user(TENANT, NewUser { id: Some(user), ..NewUser::default() }).unwrap();
            it.assign(TENANT, user, story::E5_SKU, &[]).unwrap();
        }
        it.assign(TENANT, ONE, story::SYNOPTIC_SKU, &[]).unwrap();
        it.assign(TENANT, TWO, story::SYNOPTIC_SKU, &[]).unwrap();
    });
    world.reconfigure(&format!("[[tenant]]\nid = \"{TENANT}\"\n")).await;
    world.sync_tenant(TENANT).await;
    world
}

/// State, reason and proof of an answer to a server.
async fn ask(world: &World, user: Uuid) -> String {
    words(&asked(world, user).await)
}

/// An answer to a server.
async fn asked(world: &World, user: Uuid) -> Value {
    let body = json!({ "product": SYNOPTIC, "host": "web", "tenant": TENANT, "user": user });
    let (status, answer) = world.post("/v1/entitlements", CALLER_KEY, &body).await;
    assert_eq!(status, 200, "{answer}");
    answer
}

fn words(answer: &Value) -> String {
    let text = |field: &str| answer[field].as_str().unwrap_or("-").to_owned();
    format!("{} {} {}", text("state"), text("reason"), text("proof"))
}

/// Waits for what a look-up, which nobody waits for, brings.
async fn until(world: &World, what: &str, is_so: impl Fn(&Mirror) -> bool) {
    let mut revisions = world.daemon.store.revisions();
    let so = async {
        while !is_so(&world.mirror()) {
            revisions.changed().await.unwrap();
        }
    };
    let done = tokio::time::timeout(Duration::from_secs(30), so).await;
    assert!(done.is_ok(), "never came: {what}");
}

fn rights(mirror: &Mirror) -> usize {
    let tenant = TENANT.to_string().parse().unwrap();
    mirror.tenant(tenant).map_or(0, |it| it.rights.holders())
}

fn remembered(mirror: &Mirror) -> usize {
    let tenant = TENANT.to_string().parse().unwrap();
    mirror.tenant(tenant).map_or(0, |it| it.rights.len())
}

fn is_proven(mirror: &Mirror) -> bool {
    let tenant = TENANT.to_string().parse().unwrap();
    mirror.tenant(tenant).is_some_and(|it| it.rights_source.proven.is_some())
}

fn is_refused(mirror: &Mirror) -> bool {
    let tenant = TENANT.to_string().parse().unwrap();
    mirror.tenant(tenant).is_some_and(|it| it.rights_source.refused.is_some())
}

/// Both licensed users were refused, looked up, and have their rights.
async fn both_have_rights(shown: Shown) -> World {
    let world = customer(shown).await;
    // Nothing says yet that there is anything to be read; once one has a right, it does.
    assert_eq!(ask(&world, ONE).await, NO);
    until(&world, "the first look-up", |it| rights(it) == 1).await;
    assert_eq!(ask(&world, TWO).await, UNREAD);
    until(&world, "the look-ups", |it| rights(it) == 2).await;
    world
}

/// Half an hour later, after a run over the directory.
async fn later(world: &World) {
    world.advance(SignedDuration::from_mins(31));
    world.sync_tenant(TENANT).await;
}

async fn cli(world: &World, args: &[&str]) -> Vec<Value> {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_entitled"));
    command.args(args).arg("--json").arg("--config").arg(world.config_path()).env_clear();
    let output = command.output().await.unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{args:?}: {error}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|it| serde_json::from_str(it).unwrap()).collect()
}

const NO: &str = "unlicensed not_licensed -";
const UNREAD: &str = "unknown rights_unread -";
const YES: &str = "active seat_path_unknown usage_right";

#[tokio::test]
async fn a_licence_that_only_usage_rights_show_turns_the_no_into_a_yes() {
    let world = both_have_rights(Shown::ByRights).await;
    assert_eq!(ask(&world, ONE).await, YES);
    // Not read yet is no "no"; once he was read, it is.
    assert_eq!(ask(&world, NOBODY).await, UNREAD);
    until(&world, "the look-up of the third", |it| remembered(it) == 3).await;
    assert_eq!(ask(&world, NOBODY).await, NO);
    let log = cli(&world, &["changes", "--user", &ONE.to_string()]).await;
    assert_eq!(log[0]["entity"], "usage_right", "{log:?}");
    assert_eq!(log[0]["after"]["usage_rights"][0]["state"], "active");

    // Taken away from one of them: the other shows that we still see.
    world.microsoft(|it| it.unassign(TENANT, ONE, story::SYNOPTIC_SKU).unwrap());
    later(&world).await;
    assert_eq!(ask(&world, ONE).await, NO);
    assert_eq!(ask(&world, TWO).await, YES);
    world.microsoft(|it| it.sku_status(TENANT, story::SYNOPTIC_SKU, "Warning").unwrap());
    later(&world).await;
    assert_eq!(ask(&world, TWO).await, "grace seat_grace usage_right");
}

#[tokio::test]
async fn no_failed_read_takes_a_right_away_and_it_grows_old_instead() {
    let world = both_have_rights(Shown::ByRights).await;
    for faults in ["batch.503=1", "batch.429=1", "graph.truncated=1", "rights.403=1"] {
        world.microsoft(|it| it.set_faults(faults.parse::<Faults>().unwrap()));
        later(&world).await;
        assert_eq!(rights(&world.mirror()), 2, "{faults}");
    }
    assert!(is_refused(&world.mirror()));
    assert_eq!(ask(&world, ONE).await, YES);
    world.microsoft(|it| it.set_faults(Faults::default()));
    // Whoever asks is looked up, for his right has grown old; and then the tenant lets us again.
    world.advance(SignedDuration::from_hours(2));
    assert_eq!(ask(&world, ONE).await, YES);
    until(&world, "a new look", |it| !is_refused(it)).await;
}

#[tokio::test]
async fn an_empty_answer_of_a_foreign_app_is_believed_by_nobody() {
    let world = both_have_rights(Shown::ByRights).await;
    assert!(is_proven(&world.mirror()));
    // All of a sudden everybody comes empty: believed only at a second look.
    world.microsoft(|it| it.set_faults("rights.empty=1".parse::<Faults>().unwrap()));
    later(&world).await;
    assert_eq!(ask(&world, ONE).await, YES);
    world.microsoft(|it| it.set_faults(Faults::default()));
    later(&world).await;
    assert_eq!(ask(&world, TWO).await, YES, "it was there again");

    // An app that was never shown anything learns nothing from silence.
    let other = customer(Shown::ByRights).await;
    other.microsoft(|it| it.set_foreign_app(true));
    assert_eq!(ask(&other, ONE).await, NO);
    until(&other, "a look", |it| {
        let tenant = TENANT.to_string().parse().unwrap();
        it.tenant(tenant).is_some_and(|it| it.rights_source.read_at.is_some())
    })
    .await;
    assert!(!is_proven(&other.mirror()) && rights(&other.mirror()) == 0);
}

#[tokio::test]
async fn a_tenant_that_lets_us_read_its_users_only_shows_their_usage_rights() {
    let mut world = World::new().await;
    world.microsoft(|it| {
        it.add_tenant(TENANT, "Cautious", Some(&ROLES[..1]));
        let units = SkuUnits { enabled: 5, ..SkuUnits::default() };
        it.sku_units(TENANT, story::SYNOPTIC_SKU, units).unwrap();
        it.sku_shown(TENANT, story::SYNOPTIC_SKU, Shown::ByRights).unwrap();
        for user in [ONE, NOBODY] {
            it.add_user(TENANT, NewUser { id: Some(user), ..NewUser::default() }).unwrap();
        }
        it.assign(TENANT, ONE, story::SYNOPTIC_SKU, &[]).unwrap();
    });
    world.reconfigure(&format!("[[tenant]]\nid = \"{TENANT}\"\n")).await;
    assert_eq!(world.sync_tenant(TENANT).await.outcome, Outcome::Failed);
    assert_eq!(ask(&world, ONE).await, "unknown no_consent -");
    until(&world, "his right", |it| rights(it) == 1).await;
    assert_eq!(ask(&world, ONE).await, YES);
    // They are read again though the directory cannot be, and before they are old.
    let read_at = |world: &World| {
        let mirror = world.mirror();
        let rights = &mirror.tenant(TENANT.to_string().parse().unwrap()).unwrap().rights;
        rights.get(ONE.to_string().parse().unwrap()).unwrap().read_at
    };
    let before = read_at(&world);
    world.advance(SignedDuration::from_mins(31));
    assert_eq!(world.sync_tenant(TENANT).await.outcome, Outcome::Failed);
    assert!(read_at(&world) > before);
    // Nothing else was ever read: who shows no right is not known to have none.
    assert_eq!(ask(&world, NOBODY).await, "unknown no_consent -");
}

/// The one row that waits for an operator.
async fn proposal(world: &World, kind: &str) -> Value {
    let rows = cli(world, &["tenants", "learn", &TENANT.to_string()]).await;
    let mut found = rows.into_iter().filter(|it| it["kind"] == kind && it["state"] == "proposed");
    let row = found.next().unwrap_or_else(|| panic!("no {kind} is proposed"));
    assert_eq!(row["service_id"], story::SYNOPTIC_SERVICE_ID);
    row
}

async fn decide(world: &World, row: &Value, how: &str) -> Value {
    let id = row["mapping"].as_str().unwrap();
    cli(world, &["tenants", "learn", &TENANT.to_string(), how, id]).await.remove(0)
}

#[tokio::test]
async fn a_sku_under_a_code_name_is_proposed_and_counts_once_it_is_confirmed() {
    let world = both_have_rights(Shown::Coded).await;
    assert_eq!(ask(&world, ONE).await, YES);
    // Someone without tells the SKU from those that everybody has.
    world.advance(SignedDuration::from_hours(25));
    assert_eq!(ask(&world, NOBODY).await, UNREAD);
    let tenant = TENANT.to_string().parse().unwrap();
    until(&world, "a proposal", |it| it.tenant(tenant).is_some_and(|it| !it.mappings.is_empty()))
        .await;
    let row = proposal(&world, "sku").await;
    assert!(row["evidence"].as_str().unwrap().contains("held by 2 of 2"), "{row}");
    let status = cli(&world, &["status"]).await.remove(0);
    assert_eq!(status["usage_rights"]["proposed"], 1);
    let metrics = world.ops("/metrics").await.1;
    assert!(metrics.contains("entitled_mappings{state=\"proposed\"} 1"), "{metrics}");

    assert_eq!(decide(&world, &row, "--confirm").await["state"], "confirmed");
    world.sync_tenant(TENANT).await;
    assert_eq!(ask(&world, ONE).await, "active seat_direct seat");
    let changes = cli(&world, &["changes", "--tenant", &TENANT.to_string()]).await;
    assert!(changes.iter().any(|it| it["entity"] == "mapping" && it["cause"] == "command"));
    // The directory is the witness now.
    later(&world).await;
    assert_eq!(rights(&world.mirror()), 0);
    assert_eq!(ask(&world, TWO).await, "active seat_direct seat");

    // An operator may change his mind.
    assert_eq!(decide(&world, &row, "--reject").await["state"], "rejected");
    assert_eq!(ask(&world, TWO).await, NO);
}

#[tokio::test]
async fn a_right_under_guids_counts_once_it_is_confirmed_and_never_once_it_is_rejected() {
    let world = customer(Shown::ByOddRights).await;
    assert_eq!(ask(&world, ONE).await, NO);
    let tenant = TENANT.to_string().parse().unwrap();
    until(&world, "a proposal", |it| it.tenant(tenant).is_some_and(|it| !it.mappings.is_empty()))
        .await;
    assert!(!is_proven(&world.mirror()), "a right that is not known to be ours proves nothing");
    let row = proposal_of_synoptic(&world).await;
    assert_eq!(decide(&world, &row, "--reject").await["state"], "rejected");
    assert_eq!(ask(&world, ONE).await, NO);
    assert_eq!(decide(&world, &row, "--confirm").await["state"], "confirmed");
    assert_eq!(ask(&world, ONE).await, YES);
}

async fn proposal_of_synoptic(world: &World) -> Value {
    let rows = cli(world, &["tenants", "learn", &TENANT.to_string()]).await;
    let is =
        |it: &Value| it["kind"] == "usage_right" && it["service_id"] == story::SYNOPTIC_SERVICE_ID;
    rows.iter().find(|it| is(it)).unwrap_or_else(|| panic!("{rows:?}")).clone()
}

#[tokio::test]
async fn switched_off_nobody_asks_for_usage_rights() {
    let mut world = World::new().await;
    world.microsoft(|it| {
        it.add_tenant(TENANT, "Plain", Some(&ROLES));
        let units = SkuUnits { enabled: 5, ..SkuUnits::default() };
        it.sku_units(TENANT, story::SYNOPTIC_SKU, units).unwrap();
        it.add_user(TENANT, NewUser { id: Some(ONE), ..NewUser::default() }).unwrap();
    });
    world.reconfigure(&switched_off()).await;
    world.sync_tenant(TENANT).await;
    // A look-up that finds something shows that it was over.
    world.microsoft(|it| it.assign(TENANT, ONE, story::SYNOPTIC_SKU, &[]).unwrap());
    assert_eq!(ask(&world, ONE).await, NO);
    let id = TENANT.to_string().parse().unwrap();
    until(&world, "the look-up", |it| it.tenant(id).is_some_and(|it| !it.users.is_empty())).await;
    world.advance(SignedDuration::from_mins(2));
    assert_eq!(ask(&world, ONE).await, "active seat_direct seat");
    let asked = world.sandbox.requests();
    assert!(asked.iter().all(|it| !it.target.contains("/beta/")));
}

/// The directory's part of a configuration without usage rights.
fn switched_off() -> String {
    format!("[sync.directory]\nrights = \"off\"\n[[tenant]]\nid = \"{TENANT}\"\n")
}

#[tokio::test]
async fn switched_off_what_only_they_show_stays_unknown_and_nobody_is_looked_up_for_an_old_one() {
    let mut world = both_have_rights(Shown::ByRights).await;
    world.reconfigure(&switched_off()).await;
    let before = world.sandbox.requests().len();
    world.advance(SignedDuration::from_mins(59));
    world.sync_tenant(TENANT).await;
    world.advance(SignedDuration::from_mins(59));
    // It grows old, and no look-up could make it younger.
    let old = asked(&world, ONE).await;
    assert_eq!((words(&old).as_str(), &old["stale"]), (YES, &Value::Bool(true)));
    let wanted = |metrics: &str| metrics.contains("entitled_lookups_wanted_total{wish=");
    assert!(!wanted(&world.ops("/metrics").await.1));
    // A "no" is looked up as any other is, and says that nobody reads what would turn it.
    assert_eq!(ask(&world, NOBODY).await, "unknown rights_off -");
    assert!(wanted(&world.ops("/metrics").await.1));
    let status = cli(&world, &["status"]).await.remove(0);
    assert_eq!(status["usage_rights"]["switched_off"], true);
    assert_eq!(status["usage_rights"]["hidden"], 1);
    let asked = world.sandbox.requests().split_off(before);
    assert!(asked.iter().all(|it| !it.target.contains("/beta/")));
}
