//! Partner Center: the licence report, from its analytics API or by hand as a file.
//!
//! The API makes reports in the background: a *query* over a *data set* is run by a *report*, once or
//! again and again, and each *execution* leaves a file behind a link. What is there is found by name, so
//! that a run that was cut off is gone on with.
//!
//! Source: `visuals-and-isv.md` section 4.6.

mod call;
mod cell;
mod download;
mod table;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use reqwest::Method;
use serde_json::{Value, json};
use url::Url;

use super::error::{ErrorKind, MicrosoftError};
use super::http::Http;
use super::json;
use super::link::Base;
use super::login::{Resource, Secret, TokenSource};
use super::meter::Meter;
use super::pace::Pace;

use self::call::{Call, member, words};
pub use self::cell::{separator, separator_said};
use self::table::Column;
pub use self::table::{
    LicenceRow, LicenceTable, NoLicenceTable, OddRow, REPORT_ROWS_MAX, licence_table,
};

/// How large a report may be, in bytes.
pub const REPORT_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What the token is for.
const SCOPE: &str = "https://api.partnercenter.microsoft.com/.default";
/// Where the API's paths lie.
const INSIDE: &[&str] = &["/insights/"];
/// Where reports lie, on a host that stands in for Partner Center.
const ANYWHERE: &[&str] = &["/"];
/// The version that is supported since 30 June 2024.
const ROOT: &str = "/insights/v1.1/cmp";

/// The start of a schedule must be at least four hours ahead; a little more for clocks that differ.
const START_AHEAD: jiff::SignedDuration = jiff::SignedDuration::from_mins(4 * 60 + 30);
/// The hours that may lie between two executions.
const INTERVAL_HOURS: (i64, i64) = (4, 2160);
/// How long one schedule lasts at most, and how often it may run; what Microsoft allows is not known.
const SCHEDULE_HOURS: i64 = 90 * 24;
const RECURRENCES_MAX: i64 = 180;
/// A schedule with so few executions left is made anew.
const RECURRENCES_LOW: u64 = 2;

/// The client of the analytics API.
pub struct PartnerCenter {
    base: Base,
    /// Where a report lies whose link leads to none of `report_hosts`.
    files: Base,
    /// Hosts, or what hosts end with, that reports may be fetched from as their links say.
    report_hosts: Vec<String>,
    http: Http,
    pace: Pace,
    tokens: Arc<TokenSource>,
    resource: Resource,
}

/// What licences can be asked by: the text of a query of our own, or one of Microsoft's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LicenceQuery {
    /// This text.
    Own {
        /// In the API's query language.
        text: String,
        /// Whether it names licences however old.
        whole: bool,
    },
    /// A query that Microsoft keeps.
    System {
        /// Its id, which need not be a GUID.
        id: String,
    },
}

/// A query that is kept in Partner Center.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedQuery {
    /// Its id.
    pub id: String,
    /// Its text.
    pub text: String,
}

/// A report as Partner Center keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportJob {
    /// Its id.
    pub id: String,
    /// The query it runs.
    pub query: String,
    /// Whether it will run.
    pub active: bool,
    /// How many more executions there will be, if it is told.
    pub remaining: Option<u64>,
}

impl ReportJob {
    /// Whether it goes on running this query, as far as it says itself or its latest execution does.
    pub fn goes_on(&self, query: &str, latest: Option<&Execution>) -> bool {
        let said = [latest.and_then(|it| it.remaining), self.remaining];
        let left = said.into_iter().flatten().min().is_none_or(|it| it > RECURRENCES_LOW);
        self.active && left && self.query.eq_ignore_ascii_case(query)
    }
}

/// When a report is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recurrence {
    /// Once, at once. Five times an hour at most.
    Now,
    /// Again and again.
    Every(jiff::SignedDuration),
}

/// The latest execution of a report.
#[derive(Clone, Debug)]
pub struct Execution {
    /// Where its file lies, once it is completed: secret, for whoever has it may read.
    link: Option<Secret>,
    /// When the file was made.
    pub generated: Option<Timestamp>,
    /// How many more executions there will be, if it is told.
    ///
    /// Source: visuals-and-isv.md section 4.6.
    pub remaining: Option<u64>,
}

impl Execution {
    /// Whether its file is there.
    pub fn is_completed(&self) -> bool {
        self.link.is_some()
    }
}

impl PartnerCenter {
    pub(super) fn new(
        url: Url,
        report_hosts: Vec<String>,
        http: Http,
        pace: Pace,
        tokens: Arc<TokenSource>,
    ) -> Self {
        let resource = Resource { scope: SCOPE.into(), by_roles: false };
        let files = Base::new(url.clone(), ANYWHERE);
        Self { base: Base::new(url, INSIDE), files, report_hosts, http, pace, tokens, resource }
    }

