//! What a group of commits means on disk. Pure but for the records it is handed.

mod licenses;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use jiff::Timestamp;

use super::StoreError;
use super::journal::{self, ChunkHead};
use super::layout::{self, Key, Kind, Table};
use super::pieces::RecordWrite;
use super::record::{
    self, AccessV1, AskedV1, DealV1, DeliveryV1, EventV1, GraphSubscriptionV1, HeldBackV1,
    HeldSeatV1, LifeV1, NoteV1, OddV1, PartV1, ReportedV1, RunV1, SkusV1, SourceV1, SubscriptionV1,
    TenantV1, UnfinishedV1, UnreadV1, UsageAnswerV1, UsageV1, UserCountV1,
};
use crate::domain::{
    AskedWrite, Commit, DeliveryWrite, EventState, EventWrite, GraphSubscriptionWrite, Holders,
    Mirror, OddRecord, ReadWrite, Sequence, SubscriptionId, TenantId, UsageWrite, UserTable,
    UserWrites,
};

/// How many records that nobody understood are kept; the oldest goes first.
const ODD_MAX: usize = 1_000;

/// What a record holds; `None` removes it.
type Payload = Option<Arc<[u8]>>;

/// The records to write, each once.
#[derive(Default)]
pub(super) struct Plan {
    records: BTreeMap<(Table, Key), (Kind, Payload)>,
    /// The chunks of changes among them.
    pub(super) chunks: Vec<(u64, ChunkHead)>,
}

impl Plan {
    /// What brings the store from one mirror to another by these commits.
    pub(super) fn new(
        commits: &[Commit],
        before: &Mirror,
        after: &Mirror,
        odd: &mut OddIndex,
        journal_next: &mut u64,
    ) -> Result<Self, StoreError> {
        let mut plan = Self::default();
        for commit in commits {
            plan.facts(commit)?;
            for it in &commit.inbox {
                plan.event(it)?;
            }
            for it in &commit.reads {
                plan.read(it)?;
            }
            for it in &commit.usage {
                plan.usage(it)?;
            }
            for it in &commit.outbox {
                plan.delivery(it)?;
            }
            for it in &commit.graph_subscriptions {
                plan.graph_subscription(it)?;
            }
            for it in &commit.odd {
                plan.odd(it, odd)?;
            }
            for run in &commit.runs {
                plan.put(Table::Runs, layout::run(run.id), Kind::Run, &RunV1::from(run))?;
            }
        }
        plan.asked(commits, after)?;
        plan.rights(commits, after)?;
        plan.learned(commits, after)?;
        plan.holders(commits, before, after)?;
        plan.users(commits, before, after)?;
        plan.grouped(commits, before, after)?;
        plan.licenses(commits, before, after)?;
        for chunk in journal::chunks(commits.iter().flat_map(|it| &it.changes))? {
            let key = layout::chunk(*journal_next);
            plan.set(Table::Journal, key, Kind::Chunk, Some(chunk.payload.into()));
            plan.chunks.push((*journal_next, chunk.head));
            *journal_next = journal_next.saturating_add(1);
        }
        Ok(plan)
    }

    /// The records, in key order table by table.
    pub(super) fn into_records(self) -> impl Iterator<Item = RecordWrite> {
        let write = |((table, key), (kind, payload))| RecordWrite { table, key, kind, payload };
        self.records.into_iter().map(write)
    }

    /// The bytes of all keys and payloads.
    pub(super) fn bytes(&self) -> usize {
        let payload = |it: &Payload| it.as_ref().map_or(0, |it| it.len());
        self.records.iter().map(|((_, key), (_, it))| key.len().saturating_add(payload(it))).sum()
    }

    pub(super) fn set(&mut self, table: Table, key: Key, kind: Kind, payload: Payload) {
        self.records.insert((table, key), (kind, payload));
    }

    pub(super) fn put(
        &mut self,
        table: Table,
        key: Key,
        kind: Kind,
        it: &impl serde::Serialize,
    ) -> Result<(), StoreError> {
        self.set(table, key, kind, Some(record::encode(it)?.into()));
        Ok(())
    }

