//! Folds the rows that Graph sends about users into what each of them holds of ours.
//!
//! Rows come in any order, repeat, and may leave out what did not change. A row is only believed
//! where it is complete; every other user of concern is asked for again by name.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::{
    Catalog, Channel, Licence, Path, Sku, SkuId, TenantView, UserId, UserLicences,
};
use crate::microsoft::{AssignedLicence, UserRow};
use crate::planted::{Mistake, planted};

/// Which SKUs of a tenant carry a plan of ours.
#[derive(Clone, Debug, Default)]
pub struct Relevant {
    ours: BTreeSet<SkuId>,
    known: BTreeSet<SkuId>,
}

impl Relevant {
    /// The SKUs among these that carry a plan licensed per user.
    pub fn among<'a>(skus: impl IntoIterator<Item = &'a Sku>, catalog: &Catalog) -> Self {
        let mut relevant = Self::default();
        for sku in skus {
            relevant.known.insert(sku.id);
            let per_user = [Channel::Appsource, Channel::IsvApp];
            let mut plans = catalog.products().flat_map(|product| &product.plans);
            if plans.any(|plan| per_user.contains(&plan.channel) && sku.matches(plan).is_some()) {
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

/// What one sequence of pages said about one user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// He holds this, as far as it may be ours.
    Holds(Vec<Licence>),
    /// The tenant removed him, in so many words.
    Removed,
    /// Something about him changed, and the row does not say what he holds: ask for him by name.
    Ask,
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
}

impl Reading {
    /// Takes in one row; a later one about the same user replaces an earlier one.
    pub fn take(&mut self, row: &UserRow, relevant: &Relevant, mirrored: &TenantView) {
        self.seen = self.seen.saturating_add(1);
        let said = said(row, relevant);
        if said == Said::Removed && planted(Mistake::IgnoreRemovals) {
            return;
        }
        if let Said::Holds(licences) = &said {
            let assigned = licences.iter().map(|it| it.sku);
            self.strangers.extend(assigned.filter(|sku| !relevant.knows(*sku)));
        }
        let concerns = match &said {
            Said::Holds(licences) => !licences.is_empty(),
            Said::Ask => row.assigned.is_some(),
            Said::Removed => false,
        };
        let known = self.users.contains_key(&row.id) || mirrored.users.get(row.id).is_some();
        if concerns || known {
            self.users.insert(row.id, said);
        }
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
        let keep = |licences: &[Licence]| {
            let ours = licences.iter().filter(|it| relevant.is_ours(it.sku)).cloned();
            Some(UserLicences::new(ours)).filter(|it| !it.is_empty())
        };
        let of = |said: &Said| match said {
            Said::Holds(licences) => Some(keep(licences)),
            Said::Removed => Some(None),
            Said::Ask => None,
        };
        self.users.iter().filter_map(|(user, said)| Some((*user, of(said)?))).collect()
    }
}

/// What a row says.
///
/// `assignedLicenses` is the effect and `licenseAssignmentStates` the ways; a row with one but not
/// the other, where either names something that may be ours, is not enough.
fn said(row: &UserRow, relevant: &Relevant) -> Said {
    if row.removed.is_some() {
        return Said::Removed;
    }
    let (assigned, states) = match (&row.assigned, &row.states) {
        (Some(assigned), Some(states)) => (assigned, states),
        (Some(assigned), None) => {
            let any = assigned.iter().any(|it| relevant.may_be_ours(it.sku));
            return if any { Said::Ask } else { Said::Holds(Vec::new()) };
        }
        (None, _) => return Said::Ask,
    };
    Said::Holds(licences(assigned, states, relevant))
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
