//! Entra activation over the socket, and the list of revoked licenses.

use entitled::domain::{
    ActivationKey, Commit, License, LicenseId, LicenseKind, LicenseTold, TenantId,
};
use entitled::tokens::{Package, Signer, mark, verify_answer, verify_revocations};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::harness::*;
use crate::tokens::{ANA, CONTOSO, Draft, FABRIKAM, Version, now};

const ROUTE: &str = "/v1/activations";

fn key(seed: u8) -> ActivationKey {
    ActivationKey::from_random([seed; ActivationKey::RANDOM])
}

/// A license of this product with the key of this seed.
pub(crate) fn license(seed: u8, product: &str, store: &entitled::store::Store) -> License {
    License {
        id: LicenseId::from_random([seed; LicenseId::RANDOM]),
        product: product.parse().unwrap(),
        kind: LicenseKind::User,
        max: Some(10),
        node: None,
        licensee: "Contoso (ana@contoso.example)".into(),
        billing: None,
        domain: None,
        over_limit: None,
        cycle: None,
        created: now(),
        trial_end: None,
        paid_at: Some(now()),
        period_start: now(),
        period_end: now().checked_add(SignedDuration::from_hours(24 * 30)).ok(),
        cancelled_at: None,
        suspended_at: None,
        revoked_at: None,
        tenants_max: 1,
        key_hash: Some(store.hash_key(&key(seed))),
        told: LicenseTold::Nothing,
    }
}

async fn sold(change: impl FnOnce(&World) -> Vec<License>) -> World {
    let world = World::new().await;
    let licenses = change(&world);
    world.store.commit(Commit { licenses, ..Commit::default() }).await.unwrap();
    world
}

fn token(tenant: &str, user: &str) -> String {
    Draft::good(Version::V2)
        .claim("tid", tenant)
        .claim("iss", Version::V2.issuer(tenant))
        .claim("oid", user)
        .signed()
}

async fn paste(world: &World, tenant: &str, key: impl Into<Value>) -> (u16, Value) {
    let body = json!({ "product": PRODUCT, "key": key.into() }).to_string();
    world.post(ROUTE, Some(&token(tenant, ANA)), body).await
}

#[tokio::test]
async fn a_key_pasted_once_binds_the_tenant_and_its_users_are_in() {
    let world = sold(|it| vec![license(1, PRODUCT, &it.store)]).await;
    let pasted = format!("  {}\n", key(1).expose().to_lowercase());
    let (status, bound) = paste(&world, NOBODY, pasted.clone()).await;
    assert_eq!((status, &bound["tenant"], &bound["by"]), (201, &json!(NOBODY), &json!(ANA)));
    let tenant: TenantId = NOBODY.parse().unwrap();
    assert!(world.store.mirror().tenant(tenant).is_some(), "it is looked at from now on");
    assert_eq!(world.store.mirror().licenses().activations_of_tenant(tenant).count(), 1);

    let (again, same) = paste(&world, NOBODY, pasted).await;
    assert_eq!((again, same), (200, bound.clone()));
    let filter = entitled::store::ChangeFilter::default();
    let changes = world.store.changes(&filter).unwrap();
    let of_license = changes.iter().filter(|it| it.id.starts_with("L-"));
    let causes: Vec<String> = of_license.map(|it| it.cause.to_string()).collect();
    assert_eq!(causes, ["activation"], "once");
    let journal = format!("{changes:?}");
    assert!(!journal.contains(&key(1).expose()));
}

