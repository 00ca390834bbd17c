//! `/groups`, one group, its direct members. Source: graph-licensing.md 4.

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::error::GraphError;
use super::place::{Listing, Place};
use super::render::{self, Style};
use super::users::{is_advanced, next_link, repeat, sku_of, start, top};
use super::{Answer, Caller};
use crate::sandbox::World;
use crate::sandbox::faults::Fault;
use crate::sandbox::wire::{Ask, Reply};
use crate::sandbox::world::catalog::{Catalog, Kind};
use crate::sandbox::world::tenant::{Group, Life, Tenant};

/// What of a group may be selected; the last two come only when named.
const FIELDS: [&str; 6] = [
    "id",
    "displayName",
    "securityEnabled",
    "groupTypes",
    "assignedLicenses",
    "licenseProcessingState",
];
/// What comes without `$select`.
const DEFAULT: [&str; 4] = ["id", "displayName", "securityEnabled", "groupTypes"];

enum Filter {
    All,
    Sku(Option<Kind>),
    Licensed,
    WithErrors,
}

fn filter(world: &World, ask: &Ask) -> Result<Filter, GraphError> {
    match ask.option("$filter").map(str::trim) {
        None => Ok(Filter::All),
        Some("hasMembersWithLicenseErrors eq true") => Ok(Filter::WithErrors),
        Some("assignedLicenses/$count ne 0") if is_advanced(ask) => Ok(Filter::Licensed),
        Some(text) => match sku_of(text) {
            Some(sku) => Ok(Filter::Sku(world.catalog().kind(sku))),
            None => Err(GraphError::unsupported(format!("Unsupported filter '{text}'."))),
        },
    }
}

impl Filter {
    fn takes(&self, tenant: &Tenant, at: u16, group: &Group) -> bool {
        if group.life != Life::Live {
            return false;
        }
        match self {
            Self::All => true,
            Self::Sku(kind) => group.licenses.iter().any(|(on, _)| Some(*on) == *kind),
            Self::Licensed => !group.licenses.is_empty(),
            Self::WithErrors => tenant.users.iter().any(|user| {
                let live = user.life == Life::Live;
                live && user.paths.iter().any(|path| path.by == at && !path.holds())
            }),
        }
    }
}

fn select(ask: &Ask) -> Result<Vec<&str>, GraphError> {
    let Some(text) = ask.option("$select") else { return Ok(DEFAULT.to_vec()) };
    let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
    names
        .map(|name| {
            let known = FIELDS.into_iter().find(|field| field.eq_ignore_ascii_case(name));
            known.ok_or_else(|| {
                GraphError::bad(format!("Could not find a property named '{name}'."))
            })
        })
        .collect()
}

/// A group with the named fields.
pub(super) fn row(
    catalog: &Catalog,
    group: &Group,
    now: i64,
    fields: &[&str],
) -> Map<String, Value> {
    let licenses: Vec<Value> = group
        .licenses
        .iter()
        .filter_map(|(kind, disabled)| {
            let sku = catalog.sku(*kind)?;
            let disabled: Vec<Uuid> = sku.plans_in(*disabled).map(|plan| plan.id).collect();
            Some(json!({"skuId": sku.id, "disabledPlans": disabled}))
        })
        .collect();
    let busy = group.processing_until > now;
    let state = if busy { "ProcessingInProgress" } else { "ProcessingComplete" };
    let values: [Value; 6] = [
        group.id.to_string().into(),
        group.name.as_str().into(),
        true.into(),
        if group.dynamic { json!(["DynamicMembership"]) } else { json!([]) },
        licenses.into(),
        json!({"state": state}),
    ];
    let all = FIELDS.into_iter().zip(values);
    let chosen = all.filter(|(name, _)| *name == "id" || fields.contains(name));
    chosen.map(|(name, value)| (name.to_owned(), value)).collect()
}

