//! Packages that were signed here: the journal has each, and a revocation reaches as far as they do.

use entitled::store::ChangeFilter;
use entitled::tokens::{mark, verify_revocations};
use serde_json::{Value, json};

use super::harness::*;
use super::licenses::{DAY, issued, sale, sent};
use crate::tokens::now;

const LIST: &str = "/.well-known/revocations";
const KEYS: &str = "/.well-known/jwks.json";

async fn text(world: &World, path: &str) -> String {
    let response = world.client.get(world.url(path)).send().await.unwrap();
    assert_eq!(response.status(), 200, "{path}");
    response.text().await.unwrap()
}

/// The list of revoked licenses as of so many days from now.
async fn revoked(world: &World, days: i64) -> Vec<String> {
    let (list, keys) = (text(world, LIST).await, text(world, KEYS).await);
    let at = now() + jiff::SignedDuration::from_hours(24 * days);
    verify_revocations(&list, &keys, at).unwrap()
}

#[tokio::test]
async fn a_revocation_is_told_for_as_long_as_the_longest_package_works_offline() {
    let world = World::new().await;
    let yearly = json!({ "product": PRODUCT, "kind": "user", "licensee": "C", "cycle": "yearly" });
    let id = issued(&world, &yearly).await;
    let of = |what: &str| format!("/v1/licenses/{id}/{what}");
    let none = json!({});
    let (status, signed) = sent(&world, &of("package"), None, &none).await;
    assert!(status == 200 && signed["token"].as_str().unwrap().contains('.'), "{signed}");
    let (status, row) = sent(&world, &of("change"), None, &json!({ "cycle": "monthly" })).await;
    assert_eq!((status, &row["cycle"]), (200, &json!("monthly")), "{row}");
    // A shorter one later does not call the first one back.
    assert_eq!(sent(&world, &of("package"), None, &none).await.0, 200);
    assert_eq!(sent(&world, &of("revoke"), None, &none).await.0, 200);
    for (pass, days) in [(0, 0), (40, 40), (320, 360)] {
        world.pass(pass * DAY);
        assert_eq!(revoked(&world, days).await, [mark(id.as_str())], "on day {days}");
    }
    world.pass(6 * DAY);
    assert!(revoked(&world, 366).await.is_empty(), "no package of it works any more");
}

#[tokio::test]
async fn each_package_is_in_the_journal_with_who_had_it_signed() {
    let world = World::new().await;
    let id = issued(&world, &sale()).await;
    let of = |what: &str| format!("/v1/licenses/{id}/{what}");
    let none = json!({});
    assert_eq!(sent(&world, &of("suspend"), None, &none).await.0, 200);
    let (status, refused) = sent(&world, &of("package"), None, &none).await;
    assert!(
        status == 409 && refused["detail"].as_str().unwrap().contains("reinstate"),
        "{refused}"
    );
    assert_eq!(sent(&world, &of("reinstate"), None, &none).await.0, 200);
    assert_eq!(sent(&world, &of("package"), None, &none).await.0, 200);

    let filter = ChangeFilter { license: Some(id.as_str().into()), ..ChangeFilter::default() };
    let told = world.store.changes(&filter).unwrap();
    let told: Vec<String> =
        told.iter().map(|it| format!("{:?} {:?}", it.cause, it.after)).collect();
    let packages: Vec<&String> = told.iter().filter(|it| it.contains("package")).collect();
    assert_eq!(packages.len(), 1, "{told:?}");
    assert!(packages[0].contains("seller") && packages[0].contains("until 2026-12-22"), "{told:?}");
}

#[tokio::test]
async fn a_retired_key_is_published_until_the_last_list_it_signed_is_over() {
    let world = World::new().await;
    let list = text(&world, LIST).await;
    world.store.keys().rotate(now()).unwrap();
    world.pass(7 * DAY - 1);
    let at = now() + jiff::SignedDuration::from_secs(7 * DAY - 1);
    assert!(verify_revocations(&list, &text(&world, KEYS).await, at).is_ok());
    world.pass(2);
    let keys: Value = serde_json::from_str(&text(&world, KEYS).await).unwrap();
    assert_eq!(keys["keys"].as_array().unwrap().len(), 1, "nothing that it signed is left");
}
