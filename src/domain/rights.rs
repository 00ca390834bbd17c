//! Usage rights: what Microsoft says of a user's right without saying how he came by it, and when
//! its silence may be believed.

use std::sync::Arc;

use imbl::OrdMap;
use jiff::{SignedDuration, Timestamp};

use super::{Mapping, Plan, ServiceId, UserId, has_passed};

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
    /// known to be the plan; or an operator has said so of this tenant, of its identifier or, where
    /// that names no plan at all, of its catalog id.
    pub fn is_of(&self, plan: &Plan, confirmed: &[Mapping]) -> bool {
        let counts = || confirmed.iter().filter(|it| it.counts());
        let of_plan = || counts().filter(|it| it.service_id == plan.service_id);
        if plan.service_id.matches(&self.identifier)
            || self.bare.as_ref() == Some(&plan.service_id)
            || self.names_an_id_of(plan)
            || of_plan().any(|it| it.names(self))
        {
            return true;
        }
        // Plans of one product may share a catalog id: whoever is named is who it is.
        let named = self.bare.is_some()
            || self.names_one_of(plan.service_id.publisher())
            || counts().any(|it| it.names(self));
        !named && of_plan().any(|it| it.is_beside(self))
    }

    /// Whether the identifier is a Service ID of this publisher's.
    fn names_one_of(&self, publisher: &str) -> bool {
        let id: Option<ServiceId> = self.identifier.trim().parse().ok();
        id.is_some_and(|it| it.publisher().eq_ignore_ascii_case(publisher))
    }

    /// Samples of Microsoft's look like `mscrm.<guid>.<guid>`, of unknown kinds. A GUID that is one
    /// thing of this plan and another of the next is refused in the configuration.
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
    /// Sorted; empty when he was believed to hold nothing, in a tenant whose licences the directory
    /// does not list: who was never read there is not known to hold none.
    pub rows: Vec<Right>,
    /// When they were last seen so.
    pub read_at: Timestamp,
    /// When he came without them, while another look is waited for: he first did then, or the brake
    /// last held him back.
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

/// The usage rights of a tenant's users who were looked up, with how many hold each. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct RightsTable {
    users: OrdMap<UserId, Arc<UserRights>>,
    /// How many users hold each right: few, where users are many.
    held: OrdMap<Right, usize>,
    holders: usize,
    /// How many holders came without anything the last time.
    missing: usize,
}

/// The most different rights of a tenant that one question looks through.
const DIFFERENT_MAX: usize = 1_000;

impl RightsTable {
    /// What this user was last shown to hold; `None` if he was never read, or nothing was believed.
    pub fn get(&self, user: UserId) -> Option<&Arc<UserRights>> {
        self.users.get(&user)
    }

    /// All users who are remembered, by id.
    pub fn iter(&self) -> impl Iterator<Item = (&UserId, &Arc<UserRights>)> {
        self.users.iter()
    }

    /// Those from this user on, by id.
    pub fn from(&self, user: UserId) -> impl Iterator<Item = (&UserId, &Arc<UserRights>)> {
        self.users.range(user..)
    }

    /// How many users are remembered, those who hold nothing included.
    pub fn len(&self) -> usize {
        self.users.len()
    }

    /// Whether nobody is remembered.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// How many users hold anything.
    pub const fn holders(&self) -> usize {
        self.holders
    }

    /// Who holds something, though he came without anything after this moment, by id.
    pub fn missing_after(
        &self,
        at: Option<Timestamp>,
    ) -> impl Iterator<Item = (UserId, Timestamp)> {
        let any = (self.missing > 0).then(|| self.users.iter());
        any.into_iter().flatten().filter_map(move |(user, it)| {
            let since = it.missing_since.filter(|since| at.is_none_or(|at| *since > at))?;
            Some((*user, since))
        })
    }

    /// Whether anybody came without what he holds.
    pub const fn misses_any(&self) -> bool {
        self.missing > 0
    }

    /// Whether somebody was shown to hold a right to this plan, or may have been: there are too many
    /// different ones to look through.
    pub fn shows(&self, plan: &Plan, confirmed: &[Mapping]) -> bool {
        // Of more than that it is not said that nobody holds one.
        self.held.len() > DIFFERENT_MAX || self.held.keys().any(|it| it.is_of(plan, confirmed))
    }

    /// What this user holds from now on.
    pub fn insert(&mut self, user: UserId, rights: Arc<UserRights>) {
        self.remove(user);
        self.holders = self.holders.saturating_add(usize::from(!rights.rows.is_empty()));
        self.missing = self.missing.saturating_add(usize::from(rights.missing_since.is_some()));
        for row in &rights.rows {
            let count = self.held.entry(row.clone()).or_default();
            *count = count.saturating_add(1);
        }
        self.users.insert(user, rights);
    }

