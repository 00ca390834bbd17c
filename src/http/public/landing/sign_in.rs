//! Somebody comes with a token, is sent to Entra, and comes back.

use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq as _;
use tokio::time::timeout;
use tracing::{error, info, warn};

use super::seal::{Leaving, Purchase, Session, Ticket};
use super::{Answer, Visit, words};
use crate::domain::PurchaseToken;
use crate::http::limits::HANDLER;
use crate::http::public::page::{aadsts, field};
use crate::sync::sign_in::SignInError;

/// Nobody saw the code; the sign-in may be begun again.
#[derive(Debug, thiserror::Error)]
#[error("Entra took longer than {} s to redeem a code", HANDLER.as_secs())]
struct Slow;

impl Visit<'_> {
    pub(super) fn open(&self) -> Result<Answer, Answer> {
        let token = PurchaseToken::from_query(&self.query).ok_or_else(words::no_token)?;
        Ok(self.leave(Purchase::Token(token.expose().to_owned()), false))
    }

    pub(super) fn account(&self) -> Result<Answer, Answer> {
        let purchase = match self.ticket().ok_or_else(words::over)? {
            Ticket::Leaving(it) => it.purchase,
            Ticket::Signed(it) => it.purchase,
        };
        Ok(self.leave(purchase, true))
    }

    /// To Entra.
    fn leave(&self, purchase: Purchase, choose: bool) -> Answer {
        let departure = self.sign_in.depart(choose);
        let leaving = Leaving {
            purchase,
            state: departure.state,
            nonce: departure.nonce,
            verifier: departure.verifier,
        };
        Answer::to(departure.url).keeping(Ticket::Leaving(leaving))
    }

    pub(super) async fn come_back(&self) -> Result<Answer, Answer> {
        let leaving = match self.ticket() {
            Some(Ticket::Leaving(it)) => it,
            // The same address once more: by the back button, or by a second click.
            Some(Ticket::Signed(_)) => return Ok(Answer::to(self.page_of("purchase"))),
            None => return Err(words::over().into()),
        };
        let state = field(&self.query, "state").unwrap_or_default();
        if !bool::from(state.as_bytes().ct_eq(leaving.state.as_bytes())) {
            self.wrong()?;
            return Err(words::other_sign_in(self.path()).into());
        }
        if let Some(error) = field(&self.query, "error") {
            return Err(self.refused(&error));
        }
        let code = field(&self.query, "code").filter(|it| !it.is_empty());
        let code = code.ok_or_else(|| words::sign_in_again(self.path()))?;
        let arriving = self.sign_in.arrive(code, leaving.verifier, &leaving.nonce);
        let person = match timeout(HANDLER, arriving).await {
            Ok(Ok(person)) => person,
            Ok(Err(error)) => return Err(self.not_arrived(error)?),
            Err(_elapsed) => return Err(self.entra_away().because(Slow)),
        };
        let session = Session {
            purchase: leaving.purchase,
            person: person.into(),
            form: random().ok_or_else(|| self.entra_away())?,
            asked: None,
            plan: None,
        };
        Ok(Answer::to(self.page_of("purchase")).keeping(Ticket::Signed(session)))
    }

    fn entra_away(&self) -> Answer {
        words::away(&self.page_of("account"), self.has_support()).into()
    }

    /// Entra says why nobody signed in.
    fn refused(&self, error: &str) -> Answer {
        let said = field(&self.query, "error_description").unwrap_or_default();
        let code = aadsts(&said);
        let code = code.as_deref();
        let declined = code.is_some_and(|it| ["65004", "90094"].contains(&it));
        let cancelled = error == "access_denied" && !declined;
        info!(aadsts = code, cancelled, "Somebody came back without having signed in");
        words::not_signed_in(self.path(), cancelled, code).into()
    }

    fn not_arrived(&self, failed: SignInError) -> Result<Answer, Answer> {
        match failed {
            SignInError::Over(_) => {
                self.wrong()?;
                Ok(Answer::from(words::sign_in_again(self.path())).because(failed))
            }
            SignInError::Away(_) => Ok(self.entra_away().because(failed)),
            SignInError::App(_) => {
                error!(error = &failed as &dyn std::error::Error, "Nobody can sign in");
                let words = words::trouble(
                    "Nobody can sign in: Entra does not accept the app that signs people in. The \
                     daemon's log says what to change; see [landing] in its configuration.",
                    self.has_support(),
                );
                Ok(words.into())
            }
            SignInError::Token(_) => {
                self.wrong()?;
                warn!(error = &failed as &dyn std::error::Error, "A sign-in is not believed");
                Ok(words::sign_in_again(self.path()).into())
            }
        }
    }
}

/// 256 bits that nobody can guess.
fn random() -> Option<String> {
    let mut bytes = [0; 32];
    rand::fill(&mut bytes).ok()?;
    Some(URL_SAFE_NO_PAD.encode(bytes))
}
