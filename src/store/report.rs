//! What the store says about itself, for operators.

use std::path::PathBuf;

use jiff::Timestamp;

use super::guard::GuardState;

/// The store in figures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreReport {
    /// Bytes that the database takes on the disk.
    pub disk_bytes: u64,
    /// Bytes of what it holds.
    pub live_bytes: u64,
    /// Bytes free on the disk; `None` if the system does not say.
    pub free_bytes: Option<u64>,
    /// Bytes that must stay free for writes to be taken.
    pub reserve_bytes: u64,
    /// Whether writes survive a power cut.
    pub guard: GuardState,
    /// Files for values that are too large for the engine: there must be none.
    pub blobs: usize,
    /// Commits since the store was created.
    pub commits: u64,
    /// When the last one was written.
    pub last_commit: Option<Timestamp>,
    /// Values of facts, users, journal and runs.
    pub values: u64,
    /// Chunks of changes in the journal.
    pub chunks: usize,
    /// When the last export or backup of this process was made.
    pub last_export: Option<Timestamp>,
    /// Where the file of signing keys was moved to, if it could not be read at the start: there are
    /// new keys then, and users have new pseudonyms.
    pub keys_moved: Option<PathBuf>,
    /// Why nothing can be written, if so.
    pub refused: Option<String>,
}

impl StoreReport {
    /// Whether the database takes far more of the disk than what it holds explains; sled gives
    /// space back slowly.
    ///
    /// Source: `reliability.md` section 1.4, rule 11.
    pub const fn is_bloated(&self) -> bool {
        self.disk_bytes > self.live_bytes.saturating_mul(6).saturating_add(64 << 20)
    }
}
