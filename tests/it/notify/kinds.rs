//! Every type of event, produced by the whole daemon against the stand-in, and documented.

use std::collections::{BTreeMap, BTreeSet};

use entitled::domain::{EventState, EventWrite, NoticeKind, WebhookEvent};
use entitled::sandbox::{NewUser, Options};
use entitled::store::WebhookFilter;
use serde_json::{Value, json};

use super::*;

/// The last events that came, by type, once the outbox is empty.
async fn told(world: &World, receiver: &Receiver) -> Vec<String> {
    settled(world).await;
    let told = receiver.taken().iter().map(|it| it.kind().to_owned()).collect();
    receiver.forget();
    told
}

/// What the README says of each type: its line of the table, and its example.
fn documented() -> (BTreeSet<String>, Vec<Value>) {
    let readme = std::fs::read_to_string("README.md").unwrap();
    let (_, section) = readme.split_once("## Events out").unwrap();
    let section = section.split("\n## ").next().unwrap();
    let words = section.split('`').filter(|it| it.contains('.') || *it == "test");
    let examples = section.lines().filter(|it| it.starts_with("{\"type\""));
    let words = words.map(str::to_owned).collect();
    (words, examples.map(|it| serde_json::from_str(it).unwrap()).collect())
}

/// Its keys, at every level.
fn shape(value: &Value) -> BTreeSet<String> {
    let Value::Object(fields) = value else { return BTreeSet::new() };
    let inner = |(name, value): (&String, &Value)| {
        // What was different differs.
        let below = if name == "before" { BTreeSet::new() } else { shape(value) };
        let below = below.into_iter().map(move |it| format!("{name}.{it}"));
        [name.clone()].into_iter().chain(below).collect::<Vec<_>>()
    };
    fields.iter().flat_map(inner).collect()
}

#[tokio::test]
async fn what_happens_to_a_subscription_is_told_as_what_it_is() {
    let billing = Receiver::of("billing", "[\"subscription.*\"]").await;
    let world = unsynced(&[&billing]).await;
    world.sync().await;
    let created = told(&world, &billing).await;
    assert_eq!(created.len(), world.mirror().subscription_count());
    assert!(created.iter().all(|it| it == "subscription.created"), "{created:?}");
    let id = subscription(&world);
    let check = async |change: fn(&mut Subscription), wanted: &str| {
        edit(&world, id, change).await;
        let wanted: Vec<_> =
            wanted.split_whitespace().map(|it| format!("subscription.{it}")).collect();
        assert_eq!(told(&world, &billing).await, wanted);
    };
    check(|it| it.plan_id = "team".into(), "plan_changed").await;
    check(|it| it.quantity = Some(5), "quantity_changed").await;
    check(|it| it.term.end_date = Some("2031-01-01T00:00:00Z".into()), "renewed").await;
    check(|it| it.auto_renew = !it.auto_renew, "updated").await;
    check(|it| it.saas_subscription_status = "Suspended".into(), "suspended").await;
    check(|it| it.saas_subscription_status = "Subscribed".into(), "reinstated").await;
    check(|it| it.saas_subscription_status = "Frozen".into(), "status_changed").await;
    check(|it| it.saas_subscription_status = "PendingFulfillmentStart".into(), "status_changed")
        .await;
    check(|it| it.saas_subscription_status = "Subscribed".into(), "activated").await;
    check(|it| it.saas_subscription_status = "Unsubscribed".into(), "cancelled").await;
    check(|_| {}, "").await;
}

