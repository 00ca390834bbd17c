//! `tenants learn`: what plans may be called in a tenant, and an operator's word on it.

use clap::Args;
use reqwest::Method;
use serde_json::Value;

use super::Exit;
use super::output::{Column, Printer};
use super::remote::{Pairs, Remote, field, number};
use crate::domain::TenantId;

/// `tenants learn`.
#[derive(Clone, Debug, Args)]
pub struct LearnArgs {
    /// The tenant
    #[arg(value_name = "T")]
    pub tenant: TenantId,
    /// It is so: it counts from now on. The mapping's id, as the list shows it; may be repeated
    #[arg(long, value_name = "MAPPING")]
    pub confirm: Vec<String>,
    /// It is not so: it counts no more, and is never proposed again; may be repeated
    #[arg(long, value_name = "MAPPING")]
    pub reject: Vec<String>,
}

/// Runs `tenants learn`.
///
/// # Errors
///
/// As [`Remote::print`].
pub(super) async fn run(
    remote: &Remote,
    printer: Printer,
    args: &LearnArgs,
) -> Result<Exit, anyhow::Error> {
    let tenant = args.tenant;
    let confirmed = args.confirm.iter().map(|it| (it, "confirm"));
    let decisions: Vec<_> = confirmed.chain(args.reject.iter().map(|it| (it, "reject"))).collect();
    if decisions.is_empty() {
        return list(remote, printer, tenant).await;
    }
    for (mapping, word) in decisions {
        // It goes into a path; nothing else can be a mapping's id.
        let plain = !mapping.is_empty() && mapping.chars().all(|c| c.is_ascii_alphanumeric());
        let mapping = if plain { mapping } else { "-" };
        let path = format!("/tenants/{tenant}/learn/{mapping}/{word}");
        let row = remote.one(Method::POST, &path, &Pairs::new()).await?;
        if printer.is_json() {
            printer.record(&row, &[])?;
        } else {
            printer.line(&in_words(&row))?;
        }
    }
    Ok(Exit::Done)
}

fn in_words(row: &Value) -> String {
    let (what, is) = (field(row, "/service_id"), field(row, "/target"));
    if field(row, "/state") == "confirmed" {
        format!("confirmed: {is} is {what} in this tenant; its directory is being read again")
    } else {
        format!("rejected: {is} is not {what} in this tenant, and is never proposed again")
    }
}

async fn list(remote: &Remote, printer: Printer, tenant: TenantId) -> Result<Exit, anyhow::Error> {
    if !printer.is_json() {
        let path = format!("/tenants/{tenant}/rights");
        printer.line(&trust(&remote.one(Method::GET, &path, &Pairs::new()).await?))?;
    }
    let columns = [
        Column::text("mapping", "/mapping"),
        Column::state("state", "/state"),
        Column::text("plan", "/service_id"),
        Column::text("is", "/target"),
        Column::number("users", "/users"),
        Column::text("evidence", "/evidence"),
        Column::ago("since", "/since"),
    ];
    let empty = "nothing was found that needs an operator's word: what is named by Service IDs or by \
                 the ids of the configuration counts by itself";
    let path = format!("/tenants/{tenant}/learn");
    remote.print(printer, (&path, &Pairs::new()), &columns, empty).await?;
    Ok(Exit::Done)
}

/// How far usage rights are believed there.
fn trust(rights: &Value) -> String {
    let says = |pointer: &str| Some(field(rights, pointer)).filter(|it| !it.is_empty());
    let trusted = match (says("/proven_by"), says("/proven_at"), says("/read_at")) {
        (Some(app), Some(at), _) => {
            format!("rights of ours were seen by app {app} at {at}: its empty answers count")
        }
        (_, _, Some(_)) => {
            "nobody's rights of ours were ever seen: an empty answer says nothing".to_owned()
        }
        (_, _, None) => "never read".to_owned(),
    };
    let refusal = says("/refused").map_or_else(String::new, |why| {
        format!("\nlast refusal, at {}: {why}", field(rights, "/refused_at"))
    });
    let off = rights.pointer("/switched_off") == Some(&Value::Bool(true));
    let off = if off { "\n[sync.directory] rights is \"off\": nobody's are read" } else { "" };
    let users = number(rights, "/users");
    format!("usage rights: {users} users have some; {trusted}{refusal}{off}\n")
}

/// The line of `status` while proposals wait.
pub(super) fn status_lines(it: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    let waiting = number(it, "/proposed");
    if waiting > 0 {
        let some = it.pointer("/some").and_then(Value::as_array).into_iter().flatten();
        let tenants: Vec<&str> = some.map(|it| field(it, "/tenant")).collect();
        lines.push(format!(
            "plans' names   {waiting} wait for your word: `entitled tenants learn T` of {}",
            tenants.join(", ")
        ));
    }
    let hidden = number(it, "/hidden");
    if hidden > 0 {
        lines.push(format!(
            "usage rights   switched off, and {hidden} tenants have licences that only they would show: who \
             holds them is unknown (reason rights_off); [sync.directory] rights reads them"
        ));
    }
    let refused = number(it, "/unreadable");
    if refused > 0 {
        lines.push(format!(
            "usage rights   {refused} tenants do not let us read them (what the directory shows does not need them)"
        ));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_operator_is_told_what_waits_and_how_far_silence_is_believed() {
        assert_eq!(status_lines(&json!({"proposed": 0, "unreadable": 0})), [""; 0]);
        let waits = json!({"proposed": 2, "some": [{"tenant": "t1"}], "unreadable": 1});
        let lines = status_lines(&waits);
        assert!(lines[0].contains("2 wait") && lines[0].ends_with("of t1"), "{lines:?}");
        assert!(lines[1].contains("1 tenants do not let us"), "{lines:?}");
        let off = status_lines(&json!({"switched_off": true, "hidden": 3}));
        assert!(off[0].contains("off, and 3 tenants have licences"), "{off:?}");
        let check = |rights: Value, words: &str| {
            let line = trust(&rights);
            assert!(line.contains(words), "{line}");
        };
        check(json!({"users": 0}), "never read");
        check(json!({"users": 0, "read_at": "x"}), "an empty answer says nothing");
        let proven = json!({"users": 3, "read_at": "x", "proven_by": "a", "proven_at": "y",
            "refused": "no", "refused_at": "z"});
        check(proven.clone(), "seen by app a at y");
        check(proven, "last refusal, at z: no");
        check(json!({"users": 0, "switched_off": true}), "is \"off\": nobody's are read");
    }
}
