//! Entra's tokens, good and hostile, and our signed answers. Keys are made when the test starts.

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rsa::{KeyPair, KeySize, PublicKeyComponents};
use aws_lc_rs::signature::{
    self, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PSS_SHA256,
    RsaEncoding,
};
use aws_lc_rs::{hmac, rand::SystemRandom};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use entitled::domain::{ProductId, TenantId, UserId};
use entitled::store::{Guard, Store, StoreOptions};
use entitled::sync::keys::{DOCUMENT, EntraKeys, Fetch, FetchError, Lookup};
use entitled::tokens::{
    KeySet, PublicKey, Signer, Subject, TokenError, UserRules, VerifyAnswerError, jwks, key_id,
    verify_answer, verify_user,
};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

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

fn verdict(token: &str) -> Result<entitled::tokens::User, TokenError> {
    verify_user(token, &key_set(), &rules(), now())
}

/// The corpus: what is done to a good token, the token, and the one reason to refuse it.
#[derive(Default)]
struct Corpus(Vec<(String, String, TokenError)>);

impl Corpus {
    fn add(&mut self, what: impl Into<String>, token: String, reason: TokenError) {
        self.0.push((what.into(), token, reason));
    }

    fn claims(&mut self, version: Version) {
        let other = if version == V1 { V2 } else { V1 };
        let required = ["iss", "aud", "tid", version.caller_claim(), "exp", "nbf", "ver", "oid"];
        let wrong_types = [
            Value::Null,
            json!(true),
            json!(1.5),
            json!([]),
            json!({}),
            json!([CONTOSO]),
            json!({ "$oid": ANA }),
            json!(["2.0"]),
            json!(-1.25e3),
        ];
        for name in required {
            let reason = TokenError::Claim(name);
            let draft = Draft::good(version).without(name);
            self.add(format!("{version:?} {name} absent"), draft.signed(), reason.clone());
            for wrong in &wrong_types {
                let draft = Draft::good(version).claim(name, wrong.clone());
                self.add(format!("{version:?} {name} = {wrong}"), draft.signed(), reason.clone());
            }
        }
        for name in ["iss", "aud", "tid", version.caller_claim(), "ver", "oid"] {
            let draft = Draft::good(version).claim(name, 7);
            self.add(
                format!("{version:?} {name} a number"),
                draft.signed(),
                TokenError::Claim(name),
            );
        }
        for name in ["exp", "nbf"] {
            for wrong in ["1763812800", "", "never", "2026-11-22T12:00:00Z"] {
                let draft = Draft::good(version).claim(name, wrong);
                let what = format!("{version:?} {name} = {wrong:?}");
                self.add(what, draft.signed(), TokenError::Claim(name));
            }
            let draft = Draft::good(version).claim(name, u64::MAX);
            self.add(format!("{version:?} {name} huge"), draft.signed(), TokenError::Claim(name));
        }
        let issuer = version.issuer(CONTOSO);
        let host = if version == V1 { STS } else { LOGIN };
        for wrong in [
            version.issuer(FABRIKAM),
            other.issuer(CONTOSO),
            version.issuer("common"),
            version.issuer("{tenantid}"),
            version.issuer(PERSONAL),
            version.issuer(&CONTOSO.to_ascii_uppercase()),
            issuer.to_ascii_uppercase(),
            format!("{issuer}/"),
            issuer.trim_end_matches('/').replace("/v2.0", ""),
            format!(" {issuer}"),
            format!("{issuer} "),
            format!("{issuer}\0"),
            String::new(),
            issuer.replace("https://", "http://"),
            issuer.replace("https://", "https://evil.test/"),
            issuer.replace(host, &format!("{host}.evil.test")),
            issuer.replace(host, &format!("{host}@evil.test")),
            format!("{issuer}?x=1"),
            format!("{issuer}#"),
            issuer.replace(CONTOSO, &CONTOSO.replace('1', "１")),
            issuer.replace('/', "%2f"),
            format!("{host}//{CONTOSO}/"),
            "contoso".to_owned(),
        ] {
            let draft = Draft::good(version).claim("iss", wrong.as_str());
            self.add(format!("{version:?} iss = {wrong:?}"), draft.signed(), TokenError::Issuer);
        }
        for wrong in [
            "",
            "contoso.onmicrosoft.com",
            "common",
            "*",
            "{tenantid}",
            &CONTOSO[1..],
            &CONTOSO.replace('-', ""),
            &CONTOSO.to_ascii_uppercase(),
            &format!("{{{CONTOSO}}}"),
            &format!("urn:uuid:{CONTOSO}"),
            &format!(" {CONTOSO}"),
            &format!("{CONTOSO}/"),
            &format!("{CONTOSO}\n"),
            "00000000-0000-0000-0000-000000000000",
            "../..",
            "１１１１",
        ] {
            let draft =
                Draft::good(version).claim("tid", wrong).claim("iss", version.issuer(wrong));
            self.add(format!("{version:?} tid = {wrong:?}"), draft.signed(), TokenError::Tenant);
            let draft = Draft::good(version).claim("oid", wrong);
            self.add(format!("{version:?} oid = {wrong:?}"), draft.signed(), TokenError::User);
        }
        let draft = Draft::good(version).claim("tid", FABRIKAM);
        self.add(format!("{version:?} tid of another"), draft.signed(), TokenError::Issuer);
        self.audience_and_caller(version);
        self.user(version);
    }

