//! What a package carries: the license that it was built for, signed by us. And the list of those
//! that were revoked while a package of theirs may still be working offline.
//!
//! A package is a file that its customer keeps for years, so its token names a license and proves
//! only that we made it: whether the license still holds is looked up. `exp` is the next payment
//! date, until which the package may work where it cannot ask; online it goes on being recognized.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::compact::Compact;
use super::sign::{PublicKey, SignError, Signer};
use crate::domain::ProductId;

/// The `typ` of a package's header: keeps an answer from passing for a package.
pub(super) const PACKAGE: &str = "entitled-package+jwt";

/// The `typ` of the list of revoked licenses.
pub(super) const REVOCATIONS: &str = "entitled-revocations+jwt";

/// The longest package that is looked at, in bytes; ours have about 500.
const PACKAGE_BYTES_MAX: usize = 4 * 1024;

/// What a package says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    /// The product it is of.
    pub product: ProductId,
    /// The license it was built for, by its id as text.
    pub license: Box<str>,
}

/// Why a package is not believed. Outside, all of them are one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PackageError {
    /// It is no package token.
    #[error("the text is no package token")]
    Form,
    /// It was signed by a key that is not ours.
    #[error("the package was signed by a key that is not known here")]
    Key,
    /// The signature does not fit.
    #[error("the package's signature does not fit")]
    Signature,
}

impl Signer {
    /// The token to build into a package. `until` is the next payment date, without one it works
    /// offline for ever; `features` is what it unlocks there.
    ///
    /// # Errors
    ///
    /// [`SignError::Sign`].
    pub fn package<'a>(
        &self,
        package: &Package,
        kind: &str,
        features: impl IntoIterator<Item = &'a str>,
        now: Timestamp,
        until: Option<Timestamp>,
    ) -> Result<String, SignError> {
        let mut claims = json!({
            "aud": package.product.as_str(),
            "license": package.license,
            "kind": kind,
            "features": features.into_iter().collect::<Vec<_>>(),
            "iat": now.as_second(),
        });
        if let (Some(until), Some(claims)) = (until, claims.as_object_mut()) {
            claims.insert("exp".to_owned(), until.as_second().into());
        }
        self.document(PACKAGE, claims)
    }

    /// The signed list of revoked licenses, to be fetched again before `until`.
    ///
    /// # Errors
    ///
    /// [`SignError::Sign`].
    pub fn revocations<'a>(
        &self,
        revoked: impl IntoIterator<Item = &'a str>,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<String, SignError> {
        let mut marks: Vec<_> = revoked.into_iter().map(mark).collect();
        marks.sort_unstable();
        let claims = json!({
            "revoked": marks, "iat": now.as_second(), "exp": until.as_second(),
        });
        self.document(REVOCATIONS, claims)
    }

    fn document(&self, typ: &str, mut claims: Value) -> Result<String, SignError> {
        if let Some(claims) = claims.as_object_mut() {
            claims.insert("iss".to_owned(), self.issuer().into());
        }
        let header = json!({ "alg": "ES256", "kid": self.kid(), "typ": typ }).to_string();
        self.seal(&URL_SAFE_NO_PAD.encode(header), &claims.to_string())
    }
}

/// What stands for a license in the list, in base64url: the first 12 bytes of the SHA-256 of
/// `entitled revocation`, a line feed and its id. A package knows its own id and can look for it,
/// while the list tells nobody an id.
pub fn mark(license: &str) -> String {
    let hash = digest(&SHA256, format!("entitled revocation\n{license}").as_bytes());
    URL_SAFE_NO_PAD.encode(hash.as_ref().first_chunk::<12>().copied().unwrap_or_default())
}

/// Reads a package that one of our keys signed, however long ago.
///
/// # Errors
///
/// [`PackageError`].
pub fn verify_package(token: &str, keys: &[PublicKey]) -> Result<Package, PackageError> {
    use PackageError as E;
    if token.len() > PACKAGE_BYTES_MAX {
        return Err(E::Form);
    }
    let compact = Compact::parse(token).map_err(|_form| E::Form)?;
    let is = |name: &str, value: &str| compact.header.get(name).is_some_and(|it| it == value);
    if !is("typ", PACKAGE) || !is("alg", "ES256") || compact.header.contains_key("crit") {
        return Err(E::Form);
    }
    let key = keys.iter().find(|it| is("kid", &it.kid)).ok_or(E::Key)?;
    let point = [&[4][..], &key.x, &key.y].concat();
    let signature = URL_SAFE_NO_PAD.decode(compact.signature).map_err(|_bad| E::Form)?;
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
        .verify(compact.signed.as_bytes(), &signature)
        .map_err(|_unspecified| E::Signature)?;
    let claims = compact.claims().map_err(|_form| E::Form)?;
    package(&claims).ok_or(E::Form)
}

fn package(claims: &Map<String, Value>) -> Option<Package> {
    let text = |name| claims.get(name).and_then(Value::as_str);
    Some(Package { product: text("aud")?.parse().ok()?, license: text("license")?.into() })
}
