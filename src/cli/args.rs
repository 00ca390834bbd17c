//! The command tree: what can be typed, and its help.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::backup::BackupArgs;
use super::groups::GroupsArgs;
use super::learn::LearnArgs;
use super::licenses::{ActivationsCommand, LicensesCommand};
use super::notify::NotifyArgs;
use super::reports::ReportsArgs;
pub use super::sandbox::SandboxArgs;
use super::subscriptions::SubscriptionsArgs;
use crate::domain::{GroupId, Host, ProductId, RunId, Source, SubscriptionId, TenantId, UserId};

use super::webhooks::{LedgerArgs, WebhooksCommand};

/// The licensing daemon of an ISV: mirrors what Microsoft knows, answers who may use what.
#[derive(Clone, Debug, Parser)]
#[command(name = "entitled", version, arg_required_else_help = true, after_help = EXIT_CODES)]
pub struct Cli {
    /// The configuration file
    #[arg(long, global = true, value_name = "F", default_value = "/etc/entitled/entitled.toml")]
    pub config: PathBuf,

    /// Print one JSON value a line instead of a table
    #[arg(long, global = true)]
    pub json: bool,

    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "\
Exit codes: 0 done; 1 failed; 2 wrong usage or configuration; 3 `query`: not usable.
Commands other than serve, demo, sandbox, config, restore and products ask the running daemon (listen.admin).";

/// What to do.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Run the daemon
    Serve(ServeArgs),
    /// Show it all: a Microsoft stand-in, a daemon against it, sample questions and answers
    Demo(DemoArgs),
    /// Run the Microsoft stand-in alone
    Sandbox(SandboxArgs),
    /// Check or show the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Live checks: configuration, store, clock, credential, each API, each tenant's consent; one
    /// line each with what to do next; exit code 1 if one failed
    Doctor,
    /// Freshness per source and tenant, last errors, store size, seats
    Status,
    /// Read from Microsoft now, and wait until it is done
    Sync(SyncArgs),
    /// The sync log: what each run saw, changed and waited for
    #[command(args_conflicts_with_subcommands = true)]
    Log(LogArgs),
    /// The change journal: each fact that differs from before, and why
    Changes(ChangesArgs),
    /// Ask for a decision; exit code 3 if the answer is not usable. Takes no seat
    Query(QueryArgs),
    /// Webhooks that were given up: list, look at, work off again
    #[command(subcommand)]
    Webhooks(WebhooksCommand),
    /// Mirrored subscriptions of the marketplace, and orders on them
    #[command(args_conflicts_with_subcommands = true)]
    Subscriptions(SubscriptionsArgs),
    /// Mirrored seats with the paths they came by
    Seats(SeatsArgs),
    /// Groups through which licences come, and how users stand with them
    #[command(args_conflicts_with_subcommands = true)]
    Groups(GroupsArgs),
    /// Tenants, their consent and last complete read
    Tenants(TenantsArgs),
    /// Licenses that the publisher sold itself
    #[command(subcommand)]
    Licenses(LicensesCommand),
    /// Which tenants are bound to which licenses
    #[command(subcommand)]
    Activations(ActivationsCommand),
    /// Metered usage, told to Microsoft once an hour
    #[command(args_conflicts_with_subcommands = true)]
    Usage(super::usage::UsageArgs),
    /// The publisher's own systems that are told what happens: how they fare
    Notify(NotifyArgs),
    /// The licence report of Partner Center against deals and what Graph shows
    #[command(args_conflicts_with_subcommands = true)]
    Reports(ReportsArgs),
    /// What is sold: products, their plans and ways of being licensed; where these count
    #[command(args_conflicts_with_subcommands = true)]
    Products(ProductsArgs),
    /// The keys that sign our answers
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Write a consistent copy of everything into one file, while the daemon runs
    Backup(BackupArgs),
    /// Make the store out of a backup: into an empty folder, while no daemon runs there
    Restore(BackupArgs),
}

/// `serve`.
#[derive(Clone, Copy, Debug, Args)]
pub struct ServeArgs {
    /// Leave out what makes writes survive a power cut: for tests that must see the difference
    #[arg(long, hide = true)]
    pub unsafe_without_power_guard: bool,
}

/// `demo`.
#[derive(Clone, Debug, Args)]
pub struct DemoArgs {
    /// Stop after the answers instead of staying up until Ctrl-C
    #[arg(long)]
    pub exit: bool,
}

/// `config`.
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum ConfigCommand {
    /// Read and check everything; print all problems, or ok
    Check,
    /// Print every effective value and where it came from; secrets are masked
    Show,
}

/// `sync`.
#[derive(Clone, Debug, Args)]
pub struct SyncArgs {
    /// Which source; subscriptions and directory by default: a report takes minutes to be made
    #[arg(value_parser = synced, value_name = "subscriptions|directory|reports")]
    pub source: Option<Source>,
    /// Only this tenant's directory
    #[arg(long, value_name = "T")]
    pub tenant: Option<TenantId>,
    /// Read everything anew instead of what changed
    #[arg(long)]
    pub full: bool,
}

