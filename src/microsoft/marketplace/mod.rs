//! The SaaS fulfillment API, version 2: which subscriptions there are and where each stands.

mod parse;

use futures_util::FutureExt as _;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use url::Url;
use uuid::Uuid;

use super::Page;
use super::error::{ErrorKind, MicrosoftError};
use super::http::{Answer, Http, Outgoing};
use super::json::{self, Read};
use super::limits::throttled;
use super::link::{BadLink, Base, Link};
use super::login::{Resource, TokenSource};
use super::meter::Meter;
use super::pace::{Pace, retry_after};
use crate::domain::{Subscription, SubscriptionId};

/// The marketplace API's resource. Two look-alikes in public samples are wrong.
///
/// Source: marketplace-saas.md section 2.2.
const SCOPE: &str = "20e940b3-4c77-4b0b-9a53-9e16a1b010a7/.default";
/// The only version there is.
const VERSION: &str = "api-version=2018-08-31";
/// Where the API's paths lie.
const INSIDE: &[&str] = &["/api/saas/"];
const LIST: &str = "GET /api/saas/subscriptions";
const LIST_ON: &str = "GET /api/saas/subscriptions?continuationToken";
const ONE: &str = "GET /api/saas/subscriptions/{id}";

/// The client of the fulfillment API.
pub struct Marketplace {
    base: Base,
    http: Http,
    pace: Pace,
    tokens: Arc<TokenSource>,
    resource: Resource,
}

#[derive(Deserialize)]
struct Listing<'a> {
    #[serde(borrow, default)]
    subscriptions: Option<Vec<&'a RawValue>>,
    #[serde(rename = "@nextLink", default)]
    next: Option<Value>,
}

impl Marketplace {
    pub(super) fn new(url: Url, http: Http, pace: Pace, tokens: Arc<TokenSource>) -> Self {
        let resource = Resource { scope: SCOPE.into(), by_roles: false };
        Self { base: Base::new(url, INSIDE), http, pace, tokens, resource }
    }

    /// One page of all subscriptions of all offers, whatever their state.
    ///
    /// A page may be empty and still have a next one; how many a page holds says nothing.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::RestartSequence`] when the continuation token is refused; otherwise as
    /// [`Self::subscription`].
    ///
    /// Source: marketplace-saas.md section 6.3.
    pub async fn list_page(
        &self,
        meter: &Meter,
        next: Option<&Link>,
    ) -> Result<Page<Subscription>, MicrosoftError> {
        let (endpoint, url) = match next {
            Some(link) => (LIST_ON, self.base.url(link.as_str())?),
            None => (LIST, self.base.join(&format!("/api/saas/subscriptions?{VERSION}"))?),
        };
        self.call(meter, endpoint, url, |answer| self.read_page(answer, next)).await
    }

