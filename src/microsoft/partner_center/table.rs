//! The licence report as a table of text: the License dashboard's CSV, downloaded by hand or made by
//! the analytics API. Neither its dates nor its words are documented, and spreadsheets rewrite it
//! before it comes here, so whatever can be understood is.
//!
//! Source: `visuals-and-isv.md` section 4.5.

use std::collections::BTreeMap;
use std::sync::Arc;

use csv::{ByteRecord, ReaderBuilder};
use jiff::civil::Date;

use super::cell;
use crate::domain::{RawRecord, TenantId};

/// How much of a row that nobody understands is kept.
const RAW_BYTES_MAX: usize = 16 * 1024;

/// How many rows a report may have.
pub const REPORT_ROWS_MAX: usize = 500_000;

/// A licence report, read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LicenceTable {
    /// What it says: one row for each tenant, Service ID and SKU name.
    pub rows: Vec<LicenceRow>,
    /// Rows read, those that could not be understood included.
    pub seen: u64,
    /// Rows that could not be understood: kept as they came, skipped.
    pub odd: Vec<OddRow>,
    /// Columns that mean nothing to us.
    pub ignored: Vec<String>,
}

/// A row of the report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LicenceRow {
    /// The customer's tenant.
    pub tenant: TenantId,
    /// The Service ID in lower case.
    pub service_id: Arc<str>,
    /// The plan's name; may be empty.
    pub sku_name: Arc<str>,
    /// Licences activated in the tenant, if told.
    pub provisioned: Option<u64>,
    /// Licences assigned to users, if told.
    pub assigned: Option<u64>,
    /// The licence's state, in Microsoft's words.
    pub state: Option<Arc<str>>,
    /// When the licences were activated.
    pub activated: Option<Date>,
    /// The offer's title.
    pub product: Option<Arc<str>>,
}

/// A row that could not be understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OddRow {
    /// The line of the file it begins on, from 1.
    pub line: u64,
    /// What could not be understood.
    pub why: String,
    /// The row as it came; its beginning when it is very long.
    pub raw: RawRecord,
}

/// The text is no licence report.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoLicenceTable {
    /// There is nothing in it.
    #[error("it is empty; a licence report begins with a line of column names")]
    Empty,
    /// A column without which no row means anything is not there.
    #[error(
        "it has no column {missing}; a licence report needs Tenant ID and Service ID; this one has: {has}"
    )]
    Columns {
        /// What is not there.
        missing: String,
        /// The columns that are.
        has: String,
    },
    /// It is longer than any report should be.
    #[error("it has more than {REPORT_ROWS_MAX} rows")]
    TooLong,
}

/// What a column means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Column {
    Tenant,
    Service,
    Sku,
    Provisioned,
    Assigned,
    State,
    Activated,
    Product,
}

impl Column {
    /// What a column of this name means: compared without case, spaces and punctuation.
    pub(super) fn of(name: &str) -> Option<Self> {
        let plain: String =
            name.chars().filter(|it| it.is_alphanumeric()).flat_map(char::to_lowercase).collect();
        Some(match plain.as_str() {
            "tenantid" | "customertenantid" => Self::Tenant,
            "serviceid" => Self::Service,
            "skuname" | "sku" => Self::Sku,
            "licensesprovisioned" | "licencesprovisioned" | "provisionedlicenses" => {
                Self::Provisioned
            }
            "licensesassigned" | "licencesassigned" | "assignedlicenses" => Self::Assigned,
            "licensestate" | "licencestate" => Self::State,
            "activationdate" | "licenseactivationdate" => Self::Activated,
            "productdisplayname" | "productname" => Self::Product,
            _ => return None,
        })
    }
}

