//! Operations: what happens to a subscription, and our word on it.

use std::sync::Arc;

use jiff::Timestamp;
use reqwest::Method;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::Marketplace;
use super::call::{Call, refusal};
use crate::domain::{Action, OperationStatus, RequestSource, SubscriptionId};
use crate::microsoft::Meter;
use crate::microsoft::error::{ErrorKind, MicrosoftError};
use crate::microsoft::http::Answer;
use crate::microsoft::json::{self, Read};

pub(super) const ONE: &str = "GET /api/saas/subscriptions/{id}/operations/{id}";
const ALL: &str = "GET /api/saas/subscriptions/{id}/operations";
const DECIDE: &str = "PATCH /api/saas/subscriptions/{id}/operations/{id}";

/// Something that happens to a subscription.
///
/// Source: marketplace-saas.md section 5.4.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// `id`; also that of the webhook that tells of it.
    pub id: Arc<str>,
    /// `subscriptionId`.
    pub subscription: SubscriptionId,
    /// What it does.
    pub action: Action,
    /// Where it stands.
    pub status: OperationStatus,
    /// The plan that is asked for, in lower case.
    pub plan: Option<Arc<str>>,
    /// The quantity that is asked for; may say 1 for a flat rate.
    pub quantity: Option<u64>,
    /// Who asked for it.
    pub source: RequestSource,
    /// `timeStamp`.
    pub at: Option<Timestamp>,
}

/// What we say to a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may happen.
    Success,
    /// It may not. Microsoft has been seen to ignore this: read the subscription afterwards.
    Failure,
}

/// What became of our verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acknowledged {
    /// It was taken down.
    Recorded,
    /// The operation no longer waits for it, or took one down before: read it to learn its end.
    TooLate,
}

#[derive(Deserialize)]
struct Pending<'a> {
    #[serde(borrow, default)]
    operations: Option<Vec<&'a RawValue>>,
}

impl Marketplace {
    /// One operation as it is now; `None` when the marketplace does not know it, or not the
    /// subscription.
    ///
    /// # Errors
    ///
    /// As [`Self::subscription`].
    ///
    /// Source: marketplace-saas.md section 7.2: 404 as documented, 400 as it really is.
    pub async fn operation(
        &self,
        meter: &Meter,
        id: SubscriptionId,
        operation: &str,
    ) -> Result<Option<Read<Operation>>, MicrosoftError> {
        let Some(operation) = plain(operation) else { return Ok(None) };
        let url = self.at(id, &format!("/operations/{operation}"))?;
        self.call(meter, &Call::get(ONE, url).speaks(&[400, 404]), read_one).await
    }

    /// The operations that wait or are being carried out. A safety net only: fresh ones may be
    /// missing, and for some publishers it is always empty. Also empty for an unknown
    /// subscription.
    ///
    /// # Errors
    ///
    /// As [`Self::subscription`].
    ///
    /// Source: marketplace-saas.md section 7.1.
    pub async fn operations(
        &self,
        meter: &Meter,
        id: SubscriptionId,
    ) -> Result<Vec<Read<Operation>>, MicrosoftError> {
        let call = Call::get(ALL, self.at(id, "/operations")?).speaks(&[400, 404]);
        self.call(meter, &call, read_all).await
    }

    /// Says what we think of a change. Not for operations of our own (source `Partner`), which
    /// get a 500.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] when the marketplace does not know the operation; otherwise as
    /// [`Self::subscription`]. [`MicrosoftError::may_have_taken_effect`] tells whether the verdict
    /// may have arrived.
    ///
    /// Source: marketplace-saas.md section 7.3.
    pub async fn acknowledge(
        &self,
        meter: &Meter,
        id: SubscriptionId,
        operation: &str,
        verdict: Verdict,
    ) -> Result<Acknowledged, MicrosoftError> {
        const UNKNOWN: &str = "there is no such operation: read the subscription";
        let Some(operation) = plain(operation) else {
            return Err(MicrosoftError::new(ErrorKind::NotFound, UNKNOWN));
        };
        let url = self.at(id, &format!("/operations/{operation}"))?;
        // `Success`, not `Succeeded`: a wrong word gets a 200 all the same.
        let status = match verdict {
            Verdict::Success => "Success",
            Verdict::Failure => "Failure",
        };
        let call = Call::idempotent(DECIDE, Method::PATCH, url);
        let call = call.body(&json!({ "status": status })).speaks(&[400, 404, 409]);
        let read = |answer: &Answer| match answer.status.as_u16() {
            409 => Ok(Acknowledged::TooLate),
            400 | 404 => Err(refusal(DECIDE, answer, ErrorKind::NotFound, UNKNOWN)),
            _ => Ok(Acknowledged::Recorded),
        };
        self.call(meter, &call, read).await
    }
}

/// The id of an operation, if it can stand in a path as it is: it may come from a webhook.
pub(super) fn plain(operation: &str) -> Option<&str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let fits = (1..=64).contains(&operation.len());
    (fits && operation.chars().all(plain)).then_some(operation)
}

/// An answer about one operation; 400 and 404 say that there is none.
pub(super) fn read_one(answer: &Answer) -> Result<Option<Read<Operation>>, MicrosoftError> {
    if !answer.status.is_success() {
        return Ok(None);
    }
    let raw: &RawValue = json::body(ONE, answer)?;
    Ok(Some(Read::of(raw, parse)))
}

/// No operations are no body, `{}`, `[]` or an empty list; some servers send a bare list.
fn read_all(answer: &Answer) -> Result<Vec<Read<Operation>>, MicrosoftError> {
    let text = if answer.status.is_success() { json::text(ALL, answer)? } else { "" };
    let records: Vec<&RawValue> = match text.chars().next() {
        None => Vec::new(),
        Some('[') => json::body(ALL, answer)?,
        Some(_) => json::body::<Pending<'_>>(ALL, answer)?.operations.unwrap_or_default(),
    };
    Ok(records.into_iter().map(|raw| Read::of(raw, parse)).collect())
}

/// One operation. Unusable is only what names neither itself nor its subscription, or a quantity
/// that is none.
fn parse(value: &Value) -> Result<Operation, String> {
    let word = |key| json::word(value, key).filter(|it| !it.is_empty());
    let source = word("operationRequestSource").or_else(|| word("operationRequestedSource"));
    Ok(Operation {
        id: word("id").ok_or("it has no `id`")?.to_ascii_lowercase().into(),
        subscription: json::id(value, "subscriptionId")?,
        action: Action::from_word(word("action").unwrap_or_default()),
        status: OperationStatus::from_word(word("status").unwrap_or_default()),
        plan: word("planId").map(|it| it.to_ascii_lowercase().into()),
        quantity: json::count(value, "quantity")?,
        source: RequestSource::from_word(source.unwrap_or_default()),
        at: json::moment(value, "timeStamp"),
    })
}
