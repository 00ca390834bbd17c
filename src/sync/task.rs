//! When which run begins: by the clock, by a nudge, by an operator; one code path for all.
//!
//! One task owns the schedule ([`agenda`](super::agenda)); each run is a task of its own in its
//! `JoinSet`, so a tenant that is slow, throttled or refused delays no other, and a large one moves
//! out of the way of the small ones ([`lanes`](super::lanes)). Two runs of one source and scope never
//! overlap.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use prometheus_client::registry::Registry;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, info_span, warn};

use super::agenda::{Agenda, Wish};
use super::freshness::Summary;
use super::lanes::Lanes;
use super::metrics::Metrics;
use super::one::{Performed, one};
use super::progress::{Gauge, Progress};
use super::{Begun, Sources, SyncError, needs_directory, rest_after};
use crate::domain::{Mirror, Run, RunId, Source, SourceKey, TenantId, TenantView, Trigger};

/// Questions and nudges that may wait for the scheduler.
const COMMANDS_MAX: usize = 1024;

/// How often each source is read.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    /// The list of subscriptions.
    pub subscriptions: SignedDuration,
    /// Each tenant's directory.
    pub directory: SignedDuration,
}

/// What an operator asks to be read now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunRequest {
    /// One source; all if absent.
    pub source: Option<Source>,
    /// One tenant; all if absent.
    pub tenant: Option<TenantId>,
    /// Enumerate everything, not only changes.
    pub full: bool,
}

/// What the scheduler knows of one source and scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskStatus {
    /// Which.
    pub key: SourceKey,
    /// The run under way.
    pub running: Option<RunId>,
    /// When the next run is due, if none is under way.
    pub next_due: Option<Timestamp>,
}

/// The door to the scheduler.
#[derive(Clone)]
pub struct SyncHandle {
    commands: mpsc::Sender<Command>,
    agenda: Shared,
    metrics: Metrics,
    pub(super) sources: Sources,
}

/// Why a request cannot be met.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The daemon is shutting down.
    #[error("the daemon is shutting down; start it again and repeat the command")]
    Stopping,
    /// No product is licensed per user by Microsoft.
    #[error(
        "no product has a plan of channel appsource or isv_app, so there is no licence report to \
         read"
    )]
    NoReports,
    /// Entra is a stand-in, and Partner Center is not.
    #[error(
        "[microsoft] login is a stand-in, and partner_center is Microsoft's own: name the \
         stand-in's Partner Center, or bring the report in by hand (entitled reports import FILE)"
    )]
    StandIn,
    /// The tenant is not known.
    #[error(
        "tenant {0} is not known; add it to the configuration as [[tenant]], or wait until a \
         subscription names it"
    )]
    UnknownTenant(TenantId),
    /// No product is licensed per user by Microsoft.
    #[error(
        "no product has a plan of channel appsource or isv_app, so no tenant's directory is read"
    )]
    NoDirectory,
}

/// The agenda, which the scheduler's task keeps and others look at.
type Shared = Arc<Mutex<Agenda>>;

fn locked(agenda: &Shared) -> MutexGuard<'_, Agenda> {
    // Nothing in it panics half way.
    agenda.lock().unwrap_or_else(PoisonError::into_inner)
}

enum Command {
    Run(SourceKey, Wish),
    Nudge { key: SourceKey, trigger: Trigger },
    LookNow { key: SourceKey, trigger: Trigger },
}

