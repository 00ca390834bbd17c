//! `licenses` and `activations`: what the publisher sold itself.

mod file;
mod switch;
mod transfer;

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use reqwest::Method;
use serde_json::Value;

use super::Exit;
use super::output::{Column, Printer};
use super::remote::{Pairs, Remote, field, pairs};
use crate::domain::{
    ActivationId, BillingCycle, LicenseId, LicenseKind, OverLimit, ProductId, TenantId,
};

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
    Overlap(OverlapArgs),
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
    },
    /// It was paid: a new period from now, as long as the old one
    Renew {
        /// Its id
        id: LicenseId,
        /// The new period
        #[command(flatten)]
        period: PeriodArgs,
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
    },
}

/// `licenses overlap`.
#[derive(Clone, Copy, Debug, Args)]
pub struct OverlapArgs {
    /// Only users of this tenant
    #[arg(long, value_name = "T")]
    tenant: Option<TenantId>,
    /// What a seat costs a month: what is paid twice is then shown as an amount too
    #[arg(long, value_name = "AMOUNT")]
    price: Option<f64>,
}

/// `licenses issue`.
#[derive(Clone, Debug, Args)]
pub struct IssueArgs {
    /// The product's id
    #[arg(long, value_name = "P")]
    product: ProductId,
    /// user, capacity or site
    #[arg(long, value_name = "K")]
    kind: LicenseKind,
    /// How many users or nodes; without, there is no limit
    #[arg(long, value_name = "N")]
    max: Option<u64>,
    /// Whom it is made out to, as the customer will type it
    #[arg(long, value_name = "L")]
    licensee: String,
    /// The account that pays, when it is another one
    #[arg(long, value_name = "B")]
    billing: Option<String>,
    /// Until when it is paid: 2027-01-31 or 2027-01-31T08:00:00Z; may lie in the past
    #[arg(long, value_name = "T")]
    period_end: Option<String>,
    /// When the period that is paid begins; now, if it is not said. The license counts from now on
    /// all the same
    #[arg(long, value_name = "T")]
    period_start: Option<String>,
    /// When its trial ends
    #[arg(long, value_name = "T")]
    trial_end: Option<String>,
    /// Sets the dates that are not named
    #[arg(
        long,
        value_name = "C",
        help = "trial, monthly, yearly or three_years: sets the dates that are not named"
    )]
    cycle: Option<BillingCycle>,
    /// The domain of a site
    #[arg(long, value_name = "D")]
    domain: Option<String>,
    /// The node size of a capacity, such as P1
    #[arg(long, value_name = "S")]
    node: Option<String>,
    /// Over the maximum: warn or deny, in place of the policy
    #[arg(long, value_name = "O")]
    over_limit: Option<OverLimit>,
    /// How many tenants may be bound to it
    #[arg(long, value_name = "N")]
    tenants_max: Option<u32>,
}

/// What a license covers.
#[derive(Clone, Debug, Args)]
pub struct WhatArgs {
    /// How many users or nodes
    #[arg(long, value_name = "N")]
    max: Option<u64>,
    /// user, capacity or site
    #[arg(long, value_name = "K")]
    kind: Option<LicenseKind>,
    /// The domain of a site
    #[arg(long, value_name = "D")]
    domain: Option<String>,
    /// The node size of a capacity
    #[arg(long, value_name = "S")]
    node: Option<String>,
    /// Over the maximum: warn or deny
    #[arg(long, value_name = "O")]
    over_limit: Option<OverLimit>,
    /// How many tenants may be bound to it
    #[arg(long, value_name = "N")]
    tenants_max: Option<u32>,
    /// Whom it is made out to; the name before is not recognized any more
    #[arg(long, value_name = "L")]
    licensee: Option<String>,
    /// The account that pays
    #[arg(long, value_name = "B")]
    billing: Option<String>,
}

/// A new period.
#[derive(Clone, Debug, Args)]
pub struct PeriodArgs {
    /// Its end; without, it is as long as the old one
    #[arg(long, value_name = "T")]
    period_end: Option<String>,
    /// How often it is paid from now on
    #[arg(
        long,
        value_name = "C",
        help = "How often it is paid from now on: monthly, yearly or three_years"
    )]
    cycle: Option<BillingCycle>,
    /// What the old period cost: what was not used of it is then shown as an amount too
    #[arg(long, value_name = "AMOUNT")]
    price: Option<f64>,
}

/// `activations`.
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum ActivationsCommand {
    /// Which tenants are bound to which licenses
    List,
    /// Let a tenant go: its place, and the key, are free for another
    Remove {
        /// Its id, such as A-7Q2M-…
        id: ActivationId,
    },
}

fn text<T: ToString>(it: Option<&T>) -> Option<String> {
    it.map(ToString::to_string)
}

