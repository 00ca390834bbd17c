//! Mirror × reading → commit. Pure: what a run changes is decided here and nowhere else.
//!
//! Two laws are kept here. **A subscription is never removed because a list lacks it.** And **the
//! brake**: when a full enumeration would take away more than a set share of a tenant's seats, the
//! rights stay, marked, until a second complete read misses the same ones. What a delta round or
//! the tenant itself removes in so many words counts at once.

mod groups;
mod release;
mod subscriptions;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::{Begun, Limits, Tally};
use crate::domain::{
    Change, Cloud, Commit, Consent, Licence, RunId, Sku, SkuId, Tenant, TenantId, TenantUsers,
    TenantView, UserId, UserLicences, UserTable, UserWrites,
};
use crate::planted::{self, Mistake, planted};

pub(crate) use self::groups::{FoundGroups, ReadFeed, SaidOfGroup, groups};
use self::release::Missing;
pub use self::release::release;
pub(crate) use self::subscriptions::{changed, odd, subscriptions, unknown};

/// Seats that one full read may always remove, however small the tenant.
///
/// Source: contract section 3, `remove_limit`.
const ALWAYS_REMOVABLE: usize = 5;

/// What was read of a tenant.
#[derive(Clone, Debug, Default)]
pub(crate) struct Found {
    /// Its SKUs that are ours: always the whole list.
    pub(crate) skus: Vec<Sku>,
    /// What users hold, as told by changes: taken at its word.
    pub(crate) told: BTreeMap<UserId, Option<UserLicences>>,
    /// What users hold by a full enumeration, if there was one: who is absent holds nothing.
    pub(crate) enumerated: Option<UserTable>,
    /// What the tenant calls itself, if it was asked.
    pub(crate) name: Option<Arc<str>>,
}

/// What a run over a tenant's directory changes.
#[derive(Clone, Debug)]
pub(crate) struct Planned {
    pub(crate) commit: Commit,
    pub(crate) tally: Tally,
    /// Seats that the brake holds, and how many there are.
    pub(crate) held: Option<(usize, usize)>,
}

/// What the reading of a tenant changes.
pub(crate) fn directory(
    view: &TenantView,
    found: Found,
    begun: &Begun,
    limits: Limits,
    now: Timestamp,
) -> Planned {
    let mut planner = Planner {
        tenant: view.tenant.id,
        begun,
        limits,
        now,
        changes: Vec::new(),
        tally: Tally::default(),
        held: 0,
        total: 0,
        missing: Missing::default(),
    };
    let (first, enumerates) = (view.users.is_empty(), found.enumerated.is_some());
    let mut writes: BTreeMap<UserId, Option<UserLicences>> = BTreeMap::new();
    let mut whole = None;
    planner.told(view, found.told, &mut writes);
    if let Some(enumerated) = found.enumerated {
        if first && writes.is_empty() {
            // Nobody is there who could lose anything: what was read is taken as it is.
            for (user, licences) in enumerated.iter() {
                planner.note_user(user, None, Some(licences));
            }
            whole = (!enumerated.is_empty()).then_some(enumerated);
        } else {
            let patch: Vec<_> = writes.iter().map(|(user, it)| (*user, it.clone())).collect();
            let told = TenantView { users: view.users.patched(&patch), ..view.clone() };
            planner.enumerated(&told, &enumerated, &mut writes);
        }
    }
    let skus = planner.skus(view, found.skus);

    let mut commit = Commit { changes: planner.changes, ..Commit::default() };
    let name = found.name.or_else(|| view.tenant.name.clone());
    // What the public cloud's Graph lets us read lives in the public cloud.
    let tenant =
        Tenant { consent: Consent::Granted, cloud: Cloud::Public, name, ..view.tenant.clone() };
    if tenant != view.tenant {
        if (tenant.consent, tenant.cloud) != (view.tenant.consent, view.tenant.cloud) {
            commit.changes.push(Change::of_tenant(now, begun.cause(), Some(&view.tenant), &tenant));
        }
        commit.tenants.push(tenant);
    }
    let patch = (!writes.is_empty()).then(|| UserWrites::Patch(writes.into_iter().collect()));
    if let Some(writes) = whole.map(UserWrites::Replace).or(patch) {
        commit.users.push(TenantUsers { tenant: planted::owner(view.tenant.id), writes });
    }
    let held = (planner.held > 0).then_some((planner.held, planner.total));
    let back = held.map(|(_, total)| planner.missing.held_back(begun.id, now, total));
    let back = if enumerates { back } else { release::kept(view.held.as_deref(), back, &skus) };
    if back.as_ref() != view.held.as_deref() {
        commit.held.push((view.tenant.id, back));
    }
    if *skus != *view.skus {
        commit.skus.push((view.tenant.id, skus));
    }
    Planned { commit, tally: planner.tally, held }
}

