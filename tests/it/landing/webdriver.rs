//! Chromium, headless, by `WebDriver`: as much of it as the tests of the pages need.

use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use tempfile::TempDir;

/// How long a page may take to be there, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(40);

/// The member that holds an element's id (W3C `WebDriver`, section 12.1).
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A browser with one window. Dropped, it and its helper end.
pub(crate) struct Chromium {
    driver: Child,
    http: reqwest::Client,
    session: String,
    /// Kept open, so that it may go on writing.
    _output: BufReader<ChildStdout>,
    _profile: TempDir,
}

/// Whether there is a browser to test with. With `REQUIRE_BROWSER=1` there has to be one.
pub(crate) fn is_there() -> bool {
    let found = ["chromium", "chromedriver"].iter().all(|program| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|it| it.join(program).is_file())
    });
    if !found {
        let required = std::env::var("REQUIRE_BROWSER").is_ok_and(|it| it == "1");
        assert!(!required, "REQUIRE_BROWSER=1, but chromium or chromedriver is not installed");
        eprintln!("SKIPPED: chromium and chromedriver are not installed (Debian: chromium-driver)");
    }
    found
}

impl Chromium {
    pub(crate) async fn start() -> Self {
        let profile = tempfile::tempdir().unwrap();
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .env("HOME", profile.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        let mut output = BufReader::new(driver.stdout.take().unwrap());
        let port = output.by_ref().lines().map_while(Result::ok).find_map(|line| {
            let port = line.split_once("started successfully on port ")?.1;
            port.trim_end_matches('.').parse::<u16>().ok()
        });
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let base = format!("http://127.0.0.1:{}/session", port.unwrap());
        let data = format!("--user-data-dir={}", profile.path().join("data").display());
        let mut it = Self { driver, http, session: base, _output: output, _profile: profile };
        let args = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-dev-shm-usage",
            "--no-proxy-server",
            &data,
        ];
        let wanted =
            json!({"capabilities": {"alwaysMatch": {"goog:chromeOptions": {"args": args}}}});
        let session = it.call(reqwest::Method::POST, "", &wanted).await;
        it.session = format!("{}/{}", it.session, session["sessionId"].as_str().unwrap());
        it
    }

    async fn call(&self, method: reqwest::Method, path: &str, body: &Value) -> Value {
        let request = self.http.request(method.clone(), format!("{}{path}", self.session));
        let request = if method == reqwest::Method::POST { request.json(body) } else { request };
        let answer = request.send().await.unwrap();
        let status = answer.status();
        let mut answer: Value = answer.json().await.unwrap();
        assert!(status.is_success(), "{path} {body}: {answer:#}");
        answer["value"].take()
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        self.call(reqwest::Method::POST, path, &body).await
    }

    async fn read(&self, path: &str) -> String {
        let value = self.call(reqwest::Method::GET, path, &Value::Null).await;
        value.as_str().unwrap().to_owned()
    }

    /// Something only Chromium does.
    async fn devtools(&self, command: &str, params: Value) {
        self.post("/goog/cdp/execute", json!({"cmd": command, "params": params})).await;
    }

    /// Pages run no script from now on.
    pub(crate) async fn without_javascript(&self) {
        self.devtools("Emulation.setScriptExecutionDisabled", json!({"value": true})).await;
    }

    /// What the person prefers, and how wide the window is, in CSS pixels.
    pub(crate) async fn looks(&self, scheme: &str, width: u32) {
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.devtools("Emulation.setEmulatedMedia", json!({"features": features})).await;
        let size = json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false});
        self.devtools("Emulation.setDeviceMetricsOverride", size).await;
    }

    pub(crate) async fn open(&self, url: &str) {
        self.post("/url", json!({"url": url})).await;
    }

    pub(crate) async fn address(&self) -> String {
        self.read("/url").await
    }

    async fn find(&self, css: &str) -> String {
        let found = self.post("/element", json!({"using": "css selector", "value": css})).await;
        found[ELEMENT].as_str().unwrap().to_owned()
    }

    /// Waits until the page with this heading is there: a click does not wait for what it opens.
    pub(crate) async fn shows(&self, heading: &str) {
        let began = Instant::now();
        let mut seen = String::new();
        while seen != heading {
            assert!(began.elapsed() < PATIENCE, "{heading} expected, but it shows {seen}");
            tokio::time::sleep(Duration::from_millis(10)).await;
            let script = "const it = document.querySelector('h1'); return it ? it.innerText : ''";
            let body = json!({"script": script, "args": []});
            let answer = self.http.post(format!("{}/execute/sync", self.session)).json(&body);
            let answer: Value = answer.send().await.unwrap().json().await.unwrap();
            answer["value"].as_str().unwrap_or_default().clone_into(&mut seen);
        }
    }

    pub(crate) async fn click(&self, css: &str) {
        let element = self.find(css).await;
        self.post(&format!("/element/{element}/click"), json!({})).await;
    }

    /// Presses the Tab key.
    pub(crate) async fn tab(&self) {
        let key = |kind: &str| json!({"type": kind, "value": "\u{e004}"});
        let keys =
            json!([{"type": "key", "id": "keys", "actions": [key("keyDown"), key("keyUp")]}]);
        self.post("/actions", json!({"actions": keys})).await;
    }

    /// What a function's body returns.
    pub(crate) async fn run(&self, script: &str) -> Value {
        self.post("/execute/sync", json!({"script": script, "args": []})).await
    }

    /// Keeps a picture of the page in the folder that `LANDING_PICTURES` names, if it does.
    pub(crate) async fn picture(&self, name: &str) {
        let Ok(folder) = std::env::var("LANDING_PICTURES") else { return };
        let image = STANDARD.decode(self.read("/screenshot").await).unwrap();
        std::fs::write(Path::new(&folder).join(format!("{name}.png")), image).unwrap();
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        // Both are in the group, so no browser is left behind.
        if let Some(group) = Pid::from_raw(i32::try_from(self.driver.id()).unwrap()) {
            kill_process_group(group, Signal::KILL).unwrap_or_default();
        }
        drop(self.driver.wait());
    }
}
