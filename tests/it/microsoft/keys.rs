//! Entra's keys: two versions, one document, our host only.

use entitled::microsoft::ErrorKind;
use serde_json::{Value, json};

use super::{HOME, Pretend, ok, raw};

const V2: &str = "/login/common/v2.0/.well-known/openid-configuration";
const V1: &str = "/login/common/.well-known/openid-configuration";

fn key(kid: &str, issuer: Option<&str>) -> Value {
    match issuer {
        Some(issuer) => {
            json!({ "kid": kid, "kty": "RSA", "n": "n", "e": "AQAB", "issuer": issuer })
        }
        None => json!({ "kid": kid, "kty": "RSA", "n": "n", "e": "AQAB" }),
    }
}

async fn fetch(it: &Pretend) -> Value {
    serde_json::from_slice(&it.microsoft.keys().fetch().await.unwrap()).unwrap()
}

#[tokio::test]
async fn keys_of_both_versions_are_merged_and_the_second_says_the_issuer() {
    let it = Pretend::without_tokens().await;
    // The metadata names Entra's own host; the keys are read from ours.
    let v2 = json!({ "jwks_uri": "https://login.microsoftonline.com/common/discovery/v2.0/keys" });
    let v1 = json!({ "jwks_uri": "https://login.windows.net/common/discovery/keys" });
    it.get(V2, vec![ok(v2)]).await;
    it.get(V1, vec![ok(v1)]).await;
    let issuer = Some("https://login.microsoftonline.com/{tenantid}/v2.0");
    let v2 = json!({ "keys": [key("both", issuer), key("new", issuer), { "kty": "oct" }, 7] });
    let v1 = json!({ "keys": [key("both", None), key("old", None)] });
    it.get("/login/common/discovery/v2.0/keys", vec![ok(v2)]).await;
    it.get("/login/common/discovery/keys", vec![ok(v1)]).await;
    let set = fetch(&it).await;
    assert_eq!(set["authority"], format!("{}/login", it.server.uri()));
    let keys = set["keys"].as_array().unwrap();
    let kids: Vec<&str> = keys.iter().map(|it| it["kid"].as_str().unwrap()).collect();
    assert_eq!(kids, ["both", "new", "old"]);
    assert_eq!(keys[0]["issuer"].as_str(), issuer);
}

#[tokio::test]
async fn the_publishers_tenant_and_the_usual_place_stand_in_for_common() {
    let it = Pretend::without_tokens().await;
    let keys = json!({ "keys": [key("one", None)] });
    let home = format!("/login/{HOME}/v2.0/.well-known/openid-configuration");
    it.get(
        &home,
        vec![ok(json!({ "jwks_uri": format!("https://h.example/{HOME}/discovery/v2.0/keys") }))],
    )
    .await;
    it.get(&format!("/login/{HOME}/discovery/v2.0/keys"), vec![ok(keys.clone())]).await;
    assert_eq!(fetch(&it).await["keys"].as_array().unwrap().len(), 1);

    let it = Pretend::without_tokens().await;
    it.get(V2, vec![ok(json!({ "jwks_uri": "https://h.example/not-these" }))]).await;
    it.get("/login/common/discovery/v2.0/keys", vec![ok(keys)]).await;
    assert_eq!(fetch(&it).await["keys"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_list_that_is_none_is_not_taken_for_no_keys() {
    let many: Vec<Value> = (0..1_001).map(|it| key(&it.to_string(), None)).collect();
    for (answer, kind) in [
        (raw(200, "<html>"), ErrorKind::Unreadable),
        (ok(json!({ "keys": [] })), ErrorKind::Unreadable),
        (ok(json!({ "keys": many })), ErrorKind::Unreadable),
        (raw(503, ""), ErrorKind::Transient),
    ] {
        let it = Pretend::without_tokens().await;
        it.get("/login/common/discovery/v2.0/keys", vec![answer]).await;
        assert_eq!(it.microsoft.keys().fetch().await.unwrap_err().kind(), kind);
    }
}

#[tokio::test]
async fn one_fetch_asks_each_place_once_and_the_schedule_is_the_callers() {
    let it = Pretend::without_tokens().await;
    it.answer("GET", "/login/common/discovery/v2.0/keys", vec![raw(503, "")]).await;
    assert!(it.microsoft.keys().fetch().await.is_err());
    assert_eq!(it.requests("/keys").await.len(), 2, "the list of either version");
    assert_eq!(it.requests("/openid-configuration").await.len(), 3);
    assert!(it.slept_s().is_empty(), "{:?}", it.slept_s());
}

#[tokio::test]
async fn keys_of_the_first_version_that_do_not_come_hold_nothing_up_for_long() {
    let it = Pretend::without_tokens().await;
    let late = raw(200, "{}").set_delay(std::time::Duration::from_mins(1));
    it.get(V1, vec![late]).await;
    let keys = json!({ "keys": [key("one", None)] });
    it.get("/login/common/discovery/v2.0/keys", vec![ok(keys)]).await;
    let fetched = tokio::time::timeout(std::time::Duration::from_secs(10), fetch(&it));
    assert_eq!(fetched.await.unwrap()["keys"].as_array().unwrap().len(), 1);
}
