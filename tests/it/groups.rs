//! Licences that come through groups: membership is the cause, the licence the effect, and what lies
//! between the two is explained.

use std::collections::BTreeMap;

use entitled::domain::Outcome;
use entitled::sandbox::{Faults, Options, story};
use entitled::store::RunFilter;
use jiff::SignedDuration;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::world::World;

const SYNOPTIC: &str = "synoptic-panel";
const CONTOSO: Uuid = story::CONTOSO.tenant;

/// What the real binary prints.
async fn command(world: &World, args: &[&str]) -> String {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_entitled"));
    command.args(args).arg("--config").arg(world.config_path()).env_clear();
    let output = command.output().await.unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{args:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

pub(crate) async fn rows(world: &World, args: &[&str]) -> Vec<Value> {
    let text = command(world, &[args, &["--json"]].concat()).await;
    text.lines().map(|it| serde_json::from_str(it).unwrap()).collect()
}

/// How each user stands with a group, by the word.
async fn standings(world: &World, group: Uuid) -> BTreeMap<String, String> {
    let all = rows(world, &["groups", "show", &group.to_string()]).await;
    let text = |it: &Value, name: &str| it[name].as_str().unwrap_or("nested").to_owned();
    all.iter().map(|it| (text(it, "user"), text(it, "standing"))).collect()
}

fn of(people: &[(story::Person, &str)]) -> BTreeMap<String, String> {
    people.iter().map(|(who, word)| (who.user.to_string(), (*word).to_owned())).collect()
}

/// The story, with seats to spare, Microsoft's job two hours behind, and pages of two.
async fn slow() -> World {
    let world = World::with(Options::default(), "").await;
    world.sync().await;
    world.microsoft(|it| {
        let units = entitled::sandbox::SkuUnits { enabled: 50, ..Default::default() };
        it.sku_units(CONTOSO, story::SYNOPTIC_SKU, units).unwrap();
        it.set_faults("lag=2h,page=2,graph.duplicates=1".parse::<Faults>().unwrap());
    });
    world
}

#[tokio::test]
async fn the_storys_groups_are_shown_with_who_has_a_seat_and_who_does_not() {
    let world = World::new().await;
    world.sync().await;
    let groups = rows(&world, &["groups", "--tenant", &CONTOSO.to_string()]).await;
    let found: BTreeMap<_, _> = groups
        .iter()
        .map(|it| (it["name"].as_str().unwrap(), [&it["members"], &it["seats"], &it["in_error"]]))
        .collect();
    let (one, two, none) = (json!(1), json!(2), json!(0));
    assert_eq!(found["BI users"], [&two, &two, &none]);
    assert_eq!(found["Finance"], [&one, &none, &one]);
    assert_eq!(groups[0]["products"], json!([SYNOPTIC]));
    assert_eq!(standings(&world, story::FINANCE).await, of(&[(story::CLEO, "in_error")]));

    let group = story::FINANCE.to_string();
    let errors = rows(&world, &["seats", "--errors", "--group", &group]).await;
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0]["paths"][0]["error"], "CountViolation");
    assert!(errors[0]["paths"][0]["remedy"].as_str().unwrap().contains("buy more seats"));
    let text = command(&world, &["seats", "--errors", "--group", &group]).await;
    assert!(
        text.contains("Finance (ProcessingComplete): 1 members, 0 with seat, 1 in error"),
        "{text}"
    );
    assert!(text.contains("CountViolation: buy more seats"), "{text}");
    let log = world.daemon.store.runs(&RunFilter::default()).unwrap();
    let of_groups = log.iter().find(|it| it.key.source.as_str() == "groups").unwrap();
    assert_eq!((of_groups.outcome, of_groups.added), (Outcome::Complete, 2));
}

