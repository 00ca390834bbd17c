//! What a customer's tenant says: its SKUs and who holds them by which path.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

use super::product::words;
use super::{GroupId, Plan, RunId, ServicePlanId, SkuId, TenantId, UnknownWord};
use std::str::FromStr;

words!(
    /// Whether a tenant lets us read it.
    Consent, "consent" {
        /// It was read.
        Granted = "granted",
        /// Refused before the first complete read.
        Missing = "missing",
        /// Refused after a complete read.
        Revoked = "revoked",
        /// Nobody has tried yet, or the last try failed for another reason before any success.
        Unknown = "unknown",
    }
);

words!(
    /// Which of Microsoft's clouds a tenant lives in.
    Cloud, "cloud" {
        /// The public one.
        Public = "public",
        /// A national or government cloud: only channel `direct` speaks there.
        National = "national",
    }
);

/// A customer's tenant that we mirror, or would if it let us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenant {
    /// Which tenant.
    pub id: TenantId,
    /// What the operator or the tenant calls itself.
    pub name: Option<Arc<str>>,
    /// Whether it lets us read it.
    pub consent: Consent,
    /// Which cloud it lives in.
    pub cloud: Cloud,
}

impl Tenant {
    /// A tenant of which nothing is known yet but that it exists.
    pub const fn heard_of(id: TenantId, name: Option<Arc<str>>) -> Self {
        Self { id, name, consent: Consent::Unknown, cloud: Cloud::Public }
    }
}

/// What a capability status says of a SKU.
///
/// Source: Graph, `subscribedSku.capabilityStatus`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum CapabilityStatus {
    /// At least one prepaid unit is enabled.
    Enabled,
    /// Expired, in Microsoft's grace period: usable.
    Warning,
    /// Cancelled by Microsoft for non-payment: not usable, can come back.
    Suspended,
    /// The customer cancelled.
    LockedOut,
    /// Gone.
    Deleted,
    /// A word that Microsoft added later; kept as it is.
    Unrecognized(Arc<str>),
}

impl CapabilityStatus {
    /// The word, whatever its case and the spaces around it.
    pub fn from_word(word: &str) -> Self {
        match word.trim().to_ascii_lowercase().as_str() {
            "enabled" => Self::Enabled,
            "warning" => Self::Warning,
            "suspended" => Self::Suspended,
            "lockedout" => Self::LockedOut,
            "deleted" => Self::Deleted,
            _ => Self::Unrecognized(word.trim().into()),
        }
    }

    /// Microsoft's word.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Enabled => "Enabled",
            Self::Warning => "Warning",
            Self::Suspended => "Suspended",
            Self::LockedOut => "LockedOut",
            Self::Deleted => "Deleted",
            Self::Unrecognized(word) => word,
        }
    }

    /// Where it stands among the others: the best first, a word that nobody knows last.
    pub const fn rank(&self) -> u8 {
        match self {
            Self::Enabled => 0,
            Self::Warning => 1,
            Self::Suspended => 2,
            Self::LockedOut => 3,
            Self::Deleted => 4,
            Self::Unrecognized(_) => 5,
        }
    }
}

/// One service inside a SKU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePlan {
    /// `servicePlanId`.
    pub id: ServicePlanId,
    /// `servicePlanName`; for an ISV's plan the place where the Service ID is expected.
    pub name: Arc<str>,
}

/// How many units of a SKU stand in which state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Units {
    /// Of active subscriptions.
    pub enabled: u32,
    /// In Microsoft's grace period; usable.
    pub warning: u32,
    /// Not assignable.
    pub suspended: u32,
    /// Cancelled by the customer.
    pub locked_out: u32,
    /// Assigned to users.
    pub consumed: u32,
}

impl Units {
    /// These and those, as far as they can be counted.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            enabled: self.enabled.saturating_add(other.enabled),
            warning: self.warning.saturating_add(other.warning),
            suspended: self.suspended.saturating_add(other.suspended),
            locked_out: self.locked_out.saturating_add(other.locked_out),
            consumed: self.consumed.saturating_add(other.consumed),
        }
    }

    /// How many may be assigned: also those whose purchase is in Microsoft's grace period.
    pub const fn bought(self) -> u32 {
        self.enabled.saturating_add(self.warning)
    }
}

/// A SKU of a tenant.
///
/// Source: Graph, `subscribedSku`; [`Sku::next_lifecycle`] from `companySubscription`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sku {
    /// `skuId`.
    pub id: SkuId,
    /// `skuPartNumber`.
    pub part_number: Arc<str>,
    /// `capabilityStatus`.
    pub status: CapabilityStatus,
    /// `servicePlans`.
    pub service_plans: Vec<ServicePlan>,
    /// `prepaidUnits` and `consumedUnits`.
    pub units: Units,
    /// The earliest moment at which a subscription behind it will change its status.
    pub next_lifecycle: Option<Timestamp>,
    /// The complete read of the SKU list that no longer had it, while the brake waits for a second
    /// one; `None` while it is listed.
    pub missing_since: Option<RunId>,
}

