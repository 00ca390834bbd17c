//! Brings commits to disk, all or nothing, one group at a time. Knows no threads.
//!
//! A group of at most [`Limits::whole`] bytes is one transaction of the engine over facts, cursors,
//! journal, runs and manifest. A larger one would keep more unsynced than the engine survives, so it
//! is *staged*:
//!
//! 1. Its writes go to the table `stage`, its chunks of changes to the journal beyond the number
//!    where the manifest says that it ends, with a barrier every [`Limits::stage_bytes`].
//! 2. One small transaction *flips*: the new manifest, which counts everything as it will be, and the
//!    mark that the stage counts. Then the group is durable and is published.
//! 3. The stage is put in place, piece by piece, each moved in a transaction of its own; last the
//!    mark goes.
//!
//! After a crash before 2 the stage and the chunks beyond the end are swept; after it, 3 goes on
//! where it stopped. Both happen when the store is opened, before anything is read.

mod decide;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use jiff::{SignedDuration, Timestamp};

use super::StoreError;
use super::engine::{Engine, Order, Write};
use super::inbox::{Arrival, Inbox, Pending};
use super::journal::ChunkHead;
use super::layout::{self, Kind, Table};
use super::outbox::{self, Outbox};
use super::plan::{OddIndex, Plan};
use super::record::{self, ManifestV1, Place, StagedV1};
use super::usage::{PendingUsage, Usage, UsageJob, UsageReply};
use crate::domain::{
    Change, Commit, DeliveryWrite, EventWrite, Holders, Mirror, Receipt, SeatOutcome, SeatRequest,
    TenantUsers, UsageWrite, UserWrites,
};

/// How much is written at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// The most bytes of one transaction that carries a whole group.
    pub(super) whole: usize,
    /// The most bytes between two barriers while staging.
    pub(super) stage_bytes: usize,
    /// The most writes between two barriers while staging.
    pub(super) stage_writes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { whole: 256 << 10, stage_bytes: 64 << 10, stage_writes: 100 }
    }
}

/// How many run numbers are set aside ahead: so many runs can begin before the next commit
/// without one of their numbers being handed out again after a crash.
pub(super) const RUNS_AHEAD: u64 = 256;

/// The clock of the envelopes: the time at which the store was opened, and what has passed since.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stamp {
    opened: Timestamp,
    since: Instant,
}

impl Stamp {
    pub(super) fn new(opened: Timestamp) -> Self {
        Self { opened, since: Instant::now() }
    }

    pub(super) fn now(self) -> Timestamp {
        let passed = SignedDuration::try_from(self.since.elapsed()).unwrap_or_default();
        self.opened.checked_add(passed).unwrap_or(self.opened)
    }
}

/// Writes one group of commits after another.
pub(super) struct Writer {
    pub(super) engine: Arc<dyn Engine>,
    pub(super) mirror: Arc<Mirror>,
    pub(super) manifest: ManifestV1,
    pub(super) odd: OddIndex,
    pub(super) stamp: Stamp,
    pub(super) limits: Limits,
    /// Whether a staged group waits to be put in place.
    pub(super) unsettled: bool,
}

/// Commits on their way to disk together.
pub(super) struct Group {
    before: Arc<Mirror>,
    after: Arc<Mirror>,
    commits: Vec<Commit>,
    webhooks: Pending,
    usage: PendingUsage,
    now: Timestamp,
}

impl Group {
    /// Takes a commit in.
    pub(super) fn add(&mut self, commit: Commit) {
        self.after = Arc::new(self.after.applied(&commit));
        self.commits.push(commit);
    }

    /// Takes a webhook in, seen from after everything that is already in the group.
    pub(super) fn receive(&mut self, inbox: &Inbox, it: Arrival) -> Receipt {
        let (receipt, commit) = self.webhooks.take(inbox, it);
        if let Some(commit) = commit {
            self.add(commit);
        }
        receipt
    }

    /// Takes a commit in that says how far webhooks are.
    pub(super) fn add_with_webhooks(&mut self, inbox: &Inbox, mut commit: Commit) {
        self.webhooks.rebase(inbox, &mut commit);
        self.add(commit);
    }

    /// Does what is asked about usage, seen from after everything that is already in the group.
    pub(super) fn usage(&mut self, usage: &Usage, job: UsageJob) -> UsageReply {
        let (reply, commit) = self.usage.work(usage, job);
        if !commit.usage.is_empty() || !commit.odd.is_empty() {
            self.add(commit);
        }
        reply
    }

