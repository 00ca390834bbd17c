//! `entitled serve`: the daemon, until it is told to stop; told to reload (SIGHUP), it takes over a
//! changed configuration.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{error, info, warn};

use super::args::ServeArgs;
use super::{Exit, clock, environment, runtime};
use crate::config::{Config, ConfigError};
use crate::daemon::{Daemon, Kept, Running, Surroundings};
use crate::store::Guard;

/// Runs the daemon with this configuration.
///
/// # Errors
///
/// What kept it from starting, or ended it unasked.
pub(super) fn run(path: &Path, args: ServeArgs) -> anyhow::Result<Exit> {
    let config = load(path)?;
    // Before any other thread exists, so that all of them inherit it.
    let unguarded = args.unsafe_without_power_guard;
    let guard = if unguarded { Guard::Off } else { Guard::install()? };
    runtime()?.block_on(serve(path, config, guard))
}

fn load(path: &Path) -> Result<Config, ConfigError> {
    let loaded = Config::load(path, environment())?;
    for warning in &loaded.warnings {
        warn!("{warning}");
    }
    Ok(loaded.config)
}

async fn serve(path: &Path, mut config: Config, guard: Guard) -> anyhow::Result<Exit> {
    let mut signals = Signals::new(path)?;
    let surroundings = Surroundings {
        clock: clock(),
        sleep: Arc::new(|wait| Box::pin(tokio::time::sleep(wait))),
        guard,
        read_apart: true,
    };
    let (daemon, mut running) =
        Box::pin(Daemon::start(config.clone(), surroundings.clone())).await?;
    serves(&daemon);
    loop {
        let next = match running.told(signals.next()).await {
            Ok(Told::Reload(next)) => *next,
            Ok(Told::Stop) => {
                notify(&[NotifyState::Stopping]);
                running.end().await;
                return Ok(Exit::Done);
            }
            Err(ended) => {
                running.end().await;
                return Err(ended.into());
            }
        };
        info!("Taking over the configuration");
        let now = NotifyState::monotonic_usec_now().ok();
        notify(&[NotifyState::Reloading].into_iter().chain(now).collect::<Vec<_>>());
        let kept = running.hand_on().await;
        (running, config) = Box::pin(begin_again(kept, (next, config), &surroundings)).await?;
    }
}

/// A daemon by the next configuration, or, where that cannot serve, by the one before.
async fn begin_again(
    kept: Kept,
    (next, before): (Config, Config),
    surroundings: &Surroundings,
) -> anyhow::Result<(Running, Config)> {
    let start = async |config: &Config| {
        Box::pin(Daemon::start_after(&kept, config.clone(), surroundings.clone())).await
    };
    let begun = start(&next).await;
    let (begun, config) = match begun {
        Ok(begun) => (Ok(begun), next),
        Err(error) => {
            let error = &error as &dyn std::error::Error;
            error!(error, "The configuration cannot be served: the one before stays");
            (start(&before).await, before)
        }
    };
    match begun {
        Ok((daemon, running)) => {
            kept.leave(&daemon).await;
            serves(&daemon);
            Ok((running, config))
        }
        Err(error) => {
            kept.close().await;
            Err(error.into())
        }
    }
}

fn serves(daemon: &Daemon) {
    info!(
        "Serving: public http://{}, ops http://{}, admin {}",
        daemon.public,
        daemon.ops,
        daemon.admin.display()
    );
    notify(&[NotifyState::Ready]);
}

/// Outside systemd there is no socket to tell.
fn notify(states: &[NotifyState<'_>]) {
    drop(sd_notify::notify(states));
}

/// What the daemon was told.
enum Told {
    Stop,
    Reload(Box<Config>),
}

struct Signals {
    path: PathBuf,
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn new(path: &Path) -> anyhow::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            terminate: signal(SignalKind::terminate()).context("listen for SIGTERM")?,
            interrupt: signal(SignalKind::interrupt()).context("listen for SIGINT")?,
            hangup: signal(SignalKind::hangup()).context("listen for SIGHUP")?,
        })
    }

    /// A configuration that is wrong is no reason to stop.
    async fn next(&mut self) -> Told {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return Told::Stop,
                _ = self.interrupt.recv() => return Told::Stop,
                _ = self.hangup.recv() => {}
            }
            match load(&self.path) {
                Ok(config) => return Told::Reload(Box::new(config)),
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    error!(error, "The configuration is wrong: nothing of it is taken over");
                }
            }
        }
    }
}
