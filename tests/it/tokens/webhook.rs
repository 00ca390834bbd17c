//! The marketplace's tokens, good and hostile: the corpus once more, spoiling other tokens.

use std::cell::Cell;

use entitled::tokens::{WebhookRules, verify_webhook};

use super::corpus::hostile;
use super::*;

/// The marketplace itself, as the program that calls.
const MARKETPLACE: &str = "20e940b3-4c77-4b0b-9a53-9e16a1b010a7";

thread_local! {
    /// Whether good tokens are the marketplace's.
    pub(super) static WANTED: Cell<bool> = const { Cell::new(false) };
}

/// Makes claims of a user's token those of the marketplace's.
pub(super) fn make(claims: &mut Value, version: Version) {
    claims["aud"] = json!(CLIENT_ID);
    claims[version.caller_claim()] = json!(MARKETPLACE);
    for of_users in ["scp", "name", "upn"] {
        claims.as_object_mut().unwrap().remove(of_users);
    }
}

/// What this gives, good tokens being the marketplace's.
pub(crate) fn wanted<T>(of: impl FnOnce() -> T) -> T {
    WANTED.set(true);
    let made = of();
    WANTED.set(false);
    made
}

pub(crate) fn webhook_rules() -> WebhookRules {
    let tenant: TenantId = CONTOSO.parse().unwrap();
    WebhookRules::new(&format!("{LOGIN}/"), STS, tenant, &CLIENT_ID.to_ascii_uppercase())
}

/// The corpus without what only spoils a user's token.
pub(crate) fn hostile_webhooks() -> Vec<(String, String)> {
    let of_users = |what: &str, reason: &TokenError| {
        let about_user = matches!(
            reason,
            TokenError::User | TokenError::AppOnly | TokenError::Claim("oid" | "scp" | "idtyp")
        );
        // Any of the two claims will do, `nbf` may be missing, and this caller is the right one.
        let fine = ["only appid", "only azp", "nbf absent", MARKETPLACE];
        about_user || fine.iter().any(|it| what.contains(it))
    };
    let all = wanted(hostile);
    all.into_iter().filter(|(what, _, why)| !of_users(what, why)).map(|(a, b, _)| (a, b)).collect()
}

fn verdict(token: &str) -> Result<(), TokenError> {
    verify_webhook(token, &key_set(), &webhook_rules(), now())
}

#[test]
fn every_hostile_token_is_refused() {
    let corpus = hostile_webhooks();
    assert!(corpus.len() >= 600, "{} cases", corpus.len());
    let accepted: Vec<_> =
        corpus.iter().filter(|(_, token)| verdict(token).is_ok()).map(|(what, _)| what).collect();
    assert!(accepted.is_empty(), "{accepted:?}");
}

#[test]
fn genuine_tokens_are_accepted_whatever_their_version() {
    let at = now().as_second();
    let check = |what: &str, draft: Draft| {
        let verdict = verdict(&draft.signed());
        assert_eq!(verdict, Ok(()), "{what}");
    };
    for version in [V1, V2] {
        let good = || wanted(|| Draft::good(version));
        check("as it comes", good());
        check("no nbf", good().without("nbf"));
        check("the App ID URI", good().claim("aud", format!("api://{CLIENT_ID}")));
        check("both callers", good().claim("azp", MARKETPLACE).claim("appid", MARKETPLACE));
        check("expired 60 s ago", good().claim("nbf", at - 3_600).claim("exp", at - 60));
        check("valid in 60 s", good().claim("nbf", at + 60));
    }
}

#[test]
fn one_wrong_thing_is_called_what_it_is() {
    let good = || wanted(|| Draft::good(V1));
    let check = |draft: Draft, reason| assert_eq!(verdict(&draft.signed()), Err(reason));
    check(good().claim("tid", FABRIKAM).claim("iss", V1.issuer(FABRIKAM)), TokenError::OtherTenant);
    check(good().claim("iss", V2.issuer(CONTOSO)), TokenError::Issuer);
    check(good().claim("aud", APP_URI), TokenError::Audience);
    check(good().claim("appid", POWER_BI), TokenError::Caller);
    check(good().claim("azp", POWER_BI), TokenError::CallersDisagree);
    check(good().without("appid"), TokenError::Claim("appid"));
    check(good().without("exp"), TokenError::Claim("exp"));
    let user = Draft::good(V2);
    assert_eq!(verdict(&user.signed()), Err(TokenError::Caller), "a user's own token");
}
