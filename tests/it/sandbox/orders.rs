//! The life of a subscription, as the reference tells it.

use super::*;
use entitled::sandbox::{Delivery, Fate, Purchase, Webhook};
use wiremock::matchers::method;
use wiremock::{Mock, MockServer, ResponseTemplate};

const SAAS: &str = "/marketplace/api/saas/subscriptions";
const VERSION: &str = "api-version=2018-08-31";

/// A sandbox whose webhooks go to a receiver, by hand, and a token of the publisher's.
pub(super) struct Shop {
    pub(super) probe: Probe,
    pub(super) receiver: MockServer,
    token: String,
}

impl Shop {
    pub(super) async fn new(spec: &str) -> Self {
        let probe = Probe::with(spec).await;
        let receiver = MockServer::start().await;
        let token = probe.token(story::PUBLISHER_TENANT, MARKETPLACE).await;
        let shop = Self { probe, receiver, token };
        let webhook = Webhook::to(&format!("{}/hook", shop.receiver.uri()));
        shop.world(|world| {
            world.set_webhook(Some(webhook));
            world.deliver_by_hand(true);
        });
        shop
    }

    pub(super) fn world<R>(&self, f: impl FnOnce(&mut World) -> R) -> R {
        self.probe.sandbox.with_world(f)
    }

    pub(super) fn pass(&self, seconds: i64) {
        self.world(|world| world.advance_clock(SignedDuration::from_secs(seconds)));
    }

    /// The receiver answers like this from now on.
    pub(super) async fn answers(&self, status: u16) {
        self.receiver.reset().await;
        let answer = ResponseTemplate::new(status);
        Mock::given(method("POST")).respond_with(answer).mount(&self.receiver).await;
    }

    pub(super) async fn call(&self, verb: reqwest::Method, path: &str, body: &str) -> Answer {
        let url = self.probe.url(&format!("{SAAS}/{path}?{VERSION}"));
        let request = self.probe.http.request(verb, url).bearer_auth(&self.token);
        self.probe.send(request.body(body.to_owned())).await
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.call(reqwest::Method::GET, path, "").await
    }

    pub(super) async fn patch(&self, path: &str, body: &Value) -> Answer {
        self.call(reqwest::Method::PATCH, path, &body.to_string()).await
    }

    pub(super) async fn post(&self, path: &str, body: &str) -> Answer {
        self.call(reqwest::Method::POST, path, body).await
    }

    pub(super) async fn status(&self, id: Uuid) -> String {
        self.get(&id.to_string()).await.json()["saasSubscriptionStatus"].as_str().unwrap().into()
    }

    pub(super) async fn resolve(&self, token: &str) -> Answer {
        let url = self.probe.url(&format!("{SAAS}/resolve?{VERSION}"));
        let request = self.probe.http.post(url).bearer_auth(&self.token);
        self.probe.send(request.header("x-ms-marketplace-token", token)).await
    }

    /// The available plans, asked for by one.
    pub(super) async fn plans(&self, id: Uuid, plan: &str) -> Answer {
        let url = format!("{SAAS}/{id}/listAvailablePlans?{VERSION}&planId={plan}");
        let request = self.probe.http.get(self.probe.url(&url)).bearer_auth(&self.token);
        self.probe.send(request).await
    }

    /// The publisher asks for another token, the old one having run out.
    pub(super) async fn with_new_token(self) -> Self {
        let token = self.probe.token(story::PUBLISHER_TENANT, MARKETPLACE).await;
        Self { token, ..self }
    }

    pub(super) async fn deliver(&self) -> Vec<Delivery> {
        self.probe.sandbox.deliver_webhooks().await
    }

    pub(super) async fn received(&self) -> Vec<Value> {
        let all = self.receiver.received_requests().await.unwrap();
        all.iter().map(|it| it.body_json().unwrap()).collect()
    }

    pub(super) fn buy(&self, plan: &str, quantity: Option<u32>) -> Uuid {
        let (tenant, user) = (CONTOSO.tenant, story::ANA.user);
        let (name, plan) = ("Viz".to_owned(), plan.to_owned());
        let purchase =
            Purchase { tenant, user, name, plan, quantity, auto_activate: true, reseller: None };
        self.world(|world| world.buy(purchase)).unwrap()
    }

