//! Who may ask what, and what he hears.

use entitled::tokens::verify_answer;
use serde_json::{Value, json};

use super::harness::*;
use crate::tokens::{ANA, CONTOSO, Draft, FABRIKAM, KEYS, PERSONAL, PretendEntra, Version, now};

const ONE: &str = "/v1/entitlements";
const BATCH: &str = "/v1/entitlements/batch";

#[tokio::test]
async fn a_server_names_tenant_and_user() {
    let world = World::new().await;
    let (status, answer) = world.ask(question(CONTOSO, ANA)).await;
    assert_eq!(status, 200, "{answer}");
    let token = answer["token"].as_str().unwrap().to_owned();
    let mut rest = answer.clone();
    rest.as_object_mut().unwrap().remove("token");
    let expected = json!({
        "product": PRODUCT, "state": "active", "usable": true, "reason": "seat_direct",
        "source": "appsource", "proof": "seat", "plan": "team", "features": ["maps"], "period_end": null,
        "grace_end": null, "notice": null, "as_of": "2026-11-22T12:00:00Z", "stale": false,
        "check_after": 3600, "valid_until": "2026-11-23T12:00:00Z",
    });
    assert_eq!(rest, expected);

    let set = world.client.get(world.url("/.well-known/jwks.json")).send().await.unwrap();
    let set = set.text().await.unwrap();
    let claims = verify_answer(&token, &set, PRODUCT, now()).unwrap();
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&claims[name], value, "claim {name}");
    }
    assert_eq!(claims["iss"], "https://lic.example.test");
    assert_eq!(
        claims["exp"],
        "2026-11-23T12:00:00Z".parse::<jiff::Timestamp>().unwrap().as_second()
    );
    assert!(!claims["sub"].to_string().contains(&ANA[..8]));
}

#[tokio::test]
async fn a_visual_speaks_for_its_own_user_whatever_its_body_says() {
    let world = World::new().await;
    for version in [Version::V1, Version::V2] {
        let ana = Draft::good(version).signed();
        let body = json!({ "product": PRODUCT, "host": 1, "tenant": FABRIKAM, "user": DAN, "explain": true });
        let (status, answer) = world.post(ONE, Some(&ana), body.to_string()).await;
        assert_eq!((status, &answer["state"]), (200, &json!("active")), "{answer}");
        assert_eq!(answer["trail"]["evidence"][0]["fate"], "decided");
    }
    let (_, answer) =
        world.post(ONE, Some(&token_of(DAN)), question(CONTOSO, ANA).to_string()).await;
    assert_eq!((&answer["state"], &answer["usable"]), (&json!("unlicensed"), &json!(false)));
    assert_eq!(answer["trail"], Value::Null, "nobody asked for it");
}

#[tokio::test]
async fn a_tenant_that_was_never_read_is_unknown() {
    let world = World::new().await;
    let (status, answer) = world.ask(question(NOBODY, ANA)).await;
    assert_eq!(
        (status, &answer["state"], &answer["reason"]),
        (200, &json!("unknown"), &json!("never_read"))
    );
    assert_eq!(answer["as_of"], Value::Null);
}

#[tokio::test]
async fn a_personal_account_has_no_right_by_its_tenant() {
    let world = World::new().await;
    let (status, answer) = world.ask(question(PERSONAL, ANA)).await;
    assert_eq!(
        (status, &answer["state"], &answer["reason"]),
        (200, &json!("unlicensed"), &json!("personal_account"))
    );
    let token =
        Draft::good(Version::V2).claim("tid", PERSONAL).claim("iss", Version::V2.issuer(PERSONAL));
    let (status, answer) =
        world.post(ONE, Some(&token.signed()), question(CONTOSO, ANA).to_string()).await;
    assert_eq!((status, &answer["state"]), (200, &json!("unlicensed")), "{answer}");
}

