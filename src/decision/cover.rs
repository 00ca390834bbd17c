//! By what a user may use a product now: the seat that Microsoft manages and the license of the
//! publisher, each judged alone and by the rules that answers are made by.

use jiff::Timestamp;

use super::evidence::{EvidenceId, EvidenceKind, Question};
use super::gather::gather;
use super::judge::{Counting, Verdict, judge};
use super::{Reason, State};
use crate::domain::{Host, LicenseId, Mirror, Plan, Policy, Product, TenantId, UserId};

/// A seat by which the product is usable.
#[derive(Clone, Copy, Debug)]
pub struct SeatCover<'a> {
    /// The plan it is one of.
    pub plan: &'a Plan,
    /// What it was judged.
    pub state: State,
    /// Why: by which way it came.
    pub reason: Reason,
    /// When it stops to be worth that, as far as Microsoft tells.
    pub until: Option<Timestamp>,
}

/// A license by which the product is usable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LicenseCover {
    /// Its id.
    pub id: LicenseId,
    /// What it was judged.
    pub state: State,
    /// When it stops to be worth that; `None` for never.
    pub until: Option<Timestamp>,
}

/// What covers a user, in Power BI on the web.
#[derive(Clone, Copy, Debug, Default)]
pub struct Covers<'a> {
    /// The best of his seats.
    pub seat: Option<SeatCover<'a>>,
    /// The best of the licenses that his tenant is bound to.
    pub license: Option<LicenseCover>,
}

/// What covers a user of a tenant.
pub fn covers<'a>(
    mirror: &'a Mirror,
    product: &'a Product,
    (tenant, user): (TenantId, UserId),
    policy: &Policy,
    now: Timestamp,
) -> Covers<'a> {
    let question = Question::of_user(product, Host::Web, tenant, Some(user));
    let (evidence, knowledge) = gather(mirror, &question, policy, now);
    let mut best: (Option<Verdict<'a>>, Option<Verdict<'a>>) = (None, None);
    for it in &evidence {
        let verdict = judge(it, &question, &knowledge, policy, now);
        let slot = match verdict.kind {
            EvidenceKind::Seat | EvidenceKind::UsageRight => &mut best.0,
            EvidenceKind::License => &mut best.1,
            EvidenceKind::Subscription => continue,
        };
        let counts = verdict.state.is_usable() && verdict.counting == Counting::Counts;
        if counts && slot.as_ref().is_none_or(|known| verdict.order(known).is_lt()) {
            *slot = Some(verdict);
        }
    }
    let seat = best.0.and_then(|it| {
        Some(SeatCover { plan: it.plan?, state: it.state, reason: it.reason, until: it.end() })
    });
    let license = best.1.and_then(|it| match it.id {
        EvidenceId::License(id) => {
            Some(LicenseCover { id: id.parse().ok()?, state: it.state, until: it.end() })
        }
        EvidenceId::Subscription(_) | EvidenceId::Sku(_) | EvidenceId::ServiceId(_) => None,
    });
    Covers { seat, license }
}
