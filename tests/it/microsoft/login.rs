//! Tokens: one source, five credentials, and what Entra's refusals mean.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::KeyPair as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use entitled::microsoft::{Assertion, Credential, ErrorKind, MicrosoftError, Secret};
use futures_util::future::join_all;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Value, json};
use std::collections::HashMap;
use wiremock::{Request, ResponseTemplate};

use super::{CLIENT, CUSTOMER, HOME, Pretend, ROLES, SECRET, header, ok, raw, tenant, token};

async fn ask(it: &Pretend, of: &str) -> Result<(), MicrosoftError> {
    it.microsoft.graph().organization(&it.meter, tenant(of)).await.map(|_| ())
}

fn token_path(of: &str) -> String {
    format!("/login/{of}/oauth2/v2.0/token")
}

async fn organization(it: &Pretend, of: &str) {
    let body = json!({ "value": [{ "id": of, "displayName": "Contoso" }] });
    it.get("/graph/v1.0/organization", vec![ok(body)]).await;
}

fn form(request: &Request) -> HashMap<String, String> {
    url::form_urlencoded::parse(&request.body).into_owned().collect()
}

fn entra(status: u16, code: u32) -> ResponseTemplate {
    let body = json!({ "error": "invalid_client", "error_codes": [code],
        "error_description": format!("AADSTS{code}: mia@customer.example"),
        "trace_id": "t", "correlation_id": "c" });
    ResponseTemplate::new(status).set_body_json(body)
}

#[tokio::test]
async fn a_token_is_kept_until_five_minutes_before_its_end() {
    let it = Pretend::without_tokens().await;
    organization(&it, CUSTOMER).await;
    // The v1 endpoint writes the lifetime as text.
    it.answer("POST", &token_path(CUSTOMER), vec![ok(token(&ROLES, &json!("3600")))]).await;
    for (pass, tokens) in [(0, 1), (3_299, 1), (2, 2)] {
        it.pass(Duration::from_secs(pass));
        ask(&it, CUSTOMER).await.unwrap();
        assert_eq!(it.requests("/token").await.len(), tokens, "{pass}");
    }
    let sent = form(&it.requests("/token").await[0]);
    let field = |key: &str| sent.get(key).map(String::as_str);
    assert_eq!(field("grant_type"), Some("client_credentials"));
    assert_eq!((field("client_id"), field("client_secret")), (Some(CLIENT), Some(SECRET)));
    assert_eq!(field("scope"), Some("https://graph.microsoft.com/.default"));
}

#[tokio::test]
async fn ten_who_ask_at_once_share_one_request_and_its_failure() {
    let it = Pretend::without_tokens().await;
    organization(&it, CUSTOMER).await;
    it.answer("POST", &token_path(CUSTOMER), vec![ok(token(&ROLES, &json!(3600)))]).await;
    it.answer("POST", &token_path(HOME), vec![entra(401, 7_000_222)]).await;
    for answer in join_all((0..10).map(|_| ask(&it, CUSTOMER))).await {
        answer.unwrap();
    }
    for answer in join_all((0..10).map(|_| ask(&it, HOME))).await {
        assert_eq!(answer.unwrap_err().kind(), ErrorKind::Credential);
    }
    assert_eq!(it.requests("/token").await.len(), 2);
}

#[tokio::test]
async fn a_refusal_says_what_to_do_and_nothing_private() {
    for (answer, kind, words, tries) in [
        (entra(401, 7_000_215), ErrorKind::Credential, "instead of its value", 1),
        (entra(401, 7_000_222), ErrorKind::Credential, "make a new one", 1),
        (entra(400, 700_016), ErrorKind::Consent, "consent", 1),
        (entra(400, 90_002), ErrorKind::Consent, "check its id", 1),
        (entra(400, 900_432), ErrorKind::National, "national", 1),
        (entra(400, 90_033), ErrorKind::Transient, "Entra", 4),
        (raw(503, "<html>"), ErrorKind::Transient, "HTML", 4),
        (raw(200, "{\"access_tok"), ErrorKind::Unreadable, "JSON", 4),
        (ok(json!({ "token_type": "Bearer" })), ErrorKind::Unreadable, "holds none", 4),
    ] {
        let it = Pretend::without_tokens().await;
        it.answer("POST", &token_path(CUSTOMER), vec![answer]).await;
        let error = ask(&it, CUSTOMER).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(words), "{error}");
        let private = [SECRET, "customer.example", "127.0.0.1"];
        assert!(!private.iter().any(|it| error.to_string().contains(it)), "{error}");
        assert_eq!(it.requests("/token").await.len(), tries, "{error}");
    }
}

