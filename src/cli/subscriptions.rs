//! `subscriptions` and `subscriptions show`.

use jiff::SignedDuration;
use reqwest::Method;

use super::Exit;
use super::args::{SubscriptionsArgs, SubscriptionsCommand};
use super::output::{Column, Printer};
use super::remote::{Pairs, Remote};

/// The order of a subscription's fields for people.
const ORDER: [&str; 19] = [
    "id",
    "name",
    "offer",
    "plan",
    "status",
    "quantity",
    "tenant",
    "user",
    "term_start",
    "term_end",
    "term_unit",
    "auto_renew",
    "free_trial",
    "created",
    "observed_at",
    "deadline",
    "deadline_at",
    "deadline_why",
    "status_since",
];

/// Runs `subscriptions`.
///
/// # Errors
///
/// As [`Remote::print`].
pub async fn run(
    remote: &Remote,
    printer: Printer,
    args: &SubscriptionsArgs,
) -> Result<Exit, anyhow::Error> {
    match args.command {
        None => list(remote, printer, args.due).await,
        Some(SubscriptionsCommand::Show { id }) => {
            let path = format!("/subscriptions/{id}");
            let row = remote.one(Method::GET, &path, &Pairs::new()).await?;
            printer.record(&row, &ORDER)?;
            Ok(Exit::Done)
        }
    }
}

async fn list(
    remote: &Remote,
    printer: Printer,
    due: Option<SignedDuration>,
) -> Result<Exit, anyhow::Error> {
    let columns = [
        Column::text("id", "/id"),
        Column::text("name", "/name"),
        Column::text("offer", "/offer"),
        Column::text("plan", "/plan"),
        Column::state("status", "/status"),
        Column::number("quantity", "/quantity"),
        Column::text("tenant", "/tenant"),
        Column::time("term ends", "/term_end"),
        Column::text("trial", "/free_trial"),
        Column::text("deadline", "/deadline"),
        Column::time("at", "/deadline_at"),
    ];
    if let Some(due) = due {
        let pairs = vec![("due_s", due.as_secs().to_string())];
        let none = "no subscription has a deadline within that time";
        remote.print(printer, ("/subscriptions", &pairs), &columns, none).await?;
        return Ok(Exit::Done);
    }
    let empty = "no subscription is mirrored yet; run `entitled sync subscriptions`, or look at \
                 `entitled status`";
    remote.print(printer, ("/subscriptions", &Pairs::new()), &columns, empty).await?;
    Ok(Exit::Done)
}
