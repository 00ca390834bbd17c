//! Usage rights: what Microsoft says of a user's right without saying how he came by it, and when
//! its silence may be believed.

use std::sync::Arc;

use imbl::OrdMap;
use jiff::{SignedDuration, Timestamp};

use super::{Mapping, Plan, ServiceId, UserId};

/// One row of a user's `usageRights`.
///
/// Source: Graph beta, `usageRight`: graph-licensing.md section 3, visuals-and-isv.md section 4.7.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Right {
    /// `serviceIdentifier`, as it came.
    pub identifier: Arc<str>,
    /// `catalogId`: product and SKU of Microsoft's catalog.
    pub catalog: Option<Arc<str>>,
    /// `state`, as it came: `active`, `warning`, `suspended`, `inactive`, or a word added later.
    pub state: Arc<str>,
    /// The plan whose last part alone the identifier is, if only one plan of the publisher's has
    /// that last part.
    pub bare: Option<ServiceId>,
}

impl Right {
    /// Whether the product may be used by it. A word that nobody knows is none.
    pub fn is_usable(&self) -> bool {
        ["active", "warning"].iter().any(|it| self.state.trim().eq_ignore_ascii_case(it))
    }

    /// Whether it is a right to this plan, whatever the letters' case: its identifier is the
    /// Service ID, or alone the plan's part of it; or holds the id of a SKU or service plan that is
    /// known to be the plan; or an operator has said so of this tenant.
    pub fn is_of(&self, plan: &Plan, confirmed: &[Mapping]) -> bool {
        plan.service_id.matches(&self.identifier)
            || self.bare.as_ref() == Some(&plan.service_id)
            || self.names_an_id_of(plan)
            || confirmed
                .iter()
                .any(|it| it.counts() && it.service_id == plan.service_id && it.explains(self))
    }

    /// Samples of Microsoft's look like `mscrm.<guid>.<guid>`.
    fn names_an_id_of(&self, plan: &Plan) -> bool {
        self.identifier.split('.').any(|part| {
            part.parse().is_ok_and(|it| plan.sku_ids.contains(&it))
                || part.parse().is_ok_and(|it| plan.service_plan_ids.contains(&it))
        })
    }
}

/// What one user was last shown to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserRights {
    /// Sorted; empty when he was believed to hold nothing.
    pub rows: Vec<Right>,
    /// When they were last seen so.
    pub read_at: Timestamp,
    /// When he first came without them, while a second look is waited for.
    pub missing_since: Option<Timestamp>,
}

impl UserRights {
    /// These rows, seen at this moment, in the one order in which two equal answers are equal.
    pub fn seen(mut rows: Vec<Right>, read_at: Timestamp) -> Self {
        rows.sort_unstable();
        rows.dedup();
        Self { rows, read_at, missing_since: None }
    }
}

/// The usage rights of a tenant's users who were looked up. Cheap to clone.
pub type RightsTable = OrdMap<UserId, Arc<UserRights>>;

/// The most users of one tenant whose rights are kept; when more were looked up, those who hold
/// nothing go first, and among equals the one who was looked up the longest ago.
pub const RIGHTS_MAX: usize = 20_000;

/// How far a tenant's usage rights can be believed, and why not further.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct RightsSource {
    /// The app that last saw rows of any user, and when. Another app proves nothing: answers
    /// depend on who asks.
    ///
    /// Source: graph-licensing.md section 18.3.
    pub proven: Option<(Arc<str>, Timestamp)>,
    /// When they could last not be read, and why, in words.
    pub refused: Option<(Arc<str>, Timestamp)>,
    /// When they were last read.
    pub read_at: Option<Timestamp>,
    /// When it was last compared what plans are called there.
    pub learned_at: Option<Timestamp>,
}

impl RightsSource {
    /// Whether this app has seen rows there: before that, "nothing" means "not known".
    pub fn is_proven_by(&self, app: &str) -> bool {
        self.proven.as_ref().is_some_and(|(proven, _)| **proven == *app)
    }

