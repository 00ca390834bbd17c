//! What operators see and do: commands, status, reconciliation.

use std::process::Output;

use super::*;

/// Runs a command of the real binary against the world's daemon.
async fn command(world: &World, args: &[&str]) -> Output {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_entitled"));
    command.args(args).arg("--config").arg(world.config_path()).env_clear();
    command.output().await.unwrap()
}

async fn rows(world: &World, args: &[&str]) -> (i32, Vec<Value>) {
    let output = command(world, &[args, &["--json"]].concat()).await;
    let text = String::from_utf8(output.stdout).unwrap();
    let rows = text.lines().map(|it| serde_json::from_str(it).unwrap()).collect();
    (output.status.code().unwrap(), rows)
}

#[tokio::test]
async fn usage_is_listed_filtered_and_shown_in_status() {
    let world = world().await;
    exports(&world, "1.5").await;
    hour_over(&world);
    pass(&world).await;
    exports(&world, "2").await;
    let (code, all) = rows(&world, &["usage"]).await;
    assert_eq!((code, all.len()), (0, 2));
    assert_eq!((&all[0]["id"], &all[0]["state"]), (&json!("u1"), &json!("sent")));
    assert_eq!((&all[0]["quantity"], &all[0]["caller"]), (&json!("1.5"), &json!("web-shop")));
    assert!(all[0]["reference"].is_string(), "{}", all[0]);
    let (_, queued) = rows(&world, &["usage", "--state", "queued"]).await;
    assert_eq!((queued.len(), &queued[0]["id"]), (1, &json!("u2")));
    let since = hour_of(world.now()).to_string();
    assert_eq!(rows(&world, &["usage", "--since", &since]).await.1.len(), 1);
    let other = Uuid::from_u128(1).to_string();
    assert_eq!(rows(&world, &["usage", "--subscription", &other]).await.1.len(), 0);
    assert_eq!(rows(&world, &["usage", "--state", "lost"]).await.0, 2);
    let (_, status) = rows(&world, &["status"]).await;
    assert_eq!(
        (&status[0]["usage"]["sent"], &status[0]["usage"]["queued"]),
        (&json!(1), &json!(1))
    );
    let text = String::from_utf8(command(&world, &["status"]).await.stdout).unwrap();
    assert!(text.contains("usage          1 queued, 0 sending, 1 sent"), "{text}");
    let id = proseware(&world).to_string();
    let (_, changes) = rows(&world, &["changes", "--subscription", &id]).await;
    assert!(changes.iter().any(|it| it["entity"] == "usage"), "the sums are in the journal");
}

#[tokio::test]
async fn the_dead_are_listed_with_the_reason_and_sent_again_on_command() {
    let world = world().await;
    world.microsoft(|it| it.answer_usage(Some("ResourceNotAuthorized".to_owned())));
    exports(&world, "1").await;
    hour_over(&world);
    pass(&world).await;
    let (_, dead) = rows(&world, &["usage", "dead"]).await;
    assert_eq!((dead.len(), &dead[0]["status"]), (1, &json!("ResourceNotAuthorized")));
    assert!(dead[0]["why"].as_str().unwrap().contains("Partner Center"), "{}", dead[0]);
    let (status, shown) = show(&world, "u1").await;
    assert_eq!((status, &shown["state"]), (200, &json!("dead")));
    assert!(shown["why"].is_string());
    world.microsoft(|it| it.answer_usage(None));
    assert_eq!(rows(&world, &["usage", "retry", "u1"]).await.0, 0);
    pass(&world).await;
    assert_eq!(states(&world), ["sent"]);
    assert_eq!(rows(&world, &["usage", "retry", "u1"]).await.0, 2, "it is not dead");
    assert_eq!(rows(&world, &["usage", "retry", "u9"]).await.0, 1, "there is none");
}

async fn show(world: &World, id: &str) -> (u16, Value) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("http://{}{USAGE}/{id}", world.daemon.public);
    let response = client.get(url).bearer_auth(CALLER_KEY).send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

#[tokio::test]
async fn reconciling_shows_what_microsoft_has_against_what_was_told() {
    let world = world().await;
    exports(&world, "1.25").await;
    hour_over(&world);
    exports(&world, "0.5").await;
    hour_over(&world);
    pass(&world).await;
    let since = (world.now() - SignedDuration::from_hours(48)).to_string();
    let (code, compared) = rows(&world, &["usage", "reconcile"]).await;
    assert_eq!(code, 0, "{compared:?}");
    let sum: f64 = compared.iter().map(|it| it["told"].as_f64().unwrap()).sum();
    let submitted: f64 = compared.iter().map(|it| it["submitted"].as_f64().unwrap()).sum();
    assert!((sum - 1.75).abs() < 1e-9 && (submitted - 1.75).abs() < 1e-9, "{compared:?}");
    assert!(compared.iter().all(|it| it["agrees"] == true), "{compared:?}");
    let (id, now) = (proseware(&world), world.now());
    world.microsoft(|it| it.note_usage(id, "refreshes", now, "8"));
    let (code, compared) = rows(&world, &["usage", "reconcile", "--since", &since]).await;
    let lone = compared.iter().find(|it| it["dimension"] == "refreshes");
    assert_eq!(code, 1, "they differ: {compared:?}");
    assert_eq!((&lone.unwrap()["told"], &lone.unwrap()["agrees"]), (&json!(0.0), &json!(false)));
    world.microsoft(|it| it.outage(true));
    assert_eq!(rows(&world, &["usage", "reconcile"]).await.0, 1);
}
