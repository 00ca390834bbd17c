//! `users/delta`: rounds, tokens, removals, and everything that makes a reader start over.
//! Source: graph-licensing.md 5.

use serde_json::{Value, json};
use std::collections::HashMap;

use super::error::GraphError;
use super::place::{Listing, Place};
use super::render::{self, Style};
use super::users::{repeat, start, varying};
use super::{Answer, Caller};
use crate::sandbox::World;
use crate::sandbox::faults::Fault;
use crate::sandbox::wire::{Ask, Reply};
use crate::sandbox::world::tenant::{Life, TOKEN_LIFE_S, Tenant, User, props};

/// Reads `$select` into bits, or says what comes without it.
type Select = fn(Option<&str>) -> Result<u16, GraphError>;

/// Where a delta query goes in.
pub(super) enum Entered {
    /// `$deltatoken=latest`: no data.
    Latest(Reply),
    At(Place),
}

/// `GET /users/delta`.
pub(super) fn users(world: &mut World, ask: &Ask, version: &str, caller: &Caller) -> Answer {
    match enter(world, ask, version, caller, (Listing::UsersDelta, render::select))? {
        Entered::Latest(reply) => Ok(reply),
        Entered::At(place) => page(world, ask, version, caller, place),
    }
}

/// Reads the options and tokens of a delta query; `select` reads `$select`.
pub(super) fn enter(
    world: &mut World,
    ask: &Ask,
    version: &str,
    caller: &Caller,
    (listing, select): (Listing, Select),
) -> Result<Entered, GraphError> {
    let refused = ["$top", "$orderby", "$expand", "$search"];
    if let Some(option) = refused.into_iter().find(|name| ask.option(name).is_some()) {
        return Err(GraphError::bad(format!(
            "'{option}' is not supported by this delta function."
        )));
    }
    let missing = || GraphError::missing(&caller.tenant.to_string());
    let now = world.now_s();
    let head = world.tenant(caller.tenant).ok_or_else(missing)?.version;
    let selected = ask.option("$select").map(|text| select(Some(text))).transpose()?;
    let tracked = selected.map_or_else(|| select(None), Ok)?;
    let limited = match ask.option("$filter") {
        Some(text) if listing == Listing::GroupsDelta => world.limit(ids_of(text)?),
        Some(_) => {
            let message = "'$filter' is not played for this delta function.";
            return Err(GraphError::bad(message));
        }
        None => 0,
    };
    let fresh = Place { limited, ..Place::start(listing, tracked, head, now) };
    let place = match (ask.option("$skiptoken"), ask.option("$deltatoken")) {
        (Some(_), _) if selected.is_some() => {
            return Err(GraphError::bad("'$select' is not supported together with '$skiptoken'."));
        }
        (Some(_), _) => start(world, ask, caller, listing)?,
        (None, None | Some("")) => fresh,
        (None, Some(token)) if token.eq_ignore_ascii_case("latest") => {
            let body = json!({
                "@odata.context": context(world, version, listing),
                "value": [],
                "@odata.deltaLink": link(world, caller, version, "$deltatoken", fresh),
            });
            return Ok(Entered::Latest(Reply::json(200, &body)));
        }
        (None, Some(token)) => {
            let old = resume(world, caller, version, (listing, token))?;
            let select = selected.unwrap_or(old.select);
            Place { select, since: Some(old.upto), limited: old.limited, ..fresh }
        }
    };
    Ok(Entered::At(place))
}

/// The ids in `id eq '…' or id eq '…'`: at most 50. Source: graph-licensing.md 5.2.
fn ids_of(filter: &str) -> Result<Vec<uuid::Uuid>, GraphError> {
    let one = |part: &str| {
        let id = part.trim().strip_prefix("id eq '")?.strip_suffix('\'')?;
        id.parse().ok()
    };
    let ids: Option<Vec<uuid::Uuid>> = filter.split(" or ").map(one).collect();
    ids.filter(|ids| ids.len() <= 50).ok_or_else(|| {
        GraphError::bad("Only up to 50 'id eq' joined by 'or' are supported in '$filter'.")
    })
}

/// The collection of a delta query.
fn collection(listing: Listing) -> &'static str {
    if listing == Listing::GroupsDelta { "groups" } else { "users" }
}

/// `@odata.context`.
pub(super) fn context(world: &World, version: &str, listing: Listing) -> String {
    format!("{}/graph/{version}/$metadata#{}", world.base(), collection(listing))
}

fn link(world: &World, caller: &Caller, version: &str, name: &str, place: Place) -> String {
    let of = collection(place.listing);
    let token = place.encode(world.seed(), caller.tenant);
    format!("{}/graph/{version}/{of}/delta?{name}={token}", world.base())
}

