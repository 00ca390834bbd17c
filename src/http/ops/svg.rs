//! Charts as inline SVG, drawn on the server. Every mark has a title, so that a pointer at rest
//! tells the number.

use std::fmt::{self, Write as _};

pub(super) use crate::http::markup::Text;

/// The width of all charts, in units of their own view box.
const WIDTH: f64 = 720.0;

/// Where marks begin: what is left of it holds the names.
const LEFT: f64 = 180.0;

/// As many characters of a name as fit there.
const NAME_CHARS: usize = 22;

/// The height of a row.
const ROW: f64 = 22.0;

/// One bar of a [`bars`] chart.
pub(super) struct Bar {
    /// What it stands for.
    pub(super) name: String,
    /// Its parts: how long each is, in which colour, and what it says.
    pub(super) parts: Vec<Part>,
    /// What is written after it.
    pub(super) note: String,
}

/// A part of a bar.
pub(super) struct Part {
    pub(super) value: f64,
    pub(super) class: &'static str,
    pub(super) title: String,
}

/// Horizontal bars, one below the other. `full` is what the whole width stands for; `marks` are
/// vertical lines at these values.
pub(super) fn bars(bars: &[Bar], full: f64, marks: &[(f64, &str)]) -> String {
    let height = ROW * count(bars.len()) + 24.0;
    let room = WIDTH - LEFT - 110.0;
    let scale = |value: f64| (value / full.max(f64::MIN_POSITIVE)).clamp(0.0, 1.0) * room;
    let mut svg = open(height);
    for (row, bar) in bars.iter().enumerate() {
        let y = ROW * count(row) + 4.0;
        label(&mut svg, y, &bar.name);
        let mut x = LEFT;
        for part in &bar.parts {
            let width = scale(part.value).max(if part.value > 0.0 { 1.5 } else { 0.0 });
            rect(&mut svg, (x, y, width, ROW - 8.0), part.class, &part.title);
            x += width;
        }
        put(
            &mut svg,
            format_args!(
                r#"<text x="{:.1}" y="{:.1}" class="note">{}</text>"#,
                x + 6.0,
                y + 11.0,
                Text(&bar.note)
            ),
        );
    }
    for (at, name) in marks {
        let x = LEFT + scale(*at);
        let bottom = height - 18.0;
        put(
            &mut svg,
            format_args!(
                r#"<line x1="{x:.1}" x2="{x:.1}" y1="0" y2="{bottom:.1}" class="mark"/><text x="{x:.1}" y="{:.1}" class="axis" text-anchor="middle">{}</text>"#,
                height - 6.0,
                Text(name)
            ),
        );
    }
    svg.push_str("</svg>");
    svg
}

/// One mark on a [`timeline`].
pub(super) struct Tick {
    /// Where, from 0 (where the span begins) to 1 (where it ends).
    pub(super) at: f64,
    /// How long, in the same unit.
    pub(super) lasts: f64,
    pub(super) class: &'static str,
    pub(super) title: String,
}

/// The axis of a day: every six hours, and the end of the drawing.
pub(super) const DAY: [(f64, &str); 5] =
    [(0.0, "24 h ago"), (0.25, "18 h"), (0.5, "12 h"), (0.75, "6 h"), (1.0, "now")];

/// Rows of marks over a span of time; `names` are written below it at these shares.
pub(super) fn timeline(rows: &[(String, Vec<Tick>)], names: &[(f64, &str)]) -> String {
    let height = ROW * count(rows.len()) + 24.0;
    let room = WIDTH - LEFT - 30.0;
    let mut svg = open(height);
    for (row, (name, ticks)) in rows.iter().enumerate() {
        let y = ROW * count(row) + 4.0;
        label(&mut svg, y, name);
        rect(&mut svg, (LEFT, y, room, ROW - 8.0), "lane", name);
        for tick in ticks {
            let width = (tick.lasts * room).max(2.0);
            let x = (LEFT + tick.at.clamp(0.0, 1.0) * room).min(LEFT + room - width);
            rect(&mut svg, (x, y, width, ROW - 8.0), tick.class, &tick.title);
        }
    }
    axis(&mut svg, names, room, height);
    svg
}

