//! Arguments in, text and exit code out.
//!
//! [`args`] is the whole command tree; a command is one function in its own file. Only here are
//! errors put into words for people: what went wrong, because of what, and what to do.

pub mod args;
pub mod backup;
pub mod changes;
pub mod config;
mod demo;
mod doctor;
pub mod groups;
pub mod held;
pub mod keys;
mod learn;
mod license_csv;
pub mod licenses;
mod life;
pub mod log;
pub mod notify;
pub mod orders;
pub mod output;
mod products;
pub mod query;
pub mod remote;
pub mod reports;
mod sandbox;
pub mod seats;
mod serve;
pub mod status;
pub mod subscriptions;
pub mod sync;
pub mod tenants;
pub mod usage;
pub mod webhooks;

use std::error::Error;
use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Parser as _;

use crate::config::ConfigError;
use crate::store::Guard;
use crate::sync::Clock;
use crate::telemetry::{self, TelemetryError};
use args::{Cli, Command};

/// How a command ended. The numbers are the contract's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// Failed; the message says what and what to do next.
    Failed = 1,
    /// Wrong usage or configuration: trying again cannot help (systemd does not restart on it).
    Usage = 2,
    /// The answer of `query` is not usable.
    NotUsable = 3,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// A failure that knows what to do next.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct Advised {
    /// What went wrong.
    pub what: String,
    /// What to do next: one sentence.
    pub next: String,
    /// What to exit with.
    pub exit: Exit,
    /// Because of what.
    #[source]
    pub because: Option<Box<dyn Error + Send + Sync>>,
}

/// Runs the command line and returns its exit code.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(usage) => {
            // Help for `--help`, otherwise what is wrong; nobody may be listening any more.
            drop(usage.print());
            return if usage.use_stderr() { Exit::Usage.into() } else { Exit::Done.into() };
        }
    };
    match run(&cli) {
        Ok(exit) => exit.into(),
        Err(error) => {
            let (text, exit) = in_words(&error);
            drop(std::io::stderr().write_all(text.as_bytes()));
            exit.into()
        }
    }
}

/// Runs one command.
///
/// # Errors
///
/// Whatever ended the command early; [`main`] puts it into words.
pub fn run(cli: &Cli) -> Result<Exit, anyhow::Error> {
    match &cli.command {
        Command::Config(command) => config::run(*command, &cli.config, cli.json),
        Command::Restore(args) => backup::restore(&cli.config, cli.json, args),
        Command::Products(command) => products::run(command, &cli.config, cli.json),
        Command::Serve(args) => {
            telemetry::start(variable, telemetry::TELLING)?;
            serve::run(&cli.config, *args)
        }
        Command::Sandbox(args) => {
            telemetry::start(variable, telemetry::TELLING)?;
            runtime()?.block_on(sandbox::run(args, cli.json))
        }
        Command::Demo(args) => {
            telemetry::start(variable, telemetry::QUIET)?;
            // Before any other thread exists, so that all of them inherit it.
            let guard = Guard::install()?;
            runtime()?.block_on(demo::run(args.exit, guard))
        }
        Command::Status
        | Command::Doctor
        | Command::Sync(_)
        | Command::Log(_)
        | Command::Changes(_)
        | Command::Webhooks(_)
        | Command::Query(_)
        | Command::Subscriptions(_)
        | Command::Seats(_)
        | Command::Groups(_)
        | Command::Tenants(_)
        | Command::Usage(_)
        | Command::Notify(_)
        | Command::Reports(_)
        | Command::Licenses(_)
        | Command::Activations(_)
        | Command::Backup(_)
        | Command::Keys(_) => {
            telemetry::start(variable, telemetry::QUIET)?;
            remote::run(cli)
        }
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, anyhow::Error> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.context("start the runtime")
}

/// The clock of this process: the only place, with the daemon, where it is read.
#[expect(clippy::disallowed_methods, reason = "everything below is handed this closure")]
fn clock() -> Clock {
    Arc::new(jiff::Timestamp::now)
}

/// One environment variable, if it is set and text.
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// All environment variables that are text, for [`crate::config::Config::load`].
pub fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// The error as people read it, and what to exit with.
fn in_words(error: &anyhow::Error) -> (String, Exit) {
    let mut lines = vec![format!("error: {error}")];
    lines.extend(error.chain().skip(1).map(|it| format!("  because {it}")));
    let advised = error.chain().find_map(|it| it.downcast_ref::<Advised>());
    lines.extend(advised.map(|it| format!("  next: {}", it.next)));
    let misused = error.chain().any(|it| it.is::<ConfigError>() || it.is::<TelemetryError>());
    let exit = match advised {
        Some(it) => it.exit,
        None if misused => Exit::Usage,
        None => Exit::Failed,
    };
    (lines.join("\n") + "\n", exit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_because_of_what_and_what_to_do() {
        let error = anyhow::Error::new(Advised {
            what: "the daemon does not answer".to_owned(),
            next: "start it: entitled serve".to_owned(),
            exit: Exit::Failed,
            because: Some("connection refused".into()),
        });
        let (text, exit) = in_words(&error);
        assert_eq!(exit, Exit::Failed);
        assert_eq!(
            text,
            "error: the daemon does not answer\n  because connection refused\n  \
             next: start it: entitled serve\n"
        );
    }

    #[test]
    fn a_wrong_configuration_is_wrong_usage() {
        let wrong = crate::config::Config::parse("= 3", std::iter::empty()).unwrap_err();
        let (text, exit) = in_words(&anyhow::Error::new(wrong).context("cannot start"));
        assert_eq!(exit, Exit::Usage);
        assert!(text.starts_with("error: cannot start\n  because line 1 is no TOML"), "{text}");
    }
}