/// A delta link is taken up, or the reader is told to start over.
fn resume(
    world: &mut World,
    caller: &Caller,
    version: &str,
    (listing, token): (Listing, &str),
) -> Result<Place, GraphError> {
    if world.strikes(Fault::Delta410) {
        let message = "The requested resource is no longer available: a full sync is needed.";
        let location =
            format!("{}/graph/{version}/{}/delta?$deltatoken=", world.base(), collection(listing));
        return Err(GraphError::new(410, "resyncRequired", message).with("location", location));
    }
    let gone = || {
        let message = "The sync state generation is not found; a full sync is needed.";
        GraphError::new(400, "syncStateNotFound", message)
    };
    if world.strikes(Fault::DeltaSyncStateNotFound) {
        return Err(gone());
    }
    let place = Place::decode(token, world.seed(), caller.tenant);
    let place = place.filter(|place| place.listing == listing).ok_or_else(gone)?;
    let age_s = world.now_s() - place.issued;
    if age_s > TOKEN_LIFE_S { Err(gone()) } else { Ok(place) }
}

/// `Prefer: return=minimal`.
pub(super) fn is_minimal(ask: &Ask) -> bool {
    ask.header("prefer").is_some_and(|prefer| {
        prefer.split([',', ';']).any(|part| part.trim().eq_ignore_ascii_case("return=minimal"))
    })
}

/// The link after a page: to the next position, or to the next round.
pub(super) fn onward(
    world: &World,
    caller: &Caller,
    version: &str,
    place: Place,
    (next, empty): (Option<u64>, bool),
) -> (&'static str, String) {
    let issued = world.now_s();
    if let Some(at) = next {
        let place = Place { at, after_empty: empty, issued, ..place };
        ("@odata.nextLink", link(world, caller, version, "$skiptoken", place))
    } else {
        let place = Place { at: 0, since: None, after_empty: false, issued, ..place };
        ("@odata.deltaLink", link(world, caller, version, "$deltatoken", place))
    }
}

/// Users that changed in a round, in the order of the directory, with what changed.
fn changed(tenant: &Tenant, since: u64, upto: u64, tracked: u16) -> Vec<(u32, u16)> {
    let first = tenant.journal.partition_point(|entry| entry.version <= since);
    let entries = tenant.journal.iter().skip(first).take_while(|entry| entry.version <= upto);
    let mut users: HashMap<u32, u16> = HashMap::new();
    for entry in entries {
        *users.entry(entry.user).or_default() |= entry.props;
    }
    // `licenseAssignmentStates` is never in the journal: delta is blind to it.
    let mut users: Vec<(u32, u16)> =
        users.into_iter().filter(|(_, changed)| changed & (tracked | props::LIFE) != 0).collect();
    users.sort_unstable();
    users
}

fn page(world: &mut World, ask: &Ask, version: &str, caller: &Caller, place: Place) -> Answer {
    let empty = !place.after_empty && world.strikes(Fault::GraphEmptyPage);
    let size = if empty { 0 } else { varying(world, place.at) };
    let minimal = is_minimal(ask);
    let missing = || GraphError::missing(&caller.tenant.to_string());
    let tenant = world.tenant(caller.tenant).ok_or_else(missing)?;
    let from = usize::try_from(place.at).unwrap_or(usize::MAX);
    let (picked, total): (Vec<(u32, u16)>, usize) = match place.since {
        None => {
            let all = tenant.enumerate().skip(from).take(size);
            (all.map(|(at, _)| (at, u16::MAX)).collect(), tenant.users.len())
        }
        Some(since) => {
            let all = changed(tenant, since, place.upto, place.select);
            let total = all.len();
            (all.into_iter().skip(from).take(size).collect(), total)
        }
    };
    let next = from.saturating_add(picked.len());
    let mut rows: Vec<Value> = Vec::with_capacity(picked.len());
    for (at, changed) in picked {
        let Some(user) = tenant.user(at) else { continue };
        // With `return=minimal` what did not change is absent; new and restored users are whole.
        let whole = !minimal || changed & props::LIFE != 0;
        let mask = if whole { place.select } else { place.select & changed };
        rows.extend(row(world, tenant, (at, user), mask, place.since.is_none()));
    }
    repeat(world, &mut rows);
    let next = (next < total).then(|| u64::try_from(next).unwrap_or(u64::MAX));
    let (name, value) = onward(world, caller, version, place, (next, empty));
    let body = json!({"@odata.context": context(world, version, place.listing), name: value, "value": rows});
    Ok(Reply::json(200, &body))
}

/// A user, or his removal. A first enumeration shows soft-deleted users as removed (it may), and
/// says nothing of purged ones.
fn row(
    world: &World,
    tenant: &Tenant,
    (at, user): (u32, &User),
    mask: u16,
    first: bool,
) -> Option<Value> {
    let removed = |reason: &str| {
        let id = render::cased(user.id, 0x0072_656d);
        Some(json!({"id": id, "@removed": {"reason": reason}}))
    };
    match user.life {
        Life::Live => {
            let style = Style::Delta;
            Some(render::user(world.catalog(), tenant, (at, user), mask, style).into())
        }
        Life::Deleted(_) => removed("changed"),
        Life::Purged if first => None,
        Life::Purged => removed("deleted"),
    }
}
