//! A whole world: the sandbox, a daemon against it, and a clock that only moves when it is told.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use entitled::config::Config;
use entitled::daemon::{Daemon, Surroundings};
use entitled::domain::{Mirror, Run};
use entitled::sandbox::{Options, Sandbox, TokenRequest, TokenVersion, World as Microsoft, story};
use entitled::store::Guard;
use entitled::sync::RunRequest;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// The key of the caller `web-shop` in every test.
pub const CALLER_KEY: &str = "ent_c2VjcmV0LW9mLXRoZS13ZWItc2hvcC1pbi1ldmVyeS10ZXN0";

/// When every test begins.
pub const START: i64 = 1_795_000_000;

/// What is done to a configuration that was read.
pub type Adjust = Box<dyn Fn(&mut Config) + Send + Sync>;

/// See the module.
pub struct World {
    pub sandbox: Sandbox,
    pub daemon: Daemon,
    pub dir: TempDir,
    clock: Arc<AtomicI64>,
    slept: Arc<AtomicU64>,
    extra: String,
    adjust: Adjust,
    stop: CancellationToken,
    daemon_task: JoinSet<()>,
    sandbox_task: JoinSet<()>,
    http: reqwest::Client,
}

/// Where all tests keep the stand-in's keys: to make them takes longer than most tests.
pub fn keys() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("sandbox-keys")
}

impl World {
    /// The story's customers, nothing generated.
    pub async fn new() -> Self {
        Self::with(Options::default(), "").await
    }

    /// A world with more customers, or more configuration: keys of `[marketplace]`, then tables.
    pub async fn with(options: Options, extra: &str) -> Self {
        Self::adjusted(options, extra, Box::new(|_| {})).await
    }

    /// A world with secret files that more configuration names.
    pub async fn with_files(files: &[(&str, &str)], extra: &str) -> Self {
        Self::made(Options::default(), files, extra, Box::new(|_| {})).await
    }

    /// A world whose configuration is changed once more after it was read.
    pub async fn adjusted(options: Options, extra: &str, adjust: Adjust) -> Self {
        Self::made(options, &[], extra, adjust).await
    }