#[tokio::test]
async fn who_comes_waits_until_the_licence_is_there_and_who_goes_keeps_it_until_it_is_gone() {
    let world = slow().await;
    world.microsoft(|it| it.add_member(CONTOSO, story::BI_USERS, story::DAN.user)).unwrap();
    world.sync_tenant(CONTOSO).await;
    assert_eq!(world.answer(story::DAN, SYNOPTIC).await, "unlicensed not_licensed");
    let waiting = of(&[(story::BEN, "seat"), (story::EVA, "seat"), (story::DAN, "waiting")]);
    assert_eq!(standings(&world, story::BI_USERS).await, waiting);
    let all = rows(&world, &["groups", "show", &story::BI_USERS.to_string()]).await;
    let dan = all.iter().find(|it| it["user"] == story::DAN.user.to_string()).unwrap();
    assert!(
        dan["since"].is_string() && dan["meaning"].as_str().unwrap().contains("member"),
        "{dan}"
    );

    world.advance(SignedDuration::from_hours(3));
    world.sync_tenant(CONTOSO).await;
    assert_eq!(world.answer(story::DAN, SYNOPTIC).await, "active seat_by_group");
    let seats = rows(&world, &["seats", "--group", &story::BI_USERS.to_string()]).await;
    assert_eq!(seats.len(), 3, "the seats appear by that path");

    world.microsoft(|it| it.remove_member(CONTOSO, story::BI_USERS, story::DAN.user)).unwrap();
    world.sync_tenant(CONTOSO).await;
    assert_eq!(world.answer(story::DAN, SYNOPTIC).await, "active seat_by_group");
    let leaving = standings(&world, story::BI_USERS).await;
    assert_eq!(leaving[&story::DAN.user.to_string()], "leaving");
    world.advance(SignedDuration::from_hours(3));
    world.sync_tenant(CONTOSO).await;
    assert_eq!(world.answer(story::DAN, SYNOPTIC).await, "unlicensed not_licensed");
    let left = of(&[(story::BEN, "seat"), (story::EVA, "seat")]);
    assert_eq!(standings(&world, story::BI_USERS).await, left);
}

#[tokio::test]
async fn a_group_that_is_deleted_is_named_as_the_reason_until_its_licences_are_gone() {
    let world = slow().await;
    world.microsoft(|it| it.delete_group(CONTOSO, story::BI_USERS)).unwrap();
    world.sync_tenant(CONTOSO).await;
    assert_eq!(world.answer(story::BEN, SYNOPTIC).await, "active seat_by_group");
    let gone = of(&[(story::BEN, "group_gone"), (story::EVA, "group_gone")]);
    assert_eq!(standings(&world, story::BI_USERS).await, gone);
    world.advance(SignedDuration::from_hours(3));
    world.sync_tenant(CONTOSO).await;
    assert_eq!(world.answer(story::BEN, SYNOPTIC).await, "unlicensed not_licensed");
    let groups = rows(&world, &["groups"]).await;
    let group = groups.iter().find(|it| it["name"] == "BI users").unwrap();
    assert_eq!((&group["gone"], &group["seats"]), (&json!("deleted"), &json!(0)));
    world.microsoft(|it| it.restore_group(CONTOSO, story::BI_USERS)).unwrap();
    world.sync_tenant(CONTOSO).await;
    assert!(rows(&world, &["groups"]).await.iter().all(|it| it["gone"].is_null()));
}

#[tokio::test]
async fn a_tenant_that_does_not_let_us_read_groups_loses_explanations_only() {
    let world = World::new().await;
    let fewer: Vec<String> = story::ROLES
        .iter()
        .filter(|it| **it != "Group.Read.All")
        .map(|it| (*it).to_owned())
        .collect();
    world.microsoft(|it| it.consent(CONTOSO, Some(fewer))).unwrap();
    world.sync().await;
    let run = world.sync_tenant(CONTOSO).await;
    assert_eq!(run.outcome, Outcome::Complete);
    assert_eq!(world.answer(story::BEN, SYNOPTIC).await, "active seat_by_group");
    let groups = rows(&world, &["groups", "--tenant", &CONTOSO.to_string()]).await;
    assert_eq!(groups.len(), 2, "what licences name is shown all the same");
    for group in &groups {
        let error = group["error"].as_str().unwrap();
        assert!(error.contains("not readable: permission Group.Read.All"), "{error}");
        assert_eq!((&group["name"], &group["read"]), (&Value::Null, &json!(false)));
    }
    assert_eq!(standings(&world, story::FINANCE).await, of(&[(story::CLEO, "in_error")]));
    let log = world.daemon.store.runs(&RunFilter::default()).unwrap();
    let refused =
        log.iter().filter(|it| it.key.source.as_str() == "groups" && it.outcome == Outcome::Failed);
    assert_eq!(refused.count(), 1, "a refusal that stays is said once");
    let status = command(&world, &["status"]).await;
    assert!(status.contains("1 tenants do not let us read theirs"), "{status}");
}

#[tokio::test]
async fn a_nested_group_passes_nothing_on_and_dead_cursors_lose_nobody() {
    let world = World::new().await;
    world.sync().await;
    let inner = world.microsoft(|it| {
        let inner = it.add_group(CONTOSO, None, "Interns").unwrap();
        it.add_member(CONTOSO, inner, story::DAN.user).unwrap();
        it.nest_group(CONTOSO, story::BI_USERS, inner).unwrap();
        it.set_dynamic(CONTOSO, story::BI_USERS, true).unwrap();
        it.set_faults("page=1,delta.410=1".parse::<Faults>().unwrap());
        inner
    });
    world.sync_tenant(CONTOSO).await;
    assert_eq!(world.answer(story::DAN, SYNOPTIC).await, "unlicensed not_licensed");
    let all = rows(&world, &["groups", "show", &story::BI_USERS.to_string()]).await;
    let nested = all.iter().find(|it| it["standing"] == "nested").unwrap();
    assert_eq!(nested["nested"], inner.to_string());
    assert!(nested["meaning"].as_str().unwrap().contains("not passed on"));
    let groups = rows(&world, &["groups"]).await;
    let group = groups.iter().find(|it| it["name"] == "BI users").unwrap();
    assert_eq!((&group["members"], &group["dynamic"]), (&json!(2), &json!(true)));
    assert!(groups.iter().all(|it| it["name"] != "Interns"), "it carries no licence of ours");
}

