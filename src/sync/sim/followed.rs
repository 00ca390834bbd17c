//! The groups of a tenant, read by the real code after a round, and checked against what they are.

use std::collections::BTreeSet;
use std::future::ready;
use std::pin::pin;
use std::sync::Arc;

use futures_util::FutureExt as _;
use jiff::SignedDuration;

use super::tenant::{GROUPS, OURS, Standing, Tenant, group_id, sku_id, tenant_id};
use super::{Beside, World};
use crate::domain::{
    Group, GroupId, Mirror, Outcome, Processing, SkuId, SourceKey, TenantView, UserId,
};
use crate::sync::Begun;
use crate::sync::groups::{self, Reader};
use crate::sync::progress::Gauge;

/// Who is in which group, and what each carries.
type Known = (BTreeSet<(GroupId, UserId)>, BTreeSet<(GroupId, SkuId)>);

impl World {
    /// Reads the groups after a run over the tenant's directory, if it is time.
    pub(super) fn follow(&self, index: usize, directory: &Begun) -> Result<(), String> {
        let (tenant, started) = (tenant_id(index), (self.clock)());
        let before = self.mirror().clone();
        let view = before.tenant(tenant).filter(|_| self.beside == Beside::Groups);
        let Some(view) = view else { return Ok(()) };
        let key = SourceKey::groups(tenant);
        let state = before.source(key).cloned().unwrap_or_default();
        if !groups::is_time(view, &state, directory, false, SignedDuration::from_hours(1), started)
        {
            return Ok(());
        }
        let at_first = self.graph.state().tenants[index].now;
        let (id, trigger, full) = (self.next_run(), directory.trigger, directory.full);
        let begun = Begun { id, key, trigger, full, started };
        let gauge = Gauge::new(key, Vec::new());
        let reader = Reader { graph: &self.graph, tenant, view, begun: &begun, gauge: &gauge };
        let mut read = pin!(reader.round(ready(groups::named(view)), state, &self.clock));
        let commit = (0..10_000).find_map(|_| read.as_mut().now_or_never());
        let commit = commit.ok_or("the reading of groups waits for something")?;
        let failed = commit.sources.iter().any(|(_, it)| it.last_outcome == Some(Outcome::Failed));
        self.say(|| format!("   groups, failed {failed}: {:?}", commit.groups));
        if !(commit.users.is_empty() && commit.skus.is_empty() && commit.tenants.is_empty()) {
            return Err("a reading of groups changes what users hold".into());
        }
        if failed && !commit.groups.is_empty() {
            return Err("a failed reading of groups changes what is known of them".into());
        }
        if commit.groups.iter().any(|(of, _)| *of != tenant) {
            return Err("a reading of groups writes to another tenant".into());
        }
        self.commit(commit)?;
        let state = self.graph.state();
        if state.tenants[index].now == at_first {
            // Nothing happened meanwhile: what Microsoft has now it had all the time.
            let (after, truth) = (self.mirror().clone(), truth(&state.tenants[index], view));
            let (before, after) = (known(&before, index), known(&after, index));
            let members = gone(&before.0, &after.0, &truth.0);
            let carried = gone(&before.1, &after.1, &truth.1);
            if members + carried > 0 {
                return Err(format!("{members} member(s) and {carried} licence(s) of groups lost"));
            }
        }
        Ok(())
    }

    /// Microsoft is quiet: what is known of groups is what they are.
    pub(super) fn groups_are_right(
        &self,
        view: &TenantView,
        tenant: &Tenant,
    ) -> Result<(), String> {
        if self.beside != Beside::Groups {
            return Ok(());
        }
        let named = groups::named(view);
        for number in 0..GROUPS {
            let id = group_id(number);
            let wrong = |what: &str| {
                Err(format!("group {number} {what}: {:?}\n{tenant:?}", view.groups.get(id)))
            };
            let here = tenant.standing(number) == Standing::Here;
            let carried = ours(tenant, number);
            let Some(group) = view.groups.get(id) else {
                if named.contains(&id) || !carried.is_empty() {
                    return wrong("is not known");
                }
                continue;
            };
            if group.gone.is_some() == here {
                return wrong("stands otherwise");
            }
            if !group.licences.iter().map(|it| it.sku).eq(carried.iter().copied()) {
                return wrong("carries something else");
            }
            let processing = Processing::from_word(tenant.processing(number));
            if !carried.is_empty() && group.processing.as_ref() != Some(&processing) {
                return wrong("is processed otherwise");
            }
            if here && !members(group).eq(tenant.members(number)) {
                return wrong("has other members");
            }
            let followed = view.groups.feeds.iter().filter(|it| it.groups.contains(&id)).count();
            if followed != 1 {
                return wrong(&format!("is followed {followed} times"));
            }
        }
        Ok(())
    }
}

/// How many are no longer known that were, and still are.
fn gone<T: Ord>(before: &BTreeSet<T>, after: &BTreeSet<T>, truth: &BTreeSet<T>) -> usize {
    before.difference(after).filter(|it| truth.contains(it)).count()
}

fn members(group: &Group) -> impl Iterator<Item = UserId> {
    let here: BTreeSet<UserId> =
        group.members.iter().filter(|(_, it)| it.here).map(|(user, _)| user).collect();
    here.into_iter()
}

/// The SKUs of ours that a group carries.
fn ours(tenant: &Tenant, group: u8) -> Vec<SkuId> {
    let ours: Vec<SkuId> = (0..OURS).map(sku_id).collect();
    tenant.carried(group).into_iter().filter(|it| ours.contains(it)).collect()
}

fn known(mirror: &Mirror, index: usize) -> Known {
    let view = mirror.tenant(tenant_id(index));
    let groups: Vec<&Arc<Group>> = view.iter().flat_map(|it| it.groups.groups.values()).collect();
    let carried = |it: &&Arc<Group>| {
        let id = it.id;
        it.licences.iter().map(move |licence| (id, licence.sku)).collect::<Vec<_>>()
    };
    let here = |it: &&Arc<Group>| members(it).map(|user| (it.id, user)).collect::<Vec<_>>();
    (groups.iter().flat_map(here).collect(), groups.iter().flat_map(carried).collect())
}

/// What groups that carry something of ours are at Microsoft's. Groups of a SKU that is not listed
/// are not asked for.
fn truth(tenant: &Tenant, view: &TenantView) -> Known {
    let ours = |tenant: &Tenant, group: u8| -> Vec<SkuId> {
        ours(tenant, group).into_iter().filter(|it| view.sku(*it).is_some()).collect()
    };
    let carrying = || (0..GROUPS).filter(|it| !ours(tenant, *it).is_empty());
    let members =
        carrying().flat_map(|it| tenant.members(it).into_iter().map(move |user| (it, user)));
    let carried = carrying().flat_map(|it| ours(tenant, it).into_iter().map(move |sku| (it, sku)));
    (
        members.map(|(it, user)| (group_id(it), user)).collect(),
        carried.map(|(it, sku)| (group_id(it), sku)).collect(),
    )
}
