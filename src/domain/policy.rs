//! What the publisher decided about the cases that facts leave open.

use jiff::SignedDuration;
use std::fmt;
use std::str::FromStr;

use super::product::words;
use super::{Share, UnknownWord};

words!(
    /// What a right is worth once its source is older than it is trusted.
    OnStale, "on_stale" {
        /// State `grace`, reason `stale`.
        Grace = "grace",
        /// State `unknown`, reason `stale`.
        Deny = "deny",
    }
);

words!(
    /// What happens to users over a license's maximum.
    OverLimit, "over_limit" {
        /// The answer stays usable and says so.
        Warn = "warn",
        /// `unlicensed`, reason `over_limit`.
        Deny = "deny",
    }
);

/// How long a source's facts are fresh, and how long they are trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freshness {
    /// Older answers say `stale: true`.
    pub max_age: SignedDuration,
    /// Older rights fall under [`Policy::on_stale`].
    pub trust_for: SignedDuration,
}

/// The publisher's policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Once a right's source is older than `trust_for`.
    pub on_stale: OnStale,
    /// After a lapsed payment of a license of the publisher.
    pub grace: SignedDuration,
    /// Over a license's maximum, unless the license says otherwise.
    pub over_limit: OverLimit,
    /// Until an unused place of a license is free again.
    pub release_after: SignedDuration,
    /// Of the list of SaaS subscriptions.
    pub subscriptions: Freshness,
    /// Of a tenant's directory.
    pub directory: Freshness,
    /// Of the licence report.
    pub reports: Freshness,
    /// Whether users' usage rights are read; what was read before they were switched off counts on,
    /// and grows old.
    pub usage_rights: bool,
    /// The share of a tenant's seats, and of its users with usage rights, that may go at once.
    pub remove_limit: Share,
}

impl Default for Policy {
    /// The defaults of contract section 3.
    fn default() -> Self {
        let fresh = Freshness {
            max_age: SignedDuration::from_hours(1),
            trust_for: SignedDuration::from_hours(72),
        };
        Self {
            on_stale: OnStale::Grace,
            grace: SignedDuration::from_hours(30 * 24),
            over_limit: OverLimit::Warn,
            release_after: SignedDuration::from_hours(30 * 24),
            subscriptions: fresh,
            directory: fresh,
            reports: Freshness {
                max_age: SignedDuration::from_hours(48),
                trust_for: SignedDuration::from_hours(7 * 24),
            },
            usage_rights: true,
            remove_limit: Share::FIFTH,
        }
    }
}
