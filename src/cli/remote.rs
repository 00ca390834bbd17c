//! The commands that ask the running daemon, and how they reach it.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::Value;

use super::args::{Cli, Command};
use super::output::{Column, Printer};
use super::{Advised, Exit, environment};
use super::{
    backup, changes, doctor, groups, keys, licenses, log, notify, query, reports, seats, status,
    subscriptions, sync, tenants, usage, webhooks,
};
use crate::config::Config;
use crate::http::IDEMPOTENCY_KEY;

/// Rows printed at once.
const BATCH: usize = 512;

/// The daemon at the other end of the admin socket.
#[derive(Clone, Debug)]
pub struct Remote {
    http: Client,
    socket: PathBuf,
}

/// What a command sends beside its path.
pub type Pairs = Vec<(&'static str, String)>;

/// Runs a command that asks the daemon.
///
/// # Errors
///
/// The daemon cannot be reached, it refused, or standard output cannot be written.
pub fn run(cli: &Cli) -> Result<Exit, anyhow::Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("cannot start the runtime")?;
    let loaded = Config::load(&cli.config, environment())?;
    let remote = Remote::new(&loaded.config.listen.admin, &cli.config)?;
    let printer = Printer::stdout(cli.json);
    runtime.block_on(async {
        match &cli.command {
            Command::Status => status::run(&remote, printer).await,
            Command::Doctor => doctor::run(&remote, printer, &loaded).await,
            Command::Sync(args) => sync::run(&remote, printer, args).await,
            Command::Log(args) => log::run(&remote, printer, args).await,
            Command::Changes(args) => changes::run(&remote, printer, args).await,
            Command::Webhooks(command) => webhooks::run(&remote, printer, command).await,
            Command::Query(args) => query::run(&remote, printer, args).await,
            Command::Subscriptions(args) => subscriptions::run(&remote, printer, args).await,
            Command::Seats(args) => seats::run(&remote, printer, args).await,
            Command::Groups(args) => groups::run(&remote, printer, args).await,
            Command::Tenants(args) => tenants::run(&remote, printer, args).await,
            Command::Usage(args) => usage::run(&remote, printer, args).await,
            Command::Licenses(command) => licenses::run(&remote, printer, command).await,
            Command::Activations(command) => {
                licenses::activations(&remote, printer, *command).await
            }
            Command::Notify(args) => notify::run(&remote, printer, args).await,
            Command::Reports(args) => reports::run(&remote, printer, args).await,
            Command::Backup(args) => backup::backup(&remote, printer, args).await,
            Command::Keys(args) => keys::run(&remote, printer, *args).await,
            Command::Serve(_)
            | Command::Demo(_)
            | Command::Sandbox(_)
            | Command::Config(_)
            | Command::Restore(_)
            | Command::Products(_) => {
                anyhow::bail!("this command asks no daemon")
            }
        }
    })
}

impl Remote {
    /// The daemon behind this socket.
    ///
    /// # Errors
    ///
    /// Nobody answers there, or the file's permissions keep us out.
    pub fn new(socket: &Path, config: &Path) -> Result<Self, anyhow::Error> {
        if let Err(error) = UnixStream::connect(socket) {
            return Err(unreachable(socket, config, error).into());
        }
        // No TLS is spoken on a socket, so no certificates need to be looked for.
        let http = Client::builder().unix_socket(socket).no_proxy().tls_certs_only([]);
        let http = http.build().context("cannot make an HTTP client")?;
        Ok(Self { http, socket: socket.to_owned() })
    }

    /// Asks for one object.
    ///
    /// # Errors
    ///
    /// The daemon refused, stopped, or said something else.
    pub async fn one(
        &self,
        method: Method,
        path: &str,
        pairs: &Pairs,
    ) -> Result<Value, anyhow::Error> {
        let response = self.send(method, path, pairs).await?;
        response.json().await.map_err(|error| self.cut(error).into())
    }

    /// Gives an order, and hears what became of it. With a key it is carried out once, however often
    /// it is given.
    ///
    /// # Errors
    ///
    /// As [`Self::one`].
    pub async fn order(
        &self,
        path: &str,
        pairs: &Pairs,
        once: Option<&str>,
    ) -> Result<Value, anyhow::Error> {
        let request = self.request(Method::POST, path, pairs);
        let request = once.into_iter().fold(request, |it, key| it.header(IDEMPOTENCY_KEY, key));
        let response = self.answered(request).await?;
        response.json().await.map_err(|error| self.cut(error).into())
    }

