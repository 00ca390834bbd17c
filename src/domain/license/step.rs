//! The life of a license: what can be done to it, what each step makes of it, and what is refused.
//! Pure; where a license stands at a moment is the decision's to say.
//!
//! Source: contract section 2 rule 5 and section 7; `visuals-and-isv.md` section 1.7.

use std::sync::Arc;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Span, Timestamp};

use super::{BillingCycle, License, LicenseId, LicenseKind, LicenseTold, Standing};
use crate::domain::{OverLimit, ProductId};

/// A month as it is billed.
///
/// Source: `visuals-and-isv.md` section 1.7: every 30 days, not the calendar's month.
const MONTH: SignedDuration = SignedDuration::from_hours(30 * 24);

/// What is sold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sale {
    /// What it is for.
    pub product: ProductId,
    /// What it is sold by.
    pub kind: LicenseKind,
    /// How many users or nodes.
    pub max: Option<u64>,
    /// The node size of a `capacity`.
    pub node: Option<Arc<str>>,
    /// Whom it is made out to.
    pub licensee: Arc<str>,
    /// The account that pays.
    pub billing: Option<Arc<str>>,
    /// The domain of a `site`.
    pub domain: Option<Arc<str>>,
    /// What happens over the maximum.
    pub over_limit: Option<OverLimit>,
    /// How often it is paid.
    pub cycle: Option<BillingCycle>,
    /// When the period began; now, if it is not said.
    pub period_start: Option<Timestamp>,
    /// Until when it is paid.
    pub period_end: Option<Timestamp>,
    /// When its trial ends.
    pub trial_end: Option<Timestamp>,
    /// How many tenants may be bound to it.
    pub tenants_max: u32,
}

impl Sale {
    /// For tests: ten users of Contoso's, without an end.
    #[cfg(test)]
    pub(crate) fn sample() -> Self {
        Self {
            product: "synoptic-panel".parse().unwrap(),
            kind: LicenseKind::User,
            max: Some(10),
            node: None,
            licensee: "Contoso".into(),
            billing: None,
            domain: None,
            over_limit: None,
            cycle: None,
            period_start: None,
            period_end: None,
            trial_end: None,
            tenants_max: 1,
        }
    }
}

/// What is done to a license.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LicenseStep {
    /// It was paid: a new period begins now.
    Renew(NewPeriod),
    /// Something about it differs from now on: in a new period, if it covers something else.
    Change(LicenseChange),
    /// It ends with its period.
    Cancel,
    /// It does not count until it is reinstated.
    Suspend,
    /// It counts again.
    Reinstate,
    /// It is over at once and for good.
    Revoke,
}

/// Until when a new period goes: as long as the old one, if nothing is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct NewPeriod {
    /// Its end.
    pub end: Option<Timestamp>,
    /// How often it is paid from now on.
    pub cycle: Option<BillingCycle>,
}

/// What differs after a change; what is not named stays.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct LicenseChange {
    /// How many users or nodes.
    pub max: Option<u64>,
    /// What it is sold by.
    pub kind: Option<LicenseKind>,
    /// The node size.
    pub node: Option<Arc<str>>,
    /// The domain.
    pub domain: Option<Arc<str>>,
    /// What happens over the maximum.
    pub over_limit: Option<OverLimit>,
    /// How many tenants may be bound to it.
    pub tenants_max: Option<u32>,
    /// Whom it is made out to: the name before is not recognized any more.
    pub licensee: Option<Arc<str>>,
    /// The account that pays.
    pub billing: Option<Arc<str>>,
    /// The new period.
    pub period: NewPeriod,
}

impl LicenseChange {
    /// Whether it covers something else: that is an upgrade or a downgrade, with its own period.
    const fn covers(&self) -> bool {
        self.max.is_some() || self.kind.is_some() || self.node.is_some() || self.domain.is_some()
    }
}

/// What a step comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stepped {
    /// The license after it.
    pub license: License,
    /// Whether it was so before: nothing is to be written.
    pub already: bool,
    /// What of the old period was paid and not used.
    pub credit: Option<Credit>,
}

/// The part of a paid period that was not used. What it is worth is the publisher's to say: he knows
/// the price.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credit {
    /// How long was left.
    pub unused: SignedDuration,
    /// Of how long a period.
    pub period: SignedDuration,
}

impl Credit {
    /// The unused share, from 0 to 1.
    pub fn share(self) -> f64 {
        let period = self.period.as_secs_f64();
        if period > 0.0 { (self.unused.as_secs_f64() / period).clamp(0.0, 1.0) } else { 0.0 }
    }

    /// The days that were left.
    pub fn days(self) -> f64 {
        self.unused.as_secs_f64() / 86_400.0
    }
}

