//! Which check a refused token failed, as a word of a closed set: for counting, where what was
//! sent must not appear.

use super::TokenError;

impl TokenError {
    /// The check that failed. Several errors that have one remedy share a word.
    pub const fn check(&self) -> &'static str {
        match self {
            Self::TooLong | Self::Segments | Self::Encoding | Self::Json => "form",
            Self::Algorithm | Self::Critical | Self::KeyId => "header",
            Self::UnknownKey { .. } => "key",
            Self::Signature => "signature",
            Self::Claim(_) | Self::Version | Self::Tenant | Self::User | Self::Nonce => "claims",
            Self::OtherTenant => "tenant",
            Self::Issuer | Self::KeyIssuer => "issuer",
            Self::Audience => "audience",
            Self::Caller | Self::CallersDisagree | Self::AppOnly => "caller",
            Self::Expired | Self::NotYetValid | Self::Lifetime => "times",
        }
    }
}
