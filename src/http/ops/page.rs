//! The status page: charts before tables, plain HTML and CSS, drawn on the server. No script, no
//! asset from anywhere. Shows ids and what tenants call themselves, never a person.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use jiff::{SignedDuration, Timestamp};

use super::figures::{DAY, Figures, Fresh, Scope};
use super::licenses;
use super::life;
use super::notify;
use super::seats;
use super::svg::{self, Bar, Part, Text, Tick, float};
use crate::domain::{Change, Entity, Outcome, Run, Source};

/// Bars of one chart, and rows of one table; the rest is counted.
pub(super) const SHOWN: usize = 25;

/// The page.
pub(super) fn render(figures: &Figures) -> String {
    let mut page = String::with_capacity(32 * 1024);
    page.push_str(HEAD);
    page.push_str(&headline(figures));
    section(&mut page, "Freshness", "how long ago each last complete read began", &fresh(figures));
    section(&mut page, "Runs", "of the last 24 hours, by source and outcome", &runs_chart(figures));
    section(
        &mut page,
        "Changes",
        "of mirrored facts in the last 24 hours",
        &changes_chart(figures),
    );
    let about = "of the marketplace in the last 24 hours, by what came of them";
    section(&mut page, "Webhooks", about, &figures.webhooks.picture());
    section(&mut page, "Rights", "what tenants bought and users hold", &rights(figures));
    let about = "of our app in tenants, and what works where one is missing";
    section(&mut page, "Permissions", about, &figures.permits.picture());
    let about = "of the plans that Microsoft manages, by product";
    section(&mut page, "Seats", about, &seats::picture(&figures.by_tenant));
    let about = "of the publisher's own, by where they stand";
    section(&mut page, "Licenses", about, &licenses::picture(&figures.licenses, figures.now));
    if !figures.reports.is_empty() {
        let about = "against what Graph shows, by product";
        section(&mut page, "Licence report", about, &figures.reports.picture());
    }
    let due = life::picture(&figures.deadlines, figures.now);
    section(&mut page, "Deadlines", "of subscriptions in the next 30 days", &due);
    section(&mut page, "Decisions", "since the daemon started", &decisions(figures));
    section(&mut page, "Store", "on disk", &store(figures));
    if !figures.endpoints.is_empty() {
        section(
            &mut page,
            "Events out",
            "to the publisher's own systems",
            &notify::render(figures),
        );
    }
    section(&mut page, "Last runs", "newest first", &runs_table(&figures.runs));
    section(&mut page, "Last changes", "newest first", &changes_table(&figures.changes));
    page.push_str("</main></body></html>\n");
    page
}

fn section(page: &mut String, title: &str, about: &str, content: &str) {
    let written =
        writeln!(page, "<section><h2>{title} <small>{about}</small></h2>\n{content}</section>");
    debug_assert!(written.is_ok(), "a String takes every write");
}

/// One line that says whether anybody has to look further.
fn headline(figures: &Figures) -> String {
    let now = figures.now;
    let count = |fresh: Fresh| figures.sources.iter().filter(|it| it.fresh(now) == fresh).count();
    let old = count(Fresh::Stale) + count(Fresh::Distrusted);
    let never = count(Fresh::Never);
    let (class, words) = if figures.store.refused.is_some() {
        ("bad", "The store takes no writes: see the log and /readyz.".to_owned())
    } else if old + never > 0 {
        let all = figures.sources.len();
        (
            "warn",
            format!("Of {all} sources {old} are older than they should be and {never} never read."),
        )
    } else {
        ("ok", "All sources are fresh.".to_owned())
    };
    let keys = if figures.entra_keys {
        ""
    } else {
        " Entra's signing keys were never read: user tokens get 503."
    };
    format!(
        "<header><h1>entitled</h1><p class=\"state {class}\">{words}{keys}</p><p>{} · up {} · version {} \
         · reload for newer figures</p></header>\n<main>\n",
        time(now),
        span(now.duration_since(figures.started)),
        env!("CARGO_PKG_VERSION"),
    )
}

fn fresh(figures: &Figures) -> String {
    let now = figures.now;
    let hours = |it: SignedDuration| it.as_secs_f64() / 3600.0;
    let shown: Vec<&Scope> = figures.sources.iter().take(SHOWN).collect();
    let limit = shown.iter().map(|it| hours(it.limits.max_age)).fold(0.0, f64::max);
    let oldest = shown.iter().filter_map(|it| it.age(now)).map(hours).fold(0.0, f64::max);
    let bars: Vec<Bar> = shown.iter().map(|it| freshness_bar(it, now)).collect();
    let mut html = svg::bars(&bars, (limit * 1.5).max(oldest), &[(limit, "max_age")]);
    html.push_str(&left_out(figures.sources.len(), "sources"));
    let troubled = figures.sources.iter().filter(|it| it.state.last_error.is_some());
    let rows = troubled.take(SHOWN).map(|it| {
        let error = it.state.last_error.as_deref().unwrap_or_default();
        let held = it.state.held_back;
        format!(
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{held}</td></tr>",
            Text(&it.name),
            Text(error),
            it.state.failures,
        )
    });
    html.push_str(&table(&["source", "what is wrong", "failures in a row", "held back"], rows));
    html
}

