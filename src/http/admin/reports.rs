//! `reports`: the licence report against deals and Graph, brought in by hand, and deals.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{ConnectInfo, Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router};
use jiff::Timestamp;
use jiff::civil::Date;
use serde::Deserialize;
use serde_json::{Value, json};

use super::socket::Operator;
use super::{Admin, Shared, lines, needed, parsed, rows, unreadable};
use crate::domain::{Deal, DealId, Mirror, ProductId, SourceKey, TenantId};
use crate::http::body;
use crate::http::ids::Ids;
use crate::http::problem::Problem;
use crate::sync::reports::{
    Compared, DealWish, ImportError, Imported, Put, REPORT_BYTES_MAX, Sums, compare, day,
};

/// Rows that nobody understood are named up to here; all are counted.
const ODD_NAMED_MAX: usize = 1000;

/// The routes of this file.
pub(super) fn routes() -> Router<Arc<Admin>> {
    Router::new()
        .route("/reports", get(list))
        .route("/reports/import", post(import))
        .route("/reports/deals", get(deals).post(add_deal))
        .route("/reports/deals/{id}/remove", post(remove_deal))
}

/// What is said of a file.
#[derive(Deserialize)]
struct ImportQuery {
    /// When it was downloaded; now, if it is not said.
    as_of: Option<String>,
    /// Whether what it lacks is gone.
    #[serde(default)]
    whole: bool,
}

/// The body is the file.
async fn import(
    State(admin): Shared,
    Query(query): Query<ImportQuery>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let as_of: Option<Timestamp> = parsed("as_of", query.as_of.as_deref())?;
    let as_of = as_of.unwrap_or_else(|| admin.now());
    let bytes = body::read(body, &headers, REPORT_BYTES_MAX).await?;
    let imported = admin.sync.import_report(bytes, as_of, query.whole).await;
    let imported = imported.map_err(|error| match error {
        ImportError::NoReport(why) => {
            Problem::invalid(format!("this is no licence report: {why}")).of_field("file")
        }
        ImportError::Store(error) => unreadable(error),
    })?;
    Ok(Json(imported_row(&imported)))
}

/// The run, and what only a report has.
fn imported_row(it: &Imported) -> Value {
    let mut row = rows::run(&it.run);
    let odd = it.odd.iter().take(ODD_NAMED_MAX);
    let odd: Vec<Value> = odd.map(|(line, why)| json!({"line": line, "why": why})).collect();
    if let Value::Object(row) = &mut row {
        row.insert("tenants".to_owned(), it.tally.tenants.into());
        row.insert("unchanged".to_owned(), it.tally.unchanged.into());
        row.insert("older".to_owned(), it.tally.older.into());
        row.insert("odd_rows".to_owned(), odd.into());
        row.insert("ignored_columns".to_owned(), json!(it.ignored));
    }
    row
}

/// Which plans in tenants are asked for.
#[derive(Deserialize)]
struct ReportsQuery {
    tenant: Option<String>,
    product: Option<String>,
    /// Only those of which somebody should look at a difference.
    #[serde(default)]
    differences: bool,
}

/// A row for each plan in each tenant that the report, a deal or Graph names.
async fn list(
    State(admin): Shared,
    Query(query): Query<ReportsQuery>,
) -> Result<Response, Problem> {
    let tenant: Option<TenantId> = parsed("tenant", query.tenant.as_deref())?;
    if let Some(product) = &query.product {
        super::product(&admin.catalog, product)?;
    }
    let seats = admin.seats.now().await;
    let (mirror, now) = (admin.store.snapshot(), admin.now());
    Ok(lines::rows(move |sink| {
        let all = compare(&mirror, &admin.catalog, &seats, day(now));
        let wanted = all.iter().filter(|it| {
            let product = it.product.as_ref().map(ProductId::as_str);
            tenant.is_none_or(|tenant| it.tenant == tenant)
                && query.product.as_deref().is_none_or(|wanted| product == Some(wanted))
                && (!query.differences || it.differs())
        });
        wanted.into_iter().try_for_each(|it| sink.row(&compared_row(it)))
    }))
}

fn compared_row(it: &Compared) -> Value {
    let (report, graph) = (it.report.as_ref(), it.graph.as_ref());
    let count = |it: Option<u64>| it.map_or(Value::Null, Value::from);
    json!({
        "tenant": it.tenant.to_string(),
        "name": it.name.as_deref(),
        "product": rows::text(it.product.as_ref()),
        "service_id": *it.service_id,
        "provisioned": count(report.and_then(|it| it.provisioned)),
        "assigned": count(report.and_then(|it| it.assigned)),
        "state": report.and_then(|it| it.state.as_deref()),
        "sku_names": report.map(|it| it.sku_names.iter().map(|it| &**it).collect::<Vec<_>>()),
        "reported_at": rows::time(report.map(|it| it.reported_at)),
        "origin": rows::text(report.map(|it| it.origin)),
        "deals": count(it.dealt),
        "graph_bought": count(graph.map(|it| it.bought)),
        "graph_assigned": count(graph.map(|it| it.assigned)),
        "graph_users": count(graph.map(|it| it.users)),
        "agrees": !it.differs(),
        "differences": it.differences.iter().map(|it| it.as_str()).collect::<Vec<_>>(),
        "means": it.differences.iter().map(|it| it.meaning()).collect::<Vec<_>>(),
    })
}

