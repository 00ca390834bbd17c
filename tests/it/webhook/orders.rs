//! Orders of customers, told by the sandbox as Microsoft tells them, up to what customers see.

use entitled::sandbox::{Faults, Webhook};

use super::*;

/// A synced world whose Microsoft tells us of what happens, when the test has it delivered.
pub(super) async fn told() -> (World, Uuid) {
    told_to(World::new().await).await
}

pub(super) async fn told_to(world: World) -> (World, Uuid) {
    world.sync().await;
    tell(&world);
    let id = subscription(&world).id;
    (world, id)
}

/// Has Microsoft tell this daemon: its address is another one after each start.
pub(super) fn tell(world: &World) {
    let to = Webhook {
        audience: story::CLIENT_ID.to_string(),
        ..Webhook::to(&format!("http://{}{WEBHOOK}", world.daemon.public))
    };
    world.microsoft(|it| {
        it.set_webhook(Some(to));
        it.deliver_by_hand(true);
    });
}

/// Delivers and works off until nothing is left to tell or to look up. Time passes when nothing
/// happens any more.
pub(super) async fn play_out(world: &World) {
    let mut idle = 0;
    while idle < 40 {
        let mut revisions = world.daemon.store.revisions();
        let told = world.sandbox.deliver_webhooks().await.len();
        let waiting = world.daemon.store.inbox().waiting;
        let untold = world.microsoft(|it| it.webhooks_waiting());
        if told + waiting + untold == 0 {
            return;
        }
        let soon = Duration::from_millis(150);
        if tokio::time::timeout(soon, revisions.changed()).await.is_err() {
            idle += 1;
            world.advance(SignedDuration::from_secs(3 * idle));
            wake(world).await;
        }
    }
    panic!("it does not end: {:?}", all(world));
}

/// Has the worker look at the clock at once.
pub(super) async fn wake(world: &World) {
    world.daemon.store.commit(entitled::domain::Commit::default()).await.unwrap();
}

pub(super) fn plan_of(world: &World, id: Uuid) -> (String, String) {
    let mirror = world.mirror();
    let mirrored = mirror.subscription(SubscriptionId::from_uuid(id)).unwrap();
    let truth = world.microsoft(|it| it.subscription(id)).unwrap().plan_id;
    (mirrored.plan.to_string(), truth)
}

#[tokio::test]
async fn a_customer_changes_is_suspended_pays_and_cancels_and_each_answer_follows() {
    let (world, id) = told().await;
    let answer = async || world.answer(story::MIA, "viz-suite").await;
    assert_eq!(answer().await, "active subscription_active");

    let change = world.microsoft(|it| it.change_plan(id, "team")).unwrap();
    play_out(&world).await;
    assert_eq!(plan_of(&world, id), ("team".to_owned(), "team".to_owned()));
    let event = all(&world).remove(0);
    assert_eq!(event.said.operation.as_deref(), Some(&*change.to_string()));
    assert_eq!(event.answered, Some(entitled::domain::Answered::Accepted));

    world.microsoft(|it| it.suspend(id)).unwrap();
    play_out(&world).await;
    assert_eq!(answer().await, "suspended subscription_suspended");
    world.microsoft(|it| it.reinstate(id)).unwrap();
    play_out(&world).await;
    assert_eq!(mirrored(&world, id), "Subscribed");
    world.microsoft(|it| it.unsubscribe(id)).unwrap();
    play_out(&world).await;
    assert_eq!(answer().await, "expired subscription_ended");
    assert_eq!(states(&world), ["changed"; 4]);
}

#[tokio::test]
async fn a_change_that_another_one_replaced_before_we_looked_is_over() {
    let (world, id) = told().await;
    for plan in ["team", "company"] {
        world.microsoft(|it| it.change_plan(id, plan)).unwrap();
        world.advance(SignedDuration::from_mins(1));
    }
    play_out(&world).await;
    assert_eq!(states(&world), ["known"; 2], "none waits for what it will never see");
    assert_eq!(plan_of(&world, id), ("company".to_owned(), "company".to_owned()));
}

#[tokio::test]
async fn doubled_reordered_bare_and_forged_webhooks_leave_the_mirror_as_microsoft_is() {
    for fault in
        ["webhook.duplicate=1", "webhook.reorder=1", "webhook.minimal=1", "webhook.forge=1"]
    {
        let (world, id) = told().await;
        world.microsoft(|it| it.set_faults(fault.parse::<Faults>().unwrap()));
        world.microsoft(|it| it.suspend(id)).unwrap();
        world.microsoft(|it| it.reinstate(id)).unwrap();
        play_out(&world).await;
        world.microsoft(|it| it.change_plan(id, "team")).unwrap();
        play_out(&world).await;
        let truth = world.microsoft(|it| it.subscription(id)).unwrap();
        assert_eq!(mirrored(&world, id), truth.saas_subscription_status, "{fault}");
        assert_eq!(plan_of(&world, id), ("team".to_owned(), "team".to_owned()), "{fault}");
        assert_eq!(truth.saas_subscription_status, "Subscribed", "{fault}");
    }
}