fn freshness_bar(scope: &Scope, now: Timestamp) -> Bar {
    let class = match scope.fresh(now) {
        Fresh::Good => "ok",
        Fresh::Stale => "warn",
        Fresh::Distrusted | Fresh::Never => "bad",
    };
    let age = scope.age(now);
    let note = age.map_or_else(|| "never read".to_owned(), span);
    let note = match (scope.consent, &scope.task) {
        (Some(consent @ ("missing" | "revoked")), _) => format!("{note}, consent {consent}"),
        (_, Some(task)) if task.running.is_some() => note + ", reading now",
        _ => note,
    };
    let hours = age.map_or(0.0, |it| it.as_secs_f64() / 3600.0);
    let title = format!("{}: {note}", scope.name);
    let parts = vec![Part { value: hours, class, title }];
    Bar { name: scope.name.clone(), parts, note }
}

fn runs_chart(figures: &Figures) -> String {
    let start = figures.now.checked_sub(DAY).unwrap_or(figures.now);
    let share = |at: Timestamp| at.duration_since(start).as_secs_f64() / DAY.as_secs_f64();
    let reported = figures.runs.iter().any(|it| it.key.source == Source::Reports);
    let rows: Vec<(String, Vec<Tick>)> = Source::ALL
        .iter()
        .filter(|source| **source != Source::Reports || reported)
        .map(|source| {
            let ticks = figures.runs.iter().filter(|it| it.key.source == *source).map(|run| Tick {
                at: share(run.started),
                lasts: share(run.ended) - share(run.started),
                class: outcome_class(run.outcome),
                title: format!(
                    "{} {} at {}: {}, {} seen, {} changed",
                    run.id,
                    run.key,
                    time(run.started),
                    run.outcome,
                    run.seen,
                    run.added + run.changed + run.removed,
                ),
            });
            (source.to_string(), ticks.collect())
        })
        .collect();
    let of = |outcome| figures.runs.iter().filter(|it| it.outcome == outcome).count();
    let (complete, partial, failed) =
        (of(Outcome::Complete), of(Outcome::Partial), of(Outcome::Failed));
    svg::timeline(&rows, &svg::DAY)
        + &legend(&[
            ("ok", &format!("{complete} complete")),
            ("warn", &format!("{partial} partial")),
            ("bad", &format!("{failed} failed")),
        ])
}

fn changes_chart(figures: &Figures) -> String {
    let mut hourly: Vec<BTreeMap<Entity, u32>> = vec![BTreeMap::new(); 24];
    let mut totals: BTreeMap<Entity, u32> = BTreeMap::new();
    for change in &figures.changes {
        *totals.entry(change.entity).or_default() += 1;
        let ago = figures.now.duration_since(change.at).as_hours();
        let hour = usize::try_from(ago).ok().and_then(|ago| 23_usize.checked_sub(ago));
        if let Some(counts) = hour.and_then(|it| hourly.get_mut(it)) {
            *counts.entry(change.entity).or_default() += 1;
        }
    }
    let part = |(entity, count): (&Entity, &u32)| Part {
        value: f64::from(*count),
        class: entity_class(*entity),
        title: format!("{count} {entity}"),
    };
    let columns: Vec<Vec<Part>> =
        hourly.iter().map(|counts| counts.iter().map(part).collect()).collect();
    let said: Vec<(&str, String)> = totals
        .iter()
        .map(|(entity, count)| (entity_class(*entity), format!("{count} {entity}")))
        .collect();
    let said: Vec<(&str, &str)> =
        said.iter().map(|(class, text)| (*class, text.as_str())).collect();
    svg::columns(&columns) + &legend(&said)
}

