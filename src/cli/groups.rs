//! `groups` and `groups show`: the groups through which licences come, and how users stand with one.

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::Value;

use super::Exit;
use super::output::{Column, Printer};
use super::remote::{Pairs, Remote, field, number, pairs};
use crate::domain::{GroupId, TenantId};

/// `groups`.
#[derive(Clone, Debug, Args)]
pub struct GroupsArgs {
    /// One group, user by user.
    #[command(subcommand)]
    pub command: Option<GroupsCommand>,
    /// Only groups of this tenant
    #[arg(long, value_name = "T")]
    pub tenant: Option<TenantId>,
}

/// `groups show`.
#[derive(Clone, Debug, Subcommand)]
pub enum GroupsCommand {
    /// Who has a licence by a group, who waits for it, who loses it, and why
    Show {
        /// The group's object id
        #[arg(value_name = "G")]
        group: GroupId,
        /// Its tenant; all by default
        #[arg(long, value_name = "T")]
        tenant: Option<TenantId>,
    },
}

/// Runs `groups`.
///
/// # Errors
///
/// As [`Remote::print`].
pub async fn run(
    remote: &Remote,
    printer: Printer,
    args: &GroupsArgs,
) -> Result<Exit, anyhow::Error> {
    match &args.command {
        None => list(remote, printer, args.tenant).await,
        Some(GroupsCommand::Show { group, tenant }) => {
            let tenant = tenant.or(args.tenant).map(|it| it.to_string());
            let asked = pairs([("tenant", tenant), ("group", Some(group.to_string()))]);
            show(remote, printer, &asked).await
        }
    }
}

async fn list(
    remote: &Remote,
    printer: Printer,
    tenant: Option<TenantId>,
) -> Result<Exit, anyhow::Error> {
    let asked = pairs([("tenant", tenant.map(|it| it.to_string()))]);
    let columns = [
        Column::text("tenant", "/tenant"),
        Column::text("group", "/group"),
        Column::text("name", "/name"),
        Column::text("products", "/products"),
        Column::text("dynamic", "/dynamic"),
        Column::text("processing", "/processing"),
        Column::text("gone", "/gone"),
        Column::number("members", "/members"),
        Column::number("seats", "/seats"),
        Column::number("in error", "/in_error"),
        Column::number("waiting", "/waiting"),
        Column::number("leaving", "/leaving"),
        Column::ago("read", "/observed_at"),
    ];
    let empty = "no licence of ours comes through a group";
    remote.print(printer, ("/groups", &asked), &columns, empty).await?;
    Ok(Exit::Done)
}

async fn show(remote: &Remote, printer: Printer, asked: &Pairs) -> Result<Exit, anyhow::Error> {
    if !printer.is_json() {
        head(remote, printer, asked).await?;
    }
    let columns = [
        Column::text("tenant", "/tenant"),
        Column::text("user", "/user"),
        Column::text("nested group", "/nested"),
        Column::text("products", "/products"),
        Column::text("stands", "/standing"),
        Column::ago("since", "/since"),
        Column::text("error", "/error"),
        Column::text("meaning", "/meaning"),
    ];
    let empty = "nobody is in this group, and nobody has a licence by it";
    remote.print(printer, ("/groups/users", asked), &columns, empty).await?;
    Ok(Exit::Done)
}

/// Prints a line about each group that is asked for.
///
/// # Errors
///
/// As [`Remote::rows`].
pub(super) async fn head(
    remote: &Remote,
    printer: Printer,
    asked: &Pairs,
) -> Result<(), anyhow::Error> {
    let mut groups: Vec<Value> = Vec::new();
    let take = |more: Vec<Value>| {
        groups.extend(more);
        Ok(())
    };
    remote.rows(Method::GET, "/groups", asked, take).await?;
    if groups.is_empty() {
        printer.line("no licence of ours comes through this group\n")?;
    }
    for group in &groups {
        printer.line(&in_words(group))?;
    }
    Ok(())
}

/// `Finance (dynamic; ProcessingComplete): 12 members, 10 with seat, …`
fn in_words(group: &Value) -> String {
    let text = |pointer: &str| Some(field(group, pointer)).filter(|it| !it.is_empty());
    let flag = |pointer: &str| group.pointer(pointer) == Some(&Value::Bool(true));
    let name = text("/name").or_else(|| text("/group")).unwrap_or_default();
    let mut kind: Vec<String> = Vec::new();
    kind.extend(flag("/dynamic").then(|| "dynamic".to_owned()));
    kind.extend(text("/processing").map(str::to_owned));
    kind.extend(text("/gone").map(|gone| format!("gone: {gone}")));
    let kind = if kind.is_empty() { String::new() } else { format!(" ({})", kind.join("; ")) };
    let nested = group.pointer("/nested").and_then(Value::as_array).map_or(0, Vec::len);
    let count = |pointer: &str| number(group, pointer);
    let nested = match nested {
        0 => String::new(),
        some => format!(", {some} nested groups (licences do not pass through them)"),
    };
    let error = text("/error").map(|it| format!("\n  {it}")).unwrap_or_default();
    format!(
        "{name}{kind}: {} members, {} with seat, {} in error, {} waiting, {} leaving{nested}{error}\n",
        count("/members"),
        count("/seats"),
        count("/in_error"),
        count("/waiting"),
        count("/leaving"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_group_is_a_line_that_says_what_matters() {
        let group = json!({"group": "g1", "name": "Finance", "dynamic": true,
            "processing": "ProcessingInProgress", "gone": null, "members": 12, "seats": 10,
            "in_error": 1, "waiting": 1, "leaving": 0, "nested": ["g2"], "error": null});
        assert_eq!(
            in_words(&group),
            "Finance (dynamic; ProcessingInProgress): 12 members, 10 with seat, 1 in error, \
             1 waiting, 0 leaving, 1 nested groups (licences do not pass through them)\n"
        );
        let unread = json!({"group": "g1", "name": null, "seats": 3, "error": "not readable"});
        let line = in_words(&unread);
        assert!(
            line.starts_with("g1: 0 members, 3 with seat") && line.contains("\n  not readable")
        );
    }
}
