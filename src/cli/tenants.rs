//! `tenants`, `tenants show`, `consent-url`, `release` and `learn`.

use reqwest::Method;
use serde_json::Value;

use super::Exit;
use super::args::{TenantsArgs, TenantsCommand};
use super::output::{Column, Printer};
use super::remote::{Pairs, Remote, field, number};
use crate::domain::TenantId;

/// Runs `tenants`.
///
/// # Errors
///
/// As [`Remote::print`].
pub async fn run(
    remote: &Remote,
    printer: Printer,
    args: &TenantsArgs,
) -> Result<Exit, anyhow::Error> {
    match &args.command {
        None => list(remote, printer).await,
        Some(TenantsCommand::ConsentUrl { tenant }) => {
            let path = format!("/tenants/{tenant}/consent-url");
            let row = remote.one(Method::GET, &path, &Pairs::new()).await?;
            if printer.is_json() {
                printer.rows(&[row], &[], "")?;
            } else {
                printer.line(field(&row, "/url"))?;
            }
            Ok(Exit::Done)
        }
        Some(TenantsCommand::Show { tenant }) => show(remote, printer, *tenant).await,
        Some(TenantsCommand::Release { tenant }) => {
            let path = format!("/tenants/{tenant}/release");
            let row = remote.one(Method::POST, &path, &Pairs::new()).await?;
            if printer.is_json() {
                printer.rows(&[row], &[], "")?;
            } else {
                printer.line(&released(&row))?;
            }
            Ok(Exit::Done)
        }
        Some(TenantsCommand::Learn(args)) => super::learn::run(remote, printer, args).await,
    }
}

fn released(row: &Value) -> String {
    let seats = row.pointer("/held").is_some_and(Value::is_object).then(|| {
        let (seats, run) = (number(row, "/held/seats"), field(row, "/held/run"));
        format!("{seats} seats that {run} no longer saw")
    });
    let rights = number(row, "/rights_held");
    let rights = (rights > 0).then(|| format!("the usage rights of {rights} users"));
    let gone: Vec<String> = seats.into_iter().chain(rights).collect();
    format!(
        "released: {} are gone; the tenant is read once more, and who holds one after all has it \
         again",
        gone.join(" and ")
    )
}

async fn show(remote: &Remote, printer: Printer, tenant: TenantId) -> Result<Exit, anyhow::Error> {
    let mut row = remote.one(Method::GET, &format!("/tenants/{tenant}"), &Pairs::new()).await?;
    if printer.is_json() {
        printer.rows(&[row], &[], "")?;
        return Ok(Exit::Done);
    }
    // They are a table of their own.
    let permissions = row.as_object_mut().and_then(|it| it.remove("permissions"));
    let permissions = permissions.as_ref().and_then(Value::as_array).cloned().unwrap_or_default();
    printer.record(&row, &["id", "name", "consent", "cloud", "last_complete"])?;
    let columns = [
        Column::text("permission", "/permission"),
        Column::state("state", "/state"),
        Column::text("lets us", "/for"),
        Column::text("without it", "/without"),
    ];
    printer.rows(&permissions, &columns, "nothing is known of what it permits")?;
    if field(&row, "/consent") != "granted" {
        printer.line(&format!(
            "`entitled tenants consent-url {tenant}` prints the link for its administrator"
        ))?;
    }
    Ok(Exit::Done)
}

async fn list(remote: &Remote, printer: Printer) -> Result<Exit, anyhow::Error> {
    let columns = [
        Column::text("id", "/id"),
        Column::text("name", "/name"),
        Column::state("consent", "/consent"),
        Column::text("lacks", "/lacks"),
        Column::ago("last complete read", "/last_complete"),
        Column::text("stale", "/stale"),
        Column::number("users with licences", "/users"),
        Column::number("held back", "/held/seats"),
        Column::number("rights held", "/rights_held"),
    ];
    let empty = "no tenant is known yet; they are found in subscriptions, or named as [[tenant]]";
    remote.print(printer, ("/tenants", &Pairs::new()), &columns, empty).await?;
    Ok(Exit::Done)
}
