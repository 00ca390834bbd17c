//! `reports`: the licence report against deals and Graph, brought in by hand, and deals.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use jiff::civil::Date;
use reqwest::Method;
use serde_json::Value;

use super::args::{Since, since};
use super::output::{Column, Printer};
use super::remote::{Pairs, Remote, field, number, pairs, switch};
use super::{Advised, Exit};
use crate::domain::{DealId, ProductId, ServiceId, TenantId};
use crate::sync::reports::REPORT_BYTES_MAX;

/// `reports`.
#[derive(Clone, Debug, Args)]
pub struct ReportsArgs {
    /// What else to do.
    #[command(subcommand)]
    pub command: Option<ReportsCommand>,
    /// Only this tenant
    #[arg(long, value_name = "T")]
    pub tenant: Option<TenantId>,
    /// Only plans of this product
    #[arg(long, value_name = "P")]
    pub product: Option<ProductId>,
    /// Only where somebody should look, and what it probably means
    #[arg(long)]
    pub differences: bool,
}

/// The other commands about the licence report.
#[derive(Clone, Debug, Subcommand)]
pub enum ReportsCommand {
    /// Licences of registered deals, for which Partner Center has no API
    #[command(subcommand)]
    Deal(DealCommand),
    /// Take in the License dashboard's CSV (Partner Center, Insights, Download data)
    Import(ImportArgs),
}

/// `reports import`.
#[derive(Clone, Debug, Args)]
pub struct ImportArgs {
    /// The file; `-` for standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// When it was downloaded, if not just now: 2d, 2026-11-01 or 2026-11-01T08:00:00Z
    #[arg(long, value_name = "D", value_parser = since)]
    pub as_of: Option<Since>,
    /// It was downloaded without a filter: what it lacks is gone
    #[arg(long)]
    pub whole: bool,
}

/// `reports deal`.
#[derive(Clone, Debug, Subcommand)]
pub enum DealCommand {
    /// Enter a deal, or its new terms: one of the same tenant, plan and source is changed
    Add(DealArgs),
    /// All deals that were entered
    List,
    /// Remove a deal that was entered
    Remove {
        /// Its number here, such as d-1f2e3d4c
        id: DealId,
    },
}

/// `reports deal add`.
#[derive(Clone, Debug, Args)]
pub struct DealArgs {
    /// The customer's tenant
    #[arg(long, value_name = "T")]
    pub tenant: TenantId,
    /// The plan's Service ID
    #[arg(long, value_name = "SERVICE_ID")]
    pub plan: ServiceId,
    /// How many licences in all, as typed into Partner Center
    #[arg(long, value_name = "N")]
    pub licences: u64,
    /// Where it stands, such as the deal's number in Partner Center
    #[arg(long, value_name = "TEXT")]
    pub source: String,
    /// The contract's first day, such as 2026-11-01
    #[arg(long, value_name = "DAY")]
    pub starts: Option<Date>,
    /// The contract's last day
    #[arg(long, value_name = "DAY")]
    pub ends: Option<Date>,
}

/// Runs `reports`.
///
/// # Errors
///
/// The file cannot be read or is no licence report, or as [`Remote::one`].
pub async fn run(
    remote: &Remote,
    printer: Printer,
    args: &ReportsArgs,
) -> Result<Exit, anyhow::Error> {
    match &args.command {
        None => list(remote, printer, args).await,
        Some(ReportsCommand::Import(args)) => import(remote, printer, args).await,
        Some(ReportsCommand::Deal(command)) => deal(remote, printer, command).await,
    }
}