    fn facts(&mut self, commit: &Commit) -> Result<(), StoreError> {
        let facts = Table::Facts;
        for (it, raw) in &commit.subscriptions {
            let record = SubscriptionV1::from(it);
            self.put(facts, layout::subscription(it.id), Kind::Subscription, &record)?;
            let raw = (!raw.is_empty()).then(|| raw.as_bytes().into());
            self.set(facts, layout::raw(it.id), Kind::Raw, raw);
        }
        for (id, life) in &commit.lives {
            self.put(facts, layout::life(*id), Kind::Life, &LifeV1::from(life))?;
        }
        for (name, it) in &commit.unread {
            let record = it.as_ref().map(UnreadV1::from);
            let record = record.as_ref().map(record::encode).transpose()?;
            self.set(facts, layout::unread(name), Kind::Unread, record.map(Into::into));
        }
        for it in &commit.tenants {
            self.put(facts, layout::tenant(it.id), Kind::Tenant, &TenantV1::from(it))?;
        }
        for (tenant, it) in &commit.access {
            let key = layout::access(*tenant);
            self.put(facts, key, Kind::Access, &AccessV1::from(it))?;
        }
        for (tenant, it) in &commit.held {
            // That nothing is held is a record too: the mirror knows the tenant from then on.
            let record = it.as_ref().map(HeldBackV1::from);
            self.put(facts, layout::held_back(*tenant), Kind::HeldBack, &record)?;
        }
        for (tenant, skus) in &commit.skus {
            let record = SkusV1::from(skus.as_slice());
            // The tenant is only in the key.
            self.put(facts, layout::skus(*tenant), Kind::Skus, &record)?;
        }
        for (key, state) in &commit.sources {
            let record = SourceV1::from((*key, state));
            self.put(facts, layout::source(*key), Kind::Source, &record)?;
        }
        for it in &commit.documents {
            let key = layout::document(&it.name);
            self.set(facts, key, Kind::Document, Some(it.bytes.as_slice().into()));
        }
        self.reports(commit)
    }

    fn reports(&mut self, commit: &Commit) -> Result<(), StoreError> {
        for (tenant, lines) in &commit.reported {
            let record = (!lines.is_empty()).then(|| ReportedV1::from(lines.as_slice()));
            let record = record.as_ref().map(record::encode).transpose()?;
            let key = layout::reported(*tenant);
            self.set(Table::Facts, key, Kind::Reported, record.map(Into::into));
        }
        for (id, deal) in &commit.deals {
            let record = deal.as_deref().map(DealV1::from);
            let record = record.as_ref().map(record::encode).transpose()?;
            self.set(Table::Facts, layout::deal(*id), Kind::Deal, record.map(Into::into));
        }
        Ok(())
    }

    /// The body is written once, and goes when nothing more is to be done.
    fn event(&mut self, it: &EventWrite) -> Result<(), StoreError> {
        let facts = Table::Facts;
        match it {
            EventWrite::Arrived(event, body) => {
                self.put(facts, layout::event(event.id), Kind::Event, &EventV1::from(&**event))?;
                let body = Some(body.as_bytes().into());
                self.set(facts, layout::event_body(event.id), Kind::EventBody, body);
            }
            EventWrite::Put(event) => {
                self.put(facts, layout::event(event.id), Kind::Event, &EventV1::from(&**event))?;
                if matches!(event.state, EventState::Done { .. }) {
                    self.set(facts, layout::event_body(event.id), Kind::EventBody, None);
                }
            }
            EventWrite::Forget(id) => {
                self.set(facts, layout::event(*id), Kind::Event, None);
                self.set(facts, layout::event_body(*id), Kind::EventBody, None);
            }
            EventWrite::Noted(it) => {
                let key = layout::webhook_note(it.key());
                self.put(facts, key, Kind::WebhookNote, &NoteV1::from(it))?;
            }
            EventWrite::ForgetNote(key) => {
                self.set(facts, layout::webhook_note(*key), Kind::WebhookNote, None);
            }
        }
        Ok(())
    }

