//! `tenants learn`: what plans may be called in a tenant, and an operator's word on it.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{ConnectInfo, State};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use super::rows::{text, time};
use super::socket::Operator;
use super::{Admin, Shared, lines, needed, unreadable};
use crate::domain::{
    Catalog, Change, Commit, Mapping, MappingState, MappingWrite, Mirror, Plan, Policy, SourceKey,
    TenantId, TenantView, Trigger,
};
use crate::http::ids::Ids;
use crate::http::problem::Problem;

pub(super) fn routes() -> Router<Arc<Admin>> {
    Router::new()
        .route("/tenants/{id}/learn", get(list))
        .route("/tenants/{id}/learn/{mapping}/confirm", post(confirm))
        .route("/tenants/{id}/learn/{mapping}/reject", post(reject))
        .route("/tenants/{id}/rights", get(rights))
}

/// What was found there, what waits for an operator first.
async fn list(State(admin): Shared, Ids(id): Ids<String>) -> Result<Response, Problem> {
    let tenant: TenantId = needed("tenant", &id)?;
    let mirror = admin.store.snapshot();
    let view = known(&mirror, tenant)?;
    let mut found: Vec<&Mapping> = view.mappings.iter().collect();
    found.sort_by_key(|it| (it.state != MappingState::Proposed, it.since));
    let rows: Vec<Value> = found.into_iter().map(|it| row(&admin.catalog, tenant, it)).collect();
    Ok(lines::all(rows))
}

/// How far usage rights of the tenant can be believed.
async fn rights(State(admin): Shared, Ids(id): Ids<String>) -> Result<Json<Value>, Problem> {
    let tenant: TenantId = needed("tenant", &id)?;
    let mirror = admin.store.snapshot();
    let view = known(&mirror, tenant)?;
    let source = &view.rights_source;
    Ok(Json(json!({
        "tenant": tenant.to_string(),
        "users": view.rights.holders(),
        "read_at": time(source.read_at),
        "proven_by": source.proven.as_ref().map(|(app, _)| &**app),
        "proven_at": time(source.proven.as_ref().map(|(_, at)| *at)),
        "refused": source.refused.as_ref().map(|(why, _)| &**why),
        "refused_at": time(source.refused.as_ref().map(|(_, at)| *at)),
        "learned_at": time(source.learned_at),
        "switched_off": !admin.policy.usage_rights,
    })))
}

async fn confirm(
    admin: Shared,
    path: Ids<(String, String)>,
    by: ConnectInfo<Operator>,
) -> Result<Json<Value>, Problem> {
    decide(admin, path, by, MappingState::Confirmed).await
}

async fn reject(
    admin: Shared,
    path: Ids<(String, String)>,
    by: ConnectInfo<Operator>,
) -> Result<Json<Value>, Problem> {
    decide(admin, path, by, MappingState::Rejected).await
}

/// Said twice it is the same; said otherwise later, the later word counts.
async fn decide(
    State(admin): Shared,
    Ids((id, mapping)): Ids<(String, String)>,
    ConnectInfo(operator): ConnectInfo<Operator>,
    to: MappingState,
) -> Result<Json<Value>, Problem> {
    let tenant: TenantId = needed("tenant", &id)?;
    let mirror = admin.store.snapshot();
    let missing = || {
        let detail = format!("nothing called {mapping} was found in tenant {tenant}");
        Problem::not_found(detail)
    };
    let named = |view: &TenantView| {
        view.mappings.iter().find(|it| it.id.eq_ignore_ascii_case(mapping.trim())).cloned()
    };
    let before = named(known(&mirror, tenant)?).ok_or_else(missing)?;
    let now = admin.now();
    if before.state != to {
        let after = Mapping { state: to, since: now, ..before.clone() };
        let change = Change::of_mapping(now, operator.cause(), tenant, Some(&before), &after);
        let write = MappingWrite::Decide(Arc::clone(&before.id), to, now);
        let commit =
            Commit { mappings: vec![(tenant, write)], changes: vec![change], ..Commit::default() };
        admin.store.commit(commit).await.map_err(unreadable)?;
        // Other SKUs are ours now: who holds them was not kept before.
        admin.sync.nudge(SourceKey::directory(tenant), Trigger::Manual);
    }
    let mirror = admin.store.snapshot();
    let after = named(known(&mirror, tenant)?).ok_or_else(missing)?;
    Ok(Json(row(&admin.catalog, tenant, &after)))
}

fn known(mirror: &Mirror, tenant: TenantId) -> Result<&Arc<TenantView>, Problem> {
    let missing = || Problem::not_found(format!("there is no tenant {tenant} in the mirror"));
    mirror.tenant(tenant).ok_or_else(missing)
}

fn row(catalog: &Catalog, tenant: TenantId, it: &Mapping) -> Value {
    let sells = |product: &&Arc<crate::domain::Product>| {
        product.plans.iter().any(|plan| plan.service_id == it.service_id)
    };
    let products: Vec<&str> = catalog.products().filter(sells).map(|it| it.id.as_str()).collect();
    json!({
        "tenant": tenant.to_string(),
        "mapping": &*it.id,
        "service_id": it.service_id.to_string(),
        "products": products,
        "kind": it.target.kind(),
        "target": it.target.to_string(),
        "catalog_id": it.catalog.as_deref(),
        "users": it.users,
        "evidence": &*it.evidence,
        "state": text(Some(it.state)),
        "since": it.since.to_string(),
    })
}

/// For `status`: what waits for an operator, whose rights are known, and where they are not read.
pub(super) fn status(mirror: &Mirror, catalog: &Catalog, policy: &Policy) -> Value {
    let mut waiting: BTreeMap<TenantId, usize> = BTreeMap::new();
    let (mut users, mut refused, mut hidden) = (0_usize, 0_usize, 0_usize);
    let managed = |it: &&Plan| it.channel.is_managed_per_user();
    let plans = || catalog.products().flat_map(|it| &it.plans).filter(managed);
    for view in mirror.tenants() {
        let proposed = view.mappings.iter().filter(|it| it.state == MappingState::Proposed).count();
        if proposed > 0 {
            waiting.insert(view.tenant.id, proposed);
        }
        users = users.saturating_add(view.rights.holders());
        refused += usize::from(view.rights_source.refused.is_some());
        hidden += usize::from(!policy.usage_rights && plans().any(|it| mirror.hides(view, it)));
    }
    json!({
        "proposed": waiting.values().sum::<usize>(),
        "some": waiting.iter().take(5).map(|(tenant, count)| json!({
            "tenant": tenant.to_string(), "proposed": count,
        })).collect::<Vec<_>>(),
        "users": users,
        "unreadable": refused,
        "switched_off": !policy.usage_rights,
        "hidden": hidden,
    })
}
