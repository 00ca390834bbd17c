//! The SaaS fulfillment API.

use super::*;

#[tokio::test]
async fn the_list_is_read_to_its_end_over_links_to_another_host() {
    let probe = Probe::new(Options { tenants: 600, users: 2, ..Options::default() }).await;
    let token = probe.token(story::PUBLISHER_TENANT, MARKETPLACE).await;
    let (mut ids, mut pages, mut target) = (BTreeSet::new(), Vec::new(), LIST.to_owned());
    loop {
        let page = probe.ask(&token, &target, &[]).await.json();
        let rows = page["subscriptions"].as_array().unwrap();
        pages.push(rows.len());
        ids.extend(rows.iter().map(|row| uuid_of(&row["id"])));
        let Some(link) = page.get("@nextLink") else { break };
        let link: url::Url = link.as_str().unwrap().parse().unwrap();
        assert_eq!(link.host_str(), Some("main.prod.marketplaceapi.azure.com"));
        let query = link.query().unwrap();
        assert!(query.starts_with("continuationToken=%5b%7b%22"), "lower-case hex: {query}");
        // The path on the canonical host, with and without the sandbox's prefix.
        let prefix = if pages.len() % 2 == 0 { "/marketplace" } else { "" };
        target = format!("{prefix}{}?{query}", link.path());
    }
    let total: usize = pages.iter().sum();
    assert_eq!((ids.len(), total > 250), (total, true), "{pages:?}");
    let (last, full) = pages.split_last().unwrap();
    assert!(full.iter().all(|size| (66..=89).contains(size)) && *last <= 89, "{pages:?}");
    assert!(full.iter().collect::<BTreeSet<_>>().len() > 1, "sizes vary: {pages:?}");
}

#[tokio::test]
async fn the_list_has_its_oddities() {
    let probe = Probe::new(Options::default()).await;
    let token = probe.token(story::PUBLISHER_TENANT, MARKETPLACE).await;
    let ids = [("x-ms-requestid", "r-1"), ("x-ms-correlationid", "c-1")];
    let answer = probe.ask(&token, &LIST.replace('?', "/?"), &ids).await;
    assert_eq!(answer.header("x-ms-requestid"), Some("r-1"));
    assert_eq!(answer.header("x-ms-correlationid"), Some("c-1"));
    let order =
        ["\"id\"", "\"publisherId\"", "\"beneficiary\"", "\"planId\"", "\"term\"", "\"created\""];
    let places: Vec<_> = order.iter().map(|key| answer.text.find(key).unwrap()).collect();
    assert!(places.is_sorted(), "recorded order of keys");
    let all = answer.json()["subscriptions"].as_array().unwrap().clone();
    assert_eq!(all.len(), 9);
    let of = |tenant: Uuid| {
        all.iter().find(|row| row["beneficiary"]["tenantId"] == json!(tenant)).unwrap()
    };
    let proseware = of(story::PROSEWARE.tenant);
    assert_eq!(proseware["lastModified"], "0001-01-01T00:00:00");
    assert!(
        proseware.get("quantity").is_none()
            && proseware["created"].as_str().unwrap().ends_with('Z')
    );
    assert_eq!(of(story::WINGTIP.tenant)["quantity"], 3);
    assert_eq!(of(story::GRAPHIC.tenant)["isFreeTrial"], true);
    assert!(of(story::LAMNA.tenant)["term"].get("startDate").is_none());
    let coho = of(story::COHO.tenant);
    assert_ne!(coho["purchaser"]["tenantId"], coho["beneficiary"]["tenantId"]);
    assert_eq!(coho["allowedCustomerOperations"], json!(["Read"]));
    assert!(all.iter().any(|row| uuid_of(&row["id"]).get_version_num() != 4));

    let one = LIST.replace('?', &format!("/{}?", proseware["id"].as_str().unwrap()));
    assert_eq!(probe.ask(&token, &one, &[]).await.json(), *proseware);
    let raw = r#"{"id":"5d0c1f22-7a31-4c8e-1b2f-90aa3344ee10","zeta":1,"alpha":{"b":2,"a":1}}"#;
    probe.sandbox.with_world(|world| world.upsert_subscription(raw)).unwrap();
    let one = LIST.replace('?', "/5D0C1F22-7a31-4c8e-1b2f-90aa3344ee10?");
    assert_eq!(probe.ask(&token, &one, &[]).await.text, raw);

    probe.sandbox.with_world(World::clear_subscriptions);
    let empty = probe.ask(&token, LIST, &[]).await;
    assert_eq!((empty.status, empty.text.as_str()), (200, ""));
}

