//! Every row of `marketplace-saas.md` sections 9 (the state machine) and 9.1 (access per state):
//! what happens at Microsoft, up to what a user of that company is answered.

use entitled::domain::SubscriptionId;
use entitled::sandbox::{World as Microsoft, WorldError, story};
use uuid::Uuid;

use super::scene::Scene;

const ACTIVE: &str = "active subscription_active";
const PENDING: &str = "pending subscription_pending";
const SUSPENDED: &str = "suspended subscription_suspended";
const ENDED: &str = "expired subscription_ended";
const DAY: i64 = 86_400;

/// Something that a customer does.
type Change<'a> = dyn Fn(&mut Microsoft) -> Result<Uuid, WorldError> + 'a;

/// What is known of a subscription: at Microsoft, in the mirror, and to its users.
async fn check(scene: &Scene, id: Uuid, status: &str, answer: &str) {
    assert_eq!(scene.truth(id).saas_subscription_status, status, "at Microsoft");
    assert_eq!(scene.stands(id), scene.stands_there(id), "in the mirror");
    let told = scene.answer(story::JO).await;
    assert_eq!(told.trim_end_matches(" stale"), answer, "{status}");
}

/// Jo's company has bought and activated.
async fn subscribed() -> (Scene, Uuid) {
    let scene = Scene::new().await;
    let id = scene.buy(story::JO, "company", true);
    scene.play_out().await;
    (scene, id)
}

async fn suspended() -> (Scene, Uuid) {
    let (scene, id) = subscribed().await;
    scene.world.microsoft(|it| it.suspend(id)).unwrap();
    scene.play_out().await;
    (scene, id)
}

/// What was told, in order.
fn told(scene: &Scene) -> Vec<String> {
    scene.events().iter().map(|it| it.said.action.as_str().to_owned()).collect()
}

async fn activate(scene: &Scene, id: Uuid) -> Result<(), entitled::microsoft::ErrorKind> {
    let (microsoft, meter) = scene.client();
    let id = SubscriptionId::from_uuid(id);
    let done = microsoft.marketplace().activate(&meter, id, "company", None).await;
    done.map_err(|error| error.kind())
}

#[tokio::test]
async fn none_by_purchase_is_pending_without_a_webhook_and_seen_by_the_list() {
    let scene = Scene::new().await;
    let id = scene.buy(story::JO, "company", false);
    scene.play_out().await;
    assert!(told(&scene).is_empty());
    assert!(scene.answer(story::JO).await.starts_with("unlicensed"));
    scene.world.sync().await;
    check(&scene, id, "PendingFulfillmentStart", PENDING).await;
    assert_eq!(scene.mirrored(id).term_start, None, "nobody pays yet");
}

#[tokio::test]
async fn none_by_purchase_with_auto_activation_is_subscribed_by_its_webhook() {
    let (scene, id) = subscribed().await;
    assert_eq!(told(&scene), ["Subscribe"]);
    check(&scene, id, "Subscribed", ACTIVE).await;
    assert!(scene.mirrored(id).term_end.is_some());
}

#[tokio::test]
async fn pending_by_activation_is_subscribed_once_it_was_carried_out() {
    let scene = Scene::new().await;
    let id = scene.buy(story::JO, "company", false);
    scene.world.sync().await;
    activate(&scene, id).await.unwrap();
    scene.world.sync().await;
    check(&scene, id, "PendingFulfillmentStart", PENDING).await;
    scene.pass(30);
    scene.world.sync().await;
    check(&scene, id, "Subscribed", ACTIVE).await;
    assert!(scene.mirrored(id).term_start.is_some(), "from now on they pay");
}

#[tokio::test]
async fn pending_by_an_activation_that_fails_is_ended_by_a_webhook() {
    let scene = Scene::new().await;
    let id = scene.buy(story::JO, "company", false);
    scene.world.sync().await;
    scene.faults("activation.failure=1,activation=5s");
    activate(&scene, id).await.unwrap();
    scene.pass(5);
    scene.play_out().await;
    assert_eq!(told(&scene), ["Unsubscribe"]);
    check(&scene, id, "Unsubscribed", ENDED).await;
}

