//! The stand-in keeps the promises of the reference, over HTTP and from the outside.

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

// ---- Entra ------------------------------------------------------------------------------------

#[tokio::test]
async fn the_token_endpoint_refuses_in_entras_words() {
    let probe = Probe::new(Options::default()).await;
    let check = async |tenant: &str,
                       change: (&'static str, &'static str),
                       code: u64,
                       status: u16| {
        let mut form = credentials(GRAPH);
        form.retain(|(name, _)| *name != change.0);
        form.push(change);
        let answer = probe.login(tenant, "oauth2/v2.0/token", &form).await;
        assert_eq!((answer.json()["error_codes"][0].as_u64(), answer.status), (Some(code), status));
        let text = answer.json()["error_description"].as_str().unwrap().to_owned();
        assert!(text.starts_with(&format!("AADSTS{code}: ")), "{text}");
        for field in ["error", "timestamp", "trace_id", "correlation_id"] {
            assert!(answer.json()[field].is_string(), "{field}");
        }
        assert!(!text.contains(story::CLIENT_SECRET));
    };
    let contoso = CONTOSO.tenant.to_string();
    let nothing = ("x", "");
    check(&contoso, ("client_secret", "guess"), 7_000_215, 401).await;
    check(&contoso, ("client_secret", story::EXPIRED_SECRET), 7_000_222, 401).await;
    check(&contoso, ("client_id", "00000000-0000-4000-8000-00000000dead"), 700_016, 400).await;
    check(&contoso, ("scope", "https://vault.azure.net/.default"), 500_011, 400).await;
    check(&contoso, ("scope", MARKETPLACE), 500_011, 400).await;
    check(&contoso, ("scope", "User.Read.All"), 70_011, 400).await;
    check(&contoso, ("grant_type", "password"), 70_003, 400).await;
    check(&LITWARE.tenant.to_string(), nothing, 700_016, 400).await;
    check("00000000-0000-4000-8000-00000000beef", nothing, 90_002, 400).await;
    check("common", nothing, 9_001_023, 400).await;
    check(&story::PERSONAL_TENANT.to_string(), nothing, 9_001_023, 400).await;
}

#[tokio::test]
async fn a_token_may_be_asked_for_in_every_documented_way() {
    let probe = Probe::new(Options::default()).await;
    let tenant = CONTOSO.tenant;
    let two = probe.login(tenant, "oauth2/v2.0/token", &credentials(GRAPH)).await.json();
    assert_eq!(two["expires_in"], 3_599);
    let mut form = credentials("");
    form.push(("resource", "https://graph.microsoft.com/"));
    let one = probe.login(tenant, "oauth2/token", &form).await.json();
    assert_eq!((&one["expires_in"], &one["token_type"]), (&json!("3599"), &json!("Bearer")));

    // HTTP Basic, form-encoded inside.
    let secret: String =
        url::form_urlencoded::byte_serialize(story::CLIENT_SECRET.as_bytes()).collect();
    let basic = STANDARD.encode(format!("{}:{secret}", story::CLIENT_ID));
    let url = format!("{}/login/{tenant}/oauth2/v2.0/token", probe.sandbox.base());
    let form = [("grant_type", "client_credentials"), ("scope", GRAPH)];
    let request = probe.http.post(&url).header("authorization", format!("Basic {basic}"));
    assert_eq!(probe.send(request.form(&form)).await.status, 200);

    let assertion = |audience: &str, exp: i64| {
        let body = json!({"aud": audience, "exp": exp, "sub": story::CLIENT_ID}).to_string();
        format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(body))
    };
    let now = NOW.parse::<Timestamp>().unwrap().as_second();
    let cases = [
        (assertion(&url, now + 60), None),
        (assertion(&url, now - 60), Some(700_024)),
        (assertion("https://elsewhere.example", now + 60), Some(700_023)),
    ];
    for (assertion, code) in cases {
        let mut form = credentials(GRAPH);
        form.retain(|(name, _)| *name != "client_secret");
        form.push(("client_assertion", &assertion));
        let answer = probe.login(tenant, "oauth2/v2.0/token", &form).await;
        assert_eq!(answer.json()["error_codes"][0].as_u64(), code);
    }
}

#[tokio::test]
async fn withdrawn_consent_counts_at_once_and_new_consent_needs_a_new_token() {
    let probe = Probe::new(Options::default()).await;
    let tenant = CONTOSO.tenant;
    let old = probe.token(tenant, GRAPH).await;
    assert_eq!(claims(&old)["roles"], json!(story::ROLES));
    assert_eq!(probe.ask(&old, "/graph/v1.0/users", &[]).await.status, 200);

    probe.sandbox.with_world(|world| world.consent(tenant, Some(Vec::new()))).unwrap();
    let denied = probe.ask(&old, "/graph/v1.0/users", &[]).await;
    assert_eq!((denied.status, denied.code().as_str()), (403, "Authorization_RequestDenied"));
    let bare = probe.token(tenant, GRAPH).await;
    assert!(claims(&bare).get("roles").is_none(), "no permission, no claim");

    let roles = Some(story::ROLES.map(str::to_owned).to_vec());
    probe.sandbox.with_world(|world| world.consent(tenant, roles)).unwrap();
    assert_eq!(probe.ask(&bare, "/graph/v1.0/users", &[]).await.status, 403);
    let new = probe.token(tenant, GRAPH).await;
    assert_eq!(probe.ask(&new, "/graph/v1.0/users", &[]).await.status, 200);

    probe.sandbox.with_world(|world| world.consent(tenant, None)).unwrap();
    assert_eq!(probe.ask(&new, "/graph/v1.0/users", &[]).await.status, 403);
    let gone = probe.login(tenant, "oauth2/v2.0/token", &credentials(GRAPH)).await;
    assert_eq!(gone.json()["error_codes"], json!([700_016]));
}

