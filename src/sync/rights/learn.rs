//! What plans may be called in a tenant. Pure; what it finds is proposed and gives nobody a right
//! before an operator has confirmed it.
//!
//! | found | evidence |
//! |---|---|
//! | a SKU, or a service plan in one, whose name is the plan's id alone | the name |
//! | a SKU that those hold who have a usage right to the plan, and others do not | people |
//! | an unknown usage right that ends in the plan's id | the name |
//! | an unknown usage right where few plans of ours are not listed | that it is there |
//!
//! Source: graph-licensing.md section 0.1: no name of an ISV's SKU is documented.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::plan::Ours;
use crate::domain::{Mapping, Plan, Right, Sku, SkuId, Target, UserId};

/// Of more candidates than these, people cannot tell the right one.
const CANDIDATES_MAX: usize = 3;

/// What there is to compare.
pub(super) struct Compared<'a> {
    pub(super) ours: &'a Ours<'a>,
    /// All SKUs of the tenant, ours or not.
    pub(super) skus: &'a [Sku],
    /// The SKUs that some users hold.
    pub(super) held: &'a BTreeMap<UserId, BTreeSet<SkuId>>,
    /// The usage rights of some users; those of whom nothing was found included.
    pub(super) rights: &'a BTreeMap<UserId, Vec<Right>>,
    pub(super) now: Timestamp,
}

/// How often something goes together.
#[derive(Clone, Copy, Default)]
struct Count {
    with: u32,
    of: u32,
    also: u32,
    others: u32,
}

impl Count {
    /// Everybody has it who should, and nobody else: with nobody to tell it from, every SKU that all
    /// people of a company have would do.
    fn tells(self) -> bool {
        self.with > 0 && self.with == self.of && self.others > 0 && self.also == 0
    }
}

/// See the module.
pub(super) fn proposals(it: &Compared<'_>) -> Vec<Mapping> {
    let mut found = it.skus_by_name();
    found.extend(it.skus_by_people());
    found.extend(it.rights());
    // The same may be found by name and by people: people say more.
    let mut best: BTreeMap<Arc<str>, Mapping> = BTreeMap::new();
    for new in found {
        let weaker = best.get(&new.id).is_none_or(|known| known.users < new.users);
        if weaker {
            best.insert(Arc::clone(&new.id), new);
        }
    }
    best.into_values().collect()
}

impl Compared<'_> {
    /// SKUs that are no plan of ours as far as anybody knows.
    fn unknown_skus(&self) -> impl Iterator<Item = &Sku> {
        let known =
            |sku: &Sku| self.ours.plans().any(|it| self.ours.view.sku_match(sku, it).is_some());
        self.skus.iter().filter(move |it| !known(it))
    }

    fn skus_by_name(&self) -> Vec<Mapping> {
        let mut found = Vec::new();
        for sku in self.unknown_skus() {
            let inside = sku.service_plans.iter();
            let inside = inside.map(|it| (Target::ServicePlan(sku.id, it.id), &*it.name));
            for (target, name) in inside.chain([(Target::Sku(sku.id), &*sku.part_number)]) {
                if let Some(plan) = self.ours.plan_called(name.trim()) {
                    let evidence = format!(
                        "it is called `{}`, the plan's id alone: another publisher's may be too",
                        name.trim()
                    );
                    found.push(self.mapping(plan, target, None, 0, &evidence));
                }
            }
        }
        found
    }

    fn skus_by_people(&self) -> Vec<Mapping> {
        let mut found = Vec::new();
        for plan in self.ours.plans().filter(|it| !self.ours.view.lists(it)) {
            let has = |user: &UserId| {
                let rights = self.rights.get(user).into_iter().flatten();
                rights.clone().any(|it| it.is_usable() && it.is_of(plan, &self.ours.view.mappings))
            };
            let candidates: Vec<(&Sku, Count)> = self
                .unknown_skus()
                .map(|sku| (sku, self.count(&has, &|user| self.holds(user, sku.id))))
                .filter(|(_, count)| count.tells())
                .collect();
            if candidates.len() > CANDIDATES_MAX {
                continue;
            }
            for (sku, count) in candidates {
                let target = match sku.service_plans.as_slice() {
                    [only] => Target::ServicePlan(sku.id, only.id),
                    _ => Target::Sku(sku.id),
                };
                let evidence = format!(
                    "`{}` is held by {} of {} users with a usage right to the plan, by {} of {} without",
                    sku.part_number, count.with, count.of, count.also, count.others
                );
                found.push(self.mapping(plan, target, None, count.with, &evidence));
            }
        }
        found
    }

    /// Rights that are to no plan of ours as far as anybody knows: each identifier with how many
    /// have it.
    fn unknown_rights(&self) -> BTreeMap<String, (&Right, u32)> {
        let mut unknown: BTreeMap<String, (&Right, u32)> = BTreeMap::new();
        let all = self.rights.values().flatten();
        for right in all.filter(|it| self.ours.plans_of(it).next().is_none()) {
            let name = right.identifier.trim().to_ascii_lowercase();
            unknown.entry(name).or_insert((right, 0)).1 += 1;
        }
        unknown
    }

    /// Where the directory lists a plan, rights to it are of no use: only the others are proposed.
    fn rights(&self) -> Vec<Mapping> {
        let unlisted: Vec<&Plan> =
            self.ours.plans().filter(|it| !self.ours.view.lists(it)).collect();
        let mut found = Vec::new();
        for (identifier, (right, users)) in self.unknown_rights() {
            let last = identifier.rsplit('.').next().unwrap_or_default();
            let named = self.ours.plan_called(last).filter(|it| !self.ours.view.lists(it));
            let few = unlisted.len() <= CANDIDATES_MAX;
            let plans = if named.is_none() && few { &*unlisted } else { &[] };
            for plan in named.into_iter().chain(plans.iter().copied()) {
                let evidence = match named {
                    Some(_) => format!("it ends in `{last}`, the plan's id"),
                    None => format!(
                        "it is one of {} plan(s) of yours that the directory does not show there",
                        unlisted.len()
                    ),
                };
                let target = Target::Right(identifier.as_str().into());
                found.push(self.mapping(plan, target, right.catalog.clone(), users, &evidence));
            }
        }
        found
    }

    /// Of those whose SKUs and rights are both known: how `subject` and `mark` go together.
    fn count(&self, subject: &dyn Fn(&UserId) -> bool, mark: &dyn Fn(&UserId) -> bool) -> Count {
        let mut count = Count::default();
        for user in self.held.keys().filter(|it| self.rights.contains_key(it)) {
            let marked = u32::from(mark(user));
            if subject(user) {
                count.of += 1;
                count.with += marked;
            } else {
                count.others += 1;
                count.also += marked;
            }
        }
        count
    }

    fn holds(&self, user: &UserId, sku: SkuId) -> bool {
        self.held.get(user).is_some_and(|it| it.contains(&sku))
    }

    fn mapping(
        &self,
        plan: &Plan,
        target: Target,
        catalog: Option<Arc<str>>,
        users: u32,
        evidence: &str,
    ) -> Mapping {
        Mapping::proposed(plan.service_id.clone(), target, catalog, users, evidence, self.now)
    }
}

#[cfg(test)]
mod tests;
