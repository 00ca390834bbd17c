//! What has to be done now and then: exports, old log entries, old keys, the watchdog.

use std::error::Error;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::domain::Commit;
use crate::store::Store;
use crate::sync::Clock;

/// Between two looks at what is due.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// Between two exports.
const EXPORT_EVERY: SignedDuration = SignedDuration::from_hours(24);
/// How long the sync log and the change journal are kept.
const KEEP: SignedDuration = SignedDuration::from_hours(400 * 24);

/// Does what is due, until cancelled.
///
/// The watchdog is only fed when the store's committer has answered: a daemon that hangs there
/// is one that systemd should start afresh.
pub(super) async fn run(store: Store, clock: Clock, cancel: CancellationToken) {
    let mut last_export: Option<Timestamp> = None;
    loop {
        tokio::select! {
            biased;
            () = cancel.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        let now = clock();
        let due = last_export.is_none_or(|at| now.duration_since(at) >= EXPORT_EVERY);
        if due {
            last_export = Some(now);
            tend(&store, now).await;
        }
        feed_watchdog(&store).await;
    }
}

async fn tend(store: &Store, now: Timestamp) {
    let before = now.checked_sub(KEEP).unwrap_or(now);
    match store.export(now).await {
        Ok(_) => info!("Exported the store"),
        Err(error) => error!(error = &error as &dyn Error, "The store could not be exported"),
    }
    match store.prune(before).await {
        Ok(pruned) => {
            info!(
                store.runs = pruned.runs,
                store.chunks = pruned.chunks,
                "Dropped old log entries"
            );
        }
        Err(error) => error!(error = &error as &dyn Error, "Old log entries could not be dropped"),
    }
}

async fn feed_watchdog(store: &Store) {
    // Nothing to write, but the committer has to come round to it.
    let answered = store.commit(Commit::default()).await;
    if let Err(problem) = answered.and_then(|()| store.writable()) {
        error!(error = &problem as &dyn Error, "The store takes no writes; answers go on");
        let status = format!("the store takes no writes: {problem}");
        // Nobody may be listening: outside systemd there is no socket.
        drop(sd_notify::notify(&[sd_notify::NotifyState::Status(&status)]));
    }
    drop(sd_notify::notify(&[sd_notify::NotifyState::Watchdog]));
}