#[tokio::test]
async fn a_user_token_verifies_against_the_published_keys() {
    let probe = Probe::new(Options::default()).await;
    let base = probe.sandbox.base();
    let request = |tenant, version| TokenRequest {
        tenant,
        user: story::ANA.user,
        audience: "aud".to_owned(),
        caller: story::POWER_BI_WEB.to_owned(),
        scope: story::VISUAL_SCOPE.to_owned(),
        version,
        expires_in: SignedDuration::from_hours(1),
    };
    let verify = async |token: &str, version: &str| {
        let metadata = format!("/login/common/{version}.well-known/openid-configuration");
        let metadata = probe.ask("", &metadata, &[]).await.json();
        let keys = probe.ask("", metadata["jwks_uri"].as_str().unwrap(), &[]).await.json();
        let kid = jsonwebtoken::decode_header(token).unwrap().kid.unwrap();
        let key = keys["keys"].as_array().unwrap().iter().find(|key| key["kid"] == *kid)?.clone();
        let (n, e) = (key["n"].as_str().unwrap(), key["e"].as_str().unwrap());
        let decoding = jsonwebtoken::DecodingKey::from_rsa_components(n, e).unwrap();
        let mut rules = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::RS256);
        rules.set_audience(&["aud"]);
        rules.validate_exp = false;
        let claims = jsonwebtoken::decode::<Value>(token, &decoding, &rules).unwrap().claims;
        Some((claims, metadata["issuer"].as_str().unwrap().to_owned(), key["issuer"].clone()))
    };
    let tenant = CONTOSO.tenant;
    let one = probe.sandbox.user_token(request(tenant, TokenVersion::V1));
    let (claims, issuer, of_key) = verify(&one, "").await.unwrap();
    assert_eq!(issuer, format!("{base}/sts/{{tenantid}}/"));
    assert_eq!(claims["iss"], issuer.replace("{tenantid}", &tenant.to_string()));
    assert_eq!((&claims["ver"], &claims["appid"]), (&json!("1.0"), &json!(story::POWER_BI_WEB)));
    assert!(of_key.is_null() && claims["upn"] == "ana@contoso.example");

    let two = probe.sandbox.user_token(request(tenant, TokenVersion::V2));
    let (claims, issuer, of_key) = verify(&two, "v2.0/").await.unwrap();
    assert_eq!(issuer, format!("{base}/login/{{tenantid}}/v2.0"));
    assert_eq!(of_key, issuer);
    assert_eq!(claims["iss"], issuer.replace("{tenantid}", &tenant.to_string()));
    assert_eq!((&claims["ver"], &claims["azp"]), (&json!("2.0"), &json!(story::POWER_BI_WEB)));
    assert_eq!(
        (&claims["oid"], &claims["scp"]),
        (&json!(story::ANA.user), &json!(story::VISUAL_SCOPE))
    );

    // The key of personal accounts is good for their issuer only.
    let personal = probe.sandbox.user_token(request(story::PERSONAL_TENANT, TokenVersion::V2));
    let (claims, _, of_key) = verify(&personal, "v2.0/").await.unwrap();
    assert_eq!(claims["iss"], of_key);

    // Rotated once, the old key is still published; rotated twice, it is gone.
    for published in [true, false] {
        probe.sandbox.with_world(World::rotate_keys).unwrap();
        assert_eq!(verify(&two, "v2.0/").await.is_some(), published);
    }
}

#[tokio::test]
async fn graph_takes_only_living_tokens_for_graph() {
    let probe = Probe::new(Options::default()).await;
    let good = probe.token(CONTOSO.tenant, GRAPH).await;
    let marketplace = probe.token(story::PUBLISHER_TENANT, MARKETPLACE).await;
    let mut forged = good.clone();
    forged.truncate(good.len() - 20);
    for token in ["", "nonsense", &marketplace, &forged] {
        let answer = probe.ask(token, "/graph/v1.0/organization", &[]).await;
        assert_eq!((answer.status, answer.code().as_str()), (401, "InvalidAuthenticationToken"));
    }
    let ids = [("client-request-id", "11111111-2222-4333-8444-555566667777")];
    let fine = probe.ask(&good, "/graph/v1.0/organization", &ids).await;
    assert_eq!((fine.status, fine.header("client-request-id")), (200, Some(ids[0].1)));
    assert!(fine.header("request-id").is_some());
    assert_eq!(fine.rows()[0]["id"], json!(CONTOSO.tenant));
    probe.sandbox.with_world(|world| world.advance_clock(SignedDuration::from_hours(1)));
    assert_eq!(probe.ask(&good, "/graph/v1.0/organization", &[]).await.status, 401);
}

// ---- Marketplace ------------------------------------------------------------------------------

