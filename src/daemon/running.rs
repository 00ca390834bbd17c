//! The tasks of a daemon that serves, and how they end: all of it, or for the next daemon of the process.

use std::time::Duration;

use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::{DaemonError, Exit, Kept};

/// How long tasks may take to stop; below systemd's `TimeoutStopSec`.
const STOP_GRACE: Duration = Duration::from_secs(20);

/// How long the next daemon of a process waits for questions in flight before it serves beside them.
const HAND_ON_GRACE: Duration = Duration::from_millis(250);

/// The tasks of a daemon that serves. Dropped, they end at once; [`Running::end`] and
/// [`Running::hand_on`] end them in order.
pub struct Running {
    pub(super) tasks: JoinSet<Exit>,
    /// Those that answer over HTTP: what is in flight there touches nothing that the next daemon does.
    pub(super) listeners: JoinSet<Exit>,
    pub(super) cancel: CancellationToken,
    pub(super) kept: Kept,
}

impl Running {
    /// Waits for what the future brings or for the first task to end, and then ends all of it.
    ///
    /// # Errors
    ///
    /// [`DaemonError`] if it was a task that ended first.
    pub async fn until(mut self, signal: impl Future<Output = ()>) -> Result<(), DaemonError> {
        let outcome = self.told(signal).await;
        self.end().await;
        outcome
    }

    /// Waits for what the future brings; everything goes on meanwhile, and afterwards.
    ///
    /// # Errors
    ///
    /// [`DaemonError`] if a task ended before.
    pub async fn told<T>(&mut self, signal: impl Future<Output = T>) -> Result<T, DaemonError> {
        let outcome = tokio::select! {
            told = signal => Ok(told),
            Some(exit) = self.tasks.join_next() => Err(unexpected(exit)),
            Some(exit) = self.listeners.join_next() => Err(unexpected(exit)),
        };
        if let Err(error) = &outcome {
            error!(error = error as &dyn std::error::Error, "The daemon stops");
        }
        outcome
    }

    /// Stops the tasks in order and closes the store.
    pub async fn end(self) {
        let Self { mut tasks, mut listeners, cancel, kept } = self;
        // Whoever comes now is refused, and does not wait for an answer that nobody gives.
        let store = kept.into_store();
        cancel.cancel();
        stop(STOP_GRACE, &mut [&mut tasks, &mut listeners]).await;
        if let Some(store) = store {
            store.close().await;
        }
    }

    /// Stops the tasks in order and hands on what the next daemon of this process may take over:
    /// whoever asks meanwhile waits for it. Questions that take long are answered beside it.
    pub async fn hand_on(self) -> Kept {
        let Self { mut tasks, mut listeners, cancel, kept } = self;
        cancel.cancel();
        stop(STOP_GRACE, &mut [&mut tasks]).await;
        tasks.shutdown().await;
        if tokio::time::timeout(HAND_ON_GRACE, drain(&mut listeners)).await.is_err() {
            listeners.detach_all();
        }
        kept
    }
}

async fn stop(grace: Duration, all: &mut [&mut JoinSet<Exit>]) {
    info!(tasks.left = all.iter().map(|it| it.len()).sum::<usize>(), "Shutting down");
    let stopped = async {
        for tasks in all {
            drain(tasks).await;
        }
    };
    if tokio::time::timeout(grace, stopped).await.is_err() {
        let grace_s = grace.as_secs();
        warn!(grace_s, "Tasks did not stop within {grace_s} s: dropping them");
    }
}

fn unexpected(exit: Result<Exit, JoinError>) -> DaemonError {
    match exit {
        Ok(Exit { task, result }) => DaemonError::Ended { task, source: result.err() },
        Err(panicked) => DaemonError::Panicked(panicked),
    }
}

async fn drain(tasks: &mut JoinSet<Exit>) {
    while let Some(exit) = tasks.join_next().await {
        match exit {
            Ok(Exit { result: Ok(()), .. }) => {}
            Ok(Exit { task, result: Err(error) }) => {
                error!(error = &error as &dyn std::error::Error, "While stopping, {task} failed");
            }
            Err(error) => {
                error!(error = &error as &dyn std::error::Error, "While stopping, a task panicked");
            }
        }
    }
}
