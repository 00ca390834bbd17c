//! Licenses through the public listener: who may sell them, what is remembered, and what they are
//! worth to whoever shows them.

use entitled::domain::{
    ActivatedBy, Activation, ActivationKey, ActivationWrite, Cause, Change, Commit, LicenseId,
};
use entitled::store::ChangeFilter;
use serde_json::{Value, json};

use super::harness::*;
use crate::tokens::{ANA, now};

pub(super) const DAY: i64 = 86_400;

pub(super) fn sale() -> Value {
    json!({ "product": PRODUCT, "kind": "user", "max": 2, "licensee": "Contoso (ana@contoso.example)",
        "period_end": "2026-12-22" })
}

pub(super) async fn sent(
    world: &World,
    path: &str,
    key: Option<&str>,
    body: &Value,
) -> (u16, Value) {
    let mut request = world.client.post(world.url(path)).bearer_auth(SELLER).body(body.to_string());
    if let Some(key) = key {
        request = request.header("Idempotency-Key", key);
    }
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    (status, response.json().await.unwrap_or(Value::Null))
}

pub(super) async fn issued(world: &World, body: &Value) -> LicenseId {
    let (status, row) = sent(world, "/v1/licenses", None, body).await;
    assert_eq!(status, 201, "{row}");
    row["id"].as_str().unwrap().parse().unwrap()
}

async fn bind(world: &World, license: LicenseId, tenant: &str) {
    let activation = Activation {
        id: world.store.new_activation_id().unwrap(),
        license,
        tenant: Some(tenant.parse().unwrap()),
        by: ActivatedBy::Server("test".into()),
        at: now(),
    };
    let changes = vec![Change::of_activation(now(), Cause::Activation, None, Some(&activation))];
    let activations = vec![ActivationWrite::Put(activation)];
    world.store.commit(Commit { activations, changes, ..Commit::default() }).await.unwrap();
}

fn said(answer: &Value) -> String {
    let text = |name: &str| answer[name].as_str().unwrap_or("-").to_owned();
    format!("{}/{}/{}", text("state"), text("reason"), text("source"))
}

#[tokio::test]
async fn a_license_is_sold_shown_and_kept_with_a_hash_of_its_key_only() {
    let world = World::new().await;
    let (status, row) = sent(&world, "/v1/licenses", None, &sale()).await;
    assert_eq!(status, 201, "{row}");
    for (name, value) in [
        ("product", json!(PRODUCT)),
        ("kind", json!("user")),
        ("max", json!(2)),
        ("licensee", json!("Contoso (ana@contoso.example)")),
        ("state", json!("active")),
        ("status", json!("Active")),
        ("period_end", json!("2026-12-22T00:00:00Z")),
        ("grace_end", Value::Null),
        ("activations", json!(0)),
    ] {
        assert_eq!(row[name], value, "{name}");
    }
    let id: LicenseId = row["id"].as_str().unwrap().parse().unwrap();
    let key: ActivationKey = row["key"].as_str().unwrap().parse().unwrap();
    let mirror = world.store.snapshot();
    let found = mirror.licenses().license_by_key(&world.store.hash_key(&key)).unwrap();
    assert_eq!(found.id, id);
    let shown = world.client.get(world.url(&format!("/v1/licenses/{id}"))).bearer_auth(SELLER);
    let shown: Value = shown.send().await.unwrap().json().await.unwrap();
    assert_eq!((&shown["id"], &shown["key"]), (&row["id"], &Value::Null));
    let filter = ChangeFilter { license: Some(id.as_str().into()), ..ChangeFilter::default() };
    let changes = world.store.changes(&filter).unwrap();
    assert_eq!(changes.len(), 1);
    assert_eq!(changes[0].cause.to_string(), "caller seller");
}

#[tokio::test]
async fn only_a_caller_that_may_sells() {
    let world = World::new().await;
    let id = issued(&world, &sale()).await;
    let user = token_of(ANA);
    let steps = ["renew", "change", "cancel", "suspend", "reinstate", "revoke"];
    let steps = steps.iter().map(|it| format!("/v1/licenses/{id}/{it}"));
    for path in steps.chain(["/v1/licenses".to_owned()]) {
        for (credential, expected) in
            [(None, 401), (Some("ent_wrong"), 401), (Some(SHOP), 403), (Some(&*user), 403)]
        {
            let (status, problem) = world.post(&path, credential, sale().to_string()).await;
            assert_eq!(status, expected, "{path} {credential:?} {problem}");
        }
    }
    for (credential, expected) in [(SHOP, 403), (&*user, 403), (SELLER, 200)] {
        let url = world.url(&format!("/v1/licenses/{id}"));
        let response = world.client.get(url).bearer_auth(credential).send().await.unwrap();
        assert_eq!(response.status().as_u16(), expected);
    }
    assert_eq!(world.store.mirror().licenses().count(), 1);
    for id in [LicenseId::from_random([7; 18]).to_string(), "L-1".to_owned()] {
        let (status, _) = sent(&world, &format!("/v1/licenses/{id}/renew"), None, &json!({})).await;
        assert_eq!(status, 404);
    }
}

