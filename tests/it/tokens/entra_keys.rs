//! Entra's keys as they are fetched and kept: a pretend Entra, and time that the test sets.

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use entitled::store::{Guard, Store, StoreOptions};
use entitled::sync::keys::{DOCUMENT, EntraKeys, Fetch, FetchError, Lookup};
use entitled::tokens::verify_user;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{Draft, KEYS, LOGIN, Version::V2, now, rules, wire_key};

/// What a pretend Entra answers next: keys of these ids, or nothing.
#[derive(Clone, Default)]
pub(crate) struct PretendEntra {
    answer: Arc<Mutex<Option<Vec<u8>>>>,
    pub(crate) fetches: Arc<AtomicUsize>,
}

impl PretendEntra {
    pub(crate) fn with(kids: &[&str]) -> Self {
        let entra = Self::default();
        entra.publish(kids);
        entra
    }

    pub(crate) fn publish(&self, kids: &[&str]) {
        let issuer = format!("{LOGIN}/{{tenantid}}/v2.0");
        let keys: Vec<Value> =
            kids.iter().map(|kid| wire_key(kid, &KEYS.organisations, &issuer)).collect();
        self.say(json!({ "keys": keys }).to_string());
    }

    pub(crate) fn say(&self, body: impl Into<Vec<u8>>) {
        *self.answer.lock().unwrap() = Some(body.into());
    }

    pub(crate) fn goes_down(&self) {
        *self.answer.lock().unwrap() = None;
    }

    pub(crate) fn fetch(&self) -> Fetch {
        let entra = self.clone();
        Arc::new(move || {
            entra.fetches.fetch_add(1, Ordering::SeqCst);
            let answer = entra.answer.lock().unwrap().clone();
            Box::pin(async move { answer.ok_or_else(|| FetchError("it is down".into())) })
        })
    }
}

struct KeyWorld {
    entra: PretendEntra,
    clock: Arc<AtomicI64>,
    keys: Arc<EntraKeys>,
    store: Store,
    folder: tempfile::TempDir,
    cancel: CancellationToken,
    tasks: JoinSet<()>,
}

fn open(folder: &tempfile::TempDir) -> Store {
    let options = StoreOptions { guard: Guard::Off, ..StoreOptions::new(folder.path()) };
    Store::open(options, now()).unwrap().0
}

impl KeyWorld {
    fn new(entra: PretendEntra) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder);
        Self::on(folder, store, entra)
    }

    fn on(folder: tempfile::TempDir, store: Store, entra: PretendEntra) -> Self {
        let clock = Arc::new(AtomicI64::new(now().as_second()));
        let at = Arc::clone(&clock);
        let time = Arc::new(move || Timestamp::from_second(at.load(Ordering::SeqCst)).unwrap());
        let keys = Arc::new(EntraKeys::new(store.clone(), entra.fetch(), time));
        let (cancel, mut tasks) = (CancellationToken::new(), JoinSet::new());
        let (running, stop) = (Arc::clone(&keys), cancel.clone());
        tasks.spawn(async move { running.run(stop).await });
        Self { entra, clock, keys, store, folder, cancel, tasks }
    }

    fn pass(&self, seconds: i64) {
        self.clock.fetch_add(seconds, Ordering::SeqCst);
    }

    fn fetches(&self) -> usize {
        self.entra.fetches.load(Ordering::SeqCst)
    }

    async fn stop(mut self) -> (tempfile::TempDir, PretendEntra) {
        self.cancel.cancel();
        while self.tasks.join_next().await.is_some() {}
        self.store.close().await;
        drop((self.keys, self.store));
        (self.folder, self.entra)
    }
}

#[tokio::test]
async fn random_key_ids_cost_at_most_two_fetches_in_five_minutes() {
    let world = KeyWorld::new(PretendEntra::with(&["org-1"]));
    assert!(matches!(world.keys.lookup("org-1").await, Lookup::Known(_)));
    // 10,000 ids in 25 minutes of virtual time: five windows.
    for i in 0..10_000 {
        let id = format!("random-{i}");
        assert!(matches!(world.keys.lookup(&id).await, Lookup::Unknown), "{id}");
        if i % 20 == 0 {
            world.pass(3);
        }
        assert!(matches!(world.keys.lookup("org-1").await, Lookup::Known(_)), "good ones pass");
    }
    let asked = world.fetches() - 1;
    assert!((8..=12).contains(&asked), "{asked} fetches besides the first in five windows");
}

