//! A request as the stand-in reads it, and the answer it gives: no HTTP library beyond this file
//! and `serve`, so that `$batch` can ask the same questions without a socket.

use axum::http::{HeaderMap, Method};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use uuid::Uuid;

/// A request, taken apart.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) method: Method,
    /// Decoded, non-empty path segments: a trailing slash makes no difference.
    pub(crate) segments: Vec<String>,
    /// Decoded pairs; `+` is a space and `%24select` is `$select`.
    pub(crate) query: Vec<(String, String)>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Ask {
    /// Takes path and query apart.
    pub(crate) fn new(method: Method, target: &str, headers: HeaderMap, body: Vec<u8>) -> Self {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let segments = path.split('/').filter(|part| !part.is_empty()).map(decode).collect();
        let query = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        Self { method, segments, query, headers, body }
    }

    /// The path as slices, for matching.
    pub(crate) fn path(&self) -> Vec<&str> {
        self.segments.iter().map(String::as_str).collect()
    }

    /// A query option; names compare without case (`$deltaToken` is `$deltatoken`).
    pub(crate) fn option(&self, name: &str) -> Option<&str> {
        let mut pairs = self.query.iter();
        pairs.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// A header that is text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The token of `Authorization: Bearer …`.
    pub(crate) fn bearer(&self) -> Option<&str> {
        let (scheme, token) = self.header("authorization")?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    }
}

/// Percent-decoding of a path segment, where `+` stays `+`.
fn decode(segment: &str) -> String {
    let plus_kept = format!("x={}", segment.replace('+', "%2B"));
    let mut pairs = url::form_urlencoded::parse(plus_kept.as_bytes());
    pairs.next().map_or_else(String::new, |(_, value)| value.into_owned())
}

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
    /// For the request log.
    pub(crate) tenant: Option<Uuid>,
}

impl Reply {
    /// JSON.
    pub(crate) fn json(status: u16, value: &Value) -> Self {
        Self::raw(status, "application/json; charset=utf-8", value.to_string())
    }

    /// A body of any kind.
    pub(crate) fn raw(status: u16, kind: &str, body: impl Into<Vec<u8>>) -> Self {
        let headers = vec![("content-type", kind.to_owned())];
        Self { status, headers, body: body.into(), tenant: None }
    }

    /// A gateway's page, as 502 to 504 may carry. Source: graph-licensing.md 12.
    pub(crate) fn html(status: u16) -> Self {
        let page = "<html><head><title>Service unavailable</title></head>\
                    <body><h2>Our services aren't available right now</h2></body></html>";
        Self::raw(status, "text/html", page)
    }

    /// Nothing but a status.
    pub(crate) fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new(), tenant: None }
    }

    /// Adds a header.
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Says what time it is, as all answers of Microsoft's do.
    pub(crate) fn at(self, now_s: i64) -> Self {
        let now = jiff::Timestamp::from_second(now_s).unwrap_or_default();
        self.with("date", now.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string())
    }

    /// Notes the tenant for the request log.
    pub(crate) fn about(mut self, tenant: Uuid) -> Self {
        self.tenant = Some(tenant);
        self
    }

    /// Ends the body in the middle.
    pub(crate) fn cut(mut self) -> Self {
        self.body.truncate(self.body.len() / 2);
        self
    }
}

/// Percent-encodes everything but unreserved characters, with lower-case hex.
/// Source: marketplace-saas.md 6.3 (recorded continuation tokens).
pub(crate) fn encode_lower(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 3);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let hex = |nibble: u8| char::from_digit(nibble.into(), 16).unwrap_or('0');
            out.extend(['%', hex(byte >> 4), hex(byte & 15)]);
        }
    }
    out
}

/// `2026-03-04T05:06:07Z`. Seconds since 1970 are the sandbox's inner time.
pub(crate) fn stamp(second: i64) -> String {
    Timestamp::from_second(second).unwrap_or(Timestamp::UNIX_EPOCH).to_string()
}

/// The same without a zone, as some of Microsoft's bodies have it.
pub(crate) fn stamp_without_zone(second: i64) -> String {
    stamp(second).trim_end_matches('Z').to_owned()
}

/// The last midnight UTC, in seconds since 1970.
pub(crate) fn midnight(second: i64) -> i64 {
    second - second.rem_euclid(DAY_S)
}

/// Seconds of a day.
pub(crate) const DAY_S: i64 = 86_400;

/// The clock moved on.
pub(crate) fn later(now: Timestamp, by: SignedDuration) -> Timestamp {
    now.checked_add(by).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_read_as_microsoft_reads_it() {
        let ask = Ask::new(
            Method::GET,
            "/graph//v1.0/users/delta%28%29/?%24select=id%2CaccountEnabled&$filter=a+eq+b",
            HeaderMap::new(),
            Vec::new(),
        );
        assert_eq!(ask.path(), ["graph", "v1.0", "users", "delta()"]);
        assert_eq!(ask.option("$SELECT"), Some("id,accountEnabled"));
        assert_eq!(ask.option("$filter"), Some("a eq b"));
    }

    #[test]
    fn times_and_tokens_have_microsofts_shape() {
        assert_eq!(stamp(0), "1970-01-01T00:00:00Z");
        assert_eq!(stamp_without_zone(1), "1970-01-01T00:00:01");
        assert_eq!(midnight(86_399), 0);
        assert_eq!(encode_lower("[{\"+A"), "%5b%7b%22%2bA");
    }
}
