//! A large set of small entries of one length, immutable and shared: sorted, in buckets that are one
//! byte string each. The store writes the very same bytes to disk, a record a bucket.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::BadBucket;

/// Writes to one bucket: key, and the entry or nothing.
type Patch<'a, const K: usize, const N: usize> = Vec<(&'a [u8; K], Option<&'a [u8; N]>)>;

/// Entries of `N` bytes, each found by its first `K`: a persistent table. A copy with changes shares
/// every bucket that did not change.
///
/// Invariant: there are `2^bits` buckets; each entry is in the one that [`bucket_of`] names; in a
/// bucket keys ascend and each is there once.
#[derive(Clone)]
pub(super) struct Shards<const K: usize, const N: usize> {
    len: usize,
    buckets: Arc<[Arc<[u8]>]>,
}

/// Entries a bucket holds on average when a table is built.
const FILL: usize = 64;
/// Entries a bucket holds on average before the number of buckets grows: with entries of two dozen
/// bytes a bucket stays one value on disk.
const FULL: usize = 128;
/// Entries a bucket holds on average before the number of buckets shrinks.
const SPARSE: usize = 12;
/// The most buckets.
const BUCKETS_MAX: usize = 1 << 20;

impl<const K: usize, const N: usize> Shards<K, N> {
    /// A table of these entries; of two with one key the last counts.
    pub(super) fn new(entries: impl IntoIterator<Item = [u8; N]>) -> Self {
        let by_key: BTreeMap<[u8; K], [u8; N]> =
            entries.into_iter().map(|it| (key_of(&it), it)).collect();
        Self::of_sorted(by_key.into_values().collect())
    }

    /// A table of entries whose keys ascend.
    fn of_sorted(entries: Vec<[u8; N]>) -> Self {
        let count = entries.len().div_ceil(FILL).next_power_of_two().min(BUCKETS_MAX);
        let len = entries.len();
        let mut buckets: Vec<Vec<u8>> = vec![Vec::new(); count];
        for entry in entries {
            if let Some(bucket) = buckets.get_mut(bucket_of(&key_of::<K, N>(&entry), count)) {
                bucket.extend_from_slice(&entry);
            }
        }
        Self { len, buckets: buckets.into_iter().map(Arc::from).collect() }
    }

    /// The table with these buckets, as [`Self::buckets`] gave them.
    ///
    /// # Errors
    ///
    /// [`BadBucket`] if they are none of such a table.
    pub(super) fn from_buckets(
        buckets: impl IntoIterator<Item = Arc<[u8]>>,
    ) -> Result<Self, BadBucket> {
        let buckets: Arc<[Arc<[u8]>]> = buckets.into_iter().collect();
        let count = buckets.len();
        if !count.is_power_of_two() || count > BUCKETS_MAX {
            return Err(BadBucket);
        }
        let mut len = 0_usize;
        for (index, bytes) in buckets.iter().enumerate() {
            let (entries, rest) = bytes.as_chunks::<N>();
            let keys = || entries.iter().map(key_of::<K, N>);
            let ascending = keys().is_sorted_by(|a, b| a < b);
            if !rest.is_empty() || !ascending || keys().any(|it| bucket_of(&it, count) != index) {
                return Err(BadBucket);
            }
            len = len.saturating_add(entries.len());
        }
        Ok(Self { len, buckets })
    }

    /// The buckets' bytes, in order; equal bytes mean that nothing in a bucket changed.
    pub(super) fn buckets(&self) -> &[Arc<[u8]>] {
        &self.buckets
    }

    /// How many entries there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The entry with this key.
    pub(super) fn get(&self, key: &[u8; K]) -> Option<[u8; N]> {
        let bytes = self.buckets.get(bucket_of(key, self.buckets.len()))?;
        let entries = bytes.as_chunks::<N>().0;
        let at = entries.binary_search_by(|it| key_of::<K, N>(it).cmp(key)).ok()?;
        entries.get(at).copied()
    }

