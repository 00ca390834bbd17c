//! Partner Center's analytics API: data sets, queries, reports, executions, files behind links.
//! Source: visuals-and-isv.md 4.6. The data set of licences has a name of our own making, for
//! Microsoft's is not documented.

use axum::http::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::entra::PARTNER_CENTER;
use super::wire::{Ask, Reply, stamp, stamp_without_zone};
use super::world::tenant::TenantSku;
use super::{World, story};

/// What the data set is called here.
const DATA_SET: &str = "ISVLicenseReport";
const COLUMNS: [&str; 9] = [
    "CustomerName",
    "CustomerCountry",
    "ActivationDate",
    "ProductDisplayName",
    "LicensesProvisioned",
    "SKUName",
    "TenantId",
    "LicenseState",
    "ServiceID",
];
const METRICS: [&str; 1] = ["LicensesAssigned"];

/// Quotas, by the documentation.
const QUERIES_MAX: usize = 100;
const REPORTS_MAX: usize = 50;
const AT_ONCE_AN_HOUR: usize = 5;
const HOUR_S: i64 = 3_600;

/// How often an execution that is under way is asked for before it is done.
const LOOKS: u32 = 2;

/// A query that is kept.
#[derive(Clone, Debug)]
struct Query {
    id: Uuid,
    name: String,
    text: String,
}

/// A report.
#[derive(Clone, Debug)]
struct Report {
    id: Uuid,
    name: String,
    query: Uuid,
    created_s: i64,
    /// When it runs first and how often; `None` for one that is made at once.
    schedule: Option<Schedule>,
    looks: u32,
    signature: Uuid,
}

#[derive(Clone, Copy, Debug)]
struct Schedule {
    start_s: i64,
    interval_h: i64,
    count: i64,
}

/// What our app keeps in Partner Center.
#[derive(Debug, Default)]
pub(crate) struct Analytics {
    queries: Vec<Query>,
    reports: Vec<Report>,
    at_once_s: Vec<i64>,
    hidden: bool,
    files: u32,
    tokens_sent: u32,
}

impl World {
    /// Whether Partner Center offers no data set of licences.
    pub fn hide_licence_data(&mut self, hidden: bool) {
        self.analytics.hidden = hidden;
    }

    /// How many files were fetched, and how often a token of ours came with it.
    pub fn report_files(&self) -> (u32, u32) {
        (self.analytics.files, self.analytics.tokens_sent)
    }

    /// Names of the reports that are kept.
    pub fn kept_reports(&self) -> Vec<String> {
        self.analytics.reports.iter().map(|it| it.name.clone()).collect()
    }
}

/// Everything below `/partner_center`.
pub(crate) fn answer(world: &mut World, ask: &Ask, path: &[&str]) -> Reply {
    if let ["files", file] = path {
        return fetch(world, ask, file);
    }
    if let Some(stumble) = world.stumbles(ask) {
        return stumble.reply();
    }
    let Some(path) = path.strip_prefix(&["insights", "v1.1", "cmp"]) else {
        return Reply::json(404, &json!({"message": "Resource not found."}));
    };
    if !admits(world, ask) {
        return said(401, "Unauthorized").about(story::PUBLISHER_TENANT);
    }
    let reply = match (&ask.method, path) {
        (&Method::GET, ["ScheduledDataset"]) => data_sets(world),
        (&Method::GET, ["ScheduledQueries"]) => queries(world, ask),
        (&Method::POST, ["ScheduledQueries"]) => keep_query(world, ask),
        (&Method::GET, ["ScheduledReport"]) => reports(world, ask),
        (&Method::POST, ["ScheduledReport"]) => make_report(world, ask),
        (&Method::DELETE, ["ScheduledReport", id]) => remove_report(world, id),
        (&Method::GET, ["ScheduledReport", "execution", id]) => execution(world, id),
        _ => Reply::json(404, &json!({"message": "Resource not found."})),
    };
    reply.about(story::PUBLISHER_TENANT)
}

fn admits(world: &World, ask: &Ask) -> bool {
    let claims = ask.bearer().and_then(|token| world.keys().verify(token));
    claims.is_some_and(|it| it.get("aud").and_then(Value::as_str) == Some(PARTNER_CENTER))
}

