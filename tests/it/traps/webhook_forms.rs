//! Every row of `marketplace-saas.md` 8.3 (quirks), 8.4 (shapes) and 8.5 (the token).

use entitled::sandbox::{Fate, Forgery, TokenRequest, TokenVersion, Webhook, story};
use jiff::SignedDuration;
use serde_json::{Value, json};
use uuid::Uuid;

use super::scene::{Scene, WEBHOOK, body};

const MARKETPLACE: &str = "20e940b3-4c77-4b0b-9a53-9e16a1b010a7";

fn genuine() -> TokenRequest {
    TokenRequest {
        tenant: story::PUBLISHER_TENANT,
        user: Uuid::from_u128(0x5e1f),
        audience: story::MARKETPLACE_APP_ID.to_string(),
        caller: MARKETPLACE.to_owned(),
        scope: String::new(),
        version: TokenVersion::V2,
        expires_in: SignedDuration::from_hours(1),
    }
}

/// Sends a `Renew` with this token; the status, and how many events there are.
async fn with(scene: &Scene, scheme: &str, request: TokenRequest) -> (u16, usize) {
    let token = scene.world.sandbox.user_token(request);
    let number = u128::try_from(scene.events().len()).unwrap() + 100;
    let renew = body(number, "Renew", scene.id(story::MIA));
    let status = scene.send(Some(&format!("{scheme} {token}")), &renew).await;
    (status, scene.events().len())
}

// 8.3

#[tokio::test]
async fn a_flat_rate_has_a_quantity_in_webhooks_and_none_in_truth() {
    let scene = Scene::new().await;
    let id = scene.id(story::MIA);
    scene.world.microsoft(|it| it.suspend(id)).unwrap();
    scene.play_out().await;
    assert_eq!(scene.events()[0].said.quantity, Some(1));
    assert_eq!(scene.stands(id).2, None);
}

#[tokio::test]
async fn the_state_inside_of_a_webhook_is_believed_of_no_action() {
    let scene = Scene::new().await;
    let id = scene.id(story::MIA);
    let mut number = 0;
    for action in ["Suspend", "Reinstate", "Unsubscribe", "Renew", "Subscribe", "ChangePlan"] {
        for inner in
            ["Subscribed", "Suspended", "Unsubscribed", "PendingFulfillmentStart", "Zombie"]
        {
            number += 1;
            let mut lie = body(number, action, id);
            lie["subscription"] = json!({ "id": id, "saasSubscriptionStatus": inner,
                "planId": "enterprise", "quantity": 4_711,
                "beneficiary": { "tenantId": story::CONTOSO.tenant } });
            assert_eq!(scene.told(&lie).await, 200);
        }
    }
    scene.pass(60);
    scene.play_out().await;
    assert_eq!(scene.stands(id), ("Subscribed".to_owned(), "company".to_owned(), None));
    let tenant = scene.mirrored(id).beneficiary.tenant_id().unwrap();
    assert_eq!(tenant.to_string(), story::PROSEWARE.tenant.to_string());
}

// 8.4

#[tokio::test]
async fn every_shape_that_names_a_subscription_is_a_look_at_it() {
    let scene = Scene::new().await;
    let id = scene.id(story::MIA);
    let operation = "a1000000-0000-4000-8000-000000000002";
    let full = {
        let mut it = body(1, "Renew", id);
        it["subscription"] = serde_json::to_value(scene.truth(id)).unwrap();
        it["subscription"]["term"]["chargeDuration"] = Value::Null;
        it
    };
    let shapes = [
        full,
        json!({ "id": operation, "activityId": "a1000000-0000-4000-8000-000000000003",
            "subscriptionId": id, "publisherId": "vizmaker", "offerId": "", "planId": "",
            "quantity": "", "timeStamp": "2026-05-02T10:11:12.3456789Z", "action": "Renew",
            "status": "", "operationRequestSource": "Azure" }),
        json!({ "subscriptionId": id, "operationType": "Reinstate" }),
        json!({ "subscriptionId": id }),
        json!({ "subscription": { "id": id } }),
        json!({ "id": null, "subscriptionId": id, "action": null, "quantity": null, "planId": null }),
        json!({ "id": 7, "subscriptionId": id.to_string().to_uppercase(), "action": ["Renew"] }),
        json!({ "id": "no id", "subscriptionId": format!(" {id} "), "action": " renew ", "quantity": "20" }),
        json!({ "id": operation, "subscriptionId": id, "action": "Suspended", "brandNew": { "deep": [] } }),
    ];
    for (number, shape) in shapes.iter().enumerate() {
        scene.change(id, |it| it.name = format!("after shape {number}"));
        assert_eq!(scene.told(shape).await, 200, "{shape}");
        scene.play_out().await;
        assert_eq!(&*scene.mirrored(id).name, format!("after shape {number}"), "{shape}");
    }
    assert!(scene.events().iter().all(|it| it.state.as_str() != "dead"));
}

