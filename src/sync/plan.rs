//! Mirror × reading → commit. Pure: what a run changes is decided here and nowhere else.
//!
//! Two laws are kept here. **A subscription is never removed because a list lacks it.** And **the
//! brake**: when a full enumeration would take away more than a set share of a tenant's seats, the
//! rights stay, marked, until a second complete read misses the same ones. What a run would take away
//! is summed, over users and SKUs, and held or let go as one. What a delta round or
//! the tenant itself removes in so many words counts at once.

mod groups;
mod release;
mod subscriptions;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::{Begun, Limits, Tally};
use crate::domain::{
    Change, Cloud, Commit, Consent, RunId, Sku, SkuId, Tenant, TenantId, TenantUsers, TenantView,
    UserId, UserLicences, UserTable, UserWrites,
};
use crate::planted::{self, Mistake, planted};

pub(crate) use self::groups::{FoundGroups, ReadFeed, SaidOfGroup, groups};
use self::release::Missing;
pub use self::release::release;
pub(crate) use self::subscriptions::{changed, odd, subscriptions, unknown};

/// What was read of a tenant.
#[derive(Clone, Debug, Default)]
pub(crate) struct Found {
    /// Its SKUs that are ours: always the whole list.
    pub(crate) skus: Vec<Sku>,
    /// What users hold, as told by changes: taken at its word.
    pub(crate) told: BTreeMap<UserId, Option<UserLicences>>,
    /// What users hold by a full enumeration, if there was one: who is absent holds nothing.
    pub(crate) enumerated: Option<UserTable>,
    /// Whether records could not be understood: then the enumeration has whoever it did not name as
    /// the mirror has him, and says of none of them that he lost nothing.
    pub(crate) unsure: bool,
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
    /// What an earlier run held stays held: this one says nothing of it.
    pub(crate) still: bool,
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
    let enumerates = found.enumerated.is_some();
    let says_all = enumerates && !found.unsure;
    let mut writes: BTreeMap<UserId, Option<UserLicences>> = BTreeMap::new();
    planner.told(view, found.told, &mut writes);
    let gone = Gone::among(&view.skus, &found.skus);
    let (mut whole, mut losses) = (None, Vec::new());
    if enumerates || !gone.is_empty() {
        let patch: Vec<_> = writes.iter().map(|(user, it)| (*user, it.clone())).collect();
        let told = TenantView { users: view.users.patched(&patch), ..view.clone() };
        if let Some(enumerated) = found.enumerated {
            if view.users.is_empty() && writes.is_empty() {
                // Nobody is there who could lose anything: what was read is taken as it is.
                for (user, licences) in enumerated.iter() {
                    planner.note_user(user, None, Some(licences));
                }
                whole = (!enumerated.is_empty()).then_some(enumerated);
            } else {
                losses = planner.enumerated(&told, &enumerated, &gone, &mut writes);
            }
        }
        planner.brake(&told.users, &losses, &gone);
    }
    planner.lose(losses, &mut writes);
    let skus = planner.skus(view, found.skus, &gone);

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
    let back = if says_all { back } else { release::kept(view.held.as_deref(), back, &skus) };
    let still = view.held.is_some() && back.is_some() && held.is_none();
    if back.as_ref() != view.held.as_deref() {
        commit.held.push((view.tenant.id, back));
    }
    if *skus != *view.skus {
        commit.skus.push((view.tenant.id, skus));
    }
    Planned { commit, tally: planner.tally, held, still }
}

struct Planner<'a> {
    tenant: TenantId,
    begun: &'a Begun,
    limits: Limits,
    now: Timestamp,
    changes: Vec<Change>,
    tally: Tally,
    /// Seats that the brake holds; none is held where it is 0.
    held: usize,
    /// Of how many.
    total: usize,
    missing: Missing,
}

/// A user whom a full enumeration shows with fewer rights than before.
struct Loss {
    user: UserId,
    before: UserLicences,
    after: Option<UserLicences>,
    /// What he was read without, for the first time.
    skus: Vec<SkuId>,
}

/// SKUs of the mirror that are not listed any more.
struct Gone<'a> {
    /// For the first time.
    newly: BTreeMap<SkuId, &'a Sku>,
    /// Again: an earlier read missed them too.
    again: BTreeMap<SkuId, &'a Sku>,
}

impl<'a> Gone<'a> {
    fn among(known: &'a [Sku], listed: &[Sku]) -> Self {
        let listed: BTreeSet<SkuId> = listed.iter().map(|it| it.id).collect();
        let gone = known.iter().filter(|it| !listed.contains(&it.id)).map(|it| (it.id, it));
        let (newly, again) = gone.partition(|(_, it)| it.missing_since.is_none());
        Self { newly, again }
    }

    fn is_empty(&self) -> bool {
        self.newly.is_empty() && self.again.is_empty()
    }
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

