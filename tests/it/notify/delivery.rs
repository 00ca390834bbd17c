//! How events come to a receiver: signed, at least once, in order, whatever it does.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

#[tokio::test]
async fn an_event_arrives_once_signed_with_every_secret_and_names_no_person() {
    let billing = Receiver::new("billing").await.with_second_secret();
    let world = world(&[&billing]).await;
    billing.forget();
    let id = subscription(&world);
    set_status(&world, id, "Suspended").await;
    settled(&world).await;
    let got = billing.got();
    assert_eq!(types(&got), ["subscription.suspended"]);
    let it = &got[0];
    assert_eq!(it.signatures.len(), 2);
    assert!(billing.secrets.iter().all(|secret| it.is_signed_with(secret)), "{it:?}");
    assert!(!it.is_signed_with("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="));
    assert!((world.now().as_second() - it.timestamp).abs() < 60);
    assert_eq!(it.body["data"]["subscription"]["id"], id.to_string());
    assert_eq!(it.body["data"]["before"], serde_json::json!({ "status": "Subscribed" }));
    let journal = world.daemon.store.changes(&entitled::store::ChangeFilter::default()).unwrap();
    let change = journal.last().unwrap();
    assert_eq!(it.body["timestamp"], change.at.to_string());
    assert_eq!(it.body["data"]["cause"], change.cause.to_string());
    let name = world.microsoft(|it| it.subscription(id)).unwrap().name;
    assert!(!it.raw.contains('@') && !it.raw.contains(&name), "{}", it.raw);
}

#[tokio::test]
async fn a_try_in_vain_is_repeated_with_the_same_id_and_body_and_later_ones_wait_their_turn() {
    let billing = Receiver::new("billing").await;
    let world = world(&[&billing]).await;
    billing.forget();
    billing.answers(|_| Reply::status(500));
    let id = subscription(&world);
    set_status(&world, id, "Suspended").await;
    until(&world, "one try", || billing.got().len() == 1).await;
    set_status(&world, id, "Subscribed").await;
    pass(&world, SignedDuration::from_secs(3)).await;
    assert_eq!(billing.got().len(), 1, "it rests for 4 s at least");
    pass(&world, SignedDuration::from_secs(4)).await;
    until(&world, "another try", || billing.got().len() == 2).await;
    billing.answers(|_| Reply::OK);
    pass(&world, SignedDuration::from_secs(40)).await;
    settled(&world).await;
    let got = billing.got();
    assert_eq!(types(&got)[..3], ["subscription.suspended"; 3]);
    assert_eq!(types(&got)[3..], ["subscription.reinstated"]);
    assert!(got[1..3].iter().all(|it| it.id == got[0].id && it.raw == got[0].raw));
    assert!(got[0].timestamp < got[1].timestamp, "a receiver may refuse what is old");
    assert!(got.iter().all(|it| it.is_signed_with(&billing.secrets[0])));
    assert_ne!(got[3].id, got[0].id);
}

#[tokio::test]
async fn what_a_receiver_asks_for_is_honoured_and_redirects_are_not_followed() {
    let (billing, elsewhere) = (Receiver::new("billing").await, Receiver::new("crm").await);
    let world = world(&[&billing]).await;
    billing.forget();
    billing.answers(|_| Reply::Status(429, vec![("retry-after", "600".to_owned())]));
    let id = subscription(&world);
    set_status(&world, id, "Suspended").await;
    until(&world, "one try", || billing.got().len() == 1).await;
    pass(&world, SignedDuration::from_secs(590)).await;
    assert_eq!(billing.got().len(), 1);
    let to = elsewhere.url();
    billing.answers(move |_| Reply::Status(307, vec![("location", to.clone())]));
    pass(&world, SignedDuration::from_secs(15)).await;
    until(&world, "another try", || billing.got().len() == 2).await;
    idle(&world).await;
    assert_eq!(elsewhere.got().len(), 0);
    let error = events(&world).into_iter().find_map(|it| it.error.clone()).unwrap();
    assert!(error.contains("redirect"), "{error}");
}

#[tokio::test]
async fn a_receiver_that_is_gone_hears_nothing_until_a_restart_or_a_test_that_it_takes() {
    let billing = Receiver::new("billing").await;
    let mut world = world(&[&billing]).await;
    billing.forget();
    billing.answers(|_| Reply::status(410));
    let id = subscription(&world);
    set_status(&world, id, "Suspended").await;
    until(&world, "one try", || billing.got().len() == 1).await;
    set_status(&world, id, "Subscribed").await;
    pass(&world, SignedDuration::from_hours(100)).await;
    assert_eq!(billing.got().len(), 1);
    let (_, metrics) = world.ops("/metrics").await;
    assert!(metrics.contains("entitled_notify_failing{endpoint=\"billing\"} 1"), "{metrics}");
    world.restart().await;
    until(&world, "another try", || billing.got().len() == 2).await;
    billing.answers(|_| Reply::OK);
    idle(&world).await;
    assert_eq!(billing.got().len(), 2);
    let tested = world.daemon.notify.test("billing").await.unwrap();
    assert!(tested.taken && tested.answer.status == 204, "{tested:?}");
    settled(&world).await;
    let told = ["test", "subscription.suspended", "subscription.reinstated"];
    assert_eq!(types(&billing.taken()), told);
    assert!(billing.taken()[0].is_signed_with(&billing.secrets[0]));
    assert_eq!(billing.got()[0].id, billing.taken()[1].id);
}