async fn list(
    remote: &Remote,
    printer: Printer,
    args: &ReportsArgs,
) -> Result<Exit, anyhow::Error> {
    let asked = pairs([
        ("tenant", args.tenant.map(|it| it.to_string())),
        ("product", args.product.as_ref().map(ToString::to_string)),
        ("differences", switch(args.differences)),
    ]);
    let figures = [
        Column::text("tenant", "/tenant"),
        Column::text("name", "/name"),
        Column::text("plan", "/service_id"),
        Column::number("provisioned", "/provisioned"),
        Column::number("deals", "/deals"),
        Column::number("bought (Graph)", "/graph_bought"),
        Column::number("assigned", "/assigned"),
        Column::number("(Graph)", "/graph_assigned"),
        Column::number("users", "/graph_users"),
        Column::ago("reported", "/reported_at"),
    ];
    let mut columns = figures.to_vec();
    columns.push(Column::text("differences", "/differences"));
    if args.differences {
        columns.push(Column::text("which probably means", "/means"));
    }
    let empty = if args.differences {
        "nothing that somebody should look at"
    } else {
        "no licence report yet: `entitled sync reports`, or `entitled reports import FILE`"
    };
    remote.print(printer, ("/reports", &asked), &columns, empty).await?;
    Ok(Exit::Done)
}

async fn deal(
    remote: &Remote,
    printer: Printer,
    command: &DealCommand,
) -> Result<Exit, anyhow::Error> {
    let columns = [
        Column::text("id", "/id"),
        Column::text("tenant", "/tenant"),
        Column::text("plan", "/service_id"),
        Column::number("licences", "/licences"),
        Column::text("starts", "/starts"),
        Column::text("ends", "/ends"),
        Column::text("contract", "/state"),
        Column::text("source", "/source"),
        Column::time("entered", "/entered"),
    ];
    let row = match command {
        DealCommand::List => {
            let empty = "no deal was entered";
            remote.print(printer, ("/reports/deals", &Pairs::new()), &columns, empty).await?;
            return Ok(Exit::Done);
        }
        DealCommand::Add(args) => {
            let asked = pairs([
                ("tenant", Some(args.tenant.to_string())),
                ("plan", Some(args.plan.to_string())),
                ("licences", Some(args.licences.to_string())),
                ("source", Some(args.source.clone())),
                ("starts", args.starts.map(|it| it.to_string())),
                ("ends", args.ends.map(|it| it.to_string())),
            ]);
            remote.one(Method::POST, "/reports/deals", &asked).await?
        }
        DealCommand::Remove { id } => {
            let path = format!("/reports/deals/{id}/remove");
            remote.one(Method::POST, &path, &Pairs::new()).await?
        }
    };
    if printer.is_json() {
        printer.rows(&[row], &[], "")?;
        return Ok(Exit::Done);
    }
    let outcome = Some(field(&row, "/outcome")).filter(|it| !it.is_empty()).unwrap_or("removed");
    let (id, plan) = (field(&row, "/id"), field(&row, "/service_id"));
    printer.line(&format!("{id} {outcome}: {} of {plan}", number(&row, "/licences")))?;
    Ok(Exit::Done)
}

/// The line of `status`; none before there was a report or a deal.
pub(super) fn in_status(status: &Value) -> Vec<String> {
    let Some(report) = status.pointer("/reports").filter(|it| it.is_object()) else {
        return Vec::new();
    };
    let count = |name: &str| number(report, name);
    let as_of = Some(field(report, "/as_of")).filter(|it| !it.is_empty()).unwrap_or("never");
    let mut lines = vec![format!(
        "reports        of {as_of}: {} provisioned, {} assigned in {} tenants; Graph: {} and {}; \
         {} deals",
        count("/provisioned"),
        count("/assigned"),
        count("/tenants"),
        count("/graph_bought"),
        count("/graph_assigned"),
        count("/deals")
    )];
    if count("/differing") > 0 {
        lines.push(format!(
            "reports        {} plans in tenants differ: entitled reports --differences",
            count("/differing")
        ));
    }
    lines
}

