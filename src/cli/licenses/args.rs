//! What is sold, and what is done to it, as arguments.

use clap::Args;

use crate::cli::remote::{Pairs, pairs};
use crate::domain::{BillingCycle, LicenseKind, OverLimit, ProductId};

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
    /// That it is done once
    #[command(flatten)]
    pub(super) once: OnceArgs,
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

/// That a command is carried out once, however often it is given.
#[derive(Clone, Debug, Default, Args)]
pub struct OnceArgs {
    /// A word of your own for this order: the same command with it, again within 24 hours, does
    /// nothing more and prints the same
    #[arg(long, value_name = "KEY", value_parser = printable)]
    once: Option<String>,
}

impl OnceArgs {
    pub(super) fn key(&self) -> Option<&str> {
        self.once.as_deref()
    }
}

fn printable(text: &str) -> Result<String, String> {
    let ok = !text.trim().is_empty() && text.chars().all(|it| it == ' ' || it.is_ascii_graphic());
    ok.then(|| text.to_owned())
        .ok_or_else(|| "it has 1 to 255 printable ASCII characters".to_owned())
}

impl IssueArgs {
    pub(super) fn pairs(&self) -> Pairs {
        pairs([
            ("product", Some(self.product.to_string())),
            ("kind", Some(self.kind.to_string())),
            ("licensee", Some(self.licensee.clone())),
            ("max", text(self.max.as_ref())),
            ("billing", self.billing.clone()),
            ("period_start", self.period_start.clone()),
            ("period_end", self.period_end.clone()),
            ("trial_end", self.trial_end.clone()),
            ("cycle", text(self.cycle.as_ref())),
            ("domain", self.domain.clone()),
            ("node", self.node.clone()),
            ("over_limit", text(self.over_limit.as_ref())),
            ("tenants_max", text(self.tenants_max.as_ref())),
        ])
    }
}

impl WhatArgs {
    pub(super) fn pairs(&self) -> Pairs {
        pairs([
            ("max", text(self.max.as_ref())),
            ("kind", text(self.kind.as_ref())),
            ("domain", self.domain.clone()),
            ("node", self.node.clone()),
            ("over_limit", text(self.over_limit.as_ref())),
            ("tenants_max", text(self.tenants_max.as_ref())),
            ("licensee", self.licensee.clone()),
            ("billing", self.billing.clone()),
        ])
    }
}

impl PeriodArgs {
    pub(super) fn pairs(&self) -> Pairs {
        pairs([
            ("period_end", self.period_end.clone()),
            ("cycle", text(self.cycle.as_ref())),
            ("price", text(self.price.as_ref())),
        ])
    }
}

pub(super) fn text<T: ToString>(it: Option<&T>) -> Option<String> {
    it.map(ToString::to_string)
}
