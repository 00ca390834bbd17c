//! What commands print: rows as a table for people or as JSON lines for programs, and progress
//! on terminals. A reader who has left (a broken pipe) is no error.

use std::io::{self, ErrorKind, IsTerminal as _, Write};

use comfy_table::{
    Attribute, Cell, CellAlignment, Color, ContentArrangement, LineStyle, Table, TableStyle,
};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

/// A line under the header, and nothing between rows.
const STYLE: TableStyle = TableStyle::new().header_separator(LineStyle::none().fill('─'));

/// One column of a table.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    header: &'static str,
    pointer: &'static str,
    format: Format,
}

/// How a column shows its values. What does not fit the format is shown as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Text,
    /// Grouped in thousands, to the right.
    Number,
    /// A share of 1 as a percentage, to the right.
    Percent,
    /// A moment, to the second.
    Time,
    /// How long ago a moment was.
    Ago,
    /// A word that stands for good, middling or bad.
    State,
}

impl Column {
    const fn new(header: &'static str, pointer: &'static str, format: Format) -> Self {
        Self { header, pointer, format }
    }

    /// Text as it is; a list separated by commas. `pointer` is a JSON pointer (RFC 6901).
    pub const fn text(header: &'static str, pointer: &'static str) -> Self {
        Self::new(header, pointer, Format::Text)
    }

    /// A number.
    pub const fn number(header: &'static str, pointer: &'static str) -> Self {
        Self::new(header, pointer, Format::Number)
    }

    /// A share of 1, shown as a percentage.
    pub const fn percent(header: &'static str, pointer: &'static str) -> Self {
        Self::new(header, pointer, Format::Percent)
    }

    /// An RFC 3339 moment, shown in UTC to the second.
    pub const fn time(header: &'static str, pointer: &'static str) -> Self {
        Self::new(header, pointer, Format::Time)
    }

    /// An RFC 3339 moment, shown as how long ago it was.
    pub const fn ago(header: &'static str, pointer: &'static str) -> Self {
        Self::new(header, pointer, Format::Ago)
    }

    /// A word of the contract (state, outcome, consent), coloured by whether it is good.
    pub const fn state(header: &'static str, pointer: &'static str) -> Self {
        Self::new(header, pointer, Format::State)
    }
}

/// Where and how a command prints.
#[derive(Clone, Copy, Debug)]
pub struct Printer {
    json: bool,
    /// Columns of the terminal; `None` wraps nothing.
    width: Option<u16>,
    colours: bool,
    now: Timestamp,
}

impl Printer {
    /// Standard output: as wide as its terminal; colours only there, and not with `NO_COLOR`.
    #[expect(clippy::disallowed_methods, reason = "the command line reads the clock")]
    pub fn stdout(json: bool) -> Self {
        let terminal = io::stdout().is_terminal();
        let refused = super::variable("NO_COLOR").is_some_and(|it| !it.is_empty());
        let width = Table::new().width().filter(|_| terminal);
        Self { json, width, colours: terminal && !refused, now: Timestamp::now() }
    }

    /// Whether programs read this.
    pub const fn is_json(&self) -> bool {
        self.json
    }

    /// The time by which what is shown is measured.
    pub const fn now(&self) -> Timestamp {
        self.now
    }

    /// Prints one object: a JSON line, or its fields below each other, those in `first` first.
    ///
    /// # Errors
    ///
    /// Standard output cannot be written.
    pub fn record(&self, record: &Value, first: &[&str]) -> io::Result<()> {
        if self.json {
            return self.rows(std::slice::from_ref(record), &[], "");
        }
        let mut out = io::stdout().lock();
        unless_left(out.write_all(fields(record, first).as_bytes()))
    }

    /// Prints a line of text for people.
    ///
    /// # Errors
    ///
    /// Standard output cannot be written.
    pub fn line(&self, text: &str) -> io::Result<()> {
        unless_left(writeln!(io::stdout().lock(), "{}", printable(text)))
    }

    /// Prints what is a file already.
    ///
    /// # Errors
    ///
    /// Standard output cannot be written.
    pub fn bytes(&self, bytes: &[u8]) -> io::Result<()> {
        let mut out = io::stdout().lock();
        unless_left(out.write_all(bytes).and_then(|()| out.flush()))
    }

    /// Prints rows: each a JSON line, or all as a table with these columns; `empty` is said when
    /// there are none.
    ///
    /// # Errors
    ///
    /// Standard output cannot be written.
    pub fn rows(&self, rows: &[Value], columns: &[Column], empty: &str) -> io::Result<()> {
        let mut out = io::BufWriter::new(io::stdout().lock());
        unless_left(self.write(&mut out, rows, columns, empty).and_then(|()| out.flush()))
    }

    fn write(
        &self,
        out: &mut impl Write,
        rows: &[Value],
        columns: &[Column],
        empty: &str,
    ) -> io::Result<()> {
        if self.json {
            return rows.iter().try_for_each(|row| writeln!(out, "{row}"));
        }
        if rows.is_empty() {
            return writeln!(out, "{empty}");
        }
        writeln!(out, "{}", self.table(rows, columns).trim_fmt())
    }

