//! Every row of `marketplace-saas.md` 8.1 (delivery), 8.2 (events), 8.6 (the second check), 8.7
//! (auto-activation) and 8.8 (the ten seconds), from the stand-in's webhook to the mirror.

use entitled::domain::{Answered, SubscriptionId};
use entitled::microsoft::Change;
use entitled::sandbox::{Fate, World as Microsoft, WorldError, story};
use serde_json::json;
use uuid::Uuid;

use super::scene::{Scene, WEBHOOK, body};

const KNOWN_PLANS: &str = "accept_changes = \"known_plans\"\n";

/// The statuses that our webhook gave.
fn answers(scene: &Scene) -> Vec<Fate> {
    let mut answers: Vec<Fate> =
        scene.world.microsoft(|it| it.deliveries()).iter().map(|it| it.fate).collect();
    answers.dedup();
    answers
}

/// Something happens at Microsoft; then the answer to its webhook, how often Microsoft was given our
/// word, and what the mirror has, which is what Microsoft has.
async fn row(
    scene: &Scene,
    id: Uuid,
    happens: impl FnOnce(&mut Microsoft) -> Result<Uuid, WorldError>,
    expected: (usize, (&str, &str)),
) {
    let before = scene.asked("PATCH", "/operations/");
    scene.world.microsoft(happens).unwrap();
    scene.play_out().await;
    let (words, (status, plan)) = expected;
    assert_eq!(answers(scene), [Fate::Answered(200)]);
    assert_eq!(scene.asked("PATCH", "/operations/") - before, words, "{status} {plan}");
    assert_eq!(scene.stands(id), scene.stands_there(id));
    let (has, of, _) = scene.stands(id);
    assert_eq!((has.as_str(), of.as_str()), (status, plan));
}

// 8.2, and 8.1's "4xx is a refusal": every answer is a 200.

#[tokio::test]
async fn each_action_gets_a_200_its_word_where_one_is_waited_for_and_its_effect() {
    let scene = Scene::new().await;
    let id = scene.buy(story::JO, "team", true);
    row(&scene, id, |_| Ok(id), (0, ("Subscribed", "team"))).await;
    assert_eq!(scene.events()[0].said.action.as_str(), "Subscribe");
    row(&scene, id, |it| it.change_plan(id, "enterprise"), (1, ("Subscribed", "enterprise"))).await;
    row(&scene, id, |it| it.change_quantity(id, 44), (1, ("Subscribed", "enterprise"))).await;
    assert_eq!(scene.stands(id).2, Some(44));
    let term = scene.mirrored(id).term_end;
    row(&scene, id, |it| it.renew(id), (0, ("Subscribed", "enterprise"))).await;
    assert!(scene.mirrored(id).term_end > term);
    row(&scene, id, |it| it.suspend(id), (0, ("Suspended", "enterprise"))).await;
    row(&scene, id, |it| it.reinstate(id), (1, ("Subscribed", "enterprise"))).await;
    row(&scene, id, |it| it.unsubscribe(id), (0, ("Unsubscribed", "enterprise"))).await;
    let seen: Vec<_> = scene.events().iter().map(|it| it.said.action.as_str().to_owned()).collect();
    let all = [
        "Subscribe",
        "ChangePlan",
        "ChangeQuantity",
        "Renew",
        "Suspend",
        "Reinstate",
        "Unsubscribe",
    ];
    assert_eq!(seen, all);
}

#[tokio::test]
async fn any_other_action_is_a_200_and_a_look_at_the_subscription() {
    let scene = Scene::new().await;
    let id = scene.id(story::MIA);
    scene.change(id, |it| it.name = "another".to_owned());
    assert_eq!(scene.told(&body(1, "Metamorphosis", id)).await, 200);
    assert_eq!(&*scene.mirrored(id).name, "another");
    assert_eq!(scene.asked("PATCH", "/operations/"), 0);
}