/// The envelope, in the casing of one page of the documentation.
fn found(rows: &[Value]) -> Reply {
    if rows.is_empty() {
        return said(404, "No item found with given filters");
    }
    let body = json!({"value": rows, "totalCount": rows.len(), "message": null, "statusCode": 200});
    Reply::json(200, &body)
}

/// The envelope, in the casing of another page.
fn made(row: &Value, message: &str) -> Reply {
    let body = json!({"Value": [row], "TotalCount": 1, "Message": message, "StatusCode": 200});
    Reply::json(200, &body)
}

fn said(status: u16, message: &str) -> Reply {
    Reply::json(
        status,
        &json!({"value": null, "totalCount": 0, "message": message, "statusCode": status}),
    )
}

fn data_sets(world: &World) -> Reply {
    let set = |name: &str, columns: &[&str], metrics: &[&str]| {
        json!({
            "datasetName": name, "selectableColumns": columns, "availableMetrics": metrics,
            "availableDateRanges": ["LAST_MONTH", "LAST_6_MONTHS", "LIFETIME"],
        })
    };
    let mut sets = vec![set("ISVOrder", &["AssetId", "OrderStatus", "SKU"], &["Quantity"])];
    if !world.analytics.hidden {
        sets.push(set(DATA_SET, &COLUMNS, &METRICS));
    }
    found(&sets)
}

fn query_row(it: &Query, now_s: i64) -> Value {
    json!({
        "queryId": it.id, "name": it.name, "description": null, "query": it.text,
        "type": "userDefined", "user": "142344300", "createdTime": stamp_without_zone(now_s),
        "modifiedTime": null,
    })
}

fn queries(world: &World, ask: &Ask) -> Reply {
    let is = |name: &str| ask.option(name).is_some_and(|it| it.eq_ignore_ascii_case("true"));
    let system = json!({
        "queryId": "q9df4939-073f-5795-b0cb-v2c81d11e58d", "name": "ISVOrder 6M",
        "query": "SELECT AssetId,OrderStatus FROM ISVOrder TIMESPAN LAST_6_MONTHS",
        "type": "system", "user": "system", "createdTime": stamp(0), "modifiedTime": null,
    });
    if is("includeOnlySystemQueries") {
        return found(&[system]);
    }
    let wanted = |it: &&Query| ask.option("queryName").is_none_or(|name| name == it.name);
    let own = world.analytics.queries.iter().filter(wanted);
    let rows: Vec<Value> = own.map(|it| query_row(it, world.now_s())).collect();
    found(&rows)
}

fn keep_query(world: &mut World, ask: &Ask) -> Reply {
    let body: Value = serde_json::from_slice(&ask.body).unwrap_or_default();
    let text = |name: &str| body.get(name).and_then(Value::as_str).map(str::to_owned);
    let (Some(name), Some(query)) = (text("Name"), text("Query")) else {
        return said(400, "Null or missing value for Name or Query");
    };
    if world.analytics.queries.len() >= QUERIES_MAX {
        return said(400, "Maximum number of queries reached for the user");
    }
    if columns(&query).is_none() {
        return said(400, "Incorrect column name or Invalid table name");
    }
    let kept = Query { id: world.fresh_id(), name, text: query };
    let row = query_row(&kept, world.now_s());
    world.analytics.queries.push(kept);
    made(&row, "Query created successfully")
}

/// The columns that a query over our data set asks for; `None` for any other text.
fn columns(query: &str) -> Option<Vec<&'static str>> {
    let (columns, rest) = query.strip_prefix("SELECT ")?.split_once(" FROM ")?;
    let set = rest.split_whitespace().next()?;
    let known = |name: &str| {
        let mut all = COLUMNS.iter().chain(&METRICS);
        all.find(|it| it.eq_ignore_ascii_case(name.trim())).copied()
    };
    let columns = columns.split(',').map(known).collect::<Option<_>>()?;
    set.eq_ignore_ascii_case(DATA_SET).then_some(columns)
}

