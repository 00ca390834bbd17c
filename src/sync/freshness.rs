//! How old changes are when answers follow them, by the way they came.
//!
//! A change counts from when Microsoft says that it made it (`lastUpdatedDateTime` of a licence's
//! path); where that is not said, from when a notification told of the user. A licence that was taken
//! away names no moment, so removals are measured where they were notified of and nowhere else. What
//! was changed long before it could have been known (a tenant's first read) is not counted.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::domain::{Licence, UserLicences};

/// The upper edges of the buckets, in seconds: from the fastest look-up to a missed sweep.
const BUCKETS_S: [f64; 13] =
    [1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 300.0, 600.0, 1_800.0, 3_600.0, 21_600.0, 86_400.0];

/// The latest ages of each way that a summary is made of.
const RECENT_MAX: usize = 256;

/// A change that was made longer than this before the last complete read is no news.
pub(super) const NEWS: SignedDuration = SignedDuration::from_hours(24);

/// Whether Microsoft's newest date of what a user holds is that of the change: only a path that is new,
/// or stands otherwise, brings one. Of what was taken away the dates that are left say nothing.
pub(super) fn brings_a_date(before: Option<&UserLicences>, after: Option<&UserLicences>) -> bool {
    let all = |it: Option<&UserLicences>| it.map(|it| it.licences.clone()).unwrap_or_default();
    let before = all(before);
    let is_new = |it: &Licence| {
        let known = before.iter().find(|old| old.sku == it.sku);
        known.is_none_or(|old| it.paths.iter().any(|path| !old.paths.contains(path)))
    };
    all(after).iter().any(is_new)
}

/// How a change came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// By the look-up of somebody who was refused.
    Lookup,
    /// By a change notification, and the look-up or run that it started.
    Notification,
    /// By a delta round.
    Delta,
    /// By a full read.
    Sweep,
}

impl Way {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Lookup, Self::Notification, Self::Delta, Self::Sweep];

    /// Its word in metrics and `status`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lookup => "lookup",
            Self::Notification => "notification",
            Self::Delta => "delta",
            Self::Sweep => "sweep",
        }
    }
}

/// The latest changes that came one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Which way.
    pub way: Way,
    /// Changes since the start.
    pub count: u64,
    /// The age that half of the latest had at most, in seconds.
    pub median_s: u64,
    /// The greatest age of the latest, in seconds.
    pub slowest_s: u64,
}

/// Ages of changes since the start. Cheap to clone: all clones count together.
#[derive(Clone)]
pub struct Ages(Arc<Shared>);

struct Shared {
    histogram: Family<WayLabel, Histogram, fn() -> Histogram>,
    recent: Mutex<[Recent; Way::ALL.len()]>,
}

#[derive(Default)]
struct Recent {
    count: u64,
    ages_s: VecDeque<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WayLabel {
    path: &'static str,
}

impl Default for Ages {
    fn default() -> Self {
        Self(Arc::new(Shared {
            histogram: Family::new_with_constructor(|| Histogram::new(BUCKETS_S)),
            recent: Mutex::default(),
        }))
    }
}

impl Ages {
    /// A change that was made at one moment is committed at another. Clocks differ: an age below
    /// nothing is none.
    pub(super) fn committed(&self, way: Way, changed: Timestamp, now: Timestamp) {
        let age = now.duration_since(changed).max(SignedDuration::ZERO);
        let label = WayLabel { path: way.as_str() };
        self.0.histogram.get_or_create(&label).observe(age.as_secs_f64());
        let mut recent = self.0.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let of = Way::ALL.iter().zip(recent.iter_mut()).find(|(it, _)| **it == way);
        let Some((_, recent)) = of else { return };
        recent.count = recent.count.saturating_add(1);
        recent.ages_s.truncate(RECENT_MAX.saturating_sub(1));
        recent.ages_s.push_front(u64::try_from(age.as_secs()).unwrap_or(0));
    }

    /// The ways by which anything came, the fastest way first.
    pub fn summary(&self) -> Vec<Summary> {
        let recent = self.0.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let summary = |(way, recent): (&Way, &Recent)| {
            let mut ages: Vec<u64> = recent.ages_s.iter().copied().collect();
            ages.sort_unstable();
            let median_s = ages.get(ages.len().saturating_sub(1) / 2).copied()?;
            let slowest_s = ages.last().copied()?;
            Some(Summary { way: *way, count: recent.count, median_s, slowest_s })
        };
        Way::ALL.iter().zip(recent.iter()).filter_map(summary).collect()
    }

    /// Registers the figures under `entitled_…`.
    pub(super) fn register(&self, registry: &mut Registry) {
        let help = "From a change at Microsoft to its commit, by the way it came";
        let ages = self.0.histogram.clone();
        registry.register_with_unit("change_age", help, Unit::Seconds, ages);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{GroupId, Path, PathState, SkuId, Via};

    #[test]
    fn what_is_taken_away_has_no_date_and_what_is_new_or_stands_otherwise_has() {
        let sku = |n| SkuId::from_uuid(uuid::Uuid::from_u128(n));
        let path = |group: Option<u128>, state| Path {
            via: group.map_or(Via::Direct, |it| {
                Via::Group(GroupId::from_uuid(uuid::Uuid::from_u128(it)))
            }),
            state,
            error: None,
            disabled_plans: Vec::new(),
        };
        let licence = |n, paths: &[Path]| Licence {
            sku: sku(n),
            assigned: true,
            disabled_plans: Vec::new(),
            paths: paths.to_vec(),
        };
        let (active, failed) = (PathState::Active, PathState::Error);
        let two = [path(None, active.clone()), path(Some(5), active)];
        let both = UserLicences::new([licence(1, &two), licence(2, &two[..1])]);
        let one = UserLicences::new([licence(1, &two[..1])]);
        let ill = UserLicences::new([licence(1, &[path(None, failed)])]);
        for (before, after, dated) in [
            (None, Some(&one), true),
            (Some(&one), Some(&both), true),
            (Some(&both), Some(&one), false),
            (Some(&one), None, false),
            (Some(&one), Some(&one), false),
            (Some(&one), Some(&ill), true),
        ] {
            assert_eq!(brings_a_date(before, after), dated, "{before:?} {after:?}");
        }
    }

    #[test]
    fn a_summary_is_of_the_latest_and_of_the_ways_that_were_gone() {
        let (ages, now) = (Ages::default(), Timestamp::UNIX_EPOCH);
        assert_eq!(ages.summary(), []);
        let ago = |seconds| now.saturating_sub(SignedDuration::from_secs(seconds)).unwrap();
        for age in [2, 1, 700, -5] {
            ages.committed(Way::Delta, ago(age), now);
        }
        ages.committed(Way::Lookup, ago(3), now);
        let of = |way, count, median_s, slowest_s| Summary { way, count, median_s, slowest_s };
        assert_eq!(ages.summary(), [of(Way::Lookup, 1, 3, 3), of(Way::Delta, 4, 1, 700)]);
        for _ in 0..RECENT_MAX {
            ages.committed(Way::Delta, ago(9), now);
        }
        let count = 4 + u64::try_from(RECENT_MAX).unwrap();
        assert_eq!(ages.summary()[1], of(Way::Delta, count, 9, 9), "what is long ago is forgotten");
    }
}
