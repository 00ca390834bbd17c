//! The public and the ops listener through real sockets.

pub(crate) mod activations;
mod answers;
mod edges;
mod guessing;
pub(crate) mod harness;
mod licensee;
mod licenses;
mod ops;
mod packages;
mod shown;
mod webhook;
mod wire;
