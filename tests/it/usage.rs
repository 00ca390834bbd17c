//! Metered usage: reported by callers, summed up by the hour, told to Microsoft once.

mod door;
mod law;
mod operators;
mod sending;

use std::sync::Arc;

use entitled::domain::UsageEvent;
use entitled::sandbox::{AcceptedUsage, Fault, Faults, story};
use entitled::store::UsageFilter;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::world::{CALLER_KEY, World};

const USAGE: &str = "/v1/usage";

/// A world that has read the list of subscriptions.
async fn world() -> World {
    let world = World::new().await;
    world.sync().await;
    world
}

/// The customer's subscription.
fn subscription(world: &World, customer: story::Customer) -> Uuid {
    let tenant = customer.tenant.to_string().parse().unwrap();
    world.mirror().subscriptions_of(tenant).next().unwrap().id.as_uuid()
}

/// Proseware's: flat rate and Subscribed.
fn proseware(world: &World) -> Uuid {
    subscription(world, story::PROSEWARE)
}

async fn send(world: &World, body: &Value, idempotency_key: Option<&str>) -> (u16, Value) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("http://{}{USAGE}", world.daemon.public);
    let mut request = client.post(url).bearer_auth(CALLER_KEY).json(body);
    if let Some(key) = idempotency_key {
        request = request.header("idempotency-key", key);
    }
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

/// Reports a quantity of Proseware's exports; what is answered.
async fn exports(world: &World, quantity: &str) -> Value {
    let quantity: Value = serde_json::from_str(quantity).unwrap();
    let body =
        json!({ "subscription": proseware(world), "dimension": "exports", "quantity": quantity });
    let (status, answer) = send(world, &body, None).await;
    assert_eq!(status, 202, "{answer}");
    answer
}

/// Lets the hour end, and a little more.
fn hour_over(world: &World) {
    world.advance(SignedDuration::from_mins(75));
}

async fn pass(world: &World) {
    world.daemon.usage.pass().await.unwrap();
}

fn accepted(world: &World) -> Vec<AcceptedUsage> {
    world.microsoft(|it| it.accepted_usage())
}

fn events(world: &World) -> Vec<Arc<UsageEvent>> {
    world.daemon.store.usage(&UsageFilter::default())
}

fn states(world: &World) -> Vec<&'static str> {
    events(world).iter().map(|it| it.state.as_str()).collect()
}

fn faults(world: &World, faults: &[Fault]) {
    let set = faults.iter().fold(Faults::default(), |all, it| all.with(*it, 1.0));
    world.microsoft(|it| it.set_faults(set));
}

/// The first moment of the clock hour.
fn hour_of(at: Timestamp) -> Timestamp {
    entitled::domain::hour_of(at)
}
