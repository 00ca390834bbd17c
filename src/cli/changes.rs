//! `changes`: each fact that differs from before, and why.

use reqwest::Method;
use serde_json::{Value, json};

use super::Exit;
use super::args::ChangesArgs;
use super::output::{Column, Printer, moment};
use super::remote::{Remote, pairs};

/// Runs `changes`.
///
/// # Errors
///
/// As [`Remote::print`].
pub async fn run(
    remote: &Remote,
    printer: Printer,
    args: &ChangesArgs,
) -> Result<Exit, anyhow::Error> {
    let since = args.since.map(|it| it.moment(printer.now()).to_string());
    let asked = pairs([
        ("tenant", args.tenant.map(|it| it.to_string())),
        ("user", args.user.map(|it| it.to_string())),
        ("subscription", args.subscription.map(|it| it.to_string())),
        ("license", args.license.clone()),
        ("since", since),
    ]);
    if printer.is_json() {
        remote.print(printer, ("/changes", &asked), &[], "").await?;
        return Ok(Exit::Done);
    }
    let mut rows = Vec::new();
    let take = |more: Vec<Value>| {
        rows.extend(more.into_iter().map(readable));
        Ok(())
    };
    remote.rows(Method::GET, "/changes", &asked, take).await?;
    let columns = [
        Column::time("at", "/at"),
        Column::text("cause", "/cause"),
        Column::text("what", "/entity"),
        Column::text("id", "/id"),
        Column::text("tenant", "/tenant"),
        Column::text("user", "/user"),
        Column::text("changed", "/differs"),
    ];
    printer.rows(&rows, &columns, "nothing has changed")?;
    Ok(Exit::Done)
}

/// The row with what differs in words: `status: Subscribed → Suspended`, and who gave a command.
fn readable(mut row: Value) -> Value {
    let word = |name: &str| row.get(name).and_then(Value::as_str);
    if let Some((cause, by)) = word("cause").zip(word("by")) {
        let words = format!("{cause}, {by}").into();
        drop(row.as_object_mut().and_then(|row| row.insert("cause".to_owned(), words)));
    }
    let side = |name: &str| row.get(name).cloned().unwrap_or_default();
    let (before, after) = (side("before"), side("after"));
    let words = match (&before, &after) {
        (Value::Null, Value::String(said)) => said.clone(),
        (Value::Null, _) => "new".to_owned(),
        (_, Value::Null) => "gone".to_owned(),
        (Value::Object(old), Value::Object(new)) => {
            let names =
                new.keys().filter(|it| *it != "observed_at" && old.get(*it) != new.get(*it));
            let told = names.map(|it| {
                let value = |side: Option<&Value>| side.map(short).unwrap_or_default();
                format!("{it}: {} → {}", value(old.get(it)), value(new.get(it)))
            });
            told.collect::<Vec<_>>().join(", ")
        }
        (_, _) => format!("{} → {}", short(&before), short(&after)),
    };
    if let Value::Object(row) = &mut row {
        row.insert("differs".to_owned(), json!(words));
    }
    row
}

/// A value in one short word: what is inside of lists is shown by `--json`.
fn short(value: &Value) -> String {
    match value {
        Value::Null => "none".to_owned(),
        Value::String(it) => moment(it),
        Value::Array(list) => format!("{} of them", list.len()),
        Value::Object(_) => "…".to_owned(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_says_what_differs() {
        let check = |before: Value, after: Value, words: &str| {
            let row = readable(json!({"before": before, "after": after}));
            assert_eq!(row.get("differs"), Some(&json!(words)));
        };
        check(Value::Null, json!({"a": 1}), "new");
        check(json!({"a": 1}), Value::Null, "gone");
        check(Value::Null, json!("asked for the end"), "asked for the end");
        let old = json!({"status": "Subscribed", "plan": "x", "observed_at": 1});
        let new = json!({"status": "Suspended", "plan": "x", "observed_at": 2});
        check(old, new, "status: Subscribed → Suspended");
        check(json!({"l": [1]}), json!({"l": []}), "l: 1 of them → 0 of them");
        check(json!("k1"), json!("k2"), "k1 → k2");
        let end = |it: &str| json!({"end": it});
        check(end("-"), end("2026-11-28T15:33:57.42Z"), "end: - → 2026-11-28 15:33:57Z");
    }
}
