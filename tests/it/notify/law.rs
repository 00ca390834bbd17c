//! The law: whatever happens, and however badly a receiver listens, it gets every event of the
//! journal, none that is not there, and each under one id.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use entitled::config::{NotifyEndpoint, Secret};
use entitled::domain::{Cause, Change, Notice, NoticeWish, RawRecord, SubscriptionStatus};
use entitled::notify::{self, Patience};
use entitled::store::{ChangeFilter, Guard, Store, StoreOptions};
use jiff::Timestamp;
use proptest::prelude::*;
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::*;

use crate::samples;

#[derive(Clone, Debug)]
enum Step {
    /// A subscription differs.
    Change { subscription: u8, status: u8, seats: u8 },
    /// From now on the receiver fails like this, so many times.
    Fail { how: u8, times: u8 },
    /// Time passes, in minutes.
    Pass(u16),
    /// The daemon ends, in order or not, and starts again.
    Restart { killed: bool },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..4_u8, 0..4_u8, 0..3_u8)
            .prop_map(|(subscription, status, seats)| Step::Change { subscription, status, seats }),
        2 => (0..4_u8, 1..4_u8).prop_map(|(how, times)| Step::Fail { how, times }),
        2 => (0..90_u16).prop_map(Step::Pass),
        1 => any::<bool>().prop_map(|killed| Step::Restart { killed }),
    ]
}

/// A store and what tells, without the rest of the daemon.
struct Teller {
    dir: TempDir,
    endpoint: NotifyEndpoint,
    now: Arc<Mutex<Timestamp>>,
    store: Store,
    stop: CancellationToken,
    task: JoinSet<()>,
}

impl Teller {
    fn new(receiver: &Receiver) -> Self {
        let endpoint = NotifyEndpoint {
            name: "billing".to_owned(),
            url: receiver.url().parse().unwrap(),
            types: NoticeWish::everything(),
            secrets: receiver.secrets.iter().map(|it| Secret::new(it)).collect(),
        };
        let now = Arc::new(Mutex::new(Timestamp::from_second(crate::world::START).unwrap()));
        let dir = tempfile::tempdir().unwrap();
        let (store, stop, task) = start(&dir, &endpoint, &now);
        Self { dir, endpoint, now, store, stop, task }
    }

    async fn restart(&mut self, killed: bool) {
        if killed {
            // What was delivered and not yet noted is forgotten.
            self.task.shutdown().await;
        } else {
            self.stop.cancel();
            while self.task.join_next().await.is_some() {}
        }
        self.store.close().await;
        (self.store, self.stop, self.task) = start(&self.dir, &self.endpoint, &self.now);
    }

    fn now(&self) -> Timestamp {
        *self.now.lock().unwrap()
    }

    fn advance(&self, by: SignedDuration) {
        *self.now.lock().unwrap() += by;
    }

    async fn change(&self, number: u8, status: u8, seats: u8) {
        let words = ["PendingFulfillmentStart", "Subscribed", "Suspended", "Unsubscribed"];
        let after = entitled::domain::Subscription {
            status: SubscriptionStatus::from_word(words[usize::from(status)]),
            quantity: Some(u64::from(seats)),
            observed_at: self.now(),
            ..samples::subscription(u128::from(number) + 1)
        };
        let id = after.id;
        let mirror = self.store.snapshot();
        let before = mirror.subscription(id).map(|it| &**it);
        if before.is_some_and(|it| it.says_the_same(&after)) {
            return;
        }
        let change = Change::of_subscription(self.now(), Cause::Command, before, &after);
        let subscriptions = vec![(after.clone(), RawRecord::from("{}"))];
        let commit = Commit { subscriptions, changes: vec![change], ..Commit::default() };
        self.store.commit(commit).await.unwrap();
        // So that the journal's order is that of time.
        self.advance(SignedDuration::from_secs(1));
    }

