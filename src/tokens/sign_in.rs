//! Is this the ID token of the person who has just signed in to our landing page?
//!
//! Source: Microsoft identity platform, "ID tokens", "ID token claims reference", "`OpenID` Connect";
//! `marketplace-saas.md` sections 2.1 and 5.2.

use std::fmt;

use jiff::Timestamp;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::compact::Compact;
use super::keys::KeySet;
use super::verify::{TokenError, check_issuer, guid, signers_of, text};
use super::webhook::check_times;
use crate::domain::{TenantId, UserId};

/// The longest name or address that is kept, in bytes.
const TEXT_MAX: usize = 320;

/// Which ID tokens are for us.
#[derive(Clone, Debug)]
pub struct SignInRules {
    login: String,
    client_id: String,
}

impl SignInRules {
    /// Tokens of any tenant and of personal accounts, whose issuer is `{login}/{tid}/v2.0`, for
    /// this app.
    pub fn new(login: &str, client_id: &str) -> Self {
        let login = login.trim_end_matches('/').to_owned();
        Self { login, client_id: client_id.to_ascii_lowercase() }
    }
}

/// Who signed in. Rights hang on the ids; of the rest nothing is certain, save that the address of
/// a personal account is its own.
#[derive(Clone, PartialEq, Eq)]
pub struct SignedIn {
    /// `tid`, which may be the one that all personal accounts share: see [`Self::tenant_id`].
    pub tenant: Uuid,
    /// `oid`.
    pub user: UserId,
    /// `name`: for the person's own eyes.
    pub name: Option<String>,
    /// `preferred_username`: for the person's own eyes.
    pub login: Option<String>,
    /// `email`.
    pub email: Option<String>,
}

impl SignedIn {
    /// The organisation; `None` for a personal account.
    pub fn tenant_id(&self) -> Option<TenantId> {
        TenantId::from_uuid(self.tenant)
    }
}

impl fmt::Debug for SignedIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedIn").field("tenant", &self.tenant).finish_non_exhaustive()
    }
}

/// Checks an ID token; `nonce` is what was sent along with this person.
///
/// The signature comes before the claims.
///
/// # Errors
///
/// [`TokenError`], one variant a reason.
pub fn verify_sign_in(
    token: &str,
    keys: &KeySet,
    rules: &SignInRules,
    nonce: &str,
    now: Timestamp,
) -> Result<SignedIn, TokenError> {
    let token = Compact::parse(token)?;
    let signers = signers_of(&token, keys)?;
    let claims = token.claims()?;
    let tenant = guid(&claims, "tid", TokenError::Tenant)?;
    let issuer = format!("{}/{tenant}/v2.0", rules.login);
    if text(&claims, "ver")? != "2.0" {
        return Err(TokenError::Version);
    }
    // No ID token of version 1 is ours: the endpoint that we send people to issues none.
    check_issuer(&claims, &[String::new(), issuer.clone()])?;
    if !signers.iter().any(|it| it.speaks_for(&tenant.to_string(), [&issuer, &issuer])) {
        return Err(TokenError::KeyIssuer);
    }
    check_times(&claims, now)?;
    if text(&claims, "aud")? != rules.client_id {
        return Err(TokenError::Audience);
    }
    if nonce.is_empty() || text(&claims, "nonce")? != nonce {
        return Err(TokenError::Nonce);
    }
    let user = UserId::from_uuid(guid(&claims, "oid", TokenError::User)?);
    let kept = |name| kept(&claims, name);
    let (name, login, email) = (kept("name"), kept("preferred_username"), kept("email"));
    Ok(SignedIn { tenant, user, name, login, email })
}

/// A text for people.
fn kept(claims: &Map<String, Value>, name: &str) -> Option<String> {
    let text = claims.get(name)?.as_str()?.trim();
    let short = text.get(..text.floor_char_boundary(TEXT_MAX))?;
    (!short.is_empty()).then(|| short.to_owned())
}
