//! Traps of the operator's set-up: what is refused says what to do about it.

use entitled::microsoft::{ErrorKind, MicrosoftError};
use entitled::sandbox::story;
use serde_json::{Value, json};
use wiremock::ResponseTemplate;

use super::scene::{Scene, body};
use crate::microsoft::{HOME, Pretend, ok, raw};

const LIST: &str = "/marketplace/api/saas/subscriptions";
/// What the marketplace says to a token that it does not like: a bare string.
const BARE: &str = "\"The token is invalid, expired or missing, or belongs to another application id of mia@customer.example\"";
/// The marketplace's API, as the resource of a token and as the caller of webhooks.
const MARKETPLACE: &str = "20e940b3-4c77-4b0b-9a53-9e16a1b010a7";

async fn list(it: &Pretend) -> Result<usize, MicrosoftError> {
    Ok(it.microsoft.marketplace().list_page(&it.meter, None).await?.records.len())
}

/// What the token endpoint's refusal is called.
async fn refused_with(code: u32) -> MicrosoftError {
    let it = Pretend::without_tokens().await;
    let body = json!({ "error": "invalid_client", "error_codes": [code],
        "error_description": format!("AADSTS{code}: mia@customer.example") });
    let answer = ResponseTemplate::new(400).set_body_json(body);
    it.answer("POST", &format!("/login/{HOME}/oauth2/v2.0/token"), vec![answer]).await;
    list(&it).await.unwrap_err()
}

fn says(error: &MicrosoftError, words: &[&str]) {
    for word in words {
        assert!(error.to_string().contains(word), "{word} in {error}");
    }
    assert!(!error.to_string().contains("customer.example"), "nothing of the body: {error}");
}

#[tokio::test]
async fn trap_05_a_403_with_a_bare_string_is_a_403() {
    let it = Pretend::new().await;
    it.get(LIST, vec![raw(403, BARE)]).await;
    let error = list(&it).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Consent);
    says(&error, &["403", "Partner Center"]);
    assert_eq!(it.requests(LIST).await.len(), 2, "once more with another token, then never again");
}

#[tokio::test]
async fn trap_06_a_401_is_what_a_403_is() {
    for body in [BARE, "", "<html>", r#"{"code":"Unauthorized"}"#] {
        let it = Pretend::new().await;
        it.get(LIST, vec![raw(401, body)]).await;
        let error = list(&it).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Consent, "{body}");
        says(&error, &["401", "Partner Center"]);
        assert_eq!((it.requests(LIST).await.len(), it.requests("/token").await.len()), (2, 2));
        assert!(it.slept_s().is_empty(), "waiting cures nothing");
    }
    let it = Pretend::new().await;
    it.get(LIST, vec![raw(401, BARE), ok(json!({ "subscriptions": [] }))]).await;
    assert_eq!(list(&it).await.unwrap(), 0, "an expired token is all it was");
}

#[tokio::test]
async fn trap_25_an_app_without_a_service_principal_is_told_where_to_make_one() {
    let error = refused_with(7_000_229).await;
    says(&error, &["our app has no service principal", "Enterprise applications", "AADSTS7000229"]);
}

#[tokio::test]
async fn trap_26_the_token_is_asked_for_the_api_that_there_is() {
    let it = Pretend::new().await;
    it.get(LIST, vec![ok(json!({ "subscriptions": [] }))]).await;
    list(&it).await.unwrap();
    let asked = it.requests("/token").await.remove(0);
    let form = String::from_utf8(asked.body).unwrap();
    assert!(form.contains(&format!("scope={MARKETPLACE}%2F.default")), "{form}");
    // The resource before 2020, and the slip of a public sample.
    for wrong in ["62d94f6c-d599-489b-a797-3e10e42fbe22", "20e940b3-4c07-4bc1-a733-45f7c7a3d0e3"] {
        assert!(!form.contains(wrong));
    }
}

#[tokio::test]
async fn trap_37_a_marketplace_without_a_service_principal_is_named_with_its_cure() {
    let cure = format!("az ad sp create --id {MARKETPLACE}");
    let it = Pretend::new().await;
    let path = format!("{LIST}/resolve");
    it.answer("POST", &path, vec![raw(403, BARE)]).await;
    let token = entitled::domain::PurchaseToken::new("abc".to_owned()).unwrap();
    let error = it.microsoft.marketplace().resolve(&it.meter, &token).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Consent);
    says(&error, &[&cure]);
    says(&refused_with(500_011).await, &[&cure, "AADSTS500011"]);
}

#[tokio::test]
async fn trap_38_a_missing_service_principal_stops_no_answer_and_is_in_the_log() {
    let scene = Scene::new().await;
    scene.faults("token.7000229=1");
    scene.pass(2 * 3_600);
    let runs = scene.world.sync().await;
    let run = runs.iter().find(|it| it.key.tenant.is_none()).unwrap();
    let error = run.error.as_deref().unwrap();
    for word in ["AADSTS7000229", "service principal", "Enterprise applications"] {
        assert!(error.contains(word), "{error}");
    }
    let answer = scene.answer(story::MIA).await;
    assert!(answer.starts_with("active subscription_active"), "{answer}");
}

#[tokio::test]
async fn trap_40_no_limit_of_an_address_answers_microsoft() {
    let scene = Scene::new().await;
    let id = scene.id(story::MIA);
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("http://{}/marketplace/webhook", scene.world.daemon.public);
    // More in a moment than an address may ask of anything else (1,000 a second), many of them bad.
    let mut statuses = std::collections::BTreeMap::<u16, usize>::new();
    for _ in 0..30 {
        let sent = (0..50).map(|_| client.post(&url).bearer_auth("no.such.token").send());
        for answer in futures_util::future::join_all(sent).await {
            *statuses.entry(answer.unwrap().status().as_u16()).or_default() += 1;
        }
    }
    assert_eq!(statuses.into_iter().collect::<Vec<_>>(), [(401, 1_500)], "never 429");
    assert_eq!(scene.told(&body(1, "Renew", id)).await, 200, "and Microsoft is heard after it");
}

#[tokio::test]
async fn trap_41_a_403_names_all_that_may_differ() {
    let it = Pretend::new().await;
    it.get(LIST, vec![raw(403, BARE)]).await;
    let error = list(&it).await.unwrap_err();
    let all = ["Technical configuration", "preview", "[publisher]", "[identity]"];
    says(&error, &all);
    let asked = it.requests("/token").await.remove(0);
    assert_eq!(asked.method.as_str(), "POST", "the token is asked for as Entra wants it");
    assert!(asked.url.path().contains(HOME), "of the publisher's own tenant");
}

#[tokio::test]
async fn trap_42_the_text_of_a_refusal_is_neither_needed_nor_repeated() {
    let bodies = [
        BARE.to_owned(),
        String::new(),
        "not JSON: mia@customer.example".to_owned(),
        json!({ "message": "mia@customer.example" }).to_string(),
        json!({ "Error": { "Code": "Forbidden", "Message": "mia@customer.example" } }).to_string(),
        Value::Null.to_string(),
    ];
    for body in bodies {
        let it = Pretend::new().await;
        it.get(LIST, vec![raw(403, &body)]).await;
        let error = list(&it).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Consent, "{body}");
        says(&error, &["403"]);
    }
}