    pub(super) fn standing(&self, id: Uuid) -> Vec<(&'static str, &'static str)> {
        let told = self.world(|world| world.operations(id));
        told.into_iter().map(|(_, action, status)| (action, status)).collect()
    }
}

#[tokio::test]
async fn a_purchase_is_landed_activated_after_a_lag_and_never_twice_pending() {
    let shop = Shop::new("activation=90s").await;
    let (tenant, user) = (CONTOSO.tenant, story::ANA.user);
    let purchase = json!({"tenant": tenant, "user": user, "plan": "team", "quantity": 7});
    let purchase: Purchase = serde_json::from_value(purchase).unwrap();
    let id = shop.world(|world| world.buy(purchase)).unwrap();
    assert_eq!(shop.status(id).await, "PendingFulfillmentStart");
    assert!(shop.get(&id.to_string()).await.json()["term"].get("startDate").is_none());

    let token = shop.world(|world| world.landing_token(id)).unwrap();
    assert!(token.len() == 216 && token.contains('+') && token.contains('/'), "{token}");
    let resolve = async |token: &str| {
        let url = shop.probe.url(&format!("{SAAS}/resolve?{VERSION}"));
        let request = shop.probe.http.post(url).bearer_auth(&shop.token);
        shop.probe.send(request.header("x-ms-marketplace-token", token)).await
    };
    let told = resolve(&token).await;
    assert_eq!((told.status, uuid_of(&told.json()["id"])), (200, id));
    assert_eq!(told.json()["subscription"]["quantity"], 7);
    let twice_decoded = resolve(&token.replace('+', " ")).await;
    assert_eq!(twice_decoded.status, 400);
    shop.pass(24 * 3_600);
    let id_text = id.to_string();
    let fresh = shop.probe.token(story::PUBLISHER_TENANT, MARKETPLACE).await;
    let shop = Shop { token: fresh, ..shop };
    let url = shop.probe.url(&format!("{SAAS}/resolve?{VERSION}"));
    let request = shop.probe.http.post(url).bearer_auth(&shop.token);
    let expired = shop.probe.send(request.header("x-ms-marketplace-token", &token)).await;
    assert_eq!(expired.status, 400, "after a day");

    let activate = format!("{id_text}/activate");
    assert_eq!(shop.post(&activate, r#"{"planId":"company"}"#).await.status, 400);
    assert_eq!(shop.post(&activate, r#"{"planId":"team","quantity":8}"#).await.status, 400);
    let answer = shop.post(&activate, r#"{"planId":"team","quantity":7}"#).await;
    assert_eq!((answer.status, answer.text.as_str()), (200, ""));
    assert_eq!(shop.status(id).await, "PendingFulfillmentStart", "it takes its time");
    shop.pass(90);
    assert_eq!(shop.status(id).await, "Subscribed");
    let term = shop.get(&id_text).await.json()["term"].clone();
    assert_eq!(term["startDate"], "2026-11-23T00:00:00Z");
    assert_eq!(term["endDate"], "2026-12-22T00:00:00Z", "the last valid day");
    assert!(shop.deliver().await.is_empty(), "a purchase by hand tells no webhook");
    shop.world(|world| world.unsubscribe(id)).unwrap();
    assert_eq!(shop.post(&activate, "").await.status, 404, "what has ended stays so");
}

#[tokio::test]
async fn a_purchase_nobody_activates_ends_after_thirty_days_and_so_does_a_failed_activation() {
    let shop = Shop::new("activation.failure=1,activation=5s").await;
    shop.answers(200).await;
    let buy = || {
        let purchase =
            json!({"tenant": CONTOSO.tenant, "user": story::ANA.user, "plan": "company"});
        shop.world(|world| world.buy(serde_json::from_value(purchase).unwrap())).unwrap()
    };
    let (failing, waiting) = (buy(), buy());
    assert_eq!(shop.post(&format!("{failing}/activate"), "").await.status, 200);
    shop.pass(5);
    assert_eq!(shop.standing(failing), [("Unsubscribe", "Succeeded")]);
    shop.pass(30 * 86_400 - 6);
    assert!(shop.standing(waiting).is_empty());
    shop.pass(1);
    assert_eq!(shop.standing(waiting), [("Unsubscribe", "Succeeded")]);
    shop.deliver().await;
    let told: Vec<_> = shop.received().await.iter().map(|it| it["action"].clone()).collect();
    assert_eq!(told, ["Unsubscribe", "Unsubscribe"]);
}

#[tokio::test]
async fn a_change_is_told_and_accepted_after_ten_seconds_of_silence() {
    let shop = Shop::new("").await;
    shop.answers(200).await;
    let id = shop.buy("team", Some(5));
    let operation = shop.world(|world| world.change_plan(id, "enterprise")).unwrap();
    assert!(shop.world(|world| world.change_quantity(id, 9)).is_err(), "it is locked");
    assert_eq!(shop.deliver().await.len(), 2);
    let received = shop.received().await;
    assert_eq!(
        (&received[0]["action"], &received[0]["status"]),
        (&json!("Subscribe"), &json!("Succeeded"))
    );
    let told = &received[1];
    assert_eq!((&told["planId"], &told["quantity"]), (&json!("enterprise"), &json!(10)));
    assert_eq!(told["subscription"]["planId"], "team", "as it was before");
    assert_eq!(
        (&told["status"], &told["operationRequestSource"]),
        (&json!("InProgress"), &json!("Azure"))
    );
    assert_eq!(uuid_of(&told["id"]), operation);

    let one = format!("{id}/operations/{operation}");
    assert_eq!(shop.get(&one).await.json()["status"], "InProgress");
    assert_eq!(shop.get(&format!("{id}/operations")).await.json(), json!({}), "not listed yet");
    shop.pass(9);
    assert_eq!(
        shop.get(&format!("{id}/operations")).await.json()["operations"][0]["planId"],
        "enterprise"
    );
    assert_eq!(shop.get(&id.to_string()).await.json()["planId"], "team");
    shop.pass(1);
    assert_eq!(shop.get(&one).await.json()["status"], "Succeeded");
    assert_eq!(shop.get(&id.to_string()).await.json()["planId"], "enterprise");
    let late = shop.patch(&one, &json!({"status": "Success"})).await;
    assert_eq!((late.status, late.json()["message"].is_string()), (409, true));
}

#[tokio::test]
async fn a_word_on_a_change_counts_once_and_only_when_it_is_one_of_two() {
    let shop = Shop::new("").await;
    let id = shop.buy("team", Some(5));
    let ask = |quantity| shop.world(|world| world.change_quantity(id, quantity)).unwrap();
    let (success, failure) = (json!({"status": "Success"}), json!({"status": "Failure"}));
    let one = format!("{id}/operations/{}", ask(6));
    assert_eq!(shop.patch(&one, &json!({"status": "Succeeded"})).await.status, 200, "any word");
    assert_eq!(shop.patch(&one, &failure).await.status, 200);
    assert_eq!(shop.patch(&one, &success).await.status, 409, "it was decided");
    shop.pass(1);
    assert_eq!(shop.get(&one).await.json()["status"], "Failed");
    assert_eq!(shop.get(&id.to_string()).await.json()["quantity"], 5);
    let two = format!("{id}/operations/{}", ask(7));
    assert_eq!(shop.patch(&two, &success).await.status, 200);
    shop.pass(1);
    assert_eq!(shop.get(&id.to_string()).await.json()["quantity"], 7);

    shop.world(|world| world.set_faults("operation.failure_ignored=1".parse().unwrap()));
    let three = format!("{id}/operations/{}", ask(8));
    assert_eq!(shop.patch(&three, &failure).await.status, 200);
    shop.pass(1);
    assert_eq!(shop.get(&id.to_string()).await.json()["quantity"], 8, "as in November 2022");

    let unknown = Uuid::from_u128(7);
    for path in [format!("{id}/operations/{unknown}"), format!("{unknown}/operations/{unknown}")] {
        assert_eq!(shop.get(&path).await.status, 400, "where 404 is documented");
        assert_eq!(shop.patch(&path, &success).await.status, 400);
    }
    assert_eq!(shop.get(&format!("{unknown}/operations")).await.json(), json!({}));
}

#[tokio::test]
async fn a_4xx_refuses_a_change_and_a_5xx_is_tried_again() {
    let shop = Shop::new("").await;
    shop.answers(200).await;
    let id = shop.buy("team", Some(5));
    shop.deliver().await;
    shop.answers(400).await;
    shop.world(|world| world.change_quantity(id, 6)).unwrap();
    shop.deliver().await;
    shop.pass(11);
    assert_eq!(shop.standing(id)[1], ("ChangeQuantity", "Failed"));
    assert!(shop.deliver().await.is_empty(), "refused is not tried again");

    shop.answers(503).await;
    shop.world(|world| world.change_quantity(id, 7)).unwrap();
    let told = shop.deliver().await;
    assert_eq!((told[0].attempt, told[0].fate), (1, Fate::Answered(503)));
    assert!(shop.deliver().await.is_empty(), "not at once");
    shop.pass(58);
    shop.answers(200).await;
    let told = shop.deliver().await;
    assert_eq!((told[0].attempt, told[0].fate), (2, Fate::Answered(200)));
    assert_eq!(shop.standing(id)[2], ("ChangeQuantity", "Succeeded"), "accepted meanwhile");

    shop.answers(500).await;
    let operation = shop.world(|world| world.suspend(id)).unwrap();
    for _ in 0..500 {
        shop.deliver().await;
        shop.pass(58);
    }
    assert!(shop.deliver().await.is_empty() && shop.world(|world| world.webhooks_waiting()) == 0);
    let last = shop.world(|world| world.deliveries()).pop().unwrap();
    assert_eq!((last.operation, last.attempt, last.fate), (Some(operation), 500, Fate::GivenUp));
}

#[tokio::test]
async fn suspended_reinstated_renewed_and_ended() {
    let shop = Shop::new("").await;
    shop.answers(200).await;
    let id = shop.buy("company", None);
    shop.world(|world| world.renew(id)).unwrap();
    let term = shop.get(&id.to_string()).await.json()["term"].clone();
    assert_eq!(term["startDate"], "2026-12-22T00:00:00Z", "the day after the last one");
    shop.world(|world| world.suspend(id)).unwrap();
    assert!(shop.world(|world| world.renew(id)).is_err(), "only Subscribed is renewed");
    assert_eq!(shop.status(id).await, "Suspended");
    assert_eq!(shop.post(&format!("{id}/activate"), "").await.status, 400);
    assert_eq!(shop.patch(&id.to_string(), &json!({"planId": "team"})).await.status, 400);
    shop.pass(29 * 86_400);
    let shop = Shop { token: shop.probe.token(story::PUBLISHER_TENANT, MARKETPLACE).await, ..shop };
    let operation = shop.world(|world| world.reinstate(id)).unwrap();
    assert_eq!(shop.status(id).await, "Suspended", "until it is done");
    let one = format!("{id}/operations/{operation}");
    assert_eq!(shop.patch(&one, &json!({"status": "Success"})).await.status, 200);
    shop.pass(1);
    assert_eq!(shop.status(id).await, "Subscribed");
    shop.pass(2_000);
    shop.world(|world| world.suspend(id)).unwrap();
    shop.pass(2 * 86_400);
    let standing = shop.standing(id);
    assert_eq!(standing.last(), Some(&("Suspend", "Succeeded")), "the first grace was ended");
    shop.pass(28 * 86_400);
    assert_eq!(shop.standing(id).last(), Some(&("Unsubscribe", "Succeeded")));
    assert!(shop.world(|world| world.reinstate(id)).is_err(), "the end is the end");
    shop.deliver().await;
    let told: Vec<_> = shop.received().await;
    let words =
        |key: &str| told.iter().map(|it| it[key].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(
        words("action"),
        ["Subscribe", "Renew", "Suspend", "Reinstate", "Suspend", "Unsubscribe"]
    );
    assert_eq!(words("status")[3], "InProgress");
    assert_eq!(told[1]["quantity"], 1, "a flat rate has one on top");
    assert!(told[1]["subscription"]["quantity"].is_null(), "and none below");
    assert_eq!(told[5]["subscription"]["saasSubscriptionStatus"], "Unsubscribed");
}

#[tokio::test]
async fn our_own_requests_are_accepted_locked_and_told_as_ours() {
    let shop = Shop::new("").await;
    shop.answers(200).await;
    let id = shop.buy("team", Some(5));
    shop.deliver().await;
    let at = id.to_string();
    for (body, why) in [
        (json!({}), "neither"),
        (json!({"planId": "company", "quantity": 3}), "both"),
        (json!({"planId": "team"}), "same plan"),
        (json!({"planId": "gold"}), "no such plan"),
        (json!({"quantity": 5}), "same quantity"),
        (json!({"quantity": 501}), "too many"),
    ] {
        assert_eq!(shop.patch(&at, &body).await.status, 400, "{why}");
    }
    let taken = shop.patch(&at, &json!({"quantity": 40})).await;
    assert_eq!((taken.status, taken.header("retry-after")), (202, Some("10")));
    let operation = taken.header("operation-id").unwrap().to_owned();
    assert_eq!(taken.header("x-ms-requestid"), Some(operation.as_str()), "as recorded");
    let location = taken.header("operation-location").unwrap();
    assert!(location.starts_with("https://main.prod.marketplaceapi.azure.com/api/saas/"));
    let one = format!("{at}/operations/{operation}");
    assert_eq!(shop.get(&one).await.json()["status"], "NotStarted");
    assert_eq!(shop.patch(&at, &json!({"quantity": 41})).await.status, 400, "locked");
    let cancel = async || shop.call(reqwest::Method::DELETE, &at, "").await.status;
    assert_eq!(cancel().await, 409, "locked");
    shop.pass(2);
    assert_eq!(shop.get(&one).await.json()["operationRequestSource"], "Partner");
    assert_eq!(shop.patch(&one, &json!({"status": "Success"})).await.status, 500);
    shop.deliver().await;
    assert_eq!(shop.received().await[1]["operationRequestSource"], "Partner");
    shop.pass(3);
    assert_eq!(shop.get(&at).await.json()["quantity"], 40);
    assert_eq!(cancel().await, 202);
    shop.pass(5);
    assert_eq!((shop.status(id).await.as_str(), cancel().await), ("Unsubscribed", 200));
    assert_eq!(shop.get(&format!("{at}/listAvailablePlans")).await.status, 403);
    shop.deliver().await;
    assert_eq!(shop.received().await[2]["action"], "Unsubscribe");

    let coho = shop.world(|world| {
        let purchase = json!({"tenant": story::COHO.tenant, "user": story::RUTH.user, "plan": "team",
            "auto_activate": true, "reseller": story::RESELLER_TENANT});
        world.buy(serde_json::from_value(purchase).unwrap()).unwrap()
    });
    assert_eq!(shop.patch(&coho.to_string(), &json!({"quantity": 3})).await.status, 400);
    let answer = shop.call(reqwest::Method::DELETE, &coho.to_string(), "").await;
    assert_eq!(answer.status, 400, "only the reseller may");
    let plans = shop.get(&format!("{coho}/listAvailablePlans")).await.json();
    assert_eq!(plans["plans"].as_array().unwrap().len(), 3);
    assert_eq!(plans["plans"][1]["maxQuantity"], 500);
    assert!(plans["plans"][0].get("maxQuantity").is_none(), "a flat rate has none");
}

#[tokio::test]
async fn cancelling_refuses_a_reinstatement() {
    let shop = Shop::new("").await;
    let id = shop.buy("company", None);
    shop.world(|world| world.suspend(id).and_then(|_| world.reinstate(id))).unwrap();
    let answer = shop.call(reqwest::Method::DELETE, &id.to_string(), "").await;
    assert_eq!(answer.status, 202);
    shop.pass(30);
    assert_eq!(shop.status(id).await, "Unsubscribed");
    assert_eq!(shop.standing(id)[2], ("Reinstate", "Failed"));
}

#[tokio::test]
async fn the_marketplace_may_do_what_it_was_asked_and_fail_to_say_so() {
    let shop = Shop::new("").await;
    let id = shop.buy("team", Some(5));
    shop.world(|world| world.set_faults("marketplace.500_after=1".parse().unwrap()));
    assert_eq!(shop.patch(&id.to_string(), &json!({"quantity": 6})).await.status, 500);
    assert_eq!(shop.standing(id)[1], ("ChangeQuantity", "NotStarted"));
}