#[tokio::test]
async fn the_marketplace_refuses_in_its_many_shapes() {
    let probe = Probe::new(Options::default()).await;
    let token = probe.token(story::PUBLISHER_TENANT, MARKETPLACE).await;
    let graph = probe.token(CONTOSO.tenant, GRAPH).await;
    let path = "/marketplace/api/saas/subscriptions";
    let unspecified = probe.ask(&token, path, &[]).await;
    assert_eq!(
        (unspecified.status, &unspecified.json()["Error"]["Code"]),
        (400, &json!("ApiVersionUnspecified"))
    );
    let wrong = probe.ask(&token, &format!("{path}?api-version=1"), &[]).await;
    assert_eq!(wrong.json()["Error"]["Code"], "UnsupportedApiVersion");
    for bad in ["", graph.as_str()] {
        let answer = probe.ask(bad, LIST, &[]).await;
        assert_eq!((answer.status, answer.json().is_string()), (401, true), "a bare string");
    }
    let unknown = LIST.replace('?', "/5d0c1f22-7a31-4c8e-1b2f-90aa3344ee99?");
    assert_eq!(probe.ask(&token, &unknown, &[]).await.status, 404);
    let bad = format!("{LIST}&continuationToken=%5b%5d");
    assert_eq!(probe.ask(&token, &bad, &[]).await.status, 400);
}

#[tokio::test]
async fn a_stumbling_marketplace_still_tells_everything_in_the_end() {
    let probe = Probe::new(Options { tenants: 60, users: 1, ..Options::default() }).await;
    let token = probe.token(story::PUBLISHER_TENANT, MARKETPLACE).await;
    let walk = async |spec: &str| {
        probe.sandbox.with_world(|world| world.set_faults(spec.parse().unwrap()));
        let (mut rows, mut empty, mut target) = (Vec::new(), 0, LIST.to_owned());
        loop {
            let page = probe.ask(&token, &target, &[]).await.json();
            let items = page["subscriptions"].as_array().unwrap();
            empty += usize::from(items.is_empty());
            rows.extend(items.iter().map(|row| uuid_of(&row["id"])));
            let Some(link) = page.get("@nextLink") else { return (rows, empty) };
            let link: url::Url = link.as_str().unwrap().parse().unwrap();
            target = format!("{}?{}", link.path(), link.query().unwrap());
        }
    };
    let (calm, none) = walk("").await;
    let set = |rows: &[Uuid]| rows.iter().copied().collect::<BTreeSet<_>>();
    assert_eq!((set(&calm).len(), none), (calm.len(), 0));
    let spec = "page=5,marketplace.empty_page=0.5,marketplace.duplicates=0.5";
    let (rough, empty) = walk(spec).await;
    assert_eq!(set(&rough), set(&calm));
    assert!(rough.len() > calm.len() && empty > 0);

    for (spec, status, json) in [
        ("marketplace.truncated=1", 200, false),
        ("marketplace.503_html=1", 503, false),
        ("marketplace.429=1", 429, false),
        ("marketplace.500=1", 500, true),
        ("token.503=1", 200, true),
    ] {
        probe.sandbox.with_world(|world| world.set_faults(spec.parse().unwrap()));
        let answer = probe.ask(&token, LIST, &[]).await;
        let parsed = serde_json::from_str::<Value>(&answer.text).is_ok();
        assert_eq!((answer.status, parsed), (status, json), "{spec}");
    }
    let form = credentials(MARKETPLACE);
    assert_eq!(probe.login(story::PUBLISHER_TENANT, "oauth2/v2.0/token", &form).await.status, 503);
}
