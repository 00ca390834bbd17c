//! `licenses switch-plan`: the guide for moving a customer from one system to the other.

use clap::Args;
use reqwest::Method;
use serde_json::Value;

use super::args::text;
use crate::cli::Exit;
use crate::cli::output::{Column, Printer};
use crate::cli::remote::{Remote, field, number, pairs};
use crate::domain::{LicenseId, ProductId, SwitchTo, TenantId};

/// So many users are printed for people; programs get all.
const SHOWN: usize = 30;

/// `licenses switch-plan`.
#[derive(Clone, Debug, Args)]
pub struct SwitchArgs {
    /// The customer's tenant
    #[arg(value_name = "T")]
    tenant: TenantId,
    /// Only this product; without, all of which the tenant has a seat or a license
    #[arg(long, value_name = "P")]
    product: Option<ProductId>,
    /// Where to
    #[arg(
        long,
        value_name = "W",
        help = "license or appsource; without, away from the seats if anybody holds one"
    )]
    to: Option<SwitchTo>,
    /// The license that is meant, while no activation tells
    #[arg(long, value_name = "ID")]
    license: Option<LicenseId>,
    /// What a seat costs a month: what the overlap costs is then shown as an amount
    #[arg(long, value_name = "AMOUNT")]
    price: Option<f64>,
}

/// Runs it.
pub(super) async fn run(
    remote: &Remote,
    printer: Printer,
    args: &SwitchArgs,
) -> Result<Exit, anyhow::Error> {
    let asked = pairs([
        ("tenant", Some(args.tenant.to_string())),
        ("product", text(args.product.as_ref())),
        ("to", text(args.to.as_ref())),
        ("license", text(args.license.as_ref())),
        ("price", text(args.price.as_ref())),
    ]);
    let mut plans: Vec<Value> = Vec::new();
    let take = |rows: Vec<Value>| {
        plans.extend(rows);
        Ok(())
    };
    remote.rows(Method::GET, "/licenses/switch-plan", &asked, take).await?;
    let none = "this tenant has neither a seat nor a license of any product; name one with \
                --product, and a license that nobody has activated with --license";
    if printer.is_json() || plans.is_empty() {
        printer.rows(&plans, &[], none)?;
        return Ok(Exit::Done);
    }
    for plan in &plans {
        print(printer, plan)?;
    }
    Ok(Exit::Done)
}

fn list<'a>(row: &'a Value, pointer: &str) -> &'a [Value] {
    row.pointer(pointer).and_then(Value::as_array).map_or(&[], |it| it)
}

fn print(printer: Printer, plan: &Value) -> Result<(), anyhow::Error> {
    printer.line(&title(plan))?;
    printer.line(&covered(plan))?;
    for line in [features(plan), overlap(plan)].into_iter().flatten() {
        printer.line(&line)?;
    }
    for doubt in list(plan, "/doubts").iter().filter_map(Value::as_str) {
        printer.line(&format!("note: {doubt}"))?;
    }
    printer.line("")?;
    bought(printer, plan)?;
    steps(printer, plan)?;
    users(printer, plan)
}

/// What there is of either system, and until when.
fn bought(printer: Printer, plan: &Value) -> Result<(), anyhow::Error> {
    let seats = [
        Column::text("seats of plan", "/plan"),
        Column::text("status", "/status"),
        Column::number("bought", "/bought"),
        Column::number("assigned", "/assigned"),
        Column::time("end", "/ends"),
        Column::text("renews", "/renews"),
    ];
    let licenses = [
        Column::text("license", "/id"),
        Column::text("kind", "/kind"),
        Column::number("max", "/max"),
        Column::number("users", "/users"),
        Column::state("state", "/state"),
        Column::time("until", "/ends"),
        Column::text("activated", "/bound"),
        Column::number("other tenants", "/other_tenants"),
    ];
    for (rows, columns) in [("/seats", &seats[..]), ("/licenses", &licenses[..])] {
        let rows = list(plan, rows);
        if !rows.is_empty() {
            printer.rows(rows, columns, "")?;
            printer.line("")?;
        }
    }
    Ok(())
}

/// Each step, with its commands below it.
fn steps(printer: Printer, plan: &Value) -> Result<(), anyhow::Error> {
    for step in list(plan, "/steps") {
        let by = field(step, "/by");
        let when = if by.is_empty() { String::new() } else { format!(", {}", day(by)) };
        let who = match field(step, "/who") {
            "nobody" => String::new(),
            who => format!("{who}: "),
        };
        printer.line(&format!(
            "{:>2}. [{}{when}] {who}{}",
            number(step, "/number"),
            field(step, "/progress"),
            field(step, "/what")
        ))?;
        for command in list(step, "/commands").iter().filter_map(Value::as_str) {
            printer.line(&format!("      $ {command}"))?;
        }
        printer.line(&format!("    done when {}", field(step, "/done_when")))?;
        match step.pointer("/loses") {
            Some(Value::Number(it)) if it.as_u64() != Some(0) => {
                printer.line(&format!("    now {it} would lose access by it, see below"))?;
            }
            Some(Value::Null) => {
                printer.line("    who would lose access by it cannot be told")?;
            }
            Some(_) | None => {}
        }
    }
    printer.line("")?;
    Ok(())
}