#[tokio::test]
async fn pending_by_cancellation_or_by_thirty_days_is_ended_and_never_had_a_term() {
    for days in [0, 30] {
        let scene = Scene::new().await;
        let id = scene.buy(story::JO, "company", false);
        scene.world.sync().await;
        scene.pass(days * DAY);
        if days == 0 {
            scene.world.microsoft(|it| it.unsubscribe(id)).unwrap();
        }
        scene.play_out().await;
        check(&scene, id, "Unsubscribed", ENDED).await;
        assert_eq!((scene.mirrored(id).term_start, scene.mirrored(id).term_end), (None, None));
    }
}

#[tokio::test]
async fn subscribed_keeps_its_old_plan_and_seats_until_a_change_has_succeeded() {
    let scene = Scene::new().await;
    let id = scene.buy(story::JO, "team", true);
    scene.play_out().await;
    let company = |it: &mut Microsoft| it.change_plan(id, "company");
    let team = |it: &mut Microsoft| it.change_plan(id, "team");
    let nine = |it: &mut Microsoft| it.change_quantity(id, 9);
    let changes: [&Change<'_>; 3] = [&company, &team, &nine];
    for change in changes {
        let before = scene.stands(id);
        scene.world.microsoft(|it| change(it)).unwrap();
        scene.deliver().await;
        assert_eq!(scene.stands(id), before, "in progress");
        scene.pass(2);
        scene.play_out().await;
        assert_ne!(scene.stands(id), before, "succeeded");
        check(&scene, id, "Subscribed", ACTIVE).await;
    }
    assert_eq!(scene.stands(id).2, Some(9));
}

#[tokio::test]
async fn subscribed_is_unchanged_by_a_change_that_fails_or_conflicts() {
    for spec in ["operation.failure=1", "operation.conflict=1"] {
        let (scene, id) = subscribed().await;
        let before = scene.stands(id);
        scene.faults(spec);
        scene.world.microsoft(|it| it.change_plan(id, "team")).unwrap();
        scene.play_out().await;
        assert_eq!(scene.stands(id), before, "{spec}");
        check(&scene, id, "Subscribed", ACTIVE).await;
        let reverts = usize::from(spec == "operation.failure=1");
        assert_eq!(told(&scene).len(), 2 + reverts, "a revert is told where it failed");
    }
}

#[tokio::test]
async fn subscribed_by_renewal_has_new_dates() {
    let (scene, id) = subscribed().await;
    let before = scene.mirrored(id).term_end;
    scene.world.microsoft(|it| it.renew(id)).unwrap();
    scene.play_out().await;
    assert_eq!(told(&scene), ["Subscribe", "Renew"]);
    assert!(scene.mirrored(id).term_end > before);
    check(&scene, id, "Subscribed", ACTIVE).await;
}

#[tokio::test]
async fn subscribed_by_a_payment_that_fails_is_suspended() {
    let (scene, id) = suspended().await;
    assert_eq!(told(&scene), ["Subscribe", "Suspend"]);
    check(&scene, id, "Suspended", SUSPENDED).await;
}

#[tokio::test]
async fn subscribed_without_renewal_counts_through_its_last_day_and_ends_by_microsofts_word() {
    let (scene, id) = subscribed().await;
    scene.change(id, |it| it.auto_renew = false);
    scene.world.sync().await;
    let end = scene.mirrored(id).term_end.unwrap();
    let until = end.duration_since(scene.world.now()).as_secs();
    scene.pass(until + 20 * 3_600);
    scene.world.sync().await;
    check(&scene, id, "Subscribed", ACTIVE).await;
    scene.pass(5 * 3_600);
    scene.world.sync().await;
    // Not by the clock: Microsoft says Subscribed, and it is the authority.
    check(&scene, id, "Subscribed", ACTIVE).await;
    scene.world.microsoft(|it| it.unsubscribe(id)).unwrap();
    scene.play_out().await;
    check(&scene, id, "Unsubscribed", ENDED).await;
}

#[tokio::test]
async fn subscribed_by_cancellation_is_ended_at_once_whoever_cancels() {
    for who in ["customer", "publisher"] {
        let (scene, id) = subscribed().await;
        if who == "customer" {
            scene.world.microsoft(|it| it.unsubscribe(id)).unwrap();
        } else {
            let (microsoft, meter) = scene.client();
            let id = SubscriptionId::from_uuid(id);
            microsoft.marketplace().cancel(&meter, id).await.unwrap();
            scene.pass(6);
        }
        scene.play_out().await;
        assert_eq!(told(&scene), ["Subscribe", "Unsubscribe"], "{who}");
        check(&scene, id, "Unsubscribed", ENDED).await;
    }
}

#[tokio::test]
async fn suspended_stays_so_while_it_is_being_reinstated_and_is_subscribed_when_that_is_done() {
    let (scene, id) = suspended().await;
    scene.world.microsoft(|it| it.reinstate(id)).unwrap();
    scene.deliver().await;
    check(&scene, id, "Suspended", SUSPENDED).await;
    scene.pass(2);
    scene.play_out().await;
    check(&scene, id, "Subscribed", ACTIVE).await;
}

#[tokio::test]
async fn suspended_for_thirty_days_or_cancelled_is_ended() {
    for days in [0, 30] {
        let (scene, id) = suspended().await;
        scene.pass(days * DAY);
        if days == 0 {
            scene.world.microsoft(|it| it.unsubscribe(id)).unwrap();
        }
        scene.play_out().await;
        assert_eq!(told(&scene).last().map(String::as_str), Some("Unsubscribe"));
        check(&scene, id, "Unsubscribed", ENDED).await;
    }
}

#[tokio::test]
async fn suspended_can_neither_be_activated_nor_changed() {
    use entitled::microsoft::{Change, ErrorKind};
    let (scene, id) = suspended().await;
    assert_eq!(activate(&scene, id).await, Err(ErrorKind::Rejected));
    let (microsoft, meter) = scene.client();
    for change in [Change::Plan("team"), Change::Quantity(7)] {
        let id = SubscriptionId::from_uuid(id);
        let error = microsoft.marketplace().change(&meter, id, change).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Rejected, "{change:?}");
        assert!(!error.may_have_taken_effect());
    }
    scene.play_out().await;
    check(&scene, id, "Suspended", SUSPENDED).await;
}

