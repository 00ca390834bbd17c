//! `log webhooks` and `webhooks`: the ledger of webhooks, and those that were given up.

use clap::{Args, Subcommand, ValueEnum};
use reqwest::Method;
use serde_json::Value;

use super::Exit;
use super::args::{Since, since};
use super::output::{Column, Printer, moment};
use super::remote::{Pairs, Remote, pairs, switch};
use crate::domain::SubscriptionId;

/// `log webhooks`.
#[derive(Clone, Copy, Debug, Args)]
pub struct LedgerArgs {
    /// Only rows of this state, with this outcome, or of which this is true
    #[arg(long, value_name = "S", value_enum)]
    pub state: Option<Word>,
    /// Only what came or was found since then: 90m, 2d, 2026-11-01 or 2026-11-01T08:00:00Z
    #[arg(long, value_name = "D", value_parser = since)]
    pub since: Option<Since>,
    /// Only webhooks of this subscription
    #[arg(long, value_name = "ID")]
    pub subscription: Option<SubscriptionId>,
    /// Go on printing webhooks as they come and as something becomes of them
    #[arg(long)]
    pub follow: bool,
}

/// What rows of the ledger can be asked for by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Word {
    /// To be looked up, or looked up and not over
    Waiting,
    /// Over, whatever came of it
    Done,
    /// Given up: somebody should look
    Dead,
    /// A change that Microsoft announces was found, and no webhook told of it
    Missed,
    /// Refused for their tokens; one row for many
    Forged,
    /// Came long after what it tells, or after we had found it
    Late,
    /// Delivered more than once
    Duplicate,
    /// The subscription differed and was brought up to date
    Changed,
    /// The mirror knew it already
    Known,
    /// Microsoft says something else than the webhook did
    Mismatched,
    /// Microsoft knows no such operation
    UnknownOperation,
}

/// `webhooks`.
#[derive(Clone, Debug, Subcommand)]
pub enum WebhooksCommand {
    /// Those that were given up, and why
    Dead,
    /// One webhook, in full, with its body as it came while it is not done
    Show {
        /// Its id, as `log webhooks` shows it
        id: u64,
    },
    /// Work webhooks that were given up off again; what is not given up stays as it is
    Replay {
        /// Its id
        #[arg(required_unless_present = "all", conflicts_with = "all")]
        id: Option<u64>,
        /// All that were given up
        #[arg(long)]
        all: bool,
    },
}

const COLUMNS: [Column; 10] = [
    Column::time("at", "/at"),
    Column::number("id", "/id"),
    Column::text("action", "/action"),
    Column::text("subscription", "/subscription"),
    Column::state("state", "/state"),
    Column::state("outcome", "/outcome"),
    Column::number("times", "/deliveries"),
    Column::text("answered", "/answered"),
    Column::number("late (s)", "/late_s"),
    Column::text("why", "/why"),
];

const ORDER: [&str; 12] = [
    "id",
    "at",
    "operation",
    "action",
    "subscription",
    "plan",
    "quantity",
    "state",
    "outcome",
    "why",
    "answered",
    "late_s",
];

/// Runs `log webhooks`.
///
/// # Errors
///
/// As [`Remote::print`].
pub async fn ledger(
    remote: &Remote,
    printer: Printer,
    args: LedgerArgs,
) -> Result<Exit, anyhow::Error> {
    let word = args.state.and_then(|it| Some(it.to_possible_value()?.get_name().to_owned()));
    let asked = pairs([
        ("state", word),
        ("since", args.since.map(|it| it.moment(printer.now()).to_string())),
        ("subscription", args.subscription.map(|it| it.to_string())),
        ("follow", switch(args.follow)),
    ]);
    if args.follow {
        return super::log::follow(remote, printer, ("/webhooks", &asked), line).await;
    }
    remote.print(printer, ("/webhooks", &asked), &COLUMNS, "no such webhook").await?;
    Ok(Exit::Done)
}

/// A row in one line.
fn line(row: &Value) -> String {
    let word = |name: &str| {
        let word = row.get(name).and_then(Value::as_str).unwrap_or_default();
        if word.is_empty() { String::new() } else { format!(" {word}") }
    };
    let id = row.get("id").and_then(Value::as_u64).map(|id| format!(" {id}")).unwrap_or_default();
    let why = Some(word("why")).filter(|it| !it.is_empty());
    let answered = Some(word("answered")).filter(|it| !it.is_empty());
    let times = row.get("deliveries").and_then(Value::as_u64).filter(|it| *it > 1);
    format!(
        "{}{id}{}{}:{}{}{}{}{}",
        moment(word("at").trim_start()),
        word("action"),
        word("subscription"),
        word("state"),
        word("outcome"),
        answered.map(|it| format!(", answered{it}")).unwrap_or_default(),
        times.map(|it| format!(", came {it} times")).unwrap_or_default(),
        why.map(|it| format!(" ({})", it.trim_start())).unwrap_or_default(),
    )
}

