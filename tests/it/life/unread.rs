//! A record that could not be read is never taken for "has no licence".

use entitled::domain::Whose;
use entitled::sandbox::story::{self, Person};
use serde_json::json;

use super::*;

/// A new purchase for a tenant that has none, which nobody can read.
fn odd(tenant: &Value) -> Value {
    json!({
        "id": "5d0c1f22-7a31-4c8e-1b2f-90aa3344ee10", "publisherId": "vizmaker",
        "offerId": "viz-suite", "planId": "company", "name": "Somebody's",
        "saasSubscriptionStatus": "Subscribed", "quantity": "many",
        "beneficiary": {"emailId": "jo@woodgrove.example", "tenantId": tenant},
        "autoRenew": true, "created": "2026-11-01T09:15:02.1234567Z"
    })
}

fn offered(world: &World, record: &Value) {
    world.microsoft(|it| it.upsert_subscription(&record.to_string())).unwrap();
}

/// Jo's company has no subscription, nor has Ana's.
async fn answers(world: &World) -> [String; 2] {
    [world.answer(story::JO, SUITE).await, world.answer(story::ANA, SUITE).await]
}

async fn asked(world: &World, person: Person) -> Value {
    let (tenant, user) = (person.tenant, person.user);
    let path = format!("/query?product={SUITE}&tenant={tenant}&user={user}&explain=true");
    admin(world, &path).await.remove(0)
}

#[tokio::test]
async fn a_new_subscription_that_cannot_be_read_makes_its_tenant_unknown_and_no_other() {
    let mut world = World::new().await;
    world.sync().await;
    let no = "unlicensed not_licensed";
    assert_eq!(answers(&world).await, [no, no]);
    offered(&world, &odd(&json!(story::WOODGROVE.tenant.to_string())));
    world.advance(SignedDuration::from_mins(1));
    let run = world.sync().await.remove(0);
    assert_eq!((run.odd, run.outcome.as_str()), (1, "partial"), "the log says so");
    let unknown = "unknown record_unread";
    assert_eq!(answers(&world).await, [unknown, no]);
    assert_eq!(world.answer(story::MIA, SUITE).await, "active subscription_active");
    assert_eq!(world.answer(story::JO, "synoptic-panel").await, no, "not of that offer");

    let trail = asked(&world, story::JO).await["trail"].to_string();
    assert!(trail.contains("could not be understood"), "{trail}");
    let status = admin(&world, "/status").await.remove(0);
    assert_eq!(status["lives"]["unread"], 1);
    assert!(status["lives"]["unread_some"][0]["why"].as_str().unwrap().contains("quantity"));
    assert!(metric(&world, "entitled_subscriptions_unread").await.ends_with(" 1"));
    world.restart().await;
    assert_eq!(answers(&world).await, [unknown, no], "it is durable");

    let mut fixed = odd(&json!(story::WOODGROVE.tenant.to_string()));
    fixed["quantity"] = 4.into();
    offered(&world, &fixed);
    world.sync().await;
    assert_eq!(answers(&world).await, ["active subscription_active", no]);
    assert_eq!(world.mirror().unread().count(), 0);
    let id = "5d0c1f22-7a31-4c8e-1b2f-90aa3344ee10".parse().unwrap();
    let told = notes(&world, id);
    assert!(told[0].starts_with("could not be read") && told[1] == "it can be read", "{told:?}");
}

#[tokio::test]
async fn a_closer_look_understands_it_before_the_next_list_does() {
    let world = World::new().await;
    offered(&world, &odd(&json!(story::WOODGROVE.tenant.to_string())));
    world.sync().await;
    assert_eq!(world.answer(story::JO, SUITE).await, "unknown record_unread");
    let mut fixed = odd(&json!(story::WOODGROVE.tenant.to_string()));
    fixed["quantity"] = Value::Null;
    offered(&world, &fixed);
    world.advance(SignedDuration::from_mins(3));
    wake(&world).await;
    world.until("a look", |it| it.mirror().unread().count() == 0).await;
    assert_eq!(world.answer(story::JO, SUITE).await, "active subscription_active");
}

#[tokio::test]
async fn when_not_even_the_tenant_can_be_read_nobody_is_told_that_he_has_none() {
    let world = World::new().await;
    offered(&world, &odd(&json!("?")));
    world.sync().await;
    let unknown = "unknown record_unread";
    assert_eq!(answers(&world).await, [unknown, unknown]);
    assert_eq!(world.answer(story::QUIN, SUITE).await, "expired subscription_ended", "rule 7");
    assert_eq!(world.answer(story::ANA, "synoptic-panel").await, "active seat_direct");
}

#[tokio::test]
async fn a_record_without_an_id_counts_for_as_long_as_the_list_holds_it() {
    let world = World::new().await;
    let mut nameless = odd(&json!(story::WOODGROVE.tenant.to_string()));
    nameless["id"] = "00000000-0000-0000-0000-000000000000".into();
    offered(&world, &nameless);
    world.sync().await;
    let no = "unlicensed not_licensed";
    assert_eq!(answers(&world).await, ["unknown record_unread", no]);
    world.microsoft(entitled::sandbox::World::clear_subscriptions);
    world.sync().await;
    assert_eq!(answers(&world).await, [no, no]);
}

#[tokio::test]
async fn one_that_microsoft_no_longer_knows_is_over() {
    let world = World::new().await;
    offered(&world, &odd(&json!(story::WOODGROVE.tenant.to_string())));
    world.sync().await;
    world.microsoft(entitled::sandbox::World::clear_subscriptions);
    world.sync().await;
    assert_eq!(world.mirror().unread().count(), 1, "that a list lacks it says nothing");
    minute_by_minute(&world, "a look", |it| it.mirror().unread().count() == 0).await;
    assert_eq!(world.answer(story::JO, SUITE).await, "unlicensed not_licensed");
}

#[tokio::test]
async fn a_personal_purchase_that_cannot_be_read_is_no_tenants() {
    let world = World::new().await;
    offered(&world, &odd(&json!(story::PERSONAL_TENANT.to_string())));
    world.sync().await;
    let no = "unlicensed not_licensed";
    assert_eq!(answers(&world).await, [no, no]);
    let unread: Vec<_> = world.mirror().unread().map(|it| it.whose).collect();
    assert_eq!(unread, [Whose::Nobody]);
}

#[tokio::test]
async fn a_known_subscription_that_turns_odd_keeps_counting() {
    let world = World::new().await;
    world.sync().await;
    let mia = of(&world, story::PROSEWARE);
    let whole = world.microsoft(|it| it.subscription(mia.as_uuid())).unwrap();
    let mut record = serde_json::to_value(&whole).unwrap();
    record["saasSubscriptionStatus"] = Value::Null;
    offered(&world, &record);
    world.sync().await;
    assert_eq!(world.answer(story::MIA, SUITE).await, "active subscription_active");
    assert_eq!((world.mirror().unread().count(), life(&world, mia).missing_since), (1, None));
}
