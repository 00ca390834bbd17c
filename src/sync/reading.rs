//! Folds the rows that Graph sends about users into what each of them holds of ours.
//!
//! Rows come in any order, repeat, and may leave out what did not change. A row is only believed
//! where it is complete; every other user of concern is asked for again by name.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::freshness::NEWS;
use crate::domain::{
    Catalog, Licence, Mapping, Packed, Path, Plan, RollCall, Said, Sku, SkuId, Target, TenantView,
    UserId, UserLicences, UserTable, names_sku, sku_match,
};
use crate::microsoft::{AssignedLicence, BatchMiss, UserRow};
use crate::planted::{Mistake, planted};

/// The list of SKUs with each SKU once: a tenant's answer may have rows of several accounts.
///
/// What any of them gives the tenant has: the best status, the sum of the units, the plans of all.
/// The order of the rows makes no difference.
///
/// Source: graph-licensing.md section 1.1, `accountId`.
pub fn merged(rows: impl IntoIterator<Item = Sku>) -> Vec<Sku> {
    let mut skus: Vec<Sku> = Vec::new();
    let mut at: BTreeMap<SkuId, usize> = BTreeMap::new();
    for row in rows {
        let known = at.get(&row.id).and_then(|at| skus.get_mut(*at));
        let Some(sku) = known else {
            at.insert(row.id, skus.len());
            skus.push(row);
            continue;
        };
        if row.status.rank() < sku.status.rank() {
            sku.status = row.status;
        }
        sku.part_number = row.part_number.min(Arc::clone(&sku.part_number));
        sku.units = sku.units.plus(row.units);
        sku.service_plans.extend(row.service_plans);
        sku.service_plans.sort_unstable_by(|a, b| (a.id, &a.name).cmp(&(b.id, &b.name)));
        sku.service_plans.dedup();
    }
    skus
}

/// Which SKUs of a tenant carry a plan of ours.
#[derive(Clone, Debug, Default)]
pub struct Relevant {
    ours: BTreeSet<SkuId>,
    known: BTreeSet<SkuId>,
    /// Whether the list had a row that could not be understood.
    unsure: bool,
}

impl Relevant {
    /// The SKUs that were listed and are not ours.
    pub fn passed_over(&self) -> impl Iterator<Item = SkuId> {
        self.known.difference(&self.ours).copied()
    }

    /// The SKUs among these that carry a plan licensed per user, by their names or because an
    /// operator has said so of their tenant.
    pub fn among<'a>(
        skus: impl IntoIterator<Item = &'a Sku>,
        catalog: &Catalog,
        mappings: &[Mapping],
    ) -> Self {
        let managed = |plan: &&Plan| plan.channel.is_managed_per_user();
        let plans = || catalog.products().flat_map(|product| &product.plans).filter(managed);
        let mut relevant = Self::default();
        for sku in skus {
            relevant.known.insert(sku.id);
            if plans().any(|plan| sku_match(sku, plan, mappings).is_some()) {
                relevant.ours.insert(sku.id);
            }
        }
        // What is named and not listed is ours all the same: the list may lack it.
        let of_mappings = mappings.iter().filter_map(|it| match it.target {
            Target::Sku(sku) | Target::ServicePlan(sku, _) => Some(sku),
            Target::Right(_) => None,
        });
        let by_name = plans().flat_map(|it| it.sku_ids.iter().copied()).chain(of_mappings);
        let named = |sku: &SkuId| plans().any(|plan| names_sku(plan, *sku, mappings));
        let unlisted: Vec<SkuId> = by_name.filter(|it| !relevant.knows(*it) && named(it)).collect();
        relevant.ours.extend(unlisted);
        relevant
    }

    /// The same with these, which are ours.
    pub fn extend<'a>(&mut self, skus: impl IntoIterator<Item = &'a Sku>) {
        for sku in skus {
            self.known.insert(sku.id);
            self.ours.insert(sku.id);
        }
    }

    /// The same with SKUs of ours that are known and that the list lacks for the first time. It may
    /// have been cut short: whether they are gone is decided for all their users at once, not by
    /// whose row happened to come.
    pub fn keep_unlisted(&mut self, known: &[Sku]) {
        let listed = self.known.clone();
        let lacks = |it: &&Sku| it.missing_since.is_none() && !listed.contains(&it.id);
        self.extend(known.iter().filter(lacks));
    }

    /// The same after a list with a row that could not be understood, if there was one.
    #[must_use]
    pub fn unless_whole(self, whole: bool) -> Self {
        Self { unsure: !whole, ..self }
    }

    /// Whether nobody can say that it is not ours: the row that says what it is may be the one that
    /// could not be understood.
    fn doubts(&self, sku: SkuId) -> bool {
        self.unsure && !self.knows(sku) && !self.is_ours(sku)
    }

    /// What of a user's licences is ours.
    pub fn ours_of(&self, licences: &Packed) -> Option<UserLicences> {
        ours(licences.unpack(), self)
    }

    /// Whether licences of this SKU are kept.
    pub fn is_ours(&self, sku: SkuId) -> bool {
        self.ours.contains(&sku)
    }

    /// Whether it may be ours: it is, or the list of SKUs did not name it.
    pub fn may_be_ours(&self, sku: SkuId) -> bool {
        self.is_ours(sku) || !self.known.contains(&sku)
    }

    /// Whether the list of SKUs named it.
    pub fn knows(&self, sku: SkuId) -> bool {
        self.known.contains(&sku)
    }
}

