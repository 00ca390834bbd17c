//! Real recorded traffic, replayed through the real client over HTTP into the real store.
//!
//! The recordings are no part of the project. Where they are not beside it, the test says so.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use entitled::domain::Share;
use entitled::domain::{Outcome, SubscriptionStatus};
use entitled::microsoft::{Credential, Hosts, Microsoft, Secret, Settings};
use entitled::store::{Guard, Store, StoreOptions};
use entitled::sync::{Limits, RunRequest, Schedule, Sources, scheduler};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use url::Url;
use wiremock::matchers::{method, path_regex};
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

/// Where the recording may lie: beside the project, or where a variable says.
fn recording() -> Option<Vec<Value>> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/recordings");
    let folder = std::env::var("ENTITLED_RECORDINGS").unwrap_or_else(|_| beside.to_owned());
    let path = PathBuf::from(folder).join("marketplace/list-subscriptions.json");
    let text = std::fs::read_to_string(path).ok()?;
    Some(serde_json::from_str(&text).unwrap())
}

/// Answers each recorded request, found by its path and query, with its recorded answer, links to
/// another host included.
async fn replay(recorded: Vec<Value>) -> MockServer {
    let server = MockServer::start().await;
    let token = json!({ "token_type": "Bearer", "expires_in": 3599, "access_token": "recorded" });
    Mock::given(method("POST"))
        .and(path_regex("/oauth2/v2.0/token$"))
        .respond_with(ResponseTemplate::new(200).set_body_json(token))
        .mount(&server)
        .await;
    let key = |url: &Url| {
        let mut pairs: Vec<_> = url.query_pairs().into_owned().collect();
        pairs.sort();
        (url.path().trim_end_matches('/').to_owned(), pairs)
    };
    let answers: BTreeMap<_, _> = recorded
        .into_iter()
        .map(|it| {
            let url: Url = it["request"]["url"].as_str().unwrap().parse().unwrap();
            (key(&url), it["response"]["body"].clone())
        })
        .collect();
    Mock::given(method("GET"))
        .respond_with(move |request: &Request| match answers.get(&key(&request.url)) {
            Some(body) => ResponseTemplate::new(200).set_body_json(body),
            None => ResponseTemplate::new(404),
        })
        .mount(&server)
        .await;
    server
}

fn sources(server: &MockServer, store: &Store) -> Sources {
    let url: Url = server.uri().parse().unwrap();
    let clock: entitled::sync::Clock = Arc::new(|| Timestamp::from_second(1_795_000_000).unwrap());
    let settings = Settings {
        hosts: Hosts {
            login: url.clone(),
            marketplace: url.clone(),
            graph: url.clone(),
            partner_center: url,
            report_hosts: Vec::new(),
        },
        tenant: "0b0b0b0b-0000-4000-8000-000000000001".parse().unwrap(),
        client_id: "c11e0700-0000-4000-8000-000000000001".to_owned(),
        credential: Credential::Secret(Secret::new("recorded")),
        identity_endpoint: None,
    };
    let sleep: entitled::microsoft::Sleep = Arc::new(|_| Box::pin(tokio::task::yield_now()));
    let microsoft = Microsoft::new(settings, Arc::clone(&clock), sleep).unwrap();
    Sources {
        lookups: entitled::sync::lookups::Lookups::default(),
        ledger: entitled::sync::inbox::Ledger::default(),
        freshness: entitled::sync::freshness::Ages::default(),
        groups_told: entitled::sync::notifications::GroupsTold::default(),
        reports: entitled::sync::reports::Desk::default(),
        store: store.clone(),
        microsoft: Arc::new(microsoft),
        catalog: Arc::default(),
        clock,
        limits: Limits {
            sweep: SignedDuration::from_hours(24),
            remove_limit: Share::FIFTH,
            groups: SignedDuration::from_hours(1),
            rights: None,
        },
    }
}

