//! Answers of any length: a JSON value a line, made while they are sent.

use std::convert::Infallible;

use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, future, stream};
use serde_json::Value;
use tokio::sync::mpsc;

/// Bytes sent at once.
const CHUNK_BYTES: usize = 32 * 1024;
/// Chunks that wait for a slow reader.
const CHUNKS: usize = 4;

/// Lines that wait for a slow reader of what is followed.
pub(super) const WAITING: usize = 64;

/// Whoever asked has left.
#[derive(Debug)]
pub(super) struct Left;

/// Where rows go.
pub(super) struct Sink {
    pending: Vec<u8>,
    chunks: mpsc::Sender<Bytes>,
}

impl Sink {
    /// Sends a row, sooner or later.
    pub(super) fn row(&mut self, row: &Value) -> Result<(), Left> {
        push(&mut self.pending, row);
        if self.pending.len() < CHUNK_BYTES {
            return Ok(());
        }
        self.send()
    }

    fn send(&mut self) -> Result<(), Left> {
        let chunk = Bytes::from(std::mem::take(&mut self.pending));
        self.chunks.blocking_send(chunk).map_err(|_closed| Left)
    }
}

fn push(pending: &mut Vec<u8>, row: &Value) {
    // A Value always has a text, and a Vec takes every write.
    drop(serde_json::to_writer(&mut *pending, row));
    pending.push(b'\n');
}

/// Rows that are made on a thread of their own, since they may be millions.
pub(super) fn rows(make: impl FnOnce(&mut Sink) -> Result<(), Left> + Send + 'static) -> Response {
    let (chunks, received) = mpsc::channel(CHUNKS);
    // The thread ends with the last row, or as soon as nobody listens.
    drop(tokio::task::spawn_blocking(move || {
        let mut sink = Sink { pending: Vec::new(), chunks };
        make(&mut sink).and_then(|()| sink.send())
    }));
    streamed(received)
}

/// Rows that are there already.
pub(super) fn all(found: impl IntoIterator<Item = Value>) -> Response {
    let mut body = Vec::new();
    for row in found {
        push(&mut body, &row);
    }
    lined(Body::from(body))
}

/// One row, as a line of its own.
pub(super) fn line(row: &Value) -> Bytes {
    let mut line = Vec::new();
    push(&mut line, row);
    line.into()
}

fn streamed(received: mpsc::Receiver<Bytes>) -> Response {
    lined(Body::from_stream(chunks(received)))
}

/// Lines that come while `work` goes on, which is driven by whoever reads: when he leaves, it ends.
pub(super) fn driven(
    work: impl Future<Output = ()> + Send + 'static,
    received: mpsc::Receiver<Bytes>,
) -> Response {
    let work = stream::once(work).filter_map(|()| future::ready(None));
    lined(Body::from_stream(stream::select(chunks(received), work)))
}

fn chunks(received: mpsc::Receiver<Bytes>) -> impl Stream<Item = Result<Bytes, Infallible>> + Send {
    stream::unfold(received, |mut received| async {
        let chunk = received.recv().await?;
        Some((Ok(chunk), received))
    })
}

fn lined(body: Body) -> Response {
    ([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt as _;
    use serde_json::json;

    #[tokio::test]
    async fn every_row_arrives_as_a_line_of_its_own() {
        let response = rows(|sink| (0..10_000).try_for_each(|n| sink.row(&json!({"n": n}))));
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let text = std::str::from_utf8(&body).unwrap();
        assert_eq!(text.lines().count(), 10_000);
        assert_eq!(text.lines().last(), Some("{\"n\":9999}"));
    }

    #[tokio::test]
    async fn rows_end_when_nobody_listens() {
        let (ended, wait) = tokio::sync::oneshot::channel();
        let response = rows(move |sink| {
            let end = (0..).try_for_each(|n: u64| sink.row(&json!({"n": n})));
            ended.send(end.is_err()).unwrap();
            end
        });
        drop(response);
        assert!(wait.await.unwrap());
    }
}
