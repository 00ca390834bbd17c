//! Deadlines: shown before they pass, wherever somebody looks.

use entitled::sandbox::story;

use super::*;

fn row(rows: &[Value], id: SubscriptionId) -> Value {
    let found = rows.iter().find(|it| it["id"] == id.to_string());
    found.unwrap_or_else(|| panic!("no {id} in {rows:?}")).clone()
}

fn ids(rows: &[Value]) -> Vec<&str> {
    rows.iter().map(|it| it["id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn each_deadline_is_in_the_listing_before_it_passes() {
    let world = World::new().await;
    world.sync().await;
    let now = world.now();
    let (oli, pia) = (of(&world, story::LAMNA), of(&world, story::RELECLOUD));
    let (mia, noa) = (of(&world, story::PROSEWARE), of(&world, story::GRAPHIC));
    at_microsoft(&world, oli, |it| it.created = (now - days(29)).to_string());
    at_microsoft(&world, mia, |it| {
        it.auto_renew = false;
        it.term.end_date = Some((now + days(4)).to_string());
        it.created = (now - days(30)).to_string();
    });
    at_microsoft(&world, noa, |it| it.term.end_date = Some((now + days(9)).to_string()));
    world.sync().await;
    let all = admin(&world, "/subscriptions").await;
    let check = |id, kind: &str, at: String| {
        let row = row(&all, id);
        assert_eq!((&row["deadline"], &row["deadline_at"]), (&kind.into(), &at.into()), "{row}");
        assert!(row["deadline_why"].is_string());
    };
    check(oli, "activation", (now + days(1)).to_string());
    check(mia, "term_end", (now + days(5)).to_string());
    check(noa, "trial_end", (now + days(10)).to_string());
    check(pia, "suspension", (now + days(30)).to_string());

    let week = admin(&world, "/subscriptions?due_s=604800").await;
    assert_eq!(ids(&week)[..2], [oli.to_string(), mia.to_string()], "the nearest first: {week:?}");
    assert!(!ids(&week).contains(&noa.to_string().as_str()));
    let status = admin(&world, "/status").await.remove(0);
    let told = &status["lives"]["deadlines"];
    assert_eq!(
        (&told["nearest"][0]["id"], &told["nearest"][0]["passed"]),
        (&oli.to_string().into(), &false.into())
    );
    assert_eq!(
        (&told["by_kind"]["activation"], &told["by_kind"]["term_end"]),
        (&1.into(), &1.into())
    );

    let due = "entitled_subscriptions_due{deadline=\"activation\"}";
    assert!(metric(&world, due).await.ends_with(" 1"));
    let next = "entitled_subscription_next_deadline_timestamp_seconds{deadline=\"activation\"}";
    let at = (now + days(1)).as_second();
    assert!(metric(&world, next).await.ends_with(&format!(" {at}")));
    let (_, page) = world.ops("/").await;
    assert!(
        page.contains("Deadlines") && page.contains(&format!("{oli}: bought and not activated"))
    );
}

/// Runs a command of the real binary.
async fn command(world: &World, line: &str) -> String {
    let config = world.config_path();
    let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    let output = tokio::task::spawn_blocking(move || {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_entitled"));
        command.arg("--config").arg(config).args(words).env_clear().output().unwrap()
    });
    let output = output.await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn the_command_line_tells_people_and_programs() {
    let world = World::new().await;
    world.sync().await;
    let oli = of(&world, story::LAMNA);
    at_microsoft(&world, oli, |it| it.created = (world.now() - days(29)).to_string());
    world.sync().await;
    let rows = command(&world, "subscriptions --due 2d --json").await;
    let rows: Vec<Value> = rows.lines().map(|it| serde_json::from_str(it).unwrap()).collect();
    assert_eq!(row(&rows, oli)["deadline"], "activation");
    let table = command(&world, "subscriptions --due").await;
    assert!(table.contains("activation") && table.contains("suspension"), "{table}");
    let none = command(&world, "subscriptions --due 1m").await;
    assert!(!none.contains("activation"), "{none}");
    let status = command(&world, "status").await;
    assert!(status.contains(&format!("activation of {oli}")), "{status}");
    let shown = command(&world, &format!("subscriptions show {oli}")).await;
    assert!(shown.contains("status_since") && shown.contains("deadline_why"), "{shown}");
}

#[tokio::test]
async fn the_grace_of_a_suspension_counts_from_when_it_was_first_seen_and_survives_a_restart() {
    let mut world = World::new().await;
    world.sync().await;
    let mia = of(&world, story::PROSEWARE);
    world.advance(days(2));
    let suspended = world.now();
    set_status(&world, mia, "Suspended");
    world.sync().await;
    world.advance(days(3));
    at_microsoft(&world, mia, |it| "renamed".clone_into(&mut it.name));
    world.sync().await;
    world.restart().await;
    let row = row(&admin(&world, "/subscriptions").await, mia);
    assert_eq!(row["deadline"], "suspension");
    assert_eq!(row["deadline_at"], (suspended + days(30)).to_string());
    assert_eq!(row["status_since"], suspended.to_string());
    assert!(!row["deadline_why"].as_str().unwrap().contains("at the latest"), "{row}");

    world.advance(days(28));
    let passed = admin(&world, "/subscriptions?due_s=0").await;
    assert!(ids(&passed).contains(&mia.to_string().as_str()), "it stays until Microsoft says so");
    set_status(&world, mia, "Unsubscribed");
    world.sync().await;
    let changes = admin(&world, &format!("/changes?subscription={mia}")).await;
    let events: Vec<_> = changes.iter().map(|it| it["event"].as_str().unwrap_or("-")).collect();
    assert_eq!(events, ["auto_activation", "suspension", "-", "cancellation"]);
}

#[tokio::test]
async fn each_state_answers_as_section_9_1_says() {
    let world = World::new().await;
    world.sync().await;
    let mia = of(&world, story::PROSEWARE);
    for (person, answer) in [
        (story::OLI, "pending subscription_pending"),
        (story::MIA, "active subscription_active"),
        (story::NOA, "trial subscription_trial"),
        (story::PIA, "suspended subscription_suspended"),
        (story::QUIN, "expired subscription_ended"),
    ] {
        assert_eq!(world.answer(person, SUITE).await, answer, "{}", person.name);
    }
    // Not renewed: full through the last day, and for as long as Microsoft says Subscribed.
    let now = world.now();
    at_microsoft(&world, mia, |it| {
        it.auto_renew = false;
        it.term.end_date = Some((now - days(10)).to_string());
    });
    world.sync().await;
    assert_eq!(world.answer(story::MIA, SUITE).await, "active subscription_active");
    assert_eq!(row(&admin(&world, "/subscriptions").await, mia)["deadline"], "overdue");
}
