//! `keys list` and `keys rotate`.

use reqwest::Method;

use super::Exit;
use super::args::KeysCommand;
use super::output::{Column, Printer};
use super::remote::{Pairs, Remote, field};

/// Runs `keys`.
///
/// # Errors
///
/// As [`Remote::print`].
pub async fn run(
    remote: &Remote,
    printer: Printer,
    command: KeysCommand,
) -> Result<Exit, anyhow::Error> {
    let columns = [
        Column::text("key", "/kid"),
        Column::time("created", "/created"),
        Column::time("retired", "/retired"),
        Column::text("state", "/state"),
    ];
    match command {
        KeysCommand::List => {
            remote.print(printer, ("/keys", &Pairs::new()), &columns, "there is no key").await?;
        }
        KeysCommand::Rotate => {
            let made = remote.one(Method::POST, "/keys/rotate", &Pairs::new()).await?;
            if printer.is_json() {
                printer.rows(&[made], &columns, "")?;
            } else {
                let kid = field(&made, "/kid");
                printer.line(&format!(
                    "{kid} signs from now on; the keys before stay published until their answers \
                     have run out"
                ))?;
            }
        }
    }
    Ok(Exit::Done)
}