/// A sale or a step that is not possible.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LicenseRefused {
    /// A field cannot be so.
    #[error("`{field}`: {why}")]
    Field {
        /// Which.
        field: &'static str,
        /// What is wrong, and what is right.
        why: &'static str,
    },
    /// The license stands where this cannot be done.
    #[error("{0}")]
    Standing(&'static str),
}

const fn field(field: &'static str, why: &'static str) -> LicenseRefused {
    LicenseRefused::Field { field, why }
}

impl License {
    /// A new license.
    ///
    /// With a trial and an end it is a trial first and paid from then on; with a trial alone nobody
    /// has paid it; with neither, and no cycle, it has no end.
    ///
    /// # Errors
    ///
    /// [`LicenseRefused::Field`].
    pub fn issued(
        id: LicenseId,
        key_hash: Option<[u8; 32]>,
        sale: Sale,
        now: Timestamp,
    ) -> Result<Self, LicenseRefused> {
        let start = sale.period_start.unwrap_or(now);
        let (mut trial_end, mut period_end) = (sale.trial_end, sale.period_end);
        match sale.cycle {
            Some(BillingCycle::Trial) if period_end.is_none() => {
                trial_end = trial_end.or_else(|| start.checked_add(MONTH).ok());
            }
            Some(cycle) if period_end.is_none() => {
                period_end = after(trial_end.unwrap_or(start), cycle);
            }
            Some(_) | None => {}
        }
        let paid_at = match (trial_end, period_end) {
            (Some(trial), Some(end)) if end <= trial => {
                return Err(field("period_end", "it must lie behind `trial_end`"));
            }
            (Some(trial), Some(_)) => Some(trial),
            (Some(_), None) => None,
            (None, _) => Some(start),
        };
        let license = Self {
            id,
            product: sale.product,
            kind: sale.kind,
            max: sale.max,
            node: sale.node,
            licensee: sale.licensee,
            billing: sale.billing,
            domain: sale.domain,
            over_limit: sale.over_limit,
            cycle: sale.cycle,
            created: now,
            trial_end,
            paid_at,
            period_start: start,
            period_end,
            cancelled_at: None,
            suspended_at: None,
            revoked_at: None,
            tenants_max: sale.tenants_max,
            key_hash,
            told: LicenseTold::Nothing,
        };
        license.checked()
    }

    /// The license after a step.
    ///
    /// # Errors
    ///
    /// [`LicenseRefused`], with what to do instead.
    pub fn stepped(&self, step: &LicenseStep, now: Timestamp) -> Result<Stepped, LicenseRefused> {
        use LicenseStep as Step;
        let standing = self.standing();
        let next = self.clone();
        let (license, credit) = match (step, standing) {
            (Step::Revoke, _) => (Self { revoked_at: self.revoked_at.or(Some(now)), ..next }, None),
            (_, Standing::Revoked) => {
                return Err(LicenseRefused::Standing(
                    "it was revoked, which is for good: issue a new license",
                ));
            }
            (Step::Renew(period), _) => {
                let renewed = Self { cancelled_at: None, ..next.in_period(*period, now) };
                (renewed, self.credit(now))
            }
            (Step::Change(change), _) => {
                let credit = self.credit(now).filter(|_| self.begins_anew(change, now));
                (next.changed(change, now)?, credit)
            }
            (Step::Cancel, _) => {
                (Self { cancelled_at: self.cancelled_at.or(Some(now)), ..next }, None)
            }
            (Step::Suspend, _) => {
                (Self { suspended_at: self.suspended_at.or(Some(now)), ..next }, None)
            }
            (Step::Reinstate, Standing::Cancelled) => {
                return Err(LicenseRefused::Standing(
                    "it is not suspended but cancelled: `renew` makes it go on",
                ));
            }
            (Step::Reinstate, _) => (Self { suspended_at: None, ..next }, None),
        };
        let license = license.checked()?;
        Ok(Stepped { already: license == *self, license, credit })
    }

    /// Whether a change begins a new period: it names one, or covers something else, in the middle of
    /// one that was paid or after it. As long as nothing of a paid period has begun, a trial stays one
    /// and what was paid ahead stays ahead. Who pays it, whom it is made out to and what is done over
    /// its limits have nothing to do with its times.
    fn begins_anew(&self, change: &LicenseChange, now: Timestamp) -> bool {
        let begun = self.paid_at.is_some_and(|paid| paid <= now);
        change.period != NewPeriod::default() || change.covers() && begun
    }

