//! What the publisher's own systems are told of licenses: what is done to them, what time does, and
//! who finds no place.

use std::sync::Arc;

use jiff::Timestamp;

use super::{About, Notice, NoticeKind};
use crate::domain::{
    Activation, Change, Fact, License, LicenseId, LicenseTold, LicenseUser, TenantId, UserId,
};

impl LicenseTold {
    /// What this step of time is told as.
    pub const fn notice_kind(self) -> Option<NoticeKind> {
        match self {
            Self::Nothing => None,
            Self::TrialEnding => Some(NoticeKind::LicenseTrialEnding),
            Self::TrialOver => Some(NoticeKind::LicenseTrialEnded),
            Self::Ending => Some(NoticeKind::LicenseEnding),
            Self::Lapsed => Some(NoticeKind::LicenseGraceStarted),
            Self::Expired => Some(NoticeKind::LicenseExpired),
        }
    }
}

impl Notice {
    /// What a change in a license's journal is told as.
    pub(super) fn of_license(change: &Change) -> Vec<Self> {
        match (&change.before, &change.after) {
            (None, Some(Fact::License(after))) => vec![Self::of_step(change, None, after)],
            (Some(Fact::License(before)), Some(Fact::License(after))) => {
                let differs = before != after;
                let told = differs.then(|| Self::of_step(change, Some(before), after));
                told.into_iter().collect()
            }
            (_, Some(Fact::Activation(after))) => {
                vec![Self::of_binding(NoticeKind::LicenseActivated, change, after)]
            }
            (Some(Fact::Activation(before)), None) => {
                vec![Self::of_binding(NoticeKind::LicenseDeactivated, change, before)]
            }
            _ => Vec::new(),
        }
    }

    fn of_step(change: &Change, before: Option<&License>, after: &License) -> Self {
        let about = About::License {
            before: before.cloned().map(Box::new),
            after: Box::new(after.clone()),
            cause: change.cause.clone(),
        };
        let kind = before.map_or(NoticeKind::LicenseIssued, |before| kind_of(before, after));
        Self { kind, at: change.at, subject: subject(after.id), about }
    }

    fn of_binding(kind: NoticeKind, change: &Change, activation: &Activation) -> Self {
        let about = About::Activation {
            activation: Box::new(activation.clone()),
            cause: change.cause.clone(),
        };
        Self { kind, at: change.at, subject: subject(activation.license), about }
    }

    /// That time took this step with a license; `ends` is when that ends or ended which it is about.
    /// Nothing is told of nothing.
    pub fn of_license_time(
        license: &License,
        (step, ends): (LicenseTold, Timestamp),
        at: Timestamp,
    ) -> Option<Self> {
        let about = About::LicenseTime { license: Box::new(license.clone()), ends };
        let kind = step.notice_kind()?;
        Some(Self { kind, at, subject: subject(license.id), about })
    }

    /// That a license has more users than its maximum.
    pub fn license_over_limit(
        license: &License,
        users: u64,
        who: Option<LicenseUser>,
        at: Timestamp,
    ) -> Self {
        Self::of_users(NoticeKind::LicenseOverLimit, license, (users, who.and_then(known)), at)
    }

    /// That somebody was refused since a license has its maximum of users.
    pub fn license_user_refused(
        license: &License,
        users: u64,
        who: Option<LicenseUser>,
        at: Timestamp,
    ) -> Self {
        Self::of_users(NoticeKind::LicenseUserRefused, license, (users, who.and_then(known)), at)
    }

    fn of_users(
        kind: NoticeKind,
        license: &License,
        (users, who): (u64, Option<(TenantId, UserId)>),
        at: Timestamp,
    ) -> Self {
        let about = About::LicenseUsers { license: Box::new(license.clone()), users, who };
        Self { kind, at, subject: subject(license.id), about }
    }
}

