//! What is left of a request's body when its answer is ready: read on for a moment, and thrown away.
//!
//! A connection that is closed with bytes in flight is reset, and the reset may overtake the answer:
//! who sends too much would see "broken pipe" and never learn that it was too much. So what nobody
//! wants is read too, up to [`Limits::unread`] and [`Limits::unread_bytes`]; after that the
//! connection is closed anyway.
//!
//! Source: RFC 9112 section 9.6 (read on until the client has acknowledged, or a while).

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::limits::Limits;

/// Bodies given back and not yet taken up, of one connection. One more is not read on: its end of
/// the connection is then closed as before.
const WAITING: usize = 4;

/// Where the bodies of one connection's requests go when their handlers let go of them.
pub(super) struct Unread(Receiver<Incoming>);

/// The other end: wraps bodies.
#[derive(Clone)]
pub(super) struct GiveBack(Sender<Incoming>);

pub(super) fn unread() -> (GiveBack, Unread) {
    let (give, take) = channel(WAITING);
    (GiveBack(give), Unread(take))
}

impl GiveBack {
    /// The request with a body that comes back here when it is dropped before its end.
    pub(super) fn wrap(&self, request: hyper::Request<Incoming>) -> hyper::Request<Watched> {
        // Who waits for "100 Continue" sends nothing after a refusal.
        let waits = request.headers().contains_key(header::EXPECT);
        let ended = waits || request.body().is_end_stream();
        request.map(|body| Watched { body: Some(body), ended, back: self.0.clone() })
    }
}

/// A body that is given back when it is dropped before its end.
pub(super) struct Watched {
    /// `Some` until dropped.
    body: Option<Incoming>,
    ended: bool,
    back: Sender<Incoming>,
}

impl Body for Watched {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let polled = Pin::new(body).poll_frame(cx);
        // After an error nothing more comes either.
        if let Poll::Ready(None | Some(Err(_))) = polled {
            self.ended = true;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(SizeHint::default, Body::size_hint)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let Some(body) = self.body.take() else { return };
        if !self.ended && !body.is_end_stream() {
            // A full channel drops it: the connection is then closed at once.
            drop(self.back.try_send(body));
        }
    }
}

impl Unread {
    /// Drives a connection to its end, and reads meanwhile what its requests left unread. Once
    /// cancelled it is told, by `stop`, to end in good order.
    pub(super) async fn beside<C>(
        mut self,
        mut connection: Pin<&mut C>,
        stop: fn(Pin<&mut C>),
        limits: &Limits,
        cancel: &CancellationToken,
    ) -> hyper::Result<()>
    where
        C: Future<Output = hyper::Result<()>>,
    {
        let mut reading = FuturesUnordered::new();
        let mut stopped = false;
        loop {
            tokio::select! {
                biased;
                ended = connection.as_mut() => return ended,
                () = cancel.cancelled(), if !stopped => {
                    stopped = true;
                    stop(connection.as_mut());
                }
                Some(body) = self.0.recv() => reading.push(throw_away(body, limits)),
                Some(()) = reading.next() => {}
            }
        }
    }
}

/// Reads on until the body's end, or as long and as much as agreed.
async fn throw_away(mut body: Incoming, limits: &Limits) {
    let mut left = limits.unread_bytes;
    let all = async {
        while let Some(Ok(frame)) = body.frame().await {
            let bytes = frame.data_ref().map_or(0, Bytes::len);
            let Some(rest) = left.checked_sub(bytes) else { return };
            left = rest;
        }
    };
    // Given up in time or not: there is nobody left to tell.
    drop(timeout(limits.unread, all).await);
}
