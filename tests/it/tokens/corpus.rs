//! Hostile tokens by their claims and keys (`forms`: by their form): one thing wrong with each, and the one reason it must be refused for.

use entitled::tokens::TokenError;
use serde_json::{Value, json};

use super::Version::{V1, V2};
use super::*;

/// The corpus: what is done to a good token, the token, and the one reason to refuse it.
#[derive(Default)]
pub(super) struct Corpus(Vec<(String, String, TokenError)>);

impl Corpus {
    pub(super) fn add(&mut self, what: impl Into<String>, token: String, reason: TokenError) {
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
}

/// All of them.
pub(crate) fn hostile() -> Vec<(String, String, TokenError)> {
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
    corpus.0
}

#[test]
fn every_hostile_token_is_refused_for_its_one_reason() {
    let corpus = Corpus(hostile());
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
