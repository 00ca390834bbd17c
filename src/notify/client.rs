//! One try to hand an event over: to the configured link and nowhere else.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode};
use url::Url;

use super::NotifyError;
use super::sign::Signer;

/// From the first byte out to the last byte in.
///
/// Source: Standard Webhooks 1.0.0, "delivery": 15 to 30 s.
const TIMEOUT: Duration = Duration::from_secs(15);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const USER_AGENT: &str = concat!("entitled/", env!("CARGO_PKG_VERSION"));

/// How much of an answer is read; nothing in it counts.
const ANSWER_BYTES_MAX: usize = 4 * 1024;

/// The longest rest that a receiver may ask for.
const ASKED_MAX: SignedDuration = SignedDuration::from_hours(24);

/// Sends to one endpoint.
#[derive(Clone, Debug)]
pub(super) struct Sender {
    client: Client,
    url: Url,
    signer: Signer,
}

/// What came of a try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Tried {
    /// The receiver has it.
    Taken,
    /// It wants no events any more (410).
    Gone,
    /// The receiver is in trouble, so that nothing else would arrive either.
    Sick {
        /// What was wrong.
        why: Arc<str>,
        /// How long it wants to be left alone.
        asked: Option<SignedDuration>,
    },
    /// The receiver does not want this one.
    Refused {
        /// What it said.
        why: Arc<str>,
    },
}

/// A whole answer, for `notify test`.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The beginning of what it said.
    pub text: String,
}

/// Makes the client that all endpoints share.
pub(super) fn client() -> Result<Client, NotifyError> {
    within(TIMEOUT)
}

fn within(timeout: Duration) -> Result<Client, NotifyError> {
    Client::builder()
        .user_agent(USER_AGENT)
        .redirect(Policy::none())
        .referer(false)
        .no_proxy()
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(timeout)
        .build()
        .map_err(NotifyError::Client)
}

impl Sender {
    pub(super) const fn new(client: Client, url: Url, signer: Signer) -> Self {
        Self { client, url, signer }
    }

    /// One try; the body was written down before and is sent as it is.
    pub(super) async fn send(&self, id: &str, body: &str, now: Timestamp) -> Tried {
        match self.post(id, body, now).await {
            Ok((status, headers, _)) => judge(status, &headers, now),
            Err(why) => Tried::Sick { why: why.into(), asked: None },
        }
    }

    /// One try, with the answer for people.
    pub(super) async fn show(
        &self,
        id: &str,
        body: &str,
        now: Timestamp,
    ) -> Result<(Answer, Tried), String> {
        let (status, headers, answer) = self.post(id, body, now).await?;
        let plain = |c: char| if c.is_control() { ' ' } else { c };
        let text = String::from_utf8_lossy(&answer).chars().take(300).map(plain).collect();
        Ok((Answer { status: status.as_u16(), text }, judge(status, &headers, now)))
    }

    async fn post(
        &self,
        id: &str,
        body: &str,
        now: Timestamp,
    ) -> Result<(StatusCode, HeaderMap, Vec<u8>), String> {
        let request = self.client.post(self.url.clone()).headers(self.headers(id, body, now));
        let mut response = request.body(body.to_owned()).send().await.map_err(in_words)?;
        let mut answer = Vec::new();
        // What comes after the status is of no use, and an answer that breaks off is one.
        while answer.len() < ANSWER_BYTES_MAX {
            let Ok(Some(chunk)) = response.chunk().await else { break };
            let room = ANSWER_BYTES_MAX.saturating_sub(answer.len());
            answer.extend(chunk.iter().take(room));
        }
        Ok((response.status(), response.headers().clone(), answer))
    }

    fn headers(&self, id: &str, body: &str, now: Timestamp) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let ours = [
            ("webhook-id", id.to_owned()),
            ("webhook-timestamp", now.as_second().to_string()),
            ("webhook-signature", self.signer.sign(id, now, body)),
        ];
        for (name, value) in ours {
            // Ids, numbers and base64 fit into any header.
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
        headers
    }
}

