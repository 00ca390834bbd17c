//! `seats`: who holds what by which path; for people with what is used of what was bought.

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::{Value, json};

use super::Exit;
use super::args::SeatsArgs;
use super::output::{Column, Printer};
use super::remote::{Pairs, Remote, field, pairs, switch};

/// Runs `seats`.
///
/// # Errors
///
/// As [`Remote::print`].
pub async fn run(
    remote: &Remote,
    printer: Printer,
    args: &SeatsArgs,
) -> Result<Exit, anyhow::Error> {
    let asked = pairs([
        ("tenant", args.tenant.map(|it| it.to_string())),
        ("product", args.product.as_ref().map(ToString::to_string)),
        ("group", args.group.map(|it| it.to_string())),
        ("errors", switch(args.errors)),
    ]);
    if args.figures {
        return figures(remote, printer, &asked).await;
    }
    if printer.is_json() {
        remote.print(printer, ("/seats", &asked), &[], "").await?;
        return Ok(Exit::Done);
    }
    if let Some(group) = args.group {
        let tenant = args.tenant.map(|it| it.to_string());
        let asked = pairs([("tenant", tenant), ("group", Some(group.to_string()))]);
        super::groups::head(remote, printer, &asked).await?;
    }
    let (mut rows, mut remedies) = (Vec::new(), BTreeMap::new());
    let take = |more: Vec<Value>| {
        for path in more.iter().filter_map(|it| it.pointer("/paths")?.as_array()).flatten() {
            if let (error, Some(remedy)) = (field(path, "/error"), path.pointer("/remedy")) {
                remedies.insert(error.to_owned(), remedy.as_str().unwrap_or_default().to_owned());
            }
        }
        rows.extend(more.into_iter().map(readable));
        Ok(())
    };
    remote.rows(Method::GET, "/seats", &asked, take).await?;
    let columns = [
        Column::text("tenant", "/tenant"),
        Column::text("user", "/user"),
        Column::text("product", "/product"),
        Column::text("plan", "/plan"),
        Column::state("state", "/state"),
        Column::text("paths", "/paths"),
        Column::ago("observed", "/observed_at"),
    ];
    let empty = if args.errors { "no seat is in error" } else { "no seat is mirrored" };
    printer.rows(&rows, &columns, empty)?;
    if args.errors {
        for (error, remedy) in remedies.iter().filter(|(error, _)| !error.is_empty()) {
            printer.line(&format!("{error}: {remedy}"))?;
        }
    } else {
        usage(remote, printer, &asked).await?;
    }
    Ok(Exit::Done)
}

async fn figures(remote: &Remote, printer: Printer, asked: &Pairs) -> Result<Exit, anyhow::Error> {
    let mut rows = Vec::new();
    let take = |more: Vec<Value>| {
        rows.extend(more);
        Ok(())
    };
    remote.rows(Method::GET, "/seats/figures", asked, take).await?;
    let columns = [
        Column::text("tenant", "/tenant"),
        Column::text("name", "/name"),
        Column::text("product", "/product"),
        Column::text("plan", "/plan"),
        Column::number("bought", "/bought"),
        Column::number("consumed", "/consumed"),
        Column::number("mirrored", "/assigned"),
        Column::number("in error", "/in_error"),
        Column::number("waiting", "/waiting"),
        Column::number("used in 28 d", "/used"),
        Column::text("forecast", "/forecast"),
        Column::text("runs out", "/runs_out"),
    ];
    printer.rows(&rows, &columns, "no SKU of ours is mirrored")?;
    if !printer.is_json() {
        for line in rows.iter().flat_map(without) {
            printer.line(&line)?;
        }
    }
    Ok(Exit::Done)
}

/// Who is without a seat, a line for each reason.
fn without(row: &Value) -> Vec<String> {
    let users = |pointer: &str| {
        let list = row.pointer(pointer).and_then(Value::as_array).into_iter().flatten();
        list.filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
    };
    let reasons = [
        ("/without", "no seat was free for"),
        ("/next_without", "no seat is free for these members of licensed groups"),
    ];
    let lines = reasons.iter().map(|(pointer, what)| (users(pointer), what));
    lines
        .filter(|(users, _)| !users.is_empty())
        .map(|(users, what)| {
            format!("\n{} in {}: {what}: {users}", field(row, "/product"), field(row, "/tenant"))
        })
        .collect()
}

async fn usage(remote: &Remote, printer: Printer, asked: &Pairs) -> Result<(), anyhow::Error> {
    printer.line("\nused against bought")?;
    let columns = [
        Column::text("tenant", "/tenant"),
        Column::text("name", "/name"),
        Column::text("product", "/product"),
        Column::text("plan", "/plan"),
        Column::text("status", "/status"),
        Column::number("bought", "/bought"),
        Column::number("used", "/used"),
        Column::number("free", "/free"),
    ];
    remote.print(printer, ("/seats/usage", asked), &columns, "no SKU of ours is mirrored").await
}

/// The row with its paths as one text.
fn readable(mut row: Value) -> Value {
    let list = row.pointer("/paths").and_then(Value::as_array).cloned().unwrap_or_default();
    let path = |it: &Value| {
        let words =
            [field(it, "/via"), field(it, "/state"), field(it, "/error"), field(it, "/meaning")];
        let quiet = |it: &&&str| !it.is_empty() && **it != "Active";
        words.iter().filter(quiet).copied().collect::<Vec<_>>().join(" ")
    };
    let paths: Vec<String> = list.iter().map(path).collect();
    if let Some(place) = row.pointer_mut("/paths") {
        *place = json!(paths);
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_read_as_a_list_that_names_what_is_wrong() {
        let row = readable(json!({"paths": [
            {"via": "direct", "state": "Active", "error": null},
            {"via": "g1", "state": "Error", "error": "CountViolation", "meaning": "no seat was free"},
        ]}));
        assert_eq!(row, json!({"paths": ["direct", "g1 Error CountViolation no seat was free"]}));
    }
}