#[tokio::test]
async fn the_list_is_read_to_its_end_over_links_to_another_host() {
    let probe = Probe::new(Options { tenants: 600, users: 2, ..Options::default() }).await;
    let token = probe.token(story::PUBLISHER_TENANT, MARKETPLACE).await;
    let (mut ids, mut pages, mut target) = (BTreeSet::new(), Vec::new(), LIST.to_owned());
    loop {
        let page = probe.ask(&token, &target, &[]).await.json();
        let rows = page["subscriptions"].as_array().unwrap();
        pages.push(rows.len());
        ids.extend(rows.iter().map(|row| uuid_of(&row["id"])));
        let Some(link) = page.get("@nextLink") else { break };
        let link: url::Url = link.as_str().unwrap().parse().unwrap();
        assert_eq!(link.host_str(), Some("main.prod.marketplaceapi.azure.com"));
        let query = link.query().unwrap();
        assert!(query.starts_with("continuationToken=%5b%7b%22"), "lower-case hex: {query}");
        // The path on the canonical host, with and without the sandbox's prefix.
        let prefix = if pages.len() % 2 == 0 { "/marketplace" } else { "" };
        target = format!("{prefix}{}?{query}", link.path());
    }
    let total: usize = pages.iter().sum();
    assert_eq!((ids.len(), total > 250), (total, true), "{pages:?}");
    let (last, full) = pages.split_last().unwrap();
    assert!(full.iter().all(|size| (66..=89).contains(size)) && *last <= 89, "{pages:?}");
    assert!(full.iter().collect::<BTreeSet<_>>().len() > 1, "sizes vary: {pages:?}");
}

#[tokio::test]
async fn the_list_has_its_oddities() {
    let probe = Probe::new(Options::default()).await;
    let token = probe.token(story::PUBLISHER_TENANT, MARKETPLACE).await;
    let ids = [("x-ms-requestid", "r-1"), ("x-ms-correlationid", "c-1")];
    let answer = probe.ask(&token, &LIST.replace('?', "/?"), &ids).await;
    assert_eq!(answer.header("x-ms-requestid"), Some("r-1"));
    assert_eq!(answer.header("x-ms-correlationid"), Some("c-1"));
    let order =
        ["\"id\"", "\"publisherId\"", "\"beneficiary\"", "\"planId\"", "\"term\"", "\"created\""];
    let places: Vec<_> = order.iter().map(|key| answer.text.find(key).unwrap()).collect();
    assert!(places.is_sorted(), "recorded order of keys");
    let all = answer.json()["subscriptions"].as_array().unwrap().clone();
    assert_eq!(all.len(), 9);
    let of = |tenant: Uuid| {
        all.iter().find(|row| row["beneficiary"]["tenantId"] == json!(tenant)).unwrap()
    };
    let proseware = of(story::PROSEWARE.tenant);
    assert_eq!(proseware["lastModified"], "0001-01-01T00:00:00");
    assert!(
        proseware.get("quantity").is_none()
            && proseware["created"].as_str().unwrap().ends_with('Z')
    );
    assert_eq!(of(story::WINGTIP.tenant)["quantity"], 3);
    assert_eq!(of(story::GRAPHIC.tenant)["isFreeTrial"], true);
    assert!(of(story::LAMNA.tenant)["term"].get("startDate").is_none());
    let coho = of(story::COHO.tenant);
    assert_ne!(coho["purchaser"]["tenantId"], coho["beneficiary"]["tenantId"]);
    assert_eq!(coho["allowedCustomerOperations"], json!(["Read"]));
    assert!(all.iter().any(|row| uuid_of(&row["id"]).get_version_num() != 4));

    let one = LIST.replace('?', &format!("/{}?", proseware["id"].as_str().unwrap()));
    assert_eq!(probe.ask(&token, &one, &[]).await.json(), *proseware);
    let raw = r#"{"id":"5d0c1f22-7a31-4c8e-1b2f-90aa3344ee10","zeta":1,"alpha":{"b":2,"a":1}}"#;
    probe.sandbox.with_world(|world| world.upsert_subscription(raw)).unwrap();
    let one = LIST.replace('?', "/5D0C1F22-7a31-4c8e-1b2f-90aa3344ee10?");
    assert_eq!(probe.ask(&token, &one, &[]).await.text, raw);

    probe.sandbox.with_world(World::clear_subscriptions);
    let empty = probe.ask(&token, LIST, &[]).await;
    assert_eq!((empty.status, empty.text.as_str()), (200, ""));
}

#[tokio::test]
async fn the_marketplace_refuses_in_its_many_shapes() {
    let probe = Probe::new(Options::default()).await;
    let token = probe.token(story::PUBLISHER_TENANT, MARKETPLACE).await;
    let graph = probe.token(CONTOSO.tenant, GRAPH).await;
    let path = "/marketplace/api/saas/subscriptions";
    let unspecified = probe.ask(&token, path, &[]).await;
    assert_eq!(
        (unspecified.status, &unspecified.json()["Error"]["Code"]),
        (400, &json!("ApiVersionUnspecified"))
    );
    let wrong = probe.ask(&token, &format!("{path}?api-version=1"), &[]).await;
    assert_eq!(wrong.json()["Error"]["Code"], "UnsupportedApiVersion");
    for bad in ["", graph.as_str()] {
        let answer = probe.ask(bad, LIST, &[]).await;
        assert_eq!((answer.status, answer.json().is_string()), (401, true), "a bare string");
    }
    let unknown = LIST.replace('?', "/5d0c1f22-7a31-4c8e-1b2f-90aa3344ee99?");
    assert_eq!(probe.ask(&token, &unknown, &[]).await.status, 404);
    let bad = format!("{LIST}&continuationToken=%5b%5d");
    assert_eq!(probe.ask(&token, &bad, &[]).await.status, 400);
}