/// What an answer means.
///
/// Source: Standard Webhooks 1.0.0, "delivery": 2xx is success, 410 disables, 429 and 503 are
/// throttling; redirects are not followed and are failures.
fn judge(status: StatusCode, headers: &HeaderMap, now: Timestamp) -> Tried {
    let why = || Arc::from(format!("it answered {}", status.as_u16()));
    match status {
        _ if status.is_success() => Tried::Taken,
        StatusCode::GONE => Tried::Gone,
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => {
            Tried::Sick { why: why(), asked: asked(headers, now) }
        }
        _ if status.is_server_error() => Tried::Sick { why: why(), asked: asked(headers, now) },
        _ if status.is_redirection() => {
            let to =
                "it answered with a redirect, which is not followed: configure the link itself";
            Tried::Refused { why: format!("{to} ({})", status.as_u16()).into() }
        }
        _ => Tried::Refused { why: why() },
    }
}

/// What `Retry-After` asks for: seconds, or a moment.
///
/// Source: RFC 9110 section 10.2.3.
fn asked(headers: &HeaderMap, now: Timestamp) -> Option<SignedDuration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let moment = || {
        let at = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
        Some(at.duration_since(now).max(SignedDuration::ZERO))
    };
    let seconds = text.parse().ok().filter(|it| *it >= 0).map(SignedDuration::from_secs);
    seconds.or_else(moment).map(|it| it.min(ASKED_MAX))
}

/// What went wrong, without the link: its path may be a secret.
#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` hands over")]
fn in_words(error: reqwest::Error) -> String {
    let what = if error.is_timeout() {
        "it did not answer in time"
    } else if error.is_connect() {
        "it cannot be reached"
    } else {
        "it broke off"
    };
    let mut cause: &dyn std::error::Error = &error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    if std::ptr::addr_eq(cause, &raw const error) {
        what.to_owned()
    } else {
        format!("{what}: {cause}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sender(client: Client, url: &str) -> Sender {
        let signer = Signer::new(&[crate::config::Secret::new("whsec_AAAA")]).unwrap();
        Sender::new(client, url.parse().unwrap(), signer)
    }

    #[tokio::test]
    async fn one_that_never_answers_is_left_after_a_while_and_no_link_is_shown() {
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/hush-hush", silent.local_addr().unwrap());
        let sent = sender(within(Duration::from_millis(50)).unwrap(), &url);
        let tried = sent.send("evt_1", "{}", Timestamp::UNIX_EPOCH).await;
        let Tried::Sick { why, asked: None } = tried else { panic!("{tried:?}") };
        assert!(why.starts_with("it did not answer in time"), "{why}");
        drop(silent);
        let sent = sender(client().unwrap(), &url);
        let tried = sent.send("evt_1", "{}", Timestamp::UNIX_EPOCH).await;
        let Tried::Sick { why, asked: None } = tried else { panic!("{tried:?}") };
        assert!(why.starts_with("it cannot be reached") && !why.contains("hush"), "{why}");
    }

    #[test]
    fn an_answer_means_one_thing() {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let check = |status: u16, retry_after: &str, means: &str| {
            let mut headers = HeaderMap::new();
            if !retry_after.is_empty() {
                headers.insert(RETRY_AFTER, retry_after.parse().unwrap());
            }
            let found = match judge(StatusCode::from_u16(status).unwrap(), &headers, now) {
                Tried::Taken => "taken".to_owned(),
                Tried::Gone => "gone".to_owned(),
                Tried::Refused { .. } => "refused".to_owned(),
                Tried::Sick { asked, .. } => {
                    format!("sick {}", asked.map_or(-1, |it| it.as_secs()))
                }
            };
            assert_eq!(found, means, "{status} {retry_after}");
        };
        check(200, "", "taken");
        check(204, "", "taken");
        check(301, "", "refused");
        check(307, "", "refused");
        check(400, "", "refused");
        check(404, "5", "refused");
        check(410, "", "gone");
        check(408, "", "sick -1");
        check(429, "", "sick -1");
        check(429, "120", "sick 120");
        check(503, " 7 ", "sick 7");
        check(500, "-3", "sick -1");
        check(500, "soon", "sick -1");
        check(503, "99999999999", "sick 86400");
        check(503, "Fri, 15 Jan 2027 08:01:00 GMT", "sick 60");
        check(503, "Fri, 15 Jan 2027 07:01:00 GMT", "sick 0");
        check(502, "", "sick -1");
    }
}
