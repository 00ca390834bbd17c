//! `notify`: the publisher's own systems that are told what happens.

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::Value;

use super::args::{Since, since};
use super::output::{Column, Printer};
use super::remote::{Pairs, Remote, field, number, pairs, switch};
use super::{Advised, Exit};

/// `notify`.
#[derive(Clone, Debug, Args)]
pub struct NotifyArgs {
    /// What never arrived, and sending it again.
    #[command(subcommand)]
    pub command: Option<NotifyCommand>,
}

/// `notify dead`, `replay`, `test`.
#[derive(Clone, Debug, Subcommand)]
pub enum NotifyCommand {
    /// Events that were given up after three days
    Dead {
        /// Only those for this endpoint
        #[arg(long, value_name = "N")]
        endpoint: Option<String>,
    },
    /// Send events again, under the ids that they had
    Replay(ReplayArgs),
    /// Send a `test` event now and show the answer; exit code 1 if it is no yes
    Test {
        /// The endpoint
        name: String,
    },
}

/// `notify replay`.
#[derive(Clone, Debug, Args)]
#[group(id = "which", required = true, multiple = false, args = ["id", "all", "since"])]
pub struct ReplayArgs {
    /// This event, given up or sent, such as `evt_5f0c…`
    pub id: Option<String>,
    /// All that were given up
    #[arg(long)]
    pub all: bool,
    /// All that came to be since then, sent ones too: 90m, 2d, 2026-11-01 or 2026-11-01T08:00:00Z
    #[arg(long, value_name = "D", value_parser = since)]
    pub since: Option<Since>,
    /// Only those for this endpoint
    #[arg(long, value_name = "N")]
    pub endpoint: Option<String>,
}

const EVENT: [Column; 6] = [
    Column::text("event", "/id"),
    Column::text("endpoint", "/endpoint"),
    Column::text("type", "/type"),
    Column::text("subject", "/subject"),
    Column::time("of", "/at"),
    Column::text("last error", "/error"),
];

/// Runs `notify`.
///
/// # Errors
///
/// As [`Remote::print`].
pub async fn run(
    remote: &Remote,
    printer: Printer,
    args: &NotifyArgs,
) -> Result<Exit, anyhow::Error> {
    match &args.command {
        None => list(remote, printer).await,
        Some(NotifyCommand::Dead { endpoint }) => {
            let asked = pairs([("endpoint", endpoint.clone())]);
            remote.print(printer, ("/notify/dead", &asked), &EVENT, "none was given up").await?;
            Ok(Exit::Done)
        }
        Some(NotifyCommand::Replay(args)) => replay(remote, printer, args).await,
        Some(NotifyCommand::Test { name }) => test(remote, printer, name).await,
    }
}

async fn list(remote: &Remote, printer: Printer) -> Result<Exit, anyhow::Error> {
    let columns = [
        Column::text("endpoint", "/endpoint"),
        Column::state("state", "/state"),
        Column::number("waiting", "/waiting"),
        Column::number("given up", "/dead"),
        Column::ago("oldest waits for", "/oldest"),
        Column::ago("last took one", "/last_success"),
        Column::time("left alone until", "/rest_until"),
        Column::text("last error", "/last_error"),
    ];
    let empty = "nobody is told anything: there is no [[notify]] in the configuration";
    remote.print(printer, ("/notify", &Pairs::new()), &columns, empty).await?;
    Ok(Exit::Done)
}

async fn replay(
    remote: &Remote,
    printer: Printer,
    args: &ReplayArgs,
) -> Result<Exit, anyhow::Error> {
    let asked = pairs([
        ("id", args.id.clone()),
        ("all", switch(args.all)),
        ("since", args.since.map(|it| it.moment(printer.now()).to_string())),
        ("endpoint", args.endpoint.clone()),
    ]);
    let mut again: Vec<Value> = Vec::new();
    let take = |rows| {
        again.extend(rows);
        Ok(())
    };
    remote.rows(Method::POST, "/notify/replay", &asked, take).await?;
    printer.rows(&again, &EVENT, "there is nothing to send again")?;
    if !printer.is_json() && !again.is_empty() {
        printer.line(&format!(
            "{} event(s) are sent again; `entitled notify` shows how far they are",
            again.len()
        ))?;
    }
    Ok(Exit::Done)
}

async fn test(remote: &Remote, printer: Printer, name: &str) -> Result<Exit, anyhow::Error> {
    let asked = pairs([("endpoint", Some(name.to_owned()))]);
    let tested = remote.one(Method::POST, "/notify/test", &asked).await?;
    let taken = tested.get("taken") == Some(&Value::Bool(true));
    let (status, took) = (number(&tested, "/status"), number(&tested, "/took_ms"));
    if printer.is_json() {
        printer.rows(std::slice::from_ref(&tested), &[], "")?;
    } else if taken {
        printer.line(&format!("{name} took the event in {took} ms ({status})"))?;
    }
    if taken {
        return Ok(Exit::Done);
    }
    let said = Some(field(&tested, "/answer").trim()).filter(|it| !it.is_empty());
    Err(Advised {
        what: format!(
            "{name} answered {status}{}",
            said.map(|it| format!(": {it}")).unwrap_or_default()
        ),
        next: "the receiver has to answer 2xx; look whether its link and its secret are right"
            .to_owned(),
        exit: Exit::Failed,
        because: None,
    }
    .into())
}

/// How the endpoints fare, for `status`; nothing without any.
pub(super) fn in_status(status: &Value) -> Option<String> {
    let rows = status.get("notify").and_then(Value::as_array).filter(|it| !it.is_empty())?;
    let sum = |pointer| rows.iter().map(|it| number(it, pointer)).sum::<u64>();
    let troubled: Vec<String> = rows
        .iter()
        .filter(|it| field(it, "/state") != "ok")
        .map(|it| format!("{} {}", field(it, "/endpoint"), field(it, "/state")))
        .collect();
    let troubled =
        if troubled.is_empty() { String::new() } else { format!(": {}", troubled.join(", ")) };
    Some(format!(
        "events out     {} waiting, {} given up, {} endpoints{troubled}",
        sum("/waiting"),
        sum("/dead"),
        rows.len()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_line_of_status_names_who_is_in_trouble() {
        assert_eq!(in_status(&json!({ "notify": [] })), None);
        let status = json!({ "notify": [
            { "endpoint": "billing", "state": "failing", "waiting": 3, "dead": 1 },
            { "endpoint": "crm", "state": "ok", "waiting": 1, "dead": 0 },
        ]});
        assert_eq!(
            in_status(&status).unwrap(),
            "events out     4 waiting, 1 given up, 2 endpoints: billing failing"
        );
    }
}
