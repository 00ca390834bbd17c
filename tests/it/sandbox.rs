//! The stand-in keeps the promises of the reference, over HTTP and from the outside.

mod entra;
mod graph;
mod itself;
mod marketplace;
mod orders;
mod quirks;
mod webhooks;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use entitled::sandbox::story::{self, CONTOSO, FABRIKAM, LITWARE, WOODGROVE};
use entitled::sandbox::{
    Fault, Faults, NewUser, Options, Sandbox, SkuUnits, TokenRequest, TokenVersion, World,
};
use jiff::{SignedDuration, Timestamp};
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use uuid::Uuid;

const NOW: &str = "2026-11-22T12:00:00Z";
const GRAPH: &str = "https://graph.microsoft.com/.default";
const MARKETPLACE: &str = "20e940b3-4c77-4b0b-9a53-9e16a1b010a7/.default";
const LIST: &str = "/marketplace/api/saas/subscriptions?api-version=2018-08-31";

/// A sandbox at a fixed time, and a client that knows nothing of ours.
struct Probe {
    sandbox: Sandbox,
    http: reqwest::Client,
    serving: tokio::task::JoinHandle<()>,
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {}", self.text))
    }

    fn rows(&self) -> Vec<Value> {
        self.json()["value"].as_array().unwrap().clone()
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap().to_owned()
    }
}

impl Probe {
    async fn new(options: Options) -> Self {
        let now: Timestamp = NOW.parse().unwrap();
        let (sandbox, serving) = Sandbox::bind(options, Arc::new(move || now)).await.unwrap();
        let (http, serving) = (reqwest::Client::new(), tokio::spawn(serving));
        Self { sandbox, http, serving }
    }

    async fn with(spec: &str) -> Self {
        Self::new(Options { faults: spec.parse().unwrap(), ..Options::default() }).await
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Answer { status, headers, text: response.text().await.unwrap() }
    }

    fn url(&self, target: &str) -> String {
        if target.starts_with("http") { target.to_owned() } else { self.sandbox.base() + target }
    }

    async fn login(&self, tenant: impl ToString, path: &str, form: &[(&str, &str)]) -> Answer {
        let url = format!("{}/login/{}/{path}", self.sandbox.base(), tenant.to_string());
        self.send(self.http.post(url).form(form)).await
    }

    async fn token(&self, tenant: Uuid, scope: &str) -> String {
        let answer = self.login(tenant, "oauth2/v2.0/token", &credentials(scope)).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json()["access_token"].as_str().unwrap().to_owned()
    }

    async fn ask(&self, token: &str, target: &str, headers: &[(&'static str, &str)]) -> Answer {
        let mut request = self.http.get(self.url(target)).bearer_auth(token);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request).await
    }

    /// Follows next links to the end; the last page comes back with all rows.
    async fn walk(&self, token: &str, target: &str, headers: &[(&'static str, &str)]) -> Walk {
        let (mut rows, mut pages, mut next) = (Vec::new(), Vec::new(), target.to_owned());
        loop {
            let page = self.ask(token, &next, headers).await;
            assert_eq!(page.status, 200, "{}", page.text);
            assert!(page.header("x-ms-resource-unit").is_some());
            pages.push(page.rows().len());
            rows.extend(page.rows());
            let body = page.json();
            let Some(link) = body["@odata.nextLink"].as_str() else {
                let delta = body["@odata.deltaLink"].as_str().map(str::to_owned);
                return Walk { rows, pages, delta };
            };
            assert!(body.get("@odata.deltaLink").is_none(), "never both links");
            link.clone_into(&mut next);
            assert!(pages.len() < 1_000, "a listing without end");
        }
    }
}

struct Walk {
    rows: Vec<Value>,
    pages: Vec<usize>,
    delta: Option<String>,
}

impl Walk {
    /// The last row of each id, ids compared without case.
    fn by_id(&self) -> BTreeMap<Uuid, Value> {
        self.rows.iter().map(|row| (uuid_of(&row["id"]), row.clone())).collect()
    }

    fn delta(&self) -> &str {
        self.delta.as_deref().expect("a delta link")
    }
}

fn uuid_of(value: &Value) -> Uuid {
    value.as_str().unwrap().parse().unwrap()
}

fn credentials(scope: &str) -> Vec<(&'static str, &str)> {
    let id: &'static str = Box::leak(story::CLIENT_ID.to_string().into_boxed_str());
    vec![
        ("grant_type", "client_credentials"),
        ("client_id", id),
        ("client_secret", story::CLIENT_SECRET),
        ("scope", scope),
    ]
}

fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}
