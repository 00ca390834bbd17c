//! Takes out of the journal, and out of the records that nobody understood, what belonged to the
//! customer of a subscription that is purged.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::PoisonError;

use super::committer::{Committer, Job};
use super::layout::{self, Kind, Table};
use super::pieces::{self, RecordWrite};
use super::record::{self, OddV1};
use super::{Store, StoreError, journal};
use crate::domain::{Change, Entity, Fact, OddRecord, SubscriptionId, TenantId};

/// Which subscriptions are redacted, and in whose journal they may stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Redaction {
    /// The subscriptions.
    pub subscriptions: BTreeSet<SubscriptionId>,
    /// Their tenants; `None` for changes that name none.
    pub tenants: BTreeSet<Option<TenantId>>,
}

impl Store {
    /// Takes names and users out of what the journal says of these subscriptions, and removes the
    /// records that nobody understood and that mention them. Says how many records it rewrote or
    /// removed. Again does nothing more.
    ///
    /// Exports and backups that were written before keep what they hold.
    ///
    /// # Errors
    ///
    /// As of [`Self::commit`]; what was redacted stays so.
    pub async fn redact(&self, what: Redaction) -> Result<usize, StoreError> {
        self.ask(|reply| Job::Redact(Box::new(what), reply)).await
    }
}

impl Committer {
    pub(super) fn redact(&mut self, what: &Redaction) -> Result<usize, StoreError> {
        let mut writes = Vec::new();
        let names: BTreeSet<String> = what.subscriptions.iter().map(ToString::to_string).collect();
        let chunks: Vec<u64> = {
            let heads = self.shared.heads();
            let theirs = heads.iter().filter(|(_, it)| what.tenants.contains(&it.tenant));
            theirs.map(|(sequence, _)| *sequence).collect()
        };
        let engine = &*self.writer.engine;
        for sequence in chunks {
            let key = layout::chunk(sequence);
            let Some(payload) = pieces::read(engine, Table::Journal, &key)? else { continue };
            let changed = journal::rewritten(&payload, |it| redacted(it, &names))?;
            writes.extend(changed.map(|payload| RecordWrite {
                table: Table::Journal,
                key,
                kind: Kind::Chunk,
                payload: Some(payload.into()),
            }));
        }
        let mut odd = self.writer.odd.clone();
        for hash in odd.newest(usize::MAX) {
            let key = layout::odd(hash);
            let Some(payload) = pieces::read(engine, Table::Facts, &key)? else { continue };
            let it: OddRecord = record::decode::<OddV1>(Kind::Odd, &payload)?.try_into()?;
            let raw = it.raw.to_ascii_lowercase();
            if names.iter().any(|name| raw.contains(name)) {
                odd.forget(hash);
                let kind = Kind::Odd;
                writes.push(RecordWrite { table: Table::Facts, key, kind, payload: None });
            }
        }
        let count = writes.len();
        self.attempt(|writer| writer.remove(writes.into_iter()))?;
        self.writer.odd = odd.clone();
        *self.shared.odd.write().unwrap_or_else(PoisonError::into_inner) = odd;
        Ok(count)
    }
}

/// The change without names and users, if it is about one of these and holds any.
fn redacted(change: &Change, names: &BTreeSet<String>) -> ControlFlow<Change> {
    let about = matches!(change.entity, Entity::Subscription | Entity::HeldSeat);
    if !about || !names.contains(&*change.id) {
        return ControlFlow::Continue(());
    }
    let fact = |it: &Fact| match it {
        Fact::Subscription(it) => Fact::Subscription(Box::new(it.purged())),
        it @ (Fact::User(_)
        | Fact::Sku(_)
        | Fact::Tenant(_)
        | Fact::HeldSeat(_)
        | Fact::License(_)
        | Fact::Activation(_)
        | Fact::Rights(_)
        | Fact::Words(_)) => it.clone(),
    };
    let (before, after) = (change.before.as_ref().map(fact), change.after.as_ref().map(fact));
    let redacted = Change { user: None, before, after, ..change.clone() };
    if redacted == *change { ControlFlow::Continue(()) } else { ControlFlow::Break(redacted) }
}
