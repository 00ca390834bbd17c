//! The durable mirror: the only floor that knows sled.
//!
//! One thread writes ([`committer`]): it takes jobs from a bounded queue, makes as many of them
//! durable together as are waiting, publishes the new [`Mirror`] and answers. Everybody reads the
//! published mirror and waits for nobody. Journal, runs and raw records are read from disk.
//!
//! # On disk
//!
//! - The folder: [`folder`]. The database is sled's; what keeps it whole through a power cut:
//!   [`guard`], an own fsync after each flush ([`engine`]), small values ([`pieces`]) and small
//!   transactions ([`writer`]).
//! - Tables and keys: [`layout`]. Records, versioned and checksummed: [`record`].
//! - A manifest says how many values each table holds and the sum of their hashes, in the same
//!   transaction as the values. At the start everything is read and compared ([`load`]); a
//!   database that is not what was written is moved aside, and the newest export takes its place
//!   ([`rebuild`], [`export`]).

mod committer;
mod cursors;
mod engine;
mod error;
mod export;
mod folder;
mod grouped;
mod guard;
mod inbox;
mod journal;
mod keyring;
mod layout;
mod licenses;
mod load;
mod outbox;
mod pieces;
mod plan;
mod raw;
mod rebuild;
mod record;
mod redact;
mod report;
mod rights;
mod usage;
mod webhook_log;
mod writer;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard};
use std::thread;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot, watch};

use self::committer::{Committer, Job, Reply};
use self::engine::Engine;
use self::folder::Folder;
use self::inbox::Inbox;
use self::journal::Heads;
use self::outbox::Outbox;
use self::plan::OddIndex;
use self::record::ManifestV1;
use self::usage::Usage;
use self::writer::{Limits, RUNS_AHEAD, Seating, Stamp, Writer, Written};
use crate::domain::{Change, Commit, Mirror, Run, RunId, SeatOutcome, SeatRequest};

pub use self::committer::Pruned;
pub use self::error::StoreError;
pub use self::export::ExportReport;
pub use self::guard::{Guard, GuardState};
pub use self::inbox::{Arrival, InboxFigures, WebhookFilter};
pub use self::journal::{ChangeFilter, RunFilter};
pub use self::keyring::{KeyRecord, KeyRing};
pub use self::licenses::{Digester, Once};
pub use self::outbox::{Addressee, Audience, OutboxFigures};
pub use self::rebuild::{Opened, restore_into_empty, verify_backup};
pub use self::redact::Redaction;
pub use self::report::StoreReport;
pub use self::usage::{
    ANSWERS_KEPT, UsageAnswerer, UsageFigures, UsageFilter, UsageOutcome, UsageReceipt,
    UsageRepeat, UsageReport, UsageRequest, UsageVerdict,
};

/// How a store is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreOptions {
    /// Its folder; made if it is not there.
    pub path: PathBuf,
    /// Whether writes survive a power cut.
    pub guard: Guard,
    /// Bytes that must stay free on the disk for a write to be taken; `None` is 1 % of it, at
    /// least 64 MiB and at most 1 GiB.
    pub reserve: Option<u64>,
}

impl StoreOptions {
    /// A store in this folder, as safe as can be.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), guard: Guard::On, reserve: None }
    }
}

/// The durable mirror. A handle: clones are the same store.
#[derive(Clone)]
pub struct Store {
    jobs: mpsc::Sender<Job>,
    shared: Arc<Shared>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("path", &self.shared.folder.path()).finish_non_exhaustive()
    }
}

/// What the handles and the thread share.
struct Shared {
    mirror: ArcSwap<Mirror>,
    revisions: watch::Sender<u64>,
    heads: RwLock<Heads>,
    inbox: RwLock<Inbox>,
    usage: RwLock<Usage>,
    outbox: RwLock<Outbox>,
    odd: RwLock<OddIndex>,
    engine: RwLock<Option<Arc<dyn Engine>>>,
    /// The first failure of a write; nothing is written after it.
    failure: OnceLock<StoreError>,
    figures: Mutex<Figures>,
    next_run: AtomicU64,
    /// While the committer copies the whole store into a file.
    copying: AtomicBool,
    guard: Guard,
    reserve: u64,
    keys: KeyRing,
    keys_moved: Option<PathBuf>,
    /// Last, so that the lock goes when all else is gone.
    folder: Folder,
}

#[derive(Default)]
struct Figures {
    manifest: ManifestV1,
    last_export: Option<Timestamp>,
}

