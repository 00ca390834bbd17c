//! Purchase tokens, activations and plans. Source: marketplace-saas.md 6.1, 6.2, 6.5.

use entitled::sandbox::Webhook;
use entitled::sync::orders::{Activated, Purchase as Resolved};

use super::*;

impl Bought {
    fn token(&self) -> PurchaseToken {
        let token = self.world.microsoft(|it| it.landing_token(self.id)).unwrap();
        PurchaseToken::new(token).unwrap()
    }

    async fn resolve(&self) -> Result<Resolved, OrderError> {
        let token = self.token();
        self.world.daemon.orders.resolve(&token).await
    }

    async fn activate(&self) -> Result<Activated, OrderError> {
        self.world.daemon.orders.activate(self.subscription(), Cause::Activation).await
    }

    async fn follow_activation(&self) -> Result<Ordered, OrderError> {
        let (progress, _steps) = mpsc::channel(64);
        let (id, by) = (self.subscription(), Cause::Activation);
        self.world.daemon.orders.follow_activation(id, &by, &progress).await
    }
}

#[tokio::test]
async fn a_token_names_its_purchase_read_on_its_own_for_resolve_may_lack_the_term() {
    let it = Bought::new().await;
    let mut bare = serde_json::to_value(it.world.microsoft(|w| w.subscription(it.id))).unwrap();
    bare["term"] = json!({"termUnit": "P1M"});
    let said = json!({"id": it.id, "subscriptionName": "n", "offerId": "viz-suite",
        "planId": "team", "quantity": 25, "subscription": bare});
    it.stumble(Stumble::new("POST", "resolve", 200, 1).saying(&said.to_string()));
    let resolved = it.resolve().await.unwrap();
    assert!(resolved.subscription.term_end.is_some());
    let plan = resolved.plan.unwrap();
    assert_eq!((&*plan.plan, &*plan.name, plan.max_quantity), ("team", "Team", Some(500)));
    it.is("team", Some(25), "Subscribed");
}

#[tokio::test]
async fn a_purchase_that_no_list_has_shown_yet_is_mirrored_by_its_token() {
    let mut it = Bought::pending("").await;
    it.id = it.world.microsoft(|world| {
        let (tenant, user) = (story::PROSEWARE.tenant, story::MIA.user);
        let (name, plan) = (String::new(), "company".to_owned());
        let (quantity, auto_activate, reseller) = (None, false, None);
        world.buy(Purchase { tenant, user, name, plan, quantity, auto_activate, reseller }).unwrap()
    });
    it.resolve().await.unwrap();
    it.is("company", None, "PendingFulfillmentStart");
}

#[tokio::test]
async fn a_token_is_good_for_a_day_and_only_as_it_is() {
    let it = Bought::pending("").await;
    let token = it.token();
    let orders = &it.world.daemon.orders;
    assert!(orders.resolve(&token).await.is_ok());
    it.world.advance(SignedDuration::from_hours(24));
    let says = ["choose to configure", "Azure portal"];
    refused(orders.resolve(&token).await, "expired", &says);
    let decoded_twice = PurchaseToken::new(it.token().expose().replace('+', "%2B")).unwrap();
    refused(orders.resolve(&decoded_twice).await, "expired", &says);
    it.stumble(Stumble::new("POST", "resolve", 404, 1));
    refused(it.resolve().await, "expired", &says);
}

#[tokio::test]
async fn a_refused_token_of_ours_is_renewed_once_and_then_the_remedy_is_told() {
    let it = Bought::pending("").await;
    for status in [401, 403] {
        // The body is a bare string, which hides nothing.
        let once = Stumble::new("POST", "resolve", status, 1).saying("\"Forbidden text\"");
        it.stumble(once.clone());
        assert!(it.resolve().await.is_ok(), "{status}");
        it.stumble(Stumble { times: 2, ..once });
        refused(it.resolve().await, "registration", &["Partner Center", "service principal"]);
    }
}

#[tokio::test]
async fn microsoft_being_away_at_a_purchase_is_no_expired_token() {
    let it = Bought::pending("").await;
    it.stumble(Stumble::new("POST", "resolve", 500, 2));
    assert!(it.resolve().await.is_ok(), "it is tried again");
    it.stumble(Stumble::new("POST", "resolve", 500, 4));
    let error = it.resolve().await.unwrap_err();
    assert!(error.is_transient() && error.word() == "away", "{error}");
    it.stumble(Stumble::new("POST", "resolve", 429, 1));
    assert!(it.resolve().await.is_ok());
}

#[tokio::test]
async fn an_activation_takes_effect_later_and_is_followed_to_its_end() {
    let it = Bought::pending("activation=4m").await;
    let activated = it.activate().await.unwrap();
    assert!(matches!(activated, Activated::Accepted(_)));
    it.is("team", Some(25), "PendingFulfillmentStart");
    let looked = it.world.daemon.orders.look(it.subscription()).await.unwrap();
    assert_eq!(looked.status.as_str(), "PendingFulfillmentStart", "a read at once is stale");
    let ordered = ended(it.follow_activation().await, OrderEnd::Done);
    assert!(ordered.subscription.term_start.is_some());
    it.is("team", Some(25), "Subscribed");
    assert_eq!(it.journal(), ["activation: activation of plan team accepted"]);
}

#[tokio::test]
async fn an_activation_that_fails_in_the_background_ends_the_purchase() {
    let it = Bought::pending("activation.failure=1").await;
    let hook = format!("http://{}/marketplace/webhook", it.world.daemon.public);
    it.world.microsoft(|world| {
        world.set_webhook(Some(Webhook {
            audience: story::CLIENT_ID.to_string(),
            ..Webhook::to(&hook)
        }));
        world.deliver_by_hand(true);
    });
    it.activate().await.unwrap();
    let error = it.follow_activation().await;
    refused(error, "not_activated", &["has ended the subscription", "buy again"]);
    it.is("team", Some(25), "Unsubscribed");
    let told = it.world.sandbox.deliver_webhooks().await;
    assert_eq!(
        (told.len(), it.world.daemon.store.webhooks(&WebhookFilter::default()).len()),
        (1, 1)
    );
}

