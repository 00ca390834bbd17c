//! SIGHUP: a changed configuration is taken over, a wrong one is not, and nobody goes without an
//! answer.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use entitled::sandbox::story;
use reqwest::Client;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::harness::*;
use crate::world::CALLER_KEY;

const LATER: &str = r#"
[[product]]
id = "later"
name = "Later"
hybrid = "none"
[[product.plan]]
service_id = "vizmaker.later.team"
channel = "appsource"
"#;

/// Asks again and again, each time by a connection of its own, until told to stop; every question is
/// answered. How many were.
async fn asked(public: String, until: CancellationToken) -> usize {
    let client = Client::builder().no_proxy().pool_max_idle_per_host(0).build().unwrap();
    let body = question();
    let mut answers = 0;
    while !until.is_cancelled() {
        let request = client.post(format!("{public}/v1/entitlements")).bearer_auth(CALLER_KEY);
        let answer = request.json(&body).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let answer: Value = answer.json().await.unwrap();
        assert_eq!(answer["usable"], true, "{answer}");
        answers += 1;
    }
    answers
}

/// A question of which the second half is still to be sent.
fn half_asked(public: &str) -> (TcpStream, String) {
    let body = question().to_string();
    let head = format!(
        "POST /v1/entitlements HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {CALLER_KEY}\r\n\
         connection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let (first, rest) = body.split_at(10);
    let mut stream = TcpStream::connect(public.strip_prefix("http://").unwrap()).unwrap();
    stream.write_all(format!("{head}{first}").as_bytes()).unwrap();
    (stream, rest.to_owned())
}

fn question() -> Value {
    let (tenant, user) = (story::BEN.tenant, story::BEN.user);
    json!({ "product": "synoptic-panel", "host": "web", "tenant": tenant, "user": user })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_configuration_is_taken_over_and_nobody_goes_without_an_answer() {
    let (site, server) = Site::synced().await;
    let (stop, mut asking) = (CancellationToken::new(), JoinSet::new());
    asking.spawn(asked(server.public.clone(), stop.clone()));
    assert_ne!(server.ask("later", story::BEN).await.status, 200, "not known yet");

    let (mut slow, rest) = half_asked(&server.public);
    let before = fs::read_to_string(site.config()).unwrap();
    fs::write(site.config(), format!("{before}{LATER}")).unwrap();
    server.signal(Signal::HUP);
    let began = Instant::now();
    while server.ask("later", story::BEN).await.status != 200 {
        assert!(began.elapsed() < Duration::from_secs(40), "{}", server.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(server.ask("synoptic-panel", story::BEN).await.says(), "active seat_by_group");
    assert!(server.cli("status").await.ok().out.contains("directory"));

    // Whoever was in the middle of his question goes on with it.
    slow.write_all(rest.as_bytes()).unwrap();
    let mut answer = String::new();
    slow.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("seat_by_group"), "{answer}");

    // Wrong, or not to be served: the one before stays.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("public = \"{}\"", taken.local_addr().unwrap());
    let unserved = before.replacen("public = \"127.0.0.1:0\"", &address, 1);
    assert_ne!(unserved, before);
    for (config, told) in [
        (format!("{before}[nonsense]\n"), "nothing of it is taken over"),
        (unserved, "the one before stays"),
    ] {
        fs::write(site.config(), config).unwrap();
        server.signal(Signal::HUP);
        let began = Instant::now();
        while !server.log().contains(told) {
            assert!(began.elapsed() < Duration::from_secs(40), "{told}: {}", server.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(server.ask("later", story::BEN).await.status, 200, "{told}");
    }
    stop.cancel();
    let answers = asking.join_next().await.unwrap().unwrap();
    assert!(answers > 10, "{answers}");
    assert!(server.terminate().await.success());
}
