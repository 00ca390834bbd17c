//! What never arrived: given up in sight, kept, and sent again when somebody says so.

use entitled::domain::{Cause, Entity};
use entitled::notify::Replay;
use entitled::store::ChangeFilter;

use super::*;

#[tokio::test]
async fn after_three_days_of_tries_events_are_given_up_and_a_replay_brings_them() {
    let billing = Receiver::new("billing").await;
    let world = world(&[&billing]).await;
    billing.forget();
    billing.answers(|_| Reply::status(503));
    let id = subscription(&world);
    for status in ["Suspended", "Subscribed"] {
        set_status(&world, id, status).await;
    }
    // Another subject, which never gets a turn of its own for long.
    world.microsoft(|it| it.consent(story::CONTOSO.tenant, None)).unwrap();
    world.sync_tenant(story::CONTOSO.tenant).await;
    let store = world.daemon.store.clone();
    for _ in 0..26 {
        assert!(store.outbox()["billing"].dead == 0, "{:?}", store.outbox());
        pass(&world, SignedDuration::from_hours(3) - SignedDuration::from_mins(15)).await;
    }
    let tries = billing.got().len();
    assert!((8..60).contains(&tries), "{tries} tries in three days");
    world.advance(SignedDuration::from_hours(6));
    until(&world, "they are given up", || store.outbox()["billing"].waiting == 0).await;
    let dead: Vec<_> = events(&world).into_iter().filter(|it| is_dead(it)).collect();
    let kinds: Vec<_> = dead.iter().map(|it| it.kind.as_str()).collect();
    let lost = ["subscription.suspended", "subscription.reinstated", "tenant.consent_revoked"];
    assert_eq!(kinds, lost);
    assert!(dead.iter().any(|it| it.error.as_deref() == Some("it answered 503")));

    // Still ill: one is put back and fails, as it did.
    billing.forget();
    billing.answers(|_| Reply::OK);
    world.advance(SignedDuration::from_hours(8));
    let notify = &world.daemon.notify;
    let one = Replay::One(Arc::clone(&dead[1].id));
    assert_eq!(notify.replay(&one, Some("nobody"), &Cause::Command).await.unwrap().len(), 0);
    assert_eq!(notify.replay(&one, Some("billing"), &Cause::Command).await.unwrap().len(), 1);
    settled(&world).await;
    assert_eq!(notify.replay(&Replay::Dead, None, &Cause::Command).await.unwrap().len(), 2);
    settled(&world).await;
    let got: Vec<String> = billing.taken().into_iter().map(|it| it.id).collect();
    let ids: Vec<&str> = dead.iter().map(|it| &*it.id).collect();
    assert_eq!(got, [ids[1], ids[0], ids[2]], "under the ids that they had");
    assert_eq!(store.outbox()["billing"].dead, 0);
    // What was sent can be sent again too, all of it.
    let since = Replay::Since(dead[0].at);
    assert_eq!(notify.replay(&since, None, &Cause::Command).await.unwrap().len(), 3);
    settled(&world).await;
    assert_eq!(billing.taken().len(), 6);
    let journal = store.changes(&ChangeFilter::default()).unwrap();
    let replays = journal.iter().filter(|it| it.entity == Entity::Notice).count();
    assert_eq!(replays, 3, "each replay is in the journal");
}

#[tokio::test]
async fn a_daemon_that_was_down_for_days_gives_nothing_up_unheard() {
    let billing = Receiver::new("billing").await;
    let mut world = world(&[&billing]).await;
    billing.forget();
    billing.answers(|_| Reply::Never);
    let id = subscription(&world);
    set_status(&world, id, "Suspended").await;
    set_status(&world, id, "Subscribed").await;
    world.stop_daemon().await;
    world.advance(SignedDuration::from_hours(24 * 9));
    billing.answers(|_| Reply::status(500));
    world.restart().await;
    until(&world, "a try", || billing.got().iter().any(|it| it.answered.is_some())).await;
    idle(&world).await;
    assert!(!events(&world).iter().any(|it| is_dead(it)));
    billing.answers(|_| Reply::OK);
    world.advance(SignedDuration::from_mins(1));
    settled(&world).await;
    let told = billing.taken_ids().len();
    assert!(told >= 2, "{told}");
}

#[tokio::test]
async fn an_endpoint_that_is_configured_no_longer_is_shown_and_its_events_go_in_the_end() {
    let billing = Receiver::new("billing").await;
    let mut world = world(&[&billing]).await;
    billing.answers(|_| Reply::status(500));
    let id = subscription(&world);
    set_status(&world, id, "Suspended").await;
    world.reconfigure("").await;
    let status = world.daemon.notify.status();
    assert_eq!((status.len(), status[0].state, status[0].waiting), (1, "removed", 1));
    set_status(&world, id, "Subscribed").await;
    assert_eq!(world.daemon.store.outbox()["billing"].waiting, 1, "nothing new is kept for it");
    world.advance(SignedDuration::from_hours(24 * 31));
    let store = world.daemon.store.clone();
    until(&world, "it is forgotten", || store.outbox().is_empty()).await;
}

#[tokio::test]
async fn without_an_endpoint_nothing_is_kept() {
    let world = World::new().await;
    world.sync().await;
    set_status(&world, subscription(&world), "Suspended").await;
    assert!(events(&world).is_empty());
    assert!(world.daemon.store.outbox().is_empty());
}
