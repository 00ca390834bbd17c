//! Where on disk each thing is: tables and keys. Numbers in keys are big-endian, so that byte
//! order is number order.

use crate::domain::{
    ActivationId, DealId, EventId, GroupId, LicenseId, NoteKey, NoticeNumber, ProductId, RunId,
    Sequence, SkuId, SourceKey, SubscriptionId, TenantId, UsageId, UserId, Watched,
};

/// One table: a tree of the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Table {
    /// The manifest, and whether a staged commit took effect.
    Meta,
    /// Everything but users, journal and runs.
    Facts,
    /// Buckets of users.
    Users,
    /// Chunks of changes, by sequence number.
    Journal,
    /// Runs, by number.
    Runs,
    /// Writes of a commit too large for one transaction, until all of them are in place.
    Stage,
}

impl Table {
    /// All of them, in the order of their numbers.
    pub(super) const ALL: [Self; 6] =
        [Self::Meta, Self::Facts, Self::Users, Self::Journal, Self::Runs, Self::Stage];

    /// Those that the manifest counts and an export holds.
    pub(super) const COUNTED: [Self; 4] = [Self::Facts, Self::Users, Self::Journal, Self::Runs];

    /// Its name in the engine.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Facts => "facts",
            Self::Users => "users",
            Self::Journal => "journal",
            Self::Runs => "runs",
            Self::Stage => "stage",
        }
    }

    /// Its number on disk.
    pub(super) const fn number(self) -> u8 {
        match self {
            Self::Meta => 0,
            Self::Facts => 1,
            Self::Users => 2,
            Self::Journal => 3,
            Self::Runs => 4,
            Self::Stage => 5,
        }
    }

    /// The table of this number.
    pub(super) fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.number() == number)
    }
}

/// What a record is: the first byte of a key in [`Table::Facts`], and part of every envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Subscription,
    Raw,
    Tenant,
    Skus,
    Source,
    HeldSeat,
    Document,
    Odd,
    Life,
    Unread,
    Asked,
    Access,
    HeldBack,
    Reported,
    Deal,
    Event,
    EventBody,
    Usage,
    UsageAnswer,
    Delivery,
    WebhookNote,
    Groups,
    Uses,
    License,
    Packaged,
    Activation,
    LicenseUsers,
    Sightings,
    Rights,
    Learned,
    UserCount,
    Users,
    Chunk,
    Run,
    Manifest,
    Staged,
    Unfinished,
    GraphSubscription,
}

impl Kind {
    const ALL: [(Self, u8); 38] = [
        (Self::Subscription, b'S'),
        (Self::Raw, b'R'),
        (Self::Tenant, b'T'),
        (Self::Skus, b'K'),
        (Self::Source, b'C'),
        (Self::HeldSeat, b'H'),
        (Self::Document, b'D'),
        (Self::Odd, b'O'),
        (Self::Life, b'L'),
        (Self::Unread, b'X'),
        (Self::Asked, b'A'),
        (Self::Access, b'b'),
        (Self::HeldBack, b'h'),
        (Self::Reported, b'p'),
        (Self::Deal, b'd'),
        (Self::Event, b'W'),
        (Self::EventBody, b'B'),
        (Self::Usage, b'V'),
        (Self::UsageAnswer, b'I'),
        (Self::Delivery, b'Q'),
        (Self::WebhookNote, b'Y'),
        (Self::Groups, b'g'),
        (Self::Uses, b'c'),
        (Self::License, b'l'),
        (Self::Packaged, b'k'),
        (Self::Activation, b'a'),
        (Self::LicenseUsers, b'u'),
        (Self::Sightings, b'z'),
        (Self::Rights, b'r'),
        (Self::Learned, b'e'),
        (Self::UserCount, b'G'),
        (Self::Users, b'U'),
        (Self::Chunk, b'J'),
        (Self::Run, b'N'),
        (Self::Manifest, b'M'),
        (Self::Staged, b'F'),
        (Self::Unfinished, b's'),
        (Self::GraphSubscription, b'n'),
    ];

    /// Its letter on disk.
    pub(super) fn letter(self) -> u8 {
        Self::ALL.iter().find(|(kind, _)| *kind == self).map_or(0, |(_, letter)| *letter)
    }

    /// The kind of this letter.
    pub(super) fn from_letter(letter: u8) -> Option<Self> {
        Self::ALL.iter().find(|(_, it)| *it == letter).map(|(kind, _)| *kind)
    }
}

/// The key of a record, before the number of the piece is put behind it.
pub(super) type Key = Vec<u8>;

