//! `licenses export` and `licenses import`: away and back.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::{self, OpenOptions};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, BufRead, BufReader, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::super::output::{Column, Printer, Progress};
use super::super::remote::{Pairs, Remote, field, pairs, switch};
use super::super::{Advised, Exit};
use super::file::{self, File, Row};
use crate::domain::LicenseId;

/// Rows that are committed together.
const ROWS: usize = 100;
/// Bytes of rows that are sent together.
const BYTES: usize = 256 << 10;
/// Rows that are shown to people; all are counted.
const SHOWN: usize = 200;

/// The columns that come first in a table.
const FIRST: [&str; 8] =
    ["id", "product", "kind", "max", "licensee", "standing", "period_start", "period_end"];

/// `licenses import`.
#[derive(Clone, Debug, Args)]
pub struct ImportArgs {
    /// A table (CSV) or JSON, as `licenses export` writes them; - reads standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Show what each row would come to, and write nothing
    #[arg(long)]
    dry_run: bool,
    /// A license that is here with other values becomes what the file says
    #[arg(long)]
    replace: bool,
    /// Write the rows that were refused into this file, as they came
    #[arg(long, value_name = "FILE")]
    rejected: Option<PathBuf>,
}

/// Prints all licenses as a file carries them.
pub(super) async fn export(remote: &Remote, printer: Printer) -> Result<Exit, anyhow::Error> {
    let bar = Progress::default().line("Exporting licenses");
    let (mut count, mut columns) = (0_u64, Vec::<String>::new());
    let take = |rows: Vec<Value>| {
        count = count.saturating_add(u64::try_from(rows.len()).unwrap_or(u64::MAX));
        bar.at(count, "licenses");
        if printer.is_json() {
            printer.rows(&rows, &[], "")?;
            return Ok(());
        }
        let mut bytes = Vec::new();
        for row in rows.iter().filter_map(Value::as_object) {
            if columns.is_empty() {
                columns = columns_of(row);
                bytes.extend(file::line(columns.iter().map(|it| it.as_str().into())));
            }
            let cells = columns.iter().map(|it| row.get(it).map_or("".into(), file::cell));
            bytes.extend(file::line(cells));
        }
        printer.bytes(&bytes)?;
        Ok(())
    };
    remote.rows(Method::GET, "/licenses/export", &Pairs::new(), take).await?;
    if count == 0 && !printer.is_json() {
        printer.bytes(&file::line(FIRST.into_iter().map(Into::into)))?;
    }
    bar.done();
    Ok(Exit::Done)
}

/// The fields of a row, those first that people look for.
fn columns_of(row: &Map<String, Value>) -> Vec<String> {
    let first = FIRST.iter().filter(|it| row.contains_key(**it)).map(|it| (*it).to_owned());
    let rest = row.keys().filter(|it| !FIRST.contains(&it.as_str())).cloned();
    first.chain(rest).collect()
}

/// Brings in the licenses of a file.
pub(super) async fn import(
    remote: &Remote,
    printer: Printer,
    args: &ImportArgs,
) -> Result<Exit, anyhow::Error> {
    let name = args.file.display().to_string();
    let reader: Box<dyn BufRead> = if args.file == Path::new("-") {
        Box::new(BufReader::new(io::stdin()))
    } else {
        Box::new(BufReader::new(fs::File::open(&args.file).map_err(|it| unread(&name, it))?))
    };
    let mut file = File::open(reader).map_err(|it| unread(&name, it))?;
    let mut taken = Taken::new(printer, args, &file.head)?;
    let bar = Progress::default().line("Importing licenses");
    let asked = pairs([("dry_run", switch(args.dry_run)), ("replace", switch(args.replace))]);
    let mut ended = false;
    while !ended {
        let mut batch = Batch::default();
        while !batch.is_full() {
            let Some(row) = file.row().map_err(|it| unread(&name, it))? else {
                ended = true;
                break;
            };
            taken.read(row, &mut batch)?;
        }
        if batch.rows.is_empty() {
            continue;
        }
        let body = serde_json::to_vec(&batch.rows).context("rows always have a text")?;
        let answer = remote.upload("/licenses/import", &asked, body).await.with_context(|| {
            format!(
                "rows before line {} are in, later ones are not; import the file again: what is in \
                 is left alone",
                batch.first
            )
        })?;
        taken.answered(&answer, &batch)?;
        bar.at(taken.total(), "rows");
    }
    bar.done();
    taken.end()
}

