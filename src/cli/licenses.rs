//! `licenses` and `activations`: what the publisher sold itself.

mod args;
mod file;
mod overlap;
mod switch;
mod transfer;

use clap::Subcommand;
use reqwest::Method;
use serde_json::Value;

use super::Exit;
use super::output::{Column, Printer, moment};
use super::remote::{Pairs, Remote, field};
use crate::domain::{ActivationId, LicenseId};

pub use self::args::{IssueArgs, OnceArgs, PeriodArgs, WhatArgs};

/// `licenses`.
#[derive(Clone, Debug, Subcommand)]
pub enum LicensesCommand {
    /// Sell a license; prints its activation key, once
    Issue(IssueArgs),
    /// All licenses, with where each stands
    List,
    /// Print all as a table (CSV), or with --json as a JSON value a line, to move away or back; without
    /// activation keys
    Export,
    /// Bring in the licenses of such a file; what is here already is left alone
    Import(transfer::ImportArgs),
    /// Users whom a Microsoft-managed seat and a license cover at once: one of the two is paid for nothing
    Overlap(overlap::OverlapArgs),
    /// How to move a customer from AppSource's seats to a license, or back, without a gap: who is
    /// covered by what, the steps with dates and commands, and who would lose access
    SwitchPlan(switch::SwitchArgs),
    /// One license, with who uses it and which tenants are bound to it
    Show {
        /// Its id, such as L-7Q2M-…
        id: LicenseId,
    },
    /// It ends with its period, without grace
    Cancel {
        /// Its id
        id: LicenseId,
    },
    /// It does not count until it is reinstated
    Suspend {
        /// Its id
        id: LicenseId,
    },
    /// A suspended one counts again
    Reinstate {
        /// Its id
        id: LicenseId,
    },
    /// It is over at once and for good
    Revoke {
        /// Its id
        id: LicenseId,
    },
    /// Print the signed token to build into a visual's package, alone
    Package {
        /// Its id
        id: LicenseId,
    },
    /// Its id or key leaked: it goes on under new ones, and the old ones are worth nothing
    Reissue {
        /// Its id
        id: LicenseId,
        /// That it is done once
        #[command(flatten)]
        once: OnceArgs,
    },
    /// It was paid: a new period from now, as long as the old one
    Renew {
        /// Its id
        id: LicenseId,
        /// The new period
        #[command(flatten)]
        period: PeriodArgs,
        /// That it is done once
        #[command(flatten)]
        once: OnceArgs,
    },
    /// Something about it differs at once; in a new period, if it covers something else
    Change {
        /// Its id
        id: LicenseId,
        /// What changes
        #[command(flatten)]
        what: WhatArgs,
        /// The new period
        #[command(flatten)]
        period: PeriodArgs,
        /// That it is done once
        #[command(flatten)]
        once: OnceArgs,
    },
}

/// `activations`.
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum ActivationsCommand {
    /// Which tenants are bound to which licenses, and where id and licensee were used first
    List,
    /// Let a tenant go: its place, and the key, are free for another; a use by id and licensee is
    /// noted again when it comes again
    Remove {
        /// Its id, such as A-7Q2M-…
        id: ActivationId,
    },
}

/// Runs `licenses`.
///
/// # Errors
///
/// The daemon refused or cannot be reached.
pub async fn run(
    remote: &Remote,
    printer: Printer,
    command: &LicensesCommand,
) -> Result<Exit, anyhow::Error> {
    use LicensesCommand as It;
    let none = Pairs::new();
    let plain = (&none, &OnceArgs::default());
    match command {
        It::Issue(args) => issue(remote, printer, args).await,
        It::List => list(remote, printer).await,
        It::Export => transfer::export(remote, printer).await,
        It::Import(args) => transfer::import(remote, printer, args).await,
        It::Overlap(args) => overlap::run(remote, printer, args).await,
        It::SwitchPlan(args) => switch::run(remote, printer, args).await,
        It::Show { id } => {
            let row = remote.one(Method::GET, &format!("/licenses/{id}"), &none).await?;
            printer.record(&row, &FIRST)?;
            Ok(Exit::Done)
        }
        It::Cancel { id } => step(remote, printer, (*id, "cancel"), plain).await,
        It::Suspend { id } => step(remote, printer, (*id, "suspend"), plain).await,
        It::Reinstate { id } => step(remote, printer, (*id, "reinstate"), plain).await,
        It::Revoke { id } => step(remote, printer, (*id, "revoke"), plain).await,
        It::Package { id } => {
            let path = format!("/licenses/{id}/package");
            let row = remote.one(Method::POST, &path, &none).await?;
            if printer.is_json() {
                printer.rows(&[row], &[], "")?;
            } else {
                printer.line(field(&row, "/token"))?;
            }
            Ok(Exit::Done)
        }
        It::Reissue { id, once } => {
            let path = format!("/licenses/{id}/reissue");
            printer.record(&remote.order(&path, &none, once.key()).await?, &FIRST)?;
            Ok(Exit::Done)
        }
        It::Renew { id, period, once } => {
            step(remote, printer, (*id, "renew"), (&period.pairs(), once)).await
        }
        It::Change { id, what, period, once } => {
            let all = [what.pairs(), period.pairs()].concat();
            step(remote, printer, (*id, "change"), (&all, once)).await
        }
    }
}

