//! A daemon in its own process, the sandbox it reads from, and who talks to it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use entitled::sandbox::{Options, Sandbox, TokenRequest, TokenVersion, World as Microsoft, story};
use jiff::{SignedDuration, Timestamp};
use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::world::{CALLER_KEY, config};

pub(super) const BINARY: &str = env!("CARGO_BIN_EXE_entitled");

/// How long a process may take to come up or to stop, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(40);

/// A folder with a configuration, and the Microsoft stand-in that it names.
pub(super) struct Site {
    pub(super) dir: TempDir,
    pub(super) sandbox: Sandbox,
    _serving: JoinSet<()>,
}

fn kept_keys() -> Options {
    Options { keys: Some(crate::world::keys()), ..Options::default() }
}

impl Site {
    pub(super) async fn new() -> Self {
        Self::with("").await
    }

    /// `extra` is appended to the configuration.
    pub(super) async fn with(extra: &str) -> Self {
        let (sandbox, serving) =
            Sandbox::bind(kept_keys(), Arc::new(Timestamp::now)).await.unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(serving);
        let dir = tempfile::tempdir().unwrap();
        config(&dir, &sandbox.base(), extra);
        Self { dir, sandbox, _serving: tasks }
    }

    pub(super) fn microsoft<R>(&self, change: impl FnOnce(&mut Microsoft) -> R) -> R {
        self.sandbox.with_world(change)
    }

    pub(super) fn config(&self) -> PathBuf {
        self.dir.path().join("entitled.toml")
    }

    /// Replaces a text of the configuration.
    pub(super) fn edit(&self, from: &str, to: &str) {
        edit(&self.config(), from, to);
    }

    /// Starts the daemon and waits until it serves.
    pub(super) async fn serve(&self) -> Server {
        Server::start(&self.config(), "info").await
    }

    /// A daemon that has read everything that can be read.
    pub(super) async fn synced() -> (Self, Server) {
        let site = Self::new().await;
        let server = site.serve().await;
        // Litware has not consented, so not everything is complete.
        assert_eq!(server.cli("sync").await.code, 1);
        (site, server)
    }

    pub(super) fn token(&self, tenant: Uuid, user: Uuid) -> String {
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
}

pub(super) fn edit(path: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{from}");
    fs::write(path, text.replacen(from, to, 1)).unwrap();
}

/// What a command left behind.
pub(super) struct Ran {
    pub(super) code: i32,
    pub(super) out: String,
    pub(super) err: String,
}

impl Ran {
    /// Standard output as one JSON value a line.
    pub(super) fn rows(&self) -> Vec<Value> {
        let row = |line: &str| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
        self.out.lines().map(row).collect()
    }

    #[track_caller]
    pub(super) fn ok(self) -> Self {
        self.exits(0)
    }

    #[track_caller]
    pub(super) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}{}", self.out, self.err);
        self
    }

    /// Fails with this code, and the message holds each of these.
    #[track_caller]
    pub(super) fn says(self, code: i32, words: &[&str]) {
        let ran = self.exits(code);
        for word in words {
            assert!(ran.err.contains(word), "{word} in {}", ran.err);
        }
        assert!(!ran.err.contains("panicked"), "{}", ran.err);
    }
}

