//! `status`: how fresh everything is, what is going wrong, how much there is.

use reqwest::Method;
use serde_json::Value;

use super::Exit;
use super::output::{Column, Printer};
use super::remote::{Pairs, Remote, field, number};

/// Runs `status`.
///
/// # Errors
///
/// As [`Remote::one`], or standard output cannot be written.
pub async fn run(remote: &Remote, printer: Printer) -> Result<Exit, anyhow::Error> {
    let status = remote.one(Method::GET, "/status", &Pairs::new()).await?;
    if printer.is_json() {
        printer.rows(&[status], &[], "")?;
        return Ok(Exit::Done);
    }
    let columns = [
        Column::text("source", "/source"),
        Column::text("tenant", "/tenant"),
        Column::text("name", "/name"),
        Column::state("consent", "/consent"),
        Column::ago("last complete read", "/last_complete"),
        Column::text("stale", "/stale"),
        Column::state("last run", "/outcome"),
        Column::number("failures", "/failures"),
        Column::number("held back", "/held_back"),
        Column::text("running", "/running"),
        Column::time("next", "/next_due"),
    ];
    let sources = status.get("sources").and_then(Value::as_array).cloned().unwrap_or_default();
    printer.rows(&sources, &columns, "no source yet")?;
    let webhooks = super::webhooks::status(&status, printer.now());
    for line in errors(&sources).into_iter().chain(figures(&status)).chain(webhooks) {
        printer.line(&line)?;
    }
    Ok(Exit::Done)
}

/// What went wrong last, a line each: too long for a column.
fn errors(sources: &[Value]) -> Vec<String> {
    let line = |it: &Value| {
        let error = Some(field(it, "/error")).filter(|it| !it.is_empty())?;
        Some(format!("  {} {}: {error}", field(it, "/source"), field(it, "/tenant")))
    };
    let lines: Vec<String> = sources.iter().filter_map(line).collect();
    if lines.is_empty() {
        lines
    } else {
        [String::from("\nlast errors")].into_iter().chain(lines).collect()
    }
}

/// How soon answers followed what Microsoft changed: when somebody asked or told, and by schedule.
fn followed(status: &Value) -> Vec<String> {
    let ways = status.get("freshness").and_then(Value::as_array).cloned().unwrap_or_default();
    let of = |paths: [&str; 2]| {
        let ways = ways.iter().filter(|it| paths.contains(&field(it, "/path")));
        let way = |it: &Value| {
            let count = |name| number(it, name);
            let (path, changes) = (field(it, "/path"), count("/changes"));
            let (median, slowest) = (count("/median_s"), count("/slowest_s"));
            format!("{path} {median} s, at most {slowest} s ({changes} changes)")
        };
        ways.map(way).collect::<Vec<_>>().join("; ")
    };
    let lines =
        [("followed by", of(["lookup", "notification"])), ("and by", of(["delta", "sweep"]))];
    let told = lines.into_iter().filter(|(_, ways)| !ways.is_empty());
    told.map(|(title, ways)| format!("{title:<15}{ways}")).collect()
}

fn figures(status: &Value) -> Vec<String> {
    let count = |pointer: &str| number(status, pointer);
    let mut lines = vec![
        String::new(),
        format!(
            "runs           {} running, {} waiting for their turn, {} scheduled",
            count("/runs/running"),
            count("/runs/waiting"),
            count("/runs/scheduled")
        ),
        format!(
            "subscriptions  {}{}",
            count("/subscriptions/total"),
            parts(status, "/subscriptions/by_status")
        ),
        format!(
            "tenants        {}{}",
            count("/tenants/total"),
            parts(status, "/tenants/by_consent")
        ),
        format!(
            "seats          {} users hold licences, {} seats of subscriptions taken",
            count("/users_with_licences"),
            count("/seats_taken")
        ),
        format!(
            "store          {} on disk, {} of it live, {} free; guard {}",
            size(count("/store/disk_bytes")),
            size(count("/store/live_bytes")),
            size(count("/store/free_bytes")),
            field(status, "/store/guard")
        ),
    ];
    lines.extend(followed(status));
    lines.extend(notifications(status));
    lines.extend(licenses(status));
    if count("/seats/short") > 0 {
        lines.push(format!(
            "seats short    {} times: `entitled seats --figures` names who is without one",
            count("/seats/short")
        ));
    }
    if count("/covered_twice") > 0 {
        lines.push(format!(
            "covered twice  {} users by a seat and by a license: `entitled licenses overlap`",
            count("/covered_twice")
        ));
    }
    lines.extend(groups(status));
    lines.extend(super::learn::status_lines(
        status.pointer("/usage_rights").unwrap_or(&Value::Null),
    ));
    lines.extend(super::usage::status_lines(status.pointer("/usage").unwrap_or(&Value::Null)));
    let writable = status.pointer("/store/writable") == Some(&Value::Bool(true));
    if !writable {
        lines.push(format!("store          takes no writes: {}", field(status, "/store/error")));
    }
    lines.extend(super::notify::in_status(status));
    lines.extend(super::life::lines(status));
    lines.extend(super::reports::in_status(status));
    if count("/odd_records") > 0 {
        lines.push(format!(
            "odd records    {} that could not be understood (--json shows some)",
            count("/odd_records")
        ));
    }
    lines
}

