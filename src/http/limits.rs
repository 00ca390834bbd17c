//! How much a client may ask of us, in numbers.

use std::time::Duration;

/// See [`Limits::request`].
const REQUEST: Duration = Duration::from_secs(10);

/// How long a handler may take with what is not in its hands, Microsoft or the disk, before it says
/// so itself: below [`Limits::request`], after which nobody hears the handler any more.
pub(super) const HANDLER: Duration = Duration::from_secs(8);

const _: () = assert!(HANDLER.as_millis() < REQUEST.as_millis(), "a handler answers first");

/// The limits of one listener.
///
/// Source of the defaults: `reliability.md` section 4.1, but for the connections of one address and the
/// reading of what nobody wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Until the first bytes of a connection, and until a TLS handshake is through.
    pub first_byte: Duration,
    /// Until a request's head is complete; also how long an idle HTTP/1 connection is kept.
    pub head: Duration,
    /// Until a whole request is answered, its body included.
    pub request: Duration,
    /// How long a body that nobody wants is read on, so that the client sees the answer.
    pub unread: Duration,
    /// And how many bytes of it.
    pub unread_bytes: usize,
    /// How often an HTTP/2 connection is pinged.
    pub ping_every: Duration,
    /// How long the answer to a ping may take.
    pub ping_timeout: Duration,
    /// How long requests in flight may go on once the listener is told to stop.
    pub grace: Duration,
    /// Connections at once.
    pub connections: usize,
    /// Connections at once from one address: a whole company may come from one. This machine's own
    /// addresses are not counted: a proxy on it brings everybody's connections.
    pub connections_per_address: usize,
    /// Requests at once; more are told to come again. One address has at most half of these places,
    /// and of those of [`Self::webhooks_in_flight`].
    pub in_flight: usize,
    /// The marketplace's webhooks at once: places of their own, which nobody else can take up.
    pub webhooks_in_flight: usize,
    /// Header fields of a request.
    pub headers: usize,
    /// Bytes of a request's head.
    pub head_bytes: usize,
    /// Bytes of a request's URI.
    pub uri_bytes: usize,
    /// The same where Microsoft writes it: codes of a sign-in alone can have 2 KiB, a token to be
    /// echoed 3 KiB.
    pub microsoft_uri_bytes: usize,
    /// Bytes of a request's body.
    pub body_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            first_byte: Duration::from_secs(5),
            head: Duration::from_secs(5),
            request: REQUEST,
            unread: Duration::from_secs(2),
            unread_bytes: 8 * 1024 * 1024,
            ping_every: Duration::from_secs(20),
            ping_timeout: Duration::from_secs(10),
            grace: Duration::from_secs(10),
            connections: 4_096,
            connections_per_address: 512,
            in_flight: 512,
            webhooks_in_flight: 64,
            headers: 64,
            head_bytes: 16 * 1024,
            uri_bytes: 2 * 1024,
            microsoft_uri_bytes: 8 * 1024,
            body_bytes: 64 * 1024,
        }
    }
}
