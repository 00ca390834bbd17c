//! Who really uses a product: counted by day under pseudonyms, for 28 days.
//!
//! Nobody can read from it who somebody is: an entry is found by a keyed hash of (tenant, user,
//! product), and the key stays in the store.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};

use super::shards::Shards;
use super::{BadBucket, ProductId, TenantId};

/// A day, counted from 1970-01-01 (UTC).
pub type Day = u16;

/// The day of a moment.
pub fn day_of(at: Timestamp) -> Day {
    Day::try_from(at.as_second().div_euclid(86_400)).unwrap_or(0)
}

/// A day as a date.
pub fn date_of(day: Day) -> Date {
    const FIRST: Date = Date::constant(1970, 1, 1);
    FIRST.saturating_add(SignedDuration::from_hours(24_i64.saturating_mul(day.into())))
}

/// A user of a product in a tenant, by a keyed hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pseudonym(pub u64);

/// How many days back a use counts, today included.
pub const USES_KEPT: Day = 28;

/// Uses of one product in one tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UseWrite {
    /// Where.
    pub tenant: TenantId,
    /// What.
    pub product: ProductId,
    /// Who, on which day.
    pub used: Vec<(Pseudonym, Day)>,
    /// The day it is: what is [`USES_KEPT`] days older is dropped.
    pub today: Day,
}

/// Who used one product in one tenant, on which of the last 28 days: 14 bytes a user.
///
/// ```text
/// entry = pseudonym (u64) | day of the last use (u16) | bits (u32): bit i is i days before it
/// ```
///
/// Numbers are big-endian.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct UseTable(Shards<8, ENTRY>);

const ENTRY: usize = 14;

impl UseTable {
    /// After these uses, without what is too old by `today`.
    #[must_use]
    pub fn noted(&self, used: &[(Pseudonym, Day)], today: Day) -> Self {
        let mut writes: BTreeMap<[u8; 8], Option<[u8; ENTRY]>> = BTreeMap::new();
        for (who, day) in used {
            let key = who.0.to_be_bytes();
            let before = writes.get(&key).copied().unwrap_or_else(|| self.0.get(&key));
            let (last, bits) = before.map_or((*day, 0), |it| parts(&it));
            let (last, bits) = marked((last, bits), *day);
            writes.insert(key, Some(entry(*who, last, bits)));
        }
        let noted = if writes.is_empty() { self.clone() } else { Self(self.0.patched(&writes)) };
        Self(noted.0.retained(|it| counts(parts(it).0, today, USES_KEPT)))
    }

    /// Whether this user is remembered.
    pub fn knows(&self, who: Pseudonym) -> bool {
        self.0.get(&who.0.to_be_bytes()).is_some()
    }

    /// Whether anything in it is too old by `today`.
    pub fn is_overdue(&self, today: Day) -> bool {
        self.0.iter().any(|it| !counts(parts(it).0, today, USES_KEPT))
    }

    /// How many used it within the last so many days, today included; at most [`USES_KEPT`].
    pub fn users_within(&self, days: Day, today: Day) -> usize {
        self.0.iter().filter(|it| counts(parts(it).0, today, days)).count()
    }

    /// How many used it on each of the last [`USES_KEPT`] days, the oldest first.
    pub fn daily(&self, today: Day) -> Vec<u32> {
        let mut counts = vec![0_u32; usize::from(USES_KEPT)];
        for it in self.0.iter() {
            let (last, bits) = parts(it);
            for back in (0..u16::try_from(u32::BITS).unwrap_or(0)).filter(|it| bits >> it & 1 == 1)
            {
                let ago = today.checked_sub(last.saturating_sub(back)).unwrap_or(USES_KEPT);
                let place = usize::from(USES_KEPT).checked_sub(usize::from(ago) + 1);
                if let Some(count) = place.and_then(|it| counts.get_mut(it)) {
                    *count += 1;
                }
            }
        }
        counts
    }

    /// How many are remembered.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nobody is.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The buckets' bytes, in order.
    pub fn buckets(&self) -> &[Arc<[u8]>] {
        self.0.buckets()
    }

