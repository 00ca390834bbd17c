//! What a tenant's licences turned out to be called there: proposed by what was seen, decided by an
//! operator.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use jiff::Timestamp;

use super::product::words;
use super::{Plan, Right, ServiceId, ServicePlanId, Sku, SkuId, SkuMatch, UnknownWord};

words!(
    /// How far a mapping is.
    MappingState, "state of a mapping" {
        /// Seen, and nobody has decided: it gives nobody a right.
        Proposed = "proposed",
        /// An operator said yes: it counts.
        Confirmed = "confirmed",
        /// An operator said no: it is not proposed again.
        Rejected = "rejected",
    }
);

/// What in a tenant is a plan of ours.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Target {
    /// A whole SKU.
    Sku(SkuId),
    /// A service plan inside a SKU.
    ServicePlan(SkuId, ServicePlanId),
    /// The `serviceIdentifier` of usage rights, in lower case.
    Right(Arc<str>),
}

impl Target {
    /// One word for its kind.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Sku(_) => "sku",
            Self::ServicePlan(..) => "service_plan",
            Self::Right(_) => "usage_right",
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sku(sku) => write!(f, "SKU {sku}"),
            Self::ServicePlan(sku, plan) => write!(f, "service plan {plan} of SKU {sku}"),
            Self::Right(identifier) => write!(f, "usage right {identifier}"),
        }
    }
}

/// A plan of ours and what it is called in one tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// What operators name it by: the same plan and target have the same id.
    pub id: Arc<str>,
    /// The plan.
    pub service_id: ServiceId,
    /// What it is there.
    pub target: Target,
    /// The `catalogId` that came with the plan's usage rights.
    pub catalog: Option<Arc<str>>,
    /// How many users say so.
    pub users: u32,
    /// What speaks for it, in words.
    pub evidence: Arc<str>,
    /// How far it is.
    pub state: MappingState,
    /// Since when it is so far.
    pub since: Timestamp,
}

/// What happens to the mappings of a tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MappingWrite {
    /// Seen. One that is known keeps what was decided about it.
    Propose(Mapping),
    /// Decided by an operator, at this moment.
    Decide(Arc<str>, MappingState, Timestamp),
}

/// Mappings of one tenant that are kept; more are not proposed until some are decided.
pub const MAPPINGS_MAX: usize = 100;

impl Mapping {
    /// A mapping that waits for an operator.
    pub fn proposed(
        service_id: ServiceId,
        target: Target,
        catalog: Option<Arc<str>>,
        users: u32,
        evidence: &str,
        now: Timestamp,
    ) -> Self {
        let id = id_of(&service_id, &target);
        let (evidence, state) = (evidence.into(), MappingState::Proposed);
        Self { id, service_id, target, catalog, users, evidence, state, since: now }
    }

    /// Whether it gives rights.
    pub fn counts(&self) -> bool {
        self.state == MappingState::Confirmed
    }

    /// Whether it speaks of a usage right by its identifier.
    pub fn names(&self, right: &Right) -> bool {
        match &self.target {
            Target::Right(identifier) => identifier.eq_ignore_ascii_case(right.identifier.trim()),
            Target::Sku(_) | Target::ServicePlan(..) => false,
        }
    }

    /// Whether a usage right stands at the same place in Microsoft's catalog: where several plans
    /// may stand.
    pub fn is_beside(&self, right: &Right) -> bool {
        let both = self.catalog.as_ref().zip(right.catalog.as_ref());
        both.is_some_and(|(ours, its)| ours.eq_ignore_ascii_case(its))
    }

    /// What of a SKU it says is the plan.
    fn found_in(&self, sku: &Sku) -> Option<SkuMatch> {
        match self.target {
            Target::Sku(id) => (id == sku.id).then_some(SkuMatch::Sku),
            Target::ServicePlan(id, plan) => {
                let carried = id == sku.id && sku.service_plans.iter().any(|it| it.id == plan);
                carried.then_some(SkuMatch::ServicePlan(plan))
            }
            Target::Right(_) => None,
        }
    }
}