    /// Whether the last try was refused less long ago than this.
    pub fn is_refused(&self, now: Timestamp, within: SignedDuration) -> bool {
        self.refused.as_ref().is_some_and(|(_, at)| now.duration_since(*at) < within)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Channel, Coverage, Features, MappingState, Target};
    use uuid::{Uuid, uuid};

    const SKU: Uuid = uuid!("5c000000-aaaa-4000-8000-00000000000a");
    const SERVICE: Uuid = uuid!("9d000000-bbbb-4000-8000-00000000000a");

    fn plan() -> Plan {
        Plan {
            service_id: "vizmaker.synoptic.team".parse().unwrap(),
            channel: Channel::Appsource,
            coverage: Coverage::Tenant,
            features: Features::from([]),
            sku_ids: vec![crate::domain::SkuId::from_uuid(SKU)],
            service_plan_ids: vec![crate::domain::ServicePlanId::from_uuid(SERVICE)],
            release_after: SignedDuration::ZERO,
        }
    }

    fn right(identifier: &str) -> Right {
        Right { identifier: identifier.into(), catalog: None, state: "active".into(), bare: None }
    }

    #[test]
    fn a_right_is_matched_by_any_name_of_its_plan() {
        let check = |identifier: &str, matches| {
            assert_eq!(right(identifier).is_of(&plan(), &[]), matches, "{identifier}");
        };
        check("vizmaker.synoptic.team", true);
        check(" VizMaker.Synoptic.TEAM ", true);
        check(&format!("mscrm.{}.x", SKU.to_string().to_uppercase()), true);
        check(&format!("mscrm.aaaa.{SERVICE}"), true);
        check(&SERVICE.to_string(), true);
        check("team", false);
        check("vizmaker.synoptic.team2", false);
        check("", false);
        let bare = Right { bare: Some(plan().service_id), ..right("TEAM") };
        assert!(bare.is_of(&plan(), &[]));
        let other = Right { bare: "a.b.team".parse().ok(), ..right("TEAM") };
        assert!(!other.is_of(&plan(), &[]));
    }

    #[test]
    fn only_a_confirmed_mapping_gives_a_right() {
        let odd = Right { catalog: Some("CFQ:1".into()), ..right("mscrm.odd") };
        let target = Target::Right("mscrm.ODD".into());
        let mut mapping =
            Mapping::proposed(plan().service_id, target, None, 2, "", Timestamp::UNIX_EPOCH);
        for state in MappingState::ALL {
            mapping.state = *state;
            let counts = *state == MappingState::Confirmed;
            assert_eq!(odd.is_of(&plan(), std::slice::from_ref(&mapping)), counts, "{state}");
        }
        mapping.state = MappingState::Confirmed;
        mapping.target = Target::Sku(crate::domain::SkuId::from_uuid(Uuid::from_u128(9)));
        assert!(!odd.is_of(&plan(), std::slice::from_ref(&mapping)));
        mapping.catalog = Some("cfq:1".into());
        assert!(odd.is_of(&plan(), std::slice::from_ref(&mapping)), "by its catalog id");
    }

    #[test]
    fn only_two_words_are_usable() {
        let check = |state: &str, usable| {
            assert_eq!(Right { state: state.into(), ..right("x") }.is_usable(), usable, "{state}");
        };
        check("active", true);
        check("Warning", true);
        check("suspended", false);
        check("inactive", false);
        check("unknownFutureValue", false);
        check("paused", false);
        check("", false);
    }

    #[test]
    fn another_app_has_proven_nothing() {
        let proven = Some(("app".into(), Timestamp::UNIX_EPOCH));
        let source = RightsSource { proven, ..RightsSource::default() };
        assert!(source.is_proven_by("app") && !source.is_proven_by("another"));
        assert!(!RightsSource::default().is_proven_by("app"));
    }
}
