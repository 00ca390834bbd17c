//! Seeded chance: the same seed gives the same ids, the same customers and the same faults.

use uuid::Uuid;

/// One step of splitmix64: a good mix of 64 bits, small enough to be read.
fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Hash of a short list of numbers; order counts.
pub(crate) fn hash(parts: &[u64]) -> u64 {
    parts.iter().fold(0x5afe, |sum, part| mix(sum ^ mix(*part)))
}

/// Two halves of an id, for hashing.
pub(crate) fn halves(id: Uuid) -> [u64; 2] {
    let (high, low) = id.as_u64_pair();
    [high, low]
}

/// A directory object id: Entra's ids look like version 4.
pub(crate) fn guid(parts: &[u64]) -> Uuid {
    let high = hash(parts);
    let low = mix(high);
    Uuid::from_u64_pair((high & !0xf000) | 0x4000, (low & (u64::MAX >> 2)) | (1 << 63))
}

/// A marketplace id: 128 bits without version or variant.
/// Source: marketplace-saas.md 5.1 (25 of 380 recorded ids had version nibble 4).
pub(crate) fn odd_guid(parts: &[u64]) -> Uuid {
    let high = hash(parts);
    Uuid::from_u64_pair(high, mix(high ^ 0x0dd))
}

/// A stream of draws.
#[derive(Clone, Debug)]
pub(crate) struct Chance(u64);

impl Chance {
    /// A stream that depends on `seed` alone.
    pub(crate) fn new(seed: u64) -> Self {
        Self(mix(seed))
    }

    /// The next 64 bits.
    pub(crate) fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(1);
        mix(self.0)
    }

    /// A number below `end`; 0 when `end` is 0.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.draw().checked_rem(end).unwrap_or(0)
    }

    /// True in `percent` of 100 draws.
    pub(crate) fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// True with probability `chance` (0 to 1).
    pub(crate) fn hits(&mut self, chance: f64) -> bool {
        // A chance of 0 draws nothing, so that faults that are off leave the stream alone.
        if chance <= 0.0 {
            return false;
        }
        let draw = u32::try_from(self.draw() >> 32).unwrap_or(u32::MAX);
        f64::from(draw) < chance * f64::from(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chance_is_fair_and_repeats() {
        let mut chance = Chance::new(7);
        let hits = (0..10_000).filter(|_| chance.hits(0.25)).count();
        assert!((2_300..2_700).contains(&hits), "{hits}");
        assert_eq!(Chance::new(3).draw(), Chance::new(3).draw());
        assert!(!Chance::new(3).hits(0.0));
        assert!((0..100).all(|_| chance.hits(1.0)));
    }

    #[test]
    fn directory_ids_look_like_version_four_and_marketplace_ids_do_not() {
        assert!((0..100).all(|n| guid(&[1, n]).get_version_num() == 4));
        assert!((0..100).any(|n| odd_guid(&[1, n]).get_version_num() != 4));
    }
}