/// What was read of a tenant's users.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// What was said about each user of concern: those with a licence that may be ours, and those
    /// whom the mirror knows. Of a list only what was said lately.
    users: BTreeMap<UserId, Said>,
    /// What a list said before that.
    list: Option<List>,
    /// Rows read.
    pub seen: u64,
    /// SKUs assigned to somebody that the list of SKUs did not name.
    pub strangers: BTreeSet<SkuId>,
    /// When Microsoft says that it changed a user's licences, where that is news.
    pub changed_at: BTreeMap<UserId, Timestamp>,
    /// Users who were asked for by name and not found.
    pub unfound: BTreeSet<UserId>,
    /// Users about whom something was said since it was last laid down, if it is.
    fresh: Option<BTreeSet<UserId>>,
}

/// A list of all users, as it differs from the mirror: what did not change is shared with it, so
/// that the memory which reading takes hangs on what changed and not on how many there are.
#[derive(Clone, Debug)]
struct List {
    /// Whom the mirror had, and who of them was named.
    known: RollCall,
    /// The mirror's table with what the list said.
    table: UserTable,
    /// How many users' words may wait before they go into the table.
    loose_max: usize,
    /// How many do, about.
    loose: usize,
}

impl Reading {
    /// A list of all users, over what the mirror has of them.
    pub fn of_list(mirrored: &UserTable, loose_max: usize) -> Self {
        let (known, table) = (RollCall::of(mirrored.clone()), mirrored.clone());
        Self { list: Some(List { known, table, loose_max, loose: 0 }), ..Self::default() }
    }

    /// The same, if it is laid down part by part.
    #[must_use]
    pub fn in_parts(self) -> Self {
        Self { fresh: Some(BTreeSet::new()), ..self }
    }

    /// Takes in one row; a later one about the same user replaces an earlier one.
    pub fn take(&mut self, row: &UserRow, relevant: &Relevant, mirrored: &TenantView) {
        self.seen = self.seen.saturating_add(1);
        let said = said(row, relevant);
        if matches!(said, Row::Removed) && planted(Mistake::IgnoreRemovals) {
            return;
        }
        let (concerns, said) = match said {
            Row::Holds(licences) => {
                self.strange(&licences, relevant);
                (!licences.is_empty(), Said::Holds(Packed::of(&UserLicences::new(licences))))
            }
            Row::Ask => (row.assigned.is_some() || may_hold(row, relevant), Said::Ask),
            Row::Removed => (false, Said::Removed),
        };
        let news = |at: &Timestamp| {
            let read = mirrored.directory.last_complete;
            read.is_some_and(|read| read.duration_since(*at) < NEWS)
        };
        if let Some(at) = row.changed.filter(news) {
            self.changed_at.insert(row.id, at);
        }
        let earlier = self.list.as_ref().is_some_and(|it| it.table.contains(row.id));
        if concerns
            || earlier
            || self.users.contains_key(&row.id)
            || mirrored.users.contains(row.id)
        {
            self.name(row.id);
            self.put(row.id, said);
        }
    }

