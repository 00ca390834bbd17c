//! What Microsoft is answered when it asks: the worker against a pretend marketplace.

use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};

use entitled::config::AcceptChanges;
use entitled::domain::{
    Action, Announcement, Catalog, Channel, Commit, Coverage, Features, HybridMode, Plan, Product,
    Receipt, Share,
};
use entitled::microsoft::{Credential, Hosts, Microsoft, Secret, Settings};
use entitled::store::{Arrival, Guard, Store, StoreOptions};
use entitled::sync::inbox::{Ledger, worker};
use entitled::sync::{Limits, Sources};
use jiff::Timestamp;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use wiremock::matchers::method;
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

use super::*;

const ID: Uuid = Uuid::from_u128(0xa1a1_a1a1_4289_581c_2cb7_db78_4599_a7bd);

/// What the pretend marketplace says, and what it was told.
#[derive(Clone)]
struct Scene(Arc<Mutex<State>>, Arc<AtomicI64>);

struct State {
    operation: Value,
    plan: &'static str,
    quantity: u64,
    /// What PATCH answers, each once; then 200.
    patches: Vec<u16>,
    told: Vec<String>,
    /// How many seconds after the webhook it was told.
    told_at: Vec<i64>,
    /// What the operation's status is at each look, each once; then it stays.
    statuses: Vec<&'static str>,
    /// Microsoft does what it was told not to.
    stubborn: bool,
    /// How long ago the webhook came when the daemon starts.
    age: i64,
}

impl Scene {
    fn new(action: &str, source: &str) -> Self {
        let operation = json!({ "id": operation(1), "subscriptionId": ID, "planId": "enterprise",
            "quantity": 9, "action": action, "status": "InProgress",
            "operationRequestSource": source, "timeStamp": "2026-11-18T10:00:00.1234567Z" });
        let (plan, quantity) = ("team", 5);
        let state = State {
            operation,
            plan,
            quantity,
            patches: vec![],
            told: vec![],
            told_at: vec![],
            statuses: vec![],
            stubborn: false,
            age: 0,
        };
        Self(Arc::new(Mutex::new(state)), Arc::default())
    }

    fn with(self, change: impl FnOnce(&mut State)) -> Self {
        change(&mut self.0.lock().unwrap());
        self
    }

    fn answer(&self, request: &Request) -> ResponseTemplate {
        let mut it = self.0.lock().unwrap();
        let path = request.url.path();
        match (request.method.as_str(), path.contains("/operations/")) {
            ("POST", _) => ResponseTemplate::new(200).set_body_json(
                json!({ "token_type": "Bearer", "access_token": "t", "expires_in": 3_599 }),
            ),
            ("GET", true) => {
                if !it.statuses.is_empty() {
                    it.operation["status"] = json!(it.statuses.remove(0));
                }
                if it.operation["status"] == "Succeeded" {
                    (it.plan, it.quantity) = ("enterprise", 9);
                }
                ResponseTemplate::new(200).set_body_json(&it.operation)
            }
            ("GET", false) => ResponseTemplate::new(200).set_body_json(json!({
                "id": ID, "publisherId": "vizmaker", "offerId": "viz-suite", "name": "n",
                "saasSubscriptionStatus": "Subscribed", "planId": it.plan,
                "quantity": it.quantity, "term": {} })),
            _ => {
                let body: Value = serde_json::from_slice(&request.body).unwrap();
                let word = body["status"].as_str().unwrap().to_owned();
                it.told.push(word.clone());
                let at = self.1.load(Ordering::SeqCst) + it.age;
                it.told_at.push(at);
                let status = it.patches.pop().unwrap_or(200);
                if status == 200 || status == 409 {
                    let taken = (word == "Success") != it.stubborn;
                    it.operation["status"] = json!(if taken { "Succeeded" } else { "Failed" });
                    if taken {
                        (it.plan, it.quantity) = ("enterprise", 9);
                    }
                }
                ResponseTemplate::new(status)
            }
        }
    }
}