#[tokio::test]
async fn a_refused_seat_is_told_once_a_day_to_those_who_want_to_hear_it() {
    let (sales, billing) =
        (Receiver::of("sales", "[\"seats.refused\"]").await, Receiver::new("billing").await);
    let mut world = world(&[&sales, &billing]).await;
    for person in [story::WIM, story::XIA, story::YAN] {
        assert_eq!(world.answer(person, "viz-suite").await, "active subscription_active");
    }
    assert_eq!(told(&world, &sales).await, [""; 0]);
    for person in [story::ZOE, story::ABE, story::ZOE] {
        assert_eq!(world.answer(person, "viz-suite").await, "unlicensed no_free_seat");
    }
    until(&world, "it is told", || !sales.taken().is_empty()).await;
    let first = sales.taken().remove(0).body;
    assert_eq!(first["data"]["user"], story::ZOE.user.to_string());
    assert_eq!(first["data"]["subscription"]["quantity"], 3);
    assert_eq!(told(&world, &sales).await, ["seats.refused"]);
    world.restart().await;
    assert_eq!(world.answer(story::ZOE, "viz-suite").await, "unlicensed no_free_seat");
    idle(&world).await;
    assert_eq!(told(&world, &sales).await, [""; 0], "it was told today");
    world.advance(SignedDuration::from_hours(24));
    assert_eq!(world.answer(story::ABE, "viz-suite").await, "unlicensed no_free_seat stale");
    until(&world, "the next day it is told again", || !sales.taken().is_empty()).await;
    assert!(types(&billing.got()).contains(&"seats.refused"), "who wants all gets it too");
}

/// The figures of seats, counted now.
async fn figures(world: &World) {
    crate::groups::rows(world, &["seats", "--figures"]).await;
}

#[tokio::test]
async fn seats_that_are_short_are_told_once_also_over_a_restart_and_again_after_it_was_over() {
    let sales = Receiver::of("sales", "[\"seats.short\"]").await;
    let mut world = world(&[&sales]).await;
    let contoso = story::CONTOSO.tenant;
    let units = |enabled| entitled::sandbox::SkuUnits { enabled, ..Default::default() };
    // Somebody in the story is without a seat from the first.
    figures(&world).await;
    settled(&world).await;
    let first = sales.taken().remove(0).body;
    assert_eq!(first["data"]["tenant"], contoso.to_string(), "{first}");
    assert_eq!(first["data"]["without"], json!([story::CLEO.user]));
    assert_eq!((&first["data"]["short"], &first["data"]["bought"]), (&json!(true), &json!(4)));
    let count = told(&world, &sales).await.len();
    figures(&world).await;
    world.restart().await;
    figures(&world).await;
    assert_eq!((count, told(&world, &sales).await), (1, vec![]));

    // More were bought than are needed, and later there are too few again.
    world.microsoft(|it| it.sku_units(contoso, story::SYNOPTIC_SKU, units(9)).unwrap());
    world.sync_tenant(contoso).await;
    figures(&world).await;
    assert_eq!(told(&world, &sales).await, [""; 0]);
    world.microsoft(|it| it.sku_units(contoso, story::SYNOPTIC_SKU, units(1)).unwrap());
    world.sync_tenant(contoso).await;
    figures(&world).await;
    assert_eq!(told(&world, &sales).await, ["seats.short"]);
}

#[tokio::test]
async fn trouble_with_a_source_is_told_and_that_it_is_over() {
    let ops = Receiver::of("ops", "[\"sync.*\", \"tenant.*\"]").await;
    let world = unsynced(&[&ops]).await;
    world.sync().await;
    let contoso = story::CONTOSO.tenant;
    let granted = told(&world, &ops).await;
    assert!(granted.iter().all(|it| it == "tenant.consent_granted") && granted.len() > 5);

    world.microsoft(|it| it.outage(true));
    world.sync().await;
    assert_eq!(told(&world, &ops).await, [""; 0], "a hiccup is none");
    world.advance(SignedDuration::from_hours(2));
    world.sync().await;
    world.sync().await;
    let failing = told(&world, &ops).await;
    assert!(failing.len() > 5 && failing.iter().all(|it| it == "sync.failing"), "{failing:?}");
    world.microsoft(|it| it.outage(false));
    world.sync().await;
    let recovered = told(&world, &ops).await;
    assert_eq!(recovered.len(), failing.len());
    assert!(recovered.iter().all(|it| it == "sync.recovered"), "{recovered:?}");

    world.microsoft(|it| it.consent(contoso, None)).unwrap();
    world.sync_tenant(contoso).await;
    world.sync_tenant(contoso).await;
    assert_eq!(told(&world, &ops).await, ["tenant.consent_revoked"]);
    let roles = ["User.Read.All", "LicenseAssignment.Read.All", "Organization.Read.All"];
    let roles = roles.map(str::to_owned).to_vec();
    world.microsoft(|it| it.consent(contoso, Some(roles))).unwrap();
    world.sync_tenant(contoso).await;
    assert_eq!(told(&world, &ops).await, ["tenant.consent_granted"]);

    let mut users = Vec::new();
    for _ in 0..40 {
        let user = world.microsoft(|it| it.add_user(contoso, NewUser::default())).unwrap();
        world.microsoft(|it| it.assign(contoso, user, story::SYNOPTIC_SKU, &[])).unwrap();
        users.push(user);
    }
    world.sync_tenant(contoso).await;
    for user in &users {
        world.microsoft(|it| it.purge_user(contoso, *user)).unwrap();
    }
    world.advance(SignedDuration::from_hours(8 * 24));
    world.sync_tenant(contoso).await;
    assert_eq!(told(&world, &ops).await, ["sync.held_back"]);
    world.sync_tenant(contoso).await;
    assert_eq!(told(&world, &ops).await, ["sync.released"]);
}

