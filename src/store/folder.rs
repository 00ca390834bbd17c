//! The store's folder: made, owned, locked, synced.
//!
//! ```text
//! <path>/                 0700, files 0600
//!   lock                  held while a daemon has the store
//!   commits               how many commits there were: a database with fewer went back in time
//!   format                there once the store was written: an empty database is then a loss
//!   signing-keys.json     the keys that sign our answers
//!   mirror/               the database
//!   exports/<n>.ent       the last seven exports
//!   quarantine-<time>/    a damaged database, moved aside
//! ```

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt, FileExt as _, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, Mode};

use super::StoreError;

/// The version of the folder's layout.
const FORMAT: &str = "1";

/// How long another may take to let go of the lock: dropping the last handle of a store frees it
/// a moment later.
const LOCK_WAIT: Duration = Duration::from_secs(3);

/// The store's folder, locked.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    lock: Mutex<Option<File>>,
}

impl Folder {
    /// Makes the folder if need be and locks it.
    ///
    /// Also takes all rights of others from files that this process makes from now on: sled makes
    /// files at any time.
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        rustix::process::umask(Mode::RWXG | Mode::RWXO);
        refuse_foreign(path)?;
        make_private(path)?;
        let lock = Mutex::new(Some(lock(path)?));
        for folder in [path.join("mirror"), path.join("exports")] {
            make_private(&folder)?;
        }
        remove_cut_off(path)?;
        sync_folder(path)?;
        Ok(Self { path: path.to_owned(), lock })
    }

    /// Lets the next one have it.
    pub(super) fn unlock(&self) {
        drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Where the database is.
    pub(super) fn mirror(&self) -> PathBuf {
        self.path.join("mirror")
    }

    /// Where the exports are.
    pub(super) fn exports(&self) -> PathBuf {
        self.path.join("exports")
    }

    /// Whether the store was written before.
    ///
    /// # Errors
    ///
    /// [`StoreError::Newer`] if a program with another layout did.
    pub(super) fn was_written(&self) -> Result<bool, StoreError> {
        match fs::read_to_string(self.path.join("format")) {
            Ok(text) => match text.trim().parse::<u16>() {
                Ok(found) if found > 1 => Err(StoreError::Newer { found, known: 1 }),
                Ok(_) | Err(_) => Ok(true),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(StoreError::folder("read", self.path.join("format"))(error)),
        }
    }

    /// How many commits the database must hold at least; `None` if that is not known.
    pub(super) fn commits(&self) -> Option<u64> {
        let bytes = fs::read(self.path.join("commits")).ok()?;
        let (commits, checksum) = bytes.split_first_chunk::<8>()?;
        let right = checksum == crc32c::crc32c(commits).to_be_bytes();
        right.then(|| u64::from_be_bytes(*commits))
    }

    /// Begins to count commits beside the database, from so many on.
    pub(super) fn count_from(&self, commits: u64) -> Result<CommitCount, StoreError> {
        let path = self.path.join("commits");
        write_private(&path, &counted(commits))?;
        let file = OpenOptions::new().write(true).open(&path);
        file.map(CommitCount).map_err(StoreError::folder("write", path))
    }

    /// Makes the first creation durable: sled syncs neither folders nor its file `conf`.
    pub(super) fn sync_created(&self) -> Result<(), StoreError> {
        let mirror = self.mirror();
        for name in ["conf", "db"] {
            let path = mirror.join(name);
            File::open(&path)
                .and_then(|file| file.sync_all())
                .map_err(StoreError::folder("sync", path))?;
        }
        let blobs = mirror.join("blobs");
        if blobs.exists() {
            sync_folder(&blobs)?;
        }
        sync_folder(&mirror)?;
        write_private(&self.path.join("format"), FORMAT.as_bytes())?;
        sync_folder(&self.path)?;
        if let Some(parent) = self.path.parent().filter(|it| !it.as_os_str().is_empty()) {
            sync_folder(parent)?;
        }
        Ok(())
    }

    /// Takes all rights of others from what is there: a copy or a restore may have left some.
    pub(super) fn harden(&self) -> Result<(), StoreError> {
        harden(&self.path)
    }

    /// Moves the damaged database aside and makes room for a new one.
    pub(super) fn quarantine(&self, now: jiff::Timestamp) -> Result<PathBuf, StoreError> {
        let stamp = now.strftime("%Y%m%dT%H%M%SZ").to_string();
        let free = |n: &u32| {
            let suffix = if *n == 0 { String::new() } else { format!("-{n}") };
            let path = self.path.join(format!("quarantine-{stamp}{suffix}"));
            (!path.exists()).then_some(path)
        };
        let to = (0..).find_map(|n| free(&n)).unwrap_or_else(|| self.path.join("quarantine"));
        fs::rename(self.mirror(), &to).map_err(StoreError::folder("move", self.mirror()))?;
        make_private(&self.mirror())?;
        sync_folder(&self.path)?;
        Ok(to)
    }

    /// Bytes free on the disk, and its size.
    pub(super) fn space(&self) -> Option<(u64, u64)> {
        let stat = rustix::fs::statvfs(&self.path).ok()?;
        let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
        Some((bytes(stat.f_bavail), bytes(stat.f_blocks)))
    }

    /// Bytes that the database takes on the disk.
    pub(super) fn disk_bytes(&self) -> u64 {
        files(&self.mirror()).iter().filter_map(|it| it.metadata().ok()).map(|it| it.len()).sum()
    }

    /// Files that sled made for values too large for it; there must be none.
    pub(super) fn blobs(&self) -> usize {
        files(&self.mirror().join("blobs")).len()
    }
}

/// How many commits there were, beside the database.
///
/// A flipped bit in the middle of its log makes sled take what follows for a torn end and go on from
/// an older state, in which everything fits together, the manifest too: only from outside can
/// be seen that it is old. The count is not synced: after a power cut it may be behind, never
/// ahead, since it follows the barrier.
pub(super) struct CommitCount(File);

impl CommitCount {
    pub(super) fn note(&self, commits: u64) -> Result<(), StoreError> {
        self.0.write_all_at(&counted(commits), 0).map_err(|error| StoreError::WriteFailed {
            what: format!("the count of commits could not be written: {error}").into(),
        })
    }
}

fn counted(commits: u64) -> Vec<u8> {
    let bytes = commits.to_be_bytes();
    [&bytes[..], &crc32c::crc32c(&bytes).to_be_bytes()].concat()
}

/// A folder with other things in it is not for us to close to others.
fn refuse_foreign(path: &Path) -> Result<(), StoreError> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(StoreError::folder("read", path)(error)),
    };
    let names: Vec<_> = entries.flatten().map(|it| it.file_name()).collect();
    let ours = names.iter().any(|it| it == "lock") || names.iter().all(|it| it == "lost+found");
    let foreign = || StoreError::NotEmpty { path: path.to_owned() };
    if ours { Ok(()) } else { Err(foreign()) }
}