    /// Takes in a row that was asked for by name. There is no better one: where it leaves out the
    /// ways, what is assigned stands without them.
    pub fn take_named(&mut self, row: &UserRow, relevant: &Relevant, mirrored: &TenantView) {
        if row.states.is_some() || row.assigned.is_none() {
            return self.take(row, relevant, mirrored);
        }
        let row = UserRow { states: Some(Vec::new()), ..row.clone() };
        self.take(&row, relevant, mirrored);
    }

    /// A record about him could not be understood. What was said of him, or known before, stays; but
    /// nobody says that he holds nothing beside it.
    pub fn take_odd(&mut self, user: UserId, mirrored: &TenantView) {
        let known = match self.said(user) {
            Some(Said::Holds(holds)) => Some(holds.unpack()),
            Some(Said::Removed) => None,
            Some(Said::Ask) | None => mirrored.users.get(user),
        };
        let marked = UserLicences { unread: true, ..known.unwrap_or_default() };
        self.name(user);
        self.put(user, Said::Holds(Packed::of(&marked)));
    }

    /// A row of a list names him.
    fn name(&mut self, user: UserId) {
        if let Some(list) = &mut self.list {
            list.known.call(user);
        }
    }

    /// Notes what is said of a user.
    pub fn put(&mut self, user: UserId, said: Said) {
        if let Some(fresh) = &mut self.fresh {
            fresh.insert(user);
        }
        let holds = matches!(said, Said::Holds(_));
        self.users.insert(user, said);
        if let Some(list) = self.list.as_mut().filter(|_| holds) {
            list.loose = list.loose.saturating_add(1);
            // A table that grows is written anew each time it is an eighth larger, not more often.
            if list.loose > list.loose_max.max(list.table.len() / 8) {
                self.fold();
            }
        }
    }

    /// Puts what was said lately into the table. Who is to be asked for, or is gone, stays.
    fn fold(&mut self) {
        let Some(list) = &mut self.list else { return };
        list.loose = 0;
        let mut writes = Vec::new();
        self.users.retain(|user, said| {
            let Said::Holds(holds) = said else { return true };
            list.known.call(*user);
            if !list.table.is(*user, holds) {
                writes.push((*user, Some(holds.unpack())));
            }
            false
        });
        list.table = list.table.patched(&writes);
    }

    fn strange(&mut self, licences: &[Licence], relevant: &Relevant) {
        let assigned = licences.iter().map(|it| it.sku);
        self.strangers.extend(assigned.filter(|sku| !relevant.knows(*sku)));
    }

    /// What was said of a user, if anything was.
    pub fn said(&self, user: UserId) -> Option<Said> {
        if let Some(said) = self.users.get(&user) {
            return Some(said.clone());
        }
        let list = self.list.as_ref()?;
        if list.known.knows(user) && !list.known.was_called(user) {
            return None;
        }
        match list.table.get(user) {
            None if !list.known.knows(user) => None,
            holds => Some(Said::Holds(Packed::of(&holds.unwrap_or_default()))),
        }
    }

    /// Whom a list did not name, though the mirror knows them.
    fn unnamed(&self) -> impl Iterator<Item = UserId> {
        let unnamed = self.list.iter().flat_map(|it| it.known.not_called());
        unnamed.filter(|user| !self.users.contains_key(user))
    }

