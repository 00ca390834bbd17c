//! Reading Microsoft's JSON without trusting it: each rule here is a crash somebody had.

use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil;
use jiff::tz::TimeZone;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::domain::RawRecord;

use super::error::{ErrorKind, MicrosoftError};
use super::http::Answer;

/// A record, read or not.
#[derive(Clone, Debug)]
pub enum Read<T> {
    /// It was understood; beside it the record as it came.
    Understood(T, RawRecord),
    /// It was not: it is kept and reported, and the others go on.
    Odd {
        /// What could not be understood.
        why: String,
        /// The record as it came.
        raw: RawRecord,
    },
}

impl<T> Read<T> {
    /// Reads one record.
    pub(crate) fn of(raw: &RawValue, parse: impl FnOnce(&Value) -> Result<T, String>) -> Self {
        let record: RawRecord = Arc::from(raw.get());
        let value = serde_json::from_str(raw.get()).map_err(|it| it.to_string());
        match value.and_then(|value: Value| parse(&value)) {
            Ok(read) => Self::Understood(read, record),
            Err(why) => Self::Odd { why, raw: record },
        }
    }
}

/// The body as text: UTF-8, without byte order mark and surrounding space.
pub(crate) fn text<'a>(endpoint: &str, answer: &'a Answer) -> Result<&'a str, MicrosoftError> {
    let text = std::str::from_utf8(&answer.body).map_err(|_bad| no_json(endpoint, answer))?;
    Ok(text.trim_start_matches('\u{feff}').trim())
}

/// The body as this shape.
///
/// # Errors
///
/// [`ErrorKind::Unreadable`], worth another try: an answer cut off on its way or a gateway's page.
pub(crate) fn body<'a, T: Deserialize<'a>>(
    endpoint: &str,
    answer: &'a Answer,
) -> Result<T, MicrosoftError> {
    let text = text(endpoint, answer)?;
    serde_json::from_str(text).map_err(|bad| {
        let cut = bad.is_eof() && !text.is_empty();
        unlike(endpoint, answer, if cut { ", cut off in the middle" } else { "" })
    })
}

/// What is said of a body that is not what it should be.
pub(crate) fn no_json(endpoint: &str, answer: &Answer) -> MicrosoftError {
    unlike(endpoint, answer, "")
}

fn unlike(endpoint: &str, answer: &Answer, cut: &str) -> MicrosoftError {
    let what = format!(
        "Microsoft's answer ({endpoint}, {}) is not the JSON it should be: {}{cut}; if this stays, \
         check [microsoft] and what stands between",
        answer.status.as_u16(),
        answer.looks_like()
    );
    let error = MicrosoftError::new(ErrorKind::Unreadable, what).worth_another_try();
    error.of_request(answer.request_id())
}

/// A member as trimmed text; absent, `null` and anything but text are `None`.
pub(crate) fn word<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key)?.as_str().map(str::trim)
}

/// A member as text in lower case, shared; absent is empty.
pub(crate) fn lower(value: &Value, key: &str) -> Arc<str> {
    word(value, key).unwrap_or_default().to_ascii_lowercase().into()
}

/// A member that must be an id. What it is instead is not said: it may be anything, an address
/// too, and this goes into the log; the raw record has it.
pub(crate) fn id<T: std::str::FromStr>(value: &Value, key: &str) -> Result<T, String> {
    let text = word(value, key).ok_or_else(|| format!("it has no `{key}`"))?;
    let length = text.chars().count();
    text.parse().map_err(|_why| format!("its `{key}` is no usable GUID ({length} characters)"))
}

/// A list that may be absent or `null`; anything else is an error.
pub(crate) fn list<'a>(value: &'a Value, key: &str) -> Result<Option<&'a [Value]>, String> {
    match value.get(key) {
        None => Ok(None),
        Some(Value::Null) => Ok(Some(&[])),
        Some(Value::Array(items)) => Ok(Some(items)),
        Some(Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_)) => {
            Err(format!("its `{key}` is no list"))
        }
    }
}

/// A list of ids that may be absent or `null`.
pub(crate) fn ids<T: std::str::FromStr>(value: &Value, key: &str) -> Result<Vec<T>, String> {
    let one = |it: &Value| it.as_str().and_then(|it| it.trim().parse().ok());
    let items = list(value, key)?.unwrap_or_default().iter().filter(|it| !it.is_null()).map(one);
    items.collect::<Option<_>>().ok_or_else(|| format!("its `{key}` holds something else than ids"))
}

