//! `query`: a decision, with its trail on request.

use reqwest::Method;
use serde_json::Value;

use super::Exit;
use super::args::QueryArgs;
use super::output::{Column, Printer};
use super::remote::{Remote, field, pairs, switch};
use crate::decision::Reason;

/// The order of an answer's fields for people.
const ORDER: [&str; 14] = [
    "product",
    "state",
    "usable",
    "reason",
    "source",
    "plan",
    "features",
    "period_end",
    "grace_end",
    "notice",
    "as_of",
    "stale",
    "check_after",
    "valid_until",
];

/// Runs `query`.
///
/// # Errors
///
/// As [`Remote::one`], or standard output cannot be written.
pub async fn run(
    remote: &Remote,
    printer: Printer,
    args: &QueryArgs,
) -> Result<Exit, anyhow::Error> {
    let asked = pairs([
        ("product", Some(args.product.to_string())),
        ("tenant", Some(args.tenant.to_string())),
        ("user", Some(args.user.to_string())),
        ("host", Some(args.host.to_string())),
        ("license", args.license.clone()),
        ("at", args.at.map(|it| it.to_string())),
        ("locale", args.locale.clone()),
        ("explain", switch(args.explain)),
    ]);
    let mut answer = remote.one(Method::GET, "/query", &asked).await?;
    let usable = answer.get("usable").and_then(Value::as_bool) == Some(true);
    if printer.is_json() {
        printer.rows(&[answer], &[], "")?;
    } else {
        let mut taken = |name| answer.as_object_mut().and_then(|it| it.remove(name));
        // Never signed here, so there is nothing to show.
        drop(taken("token"));
        let trail = taken("trail");
        tell_notice(&mut answer);
        printer.line(&headline(&answer))?;
        printer.record(&answer, &ORDER)?;
        if let Some(trail) = trail {
            explained(printer, &trail)?;
        }
    }
    Ok(if usable { Exit::Done } else { Exit::NotUsable })
}

/// The notice as one line: how the visual shows it, and its text.
fn tell_notice(answer: &mut Value) {
    let notice = |part| field(answer, part).to_owned();
    let (show, text) = (notice("/notice/type"), notice("/notice/text"));
    if let Some(place) = answer.get_mut("notice").filter(|it| it.is_object()) {
        *place = Value::String(format!("{show}: {text}"));
    }
}

/// `active: The user holds a Microsoft-managed licence through a group.`
fn headline(answer: &Value) -> String {
    let (state, word) = (field(answer, "/state"), field(answer, "/reason"));
    let reason = Reason::ALL.iter().find(|it| it.as_str() == word);
    format!("{state}: {}", reason.map_or(word, |it| it.sentence()))
}

fn explained(printer: Printer, trail: &Value) -> Result<(), anyhow::Error> {
    let list = |name: &str| trail.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let columns = [
        Column::text("evidence", "/kind"),
        Column::text("id", "/id"),
        Column::text("channel", "/channel"),
        Column::text("plan", "/plan"),
        Column::text("says", "/says"),
        Column::state("judged", "/state"),
        Column::text("reason", "/reason"),
        Column::ago("as of", "/as_of"),
        Column::text("fate", "/fate"),
        Column::text("rule", "/rule"),
    ];
    printer.line("\nevidence")?;
    printer.rows(&list("evidence"), &columns, "none was found")?;
    printer.line("\nsources that could have held some")?;
    let columns = [
        Column::text("source", "/source"),
        Column::ago("last complete read", "/last_complete"),
        Column::text("", "/says"),
    ];
    printer.rows(&list("sources"), &columns, "none, for this product in this host")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_answer_begins_with_a_sentence() {
        let check = |reason: &str, line: &str| {
            assert_eq!(headline(&json!({"state": "unlicensed", "reason": reason})), line);
        };
        check("no_free_seat", "unlicensed: All seats of the subscription are taken.");
        check("new_word", "unlicensed: new_word");
    }
}
