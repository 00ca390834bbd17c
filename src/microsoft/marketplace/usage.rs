//! Metering: usage is told, one event or up to 25 at once, and what the marketplace made of it is
//! read back. An event that may have arrived can be sent again: it is known there by subscription,
//! dimension and hour.
//!
//! Source: marketplace-saas.md section 13.

use std::sync::Arc;

use jiff::Timestamp;
use reqwest::Method;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::call::{Call, refusal};
use super::{Marketplace, VERSION};
use crate::domain::{RawRecord, SubscriptionId, UsageEvent, UsageId, hour_of};
use crate::microsoft::error::{ErrorKind, MicrosoftError};
use crate::microsoft::http::Answer;
use crate::microsoft::json::{self, Read};
use crate::microsoft::meter::Meter;

const ONE: &str = "POST /api/usageEvent";
const BATCH: &str = "POST /api/batchUsageEvent";
const ROWS: &str = "GET /api/usageEvents";

/// How many events one request may carry.
pub const USAGE_BATCH_MAX: usize = 25;

/// The longest word of a status that is kept, in bytes.
const WORD_MAX: usize = 40;

/// What the marketplace says of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UsageStatus {
    /// It counts.
    Accepted,
    /// One for this subscription, dimension and hour counted before.
    Duplicate,
    /// It is older than 24 hours.
    Expired,
    /// The marketplace had a fault of its own.
    Error,
    /// There is no such subscription.
    ResourceNotFound,
    /// The subscription is not of an offer of our app's.
    ResourceNotAuthorized,
    /// The subscription was not active then.
    ResourceNotActive,
    /// The plan has no such dimension.
    InvalidDimension,
    /// The quantity is not allowed.
    InvalidQuantity,
    /// Something in it is wrong.
    BadArgument,
    /// A word that Microsoft added later, or none; kept as it is.
    Unrecognized(Arc<str>),
}

impl UsageStatus {
    /// The word, whatever its case.
    pub fn from_word(word: &str) -> Self {
        match word.trim().to_ascii_lowercase().as_str() {
            "accepted" => Self::Accepted,
            "duplicate" => Self::Duplicate,
            "expired" => Self::Expired,
            "error" => Self::Error,
            "resourcenotfound" => Self::ResourceNotFound,
            "resourcenotauthorized" => Self::ResourceNotAuthorized,
            "resourcenotactive" => Self::ResourceNotActive,
            "invaliddimension" => Self::InvalidDimension,
            "invalidquantity" => Self::InvalidQuantity,
            "badargument" => Self::BadArgument,
            _ => {
                let plain = word.trim().chars().filter(char::is_ascii_alphanumeric);
                Self::Unrecognized(plain.take(WORD_MAX).collect::<String>().into())
            }
        }
    }

    /// Microsoft's word.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Accepted => "Accepted",
            Self::Duplicate => "Duplicate",
            Self::Expired => "Expired",
            Self::Error => "Error",
            Self::ResourceNotFound => "ResourceNotFound",
            Self::ResourceNotAuthorized => "ResourceNotAuthorized",
            Self::ResourceNotActive => "ResourceNotActive",
            Self::InvalidDimension => "InvalidDimension",
            Self::InvalidQuantity => "InvalidQuantity",
            Self::BadArgument => "BadArgument",
            Self::Unrecognized(word) => word,
        }
    }
}

/// What the marketplace says of an event of ours.
#[derive(Clone, Debug)]
pub struct UsageSaid {
    /// Of which.
    pub id: UsageId,
    /// What.
    pub status: UsageStatus,
    /// `usageEventId` of what counts.
    pub reference: Option<Arc<str>>,
    /// Of a duplicate: the quantity that counts.
    pub accepted: Option<f64>,
    /// The record as it came.
    pub raw: RawRecord,
}

/// Usage as the marketplace has it: of one subscription, dimension and plan on one day.
#[derive(Clone, Debug, PartialEq)]
pub struct UsageRow {
    /// `usageDate`: the day's first moment.
    pub day: Timestamp,
    /// `usageResourceId`.
    pub subscription: SubscriptionId,
    /// `dimension`.
    pub dimension: Arc<str>,
    /// `planId`, in lower case.
    pub plan: Arc<str>,
    /// `reconStatus`, such as `Submitted`, `Accepted`, `Rejected`, `Mismatch`.
    pub status: Arc<str>,
    /// `submittedQuantity`: what was told.
    pub submitted: f64,
    /// `processedQuantity`: what is billed so far.
    pub processed: f64,
    /// `submittedCount`: by how many events.
    pub events: Option<u64>,
}

#[derive(Deserialize)]
struct Results<'a> {
    #[serde(borrow, default)]
    result: Option<Vec<&'a RawValue>>,
}

