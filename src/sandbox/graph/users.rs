//! `/users` and `/users/{id}`. Source: graph-licensing.md 2.3, 9.

use serde_json::{Value, json};
use uuid::Uuid;

use super::error::GraphError;
use super::place::{Listing, Place};
use super::render::{self, Style};
use super::{Answer, Caller};
use crate::sandbox::World;
use crate::sandbox::chance::hash;
use crate::sandbox::faults::Fault;
use crate::sandbox::wire::{Ask, DAY_S, Reply};
use crate::sandbox::world::catalog::Kind;
use crate::sandbox::world::tenant::{Life, User};

/// Default page size of directory lists.
const TOP: usize = 100;
/// Largest page size of directory lists.
const TOP_MAX: usize = 999;

/// A filter the sandbox understands; all of these are documented shapes.
enum Filter {
    Everyone,
    Licensed,
    Sku(Option<Kind>),
    Plan(Uuid),
}

/// Is this an advanced query (`ConsistencyLevel: eventual` and, on the first page, `$count=true`)?
pub(super) fn is_advanced(ask: &Ask) -> bool {
    ask.header("consistencylevel").is_some_and(|level| level.eq_ignore_ascii_case("eventual"))
        && ask.option("$count").is_some_and(|count| count.eq_ignore_ascii_case("true"))
}

/// The GUID after `eq` in `assignedLicenses/any(x:x/skuId eq <guid>)`.
pub(super) fn sku_of(filter: &str) -> Option<Uuid> {
    let inner = filter.strip_prefix("assignedLicenses/any(")?.strip_suffix(')')?;
    let (name, rest) = inner.split_once(':')?;
    let rest = rest.trim().strip_prefix(name.trim())?.strip_prefix("/skuId eq ")?;
    rest.trim().parse().ok()
}

/// The GUID in `assignedPlans/any(p:p/servicePlanId eq <guid> and p/capabilityStatus eq 'Enabled')`.
fn plan_of(filter: &str) -> Option<Uuid> {
    let inner = filter.strip_prefix("assignedPlans/any(")?.strip_suffix(')')?;
    let (name, rest) = inner.split_once(':')?;
    let name = name.trim();
    let rest = rest.trim().strip_prefix(name)?.strip_prefix("/servicePlanId eq ")?;
    let tail = format!(" and {name}/capabilityStatus eq 'Enabled'");
    rest.strip_suffix(&tail).unwrap_or(rest).trim().parse().ok()
}

fn filter(world: &World, ask: &Ask) -> Result<Filter, GraphError> {
    let Some(text) = ask.option("$filter").map(str::trim) else { return Ok(Filter::Everyone) };
    let advanced = |filter| {
        let message = "This query needs the header ConsistencyLevel:eventual and $count=true.";
        if is_advanced(ask) { Ok(filter) } else { Err(GraphError::unsupported(message)) }
    };
    if text == "assignedLicenses/$count ne 0" {
        return advanced(Filter::Licensed);
    }
    if let Some(plan) = plan_of(text) {
        return advanced(Filter::Plan(plan));
    }
    match sku_of(text) {
        Some(sku) => Ok(Filter::Sku(world.catalog().kind(sku))),
        None => Err(GraphError::unsupported(format!("Unsupported filter '{text}'."))),
    }
}

impl Filter {
    fn takes(&self, world: &World, user: &User) -> bool {
        match self {
            Self::Everyone => true,
            Self::Licensed => user.paths.iter().any(super::super::world::tenant::Path::holds),
            Self::Sku(kind) => user.held().iter().any(|(held, _)| Some(*held) == *kind),
            Self::Plan(plan) => user.held().iter().any(|(held, disabled)| {
                let sku = world.catalog().sku(*held);
                sku.is_some_and(|sku| {
                    let off = sku.plans_in(*disabled).any(|off| off.id == *plan);
                    !off && sku.plans.iter().any(|own| own.id == *plan)
                })
            }),
        }
    }
}

/// `$top`, within the limits and the faults' page.
pub(super) fn top(world: &World, ask: &Ask) -> Result<usize, GraphError> {
    let top = match ask.option("$top").map(str::parse) {
        None => TOP,
        Some(Ok(top @ 1..=TOP_MAX)) => top,
        Some(_) => return Err(GraphError::bad("Invalid page size specified: must be 1 to 999.")),
    };
    Ok(if world.faults().page == 0 { top } else { top.min(world.faults().page) })
}

/// Where a list goes on: the start, or what `$skiptoken` says.
pub(super) fn start(
    world: &mut World,
    ask: &Ask,
    caller: &Caller,
    listing: Listing,
) -> Result<Place, GraphError> {
    let now = world.now_s();
    let Some(token) = ask.option("$skiptoken") else {
        return Ok(Place::start(listing, 0, 0, now));
    };
    let place = Place::decode(token, world.seed(), caller.tenant);
    let place = place.filter(|place| place.listing == listing);
    let place = place.ok_or_else(|| GraphError::bad("Invalid page token."))?;
    // How long page tokens live is not documented; a day is generous.
    if place.issued < now - DAY_S || world.strikes(Fault::GraphExpiredPage) {
        let message = "The specified page token value has expired.";
        return Err(GraphError::new(400, "Directory_ExpiredPageToken", message));
    }
    Ok(place)
}

