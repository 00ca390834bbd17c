//! The publisher's own licenses: by kind and state, ending soon, nearly full, oddly used. As metrics
//! only counts: no license is named.

use std::fmt;

use jiff::Timestamp;
use prometheus_client::encoding::DescriptorEncoder;

use super::facts::{NO_LABELS, clipped, gauge};
use super::page::{self, SHOWN};
use super::svg::{self, Bar, Part, float};
use crate::decision::{LicenseFigures, Named, State};
use crate::domain::{LicenseId, LicenseKind, ProductId};

/// The figures as metrics. Their labels are words of closed sets.
pub(super) fn encode(
    figures: &LicenseFigures,
    encoder: &mut DescriptorEncoder<'_>,
) -> Result<(), fmt::Error> {
    let counts = figures.counts.iter().map(|((kind, state), count)| {
        ([("kind", kind.as_str()), ("state", state.as_str())], clipped(*count))
    });
    gauge(encoder, "licenses", "Licenses of the publisher, by kind and state", None, counts)?;
    let activations = u64::try_from(figures.activations).unwrap_or(u64::MAX);
    for (name, help, count) in [
        ("license_activations", "Bindings of tenants to licenses", activations),
        ("license_users", "Users who have a place among those of a license", figures.places),
        ("licenses_ending", "Usable licenses that end within 30 days", figures.ending.count),
        (
            "licenses_nearly_full",
            "Usable licenses of whose maximum 90 % or more are taken",
            figures.nearly_full.count,
        ),
        ("licenses_over_limit", "Usable licenses with more users than they allow", figures.over),
        (
            "licenses_odd",
            "Licenses used from more tenants or addresses than fit what was sold",
            figures.odd.count,
        ),
    ] {
        gauge(encoder, name, help, None, [(NO_LABELS, clipped(count))])?;
    }
    Ok(())
}

/// The section of the status page.
pub(super) fn picture(figures: &LicenseFigures, now: Timestamp) -> String {
    if figures.total() == 0 {
        return "<p class=\"none\">none sold: <code>entitled licenses issue --help</code></p>\n"
            .to_owned();
    }
    let most = figures.by_state().into_values().max().unwrap_or(0);
    let bars: Vec<Bar> = figures.by_state().into_iter().map(|it| bar(figures, it)).collect();
    let mut html = svg::bars(&bars, float(most), &[]);
    let (total, bound, places) = (figures.total(), figures.activations, figures.places);
    html.extend([format!(
        "<p>{total} licenses · {bound} tenants bound · {places} users have a place</p>\n"
    )]);
    let nearly_full = figures.nearly_full.some.iter().map(|(id, product, _, (users, max))| Bar {
        name: id.to_string(),
        parts: vec![Part {
            value: percent(*users, *max),
            class: if users > max { "bad" } else { "warn" },
            title: format!("{product}: {users} users of {max}"),
        }],
        note: format!("{users} of {max}"),
    });
    let nearly_full: Vec<Bar> = nearly_full.take(SHOWN).collect();
    let widest = figures.nearly_full.some.iter().map(|(.., (users, max))| percent(*users, *max));
    let widest = widest.fold(100.0, f64::max);
    html.push_str(&heading("Nearly full or over the maximum", &figures.nearly_full));
    html.push_str(&if nearly_full.is_empty() {
        "<p class=\"none\">none</p>\n".to_owned()
    } else {
        svg::bars(&nearly_full, widest, &[(100.0, "maximum")])
    });
    html.push_str(&heading("Ending within 30 days", &figures.ending));
    html.push_str(&rows(&figures.ending, &["license", "product", "state", "ends in"], |at| {
        format!("{}, at {}", page::span(at.duration_since(now)), page::time(*at))
    }));
    html.push_str(&heading("Oddly used", &figures.odd));
    html.push_str(&rows(&figures.odd, &["license", "product", "state", "what"], |odd| {
        odd.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    }));
    html
}

fn bar(figures: &LicenseFigures, (state, count): (State, u64)) -> Bar {
    let of = |kind: LicenseKind| figures.counts.get(&(kind, state)).copied().unwrap_or(0);
    let kinds: Vec<String> = LicenseKind::ALL
        .iter()
        .filter(|kind| of(**kind) > 0)
        .map(|kind| format!("{} {kind}", of(*kind)))
        .collect();
    let note = format!("{count}: {}", kinds.join(", "));
    let class = page::state_class(state.as_str());
    let part = Part { value: float(count), class, title: note.clone() };
    Bar { name: state.to_string(), parts: vec![part], note }
}

fn heading<T>(title: &str, named: &Named<T>) -> String {
    format!("<h3>{title}: {}</h3>\n", named.count)
}

fn rows<T>(named: &Named<T>, heads: &[&str], says: impl Fn(&T) -> String) -> String {
    let row = |(id, product, state, what): &(LicenseId, ProductId, State, T)| {
        let class = page::state_class(state.as_str());
        format!(
            "<tr><td>{id}</td><td>{product}</td><td><i class=\"{class}\"></i>{state}</td><td>{}</td></tr>",
            svg::Text(&says(what)),
        )
    };
    page::table(heads, named.some.iter().take(SHOWN).map(row))
}

fn percent(users: u64, max: u64) -> f64 {
    100.0 * float(users) / float(max.max(1))
}
