//! A long reading of a tenant that is under way: what was read so far waits on disk, with the link
//! to the page after it, until the last page has come. Nobody is told of it before.

use std::sync::Arc;

use jiff::Timestamp;

use super::users::{decode_licences, encode_licences};
use super::{BadBucket, SkuId, TenantId, UserId, UserLicences};

/// What one user holds, in as few bytes as the mirror has of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed(Box<[u8]>);

impl Packed {
    /// Packs what a user holds.
    pub fn of(licences: &UserLicences) -> Self {
        Self(encode_licences(licences).into())
    }

    /// What the user holds.
    pub fn unpack(&self) -> UserLicences {
        // Only bytes that can be read get in.
        decode_licences(&self.0).unwrap_or_default()
    }

    /// Whether the user holds nothing.
    pub fn is_empty(&self) -> bool {
        self.unpack().is_empty()
    }

    /// The bytes, as on disk.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// From the bytes that [`Self::bytes`] gave.
    ///
    /// # Errors
    ///
    /// [`BadBucket`] if they are something else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BadBucket> {
        decode_licences(bytes).map(|_readable| Self(bytes.into())).ok_or(BadBucket)
    }
}

/// What one sequence of pages said about one user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// He holds this, as far as it may be ours.
    Holds(Packed),
    /// The tenant removed him, in so many words.
    Removed,
    /// Something about him changed, and the row does not say what he holds: ask for him by name.
    Ask,
}

/// Which of the two sequences that name every user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sequence {
    /// The first one of `/users/delta`: it ends with a cursor.
    Enumeration,
    /// The list `/users`.
    Sweep,
}

/// How far a long reading is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfinished {
    /// What is read.
    pub of: Sequence,
    /// When it began: what its first pages said was true then.
    pub started: Timestamp,
    /// The [`Catalog::fingerprint`](super::Catalog::fingerprint) by which users were chosen.
    pub catalog: u64,
    /// The page to read next (path and query only); never ahead of the rows beside it.
    pub next: Arc<str>,
    /// Rows read.
    pub seen: u64,
    /// Records among them that could not be understood.
    pub odd: u64,
    /// SKUs that were listed and not ours: what users hold of them was not kept.
    pub passed_over: Vec<SkuId>,
    /// In how many parts the users were laid down: fewer than [`u32::MAX`].
    pub parts: u32,
}

/// A step of a long reading.
#[derive(Clone, Debug)]
pub enum ReadWrite {
    /// It is so far, and these users came since the part before; a later part counts more.
    LaidDown {
        /// Whose users.
        tenant: TenantId,
        /// How far.
        read: Arc<Unfinished>,
        /// The users of part `read.parts - 1`.
        users: Vec<(UserId, Said)>,
    },
    /// It is done, or starts over: its parts go.
    Cleared {
        /// Whose.
        tenant: TenantId,
        /// How many parts there are.
        parts: u32,
    },
}
