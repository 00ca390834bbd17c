//! The one integration binary: every module is a subject, `world` is what they share.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests may fail loudly, and they own their clock"
)]
#![allow(missing_docs, clippy::allow_attributes_without_reason)]

mod world;
mod sandbox;
mod store;
mod power;
mod config;
mod microsoft;
mod tokens;
mod http;
mod decision;
mod sync;
mod cli;
mod tidy;
mod daemon;