    /// Forgets this user.
    pub fn remove(&mut self, user: UserId) {
        let Some(before) = self.users.remove(&user) else { return };
        self.holders = self.holders.saturating_sub(usize::from(!before.rows.is_empty()));
        self.missing = self.missing.saturating_sub(usize::from(before.missing_since.is_some()));
        for row in &before.rows {
            let left = self.held.get(row).map_or(0, |it| it.saturating_sub(1));
            if left == 0 {
                self.held.remove(row);
            } else {
                self.held.insert(row.clone(), left);
            }
        }
    }
}

/// The most users of one tenant of whom it is remembered that they hold nothing; when more were
/// looked up, those are forgotten who were looked up the longest ago. Whoever holds something is
/// never forgotten for lack of room: there are as many of them as the tenant has licensed users.
pub const EMPTY_MAX: usize = 20_000;

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

    /// When any app last saw rows of anybody: who came without his before that has a witness.
    pub fn seen_at(&self) -> Option<Timestamp> {
        self.proven.as_ref().map(|(_, at)| *at)
    }

    /// Whether the last try was refused less long ago than this.
    pub fn is_refused(&self, now: Timestamp, within: SignedDuration) -> bool {
        self.refused.as_ref().is_some_and(|(_, at)| !has_passed(within, *at, now))
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
    fn plans_that_share_a_catalog_id_are_told_apart_by_their_names() {
        let of = |identifier: &str| Right { catalog: Some("CFQ:1".into()), ..right(identifier) };
        let mapping = |service_id: &str, target: &str| {
            let catalog = Some("CFQ:1".into());
            let (id, target) = (service_id.parse().unwrap(), Target::Right(target.into()));
            let it = Mapping::proposed(id, target, catalog, 2, "", Timestamp::UNIX_EPOCH);
            Mapping { state: MappingState::Confirmed, ..it }
        };
        let confirmed = [mapping("vizmaker.synoptic.team", "mscrm.team")];
        let check = |right: Right, confirmed: &[Mapping], is| {
            assert_eq!(right.is_of(&plan(), confirmed), is, "{right:?}");
        };
        check(of("mscrm.team"), &confirmed, true);
        check(of("mscrm.new-name"), &confirmed, true);
        check(of("vizmaker.synoptic.pro"), &confirmed, false);
        let bare = Right { bare: "vizmaker.synoptic.pro".parse().ok(), ..of("pro") };
        check(bare, &confirmed, false);
        let both = [confirmed[0].clone(), mapping("vizmaker.synoptic.pro", "mscrm.pro")];
        check(of("mscrm.pro"), &both, false);
        check(of("mscrm.team"), &both, true);
    }

    #[test]
    fn of_too_many_different_rights_it_is_not_said_that_nobody_holds_one() {
        let mut table = RightsTable::default();
        for n in 0..=DIFFERENT_MAX {
            let user = UserId::from_uuid(Uuid::from_u128(n as u128));
            assert!(!table.shows(&plan(), &[]));
            let row = right(&format!("a.b.{n}"));
            table.insert(user, Arc::new(UserRights::seen(vec![row], Timestamp::UNIX_EPOCH)));
        }
        assert!(table.shows(&plan(), &[]));
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
    fn a_table_knows_which_rights_anybody_holds() {
        let user = |n| UserId::from_uuid(Uuid::from_u128(n));
        let seen = |names: &[&str]| {
            let rows = names.iter().map(|it| right(it)).collect();
            Arc::new(UserRights::seen(rows, Timestamp::UNIX_EPOCH))
        };
        let mut table = RightsTable::default();
        let mut check = |change: &mut dyn FnMut(&mut RightsTable), shows, holders, len| {
            change(&mut table);
            assert_eq!(table.shows(&plan(), &[]), shows);
            assert_eq!((table.holders(), table.len()), (holders, len));
        };
        let team = "vizmaker.synoptic.team";
        check(&mut |it| it.insert(user(1), seen(&[])), false, 0, 1);
        check(&mut |it| it.insert(user(2), seen(&["a.b.c"])), false, 1, 2);
        check(&mut |it| it.insert(user(1), seen(&[team])), true, 2, 2);
        check(&mut |it| it.insert(user(2), seen(&[team, "a.b.c"])), true, 2, 2);
        check(&mut |it| it.remove(user(1)), true, 1, 1);
        check(&mut |it| it.insert(user(2), seen(&["a.b.c"])), false, 1, 1);
        check(&mut |it| it.remove(user(2)), false, 0, 0);
        check(&mut |it| it.remove(user(2)), false, 0, 0);
    }

    #[test]
    fn another_app_has_proven_nothing() {
        let proven = Some(("app".into(), Timestamp::UNIX_EPOCH));
        let source = RightsSource { proven, ..RightsSource::default() };
        assert!(source.is_proven_by("app") && !source.is_proven_by("another"));
        assert!(!RightsSource::default().is_proven_by("app"));
    }
}