    fn audience_and_caller(&mut self, version: Version) {
        let own = version.caller_claim();
        let other = if version == V1 { "azp" } else { "appid" };
        for wrong in [
            "",
            "https://graph.microsoft.com",
            "00000003-0000-0000-c000-000000000000",
            "*",
            "https://lic.example.test/app/",
            "https://lic.example.test",
            "HTTPS://LIC.EXAMPLE.TEST/APP",
            "https://lic.example.test/app?x",
            " https://lic.example.test/app",
            "api://lic.example.test/app",
            "https://lic.example.test/ap",
            "https://lic.example.test/appx",
            POWER_BI,
            CONTOSO,
            &CLIENT_ID.to_ascii_uppercase(),
            &CLIENT_ID.replace('-', ""),
            "https://lic.example.test/app\0",
        ] {
            let draft = Draft::good(version).claim("aud", wrong);
            self.add(format!("{version:?} aud = {wrong:?}"), draft.signed(), TokenError::Audience);
        }
        let draft = Draft::good(version).claim("aud", json!([APP_URI, CLIENT_ID]));
        self.add(format!("{version:?} aud a list"), draft.signed(), TokenError::Claim("aud"));
        for wrong in [
            "",
            CLIENT_ID,
            "20e940b3-4c77-4b0b-9a53-9e16a1b010a7",
            "*",
            &POWER_BI[1..],
            &POWER_BI.to_ascii_uppercase(),
            &POWER_BI.replace('-', ""),
            &format!("{POWER_BI} "),
            &format!("{POWER_BI},{CLIENT_ID}"),
            "871c010f-5e61-4fb1-83ac-98610a7e9111",
        ] {
            let draft = Draft::good(version).claim(own, wrong);
            self.add(format!("{version:?} {own} = {wrong:?}"), draft.signed(), TokenError::Caller);
            let draft = Draft::good(version).claim(other, wrong);
            let what = format!("{version:?} {other} = {wrong:?} beside {own}");
            self.add(what, draft.signed(), TokenError::CallersDisagree);
        }
        for wrong in [Value::Null, json!([POWER_BI]), json!(1)] {
            let draft = Draft::good(version).claim(other, wrong.clone());
            let what = format!("{version:?} {other} = {wrong} beside {own}");
            self.add(what, draft.signed(), TokenError::Claim(other));
        }
        let draft = Draft::good(version).without(own).claim(other, POWER_BI);
        self.add(format!("{version:?} only {other}"), draft.signed(), TokenError::Claim(own));
        for wrong in ["", "1", "2", "3.0", "1.0.0", "v2.0", "2.0 ", " 1.0"] {
            let draft = Draft::good(version).claim("ver", wrong);
            self.add(format!("{version:?} ver = {wrong:?}"), draft.signed(), TokenError::Version);
        }
        let swapped = if version == V1 { "2.0" } else { "1.0" };
        let draft = Draft::good(version).claim("ver", swapped);
        self.add(format!("{version:?} with ver {swapped}"), draft.signed(), TokenError::Issuer);
    }