    async fn rest(&self, looks: usize) {
        for _ in 0..looks {
            self.store.commit(Commit::default()).await.unwrap();
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Until everything is delivered.
    async fn settle(&self) {
        for _ in 0..2_000 {
            if !self.store.has_events_waiting() {
                return;
            }
            self.advance(SignedDuration::from_secs(20));
            self.rest(1).await;
        }
        panic!("it never ends: {:?}", self.store.events(None));
    }
}

fn start(
    dir: &TempDir,
    endpoint: &NotifyEndpoint,
    now: &Arc<Mutex<Timestamp>>,
) -> (Store, CancellationToken, JoinSet<()>) {
    let path = dir.path().join("store");
    let options = StoreOptions { guard: Guard::Off, reserve: Some(0), ..StoreOptions::new(path) };
    let (store, _) = Store::open(options, *now.lock().unwrap()).unwrap();
    let stop = CancellationToken::new();
    let hour = SignedDuration::from_hours(1);
    let patience = Patience { subscriptions: hour, directory: hour };
    let clock = Arc::clone(now);
    let clock: notify::Clock = Arc::new(move || *clock.lock().unwrap());
    let endpoints = std::slice::from_ref(endpoint);
    let (_, telling) =
        notify::notifier(store.clone(), endpoints, patience, clock, stop.clone()).unwrap();
    let mut task = JoinSet::new();
    task.spawn(async move { telling.await.unwrap() });
    (store, stop, task)
}

/// Fails so many times, in one of four ways.
fn fails(receiver: &Receiver, how: u8, times: u8) {
    let left = Mutex::new(times);
    receiver.answers(move |_| {
        let mut left = left.lock().unwrap();
        if *left == 0 {
            return Reply::OK;
        }
        *left -= 1;
        match how {
            0 => Reply::status(500),
            1 => Reply::status(404),
            2 => Reply::Status(429, vec![("retry-after", "40".to_owned())]),
            _ => Reply::status(302),
        }
    });
}

async fn play(steps: &[Step]) {
    let receiver = Receiver::new("billing").await;
    let mut teller = Teller::new(&receiver);
    for step in steps {
        match *step {
            Step::Change { subscription, status, seats } => {
                teller.change(subscription, status, seats).await;
            }
            Step::Fail { how, times } => fails(&receiver, how, times),
            Step::Pass(minutes) => {
                teller.advance(SignedDuration::from_mins(minutes.into()));
                teller.rest(4).await;
            }
            Step::Restart { killed } => teller.restart(killed).await,
        }
    }
    teller.settle().await;

    let events = teller.store.events(None);
    let ids: BTreeSet<String> = events.iter().map(|it| it.id.to_string()).collect();
    assert_eq!(ids.len(), events.len(), "an id stands for one event");
    assert_eq!(receiver.taken_ids(), ids, "the receiver has all of them and nothing else");
    let journal = teller.store.changes(&ChangeFilter::default()).unwrap();
    let wanted: Vec<_> = journal.iter().flat_map(Notice::of_change).collect();
    let wanted: Vec<_> = wanted.iter().map(|it| (it.kind, &it.subject, it.at)).collect();
    let told: Vec<_> = events.iter().map(|it| (it.kind, &it.subject, it.at)).collect();
    assert_eq!(told, wanted, "the events are those of the journal");
    let mut bodies: BTreeMap<String, String> = BTreeMap::new();
    let mut tries: BTreeMap<String, usize> = BTreeMap::new();
    for got in receiver.got() {
        assert!(got.is_signed_with(&receiver.secrets[0]));
        *tries.entry(got.id.clone()).or_default() += 1;
        let known = bodies.entry(got.id).or_insert_with(|| got.raw.clone());
        assert_eq!(*known, got.raw, "an id stands for one body");
    }
    if tries.values().all(|it| *it <= 4) {
        let number: BTreeMap<&str, usize> =
            events.iter().enumerate().map(|(at, it)| (&*it.id, at)).collect();
        let mut last: BTreeMap<&str, usize> = BTreeMap::new();
        let mut seen = BTreeSet::new();
        for got in &receiver.taken() {
            let at = number[got.id.as_str()];
            if seen.insert(at) {
                let before = last.insert(&events[at].subject, at);
                assert!(before.is_none_or(|before| before < at), "out of order");
            }
        }
    }
    teller.stop.cancel();
    while teller.task.join_next().await.is_some() {}
    teller.store.close().await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 30, ..ProptestConfig::default() })]

    #[test]
    fn a_receiver_gets_what_the_journal_has_whatever_fails(
        steps in prop::collection::vec(step(), 1..40),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(play(&steps));
    }
}

#[tokio::test]
async fn a_full_disk_loses_neither_a_fact_nor_its_event() {
    let receiver = Receiver::new("billing").await;
    let mut teller = Teller::new(&receiver);
    teller.change(1, 0, 1).await;
    teller.settle().await;
    teller.stop.cancel();
    while teller.task.join_next().await.is_some() {}
    teller.store.close().await;
    let path = teller.dir.path().join("store");
    let options =
        StoreOptions { guard: Guard::Off, reserve: Some(u64::MAX), ..StoreOptions::new(path) };
    let (store, _) = Store::open(options, teller.now()).unwrap();
    store.address(entitled::store::Audience {
        endpoints: vec![entitled::store::Addressee {
            name: "billing".into(),
            wishes: NoticeWish::everything(),
        }],
        ..Default::default()
    });
    let before = store.events(None).len();
    let mirror = store.snapshot();
    let was = mirror.subscriptions().next().unwrap();
    let after = entitled::domain::Subscription {
        status: SubscriptionStatus::Subscribed,
        ..(**was).clone()
    };
    let change = Change::of_subscription(teller.now(), Cause::Command, Some(was), &after);
    let subscriptions = vec![(after, RawRecord::from("{}"))];
    let commit = Commit { subscriptions, changes: vec![change], ..Commit::default() };
    store.commit(commit.clone()).await.unwrap_err();
    assert_eq!(store.events(None).len(), before, "neither the fact nor its event");
    store.close().await;
    (teller.store, teller.stop, teller.task) = start(&teller.dir, &teller.endpoint, &teller.now);
    teller.store.commit(commit).await.unwrap();
    teller.settle().await;
    assert_eq!(types(&receiver.taken()), ["subscription.created", "subscription.activated"]);
}