/// Runs the binary with these words after `--config`.
pub(super) async fn run(config: &Path, line: &str) -> Ran {
    let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    let config = config.to_owned();
    let ran = tokio::task::spawn_blocking(move || {
        let mut command = Command::new(BINARY);
        command.arg("--config").arg(config).args(words).env_clear().output().unwrap()
    });
    let output = ran.await.unwrap();
    Ran {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A daemon of its own process. Dropped, it is killed.
pub(super) struct Server {
    child: Child,
    config: PathBuf,
    log: PathBuf,
    pub(super) public: String,
    pub(super) ops: String,
    pub(super) client: reqwest::Client,
}

impl Server {
    /// Starts a daemon that logs at this level and waits until it serves.
    pub(super) async fn start(config: &Path, level: &str) -> Self {
        let (child, log) = spawn(config, level);
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let (config, empty) = (config.to_owned(), String::new());
        let mut server = Self { child, config, log, public: empty.clone(), ops: empty, client };
        let began = Instant::now();
        loop {
            let text = fs::read_to_string(&server.log).unwrap();
            if let Some((public, ops)) = addresses(&text) {
                (server.public, server.ops) = (public, ops);
                return server;
            }
            let ended = server.child.try_wait().unwrap();
            assert!(ended.is_none() && began.elapsed() < PATIENCE, "{ended:?}: {text}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Everything it has logged so far.
    pub(super) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    pub(super) async fn cli(&self, line: &str) -> Ran {
        run(&self.config, line).await
    }

    /// How much memory it holds, in KiB.
    pub(super) fn resident(&self) -> u64 {
        let text = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = text.lines().find(|it| it.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// SIGKILL: nothing is written any more.
    pub(super) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(super) fn signal(&self, signal: rustix::process::Signal) {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, signal).unwrap();
    }

    /// SIGTERM, and how it ended.
    pub(super) async fn terminate(mut self) -> ExitStatus {
        self.signal(rustix::process::Signal::TERM);
        ended(&mut self.child).await
    }

    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        bearer: Option<&str>,
        body: impl Into<reqwest::Body>,
    ) -> Answer {
        let url = format!("{}{path}", self.public);
        let mut request = self.client.request(method, url).header("Origin", "null");
        if let Some(bearer) = bearer {
            request = request.bearer_auth(bearer);
        }
        Answer::read(request.body(body).send().await.unwrap()).await
    }

    pub(super) async fn post(&self, path: &str, bearer: Option<&str>, body: &Value) -> Answer {
        self.send(Method::POST, path, bearer, body.to_string()).await
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, None, "").await
    }

    /// Asks for a person with the caller's key.
    pub(super) async fn ask(&self, product: &str, person: story::Person) -> Answer {
        let body = json!({
            "product": product, "host": "web", "tenant": person.tenant, "user": person.user,
        });
        self.post("/v1/entitlements", Some(CALLER_KEY), &body).await
    }

    pub(super) async fn ops(&self, path: &str) -> (u16, String) {
        let response = self.client.get(format!("{}{path}", self.ops)).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A daemon that may not come up; its log goes to a file beside its configuration.
fn spawn(config: &Path, level: &str) -> (Child, PathBuf) {
    let log = config.with_file_name(format!("log-{}", Uuid::new_v4()));
    let child = Command::new(BINARY)
        .args(["serve", "--config"])
        .arg(config)
        .env_clear()
        .env("ENTITLED_LOG", level)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(&log).unwrap())
        .spawn()
        .unwrap();
    (child, log)
}

/// Starts a daemon that must refuse to start, and what it says.
pub(super) async fn refused(config: &Path) -> Ran {
    let (mut child, log) = spawn(config, "warn");
    let status = ended(&mut child).await;
    let err = fs::read_to_string(log).unwrap();
    Ran { code: status.code().unwrap_or(-1), out: String::new(), err }
}

async fn ended(child: &mut Child) -> ExitStatus {
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if began.elapsed() > PATIENCE {
            child.kill().unwrap();
            panic!("the daemon did not end: {:?}", child.wait());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn addresses(log: &str) -> Option<(String, String)> {
    let told = log.split_once("Serving: public ")?.1;
    let (public, rest) = told.split_once(", ops ")?;
    let (ops, _) = rest.split_once(',')?;
    Some((public.to_owned(), ops.to_owned()))
}

/// What the public listener answered.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) text: String,
    pub(super) body: Value,
}

impl Answer {
    async fn read(response: reqwest::Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.unwrap();
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        Self { status, headers, text, body }
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |it| it.to_str().unwrap())
    }

    /// State and reason, for comparing.
    pub(super) fn says(&self) -> String {
        assert_eq!(self.status, 200, "{}", self.text);
        let text = |field: &str| self.body[field].as_str().unwrap_or("-");
        format!("{} {}", text("state"), text("reason"))
    }
}
