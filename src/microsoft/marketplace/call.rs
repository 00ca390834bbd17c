//! One call to the fulfillment API: its token, its ids, what an answer means, and when to repeat it.

use reqwest::Method;
use serde_json::Value;
use url::Url;
use uuid::Uuid;

use super::Marketplace;
use crate::microsoft::error::{ErrorKind, MicrosoftError};
use crate::microsoft::http::{Answer, Outgoing};
use crate::microsoft::json;
use crate::microsoft::limits::throttled;
use crate::microsoft::meter::Meter;
use crate::microsoft::pace::retry_after;

pub(super) const LIST_ON: &str = "GET /api/saas/subscriptions?continuationToken";

/// What a second request of the same would do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Repeat {
    /// Nothing: it only reads.
    Reads,
    /// The same as one.
    Idempotent,
    /// Perhaps another thing, once the first one took effect: who called must look first.
    Never,
}

/// One logical call.
pub(super) struct Call {
    endpoint: &'static str,
    outgoing: Outgoing,
    repeat: Repeat,
    spoken: &'static [u16],
}

impl Call {
    /// A call that reads.
    pub(super) fn get(endpoint: &'static str, url: Url) -> Self {
        Self { endpoint, outgoing: Outgoing::get(url), repeat: Repeat::Reads, spoken: &[] }
    }

    /// A call that may be made twice: resolve, activate, acknowledge.
    ///
    /// Source: marketplace-saas.md sections 3.4 and 3.6.
    pub(super) fn idempotent(endpoint: &'static str, method: Method, url: Url) -> Self {
        let outgoing = Outgoing::new(method, url);
        Self { endpoint, outgoing, repeat: Repeat::Idempotent, spoken: &[] }
    }

    /// A call that is not made again once it may have taken effect: change, cancel.
    ///
    /// Source: as for [`Self::idempotent`].
    pub(super) fn once(endpoint: &'static str, method: Method, url: Url) -> Self {
        Self { repeat: Repeat::Never, ..Self::idempotent(endpoint, method, url) }
    }

    /// With this body; without one a POST still says that it has none.
    #[must_use]
    pub(super) fn body(mut self, body: &Value) -> Self {
        self.outgoing.body = Some(body.to_string().into_bytes());
        self
    }

    /// With an empty body, its length said.
    #[must_use]
    pub(super) fn no_body(mut self) -> Self {
        self.outgoing.body = Some(Vec::new());
        self.outgoing = self.outgoing.with("content-length", "0");
        self
    }

    /// With a header that nothing prints.
    #[must_use]
    pub(super) fn secret(mut self, name: &'static str, value: &str) -> Self {
        self.outgoing = self.outgoing.with_secret(name, value);
        self
    }

    /// These statuses say something of their own here: they are read, not judged.
    #[must_use]
    pub(super) fn speaks(mut self, statuses: &'static [u16]) -> Self {
        self.spoken = statuses;
        self
    }
}

impl Marketplace {
    /// Makes the call, again while that makes sense, and reads the answer.
    pub(super) async fn call<T>(
        &self,
        meter: &Meter,
        call: &Call,
        read: impl Fn(&Answer) -> Result<T, MicrosoftError>,
    ) -> Result<T, MicrosoftError> {
        let fresh = || Uuid::new_v4().to_string();
        // One logical action: all its tries share the correlation id.
        let mut outgoing = call.outgoing.clone().with("content-type", "application/json");
        outgoing = outgoing.with("x-ms-correlationid", &fresh());
        let mut tries = self.pace.tries(meter);
        let mut unsure = false;
        // A change keeps its request id: Microsoft may know the second try by it.
        let kept = (call.repeat != Repeat::Reads).then(fresh);
        loop {
            let id = || kept.clone().unwrap_or_else(fresh);
            let answer = self.with_token(meter, call, &outgoing, id).await;
            let known = answer.as_ref().ok().and_then(Answer::request_id);
            let error = match answer {
                Ok(answer) => match read(&answer) {
                    Ok(value) => return Ok(value),
                    // Done, but what came of it cannot be read.
                    Err(error) if answer.status.is_success() => error.perhaps_done(true),
                    Err(error) => error,
                },
                Err(error) => error,
            };
            // A refusal of the second try may just mean that the first one was carried out.
            unsure |= error.may_have_taken_effect();
            let error = error.perhaps_done(unsure).of_request(known);
            if unsure && call.repeat == Repeat::Never {
                return Err(error);
            }
            tries.again(error).await?;
        }
    }

