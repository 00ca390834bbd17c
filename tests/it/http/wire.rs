//! Raw sockets: clients that are slow, silent, too many or not speaking HTTP. Limits are short, and
//! nothing is timed: a connection that is not closed hangs the test.

use std::path::Path;
use std::time::Duration;

use entitled::config::Tls;
use entitled::http::Limits;
use entitled::http::tls::acceptor;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::harness::*;
use crate::tokens::{ANA, CONTOSO};

const SHORT: Duration = Duration::from_millis(150);

fn short() -> Limits {
    Limits {
        first_byte: SHORT,
        head: SHORT,
        request: SHORT,
        unread: SHORT,
        ..Setup::default().limits
    }
}

async fn world_with(limits: Limits) -> World {
    World::with(Setup { limits, ..Setup::default() }).await
}

/// Sends this and reads until the other end closes.
async fn all(world: &World, sent: &[u8]) -> String {
    let mut stream = TcpStream::connect(world.public).await.unwrap();
    stream.write_all(sent).await.unwrap();
    to_end(&mut stream).await
}

async fn to_end(stream: &mut TcpStream) -> String {
    let mut read = Vec::new();
    // A connection that is reset is closed too.
    drop(stream.read_to_end(&mut read).await);
    String::from_utf8_lossy(&read).into_owned()
}