fn unread(name: &str, because: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Advised {
    let because: Box<dyn std::error::Error + Send + Sync> = because.into();
    Advised {
        what: format!("{name} cannot be imported"),
        next: "mend the file, or export one to see how it looks: entitled licenses export"
            .to_owned(),
        exit: Exit::Failed,
        because: Some(because),
    }
}

/// Rows on their way to the daemon.
#[derive(Default)]
struct Batch {
    rows: Vec<Value>,
    raw: HashMap<u64, Vec<u8>>,
    bytes: usize,
    first: u64,
}

impl Batch {
    fn is_full(&self) -> bool {
        self.rows.len() >= ROWS || self.bytes >= BYTES
    }
}

/// What became of the rows so far.
struct Taken {
    printer: Printer,
    dry_run: bool,
    /// Each id with where it came and what was said of it: a file that contradicts itself is not
    /// to be decided by the order of its rows.
    seen: HashMap<LicenseId, (u64, u64)>,
    counts: [u64; 4],
    shown: Vec<Value>,
    ignored: Vec<String>,
    rejected: Option<fs::File>,
}

const OUTCOMES: [&str; 4] = ["new", "changed", "same", "refused"];

impl Taken {
    fn new(printer: Printer, args: &ImportArgs, head: &[u8]) -> Result<Self, anyhow::Error> {
        let open = |path: &PathBuf| -> Result<fs::File, anyhow::Error> {
            // It may hold keys, and never takes the place of another file.
            let mut options = OpenOptions::new();
            let file = options.write(true).create_new(true).mode(0o600).open(path);
            let mut file = file.with_context(|| format!("cannot make {}", path.display()))?;
            file.write_all(head).context("write the column names")?;
            Ok(file)
        };
        let rejected = args.rejected.as_ref().map(open).transpose()?;
        Ok(Self {
            printer,
            dry_run: args.dry_run,
            seen: HashMap::new(),
            counts: [0; 4],
            shown: Vec::new(),
            ignored: Vec::new(),
            rejected,
        })
    }

    fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Puts a row on its way, unless there is something to say of it already.
    fn read(&mut self, row: Row, batch: &mut Batch) -> Result<(), anyhow::Error> {
        let said = match row.said {
            Ok(said) => said,
            Err(why) => {
                return self.told(
                    json!({"line": row.line, "id": null, "outcome": "refused", "why": why}),
                    Some(&row.raw),
                );
            }
        };
        let id = said.get("id").cloned().unwrap_or_default();
        if let Some(known) = id.as_str().and_then(|it| it.parse::<LicenseId>().ok()) {
            let mut hasher = DefaultHasher::new();
            Value::Object(said.clone()).to_string().hash(&mut hasher);
            let hash = hasher.finish();
            match self.seen.entry(known) {
                Entry::Vacant(free) => drop(free.insert((row.line, hash))),
                Entry::Occupied(first) => {
                    let (line, before) = *first.get();
                    let mut it = json!({"line": row.line, "id": id, "outcome": "same"});
                    if before == hash {
                        return self.told(it, None);
                    }
                    let why = format!("line {line} says something else of it: keep one of them");
                    if let Value::Object(it) = &mut it {
                        it.insert("outcome".to_owned(), "refused".into());
                        it.insert("why".to_owned(), why.into());
                    }
                    return self.told(it, Some(&row.raw));
                }
            }
        }
        if batch.rows.is_empty() {
            batch.first = row.line;
        }
        batch.bytes = batch.bytes.saturating_add(row.raw.len());
        batch.rows.push(json!({"line": row.line, "row": said}));
        batch.raw.insert(row.line, row.raw);
        Ok(())
    }

    fn answered(&mut self, answer: &Value, batch: &Batch) -> Result<(), anyhow::Error> {
        let list = |name: &str| answer.get(name).and_then(Value::as_array).cloned();
        for name in list("ignored").unwrap_or_default() {
            let name = name.as_str().unwrap_or_default().to_owned();
            if !self.ignored.contains(&name) && self.ignored.len() < SHOWN {
                self.ignored.push(name);
            }
        }
        for row in list("rows").unwrap_or_default() {
            let line = row.get("line").and_then(Value::as_u64).unwrap_or_default();
            self.told(row, batch.raw.get(&line).map(Vec::as_slice))?;
        }
        Ok(())
    }

    fn told(&mut self, row: Value, raw: Option<&[u8]>) -> Result<(), anyhow::Error> {
        let outcome = field(&row, "/outcome").to_owned();
        let counts = OUTCOMES.iter().zip(&mut self.counts).filter(|(it, _)| **it == outcome);
        counts.for_each(|(_, count)| *count = count.saturating_add(1));
        if let (Some(file), Some(raw), "refused") = (&mut self.rejected, raw, outcome.as_str()) {
            file.write_all(raw.trim_ascii_end()).and_then(|()| file.write_all(b"\n"))?;
        }
        if self.printer.is_json() {
            self.printer.rows(&[row], &[], "")?;
        } else if self.shown.len() < SHOWN && (outcome == "refused" || self.is_news(&outcome)) {
            self.shown.push(in_words(row));
        }
        Ok(())
    }

    fn is_news(&self, outcome: &str) -> bool {
        outcome == "changed" || (self.dry_run && outcome == "new")
    }

    fn end(self) -> Result<Exit, anyhow::Error> {
        let [new, changed, same, refused] = self.counts;
        let exit = if refused == 0 { Exit::Done } else { Exit::Failed };
        if self.printer.is_json() {
            return Ok(exit);
        }
        let columns = [
            Column::number("line", "/line"),
            Column::text("id", "/id"),
            Column::text("outcome", "/outcome"),
            Column::text("what", "/what"),
        ];
        if !self.shown.is_empty() {
            self.printer.rows(&self.shown, &columns, "")?;
        }
        let all =
            refused.saturating_add(changed).saturating_add(if self.dry_run { new } else { 0 });
        let left = all.saturating_sub(u64::try_from(self.shown.len()).unwrap_or(u64::MAX));
        if left > 0 {
            self.printer.line(&format!("… and {left} more: --json prints all"))?;
        }
        if !self.ignored.is_empty() {
            let names = self.ignored.join(", ");
            self.printer.line(&format!("columns that mean nothing here: {names}"))?;
        }
        let would = if self.dry_run { "nothing was written; it would be: " } else { "" };
        self.printer.line(&format!(
            "{would}{} rows: {new} new, {changed} changed, {same} as they are here, {refused} refused",
            self.counts.iter().sum::<u64>()
        ))?;
        if refused > 0 {
            let next = "mend the rows that were refused and import them again: --rejected FILE \
                        writes them into a file of their own";
            self.printer.line(next)?;
        }
        Ok(exit)
    }
}

/// A row for people: why it was refused, or what changes.
fn in_words(mut row: Value) -> Value {
    let short = |it: Option<&Value>| it.map_or_else(String::new, |it| file::cell(it).into_owned());
    let differs = row.get("differs").and_then(Value::as_object).into_iter().flatten();
    let differs = differs
        .map(|(name, both)| format!("{name}: {} → {}", short(both.get(0)), short(both.get(1))));
    let differs: Vec<String> = differs.collect();
    let what = [field(&row, "/why").to_owned(), differs.join("; ")];
    let what = what.iter().filter(|it| !it.is_empty()).cloned().collect::<Vec<_>>().join(" – ");
    if let Value::Object(row) = &mut row {
        row.insert("what".to_owned(), what.into());
    }
    row
}
