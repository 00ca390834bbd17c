//! What is ordered from Microsoft, through the real daemon, against the stand-in.

mod cancel;
mod change;
mod commands;
mod purchase;
mod restart;
mod trouble;

use std::time::Duration;

use entitled::domain::{Cause, Fact, PurchaseToken, SubscriptionId};
use entitled::sandbox::{Faults, Options, Purchase, Stumble, Subscription, story};
use entitled::store::{ChangeFilter, WebhookFilter};
use entitled::sync::orders::{Order, OrderEnd, OrderError, OrderStep, Ordered, Request};
use jiff::SignedDuration;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::world::World;

/// A synced world and a purchase of 25 seats of plan `team`, live for a day.
struct Bought {
    world: World,
    id: Uuid,
}

impl Bought {
    async fn new() -> Self {
        let it = Self::pending("").await;
        it.edit(|it| {
            "Subscribed".clone_into(&mut it.saas_subscription_status);
            it.term.start_date = Some("2026-11-18T00:00:00Z".to_owned());
            it.term.end_date = Some("2026-12-17T00:00:00Z".to_owned());
        });
        it.world.sync().await;
        it
    }

    /// Bought and not activated, with these faults.
    async fn pending(faults: &str) -> Self {
        let faults: Faults = faults.parse().unwrap();
        let world = World::with(Options { faults, ..Options::default() }, "").await;
        let id = world.microsoft(|it| {
            it.buy(Purchase {
                tenant: story::PROSEWARE.tenant,
                user: story::MIA.user,
                name: "Suite of Mia".to_owned(),
                plan: story::SUITE_TEAM.to_owned(),
                quantity: Some(25),
                auto_activate: false,
                reseller: None,
            })
        });
        let it = Self { id: id.unwrap(), world };
        it.world.advance(SignedDuration::from_hours(24));
        it.world.sync().await;
        it
    }

    fn subscription(&self) -> SubscriptionId {
        SubscriptionId::from_uuid(self.id)
    }

    /// Changes it at Microsoft without anybody being told.
    fn edit(&self, change: impl FnOnce(&mut Subscription)) {
        self.world.microsoft(|it| {
            let mut subscription = it.subscription(self.id).unwrap();
            change(&mut subscription);
            it.put_subscription(&subscription);
        });
    }

    fn status(&self, status: &str) {
        self.edit(|it| status.clone_into(&mut it.saas_subscription_status));
    }

    fn stumble(&self, stumble: Stumble) {
        self.world.microsoft(|it| it.stumble(stumble));
    }

    /// The next requests of this method for the subscription itself.
    fn trip(&self, method: &str, status: u16, times: u32) -> Stumble {
        Stumble::new(method, &self.id.to_string(), status, times)
    }

    fn request(order: Order) -> Request {
        Request { order, by: Cause::Command, force: false, wait: true }
    }

    async fn order(&self, order: Order) -> Result<Ordered, OrderError> {
        self.told(Self::request(order)).await.0
    }

    async fn forced(&self, order: Order) -> Result<Ordered, OrderError> {
        self.told(Request { force: true, ..Self::request(order) }).await.0
    }

    /// An order, and every step of it.
    async fn told(&self, request: Request) -> (Result<Ordered, OrderError>, Vec<OrderStep>) {
        let (progress, mut steps) = mpsc::channel(256);
        let ordered = self.world.daemon.orders.order(self.subscription(), request, progress).await;
        let mut told = Vec::new();
        while let Some(step) = steps.recv().await {
            told.push(step);
        }
        (ordered, told)
    }

    /// Whether it ended so, and both Microsoft and the mirror have this plan, quantity and status.
    #[track_caller]
    fn is(&self, plan: &str, quantity: Option<u32>, status: &str) {
        let truth = self.world.microsoft(|it| it.subscription(self.id)).unwrap();
        let told = (&*truth.plan_id, truth.quantity, &*truth.saas_subscription_status);
        assert_eq!(told, (plan, quantity, status), "at Microsoft");
        let mirror = self.world.mirror();
        let mirrored = mirror.subscription(self.subscription()).unwrap();
        let told = (&*mirrored.plan, mirrored.quantity, mirrored.status.as_str());
        assert_eq!(told, (plan, quantity.map(u64::from), status), "in the mirror");
    }

    /// How many requests of this method went to the subscription, or below it to `end`.
    fn asked(&self, method: &str, end: &str) -> usize {
        let path = format!("/saas/subscriptions/{}{end}?", self.id);
        let lines = self.world.sandbox.requests();
        lines.iter().filter(|it| it.method == method && it.target.contains(&path)).count()
    }

    /// The words of the journal about it, with their cause.
    fn journal(&self) -> Vec<String> {
        let subscription = Some(self.subscription());
        let filter = ChangeFilter { subscription, ..ChangeFilter::default() };
        let changes = self.world.daemon.store.changes(&filter).unwrap();
        let words = changes.into_iter().filter_map(|it| match it.after {
            Some(Fact::Words(words)) => Some(format!("{}: {words}", it.cause)),
            _ => None,
        });
        words.collect()
    }
}

fn plan(id: &str) -> Order {
    Order::Plan(id.into())
}

/// The word of an error, and that its text says each of these.
#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, OrderError>, word: &str, says: &[&str]) {
    let error = result.unwrap_err();
    assert_eq!(error.word(), word, "{error}");
    let text = error.to_string();
    assert!(says.iter().all(|it| text.contains(it)), "{says:?} in {text}");
}

#[track_caller]
fn ended(result: Result<Ordered, OrderError>, end: OrderEnd) -> Ordered {
    let ordered = result.unwrap();
    assert_eq!(ordered.end, end, "{ordered:?}");
    ordered
}
