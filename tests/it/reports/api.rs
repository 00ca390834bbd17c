//! The licence report from the stand-in's Partner Center.

use std::time::Duration;

use entitled::config::Config;
use entitled::domain::{Difference, ReportOrigin, SourceKey, Trigger};
use entitled::sandbox::{Options, SkuUnits, story};
use jiff::SignedDuration;

use super::*;

/// A world whose daemon reads reports from the stand-in.
async fn world() -> World {
    let adjust = |config: &mut Config| {
        let login = config.microsoft.login.to_string();
        let base = login.trim_end_matches('/').trim_end_matches("/login");
        config.microsoft.partner_center = format!("{base}/partner_center").parse().unwrap();
        config.microsoft.report_hosts.clear();
    };
    World::adjusted(Options::default(), "", Box::new(adjust)).await
}

async fn read(world: &World) -> Ran {
    run(world, "sync reports --json", b"").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_is_found_made_fetched_without_our_token_and_compared() {
    let world = world().await;
    world.sync().await;
    let row = read(&world).await.row();
    let told = some(&row, &["source", "trigger", "outcome", "changed", "removed", "odd"]);
    assert_eq!(told, json!(["reports", "manual", "complete", 0, 0, 0]), "{row}");
    assert!(row["added"].as_u64().unwrap() > 3, "{row}");
    assert_eq!(world.microsoft(|it| it.report_files().1), 0, "a token went with the link");
    assert_eq!(world.microsoft(|it| it.kept_reports()), ["entitled_licences"]);

    let tenant = story::CONTOSO.tenant.to_string();
    let rows = run(&world, &format!("reports --tenant {tenant} --json"), b"").await.rows();
    assert!(!rows.is_empty());
    for row in &rows {
        assert_eq!((&row["agrees"], &row["origin"]), (&json!(true), &json!("api")), "{row}");
        assert_eq!(row["provisioned"], row["graph_bought"], "{row}");
        assert_eq!(row["assigned"], row["graph_assigned"], "{row}");
    }

    // More are sold; the directory is read, the report is not made yet.
    let units = SkuUnits { enabled: 1_000, ..SkuUnits::default() };
    world.microsoft(|it| it.sku_units(story::CONTOSO.tenant, story::SYNOPTIC_SKU, units)).unwrap();
    world.sync().await;
    // Who waited for a seat of a group has one now; the report is only late.
    let rows = run(&world, &format!("reports --tenant {tenant} --json"), b"").await.rows();
    let sold = rows.iter().find(|it| it["graph_bought"] == 1_000).unwrap();
    assert_ne!(sold["assigned"], sold["graph_assigned"], "{sold}");
    assert_eq!((&sold["differences"], &sold["agrees"]), (&json!(["late"]), &json!(true)), "{sold}");
    let line = format!("reports --tenant {tenant} --differences --json");
    assert_eq!(run(&world, &line, b"").await.rows(), [Value::Null; 0]);

    // The schedule has run meanwhile: its file is taken, and nothing is made at once.
    world.advance(SignedDuration::from_hours(6));
    let before = world.sandbox.requests().len();
    let row = read(&world).await.row();
    assert_eq!(some(&row, &["outcome", "added", "changed"]), json!(["complete", 0, 1]), "{row}");
    let made = world.sandbox.requests().split_off(before);
    assert!(made.iter().all(|it| it.method != "POST" || !it.target.contains("ScheduledReport")));
    let mirror = world.mirror();
    let lines = mirror.reported_of(story::CONTOSO.tenant.to_string().parse().unwrap());
    assert!(lines.iter().any(|it| it.provisioned == Some(1_000)));
    assert!(lines.iter().all(|it| it.origin == ReportOrigin::Api));
    let status = run(&world, "status", b"").await;
    assert!(status.out.contains("reports        of "), "{}", status.out);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quota_and_a_missing_data_set_say_what_to_do_and_lose_nothing() {
    let world = world().await;
    for _ in 0..5 {
        read(&world).await.row();
    }
    let known = world.mirror().reported().count();
    let over = read(&world).await;
    assert_eq!(over.code, 1);
    assert!(over.out.contains("as many reports were made at once"), "{}{}", over.out, over.err);
    world.microsoft(|it| it.hide_licence_data(true));
    let none = read(&world).await;
    assert_eq!(none.code, 1);
    assert!(none.out.contains("entitled reports import FILE"), "{}{}", none.out, none.err);
    assert_eq!(world.mirror().reported().count(), known);
    let failed = run(&world, "log --source reports --failed --json", b"").await.rows();
    assert_eq!(failed.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stand_ins_token_is_not_sent_to_microsoft() {
    let real = |config: &mut Config| {
        config.microsoft.partner_center =
            "https://api.partnercenter.microsoft.com".parse().unwrap();
    };
    let world = World::adjusted(Options::default(), "", Box::new(real)).await;
    read(&world).await.fails(1, &["login is a stand-in", "partner_center", "reports import FILE"]);
    assert!(world.daemon.store.snapshot().source(entitled::domain::SourceKey::REPORTS).is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deal_is_entered_changed_and_removed_and_compared_with_the_report() {
    let world = World::new().await;
    let tenant = story::CONTOSO.tenant.to_string();
    let plan = story::FIELDAPP_SERVICE_ID;
    let add = |licences: u64| {
        format!(
            "reports deal add --tenant {tenant} --plan {plan} --licences {licences} --source 4711 --json"
        )
    };
    let first = run(&world, &add(30), b"").await.row();
    assert_eq!(some(&first, &["outcome", "licences", "state"]), json!(["added", 30, "runs"]));
    let again = run(&world, &add(30), b"").await.row();
    assert_eq!(some(&again, &["id", "outcome"]), json!([first["id"], "known"]));
    let more = run(&world, &add(40), b"").await.row();
    assert_eq!(some(&more, &["id", "outcome", "licences"]), json!([first["id"], "changed", 40]));
    let rows = run(&world, "reports --differences --json", b"").await.rows();
    let wanted = Difference::DealNotProvisioned.as_str();
    assert!(
        rows.iter().any(|it| it["deals"] == 40
            && it["differences"].as_array().unwrap().contains(&json!(wanted))),
        "{rows:?}"
    );
    let csv = format!("Tenant ID,Service ID,Licenses Provisioned\n{tenant},{plan},40\n");
    run(&world, "reports import -", csv.as_bytes()).await;
    let rows = run(&world, &format!("reports --tenant {tenant} --json"), b"").await.rows();
    let row = rows.iter().find(|it| it["deals"] == 40).unwrap();
    assert_eq!(row["provisioned"], 40);
    assert!(!row["differences"].to_string().contains("deal"), "{row}");

    let id = first["id"].as_str().unwrap();
    run(&world, &format!("reports deal remove {id} --json"), b"").await.row();
    let gone = run(&world, &format!("reports deal remove {id}"), b"").await;
    gone.fails(1, &[&format!("there is no deal {id}")]);
    assert_eq!(run(&world, "reports deal list --json", b"").await.rows(), [Value::Null; 0]);
    let changes = run(&world, &format!("changes --tenant {tenant} --json"), b"").await.rows();
    let deals: Vec<_> = changes.iter().filter(|it| it["entity"] == "deal").collect();
    assert_eq!(deals.len(), 3);
    assert!(deals.iter().all(|it| it["cause"] == "command" && it["id"] == first["id"]));
    let bad = format!("reports deal add --tenant {tenant} --plan {plan} --licences 0 --source x");
    run(&world, &bad, b"").await.fails(2, &["licences", "at least one"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doctor_asks_partner_center_and_only_warns_of_it() {
    let world = world().await;
    world.sync().await;
    let said = async || {
        let ran = run(&world, "doctor --json", b"").await;
        // Other checks may have failed: only the lines are looked at here.
        let rows: Vec<Value> =
            ran.out.lines().map(|it| serde_json::from_str(it).unwrap()).collect();
        let is = |it: &&Value| it["check"].as_str().unwrap().starts_with("Partner Center");
        let row = rows.iter().find(is).unwrap().clone();
        assert_eq!(row["next"].is_null(), row["state"] == "ok", "{row}");
        row["state"].as_str().unwrap().to_owned()
    };
    assert_eq!(said().await, "ok");
    world.microsoft(|it| it.outage(true));
    assert_eq!(said().await, "warning");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_does_not_wait_for_a_report_and_the_next_start_asks_again() {
    let slow = wiremock::MockServer::start().await;
    let late = wiremock::ResponseTemplate::new(200).set_delay(Duration::from_mins(2));
    wiremock::Mock::given(wiremock::matchers::any()).respond_with(late).mount(&slow).await;
    let place: url::Url = slow.uri().parse().unwrap();
    let adjust = move |config: &mut Config| {
        config.microsoft.partner_center = place.clone();
        config.microsoft.report_hosts.clear();
    };
    let mut world = World::adjusted(Options::default(), "", Box::new(adjust)).await;
    world.sync().await;
    for asked in 1..=2 {
        world.daemon.sync.nudge(SourceKey::REPORTS, Trigger::Manual);
        let waits = async {
            while slow.received_requests().await.unwrap_or_default().len() < asked {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), waits).await.unwrap();
        let stopping = std::time::Instant::now();
        world.restart().await;
        assert!(stopping.elapsed() < Duration::from_secs(10), "{:?}", stopping.elapsed());
        let state = world.mirror().source(SourceKey::REPORTS).cloned().unwrap_or_default();
        assert_eq!((state.last_run, state.failures), (None, 0), "as if it had not begun");
    }
}