/// The next link of a list: the query as it was, and the token.
pub(super) fn next_link(
    world: &World,
    ask: &Ask,
    caller: &Caller,
    (version, path): (&str, &str),
    place: Place,
) -> String {
    let mut link = url::form_urlencoded::Serializer::new(String::new());
    for (name, value) in &ask.query {
        if !name.eq_ignore_ascii_case("$skiptoken") {
            link.append_pair(name, value);
        }
    }
    link.append_pair("$skiptoken", &place.encode(world.seed(), caller.tenant));
    // Graph writes `$` plainly in names.
    let query = link.finish().replace("%24", "$");
    format!("{}/graph/{version}/{path}?{query}", world.base())
}

/// `GET /users`.
pub(super) fn list(world: &mut World, ask: &Ask, version: &str, caller: &Caller) -> Answer {
    let mask = render::select(ask.option("$select"))?;
    let (filter, top) = (filter(world, ask)?, top(world, ask)?);
    let place = start(world, ask, caller, Listing::Users)?;
    let empty = !place.after_empty && world.strikes(Fault::GraphEmptyPage);
    let take = if empty { 0 } else { top };
    let mut rows = Vec::with_capacity(take);
    let mut next = Some(place.at);
    let missing = || GraphError::missing(&caller.tenant.to_string());
    let tenant = world.tenant(caller.tenant).ok_or_else(missing)?;
    let from = usize::try_from(place.at).unwrap_or(usize::MAX);
    if !empty {
        next = None;
        for (at, user) in tenant.enumerate().skip(from) {
            if user.life != Life::Live || !filter.takes(world, user) {
                continue;
            }
            if rows.len() == take {
                next = Some(at.into());
                break;
            }
            let row = render::user(world.catalog(), tenant, (at, user), mask, Style::List);
            rows.push(Value::from(row));
        }
    }
    let counted = ask.option("$skiptoken").is_none() && is_advanced(ask);
    let count = counted.then(|| {
        let users = tenant.users.iter().filter(|user| user.life == Life::Live);
        users.filter(|user| filter.takes(world, user)).count()
    });
    repeat(world, &mut rows);
    let mut body = json!({
        "@odata.context": format!("{}/graph/{version}/$metadata#users", world.base()),
        "value": rows,
    });
    if let Some(fields) = body.as_object_mut() {
        if let Some(count) = count {
            fields.insert("@odata.count".to_owned(), count.into());
        }
        if let Some(at) = next {
            let place = Place { at, after_empty: empty, issued: world.now_s(), ..place };
            let link = next_link(world, ask, caller, (version, "users"), place);
            fields.insert("@odata.nextLink".to_owned(), link.into());
        }
    }
    Ok(Reply::json(200, &body))
}

/// The duplicates fault: a third of the page comes twice.
pub(super) fn repeat(world: &mut World, rows: &mut Vec<Value>) {
    if world.strikes(Fault::GraphDuplicates) {
        let again: Vec<Value> = rows.iter().take(rows.len().div_ceil(3)).cloned().collect();
        rows.extend(again);
    }
}

/// Page size of lists whose size callers cannot set: it varies.
pub(super) fn varying(world: &World, at: u64) -> usize {
    let size = 100 + hash(&[world.seed(), 0x6465_6c74, at]) % 150;
    let size = usize::try_from(size).unwrap_or(100);
    if world.faults().page == 0 { size } else { size.min(world.faults().page) }
}

/// A live user of the caller's tenant.
pub(super) fn find<'w>(
    world: &'w World,
    caller: &Caller,
    id: &str,
) -> Result<(&'w super::super::world::tenant::Tenant, u32, &'w User), GraphError> {
    let missing = || GraphError::missing(id);
    let tenant = world.tenant(caller.tenant).ok_or_else(missing)?;
    let at = id.parse().ok().and_then(|id| tenant.position(id)).ok_or_else(missing)?;
    let user = tenant.user(at).filter(|user| user.life == Life::Live).ok_or_else(missing)?;
    Ok((tenant, at, user))
}

/// `GET /users/{id}`.
pub(super) fn one(world: &mut World, ask: &Ask, caller: &Caller, id: &str) -> Answer {
    let mask = render::select(ask.option("$select"))?;
    if world.strikes(Fault::User404) {
        return Err(GraphError::missing(id));
    }
    let (tenant, at, user) = find(world, caller, id)?;
    let row = render::user(world.catalog(), tenant, (at, user), mask, Style::List);
    Ok(Reply::json(200, &row.into()))
}

/// `GET /users/{id}/licenseDetails`.
pub(super) fn license_details(world: &World, caller: &Caller, id: &str) -> Answer {
    let (tenant, _, user) = find(world, caller, id)?;
    let rows = render::details(world.catalog(), tenant, user);
    Ok(Reply::json(200, &json!({"value": rows})))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_filters_are_read() {
        let id = Uuid::from_u128(0x5bb0_0000_aaaa_4bbb_8ccc_ddde_eeef_ffff);
        assert_eq!(sku_of(&format!("assignedLicenses/any(x:x/skuId eq {id})")), Some(id));
        assert_eq!(sku_of(&format!("assignedLicenses/any(lic:lic/skuId eq {id})")), Some(id));
        assert_eq!(sku_of("assignedLicenses/any(x:y/skuId eq 1)"), None);
        let plan = format!(
            "assignedPlans/any(p:p/servicePlanId eq {id} and p/capabilityStatus eq 'Enabled')"
        );
        assert_eq!(plan_of(&plan), Some(id));
    }
}
