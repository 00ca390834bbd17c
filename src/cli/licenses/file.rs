//! Files of licenses, in whatever way a program or a spreadsheet wrote them: a table of text, a JSON
//! value a line, or one JSON array. Read row by row; a row that cannot be read takes no other with it.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::io::{self, BufRead, Read as _};

use csv::{ByteRecord, ReaderBuilder, WriterBuilder};
use serde_json::{Map, Value};

use crate::microsoft::{separator, separator_said};

/// The longest line, in bytes.
const LINE_MAX: u64 = 1 << 20;
/// Over how many lines a cell in quotes may go; a quote that is not closed by then never is.
const LINES_MAX: usize = 50;
/// The longest file that is one JSON array, in bytes: it is read whole.
const ARRAY_MAX: u64 = 256 << 20;

/// What a cell must not begin with, or a spreadsheet takes it for a formula.
///
/// Source: OWASP, "CSV Injection".
const FORMULA: [char; 8] = ['=', '+', '-', '@', '＝', '＋', '－', '＠'];

/// A row of a file.
#[derive(Debug, PartialEq)]
pub(super) struct Row {
    /// The line it begins on, from 1; of an array, its place in it.
    pub(super) line: u64,
    /// As it came.
    pub(super) raw: Vec<u8>,
    /// What it says, or why that cannot be read.
    pub(super) said: Result<Map<String, Value>, String>,
}

/// A file that is being read.
pub(super) struct File<R> {
    lines: Lines<R>,
    form: Form,
    /// The line of column names, as it came; empty in JSON.
    pub(super) head: Vec<u8>,
}

enum Form {
    Lines,
    Array(VecDeque<Value>),
    Table { separator: u8, columns: Vec<String> },
}

/// The file is none of licenses.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoFile {
    #[error("it cannot be read")]
    Io(#[from] io::Error),
    #[error("it is UTF-16: save it as UTF-8 (in Excel: CSV UTF-8)")]
    Wide,
    #[error("it is one JSON array and cannot be read: {0}")]
    Array(serde_json::Error),
    #[error("its first line names no column `id`; `licenses export` shows how one looks")]
    Columns,
}

impl<R: BufRead> File<R> {
    /// Looks at how the file begins.
    pub(super) fn open(reader: R) -> Result<Self, NoFile> {
        let mut lines = Lines { reader, ahead: VecDeque::new(), line: 0 };
        if !lines.look(0)? {
            return Ok(Self { lines, form: Form::Lines, head: Vec::new() });
        }
        if let Some(first) = lines.ahead.front_mut() {
            match first.as_slice() {
                [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => return Err(NoFile::Wide),
                [0xef, 0xbb, 0xbf, ..] => drop(first.drain(..3)),
                _ => {}
            }
        }
        lines.skip_blank()?;
        let first = lines.ahead.front().and_then(|it| it.trim_ascii().first().copied());
        match first {
            Some(b'[') => {
                let mut all = lines.ahead.drain(..).flatten().collect::<Vec<u8>>();
                lines.reader.by_ref().take(ARRAY_MAX).read_to_end(&mut all)?;
                let all = serde_json::from_slice(&all).map_err(NoFile::Array)?;
                Ok(Self { lines, form: Form::Array(all), head: Vec::new() })
            }
            Some(b'{') | None => Ok(Self { lines, form: Form::Lines, head: Vec::new() }),
            Some(_) => Self::table(lines),
        }
    }

    fn table(mut lines: Lines<R>) -> Result<Self, NoFile> {
        let said = lines.ahead.front().and_then(|it| separator_said(it));
        if said.is_some() {
            lines.next()?;
            lines.skip_blank()?;
        }
        let head = lines.logical()?.map(|it| it.raw).unwrap_or_default();
        let separator = said.unwrap_or_else(|| separator(&head));
        let named = |cell: &[u8]| {
            let name = String::from_utf8_lossy(cell).trim().to_lowercase();
            name.replace([' ', '-'], "_")
        };
        let columns: Vec<String> = cells(&head, separator).iter().map(named).collect();
        if !columns.iter().any(|it| it == "id") {
            return Err(NoFile::Columns);
        }
        Ok(Self { lines, form: Form::Table { separator, columns }, head })
    }

    /// The next row.
    pub(super) fn row(&mut self) -> io::Result<Option<Row>> {
        if let Form::Array(all) = &mut self.form {
            self.lines.line = self.lines.line.saturating_add(1);
            let line = self.lines.line;
            return Ok(all.pop_front().map(|it| Row {
                line,
                raw: it.to_string().into_bytes(),
                said: object(it),
            }));
        }
        self.lines.skip_blank()?;
        match &self.form {
            Form::Table { separator, columns } => {
                let Some(it) = self.lines.logical()? else { return Ok(None) };
                let said = if it.open {
                    Err("a quote that opens in it is not closed".to_owned())
                } else {
                    told(&cells(&it.raw, *separator), columns)
                };
                Ok(Some(Row { line: it.line, raw: it.raw, said }))
            }
            Form::Lines | Form::Array(_) => {
                let Some(raw) = self.lines.next()? else { return Ok(None) };
                let said =
                    serde_json::from_slice(&raw).map_err(|it| format!("it is no JSON: {it}"));
                Ok(Some(Row { line: self.lines.line, raw, said: said.and_then(object) }))
            }
        }
    }
}

fn object(it: Value) -> Result<Map<String, Value>, String> {
    match it {
        Value::Object(it) => Ok(it),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Err("it is no JSON object".to_owned())
        }
    }
}

