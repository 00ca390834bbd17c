//! Entra refused our own credential: what holds for every tenant is not asked of each of them.

use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};

use crate::domain::has_passed;
use crate::microsoft::error::{ErrorKind, MicrosoftError};
use crate::microsoft::meter::Meter;

/// How soon somebody asks whether the credential is good again.
const AGAIN_AFTER: SignedDuration = SignedDuration::from_secs(60);
/// How soon an operator may, who may have mended it a moment ago.
const OPERATOR_AFTER: SignedDuration = SignedDuration::from_secs(1);

/// The last refusal of our credential, until a token is issued again.
#[derive(Default)]
pub(super) struct RefusedCredential(Mutex<Option<Refusal>>);

struct Refusal {
    error: MicrosoftError,
    /// When somebody last asked; `None` if what he heard was no word on the credential.
    asked_at: Option<Timestamp>,
}

impl RefusedCredential {
    /// The refusal, for one who need not ask again; whoever gets `None` asks, for the others too.
    pub(super) fn standing(&self, meter: &Meter, now: Timestamp) -> Option<MicrosoftError> {
        let mut refusal = self.lock();
        let refusal = refusal.as_mut()?;
        let rest = if meter.is_operators() { OPERATOR_AFTER } else { AGAIN_AFTER };
        // A clock that was set back is no reason not to ask.
        let resting = |at: Timestamp| !has_passed(rest, at, now);
        if refusal.asked_at.is_some_and(resting) {
            return Some(refusal.error.clone());
        }
        refusal.asked_at = Some(now);
        None
    }

    /// Somebody asked for a token, and this came of it.
    pub(super) fn heard<T>(&self, of: &Result<T, MicrosoftError>, now: impl Fn() -> Timestamp) {
        let mut refusal = self.lock();
        match of {
            Ok(_) => *refusal = None,
            Err(error) if error.is_credential_refused() => {
                let what =
                    format!("no token for any tenant: Entra refused our own credential; {error}");
                let error = MicrosoftError::new(ErrorKind::Credential, what);
                *refusal = Some(Refusal { error, asked_at: Some(now()) });
            }
            Err(_) => {
                if let Some(refusal) = refusal.as_mut() {
                    refusal.asked_at = None;
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Refusal>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_a_minute_asks_again_for_all_and_an_operator_at_once() {
        let at = |seconds| Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds);
        let (daemon, operator) = (Meter::new(), Meter::new().of_an_operator());
        let refused = || MicrosoftError::new(ErrorKind::Credential, "x").credential_refused();
        let kept = RefusedCredential::default();
        let asks = |meter: &Meter, seconds| kept.standing(meter, at(seconds)).is_none();
        let heard = |of: Result<(), MicrosoftError>, seconds| kept.heard(&of, || at(seconds));

        assert!(asks(&daemon, 0) && asks(&daemon, 0), "nothing is known against it");
        heard(Err(refused()), 0);
        let error = kept.standing(&daemon, at(59)).unwrap();
        assert_eq!(error.kind(), ErrorKind::Credential);
        assert!(error.to_string().contains("our own credential; x"), "{error}");
        assert!(asks(&daemon, 60));
        assert!(!asks(&daemon, 61), "one asks for all of them");
        heard(Err(refused()), 62);
        assert!(!asks(&daemon, 63));
        assert!(asks(&operator, 63));
        assert!(!asks(&operator, 63), "nor does he ask for each of his tenants");

        let other = || MicrosoftError::new(ErrorKind::Consent, "y");
        heard(Err(other()), 64);
        assert!(asks(&daemon, 64), "what a tenant's consent is no word on");
        heard(Err(refused()), 70);
        assert!(asks(&daemon, -5), "the clock was set back");
        heard(Ok(()), 71);
        assert!(asks(&daemon, 71) && asks(&daemon, 71));
        heard(Err(other()), 72);
        assert!(asks(&daemon, 72), "another tenant's trouble begins nothing");
    }
}