fn report_row(it: &Report, text: &str, now_s: i64) -> Value {
    let (interval, count) = it.schedule.map_or((-1, 1), |it| (it.interval_h, it.count));
    let done = it.schedule.map_or(0, |it| it.runs(now_s));
    json!({
        "reportId": it.id, "reportName": it.name, "description": null, "queryId": it.query,
        "query": text, "user": "142344300", "createdTime": stamp(it.created_s),
        "modifiedTime": null, "executeNow": it.schedule.is_none(), "queryStartTime": null,
        "queryEndTime": null, "startTime": stamp(it.schedule.map_or(it.created_s, |it| it.start_s)),
        "reportStatus": if it.schedule.is_some() && done >= count { "Inactive" } else { "Active" },
        "recurrenceInterval": interval, "recurrenceCount": count,
        "callbackUrl": null, "callbackMethod": null, "format": "csv",
    })
}

impl Schedule {
    /// How often it has run by then.
    fn runs(self, now_s: i64) -> i64 {
        let since = now_s - self.start_s;
        if since < 0 { 0 } else { (since / (self.interval_h * HOUR_S) + 1).min(self.count) }
    }
}

fn text_of(world: &World, query: Uuid) -> String {
    let query = world.analytics.queries.iter().find(|it| it.id == query);
    query.map(|it| it.text.clone()).unwrap_or_default()
}

fn reports(world: &World, ask: &Ask) -> Reply {
    let wanted = |it: &&Report| ask.option("reportName").is_none_or(|name| name == it.name);
    let kept = world.analytics.reports.iter().filter(wanted);
    let rows: Vec<Value> =
        kept.map(|it| report_row(it, &text_of(world, it.query), world.now_s())).collect();
    found(&rows)
}

fn make_report(world: &mut World, ask: &Ask) -> Reply {
    let body: Value = serde_json::from_slice(&ask.body).unwrap_or_default();
    let text = |name: &str| body.get(name).and_then(Value::as_str);
    let number = |name: &str| body.get(name).and_then(Value::as_i64);
    let now_s = world.now_s();
    let query = text("QueryId").and_then(|it| it.parse::<Uuid>().ok());
    let query = query.filter(|id| world.analytics.queries.iter().any(|it| it.id == *id));
    let (Some(name), Some(query)) = (text("ReportName"), query) else {
        return said(400, "Invalid QueryId or missing ReportName");
    };
    if name.contains(';') || name.len() > 256 {
        return said(400, "Invalid report parameters for creation - report name");
    }
    if world.analytics.reports.len() >= REPORTS_MAX {
        return said(400, "Maximum number of active reports reached for the user");
    }
    let schedule = if body.get("ExecuteNow") == Some(&Value::Bool(true)) {
        world.analytics.at_once_s.retain(|it| now_s - it < HOUR_S);
        if world.analytics.at_once_s.len() >= AT_ONCE_AN_HOUR {
            return said(400, "Execute now report generation limit exceeded: 5 per 60 min");
        }
        world.analytics.at_once_s.push(now_s);
        None
    } else {
        let start: Option<jiff::Timestamp> = text("StartTime").and_then(|it| it.parse().ok());
        let start_s = start.map(jiff::Timestamp::as_second);
        let start_s = start_s.filter(|it| it - now_s >= 4 * HOUR_S);
        let interval = number("RecurrenceInterval").filter(|it| (4..=2160).contains(it));
        let count = number("RecurrenceCount").filter(|it| *it > 0);
        let (Some(start_s), Some(interval_h), Some(count)) = (start_s, interval, count) else {
            return said(
                400,
                "Invalid report parameters for creation - StartTime at least 4 hours from now, \
                 RecurrenceInterval from 4 to 2160, RecurrenceCount positive",
            );
        };
        Some(Schedule { start_s, interval_h, count })
    };
    let (id, signature) = (world.fresh_id(), world.fresh_id());
    let name = name.to_owned();
    let it = Report { id, name, query, created_s: now_s, schedule, looks: 0, signature };
    let row = report_row(&it, &text_of(world, query), now_s);
    world.analytics.reports.push(it);
    made(&row, "Report created successfully")
}