impl Marketplace {
    /// Tells of up to [`USAGE_BATCH_MAX`] events. Those that the answer does not speak of are not in
    /// the result: send them again.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Rejected`] when the whole request is refused, which one bad event is enough for:
    /// send them one by one. Otherwise as [`Self::subscription`]; sending again is always safe.
    pub async fn tell_usage(
        &self,
        meter: &Meter,
        events: &[Arc<UsageEvent>],
    ) -> Result<Vec<UsageSaid>, MicrosoftError> {
        let records: Vec<Value> = events.iter().map(|it| record(it)).collect();
        let url = self.base.join(&format!("/api/batchUsageEvent?{VERSION}"))?;
        let call = Call::idempotent(BATCH, Method::POST, url);
        let call = call.body(&json!({ "request": records })).speaks(&[400]);
        let read = |answer: &Answer| match answer.status.as_u16() {
            400 => {
                let what = "it will not have this batch of usage";
                Err(refusal(BATCH, answer, ErrorKind::Rejected, what))
            }
            _ => read_batch(events, answer),
        };
        self.call(meter, &call, read).await
    }

    /// Tells of one event.
    ///
    /// # Errors
    ///
    /// As [`Self::subscription`]; a refusal is no error. Sending again is always safe.
    pub async fn tell_one_usage(
        &self,
        meter: &Meter,
        event: &UsageEvent,
    ) -> Result<UsageSaid, MicrosoftError> {
        let url = self.base.join(&format!("/api/usageEvent?{VERSION}"))?;
        let call = Call::idempotent(ONE, Method::POST, url).body(&record(event));
        let read = |answer: &Answer| {
            let raw: &RawValue = json::body(ONE, answer)?;
            let value: Value = json::body(ONE, answer)?;
            Ok(match answer.status.as_u16() {
                409 => said(event.id, UsageStatus::Duplicate, &value, raw),
                400 => said(event.id, why_refused(&value), &value, raw),
                // An answer without the word is one to an event that counts.
                _ => {
                    let word = json::word(&value, "status").unwrap_or("Accepted");
                    said(event.id, UsageStatus::from_word(word), &value, raw)
                }
            })
        };
        self.call(meter, &call.speaks(&[400, 409]), read).await
    }

