//! What the users of one tenant hold, immutable and shared.
//!
//! A million users must fit into 200 MB, so nothing here has a heap object of its own: users live
//! in buckets of about 32, each one shared byte string ([`codec`]) that is looked up in place and
//! decoded only where it hits. The store writes the very same bytes to disk.

mod codec;
mod roll_call;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use self::codec::Bucket;
use super::{Packed, UserId, UserLicences};

pub use self::codec::BadBucket;
pub(super) use self::codec::{decode as decode_licences, encode as encode_licences};
pub use self::roll_call::RollCall;

/// What the users of one tenant hold: a persistent table. A copy with changes shares every bucket
/// that did not change.
///
/// Invariant: there are `2^bits` buckets, and each user is in the one that [`Self::bucket_of`]
/// names; nobody is in it who holds nothing.
#[derive(Clone)]
pub struct UserTable {
    bits: u8,
    len: usize,
    /// How many of them are there only because something about them could not be read.
    unread: usize,
    buckets: Buckets,
}

/// One encoded bucket.
type Bytes = Arc<[u8]>;

/// All buckets, on pages of [`Buckets::PAGE`]: a change copies one page and the list of pages, a
/// look-up follows two pointers. (A persistent vector follows four, each of which is a cache miss.)
#[derive(Clone)]
struct Buckets {
    len: usize,
    pages: Arc<[Arc<[Bytes]>]>,
}

impl Buckets {
    const PAGE: usize = 256;

    fn len(&self) -> usize {
        self.len
    }

    fn get(&self, index: usize) -> Option<&Bytes> {
        self.pages.get(index / Self::PAGE)?.get(index % Self::PAGE)
    }

    fn set(&mut self, index: usize, bytes: Bytes) {
        let page = Arc::make_mut(&mut self.pages).get_mut(index / Self::PAGE);
        let place = page.and_then(|it| Arc::make_mut(it).get_mut(index % Self::PAGE));
        if let Some(place) = place {
            *place = bytes;
        }
    }

    fn iter(&self) -> impl Iterator<Item = &Bytes> {
        self.pages.iter().flat_map(|it| it.iter())
    }
}

impl FromIterator<Bytes> for Buckets {
    fn from_iter<T: IntoIterator<Item = Bytes>>(buckets: T) -> Self {
        let all: Vec<Bytes> = buckets.into_iter().collect();
        Self { len: all.len(), pages: all.chunks(Self::PAGE).map(Arc::from).collect() }
    }
}

impl UserTable {
    /// Users a bucket holds on average when a table is built.
    const FILL: usize = 24;
    /// Users a bucket holds on average before the number of buckets doubles.
    const FULL: usize = 32;
    /// Users a bucket holds on average before the number of buckets shrinks.
    const SPARSE: usize = 4;
    /// The most bits: a table of 2^24 buckets holds half a billion users.
    const BITS_MAX: u8 = 24;

    /// A table of these users; of a user named twice the last one counts.
    pub fn new(users: impl IntoIterator<Item = (UserId, UserLicences)>) -> Self {
        let mut flat: Vec<(UserId, Vec<u8>)> = users
            .into_iter()
            .filter(|(_, it)| !it.is_empty())
            .map(|(user, it)| (user, codec::encode(&it)))
            .collect();
        // Stable, so that the last of equal ones stays the last; reversed it is the first kept.
        flat.reverse();
        flat.sort_by_key(|(user, _)| *user);
        flat.dedup_by_key(|(user, _)| *user);
        Self::of_encoded(&flat)
    }

    /// A table of users in ascending order, each once.
    fn of_encoded(users: &[(UserId, impl AsRef<[u8]>)]) -> Self {
        let bits = bits_for(users.len());
        let mut sorted: Vec<Vec<(UserId, &[u8])>> = vec![Vec::new(); 1 << bits];
        for (user, bytes) in users {
            if let Some(bucket) = sorted.get_mut(index_of(*user, bits)) {
                bucket.push((*user, bytes.as_ref()));
            }
        }
        let buckets = sorted.iter().map(|it| codec::pack(it)).collect();
        let unread = users.iter().filter(|(_, it)| codec::is_unread(it.as_ref())).count();
        Self { bits, len: users.len(), unread, buckets }
    }