struct Planner<'a> {
    tenant: TenantId,
    begun: &'a Begun,
    limits: Limits,
    now: Timestamp,
    changes: Vec<Change>,
    tally: Tally,
    held: usize,
    total: usize,
    missing: Missing,
}

/// A user whom a full enumeration shows with fewer rights than before.
struct Loss {
    user: UserId,
    before: UserLicences,
    after: Option<UserLicences>,
    seats: usize,
}

impl Planner<'_> {
    /// Changes that Microsoft told: each is applied as it is.
    fn told(
        &mut self,
        view: &TenantView,
        told: BTreeMap<UserId, Option<UserLicences>>,
        writes: &mut BTreeMap<UserId, Option<UserLicences>>,
    ) {
        for (user, after) in told {
            self.put(user, view.users.get(user), after, writes);
        }
    }

    /// A full enumeration: what it lacks is gone, unless the brake says otherwise.
    fn enumerated(
        &mut self,
        view: &TenantView,
        enumerated: &UserTable,
        writes: &mut BTreeMap<UserId, Option<UserLicences>>,
    ) {
        let mut losses = Vec::new();
        for (user, before) in view.users.iter() {
            self.total = self.total.saturating_add(seats(&before));
            let after = enumerated.get(user);
            let kept = |it: &&Licence| after.as_ref().is_some_and(|after| assigns(after, it.sku));
            let assigned = before.licences.iter().filter(|it| it.assigned);
            let lost = assigned.clone().count().saturating_sub(assigned.filter(kept).count());
            if lost > 0 && planted(Mistake::MergeFullRead) {
                continue;
            }
            if lost > 0 && before.missing_since.is_none() {
                losses.push(Loss { user, before, after, seats: lost });
            } else {
                self.put(user, Some(before), after, writes);
            }
        }
        for (user, after) in enumerated.iter().filter(|(user, _)| !view.users.contains(*user)) {
            self.put(user, None, Some(after), writes);
        }
        let lost = losses.iter().map(|it| it.seats).sum();
        let brake = self.brakes(lost, self.total);
        for Loss { user, before, after, seats } in losses {
            if brake {
                self.held = self.held.saturating_add(seats);
                self.missing.user(user, &before, after.as_ref());
                let marked = UserLicences { missing_since: Some(self.begun.id), ..before };
                writes.insert(user, Some(marked));
            } else {
                self.put(user, Some(before), after, writes);
            }
        }
    }

    /// The list of SKUs, which is always complete.
    fn skus(&mut self, view: &TenantView, found: Vec<Sku>) -> Vec<Sku> {
        let mut skus: BTreeMap<SkuId, Sku> = found.into_iter().map(|it| (it.id, it)).collect();
        let listed: BTreeSet<SkuId> = skus.keys().copied().collect();
        for sku in skus.values() {
            let before = view.sku(sku.id);
            if before.is_none_or(|before| !counts_alone_differ(before, sku)) {
                self.note_sku(before, Some(sku));
            }
        }
        for gone in view.skus.iter().filter(|it| !listed.contains(&it.id)) {
            let carried = || view.users.iter().filter(|(_, it)| assigns(it, gone.id)).count();
            let (lost, total) = match gone.missing_since {
                Some(_) => (0, 0),
                None => (carried(), view.users.iter().map(|(_, it)| seats(&it)).sum()),
            };
            if self.brakes(lost, total) {
                self.held = self.held.saturating_add(lost);
                self.total = total;
                self.missing.skus.push(gone.id);
                let marked = Sku { missing_since: Some(self.begun.id), ..gone.clone() };
                skus.insert(gone.id, marked);
            } else {
                self.note_sku(Some(gone), None);
            }
        }
        skus.into_values().collect()
    }

    /// Whether losing this many of so many seats waits for a second read.
    fn brakes(&self, lost: usize, total: usize) -> bool {
        !planted(Mistake::NoBrake)
            && lost > ALWAYS_REMOVABLE
            && self.limits.remove_limit.is_exceeded_by(lost, total)
    }

    /// Writes what a user holds if it differs, and notes the change if it is one.
    fn put(
        &mut self,
        user: UserId,
        before: Option<UserLicences>,
        after: Option<UserLicences>,
        writes: &mut BTreeMap<UserId, Option<UserLicences>>,
    ) {
        if before == after {
            return;
        }
        writes.insert(user, after.clone());
        let licences = |it: &Option<UserLicences>| it.as_ref().map(|it| it.licences.clone());
        if licences(&before) == licences(&after) {
            return; // only the brake's mark went
        }
        self.note_user(user, before, after);
    }

    fn note_user(
        &mut self,
        user: UserId,
        before: Option<UserLicences>,
        after: Option<UserLicences>,
    ) {
        self.count(before.is_some(), after.is_some());
        let (cause, who) = (self.begun.cause(), (self.tenant, user));
        self.changes.push(Change::of_user(self.now, cause, who, before, after));
    }

    fn note_sku(&mut self, before: Option<&Sku>, after: Option<&Sku>) {
        let Some(id) = before.or(after).map(|it| it.id) else { return };
        if before == after {
            return;
        }
        self.count(before.is_some(), after.is_some());
        let cause = self.begun.cause();
        self.changes.push(Change::of_sku(self.now, cause, (self.tenant, id), before, after));
    }

    fn count(&mut self, before: bool, after: bool) {
        let counter = match (before, after) {
            (false, _) => &mut self.tally.added,
            (true, true) => &mut self.tally.changed,
            (true, false) => &mut self.tally.removed,
        };
        *counter = counter.saturating_add(1);
    }
}

