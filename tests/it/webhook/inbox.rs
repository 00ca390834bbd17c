//! What becomes of webhooks that are genuine.

use entitled::store::ChangeFilter;

use super::*;

#[tokio::test]
async fn a_webhook_makes_the_mirror_say_what_microsoft_says_and_the_journal_says_why() {
    let world = World::new().await;
    world.sync().await;
    let id = subscription(&world).id;
    set_status(&world, id, "Suspended");
    assert_eq!(deliver(&world, &body(&operation(1), "Suspend", id)).await, 200);
    settled(&world).await;
    assert_eq!(mirrored(&world, id), "Suspended");
    assert_eq!(world.answer(story::MIA, "viz-suite").await, "suspended subscription_suspended");
    let changes = world.daemon.store.changes(&ChangeFilter::default()).unwrap();
    assert_eq!(changes.last().unwrap().cause.to_string(), format!("webhook {}", operation(1)));
    let raw = world.daemon.store.raw_subscription(SubscriptionId::from_uuid(id)).unwrap().unwrap();
    assert!(raw.contains("Suspended"), "the record as it was sent is kept too");
}

#[tokio::test]
async fn a_lying_body_under_a_good_token_changes_nothing_and_causes_a_look() {
    let world = World::new().await;
    world.sync().await;
    let id = subscription(&world).id;
    let (before, looked) = (world.mirror().revision(), reads(&world, id));
    let mut lie = body(&operation(1), "Unsubscribe", id);
    lie["subscription"] = json!({ "id": id, "saasSubscriptionStatus": "Unsubscribed",
        "planId": "none", "beneficiary": { "tenantId": story::CONTOSO.tenant } });
    assert_eq!(deliver(&world, &lie).await, 200);
    settled(&world).await;
    assert_eq!(reads(&world, id), looked + 1);
    assert_eq!(states(&world), ["unknown_operation"]);
    assert_eq!(mirrored(&world, id), "Subscribed");
    assert_eq!(world.answer(story::MIA, "viz-suite").await, "active subscription_active");
    assert!(world.mirror().revision() > before, "but it was looked at");
}

#[tokio::test]
async fn what_comes_twice_is_one_event_and_two_actions_of_one_operation_are_two() {
    let world = World::new().await;
    world.sync().await;
    let id = subscription(&world).id;
    let renew = body(&operation(1), "Renew", id);
    for _ in 0..3 {
        assert_eq!(deliver(&world, &renew).await, 200);
    }
    settled(&world).await;
    assert_eq!(deliver(&world, &renew).await, 200, "also when it is long done");
    assert_eq!(deliver(&world, &body(&operation(1), "Subscribe", id)).await, 200);
    settled(&world).await;
    let deliveries: Vec<u32> = all(&world).iter().map(|it| it.deliveries).collect();
    assert_eq!(deliveries, [4, 1]);
    assert_eq!(reads(&world, id), 2, "one effect each");
}

#[tokio::test]
async fn without_an_operation_the_subscription_is_read_anew() {
    let world = World::new().await;
    world.sync().await;
    let id = subscription(&world).id;
    for bare in [
        json!({ "subscriptionId": id }),
        json!({ "subscription": { "id": id }, "operationType": "Reinstate", "id": "" }),
        json!({ "subscriptionId": id, "action": "SomethingNew", "id": "no-guid", "extra": [1] }),
    ] {
        let looked = reads(&world, id);
        assert_eq!(deliver(&world, &bare).await, 200, "{bare}");
        settled(&world).await;
        assert_eq!(reads(&world, id), looked + 1, "{bare}");
    }
    assert_eq!(states(&world), ["known"; 3]);
}