    fn read(&mut self, it: &ReadWrite) -> Result<(), StoreError> {
        match it {
            ReadWrite::LaidDown { tenant, read, users } => {
                let (facts, part) = (Table::Facts, layout::unfinished(*tenant, read.parts));
                for of in [Sequence::Enumeration, Sequence::Sweep] {
                    let head = layout::unfinished_head(*tenant, of);
                    if of == read.of {
                        self.put(facts, head, Kind::Unfinished, &UnfinishedV1::from(&**read))?;
                    } else {
                        self.set(facts, head, Kind::Unfinished, None);
                    }
                }
                self.put(facts, part, Kind::Unfinished, &PartV1::from(users.as_slice()))?;
            }
            ReadWrite::Cleared { tenant, parts } => {
                let heads = [Sequence::Enumeration, Sequence::Sweep];
                let heads = heads.map(|of| layout::unfinished_head(*tenant, of));
                let parts = (1..=*parts).map(|part| layout::unfinished(*tenant, part));
                for key in heads.into_iter().chain(parts) {
                    self.set(Table::Facts, key, Kind::Unfinished, None);
                }
            }
        }
        Ok(())
    }

    fn usage(&mut self, it: &UsageWrite) -> Result<(), StoreError> {
        let facts = Table::Facts;
        match it {
            UsageWrite::Put(it) => {
                self.put(facts, layout::usage(it.id), Kind::Usage, &UsageV1::from(&**it))?;
            }
            UsageWrite::Forget(id) => self.set(facts, layout::usage(*id), Kind::Usage, None),
            UsageWrite::Remember(it) => {
                let record = UsageAnswerV1::from(it);
                self.put(facts, layout::usage_answer(&it.key), Kind::UsageAnswer, &record)?;
            }
            UsageWrite::ForgetAnswer(key) => {
                self.set(facts, layout::usage_answer(key), Kind::UsageAnswer, None);
            }
        }
        Ok(())
    }

    fn delivery(&mut self, it: &DeliveryWrite) -> Result<(), StoreError> {
        match it {
            DeliveryWrite::Put(it) => {
                let key = layout::delivery(it.number, &it.endpoint);
                self.put(Table::Facts, key, Kind::Delivery, &DeliveryV1::from(&**it))?;
            }
            DeliveryWrite::Forget(number, endpoint) => {
                let key = layout::delivery(*number, endpoint);
                self.set(Table::Facts, key, Kind::Delivery, None);
            }
        }
        Ok(())
    }

    fn graph_subscription(&mut self, it: &GraphSubscriptionWrite) -> Result<(), StoreError> {
        let (facts, kind) = (Table::Facts, Kind::GraphSubscription);
        match it {
            GraphSubscriptionWrite::Put(it) => {
                let key = layout::graph_subscription(it.tenant, it.watched);
                self.put(facts, key, kind, &GraphSubscriptionV1::from(&**it))?;
            }
            GraphSubscriptionWrite::Forget(tenant, watched) => {
                self.set(facts, layout::graph_subscription(*tenant, *watched), kind, None);
            }
        }
        Ok(())
    }

    fn odd(&mut self, it: &OddRecord, index: &mut OddIndex) -> Result<(), StoreError> {
        let hash = index.take(it);
        self.put(Table::Facts, layout::odd(hash), Kind::Odd, &OddV1::from(it))?;
        while let Some(oldest) = index.pop_over(ODD_MAX) {
            self.set(Table::Facts, layout::odd(oldest), Kind::Odd, None);
        }
        Ok(())
    }

    /// What became of a request is the mirror's to say.
    fn asked(&mut self, commits: &[Commit], after: &Mirror) -> Result<(), StoreError> {
        for operation in commits.iter().flat_map(|it| &it.asked).map(AskedWrite::operation) {
            let key = layout::asked(operation);
            match after.asked(operation) {
                Some(it) => self.put(Table::Facts, key, Kind::Asked, &AskedV1::from(&**it))?,
                None => self.set(Table::Facts, key, Kind::Asked, None),
            }
        }
        Ok(())
    }

    /// A record a seat, so that taking one writes one.
    fn holders(
        &mut self,
        commits: &[Commit],
        before: &Mirror,
        after: &Mirror,
    ) -> Result<(), StoreError> {
        let touched: BTreeSet<SubscriptionId> =
            commits.iter().flat_map(|it| &it.holders).map(|(id, _)| *id).collect();
        let none = Arc::new(Holders::default());
        for id in touched {
            let (old, new) =
                (before.holders(id).unwrap_or(&none), after.holders(id).unwrap_or(&none));
            for (tenant, user, _) in old.iter() {
                if new.seat(tenant, user).is_none() {
                    let key = layout::held_seat(id, tenant, user);
                    self.set(Table::Facts, key, Kind::HeldSeat, None);
                }
            }
            for (tenant, user, seat) in new.iter() {
                if old.seat(tenant, user) != Some(seat) {
                    let key = layout::held_seat(id, tenant, user);
                    self.put(Table::Facts, key, Kind::HeldSeat, &HeldSeatV1::from(seat))?;
                }
            }
        }
        Ok(())
    }

