//! A certificate as credential: we sign the assertion ourselves, so that no OpenSSL is needed.

use std::fmt;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;
use uuid::Uuid;

use crate::microsoft::error::{ErrorKind, MicrosoftError};

/// How long an assertion is valid, in seconds.
const LIFETIME_S: i64 = 600;

/// A certificate's thumbprint and its key.
pub(super) struct Certificate {
    thumbprint: String,
    key: EncodingKey,
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").field("thumbprint", &self.thumbprint).finish_non_exhaustive()
    }
}

impl Certificate {
    /// The first certificate and the first RSA key in a PEM text.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Credential`] when either is missing or broken.
    pub(super) fn parse(pem: &str) -> Result<Self, MicrosoftError> {
        let wrong = |what: &str| {
            let what = format!("[identity] certificate_file {what}");
            MicrosoftError::new(ErrorKind::Credential, what)
        };
        let certificate = block(pem, |it| it == "CERTIFICATE")
            .ok_or_else(|| wrong("holds no certificate: put certificate and key into one PEM"))?;
        let der: String = certificate.lines().filter(|it| !it.starts_with('-')).collect();
        let der = STANDARD.decode(der.replace(char::is_whitespace, ""));
        let der = der.map_err(|_bad| wrong("holds a broken certificate"))?;
        let key = block(pem, |it| it.ends_with("PRIVATE KEY") && !it.starts_with("ENCRYPTED"))
            .ok_or_else(|| wrong("holds no unencrypted private key: put it into the same PEM"))?;
        let key = EncodingKey::from_rsa_pem(key.as_bytes());
        let key = key.map_err(|_bad| wrong("holds no usable RSA key"))?;
        let thumbprint = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, &der));
        Ok(Self { thumbprint, key })
    }

    /// A client assertion for this token endpoint.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Credential`] when the key cannot sign.
    ///
    /// Source: Entra, "Certificate credentials": `RS256`, `x5t#S256`, `aud` is the endpoint.
    pub(super) fn assertion(
        &self,
        client_id: &str,
        endpoint: &str,
        now: Timestamp,
    ) -> Result<String, MicrosoftError> {
        let mut header = Header::new(Algorithm::RS256);
        header.x5t_s256 = Some(self.thumbprint.clone());
        let from = now.as_second();
        let claims = json!({
            "aud": endpoint, "iss": client_id, "sub": client_id, "jti": Uuid::new_v4().to_string(),
            "iat": from, "nbf": from, "exp": from.saturating_add(LIFETIME_S),
        });
        jsonwebtoken::encode(&header, &claims, &self.key).map_err(|_bad| {
            let what = "the key in [identity] certificate_file cannot sign";
            MicrosoftError::new(ErrorKind::Credential, what)
        })
    }
}

/// The first PEM block whose label passes, from its first dash to its last.
fn block(pem: &str, wanted: impl Fn(&str) -> bool) -> Option<&str> {
    let mut rest = pem;
    loop {
        let from = rest.find("-----BEGIN ")?;
        let here = rest.get(from..)?;
        let label = here.strip_prefix("-----BEGIN ")?.split("-----").next()?;
        let end = format!("-----END {label}-----");
        let to = here.find(&end)?.saturating_add(end.len());
        let (found, after) = (here.get(..to)?, here.get(to..)?);
        if wanted(label) {
            return Some(found);
        }
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pem_without_certificate_or_key_says_what_is_missing() {
        let check = |pem: &str, words: &str| {
            let error = Certificate::parse(pem).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Credential);
            assert!(error.to_string().contains(words), "{error}");
        };
        let certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        check("", "no certificate");
        check("-----BEGIN CERTIFICATE-----\n", "no certificate");
        check(certificate, "no unencrypted private key");
        let broken = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        check(&format!("{certificate}{broken}"), "no usable RSA key");
        let locked = broken.replace("PRIVATE", "ENCRYPTED PRIVATE");
        check(&format!("{certificate}{locked}"), "no unencrypted private key");
    }
}
