//! What a license that is shown costs and takes: signatures, places and how often it may be shown.

use std::num::NonZeroU32;
use std::time::Duration;

use entitled::domain::{
    ActivatedBy, Activation, ActivationWrite, Commit, License, LicenseId, OverLimit,
};
use entitled::http::Rate;
use serde_json::{Value, json};

use super::activations::{built, license};
use super::harness::*;
use crate::tokens::{ANA, now};

const ONE: &str = "/v1/entitlements";
const LICENSEE: &str = "Contoso (ana@contoso.example)";

fn id(seed: u8) -> LicenseId {
    LicenseId::from_random([seed; LicenseId::RANDOM])
}

/// A world in which these were sold, and the package of each.
async fn sold(setup: Setup, licenses: impl FnOnce(&World) -> Vec<License>) -> (World, Vec<String>) {
    let world = World::with(setup).await;
    let licenses = licenses(&world);
    let packages = licenses.iter().map(|it| built(&world, it)).collect();
    world.store.commit(Commit { licenses, ..Commit::default() }).await.unwrap();
    (world, packages)
}

fn package(package: &str, host: &str) -> Value {
    json!({ "product": PRODUCT, "host": host, "package": package })
}

fn typed(id: LicenseId) -> Value {
    let license = json!({ "id": id.as_str(), "licensee": LICENSEE });
    json!({ "product": MAP, "host": "web", "license": license })
}

#[tokio::test]
async fn an_answer_that_rests_on_nothing_of_microsofts_keeps_its_signature_too() {
    let (world, packages) = sold(Setup::default(), |it| {
        let of = |seed, product| license(seed, product, &it.store);
        vec![of(1, PRODUCT), of(2, MAP), of(3, PRODUCT)]
    })
    .await;
    let bound = Activation {
        id: world.store.new_activation_id().unwrap(),
        license: id(3),
        tenant: Some(NOBODY.parse().unwrap()),
        by: ActivatedBy::Server("test".into()),
        at: now(),
    };
    let activations = vec![ActivationWrite::Put(bound)];
    world.store.commit(Commit { activations, ..Commit::default() }).await.unwrap();
    let cases = [
        ("a package", None, package(&packages[0], "web"), "license_active", 300),
        ("a public page", None, package(&packages[0], "publish_to_web"), "license_active", 300),
        ("id and licensee", None, typed(id(2)), "license_active", 300),
        ("a tenant", Some(SHOP), question(NOBODY, ANA), "license_active", 300),
        ("an unknown one", None, typed(id(9)), "license_not_recognized", 150),
    ];
    for (what, credential, body, reason, kept) in cases {
        let ask = async || {
            let (status, answer) = world.post(ONE, credential, body.to_string()).await;
            assert_eq!((status, &answer["reason"]), (200, &json!(reason)), "{what}");
            answer["token"].as_str().unwrap().to_owned()
        };
        let first = ask().await;
        world.pass(kept - 1);
        assert_eq!(ask().await, first, "{what}: hot");
        world.pass(1);
        assert_ne!(ask().await, first, "{what}: after a while");
    }
}

#[tokio::test]
async fn whoever_looks_at_a_public_page_takes_no_place() {
    let (world, packages) = sold(Setup::default(), |it| {
        let of_one = license(1, PRODUCT, &it.store);
        vec![License { max: Some(1), over_limit: Some(OverLimit::Deny), ..of_one }]
    })
    .await;
    let ask = async |host: &str, anonymous: usize| {
        let mut body = package(&packages[0], host);
        body["anonymous_id"] = json!(format!("viewer {anonymous}"));
        let (status, answer) = world.post(ONE, None, body.to_string()).await;
        assert_eq!(status, 200, "{answer}");
        answer["reason"].as_str().unwrap().to_owned()
    };
    let places = || world.store.mirror().licenses().users(id(1)).map_or(0, |all| all.len());
    for viewer in 0..5 {
        assert_eq!(ask("publish_to_web", viewer).await, "license_active");
    }
    assert_eq!(places(), 0);
    for host in ["web", "report_server"] {
        assert_eq!(ask(host, 7).await, "license_active", "the same user twice");
    }
    assert_eq!(ask("web", 8).await, "over_limit");
    assert_eq!(places(), 1);
    assert_eq!(ask("publish_to_web", 9).await, "license_active", "though all places are taken");
    // With somebody signed in, likewise.
    let body = package(&packages[0], "publish_to_web").to_string();
    let (status, answer) = world.post(ONE, Some(&token_of(DAN)), body).await;
    assert_eq!((status, &answer["reason"]), (200, &json!("license_active")));
    assert_eq!(places(), 1);
}

#[tokio::test]
async fn a_license_that_is_shown_too_often_is_told_when_to_come_again() {
    let rate =
        |burst| Rate { burst: NonZeroU32::new(burst).unwrap(), per: Duration::from_hours(1) };
    let mut setup = Setup::default();
    (setup.rates.license, setup.rates.public_license) = (rate(5), rate(8));
    let (world, packages) =
        sold(setup, |it| vec![license(1, PRODUCT, &it.store), license(2, PRODUCT, &it.store)])
            .await;
    let ask = async |credential: Option<&str>, body: &Value| {
        let request = world.client.post(world.url(ONE)).body(body.to_string());
        let request = credential.into_iter().fold(request, reqwest::RequestBuilder::bearer_auth);
        let response = request.send().await.unwrap();
        let retry = response.headers().contains_key("retry-after");
        assert_eq!(response.status().as_u16() == 429, retry);
        response.status().as_u16()
    };
    let times = async |count: usize, body: &Value| {
        let mut all = Vec::new();
        for _ in 0..count {
            all.push(ask(None, body).await);
        }
        all
    };
    let (web, page) = (package(&packages[0], "web"), package(&packages[0], "publish_to_web"));
    assert_eq!(times(7, &web).await, [[200; 5].as_slice(), &[429; 2]].concat());
    assert_eq!(ask(Some(&token_of(ANA)), &web).await, 429, "whoever shows it");
    let mut by_id = typed(id(1));
    by_id["product"] = json!(PRODUCT);
    assert_eq!(ask(None, &by_id).await, 429, "however it is shown");
    assert_eq!(times(9, &page).await, [[200; 8].as_slice(), &[429]].concat(), "public pages");
    assert_eq!(ask(None, &package(&packages[1], "web")).await, 200, "another is not held up");
    assert_eq!(ask(Some(SHOP), &web).await, 200, "nor is a server");
    assert_eq!(ask(Some(&token_of(ANA)), &question("", "")).await, 200, "nor who shows none");
    // One that nobody sold is counted as well, so that its limit tells nothing.
    assert_eq!(times(7, &typed(id(9))).await, [[200; 5].as_slice(), &[429; 2]].concat());
    let metrics = world.ops_get("/metrics").await.text().await.unwrap();
    for rule in ["license_shown", "public_license_shown"] {
        assert!(metrics.contains(&format!("rule=\"{rule}\"")), "{metrics}");
    }
}
