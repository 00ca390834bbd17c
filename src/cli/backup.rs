//! `backup` and `restore`: the whole store of one moment in one file, and a store made of it.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use reqwest::Method;
use serde_json::json;

use super::output::{Printer, Progress};
use super::remote::Remote;
use super::{Exit, clock, environment};
use crate::config::Config;
use crate::store::{restore_into_empty, verify_backup};

/// `backup` and `restore`.
#[derive(Clone, Debug, Args)]
pub struct BackupArgs {
    /// The file
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Writes a consistent copy of everything, the signing keys too, while the daemon goes on.
///
/// # Errors
///
/// The file is there already or cannot be written, or the daemon refused or stopped.
pub async fn backup(
    remote: &Remote,
    printer: Printer,
    args: &BackupArgs,
) -> Result<Exit, anyhow::Error> {
    let path = &args.file;
    // It holds keys and customers, and never takes the place of another file.
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let file = file.with_context(|| format!("cannot make {}", path.display()))?;
    let written = write(remote, file, path).await;
    if written.is_err() {
        drop(fs::remove_file(path));
    }
    let (bytes, at) = written?;
    let row = json!({ "file": path.display().to_string(), "bytes": bytes, "at": at });
    if printer.is_json() {
        printer.rows(&[row], &[], "")?;
    } else {
        let path = path.display();
        printer.line(&format!("{path}: {bytes} bytes, as of {at}, every byte looked at"))?;
        printer.line("it holds the signing keys: keep it as safe as the store itself")?;
    }
    Ok(Exit::Done)
}

async fn write(
    remote: &Remote,
    mut file: fs::File,
    path: &Path,
) -> Result<(u64, String), anyhow::Error> {
    let bar = Progress::default().line("Backing up");
    let mut bytes = 0_u64;
    let take = |chunk: &[u8]| {
        file.write_all(chunk).context("the backup cannot be written")?;
        bytes = bytes.saturating_add(u64::try_from(chunk.len()).unwrap_or(u64::MAX));
        bar.at(bytes, "bytes");
        Ok(())
    };
    remote.download(Method::POST, "/backup", take).await?;
    file.sync_all().context("the backup cannot be written")?;
    let at = verify_backup(path)?;
    bar.done();
    Ok((bytes, at.to_string()))
}

/// Makes the store of the configuration out of a backup. No daemon may run there, and nothing may be
/// there.
///
/// # Errors
///
/// The configuration is wrong, the file cannot be believed, or there is something already.
pub fn restore(config: &Path, json: bool, args: &BackupArgs) -> Result<Exit, anyhow::Error> {
    let store = Config::load(config, environment())?.config.store.path;
    let at = verify_backup(&args.file)?;
    restore_into_empty(&args.file, &store, clock()())?;
    let printer = Printer::stdout(json);
    let (path, at) = (store.display().to_string(), at.to_string());
    if json {
        printer.rows(&[json!({ "store": path, "at": at })], &[], "")?;
    } else {
        printer.line(&format!("{path} is the store as of {at}, read back and compared"))?;
        printer.line("what Microsoft changed since comes with the next synchronization; if you are root, give the folder to the user of the daemon")?;
    }
    Ok(Exit::Done)
}
