//! Is this a token of Entra's, for us, by a program we know, about a signed-in user?
//!
//! Source: Microsoft identity platform, "Access tokens", "Secure applications and APIs by
//! validating claims", "Signing key rollover"; as rules 1 to 10 of `reliability.md` section 4.2.

use jiff::Timestamp;
use jsonwebtoken::Algorithm;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::compact::Compact;
use super::keys::{EntraKey, KeySet, is_key_id};
use crate::domain::{TenantId, UserId};

/// How far Entra's clock and ours may differ, in seconds.
pub(super) const LEEWAY_S: i64 = 60;

/// The longest life of a token, in seconds: 28 hours with continuous access evaluation, and slack.
pub(super) const LIFETIME_MAX_S: i64 = 30 * 3600;

/// Which tokens are for us.
#[derive(Clone, Debug)]
pub struct UserRules {
    login: String,
    issuer_v1: String,
    audience: Vec<String>,
    callers: Vec<String>,
}

impl UserRules {
    /// Tokens whose v2 issuer is `{login}/{tid}/v2.0` and whose v1 issuer is `{issuer_v1}/{tid}/`,
    /// for one of these audiences, obtained by one of these client programs.
    pub fn new(
        login: &str,
        issuer_v1: &str,
        audience: impl IntoIterator<Item = String>,
        callers: impl IntoIterator<Item = String>,
    ) -> Self {
        // Entra writes GUIDs in lower case; people copy them as they find them.
        let as_entra = |it: String| Uuid::try_parse(&it).map_or(it, |it| it.to_string());
        Self {
            login: login.trim_end_matches('/').to_owned(),
            issuer_v1: issuer_v1.trim_end_matches('/').to_owned(),
            audience: audience.into_iter().map(as_entra).collect(),
            callers: callers.into_iter().map(as_entra).collect(),
        }
    }
}

/// Who a token says is signed in. Authorisation hangs on these alone, never on an address or name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The tenant; `None` for a personal account, on whose tenant nothing may be keyed.
    pub tenant: Option<TenantId>,
    /// Whether it is a personal Microsoft account.
    pub personal: bool,
    /// The user's object id in that tenant.
    pub user: UserId,
    /// What the program may do in the user's name: `scp`, as it was sent.
    pub scopes: Box<str>,
}

/// Why a token is refused. Says nothing of what is in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Over 16 KiB.
    #[error("the token is longer than 16 KiB")]
    TooLong,
    /// Not three parts.
    #[error("the token does not have three parts")]
    Segments,
    /// A part is not base64url without padding.
    #[error("a part of the token is not base64url without padding")]
    Encoding,
    /// A part is no JSON object, or names a key twice.
    #[error("a part of the token is no JSON object with distinct keys")]
    Json,
    /// `alg` is not RS256.
    #[error("the token is not signed with RS256")]
    Algorithm,
    /// The header demands an extension.
    #[error("the token's header demands an extension (`crit`)")]
    Critical,
    /// `kid` is absent or cannot be one.
    #[error("the token's header has no proper key id (`kid`)")]
    KeyId,
    /// No key of that id is known (yet).
    #[error("the token's signing key is not known")]
    UnknownKey {
        /// The key id.
        kid: String,
    },
    /// The signature does not fit.
    #[error("the token's signature does not fit")]
    Signature,
    /// A claim is absent or of the wrong type.
    #[error("the token's claim `{0}` is absent or not of its type")]
    Claim(&'static str),
    /// `ver` is neither 1.0 nor 2.0.
    #[error("the token's version is neither 1.0 nor 2.0")]
    Version,
    /// `tid` is no GUID in Entra's form.
    #[error("the token's tenant id is no GUID in lower case")]
    Tenant,
    /// `tid` is another tenant than the one that it must be.
    #[error("the token is of another tenant")]
    OtherTenant,
    /// `iss` is not the issuer of that tenant and version.
    #[error("the token's issuer is not that of its tenant and version")]
    Issuer,
    /// The key may not sign for that issuer.
    #[error("the token's signing key may not sign for its issuer")]
    KeyIssuer,
    /// `aud` is none of ours.
    #[error("the token is for another audience")]
    Audience,
    /// The client program is not on the list.
    #[error("the token was obtained by a program that is not allowed to ask")]
    Caller,
    /// `azp` and `appid` name two programs.
    #[error("the token names two client programs")]
    CallersDisagree,
    /// It is a program's own token, with no user in it.
    #[error("the token is a program's own, not a user's")]
    AppOnly,
    /// `oid` is no GUID in Entra's form.
    #[error("the token's user object id is no GUID in lower case")]
    User,
    /// `nonce` is not the one that was sent.
    #[error("the token belongs to another sign-in (`nonce`)")]
    Nonce,
    /// `exp` is past.
    #[error("the token has expired")]
    Expired,
    /// `nbf` is in the future.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// It would be valid for more than 30 hours, or never.
    #[error("the token's validity is longer than 30 hours, or empty")]
    Lifetime,
}

/// The key id in a token's header, after the header was checked.
///
/// # Errors
///
/// [`TokenError`] for a header that no key could make good.
pub fn key_id(token: &str) -> Result<String, TokenError> {
    checked_header(&Compact::parse(token)?).map(str::to_owned)
}

