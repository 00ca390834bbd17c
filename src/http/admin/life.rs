//! What `subscriptions` and `status` say of their lives: deadlines, and what looks odd.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::rows;
use crate::domain::{Deadline, Mirror, NEAR, Subscription, SubscriptionStatus, deadlines};

/// So many deadlines are named in `status`.
const NEAREST: usize = 5;
/// So many unread subscriptions are named there.
const NAMED: usize = 5;

/// A row: what Microsoft says, the nearest deadline, and what we remember.
pub(super) fn row(mirror: &Mirror, it: &Subscription, now: Timestamp) -> Value {
    let life = mirror.life(it);
    let nearest = deadlines(it, &life, now).into_iter().next();
    let mut row = rows::subscription(it);
    if let Value::Object(row) = &mut row {
        let mut put = |name: &str, value| drop(row.insert(name.to_owned(), value));
        put("deadline", json!(nearest.map(|it| it.kind.as_str())));
        put("deadline_at", rows::time(nearest.map(|it| it.at)));
        put("deadline_why", json!(nearest.map(|it| it.why())));
        put("status_since", rows::time(Some(life.since)));
        put("missing_since", rows::time(life.missing_since));
        put("purged_at", rows::time(life.purged_at));
        put("undocumented", rows::text(life.undocumented));
    }
    row
}

/// What somebody may want to act on, the nearest first: the nearest of each subscription.
pub(super) fn pressing(mirror: &Mirror, now: Timestamp) -> Vec<(Deadline, &Subscription)> {
    let nearest = |it| {
        let found = deadlines(it, &mirror.life(it), now);
        found.into_iter().find(|it| it.kind.is_pressing()).map(|deadline| (deadline, it))
    };
    let mut found: Vec<_> = mirror.subscriptions().map(AsRef::as_ref).filter_map(nearest).collect();
    found.sort_by_key(|(deadline, it)| (deadline.at, it.id));
    found
}

/// What `status` says.
pub(super) fn status(mirror: &Mirror, now: Timestamp) -> Value {
    let found = pressing(mirror, now);
    let near: Vec<_> = found.iter().filter(|(it, _)| it.is_within(NEAR, now)).collect();
    let mut by_kind: BTreeMap<&str, u64> = BTreeMap::new();
    for (it, _) in &near {
        *by_kind.entry(it.kind.as_str()).or_default() += 1;
    }
    let named = |(deadline, it): &(Deadline, &Subscription)| {
        json!({
            "id": it.id.to_string(),
            "tenant": rows::text(it.beneficiary.tenant),
            "offer": *it.offer,
            "plan": *it.plan,
            "deadline": deadline.kind.as_str(),
            "at": deadline.at.to_string(),
            "at_the_latest": deadline.at_the_latest,
            "passed": deadline.is_past(now),
            "why": deadline.why(),
        })
    };
    let lives = || mirror.subscriptions().map(|it| (it, mirror.life(it)));
    let ended = |it: &Subscription| it.status == SubscriptionStatus::Unsubscribed;
    let unread = mirror
        .unread()
        .take(NAMED)
        .map(|it| json!({"key": *it.key, "since": it.since.to_string(), "why": *it.why}));
    json!({
        "deadlines": {
            "within_7d": near.len(),
            "by_kind": by_kind,
            "passed": near.iter().filter(|(it, _)| it.is_past(now)).count(),
            "nearest": found.iter().take(NEAREST).map(named).collect::<Vec<_>>(),
        },
        "missing": lives().filter(|(it, life)| !ended(it) && life.missing_since.is_some()).count(),
        "undocumented": lives().filter(|(_, it)| it.undocumented.is_some()).count(),
        "purged": lives().filter(|(_, it)| it.purged_at.is_some()).count(),
        "unread": mirror.unread().count(),
        "unread_some": unread.collect::<Vec<_>>(),
    })
}
