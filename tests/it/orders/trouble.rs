//! What may have happened or not: read back, never simply repeated. Source: marketplace-saas.md 3.4.

use entitled::decision::{Past, Question, rewind};
use entitled::domain::{Host, HybridMode, Policy, Product};

use super::*;

/// How an order is asked for, and what it is.
type Asked = (&'static str, fn() -> Order);

const ORDERS: [Asked; 2] = [("PATCH", || plan("company")), ("DELETE", || Order::Cancel)];

impl Bought {
    #[track_caller]
    fn shows(&self, order: &Order) {
        match order {
            Order::Plan(_) | Order::Quantity(_) => self.is("company", None, "Subscribed"),
            Order::Cancel => self.is("team", Some(25), "Unsubscribed"),
        }
    }
}

#[tokio::test]
async fn what_happened_though_nothing_was_said_is_found_and_not_asked_again() {
    for (method, order) in ORDERS {
        let statuses = if method == "PATCH" { &[500, 503, 0][..] } else { &[504, 0] };
        for status in statuses.iter().copied() {
            let it = Bought::new().await;
            it.stumble(it.trip(method, status, 1).but_done());
            ended(it.order(order()).await, OrderEnd::Done);
            assert_eq!(it.asked(method, ""), 1, "{method} {status}");
            it.shows(&order());
        }
    }
}

#[tokio::test]
async fn what_is_being_carried_out_though_nothing_was_said_is_followed() {
    for (method, order) in ORDERS {
        let it = Bought::new().await;
        it.stumble(it.trip(method, 500, 1).but_done());
        // Nothing shows at first, for operations are listed late.
        it.stumble(Stumble::new("GET", "operations", 200, 1));
        let (ordered, steps) = it.told(Bought::request(order())).await;
        ended(ordered, OrderEnd::Done);
        assert!(matches!(steps[0], OrderStep::ReadingBack { .. }), "{steps:?}");
        assert_eq!(it.asked(method, ""), 1);
    }
}

#[tokio::test]
async fn what_did_not_happen_is_asked_again_after_it_was_seen() {
    for (method, order) in ORDERS {
        let it = Bought::new().await;
        it.stumble(it.trip(method, 500, 2));
        ended(it.order(order()).await, OrderEnd::Done);
        assert_eq!(it.asked(method, ""), 3);
        assert!(it.asked("GET", "/operations") >= 2, "operations were looked at in between");
        it.shows(&order());
    }
}

#[tokio::test]
async fn after_three_times_nothing_it_is_told_that_nothing_happened() {
    for (method, order) in ORDERS {
        let it = Bought::new().await;
        it.stumble(it.trip(method, 500, 9));
        refused(it.order(order()).await, "away", &["nothing was changed", "try again later"]);
        assert_eq!(it.asked(method, ""), 3);
        it.is("team", Some(25), "Subscribed");
        assert!(it.journal()[1].contains("came to nothing"));
    }
}

#[tokio::test]
async fn an_order_that_cannot_be_read_back_is_open_and_says_where_to_look() {
    for (method, order) in ORDERS {
        let it = Bought::new().await;
        it.stumble(it.trip(method, 500, 1).but_done());
        it.stumble(Stumble::new("GET", "operations", 500, 99));
        let told = it.order(order()).await;
        refused(told, "unsure", &["is not known", &format!("subscriptions show {}", it.id)]);
        assert_eq!(it.asked(method, ""), 1, "not asked again");
        // The list brings what happened.
        it.world.advance(SignedDuration::from_mins(1));
        it.world.sync().await;
        it.shows(&order());
    }
}

#[tokio::test]
async fn throttling_is_waited_for_and_a_stale_token_renewed_once() {
    for (method, order) in ORDERS {
        let it = Bought::new().await;
        it.stumble(it.trip(method, 429, 1));
        it.stumble(it.trip(method, 403, 1).saying("\"Forbidden text\""));
        ended(it.order(order()).await, OrderEnd::Done);
        assert_eq!(it.asked(method, ""), 3);
    }
}

#[tokio::test]
async fn a_registration_that_is_wrong_is_permanent_and_told_with_the_remedy() {
    for (method, order) in ORDERS {
        let it = Bought::new().await;
        for (asked, status) in [(2, 401), (4, 403)] {
            it.stumble(it.trip(method, status, 2));
            refused(it.order(order()).await, "registration", &["Partner Center"]);
            assert_eq!(it.asked(method, ""), asked);
            it.is("team", Some(25), "Subscribed");
        }
    }
}

#[tokio::test]
async fn a_subscription_that_microsoft_does_not_know_is_told() {
    for (method, order) in ORDERS {
        let it = Bought::new().await;
        it.stumble(it.trip(method, 404, 1));
        refused(it.order(order()).await, "unknown", &["compare the id"]);
        it.stumble(it.trip("GET", 404, 1));
        refused(it.order(order()).await, "unknown", &["compare the id"]);
    }
}

#[tokio::test]
async fn an_order_that_was_taken_and_can_no_longer_be_read_goes_on_at_microsoft() {
    let it = Bought::new().await;
    it.stumble(Stumble::new("GET", "operations/*", 403, 9));
    let (told, steps) = it.told(Bought::request(plan("company"))).await;
    let Some(OrderStep::Accepted { operation }) = steps.first() else { panic!("{steps:?}") };
    refused(told, "lost", &[operation, "goes on there", "Partner Center"]);
}

#[tokio::test]
async fn our_own_change_comes_back_by_webhook_and_is_never_acknowledged() {
    let it = Bought::new().await;
    let hook = format!("http://{}/marketplace/webhook", it.world.daemon.public);
    it.world.microsoft(|world| {
        world.set_webhook(Some(entitled::sandbox::Webhook {
            audience: story::CLIENT_ID.to_string(),
            ..entitled::sandbox::Webhook::to(&hook)
        }));
        world.deliver_by_hand(true);
    });
    let done = ended(it.order(plan("company")).await, OrderEnd::Done);
    let mut revisions = it.world.daemon.store.revisions();
    while it.world.microsoft(|world| world.webhooks_waiting()) > 0 {
        it.world.sandbox.deliver_webhooks().await;
    }
    while it.world.daemon.store.inbox().waiting > 0 {
        revisions.changed().await.unwrap();
    }
    let came = it.world.daemon.store.webhooks(&WebhookFilter::default());
    let operation = done.operation.unwrap();
    assert_eq!(came[0].said.operation.as_deref(), Some(&*operation));
    assert_eq!(came[0].answered, None);
    assert_eq!(it.asked("PATCH", &format!("/operations/{operation}")), 0);
    it.is("company", None, "Subscribed");
    let (_, metrics) = it.world.ops("/metrics").await;
    let counted = "entitled_orders_total{order=\"change_plan\",outcome=\"done\"} 1";
    assert!(metrics.contains(counted), "{metrics}");
}

#[tokio::test]
async fn what_was_said_about_a_subscription_undoes_nothing_of_its_past() {
    let it = Bought::new().await;
    let at = it.world.now();
    it.world.advance(SignedDuration::from_mins(1));
    ended(it.order(Order::Quantity(30)).await, OrderEnd::Done);
    let filter = ChangeFilter { since: Some(at), ..ChangeFilter::default() };
    let changes = it.world.daemon.store.changes(&filter).unwrap();
    assert!(changes.iter().any(|it| matches!(it.after, Some(Fact::Words(_)))));
    let past = Past { at, changes: &changes, journal_since: None, runs: &[] };
    let product = Product {
        id: "viz-suite".parse().unwrap(),
        name: "Viz Suite".into(),
        hybrid: HybridMode::None,
        features: std::collections::BTreeMap::new(),
        plans: Vec::new(),
    };
    let tenant = story::PROSEWARE.tenant.to_string().parse().unwrap();
    let question = Question::of_user(&product, Host::Web, tenant, None);
    let then = rewind(&it.world.mirror(), past, &question, &Policy::default());
    assert_eq!(then.subscription(it.subscription()).unwrap().quantity, Some(25));
}