/// Checks a user's token.
///
/// The signature comes before the claims, so that a forged token learns nothing about them.
///
/// # Errors
///
/// [`TokenError`], one variant a reason.
pub fn verify_user(
    token: &str,
    keys: &KeySet,
    rules: &UserRules,
    now: Timestamp,
) -> Result<User, TokenError> {
    let token = Compact::parse(token)?;
    let signers = signers_of(&token, keys)?;
    let claims = token.claims()?;
    let tenant = guid(&claims, "tid", TokenError::Tenant)?;
    let issuers = rules.issuers(text(&claims, "tid")?);
    check_issuer(&claims, &issuers)?;
    let [v1, v2] = &issuers;
    if !signers.iter().any(|it| it.speaks_for(&tenant.to_string(), [v1, v2])) {
        return Err(TokenError::KeyIssuer);
    }
    check_times(&claims, now)?;
    if !rules
        .audience
        .iter()
        .any(|it| Some(it.as_str()) == claims.get("aud").and_then(Value::as_str))
    {
        return Err(text(&claims, "aud").err().unwrap_or(TokenError::Audience));
    }
    rules.check_caller(&claims)?;
    signed_in_user(&claims, tenant)
}

/// The keys whose signature the token bears: at least one.
pub(super) fn signers_of<'a>(
    token: &Compact<'_>,
    keys: &'a KeySet,
) -> Result<Vec<&'a EntraKey>, TokenError> {
    let kid = checked_header(token)?;
    if !keys.has(kid) {
        return Err(TokenError::UnknownKey { kid: kid.to_owned() });
    }
    let fits = |it: &&EntraKey| {
        let signed = token.signed.as_bytes();
        jsonwebtoken::crypto::verify(token.signature, signed, &it.key, Algorithm::RS256)
            .unwrap_or(false)
    };
    let signers: Vec<_> = keys.with_id(kid).filter(fits).collect();
    if signers.is_empty() { Err(TokenError::Signature) } else { Ok(signers) }
}

fn checked_header<'a>(token: &'a Compact<'_>) -> Result<&'a str, TokenError> {
    // `jku`, `x5u`, `jwk` and `x5c` would bring a key along; they are not even looked at.
    if token.header.get("alg").and_then(Value::as_str) != Some("RS256") {
        return Err(TokenError::Algorithm);
    }
    if token.header.contains_key("crit") {
        return Err(TokenError::Critical);
    }
    let kid = token.header.get("kid").and_then(Value::as_str);
    kid.filter(|it| is_key_id(it)).ok_or(TokenError::KeyId)
}

pub(super) fn check_issuer(
    claims: &Map<String, Value>,
    [v1, v2]: &[String; 2],
) -> Result<(), TokenError> {
    let expected = match text(claims, "ver")? {
        "1.0" => v1,
        "2.0" => v2,
        _ => return Err(TokenError::Version),
    };
    if text(claims, "iss")? == expected { Ok(()) } else { Err(TokenError::Issuer) }
}

fn check_times(claims: &Map<String, Value>, now: Timestamp) -> Result<(), TokenError> {
    let (from, until) = (seconds(claims, "nbf")?, seconds(claims, "exp")?);
    let now = now.as_second();
    if now.saturating_sub(until) > LEEWAY_S {
        return Err(TokenError::Expired);
    }
    if from.saturating_sub(now) > LEEWAY_S {
        return Err(TokenError::NotYetValid);
    }
    let lifetime = until.saturating_sub(from);
    if (1..=LIFETIME_MAX_S).contains(&lifetime) { Ok(()) } else { Err(TokenError::Lifetime) }
}

fn signed_in_user(claims: &Map<String, Value>, tenant: Uuid) -> Result<User, TokenError> {
    let app = match claims.get("idtyp") {
        None => false,
        Some(Value::String(it)) => it != "user",
        Some(_) => return Err(TokenError::Claim("idtyp")),
    };
    if app || !claims.contains_key("scp") {
        return Err(TokenError::AppOnly);
    }
    let scopes = text(claims, "scp")?;
    if scopes.trim().is_empty() {
        return Err(TokenError::AppOnly);
    }
    let user = UserId::from_uuid(guid(claims, "oid", TokenError::User)?);
    let personal = tenant == TenantId::PERSONAL_ACCOUNTS;
    Ok(User { tenant: TenantId::from_uuid(tenant), personal, user, scopes: scopes.into() })
}

impl UserRules {
    /// The issuers of a tenant: v1, then v2.
    fn issuers(&self, tenant: &str) -> [String; 2] {
        [format!("{}/{tenant}/", self.issuer_v1), format!("{}/{tenant}/v2.0", self.login)]
    }

    /// The client program: `appid` in a v1 token, `azp` in a v2 token; if both are there they
    /// must agree.
    fn check_caller(&self, claims: &Map<String, Value>) -> Result<(), TokenError> {
        let (own, other) = match text(claims, "ver")? {
            "1.0" => ("appid", "azp"),
            _ => ("azp", "appid"),
        };
        let caller = text(claims, own)?;
        if claims.contains_key(other) && text(claims, other)? != caller {
            return Err(TokenError::CallersDisagree);
        }
        let known = self.callers.iter().any(|it| it == caller);
        if known { Ok(()) } else { Err(TokenError::Caller) }
    }
}

pub(super) fn text<'a>(
    claims: &'a Map<String, Value>,
    name: &'static str,
) -> Result<&'a str, TokenError> {
    claims.get(name).and_then(Value::as_str).ok_or(TokenError::Claim(name))
}

pub(super) fn seconds(claims: &Map<String, Value>, name: &'static str) -> Result<i64, TokenError> {
    claims.get(name).and_then(Value::as_i64).ok_or(TokenError::Claim(name))
}

/// A GUID exactly as Entra writes it: the issuer repeats its text, so another spelling of the same
/// bits would be another issuer.
pub(super) fn guid(
    claims: &Map<String, Value>,
    name: &'static str,
    error: TokenError,
) -> Result<Uuid, TokenError> {
    let text = text(claims, name)?;
    match Uuid::try_parse(text) {
        Ok(uuid) if !uuid.is_nil() && uuid.to_string() == text => Ok(uuid),
        Ok(_) | Err(_) => Err(error),
    }
}