#[tokio::test]
async fn a_license_that_nobody_knows_is_not_recognized() {
    let world = World::new().await;
    let proofs = [
        json!({ "license": { "id": "L-7Q2M", "licensee": "Contoso" } }),
        json!({ "license": { "id": "L-7Q2M" } }),
        json!({ "package": "eyJ.x.y" }),
        json!({ "package": "nonsense", "tenant": CONTOSO, "user": ANA }),
    ];
    let mut answers = Vec::new();
    for proof in proofs {
        let mut body = proof;
        body["product"] = json!(PRODUCT);
        body["host"] = json!("web");
        let (status, mut answer) = world.post(ONE, None, body.to_string()).await;
        assert_eq!((status, &answer["state"]), (200, &json!("unlicensed")), "{body}");
        assert_eq!(answer["reason"], "license_not_recognized");
        answer.as_object_mut().unwrap().remove("token");
        answers.push(answer);
    }
    assert!(answers.windows(2).all(|it| it[0] == it[1]), "one and the same answer");
    // Beside a token that carries rights, the token decides.
    let body =
        json!({ "product": PRODUCT, "host": "web", "license": { "id": "L-1", "licensee": "x" } });
    let (_, answer) = world.post(ONE, Some(&token_of(ANA)), body.to_string()).await;
    assert_eq!(answer["state"], "active");
}

/// Route × credential: the status alone.
#[tokio::test]
async fn every_route_answers_every_credential_as_agreed() {
    let world = World::new().await;
    let user = token_of(ANA);
    let expired = Draft::good(Version::V2).claim("nbf", 1).claim("exp", 2).signed();
    let app_only = Draft::good(Version::V1).without("scp").signed();
    let stranger = Draft::good(Version::V2).signed_by(&KEYS.personal);
    let unknown_key = Draft::good(Version::V2).head("kid", "org-9").signed();
    let credentials: [(&str, Option<&str>, u16, u16); 10] = [
        ("nobody", None, 401, 401),
        ("a user", Some(&user), 200, 403),
        ("an expired user", Some(&expired), 401, 401),
        ("an app", Some(&app_only), 401, 401),
        ("a forged user", Some(&stranger), 401, 401),
        ("an unknown key", Some(&unknown_key), 401, 401),
        ("no token at all", Some("nonsense"), 401, 401),
        ("a caller", Some(SHOP), 200, 200),
        ("a caller that may not ask", Some(PRINTER), 403, 403),
        ("a wrong caller key", Some("ent_d3Jvbmctd3Jvbmctd3Jvbmctd3Jvbmctd3Jvbmctd3I"), 401, 401),
    ];
    for (who, credential, one, batch) in credentials {
        let body = question(CONTOSO, ANA);
        let (status, answer) = world.post(ONE, credential, body.to_string()).await;
        assert_eq!(status, one, "{who} asks one: {answer}");
        let many = json!({ "questions": [body] }).to_string();
        let (status, answer) = world.post(BATCH, credential, many).await;
        assert_eq!(status, batch, "{who} asks many: {answer}");
        if status >= 400 {
            assert!(
                answer["detail"].is_string() && !answer.to_string().contains(CONTOSO),
                "{answer}"
            );
        }
        for path in ["/.well-known/jwks.json", "/openapi.json"] {
            let mut request = world.client.get(world.url(path));
            if let Some(credential) = credential {
                request = request.bearer_auth(credential);
            }
            assert_eq!(request.send().await.unwrap().status(), 200, "{who} reads {path}");
        }
    }
    for header in ["Basic abc", "Bearer", SHOP, "bearer  ", "Token x"] {
        let request = world.client.post(world.url(ONE)).header("authorization", header).body("{}");
        assert_eq!(request.send().await.unwrap().status(), 401, "{header:?}");
    }
    let twice = world.client.post(world.url(ONE)).bearer_auth(SHOP).bearer_auth(SHOP).body("{}");
    assert_eq!(twice.send().await.unwrap().status(), 401, "two credentials");
}