fn users(printer: Printer, plan: &Value) -> Result<(), anyhow::Error> {
    let columns = [
        Column::text("user", "/user"),
        Column::text("seat of plan", "/plan"),
        Column::state("seat", "/seat"),
        Column::text("license", "/license"),
        Column::state("license is", "/license_state"),
        Column::time("license until", "/license_until"),
        Column::time("last used", "/place_last_used"),
        Column::text("would lose access at", "/loses_at"),
    ];
    let all = list(plan, "/users");
    let shown = all.get(..SHOWN).unwrap_or(all);
    printer.rows(shown, &columns, "nobody is known to have a seat or a place")?;
    if let Some(more @ 1..) = all.len().checked_sub(shown.len()) {
        printer.line(&format!("and {more} more: --json has all"))?;
    }
    printer.line("")?;
    Ok(())
}

fn title(plan: &Value) -> String {
    let name = field(plan, "/name");
    let who = if name.is_empty() { field(plan, "/tenant") } else { name };
    let (from, to) = match field(plan, "/to") {
        "license" => ("seats of AppSource", "a license of the publisher"),
        _ => ("a license of the publisher", "seats of AppSource"),
    };
    let done = if plan["done"] == true { " (done)" } else { "" };
    format!("{who}: {} from {from} to {to}{done}", field(plan, "/product"))
}

fn covered(plan: &Value) -> String {
    let count = |pointer: &str| {
        let it = plan.pointer(pointer).and_then(Value::as_u64);
        it.map_or_else(|| "unknown".to_owned(), |it| it.to_string())
    };
    let until = |pointer: &str| match field(plan, pointer) {
        "" => String::new(),
        it => format!(" (until {})", day(it)),
    };
    format!(
        "covered now: {} users by a seat{}, {} by a license{}, {} by both",
        count("/covered/by_seat"),
        until("/seats_end"),
        count("/covered/by_license"),
        until("/license_end"),
        count("/covered/by_both"),
    )
}

fn features(plan: &Value) -> Option<String> {
    let names = |pointer: &str| {
        let all: Vec<&str> = list(plan, pointer).iter().filter_map(Value::as_str).collect();
        (!all.is_empty()).then(|| all.join(", "))
    };
    let (lost, gained) = (names("/features_lost"), names("/features_gained"));
    (lost.is_some() || gained.is_some()).then(|| {
        let none = || "nothing".to_owned();
        format!(
            "features: {} will be gone, {} will be new",
            lost.unwrap_or_else(none),
            gained.unwrap_or_else(none)
        )
    })
}

fn overlap(plan: &Value) -> Option<String> {
    let it = plan.pointer("/overlap")?;
    let users = number(it, "/users");
    if users == 0 || plan["done"] == true {
        return None;
    }
    let until = match field(it, "/until") {
        "" => "as long as both are there".to_owned(),
        until => format!("{} days, until {}", it["days"], day(until)),
    };
    let amount = |name: &str| it.get(name).and_then(Value::as_f64);
    let worth = match (amount("amount"), amount("amount_a_month")) {
        (Some(all), _) => format!(", {all:.2} for the seats in that time"),
        (None, Some(month)) => format!(", {month:.2} a month for the seats"),
        (None, None) => " (--price says what a seat costs a month)".to_owned(),
    };
    Some(format!("overlap: {users} users are covered twice for {until}{worth}"))
}

/// The day of a moment.
fn day(at: &str) -> &str {
    at.get(..10).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_not_known_is_not_said_to_be_nothing() {
        let plan = json!({"tenant": "t", "name": null, "product": "panel", "to": "license",
            "done": false, "seats_end": null, "license_end": "2027-01-31T00:00:00Z",
            "covered": {"by_seat": null, "by_license": 3, "by_both": null}});
        assert_eq!(title(&plan), "t: panel from seats of AppSource to a license of the publisher");
        assert_eq!(
            covered(&plan),
            "covered now: unknown users by a seat, 3 by a license (until 2027-01-31), unknown by both"
        );
        assert_eq!((features(&plan), overlap(&plan)), (None, None));
    }

    #[test]
    fn what_overlap_costs_is_an_amount_if_the_price_is_known() {
        let check = |it: Value, said: &str| {
            assert_eq!(overlap(&json!({ "overlap": it })).as_deref(), Some(said));
        };
        check(
            json!({"users": 4, "until": "2027-01-31T00:00:00Z", "days": 15.0, "amount": 20.0,
                "amount_a_month": 40.0}),
            "overlap: 4 users are covered twice for 15.0 days, until 2027-01-31, 20.00 for the seats \
             in that time",
        );
        check(
            json!({"users": 4, "until": null, "days": null, "amount": null, "amount_a_month": 40.0}),
            "overlap: 4 users are covered twice for as long as both are there, 40.00 a month for \
             the seats",
        );
    }
}
