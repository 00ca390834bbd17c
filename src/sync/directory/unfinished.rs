//! A long reading of a tenant, its first enumeration or a sweep, is laid down part by part, so that a
//! run that is cut off, by a restart or by Microsoft, is gone on with at its page and not begun anew.
//! Parts lie aside: no answer stands on them before the last page has come.
//!
//! What the parts say is old by then, and may be older than a look-up that was answered since. So an
//! old word is believed where changes read afterwards, or the mirror, say the same; of whom it says
//! something else he is asked for by name.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use futures_util::future::BoxFuture;
use jiff::SignedDuration;
use tracing::{debug, info, warn};

use super::reader::{Reader, Whole};
use crate::domain::{Commit, OddRecord, ReadWrite, Said, Sequence, TenantId, Unfinished, UserId};
use crate::microsoft::Link;
use crate::store::{Store, StoreError};
use crate::sync::reading::{Reading, Relevant};
use crate::sync::upstream::DirectoryReads;

/// After how long a reading is begun anew rather than gone on with: its page token will have died,
/// and what its first pages said is old.
const STALE: SignedDuration = SignedDuration::from_hours(24);

/// Each so many runs in a row that failed, a reading is begun anew rather than gone on with: where it
/// stood may be what fails, in words that do not say so.
const TRIES: u32 = 8;

/// Where parts are laid down: the store, or what stands for it in a simulation.
pub(in crate::sync) trait Desk: Sync {
    /// Makes a commit durable.
    fn keep(&self, commit: Commit) -> BoxFuture<'_, Result<(), StoreError>>;

    /// The users of one part, counted from 1.
    fn part(&self, tenant: TenantId, part: u32) -> BoxFuture<'_, Result<Part, StoreError>>;
}

type Part = Vec<(UserId, Said)>;

impl Desk for Store {
    fn keep(&self, commit: Commit) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.commit(commit))
    }

    fn part(&self, tenant: TenantId, part: u32) -> BoxFuture<'_, Result<Part, StoreError>> {
        let store = self.clone();
        Box::pin(async move {
            let read = tokio::task::spawn_blocking(move || store.laid_down(tenant, part));
            read.await.unwrap_or(Err(StoreError::Closed))
        })
    }
}

/// A long reading that is laid down as it goes.
pub(super) struct Laying<'a, G> {
    reader: &'a Reader<'a, G>,
    read: Unfinished,
    /// Odd records of this run that are in no part yet, counted from here.
    odd_kept: usize,
    /// Rows read when the last part was laid down.
    laid_at: u64,
    starts: u32,
}

impl<'a, G: DirectoryReads> Laying<'a, G> {
    /// One from the beginning.
    pub(super) fn new(reader: &'a Reader<'a, G>, of: Sequence, relevant: &Relevant) -> Self {
        let read = Unfinished {
            of,
            started: reader.begun.started,
            catalog: reader.with.catalog.fingerprint(),
            next: Arc::from(""),
            seen: 0,
            odd: 0,
            passed_over: relevant.passed_over().collect(),
            parts: reader.parts.load(Relaxed),
        };
        Self { reader, read, odd_kept: 0, laid_at: 0, starts: 0 }
    }