#[tokio::test]
async fn what_names_nothing_and_what_nobody_knows_ends_among_the_dead_and_stops_no_other() {
    let world = World::new().await;
    world.sync().await;
    let id = subscription(&world).id;
    assert_eq!(deliver(&world, &json!({})).await, 200);
    let nobody = Uuid::from_u128(0xdead);
    assert_eq!(deliver(&world, &body(&operation(1), "Renew", nobody)).await, 200);
    assert_eq!(deliver(&world, &body(&operation(2), "Renew", id)).await, 200);
    let mut revisions = world.daemon.store.revisions();
    while !is_over(&all(&world)[2]) {
        revisions.changed().await.unwrap();
    }
    assert_eq!(states(&world), ["dead", "waiting", "unknown_operation"]);
    while world.daemon.store.inbox().waiting > 0 {
        // How long it rests is only set after its failure is written down.
        world.advance(SignedDuration::from_mins(6));
        let soon = Duration::from_millis(100);
        drop(tokio::time::timeout(soon, revisions.changed()).await);
    }
    assert_eq!(states(&world), ["dead", "dead", "unknown_operation"]);
    assert_eq!(reads(&world, nobody), 8);
    let dead = WebhookFilter { dead: true, ..WebhookFilter::default() };
    assert_eq!(world.daemon.store.webhooks(&dead).len(), 2);
    let kept = world.daemon.store.webhook_body(all(&world)[1].id).unwrap().unwrap();
    assert!(kept.contains(&nobody.to_string()), "an operator can see what it was");
    assert_eq!(world.daemon.store.webhook_body(all(&world)[2].id).unwrap(), None);
}

#[tokio::test]
async fn a_thousand_in_a_burst_shuffled_and_repeated_have_one_effect_each() {
    let world = World::new().await;
    world.sync().await;
    let first = subscription(&world);
    let ids: Vec<Uuid> = (0..20).map(|it| Uuid::from_u128(0xb0_0000 + it)).collect();
    world.microsoft(|microsoft| {
        for id in &ids {
            microsoft.put_subscription(&Subscription { id: *id, ..first.clone() });
        }
    });
    // 500 operations, each delivered twice, in an order that mixes them all.
    let mut bodies: Vec<Value> = (0..1_000_u128)
        .map(|it| body(&operation(it % 500), "Renew", ids[usize::try_from(it % 20).unwrap()]))
        .collect();
    for i in (1..bodies.len()).rev() {
        bodies.swap(i, i * 7_919 % (i + 1));
    }
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let token = world.sandbox.user_token(genuine());
    let url = format!("http://{}{WEBHOOK}", world.daemon.public);
    for some in bodies.chunks(50) {
        let sent = some.iter().map(|it| client.post(&url).bearer_auth(&token).json(it).send());
        for answer in futures_util::future::join_all(sent).await {
            assert_eq!(answer.unwrap().status(), 200);
        }
    }
    settled(&world).await;
    let events = all(&world);
    assert_eq!(events.len(), 500);
    assert!(events.iter().all(|it| it.deliveries == 2), "{events:?}");
    assert_eq!(ids.iter().map(|it| reads(&world, *it)).sum::<usize>(), 500);
    for id in ids {
        assert_eq!(mirrored(&world, id), "Subscribed");
    }
}

#[tokio::test]
async fn what_the_list_shows_and_no_webhook_announced_is_counted() {
    let world = World::new().await;
    world.sync().await;
    let id = subscription(&world).id;
    let missed = async || {
        let (_, text) = world.ops("/metrics").await;
        let line = text.lines().find(|it| it.starts_with("entitled_webhooks_missed_total "));
        line.unwrap().rsplit(' ').next().unwrap().to_owned()
    };
    assert_eq!(missed().await, "0", "the first list has nothing to compare with");
    set_status(&world, id, "Suspended");
    deliver(&world, &body(&operation(1), "Suspend", id)).await;
    settled(&world).await;
    world.sync().await;
    assert_eq!(missed().await, "0", "it was announced");
    world.advance(SignedDuration::from_hours(1));
    world.sync().await;
    set_status(&world, id, "Unsubscribed");
    world.sync().await;
    assert_eq!(missed().await, "1");
    assert_eq!(mirrored(&world, id), "Unsubscribed");
}

#[tokio::test]
async fn a_purchase_that_became_live_by_itself_brings_its_tenant_with_it() {
    let world = World::new().await;
    world.sync().await;
    let (id, tenant) = (Uuid::from_u128(0xa0_70ac), Uuid::from_u128(0x7e_4a47));
    let other = subscription(&world);
    world.microsoft(|it| {
        let mut bought = Subscription { id, ..other };
        bought.beneficiary.tenant_id = tenant;
        it.put_subscription(&bought);
    });
    let key = tenant.to_string().parse().unwrap();
    assert!(world.mirror().tenant(key).is_none());
    assert_eq!(deliver(&world, &body(&operation(1), "Subscribe", id)).await, 200);
    settled(&world).await;
    assert_eq!(mirrored(&world, id), "Subscribed");
    assert!(world.mirror().tenant(key).is_some(), "it is read from now on");
    assert_eq!(world.mirror().subscriptions_of(key).count(), 1);
}
