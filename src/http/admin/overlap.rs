//! `licenses overlap`: users whom a Microsoft-managed seat and a license of the publisher cover at once,
//! for the same product. One of the two is paid for nothing.

use axum::extract::{Query, State};
use axum::response::Response;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::lines::{self, Left};
use super::{Admin, Shared, parsed, rows};
use crate::decision::{Evidence, Question, gather, judge};
use crate::domain::{
    ActivatedBy, Host, LicenseId, LicenseUser, Mirror, Product, ProductId, TenantId, TenantView,
    UserId,
};
use crate::http::problem::Problem;

/// Which tenant is asked about; all by default.
#[derive(Deserialize)]
pub(super) struct OverlapQuery {
    tenant: Option<String>,
}

/// A row for each user and product.
pub(super) async fn list(
    State(admin): Shared,
    Query(query): Query<OverlapQuery>,
) -> Result<Response, Problem> {
    let wanted: Option<TenantId> = parsed("tenant", query.tenant.as_deref())?;
    let (mirror, now) = (admin.store.snapshot(), admin.now());
    Ok(lines::rows(move |sink| {
        for view in mirror.tenants() {
            if wanted.is_none_or(|it| it == view.tenant.id) {
                of_tenant(&admin, &mirror, view, now, &mut |row| sink.row(&row))?;
            }
        }
        Ok(())
    }))
}

/// The products that the tenant is bound to a license of. Who typed id and licensee is not known by
/// name, so nobody can be found twice by those.
fn bound<'a>(admin: &'a Admin, mirror: &Mirror, tenant: TenantId) -> Vec<&'a Product> {
    let book = mirror.licenses();
    let by_key = book.activations_of_tenant(tenant).filter(|it| it.by != ActivatedBy::Licensee);
    let mut ids: Vec<&ProductId> =
        by_key.filter_map(|it| book.license(it.license)).map(|it| &it.product).collect();
    ids.sort_unstable();
    ids.dedup();
    ids.into_iter().filter_map(|it| admin.catalog.product(it.as_str())).map(|it| &**it).collect()
}

fn of_tenant(
    admin: &Admin,
    mirror: &Mirror,
    view: &TenantView,
    now: Timestamp,
    take: &mut impl FnMut(Value) -> Result<(), Left>,
) -> Result<(), Left> {
    let products = bound(admin, mirror, view.tenant.id);
    if products.is_empty() {
        return Ok(());
    }
    let mut users: Vec<UserId> = view.users.iter().map(|(user, _)| user).collect();
    users.sort_unstable();
    for user in users {
        for product in &products {
            if let Some(row) = twice(admin, mirror, view, (user, product), now) {
                take(row)?;
            }
        }
    }
    Ok(())
}

/// The user, if a seat and a license both cover him: by the rules that answers are made by.
fn twice(
    admin: &Admin,
    mirror: &Mirror,
    view: &TenantView,
    (user, product): (UserId, &Product),
    now: Timestamp,
) -> Option<Value> {
    let tenant = view.tenant.id;
    let question = Question::of_user(product, Host::Web, tenant, Some(user));
    let (evidence, knowledge) = gather(mirror, &question, &admin.policy, now);
    let judged = |it: &Evidence<'_>| {
        let verdict = judge(it, &question, &knowledge, &admin.policy, now);
        verdict.state.is_usable().then_some((verdict.state, verdict.reason, verdict.period_end))
    };
    let seat = evidence.iter().find_map(|it| match it {
        Evidence::Seat(seat) => Some((seat.plan, judged(it)?)),
        Evidence::License(_) | Evidence::Subscription(_) | Evidence::UsageRight(_) => None,
    });
    let license = evidence.iter().find_map(|it| match it {
        Evidence::License(license) => Some((license.id, judged(it)?)),
        Evidence::Seat(_) | Evidence::Subscription(_) | Evidence::UsageRight(_) => None,
    });
    let ((plan, (seat_state, seat_reason, _)), (id, (license_state, _, until))) =
        seat.zip(license)?;
    let id: LicenseId = id.parse().ok()?;
    let book = mirror.licenses();
    let place = book.users(id).and_then(|it| it.seat(LicenseUser::Known(tenant, user)));
    Some(json!({
        "tenant": tenant.to_string(),
        "name": view.tenant.name.as_deref(),
        "user": user.to_string(),
        "product": product.id.as_str(),
        "plan": plan.service_id.plan(),
        "seat_state": seat_state.as_str(),
        "seat_reason": seat_reason.as_str(),
        "seat_observed_at": rows::time(view.directory.last_complete),
        "license": id.as_str(),
        "license_state": license_state.as_str(),
        "license_until": rows::time(until),
        "place_since": rows::time(place.map(|it| it.taken_at)),
        "place_last_used": rows::time(place.map(|it| it.last_used)),
    }))
}

/// How many users are covered twice, for `status`.
pub(super) fn count(admin: &Admin, mirror: &Mirror, now: Timestamp) -> u64 {
    let mut count = 0_u64;
    for view in mirror.tenants() {
        let counted = of_tenant(admin, mirror, view, now, &mut |_row| {
            count = count.saturating_add(1);
            Ok(())
        });
        // Counting never stops early.
        drop(counted);
    }
    count
}