    fn table(&self, rows: &[Value], columns: &[Column]) -> Table {
        let mut table = Table::new();
        table.load_style(STYLE).force_no_tty();
        if let Some(width) = self.width {
            table.set_width(width).set_content_arrangement(ContentArrangement::Dynamic);
        }
        if self.colours {
            table.enforce_styling();
        }
        let header = |it: &Column| Cell::new(it.header).add_attribute(Attribute::Bold);
        table.set_header(columns.iter().map(header));
        for row in rows {
            table.add_row(columns.iter().map(|column| self.cell(column, row)));
        }
        table
    }

    fn cell(&self, column: &Column, row: &Value) -> Cell {
        let value = row.pointer(column.pointer).unwrap_or(&Value::Null);
        let text = shown(value, column.format, self.now);
        match column.format {
            Format::Number | Format::Percent => Cell::new(text).set_alignment(CellAlignment::Right),
            Format::State => match colour(&text) {
                Some(colour) => Cell::new(text).fg(colour),
                None => Cell::new(text),
            },
            Format::Text | Format::Time | Format::Ago => Cell::new(text),
        }
    }
}

/// A field a line, the values below each other; what has an inside is shown with it.
fn fields(record: &Value, first: &[&str]) -> String {
    let all = record.as_object().into_iter().flatten();
    let mut all: Vec<(&String, &Value)> = all.collect();
    all.sort_by_key(|(name, _)| first.iter().position(|it| it == name).unwrap_or(first.len()));
    let wide = all.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    let line = |(name, value): (&String, &Value)| {
        let pretty = || printable(&serde_json::to_string_pretty(value).unwrap_or_default());
        let shown = match value {
            Value::Object(_) => pretty(),
            Value::Array(list) if list.iter().any(Value::is_object) => pretty(),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_) => plain(value),
        };
        let below = format!("\n{:wide$}  ", "");
        format!("{name:wide$}  {}\n", shown.replace('\n', &below))
    };
    all.into_iter().map(line).collect()
}

/// Whoever read us has left: nothing is wrong.
fn unless_left(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        it => it,
    }
}

/// A moment as people read it, to the second: `2026-11-28 09:45:30Z`; what is none stays as it is.
pub(super) fn moment(text: &str) -> String {
    text.parse::<Timestamp>().map_or_else(|_| text.to_owned(), to_the_second)
}

fn to_the_second(it: Timestamp) -> String {
    it.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

fn shown(value: &Value, format: Format, now: Timestamp) -> String {
    let moment = || value.as_str().and_then(|it| it.parse::<Timestamp>().ok());
    let fitting = match format {
        Format::Text | Format::State => None,
        Format::Number => value.as_i64().map(grouped),
        Format::Percent => value.as_f64().map(|it| format!("{:.1}%", it * 100.0)),
        Format::Time => moment().map(to_the_second),
        Format::Ago => moment().map(|it| ago(now.duration_since(it))),
    };
    fitting.unwrap_or_else(|| plain(value))
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => "–".to_owned(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::String(it) => printable(it),
        Value::Array(list) if list.is_empty() => "–".to_owned(),
        Value::Array(list) => list.iter().map(plain).collect::<Vec<_>>().join(", "),
        Value::Number(_) | Value::Object(_) => printable(&value.to_string()),
    }
}

/// The text without what could steer a terminal or turn the reading direction: buyers choose
/// subscriptions' names.
pub(super) fn printable(text: &str) -> String {
    let unsafe_ = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if unsafe_(c) && c != '\n' { '\u{fffd}' } else { c }).collect()
}

/// 1234567 as `1,234,567`.
fn grouped(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = String::new();
    for (left, digit) in (0..digits.len()).rev().zip(digits.chars()) {
        text.push(digit);
        if left > 0 && left % 3 == 0 {
            text.push(',');
        }
    }
    if number < 0 { format!("-{text}") } else { text }
}

/// How long ago, in its largest unit that fits twice: `95 s ago`, `3 h ago`.
pub(super) fn ago(since: SignedDuration) -> String {
    let seconds = since.as_secs();
    if seconds < 0 {
        return "in the future".to_owned();
    }
    let units = [(86_400, "d"), (3_600, "h"), (60, "min")];
    let fits = units.iter().find(|(size, _)| seconds >= 2 * size);
    let (size, unit) = fits.copied().unwrap_or((1, "s"));
    format!("{} {unit} ago", seconds / size)
}

/// Green for good, yellow for middling, red for bad words of the contract.
fn colour(word: &str) -> Option<Color> {
    match word {
        "active" | "trial" | "complete" | "granted" | "Subscribed" | "sent" => Some(Color::Green),
        "grace"
        | "pending"
        | "partial"
        | "unknown"
        | "missing"
        | "missed"
        | "mismatched"
        | "PendingFulfillmentStart" => Some(Color::Yellow),
        "suspended" | "expired" | "unlicensed" | "failed" | "revoked" | "dead" | "forged"
        | "Suspended" => Some(Color::Red),
        _ => None,
    }
}

