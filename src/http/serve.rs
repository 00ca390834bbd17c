//! The accept loop: connections in, limits kept, drained on the way out.
//!
//! Why not `axum::serve`: it has no timeout for a request's head, and hyper's automatic builder
//! waits for ever for a client that sends nothing, or no more than the start of HTTP/2's preface
//! (hyper#3756). So the first bytes are read here, under a deadline.

use std::io;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use bytes::{Bytes, BytesMut};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;
use tracing::{debug, error, info, warn};

use super::limits::Limits;
use super::places::Addresses;
use super::unread::unread;

/// The first bytes of every HTTP/2 connection.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How long to wait before accepting again when the system has run out of something.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long a connection that has said nothing yet may still say something once no more are accepted.
const LAST_WORD: Duration = Duration::from_millis(500);

/// The smallest buffer that hyper takes, in bytes.
const MIN_BUFFER: usize = 8_192;

/// Requests at once on one HTTP/2 connection.
const STREAMS: u32 = 64;

/// The address a connection comes from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) IpAddr);

/// What serves the connections of one listener.
#[derive(Clone)]
pub(super) struct Server {
    /// What it is called in the log.
    pub(super) name: &'static str,
    /// What answers.
    pub(super) router: Router,
    /// TLS, where we end it ourselves.
    pub(super) tls: Option<TlsAcceptor>,
    /// The limits.
    pub(super) limits: Limits,
}

impl Server {
    /// Serves until cancelled; then lets requests in flight end, within the grace.
    pub(super) async fn run(self, listener: TcpListener, cancel: CancellationToken) {
        let room = Arc::new(Semaphore::new(self.limits.connections));
        let addresses = Arc::new(Addresses::default());
        let mut connections = JoinSet::new();
        loop {
            let permit = tokio::select! {
                biased;
                () = cancel.cancelled() => break,
                permit = Arc::clone(&room).acquire_owned() => permit,
            };
            while let Some(ended) = connections.try_join_next() {
                log_end(self.name, ended);
            }
            let accepted = tokio::select! {
                biased;
                () = cancel.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    self.accept_failed(&error).await;
                    continue;
                }
            };
            let ip = peer.ip().to_canonical();
            // Dropping the stream closes it: no answer, since writing one would cost what the
            // limit is there to save.
            let Some(place) = addresses.enter(ip, self.limits.connections_per_address) else {
                continue;
            };
            let (server, cancel) = (self.clone(), cancel.clone());
            connections.spawn(async move {
                let _held = (permit, place);
                server.connection(stream, ip, cancel).await;
            });
        }
        drop(listener);
        self.drain(connections).await;
    }

    /// The client gave up, or the system is out of descriptors: neither is a reason to stop.
    async fn accept_failed(&self, error: &io::Error) {
        use io::ErrorKind as Kind;
        let of_client = [Kind::ConnectionAborted, Kind::ConnectionReset, Kind::ConnectionRefused];
        if of_client.contains(&error.kind()) {
            return;
        }
        warn!(
            error = error as &dyn std::error::Error,
            listener = self.name,
            "Cannot accept connections, waiting"
        );
        sleep(ACCEPT_PAUSE).await;
    }

    async fn drain(&self, mut connections: JoinSet<()>) {
        let all = async {
            while let Some(ended) = connections.join_next().await {
                log_end(self.name, ended);
            }
        };
        if timeout(self.limits.grace, all).await.is_err() {
            let left = connections.len();
            warn!(listener = self.name, connections = left, "Connections did not end, closing");
        } else {
            info!(listener = self.name, "Listener drained");
        }
    }

    async fn connection(&self, stream: TcpStream, ip: IpAddr, cancel: CancellationToken) {
        if let Err(error) = stream.set_nodelay(true) {
            debug!(error = &error as &dyn std::error::Error, "Cannot switch Nagle's wait off");
        }
        let Some(tls) = &self.tls else { return self.http(stream, ip, cancel).await };
        if let Ok(Ok(stream)) = timeout(self.limits.first_byte, tls.accept(stream)).await {
            self.http(stream, ip, cancel).await;
        } else {
            debug!(listener = self.name, "No TLS handshake");
        }
    }

    async fn http<S>(&self, mut stream: S, ip: IpAddr, cancel: CancellationToken)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Some(start) = self.start_of(&mut stream, &cancel).await else { return };
        let is_http2 = start.as_ref() == PREFACE;
        let io = TokioIo::new(Rewound { start, stream });
        let (give_back, unread) = unread();
        let router = self.router.clone();
        let service = service_fn(move |mut request: hyper::Request<Incoming>| {
            request.extensions_mut().insert(Peer(ip));
            let request: Request = if is_http2 {
                // There an answer ends its own stream only.
                request.map(Body::new)
            } else {
                give_back.wrap(request).map(Body::new)
            };
            router.clone().oneshot(request)
        });
        // Whatever ends a connection, the client knows better than we do; requests are logged.
        let ended = if is_http2 {
            let connection = pin!(self.http2().serve_connection(io, service));
            unread
                .beside(connection, http2::Connection::graceful_shutdown, &self.limits, &cancel)
                .await
        } else {
            let connection = pin!(self.http1().serve_connection(io, service));
            unread
                .beside(connection, http1::Connection::graceful_shutdown, &self.limits, &cancel)
                .await
        };
        if let Err(error) = ended {
            let error = &error as &dyn std::error::Error;
            debug!(error, listener = self.name, "Connection broke");
        }
    }

    /// The first bytes, if they come in time.
    async fn start_of<S: AsyncRead + Unpin>(
        &self,
        stream: &mut S,
        cancel: &CancellationToken,
    ) -> Option<Bytes> {
        let mut start = pin!(timeout(self.limits.first_byte, first_bytes(stream)));
        let start = tokio::select! {
            biased;
            start = &mut start => start,
            // Whoever has just come may have asked already: his bytes are on their way.
            () = cancel.cancelled() => timeout(LAST_WORD, start).await.flatten(),
        };
        start.ok()?.ok()
    }

    fn http1(&self) -> http1::Builder {
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.head)
            // Twice ours: up to there we answer ourselves, so that a visual can read the answer.
            .max_header_size(self.limits.head_bytes.saturating_mul(2))
            .max_buf_size(self.limits.head_bytes.saturating_mul(2).max(MIN_BUFFER));
        builder
    }

    fn http2(&self) -> http2::Builder<TokioExecutor> {
        let head = u32::try_from(self.limits.head_bytes.saturating_mul(2)).unwrap_or(u32::MAX);
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .keep_alive_interval(self.limits.ping_every)
            .keep_alive_timeout(self.limits.ping_timeout)
            .max_concurrent_streams(STREAMS)
            .max_header_list_size(head);
        builder
    }
}