    /// The table with these buckets, as [`Self::buckets`] gave them.
    ///
    /// # Errors
    ///
    /// [`BadBucket`] if they are not a power of two in number, or one cannot be read or holds a
    /// user of another.
    pub fn from_buckets(buckets: impl IntoIterator<Item = Arc<[u8]>>) -> Result<Self, BadBucket> {
        let buckets: Buckets = buckets.into_iter().collect();
        let bits = u8::try_from(buckets.len().trailing_zeros()).unwrap_or(u8::MAX);
        if !buckets.len().is_power_of_two() || bits > Self::BITS_MAX {
            return Err(BadBucket);
        }
        let (mut len, mut unread) = (0_usize, 0_usize);
        for (index, bytes) in buckets.iter().enumerate() {
            let bucket = Bucket::check(bytes)?;
            if bucket.users().any(|user| index_of(user, bits) != index) {
                return Err(BadBucket);
            }
            len = len.saturating_add(bucket.len());
            unread = unread.saturating_add(bucket.unread());
        }
        Ok(Self { bits, len, unread, buckets })
    }

    /// The encoded buckets, in order. Their number is a power of two; equal bytes mean that nothing
    /// in a bucket changed.
    pub fn buckets(&self) -> impl Iterator<Item = &Arc<[u8]>> {
        self.buckets.iter()
    }

    /// The encoded bucket of this number.
    pub fn bucket(&self, index: usize) -> Option<&Arc<[u8]>> {
        self.buckets.get(index)
    }

    /// How many buckets there are.
    pub fn bucket_count(&self) -> usize {
        self.buckets.len()
    }

    /// In which bucket this user is, or would be.
    pub fn bucket_of(&self, user: UserId) -> usize {
        index_of(user, self.bits)
    }

    /// What this user holds.
    pub fn get(&self, user: UserId) -> Option<UserLicences> {
        Bucket::of(self.buckets.get(self.bucket_of(user))?).find(user).and_then(codec::decode)
    }

    /// Whether this user holds anything.
    pub fn contains(&self, user: UserId) -> bool {
        self.buckets.get(self.bucket_of(user)).is_some_and(|it| Bucket::of(it).find(user).is_some())
    }

    /// Whether this is what the user holds, or holds nothing, to the byte.
    pub fn is(&self, user: UserId, holds: &Packed) -> bool {
        let bucket = self.buckets.get(self.bucket_of(user));
        let here = bucket.and_then(|it| Bucket::of(it).find(user));
        here.map_or_else(|| holds.is_empty(), |it| it == holds.bytes())
    }

    /// How many users hold, or are meant to hold, a licence.
    pub fn licensed(&self) -> usize {
        self.len.saturating_sub(self.unread)
    }

    /// How many users are there only because something about them could not be read.
    pub fn unread(&self) -> usize {
        self.unread
    }

    /// How many users there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nobody is there.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All users who hold anything, in no order that means anything.
    pub fn iter(&self) -> impl Iterator<Item = (UserId, UserLicences)> {
        self.entries().filter_map(|(user, bytes)| Some((user, codec::decode(bytes)?)))
    }

    fn entries(&self) -> impl Iterator<Item = (UserId, &[u8])> {
        self.buckets.iter().flat_map(|it| Bucket::of(it).entries())
    }

    /// The table after these users hold this; `None`, or nothing at all, leaves the table. Of a
    /// user named twice the last one counts.
    #[must_use]
    pub fn patched(&self, writes: &[(UserId, Option<UserLicences>)]) -> Self {
        let mut touched: BTreeMap<usize, BTreeMap<UserId, Option<Vec<u8>>>> = BTreeMap::new();
        for (user, licences) in writes {
            let bytes = licences.as_ref().filter(|it| !it.is_empty()).map(codec::encode);
            touched.entry(self.bucket_of(*user)).or_default().insert(*user, bytes);
        }
        let mut next = self.clone();
        for (index, writes) in touched {
            let Some(before) = self.buckets.get(index) else { continue };
            let mut users: BTreeMap<UserId, &[u8]> = Bucket::of(before).entries().collect();
            next.len = next.len.saturating_sub(users.len());
            next.unread = next.unread.saturating_sub(Bucket::of(before).unread());
            for (user, bytes) in &writes {
                match bytes {
                    Some(bytes) => users.insert(*user, bytes.as_slice()),
                    None => users.remove(user),
                };
            }
            next.len = next.len.saturating_add(users.len());
            let after = codec::pack(&users.into_iter().collect::<Vec<_>>());
            next.unread = next.unread.saturating_add(Bucket::of(&after).unread());
            if after != *before {
                next.buckets.set(index, after);
            }
        }
        next.resized()
    }

