//! `entitled`: the licensing daemon of an independent software vendor.
//!
//! Data flows one way: **Microsoft → [`microsoft`] (wire becomes domain) → [`sync`] (what must
//! change) → [`store`] (durable, then published as an immutable [`domain::Mirror`]) →
//! [`decision`] (pure) → [`http`] (answer).** Nudges (a notification, the command line) go the
//! other way and carry nothing but "look".
//!
//! Floors stand on each other, and a floor uses only floors below it:
//!
//! | floor | what lives there |
//! |---|---|
//! | [`domain`] | the words of the contract as types: no I/O, no clock, no serialization |
//! | [`decision`] | (question, evidence, policy, now) → decision. Pure |
//! | [`config`] | text → a configuration that cannot be wrong |
//! | [`tokens`] | JWTs: theirs checked, ours signed. Pure |
//! | [`telemetry`] | logs and metrics |
//! | [`store`] | the durable mirror; the only floor that knows sled |
//! | [`notify`] | tells the publisher's own systems what happened, until they have it |
//! | [`microsoft`] | what Microsoft says, in our words; wire formats end here |
//! | [`sync`] | brings the mirror to what Microsoft says |
//! | [`http`] | three listeners: public, ops, admin |
//! | [`daemon`] | build → bind → spawn → notify → supervise → drain |
//! | [`cli`] | arguments in, text and exit code out |
//! | [`sandbox`] | beside the house: the Microsoft stand-in, which imports nothing of ours |
//!
//! Deliberately absent: no global state; no clock outside [`daemon`] and [`cli`] (time is an
//! argument); no answer to a question that waits for Microsoft (the landing page and an operator's
//! orders do: somebody sits before them); no queue of work on disk (facts are stored, work is
//! recomputed; webhooks that came and events that must go out are facts); no removal because one
//! listing lacked something.

pub mod cli;
pub mod config;
pub mod daemon;
pub mod decision;
pub mod domain;
pub mod http;
pub mod microsoft;
pub mod notify;
mod planted;
pub mod sandbox;
pub mod store;
pub mod sync;
pub mod telemetry;
pub mod tokens;