/// Columns of stacked parts, one an hour of the last day, oldest first.
pub(super) fn columns(hourly: &[Vec<Part>]) -> String {
    let (height, room) = (140.0, WIDTH - LEFT - 30.0);
    let sum = |parts: &Vec<Part>| parts.iter().map(|it| it.value).sum::<f64>();
    let most = hourly.iter().map(sum).fold(1.0, f64::max);
    let step = room / count(hourly.len().max(1));
    let mut svg = open(height);
    put(
        &mut svg,
        format_args!(r#"<text x="{:.1}" y="14" class="name">{most:.0} an hour</text>"#, LEFT - 8.0),
    );
    for (i, parts) in hourly.iter().enumerate() {
        let mut bottom = height - 24.0;
        for part in parts.iter().filter(|it| it.value > 0.0) {
            let tall = (part.value / most * (height - 34.0)).max(1.5);
            bottom -= tall;
            let place = (LEFT + step * count(i) + 1.0, bottom, (step - 2.0).max(1.0), tall);
            rect(&mut svg, place, part.class, &part.title);
        }
    }
    axis(&mut svg, &DAY, room, height);
    svg
}

/// Names below a drawing.
fn axis(svg: &mut String, names: &[(f64, &str)], room: f64, height: f64) {
    for (share, name) in names {
        put(
            svg,
            format_args!(
                r#"<text x="{:.1}" y="{:.1}" class="axis" text-anchor="middle">{name}</text>"#,
                LEFT + share * room,
                height - 6.0
            ),
        );
    }
    svg.push_str("</svg>");
}

fn open(height: f64) -> String {
    format!(
        r#"<svg viewBox="0 0 {WIDTH:.0} {height:.0}" role="img" xmlns="http://www.w3.org/2000/svg">"#
    )
}

fn label(svg: &mut String, y: f64, name: &str) {
    let mut short: String = name.chars().take(NAME_CHARS).collect();
    if short.len() < name.len() {
        short.push('…');
    }
    put(
        svg,
        format_args!(
            r#"<text x="{:.1}" y="{:.1}" class="name"><title>{}</title>{}</text>"#,
            LEFT - 8.0,
            y + 11.0,
            Text(name),
            Text(&short)
        ),
    );
}

fn rect(svg: &mut String, (x, y, width, height): (f64, f64, f64, f64), class: &str, title: &str) {
    put(
        svg,
        format_args!(
            r#"<rect x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}" rx="2" class="{class}"><title>{}</title></rect>"#,
            Text(title)
        ),
    );
}

/// Writing into a String cannot fail.
fn put(svg: &mut String, what: fmt::Arguments<'_>) {
    let written = svg.write_fmt(what);
    debug_assert!(written.is_ok(), "a String takes every write");
}

/// A small count as a coordinate.
fn count(n: usize) -> f64 {
    u32::try_from(n).map_or(f64::from(u32::MAX), f64::from)
}

/// A count as a length in a drawing, where the last bits do not show.
#[expect(clippy::cast_precision_loss, reason = "a drawing shows no more than three digits")]
pub(super) fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_cannot_leave_its_place() {
        let bar = Bar {
            name: r#"<script>"x"</script>"#.to_owned(),
            parts: vec![Part { value: 1.0, class: "ok", title: "a & b".to_owned() }],
            note: "'".to_owned(),
        };
        let svg = bars(&[bar], 2.0, &[(1.0, "<limit>")]);
        assert!(!svg.contains("<script>") && !svg.contains("<limit>"), "{svg}");
        assert!(svg.contains("a &amp; b") && svg.contains("&#39;"), "{svg}");
    }

    #[test]
    fn charts_of_nothing_are_charts() {
        for svg in [bars(&[], 0.0, &[]), timeline(&[], &DAY), columns(&[])] {
            assert!(svg.starts_with("<svg") && svg.ends_with("</svg>") && !svg.contains("NaN"));
        }
    }
}
