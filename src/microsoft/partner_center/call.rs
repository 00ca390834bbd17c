//! One call to the analytics API: its token, its envelope, what an answer means.
//!
//! Source: `visuals-and-isv.md` section 4.6 (casing of members differs by page; quotas are 400).

use std::time::Duration;

use reqwest::Method;
use serde_json::Value;

use super::{PartnerCenter, ROOT};
use crate::microsoft::error::{ErrorKind, MicrosoftError};
use crate::microsoft::http::{Answer, Outgoing};
use crate::microsoft::json;
use crate::microsoft::limits::throttled;
use crate::microsoft::link::Link;
use crate::microsoft::meter::Meter;
use crate::microsoft::pace::retry_after;

/// Until a quota of five an hour lets another report through.
const HOUR: Duration = Duration::from_hours(1);

/// One logical call.
pub(super) struct Call {
    endpoint: &'static str,
    method: Method,
    /// Path and query after the host.
    target: String,
    body: Option<String>,
}

/// What an answer holds.
pub(super) struct Envelope {
    rows: Vec<Value>,
    next: Option<String>,
}

impl Call {
    /// A call below the API's root.
    pub(super) fn new(endpoint: &'static str, method: Method, path: &str) -> Self {
        Self { endpoint, method, target: format!("{ROOT}{path}"), body: None }
    }
}

/// A member whatever its case.
pub(super) fn member<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    let members = value.as_object()?;
    members.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

/// A member as trimmed text, whatever its case.
pub(super) fn words<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    member(value, name)?.as_str().map(str::trim)
}

impl PartnerCenter {
    /// All rows of a list, page by page; none where Partner Center answers 404.
    pub(super) async fn rows(
        &self,
        meter: &Meter,
        endpoint: &'static str,
        path: &str,
        asked: &[(&str, &str)],
    ) -> Result<Vec<Value>, MicrosoftError> {
        let query =
            url::form_urlencoded::Serializer::new(String::new()).extend_pairs(asked).finish();
        let path = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
        let mut call = Call::new(endpoint, Method::GET, &path);
        let (mut rows, mut last): (Vec<Value>, Option<Link>) = (Vec::new(), None);
        loop {
            let Some(page) = self.call(meter, &call).await? else { return Ok(rows) };
            rows.extend(page.rows);
            let Some(next) = page.next else { return Ok(rows) };
            let next = Link::after(last.as_ref(), self.base.target(&next)?, false)?;
            next.as_str().clone_into(&mut call.target);
            last = Some(next);
        }
    }

    /// Makes something, once: what may have been made is found by its name later.
    pub(super) async fn made(
        &self,
        meter: &Meter,
        endpoint: &'static str,
        path: &str,
        body: &Value,
    ) -> Result<Vec<Value>, MicrosoftError> {
        let call = Call { body: Some(body.to_string()), ..Call::new(endpoint, Method::POST, path) };
        Ok(self.call(meter, &call).await?.map(|it| it.rows).unwrap_or_default())
    }

    /// Makes the call, again while that makes sense; `None` for 404.
    pub(super) async fn call(
        &self,
        meter: &Meter,
        call: &Call,
    ) -> Result<Option<Envelope>, MicrosoftError> {
        let mut tries = self.pace.tries(meter);
        loop {
            let answer = self.with_token(meter, call).await;
            match answer.and_then(|it| self.read(call.endpoint, &it)) {
                Err(error) if call.method == Method::GET => tries.again(error).await?,
                other => return other,
            }
        }
    }

    /// Sends with a token; one that is refused is renewed once.
    async fn with_token(&self, meter: &Meter, call: &Call) -> Result<Answer, MicrosoftError> {
        let home = self.tokens.home();
        let url = self.base.url(&call.target)?;
        let mut renewed = false;
        loop {
            let (token, _) = self.tokens.token(meter, home, &self.resource).await?;
            let mut outgoing = Outgoing::new(call.method.clone(), url.clone());
            outgoing.body = call.body.as_ref().map(|it| it.clone().into_bytes());
            let outgoing = outgoing.with("content-type", "application/json").bearing(token.text());
            let answer = self.http.send(call.endpoint, meter, outgoing).await?;
            if answer.status.as_u16() == 401 && !renewed {
                self.tokens.forget(home, &self.resource, &token).await;
                renewed = true;
                continue;
            }
            return Ok(answer);
        }
    }

    fn read(&self, endpoint: &str, answer: &Answer) -> Result<Option<Envelope>, MicrosoftError> {
        let status = answer.status.as_u16();
        let asked = retry_after(&answer.headers, self.pace.now());
        let says = |kind, what: &str| {
            let what = format!("Partner Center ({endpoint}) answers {status}: {what}");
            MicrosoftError::new(kind, what).of_request(answer.request_id())
        };
        match status {
            200..=299 => envelope(endpoint, answer).map(Some),
            404 => Ok(None),
            400 => Err(refusal(answer, says)),
            401 | 403 => Err(says(
                ErrorKind::Consent,
                "our app may not read reports: in Partner Center (Account settings, User \
                 management, Microsoft Entra applications) add the app of [identity] with the \
                 role Manager(Windows)",
            )),
            429 => Err(throttled(asked)),
            503 if asked.is_some() => Err(throttled(asked)),
            300..=399 => Err(says(
                ErrorKind::Refused,
                "redirects are not followed; check [microsoft] partner_center",
            )),
            408 | 500..=599 => {
                Err(says(ErrorKind::Transient, &format!("it came with {}", answer.looks_like())))
            }
            _ => Err(says(ErrorKind::Unreadable, &format!("it came with {}", answer.looks_like()))),
        }
    }
}

