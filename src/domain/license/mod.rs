//! Licenses that the publisher sold itself, which tenants they are bound to, and who uses them.
//!
//! How to build on it:
//!
//! - Look up: [`Mirror::licenses`](super::Mirror::licenses) is a [`LicenseBook`]: a license by id or
//!   by the hash of its activation key, activations of a tenant or of a license, the users that a
//!   license covers.
//! - Write: `licenses`, `packaged`, `activations`, `license_users` and `sighted` of a [`Commit`](super::Commit).
//!   Whatever depends on what is there (a free place for a tenant, a maximum) is decided inside the
//!   thread that writes: `Store::decide` hands the newest mirror to a function and commits what it
//!   returns, so that two of them never interleave.
//! - Codes: [`LicenseId`], [`ActivationId`], [`ActivationKey`]; `Store::new_license_id`,
//!   `new_activation_id` and `new_activation_key` draw them, `Store::hash_key` is what is kept of a
//!   key.
//! - Life cycle: [`License::stepped`]; where a license stands at a moment is the decision's to say.

mod anomaly;
mod bind;
mod book;
mod change;
mod code;
mod order;
mod packaged;
mod restore;
mod step;
mod switch;
mod users;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::product::words;
use super::{OverLimit, ProductId, TenantId, UnknownWord, UserId};

pub use self::anomaly::Anomaly;
pub use self::bind::{BindRequest, Binding};
pub use self::book::{LicenseBook, LicenseCoverage, Sighted, SightedKind, Sightings};
pub use self::code::{ActivationId, ActivationKey, InvalidKey, LicenseId};
pub use self::packaged::Packaged;
pub use self::restore::LicenseLife;
pub use self::step::{
    Credit, LicenseChange, LicenseRefused, LicenseStep, NewPeriod, Sale, Stepped,
};
pub use self::switch::{SwitchAct, SwitchTo};
pub use self::users::{BadLicenseUsers, LicenseUser, LicenseUserWrites, LicenseUsers};

words!(
    /// What a license is sold by.
    LicenseKind, "license kind" {
        /// By user: a tier with a maximum.
        User = "user",
        /// By capacity: node size times number of nodes.
        Capacity = "capacity",
        /// By site that embeds the product: one domain.
        Site = "site",
    }
);

words!(
    /// What was last done to a license.
    Standing, "standing" {
        /// It runs, and is meant to go on.
        Current = "current",
        /// It ends with its period.
        Cancelled = "cancelled",
        /// Somebody suspended it.
        Suspended = "suspended",
        /// Ended at once and for good.
        Revoked = "revoked",
    }
);

words!(
    /// How often a license is paid.
    ///
    /// Source: `visuals-and-isv.md` sections 1.3 and 1.7: monthly is every 30 days, yearly the
    /// anniversary.
    BillingCycle, "billing cycle" {
        /// Not yet: a trial of 30 days.
        Trial = "trial",
        /// Every 30 days.
        Monthly = "monthly",
        /// On the anniversary.
        Yearly = "yearly",
        /// On every third anniversary.
        ThreeYears = "three_years",
    }
);

/// A right that the publisher sold itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct License {
    /// Its id.
    pub id: LicenseId,
    /// What it is for.
    pub product: ProductId,
    /// What it is sold by.
    pub kind: LicenseKind,
    /// How many users of a `user`, how many nodes of a `capacity`; `None` sets no limit.
    pub max: Option<u64>,
    /// The node size of a `capacity`, such as `P1`.
    pub node: Option<Arc<str>>,
    /// Whom it is made out to, as the customer types it; may hold a name and an e-mail address.
    pub licensee: Arc<str>,
    /// The account that pays, when it is another one.
    pub billing: Option<Arc<str>>,
    /// The domain of a `site`, in lower case and ASCII.
    pub domain: Option<Arc<str>>,
    /// What happens over the maximum, in place of the policy.
    pub over_limit: Option<OverLimit>,
    /// How often it is paid; `None` when only its dates are known.
    pub cycle: Option<BillingCycle>,
    /// When it was issued.
    pub created: Timestamp,
    /// When its trial ends; `None` if it was sold without one.
    pub trial_end: Option<Timestamp>,
    /// When it was paid first; a trial that nobody has paid has none.
    pub paid_at: Option<Timestamp>,
    /// When the present period began.
    pub period_start: Timestamp,
    /// Until when it is paid; `None` for ever.
    pub period_end: Option<Timestamp>,
    /// When it was cancelled, unless it was renewed since.
    pub cancelled_at: Option<Timestamp>,
    /// When it was suspended, unless it was reinstated since.
    pub suspended_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// How many tenants may be bound to it.
    pub tenants_max: u32,
    /// What is kept of its activation key.
    pub key_hash: Option<[u8; 32]>,
    /// The last step that time took and that was told: a word of the notices.
    pub told: LicenseTold,
}

