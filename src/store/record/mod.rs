//! The envelope around every value on disk, and the records inside.
//!
//! ```text
//! value = version u16 | kind u8 | piece u16 | pieces u16 | written_at i64 (ms) | payload | crc32c u32
//! ```
//!
//! All numbers are big-endian. The checksum also covers the table and the key, so that a value at
//! the wrong place is found out too. A value is at most [`VALUE_MAX`] bytes: sled puts large ones
//! into files that it never syncs. A longer payload is cut into pieces, each with its own envelope.
//!
//! What is inside the payload is told by version and kind: the plain structs of `v1_*.rs`, which
//! are converted from and to the domain by one match a direction. The envelope itself never changes.

mod v1_access;
mod v1_asked;
mod v1_base;
mod v1_directory;
mod v1_groups;
mod v1_inbox;
mod v1_journal;
mod v1_license;
mod v1_life;
mod v1_manifest;
mod v1_outbox;
mod v1_report;
mod v1_rights;
mod v1_subscription;
mod v1_unfinished;
mod v1_usage;
mod v1_watched;
mod v1_webhook_log;

use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::StoreError;
use super::layout::{Kind, Table};

pub(super) use v1_access::{AccessV1, HeldBackV1};
pub(super) use v1_asked::AskedV1;
pub(super) use v1_directory::{SkusV1, SourceV1, TenantV1};
pub(super) use v1_groups::{CountV1, GroupV1, GroupsV1, SeriesV1};
pub(super) use v1_inbox::EventV1;
pub(super) use v1_journal::{ChangeV1, ChunkV1, RunV1};
pub(super) use v1_license::{ActivationV1, LicenseV1, PackagedV1, SightingsV1};
pub(super) use v1_life::{LifeV1, UnreadV1};
pub(super) use v1_manifest::{ManifestV1, StagedV1, TallyV1, UserCountV1};
pub(super) use v1_outbox::DeliveryV1;
pub(super) use v1_report::{DealV1, ReportedV1};
pub(super) use v1_rights::{LearnedV1, RightsV1};
pub(super) use v1_subscription::{HeldSeatV1, OddV1, SubscriptionV1};
pub(super) use v1_unfinished::{PartV1, UnfinishedV1, users_of_part};
pub(super) use v1_usage::{UsageAnswerV1, UsageV1};
pub(super) use v1_watched::GraphSubscriptionV1;
pub(super) use v1_webhook_log::NoteV1;

/// The newest record version that this program knows, and the one it writes.
pub(super) const VERSION: u16 = 1;

/// The most bytes of a value. With the staging table's byte it is still below 4 KiB.
pub(super) const VALUE_MAX: usize = 4_000;

const HEAD: usize = 15;
const TAIL: usize = 4;

/// The most payload bytes of one piece.
pub(super) const PAYLOAD_MAX: usize = VALUE_MAX - HEAD - TAIL;

/// A value taken out of its envelope.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opened<'a> {
    pub(super) kind: Kind,
    pub(super) piece: u16,
    pub(super) pieces: u16,
    pub(super) payload: &'a [u8],
}

/// Where a piece belongs, and to what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    pub(super) table: Table,
    /// The key with the number of the piece.
    pub(super) key: &'a [u8],
    pub(super) kind: Kind,
    pub(super) piece: u16,
    pub(super) pieces: u16,
}

/// Puts one piece into its envelope.
pub(super) fn seal(place: Place<'_>, written_at: Timestamp, payload: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(HEAD + payload.len() + TAIL);
    value.extend(VERSION.to_be_bytes());
    value.push(place.kind.letter());
    value.extend(place.piece.to_be_bytes());
    value.extend(place.pieces.to_be_bytes());
    value.extend(written_at.as_millisecond().to_be_bytes());
    value.extend(payload);
    let checksum = checksum(place.table, place.key, &value);
    value.extend(checksum.to_be_bytes());
    value
}

