//! The one HTTP client for everything that goes to Microsoft: no redirects, no cookies, no proxy
//! from the environment, timeouts, bounded answers, and a log line without anything secret.

use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Method, StatusCode};
use url::Url;

use super::error::{ErrorKind, MicrosoftError};
use super::meter::Meter;

/// From the first byte out to the last byte in.
const TIMEOUT: Duration = Duration::from_mins(1);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const USER_AGENT: &str = concat!("entitled/", env!("CARGO_PKG_VERSION"));
/// How large one answer may be, unpacked.
///
/// Source: reliability.md section 4.1.
pub(super) const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Ids under which Microsoft's support finds a request, in the order in which we name them.
///
/// Source: marketplace-saas.md section 3.2; graph-licensing.md section 12.
const REQUEST_IDS: [&str; 5] =
    ["request-id", "client-request-id", "x-ms-requestid", "x-ms-correlationid", "x-ms-request-id"];

/// A request, ready to go out but for its token.
#[derive(Clone)]
pub(crate) struct Outgoing {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Option<Vec<u8>>,
}

impl Outgoing {
    pub(crate) fn get(url: Url) -> Self {
        Self::new(Method::GET, url)
    }

    pub(crate) fn new(method: Method, url: Url) -> Self {
        Self { method, url, headers: HeaderMap::new(), body: None }
    }

    /// The same request with this header; a value that no header can hold is left out.
    #[must_use]
    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(HeaderName::from_static(name), value);
        }
        self
    }

    /// The same request with a header that nothing prints.
    #[must_use]
    pub(crate) fn with_secret(mut self, name: &'static str, value: &str) -> Self {
        if let Ok(mut value) = HeaderValue::from_str(value) {
            value.set_sensitive(true);
            self.headers.insert(HeaderName::from_static(name), value);
        }
        self
    }

    /// The id we gave it.
    fn id(&self) -> Option<String> {
        let ids = ["client-request-id", "x-ms-requestid"].into_iter();
        let id = ids.filter_map(|it| self.headers.get(it)).find_map(|it| it.to_str().ok());
        id.map(str::to_owned)
    }

    /// The same request with this bearer token, marked so that nothing prints it.
    #[must_use]
    pub(crate) fn bearing(mut self, token: &str) -> Self {
        if let Ok(mut value) = HeaderValue::from_str(&format!("Bearer {token}")) {
            value.set_sensitive(true);
            self.headers.insert(reqwest::header::AUTHORIZATION, value);
        }
        self
    }
}

/// A whole answer.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The id Microsoft knows the request by.
    pub(crate) fn request_id(&self) -> Option<String> {
        let id = REQUEST_IDS.iter().find_map(|it| self.header(it))?;
        let plain = |c: &char| c.is_ascii_alphanumeric() || "-_.:".contains(*c);
        Some(id.chars().filter(plain).take(64).collect())
    }

    /// Whether it is a page for people, as gateways send them in place of the API's answer.
    pub(crate) fn is_markup(&self) -> bool {
        let text = self.body.trim_ascii_start();
        text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text).starts_with(b"<")
    }

    /// What the body looks like, in a few words that cannot hold anything private.
    pub(crate) fn looks_like(&self) -> String {
        let text = String::from_utf8_lossy(&self.body);
        let text = text.trim_start_matches('\u{feff}').trim();
        let kind = match text.chars().next() {
            None => return "an empty body".into(),
            Some('<') => "HTML or XML",
            Some('{' | '[') => "JSON",
            Some(_) => "plain text",
        };
        let bytes = self.body.len();
        if kind != "HTML or XML" {
            return format!("{bytes} bytes of {kind}");
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || " <>!/-".contains(c);
        let start: String = text.chars().take_while(|c| plain(*c)).take(40).collect();
        format!("{bytes} bytes of {kind} beginning with `{}`", start.trim_end())
    }
}

/// The client. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Http {
    client: reqwest::Client,
}

