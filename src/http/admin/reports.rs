//! `reports`: the licence report, brought in by hand.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::routing::post;
use axum::{Json, Router};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Admin, Shared, parsed, rows, unreadable};
use crate::http::body;
use crate::http::problem::Problem;
use crate::sync::reports::{ImportError, Imported, REPORT_BYTES_MAX};

/// Rows that nobody understood are named up to here; all are counted.
const ODD_NAMED_MAX: usize = 1000;

/// The routes of this file.
pub(super) fn routes() -> Router<Arc<Admin>> {
    Router::new().route("/reports/import", post(import))
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