fn remove_report(world: &mut World, id: &str) -> Reply {
    let reports = &mut world.analytics.reports;
    let Some(at) = reports.iter().position(|it| it.id.to_string() == id) else {
        return said(404, "No item found with given filters");
    };
    let gone = reports.remove(at);
    made(&json!({"reportId": gone.id}), "Report deleted successfully")
}

fn execution(world: &mut World, id: &str) -> Reply {
    let now_s = world.now_s();
    let report = world.analytics.reports.iter_mut().find(|it| it.id.to_string() == id);
    let Some(report) = report else { return said(404, "No item found with given filters") };
    let generated_s = match report.schedule {
        None => {
            report.looks = report.looks.saturating_add(1);
            (report.looks > LOOKS).then_some(now_s)
        }
        Some(it) => {
            (it.runs(now_s) > 0).then(|| it.start_s + (it.runs(now_s) - 1) * it.interval_h * HOUR_S)
        }
    };
    // What is asked for without a status are completed executions: none is 404.
    let Some(generated_s) = generated_s else {
        return said(404, "No executions have occurred for the given report");
    };
    let remaining = report.schedule.map(|it| it.count - it.runs(now_s));
    let (report_id, signature) = (report.id, report.signature);
    let link = format!(
        "https://sandboxreports.blob.core.windows.net/files/{report_id}.csv?sv=2021-08-06&sig={signature}"
    );
    found(&[json!({
        "executionId": signature, "reportId": report_id, "recurrenceInterval": -1,
        "recurrenceCount": 1, "remainingRecurrenceCount": remaining,
        "callbackUrl": null, "format": "csv",
        "executionStatus": "Completed", "reportLocation": "",
        "reportAccessSecureLink": link, "reportExpiryTime": null,
        "reportGeneratedTime": stamp(generated_s),
    })])
}

/// A file: whoever has its link may read, and a token beside it is an error, as Azure Storage has it.
fn fetch(world: &mut World, ask: &Ask, file: &str) -> Reply {
    if ask.header("authorization").is_some() {
        world.analytics.tokens_sent = world.analytics.tokens_sent.saturating_add(1);
        return Reply::raw(
            403,
            "application/xml",
            "<Error><Code>AuthenticationFailed</Code></Error>",
        );
    }
    let signed = |it: &&Report| {
        file == format!("{}.csv", it.id) && ask.option("sig") == Some(&*it.signature.to_string())
    };
    let Some(report) = world.analytics.reports.iter().find(signed).cloned() else {
        return Reply::raw(404, "application/xml", "<Error><Code>BlobNotFound</Code></Error>");
    };
    world.analytics.files = world.analytics.files.saturating_add(1);
    let query = text_of(world, report.query);
    let columns = columns(&query).unwrap_or_default();
    let mut text = columns.join(",") + "\r\n";
    for id in world.tenants() {
        let Some(tenant) = world.tenant(id) else { continue };
        for sku in &tenant.skus {
            let Some(kind) = world.catalog().sku(sku.kind) else { continue };
            for plan in kind.plans.iter().filter(|it| it.is_publishers()) {
                let cell = |name: &&str| cell(name, (id, &tenant.name), sku, &plan.name);
                let cells: Vec<String> = columns.iter().map(cell).collect();
                text.push_str(&cells.join(","));
                text.push_str("\r\n");
            }
        }
    }
    Reply::raw(200, "text/csv", text)
}

fn cell(name: &str, (id, tenant): (Uuid, &str), sku: &TenantSku, service_id: &str) -> String {
    match name {
        "CustomerName" => format!("\"{}\"", tenant.replace('"', "\"\"")),
        "CustomerCountry" => "Austria".to_owned(),
        "ActivationDate" => "3/14/2026 12:00:00 AM".to_owned(),
        "ProductDisplayName" => "Sample".to_owned(),
        "LicensesProvisioned" => sku.units.total().to_string(),
        "LicensesAssigned" => sku.consumed.to_string(),
        "SKUName" => service_id.rsplit('.').next().unwrap_or_default().to_owned(),
        "TenantId" => id.to_string(),
        "LicenseState" => if sku.status == "Enabled" { "Active" } else { "Suspended" }.to_owned(),
        _ => service_id.to_owned(),
    }
}
