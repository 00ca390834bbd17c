//! Version 1: what the store says about itself.

use serde::{Deserialize, Serialize};

use crate::store::layout::Table;

/// What a table must hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::store) struct TallyV1 {
    /// How many values.
    pub(in crate::store) count: u64,
    /// The sum of their hashes.
    pub(in crate::store) sum: u64,
    /// The bytes of their keys and values.
    pub(in crate::store) bytes: u64,
}

impl TallyV1 {
    pub(in crate::store) fn add(&mut self, hash: u64, bytes: usize) {
        self.count = self.count.wrapping_add(1);
        self.sum = self.sum.wrapping_add(hash);
        self.bytes = self.bytes.wrapping_add(bytes.try_into().unwrap_or(0));
    }

    pub(in crate::store) fn remove(&mut self, hash: u64, bytes: usize) {
        self.count = self.count.wrapping_sub(1);
        self.sum = self.sum.wrapping_sub(hash);
        self.bytes = self.bytes.wrapping_sub(bytes.try_into().unwrap_or(0));
    }
}

/// The manifest: what each table must hold, in the same transaction as what it holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::store) struct ManifestV1 {
    pub(in crate::store) facts: TallyV1,
    pub(in crate::store) users: TallyV1,
    pub(in crate::store) journal: TallyV1,
    pub(in crate::store) runs: TallyV1,
    /// Commits since the store was created.
    pub(in crate::store) commits: u64,
    /// The sequence number of the next chunk of changes: those from it on never took effect.
    pub(in crate::store) journal_next: u64,
    /// No run at or beyond this number was ever handed out.
    pub(in crate::store) run_ceiling: u64,
    /// When the last commit was written, in ms since 1970.
    pub(in crate::store) last_commit: Option<i64>,
}

impl ManifestV1 {
    /// What this table must hold; `None` for tables that are not counted.
    pub(in crate::store) fn tally(&mut self, table: Table) -> Option<&mut TallyV1> {
        match table {
            Table::Facts => Some(&mut self.facts),
            Table::Users => Some(&mut self.users),
            Table::Journal => Some(&mut self.journal),
            Table::Runs => Some(&mut self.runs),
            Table::Meta | Table::Stage => None,
        }
    }

    /// The bytes of all keys and values that count.
    pub(in crate::store) fn live_bytes(&self) -> u64 {
        [self.facts, self.users, self.journal, self.runs].iter().map(|it| it.bytes).sum()
    }
}

/// A staged commit took effect, and what is left in the staging table must be put in place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::store) struct StagedV1 {
    /// How many writes were staged.
    pub(in crate::store) writes: u64,
}

/// How many buckets a tenant's users are in, and how many users there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::store) struct UserCountV1 {
    pub(in crate::store) buckets: u64,
    pub(in crate::store) users: u64,
}