#[tokio::test]
async fn a_stumbling_marketplace_still_tells_everything_in_the_end() {
    let probe = Probe::new(Options { tenants: 60, users: 1, ..Options::default() }).await;
    let token = probe.token(story::PUBLISHER_TENANT, MARKETPLACE).await;
    let walk = async |spec: &str| {
        probe.sandbox.with_world(|world| world.set_faults(spec.parse().unwrap()));
        let (mut rows, mut empty, mut target) = (Vec::new(), 0, LIST.to_owned());
        loop {
            let page = probe.ask(&token, &target, &[]).await.json();
            let items = page["subscriptions"].as_array().unwrap();
            empty += usize::from(items.is_empty());
            rows.extend(items.iter().map(|row| uuid_of(&row["id"])));
            let Some(link) = page.get("@nextLink") else { return (rows, empty) };
            let link: url::Url = link.as_str().unwrap().parse().unwrap();
            target = format!("{}?{}", link.path(), link.query().unwrap());
        }
    };
    let (calm, none) = walk("").await;
    let set = |rows: &[Uuid]| rows.iter().copied().collect::<BTreeSet<_>>();
    assert_eq!((set(&calm).len(), none), (calm.len(), 0));
    let spec = "page=5,marketplace.empty_page=0.5,marketplace.duplicates=0.5";
    let (rough, empty) = walk(spec).await;
    assert_eq!(set(&rough), set(&calm));
    assert!(rough.len() > calm.len() && empty > 0);

    for (spec, status, json) in [
        ("marketplace.truncated=1", 200, false),
        ("marketplace.503_html=1", 503, false),
        ("marketplace.429=1", 429, false),
        ("marketplace.500=1", 500, true),
        ("token.503=1", 200, true),
    ] {
        probe.sandbox.with_world(|world| world.set_faults(spec.parse().unwrap()));
        let answer = probe.ask(&token, LIST, &[]).await;
        let parsed = serde_json::from_str::<Value>(&answer.text).is_ok();
        assert_eq!((answer.status, parsed), (status, json), "{spec}");
    }
    let form = credentials(MARKETPLACE);
    assert_eq!(probe.login(story::PUBLISHER_TENANT, "oauth2/v2.0/token", &form).await.status, 503);
}

// ---- Graph ------------------------------------------------------------------------------------

const SELECT: &str =
    "id,accountEnabled,usageLocation,assignedLicenses,assignedPlans,licenseAssignmentStates";
const MINIMAL: [(&str, &str); 1] = [("prefer", "return=minimal")];

fn delta_start() -> String {
    format!("/graph/v1.0/users/delta()?%24select={}", SELECT.replace(',', "%2C"))
}

fn skus_of(row: &Value) -> BTreeSet<Uuid> {
    row["assignedLicenses"].as_array().unwrap().iter().map(|held| uuid_of(&held["skuId"])).collect()
}

#[tokio::test]
async fn the_story_reads_as_it_is_told() {
    let probe = Probe::new(Options::default()).await;
    let token = probe.token(CONTOSO.tenant, GRAPH).await;
    let all = probe.walk(&token, &format!("/graph/v1.0/users?$select={SELECT}"), &[]).await.by_id();
    let holds = |person: story::Person| skus_of(&all[&person.user]).contains(&story::SYNOPTIC_SKU);
    let paths = |person: story::Person| {
        let states = all[&person.user]["licenseAssignmentStates"].as_array().unwrap().clone();
        let ours = states.into_iter().filter(|row| uuid_of(&row["skuId"]) == story::SYNOPTIC_SKU);
        let group =
            |row: &Value| row["assignedByGroup"].as_str().map(|id| id.parse::<Uuid>().unwrap());
        ours.map(|row| (group(&row), row["state"].clone(), row["error"].clone()))
            .collect::<Vec<_>>()
    };
    assert!(holds(story::ANA) && holds(story::BEN) && holds(story::EVA) && holds(story::FINN));
    assert!(!holds(story::CLEO) && !holds(story::DAN));
    assert_eq!(paths(story::BEN), [(Some(story::BI_USERS), json!("Active"), json!(null))]);
    assert_eq!(
        paths(story::CLEO),
        [(Some(story::FINANCE), json!("Error"), json!("CountViolation"))]
    );
    let eva: BTreeSet<_> = paths(story::EVA).into_iter().map(|path| path.0).collect();
    assert_eq!(eva, BTreeSet::from([None, Some(story::BI_USERS)]));
    let finn = all[&story::FINN.user]["assignedLicenses"].as_array().unwrap();
    let off = finn.iter().find(|held| uuid_of(&held["skuId"]) == story::SYNOPTIC_SKU).unwrap();
    assert_eq!(off["disabledPlans"], json!([story::SYNOPTIC_PLAN]));

    let skus = probe.ask(&token, "/graph/v1.0/subscribedSkus", &[]).await.rows();
    let synoptic = skus.iter().find(|sku| uuid_of(&sku["skuId"]) == story::SYNOPTIC_SKU).unwrap();
    assert_eq!(
        (&synoptic["consumedUnits"], &synoptic["prepaidUnits"]["enabled"]),
        (&json!(4), &json!(4))
    );
    assert_eq!(synoptic["servicePlans"][0]["servicePlanName"], story::SYNOPTIC_SERVICE_ID);
    let bought = probe.ask(&token, "/graph/v1.0/directory/subscriptions", &[]).await.rows();
    assert_eq!(bought.len(), skus.len());
    assert!(bought.iter().any(|row| uuid_of(&row["skuId"]) == story::SYNOPTIC_SKU));

    let warned = probe.token(FABRIKAM.tenant, GRAPH).await;
    let sku = probe.ask(&warned, "/graph/v1.0/subscribedSkus?$select=capabilityStatus", &[]).await;
    assert_eq!(sku.rows()[0]["capabilityStatus"], "Warning");
    assert!(sku.rows()[0].get("skuId").is_none());
    let gil = format!("/graph/v1.0/users/{}?$select=assignedPlans", story::GIL.user);
    assert_eq!(
        probe.ask(&warned, &gil, &[]).await.json()["assignedPlans"][0]["capabilityStatus"],
        "Warning"
    );
}

