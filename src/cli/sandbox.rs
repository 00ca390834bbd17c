//! `entitled sandbox`: the Microsoft stand-in alone.

use anyhow::Context as _;

use super::args::SandboxArgs;
use super::output::Printer;
use super::{Exit, clock};
use crate::sandbox::{Options, Sandbox, story};

/// Serves the stand-in until Ctrl-C.
///
/// # Errors
///
/// The address is taken, or standard output cannot be written.
pub(super) async fn run(args: &SandboxArgs, json: bool) -> anyhow::Result<Exit> {
    let options = Options {
        listen: args.listen,
        seed: args.seed,
        tenants: args.tenants,
        users: args.users,
        faults: args.faults.clone(),
    };
    let listen =
        format!("cannot listen on {}: choose another address with --listen", options.listen);
    let (sandbox, serving) = Sandbox::bind(options, clock()).await.context(listen)?;
    let out = Printer::stdout(json);
    let base = sandbox.base();
    if json {
        out.rows(&[serde_json::json!({ "base": base })], &[], "")?;
    } else {
        out.line(&format!("Microsoft stand-in at {base}"))?;
        out.line("For the daemon's configuration:")?;
        out.line(&format!(
            "  [publisher]  id = \"{}\", tenant = \"{}\"",
            story::PUBLISHER,
            story::PUBLISHER_TENANT
        ))?;
        out.line(&format!(
            "  [identity]   client_id = \"{}\", the secret is `{}`",
            story::CLIENT_ID,
            story::CLIENT_SECRET
        ))?;
        out.line(&format!("  [microsoft]  login = \"{base}/login\", issuer_v1 = \"{base}/sts\","))?;
        out.line(&format!(
            "               marketplace = \"{base}/marketplace\", graph = \"{base}/graph\""
        ))?;
        out.line(&format!(
            "Its state: curl {base}/control; to change it, POST there (see src/sandbox/control.rs)"
        ))?;
        out.line("Running until Ctrl-C.")?;
    }
    tokio::select! {
        () = serving => {}
        stopped = tokio::signal::ctrl_c() => stopped.context("wait for Ctrl-C")?,
    }
    Ok(Exit::Done)
}