fn envelope(endpoint: &str, answer: &Answer) -> Result<Envelope, MicrosoftError> {
    if answer.body.trim_ascii().is_empty() {
        return Ok(Envelope { rows: Vec::new(), next: None });
    }
    let body: Value = json::body(endpoint, answer)?;
    let rows = match member(&body, "value") {
        Some(Value::Array(rows)) => rows.clone(),
        Some(row @ Value::Object(_)) => vec![row.clone()],
        Some(_) | None => Vec::new(),
    };
    let next = words(&body, "nextLink").filter(|it| !it.is_empty()).map(str::to_owned);
    Ok(Envelope { rows, next })
}

/// What a 400 means, by its text alone: quotas come as one. The text itself is not passed on, for it
/// may hold anything.
fn refusal(answer: &Answer, says: impl Fn(ErrorKind, &str) -> MicrosoftError) -> MicrosoftError {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let text = words(&body, "message").map_or_else(
        || String::from_utf8_lossy(&answer.body).to_ascii_lowercase(),
        str::to_ascii_lowercase,
    );
    let has = |any: &[&str]| any.iter().any(|it| text.contains(it));
    // It speaks of lengths that are exceeded, and of no quota.
    if has(&["invalid report parameters", "invalid query parameters"]) {
        let what = "it does not take the parameters that it was asked with; please report this to \
                    the makers of entitled";
        return says(ErrorKind::Rejected, what);
    }
    let of_the_hour = has(&["execute now", "executenow", "60 min", "per hour", "an hour"]);
    if has(&["quota", "limit", "maximum", "exceed"]) || of_the_hour {
        if of_the_hour {
            let what = "as many reports were made at once in the last hour as may be (5)";
            let error = says(ErrorKind::Throttled, what).asking(Some(HOUR));
            return error.after_all_tries();
        }
        return says(
            ErrorKind::Rejected,
            "a quota is used up (50 active reports, 100 queries): delete some that nobody needs \
             in Partner Center",
        );
    }
    if has(&["table name", "column name"]) {
        let what = "it does not know the data set or one of its columns any more";
        return says(ErrorKind::Rejected, what);
    }
    says(ErrorKind::Rejected, &format!("it came with {}", answer.looks_like()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::StatusCode;
    use reqwest::header::HeaderMap;
    use serde_json::json;

    fn answer(status: u16, body: &str) -> Answer {
        let status = StatusCode::from_u16(status).unwrap();
        Answer { status, headers: HeaderMap::new(), body: body.as_bytes().to_vec() }
    }

    #[test]
    fn members_are_found_whatever_their_case() {
        for body in [
            json!({"value": [{"ReportId": "r"}], "nextLink": "/insights/v1.1/cmp/x"}),
            json!({"Value": [{"reportid": "r"}], "NextLink": "/insights/v1.1/cmp/x"}),
        ] {
            let read = envelope("GET", &answer(200, &body.to_string())).unwrap();
            assert_eq!(words(&read.rows[0], "reportId"), Some("r"));
            assert_eq!(read.next.as_deref(), Some("/insights/v1.1/cmp/x"));
        }
        let none = envelope("GET", &answer(200, r#"{"value": null, "nextLink": null}"#)).unwrap();
        assert!(none.rows.is_empty() && none.next.is_none());
    }

    #[test]
    fn a_quota_is_told_from_a_wrong_request_by_its_words() {
        let check = |message: &str, kind: ErrorKind, wait: Option<Duration>| {
            let body = json!({"statusCode": 400, "Message": message}).to_string();
            let error = refusal(&answer(400, &body), |kind, what| MicrosoftError::new(kind, what));
            assert_eq!((error.kind(), error.asked_wait()), (kind, wait), "{message}");
            assert!(!error.may_try_again(), "{message}");
        };
        let now = "Execute now report generation quota exceeded: 5 per 60 min";
        check(now, ErrorKind::Throttled, Some(HOUR));
        check("Maximum number of active reports reached", ErrorKind::Rejected, None);
        check("Invalid table name ISVLicense", ErrorKind::Rejected, None);
        check("Invalid QueryId", ErrorKind::Rejected, None);
        let long = "Invalid report parameters for creation - Report name length exceeds maximum \
                    length 256";
        check(long, ErrorKind::Rejected, None);
        let body = json!({"statusCode": 400, "message": long}).to_string();
        let error = refusal(&answer(400, &body), |kind, what| MicrosoftError::new(kind, what));
        assert!(!error.to_string().contains("quota"), "{error}");
    }
}