#[tokio::test]
async fn a_credential_that_entra_refuses_is_not_tried_for_every_tenant() {
    let it = Pretend::without_tokens().await;
    organization(&it, CUSTOMER).await;
    let answers = vec![entra(401, 7_000_222), ok(token(&ROLES, &json!(3600)))];
    it.answer("POST", &token_path(CUSTOMER), answers).await;
    it.answer("POST", &token_path(HOME), vec![entra(401, 7_000_222)]).await;
    let sent = async || it.requests("/token").await.len();
    assert_eq!(ask(&it, CUSTOMER).await.unwrap_err().kind(), ErrorKind::Credential);
    for of in [CUSTOMER, HOME] {
        let error = ask(&it, of).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Credential);
        assert!(error.to_string().contains("make a new one"), "{error}");
    }
    assert_eq!(sent().await, 1, "the second and the third were not sent");
    it.pass(Duration::from_secs(61));
    ask(&it, HOME).await.unwrap_err();
    ask(&it, CUSTOMER).await.unwrap_err();
    assert_eq!(sent().await, 2);
    it.pass(Duration::from_secs(61));
    ask(&it, CUSTOMER).await.unwrap();
    ask(&it, HOME).await.unwrap_err();
    assert_eq!(sent().await, 4, "it was good again, so the next tenant is asked at once");
}

#[tokio::test]
async fn a_throttled_token_endpoint_is_waited_for() {
    let it = Pretend::without_tokens().await;
    organization(&it, CUSTOMER).await;
    let busy = ResponseTemplate::new(429).insert_header("Retry-After", "17");
    // Trouble with a time in it, with Entra's code and without.
    let down = raw(503, "<html>").insert_header("Retry-After", "30");
    let coded = entra(400, 90_033).insert_header("Retry-After", "20");
    let answers = vec![busy, down, coded, ok(token(&ROLES, &json!(3600)))];
    it.answer("POST", &token_path(CUSTOMER), answers).await;
    ask(&it, CUSTOMER).await.unwrap();
    assert_eq!(it.slept_s(), [17.0, 30.0, 20.0]);
    assert_eq!(it.meter.throttled(), Duration::from_secs(67));
}

#[tokio::test]
async fn a_token_without_any_permission_is_no_consent_but_an_opaque_one_may_be() {
    let it = Pretend::without_tokens().await;
    organization(&it, CUSTOMER).await;
    let opaque = json!({ "token_type": "Bearer", "expires_in": 3600, "access_token": "opaque" });
    let answers = vec![ok(token(&[], &json!(3600))), ok(opaque)];
    it.answer("POST", &token_path(CUSTOMER), answers).await;
    let error = ask(&it, CUSTOMER).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Consent);
    assert!(error.to_string().contains("User.Read.All"), "{error}");
    assert!(it.requests("/organization").await.is_empty(), "there is nothing to ask Graph");
    ask(&it, CUSTOMER).await.unwrap();
}

/// A PEM of a key made on the spot; of the certificate only the thumbprint counts.
fn pem() -> (String, KeyPair) {
    let key = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let block = |label: &str, der: &[u8]| {
        format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
    };
    let der = AsDer::<aws_lc_rs::encoding::Pkcs8V1Der<'_>>::as_der(&key).unwrap();
    (block("PRIVATE KEY", der.as_ref()) + &block("CERTIFICATE", b"made up"), key)
}

#[tokio::test]
async fn a_certificate_signs_an_assertion_for_the_configured_endpoint() {
    let (pem, key) = pem();
    let it = Pretend::with(Credential::Certificate { pem: Secret::new(pem) }).await;
    organization(&it, CUSTOMER).await;
    it.answer("POST", &token_path(CUSTOMER), vec![ok(token(&ROLES, &json!("3600")))]).await;
    ask(&it, CUSTOMER).await.unwrap();

    let sent = form(&it.requests("/token").await[0]);
    let assertion = &sent["client_assertion"];
    let head = jsonwebtoken::decode_header(assertion).unwrap();
    assert_eq!(head.alg, Algorithm::RS256);
    // printf 'made up' | openssl dgst -sha256 -binary | basenc --base64url
    assert_eq!(head.x5t_s256.unwrap(), "SBaPqZy34BTnfb9K95_FsqUMqsjoIIg-pzJviLxxOsk");
    let mut rules = Validation::new(Algorithm::RS256);
    rules.set_audience(&[format!("{}{}", it.server.uri(), token_path(CUSTOMER))]);
    rules.set_issuer(&[CLIENT]);
    rules.validate_exp = false; // The pretend clock is not the machine's.
    let public = DecodingKey::from_rsa_der(key.public_key().as_ref());
    let claims = jsonwebtoken::decode::<Value>(assertion, &public, &rules).unwrap().claims;
    assert_eq!(claims["sub"], CLIENT);
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["nbf"].as_i64().unwrap(), 600);
    assert_eq!(sent["scope"], "https://graph.microsoft.com/.default");
}