impl PeriodArgs {
    fn pairs(&self) -> Pairs {
        pairs([
            ("period_end", self.period_end.clone()),
            ("cycle", text(self.cycle.as_ref())),
            ("price", text(self.price.as_ref())),
        ])
    }
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
    match command {
        It::Issue(args) => issue(remote, printer, args).await,
        It::List => list(remote, printer).await,
        It::Export => transfer::export(remote, printer).await,
        It::Import(args) => transfer::import(remote, printer, args).await,
        It::Overlap(args) => overlap(remote, printer, args).await,
        It::SwitchPlan(args) => switch::run(remote, printer, args).await,
        It::Show { id } => {
            let row = remote.one(Method::GET, &format!("/licenses/{id}"), &none).await?;
            printer.record(&row, &FIRST)?;
            Ok(Exit::Done)
        }
        It::Cancel { id } => step(remote, printer, (*id, "cancel"), &none).await,
        It::Suspend { id } => step(remote, printer, (*id, "suspend"), &none).await,
        It::Reinstate { id } => step(remote, printer, (*id, "reinstate"), &none).await,
        It::Revoke { id } => step(remote, printer, (*id, "revoke"), &none).await,
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
        It::Reissue { id } => {
            let path = format!("/licenses/{id}/reissue");
            printer.record(&remote.one(Method::POST, &path, &none).await?, &FIRST)?;
            Ok(Exit::Done)
        }
        It::Renew { id, period } => step(remote, printer, (*id, "renew"), &period.pairs()).await,
        It::Change { id, what, period } => {
            let mut all = pairs([
                ("max", text(what.max.as_ref())),
                ("kind", text(what.kind.as_ref())),
                ("domain", what.domain.clone()),
                ("node", what.node.clone()),
                ("over_limit", text(what.over_limit.as_ref())),
                ("tenants_max", text(what.tenants_max.as_ref())),
                ("licensee", what.licensee.clone()),
                ("billing", what.billing.clone()),
            ]);
            all.extend(period.pairs());
            step(remote, printer, (*id, "change"), &all).await
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
            let empty = "no license is bound to a tenant";
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
    let asked = pairs([
        ("product", Some(args.product.to_string())),
        ("kind", Some(args.kind.to_string())),
        ("licensee", Some(args.licensee.clone())),
        ("max", text(args.max.as_ref())),
        ("billing", args.billing.clone()),
        ("period_start", args.period_start.clone()),
        ("period_end", args.period_end.clone()),
        ("trial_end", args.trial_end.clone()),
        ("cycle", text(args.cycle.as_ref())),
        ("domain", args.domain.clone()),
        ("node", args.node.clone()),
        ("over_limit", text(args.over_limit.as_ref())),
        ("tenants_max", text(args.tenants_max.as_ref())),
    ]);
    let row = remote.one(Method::POST, "/licenses", &asked).await?;
    printer.record(&row, &FIRST)?;
    if !printer.is_json() {
        printer
            .line("the key is shown this once: hand it to the customer, who activates with it")?;
    }
    Ok(Exit::Done)
}

async fn overlap(
    remote: &Remote,
    printer: Printer,
    args: &OverlapArgs,
) -> Result<Exit, anyhow::Error> {
    let columns = [
        Column::text("tenant", "/tenant"),
        Column::text("name", "/name"),
        Column::text("user", "/user"),
        Column::text("product", "/product"),
        Column::text("seat of plan", "/plan"),
        Column::state("seat", "/seat_state"),
        Column::time("seat seen", "/seat_observed_at"),
        Column::text("license", "/license"),
        Column::state("license is", "/license_state"),
        Column::time("until", "/license_until"),
        Column::time("place since", "/place_since"),
        Column::time("last used", "/place_last_used"),
    ];
    let mut all: Vec<Value> = Vec::new();
    let asked = pairs([("tenant", text(args.tenant.as_ref()))]);
    let take = |rows: Vec<Value>| {
        all.extend(rows);
        Ok(())
    };
    remote.rows(Method::GET, "/licenses/overlap", &asked, take).await?;
    printer.rows(&all, &columns, "nobody is covered by a seat and by a license at once")?;
    if !printer.is_json() && !all.is_empty() {
        for line in paid_twice(&all, args.price) {
            printer.line(&line)?;
        }
    }
    Ok(Exit::Done)
}

/// What it comes to: as many seats as users, which the customer may give back to Microsoft, or as many
/// places of licenses.
fn paid_twice(rows: &[Value], price: Option<f64>) -> Vec<String> {
    let mut counts: BTreeMap<(&str, &str), u32> = BTreeMap::new();
    for row in rows {
        let count = counts.entry((field(row, "/tenant"), field(row, "/product"))).or_default();
        *count = count.saturating_add(1);
    }
    let line = |((tenant, product), count): (&(&str, &str), &u32)| {
        let worth = price.map(|it| format!(", {:.2} a month", it * f64::from(*count)));
        format!(
            "{tenant} pays twice for {count} of {product}{}: its administrator can take back these \
             seats, or you sell a smaller license at the next period",
            worth.unwrap_or_default()
        )
    };
    counts.iter().map(line).collect()
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
    asked: &Pairs,
) -> Result<Exit, anyhow::Error> {
    let row = remote.one(Method::POST, &format!("/licenses/{id}/{name}"), asked).await?;
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
        let at =
            end.parse().ok().map(|it: Timestamp| it.strftime("%Y-%m-%d %H:%M:%SZ").to_string());
        line = format!("{line}, until {}", at.as_deref().unwrap_or(end));
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
    fn what_is_paid_twice_is_summed_up_by_customer_and_product() {
        let row = |tenant: &str, product: &str| json!({"tenant": tenant, "product": product});
        let rows = [row("t1", "panel"), row("t2", "panel"), row("t1", "panel")];
        let told = paid_twice(&rows, Some(2.5));
        assert!(told[0].starts_with("t1 pays twice for 2 of panel, 5.00 a month: "), "{told:?}");
        assert!(told[1].starts_with("t2 pays twice for 1 of panel, 2.50 a month"), "{told:?}");
        assert!(paid_twice(&rows[..1], None)[0].starts_with("t1 pays twice for 1 of panel: "));
    }

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