/// `log`.
#[derive(Clone, Debug, Args)]
pub struct LogArgs {
    /// One run, in full.
    #[command(subcommand)]
    pub command: Option<LogCommand>,
    /// Only runs of this source: subscriptions, directory, groups, reports
    #[arg(long, value_name = "S")]
    pub source: Option<Source>,
    /// Only runs of this tenant
    #[arg(long, value_name = "T")]
    pub tenant: Option<TenantId>,
    /// Only runs that began since then: 90m, 2d, 2026-11-01 or 2026-11-01T08:00:00Z
    #[arg(long, value_name = "D", value_parser = since)]
    pub since: Option<Since>,
    /// Only runs that were not complete
    #[arg(long)]
    pub failed: bool,
    /// Go on printing runs as they end
    #[arg(long)]
    pub follow: bool,
}

/// `log show` and `log webhooks`.
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum LogCommand {
    /// One run, in full
    Show {
        /// Its id, such as r17
        run: RunId,
    },
    /// Webhooks of the marketplace: those that came, and those that did not
    Webhooks(LedgerArgs),
}

/// `changes`.
#[derive(Clone, Debug, Args)]
pub struct ChangesArgs {
    /// Only changes in this tenant
    #[arg(long, value_name = "T")]
    pub tenant: Option<TenantId>,
    /// Only changes of this user (object id)
    #[arg(long, value_name = "U")]
    pub user: Option<UserId>,
    /// Only changes of this subscription
    #[arg(long, value_name = "ID")]
    pub subscription: Option<SubscriptionId>,
    /// Only changes of this license of the publisher
    #[arg(long, value_name = "ID")]
    pub license: Option<String>,
    /// Only changes since then: 90m, 2d, 2026-11-01 or 2026-11-01T08:00:00Z
    #[arg(long, value_name = "D", value_parser = since)]
    pub since: Option<Since>,
}

/// `query`.
#[derive(Clone, Debug, Args)]
pub struct QueryArgs {
    /// The product's id, such as synoptic-panel
    pub product: ProductId,
    /// The user's tenant; that of personal accounts is allowed here
    #[arg(long, value_name = "T")]
    pub tenant: Uuid,
    /// The user's object id in that tenant
    #[arg(long, value_name = "U")]
    pub user: UserId,
    /// Where the product runs: a host or a number of `hostEnv` flags
    #[arg(long, value_name = "H", default_value = "web", value_parser = host, help = HOST)]
    pub host: Host,
    /// A license id that the visual would show
    #[arg(long, value_name = "ID")]
    pub license: Option<String>,
    /// Answer for this moment in the past, such as 2026-11-01T08:00:00Z; a day is its beginning (UTC)
    #[arg(long, value_name = "TIME", value_parser = past)]
    pub at: Option<Timestamp>,
    /// Show the notice in the language of this locale, such as de-AT; English by default
    #[arg(long, value_name = "L")]
    pub locale: Option<String>,
    /// Show the whole trail: each evidence and how it was judged
    #[arg(long)]
    pub explain: bool,
}

/// `seats`.
#[derive(Clone, Debug, Args)]
pub struct SeatsArgs {
    /// Only seats in this tenant
    #[arg(long, value_name = "T")]
    pub tenant: Option<TenantId>,
    /// Only seats of this product
    #[arg(long, value_name = "P")]
    pub product: Option<ProductId>,
    /// Only seats that came through this group
    #[arg(long, value_name = "G")]
    pub group: Option<GroupId>,
    /// Only seats of which every path is in error
    #[arg(long)]
    pub errors: bool,
    /// Instead: bought, assigned, in error, really used, when seats run out, and who is without
    #[arg(long, conflicts_with_all = ["errors", "group"])]
    pub figures: bool,
}

/// `tenants`.
#[derive(Clone, Debug, Args)]
pub struct TenantsArgs {
    /// The link to consent, and what was learned.
    #[command(subcommand)]
    pub command: Option<TenantsCommand>,
}

/// `tenants show`, `consent-url`, `release` and `learn`.
#[derive(Clone, Debug, Subcommand)]
pub enum TenantsCommand {
    /// One tenant: what it permits, what is missing, and what works without it
    Show {
        /// The tenant
        #[arg(value_name = "T")]
        tenant: TenantId,
    },
    /// Print the link by which an administrator of the tenant lets us read its licences
    ConsentUrl {
        /// The tenant
        #[arg(value_name = "T")]
        tenant: TenantId,
    },
    /// Remove now the seats that the brake holds, without waiting for a second complete read
    Release {
        /// The tenant
        #[arg(value_name = "T")]
        tenant: TenantId,
    },
    /// What plans may be called in the tenant, with the evidence; confirmed it counts, rejected it
    /// is never proposed again
    Learn(LearnArgs),
}

/// `products`.
#[derive(Clone, Debug, Args)]
pub struct ProductsArgs {
    /// What else is asked of them.
    #[command(subcommand)]
    pub command: Option<ProductsCommand>,
}