    fn user(&mut self, version: Version) {
        let good = || Draft::good(version);
        let mut add = |what: &str, draft: Draft, reason| {
            self.add(format!("{version:?} {what}"), draft.signed(), reason);
        };
        let at = now().as_second();
        add("no scp", good().without("scp"), TokenError::AppOnly);
        add(
            "no scp but roles",
            good().without("scp").claim("roles", json!(["All"])),
            TokenError::AppOnly,
        );
        add("an empty scp", good().claim("scp", ""), TokenError::AppOnly);
        add("a blank scp", good().claim("scp", "  "), TokenError::AppOnly);
        add("idtyp app", good().claim("idtyp", "app"), TokenError::AppOnly);
        add("idtyp device", good().claim("idtyp", "device"), TokenError::AppOnly);
        add("idtyp a list", good().claim("idtyp", json!(["user"])), TokenError::Claim("idtyp"));
        add("scp a list", good().claim("scp", json!(["x"])), TokenError::Claim("scp"));
        add("scp null", good().claim("scp", Value::Null), TokenError::Claim("scp"));
        add("scp a number", good().claim("scp", 1), TokenError::Claim("scp"));
        let times = |nbf: i64, exp: i64| good().claim("nbf", at + nbf).claim("exp", at + exp);
        add("expired 61 s ago", times(-3_600, -61), TokenError::Expired);
        add("expired a year ago", times(-32_000_000, -31_536_000), TokenError::Expired);
        add("exp 0", good().claim("exp", 0).claim("nbf", 0), TokenError::Expired);
        add("exp negative", good().claim("exp", -1).claim("nbf", -2), TokenError::Expired);
        add("valid in 61 s", times(61, 3_600), TokenError::NotYetValid);
        add("valid in a year", times(31_536_000, 31_539_600), TokenError::NotYetValid);
        add("30 h and 1 s", times(-10, 30 * 3_600 - 9), TokenError::Lifetime);
        add("valid for ever", good().claim("exp", i64::MAX), TokenError::Lifetime);
        add("since ever", good().claim("nbf", i64::MIN), TokenError::Lifetime);
        add("no lifetime", times(0, 0), TokenError::Lifetime);
        add("negative lifetime", times(50, -50), TokenError::Lifetime);
        add("exp a fraction", good().claim("exp", 1.5e9), TokenError::Claim("exp"));
    }

    fn issuers_of_keys(&mut self, version: Version) {
        let of = |tenant: &str, kid: &str| {
            Draft::good(version)
                .head("kid", kid)
                .claim("tid", tenant)
                .claim("iss", version.issuer(tenant))
        };
        let reason = TokenError::KeyIssuer;
        let token = of(CONTOSO, "personal-1").signed_by(&KEYS.personal);
        self.add(format!("{version:?} personal key for an organisation"), token, reason.clone());
        let token = of(CONTOSO, "fabrikam-1").signed_by(&KEYS.fabrikam);
        self.add(format!("{version:?} Fabrikam's key for Contoso"), token, reason.clone());
        let token = of(PERSONAL, "fabrikam-1").signed_by(&KEYS.fabrikam);
        self.add(format!("{version:?} Fabrikam's key for personal accounts"), token, reason);
        for kid in ["org-1", "personal-1", "fabrikam-1"] {
            let token = of(CONTOSO, kid).signed_by(&KEYS.stranger);
            self.add(
                format!("{version:?} a stranger's key as {kid}"),
                token,
                TokenError::Signature,
            );
        }
        let token = of(CONTOSO, "org-1").signed_by(&KEYS.personal);
        self.add(format!("{version:?} another known key"), token, TokenError::Signature);
    }