impl Store {
    /// Opens or makes the store, and reads it into memory. Blocking.
    ///
    /// A damaged database is moved aside and the newest export put in its place: [`Opened`] says
    /// so, and it is no error.
    ///
    /// # Errors
    ///
    /// [`StoreError::Folder`], [`StoreError::AlreadyRunning`], [`StoreError::Newer`],
    /// [`StoreError::Guard`]; what is on disk is left as it is.
    #[expect(clippy::needless_pass_by_value, reason = "options are made for one call")]
    pub fn open(options: StoreOptions, now: Timestamp) -> Result<(Self, Opened), StoreError> {
        // Before any thread of sled's starts.
        if options.guard == Guard::On {
            Guard::install()?;
        }
        let folder = Folder::open(&options.path)?;
        folder.harden()?;
        let limits = Limits::default();
        let ready = rebuild::open(&folder, options.guard, limits, now)?;
        let (keys, keys_moved) = KeyRing::open(&folder.path().join(KeyRing::FILE), now)?;
        let manifest = ready.loaded.manifest.unwrap_or_default();
        let next_run = manifest.run_ceiling.max(ready.loaded.last_run.saturating_add(1)).max(1);
        let mirror = Arc::new(ready.loaded.mirror);
        let mut writer = Writer {
            engine: ready.engine,
            mirror: Arc::clone(&mirror),
            manifest,
            odd: ready.loaded.odd,
            stamp: Stamp::new(now),
            limits,
            unsettled: false,
        };
        writer.write_manifest(next_run.saturating_add(RUNS_AHEAD))?;
        match &ready.opened {
            Opened::Loaded => {}
            Opened::Fresh => folder.sync_created()?,
            Opened::Rebuilt { .. } => {
                cursors::forget(&mut writer, next_run)?;
                folder.sync_created()?;
            }
        }
        folder.harden()?;
        let count = folder.count_from(writer.manifest.commits)?;
        let reserve = options.reserve.unwrap_or_else(|| {
            folder.space().map_or(0, |(_, all)| (all / 100).clamp(64 << 20, 1 << 30))
        });
        let shared = Arc::new(Shared {
            mirror: ArcSwap::new(Arc::clone(&writer.mirror)),
            revisions: watch::Sender::new(writer.mirror.revision()),
            heads: RwLock::new(ready.loaded.heads),
            inbox: RwLock::new(ready.loaded.inbox),
            usage: RwLock::new(ready.loaded.usage),
            outbox: RwLock::new(ready.loaded.outbox),
            odd: RwLock::new(writer.odd.clone()),
            engine: RwLock::new(Some(Arc::clone(&writer.engine))),
            failure: OnceLock::new(),
            figures: Mutex::new(Figures { manifest: writer.manifest.clone(), last_export: None }),
            next_run: AtomicU64::new(next_run),
            copying: AtomicBool::new(false),
            guard: options.guard,
            reserve,
            keys,
            keys_moved,
            folder,
        });
        let (jobs, queue) = mpsc::channel(committer::QUEUE);
        let committer = Committer { shared: Arc::clone(&shared), writer, count, jobs: queue };
        thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || committer.run())
            .map_err(StoreError::folder("start the thread that writes", &options.path))?;
        Ok((Self { jobs, shared }, ready.opened))
    }

    /// The facts as they are now, for a short look.
    pub fn mirror(&self) -> arc_swap::Guard<Arc<Mirror>> {
        self.shared.mirror.load()
    }

    /// The facts as they are now, to keep.
    pub fn snapshot(&self) -> Arc<Mirror> {
        self.shared.mirror.load_full()
    }

    /// Takes a commit; returns once it is durable and published. When the caller stops waiting it
    /// happens all the same.
    ///
    /// # Errors
    ///
    /// [`StoreError::DiskFull`]: nothing was written. [`StoreError::WriteFailed`]: it may or may not
    /// be there after a restart, and nothing is written any more. [`StoreError::Closed`].
    pub async fn commit(&self, commit: Commit) -> Result<(), StoreError> {
        self.ask(|reply| Job::Commit(Box::new(commit), reply)).await
    }

    /// Seats a user on a subscription with `coverage = "seats"`: never more than there are seats,
    /// however many ask at once. Returns at once, without a write, when he already sits.
    ///
    /// # Errors
    ///
    /// As of [`Self::commit`].
    pub async fn take_seat(&self, request: SeatRequest) -> Result<SeatOutcome, StoreError> {
        match writer::seating(&self.mirror(), &request) {
            Seating::Sits => return Ok(SeatOutcome::Holds),
            Seating::NoneFree => return Ok(SeatOutcome::NoneFree),
            // Others may be waiting in front of him: it is looked at again when it is his turn.
            Seating::AsksAgain | Seating::SitsDown => {}
        }
        self.ask(|reply| Job::Seat(Box::new(request), reply)).await
    }

    /// The number of the next run. It is not handed out again, not even after a restart.
    pub fn next_run(&self) -> RunId {
        RunId(self.shared.next_run.fetch_add(1, Ordering::Relaxed))
    }

    /// The runs that the filter lets through, oldest first. Blocking: reads the disk.
    ///
    /// # Errors
    ///
    /// [`StoreError::ReadFailed`], [`StoreError::Damaged`], [`StoreError::Closed`].
    pub fn runs(&self, filter: &RunFilter) -> Result<Vec<Run>, StoreError> {
        journal::runs(&*self.shared.engine()?, filter)
    }

    /// The changes that the filter lets through, oldest first. Blocking: reads the disk.
    ///
    /// # Errors
    ///
    /// As of [`Self::runs`].
    pub fn changes(&self, filter: &ChangeFilter) -> Result<Vec<Change>, StoreError> {
        let heads = self.shared.heads().clone();
        journal::changes(&*self.shared.engine()?, &heads, filter)
    }

    /// Since when the journal holds every change; `None` if since the beginning.
    pub fn journal_since(&self) -> Option<Timestamp> {
        let heads = self.shared.heads();
        let Some((first, _)) = heads.first_key_value() else {
            return (self.shared.figures().manifest.journal_next > 0).then_some(Timestamp::MAX);
        };
        let all = heads.keys().zip(*first..).all(|(number, expected)| *number == expected);
        // What was dropped is older than all that was kept.
        if *first == 0 && all { None } else { heads.values().map(|it| it.last).min() }
    }

    /// Wakes after each publish, with the mirror's revision.
    pub fn revisions(&self) -> watch::Receiver<u64> {
        self.shared.revisions.subscribe()
    }

    /// Whether a write would be taken now.
    ///
    /// # Errors
    ///
    /// What a commit would fail with.
    pub fn writable(&self) -> Result<(), StoreError> {
        self.shared.not_failed()?;
        if self.jobs.is_closed() {
            return Err(StoreError::Closed);
        }
        self.shared.room_for(0)
    }

    /// Whether the whole store is being copied into a file now: commits wait for as long as the disk
    /// takes, and nothing is wrong with that.
    pub fn is_copying(&self) -> bool {
        self.shared.copying.load(Ordering::Relaxed)
    }

    /// The store in figures. Blocking: looks at the folder.
    pub fn report(&self) -> StoreReport {
        self.shared.report(self.writable().err())
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        self.shared.folder.path()
    }

    /// The keys that sign our answers.
    pub fn keys(&self) -> &KeyRing {
        &self.shared.keys
    }

    /// Removes runs that ended, and changes learned of, before this moment.
    ///
    /// # Errors
    ///
    /// As of [`Self::commit`]; what was removed stays so.
    pub async fn prune(&self, before: Timestamp) -> Result<Pruned, StoreError> {
        self.ask(|reply| Job::Prune(before, reply)).await
    }

    /// Writes an export that a damaged database is rebuilt from; the last seven are kept. Commits
    /// wait meanwhile, readers do not.
    ///
    /// # Errors
    ///
    /// [`StoreError::Folder`]; [`StoreError::Damaged`] if the database is no longer what was written.
    pub async fn export(&self, now: Timestamp) -> Result<ExportReport, StoreError> {
        self.ask(|reply| Job::Export(now, reply)).await
    }

    /// Writes everything, the signing keys too, into one file: [`restore_into_empty`] reads it.
    /// Commits wait meanwhile, readers do not. It does not stay if nobody waits for it any more.
    ///
    /// # Errors
    ///
    /// As of [`Self::export`].
    pub async fn backup(&self, to: &Path, now: Timestamp) -> Result<ExportReport, StoreError> {
        let mut asking = folder::Unless { done: false, path: to.to_owned() };
        let made = self.ask(|reply| Job::Backup(now, to.to_owned(), reply)).await;
        asking.done = true;
        made
    }

    /// Finishes what is queued, writes an export and lets go of the database. Reads of the mirror
    /// go on; everything else fails with [`StoreError::Closed`]. Again does nothing.
    pub async fn close(&self) {
        // Whatever went wrong was already said to those who wrote; what is durable stays so.
        let (reply, answer) = oneshot::channel();
        if self.jobs.send(Job::Close(reply)).await.is_ok() {
            drop(answer.await);
        }
    }

    async fn ask<T>(&self, job: impl FnOnce(Reply<T>) -> Job) -> Result<T, StoreError> {
        self.shared.not_failed()?;
        let (reply, answer) = oneshot::channel();
        self.jobs.send(job(reply)).await.map_err(|_closed| StoreError::Closed)?;
        answer.await.unwrap_or(Err(StoreError::Closed))
    }
}

