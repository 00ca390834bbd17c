//! What can go wrong with Microsoft, told by what the caller must do about it.

use std::time::Duration;

/// What a failed call asks of its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The net, a gateway or Microsoft had a bad moment: the next round will do.
    Transient,
    /// Microsoft asks us to wait; [`MicrosoftError::asked_wait`] says how long, when it was said.
    Throttled,
    /// We are not allowed to look: the tenant's consent (or, for the marketplace, Partner Center's
    /// registration of our app) is missing. Never "there is no licence".
    Consent,
    /// Our own credential is wrong: it will fail for every tenant until somebody mends it.
    Credential,
    /// The delta cursor is dead: enumerate from the start.
    Resync,
    /// A page token died in mid-sequence: begin this sequence again, the last cursor still holds.
    RestartSequence,
    /// The thing asked for does not exist.
    NotFound,
    /// The tenant lives in a national or government cloud.
    National,
    /// The answer is no answer: HTML, truncated, or of another shape.
    Unreadable,
    /// A link led out of the API it came from: it was not followed.
    Refused,
    /// Microsoft understood the request and will not do it as things stand: asking again without
    /// looking first makes no sense.
    Rejected,
    /// An operation that is still going on holds the lock: ask again in some minutes, when it has
    /// ended.
    Locked,
}

/// A call to Microsoft failed. `Display` says what is wrong and what to do, in words that hold no
/// token, secret or e-mail address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}{}", request_note(request_id.as_deref()))]
#[expect(clippy::struct_excessive_bools, reason = "each is an answer of its own to a caller")]
pub struct MicrosoftError {
    kind: ErrorKind,
    what: String,
    asked_wait: Option<Duration>,
    request_id: Option<String>,
    again: bool,
    held: bool,
    perhaps_done: bool,
    nothing_given: bool,
    credential_refused: bool,
    address_unverified: bool,
}

fn request_note(id: Option<&str>) -> String {
    id.map(|id| format!(" (request {id})")).unwrap_or_default()
}

impl MicrosoftError {
    /// An error of this kind; `what` is one sentence without a full stop.
    pub fn new(kind: ErrorKind, what: impl Into<String>) -> Self {
        let what = what.into();
        let error = Self {
            kind,
            what,
            asked_wait: None,
            request_id: None,
            again: false,
            held: false,
            perhaps_done: false,
            nothing_given: false,
            credential_refused: false,
            address_unverified: false,
        };
        Self { again: error.is_transient(), ..error }
    }

    /// What the caller must do.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// How long Microsoft asked us to wait, when it did.
    pub fn asked_wait(&self) -> Option<Duration> {
        self.asked_wait
    }

    /// Whether the same call may well succeed a little later without anybody's help.
    pub fn is_transient(&self) -> bool {
        match self.kind {
            ErrorKind::Transient | ErrorKind::Throttled => true,
            ErrorKind::Consent
            | ErrorKind::Credential
            | ErrorKind::Resync
            | ErrorKind::RestartSequence
            | ErrorKind::NotFound
            | ErrorKind::National
            | ErrorKind::Unreadable
            | ErrorKind::Refused
            | ErrorKind::Rejected
            | ErrorKind::Locked => false,
        }
    }

    /// The id under which Microsoft's support finds the request.
    pub fn request_id(&self) -> Option<&str> {
        self.request_id.as_deref()
    }

    /// Whether a call that changes something may have changed it nevertheless: the answer was lost
    /// on its way, or did not tell. Then read back before asking again; when it is `false`,
    /// nothing has changed. Of a call that only reads it says nothing.
    ///
    /// Source: marketplace-saas.md section 3.4.
    pub fn may_have_taken_effect(&self) -> bool {
        self.perhaps_done
    }

    /// The same error, with what Microsoft asked us to wait.
    #[must_use]
    pub(crate) fn asking(mut self, wait: Option<Duration>) -> Self {
        self.asked_wait = wait;
        self
    }

    /// The same error, with the request's id.
    #[must_use]
    pub(crate) fn of_request(mut self, id: Option<String>) -> Self {
        self.request_id = self.request_id.or(id);
        self
    }

    /// The same error, of an answer that a second try may well turn out better.
    #[must_use]
    pub(crate) fn worth_another_try(mut self) -> Self {
        self.again = true;
        self
    }

    /// The same error; who comes next waits at the gate of [`super::limits::Limits`].
    #[must_use]
    pub(crate) fn held_at_the_gate(mut self) -> Self {
        self.held = true;
        self
    }

    /// The same error, after all the tries it deserves: whoever called the failed call does not
    /// begin them anew.
    #[must_use]
    pub(crate) fn after_all_tries(mut self) -> Self {
        self.again = false;
        self
    }

    /// The same error, of a request that may have been carried out, or certainly was not.
    #[must_use]
    pub(crate) fn perhaps_done(mut self, perhaps: bool) -> Self {
        self.perhaps_done = perhaps;
        self
    }

    /// The same error, of a tenant that gave our app nothing at all.
    #[must_use]
    pub(crate) fn nothing_given(mut self) -> Self {
        self.nothing_given = true;
        self
    }

    /// Whether the tenant gave our app nothing at all.
    pub(crate) fn is_nothing_given(&self) -> bool {
        self.nothing_given
    }

    /// The same error, of a token that Entra refused for our own credential: it would in any tenant.
    #[must_use]
    pub(crate) fn credential_refused(mut self) -> Self {
        self.credential_refused = true;
        self
    }

    /// Whether Entra refused our own credential, whatever the tenant.
    pub(crate) fn is_credential_refused(&self) -> bool {
        self.credential_refused
    }

    /// The same error, of a subscription that Graph did not make because our address did not prove
    /// that it is ours.
    #[must_use]
    pub(crate) fn address_unverified(mut self) -> Self {
        self.address_unverified = true;
        self
    }

    /// Whether our address for change notifications did not prove that it is ours.
    pub(crate) fn is_address_unverified(&self) -> bool {
        self.address_unverified
    }

    pub(crate) fn may_try_again(&self) -> bool {
        self.again
    }

    pub(crate) fn is_held(&self) -> bool {
        self.held
    }
}