    /// What was said since the part before.
    pub fn part(&mut self) -> Vec<(UserId, Said)> {
        let fresh = self.fresh.as_mut().map(std::mem::take).unwrap_or_default();
        let nothing = || Said::Holds(Packed::of(&UserLicences::default()));
        fresh.into_iter().map(|user| (user, self.said(user).unwrap_or_else(nothing))).collect()
    }

    /// There will be no part any more.
    pub fn part_no_more(&mut self) {
        self.fresh = None;
    }

    /// Takes a part in that was laid down before.
    pub fn take_part(
        &mut self,
        part: impl IntoIterator<Item = (UserId, Said)>,
        relevant: &Relevant,
    ) {
        for (user, said) in part {
            if let Said::Holds(it) = &said {
                self.strange(&it.unpack().licences, relevant);
            }
            self.name(user);
            self.put(user, said);
        }
        // It lies there already.
        self.fresh = self.fresh.take().map(|_| BTreeSet::new());
    }

    /// A list that was gone on with is as new as what changes told after its first pages: of whom it
    /// says nothing, the changes do.
    pub fn with_changes(&mut self, changes: &Self) {
        let of_list = |user: &UserId| self.said(*user).is_some();
        let unsaid = changes.users.iter().filter(|(user, _)| !of_list(user));
        let unsaid: Vec<_> = unsaid.map(|(user, said)| (*user, said.clone())).collect();
        for (user, said) in unsaid {
            self.put(user, said);
        }
    }

    /// Whoever a list did not name is asked for: he may have come while it was interrupted, where it
    /// had already been.
    pub fn ask_for_unnamed(&mut self) {
        let unnamed: Vec<UserId> = self.unnamed().collect();
        for user in unnamed {
            self.put(user, Said::Ask);
        }
    }

    /// He was not found by name either, whom a list did not name: then he is not there. False if a
    /// list named him, or there is none; then one who is there may not be found for a while.
    pub fn is_nowhere(&mut self, user: UserId) -> bool {
        let nowhere =
            self.list.as_ref().is_some_and(|it| it.known.knows(user) && !it.known.was_called(user));
        if nowhere {
            self.users.remove(&user);
        }
        nowhere
    }

    /// Users whose licences must be asked for by name.
    pub fn to_ask(&self) -> Vec<UserId> {
        self.users.iter().filter(|(_, said)| **said == Said::Ask).map(|(user, _)| *user).collect()
    }

    /// Forgets what was said about those who were not found by name and of whom others know more.
    pub fn leave_unfound(&mut self, known_better: impl Fn(&UserId) -> bool) {
        let Self { users, unfound, .. } = self;
        users.retain(|user, _| !(unfound.contains(user) && known_better(user)));
    }

    /// Users who are named only to say that they are gone.
    pub fn removed_in_words(&self) -> BTreeMap<UserId, Option<UserLicences>> {
        let removed = self.users.iter().filter(|(_, said)| **said == Said::Removed);
        removed.map(|(user, _)| (*user, None)).collect()
    }

    /// What users hold of ours by changes, once the list of SKUs is final. Those who hold nothing of
    /// ours map to nothing.
    pub fn holdings(&self, relevant: &Relevant) -> BTreeMap<UserId, Option<UserLicences>> {
        let of = |said: &Said| match said {
            Said::Holds(licences) => Some(ours(licences.unpack(), relevant)),
            Said::Removed => Some(None),
            Said::Ask => None,
        };
        self.users.iter().filter_map(|(user, said)| Some((*user, of(said)?))).collect()
    }

