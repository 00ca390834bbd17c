//! All licenses and activations for servers that sell: lists, overlaps, the guide for switching, and
//! what else operators do by command.
//!
//! Source: contract sections 4 and 5.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::licenses::{Nothing, bytes, read};
use super::refusals::{CallerRefusals, WriteRefusals};
use super::{Shared, body, json};
use crate::config::Permission;
use crate::domain::{ActivationId, Cause, LicenseId, TenantId};
use crate::http::ids::Ids;
use crate::http::licenses::fields::amount;
use crate::http::licenses::{self, By, ImportHow, ImportRow, PaidTwice, SwitchQuery, rows};
use crate::http::problem::{Problem, ProblemBody};
use crate::http::query;

/// Rows of a list when nothing is said, and the most.
const ROWS: usize = 100;
const ROWS_MOST: usize = 1_000;
/// Users of a plan, and rows of an overlap: more of them only the command line prints.
const USERS_MOST: usize = 10_000;

/// What stands behind the question mark under this name.
fn asked(head: &Parts, name: &str) -> Option<String> {
    let pairs = url::form_urlencoded::parse(head.uri.query().unwrap_or_default().as_bytes());
    pairs.into_iter().find(|(it, _)| it == name).map(|(_, it)| it.into_owned())
}

fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(
    head: &Parts,
    name: &'static str,
) -> Result<Option<T>, Problem> {
    query::parsed(name, asked(head, name).as_deref())
}

/// Which part of a list is asked for: what follows `after`.
struct Part<Id> {
    after: Option<Id>,
    most: usize,
}

impl<Id: std::str::FromStr<Err: std::fmt::Display>> Part<Id> {
    fn of(head: &Parts) -> Result<Self, Problem> {
        let most: Option<usize> = parsed(head, "limit")?;
        let most = most.unwrap_or(ROWS).clamp(1, ROWS_MOST);
        Ok(Self { after: parsed(head, "after")?, most })
    }

    /// The rows of that part, of all that follow, and the id to go on behind, if there are more.
    fn cut<'a, T: 'a>(
        &self,
        all: impl Iterator<Item = &'a T>,
        id: impl Fn(&T) -> Id,
        row: impl Fn(&T) -> Value,
        name: &str,
    ) -> Value
    where
        Id: std::fmt::Display,
    {
        let found: Vec<&T> = all.take(self.most.saturating_add(1)).collect();
        let shown = found.get(..self.most).unwrap_or(&found);
        let next = shown.last().filter(|_| found.len() > self.most).map(|it| id(it).to_string());
        let listed = shown.iter().map(|it| row(it)).collect();
        let fields = [(name.to_owned(), Value::Array(listed)), ("next".to_owned(), next.into())];
        Value::Object(fields.into_iter().collect())
    }
}

/// All licenses, by id, in parts.
#[utoipa::path(
    get, path = "/v1/licenses", tag = "licenses",
    params(
        ("product" = Option<String>, Query, description = "Only of this product"),
        ("tenant" = Option<String>, Query, description = "Only those that this tenant is bound to"),
        ("after" = Option<String>, Query, description = "Behind this id: `next` of the part before"),
        ("limit" = Option<u32>, Query, description = "How many: 100 by default, 1,000 at most"),
    ),
    responses(
        (status = 200, description = "`licenses`, each as `licenses list` has it, and `next`, if there are more"),
        (status = 422, description = "A parameter cannot be accepted", body = ProblemBody, content_type = "application/problem+json"),
        CallerRefusals,
    ),
    security(("caller_key" = [])),
)]
pub(super) async fn list(
    State(shared): State<Shared>,
    request: Request,
) -> Result<Response, Problem> {
    let (head, _) = request.into_parts();
    let public = &shared.public;
    public.caller_that_may(Permission::Licenses, &head).await?;
    let (part, tenant) = (Part::<LicenseId>::of(&head)?, parsed::<TenantId>(&head, "tenant")?);
    let product = asked(&head, "product");
    let (mirror, now) = (public.store.snapshot(), public.now());
    let book = mirror.licenses();
    let bound = |id: LicenseId| {
        let mut all = book.activations_of(id);
        tenant.is_none_or(|tenant| all.any(|it| it.tenant == Some(tenant)))
    };
    let of_product = |id: &str| product.as_ref().is_none_or(|it| it == id);
    let all =
        book.all_after(part.after).filter(|it| of_product(it.product.as_str()) && bound(it.id));
    let row = |it: &Arc<_>| rows::license(book, it, &public.policy, now);
    Ok(json(StatusCode::OK, bytes(&part.cut(all, |it| it.id, row, "licenses"))))
}

