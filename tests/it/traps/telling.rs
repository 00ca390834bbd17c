//! Traps of webhooks and operations: what is told, how often, by whom, and what is true.

use std::collections::BTreeSet;

use entitled::domain::Answered;
use entitled::sandbox::{Forgery, story};
use serde_json::json;

use super::scene::{Scene, body};

const KNOWN_PLANS: &str = "accept_changes = \"known_plans\"\n";

#[tokio::test]
async fn trap_14_a_refusal_that_microsoft_ignores_is_found_out() {
    let scene = Scene::with(KNOWN_PLANS).await;
    let id = scene.id(story::MIA);
    for (spec, plan) in [("", "company"), ("operation.failure_ignored=1", "enterprise")] {
        scene.faults(spec);
        scene.world.microsoft(|it| it.change_plan(id, "enterprise")).unwrap();
        scene.play_out().await;
        assert_eq!(scene.events().last().unwrap().answered, Some(Answered::Refused), "{spec}");
        assert_eq!(scene.truth(id).plan_id, plan, "{spec}");
        assert_eq!(scene.stands(id), scene.stands_there(id), "{spec}: the mirror has the truth");
    }
    assert!(!scene.answer(story::MIA).await.starts_with("active"), "a plan that nobody sells");
}

#[tokio::test]
async fn trap_15_ten_seconds_of_silence_are_no_proof_of_anything() {
    // Microsoft cannot be read for longer than its window, and decides by itself, either way.
    for (spec, plan) in
        [("", "team"), ("operation.conflict=1", "company"), ("operation.failure=1", "company")]
    {
        let scene = Scene::new().await;
        let id = scene.id(story::MIA);
        scene.world.microsoft(|it| it.change_plan(id, "team")).unwrap();
        scene.faults(&format!("marketplace.500=1,{spec}"));
        scene.deliver().await;
        scene.pass(12);
        scene.rest().await;
        assert_eq!(scene.stands(id).1, "company", "{spec}: nothing is assumed");
        scene.faults(spec);
        scene.pass(60);
        scene.play_out().await;
        assert_eq!(scene.stands(id).1, plan, "{spec}");
        assert_eq!(scene.stands(id), scene.stands_there(id), "{spec}");
    }
}

#[tokio::test]
async fn trap_16_a_change_is_answered_within_its_window_and_left_hanging_by_nobody() {
    let scene = Scene::new().await;
    let id = scene.id(story::MIA);
    let operation = scene.world.microsoft(|it| it.change_plan(id, "team")).unwrap();
    scene.deliver().await;
    assert_eq!(scene.asked("PATCH", &operation.to_string()), 1, "before the clock has moved");
    scene.pass(2);
    scene.play_out().await;
    let there = scene.world.microsoft(|it| it.operations(id));
    assert_eq!(there, [(operation, "ChangePlan", "Succeeded")]);
    assert_eq!(scene.events()[0].answered, Some(Answered::Accepted));
    assert_eq!(scene.asked("PATCH", "/operations/"), 1, "and once");
}

#[tokio::test]
async fn trap_17_an_empty_list_of_operations_means_nothing() {
    let scene = Scene::new().await;
    scene.faults("operation.hidden=1");
    let id = scene.id(story::MIA);
    scene.world.microsoft(|it| it.change_plan(id, "team")).unwrap();
    scene.play_out().await;
    assert_eq!(scene.events()[0].answered, Some(Answered::Accepted));
    assert_eq!(scene.stands(id).1, "team");
}

#[tokio::test]
async fn trap_18_a_body_whose_members_are_empty_is_understood() {
    let scene = Scene::new().await;
    scene.faults("webhook.minimal=1");
    let id = scene.id(story::MIA);
    scene.world.microsoft(|it| it.change_plan(id, "team")).unwrap();
    scene.play_out().await;
    assert_eq!(scene.stands(id).1, "team", "the plan is read, for the webhook does not say it");
    scene.world.microsoft(|it| it.unsubscribe(id)).unwrap();
    scene.play_out().await;
    assert_eq!(scene.answer(story::MIA).await, "expired subscription_ended");
}