    /// Those who hold anything of ours by a list, once the list of SKUs is final, as packed as the
    /// mirror has them; with them those of the mirror of whom nothing was said, if their absence
    /// proves nothing.
    pub fn table(mut self, relevant: &Relevant, keeps_unnamed: bool) -> UserTable {
        self.fold();
        let unnamed: Vec<_> = self.unnamed().map(|user| (user, None)).collect();
        let Some(List { known, table, .. }) = self.list else { return UserTable::default() };
        let said = |user: UserId| !known.knows(user) || known.was_called(user);
        let foreign = table.iter().filter(|(user, licences)| {
            said(*user) && !licences.licences.iter().all(|it| relevant.is_ours(it.sku))
        });
        let mut writes: Vec<_> =
            foreign.map(|(user, licences)| (user, ours(licences, relevant))).collect();
        writes.extend(self.users.into_keys().map(|user| (user, None)));
        if !keeps_unnamed {
            writes.extend(unnamed);
        }
        table.patched(&writes)
    }
}

/// What of a user's licences is ours, once the list of SKUs is final.
fn ours(licences: UserLicences, relevant: &Relevant) -> Option<UserLicences> {
    let doubted = |it: &Licence| it.assigned && relevant.doubts(it.sku);
    let unread = licences.unread || licences.licences.iter().any(doubted);
    let licences = licences.licences.into_iter();
    let ours = UserLicences::new(licences.filter(|it| relevant.is_ours(it.sku)));
    let ours = UserLicences { unread, ..ours };
    Some(ours).filter(|it| !it.is_empty())
}

/// Whether what of a row could not be understood may be ours: it is odd as a whole then.
pub fn is_odd(row: &UserRow, relevant: &Relevant) -> Option<String> {
    let mut sku = row.unreadable.iter();
    let sku = sku.find(|sku| relevant.may_be_ours(**sku))?;
    Some(format!("what it says of SKU {sku} could not be understood"))
}

/// A row that was asked for by name, unless it is odd.
///
/// # Errors
///
/// [`BatchMiss::Odd`].
pub fn readable(row: UserRow, relevant: &Relevant) -> Result<UserRow, BatchMiss> {
    is_odd(&row, relevant).map_or(Ok(row), |why| Err(BatchMiss::Odd(why)))
}

/// Whether a row that does not say what is assigned names ways to what may be ours.
fn may_hold(row: &UserRow, relevant: &Relevant) -> bool {
    row.states.iter().flatten().any(|(sku, _)| relevant.may_be_ours(*sku))
}

/// What a row says of a user, as [`Said`].
enum Row {
    Holds(Vec<Licence>),
    Removed,
    Ask,
}

/// What a row says.
///
/// `assignedLicenses` is the effect and `licenseAssignmentStates` the ways; a row with one but not
/// the other, where either names something that may be ours, is not enough.
fn said(row: &UserRow, relevant: &Relevant) -> Row {
    if row.removed.is_some() {
        return Row::Removed;
    }
    let (assigned, states) = match (&row.assigned, &row.states) {
        (Some(assigned), Some(states)) => (assigned, states),
        (Some(assigned), None) => {
            let any = assigned.iter().any(|it| relevant.may_be_ours(it.sku));
            return if any { Row::Ask } else { Row::Holds(Vec::new()) };
        }
        (None, _) => return Row::Ask,
    };
    Row::Holds(licences(assigned, states, relevant))
}

/// The licences of a complete row, as far as they may be ours.
fn licences(
    assigned: &[AssignedLicence],
    states: &[(SkuId, Path)],
    relevant: &Relevant,
) -> Vec<Licence> {
    let mut licences: BTreeMap<SkuId, Licence> = BTreeMap::new();
    let blank =
        |sku| Licence { sku, assigned: false, disabled_plans: Vec::new(), paths: Vec::new() };
    for it in assigned.iter().filter(|it| relevant.may_be_ours(it.sku)) {
        let licence = licences.entry(it.sku).or_insert_with(|| blank(it.sku));
        licence.assigned = true;
        licence.disabled_plans.clone_from(&it.disabled_plans);
    }
    for (sku, path) in states.iter().filter(|(sku, _)| relevant.may_be_ours(*sku)) {
        licences.entry(*sku).or_insert_with(|| blank(*sku)).paths.push(path.clone());
    }
    licences.into_values().collect()
}

#[cfg(test)]
mod tests;
