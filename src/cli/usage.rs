//! `usage`, `usage dead`, `usage retry` and `usage reconcile`.

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::Value;

use super::Exit;
use super::args::{Since, since};
use super::output::{Column, Printer};
use super::remote::{Pairs, Remote, field, number, pairs};
use crate::domain::{SubscriptionId, UsageId};

/// `usage`.
#[derive(Clone, Debug, Args)]
pub struct UsageArgs {
    /// What else to do.
    #[command(subcommand)]
    pub command: Option<UsageCommand>,
    /// Only usage of this subscription
    #[arg(long, value_name = "ID")]
    pub subscription: Option<SubscriptionId>,
    /// Only hours from then on: 90m, 2d, 2026-11-01 or 2026-11-01T08:00:00Z
    #[arg(long, value_name = "D", value_parser = since)]
    pub since: Option<Since>,
    /// Only events that are queued, sending, sent, duplicate or dead
    #[arg(long, value_name = "STATE")]
    pub state: Option<String>,
}

/// The other commands about usage.
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum UsageCommand {
    /// Usage that is not billed, and why
    Dead,
    /// Send a dead event once more; Microsoft takes usage for 24 hours only
    Retry {
        /// Its number, such as u17
        id: UsageId,
    },
    /// Compare what was told with what Microsoft has; exit code 1 if they differ
    Reconcile {
        /// Days from then on, by default 7d: 2d, 2026-11-01
        #[arg(long, value_name = "D", value_parser = since)]
        since: Option<Since>,
    },
}

/// Runs `usage`.
///
/// # Errors
///
/// As [`Remote::print`].
pub async fn run(
    remote: &Remote,
    printer: Printer,
    args: &UsageArgs,
) -> Result<Exit, anyhow::Error> {
    let moment = |it: Since| it.moment(printer.now()).to_string();
    match args.command {
        None => {
            let pairs = pairs([
                ("subscription", args.subscription.map(|it| it.to_string())),
                ("since", args.since.map(moment)),
                ("state", args.state.clone()),
            ]);
            list(remote, printer, &pairs).await
        }
        Some(UsageCommand::Dead) => dead(remote, printer).await,
        Some(UsageCommand::Retry { id }) => {
            let path = format!("/usage/{id}/retry");
            let row = remote.one(Method::POST, &path, &Pairs::new()).await?;
            if printer.is_json() {
                printer.rows(&[row], &[], "")?;
            } else {
                printer.line(&format!("{id} is sent again now: see `entitled usage`"))?;
            }
            Ok(Exit::Done)
        }
        Some(UsageCommand::Reconcile { since }) => {
            reconcile(remote, printer, &pairs([("since", since.map(moment))])).await
        }
    }
}

async fn list(remote: &Remote, printer: Printer, pairs: &Pairs) -> Result<Exit, anyhow::Error> {
    let columns = [
        Column::text("id", "/id"),
        Column::text("subscription", "/subscription"),
        Column::text("plan", "/plan"),
        Column::text("dimension", "/dimension"),
        Column::time("hour", "/hour"),
        Column::text("quantity", "/quantity"),
        Column::number("reports", "/reports"),
        Column::state("state", "/state"),
        Column::text("counts at Microsoft", "/accepted_quantity"),
        Column::time("runs out", "/runs_out"),
    ];
    let empty = "no usage; callers that may `usage` report it by POST /v1/usage";
    remote.print(printer, ("/usage", pairs), &columns, empty).await?;
    Ok(Exit::Done)
}

async fn dead(remote: &Remote, printer: Printer) -> Result<Exit, anyhow::Error> {
    let columns = [
        Column::text("id", "/id"),
        Column::text("subscription", "/subscription"),
        Column::text("dimension", "/dimension"),
        Column::time("hour", "/hour"),
        Column::text("quantity", "/quantity"),
        Column::time("dead since", "/over_since"),
        Column::text("status", "/status"),
        Column::text("why", "/why"),
    ];
    let pairs = pairs([("state", Some("dead".to_owned()))]);
    remote.print(printer, ("/usage", &pairs), &columns, "no usage was given up").await?;
    Ok(Exit::Done)
}

async fn reconcile(
    remote: &Remote,
    printer: Printer,
    pairs: &Pairs,
) -> Result<Exit, anyhow::Error> {
    let columns = [
        Column::time("day", "/day"),
        Column::text("subscription", "/subscription"),
        Column::text("plan", "/plan"),
        Column::text("dimension", "/dimension"),
        Column::text("told", "/told"),
        Column::number("events", "/events"),
        Column::text("Microsoft was told", "/submitted"),
        Column::text("Microsoft bills", "/processed"),
        Column::text("status", "/statuses"),
        Column::text("agrees", "/agrees"),
    ];
    let mut rows = Vec::new();
    let take = |more: Vec<Value>| {
        rows.extend(more);
        Ok(())
    };
    remote.rows(Method::GET, "/usage/reconcile", pairs, take).await?;
    printer.rows(&rows, &columns, "no usage in that time, neither here nor at Microsoft")?;
    let agree = rows.iter().all(|it| it.pointer("/agrees") == Some(&Value::Bool(true)));
    Ok(if agree { Exit::Done } else { Exit::Failed })
}

/// The lines of `status` about usage; none where nobody ever reported any.
pub(super) fn status_lines(usage: &Value) -> Vec<String> {
    let count = |name: &str| number(usage, name);
    let all = ["/queued", "/sending", "/sent", "/duplicate", "/dead"];
    if all.iter().all(|it| count(it) == 0) {
        return Vec::new();
    }
    let mut lines = vec![format!(
        "usage          {} queued, {} sending, {} sent, {} known before, {} dead",
        count("/queued"),
        count("/sending"),
        count("/sent"),
        count("/duplicate"),
        count("/dead")
    )];
    if usage.pointer("/about_to_run_out") == Some(&Value::Bool(true)) {
        let runs_out = field(usage, "/runs_out");
        lines.push(format!("usage          about to run out: not billed after {runs_out}"));
    }
    if count("/dead") > 0 {
        lines.push("usage          some is not billed: entitled usage dead".to_owned());
    }
    if count("/differing") > 0 {
        let differing = count("/differing");
        lines.push(format!(
            "usage          {differing} for whose hour another quantity counts: entitled usage --state duplicate"
        ));
    }
    let error = field(usage, "/error");
    if !error.is_empty() {
        lines.push(format!("usage          waits: {error}"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn status_says_what_is_on_its_way_and_what_is_lost() {
        assert_eq!(status_lines(&json!({"queued": 0})), [""; 0]);
        assert_eq!(status_lines(&Value::Null), [""; 0]);
        let usage = json!({"queued": 2, "sending": 1, "sent": 40, "duplicate": 3, "dead": 1,
            "differing": 1, "about_to_run_out": true, "runs_out": "2026-11-22T10:00:00Z",
            "error": "cannot be reached"});
        let text = status_lines(&usage).join("\n");
        for wanted in [
            "2 queued, 1 sending, 40 sent, 3 known before, 1 dead",
            "not billed after 2026-11-22T10:00:00Z",
            "entitled usage dead",
            "1 for whose hour",
            "waits: cannot be reached",
        ] {
            assert!(text.contains(wanted), "{wanted} in\n{text}");
        }
    }
}
