//! `subscriptions`: those that are asked for.

use axum::extract::{Query, State};
use axum::response::Response;
use serde::Deserialize;

use super::{Shared, lines, parsed, rows};
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

/// Every one that fits, a row each.
pub(super) async fn list(
    State(admin): Shared,
    Query(query): Query<SubscriptionsQuery>,
) -> Result<Response, Problem> {
    let wanted = Wanted {
        tenant: parsed("tenant", query.tenant.as_deref())?,
        status: query.status.unwrap_or_default().trim().to_ascii_lowercase(),
        offer: query.offer,
    };
    let mirror = admin.store.snapshot();
    Ok(lines::rows(move |sink| {
        let mut fitting = mirror.subscriptions().filter(|it| wanted.takes(it));
        fitting.try_for_each(|it| sink.row(&rows::subscription(it)))
    }))
}
