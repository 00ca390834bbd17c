//! `licenses overlap` and `licenses switch-plan`: who is covered twice, and how a customer moves from
//! one system to the other.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::{Query, State};
use axum::response::Response;
use jiff::Timestamp;
use serde::Deserialize;

use super::{Admin, Shared, lines, parsed};
use crate::domain::{Mirror, TenantId};
use crate::http::licenses::{By, SwitchQuery, plans};
use crate::http::problem::Problem;

/// Which tenant is asked about; all by default.
#[derive(Deserialize)]
pub(super) struct OverlapQuery {
    tenant: Option<String>,
}

impl Admin {
    fn by<'a>(&'a self, mirror: &'a Mirror, now: Timestamp) -> By<'a> {
        By { mirror, catalog: &self.catalog, policy: &self.policy, now }
    }
}

/// A row for each user and product.
pub(super) async fn list(
    State(admin): Shared,
    Query(query): Query<OverlapQuery>,
) -> Result<Response, Problem> {
    let wanted: Option<TenantId> = parsed("tenant", query.tenant.as_deref())?;
    let (mirror, now) = (admin.store.snapshot(), admin.now());
    Ok(lines::rows(move |sink| admin.by(&mirror, now).overlaps(wanted, &mut |row| sink.row(&row))))
}

/// How many users are covered twice, for `status`.
pub(super) fn count(admin: &Admin, mirror: &Mirror, now: Timestamp) -> u64 {
    let mut count = 0_u64;
    let Ok(()) = admin.by(mirror, now).overlaps(None, &mut |_row| {
        count = count.saturating_add(1);
        Ok::<(), Infallible>(())
    });
    count
}

/// A row for each product: the plan with all its users.
pub(super) async fn switch_plan(
    State(admin): Shared,
    Query(query): Query<SwitchQuery>,
) -> Result<Response, Problem> {
    let wanted = query.read(&admin.catalog)?;
    let (mirror, now) = (admin.store.snapshot(), admin.now());
    let catalog = Arc::clone(&admin.catalog);
    Ok(lines::rows(move |sink| {
        let rows = plans(&mirror, &catalog, &admin.policy, (&wanted, usize::MAX), now);
        rows.iter().try_for_each(|it| sink.row(it))
    }))
}