fn key(kind: Kind, parts: &[&[u8]]) -> Key {
    let mut key = vec![kind.letter()];
    key.extend(parts.concat());
    key
}

pub(super) fn subscription(id: SubscriptionId) -> Key {
    key(Kind::Subscription, &[id.as_bytes()])
}

pub(super) fn raw(id: SubscriptionId) -> Key {
    key(Kind::Raw, &[id.as_bytes()])
}

pub(super) fn tenant(id: TenantId) -> Key {
    key(Kind::Tenant, &[id.as_bytes()])
}

pub(super) fn skus(id: TenantId) -> Key {
    key(Kind::Skus, &[id.as_bytes()])
}

pub(super) fn access(id: TenantId) -> Key {
    key(Kind::Access, &[id.as_bytes()])
}

pub(super) fn held_back(id: TenantId) -> Key {
    key(Kind::HeldBack, &[id.as_bytes()])
}

/// Nil stands for no tenant: no tenant has that id.
pub(super) fn source(it: SourceKey) -> Key {
    let tenant = it.tenant.map_or([0; 16], |id| *id.as_bytes());
    key(Kind::Source, &[&tenant, it.source.as_str().as_bytes()])
}

pub(super) fn held_seat(id: SubscriptionId, tenant: TenantId, user: UserId) -> Key {
    key(Kind::HeldSeat, &[id.as_bytes(), tenant.as_bytes(), user.as_bytes()])
}

pub(super) fn document(name: &str) -> Key {
    named(Kind::Document, name)
}

pub(super) fn asked(operation: &str) -> Key {
    named(Kind::Asked, operation)
}

pub(super) fn reported(id: TenantId) -> Key {
    key(Kind::Reported, &[id.as_bytes()])
}

pub(super) fn deal(id: DealId) -> Key {
    key(Kind::Deal, &[&id.0.to_be_bytes()])
}

/// The name's length comes first, so that the pieces of one record stay together.
fn named(kind: Kind, name: &str) -> Key {
    let (length, name) = length_first(name);
    key(kind, &[&length, name])
}

pub(super) fn odd(hash: u64) -> Key {
    key(Kind::Odd, &[&hash.to_be_bytes()])
}

pub(super) fn life(id: SubscriptionId) -> Key {
    key(Kind::Life, &[id.as_bytes()])
}

pub(super) fn unread(name: &str) -> Key {
    key(Kind::Unread, &[name.as_bytes()])
}

pub(super) fn event(id: EventId) -> Key {
    key(Kind::Event, &[&id.0.to_be_bytes()])
}

pub(super) fn event_body(id: EventId) -> Key {
    key(Kind::EventBody, &[&id.0.to_be_bytes()])
}

pub(super) fn usage(id: UsageId) -> Key {
    key(Kind::Usage, &[&id.0.to_be_bytes()])
}

pub(super) fn usage_answer(of: &[u8; 32]) -> Key {
    key(Kind::UsageAnswer, &[of])
}

/// Endpoints' names are of letters, digits, `-` and `_`.
pub(super) fn delivery(number: NoticeNumber, endpoint: &str) -> Key {
    key(Kind::Delivery, &[&number.0.to_be_bytes(), endpoint.as_bytes()])
}

pub(super) fn webhook_note(it: NoteKey) -> Key {
    key(Kind::WebhookNote, &[&it.at.as_nanosecond().to_be_bytes(), &[it.kind], &it.id])
}

/// Of [`Kind::Groups`]: how far they were read. Of [`Kind::Uses`]: how many there are.
pub(super) const WHOLE: u8 = 0;
/// Of [`Kind::Groups`]: one group. Of [`Kind::Uses`]: the days of a SKU.
pub(super) const ONE: u8 = 1;
/// A bucket of members, or of pseudonyms.
pub(super) const BUCKET: u8 = 2;

pub(super) fn groups(tenant: TenantId) -> Key {
    key(Kind::Groups, &[tenant.as_bytes(), &[WHOLE]])
}

pub(super) fn group(tenant: TenantId, group: GroupId) -> Key {
    key(Kind::Groups, &[tenant.as_bytes(), &[ONE], group.as_bytes()])
}

pub(super) fn members(tenant: TenantId, group: GroupId, bucket: usize) -> Key {
    key(Kind::Groups, &[tenant.as_bytes(), &[BUCKET], group.as_bytes(), &bucket_number(bucket)])
}

/// The product's length comes first, so that the pieces of one record stay together.
pub(super) fn uses(tenant: TenantId, product: &ProductId) -> Key {
    let (length, name) = length_first(product.as_str());
    key(Kind::Uses, &[tenant.as_bytes(), &[WHOLE], &length, name])
}