impl SyncHandle {
    /// Runs now what is asked for, and waits for runs that began after the call. Subscriptions
    /// come first: they name tenants. Reports are read only when they are asked for by name: it
    /// takes Partner Center minutes to make one.
    ///
    /// # Errors
    ///
    /// [`RequestError`]; a run that fails is no error but says so in its outcome.
    pub async fn run_now(
        &self,
        request: RunRequest,
        progress: mpsc::Sender<Progress>,
    ) -> Result<Vec<Run>, RequestError> {
        let mut runs = Vec::new();
        match (request.source, request.tenant) {
            (Some(Source::Reports), _) => {
                self.sources.reports.every()?;
                return self.all([SourceKey::REPORTS], request.full, &progress).await;
            }
            (Some(Source::Subscriptions), _) | (None, None) => {
                runs.extend(self.all([SourceKey::SUBSCRIPTIONS], request.full, &progress).await?);
            }
            (Some(Source::Directory | Source::Groups), _) | (None, Some(_)) => {}
        }
        if request.source == Some(Source::Subscriptions) {
            return Ok(runs);
        }
        if !needs_directory(&self.sources.catalog) {
            let asked = request.source.is_some() || request.tenant.is_some();
            return if asked { Err(RequestError::NoDirectory) } else { Ok(runs) };
        }
        let mirror = self.sources.store.snapshot();
        let tenants: Vec<_> = match request.tenant {
            Some(tenant) if mirror.tenant(tenant).is_none() => {
                return Err(RequestError::UnknownTenant(tenant));
            }
            Some(tenant) => vec![SourceKey::directory(tenant)],
            None => mirror.tenants().map(|it| SourceKey::directory(it.tenant.id)).collect(),
        };
        runs.extend(self.all(tenants, request.full, &progress).await?);
        Ok(runs)
    }

    async fn all(
        &self,
        keys: impl IntoIterator<Item = SourceKey>,
        full: bool,
        progress: &mpsc::Sender<Progress>,
    ) -> Result<Vec<Run>, RequestError> {
        let mut waiting = Vec::new();
        for key in keys {
            let (done, run) = oneshot::channel();
            let wish = Wish { full, progress: progress.clone(), done };
            self.commands
                .send(Command::Run(key, wish))
                .await
                .map_err(|_closed| RequestError::Stopping)?;
            waiting.push(run);
        }
        let mut runs = Vec::with_capacity(waiting.len());
        for run in waiting {
            runs.push(run.await.map_err(|_closed| RequestError::Stopping)?);
        }
        Ok(runs)
    }

    /// Asks for a run soon. Many nudges make one more run; while the source is failing they do not
    /// defeat its backoff. A nudge that finds the queue full is dropped: the clock comes anyway.
    pub fn nudge(&self, key: SourceKey, trigger: Trigger) {
        self.hint(Command::Nudge { key, trigger }, key);
    }

    /// As [`Self::nudge`], for a source that is failing too: somebody has mended what it failed for.
    pub fn look_now(&self, key: SourceKey, trigger: Trigger) {
        self.hint(Command::LookNow { key, trigger }, key);
    }

    fn hint(&self, command: Command, key: SourceKey) {
        if self.commands.try_send(command).is_err() {
            warn!(run.source = %key.source, "Too many nudges wait: one was dropped, the schedule goes on");
        }
    }

    /// How often the licence report is read.
    ///
    /// # Errors
    ///
    /// Why it is not.
    pub fn reports_every(&self) -> Result<SignedDuration, RequestError> {
        self.sources.reports.every()
    }

    /// Puts what is counted about runs into a registry.
    pub fn register(&self, registry: &mut Registry) {
        self.metrics.register(registry);
        self.sources.freshness.register(registry);
    }

    /// How old changes were when they were committed.
    pub fn ages(&self) -> Vec<Summary> {
        self.sources.freshness.summary()
    }

    /// Every source and scope, and what it is doing.
    pub fn status(&self) -> Arc<Vec<TaskStatus>> {
        Arc::new(locked(&self.agenda).status(Instant::now(), (self.sources.clock)()))
    }
}

/// The scheduler's task and the door to it.
pub fn scheduler(
    sources: Sources,
    schedule: Schedule,
    cancel: CancellationToken,
) -> (SyncHandle, impl Future<Output = Result<(), SyncError>> + Send) {
    let (commands, inbox) = mpsc::channel(COMMANDS_MAX);
    let metrics = Metrics::default();
    let agenda = Shared::default();
    let handle = SyncHandle {
        commands,
        agenda: Arc::clone(&agenda),
        metrics: metrics.clone(),
        sources: sources.clone(),
    };
    let (lanes, runs) = (Lanes::new(), JoinSet::new());
    let scheduler = Scheduler { sources, schedule, agenda, lanes, runs, report: None, metrics };
    (handle, scheduler.run(inbox, cancel))
}

type Ended = (SourceKey, Performed);

/// How long after the start the licence report is read at the earliest: it explains, and Partner
/// Center takes minutes to make it.
const REPORT_AFTER: Duration = Duration::from_mins(5);

