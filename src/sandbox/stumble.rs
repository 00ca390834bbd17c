//! Trouble to order: the next requests of a kind get the answer that a test wants.

use serde::Deserialize;

use super::wire::{Ask, Reply};

/// An answer to the next requests that fit, in place of the usual one.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stumble {
    /// `GET`, `PATCH`, …
    pub method: String,
    /// What the path ends with: `activate`, `operations`, an id, or `operations/*` for any one.
    pub path_end: String,
    /// The status; 0 hangs up in the middle of the answer.
    pub status: u16,
    /// The body: JSON, or anything else.
    #[serde(default)]
    pub body: String,
    /// What was asked for is done all the same.
    #[serde(default)]
    pub done: bool,
    /// How many requests.
    pub times: u32,
    /// After how many that get the usual answer.
    #[serde(default)]
    pub after: u32,
}

impl Stumble {
    /// The next `times` requests of this method whose path ends so get this status.
    pub fn new(method: &str, path_end: &str, status: u16, times: u32) -> Self {
        let (method, path_end) = (method.to_owned(), path_end.to_owned());
        Self { method, path_end, status, body: String::new(), done: false, times, after: 0 }
    }

    /// Only once so many more have got the usual answer.
    #[must_use]
    pub fn after(self, requests: u32) -> Self {
        Self { after: requests, ..self }
    }

    /// With this body.
    #[must_use]
    pub fn saying(self, body: &str) -> Self {
        Self { body: body.to_owned(), ..self }
    }

    /// What was asked for is done all the same.
    #[must_use]
    pub fn but_done(self) -> Self {
        Self { done: true, ..self }
    }

    pub(super) fn fits(&self, ask: &Ask) -> bool {
        self.method.eq_ignore_ascii_case(ask.method.as_str())
            && match (self.path_end.strip_suffix("/*"), ask.segments.as_slice()) {
                (Some(above), [.., it, _]) => it.eq_ignore_ascii_case(above),
                (None, [.., it]) => it.eq_ignore_ascii_case(&self.path_end),
                (Some(_) | None, _) => false,
            }
    }

    pub(super) fn reply(&self) -> Reply {
        if self.body.is_empty() {
            return Reply::empty(self.status);
        }
        Reply::raw(self.status, "application/json; charset=utf-8", self.body.clone())
    }
}