    /// What licences can be asked by; `None` when Partner Center offers no data set of them. Names
    /// are found, not known: which data set has licences is nowhere documented.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Consent`] when Partner Center does not know our app; what the token endpoint says;
    /// transient trouble that outlasted the retries.
    pub async fn licence_query(
        &self,
        meter: &Meter,
    ) -> Result<Option<LicenceQuery>, MicrosoftError> {
        let sets = self.rows(meter, "GET /ScheduledDataset", "/ScheduledDataset", &[]).await?;
        let own = sets.iter().find_map(own_query);
        if own.is_some() {
            return Ok(own);
        }
        let only = [("includeOnlySystemQueries", "true")];
        let queries = self.rows(meter, "GET /ScheduledQueries", "/ScheduledQueries", &only).await?;
        Ok(queries.iter().find_map(system_query))
    }

    /// The query of this name that our app keeps.
    ///
    /// # Errors
    ///
    /// As [`Self::licence_query`].
    pub async fn query(
        &self,
        meter: &Meter,
        name: &str,
    ) -> Result<Option<SavedQuery>, MicrosoftError> {
        let asked = [("queryName", name), ("includeSystemQueries", "false")];
        let rows = self.rows(meter, "GET /ScheduledQueries", "/ScheduledQueries", &asked).await?;
        Ok(rows.iter().filter(|it| words(it, "name") == Some(name)).find_map(saved_query))
    }

    /// Keeps a query.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Rejected`] when Partner Center keeps as many as it does, or does not take it;
    /// otherwise as [`Self::licence_query`].
    pub async fn create_query(
        &self,
        meter: &Meter,
        name: &str,
        text: &str,
    ) -> Result<SavedQuery, MicrosoftError> {
        const ENDPOINT: &str = "POST /ScheduledQueries";
        let body = json!({"Name": name, "Description": "made by entitled", "Query": text});
        let rows = self.made(meter, ENDPOINT, "/ScheduledQueries", &body).await?;
        rows.iter().find_map(saved_query).ok_or_else(|| unlike(ENDPOINT))
    }

    /// The report of this name.
    ///
    /// # Errors
    ///
    /// As [`Self::licence_query`].
    pub async fn report(
        &self,
        meter: &Meter,
        name: &str,
    ) -> Result<Option<ReportJob>, MicrosoftError> {
        let asked = [("reportName", name)];
        let rows = self.rows(meter, "GET /ScheduledReport", "/ScheduledReport", &asked).await?;
        Ok(rows.iter().filter(|it| words(it, "reportName") == Some(name)).find_map(report_job))
    }

    /// Has a report made.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Throttled`] when as many were made in the last hour as may be;
    /// otherwise as [`Self::create_query`].
    pub async fn create_report(
        &self,
        meter: &Meter,
        name: &str,
        query: &str,
        when: Recurrence,
    ) -> Result<ReportJob, MicrosoftError> {
        const ENDPOINT: &str = "POST /ScheduledReport";
        let body = new_report(name, query, when, self.pace.now());
        let rows = self.made(meter, ENDPOINT, "/ScheduledReport", &body).await?;
        rows.iter().find_map(report_job).ok_or_else(|| unlike(ENDPOINT))
    }

    /// Removes a report with its executions; one that is gone already is no error.
    ///
    /// # Errors
    ///
    /// As [`Self::licence_query`].
    pub async fn delete_report(&self, meter: &Meter, id: &str) -> Result<(), MicrosoftError> {
        let path = format!("/ScheduledReport/{}", segment(id));
        let call = Call::new("DELETE /ScheduledReport/{id}", Method::DELETE, &path);
        self.call(meter, &call).await.map(drop)
    }

    /// The latest execution of a report that has ended; `None` before the first one, for which
    /// Partner Center answers 404.
    ///
    /// # Errors
    ///
    /// As [`Self::licence_query`].
    pub async fn latest_execution(
        &self,
        meter: &Meter,
        report: &str,
    ) -> Result<Option<Execution>, MicrosoftError> {
        let path = format!("/ScheduledReport/execution/{}", segment(report));
        let asked = [("getLatestExecution", "true")];
        let rows = self.rows(meter, "GET /ScheduledReport/execution/{id}", &path, &asked).await?;
        Ok(rows.iter().filter_map(execution).max_by_key(|it| it.generated))
    }

    /// Waits, as long as it is worth while before a report is looked at again.
    pub async fn wait(&self, wait: Duration) {
        self.pace.wait(wait).await;
    }
}

