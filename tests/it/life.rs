//! The lives of subscriptions: what is remembered, looked at, told and forgotten.

mod deadlines;
mod looks;
mod purge;
mod unread;

use entitled::domain::{Change, Commit, Life, Subscription, SubscriptionId};
use entitled::sandbox::story::Customer;
use entitled::store::ChangeFilter;
use jiff::SignedDuration;
use serde_json::Value;
use uuid::Uuid;

use crate::world::World;

const SUITE: &str = "viz-suite";

fn days(days: i64) -> SignedDuration {
    SignedDuration::from_hours(days * 24)
}

/// The one subscription of a customer.
fn of(world: &World, customer: Customer) -> SubscriptionId {
    let tenant = customer.tenant.to_string().parse().unwrap();
    world.mirror().subscriptions_of(tenant).next().unwrap().id
}

fn mirrored(world: &World, id: SubscriptionId) -> Subscription {
    world.mirror().subscription(id).unwrap().as_ref().clone()
}

fn life(world: &World, id: SubscriptionId) -> Life {
    world.mirror().life(&mirrored(world, id))
}

/// Changes a subscription at Microsoft without anybody being told.
fn at_microsoft(
    world: &World,
    id: SubscriptionId,
    change: impl FnOnce(&mut entitled::sandbox::Subscription),
) {
    world.microsoft(|it| {
        let mut subscription = it.subscription(id.as_uuid()).unwrap();
        change(&mut subscription);
        it.put_subscription(&subscription);
    });
}

fn set_status(world: &World, id: SubscriptionId, status: &str) {
    at_microsoft(world, id, |it| status.clone_into(&mut it.saas_subscription_status));
}

/// Has the watch look around: any commit wakes it, and the clock has moved.
async fn wake(world: &World) {
    world.daemon.store.commit(Commit::default()).await.unwrap();
}

/// Lets minute after minute pass, and the watch look around in each, until it is so.
async fn minute_by_minute(world: &World, what: &str, mut is_so: impl FnMut(&World) -> bool) {
    for _ in 0..2_000 {
        if is_so(world) {
            return;
        }
        world.advance(SignedDuration::from_mins(1));
        wake(world).await;
    }
    panic!("never came: {what}");
}

/// How often a subscription was read alone.
fn reads(world: &World, id: Uuid) -> usize {
    let of_it = format!("/saas/subscriptions/{id}?");
    world.sandbox.requests().iter().filter(|it| it.target.contains(&of_it)).count()
}

/// What the journal says of a subscription.
fn journal(world: &World, id: SubscriptionId) -> Vec<Change> {
    let filter = ChangeFilter { subscription: Some(id), ..ChangeFilter::default() };
    world.daemon.store.changes(&filter).unwrap()
}

/// The notes of the journal: what is no fact of Microsoft's.
fn notes(world: &World, id: SubscriptionId) -> Vec<String> {
    let note = |it: &Change| match (&it.before, &it.after) {
        (_, Some(entitled::domain::Fact::Words(words))) => Some(words.to_string()),
        (Some(entitled::domain::Fact::Words(words)), None) => Some(format!("no longer: {words}")),
        _ => None,
    };
    journal(world, id).iter().filter_map(note).collect()
}

/// What the command line would be told.
async fn admin(world: &World, path: &str) -> Vec<Value> {
    let socket = reqwest::Client::builder().unix_socket(world.daemon.admin.as_path()).no_proxy();
    let response = socket.build().unwrap().get(format!("http://daemon{path}")).send().await;
    let response = response.unwrap();
    assert_eq!(response.status().as_u16(), 200, "{path}");
    let text = response.text().await.unwrap();
    text.lines().map(|it| serde_json::from_str(it).unwrap()).collect()
}

/// The line of a metric.
async fn metric(world: &World, name: &str) -> String {
    let (_, text) = world.ops("/metrics").await;
    let line = text.lines().find(|it| it.starts_with(name));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).to_owned()
}