#[tokio::test]
async fn unsubscribed_is_the_end_and_a_new_purchase_has_a_new_id() {
    use entitled::microsoft::ErrorKind;
    let (scene, id) = subscribed().await;
    scene.world.microsoft(|it| it.unsubscribe(id)).unwrap();
    scene.play_out().await;
    assert_eq!(activate(&scene, id).await, Err(ErrorKind::NotFound));
    for revive in ["suspend", "reinstate", "renew", "unsubscribe"] {
        let done = scene.world.microsoft(|it| match revive {
            "suspend" => it.suspend(id),
            "reinstate" => it.reinstate(id),
            "renew" => it.renew(id),
            _ => it.unsubscribe(id),
        });
        assert!(done.is_err(), "{revive}");
    }
    check(&scene, id, "Unsubscribed", ENDED).await;
    let again = scene.buy(story::JO, "company", true);
    scene.play_out().await;
    assert_ne!(again, id);
    check(&scene, again, "Subscribed", ACTIVE).await;
    assert_eq!(scene.stands(id).0, "Unsubscribed", "and the old one stays what it was");
}

#[tokio::test]
async fn a_free_trial_counts_in_full() {
    let (scene, id) = subscribed().await;
    scene.change(id, |it| it.is_free_trial = true);
    scene.world.sync().await;
    let answer = scene.answer(story::JO).await;
    assert!(answer.starts_with("trial "), "{answer}");
    assert_eq!(scene.world.ask(story::JO, super::scene::SUITE, "web").await["usable"], true);
    scene.change(id, |it| it.saas_subscription_status = "Unsubscribed".to_owned());
    scene.world.sync().await;
    check(&scene, id, "Unsubscribed", ENDED).await;
}

#[tokio::test]
async fn what_ended_or_is_suspended_is_kept_to_be_restored() {
    let (scene, id) = suspended().await;
    scene.pass(6 * DAY);
    scene.world.sync().await;
    let id_here = SubscriptionId::from_uuid(id);
    let raw = || scene.world.daemon.store.raw_subscription(id_here).unwrap();
    assert!(
        raw().is_some() && scene.mirrored(id).quantity == scene.truth(id).quantity.map(u64::from)
    );
    scene.world.microsoft(|it| it.unsubscribe(id)).unwrap();
    scene.play_out().await;
    scene.pass(6 * DAY);
    scene.world.sync().await;
    assert!(raw().is_some(), "a week is the least");
    let changes = scene.world.daemon.store.changes(&entitled::store::ChangeFilter {
        subscription: Some(id_here),
        ..entitled::store::ChangeFilter::default()
    });
    assert!(changes.unwrap().len() >= 3, "bought, suspended, ended");
}
