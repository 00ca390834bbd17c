//! Who uses a license: distinct users in buckets of bytes, so that a use writes one small value and
//! a hundred thousand of them stay small.

use std::sync::Arc;

use imbl::Vector;
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::super::{HeldSeat, TenantId, UserId};
use super::order::{Order, Slot, Use};

/// Somebody who uses a license.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum LicenseUser {
    /// A user whom Entra names.
    Known(TenantId, UserId),
    /// A digest of the anonymous id that a package made up.
    Anonymous([u8; 16]),
}

/// Bytes of a user: tenant and user, or zeros and the digest. No tenant's id is all zeros.
type Key = [u8; 32];

/// Bytes of an entry: the user, and the seconds of first and last use.
const ENTRY: usize = 48;

/// How many users a bucket holds on average before there are twice as many buckets: it then still
/// fits into one value of the store.
const FULL: usize = 40;

/// What becomes of a user: `None` frees his place.
pub type LicenseUserWrites = Vec<(LicenseUser, Option<HeldSeat>)>;

/// The bytes are no buckets of users.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the users of a license cannot be read")]
pub struct BadLicenseUsers;

/// The users of one license, who came when, who asked when. Times are kept to the second.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct LicenseUsers {
    /// A power of two of them, or none.
    buckets: Vector<Arc<[u8]>>,
    order: Order,
}

impl LicenseUser {
    fn key(self) -> Key {
        let (front, back) = match self {
            Self::Known(tenant, user) => (*tenant.as_bytes(), *user.as_bytes()),
            Self::Anonymous(digest) => ([0; 16], digest),
        };
        let mut key = [0; 32];
        let (first, last) = key.split_at_mut(16);
        first.copy_from_slice(&front);
        last.copy_from_slice(&back);
        key
    }

    fn of_key(key: Key) -> Self {
        let (first, last) = key.split_at(16);
        let half = |it: &[u8]| it.try_into().unwrap_or([0; 16]);
        match TenantId::from_uuid(Uuid::from_bytes(half(first))) {
            Some(tenant) => Self::Known(tenant, UserId::from_uuid(Uuid::from_bytes(half(last)))),
            None => Self::Anonymous(half(last)),
        }
    }

    /// Whether he counts only as long as an anonymous id lives.
    pub const fn is_anonymous(self) -> bool {
        matches!(self, Self::Anonymous(_))
    }

    /// How long his place is his, though he does not come.
    pub fn kept_for(self, release_after: SignedDuration) -> SignedDuration {
        if self.is_anonymous() { release_after.min(super::ANONYMOUS_FOR) } else { release_after }
    }
}

/// What orders users who came in the same second: the end of their id. It need not be unique.
fn tag(key: &Key) -> u64 {
    key.last_chunk::<8>().map_or(0, |it| u64::from_be_bytes(*it))
}

