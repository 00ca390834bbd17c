//! `subscriptions held`, `confirm` and `dismiss`: changes that wait for an operator's word.

use clap::Subcommand;
use reqwest::Method;
use serde_json::{Value, json};

use super::Exit;
use super::output::{Column, Printer, moment};
use super::remote::{Pairs, Remote, field, number, pairs, switch};

/// What customers ask for, and what becomes of it.
#[derive(Clone, Debug, Subcommand)]
pub enum HeldCommand {
    /// Changes that customers asked for and that wait for an operator, with who would lose what
    Held {
        /// Those that were accepted, refused, dismissed or overruled too
        #[arg(long)]
        all: bool,
    },
    /// Let it happen: the customer's next identical request within 7 days is accepted
    Confirm {
        /// The operation, as `subscriptions held` shows it
        operation: String,
    },
    /// Do not let it happen: the next identical request is held again
    Dismiss {
        /// The operation, as `subscriptions held` shows it
        operation: String,
    },
}

/// Runs one of them.
///
/// # Errors
///
/// As [`Remote::print`].
pub async fn run(
    remote: &Remote,
    printer: Printer,
    command: &HeldCommand,
) -> Result<Exit, anyhow::Error> {
    match command {
        HeldCommand::Held { all } => list(remote, printer, *all).await,
        HeldCommand::Confirm { operation } => {
            let row = decide(remote, operation, "confirm").await?;
            let words = format!(
                "confirmed: the customer's next identical request ({} of {}) within 7 days, until \
                 {}, is accepted; ask the customer to make it again",
                asks(&row),
                field(&row, "/subscription"),
                moment(field(&row, "/accepted_until"))
            );
            say(printer, &row, &words)
        }
        HeldCommand::Dismiss { operation } => {
            let row = decide(remote, operation, "dismiss").await?;
            let words = format!(
                "dismissed: nothing changes, and the next identical request ({} of {}) is held again",
                asks(&row),
                field(&row, "/subscription")
            );
            say(printer, &row, &words)
        }
    }
}

async fn decide(remote: &Remote, operation: &str, word: &str) -> Result<Value, anyhow::Error> {
    // It goes into a path; nothing else can be an operation's id.
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let operation = if operation.chars().all(plain) { operation } else { "-" };
    let path = format!("/subscriptions/held/{operation}/{word}");
    remote.one(Method::POST, &path, &Pairs::new()).await
}

fn say(printer: Printer, row: &Value, words: &str) -> Result<Exit, anyhow::Error> {
    if printer.is_json() {
        printer.record(row, &[])?;
    } else {
        printer.line(words)?;
    }
    Ok(Exit::Done)
}

async fn list(remote: &Remote, printer: Printer, all: bool) -> Result<Exit, anyhow::Error> {
    let asked = pairs([("all", switch(all))]);
    if printer.is_json() {
        remote.print(printer, ("/subscriptions/held", &asked), &[], "").await?;
        return Ok(Exit::Done);
    }
    let mut rows = Vec::new();
    let take = |more: Vec<Value>| {
        rows.extend(more.into_iter().map(readable));
        Ok(())
    };
    remote.rows(Method::GET, "/subscriptions/held", &asked, take).await?;
    let columns = [
        Column::time("at", "/at"),
        Column::text("subscription", "/subscription"),
        Column::text("operation", "/operation"),
        Column::text("asks", "/asked"),
        Column::text("impact", "/impact/words"),
        Column::text("state", "/state"),
    ];
    let empty =
        "no change waits for an operator (marketplace.accept_changes = \"hold\" holds them)";
    printer.rows(&rows, &columns, empty)?;
    Ok(Exit::Done)
}

/// The row with what is asked for in words: `team, 5 seats → enterprise, 5 seats`.
fn readable(mut row: Value) -> Value {
    let words = asks(&row);
    if let Value::Object(row) = &mut row {
        row.insert("asked".to_owned(), json!(words));
    }
    row
}

fn asks(row: &Value) -> String {
    let side = |side: &str| {
        let plan = field(row, &format!("/{side}/plan"));
        match row.pointer(&format!("/{side}/quantity")) {
            Some(Value::Number(_)) => match number(row, &format!("/{side}/quantity")) {
                1 => format!("{plan}, 1 seat"),
                seats => format!("{plan}, {seats} seats"),
            },
            _ => plan.to_owned(),
        }
    };
    format!("{} → {}", side("has"), side("asks"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_reads_as_a_step() {
        let check = |has: Value, asks: Value, words: &str| {
            let row = readable(json!({"has": has, "asks": asks}));
            assert_eq!(row.get("asked"), Some(&json!(words)));
        };
        let flat = json!({"plan": "company", "quantity": null});
        check(flat.clone(), json!({"plan": "team", "quantity": 1}), "company → team, 1 seat");
        check(json!({"plan": "team", "quantity": 5}), flat, "team, 5 seats → company");
    }
}
