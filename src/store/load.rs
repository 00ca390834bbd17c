//! Reads the store into memory, and finds out whether it is what was written.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::StoreError;
use super::engine::Engine;
use super::grouped::Grouped;
use super::inbox::Inbox;
use super::journal::{self, Heads};
use super::layout::{self, Kind, Table};
use super::licenses::LicenseFacts;
use super::outbox::Outbox;
use super::pieces;
use super::plan::OddIndex;
use super::record::{
    self, AccessV1, AskedV1, DealV1, DeliveryV1, EventV1, GraphSubscriptionV1, HeldBackV1,
    HeldSeatV1, LifeV1, ManifestV1, NoteV1, OddV1, ReportedV1, SkusV1, SourceV1, SubscriptionV1,
    TenantV1, UnfinishedV1, UnreadV1, UsageAnswerV1, UsageV1, UserCountV1,
};
use super::usage::Usage;
use super::writer::{self, Limits};
use crate::domain::{
    AskedWrite, Commit, Deal, Document, GraphSubscriptionWrite, HeldSeat, Holders, Mirror,
    OddRecord, ProductId, ReadWrite, SubscriptionId, TenantId, Unread, UserId, UserTable,
};

/// What was in the store.
pub(super) struct Loaded {
    pub(super) mirror: Mirror,
    /// `None` if nothing was ever written.
    pub(super) manifest: Option<ManifestV1>,
    pub(super) heads: Heads,
    pub(super) odd: OddIndex,
    pub(super) inbox: Inbox,
    pub(super) usage: Usage,
    pub(super) outbox: Outbox,
    /// The highest number of a run that is kept.
    pub(super) last_run: u64,
}

/// Finishes or sweeps what a crash left behind, reads everything, and compares it with the
/// manifest.
///
/// # Errors
///
/// [`StoreError::Damaged`] if it is not what was written; [`StoreError::Newer`].
pub(super) fn load(engine: &dyn Engine, limits: Limits) -> Result<Loaded, StoreError> {
    let manifest = pieces::read(engine, Table::Meta, layout::MANIFEST)?;
    let manifest: Option<ManifestV1> =
        manifest.map(|it| record::decode(Kind::Manifest, &it)).transpose()?;
    let staged = pieces::read(engine, Table::Meta, layout::STAGED)?.is_some();
    if manifest.is_some() {
        if staged {
            writer::settle(engine, limits)?;
        }
        writer::sweep(engine, limits, Table::Stage, &[])?;
        let end = manifest.as_ref().map_or(0, |it| it.journal_next);
        writer::sweep(engine, limits, Table::Journal, &layout::chunk(end))?;
    }
    let mut facts = Facts::default();
    let mut users = Users::default();
    let (mut heads, mut last_run) = (Heads::new(), 0);
    let of_facts = pieces::scan(engine, Table::Facts, &mut |key, kind, payload| {
        facts.take(key, kind, payload)
    })?;
    let of_users =
        pieces::scan(engine, Table::Users, &mut |key, _, payload| users.take(key, payload))?;
    let of_journal = pieces::scan(engine, Table::Journal, &mut |key, _, payload| {
        heads.insert(number(key)?, journal::head(payload)?);
        Ok(())
    })?;
    let of_runs = pieces::scan(engine, Table::Runs, &mut |key, _, payload| {
        last_run = number(key)?;
        journal::run_in(payload).map(drop)
    })?;
    let found = ManifestV1 {
        facts: of_facts,
        users: of_users,
        journal: of_journal,
        runs: of_runs,
        ..ManifestV1::default()
    };
    compare(found, manifest.clone().unwrap_or_default())?;
    let tables = users.tables(&facts.counts)?;
    let odd = std::mem::take(&mut facts.odd);
    let inbox = std::mem::take(&mut facts.inbox);
    let usage = std::mem::take(&mut facts.usage);
    let outbox = std::mem::take(&mut facts.outbox);
    let mut grouped = std::mem::take(&mut facts.grouped);
    grouped.commit(&mut facts.commit)?;
    let licenses = std::mem::take(&mut facts.licenses);
    let mirror = Mirror::default().applied(&facts.commit());
    let mirror = mirror.with_users(tables).with_uses(grouped.tables()?);
    let mirror = licenses.into_mirror(mirror)?;
    Ok(Loaded { mirror, manifest, heads, odd, inbox, usage, outbox, last_run })
}