/// FNV-1a.
fn hash(key: &Key) -> usize {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in key {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash ^= hash >> 32;
    usize::try_from(hash & u64::from(u32::MAX)).unwrap_or_default()
}

fn seconds(at: Timestamp) -> [u8; 8] {
    at.as_second().to_be_bytes()
}

fn slot(user: LicenseUser, seat: HeldSeat) -> Slot {
    Slot { taken: seat.taken_at.as_second(), tag: tag(&user.key()) }
}

fn use_of(user: LicenseUser, seat: HeldSeat) -> Use {
    Use { used: seat.last_used.as_second(), slot: slot(user, seat) }
}

fn entry(user: LicenseUser, seat: HeldSeat) -> [u8; ENTRY] {
    let mut bytes = [0; ENTRY];
    let parts = [&user.key()[..], &seconds(seat.taken_at), &seconds(seat.last_used)].concat();
    bytes.copy_from_slice(&parts);
    bytes
}

fn open(bytes: &[u8]) -> Option<(LicenseUser, HeldSeat)> {
    let (key, rest) = bytes.split_first_chunk::<32>()?;
    let (taken, rest) = rest.split_first_chunk::<8>()?;
    let used = rest.first_chunk::<8>()?;
    let at = |it: [u8; 8]| Timestamp::from_second(i64::from_be_bytes(it)).ok();
    let seat = HeldSeat { taken_at: at(*taken)?, last_used: at(*used)? };
    Some((LicenseUser::of_key(*key), seat))
}

impl LicenseUsers {
    /// How much newer a use must be before it is worth a write: a tenth of the time after which a place
    /// is free again, so that nobody loses one that he uses; a day at most.
    pub fn touch_every(release_after: SignedDuration) -> SignedDuration {
        (release_after / 10).min(SignedDuration::from_hours(24))
    }

    /// How many buckets there are.
    pub fn bucket_count(&self) -> usize {
        self.buckets.len()
    }

    /// The bytes of a bucket.
    pub fn bucket(&self, number: usize) -> Option<&Arc<[u8]>> {
        self.buckets.get(number)
    }

    /// How many users there are, those whose place is free again included.
    pub fn len(&self) -> usize {
        self.order.counts().0
    }

    /// Whether nobody uses it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The users in these buckets, as [`Self::bucket`] gave them.
    ///
    /// # Errors
    ///
    /// [`BadLicenseUsers`] if they are none.
    pub fn from_buckets(buckets: Vec<Arc<[u8]>>) -> Result<Self, BadLicenseUsers> {
        let count = buckets.len();
        for (number, bytes) in buckets.iter().enumerate() {
            let (entries, rest) = bytes.as_chunks::<ENTRY>();
            let here = |it: &[u8; ENTRY]| {
                open(it).is_some_and(|(user, _)| hash(&user.key()) & (count - 1) == number)
            };
            let sorted = entries.is_sorted_by(|a, b| a.first_chunk::<32>() < b.first_chunk::<32>());
            if !rest.is_empty() || !sorted || !count.is_power_of_two() || !entries.iter().all(here)
            {
                return Err(BadLicenseUsers);
            }
        }
        let mut users = Self { buckets: buckets.into(), order: Order::default() };
        users.order =
            Order::new(users.iter().map(|(user, seat)| (use_of(user, seat), user.is_anonymous())));
        Ok(users)
    }

    /// All of them, in no order that means anything.
    pub fn iter(&self) -> impl Iterator<Item = (LicenseUser, HeldSeat)> {
        self.buckets.iter().flat_map(|it| it.as_chunks::<ENTRY>().0).filter_map(|it| open(it))
    }

    /// When this user came and asked last, whether or not his place is still his.
    pub fn seat(&self, user: LicenseUser) -> Option<HeldSeat> {
        let key = user.key();
        let number = hash(&key) & self.buckets.len().checked_sub(1)?;
        let (entries, _) = self.buckets.get(number)?.as_chunks::<ENTRY>();
        let place = entries.binary_search_by(|it| it.first_chunk::<32>().cmp(&Some(&key))).ok()?;
        open(entries.get(place)?).map(|(_, seat)| seat)
    }

    /// The users after these writes.
    #[must_use]
    pub fn with(&self, writes: &[(LicenseUser, Option<HeldSeat>)]) -> Self {
        let Self { mut buckets, mut order } = self.clone();
        if buckets.is_empty() {
            buckets.push_back(Arc::from([]));
        }
        for (user, seat) in writes {
            let (key, mask) = (user.key(), buckets.len() - 1);
            let Some(bucket) = buckets.get_mut(hash(&key) & mask) else { continue };
            let mut entries = bucket.as_chunks::<ENTRY>().0.to_vec();
            let place = entries.binary_search_by(|it| it.first_chunk::<32>().cmp(&Some(&key)));
            let old = place.ok().and_then(|place| entries.get(place)).and_then(|it| open(it));
            if let Some((_, old)) = old {
                order.remove(use_of(*user, old), user.is_anonymous());
            }
            if let Some(seat) = seat {
                order.insert(use_of(*user, *seat), user.is_anonymous());
            }
            match (place, seat) {
                (Ok(place), Some(seat)) => {
                    if let Some(it) = entries.get_mut(place) {
                        *it = entry(*user, *seat);
                    }
                }
                (Err(place), Some(seat)) => entries.insert(place, entry(*user, *seat)),
                (Ok(place), None) => drop(entries.remove(place)),
                (Err(_), None) => continue,
            }
            *bucket = entries.concat().into();
            if order.counts().0 > buckets.len() * FULL {
                buckets = split(&buckets);
            }
        }
        if order.counts().0 == 0 { Self::default() } else { Self { buckets, order } }
    }

    /// How many places are taken.
    pub fn in_use(&self, release_after: SignedDuration, now: Timestamp) -> u64 {
        let (free, _) = self.order.free_count(release_after, now);
        count(self.len().saturating_sub(free))
    }

    /// How many of them are taken by anonymous users.
    pub fn anonymous_in_use(&self, release_after: SignedDuration, now: Timestamp) -> u64 {
        let (_, free) = self.order.free_count(release_after, now);
        count(self.order.counts().1.saturating_sub(free))
    }

    /// How many came then or later, as far as their places were not taken away since.
    pub fn used_since(&self, then: Timestamp) -> u64 {
        count(self.order.used_since(then.as_second()).0)
    }

    /// Since when more places than `max` are taken.
    pub fn over_since(
        &self,
        max: u64,
        release_after: SignedDuration,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let mut number = usize::try_from(max).ok()?;
        let mut free = self.order.free(release_after, now);
        free.sort_unstable();
        for it in free {
            number += usize::from(self.order.rank(it, || ()) <= number);
        }
        Timestamp::from_second(self.order.nth(number)?.taken).ok()
    }

    /// How many came before this user and still count: all of them when he is new or his place is
    /// free again. Below `max` those whose place is free again may be among them. Looks at a score
    /// of a hundred thousand users, and at places that became free since housekeeping came round.
    pub fn before(
        &self,
        user: Option<LicenseUser>,
        max: u64,
        release_after: SignedDuration,
        now: Timestamp,
    ) -> u64 {
        let own = user.and_then(|user| self.seat(user).map(|seat| (user, seat)));
        let own = own.filter(|(user, seat)| is_live(*user, *seat, release_after, now));
        let own = own.map(|(user, seat)| slot(user, seat));
        let ahead = own.map_or_else(|| self.len(), |own| self.order.rank(own, || ()));
        if count(ahead) < max {
            return count(ahead);
        }
        let free = self.order.free(release_after, now);
        let free = free.into_iter().filter(|it| own.is_none_or(|own| *it < own)).count();
        count(ahead.saturating_sub(free))
    }

    /// Those whose place is free again, at most so many, with what they had.
    pub fn released(
        &self,
        release_after: SignedDuration,
        now: Timestamp,
        most: usize,
    ) -> Vec<(LicenseUser, HeldSeat)> {
        if self.order.free_count(release_after, now).0 == 0 {
            return Vec::new();
        }
        let gone = self.iter().filter(|(user, seat)| !is_live(*user, *seat, release_after, now));
        gone.take(most).collect()
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

/// Whether somebody who used it last then still counts.
fn is_live(
    user: LicenseUser,
    seat: HeldSeat,
    release_after: SignedDuration,
    now: Timestamp,
) -> bool {
    now.duration_since(seat.last_used) <= user.kept_for(release_after)
}

/// Twice as many buckets.
fn split(buckets: &Vector<Arc<[u8]>>) -> Vector<Arc<[u8]>> {
    let mask = buckets.len() * 2 - 1;
    let mut next = vec![Vec::new(); mask + 1];
    for it in buckets.iter().flat_map(|it| it.as_chunks::<ENTRY>().0) {
        let Some(key) = it.first_chunk::<32>() else { continue };
        if let Some(bucket) = next.get_mut(hash(key) & mask) {
            bucket.extend_from_slice(it);
        }
    }
    next.into_iter().map(Arc::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(number: u128) -> LicenseUser {
        let tenant = TenantId::from_uuid(Uuid::from_u128(1 + number % 3)).unwrap();
        if number.is_multiple_of(5) {
            return LicenseUser::Anonymous(number.to_be_bytes());
        }
        LicenseUser::Known(tenant, UserId::from_uuid(Uuid::from_u128(number)))
    }

    fn at(hour: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_hours(hour)
    }

    fn seat(taken: i64, used: i64) -> HeldSeat {
        HeldSeat { taken_at: at(taken), last_used: at(used) }
    }

    #[test]
    fn thousands_of_users_come_and_go_and_buckets_stay_small() {
        let mut users = LicenseUsers::default();
        for number in 0..5_000_u128 {
            users =
                users.with(&[(user(number), Some(seat(i64::try_from(number).unwrap(), 9_000)))]);
        }
        assert_eq!((users.len(), users.iter().count()), (5_000, 5_000));
        let largest = (0..users.bucket_count()).filter_map(|it| users.bucket(it));
        assert!(largest.map(|it| it.len()).max().unwrap() < 4_000);
        let again = (0..users.bucket_count()).map(|it| Arc::clone(users.bucket(it).unwrap()));
        assert_eq!(LicenseUsers::from_buckets(again.collect()), Ok(users.clone()));
        assert_eq!(users.seat(user(4_321)), Some(seat(4_321, 9_000)));
        assert_eq!(
            users.before(Some(user(4_321)), 100, SignedDuration::from_hours(9_000), at(9_000)),
            4_321
        );
        assert_eq!(
            users.before(Some(user(7_777)), 100, SignedDuration::from_hours(9_000), at(9_000)),
            5_000
        );
        let gone: Vec<_> = (0..5_000).map(|it| (user(it), None)).collect();
        assert_eq!(users.with(&gone), LicenseUsers::default());
    }

    #[test]
    fn an_anonymous_id_counts_for_29_days_a_known_user_as_long_as_the_policy_says() {
        let none = LicenseUsers::default();
        let both = none.with(&[(user(1), Some(seat(0, 0))), (user(5), Some(seat(0, 0)))]);
        let policy = SignedDuration::from_hours(60 * 24);
        for (day, counted) in [(0, 2), (29, 2), (30, 1), (60, 1), (61, 0)] {
            assert_eq!(both.in_use(policy, at(day * 24)), counted, "day {day}");
            let freed = both.released(policy, at(day * 24), 10).len();
            assert_eq!(freed, 2 - usize::try_from(counted).unwrap(), "day {day}");
        }
        assert_eq!(both.in_use(SignedDuration::from_hours(24), at(25)), 0);
    }

    proptest::proptest! {
        /// The counts that are kept are those that one counts.
        #[test]
        fn everybody_s_place_is_what_a_count_of_all_says(
            writes in proptest::collection::vec(
                (0_u128..40, 0_i64..400, 0_i64..400, proptest::bool::weighted(0.85)), 0..120),
            days in (0_i64..60, 0_i64..60, 0_u64..12),
        ) {
            let (policy, now) = (SignedDuration::from_hours(days.0 * 24), at(days.1 * 24));
            let mut users = LicenseUsers::default();
            for (number, taken, after, stays) in writes {
                let seat = stays.then(|| seat(taken, taken + after));
                users = users.with(&[(user(number), seat)]);
            }
            let live = |it: &(LicenseUser, HeldSeat)| is_live(it.0, it.1, policy, now);
            let all: Vec<_> = users.iter().collect();
            let mut taken: Vec<_> = all.iter().filter(|it| live(it)).collect();
            taken.sort_by_key(|(user, seat)| slot(*user, *seat));
            proptest::prop_assert_eq!(users.in_use(policy, now), count(taken.len()));
            let anonymous = taken.iter().filter(|(user, _)| user.is_anonymous()).count();
            proptest::prop_assert_eq!(users.anonymous_in_use(policy, now), count(anonymous));
            let max = days.2;
            let over = taken.get(usize::try_from(max).unwrap()).map(|(_, seat)| seat.taken_at);
            proptest::prop_assert_eq!(users.over_since(max, policy, now), over);
            for number in 0..41 {
                let own = taken.iter().position(|(it, _)| *it == user(number));
                let before = count(own.unwrap_or(taken.len()));
                let said = users.before(Some(user(number)), max, policy, now);
                proptest::prop_assert_eq!(said < max, before < max);
                proptest::prop_assert!(said < max || said == before);
            }
            let buckets = (0..users.bucket_count()).map(|it| Arc::clone(users.bucket(it).unwrap()));
            let again = LicenseUsers::from_buckets(buckets.collect()).unwrap_or_default();
            proptest::prop_assert_eq!(again, users);
        }
    }

    #[test]
    fn bytes_that_are_no_buckets_are_refused() {
        let one = LicenseUsers::default().with(&[(user(1), Some(seat(0, 0)))]);
        let good = Arc::clone(one.bucket(0).unwrap());
        let check = |buckets: Vec<Arc<[u8]>>| LicenseUsers::from_buckets(buckets).is_ok();
        let empty = || Arc::<[u8]>::from([]);
        assert!(check(vec![Arc::clone(&good)]));
        assert!(!check(vec![Arc::from(&good[1..])]));
        assert!(!check(vec![[&good[..], &good[..]].concat().into()]));
        assert!(!check(vec![empty(), empty(), Arc::clone(&good)]));
        let wrong = hash(&user(1).key()) & 1 ^ 1;
        let mut two = vec![empty(), empty()];
        two[wrong] = good;
        assert!(!check(two));
    }
}