/// What was done. A renewal that changes nothing else is one; with another maximum it is a change.
fn kind_of(before: &License, after: &License) -> NoticeKind {
    let began =
        |before: Option<Timestamp>, after: Option<Timestamp>| before.is_none() && after.is_some();
    if began(before.revoked_at, after.revoked_at) {
        NoticeKind::LicenseRevoked
    } else if began(before.suspended_at, after.suspended_at) {
        NoticeKind::LicenseSuspended
    } else if began(after.suspended_at, before.suspended_at) {
        NoticeKind::LicenseReinstated
    } else if began(before.cancelled_at, after.cancelled_at) {
        NoticeKind::LicenseCancelled
    } else if is_renewal(before, after) {
        NoticeKind::LicenseRenewed
    } else {
        NoticeKind::LicenseChanged
    }
}

/// Whether nothing but the period differs.
fn is_renewal(before: &License, after: &License) -> bool {
    let new = after.period_start != before.period_start
        || after.period_end != before.period_end
        || after.paid_at != before.paid_at;
    let same = License {
        cycle: before.cycle,
        paid_at: before.paid_at,
        period_start: before.period_start,
        period_end: before.period_end,
        cancelled_at: before.cancelled_at,
        told: before.told,
        ..after.clone()
    };
    new && same == *before
}

fn subject(id: LicenseId) -> Arc<str> {
    format!("license {id}").into()
}

fn known(user: LicenseUser) -> Option<(TenantId, UserId)> {
    match user {
        LicenseUser::Known(tenant, user) => Some((tenant, user)),
        LicenseUser::Anonymous(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        ActivatedBy, ActivationId, Cause, LicenseChange, LicenseStep, NewPeriod, Sale,
    };

    fn at(day: i64) -> Timestamp {
        Timestamp::from_second(day * 86_400).unwrap()
    }

    fn license() -> License {
        let sale = Sale { period_end: Some(at(30)), ..Sale::sample() };
        License::issued(LicenseId::from_random([3; LicenseId::RANDOM]), None, sale, at(0)).unwrap()
    }

    fn told(change: &Change) -> String {
        let kinds: Vec<_> = Notice::of_change(change).iter().map(|it| it.kind.as_str()).collect();
        kinds.join(" ")
    }

    #[test]
    fn each_step_of_a_license_is_told_as_what_it_is() {
        let mut before = license();
        let issued = Change::of_license(at(0), Cause::Command, None, None, &before);
        assert_eq!(told(&issued), "license.issued");
        let mut check = |step: LicenseStep, expected: &str| {
            let after = before.stepped(&step, at(1)).unwrap().license;
            let change = Change::of_license(at(1), Cause::Command, None, Some(&before), &after);
            assert_eq!(told(&change), expected, "{step:?}");
            before = after;
        };
        let change = |max, end| LicenseChange {
            max,
            period: NewPeriod { end, cycle: None },
            ..LicenseChange::default()
        };
        check(LicenseStep::Cancel, "license.cancelled");
        check(LicenseStep::Cancel, "");
        check(LicenseStep::Renew(NewPeriod::default()), "license.renewed");
        check(LicenseStep::Change(change(Some(20), None)), "license.changed");
        check(LicenseStep::Change(change(None, Some(at(90)))), "license.renewed");
        check(LicenseStep::Suspend, "license.suspended");
        check(LicenseStep::Reinstate, "license.reinstated");
        check(LicenseStep::Revoke, "license.revoked");
        let reissued = License { key_hash: Some([1; 32]), ..before.clone() };
        let change = Change::of_license(at(1), Cause::Command, None, Some(&before), &reissued);
        assert_eq!(told(&change), "license.changed");
    }

    #[test]
    fn a_tenant_that_is_bound_and_let_go_is_told_under_its_license() {
        let activation = Activation {
            id: ActivationId::from_random([1; ActivationId::RANDOM]),
            license: license().id,
            tenant: None,
            by: ActivatedBy::Licensee,
            at: at(0),
        };
        let change = |before, after| Change::of_activation(at(0), Cause::Activation, before, after);
        assert_eq!(told(&change(None, Some(&activation))), "license.activated");
        assert_eq!(told(&change(Some(&activation), None)), "license.deactivated");
        let notice = Notice::of_change(&change(None, Some(&activation))).remove(0);
        assert_eq!(notice.subject, subject(license().id));
    }
}
