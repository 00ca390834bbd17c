//! The words of the contract, as types that cannot be wrong. No I/O, no clock, no async, no serde.