    /// Seats a user if there is a seat, seen from after everything that is already in the group.
    pub(super) fn seat(&mut self, it: &SeatRequest) -> SeatOutcome {
        let seating = seating(&self.after, it);
        match seating {
            Seating::Sits => SeatOutcome::Holds,
            Seating::NoneFree => SeatOutcome::NoneFree,
            Seating::AsksAgain | Seating::SitsDown => {
                self.add(seated(&self.after, it, seating == Seating::SitsDown));
                SeatOutcome::Holds
            }
        }
    }

    /// Puts the events that the group tells into it; to be called once nothing more comes.
    pub(super) fn post(&mut self, outbox: &Outbox, inbox: &Inbox) {
        let before = outbox::Before { outbox, inbox, mirror: &self.before, now: self.now };
        let writes = outbox::writes(&before, &self.commits);
        if !writes.is_empty() {
            self.add(Commit { outbox: writes, ..Commit::default() });
        }
    }

    /// Whether there is nothing to write.
    pub(super) fn is_empty(&self) -> bool {
        self.commits.is_empty()
    }

    /// Whether it holds many users, so that nothing more should wait for it.
    pub(super) fn is_large(&self) -> bool {
        let users = |it: &TenantUsers| match &it.writes {
            UserWrites::Patch(writes) => writes.len(),
            UserWrites::Replace(users) => users.len(),
        };
        let large = |it: &Commit| it.users.iter().map(users).sum::<usize>() > 256;
        self.commits.last().is_some_and(large)
    }
}

/// A group that is durable.
pub(super) struct Written {
    pub(super) mirror: Arc<Mirror>,
    pub(super) chunks: Vec<(u64, ChunkHead)>,
    /// What is kept of the records that nobody understood, if that is other than before.
    pub(super) odd: Option<OddIndex>,
    /// What became of webhooks.
    pub(super) inbox: Vec<EventWrite>,
    /// What became of usage.
    pub(super) usage: Vec<UsageWrite>,
    /// What became of events.
    pub(super) outbox: Vec<DeliveryWrite>,
}

/// What a request comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seating {
    /// He sits, and that he asked again is not worth a write.
    Sits,
    /// He sits, and has not asked for long: that he did is remembered.
    AsksAgain,
    /// He gets a seat.
    SitsDown,
    /// There is none.
    NoneFree,
}

/// What becomes of a request; copies nothing.
pub(super) fn seating(mirror: &Mirror, it: &SeatRequest) -> Seating {
    let none = Holders::default();
    let holders = mirror.holders(it.subscription).map_or(&none, |it| it);
    let quantity = it.quantity.unwrap_or(u64::MAX);
    if holders.holds(it.tenant, it.user, quantity, it.release_after, it.now) {
        let every = Holders::touch_every(it.release_after);
        let seat = holders.seat(it.tenant, it.user);
        let again = seat.is_some_and(|seat| it.now.duration_since(seat.last_used) >= every);
        return if again { Seating::AsksAgain } else { Seating::Sits };
    }
    let free = holders.in_use(it.release_after, it.now) < quantity;
    if free { Seating::SitsDown } else { Seating::NoneFree }
}

/// What must be written for a user who sits down or asks again.
fn seated(mirror: &Mirror, it: &SeatRequest, journal: bool) -> Commit {
    let none = Holders::default();
    let before = mirror.holders(it.subscription).map_or(&none, |it| it);
    let holders = before.with(it.tenant, it.user, it.release_after, it.now);
    let who = (it.tenant, it.user);
    let old = before.seat(it.tenant, it.user);
    let new = holders.seat(it.tenant, it.user).filter(|_| journal);
    let change =
        |new| Change::of_held_seat(it.now, it.cause.clone(), it.subscription, who, old, new);
    let changes = new.map(change).into_iter().collect();
    Commit { holders: vec![(it.subscription, holders)], changes, ..Commit::default() }
}

impl Writer {
    /// An empty group.
    pub(super) fn group(&self) -> Group {
        let (before, after) = (Arc::clone(&self.mirror), Arc::clone(&self.mirror));
        let (webhooks, usage) = (Pending::default(), PendingUsage::default());
        Group { before, after, commits: Vec::new(), webhooks, usage, now: self.stamp.now() }
    }

