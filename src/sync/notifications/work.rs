//! The task that follows nudges, and keeps the subscriptions that bring them.

use std::collections::{BTreeSet, HashMap};
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::due::{Deed, Failures, Heard, Key, LIFE, due};
use super::nudges::Work;
use super::{Address, Notifications};
use crate::domain::{
    ClientState, Commit, GraphSubscription, GraphSubscriptionWrite, SourceKey, Trigger,
};
use crate::microsoft::{ErrorKind, Meter, MicrosoftError, NewGraphSubscription};
use crate::sync::{Sources, SyncError, SyncHandle};

/// Deeds under way at once.
const AT_ONCE: usize = 32;
/// How often it is looked what is due, if nothing happens.
const LOOK_EVERY: Duration = Duration::from_mins(1);
/// And if commits come one after the other.
const LOOKS_APART: Duration = Duration::from_secs(1);

/// Follows nudges and keeps subscriptions, until cancelled.
pub async fn worker(
    sources: Sources,
    sync: SyncHandle,
    notifications: Notifications,
    cancel: CancellationToken,
) {
    let mut revisions = sources.store.revisions();
    let (deeds, busy, failures) = (JoinSet::new(), HashMap::new(), Failures::default());
    let mut worker = Worker { sources, sync, notifications, deeds, busy, failures };
    let (mut looked, mut look_at) = (None, Instant::now());
    loop {
        worker.follow();
        let now = Instant::now();
        if look_at <= now {
            worker.look();
            (looked, look_at) = (Some(now), now + LOOK_EVERY);
        }
        let nudge_due = worker.notifications.nudges().first_due();
        let next = nudge_due.map_or(look_at, |it| it.min(look_at));
        let soon = looked.map_or(now, |it: Instant| it + LOOKS_APART);
        tokio::select! {
            biased;
            // What is cut off has written nothing; Graph's stray subscription runs out by itself.
            () = cancel.cancelled() => return,
            Some(ended) = worker.deeds.join_next_with_id() => {
                worker.ended(ended);
                look_at = soon;
            }
            () = worker.notifications.0.more.notified() => look_at = look_at.min(soon),
            Ok(()) = revisions.changed(), if look_at > soon => look_at = soon,
            () = tokio::time::sleep_until(next) => {}
        }
    }
}

/// How a deed ended.
type Done = Result<&'static str, SyncError>;

/// A deed under way.
struct Begun {
    key: Key,
    /// Graph had said that it needs care. What it says meanwhile is another time.
    cared_for: bool,
}

struct Worker {
    sources: Sources,
    sync: SyncHandle,
    notifications: Notifications,
    deeds: JoinSet<Done>,
    busy: HashMap<Id, Begun>,
    failures: Failures,
}

impl Worker {
    /// Starts what nudges ask for.
    fn follow(&self) {
        let now = (self.sources.clock)();
        loop {
            let work = self.notifications.nudges().next(Instant::now());
            match work {
                Some(Work::Users(tenant, users)) => {
                    let told = |(user, at)| self.sources.lookups.told(tenant, user, at, now);
                    if !users.into_iter().all(told) {
                        self.notifications.nudges().tenant(tenant, Instant::now());
                    }
                }
                Some(Work::Run(tenant)) => {
                    self.sync.nudge(SourceKey::directory(tenant), Trigger::Notification);
                }
                None => return,
            }
        }
    }

    /// Begins what is due about subscriptions, as far as there is room.
    fn look(&mut self) {
        let address = self.notifications.0.address.clone();
        let (mirror, now) = (self.sources.store.snapshot(), (self.sources.clock)());
        let count = mirror.graph_subscriptions().count();
        let gauge = &self.notifications.0.figures.subscriptions;
        gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        let failing = i64::try_from(self.failures.count()).unwrap_or(i64::MAX);
        self.notifications.0.figures.failing.set(failing);
        // A copy: deliveries arrive meanwhile.
        let cared_for = self.notifications.cared_for().clone();
        let due = due(&mirror, address.as_ref(), &cared_for, &self.failures, now);
        let busy: BTreeSet<Key> = self.busy.values().map(|it| it.key).collect();
        let idle = due.into_iter().filter(|it| !busy.contains(&it.key()));
        let room = AT_ONCE.saturating_sub(self.deeds.len());
        for deed in idle.take(room).collect::<Vec<_>>() {
            let key = deed.key();
            let cared_for = self.notifications.cared_for().remove(&key);
            let deed = self.deeds.spawn(perform(self.sources.clone(), address.clone(), deed));
            self.busy.insert(deed.id(), Begun { key, cared_for });
        }
    }