fn rights(figures: &Figures) -> String {
    let most = figures.seats.iter().map(|it| it.bought.max(it.assigned)).max().unwrap_or(0);
    let bars = figures.seats.iter().map(|seats| {
        let parts = seats.by_state.iter().map(|(state, count)| Part {
            value: float(*count),
            class: state_class(state),
            title: format!("{count} assigned, {state}"),
        });
        let free = seats.bought.saturating_sub(seats.assigned);
        let free = Part { value: float(free), class: "free", title: format!("{free} free") };
        Bar {
            name: seats.plan.clone(),
            parts: parts.chain([free]).collect(),
            note: format!("{} of {} assigned", seats.assigned, seats.bought),
        }
    });
    let bars: Vec<Bar> = bars.collect();
    let total: i64 = figures.subscriptions.values().sum();
    let statuses: Vec<Bar> = figures
        .subscriptions
        .iter()
        .map(|(status, count)| {
            let class = match *status {
                "Subscribed" => "ok",
                "PendingFulfillmentStart" => "info",
                "Suspended" => "warn",
                _ => "gone",
            };
            let value = float(u64::try_from(*count).unwrap_or(0));
            let part = Part { value, class, title: format!("{count} {status}") };
            Bar { name: (*status).to_owned(), parts: vec![part], note: count.to_string() }
        })
        .collect();
    let consents: Vec<String> =
        figures.tenants.iter().map(|(consent, count)| format!("{count} {consent}")).collect();
    format!(
        "<h3>Microsoft-managed licences by plan</h3>{}{}\n<h3>Marketplace subscriptions by status</h3>{}\n\
         <p>{} users hold licences · {} sit on seats of subscriptions · tenants by consent: {}</p>\n",
        svg::bars(&bars, float(most), &[]),
        legend(&[("ok", "active"), ("warn", "grace"), ("bad", "suspended"), ("free", "free")]),
        svg::bars(&statuses, float(u64::try_from(total).unwrap_or(0)), &[]),
        figures.licensed_users,
        figures.held_seats,
        if consents.is_empty() { "none known".to_owned() } else { consents.join(", ") },
    )
}

fn decisions(figures: &Figures) -> String {
    let most = figures.decisions.iter().map(|(_, count)| *count).max().unwrap_or(0);
    let bars: Vec<Bar> = figures
        .decisions
        .iter()
        .map(|(state, count)| {
            let (class, title) = (state_class(state.as_str()), format!("{count} {state}"));
            let part = Part { value: float(*count), class, title };
            Bar { name: state.to_string(), parts: vec![part], note: count.to_string() }
        })
        .collect();
    let (kept, signed) = (figures.answers_kept, figures.answers_signed);
    svg::bars(&bars, float(most), &[])
        + &format!("<p>{signed} answers signed, {kept} given again with the signature kept</p>\n")
}

fn store(figures: &Figures) -> String {
    let report = &figures.store;
    let bytes = |name: &str, class: &'static str, value: u64| Bar {
        name: name.to_owned(),
        parts: vec![Part { value: float(value), class, title: size(value) }],
        note: size(value),
    };
    let bars =
        [bytes("records", "ok", report.live_bytes), bytes("files", "info", report.disk_bytes)];
    let most = report.live_bytes.max(report.disk_bytes);
    svg::bars(&bars, float(most), &[])
        + &format!(
            "<p>{} free on its disk · {} commits, the last {}</p>\n",
            report.free_bytes.map_or_else(|| "unknown space".to_owned(), size),
            report.commits,
            report.last_commit.map_or_else(|| "never".to_owned(), time),
        )
}

fn runs_table(runs: &[Run]) -> String {
    let rows = runs.iter().rev().take(SHOWN).map(|run| {
        format!(
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td><i class=\"{}\"></i>{}</td>\
             <td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            run.id,
            Text(&run.key.to_string()),
            run.trigger,
            time(run.started),
            span(run.ended.duration_since(run.started)),
            outcome_class(run.outcome),
            run.outcome,
            run.seen,
            run.added,
            run.changed,
            run.removed,
            Text(run.error.as_deref().unwrap_or_default()),
        )
    });
    let names = [
        "run", "source", "trigger", "started", "took", "outcome", "seen", "added", "changed",
        "removed", "error",
    ];
    table(&names, rows)
}

fn changes_table(changes: &[Change]) -> String {
    let rows = changes.iter().rev().take(SHOWN).map(|change| {
        let what = match (&change.before, &change.after) {
            (None, _) => "new",
            (Some(_), Some(_)) => "changed",
            (Some(_), None) => "gone",
        };
        format!(
            "<tr><td>{}</td><td>{}</td><td>{what}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            time(change.at),
            change.entity,
            Text(&change.id),
            change.tenant.map(|it| it.to_string()).unwrap_or_default(),
            Text(&change.cause.to_string()),
        )
    });
    table(&["at", "what", "how", "id", "tenant", "cause"], rows)
}

pub(super) fn table(names: &[&str], rows: impl Iterator<Item = String>) -> String {
    let rows: String = rows.collect();
    if rows.is_empty() {
        return "<p class=\"none\">none</p>\n".to_owned();
    }
    let names: String = names.iter().fold(String::new(), |all, it| all + "<th>" + it + "</th>");
    format!(
        "<div class=\"wide\"><table><thead><tr>{names}</tr></thead><tbody>{rows}</tbody></table></div>\n"
    )
}

