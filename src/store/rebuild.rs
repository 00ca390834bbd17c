//! Opens what is in the folder; moves a damaged database aside and goes on from the newest export.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::engine::{Engine, SledEngine};
use super::folder::Folder;
use super::keyring::KeyRing;
use super::load::{self, Loaded};
use super::writer::Limits;
use super::{Guard, StoreError, export};

/// How long the database may still be held by a store of this process that was dropped just now.
const LOCK_WAIT: Duration = Duration::from_secs(3);

/// What was found when the store was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opened {
    /// Nothing: it is new.
    Fresh,
    /// What was written last.
    Loaded,
    /// A damaged database. Everything must be read anew in full: the cursors of what was restored
    /// are gone.
    Rebuilt {
        /// What was wrong with it.
        why: String,
        /// Where it was moved to; `None` if the store goes on with it, because it is whole but of an
        /// older moment and no export is newer.
        quarantine: Option<PathBuf>,
        /// The export that the store now holds; `None` if there was none that could be believed.
        export: Option<PathBuf>,
    },
}

/// An engine and what is in it.
pub(super) struct Ready {
    pub(super) engine: Arc<dyn Engine>,
    pub(super) loaded: Loaded,
    pub(super) opened: Opened,
}

/// Opens the database of this folder, whatever state it is in.
pub(super) fn open(
    folder: &Folder,
    guard: Guard,
    limits: Limits,
    now: Timestamp,
) -> Result<Ready, StoreError> {
    let written = folder.was_written()?;
    let why = match attempt(&folder.mirror(), guard, limits) {
        Ok((engine, loaded)) => {
            let found = loaded.manifest.as_ref().map(|it| it.commits);
            match (written, found) {
                (_, Some(found)) => {
                    let known = folder.commits().unwrap_or(0);
                    if found >= known {
                        return Ok(Ready { engine, loaded, opened: Opened::Loaded });
                    }
                    let why = format!("the database holds {found} commits of {known}");
                    if export::newest_commits(&folder.exports()).is_none_or(|it| it <= found) {
                        let opened = Opened::Rebuilt { why, quarantine: None, export: None };
                        return Ok(Ready { engine, loaded, opened });
                    }
                    why
                }
                (false, None) => return Ok(Ready { engine, loaded, opened: Opened::Fresh }),
                (true, None) => "the database is empty, and it was not".to_owned(),
            }
        }
        Err(StoreError::Damaged { what }) => what,
        Err(error) => return Err(error),
    };
    let quarantine = Some(folder.quarantine(now)?);
    for (_, path) in export::list(&folder.exports()).into_iter().rev() {
        match restore(folder, &path, guard, limits, now) {
            Ok((engine, loaded)) => {
                let opened = Opened::Rebuilt { why, quarantine, export: Some(path) };
                return Ok(Ready { engine, loaded, opened });
            }
            // This one is no better; an older one may be.
            Err(StoreError::BadExport { .. } | StoreError::Damaged { .. }) => clear(folder)?,
            Err(error) => return Err(error),
        }
    }
    let (engine, loaded) = attempt(&folder.mirror(), guard, limits)?;
    let opened = Opened::Rebuilt { why, quarantine, export: None };
    Ok(Ready { engine, loaded, opened })
}

fn clear(folder: &Folder) -> Result<(), StoreError> {
    let mirror = folder.mirror();
    fs::remove_dir_all(&mirror).map_err(StoreError::folder("remove", &mirror))?;
    super::folder::make_private(&mirror)
}

fn restore(
    folder: &Folder,
    path: &Path,
    guard: Guard,
    limits: Limits,
    now: Timestamp,
) -> Result<(Arc<dyn Engine>, Loaded), StoreError> {
    export::verify(path)?;
    {
        let engine = caught(|| SledEngine::open(&folder.mirror(), guard))?;
        caught(|| export::restore(path, &engine, limits, now))?;
    }
    attempt(&folder.mirror(), guard, limits)
}

/// Opens and reads a database; a panic of the engine is damage.
fn attempt(
    path: &Path,
    guard: Guard,
    limits: Limits,
) -> Result<(Arc<dyn Engine>, Loaded), StoreError> {
    let start = Instant::now();
    loop {
        let result = caught(|| {
            let engine = SledEngine::open(path, guard)?;
            let loaded = load::load(&engine, limits)?;
            Ok((Arc::new(engine) as Arc<dyn Engine>, loaded))
        });
        match result {
            Err(StoreError::AlreadyRunning { .. }) if start.elapsed() < LOCK_WAIT => {
                thread::sleep(Duration::from_millis(20));
            }
            result => return result,
        }
    }
}

/// Turns a panic into damage: sled's answer to half of all flipped bits is one.
pub(super) fn caught<T>(work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
        let first = text.lines().next().unwrap_or_default();
        Err(StoreError::damaged(format!("the engine panicked: {first}")))
    })
}

/// When a backup was made, if every byte of it can be believed. Blocking.
///
/// # Errors
///
/// [`StoreError::BadExport`] if not; [`StoreError::Newer`].
pub fn verify_backup(file: &Path) -> Result<Timestamp, StoreError> {
    export::verify(file).map(|it| it.at())
}

/// Makes a store of a backup in a folder that does not exist or is empty, and verifies it.
///
/// Blocking. The next start of the daemon there finds a store as of the backup.
///
/// # Errors
///
/// [`StoreError::BadExport`] if the file cannot be believed, [`StoreError::NotEmpty`]; nothing was
/// changed then.
pub fn restore_into_empty(file: &Path, into: &Path, now: Timestamp) -> Result<(), StoreError> {
    export::verify(file)?;
    let occupied = fs::read_dir(into).is_ok_and(|mut it| it.next().is_some());
    if occupied {
        return Err(StoreError::NotEmpty { path: into.to_owned() });
    }
    let guard = Guard::install()?;
    let limits = Limits::default();
    let folder = Folder::open(into)?;
    let keys = {
        let engine = caught(|| SledEngine::open(&folder.mirror(), guard))?;
        caught(|| export::restore(file, &engine, limits, now))?
    };
    if let Some(keys) = keys {
        super::folder::write_private(&into.join(KeyRing::FILE), &keys)?;
    }
    let (engine, _) = attempt(&folder.mirror(), guard, limits)?;
    drop(engine);
    folder.sync_created()
}