/// Takes a value out of its envelope.
///
/// # Errors
///
/// [`StoreError::Damaged`] if it is not what was sealed there, [`StoreError::Newer`] if a newer
/// program sealed it.
pub(super) fn open<'a>(
    table: Table,
    key: &[u8],
    value: &'a [u8],
) -> Result<Opened<'a>, StoreError> {
    let wrong =
        |what: &str| StoreError::damaged(format!("a record of table {} {what}", table.name()));
    let (body, tail) = value.split_last_chunk::<TAIL>().ok_or_else(|| wrong("is too short"))?;
    if u32::from_be_bytes(*tail) != checksum(table, key, body) {
        return Err(wrong("has a wrong checksum"));
    }
    let (head, payload) = body.split_first_chunk::<HEAD>().ok_or_else(|| wrong("is too short"))?;
    let [v0, v1, kind, p0, p1, n0, n1, ..] = *head;
    let found = u16::from_be_bytes([v0, v1]);
    if found > VERSION {
        return Err(StoreError::Newer { found, known: VERSION });
    }
    let kind = Kind::from_letter(kind).ok_or_else(|| wrong("is of no known kind"))?;
    let (piece, pieces) = (u16::from_be_bytes([p0, p1]), u16::from_be_bytes([n0, n1]));
    Ok(Opened { kind, piece, pieces, payload })
}

fn checksum(table: Table, key: &[u8], body: &[u8]) -> u32 {
    let start = crc32c::crc32c_append(crc32c::crc32c(&[table.number()]), key);
    crc32c::crc32c_append(start, body)
}

/// What a value adds to its table's tally: any other value, or the same elsewhere, adds something
/// else. Sums do not depend on the order.
pub(super) fn hash(table: Table, key: &[u8], value: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64 ^ u64::from(table.number());
    for byte in key {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    // The sealed checksum stands for the value; `open` has compared the two.
    let seal = value.last_chunk::<TAIL>().map_or(0, |it| u32::from_be_bytes(*it));
    hash ^= u64::from(seal) << 32 | u64::try_from(value.len()).unwrap_or(u64::MAX);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

/// The payload of a record.
///
/// # Errors
///
/// [`StoreError::WriteFailed`], which no record of ours brings about.
pub(super) fn encode(it: &impl Serialize) -> Result<Vec<u8>, StoreError> {
    postcard::to_stdvec(it).map_err(|error| StoreError::WriteFailed {
        what: format!("a record cannot be encoded: {error}").into(),
    })
}

/// The record in a payload, all of it.
///
/// # Errors
///
/// [`StoreError::Damaged`].
pub(super) fn decode<T: DeserializeOwned>(kind: Kind, payload: &[u8]) -> Result<T, StoreError> {
    match postcard::take_from_bytes(payload) {
        Ok((it, [])) => Ok(it),
        Ok(_) => Err(StoreError::damaged(format!("a {kind:?} record is longer than it should be"))),
        Err(error) => {
            Err(StoreError::damaged(format!("a {kind:?} record cannot be read: {error}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flipped_bit_or_a_wrong_place_is_found_out() {
        let place =
            Place { table: Table::Facts, key: b"Tx\0\0", kind: Kind::Tenant, piece: 0, pieces: 1 };
        let value = seal(place, Timestamp::UNIX_EPOCH, b"payload");
        assert_eq!(open(Table::Facts, b"Tx\0\0", &value).unwrap().payload, b"payload");
        assert!(open(Table::Users, b"Tx\0\0", &value).is_err());
        assert!(open(Table::Facts, b"Ty\0\0", &value).is_err());
        for bit in 0..value.len() * 8 {
            let mut value = value.clone();
            value[bit / 8] ^= 1 << (bit % 8);
            let found = open(Table::Facts, b"Tx\0\0", &value);
            assert!(matches!(found, Err(StoreError::Damaged { .. })), "bit {bit}");
        }
        for length in 0..value.len() {
            assert!(open(Table::Facts, b"Tx\0\0", &value[..length]).is_err(), "{length} bytes");
        }
    }
}