/// Which tenants are bound to which licenses, by id, in parts.
#[utoipa::path(
    get, path = "/v1/activations", tag = "activations",
    params(
        ("license" = Option<String>, Query, description = "Only of this license"),
        ("tenant" = Option<String>, Query, description = "Only of this tenant"),
        ("after" = Option<String>, Query, description = "Behind this id: `next` of the part before"),
        ("limit" = Option<u32>, Query, description = "How many: 100 by default, 1,000 at most"),
    ),
    responses(
        (status = 200, description = "`activations`, each as `activations list` has it, and `next`, if there are more"),
        (status = 422, description = "A parameter cannot be accepted", body = ProblemBody, content_type = "application/problem+json"),
        CallerRefusals,
    ),
    security(("caller_key" = [])),
)]
pub(super) async fn activations(
    State(shared): State<Shared>,
    request: Request,
) -> Result<Response, Problem> {
    let (head, _) = request.into_parts();
    let public = &shared.public;
    public.caller_that_may(Permission::Licenses, &head).await?;
    let part = Part::<ActivationId>::of(&head)?;
    let (license, tenant) =
        (parsed::<LicenseId>(&head, "license")?, parsed::<TenantId>(&head, "tenant")?);
    let mirror = public.store.snapshot();
    let all = mirror.licenses().activations_after(part.after).filter(|it| {
        license.is_none_or(|id| it.license == id) && tenant.is_none_or(|id| it.tenant == Some(id))
    });
    let row = |it: &Arc<_>| rows::activation(it);
    Ok(json(StatusCode::OK, bytes(&part.cut(all, |it| it.id, row, "activations"))))
}

/// A tenant is let go: its place, and the key, are free for another.
#[utoipa::path(
    post, path = "/v1/activations/{id}/remove", tag = "activations",
    params(
        ("id" = String, Path, description = "The activation's id, such as A-7Q2M-…"),
        ("Idempotency-Key" = Option<String>, Header, description = "Remembered for 24 hours: the same request again does nothing and gets the same answer"),
    ),
    request_body = Option<Nothing>,
    responses(
        (status = 200, description = "The activation that was removed"),
        (status = 404, description = "No such activation", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "The idempotency key came with another body", body = ProblemBody, content_type = "application/problem+json"),
        WriteRefusals,
    ),
    security(("caller_key" = [])),
)]
pub(super) async fn remove(
    State(shared): State<Shared>,
    Ids(id): Ids<String>,
    request: Request,
) -> Result<Response, Problem> {
    let (order, _) = read(&shared, request, &format!("activations/{id}/remove")).await?;
    let unknown = |_none| Problem::not_found("there is no activation of this id");
    let row = licenses::unbind(&shared.public.store, id.parse().map_err(unknown)?, order).await?;
    Ok(json(StatusCode::OK, bytes(&row)))
}

/// Its id or key leaked: the license goes on under new ones, and the old ones are worth nothing.
#[utoipa::path(
    post, path = "/v1/licenses/{id}/reissue", tag = "licenses",
    params(
        ("id" = String, Path, description = "The license's id, such as L-7Q2M-…"),
        ("Idempotency-Key" = Option<String>, Header, description = "Remembered for 24 hours: the same request again does nothing and gets the same answer"),
    ),
    request_body = Option<Nothing>,
    responses(
        (status = 200, description = "The new license, with `replaces` and `key`, which is shown once"),
        (status = 404, description = "No such license", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "It was revoked", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "The idempotency key came with another body", body = ProblemBody, content_type = "application/problem+json"),
        WriteRefusals,
    ),
    security(("caller_key" = [])),
)]
pub(super) async fn reissue(
    State(shared): State<Shared>,
    Ids(id): Ids<String>,
    request: Request,
) -> Result<Response, Problem> {
    let (order, _) = read(&shared, request, &format!("licenses/{id}/reissue")).await?;
    let (public, id) = (&shared.public, license(&id)?);
    let row = licenses::reissue(&public.store, &public.policy, id, order).await?;
    Ok(json(StatusCode::OK, bytes(&row)))
}

