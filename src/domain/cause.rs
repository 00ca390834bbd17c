//! What makes a fact change, in the contract's words.

use std::fmt;
use std::sync::Arc;

use super::RunId;

/// What made a fact change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A sync run.
    Run(RunId),
    /// A marketplace webhook, by its operation id.
    Webhook(Arc<str>),
    /// A server-side caller, by its configured name: also the query that took a seat.
    Caller(Arc<str>),
    /// An operator's command, who is not known.
    Command,
    /// An operator's command, by the system's number of the user who gave it.
    Operator(u32),
    /// An activation, or a visual's own question that took a seat.
    Activation,
    /// The passing of time, by the configuration.
    Schedule,
}

impl Cause {
    /// Who gave a command, for people.
    pub fn operator(&self) -> Option<String> {
        match self {
            Self::Operator(uid) => Some(format!("user id {uid}")),
            Self::Run(_)
            | Self::Webhook(_)
            | Self::Caller(_)
            | Self::Command
            | Self::Activation
            | Self::Schedule => None,
        }
    }
}

/// The contract's words: who gave a command stands apart, see [`Cause::operator`].
impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Run(id) => write!(f, "run {id}"),
            Self::Webhook(operation) => write!(f, "webhook {operation}"),
            Self::Caller(name) => write!(f, "caller {name}"),
            Self::Command | Self::Operator(_) => f.write_str("command"),
            Self::Activation => f.write_str("activation"),
            Self::Schedule => f.write_str("schedule"),
        }
    }
}
