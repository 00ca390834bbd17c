//! Entra's sign-in: the page on which a person says who he is, the code he is sent back with, and
//! the ID token it is redeemed for. Work and personal accounts.
//! Source: Microsoft identity platform, "OAuth 2.0 authorization code flow", "ID tokens";
//! marketplace-saas.md 2.1.

use std::collections::HashMap;
use std::fmt::Write as _;

use aws_lc_rs::digest::{SHA256, digest};
use axum::http::Method;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use url::Url;
use uuid::Uuid;

use super::entra::{TokenVersion, issuer, refusal};
use super::keys::{PERSONAL, Signer};
use super::wire::{Ask, Reply};
use super::{World, chance, story};

/// How long a code may be redeemed, in seconds.
const CODE_LIFE_S: i64 = 600;
/// Codes that are remembered.
const CODES_MAX: usize = 10_000;
/// How long codes of work accounts are; those of personal accounts are short.
const CODE_CHARS: usize = 1_500;
/// Lifetime of an ID token.
const ID_TOKEN_S: i64 = 3_600;
/// The reply address registered with the apps that sign people in, whatever the host.
const RETURN_PATH: &str = "/marketplace/landing/return";
/// The reply address registered for admin consent.
const CONSENT_PATH: &str = "/marketplace/consent";

/// The people who signed in and have not come back yet.
#[derive(Debug, Default)]
pub(super) struct Visits {
    codes: HashMap<String, Visit>,
}

#[derive(Clone, Debug)]
struct Visit {
    person: (Uuid, Uuid),
    client: String,
    redirect: String,
    scope: String,
    nonce: String,
    challenge: String,
    until: i64,
    redeemed: bool,
}

/// `GET` and `POST` of `…/oauth2/v2.0/authorize`. With a `login_hint` nobody is asked: it is a
/// sign-in name, or `tenant/user`.
pub(super) fn authorize(world: &mut World, ask: &Ask, authority: &str) -> Reply {
    if !["common", "organizations", "consumers"].contains(&authority)
        && authority.parse::<Uuid>().is_err()
    {
        return page(400, "AADSTS90002: there is no such tenant.");
    }
    let form: Vec<(String, String)> = url::form_urlencoded::parse(&ask.body).into_owned().collect();
    let given = |name: &str| {
        let own = form.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        own.or_else(|| ask.option(name)).unwrap_or_default()
    };
    let client = given("client_id");
    if app_secret(client).is_none() {
        let text = format!("AADSTS700016: application '{client}' was not found.");
        return page(400, &text);
    }
    let redirect = Url::parse(given("redirect_uri"));
    let Some(redirect) = redirect.ok().filter(|it| it.path() == RETURN_PATH) else {
        return page(400, "AADSTS50011: the redirect URI is not one configured for the app.");
    };
    let back = |pairs: &[(&str, &str)]| {
        let mut to = redirect.clone();
        to.query_pairs_mut().extend_pairs(pairs).append_pair("state", given("state"));
        Reply::empty(302).with("location", to.as_str())
    };
    let pkce = given("code_challenge_method") == "S256" && !given("code_challenge").is_empty();
    if given("response_type") != "code" || !pkce || !given("scope").contains("openid") {
        return back(&[("error", "invalid_request"), ("error_description", "AADSTS900144")]);
    }
    let chosen = match (given("user"), given("login_hint"), &ask.method) {
        ("cancel", _, _) => {
            return back(&[("error", "access_denied"), ("error_subcode", "cancel")]);
        }
        ("", "", _) => return choose(world, ask),
        ("", hint, _) => person(world, hint),
        (user, _, &Method::POST) => person(world, user),
        (_, _, _) => None,
    };
    let Some(person) = chosen else {
        return page(400, "AADSTS50034: the user account does not exist.");
    };
    let allowed = match authority {
        "consumers" => person.0 == story::PERSONAL_TENANT,
        "organizations" => person.0 != story::PERSONAL_TENANT,
        "common" => true,
        tenant => tenant == person.0.to_string(),
    };
    if !allowed {
        return page(400, "AADSTS50020: the user account does not exist in the tenant.");
    }
    let visit = Visit {
        person,
        client: client.to_ascii_lowercase(),
        redirect: given("redirect_uri").to_owned(),
        scope: given("scope").to_owned(),
        nonce: given("nonce").to_owned(),
        challenge: given("code_challenge").to_owned(),
        until: world.now_s().saturating_add(CODE_LIFE_S),
        redeemed: false,
    };
    let session = world.fresh_id().to_string();
    let code = remember(world, visit);
    back(&[("code", &code), ("session_state", &session)])
}

