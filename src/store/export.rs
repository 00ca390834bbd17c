//! Exports and backups: the whole content of a commit boundary in one file that is checked whole
//! before anything in it is believed.
//!
//! ```text
//! file   = "ENTEXP\r\n" | version u16 | length u32 | head (postcard) | entry* | 0 | count u64 | crc32c u32
//! entry  = 1 | table u8 | key length u16 | value length u32 | key | value
//! ```
//!
//! Numbers are big-endian; the checksum covers all before it. Keys and values are those of the
//! database, each value in its envelope with a checksum of its own. Table 255 is the key ring, which
//! only backups carry.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::StoreError;
use super::engine::{Engine, Order, Write};
use super::folder;
use super::layout::{self, Table};
use super::record::{self, ManifestV1};
use super::writer::{self, Batch, Limits};

const MAGIC: &[u8; 8] = b"ENTEXP\r\n";
const VERSION: u16 = 1;
const KEY_RING: u8 = 255;

/// How many exports are kept.
pub(super) const KEEP: usize = 7;

/// A file that holds the store's content at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportReport {
    /// The file.
    pub path: PathBuf,
    /// When it was made.
    pub at: Timestamp,
    /// How many values it holds.
    pub values: u64,
    /// Its length, in bytes.
    pub bytes: u64,
}

/// How much of the journal and of the runs goes into a file, newest first, in bytes a table.
#[derive(Clone, Copy, Debug)]
pub(super) enum History {
    /// All of it.
    All,
    /// At most so much.
    Tail(usize),
}

/// What a file says about itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Head {
    at_ms: i64,
    pub(super) commits: u64,
    journal_next: u64,
    run_ceiling: u64,
}

impl Head {
    /// When the file was made.
    pub(super) fn at(&self) -> Timestamp {
        Timestamp::from_millisecond(self.at_ms).unwrap_or_default()
    }
}

/// What to write.
pub(super) struct Content<'a> {
    pub(super) engine: &'a dyn Engine,
    pub(super) manifest: &'a ManifestV1,
    pub(super) history: History,
    /// The key ring's file, for a backup.
    pub(super) keys: Option<Vec<u8>>,
}

/// Writes a file: it appears whole or not at all. The engine must not be written meanwhile. Every
/// table that goes in whole is compared with the manifest first, so that damage is not copied.
pub(super) fn write(
    content: &Content<'_>,
    now: Timestamp,
    path: &Path,
) -> Result<ExportReport, StoreError> {
    let failed = |error| StoreError::folder("write", path)(error);
    let beside = path.with_extension("tmp");
    let file = folder::create_private(&beside).map_err(failed)?;
    let written = || {
        let mut out = Sums { inner: BufWriter::with_capacity(1 << 20, file), crc: 0, bytes: 0 };
        let values = write_all(content, now, &mut out, path)?;
        let bytes = out.bytes;
        let file = out.inner.into_inner().map_err(|error| failed(error.into_error()))?;
        file.sync_all().map_err(failed)?;
        fs::rename(&beside, path).map_err(failed)?;
        Ok(ExportReport { path: path.to_owned(), at: now, values, bytes })
    };
    let report = written().inspect_err(|_error| {
        // What went wrong first is what is told; the next start looks for what stays.
        drop(fs::remove_file(&beside));
    })?;
    path.parent().map_or(Ok(()), folder::sync_folder)?;
    Ok(report)
}

fn write_all(
    content: &Content<'_>,
    now: Timestamp,
    out: &mut Sums<BufWriter<File>>,
    path: &Path,
) -> Result<u64, StoreError> {
    let failed = |error| StoreError::folder("write", path)(error);
    let manifest = content.manifest;
    let head = record::encode(&Head {
        at_ms: now.as_millisecond(),
        commits: manifest.commits,
        journal_next: manifest.journal_next,
        run_ceiling: manifest.run_ceiling,
    })?;
    let length = u32::try_from(head.len()).unwrap_or(u32::MAX).to_be_bytes();
    out.all(&[MAGIC, &VERSION.to_be_bytes(), &length, &head]).map_err(failed)?;
    let mut count = 0_u64;
    for table in Table::COUNTED {
        let (from, whole) = start(content, table)?;
        let mut tally = record::TallyV1::default();
        content.engine.scan(table, &from, Order::Ascending, &mut |key, value| {
            record::open(table, key, value)?;
            tally.add(record::hash(table, key, value), key.len().saturating_add(value.len()));
            count = count.saturating_add(1);
            entry(out, table.number(), key, value).map_err(failed)?;
            Ok(ControlFlow::Continue(()))
        })?;
        if whole && manifest.clone().tally(table) != Some(&mut tally) {
            let what = format!("table {} is not what was written", table.name());
            return Err(StoreError::damaged(what));
        }
    }
    if let Some(keys) = &content.keys {
        count = count.saturating_add(1);
        entry(out, KEY_RING, b"", keys).map_err(failed)?;
    }
    out.all(&[&[0], &count.to_be_bytes()]).map_err(failed)?;
    let crc = out.crc;
    out.all(&[&crc.to_be_bytes()]).map_err(failed)?;
    Ok(count)
}

