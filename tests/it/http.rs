//! The public and the ops listener through real sockets.

mod activations;
mod answers;
mod edges;
mod harness;
mod licenses;
mod ops;
mod webhook;
mod wire;