/// How a SKU turned out to be a plan of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SkuMatch {
    /// The whole SKU is the plan (`sku_ids`, or its part number is the Service ID).
    Sku,
    /// This service plan inside it is (`service_plan_ids`, or its name is the Service ID).
    ServicePlan(ServicePlanId),
}

impl Sku {
    /// Whether this SKU carries the plan, and by what.
    ///
    /// Ids the operator typed in come first; otherwise Microsoft's names are compared with the
    /// Service ID, whatever their case.
    pub fn matches(&self, plan: &Plan) -> Option<SkuMatch> {
        let by_id = |it: &&ServicePlan| plan.service_plan_ids.contains(&it.id);
        let by_name = |it: &&ServicePlan| plan.service_id.matches(&it.name);
        let found = self.service_plans.iter().find(by_id);
        let found = found.or_else(|| self.service_plans.iter().find(by_name));
        if let Some(service_plan) = found {
            return Some(SkuMatch::ServicePlan(service_plan.id));
        }
        let whole = plan.sku_ids.contains(&self.id) || plan.service_id.matches(&self.part_number);
        whole.then_some(SkuMatch::Sku)
    }
}

/// By which way a licence reached a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Via {
    /// Assigned to the user himself.
    Direct,
    /// Through membership in this group.
    Group(GroupId),
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Direct => f.write_str("direct"),
            Self::Group(group) => group.fmt(f),
        }
    }
}

/// Where one path of an assignment stands.
///
/// Source: Graph, `licenseAssignmentState.state`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PathState {
    /// Held.
    Active,
    /// Held, but the last change failed.
    ActiveWithError,
    /// Not explained by Microsoft.
    Disabled,
    /// Intended, not held.
    Error,
    /// A word that Microsoft added later; kept as it is.
    Unrecognized(Arc<str>),
}

impl PathState {
    /// The word, whatever its case and the spaces around it.
    pub fn from_word(word: &str) -> Self {
        match word.trim().to_ascii_lowercase().as_str() {
            "active" => Self::Active,
            "activewitherror" => Self::ActiveWithError,
            "disabled" => Self::Disabled,
            "error" => Self::Error,
            _ => Self::Unrecognized(word.trim().into()),
        }
    }

    /// Microsoft's word.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Active => "Active",
            Self::ActiveWithError => "ActiveWithError",
            Self::Disabled => "Disabled",
            Self::Error => "Error",
            Self::Unrecognized(word) => word,
        }
    }
}

/// One way by which a SKU was assigned to a user.
///
/// Source: Graph, `licenseAssignmentState`: one row per path, a multiset.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Path {
    /// Directly or through a group.
    pub via: Via,
    /// Where it stands.
    pub state: PathState,
    /// Microsoft's word for what is wrong, such as `CountViolation`; `None` also for its literal
    /// `None`.
    pub error: Option<Arc<str>>,
    /// Service plans switched off on this path; sorted.
    pub disabled_plans: Vec<ServicePlanId>,
}

/// One SKU of ours that is assigned, or meant to be assigned, to a user.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Licence {
    /// Which SKU.
    pub sku: SkuId,
    /// Whether `user.assignedLicenses` has it: the effect, and so the right. A path alone is only
    /// an intention.
    pub assigned: bool,
    /// Service plans switched off for the user; sorted.
    pub disabled_plans: Vec<ServicePlanId>,
    /// The ways it came by; sorted. Empty when they were not told.
    pub paths: Vec<Path>,
}

impl Licence {
    /// Whether the user really holds what `found` points at, by at least one path.
    ///
    /// `assignedLicenses` is the effect; a licence whose every known path is in
    /// [`PathState::Error`] is not held; nor is a service plan that is switched off.
    ///
    /// Source: contract section 2 rule 2, section 4 (`seats`), section 7.
    pub fn holds(&self, found: SkuMatch) -> bool {
        let off = |plans: &[ServicePlanId]| match found {
            SkuMatch::Sku => false,
            SkuMatch::ServicePlan(plan) => plans.contains(&plan),
        };
        let carries = |it: &Path| it.state != PathState::Error && !off(&it.disabled_plans);
        self.assigned
            && !off(&self.disabled_plans)
            && (self.paths.is_empty() || self.paths.iter().any(carries))
    }

    /// Whether nothing but failed paths is left of it.
    pub fn only_errors(&self) -> bool {
        !self.paths.is_empty() && self.paths.iter().all(|it| it.state == PathState::Error)
    }
}

/// All that a user holds of the publisher's SKUs, sorted by SKU.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct UserLicences {
    /// One entry a SKU.
    pub licences: Vec<Licence>,
    /// The complete read that no longer had this user, while the brake waits for a second one.
    pub missing_since: Option<RunId>,
    /// Something was said of what he holds that could not be understood, and it may be a licence.
    pub unread: bool,
}