    /// A full enumeration: what it lacks is gone. Gives back who would lose something that no
    /// earlier read missed: whether he does the brake says.
    fn enumerated(
        &mut self,
        view: &TenantView,
        enumerated: &UserTable,
        gone: &Gone<'_>,
        writes: &mut BTreeMap<UserId, Option<UserLicences>>,
    ) -> Vec<Loss> {
        let held = view.held.as_deref();
        let mut losses = Vec::new();
        for (user, before) in view.users.iter() {
            let after = enumerated.get(user);
            let kept = |sku: SkuId| after.as_ref().is_some_and(|after| assigns(after, sku));
            let mut lost: Vec<SkuId> = assigned(&before).filter(|sku| !kept(*sku)).collect();
            if !lost.is_empty() && planted(Mistake::MergeFullRead) {
                continue;
            }
            // Missed by the read before, and nobody has told of him since.
            let marked = before.missing_since.is_some();
            let confirmed = |sku| marked && held.is_some_and(|it| it.holds(user, sku));
            lost.retain(|sku| !confirmed(*sku) && !gone.again.contains_key(sku));
            if lost.is_empty() {
                self.put(user, Some(before), after, writes);
            } else {
                losses.push(Loss { user, before, after, skus: lost });
            }
        }
        for (user, after) in enumerated.iter().filter(|(user, _)| !view.users.contains(*user)) {
            self.put(user, None, Some(after), writes);
        }
        losses
    }

    /// Decides once for all that this run would take away, whoever or whatever it is missing from:
    /// a list that was cut short must not pass because each piece of it is small.
    fn brake(&mut self, users: &UserTable, losses: &[Loss], gone: &Gone<'_>) {
        if losses.is_empty() && gone.newly.is_empty() {
            return;
        }
        let mut carried: BTreeMap<SkuId, usize> = BTreeMap::new();
        for (_, it) in users.iter() {
            self.total = self.total.saturating_add(assigned(&it).count());
            for sku in assigned(&it).filter(|sku| gone.newly.contains_key(sku)) {
                *carried.entry(sku).or_default() += 1;
            }
        }
        // A seat that is missed by its user and with its SKU is one.
        let missed = losses.iter().flat_map(|it| &it.skus);
        let alone = missed.filter(|sku| !gone.newly.contains_key(*sku)).count();
        let lost = carried.values().fold(alone, |all, it| all.saturating_add(*it));
        if self.brakes(lost, self.total) {
            self.held = lost;
            // Nobody loses anything by one that carried no seat.
            self.missing.skus.extend(carried.into_keys());
        }
    }

    /// Users lose what they were read without, or keep it while the brake holds.
    fn lose(&mut self, losses: Vec<Loss>, writes: &mut BTreeMap<UserId, Option<UserLicences>>) {
        for Loss { user, before, after, skus } in losses {
            if self.held == 0 {
                self.put(user, Some(before), after, writes);
                continue;
            }
            let missed = before.licences.iter().filter(|it| skus.contains(&it.sku)).cloned();
            let unread = after.as_ref().is_some_and(|it| it.unread);
            let rest = after.into_iter().flat_map(|it| it.licences);
            let rest = rest.filter(|it| !skus.contains(&it.sku));
            let kept = UserLicences::new(rest.chain(missed));
            let marked = UserLicences { missing_since: Some(self.begun.id), unread, ..kept };
            self.missing.user(user, &skus);
            self.put(user, Some(before), Some(marked), writes);
        }
    }

    /// The list of SKUs, which is always complete.
    fn skus(&mut self, view: &TenantView, found: Vec<Sku>, gone: &Gone<'_>) -> Vec<Sku> {
        let mut skus: BTreeMap<SkuId, Sku> = found.into_iter().map(|it| (it.id, it)).collect();
        for sku in skus.values() {
            let before = view.sku(sku.id);
            if before.is_none_or(|before| !counts_alone_differ(before, sku)) {
                self.note_sku(before, Some(sku));
            }
        }
        for (id, sku) in gone.newly.iter().chain(&gone.again) {
            if self.missing.skus.contains(id) {
                let marked = Sku { missing_since: Some(self.begun.id), ..(*sku).clone() };
                skus.insert(*id, marked);
            } else {
                self.note_sku(Some(sku), None);
            }
        }
        skus.into_values().collect()
    }

    /// Whether losing this many of so many seats waits for a second read.
    fn brakes(&self, lost: usize, total: usize) -> bool {
        !planted(Mistake::NoBrake) && self.limits.remove_limit.brakes(lost, total)
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
            return; // only a mark came or went
        }
        self.note_user(user, before, after);
    }

    fn note_user(
        &mut self,
        user: UserId,
        before: Option<UserLicences>,
        after: Option<UserLicences>,
    ) {
        let something = |it: &UserLicences| !it.licences.is_empty();
        let (before, after) = (before.filter(something), after.filter(something));
        if before.is_none() && after.is_none() {
            return; // only a mark came or went
        }
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

/// The SKUs of ours that are assigned to a user: his seats.
fn assigned(user: &UserLicences) -> impl Iterator<Item = SkuId> {
    user.licences.iter().filter(|it| it.assigned).map(|it| it.sku)
}

fn assigns(user: &UserLicences, sku: SkuId) -> bool {
    assigned(user).any(|it| it == sku)
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
mod tests;
