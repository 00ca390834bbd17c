//! Hostile tokens: one thing wrong with each, and the one reason it must be refused for.

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::hmac;
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA384, RSA_PSS_SHA256, RsaEncoding};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use entitled::tokens::TokenError;
use serde_json::{Value, json};

use super::Version::{V1, V2};
use super::*;

/// The corpus: what is done to a good token, the token, and the one reason to refuse it.
#[derive(Default)]
struct Corpus(Vec<(String, String, TokenError)>);

impl Corpus {
    fn add(&mut self, what: impl Into<String>, token: String, reason: TokenError) {
        self.0.push((what.into(), token, reason));
    }

    fn claims(&mut self, version: Version) {
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
    }

    fn issuers(&mut self, version: Version) {
        let other = if version == V1 { V2 } else { V1 };
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
        let draft = Draft::good(version).claim("tid", FABRIKAM);
        self.add(format!("{version:?} tid of another"), draft.signed(), TokenError::Issuer);
    }

    fn guids(&mut self, version: Version) {
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
        let good = Draft::good(version);
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
    }

    /// The right mathematics with the wrong key, or the right key with other mathematics.
    fn confusions(&mut self, version: Version) {
        let (good, key) = (Draft::good(version), &KEYS.organisations);
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
    }

    fn texts(&mut self, version: Version) {
        let good = || Draft::good(version);
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
            self.add(format!("{version:?} {what}"), token, reason);
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
    }

    fn signatures(&mut self, version: Version) {
        let good = Draft::good(version).signed();
        let parts: Vec<&str> = good.split('.').collect();
        let [header, claims, signature] = parts[..] else { panic!("three parts") };
        let mut add = |what: &str, token: String, reason| {
            self.add(format!("{version:?} {what}"), token, reason);
        };
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
        corpus.issuers(version);
        corpus.guids(version);
        corpus.audience_and_caller(version);
        corpus.user(version);
        corpus.issuers_of_keys(version);
        corpus.algorithms(version);
        corpus.confusions(version);
        corpus.headers(version);
        corpus.texts(version);
        corpus.shapes(version);
        corpus.signatures(version);
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
