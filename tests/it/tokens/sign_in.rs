//! ID tokens of people who sign in to the landing page, good and hostile.

use entitled::tokens::{SignInRules, SignedIn, verify_sign_in};

use super::*;

const NONCE: &str = "n-0S6_WzA2Mj";

fn id_token() -> Draft {
    Draft::good(V2).without("scp").without("azp").claim("nonce", NONCE)
}

fn personal() -> Draft {
    let draft = id_token().claim("tid", PERSONAL).claim("iss", V2.issuer(PERSONAL));
    draft.claim("email", " pat@home.example ").head("kid", "personal-1")
}

fn verdict(token: &str) -> Result<SignedIn, TokenError> {
    let rules = SignInRules::new(&format!("{LOGIN}/"), &CLIENT_ID.to_ascii_uppercase());
    verify_sign_in(token, &key_set(), &rules, NONCE, now())
}

#[test]
fn who_signed_in_is_read_from_genuine_id_tokens() {
    let ana = verdict(&id_token().signed()).unwrap();
    assert_eq!(ana.tenant_id(), Some(CONTOSO.parse().unwrap()));
    assert_eq!(ana.user, ANA.parse::<UserId>().unwrap());
    assert_eq!((ana.name.as_deref(), ana.email), (Some("Ana"), None));
    let pat = verdict(&personal().signed_by(&KEYS.personal)).unwrap();
    assert_eq!((pat.tenant_id(), pat.email.as_deref()), (None, Some("pat@home.example")));
    assert!(!format!("{pat:?}").contains("pat@"), "{pat:?}");
    assert!(verdict(&id_token().without("nbf").signed()).is_ok());
}

#[test]
fn an_id_token_that_is_not_for_this_sign_in_is_refused() {
    use TokenError as E;
    let at = now().as_second();
    let check = |what: &str, token: String, why: TokenError| {
        assert_eq!(verdict(&token).unwrap_err(), why, "{what}");
    };
    let good = id_token;
    let spoilt = |name: &str, value: Value, why: TokenError| {
        check(&format!("{name} {value}"), good().claim(name, value).signed(), why);
    };
    spoilt("aud", json!("55555555-dddd-4ddd-8ddd-444444444444"), E::Audience);
    spoilt("aud", json!([CLIENT_ID]), E::Claim("aud"));
    spoilt("nonce", json!("another"), E::Nonce);
    spoilt("nonce", json!(""), E::Nonce);
    spoilt("iss", json!(V2.issuer(FABRIKAM)), E::Issuer);
    spoilt("iss", json!(V2.issuer("common")), E::Issuer);
    spoilt("iss", json!(format!("{LOGIN}/{{tenantid}}/v2.0")), E::Issuer);
    spoilt("iss", json!(""), E::Issuer);
    spoilt("tid", json!(FABRIKAM), E::Issuer);
    spoilt("tid", json!("common"), E::Tenant);
    spoilt("ver", json!("1.0"), E::Version);
    spoilt("oid", json!("ana"), E::User);
    spoilt("exp", json!(at - 61), E::Expired);
    spoilt("nbf", json!(at + 61), E::NotYetValid);
    spoilt("exp", json!(at + 40 * 3_600), E::Lifetime);
    for name in ["aud", "nonce", "iss", "tid", "ver", "exp"] {
        assert!(verdict(&good().without(name).signed()).is_err(), "{name}");
    }
    let v1 = good().claim("ver", "1.0").claim("iss", V1.issuer(CONTOSO));
    check("version 1", v1.signed(), E::Version);
    check("of a stranger", good().signed_by(&KEYS.stranger), E::Signature);
    check("none", good().head("alg", "none").signed(), E::Algorithm);
    let unknown = E::UnknownKey { kid: "org-9".into() };
    check("of an unknown key", good().head("kid", "org-9").signed(), unknown);
    let crossed = good().head("kid", "personal-1").signed_by(&KEYS.personal);
    check("the key of personal accounts for an organization", crossed, E::KeyIssuer);
    let crossed = good().head("kid", "fabrikam-1").signed_by(&KEYS.fabrikam);
    check("another organization's key", crossed, E::KeyIssuer);
}