/// `GET /groups`.
pub(super) fn list(world: &mut World, ask: &Ask, version: &str, caller: &Caller) -> Answer {
    let (fields, filter, top) = (select(ask)?, filter(world, ask)?, top(world, ask)?);
    let place = start(world, ask, caller, Listing::Groups)?;
    let empty = !place.after_empty && world.strikes(Fault::GraphEmptyPage);
    let missing = || GraphError::missing(&caller.tenant.to_string());
    let tenant = world.tenant(caller.tenant).ok_or_else(missing)?;
    let from = usize::try_from(place.at).unwrap_or(usize::MAX);
    let mut found = (0_u16..).zip(&tenant.groups).skip(from);
    let mut rows = Vec::new();
    let mut next = empty.then_some(place.at);
    if !empty {
        for (at, group) in found.by_ref().filter(|(at, group)| filter.takes(tenant, *at, group)) {
            if rows.len() == top {
                next = Some(at.into());
                break;
            }
            rows.push(row(world.catalog(), group, world.now_s(), &fields).into());
        }
    }
    repeat(world, &mut rows);
    let next = next.map(|at| Place { at, after_empty: empty, ..place });
    Ok(finish(world, ask, caller, (version, "groups"), &rows, next))
}

fn finish(
    world: &World,
    ask: &Ask,
    caller: &Caller,
    (version, path): (&str, &str),
    rows: &[Value],
    next: Option<Place>,
) -> Reply {
    let context = format!("{}/graph/{version}/$metadata#{path}", world.base());
    let mut body = json!({"@odata.context": context, "value": rows});
    if let (Some(place), Some(fields)) = (next, body.as_object_mut()) {
        let place = Place { issued: world.now_s(), ..place };
        let link = next_link(world, ask, caller, (version, path), place);
        fields.insert("@odata.nextLink".to_owned(), link.into());
    }
    Reply::json(200, &body)
}

fn find<'w>(
    world: &'w World,
    caller: &Caller,
    id: &str,
) -> Result<(&'w Tenant, u16, &'w Group), GraphError> {
    let missing = || GraphError::missing(id);
    let tenant = world.tenant(caller.tenant).ok_or_else(missing)?;
    let found = id.parse().ok().and_then(|id| tenant.group(id));
    let found = found.filter(|(_, group)| group.life == Life::Live);
    found.map(|(at, group)| (tenant, at, group)).ok_or_else(missing)
}

/// `GET /groups/{id}`.
pub(super) fn one(world: &World, ask: &Ask, caller: &Caller, id: &str) -> Answer {
    let fields = select(ask)?;
    let (_, _, group) = find(world, caller, id)?;
    Ok(Reply::json(200, &row(world.catalog(), group, world.now_s(), &fields).into()))
}

/// `GET /groups/{id}/members`: users and nested groups, or with the cast only users. Nobody's
/// members of members.
pub(super) fn members(
    world: &mut World,
    ask: &Ask,
    version: &str,
    caller: &Caller,
    (id, users_only): (&str, bool),
) -> Answer {
    let (mask, top) = (render::select(ask.option("$select"))?, top(world, ask)?);
    let place = start(world, ask, caller, Listing::Members)?;
    let empty = !place.after_empty && world.strikes(Fault::GraphEmptyPage);
    let (tenant, by, group) = find(world, caller, id)?;
    let from = usize::try_from(place.at).unwrap_or(usize::MAX);
    let mut rows: Vec<Value> = Vec::new();
    let mut next = empty.then_some(place.at);
    if !empty {
        let named = "@odata.type".to_owned();
        if from == 0 && !users_only {
            let nested = group.nested.iter().filter_map(|at| tenant.groups.get(usize::from(*at)));
            rows.extend(nested.map(|group| {
                let mut row = row(world.catalog(), group, world.now_s(), &DEFAULT);
                row.insert(named.clone(), "#microsoft.graph.group".into());
                Value::from(row)
            }));
        }
        let mut taken = 0;
        for (at, user) in tenant.enumerate().skip(from) {
            if user.life != Life::Live || !user.groups.contains(&by) {
                continue;
            }
            if taken == top {
                next = Some(at.into());
                break;
            }
            taken += 1;
            let mut row = render::user(world.catalog(), tenant, (at, user), mask, Style::List);
            row.insert(named.clone(), "#microsoft.graph.user".into());
            rows.push(row.into());
        }
    }
    repeat(world, &mut rows);
    let cast = if users_only { "/microsoft.graph.user" } else { "" };
    let path = format!("groups/{id}/members{cast}");
    let next = next.map(|at| Place { at, after_empty: empty, ..place });
    Ok(finish(world, ask, caller, (version, &path), &rows, next))
}