struct Scheduler {
    sources: Sources,
    schedule: Schedule,
    agenda: Shared,
    lanes: Arc<Lanes>,
    runs: JoinSet<Ended>,
    /// The last run over the licence report.
    report: Option<AbortHandle>,
    metrics: Metrics,
}

impl Scheduler {
    /// Runs until cancelled. Waits are cancellable, runs are not: a run ends by its own timeouts,
    /// so that shutdown never cuts one in two. Only the licence report is not waited for: Partner
    /// Center takes minutes to make it, its one commit happens or not, and what was asked for is found
    /// by its name after the next start.
    async fn run(
        mut self,
        mut inbox: mpsc::Receiver<Command>,
        cancel: CancellationToken,
    ) -> Result<(), SyncError> {
        let mut revisions = self.sources.store.revisions();
        self.adopt(Trigger::Start);
        loop {
            self.begin();
            let due = locked(&self.agenda).first_due();
            tokio::select! {
                biased;
                () = cancel.cancelled() => break,
                Some(ended) = self.runs.join_next() => self.end(ended)?,
                Some(command) = inbox.recv() => self.take(command),
                Ok(()) = revisions.changed() => self.adopt(Trigger::Schedule),
                () = self.lanes.freed() => {}
                () = wait_until(due) => {}
            }
        }
        if let Some(report) = self.report.take() {
            report.abort();
        }
        while let Some(ended) = self.runs.join_next().await {
            if !ended.as_ref().is_err_and(tokio::task::JoinError::is_cancelled) {
                self.end(ended)?;
            }
        }
        Ok(())
    }

    /// Puts every source and every tenant that is known by now on the agenda.
    ///
    /// The first runs of many tenants are spread, so that they do not all ask at once: those that
    /// were never read first, then those whose last complete read is the longest ago.
    fn adopt(&mut self, trigger: Trigger) {
        let now = Instant::now();
        let mirror = self.sources.store.mirror();
        let mut agenda = locked(&self.agenda);
        agenda.add(SourceKey::SUBSCRIPTIONS, trigger, now);
        // Tenants are never forgotten, so as many are the same.
        let others = 1 + usize::from(self.adopt_reports(&mut agenda, &mirror, trigger));
        let as_before = mirror.tenant_count().saturating_add(others) == agenda.len();
        if as_before || !needs_directory(&self.sources.catalog) {
            return;
        }
        let tenants = mirror.tenants();
        let mut new: Vec<_> = tenants
            .map(|it| (it.directory.last_complete, SourceKey::directory(it.tenant.id)))
            .filter(|(_, key)| !agenda.has(*key))
            .collect();
        new.sort_unstable();
        let every = Duration::try_from(self.schedule.directory).unwrap_or_default();
        let mut due = now;
        for (at, (read, key)) in new.into_iter().enumerate() {
            agenda.add(key, trigger, due);
            due += first_runs_apart(read.is_some(), at, every);
        }
    }

    /// Puts the licence report on the agenda, if it is read at all: a period after the last run, not
    /// at each start, and never before what decides had its turn.
    fn adopt_reports(&self, agenda: &mut Agenda, mirror: &Mirror, trigger: Trigger) -> bool {
        let Ok(every) = self.sources.reports.every() else { return false };
        let (key, now) = (SourceKey::REPORTS, (self.sources.clock)());
        let last = mirror.source(key).and_then(|it| it.last_run);
        let due = last.and_then(|it| it.checked_add(every).ok()).unwrap_or(now);
        let wait = Duration::try_from(due.duration_since(now)).unwrap_or_default();
        agenda.add(key, trigger, Instant::now() + wait.max(REPORT_AFTER));
        true
    }

    fn take(&mut self, command: Command) {
        let now = Instant::now();
        match command {
            Command::Run(key, wish) => {
                let missed = locked(&self.agenda).wish(key, wish, now).err();
                if let Some(wish) = missed {
                    // A tenant that was introduced a moment ago, before this task heard of it.
                    self.adopt(Trigger::Schedule);
                    drop(locked(&self.agenda).wish(key, wish, now));
                }
            }
            Command::Nudge { key, trigger } => locked(&self.agenda).nudge(key, trigger, now),
            Command::LookNow { key, trigger } => {
                let known = locked(&self.agenda).look_now(key, trigger, now);
                if !known {
                    // A tenant that was heard of a moment ago: to be adopted is to be read.
                    self.adopt(trigger);
                }
            }
        }
    }

