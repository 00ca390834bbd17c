//! What others keep for us, a browser or a link: sealed, so that nobody can read or make it.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Seals and opens. What one purpose sealed no other opens.
pub(super) struct Seal(RandomizedNonceKey);

impl Seal {
    /// With a key for this purpose, made from `secret`. `None` if the library cannot make one.
    pub(super) fn new(secret: &[u8; 32], purpose: &str) -> Option<Self> {
        let secret = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let key = hmac::sign(&secret, purpose.as_bytes());
        RandomizedNonceKey::new(&AES_256_GCM, key.as_ref()).ok().map(Self)
    }

    /// The value as text of letters, digits, `-` and `_`; `name` is sealed in.
    pub(super) fn seal(&self, name: &str, value: &impl Serialize) -> Option<String> {
        let mut bytes = serde_json::to_vec(value).ok()?;
        let nonce = self.0.seal_in_place_append_tag(Aad::from(name), &mut bytes).ok()?;
        bytes.splice(0..0, *nonce.as_ref());
        Some(URL_SAFE_NO_PAD.encode(bytes))
    }

    /// What was sealed under this name; `None` for anything that was not.
    pub(super) fn open<T: DeserializeOwned>(&self, name: &str, text: &str) -> Option<T> {
        let mut bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let nonce: [u8; NONCE_LEN] = bytes.get(..NONCE_LEN)?.try_into().ok()?;
        let text = bytes.get_mut(NONCE_LEN..)?;
        let nonce = Nonce::assume_unique_for_key(nonce);
        let text = self.0.open_in_place(nonce, Aad::from(name), text).ok()?;
        serde_json::from_slice(text).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_for_its_purpose_and_its_name_only() {
        let seal = |secret: u8, purpose: &str| Seal::new(&[secret; 32], purpose).unwrap();
        let text = seal(7, "a").seal("n", &"hello").unwrap();
        assert_eq!(seal(7, "a").open::<String>("n", &text).as_deref(), Some("hello"));
        assert_eq!(seal(7, "b").open::<String>("n", &text), None);
        assert_eq!(seal(8, "a").open::<String>("n", &text), None);
        assert_eq!(seal(7, "a").open::<String>("m", &text), None);
        assert_eq!(seal(7, "a").open::<u8>("n", &text), None, "another kind of value");
        for wrong in ["", "A", "!", "AAAAAAAAAAAAAAAAAAAAAAAA"] {
            assert_eq!(seal(7, "a").open::<String>("n", wrong), None, "{wrong}");
        }
    }
}
