//! The figures of the README's claims, each beside something measured in the same run.
//!
//! `cargo bench` runs all but `scale`; `cargo bench -- decision start` runs those whose name contains one of
//! the words. Servers listen on loopback only and end with the run. See `benches/README.md`.
#![allow(
    clippy::allow_attributes,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    missing_docs,
    unreachable_pub,
    reason = "a bench may fail loudly and owns its clock"
)]

mod decision;
mod load;
mod scale;
mod served;
mod support;
mod synced;
mod webhook;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|it| !it.starts_with("--")).collect();
    let wanted = |name: &str| words.is_empty() || words.iter().any(|it| name.contains(it.as_str()));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    if wanted("decision") {
        decision::run();
    }
    if wanted("sync") {
        runtime.block_on(synced::run());
    }
    if wanted("start") || wanted("load") || wanted("memory") {
        runtime.block_on(served::run());
    }
    // Ten thousand tenants take their time: only by name.
    if words.iter().any(|it| it == "scale") {
        runtime.block_on(scale::run());
    }
    if wanted("webhook") {
        runtime.block_on(webhook::run());
    }
}