/// A folder that nobody else may look into.
pub(super) fn make_private(path: &Path) -> Result<(), StoreError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(StoreError::folder("create", path))?;
    let mode = fs::metadata(path).map_err(StoreError::folder("read", path))?.permissions().mode();
    if mode & 0o777 != 0o700 {
        fs::set_permissions(path, Permissions::from_mode(0o700))
            .map_err(StoreError::folder("protect", path))?;
    }
    Ok(())
}

fn lock(path: &Path) -> Result<File, StoreError> {
    let path_of_lock = path.join("lock");
    let file = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(false)
        .mode(0o600)
        .open(&path_of_lock)
        .map_err(StoreError::folder("write", path_of_lock))?;
    let start = Instant::now();
    loop {
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(rustix::io::Errno::WOULDBLOCK) if start.elapsed() < LOCK_WAIT => {
                thread::sleep(Duration::from_millis(20));
            }
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(StoreError::AlreadyRunning { path: path.to_owned() });
            }
            Err(error) => return Err(StoreError::folder("lock", path)(error.into())),
        }
    }
}

/// A file that goes unless whoever asked for it is there to take it.
pub(super) struct Unless {
    pub(super) done: bool,
    pub(super) path: PathBuf,
}

impl Drop for Unless {
    fn drop(&mut self) {
        if !self.done {
            // It may not be there yet: then whoever makes it finds that nobody waits.
            drop(fs::remove_file(&self.path));
        }
    }
}

/// Removes copies of the store that a killed daemon left half made: backups hold the signing keys.
fn remove_cut_off(path: &Path) -> Result<(), StoreError> {
    for folder in [path.to_owned(), path.join("exports")] {
        for entry in fs::read_dir(&folder).map_err(StoreError::folder("read", &folder))? {
            let path = entry.map_err(StoreError::folder("read", &folder))?.path();
            let is = |extension: &str| path.extension().is_some_and(|it| it == extension);
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let export = folder.ends_with("exports") && is("tmp");
            if export || (name.starts_with("backup-") && (is("part") || is("tmp"))) {
                fs::remove_file(&path).map_err(StoreError::folder("remove", &path))?;
            }
        }
    }
    Ok(())
}

/// Makes names in a folder durable.
pub(super) fn sync_folder(path: &Path) -> Result<(), StoreError> {
    File::open(path).and_then(|it| it.sync_all()).map_err(StoreError::folder("sync", path))
}

/// Puts a file in the place of another: either the old or the new one is there, whole.
pub(super) fn write_private(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let beside = path.with_extension("tmp");
    let write = || -> io::Result<()> {
        let mut file = create_private(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&beside, path)
    };
    write().map_err(StoreError::folder("write", path))?;
    path.parent().map_or(Ok(()), sync_folder)
}

/// A file that nobody else may look into, empty.
pub(super) fn create_private(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(path)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    Ok(file)
}

fn harden(path: &Path) -> Result<(), StoreError> {
    for entry in fs::read_dir(path).map_err(StoreError::folder("read", path))? {
        let entry = entry.map_err(StoreError::folder("read", path))?;
        let Ok(kind) = entry.file_type() else { continue };
        let mode = match (kind.is_dir(), kind.is_file()) {
            (true, _) => 0o700,
            (false, true) => 0o600,
            (false, false) => continue,
        };
        let path = entry.path();
        let metadata = entry.metadata().map_err(StoreError::folder("read", &path))?;
        if metadata.permissions().mode() & 0o777 != mode {
            fs::set_permissions(&path, Permissions::from_mode(mode))
                .map_err(StoreError::folder("protect", &path))?;
        }
        if kind.is_dir() {
            harden(&path)?;
        }
    }
    Ok(())
}

fn files(path: &Path) -> Vec<fs::DirEntry> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    let mut found = Vec::new();
    for entry in entries {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(files(&entry.path())),
            Ok(_) => found.push(entry),
            Err(_) => {}
        }
    }
    found
}