/// Who tells us of changes, where somebody is to.
fn notifications(status: &Value) -> Option<String> {
    let count = |pointer: &str| number(status, pointer);
    let (there, failing) = (count("/notifications/subscriptions"), count("/notifications/failing"));
    let wanted = status.pointer("/notifications/wanted") == Some(&Value::Bool(true));
    let says = match (wanted, failing) {
        (false, _) if there == 0 => return None,
        (false, _) => "; they are switched off, and end".to_owned(),
        (true, 0) => String::new(),
        (true, _) => format!("; {failing} could not be had and are tried again: see the log"),
    };
    Some(format!("notifications  {there} subscriptions to changes{says}"))
}

/// Groups whose members are followed, and who does not show them.
fn groups(status: &Value) -> Option<String> {
    let count = |pointer: &str| number(status, pointer);
    let (followed, unreadable) = (count("/groups/followed"), count("/groups/unreadable"));
    (followed > 0 || unreadable > 0).then(|| {
        format!(
            "groups         {followed} followed; {unreadable} tenants do not let us read theirs \
             (seats do not need it)"
        )
    })
}

/// The publisher's own licenses in figures, where some were sold, and those that are odd.
fn licenses(status: &Value) -> Vec<String> {
    let count = |pointer: &str| number(status, pointer);
    let mut lines = Vec::new();
    if count("/licenses/total") > 0 {
        lines.push(format!(
            "licenses       {}{}, {} tenants bound, {} users; {} end within 30 days, {} nearly full, {} over \
             their maximum",
            count("/licenses/total"),
            parts(status, "/licenses/by_state"),
            count("/licenses/activations"),
            count("/licenses/users"),
            count("/licenses/ending/count"),
            count("/licenses/nearly_full/count"),
            count("/licenses/over_limit"),
        ));
    }
    lines.extend(odd_licenses(status));
    lines
}

/// Licenses that look as if they were passed on, a line each.
fn odd_licenses(status: &Value) -> Vec<String> {
    let some = status.pointer("/licenses/odd/some").and_then(Value::as_array);
    let line = |it: &Value| {
        let says = it.get("says").and_then(Value::as_array).into_iter().flatten();
        let says: Vec<&str> = says.filter_map(Value::as_str).collect();
        let (id, says) = (field(it, "/id"), says.join("; "));
        format!("odd license    {id} {says}: `entitled licenses reissue` ends what was passed on")
    };
    some.into_iter().flatten().map(line).collect()
}

/// ` (326 Unsubscribed, 47 Subscribed)`, the most first.
fn parts(status: &Value, pointer: &str) -> String {
    let parts = status.pointer(pointer).and_then(Value::as_object);
    let parts = parts.into_iter().flatten();
    let mut parts: Vec<(u64, &str)> =
        parts.filter_map(|(word, count)| Some((count.as_u64()?, word.as_str()))).collect();
    parts.sort_unstable_by(|a, b| b.cmp(a));
    let words: Vec<String> = parts.iter().map(|(count, word)| format!("{count} {word}")).collect();
    if words.is_empty() { String::new() } else { format!(" ({})", words.join(", ")) }
}

/// Bytes in the largest unit that fits.
fn size(bytes: u64) -> String {
    let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let fits = units.iter().find(|(unit, _)| bytes >= *unit);
    fits.map_or_else(
        || format!("{bytes} bytes"),
        |(unit, name)| {
            let tenths = bytes.saturating_mul(10) / unit;
            format!("{}.{} {name}", tenths / 10, tenths % 10)
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_sources_with_an_error_are_named() {
        let fine = json!({"source": "subscriptions", "error": null});
        let wrong = json!({"source": "directory", "tenant": "t1", "error": "no consent"});
        assert_eq!(errors(std::slice::from_ref(&fine)), [""; 0]);
        assert_eq!(errors(&[fine, wrong]), ["\nlast errors", "  directory t1: no consent"]);
    }

    #[test]
    fn figures_are_for_people() {
        let status = json!({
            "runs": {"running": 1, "waiting": 0, "scheduled": 4},
            "subscriptions": {"total": 373, "by_status": {"Subscribed": 47, "Unsubscribed": 326}},
            "store": {"disk_bytes": 3_300_000, "live_bytes": 2048, "free_bytes": 5_368_709_120_u64,
                      "writable": false, "error": "the disk is full", "guard": "on"},
            "odd_records": 2,
            "freshness": [
                {"path": "lookup", "changes": 12, "median_s": 1, "slowest_s": 4},
                {"path": "delta", "changes": 7, "median_s": 310, "slowest_s": 640},
            ],
            "licenses": {"total": 3, "by_state": {"active": 2, "grace": 1}, "activations": 2,
                "users": 12, "ending": {"count": 1}, "nearly_full": {"count": 1}, "over_limit": 0,
                "odd": {"some": [{"id": "L-1", "says": ["used from 3 tenants within 7 days"]}]}},
        });
        let text = figures(&status).join("\n");
        for wanted in [
            "1 running, 0 waiting for their turn, 4 scheduled",
            "373 (326 Unsubscribed, 47 Subscribed)",
            "3.1 MiB on disk, 2.0 KiB of it live, 5.0 GiB free; guard on",
            "followed by    lookup 1 s, at most 4 s (12 changes)",
            "and by         delta 310 s, at most 640 s (7 changes)",
            "takes no writes: the disk is full",
            "3 (2 active, 1 grace), 2 tenants bound, 12 users; 1 end within 30 days, 1 nearly full, 0 over",
            "odd license    L-1 used from 3 tenants within 7 days: `entitled licenses reissue`",
            "2 that could not be understood",
        ] {
            assert!(text.contains(wanted), "{wanted} in\n{text}");
        }
    }
}
