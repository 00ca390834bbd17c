//! `entitled doctor`: what it finds, and that each finding says what to do next.

use entitled::sandbox::story;
use jiff::SignedDuration;
use serde_json::Value;

use crate::cli::{Ran, with};
use crate::world::World;

async fn doctor(world: &World) -> (Ran, Vec<Value>) {
    let ran = with(&world.config_path(), "doctor --json").await;
    let rows = ran.rows();
    for row in &rows {
        let well = row["state"] == "ok";
        assert_eq!(row["next"].is_null(), well, "{row}");
        assert!(!row["found"].as_str().unwrap().is_empty(), "{row}");
    }
    (ran, rows)
}

#[track_caller]
fn state<'a>(rows: &'a [Value], check: &str) -> &'a str {
    let row = rows.iter().find(|it| it["check"].as_str().unwrap().starts_with(check));
    row.unwrap_or_else(|| panic!("{check}: {rows:?}"))["state"].as_str().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_healthy_daemon_is_told_so_and_what_customers_have_to_do() {
    let world = World::new().await;
    world.sync().await;
    let (ran, rows) = doctor(&world).await;
    assert_eq!(ran.code, 0, "{rows:?}");
    for check in ["configuration", "signing key", "public address", "clock and Entra"] {
        assert_eq!(state(&rows, check), "ok", "{check}");
    }
    for check in ["marketplace (", "subscriptions", "Graph (tenant ", "tenants"] {
        assert_eq!(state(&rows, check), "ok", "{check}");
    }
    let litware = format!("tenant {}", story::LITWARE.tenant);
    assert_eq!(state(&rows, &litware), "warning");
    let people = with(&world.config_path(), "doctor").await.ok().out;
    assert!(people.contains("next: send its administrator the link"), "{people}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_off_and_a_microsoft_that_is_away_are_failures() {
    let world = World::new().await;
    world.sync().await;
    world.microsoft(|it| it.advance_clock(SignedDuration::from_mins(10)));
    let (ran, rows) = doctor(&world).await;
    assert_eq!((ran.code, state(&rows, "clock and Entra")), (1, "failed"));
    world.microsoft(|it| it.outage(true));
    let (ran, rows) = doctor(&world).await;
    assert_eq!((ran.code, state(&rows, "marketplace (")), (1, "failed"));
    assert_eq!(state(&rows, "Graph (tenant "), "failed");
}