fn log_end(listener: &'static str, ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        let error = &error as &dyn std::error::Error;
        error!(error, listener, "A connection's task ended badly");
    }
}

/// Reads until it is clear whether HTTP/2 is spoken: at least a byte, at most its preface.
async fn first_bytes<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<Bytes> {
    let mut start = BytesMut::with_capacity(PREFACE.len());
    while start.is_empty() || (PREFACE.starts_with(&start) && start.len() < PREFACE.len()) {
        let mut rest = [0; PREFACE.len()];
        let room = PREFACE.len().saturating_sub(start.len());
        let read = stream.read(rest.get_mut(..room).unwrap_or_default()).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        start.extend_from_slice(rest.get(..read).unwrap_or_default());
    }
    Ok(start.freeze())
}

/// A stream whose start was already read.
struct Rewound<S> {
    start: Bytes,
    stream: S,
}

impl<S: AsyncRead + Unpin> AsyncRead for Rewound<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.start.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let take = self.start.len().min(buf.remaining());
        buf.put_slice(&self.start.split_to(take));
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Rewound<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_bytes_tell_the_protocol() {
        async fn check(sent: &[u8], read: usize) {
            let mut from = sent;
            let start = first_bytes(&mut from).await.unwrap();
            assert_eq!(start.len(), read);
            assert_eq!([start.as_ref(), from].concat(), sent);
        }
        check(b"GET / HTTP/1.1\r\n\r\nand more of it", 24).await;
        check(PREFACE, 24).await;
        assert!(first_bytes(&mut &PREFACE[..10]).await.is_err());
        assert!(first_bytes(&mut &b""[..]).await.is_err());
    }
}
