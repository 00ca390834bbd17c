//! The real binary as processes of its own, seen by those who have only the contract: the operator
//! at the command line, a visual at the public listener, a monitor at the ops listener.

mod alone;
mod clouds;
mod contract;
mod harness;
mod http;
mod promises;
mod reloaded;
mod soak;
mod sold;
mod told;
mod trouble;
mod webhooks;