/// A query over a data set, if it is one of licences that says whose and of what.
fn own_query(set: &Value) -> Option<LicenceQuery> {
    let name = words(set, "datasetName").filter(|it| is_of_licences(it) && is_name(it))?;
    let names = |key| member(set, key).and_then(Value::as_array).into_iter().flatten();
    let known: Vec<&str> = names("selectableColumns")
        .chain(names("availableMetrics"))
        .filter_map(Value::as_str)
        .filter(|it| is_name(it) && Column::of(it).is_some())
        .collect();
    if !has_key(known.iter().copied()) {
        return None;
    }
    let ranges: Vec<String> = names("availableDateRanges")
        .filter_map(Value::as_str)
        .map(str::to_ascii_uppercase)
        .collect();
    let longest = ["LIFETIME", "LAST_1_YEAR", "LAST_365_DAYS", "LAST_6_MONTHS"];
    let span = longest.into_iter().find(|it| ranges.iter().any(|range| range == it));
    let over = span.map(|it| format!(" TIMESPAN {it}")).unwrap_or_default();
    let text = format!("SELECT {} FROM {name}{over}", known.join(","));
    Some(LicenceQuery::Own { text, whole: span == Some("LIFETIME") })
}

/// A query of Microsoft's over a data set of licences that says whose and of what.
fn system_query(query: &Value) -> Option<LicenceQuery> {
    let text = words(query, "query")?;
    let at = text.to_ascii_uppercase().find(" FROM ")?;
    let (columns, rest) = text.split_at(at);
    let set = rest.split_whitespace().nth(1)?;
    let columns = columns.trim().get("SELECT".len()..)?;
    let names = columns.split(',').map(|it| it.trim().trim_start_matches("DISTINCT ").trim());
    let fits = is_of_licences(set) && has_key(names);
    let id = words(query, "queryId")?.to_owned();
    fits.then_some(LicenceQuery::System { id })
}

fn is_of_licences(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    lower.contains("licen")
}

/// Whether a name can stand in a query as it is.
fn is_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|it| it.is_ascii_alphanumeric() || it == '_')
}

/// Whether the columns without which no row means anything are among these.
fn has_key<'a>(names: impl Iterator<Item = &'a str>) -> bool {
    let found: Vec<Column> = names.filter_map(Column::of).collect();
    found.contains(&Column::Tenant) && found.contains(&Column::Service)
}

fn saved_query(row: &Value) -> Option<SavedQuery> {
    let text = words(row, "query").unwrap_or_default().to_owned();
    Some(SavedQuery { id: words(row, "queryId")?.to_owned(), text })
}

fn report_job(row: &Value) -> Option<ReportJob> {
    let status = words(row, "reportStatus").unwrap_or("Active");
    Some(ReportJob {
        id: words(row, "reportId")?.to_owned(),
        query: words(row, "queryId").unwrap_or_default().to_owned(),
        active: status.eq_ignore_ascii_case("active"),
        remaining: remaining(row),
    })
}

/// How many more executions there will be. What the field is called is not documented.
fn remaining(row: &Value) -> Option<u64> {
    let names = ["remainingRecurrenceCount", "remainingRecurrence", "recurrenceCountRemaining"];
    names.iter().find_map(|it| member(row, it)?.as_u64())
}

fn execution(row: &Value) -> Option<Execution> {
    let status = words(row, "executionStatus")?;
    let link = words(row, "reportAccessSecureLink").filter(|it| !it.is_empty());
    let completed = status.eq_ignore_ascii_case("completed");
    let generated = member(row, "reportGeneratedTime");
    let generated = generated.and_then(|it| json::moment(&json!({ "at": it }), "at"));
    let (link, remaining) = (link.filter(|_| completed).map(Secret::new), remaining(row));
    Some(Execution { link, generated, remaining })
}

/// The body that has a report made. Version 1.1 wants a count with every schedule.
fn new_report(name: &str, query: &str, when: Recurrence, now: Timestamp) -> Value {
    let mut body = json!({
        "ReportName": name, "Description": "made by entitled", "QueryId": query, "Format": "csv",
    });
    let more = match when {
        Recurrence::Now => json!({"ExecuteNow": true}),
        Recurrence::Every(every) => {
            let (least, most) = INTERVAL_HOURS;
            let hours = every.as_hours().clamp(least, most);
            let count = (SCHEDULE_HOURS / hours).clamp(1, RECURRENCES_MAX);
            let start = now.checked_add(START_AHEAD).unwrap_or(Timestamp::MAX);
            json!({
                "StartTime": start.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
                "RecurrenceInterval": hours,
                "RecurrenceCount": count,
            })
        }
    };
    if let (Value::Object(body), Value::Object(more)) = (&mut body, more) {
        body.extend(more);
    }
    body
}

/// An id as a segment of a path: Partner Center's ids are no GUIDs, but plain.
fn segment(id: &str) -> String {
    id.chars().filter(|it| it.is_ascii_alphanumeric() || matches!(it, '-' | '_')).collect()
}

fn unlike(endpoint: &str) -> MicrosoftError {
    let what = format!("Partner Center's answer ({endpoint}) lacks what it should hold");
    MicrosoftError::new(ErrorKind::Unreadable, what)
}

#[cfg(test)]
mod tests;
