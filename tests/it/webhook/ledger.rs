//! The ledger of webhooks: those that came, came late, came twice, never came or were forged, and
//! what an operator does with them.

use std::process::Command;

use entitled::domain::Entity;
use entitled::store::ChangeFilter;

use super::*;

/// Runs the real command line against the world's daemon; what it prints.
async fn cli(world: &World, line: &str) -> String {
    let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
    let config = world.config_path();
    let ran = tokio::task::spawn_blocking(move || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_entitled"));
        command.arg("--config").arg(config).args(words).env_clear().output().unwrap()
    });
    let output = ran.await.unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{line}: {told}");
    String::from_utf8(output.stdout).unwrap()
}

async fn rows(world: &World, line: &str) -> Vec<Value> {
    let out = cli(world, &format!("{line} --json")).await;
    out.lines().map(|it| serde_json::from_str(it).unwrap()).collect()
}

/// A figure of `/metrics`.
async fn figure(world: &World, name: &str) -> String {
    let (_, text) = world.ops("/metrics").await;
    let line = text.lines().find(|it| it.rsplit_once(' ').is_some_and(|(it, _)| it == name));
    line.map_or("-".to_owned(), |it| it.rsplit(' ').next().unwrap().to_owned())
}

async fn alarm(world: &World) -> (String, String) {
    let status = rows(world, "status").await.remove(0);
    let kind = status["webhooks"]["alarm"]["kind"].as_str().unwrap_or("-").to_owned();
    (kind, figure(world, "entitled_webhook_alarm").await)
}

/// A synced world in which Mia's subscription was suspended and nobody was told.
async fn missed() -> (World, Uuid) {
    let world = World::new().await;
    world.sync().await;
    let id = subscription(&world).id;
    set_status(&world, id, "Suspended");
    world.advance(SignedDuration::from_hours(1));
    world.sync().await;
    (world, id)
}

#[tokio::test]
async fn what_no_webhook_tells_is_in_the_ledger_after_a_restart_until_its_webhook_comes_late() {
    let (mut world, id) = missed().await;
    world.restart().await;
    let found = rows(&world, "log webhooks --state missed").await;
    assert_eq!(found.len(), 1);
    let it = &found[0];
    assert_eq!(it["at"], world.now().to_string());
    assert_eq!((it["action"].as_str(), it["state"].as_str()), (Some("Suspend"), Some("missed")));
    assert_eq!(it["subscription"], id.to_string());
    assert!(it["why"].as_str().unwrap().contains("run r"), "{it}");
    assert_eq!((&it["id"], &it["late_s"]), (&Value::Null, &Value::Null));

    world.advance(SignedDuration::from_hours(2));
    assert_eq!(deliver(&world, &body(&operation(1), "Suspend", id)).await, 200);
    settled(&world).await;
    assert_eq!(rows(&world, "log webhooks --state missed").await, [json!(null); 0]);
    let late = rows(&world, "log webhooks --state late").await;
    assert_eq!((late.len(), &late[0]["late_s"]), (1, &json!(7_200)));
    assert_eq!(late[0]["operation"], operation(1));
    assert_eq!(figure(&world, "entitled_webhooks_late_total").await, "1");
    let shown = cli(&world, "log webhooks").await;
    assert!(shown.contains("7,200") && shown.contains("Suspend"), "{shown}");
}

#[tokio::test]
async fn a_change_that_the_list_found_a_little_earlier_is_nobodys_fault() {
    let (world, id) = missed().await;
    world.advance(SignedDuration::from_mins(10));
    assert_eq!(deliver(&world, &body(&operation(1), "Suspend", id)).await, 200);
    settled(&world).await;
    let all = rows(&world, "log webhooks").await;
    assert_eq!((all.len(), &all[0]["state"], &all[0]["late_s"]), (1, &json!("done"), &json!(null)));
}

#[tokio::test]
async fn a_webhook_that_says_it_is_old_is_late_also_when_it_is_done_and_after_a_restart() {
    let mut world = World::new().await;
    world.sync().await;
    let id = subscription(&world).id;
    for (number, minutes) in [(1, 10), (2, 90), (3, -600)] {
        let mut said = body(&operation(number), "Renew", id);
        let sent = world.now() - SignedDuration::from_mins(minutes);
        // As Microsoft writes it: seven digits, and once in a while no zone.
        said["timeStamp"] = json!(sent.strftime("%Y-%m-%dT%H:%M:%S.0000000").to_string());
        for _ in 0..number {
            assert_eq!(deliver(&world, &said).await, 200);
        }
    }
    settled(&world).await;
    world.restart().await;
    let all = rows(&world, "log webhooks").await;
    let got: Vec<_> = all.iter().map(|it| (&it["late_s"], &it["deliveries"])).collect();
    let (one, two, three) = (json!(1), json!(2), json!(3));
    let (none, late) = (json!(null), json!(5_400));
    assert_eq!(got, [(&none, &one), (&late, &two), (&none, &three)]);
    assert_eq!(rows(&world, "log webhooks --state duplicate").await.len(), 2);
    let of = format!("log webhooks --subscription {}", Uuid::from_u128(7));
    assert!(rows(&world, &of).await.is_empty());
}