    /// The table with as many buckets as it should have by now.
    fn resized(self) -> Self {
        let buckets = self.buckets.len();
        let sparse = buckets > 1 && self.len < buckets.saturating_mul(Self::SPARSE);
        if sparse || self.len > buckets.saturating_mul(Self::FULL) {
            let mut users: Vec<(UserId, &[u8])> = self.entries().collect();
            users.sort_unstable_by_key(|(user, _)| *user);
            return Self::of_encoded(&users);
        }
        self
    }
}

impl Default for UserTable {
    fn default() -> Self {
        Self { bits: 0, len: 0, unread: 0, buckets: Buckets::from_iter([Arc::from([])]) }
    }
}

/// Two tables are equal when the same users hold the same, however many buckets they have.
impl PartialEq for UserTable {
    fn eq(&self, other: &Self) -> bool {
        if self.len != other.len {
            return false;
        }
        if self.bits == other.bits {
            let same = |(a, b): (&Arc<[u8]>, &Arc<[u8]>)| Arc::ptr_eq(a, b) || a == b;
            return self.buckets.iter().zip(other.buckets.iter()).all(same);
        }
        let other_holds = |user| Bucket::of(other.buckets.get(other.bucket_of(user))?).find(user);
        self.entries().all(|(user, bytes)| other_holds(user) == Some(bytes))
    }
}

impl Eq for UserTable {}

impl fmt::Debug for UserTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// How many bits number the buckets of a table of this many users.
fn bits_for(users: usize) -> u8 {
    let buckets = users.div_ceil(UserTable::FILL).next_power_of_two();
    u8::try_from(buckets.trailing_zeros()).unwrap_or(u8::MAX).min(UserTable::BITS_MAX)
}