    /// Begins what is due, as far as there is room.
    fn begin(&mut self) {
        locked(&self.agenda).call_due(Instant::now());
        while let Some(place) = self.lanes.enter() {
            let begun = locked(&self.agenda).begin(|| self.sources.store.next_run());
            let Some((key, id, next)) = begun else { return };
            let begun = Begun {
                id,
                key,
                trigger: next.trigger.unwrap_or(Trigger::Schedule),
                full: next.full || key.tenant.is_none(),
                started: (self.sources.clock)(),
            };
            let span = info_span!("run", run.id = %id, run.source = %key.source, tenant.id = key.tenant.map(tracing::field::display));
            let gauge = Gauge::new(key, next.progress).woken_by(begun.trigger).at(place);
            let run = self.runs.spawn(one(self.sources.clone(), begun, gauge).instrument(span));
            if key.source == Source::Reports {
                self.report = Some(run);
            }
        }
    }

    fn end(&mut self, ended: Result<Ended, tokio::task::JoinError>) -> Result<(), SyncError> {
        let (key, result) = ended.map_err(SyncError::Panicked)?;
        let (run, failure) = result?;
        self.metrics.ended(&run);
        let every = match key.source {
            Source::Subscriptions => self.schedule.subscriptions,
            Source::Reports => self.sources.reports.every().unwrap_or(self.schedule.subscriptions),
            Source::Directory | Source::Groups => self.schedule.directory,
        };
        let mirror = self.sources.store.mirror();
        let failures = mirror.source(key).map_or(1, |it| it.failures);
        let lifecycle = key.tenant.and_then(|tenant| next_lifecycle(mirror.tenant(tenant)?));
        drop(mirror);
        let mut rest = jittered(rest_after(every, failures, failure), run.id);
        if failure.is_none() {
            // A failure rests as long as it asks for, whatever is due.
            rest = rest.min(until_lifecycle(lifecycle, run.ended));
        }
        locked(&self.agenda).end(&run, failure.is_some(), rest, Instant::now());
        Ok(())
    }
}

/// Between the first runs of two tenants: those that nothing is known of soon after each other, the
/// others over a good part of a period if there are many.
fn first_runs_apart(known: bool, at: usize, every: Duration) -> Duration {
    const SOON: Duration = Duration::from_millis(2);
    const AT_ONCE: usize = 256;
    if known && at >= AT_ONCE { (every / 20_000).max(SOON) } else { SOON }
}

/// How long until just after a SKU is due to change its status; what is past says nothing.
fn until_lifecycle(at: Option<Timestamp>, now: Timestamp) -> Duration {
    const JUST_AFTER: SignedDuration = SignedDuration::from_secs(60);
    let ahead = at.filter(|at| *at > now).map(|at| at.duration_since(now));
    let until = ahead.map(|it| it.saturating_add(JUST_AFTER));
    until.and_then(|it| Duration::try_from(it).ok()).unwrap_or(Duration::MAX)
}

/// When the next SKU of ours is due to change its status.
fn next_lifecycle(view: &Arc<TenantView>) -> Option<Timestamp> {
    view.skus.iter().filter_map(|it| it.next_lifecycle).min()
}

/// A rest up to a tenth longer, so that runs that began together drift apart.
fn jittered(rest: Duration, run: RunId) -> Duration {
    let spread = u32::try_from(run.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 54).unwrap_or(0);
    rest.saturating_add((rest / 10_240).saturating_mul(spread))
}

async fn wait_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn just_after_a_sku_changes_its_status_is_when_to_look() {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let at = |s: i64| Some(Timestamp::from_second(1_800_000_000 + s).unwrap());
        assert_eq!(until_lifecycle(at(300), now), Duration::from_mins(6));
        assert_eq!(until_lifecycle(at(1), now), Duration::from_secs(61));
        for none in [None, at(0), at(-300)] {
            assert_eq!(until_lifecycle(none, now), Duration::MAX);
        }
    }
}
