//! The SaaS fulfillment API, version 2: which subscriptions there are and where each stands.
//!
//! `operation` is about what happens to one of them, `purchase` about one that is being bought,
//! `change` about what we ask for, `usage` about metering; `call` sends, judges and repeats.

mod call;
mod change;
mod operation;
mod parse;
mod purchase;
mod usage;

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use url::Url;

use super::Page;
use super::error::{ErrorKind, MicrosoftError};
use super::http::{Answer, Http};
use super::json::{self, Read};
use super::link::{BadLink, Base, Link};
use super::login::{Resource, TokenSource};
use super::meter::Meter;
use super::pace::Pace;
use crate::domain::{Subscription, SubscriptionId};

use self::call::{Call, LIST_ON};
pub use self::change::{Accepted, Cancelled, Change};
pub use self::operation::{Acknowledged, Operation, Verdict};
pub use self::parse::Glimpse;
pub use self::purchase::{AvailablePlan, BillingTerm, Resolved};
pub use self::usage::{USAGE_BATCH_MAX, UsageRow, UsageSaid, UsageStatus};

/// The marketplace API's resource. Two look-alikes in public samples are wrong.
///
/// Source: marketplace-saas.md section 2.2.
const SCOPE: &str = "20e940b3-4c77-4b0b-9a53-9e16a1b010a7/.default";
/// The only version there is.
const VERSION: &str = "api-version=2018-08-31";
/// Where the API's paths lie.
const INSIDE: &[&str] = &["/api/saas/"];
const LIST: &str = "GET /api/saas/subscriptions";
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
        self.call(meter, &Call::get(endpoint, url), |answer| self.read_page(answer, next)).await
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
        let url = self.at(id, "")?;
        let read = |answer: &Answer| {
            let raw: &RawValue = json::body(ONE, answer)?;
            Ok(Read::of(raw, |it| parse::subscription(it, self.pace.now())))
        };
        match self.call(meter, &Call::get(ONE, url), read).await {
            Ok(record) => Ok(Some(record)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The address of something of this subscription's; `path` is empty or begins with `/`.
    fn at(&self, id: SubscriptionId, path: &str) -> Result<Url, MicrosoftError> {
        self.base.join(&format!("/api/saas/subscriptions/{id}{path}?{VERSION}"))
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
        Ok(versioned(target))
    }
}

/// The target with the version that every request must name.
fn versioned(target: String) -> String {
    let named = target.to_ascii_lowercase().contains("api-version=");
    let joint = if target.contains('?') { '&' } else { '?' };
    if named { target } else { format!("{target}{joint}{VERSION}") }
}