#[tokio::test]
async fn somebody_elses_token_from_a_file_is_sent_as_assertion() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "file.token.one\n").unwrap();
    let path = file.path().to_path_buf();
    for credential in [
        Credential::Federated { assertion: Assertion::File(path.clone()) },
        Credential::WorkloadIdentity { token_file: path.clone() },
    ] {
        let it = Pretend::with(credential).await;
        organization(&it, CUSTOMER).await;
        it.answer("POST", &token_path(CUSTOMER), vec![ok(token(&ROLES, &json!(3600)))]).await;
        ask(&it, CUSTOMER).await.unwrap();
        let sent = form(&it.requests("/token").await[0]);
        assert_eq!(sent["client_assertion"].trim(), "file.token.one");
        assert_eq!(sent["client_id"], CLIENT);
    }
    let gone = Credential::Federated { assertion: Assertion::File("/nowhere/token".into()) };
    let error = ask(&Pretend::with(gone).await, CUSTOMER).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Credential);
    assert!(error.to_string().contains("/nowhere/token"), "{error}");
}

#[tokio::test]
async fn a_managed_identitys_token_stands_for_our_app_in_any_tenant() {
    let client_id = Some("1d1d1d1d-0000-4000-8000-000000000001".to_owned());
    let assertion = Assertion::ManagedIdentity { client_id: client_id.clone() };
    let it = Pretend::with(Credential::Federated { assertion }).await;
    organization(&it, CUSTOMER).await;
    it.answer("POST", &token_path(CUSTOMER), vec![ok(token(&ROLES, &json!(3600)))]).await;
    let identity = json!({ "access_token": "the.machines.token", "token_type": "Bearer",
        "expires_on": "4102444800", "resource": "api://AzureADTokenExchange" });
    it.get("/metadata/identity/oauth2/token", vec![ok(identity)]).await;
    ask(&it, CUSTOMER).await.unwrap();
    let all = it.requests("/token").await;
    let asked: HashMap<_, _> = all[0].url.query_pairs().into_owned().collect();
    assert_eq!(asked["resource"], "api://AzureADTokenExchange");
    assert_eq!(Some(&asked["client_id"]), client_id.as_ref());
    assert_eq!(header(&all[0], "metadata"), "true");
    assert_eq!(form(&all[1])["client_assertion"], "the.machines.token");
}

#[tokio::test]
async fn a_bare_managed_identity_speaks_at_home_only() {
    let it = Pretend::with(Credential::ManagedIdentity { client_id: None }).await;
    organization(&it, HOME).await;
    let mine = token(&ROLES, &json!("3600"));
    let identity = json!({ "access_token": mine["access_token"], "token_type": "Bearer",
        "expires_on": "4102444800", "resource": "https://graph.microsoft.com" });
    let refused = ResponseTemplate::new(400).set_body_json(json!({ "error": "invalid_request" }));
    it.get("/metadata/identity/oauth2/token", vec![refused, ok(identity)]).await;
    let error = ask(&it, HOME).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Credential);
    assert!(error.to_string().contains("managed identity gives no token (400)"), "{error}");
    ask(&it, HOME).await.unwrap();
    let error = ask(&it, CUSTOMER).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Credential);
    assert!(error.to_string().contains("federated"), "{error}");
}

#[tokio::test]
async fn what_entra_says_comes_through_the_identity_library_unchanged() {
    let (pem, _) = pem();
    let it = Pretend::with(Credential::Certificate { pem: Secret::new(pem) }).await;
    let answers = vec![entra(401, 700_027), raw(503, "<html>")];
    it.answer("POST", &token_path(CUSTOMER), answers).await;
    let error = ask(&it, CUSTOMER).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Credential);
    assert!(error.to_string().contains("upload its public part"), "{error}");
    it.pass(Duration::from_mins(1));
    let error = ask(&it, CUSTOMER).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transient);
    assert_eq!(it.requests("/token").await.len(), 5, "four tries are ours, none the library's");
}

