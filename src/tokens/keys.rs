//! Entra's public keys, each with the issuer it may speak for.

use std::fmt;

use jsonwebtoken::DecodingKey;
use serde::Deserialize;
use serde_json::{Value, json};

/// What stands in a key's issuer for "any organisation's tenant".
const ANY_TENANT: &str = "{tenantid}";

/// More keys than this are not kept; Entra publishes about ten.
const KEYS_MAX: usize = 1_000;

/// The longest key id.
const KEY_ID_MAX: usize = 128;

/// Entra's public keys at one moment.
///
/// Source: Entra, `{login}/common/discovery/v2.0/keys`.
#[derive(Clone, Debug, Default)]
pub struct KeySet {
    keys: Vec<EntraKey>,
}

/// One RSA key and the issuer it may speak for.
#[derive(Clone)]
pub(super) struct EntraKey {
    kid: Box<str>,
    issuer: Box<str>,
    /// As it was read, to be written again: the modulus and the exponent.
    parts: [Box<str>; 2],
    pub(super) key: DecodingKey,
}

impl fmt::Debug for EntraKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EntraKey").field("kid", &self.kid).finish_non_exhaustive()
    }
}

/// The text is no set of keys that a token could be checked with.
#[derive(Debug, thiserror::Error)]
pub enum KeySetError {
    /// It is not the JSON of a key set.
    #[error("the key set is no JSON of the expected shape")]
    Json(#[source] serde_json::Error),
    /// No key in it is usable.
    #[error("the key set holds no RSA key with a key id and an issuer")]
    Empty,
    /// It holds more than a thousand keys.
    #[error("the key set holds {0} keys, which is more than can be right")]
    TooMany(usize),
}

#[derive(Deserialize)]
struct Wire {
    keys: Vec<WireKey>,
}

#[derive(Deserialize)]
struct WireKey {
    kty: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    kid: Option<String>,
    n: Option<String>,
    e: Option<String>,
    issuer: Option<String>,
}

impl KeySet {
    /// Reads a JWKS. Keys that are no RSA signing key, have no proper id or no issuer are left
    /// out: nothing could be checked with them.
    ///
    /// # Errors
    ///
    /// [`KeySetError`]; whatever was used before stays good.
    pub fn parse(jwks: &[u8]) -> Result<Self, KeySetError> {
        let wire: Wire = serde_json::from_slice(jwks).map_err(KeySetError::Json)?;
        if wire.keys.len() > KEYS_MAX {
            return Err(KeySetError::TooMany(wire.keys.len()));
        }
        let keys: Vec<EntraKey> = wire.keys.into_iter().filter_map(EntraKey::read).collect();
        if keys.is_empty() { Err(KeySetError::Empty) } else { Ok(Self { keys }) }
    }

    /// Whether a key of this id is in it.
    pub fn has(&self, kid: &str) -> bool {
        self.keys.iter().any(|it| *it.kid == *kid)
    }

    /// How many keys are in it.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The set as JSON with nothing but what [`Self::parse`] reads: Entra's own is four times as
    /// long.
    pub fn to_jwks(&self) -> Vec<u8> {
        let key = |it: &EntraKey| {
            let [n, e] = &it.parts;
            json!({ "kty": "RSA", "kid": it.kid, "issuer": it.issuer, "n": n, "e": e })
        };
        let keys: Vec<Value> = self.keys.iter().map(key).collect();
        json!({ "keys": keys }).to_string().into_bytes()
    }

    /// The keys of this id: one for organisations and one for personal accounts may share it.
    pub(super) fn with_id<'a>(&'a self, kid: &str) -> impl Iterator<Item = &'a EntraKey> {
        self.keys.iter().filter(move |it| *it.kid == *kid)
    }
}

impl EntraKey {
    fn read(wire: WireKey) -> Option<Self> {
        let signs = wire.purpose.as_deref().is_none_or(|it| it == "sig");
        let (kid, issuer) = (wire.kid?, wire.issuer?);
        if wire.kty.as_deref() != Some("RSA") || !signs || !is_key_id(&kid) || issuer.is_empty() {
            return None;
        }
        let (n, e) = (wire.n?, wire.e?);
        let key = DecodingKey::from_rsa_components(&n, &e).ok()?;
        Some(Self { kid: kid.into(), issuer: issuer.into(), parts: [n.into(), e.into()], key })
    }

    /// Whether this key may sign for the tenant whose issuers these are. The key's own issuer is
    /// written in v2 form also where it signs v1 tokens.
    ///
    /// Forgetting this lets a key of personal accounts sign for any organisation.
    pub(super) fn speaks_for(&self, tenant: &str, issuers: [&str; 2]) -> bool {
        let own = self.issuer.replace(ANY_TENANT, tenant);
        issuers.contains(&own.as_str())
    }
}

/// Whether the text may be a key id at all. It is a name to look up, never a path or an address.
pub(super) fn is_key_id(text: &str) -> bool {
    let ok = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=KEY_ID_MAX).contains(&text.len()) && text.bytes().all(ok)
}