impl Shared {
    fn engine(&self) -> Result<Arc<dyn Engine>, StoreError> {
        let engine = self.engine.read().unwrap_or_else(PoisonError::into_inner);
        engine.as_ref().map(Arc::clone).ok_or(StoreError::Closed)
    }

    fn forget_engine(&self) {
        *self.engine.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn heads(&self) -> RwLockReadGuard<'_, Heads> {
        self.heads.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn inbox(&self) -> RwLockReadGuard<'_, Inbox> {
        self.inbox.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn usage(&self) -> RwLockReadGuard<'_, Usage> {
        self.usage.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn change_heads(&self, change: impl FnOnce(&mut Heads)) {
        change(&mut self.heads.write().unwrap_or_else(PoisonError::into_inner));
    }

    fn figures(&self) -> MutexGuard<'_, Figures> {
        self.figures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self, written: Written, manifest: &ManifestV1) {
        let revision = written.mirror.revision();
        self.change_heads(|heads| heads.extend(written.chunks));
        self.inbox.write().unwrap_or_else(PoisonError::into_inner).apply(&written.inbox);
        self.usage.write().unwrap_or_else(PoisonError::into_inner).apply(&written.usage);
        self.outbox.write().unwrap_or_else(PoisonError::into_inner).apply(&written.outbox);
        if let Some(odd) = written.odd {
            *self.odd.write().unwrap_or_else(PoisonError::into_inner) = odd;
        }
        self.figures().manifest = manifest.clone();
        self.mirror.store(written.mirror);
        self.revisions.send_replace(revision);
    }

