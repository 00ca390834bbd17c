//! Traps of buying: landing, activation, plans, cancellation, and who a purchase is for.

use entitled::domain::{PurchaseToken, SubscriptionId, SubscriptionStatus};
use entitled::microsoft::{Change, ErrorKind, Read, Resolved, Verdict};
use entitled::sandbox::{TokenVersion, story};
use serde_json::json;
use uuid::Uuid;

use super::scene::{SUITE, Scene, body};
use crate::microsoft::{Pretend, raw};
use crate::world::CALLER_KEY;

/// What a fresh token of this subscription stands for.
async fn resolve(scene: &Scene, id: Uuid) -> Resolved {
    let token = scene.world.microsoft(|it| it.landing_token(id)).unwrap();
    let token = PurchaseToken::new(token).unwrap();
    let (microsoft, meter) = scene.client();
    microsoft.marketplace().resolve(&meter, &token).await.unwrap()
}

async fn read(scene: &Scene, id: Uuid) -> entitled::domain::Subscription {
    let (microsoft, meter) = scene.client();
    let id = SubscriptionId::from_uuid(id);
    match microsoft.marketplace().subscription(&meter, id).await.unwrap() {
        Some(Read::Understood(it, _)) => it,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn trap_10_the_term_is_not_taken_from_what_the_token_resolves_to() {
    let scene = Scene::new().await;
    scene.faults("resolve.without_term=1");
    let id = scene.id(story::MIA);
    let resolved = resolve(&scene, id).await;
    let Some(Read::Understood(inner, _)) = resolved.subscription else { panic!("not understood") };
    assert_eq!(inner.term_end, None, "as in August 2021");
    assert_eq!(inner.status, SubscriptionStatus::Subscribed);
    assert!(read(&scene, id).await.term_end.is_some(), "the subscription itself has it");
    assert!(scene.mirrored(id).term_end.is_some(), "and so has the mirror");
}

#[tokio::test]
async fn trap_12_an_activation_that_was_taken_is_not_yet_one() {
    let scene = Scene::new().await;
    let id = scene.buy(story::JO, "company", false);
    scene.world.sync().await;
    let (microsoft, meter) = scene.client();
    let subscription = SubscriptionId::from_uuid(id);
    microsoft.marketplace().activate(&meter, subscription, "company", None).await.unwrap();
    assert_eq!(read(&scene, id).await.status, SubscriptionStatus::PendingFulfillmentStart);
    scene.world.sync().await;
    assert_eq!(scene.answer(story::JO).await, "pending subscription_pending", "nobody guesses");
    scene.pass(60);
    scene.world.sync().await;
    assert_eq!(scene.answer(story::JO).await, "active subscription_active");
}

#[tokio::test]
async fn trap_13_an_activation_has_a_body_that_old_and_new_servers_take() {
    let it = Pretend::new().await;
    let id = "a1a1a1a1-4289-581c-2cb7-db784599a7bd";
    let path = format!("/marketplace/api/saas/subscriptions/{id}/activate");
    it.answer("POST", &path, vec![raw(200, "")]).await;
    let marketplace = it.microsoft.marketplace();
    marketplace.activate(&it.meter, id.parse().unwrap(), "team", Some(5)).await.unwrap();
    marketplace.activate(&it.meter, id.parse().unwrap(), "company", None).await.unwrap();
    let sent: Vec<serde_json::Value> =
        it.requests("/activate").await.iter().map(|it| it.body_json().unwrap()).collect();
    assert_eq!(sent, [json!({"planId": "team", "quantity": 5}), json!({"planId": "company"})]);
}

#[tokio::test]
async fn trap_28_a_colleague_may_land_on_what_is_active_long_since() {
    let scene = Scene::new().await;
    let id = scene.id(story::MIA);
    for _ in 0..2 {
        let resolved = resolve(&scene, id).await;
        assert_eq!(resolved.id.as_uuid(), id);
        let Some(Read::Understood(it, _)) = resolved.subscription else { panic!("not understood") };
        assert_eq!(it.status, SubscriptionStatus::Subscribed, "no new purchase");
    }
    assert_eq!(scene.asked("POST", "/activate"), 0);
    assert_eq!(scene.stands(id), scene.stands_there(id));
}

#[tokio::test]
async fn trap_29_an_annual_subscription_that_is_not_new_is_its_customers_to_cancel() {
    let scene = Scene::new().await;
    let id = scene.buy(story::JO, "company", true);
    scene.change(id, |it| it.term.term_unit = "P1Y".to_owned());
    scene.pass(73 * 3_600);
    let (microsoft, meter) = scene.client();
    let error = microsoft.marketplace().cancel(&meter, SubscriptionId::from_uuid(id)).await;
    let error = error.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected);
    assert!(error.to_string().contains("the customer has to"), "{error}");
    assert!(!error.may_have_taken_effect(), "and nothing has changed");
    assert_eq!(scene.truth(id).saas_subscription_status, "Subscribed");
}

#[tokio::test]
async fn trap_30_the_present_plan_may_be_missing_from_the_available_ones() {
    let scene = Scene::new().await;
    scene.faults("plans.without_current=1");
    let id = scene.buy(story::JO, "team", true);
    let (microsoft, meter) = scene.client();
    let (marketplace, subscription) = (microsoft.marketplace(), SubscriptionId::from_uuid(id));
    let plans = marketplace.plans(&meter, subscription, None).await.unwrap();
    let names: Vec<String> = plans
        .into_iter()
        .map(|it| match it {
            Read::Understood(it, _) => it.plan.to_string(),
            Read::Odd { why, .. } => panic!("{why}"),
        })
        .collect();
    assert_eq!(names, ["company", "enterprise"]);
    assert!(marketplace.plans(&meter, subscription, Some("team")).await.unwrap().is_empty());
    marketplace.change(&meter, subscription, Change::Quantity(7)).await.unwrap();
    scene.pass(6);
    scene.play_out().await;
    assert_eq!(scene.stands(id), ("Subscribed".to_owned(), "team".to_owned(), Some(7)));
}

#[tokio::test]
async fn trap_31_who_lands_after_an_auto_activation_finds_it_active() {
    let scene = Scene::new().await;
    let id = scene.buy(story::JO, "company", true);
    let (microsoft, meter) = scene.client();
    let subscription = SubscriptionId::from_uuid(id);
    let late = microsoft.marketplace().activate(&meter, subscription, "company", None).await;
    if let Err(error) = late {
        assert_eq!(error.kind(), ErrorKind::Rejected, "no alarm: read it");
    }
    assert_eq!(read(&scene, id).await.status, SubscriptionStatus::Subscribed, "that is success");
    let asked = scene.asked("POST", "/activate");
    scene.play_out().await;
    assert_eq!(scene.answer(story::JO).await, "active subscription_active");
    assert_eq!(
        scene.asked("POST", "/activate"),
        asked,
        "nobody activates what came by `Subscribe`"
    );
}

#[tokio::test]
async fn trap_33_an_unknown_operation_is_a_400_and_a_wrong_word_gets_a_200() {
    let scene = Scene::new().await;
    let id = scene.id(story::MIA);
    let (microsoft, meter) = scene.client();
    let (marketplace, subscription) = (microsoft.marketplace(), SubscriptionId::from_uuid(id));
    let unknown = Uuid::from_u128(7).to_string();
    assert!(marketplace.operation(&meter, subscription, &unknown).await.unwrap().is_none());
    // Microsoft would take any word, so the word must be right: it has an effect.
    for (verdict, plan) in [(Verdict::Failure, "company"), (Verdict::Success, "team")] {
        let operation = scene.world.microsoft(|it| it.change_plan(id, "team")).unwrap();
        let operation = operation.to_string();
        marketplace.acknowledge(&meter, subscription, &operation, verdict).await.unwrap();
        scene.pass(2);
        read(&scene, id).await;
        assert_eq!(scene.truth(id).plan_id, plan, "{verdict:?}");
    }
}

#[tokio::test]
async fn trap_27_what_another_deployment_sells_is_mirrored_reported_and_gives_no_right() {
    let scene = Scene::new().await;
    let foreign = scene.buy(story::DAN, "company", true);
    scene.change(foreign, |it| it.offer_id = "offer-of-another-deployment".to_owned());
    let unsold = scene.figure("entitled_subscriptions_without_product").await;
    scene.play_out().await;
    assert_eq!(&*scene.mirrored(foreign).offer, "offer-of-another-deployment");
    let answer = scene.answer(story::DAN).await;
    assert!(answer.starts_with("unlicensed"), "{answer}");
    let figure = scene.figure("entitled_subscriptions_without_product").await;
    assert!((figure - unsold - 1.0).abs() < 0.1, "{unsold} {figure}");
    scene.change(foreign, |it| story::SUITE_OFFER.clone_into(&mut it.offer_id));
    scene.world.sync().await;
    assert_eq!(scene.answer(story::DAN).await, "active subscription_active", "of ours it would be");
}

#[tokio::test]
async fn trap_39_a_purchase_with_a_personal_account_entitles_nobody_else() {
    let scene = Scene::new().await;
    // Pat's own purchase is there, Subscribed, from the first day.
    let key = Uuid::from_u128(0x1ce);
    for user in [story::PAT.user, key] {
        let other = story::Person { user, ..story::PAT };
        let answer = scene.world.ask(other, SUITE, "web").await;
        assert_eq!(answer["usable"], false, "{answer}");
        assert_eq!(answer["reason"], "personal_account", "{answer}");
    }
    let question = json!({ "product": SUITE, "host": "web", "tenant": story::PERSONAL_TENANT,
        "user": key });
    let (_, answer) = scene.world.post("/v1/entitlements", CALLER_KEY, &question).await;
    assert_ne!(answer["usable"], true, "{answer}");
    let nil = json!({ "product": SUITE, "host": "web", "tenant": Uuid::nil(), "user": key });
    let (_, answer) = scene.world.post("/v1/entitlements", CALLER_KEY, &nil).await;
    assert_ne!(answer["usable"], true, "{answer}");
}

#[tokio::test]
async fn trap_21_the_caller_is_in_appid_or_in_azp() {
    let scene = Scene::new().await;
    let id = scene.id(story::MIA);
    for (number, version) in (1..).zip([TokenVersion::V1, TokenVersion::V2, TokenVersion::V1]) {
        let to = format!("http://{}/marketplace/webhook", scene.world.daemon.public);
        let to = entitled::sandbox::Webhook { version, ..entitled::sandbox::Webhook::to(&to) };
        // It flips when somebody edits the app's manifest, while we run.
        scene.world.microsoft(|it| it.set_webhook(Some(to)));
        assert_eq!(scene.told(&body(number, "Renew", id)).await, 200, "{version:?}");
    }
    assert_eq!(scene.events().len(), 3);
}
