//! Events out, from a process that is killed, and by the commands of an operator.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use entitled::sandbox::story;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::harness::*;

/// What a receiver and its test share.
struct Shared {
    /// `id type` of each event that came.
    got: watch::Sender<Vec<String>>,
    /// The status to answer with; `None`: not before `go_on`.
    status: Mutex<Option<u16>>,
    go_on: Notify,
}

/// A receiver that takes an event, and answers as and when it is told.
struct Receiver {
    shared: Arc<Shared>,
    address: String,
    folder: TempDir,
    _serving: JoinSet<()>,
}

impl Receiver {
    async fn new(status: Option<u16>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let shared = Arc::new(Shared {
            got: watch::Sender::default(),
            status: Mutex::new(status),
            go_on: Notify::new(),
        });
        let mine = Arc::clone(&shared);
        let take = move |headers: HeaderMap, body: String| take(Arc::clone(&mine), headers, body);
        let router = Router::new().route("/hooks", post(take));
        let mut serving = JoinSet::new();
        serving.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { shared, address, folder: tempfile::tempdir().unwrap(), _serving: serving }
    }

    fn config(&self) -> String {
        let path = self.folder.path().join("billing.whsec");
        fs::write(&path, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        format!(
            "[[notify]]\nname = \"billing\"\nurl = \"http://{}/hooks\"\nsecret_file = \"{}\"\n\
             types = [\"subscription.suspended\"]\n",
            self.address,
            path.display()
        )
    }

    fn answers(&self, status: u16) {
        *self.shared.status.lock().unwrap() = Some(status);
        self.shared.go_on.notify_waiters();
    }

    /// Waits until so many tries have come.
    async fn got(&self, count: usize) -> Vec<String> {
        let mut got = self.shared.got.subscribe();
        let came = got.wait_for(|it| it.len() >= count);
        let came = tokio::time::timeout(std::time::Duration::from_secs(30), came).await;
        came.expect("no event came").unwrap().clone()
    }
}

async fn take(shared: Arc<Shared>, headers: HeaderMap, body: String) -> StatusCode {
    let body: Value = serde_json::from_str(&body).unwrap();
    let id = headers["webhook-id"].to_str().unwrap();
    let said = format!("{id} {}", body["type"].as_str().unwrap());
    let go_on = shared.go_on.notified();
    shared.got.send_modify(|it| it.push(said));
    if shared.status.lock().unwrap().is_none() {
        go_on.await;
    }
    let status = shared.status.lock().unwrap().unwrap();
    StatusCode::from_u16(status).unwrap()
}

/// Mia's company does not pay, and the daemon learns of it.
async fn suspend(site: &Site, server: &Server) {
    let rows = server.cli("subscriptions --json").await.ok().rows();
    let tenant = story::PROSEWARE.tenant.to_string();
    let row = rows.iter().find(|it| it["tenant"] == *tenant);
    let row = row.unwrap();
    let id: Uuid = row["id"].as_str().unwrap().parse().unwrap();
    site.microsoft(|it| {
        let mut subscription = it.subscription(id).unwrap();
        "Suspended".clone_into(&mut subscription.saas_subscription_status);
        it.put_subscription(&subscription);
    });
    server.cli("sync subscriptions").await.ok();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_killed_between_delivery_and_the_note_of_it_delivers_again_under_the_same_id() {
    let receiver = Receiver::new(None).await;
    let site = Site::with(&receiver.config()).await;
    let server = site.serve().await;
    server.cli("sync subscriptions").await.ok();
    suspend(&site, &server).await;
    let first = receiver.got(1).await;
    assert!(first[0].ends_with(" subscription.suspended"), "{first:?}");
    // It has it, and nobody wrote that down.
    server.kill();
    receiver.answers(200);
    let server = site.serve().await;
    let both = receiver.got(2).await;
    assert_eq!(both, [first[0].clone(), first[0].clone()]);
    // That one is noted: nothing comes after another kill.
    loop {
        let rows = server.cli("notify --json").await.ok().rows();
        if rows[0]["waiting"] == 0 {
            break;
        }
    }
    server.kill();
    let server = site.serve().await;
    server.cli("sync subscriptions").await.ok();
    assert_eq!(receiver.got(2).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_sees_tests_and_replays() {
    let receiver = Receiver::new(Some(503)).await;
    let site = Site::with(&receiver.config()).await;
    let server = site.serve().await;
    server.cli("sync subscriptions").await.ok();
    server.cli("notify test billing").await.says(1, &["billing answered 503", "2xx"]);
    server.cli("notify test nobody").await.says(2, &["nobody", "billing"]);
    suspend(&site, &server).await;
    let got = receiver.got(2).await;
    assert!(got[0].ends_with(" test") && got[1].ends_with(" subscription.suspended"), "{got:?}");
    let row = server.cli("notify --json").await.ok().rows().remove(0);
    assert_eq!((&row["endpoint"], &row["waiting"]), (&"billing".into(), &1.into()));
    let table = server.cli("notify").await.ok().out;
    assert!(table.contains("billing") && table.contains("it answered 503"), "{table}");
    let status = server.cli("status").await.ok().out;
    assert!(status.contains("events out     1 waiting, 0 given up"), "{status}");
    let (_, page) = server.ops("/").await;
    assert!(page.contains("Events out") && page.contains("it answered 503"), "{page}");
    let (_, metrics) = server.ops("/metrics").await;
    for wanted in ["notify_waiting", "notify_dead", "notify_failing", "notify_failed_total"] {
        assert!(
            metrics.contains(&format!("entitled_{wanted}{{endpoint=\"billing\"}}")),
            "{metrics}"
        );
    }
    let dead = server.cli("notify dead --endpoint billing").await.ok().out;
    assert!(dead.contains("none was given up"), "{dead}");
    server.cli("notify replay evt_nonsense").await.says(1, &["evt_nonsense"]);
    server.cli("notify replay").await.says(2, &["--all"]);

    // It gets well: a test says so, and what waited comes.
    receiver.answers(200);
    let tested = server.cli("notify test billing --json").await.ok().rows().remove(0);
    assert_eq!((&tested["taken"], &tested["status"]), (&true.into(), &200.into()));
    loop {
        let rows = server.cli("notify --json").await.ok().rows();
        if rows[0]["waiting"] == 0 {
            break;
        }
    }
    let before = receiver.got(4).await;
    let again = server.cli("notify replay --since 1h --json").await.ok().rows();
    assert_eq!(again.len(), 1);
    let after = receiver.got(before.len() + 1).await;
    assert_eq!(after.last(), before.last(), "under the id that it had");
    let changes = server.cli("changes --json").await.ok().rows();
    assert!(changes.iter().any(|it| it["entity"] == "notice"), "{changes:?}");
    // Nothing secret is written anywhere, nor what events say.
    let log = server.log();
    assert!(!log.contains("whsec_") && !log.contains("hooks") && !log.contains("term_unit"));
}