    async fn made(options: Options, files: &[(&str, &str)], extra: &str, adjust: Adjust) -> Self {
        let clock = Arc::new(AtomicI64::new(START));
        let options = Options { keys: Some(keys()), ..options };
        let (sandbox, serving) = Sandbox::bind(options, reader(&clock)).await.unwrap();
        let mut sandbox_task = JoinSet::new();
        sandbox_task.spawn(serving);
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            write(&dir, name, text);
        }
        let slept = Arc::new(AtomicU64::new(0));
        let mut config = config(&dir, &sandbox.base(), extra);
        adjust(&mut config);
        let (daemon, stop, daemon_task) = start(config, &clock, &slept).await;
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let extra = extra.to_owned();
        Self {
            sandbox,
            daemon,
            dir,
            clock,
            slept,
            extra,
            adjust,
            stop,
            daemon_task,
            sandbox_task,
            http,
        }
    }

    /// Stops the daemon in order and starts it again on the same store.
    pub async fn restart(&mut self) {
        self.stop_daemon().await;
        let mut config = config(&self.dir, &self.sandbox.base(), &self.extra);
        (self.adjust)(&mut config);
        let (daemon, stop, task) = start(config, &self.clock, &self.slept).await;
        (self.daemon, self.stop, self.daemon_task) = (daemon, stop, task);
    }

    /// As [`Self::restart`], with another end of the configuration.
    pub async fn reconfigure(&mut self, extra: &str) {
        extra.clone_into(&mut self.extra);
        self.restart().await;
    }

    pub async fn stop_daemon(&mut self) {
        self.stop.cancel();
        while let Some(ended) = self.daemon_task.join_next().await {
            ended.unwrap();
        }
    }

    pub fn config_path(&self) -> PathBuf {
        self.dir.path().join("entitled.toml")
    }

    pub fn now(&self) -> Timestamp {
        reader(&self.clock)()
    }

    /// Moves everybody's clock.
    pub fn advance(&self, by: SignedDuration) {
        self.clock.fetch_add(by.as_secs(), Ordering::SeqCst);
    }

    /// How long the daemon would have waited for Microsoft.
    pub fn slept(&self) -> Duration {
        Duration::from_millis(self.slept.load(Ordering::SeqCst))
    }

    /// Waits until it is so. The daemon's tasks look around again and again meanwhile: any commit
    /// wakes them.
    pub async fn until(&self, what: &str, mut is_so: impl FnMut(&Self) -> bool) {
        let patience = async {
            while !is_so(self) {
                let nothing = entitled::domain::Commit::default();
                self.daemon.store.commit(nothing).await.unwrap();
                tokio::time::sleep(Duration::from_millis(3)).await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_mins(1), patience).await;
        assert!(waited.is_ok(), "never: {what}; {:?}", self.daemon.store.outbox());
    }

    /// Changes what is true at Microsoft.
    pub fn microsoft<R>(&self, change: impl FnOnce(&mut Microsoft) -> R) -> R {
        self.sandbox.with_world(change)
    }

    pub fn mirror(&self) -> Arc<Mirror> {
        self.daemon.store.snapshot()
    }

    /// Reads everything now.
    pub async fn sync(&self) -> Vec<Run> {
        self.sync_by(RunRequest::default()).await
    }

    pub async fn sync_tenant(&self, tenant: Uuid) -> Run {
        let tenant = Some(tenant.to_string().parse().unwrap());
        self.sync_by(RunRequest { tenant, ..RunRequest::default() }).await.remove(0)
    }

    pub async fn sync_by(&self, request: RunRequest) -> Vec<Run> {
        let (progress, mut steps) = mpsc::channel(16);
        let (runs, ()) = tokio::join!(self.daemon.sync.run_now(request, progress), async {
            while steps.recv().await.is_some() {}
        });
        runs.unwrap()
    }

    /// Asks as a visual does, with the person's own token.
    pub async fn ask(&self, person: story::Person, product: &str, host: &str) -> Value {
        let token = self.token(person.tenant, person.user);
        let body = json!({ "product": product, "host": host });
        let (status, answer) = self.post("/v1/entitlements", &token, &body).await;
        assert_eq!(status, 200, "{answer}");
        answer
    }

    /// State and reason of an answer, for comparing.
    pub async fn answer(&self, person: story::Person, product: &str) -> String {
        let answer = self.ask(person, product, "web").await;
        let text = |field: &str| answer[field].as_str().unwrap_or("-").to_owned();
        let stale = if answer["stale"] == true { " stale" } else { "" };
        format!("{} {}{stale}", text("state"), text("reason"))
    }

    pub fn token(&self, tenant: Uuid, user: Uuid) -> String {
        self.sandbox.user_token(TokenRequest {
            tenant,
            user,
            audience: story::VISUAL_AUDIENCE.to_owned(),
            caller: story::POWER_BI_WEB.to_owned(),
            scope: story::VISUAL_SCOPE.to_owned(),
            version: TokenVersion::V1,
            expires_in: SignedDuration::from_hours(1),
        })
    }

    pub async fn post(&self, path: &str, bearer: &str, body: &Value) -> (u16, Value) {
        let url = format!("http://{}{path}", self.daemon.public);
        let response = self.http.post(url).bearer_auth(bearer).json(body).send().await.unwrap();
        let status = response.status().as_u16();
        (status, response.json().await.unwrap())
    }

    /// Under an idempotency key.
    pub async fn post_once(
        &self,
        path: &str,
        bearer: &str,
        key: &str,
        body: &Value,
    ) -> (u16, Value) {
        let url = format!("http://{}{path}", self.daemon.public);
        let request = self.http.post(url).bearer_auth(bearer).header("Idempotency-Key", key);
        let response = request.json(body).send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    pub async fn get(&self, path: &str, bearer: &str) -> (u16, Value) {
        let url = format!("http://{}{path}", self.daemon.public);
        let response = self.http.get(url).bearer_auth(bearer).send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    pub async fn ops(&self, path: &str) -> (u16, String) {
        let url = format!("http://{}{path}", self.daemon.ops);
        let response = self.http.get(url).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
        self.sandbox_task.abort_all();
    }
}

fn reader(clock: &Arc<AtomicI64>) -> entitled::sync::Clock {
    let clock = Arc::clone(clock);
    Arc::new(move || Timestamp::from_second(clock.load(Ordering::SeqCst)).unwrap())
}

async fn start(
    config: Config,
    clock: &Arc<AtomicI64>,
    slept: &Arc<AtomicU64>,
) -> (Daemon, CancellationToken, JoinSet<()>) {
    let slept = Arc::clone(slept);
    let moved = Arc::clone(clock);
    let surroundings = Surroundings {
        clock: reader(clock),
        // A wait moves the clock instead of passing time.
        sleep: Arc::new(move |wait: Duration| {
            slept.fetch_add(u64::try_from(wait.as_millis()).unwrap(), Ordering::SeqCst);
            moved.fetch_add(i64::try_from(wait.as_secs() + 1).unwrap(), Ordering::SeqCst);
            Box::pin(tokio::task::yield_now())
        }),
        guard: Guard::Off,
        read_apart: false,
    };
    let (daemon, running) = Box::pin(Daemon::start(config, surroundings)).await.unwrap();
    let stop = CancellationToken::new();
    let ended = stop.clone().cancelled_owned();
    let mut task = JoinSet::new();
    task.spawn(async move { running.until(ended).await.unwrap() });
    (daemon, stop, task)
}

/// A file that only its owner reads.
fn write(dir: &TempDir, name: &str, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    let path = dir.path().join(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// The story's configuration; `extra` is appended.
pub fn config(dir: &TempDir, sandbox: &str, extra: &str) -> Config {
    if !dir.path().join("client-secret").exists() {
        write(dir, "client-secret", story::CLIENT_SECRET);
    }
    write(dir, "web-shop-key", CALLER_KEY);
    write(dir, "entitled.toml", &config_text(dir, sandbox, extra));
    Config::load(&dir.path().join("entitled.toml"), std::iter::empty()).unwrap().config
}

/// The demo's configuration, with a public address and without the tenants' names.
fn config_text(dir: &TempDir, sandbox: &str, extra: &str) -> String {
    let values = [
        ("@folder@", dir.path().display().to_string()),
        ("@sandbox@", sandbox.to_owned()),
        ("@publisher@", story::PUBLISHER.to_owned()),
        ("@home@", story::PUBLISHER_TENANT.to_string()),
        ("@client@", story::CLIENT_ID.to_string()),
        ("@marketplace@", story::MARKETPLACE_APP_ID.to_string()),
        ("@audience@", story::VISUAL_AUDIENCE.to_owned()),
        ("@visual@", story::VISUAL_CLIENT_ID.to_string()),
        ("@power_bi@", story::POWER_BI_WEB.to_owned()),
        ("@synoptic@", story::SYNOPTIC_SERVICE_ID.to_owned()),
        ("@calendar@", story::CALENDAR_SERVICE_ID.to_owned()),
        ("@fieldapp@", story::FIELDAPP_SERVICE_ID.to_owned()),
        ("@suite@", story::SUITE_OFFER.to_owned()),
        ("@company@", story::SUITE_COMPANY.to_owned()),
        ("@team@", story::SUITE_TEAM.to_owned()),
        ("[listen]", "[listen]\npublic_url = \"https://lic.vizmaker.example\"".to_owned()),
    ];
    let template = include_str!("../../src/cli/demo/entitled.toml").to_owned();
    let text = values.iter().fold(template, |text, (from, to)| text.replace(from, to));
    assert!(!text.contains('@'), "a placeholder is left: {text}");
    let (marketplace, extra) = extra.split_at(extra.find('[').unwrap_or(extra.len()));
    let text = text.replace("[marketplace]\n", &format!("[marketplace]\n{marketplace}\n"));
    let unnamed = story::CUSTOMERS.iter().filter(|it| !it.has_subscription);
    let tables = unnamed.map(|it| format!("\n[[tenant]]\nid = \"{}\"\n", it.tenant));
    // Keys for the webhook's section, which is there already.
    match extra.strip_prefix("[marketplace]\n") {
        Some(_) => quiet(text.replace("[marketplace]\n", extra) + &tables.collect::<String>()),
        None => quiet(text + &tables.collect::<String>() + extra),
    }
}

/// The public address is nobody's: Graph is not to be asked to notify it, unless a test says so.
fn quiet(text: String) -> String {
    const OFF: &str = "[sync.directory]\nnotifications = false\n";
    if text.contains("notifications = ") {
        text
    } else if text.contains("[sync.directory]\n") {
        text.replace("[sync.directory]\n", OFF)
    } else {
        text + "\n" + OFF
    }
}
