//! The real binary: arguments in; standard output, standard error and exit code out.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use entitled::config::Config;
use entitled::domain::{Catalog, Channel, Product};
use entitled::sandbox::{Options, story};
use serde_json::Value;
use tempfile::TempDir;

use crate::world::World;

/// What a command left behind.
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Ran {
    /// Standard output as one JSON value a line.
    pub fn rows(&self) -> Vec<Value> {
        let row = |line: &str| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
        self.out.lines().map(row).collect()
    }

    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.code, 0, "{}{}", self.out, self.err);
        self
    }
}

fn run(args: &[&str]) -> Ran {
    let output = Command::new(env!("CARGO_BIN_EXE_entitled")).args(args).env_clear().output();
    let output = output.unwrap();
    Ran {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Runs a line of words against a configuration, off the daemon's threads.
pub async fn with(config: &Path, line: &str) -> Ran {
    let words = line.split_whitespace().map(str::to_owned);
    let config = ["--config".to_owned(), config.display().to_string()];
    let words: Vec<String> = config.into_iter().chain(words).collect();
    let ran = tokio::task::spawn_blocking(move || {
        run(&words.iter().map(String::as_str).collect::<Vec<_>>())
    });
    ran.await.unwrap()
}

async fn synced() -> World {
    let world = World::new().await;
    world.sync().await;
    world
}

fn fields(row: &Value, names: &str) {
    for name in names.split_whitespace() {
        assert!(row.get(name).is_some(), "{name} in {row}");
    }
}

fn text<'a>(row: &'a Value, name: &str) -> &'a str {
    row[name].as_str().unwrap_or("-")
}

#[test]
fn wrong_usage_is_exit_code_2_and_says_what_is_known() {
    let check = |line: &str, told: &str| {
        let ran = run(&line.split_whitespace().collect::<Vec<_>>());
        assert_eq!(ran.code, 2, "{line}: {}", ran.err);
        assert!(ran.err.contains(told), "{line}: {}", ran.err);
        assert_eq!(ran.out, "");
    };
    check("staus", "'status'");
    check("query", "--tenant");
    check("sync reprots", "subscriptions, directory");
    check("log --since yesterday", "90m, 2d");
    check("tenants consent-url 9188040d-6c67-4c5b-b112-36a304b66dad", "personal accounts");
    check("--config /nowhere/entitled.toml status", "/nowhere/entitled.toml");
}

#[tokio::test]
async fn a_daemon_that_is_not_running_is_said_with_how_to_start_it() {
    let dir = TempDir::new().unwrap();
    crate::world::config(&dir, "http://127.0.0.1:9", "");
    let config = dir.path().join("entitled.toml");
    let socket = dir.path().join("admin.sock");
    for line in
        ["status", "sync", "log", "changes", "subscriptions", "seats", "tenants", "keys list"]
    {
        let ran = with(&config, line).await;
        assert_eq!(ran.code, 1, "{line}: {}", ran.err);
        let told = ["not running", "entitled serve --config", &socket.display().to_string()]
            .map(|it| ran.err.contains(it));
        assert_eq!(told, [true; 3], "{line}: {}", ran.err);
        assert_eq!(ran.out, "", "{line}");
    }
}