#[tokio::test]
async fn clients_that_do_not_go_on_are_closed() {
    let world = world_with(short()).await;
    for sent in [
        &b""[..],
        b"P",
        b"PRI * HTTP/2.0\r\n\r\n",
        b"G",
        b"GET /openapi.json HTTP/1.1\r\n",
        b"POST /v1/entitlements HTTP/1.1\r\nhost: x\r\nx: ",
        b"\x16\x03\x01",
    ] {
        let answer = all(&world, sent).await;
        assert!(!answer.contains("HTTP/1.1 200"), "{sent:?}: {answer}");
    }
    let mut idle = TcpStream::connect(world.public).await.unwrap();
    idle.write_all(b"GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    assert!(to_end(&mut idle).await.starts_with("HTTP/1.1 200"), "answered, then closed when idle");
    assert_eq!(world.ask(question(CONTOSO, ANA)).await.0, 200, "others are served");
}

#[tokio::test]
async fn a_body_that_does_not_come_is_given_up() {
    let world = world_with(short()).await;
    let head =
        format!("POST /v1/entitlements HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {SHOP}\r\n");
    for rest in
        ["content-length: 100\r\n\r\n{\"prod", "transfer-encoding: chunked\r\n\r\n5\r\n{\"pro"]
    {
        let answer = all(&world, format!("{head}{rest}").as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
        assert!(answer.contains("access-control-allow-origin: *"), "{answer}");
    }
}

#[tokio::test]
async fn what_is_too_large_or_no_http_is_refused_and_closed() {
    let world = world_with(Limits { head: SHORT, unread: SHORT, ..Setup::default().limits }).await;
    let head =
        format!("POST /v1/entitlements HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {SHOP}\r\n");
    let many = (0..110).fold(String::new(), |all, i| all + &format!("x-{i}: 1\r\n"));
    let cases = [
        // Announced: refused before a byte of it is read.
        (format!("{head}content-length: 65537\r\n\r\n"), "413"),
        (
            format!("{head}transfer-encoding: chunked\r\n\r\n10001\r\n{}", "x".repeat(0x10001)),
            "413",
        ),
        (format!("{head}{many}\r\n"), "431"),
        (format!("{head}x: {}\r\n\r\n", "x".repeat(40_000)), "431"),
        (
            format!("GET /{} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", "x".repeat(2_100)),
            "414",
        ),
        ("nonsense\r\n\r\n".to_owned(), "400"),
        ("GET / HTTP/9.9\r\n\r\n".to_owned(), "400"),
        (format!("{head}content-length: 5\r\ncontent-length: 6\r\n\r\nhello"), "400"),
        (format!("{head}content-length: -1\r\n\r\n"), "400"),
        (format!("{head}transfer-encoding: chunked\r\n\r\nZZ\r\n"), "400"),
        (format!("{head}transfer-encoding: gzip\r\n\r\n"), "400"),
    ];
    for (sent, expected) in cases {
        let answer = all(&world, sent.as_bytes()).await;
        let status = answer.strip_prefix("HTTP/1.1 ").and_then(|it| it.get(..3)).unwrap_or("none");
        let what: String = sent.chars().take(200).collect();
        assert_eq!(status, expected, "{what}\n{}", answer.chars().take(400).collect::<String>());
    }
}

/// A client that sends everything before it reads must not find a broken pipe in place of the answer.
#[tokio::test]
async fn who_sends_too_much_still_hears_that_it_was_too_much() {
    let world = world_with(Limits { unread_bytes: 3_000_000, ..Setup::default().limits }).await;
    let body = "x".repeat(2_000_000);
    let next = "GET /openapi.json HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let chunked = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    let announced = format!("content-length: {}\r\n\r\n{body}", body.len());
    let chunked = format!("transfer-encoding: chunked\r\n\r\n{chunked}");
    for (path, credentials, status) in [
        ("/v1/entitlements", SHOP, "413"),
        ("/v1/entitlements", "ent_nobody", "401"),
        ("/v1/nothing", SHOP, "404"),
    ] {
        for body in [&announced, &chunked] {
            let head = format!(
                "POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {credentials}\r\n"
            );
            let answer = all(&world, format!("{head}{body}{next}").as_bytes()).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{path}: {answer:.300}");
            assert!(answer.contains("HTTP/1.1 200"), "{path}: the next one is answered too");
        }
    }
    // There is an end to it.
    let endless = format!("content-length: 900000000\r\n\r\n{}", "x".repeat(4_000_000));
    let head =
        format!("POST /v1/entitlements HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {SHOP}\r\n");
    let mut stream = TcpStream::connect(world.public).await.unwrap();
    drop(stream.write_all(format!("{head}{endless}").as_bytes()).await);
    to_end(&mut stream).await;
}

/// Two lengths: one answer at most, and never a second request out of the body of the first.
#[tokio::test]
async fn no_request_is_smuggled_in_the_body_of_another() {
    let world = world_with(Limits { head: SHORT, unread: SHORT, ..Setup::default().limits }).await;
    let inner = "GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n";
    for lengths in [
        "content-length: 0\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ncontent-length: 4",
        "content-length: 4\r\ntransfer-encoding : chunked",
        "transfer-encoding: xchunked",
        "transfer-encoding: chunked, identity",
        "content-length: 4, 4",
        "content-length: +4",
        "content-length: 0x4",
        "transfer-encoding:\u{b}chunked\r\ncontent-length: 4",
    ] {
        let sent = format!(
            "POST /v1/entitlements HTTP/1.1\r\nhost: x\r\n{lengths}\r\n\r\n1\r\nZ\r\n{inner}"
        );
        let answer = all(&world, sent.as_bytes()).await;
        assert!(!answer.contains("\"openapi\""), "{lengths}: the inner request was answered");
    }
}

#[tokio::test]
async fn a_proxy_on_this_machine_may_hold_more_connections_than_one_address() {
    let limits = Limits { connections_per_address: 3, ..Setup::default().limits };
    let world = world_with(limits).await;
    let hello = b"GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n";
    let mut kept = Vec::new();
    for _ in 0..9 {
        let mut stream = TcpStream::connect(world.public).await.unwrap();
        stream.write_all(hello).await.unwrap();
        let mut first = [0; 12];
        stream.read_exact(&mut first).await.unwrap();
        assert_eq!(&first, b"HTTP/1.1 200");
        kept.push(stream);
    }
}

/// A request of this address, as a proxy says, that is being answered: its body is waited for.
async fn begun(world: &World, ip: &str) -> Option<TcpStream> {
    let mut stream = TcpStream::connect(world.public).await.unwrap();
    let head = format!(
        "POST /v1/entitlements HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {SHOP}\r\n\
         x-forwarded-for: {ip}\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut first = [0; 12];
    stream.read_exact(&mut first).await.unwrap();
    match &first {
        b"HTTP/1.1 100" => Some(stream),
        b"HTTP/1.1 503" => None,
        other => panic!("{}", String::from_utf8_lossy(other)),
    }
}

#[tokio::test]
async fn who_sends_slowly_leaves_room_for_others_and_for_the_marketplace() {
    let world =
        world_with(Limits { in_flight: 4, webhooks_in_flight: 2, ..Setup::default().limits }).await;
    let (one, other) = ("203.0.113.7", "203.0.113.8");
    let mut held = Vec::new();
    for ip in [one, one] {
        held.push(begun(&world, ip).await.expect("half of the places"));
    }
    assert!(begun(&world, one).await.is_none(), "one address has no more than half");
    for ip in [other, other] {
        held.push(begun(&world, ip).await.expect("the other half"));
    }
    assert!(begun(&world, "203.0.113.9").await.is_none(), "all are taken");
    let webhook = world.client.post(world.url("/marketplace/webhook")).body("{}");
    assert_eq!(webhook.send().await.unwrap().status(), 401, "the marketplace has its own");
    let text = world.ops_get("/metrics").await.text().await.unwrap();
    for rule in ["in_flight_of_address", "in_flight"] {
        let line = format!("entitled_http_limited_total{{rule=\"{rule}\"}} 1");
        assert!(text.contains(&line), "{line}");
    }
}

#[tokio::test]
async fn a_connection_that_ends_leaves_its_place_to_one_that_waits() {
    let limits = Limits { connections: 1, ..Setup::default().limits };
    let world = world_with(limits).await;
    let hello = b"GET /openapi.json HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let first = TcpStream::connect(world.public).await.unwrap();
    let mut second = TcpStream::connect(world.public).await.unwrap();
    second.write_all(hello).await.unwrap();
    drop(first);
    assert!(to_end(&mut second).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn http_2_is_spoken_on_the_same_port() {
    let world = World::new().await;
    let client = reqwest::Client::builder().no_proxy().http2_prior_knowledge().build().unwrap();
    let ask = || {
        let request = client.post(world.url("/v1/entitlements")).bearer_auth(SHOP);
        request.body(question(CONTOSO, ANA).to_string()).send()
    };
    for response in futures_util::future::join_all((0..50).map(|_| ask())).await {
        let response = response.unwrap();
        assert_eq!(
            (response.status().as_u16(), response.version()),
            (200, reqwest::Version::HTTP_2)
        );
        let answer: Value = response.json().await.unwrap();
        assert_eq!(answer["state"], "active");
    }
}

#[tokio::test]
async fn what_is_under_way_is_finished_when_the_listener_stops() {
    let mut world = World::new().await;
    let mut stream = TcpStream::connect(world.public).await.unwrap();
    let body = question(CONTOSO, ANA).to_string();
    let head = format!(
        "POST /v1/entitlements HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {SHOP}\r\n\
         expect: 100-continue\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut go_on = [0; 25];
    stream.read_exact(&mut go_on).await.unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n", "it is being answered");
    world.cancel.cancel();
    stream.write_all(body.as_bytes()).await.unwrap();
    assert!(to_end(&mut stream).await.starts_with("HTTP/1.1 200"));
    while let Some(ended) = world.tasks.join_next().await {
        ended.unwrap();
    }
    assert!(TcpStream::connect(world.public).await.is_err(), "nobody listens any more");
}

/// A self-signed certificate and its key, for this test alone.
fn tls() -> Tls {
    let file = |name| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tls").join(name);
    Tls { certificate: file("test-only.pem"), key: file("test-only.key.pem") }
}

#[tokio::test]
async fn tls_is_ended_by_the_listener_when_it_has_a_certificate() {
    let limits = Limits { first_byte: Duration::from_secs(5), ..short() };
    let world = World::with(Setup { limits, tls: Some(tls()), ..Setup::default() }).await;
    let pem = std::fs::read(tls().certificate).unwrap();
    let trusted = reqwest::Certificate::from_pem(&pem).unwrap();
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([trusted]).build().unwrap();
    let url = format!("https://localhost:{}/v1/entitlements", world.public.port());
    let request = client.post(url).bearer_auth(SHOP).body(question(CONTOSO, ANA).to_string());
    let response = request.send().await.unwrap();
    assert_eq!((response.status().as_u16(), response.version()), (200, reqwest::Version::HTTP_2));
    let plain = all(&world, b"GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(!plain.contains("200 OK"), "nothing is served in the clear: {plain}");
}

#[test]
fn tls_files_that_cannot_be_used_are_named() {
    let check = |certificate: &Path, key: &Path| {
        let files = Tls { certificate: certificate.to_owned(), key: key.to_owned() };
        acceptor(&files).map(|_| ()).unwrap_err().to_string()
    };
    let (good, missing) = (tls(), Path::new("/nowhere/cert.pem"));
    assert!(check(missing, &good.key).contains("/nowhere/cert.pem"));
    assert!(check(&good.certificate, missing).contains("/nowhere/cert.pem"));
    assert!(check(&good.certificate, &good.certificate).contains("test-only.pem"));
    assert!(check(&good.key, &good.key).contains("cannot be used together"));
}