    /// Whoever upgrades what was not paid in time pays it by that.
    ///
    /// Source: contract section 2, rule 5: an upgrade takes effect at once and starts a new period;
    /// what is cancelled is over after its end until it is renewed.
    fn changed(self, change: &LicenseChange, now: Timestamp) -> Result<Self, LicenseRefused> {
        if *change == LicenseChange::default() {
            return Err(field("max", "name what changes: `max`, `kind`, an end …"));
        }
        let anew = self.begins_anew(change, now);
        let over = self.paid_until().is_some_and(|end| end <= now);
        if (anew || change.covers()) && over && self.cancelled_at.is_some() {
            return Err(LicenseRefused::Standing(
                "it was cancelled and is over: `renew` it first, then change it",
            ));
        }
        let kept = if anew { self.in_period(change.period, now) } else { self };
        let LicenseChange { max, kind, node, domain, over_limit, tenants_max, .. } = change.clone();
        let kind = kind.unwrap_or(kept.kind);
        Ok(Self {
            max: max.or(kept.max),
            kind,
            node: node.or(kept.node).filter(|_| kind == LicenseKind::Capacity),
            domain: domain.or(kept.domain).filter(|_| kind == LicenseKind::Site),
            over_limit: over_limit.or(kept.over_limit),
            tenants_max: tenants_max.unwrap_or(kept.tenants_max),
            licensee: change.licensee.clone().unwrap_or(kept.licensee),
            billing: change.billing.clone().or(kept.billing),
            ..kept
        })
    }

    /// Until when it is paid, or its trial runs that nobody has paid; `None` for ever.
    pub fn paid_until(&self) -> Option<Timestamp> {
        if self.paid_at.is_some() { self.period_end } else { self.trial_end }
    }

    /// Paid from now on, until the end of a new period. Without an end it stays without one.
    fn in_period(self, period: NewPeriod, now: Timestamp) -> Self {
        let cycle = period.cycle.or(self.cycle);
        let forever = self.paid_at.is_some() && self.period_end.is_none();
        let as_long = match (period.cycle, self.cycle) {
            (Some(cycle), _) => after(now, cycle),
            (None, _) if forever => None,
            // A year is as long as a year, not as 365 days; but an end that was named counts.
            (None, Some(cycle)) if self.is_whole(cycle) => after(now, cycle),
            (None, _) => now.checked_add(self.length()).ok(),
        };
        Self {
            cycle: cycle.filter(|it| *it != BillingCycle::Trial),
            paid_at: Some(now),
            period_start: now,
            period_end: period.end.or(as_long),
            told: LicenseTold::Nothing,
            ..self
        }
    }

    /// Whether its period is one of this cycle, or has no end of its own.
    fn is_whole(&self, cycle: BillingCycle) -> bool {
        self.period_end.is_none() || after(self.paid_from(), cycle) == self.period_end
    }

    /// When what was paid for began: behind the trial, if there was one.
    fn paid_from(&self) -> Timestamp {
        self.paid_at.map_or(self.period_start, |paid| paid.max(self.period_start))
    }

    /// How long its period is. Of one whose beginning is not known, since it was issued when it was
    /// over already: a month, the shortest that is sold.
    fn length(&self) -> SignedDuration {
        let length = self.paid_until().map(|end| end.duration_since(self.paid_from()));
        length.filter(SignedDuration::is_positive).unwrap_or(MONTH)
    }

    /// What of its paid period is not used at this moment.
    fn credit(&self, now: Timestamp) -> Option<Credit> {
        let (start, end) = (self.paid_at.map(|_| self.paid_from())?, self.period_end?);
        let unused = end.duration_since(now.max(start));
        let credit = Credit { unused, period: end.duration_since(start) };
        (unused.is_positive() && credit.period.is_positive()).then_some(credit)
    }

    fn checked(self) -> Result<Self, LicenseRefused> {
        if self.licensee.trim().is_empty() {
            return Err(field("licensee", "say whom it is made out to"));
        }
        if self.max == Some(0) {
            return Err(field("max", "it must be at least 1; leave it out for no limit"));
        }
        if self.tenants_max == 0 {
            return Err(field("tenants_max", "it must be at least 1"));
        }
        match (self.kind, &self.domain) {
            (LicenseKind::Site, None) => {
                Err(field("domain", "a `site` is sold for one domain, such as bi.contoso.example"))
            }
            (LicenseKind::User | LicenseKind::Capacity, Some(_)) => {
                Err(field("domain", "only a `site` has one"))
            }
            (LicenseKind::Site | LicenseKind::User, _) if self.node.is_some() => {
                Err(field("node", "only a `capacity` has a node size"))
            }
            (_, _) => Ok(self),
        }
    }
}

/// When a period of this cycle ends that begins then.
fn after(start: Timestamp, cycle: BillingCycle) -> Option<Timestamp> {
    let years = |years: i64| {
        let zoned = start.to_zoned(TimeZone::UTC);
        zoned.checked_add(Span::new().years(years)).ok().map(|it| it.timestamp())
    };
    match cycle {
        BillingCycle::Trial | BillingCycle::Monthly => start.checked_add(MONTH).ok(),
        BillingCycle::Yearly => years(1),
        BillingCycle::ThreeYears => years(3),
    }
}

#[cfg(test)]
mod tests;