#[tokio::test]
async fn one_that_never_answers_or_cannot_be_reached_delays_no_other() {
    let (stuck, mut off) = (Receiver::new("stuck").await, Receiver::new("off").await);
    let well = Receiver::new("well").await;
    stuck.answers(|_| Reply::Never);
    off.hang_up().await;
    let world = unsynced(&[&stuck, &off, &well]).await;
    world.sync().await;
    let count = |world: &World, name: &str| world.daemon.store.outbox()[name];
    until(&world, "the one that listens has all", || {
        count(&world, "well").waiting == 0 && stuck.got().len() == 4
    })
    .await;
    assert_eq!(well.taken_ids().len(), well.got().len());
    assert!(well.got().len() > 9);
    let (of_stuck, of_off) = (count(&world, "stuck"), count(&world, "off"));
    assert_eq!((of_stuck.waiting, of_off.waiting), (well.got().len(), well.got().len()));
    let status = world.daemon.notify.status();
    let off_now = status.iter().find(|it| &*it.name == "off").unwrap();
    assert_eq!(off_now.state, "failing");
    assert!(off_now.last_error.as_ref().unwrap().contains("cannot be reached"), "{off_now:?}");
    // It comes back: everything arrives, and no event waits for the rest of its own.
    off.listen().await;
    world.advance(SignedDuration::from_hours(1));
    until(&world, "it has all too", || off.taken_ids() == well.taken_ids()).await;
}

#[tokio::test]
async fn an_event_that_a_receiver_will_not_have_stops_no_other() {
    let billing = Receiver::new("billing").await;
    let world = world(&[&billing]).await;
    billing.forget();
    let id = subscription(&world);
    let poison = |it: &Got| it.kind() == "subscription.suspended";
    billing.answers(move |it| if poison(it) { Reply::status(400) } else { Reply::OK });
    set_status(&world, id, "Suspended").await;
    until(&world, "one try", || billing.got().len() == 1).await;
    let tenant = story::CONTOSO.tenant;
    world.microsoft(|it| it.consent(tenant, None)).unwrap();
    world.sync_tenant(tenant).await;
    until(&world, "others go on", || types(&billing.taken()) == ["tenant.consent_revoked"]).await;
    // Of the same subscription the next one waits until it has been tried four times.
    set_status(&world, id, "Subscribed").await;
    for _ in 0..3 {
        assert!(!types(&billing.taken()).contains(&"subscription.reinstated"));
        pass(&world, SignedDuration::from_mins(15)).await;
    }
    until(&world, "it waited long enough", || {
        types(&billing.taken()).contains(&"subscription.reinstated")
    })
    .await;
    assert!(billing.got().iter().filter(|it| poison(it)).count() >= 4);
}

#[tokio::test]
async fn what_was_not_delivered_before_a_restart_is_delivered_after_it() {
    let billing = Receiver::new("billing").await;
    let mut world = world(&[&billing]).await;
    billing.forget();
    billing.answers(|_| Reply::Never);
    let id = subscription(&world);
    set_status(&world, id, "Suspended").await;
    until(&world, "it is under way", || billing.got().len() == 1).await;
    world.stop_daemon().await;
    billing.answers(|_| Reply::OK);
    world.restart().await;
    settled(&world).await;
    let got = billing.got();
    assert_eq!(got.len(), 2, "{got:?}");
    assert_eq!((&got[0].id, &got[0].raw), (&got[1].id, &got[1].raw));
}

#[tokio::test]
async fn a_burst_arrives_whole_and_each_subscription_s_events_in_their_order() {
    let billing = Receiver::new("billing").await;
    let world = world(&[&billing]).await;
    billing.forget();
    let first = world.microsoft(|it| it.subscription(subscription(&world))).unwrap();
    let ids: Vec<Uuid> = (0..150).map(|it| Uuid::from_u128(0xb0_0000 + it)).collect();
    for status in ["PendingFulfillmentStart", "Subscribed", "Suspended", "Unsubscribed"] {
        world.microsoft(|it| {
            for id in &ids {
                let saas_subscription_status = status.to_owned();
                it.put_subscription(&Subscription {
                    id: *id,
                    saas_subscription_status,
                    ..first.clone()
                });
            }
        });
        world
            .sync_by(entitled::sync::RunRequest {
                source: Some(entitled::domain::Source::Subscriptions),
                ..Default::default()
            })
            .await;
    }
    settled(&world).await;
    let got = billing.got();
    let mut told: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for it in &got {
        let id = it.body["data"]["subscription"]["id"].as_str().unwrap();
        told.entry(id).or_default().push(it.kind());
    }
    let whole = ["created", "activated", "suspended", "cancelled"];
    let whole: Vec<String> = whole.iter().map(|it| format!("subscription.{it}")).collect();
    assert_eq!(told.len(), ids.len());
    assert!(told.values().all(|it| *it == whole), "{told:?}");
    let different: BTreeSet<_> = got.iter().map(|it| &it.id).collect();
    assert_eq!(different.len(), got.len(), "each came once");
}
