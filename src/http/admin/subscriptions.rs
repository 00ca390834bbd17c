//! `subscriptions`: those that are asked for.

use axum::extract::{Query, State};
use axum::response::Response;
use jiff::SignedDuration;
use serde::Deserialize;

use super::{Shared, life, lines, parsed};
use crate::domain::{Subscription, TenantId};
use crate::http::problem::Problem;

/// What an offer in preview has behind its name.
const PREVIEW: &str = "-preview";

/// Which subscriptions are asked for.
#[derive(Deserialize)]
pub(super) struct SubscriptionsQuery {
    tenant: Option<String>,
    status: Option<String>,
    offer: Option<String>,
    /// Only those with a deadline within so many seconds, or with one that has passed.
    due_s: Option<String>,
}

struct Wanted {
    tenant: Option<TenantId>,
    status: String,
    offer: Option<String>,
}

impl Wanted {
    fn takes(&self, it: &Subscription) -> bool {
        let status = it.status.as_str().to_ascii_lowercase();
        let offered = |offer: &String| {
            let plain = it.offer.strip_suffix(PREVIEW).unwrap_or(&it.offer);
            [plain, &*it.offer].iter().any(|it| it.eq_ignore_ascii_case(offer))
        };
        status.starts_with(&self.status)
            && self.tenant.is_none_or(|tenant| it.beneficiary.tenant_id() == Some(tenant))
            && self.offer.as_ref().is_none_or(offered)
    }
}

/// Every one that fits, a row each; with `due_s` the nearest deadline first.
pub(super) async fn list(
    State(admin): Shared,
    Query(query): Query<SubscriptionsQuery>,
) -> Result<Response, Problem> {
    let wanted = Wanted {
        tenant: parsed("tenant", query.tenant.as_deref())?,
        status: query.status.unwrap_or_default().trim().to_ascii_lowercase(),
        offer: query.offer,
    };
    let due: Option<i64> = parsed("due_s", query.due_s.as_deref())?;
    let (mirror, now) = (admin.store.snapshot(), admin.now());
    let Some(within) = due.map(SignedDuration::from_secs) else {
        return Ok(lines::rows(move |sink| {
            let mut fitting = mirror.subscriptions().filter(|it| wanted.takes(it));
            fitting.try_for_each(|it| sink.row(&life::row(&mirror, it, now)))
        }));
    };
    Ok(lines::rows(move |sink| {
        let found = life::pressing(&mirror, now).into_iter();
        let mut due = found.filter(|(due, it)| due.is_within(within, now) && wanted.takes(it));
        due.try_for_each(|(_, it)| sink.row(&life::row(&mirror, it, now)))
    }))
}