#[tokio::test]
async fn a_delta_round_brings_every_change_once_asked() {
    let probe = Probe::with("page=2").await;
    let (tenant, token) = (CONTOSO.tenant, probe.token(CONTOSO.tenant, GRAPH).await);
    let first = probe.walk(&token, &delta_start(), &[]).await;
    assert_eq!((first.by_id().len(), first.pages.len()), (6, 3));
    assert_eq!(first.by_id()[&story::ANA.user]["accountEnabled"], true);

    let quiet = probe.walk(&token, first.delta(), &[]).await;
    assert!(quiet.rows.is_empty() && quiet.delta() != "");

    let added = probe.sandbox.with_world(|world| {
        world.unassign(tenant, story::ANA.user, story::SYNOPTIC_SKU).unwrap();
        world.delete_user(tenant, story::BEN.user).unwrap();
        world.purge_user(tenant, story::DAN.user).unwrap();
        world.set_location(tenant, story::EVA.user, None).unwrap();
        world.add_user(tenant, NewUser::default()).unwrap()
    });
    let minimal = probe.walk(&token, quiet.delta(), &MINIMAL).await.by_id();
    let ids: BTreeSet<Uuid> = minimal.keys().copied().collect();
    let people = [story::ANA.user, story::BEN.user, story::DAN.user, story::EVA.user, added];
    assert_eq!(ids, BTreeSet::from(people));
    assert_eq!(minimal[&story::BEN.user]["@removed"]["reason"], "changed");
    assert_eq!(minimal[&story::DAN.user]["@removed"]["reason"], "deleted");
    let eva = minimal[&story::EVA.user].as_object().unwrap();
    assert!(eva["usageLocation"].is_null() && !eva.contains_key("assignedLicenses"), "{eva:?}");
    let ana = minimal[&story::ANA.user].as_object().unwrap();
    assert!(!ana.contains_key("usageLocation") && !ana.contains_key("licenseAssignmentStates"));
    assert!(!skus_of(&minimal[&story::ANA.user]).contains(&story::SYNOPTIC_SKU));
    let new = minimal[&added].as_object().unwrap();
    assert!(new.contains_key("accountEnabled") && !new.contains_key("usageLocation"), "never set");

    // The same link again, without the header: the same users, whole.
    let replay = probe.walk(&token, quiet.delta(), &[]).await.by_id();
    assert_eq!(replay.keys().copied().collect::<BTreeSet<_>>(), ids);
    assert_eq!(replay[&story::ANA.user]["usageLocation"], "AT");

    probe.sandbox.with_world(|world| world.restore_user(tenant, story::BEN.user)).unwrap();
    let back = probe.walk(&token, quiet.delta(), &MINIMAL).await.by_id();
    assert!(skus_of(&back[&story::BEN.user]).contains(&story::SYNOPTIC_SKU), "restored and whole");
}

#[tokio::test]
async fn delta_is_blind_to_assignment_states() {
    let probe = Probe::new(Options::default()).await;
    let (tenant, token) = (CONTOSO.tenant, probe.token(CONTOSO.tenant, GRAPH).await);
    let first = probe.walk(&token, &delta_start(), &[]).await;
    let (eva, sku) = (story::EVA.user, story::SYNOPTIC_SKU);
    // From direct and group to group alone: what she holds is the same.
    probe.sandbox.with_world(|world| world.unassign(tenant, eva, sku)).unwrap();
    let group = Some(story::BI_USERS);
    let error = ("ActiveWithError", "DependencyViolation");
    probe.sandbox.with_world(|world| world.set_path(tenant, eva, sku, group, error)).unwrap();
    // And a lapsing subscription raises no row either.
    probe.sandbox.with_world(|world| world.sku_status(tenant, sku, "Suspended")).unwrap();
    assert!(probe.walk(&token, first.delta(), &[]).await.rows.is_empty());
    let target = format!("/graph/v1.0/users/{eva}?$select={SELECT}");
    let now = probe.ask(&token, &target, &[]).await.json();
    let states = now["licenseAssignmentStates"].as_array().unwrap();
    assert!(
        states
            .iter()
            .any(|row| row["state"] == "ActiveWithError" && row["error"] == "DependencyViolation")
    );
    assert!(
        now["assignedPlans"]
            .as_array()
            .unwrap()
            .iter()
            .any(|plan| plan["capabilityStatus"] == "Suspended")
    );
}