fn catalog() -> Catalog {
    let plan = |name: &str| Plan {
        service_id: format!("vizmaker.viz-suite.{name}").parse().unwrap(),
        channel: Channel::Saas,
        coverage: Coverage::Tenant,
        features: Features::default(),
        sku_ids: Vec::new(),
        service_plan_ids: Vec::new(),
        release_after: SignedDuration::from_hours(720),
    };
    Catalog::new([Product {
        id: "viz-suite".parse().unwrap(),
        name: "Viz Suite".into(),
        hybrid: HybridMode::None,
        features: [].into(),
        plans: vec![plan("team"), plan("company")],
    }])
}

/// All of Microsoft is one server.
fn settings(url: &reqwest::Url) -> Settings {
    Settings {
        hosts: Hosts {
            login: url.clone(),
            marketplace: url.clone(),
            graph: url.clone(),
            partner_center: url.clone(),
            report_hosts: Vec::new(),
        },
        tenant: story::PUBLISHER_TENANT.to_string().parse().unwrap(),
        client_id: story::CLIENT_ID.to_string(),
        credential: Credential::Secret(Secret::new("s")),
        identity_endpoint: None,
    }
}

/// Works one webhook off; what Microsoft was told, and what became of the webhook.
async fn play(scene: &Scene, accept: AcceptChanges) -> (Vec<String>, WebhookEvent, Store) {
    let server = MockServer::start().await;
    let it = scene.clone();
    for verb in ["GET", "POST", "PATCH"] {
        let it = it.clone();
        let respond = move |request: &Request| it.answer(request);
        Mock::given(method(verb)).respond_with(respond).mount(&server).await;
    }
    let dir = tempfile::tempdir().unwrap();
    let now = Timestamp::from_second(crate::world::START).unwrap();
    // Each look at the clock takes it on, so that what rests is looked at again.
    let passed = Arc::clone(&scene.1);
    let clock: entitled::sync::Clock =
        Arc::new(move || now + SignedDuration::from_secs(passed.fetch_add(1, Ordering::SeqCst)));
    let options = StoreOptions { guard: Guard::Off, ..StoreOptions::new(dir.path().join("s")) };
    let (store, _) = Store::open(options, now).unwrap();
    let url: reqwest::Url = server.uri().parse().unwrap();
    let settings = settings(&url);
    let sleep: entitled::microsoft::Sleep = Arc::new(|_| Box::pin(tokio::task::yield_now()));
    let sources = Sources {
        store: store.clone(),
        microsoft: Arc::new(Microsoft::new(settings, Arc::clone(&clock), sleep).unwrap()),
        catalog: Arc::new(catalog()),
        clock,
        ledger: Ledger::default(),
        freshness: entitled::sync::freshness::Ages::default(),
        groups_told: entitled::sync::notifications::GroupsTold::default(),
        reports: entitled::sync::reports::Desk::default(),
        lookups: entitled::sync::lookups::Lookups::default(),
        limits: Limits {
            sweep: SignedDuration::from_hours(24),
            remove_limit: Share::FIFTH,
            groups: SignedDuration::from_hours(1),
            rights: None,
        },
    };
    let action = scene.0.lock().unwrap().operation["action"].as_str().unwrap().to_owned();
    let said = Announcement {
        operation: Some(operation(1).into()),
        action: Action::from_word(&action),
        subscription: Some(SubscriptionId::from_uuid(ID)),
        plan: None,
        quantity: None,
    };
    let age = SignedDuration::from_secs(scene.0.lock().unwrap().age);
    let arrival = Arrival { said, body: "{}".into(), received: now - age, sent: None };
    assert_eq!(store.receive(arrival).await.unwrap(), Receipt::New);
    let (cancel, mut task) = (CancellationToken::new(), JoinSet::new());
    task.spawn(worker(sources, accept, cancel.clone()));
    let mut revisions = store.revisions();
    let over = async {
        while store.inbox().waiting > 0 {
            let soon = Duration::from_millis(50);
            if tokio::time::timeout(soon, revisions.changed()).await.is_err() {
                // Has the worker look at the clock at once.
                store.commit(Commit::default()).await.unwrap();
            }
        }
    };
    tokio::time::timeout(Duration::from_mins(1), over).await.unwrap();
    cancel.cancel();
    task.join_next().await.unwrap().unwrap().unwrap();
    let event = store.webhooks(&WebhookFilter::default()).remove(0);
    let told = scene.0.lock().unwrap().told.clone();
    store.commit(Commit::default()).await.unwrap();
    (told, (*event).clone(), store)
}

