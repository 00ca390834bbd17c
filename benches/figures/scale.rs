//! Ten thousand tenants of 20 users, without and with one of 300,000, the daemon a process of its
//! own; then a group of 100,000 members arrives.
//!
//! `SCALE=1000` measures with as many small tenants and everything else in proportion. `arrival`
//! measures the group alone, beside ten small tenants.

use std::collections::HashSet;
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use entitled::sandbox::{GraphUse, Options, Sandbox, SkuUnits, story};
use jiff::Timestamp;
use serde_json::Value;
use uuid::Uuid;

use crate::support::{cpu_s, free_addresses, go_first, row, rss_mib, seconds, title};

const CALLER_KEY: &str = "ent_c2VjcmV0LW9mLXRoZS13ZWItc2hvcC1pbi1ldmVyeS10ZXN0";
/// How often a small tenant is read: shorter than in earnest, so that a bench sees several rounds.
const EVERY: &str = "30s";
/// How long it is watched: more than one round.
const WATCHED: Duration = Duration::from_secs(40);

pub async fn run() {
    let small = std::env::var("SCALE").map_or(10_000, |it| it.parse().unwrap());
    let large = small * 30;
    title(&format!("{small} tenants of 20 users, read every {EVERY}"));
    let alone = World::new(small, 0).await;
    let rss = rss_mib(alone.daemon.child.id());
    row("resident memory when ready", &format!("{rss:.0} MiB"));
    alone.first_read().await;
    let ages_alone = alone.ages(WATCHED).await;
    row("age of what is known of them, steady", &ages_alone);
    alone.steady(small).await;
    drop(alone);

    title(&format!("The same beside one tenant of {large}"));
    let both = World::new(small, large).await;
    both.first_read().await;
    let id = both.daemon.child.id();
    row("resident memory, peak", &format!("{:.0} MiB", peak_mib(id)));
    row("age of what is known of the small ones, steady", &both.ages(WATCHED).await);
    both.arrival(large).await;
    row("resident memory, peak", &format!("{:.0} MiB", peak_mib(id)));
}

/// The group alone.
pub async fn arrival() {
    let large = std::env::var("SCALE").map_or(10_000, |it| it.parse::<usize>().unwrap()) * 30;
    title(&format!("Ten tenants of 20 users and one of {large}"));
    let world = World::new(10, large).await;
    world.first_read().await;
    world.arrival(large).await;
}

struct World {
    sandbox: Sandbox,
    daemon: Daemon,
    folder: tempfile::TempDir,
    begun: Instant,
    large: Option<Uuid>,
    known: Vec<Uuid>,
    _serving: tokio::task::JoinSet<()>,
}

impl World {
    async fn new(tenants: usize, large: usize) -> Self {
        let options = Options { tenants, users: 20, large, ..Options::default() };
        let (sandbox, serving) = Sandbox::bind(options, Arc::new(Timestamp::now)).await.unwrap();
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(serving);
        let story: HashSet<Uuid> = story::CUSTOMERS.iter().map(|it| it.tenant).collect();
        let all: Vec<(Uuid, usize)> = sandbox.with_world(|it| {
            let ids = it.tenants().into_iter().filter(|id| !story.contains(id));
            ids.map(|id| (id, it.users(id).len())).collect()
        });
        let of = |wanted: fn(usize) -> bool| {
            all.iter().filter(move |(_, users)| wanted(*users)).map(|(id, _)| *id)
        };
        let large = of(|users| users > 1_000).next();
        let known: Vec<Uuid> = of(|users| users > 1).collect();
        let folder = tempfile::tempdir().unwrap();
        let daemon = Daemon::start(folder.path(), &sandbox.base(), &known).await;
        Self { sandbox, daemon, folder, begun: Instant::now(), large, known, _serving: tasks }
    }

    /// The daemon's own words on its tenants: when each was last read completely.
    fn tenants(&self) -> Vec<(Uuid, Option<Timestamp>, bool)> {
        let out = Command::new(env!("CARGO_BIN_EXE_entitled"))
            .arg("--config")
            .arg(self.folder.path().join("entitled.toml"))
            .args(["tenants", "--json"])
            .env("ENTITLED_IDENTITY__SECRET", story::CLIENT_SECRET)
            .output()
            .unwrap();
        let text = String::from_utf8(out.stdout).unwrap();
        let line = |line: &str| {
            let it: Value = serde_json::from_str(line).unwrap();
            let read = it["last_complete"].as_str().map(|it| it.parse().unwrap());
            (it["id"].as_str().unwrap().parse().unwrap(), read, it["consent"] == "granted")
        };
        let known: HashSet<Uuid> = self.known.iter().copied().collect();
        text.lines().map(line).filter(|it| known.contains(&it.0)).collect()
    }

