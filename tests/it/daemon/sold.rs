//! What was sold survives: the daemon is killed right after it said so.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};

use super::harness::*;

const SELLER: &str = "ent_c2VsbGVyLW9mLWxpY2Vuc2VzLWluLXRoaXMtdGVzdC0wMDAx";
const KILLS: usize = 6;

/// A site with a caller that sells.
async fn selling() -> Site {
    let site = Site::new().await;
    let key = site.dir.path().join("seller-key");
    std::fs::write(&key, SELLER).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    let caller = format!(
        "[[caller]]\nname = \"seller\"\nkey_file = \"{}\"\nmay = [\"licenses\"]\n[[product]]",
        key.display()
    );
    site.edit("[[product]]", &caller);
    site
}

async fn sell(server: &Server, number: usize, key: &str) -> (u16, Value) {
    let sale = json!({
        "product": "synoptic-panel", "kind": "user", "max": 5, "licensee": format!("Buyer {number}"),
    });
    let url = format!("{}/v1/licenses", server.public);
    let request = server.client.post(url).bearer_auth(SELLER).header("Idempotency-Key", key);
    let response = request.body(sale.to_string()).send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_after_kill_what_was_sold_is_there_once_and_a_repeated_order_sells_nothing() {
    let site = selling().await;
    let mut server = site.serve().await;
    // By licensee: what was answered first.
    let mut sold: BTreeMap<String, Value> = BTreeMap::new();
    for number in 0..KILLS {
        let (status, row) = sell(&server, number, &format!("order-{number}")).await;
        assert_eq!(status, 201, "{row}");
        let line = format!(
            "licenses issue --product synoptic-panel --kind user --licensee Shop-{number} --json"
        );
        let by_hand = server.cli(&line).await.ok().rows().remove(0);
        sold.insert(format!("Buyer {number}"), row);
        sold.insert(format!("Shop-{number}"), by_hand);
        server.kill();

        server = site.serve().await;
        let (status, again) = sell(&server, number, &format!("order-{number}")).await;
        assert_eq!(status, 201, "{again}");
        assert_eq!(again, sold[&format!("Buyer {number}")], "the same license and the same key");
        let (other, refused) = sell(&server, number + 100, &format!("order-{number}")).await;
        assert_eq!((other, &refused["field"]), (422, &json!("Idempotency-Key")));
        let listed = server.cli("licenses list --json").await.ok().rows();
        assert_eq!(listed.len(), sold.len());
        for row in listed {
            let first = &sold[row["licensee"].as_str().unwrap()];
            assert_eq!(row["id"], first["id"], "as it was said to be sold");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_visuals_declare_is_shown_as_unproven_and_anonymous_users_are_counted() {
    let site = selling().await;
    let server = site.serve().await;
    let (_, row) = sell(&server, 1, "order-1").await;
    let id = row["id"].as_str().unwrap();
    let package = server.cli(&format!("licenses package {id}")).await.ok().out;
    for (anonymous, capacity) in [("one", "F64 West"), ("two", "F64 West"), ("one", "F2 Test")] {
        let body = json!({
            "product": "synoptic-panel", "host": "embed", "package": package.trim(),
            "anonymous_id": anonymous, "capacity": capacity,
            "site": "https://BI.contoso.example/report?x=1",
        });
        let answer = server.post("/v1/entitlements", None, &body).await;
        assert_eq!((answer.status, &answer.body["reason"]), (200, &json!("license_active")));
    }
    // Written behind what was queued before it.
    sell(&server, 2, "order-2").await;
    let shown = server.cli(&format!("licenses show {id} --json")).await.ok().rows().remove(0);
    let coverage = &shown["coverage"];
    assert_eq!((&coverage["users_now"], &coverage["anonymous"]), (&json!(2), &json!(2)));
    assert_eq!(coverage["approximate"], true);
    let unproven = coverage["unproven"].as_array().unwrap();
    let unproven = unproven.iter().map(|it| format!("{} {}", it["kind"], it["text"]));
    let expected =
        [r#""capacity" "F2 Test""#, r#""capacity" "F64 West""#, r#""site" "bi.contoso.example""#];
    assert_eq!(unproven.collect::<Vec<_>>(), expected);
}
