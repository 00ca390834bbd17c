//! Where a license of the publisher stands at a moment, whoever asks.

use jiff::{SignedDuration, Timestamp};

use super::evidence::{License, Proof, Users};
use super::judge::judge_times;
use super::{Reason, State};
use crate::domain;

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