pub(super) fn legend(entries: &[(&str, &str)]) -> String {
    let mut html = String::from("<p>");
    for (class, text) in entries {
        let written =
            write!(html, "<span class=\"key\"><i class=\"{class}\"></i>{}</span>", Text(text));
        debug_assert!(written.is_ok(), "a String takes every write");
    }
    html + "</p>\n"
}

fn left_out(all: usize, what: &str) -> String {
    match all.checked_sub(SHOWN) {
        None | Some(0) => String::new(),
        Some(more) => format!("<p>and {more} {what} that are fresher</p>\n"),
    }
}

fn outcome_class(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Complete => "ok",
        Outcome::Partial => "warn",
        Outcome::Failed => "bad",
    }
}

fn entity_class(entity: Entity) -> &'static str {
    match entity {
        Entity::Seat | Entity::UsageRight => "ok",
        Entity::HeldSeat => "held",
        Entity::Subscription | Entity::Operation | Entity::Group => "info",
        Entity::Sku | Entity::Usage | Entity::Report | Entity::Deal => "warn",
        Entity::License | Entity::Key | Entity::Notice => "bad",
        Entity::Tenant | Entity::Webhook | Entity::Mapping => "gone",
    }
}

pub(super) fn state_class(state: &str) -> &'static str {
    match state {
        "active" | "trial" => "ok",
        "grace" => "warn",
        "pending" => "info",
        "suspended" | "expired" | "unlicensed" => "bad",
        _ => "gone",
    }
}

pub(super) fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// A duration in its largest two units.
pub(super) fn span(it: SignedDuration) -> String {
    let s = it.as_secs().max(0);
    match s {
        0..60 => format!("{s} s"),
        60..3_600 => format!("{} min", s / 60),
        3_600..172_800 => format!("{} h {} min", s / 3_600, s % 3_600 / 60),
        _ => format!("{} d {} h", s / 86_400, s % 86_400 / 3_600),
    }
}

fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let mut value = float(bytes);
    let mut unit = "B";
    for next in UNITS {
        if value < 1024.0 {
            break;
        }
        (value, unit) = (value / 1024.0, next);
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{value:.1} {unit}") }
}

const HEAD: &str = r#"<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><title>entitled</title><style>
:root{color-scheme:light dark;--ok:#2e8b57;--warn:#d9962b;--bad:#c8443c;--info:#3f7fbf;--gone:#8a8f98;--held:#7cc6a0;--lane:#8882;--text:#555}
@media(prefers-color-scheme:dark){:root{--text:#bbb}}
body{font:15px/1.45 system-ui,sans-serif;margin:0 auto;max-width:60rem;padding:1rem}
h1{margin:0;font-size:1.4rem}h2{font-size:1.1rem;margin:1.6rem 0 .4rem}h3{font-size:.95rem;margin:.8rem 0 .2rem}
small,header p,.none{color:var(--text);font-weight:normal}
.state{font-weight:bold;margin:.3rem 0;padding-left:.6rem;border-left:.35rem solid}
p.ok{border-color:var(--ok)}p.warn{border-color:var(--warn)}p.bad{border-color:var(--bad)}
svg{width:100%;height:auto;display:block}
rect.ok{fill:var(--ok)}rect.warn{fill:var(--warn)}rect.bad{fill:var(--bad)}rect.info{fill:var(--info)}
rect.gone{fill:var(--gone)}rect.held{fill:var(--held)}rect.free,rect.lane{fill:var(--lane)}
text{font-size:12px;fill:currentColor}.name{text-anchor:end}.note,.axis{fill:var(--text)}.mark{stroke:var(--gone);stroke-dasharray:3 3}
i{display:inline-block;width:.7em;height:.7em;border-radius:2px;margin-right:.35em}
i.ok{background:var(--ok)}i.warn{background:var(--warn)}i.bad{background:var(--bad)}i.info{background:var(--info)}i.gone{background:var(--gone)}i.held{background:var(--held)}i.free{background:var(--lane)}
.key{margin-right:1.2em}.wide{overflow-x:auto}
table{border-collapse:collapse;font-size:13px;width:100%}th,td{text-align:left;padding:.25rem .6rem .25rem 0;border-bottom:1px solid var(--lane);vertical-align:top}
</style></head><body>
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_for_people() {
        let check = |s, expected: &str| assert_eq!(span(SignedDuration::from_secs(s)), expected);
        check(-5, "0 s");
        check(59, "59 s");
        check(3_599, "59 min");
        check(3_660, "1 h 1 min");
        check(200_000, "2 d 7 h");
        assert_eq!(
            (size(0), size(1_023), size(1_536)),
            ("0 B".into(), "1023 B".into(), "1.5 KiB".into())
        );
    }
}
