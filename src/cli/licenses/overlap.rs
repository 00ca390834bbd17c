//! `licenses overlap`: who is covered by a seat and by a license at once.

use std::collections::BTreeMap;

use clap::Args;
use reqwest::Method;
use serde_json::Value;

use super::args::text;
use crate::cli::Exit;
use crate::cli::output::{Column, Printer};
use crate::cli::remote::{Remote, field, pairs};
use crate::domain::TenantId;

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

/// Runs it.
///
/// # Errors
///
/// The daemon refused or cannot be reached.
pub(super) async fn run(
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
}
