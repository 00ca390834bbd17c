//! A daemon that Microsoft tells of what happens to subscriptions, in time that the test moves.

use std::sync::Arc;
use std::time::Duration;

use entitled::domain::{Commit, Subscription, SubscriptionId, TenantId, WebhookEvent};
use entitled::microsoft::{Credential, Hosts, Meter, Microsoft, Secret, Settings};
use entitled::sandbox::{Options, Purchase, Webhook, story};
use entitled::store::WebhookFilter;
use jiff::SignedDuration;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::world::World;

pub(super) const WEBHOOK: &str = "/marketplace/webhook";
/// The product that the SaaS offer is.
pub(super) const SUITE: &str = "viz-suite";

/// A synced world; its webhooks are delivered when the test says so.
pub(super) struct Scene {
    pub(super) world: World,
}

impl Scene {
    pub(super) async fn new() -> Self {
        Self::with("").await
    }

    /// With keys of `[marketplace]` and further tables.
    pub(super) async fn with(extra: &str) -> Self {
        Self::of(Options::default(), extra).await
    }

    pub(super) async fn of(options: Options, extra: &str) -> Self {
        let world = World::with(options, extra).await;
        world.sync().await;
        let to = Webhook::to(&format!("http://{}{WEBHOOK}", world.daemon.public));
        world.microsoft(|it| {
            it.set_webhook(Some(to));
            it.deliver_by_hand(true);
        });
        Self { world }
    }

    pub(super) fn faults(&self, spec: &str) {
        self.world.microsoft(|it| it.set_faults(spec.parse().unwrap()));
    }

    /// The one subscription of a person's company.
    pub(super) fn id(&self, person: story::Person) -> Uuid {
        let tenant: TenantId = person.tenant.to_string().parse().unwrap();
        self.world.mirror().subscriptions_of(tenant).next().unwrap().id.as_uuid()
    }

    /// A purchase by a customer of the story.
    pub(super) fn buy(&self, person: story::Person, plan: &str, auto_activate: bool) -> Uuid {
        let purchase = Purchase {
            tenant: person.tenant,
            user: person.user,
            name: String::new(),
            plan: plan.to_owned(),
            quantity: Some(5),
            auto_activate,
            reseller: None,
        };
        self.world.microsoft(|it| it.buy(purchase)).unwrap()
    }

    /// What is true at Microsoft.
    pub(super) fn truth(&self, id: Uuid) -> entitled::sandbox::Subscription {
        self.world.microsoft(|it| it.subscription(id)).unwrap()
    }

    /// Changes what is true at Microsoft, without anybody being told.
    pub(super) fn change(
        &self,
        id: Uuid,
        change: impl FnOnce(&mut entitled::sandbox::Subscription),
    ) {
        self.world.microsoft(|it| {
            let mut subscription = it.subscription(id).unwrap();
            change(&mut subscription);
            it.put_subscription(&subscription);
        });
    }

    /// A subscription that the marketplace returns byte by byte: Mia's company's, spoilt.
    pub(super) fn upsert(&self, id: &str, spoil: impl FnOnce(&mut Value)) -> Uuid {
        let mut record = serde_json::to_value(self.truth(self.id(story::MIA))).unwrap();
        record["id"] = json!(id);
        spoil(&mut record);
        self.world.microsoft(|it| it.upsert_subscription(&record.to_string())).unwrap()
    }

    pub(super) fn mirrored(&self, id: Uuid) -> Arc<Subscription> {
        let mirror = self.world.mirror();
        Arc::clone(mirror.subscription(SubscriptionId::from_uuid(id)).unwrap())
    }

    /// Status, plan and quantity as the mirror has them.
    pub(super) fn stands(&self, id: Uuid) -> (String, String, Option<u64>) {
        let it = self.mirrored(id);
        (it.status.as_str().to_owned(), it.plan.to_string(), it.quantity)
    }

    /// The same at Microsoft.
    pub(super) fn stands_there(&self, id: Uuid) -> (String, String, Option<u64>) {
        let it = self.truth(id);
        (it.saas_subscription_status, it.plan_id, it.quantity.map(u64::from))
    }

    pub(super) fn events(&self) -> Vec<Arc<WebhookEvent>> {
        self.world.daemon.store.webhooks(&WebhookFilter::default())
    }

    pub(super) async fn answer(&self, person: story::Person) -> String {
        self.world.answer(person, SUITE).await
    }