    fn ended(&mut self, ended: Result<(Id, Done), JoinError>) {
        let id = ended.as_ref().map_or_else(JoinError::id, |it| it.0);
        let Some(Begun { key, cared_for }) = self.busy.remove(&id) else { return };
        if cared_for && !matches!(ended, Ok((_, Ok(_)))) {
            self.notifications.cared_for().insert(key);
        }
        let result = match ended {
            Ok((_, result)) => result,
            Err(error) => {
                error!(error = &error as &dyn Error, "Keeping a subscription was cut off");
                return;
            }
        };
        match result {
            Ok(outcome) => {
                self.failures.over(key, matches!(outcome, "made" | "remade"));
                self.notifications.kept(outcome);
                if outcome == "remade" {
                    // While it was gone nobody told of anything.
                    self.notifications.nudges().tenant(key.0, Instant::now());
                }
            }
            Err(SyncError::Microsoft(error)) => {
                self.notifications.kept("failed");
                let heard = self.failures.failed(key, &error, (self.sources.clock)());
                told(heard, key, &error);
            }
            Err(error) => {
                self.notifications.kept("failed");
                let store = MicrosoftError::new(ErrorKind::Transient, error.to_string());
                self.failures.failed(key, &store, (self.sources.clock)());
                warn!(error = &error as &dyn Error, "A subscription could not be written down");
            }
        }
    }
}

fn told(heard: Heard, key: Key, error: &MicrosoftError) {
    let error = error as &dyn Error;
    match heard {
        Heard::Nothing => {}
        Heard::Address => warn!(
            error,
            tenant.id = %key.0,
            "Microsoft takes no subscription to change notifications: it must reach [listen] \
             public_url from outside within ten seconds; the schedule goes on without; \
             [sync.directory] notifications = false ends these tries"
        ),
        Heard::Refusal => warn!(
            error,
            tenant.id = %key.0,
            watched = key.1.as_str(),
            "Microsoft refuses a subscription to change notifications, and not because of our \
             address; it is tried again, further refusals are only counted \
             (graph_subscriptions_failing), and the schedule goes on without"
        ),
    }
}

async fn perform(sources: Sources, address: Option<Address>, deed: Deed) -> Done {
    let (key, graph, meter) = (deed.key(), sources.microsoft.graph(), Meter::default());
    let address = address.as_ref();
    match deed {
        Deed::Make(key) => make(&sources, address, key).await.map(|()| "made"),
        Deed::End(it) => match graph.unsubscribe(&meter, it.tenant, &it.id).await {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
            Ok(()) | Err(_) => forget(&sources, key).await.map(|()| "ended"),
        },
        Deed::Forget(key) => forget(&sources, key).await.map(|()| "forgotten"),
        Deed::Renew(it) => {
            let now = (sources.clock)();
            let expires = now.saturating_add(LIFE).unwrap_or(now);
            match graph.renew_subscription(&meter, it.tenant, &it.id, expires).await {
                Ok(expires) => {
                    let it = GraphSubscription { renewed: now, expires, ..it.as_ref().clone() };
                    keep(&sources, it).await.map(|()| "renewed")
                }
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    make(&sources, address, key).await.map(|()| "remade")
                }
                Err(error) => Err(error.into()),
            }
        }
        Deed::Replace(it) => {
            // If this fails the old one goes on to where nobody is, until it runs out.
            drop(graph.unsubscribe(&meter, it.tenant, &it.id).await);
            make(&sources, address, key).await.map(|()| "remade")
        }
    }
}

async fn make(sources: &Sources, address: Option<&Address>, key: Key) -> Result<(), SyncError> {
    let Some(address) = address else { return Ok(()) };
    let (tenant, watched) = key;
    let mut bytes = [0; 32];
    rand::fill(&mut bytes).map_err(|_unspecified| {
        MicrosoftError::new(ErrorKind::Transient, "the system gives no random numbers")
    })?;
    let client_state = ClientState::new(bytes);
    let now = (sources.clock)();
    let new = NewGraphSubscription {
        watched,
        url: &address.notifications,
        lifecycle_url: &address.lifecycle,
        client_state: &client_state,
        expires: now.saturating_add(LIFE).unwrap_or(now),
    };
    let made = sources.microsoft.graph().subscribe(&Meter::default(), tenant, new).await?;
    info!(tenant.id = %tenant, watched = watched.as_str(), "Subscribed to change notifications");
    let (id, url) = (made.id, Arc::clone(&address.notifications));
    let expires = made.expires;
    let it = GraphSubscription { tenant, watched, id, client_state, url, renewed: now, expires };
    keep(sources, it).await
}

async fn keep(sources: &Sources, it: GraphSubscription) -> Result<(), SyncError> {
    write(sources, GraphSubscriptionWrite::Put(Arc::new(it))).await
}

async fn forget(sources: &Sources, (tenant, watched): Key) -> Result<(), SyncError> {
    write(sources, GraphSubscriptionWrite::Forget(tenant, watched)).await
}

async fn write(sources: &Sources, it: GraphSubscriptionWrite) -> Result<(), SyncError> {
    let graph_subscriptions = vec![it];
    Ok(sources.store.commit(Commit { graph_subscriptions, ..Commit::default() }).await?)
}