#[tokio::test]
async fn delta_tokens_die_in_the_documented_ways() {
    let probe = Probe::new(Options::default()).await;
    let tenant = CONTOSO.tenant;
    let token = probe.token(tenant, GRAPH).await;
    let latest =
        probe.ask(&token, "/graph/v1.0/users/delta?$deltatoken=latest&$select=id", &[]).await;
    assert!(latest.rows().is_empty());
    let link = latest.json()["@odata.deltaLink"].as_str().unwrap().to_owned();

    let other = probe.token(FABRIKAM.tenant, GRAPH).await;
    assert_eq!(probe.ask(&other, &link, &[]).await.code(), "syncStateNotFound");
    for option in ["$top=5", "$expand=manager", "$orderby=id"] {
        let target = format!("/graph/v1.0/users/delta?{option}");
        assert_eq!(probe.ask(&token, &target, &[]).await.status, 400, "{option}");
    }

    probe
        .sandbox
        .with_world(|world| world.set_faults(Faults::default().with(Fault::Delta410, 1.0)));
    let gone = probe.ask(&token, &link, &[]).await;
    assert_eq!(gone.status, 410);
    let location = gone.header("location").unwrap();
    assert!(location.ends_with("$deltatoken="));
    assert_eq!(probe.walk(&token, location, &[]).await.by_id().len(), 6);

    probe.sandbox.with_world(|world| {
        world.set_faults(Faults::default());
        world.advance_clock(SignedDuration::from_hours(24 * 7));
    });
    let token = probe.token(tenant, GRAPH).await;
    assert_eq!(probe.ask(&token, &link, &[]).await.status, 200, "seven days are fine");
    probe.sandbox.with_world(|world| world.advance_clock(SignedDuration::from_secs(1)));
    let late = probe.ask(&token, &link, &[]).await;
    assert_eq!((late.status, late.code().as_str()), (400, "syncStateNotFound"));
}

#[tokio::test]
async fn a_stumbling_graph_still_tells_everything_in_the_end() {
    let spec = "seed=3,graph.empty_page=0.5,graph.duplicates=0.5,page=3";
    let faults = spec.parse().unwrap();
    let probe = Probe::new(Options { tenants: 1, users: 100, faults, ..Options::default() }).await;
    let tenant = probe.sandbox.with_world(|world| {
        world.tenants().into_iter().find(|tenant| world.users(*tenant).len() == 100).unwrap()
    });
    let token = probe.token(tenant, GRAPH).await;
    let truth: BTreeSet<Uuid> =
        probe.sandbox.with_world(|world| world.users(tenant)).into_iter().collect();
    for target in [delta_start(), "/graph/v1.0/users?$select=id&$top=50".to_owned()] {
        let walk = probe.walk(&token, &target, &[]).await;
        assert_eq!(walk.by_id().into_keys().collect::<BTreeSet<_>>(), truth);
        assert!(walk.rows.len() > truth.len(), "some came twice");
        assert!(walk.pages.contains(&0), "some pages were empty");
    }
    let check = async |spec: &str, target: &str, status: u16, json: bool| {
        probe.sandbox.with_world(|world| world.set_faults(spec.parse().unwrap()));
        let answer = probe.ask(&token, target, &[]).await;
        let parsed = serde_json::from_str::<Value>(&answer.text).is_ok();
        assert_eq!((answer.status, parsed), (status, json), "{spec}: {}", answer.text);
        answer
    };
    let users = "/graph/v1.0/users?$select=id";
    check("graph.truncated=1", users, 200, false).await;
    check("graph.503_html=1", users, 503, false).await;
    let error = check("graph.500=1", users, 500, true).await;
    assert!(error.json()["error"]["innererror"]["request-id"].is_string());
    assert!(check("graph.429=1", users, 429, true).await.header("retry-after").is_some());
    let silent = check("graph.429_without_retry_after=1", users, 429, true).await;
    assert!(silent.header("retry-after").is_none());
    assert!(silent.json()["error"]["innerError"]["date"].is_string());
    let next = check("page=3", users, 200, true).await.json()["@odata.nextLink"].clone();
    let expired = check("graph.expired_page=1", next.as_str().unwrap(), 400, true).await;
    assert_eq!(expired.code(), "Directory_ExpiredPageToken");
}

#[tokio::test]
async fn group_licences_follow_membership_after_a_while_and_not_through_nesting() {
    let probe = Probe::with("lag=30s").await;
    let (tenant, token) = (CONTOSO.tenant, probe.token(CONTOSO.tenant, GRAPH).await);
    let holds = async |user: Uuid| {
        let target = format!("/graph/v1.0/users/{user}?$select=assignedLicenses");
        skus_of(&probe.ask(&token, &target, &[]).await.json()).contains(&story::SYNOPTIC_SKU)
    };
    let members = async || {
        let target = format!("/graph/v1.0/groups/{}/members?$select=id", story::BI_USERS);
        probe.walk(&token, &target, &[]).await.by_id().into_keys().collect::<BTreeSet<_>>()
    };
    let inner = probe.sandbox.with_world(|world| {
        world.remove_member(tenant, story::BI_USERS, story::BEN.user).unwrap();
        let inner = world.add_group(tenant, None, "Inner").unwrap();
        world.nest_group(tenant, story::BI_USERS, inner).unwrap();
        world.add_member(tenant, inner, story::DAN.user).unwrap();
        inner
    });
    assert_eq!(members().await, BTreeSet::from([story::EVA.user, inner]));
    assert!(holds(story::BEN.user).await, "the effect lags the cause");
    probe.sandbox.with_world(|world| world.advance_clock(SignedDuration::from_secs(30)));
    assert!(!holds(story::BEN.user).await && !holds(story::DAN.user).await);

    // His unit is free, but nobody looks for Cleo before units are bought.
    assert!(!holds(story::CLEO.user).await);
    let units = SkuUnits { enabled: 10, ..SkuUnits::default() };
    probe.sandbox.with_world(|world| {
        world.sku_units(tenant, story::SYNOPTIC_SKU, units).unwrap();
        world.advance_clock(SignedDuration::from_secs(30));
    });
    assert!(holds(story::CLEO.user).await);

    let filter = format!("assignedLicenses/any(x:x/skuId eq {})", story::SYNOPTIC_SKU);
    let target = format!("/graph/v1.0/groups?$select=id,assignedLicenses&$filter={filter}");
    let licensed = probe.walk(&token, &target, &[]).await.by_id();
    assert_eq!(
        licensed.keys().copied().collect::<BTreeSet<_>>(),
        BTreeSet::from([story::BI_USERS, story::FINANCE])
    );
}