/// Progress on stderr: a line for each thing under way. Silent when stderr is no terminal.
#[derive(Debug)]
pub struct Progress {
    lines: MultiProgress,
}

impl Default for Progress {
    /// On stderr.
    fn default() -> Self {
        Self { lines: MultiProgress::with_draw_target(ProgressDrawTarget::stderr()) }
    }
}

impl Progress {
    /// A line for one more thing; [`Line::done`] takes it away.
    pub fn line(&self, what: &str) -> Line {
        let bar = self.lines.add(ProgressBar::no_length());
        // The template is a literal; were it wrong, the plain style would do.
        let style = ProgressStyle::with_template("{spinner} {prefix} {pos} {msg}");
        bar.set_style(style.unwrap_or_else(|_wrong| ProgressStyle::default_spinner()));
        bar.set_prefix(printable(what));
        Line { bar }
    }
}

/// The progress of one thing.
#[derive(Debug)]
pub struct Line {
    bar: ProgressBar,
}

impl Line {
    /// How many were read so far, and what is being done.
    pub fn at(&self, count: u64, doing: &str) {
        self.bar.set_position(count);
        self.bar.set_message(printable(doing));
        self.bar.tick();
    }

    /// Takes the line away.
    pub fn done(self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn printer(json: bool, width: Option<u16>) -> Printer {
        Printer { json, width, colours: false, now: "2026-11-22T02:00:00Z".parse().unwrap() }
    }

    fn written(printer: &Printer, rows: &[Value], columns: &[Column]) -> String {
        let mut out = Vec::new();
        printer.write(&mut out, rows, columns, "nothing yet").unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn programs_get_one_json_value_a_line_and_every_field() {
        let rows = [json!({"b": 1, "a": null}), json!({"b": 2, "a": "x"})];
        let text = written(&printer(true, None), &rows, &[Column::number("b", "/b")]);
        let read: Vec<Value> = text.lines().map(|it| serde_json::from_str(it).unwrap()).collect();
        assert_eq!(read, rows);
        assert_eq!(written(&printer(true, None), &[], &[]), "");
    }

    #[test]
    fn people_get_a_table_that_fits_their_terminal() {
        let columns = [
            Column::text("name", "/name"),
            Column::number("seats", "/seats"),
            Column::percent("used", "/used"),
            Column::ago("read", "/at"),
            Column::time("at", "/at"),
            Column::state("state", "/state"),
        ];
        let row = json!({
            "name": "Contoso", "seats": 1_234_567, "used": 0.456, "at": "2026-11-21T23:00:00Z",
            "state": "active",
        });
        let text = written(&printer(false, None), std::slice::from_ref(&row), &columns);
        for wanted in ["Contoso", "1,234,567", "45.6%", "3 h ago", "2026-11-21 23:00:00Z", "active"]
        {
            assert!(text.contains(wanted), "{wanted} in\n{text}");
        }
        let narrow = written(&printer(false, Some(50)), &[row], &columns);
        assert!(narrow.lines().all(|it| it.chars().count() <= 50), "{narrow}");
        assert_eq!(written(&printer(false, None), &[], &columns), "nothing yet\n");
    }

    #[test]
    fn a_record_is_a_field_a_line_in_the_order_asked_for() {
        let record = json!({"a": null, "longer": {"x": 1}, "b": ["p", "q"], "c": []});
        let text = fields(&record, &["b"]);
        let wanted =
            "b       p, q\na       –\nc       –\nlonger  {\n          \"x\": 1\n        }\n";
        assert_eq!(text, wanted);
    }

    #[test]
    fn what_does_not_fit_is_shown_as_it_is() {
        let now: Timestamp = "2026-11-22T02:00:00Z".parse().unwrap();
        let check = |value: Value, format, text: &str| assert_eq!(shown(&value, format, now), text);
        check(Value::Null, Format::Number, "–");
        check(json!("soon"), Format::Ago, "soon");
        check(json!(["maps", "drill"]), Format::Text, "maps, drill");
        check(json!(true), Format::Text, "yes");
        check(json!(-1_000), Format::Number, "-1,000");
        check(json!("2026-11-22T02:00:01Z"), Format::Ago, "in the future");
        check(json!("2026-11-22T01:58:25Z"), Format::Ago, "95 s ago");
    }

    #[test]
    fn a_name_cannot_steer_the_terminal() {
        assert_eq!(
            printable("a\u{1b}[31mb\u{9b}c\u{202e}d\r"),
            "a\u{fffd}[31mb\u{fffd}c\u{fffd}d\u{fffd}"
        );
    }

    #[test]
    fn a_reader_who_left_is_no_error() {
        assert!(unless_left(Err(ErrorKind::BrokenPipe.into())).is_ok());
        assert!(unless_left(Err(ErrorKind::StorageFull.into())).is_err());
    }
}