#[tokio::test]
async fn a_key_that_is_new_at_entra_is_found_when_a_token_names_it() {
    let world = KeyWorld::new(PretendEntra::with(&["org-1"]));
    assert!(matches!(world.keys.lookup("org-1").await, Lookup::Known(_)));
    world.entra.publish(&["org-1", "org-2"]);
    let all = futures_util::future::join_all((0..50).map(|_| world.keys.lookup("org-2"))).await;
    assert!(all.iter().all(|it| matches!(it, Lookup::Known(_))));
    assert_eq!(world.fetches(), 2, "fifty at once share one fetch");
}

#[tokio::test]
async fn keys_survive_a_restart_while_entra_is_down() {
    let world = KeyWorld::new(PretendEntra::with(&["org-1"]));
    assert!(matches!(world.keys.lookup("org-1").await, Lookup::Known(_)));
    // The next round begins once the first one has stored its keys.
    assert!(matches!(world.keys.lookup("nobody").await, Lookup::Unknown));
    assert!(world.store.mirror().document(DOCUMENT).is_some());
    let (folder, entra) = world.stop().await;
    entra.goes_down();
    let store = open(&folder);
    let world = KeyWorld::on(folder, store, entra);
    let Lookup::Known(keys) = world.keys.lookup("org-1").await else { panic!("not kept") };
    assert!(verify_user(&Draft::good(V2).signed(), &keys, &rules(), now()).is_ok());
}

#[tokio::test]
async fn before_any_key_was_read_nobody_can_tell() {
    let world = KeyWorld::new(PretendEntra::default());
    assert!(matches!(world.keys.lookup("org-1").await, Lookup::Unavailable));
    for garbage in ["", "<html>", r#"{"keys":[]}"#, &"x".repeat(1_000_000)] {
        world.entra.say(garbage);
        world.pass(301);
        assert!(matches!(world.keys.lookup("org-1").await, Lookup::Unavailable));
    }
    world.entra.publish(&["org-1"]);
    world.pass(301);
    assert!(matches!(world.keys.lookup("org-1").await, Lookup::Known(_)));
    world.entra.say("<html>");
    world.pass(301);
    let org_2 = world.keys.lookup("org-2").await;
    assert!(matches!(org_2, Lookup::Unavailable), "it may be in the set that cannot be read");
    assert!(matches!(world.keys.lookup("org-1").await, Lookup::Known(_)), "the last good stays");
}

#[tokio::test]
async fn while_entra_cannot_be_read_a_new_key_is_neither_good_nor_bad() {
    let world = KeyWorld::new(PretendEntra::with(&["org-1"]));
    assert!(matches!(world.keys.lookup("org-1").await, Lookup::Known(_)));
    assert!(matches!(world.keys.lookup("nobody").await, Lookup::Unknown));
    world.pass(301);
    world.entra.goes_down();
    let before = world.fetches();
    for _ in 0..20 {
        assert!(matches!(world.keys.lookup("org-2").await, Lookup::Unavailable));
    }
    assert_eq!(world.fetches() - before, 2, "the window holds for failures too");
    assert!(matches!(world.keys.lookup("org-1").await, Lookup::Known(_)));
    // What a failed fetch did not bring was not looked for in vain.
    world.entra.publish(&["org-1", "org-2"]);
    world.pass(300);
    assert!(matches!(world.keys.lookup("org-2").await, Lookup::Known(_)));
    // A fetch that failed last says more of now than a good one before it.
    assert!(matches!(world.keys.lookup("a").await, Lookup::Unknown));
    world.pass(301);
    assert!(matches!(world.keys.lookup("b").await, Lookup::Unknown), "one fetch, good");
    world.entra.goes_down();
    assert!(matches!(world.keys.lookup("c").await, Lookup::Unavailable), "another, failed");
    assert!(matches!(world.keys.lookup("d").await, Lookup::Unavailable), "and no third");
    assert!(matches!(world.keys.lookup("b").await, Lookup::Unknown), "it was looked for in vain");
}
