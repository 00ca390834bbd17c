//! The status page's picture of events on their way to the publisher's own systems.

use super::figures::Figures;
use super::page::{legend, span, table};
use super::svg::{self, Bar, Part, Text, float};
use crate::notify::EndpointStatus;

/// A bar an endpoint, and a row for each that has trouble.
pub(super) fn render(figures: &Figures) -> String {
    let now = figures.now;
    let count = |it: usize| float(u64::try_from(it).unwrap_or(u64::MAX));
    let bar = |it: &EndpointStatus| {
        let waits = Part {
            value: count(it.waiting),
            class: if it.state == "ok" { "info" } else { "warn" },
            title: format!("{} waiting", it.waiting),
        };
        let dead =
            Part { value: count(it.dead), class: "bad", title: format!("{} given up", it.dead) };
        let oldest =
            it.oldest.map(|at| format!(", the oldest for {}", span(now.duration_since(at))));
        let note = format!(
            "{}: {} waiting{}, {} given up",
            it.state,
            it.waiting,
            oldest.unwrap_or_default(),
            it.dead
        );
        Bar { name: it.name.to_string(), parts: vec![waits, dead], note }
    };
    let bars: Vec<Bar> = figures.endpoints.iter().map(bar).collect();
    let most = figures.endpoints.iter().map(|it| it.waiting.saturating_add(it.dead)).max();
    let rows = figures.endpoints.iter().filter(|it| it.state != "ok").map(|it| {
        let ago = it.last_success.map(|at| format!("{} ago", span(now.duration_since(at))));
        format!(
            "<tr><td>{}</td><td>{}</td><td>{}</td></tr>",
            Text(&it.name),
            Text(it.last_error.as_deref().unwrap_or_default()),
            ago.unwrap_or_else(|| "never".to_owned()),
        )
    });
    svg::bars(&bars, count(most.unwrap_or(0)), &[])
        + &legend(&[
            ("info", "waiting"),
            ("warn", "waiting for one in trouble"),
            ("bad", "given up"),
        ])
        + &table(&["in trouble", "what is wrong", "last took one"], rows)
}