/// Reads a licence report.
///
/// # Errors
///
/// [`NoLicenceTable`]: it is none, and nothing of it counts. A row that cannot be understood is no
/// error but one of [`LicenceTable::odd`].
pub fn licence_table(bytes: &[u8]) -> Result<LicenceTable, NoLicenceTable> {
    let text = cell::decoded(bytes);
    let (skipped, separator, body) = cell::opening(&text);
    let mut reader = ReaderBuilder::new()
        .delimiter(separator)
        .has_headers(false)
        .flexible(true)
        .from_reader(body.as_bytes());
    let mut record = ByteRecord::new();
    let mut heads: Option<Heads> = None;
    let mut rows: BTreeMap<(TenantId, Arc<str>, Arc<str>), Vec<LicenceRow>> = BTreeMap::new();
    let mut table = LicenceTable::default();
    let mut at = Place { byte: 0, line: 1 };
    // Text in memory always reads; what it holds is another matter.
    while reader.read_byte_record(&mut record).unwrap_or(false) {
        let cells: Vec<&str> = record.iter().map(cell::text).collect();
        if cells.iter().all(|it| it.is_empty()) {
            continue;
        }
        let Some(heads) = &heads else {
            let found = Heads::read(&cells)?;
            table.ignored.clone_from(&found.ignored);
            heads = Some(found);
            continue;
        };
        table.seen = table.seen.saturating_add(1);
        if table.seen > u64::try_from(REPORT_ROWS_MAX).unwrap_or(u64::MAX) {
            return Err(NoLicenceTable::TooLong);
        }
        let from = at.advance(body, record.position().map_or(0, csv::Position::byte));
        let bytes = slice(body, from, reader.position().byte());
        let row = if ate_others(bytes, separator) {
            Err("a quote that opens in it is not closed: what follows was not read".to_owned())
        } else {
            heads.row(&cells)
        };
        match row {
            Ok(row) => {
                let key = (row.tenant, Arc::clone(&row.service_id), Arc::clone(&row.sku_name));
                let same = rows.entry(key).or_default();
                // The same line twice (two downloads put together) counts once.
                if !same.contains(&row) {
                    same.push(row);
                }
            }
            Err(why) => {
                let line = at.line.saturating_add(skipped);
                table.odd.push(OddRow { line, why, raw: raw(bytes) });
            }
        }
    }
    if heads.is_none() {
        return Err(NoLicenceTable::Empty);
    }
    table.rows = rows.into_values().filter_map(together).collect();
    Ok(table)
}

/// How far the text is read. The reader takes the second half of a line's end for the beginning of
/// the next row, so its own count of lines is one short.
struct Place {
    byte: u64,
    line: u64,
}

impl Place {
    /// The row that begins here or after empty lines: its first byte. Rows come in order.
    fn advance(&mut self, body: &str, from: u64) -> u64 {
        let ends = slice(body, from, u64::MAX).iter();
        let ends = ends.take_while(|it| matches!(it, b'\r' | b'\n')).count();
        let from = from.saturating_add(u64::try_from(ends).unwrap_or(0));
        let passed = slice(body, self.byte, from).split(|it| *it == b'\n').skip(1).count();
        self.line = self.line.saturating_add(u64::try_from(passed).unwrap_or(0));
        self.byte = from;
        from
    }
}

/// The bytes of a row.
fn slice(body: &str, from: u64, to: u64) -> &[u8] {
    let at = |it: u64| usize::try_from(it).unwrap_or(usize::MAX).min(body.len());
    body.as_bytes().get(at(from)..at(to)).unwrap_or_default()
}

/// Whether a quote was never closed in what was read as one row, and ate the rows that follow: one
/// of an odd number, in text that goes over lines or ends inside quotes. A quote in the middle of a
/// plain cell (`Contoso 5" GmbH`) means nothing to the reader either.
fn ate_others(bytes: &[u8], separator: u8) -> bool {
    #[derive(Clone, Copy)]
    enum At {
        Start,
        Plain,
        Quoted,
        Closing,
    }
    let odd = bytes.iter().fold(false, |odd, it| odd ^ (*it == b'"'));
    let end = bytes.iter().fold(At::Start, |at, it| match (at, *it) {
        (At::Start | At::Closing, b'"') => At::Quoted,
        (At::Quoted, b'"') => At::Closing,
        (At::Quoted, _) => At::Quoted,
        (_, it) if it == separator => At::Start,
        (At::Start | At::Plain | At::Closing, _) => At::Plain,
    });
    let over_lines = || bytes.trim_ascii_end().iter().any(|it| matches!(it, b'\r' | b'\n'));
    odd && (matches!(end, At::Quoted) || over_lines())
}