#[tokio::test]
async fn a_webhook_that_says_something_else_than_microsoft_is_named() {
    let world = World::new().await;
    world.sync().await;
    let id = subscription(&world).id;
    world.microsoft(|it| it.deliver_by_hand(true));
    let real = world.microsoft(|it| it.suspend(id)).unwrap().to_string();
    assert_eq!(deliver(&world, &body(&real, "Unsubscribe", id)).await, 200);
    settled(&world).await;
    let found = rows(&world, "log webhooks --state mismatched").await;
    assert_eq!((found.len(), found[0]["action"].as_str()), (1, Some("Unsubscribe")));
    assert_eq!(mirrored(&world, id), "Suspended", "what Microsoft says is taken");
}

#[tokio::test]
async fn a_thousand_forged_webhooks_are_counted_by_check_and_written_once_in_ten_minutes() {
    let world = World::new().await;
    world.sync().await;
    let store = &world.daemon.store;
    let id = subscription(&world).id;
    let secret = "attacker-was-here";
    let lie = json!({ "id": secret, "subscriptionId": id, "action": secret }).to_string();
    let foreign = TokenRequest { audience: "api://somebody-else".to_owned(), ..genuine() };
    let foreign = format!("Bearer {}", world.sandbox.user_token(foreign));
    let bad = format!("Bearer {secret}");
    assert_eq!(send(&world, &foreign, lie.clone()).await, 401);
    let mut revisions = store.revisions();
    while store.webhook_notes(jiff::Timestamp::MIN).is_empty() {
        revisions.changed().await.unwrap();
    }
    world.advance(SignedDuration::from_secs(1));
    let commits = store.report().commits;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("http://{}{WEBHOOK}", world.daemon.public);
    for some in 0..20 {
        let all = (0..50).map(|n| {
            let with = if (n + some) % 5 == 0 { &foreign } else { &bad };
            client.post(&url).header("authorization", with).body(lie.clone()).send()
        });
        for answer in futures_util::future::join_all(all).await {
            assert_eq!(answer.unwrap().status(), 401);
        }
    }
    let written = store.report().commits - commits;
    assert!(written < 10, "{written}: not a write for each of a thousand");
    assert_eq!(store.webhook_notes(jiff::Timestamp::MIN).len(), 1);
    let told = |rows: &[Value]| rows.iter().map(|it| it["deliveries"].as_u64().unwrap()).sum();
    let seen = rows(&world, "log webhooks --state forged").await;
    assert_eq!((seen.len(), told(&seen)), (2, 1_001_u64), "{seen:?}");
    assert!(seen[1]["why"].as_str().unwrap().contains("form 800, audience 200"), "{seen:?}");

    world.advance(SignedDuration::from_mins(10));
    assert_eq!(send(&world, "", lie).await, 401);
    let mut revisions = store.revisions();
    while store.webhook_notes(jiff::Timestamp::MIN).len() < 2 {
        revisions.changed().await.unwrap();
    }
    let seen = rows(&world, "log webhooks").await;
    assert_eq!((seen.len(), told(&seen)), (2, 1_002_u64), "{seen:?}");
    assert_eq!(figure(&world, "entitled_webhooks_forged_total{check=\"audience\"}").await, "201");
    assert_eq!(figure(&world, "entitled_webhooks_forged_total{check=\"no_token\"}").await, "1");
    let (_, page) = world.ops("/").await;
    let everything = format!("{seen:?}{}{page}", world.ops("/metrics").await.1);
    assert!(!everything.contains(secret), "nothing that was sent is kept");
}

#[tokio::test]
async fn one_that_was_given_up_is_listed_shown_and_worked_off_again_on_command() {
    let world = World::new().await;
    world.sync().await;
    let first = subscription(&world);
    let unknown = Uuid::from_u128(0xdead);
    let mut said = body(&operation(1), "Renew", unknown);
    said["subscription"] = json!({ "beneficiary": { "emailId": "mia@proseware.example" } });
    assert_eq!(deliver(&world, &said).await, 200);
    given_up(&world).await;

    let dead = rows(&world, "webhooks dead").await;
    assert_eq!((dead.len(), &dead[0]["tries"], &dead[0]["state"]), (1, &json!(8), &json!("dead")));
    assert!(dead[0]["why"].as_str().unwrap().contains("no such subscription"), "{dead:?}");
    assert!(!format!("{dead:?}").contains("mia@"), "the body is shown on request only");
    assert_eq!(figure(&world, "entitled_webhooks_dead").await, "1");
    let (_, page) = world.ops("/").await;
    assert!(page.contains("Given up") && page.contains(&unknown.to_string()), "{page}");
    assert!(!page.contains("mia@"));
    let shown = rows(&world, "webhooks show 1").await.remove(0);
    let kept: Value = serde_json::from_str(shown["body"].as_str().unwrap()).unwrap();
    assert_eq!(kept, said, "as it came");

    // Now there is such a subscription.
    world.microsoft(|it| it.put_subscription(&Subscription { id: unknown, ..first }));
    assert!(cli(&world, "webhooks replay 1").await.contains("is worked off again"));
    settled(&world).await;
    assert_eq!(states(&world), ["unknown_operation"]);
    assert_eq!(mirrored(&world, unknown), "Subscribed");
    let changes = world.daemon.store.changes(&ChangeFilter::default()).unwrap();
    let noted: Vec<_> = changes.iter().filter(|it| it.entity == Entity::Webhook).collect();
    assert_eq!((noted.len(), noted[0].cause.to_string().as_str()), (1, "command"));

    let looked = reads(&world, unknown);
    assert!(cli(&world, "webhooks replay 1").await.contains("it stays done"));
    assert_eq!(cli(&world, "webhooks replay --all").await, "none was given up\n");
    assert_eq!(reads(&world, unknown), looked, "again does nothing");
    assert_eq!(rows(&world, "webhooks show 1").await[0]["body"], json!(null), "it is done");
}

