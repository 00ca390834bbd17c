//! The publisher's licenses in figures: where they stand, which end soon, which are nearly full, and
//! which are used by more people than they should.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::{State, license_now};
use crate::domain::{Anomaly, License, LicenseId, LicenseKind, Mirror, Policy, ProductId};

/// How far ahead an end is told.
const SOON: SignedDuration = SignedDuration::from_hours(30 * 24);

/// Nearly full: so many percent of the maximum are taken.
const NEARLY_FULL: u64 = 90;

/// Named one by one, at most so many; the rest is counted.
const NAMED: usize = 25;

/// All licenses of one moment in figures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LicenseFigures {
    /// How many there are, by kind and state.
    pub counts: BTreeMap<(LicenseKind, State), u64>,
    /// How many tenants are bound.
    pub activations: usize,
    /// How many users have a place.
    pub places: u64,
    /// Usable ones that end within 30 days, the next one first; of a lapsed one the end of its grace.
    pub ending: Named<Timestamp>,
    /// Usable ones of whose maximum 90 % or more are taken, the fullest first: users and maximum.
    pub nearly_full: Named<(u64, u64)>,
    /// How many of those have more users than they allow.
    pub over: u64,
    /// Those that look as if their id or package was passed on.
    pub odd: Named<Vec<Anomaly>>,
}

/// Some licenses: how many, and the first of them by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named<T> {
    /// How many.
    pub count: u64,
    /// At most 25 of them.
    pub some: Vec<(LicenseId, ProductId, State, T)>,
}

impl<T> Default for Named<T> {
    fn default() -> Self {
        Self { count: 0, some: Vec::new() }
    }
}

impl<T> Named<T> {
    fn push(&mut self, it: &License, state: State, what: T) {
        self.some.push((it.id, it.product.clone(), state, what));
    }

    fn cut<K: Ord>(&mut self, key: impl Fn(&T) -> K) {
        self.some.sort_by_key(|(id, _, _, it)| (key(it), *id));
        self.count = u64::try_from(self.some.len()).unwrap_or(u64::MAX);
        self.some.truncate(NAMED);
    }
}

impl LicenseFigures {
    /// The figures of this moment. Looks at each license once, and at none of its users.
    pub fn of(mirror: &Mirror, policy: &Policy, now: Timestamp) -> Self {
        let book = mirror.licenses();
        let mut figures = Self { activations: book.activations().count(), ..Self::default() };
        let soon = now.saturating_add(SOON).unwrap_or(now);
        for it in book.all() {
            let stands = license_now(it, policy.grace, now);
            let count = figures.counts.entry((it.kind, stands.state)).or_default();
            *count = count.saturating_add(1);
            let users = book.users(it.id).map_or(0, |all| all.in_use(policy.release_after, now));
            figures.places = figures.places.saturating_add(users);
            let odd = book.anomalies(it, now);
            if !odd.is_empty() && stands.reason != super::Reason::LicenseRevoked {
                figures.odd.push(it, stands.state, odd);
            }
            if !stands.state.is_usable() {
                continue;
            }
            if let Some(end) = stands.ends.filter(|end| *end <= soon) {
                figures.ending.push(it, stands.state, end);
            }
            let full = |max: &u64| users.saturating_mul(100) >= max.saturating_mul(NEARLY_FULL);
            if let Some(max) = it.max_users().filter(full) {
                figures.over += u64::from(users > max);
                figures.nearly_full.push(it, stands.state, (users, max));
            }
        }
        figures.ending.cut(|end| *end);
        figures.nearly_full.cut(|(users, max)| max.saturating_sub(*users));
        figures.odd.cut(|_| ());
        figures
    }

    /// How many there are by state, whatever their kind.
    pub fn by_state(&self) -> BTreeMap<State, u64> {
        let mut all = BTreeMap::new();
        for ((_, state), count) in &self.counts {
            *all.entry(*state).or_insert(0_u64) += count;
        }
        all
    }

    /// How many there are.
    pub fn total(&self) -> u64 {
        self.counts.values().sum()
    }
}
