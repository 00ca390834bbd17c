//! Entra's tokens, good and hostile, and our signed answers. Keys are made when the test starts.

mod answers;
mod corpus;
mod entra_keys;
mod forms;
mod packages;
mod sign_in;
pub(crate) mod webhook;

use std::sync::LazyLock;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize, PublicKeyComponents};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256, RsaEncoding};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use entitled::domain::{TenantId, UserId};
use entitled::tokens::{KeySet, TokenError, User, UserRules, key_id, verify_user};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

pub(crate) use entra_keys::PretendEntra;

pub(crate) const LOGIN: &str = "https://login.microsoftonline.com";
pub(crate) const STS: &str = "https://sts.windows.net";
pub(crate) const CONTOSO: &str = "11111111-aaaa-4aaa-8aaa-111111111111";
pub(crate) const FABRIKAM: &str = "22222222-bbbb-4bbb-8bbb-222222222222";
pub(crate) const PERSONAL: &str = "9188040d-6c67-4c5b-b112-36a304b66dad";
pub(crate) const ANA: &str = "33333333-cccc-4ccc-8ccc-333333333333";
pub(crate) const APP_URI: &str = "https://lic.example.test/app";
pub(crate) const CLIENT_ID: &str = "44444444-dddd-4ddd-8ddd-444444444444";
pub(crate) const POWER_BI: &str = "871c010f-5e61-4fb1-83ac-98610a7e9110";

pub(crate) fn now() -> Timestamp {
    "2026-11-22T12:00:00Z".parse().unwrap()
}

/// Entra's key for organisations, its key for personal accounts, one bound to Fabrikam, and a
/// stranger's.
pub(crate) struct Keys {
    pub(crate) organisations: KeyPair,
    pub(crate) personal: KeyPair,
    fabrikam: KeyPair,
    stranger: KeyPair,
}

pub(crate) static KEYS: LazyLock<Keys> = LazyLock::new(|| {
    let make = || KeyPair::generate(KeySize::Rsa2048).unwrap();
    Keys { organisations: make(), personal: make(), fabrikam: make(), stranger: make() }
});

fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn wire_key(kid: &str, key: &KeyPair, issuer: &str) -> Value {
    let parts: PublicKeyComponents<Vec<u8>> = key.public_key().into();
    json!({
        "kty": "RSA", "use": "sig", "kid": kid, "x5t": kid, "x5c": ["MIIC…"],
        "n": b64(parts.n), "e": b64(parts.e), "issuer": issuer,
    })
}

pub(crate) fn key_set() -> KeySet {
    let set = json!({ "keys": [
        wire_key("org-1", &KEYS.organisations, &format!("{LOGIN}/{{tenantid}}/v2.0")),
        wire_key("personal-1", &KEYS.personal, &format!("{LOGIN}/{PERSONAL}/v2.0")),
        wire_key("fabrikam-1", &KEYS.fabrikam, &format!("{LOGIN}/{FABRIKAM}/v2.0")),
        // Left out by `parse`: no issuer, no RSA, an id that is a path.
        { "kty": "RSA", "use": "sig", "kid": "no-issuer", "n": "AQAB", "e": "AQAB" },
        { "kty": "EC", "kid": "ec", "crv": "P-256", "x": "AA", "y": "AA", "issuer": "x" },
        wire_key("../../etc/passwd", &KEYS.stranger, &format!("{LOGIN}/{{tenantid}}/v2.0")),
    ]});
    KeySet::parse(set.to_string().as_bytes()).unwrap()
}

pub(crate) fn rules() -> UserRules {
    let audience = [APP_URI.to_owned(), CLIENT_ID.to_ascii_uppercase()];
    UserRules::new(LOGIN, &format!("{STS}/"), audience, [POWER_BI.to_owned()])
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Version {
    V1,
    V2,
}
use Version::{V1, V2};

impl Version {
    fn caller_claim(self) -> &'static str {
        if self == V1 { "appid" } else { "azp" }
    }

    pub(crate) fn issuer(self, tenant: &str) -> String {
        match self {
            V1 => format!("{STS}/{tenant}/"),
            V2 => format!("{LOGIN}/{tenant}/v2.0"),
        }
    }
}

/// A token in the making: good as it is, until a case spoils it.
#[derive(Clone)]
pub(crate) struct Draft {
    header: Map<String, Value>,
    claims: Map<String, Value>,
}

impl Draft {
    pub(crate) fn good(version: Version) -> Self {
        let at = now().as_second();
        let header = json!({ "typ": "JWT", "alg": "RS256", "kid": "org-1", "x5t": "org-1" });
        let mut claims = json!({
            "ver": if version == V1 { "1.0" } else { "2.0" },
            "iss": version.issuer(CONTOSO), "tid": CONTOSO, "oid": ANA, "sub": "pairwise",
            "aud": if version == V1 { APP_URI } else { CLIENT_ID },
            "scp": "guid_CV_ForPBI", "iat": at - 300, "nbf": at - 300, "exp": at + 3_900,
            "name": "Ana", "upn": "ana@contoso.example",
        });
        claims[version.caller_claim()] = json!(POWER_BI);
        if webhook::WANTED.get() {
            webhook::make(&mut claims, version);
        }
        let object = |it: Value| it.as_object().unwrap().clone();
        Self { header: object(header), claims: object(claims) }
    }