/// From which key on a table goes in, and whether that is all of it.
fn start(content: &Content<'_>, table: Table) -> Result<(Vec<u8>, bool), StoreError> {
    let (Table::Journal | Table::Runs, History::Tail(most)) = (table, content.history) else {
        return Ok((Vec::new(), true));
    };
    let (mut from, mut bytes, mut whole) = (Vec::new(), 0_usize, true);
    content.engine.scan(table, &[], Order::Descending, &mut |key, value| {
        bytes = bytes.saturating_add(key.len()).saturating_add(value.len());
        if bytes > most {
            whole = false;
            return Ok(ControlFlow::Break(()));
        }
        // Only whole records: their first pieces are where it may begin.
        if let Some((_, 0)) = layout::split_piece(key) {
            from = key.to_vec();
        }
        Ok(ControlFlow::Continue(()))
    })?;
    if !whole && from.is_empty() {
        from = vec![u8::MAX; 16];
    }
    Ok((if whole { Vec::new() } else { from }, whole))
}

fn entry(out: &mut Sums<impl io::Write>, table: u8, key: &[u8], value: &[u8]) -> io::Result<()> {
    let too_long = |_| io::Error::other("an entry is too long");
    let key_length = u16::try_from(key.len()).map_err(too_long)?.to_be_bytes();
    let value_length = u32::try_from(value.len()).map_err(too_long)?.to_be_bytes();
    out.all(&[&[1, table], &key_length, &value_length, key, value])
}

/// Counts and sums what goes through it.
struct Sums<T> {
    inner: T,
    crc: u32,
    bytes: u64,
}

impl<T> Sums<T> {
    fn pass(&mut self, bytes: &[u8]) {
        self.crc = crc32c::crc32c_append(self.crc, bytes);
        self.bytes = self.bytes.saturating_add(bytes.len().try_into().unwrap_or(u64::MAX));
    }
}

impl<T: io::Write> Sums<T> {
    fn all(&mut self, parts: &[&[u8]]) -> io::Result<()> {
        for part in parts {
            self.inner.write_all(part)?;
            self.pass(part);
        }
        Ok(())
    }
}

impl<T: Read> Sums<T> {
    fn take<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.inner.read_exact(&mut bytes)?;
        self.pass(&bytes);
        Ok(bytes)
    }

    fn take_vec(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.inner.read_exact(&mut bytes)?;
        self.pass(&bytes);
        Ok(bytes)
    }
}

/// No value is longer than this: a damaged length must not take all memory.
const LONGEST: usize = 1 << 20;

/// One entry of a file.
struct Entry {
    table: u8,
    key: Vec<u8>,
    value: Vec<u8>,
}

/// Reads a file and shows each entry; only the end says whether they can be believed.
fn read(
    path: &Path,
    visit: &mut dyn FnMut(Entry) -> Result<(), StoreError>,
) -> Result<Head, StoreError> {
    let bad = |why: String| StoreError::BadExport { path: path.to_owned(), why };
    let cut = |error: io::Error| bad(format!("it cannot be read to its end: {error}"));
    let file = File::open(path).map_err(StoreError::folder("read", path))?;
    let mut file = Sums { inner: BufReader::with_capacity(1 << 20, file), crc: 0, bytes: 0 };
    let head = read_head(&mut file, path)?;
    let mut count = 0_u64;
    while let [1] = file.take().map_err(cut)? {
        let [table] = file.take().map_err(cut)?;
        let key = usize::from(u16::from_be_bytes(file.take().map_err(cut)?));
        let value = usize::try_from(u32::from_be_bytes(file.take().map_err(cut)?)).ok();
        let value = value.filter(|it| *it <= LONGEST);
        let value = value.ok_or_else(|| bad("an entry is damaged".to_owned()))?;
        let key = file.take_vec(key).map_err(cut)?;
        let value = file.take_vec(value).map_err(cut)?;
        count = count.saturating_add(1);
        visit(Entry { table, key, value })?;
    }
    if u64::from_be_bytes(file.take().map_err(cut)?) != count {
        return Err(bad("it lacks entries".to_owned()));
    }
    let crc = file.crc;
    if u32::from_be_bytes(file.take().map_err(cut)?) != crc {
        return Err(bad("its checksum is wrong".to_owned()));
    }
    Ok(head)
}

