//! JWTs, pure: Entra's tokens checked against keys handed in; our answers and packages signed.
//!
//! Nothing here fetches, waits or reads a clock. Who fetches Entra's keys and when is
//! `sync::keys`; who may ask what is `http`.

mod compact;
mod json;
mod keys;
mod package;
mod reason;
mod sign;
mod sign_in;
mod verify;
mod webhook;

pub use keys::{KeySet, KeySetError};
pub use package::{Package, PackageError, mark, verify_package};
pub use sign::{
    PublicKey, SignError, Signer, Subject, VerifyAnswerError, jwks, verify_answer, verify_offline,
    verify_revocations,
};
pub use sign_in::{SignInRules, SignedIn, verify_sign_in};
pub use verify::{TokenError, User, UserRules, key_id, verify_user};
pub use webhook::{WebhookRules, verify_webhook};