#[tokio::test]
async fn echoes_of_our_own_requests_get_no_word_and_are_taken_over() {
    let scene = Scene::with(KNOWN_PLANS).await;
    let id = scene.buy(story::JO, "company", true);
    scene.play_out().await;
    let (microsoft, meter) = scene.client();
    let (marketplace, ours) = (microsoft.marketplace(), SubscriptionId::from_uuid(id));
    marketplace.change(&meter, ours, Change::Plan("enterprise")).await.unwrap();
    scene.pass(2);
    scene.play_out().await;
    assert_eq!(scene.stands(id).1, "enterprise", "also one that customers may not have");
    marketplace.cancel(&meter, ours).await.unwrap();
    scene.pass(6);
    scene.play_out().await;
    assert_eq!(scene.stands(id).0, "Unsubscribed");
    assert_eq!(scene.asked("PATCH", "/operations/"), 0, "it would be a 500");
    assert_eq!(answers(&scene), [Fate::Answered(200)]);
}

#[tokio::test]
async fn a_change_that_we_do_not_want_is_refused_by_our_word_within_ten_seconds() {
    let scene = Scene::with(KNOWN_PLANS).await;
    let id = scene.id(story::MIA);
    let operation = scene.world.microsoft(|it| it.change_plan(id, "enterprise")).unwrap();
    scene.deliver().await;
    assert_eq!(scene.asked("PATCH", &operation.to_string()), 1, "the clock has not moved");
    scene.pass(2);
    scene.play_out().await;
    let there = scene.world.microsoft(|it| it.operations(id));
    assert_eq!(there, [(operation, "ChangePlan", "Failed")]);
    assert_eq!(
        (answers(&scene), scene.stands(id).1.as_str()),
        (vec![Fate::Answered(200)], "company")
    );
    assert_eq!(scene.events()[0].answered, Some(Answered::Refused));
}

#[tokio::test]
async fn reinstate_ends_well_whichever_of_the_documents_is_right() {
    for spec in ["", "operation.reinstate_400=1"] {
        let scene = Scene::new().await;
        let id = scene.id(story::MIA);
        scene.world.microsoft(|it| it.suspend(id)).unwrap();
        scene.play_out().await;
        scene.faults(spec);
        scene.world.microsoft(|it| it.reinstate(id)).unwrap();
        scene.play_out().await;
        assert_eq!(answers(&scene), [Fate::Answered(200)], "{spec}");
        assert!(scene.asked("PATCH", "/operations/") > 0, "our word is tried");
        assert_eq!(scene.stands(id).0, "Subscribed", "{spec}");
        assert_eq!(scene.stands(id), scene.stands_there(id), "{spec}");
        assert!(scene.events().iter().all(|it| it.state.as_str() == "changed"), "{spec}");
    }
}

// 8.1: who answers what, and what then happens.

#[tokio::test]
async fn it_is_acknowledged_once_it_is_on_disk_and_looked_up_afterwards() {
    let scene = Scene::new().await;
    let id = scene.id(story::MIA);
    scene.faults("marketplace.500=1");
    scene.world.microsoft(|it| it.suspend(id)).unwrap();
    scene.deliver().await;
    assert_eq!(answers(&scene), [Fate::Answered(200)], "though nothing can be looked up");
    assert_eq!(scene.stands(id).0, "Subscribed");
    scene.faults("");
    scene.pass(30);
    scene.play_out().await;
    assert_eq!(scene.stands(id).0, "Suspended");
}

#[tokio::test]
async fn what_reached_nobody_is_sent_again_and_then_has_its_effect() {
    let mut scene = Scene::new().await;
    let id = scene.id(story::MIA);
    scene.world.stop_daemon().await;
    scene.world.microsoft(|it| it.suspend(id)).unwrap();
    scene.world.sandbox.deliver_webhooks().await;
    assert_eq!(answers(&scene), [Fate::Unanswered]);
    scene.world.restart().await;
    let to = format!("http://{}{WEBHOOK}", scene.world.daemon.public);
    scene.world.microsoft(|it| it.set_webhook(Some(entitled::sandbox::Webhook::to(&to))));
    scene.pass(58);
    scene.play_out().await;
    assert_eq!(answers(&scene), [Fate::Unanswered, Fate::Answered(200)]);
    assert_eq!(scene.stands(id).0, "Suspended");
}