#[tokio::test]
async fn a_socket_that_a_dead_daemon_left_is_not_mistaken_for_one_that_lives() {
    let dir = TempDir::new().unwrap();
    crate::world::config(&dir, "http://127.0.0.1:9", "");
    drop(std::os::unix::net::UnixListener::bind(dir.path().join("admin.sock")).unwrap());
    let ran = with(&dir.path().join("entitled.toml"), "status").await;
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("not running") && ran.err.contains("refused"), "{}", ran.err);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listings_have_the_fields_of_the_contract() {
    let world = synced().await;
    let config = world.config_path();
    let listed = async |line: &str, names: &str| {
        let rows = with(&config, &format!("{line} --json")).await.ok().rows();
        assert!(!rows.is_empty(), "{line}");
        for row in &rows {
            fields(row, names);
        }
        rows
    };
    let rows = listed(
        "subscriptions",
        "id offer plan name status quantity tenant user term_start term_end term_unit auto_renew \
         free_trial created observed_at",
    )
    .await;
    assert_eq!(rows.len(), world.mirror().subscription_count());
    listed("seats", "tenant user product plan channel state paths observed_at").await;
    let rows = listed("tenants", "id name consent last_complete stale").await;
    assert_eq!(rows.len(), world.mirror().tenants().count());
    listed(
        "log",
        "run source tenant trigger started ended outcome seen added changed removed requests \
         throttled_s error",
    )
    .await;
    listed("changes", "at cause entity id tenant user before after").await;
    listed("keys list", "kid created retired current").await;
    let rows = listed("status", "sources runs store subscriptions tenants").await;
    assert_eq!(rows.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seat_is_listed_with_its_paths_and_a_failed_one_only_on_request() {
    let world = synced().await;
    let config = world.config_path();
    let of = |rows: &[Value], person: story::Person| {
        let is = |it: &&Value| text(it, "user") == person.user.to_string();
        rows.iter().filter(is).cloned().collect::<Vec<_>>()
    };
    let rows = with(&config, "seats --product synoptic-panel --json").await.ok().rows();
    let ben = of(&rows, story::BEN);
    let path = &ben[0]["paths"][0];
    assert_eq!((ben.len(), text(&ben[0], "state"), text(&ben[0], "plan")), (1, "active", "team"));
    assert_eq!((text(path, "via"), text(path, "state")), (&*story::BI_USERS.to_string(), "Active"));
    assert_eq!(path["error"], Value::Null);
    assert_eq!(of(&rows, story::EVA)[0]["paths"].as_array().unwrap().len(), 2);
    assert_eq!(text(&of(&rows, story::GIL)[0], "state"), "grace");
    for nobody in [story::CLEO, story::DAN, story::FINN] {
        assert!(of(&rows, nobody).is_empty(), "{}", nobody.name);
    }
    let rows = with(&config, "seats --errors --json").await.ok().rows();
    let cleo = of(&rows, story::CLEO);
    assert_eq!((rows.len(), text(&cleo[0]["paths"][0], "error")), (1, "CountViolation"));
    let line = format!("seats --group {} --json", story::BI_USERS);
    let rows = with(&config, &line).await.ok().rows();
    let users: Vec<&str> = rows.iter().map(|it| text(it, "user")).collect();
    assert!(
        users.contains(&&*story::EVA.user.to_string())
            && !users.contains(&&*story::ANA.user.to_string())
    );
    let table = with(&config, &format!("seats --tenant {}", story::CONTOSO.tenant)).await.ok();
    for wanted in ["direct", "used against bought", "bought"] {
        assert!(table.out.contains(wanted), "{wanted} in {}", table.out);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn query_answers_with_its_exit_code_and_explains_itself() {
    let world = synced().await;
    let config = world.config_path();
    let ask = async |person: story::Person, rest: &str| {
        let line = format!(
            "query synoptic-panel --tenant {} --user {} {rest}",
            person.tenant, person.user
        );
        with(&config, &line).await
    };
    let ben = ask(story::BEN, "--json").await.ok();
    fields(
        &ben.rows()[0],
        "product state usable reason source plan features period_end grace_end notice as_of stale \
         check_after valid_until",
    );
    assert_eq!(text(&ben.rows()[0], "reason"), "seat_by_group");
    let unsupported = ask(story::BEN, "--host export --json").await;
    assert_eq!((unsupported.code, text(&unsupported.rows()[0], "reason")), (3, "host_unsupported"));
    let dan = ask(story::DAN, "--json").await;
    assert_eq!((dan.code, text(&dan.rows()[0], "state")), (3, "unlicensed"));
    let kai = ask(story::KAI, "--json").await;
    assert_eq!((kai.code, text(&kai.rows()[0], "state")), (3, "unknown"));
    let cleo = ask(story::CLEO, "--explain --json").await;
    let trail = &cleo.rows()[0]["trail"];
    assert!(text(&trail["evidence"][0], "says").contains("CountViolation"), "{trail}");
    let people = ask(story::CLEO, "--explain").await;
    for wanted in ["could not assign it", "CountViolation", "it is no seat (rule 2)", "directory"] {
        assert!(people.out.contains(wanted), "{wanted} in {}", people.out);
    }
    let pat =
        format!("query viz-suite --tenant {} --user {}", story::PERSONAL_TENANT, story::BEN.user);
    let ran = with(&config, &format!("{pat} --json")).await;
    assert_eq!((ran.code, text(&ran.rows()[0], "reason")), (3, "personal_account"));
    let line = format!("query nothing --tenant {} --user {}", story::BEN.tenant, story::BEN.user);
    let ran = with(&config, &line).await;
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("synoptic-panel"), "{}", ran.err);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn query_answers_for_a_moment_in_the_past() {
    let world = World::new().await;
    // The daemon reads by itself as soon as it starts: so this moment is before that.
    let before = world.now() - jiff::SignedDuration::from_mins(1);
    world.sync().await;
    world.advance(jiff::SignedDuration::from_mins(1));
    let person = story::ANA;
    let ask = async |at: String| {
        let line = format!(
            "query synoptic-panel --tenant {} --user {} --at {at} --json",
            person.tenant, person.user
        );
        with(&world.config_path(), &line).await
    };
    let now = ask(world.now().to_string()).await.ok();
    assert_eq!(text(&now.rows()[0], "reason"), "seat_direct");
    let then = ask(before.to_string()).await;
    assert_eq!((then.code, text(&then.rows()[0], "reason")), (3, "never_read"));
    let future = ask("2100-01-01T00:00:00Z".to_owned()).await;
    assert_eq!(future.code, 2);
    assert!(future.err.contains("future"), "{}", future.err);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sync_runs_now_and_fails_when_a_run_does() {
    let world = World::new().await;
    let config = world.config_path();
    let ran = with(&config, "sync subscriptions --json").await.ok();
    let rows = ran.rows();
    assert_eq!((rows.len(), text(&rows[0], "outcome")), (1, "complete"));
    assert_eq!(text(&rows[0], "trigger"), "manual");
    let line = format!("sync directory --tenant {} --full", story::CONTOSO.tenant);
    assert!(with(&config, &line).await.ok().out.contains("complete"));
    let line = format!("sync directory --tenant {}", story::LITWARE.tenant);
    let ran = with(&config, &line).await;
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("1 of 1 run(s) not complete"), "{}", ran.err);
    let failed = with(&config, "log --failed --json").await.ok().rows();
    assert!(failed.iter().any(|it| text(it, "tenant") == story::LITWARE.tenant.to_string()));
    assert!(failed.iter().all(|it| text(it, "outcome") != "complete"));
    let id = text(&rows[0], "run").to_owned();
    let shown = with(&config, &format!("log show {id} --json")).await.ok().rows();
    assert_eq!(shown, rows);
    let unknown = "sync --tenant 0b0b0b0b-1111-4222-8333-999999999999";
    let ran = with(&config, unknown).await;
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("is not known"), "{}", ran.err);
    let ran = with(&config, "log show r999999").await;
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("there is no run r999999"), "{}", ran.err);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tenants_subscriptions_and_keys_can_be_looked_at_one_by_one() {
    let world = synced().await;
    let config = world.config_path();
    let tenant = story::LITWARE.tenant;
    let url = with(&config, &format!("tenants consent-url {tenant}")).await.ok().out;
    let wanted = [
        format!("/{tenant}/v2.0/adminconsent?client_id={}", story::CLIENT_ID),
        "scope=".to_owned(),
        "redirect_uri=https%3A%2F%2Flic.vizmaker.example%2Fmarketplace%2Fconsent".to_owned(),
    ];
    assert!(wanted.iter().all(|it| url.contains(it)), "{url}");
    let rows = with(&config, "tenants --json").await.ok().rows();
    let litware = rows.iter().find(|it| text(it, "id") == tenant.to_string()).unwrap();
    assert_eq!((text(litware, "consent"), &litware["stale"]), ("missing", &Value::Bool(true)));
    let rows = with(&config, "subscriptions --json").await.ok().rows();
    let id = text(&rows[0], "id");
    let shown = with(&config, &format!("subscriptions show {id} --json")).await.ok().rows();
    assert_eq!(shown[0]["raw"]["id"], rows[0]["id"]);
    let ran = with(&config, "subscriptions show 0b0b0b0b-1111-4222-8333-999999999999").await;
    assert_eq!(ran.code, 1);
    let before = with(&config, "keys list --json").await.ok().rows();
    let made = with(&config, "keys rotate --json").await.ok().rows();
    let after = with(&config, "keys list --json").await.ok().rows();
    assert_eq!(after[0], made[0]);
    assert_eq!(text(&after[0], "state"), "current");
    let retired = after.iter().find(|it| it["kid"] == before[0]["kid"]).unwrap();
    assert_eq!((text(retired, "state"), &retired["current"]), ("retired", &Value::Bool(false)));
    let changes = with(&config, "changes --json").await.ok().rows();
    let last = changes.iter().find(|it| text(it, "entity") == "key").unwrap();
    assert_eq!((text(last, "cause"), text(last, "id")), ("command", text(&made[0], "kid")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_are_for_people() {
    let world = World::with(Options::default(), "").await;
    let config = world.config_path();
    world.sync().await;
    for (line, wanted) in [
        ("status", "runs  "),
        ("status", "subscriptions  "),
        ("subscriptions", "Subscribed"),
        ("tenants", "granted"),
        ("log", "complete"),
        ("changes", "new"),
        ("keys list", "current"),
    ] {
        let ran = with(&config, line).await.ok();
        assert!(ran.out.contains(wanted), "{line}: {}", ran.out);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_daemon_leaves_the_socket_of_the_first_alone() {
    use entitled::http::admin::{Listener, SocketError};
    let world = World::new().await;
    let second = Listener::bind(&world.dir.path().join("admin.sock"));
    assert!(matches!(second, Err(SocketError::InUse { .. })), "{second:?}");
    with(&world.config_path(), "status").await.ok();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn following_the_log_shows_each_run_as_it_ends_until_the_daemon_stops() {
    use std::io::{BufRead as _, BufReader};
    let mut world = World::new().await;
    world.sync().await;
    let mut child = Command::new(env!("CARGO_BIN_EXE_entitled"))
        .args(["log", "--follow", "--json", "--source", "subscriptions", "--config"])
        .arg(world.config_path())
        .env_clear()
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next_row = || -> Value {
        let line = tokio::task::block_in_place(|| lines.next()).unwrap().unwrap();
        serde_json::from_str(&line).unwrap()
    };
    let mut seen: Vec<Value> = Vec::new();
    let known = world.sync_by(subscriptions()).await.remove(0).id.to_string();
    while seen.last().is_none_or(|it| text(it, "run") != known) {
        seen.push(next_row());
    }
    let next = world.sync_by(subscriptions()).await.remove(0).id.to_string();
    let line = next_row();
    assert_eq!((text(&line, "run"), text(&line, "source")), (&*next, "subscriptions"));
    world.stop_daemon().await;
    let output = tokio::task::block_in_place(|| child.wait_with_output()).unwrap();
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("the daemon stopped"), "{told}");
}

fn subscriptions() -> entitled::sync::RunRequest {
    let source = Some(entitled::domain::Source::Subscriptions);
    entitled::sync::RunRequest { source, ..Default::default() }
}

#[tokio::test]
async fn directories_that_no_plan_needs_are_no_trouble_in_the_status() {
    let only_saas = |config: &mut Config| {
        let per_user = [Channel::Appsource, Channel::IsvApp];
        let saas = |it: &&Arc<Product>| !per_user.iter().any(|on| it.sells_on(*on));
        let kept = config.catalog.products().filter(saas).map(|it| Product::clone(it));
        config.catalog = Catalog::new(kept.collect::<Vec<_>>());
    };
    let world = World::adjusted(Options::default(), "", Box::new(only_saas)).await;
    world.sync().await;
    let status = with(&world.config_path(), "status --json").await.ok().rows().remove(0);
    let sources: Vec<_> =
        status["sources"].as_array().unwrap().iter().map(|it| text(it, "source")).collect();
    assert_eq!(sources, ["subscriptions"], "{status}");
    assert!(status["tenants"]["total"].as_u64().unwrap() > 1, "they are there: {status}");
    let (_, metrics) = world.ops("/metrics").await;
    assert!(!metrics.contains("source=\"directory\",stale=\"true\""), "{metrics}");
}