    fn algorithms(&mut self, version: Version) {
        let (good, key) = (Draft::good(version), &KEYS.organisations);
        for alg in [
            "none",
            "None",
            "NONE",
            "nOnE",
            "",
            "HS256",
            "HS384",
            "HS512",
            "RS384",
            "RS512",
            "PS256",
            "PS384",
            "PS512",
            "ES256",
            "ES384",
            "EdDSA",
            "rs256",
            "Rs256",
            "RS256 ",
            " RS256",
            "RSA256",
            "RSA1_5",
            "RS256\0",
            "ＲＳ256",
        ] {
            let draft = good.clone().head("alg", alg);
            self.add(format!("{version:?} alg {alg:?}"), draft.signed(), TokenError::Algorithm);
            let unsigned = format!("{}.", draft.message());
            self.add(format!("{version:?} alg {alg:?}, unsigned"), unsigned, TokenError::Algorithm);
        }
        for wrong in
            [Value::Null, json!(256), json!(["RS256"]), json!({ "alg": "RS256" }), json!(true)]
        {
            let draft = good.clone().head("alg", wrong.clone());
            self.add(format!("{version:?} alg = {wrong}"), draft.signed(), TokenError::Algorithm);
        }
        let absent = good.clone().headless("alg").signed();
        self.add(format!("{version:?} no alg"), absent, TokenError::Algorithm);

        let public = key.public_key().as_ref().to_vec();
        let der = key.public_key().as_der().unwrap().as_ref().to_vec();
        let pem = format!(
            "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
            STANDARD.encode(&der)
        );
        for (name, secret) in [("PKCS #1", public), ("DER", der), ("PEM", pem.into_bytes())] {
            let sign = |draft: &Draft| {
                let tag = hmac::sign(
                    &hmac::Key::new(hmac::HMAC_SHA256, &secret),
                    draft.message().as_bytes(),
                );
                format!("{}.{}", draft.message(), b64(tag))
            };
            let token = sign(&good.clone().head("alg", "HS256"));
            self.add(
                format!("{version:?} HS256 with the public key as {name}"),
                token,
                TokenError::Algorithm,
            );
            let token = sign(&good);
            self.add(
                format!("{version:?} an HMAC with the public key as {name} called RS256"),
                token,
                TokenError::Signature,
            );
        }
        for (name, encoding) in
            [("RS384", &RSA_PKCS1_SHA384 as &'static dyn RsaEncoding), ("PS256", &RSA_PSS_SHA256)]
        {
            let token = format!("{}.{}", good.message(), b64(rsa(&good.message(), key, encoding)));
            self.add(
                format!("{version:?} a {name} signature called RS256"),
                token,
                TokenError::Signature,
            );
            let honest = good.clone().head("alg", name);
            let token =
                format!("{}.{}", honest.message(), b64(rsa(&honest.message(), key, encoding)));
            self.add(
                format!("{version:?} an honest {name} signature"),
                token,
                TokenError::Algorithm,
            );
        }
    }

    fn headers(&mut self, version: Version) {
        let good = || Draft::good(version);
        for crit in [json!([]), json!(["exp"]), json!(["b64"]), Value::Null, json!("x")] {
            let draft = good().head("crit", crit.clone());
            self.add(format!("{version:?} crit {crit}"), draft.signed(), TokenError::Critical);
        }
        let mine = wire_key("mine", &KEYS.stranger, &format!("{LOGIN}/{{tenantid}}/v2.0"));
        for (name, value) in [
            ("jku", json!("https://evil.test/keys")),
            ("x5u", json!("https://evil.test/cert")),
            ("jwk", mine),
            ("x5c", json!(["MIIC"])),
        ] {
            let draft = good().head(name, value.clone());
            let token = draft.signed_by(&KEYS.stranger);
            self.add(format!("{version:?} {name} brings a key"), token, TokenError::Signature);
            let token = draft.head("kid", "mine").signed_by(&KEYS.stranger);
            let reason = TokenError::UnknownKey { kid: "mine".to_owned() };
            self.add(format!("{version:?} {name} brings a key and its id"), token, reason);
        }
        let long = "a".repeat(129);
        for kid in [
            "",
            "../../../etc/passwd",
            "/dev/null",
            "https://evil.test/k",
            "org-1 ",
            "org-1\0",
            "org.1",
            "org/1",
            "org-1' OR '1'='1",
            "org%2d1",
            "örg-1",
            "{tenantid}",
            "org-1\n",
            &long,
        ] {
            let draft = good().head("kid", kid);
            self.add(format!("{version:?} kid {kid:?}"), draft.signed(), TokenError::KeyId);
        }
        for kid in [Value::Null, json!(1), json!(["org-1"]), json!({})] {
            let draft = good().head("kid", kid.clone());
            self.add(format!("{version:?} kid = {kid}"), draft.signed(), TokenError::KeyId);
        }
        self.add(format!("{version:?} no kid"), good().headless("kid").signed(), TokenError::KeyId);
        for kid in ["ORG-1", "org-2", "org-1-", "no-issuer", "ec", &long[1..]] {
            let draft = good().head("kid", kid);
            let reason = TokenError::UnknownKey { kid: kid.to_owned() };
            self.add(format!("{version:?} unknown kid {kid:?}"), draft.signed(), reason);
        }
        let (header, claims) = (json!(good().header).to_string(), json!(good().claims).to_string());
        let doubled = |text: &str, extra: &str| format!("{}, {extra}}}", &text[..text.len() - 1]);
        for extra in
            [r#""alg": "RS256""#, r#""alg": "none""#, r#""kid": "org-1""#, r#""\u0061lg": "none""#]
        {
            let token = sign_text(&doubled(&header, extra), &claims, &KEYS.organisations);
            self.add(format!("{version:?} header repeats {extra}"), token, TokenError::Json);
        }
        for extra in [
            format!(r#""tid": "{FABRIKAM}""#),
            format!(r#""tid": "{CONTOSO}""#),
            r#""exp": 9999999999"#.to_owned(),
            format!(r#""aud": "{APP_URI}""#),
            r#""t\u0069d": 1"#.to_owned(),
            r#""x": {"y": 1, "y": 2}"#.to_owned(),
        ] {
            let token = sign_text(&header, &doubled(&claims, &extra), &KEYS.organisations);
            self.add(format!("{version:?} claims repeat {extra}"), token, TokenError::Json);
        }
        for (name, text) in [
            ("a list", "[]"),
            ("a text", "\"x\""),
            ("nothing", ""),
            ("no JSON", "{"),
            ("null", "null"),
            ("with a tail", "{} {}"),
        ] {
            let token = sign_text(text, &claims, &KEYS.organisations);
            self.add(format!("{version:?} header is {name}"), token, TokenError::Json);
            let token = sign_text(&header, text, &KEYS.organisations);
            self.add(format!("{version:?} claims are {name}"), token, TokenError::Json);
        }
    }

    fn shapes(&mut self, version: Version) {
        let good = Draft::good(version).signed();
        let parts: Vec<&str> = good.split('.').collect();
        let [header, claims, signature] = parts[..] else { panic!("three parts") };
        let mut add = |what: &str, token: String, reason| {
            self.add(format!("{version:?} {what}"), token, reason)
        };
        for (what, token) in [
            ("nothing", String::new()),
            ("one part", header.to_owned()),
            ("two parts", format!("{header}.{claims}")),
            ("four parts", format!("{good}.x")),
            ("five parts", format!("{good}.x.y")),
            ("four, last empty", format!("{good}.")),
        ] {
            add(what, token, TokenError::Segments);
        }
        add(
            "17 KB",
            Draft::good(version).claim("x", "x".repeat(13_000)).signed(),
            TokenError::TooLong,
        );
        let padded = |part: &str| URL_SAFE.encode(URL_SAFE_NO_PAD.decode(part).unwrap()) + "=";
        for (what, token) in [
            ("padding in the header", format!("{}.{claims}.{signature}", padded(header))),
            ("padding in the claims", format!("{header}.{}.{signature}", padded(claims))),
            ("padding in the signature", format!("{header}.{claims}.{signature}==")),
            ("the other alphabet", format!("{header}.{claims}.+/{}", &signature[2..])),
            ("a space", format!("{header}.{claims} .{signature}")),
            ("a line end", format!("{good}\n")),
            ("unicode", format!("{header}.{claims}é.{signature}")),
            ("a percent", format!("{header}%3D.{claims}.{signature}")),
            ("a NUL", format!("{header}.{claims}\0.{signature}")),
            ("Bearer twice", format!("Bearer {good}")),
            ("not in the alphabet", format!("!{header}.{claims}.{signature}")),
        ] {
            add(what, token, TokenError::Encoding);
        }
        let flipped = |i: usize| {
            let mut bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
            bytes[i] ^= 1;
            format!("{header}.{claims}.{}", b64(bytes))
        };
        for i in [0, 1, 100, 254, 255] {
            add(&format!("signature flipped at {i}"), flipped(i), TokenError::Signature);
        }
        let raw = URL_SAFE_NO_PAD.decode(signature).unwrap();
        for (what, bytes) in [
            ("empty", vec![]),
            ("truncated", raw[..255].to_vec()),
            ("longer", [&raw[..], &[0]].concat()),
            ("zeros", vec![0; 256]),
            ("ones", vec![0xff; 256]),
            ("short", raw[..1].to_vec()),
            ("reversed", raw.iter().rev().copied().collect()),
        ] {
            add(
                &format!("signature {what}"),
                format!("{header}.{claims}.{}", b64(bytes)),
                TokenError::Signature,
            );
        }
        let other = Draft::good(version).claim("oid", FABRIKAM).signed();
        let theirs = other.rsplit('.').next().unwrap();
        add(
            "the signature of another token",
            format!("{header}.{claims}.{theirs}"),
            TokenError::Signature,
        );
        let forged = b64(json!(Draft::good(version).claim("tid", FABRIKAM).claims).to_string());
        add(
            "other claims under a good signature",
            format!("{header}.{forged}.{signature}"),
            TokenError::Signature,
        );
    }
}

#[test]
fn every_hostile_token_is_refused_for_its_one_reason() {
    let mut corpus = Corpus::default();
    for version in [V1, V2] {
        corpus.claims(version);
        corpus.issuers_of_keys(version);
        corpus.algorithms(version);
        corpus.headers(version);
        corpus.shapes(version);
    }
    assert!(corpus.0.len() >= 770, "{} cases", corpus.0.len());
    let wrong: Vec<String> = corpus
        .0
        .iter()
        .filter_map(|(what, token, reason)| match verdict(token) {
            Err(found) if found == *reason => None,
            other => Some(format!("{what}: expected {reason:?}, got {other:?}")),
        })
        .collect();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), corpus.0.len(), wrong.join("\n"));
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

fn signer(kid: &str) -> (Signer, PublicKey) {
    let algorithm = &signature::ECDSA_P256_SHA256_FIXED_SIGNING;
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new()).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref()).unwrap();
    let point = pair.public_key().as_ref();
    let public = PublicKey {
        kid: kid.to_owned(),
        x: point[1..33].try_into().unwrap(),
        y: point[33..].try_into().unwrap(),
    };
    (Signer::new(kid, pkcs8.as_ref(), "https://lic.example.test", &[7; 32]).unwrap(), public)
}

#[test]
fn an_answer_is_believed_with_its_key_for_its_product_until_its_end() {
    let (signer, public) = signer("k1");
    let (_, other) = self::signer("k1");
    let product: ProductId = "synoptic-panel".parse().unwrap();
    let until = now() + SignedDuration::from_hours(1);
    let answer = json!({ "state": "active", "usable": true, "features": ["maps"] });
    let subject = Subject {
        product: &product,
        tenant: Some(CONTOSO.parse().unwrap()),
        user: Some(ANA.parse().unwrap()),
    };
    let token = signer.sign(answer.as_object().unwrap(), subject, now(), until).unwrap();
    let set = jwks([&public]);
    let check = |token: &str, set: &str, product: &str, at| verify_answer(token, set, product, at);

    let claims = check(&token, &set, "synoptic-panel", now()).unwrap();
    assert_eq!(claims["state"], "active");
    assert_eq!(claims["aud"], "synoptic-panel");
    assert_eq!(claims["exp"], until.as_second());
    let sub = claims["sub"].as_str().unwrap();
    assert!(sub.len() == 43 && !sub.contains(&ANA[..8]), "{sub}");

    assert_eq!(check(&token, &set, "other", now()), Err(VerifyAnswerError::Audience));
    assert_eq!(check(&token, &set, "synoptic-panel", until), Err(VerifyAnswerError::Expired));
    let forged = jwks([&other]);
    assert_eq!(check(&token, &forged, "synoptic-panel", now()), Err(VerifyAnswerError::Signature));
    assert_eq!(
        check(&token, r#"{"keys":[]}"#, "synoptic-panel", now()),
        Err(VerifyAnswerError::Key)
    );
    assert_eq!(check("a.b", &set, "synoptic-panel", now()), Err(VerifyAnswerError::Form));
}

#[test]
fn a_pseudonym_is_one_user_of_one_product() {
    let (signer, public) = signer("k1");
    let sub = |product: &str, tenant: Option<&str>, user: Option<&str>| {
        let product_id: ProductId = product.parse().unwrap();
        let subject = Subject {
            product: &product_id,
            tenant: tenant.map(|it| it.parse().unwrap()),
            user: user.map(|it| it.parse().unwrap()),
        };
        let until = now() + SignedDuration::from_secs(60);
        let token = signer.sign(&Map::new(), subject, now(), until).unwrap();
        verify_answer(&token, &jwks([&public]), product, now()).unwrap()["sub"].to_string()
    };
    let ana = sub("a", Some(CONTOSO), Some(ANA));
    assert_eq!(ana, sub("a", Some(CONTOSO), Some(ANA)));
    for other in [
        sub("b", Some(CONTOSO), Some(ANA)),
        sub("a", Some(FABRIKAM), Some(ANA)),
        sub("a", Some(CONTOSO), Some(CONTOSO)),
        sub("a", None, Some(ANA)),
        sub("a", Some(CONTOSO), None),
    ] {
        assert_ne!(ana, other);
    }
}

/// What a pretend Entra answers next: keys of these ids, or nothing.
#[derive(Clone, Default)]
pub(crate) struct PretendEntra {
    answer: Arc<Mutex<Option<Vec<u8>>>>,
    pub(crate) fetches: Arc<AtomicUsize>,
}

impl PretendEntra {
    pub(crate) fn with(kids: &[&str]) -> Self {
        let entra = Self::default();
        entra.publish(kids);
        entra
    }

    pub(crate) fn publish(&self, kids: &[&str]) {
        let issuer = format!("{LOGIN}/{{tenantid}}/v2.0");
        let keys: Vec<Value> =
            kids.iter().map(|kid| wire_key(kid, &KEYS.organisations, &issuer)).collect();
        self.say(json!({ "keys": keys }).to_string());
    }

    pub(crate) fn say(&self, body: impl Into<Vec<u8>>) {
        *self.answer.lock().unwrap() = Some(body.into());
    }

    pub(crate) fn goes_down(&self) {
        *self.answer.lock().unwrap() = None;
    }

    pub(crate) fn fetch(&self) -> Fetch {
        let entra = self.clone();
        Arc::new(move || {
            entra.fetches.fetch_add(1, Ordering::SeqCst);
            let answer = entra.answer.lock().unwrap().clone();
            Box::pin(async move { answer.ok_or_else(|| FetchError("it is down".into())) })
        })
    }
}

struct KeyWorld {
    entra: PretendEntra,
    clock: Arc<AtomicI64>,
    keys: Arc<EntraKeys>,
    store: Store,
    folder: tempfile::TempDir,
    cancel: CancellationToken,
    tasks: JoinSet<()>,
}

fn open(folder: &tempfile::TempDir) -> Store {
    let options = StoreOptions { guard: Guard::Off, ..StoreOptions::new(folder.path()) };
    Store::open(options, now()).unwrap().0
}

impl KeyWorld {
    fn new(entra: PretendEntra) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder);
        Self::on(folder, store, entra)
    }

    fn on(folder: tempfile::TempDir, store: Store, entra: PretendEntra) -> Self {
        let clock = Arc::new(AtomicI64::new(now().as_second()));
        let at = Arc::clone(&clock);
        let time = Arc::new(move || Timestamp::from_second(at.load(Ordering::SeqCst)).unwrap());
        let keys = Arc::new(EntraKeys::new(store.clone(), entra.fetch(), time));
        let (cancel, mut tasks) = (CancellationToken::new(), JoinSet::new());
        let (running, stop) = (Arc::clone(&keys), cancel.clone());
        tasks.spawn(async move { running.run(stop).await });
        Self { entra, clock, keys, store, folder, cancel, tasks }
    }

    fn pass(&self, seconds: i64) {
        self.clock.fetch_add(seconds, Ordering::SeqCst);
    }

    fn fetches(&self) -> usize {
        self.entra.fetches.load(Ordering::SeqCst)
    }

    async fn stop(mut self) -> (tempfile::TempDir, PretendEntra) {
        self.cancel.cancel();
        while self.tasks.join_next().await.is_some() {}
        self.store.close().await;
        drop((self.keys, self.store));
        (self.folder, self.entra)
    }
}

#[tokio::test]
async fn random_key_ids_cost_at_most_two_fetches_in_five_minutes() {
    let world = KeyWorld::new(PretendEntra::with(&["org-1"]));
    assert!(matches!(world.keys.lookup("org-1").await, Lookup::Known(_)));
    // 10,000 ids in 25 minutes of virtual time: five windows.
    for i in 0..10_000 {
        let id = format!("random-{i}");
        assert!(matches!(world.keys.lookup(&id).await, Lookup::Unknown), "{id}");
        if i % 20 == 0 {
            world.pass(3);
        }
        assert!(matches!(world.keys.lookup("org-1").await, Lookup::Known(_)), "good ones pass");
    }
    let asked = world.fetches() - 1;
    assert!((8..=12).contains(&asked), "{asked} fetches besides the first in five windows");
}

#[tokio::test]
async fn a_key_that_is_new_at_entra_is_found_when_a_token_names_it() {
    let world = KeyWorld::new(PretendEntra::with(&["org-1"]));
    assert!(matches!(world.keys.lookup("org-1").await, Lookup::Known(_)));
    world.entra.publish(&["org-1", "org-2"]);
    let all = futures_util::future::join_all((0..50).map(|_| world.keys.lookup("org-2"))).await;
    assert!(all.iter().all(|it| matches!(it, Lookup::Known(_))));
    assert_eq!(world.fetches(), 2, "fifty at once share one fetch");
}

#[tokio::test]
async fn keys_survive_a_restart_while_entra_is_down() {
    let world = KeyWorld::new(PretendEntra::with(&["org-1"]));
    assert!(matches!(world.keys.lookup("org-1").await, Lookup::Known(_)));
    // The next round begins once the first one has stored its keys.
    assert!(matches!(world.keys.lookup("nobody").await, Lookup::Unknown));
    assert!(world.store.mirror().document(DOCUMENT).is_some());
    let (folder, entra) = world.stop().await;
    entra.goes_down();
    let store = open(&folder);
    let world = KeyWorld::on(folder, store, entra);
    let Lookup::Known(keys) = world.keys.lookup("org-1").await else { panic!("not kept") };
    assert!(verify_user(&Draft::good(V2).signed(), &keys, &rules(), now()).is_ok());
}

#[tokio::test]
async fn before_any_key_was_read_nobody_can_tell() {
    let world = KeyWorld::new(PretendEntra::default());
    assert!(matches!(world.keys.lookup("org-1").await, Lookup::Unavailable));
    for garbage in ["", "<html>", r#"{"keys":[]}"#, &"x".repeat(1_000_000)] {
        world.entra.say(garbage);
        world.pass(301);
        assert!(matches!(world.keys.lookup("org-1").await, Lookup::Unavailable));
    }
    world.entra.publish(&["org-1"]);
    world.pass(301);
    assert!(matches!(world.keys.lookup("org-1").await, Lookup::Known(_)));
    world.entra.say("<html>");
    world.pass(301);
    assert!(matches!(world.keys.lookup("org-2").await, Lookup::Unknown));
    assert!(matches!(world.keys.lookup("org-1").await, Lookup::Known(_)), "the last good stays");
}