    /// All entries, in no order that means anything.
    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8; N]> {
        self.buckets.iter().flat_map(|it| it.as_chunks::<N>().0)
    }

    /// The table after these writes; `None` removes.
    #[must_use]
    pub(super) fn patched(&self, writes: &BTreeMap<[u8; K], Option<[u8; N]>>) -> Self {
        let count = self.buckets.len();
        let mut touched: BTreeMap<usize, Patch<'_, K, N>> = BTreeMap::new();
        for (key, entry) in writes {
            touched.entry(bucket_of(key, count)).or_default().push((key, entry.as_ref()));
        }
        let mut next: Vec<Arc<[u8]>> = self.buckets.to_vec();
        let mut len = self.len;
        for (index, writes) in touched {
            let Some(bucket) = next.get_mut(index) else { continue };
            let mut entries: BTreeMap<[u8; K], &[u8; N]> =
                bucket.as_chunks::<N>().0.iter().map(|it| (key_of(it), it)).collect();
            len = len.saturating_sub(entries.len());
            for (key, entry) in writes {
                match entry {
                    Some(entry) => entries.insert(*key, entry),
                    None => entries.remove(key),
                };
            }
            len = len.saturating_add(entries.len());
            let bytes: Vec<u8> = entries.into_values().flatten().copied().collect();
            if bytes != **bucket {
                *bucket = bytes.into();
            }
        }
        Self { len, buckets: next.into() }.resized()
    }

    /// The table with only those entries that `keep` names.
    #[must_use]
    pub(super) fn retained(&self, keep: impl Fn(&[u8; N]) -> bool) -> Self {
        let gone = self.iter().filter(|it| !keep(it)).map(|it| (key_of(it), None));
        let gone: BTreeMap<_, _> = gone.collect();
        if gone.is_empty() { self.clone() } else { self.patched(&gone) }
    }

    /// The table with as many buckets as it should have by now.
    fn resized(self) -> Self {
        let count = self.buckets.len();
        let sparse = count > 1 && self.len < count.saturating_mul(SPARSE);
        if sparse || self.len > count.saturating_mul(FULL) {
            let mut entries: Vec<[u8; N]> = self.iter().copied().collect();
            entries.sort_unstable_by_key(key_of::<K, N>);
            return Self::of_sorted(entries);
        }
        self
    }
}

impl<const K: usize, const N: usize> Default for Shards<K, N> {
    fn default() -> Self {
        Self { len: 0, buckets: Arc::from([Arc::from([])]) }
    }
}

/// Two tables are equal when they hold the same, however many buckets they have.
impl<const K: usize, const N: usize> PartialEq for Shards<K, N> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.buckets, &other.buckets)
            || self.len == other.len
                && self.iter().all(|it| other.get(&key_of(it)).as_ref() == Some(it))
    }
}

impl<const K: usize, const N: usize> Eq for Shards<K, N> {}

impl<const K: usize, const N: usize> fmt::Debug for Shards<K, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} entries", self.len)
    }
}

fn key_of<const K: usize, const N: usize>(entry: &[u8; N]) -> [u8; K] {
    entry.first_chunk::<K>().copied().unwrap_or([0; K])
}

/// The bucket of a key among `count`, which is a power of two: FNV-1a, mixed (the finalizer of
/// `MurmurHash3`), since ids need not be random.
fn bucket_of(key: &[u8], count: usize) -> usize {
    let fnv = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    let mut hash = key.iter().fold(0xcbf2_9ce4_8422_2325, fnv);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    usize::try_from(hash & (u64::try_from(count).unwrap_or(1).max(1) - 1)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Table = Shards<2, 3>;

    fn writes() -> impl Strategy<Value = BTreeMap<[u8; 2], Option<[u8; 3]>>> {
        let one =
            (0_u16..2_000, prop::option::weighted(0.7, any::<u8>())).prop_map(|(key, value)| {
                let [a, b] = key.to_be_bytes();
                ([a, b], value.map(|it| [a, b, it]))
            });
        prop::collection::btree_map(0_usize..600, one, 0..600)
            .prop_map(|it| it.into_values().collect())
    }

    proptest! {
        #[test]
        fn a_table_behaves_as_a_map_does(rounds in prop::collection::vec(writes(), 1..5)) {
            let (mut table, mut model) = (Table::default(), BTreeMap::new());
            for writes in rounds {
                table = table.patched(&writes);
                for (key, entry) in writes {
                    match entry {
                        Some(entry) => model.insert(key, entry),
                        None => model.remove(&key),
                    };
                }
                let mut found: Vec<_> = table.iter().copied().collect();
                found.sort_unstable();
                prop_assert_eq!(found, model.values().copied().collect::<Vec<_>>());
                prop_assert_eq!(table.len(), model.len());
                prop_assert_eq!(&Table::from_buckets(table.buckets().to_vec()).unwrap(), &table);
                prop_assert_eq!(&Table::new(model.values().copied()), &table);
                let few = table.retained(|it| it[2] < 100);
                prop_assert_eq!(few.len(), model.values().filter(|it| it[2] < 100).count());
            }
        }

        #[test]
        fn bytes_that_are_no_bucket_are_refused_without_a_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            if let Ok(table) = Table::from_buckets([Arc::from(bytes)]) {
                prop_assert_eq!(table.iter().count(), table.len());
            }
        }
    }
}