/// Whether a file can be believed: each byte is looked at.
///
/// # Errors
///
/// [`StoreError::BadExport`] if not; [`StoreError::Newer`].
pub(super) fn verify(path: &Path) -> Result<Head, StoreError> {
    read(path, &mut |entry| {
        let Some(table) = Table::from_number(entry.table) else {
            let known = entry.table == KEY_RING;
            let why = format!("it has a table {}", entry.table);
            let bad = StoreError::BadExport { path: path.to_owned(), why };
            return if known { Ok(()) } else { Err(bad) };
        };
        record::open(table, &entry.key, &entry.value).map(drop)
    })
}

/// Puts the content of a verified file into an empty engine; returns the key ring if it has one.
pub(super) fn restore(
    path: &Path,
    engine: &dyn Engine,
    limits: Limits,
    now: Timestamp,
) -> Result<Option<Vec<u8>>, StoreError> {
    verify(path)?;
    let mut manifest = ManifestV1::default();
    let mut keys = None;
    let mut batch = Batch::new(engine, limits);
    let head = read(path, &mut |Entry { table, key, value }| {
        let Some(table) = Table::from_number(table) else {
            keys = Some(value);
            return Ok(());
        };
        if let Some(tally) = manifest.tally(table) {
            tally.add(record::hash(table, &key, &value), key.len().saturating_add(value.len()));
            batch.push([Write { table, key, value: Some(value) }])?;
        }
        Ok(())
    })?;
    batch.finish()?;
    manifest.commits = head.commits;
    manifest.journal_next = head.journal_next;
    // Runs may have been numbered after the file was written.
    manifest.run_ceiling = head.run_ceiling.saturating_add(writer::RUNS_AHEAD);
    manifest.last_commit = Some(head.at_ms);
    engine.apply(&[writer::manifest_write(&manifest, now)?])?;
    engine.barrier()?;
    Ok(keys)
}

/// The exports in a folder, oldest first, by number.
pub(super) fn list(folder: &Path) -> Vec<(u64, PathBuf)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|it| it.path());
    let ours = entries.filter(|it| it.extension().is_some_and(|it| it == "ent"));
    let mut found: Vec<(u64, PathBuf)> =
        ours.filter_map(|path| Some((path.file_stem()?.to_str()?.parse().ok()?, path))).collect();
    found.sort();
    found
}

/// Where the next export goes.
pub(super) fn next_path(folder: &Path) -> PathBuf {
    let last = list(folder).last().map_or(0, |(number, _)| *number);
    folder.join(format!("{:08}.ent", last.saturating_add(1)))
}

/// Removes exports until only the newest are left.
pub(super) fn rotate(folder: &Path) -> Result<(), StoreError> {
    let found = list(folder);
    for (_, path) in found.iter().take(found.len().saturating_sub(KEEP)) {
        fs::remove_file(path).map_err(StoreError::folder("remove", path))?;
    }
    folder::sync_folder(folder)
}

/// How many commits the newest export holds.
pub(super) fn newest_commits(folder: &Path) -> Option<u64> {
    let (_, path) = list(folder).pop()?;
    let file = File::open(&path).ok()?;
    let mut file = Sums { inner: BufReader::new(file), crc: 0, bytes: 0 };
    read_head(&mut file, &path).ok().map(|head| head.commits)
}

fn read_head(file: &mut Sums<impl Read>, path: &Path) -> Result<Head, StoreError> {
    let bad = |why: &str| StoreError::BadExport { path: path.to_owned(), why: why.to_owned() };
    let cut = |_end: io::Error| bad("it is cut short");
    if file.take::<8>().map_err(cut)? != *MAGIC {
        return Err(bad("it does not begin as one"));
    }
    let found = u16::from_be_bytes(file.take().map_err(cut)?);
    if found > VERSION {
        return Err(StoreError::Newer { found, known: VERSION });
    }
    let length = u32::from_be_bytes(file.take().map_err(cut)?);
    let length = usize::try_from(length).ok().filter(|it| *it <= LONGEST);
    let head = file.take_vec(length.ok_or_else(|| bad("its head is damaged"))?).map_err(cut)?;
    postcard::from_bytes(&head).map_err(|_damaged| bad("its head is damaged"))
}
