//! How far sources are read: enumerations under way, and what an older store may not go on from.

use std::sync::Arc;

use super::layout::{self, Table};
use super::record;
use super::writer::Writer;
use super::{Store, StoreError, grouped, pieces};
use crate::domain::{Commit, ReadWrite, Said, SourceKey, SourceState, TenantId, UserId};

impl Store {
    /// The users of one part of an enumeration under way, counted from 1. Blocking: reads the disk.
    ///
    /// # Errors
    ///
    /// [`StoreError::ReadFailed`], [`StoreError::Closed`]; [`StoreError::Damaged`] also when there
    /// is no such part.
    pub fn laid_down(
        &self,
        tenant: TenantId,
        part: u32,
    ) -> Result<Vec<(UserId, Said)>, StoreError> {
        let key = layout::unfinished(tenant, part);
        let found = pieces::read(&*self.shared.engine()?, Table::Facts, &key)?;
        record::users_of_part(&found.ok_or_else(|| StoreError::damaged("a part is missing"))?)
    }
}

/// What an export held may be days old: the next read of every source must be a full one, from its
/// beginning.
pub(super) fn forget(writer: &mut Writer, next_run: u64) -> Result<(), StoreError> {
    let mirror = Arc::clone(&writer.mirror);
    let of_tenants = mirror.tenants().map(|it| (SourceKey::directory(it.tenant.id), &it.directory));
    let sources = mirror.sources().chain(of_tenants).map(|(key, state)| {
        let forgotten =
            SourceState { cursor: None, cursor_issued: None, last_full: None, ..state.clone() };
        (key, forgotten)
    });
    let unfinished = mirror.all_unfinished();
    let reads =
        unfinished.map(|(tenant, it)| ReadWrite::Cleared { tenant, parts: it.parts }).collect();
    let mut group = writer.group();
    let groups = grouped::without_cursors(&mirror);
    group.add(Commit { sources: sources.collect(), reads, groups, ..Commit::default() });
    writer.write(group, next_run, |_| Ok(()))?;
    writer.settle()
}