/// The text of a row, or its beginning.
fn raw(bytes: &[u8]) -> RawRecord {
    let short = bytes.get(..RAW_BYTES_MAX).unwrap_or(bytes);
    String::from_utf8_lossy(short).trim_end_matches(['\r', '\n']).into()
}

/// Rows of the same tenant, plan and SKU, as when licences were activated in several steps: one row
/// with their sums, the earliest date and all states.
fn together(rows: Vec<LicenceRow>) -> Option<LicenceRow> {
    let sum = |count: fn(&LicenceRow) -> Option<u64>| {
        rows.iter().map(count).try_fold(0_u64, |all, it| Some(all.saturating_add(it?)))
    };
    let (provisioned, assigned) = (sum(|it| it.provisioned), sum(|it| it.assigned));
    let activated = rows.iter().filter_map(|it| it.activated).min();
    let mut states: Vec<&str> = rows.iter().filter_map(|it| it.state.as_deref()).collect();
    states.sort_unstable();
    states.dedup();
    let state = (!states.is_empty()).then(|| Arc::from(states.join(", ")));
    let product = rows.iter().find_map(|it| it.product.clone());
    let first = rows.into_iter().next()?;
    Some(LicenceRow { provisioned, assigned, state, activated, product, ..first })
}

/// Which column stands where.
struct Heads {
    meanings: Vec<Option<Column>>,
    ignored: Vec<String>,
}

impl Heads {
    fn read(cells: &[&str]) -> Result<Self, NoLicenceTable> {
        let mut meanings: Vec<Option<Column>> = Vec::with_capacity(cells.len());
        let mut ignored = Vec::new();
        for name in cells {
            // The first of two columns that mean the same counts: `SKU Name` before `SKU`.
            let meaning = Column::of(name).filter(|it| !meanings.contains(&Some(*it)));
            if meaning.is_none() && !name.is_empty() {
                ignored.push((*name).to_owned());
            }
            meanings.push(meaning);
        }
        let needed = [(Column::Tenant, "Tenant ID"), (Column::Service, "Service ID")];
        let missing = needed.iter().filter(|(it, _)| !meanings.contains(&Some(*it)));
        let missing: Vec<&str> = missing.map(|(_, name)| *name).collect();
        if missing.is_empty() {
            return Ok(Self { meanings, ignored });
        }
        let has: Vec<String> =
            cells.iter().take(40).map(|it| it.chars().take(60).collect()).collect();
        Err(NoLicenceTable::Columns { missing: missing.join(" and "), has: has.join(", ") })
    }

    fn row(&self, cells: &[&str]) -> Result<LicenceRow, String> {
        let more = cells.get(self.meanings.len()..).unwrap_or_default();
        if more.iter().any(|it| !it.is_empty()) {
            return Err(format!(
                "it has {} fields where the first line names {}",
                cells.len(),
                self.meanings.len()
            ));
        }
        let of = |column| {
            let at = self.meanings.iter().position(|it| *it == Some(column))?;
            cells.get(at).copied().filter(|it| cell::is_told(it))
        };
        let shared = |column| of(column).map(Arc::<str>::from);
        let tenant = of(Column::Tenant).ok_or("its Tenant ID is empty or masked")?;
        let tenant: TenantId =
            tenant.trim_matches(['{', '}']).parse().map_err(|_bad| "its Tenant ID is no tenant")?;
        let service_id = of(Column::Service).ok_or("its Service ID is empty or masked")?;
        let count = |column, name: &str| match of(column) {
            None => Ok(None),
            Some(it) => cell::count(it).map(Some).ok_or_else(|| format!("its {name} is no count")),
        };
        Ok(LicenceRow {
            tenant,
            service_id: service_id.to_ascii_lowercase().into(),
            sku_name: shared(Column::Sku).unwrap_or_default(),
            provisioned: count(Column::Provisioned, "Licenses Provisioned")?,
            assigned: count(Column::Assigned, "Licenses Assigned")?,
            state: shared(Column::State),
            activated: of(Column::Activated).and_then(cell::day),
            product: shared(Column::Product),
        })
    }
}

#[cfg(test)]
mod tests;
