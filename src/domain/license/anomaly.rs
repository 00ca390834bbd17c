//! What makes a license look as if it was passed on: its id, or a package that carries it, is used
//! from more tenants or addresses than fit what was sold. A note for people, never a ground for an
//! answer.

use std::fmt;

use jiff::{SignedDuration, Timestamp};

use super::{License, LicenseBook, LicenseKind, SightedKind, Sightings};

/// How long a tenant or an address counts after it was seen last.
pub(super) const SEEN_FOR: SignedDuration = SignedDuration::from_hours(7 * 24);

/// A license for few users is used from home, from work and on the way: so many addresses are no
/// wonder.
const ADDRESSES_LEAST: u64 = 20;

/// Something odd about how a license is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anomaly {
    /// From more tenants than it was sold for.
    Tenants(u64),
    /// From many more addresses than it has users.
    Addresses(u64),
}

impl Anomaly {
    /// The word that programs rely on.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tenants(_) => "many_tenants",
            Self::Addresses(_) => "many_addresses",
        }
    }
}

impl fmt::Display for Anomaly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tenants(count) => write!(f, "used from {count} tenants within 7 days"),
            Self::Addresses(count) => write!(f, "used from {count} addresses within 7 days"),
        }
    }
}

impl License {
    /// What is odd about what was seen of it lately. Where everybody may look (a capacity, a site, a
    /// license without a maximum of users) no number of addresses is; nor where more belong to its
    /// users than are kept.
    fn odd_about(&self, seen: &Sightings, now: Timestamp) -> Vec<Anomaly> {
        let lately = |kind| u64::try_from(seen.lately(kind, now)).unwrap_or(u64::MAX);
        let mut odd = Vec::new();
        let tenants = lately(SightedKind::Tenant);
        if self.kind == LicenseKind::User && tenants > u64::from(self.tenants_max) {
            odd.push(Anomaly::Tenants(tenants));
        }
        let addresses = lately(SightedKind::Address);
        let usual = self.max_users().map(|max| max.saturating_mul(2).max(ADDRESSES_LEAST));
        if usual.is_some_and(|usual| addresses > usual) {
            odd.push(Anomaly::Addresses(addresses));
        }
        odd
    }
}

impl LicenseBook {
    /// What is odd about how a license was used in the last seven days.
    pub fn anomalies(&self, it: &License, now: Timestamp) -> Vec<Anomaly> {
        self.sightings(it.id).map(|seen| it.odd_about(seen, now)).unwrap_or_default()
    }

    /// What becomes odd about a license by something that was just seen.
    pub fn new_anomaly(&self, it: &License, sighted: &super::Sighted) -> Option<Anomaly> {
        let before = self.anomalies(it, sighted.at);
        let seen = self.sightings(it.id).map(|all| all.as_ref().clone()).unwrap_or_default();
        let after = it.odd_about(&seen.with(sighted), sighted.at);
        after.into_iter().find(|odd| before.iter().all(|it| it.as_str() != odd.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::Sighted;
    use super::super::tests::sample;
    use super::*;
    use crate::domain::{Commit, Mirror};

    fn at(day: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24 * day)
    }

    fn sighted(kind: SightedKind, number: usize, day: i64) -> Sighted {
        Sighted { kind, text: Arc::from(number.to_string()), at: at(day) }
    }

    /// What is odd after so many were seen, one after the other.
    fn after(it: &License, kind: SightedKind, count: usize) -> (Vec<Anomaly>, usize) {
        let mut mirror = Mirror::default();
        let mut told = 0;
        for number in 0..count {
            let seen = sighted(kind, number, 0);
            told += usize::from(mirror.licenses().new_anomaly(it, &seen).is_some());
            let sighted = vec![(it.id, seen)];
            mirror = mirror.applied(&Commit { sighted, ..Commit::default() });
        }
        (mirror.licenses().anomalies(it, at(6)), told)
    }

    #[test]
    fn more_tenants_than_were_sold_and_more_addresses_than_users_are_odd_and_told_once() {
        let small = License { max: Some(5), ..sample() };
        assert_eq!(after(&small, SightedKind::Tenant, 1), (vec![], 0));
        assert_eq!(after(&small, SightedKind::Tenant, 3), (vec![Anomaly::Tenants(3)], 1));
        assert_eq!(after(&small, SightedKind::Address, 20), (vec![], 0));
        assert_eq!(after(&small, SightedKind::Address, 30), (vec![Anomaly::Addresses(30)], 1));
        let team = License { max: Some(15), tenants_max: 3, ..sample() };
        assert_eq!(after(&team, SightedKind::Tenant, 3), (vec![], 0));
        assert_eq!(after(&team, SightedKind::Address, 30), (vec![], 0));
        assert_eq!(after(&team, SightedKind::Address, 31), (vec![Anomaly::Addresses(31)], 1));
    }

    #[test]
    fn where_everybody_may_look_no_number_is_odd() {
        for kind in [LicenseKind::Capacity, LicenseKind::Site] {
            let it = License { kind, ..sample() };
            assert_eq!(after(&it, SightedKind::Address, 100), (vec![], 0));
            assert_eq!(after(&it, SightedKind::Tenant, 100), (vec![], 0));
        }
        let unlimited = License { max: None, ..sample() };
        assert_eq!(after(&unlimited, SightedKind::Address, 100), (vec![], 0));
    }

    #[test]
    fn what_was_seen_long_ago_counts_no_more_and_makes_room() {
        let mut seen = Sightings::default();
        for number in 0..Sightings::MOST {
            seen = seen.with(&sighted(SightedKind::Address, number, 0));
        }
        let later = |day| sighted(SightedKind::Address, 1_000, day);
        assert!(!seen.is_news(&later(1)), "there is no room");
        assert!(seen.is_news(&sighted(SightedKind::Tenant, 1, 1)), "for another kind there is");
        assert!(seen.is_news(&later(8)));
        let seen = seen.with(&later(8));
        assert_eq!(seen.lately(SightedKind::Address, at(8)), 1);
        assert_eq!(seen.iter().count(), Sightings::MOST);
    }
}
