//! The 200 to a webhook: written down and synced first. Beside a bare 200 of the same process and
//! a plain write of the same size with an fsync on the same disk, in turns.

use std::fs::File;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use entitled::sandbox::{Options, Sandbox, TokenRequest, TokenVersion, story};
use jiff::{SignedDuration, Timestamp};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::load::{self, Seen};
use crate::support::{free_addresses, row, rss_mib, title};

const MARKETPLACE: &str = "20e940b3-4c77-4b0b-9a53-9e16a1b010a7";
const ROUNDS: usize = 5;
const TIME: Duration = Duration::from_secs(2);

pub async fn run() {
    title("The 200 to a webhook, alternating, 2 s each, median of 5 rounds");
    let (sandbox, serving) =
        Sandbox::bind(Options::default(), Arc::new(Timestamp::now)).await.unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(serving);
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let daemon = Daemon::start(folder.path(), &sandbox.base()).await;
    let token = sandbox.user_token(TokenRequest {
        tenant: story::PUBLISHER_TENANT,
        user: Uuid::from_u128(1),
        audience: story::CLIENT_ID.to_string(),
        caller: MARKETPLACE.to_owned(),
        scope: String::new(),
        version: TokenVersion::V2,
        expires_in: SignedDuration::from_hours(1),
    });
    let health = Arc::new(vec![request("GET", "/healthz", "", "")]);
    let file = folder.path().join("plain");
    for connections in [1, 8, 32] {
        let mut seen = [const { Vec::new() }; 3];
        for _ in 0..ROUNDS {
            let told = Arc::new(webhooks(&token, 20_000));
            seen[0].push(load::run(daemon.ops, &health, connections, TIME).await);
            seen[1].push(writes(&file).await);
            seen[2].push(load::run(daemon.public, &told, connections, TIME).await);
            daemon.drained().await;
        }
        let names = ["a bare 200 (GET /healthz)", "write 1.5 KiB and fsync, one after the other"];
        for (what, seen) in names.iter().chain(&["POST /marketplace/webhook"]).zip(&seen) {
            row(&format!("{connections} connections: {what}"), &shown(seen));
        }
    }
    row("resident memory afterwards", &format!("{:.0} MiB", rss_mib(daemon.child.id())));
}

fn shown(seen: &[Seen]) -> String {
    let median = |of: fn(&Seen) -> f64| {
        let mut all: Vec<f64> = seen.iter().map(of).collect();
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    };
    format!(
        "{:>6.0}/s, p50 {:.2} ms, p99 {:.2} ms",
        median(|it| it.per_second),
        median(|it| it.p50.as_secs_f64() * 1e3),
        median(|it| it.p99.as_secs_f64() * 1e3),
    )
}

/// What the disk can do: as much as a webhook and its record, synced.
async fn writes(path: &Path) -> Seen {
    let path = path.to_owned();
    let work = move || {
        let mut file = File::create(path).unwrap();
        let (begun, mut times) = (Instant::now(), Vec::new());
        while begun.elapsed() < TIME {
            let one = Instant::now();
            file.write_all(&[7; 1_536]).unwrap();
            file.sync_all().unwrap();
            times.push(one.elapsed());
        }
        times.sort();
        Seen {
            answers: times.len(),
            per_second: times.len() as f64 / begun.elapsed().as_secs_f64(),
            p50: times[times.len() / 2],
            p99: times[times.len() * 99 / 100],
        }
    };
    tokio::task::spawn_blocking(work).await.unwrap()
}

/// Webhooks as long as Microsoft's, each with an operation of its own. They name no subscription,
/// so that what is measured is the 200 and not the looking up.
fn webhooks(token: &str, number: usize) -> Vec<Vec<u8>> {
    let name = "x".repeat(1_000);
    let one = |_| {
        let id = Uuid::new_v4();
        let body = format!(
            r#"{{"id":"{id}","activityId":"{id}","action":"Renew","status":"Succeeded","subscription":{{"name":"{name}"}}}}"#
        );
        let headers = format!("authorization: Bearer {token}\r\n");
        request("POST", "/marketplace/webhook", &headers, &body)
    };
    (0..number).map(one).collect()
}

fn request(method: &str, path: &str, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\n{headers}content-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

struct Daemon {
    child: Child,
    public: SocketAddr,
    ops: SocketAddr,
}

impl Daemon {
    async fn start(folder: &Path, sandbox: &str) -> Self {
        let [public, ops] = free_addresses();
        let config = folder.join("entitled.toml");
        std::fs::write(&config, text(folder, sandbox, public, ops)).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_entitled"))
            .args(["--config", config.to_str().unwrap(), "serve"])
            .env("ENTITLED_IDENTITY__SECRET", story::CLIENT_SECRET)
            .env("ENTITLED_LOG", "error")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let daemon = Self { child, public, ops };
        while daemon.metrics().await.is_none() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // Entra's keys are there after the first moments.
        tokio::time::sleep(Duration::from_secs(3)).await;
        daemon
    }

    async fn metrics(&self) -> Option<String> {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let url = format!("http://{}/metrics", self.ops);
        client.get(url).send().await.ok()?.text().await.ok()
    }

    /// Waits until no webhook waits, so that rounds do not fill the inbox.
    async fn drained(&self) {
        loop {
            let metrics = self.metrics().await.unwrap();
            if metrics.lines().any(|it| it == "entitled_webhooks_waiting 0") {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn text(folder: &Path, sandbox: &str, public: SocketAddr, ops: SocketAddr) -> String {
    let folder = folder.display();
    format!(
        r#"
[publisher]
id = "{publisher}"
tenant = "{tenant}"
[identity]
client_id = "{client}"
credential = "secret"
[microsoft]
login = "{sandbox}/login"
issuer_v1 = "{sandbox}/sts"
marketplace = "{sandbox}/marketplace"
graph = "{sandbox}/graph"
[store]
path = "{folder}/store"
[listen]
public = "{public}"
ops = "{ops}"
admin = "{folder}/admin.sock"
[visuals]
audience = ["{audience}"]
callers = ["{caller}"]
[[product]]
id = "viz-suite"
name = "Viz Suite"
[[product.plan]]
service_id = "{publisher}.{offer}.team"
channel = "saas"
"#,
        publisher = story::PUBLISHER,
        tenant = story::PUBLISHER_TENANT,
        client = story::CLIENT_ID,
        audience = story::VISUAL_AUDIENCE,
        caller = story::POWER_BI_WEB,
        offer = story::SUITE_OFFER,
    )
}