#[tokio::test]
async fn lists_page_filter_and_count() {
    let probe = Probe::new(Options { tenants: 1, users: 250, ..Options::default() }).await;
    let tenant = probe.sandbox.with_world(|world| {
        world.tenants().into_iter().find(|tenant| world.users(*tenant).len() == 250).unwrap()
    });
    let token = probe.token(tenant, GRAPH).await;
    let seats = probe.sandbox.with_world(|world| world.seats(tenant));
    let everyone = probe.walk(&token, "/graph/v1.0/users", &[]).await;
    assert_eq!(everyone.pages, [100, 100, 50]);
    assert!(everyone.rows[0].get("assignedLicenses").is_none(), "only with $select");

    let sku = story::SYNOPTIC_SKU;
    let target = format!(
        "/graph/v1.0/users?$select=id&$top=20&$filter=assignedLicenses/any(x:x/skuId+eq+{sku})"
    );
    let holders: BTreeSet<Uuid> =
        probe.walk(&token, &target, &[]).await.by_id().into_keys().collect();
    let truth: BTreeSet<Uuid> =
        seats.iter().filter(|seat| seat.sku == sku && seat.held).map(|seat| seat.user).collect();
    assert!(truth.len() > 50);
    assert_eq!(holders, truth);

    let target =
        "/graph/v1.0/users?$select=id&$count=true&$top=90&$filter=assignedLicenses/$count ne 0";
    let eventual = [("consistencylevel", "eventual")];
    let refused = probe.ask(&token, target, &[]).await;
    assert_eq!((refused.status, refused.code().as_str()), (400, "Request_UnsupportedQuery"));
    let page = probe.ask(&token, target, &eventual).await;
    let licensed: BTreeSet<Uuid> =
        seats.iter().filter(|seat| seat.held).map(|seat| seat.user).collect();
    assert_eq!(page.json()["@odata.count"], licensed.len());
    let next = page.json()["@odata.nextLink"].as_str().unwrap().to_owned();
    assert_eq!(probe.ask(&token, &next, &[]).await.status, 400, "the header is not in the link");
    let second = probe.ask(&token, &next, &eventual).await;
    assert!(second.status == 200 && second.json().get("@odata.count").is_none());

    for bad in ["$top=1000", "$top=0", "$select=shoeSize", "$filter=shoeSize eq 1", "$skiptoken=x"]
    {
        let answer = probe.ask(&token, &format!("/graph/v1.0/users?{bad}"), &[]).await;
        assert_eq!(answer.status, 400, "{bad}");
    }
}

#[tokio::test]
async fn a_batch_answers_each_item_for_itself() {
    let probe = Probe::new(Options::default()).await;
    let token = probe.token(CONTOSO.tenant, GRAPH).await;
    let post = async |requests: Vec<Value>| {
        let url = probe.url("/graph/v1.0/$batch");
        let body = json!({"requests": requests});
        probe.send(probe.http.post(url).bearer_auth(&token).json(&body)).await
    };
    let item = |id: &str, url: &str| json!({"id": id, "method": "GET", "url": url});
    let ana = format!("/users/{}?$select=licenseAssignmentStates", story::ANA.user);
    let mut requests =
        vec![item("1", &ana), item("2", "/users/00000000-0000-4000-8000-00000000dead")];
    requests.push(json!({"id": "3", "method": "GET", "url": ana, "dependsOn": ["2"]}));
    let answer = post(requests.clone()).await;
    assert_eq!(answer.status, 200);
    let statuses = |answer: &Answer| {
        let rows = answer.json()["responses"].as_array().unwrap().clone();
        rows.iter()
            .map(|row| (row["id"].as_str().unwrap().to_owned(), row["status"].as_u64().unwrap()))
            .collect::<Vec<_>>()
    };
    let sorted: BTreeMap<_, _> = statuses(&answer).into_iter().collect();
    assert_eq!(sorted.into_values().collect::<Vec<_>>(), [200, 404, 424]);

    let twenty: Vec<Value> = (0..20).map(|n| item(&n.to_string(), &ana)).collect();
    let ids: Vec<String> =
        statuses(&post(twenty.clone()).await).into_iter().map(|row| row.0).collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 20);
    assert_ne!(ids, (0..20).map(|n| n.to_string()).collect::<Vec<_>>(), "any order");

    probe.sandbox.with_world(|world| world.set_faults("batch.429=0.5".parse().unwrap()));
    let half = post(twenty.clone()).await;
    let throttled: Vec<_> = half.json()["responses"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| row["status"] == 429)
        .cloned()
        .collect();
    assert!(half.status == 200 && !throttled.is_empty() && throttled.len() < 20);
    assert_eq!(throttled[0]["headers"]["Retry-After"], "1");
    assert_eq!(throttled[0]["body"]["error"]["code"], "TooManyRequests");

    let mut many = twenty;
    many.push(item("20", &ana));
    for bad in [many, vec![item("a", &ana), item("A", &ana)], Vec::new()] {
        assert_eq!(post(bad).await.status, 400);
    }
}

