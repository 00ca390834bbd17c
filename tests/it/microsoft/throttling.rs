//! Waiting as told: never earlier, never for ever.

use std::time::Duration;

use entitled::microsoft::{ErrorKind, MicrosoftError};
use serde_json::json;
use wiremock::ResponseTemplate;

use super::{CUSTOMER, OTHER, Pretend, header, ok, tenant};

const SKUS: &str = "/graph/v1.0/subscribedSkus";

fn busy(retry_after: Option<&str>, scope: &str) -> ResponseTemplate {
    let body = json!({ "error": { "code": "TooManyRequests", "innererror": { "code": "x" } } });
    let answer = ResponseTemplate::new(429).set_body_json(body);
    let answer = answer.insert_header("x-ms-throttle-scope", scope);
    match retry_after {
        Some(wait) => answer.insert_header("Retry-After", wait),
        None => answer,
    }
}

fn skus() -> ResponseTemplate {
    ok(json!({ "value": [] }))
}

async fn ask(it: &Pretend, of: &str) -> Result<usize, MicrosoftError> {
    it.microsoft.graph().subscribed_skus(&it.meter, tenant(of)).await.map(|it| it.len())
}

const OWN: &str = "Tenant_Application/ReadWrite/app/tenant";

#[tokio::test]
async fn graph_is_waited_for_as_long_as_it_says_in_seconds_or_as_a_date() {
    for (told, slept) in [
        ("7", 7.0),
        ("Sun, 22 Nov 2026 10:00:30 GMT", 30.0),
        ("Sun, 22 Nov 2026 09:00:00 GMT", 1.0),
        ("0", 1.0),
    ] {
        let it = Pretend::new().await;
        it.get(SKUS, vec![busy(Some(told), OWN), skus()]).await;
        ask(&it, CUSTOMER).await.unwrap();
        assert_eq!(it.slept_s(), [slept], "{told}");
        assert_eq!(it.meter.throttled(), Duration::from_secs_f64(slept));
    }
}

#[tokio::test]
async fn without_a_word_of_how_long_the_waits_grow() {
    let it = Pretend::new().await;
    let busy = || busy(None, OWN);
    it.get(SKUS, vec![busy(), busy(), busy(), busy(), busy(), skus()]).await;
    ask(&it, CUSTOMER).await.unwrap();
    assert_eq!(it.slept_s(), [1.0, 1.0, 2.0, 4.0, 8.0], "more than four tries, but none hasty");
}

#[tokio::test]
async fn after_ten_minutes_the_caller_is_told() {
    let it = Pretend::new().await;
    it.get(SKUS, vec![busy(Some("250"), OWN)]).await;
    let error = ask(&it, CUSTOMER).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Throttled);
    assert_eq!(error.asked_wait(), Some(Duration::from_secs(250)));
    assert_eq!(it.slept_s(), [250.0, 250.0]);

    let it = Pretend::new().await;
    it.get(SKUS, vec![busy(Some("86400"), OWN)]).await;
    let error = ask(&it, CUSTOMER).await.unwrap_err();
    assert_eq!(error.asked_wait(), Some(Duration::from_hours(24)));
    ask(&it, CUSTOMER).await.unwrap_err();
    assert_eq!(it.requests("/subscribedSkus").await.len(), 1, "the gate stays shut, no request");
    assert!(it.slept_s().is_empty());
}

#[tokio::test]
async fn a_tenants_429_leaves_the_others_alone_and_the_apps_does_not() {
    for (scope, waits) in [(OWN, vec![]), ("Application/ReadWrite/app", vec![100.0])] {
        let it = Pretend::new().await;
        it.get(SKUS, vec![busy(Some("700"), scope), skus()]).await;
        ask(&it, CUSTOMER).await.unwrap_err();
        it.pass(Duration::from_mins(10));
        ask(&it, OTHER).await.unwrap();
        assert_eq!(it.slept_s(), waits, "{scope}");
    }
}

#[tokio::test]
async fn a_503_with_retry_after_is_throttling_too() {
    let it = Pretend::new().await;
    let sick = ResponseTemplate::new(503).insert_header("Retry-After", "12");
    it.get(SKUS, vec![sick, skus()]).await;
    ask(&it, CUSTOMER).await.unwrap();
    assert_eq!(it.slept_s(), [12.0]);
}

#[tokio::test]
async fn what_a_call_really_costs_is_charged() {
    let it = Pretend::new().await;
    let dear = skus().insert_header("x-ms-resource-unit", "2802");
    it.get(SKUS, vec![dear, skus()]).await;
    ask(&it, CUSTOMER).await.unwrap();
    ask(&it, CUSTOMER).await.unwrap();
    // 2,800 are there, a tenth of it for those who wait; 2,802 were charged and 2 more are wanted, at
    // 280 a second.
    let slept = it.slept_s();
    assert_eq!(slept.len(), 1);
    assert!((slept[0] - 284.0 / 280.0).abs() < 1e-6, "{slept:?}");
    let sent = it.requests("/subscribedSkus").await;
    assert_eq!(header(&sent[0], "x-ms-throttle-priority"), "");
}

#[tokio::test]
async fn the_marketplace_is_waited_for_in_the_same_way() {
    let it = Pretend::new().await;
    let list = "/marketplace/api/saas/subscriptions";
    let busy = ResponseTemplate::new(429).insert_header("Retry-After", "9");
    it.get(list, vec![busy, ok(json!({ "subscriptions": [] }))]).await;
    it.microsoft.marketplace().list_page(&it.meter, None).await.unwrap();
    assert_eq!((it.slept_s(), it.meter.throttled().as_secs()), (vec![9.0], 9));
}
