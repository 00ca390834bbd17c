//! The compact form of a JWS: three base64url parts, of which nothing is believed yet.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::json;
use super::verify::TokenError;

/// The longest token that is looked at, in bytes.
const TOKEN_BYTES_MAX: usize = 16 * 1024;

/// A token taken apart.
pub(super) struct Compact<'a> {
    /// What the signature is over: header and claims as sent.
    pub(super) signed: &'a str,
    /// The header.
    pub(super) header: Map<String, Value>,
    /// The claims, not read yet: first the signature must hold.
    claims: Vec<u8>,
    /// The signature, still encoded.
    pub(super) signature: &'a str,
}

impl<'a> Compact<'a> {
    /// Takes a token apart.
    pub(super) fn parse(token: &'a str) -> Result<Self, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::TooLong);
        }
        let mut parts = token.split('.');
        let (Some(header), Some(claims), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(TokenError::Segments);
        };
        // Decoded only so that a bad alphabet is called what it is.
        bytes(signature)?;
        let payload = bytes(claims)?;
        let signed = token.get(..header.len() + 1 + claims.len()).ok_or(TokenError::Segments)?;
        Ok(Self { signed, header: object(&bytes(header)?)?, claims: payload, signature })
    }

    /// The claims. To be read only once the signature holds.
    pub(super) fn claims(&self) -> Result<Map<String, Value>, TokenError> {
        object(&self.claims)
    }
}

fn bytes(encoded: &str) -> Result<Vec<u8>, TokenError> {
    URL_SAFE_NO_PAD.decode(encoded).map_err(|_bad| TokenError::Encoding)
}

fn object(bytes: &[u8]) -> Result<Map<String, Value>, TokenError> {
    json::object(bytes).ok_or(TokenError::Json)
}