#[tokio::test]
async fn the_380_recorded_subscriptions_end_in_the_mirror_and_a_second_sync_changes_nothing() {
    let Some(recorded) = recording() else {
        println!("NOT RUN: there is no ../shared/recordings beside the project");
        return;
    };
    let originals: Vec<Value> = recorded
        .iter()
        .flat_map(|it| it["response"]["body"]["subscriptions"].as_array().unwrap().clone())
        .collect();
    assert_eq!(originals.len(), 380);
    let server = replay(recorded).await;
    let dir = tempfile::tempdir().unwrap();
    let options = StoreOptions { guard: Guard::Off, ..StoreOptions::new(dir.path().join("store")) };
    let (store, _) = Store::open(options, Timestamp::from_second(1_795_000_000).unwrap()).unwrap();
    let every = SignedDuration::from_hours(1);
    let cancel = CancellationToken::new();
    let schedule = Schedule { subscriptions: every, directory: every };
    let (handle, running) = scheduler(sources(&server, &store), schedule, cancel.clone());
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move { running.await.unwrap() });

    for round in 0..2 {
        let (progress, mut steps) = mpsc::channel(64);
        let (runs, ()) = tokio::join!(handle.run_now(RunRequest::default(), progress), async {
            while steps.recv().await.is_some() {}
        });
        let run = runs.unwrap().remove(0);
        assert_eq!((run.outcome, run.seen, run.odd), (Outcome::Complete, 380, 0), "{run:?}");
        assert_eq!((run.changed, run.removed), (0, 0), "round {round}");
        if round > 0 {
            assert_eq!(run.added, 0);
        }
    }

    let mirror = store.snapshot();
    let mut by_status: BTreeMap<&str, usize> = BTreeMap::new();
    for subscription in mirror.subscriptions() {
        *by_status.entry(subscription.status.as_str()).or_default() += 1;
        assert!(!matches!(subscription.status, SubscriptionStatus::Unrecognized(_)));
    }
    let expected = [("PendingFulfillmentStart", 7), ("Subscribed", 47), ("Unsubscribed", 326)];
    assert_eq!(by_status.into_iter().collect::<Vec<_>>(), expected);
    for original in &originals {
        let id = original["id"].as_str().unwrap().parse().unwrap();
        let raw = store.raw_subscription(id).unwrap().unwrap();
        assert_eq!(serde_json::from_str::<Value>(&raw).unwrap(), *original);
        compare(mirror.subscription(id).unwrap(), original);
    }
    cancel.cancel();
    while tasks.join_next().await.is_some() {}
}

/// Every mirrored field equals the record's.
fn compare(ours: &entitled::domain::Subscription, original: &Value) {
    let time = |value: &Value| value.as_str().map(|it| it.parse::<Timestamp>().unwrap());
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let party = |value: &Value| (text(&value["tenantId"]), text(&value["objectId"]));
    let our_party = |it: &entitled::domain::Party| {
        (it.tenant.unwrap().to_string(), it.user.unwrap().to_string())
    };
    assert_eq!(ours.publisher.as_ref(), text(&original["publisherId"]));
    assert_eq!(ours.offer.as_ref(), text(&original["offerId"]));
    assert_eq!(ours.plan.as_ref(), text(&original["planId"]));
    assert_eq!(ours.name.as_ref(), text(&original["name"]));
    assert_eq!(ours.status.as_str(), text(&original["saasSubscriptionStatus"]));
    assert_eq!(ours.quantity, original["quantity"].as_u64());
    assert_eq!(our_party(&ours.beneficiary), party(&original["beneficiary"]));
    assert_eq!(our_party(&ours.purchaser), party(&original["purchaser"]));
    assert_eq!(ours.term_start, time(&original["term"]["startDate"]));
    assert_eq!(ours.term_end, time(&original["term"]["endDate"]));
    let unit = original["term"]["termUnit"].as_str();
    assert_eq!(ours.term_unit.as_deref(), unit);
    assert_eq!(ours.auto_renew, original["autoRenew"].as_bool());
    assert_eq!(Some(ours.free_trial), original["isFreeTrial"].as_bool());
    let allowed: Vec<_> = ours.allowed_operations.iter().map(ToString::to_string).collect();
    let theirs = original["allowedCustomerOperations"].as_array().unwrap();
    assert_eq!(allowed, theirs.iter().map(text).collect::<Vec<_>>());
    assert_eq!(ours.created, time(&original["created"]));
}
