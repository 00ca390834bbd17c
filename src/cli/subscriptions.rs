//! `subscriptions` and `subscriptions show`; what is ordered is in `orders`.

use clap::{Args, Subcommand};
use reqwest::Method;

use super::Exit;
use super::orders::{self, OrderCommand};
use super::output::{Column, Printer};
use super::remote::{Pairs, Remote, pairs};
use crate::domain::{SubscriptionId, TenantId};

/// `subscriptions`.
#[derive(Clone, Debug, Args)]
pub struct SubscriptionsArgs {
    /// One subscription, or an order.
    #[command(subcommand)]
    pub command: Option<SubscriptionsCommand>,
    /// Only those of this customer
    #[arg(long, value_name = "T")]
    pub tenant: Option<TenantId>,
    /// Only those in this status; its beginning will do: pending, subscribed, suspended, unsubscribed
    #[arg(long, value_name = "S")]
    pub status: Option<String>,
    /// Only those of this offer, with or without its -preview
    #[arg(long, value_name = "O")]
    pub offer: Option<String>,
}

/// `subscriptions show`, and orders.
#[derive(Clone, Debug, Subcommand)]
pub enum SubscriptionsCommand {
    /// One subscription, in full, with the record as Microsoft sent it
    Show {
        /// Its id
        id: SubscriptionId,
    },
    /// What is ordered.
    #[command(flatten)]
    Order(OrderCommand),
}

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
        None => list(remote, printer, args).await,
        Some(SubscriptionsCommand::Order(command)) => orders::run(remote, printer, command).await,
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
    args: &SubscriptionsArgs,
) -> Result<Exit, anyhow::Error> {
    let asked = pairs([
        ("tenant", args.tenant.map(|it| it.to_string())),
        ("status", args.status.clone()),
        ("offer", args.offer.clone()),
    ]);
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
    let empty = if asked.is_empty() {
        "no subscription is mirrored yet; run `entitled sync subscriptions`, or look at `entitled \
         status`"
    } else {
        "no mirrored subscription is like that; see all with `entitled subscriptions`"
    };
    remote.print(printer, ("/subscriptions", &asked), &columns, empty).await?;
    Ok(Exit::Done)
}