#[tokio::test]
async fn order_and_number_of_the_deliveries_do_not_matter() {
    for spec in [
        "webhook.duplicate=1",
        "webhook.reorder=0.5,seed=3",
        "webhook.duplicate=0.5,webhook.reorder=0.5,seed=5",
    ] {
        let scene = Scene::new().await;
        scene.faults(spec);
        let id = scene.buy(story::JO, "team", true);
        scene.world.microsoft(|it| {
            it.suspend(id).unwrap();
            it.reinstate(id).unwrap();
        });
        scene.play_out().await;
        scene
            .world
            .microsoft(|it| it.renew(id).and_then(|_| it.change_plan(id, "company")))
            .unwrap();
        scene.play_out().await;
        assert_eq!(scene.stands(id), scene.stands_there(id), "{spec}");
        assert_eq!(scene.stands(id).1, "company", "{spec}");
        let operations = scene.world.microsoft(|it| it.operations(id)).len();
        assert_eq!(scene.events().len(), operations, "{spec}: one event for each");
    }
}

#[tokio::test]
async fn operation_and_action_together_are_one_event() {
    let scene = Scene::new().await;
    let id = scene.id(story::MIA);
    for (number, action) in [(1, "Renew"), (1, "Renew"), (1, "Suspend"), (2, "Renew"), (1, "Renew")]
    {
        assert_eq!(scene.told(&body(number, action, id)).await, 200);
    }
    scene.play_out().await;
    let deliveries: Vec<u32> = scene.events().iter().map(|it| it.deliveries).collect();
    assert_eq!(deliveries, [3, 1, 1]);
}

#[tokio::test]
async fn a_lost_webhook_is_caught_by_the_list() {
    let scene = Scene::new().await;
    let id = scene.id(story::MIA);
    scene.faults("webhook.loss=1");
    scene.world.microsoft(|it| it.suspend(id)).unwrap();
    scene.play_out().await;
    assert_eq!((answers(&scene), scene.stands(id).0.as_str()), (vec![Fate::Lost], "Subscribed"));
    scene.pass(3_600);
    scene.world.sync().await;
    assert_eq!(scene.answer(story::MIA).await, "suspended subscription_suspended");
}

#[tokio::test]
async fn a_test_purchase_is_known_by_its_offer_alone_and_counts() {
    let scene = Scene::new().await;
    let id = scene.buy(story::JO, "company", true);
    scene.change(id, |it| {
        it.offer_id = format!("{}-preview", story::SUITE_OFFER);
        it.is_test = false;
    });
    scene.play_out().await;
    assert_eq!(scene.answer(story::JO).await, "active subscription_active");
}

// 8.6: what the second check says, and what is done then.

#[tokio::test]
async fn an_operation_that_matches_goes_on_and_one_that_does_not_is_a_look() {
    let scene = Scene::new().await;
    let id = scene.id(story::MIA);
    scene.faults("webhook.loss=1");
    let operation = scene.world.microsoft(|it| it.change_quantity(id, 7)).unwrap();
    let mut lie = body(1, "ChangeQuantity", id);
    (lie["id"], lie["quantity"], lie["status"]) =
        (json!(operation), json!(9_999), json!("InProgress"));
    assert_eq!(scene.told(&lie).await, 200);
    scene.play_out().await;
    assert_eq!(scene.events()[0].state.as_str(), "mismatched");
    assert_eq!(scene.stands(id), scene.stands_there(id));
    assert_ne!(scene.stands(id).2, Some(9_999), "what the webhook says is nothing");
}

#[tokio::test]
async fn an_operation_of_another_subscription_is_unknown() {
    let scene = Scene::new().await;
    let (mine, other) = (scene.id(story::MIA), scene.id(story::NOA));
    let operation = scene.world.microsoft(|it| it.suspend(other)).unwrap();
    let mut lie = body(1, "Suspend", mine);
    lie["id"] = json!(operation);
    scene.told(&lie).await;
    scene.play_out().await;
    assert_eq!(scene.stands(mine).0, "Subscribed");
    assert_eq!(scene.stands(other).0, "Suspended");
}

