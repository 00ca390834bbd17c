//! Licensed groups: mirror × reading → what is kept of them. Pure.
//!
//! Rows are merged member by member, in their order; a row never stands for the whole. Only a
//! sequence from the start that came to its end says who is no member any more by not naming him.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use uuid::Uuid;

use crate::domain::{
    Change, Feed, Gone, Group, GroupId, GroupLicence, Groups, Licence, Membership, Processing,
    TenantView, UserId, Via,
};
use crate::microsoft::{GroupRow, MemberKind, Removed};
use crate::planted::{Mistake, planted};
use crate::sync::{Begun, Tally};

/// What was read of a tenant's groups.
#[derive(Clone, Debug, Default)]
pub(crate) struct FoundGroups {
    /// The groups that carry a SKU of ours: always the whole list.
    pub(crate) listed: BTreeMap<GroupId, GroupRow>,
    /// Whether something in that list could not be understood: who is not in it may yet belong there.
    pub(crate) unsure: bool,
    /// The sequences, each to its end.
    pub(crate) feeds: Vec<ReadFeed>,
    /// The groups that matter.
    pub(crate) wanted: BTreeSet<GroupId>,
    /// How many more there are than are followed.
    pub(crate) left_out: u32,
}

/// A sequence that was read to its end.
#[derive(Clone, Debug)]
pub(crate) struct ReadFeed {
    pub(crate) feed: Feed,
    /// Whether it began at the start and all of it was understood.
    pub(crate) whole: bool,
    /// What it said of each group.
    pub(crate) said: BTreeMap<GroupId, SaidOfGroup>,
}

/// What the rows of one sequence said of a group.
#[derive(Clone, Debug, Default)]
pub(crate) struct SaidOfGroup {
    removed: Option<Removed>,
    name: Option<Arc<str>>,
    dynamic: Option<bool>,
    members: BTreeMap<Uuid, (MemberKind, bool)>,
}

impl SaidOfGroup {
    /// Takes in one row: of what is said twice the last counts.
    pub(crate) fn take(&mut self, row: GroupRow) {
        self.removed = row.removed;
        self.name = row.name.or_else(|| self.name.take());
        self.dynamic = row.dynamic.or(self.dynamic);
        if planted(Mistake::PageIsAll) {
            self.members.clear();
        }
        let members = row.members.into_iter();
        self.members.extend(members.map(|it| (it.id, (it.kind, !it.removed))));
    }
}

/// The groups after a reading, and what of it is worth a line in the journal. `first`: groups of
/// this tenant were never read before, so nobody knows since when anything is as it is.
pub(crate) fn groups(
    view: &TenantView,
    found: FoundGroups,
    begun: &Begun,
    first: bool,
    now: Timestamp,
) -> (Groups, Vec<Change>, Tally) {
    let nothing = SaidOfGroup::default();
    let since = (!first).then_some(begun.started);
    let mut groups = BTreeMap::new();
    for ReadFeed { feed, whole, said } in &found.feeds {
        for id in feed.groups.iter().filter(|it| found.wanted.contains(it)) {
            let (before, listed, told) = (view.groups.get(*id), found.listed.get(id), said.get(id));
            let mut group = before.map_or_else(|| Group::unread(*id), |it| it.as_ref().clone());
            standing(&mut group, told, listed, (*whole, begun.started));
            if listed.is_none() && found.unsure {
                group.licences.retain(|it| view.sku(it.sku).is_some());
            } else {
                licences(&mut group, listed, view, since);
            }
            members(&mut group, told.unwrap_or(&nothing), view, (*whole, since, begun.started));
            let group = match before {
                Some(before) if **before == group => Arc::clone(before),
                Some(_) | None => Arc::new(group),
            };
            groups.insert(*id, group);
        }
    }
    let feeds = found.feeds.into_iter().map(|it| it.feed).collect();
    let groups = Groups { feeds, groups, left_out: found.left_out };
    let (changes, tally) = differences(view, &groups, begun, now);
    (groups, changes, tally)
}

/// What it is called, what kind it is, and whether it is there at all.
///
/// Source: graph-licensing.md section 5.4.
fn standing(
    group: &mut Group,
    told: Option<&SaidOfGroup>,
    listed: Option<&GroupRow>,
    (whole, at): (bool, Timestamp),
) {
    let gone = match (told, listed) {
        (_, Some(_)) => None,
        (Some(SaidOfGroup { removed: Some(Removed::Changed), .. }), _) => Some(Gone::Deleted),
        (Some(SaidOfGroup { removed: Some(Removed::Deleted), .. }), _) => Some(Gone::Purged),
        (Some(_), _) => None,
        (None, None) if whole => Some(group.gone.map_or(Gone::NotShown, |(gone, _)| gone)),
        (None, None) => group.gone.map(|(gone, _)| gone),
    };
    let same = |(before, _): &(Gone, Timestamp)| Some(*before) == gone;
    group.gone = group.gone.filter(same).or_else(|| gone.map(|gone| (gone, at)));
    if let Some(name) = listed.and_then(|it| it.name.clone()).or_else(|| told?.name.clone()) {
        group.name = Some(name);
    }
    if let Some(dynamic) = listed.and_then(|it| it.dynamic).or_else(|| told?.dynamic) {
        group.dynamic = dynamic;
    }
    let processing = listed.and_then(|it| it.processing.as_deref()).map(Processing::from_word);
    let finished = processing.as_ref().is_none_or(|it| *it == Processing::Complete);
    group.unfinished_since = (!finished).then(|| group.unfinished_since.unwrap_or(at));
    group.processing = processing;
}

