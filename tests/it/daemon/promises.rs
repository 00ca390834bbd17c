//! What the contract promises (section 6), while processes die, Microsoft is down and somebody
//! reads every line.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Command, Stdio};

use entitled::sandbox::{Fault, Faults, World as Microsoft, story};
use serde_json::{Value, json};
use uuid::Uuid;

use super::harness::*;
use crate::world::CALLER_KEY;

/// How often the daemon is killed.
const KILLS: usize = 20;

/// (tenant, user, product, ways) of each seat, and of each whose every way failed.
pub(super) type Seats = BTreeSet<(String, String, &'static str, Vec<String>)>;

fn product(sku: Uuid) -> Option<(&'static str, Uuid)> {
    match sku {
        story::SYNOPTIC_SKU => Some(("synoptic-panel", story::SYNOPTIC_PLAN)),
        story::CALENDAR_SKU => Some(("calendar-pro", story::CALENDAR_PLAN)),
        story::FIELDAPP_SKU => Some(("field-app", story::FIELDAPP_PLAN)),
        _ => None,
    }
}

/// What `seats` must list, as Microsoft has it; `false` for `seats --errors`.
pub(super) fn truth(microsoft: &mut Microsoft, tenants: &[Uuid], held: bool) -> Seats {
    let mut seats = Seats::new();
    for tenant in tenants {
        for seat in microsoft.seats(*tenant) {
            let Some((product, plan)) = product(seat.sku) else { continue };
            if seat.held != held || seat.disabled_plans.contains(&plan) {
                continue;
            }
            let name = |it: Option<Uuid>| it.map_or("direct".to_owned(), |it| it.to_string());
            let mut ways: Vec<_> = seat.paths.into_iter().map(name).collect();
            ways.sort();
            seats.insert((tenant.to_string(), seat.user.to_string(), product, ways));
        }
    }
    seats
}

/// What `seats --json` lists.
pub(super) fn listed(rows: &[Value]) -> Seats {
    let seat = |row: &Value| {
        let text = |name: &str| row[name].as_str().unwrap().to_owned();
        let product = match row["product"].as_str().unwrap() {
            "synoptic-panel" => "synoptic-panel",
            "calendar-pro" => "calendar-pro",
            "field-app" => "field-app",
            other => panic!("{other}"),
        };
        let paths = row["paths"].as_array().unwrap().iter();
        let mut ways: Vec<_> = paths.map(|it| it["via"].as_str().unwrap().to_owned()).collect();
        ways.sort();
        (text("tenant"), text("user"), product, ways)
    };
    rows.iter().map(seat).collect()
}

/// What is listed is what is true. A direct way on which our plan is switched off is no way of the
/// seat, and the sandbox does not tell it apart: it may be missing beside another.
#[track_caller]
pub(super) fn assert_same(listed: &Seats, truth: &Seats) {
    let with_direct = |seat: &(String, String, &'static str, Vec<String>)| {
        let mut seat = seat.clone();
        seat.3.push("direct".to_owned());
        seat.3.sort();
        seat
    };
    let also: Seats = listed.difference(truth).map(with_direct).collect();
    let missing: Vec<_> = truth.difference(listed).filter(|it| !also.contains(*it)).collect();
    let ghosts: Vec<_> = also.difference(truth).collect();
    assert!(missing.is_empty() && ghosts.is_empty(), "missing {missing:?}, ghosts {ghosts:?}");
    assert_eq!(listed.len(), truth.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_after_kill_no_answered_seat_is_lost_and_no_change_is_missed() {
    let site = Site::new().await;
    let wingtip = story::WINGTIP.tenant;
    let everybody = Some(story::ROLES.map(str::to_owned).to_vec());
    site.microsoft(|it| it.consent(story::LITWARE.tenant, everybody)).unwrap();
    let mut server = site.serve().await;
    server.cli("sync").await.ok();
    let rows = server.cli("subscriptions --json").await.ok().rows();
    let bought = rows.iter().find(|it| it["tenant"] == wingtip.to_string()).unwrap();
    let subscription = bought["id"].as_str().unwrap();
    site.microsoft(|it| {
        let mut bought = it.subscription(subscription.parse().unwrap()).unwrap();
        bought.quantity = Some(1_000);
        it.put_subscription(&bought);
    });
    server.cli("sync").await.ok();
    let (contoso, sku) = (story::CONTOSO.tenant, story::SYNOPTIC_SKU);
    let (mut seated, mut cut) = (BTreeSet::new(), 0);
    // A run lasts long enough for a kill to come in its middle.
    site.microsoft(|it| it.set_faults("slow=10ms".parse().unwrap()));
    for n in 0..KILLS {
        site.microsoft(|it| match n % 2 {
            0 => it.assign(contoso, story::DAN.user, sku, &[]),
            _ => it.unassign(contoso, story::DAN.user, sku),
        })
        .unwrap();
        let begun = site.sandbox.requests().len();
        let full = if n % 3 == 0 { "sync --full" } else { "sync" };
        let config = site.config();
        let syncing = tokio::spawn(async move { run(&config, full).await });
        let user = Uuid::new_v4();
        let question =
            json!({"product": "viz-suite", "host": "web", "tenant": wingtip, "user": user});
        let answer = server.post("/v1/entitlements", Some(CALLER_KEY), &question).await;
        assert_eq!(answer.says(), "active subscription_active");
        seated.insert(user.to_string());
        // From the first request of the runs to their last commits.
        let until = begun + n * 3;
        while site.sandbox.requests().len() < until && !syncing.is_finished() {
            tokio::task::yield_now().await;
        }
        server.kill();
        cut += usize::from(syncing.await.unwrap().code != 0);
        server = site.serve().await;
        let shown = server.cli(&format!("subscriptions show {subscription} --json")).await.ok();
        let taken = shown.rows()[0]["seats_taken"].as_array().unwrap().clone();
        let taken: BTreeSet<_> =
            taken.iter().map(|it| it["user"].as_str().unwrap().to_owned()).collect();
        assert!(seated.is_subset(&taken), "{n}: {seated:?} {taken:?}");
    }
    site.microsoft(|it| it.set_faults(Faults::default()));
    assert!(cut >= KILLS / 2, "only {cut} kills came in the middle of something");
    // From the cursors that were on disk: one that were ahead of its data would miss changes.
    server.cli("sync").await.ok();
    let rows = server.cli("seats --json").await.ok().rows();
    let tenants: Vec<_> = story::CUSTOMERS.iter().map(|it| it.tenant).collect();
    assert_same(&listed(&rows), &site.microsoft(|it| truth(it, &tenants, true)));
    for run in server.cli("sync --full --json").await.ok().rows() {
        let counts = ["added", "changed", "removed"].map(|it| run[it].as_u64().unwrap());
        assert_eq!(counts, [0; 3], "{run}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_that_is_told_to_stop_ends_well_and_leaves_nothing_behind() {
    let (site, server) = Site::synced().await;
    let socket = site.dir.path().join("admin.sock");
    assert!(socket.exists());
    // A stream that is open does not keep it.
    let mut follower = Command::new(BINARY)
        .arg("--config")
        .arg(site.config())
        .args(["log", "--follow", "--json"])
        .env_clear()
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = BufReader::new(follower.stdout.take().unwrap());
    told.read_line(&mut String::new()).unwrap();
    assert_eq!(server.terminate().await.code(), Some(0));
    assert!(!socket.exists());
    told.read_to_end(&mut Vec::new()).unwrap();
    assert_eq!(follower.wait().unwrap().code(), Some(1), "there is nothing more to follow");
    let again = site.serve().await;
    assert_eq!(again.ask("synoptic-panel", story::ANA).await.says(), "active seat_direct");
    assert_eq!(again.terminate().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_while_microsoft_is_down_answers_at_once() {
    let (site, server) = Site::synced().await;
    let token = site.token(story::BEN.tenant, story::BEN.user);
    let body = json!({"product": "synoptic-panel", "host": "desktop"});
    let before = server.post("/v1/entitlements", Some(&token), &body).await;
    assert_eq!(before.says(), "active seat_by_group");
    site.microsoft(|it| it.outage(true));
    server.kill();
    let server = site.serve().await;
    // The signing keys of Entra are remembered, too.
    let after = server.post("/v1/entitlements", Some(&token), &body).await;
    assert_eq!(after.says(), "active seat_by_group");
    assert_eq!(after.body["as_of"], before.body["as_of"]);
    assert_eq!(server.ask("viz-suite", story::NOA).await.says(), "trial subscription_trial");
    assert_eq!(server.ops("/readyz").await.0, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_is_logged_or_shown_holds_a_secret_a_token_or_an_address() {
    let site = Site::new().await;
    let spec = "graph.429=0.02,graph.truncated=0.02,marketplace.503_html=0.1";
    site.microsoft(|it| it.set_faults(spec.parse().unwrap()));
    let server = Server::start(&site.config(), "trace").await;
    server.cli("sync").await;
    let ana = site.token(story::ANA.tenant, story::ANA.user);
    let foreign = ana.replace('.', ".e30");
    let guessed = "ent_Z3Vlc3NlZC1ieS1zb21lYm9keS1lbHNl";
    let mut shown = String::new();
    for bearer in [Some(&*ana), Some(CALLER_KEY), Some(&foreign), Some(guessed), None] {
        let licensee = "Contoso (ana@customer.example)";
        for body in [
            json!({"product": "synoptic-panel", "host": "web", "explain": true}),
            json!({"product": "ana@customer.example", "host": "eyJhbGciOiJub25lIn0"}),
            json!({"product": "viz-suite", "host": "web", "package": "eyJhbGciOiJFUzI1NiJ9.e30.AA",
                   "license": {"id": "L-1", "licensee": licensee}}),
            json!({"product": "viz-suite", "host": "web", "tenant": story::WINGTIP.tenant,
                   "user": story::WIM.user}),
            Value::Null,
        ] {
            server.post("/v1/entitlements?who=ana@customer.example", bearer, &body).await;
        }
    }
    shown += &misplaced(&server, &ana).await;
    site.microsoft(|it| it.set_faults(Faults::default().with(Fault::MarketplaceTruncated, 1.0)));
    server.cli("sync subscriptions").await.exits(1);
    for line in [
        "status",
        "status --json",
        "log",
        "log --json",
        "changes",
        "changes --json",
        "subscriptions",
        "subscriptions --json",
        "seats --json",
        "tenants --json",
        "keys list --json",
        "config show",
        "config check",
    ] {
        let ran = server.cli(line).await;
        shown += &(ran.out + &ran.err);
    }
    for path in ["/", "/metrics", "/readyz"] {
        shown += &server.ops(path).await.1;
    }
    let log = server.log();
    assert!(log.contains("DEBUG") && log.contains("/v1/entitlements"), "the log tells too little");
    let key_files =
        std::fs::read_to_string(site.dir.path().join("store/signing-keys.json")).unwrap();
    let ours: Value = serde_json::from_str(&key_files).unwrap();
    let mut canaries: Vec<String> = [
        story::CLIENT_SECRET,
        CALLER_KEY,
        guessed,
        "eyJ",
        "customer.example",
        "@contoso",
        "Bearer ey",
    ]
    .map(str::to_owned)
    .to_vec();
    long_texts(&ours, &mut canaries);
    for canary in canaries {
        for (what, text) in [("the log", &log), ("what is shown", &shown)] {
            let line = text.lines().find(|it| it.contains(&canary));
            assert!(line.is_none(), "{canary} in {what}: {line:?}");
        }
    }
}

/// What a caller hears who puts an address, a token or a key where an id or a word belongs.
async fn misplaced(server: &Server, token: &str) -> String {
    let mut heard = String::new();
    let key = "EK1-7Q2M-4XKD-9B0C-7Q2M-4XKD-9B0C-7Q2M-4XKD";
    for private in ["ana@customer.example", token, CALLER_KEY, key] {
        let question = |field: &str| {
            let mut body = json!({ "product": "synoptic-panel", "host": "web",
                "tenant": story::ANA.tenant, "user": story::ANA.user });
            body[field] = private.into();
            body
        };
        let questions = ["product", "host", "tenant", "user"].map(question);
        for body in &questions {
            let answer = server.post("/v1/entitlements", Some(CALLER_KEY), body).await;
            assert!((400..500).contains(&answer.status), "{body}: {}", answer.text);
            heard += &answer.text;
        }
        let batch = json!({ "questions": questions });
        let answer = server.post("/v1/entitlements/batch", Some(CALLER_KEY), &batch).await;
        assert_eq!(answer.status, 200);
        heard += &answer.text;
        for field in ["product", "kind", "max", "period_end", "domain", "over_limit", "cycle"] {
            let mut sale = json!({ "product": "viz-suite", "kind": "user", "licensee": "Contoso" });
            sale[field] = private.into();
            let answer = server.post("/v1/licenses", Some(CALLER_KEY), &sale).await;
            // A host name is made of an address's.
            if field != "domain" {
                assert_eq!(answer.status, 422, "{sale}: {}", answer.text);
                heard += &answer.text;
            }
        }
        let at = |path: &str| format!("{path}{private}");
        for path in [
            "/v1/licenses?tenant=",
            "/v1/licenses?after=",
            "/v1/licenses?limit=",
            "/v1/activations?license=",
            "/v1/licenses/switch-plan?tenant=",
            "/v1/licenses/switch-plan?product=",
            "/v1/licenses/",
        ] {
            // Longer than an address may be: a token does not come that far.
            let answer = server.send(reqwest::Method::GET, &at(path), Some(CALLER_KEY), "").await;
            assert!(answer.status < 500, "{path}: {}", answer.text);
            heard += &answer.text;
        }
    }
    // What went through would not be here to be looked at.
    assert!(heard.matches("\"detail\"").count() > 40, "{heard}");
    assert!(heard.contains("a text of 20 characters"), "{heard}");
    assert!(!heard.contains(key), "{heard}");
    heard
}

/// Every long text of the key file that is no id, time or public half: what must stay in it.
fn long_texts(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) if text.len() > 40 => found.push(text.clone()),
        Value::Array(all) => all.iter().for_each(|it| long_texts(it, found)),
        Value::Object(all) => all.values().for_each(|it| long_texts(it, found)),
        Value::String(_) | Value::Number(_) | Value::Bool(_) | Value::Null => {}
    }
}
