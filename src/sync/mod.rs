//! Brings the mirror to what Microsoft says.