#[tokio::test]
async fn resource_units_run_out_and_come_back() {
    // 1 % of the quota of a small tenant: 35 units in 10 seconds.
    let probe = Probe::with("budget=0.01").await;
    let token = probe.token(CONTOSO.tenant, GRAPH).await;
    let sku = async || probe.ask(&token, "/graph/v1.0/subscribedSkus", &[]).await;
    let mut answers = Vec::new();
    for _ in 0..12 {
        answers.push(sku().await);
    }
    assert_eq!(answers[0].header("x-ms-resource-unit"), Some("3"));
    assert!(answers[0].header("x-ms-throttle-limit-percentage").is_none());
    assert_eq!(answers[10].header("x-ms-throttle-limit-percentage"), Some("0.9"));
    let refused = &answers[11];
    assert_eq!((refused.status, refused.code().as_str()), (429, "TooManyRequests"));
    let scope = format!("Tenant_Application/Read/{}/{}", story::CLIENT_ID, CONTOSO.tenant);
    assert_eq!(refused.header("x-ms-throttle-scope"), Some(scope.as_str()));
    let wait: i64 = refused.header("retry-after").unwrap().parse().unwrap();

    let other = probe.token(WOODGROVE.tenant, GRAPH).await;
    assert_eq!(
        probe.ask(&other, "/graph/v1.0/subscribedSkus", &[]).await.status,
        200,
        "its own quota"
    );
    probe.sandbox.with_world(|world| world.advance_clock(SignedDuration::from_secs(wait + 1)));
    assert_eq!(sku().await.status, 200);
}

// ---- the sandbox itself -----------------------------------------------------------------------

#[tokio::test]
async fn the_control_route_changes_the_world() {
    let probe = Probe::new(Options::default()).await;
    let post = async |path: &str, body: &str| {
        probe.send(probe.http.post(probe.url(path)).body(body.to_owned())).await
    };
    let (tenant, dan, sku) = (CONTOSO.tenant, story::DAN.user, story::CALENDAR_SKU);
    let body = format!(
        r#"[{{"assign": {{"tenant": "{tenant}", "user": "{dan}", "sku": "{sku}"}}}},
            {{"add_user": {{"tenant": "{tenant}", "name": "Una"}}}},
            {{"subscription": {{"id": "5d0c1f22-7a31-4c8e-1b2f-90aa3344ee10", "b": 1, "a": 2}}}},
            {{"advance_clock": {{"seconds": 60}}}}, {{"rotate_keys": {{}}}},
            {{"consent": {{"tenant": "{tenant}", "roles": ["User.Read.All"]}}}}]"#
    );
    let done = post("/control", &body).await;
    assert_eq!(done.status, 200, "{}", done.text);
    assert!(done.json()["done"][1]["user"].is_string());
    let seats = probe.sandbox.with_world(|world| world.seats(tenant));
    assert!(seats.iter().any(|seat| seat.user == dan && seat.sku == sku && seat.held));

    let figures = probe.ask("", "/control", &[]).await.json();
    assert_eq!(
        (&figures["now"], &figures["subscriptions"]),
        (&json!("2026-11-22T12:01:00Z"), &json!(10))
    );

    for (body, status) in [
        ("{", 400),
        (r#"{"fly": {}}"#, 400),
        (r#"{"faults": "graph.430=1"}"#, 422),
        (
            r#"{"delete_user": {"tenant": "00000000-0000-4000-8000-00000000dead", "user": "00000000-0000-4000-8000-00000000dead"}}"#,
            422,
        ),
    ] {
        let answer = post("/control", body).await;
        assert_eq!((answer.status, answer.json()["error"].is_string()), (status, true), "{body}");
    }
    let request =
        format!(r#"{{"tenant": "{tenant}", "user": "{dan}", "version": "V1", "expires_in": -5}}"#);
    let token =
        post("/control/token", &request).await.json()["access_token"].as_str().unwrap().to_owned();
    let now = claims(&token);
    assert_eq!((&now["aud"], &now["oid"]), (&json!(story::VISUAL_AUDIENCE), &json!(dan)));
    let noon = NOW.parse::<Timestamp>().unwrap().as_second();
    assert_eq!(now["exp"], noon + 55);
    assert!(now["nbf"].as_i64() < now["exp"].as_i64());

    assert_eq!(post("/control", r#"{"outage": "on"}"#).await.status, 200);
    let down = probe.login(tenant, "oauth2/v2.0/token", &credentials(GRAPH)).await;
    assert_eq!(down.status, 503);
    assert_eq!(post("/control", r#"{"outage": "off"}"#).await.status, 200);
    probe.token(tenant, GRAPH).await;
    let line = probe.sandbox.requests().pop().unwrap();
    assert_eq!((line.method.as_str(), line.status, line.tenant), ("POST", 200, Some(tenant)));
}

#[tokio::test]
async fn the_same_seed_makes_the_same_world() {
    let world = async |seed| {
        let probe = Probe::new(Options { seed, tenants: 5, users: 30, ..Options::default() }).await;
        probe.sandbox.with_world(|world| {
            world.tenants().into_iter().map(|id| (id, world.seats(id))).collect::<Vec<_>>()
        })
    };
    let (one, again, other) = (world(1).await, world(1).await, world(2).await);
    assert_eq!(one, again);
    assert_ne!(one, other);
    assert!(one.iter().map(|(_, seats)| seats.len()).sum::<usize>() > 100);
}