pub(super) fn use_bucket(tenant: TenantId, product: &ProductId, bucket: usize) -> Key {
    let (length, name) = length_first(product.as_str());
    let bucket = bucket_number(bucket);
    key(Kind::Uses, &[tenant.as_bytes(), &[BUCKET], &length, name, &bucket])
}

pub(super) fn series(tenant: TenantId, sku: SkuId) -> Key {
    key(Kind::Uses, &[tenant.as_bytes(), &[ONE], sku.as_bytes()])
}

fn bucket_number(bucket: usize) -> [u8; 4] {
    u32::try_from(bucket).unwrap_or(u32::MAX).to_be_bytes()
}

fn length_first(name: &str) -> ([u8; 2], &[u8]) {
    (u16::try_from(name.len()).unwrap_or(u16::MAX).to_be_bytes(), name.as_bytes())
}

pub(super) fn license(id: LicenseId) -> Key {
    key(Kind::License, &[id.as_bytes()])
}

pub(super) fn packaged(id: LicenseId) -> Key {
    key(Kind::Packaged, &[id.as_bytes()])
}

pub(super) fn activation(id: ActivationId) -> Key {
    key(Kind::Activation, &[id.as_bytes()])
}

pub(super) fn sightings(id: LicenseId) -> Key {
    key(Kind::Sightings, &[id.as_bytes()])
}

/// `count`, a power of two, is how many buckets there are: its logarithm is part of the key.
pub(super) fn license_users(id: LicenseId, count: usize, number: usize) -> Key {
    let log = u8::try_from(count.trailing_zeros()).unwrap_or(u8::MAX);
    let number = u32::try_from(number).unwrap_or(u32::MAX).to_be_bytes();
    key(Kind::LicenseUsers, &[id.as_bytes(), &[log], &number])
}

/// A sixteenth of a tenant's users, by the first four bits of their ids.
pub(super) fn rights(tenant: TenantId, sixteenth: u8) -> Key {
    key(Kind::Rights, &[tenant.as_bytes(), &[sixteenth]])
}

pub(super) fn learned(tenant: TenantId) -> Key {
    key(Kind::Learned, &[tenant.as_bytes()])
}

pub(super) fn user_count(tenant: TenantId) -> Key {
    key(Kind::UserCount, &[tenant.as_bytes()])
}

pub(super) fn users(tenant: TenantId, bucket: usize) -> Key {
    [tenant.as_bytes(), &bucket_number(bucket)[..]].concat()
}

/// How far a long reading is, by where it lies: part 0 if an enumeration, the last part if a sweep.
/// That there are two places and not a field keeps what older programs wrote readable.
pub(super) fn unfinished_head(tenant: TenantId, of: Sequence) -> Key {
    let part = match of {
        Sequence::Enumeration => 0,
        Sequence::Sweep => u32::MAX,
    };
    unfinished(tenant, part)
}

/// Which reading the head under the number of this part is of, if it is one.
pub(super) fn head_of(part: [u8; 4]) -> Option<Sequence> {
    match u32::from_be_bytes(part) {
        0 => Some(Sequence::Enumeration),
        u32::MAX => Some(Sequence::Sweep),
        _ => None,
    }
}

/// The users of a long reading: the parts from 1 on.
pub(super) fn unfinished(tenant: TenantId, part: u32) -> Key {
    key(Kind::Unfinished, &[tenant.as_bytes(), &part.to_be_bytes()])
}

pub(super) fn graph_subscription(tenant: TenantId, watched: Watched) -> Key {
    key(Kind::GraphSubscription, &[tenant.as_bytes(), watched.as_str().as_bytes()])
}

pub(super) fn chunk(sequence: u64) -> Key {
    sequence.to_be_bytes().to_vec()
}

pub(super) fn run(id: RunId) -> Key {
    id.0.to_be_bytes().to_vec()
}

/// The one manifest.
pub(super) const MANIFEST: &[u8] = b"manifest";

/// There while a staged commit has taken effect and is not yet all in place.
pub(super) const STAGED: &[u8] = b"staged";

/// The key of one piece of a record.
pub(super) fn piece(key: &[u8], piece: u16) -> Key {
    [key, &piece.to_be_bytes()[..]].concat()
}

/// A piece's key, taken apart.
pub(super) fn split_piece(key: &[u8]) -> Option<(&[u8], u16)> {
    let (key, piece) = key.split_last_chunk::<2>()?;
    Some((key, u16::from_be_bytes(*piece)))
}
