//! Closer looks: those that may change soon are read alone, within a budget.

use entitled::domain::{Outcome, SourceKey, Trigger};
use entitled::sandbox::{Purchase, story};
use entitled::store::RunFilter;
use jiff::SignedDuration;

use super::*;

fn buy(world: &World, name: &str) -> SubscriptionId {
    let purchase = Purchase {
        tenant: story::LAMNA.tenant,
        user: story::OLI.user,
        name: name.to_owned(),
        plan: story::SUITE_COMPANY.to_owned(),
        quantity: None,
        auto_activate: false,
        reseller: None,
    };
    SubscriptionId::from_uuid(world.microsoft(|it| it.buy(purchase)).unwrap())
}

fn minutes(count: i64) -> SignedDuration {
    SignedDuration::from_mins(count)
}

#[tokio::test]
async fn a_purchase_that_waits_is_seen_active_before_the_next_list() {
    let world = World::new().await;
    let id = buy(&world, "new");
    world.sync().await;
    assert_eq!(mirrored(&world, id).status.as_str(), "PendingFulfillmentStart");
    set_status(&world, id, "Subscribed");
    world.advance(minutes(3));
    wake(&world).await;
    world.until("the activation", |it| mirrored(it, id).status.as_str() == "Subscribed").await;

    let run = world.daemon.store.runs(&RunFilter::default()).unwrap().pop().unwrap();
    assert_eq!((run.key, run.trigger), (SourceKey::SUBSCRIPTIONS, Trigger::Schedule));
    assert_eq!((run.full, run.changed, run.outcome), (false, 1, Outcome::Complete), "{run:?}");
    assert_eq!(journal(&world, id).pop().unwrap().cause.to_string(), format!("run {}", run.id));
    assert_eq!((life(&world, id).since, life(&world, id).entered), (world.now(), true));
    assert_eq!(world.answer(story::OLI, SUITE).await, "active subscription_active");
}

#[tokio::test]
async fn a_suspension_is_looked_at_and_what_lives_well_is_not() {
    let world = World::new().await;
    world.sync().await;
    let (pia, mia) = (of(&world, story::RELECLOUD), of(&world, story::PROSEWARE));
    set_status(&world, pia, "Subscribed");
    set_status(&world, mia, "Suspended");
    // Nobody saw how long it has been suspended: it is looked at as one that is new.
    world.advance(minutes(3));
    wake(&world).await;
    world.until("the reinstatement", |it| mirrored(it, pia).status.as_str() == "Subscribed").await;
    assert_eq!(mirrored(&world, mia).status.as_str(), "Subscribed", "the list will tell");
    assert_eq!(reads(&world, mia.as_uuid()), 0);
    assert!(
        metric(&world, "entitled_subscription_looks_total{outcome=\"changed\"}")
            .await
            .ends_with(" 1")
    );
}

#[tokio::test]
async fn looks_are_budgeted_and_those_that_change_nothing_are_no_run() {
    let world = World::new().await;
    let ids: Vec<_> = (0..40).map(|it| buy(&world, &format!("purchase {it}"))).collect();
    world.sync().await;
    let runs = world.daemon.store.runs(&RunFilter::default()).unwrap().len();
    let all = |world: &World| ids.iter().map(|it| reads(world, it.as_uuid())).sum::<usize>();
    assert_eq!(all(&world), 0);
    minute_by_minute(&world, "looks at all", |it| all(it) >= 40).await;
    let runs_now = world.daemon.store.runs(&RunFilter::default()).unwrap().len();
    assert_eq!(runs_now, runs, "nothing had changed");

    world.advance(minutes(1));
    world.sync().await;
    let before = all(&world);
    let runs = world.daemon.store.runs(&RunFilter::default()).unwrap().len();
    world.advance(SignedDuration::from_hours(1));
    for id in &ids {
        at_microsoft(&world, *id, |it| it.auto_renew = false);
    }
    wake(&world).await;
    world
        .until("a round", |it| it.daemon.store.runs(&RunFilter::default()).unwrap().len() > runs)
        .await;
    let first = all(&world) - before;
    assert!((25..=30).contains(&first), "{first} in one round");
    // The next round is a minute later at the earliest.
    world.advance(SignedDuration::from_secs(30));
    wake(&world).await;
    wake(&world).await;
    assert_eq!(all(&world) - before, first);
    world.advance(minutes(1));
    wake(&world).await;
    world
        .until("all of them", |it| ids.iter().all(|id| mirrored(it, *id).auto_renew == Some(false)))
        .await;
    assert_eq!(all(&world) - before, 40, "those that were read rest");
}

#[tokio::test]
async fn what_a_complete_list_lacks_is_read_alone_and_kept() {
    let world = World::new().await;
    world.sync().await;
    let mia = of(&world, story::PROSEWARE);
    let there = world.microsoft(|it| it.subscription(mia.as_uuid())).unwrap();
    world.microsoft(entitled::sandbox::World::clear_subscriptions);
    let kept = world.mirror();
    world.sync().await;
    assert!(life(&world, mia).missing_since.is_some());
    assert_eq!(world.answer(story::MIA, SUITE).await, "active subscription_active");
    assert_eq!(world.mirror().subscription_count(), kept.subscription_count());
    minute_by_minute(&world, "a look", |it| reads(it, mia.as_uuid()) > 0).await;
    let status = admin(&world, "/status").await.remove(0);
    // Those that ended are no anomaly.
    let alive = kept.subscriptions().filter(|it| it.status.as_str() != "Unsubscribed").count();
    assert_eq!(status["lives"]["missing"], alive);
    assert!(metric(&world, "entitled_subscriptions_missing").await.ends_with(&format!(" {alive}")));

    world.microsoft(|it| it.put_subscription(&there));
    world.sync().await;
    assert_eq!(life(&world, mia).missing_since, None);
    let words = "a complete list lacks it: kept as it is";
    assert_eq!(notes(&world, mia), [words.to_owned(), format!("no longer: {words}")]);
}

#[tokio::test]
async fn while_microsoft_is_away_looks_wait_and_nothing_is_lost() {
    let world = World::new().await;
    let id = buy(&world, "new");
    world.sync().await;
    world.microsoft(|it| it.outage(true));
    for _ in 0..3 {
        world.advance(minutes(3));
        wake(&world).await;
    }
    assert_eq!(mirrored(&world, id).status.as_str(), "PendingFulfillmentStart");
    world.microsoft(|it| it.outage(false));
    set_status(&world, id, "Subscribed");
    minute_by_minute(&world, "the activation", |it| {
        mirrored(it, id).status.as_str() == "Subscribed"
    })
    .await;
}

#[tokio::test]
async fn what_comes_back_from_its_end_is_taken_over_and_told() {
    let mut world = World::new().await;
    world.sync().await;
    let quin = of(&world, story::LUCERNE);
    assert_eq!(world.answer(story::QUIN, SUITE).await, "expired subscription_ended");
    set_status(&world, quin, "Subscribed");
    world.advance(minutes(1));
    world.sync().await;
    assert_eq!(world.answer(story::QUIN, SUITE).await, "active subscription_active");
    let words = "Unsubscribed became Subscribed, which Microsoft does not document: taken over";
    assert_eq!(notes(&world, quin), [words]);
    let line = "entitled_subscriptions_undocumented";
    assert!(metric(&world, line).await.ends_with(" 1"));
    world.restart().await;
    assert!(metric(&world, line).await.ends_with(" 1"), "it is durable");
    world.sync().await;
    assert_eq!(notes(&world, quin).len(), 1, "told once");
}