async fn check(scene: Scene, accept: AcceptChanges, told: &[&str], answered: Option<&str>) {
    let (got, event, store) = play(&scene, accept).await;
    let action = &event.said.action;
    assert_eq!(got, told, "{action:?} {accept}");
    assert_eq!(event.answered.map(entitled::domain::Answered::as_str), answered, "{action:?}");
    let mirror = store.mirror();
    let plan = mirror.subscription(SubscriptionId::from_uuid(ID)).unwrap().plan.to_string();
    assert_eq!(plan, scene.0.lock().unwrap().plan, "the mirror has what Microsoft says");
}

#[tokio::test]
async fn a_customers_change_is_answered_by_policy_and_then_taken_over() {
    let change = || Scene::new("ChangePlan", "Azure");
    check(change(), AcceptChanges::Always, &["Success"], Some("accepted")).await;
    check(change(), AcceptChanges::KnownPlans, &["Failure"], Some("refused")).await;
    let quantity =
        Scene::new("ChangeQuantity", "Azure").with(|it| it.operation["planId"] = json!("team"));
    check(quantity, AcceptChanges::KnownPlans, &["Success"], Some("accepted")).await;
    check(
        Scene::new("Reinstate", "Azure"),
        AcceptChanges::KnownPlans,
        &["Success"],
        Some("accepted"),
    )
    .await;
}

#[tokio::test]
async fn what_nobody_waits_for_is_never_answered() {
    let over = |it: &mut State| it.operation["status"] = json!("Succeeded");
    for (action, source) in
        [("ChangePlan", "Partner"), ("ChangePlan", "Azure"), ("Suspend", "Azure")]
    {
        let scene = Scene::new(action, source).with(over).with(|it| it.plan = "enterprise");
        check(scene, AcceptChanges::Always, &[], None).await;
    }
    for (action, source) in [("Renew", "Azure"), ("Transfer", "Azure"), ("Subscribe", "")] {
        check(Scene::new(action, source), AcceptChanges::Always, &[], None).await;
    }
}

#[tokio::test]
async fn too_late_and_a_bad_moment_are_understood() {
    let scene = Scene::new("ChangePlan", "Azure").with(|it| it.patches = vec![409]);
    check(scene, AcceptChanges::Always, &["Success"], Some("too late")).await;
    let scene = Scene::new("ChangePlan", "Azure").with(|it| it.patches = vec![500, 500]);
    check(scene, AcceptChanges::Always, &["Success"; 3], Some("accepted")).await;
}

#[tokio::test]
async fn what_microsoft_decided_before_us_is_read_and_taken() {
    // Our refusal came too late, or was ignored: 409 and 200 alike.
    for (status, answered) in [(409, "too late"), (200, "refused")] {
        let scene = Scene::new("ChangePlan", "Azure")
            .with(|it| (it.patches, it.stubborn) = (vec![status], true));
        let (told, event, store) = play(&scene, AcceptChanges::KnownPlans).await;
        assert_eq!(
            (told.as_slice(), event.state.as_str()),
            (&["Failure".to_owned()][..], "changed")
        );
        assert_eq!(event.answered.map(entitled::domain::Answered::as_str), Some(answered));
        let mirror = store.mirror();
        let id = SubscriptionId::from_uuid(ID);
        assert_eq!(&*mirror.subscription(id).unwrap().plan, "enterprise", "{status}");
        let asked = mirror.all_asked().next().map(|it| it.state.as_str());
        // The subscription was not known before, but was read to judge the change.
        assert_eq!(asked, Some("overruled"), "{status}");
    }
}