/// Whether this SKU is named to be the plan, or to hold it, by the configuration or by an operator,
/// whatever the tenant says of it.
pub fn names_sku(plan: &Plan, sku: SkuId, mappings: &[Mapping]) -> bool {
    let says = |it: &Mapping| {
        let named = match it.target {
            Target::Sku(id) | Target::ServicePlan(id, _) => id == sku,
            Target::Right(_) => false,
        };
        named && it.counts() && it.service_id == plan.service_id
    };
    plan.sku_ids.contains(&sku) || mappings.iter().any(says)
}

/// What of a SKU is the plan: by Microsoft's names and the configuration, or because an operator
/// has said so of this tenant.
pub fn sku_match(sku: &Sku, plan: &Plan, mappings: &[Mapping]) -> Option<SkuMatch> {
    sku.matches(plan).or_else(|| {
        let of_plan = |it: &&Mapping| it.counts() && it.service_id == plan.service_id;
        mappings.iter().filter(of_plan).find_map(|it| it.found_in(sku))
    })
}

/// The mappings after a write; `None` if it changes nothing.
pub fn mapped(mappings: &[Mapping], write: &MappingWrite) -> Option<Vec<Mapping>> {
    let mut next = mappings.to_vec();
    let room = mappings.len() < MAPPINGS_MAX;
    match write {
        MappingWrite::Propose(new) => match next.iter_mut().find(|it| it.id == new.id) {
            Some(known) if known.state == MappingState::Proposed => {
                let since = known.since;
                *known = Mapping { since, ..new.clone() };
            }
            Some(_) => {}
            None if room => next.push(new.clone()),
            None => {}
        },
        MappingWrite::Decide(id, state, at) => {
            let known = next.iter_mut().find(|it| it.id == *id && it.state != *state)?;
            (known.state, known.since) = (*state, *at);
        }
    }
    (next != mappings).then_some(next)
}

fn id_of(service_id: &ServiceId, target: &Target) -> Arc<str> {
    let text = target.to_string();
    let hash = fnv([service_id.as_str().as_bytes(), text.as_bytes()]);
    format!("m{:08x}", (hash >> 32) ^ (hash & 0xffff_ffff)).into()
}

fn fnv<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> u64 {
    let bytes = parts.into_iter().flat_map(|it| it.iter().chain(&[0xff]));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn proposal(users: u32, at: i64) -> Mapping {
        let target = Target::Sku(SkuId::from_uuid(Uuid::from_u128(5)));
        let now = Timestamp::from_second(at).unwrap();
        Mapping::proposed("a.b.c".parse().unwrap(), target, None, users, "seen", now)
    }

    #[test]
    fn what_was_decided_is_not_proposed_again() {
        let first = mapped(&[], &MappingWrite::Propose(proposal(2, 1))).unwrap();
        assert_eq!(mapped(&first, &MappingWrite::Propose(proposal(2, 9))), None, "nothing new");
        let more = mapped(&first, &MappingWrite::Propose(proposal(3, 9))).unwrap();
        assert_eq!((more[0].users, more[0].since.as_second(), more.len()), (3, 1, 1));
        for state in [MappingState::Confirmed, MappingState::Rejected] {
            let decide =
                MappingWrite::Decide(Arc::clone(&more[0].id), state, Timestamp::UNIX_EPOCH);
            let decided = mapped(&more, &decide).unwrap();
            assert_eq!(mapped(&decided, &decide), None, "again");
            assert_eq!(mapped(&decided, &MappingWrite::Propose(proposal(9, 9))), None);
            assert_eq!(decided[0].counts(), state == MappingState::Confirmed);
        }
    }

    #[test]
    fn so_many_are_kept() {
        let mut all = Vec::new();
        for n in 0..200 {
            let target = Target::Sku(SkuId::from_uuid(Uuid::from_u128(n)));
            let new = Mapping { id: n.to_string().into(), target, ..proposal(2, 1) };
            all = mapped(&all, &MappingWrite::Propose(new)).unwrap_or(all);
        }
        assert_eq!(all.len(), MAPPINGS_MAX);
    }
}
