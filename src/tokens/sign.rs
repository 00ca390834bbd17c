//! Our answers as compact JWS (ES256), and the keys with which anyone can check them.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use aws_lc_rs::{error::Unspecified, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::{Map, Value, json};

use super::json;
use crate::domain::{ProductId, TenantId, UserId};

/// Signs answers with one key.
pub struct Signer {
    kid: Box<str>,
    /// The first part of every token: it names the key.
    header: Box<str>,
    /// Read once: reading a key checks it, which takes longer than signing with it.
    key: EcdsaKeyPair,
    issuer: Box<str>,
    secret: hmac::Key,
}

/// Whom an answer is about. The token names him by a pseudonym that differs from product to
/// product and from tenant to tenant.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The product asked about.
    pub product: &'a ProductId,
    /// His tenant.
    pub tenant: Option<TenantId>,
    /// The user.
    pub user: Option<UserId>,
}

/// An answer could not be signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The key is no P-256 key in PKCS #8 form.
    #[error("signing key `{0}` is no P-256 key in PKCS #8 form")]
    Key(String),
    /// The library refused.
    #[error("the answer could not be signed")]
    Sign(#[source] Unspecified),
}

/// The public half of a key that signs answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    /// Its id.
    pub kid: String,
    /// The point's first coordinate, big-endian.
    pub x: [u8; 32],
    /// The point's second coordinate, big-endian.
    pub y: [u8; 32],
}

impl Signer {
    /// A signer with this P-256 key (PKCS #8) that calls itself `issuer`; pseudonyms are derived
    /// from `secret`.
    ///
    /// # Errors
    ///
    /// [`SignError::Key`].
    pub fn new(
        kid: &str,
        pkcs8: &[u8],
        issuer: &str,
        secret: &[u8; 32],
    ) -> Result<Self, SignError> {
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8)
            .map_err(|_rejected| SignError::Key(kid.to_owned()))?;
        let header = json!({ "alg": "ES256", "kid": kid, "typ": "JWT" }).to_string();
        Ok(Self {
            kid: kid.into(),
            header: URL_SAFE_NO_PAD.encode(header).into(),
            key,
            issuer: issuer.into(),
            secret: hmac::Key::new(hmac::HMAC_SHA256, secret),
        })
    }

    /// The id of the key.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The signed form of an answer: its fields, and who says so to whom about whom from when
    /// until when. `valid_until` becomes `exp`, in whole seconds.
    ///
    /// # Errors
    ///
    /// [`SignError::Sign`].
    pub fn sign(
        &self,
        answer: Map<String, Value>,
        subject: Subject<'_>,
        now: Timestamp,
        valid_until: Timestamp,
    ) -> Result<String, SignError> {
        let mut claims = answer;
        let mut put = |name: &str, value: Value| drop(claims.insert(name.to_owned(), value));
        put("iss", Value::from(&*self.issuer));
        put("aud", Value::from(subject.product.as_str()));
        put("sub", Value::from(self.pseudonym(subject)));
        put("iat", Value::from(now.as_second()));
        put("exp", Value::from(valid_until.as_second()));
        self.seal(&self.header, &Value::Object(claims).to_string())
    }

    /// What the key calls itself.
    pub(super) fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The compact form of an encoded header and claims, signed.
    pub(super) fn seal(&self, header: &str, claims: &str) -> Result<String, SignError> {
        let mut token = String::with_capacity(1_024);
        token.push_str(header);
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(claims, &mut token);
        let signature =
            self.key.sign(&SystemRandom::new(), token.as_bytes()).map_err(SignError::Sign)?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(token)
    }

    /// The same for the same three, and telling nothing about them.
    fn pseudonym(&self, subject: Subject<'_>) -> String {
        let mut context = hmac::Context::with_key(&self.secret);
        context.update(subject.product.as_str().as_bytes());
        // A product id holds no NUL, and the ids are of fixed length: no two triples run together.
        context.update(&[0]);
        context.update(&subject.tenant.map_or([0; 16], |it| *it.as_bytes()));
        context.update(&subject.user.map_or([0; 16], |it| *it.as_bytes()));
        URL_SAFE_NO_PAD.encode(context.sign())
    }
}

/// The key set that checks our answers, as JSON.
pub fn jwks<'a>(keys: impl IntoIterator<Item = &'a PublicKey>) -> String {
    let key = |it: &PublicKey| {
        json!({
            "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": it.kid,
            "x": URL_SAFE_NO_PAD.encode(it.x), "y": URL_SAFE_NO_PAD.encode(it.y),
        })
    };
    json!({ "keys": keys.into_iter().map(key).collect::<Vec<_>>() }).to_string()
}

