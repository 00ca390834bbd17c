//! `log` and `log show`.

use reqwest::Method;
use serde_json::Value;

use super::args::{LogArgs, LogCommand};
use super::output::{Column, Printer, moment};
use super::remote::{Pairs, Remote, field, number, pairs, switch};
use super::{Advised, Exit};

/// How a run is shown, here and after `sync`.
pub(super) const COLUMNS: [Column; 12] = [
    Column::text("run", "/run"),
    Column::text("source", "/source"),
    Column::text("tenant", "/tenant"),
    Column::text("trigger", "/trigger"),
    Column::time("started", "/started"),
    Column::state("outcome", "/outcome"),
    Column::number("seen", "/seen"),
    Column::number("added", "/added"),
    Column::number("changed", "/changed"),
    Column::number("removed", "/removed"),
    Column::number("requests", "/requests"),
    Column::text("error", "/error"),
];

/// The order of a run's fields for people.
const ORDER: [&str; 8] =
    ["run", "source", "tenant", "trigger", "started", "ended", "outcome", "error"];

/// Runs `log`.
///
/// # Errors
///
/// As [`Remote::print`].
pub async fn run(remote: &Remote, printer: Printer, args: &LogArgs) -> Result<Exit, anyhow::Error> {
    if let Some(LogCommand::Webhooks(asked)) = args.command {
        return super::webhooks::ledger(remote, printer, asked).await;
    }
    if let Some(LogCommand::Show { run }) = args.command {
        let asked = pairs([("run", Some(run.to_string()))]);
        let take =
            |rows: Vec<Value>| Ok(rows.iter().try_for_each(|it| printer.record(it, &ORDER))?);
        remote.rows(Method::GET, "/log", &asked, take).await?;
        return Ok(Exit::Done);
    }
    let since = args.since.map(|it| it.moment(printer.now()).to_string());
    let asked = pairs([
        ("source", args.source.map(|it| it.to_string())),
        ("tenant", args.tenant.map(|it| it.to_string())),
        ("since", since),
        ("failed", switch(args.failed)),
        ("follow", switch(args.follow)),
    ]);
    if args.follow {
        return follow(remote, printer, ("/log", &asked), told).await;
    }
    remote.print(printer, ("/log", &asked), &COLUMNS, "no such run yet").await?;
    Ok(Exit::Done)
}

/// Prints rows as they come: a line each, since a table has no end then.
///
/// # Errors
///
/// When the daemon stops, and as [`Remote::rows`].
pub(super) async fn follow(
    remote: &Remote,
    printer: Printer,
    (path, asked): (&str, &Pairs),
    line: fn(&Value) -> String,
) -> Result<Exit, anyhow::Error> {
    let print = |rows: Vec<Value>| {
        if printer.is_json() {
            return Ok(printer.rows(&rows, &[], "")?);
        }
        Ok(rows.iter().try_for_each(|it| printer.line(&line(it)))?)
    };
    remote.rows(Method::GET, path, asked, print).await?;
    Err(stopped().into())
}

/// Following ends only with the daemon.
fn stopped() -> Advised {
    Advised {
        what: "the daemon stopped: there is nothing more to follow".to_owned(),
        next: "follow again once it runs (systemctl status entitled)".to_owned(),
        exit: Exit::Failed,
        because: None,
    }
}

fn told(row: &Value) -> String {
    let word = |name: &str| field(row, name).to_owned();
    let tenant = Some(word("/tenant")).filter(|it| !it.is_empty());
    let of = tenant.map(|it| format!(" of {it}")).unwrap_or_default();
    let error = Some(word("/error")).filter(|it| !it.is_empty());
    let error = error.map(|it| format!(": {it}")).unwrap_or_default();
    format!(
        "{} {} {}{of} ({}) {}, {} seen, {} added, {} changed, {} removed{error}",
        moment(field(row, "/ended")),
        word("/run"),
        word("/source"),
        word("/trigger"),
        word("/outcome"),
        number(row, "/seen"),
        number(row, "/added"),
        number(row, "/changed"),
        number(row, "/removed"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_run_reads_as_one_line() {
        let row = json!({
            "run": "r7", "source": "directory", "tenant": "t1", "trigger": "schedule",
            "ended": "2026-11-22T02:00:00Z", "outcome": "failed", "seen": 3, "added": 0,
            "changed": 0, "removed": 0, "error": "no consent",
        });
        assert_eq!(
            told(&row),
            "2026-11-22 02:00:00Z r7 directory of t1 (schedule) failed, 3 seen, 0 added, \
             0 changed, 0 removed: no consent"
        );
    }
}
