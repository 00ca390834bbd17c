//! Runs and changes: how they are cut into chunks, and how they are asked for.
//!
//! A chunk holds changes of one tenant (or of none) in the order in which they came; its head, of
//! which a copy stays in memory, says of which tenant and time, so that most questions read few.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use jiff::Timestamp;

use super::engine::{Engine, Order};
use super::layout::{self, Kind, Table};
use super::record::{self, ChangeV1, ChunkV1, RunV1};
use super::{StoreError, pieces};
use crate::domain::{Change, Entity, Run, RunId, Source, SubscriptionId, TenantId, UserId};

/// Which runs are asked for: those for which every field that is set holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunFilter {
    /// Runs of this source.
    pub source: Option<Source>,
    /// Runs for this tenant.
    pub tenant: Option<TenantId>,
    /// Runs that began then or later.
    pub since: Option<Timestamp>,
    /// This run.
    pub id: Option<RunId>,
    /// At most so many, the newest ones.
    pub limit: usize,
}

impl Default for RunFilter {
    fn default() -> Self {
        let limit = usize::MAX;
        Self { source: None, tenant: None, since: None, id: None, limit }
    }
}

impl RunFilter {
    fn lets(&self, run: &Run) -> bool {
        self.source.is_none_or(|it| run.key.source == it)
            && self.tenant.is_none_or(|it| run.key.tenant == Some(it))
            && self.since.is_none_or(|it| run.started >= it)
            && self.id.is_none_or(|it| run.id == it)
    }
}

/// Which changes are asked for: those for which every field that is set holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeFilter {
    /// Changes in this tenant.
    pub tenant: Option<TenantId>,
    /// Changes that concern this user.
    pub user: Option<UserId>,
    /// Changes of this subscription, of who sits on its seats, and what customers asked of it.
    pub subscription: Option<SubscriptionId>,
    /// Changes of the publisher's license of this id, and of who has a place among its users.
    pub license: Option<Arc<str>>,
    /// Changes learned of then or later.
    pub since: Option<Timestamp>,
    /// Changes learned of before.
    pub until: Option<Timestamp>,
    /// At most so many, the newest ones.
    pub limit: usize,
}

impl Default for ChangeFilter {
    fn default() -> Self {
        Self {
            tenant: None,
            user: None,
            subscription: None,
            license: None,
            since: None,
            until: None,
            limit: usize::MAX,
        }
    }
}

impl ChangeFilter {
    fn may_be_in(&self, head: &ChunkHead) -> bool {
        self.tenant.is_none_or(|it| head.tenant == Some(it))
            && self.since.is_none_or(|it| head.last >= it)
            && self.until.is_none_or(|it| head.first < it)
    }

    fn lets(&self, it: &Change) -> bool {
        let of_subscription = |id: SubscriptionId| {
            let of_subscriptions =
                [Entity::Subscription, Entity::HeldSeat, Entity::Usage, Entity::Operation];
            of_subscriptions.contains(&it.entity) && *it.id == *id.to_string()
        };
        let of_license = |id: &Arc<str>| {
            [Entity::License, Entity::HeldSeat].contains(&it.entity) && it.id == *id
        };
        self.tenant.is_none_or(|tenant| it.tenant == Some(tenant))
            && self.user.is_none_or(|user| it.user == Some(user))
            && self.subscription.is_none_or(of_subscription)
            && self.license.as_ref().is_none_or(of_license)
            && self.since.is_none_or(|since| it.at >= since)
            && self.until.is_none_or(|until| it.at < until)
    }
}

/// Of which tenant and time the changes of a chunk are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ChunkHead {
    pub(super) tenant: Option<TenantId>,
    first: Timestamp,
    pub(super) last: Timestamp,
}

/// The heads of all chunks, by sequence number.
pub(super) type Heads = BTreeMap<u64, ChunkHead>;

/// A chunk that is ready to be written.
pub(super) struct Chunk {
    pub(super) head: ChunkHead,
    pub(super) payload: Vec<u8>,
}

/// Cuts changes into chunks; each fits into one value unless a single change does not.
pub(super) fn chunks<'a>(
    changes: impl Iterator<Item = &'a Change>,
) -> Result<Vec<Chunk>, StoreError> {
    let mut by_tenant: BTreeMap<Option<TenantId>, Vec<&Change>> = BTreeMap::new();
    for change in changes {
        by_tenant.entry(change.tenant).or_default().push(change);
    }
    let mut chunks = Vec::new();
    for (tenant, changes) in by_tenant {
        let mut open: Option<OpenChunk> = None;
        for change in changes {
            let bytes = record::encode(&ChangeV1::from(change))?;
            let full = |it: &OpenChunk| it.body.len() + bytes.len() > CHUNK_BODY_MAX;
            if open.as_ref().is_some_and(full) {
                chunks.extend(open.take().map(|it| it.close(tenant)).transpose()?);
            }
            let chunk = open.get_or_insert_with(|| OpenChunk::new(change.at));
            chunk.first = chunk.first.min(change.at);
            chunk.last = chunk.last.max(change.at);
            chunk.count = chunk.count.saturating_add(1);
            chunk.body.extend(bytes);
        }
        chunks.extend(open.map(|it| it.close(tenant)).transpose()?);
    }
    Ok(chunks)
}