/// Where the log goes.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn no_log_line_holds_a_secret_a_token_or_an_assertion() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "planted.file.token").unwrap();
    let log = Log::default();
    let writer = log.clone();
    let lines = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_ansi(false);
    let lines = lines.with_writer(move || writer.clone()).finish();
    let _guard = tracing::subscriber::set_default(lines);
    let federated = Assertion::File(file.path().to_path_buf());
    for credential in [
        Credential::Secret(Secret::new("planted-secret")),
        Credential::Federated { assertion: federated },
        Credential::ManagedIdentity { client_id: None },
    ] {
        let it = Pretend::with(credential).await;
        organization(&it, HOME).await;
        let planted = json!({ "token_type": "Bearer", "expires_in": 3600,
            "expires_on": "4102444800", "resource": "r", "access_token": "planted-token" });
        it.answer("POST", &token_path(HOME), vec![ok(planted.clone())]).await;
        it.get("/metadata/identity/oauth2/token", vec![ok(planted)]).await;
        ask(&it, HOME).await.unwrap();
    }
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(text.contains("microsoft.endpoint=\"GET /organization\""), "the log is listened to");
    let bare: Vec<&str> = text.lines().filter(|it| it.contains("planted")).collect();
    assert!(bare.is_empty(), "{bare:#?}");
}

/// What a person's code is redeemed with by this credential: the form that Entra gets.
async fn redeemed(credential: Credential) -> (Pretend, HashMap<String, String>) {
    let it = Pretend::with(credential).await;
    let answer = json!({ "token_type": "Bearer", "expires_in": 3600, "access_token": "opaque",
        "id_token": "head.claims.signature" });
    it.answer("POST", &token_path("common"), vec![ok(answer)]).await;
    let redirect = "https://lic.example.test/marketplace/landing/signed-in".parse().unwrap();
    let sign_in = it.microsoft.sign_in(None, redirect).unwrap();
    let departure = sign_in.depart(false);
    let redeemed = sign_in.redeem("the code".to_owned(), departure.verifier.clone()).await;
    assert_eq!(redeemed.unwrap(), "head.claims.signature");
    let sent = it.requests("/token").await.pop().unwrap();
    let sent = form(&sent);
    assert_eq!(sent["grant_type"], "authorization_code");
    assert_eq!((&*sent["code"], &*sent["client_id"]), ("the code", CLIENT));
    assert_eq!(sent["code_verifier"], departure.verifier);
    assert!(!sent.contains_key("client_secret"), "{sent:?}");
    let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
    assert_eq!(sent["client_assertion_type"], kind);
    (it, sent)
}

#[tokio::test]
async fn a_persons_code_is_redeemed_with_an_assertion_that_the_certificate_signs() {
    let (pem, key) = pem();
    let (it, sent) = redeemed(Credential::Certificate { pem: Secret::new(pem) }).await;
    let mut rules = Validation::new(Algorithm::RS256);
    rules.set_audience(&[format!("{}{}", it.server.uri(), token_path("common"))]);
    rules.set_issuer(&[CLIENT]);
    rules.validate_exp = false; // The pretend clock is not the machine's.
    let public = DecodingKey::from_rsa_der(key.public_key().as_ref());
    let assertion = &sent["client_assertion"];
    let claims = jsonwebtoken::decode::<Value>(assertion, &public, &rules).unwrap().claims;
    assert_eq!(claims["sub"], CLIENT);
}

#[tokio::test]
async fn a_persons_code_is_redeemed_with_somebody_elses_token() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "file.token.one\n").unwrap();
    let path = file.path().to_path_buf();
    for credential in [
        Credential::Federated { assertion: Assertion::File(path.clone()) },
        Credential::WorkloadIdentity { token_file: path.clone() },
    ] {
        let (_, sent) = redeemed(credential).await;
        assert_eq!(sent["client_assertion"].trim(), "file.token.one");
    }
    // A bare managed identity has nothing that it could show there, and says so at the start.
    let it = Pretend::with(Credential::ManagedIdentity { client_id: None }).await;
    let redirect = "https://lic.example.test/".parse().unwrap();
    let error = it.microsoft.sign_in(None, redirect).err().unwrap();
    assert!(error.to_string().contains("secret_file"), "{error}");
}