    /// Sends with a token; one that is refused is renewed once, for 401 and 403 are both what an
    /// expired one gets.
    ///
    /// Source: marketplace-saas.md section 3.4.
    async fn with_token(
        &self,
        meter: &Meter,
        call: &Call,
        outgoing: &Outgoing,
        id: impl Fn() -> String,
    ) -> Result<Answer, MicrosoftError> {
        let home = self.tokens.home();
        let mut renewed = false;
        loop {
            let token = self.tokens.token(meter, home, &self.resource).await;
            // Without a token nothing went out.
            let (token, _) = token.map_err(|error| error.perhaps_done(false))?;
            let request = outgoing.clone().with("x-ms-requestid", &id());
            let request = request.bearing(token.text());
            let answer = self.http.send(call.endpoint, meter, request).await?;
            let refused = matches!(answer.status.as_u16(), 401 | 403);
            if refused && !renewed {
                self.tokens.forget(home, &self.resource, &token).await;
                renewed = true;
                continue;
            }
            return self.judge(call, answer);
        }
    }

    /// The status is the truth; bodies of errors come in too many shapes to be read.
    ///
    /// Source: marketplace-saas.md sections 3.3 and 3.4.
    fn judge(&self, call: &Call, answer: Answer) -> Result<Answer, MicrosoftError> {
        let (endpoint, status) = (call.endpoint, answer.status.as_u16());
        let asked = retry_after(&answer.headers, self.pace.now());
        let says = |kind, what: &str| refusal(endpoint, &answer, kind, what);
        if call.spoken.contains(&status) {
            return Ok(answer);
        }
        let error = match status {
            200..=299 => return Ok(answer),
            300..=399 => says(ErrorKind::Refused, "redirects are not followed; check [microsoft]"),
            400 | 404 if endpoint == LIST_ON => restart(),
            401 | 403 => says(
                ErrorKind::Consent,
                "our app may not read the subscriptions: in Partner Center (offer, Technical \
                 configuration, of the preview too) tenant and application id must be those of \
                 [publisher] and [identity], and the marketplace API needs a service principal in that tenant \
                 (`az ad sp create --id 20e940b3-4c77-4b0b-9a53-9e16a1b010a7`)",
            ),
            404 => says(ErrorKind::NotFound, "there is no such subscription"),
            429 => throttled(asked),
            503 if asked.is_some() => throttled(asked).perhaps_done(true),
            408 | 500 | 502..=504 | 509 => {
                says(ErrorKind::Transient, &format!("it came with {}", answer.looks_like()))
                    .perhaps_done(true)
            }
            _ => says(ErrorKind::Unreadable, &format!("it came with {}", answer.looks_like())),
        };
        Err(error.of_request(answer.request_id()))
    }
}

/// What an answer that is none of the good ones means.
pub(super) fn refusal(
    endpoint: &str,
    answer: &Answer,
    kind: ErrorKind,
    what: &str,
) -> MicrosoftError {
    let status = answer.status.as_u16();
    let code = code(answer).map(|it| format!(" ({it})")).unwrap_or_default();
    let what = format!("the marketplace ({endpoint}) answers {status}{code}: {what}");
    MicrosoftError::new(kind, what).of_request(answer.request_id())
}

/// The error's code in any of its shapes; nothing but a plain word is taken, for messages may
/// hold anything.
///
/// Source: marketplace-saas.md section 3.3.
fn code(answer: &Answer) -> Option<String> {
    let body: Value = serde_json::from_slice(&answer.body).ok()?;
    let nested = ["error", "Error"].iter().find_map(|it| body.get(it)).unwrap_or(&body);
    let code = json::word(nested, "code").or_else(|| json::word(nested, "Code"))?;
    let plain = (1..=40).contains(&code.len()) && code.chars().all(|c| c.is_ascii_alphanumeric());
    plain.then(|| code.to_owned())
}

/// How long a continuation token lives is nowhere said.
///
/// Source: marketplace-saas.md section 12.
fn restart() -> MicrosoftError {
    let what =
        "the marketplace no longer accepts the list's continuation token: begin the list anew";
    MicrosoftError::new(ErrorKind::RestartSequence, what)
}