#[tokio::test]
async fn a_wrong_field_is_named() {
    let world = World::new().await;
    for (field, value) in [
        ("product", Value::Null),
        ("product", json!("nothing")),
        ("kind", json!("team")),
        ("kind", json!(3)),
        ("licensee", json!("  ")),
        ("max", json!(0)),
        ("max", json!("many")),
        ("period_end", json!("soon")),
        ("trial_end", json!(7)),
        ("over_limit", json!("maybe")),
        ("domain", json!("bi.contoso.example")),
    ] {
        let mut body = sale();
        body[field] = value.clone();
        let (status, problem) = sent(&world, "/v1/licenses", None, &body).await;
        assert_eq!((status, &problem["field"]), (422, &json!(field)), "{value} {problem}");
    }
    let (status, _) = sent(&world, "/v1/licenses", None, &json!([])).await;
    assert_eq!((status, world.store.mirror().licenses().count()), (400, 0));
}

#[tokio::test]
async fn a_list_that_is_too_large_to_import_is_told_so() {
    let world = World::new().await;
    let rows = vec![sale(); 4_000];
    let body = json!({ "licenses": rows });
    assert!(body.to_string().len() > 256 * 1024);
    let (status, problem) = sent(&world, "/v1/licenses/import", None, &body).await;
    assert_eq!((status, &problem["type"]), (413, &json!("body-too-large")));
    assert_eq!(world.store.mirror().licenses().count(), 0);
}

#[tokio::test]
async fn the_same_request_again_sells_once_and_shows_the_same_key() {
    let world = World::new().await;
    let key = Some("order 17");
    let (body, path) = (sale(), "/v1/licenses");
    let asked = (0..8).map(|_| sent(&world, path, key, &body));
    let answers = futures_util::future::join_all(asked).await;
    for answer in &answers {
        assert_eq!(answer, &answers[0]);
        assert_eq!(answer.0, 201);
    }
    assert_eq!(world.store.mirror().licenses().count(), 1);
    let hash = answers[0].1["key"].as_str().unwrap().parse().unwrap();
    let hash = world.store.hash_key(&hash);
    assert!(world.store.mirror().licenses().license_by_key(&hash).is_some());
    let mut other = sale();
    other["max"] = json!(3);
    assert_eq!(sent(&world, path, key, &other).await.0, 422);
    let id = answers[0].1["id"].as_str().unwrap();
    let renew = format!("/v1/licenses/{id}/renew");
    let first = sent(&world, &renew, key, &json!({})).await;
    world.pass(DAY / 2);
    assert_eq!(sent(&world, &renew, key, &json!({})).await, first);
    assert_ne!(sent(&world, &renew, Some("another"), &json!({})).await, first);
}