/// The SKUs of ours that it carries: as the list says now, since when we saw them first.
fn licences(
    group: &mut Group,
    listed: Option<&GroupRow>,
    view: &TenantView,
    since: Option<Timestamp>,
) {
    let rows = listed.and_then(|it| it.licences.as_deref()).unwrap_or_default();
    let ours = rows.iter().filter(|it| view.sku(it.sku).is_some());
    let mut licences: Vec<GroupLicence> = ours
        .map(|it| {
            let known = group.licence(it.sku);
            let mut disabled_plans = it.disabled_plans.clone();
            disabled_plans.sort_unstable();
            disabled_plans.dedup();
            let since = known.map_or(since, |known| known.since);
            GroupLicence { sku: it.sku, disabled_plans, since }
        })
        .collect();
    licences.sort_unstable();
    licences.dedup_by_key(|it| it.sku);
    group.licences = licences;
}

/// Who came and who went. One who went and still has a licence by the group is remembered until
/// that is gone too; a deleted user stays a member, as he does at Microsoft's.
fn members(
    group: &mut Group,
    told: &SaidOfGroup,
    view: &TenantView,
    (whole, since, at): (bool, Option<Timestamp>, Timestamp),
) {
    let holds = |user: UserId| {
        let held = view.users.get(user);
        held.is_some_and(|it| it.licences.iter().any(|it| comes_by(it, group.id)))
    };
    let mut writes: BTreeMap<UserId, Option<Membership>> = BTreeMap::new();
    for (user, known) in group.members.iter() {
        let said = told.members.get(&user.as_uuid());
        let stays = said.map_or(!whole, |(_, here)| *here);
        if known.here && !stays {
            let left = Membership { here: false, since: Some(at) };
            writes.insert(user, holds(user).then_some(left));
        } else if !known.here && !said.is_some_and(|(_, here)| *here) && !holds(user) {
            writes.insert(user, None);
        }
    }
    for (id, (kind, here)) in &told.members {
        let user = UserId::from_uuid(*id);
        let known = group.members.get(user).is_some_and(|it| it.here);
        if *here && *kind == MemberKind::User && !known {
            writes.insert(user, Some(Membership { here: true, since }));
        }
    }
    let mut nested: BTreeSet<GroupId> =
        if whole { BTreeSet::new() } else { group.nested.iter().copied().collect() };
    for (id, (kind, here)) in &told.members {
        let id = GroupId::from_uuid(*id);
        match (kind, here) {
            (MemberKind::Group, true) => drop(nested.insert(id)),
            (_, false) => drop(nested.remove(&id)),
            (MemberKind::User | MemberKind::Other, true) => {}
        }
    }
    group.nested = nested.into_iter().collect();
    if !writes.is_empty() {
        group.members = group.members.patched(&writes);
    }
}

fn comes_by(licence: &Licence, group: GroupId) -> bool {
    licence.paths.iter().any(|it| it.via == Via::Group(group))
}

/// Groups that are new, carry something else or are gone: who is a member is no line in the journal.
fn differences(
    view: &TenantView,
    after: &Groups,
    begun: &Begun,
    now: Timestamp,
) -> (Vec<Change>, Tally) {
    let (mut changes, mut tally) = (Vec::new(), Tally::default());
    let ids: BTreeSet<GroupId> =
        view.groups.groups.keys().chain(after.groups.keys()).copied().collect();
    for id in ids {
        let (before, after) = (view.groups.get(id), after.get(id));
        let counter = match (before, after) {
            (None, _) => &mut tally.added,
            (Some(_), None) => &mut tally.removed,
            (Some(before), Some(after)) if before == after => continue,
            (Some(_), Some(_)) => &mut tally.changed,
        };
        *counter = counter.saturating_add(1);
        let words = |it: Option<&Arc<Group>>| it.map(|it| it.in_words());
        let (before, after) = (words(before), words(after));
        if before != after {
            let whose = (view.tenant.id, id);
            changes.push(Change::of_group(now, begun.cause(), whose, before, after));
        }
    }
    (changes, tally)
}

#[cfg(test)]
mod tests;