/// How many SKUs of ours are assigned to a user.
fn seats(user: &UserLicences) -> usize {
    user.licences.iter().filter(|it| it.assigned).count()
}

fn assigns(user: &UserLicences, sku: SkuId) -> bool {
    user.licences.iter().any(|it| it.sku == sku && it.assigned)
}

/// Whether two readings of a SKU differ in the number of assigned units only: that follows from the
/// users' own changes and is not journaled a second time.
fn counts_alone_differ(before: &Sku, after: &Sku) -> bool {
    let consumed = after.units.consumed;
    let units = crate::domain::Units { consumed, ..before.units };
    before.units.consumed != consumed && *after == Sku { units, ..before.clone() }
}

/// What the brake tells the operator.
pub(crate) fn held_back(held: usize, total: usize, run: RunId) -> String {
    format!(
        "held back: a full read misses {held} of {total} seats, more than `remove_limit` allows in \
         one run; they keep counting until the next complete read misses the same ones (marked by \
         {run}) or `entitled tenants release` lets go of them"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        CapabilityStatus, Mirror, Path, PathState, SourceKey, Trigger, Units, Via,
    };
    use jiff::SignedDuration;
    use uuid::Uuid;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    pub(super) fn sku(id: u128) -> Sku {
        Sku {
            id: SkuId::from_uuid(Uuid::from_u128(id)),
            part_number: "P".into(),
            status: CapabilityStatus::Enabled,
            service_plans: Vec::new(),
            units: Units::default(),
            next_lifecycle: None,
            missing_since: None,
        }
    }

    pub(super) fn user(id: u128) -> UserId {
        UserId::from_uuid(Uuid::from_u128(id))
    }

    pub(super) fn holds(id: u128) -> UserLicences {
        let path = Path {
            via: Via::Direct,
            state: PathState::Active,
            error: None,
            disabled_plans: vec![],
        };
        let sku = SkuId::from_uuid(Uuid::from_u128(id));
        UserLicences::new([Licence {
            sku,
            assigned: true,
            disabled_plans: vec![],
            paths: vec![path],
        }])
    }

    pub(super) fn tenant(users: u128) -> TenantView {
        let id = TenantId::from_uuid(Uuid::from_u128(77)).unwrap();
        let mut view = TenantView::unread(Tenant::heard_of(id, None));
        view.tenant.consent = Consent::Granted;
        view.skus = [sku(1)].into();
        view.users = UserTable::new((1..=users).map(|it| (user(it), holds(1))));
        view
    }

    fn run(id: u64) -> Begun {
        let key = SourceKey::directory(tenant(0).tenant.id);
        Begun { id: RunId(id), key, trigger: Trigger::Manual, full: true, started: NOW }
    }

    /// The tenant after a full read that shows these users.
    pub(super) fn enumerate(view: &TenantView, id: u64, present: &[u128]) -> (TenantView, Planned) {
        let enumerated = UserTable::new(present.iter().map(|it| (user(*it), holds(1))));
        let found = Found { skus: vec![sku(1)], enumerated: Some(enumerated), ..Found::default() };
        apply(view, found, id)
    }

    pub(super) fn apply(view: &TenantView, found: Found, id: u64) -> (TenantView, Planned) {
        let limits = Limits {
            sweep: SignedDuration::from_hours(24),
            remove_limit: crate::config::Share::FIFTH,
            groups: SignedDuration::from_hours(1),
            rights: None,
        };
        let planned = directory(view, found, &run(id), limits, NOW);
        let mirror = Mirror::default().applied(&Commit {
            tenants: vec![view.tenant.clone()],
            skus: vec![(view.tenant.id, view.skus.to_vec())],
            users: vec![TenantUsers {
                tenant: view.tenant.id,
                writes: UserWrites::Replace(view.users.clone()),
            }],
            held: vec![(view.tenant.id, view.held.as_deref().cloned())],
            ..Commit::default()
        });
        let mirror = mirror.applied(&planned.commit);
        (mirror.tenant(view.tenant.id).unwrap().as_ref().clone(), planned)
    }

    pub(super) fn present(view: &TenantView) -> Vec<u128> {
        view.users.iter().map(|(user, _)| user.as_uuid().as_u128()).collect()
    }

    #[test]
    fn a_second_equal_read_changes_nothing() {
        let all: Vec<u128> = (1..=10).collect();
        let (view, first) = enumerate(&tenant(0), 1, &all);
        assert_eq!(first.tally.added, 10);
        let (_, second) = enumerate(&view, 2, &all);
        assert_eq!((second.tally, second.commit.changes.len()), (Tally::default(), 0));
        assert!(second.commit.users.is_empty() && second.commit.tenants.is_empty());
    }

    #[test]
    fn a_few_may_go_at_once() {
        let (view, planned) = enumerate(&tenant(10), 1, &[1, 2, 3, 4, 5]);
        assert_eq!((planned.held, planned.tally.removed), (None, 5));
        assert_eq!(present(&view), [1, 2, 3, 4, 5]);
    }

    #[test]
    fn a_mass_removal_needs_a_second_complete_read() {
        let (held, planned) = enumerate(&tenant(30), 1, &[1]);
        assert_eq!((planned.held, planned.tally.removed), (Some((29, 30)), 0));
        assert_eq!(present(&held).len(), 30);
        assert!(planned.commit.changes.is_empty());

        let (gone, planned) = enumerate(&held, 2, &[1]);
        assert_eq!((planned.held, planned.tally.removed), (None, 29));
        assert_eq!(present(&gone), [1]);
    }

    #[test]
    fn whoever_is_back_in_the_second_read_never_lost_anything() {
        let all: Vec<u128> = (1..=30).collect();
        let (held, _) = enumerate(&tenant(30), 1, &[1]);
        let (back, planned) = enumerate(&held, 2, &all);
        assert_eq!((planned.held, planned.tally), (None, Tally::default()));
        assert!(back.users.iter().all(|(_, it)| it.missing_since.is_none()));
    }

    #[test]
    fn different_ones_missing_each_time_are_held_each_time() {
        let (held, _) = enumerate(&tenant(40), 1, &(1..=20).collect::<Vec<_>>());
        let (view, planned) = enumerate(&held, 2, &(21..=40).collect::<Vec<_>>());
        assert_eq!(planned.held, Some((20, 40)));
        assert_eq!(present(&view).len(), 40);
    }

    #[test]
    fn what_the_tenant_removes_in_so_many_words_counts_at_once() {
        let told = (1..=30).map(|it| (user(it), None)).collect();
        let found = Found { skus: vec![sku(1)], told, ..Found::default() };
        let (view, planned) = apply(&tenant(30), found, 1);
        assert_eq!((planned.held, planned.tally.removed), (None, 30));
        assert!(view.users.is_empty());
    }

    #[test]
    fn a_sku_that_carried_seats_and_is_gone_waits_for_a_second_read() {
        let (held, planned) = apply(&tenant(30), Found::default(), 1);
        assert_eq!(planned.held, Some((30, 30)));
        assert_eq!(held.skus.len(), 1);
        let (gone, planned) = apply(&held, Found::default(), 2);
        assert_eq!((planned.held, planned.tally.removed), (None, 1));
        assert!(gone.skus.is_empty());
    }

    #[test]
    fn a_lapsed_sku_counts_at_once() {
        let mut lapsed = sku(1);
        lapsed.status = CapabilityStatus::Suspended;
        let found = Found { skus: vec![lapsed], ..Found::default() };
        let (view, planned) = apply(&tenant(30), found, 1);
        assert_eq!((planned.held, planned.tally.changed), (None, 1));
        assert_eq!(view.skus[0].status, CapabilityStatus::Suspended);
    }

    #[test]
    fn the_number_of_assigned_units_alone_is_no_change() {
        let mut busier = sku(1);
        busier.units.consumed = 7;
        let found = Found { skus: vec![busier], ..Found::default() };
        let (view, planned) = apply(&tenant(3), found, 1);
        assert_eq!(planned.tally, Tally::default());
        assert_eq!(view.skus[0].units.consumed, 7);
    }
}