/// `products hosts` and `license-csv`.
#[derive(Clone, Debug, Subcommand)]
pub enum ProductsCommand {
    /// Where each way of being licensed counts; asks no daemon
    Hosts {
        /// As the table of the README
        #[arg(long, conflicts_with = "typescript")]
        markdown: bool,
        /// As the module of the client for visuals
        #[arg(long)]
        typescript: bool,
    },
    /// Write the two files by which a solution package demands licences; asks no daemon
    LicenseCsv {
        /// The product's id
        #[arg(value_name = "P")]
        product: ProductId,
        /// The folder to write them into
        #[arg(long, value_name = "DIR", default_value = ".")]
        out: PathBuf,
    },
}

/// `keys`.
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum KeysCommand {
    /// All keys that are published, the current one first
    List,
    /// Make a new key and sign with it from now on; the old one stays published
    Rotate,
}

const HOST: &str = "Where the product runs: web, desktop, mobile, dashboard, embed, report_server, \
                    publish_to_web, export, or a number of hostEnv flags";

/// A moment, or a time before now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// This long ago.
    Ago(SignedDuration),
    /// Then.
    At(Timestamp),
}

impl Since {
    /// The moment.
    pub fn moment(self, now: Timestamp) -> Timestamp {
        match self {
            Self::Ago(it) => now.checked_sub(it).unwrap_or(Timestamp::UNIX_EPOCH),
            Self::At(it) => it,
        }
    }
}

pub(super) fn since(text: &str) -> Result<Since, String> {
    if let Ok(it) = crate::config::duration(text) {
        return Ok(Since::Ago(it));
    }
    moment(text).map(Since::At).ok_or_else(|| {
        "write how long ago (90m, 2d), a day (2026-11-01) or a moment (2026-11-01T08:00:00Z)".into()
    })
}

fn past(text: &str) -> Result<Timestamp, String> {
    moment(text)
        .ok_or_else(|| "write a day (2026-11-01) or a moment (2026-11-01T08:00:00Z)".to_owned())
}

/// A moment, or the beginning of a day.
fn moment(text: &str) -> Option<Timestamp> {
    let midnight = |it: jiff::civil::Date| it.to_zoned(jiff::tz::TimeZone::UTC);
    let day = |text: &str| text.parse().ok().and_then(|it| midnight(it).ok());
    text.parse().ok().or_else(|| day(text).map(|it| it.timestamp()))
}

fn host(text: &str) -> Result<Host, String> {
    match text.parse() {
        Ok(flags) => Host::from_env_flags(flags).ok_or_else(|| "these flags name no host".into()),
        Err(_) => text.parse::<Host>().map_err(|error| error.to_string()),
    }
}

fn synced(text: &str) -> Result<Source, String> {
    match text.parse() {
        Ok(it @ (Source::Subscriptions | Source::Directory | Source::Reports)) => Ok(it),
        Ok(Source::Groups) | Err(_) => {
            Err("known are: subscriptions, directory, reports".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_tree_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn since_is_a_span_a_day_or_a_moment() {
        let at = |text: &str| Since::At(text.parse().unwrap());
        assert_eq!(since("90m"), Ok(Since::Ago(SignedDuration::from_mins(90))));
        assert_eq!(since("2026-11-01"), Ok(at("2026-11-01T00:00:00Z")));
        assert_eq!(since("2026-11-01T08:00:00+01:00"), Ok(at("2026-11-01T07:00:00Z")));
        assert!(since("yesterday").is_err());
        assert_eq!(past("2026-11-01"), Ok("2026-11-01T00:00:00Z".parse().unwrap()));
        assert_eq!(past("2026-11-01T08:00:00Z"), Ok("2026-11-01T08:00:00Z".parse().unwrap()));
        assert!(past("90m").is_err());
        let now: Timestamp = "2026-11-01T08:00:00Z".parse().unwrap();
        assert_eq!(
            Since::Ago(SignedDuration::from_hours(8)).moment(now),
            now - SignedDuration::from_hours(8)
        );
    }

    #[test]
    fn a_host_is_a_word_or_flags() {
        assert_eq!(host("report_server"), Ok(Host::ReportServer));
        assert_eq!(host("4"), Ok(Host::Desktop));
        assert!(host("0").is_err() && host("moon").is_err());
    }

    #[test]
    fn log_takes_filters_or_a_run() {
        let parse = |line: &str| Cli::try_parse_from(line.split(' '));
        assert!(parse("entitled log --failed --since 2d").is_ok());
        assert!(parse("entitled log show r17 --json").is_ok());
        assert!(parse("entitled log --failed show r17").is_err());
        assert!(parse("entitled sync reports").is_ok());
        assert!(parse("entitled sync groups").is_err());
        assert!(parse("entitled query p --tenant 9188040d-6c67-4c5b-b112-36a304b66dad --user 0b0b0b0b-1111-4222-8333-444455556666").is_ok());
    }
}
