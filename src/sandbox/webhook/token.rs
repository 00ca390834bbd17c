//! The token a webhook comes with, as Entra would sign it, and as a forger would.
//! Source: marketplace-saas.md 8.5.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::Webhook;
use crate::sandbox::entra::{MARKETPLACE, TokenVersion, issuer};
use crate::sandbox::keys::Signer;
use crate::sandbox::{World, chance, story};

/// Entra begins a token's life a little in the past.
const BEFORE_S: i64 = 300;
const HOUR_S: i64 = 3_600;

/// In which way a webhook is forged. Only the last one has a genuine token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Forgery {
    /// No token at all.
    NoToken,
    /// `alg` is `none` and nothing is signed.
    NoAlgorithm,
    /// HS256, signed with what is published of our key.
    Symmetric,
    /// The signature belongs to other claims.
    Signature,
    /// A key that was never published.
    UnknownKey,
    /// For another app.
    Audience,
    /// Of another tenant, whose issuer it names.
    Tenant,
    /// Our tenant, but the issuer of another.
    Issuer,
    /// Asked for by another app.
    Caller,
    /// An hour too old.
    Expired,
    /// An hour too young.
    NotYet,
    /// A genuine token, replayed with an operation that never was.
    Operation,
}

impl Forgery {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::NoToken,
        Self::NoAlgorithm,
        Self::Symmetric,
        Self::Signature,
        Self::UnknownKey,
        Self::Audience,
        Self::Tenant,
        Self::Issuer,
        Self::Caller,
        Self::Expired,
        Self::NotYet,
        Self::Operation,
    ];

    pub(super) fn nth(draw: u64) -> Self {
        let at = usize::try_from(draw % 12).unwrap_or(0);
        Self::ALL.get(at).copied().unwrap_or(Self::Signature)
    }
}

/// The token of one try.
pub(super) fn mint(world: &World, to: &Webhook, forgery: Option<Forgery>) -> Option<String> {
    let claims = claims(world, to, forgery);
    let sign = |claims: &Value| world.keys().sign(claims, Signer::Work);
    let own_key = |header: Value| {
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        format!("{}.{}", encode(&header), encode(&claims))
    };
    Some(match forgery {
        Some(Forgery::NoToken) => return None,
        Some(Forgery::NoAlgorithm) => {
            format!("{}.", own_key(json!({"typ": "JWT", "alg": "none"})))
        }
        Some(Forgery::Symmetric) => {
            let published = world.keys().jwks(None);
            let of_key = |name: &str| published.pointer(&format!("/keys/0/{name}"));
            let (kid, modulus) = (of_key("kid"), of_key("n").and_then(Value::as_str));
            let content = own_key(json!({"typ": "JWT", "alg": "HS256", "kid": kid}));
            let key = hmac::Key::new(hmac::HMAC_SHA256, modulus.unwrap_or_default().as_bytes());
            let signature = URL_SAFE_NO_PAD.encode(hmac::sign(&key, content.as_bytes()));
            format!("{content}.{signature}")
        }
        Some(Forgery::Signature) => {
            let (genuine, other) = (sign(&claims), sign(&json!({"sub": "another"})));
            let content = genuine.rsplit_once('.').map_or("", |(content, _)| content);
            let signature = other.rsplit_once('.').map_or("", |(_, signature)| signature);
            format!("{content}.{signature}")
        }
        Some(Forgery::UnknownKey) => {
            let header = json!({"typ": "JWT", "alg": "RS256", "kid": "bm9ib2R5J3Mga2V5"});
            let signed = sign(&claims);
            let signature = signed.rsplit_once('.').map_or("", |(_, signature)| signature);
            format!("{}.{signature}", own_key(header))
        }
        _ => sign(&claims),
    })
}

fn claims(world: &World, to: &Webhook, forgery: Option<Forgery>) -> Value {
    let is = |other: Forgery| forgery == Some(other);
    let (home, stranger) = (story::PUBLISHER_TENANT, story::CONTOSO.tenant);
    let tenant = if is(Forgery::Tenant) { stranger } else { home };
    let issued_by = if is(Forgery::Issuer) { stranger } else { tenant };
    let audience = if is(Forgery::Audience) {
        story::VISUAL_CLIENT_ID.to_string()
    } else {
        to.audience.clone()
    };
    let caller = if is(Forgery::Caller) { story::POWER_BI_WEB } else { MARKETPLACE };
    let shift = match forgery {
        Some(Forgery::Expired) => -2 * HOUR_S,
        Some(Forgery::NotYet) => HOUR_S + BEFORE_S,
        _ => 0,
    };
    let start = world.now_s() + shift - BEFORE_S;
    let principal: Uuid = chance::guid(&[0x20e9, chance::hash(&chance::halves(tenant))]);
    let mut claims = json!({
        "aud": audience,
        "iss": issuer(world.base(), &issued_by.to_string(), to.version),
        "iat": start, "nbf": start, "exp": start + BEFORE_S + HOUR_S,
        "aio": "E2ZgYJgjfkbt0cMJ", "rh": "0.AAAA",
        "oid": principal, "sub": principal, "tid": tenant,
        "uti": URL_SAFE_NO_PAD.encode(principal.as_bytes()),
    });
    if let Some(fields) = claims.as_object_mut() {
        let (name, version) = match to.version {
            TokenVersion::V1 => ("appid", "1.0"),
            TokenVersion::V2 => ("azp", "2.0"),
        };
        fields.insert(name.to_owned(), caller.into());
        fields.insert(format!("{name}acr"), "2".into());
        fields.insert("ver".to_owned(), version.into());
        if to.version == TokenVersion::V1 {
            let provider = issuer(world.base(), &tenant.to_string(), TokenVersion::V1);
            fields.insert("idp".to_owned(), provider.into());
        }
    }
    claims
}