    /// Makes a group durable. When it is staged it is still to be put in place: [`Self::settle`].
    ///
    /// `room` may refuse so many bytes before anything is written.
    ///
    /// # Errors
    ///
    /// What `room` said: nothing was written. Anything else is of the engine and final.
    pub(super) fn write(
        &mut self,
        group: Group,
        next_run: u64,
        room: impl FnOnce(usize) -> Result<(), StoreError>,
    ) -> Result<Written, StoreError> {
        self.settle()?;
        let mut manifest = self.manifest.clone();
        let mut odd = self.odd.clone();
        let next = &mut manifest.journal_next;
        let mut plan = Plan::new(&group.commits, &group.before, &group.after, &mut odd, next)?;
        let bytes = plan.bytes();
        room(bytes)?;
        let now = self.stamp.now();
        manifest.commits = manifest.commits.saturating_add(1);
        manifest.last_commit = Some(now.as_millisecond());
        manifest.run_ceiling = manifest.run_ceiling.max(next_run.saturating_add(RUNS_AHEAD));
        let chunks = std::mem::take(&mut plan.chunks);
        if bytes <= self.limits.whole {
            self.write_whole(plan, &mut manifest, now)?;
        } else {
            self.write_staged(plan, &mut manifest, now)?;
        }
        self.manifest = manifest;
        self.mirror = Arc::clone(&group.after);
        let odd = (odd != self.odd).then_some(odd);
        if let Some(odd) = &odd {
            self.odd = odd.clone();
        }
        let (mut inbox, mut usage, mut outbox) = (Vec::new(), Vec::new(), Vec::new());
        for commit in group.commits {
            inbox.extend(commit.inbox);
            usage.extend(commit.usage);
            outbox.extend(commit.outbox);
        }
        Ok(Written { mirror: group.after, chunks, odd, inbox, usage, outbox })
    }

    fn write_whole(
        &self,
        plan: Plan,
        manifest: &mut ManifestV1,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut writes = Vec::new();
        for record in plan.into_records() {
            let mut none = record::TallyV1::default();
            let tally = manifest.tally(record.table).unwrap_or(&mut none);
            writes.extend(record.cut(&*self.engine, now, tally)?);
        }
        writes.push(manifest_write(manifest, now)?);
        self.engine.apply(&writes)?;
        self.engine.barrier()
    }

    fn write_staged(
        &mut self,
        plan: Plan,
        manifest: &mut ManifestV1,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut batch = Batch::new(&*self.engine, self.limits);
        let mut staged = StagedV1::default();
        for record in plan.into_records() {
            let mut none = record::TallyV1::default();
            let tally = manifest.tally(record.table).unwrap_or(&mut none);
            for write in record.cut(&*self.engine, now, tally)? {
                let direct = write.table == Table::Journal;
                staged.writes = staged.writes.saturating_add(u64::from(!direct));
                batch.push([if direct { write } else { stage(write) }])?;
            }
        }
        batch.finish()?;
        let mark = meta_write(layout::STAGED, Kind::Staged, &staged, now)?;
        self.engine.apply(&[manifest_write(manifest, now)?, mark])?;
        self.engine.barrier()?;
        self.unsettled = true;
        Ok(())
    }

    /// Puts a staged group in place, if one waits for it.
    ///
    /// # Errors
    ///
    /// Of the engine, and final; the group stays durable.
    pub(super) fn settle(&mut self) -> Result<(), StoreError> {
        if self.unsettled {
            settle(&*self.engine, self.limits)?;
            self.unsettled = false;
        }
        Ok(())
    }

    /// Writes the manifest alone, with the number of the next run made exact or set ahead.
    pub(super) fn write_manifest(&mut self, run_ceiling: u64) -> Result<(), StoreError> {
        self.manifest.run_ceiling = run_ceiling;
        self.engine.apply(&[manifest_write(&self.manifest, self.stamp.now())?])?;
        self.engine.barrier()
    }

    /// Removes these records, in several transactions: to be called for what may be gone in part.
    pub(super) fn remove(
        &mut self,
        records: impl Iterator<Item = super::pieces::RecordWrite>,
    ) -> Result<(), StoreError> {
        self.settle()?;
        let now = self.stamp.now();
        let mut manifest = self.manifest.clone();
        let mut writes = Vec::new();
        let mut records = records.peekable();
        while let Some(record) = records.next() {
            if let Some(tally) = manifest.tally(record.table) {
                writes.extend(record.cut(&*self.engine, now, tally)?);
            }
            if writes.len() >= self.limits.stage_writes || records.peek().is_none() {
                writes.push(manifest_write(&manifest, now)?);
                self.engine.apply(&std::mem::take(&mut writes))?;
                self.engine.barrier()?;
                self.manifest = manifest.clone();
            }
        }
        Ok(())
    }
}