async fn import(
    remote: &Remote,
    printer: Printer,
    args: &ImportArgs,
) -> Result<Exit, anyhow::Error> {
    let bytes = read(&args.file)?;
    let asked = pairs([
        ("as_of", args.as_of.map(|it| it.moment(printer.now()).to_string())),
        ("whole", switch(args.whole)),
    ]);
    let row = remote.upload("/reports/import", &asked, bytes).await?;
    if printer.is_json() {
        printer.rows(&[row], &[], "")?;
    } else {
        told(&row, args.whole).iter().try_for_each(|it| printer.line(it))?;
    }
    Ok(Exit::Done)
}

/// The whole file, as far as the daemon would take it.
fn read(path: &Path) -> Result<Vec<u8>, Advised> {
    let stdin = path.as_os_str() == "-";
    let name = if stdin { "standard input".to_owned() } else { path.display().to_string() };
    let failed = |what: String, next: &str, because: Option<io::Error>| Advised {
        what,
        next: next.to_owned(),
        exit: Exit::Failed,
        because: because.map(Into::into),
    };
    let limit = u64::try_from(REPORT_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    let read = if stdin {
        io::stdin().lock().take(limit).read_to_end(&mut bytes)
    } else {
        File::open(path).and_then(|it| it.take(limit).read_to_end(&mut bytes))
    };
    read.map_err(|error| {
        let next = "name the file that Partner Center's License dashboard gave, or - for \
                    standard input";
        failed(format!("cannot read {name}"), next, Some(error))
    })?;
    if bytes.len() > REPORT_BYTES_MAX {
        let what = format!("{name} is larger than {} MiB", REPORT_BYTES_MAX >> 20);
        let next = "download it in parts (by product or country), and import one after the other";
        return Err(failed(what, next, None));
    }
    Ok(bytes)
}

/// What became of the file, for people.
fn told(row: &Value, whole: bool) -> Vec<String> {
    let count = |name: &str| number(row, name);
    let mut lines = vec![format!(
        "run {}: {} rows about {} tenants: {} new, {} changed, {} gone, {} as before",
        field(row, "/run"),
        count("/seen"),
        count("/tenants"),
        count("/added"),
        count("/changed"),
        count("/removed"),
        count("/unchanged")
    )];
    if count("/older") > 0 {
        lines.push(format!("{} of them older than what is known: left as it is", count("/older")));
    }
    if count("/odd") > 0 {
        lines.push(format!(
            "{} rows could not be understood: kept as they came, skipped",
            count("/odd")
        ));
        let odd = row.pointer("/odd_rows").and_then(Value::as_array).into_iter().flatten();
        lines
            .extend(odd.map(|it| format!("  line {}: {}", number(it, "/line"), field(it, "/why"))));
        if whole {
            lines.push("so nothing was taken as gone, although the file is the whole".to_owned());
        }
    }
    let ignored = row.pointer("/ignored_columns").and_then(Value::as_array).into_iter().flatten();
    let ignored: Vec<&str> = ignored.filter_map(Value::as_str).collect();
    if !ignored.is_empty() {
        lines.push(format!("columns not used: {}", ignored.join(", ")));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_import_is_told_with_its_figures_and_the_rows_that_it_skipped() {
        let row = json!({
            "run": "r9", "seen": 4, "tenants": 2, "added": 1, "changed": 1, "removed": 0,
            "unchanged": 1, "older": 0, "odd": 1, "ignored_columns": ["Reseller"],
            "odd_rows": [{"line": 5, "why": "its Tenant ID is no tenant"}],
        });
        assert_eq!(
            told(&row, true),
            [
                "run r9: 4 rows about 2 tenants: 1 new, 1 changed, 0 gone, 1 as before",
                "1 rows could not be understood: kept as they came, skipped",
                "  line 5: its Tenant ID is no tenant",
                "so nothing was taken as gone, although the file is the whole",
                "columns not used: Reseller",
            ]
        );
    }

    #[test]
    fn a_file_that_is_not_there_says_what_to_do() {
        let error = read(Path::new("/nowhere/licences.csv")).unwrap_err();
        assert!(
            error.what.contains("/nowhere/licences.csv")
                && error.next.contains("License dashboard")
        );
        assert!(error.because.is_some());
    }
}
