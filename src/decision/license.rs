//! Where a license of the publisher stands at a moment, whoever asks.

use jiff::{SignedDuration, Timestamp};

use super::evidence::{License, Proof, Users};
use super::judge::judge_times;
use super::{Reason, State};
use crate::domain::{self, LicenseTold, NEAR, Standing};

/// Where a license stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LicenseNow {
    /// Its state.
    pub state: State,
    /// Why.
    pub reason: Reason,
    /// When its grace ends; only in [`State::Grace`].
    pub grace_end: Option<Timestamp>,
    /// When it stops to be what it is now: the end of its grace, its period or its trial.
    pub ends: Option<Timestamp>,
}

/// Where a license stands, for whoever may use it.
pub fn license_now(it: &domain::License, grace: SignedDuration, now: Timestamp) -> LicenseNow {
    let judged = judge_times(&License::of(it, Proof::Package, None), grace, now);
    LicenseNow {
        state: judged.state,
        reason: judged.reason,
        grace_end: judged.grace_end,
        ends: judged.grace_end.or(judged.period_end),
    }
}

/// The last step that time has taken with a license and that is worth telling, and when that ends
/// or ended which it is about: the trial, the period, or the grace after it. Nothing of one that is
/// suspended or revoked: it does not count anyway.
pub fn time_step(
    it: &domain::License,
    grace: SignedDuration,
    now: Timestamp,
) -> Option<(LicenseTold, Timestamp)> {
    let judged = judge_times(&License::of(it, Proof::Package, None), grace, now);
    let end = judged.period_end;
    let near = |end: &Timestamp| end.duration_since(now) <= NEAR;
    match (judged.state, judged.reason) {
        (State::Trial, _) => Some((LicenseTold::TrialEnding, end.filter(near)?)),
        (State::Active, _) => match (end.filter(near), it.trial_end) {
            (Some(end), _) => Some((LicenseTold::Ending, end)),
            // It was sold as a trial that is paid from its end on, and is in that first period.
            (None, Some(trial)) if it.paid_at == Some(trial) => {
                Some((LicenseTold::TrialOver, trial))
            }
            (None, _) => None,
        },
        (State::Grace, _) => Some((LicenseTold::Lapsed, judged.grace_end?)),
        (State::Expired, Reason::LicenseExpired) => {
            let paid = judged.period_end == it.period_end && it.standing() == Standing::Current;
            let after = if paid { grace } else { SignedDuration::ZERO };
            Some((LicenseTold::Expired, end?.saturating_add(after).unwrap_or(now)))
        }
        (_, _) => None,
    }
}

impl<'a> License<'a> {
    /// The evidence that a license is.
    pub fn of(it: &'a domain::License, proof: Proof, users: Option<Users>) -> Self {
        Self {
            id: it.id.as_str(),
            kind: it.kind,
            standing: it.standing(),
            trial_end: it.trial_end,
            paid_at: it.paid_at,
            period_end: it.period_end,
            users,
            over_limit: it.over_limit,
            seat: None,
            proof,
            domain: it.domain.as_deref(),
        }
    }
}

impl State {
    /// What the customer is shown.
    ///
    /// Source: `visuals-and-isv.md` section 1.5, "License status".
    pub const fn license_status(self) -> &'static str {
        match self {
            Self::Active => "Active",
            Self::Trial => "Trial Mode",
            Self::Grace => "Grace Period",
            Self::Suspended => "Suspended",
            Self::Expired => "Expired",
            Self::Unlicensed => "Unlicensed",
            Self::Pending | Self::Unknown => "Pending...",
        }
    }
}