/// What the cells of a row say; an empty one says that there is none.
fn told(record: &ByteRecord, columns: &[String]) -> Result<Map<String, Value>, String> {
    if record.iter().skip(columns.len()).any(|it| !it.trim_ascii().is_empty()) {
        let (has, named) = (record.len(), columns.len());
        return Err(format!("it has {has} fields where the first line names {named}"));
    }
    let mut row = Map::new();
    for (at, column) in columns.iter().enumerate().filter(|(_, it)| !it.is_empty()) {
        let cell = std::str::from_utf8(record.get(at).unwrap_or_default());
        let cell = cell.map_err(|_other| {
            format!("`{column}` is not UTF-8: save the file as UTF-8 (in Excel: CSV UTF-8)")
        })?;
        let text = unguarded(cell.trim()).trim();
        let value = if text.is_empty() { Value::Null } else { text.into() };
        // The first of two columns of one name counts.
        row.entry(column.clone()).or_insert(value);
    }
    Ok(row)
}

fn cells(raw: &[u8], separator: u8) -> ByteRecord {
    let mut record = ByteRecord::new();
    let mut reader = ReaderBuilder::new();
    reader.delimiter(separator).has_headers(false).flexible(true);
    // Bytes in memory always read.
    drop(reader.from_reader(raw).read_byte_record(&mut record));
    record
}

/// Lines with a look ahead.
struct Lines<R> {
    reader: R,
    ahead: VecDeque<Vec<u8>>,
    /// The one that was taken last, from 1.
    line: u64,
}

/// A row of a table, over as many lines as its quotes say.
struct Logical {
    line: u64,
    raw: Vec<u8>,
    /// A quote opens in it and is not closed.
    open: bool,
}

impl<R: BufRead> Lines<R> {
    /// Whether there is a line so many after the next.
    fn look(&mut self, after: usize) -> io::Result<bool> {
        while self.ahead.len() <= after {
            let mut line = Vec::new();
            self.reader.by_ref().take(LINE_MAX).read_until(b'\n', &mut line)?;
            if u64::try_from(line.len()).is_ok_and(|it| it >= LINE_MAX) {
                let why = "it has a line of more than 1 MiB: this is no file of licenses";
                return Err(io::Error::new(io::ErrorKind::InvalidData, why));
            }
            if line.is_empty() {
                return Ok(false);
            }
            self.ahead.push_back(line);
        }
        Ok(true)
    }

    fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        self.look(0)?;
        let next = self.ahead.pop_front();
        self.line = self.line.saturating_add(u64::from(next.is_some()));
        Ok(next)
    }

    fn skip_blank(&mut self) -> io::Result<()> {
        while self.look(0)? && self.ahead.front().is_some_and(|it| it.trim_ascii().is_empty()) {
            self.next()?;
        }
        Ok(())
    }

    fn logical(&mut self) -> io::Result<Option<Logical>> {
        let Some(mut raw) = self.next()? else { return Ok(None) };
        let line = self.line;
        let quotes = |raw: &[u8]| raw.iter().fold(false, |open, it| open ^ (*it == b'"'));
        let (mut open, mut more) = (quotes(&raw), 0);
        while open && more < LINES_MAX && self.look(more)? {
            open ^= self.ahead.get(more).is_some_and(|it| quotes(it));
            more = more.saturating_add(1);
        }
        if !open {
            for _ in 0..more {
                raw.extend(self.next()?.unwrap_or_default());
            }
        }
        Ok(Some(Logical { line, raw, open }))
    }
}

/// The text as a cell that no spreadsheet takes for a formula.
fn guarded(text: &str) -> Cow<'_, str> {
    if is_formula(text) { Cow::Owned(format!("'{text}")) } else { Cow::Borrowed(text) }
}

/// The text of a cell without what [`guarded`] put before it.
fn unguarded(cell: &str) -> &str {
    let inside = cell.strip_prefix('\'');
    inside.filter(|it| is_formula(it)).unwrap_or(cell)
}

/// Whether it is a formula but for spaces and apostrophes before it.
fn is_formula(text: &str) -> bool {
    text.trim_start_matches(|it: char| it == '\'' || it.is_whitespace()).starts_with(FORMULA)
}

/// One line of a table.
pub(super) fn line<'a>(cells: impl Iterator<Item = Cow<'a, str>>) -> Vec<u8> {
    let mut writer = WriterBuilder::new().has_headers(false).from_writer(Vec::new());
    // A Vec takes every write.
    drop(writer.write_record(cells.map(|it| guarded(&it).into_owned())));
    writer.into_inner().unwrap_or_default()
}

/// A value as the text of a cell.
pub(super) fn cell(value: &Value) -> Cow<'_, str> {
    match value {
        Value::Null => Cow::Borrowed(""),
        Value::String(text) => Cow::Borrowed(text),
        Value::Array(list) if list.is_empty() => Cow::Borrowed(""),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            Cow::Owned(value.to_string())
        }
    }
}

#[cfg(test)]
mod tests;
