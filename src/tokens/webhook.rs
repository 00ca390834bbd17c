//! Is this a token with which the marketplace calls our webhook?
//!
//! Source: `marketplace-saas.md` section 8.5.

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::compact::Compact;
use super::keys::KeySet;
use super::verify::{
    LEEWAY_S, LIFETIME_MAX_S, TokenError, check_issuer, guid, seconds, signers_of, text,
};
use crate::domain::TenantId;

/// The marketplace itself, as the program that calls us.
const MARKETPLACE: &str = "20e940b3-4c77-4b0b-9a53-9e16a1b010a7";

/// Which tokens come from the marketplace and are for us.
#[derive(Clone, Debug)]
pub struct WebhookRules {
    tenant: String,
    issuers: [String; 2],
    audience: [String; 2],
}

impl WebhookRules {
    /// Tokens of this tenant, whose v2 issuer is `{login}/{tenant}/v2.0` and whose v1 issuer is
    /// `{issuer_v1}/{tenant}/`, for this app: both as in the offer's technical configuration.
    pub fn new(login: &str, issuer_v1: &str, tenant: TenantId, app_id: &str) -> Self {
        let app_id = app_id.to_ascii_lowercase();
        let (login, issuer_v1) = (login.trim_end_matches('/'), issuer_v1.trim_end_matches('/'));
        Self {
            tenant: tenant.to_string(),
            issuers: [format!("{issuer_v1}/{tenant}/"), format!("{login}/{tenant}/v2.0")],
            audience: [format!("api://{app_id}"), app_id],
        }
    }
}

/// Checks the token of a webhook. The signature comes before the claims.
///
/// # Errors
///
/// [`TokenError`], one variant a reason.
pub fn verify_webhook(
    token: &str,
    keys: &KeySet,
    rules: &WebhookRules,
    now: Timestamp,
) -> Result<(), TokenError> {
    let token = Compact::parse(token)?;
    let signers = signers_of(&token, keys)?;
    let claims = token.claims()?;
    let tenant = guid(&claims, "tid", TokenError::Tenant)?.to_string();
    check_issuer_of(&claims, rules, &tenant)?;
    let [v1, v2] = &rules.issuers;
    if !signers.iter().any(|it| it.speaks_for(&tenant, [v1, v2])) {
        return Err(TokenError::KeyIssuer);
    }
    check_times(&claims, now)?;
    let audience = text(&claims, "aud")?;
    if !rules.audience.iter().any(|it| it == audience) {
        return Err(TokenError::Audience);
    }
    check_caller(&claims)
}

fn check_issuer_of(
    claims: &Map<String, Value>,
    rules: &WebhookRules,
    tenant: &str,
) -> Result<(), TokenError> {
    if tenant != rules.tenant {
        return Err(TokenError::OtherTenant);
    }
    check_issuer(claims, &rules.issuers)
}

/// `exp` must be there, `nbf` need not.
pub(super) fn check_times(claims: &Map<String, Value>, now: Timestamp) -> Result<(), TokenError> {
    let (now, until) = (now.as_second(), seconds(claims, "exp")?);
    if now.saturating_sub(until) > LEEWAY_S {
        return Err(TokenError::Expired);
    }
    let from = if claims.contains_key("nbf") {
        seconds(claims, "nbf")?
    } else {
        now.min(until.saturating_sub(1))
    };
    if from.saturating_sub(now) > LEEWAY_S {
        return Err(TokenError::NotYetValid);
    }
    let lifetime = until.saturating_sub(from);
    if (1..=LIFETIME_MAX_S).contains(&lifetime) { Ok(()) } else { Err(TokenError::Lifetime) }
}

/// A v1 token names the program in `appid`, a v2 token in `azp`; an admin's edit of the app's
/// manifest changes one to the other. Both are looked at: one must be there, and none may differ.
fn check_caller(claims: &Map<String, Value>) -> Result<(), TokenError> {
    let own = if text(claims, "ver")? == "1.0" { "appid" } else { "azp" };
    let mut found = None;
    for name in ["appid", "azp"] {
        if claims.contains_key(name) {
            let caller = text(claims, name)?;
            if found.is_some_and(|it| it != caller) {
                return Err(TokenError::CallersDisagree);
            }
            found = Some(caller);
        }
    }
    match found {
        None => Err(TokenError::Claim(own)),
        Some(MARKETPLACE) => Ok(()),
        Some(_) => Err(TokenError::Caller),
    }
}
