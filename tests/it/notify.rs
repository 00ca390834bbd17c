//! Events out: the publisher's own systems are told what happens, however badly they listen.

mod dead;
mod delivery;
mod kinds;
mod law;
mod licenses;
mod receiver;

use std::sync::Arc;
use std::time::Duration;

use entitled::domain::{Commit, Delivery, DeliveryState};
use entitled::sandbox::{Options, Subscription, story};
use jiff::SignedDuration;
use uuid::Uuid;

use self::receiver::{Got, Receiver, Reply};
use crate::world::World;

/// A synced world that tells these receivers, each of what it wants.
async fn world(receivers: &[&Receiver]) -> World {
    let world = unsynced(receivers).await;
    world.sync().await;
    settled(&world).await;
    world
}

async fn unsynced(receivers: &[&Receiver]) -> World {
    let extra: String = receivers.iter().map(|it| it.config()).collect();
    World::with(Options::default(), &extra).await
}

/// Waits until it is so; the task that tells looks again and again meanwhile.
async fn until(world: &World, what: &str, mut is_so: impl FnMut() -> bool) {
    world.until(what, |_| is_so()).await;
}

/// Makes the task that tells look at the clock.
async fn poke(world: &World) {
    world.daemon.store.commit(Commit::default()).await.unwrap();
}

/// Waits until nothing waits to be sent.
async fn settled(world: &World) {
    let store = world.daemon.store.clone();
    until(world, "nothing waits", || !store.has_events_waiting()).await;
}

/// Lets the task that tells look so often that whatever is due has begun.
async fn idle(world: &World) {
    for _ in 0..10 {
        poke(world).await;
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
}

/// Time passes and what is due by then is tried.
async fn pass(world: &World, by: SignedDuration) {
    world.advance(by);
    idle(world).await;
}

/// Mia's company's subscription.
fn subscription(world: &World) -> Uuid {
    let mirror = world.mirror();
    let tenant = story::PROSEWARE.tenant.to_string().parse().unwrap();
    mirror.subscriptions_of(tenant).next().unwrap().id.as_uuid()
}

/// Changes a subscription at Microsoft, and reads the list.
async fn edit(world: &World, id: Uuid, change: impl FnOnce(&mut Subscription)) {
    world.microsoft(|it| {
        let mut subscription = it.subscription(id).unwrap();
        change(&mut subscription);
        it.put_subscription(&subscription);
    });
    world.sync().await;
}

/// Suspends or reinstates, so that there is something to tell.
async fn set_status(world: &World, id: Uuid, status: &str) {
    edit(world, id, |it| status.clone_into(&mut it.saas_subscription_status)).await;
}

fn events(world: &World) -> Vec<Arc<Delivery>> {
    world.daemon.store.events(None)
}

fn is_dead(it: &Delivery) -> bool {
    matches!(it.state, DeliveryState::Dead { .. })
}

fn types(got: &[Got]) -> Vec<&str> {
    got.iter().map(|it| it.body["type"].as_str().unwrap()).collect()
}