#[tokio::test]
async fn a_reinstatement_is_welcomed_and_whoever_wants_no_answer_gets_no_second_one() {
    for (status, answered) in [(200, "accepted"), (409, "too late"), (400, "not taken")] {
        let scene = Scene::new("Reinstate", "Azure").with(|it| {
            it.patches = vec![status];
            it.statuses = vec!["InProgress", "InProgress", "Succeeded"];
        });
        check(scene, AcceptChanges::Hold, &["Success"], Some(answered)).await;
    }
    let away = Scene::new("Reinstate", "Azure").with(|it| {
        it.patches = vec![500; 4];
        it.statuses = vec!["InProgress", "InProgress", "Succeeded"];
    });
    check(away, AcceptChanges::Hold, &["Success"; 4], Some("not taken")).await;
}

#[tokio::test]
async fn our_own_operations_and_what_does_not_wait_are_followed_without_a_word() {
    let through = |source, statuses: &[&'static str]| {
        let statuses = statuses.to_vec();
        Scene::new("ChangePlan", source).with(|it| it.statuses = statuses)
    };
    let own = through("Partner", &["InProgress", "InProgress", "Succeeded"]);
    check(own, AcceptChanges::Hold, &[], None).await;
    let late = through("Azure", &["NotStarted", "InProgress"]);
    check(late, AcceptChanges::Always, &["Success"], Some("accepted")).await;
    for end in ["Conflict", "Failed"] {
        check(through("Azure", &[end]), AcceptChanges::Always, &[], None).await;
    }
}

#[tokio::test]
async fn an_operation_that_takes_hours_is_followed_to_its_end_and_one_without_an_end_for_a_day() {
    let hours = |age: i64, statuses: &[&'static str]| {
        let statuses = statuses.to_vec();
        let scene = Scene::new("ChangePlan", "Partner");
        scene.with(|it| (it.age, it.statuses) = (age * 3_600, statuses))
    };
    let slow = hours(20, &["InProgress", "InProgress", "InProgress", "Succeeded"]);
    let (_, event, store) = play(&slow, AcceptChanges::Always).await;
    let id = SubscriptionId::from_uuid(ID);
    let plan = store.mirror().subscription(id).unwrap().plan.to_string();
    assert_eq!((&*plan, event.state.as_str()), ("enterprise", "changed"));
    let (_, event, store) = play(&hours(24, &[]), AcceptChanges::Always).await;
    let plan = store.mirror().subscription(id).unwrap().plan.to_string();
    assert_eq!((&*plan, event.state.as_str()), ("team", "changed"), "it was read once");
}

#[tokio::test]
async fn a_reinstatement_that_the_subscription_shows_is_over_whatever_its_operation_says() {
    let scene = Scene::new("Reinstate", "Azure").with(|it| it.patches = vec![400]);
    check(scene, AcceptChanges::Always, &["Success"], Some("not taken")).await;
}

#[tokio::test]
async fn after_the_window_nothing_is_said_until_it_is_clear_that_nobody_decided() {
    let waiting = |age| Scene::new("ChangePlan", "Azure").with(|it| it.age = age);
    for (age, earliest, latest) in [(0, 0, 20), (9, 30, 120), (25, 30, 120), (3_000, 3_000, 3_100)]
    {
        let scene = waiting(age);
        check(scene.clone(), AcceptChanges::Always, &["Success"], Some("accepted")).await;
        let at = scene.0.lock().unwrap().told_at.remove(0);
        assert!((earliest..latest).contains(&at), "{age} s old: told at {at} s");
    }
    // Microsoft accepted by itself meanwhile.
    let decided = waiting(9).with(|it| it.statuses = vec!["InProgress", "Succeeded"]);
    check(decided, AcceptChanges::KnownPlans, &[], None).await;
}