#[tokio::test]
async fn figures_say_what_is_bought_assigned_in_error_and_really_used_and_who_is_without() {
    let mut world = World::new().await;
    world.sync().await;
    for _ in 0..2 {
        assert_eq!(world.answer(story::ANA, SYNOPTIC).await, "active seat_direct");
        assert_eq!(world.answer(story::BEN, SYNOPTIC).await, "active seat_by_group");
        assert_eq!(world.answer(story::DAN, SYNOPTIC).await, "unlicensed not_licensed");
    }
    let contoso = CONTOSO.to_string();
    let asked = ["seats", "--figures", "--tenant", &contoso, "--product", SYNOPTIC];
    let found = rows(&world, &asked).await;
    let it = &found[0];
    assert_eq!(found.len(), 1);
    // Finn's plan is switched off: Microsoft counts his seat, and he holds nothing of ours.
    let counts = ["bought", "consumed", "assigned", "in_error", "used", "used_in_week"];
    assert_eq!(counts.map(|name| it[name].as_u64().unwrap()), [4, 4, 3, 1, 2, 2], "{it}");
    assert_eq!((&it["without"], &it["short"]), (&json!([story::CLEO.user]), &json!(true)));
    assert_eq!(it["forecast"], "out");
    let text = command(&world, &asked).await;
    let line = format!("no seat was free for: {}", story::CLEO.user);
    assert!(text.contains(&line), "{text}");
    let status = command(&world, &["status"]).await;
    assert!(status.contains("seats short    1 times"), "{status}");
    let (_, metrics) = world.ops("/metrics").await;
    assert!(metrics.contains("entitled_product_users{product=\"synoptic-panel\"} 2"), "{metrics}");
    let (_, page) = world.ops("/").await;
    assert!(page.contains("used in 28 days") && page.contains("Short of seats"));

    world.restart().await;
    assert_eq!(rows(&world, &asked).await[0]["used"], 2, "it is on disk");
    world.advance(SignedDuration::from_hours(27 * 24));
    assert_eq!(rows(&world, &asked).await[0]["used"], 2);
    world.advance(SignedDuration::from_hours(24));
    assert_eq!(rows(&world, &asked).await[0]["used"], 0);
    let stored = world.mirror();
    assert_eq!(stored.all_uses().count(), 0, "what is too old is dropped");
}

#[tokio::test]
async fn seats_that_go_week_by_week_run_out_on_a_day_and_who_waits_is_named() {
    let world = slow().await;
    let contoso = CONTOSO.to_string();
    let asked = ["seats", "--figures", "--tenant", &contoso, "--product", SYNOPTIC];
    world.sync_tenant(CONTOSO).await;
    assert_eq!(rows(&world, &asked).await[0]["forecast"], "too_soon");
    let units = |enabled| entitled::sandbox::SkuUnits { enabled, ..Default::default() };
    world.microsoft(|it| {
        it.sku_units(CONTOSO, story::SYNOPTIC_SKU, units(8)).unwrap();
        it.assign(CONTOSO, story::DAN.user, story::SYNOPTIC_SKU, &[]).unwrap();
    });
    world.advance(SignedDuration::from_hours(10 * 24));
    world.sync_tenant(CONTOSO).await;
    let it = rows(&world, &asked).await.remove(0);
    assert_eq!(it["forecast"], "runs_out", "{it}");
    assert!(it["runs_out"].is_string() && it["grown"].as_i64().unwrap() > 0, "{it}");
    // A new member for whom no seat is left will be without.
    world.microsoft(|it| {
        it.sku_units(CONTOSO, story::SYNOPTIC_SKU, units(1)).unwrap();
        it.add_user(
            CONTOSO,
            entitled::sandbox::NewUser { id: Some(Uuid::from_u128(0xee)), ..Default::default() },
        )
        .unwrap();
        it.add_member(CONTOSO, story::BI_USERS, Uuid::from_u128(0xee)).unwrap();
    });
    world.sync_tenant(CONTOSO).await;
    let it = rows(&world, &asked).await.remove(0);
    assert_eq!(it["next_without"], json!([Uuid::from_u128(0xee)]), "{it}");
}