#[tokio::test]
async fn a_license_walks_through_its_life() {
    let world = World::new().await;
    let mut body = sale();
    body["trial_end"] = json!("2026-12-02T12:00:00Z");
    body.as_object_mut().unwrap().remove("period_end");
    let id = issued(&world, &body).await;
    bind(&world, id, NOBODY).await;
    let ask = async || said(&world.ask(question(NOBODY, DAN)).await.1);
    let step = async |name: &str, body: Value| {
        sent(&world, &format!("/v1/licenses/{id}/{name}"), None, &body).await
    };
    assert_eq!(ask().await, "trial/license_trial/hybrid");
    world.pass(10 * DAY);
    assert_eq!(ask().await, "expired/license_expired/hybrid");
    let (status, row) = step("renew", json!({})).await;
    assert_eq!((status, &row["period_end"]), (200, &json!("2026-12-12T12:00:00Z")));
    assert_eq!(ask().await, "active/license_active/hybrid");
    world.pass(11 * DAY);
    assert_eq!(ask().await, "grace/license_grace/hybrid");
    world.pass(30 * DAY);
    assert_eq!(ask().await, "expired/license_expired/hybrid");
    step("renew", json!({ "period_end": "2027-03-01" })).await;
    assert_eq!(ask().await, "active/license_active/hybrid");
    assert_eq!(step("suspend", json!({})).await.1["status"], "Suspended");
    assert_eq!(ask().await, "suspended/license_suspended/hybrid");
    step("reinstate", json!({})).await;
    let (_, changed) = step("change", json!({ "max": 50, "price": 100 })).await;
    assert_eq!((&changed["max"], &changed["credit"]["amount"]), (&json!(50), &json!(100.0)));
    assert_eq!(step("cancel", json!({})).await.1["state"], "active");
    assert_eq!(step("reinstate", json!({})).await.0, 409);
    world.pass(60 * DAY);
    assert_eq!(ask().await, "expired/license_expired/hybrid");
    step("renew", json!({})).await;
    assert_eq!(ask().await, "active/license_active/hybrid");
    step("revoke", json!({})).await;
    assert_eq!(ask().await, "expired/license_revoked/hybrid");
    assert_eq!(step("renew", json!({})).await.0, 409);
}

#[tokio::test]
async fn users_are_counted_once_each_and_over_the_maximum_as_the_license_says() {
    let world = World::new().await;
    for (limit, third) in
        [("deny", "unlicensed/over_limit/hybrid"), ("warn", "active/license_active/hybrid")]
    {
        let mut body = sale();
        body["over_limit"] = json!(limit);
        let id = issued(&world, &body).await;
        bind(&world, id, NOBODY).await;
        let user = |it: u8| format!("88888888-0000-4000-8000-00000000000{it}");
        let ask = async |it: u8| world.ask(question(NOBODY, &user(it))).await.1;
        for it in [1, 2, 1, 2] {
            assert_eq!(said(&ask(it).await), "active/license_active/hybrid");
        }
        let answer = ask(3).await;
        assert_eq!(said(&answer), third);
        let told = if limit == "deny" { "too_many_users" } else { "over_limit" };
        assert_eq!(answer["notice"]["reason"], told);
        let mirror = world.store.snapshot();
        let users = mirror.licenses().users(id).unwrap();
        assert_eq!(users.len(), if limit == "deny" { 2 } else { 3 });
        sent(&world, &format!("/v1/licenses/{id}/revoke"), None, &json!({})).await;
    }
}

#[tokio::test]
async fn what_is_shown_and_not_recognized_is_one_and_the_same_answer() {
    let world = World::new().await;
    let id = issued(&world, &sale()).await;
    let unknown = LicenseId::from_random([9; 18]);
    let mut answers = Vec::new();
    for (id, licensee) in [
        (unknown.to_string(), "Contoso (ana@contoso.example)"),
        ("nonsense".to_owned(), "x"),
        (id.to_string(), "Fabrikam"),
        // The product takes no id and licensee (hybrid = "entra").
        (id.to_string(), "contoso (ANA@contoso.example)"),
    ] {
        let license = json!({ "id": id, "licensee": licensee });
        let body = json!({ "product": PRODUCT, "host": "web", "license": license });
        let (status, mut answer) = world.post("/v1/entitlements", None, body.to_string()).await;
        assert_eq!(status, 200);
        answer.as_object_mut().unwrap().remove("token");
        answers.push(answer);
    }
    assert_eq!(said(&answers[0]), "unlicensed/license_not_recognized/-");
    assert!(answers.iter().all(|it| *it == answers[0]), "{answers:?}");
}

#[tokio::test]
async fn a_path_that_is_no_text_holds_an_id_that_does_not_exist() {
    let world = World::new().await;
    for (method, path, key) in [
        ("GET", "/v1/licenses/%FF", SELLER),
        ("POST", "/v1/licenses/%FF/renew", SELLER),
        ("POST", "/v1/licenses/%FF/reissue", SELLER),
        ("POST", "/v1/licenses/%FF/package", SELLER),
        ("POST", "/v1/activations/%FF/remove", SELLER),
        ("GET", "/v1/usage/%FF", PRINTER),
    ] {
        let ask = || world.client.request(method.parse().unwrap(), world.url(path));
        assert_eq!(ask().send().await.unwrap().status(), 401, "{path}: who asks comes first");
        let answer = ask().bearer_auth(key).send().await.unwrap();
        assert_eq!(answer.status(), 404, "{path}");
        assert_eq!(answer.headers()["content-type"], "application/problem+json", "{path}");
    }
}
