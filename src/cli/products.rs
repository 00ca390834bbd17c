//! `products`: what is sold, where each way of being licensed counts, and what a solution package
//! says. Needs no daemon.

mod list;

use std::path::Path;

use serde_json::{Value, json};

use super::Exit;
use super::args::{ProductsArgs, ProductsCommand};
use super::license_csv;
use super::output::{Column, Printer};
use crate::decision::host::{Row, TABLE, markdown, typescript};

/// Runs `products`.
///
/// # Errors
///
/// Standard output cannot be written; as [`license_csv::run`] and [`list::run`].
pub(super) fn run(args: &ProductsArgs, config: &Path, json: bool) -> Result<Exit, anyhow::Error> {
    let (md, ts) = match &args.command {
        None => return list::run(config, json),
        Some(ProductsCommand::Hosts { markdown, typescript }) => (*markdown, *typescript),
        Some(ProductsCommand::LicenseCsv { product, out }) => {
            return license_csv::run(product.as_str(), out, config, json);
        }
    };
    let printer = Printer::stdout(json);
    if md || ts {
        let text = if md { markdown() } else { typescript() };
        for line in text.lines() {
            printer.line(line)?;
        }
        return Ok(Exit::Done);
    }
    let rows: Vec<Value> = TABLE.iter().map(|it| if json { row(it) } else { shown(it) }).collect();
    let columns = [
        Column::text("way", "/way"),
        Column::text("hosts", "/hosts"),
        Column::text("cloud", "/cloud"),
        Column::text("counts", "/supported"),
        Column::text("needs", "/identity"),
        Column::text("answer", "/answer"),
        Column::text("source", "/source"),
        Column::text("doubt", "/doubt"),
    ];
    printer.rows(&rows, &columns, "")?;
    Ok(Exit::Done)
}

/// A row for programs.
fn row(it: &Row) -> Value {
    let hosts: Vec<&str> = it.hosts.iter().map(|host| host.as_str()).collect();
    let said = |text: &'static str| Some(text).filter(|it| !it.is_empty());
    json!({
        "way": it.way.as_str(), "channel": it.way.channel().as_str(), "hosts": hosts,
        "cloud": it.cloud(), "supported": it.supported, "identity": said(it.identity),
        "answer": it.answer, "source": it.source, "doubt": said(it.doubt),
    })
}

/// A row for people.
fn shown(it: &Row) -> Value {
    json!({
        "way": it.way.as_str(), "hosts": it.hosts(), "cloud": it.cloud(),
        "supported": if it.supported { "yes" } else { "no" }, "identity": it.identity,
        "answer": it.answer, "source": it.source, "doubt": it.doubt,
    })
}
