//! `seats`: who holds what by which path, and how much of what was bought is used.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::response::Response;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::lines::{self, Left, Sink};
use super::{Admin, Shared, parsed, rows};
use crate::decision::{Evidence, Found, Knowledge, Known, Question, Seat, judge};
use crate::domain::{
    Catalog, GroupId, Host, Mirror, Path, PathState, Plan, Policy, Product, Sku, SkuMatch,
    TenantId, TenantView, UserId, UserLicences, Via,
};
use crate::http::problem::Problem;

/// Which seats are asked for.
#[derive(Deserialize)]
pub(super) struct SeatsQuery {
    tenant: Option<String>,
    product: Option<String>,
    group: Option<String>,
    #[serde(default)]
    errors: bool,
}

struct Wanted {
    tenant: Option<TenantId>,
    product: Option<String>,
    group: Option<GroupId>,
    errors: bool,
}

impl Wanted {
    fn read(query: SeatsQuery, catalog: &Catalog) -> Result<Self, Problem> {
        let tenant = parsed("tenant", query.tenant.as_deref())?;
        let group = parsed("group", query.group.as_deref())?;
        if let Some(product) = &query.product {
            super::product(catalog, product)?;
        }
        Ok(Self { tenant, product: query.product, group, errors: query.errors })
    }

    fn takes(&self, product: &Product) -> bool {
        self.product.as_ref().is_none_or(|it| product.id.as_str() == it)
    }
}

/// Every seat, a row each. A seat of which every path is in error is shown only when asked for.
pub(super) async fn list(
    State(admin): Shared,
    Query(query): Query<SeatsQuery>,
) -> Result<Response, Problem> {
    let wanted = Wanted::read(query, &admin.catalog)?;
    let (mirror, now) = (admin.store.snapshot(), admin.now());
    Ok(lines::rows(move |sink| all(&admin, &mirror, &wanted, now, sink)))
}

/// Used against bought: a row for each tenant and plan.
pub(super) async fn usage(
    State(admin): Shared,
    Query(query): Query<SeatsQuery>,
) -> Result<Response, Problem> {
    let wanted = Wanted::read(query, &admin.catalog)?;
    let mirror = admin.store.snapshot();
    let mut found = Vec::new();
    for view in tenants(&mirror, wanted.tenant) {
        for (product, plan, sku, _) in plans(&admin.catalog, view) {
            if wanted.takes(product) {
                found.push(used(view, product, plan, sku));
            }
        }
    }
    Ok(lines::all(found))
}

fn used(view: &TenantView, product: &Product, plan: &Plan, sku: &Sku) -> Value {
    let bought = sku.units.bought();
    json!({
        "tenant": view.tenant.id.to_string(),
        "name": view.tenant.name.as_deref(),
        "product": product.id.as_str(),
        "plan": plan.service_id.plan(),
        "sku": sku.id.to_string(),
        "status": sku.status.as_str(),
        "bought": bought,
        "used": sku.units.consumed,
        "free": bought.saturating_sub(sku.units.consumed),
    })
}

fn tenants(mirror: &Mirror, tenant: Option<TenantId>) -> impl Iterator<Item = &Arc<TenantView>> {
    mirror.tenants().filter(move |it| tenant.is_none_or(|tenant| it.tenant.id == tenant))
}

/// The plans of ours that a tenant's SKUs are.
fn plans<'a>(
    catalog: &'a Catalog,
    view: &'a TenantView,
) -> impl Iterator<Item = (&'a Product, &'a Plan, &'a Sku, SkuMatch)> {
    let plans = catalog.products().flat_map(|product| {
        let managed = |it: &&Plan| it.channel.is_managed_per_user();
        product.plans.iter().filter(managed).map(move |plan| (product, plan))
    });
    plans.flat_map(move |(product, plan)| {
        view.skus
            .iter()
            .filter_map(move |sku| Some((product.as_ref(), plan, sku, view.sku_match(sku, plan)?)))
    })
}

fn all(
    admin: &Admin,
    mirror: &Mirror,
    wanted: &Wanted,
    now: Timestamp,
    sink: &mut Sink,
) -> Result<(), Left> {
    for view in tenants(mirror, wanted.tenant) {
        let plans: Vec<_> = plans(&admin.catalog, view).filter(|it| wanted.takes(it.0)).collect();
        if plans.is_empty() {
            continue;
        }
        let mut users: Vec<(UserId, UserLicences)> = view.users.iter().collect();
        users.sort_unstable_by_key(|it| it.0);
        for (user, held) in users {
            let marked = held.missing_since.is_some();
            for licence in held.licences {
                let licence = Arc::new(licence);
                for (product, plan, sku, found) in &plans {
                    if sku.id != licence.sku {
                        continue;
                    }
                    let licence = Arc::clone(&licence);
                    let held_back = view.holds_back(user, marked, sku);
                    let seat = Seat { plan, sku, found: *found, licence, held_back };
                    if let Some(row) = row(view, user, product, seat, wanted, &admin.policy, now) {
                        sink.row(&row)?;
                    }
                }
            }
        }
    }
    Ok(())
}

fn row(
    view: &TenantView,
    user: UserId,
    product: &Product,
    seat: Seat<'_>,
    wanted: &Wanted,
    policy: &Policy,
    now: Timestamp,
) -> Option<Value> {
    let in_error = match seat.standing() {
        Found::Direct | Found::ByGroup | Found::PathUnknown => false,
        Found::InError if seat.licence.only_errors() => true,
        Found::InError | Found::SwitchedOff | Found::NotAssigned => return None,
    };
    let paths: Vec<&Path> =
        seat.licence.paths.iter().filter(|it| !is_off(it, seat.found)).collect();
    let through = |group: GroupId| paths.iter().any(|it| it.via == Via::Group(group));
    if in_error != wanted.errors || !wanted.group.is_none_or(through) {
        return None;
    }
    let tenant = view.tenant.id;
    let knowledge = Knowledge::of(Known::of_directory(view), view.tenant.cloud);
    let question = Question::of_user(product, Host::Web, tenant, Some(user));
    let paths: Vec<Value> = paths.into_iter().map(rows::explained_path).collect();
    let (plan, sku, held_back) = (seat.plan, seat.sku, seat.held_back);
    let verdict = judge(&Evidence::Seat(seat), &question, &knowledge, policy, now);
    Some(json!({
        "tenant": tenant.to_string(),
        "user": user.to_string(),
        "product": product.id.as_str(),
        "plan": plan.service_id.plan(),
        "channel": plan.channel.as_str(),
        "state": verdict.state.as_str(),
        "reason": verdict.reason.as_str(),
        "paths": paths,
        "sku": sku.id.to_string(),
        "stale": verdict.stale,
        "held_back": held_back,
        "observed_at": rows::time(view.directory.last_complete),
    }))
}

/// Whether the plan is switched off on this path, which then carries nothing of ours; a failed path
/// is shown all the same.
fn is_off(path: &Path, found: SkuMatch) -> bool {
    match found {
        SkuMatch::Sku => false,
        SkuMatch::ServicePlan(plan) => {
            path.state != PathState::Error && path.disabled_plans.contains(&plan)
        }
    }
}
