//! The real binary: memory, start and answers under load, with every upstream down.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use entitled::domain::{Commit, SourceKey, SourceState};
use entitled::store::{Guard, Store, StoreOptions};
use jiff::Timestamp;

use crate::load;
use crate::support::{self, Numbers, cpu_s, free_addresses, row, rss_mib, seconds, title, user};

const CALLER_KEY: &str = "ent_c2VjcmV0LW9mLXRoZS13ZWItc2hvcC1pbi1ldmVyeS10ZXN0";
/// So many, that none reaches its limit.
const CALLERS: usize = 4;
const TENANTS: usize = 100;
const USERS: usize = 10_000;

pub async fn run() {
    title("The release binary, every upstream down");
    let empty = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(empty.path()).await;
    row("empty store: start to ready", &seconds(daemon.ready_after));
    row("empty store: resident memory", &format!("{:.0} MiB", rss_mib(daemon.child.id())));
    drop(daemon);

    let full = tempfile::tempdir().unwrap();
    let begun = Instant::now();
    fill(full.path()).await;
    row("writing 1,000,000 seats", &seconds(begun.elapsed()));
    row("on disk", &format!("{:.0} MiB", disk_mib(&full.path().join("store"))));
    let daemon = Daemon::start(full.path()).await;
    row("1,000,000 seats: start to ready", &seconds(daemon.ready_after));
    tokio::time::sleep(Duration::from_secs(3)).await;
    row("1,000,000 seats: resident memory", &format!("{:.0} MiB", rss_mib(daemon.child.id())));

    title("Answers under load, same server, alternating (32 connections, 2 s each, median of 5)");
    loads(&daemon).await;
    row("resident memory afterwards", &format!("{:.0} MiB", rss_mib(daemon.child.id())));
}

/// The kinds of requests take turns, so that the machine's noise hits all of them alike.
async fn loads(daemon: &Daemon) {
    let health = vec![request("GET", "/healthz", "", "")];
    let kinds = [
        ("a bare 200 (GET /healthz)", daemon.ops, Arc::new(health)),
        ("POST /v1/entitlements, signature kept", daemon.public, Arc::new(questions(200))),
        (
            "POST /v1/entitlements, every answer signed anew",
            daemon.public,
            Arc::new(questions(400_000)),
        ),
    ];
    let mut seen = [const { Vec::new() }; 3];
    for _ in 0..5 {
        for ((_, to, requests), seen) in kinds.iter().zip(&mut seen) {
            let cpu = cpu_s(daemon.child.id());
            let load = load::run(*to, requests, 32, Duration::from_secs(2)).await;
            let cpu = cpu_s(daemon.child.id()) - cpu;
            seen.push((load.per_second, 1e6 * cpu / load.answers as f64, load.p50, load.p99));
        }
    }
    let median = |seen: &[(f64, f64, Duration, Duration)],
                  of: fn(&(f64, f64, Duration, Duration)) -> f64| {
        let mut all: Vec<f64> = seen.iter().map(of).collect();
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    };
    let bare = (median(&seen[0], |it| it.0), median(&seen[0], |it| it.1));
    for ((what, ..), seen) in kinds.iter().zip(&seen) {
        let (rate, cpu) = (median(seen, |it| it.0), median(seen, |it| it.1));
        let ms = |of: fn(&(f64, f64, Duration, Duration)) -> f64| 1e3 * median(seen, of);
        row(
            what,
            &format!(
                "{rate:>6.0}/s ({:.0} %), {cpu:.1} µs of the server's CPU ({:.0} %), p50 {:.2} ms, p99 {:.2} ms",
                100.0 * rate / bare.0,
                100.0 * cpu / bare.1,
                ms(|it| it.2.as_secs_f64()),
                ms(|it| it.3.as_secs_f64()),
            ),
        );
    }
}