fn number(key: &[u8]) -> Result<u64, StoreError> {
    let bytes = key.try_into().map_err(|_length| StoreError::damaged("a key that is no number"))?;
    Ok(u64::from_be_bytes(bytes))
}

fn compare(mut found: ManifestV1, mut said: ManifestV1) -> Result<(), StoreError> {
    for table in Table::COUNTED {
        let (Some(found), Some(said)) = (found.tally(table), said.tally(table)) else { continue };
        if found == said {
            continue;
        }
        let (name, found, said) = (table.name(), found.count, said.count);
        return Err(StoreError::damaged(if found == said {
            format!("table {name} holds other values than were written")
        } else {
            format!("table {name} holds {found} values where {said} were written")
        }));
    }
    Ok(())
}

type Seats = Vec<((TenantId, UserId), HeldSeat)>;

/// Facts as they come by.
#[derive(Default)]
struct Facts {
    commit: Commit,
    seats: BTreeMap<SubscriptionId, Seats>,
    counts: HashMap<TenantId, UserCountV1>,
    odd: OddIndex,
    inbox: Inbox,
    usage: Usage,
    outbox: Outbox,
    grouped: Grouped,
    licenses: LicenseFacts,
}

impl Facts {
    fn take(&mut self, key: &[u8], kind: Kind, payload: &[u8]) -> Result<(), StoreError> {
        let commit = &mut self.commit;
        match kind {
            Kind::Subscription => {
                let it = record::decode::<SubscriptionV1>(kind, payload)?.try_into()?;
                // The record as Microsoft sent it stays on disk.
                commit.subscriptions.push((it, Arc::from("")));
            }
            Kind::Raw | Kind::EventBody => drop(utf8(payload)?),
            Kind::Event => {
                let it = record::decode::<EventV1>(kind, payload)?.try_into()?;
                self.inbox.put(Arc::new(it));
            }
            Kind::Usage => {
                let it = record::decode::<UsageV1>(kind, payload)?.try_into()?;
                self.usage.put(Arc::new(it));
            }
            Kind::UsageAnswer => {
                let it = record::decode::<UsageAnswerV1>(kind, payload)?.try_into()?;
                self.usage.remember(&it);
            }
            Kind::Delivery => {
                let it = record::decode::<DeliveryV1>(kind, payload)?.try_into()?;
                self.outbox.put(Arc::new(it));
            }
            Kind::WebhookNote => {
                self.inbox.log.put(record::decode::<NoteV1>(kind, payload)?.try_into()?);
            }
            Kind::Tenant => {
                commit.tenants.push(record::decode::<TenantV1>(kind, payload)?.try_into()?);
            }
            Kind::Access | Kind::HeldBack => of_tenant(commit, key, kind, payload)?,
            Kind::Skus => {
                let skus = record::decode::<SkusV1>(kind, payload)?.try_into()?;
                commit.skus.push((Parts(key).skip(1)?.tenant()?, skus));
            }
            Kind::Source => {
                commit.sources.push(record::decode::<SourceV1>(kind, payload)?.try_into()?);
            }
            Kind::HeldSeat => self.held_seat(key, kind, payload)?,
            Kind::Document => {
                let name = utf8(Parts(key).skip(3)?.0)?.into();
                commit.documents.push(Document { name, bytes: payload.to_vec() });
            }
            Kind::Odd => {
                let it: OddRecord = record::decode::<OddV1>(kind, payload)?.try_into()?;
                self.odd.take(&it);
            }
            Kind::Reported | Kind::Deal => of_reports(commit, key, kind, payload)?,
            Kind::Unfinished => unfinished(commit, key, payload)?,
            Kind::GraphSubscription => subscribed(commit, payload)?,
            Kind::License
            | Kind::Packaged
            | Kind::Activation
            | Kind::LicenseUsers
            | Kind::Sightings => {
                self.licenses.take(commit, key, kind, payload)?;
            }
            Kind::Life | Kind::Unread | Kind::Asked => remembered(commit, key, kind, payload)?,
            Kind::Groups | Kind::Uses => self.grouped.take(key, kind, payload)?,
            Kind::Rights | Kind::Learned => super::rights::take(commit, key, kind, payload)?,
            Kind::UserCount => {
                let tenant = Parts(key).skip(1)?.tenant()?;
                self.counts.insert(tenant, record::decode(kind, payload)?);
            }
            Kind::Users | Kind::Chunk | Kind::Run | Kind::Manifest | Kind::Staged => {
                return Err(StoreError::damaged(format!("a {kind:?} record among the facts")));
            }
        }
        Ok(())
    }

