//! The one thread that writes: takes jobs, makes groups of them durable, publishes, answers.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};

use super::engine::Engine;
use super::export::{self, Content, ExportReport, History};
use super::folder::CommitCount;
use super::inbox::Arrival;
use super::journal::{self, Heads};
use super::layout::{self, Kind, Table};
use super::licenses::{DecideJob, Decided};
use super::pieces::RecordWrite;
use super::rebuild::caught;
use super::redact::Redaction;
use super::usage::{UsageJob, UsageReply};
use super::writer::Writer;
use super::{Shared, StoreError};
use crate::domain::{Commit, Receipt, SeatOutcome, SeatRequest};

/// Where an answer goes.
pub(super) type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// What the thread is asked to do.
pub(super) enum Job {
    Commit(Box<Commit>, Reply<()>),
    Decide(DecideJob, Reply<Decided>),
    Seat(Box<SeatRequest>, Reply<SeatOutcome>),
    Receive(Box<Arrival>, Reply<Receipt>),
    Usage(Box<UsageJob>, Reply<UsageReply>),
    Prune(Timestamp, Reply<Pruned>),
    Redact(Box<Redaction>, Reply<usize>),
    Export(Timestamp, Reply<ExportReport>),
    Backup(Timestamp, std::path::PathBuf, Reply<ExportReport>),
    Close(Reply<()>),
}

/// What was removed from the sync log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Runs.
    pub runs: usize,
    /// Chunks of changes.
    pub chunks: usize,
}

/// How many jobs may wait; askers wait for a place beyond that.
pub(super) const QUEUE: usize = 1_024;

/// How many jobs become durable together at most.
const GROUP: usize = 512;

/// How much of the journal and of the runs goes into an export.
const EXPORT_TAIL: usize = 8 << 20;

enum Waiter {
    Commit(Reply<()>),
    Decide(Decided, Reply<Decided>),
    Seat(SeatOutcome, Reply<SeatOutcome>),
    Receive(Receipt, Reply<Receipt>),
    Usage(UsageReply, Reply<UsageReply>),
}

impl Waiter {
    /// Answers; nobody may be listening any more.
    fn answer(self, result: Result<(), StoreError>) {
        match self {
            Self::Commit(reply) => drop(reply.send(result)),
            Self::Decide(decided, reply) => drop(reply.send(result.map(|()| decided))),
            Self::Seat(outcome, reply) => drop(reply.send(result.map(|()| outcome))),
            Self::Receive(receipt, reply) => drop(reply.send(result.map(|()| receipt))),
            Self::Usage(said, reply) => drop(reply.send(result.map(|()| said))),
        }
    }
}

/// The thread's own.
pub(super) struct Committer {
    pub(super) shared: Arc<Shared>,
    pub(super) writer: Writer,
    pub(super) count: CommitCount,
    pub(super) jobs: mpsc::Receiver<Job>,
}

impl Committer {
    /// Works until told to close or until all handles are gone.
    pub(super) fn run(mut self) {
        let mut next = None;
        loop {
            let Some(job) = next.take().or_else(|| self.jobs.blocking_recv()) else { break };
            match job {
                Job::Commit(..)
                | Job::Decide(..)
                | Job::Seat(..)
                | Job::Receive(..)
                | Job::Usage(..) => {
                    next = self.group(job);
                }
                Job::Prune(before, reply) => drop(reply.send(self.prune(before))),
                Job::Redact(what, reply) => drop(reply.send(self.redact(&what))),
                Job::Export(now, reply) => drop(reply.send(self.export(now))),
                Job::Backup(_, _, reply) if reply.is_closed() => {}
                Job::Backup(now, path, reply) => {
                    if reply.send(self.backup(now, &path)).is_err() {
                        // Whoever asked has left: the signing keys are in it.
                        drop(std::fs::remove_file(&path));
                    }
                }
                Job::Close(reply) => {
                    let result = self.close();
                    // The engine goes before the answer: whoever waits may open it again at once.
                    let Self { shared, writer, mut jobs, .. } = self;
                    shared.forget_engine();
                    drop(writer);
                    shared.folder.unlock();
                    jobs.close();
                    drop(reply.send(result));
                    return;
                }
            }
        }
        self.shared.forget_engine();
    }

    /// Makes this job and those that wait behind it durable; returns one that is no commit.
    fn group(&mut self, first: Job) -> Option<Job> {
        let mut group = self.writer.group();
        let mut waiters = Vec::new();
        let mut next = Some(first);
        let mut other = None;
        while let Some(job) = next.take() {
            match job {
                Job::Commit(commit, reply) => {
                    group.add_with_webhooks(&self.shared.inbox(), *commit);
                    waiters.push(Waiter::Commit(reply));
                }
                Job::Decide(decide, reply) => {
                    // A fault in what decides is its asker's alone: nothing is written for him.
                    match caught(|| Ok(group.decide(&self.shared.usage(), decide))) {
                        Ok(decided) => waiters.push(Waiter::Decide(decided, reply)),
                        Err(_panic) => drop(reply.send(Err(StoreError::Closed))),
                    }
                }
                Job::Seat(request, reply) => {
                    waiters.push(Waiter::Seat(group.seat(&request), reply));
                }
                Job::Receive(arrival, reply) => {
                    let receipt = group.receive(&self.shared.inbox(), *arrival);
                    waiters.push(Waiter::Receive(receipt, reply));
                }
                Job::Usage(job, reply) => {
                    let said = group.usage(&self.shared.usage(), *job);
                    waiters.push(Waiter::Usage(said, reply));
                }
                job @ (Job::Prune(..)
                | Job::Redact(..)
                | Job::Export(..)
                | Job::Backup(..)
                | Job::Close(..)) => {
                    other = Some(job);
                    break;
                }
            }
            if waiters.len() < GROUP && !group.is_large() {
                next = self.jobs.try_recv().ok();
            }
        }
        let result = if group.is_empty() { Ok(()) } else { self.write(group) };
        for waiter in waiters {
            waiter.answer(result.clone());
        }
        let settled = self.attempt(Writer::settle);
        drop(settled);
        other
    }

