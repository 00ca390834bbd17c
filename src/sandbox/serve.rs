//! The listener: connections, request log, and which part of Microsoft a path belongs to.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::response::Response;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::wire::{Ask, Reply};
use super::{
    RequestLine, Sandbox, World, control, entra, graph, marketplace, notify, partner_center,
    webhook,
};

/// Pause after a failed accept (out of descriptors), so that it does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves and delivers webhooks until dropped; the connections end with it.
pub(crate) async fn run(listener: TcpListener, sandbox: Sandbox) {
    tokio::join!(
        accept(listener, sandbox.clone()),
        webhook::pump(&sandbox),
        notify::pump(&sandbox)
    );
}

async fn accept(listener: TcpListener, sandbox: Sandbox) {
    let router = Router::new().fallback(answer).with_state(sandbox);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, router.clone()));
                }
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(stream: TcpStream, router: Router) {
    // Small answers must not wait for a second packet.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let service = TowerToHyperService::new(router);
    let builder = auto::Builder::new(TokioExecutor::new());
    // A peer that hangs up in mid-request is its own affair.
    drop(builder.serve_connection(TokioIo::new(stream), service).await);
}

async fn answer(
    State(sandbox): State<Sandbox>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Infallible> {
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    let ask = Ask::new(method, target, headers, body.to_vec());
    let (reply, slow) = sandbox.with_world(|world| (dispatch(world, &ask), world.faults().slow));
    let reply = if notify::subscribes(&ask) { sandbox.verify(reply).await } else { reply };
    if !slow.is_zero() {
        tokio::time::sleep(slow).await;
    }
    sandbox.note(RequestLine {
        method: ask.method.to_string(),
        target: target.to_owned(),
        tenant: reply.tenant,
        status: reply.status,
    });
    Ok(response(reply))
}

fn dispatch(world: &mut World, ask: &Ask) -> Reply {
    let path = ask.path();
    if let Some((&"control", rest)) = path.split_first() {
        return control::answer(world, ask, rest);
    }
    if world.is_out() {
        return Reply::html(503);
    }
    match path.split_first() {
        Some((&"login", rest)) => entra::answer(world, ask, rest),
        Some((&"marketplace", rest)) => marketplace::answer(world, ask, rest),
        // The recorded next links have no prefix before `/api`; a client that keeps their path
        // and changes only the host arrives here.
        Some((&"api", _)) => marketplace::answer(world, ask, &path),
        Some((&"graph", rest)) => graph::answer(world, ask, rest),
        Some((&"partner_center", rest)) => partner_center::answer(world, ask, rest),
        _ => Reply::json(404, &json!({"message": "no such service in the sandbox"})),
    }
}

fn response(reply: Reply) -> Response {
    if reply.status == 0 {
        let broken = futures_util::stream::once(async { Err::<Bytes, _>(io::Error::other("cut")) });
        return Response::new(Body::from_stream(broken));
    }
    let mut response = Response::new(Body::from(reply.body));
    *response.status_mut() =
        StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in reply.headers {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}
