//! `tenants`, `tenants consent-url` and `tenants learn`.

use reqwest::Method;

use super::Exit;
use super::args::{TenantsArgs, TenantsCommand};
use super::output::{Column, Printer};
use super::remote::{Pairs, Remote, field};

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
        Some(TenantsCommand::Learn(args)) => super::learn::run(remote, printer, args).await,
    }
}

async fn list(remote: &Remote, printer: Printer) -> Result<Exit, anyhow::Error> {
    let columns = [
        Column::text("id", "/id"),
        Column::text("name", "/name"),
        Column::state("consent", "/consent"),
        Column::ago("last complete read", "/last_complete"),
        Column::text("stale", "/stale"),
        Column::number("users with licences", "/users"),
    ];
    let empty = "no tenant is known yet; they are found in subscriptions, or named as [[tenant]]";
    remote.print(printer, ("/tenants", &Pairs::new()), &columns, empty).await?;
    Ok(Exit::Done)
}