#[tokio::test]
async fn a_webhook_that_was_given_up_is_told_and_that_it_is_looked_at_again() {
    let ops = Receiver::of("ops", "[\"webhook.*\"]").await;
    let world = world(&[&ops]).await;
    assert_eq!(crate::webhook::deliver(&world, &json!({})).await, 200);
    until(&world, "it is given up", || ops.taken().len() == 1).await;
    assert_eq!(told(&world, &ops).await, ["webhook.dead"]);
    let event = world.daemon.store.webhooks(&WebhookFilter::default()).remove(0);
    let again = WebhookEvent { state: EventState::Waiting, tries: 0, ..(*event).clone() };
    let inbox = vec![EventWrite::Put(Arc::new(again))];
    world.daemon.store.commit(Commit { inbox, ..Commit::default() }).await.unwrap();
    until(&world, "it is given up again", || ops.taken().len() == 2).await;
    assert_eq!(told(&world, &ops).await, ["webhook.revived", "webhook.dead"]);
}

#[tokio::test]
async fn every_type_is_documented_with_what_it_really_says() {
    let (words, examples) = documented();
    for kind in NoticeKind::ALL {
        assert!(words.contains(kind.as_str()), "{kind} is not in README");
    }
    let examples: BTreeMap<&str, &Value> =
        examples.iter().map(|it| (it["type"].as_str().unwrap(), it)).collect();
    let billing = Receiver::new("billing").await;
    let world = World::with(Options::default(), &billing.config()).await;
    world.sync().await;
    figures(&world).await;
    for person in [story::WIM, story::XIA, story::YAN, story::ZOE] {
        world.answer(person, "viz-suite").await;
    }
    let (sold, key) =
        licenses::sell(&world, &json!({ "max": 1, "period_end": "2027-06-01" })).await;
    licenses::bind(&world, &key).await;
    for colleague in [1, 2] {
        licenses::asks(&world, colleague).await;
    }
    licenses::step(&world, &sold, "renew", &json!({ "period_end": "2028-06-01" })).await;
    licenses::sell(&world, &json!({ "trial_end": "2026-01-01" })).await;
    let id = subscription(&world);
    set_status(&world, id, "Suspended").await;
    crate::webhook::deliver(&world, &json!({})).await;
    world.microsoft(|it| it.outage(true));
    world.advance(SignedDuration::from_hours(2));
    world.sync().await;
    world.daemon.notify.test("billing").await.unwrap();
    let expired = || billing.taken().iter().any(|it| it.kind() == "license.expired");
    until(&world, "the trial is over", expired).await;
    settled(&world).await;
    let taken = billing.taken();
    let mut seen = 0;
    for (kind, example) in &examples {
        let real = taken.iter().find(|it| it.kind() == *kind);
        let real = real.unwrap_or_else(|| panic!("{kind} did not come"));
        assert_eq!(shape(&real.body), shape(example), "{kind}: {}", real.raw);
        seen += 1;
    }
    assert!(seen >= 6, "{examples:?}");
}