    /// The table in these buckets.
    ///
    /// # Errors
    ///
    /// [`BadBucket`].
    pub fn from_buckets(buckets: impl IntoIterator<Item = Arc<[u8]>>) -> Result<Self, BadBucket> {
        Shards::from_buckets(buckets).map(Self)
    }
}

/// Whether a use on `day` is one of the last `days`, as of `today`. A day that lies ahead was noted
/// before the clock was set back: it counts.
fn counts(day: Day, today: Day, days: Day) -> bool {
    today.saturating_sub(day) < days
}

/// The days of use with one more.
fn marked((last, bits): (Day, u32), day: Day) -> (Day, u32) {
    let shifted = |by: Day| bits.checked_shl(by.into()).unwrap_or(0);
    match day.checked_sub(last) {
        Some(ahead) => (day, shifted(ahead) | 1),
        None => (last, bits | 1_u32.checked_shl((last - day).into()).unwrap_or(0)),
    }
}

fn parts(entry: &[u8; ENTRY]) -> (Day, u32) {
    let [_, _, _, _, _, _, _, _, d0, d1, b0, b1, b2, b3] = *entry;
    (Day::from_be_bytes([d0, d1]), u32::from_be_bytes([b0, b1, b2, b3]))
}

fn entry(who: Pseudonym, last: Day, bits: u32) -> [u8; ENTRY] {
    let mut entry = [0; ENTRY];
    let bytes = who.0.to_be_bytes().into_iter().chain(last.to_be_bytes()).chain(bits.to_be_bytes());
    for (place, byte) in entry.iter_mut().zip(bytes) {
        *place = byte;
    }
    entry
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANA: Pseudonym = Pseudonym(1);
    const BEN: Pseudonym = Pseudonym(2);

    #[test]
    fn a_user_counts_once_however_often_and_for_28_days() {
        let table = UseTable::default().noted(&[(ANA, 100), (ANA, 100), (BEN, 100)], 100);
        let table = table.noted(&[(ANA, 101), (ANA, 99)], 101);
        assert_eq!((table.users_within(28, 101), table.users_within(1, 101)), (2, 1));
        assert_eq!(table.daily(101)[25..], [1, 2, 1]);
        assert_eq!((table.users_within(28, 127), table.users_within(28, 128)), (2, 1));
        assert!(!table.is_overdue(127) && table.is_overdue(128));
        let later = table.noted(&[], 128);
        assert_eq!((later.len(), later.is_overdue(128)), (1, false));
        assert!(later.noted(&[], 129).is_empty());
    }

    #[test]
    fn days_come_in_any_order_and_again() {
        let days = [105, 103, 105, 104, 140, 103];
        let forward = UseTable::default().noted(&days.map(|it| (ANA, it)), 105);
        let mut one_by_one = UseTable::default();
        for day in days.into_iter().rev() {
            one_by_one = one_by_one.noted(&[(ANA, day)], 105);
        }
        assert_eq!(forward, one_by_one);
        assert_eq!(forward.users_within(28, 140), 1);
    }

    #[test]
    fn the_table_reads_back_from_its_buckets() {
        let used: Vec<_> = (0..5_000).map(|it| (Pseudonym(it * 7_919), 200)).collect();
        let table = UseTable::default().noted(&used, 200);
        assert!(table.buckets().len() > 1);
        assert!(table.buckets().iter().all(|it| it.len() < 3_900), "a value a bucket");
        assert_eq!(UseTable::from_buckets(table.buckets().to_vec()).unwrap(), table);
    }

    #[test]
    fn a_day_is_counted_in_utc() {
        let at = |text: &str| day_of(text.parse().unwrap());
        assert_eq!(at("1970-01-02T00:00:00Z"), 1);
        assert_eq!(date_of(0).to_string(), "1970-01-01");
        assert_eq!(date_of(20_781).to_string(), "2026-11-24");
        assert_eq!(date_of(Day::MAX).to_string(), "2149-06-06");
        assert_eq!(at("2026-11-21T23:59:59Z") + 1, at("2026-11-22T00:00:00Z"));
    }
}