    /// What the marketplace has of days from one moment to another.
    ///
    /// # Errors
    ///
    /// As [`Self::subscription`].
    pub async fn usage_rows(
        &self,
        meter: &Meter,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<Read<UsageRow>>, MicrosoftError> {
        let mut url = self.base.join(&format!("/api/usageEvents?{VERSION}"))?;
        url.query_pairs_mut()
            .append_pair("usageStartDate", &whole_seconds(from))
            .append_pair("UsageEndDate", &whole_seconds(to));
        let read = |answer: &Answer| {
            if json::text(ROWS, answer)?.is_empty() {
                return Ok(Vec::new());
            }
            let rows: Vec<&RawValue> = json::body(ROWS, answer)?;
            Ok(rows.into_iter().map(|raw| Read::of(raw, row)).collect())
        };
        self.call(meter, &Call::get(ROWS, url), read).await
    }
}

/// An event as it is sent. Its quantity is a JSON number: up to 15 digits are the very ones of the
/// sum, beyond them it is the nearest double, which is all that Microsoft reads.
fn record(it: &UsageEvent) -> Value {
    let quantity = it.quantity.to_string().parse::<serde_json::Number>();
    json!({
        "resourceId": it.key.subscription.to_string(),
        "quantity": quantity.map_or(Value::Null, Value::Number),
        "dimension": *it.key.dimension,
        "effectiveStartTime": whole_seconds(it.effective),
        "planId": *it.plan,
    })
}

fn whole_seconds(at: Timestamp) -> String {
    Timestamp::from_second(at.as_second()).unwrap_or(at).to_string()
}

fn read_batch(
    events: &[Arc<UsageEvent>],
    answer: &Answer,
) -> Result<Vec<UsageSaid>, MicrosoftError> {
    let results: Results<'_> = json::body(BATCH, answer)?;
    let results = results.result.ok_or_else(|| json::no_json(BATCH, answer))?;
    let mut left: Vec<&Arc<UsageEvent>> = events.iter().collect();
    let mut all = Vec::new();
    for raw in results {
        let value: Value = serde_json::from_str(raw.get()).unwrap_or_default();
        let Some(place) = left.iter().position(|it| is_of(&value, it)) else { continue };
        let event = left.remove(place);
        let status = UsageStatus::from_word(json::word(&value, "status").unwrap_or_default());
        all.push(said(event.id, status, &value, raw));
    }
    Ok(all)
}

/// Whether an item of an answer speaks of this event. What it leaves out is no contradiction, but
/// the subscription it must name.
fn is_of(item: &Value, event: &UsageEvent) -> bool {
    let dimension = json::word(item, "dimension");
    let start = json::moment(item, "effectiveStartTime");
    json::id::<SubscriptionId>(item, "resourceId") == Ok(event.key.subscription)
        && dimension.is_none_or(|it| it.eq_ignore_ascii_case(&event.key.dimension))
        && start.is_none_or(|it| hour_of(it) == event.key.hour)
}

/// Of a duplicate it is the first event that counts: its id and quantity are told.
fn said(id: UsageId, status: UsageStatus, value: &Value, raw: &RawValue) -> UsageSaid {
    let nested = ["/error/additionalInfo/acceptedMessage", "/additionalInfo/acceptedMessage"];
    let first = nested.iter().find_map(|it| value.pointer(it));
    let counts = if status == UsageStatus::Duplicate { first } else { Some(value) };
    let reference = counts.and_then(|it| json::id::<SubscriptionId>(it, "usageEventId").ok());
    UsageSaid {
        id,
        reference: reference.map(|it| it.to_string().into()),
        accepted: first.and_then(|it| number(it, "quantity").ok().flatten()),
        status,
        raw: raw.get().into(),
    }
}

/// The word for a refusal of one event: the first detail's code, else the error's own.
fn why_refused(value: &Value) -> UsageStatus {
    let detail = value.pointer("/details/0/code").and_then(Value::as_str);
    let words = [detail, json::word(value, "code"), json::word(value, "status")];
    let statuses = words.into_iter().flatten().map(UsageStatus::from_word);
    let mut known = statuses.filter(|it| !matches!(it, UsageStatus::Unrecognized(_)));
    known.next().unwrap_or(UsageStatus::BadArgument)
}

fn row(value: &Value) -> Result<UsageRow, String> {
    let day = json::moment(value, "usageDate").ok_or("it has no `usageDate`")?;
    let amount = |key| number(value, key).map(Option::unwrap_or_default);
    Ok(UsageRow {
        day,
        subscription: json::id(value, "usageResourceId")?,
        dimension: json::word(value, "dimension").unwrap_or_default().into(),
        plan: json::lower(value, "planId"),
        status: json::word(value, "reconStatus").unwrap_or_default().into(),
        submitted: amount("submittedQuantity")?,
        processed: amount("processedQuantity")?,
        events: json::count(value, "submittedCount")?,
    })
}

/// A number, also as text; absent and `null` are none.
fn number(value: &Value, key: &str) -> Result<Option<f64>, String> {
    let wrong = || format!("its `{key}` is no number");
    let found = match value.get(key) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Number(it)) => it.as_f64(),
        Some(Value::String(it)) => it.trim().parse().ok(),
        Some(Value::Bool(_) | Value::Array(_) | Value::Object(_)) => None,
    };
    found.filter(|it| it.is_finite()).map(Some).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUBSCRIPTION: &str = "5d0c1f22-7a31-4c8e-1b2f-90aa3344ee10";

    #[test]
    fn statuses_are_known_by_word_and_unknown_ones_kept_plain() {
        let check = |word: &str, reads: &str| {
            assert_eq!(UsageStatus::from_word(word).as_str(), reads, "{word}");
        };
        check("accepted", "Accepted");
        check(" ResourceNotActive ", "ResourceNotActive");
        check("Deferred", "Deferred");
        check("mia@customer.example \u{1b}[2J", "miacustomerexample2J");
        check("", "");
    }

    #[test]
    fn a_refusal_of_one_event_is_named_by_its_first_detail() {
        let check = |body: Value, status: UsageStatus| {
            assert_eq!(why_refused(&body), status, "{body}");
        };
        let detail = json!({ "code": "BadArgument", "details": [{ "code": "InvalidDimension" }] });
        check(detail, UsageStatus::InvalidDimension);
        check(json!({ "code": "Expired" }), UsageStatus::Expired);
        check(json!({ "code": "BadRequest" }), UsageStatus::BadArgument);
        check(json!("no"), UsageStatus::BadArgument);
    }

    #[test]
    fn a_row_is_read_with_its_numbers_in_any_shape() {
        let row = row(&json!({ "usageDate": "2026-05-02T00:00:00", "dimension": "dim1",
            "usageResourceId": SUBSCRIPTION, "planId": "Team", "reconStatus": "Accepted",
            "submittedQuantity": 3.5, "processedQuantity": "3.5", "submittedCount": 2,
            "offerName": null }))
        .unwrap();
        assert_eq!(row.day.to_string(), "2026-05-02T00:00:00Z");
        assert_eq!((&*row.plan, row.events), ("team", Some(2)));
        assert!((row.submitted - row.processed).abs() < 1e-9);
        assert!(super::row(&json!({ "usageDate": "2026-05-02" })).is_err());
    }
}
