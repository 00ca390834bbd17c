//! `groups`: the groups through which licences come, how they do, and how each user stands with one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::Router;
use axum::extract::{Query, State};
use axum::response::Response;
use axum::routing::get;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Admin, Shared, lines, parsed, rows};
use crate::domain::{
    ByGroup, Catalog, Group, GroupId, Head, Mirror, NESTED, SkuId, Source, SourceKey, TenantId,
    TenantView, UserByGroup, paths_by_group, standings,
};
use crate::http::problem::Problem;

/// Which groups are asked for.
#[derive(Deserialize)]
struct GroupsQuery {
    tenant: Option<String>,
    group: Option<String>,
}

struct Wanted {
    tenant: Option<TenantId>,
    group: Option<GroupId>,
}

impl Wanted {
    fn read(query: &GroupsQuery) -> Result<Self, Problem> {
        let tenant = parsed("tenant", query.tenant.as_deref())?;
        Ok(Self { tenant, group: parsed("group", query.group.as_deref())? })
    }

    fn tenants<'a>(&self, mirror: &'a Mirror) -> impl Iterator<Item = &'a Arc<TenantView>> {
        let wanted = self.tenant;
        mirror.tenants().filter(move |it| wanted.is_none_or(|tenant| it.tenant.id == tenant))
    }
}

pub(super) fn routes() -> Router<Arc<Admin>> {
    Router::new().route("/groups", get(list)).route("/groups/users", get(users))
}

/// A row for each group.
async fn list(State(admin): Shared, Query(query): Query<GroupsQuery>) -> Result<Response, Problem> {
    let wanted = Wanted::read(&query)?;
    let mirror = admin.store.snapshot();
    Ok(lines::rows(move |sink| {
        for view in wanted.tenants(&mirror) {
            for (group, standings) in all(view, wanted.group) {
                sink.row(&row(&admin.catalog, &mirror, view, &group, &standings))?;
            }
        }
        Ok(())
    }))
}

/// A row for each user and SKU of a group: has it, waits for it, loses it; then the groups in it.
async fn users(
    State(admin): Shared,
    Query(query): Query<GroupsQuery>,
) -> Result<Response, Problem> {
    let wanted = Wanted::read(&query)?;
    if wanted.group.is_none() {
        return Err(Problem::invalid("name a `group`").of_field("group"));
    }
    let (mirror, now) = (admin.store.snapshot(), admin.now());
    Ok(lines::rows(move |sink| {
        for view in wanted.tenants(&mirror) {
            for (group, standings) in all(view, wanted.group) {
                for it in &standings {
                    sink.row(&user_row(&admin.catalog, view, &group, it, now))?;
                }
                for nested in &group.nested {
                    sink.row(&json!({
                        "tenant": view.tenant.id.to_string(),
                        "group": group.id.to_string(),
                        "user": null,
                        "nested": nested.to_string(),
                        "standing": "nested",
                        "meaning": NESTED,
                    }))?;
                }
            }
        }
        Ok(())
    }))
}

/// The groups of a tenant, those that only licences name included, with how everybody stands.
fn all(view: &TenantView, wanted: Option<GroupId>) -> Vec<(Arc<Group>, Vec<UserByGroup>)> {
    let paths = paths_by_group(view);
    let ids: BTreeSet<GroupId> = view.groups.groups.keys().chain(paths.keys()).copied().collect();
    let ids = ids.into_iter().filter(|it| wanted.is_none_or(|wanted| wanted == *it));
    ids.map(|id| {
        let unread = || Arc::new(Group::unread(id));
        let group = view.groups.get(id).map_or_else(unread, Arc::clone);
        let mut found = standings(&group, paths.get(&id));
        if view.groups.get(id).is_none() {
            // Nothing is known of a group that may not be read: only what its licences say.
            for it in &mut found {
                if !matches!(it.standing, ByGroup::InError(_)) {
                    it.standing = ByGroup::Seat(None);
                }
            }
        }
        (group, found)
    })
    .collect()
}