/// Runs `webhooks`.
///
/// # Errors
///
/// As [`Remote::print`].
pub async fn run(
    remote: &Remote,
    printer: Printer,
    command: &WebhooksCommand,
) -> Result<Exit, anyhow::Error> {
    match command {
        WebhooksCommand::Dead => {
            let asked = pairs([("state", Some("dead".to_owned()))]);
            remote.print(printer, ("/webhooks", &asked), &COLUMNS, "none was given up").await?;
        }
        WebhooksCommand::Show { id } => {
            let path = format!("/webhooks/{id}");
            let row = remote.one(Method::GET, &path, &Pairs::new()).await?;
            printer.record(&row, &ORDER)?;
        }
        WebhooksCommand::Replay { id, all } => {
            let asked = pairs([("id", id.map(|it| it.to_string())), ("all", switch(*all))]);
            let mut replayed = Vec::new();
            let take = |rows: Vec<Value>| {
                replayed.extend(rows);
                Ok(())
            };
            remote.rows(Method::POST, "/webhooks/replay", &asked, take).await?;
            if printer.is_json() {
                printer.rows(&replayed, &[], "")?;
            } else {
                told(&replayed).iter().try_for_each(|it| printer.line(it))?;
            }
        }
    }
    Ok(Exit::Done)
}

/// A line a webhook: what was done with it.
fn told(rows: &[Value]) -> Vec<String> {
    if rows.is_empty() {
        return vec!["none was given up".to_owned()];
    }
    let line = |row: &Value| {
        let id = row.get("id").unwrap_or(&Value::Null);
        let word = |name: &str| row.get(name).and_then(Value::as_str).unwrap_or_default();
        if row.get("replayed") == Some(&Value::Bool(true)) {
            return format!("webhook {id} ({}) is worked off again", word("action"));
        }
        format!("webhook {id} ({}) was not given up: it stays {}", word("action"), word("state"))
    };
    rows.iter().map(line).collect()
}

/// The line of `status`, and the alarm with its remedy below it.
pub(super) fn status(status: &Value, now: jiff::Timestamp) -> Vec<String> {
    let of = |pointer: &str| status.pointer(pointer).and_then(Value::as_u64).unwrap_or_default();
    let ago = |pointer: &str| {
        let at = status.pointer(pointer).and_then(Value::as_str)?;
        Some(super::output::ago(now.duration_since(at.parse().ok()?)))
    };
    let oldest =
        ago("/webhooks/oldest_waiting").map_or_else(String::new, |it| format!(" (since {it})"));
    let mut lines = vec![
        format!(
            "webhooks       last valid {}, {} waiting{oldest}, {} given up",
            ago("/webhooks/last_valid").unwrap_or_else(|| "never".to_owned()),
            of("/webhooks/waiting"),
            of("/webhooks/dead"),
        ),
        format!(
            "  last 24 h    {} came, {} late, {} more than once, {} mismatched, {} missed, {} refused",
            of("/webhooks/last_day/came"),
            of("/webhooks/last_day/late"),
            of("/webhooks/last_day/duplicate"),
            of("/webhooks/last_day/mismatched"),
            of("/webhooks/last_day/missed"),
            of("/webhooks/last_day/forged"),
        ),
    ];
    let word = |pointer: &str| status.pointer(pointer).and_then(Value::as_str);
    if let (Some(what), Some(remedy)) =
        (word("/webhooks/alarm/what"), word("/webhooks/alarm/remedy"))
    {
        lines.push(format!("  alarm        {what}: {remedy}"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_line_of_status_says_how_webhooks_do_and_what_to_do() {
        let now = "2026-11-22T02:00:00Z".parse().unwrap();
        let fine = json!({ "webhooks": { "last_valid": null, "waiting": 0, "dead": 0 } });
        let lines = status(&fine, now);
        assert_eq!(lines[0], "webhooks       last valid never, 0 waiting, 0 given up");
        assert_eq!(lines.len(), 2);
        let bad = json!({ "webhooks": {
            "last_valid": "2026-11-20T02:00:00Z", "waiting": 2, "dead": 1,
            "oldest_waiting": "2026-11-22T01:50:00Z",
            "last_day": { "came": 3, "missed": 4 },
            "alarm": { "kind": "silence", "what": "no valid webhook", "remedy": "check it" },
        } });
        let text = status(&bad, now).join("\n");
        for wanted in
            ["2 d ago", "2 waiting (since 10 min ago), 1 given up", "4 missed", "check it"]
        {
            assert!(text.contains(wanted), "{wanted} in\n{text}");
        }
    }

    #[test]
    fn a_webhook_that_is_followed_reads_as_one_line() {
        let row = json!({ "id": 7, "at": "2026-11-22T02:00:00Z", "action": "Renew",
            "subscription": "5a", "state": "dead", "outcome": null, "why": "no such" });
        assert_eq!(line(&row), "2026-11-22 02:00:00Z 7 Renew 5a: dead (no such)");
        let missed = json!({ "id": null, "at": "2026-11-22T02:00:00Z", "action": "Suspend",
            "subscription": "5a", "state": "missed" });
        assert_eq!(line(&missed), "2026-11-22 02:00:00Z Suspend 5a: missed");
    }

    #[test]
    fn a_replay_says_what_it_did() {
        let rows = [
            json!({ "id": 7, "action": "Renew", "state": "waiting", "replayed": true }),
            json!({ "id": 8, "action": "Suspend", "state": "done", "replayed": false }),
        ];
        assert_eq!(
            told(&rows),
            [
                "webhook 7 (Renew) is worked off again",
                "webhook 8 (Suspend) was not given up: it stays done",
            ]
        );
        assert_eq!(told(&[]), ["none was given up"]);
    }
}
