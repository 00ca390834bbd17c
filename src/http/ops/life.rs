//! Deadlines of subscriptions, and what looks odd about them: as metrics and as a picture.

use std::collections::BTreeMap;
use std::fmt;

use jiff::{SignedDuration, Timestamp};
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::registry::Unit;

use super::facts::{NO_LABELS, gauge};
use super::svg::{self, Tick};
use crate::domain::{
    Deadline, DeadlineKind, Mirror, NEAR, SubscriptionId, SubscriptionStatus, deadlines,
};

/// How far ahead the picture shows.
const AHEAD: SignedDuration = SignedDuration::from_hours(30 * 24);

/// Every deadline there is, with the subscription's id.
pub(super) fn all(mirror: &Mirror, now: Timestamp) -> Vec<(Deadline, SubscriptionId)> {
    let of = |it: &std::sync::Arc<crate::domain::Subscription>| {
        let id = it.id;
        deadlines(it, &mirror.life(it), now).into_iter().map(move |deadline| (deadline, id))
    };
    mirror.subscriptions().flat_map(of).collect()
}

/// Writes the metrics.
pub(super) fn encode(
    mirror: &Mirror,
    now: Timestamp,
    encoder: &mut DescriptorEncoder<'_>,
) -> Result<(), fmt::Error> {
    let found = all(mirror, now);
    let label = |kind: DeadlineKind| [("deadline", kind.as_str())];
    let near = DeadlineKind::ALL.iter().map(|kind| {
        let due = |it: &&(Deadline, _)| it.0.kind == *kind && it.0.is_within(NEAR, now);
        (label(*kind), clipped(found.iter().filter(due).count()))
    });
    let help = "Subscriptions with a deadline within 7 days, or with one that has passed";
    gauge(encoder, "subscriptions_due", help, None, near)?;
    let mut next: BTreeMap<DeadlineKind, Timestamp> = BTreeMap::new();
    for (it, _) in found.iter().filter(|(it, _)| !it.is_past(now)) {
        let at = next.entry(it.kind).or_insert(it.at);
        *at = it.at.min(*at);
    }
    let next = next.into_iter().map(|(kind, at)| (label(kind), at.as_second()));
    let help = "When the next deadline of a subscription passes";
    gauge(encoder, "subscription_next_deadline_timestamp", help, Some(&Unit::Seconds), next)?;

    let lives = || mirror.subscriptions().map(|it| (it, mirror.life(it)));
    let undocumented = lives().filter(|(_, it)| it.undocumented.is_some()).count();
    let help = "Subscriptions that took a step that Microsoft does not document";
    gauge(encoder, "subscriptions_undocumented", help, None, [(NO_LABELS, clipped(undocumented))])?;
    let ended = |it: &SubscriptionStatus| *it == SubscriptionStatus::Unsubscribed;
    let missing =
        lives().filter(|(it, life)| life.missing_since.is_some() && !ended(&it.status)).count();
    let help = "Subscriptions that the last complete list lacked, and that are kept";
    gauge(encoder, "subscriptions_missing", help, None, [(NO_LABELS, clipped(missing))])?;
    let help = "Subscriptions that could not be read";
    let unread = clipped(mirror.unread().count());
    gauge(encoder, "subscriptions_unread", help, None, [(NO_LABELS, unread)])
}

/// The next 30 days, a row for each kind of deadline.
pub(super) fn picture(found: &[(Deadline, SubscriptionId)], now: Timestamp) -> String {
    let ahead = |it: &Deadline| it.at.duration_since(now).as_secs_f64() / AHEAD.as_secs_f64();
    let rows: Vec<(String, Vec<Tick>)> = DeadlineKind::ALL
        .iter()
        .map(|kind| {
            let theirs = found.iter().filter(|(it, _)| it.kind == *kind && ahead(it) <= 1.0);
            let ticks = theirs.map(|(it, id)| Tick {
                at: ahead(it).max(0.0),
                lasts: 0.0,
                class: class(it, now),
                title: format!("{id}: {} at {}", it.why(), it.at.strftime("%Y-%m-%d %H:%M UTC")),
            });
            (kind.as_str().replace('_', " "), ticks.collect())
        })
        .collect();
    let near = found.iter().filter(|(it, _)| it.kind.is_pressing() && it.is_within(NEAR, now));
    let (near, past) = (near.clone().count(), near.filter(|(it, _)| it.is_past(now)).count());
    let words = match (near, past) {
        (0, _) => "<p>Nothing within 7 days.</p>\n".to_owned(),
        (near, 0) => format!("<p>{near} within 7 days.</p>\n"),
        (near, past) => format!("<p>{near} within 7 days, {past} of them passed.</p>\n"),
    };
    let axis = [(0.0, "now"), (0.25, "7½ d"), (0.5, "15 d"), (0.75, "22½ d"), (1.0, "30 d")];
    svg::timeline(&rows, &axis) + &words
}

fn class(it: &Deadline, now: Timestamp) -> &'static str {
    match (it.kind.is_pressing(), it.is_past(now), it.is_within(NEAR, now)) {
        (false, ..) => "gone",
        (true, true, _) => "bad",
        (true, false, true) => "warn",
        (true, false, false) => "info",
    }
}

fn clipped(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