    /// One subscription as it is now; `None` when there is none of this id.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Consent`] when Partner Center does not know our app for this offer; what the
    /// token endpoint says; transient trouble that outlasted the retries.
    ///
    /// Source: marketplace-saas.md section 6.4.
    pub async fn subscription(
        &self,
        meter: &Meter,
        id: SubscriptionId,
    ) -> Result<Option<Read<Subscription>>, MicrosoftError> {
        let url = self.base.join(&format!("/api/saas/subscriptions/{id}?{VERSION}"))?;
        let read = |answer: &Answer| {
            let raw: &RawValue = json::body(ONE, answer)?;
            Ok(Read::of(raw, |it| parse::subscription(it, self.pace.now())))
        };
        match self.call(meter, ONE, url, read).await {
            Ok(record) => Ok(Some(record)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn read_page(
        &self,
        answer: &Answer,
        before: Option<&Link>,
    ) -> Result<Page<Subscription>, MicrosoftError> {
        // No subscriptions at all: no body at all.
        if json::text(LIST, answer)?.is_empty() {
            return Ok(Page { records: Vec::new(), next: None });
        }
        let listing: Listing<'_> = json::body(LIST, answer)?;
        let Some(records) = listing.subscriptions else {
            return Err(json::no_json(LIST, answer));
        };
        let now = self.pace.now();
        let records =
            records.into_iter().map(|raw| Read::of(raw, |it| parse::subscription(it, now)));
        let records = records.collect();
        let next = match listing.next {
            None | Some(Value::Null) => None,
            Some(Value::String(link)) if link.trim().is_empty() => None,
            Some(Value::String(link)) => {
                Some(Link::after(before, self.next_target(&link)?, false)?)
            }
            // A page that is not known to be the last must not pass for it.
            Some(_) => return Err(json::no_json(LIST, answer)),
        };
        Ok(Page { records, next })
    }

    /// Path and query of the next page. A link that is no address may still hold the continuation
    /// token, which is all that is needed.
    ///
    /// Source: marketplace-saas.md section 6.3: both ways are allowed.
    fn next_target(&self, link: &str) -> Result<String, MicrosoftError> {
        let target = match self.base.target(link) {
            Ok(target) => target,
            Err(BadLink::NoAddress) => {
                let token =
                    link.split(['?', '&']).find_map(|it| it.strip_prefix("continuationToken="));
                let plain = |it: &&str| !it.is_empty() && it.chars().all(|c| c.is_ascii_graphic());
                let token = token.filter(plain).ok_or(BadLink::NoAddress)?;
                format!("/api/saas/subscriptions?continuationToken={token}")
            }
            Err(outside) => return Err(outside.into()),
        };
        let versioned = target.to_ascii_lowercase().contains("api-version=");
        let joint = if target.contains('?') { '&' } else { '?' };
        Ok(if versioned { target } else { format!("{target}{joint}{VERSION}") })
    }

    async fn call<T: Send>(
        &self,
        meter: &Meter,
        endpoint: &'static str,
        url: Url,
        read: impl Fn(&Answer) -> Result<T, MicrosoftError> + Send + Sync,
    ) -> Result<T, MicrosoftError> {
        // One logical action: all its tries share the correlation id.
        let correlation = Uuid::new_v4().to_string();
        let outgoing = Outgoing::get(url)
            .with("content-type", "application/json")
            .with("x-ms-correlationid", &correlation);
        let read = &read;
        let outgoing = &outgoing;
        let once = || {
            async move {
                let answer = self.with_token(meter, endpoint, outgoing).await?;
                read(&answer).map_err(|error| error.of_request(answer.request_id()))
            }
            .boxed()
        };
        self.pace.retry(meter, once).await
    }

    /// Sends with a token; one that is refused is renewed once, for 401 and 403 are both what an
    /// expired one gets.
    ///
    /// Source: marketplace-saas.md section 3.4.
    async fn with_token(
        &self,
        meter: &Meter,
        endpoint: &'static str,
        outgoing: &Outgoing,
    ) -> Result<Answer, MicrosoftError> {
        let home = self.tokens.home();
        let mut renewed = false;
        loop {
            let (token, _) = self.tokens.token(meter, home, &self.resource).await?;
            let request = outgoing.clone().with("x-ms-requestid", &Uuid::new_v4().to_string());
            let answer = self.http.send(endpoint, meter, request.bearing(token.text())).await?;
            let refused = matches!(answer.status.as_u16(), 401 | 403);
            if refused && !renewed {
                self.tokens.forget(home, &self.resource, &token).await;
                renewed = true;
                continue;
            }
            return self.judge(endpoint, answer);
        }
    }

    /// The status is the truth; bodies of errors come in too many shapes to be read.
    ///
    /// Source: marketplace-saas.md sections 3.3 and 3.4.
    fn judge(&self, endpoint: &'static str, answer: Answer) -> Result<Answer, MicrosoftError> {
        let status = answer.status;
        let asked = retry_after(&answer.headers, self.pace.now());
        let says = |kind, what: &str| {
            let what = format!("the marketplace ({endpoint}) answers {}: {what}", status.as_u16());
            MicrosoftError::new(kind, what)
        };
        let error = match status.as_u16() {
            200..=299 => return Ok(answer),
            300..=399 => says(ErrorKind::Refused, "redirects are not followed; check [microsoft]"),
            400 | 404 if endpoint == LIST_ON => restart(),
            401 | 403 => says(
                ErrorKind::Consent,
                "our app may not read the subscriptions: in Partner Center (offer, Technical \
                 configuration) tenant and application id must be those of [publisher] and \
                 [identity], and the marketplace API needs a service principal in that tenant \
                 (`az ad sp create --id 20e940b3-4c77-4b0b-9a53-9e16a1b010a7`)",
            ),
            404 => says(ErrorKind::NotFound, "there is no such subscription"),
            429 => throttled(asked),
            503 if asked.is_some() => throttled(asked),
            408 | 500 | 502..=504 | 509 => {
                says(ErrorKind::Transient, &format!("it came with {}", answer.looks_like()))
            }
            _ => says(ErrorKind::Unreadable, &format!("it came with {}", answer.looks_like())),
        };
        Err(error.of_request(answer.request_id()))
    }
}

/// How long a continuation token lives is nowhere said.
///
/// Source: marketplace-saas.md section 12.
fn restart() -> MicrosoftError {
    let what =
        "the marketplace no longer accepts the list's continuation token: begin the list anew";
    MicrosoftError::new(ErrorKind::RestartSequence, what)
}
