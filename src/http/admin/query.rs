//! `query`: a decision with its trail, also for a moment in the past. Takes no seat.

use axum::Json;
use axum::extract::{Query, State};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use super::{Admin, Shared, needed, parsed, unreadable};
use crate::decision::{
    Decision, Past, Question, Shown, Trail, explain, licenses_of_past, rewind, told,
};
use crate::domain::{
    Change, Entity, Host, Language, LicenseId, Mirror, Run, Source, TenantId, UserId,
};
use crate::http::answer_json;
use crate::http::problem::Problem;
use crate::store::{ChangeFilter, RunFilter, StoreError};

/// What is asked.
#[derive(Deserialize)]
pub(super) struct AskedQuery {
    product: String,
    tenant: String,
    user: String,
    host: Option<String>,
    license: Option<String>,
    at: Option<String>,
    locale: Option<String>,
    #[serde(default)]
    explain: bool,
}

/// Answers as the public listener would, without taking a seat.
pub(super) async fn ask(
    State(admin): Shared,
    Query(query): Query<AskedQuery>,
) -> Result<Json<Value>, Problem> {
    if query.at.is_none() {
        return answered(&admin, &query);
    }
    // The past is on disk.
    let looking = tokio::task::spawn_blocking(move || answered(&admin, &query)).await;
    looking.map_err(|error| Problem::internal("the past was not found out").because(error))?
}

fn answered(admin: &Admin, query: &AskedQuery) -> Result<Json<Value>, Problem> {
    let product = super::product(&admin.catalog, &query.product)?;
    let tenant: Uuid = needed("tenant", &query.tenant)?;
    let personal = tenant == TenantId::PERSONAL_ACCOUNTS;
    if tenant.is_nil() {
        return Err(Problem::invalid("`tenant`: it is all zeros").of_field("tenant"));
    }
    let user: UserId = needed("user", &query.user)?;
    let named: Option<LicenseId> = query.license.as_deref().and_then(|it| it.parse().ok());
    let question = Question {
        product,
        host: query.host.as_deref().map_or(Ok(Host::Web), |it| needed("host", it))?,
        tenant: TenantId::from_uuid(tenant),
        personal_account: personal,
        user: Some(user),
        site: None,
        license_refused: query.license.is_some() && named.is_none(),
        shown: named.map_or(Shown::Nothing, Shown::Named),
        anonymous: None,
    };
    let at: Option<Timestamp> = parsed("at", query.at.as_deref())?;
    let (decision, trail) = match at {
        None => explain(&admin.store.mirror(), &question, &admin.policy, admin.now()),
        Some(at) => then(admin, &question, at)?,
    };
    let told = told(&decision, question.host, at.unwrap_or_else(|| admin.now()));
    let language = query.locale.as_deref().and_then(Language::of_locale);
    let words = (&*admin.messages, language.unwrap_or(Language::English), &*product.name);
    Ok(Json(answer_json(&decision, told, words, query.explain.then_some(trail))))
}

/// The answer of a moment in the past, from the journal and the sync log.
fn then(
    admin: &Admin,
    question: &Question<'_>,
    at: Timestamp,
) -> Result<(Decision, Trail), Problem> {
    if at > admin.now() {
        let detail = format!("{at} lies in the future; --at answers for a moment in the past");
        return Err(Problem::invalid(detail).of_field("at"));
    }
    let mirror = admin.store.snapshot();
    let (changes, runs) = since(admin, &mirror, question, at).map_err(unreadable)?;
    let journal_since = admin.store.journal_since();
    let past = Past { at, changes: &changes, journal_since, runs: &runs };
    let mirror = rewind(&mirror, past, question, &admin.policy);
    Ok(explain(&mirror, question, &admin.policy, at))
}

/// What is recorded of the time since, as far as it concerns a question.
fn since(
    admin: &Admin,
    mirror: &Mirror,
    question: &Question<'_>,
    at: Timestamp,
) -> Result<(Vec<Change>, Vec<Run>), StoreError> {
    let all = || ChangeFilter { since: Some(at), ..ChangeFilter::default() };
    let of = |source, tenant| RunFilter { source: Some(source), tenant, ..RunFilter::default() };
    let (mut changes, mut runs) = (Vec::new(), Vec::new());
    if let Some(tenant) = question.keyed_tenant() {
        changes = admin.store.changes(&ChangeFilter { tenant: Some(tenant), ..all() })?;
        runs = admin.store.runs(&of(Source::Subscriptions, None))?;
        runs.extend(admin.store.runs(&of(Source::Directory, Some(tenant)))?);
    }
    // Changes of a license stand under whichever tenants are bound to it.
    for id in licenses_of_past(mirror, question, &changes) {
        let id = id.as_str();
        let of_it =
            |it: &Change| matches!(it.entity, Entity::License | Entity::HeldSeat) && *it.id == *id;
        changes.retain(|it| !of_it(it));
        changes.extend(admin.store.changes(&ChangeFilter { license: Some(id.into()), ..all() })?);
    }
    changes.sort_by_key(|it| it.at);
    Ok((changes, runs))
}