    /// The one that was cut off, if it can be gone on with: where it stood and what it had read, each
    /// word as `now_said` says that it stands now.
    ///
    /// That parts lie there means that no run of the tenant has ended since, save those that read what
    /// changed: what they brought is in the mirror, and old words that say otherwise are asked about.
    pub(super) async fn resumed(
        reader: &'a Reader<'a, G>,
        of: Sequence,
        relevant: &Relevant,
        now_said: impl Fn(UserId, Said) -> Said,
    ) -> Option<(Self, Reading, Link)> {
        let read = reader.with.unfinished.as_deref()?;
        let now = reader.begun.started;
        let failures = reader.view.directory.failures;
        let fits = read.of == of
            && (failures == 0 || !failures.is_multiple_of(TRIES))
            && read.catalog == reader.with.catalog.fingerprint()
            && read.started <= now
            && now.duration_since(read.started) < STALE
            && !read.passed_over.iter().any(|it| relevant.is_ours(*it));
        let link = Link::after(None, read.next.as_ref().into(), false).ok().filter(|_| fits)?;
        let mut reading = reader.list().in_parts();
        for part in 1..=read.parts {
            match reader.with.desk.part(reader.tenant, part).await {
                Ok(users) => {
                    let now_said = |(user, said)| (user, now_said(user, said));
                    reading.take_part(users.into_iter().map(now_said), relevant);
                }
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    warn!(
                        error,
                        "What was read of a large tenant before cannot be read back: beginning anew"
                    );
                    return None;
                }
            }
        }
        reading.seen = read.seen;
        info!(
            tenant.id = %reader.tenant, run.seen = read.seen,
            "Going on with the reading of a tenant where it was cut off"
        );
        // From here on those are passed over that are listed now.
        let passed_over = read.passed_over.iter().copied().chain(relevant.passed_over());
        let passed_over: BTreeSet<_> = passed_over.collect();
        let read = Unfinished { passed_over: passed_over.into_iter().collect(), ..read.clone() };
        let laying = Self { reader, laid_at: read.seen, read, odd_kept: 0, starts: 0 };
        Some((laying, reading, link))
    }

    /// Lays down what came since the part before, if that is worth a part.
    ///
    /// What cannot be written down costs only that it is read again after a restart.
    pub(super) async fn lay_down(&mut self, reading: &mut Reading, next: &Link, odd: &[OddRecord]) {
        let rows = self.reader.with.sizes.part_rows;
        if reading.seen.saturating_sub(self.laid_at) < rows {
            return;
        }
        let new = odd.get(self.odd_kept..).unwrap_or_default();
        let read = Unfinished {
            next: next.as_str().into(),
            seen: reading.seen,
            odd: self.read.odd.saturating_add(u64::try_from(new.len()).unwrap_or(0)),
            parts: self.read.parts.saturating_add(1),
            ..self.read.clone()
        };
        let users = reading.part();
        let step =
            ReadWrite::LaidDown { tenant: self.reader.tenant, read: Arc::new(read.clone()), users };
        let commit = Commit { reads: vec![step], odd: new.to_vec(), ..Commit::default() };
        match self.reader.with.desk.keep(commit).await {
            Ok(()) => {
                self.reader.parts.store(read.parts, Relaxed);
                self.read = read;
                self.odd_kept = odd.len();
            }
            Err(error) => {
                // Its users are in no part: from here on nothing is laid down.
                let error = &error as &dyn std::error::Error;
                debug!(error, "What was read of a large tenant so far could not be laid down");
                reading.part_no_more();
                self.laid_at = u64::MAX;
                return;
            }
        }
        self.laid_at = reading.seen;
    }

    /// Takes away what lies there.
    pub(super) async fn clear(&mut self) {
        if self.read.parts > 0 {
            let step = cleared(self.reader.tenant, self.read.parts);
            let commit = Commit { reads: vec![step], ..Commit::default() };
            if let Err(error) = self.reader.with.desk.keep(commit).await {
                let error = &error as &dyn std::error::Error;
                debug!(error, "What was read of a large tenant before could not be removed");
                self.laid_at = u64::MAX;
                return;
            }
        }
        self.reader.parts.store(0, Relaxed);
        self.read.parts = 0;
        self.laid_at = 0;
    }

    /// Begins anew, since a page token died.
    pub(super) fn start_over(&mut self) {
        self.starts = self.starts.saturating_add(1);
        (self.read.odd, self.odd_kept) = (0, 0);
    }

    pub(super) fn has_started_over(&self) -> bool {
        self.starts > 0
    }

    /// The whole, once its last page has come.
    pub(super) fn ended(self, reading: Reading) -> Whole {
        // Those of this run are counted with it.
        let odd_before = self.read.odd.saturating_sub(u64::try_from(self.odd_kept).unwrap_or(0));
        Whole { reading, odd_before, began: self.read.started }
    }
}

/// The step that takes parts away.
pub(super) fn cleared(tenant: TenantId, parts: u32) -> ReadWrite {
    ReadWrite::Cleared { tenant, parts }
}
