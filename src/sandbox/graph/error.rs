//! Graph's errors. Source: graph-licensing.md 12.

use serde_json::json;

use crate::sandbox::World;
use crate::sandbox::wire::{Ask, Reply, stamp_without_zone};

/// An error before it has ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GraphError {
    pub(crate) status: u16,
    pub(crate) code: &'static str,
    pub(crate) message: String,
    /// Headers beside the ids.
    pub(crate) headers: Vec<(&'static str, String)>,
}

impl GraphError {
    /// An error without extra headers.
    pub(crate) fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), headers: Vec::new() }
    }

    /// Our caller's mistake.
    pub(crate) fn bad(message: impl Into<String>) -> Self {
        Self::new(400, "Request_BadRequest", message)
    }

    /// A query this resource cannot answer.
    pub(crate) fn unsupported(message: impl Into<String>) -> Self {
        Self::new(400, "Request_UnsupportedQuery", message)
    }

    /// No such object.
    pub(crate) fn missing(id: &str) -> Self {
        let message = format!(
            "Resource '{id}' does not exist or one of its queried reference-property objects are \
             not present."
        );
        Self::new(404, "Request_ResourceNotFound", message)
    }

    /// Adds a header.
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The answer; bodies write `innerError`, those of failing servers `innererror` as the spec
    /// pages do.
    pub(crate) fn reply(self, world: &mut World, ask: &Ask) -> Reply {
        let request = world.fresh_id().to_string();
        let client = ask.header("client-request-id").unwrap_or(&request).to_owned();
        let inner = json!({
            "date": stamp_without_zone(world.now_s()),
            "request-id": request,
            "client-request-id": client,
        });
        let key = if self.status >= 500 { "innererror" } else { "innerError" };
        let body = json!({"error": {"code": self.code, "message": self.message, key: inner}});
        let reply = Reply::json(self.status, &body).with("request-id", request);
        self.headers.into_iter().fold(reply, |reply, (name, value)| reply.with(name, value))
    }
}