#[tokio::test]
async fn an_operation_that_nobody_knows_is_a_look_whatever_its_action() {
    let scene = Scene::new().await;
    let id = scene.id(story::MIA);
    let actions = ["Suspend", "Renew", "Unsubscribe", "Subscribe", "ChangePlan", "Reinstate"];
    for (number, action) in (1..).zip(actions) {
        scene.change(id, |it| action.clone_into(&mut it.name));
        assert_eq!(scene.told(&body(number, action, id)).await, 200, "{action}");
        scene.play_out().await;
        assert_eq!(&*scene.mirrored(id).name, action, "it was read");
        assert_eq!(scene.stands(id).0, "Subscribed", "{action}");
    }
    assert!(scene.events().iter().all(|it| it.state.as_str() == "unknown_operation"));
    assert_eq!(scene.asked("PATCH", "/operations/"), 0);
}

#[tokio::test]
async fn while_microsoft_refuses_or_fails_it_waits_in_the_inbox() {
    for spec in [
        "marketplace.500=1",
        "marketplace.503_html=1",
        "marketplace.429=1",
        "token.7000229=1",
        "token.503=1",
        "marketplace.truncated=1",
    ] {
        let scene = Scene::new().await;
        let id = scene.id(story::MIA);
        scene.pass(2 * 3_600); // our tokens have run out
        scene.faults(spec);
        scene.world.microsoft(|it| it.suspend(id)).unwrap();
        scene.deliver().await;
        assert_eq!(answers(&scene), [Fate::Answered(200)], "{spec}");
        assert_eq!(scene.events()[0].state.as_str(), "waiting", "{spec}");
        scene.faults("");
        scene.pass(600);
        scene.play_out().await;
        assert_eq!(scene.events()[0].state.as_str(), "changed", "{spec}");
        assert_eq!(scene.stands(id).0, "Suspended", "{spec}");
    }
}

// 8.7: auto-activation.

#[tokio::test]
async fn an_auto_activated_purchase_needs_nothing_of_us() {
    let scene = Scene::new().await;
    let id = scene.buy(story::JO, "company", true);
    scene.play_out().await;
    assert_eq!(scene.answer(story::JO).await, "active subscription_active", "without any list");
    assert_eq!(scene.asked("POST", "/activate") + scene.asked("POST", "/resolve"), 0);
    assert_eq!(scene.asked("PATCH", "/operations/"), 0);
    // A second `Subscribe` is no second subscription.
    let count = scene.world.mirror().subscription_count();
    assert_eq!(scene.told(&body(9, "Subscribe", id)).await, 200);
    assert_eq!(scene.world.mirror().subscription_count(), count);
}

// 8.8: the ten seconds.

#[tokio::test]
async fn after_ten_seconds_a_409_is_understood_and_what_was_decided_is_taken_over() {
    let scene = Scene::with(KNOWN_PLANS).await;
    let id = scene.id(story::MIA);
    scene.world.microsoft(|it| it.change_plan(id, "enterprise")).unwrap();
    scene.pass(11);
    scene.play_out().await;
    assert_eq!(scene.stands(id).1, "enterprise", "Microsoft has accepted it for us");
    assert_ne!(scene.events()[0].answered, Some(Answered::Refused), "too late is not refused");
    assert_eq!(scene.stands(id), scene.stands_there(id));
}

#[tokio::test]
async fn a_change_is_not_in_the_mirror_before_the_subscription_shows_it() {
    let scene = Scene::new().await;
    let id = scene.id(story::MIA);
    scene.world.microsoft(|it| it.change_plan(id, "team")).unwrap();
    scene.deliver().await;
    assert_eq!(scene.events()[0].answered, Some(Answered::Accepted));
    assert_eq!(scene.stands(id).1, "company", "accepted is not done");
    scene.pass(2);
    scene.play_out().await;
    assert_eq!(scene.stands(id).1, "team");
}

#[tokio::test]
async fn a_change_that_is_taken_back_is_accepted_even_where_policy_refuses_it() {
    let scene = Scene::with(KNOWN_PLANS).await;
    let id = scene.id(story::MIA);
    scene.change(id, |it| it.plan_id = "enterprise".to_owned());
    scene.world.sync().await;
    let operation = scene.world.microsoft(|it| it.roll_back(id)).unwrap();
    scene.play_out().await;
    assert_eq!(scene.events()[0].answered, Some(Answered::Accepted));
    let there = scene.world.microsoft(|it| it.operations(id));
    assert_eq!(there, [(operation, "ChangePlan", "Succeeded")]);
}
