//! Commands that need no daemon: the demo, the sandbox.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::harness::*;

/// Runs the binary with these words; for commands that take no `--config`.
async fn alone(words: &str) -> Ran {
    run(std::path::Path::new("/nowhere"), words).await
}

#[tokio::test]
async fn the_demo_asks_its_questions_and_ends_well() {
    let ran = alone("demo --exit").await.ok();
    let states =
        ["active", "trial", "grace", "pending", "suspended", "expired", "unlicensed", "unknown"];
    let shown: BTreeSet<_> = states
        .into_iter()
        .filter(|it| ran.out.split_whitespace().any(|word| word == *it))
        .collect();
    assert_eq!(shown.len(), states.len(), "{shown:?} in {}", ran.out);
    for wanted in ["appsource", "saas", "isv_app", "group", "host"] {
        assert!(ran.out.contains(wanted), "{wanted} in {}", ran.out);
    }
    let answers = ran.out.lines().filter(|line| {
        let mut words = line.split_whitespace();
        words.any(|word| states.contains(&word))
    });
    assert!(answers.count() >= 12, "{}", ran.out);
    assert!(!ran.err.contains("error"), "{}", ran.err);
}

#[tokio::test]
async fn the_sandbox_says_where_it_is_and_does_what_it_is_told() {
    let mut child = Command::new(BINARY)
        .args(["sandbox", "--listen", "127.0.0.1:0", "--json", "--tenants", "1", "--users", "3"])
        .args(["--faults", "graph.429=0.5"])
        .env_clear()
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let told: Value = serde_json::from_str(&line).unwrap();
    let control = format!("{}/control", told["base"].as_str().unwrap());
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let figures: Value = client.get(&control).send().await.unwrap().json().await.unwrap();
    assert!(figures["faults"].as_str().unwrap().contains("graph.429=0.5"), "{figures}");
    let wrong = client.post(&control).json(&json!({"nonsense": {}})).send().await.unwrap();
    assert_eq!(wrong.status(), 400);
    let done = client.post(&control).json(&json!({"outage": "on"})).send().await.unwrap();
    assert_eq!(done.status(), 200);
    let figures: Value = client.get(&control).send().await.unwrap().json().await.unwrap();
    assert_eq!(figures["outage"], true);
    child.kill().unwrap();
    child.wait().unwrap();

    alone("sandbox --faults nonsense=1").await.says(2, &["nonsense", "graph.429"]);
    alone("sandbox --faults graph.429=2").await.says(2, &["0 to 1"]);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let line = format!("sandbox --listen {address}");
    alone(&line).await.says(1, &[&address.to_string(), "choose another", "in use"]);
}
