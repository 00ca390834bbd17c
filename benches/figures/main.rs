//! The figures of the README's claims, each beside something measured in the same run.
//!
//! `cargo bench` runs all but `scale` and `arrival`; `cargo bench -- decision start` runs those whose name contains one of
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
mod signed;
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
    if wanted("signed") {
        signed::run();
    }
    if wanted("sync") {
        runtime.block_on(synced::run());
    }
    if wanted("start") || wanted("load") || wanted("memory") {
        runtime.block_on(served::run());
    }
    // Ten thousand tenants take their time: only by name. The stand-in is no part of what is measured
    // there: it gives way, as if it ran on another machine.
    let named = |name: &str| words.iter().any(|it| it == name);
    if named("scale") || named("arrival") {
        let beside = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .on_thread_start(support::give_way)
            .build()
            .unwrap();
        if named("scale") {
            beside.block_on(scale::run());
        } else {
            beside.block_on(scale::arrival());
        }
    }
    if wanted("webhook") {
        runtime.block_on(webhook::run());
    }
}