/// Leaves room for the head.
const CHUNK_BODY_MAX: usize = record::PAYLOAD_MAX - 64;

struct OpenChunk {
    first: Timestamp,
    last: Timestamp,
    count: u32,
    body: Vec<u8>,
}

impl OpenChunk {
    fn new(at: Timestamp) -> Self {
        Self { first: at, last: at, count: 0, body: Vec::new() }
    }

    fn close(self, tenant: Option<TenantId>) -> Result<Chunk, StoreError> {
        let head = ChunkHead { tenant, first: self.first, last: self.last };
        let times = (self.first, self.last);
        let mut payload = record::encode(&ChunkV1::new(tenant, times, self.count))?;
        payload.extend(self.body);
        Ok(Chunk { head, payload })
    }
}

/// The head of a stored chunk.
pub(super) fn head(payload: &[u8]) -> Result<ChunkHead, StoreError> {
    Ok(open_chunk(payload)?.0)
}

fn open_chunk(payload: &[u8]) -> Result<(ChunkHead, u32, &[u8]), StoreError> {
    let (chunk, body) = postcard::take_from_bytes::<ChunkV1>(payload).map_err(bad_chunk)?;
    let (first, last) = chunk.times()?;
    Ok((ChunkHead { tenant: chunk.tenant()?, first, last }, chunk.count, body))
}

#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` hands over")]
fn bad_chunk(error: postcard::Error) -> StoreError {
    StoreError::damaged(format!("a chunk of changes cannot be read: {error}"))
}

/// The changes of a stored chunk.
pub(super) fn changes_in(payload: &[u8]) -> Result<Vec<Change>, StoreError> {
    let (_, count, mut body) = open_chunk(payload)?;
    let mut changes = Vec::new();
    for _ in 0..count {
        let (change, rest) = postcard::take_from_bytes::<ChangeV1>(body).map_err(bad_chunk)?;
        changes.push(change.try_into()?);
        body = rest;
    }
    if body.is_empty() { Ok(changes) } else { Err(StoreError::damaged("a chunk that is too long")) }
}

/// A stored chunk with changes in place of some of its own; `None` if all stay.
pub(super) fn rewritten(
    payload: &[u8],
    change: impl Fn(&Change) -> ControlFlow<Change>,
) -> Result<Option<Vec<u8>>, StoreError> {
    let (head, count, _) = open_chunk(payload)?;
    let mut rewritten = record::encode(&ChunkV1::new(head.tenant, (head.first, head.last), count))?;
    let mut any = false;
    for it in changes_in(payload)? {
        let new = match change(&it) {
            ControlFlow::Continue(()) => it,
            ControlFlow::Break(other) => {
                any = true;
                other
            }
        };
        rewritten.extend(record::encode(&ChangeV1::from(&new))?);
    }
    Ok(any.then_some(rewritten))
}

/// The run in a stored record.
pub(super) fn run_in(payload: &[u8]) -> Result<Run, StoreError> {
    record::decode::<RunV1>(Kind::Run, payload)?.try_into()
}

/// The changes that the filter lets through, oldest first.
pub(super) fn changes(
    engine: &dyn Engine,
    heads: &Heads,
    filter: &ChangeFilter,
) -> Result<Vec<Change>, StoreError> {
    let mut found: Vec<Change> = Vec::new();
    for (sequence, _) in heads.iter().rev().filter(|(_, head)| filter.may_be_in(head)) {
        if found.len() >= filter.limit {
            break;
        }
        // It may have been pruned meanwhile.
        let chunk = pieces::read(engine, Table::Journal, &layout::chunk(*sequence))?;
        if let Some(payload) = chunk {
            found.extend(changes_in(&payload)?.into_iter().rev().filter(|it| filter.lets(it)));
        }
    }
    found.truncate(filter.limit);
    found.reverse();
    // Chunks of one commit are sorted by tenant; the stable sort keeps what has one time in order.
    found.sort_by_key(|it| it.at);
    Ok(found)
}

/// The runs that the filter lets through, oldest first.
pub(super) fn runs(engine: &dyn Engine, filter: &RunFilter) -> Result<Vec<Run>, StoreError> {
    if let Some(id) = filter.id {
        let found = pieces::read(engine, Table::Runs, &layout::run(id))?;
        let found = found.map(|it| run_in(&it)).transpose()?;
        return Ok(found.into_iter().filter(|it| filter.lets(it)).take(filter.limit).collect());
    }
    let mut found = Vec::new();
    engine.scan(Table::Runs, &[], Order::Descending, &mut |key, _| {
        if found.len() >= filter.limit {
            return Ok(ControlFlow::Break(()));
        }
        if let Some((key, 0)) = layout::split_piece(key)
            && let Some(payload) = pieces::read(engine, Table::Runs, key)?
        {
            found.extend(Some(run_in(&payload)?).filter(|it| filter.lets(it)));
        }
        Ok(ControlFlow::Continue(()))
    })?;
    found.reverse();
    Ok(found)
}
