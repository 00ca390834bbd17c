//! Entra's signing keys: RS256, published with the issuer they are good for, rotated on demand.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{
    KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, UnparsedPublicKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

/// The tenant of all personal Microsoft accounts.
/// Source: marketplace-saas.md 5.2.
pub(crate) const PERSONAL: &str = "9188040d-6c67-4c5b-b112-36a304b66dad";

/// Keys that stay published, the current one included: Entra announces keys before and after use.
const KEPT: usize = 2;

struct Key {
    kid: String,
    pair: KeyPair,
}

impl Key {
    fn generate() -> io::Result<Self> {
        Ok(Self::of(KeyPair::generate(KeySize::Rsa2048).map_err(io::Error::other)?))
    }

    /// The key in this file; if there is none, a new one, which is then in it.
    fn kept(file: &Path) -> io::Result<Self> {
        match fs::read(file) {
            Ok(der) => KeyPair::from_pkcs8(&der).map(Self::of).map_err(io::Error::other),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let key = Self::generate()?;
                let der: Pkcs8V1Der<'_> = key.pair.as_der().map_err(io::Error::other)?;
                // Several may start at once: a file is there as a whole or not at all.
                let part = file.with_extension(std::process::id().to_string());
                let mut options = OpenOptions::new();
                options.write(true).create(true).truncate(true).mode(0o600);
                let mut new = options.open(&part)?;
                new.write_all(der.as_ref())?;
                fs::rename(&part, file)?;
                Ok(key)
            }
            Err(error) => Err(error),
        }
    }

    fn of(pair: KeyPair) -> Self {
        // The name follows from the key, as at Entra: a second sandbox on the same port never
        // reuses a name for another key.
        let thumbprint = digest(&SHA1_FOR_LEGACY_USE_ONLY, pair.public_key().as_ref());
        Self { kid: URL_SAFE_NO_PAD.encode(thumbprint), pair }
    }

    fn jwk(&self, issuer: Option<&str>) -> Value {
        let public = self.pair.public_key();
        let n = URL_SAFE_NO_PAD.encode(public.modulus().big_endian_without_leading_zero());
        let e = URL_SAFE_NO_PAD.encode(public.exponent().big_endian_without_leading_zero());
        let mut jwk = json!({
            "kty": "RSA", "use": "sig", "kid": self.kid, "x5t": self.kid, "n": n, "e": e,
        });
        if let (Some(issuer), Some(fields)) = (issuer, jwk.as_object_mut()) {
            fields.insert("issuer".to_owned(), issuer.into());
        }
        jwk
    }
}

/// Which key signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signer {
    /// The key for work and school tenants.
    Work,
    /// The key that is bound to the issuer of personal accounts.
    Personal,
}

/// All keys of the stand-in's Entra.
pub(crate) struct KeyRing {
    /// Newest last; the last one signs.
    work: Vec<Key>,
    personal: Key,
}

impl KeyRing {
    /// One key for tenants and one for personal accounts.
    ///
    /// # Errors
    /// No key could be made.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { work: vec![Key::generate()?], personal: Key::generate()? })
    }

    /// The same, out of this folder: what is not there is made and put there.
    ///
    /// # Errors
    /// The folder cannot be used, or what is in it is no key.
    pub(crate) fn kept(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let work = vec![Key::kept(&folder.join("work.pkcs8"))?];
        Ok(Self { work, personal: Key::kept(&folder.join("personal.pkcs8"))? })
    }

    /// A new key signs from now on; the one before stays published.
    ///
    /// # Errors
    /// No key could be made.
    pub(crate) fn rotate(&mut self) -> io::Result<()> {
        self.work.push(Key::generate()?);
        if self.work.len() > KEPT {
            self.work.remove(0);
        }
        Ok(())
    }

    /// The JWKS; `issuer` is the v2 template with `{tenantid}`, and v1 sets name no issuer.
    pub(crate) fn jwks(&self, issuer: Option<&str>) -> Value {
        let personal = issuer.map(|template| template.replace("{tenantid}", PERSONAL));
        let mut keys: Vec<Value> = self.work.iter().map(|key| key.jwk(issuer)).collect();
        keys.push(self.personal.jwk(personal.as_deref()));
        json!({"keys": keys})
    }

    /// A compact RS256 JWT.
    pub(crate) fn sign(&self, claims: &Value, signer: Signer) -> String {
        let key = match signer {
            Signer::Work => self.work.last().unwrap_or(&self.personal),
            Signer::Personal => &self.personal,
        };
        let header = json!({"typ": "JWT", "alg": "RS256", "x5t": key.kid, "kid": key.kid});
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let content = format!("{}.{}", encode(&header), encode(claims));
        let mut signature = vec![0; key.pair.public_modulus_len()];
        let random = SystemRandom::new();
        // Signing with a key that was just generated fails only when memory is gone; the empty
        // signature that is left then is refused by everyone.
        if key.pair.sign(&RSA_PKCS1_SHA256, &random, content.as_bytes(), &mut signature).is_err() {
            signature.clear();
        }
        format!("{content}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// The claims of a token that one of the published keys signed.
    pub(crate) fn verify(&self, token: &str) -> Option<Value> {
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).ok();
        let header: Value = serde_json::from_slice(&decode(header)?).ok()?;
        let kid = header.get("kid")?.as_str()?;
        let key = self.work.iter().find(|key| key.kid == kid)?;
        let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.pair.public_key());
        public.verify(signed.as_bytes(), &decode(signature)?).ok()?;
        serde_json::from_slice(&decode(claims)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_verifies_until_it_is_rotated_out() {
        let mut ring = KeyRing::new().unwrap();
        let token = ring.sign(&json!({"aud": "x"}), Signer::Work);
        assert_eq!(ring.verify(&token), Some(json!({"aud": "x"})));
        ring.rotate().unwrap();
        assert!(ring.verify(&token).is_some());
        ring.rotate().unwrap();
        assert_eq!(ring.verify(&token), None);
        assert_eq!(ring.verify(&ring.sign(&json!({}), Signer::Personal)), None);
    }

    #[test]
    fn keys_that_are_kept_are_the_same_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let token = KeyRing::kept(folder.path()).unwrap().sign(&json!({"a": 1}), Signer::Work);
        let after = KeyRing::kept(folder.path()).unwrap();
        assert_eq!(after.verify(&token), Some(json!({"a": 1})));
        fs::write(folder.path().join("work.pkcs8"), "no key").unwrap();
        assert!(KeyRing::kept(folder.path()).is_err());
    }

    #[test]
    fn only_version_two_keys_name_their_issuer() {
        let ring = KeyRing::new().unwrap();
        let two = ring.jwks(Some("https://l/{tenantid}/v2.0"));
        let issuers: Vec<_> =
            two["keys"].as_array().unwrap().iter().map(|key| key["issuer"].clone()).collect();
        assert_eq!(issuers, ["https://l/{tenantid}/v2.0", &format!("https://l/{PERSONAL}/v2.0")]);
        assert!(ring.jwks(None)["keys"][0].get("issuer").is_none());
    }
}