    fn exported(&self, now: Timestamp) {
        self.figures().last_export = Some(now);
    }

    fn not_failed(&self) -> Result<(), StoreError> {
        self.failure.get().cloned().map_or(Ok(()), Err)
    }

    /// Whether so many bytes may be written: a transaction and what it makes stale takes a few
    /// times its size.
    fn room_for(&self, bytes: usize) -> Result<(), StoreError> {
        let Some((free, _)) = self.folder.space() else { return Ok(()) };
        let needed = u64::try_from(bytes).unwrap_or(u64::MAX).saturating_mul(4);
        if free >= self.reserve.saturating_add(needed) {
            return Ok(());
        }
        Err(StoreError::DiskFull { free_mib: free >> 20, reserve_mib: self.reserve >> 20 })
    }

    /// Remembers an error after which nothing may be written.
    fn judge(&self, error: StoreError) -> StoreError {
        if error.is_transient() {
            return error;
        }
        let what = if let StoreError::WriteFailed { what } = &error {
            Arc::clone(what)
        } else {
            Arc::from(error.to_string())
        };
        self.failure.get_or_init(|| StoreError::WriteFailed { what }).clone()
    }

    fn report(&self, refused: Option<StoreError>) -> StoreReport {
        let (manifest, last_export) = {
            let figures = self.figures();
            (figures.manifest.clone(), figures.last_export)
        };
        let tallies = [manifest.facts, manifest.users, manifest.journal, manifest.runs];
        StoreReport {
            disk_bytes: self.folder.disk_bytes(),
            live_bytes: manifest.live_bytes(),
            free_bytes: self.folder.space().map(|(free, _)| free),
            reserve_bytes: self.reserve,
            guard: self.guard.state(),
            blobs: self.folder.blobs(),
            commits: manifest.commits,
            last_commit: manifest.last_commit.and_then(|it| Timestamp::from_millisecond(it).ok()),
            values: tallies.iter().map(|it| it.count).sum(),
            chunks: self.heads().len(),
            last_export,
            keys_moved: self.keys_moved.clone(),
            refused: refused.map(|it| it.to_string()),
        }
    }
}