/// A yes or no, also as a word.
pub(crate) fn flag(value: &Value, key: &str) -> Option<bool> {
    match value.get(key)? {
        Value::Bool(flag) => Some(*flag),
        Value::String(word) if word.trim().eq_ignore_ascii_case("true") => Some(true),
        Value::String(word) if word.trim().eq_ignore_ascii_case("false") => Some(false),
        Value::Null | Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {
            None
        }
    }
}

/// A count in any of its five shapes: a number, a number as text, `""`, `null`, absent.
///
/// # Errors
///
/// What is wrong with it, for anything else: no number must not look like "no limit".
///
/// Source: marketplace-saas.md section 5.6.
pub(crate) fn count(value: &Value, key: &str) -> Result<Option<u64>, String> {
    let wrong = || Err(format!("its `{key}` is no number"));
    match value.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.trim().is_empty() => Ok(None),
        Some(Value::String(text)) => text.trim().parse().map(Some).or_else(|_bad| wrong()),
        Some(Value::Number(number)) => match (number.as_u64(), number.as_f64()) {
            (Some(whole), _) => Ok(Some(whole)),
            (None, Some(float)) if float >= 0.0 && float.fract() == 0.0 && float < 9.0e15 => {
                format!("{float:.0}").parse().map(Some).or_else(|_bad| wrong())
            }
            (None, _) => wrong(),
        },
        Some(Value::Bool(_) | Value::Array(_) | Value::Object(_)) => wrong(),
    }
}

/// A moment: with `Z`, with an offset, without zone (then UTC) or a bare date; up to any number of
/// fractional digits. The year 1, .NET's "never", is absent, and so is what cannot be read: the
/// raw record keeps it.
///
/// Source: marketplace-saas.md section 5.6.
pub(crate) fn moment(value: &Value, key: &str) -> Option<Timestamp> {
    let text = shortened(word(value, key)?);
    let zoned = text.parse::<Timestamp>().ok();
    let local = || {
        let civil: civil::DateTime = text.parse().ok()?;
        Some(civil.to_zoned(TimeZone::UTC).ok()?.timestamp())
    };
    let moment = zoned.or_else(local)?;
    let never: Timestamp = civil::date(2, 1, 1).to_zoned(TimeZone::UTC).ok()?.timestamp();
    (moment >= never).then_some(moment)
}

/// Fractions beyond nanoseconds cut off.
fn shortened(text: &str) -> String {
    let Some((whole, rest)) = text.split_once('.') else { return text.to_owned() };
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (digits, zone) = rest.split_at(end);
    let digits: String = digits.chars().take(9).collect();
    if digits.is_empty() { format!("{whole}{zone}") } else { format!("{whole}.{digits}{zone}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn dates_come_with_and_without_zone_fraction_and_time() {
        let check = |text: &str, want: Option<&str>| {
            let got = moment(&json!({ "d": text }), "d").map(|it| it.to_string());
            assert_eq!(got.as_deref(), want, "{text}");
        };
        check("2026-03-05T00:00:00Z", Some("2026-03-05T00:00:00Z"));
        check("2026-03-05T00:00:00", Some("2026-03-05T00:00:00Z"));
        check("2026-03-05", Some("2026-03-05T00:00:00Z"));
        check("2026-03-05T02:00:00+02:00", Some("2026-03-05T00:00:00Z"));
        check("2026-03-04T09:15:02.1234567Z", Some("2026-03-04T09:15:02.1234567Z"));
        check("2026-03-04T09:15:02.12345678912Z", Some("2026-03-04T09:15:02.123456789Z"));
        check("0001-01-01T00:00:00", None);
        check("0001-01-01T00:00:00Z", None);
        check("", None);
        check("soon", None);
        assert_eq!(moment(&json!({ "d": null }), "d"), None);
        assert_eq!(moment(&json!({ "d": 5 }), "d"), None);
    }

    #[test]
    fn a_count_has_five_shapes_and_nothing_else() {
        let check = |value: Value, want: Result<Option<u64>, ()>| {
            assert_eq!(count(&value, "q").map_err(|_why| ()), want, "{value}");
        };
        check(json!({ "q": 20 }), Ok(Some(20)));
        check(json!({ "q": "20" }), Ok(Some(20)));
        check(json!({ "q": 20.0 }), Ok(Some(20)));
        check(json!({ "q": "" }), Ok(None));
        check(json!({ "q": null }), Ok(None));
        check(json!({}), Ok(None));
        check(json!({ "q": -1 }), Err(()));
        check(json!({ "q": "many" }), Err(()));
        check(json!({ "q": [20] }), Err(()));
    }
}
