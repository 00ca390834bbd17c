//! Tells the publisher's own systems what happened, until they have it.
//!
//! What is to be told is in the store's outbox, put there by the very commits that made it true.
//! This floor brings it out: signed (Standard Webhooks), at least once and always under the same id,
//! each endpoint by itself, so that one that is stuck delays no other.
//!
//! | file | subject |
//! |---|---|
//! | `worker` | which event goes when, and what comes of it |
//! | `health` | how an endpoint fares, and when it may be asked again |
//! | `rest` | how long to wait, and for how long to go on |
//! | `client` | one try |
//! | `sign` | signatures |
//! | `handle` | the door for commands and for those who look |
//! | `metrics` | what is counted |
//!
//! Order: of one subject the oldest event goes first and alone. One that was tried four times no
//! longer holds up those behind it. A receiver sorts by `timestamp`, or reads the facts.

mod client;
mod handle;
mod health;
mod metrics;
mod rest;
mod sign;
mod worker;

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;

use crate::config::NotifyEndpoint;
use crate::store::{Addressee, Audience, Store};

pub use client::Answer;
pub use handle::{EndpointStatus, NotifyHandle, Replay, TestError, Tested};

use client::Sender;
use handle::Endpoint;
use sign::Signer;

/// The time, asked for and not looked up: tests set it.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Why nothing can be told.
#[derive(Debug, thiserror::Error)]
pub enum NotifyError {
    /// TLS cannot be set up on this machine.
    #[error("the HTTPS client for [[notify]] cannot be set up")]
    Client(#[source] reqwest::Error),
    /// A secret is none, which the configuration does not let pass.
    #[error("the secret of [[notify]] `{0}` is none; run `entitled config check`")]
    Secret(String),
}

/// How old a source's last complete read may be before its failing is told: its `max_age`.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Of the list of subscriptions.
    pub subscriptions: SignedDuration,
    /// Of a directory.
    pub directory: SignedDuration,
}

/// The task that tells, and the door to it. From now on the store keeps events for these endpoints.
///
/// # Errors
///
/// [`NotifyError::Client`], [`NotifyError::Secret`].
pub fn notifier(
    store: Store,
    endpoints: &[NotifyEndpoint],
    patience: Patience,
    clock: Clock,
    cancel: CancellationToken,
) -> Result<(NotifyHandle, impl Future<Output = Result<(), JoinError>> + Send + use<>), NotifyError>
{
    let client = client::client()?;
    let endpoint = |it: &NotifyEndpoint| {
        let signer =
            Signer::new(&it.secrets).ok_or_else(|| NotifyError::Secret(it.name.clone()))?;
        let sender = Sender::new(client.clone(), it.url.clone(), signer);
        Ok(Arc::new(Endpoint::new(it, sender)))
    };
    let endpoints = endpoints.iter().map(endpoint).collect::<Result<Vec<_>, NotifyError>>()?;
    let addressee =
        |it: &Arc<Endpoint>| Addressee { name: Arc::clone(&it.name), wishes: it.wishes.clone() };
    store.address(Audience {
        endpoints: endpoints.iter().map(addressee).collect(),
        subscriptions: patience.subscriptions,
        directory: patience.directory,
    });
    let handle = NotifyHandle::new(store, endpoints, clock);
    let worker = worker::run(handle.clone(), cancel);
    Ok((handle, worker))
}
