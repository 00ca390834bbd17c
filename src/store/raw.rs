//! What Microsoft sent, as it came: read from disk when somebody asks.

use std::sync::PoisonError;

use super::layout::{self, Kind, Table};
use super::record::{self, OddV1};
use super::{Store, StoreError, pieces};
use crate::domain::{OddRecord, RawRecord, SubscriptionId};

impl Store {
    /// A subscription as Microsoft sent it. Blocking: reads the disk.
    ///
    /// # Errors
    ///
    /// As of [`Self::runs`].
    pub fn raw_subscription(&self, id: SubscriptionId) -> Result<Option<RawRecord>, StoreError> {
        let found = pieces::read(&*self.shared.engine()?, Table::Facts, &layout::raw(id))?;
        let text = |it| String::from_utf8(it).map_err(|_bytes| StoreError::damaged("a raw record"));
        Ok(found.map(text).transpose()?.map(RawRecord::from))
    }

    /// The newest records that nobody understood, oldest first; at most 1,000 are kept, each once.
    /// Blocking: reads the disk.
    ///
    /// # Errors
    ///
    /// As of [`Self::runs`].
    pub fn odd_records(&self, limit: usize) -> Result<Vec<OddRecord>, StoreError> {
        let engine = self.shared.engine()?;
        let newest = self.shared.odd.read().unwrap_or_else(PoisonError::into_inner).newest(limit);
        let mut found = Vec::new();
        for hash in newest {
            if let Some(payload) = pieces::read(&*engine, Table::Facts, &layout::odd(hash))? {
                found.push(record::decode::<OddV1>(Kind::Odd, &payload)?.try_into()?);
            }
        }
        Ok(found)
    }
}