impl Http {
    /// # Errors
    ///
    /// [`ErrorKind::Credential`] when TLS cannot be set up on this machine.
    pub(crate) fn new() -> Result<Self, MicrosoftError> {
        let client = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .redirect(Policy::none())
            .referer(false)
            .no_proxy()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT)
            .pool_max_idle_per_host(16)
            .build()
            .map_err(|error| {
                let why = format!("the HTTPS client cannot be set up: {}", root_of(&error));
                MicrosoftError::new(ErrorKind::Credential, why)
            })?;
        Ok(Self { client })
    }

    /// One request, one whole answer, whatever its status.
    ///
    /// `endpoint` is a template such as `GET /users/{id}`: what is logged and shown in its place
    /// is never the address itself.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Transient`] when no whole answer came; [`ErrorKind::Unreadable`] when it is
    /// too large.
    pub(crate) async fn send(
        &self,
        endpoint: &'static str,
        meter: &Meter,
        outgoing: Outgoing,
    ) -> Result<Answer, MicrosoftError> {
        self.send_within(endpoint, meter, outgoing, (ANSWER_BYTES_MAX, TIMEOUT)).await
    }

    /// [`Self::send`] with other limits: how large the answer may be, and how long it may take.
    ///
    /// # Errors
    ///
    /// As [`Self::send`].
    pub(crate) async fn send_within(
        &self,
        endpoint: &'static str,
        meter: &Meter,
        outgoing: Outgoing,
        (bytes_max, timeout): (usize, Duration),
    ) -> Result<Answer, MicrosoftError> {
        meter.request();
        let sent = outgoing.id();
        let failed = |error: reqwest::Error| {
            let unsent = error.is_connect() || error.is_builder();
            let host_trouble = if error.is_timeout() {
                "did not answer in time"
            } else if error.is_connect() {
                "cannot be reached"
            } else {
                "broke off its answer"
            };
            let what = format!("Microsoft ({endpoint}) {host_trouble}: {}", root_of(&error));
            let error = MicrosoftError::new(ErrorKind::Transient, what).of_request(sent.clone());
            error.perhaps_done(!unsent)
        };
        let Outgoing { method, url, headers, body } = outgoing;
        let mut request = self.client.request(method, url).headers(headers).timeout(timeout);
        if let Some(body) = body {
            request = request.body(body);
        }
        let mut response = request.send().await.map_err(failed)?;
        let (status, headers) = (response.status(), response.headers().clone());
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if body.len().saturating_add(chunk.len()) > bytes_max {
                let what =
                    format!("Microsoft's answer ({endpoint}) is larger than {bytes_max} bytes");
                return Err(MicrosoftError::new(ErrorKind::Unreadable, what));
            }
            body.extend_from_slice(&chunk);
        }
        let answer = Answer { status, headers, body };
        tracing::debug!(
            microsoft.endpoint = endpoint,
            http.status = status.as_u16(),
            microsoft.request_id = answer.request_id(),
            microsoft.sent_id = sent,
            microsoft.correlation_id = answer.header("x-ms-correlationid"),
            body_bytes = answer.body.len(),
            "Microsoft answered"
        );
        Ok(answer)
    }
}

/// The innermost cause: `Connection refused`, not the address that was asked.
fn root_of(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    if std::ptr::addr_eq(cause, error) { "no cause given".into() } else { cause.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_holds_nothing_private() {
        let check = |body: &str, says: &str| {
            let answer = Answer {
                status: StatusCode::OK,
                headers: HeaderMap::new(),
                body: body.as_bytes().to_vec(),
            };
            assert_eq!(answer.looks_like(), says);
        };
        check("", "an empty body");
        check(r#"{"mail":"mia@customer.example""#, "30 bytes of JSON");
        check("mia@customer.example", "20 bytes of plain text");
        let html = "<html><body>Bad gateway mia@customer.example";
        check(html, "44 bytes of HTML or XML beginning with `<html><body>Bad gateway mia`");
    }
}
