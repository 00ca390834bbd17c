//! What `status` tells people of the lives of subscriptions.

use serde_json::Value;

use super::output::moment;
use super::remote::{field, number};

/// Deadlines that come near, and what looks odd; nothing when all is well.
pub(super) fn lines(status: &Value) -> Vec<String> {
    let count = |pointer: &str| number(status, pointer);
    let mut lines = Vec::new();
    let near = count("/lives/deadlines/within_7d");
    if near > 0 {
        let passed = count("/lives/deadlines/passed");
        lines.push(format!(
            "deadlines      {near} within 7 days, {passed} of them passed; `entitled subscriptions \
             --due 7d` lists them"
        ));
    }
    let nearest = status.pointer("/lives/deadlines/nearest").and_then(Value::as_array);
    for it in nearest.into_iter().flatten() {
        let at = moment(field(it, "/at"));
        let (kind, id, why) = (field(it, "/deadline"), field(it, "/id"), field(it, "/why"));
        lines.push(format!("  {at} {kind} of {id}: {why}"));
    }
    let odd = [
        (
            "/lives/unread",
            "unread",
            "subscriptions could not be read: who may hold one is answered `unknown`",
        ),
        (
            "/lives/missing",
            "missing",
            "subscriptions that the last complete list lacked; they are kept and looked at",
        ),
        (
            "/lives/undocumented",
            "undocumented",
            "subscriptions took a step that Microsoft does not document; `entitled changes` shows it",
        ),
    ];
    for (pointer, name, words) in odd {
        let count = count(pointer);
        if count > 0 {
            lines.push(format!("{name:<14} {count} {words}"));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_comes_near_is_told_and_what_is_well_is_not() {
        assert!(lines(&json!({})).is_empty());
        let nearest = json!({"at": "2026-11-29T00:00:00Z", "deadline": "term_end", "id": "5d", "why": "it ends"});
        let told = lines(&json!({"lives": {
            "deadlines": {"within_7d": 3, "passed": 1, "nearest": [nearest]},
            "unread": 2, "missing": 0, "undocumented": 1,
        }}));
        assert!(told[0].contains("3 within 7 days, 1 of them passed"), "{told:?}");
        assert_eq!(told[1], "  2026-11-29 00:00:00Z term_end of 5d: it ends");
        assert!(
            told[2].starts_with("unread         2 ") && told[3].starts_with("undocumented   1 ")
        );
        assert_eq!(told.len(), 4);
    }
}