/// `GET …/v2.0/adminconsent`: an administrator consents to all that the app asks for; with
/// `decline` he does not. Source: graph-licensing.md 10.1.
pub(super) fn admin_consent(world: &mut World, ask: &Ask, authority: &str) -> Reply {
    let given = |name: &str| ask.option(name).unwrap_or_default();
    if !given("client_id").eq_ignore_ascii_case(&story::CLIENT_ID.to_string()) {
        return page(400, "AADSTS700016: the application was not found.");
    }
    let redirect = Url::parse(given("redirect_uri"));
    let Some(mut to) = redirect.ok().filter(|it| it.path().ends_with(CONSENT_PATH)) else {
        return page(400, "AADSTS50011: the redirect URI is not one configured for the app.");
    };
    let Some(tenant) = authority.parse::<Uuid>().ok() else {
        return page(400, "AADSTS90002: there is no such tenant.");
    };
    if !given("decline").is_empty() {
        let declined = [
            ("error", "access_denied"),
            ("error_description", "AADSTS65004: User declined to consent to access the app."),
        ];
        to.query_pairs_mut().extend_pairs(declined).append_pair("state", given("state"));
        return Reply::empty(302).with("location", to.as_str());
    }
    let roles = story::ROLES.iter().map(ToString::to_string).collect();
    if world.consent(tenant, Some(roles)).is_err() {
        return page(400, "AADSTS90002: there is no such tenant.");
    }
    to.query_pairs_mut()
        .append_pair("admin_consent", "True")
        .append_pair("tenant", &tenant.to_string())
        .append_pair("state", given("state"))
        .append_pair("scope", given("scope"));
    Reply::empty(302).with("location", to.as_str())
}

/// The secret of an app that may sign people in.
fn app_secret(client: &str) -> Option<&'static str> {
    let is = |id: Uuid| client.eq_ignore_ascii_case(&id.to_string());
    if is(story::CLIENT_ID) {
        Some(story::CLIENT_SECRET)
    } else {
        is(story::LANDING_CLIENT_ID).then_some(story::LANDING_SECRET)
    }
}

fn remember(world: &mut World, visit: Visit) -> String {
    let personal = visit.person.0 == story::PERSONAL_TENANT;
    let mut code = if personal { "M.C5_SN1.2.U." } else { "1.A" }.to_owned();
    while code.len() < if personal { 45 } else { CODE_CHARS } {
        code.push_str(&URL_SAFE_NO_PAD.encode(world.fresh_id().as_bytes()));
    }
    let now = world.now_s();
    let codes = &mut world.visits.codes;
    if codes.len() >= CODES_MAX {
        codes.retain(|_, it| it.until > now);
    }
    codes.insert(code.clone(), visit);
    code
}

fn person(world: &World, name: &str) -> Option<(Uuid, Uuid)> {
    if let Some((tenant, user)) = name.split_once('/') {
        return Some((tenant.parse().ok()?, user.parse().ok()?));
    }
    let mut people = story::PEOPLE.iter().chain([&story::PAT]);
    let found = people.find(|it| names(world, (it.tenant, it.user)).1 == name)?;
    Some((found.tenant, found.user))
}

/// Display name and sign-in name.
fn names(world: &World, (tenant, user): (Uuid, Uuid)) -> (String, String) {
    if user == story::PAT.user {
        return (story::PAT.name.to_owned(), "pat@customer.example".to_owned());
    }
    world.person(tenant, user)
}

/// The page on which a person says who he is.
fn choose(world: &World, ask: &Ask) -> Reply {
    let mut html = String::from(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>Sign in</title>\
         <meta name=\"viewport\" content=\"width=device-width\"></head><body><main>\
         <h1>Pick an account</h1><p>This stands in for Microsoft's sign-in.</p>\
         <form method=\"post\">",
    );
    for (name, value) in ask.query.iter().filter(|(name, _)| name != "user") {
        let written = write!(
            html,
            "<input type=\"hidden\" name=\"{}\" value=\"{}\">",
            escaped(name),
            escaped(value)
        );
        debug_assert!(written.is_ok(), "a String takes every write");
    }
    let mut button = |value: &str, text: &str| {
        let value = escaped(value);
        let text = escaped(text);
        let written = write!(
            html,
            "<p><button name=\"user\" value=\"{value}\" data-user=\"{text}\">{text}</button></p>"
        );
        debug_assert!(written.is_ok(), "a String takes every write");
    };
    for it in story::PEOPLE.iter().chain([&story::PAT]) {
        let (_, login) = names(world, (it.tenant, it.user));
        button(&format!("{}/{}", it.tenant, it.user), &login);
    }
    button("cancel", "Cancel");
    html.push_str("</form></main></body></html>");
    Reply::raw(200, "text/html; charset=utf-8", html).with("cache-control", "no-store")
}