/// Writes in transactions of limited size with a barrier after each.
pub(super) struct Batch<'a> {
    engine: &'a dyn Engine,
    limits: Limits,
    writes: Vec<Write>,
    bytes: usize,
}

impl<'a> Batch<'a> {
    pub(super) fn new(engine: &'a dyn Engine, limits: Limits) -> Self {
        Self { engine, limits, writes: Vec::new(), bytes: 0 }
    }

    /// Takes writes that belong into one transaction.
    pub(super) fn push(
        &mut self,
        writes: impl IntoIterator<Item = Write>,
    ) -> Result<(), StoreError> {
        for write in writes {
            self.bytes = self.bytes.saturating_add(write.bytes());
            self.writes.push(write);
        }
        let full = self.bytes >= self.limits.stage_bytes;
        if full || self.writes.len() >= self.limits.stage_writes { self.finish() } else { Ok(()) }
    }

    /// Writes what is left.
    pub(super) fn finish(&mut self) -> Result<(), StoreError> {
        if !self.writes.is_empty() {
            self.engine.apply(&self.writes)?;
            self.engine.barrier()?;
            self.writes.clear();
            self.bytes = 0;
        }
        Ok(())
    }
}

/// Puts in place what was staged: called again after a crash it goes on where it stopped.
pub(super) fn settle(engine: &dyn Engine, limits: Limits) -> Result<(), StoreError> {
    loop {
        let mut moved = Vec::new();
        let mut bytes = 0_usize;
        engine.scan(Table::Stage, &[], Order::Ascending, &mut |key, value| {
            let write = unstage(key, value)?;
            bytes = bytes.saturating_add(write.bytes());
            moved.push(Write { table: Table::Stage, key: key.to_vec(), value: None });
            moved.push(write);
            let full = bytes >= limits.stage_bytes || moved.len() >= limits.stage_writes;
            Ok(if full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        if moved.is_empty() {
            break;
        }
        engine.apply(&moved)?;
        engine.barrier()?;
    }
    let key = layout::piece(layout::STAGED, 0);
    engine.apply(&[Write { table: Table::Meta, key, value: None }])?;
    engine.barrier()
}

/// Removes all keys of a table from one on, in limited transactions.
pub(super) fn sweep(
    engine: &dyn Engine,
    limits: Limits,
    table: Table,
    from: &[u8],
) -> Result<(), StoreError> {
    loop {
        let mut gone = Vec::new();
        engine.scan(table, from, Order::Ascending, &mut |key, _| {
            gone.push(Write { table, key: key.to_vec(), value: None });
            let full = gone.len() >= limits.stage_writes;
            Ok(if full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        if gone.is_empty() {
            return Ok(());
        }
        engine.apply(&gone)?;
        engine.barrier()?;
    }
}

/// A write as it waits in the staging table.
fn stage(it: Write) -> Write {
    let key = [&[it.table.number()][..], &it.key].concat();
    let value = match it.value {
        Some(value) => [&[1][..], &value].concat(),
        None => vec![0],
    };
    Write { table: Table::Stage, key, value: Some(value) }
}

fn unstage(key: &[u8], value: &[u8]) -> Result<Write, StoreError> {
    let wrong = || StoreError::damaged("the staging table holds something else");
    let (table, key) = key.split_first().ok_or_else(wrong)?;
    let table = Table::from_number(*table).ok_or_else(wrong)?;
    let value = match value.split_first().ok_or_else(wrong)? {
        (1, value) => Some(value.to_vec()),
        (0, []) => None,
        _ => return Err(wrong()),
    };
    Ok(Write { table, key: key.to_vec(), value })
}

/// The write of the manifest.
pub(super) fn manifest_write(it: &ManifestV1, now: Timestamp) -> Result<Write, StoreError> {
    meta_write(layout::MANIFEST, Kind::Manifest, it, now)
}

fn meta_write(
    key: &[u8],
    kind: Kind,
    it: &impl serde::Serialize,
    now: Timestamp,
) -> Result<Write, StoreError> {
    let key = layout::piece(key, 0);
    let place = Place { table: Table::Meta, key: &key, kind, piece: 0, pieces: 1 };
    let value = record::seal(place, now, &record::encode(it)?);
    Ok(Write { table: Table::Meta, key, value: Some(value) })
}
