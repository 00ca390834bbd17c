//! The marketplace's webhook through a real socket: refused or written down, nothing between.

use entitled::domain::{Action, Announcement, Receipt};
use entitled::store::{Arrival, WebhookFilter};
use serde_json::Value;

use super::harness::{Setup, World};
use crate::tokens::webhook::{hostile_webhooks, wanted};
use crate::tokens::{Draft, PretendEntra, Version};

const WEBHOOK: &str = "/marketplace/webhook";
const BODY: &str = r#"{"id":"a1000000-0000-4000-8000-000000000001","action":"Unsubscribe",
    "subscriptionId":"00000000-0000-0000-0000-000000005ea7"}"#;

fn genuine() -> String {
    wanted(|| Draft::good(Version::V2).signed())
}

async fn metrics(world: &World) -> String {
    let url = format!("http://{}/metrics", world.ops);
    world.client.get(url).send().await.unwrap().text().await.unwrap()
}

/// How often Entra's keys were read.
fn fetches(world: &World) -> u64 {
    u64::try_from(world.entra.fetches.load(std::sync::atomic::Ordering::SeqCst)).unwrap()
}

/// How many figures there are.
async fn series(world: &World) -> usize {
    metrics(world)
        .await
        .lines()
        .filter(|it| !it.starts_with('#') && !it.contains("_bucket"))
        .count()
}

async fn send(world: &World, token: &str) -> reqwest::Response {
    let request = world.client.post(world.url(WEBHOOK)).bearer_auth(token);
    request.body(BODY).send().await.unwrap()
}

#[tokio::test]
async fn every_hostile_token_is_a_401_without_effect_and_without_a_storm_of_fetches() {
    let world = World::new().await;
    // Entra's keys are read and kept at the first token of all, here a user's own.
    assert_eq!(send(&world, &Draft::good(Version::V2).signed()).await.status(), 401);
    let (revision, fetched) = (world.store.mirror().revision(), fetches(&world));
    let (series, bytes) = (series(&world).await, world.store.report().live_bytes);
    let mut sent = 1;
    for (what, token) in hostile_webhooks() {
        // What cannot stand in a header never comes this far; the head's size is the edge's matter.
        let fits = token.len() < 12_000 && !token.trim().is_empty();
        if !fits || reqwest::header::HeaderValue::from_str(&token).is_err() {
            continue;
        }
        // An answer is a 401 even where the token is one with a space before it cut off.
        assert_eq!(send(&world, &token).await.status(), 401, "{what}");
        sent += 1;
    }
    assert!(sent >= 400, "the corpus of the plan has at least 400: {sent}");
    assert!(sent > 500, "{sent}");
    let commits = world.store.mirror().revision() - revision;
    assert!(commits <= fetches(&world) - fetched, "nothing was committed but Entra's keys");
    assert!(commits <= 1, "{commits}");
    let kept = world.store.report().live_bytes != bytes;
    assert!(commits > 0 || !kept, "nothing was kept but Entra's keys");
    let counted = format!("entitled_webhooks_total{{outcome=\"unauthorized\"}} {sent}");
    let metrics = metrics(&world).await;
    assert!(metrics.lines().any(|it| it == counted), "each is counted: {metrics}");
    // What each costs stays the same: nothing grows with what a token says or with their number.
    let grown = self::series(&world).await - series;
    assert!(grown <= 6, "{grown} new series for {sent} tokens");
    assert!(world.store.webhooks(&WebhookFilter::default()).is_empty());
    assert!(fetches(&world) <= 3, "{}", fetches(&world));
    assert_eq!(send(&world, &genuine()).await.status(), 200, "and a genuine one is let in");
    assert_eq!(world.store.webhooks(&WebhookFilter::default()).len(), 1);
}

#[tokio::test]
async fn our_own_trouble_is_a_503_with_a_time_to_come_again() {
    let world = World::new().await;
    world.store.close().await;
    let answer = send(&world, &genuine()).await;
    assert_eq!(answer.status(), 503, "nothing can be written down");
    assert!(answer.headers().contains_key("retry-after"));
    let problem: Value = answer.json().await.unwrap();
    assert!(!problem.to_string().contains("closed"), "no cause is told: {problem}");

    let world = World::with(Setup { entra: PretendEntra::default(), ..Setup::default() }).await;
    let answer = send(&world, &genuine()).await;
    assert_eq!(answer.status(), 503, "nobody can tell whether the token is good");
    assert!(answer.headers().contains_key("retry-after"));
    assert!(world.store.webhooks(&WebhookFilter::default()).is_empty());
}

#[tokio::test]
async fn a_full_inbox_is_a_503_and_what_is_known_is_still_acknowledged() {
    let world = World::new().await;
    assert_eq!(send(&world, &genuine()).await.status(), 200);
    // Nobody works anything off here.
    let arrival = |number: u32| Arrival {
        said: Announcement {
            operation: Some(number.to_string().into()),
            action: Action::Renew,
            subscription: None,
            plan: None,
            quantity: None,
        },
        body: "{}".into(),
        received: world.store.webhooks(&WebhookFilter::default())[0].received,
        sent: None,
    };
    let fill = (1..20_000).map(|it| world.store.receive(arrival(it)));
    for receipt in futures_util::future::join_all(fill).await {
        assert_eq!(receipt.unwrap(), Receipt::New);
    }
    assert_eq!(send(&world, &genuine()).await.status(), 200, "a repetition takes no room");
    let other = BODY.replace("Unsubscribe", "Suspend");
    let request = world.client.post(world.url(WEBHOOK)).bearer_auth(genuine()).body(other);
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 503, "Microsoft comes again for eight hours");
    assert!(answer.headers().contains_key("retry-after"));
    assert_eq!(world.store.inbox().waiting, 20_000);
}