/// The token to build into a visual's package: it works offline until the next payment date.
#[utoipa::path(
    post, path = "/v1/licenses/{id}/package", tag = "licenses",
    params(("id" = String, Path, description = "The license's id, such as L-7Q2M-…")),
    request_body = Option<Nothing>,
    responses(
        (status = 200, description = "`id` and `token`, a compact JWS"),
        (status = 404, description = "No such license", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "It was revoked or is suspended, or its paid time is over", body = ProblemBody, content_type = "application/problem+json"),
        WriteRefusals,
    ),
    security(("caller_key" = [])),
)]
pub(super) async fn package(
    State(shared): State<Shared>,
    Ids(id): Ids<String>,
    request: Request,
) -> Result<Response, Problem> {
    let (order, _) = read(&shared, request, &format!("licenses/{id}/package")).await?;
    let (public, id) = (&shared.public, license(&id)?);
    let issuer = public.signers.issuer();
    let token = licenses::package(&public.store, &public.catalog, issuer, id, order).await?;
    let row = serde_json::json!({ "id": id.as_str(), "token": token });
    Ok(json(StatusCode::OK, bytes(&row)))
}

fn license(id: &str) -> Result<LicenseId, Problem> {
    id.parse().map_err(|_none| licenses::unknown())
}

/// Licenses to bring in, and how.
#[derive(Deserialize, ToSchema)]
#[schema(as = LicenseImport)]
pub(super) struct ImportBody {
    /// Rows as `licenses export --json` prints them.
    #[schema(value_type = Vec<Object>)]
    licenses: Vec<Map<String, Value>>,
    /// Nothing is written.
    #[serde(default)]
    dry_run: bool,
    /// A license that is here with other values becomes what its row says.
    #[serde(default)]
    replace: bool,
}

/// Licenses are brought in, in one commit; what is here already is left alone, so that again does
/// nothing.
#[utoipa::path(
    post, path = "/v1/licenses/import", tag = "licenses",
    request_body = ImportBody,
    responses(
        (status = 200, description = "`rows`: what each comes to (`new`, `same`, `changed`, `refused`), in their order; `ignored`: fields that mean nothing"),
        (status = 400, description = "The body is no such object", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "The body is larger than 256 KiB: send fewer rows", body = ProblemBody, content_type = "application/problem+json"),
        WriteRefusals,
    ),
    security(("caller_key" = [])),
)]
pub(super) async fn import(
    State(shared): State<Shared>,
    request: Request,
) -> Result<Response, Problem> {
    let (head, body) = request.into_parts();
    let public = &shared.public;
    let caller = public.caller_that_may(Permission::Licenses, &head).await?;
    let bytes_in = body::read(body, &head.headers, body::MANY_BYTES).await?;
    let whole: ImportBody = body::json(&bytes_in)?;
    let rows = (1_u64..).zip(whole.licenses).map(|(line, row)| ImportRow { line, row }).collect();
    let how = ImportHow { dry_run: whole.dry_run, replace: whole.replace };
    let by = (Cause::Caller(Arc::clone(&caller.name)), public.now());
    let done = licenses::import(&public.store, Arc::clone(&public.catalog), rows, how, by).await?;
    Ok(json(StatusCode::OK, bytes(&done)))
}

/// Licenses to move away or back, in parts: what `/v1/licenses/import` takes. Without activation keys.
#[utoipa::path(
    get, path = "/v1/licenses/export", tag = "licenses",
    params(
        ("after" = Option<String>, Query, description = "Behind this id: `next` of the part before"),
        ("limit" = Option<u32>, Query, description = "How many: 100 by default, 1,000 at most"),
    ),
    responses(
        (status = 200, description = "`licenses`, each as `licenses export --json` prints it, and `next`, if there are more"),
        (status = 422, description = "A parameter cannot be accepted", body = ProblemBody, content_type = "application/problem+json"),
        CallerRefusals,
    ),
    security(("caller_key" = [])),
)]
pub(super) async fn export(
    State(shared): State<Shared>,
    request: Request,
) -> Result<Response, Problem> {
    let (head, _) = request.into_parts();
    let public = &shared.public;
    public.caller_that_may(Permission::Licenses, &head).await?;
    let part = Part::<LicenseId>::of(&head)?;
    let mirror = public.store.snapshot();
    let book = mirror.licenses();
    let row = |it: &Arc<_>| licenses::exported(book, it);
    let rows = part.cut(book.all_after(part.after), |it| it.id, row, "licenses");
    Ok(json(StatusCode::OK, bytes(&rows)))
}

