//! Signatures by which a receiver knows that an event is ours, and that it is fresh.
//!
//! Source: Standard Webhooks 1.0.0: HMAC-SHA256 over `id.timestamp.body`, in base64 after `v1,`.

use std::fmt;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;

use crate::config::Secret;

/// What events for one endpoint are signed with.
#[derive(Clone)]
pub(super) struct Signer(Vec<hmac::Key>);

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Signer").field(&self.0.len()).finish()
    }
}

impl Signer {
    /// With these secrets, all of them: `whsec_` and base64.
    ///
    /// `None` if one is no such secret: the configuration lets none pass.
    pub(super) fn new(secrets: &[Secret]) -> Option<Self> {
        let key = |it: &Secret| {
            let bytes = STANDARD.decode(it.expose().strip_prefix("whsec_")?).ok()?;
            Some(hmac::Key::new(hmac::HMAC_SHA256, &bytes))
        };
        secrets.iter().map(key).collect::<Option<_>>().map(Self)
    }

    /// The value of `webhook-signature`: one signature for each secret.
    pub(super) fn sign(&self, id: &str, at: Timestamp, body: &str) -> String {
        let content = format!("{id}.{}.{body}", at.as_second());
        let signature = |key: &hmac::Key| {
            format!("v1,{}", STANDARD.encode(hmac::sign(key, content.as_bytes())))
        };
        self.0.iter().map(signature).collect::<Vec<_>>().join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Source: the reference libraries of Standard Webhooks (`go/webhook_test.go`, `TestWebhookSign`).
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const BODY: &str = r#"{"test": 2432232314}"#;
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    #[test]
    fn the_published_vector_is_signed_as_published() {
        let at = Timestamp::from_second(1_614_265_330).unwrap();
        let signer = Signer::new(&[Secret::new(SECRET)]).unwrap();
        assert_eq!(signer.sign(ID, at, BODY), SIGNATURE);
        // Fractions of a second are not told, so they are not signed either.
        let later = Timestamp::new(1_614_265_330, 999).unwrap();
        assert_eq!(signer.sign(ID, later, BODY), SIGNATURE);
    }

    #[test]
    fn two_secrets_make_two_signatures() {
        let at = Timestamp::from_second(1_614_265_330).unwrap();
        let other = Secret::new("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
        let signed = Signer::new(&[Secret::new(SECRET), other]).unwrap().sign(ID, at, BODY);
        let (first, second) = signed.split_once(' ').unwrap();
        assert_eq!(first, SIGNATURE);
        assert!(second.starts_with("v1,") && second != first, "{second}");
    }

    #[test]
    fn nothing_shows_a_key_and_no_other_text_is_one() {
        let signer = Signer::new(&[Secret::new(SECRET)]).unwrap();
        assert_eq!(format!("{signer:?}"), "Signer(1)");
        assert!(Signer::new(&[Secret::new("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")]).is_none());
        assert!(Signer::new(&[Secret::new("whsec_!")]).is_none());
    }
}