/// The report in `status`; `null` before there was one, or a deal.
pub(super) fn status(admin: &Admin, mirror: &Mirror) -> Value {
    let state = mirror.source(SourceKey::REPORTS);
    let deals = mirror.deals().count();
    if state.is_none() && deals == 0 {
        return Value::Null;
    }
    let sums = Sums::of(&compare(mirror, &admin.catalog, &admin.seats.latest(), day(admin.now())));
    let differences: serde_json::Map<String, Value> =
        sums.by_difference.iter().map(|(it, count)| (it.to_string(), (*count).into())).collect();
    let sum = |of: fn(&crate::sync::reports::ProductSums) -> u64| {
        sums.by_product.values().map(of).fold(0, u64::saturating_add)
    };
    json!({
        "as_of": rows::time(state.and_then(|it| it.last_complete)),
        "tenants": mirror.reported().count(),
        "compared": sums.compared,
        "differing": sums.differing,
        "differences": differences,
        "provisioned": sum(|it| it.provisioned),
        "assigned": sum(|it| it.assigned),
        "graph_bought": sum(|it| it.bought),
        "graph_assigned": sum(|it| it.graph_assigned),
        "deals": deals,
    })
}

async fn deals(State(admin): Shared) -> Response {
    let mirror = admin.store.snapshot();
    let today = day(admin.now());
    lines::all(mirror.deals().map(|it| deal_row(it, today)))
}

/// A deal as it is typed.
#[derive(Deserialize)]
struct DealQuery {
    tenant: String,
    plan: String,
    licences: String,
    starts: Option<String>,
    ends: Option<String>,
    source: String,
}

async fn add_deal(
    State(admin): Shared,
    Query(query): Query<DealQuery>,
    ConnectInfo(operator): ConnectInfo<Operator>,
) -> Result<Json<Value>, Problem> {
    let wish = DealWish {
        tenant: needed("tenant", &query.tenant)?,
        service_id: needed("plan", &query.plan)?,
        licences: needed("licences", &query.licences)?,
        starts: parsed("starts", query.starts.as_deref())?,
        ends: parsed("ends", query.ends.as_deref())?,
        source: query.source.trim().into(),
    };
    let wrong =
        |field, why: &str| Err(Problem::invalid(format!("`{field}`: {why}")).of_field(field));
    if wish.source.is_empty() || wish.source.len() > 200 {
        return wrong("source", "say in at most 200 characters where the deal stands");
    }
    if wish.licences == 0 {
        return wrong("licences", "a deal has at least one; `deal remove` takes one away");
    }
    if wish.starts.zip(wish.ends).is_some_and(|(starts, ends)| ends < starts) {
        return wrong("ends", "it is before the contract starts");
    }
    let (deal, put) = admin.sync.put_deal(wish, operator.cause()).await.map_err(unreadable)?;
    let mut row = deal_row(&deal, day(admin.now()));
    if let Value::Object(row) = &mut row {
        row.insert("outcome".to_owned(), Put::as_str(put).into());
    }
    Ok(Json(row))
}

async fn remove_deal(
    State(admin): Shared,
    Ids(id): Ids<String>,
    ConnectInfo(operator): ConnectInfo<Operator>,
) -> Result<Json<Value>, Problem> {
    let id: DealId = needed("id", &id)?;
    let removed = admin.sync.remove_deal(id, operator.cause()).await.map_err(unreadable)?;
    let missing = || Problem::not_found(format!("there is no deal {id}"));
    removed.map(|it| Json(deal_row(&it, day(admin.now())))).ok_or_else(missing)
}

fn deal_row(it: &Deal, today: Date) -> Value {
    let state = match (it.has_begun(today), it.is_over(today)) {
        (_, true) => "over",
        (false, false) => "begins",
        (true, false) => "runs",
    };
    json!({
        "id": it.id.to_string(),
        "tenant": it.tenant.to_string(),
        "service_id": it.service_id.as_str(),
        "licences": it.licences,
        "starts": rows::text(it.starts),
        "ends": rows::text(it.ends),
        "source": it.reference.as_deref(),
        "state": state,
        "entered": it.entered.to_string(),
    })
}
