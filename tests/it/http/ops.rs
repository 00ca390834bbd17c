//! What operators and monitoring see.

use std::collections::BTreeMap;
use std::sync::Arc;

use entitled::domain::{Cause, Change, Commit, Outcome, Run, Source, SourceKey, Trigger};
use jiff::SignedDuration;
use serde_json::Value;

use super::harness::*;
use crate::tokens::{ANA, CONTOSO, now};

#[tokio::test]
async fn nothing_of_it_is_on_the_public_listener() {
    let world = World::new().await;
    for path in ["/", "/metrics", "/healthz", "/readyz"] {
        let response = world.client.get(world.url(path)).send().await.unwrap();
        assert_eq!(response.status(), 404, "{path}");
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        let ops = world.ops_get(path).await;
        assert_eq!(ops.status(), 200, "{path}");
        assert!(!ops.headers().contains_key("access-control-allow-origin"), "{path}");
    }
    assert_eq!(world.ops_get("/v1/entitlements").await.status(), 404);
    let posted = world.client.post(format!("http://{}/", world.ops)).send().await.unwrap();
    assert_eq!(posted.status(), 405, "it only looks");
    for (answer, has) in [
        (world.ops_get("/nothing").await, "/readyz"),
        (posted, "/readyz"),
        (world.client.get(world.url("/nothing")).send().await.unwrap(), "/openapi.json"),
    ] {
        let problem: Value = answer.json().await.unwrap();
        assert!(problem["detail"].as_str().unwrap().contains(has), "{problem}");
    }
}

#[tokio::test]
async fn readiness_is_the_store_not_the_sync() {
    let world = World::new().await;
    let ready: Value = world.ops_get("/readyz").await.json().await.unwrap();
    assert_eq!(ready["ready"], true);
    assert_eq!(
        (&ready["store"]["loaded"], &ready["store"]["writable"]),
        (&Value::Bool(true), &Value::Bool(true))
    );
    assert!(ready["store"]["disk_bytes"].as_u64().unwrap() > 0, "{ready}");
    assert_eq!(ready["tenants"], 2);
    world.store.close().await;
    let closed = world.ops_get("/readyz").await;
    assert_eq!(closed.status(), 503);
    let closed: Value = closed.json().await.unwrap();
    assert_eq!(closed["ready"], false);
    assert!(closed["store"]["error"].is_string(), "{closed}");
    assert_eq!(world.ops_get("/healthz").await.status(), 200, "the process lives");
}

/// OpenMetrics by the letter: every sample belongs to a family that was announced.
fn samples(text: &str) -> BTreeMap<String, f64> {
    assert!(text.ends_with("# EOF\n"), "{text}");
    let (mut families, mut samples) = (Vec::new(), BTreeMap::new());
    for line in text.lines() {
        if let Some(meta) = line.strip_prefix("# ") {
            if let Some(rest) = meta.strip_prefix("TYPE ") {
                families.push(rest.split(' ').next().unwrap().to_owned());
            }
            continue;
        }
        let (name, value) = line.rsplit_once(' ').unwrap();
        let bare = name.split('{').next().unwrap();
        assert!(families.iter().any(|it| bare.starts_with(it.as_str())), "{line}");
        assert!(bare.starts_with("entitled_"), "{line}");
        samples.insert(name.to_owned(), value.parse().unwrap());
    }
    samples
}

#[tokio::test]
async fn metrics_tell_what_is_mirrored_and_what_was_answered() {
    let world = World::new().await;
    for _ in 0..3 {
        world.ask(question(CONTOSO, ANA)).await;
    }
    world.ask(question(CONTOSO, DAN)).await;
    world.ask(serde_json::json!({ "product": "x", "host": "web" })).await;
    let response = world.ops_get("/metrics").await;
    let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
    assert!(kind.starts_with("application/openmetrics-text"), "{kind}");
    let text = response.text().await.unwrap();
    let samples = samples(&text);
    let check =
        |name: &str, value: f64| assert_eq!(samples.get(name), Some(&value), "{name} in\n{text}");
    check(r#"entitled_decisions_total{state="active"}"#, 3.0);
    check(r#"entitled_decisions_total{state="unlicensed"}"#, 1.0);
    check(r#"entitled_answers_total{signature="kept"}"#, 2.0);
    check(r#"entitled_answers_total{signature="new"}"#, 2.0);
    check(r#"entitled_subscriptions{status="Subscribed"}"#, 1.0);
    check(r#"entitled_tenants{consent="granted"}"#, 2.0);
    check(r#"entitled_seats_bought{plan="vizmaker.synoptic.team"}"#, 5.0);
    check(r#"entitled_seats_assigned{plan="vizmaker.synoptic.team"}"#, 1.0);
    check("entitled_licensed_users", 1.0);
    check("entitled_store_writable", 1.0);
    let at = 1_795_348_800.0;
    assert_eq!(now().as_second().to_string(), "1795348800");
    check(r#"entitled_source_last_success_timestamp_seconds{source="subscriptions"}"#, at);
    check(r#"entitled_source_last_success_timestamp_seconds{source="directory"}"#, at);
    check(
        r#"entitled_http_request_duration_seconds_count{route="/v1/entitlements",status="200"}"#,
        4.0,
    );
    check(
        r#"entitled_http_request_duration_seconds_count{route="/v1/entitlements",status="404"}"#,
        1.0,
    );
    assert!(!text.contains(CONTOSO) && !text.contains("Contoso"), "no tenant is named");
}

#[tokio::test]
async fn the_status_page_draws_what_happened() {
    let world = World::new().await;
    let run = |id: u64, key, outcome, error: Option<&str>| Run {
        id: entitled::domain::RunId(id),
        key,
        trigger: Trigger::Schedule,
        full: false,
        started: now() - SignedDuration::from_hours(2),
        ended: now() - SignedDuration::from_mins(110),
        outcome,
        seen: 4_711,
        added: 1,
        changed: 2,
        removed: 3,
        odd: 0,
        requests: 9,
        throttled: SignedDuration::ZERO,
        error: error.map(Arc::from),
    };
    let mirror = world.store.snapshot();
    let tenant = &mirror.tenant(CONTOSO.parse().unwrap()).unwrap().tenant;
    let change = Change::of_tenant(now(), Cause::Run(entitled::domain::RunId(7)), None, tenant);
    let commit = Commit {
        runs: vec![
            run(7, SourceKey::SUBSCRIPTIONS, Outcome::Complete, None),
            run(
                8,
                SourceKey::directory(tenant.id),
                Outcome::Failed,
                Some("<script>alert(1)</script>"),
            ),
        ],
        changes: vec![change],
        ..Commit::default()
    };
    world.store.commit(commit).await.unwrap();
    world.ask(question(CONTOSO, ANA)).await;

    let response = world.ops_get("/").await;
    let policy = response.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.starts_with("default-src 'none'"), "{policy}");
    assert_eq!(response.headers()["x-frame-options"], "DENY");
    let page = response.text().await.unwrap();
    let chart = page.find("<svg").unwrap();
    assert!(chart < page.find("<table").unwrap(), "charts before tables");
    for expected in [
        "4711",
        "r7",
        "r8",
        "Contoso &lt;b&gt;",
        "vizmaker.synoptic.team",
        "1 of 5 assigned",
        "1 failed",
    ] {
        assert!(page.contains(expected), "{expected} in {page}");
    }
    for absent in ["<script", "<b>", "http-equiv", "src=", "href=", "url("] {
        assert!(!page.contains(absent), "{absent} in {page}");
    }
    assert_eq!(Source::ALL.len(), 4);
}
