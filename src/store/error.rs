//! What can go wrong with the store, and what the operator does about it.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// The store cannot do what was asked. Cheap to clone: one failed write fails many callers.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The folder or a file in it cannot be used.
    #[error("cannot {doing} {}: {hint}", path.display())]
    Folder {
        /// What was tried, as a verb: `create`, `read`, …
        doing: &'static str,
        /// What it was tried on.
        path: PathBuf,
        /// What to do about it.
        hint: &'static str,
        /// What the system said.
        #[source]
        source: Arc<io::Error>,
    },
    /// Another process has it open.
    #[error(
        "the store in {} is already in use: entitled is already running; stop that one first, or \
         use another [store] path", path.display()
    )]
    AlreadyRunning {
        /// The store's folder.
        path: PathBuf,
    },
    /// It was written by a newer version of this program.
    #[error(
        "the store holds a record of version {found}, this program knows up to {known}: start the \
         newer entitled that wrote it, or restore a backup of before"
    )]
    Newer {
        /// The version that was found.
        found: u16,
        /// The newest version that is known.
        known: u16,
    },
    /// Something that was written reads back as something else.
    #[error("the store is damaged: {what}")]
    Damaged {
        /// What was noticed.
        what: String,
    },
    /// The guard that makes writes durable cannot be had.
    #[error(
        "cannot deny sync_file_range, without which a power cut would lose data: {why}; run on \
         Linux with seccomp, outside of a sandbox that forbids it"
    )]
    Guard {
        /// What the system said.
        why: String,
    },
    /// The disk is nearly full; nothing was written.
    #[error(
        "the disk of the store is nearly full ({free_mib} MiB free, {reserve_mib} MiB are kept in \
         reserve): free some space; writing goes on by itself then"
    )]
    DiskFull {
        /// Free space, in MiB.
        free_mib: u64,
        /// What must stay free, in MiB.
        reserve_mib: u64,
    },
    /// A write failed. Nothing is written any more until a restart; reads go on.
    #[error(
        "writing to the store failed, and it takes no writes until entitled is restarted: {what}"
    )]
    WriteFailed {
        /// What failed.
        what: Arc<str>,
    },
    /// A read failed.
    #[error("reading the store failed: {what}")]
    ReadFailed {
        /// What failed.
        what: String,
    },
    /// It was closed.
    #[error("the store is closed: entitled is shutting down")]
    Closed,
    /// An export or backup cannot be used.
    #[error("{} is no usable export or backup: {why}", path.display())]
    BadExport {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The store needs a place of its own.
    #[error(
        "{} has other things in it: name a folder that does not exist, or has nothing in it",
        path.display()
    )]
    NotEmpty {
        /// The folder.
        path: PathBuf,
    },
    /// No key could be made, or one could not be read.
    #[error("cannot {doing} a signing key: {why}")]
    Key {
        /// What was tried, as a verb.
        doing: &'static str,
        /// What is wrong.
        why: String,
    },
}

impl StoreError {
    /// Whether the same call may succeed later without anybody restarting the daemon.
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::DiskFull { .. } => true,
            Self::Folder { .. }
            | Self::AlreadyRunning { .. }
            | Self::Newer { .. }
            | Self::Damaged { .. }
            | Self::Guard { .. }
            | Self::WriteFailed { .. }
            | Self::ReadFailed { .. }
            | Self::Closed
            | Self::BadExport { .. }
            | Self::NotEmpty { .. }
            | Self::Key { .. } => false,
        }
    }

    /// An I/O error, with what to do about the usual ones.
    pub(super) fn folder(
        doing: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| {
            const HINTS: [(&[io::ErrorKind], &str); 4] = [
                (
                    &[io::ErrorKind::PermissionDenied],
                    "give it to the user that entitled runs as (`chown -R`), or set another \
                     [store] path",
                ),
                (
                    &[io::ErrorKind::ReadOnlyFilesystem],
                    "the file system is read-only; mount it writable, or set another [store] path",
                ),
                (
                    &[io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded],
                    "the disk is full; free some space",
                ),
                (
                    &[io::ErrorKind::NotADirectory, io::ErrorKind::AlreadyExists],
                    "something that is no folder stands in the way; set another [store] path",
                ),
            ];
            let known = HINTS.iter().find(|(kinds, _)| kinds.contains(&source.kind()));
            let hint = known.map_or("look at the disk and at the system's log", |(_, hint)| hint);
            Self::Folder { doing, path, hint, source: Arc::new(source) }
        }
    }

    pub(super) fn damaged(what: impl Into<String>) -> Self {
        Self::Damaged { what: what.into() }
    }
}
