//! `config check` and `config show`.

use std::path::Path;

use serde_json::{Value, json};

use super::args::ConfigCommand;
use super::output::{Column, Printer};
use super::{Exit, environment};
use crate::config::{Config, ConfigError, Finding, Loaded, Setting};

/// Runs `config check` or `config show`.
///
/// # Errors
///
/// There is no configuration (exit code 2), or standard output cannot be written.
pub fn run(command: ConfigCommand, path: &Path, json: bool) -> Result<Exit, anyhow::Error> {
    let loaded = Config::load(path, environment());
    let printer = Printer::stdout(json);
    match command {
        ConfigCommand::Check if json => check_as_json(loaded, &printer),
        ConfigCommand::Check => check(loaded?, path, &printer),
        ConfigCommand::Show => show(&loaded?, &printer),
    }
}

fn check(loaded: Loaded, path: &Path, printer: &Printer) -> Result<Exit, anyhow::Error> {
    printer.line(&format!("ok: {}", path.display()))?;
    for finding in loaded.warnings {
        printer.line(&format!("  warning: {finding}"))?;
    }
    Ok(Exit::Done)
}

/// For programs everything is on standard output, problems included.
fn check_as_json(
    loaded: Result<Loaded, ConfigError>,
    printer: &Printer,
) -> Result<Exit, anyhow::Error> {
    let rows = |level: &'static str, findings: Vec<Finding>| {
        findings.into_iter().map(move |it| {
            json!({"level": level, "key": it.key, "origin": it.origin.to_string(), "message": it.message})
        })
    };
    let (rows, exit): (Vec<Value>, _) = match loaded {
        Ok(it) => (rows("warning", it.warnings).collect(), Exit::Done),
        Err(ConfigError::Invalid { problems, warnings, .. }) => {
            (rows("problem", problems).chain(rows("warning", warnings)).collect(), Exit::Usage)
        }
        Err(error @ (ConfigError::Unreadable { .. } | ConfigError::Syntax { .. })) => {
            return Err(error.into());
        }
    };
    printer.rows(&rows, &[], "")?;
    Ok(exit)
}

fn show(loaded: &Loaded, printer: &Printer) -> Result<Exit, anyhow::Error> {
    let row =
        |it: &Setting| json!({"key": it.key, "value": it.value, "origin": it.origin.to_string()});
    let rows: Vec<Value> = loaded.settings.iter().map(row).collect();
    let columns = [
        Column::text("key", "/key"),
        Column::text("value", "/value"),
        Column::text("origin", "/origin"),
    ];
    printer.rows(&rows, &columns, "there is nothing to show")?;
    Ok(Exit::Done)
}
