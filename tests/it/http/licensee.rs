//! A license that is used by its id and licensee: the first use is its activation.

use entitled::store::ChangeFilter;
use serde_json::{Value, json};

use super::harness::*;
use super::licenses::{DAY, issued, sent};
use crate::tokens::{ANA, CONTOSO};

const LICENSEE: &str = "Contoso (ana@contoso.example)";

async fn sold(world: &World) -> String {
    let sale = json!({ "product": MAP, "kind": "user", "licensee": LICENSEE, "cycle": "monthly" });
    issued(world, &sale).await.to_string()
}

/// Types id and licensee into a visual; the state that is answered.
async fn typed(world: &World, token: Option<&str>, id: &str, licensee: &str) -> String {
    let license = json!({ "id": id, "licensee": licensee });
    let body = json!({ "product": MAP, "host": "web", "license": license });
    let (status, answer) = world.post("/v1/entitlements", token, body.to_string()).await;
    assert_eq!(status, 200, "{answer}");
    answer["state"].as_str().unwrap().to_owned()
}

/// The rows of `activations list`.
async fn activations(world: &World) -> Vec<Value> {
    let request = world.client.get(world.url("/v1/activations")).bearer_auth(SELLER);
    let all: Value = request.send().await.unwrap().json().await.unwrap();
    all["activations"].as_array().unwrap().clone()
}

#[tokio::test]
async fn the_first_use_of_an_id_and_licensee_is_noted_once_and_once_more_for_a_tenant() {
    let world = World::new().await;
    let id = sold(&world).await;
    assert_eq!(typed(&world, None, &id, "Fabrikam").await, "unlicensed");
    assert!(activations(&world).await.is_empty(), "nobody used it");

    assert_eq!(typed(&world, None, &id, LICENSEE).await, "active");
    let first = activations(&world).await;
    let fields = |it: &Value| (it["license"].clone(), it["tenant"].clone(), it["by"].clone());
    assert_eq!(
        first.iter().map(fields).collect::<Vec<_>>(),
        [(json!(id), Value::Null, json!("licensee"))]
    );
    let before = world.store.changes(&ChangeFilter::default()).unwrap().len();
    assert_eq!(typed(&world, None, &id, " contoso (ANA@contoso.example)").await, "active");
    assert_eq!(activations(&world).await, first);
    assert_eq!(world.store.changes(&ChangeFilter::default()).unwrap().len(), before);

    let ana = token_of(ANA);
    for _ in 0..2 {
        assert_eq!(typed(&world, Some(&ana), &id, LICENSEE).await, "active");
    }
    let both = activations(&world).await;
    let tenants: Vec<&Value> = both.iter().map(|it| &it["tenant"]).collect();
    assert!(both.len() == 2 && tenants.contains(&&json!(CONTOSO)), "{both:?}");
    let journal = ChangeFilter { license: Some(id.as_str().into()), ..ChangeFilter::default() };
    let causes = world.store.changes(&journal).unwrap();
    let noted = causes.iter().filter(|it| it.cause.to_string() == "activation");
    assert!(noted.count() >= 2, "{causes:?}");

    // Removed, it is noted again when it is used again; it never was the ground of an answer.
    let gone = format!("/v1/activations/{}/remove", first[0]["id"].as_str().unwrap());
    assert_eq!(sent(&world, &gone, None, &json!({})).await.0, 200);
    assert_eq!(activations(&world).await.len(), 1);
    assert_eq!(typed(&world, Some(&ana), &id, LICENSEE).await, "active");
    assert_eq!(activations(&world).await.len(), 1);
}

#[tokio::test]
async fn what_is_no_use_of_a_license_is_no_activation() {
    let world = World::new().await;
    let id = sold(&world).await;
    world.pass(90 * DAY);
    assert_eq!(typed(&world, None, &id, LICENSEE).await, "expired");
    assert!(activations(&world).await.is_empty(), "it was over");
    let renew = format!("/v1/licenses/{id}/renew");
    assert_eq!(sent(&world, &renew, None, &json!({})).await.0, 200);
    let license = json!({ "id": id, "licensee": LICENSEE });
    let body = json!({ "product": MAP, "host": "report_server", "license": license });
    let (_, answer) = world.post("/v1/entitlements", None, body.to_string()).await;
    assert_eq!(answer["usable"], false, "{answer}");
    assert!(activations(&world).await.is_empty(), "it does not count there");
}