fn questions(distinct: usize) -> Vec<Vec<u8>> {
    let mut numbers = Numbers(3);
    let one = |next: usize| {
        let tenant = numbers.below(TENANTS);
        let (user, tenant) = (user(tenant, numbers.below(USERS)), support::tenant(tenant));
        let body = format!(
            "{{\"product\":\"synoptic-panel\",\"host\":\"web\",\"tenant\":\"{tenant}\",\"user\":\"{user}\"}}"
        );
        request(
            "POST",
            "/v1/entitlements",
            &format!("authorization: Bearer {CALLER_KEY}AAA{}\r\n", next % CALLERS),
            &body,
        )
    };
    (0..distinct).map(one).collect()
}

fn request(method: &str, path: &str, headers: &str, body: &str) -> Vec<u8> {
    format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\n{headers}content-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

async fn fill(folder: &Path) {
    let now = Timestamp::now();
    let options = StoreOptions { guard: Guard::Off, ..StoreOptions::new(folder.join("store")) };
    let (store, _) = Store::open(options, now).unwrap();
    for number in 0..TENANTS {
        store.commit(support::commit(number, USERS, 3, now)).await.unwrap();
    }
    let read = SourceState { last_complete: Some(now), ..SourceState::default() };
    let sources = vec![(SourceKey::SUBSCRIPTIONS, read)];
    store.commit(Commit { sources, ..Commit::default() }).await.unwrap();
    store.close().await;
}

fn disk_mib(folder: &Path) -> f64 {
    let mut bytes = 0;
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let kind = entry.metadata().unwrap();
            if kind.is_dir() { folders.push(entry.path()) } else { bytes += kind.len() }
        }
    }
    bytes as f64 / 1024.0 / 1024.0
}

struct Daemon {
    child: Child,
    public: SocketAddr,
    ops: SocketAddr,
    ready_after: Duration,
}

impl Daemon {
    async fn start(folder: &Path) -> Self {
        let [public, ops, down] = free_addresses();
        let config = folder.join("entitled.toml");
        std::fs::write(&config, text(folder, [public, ops, down])).unwrap();
        let begun = Instant::now();
        let child = Command::new(env!("CARGO_BIN_EXE_entitled"))
            .args(["--config", config.to_str().unwrap(), "serve"])
            .env("ENTITLED_IDENTITY__SECRET", "none")
            .env("ENTITLED_LOG", "error")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        loop {
            let ready = client.get(format!("http://{ops}/readyz")).send().await;
            if ready.is_ok_and(|it| it.status().is_success()) {
                break;
            }
            assert!(begun.elapsed() < Duration::from_mins(1), "not ready within a minute");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Self { child, public, ops, ready_after: begun.elapsed() }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn text(folder: &Path, [public, ops, down]: [SocketAddr; 3]) -> String {
    let folder = folder.display();
    let caller = |number: usize| {
        let key = format!("{folder}/key{number}");
        std::fs::write(&key, format!("{CALLER_KEY}AAA{number}")).unwrap();
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&key, private).unwrap();
        format!("[[caller]]\nname = \"load{number}\"\nkey_file = \"{key}\"\nmay = [\"query\"]\n")
    };
    let callers = (0..CALLERS).map(caller).collect::<Vec<_>>().concat();
    format!(
        r#"
[publisher]
id = "vizmaker"
tenant = "0b0b0b0b-0000-4000-8000-000000000001"
[identity]
client_id = "c11e0700-0000-4000-8000-000000000001"
credential = "secret"
[microsoft]
login = "http://{down}/login"
issuer_v1 = "http://{down}/sts"
marketplace = "http://{down}/marketplace"
graph = "http://{down}/graph"
[store]
path = "{folder}/store"
[listen]
public = "{public}"
ops = "{ops}"
admin = "{folder}/admin.sock"
[marketplace]
app_id = "c11e0700-0000-4000-8000-000000000001"
[visuals]
audience = ["https://lic.vizmaker.example/app"]
callers = ["871c010f-5e61-4fb1-83ac-98610a7e9110"]
{callers}[[product]]
id = "synoptic-panel"
name = "Synoptic Panel"
features = {{ appsource = ["maps"] }}
hybrid = "none"
[[product.plan]]
service_id = "{service_id}"
channel = "appsource"
"#,
        service_id = support::SERVICE_ID,
    )
}
