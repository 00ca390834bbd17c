//! Records cut into values of at most 4 KiB, and joined again.

use std::ops::ControlFlow;
use std::sync::Arc;

use jiff::Timestamp;

use super::StoreError;
use super::engine::{Engine, Order, Write};
use super::layout::{self, Key, Kind, Table};
use super::record::{self, Place, TallyV1};

/// One record set or removed, whole.
#[derive(Clone, Debug)]
pub(super) struct RecordWrite {
    pub(super) table: Table,
    pub(super) key: Key,
    pub(super) kind: Kind,
    /// `None` removes the record.
    pub(super) payload: Option<Arc<[u8]>>,
}

impl RecordWrite {
    /// The values to write in place of those that are there now; what the table must hold
    /// afterwards is kept in `tally`.
    pub(super) fn cut(
        &self,
        engine: &dyn Engine,
        written_at: Timestamp,
        tally: &mut TallyV1,
    ) -> Result<Vec<Write>, StoreError> {
        let payloads: Vec<&[u8]> = match &self.payload {
            Some(payload) if payload.is_empty() => vec![&[]],
            Some(payload) => payload.chunks(record::PAYLOAD_MAX).collect(),
            None => Vec::new(),
        };
        let pieces = u16::try_from(payloads.len()).map_err(|_many| StoreError::WriteFailed {
            what: format!("a {:?} record is far too large", self.kind).into(),
        })?;
        let before = pieces_of(engine, self.table, &self.key)?;
        let mut writes = Vec::with_capacity(payloads.len());
        for number in 0..pieces.max(before) {
            let key = layout::piece(&self.key, number);
            if number < before
                && let Some(value) = engine.read(self.table, &key)?
            {
                tally.remove(record::hash(self.table, &key, &value), key.len() + value.len());
            }
            let place =
                Place { table: self.table, key: &key, kind: self.kind, piece: number, pieces };
            let payload = payloads.get(usize::from(number));
            let value = payload.map(|it| record::seal(place, written_at, it));
            if let Some(value) = &value {
                tally.add(record::hash(self.table, &key, value), key.len() + value.len());
            }
            writes.push(Write { table: self.table, key, value });
        }
        Ok(writes)
    }
}

/// How many pieces a record has now.
fn pieces_of(engine: &dyn Engine, table: Table, key: &[u8]) -> Result<u16, StoreError> {
    let key = layout::piece(key, 0);
    match engine.read(table, &key)? {
        Some(value) => Ok(record::open(table, &key, &value)?.pieces),
        None => Ok(0),
    }
}

/// Reads one record, whole.
pub(super) fn read(
    engine: &dyn Engine,
    table: Table,
    key: &[u8],
) -> Result<Option<Vec<u8>>, StoreError> {
    let mut payload = Vec::new();
    let mut number = 0_u16;
    loop {
        let key = layout::piece(key, number);
        let Some(value) = engine.read(table, &key)? else {
            let gone = || StoreError::damaged(format!("table {} lacks a piece", table.name()));
            return if number == 0 { Ok(None) } else { Err(gone()) };
        };
        let opened = record::open(table, &key, &value)?;
        payload.extend_from_slice(opened.payload);
        number = number.saturating_add(1);
        if number >= opened.pieces {
            return Ok(Some(payload));
        }
    }
}

/// What is shown of a whole record: key, kind, payload.
pub(super) type Done<'a> = dyn FnMut(&[u8], Kind, &[u8]) -> Result<(), StoreError> + 'a;

/// Joins the pieces of records that come by in key order.
#[derive(Default)]
pub(super) struct Joiner {
    key: Key,
    next: u16,
    payload: Vec<u8>,
}

impl Joiner {
    /// Takes one value; shows the record to `done` when this was its last piece.
    pub(super) fn take(
        &mut self,
        table: Table,
        key: &[u8],
        value: &[u8],
        done: &mut Done<'_>,
    ) -> Result<(), StoreError> {
        let opened = record::open(table, key, value)?;
        let wrong = || StoreError::damaged(format!("table {} has a lost piece", table.name()));
        let (whole, number) = layout::split_piece(key).ok_or_else(wrong)?;
        if number != opened.piece || number != self.next || (number > 0 && whole != self.key) {
            return Err(wrong());
        }
        if opened.pieces == 1 {
            return done(whole, opened.kind, opened.payload);
        }
        if number == 0 {
            self.key = whole.to_vec();
            self.payload.clear();
        }
        self.payload.extend_from_slice(opened.payload);
        self.next = number.saturating_add(1);
        if self.next < opened.pieces {
            return Ok(());
        }
        self.next = 0;
        done(whole, opened.kind, &self.payload)
    }

    /// Says whether the last record was whole.
    pub(super) fn finish(self, table: Table) -> Result<(), StoreError> {
        let lost = || StoreError::damaged(format!("table {} ends in half a record", table.name()));
        if self.next == 0 { Ok(()) } else { Err(lost()) }
    }
}

/// Shows every record of a table, whole, in key order, and says what the table holds.
pub(super) fn scan(
    engine: &dyn Engine,
    table: Table,
    done: &mut Done<'_>,
) -> Result<TallyV1, StoreError> {
    let mut tally = TallyV1::default();
    let mut joiner = Joiner::default();
    engine.scan(table, &[], Order::Ascending, &mut |key, value| {
        joiner.take(table, key, value, done)?;
        tally.add(record::hash(table, key, value), key.len().saturating_add(value.len()));
        Ok(ControlFlow::Continue(()))
    })?;
    joiner.finish(table)?;
    Ok(tally)
}
