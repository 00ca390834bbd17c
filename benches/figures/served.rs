//! The real binary: memory, start and answers under load, with every upstream down.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use entitled::domain::{Commit, SourceKey, SourceState};
use entitled::store::{Guard, Store, StoreOptions};
use jiff::Timestamp;

use crate::load;
use crate::support::{self, Numbers, row, rss_mib, seconds, title, user};

const CALLER_KEY: &str = "ent_c2VjcmV0LW9mLXRoZS13ZWItc2hvcC1pbi1ldmVyeS10ZXN0";
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

    title("Answers under load, same server, alternating (32 connections, 4 s each, twice)");
    let bare = vec![request("GET", "/healthz", "", "")];
    for _ in 0..2 {
        let plain = load::run(daemon.ops, bare.clone(), 32, Duration::from_secs(4)).await;
        show("a bare 200", &plain, None);
        let hot = load::run(daemon.public, questions(200), 32, Duration::from_secs(4)).await;
        show("POST /v1/entitlements, signature cached", &hot, Some(&plain));
        let cold = load::run(daemon.public, questions(400_000), 32, Duration::from_secs(4)).await;
        show("POST /v1/entitlements, every answer signed anew", &cold, Some(&plain));
    }
    row("resident memory afterwards", &format!("{:.0} MiB", rss_mib(daemon.child.id())));
}

fn show(what: &str, seen: &load::Seen, beside: Option<&load::Seen>) {
    let share = beside.map_or(String::new(), |it| {
        format!(" = {:.0} % of the bare 200", 100.0 * seen.per_second / it.per_second)
    });
    row(
        what,
        &format!("{:>7.0}/s, p50 {:?}, p99 {:?}{share}", seen.per_second, seen.p50, seen.p99),
    );
}

fn questions(distinct: usize) -> Vec<Vec<u8>> {
    let mut numbers = Numbers(3);
    let mut one = || {
        let tenant = numbers.below(TENANTS);
        let (user, tenant) = (user(tenant, numbers.below(USERS)), support::tenant(tenant));
        let body = format!(
            "{{\"product\":\"synoptic-panel\",\"host\":\"web\",\"tenant\":\"{tenant}\",\"user\":\"{user}\"}}"
        );
        request(
            "POST",
            "/v1/entitlements",
            &format!("authorization: Bearer {CALLER_KEY}\r\n"),
            &body,
        )
    };
    (0..distinct).map(|_| one()).collect()
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
    let options = StoreOptions::new(folder.join("store"), Guard::Off);
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
        let (public, ops) = (free_port(), free_port());
        let config = folder.join("entitled.toml");
        std::fs::write(&config, text(folder, public, ops)).unwrap();
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
            assert!(begun.elapsed() < Duration::from_secs(60), "not ready within a minute");
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

fn free_port() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn text(folder: &Path, public: SocketAddr, ops: SocketAddr) -> String {
    let (down, folder) = (free_port(), folder.display());
    let key = format!("{folder}/key");
    std::fs::write(&key, CALLER_KEY).unwrap();
    std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
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
[[caller]]
name = "load"
key_file = "{key}"
may = ["query"]
[[product]]
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
