//! Webhooks of the marketplace: written down before they are acknowledged, looked up, never believed.

mod answers;
mod held;
mod inbox;
mod ledger;
mod orders;
mod tokens;
mod trouble;

use std::sync::Arc;
use std::time::Duration;

use entitled::domain::{EventState, SubscriptionId, WebhookEvent};
use entitled::sandbox::{Subscription, TokenRequest, TokenVersion, story};
use entitled::store::WebhookFilter;
use jiff::SignedDuration;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::world::World;

const WEBHOOK: &str = "/marketplace/webhook";
const MARKETPLACE: &str = "20e940b3-4c77-4b0b-9a53-9e16a1b010a7";

/// A request for a token with which the marketplace calls.
pub fn genuine() -> TokenRequest {
    TokenRequest {
        tenant: story::PUBLISHER_TENANT,
        user: Uuid::from_u128(0x5e1f),
        audience: story::CLIENT_ID.to_string(),
        caller: MARKETPLACE.to_owned(),
        scope: String::new(),
        version: TokenVersion::V1,
        expires_in: SignedDuration::from_hours(1),
    }
}

/// An operation's id.
pub fn operation(number: u128) -> String {
    Uuid::from_u128(0xa100_0000_0000_4000_8000_0000_0000_0000 + number).to_string()
}

pub fn body(operation: &str, action: &str, subscription: Uuid) -> Value {
    json!({ "id": operation, "activityId": operation, "subscriptionId": subscription,
        "publisherId": "vizmaker", "offerId": "viz-suite", "planId": "", "quantity": "",
        "action": action, "status": "Succeeded", "operationRequestSource": "Azure" })
}

/// Sends a webhook as Microsoft does; the status.
pub(crate) async fn deliver(world: &World, body: &Value) -> u16 {
    let token = world.sandbox.user_token(genuine());
    send(world, &format!("Bearer {token}"), body.to_string()).await
}

async fn send(world: &World, authorization: &str, body: impl Into<reqwest::Body>) -> u16 {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("http://{}{WEBHOOK}", world.daemon.public);
    let request = client.post(url).header("authorization", authorization).body(body);
    request.send().await.unwrap().status().as_u16()
}

fn all(world: &World) -> Vec<Arc<WebhookEvent>> {
    world.daemon.store.webhooks(&WebhookFilter::default())
}

/// Waits until no webhook waits any more.
async fn settled(world: &World) {
    world.until("no webhook waits", |it| it.daemon.store.inbox().waiting == 0).await;
}

/// What became of each webhook.
fn states(world: &World) -> Vec<&'static str> {
    all(world).iter().map(|it| it.state.as_str()).collect()
}

/// Mia's company's subscription, at Microsoft.
fn subscription(world: &World) -> Subscription {
    let mirror = world.mirror();
    let tenant = story::PROSEWARE.tenant.to_string().parse().unwrap();
    let id = mirror.subscriptions_of(tenant).next().unwrap().id.as_uuid();
    world.microsoft(|it| it.subscription(id)).unwrap()
}

/// Changes a subscription at Microsoft without anybody being told.
fn set_status(world: &World, id: Uuid, status: &str) {
    world.microsoft(|it| {
        let mut subscription = it.subscription(id).unwrap();
        status.clone_into(&mut subscription.saas_subscription_status);
        it.put_subscription(&subscription);
    });
}

/// The status that the mirror has.
fn mirrored(world: &World, id: Uuid) -> String {
    let mirror = world.mirror();
    mirror.subscription(SubscriptionId::from_uuid(id)).unwrap().status.as_str().to_owned()
}

/// How often a subscription was read alone.
fn reads(world: &World, id: Uuid) -> usize {
    let of_it = format!("/saas/subscriptions/{id}?");
    world.sandbox.requests().iter().filter(|it| it.target.contains(&of_it)).count()
}

fn is_over(event: &WebhookEvent) -> bool {
    !matches!(event.state, EventState::Waiting)
}
