//! One of the publisher's own systems, which may be as bad at listening as a test wants. It checks
//! signatures by itself: HMAC by hand, from a hash alone.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::{Arc, Mutex};

use aws_lc_rs::digest::{SHA256, digest};
use axum::Router;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// What it answers.
#[derive(Clone, Debug)]
pub(super) enum Reply {
    /// With this status and these headers.
    Status(u16, Vec<(&'static str, String)>),
    /// Not at all.
    Never,
}

impl Reply {
    pub(super) const OK: Self = Self::Status(204, Vec::new());

    pub(super) const fn status(code: u16) -> Self {
        Self::Status(code, Vec::new())
    }
}

/// One try that reached it.
#[derive(Clone, Debug)]
pub(super) struct Got {
    pub(super) id: String,
    pub(super) timestamp: i64,
    pub(super) signatures: Vec<String>,
    pub(super) raw: String,
    pub(super) body: Value,
    /// What it was answered; `None` for no answer.
    pub(super) answered: Option<u16>,
}

impl Got {
    pub(super) fn kind(&self) -> &str {
        self.body["type"].as_str().unwrap()
    }

    /// Whether it was signed with this secret.
    pub(super) fn is_signed_with(&self, secret: &str) -> bool {
        let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
        let content = format!("{}.{}.{}", self.id, self.timestamp, self.raw);
        let wanted = format!("v1,{}", STANDARD.encode(hmac(&key, content.as_bytes())));
        self.signatures.contains(&wanted)
    }
}

/// HMAC-SHA256 as RFC 2104 writes it.
fn hmac(key: &[u8], content: &[u8]) -> Vec<u8> {
    assert!(key.len() <= 64);
    let padded = |with: u8| {
        let mut block = [with; 64];
        block.iter_mut().zip(key).for_each(|(it, key)| *it ^= key);
        block
    };
    let inner = digest(&SHA256, &[&padded(0x36)[..], content].concat());
    digest(&SHA256, &[&padded(0x5c)[..], inner.as_ref()].concat()).as_ref().to_vec()
}

type Script = Arc<dyn Fn(&Got) -> Reply + Send + Sync>;

#[derive(Clone)]
struct Shared {
    got: Arc<Mutex<Vec<Got>>>,
    script: Arc<Mutex<Script>>,
}

/// See the module.
pub(super) struct Receiver {
    name: &'static str,
    types: &'static str,
    address: String,
    pub(super) secrets: Vec<String>,
    folder: TempDir,
    shared: Shared,
    serving: JoinSet<()>,
}

impl Receiver {
    /// One that says yes to everything.
    pub(super) async fn new(name: &'static str) -> Self {
        Self::of(name, "").await
    }

    /// One that wants these types: a TOML list, or nothing for all.
    pub(super) async fn of(name: &'static str, types: &'static str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let script: Script = Arc::new(|_| Reply::OK);
        let shared = Shared { got: Arc::default(), script: Arc::new(Mutex::new(script)) };
        let secrets = vec![secret(name.as_bytes())];
        let mut it = Self {
            name,
            types,
            address: "127.0.0.1:0".to_owned(),
            secrets,
            folder,
            shared,
            serving: JoinSet::new(),
        };
        it.listen().await;
        it
    }

    /// With a second secret, as while one takes the other's place.
    pub(super) fn with_second_secret(mut self) -> Self {
        self.secrets.push(secret(b"the other one"));
        self
    }

    /// Listens (again) where it is configured.
    pub(super) async fn listen(&mut self) {
        let listener = TcpListener::bind(&self.address).await.unwrap();
        self.address = listener.local_addr().unwrap().to_string();
        let router = Router::new().fallback(take).with_state(self.shared.clone());
        self.serving.spawn(async move { axum::serve(listener, router).await.unwrap() });
    }

    /// Connections are refused from now on.
    pub(super) async fn hang_up(&mut self) {
        self.serving.shutdown().await;
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/hooks", self.address)
    }

    pub(super) fn config(&self) -> String {
        let mut files = String::new();
        for (key, secret) in ["secret_file", "second_secret_file"].iter().zip(&self.secrets) {
            let path = self.folder.path().join(key);
            std::fs::write(&path, secret).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            files.extend([*key, " = \"", path.to_str().unwrap(), "\"\n"]);
        }
        let types = if self.types.is_empty() { "" } else { &format!("types = {}\n", self.types) };
        format!("\n[[notify]]\nname = \"{}\"\nurl = \"{}\"\n{files}{types}", self.name, self.url())
    }

    /// From now on it answers like this.
    pub(super) fn answers(&self, script: impl Fn(&Got) -> Reply + Send + Sync + 'static) {
        *self.shared.script.lock().unwrap() = Arc::new(script);
    }

    /// Every try that reached it, in order.
    pub(super) fn got(&self) -> Vec<Got> {
        self.shared.got.lock().unwrap().clone()
    }

    /// The tries that it said yes to.
    pub(super) fn taken(&self) -> Vec<Got> {
        let mut got = self.got();
        got.retain(|it| it.answered.is_some_and(|status| status < 300));
        got
    }

    pub(super) fn taken_ids(&self) -> BTreeSet<String> {
        self.taken().into_iter().map(|it| it.id).collect()
    }

    /// Forgets what it got so far.
    pub(super) fn forget(&self) {
        self.shared.got.lock().unwrap().clear();
    }
}

fn secret(seed: &[u8]) -> String {
    format!("whsec_{}", STANDARD.encode(digest(&SHA256, seed)))
}

async fn take(State(shared): State<Shared>, headers: HeaderMap, raw: String) -> Response {
    let header = |name: &str| headers[name].to_str().unwrap().to_owned();
    assert_eq!(header("content-type"), "application/json");
    let mut got = Got {
        id: header("webhook-id"),
        timestamp: header("webhook-timestamp").parse().unwrap(),
        signatures: header("webhook-signature").split(' ').map(str::to_owned).collect(),
        body: serde_json::from_str(&raw).unwrap(),
        raw,
        answered: None,
    };
    let script = Arc::clone(&*shared.script.lock().unwrap());
    let reply = script(&got);
    if let Reply::Status(status, _) = &reply {
        got.answered = Some(*status);
    }
    shared.got.lock().unwrap().push(got);
    match reply {
        Reply::Status(status, headers) => {
            let mut response = axum::http::StatusCode::from_u16(status).unwrap().into_response();
            for (name, value) in headers {
                response.headers_mut().insert(name, value.parse().unwrap());
            }
            response
        }
        Reply::Never => std::future::pending().await,
    }
}