#[tokio::test]
async fn keys_that_do_not_count_get_one_and_the_same_answer() {
    let world = sold(|it| {
        let revoked = License { revoked_at: Some(now()), ..license(2, PRODUCT, &it.store) };
        vec![license(1, PRODUCT, &it.store), revoked, license(3, "other", &it.store)]
    })
    .await;
    assert_eq!(paste(&world, CONTOSO, key(1).expose()).await.0, 201);
    let mut answers = Vec::new();
    for wrong in [1, 2, 3, 4] {
        answers.push(paste(&world, FABRIKAM, key(wrong).expose()).await);
    }
    for text in ["no key at all", "EK1-", &"9".repeat(60_000)] {
        answers.push(paste(&world, FABRIKAM, text).await);
    }
    assert_eq!(answers[0].0, 403);
    assert_eq!(answers[0].1["type"], "key-not-accepted");
    assert!(answers.iter().all(|it| *it == answers[0]), "{answers:?}");

    // Three more; then even the right key of a free license is not judged.
    for _ in 0..3 {
        assert_eq!(paste(&world, FABRIKAM, key(9).expose()).await.0, 403);
    }
    let free = vec![license(5, PRODUCT, &world.store)];
    world.store.commit(Commit { licenses: free, ..Commit::default() }).await.unwrap();
    assert_eq!(paste(&world, FABRIKAM, key(5).expose()).await.0, 429);
    assert_eq!(paste(&world, NOBODY, key(5).expose()).await.0, 201, "others are not held up");
}

#[tokio::test]
async fn who_may_not_activate_is_told_so() {
    let world = sold(|it| vec![license(1, PRODUCT, &it.store)]).await;
    let personal = "9188040d-6c67-4c5b-b112-36a304b66dad";
    let good = json!({ "product": PRODUCT, "key": key(1).expose() });
    let of = |field: &str, value: Value| {
        let mut body = good.clone();
        body[field] = value;
        body.to_string()
    };
    let user = token(CONTOSO, ANA);
    let cases = [
        (None, good.to_string(), 401),
        (Some(SHOP.to_owned()), good.to_string(), 403),
        (Some(token(personal, ANA)), good.to_string(), 403),
        (Some(user.clone()), "[1".to_owned(), 400),
        (Some(user.clone()), of("product", json!("nothing")), 404),
        (Some(user.clone()), of("key", json!(null)), 422),
        (Some(user.clone()), of("key", json!(" ")), 422),
        (Some(user.clone()), of("key", json!(17)), 422),
    ];
    for (credential, body, expected) in cases {
        let (status, problem) = world.post(ROUTE, credential.as_deref(), body.clone()).await;
        assert_eq!(status, expected, "{body} {problem}");
    }
    assert_eq!(world.store.mirror().licenses().activations().count(), 0);
}

#[tokio::test]
async fn revoked_licenses_are_listed_while_a_package_might_still_work() {
    let world = sold(|it| {
        let revoked =
            |seed| License { revoked_at: Some(now()), ..license(seed, PRODUCT, &it.store) };
        let over = License { period_end: Some(Timestamp::UNIX_EPOCH), ..revoked(3) };
        vec![license(1, PRODUCT, &it.store), revoked(2), over]
    })
    .await;
    let get = async |path: &str| {
        let response = world.client.get(world.url(path)).send().await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        response.text().await.unwrap()
    };
    let (list, keys) = (get("/.well-known/revocations").await, get("/.well-known/jwks.json").await);
    let claims = verify_revocations(&list, &keys, now()).unwrap();
    let id = |seed| LicenseId::from_random([seed; LicenseId::RANDOM]);
    assert_eq!(claims, [mark(id(2).as_str())]);
    assert!(!list.contains(id(2).as_str()));
    assert!(verify_answer(&list, &keys, PRODUCT, now()).is_err(), "it passes for no answer");
}

pub(crate) fn built(world: &World, license: &License) -> String {
    let key = world.store.keys().for_packages().unwrap();
    let secret = world.store.keys().pseudonym_secret();
    let signer = Signer::new(&key.kid, &key.pkcs8, "https://lic.example.test", &secret).unwrap();
    let package = Package { product: license.product.clone(), license: license.id.as_str().into() };
    signer.package(&package, "user", [], now(), license.period_end).unwrap()
}