#[tokio::test]
async fn trap_19_a_renewal_that_comes_as_renew_and_a_bare_subscribe_is_no_new_subscription() {
    let scene = Scene::new().await;
    let id = scene.id(story::MIA);
    let (count, before) = (scene.world.mirror().subscription_count(), scene.mirrored(id).term_end);
    let operation = scene.world.microsoft(|it| it.renew(id)).unwrap();
    let bare = json!({ "id": operation, "activityId": operation, "subscriptionId": id,
        "publisherId": "vizmaker", "offerId": "", "planId": "", "quantity": "",
        "action": "Subscribe", "status": "", "timeStamp": "2026-11-18T10:11:12Z" });
    assert_eq!(scene.told(&bare).await, 200);
    scene.play_out().await;
    let actions: BTreeSet<_> =
        scene.events().iter().map(|it| it.said.action.as_str().to_owned()).collect();
    assert_eq!(actions.into_iter().collect::<Vec<_>>(), ["Renew", "Subscribe"]);
    assert_eq!(scene.world.mirror().subscription_count(), count);
    assert!(scene.mirrored(id).term_end > before, "the term is the new one");
    assert_eq!(scene.answer(story::MIA).await, "active subscription_active");
}

#[tokio::test]
async fn trap_20_the_same_event_every_three_minutes_is_one_event() {
    let scene = Scene::new().await;
    let id = scene.id(story::MIA);
    let renew = body(1, "Renew", id);
    for _ in 0..20 {
        assert_eq!(scene.told(&renew).await, 200);
        scene.pass(180);
    }
    scene.play_out().await;
    let events = scene.events();
    assert_eq!((events.len(), events[0].deliveries), (1, 20));
    assert_eq!(scene.asked("GET", &format!("/subscriptions/{id}?")), 1, "one look");
}

#[tokio::test]
async fn trap_22_claims_without_a_signature_are_nothing() {
    let scene = Scene::new().await;
    let id = scene.id(story::MIA);
    let forgeries =
        [Forgery::NoAlgorithm, Forgery::Symmetric, Forgery::Signature, Forgery::UnknownKey];
    let revision = scene.world.mirror().revision();
    for forgery in forgeries {
        scene.world.microsoft(|it| it.forge_webhook(id, forgery)).unwrap();
        let told = scene.world.sandbox.deliver_webhooks().await;
        assert_eq!(told[0].fate, entitled::sandbox::Fate::Answered(401), "{forgery:?}");
        assert!(scene.events().is_empty(), "{forgery:?}");
        // Nothing but a line of the ledger, one for all that are refused in some minutes.
        assert!(scene.world.mirror().revision() <= revision + 1, "nothing was written");
    }
    assert_eq!(scene.stands(id).0, "Subscribed");
}

#[tokio::test]
async fn trap_23_what_a_webhook_says_is_looked_up_before_anything_is_done() {
    let scene = Scene::new().await;
    let id = scene.id(story::MIA);
    // A genuine token with an operation that never was.
    scene.world.microsoft(|it| it.forge_webhook(id, Forgery::Operation)).unwrap();
    scene.play_out().await;
    assert_eq!(scene.events()[0].state.as_str(), "unknown_operation");
    assert_eq!(scene.stands(id).0, "Subscribed");
    assert!(scene.asked("GET", "/operations/") > 0);
    // An operation that is another than the webhook says.
    scene.faults("webhook.loss=1");
    let operation = scene.world.microsoft(|it| it.change_plan(id, "team")).unwrap();
    let mut lie = body(2, "ChangePlan", id);
    (lie["id"], lie["planId"]) = (json!(operation), json!("enterprise"));
    lie["status"] = json!("InProgress");
    assert_eq!(scene.told(&lie).await, 200);
    scene.play_out().await;
    let event = scene.events().into_iter().find(|it| it.said.plan.as_deref() == Some("enterprise"));
    assert_eq!(event.unwrap().state.as_str(), "mismatched");
    assert_eq!(scene.stands(id).1, "team", "what Microsoft says of it");
}

#[tokio::test]
async fn trap_24_webhooks_without_authorization_are_counted_and_missed_ones_noticed() {
    let scene = Scene::new().await;
    let id = scene.id(story::MIA);
    let bare = body(1, "Suspend", id);
    for _ in 0..3 {
        // A proxy on the way has taken the header off.
        assert_eq!(scene.send(None, &bare).await, 401);
    }
    let refused = scene.figure("entitled_webhooks_total{outcome=\"unauthorized\"}").await;
    assert!((refused - 3.0).abs() < 0.1, "{refused}");
    scene.pass(3_600);
    scene.change(id, |it| it.saas_subscription_status = "Suspended".to_owned());
    scene.world.sync().await;
    let missed = scene.figure("entitled_webhooks_missed_total").await;
    assert!((missed - 1.0).abs() < 0.1, "{missed}");
    assert_eq!(scene.answer(story::MIA).await, "suspended subscription_suspended");
}
