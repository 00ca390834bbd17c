//! `[policy]`: what the publisher decided about the cases that facts leave open.

use jiff::SignedDuration;

use super::section::Section;
use crate::domain::{OnStale, OverLimit};

/// What the publisher decided. [`super::Config::policy`] makes the decision's policy of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PolicySection {
    /// Once a right's source is older than its `trust_for`.
    pub on_stale: OnStale,
    /// After a lapsed payment of a license of the publisher; may be zero.
    pub grace: SignedDuration,
    /// Over a license's maximum, unless the license says otherwise.
    pub over_limit: OverLimit,
    /// Until an unused seat is free again, unless the plan says otherwise.
    pub release_after: SignedDuration,
}

impl PolicySection {
    pub(super) fn read(root: &mut Section<'_>) -> Self {
        root.section("policy", |it| Self {
            on_stale: it.or("on_stale", OnStale::Grace),
            grace: it.or("grace", SignedDuration::from_hours(30 * 24)),
            over_limit: it.or("over_limit", OverLimit::Warn),
            release_after: it.period("release_after", SignedDuration::from_hours(30 * 24)),
        })
    }
}