    /// Delivers what is due and waits until nobody is at work on it.
    pub(super) async fn deliver(&self) {
        self.world.sandbox.deliver_webhooks().await;
        self.rest().await;
    }

    /// Wakes whoever waits for the clock, then waits until nothing moves any more.
    pub(super) async fn rest(&self) {
        let store = &self.world.daemon.store;
        store.commit(Commit::default()).await.unwrap();
        let mut revisions = store.revisions();
        revisions.mark_unchanged();
        let still = Duration::from_millis(120);
        let mut seen = self.world.sandbox.requests().len();
        while store.inbox().waiting > 0 {
            let moved = tokio::time::timeout(still, revisions.changed()).await.is_ok();
            let now = self.world.sandbox.requests().len();
            if !moved && now == seen {
                return;
            }
            seen = now;
        }
    }

    pub(super) fn pass(&self, seconds: i64) {
        self.world.advance(SignedDuration::from_secs(seconds));
    }

    /// Delivers and works off until nothing is left to tell or to look up.
    pub(super) async fn play_out(&self) {
        for _ in 0..60 {
            self.deliver().await;
            let untold = self.world.microsoft(|it| it.webhooks_waiting());
            if untold + self.world.daemon.store.inbox().waiting == 0 {
                return;
            }
            self.pass(2);
        }
        panic!("it does not end: {:?}", self.events());
    }

    /// Requests of this verb whose target contains this.
    pub(super) fn asked(&self, verb: &str, part: &str) -> usize {
        let requests = self.world.sandbox.requests();
        requests.iter().filter(|it| it.method == verb && it.target.contains(part)).count()
    }

    /// Our client, to say what the daemon has no door for.
    pub(super) fn client(&self) -> (Microsoft, Meter) {
        let at = |path: &str| format!("{}{path}", self.world.sandbox.base()).parse().unwrap();
        let settings = Settings {
            hosts: Hosts {
                login: at("/login"),
                marketplace: at("/marketplace"),
                graph: at("/graph"),
                partner_center: at("/partner_center"),
                report_hosts: Vec::new(),
            },
            tenant: story::PUBLISHER_TENANT.to_string().parse().unwrap(),
            client_id: story::CLIENT_ID.to_string(),
            credential: Credential::Secret(Secret::new(story::CLIENT_SECRET)),
            identity_endpoint: None,
        };
        let now = self.world.now();
        let sleep: entitled::microsoft::Sleep = Arc::new(|_| Box::pin(tokio::task::yield_now()));
        (Microsoft::new(settings, Arc::new(move || now), sleep).unwrap(), Meter::new())
    }

    /// Sends a webhook with this `Authorization`; the status.
    pub(super) async fn send(&self, authorization: Option<&str>, body: &Value) -> u16 {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let request = client.post(format!("http://{}{WEBHOOK}", self.world.daemon.public));
        let request = match authorization {
            Some(it) => request.header("authorization", it),
            None => request,
        };
        request.body(body.to_string()).send().await.unwrap().status().as_u16()
    }

    /// Any body, told by Microsoft itself; the status of the answer.
    pub(super) async fn told(&self, body: &Value) -> u16 {
        self.world.microsoft(|it| it.send_webhook(&body.to_string()));
        let told = self.world.sandbox.deliver_webhooks().await;
        self.rest().await;
        let entitled::sandbox::Fate::Answered(status) = told.last().unwrap().fate else {
            panic!("{told:?}");
        };
        status
    }

    /// One figure of `/metrics`, 0 where there is none.
    pub(super) async fn figure(&self, name: &str) -> f64 {
        let (_, text) = self.world.ops("/metrics").await;
        let line =
            text.lines().find(|it| it.strip_prefix(name).is_some_and(|it| it.starts_with(' ')));
        line.map_or(0.0, |it| it.rsplit(' ').next().unwrap().parse().unwrap())
    }
}

/// A webhook of the full shape about something that Microsoft has done.
pub(super) fn body(operation: u128, action: &str, subscription: Uuid) -> Value {
    let operation =
        Uuid::from_u128(operation.wrapping_add(0xa100_0000_0000_4000_8000_0000_0000_0000));
    json!({ "id": operation, "activityId": operation, "subscriptionId": subscription,
        "publisherId": "vizmaker", "offerId": "viz-suite", "planId": "company", "quantity": 1,
        "action": action, "status": "Succeeded", "operationRequestSource": "Azure",
        "timeStamp": "2026-11-18T10:11:12.3456789Z", "purchaseToken": null })
}