#[tokio::test]
async fn a_package_speaks_everywhere_until_its_license_is_revoked() {
    let world =
        sold(|it| vec![license(1, PRODUCT, &it.store), license(2, "other", &it.store)]).await;
    let sold: Vec<License> =
        world.store.mirror().licenses().all().map(|it| it.as_ref().clone()).collect();
    let of = |product: &str| sold.iter().find(|it| it.product.as_str() == product).unwrap();
    let ours = built(&world, of(PRODUCT));
    let ask = async |package: &str, host: &str| {
        let body = json!({ "product": PRODUCT, "host": host, "package": package }).to_string();
        let (status, answer) = world.post("/v1/entitlements", None, body).await;
        assert_eq!(status, 200, "{answer}");
        (answer["state"].clone(), answer["reason"].clone(), answer["source"].clone())
    };
    for host in ["web", "report_server", "publish_to_web", "embed"] {
        assert_eq!(ask(&ours, host).await.0, "active", "{host}");
    }
    assert_eq!(ask(&ours, "web").await.2, "direct");
    // The key that signed it was replaced long ago: packages are kept for years.
    world.store.keys().rotate(now()).unwrap();
    world.store.keys().prune(now() + SignedDuration::from_hours(1)).unwrap();
    assert_eq!(ask(&ours, "web").await.0, "active");

    let refused = (json!("unlicensed"), json!("license_not_recognized"), Value::Null);
    assert_eq!(ask(&built(&world, of("other")), "web").await, refused, "of another product");
    assert_eq!(ask(&ours[..ours.len() - 2], "web").await, refused);
    assert_eq!(ask("junk", "web").await, refused);

    let licenses = vec![License { revoked_at: Some(now()), ..of(PRODUCT).clone() }];
    world.store.commit(Commit { licenses, ..Commit::default() }).await.unwrap();
    assert_eq!(ask(&ours, "web").await.0, "expired", "at once and for good");
}

#[tokio::test]
async fn what_is_answered_about_a_public_page_may_be_kept_by_caches_and_nothing_else() {
    let world = sold(|it| vec![license(1, PRODUCT, &it.store)]).await;
    let license = world.store.mirror().licenses().all().next().unwrap().as_ref().clone();
    let package = built(&world, &license);
    let kept = async |host: &str, key: Option<&str>| {
        let body = json!({ "product": PRODUCT, "host": host, "package": package }).to_string();
        let request = world.client.post(world.url("/v1/entitlements")).body(body);
        let request = key.into_iter().fold(request, reqwest::RequestBuilder::bearer_auth);
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200, "{host}");
        response.headers()["cache-control"].to_str().unwrap().to_owned()
    };
    assert_eq!(kept("publish_to_web", None).await, "public, max-age=60");
    assert_eq!(kept("publish_to_web", Some(SHOP)).await, "no-store");
    assert_eq!(kept("web", None).await, "no-store");
}

#[tokio::test]
async fn whoever_guesses_licensees_is_not_judged_after_ten() {
    let world = sold(|it| vec![license(1, PRODUCT, &it.store)]).await;
    let id = LicenseId::from_random([1; LicenseId::RANDOM]);
    let ask = async |id: &str, licensee: &str| {
        let body = json!({
            "product": PRODUCT, "host": "web", "license": { "id": id, "licensee": licensee },
        });
        world.post("/v1/entitlements", None, body.to_string()).await
    };
    let right = "Contoso (ana@contoso.example)";
    let wrong = ask(id.as_str(), "Contoso").await;
    assert_eq!(wrong.1["reason"], "license_not_recognized");
    for guess in 1..10 {
        assert_eq!(ask(id.as_str(), &format!("Contoso {guess}")).await.0, 200);
    }
    // However the id is written, and whether the guess is right.
    assert_eq!(ask(&id.as_str().to_lowercase(), right).await.0, 429);
    let unknown = LicenseId::from_random([9; LicenseId::RANDOM]);
    let other = ask(unknown.as_str(), right).await;
    let said = |it: &(u16, Value)| (it.0, it.1["state"].clone(), it.1["reason"].clone());
    assert_eq!(said(&other), said(&wrong), "an unknown id is told nothing else");
}