/// Why a signed answer is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyAnswerError {
    /// It is no compact JWS of ours, or the key set is none.
    #[error("the answer or the key set is not of the expected form")]
    Form,
    /// The key set lacks its key.
    #[error("the key set lacks the key of the answer")]
    Key,
    /// The signature does not fit.
    #[error("the answer's signature does not fit")]
    Signature,
    /// It is about another product.
    #[error("the answer is about another product")]
    Audience,
    /// It is no longer valid.
    #[error("the answer is no longer valid")]
    Expired,
}

/// Checks a signed answer as a visual would, and hands out its claims.
///
/// # Errors
///
/// [`VerifyAnswerError`].
pub fn verify_answer(
    token: &str,
    jwks: &str,
    product: &str,
    now: Timestamp,
) -> Result<Map<String, Value>, VerifyAnswerError> {
    let claims = verify_document("JWT", token, jwks)?;
    if claims.get("aud").and_then(Value::as_str) != Some(product) {
        return Err(VerifyAnswerError::Audience);
    }
    current(&claims, now)?;
    Ok(claims)
}

/// Checks a package as a visual does that can ask nobody, and hands out its claims: it holds until the
/// next payment date, without one for ever.
///
/// # Errors
///
/// [`VerifyAnswerError`].
pub fn verify_offline(
    package: &str,
    jwks: &str,
    product: &str,
    now: Timestamp,
) -> Result<Map<String, Value>, VerifyAnswerError> {
    let claims = verify_document(super::package::PACKAGE, package, jwks)?;
    if claims.get("aud").and_then(Value::as_str) != Some(product) {
        return Err(VerifyAnswerError::Audience);
    }
    if claims.contains_key("exp") {
        current(&claims, now)?;
    }
    Ok(claims)
}

/// Checks a list of revoked licenses as a package would, and hands out their marks:
/// [`mark`](super::mark).
///
/// # Errors
///
/// [`VerifyAnswerError`].
pub fn verify_revocations(
    token: &str,
    jwks: &str,
    now: Timestamp,
) -> Result<Vec<String>, VerifyAnswerError> {
    let claims = verify_document(super::package::REVOCATIONS, token, jwks)?;
    current(&claims, now)?;
    let marks = claims.get("revoked").and_then(Value::as_array);
    let marks = marks.ok_or(VerifyAnswerError::Form)?;
    Ok(marks.iter().filter_map(Value::as_str).map(str::to_owned).collect())
}

fn current(claims: &Map<String, Value>, now: Timestamp) -> Result<(), VerifyAnswerError> {
    let valid = claims.get("exp").and_then(Value::as_i64).is_some_and(|it| now.as_second() < it);
    if valid { Ok(()) } else { Err(VerifyAnswerError::Expired) }
}

/// The claims of a document of ours of this `typ`.
fn verify_document(
    typ: &str,
    token: &str,
    jwks: &str,
) -> Result<Map<String, Value>, VerifyAnswerError> {
    use VerifyAnswerError as E;
    let object = |part: &str| {
        let bytes = URL_SAFE_NO_PAD.decode(part).ok()?;
        json::object(&bytes)
    };
    let (message, signature) = token.rsplit_once('.').ok_or(E::Form)?;
    let (header, claims) = message.split_once('.').ok_or(E::Form)?;
    let (header, claims) = (object(header).ok_or(E::Form)?, object(claims).ok_or(E::Form)?);
    let is = |name: &str, value: &str| header.get(name).and_then(Value::as_str) == Some(value);
    if !is("alg", "ES256") || !is("typ", typ) {
        return Err(E::Form);
    }
    let set: Value = serde_json::from_str(jwks).map_err(|_bad| E::Form)?;
    let keys = set.get("keys").and_then(Value::as_array).ok_or(E::Form)?;
    let key = keys.iter().find(|it| it.get("kid") == header.get("kid")).ok_or(E::Key)?;
    let part = |name| key.get(name).and_then(Value::as_str).ok_or(E::Form);
    let key = DecodingKey::from_ec_components(part("x")?, part("y")?).map_err(|_bad| E::Form)?;
    let fits = jsonwebtoken::crypto::verify(signature, message.as_bytes(), &key, Algorithm::ES256);
    if fits.unwrap_or(false) { Ok(claims) } else { Err(E::Signature) }
}
