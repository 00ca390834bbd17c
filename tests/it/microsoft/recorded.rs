//! The 380 recorded subscriptions through the real client, over HTTP, by their real links.

use std::collections::BTreeMap;
use std::path::PathBuf;

use entitled::domain::{Party, Subscription};
use entitled::microsoft::Read;
use serde_json::Value;
use wiremock::matchers::{method, path, query_param, query_param_is_missing};
use wiremock::{Mock, ResponseTemplate};

use super::{Pretend, ok};

/// The recording lies beside the repository, never in it: it is Microsoft's own traffic.
fn recording() -> Option<Vec<Value>> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/recordings");
    let folder = std::env::var("ENTITLED_RECORDINGS").unwrap_or_else(|_| beside.to_owned());
    let file = PathBuf::from(folder).join("marketplace/list-subscriptions.json");
    let text = std::fs::read_to_string(file).ok()?;
    Some(serde_json::from_str(&text).unwrap())
}

/// Every field, compared with the record as it was recorded.
fn compare(it: &Subscription, raw: &Value) {
    let text = |at: &str| raw.pointer(at).and_then(Value::as_str);
    let lower = |at: &str| text(at).unwrap_or_default().to_ascii_lowercase();
    assert_eq!(it.id.to_string(), lower("/id"));
    assert_eq!(&*it.publisher, lower("/publisherId"));
    assert_eq!(&*it.offer, lower("/offerId"));
    assert_eq!(&*it.plan, lower("/planId"));
    assert_eq!(&*it.name, text("/name").unwrap());
    assert_eq!(it.status.as_str(), text("/saasSubscriptionStatus").unwrap());
    assert_eq!(it.quantity, raw.get("quantity").and_then(Value::as_u64));
    assert_eq!(it.term_unit.as_deref(), text("/term/termUnit"));
    assert_eq!(it.auto_renew, raw.get("autoRenew").and_then(Value::as_bool));
    assert_eq!(Some(it.free_trial), raw.get("isFreeTrial").and_then(Value::as_bool));
    let operations: Vec<&str> = it.allowed_operations.iter().map(|it| &**it).collect();
    assert_eq!(Some(&serde_json::json!(operations)), raw.get("allowedCustomerOperations"));
    // Dates as text: fractions keep their digits, but .NET and we drop trailing noughts alike.
    let date = |at: &str| text(at).map(str::to_owned);
    assert_eq!(it.term_start.map(|it| it.to_string()), date("/term/startDate"));
    assert_eq!(it.term_end.map(|it| it.to_string()), date("/term/endDate"));
    assert_eq!(it.created.map(|it| it.to_string()), date("/created"));
    let party = |it: &Party, of: &str| {
        assert_eq!(
            it.tenant.map(|it| it.to_string()),
            text(&format!("/{of}/tenantId")).map(str::to_owned)
        );
        assert_eq!(
            it.user.map(|it| it.to_string()),
            text(&format!("/{of}/objectId")).map(str::to_owned)
        );
    };
    party(&it.beneficiary, "beneficiary");
    party(&it.purchaser, "purchaser");
}

#[tokio::test]
async fn the_recorded_subscriptions_arrive_complete_and_unchanged() {
    let Some(recording) = recording() else {
        println!("the recording is not beside the repository: nothing replayed");
        return;
    };
    let it = Pretend::new().await;
    let mut raw = BTreeMap::new();
    for exchange in &recording {
        let url: url::Url = exchange["request"]["url"].as_str().unwrap().parse().unwrap();
        let body = &exchange["response"]["body"];
        let mock = Mock::given(method("GET")).and(path(format!("/marketplace{}", url.path())));
        let token = url.query_pairs().find(|(key, _)| key == "continuationToken");
        let mock = if let Some((key, value)) = token {
            mock.and(query_param(&*key, &*value))
        } else {
            // The recorded client wrote a trailing slash that ours leaves out.
            let bare = Mock::given(method("GET")).and(path("/marketplace/api/saas/subscriptions"));
            bare.and(query_param_is_missing("continuationToken"))
        };
        mock.and(query_param("api-version", "2018-08-31"))
            .respond_with(ok(body.clone()))
            .expect(1)
            .mount(&it.server)
            .await;
        for record in body["subscriptions"].as_array().unwrap() {
            raw.insert(record["id"].as_str().unwrap().to_owned(), record.clone());
        }
    }
    let lost = Mock::given(method("GET")).respond_with(ResponseTemplate::new(418));
    lost.with_priority(100).mount(&it.server).await;

    let (mut next, mut pages, mut by_status) = (None, 0, BTreeMap::<String, usize>::new());
    loop {
        let page = it.microsoft.marketplace().list_page(&it.meter, next.as_ref()).await.unwrap();
        pages += 1;
        for record in &page.records {
            let Read::Understood(record, kept) = record else { panic!("odd: {record:?}") };
            let recorded = raw.remove(&record.id.to_string()).expect("known, and once only");
            compare(record, &recorded);
            assert_eq!(kept.parse::<Value>().unwrap(), recorded, "the raw record is kept");
            *by_status.entry(record.status.as_str().to_owned()).or_default() += 1;
        }
        next = page.next;
        if next.is_none() {
            break;
        }
    }
    assert!(raw.is_empty(), "{} were lost", raw.len());
    assert_eq!(pages, 5);
    let want = [("PendingFulfillmentStart", 7), ("Subscribed", 47), ("Unsubscribed", 326)];
    assert_eq!(by_status, want.map(|(word, n)| (word.to_owned(), n)).into());
}