#[tokio::test]
async fn what_names_no_subscription_is_kept_and_stops_nothing() {
    let scene = Scene::new().await;
    let id = scene.id(story::MIA);
    assert_eq!(scene.told(&json!({ "hello": "there" })).await, 200);
    scene.world.microsoft(|it| it.suspend(id)).unwrap();
    scene.play_out().await;
    let states: Vec<_> = scene.events().iter().map(|it| it.state.as_str()).collect();
    assert_eq!(states, ["dead", "changed"]);
}

// 8.5

#[tokio::test]
async fn the_scheme_has_any_case_and_the_header_must_be_there() {
    let scene = Scene::new().await;
    for (n, scheme) in (1..).zip(["Bearer", "bearer", "BEARER", "bEaReR"]) {
        assert_eq!(with(&scene, scheme, genuine()).await, (200, n), "{scheme}");
    }
    assert_eq!(with(&scene, "Basic", genuine()).await, (401, 4));
    let renew = body(1, "Renew", scene.id(story::MIA));
    assert_eq!(scene.send(None, &renew).await, 401);
    assert_eq!(scene.send(Some(""), &renew).await, 401);
}

#[tokio::test]
async fn each_check_of_the_token_refuses_by_itself() {
    let scene = Scene::new().await;
    let id = scene.id(story::MIA);
    let revision = scene.world.mirror().revision();
    for forgery in Forgery::ALL.into_iter().filter(|it| *it != Forgery::Operation) {
        scene.world.microsoft(|it| it.forge_webhook(id, forgery)).unwrap();
        let told = scene.world.sandbox.deliver_webhooks().await;
        assert_eq!(told[0].fate, Fate::Answered(401), "{forgery:?}");
    }
    assert!(scene.events().is_empty());
    // Nothing but a line of the ledger, one for all that are refused in some minutes.
    assert!(scene.world.mirror().revision() <= revision + 1, "nothing was written");
    let counted = scene.figure("entitled_webhooks_total{outcome=\"unauthorized\"}").await;
    assert!((counted - 11.0).abs() < 0.1, "each is counted: {counted}");
}

#[tokio::test]
async fn audience_tenant_caller_and_times_are_those_of_the_registration() {
    let scene = Scene::new().await;
    let uri = format!("api://{}", story::MARKETPLACE_APP_ID);
    let seconds = SignedDuration::from_secs;
    let good = [
        TokenRequest { version: TokenVersion::V1, ..genuine() },
        TokenRequest { version: TokenVersion::V1, audience: uri.clone(), ..genuine() },
        TokenRequest { audience: uri, ..genuine() },
        TokenRequest { expires_in: seconds(-59), ..genuine() },
    ];
    for (n, request) in (1..).zip(good) {
        let what = format!("{request:?}");
        assert_eq!(with(&scene, "Bearer", request).await, (200, n), "{what}");
    }
    let bad = [
        TokenRequest { audience: MARKETPLACE.to_owned(), ..genuine() },
        TokenRequest { audience: String::new(), ..genuine() },
        TokenRequest { tenant: story::PROSEWARE.tenant, ..genuine() },
        TokenRequest { caller: story::MARKETPLACE_APP_ID.to_string(), ..genuine() },
        TokenRequest { caller: String::new(), ..genuine() },
        TokenRequest { expires_in: seconds(-3_600), ..genuine() },
    ];
    for request in bad {
        let what = format!("{request:?}");
        assert_eq!(with(&scene, "Bearer", request).await, (401, 4), "{what}");
    }
}

#[tokio::test]
async fn the_manifest_may_flip_the_version_and_the_keys_may_roll_without_notice() {
    let scene = Scene::new().await;
    let id = scene.id(story::MIA);
    let mut number = 0;
    for version in [TokenVersion::V2, TokenVersion::V1, TokenVersion::V2] {
        let to = Webhook::to(&format!("http://{}{WEBHOOK}", scene.world.daemon.public));
        scene.world.microsoft(|it| it.set_webhook(Some(Webhook { version, ..to })));
        for rolled in [false, true] {
            if rolled {
                scene.world.microsoft(entitled::sandbox::World::rotate_keys).unwrap();
                scene.pass(301);
            }
            number += 1;
            assert_eq!(scene.told(&body(number, "Renew", id)).await, 200, "{version:?} {rolled}");
        }
    }
}

#[tokio::test]
async fn unknown_keys_are_looked_for_seldom_and_what_is_known_stays_when_that_fails() {
    let scene = Scene::new().await;
    let id = scene.id(story::MIA);
    assert_eq!(scene.told(&body(1, "Renew", id)).await, 200);
    let fetches = || scene.asked("GET", "/keys");
    let before = fetches();
    for _ in 0..30 {
        scene.world.microsoft(|it| it.forge_webhook(id, Forgery::UnknownKey)).unwrap();
        scene.world.sandbox.deliver_webhooks().await;
    }
    assert!(fetches() - before <= 4, "{} fetches for 30 forgeries", fetches() - before);
    scene.pass(25 * 3_600);
    let bearer = format!("Bearer {}", scene.world.sandbox.user_token(genuine()));
    scene.world.microsoft(|it| it.outage(true));
    assert_eq!(scene.send(Some(&bearer), &body(2, "Renew", id)).await, 200, "with the old keys");
    scene.world.microsoft(|it| it.outage(false));
}