    fn users(
        &mut self,
        commits: &[Commit],
        before: &Mirror,
        after: &Mirror,
    ) -> Result<(), StoreError> {
        // `None`: all buckets are compared.
        let mut touched: BTreeMap<TenantId, Option<Vec<&[_]>>> = BTreeMap::new();
        for it in commits.iter().flat_map(|it| &it.users) {
            let patches = touched.entry(it.tenant).or_insert_with(|| Some(Vec::new()));
            match (&it.writes, patches) {
                (UserWrites::Patch(writes), Some(patches)) => patches.push(writes.as_slice()),
                (UserWrites::Replace(_), patches) => *patches = None,
                (UserWrites::Patch(_), None) => {}
            }
        }
        let empty = UserTable::default();
        for (tenant, patches) in touched {
            let old = before.tenant(tenant).map(|it| &it.users);
            let new = after.tenant(tenant).map_or(&empty, |it| &it.users);
            let counted = |it: &UserTable| (it.bucket_count(), it.len());
            if old.map(counted) != Some(counted(new)) {
                let (buckets, users) = counted(new);
                let wide = |it: usize| u64::try_from(it).unwrap_or(u64::MAX);
                let record = UserCountV1 { buckets: wide(buckets), users: wide(users) };
                self.put(Table::Facts, layout::user_count(tenant), Kind::UserCount, &record)?;
            }
            let same_size = old.is_some_and(|it| it.bucket_count() == new.bucket_count());
            match patches {
                Some(patches) if same_size => {
                    let users = patches.into_iter().flatten().map(|(user, _)| *user);
                    let buckets: BTreeSet<usize> = users.map(|it| new.bucket_of(it)).collect();
                    self.buckets(tenant, old, new, buckets.into_iter());
                }
                _ => self.buckets(tenant, old, new, 0..new.bucket_count()),
            }
            for gone in new.bucket_count()..old.map_or(0, UserTable::bucket_count) {
                self.set(Table::Users, layout::users(tenant, gone), Kind::Users, None);
            }
        }
        Ok(())
    }

    /// An empty bucket has no record.
    fn buckets(
        &mut self,
        tenant: TenantId,
        old: Option<&UserTable>,
        new: &UserTable,
        numbers: impl Iterator<Item = usize>,
    ) {
        for number in numbers {
            let Some(bytes) = new.bucket(number) else { continue };
            let was = old.and_then(|it| it.bucket(number)).map_or(&[][..], |it| it);
            if *was != **bytes {
                let payload = (!bytes.is_empty()).then(|| Arc::clone(bytes));
                self.set(Table::Users, layout::users(tenant, number), Kind::Users, payload);
            }
        }
    }
}

/// Which records that nobody understood are kept, and since when.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct OddIndex {
    by_time: BTreeSet<(Timestamp, u64)>,
    by_hash: HashMap<u64, Timestamp>,
}

impl OddIndex {
    /// Takes a record in, again or anew; returns what it is kept under.
    pub(super) fn take(&mut self, it: &OddRecord) -> u64 {
        let key = it.key.to_string();
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for byte in key.bytes().chain([0xff]).chain(it.raw.bytes()) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        if let Some(before) = self.by_hash.insert(hash, it.at) {
            self.by_time.remove(&(before, hash));
        }
        self.by_time.insert((it.at, hash));
        hash
    }

    fn pop_over(&mut self, most: usize) -> Option<u64> {
        if self.by_time.len() <= most {
            return None;
        }
        let (_, hash) = self.by_time.pop_first()?;
        self.by_hash.remove(&hash);
        Some(hash)
    }

    /// Drops one of them.
    pub(super) fn forget(&mut self, hash: u64) {
        if let Some(at) = self.by_hash.remove(&hash) {
            self.by_time.remove(&(at, hash));
        }
    }

    /// The newest of them, oldest first.
    pub(super) fn newest(&self, limit: usize) -> Vec<u64> {
        let mut newest: Vec<u64> =
            self.by_time.iter().rev().take(limit).map(|(_, hash)| *hash).collect();
        newest.reverse();
        newest
    }
}
