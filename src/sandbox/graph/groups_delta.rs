//! `groups/delta`: groups and their direct members, large groups in slices.
//! Source: graph-licensing.md 5.2 to 5.5.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::delta::{self, Entered};
use super::error::GraphError;
use super::groups;
use super::place::{Listing, Place};
use super::users::{repeat, varying};
use super::{Answer, Caller};
use crate::sandbox::World;
use crate::sandbox::faults::Fault;
use crate::sandbox::wire::{Ask, Reply};
use crate::sandbox::world::tenant::{Group, GroupChange, Life, Member, Tenant};

/// Bits of the tracked properties.
const NAME: u16 = 1;
const LICENSES: u16 = 1 << 1;
const MEMBERS: u16 = 1 << 2;
const KIND: u16 = 1 << 3;
const NAMES: [(&str, u16); 5] = [
    ("id", 0),
    ("displayName", NAME),
    ("assignedLicenses", LICENSES),
    ("members", MEMBERS),
    ("groupTypes", KIND),
];

/// What changed of a group in a round: properties, and who came or went.
#[derive(Default)]
struct Changed {
    props: u16,
    born: bool,
    members: BTreeSet<Member>,
}

fn select(text: Option<&str>) -> Result<u16, GraphError> {
    let Some(text) = text else { return Ok(NAME) };
    text.split(',').map(str::trim).filter(|name| !name.is_empty()).try_fold(0, |mask, name| {
        let known = NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        known
            .map(|(_, bit)| mask | bit)
            .ok_or_else(|| GraphError::bad(format!("Could not find a property named '{name}'.")))
    })
}

/// `GET /groups/delta`.
pub(super) fn list(world: &mut World, ask: &Ask, version: &str, caller: &Caller) -> Answer {
    match delta::enter(world, ask, version, caller, (Listing::GroupsDelta, select))? {
        Entered::Latest(reply) => Ok(reply),
        Entered::At(place) => page(world, ask, version, caller, place),
    }
}

fn changed(tenant: &Tenant, since: u64, place: Place) -> BTreeMap<u16, Changed> {
    let mut groups: BTreeMap<u16, Changed> = BTreeMap::new();
    let round = |version: u64| version > since && version <= place.upto;
    for entry in tenant.group_journal.iter().filter(|entry| round(entry.version)) {
        let group = groups.entry(entry.group).or_default();
        match entry.change {
            GroupChange::Born => group.born = true,
            GroupChange::Licenses => group.props |= LICENSES,
            GroupChange::Itself => group.born = true,
            GroupChange::Member(member) => {
                group.props |= MEMBERS;
                group.members.insert(member);
            }
        }
    }
    groups.retain(|_, group| group.born || group.props & place.select != 0);
    groups
}

/// Members of a group from a position on: at most `count`, and where the rest begins.
fn slice(
    tenant: &Tenant,
    at: u16,
    changed: Option<&Changed>,
    (from, count): (u32, usize),
) -> (Vec<Member>, Option<u32>) {
    let from_there = |all: &mut dyn Iterator<Item = Member>| {
        let skip = usize::try_from(from).unwrap_or(usize::MAX);
        let mut picked = Vec::new();
        for (position, member) in (from..).zip(all.skip(skip)) {
            if changed.is_none() && !tenant.is_member(at, member) {
                continue;
            }
            if picked.len() == count {
                return (picked, Some(position));
            }
            picked.push(member);
        }
        (picked, None)
    };
    if let Some(changed) = changed {
        return from_there(&mut changed.members.iter().copied());
    }
    let nested = tenant.groups.get(usize::from(at)).into_iter().flat_map(|group| &group.nested);
    // Soft-deleted users keep their memberships.
    let users = tenant.enumerate().map(|(at, _)| Member::User(at));
    from_there(&mut nested.map(|at| Member::Group(*at)).chain(users))
}

/// Why a group that is gone is.
fn removed(group: &Group) -> Option<&'static str> {
    match group.life {
        Life::Live => None,
        Life::Deleted(_) => Some("changed"),
        Life::Purged => Some("deleted"),
    }
}

fn member(tenant: &Tenant, group: u16, member: Member) -> Option<Value> {
    let (kind, id) = match member {
        Member::User(at) => ("#microsoft.graph.user", tenant.user(at)?.id),
        Member::Group(at) => ("#microsoft.graph.group", tenant.groups.get(usize::from(at))?.id),
    };
    let mut row = json!({"@odata.type": kind, "id": id});
    if let (false, Some(row)) = (tenant.is_member(group, member), row.as_object_mut()) {
        row.insert("@removed".to_owned(), json!({"reason": "deleted"}));
    }
    Some(row)
}

fn page(world: &mut World, ask: &Ask, version: &str, caller: &Caller, place: Place) -> Answer {
    let empty = !place.after_empty && world.strikes(Fault::GraphEmptyPage);
    let mut left = if empty { 0 } else { varying(world, place.at) };
    let minimal = delta::is_minimal(ask);
    let tenant = world.tenant(caller.tenant);
    let tenant = tenant.ok_or_else(|| GraphError::missing(&caller.tenant.to_string()))?;
    let round = place.since.map(|since| changed(tenant, since, place));
    // A place is a group and, in it, a member.
    let first = u16::try_from(place.at >> 32).unwrap_or(u16::MAX);
    let mut from = u32::try_from(place.at & u64::from(u32::MAX)).unwrap_or(u32::MAX);
    let mut rows: Vec<Value> = Vec::new();
    let mut next = None;
    let limited = world.limited(place.limited);
    for (at, group) in (0_u16..).zip(&tenant.groups).skip(usize::from(first)) {
        if limited.is_some_and(|only| !only.contains(&group.id)) {
            continue;
        }
        let own = round.as_ref().map(|round| round.get(&at));
        if own.is_some_and(|own| own.is_none()) {
            continue;
        }
        if left == 0 {
            next = Some((at, if at == first { from } else { 0 }));
            break;
        }
        let own = own.flatten();
        let begin = if at == first { std::mem::take(&mut from) } else { 0 };
        left -= 1;
        if let Some(reason) = removed(group) {
            // A first enumeration says nothing of what is gone for good.
            if own.is_some() || reason == "changed" {
                rows.push(json!({"id": group.id, "@removed": {"reason": reason}}));
            }
            continue;
        }
        let whole = !minimal || own.is_none_or(|own| own.born);
        let mask =
            own.map_or(
                place.select,
                |own| if whole { place.select } else { place.select & own.props },
            );
        let fields: Vec<&str> =
            NAMES.iter().filter(|(_, bit)| mask & bit != 0).map(|(name, _)| *name).collect();
        let mut row = groups::row(world.catalog(), group, world.now_s(), &fields);
        let mut rest = None;
        if place.select & MEMBERS != 0 {
            let (picked, more) = slice(tenant, at, own, (begin, left.max(1)));
            left = left.saturating_sub(picked.len());
            rest = more;
            let members: Vec<Value> =
                picked.into_iter().filter_map(|one| member(tenant, at, one)).collect();
            if !members.is_empty() {
                row.insert("members@delta".to_owned(), members.into());
            }
        }
        rows.push(row.into());
        if let Some(position) = rest {
            next = Some((at, position));
            break;
        }
    }
    repeat(world, &mut rows);
    let next = next.map(|(group, member)| u64::from(group) << 32 | u64::from(member));
    let (name, link) = delta::onward(world, caller, version, place, (next, empty));
    let context = delta::context(world, version, place.listing);
    Ok(Reply::json(200, &json!({"@odata.context": context, name: link, "value": rows})))
}
