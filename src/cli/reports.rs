//! `reports`: the licence report, brought in by hand.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::Value;

use super::args::{Since, since};
use super::output::Printer;
use super::remote::{Remote, field, number, pairs, switch};
use super::{Advised, Exit};
use crate::sync::reports::REPORT_BYTES_MAX;

/// `reports`.
#[derive(Clone, Debug, Subcommand)]
pub enum ReportsCommand {
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

/// Runs `reports`.
///
/// # Errors
///
/// The file cannot be read or is no licence report, or as [`Remote::one`].
pub async fn run(
    remote: &Remote,
    printer: Printer,
    command: &ReportsCommand,
) -> Result<Exit, anyhow::Error> {
    match command {
        ReportsCommand::Import(args) => import(remote, printer, args).await,
    }
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
