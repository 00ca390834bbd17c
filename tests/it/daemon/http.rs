//! The public listener as a visual and a web shop see it, and what the ops listener keeps to
//! itself.
//!
//! Source: contract section 5.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use entitled::sandbox::story;
use entitled::tokens::verify_answer;
use jiff::Timestamp;
use reqwest::Method;
use serde_json::{Value, json};

use super::contract::{answer_fields, check};
use super::harness::*;
use crate::world::CALLER_KEY;

const ONE: &str = "/v1/entitlements";
const BATCH: &str = "/v1/entitlements/batch";

const SHOPS_KEY: &str = "ent_bGljZW5zZXMtb25seS1rZXktb2YtdGhlLW90aGVyLXNob3A";

/// A second caller, who may issue licenses and nothing else.
async fn with_two_callers() -> (Site, Server) {
    let site = Site::new().await;
    let key = site.dir.path().join("other-key");
    std::fs::write(&key, SHOPS_KEY).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    let caller = format!(
        "[[caller]]\nname = \"other-shop\"\nkey_file = \"{}\"\nmay = [\"licenses\"]\n[[product]]",
        key.display()
    );
    site.edit("[[product]]", &caller);
    let server = site.serve().await;
    assert_eq!(server.cli("sync").await.code, 1);
    (site, server)
}

fn question(person: story::Person) -> Value {
    json!({
        "product": "synoptic-panel", "host": "web", "tenant": person.tenant, "user": person.user,
    })
}

/// Any page may read it, and no cookie is ever sent along.
#[track_caller]
fn readable(answer: &Answer) {
    assert_eq!(answer.header("access-control-allow-origin"), "*", "{}", answer.text);
    assert!(!answer.headers.contains_key("access-control-allow-credentials"));
}