    fn held_seat(&mut self, key: &[u8], kind: Kind, payload: &[u8]) -> Result<(), StoreError> {
        let mut parts = Parts(key).skip(1)?;
        let id = SubscriptionId::from_uuid(parts.uuid()?);
        let who = (parts.tenant()?, UserId::from_uuid(parts.uuid()?));
        let seat = record::decode::<HeldSeatV1>(kind, payload)?.try_into()?;
        self.seats.entry(id).or_default().push((who, seat));
        Ok(())
    }

    fn commit(self) -> Commit {
        let holders = |(id, seats): (SubscriptionId, Vec<_>)| (id, Holders::new(seats));
        Commit { holders: self.seats.into_iter().map(holders).collect(), ..self.commit }
    }
}

/// What a tenant permits, and what the brake holds of it.
fn of_tenant(
    commit: &mut Commit,
    key: &[u8],
    kind: Kind,
    payload: &[u8],
) -> Result<(), StoreError> {
    let tenant = Parts(key).skip(1)?.tenant()?;
    if kind == Kind::Access {
        commit.access.push((tenant, record::decode::<AccessV1>(kind, payload)?.try_into()?));
    } else {
        let it = record::decode::<Option<HeldBackV1>>(kind, payload)?;
        commit.held.push((tenant, it.map(TryInto::try_into).transpose()?));
    }
    Ok(())
}

/// What we remember of subscriptions ourselves.
fn remembered(
    commit: &mut Commit,
    key: &[u8],
    kind: Kind,
    payload: &[u8],
) -> Result<(), StoreError> {
    if kind == Kind::Life {
        let id = SubscriptionId::from_uuid(Parts(key).skip(1)?.uuid()?);
        commit.lives.push((id, record::decode::<LifeV1>(kind, payload)?.try_into()?));
    } else if kind == Kind::Unread {
        let it: Unread = record::decode::<UnreadV1>(kind, payload)?.try_into()?;
        commit.unread.push((Arc::clone(&it.key), Some(it)));
    } else {
        let it = record::decode::<AskedV1>(kind, payload)?.try_into()?;
        commit.asked.push(AskedWrite::New(Arc::new(it)));
    }
    Ok(())
}

/// What Graph notifies us of.
fn subscribed(commit: &mut Commit, payload: &[u8]) -> Result<(), StoreError> {
    let it = record::decode::<GraphSubscriptionV1>(Kind::GraphSubscription, payload)?.try_into()?;
    commit.graph_subscriptions.push(GraphSubscriptionWrite::Put(Arc::new(it)));
    Ok(())
}

/// Lines of the licence report of one tenant, or a deal.
fn of_reports(
    commit: &mut Commit,
    key: &[u8],
    kind: Kind,
    payload: &[u8],
) -> Result<(), StoreError> {
    if kind == Kind::Reported {
        // The tenant is only in the key.
        let tenant = Parts(key).skip(1)?.tenant()?;
        let lines = record::decode::<ReportedV1>(kind, payload)?.of(tenant)?;
        commit.reported.push((tenant, lines));
    } else {
        let deal: Deal = record::decode::<DealV1>(kind, payload)?.try_into()?;
        commit.deals.push((deal.id, Some(Arc::new(deal))));
    }
    Ok(())
}

/// How far a long reading is; what its users hold stays on disk.
fn unfinished(commit: &mut Commit, key: &[u8], payload: &[u8]) -> Result<(), StoreError> {
    let mut parts = Parts(key).skip(1)?;
    let tenant = parts.tenant()?;
    let part = parts.0.first_chunk().copied().ok_or_else(short_key)?;
    if let Some(of) = layout::head_of(part) {
        let read = record::decode::<UnfinishedV1>(Kind::Unfinished, payload)?.of(of)?;
        let (read, users) = (Arc::new(read), Vec::new());
        commit.reads.push(ReadWrite::LaidDown { tenant, read, users });
    } else {
        record::users_of_part(payload)?;
    }
    Ok(())
}