    pub(crate) fn claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.claims.insert(name.to_owned(), value.into());
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.claims.remove(name);
        self
    }

    pub(crate) fn head(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.header.insert(name.to_owned(), value.into());
        self
    }

    fn headless(mut self, name: &str) -> Self {
        self.header.remove(name);
        self
    }

    pub(crate) fn signed(&self) -> String {
        self.signed_by(&KEYS.organisations)
    }

    pub(crate) fn signed_by(&self, key: &KeyPair) -> String {
        sign_text(&json!(self.header).to_string(), &json!(self.claims).to_string(), key)
    }

    fn message(&self) -> String {
        format!("{}.{}", b64(json!(self.header).to_string()), b64(json!(self.claims).to_string()))
    }
}

fn sign_text(header: &str, claims: &str, key: &KeyPair) -> String {
    let message = format!("{}.{}", b64(header), b64(claims));
    format!("{message}.{}", b64(rsa(&message, key, &RSA_PKCS1_SHA256)))
}

fn rsa(message: &str, key: &KeyPair, encoding: &'static dyn RsaEncoding) -> Vec<u8> {
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(encoding, &SystemRandom::new(), message.as_bytes(), &mut signature).unwrap();
    signature
}

fn verdict(token: &str) -> Result<User, TokenError> {
    verify_user(token, &key_set(), &rules(), now())
}

#[test]
fn good_tokens_are_accepted() {
    let at = now().as_second();
    let mut good: Vec<(&str, String)> = Vec::new();
    for version in [V1, V2] {
        let draft = || Draft::good(version);
        good.push(("as it comes", draft().signed()));
        good.push((
            "expired 60 s ago",
            draft().claim("nbf", at - 3_600).claim("exp", at - 60).signed(),
        ));
        good.push(("valid in 60 s", draft().claim("nbf", at + 60).signed()));
        good.push((
            "30 hours long",
            draft().claim("nbf", at - 10).claim("exp", at - 10 + 30 * 3_600).signed(),
        ));
        good.push(("28 hours, CAE", draft().claim("exp", at - 300 + 28 * 3_600).signed()));
        good.push((
            "the other audience",
            draft().claim("aud", if version == V1 { CLIENT_ID } else { APP_URI }).signed(),
        ));
        good.push((
            "both caller claims",
            draft().claim("azp", POWER_BI).claim("appid", POWER_BI).signed(),
        ));
        good.push(("idtyp user", draft().claim("idtyp", "user").signed()));
        good.push((
            "claims nobody knows",
            draft().claim("xms_st", json!({ "sub": [1, null] })).signed(),
        ));
        good.push(("no typ", draft().headless("typ").signed()));
        good.push(("jku that nobody follows", draft().head("jku", "https://evil.test").signed()));
        good.push(("just under 16 KiB", draft().claim("x", "x".repeat(10_000)).signed()));
    }
    for (what, token) in &good {
        let user = verdict(token).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(user.tenant, Some(CONTOSO.parse::<TenantId>().unwrap()), "{what}");
        assert_eq!(user.user, ANA.parse::<UserId>().unwrap(), "{what}");
        assert!(!user.personal && &*user.scopes == "guid_CV_ForPBI", "{what}");
        assert_eq!(key_id(token).as_deref(), Ok("org-1"), "{what}");
    }
    let own = Draft::good(V2)
        .head("kid", "fabrikam-1")
        .claim("tid", FABRIKAM)
        .claim("iss", V2.issuer(FABRIKAM));
    let user = verdict(&own.signed_by(&KEYS.fabrikam)).unwrap();
    assert_eq!(user.tenant, Some(FABRIKAM.parse().unwrap()), "a tenant's own key signs for it");
}

#[test]
fn a_personal_account_is_a_user_without_a_tenant() {
    let draft = Draft::good(V2)
        .head("kid", "personal-1")
        .claim("tid", PERSONAL)
        .claim("iss", V2.issuer(PERSONAL));
    let user = verdict(&draft.signed_by(&KEYS.personal)).unwrap();
    assert_eq!((user.tenant, user.personal), (None, true));
}

#[test]
fn a_key_set_that_cannot_be_used_is_an_error() {
    let check = |text: &str| assert!(KeySet::parse(text.as_bytes()).is_err(), "{text}");
    check("");
    check("<html>Service unavailable</html>");
    check("{}");
    check(r#"{"keys": []}"#);
    check(r#"{"keys": [{"kty": "RSA", "kid": "a"}]}"#);
    check(r#"{"keys": {"kid": "a"}}"#);
    let many = json!({ "keys": vec![json!({}); 1_001] }).to_string();
    check(&many);
    assert_eq!(key_set().len(), 3);
    let again = KeySet::parse(&key_set().to_jwks()).unwrap();
    assert!(again.len() == 3 && again.has("personal-1"), "what is stored reads back");
    let token = Draft::good(V1).signed();
    assert!(verify_user(&token, &again, &rules(), now()).is_ok());
}