    /// Until all have been read that let us in.
    async fn first_read(&self) {
        let open: HashSet<Uuid> = self
            .sandbox
            .with_world(|it| self.known.iter().copied().filter(|id| it.lets_us_in(*id)).collect());
        let (mut small, mut large) = (None, None);
        while small.is_none() || (large.is_none() && self.large.is_some()) {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let tenants = self.tenants();
            let unread =
                |it: &&(Uuid, Option<Timestamp>, bool)| it.1.is_none() && open.contains(&it.0);
            let left: Vec<_> = tenants.iter().filter(unread).map(|it| it.0).collect();
            if left.iter().all(|it| Some(*it) == self.large) {
                small.get_or_insert(self.begun.elapsed());
            }
            if !left.iter().any(|it| Some(*it) == self.large) {
                large.get_or_insert(self.begun.elapsed());
            }
            assert!(self.begun.elapsed() < Duration::from_mins(30), "{} are left", left.len());
        }
        row("first complete read of all small tenants", &seconds(small.unwrap()));
        if self.large.is_some() {
            row("first complete read of the large one", &seconds(large.unwrap()));
        }
        row("tenants that let us in", &format!("{} of {}", open.len(), self.known.len()));
        row("asked for that", &self.spent(GraphUse::default()));
        let id = self.daemon.child.id();
        row("resident memory then; CPU", &format!("{:.0} MiB; {:.1} s", rss_mib(id), cpu_s(id)));
    }

    fn spent(&self, since: GraphUse) -> String {
        let it = self.sandbox.with_world(|it| it.graph_use());
        format!(
            "{} requests, {} units; at most {:.1} % of the app's quota, {:.1} % of a tenant's",
            it.requests - since.requests,
            it.units - since.units,
            100.0 * it.app,
            100.0 * it.tenant
        )
    }

    /// How old the facts about small tenants are, p50 and p99, over a while.
    async fn ages(&self, time: Duration) -> String {
        let until = Instant::now() + time;
        let mut ages: Vec<f64> = Vec::new();
        while Instant::now() < until {
            let now = Timestamp::now();
            let small = self.tenants().into_iter().filter(|it| it.2 && Some(it.0) != self.large);
            ages.extend(small.filter_map(|it| it.1).map(|it| now.duration_since(it).as_secs_f64()));
            tokio::time::sleep(Duration::from_secs(5)).await;
        }
        ages.sort_by(f64::total_cmp);
        let at = |percent: usize| ages[(ages.len() * percent / 100).min(ages.len() - 1)];
        format!("p50 {:.0} s, p99 {:.0} s", at(50), at(99))
    }

    async fn steady(&self, tenants: usize) {
        let time = Duration::from_mins(1);
        let before = self.sandbox.with_world(|it| it.graph_use());
        let cpu = cpu_s(self.daemon.child.id());
        tokio::time::sleep(time).await;
        row("steady, in a minute", &self.spent(before));
        let requests = self.sandbox.with_world(|it| it.graph_use()).requests - before.requests;
        let hour = 60.0 * requests as f64 / 20.0;
        row(
            "so many requests an hour at the default of 10 minutes",
            &format!("{hour:.0}, {:.1} a tenant", hour / tenants as f64),
        );
        let cpu = cpu_s(self.daemon.child.id()) - cpu;
        row("CPU of the daemon meanwhile", &format!("{:.1} %", 100.0 * cpu / time.as_secs_f64()));
    }

    /// A third of the large tenant's users get our licence through one group.
    async fn arrival(&self, large: usize) {
        title("Answers while a large group arrives (200 questions a second, one after the other)");
        let (id, members) = (self.large.unwrap(), large / 3);
        let group = self.sandbox.with_world(|it| {
            let units = SkuUnits { enabled: 4_000_000, ..SkuUnits::default() };
            it.sku_units(id, story::SYNOPTIC_SKU, units).unwrap();
            let group = it.add_group(id, None, "Everybody").unwrap();
            for user in it.users(id).into_iter().take(members) {
                it.add_member(id, group, user).unwrap();
            }
            group
        });
        let person = self.known.iter().find(|it| Some(**it) != self.large).copied().unwrap();
        let user = self.sandbox.with_world(|it| it.users(person)[0]);
        let body = format!(
            "{{\"product\":\"synoptic-panel\",\"host\":\"web\",\"tenant\":\"{person}\",\"user\":\"{user}\"}}"
        );
        let request = format!(
            "POST /v1/entitlements HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {CALLER_KEY}AAA0\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let seats = || self.daemon.seats();
        let idle = paced(self.daemon.public, &request, Duration::from_secs(15), || false);
        row("idle", &idle.to_string());
        let before = seats().await;
        self.sandbox.with_world(|it| {
            it.group_license(id, group, story::SYNOPTIC_SKU, Some(&[])).unwrap();
        });
        let begun = Instant::now();
        let mut sync = Command::new(env!("CARGO_BIN_EXE_entitled"))
            .arg("--config")
            .arg(self.folder.path().join("entitled.toml"))
            .args(["sync", "directory", "--tenant", &id.to_string(), "--json"])
            .env("ENTITLED_IDENTITY__SECRET", story::CLIENT_SECRET)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let done = || sync.try_wait().unwrap().is_some();
        let busy = paced(self.daemon.public, &request, Duration::from_mins(5), done);
        row(&format!("while {members} members arrive"), &busy.to_string());
        let more = seats().await.saturating_sub(before);
        row(
            "until all were there",
            &format!("{}; {more} more users hold it", seconds(begun.elapsed())),
        );
        let ratio = busy.p99.as_secs_f64() / idle.p99.as_secs_f64();
        row("p99 against idle (aim: at most 2)", &format!("{ratio:.2}"));
    }
}

struct Times {
    answers: usize,
    p50: Duration,
    p99: Duration,
}

impl std::fmt::Display for Times {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ms = |it: Duration| 1e3 * it.as_secs_f64();
        write!(f, "p50 {:.2} ms, p99 {:.2} ms of {}", ms(self.p50), ms(self.p99), self.answers)
    }
}