words!(
    /// How far the passing of time was told to the publisher's systems: later ones are greater.
    LicenseTold, "told" {
        /// Nothing yet in this period.
        Nothing = "nothing",
        /// That its trial ends soon.
        TrialEnding = "trial_ending",
        /// That its trial is over, and what was paid for began.
        TrialOver = "trial_over",
        /// That what was paid for ends soon.
        Ending = "ending",
        /// That its grace began.
        Lapsed = "lapsed",
        /// That it is over.
        Expired = "expired",
    }
);

impl License {
    /// What was last done to it that counts.
    pub const fn standing(&self) -> Standing {
        if self.revoked_at.is_some() {
            Standing::Revoked
        } else if self.suspended_at.is_some() {
            Standing::Suspended
        } else if self.cancelled_at.is_some() {
            Standing::Cancelled
        } else {
            Standing::Current
        }
    }

    /// The maximum of distinct users; other kinds have none.
    pub fn max_users(&self) -> Option<u64> {
        self.max.filter(|_| self.kind == LicenseKind::User)
    }

    /// Whether this is whom it is made out to: see [`same_licensee`](super::same_licensee).
    pub fn is_licensee(&self, text: &str) -> bool {
        super::same_licensee(&self.licensee, text)
    }
}

/// How an activation came about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ActivatedBy {
    /// A user of the tenant pasted the activation key.
    User(UserId),
    /// License id and licensee were used there first.
    Licensee,
    /// A server or an operator bound it, by what the journal calls it.
    Server(Arc<str>),
}

/// The binding of a license to a tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Activation {
    /// Its id.
    pub id: ActivationId,
    /// Of which license.
    pub license: LicenseId,
    /// Which tenant; unknown at the first use of license id + licensee without a user's token.
    pub tenant: Option<TenantId>,
    /// By whom.
    pub by: ActivatedBy,
    /// When.
    pub at: Timestamp,
}

/// What became of an activation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ActivationWrite {
    /// It is there, in place of the one with its id.
    Put(Activation),
    /// It was removed: its place is free again.
    Remove(ActivationId),
}

/// How long the anonymous id of a package lives: it is made anew after that, so an older one can
/// only be somebody who is counted under another one by now.
///
/// Source: `visuals-and-isv.md` section 1.8.
pub const ANONYMOUS_FOR: SignedDuration = SignedDuration::from_hours(29 * 24);

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn sample() -> License {
        let at = Timestamp::UNIX_EPOCH;
        License {
            id: LicenseId::from_random([3; LicenseId::RANDOM]),
            product: "synoptic-panel".parse().unwrap(),
            kind: LicenseKind::User,
            max: Some(10),
            node: None,
            licensee: "Contoso".into(),
            billing: None,
            domain: None,
            over_limit: None,
            cycle: None,
            created: at,
            trial_end: None,
            paid_at: Some(at),
            period_start: at,
            period_end: at.checked_add(SignedDuration::from_hours(24)).ok(),
            cancelled_at: None,
            suspended_at: None,
            revoked_at: None,
            tenants_max: 1,
            key_hash: None,
            told: LicenseTold::Nothing,
        }
    }
}
