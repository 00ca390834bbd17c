//! The task that looks up whoever was refused.

use std::collections::BTreeMap;
use std::error::Error;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use quick_cache::sync::Cache;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, error, info, info_span, warn};

use super::look::{Listed, Looked, look};
use super::queue::{End, Next};
use super::{AlsoLook, Lookups, OutcomeLabel};
use crate::domain::{Commit, SourceKey, TenantId, Trigger, UserId};
use crate::microsoft::{ErrorKind, MicrosoftError, Room};
use crate::sync::directory::{Sizes, With, view_of};
use crate::sync::freshness::Way;
use crate::sync::progress::Gauge;
use crate::sync::{Sources, SyncError, SyncHandle, reads_users};

/// Batches under way at once, each of another tenant.
const BATCHES_AT_ONCE: usize = 32;
/// Batches that may wait for Microsoft beside those.
const WAITING_MAX: usize = 224;
/// Tenants whose SKUs are remembered between look-ups.
const LISTED_MAX: usize = 1_000;
/// How long a tenant rests when it does not let us look.
const REFUSED: SignedDuration = SignedDuration::from_hours(1);
/// How long it rests when we have no say in it, or the store takes nothing.
const MENDED_BY_SOMEBODY: SignedDuration = SignedDuration::from_mins(10);
/// How long it rests when trouble passes by itself.
const PASSES: SignedDuration = SignedDuration::from_secs(60);

/// Looks up whoever is wanted, until cancelled.
pub async fn worker(
    sources: Sources,
    sync: SyncHandle,
    also: Vec<Arc<dyn AlsoLook>>,
    cancel: CancellationToken,
) {
    let listed = Cache::new(LISTED_MAX);
    let waiting =
        Arc::new(Waiting { count: AtomicUsize::new(0), lookups: sources.lookups.clone() });
    let worker = Arc::new(Worker { sources, sync, also, listed, waiting });
    let mut batches = JoinSet::new();
    loop {
        let wait = worker.begin(&mut batches);
        tokio::select! {
            biased;
            // A look-up that is cut off has written nothing, or all of it.
            () = cancel.cancelled() => return,
            Some(ended) = batches.join_next() => {
                if let Err(error) = ended {
                    error!(error = &error as &dyn Error, "A look-up was cut off");
                }
            }
            () = worker.sources.lookups.0.more.notified() => {}
            () = tokio::time::sleep(wait.unwrap_or(Duration::MAX)), if wait.is_some() => {}
        }
    }
}

struct Worker {
    sources: Sources,
    sync: SyncHandle,
    also: Vec<Arc<dyn AlsoLook>>,
    listed: Cache<TenantId, Listed>,
    waiting: Arc<Waiting>,
}

/// Batches that Microsoft makes wait: they take nobody's place.
struct Waiting {
    count: AtomicUsize,
    lookups: Lookups,
}

impl Room for Waiting {
    fn leave(&self) -> bool {
        let one_more = |it| (it < WAITING_MAX).then_some(it + 1);
        let left = self.count.fetch_update(SeqCst, SeqCst, one_more).is_ok();
        if left {
            self.lookups.0.more.notify_one();
        }
        left
    }

    /// At once: a batch is small, and there are few.
    fn come_back(&self) -> BoxFuture<'_, ()> {
        self.count.fetch_sub(1, SeqCst);
        Box::pin(async {})
    }
}

impl Worker {
    /// Begins what may begin, and says how long to wait for more.
    fn begin(self: &Arc<Self>, batches: &mut JoinSet<()>) -> Option<Duration> {
        while batches.len().saturating_sub(self.waiting.count.load(SeqCst)) < BATCHES_AT_ONCE {
            let next = self.sources.lookups.queue().next((self.sources.clock)());
            match next {
                Next::Batch(tenant, users) => {
                    let span = info_span!("look-up", tenant.id = %tenant);
                    let worker = Arc::clone(self);
                    batches
                        .spawn(async move { worker.batch(tenant, users).await }.instrument(span));
                }
                Next::Wait(wait) => return Some(wait),
                Next::Idle => return None,
            }
        }
        None
    }

    /// One batch, whatever becomes of it.
    async fn batch(&self, tenant: TenantId, users: Vec<UserId>) {
        let room = Arc::clone(&self.waiting);
        let gauge = Gauge::urgent(SourceKey::directory(tenant)).in_room(room);
        let work = AssertUnwindSafe(self.all(tenant, &users, &gauge)).catch_unwind().await;
        let end = match work {
            Ok(Ok(changed)) => End::Read { changed },
            Ok(Err(error)) => {
                let rest = rest_after(&error);
                let rest_s = rest.as_secs();
                warn!(
                    error = &error as &dyn Error,
                    rest_s, "Users who were refused or told of could not be looked up"
                );
                End::Rests(rest)
            }
            Err(_panic) => {
                error!("A look-up panicked: please report it; the others go on");
                self.count("failed", users.len());
                End::Rests(MENDED_BY_SOMEBODY)
            }
        };
        let lookups = &self.sources.lookups;
        lookups.0.figures.requests.inc_by(gauge.meter.requests());
        let now = (self.sources.clock)();
        let mut queue = lookups.queue();
        queue.done(tenant, &users, &end, now);
        lookups.0.figures.waiting.set(i64::try_from(queue.waiting()).unwrap_or(i64::MAX));
    }

