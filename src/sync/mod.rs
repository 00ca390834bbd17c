//! Brings the mirror to what Microsoft says.

pub mod keys;