    /// Sends a file, and hears what became of it.
    ///
    /// # Errors
    ///
    /// As [`Self::one`].
    pub async fn upload(
        &self,
        path: &str,
        pairs: &Pairs,
        file: Vec<u8>,
    ) -> Result<Value, anyhow::Error> {
        let request = self.request(Method::POST, path, pairs).body(file);
        let response = self.answered(request).await?;
        response.json().await.map_err(|error| self.cut(error).into())
    }

    /// Asks for a file, and hands its bytes on as they come.
    ///
    /// # Errors
    ///
    /// The daemon refused or stopped before the last byte, or `take` failed.
    pub async fn download(
        &self,
        method: Method,
        path: &str,
        mut take: impl FnMut(&[u8]) -> Result<(), anyhow::Error>,
    ) -> Result<(), anyhow::Error> {
        let mut response = self.send(method, path, &Pairs::new()).await?;
        while let Some(chunk) = response.chunk().await.map_err(|error| self.cut(error))? {
            take(&chunk)?;
        }
        Ok(())
    }

    /// Asks for rows, and hands them on in batches as they come.
    ///
    /// # Errors
    ///
    /// The daemon refused or stopped before the last row, or `take` failed.
    pub async fn rows(
        &self,
        method: Method,
        path: &str,
        pairs: &Pairs,
        mut take: impl FnMut(Vec<Value>) -> Result<(), anyhow::Error>,
    ) -> Result<(), anyhow::Error> {
        let mut response = self.send(method, path, pairs).await?;
        let mut lines = Lines::default();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.cut(error))? {
            let rows = lines.take(&chunk).context("the daemon sent a line that is no JSON")?;
            if !rows.is_empty() {
                take(rows)?;
            }
        }
        anyhow::ensure!(lines.rest.is_empty(), "the daemon stopped in the middle of a line");
        Ok(())
    }

    /// Asks for rows and prints them: JSON lines as they come, or one table.
    ///
    /// # Errors
    ///
    /// As [`Self::rows`], or standard output cannot be written.
    pub async fn print(
        &self,
        printer: Printer,
        (path, pairs): (&str, &Pairs),
        columns: &[Column],
        empty: &str,
    ) -> Result<(), anyhow::Error> {
        let mut waiting: Vec<Value> = Vec::new();
        let json = printer.is_json();
        let take = |rows: Vec<Value>| {
            waiting.extend(rows);
            if json && waiting.len() >= BATCH {
                printer.rows(&std::mem::take(&mut waiting), columns, empty)?;
            }
            Ok(())
        };
        self.rows(Method::GET, path, pairs, take).await?;
        if !(json && waiting.is_empty()) {
            printer.rows(&waiting, columns, empty)?;
        }
        Ok(())
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        pairs: &Pairs,
    ) -> Result<Response, anyhow::Error> {
        self.answered(self.request(method, path, pairs)).await
    }

    fn request(&self, method: Method, path: &str, pairs: &Pairs) -> RequestBuilder {
        self.http.request(method, format!("http://entitled{path}")).query(pairs)
    }

    async fn answered(&self, request: RequestBuilder) -> Result<Response, anyhow::Error> {
        let response = request.send().await.map_err(|error| self.cut(error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let body: Value = response.json().await.unwrap_or_default();
        let detail = body.get("detail").and_then(Value::as_str);
        let what = detail.map_or_else(|| format!("the daemon answered {status}"), str::to_owned);
        Err(refused(what, body.get("type").and_then(Value::as_str)).into())
    }

    fn cut(&self, error: reqwest::Error) -> Advised {
        Advised {
            what: format!("the daemon at {} stopped before it had answered", self.socket.display()),
            next: "look whether it still runs (systemctl status entitled), then try again"
                .to_owned(),
            exit: Exit::Failed,
            because: Some(Box::new(error)),
        }
    }
}

/// The daemon said no.
fn refused(what: String, kind: Option<&str>) -> Advised {
    let (next, exit) = match kind {
        Some("invalid-field" | "malformed-body") => {
            ("correct the argument (see --help of the command)", Exit::Usage)
        }
        Some("unknown-product") => {
            ("use an id of a [[product]] (entitled config show)", Exit::Usage)
        }
        Some("not-found") => ("list what there is: the same command without an id", Exit::Failed),
        Some("conflict") => ("look at what it is now, then decide anew", Exit::Failed),
        Some("internal") => ("look at the daemon's log (journalctl -u entitled)", Exit::Failed),
        Some("unavailable") => {
            ("wait a moment and run it again; `entitled doctor` says what is away", Exit::Failed)
        }
        Some(_) | None => ("correct that, then run the command again", Exit::Failed),
    };
    Advised { what, next: next.to_owned(), exit, because: None }
}

/// Nobody can be spoken to at the socket.
fn unreachable(socket: &Path, config: &Path, error: io::Error) -> Advised {
    let (what, next) = if error.kind() == io::ErrorKind::PermissionDenied {
        let what = format!("no permission to use the admin socket {}", socket.display());
        (what, "run the command as the user the daemon runs as, or as root".to_owned())
    } else {
        let what = format!("the daemon is not running: nobody answers at {}", socket.display());
        let next = format!(
            "start it (systemctl start entitled, or entitled serve --config {}); if it runs, \
             listen.admin of the two differs",
            config.display()
        );
        (what, next)
    };
    Advised { what, next, exit: Exit::Failed, because: Some(Box::new(error)) }
}

/// Cuts what arrives into lines.
#[derive(Default)]
struct Lines {
    rest: Vec<u8>,
}

impl Lines {
    fn take(&mut self, chunk: &[u8]) -> Result<Vec<Value>, serde_json::Error> {
        self.rest.extend_from_slice(chunk);
        let Some(last) = self.rest.iter().rposition(|it| *it == b'\n') else {
            return Ok(Vec::new());
        };
        let after = self.rest.split_off(last.saturating_add(1));
        let whole = std::mem::replace(&mut self.rest, after);
        let lines = whole.split(|it| *it == b'\n').filter(|it| !it.is_empty());
        lines.map(serde_json::from_slice).collect()
    }
}

/// The pairs that are set.
pub(super) fn pairs<const N: usize>(all: [(&'static str, Option<String>); N]) -> Pairs {
    all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

/// `true` where a switch is on, nothing where it is off.
pub(super) fn switch(on: bool) -> Option<String> {
    on.then(|| "true".to_owned())
}

/// A field as text; empty where there is none.
pub(super) fn field<'a>(row: &'a Value, pointer: &str) -> &'a str {
    row.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// A field as a number; zero where there is none.
pub(super) fn number(row: &Value, pointer: &str) -> u64 {
    row.pointer(pointer).and_then(Value::as_u64).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn lines_come_whole_however_they_arrive() {
        let mut lines = Lines::default();
        assert_eq!(lines.take(b"{\"a\":").unwrap(), [] as [Value; 0]);
        assert_eq!(lines.take(b"1}\n{\"a\":2}\n{").unwrap(), [json!({"a": 1}), json!({"a": 2})]);
        assert_eq!(lines.take(b"}\n").unwrap(), [json!({})]);
        assert!(lines.rest.is_empty());
        assert!(lines.take(b"<html>\n").is_err());
    }

    #[test]
    fn who_is_refused_is_told_what_helps() {
        let check = |kind: Option<&str>, next: &str| {
            let it = refused("no".to_owned(), kind);
            assert!(it.next.contains(next), "{kind:?}: {}", it.next);
        };
        check(Some("unavailable"), "wait a moment");
        check(Some("conflict"), "decide anew");
        check(Some("invalid-field"), "correct the argument");
        check(None, "correct that");
    }

    #[test]
    fn who_is_not_there_and_who_may_not_hear_us_are_told_apart() {
        let check = |kind: io::ErrorKind, what: &str| {
            let it = unreachable(Path::new("/run/a.sock"), Path::new("/etc/e.toml"), kind.into());
            assert!(it.what.contains(what) && it.what.contains("/run/a.sock"), "{}", it.what);
            assert_eq!(it.exit, Exit::Failed);
        };
        check(io::ErrorKind::NotFound, "not running");
        check(io::ErrorKind::ConnectionRefused, "not running");
        check(io::ErrorKind::PermissionDenied, "no permission");
    }
}
