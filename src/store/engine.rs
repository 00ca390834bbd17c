//! The engine: the only file that names sled, behind the few operations that the store needs.

use std::convert::Infallible;
use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sled::Transactional;
use sled::transaction::{ConflictableTransactionError, TransactionError};

use super::layout::Table;
use super::{Guard, StoreError};

/// One key set or removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Write {
    pub(super) table: Table,
    pub(super) key: Vec<u8>,
    /// `None` removes the key.
    pub(super) value: Option<Vec<u8>>,
}

impl Write {
    pub(super) fn bytes(&self) -> usize {
        self.key.len().saturating_add(self.value.as_ref().map_or(0, Vec::len))
    }
}

/// What a scan shows its visitor: key and value.
pub(super) type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>, StoreError> + 'a;

/// In which order a scan goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Ascending,
    Descending,
}

/// A durable, ordered map of byte strings with several tables. One thread writes.
pub(super) trait Engine: Send + Sync {
    /// The value of a key.
    fn read(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// Shows all keys from `from` on (when descending: all keys of the table) until told to stop.
    fn scan(
        &self,
        table: Table,
        from: &[u8],
        order: Order,
        visit: &mut Visit<'_>,
    ) -> Result<(), StoreError>;

    /// All of these writes or none; durable after the next [`Self::barrier`].
    fn apply(&self, writes: &[Write]) -> Result<(), StoreError>;

    /// Returns once everything applied so far survives a power cut.
    fn barrier(&self) -> Result<(), StoreError>;
}

/// How much sled keeps of the file in memory, in bytes. Its default is 1 GiB.
const CACHE: u64 = 32 << 20;

/// sled in a folder of its own.
pub(super) struct SledEngine {
    path: PathBuf,
    trees: Vec<sled::Tree>,
    db: sled::Db,
    /// An own handle of the file `db`, to fsync it after sled's flush; none without the guard.
    file: Option<File>,
}

impl SledEngine {
    /// Opens or creates the database in this folder. It must be called with the guard in force
    /// if there is to be one. May panic on a damaged database.
    ///
    /// # Errors
    ///
    /// [`StoreError::Damaged`] if it cannot be read for what is in it, otherwise what the system
    /// said.
    pub(super) fn open(path: &Path, guard: Guard) -> Result<Self, StoreError> {
        let config = sled::Config::new().path(path).cache_capacity(CACHE);
        let db = config.open().map_err(|error| reading(&error, path))?;
        let mut trees = Vec::new();
        for table in Table::ALL {
            trees.push(db.open_tree(table.name()).map_err(|error| reading(&error, path))?);
        }
        let open = || File::open(path.join("db")).map_err(StoreError::folder("open", path));
        let file = match guard {
            Guard::On => Some(open()?),
            Guard::Off => None,
        };
        Ok(Self { path: path.to_owned(), trees, db, file })
    }

    fn tree(&self, table: Table) -> Result<&sled::Tree, StoreError> {
        let missing = || StoreError::ReadFailed { what: format!("no table {}", table.name()) };
        self.trees.get(usize::from(table.number())).ok_or_else(missing)
    }
}

impl Engine for SledEngine {
    fn read(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let value = self.tree(table)?.get(key).map_err(|error| reading(&error, &self.path))?;
        Ok(value.map(|it| it.to_vec()))
    }

    fn scan(
        &self,
        table: Table,
        from: &[u8],
        order: Order,
        visit: &mut Visit<'_>,
    ) -> Result<(), StoreError> {
        let tree = self.tree(table)?;
        let all = match order {
            Order::Ascending => Box::new(tree.range(from..)) as Box<dyn Iterator<Item = _>>,
            Order::Descending => Box::new(tree.iter().rev()),
        };
        for entry in all {
            let (key, value) = entry.map_err(|error| reading(&error, &self.path))?;
            if visit(&key, &value)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    fn apply(&self, writes: &[Write]) -> Result<(), StoreError> {
        let mut touched: Vec<Table> = writes.iter().map(|it| it.table).collect();
        touched.sort_unstable();
        touched.dedup();
        let mut trees = Vec::new();
        for table in &touched {
            trees.push(self.tree(*table)?.clone());
        }
        let at = |table: Table| touched.iter().position(|it| *it == table);
        // sled may run this more than once.
        let result = trees.as_slice().transaction(|views| {
            for write in writes {
                let Some(view) = at(write.table).and_then(|at| views.get(at)) else { continue };
                match &write.value {
                    Some(value) => view.insert(write.key.as_slice(), value.as_slice())?,
                    None => view.remove(write.key.as_slice())?,
                };
            }
            Ok::<(), ConflictableTransactionError<Infallible>>(())
        });
        result.map_err(|error| match error {
            TransactionError::Storage(error) => writing(&error),
            TransactionError::Abort(never) => match never {},
        })
    }

    fn barrier(&self) -> Result<(), StoreError> {
        self.db.flush().map_err(|error| writing(&error))?;
        // The belt to the guard's braces: sled only logs an fsync that failed in the background.
        self.file.as_ref().map_or(Ok(()), File::sync_all).map_err(|error| StoreError::WriteFailed {
            what: format!("the file could not be synced: {error}").into(),
        })
    }
}

fn writing(error: &sled::Error) -> StoreError {
    StoreError::WriteFailed { what: Arc::from(error.to_string()) }
}

/// Whether an error means that what is on disk is damaged, or that the system would not let us.
fn reading(error: &sled::Error, path: &Path) -> StoreError {
    let damaged = || StoreError::damaged(error.to_string());
    match error {
        sled::Error::Io(source) if is_locked(source) => {
            StoreError::AlreadyRunning { path: path.to_owned() }
        }
        sled::Error::Io(source) if source.raw_os_error().is_some() => {
            StoreError::folder("read", path)(io::Error::new(source.kind(), source.to_string()))
        }
        sled::Error::Io(_)
        | sled::Error::CollectionNotFound(_)
        | sled::Error::Unsupported(_)
        | sled::Error::ReportableBug(_)
        | sled::Error::Corruption { .. } => damaged(),
    }
}

/// sled says that another has the database only in words.
fn is_locked(error: &io::Error) -> bool {
    error.to_string().contains("could not acquire lock")
}
