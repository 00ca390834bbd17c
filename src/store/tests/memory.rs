//! The engine's twin in memory, whose power can be cut between any two operations.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Mutex;

use crate::store::StoreError;
use crate::store::engine::{Engine, Order, Visit, Write};
use crate::store::layout::Table;

type Tables = BTreeMap<Table, BTreeMap<Vec<u8>, Vec<u8>>>;

#[derive(Default)]
struct State {
    live: Tables,
    durable: Tables,
    /// Applied since the last barrier.
    pending: Vec<Vec<Write>>,
    /// How many operations are left before the power goes.
    left: Option<usize>,
    /// The most bytes that lay between two barriers.
    unsynced_max: usize,
}

impl State {
    fn operate(&mut self) -> Result<(), StoreError> {
        match &mut self.left {
            None => Ok(()),
            Some(0) => Err(StoreError::WriteFailed { what: "the power is off".into() }),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }
}

fn put(tables: &mut Tables, writes: &[Write]) {
    for write in writes {
        let table = tables.entry(write.table).or_default();
        match &write.value {
            Some(value) => table.insert(write.key.clone(), value.clone()),
            None => table.remove(&write.key),
        };
    }
}

/// Everything in memory; forgets what no barrier covered.
#[derive(Default)]
pub(super) struct Memory(Mutex<State>);

impl Memory {
    /// Lets so many operations through and fails all after them.
    pub(super) fn fail_after(&self, operations: usize) {
        self.0.lock().unwrap().left = Some(operations);
    }

    /// What is left after a power cut that spared the first `spared` unsynced transactions.
    pub(super) fn cut(&self, spared: usize) -> Self {
        let state = self.0.lock().unwrap();
        let mut left = state.durable.clone();
        state.pending.iter().take(spared).for_each(|writes| put(&mut left, writes));
        Self(Mutex::new(State { live: left.clone(), durable: left, ..State::default() }))
    }

    /// How many transactions no barrier covers.
    pub(super) fn unsynced(&self) -> usize {
        self.0.lock().unwrap().pending.len()
    }

    /// The most bytes that ever lay between two barriers.
    pub(super) fn unsynced_max(&self) -> usize {
        self.0.lock().unwrap().unsynced_max
    }

    /// Changes one value behind the store's back; whether there was one.
    pub(super) fn tamper(
        &self,
        table: Table,
        nth: usize,
        change: impl FnOnce(&mut Vec<u8>),
    ) -> bool {
        let mut state = self.0.lock().unwrap();
        let found = state.live.entry(table).or_default().values_mut().nth(nth);
        found.map(change).is_some()
    }

    /// Removes one value behind the store's back; whether there was one.
    pub(super) fn lose(&self, table: Table, nth: usize) -> bool {
        let mut state = self.0.lock().unwrap();
        let values = state.live.entry(table).or_default();
        let key = values.keys().nth(nth).cloned();
        key.and_then(|key| values.remove(&key)).is_some()
    }

    /// All keys and values of a table.
    pub(super) fn table(&self, table: Table) -> BTreeMap<Vec<u8>, Vec<u8>> {
        self.0.lock().unwrap().live.get(&table).cloned().unwrap_or_default()
    }
}

impl Engine for Memory {
    fn read(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let state = self.0.lock().unwrap();
        Ok(state.live.get(&table).and_then(|it| it.get(key)).cloned())
    }

    fn scan(
        &self,
        table: Table,
        from: &[u8],
        order: Order,
        visit: &mut Visit<'_>,
    ) -> Result<(), StoreError> {
        let all = self.table(table);
        let range = all.range::<[u8], _>((Bound::Included(from), Bound::Unbounded));
        let entries: Vec<_> = match order {
            Order::Ascending => range.collect(),
            Order::Descending => all.iter().rev().collect(),
        };
        for (key, value) in entries {
            if visit(key, value)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    fn apply(&self, writes: &[Write]) -> Result<(), StoreError> {
        let mut state = self.0.lock().unwrap();
        state.operate()?;
        put(&mut state.live, writes);
        state.pending.push(writes.to_vec());
        let unsynced = state.pending.iter().flatten().map(Write::bytes).sum();
        state.unsynced_max = state.unsynced_max.max(unsynced);
        Ok(())
    }

    fn barrier(&self) -> Result<(), StoreError> {
        let mut state = self.0.lock().unwrap();
        state.operate()?;
        for writes in std::mem::take(&mut state.pending) {
            put(&mut state.durable, &writes);
        }
        Ok(())
    }
}
