//! `doctor`: live checks of the configuration, the disk, the clock and everything upstream, one line
//! each, with what to do next.

use reqwest::Method;
use serde_json::{Value, json};

use super::Exit;
use super::output::Printer;
use super::remote::{Pairs, Remote, field};
use crate::config::Loaded;

/// Runs `doctor`. Exit code 1 if a check failed; warnings are none.
///
/// # Errors
///
/// As [`Remote::rows`], or standard output cannot be written.
pub(super) async fn run(
    remote: &Remote,
    printer: Printer,
    loaded: &Loaded,
) -> Result<Exit, anyhow::Error> {
    let mut failed = 0_usize;
    let mut show = |row: &Value| -> Result<(), anyhow::Error> {
        failed = failed.saturating_add(usize::from(field(row, "/state") == "failed"));
        if printer.is_json() {
            printer.rows(std::slice::from_ref(row), &[], "")?;
        } else {
            printer.line(&in_words(row))?;
        }
        Ok(())
    };
    for row in configuration(loaded) {
        show(&row)?;
    }
    let take = |rows: Vec<Value>| rows.iter().try_for_each(&mut show);
    remote.rows(Method::GET, "/doctor", &Pairs::new(), take).await?;
    Ok(if failed == 0 { Exit::Done } else { Exit::Failed })
}

/// What the file on disk says; the daemon was started with what it said then.
fn configuration(loaded: &Loaded) -> Vec<Value> {
    let mut rows: Vec<Value> = loaded
        .warnings
        .iter()
        .map(|it| {
            json!({"check": format!("configuration ({})", it.key), "state": "warning",
                   "found": it.message, "next": "change it in the file, then restart entitled"})
        })
        .collect();
    if rows.is_empty() {
        let found = "read and found to be sound";
        rows.push(json!({"check": "configuration", "state": "ok", "found": found, "next": null}));
    }
    rows
}

/// `ok       store: takes writes`, and on a line of its own what to do next.
fn in_words(row: &Value) -> String {
    let next = field(row, "/next");
    let next = if next.is_empty() { String::new() } else { format!("\n         next: {next}") };
    format!("{:<8} {}: {}{next}", field(row, "/state"), field(row, "/check"), field(row, "/found"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_is_a_line_and_what_to_do_next_is_another() {
        let fine = json!({"check": "store", "state": "ok", "found": "takes writes", "next": null});
        assert_eq!(in_words(&fine), "ok       store: takes writes");
        let ill = json!({"check": "clock", "state": "failed", "found": "off", "next": "set it"});
        assert_eq!(in_words(&ill), "failed   clock: off\n         next: set it");
    }
}