/// A question every 5 ms until it is over; each is timed by itself. On a thread that goes first: neither
/// the stand-in's work nor the daemon's comes between an answer and its measuring, as little as on a
/// machine of its own.
fn paced(
    to: SocketAddr,
    request: &str,
    most: Duration,
    mut done: impl FnMut() -> bool + Send,
) -> Times {
    let ask = move || {
        assert!(go_first(), "chrt (util-linux), and the right to it: run as root");
        let mut stream = std::net::TcpStream::connect(to).unwrap();
        stream.set_nodelay(true).unwrap();
        let (mut times, mut buffer) = (Vec::new(), vec![0_u8; 64 * 1024]);
        let begun = Instant::now();
        while begun.elapsed() < most && !(times.len() % 20 == 0 && done()) {
            std::thread::sleep(Duration::from_millis(5));
            let asked = Instant::now();
            stream.write_all(request.as_bytes()).unwrap();
            let read = stream.read(&mut buffer).unwrap();
            let answer = &buffer[..read];
            assert!(answer.starts_with(b"HTTP/1.1 200"), "{:?}", &answer[..read.min(99)]);
            times.push(asked.elapsed());
        }
        times
    };
    let mut times = std::thread::scope(|it| it.spawn(ask).join().unwrap());
    times.sort();
    let at = |percent: usize| times[(times.len() * percent / 100).min(times.len() - 1)];
    Times { answers: times.len(), p50: at(50), p99: at(99) }
}

fn peak_mib(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|it| it.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}

struct Daemon {
    child: Child,
    public: SocketAddr,
    ops: SocketAddr,
}

impl Daemon {
    async fn start(folder: &Path, sandbox: &str, tenants: &[Uuid]) -> Self {
        let [public, ops] = free_addresses();
        let config = folder.join("entitled.toml");
        std::fs::write(&config, text(folder, sandbox, (public, ops), tenants)).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_entitled"))
            .args(["--config", config.to_str().unwrap(), "serve"])
            .env("ENTITLED_IDENTITY__SECRET", story::CLIENT_SECRET)
            .env("ENTITLED_LOG", "error")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut it = Self { child, public, ops };
        let begun = Instant::now();
        while it.get("/readyz").await.is_none() {
            assert_eq!(it.child.try_wait().unwrap(), None, "it ended");
            assert!(begun.elapsed() < Duration::from_mins(1), "not ready within a minute");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        it
    }

    async fn get(&self, path: &str) -> Option<String> {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let answer = client.get(format!("http://{}{path}", self.ops)).send().await.ok()?;
        if answer.status().is_success() { answer.text().await.ok() } else { None }
    }

    /// How many users hold a seat, as the metrics say.
    async fn seats(&self) -> u64 {
        let metrics = self.get("/metrics").await.unwrap();
        let lines = metrics.lines().filter(|it| it.starts_with("entitled_seats_assigned"));
        lines.filter_map(|it| it.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>() as u64
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn text(
    folder: &Path,
    sandbox: &str,
    (public, ops): (SocketAddr, SocketAddr),
    tenants: &[Uuid],
) -> String {
    let key = folder.join("key");
    std::fs::write(&key, format!("{CALLER_KEY}AAA0")).unwrap();
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&key, private).unwrap();
    let tenants: Vec<_> = tenants.iter().map(|it| format!("[[tenant]]\nid = \"{it}\"\n")).collect();
    let tenants = tenants.concat();
    format!(
        r#"
[publisher]
id = "vizmaker"
tenant = "{home}"
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
[sync.directory]
every = "{EVERY}"
[marketplace]
app_id = "{client}"
[visuals]
audience = ["{audience}"]
callers = ["{power_bi}"]
[[caller]]
name = "load"
key_file = "{key}"
may = ["query"]
[[product]]
id = "synoptic-panel"
name = "Synoptic Panel"
hybrid = "none"
[[product.plan]]
service_id = "{service_id}"
channel = "appsource"
{tenants}"#,
        home = story::PUBLISHER_TENANT,
        client = story::CLIENT_ID,
        folder = folder.display(),
        key = key.display(),
        audience = story::VISUAL_AUDIENCE,
        power_bi = story::POWER_BI_WEB,
        service_id = story::SYNOPTIC_SERVICE_ID,
    )
}
