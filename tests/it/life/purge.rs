//! Retention: long after the end what belongs to the customer goes, and answers stay right.

use entitled::domain::{Fact, Party};
use entitled::sandbox::story;
use entitled::store::RunFilter;

use super::*;

/// `keep_cancelled`, as it is by default.
const KEEP_DAYS: i64 = 30;

fn is_purged(world: &World, id: SubscriptionId) -> bool {
    life(world, id).purged_at.is_some()
}

/// Everything that says who it was.
fn names_nobody(world: &World, id: SubscriptionId) {
    let it = mirrored(world, id);
    assert_eq!((&*it.name, it.beneficiary.user, it.purchaser), ("", None, Party::default()));
    assert_eq!(world.daemon.store.raw_subscription(id).unwrap(), None);
    for change in journal(world, id) {
        assert_eq!(change.user, None, "{change:?}");
        for fact in [change.before, change.after].into_iter().flatten() {
            if let Fact::Subscription(it) = fact {
                assert_eq!((&*it.name, it.beneficiary.user), ("", None));
            }
        }
    }
}

#[tokio::test]
async fn long_after_the_end_only_what_keeps_answers_right_stays() {
    let mut world = World::new().await;
    world.sync().await;
    let quin = of(&world, story::LUCERNE);
    let before = mirrored(&world, quin);
    assert!(!before.name.is_empty() && before.beneficiary.user.is_some());
    assert!(journal(&world, quin).iter().any(|it| it.user.is_some()));
    world.advance(days(KEEP_DAYS) - SignedDuration::from_hours(1));
    world.sync().await;
    assert!(!is_purged(&world, quin), "not yet");

    world.advance(SignedDuration::from_hours(2));
    wake(&world).await;
    world.until("the purge", |it| is_purged(it, quin)).await;
    names_nobody(&world, quin);
    let after = mirrored(&world, quin);
    assert_eq!(
        (after.status, after.term_end, after.plan),
        (before.status, before.term_end, before.plan)
    );
    assert_eq!(world.answer(story::QUIN, SUITE).await, "expired subscription_ended stale");
    let run = world.daemon.store.runs(&RunFilter::default()).unwrap().pop().unwrap();
    let note = journal(&world, quin).pop().unwrap();
    assert_eq!(note.cause.to_string(), format!("run {}", run.id));
    assert!(notes(&world, quin)[0].contains("data was removed"), "{:?}", notes(&world, quin));
    // Counted after it is done.
    let mut looks = 0;
    while !metric(&world, "entitled_subscriptions_purged_total").await.ends_with(" 1") {
        looks += 1;
        assert!(looks < 1_000, "it is never counted");
    }

    // The list goes on showing it, names and all.
    let run = world.sync().await.remove(0);
    assert_eq!((run.changed, run.added), (0, 0), "{run:?}");
    names_nobody(&world, quin);
    world.restart().await;
    world.sync().await;
    names_nobody(&world, quin);
    assert!(is_purged(&world, quin));
    assert_eq!(world.answer(story::QUIN, SUITE).await, "expired subscription_ended");
    assert!(!is_purged(&world, of(&world, story::PROSEWARE)), "what lives stays whole");

    // Microsoft is the authority: should it say otherwise, all is read anew.
    world.advance(days(1));
    set_status(&world, quin, "Subscribed");
    world.sync().await;
    assert_eq!(mirrored(&world, quin).name, before.name);
    assert!(
        !is_purged(&world, quin) && world.daemon.store.raw_subscription(quin).unwrap().is_some()
    );
    assert_eq!(world.answer(story::QUIN, SUITE).await, "active subscription_active");
}

#[tokio::test]
async fn seats_that_were_held_and_what_the_journal_says_of_them_go_too() {
    let world = World::new().await;
    world.sync().await;
    let team = of(&world, story::WINGTIP);
    for person in [story::WIM, story::XIA] {
        assert_eq!(world.answer(person, SUITE).await, "active subscription_active");
    }
    assert_eq!(world.mirror().holders(team).unwrap().iter().count(), 2);
    set_status(&world, team, "Unsubscribed");
    world.sync().await;
    world.advance(days(KEEP_DAYS));
    wake(&world).await;
    world.until("the purge", |it| is_purged(it, team)).await;
    assert!(world.mirror().holders(team).is_none());
    names_nobody(&world, team);
    assert_eq!(world.answer(story::WIM, SUITE).await, "expired subscription_ended stale");
}

#[tokio::test]
async fn a_record_that_nobody_understood_goes_with_the_subscription_it_was_of() {
    let world = World::new().await;
    world.sync().await;
    let quin = of(&world, story::LUCERNE);
    let whole = world.microsoft(|it| it.subscription(quin.as_uuid())).unwrap();
    let mut odd: Value = serde_json::to_value(&whole).unwrap();
    odd["quantity"] = "many".into();
    world.microsoft(|it| it.upsert_subscription(&odd.to_string())).unwrap();
    world.sync().await;
    let held = |world: &World| {
        let odd = world.daemon.store.odd_records(100).unwrap();
        odd.iter().filter(|it| it.raw.contains(&quin.to_string())).count()
    };
    assert_eq!(held(&world), 1);
    world.microsoft(|it| it.put_subscription(&whole));
    world.sync().await;
    world.advance(days(KEEP_DAYS));
    wake(&world).await;
    world.until("the purge", |it| is_purged(it, quin)).await;
    assert_eq!(held(&world), 0);
    world.daemon.store.export(world.now()).await.unwrap();
}

#[tokio::test]
async fn less_than_seven_days_is_refused() {
    let check = |value: &str, fails: bool| {
        let text = std::include_str!("../../../config/entitled.toml");
        let text =
            text.replace("keep_cancelled = \"30d\"", &format!("keep_cancelled = \"{value}\""));
        let why = match entitled::config::Config::parse(&text, std::iter::empty()) {
            Ok(_) => String::new(),
            Err(error) => error.to_string(),
        };
        assert_eq!(why.contains("keep_cancelled"), fails, "{value}: {why}");
    };
    check("6d", true);
    check("167h", true);
    check("7d", false);
    check("90d", false);
}
