//! Hostile tokens by their form: algorithm, header, text, signature.

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::hmac;
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA384, RSA_PSS_SHA256, RsaEncoding};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use entitled::tokens::TokenError;
use serde_json::{Value, json};

use super::corpus::Corpus;
use super::*;

impl Corpus {
    pub(super) fn algorithms(&mut self, version: Version) {
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
    pub(super) fn confusions(&mut self, version: Version) {
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

    pub(super) fn headers(&mut self, version: Version) {
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

    pub(super) fn texts(&mut self, version: Version) {
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

    pub(super) fn shapes(&mut self, version: Version) {
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

    pub(super) fn signatures(&mut self, version: Version) {
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