/// Runs `activations`.
///
/// # Errors
///
/// The daemon refused or cannot be reached.
pub async fn activations(
    remote: &Remote,
    printer: Printer,
    command: ActivationsCommand,
) -> Result<Exit, anyhow::Error> {
    let columns = [
        Column::text("id", "/id"),
        Column::text("license", "/license"),
        Column::text("tenant", "/tenant"),
        Column::text("by", "/by"),
        Column::time("at", "/at"),
    ];
    match command {
        ActivationsCommand::List => {
            let empty = "no license is bound to a tenant, or used by id and licensee";
            remote.print(printer, ("/activations", &Pairs::new()), &columns, empty).await?;
        }
        ActivationsCommand::Remove { id } => {
            let path = format!("/activations/{id}/remove");
            let row = remote.one(Method::POST, &path, &Pairs::new()).await?;
            printer.rows(&[row], &columns, "")?;
        }
    }
    Ok(Exit::Done)
}

/// What comes first in a license that is shown whole.
const FIRST: [&str; 9] =
    ["id", "product", "kind", "max", "licensee", "state", "status", "period_end", "grace_end"];

async fn issue(remote: &Remote, printer: Printer, args: &IssueArgs) -> Result<Exit, anyhow::Error> {
    let row = remote.order("/licenses", &args.pairs(), args.once.key()).await?;
    printer.record(&row, &FIRST)?;
    if !printer.is_json() {
        printer
            .line("the key is shown this once: hand it to the customer, who activates with it")?;
    }
    Ok(Exit::Done)
}

async fn list(remote: &Remote, printer: Printer) -> Result<Exit, anyhow::Error> {
    let columns = [
        Column::text("id", "/id"),
        Column::text("product", "/product"),
        Column::text("kind", "/kind"),
        Column::number("max", "/max"),
        Column::number("users", "/users"),
        Column::text("licensee", "/licensee"),
        Column::state("state", "/state"),
        Column::text("shown as", "/status"),
        Column::time("period end", "/period_end"),
        Column::time("grace end", "/grace_end"),
        Column::number("activations", "/activations"),
    ];
    let empty = "no licenses; sell one: entitled licenses issue --help";
    remote.print(printer, ("/licenses", &Pairs::new()), &columns, empty).await?;
    Ok(Exit::Done)
}

async fn step(
    remote: &Remote,
    printer: Printer,
    (id, name): (LicenseId, &str),
    (asked, once): (&Pairs, &OnceArgs),
) -> Result<Exit, anyhow::Error> {
    let row = remote.order(&format!("/licenses/{id}/{name}"), asked, once.key()).await?;
    if printer.is_json() {
        printer.rows(&[row], &[], "")?;
    } else {
        printer.line(&said(&row))?;
    }
    Ok(Exit::Done)
}

/// Where it stands after a step, in one line.
fn said(row: &Value) -> String {
    let mut line = format!("{} is {}", field(row, "/id"), field(row, "/state"));
    let end = field(row, "/period_end");
    if !end.is_empty() {
        line = format!("{line}, until {}", moment(end));
    }
    if field(row, "/standing") == "cancelled" && field(row, "/state") != "expired" {
        line = format!("{line}; cancelled: it ends then, without grace, unless it is renewed");
    }
    if let Some(days) = row.pointer("/credit/days") {
        let amount = row.pointer("/credit/amount").filter(|it| !it.is_null());
        let worth = amount.map(|it| format!(", worth {it}")).unwrap_or_default();
        line = format!("{line}; {days} days of the old period were not used{worth}");
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_step_says_where_the_license_stands_and_what_was_not_used() {
        let row = json!({"id": "L-1", "state": "active", "period_end": "2027-01-01T00:00:00Z",
            "credit": {"days": 75.5, "amount": 30.2}});
        let line = "L-1 is active, until 2027-01-01 00:00:00Z; 75.5 days of the old period were not \
                    used, worth 30.2";
        assert_eq!(said(&row), line);
        assert_eq!(said(&json!({"id": "L-1", "state": "expired"})), "L-1 is expired");
        let cancelled = json!({"id": "L-1", "state": "active", "standing": "cancelled",
            "period_end": "2027-01-01T00:00:00.5Z"});
        assert!(
            said(&cancelled).starts_with("L-1 is active, until 2027-01-01 00:00:00Z; cancelled")
        );
    }
}