fn page(status: u16, text: &str) -> Reply {
    let html = format!(
        "<!doctype html><html lang=\"en\"><title>Sign in</title><h1>Sorry</h1><p>{}</p></html>",
        escaped(text)
    );
    Reply::raw(status, "text/html; charset=utf-8", html)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

/// `grant_type=authorization_code`: the code for tokens, once.
pub(super) fn redeem(world: &mut World, form: &[(String, String)]) -> Reply {
    let field = |name: &str| {
        form.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value.as_str())
    };
    let Some(secret) = app_secret(field("client_id")) else {
        let text = "Application was not found in the directory.";
        return refusal(world, 400, "unauthorized_client", 700_016, text);
    };
    let assertion = !field("client_assertion").is_empty();
    if !assertion && field("client_secret") != secret {
        let (code, text) = match field("client_secret") {
            "" => {
                (7_000_218, "The request body must contain 'client_assertion' or 'client_secret'.")
            }
            it if it == story::EXPIRED_SECRET => {
                (7_000_222, "The provided client secret keys for app are expired.")
            }
            _ => (7_000_215, "Invalid client secret provided."),
        };
        return refusal(world, 401, "invalid_client", code, text);
    }
    let now = world.now_s();
    let grant = |world: &mut World, code, text| refusal(world, 400, "invalid_grant", code, text);
    let Some(visit) = world.visits.codes.get_mut(field("code")) else {
        return grant(world, 9_002_313, "Invalid request. The code is malformed or not valid.");
    };
    let before = visit.clone();
    visit.redeemed = true;
    if before.redeemed {
        let text = "OAuth2 Authorization code was already redeemed.";
        return grant(world, 54_005, text);
    }
    if before.until <= now {
        return grant(world, 70_008, "The provided authorization code has expired.");
    }
    let same = before.client.eq_ignore_ascii_case(field("client_id"));
    if !same || before.redirect != field("redirect_uri") {
        return grant(world, 500_112, "The reply address does not match the one of the code.");
    }
    let answer = digest(&SHA256, field("code_verifier").as_bytes());
    if URL_SAFE_NO_PAD.encode(answer) != before.challenge {
        let text = "The Code_Verifier does not match the code_challenge supplied.";
        return grant(world, 501_481, text);
    }
    let token = id_token(world, &before);
    let body = json!({
        "token_type": "Bearer", "scope": before.scope, "expires_in": ID_TOKEN_S,
        "ext_expires_in": ID_TOKEN_S, "access_token": "opaque-to-this-app", "id_token": token,
    });
    Reply::json(200, &body).with("cache-control", "no-store, no-cache").about(before.person.0)
}

fn id_token(world: &World, visit: &Visit) -> String {
    let (now, (tenant, user)) = (world.now_s(), visit.person);
    let (name, login) = names(world, visit.person);
    let sub = chance::hash(&[chance::hash(&chance::halves(user)), 0x0069_6474]);
    let mut claims = json!({
        "ver": "2.0", "iss": issuer(world.base(), &tenant.to_string(), TokenVersion::V2),
        "aud": visit.client, "iat": now, "nbf": now, "exp": now + ID_TOKEN_S,
        "nonce": visit.nonce, "oid": user, "tid": tenant, "name": name,
        "preferred_username": login, "sub": URL_SAFE_NO_PAD.encode(sub.to_be_bytes()),
    });
    let mail = visit.scope.split(' ').any(|it| it == "email");
    if let (true, Some(fields)) = (mail, claims.as_object_mut()) {
        fields.insert("email".to_owned(), Value::from(login));
    }
    let personal = tenant.to_string() == PERSONAL;
    world.keys().sign(&claims, if personal { Signer::Personal } else { Signer::Work })
}
