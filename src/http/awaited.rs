//! Whether a handler waits for its request's body: whose fault it is when it does not end.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::Request;
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};

/// A body that notes whether it is waited for.
struct Awaited {
    body: Body,
    waits: Arc<AtomicBool>,
}

/// The same request, and whether somebody who reads its body waits for the client.
pub(super) fn awaited(request: Request) -> (Request, Arc<AtomicBool>) {
    let waits = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&waits);
    (request.map(|body| Body::new(Awaited { body, waits: told })), waits)
}

impl HttpBody for Awaited {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        self.waits.store(polled.is_pending(), Ordering::Relaxed);
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
