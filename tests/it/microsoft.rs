//! The clients of Microsoft against single odd answers (wiremock), against the recorded
//! subscriptions, and against the sandbox.

mod graph;
mod keys;
mod life;
mod login;
mod marketplace;
mod operations;
mod purchase;
mod recorded;
mod reports;
mod rights;
mod sandbox;
mod throttling;

use std::sync::atomic::{AtomicI64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use entitled::domain::TenantId;
use entitled::microsoft::{Clock, Credential, Hosts, Meter, Microsoft, Secret, Settings, Sleep};
use jiff::Timestamp;
use serde_json::{Value, json};
use url::Url;
use wiremock::matchers::{method, path, path_regex};
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

pub(crate) const HOME: &str = "0b0b0b0b-0000-4000-8000-000000000001";
pub(crate) const CUSTOMER: &str = "0a0a0a0a-0000-4000-8000-000000000002";
pub(crate) const OTHER: &str = "0a0a0a0a-0000-4000-8000-000000000003";
pub(crate) const CLIENT: &str = "c11e0700-0000-4000-8000-000000000001";
pub(crate) const SECRET: &str = "a~secret/of+tests=1";
pub(crate) const ROLES: [&str; 3] =
    ["User.Read.All", "LicenseAssignment.Read.All", "Organization.Read.All"];

pub(crate) fn tenant(id: &str) -> TenantId {
    id.parse().unwrap()
}

/// A pretend Microsoft, our clients of it, a clock that only sleeping moves.
pub(crate) struct Pretend {
    pub(crate) server: MockServer,
    pub(crate) microsoft: Microsoft,
    pub(crate) meter: Meter,
    millis: Arc<AtomicI64>,
    slept: Arc<Mutex<Vec<Duration>>>,
}

impl Pretend {
    /// With tokens for everybody.
    pub(crate) async fn new() -> Self {
        let pretend = Self::without_tokens().await;
        pretend.give_tokens().await;
        pretend
    }

    pub(crate) async fn give_tokens(&self) {
        let answer = ok(token(&ROLES, &json!(3_599)));
        let tokens = Mock::given(method("POST")).and(path_regex(TOKENS)).respond_with(answer);
        tokens.with_priority(10).mount(&self.server).await;
    }

    pub(crate) async fn without_tokens() -> Self {
        Self::with(Credential::Secret(Secret::new(SECRET))).await
    }

    pub(crate) async fn with(credential: Credential) -> Self {
        Self::at(credential, None).await
    }

    pub(crate) async fn at(credential: Credential, marketplace: Option<Url>) -> Self {
        let server = MockServer::start().await;
        let at = |path: &str| Url::parse(&format!("{}{path}", server.uri())).unwrap();
        let settings = Settings {
            hosts: Hosts {
                login: at("/login"),
                marketplace: marketplace.unwrap_or_else(|| at("/marketplace")),
                graph: at("/graph"),
                partner_center: at("/partner_center"),
                report_hosts: Vec::new(),
            },
            tenant: tenant(HOME),
            client_id: CLIENT.into(),
            credential,
            identity_endpoint: Some(at("/metadata/identity/oauth2/token")),
        };
        let start: Timestamp = "2026-11-22T10:00:00Z".parse().unwrap();
        let millis = Arc::new(AtomicI64::new(start.as_millisecond()));
        let slept = Arc::new(Mutex::new(Vec::new()));
        let (read, moved, noted) = (Arc::clone(&millis), Arc::clone(&millis), Arc::clone(&slept));
        let clock: Clock =
            Arc::new(move || Timestamp::from_millisecond(read.load(SeqCst)).unwrap());
        let sleep: Sleep = Arc::new(move |wait: Duration| {
            noted.lock().unwrap().push(wait);
            moved.fetch_add(i64::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap(), SeqCst);
            Box::pin(async {})
        });
        let microsoft = Microsoft::with_jitter(settings, clock, sleep, Arc::new(|| 0.5)).unwrap();
        Self { server, microsoft, meter: Meter::new(), millis, slept }
    }

    /// Everything slept so far, in seconds.
    pub(crate) fn slept_s(&self) -> Vec<f64> {
        self.slept.lock().unwrap().iter().map(Duration::as_secs_f64).collect()
    }

    pub(crate) fn pass(&self, wait: Duration) {
        self.millis.fetch_add(i64::try_from(wait.as_millis()).unwrap(), SeqCst);
    }

    /// Answers GETs of this path, once for each of `answers`, the last one for ever.
    pub(crate) async fn get(&self, at: &str, answers: Vec<ResponseTemplate>) {
        self.answer("GET", at, answers).await;
    }

    pub(crate) async fn answer(&self, verb: &str, at: &str, answers: Vec<ResponseTemplate>) {
        let last = answers.len() - 1;
        for (nth, answer) in answers.into_iter().enumerate() {
            let mock = Mock::given(method(verb)).and(path(at)).respond_with(answer);
            let mock = if nth < last { mock.up_to_n_times(1) } else { mock };
            mock.with_priority(u8::try_from(nth + 1).unwrap()).mount(&self.server).await;
        }
    }

    /// The requests whose path ends like this.
    pub(crate) async fn requests(&self, end: &str) -> Vec<Request> {
        let all = self.server.received_requests().await.unwrap();
        all.into_iter().filter(|it| it.url.path().ends_with(end)).collect()
    }
}

pub(crate) const TOKENS: &str = "^/login/[^/]+/oauth2/v2.0/token$";

/// A token endpoint's answer with a token that holds these roles.
pub(crate) fn token(roles: &[&str], expires_in: &Value) -> Value {
    let claims = json!({ "aud": "https://graph.microsoft.com", "roles": roles });
    let text = format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims.to_string()));
    json!({ "token_type": "Bearer", "expires_in": expires_in, "access_token": text })
}

pub(crate) fn ok(body: Value) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(body)
}

pub(crate) fn raw(status: u16, body: &str) -> ResponseTemplate {
    ResponseTemplate::new(status).set_body_string(body)
}

/// Graph's error body.
pub(crate) fn refused(status: u16, code: &str) -> ResponseTemplate {
    let body = json!({ "error": { "code": code, "message": "mia@customer.example",
        "innerError": { "request-id": "r" } } });
    ResponseTemplate::new(status).set_body_json(body)
}

pub(crate) fn header<'a>(request: &'a Request, name: &str) -> &'a str {
    request.headers.get(name).map_or("", |it| it.to_str().unwrap())
}