fn row(
    catalog: &Catalog,
    mirror: &Mirror,
    view: &TenantView,
    group: &Group,
    standings: &[UserByGroup],
) -> Value {
    let head = Head::of(group, standings);
    let key = SourceKey::groups(view.tenant.id);
    let state = mirror.source(key).cloned().unwrap_or_default();
    let skus: Vec<Value> = group
        .licences
        .iter()
        .map(|it| {
            json!({
                "sku": it.sku.to_string(),
                "products": products(catalog, view, it.sku),
                "disabled_plans": it.disabled_plans.iter().map(ToString::to_string).collect::<Vec<_>>(),
            })
        })
        .collect();
    let named: BTreeSet<SkuId> =
        group.licences.iter().map(|it| it.sku).chain(standings.iter().map(|it| it.sku)).collect();
    let named = named.into_iter().flat_map(|it| products(catalog, view, it));
    json!({
        "tenant": view.tenant.id.to_string(),
        "tenant_name": view.tenant.name.as_deref(),
        "group": group.id.to_string(),
        "name": group.name.as_deref(),
        "read": view.groups.get(group.id).is_some(),
        "dynamic": group.dynamic,
        "processing": group.processing.as_ref().map(|it| it.as_str().to_owned()),
        "unfinished_since": rows::time(group.unfinished_since),
        "gone": group.gone.map(|(gone, _)| gone.as_str()),
        "gone_seen_at": rows::time(group.gone.map(|(_, at)| at)),
        "licences": skus,
        "products": named.collect::<BTreeSet<String>>(),
        "members": head.members,
        "seats": head.seats,
        "in_error": head.in_error,
        "waiting": head.waiting,
        "leaving": head.leaving,
        "nested": group.nested.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "observed_at": rows::time(state.last_complete),
        "error": state.last_error.as_deref(),
    })
}

fn user_row(
    catalog: &Catalog,
    view: &TenantView,
    group: &Group,
    it: &UserByGroup,
    now: Timestamp,
) -> Value {
    let error = it.standing.error();
    json!({
        "tenant": view.tenant.id.to_string(),
        "group": group.id.to_string(),
        "user": it.user.to_string(),
        "nested": null,
        "sku": it.sku.to_string(),
        "products": products(catalog, view, it.sku),
        "standing": it.standing.as_str(),
        "since": rows::time(it.standing.since()),
        "error": error.map(|it| it.as_str().to_owned()),
        "remedy": error.map(crate::domain::AssignmentError::remedy),
        "meaning": it.standing.meaning(group, now),
    })
}

/// The products of ours that a SKU is.
fn products(catalog: &Catalog, view: &TenantView, sku: SkuId) -> Vec<String> {
    let Some(sku) = view.sku(sku) else { return Vec::new() };
    let sells = |it: &&Arc<crate::domain::Product>| {
        it.plans.iter().any(|plan| view.sku_match(sku, plan).is_some())
    };
    catalog.products().filter(sells).map(|it| it.id.to_string()).collect()
}

/// Groups in figures, for `status`: how many are followed, and which tenants do not let us.
pub(super) fn status(mirror: &Mirror) -> Value {
    let refused: BTreeMap<TenantId, &str> = mirror
        .sources()
        .filter(|(key, _)| key.source == Source::Groups)
        .filter_map(|(key, state)| Some((key.tenant?, state.last_error.as_deref()?)))
        .collect();
    json!({
        "followed": mirror.tenants().map(|it| it.groups.groups.len()).sum::<usize>(),
        "left_out": mirror.tenants().map(|it| u64::from(it.groups.left_out)).sum::<u64>(),
        "unreadable": refused.len(),
        "some": refused.iter().take(5).map(|(tenant, why)| json!({
            "tenant": tenant.to_string(), "error": why,
        })).collect::<Vec<_>>(),
    })
}