#[tokio::test]
async fn what_is_wrong_in_a_question_is_named() {
    let world = World::new().await;
    let good = || question(CONTOSO, ANA);
    let with = |name: &str, value: Value| {
        let mut body = good();
        body[name] = value;
        body
    };
    let check = async |body: String, status: u16, kind: &str| {
        let (found, problem) = world.post(ONE, Some(SHOP), body.clone()).await;
        assert_eq!((found, problem["type"].as_str().unwrap()), (status, kind), "{body}: {problem}");
        assert_eq!(problem["status"], status);
        assert!(problem["title"].is_string() && problem["detail"].is_string(), "{problem}");
    };
    check(with("product", json!("synoptic")).to_string(), 404, "unknown-product").await;
    check(with("host", json!("browser")).to_string(), 400, "unknown-host").await;
    check(with("host", json!(1024)).to_string(), 400, "unknown-host").await;
    check(json!({ "product": PRODUCT }).to_string(), 400, "unknown-host").await;
    check(with("tenant", json!("contoso")).to_string(), 422, "invalid-field").await;
    check(with("user", json!("ana@contoso.example")).to_string(), 422, "invalid-field").await;
    check(with("tenant", json!(5)).to_string(), 400, "malformed-body").await;
    let deep = "[".repeat(20_000);
    for broken in ["", "{", "[]", "null", "\"x\"", "{\"product\": \"a\", }", "\0", &deep] {
        check(broken.to_owned(), 400, "malformed-body").await;
    }
    let (_, problem) = world.ask(with("tenant", json!("contoso"))).await;
    assert_eq!(problem["field"], "tenant");
    let (status, _) = world.ask(with("future_field", json!({ "x": [1] }))).await;
    assert_eq!(status, 200, "unknown fields are ignored");
    let text =
        world.client.post(world.url(ONE)).bearer_auth(SHOP).header("content-type", "text/plain");
    assert_eq!(text.body(good().to_string()).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_batch_is_answered_in_order_with_problems_in_place() {
    let world = World::new().await;
    let questions = json!([
        question(CONTOSO, ANA), { "product": "nope", "host": "web" }, question(CONTOSO, DAN), 7,
        { "product": PRODUCT, "host": "nowhere" }, question("x", ANA), question(NOBODY, ANA),
    ]);
    let (status, body) =
        world.post(BATCH, Some(SHOP), json!({ "questions": questions }).to_string()).await;
    assert_eq!(status, 200);
    let found: Vec<&str> = body["answers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["state"].as_str().or(it["type"].as_str()).unwrap())
        .collect();
    let expected = [
        "active",
        "unknown-product",
        "unlicensed",
        "malformed-body",
        "unknown-host",
        "invalid-field",
        "unknown",
    ];
    assert_eq!(found, expected);
    let check = async |body: Value, status: u16| {
        assert_eq!(world.post(BATCH, Some(SHOP), body.to_string()).await.0, status);
    };
    check(json!({ "questions": [] }), 200).await;
    check(json!({ "questions": vec![question(CONTOSO, ANA); 100] }), 200).await;
    check(json!({ "questions": vec![question(CONTOSO, ANA); 101] }), 422).await;
    check(json!({ "questions": {} }), 400).await;
    check(json!({}), 400).await;
}

#[tokio::test]
async fn a_seat_is_taken_by_the_first_who_ask_and_is_on_disk() {
    let world = World::new().await;
    let users: Vec<String> =
        (1..=4).map(|i| format!("0000000{i}-1111-4111-8111-111111111111")).collect();
    let mut reasons = Vec::new();
    let mut explained = question(WINGTIP, &users[3]);
    explained["explain"] = json!(true);
    let (_, foretold) = world.ask(explained.clone()).await;
    assert_eq!((&foretold["state"], &foretold["token"]), (&json!("active"), &Value::Null));
    assert_eq!(world.store.mirror().all_holders().count(), 0, "to explain takes no seat");
    for user in &users {
        let (_, answer) = world.ask(question(WINGTIP, user)).await;
        reasons.push((answer["state"].clone(), answer["reason"].clone()));
    }
    assert_eq!(reasons[..2], vec![(json!("active"), json!("subscription_active")); 2]);
    assert_eq!(reasons[2..], vec![(json!("unlicensed"), json!("no_free_seat")); 2]);
    let held: Vec<String> = world
        .store
        .mirror()
        .all_holders()
        .flat_map(|(_, it)| it.iter().map(|it| it.1.to_string()).collect::<Vec<_>>())
        .collect();
    assert_eq!(held, users[..2]);
    let (_, again) = world.ask(question(WINGTIP, &users[0])).await;
    assert_eq!(again["state"], "active", "he holds it");
    assert_eq!(world.ask(explained).await.1["reason"], "no_free_seat");
    let changes = world.store.changes(&entitled::store::ChangeFilter::default()).unwrap();
    assert_eq!(changes.len(), 2);
    assert!(changes.iter().all(|it| it.cause.to_string() == "caller web-shop"), "{changes:?}");
}

#[tokio::test]
async fn many_at_once_never_hold_more_seats_than_there_are() {
    let world = World::new().await;
    let questions: Vec<Value> = (0..100)
        .map(|i| question(WINGTIP, &format!("{i:08}-2222-4222-8222-222222222222")))
        .collect();
    let (_, body) =
        world.post(BATCH, Some(SHOP), json!({ "questions": questions }).to_string()).await;
    let answers = body["answers"].as_array().unwrap();
    let with = |state: &str| answers.iter().filter(|it| it["state"] == state).count();
    assert_eq!((with("active"), with("unlicensed")), (2, 98));
}

#[tokio::test]
async fn without_its_disk_no_seat_is_given_and_other_answers_flow() {
    let world = World::new().await;
    world.store.close().await;
    let response = world.client.post(world.url(ONE)).bearer_auth(SHOP);
    let response = response.body(question(WINGTIP, ANA).to_string()).send().await.unwrap();
    assert_eq!(response.status(), 503);
    assert!(response.headers().contains_key("retry-after"));
    let problem: Value = response.json().await.unwrap();
    assert!(!problem.to_string().contains("closed"), "no cause is told: {problem}");
    assert_eq!(world.ask(question(CONTOSO, ANA)).await.0, 200);
    assert_eq!(world.ops_get("/readyz").await.status(), 503);
}

#[tokio::test]
async fn an_answer_that_stays_the_same_keeps_its_signature_for_a_while() {
    let world = World::new().await;
    let token = async |body: Value| world.ask(body).await.1["token"].as_str().unwrap().to_owned();
    let first = token(question(CONTOSO, ANA)).await;
    world.pass(299);
    assert_eq!(token(question(CONTOSO, ANA)).await, first);
    let mut explained = question(CONTOSO, ANA);
    explained["explain"] = json!(true);
    assert_eq!(token(explained).await, first, "also with its trail");
    assert_ne!(token(question(CONTOSO, DAN)).await, first, "of another user");
    world.pass(1);
    assert_ne!(token(question(CONTOSO, ANA)).await, first, "after five minutes");
}

#[tokio::test]
async fn the_key_set_can_be_cached_and_keeps_retired_keys_while_answers_last() {
    let world = World::new().await;
    let url = world.url("/.well-known/jwks.json");
    let first = world.client.get(&url).send().await.unwrap();
    let etag = first.headers()["etag"].clone();
    assert!(first.headers()["cache-control"].to_str().unwrap().starts_with("public, max-age="));
    let again = world.client.get(&url).header("if-none-match", &etag).send().await.unwrap();
    assert_eq!((again.status().as_u16(), again.text().await.unwrap()), (304, String::new()));

    let token = world.ask(question(CONTOSO, ANA)).await.1["token"].as_str().unwrap().to_owned();
    world.store.keys().rotate(now()).unwrap();
    let (_, rotated) = world.ask(question(CONTOSO, DAN)).await;
    let keys = world.client.get(&url).header("if-none-match", &etag).send().await.unwrap();
    assert_eq!(keys.status(), 200, "it changed");
    let set = keys.text().await.unwrap();
    for it in [token.as_str(), rotated["token"].as_str().unwrap()] {
        assert!(verify_answer(it, &set, PRODUCT, now()).is_ok());
    }
    world.pass(7 * 24 * 3_600 + 1);
    let later: Value = world.client.get(&url).send().await.unwrap().json().await.unwrap();
    assert_eq!(
        later["keys"].as_array().unwrap().len(),
        1,
        "nothing that the old key signed is left"
    );
}

#[tokio::test]
async fn before_entras_keys_were_ever_read_a_token_is_neither_good_nor_bad() {
    let world = World::with(Setup { entra: PretendEntra::default(), ..Setup::default() }).await;
    let request = world.client.post(world.url(ONE)).bearer_auth(token_of(ANA));
    let response = request.body(question(CONTOSO, ANA).to_string()).send().await.unwrap();
    assert_eq!(response.status(), 503);
    assert!(response.headers().contains_key("retry-after"));
    assert_eq!(world.ask(question(CONTOSO, ANA)).await.0, 200, "callers need no Entra");
    world.entra.publish(&["org-1"]);
    world.pass(301);
    let (status, _) =
        world.post(ONE, Some(&token_of(ANA)), question(CONTOSO, ANA).to_string()).await;
    assert_eq!(status, 200, "once they are read");
}
