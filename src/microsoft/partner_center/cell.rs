//! Single cells of a report, in whatever way a program or a spreadsheet of some country wrote them.

use std::borrow::Cow;

use jiff::civil::{Date, DateTime};

/// The bytes as text: UTF-8, or UTF-16 when it begins with that byte order mark. What is neither
/// reads as U+FFFD.
pub(super) fn decoded(bytes: &[u8]) -> Cow<'_, str> {
    let wide = |rest: &[u8], read: fn([u8; 2]) -> u16| {
        let units: Vec<u16> =
            rest.chunks_exact(2).map(|pair| pair.try_into().map_or(0xfffd, read)).collect();
        Cow::Owned(String::from_utf16_lossy(&units))
    };
    match bytes {
        [0xef, 0xbb, 0xbf, rest @ ..] => String::from_utf8_lossy(rest),
        [0xff, 0xfe, rest @ ..] => wide(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => wide(rest, u16::from_be_bytes),
        _ => String::from_utf8_lossy(bytes),
    }
}

/// How many lines stand before the column names, what separates the columns, and the text from the
/// column names on. Spreadsheets put `sep=;` into a line of its own.
pub(super) fn opening(text: &str) -> (u64, u8, &str) {
    let body = text.trim_start_matches(['\r', '\n', ' ']);
    let blank = text.len().saturating_sub(body.len());
    let blank = text.get(..blank).unwrap_or_default();
    let above = u64::try_from(blank.matches('\n').count()).unwrap_or(u64::MAX);
    let (first, rest) = body.split_once('\n').unwrap_or((body, ""));
    match separator_said(first.as_bytes()) {
        Some(it) => (above.saturating_add(1), it, rest),
        None => (above, separator(first.as_bytes()), body),
    }
}

/// The separator that a line of its own says: spreadsheets write `sep=;`.
pub fn separator_said(line: &[u8]) -> Option<u8> {
    let text = std::str::from_utf8(line).ok()?.trim().trim_matches('"').to_ascii_lowercase();
    text.strip_prefix("sep=")?.bytes().next()
}

/// What separates the columns of this line: what stands most often outside quotes.
pub fn separator(line: &[u8]) -> u8 {
    let mut quoted = false;
    let mut counts = [(b'\t', 0_usize), (b';', 0), (b',', 0)];
    for byte in line {
        quoted ^= *byte == b'"';
        for (_, count) in counts.iter_mut().filter(|(it, _)| !quoted && it == byte) {
            *count = count.saturating_add(1);
        }
    }
    counts.iter().max_by_key(|(_, count)| *count).map_or(b',', |(it, _)| *it)
}

/// The cell's text without the space around it.
pub(super) fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or("\u{fffd}").trim()
}

/// Whether the cell says anything: protected customers are masked, and some programs write words
/// for nothing.
pub(super) fn is_told(text: &str) -> bool {
    let masked = text.chars().all(|it| matches!(it, '*' | '-' | '–'));
    !masked && !["null", "none", "n/a", "na"].iter().any(|it| text.eq_ignore_ascii_case(it))
}

/// A count: `1234`, `1,234`, `1.234`, `1 234`, `1'234`, `1234.0`, `1,234.00`. Three digits after a
/// point or comma are thousands, for a count has no fractions.
pub(super) fn count(text: &str) -> Option<u64> {
    let plain: String = text
        .chars()
        .filter(|it| !(it.is_whitespace() || matches!(it, '\'' | '’' | '_' | '\u{202f}')))
        .collect();
    let mut groups: Vec<&str> = plain.split(['.', ',']).collect();
    if groups.len() > 1 {
        let last = groups.last()?;
        if last.len() != 3 && last.bytes().all(|it| it == b'0') {
            groups.pop();
        }
    }
    let (first, more) = groups.split_first()?;
    let right = (1..=3).contains(&first.len()) || more.is_empty();
    if !right || more.iter().any(|it| it.len() != 3) {
        return None;
    }
    let digits = groups.concat();
    let all = !digits.is_empty() && digits.bytes().all(|it| it.is_ascii_digit());
    if all { digits.parse().ok() } else { None }
}

/// A day in any of the ways that leave no doubt; of `3/4/2026` the month comes first, as in the
/// American English that Partner Center exports in, of `3.4.2026` the day. A time of day is not
/// looked at.
pub(super) fn day(text: &str) -> Option<Date> {
    if let Ok(it) = text.parse::<DateTime>().map(DateTime::date).or_else(|_| text.parse()) {
        return Some(it);
    }
    if let Some(it) = text.split_once(['T', ' ']).and_then(|(it, _)| it.parse::<Date>().ok()) {
        return Some(it);
    }
    let parts: Vec<&str> = text
        .split(|it: char| it.is_whitespace() || matches!(it, '/' | '.' | '-' | ','))
        .filter(|it| !it.is_empty())
        .take(3)
        .collect();
    let [a, b, c] = parts.as_slice() else { return None };
    if let Some(month) = month(a) {
        return date(c, month, b);
    }
    if let Some(month) = month(b) {
        return if a.len() == 4 { date(a, month, c) } else { date(c, month, a) };
    }
    if a.len() == 4 {
        return date(a, b.parse().ok()?, c);
    }
    let (first, second): (i8, i8) = (a.parse().ok()?, b.parse().ok()?);
    let slashes = text.contains('/');
    if (slashes && first <= 12) || second > 12 { date(c, first, b) } else { date(c, second, a) }
}

fn month(text: &str) -> Option<i8> {
    const NAMES: [&str; 12] =
        ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    let lower = text.to_ascii_lowercase();
    let at = NAMES.iter().position(|it| lower.starts_with(it))?;
    i8::try_from(at.saturating_add(1)).ok()
}

fn date(year: &str, month: i8, day: &str) -> Option<Date> {
    let day = day.trim_end_matches(|it: char| it.is_ascii_alphabetic());
    let full = year.len() == 4;
    Date::new(year.parse().ok().filter(|_| full)?, month, day.parse().ok()?).ok()
}