    /// Licences, which count as soon as they are written, then what else is looked at.
    async fn all(
        &self,
        tenant: TenantId,
        users: &[UserId],
        gauge: &Gauge,
    ) -> Result<Vec<UserId>, SyncError> {
        let looked = self.look(tenant, users, gauge).await;
        match &looked {
            Ok(changed) => {
                self.count("changed", changed.len());
                self.count("same", users.len().saturating_sub(changed.len()));
            }
            Err(_) => self.count("failed", users.len()),
        }
        let changed = match looked {
            // The tenant's SKUs may not be read; what else is looked at needs its users only.
            Err(SyncError::Microsoft(error))
                if error.kind() == ErrorKind::Consent
                    && !self.also.is_empty()
                    && reads_users(&self.sources, tenant, &gauge.meter) =>
            {
                Vec::new()
            }
            looked => looked?,
        };
        for also in &self.also {
            self.write(also.look(&gauge.meter, tenant, users).await?).await?;
        }
        Ok(changed)
    }

    async fn look(
        &self,
        tenant: TenantId,
        users: &[UserId],
        gauge: &Gauge,
    ) -> Result<Vec<UserId>, SyncError> {
        let sources = &self.sources;
        let view = || view_of(&sources.store.mirror(), tenant);
        let with = With {
            graph: sources.microsoft.graph(),
            catalog: &sources.catalog,
            limits: sources.limits,
            clock: &sources.clock,
            unfinished: None,
            desk: &sources.store,
            sizes: Sizes::REAL,
            order: sources.lookups.order(),
            view: &view,
        };
        let next_run = || sources.store.next_run();
        let mut listed = self.listed.get(&tenant).unwrap_or_default();
        let looked = look(&with, &mut listed, (tenant, users), gauge, &next_run).await;
        self.listed.insert(tenant, listed);
        let Looked { commit, changed, changed_at, run_due, turn } = looked?;
        self.write(commit).await?;
        drop(turn);
        self.date(tenant, &changed, &changed_at);
        if !changed.is_empty() {
            info!(run.changed = changed.len(), "Looked users up by name: something changed");
        }
        if run_due {
            self.sync.nudge(SourceKey::directory(tenant), Trigger::Notification);
        }
        Ok(changed)
    }

    /// Notes how old changes are, by what brought their users here.
    fn date(&self, tenant: TenantId, changed: &[UserId], changed_at: &BTreeMap<UserId, Timestamp>) {
        let now = (self.sources.clock)();
        let queue = self.sources.lookups.queue();
        for user in changed {
            let told = queue.told_at(tenant, *user);
            let way = told.map_or(Way::Lookup, |_| Way::Notification);
            if let Some(at) = changed_at.get(user).copied().or(told) {
                self.sources.freshness.committed(way, at, now);
            }
        }
    }

    async fn write(&self, commit: Option<Commit>) -> Result<(), SyncError> {
        match commit {
            Some(commit) => Ok(self.sources.store.commit(commit).await?),
            None => Ok(()),
        }
    }

    fn count(&self, outcome: &'static str, users: usize) {
        let users = u64::try_from(users).unwrap_or(u64::MAX);
        let figures = &self.sources.lookups.0.figures;
        figures.users.get_or_create(&OutcomeLabel { outcome }).inc_by(users);
    }
}

/// How long a tenant rests after this.
fn rest_after(error: &SyncError) -> SignedDuration {
    let SyncError::Microsoft(error) = error else { return MENDED_BY_SOMEBODY };
    match error.kind() {
        ErrorKind::Consent | ErrorKind::National => REFUSED,
        ErrorKind::Credential | ErrorKind::Refused => MENDED_BY_SOMEBODY,
        ErrorKind::Transient
        | ErrorKind::Throttled
        | ErrorKind::Resync
        | ErrorKind::RestartSequence
        | ErrorKind::NotFound
        | ErrorKind::Unreadable
        | ErrorKind::Rejected
        | ErrorKind::Locked => asked(error).unwrap_or(PASSES).max(PASSES),
    }
}

fn asked(error: &MicrosoftError) -> Option<SignedDuration> {
    SignedDuration::try_from(error.asked_wait()?).ok()
}
