//! `subscriptions` and `subscriptions show`.

use reqwest::Method;

use super::args::{SubscriptionsArgs, SubscriptionsCommand};
use super::output::{Column, Printer};
use super::remote::{Pairs, Remote};
use super::{Exit, held};

/// The order of a subscription's fields for people.
const ORDER: [&str; 15] = [
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
    match &args.command {
        Some(SubscriptionsCommand::Held(command)) => held::run(remote, printer, command).await,
        None => list(remote, printer).await,
        Some(SubscriptionsCommand::Show { id }) => {
            let path = format!("/subscriptions/{id}");
            let row = remote.one(Method::GET, &path, &Pairs::new()).await?;
            printer.record(&row, &ORDER)?;
            Ok(Exit::Done)
        }
    }
}

async fn list(remote: &Remote, printer: Printer) -> Result<Exit, anyhow::Error> {
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
    ];
    let empty = "no subscription is mirrored yet; run `entitled sync subscriptions`, or look at \
                 `entitled status`";
    remote.print(printer, ("/subscriptions", &Pairs::new()), &columns, empty).await?;
    Ok(Exit::Done)
}