impl UserLicences {
    /// These licences, in the one order in which two equal answers are equal.
    pub fn new(licences: impl IntoIterator<Item = Licence>) -> Self {
        let mut licences: Vec<Licence> = licences.into_iter().collect();
        for licence in &mut licences {
            licence.disabled_plans.sort_unstable();
            licence.disabled_plans.dedup();
            for path in &mut licence.paths {
                path.disabled_plans.sort_unstable();
                path.disabled_plans.dedup();
            }
            licence.paths.sort_unstable();
            licence.paths.dedup();
        }
        licences.sort_unstable();
        licences.dedup_by(|a, b| a.sku == b.sku);
        Self { licences, missing_since: None, unread: false }
    }

    /// Those of a user of whom nothing could be understood.
    pub fn unread() -> Self {
        Self { unread: true, ..Self::default() }
    }

    /// Whether there is nothing to remember.
    pub fn is_empty(&self) -> bool {
        self.licences.is_empty() && !self.unread
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Channel, Coverage, Features};
    use jiff::SignedDuration;
    use uuid::Uuid;

    fn licence(assigned: bool, paths: &[(Via, &str)]) -> Licence {
        let path = |(via, state): &(Via, &str)| Path {
            via: *via,
            state: PathState::from_word(state),
            error: None,
            disabled_plans: Vec::new(),
        };
        Licence {
            sku: SkuId::from_uuid(Uuid::from_u128(5)),
            assigned,
            disabled_plans: Vec::new(),
            paths: paths.iter().map(path).collect(),
        }
    }

    #[test]
    fn a_path_in_error_is_no_seat_but_another_may_be() {
        let group = Via::Group(GroupId::from_uuid(Uuid::from_u128(7)));
        let check = |assigned, paths: &[(Via, &str)], held| {
            assert_eq!(licence(assigned, paths).holds(SkuMatch::Sku), held, "{paths:?}");
        };
        check(true, &[], true);
        check(false, &[], false);
        check(true, &[(group, "Error")], false);
        check(true, &[(group, "Error"), (Via::Direct, "Active")], true);
        check(true, &[(group, "ActiveWithError")], true);
        check(true, &[(group, "Disabled")], true);
        check(true, &[(group, "SomethingNew")], true);
        check(false, &[(group, "Error")], false);
    }

    #[test]
    fn an_id_counts_in_its_own_place_only() {
        let (one, two) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let sku = |id: Uuid, part_number: &str, service_plan: Uuid, name: &str| Sku {
            id: SkuId::from_uuid(id),
            part_number: part_number.into(),
            status: CapabilityStatus::Enabled,
            service_plans: vec![ServicePlan {
                id: ServicePlanId::from_uuid(service_plan),
                name: name.into(),
            }],
            units: Units::default(),
            next_lifecycle: None,
            missing_since: None,
        };
        let plan = |service_id: &str, skus: &[Uuid], service_plans: &[Uuid]| Plan {
            service_id: service_id.parse().unwrap(),
            channel: Channel::Appsource,
            coverage: Coverage::Tenant,
            features: Features::from([]),
            sku_ids: skus.iter().map(|it| SkuId::from_uuid(*it)).collect(),
            service_plan_ids: service_plans
                .iter()
                .map(|it| ServicePlanId::from_uuid(*it))
                .collect(),
            release_after: SignedDuration::ZERO,
        };
        let inside = SkuMatch::ServicePlan(ServicePlanId::from_uuid(two));
        let check = |sku: &Sku, plan: &Plan, found| {
            assert_eq!(sku.matches(plan), found, "{sku:?} {plan:?}");
        };
        let it = sku(one, "X", two, "Y");
        check(&it, &plan("a.b.c", &[one], &[]), Some(SkuMatch::Sku));
        check(&it, &plan("a.b.c", &[two], &[]), None);
        check(&it, &plan("a.b.c", &[], &[two]), Some(inside));
        check(&it, &plan("a.b.c", &[], &[one]), None);
        // A plan that is called by a GUID is found by its whole name only, never by that id.
        let named = plan(&format!("a.b.{one}"), &[], &[]);
        check(&it, &named, None);
        check(&sku(two, &one.to_string(), two, &one.to_string()), &named, None);
        check(&sku(two, "X", two, &format!("A.B.{one}")), &named, Some(inside));
        check(&sku(two, &format!("a.b.{one}"), one, "Y"), &named, Some(SkuMatch::Sku));
        // Nor is a plan whose SKU it is found by its being a part of another's name.
        check(&sku(two, &format!("a.b.{one}"), two, "Y"), &plan("x.y.z", &[one], &[]), None);
    }

    #[test]
    fn a_service_plan_that_is_switched_off_is_no_seat() {
        let plan = ServicePlanId::from_uuid(Uuid::from_u128(9));
        let mut it = licence(true, &[(Via::Direct, "Active")]);
        assert!(it.holds(SkuMatch::ServicePlan(plan)));
        it.disabled_plans.push(plan);
        assert!(!it.holds(SkuMatch::ServicePlan(plan)));
        assert!(it.holds(SkuMatch::Sku));
    }
}
