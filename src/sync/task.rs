//! When which run begins: by the clock, by a nudge, by an operator; one code path for all.
//!
//! One task owns the schedule; each run is a task of its own in its `JoinSet`, so a tenant that is
//! slow, throttled or refused delays no other. Two runs of one source and scope never overlap.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use prometheus_client::registry::Registry;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, info_span, warn};

use super::metrics::Metrics;
use super::one::{Performed, one};
use super::progress::Progress;
use super::{Begun, Sources, SyncError, needs_directory, rest_after};
use crate::domain::{Run, RunId, Source, SourceKey, TenantId, TenantView, Trigger};

/// Runs that may be under way at once. High, since most of them wait for Microsoft: what is sent
/// is bounded by the client's own budgets.
const RUNS_AT_ONCE: usize = 256;
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
    status: watch::Receiver<Arc<Vec<TaskStatus>>>,
    metrics: Metrics,
    sources: Sources,
}

/// Why a request cannot be met.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The daemon is shutting down.
    #[error("the daemon is shutting down; start it again and repeat the command")]
    Stopping,
    /// Reports are not read by this version.
    #[error("this version reads no reports; ask for `subscriptions` or `directory`")]
    NoReports,
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

enum Command {
    Run {
        key: SourceKey,
        full: bool,
        progress: Option<mpsc::Sender<Progress>>,
        done: oneshot::Sender<Run>,
    },
    Nudge {
        key: SourceKey,
        trigger: Trigger,
    },
}

impl SyncHandle {
    /// Runs now what is asked for, and waits for runs that began after the call. Subscriptions
    /// come first: they name tenants.
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
            (Some(Source::Reports), _) => return Err(RequestError::NoReports),
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
            let command = Command::Run { key, full, progress: Some(progress.clone()), done };
            self.commands.send(command).await.map_err(|_closed| RequestError::Stopping)?;
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
        if self.commands.try_send(Command::Nudge { key, trigger }).is_err() {
            warn!(run.source = %key.source, "Too many nudges wait: one was dropped, the schedule goes on");
        }
    }

    /// Puts what is counted about runs into a registry.
    pub fn register(&self, registry: &mut Registry) {
        self.metrics.register(registry);
    }

    /// Every source and scope, and what it is doing.
    pub fn status(&self) -> Arc<Vec<TaskStatus>> {
        Arc::clone(&self.status.borrow())
    }
}

/// The scheduler's task and the door to it.
pub fn scheduler(
    sources: Sources,
    schedule: Schedule,
    cancel: CancellationToken,
) -> (SyncHandle, impl Future<Output = Result<(), SyncError>> + Send) {
    let (commands, inbox) = mpsc::channel(COMMANDS_MAX);
    let (publish, status) = watch::channel(Arc::new(Vec::new()));
    let metrics = Metrics::default();
    let handle =
        SyncHandle { commands, status, metrics: metrics.clone(), sources: sources.clone() };
    let scheduler = Scheduler {
        sources,
        schedule,
        slots: BTreeMap::new(),
        ready: VecDeque::new(),
        runs: JoinSet::new(),
        metrics,
        publish,
    };
    (handle, scheduler.run(inbox, cancel))
}

/// One source and scope.
struct Slot {
    state: SlotState,
    due: Instant,
    /// The source is failing: nudges wait for the backoff.
    failing: bool,
    /// Asked for while a run was under way, or waiting for its turn.
    next: Next,
    /// Who waits for the run under way.
    waiting: Vec<oneshot::Sender<Run>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum SlotState {
    Idle,
    Queued,
    Running(RunId),
}

/// What the next run is to do.
#[derive(Default)]
struct Next {
    trigger: Option<Trigger>,
    full: bool,
    progress: Vec<mpsc::Sender<Progress>>,
    waiting: Vec<oneshot::Sender<Run>>,
}

type Ended = (SourceKey, Performed);

struct Scheduler {
    sources: Sources,
    schedule: Schedule,
    slots: BTreeMap<SourceKey, Slot>,
    ready: VecDeque<SourceKey>,
    runs: JoinSet<Ended>,
    metrics: Metrics,
    publish: watch::Sender<Arc<Vec<TaskStatus>>>,
}

impl Scheduler {
    /// Runs until cancelled. Waits are cancellable, runs are not: a run ends by its own timeouts,
    /// so that shutdown never cuts one in two.
    async fn run(
        mut self,
        mut inbox: mpsc::Receiver<Command>,
        cancel: CancellationToken,
    ) -> Result<(), SyncError> {
        let mut revisions = self.sources.store.revisions();
        self.adopt(Trigger::Start);
        loop {
            self.begin_due();
            self.begin_ready();
            self.publish();
            let idle = self.slots.values().filter(|it| it.state == SlotState::Idle);
            let due = idle.map(|it| it.due).min();
            tokio::select! {
                biased;
                () = cancel.cancelled() => break,
                Some(ended) = self.runs.join_next() => self.end(ended)?,
                Some(command) = inbox.recv() => self.take(command),
                Ok(()) = revisions.changed() => self.adopt(Trigger::Schedule),
                () = wait_until(due) => {}
            }
        }
        while let Some(ended) = self.runs.join_next().await {
            self.end(ended)?;
        }
        Ok(())
    }