    fn write(&mut self, mut group: super::writer::Group) -> Result<(), StoreError> {
        let shared = Arc::clone(&self.shared);
        group.post(&shared.outbox(), &shared.inbox());
        let next_run = shared.next_run.load(Ordering::Relaxed);
        let written =
            self.attempt(|writer| writer.write(group, next_run, |bytes| shared.room_for(bytes)))?;
        // It is durable: a count that cannot be written stops the next one.
        let counted = self.count.note(self.writer.manifest.commits);
        self.shared.publish(written, &self.writer.manifest);
        if let Err(error) = counted {
            self.shared.judge(error);
        }
        Ok(())
    }

    /// Does what writes. A failure of the engine is final: what it says of later writes cannot be
    /// believed.
    pub(super) fn attempt<T>(
        &mut self,
        work: impl FnOnce(&mut Writer) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.shared.not_failed()?;
        let writer = &mut self.writer;
        caught(|| work(writer)).map_err(|error| self.shared.judge(error))
    }

    fn prune(&mut self, before: Timestamp) -> Result<Pruned, StoreError> {
        let chunks: Vec<u64> = {
            let heads = self.shared.heads();
            heads.iter().filter(|(_, it)| it.last < before).map(|(it, _)| *it).collect()
        };
        let runs = old_runs(&*self.writer.engine, before)?;
        let pruned = Pruned { runs: runs.len(), chunks: chunks.len() };
        let gone = |table, key, kind| RecordWrite { table, key, kind, payload: None };
        let of_journal =
            chunks.iter().map(|it| gone(Table::Journal, layout::chunk(*it), Kind::Chunk));
        let of_runs = runs.into_iter().map(|it| gone(Table::Runs, it, Kind::Run));
        self.attempt(|writer| writer.remove(of_journal.chain(of_runs)))?;
        self.shared.change_heads(|heads: &mut Heads| {
            for it in &chunks {
                heads.remove(it);
            }
        });
        Ok(pruned)
    }

    fn export(&mut self, now: Timestamp) -> Result<ExportReport, StoreError> {
        let folder = self.shared.folder.exports();
        let path = export::next_path(&folder);
        let report = self.write_file(now, &path, History::Tail(EXPORT_TAIL), None)?;
        export::rotate(&folder)?;
        self.shared.exported(now);
        Ok(report)
    }

    fn backup(
        &mut self,
        now: Timestamp,
        path: &std::path::Path,
    ) -> Result<ExportReport, StoreError> {
        let ring = self.shared.folder.path().join(super::KeyRing::FILE);
        let keys = std::fs::read(&ring).map_err(StoreError::folder("read", ring))?;
        self.write_file(now, path, History::All, Some(keys))
    }

    fn write_file(
        &mut self,
        now: Timestamp,
        path: &std::path::Path,
        history: History,
        keys: Option<Vec<u8>>,
    ) -> Result<ExportReport, StoreError> {
        // A full disk would end all writing; a missing copy does not.
        let bytes = usize::try_from(self.writer.manifest.live_bytes() / 4).unwrap_or(usize::MAX);
        self.shared.room_for(bytes)?;
        self.attempt(Writer::settle)?;
        let engine = &*self.writer.engine;
        let content = Content { engine, manifest: &self.writer.manifest, history, keys };
        self.shared.copying.store(true, Ordering::Relaxed);
        let result = caught(|| export::write(&content, now, path));
        self.shared.copying.store(false, Ordering::Relaxed);
        result.map_err(|error| {
            // The database is no longer what was written: the next start rebuilds it.
            let damaged = matches!(error, StoreError::Damaged { .. });
            if damaged { self.shared.judge(error) } else { error }
        })
    }

    /// The last flush: the number of the next run made exact, and an export if there is anything
    /// new.
    fn close(&mut self) -> Result<(), StoreError> {
        let next_run = self.shared.next_run.load(Ordering::Relaxed);
        self.attempt(Writer::settle)?;
        self.attempt(|writer| writer.write_manifest(next_run))?;
        let commits = self.writer.manifest.commits;
        if export::newest_commits(&self.shared.folder.exports()) != Some(commits) {
            self.export(self.writer.stamp.now())?;
        }
        Ok(())
    }
}

fn old_runs(engine: &dyn Engine, before: Timestamp) -> Result<Vec<layout::Key>, StoreError> {
    let mut old = Vec::new();
    super::pieces::scan(engine, Table::Runs, &mut |key, _, payload| {
        if journal::run_in(payload)?.ended < before {
            old.push(key.to_vec());
        }
        Ok(())
    })?;
    Ok(old)
}
