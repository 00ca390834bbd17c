//! Commands that need no daemon: the demo, the sandbox.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::process::{Command, Stdio};

use base64::Engine as _;
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
    // A subscription from its purchase to its end, and what two users are answered after each act.
    let (_, acts) = ran.out.split_once("A subscription's life").unwrap();
    let told: Vec<&str> = acts.lines().skip(1).take_while(|line| !line.is_empty()).collect();
    let states: Vec<_> = told.iter().filter_map(|line| line.split_once("Jo ")).collect();
    let states: Vec<_> =
        states.iter().map(|(_, it)| it.split_whitespace().nth(1).unwrap()).collect();
    let expected = ["unlicensed", "active", "active", "active", "suspended", "active", "expired"];
    assert_eq!(states, expected, "{acts}");
    for action in
        ["Subscribe", "ChangeQuantity", "ChangePlan", "Suspend", "Reinstate", "Unsubscribe"]
    {
        assert!(acts.contains(&format!("(webhook {action}: ")), "{action} in {acts}");
    }
    // A license from its sale to its end: what Jo is answered after each act, and how it changed.
    let (_, life) = ran.out.split_once("A license's life").unwrap();
    let told: Vec<&str> = life.lines().skip(1).take_while(|line| !line.is_empty()).collect();
    let of_jo = told.iter().filter_map(|line| line.trim().strip_prefix("Jo "));
    let of_jo: Vec<&str> = of_jo.map(|it| it.split("   Lee").next().unwrap()).collect();
    let expected = [
        "✘ unlicensed (not_licensed)",
        "✘ unlicensed (not_licensed)",
        "✘ unlicensed (not_licensed) → ✔ active (license_active) with maps, storage",
        "✔ active (license_active) with maps, storage",
        "✔ active (license_active) with maps, storage → ✔ grace (license_grace) with maps, storage",
        "✔ grace (license_grace) with maps, storage → ✔ active (license_active) with maps, storage",
        "✔ active (license_active) with maps, storage",
        "✔ active (license_active) with maps, storage → ✘ expired (license_revoked)",
    ];
    assert_eq!(of_jo, expected, "{life}");
    for wanted in [
        "Lee ✘ unlicensed (not_licensed) → ✘ unlicensed (over_limit)",
        "Lee ✘ unlicensed (over_limit) → ✔ active (license_active)",
        "The report ✘ unlicensed (license_not_recognized) → ✔ active (license_active) with search",
        "in 12 hours: the kept answer ✔ holds   the package ✔ holds",
        "in 2 days: the kept answer ✘ is over   the package ✔ holds",
        "in 31 days: the kept answer ✘ is over   the package ✘ is over",
        "✘ its package is in the signed list of revoked ones",
    ] {
        assert!(life.contains(wanted), "{wanted} in {life}");
    }
    assert!(acts.contains("changes --subscription ") && acts.contains(" log"), "{acts}");
    assert!(!ran.out.contains("INSTEAD OF"), "{}", ran.out);
}

#[tokio::test]
async fn the_sandbox_tells_its_webhooks_to_the_address_it_is_given() {
    let receiver = wiremock::MockServer::start().await;
    let answer = wiremock::ResponseTemplate::new(200);
    let post = wiremock::Mock::given(wiremock::matchers::method("POST"));
    post.respond_with(answer).mount(&receiver).await;
    let to = format!("{}/marketplace/webhook", receiver.uri());
    let mut child = Command::new(BINARY)
        .args(["sandbox", "--listen", "127.0.0.1:0", "--json", "--tenants", "0"])
        .args(["--faults", "webhook.duplicate=1", "--webhook", &to])
        .args(["--app-id", "api://app-of-the-offer", "--webhook-token", "v1"])
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
    let person = entitled::sandbox::story::JO;
    let buy = json!({ "marketplace": { "buy": { "tenant": person.tenant, "user": person.user,
        "plan": "team", "quantity": 3, "auto_activate": true } } });
    assert_eq!(client.post(&control).json(&buy).send().await.unwrap().status(), 200);
    let told = loop {
        let told = receiver.received_requests().await.unwrap();
        if told.len() >= 2 {
            break told;
        }
        tokio::task::yield_now().await;
    };
    child.kill().unwrap();
    child.wait().unwrap();
    for request in &told {
        let body: Value = request.body_json().unwrap();
        assert_eq!(body["action"], "Subscribe");
        assert_eq!(request.url.path(), "/marketplace/webhook");
        let token = request.headers["authorization"].to_str().unwrap().strip_prefix("Bearer ");
        let claims = token.unwrap().split('.').nth(1).unwrap();
        let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(claims).unwrap();
        let claims: Value = serde_json::from_slice(&claims).unwrap();
        assert_eq!(claims["aud"], "api://app-of-the-offer");
        assert_eq!(claims["appid"], "20e940b3-4c77-4b0b-9a53-9e16a1b010a7");
    }
    alone("sandbox --webhook nonsense").await.says(2, &["nonsense", "http://127.0.0.1"]);
    alone("sandbox --app-id x").await.says(2, &["--webhook"]);
    let help = alone("sandbox --help").await.ok();
    for wanted in ["webhook.forge", "operation.failure", "activation=5m", "--webhook-token"] {
        assert!(help.out.contains(wanted), "{wanted} in {}", help.out);
    }
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