#[tokio::test]
async fn an_activation_that_goes_on_for_long_is_no_failure() {
    let it = Bought::pending("activation=3h").await;
    it.activate().await.unwrap();
    ended(it.follow_activation().await, OrderEnd::UnderWay);
}

#[tokio::test]
async fn what_is_live_is_success_without_a_call() {
    let it = Bought::new().await;
    assert!(matches!(it.activate().await, Ok(Activated::Already(_))));
    assert_eq!((it.asked("POST", "/activate"), it.journal().len()), (0, 0));
}

#[tokio::test]
async fn what_cannot_be_activated_is_refused_with_the_remedy_and_without_a_call() {
    let it = Bought::new().await;
    it.status("Suspended");
    refused(it.activate().await, "suspended", &["the customer has to pay"]);
    it.status("Unsubscribed");
    refused(it.activate().await, "ended", &["buy again"]);
    assert_eq!(it.asked("POST", "/activate"), 0);
    it.is("team", Some(25), "Unsubscribed");
    let nobody = SubscriptionId::from_uuid(Uuid::from_u128(0xdead));
    let told = it.world.daemon.orders.activate(nobody, Cause::Command).await;
    refused(told, "unknown", &["entitled subscriptions"]);
}

#[tokio::test]
async fn whatever_is_said_to_an_activation_the_subscription_decides() {
    for status in [400, 404, 500, 0] {
        let it = Bought::pending("activation=0s").await;
        it.stumble(Stumble::new("POST", "activate", status, 4).but_done());
        let told = it.activate().await.unwrap();
        assert!(matches!(told, Activated::Already(_)), "{status}: {told:?}");
        it.is("team", Some(25), "Subscribed");
        assert_eq!(it.journal(), ["activation: activated"]);
    }
}

#[tokio::test]
async fn an_activation_that_did_not_happen_says_so() {
    let check = async |status, times, word: &str, says: &str| {
        let it = Bought::pending("").await;
        it.stumble(Stumble::new("POST", "activate", status, times));
        refused(it.activate().await, word, &[says]);
        it.is("team", Some(25), "PendingFulfillmentStart");
        assert!(it.journal()[0].starts_with("activation: activation failed"), "{status}");
        assert!(it.activate().await.is_ok(), "{status}: nothing stands in its way now");
    };
    check(400, 1, "rejected", "cannot be activated").await;
    check(403, 2, "registration", "Partner Center").await;
    check(404, 1, "rejected", "has ended, or there is none").await;
    check(500, 4, "unsure", "activating twice does no harm").await;
}

#[tokio::test]
async fn an_activation_of_which_nothing_can_be_read_back_is_open() {
    let it = Bought::pending("").await;
    let pending = it.world.microsoft(|world| world.subscription(it.id)).unwrap();
    it.stumble(it.trip("GET", 200, 1).saying(&serde_json::to_string(&pending).unwrap()));
    it.stumble(it.trip("GET", 500, 4));
    it.stumble(Stumble::new("POST", "activate", 500, 4).but_done());
    refused(it.activate().await, "unsure", &["subscriptions show", "is not known"]);
    assert_eq!(it.asked("POST", "/activate"), 4);
}

#[tokio::test]
async fn two_who_activate_at_once_both_succeed() {
    let it = Bought::pending("activation=0s").await;
    let (one, two) = tokio::join!(it.activate(), it.activate());
    assert!(matches!(one, Ok(Activated::Accepted(_))), "{one:?}");
    assert!(matches!(two, Ok(Activated::Already(_))), "{two:?}");
    assert_eq!(it.asked("POST", "/activate"), 1);
    it.is("team", Some(25), "Subscribed");
}

#[tokio::test]
async fn the_plans_are_told_even_without_the_present_one() {
    let it = Bought::new().await;
    let plans = it.world.daemon.orders.plans(it.subscription()).await.unwrap();
    let ids: Vec<&str> = plans.iter().map(|it| &*it.plan).collect();
    assert_eq!(ids, ["company", "team", "enterprise"]);
    let other = json!({"plans": [{"planId": "Gold", "displayName": "Gold"}, {"displayName": "?"}]});
    let gold = Stumble::new("GET", "listAvailablePlans", 200, 2).saying(&other.to_string());
    it.stumble(gold);
    let plans = it.world.daemon.orders.plans(it.subscription()).await.unwrap();
    assert_eq!((plans.len(), &*plans[0].plan), (1, "gold"), "what is no plan is left out");
    let resolved = it.resolve().await.unwrap();
    assert_eq!((resolved.plan, &*resolved.subscription.plan), (None, "team"));
}

#[tokio::test]
async fn what_has_ended_has_no_plans_and_what_is_unknown_neither() {
    let it = Bought::new().await;
    it.stumble(Stumble::new("GET", "listAvailablePlans", 403, 2));
    let plans = async || it.world.daemon.orders.plans(it.subscription()).await;
    refused(plans().await, "registration", &["Partner Center"]);
    it.status("Unsubscribed");
    refused(plans().await, "ended", &["buy again"]);
    let nobody = SubscriptionId::from_uuid(Uuid::from_u128(0xdead));
    refused(it.world.daemon.orders.plans(nobody).await, "unknown", &[]);
    it.stumble(Stumble::new("GET", "listAvailablePlans", 500, 4));
    refused(plans().await, "away", &["try again later"]);
}
