//! Licenses: what is done to them, what time does, and who finds no place, each told once.

use entitled::domain::{ActivationId, ActivationWrite, Cause, Change};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::*;
use crate::world::CALLER_KEY;

fn in_days(world: &World, days: i64) -> String {
    (world.now() + SignedDuration::from_hours(24 * days)).to_string()
}

/// Sells a license of two users, with these fields beside; its id and its key.
pub(super) async fn sell(world: &World, more: &Value) -> (String, String) {
    let mut sale = json!({ "product": "synoptic-panel", "kind": "user", "max": 2,
        "licensee": "Mia of Proseware (mia@proseware.example)" });
    sale.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let (status, row) = world.post("/v1/licenses", CALLER_KEY, &sale).await;
    assert_eq!(status, 201, "{row}");
    let text = |name: &str| row[name].as_str().unwrap().to_owned();
    (text("id"), text("key"))
}

pub(super) async fn step(world: &World, id: &str, name: &str, body: &Value) {
    let path = format!("/v1/licenses/{id}/{name}");
    let (status, row) = world.post(&path, CALLER_KEY, body).await;
    assert_eq!(status, 200, "{row}");
}

/// Mia pastes the key; the activation's id.
pub(super) async fn bind(world: &World, key: &str) -> ActivationId {
    let token = world.token(story::MIA.tenant, story::MIA.user);
    let body = json!({ "product": "synoptic-panel", "key": key });
    let (status, row) = world.post("/v1/activations", &token, &body).await;
    assert_eq!(status, 201, "{row}");
    row["id"].as_str().unwrap().parse().unwrap()
}

/// What a colleague of Mia's is answered.
pub(super) async fn asks(world: &World, colleague: u128) -> String {
    let token = world.token(story::MIA.tenant, Uuid::from_u128(colleague));
    let body = json!({ "product": "synoptic-panel", "host": "web" });
    let (_, answer) = world.post("/v1/entitlements", &token, &body).await;
    format!("{} {}", answer["state"].as_str().unwrap(), answer["reason"].as_str().unwrap())
}

/// So many events come, and no more: their types, by license.
async fn told(world: &World, shop: &Receiver, expected: &[&str]) -> Vec<Value> {
    until(world, &format!("{expected:?}"), || shop.taken().len() >= expected.len()).await;
    settled(world).await;
    idle(world).await;
    let mut bodies: Vec<Value> = shop.taken().into_iter().map(|it| it.body).collect();
    bodies.sort_by_key(|it| it["type"].as_str().unwrap().to_owned());
    let types: Vec<_> = bodies.iter().map(|it| it["type"].as_str().unwrap()).collect();
    let expected: Vec<_> = expected.iter().map(|it| format!("license.{it}")).collect();
    assert_eq!(types, expected, "{:?}", world.now());
    shop.forget();
    bodies
}

async fn shop() -> (Receiver, World) {
    let shop = Receiver::of("shop", "[\"license.*\"]").await;
    let world = unsynced(&[&shop]).await;
    (shop, world)
}

#[tokio::test]
async fn each_thing_done_to_a_license_is_told_without_names() {
    let (shop, world) = shop().await;
    let end = in_days(&world, 300);
    let (id, key) = sell(&world, &json!({ "period_end": end })).await;
    let issued = told(&world, &shop, &["issued"]).await.remove(0);
    assert_eq!(issued["data"]["license"]["period_end"].as_str(), Some(&*end));
    assert_eq!(
        (&issued["data"]["before"], &issued["data"]["license"]["id"]),
        (&Value::Null, &json!(id))
    );

    let bound = bind(&world, &key).await;
    let activated = told(&world, &shop, &["activated"]).await.remove(0);
    assert_eq!(activated["data"]["activation"]["tenant"], json!(story::MIA.tenant));
    assert_eq!(activated["data"]["activation"]["license"], json!(id));
    let mirror = world.mirror();
    let activation = mirror.licenses().activation(bound).unwrap();
    let change = Change::of_activation(world.now(), Cause::Command, Some(activation), None);
    let activations = vec![ActivationWrite::Remove(bound)];
    let commit = Commit { activations, changes: vec![change], ..Commit::default() };
    world.daemon.store.commit(commit).await.unwrap();
    told(&world, &shop, &["deactivated"]).await;

    let nothing = json!({});
    for (name, body, expected) in [
        ("renew", &nothing, "renewed"),
        ("change", &json!({ "max": 9 }), "changed"),
        ("suspend", &nothing, "suspended"),
        ("reinstate", &nothing, "reinstated"),
        ("cancel", &nothing, "cancelled"),
        ("revoke", &nothing, "revoked"),
    ] {
        world.advance(SignedDuration::from_secs(1));
        step(&world, &id, name, body).await;
        let told = told(&world, &shop, &[expected]).await.remove(0);
        assert_eq!(told["data"]["cause"], "caller web-shop");
        let text = told.to_string();
        assert!(!text.contains("Mia") && !text.contains("proseware.example"), "{text}");
        if name == "change" {
            assert_eq!(told["data"]["before"]["max"], 2, "{text}");
        }
        // Again at the same moment it changes nothing.
        step(&world, &id, name, body).await;
    }
    told(&world, &shop, &[]).await;
}