/// The bucket of a user among `2^bits`. Object ids are random but for the bits that make them
/// UUIDs; ids of tests and of other clouds need not be, so they are mixed (the finalizer of
/// `MurmurHash3`).
fn index_of(user: UserId, bits: u8) -> usize {
    let (high, low) = user.as_uuid().as_u64_pair();
    let mut hash = high ^ low.rotate_left(32);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^= hash >> 33;
    let mask = (1_u64 << bits) - 1;
    usize::try_from(hash & mask).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{GroupId, Licence, Path, PathState, RunId, ServicePlanId, SkuId, Via};
    use proptest::prelude::*;
    use uuid::Uuid;

    fn word() -> impl Strategy<Value = Arc<str>> {
        "[a-zA-Zé]{0,12}".prop_map(Arc::from)
    }

    fn plans() -> impl Strategy<Value = Vec<ServicePlanId>> {
        let plan = any::<u128>().prop_map(|it| ServicePlanId::from_uuid(Uuid::from_u128(it)));
        prop::collection::vec(plan, 0..4)
    }

    fn path() -> impl Strategy<Value = Path> {
        let via = prop_oneof![
            Just(Via::Direct),
            any::<u128>().prop_map(|it| Via::Group(GroupId::from_uuid(Uuid::from_u128(it)))),
        ];
        let state = prop_oneof![
            Just(PathState::Active),
            Just(PathState::ActiveWithError),
            Just(PathState::Disabled),
            Just(PathState::Error),
            word().prop_map(PathState::Unrecognized),
        ];
        (via, state, prop::option::of(word()), plans()).prop_map(
            |(via, state, error, disabled_plans)| Path { via, state, error, disabled_plans },
        )
    }

    fn licence() -> impl Strategy<Value = Licence> {
        let paths = prop::collection::vec(path(), 0..4);
        (any::<u128>(), any::<bool>(), plans(), paths).prop_map(
            |(sku, assigned, disabled_plans, paths)| Licence {
                sku: SkuId::from_uuid(Uuid::from_u128(sku)),
                assigned,
                disabled_plans,
                paths,
            },
        )
    }

    fn licences() -> impl Strategy<Value = UserLicences> {
        let marks = (prop::option::of(any::<u64>()), any::<bool>());
        (prop::collection::vec(licence(), 0..4), marks).prop_map(|(licences, (missing, unread))| {
            UserLicences { licences, missing_since: missing.map(RunId), unread }
        })
    }

    fn user(n: u16) -> UserId {
        UserId::from_uuid(Uuid::from_u128(u128::from(n)))
    }

    fn writes() -> impl Strategy<Value = Vec<(UserId, Option<UserLicences>)>> {
        let one = ((0_u16..300).prop_map(user), prop::option::weighted(0.8, licences()));
        prop::collection::vec(one, 0..120)
    }

    proptest! {
        #[test]
        fn what_a_user_holds_reads_back_as_it_was(it in licences()) {
            prop_assert_eq!(codec::decode(&codec::encode(&it)), Some(it));
        }

        #[test]
        fn a_table_behaves_as_a_map_does(rounds in prop::collection::vec(writes(), 1..6)) {
            let mut table = UserTable::default();
            let mut model: BTreeMap<UserId, UserLicences> = BTreeMap::new();
            for writes in rounds {
                table = table.patched(&writes);
                for (user, it) in writes {
                    match it.filter(|it| !it.is_empty()) {
                        Some(it) => model.insert(user, it),
                        None => model.remove(&user),
                    };
                }
                let found: BTreeMap<_, _> = table.iter().collect();
                prop_assert_eq!(&found, &model);
                prop_assert_eq!(table.len(), model.len());
                for n in 0..300 {
                    prop_assert_eq!(table.get(user(n)), model.get(&user(n)).cloned());
                    prop_assert_eq!(table.contains(user(n)), model.contains_key(&user(n)));
                }
                prop_assert_eq!(&UserTable::new(model.clone()), &table);
                let stored = table.buckets().cloned().collect::<Vec<_>>();
                prop_assert_eq!(&UserTable::from_buckets(stored).unwrap(), &table);
            }
        }

        #[test]
        fn bytes_that_are_no_bucket_are_refused_without_a_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            if let Ok(table) = UserTable::from_buckets([Arc::from(bytes)]) {
                prop_assert_eq!(table.iter().count(), table.len());
                let licensed = table.iter().filter(|it| !it.1.licences.is_empty()).count();
                prop_assert_eq!(licensed, table.licensed());
            }
        }
    }

    #[test]
    fn a_bucket_with_one_bit_flipped_never_panics() {
        let one = |n| {
            (
                user(n),
                UserLicences {
                    licences: vec![Licence {
                        sku: SkuId::from_uuid(Uuid::from_u128(7)),
                        assigned: true,
                        disabled_plans: Vec::new(),
                        paths: Vec::new(),
                    }],
                    missing_since: None,
                    unread: false,
                },
            )
        };
        let table = UserTable::new((1..20).map(one));
        let whole = table.bucket(0).unwrap().to_vec();
        for bit in 0..whole.len() * 8 {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            if let Ok(table) = UserTable::from_buckets([Arc::from(bytes)]) {
                assert_eq!(table.iter().count(), table.len());
            }
        }
    }

    #[test]
    fn the_last_of_two_writes_to_a_user_counts() {
        let held = |run| UserLicences {
            licences: vec![Licence {
                sku: SkuId::from_uuid(Uuid::from_u128(7)),
                assigned: true,
                disabled_plans: Vec::new(),
                paths: Vec::new(),
            }],
            missing_since: Some(RunId(run)),
            unread: true,
        };
        let table = UserTable::new([(user(1), held(1)), (user(1), held(2))]);
        assert_eq!((table.len(), table.get(user(1))), (1, Some(held(2))));
        let table = table.patched(&[(user(1), None), (user(1), Some(held(3)))]);
        assert_eq!((table.len(), table.get(user(1))), (1, Some(held(3))));
    }
}
