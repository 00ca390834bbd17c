//! The one integration binary: every module is a subject, `world` is what they share.
#![allow(
    clippy::allow_attributes,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs,
    unreachable_pub,
    clippy::field_reassign_with_default,
    reason = "tests may fail loudly, and they own their clock"
)]

mod brake;
mod cli;
mod config;
mod consent;
mod daemon;
mod decision;
mod doctor;
mod fresh;
mod groups;
mod http;
mod landing;
mod life;
mod long;
mod microsoft;
mod moving;
mod notify;
mod orders;
mod power;
mod recorded;
mod reports;
mod resumed;
mod rights;
mod samples;
mod sandbox;
mod store;
mod sync;
mod tidy;
mod tokens;
mod traps;
mod usage;
mod visual;
mod webhook;
mod world;