    /// Makes a slot for every source and every tenant that is known by now.
    ///
    /// The first runs of many tenants are spread, so that they do not all ask at once, now and in
    /// every period after.
    fn adopt(&mut self, trigger: Trigger) {
        let mut keys = vec![SourceKey::SUBSCRIPTIONS];
        if needs_directory(&self.sources.catalog) {
            let mirror = self.sources.store.mirror();
            if mirror.tenants().count().saturating_add(1) == self.slots.len() {
                return; // tenants are never forgotten, so as many are the same
            }
            keys.extend(mirror.tenants().map(|it| SourceKey::directory(it.tenant.id)));
        }
        let now = Instant::now();
        let mut spread = Duration::ZERO;
        for key in keys {
            if self.slots.contains_key(&key) {
                continue;
            }
            let next = Next { trigger: Some(trigger), ..Next::default() };
            let slot = Slot {
                state: SlotState::Idle,
                due: now + spread,
                failing: false,
                next,
                waiting: Vec::new(),
            };
            self.slots.insert(key, slot);
            spread += FIRST_RUNS_APART;
        }
    }

    fn take(&mut self, command: Command) {
        match command {
            Command::Run { key, full, progress, done } => {
                let Some(slot) = self.slots.get_mut(&key) else {
                    return self.adopt_one(key, Command::Run { key, full, progress, done });
                };
                slot.next.trigger = Some(Trigger::Manual);
                slot.next.full |= full;
                slot.next.progress.extend(progress);
                slot.next.waiting.push(done);
                slot.due = Instant::now();
            }
            Command::Nudge { key, trigger } => {
                let Some(slot) = self.slots.get_mut(&key) else { return };
                // While Microsoft is failing, a storm of nudges must not defeat the backoff.
                if !slot.failing {
                    slot.next.trigger.get_or_insert(trigger);
                    slot.due = Instant::now();
                }
            }
        }
    }

    /// A tenant that was introduced a moment ago, before this task heard of it.
    fn adopt_one(&mut self, key: SourceKey, command: Command) {
        self.adopt(Trigger::Schedule);
        if self.slots.contains_key(&key) {
            self.take(command);
        }
    }

    fn begin_due(&mut self) {
        let now = Instant::now();
        for (key, slot) in &mut self.slots {
            if slot.state == SlotState::Idle && slot.due <= now {
                slot.state = SlotState::Queued;
                // Somebody waits for it: before the others.
                if slot.next.waiting.is_empty() {
                    self.ready.push_back(*key);
                } else {
                    self.ready.push_front(*key);
                }
            }
        }
    }

    fn begin_ready(&mut self) {
        while self.runs.len() < RUNS_AT_ONCE {
            let Some(key) = self.ready.pop_front() else { return };
            let Some(slot) = self.slots.get_mut(&key) else { continue };
            let next = std::mem::take(&mut slot.next);
            let id = self.sources.store.next_run();
            slot.state = SlotState::Running(id);
            slot.waiting = next.waiting;
            let begun = Begun {
                id,
                key,
                trigger: next.trigger.unwrap_or(Trigger::Schedule),
                full: next.full || key.tenant.is_none(),
                started: (self.sources.clock)(),
            };
            let span = info_span!("run", run.id = %id, run.source = %key.source, tenant.id = key.tenant.map(tracing::field::display));
            self.runs.spawn(one(self.sources.clone(), begun, next.progress).instrument(span));
        }
    }

    fn end(&mut self, ended: Result<Ended, tokio::task::JoinError>) -> Result<(), SyncError> {
        let (key, result) = ended.map_err(SyncError::Panicked)?;
        let (run, failure) = result?;
        self.metrics.ended(&run);
        let every = match key.source {
            Source::Subscriptions | Source::Reports => self.schedule.subscriptions,
            Source::Directory | Source::Groups => self.schedule.directory,
        };
        let mirror = self.sources.store.mirror();
        let failures = mirror.source(key).map_or(1, |it| it.failures);
        let lifecycle = key.tenant.and_then(|tenant| next_lifecycle(mirror.tenant(tenant)?));
        drop(mirror);
        let mut rest = jittered(rest_after(every, failures, failure), run.id);
        if let Some(at) = lifecycle {
            // Just after a SKU is due to change its status, look.
            let until = at.duration_since(run.ended) + SignedDuration::from_secs(60);
            rest = rest.min(Duration::try_from(until).unwrap_or(Duration::MAX));
        }
        let Some(slot) = self.slots.get_mut(&key) else { return Ok(()) };
        slot.failing = failure.is_some();
        slot.state = SlotState::Idle;
        let again = !slot.next.waiting.is_empty() || (slot.next.trigger.is_some() && !slot.failing);
        slot.due = if again { Instant::now() } else { Instant::now() + rest };
        for waiting in slot.waiting.drain(..) {
            // Whoever asked may have gone away; the run stands in the log all the same.
            drop(waiting.send(run.clone()));
        }
        Ok(())
    }

    fn publish(&self) {
        let (now, instant) = ((self.sources.clock)(), Instant::now());
        let of = |(key, slot): (&SourceKey, &Slot)| TaskStatus {
            key: *key,
            running: match slot.state {
                SlotState::Running(id) => Some(id),
                SlotState::Idle | SlotState::Queued => None,
            },
            next_due: match slot.state {
                SlotState::Idle => {
                    let left = slot.due.saturating_duration_since(instant);
                    SignedDuration::try_from(left).ok().and_then(|left| now.checked_add(left).ok())
                }
                SlotState::Queued | SlotState::Running(_) => None,
            },
        };
        self.publish.send_replace(Arc::new(self.slots.iter().map(of).collect()));
    }
}

/// Between the first runs of two tenants.
const FIRST_RUNS_APART: Duration = Duration::from_millis(2);

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