#[track_caller]
fn problem(answer: &Answer, status: u16, kind: &str) {
    assert_eq!((answer.status, &answer.body["type"]), (status, &kind.into()), "{}", answer.text);
    assert_eq!(answer.header("content-type"), "application/problem+json");
    assert_eq!(answer.body["status"], status);
    check(std::slice::from_ref(&answer.body), "type:text title:text detail:text");
    readable(answer);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_is_signed_complete_and_never_outlasts_what_was_paid() {
    let (_site, server) = Site::synced().await;
    let set = server.get("/.well-known/jwks.json").await;
    assert!(set.header("cache-control").contains("max-age"), "{}", set.header("cache-control"));
    check(set.body["keys"].as_array().unwrap(), "kty:=EC crv:=P-256 kid:text x:text y:text");
    for (product, person) in [
        ("synoptic-panel", story::BEN),
        ("synoptic-panel", story::DAN),
        ("viz-suite", story::MIA),
        ("viz-suite", story::NOA),
        ("viz-suite", story::QUIN),
        ("synoptic-panel", story::KAI),
    ] {
        let answer = server.ask(product, person).await;
        readable(&answer);
        assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"));
        check(std::slice::from_ref(&answer.body), &answer_fields());
        let token = answer.body["token"].as_str().unwrap();
        let claims = verify_answer(token, &set.text, product, Timestamp::now()).unwrap();
        for (name, value) in answer.body.as_object().unwrap() {
            assert!(name == "token" || claims.get(name) == Some(value), "{name}");
        }
        let moment =
            |name: &str| answer.body[name].as_str().map(|it| it.parse::<Timestamp>().unwrap());
        let until = moment("valid_until").unwrap();
        assert_eq!(claims["exp"], until.as_second());
        assert!(!claims["sub"].to_string().contains(&person.user.to_string()));
        let last = moment("grace_end").or(moment("period_end"));
        if let Some(last) = last.filter(|_| answer.body["usable"] == true) {
            assert!(until <= last, "{}", answer.text);
        }
    }
    assert!(server.ask("viz-suite", story::MIA).await.body["period_end"].is_string());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_visual_is_believed_about_its_token_and_nothing_else() {
    let (site, server) = Site::synced().await;
    let dan = site.token(story::DAN.tenant, story::DAN.user);
    let said = server.post(ONE, Some(&dan), &question(story::ANA)).await;
    assert_eq!(said.says(), "unlicensed not_licensed");
    let ana = site.token(story::ANA.tenant, story::ANA.user);
    // Web 1, Desktop 4, Mobile 64, DashboardHost 128; PublishToWeb 2, Embed 8, ReportServer 16,
    // ExportReportHost 32. Source: visuals-and-isv.md, `host.hostEnv`.
    for (flags, supported) in [
        (1, true),
        (4, true),
        (64, true),
        (128, true),
        (2, false),
        (8, false),
        (16, false),
        (32, false),
    ] {
        let body = json!({
            "product": "synoptic-panel", "host": flags, "version": "9.9.9", "from the": ["future"],
        });
        let answer = server.post(ONE, Some(&ana), &body).await;
        let expected = if supported { "active seat_direct" } else { "unlicensed host_unsupported" };
        assert_eq!(answer.says(), expected, "{flags}");
    }
    for kind in ["text/plain", "text/plain;charset=UTF-8", "application/json", ""] {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let mut request = client.post(format!("{}{ONE}", server.public)).bearer_auth(&ana);
        if !kind.is_empty() {
            request = request.header("content-type", kind);
        }
        let body = r#"{"product": "synoptic-panel", "host": "web"}"#;
        assert_eq!(request.body(body).send().await.unwrap().status(), 200, "{kind}");
    }
    let body = json!({"product": "synoptic-panel", "host": "web", "explain": true});
    let answer = server.post(ONE, Some(&ana), &body).await;
    check(std::slice::from_ref(&answer.body), "trail:object token:text");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_wrong_has_its_status_and_its_name() {
    let (site, server) = with_two_callers().await;
    let ana = site.token(story::ANA.tenant, story::ANA.user);
    let key = Some(CALLER_KEY);
    let ask = async |bearer: Option<&str>, body: Value| server.post(ONE, bearer, &body).await;
    let good = || question(story::ANA);
    let with = |field: &str, value: Value| {
        let mut body = good();
        body[field] = value;
        body
    };
    let without = |field: &str| {
        let mut body = good();
        body.as_object_mut().unwrap().remove(field);
        body
    };
    assert_eq!(ask(key, good()).await.says(), "active seat_direct");
    problem(&ask(None, good()).await, 401, "unauthorized");
    problem(&ask(Some("eyJ.nonsense.x"), good()).await, 401, "unauthorized");
    problem(&ask(Some("ent_nobody"), good()).await, 401, "unauthorized");
    problem(&ask(Some(&ana[..ana.len() - 4]), good()).await, 401, "unauthorized");
    problem(&ask(Some(SHOPS_KEY), good()).await, 403, "forbidden");
    problem(&ask(key, with("product", "nothing".into())).await, 404, "unknown-product");
    problem(&ask(key, with("host", "moon".into())).await, 400, "unknown-host");
    problem(&ask(key, with("host", 256.into())).await, 400, "unknown-host");
    problem(&ask(key, without("host")).await, 400, "unknown-host");
    problem(&ask(key, with("tenant", "nonsense".into())).await, 422, "invalid-field");
    assert_eq!(ask(key, with("tenant", "nonsense".into())).await.body["field"], "tenant");
    for body in ["", "[]", "{", "nonsense", "\u{0}"] {
        let answer = server.send(Method::POST, ONE, key, body).await;
        problem(&answer, 400, "malformed-body");
    }
    problem(&server.get("/v1/nothing").await, 404, "not-found");
    problem(&server.send(Method::PUT, ONE, key, "").await, 405, "method-not-allowed");
    let large = "x".repeat(2_000_000);
    problem(&server.send(Method::POST, ONE, key, large).await, 413, "body-too-large");
    for license in [
        json!({"license": {"id": "L-7Q2M-NOBODY", "licensee": "Contoso"}}),
        json!({"package": "eyJhbGciOiJFUzI1NiJ9.e30.AAAA"}),
    ] {
        let mut body = json!({"product": "synoptic-panel", "host": "web"});
        body.as_object_mut().unwrap().extend(license.as_object().unwrap().clone());
        assert_eq!(ask(None, body).await.says(), "unlicensed license_not_recognized");
    }
    let mut last = ask(Some("ent_wrong"), good()).await;
    for _ in 0..12 {
        readable(&last);
        last = ask(Some("ent_wrong"), good()).await;
    }
    problem(&last, 429, "too-many-requests");
    assert!(last.header("retry-after").parse::<u64>().unwrap() >= 1);
    assert_eq!(ask(key, good()).await.status, 200, "the guesser's neighbour");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_is_answered_in_order() {
    let (site, server) = with_two_callers().await;
    let people = [story::DAN, story::ANA, story::CLEO, story::BEN, story::KAI];
    let mut questions: Vec<Value> = (0..100).map(|n| question(people[n % 5])).collect();
    questions[7] = json!({"product": "nothing", "host": "web"});
    questions[8] = json!("no question");
    questions[9] = json!({"product": "synoptic-panel"});
    let body = json!({ "questions": questions });
    let answer = server.post(BATCH, Some(CALLER_KEY), &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    readable(&answer);
    let answers = answer.body["answers"].as_array().unwrap();
    assert_eq!(answers.len(), 100);
    let reasons = ["not_licensed", "seat_direct", "seat_in_error", "seat_by_group", "no_consent"];
    for (n, answer) in answers.iter().enumerate() {
        match n {
            7 => assert_eq!(
                (&answer["type"], &answer["status"]),
                (&"unknown-product".into(), &404.into())
            ),
            8 => assert_eq!(answer["status"], 400, "{answer}"),
            9 => assert_eq!(
                (&answer["type"], &answer["status"]),
                (&"unknown-host".into(), &400.into())
            ),
            _ => {
                check(std::slice::from_ref(answer), &answer_fields());
                assert_eq!(answer["reason"], reasons[n % 5], "{n}");
            }
        }
    }
    questions.push(question(story::ANA));
    let many = server.post(BATCH, Some(CALLER_KEY), &json!({ "questions": questions })).await;
    problem(&many, 422, "invalid-field");
    let none = server.post(BATCH, Some(CALLER_KEY), &json!({"questions": []})).await;
    assert_eq!(none.body, json!({"answers": []}));
    let ana = site.token(story::ANA.tenant, story::ANA.user);
    problem(&server.post(BATCH, Some(&ana), &body).await, 403, "forbidden");
    problem(&server.post(BATCH, Some(SHOPS_KEY), &body).await, 403, "forbidden");
    problem(&server.post(BATCH, None, &body).await, 401, "unauthorized");
    problem(&server.post(BATCH, Some(CALLER_KEY), &json!({})).await, 400, "malformed-body");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_preflight_from_a_visuals_frame_is_answered() {
    let (_site, server) = Site::synced().await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    for path in [ONE, BATCH, "/.well-known/jwks.json"] {
        let asked = client
            .request(Method::OPTIONS, format!("{}{path}", server.public))
            .header("origin", "null")
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization,content-type");
        let answer = asked.send().await.unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        let header = |name: &str| answer.headers()[name].to_str().unwrap().to_lowercase();
        assert_eq!(header("access-control-allow-origin"), "*");
        assert!(header("access-control-allow-methods").contains("post"));
        // `*` would not cover it.
        assert!(header("access-control-allow-headers").contains("authorization"));
        assert!(header("access-control-max-age").parse::<u64>().unwrap() > 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operators_routes_and_files_are_theirs_alone() {
    let (site, server) = Site::synced().await;
    for path in ["/", "/metrics", "/healthz", "/readyz", "/status", "/control"] {
        problem(&server.get(path).await, 404, "not-found");
    }
    for (path, holds) in
        [("/", "<svg"), ("/metrics", "# EOF"), ("/healthz", "alive"), ("/readyz", "\"ready\":true")]
    {
        let (status, text) = server.ops(path).await;
        assert!(status == 200 && text.contains(holds), "{path}: {status} {text}");
    }
    assert_eq!(server.ops(ONE).await.0, 404);
    let described = server.get("/openapi.json").await.body;
    let routes: Vec<_> = described["paths"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(
        routes,
        [
            "/.well-known/jwks.json",
            "/.well-known/revocations",
            "/graph/lifecycle",
            "/graph/notifications",
            "/marketplace/consent",
            "/marketplace/landing",
            "/marketplace/landing/account",
            "/marketplace/landing/purchase",
            "/marketplace/landing/return",
            "/marketplace/webhook",
            "/openapi.json",
            "/v1/activations",
            "/v1/activations/{id}/remove",
            ONE,
            BATCH,
            "/v1/licenses",
            "/v1/licenses/export",
            "/v1/licenses/import",
            "/v1/licenses/overlap",
            "/v1/licenses/switch-plan",
            "/v1/licenses/{id}",
            "/v1/licenses/{id}/cancel",
            "/v1/licenses/{id}/change",
            "/v1/licenses/{id}/package",
            "/v1/licenses/{id}/reinstate",
            "/v1/licenses/{id}/reissue",
            "/v1/licenses/{id}/renew",
            "/v1/licenses/{id}/revoke",
            "/v1/licenses/{id}/suspend",
            "/v1/usage",
            "/v1/usage/{id}"
        ]
    );
    private(&site.dir.path().join("store"));
    let socket = std::fs::metadata(site.dir.path().join("admin.sock")).unwrap();
    assert_eq!(socket.permissions().mode() & 0o777, 0o600);
}

/// Folders 0700, files 0600.
fn private(folder: &Path) {
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(folder), 0o700, "{}", folder.display());
    let entries: Vec<_> = std::fs::read_dir(folder).unwrap().map(|it| it.unwrap().path()).collect();
    assert!(!entries.is_empty() || folder.ends_with("exports") || folder.ends_with("blobs"));
    for path in entries {
        if path.is_dir() {
            private(&path);
        } else {
            assert_eq!(mode(&path), 0o600, "{}", path.display());
        }
    }
}