#[tokio::test]
async fn what_time_does_to_licenses_is_told_once_in_each_period_and_across_restarts() {
    let (shop, mut world) = shop().await;
    let (trial, short, long) = (in_days(&world, 10), in_days(&world, 10), in_days(&world, 100));
    sell(&world, &json!({ "trial_end": trial })).await;
    sell(&world, &json!({ "trial_end": trial, "period_end": long })).await;
    let (paid, _) = sell(&world, &json!({ "period_end": short })).await;
    sell(&world, &json!({})).await; // has no end
    told(&world, &shop, &["issued"; 4]).await;
    // By day: what is told.
    let days: [(i64, &[&str]); 5] = [
        (2, &[]),
        (4, &["ending", "trial_ending", "trial_ending"]),
        (10, &["expired", "grace_started", "trial_ended"]),
        (40, &["expired"]),
        (94, &["ending"]),
    ];
    let mut today = 0;
    for (day, expected) in days {
        pass(&world, SignedDuration::from_hours(24 * (day - today))).await;
        today = day;
        let bodies = told(&world, &shop, expected).await;
        let ends: Vec<Timestamp> =
            bodies.iter().map(|it| it["data"]["ends"].as_str().unwrap().parse().unwrap()).collect();
        let ahead = |(body, ends): (&Value, &Timestamp)| {
            let ended = ["license.expired", "license.trial_ended"];
            ended.contains(&body["type"].as_str().unwrap()) == (*ends <= world.now())
        };
        assert!(bodies.iter().zip(&ends).all(ahead), "{bodies:?}");
        world.restart().await;
        told(&world, &shop, &[]).await;
    }
    // Paid after all: it is told of the new period as of the first.
    let end = in_days(&world, 10);
    step(&world, &paid, "renew", &json!({ "period_end": end })).await;
    told(&world, &shop, &["renewed"]).await;
    pass(&world, SignedDuration::from_hours(24 * 4)).await;
    told(&world, &shop, &["ending"]).await;
    // What does not count is not told of; what happened meanwhile is, once it counts again.
    step(&world, &paid, "suspend", &json!({})).await;
    told(&world, &shop, &["suspended"]).await;
    pass(&world, SignedDuration::from_hours(24 * 50)).await;
    told(&world, &shop, &["expired"]).await; // the one that was paid for 100 days
    step(&world, &paid, "reinstate", &json!({})).await;
    pass(&world, SignedDuration::from_secs(11)).await;
    told(&world, &shop, &["expired", "reinstated"]).await;
}

#[tokio::test]
async fn a_license_over_its_maximum_is_told_once_for_each_crossing() {
    let (shop, world) = shop().await;
    let (id, key) = sell(&world, &json!({ "period_end": in_days(&world, 300) })).await;
    bind(&world, &key).await;
    told(&world, &shop, &["activated", "issued"]).await;
    for colleague in [1, 2] {
        assert_eq!(asks(&world, colleague).await, "active license_active");
    }
    told(&world, &shop, &[]).await;
    assert_eq!(asks(&world, 3).await, "active license_active");
    let over = told(&world, &shop, &["over_limit"]).await.remove(0);
    assert_eq!((&over["data"]["users"], &over["data"]["license"]["max"]), (&json!(3), &json!(2)));
    assert_eq!(over["data"]["user"], json!(Uuid::from_u128(3)));
    for colleague in [3, 1, 4, 5] {
        assert_eq!(asks(&world, colleague).await, "active license_active");
    }
    told(&world, &shop, &[]).await;
    // All places are free again, and taken again.
    world.advance(SignedDuration::from_hours(24 * 31));
    for colleague in [1, 2, 3, 4] {
        assert_eq!(asks(&world, colleague).await, "active license_active");
    }
    told(&world, &shop, &["over_limit"]).await;
    // A larger maximum, and one that is too small for those who are there.
    step(&world, &id, "change", &json!({ "max": 8 })).await;
    told(&world, &shop, &["changed"]).await;
    step(&world, &id, "change", &json!({ "max": 3 })).await;
    let over = told(&world, &shop, &["changed", "over_limit"]).await.remove(1);
    assert_eq!((&over["data"]["users"], &over["data"]["user"]), (&json!(4), &Value::Null));
}

#[tokio::test]
async fn whom_a_full_license_refuses_is_told_once_a_day() {
    let (shop, mut world) = shop().await;
    let sale = json!({ "period_end": in_days(&world, 300), "over_limit": "deny" });
    let (_, key) = sell(&world, &sale).await;
    bind(&world, &key).await;
    told(&world, &shop, &["activated", "issued"]).await;
    for colleague in [1, 2] {
        assert_eq!(asks(&world, colleague).await, "active license_active");
    }
    assert_eq!(asks(&world, 3).await, "unlicensed over_limit");
    let refused = told(&world, &shop, &["user_refused"]).await.remove(0);
    assert_eq!(
        (&refused["data"]["users"], &refused["data"]["user"]),
        (&json!(2), &json!(Uuid::from_u128(3)))
    );
    assert_eq!(asks(&world, 4).await, "unlicensed over_limit");
    world.restart().await;
    assert_eq!(asks(&world, 3).await, "unlicensed over_limit");
    told(&world, &shop, &[]).await;
    world.advance(SignedDuration::from_hours(24));
    assert_eq!(asks(&world, 4).await, "unlicensed over_limit");
    told(&world, &shop, &["user_refused"]).await;
}
