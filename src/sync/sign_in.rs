//! People sign in to the landing page: they are sent to Entra, and what they come back with is
//! redeemed and checked.

use std::sync::Arc;

use tracing::debug;
use url::Url;

use super::keys::{Clock, EntraKeys, Lookup};
use crate::microsoft::{self, Departure, ErrorKind, Microsoft, MicrosoftError, Secret};
use crate::tokens::{self, SignInRules, SignedIn, TokenError};

/// Signs people in with one app.
pub struct SignIn {
    entra: microsoft::SignIn,
    keys: Arc<EntraKeys>,
    rules: SignInRules,
    clock: Clock,
}

/// Nobody is signed in.
#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    /// The code is too old, was used before, or is another sign-in's: to begin again helps.
    #[error("the sign-in cannot be completed")]
    Over(#[source] MicrosoftError),
    /// Entra cannot be reached, or its signing keys were never read: to wait helps.
    #[error("Entra cannot be reached")]
    Away(#[source] Option<MicrosoftError>),
    /// Our app is not set up: somebody has to mend it.
    #[error(
        "Entra does not accept the app that signs people in: check [landing] client_id and \
         secret_file (or [identity]), and that it is registered for any organisation and personal \
         accounts with the redirect URI of the README"
    )]
    App(#[source] MicrosoftError),
    /// What Entra sent is not to be believed.
    #[error("the ID token is refused")]
    Token(#[source] TokenError),
}

impl SignIn {
    /// Signs people in with the app of `[identity]` or another one; `login` as configured.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Credential`] when the app's credential cannot sign people in.
    pub fn new(
        microsoft: &Microsoft,
        login: &Url,
        other_app: Option<(String, Secret)>,
        redirect: Url,
        keys: Arc<EntraKeys>,
        clock: Clock,
    ) -> Result<Self, MicrosoftError> {
        let entra = microsoft.sign_in(other_app, redirect)?;
        let rules = SignInRules::new(login.as_str(), entra.client_id());
        Ok(Self { entra, keys, rules, clock })
    }

    /// Somebody sets out. With `choose` he is asked who he is, even if Entra knows.
    pub fn depart(&self, choose: bool) -> Departure {
        self.entra.depart(choose)
    }

    /// Who came back with this code. The verifier and the nonce are those of his departure.
    ///
    /// # Errors
    ///
    /// [`SignInError`].
    pub async fn arrive(
        &self,
        code: String,
        verifier: String,
        nonce: &str,
    ) -> Result<SignedIn, SignInError> {
        let token = self.entra.redeem(code, verifier).await.map_err(by_kind)?;
        let kid = tokens::key_id(&token).map_err(SignInError::Token)?;
        let keys = match self.keys.lookup(&kid).await {
            Lookup::Known(keys) => keys,
            Lookup::Unknown => return Err(SignInError::Token(TokenError::UnknownKey { kid })),
            Lookup::Unavailable => return Err(SignInError::Away(None)),
        };
        let now = (self.clock)();
        let person = tokens::verify_sign_in(&token, &keys, &self.rules, nonce, now);
        let person = person.map_err(SignInError::Token)?;
        debug!(personal = person.tenant_id().is_none(), "Somebody signed in");
        Ok(person)
    }
}

fn by_kind(error: MicrosoftError) -> SignInError {
    match error.kind() {
        ErrorKind::Rejected => SignInError::Over(error),
        ErrorKind::Transient | ErrorKind::Throttled | ErrorKind::Unreadable => {
            SignInError::Away(Some(error))
        }
        ErrorKind::Consent
        | ErrorKind::Credential
        | ErrorKind::Resync
        | ErrorKind::RestartSequence
        | ErrorKind::NotFound
        | ErrorKind::National
        | ErrorKind::Refused
        | ErrorKind::Locked => SignInError::App(error),
    }
}
