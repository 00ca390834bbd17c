//! `entitled sandbox`: the Microsoft stand-in alone.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use uuid::Uuid;

use super::output::Printer;
use super::{Advised, Exit, clock};
use crate::sandbox::{Faults, Options, Sandbox, TokenVersion, Webhook, story};

/// `sandbox`.
#[derive(Clone, Debug, Args)]
pub struct SandboxArgs {
    /// Where to listen; port 0 takes a free one and prints it
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8400")]
    pub listen: SocketAddr,
    /// The same seed makes the same customers and the same faults
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// How many customers' tenants to make up, besides the sample customers
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub tenants: usize,
    /// How many users each of them has
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub users: usize,
    /// How many users one more tenant has, a large one; 0 for none
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub large: usize,
    /// Faults and how often, such as graph.429=0.05,webhook.loss=0.1,lag=30s (--help lists all)
    #[arg(long, value_name = "SPEC", default_value = "", long_help = faults_help())]
    pub faults: Faults,
    /// The folder in which Entra's signing keys are kept, so that tokens outlive a restart
    #[arg(long, value_name = "DIR")]
    pub keys: Option<PathBuf>,
    /// Where webhooks go; nowhere if not given
    ///
    /// The daemon's public listener, for example <http://127.0.0.1:8080/marketplace/webhook>. They
    /// are tried again as Microsoft does: about 500 times in 8 hours, unless the answer is a 2xx
    /// or a 4xx. GET /control/webhooks shows every try.
    #[arg(long, value_name = "URL")]
    pub webhook: Option<String>,
    /// The audience of their tokens: `[marketplace] app_id`, or api:// and that
    #[arg(long, value_name = "ID", requires = "webhook", default_value_t = story::MARKETPLACE_APP_ID.to_string())]
    pub app_id: String,
    /// The version of their tokens; the app's manifest decides it and may change at any time
    #[arg(long, value_name = "VERSION", requires = "webhook", default_value = "v2")]
    pub webhook_token: WebhookToken,
}

/// The version of a webhook's token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum WebhookToken {
    /// Caller in `appid`, issuer of the form of sts.windows.net
    V1,
    /// Caller in `azp`, issuer ending in /v2.0
    V2,
}

/// All that may go wrong, made of the sandbox's own table.
fn faults_help() -> String {
    let head = "What goes wrong and how often, NAME=VALUE separated by commas; values are \
                    probabilities from 0 to 1 where nothing else is said:";
    let rows = Faults::listing().map(|(written, meaning)| format!("  {written:<29} {meaning}"));
    std::iter::once(head.to_owned()).chain(rows).collect::<Vec<_>>().join("\n")
}

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
        large: args.large,
        faults: args.faults.clone(),
        keys: args.keys.clone(),
    };
    let listen =
        format!("cannot listen on {}: choose another address with --listen", options.listen);
    let webhook = webhook(args)?;
    let (sandbox, serving) = Sandbox::bind(options, clock()).await.context(listen)?;
    let out = Printer::stdout(json);
    if let Some(webhook) = webhook {
        sandbox.with_world(|world| world.set_webhook(Some(webhook)));
    }
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
            "               marketplace = \"{base}/marketplace\", graph = \"{base}/graph\",\n               partner_center = \"{base}/partner_center\""
        ))?;
        out.line(&format!(
            "Its state: curl {base}/control; to change it, POST there (see src/sandbox/control.rs)"
        ))?;
        told_of_orders(&out, &base, args.webhook.as_deref())?;
        out.line("Running until Ctrl-C.")?;
    }
    tokio::select! {
        () = serving => {}
        stopped = tokio::signal::ctrl_c() => stopped.context("wait for Ctrl-C")?,
    }
    Ok(Exit::Done)
}

/// Where webhooks are to go.
fn webhook(args: &SandboxArgs) -> Result<Option<Webhook>, Advised> {
    let Some(to) = &args.webhook else { return Ok(None) };
    let fits = |url: &url::Url| matches!(url.scheme(), "http" | "https") && url.has_host();
    let url = url::Url::parse(to).ok().filter(fits).ok_or_else(|| Advised {
        what: format!("`{to}` is no address that webhooks could go to"),
        next: "give one such as http://127.0.0.1:8080/marketplace/webhook".to_owned(),
        exit: Exit::Usage,
        because: None,
    })?;
    let version = match args.webhook_token {
        WebhookToken::V1 => TokenVersion::V1,
        WebhookToken::V2 => TokenVersion::V2,
    };
    Ok(Some(Webhook { version, audience: args.app_id.clone(), ..Webhook::to(url.as_str()) }))
}

/// What a customer may do, to be copied.
fn told_of_orders(out: &Printer, base: &str, webhook: Option<&str>) -> anyhow::Result<()> {
    let Some(to) = webhook else {
        out.line("Webhooks go nowhere: say where with --webhook URL")?;
        return Ok(());
    };
    out.line(&format!("Webhooks go to {to}; each try: curl {base}/control/webhooks"))?;
    out.line("Somebody buys, changes, stops paying, pays and cancels (ID is what `buy` answers):")?;
    let (tenant, user): (Uuid, Uuid) = (story::JO.tenant, story::JO.user);
    let buy = format!(
        "{{\"buy\": {{\"tenant\": \"{tenant}\", \"user\": \"{user}\", \"plan\": \"team\", \
         \"quantity\": 3, \"auto_activate\": true}}}}"
    );
    let change = "{\"change_quantity\": {\"subscription\": \"ID\", \"quantity\": 5}}";
    let forge = "{\"forge_webhook\": {\"subscription\": \"ID\", \"forgery\": \"signature\"}}";
    let of = |deed: &str| format!("{{\"{deed}\": \"ID\"}}");
    let (suspend, reinstate, end) = (of("suspend"), of("reinstate"), of("unsubscribe"));
    for order in [&buy, change, &suspend, &reinstate, &end, forge] {
        out.line(&format!("  curl {base}/control -d '{{\"marketplace\": {order}}}'"))?;
    }
    Ok(())
}
