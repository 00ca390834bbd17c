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

async fn send(world: &World, token: &str) -> reqwest::Response {
    let request = world.client.post(world.url(WEBHOOK)).bearer_auth(token);
    request.body(BODY).send().await.unwrap()
}

#[tokio::test]
async fn every_hostile_token_is_a_401_without_effect_and_without_a_storm_of_fetches() {
    let world = World::new().await;
    let mut sent = 0;
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
    assert!(sent > 500, "{sent}");
    assert!(world.store.webhooks(&WebhookFilter::default()).is_empty());
    let fetches = world.entra.fetches.load(std::sync::atomic::Ordering::SeqCst);
    assert!(fetches <= 3, "{fetches}");
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
