//! `entitled serve`: the daemon, until it is told to stop.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};

use super::args::ServeArgs;
use super::{Exit, clock, environment, runtime};
use crate::config::Config;
use crate::daemon::{Daemon, Surroundings};
use crate::store::Guard;

/// Runs the daemon with this configuration.
///
/// # Errors
///
/// What kept it from starting, or ended it unasked.
pub(super) fn run(path: &Path, args: ServeArgs) -> anyhow::Result<Exit> {
    let loaded = Config::load(path, environment())?;
    for warning in &loaded.warnings {
        warn!("{warning}");
    }
    // Before any other thread exists, so that all of them inherit it.
    let unguarded = args.unsafe_without_power_guard;
    let guard = if unguarded { Guard::Off } else { Guard::install()? };
    runtime()?.block_on(serve(loaded.config, guard))
}

async fn serve(config: Config, guard: Guard) -> anyhow::Result<Exit> {
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    let surroundings = Surroundings {
        clock: clock(),
        sleep: Arc::new(|wait| Box::pin(tokio::time::sleep(wait))),
        guard,
        read_apart: true,
    };
    let (daemon, running) = Daemon::start(config, surroundings).await?;
    info!(
        "Serving: public http://{}, ops http://{}, admin {}",
        daemon.public,
        daemon.ops,
        daemon.admin.display()
    );
    // Outside systemd there is no socket to tell.
    drop(sd_notify::notify(&[sd_notify::NotifyState::Ready]));
    let signalled = async {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        drop(sd_notify::notify(&[sd_notify::NotifyState::Stopping]));
    };
    running.until(signalled).await?;
    Ok(Exit::Done)
}
