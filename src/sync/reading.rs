//! Folds the rows that Graph sends about users into what each of them holds of ours.
//!
//! Rows come in any order, repeat, and may leave out what did not change. A row is only believed
//! where it is complete; every other user of concern is asked for again by name.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::freshness::NEWS;
use crate::domain::{
    Catalog, Licence, Mapping, Packed, Path, Said, Sku, SkuId, TenantView, UserId, UserLicences,
    UserTable, sku_match,
};
use crate::microsoft::{AssignedLicence, UserRow};
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
        let mut relevant = Self::default();
        for sku in skus {
            relevant.known.insert(sku.id);
            let mut plans = catalog.products().flat_map(|product| &product.plans);
            if plans.any(|plan| {
                plan.channel.is_managed_per_user() && sku_match(sku, plan, mappings).is_some()
            }) {
                relevant.ours.insert(sku.id);
            }
        }
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
    /// whom the mirror knows.
    pub users: BTreeMap<UserId, Said>,
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

impl Reading {
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
            Row::Ask => (row.assigned.is_some(), Said::Ask),
            Row::Removed => (false, Said::Removed),
        };
        let news = |at: &Timestamp| {
            let read = mirrored.directory.last_complete;
            read.is_some_and(|read| read.duration_since(*at) < NEWS)
        };
        if let Some(at) = row.changed.filter(news) {
            self.changed_at.insert(row.id, at);
        }
        if concerns || self.users.contains_key(&row.id) || mirrored.users.contains(row.id) {
            self.put(row.id, said);
        }
    }

    /// Notes what is said of a user.
    pub fn put(&mut self, user: UserId, said: Said) {
        if let Some(fresh) = &mut self.fresh {
            fresh.insert(user);
        }
        self.users.insert(user, said);
    }

    fn strange(&mut self, licences: &[Licence], relevant: &Relevant) {
        let assigned = licences.iter().map(|it| it.sku);
        self.strangers.extend(assigned.filter(|sku| !relevant.knows(*sku)));
    }

    /// A reading that is laid down part by part.
    pub fn in_parts() -> Self {
        Self { fresh: Some(BTreeSet::new()), ..Self::default() }
    }

    /// What was said since the part before.
    pub fn part(&mut self) -> Vec<(UserId, Said)> {
        let fresh = self.fresh.as_mut().map(std::mem::take).unwrap_or_default();
        let said = |user: UserId| Some((user, self.users.get(&user)?.clone()));
        fresh.into_iter().filter_map(said).collect()
    }

    /// Takes a part in that was laid down before.
    pub fn take_part(&mut self, part: Vec<(UserId, Said)>, relevant: &Relevant) {
        for (_, said) in &part {
            if let Said::Holds(it) = said {
                self.strange(&it.unpack().licences, relevant);
            }
        }
        self.users.extend(part);
    }

    /// Users whose licences must be asked for by name.
    pub fn to_ask(&self) -> Vec<UserId> {
        self.users.iter().filter(|(_, said)| **said == Said::Ask).map(|(user, _)| *user).collect()
    }

    /// Users whom an enumeration names only to say that they are gone.
    pub fn removed_in_words(&self) -> BTreeMap<UserId, Option<UserLicences>> {
        let removed = self.users.iter().filter(|(_, said)| **said == Said::Removed);
        removed.map(|(user, _)| (*user, None)).collect()
    }

    /// What users hold of ours, once the list of SKUs is final. Those who hold nothing of ours map
    /// to nothing.
    pub fn holdings(&self, relevant: &Relevant) -> BTreeMap<UserId, Option<UserLicences>> {
        let of = |said: &Said| match said {
            Said::Holds(licences) => Some(ours(licences, relevant)),
            Said::Removed => Some(None),
            Said::Ask => None,
        };
        self.users.iter().filter_map(|(user, said)| Some((*user, of(said)?))).collect()
    }

    /// Those who hold anything of ours, as packed as the mirror has them; with them those of the
    /// mirror of whom nothing was said, if their absence proves nothing.
    pub fn table(&self, relevant: &Relevant, or_else: Option<&UserTable>) -> UserTable {
        let said = self.users.iter().filter_map(|(user, said)| match said {
            Said::Holds(licences) => Some((*user, ours(licences, relevant)?)),
            Said::Removed | Said::Ask => None,
        });
        let unsaid = or_else.into_iter().flat_map(UserTable::iter);
        let unsaid = unsaid.filter(|(user, _)| !self.users.contains_key(user));
        UserTable::new(said.chain(unsaid))
    }
}

/// What of a user's licences is ours, once the list of SKUs is final.
fn ours(licences: &Packed, relevant: &Relevant) -> Option<UserLicences> {
    let licences = licences.unpack().licences.into_iter();
    let ours = UserLicences::new(licences.filter(|it| relevant.is_ours(it.sku)));
    Some(ours).filter(|it| !it.is_empty())
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
mod tests {
    use super::*;
    use crate::domain::{CapabilityStatus, ServicePlan, ServicePlanId, Units};
    use uuid::Uuid;

    fn row(status: &str, enabled: u32, plan: u128) -> Sku {
        let plan = ServicePlanId::from_uuid(Uuid::from_u128(plan));
        Sku {
            id: SkuId::from_uuid(Uuid::from_u128(1)),
            part_number: "P".into(),
            status: CapabilityStatus::from_word(status),
            service_plans: vec![ServicePlan { id: plan, name: "N".into() }],
            units: Units { enabled, consumed: 1, ..Units::default() },
            next_lifecycle: None,
            missing_since: None,
        }
    }

    #[test]
    fn a_sku_of_two_accounts_is_one_whatever_the_order() {
        let (dead, alive) = (row("Suspended", 0, 9), row("Enabled", 5, 7));
        let one = merged([dead.clone(), alive.clone()]);
        assert_eq!(one, merged([alive.clone(), dead]));
        assert_eq!((one.len(), &one[0].status), (1, &CapabilityStatus::Enabled));
        assert_eq!((one[0].units.enabled, one[0].units.consumed), (5, 2));
        assert_eq!(one[0].service_plans.len(), 2);
        let unknown = row("Strange", 0, 7);
        assert_eq!(merged([unknown, row("Deleted", 0, 7)])[0].status, CapabilityStatus::Deleted);
        assert_eq!(merged([alive.clone()]), [alive]);
    }
}