/// Users whom a Microsoft-managed seat and a license cover at once: one of the two is paid for
/// nothing.
#[utoipa::path(
    get, path = "/v1/licenses/overlap", tag = "licenses",
    params(
        ("tenant" = Option<String>, Query, description = "Only users of this tenant"),
        ("price" = Option<f64>, Query, description = "What a seat costs a month"),
    ),
    responses(
        (status = 200, description = "`overlaps`, each as `licenses overlap` has it, 10,000 at most; `more` says whether there are others; `paid_twice`: of each tenant and product how many `users` there are of all of them, and with `price` the `amount_a_month`"),
        (status = 422, description = "A parameter cannot be accepted", body = ProblemBody, content_type = "application/problem+json"),
        CallerRefusals,
    ),
    security(("caller_key" = [])),
)]
pub(super) async fn overlap(
    State(shared): State<Shared>,
    request: Request,
) -> Result<Response, Problem> {
    let (head, _) = request.into_parts();
    let public = Arc::clone(&shared.public);
    public.caller_that_may(Permission::Licenses, &head).await?;
    let tenant: Option<TenantId> = parsed(&head, "tenant")?;
    let price = asked(&head, "price").map(|it| amount("price", &it)).transpose()?;
    let answer = apart(move || {
        let (mirror, now) = (public.store.snapshot(), public.now());
        let by = By { mirror: &mirror, catalog: &public.catalog, policy: &public.policy, now };
        let (mut listed, mut twice, mut more) = (Vec::new(), PaidTwice::default(), false);
        let Ok(()) = by.overlaps(tenant, &mut |row| {
            twice.count(&row);
            more |= listed.len() == USERS_MOST;
            if !more {
                listed.push(row);
            }
            Ok::<(), Infallible>(())
        });
        serde_json::json!({ "overlaps": listed, "more": more, "paid_twice": twice.rows(price) })
    });
    Ok(json(StatusCode::OK, bytes(&answer.await?)))
}

/// How a customer moves between Microsoft's seats and a license without a gap: who is covered by what
/// until when, the steps with dates and commands, and who would lose access.
#[utoipa::path(
    get, path = "/v1/licenses/switch-plan", tag = "licenses",
    params(
        ("tenant" = String, Query, description = "The customer's tenant"),
        ("product" = Option<String>, Query, description = "Only this product"),
        ("to" = Option<String>, Query, description = "`license` or `appsource`; without, away from the seats if anybody holds one"),
        ("license" = Option<String>, Query, description = "The license that is meant, while no activation tells"),
        ("price" = Option<f64>, Query, description = "What a seat costs a month"),
    ),
    responses(
        (status = 200, description = "`plans`, each as `licenses switch-plan --json` prints it, with 10,000 users at most"),
        (status = 404, description = "No such product", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "A parameter cannot be accepted", body = ProblemBody, content_type = "application/problem+json"),
        CallerRefusals,
    ),
    security(("caller_key" = [])),
)]
pub(super) async fn switch_plan(
    State(shared): State<Shared>,
    request: Request,
) -> Result<Response, Problem> {
    let (head, _) = request.into_parts();
    let public = Arc::clone(&shared.public);
    public.caller_that_may(Permission::Licenses, &head).await?;
    let query = SwitchQuery::of(|name| asked(&head, name));
    let wanted = query.read(&public.catalog)?;
    let answer = apart(move || {
        let (mirror, now) = (public.store.snapshot(), public.now());
        let asked = (&wanted, USERS_MOST);
        let plans = licenses::plans(&mirror, &public.catalog, &public.policy, asked, now);
        serde_json::json!({ "plans": plans })
    });
    Ok(json(StatusCode::OK, bytes(&answer.await?)))
}

/// On a thread of its own: it looks at each user of a tenant.
async fn apart(work: impl FnOnce() -> Value + Send + 'static) -> Result<Value, Problem> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Problem::internal("it could not be worked out").because(error))
}