fn utf8(bytes: &[u8]) -> Result<&str, StoreError> {
    std::str::from_utf8(bytes).map_err(|_bytes| StoreError::damaged("a text that is none"))
}

/// A key, taken apart from its front.
pub(super) struct Parts<'a>(pub(super) &'a [u8]);

impl Parts<'_> {
    pub(super) fn skip(self, bytes: usize) -> Result<Self, StoreError> {
        self.0.get(bytes..).map(Parts).ok_or_else(short_key)
    }

    pub(super) fn uuid(&mut self) -> Result<uuid::Uuid, StoreError> {
        let (id, rest) = self.0.split_first_chunk::<16>().ok_or_else(short_key)?;
        self.0 = rest;
        Ok(uuid::Uuid::from_bytes(*id))
    }

    pub(super) fn tenant(&mut self) -> Result<TenantId, StoreError> {
        TenantId::from_uuid(self.uuid()?)
            .ok_or_else(|| StoreError::damaged("a key with a tenant id that is none"))
    }

    pub(super) fn byte(&mut self) -> Result<u8, StoreError> {
        let (byte, rest) = self.0.split_first().ok_or_else(short_key)?;
        self.0 = rest;
        Ok(*byte)
    }

    /// The number of a bucket.
    pub(super) fn number(&mut self) -> Result<usize, StoreError> {
        let (number, rest) = self.0.split_first_chunk::<4>().ok_or_else(short_key)?;
        self.0 = rest;
        Ok(usize::try_from(u32::from_be_bytes(*number)).unwrap_or(usize::MAX))
    }

    /// A product, its length before it.
    pub(super) fn product(&mut self) -> Result<ProductId, StoreError> {
        let (length, rest) = self.0.split_first_chunk::<2>().ok_or_else(short_key)?;
        let (name, rest) =
            rest.split_at_checked(u16::from_be_bytes(*length).into()).ok_or_else(short_key)?;
        self.0 = rest;
        utf8(name)?.parse().map_err(|_bad| StoreError::damaged("a key with no product's id"))
    }
}

fn short_key() -> StoreError {
    StoreError::damaged("a key that is too short")
}

/// A bucket and its number.
type Bucket = (usize, Arc<[u8]>);

/// Buckets of users as they come by.
#[derive(Default)]
struct Users {
    buckets: BTreeMap<TenantId, Vec<Bucket>>,
}

impl Users {
    fn take(&mut self, key: &[u8], payload: &[u8]) -> Result<(), StoreError> {
        let mut parts = Parts(key);
        let tenant = parts.tenant()?;
        let number = parts.number()?;
        self.buckets.entry(tenant).or_default().push((number, payload.into()));
        Ok(())
    }

    fn tables(
        mut self,
        counts: &HashMap<TenantId, UserCountV1>,
    ) -> Result<Vec<(TenantId, UserTable)>, StoreError> {
        let wrong = |what: &str| StoreError::damaged(format!("the users of a tenant {what}"));
        let mut tables = Vec::new();
        for (tenant, count) in counts {
            let buckets = usize::try_from(count.buckets).ok().filter(|it| *it <= 1 << 24);
            let buckets = buckets.ok_or_else(|| wrong("have far too many buckets"))?;
            let empty: Arc<[u8]> = Arc::from([]);
            let mut all = vec![empty; buckets];
            for (number, bytes) in self.buckets.remove(tenant).unwrap_or_default() {
                *all.get_mut(number).ok_or_else(|| wrong("have a bucket too many"))? = bytes;
            }
            let table = UserTable::from_buckets(all).map_err(|_bad| wrong("cannot be read"))?;
            if u64::try_from(table.len()) != Ok(count.users) {
                return Err(wrong("are not as many as were written"));
            }
            tables.push((*tenant, table));
        }
        if self.buckets.is_empty() { Ok(tables) } else { Err(wrong("have no count")) }
    }
}