/// Waits until the one webhook there is was given up.
async fn given_up(world: &World) {
    let mut revisions = world.daemon.store.revisions();
    while world.daemon.store.inbox().dead == 0 {
        world.advance(SignedDuration::from_mins(6));
        let soon = Duration::from_millis(100);
        drop(tokio::time::timeout(soon, revisions.changed()).await);
    }
}

#[tokio::test]
async fn silence_while_announced_changes_happen_is_an_alarm_until_a_valid_webhook_comes() {
    let world = World::new().await;
    world.sync().await;
    let id = subscription(&world).id;
    assert_eq!(deliver(&world, &body(&operation(1), "Renew", id)).await, 200);
    settled(&world).await;
    world.advance(SignedDuration::from_hours(23));
    world.sync().await;
    set_status(&world, id, "Suspended");
    world.sync().await;
    world.advance(SignedDuration::from_mins(59));
    assert_eq!(alarm(&world).await, ("-".to_owned(), "0".to_owned()), "not a day yet");
    world.advance(SignedDuration::from_mins(1));
    assert_eq!(alarm(&world).await, ("silence".to_owned(), "1".to_owned()));
    let status = cli(&world, "status").await;
    assert!(status.contains("1 missed") && status.contains("Partner Center"), "{status}");
    let (_, page) = world.ops("/").await;
    assert!(page.contains("no valid webhook since"), "{page}");
    assert_eq!(deliver(&world, &body(&operation(1), "Renew", id)).await, 200, "a repetition");
    assert_eq!(alarm(&world).await, ("-".to_owned(), "0".to_owned()));
}

#[tokio::test]
async fn tokens_that_are_refused_and_none_good_are_an_alarm_that_names_the_check() {
    let world = World::new().await;
    for _ in 0..9 {
        assert_eq!(send(&world, "", "{}").await, 401);
    }
    assert_eq!(alarm(&world).await.0, "-");
    assert_eq!(send(&world, "", "{}").await, 401);
    assert_eq!(alarm(&world).await, ("refused".to_owned(), "1".to_owned()));
    let status = cli(&world, "status").await;
    assert!(status.contains("10 refused") && status.contains("proxy"), "{status}");
    world.advance(SignedDuration::from_secs(1));
    let id = Uuid::from_u128(7);
    assert_eq!(deliver(&world, &body(&operation(1), "Renew", id)).await, 200);
    assert_eq!(alarm(&world).await.0, "-");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_ledger_is_followed_as_webhooks_come_and_are_worked_off() {
    let mut world = World::new().await;
    world.sync().await;
    let id = subscription(&world).id;
    deliver(&world, &body(&operation(1), "Renew", id)).await;
    settled(&world).await;
    let mut follower = std::process::Command::new(env!("CARGO_BIN_EXE_entitled"))
        .arg("--config")
        .arg(world.config_path())
        .args(["log", "webhooks", "--follow", "--json"])
        .env_clear()
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = std::io::BufReader::new(follower.stdout.take().unwrap());
    // Lines until this operation is over.
    let mut until_done = |number: u128| {
        let mut lines = 0;
        tokio::task::block_in_place(|| {
            loop {
                let mut line = String::new();
                assert_ne!(std::io::BufRead::read_line(&mut told, &mut line).unwrap(), 0);
                lines += 1;
                let row: Value = serde_json::from_str(&line).unwrap();
                if row["operation"] == operation(number) && row["state"] == "done" {
                    return lines;
                }
            }
        })
    };
    assert_eq!(until_done(1), 1, "what there is");
    deliver(&world, &body(&operation(2), "Renew", id)).await;
    assert!(until_done(2) <= 2, "what comes, and nothing twice");
    world.stop_daemon().await;
    assert_eq!(follower.wait().unwrap().code(), Some(1), "there is nothing more to follow");
}
