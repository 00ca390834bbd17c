//! `entitled demo`: the sandbox and a daemon against it, sample customers, sample questions, a
//! subscription from its purchase to its end, and a license of the publisher from its sale to its end.

mod acts;
mod landing;
mod license;
mod questions;
mod world;

use anyhow::Context as _;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::output::{Printer, Progress};
use super::{Exit, clock};
use crate::daemon::{Daemon, Surroundings};
use crate::domain::Outcome;
use crate::sandbox::{Options, Sandbox};
use crate::store::Guard;
use crate::sync::RunRequest;
use acts::{Skipping, Stage};
use questions::Answered;
use uuid::Uuid;
use world::World;

/// Runs the demo; stays up until Ctrl-C unless `exit`. It fails where an answer was not the expected
/// one.
///
/// # Errors
///
/// What kept a part of it from starting, or from answering.
pub(super) async fn run(exit: bool, guard: Guard) -> anyhow::Result<Exit> {
    let out = &Printer::stdout(false);
    let world = World::new()?;
    let time = Skipping::new(clock());
    let (sandbox, served) = Sandbox::bind(Options::default(), time.clock()).await?;
    let stop = CancellationToken::new();
    let mut tasks = tokio::task::JoinSet::new();
    let stopped = stop.clone();
    tasks.spawn(async move {
        tokio::select! { () = served => {}, () = stopped.cancelled() => {} }
    });
    out.line(&format!("Microsoft stand-in     {}", sandbox.base()))?;

    let config = landing::reachable(world.config(&sandbox.base())?)?;
    let surroundings = Surroundings {
        clock: time.clock(),
        sleep: std::sync::Arc::new(|wait| Box::pin(tokio::time::sleep(wait))),
        guard,
        read_apart: true,
    };
    let (daemon, running) =
        Box::pin(Daemon::start(config, surroundings)).await.context("start the daemon")?;
    let ended = stop.clone();
    let running = tasks.spawn(async move {
        if let Err(error) = running.until(ended.cancelled_owned()).await {
            tracing::error!(error = &error as &dyn std::error::Error, "The demo's daemon ended");
        }
    });
    out.line(&format!("Entitlement answers    http://{}", daemon.public))?;
    out.line(&format!("Status page            http://{}", daemon.ops))?;
    out.line(&format!("Configuration          {}", world.config_path().display()))?;
    out.line("")?;

    sync(&daemon, out).await?;
    let client = &reqwest::Client::builder().no_proxy().build().context("make an HTTP client")?;
    let answers = questions::ask_all(client, &daemon, &sandbox).await?;
    print(&answers, out)?;
    let stage = Stage { client, daemon: &daemon, sandbox: &sandbox, time: &time, out };
    let (subscription, wrong) = stage.play().await?;
    let wrong = wrong + license::play(&stage, world.caller_key()).await?;
    print_next(&world, &daemon, subscription, out)?;
    let wrong = wrong + answers.iter().filter(|it| it.instead_of.is_some()).count();
    if wrong > 0 {
        out.line(&format!("{wrong} answer(s) are not the expected ones: look for INSTEAD OF"))?;
    }
    let link = landing::link(&sandbox, &daemon)?;
    out.line("A purchase to activate in a browser; sign in as jo@woodgrove.example:")?;
    out.line(&format!("  {link}"))?;
    out.line("")?;
    if !exit {
        out.line("Running until Ctrl-C.")?;
        tokio::signal::ctrl_c().await.context("wait for Ctrl-C")?;
    }
    stop.cancel();
    drop(running);
    while tasks.join_next().await.is_some() {}
    Ok(if wrong == 0 { Exit::Done } else { Exit::Failed })
}

/// One synchronization, shown as it goes.
async fn sync(daemon: &Daemon, out: &Printer) -> anyhow::Result<()> {
    let (progress, mut steps) = mpsc::channel(64);
    let request = RunRequest::default();
    let runs = daemon.sync.run_now(request, progress);
    let bar = Progress::default().line("Reading the sample customers");
    let shown = async {
        let mut ended = 0_u64;
        while let Some(step) = steps.recv().await {
            ended = ended.saturating_add(u64::from(step.ended.is_some()));
            bar.at(ended, &format!("sources; {} {} records", step.key.source, step.seen));
        }
    };
    let (runs, ()) = tokio::join!(runs, shown);
    let runs = runs?;
    bar.done();
    let of = |outcome| runs.iter().filter(|it| it.outcome == outcome).count();
    out.line(&format!(
        "Synchronized {} sources: {} complete, {} partial, {} refused (a customer who did not consent)",
        runs.len(),
        of(Outcome::Complete),
        of(Outcome::Partial),
        of(Outcome::Failed)
    ))?;
    out.line("")?;
    Ok(())
}

fn print(answers: &[Answered], out: &Printer) -> anyhow::Result<()> {
    for (number, answered) in (1_u32..).zip(answers) {
        let mark = if answered.usable { "✔" } else { "✘" };
        out.line(&format!("{number:>3}  {}", answered.question))?;
        let by = answered.source.as_deref().map(|it| format!(" by {it}")).unwrap_or_default();
        let features = match answered.features.as_slice() {
            [] => String::new(),
            features => format!(" with {}", features.join(", ")),
        };
        let instead = answered.instead_of.map(|it| format!(" INSTEAD OF {it}")).unwrap_or_default();
        out.line(&format!("     {mark} {}{by}{features}{instead}", answered.state))?;
        out.line(&format!("       {} ({})", answered.sentence, answered.reason))?;
    }
    let states: std::collections::BTreeSet<_> =
        answers.iter().map(|it| it.state.as_str()).collect();
    out.line("")?;
    let states: Vec<_> = states.into_iter().collect();
    out.line(&format!("{} questions; states seen: {}", answers.len(), states.join(", ")))?;
    out.line("")?;
    Ok(())
}

fn print_next(
    world: &World,
    daemon: &Daemon,
    subscription: Uuid,
    out: &Printer,
) -> anyhow::Result<()> {
    use crate::sandbox::story;
    let path = world.config_path();
    let config = path.display();
    let asked = format!("--tenant {} --user {}", story::BEN.tenant, story::BEN.user);
    let program = std::env::current_exe().context("find this program")?;
    let ours = format!("{} --config {config}", program.display());
    out.line("What to try next, in another terminal:")?;
    out.line(&format!("  {ours} status"))?;
    out.line(&format!("  {ours} query synoptic-panel {asked} --explain"))?;
    out.line(&format!("  {ours} seats --errors"))?;
    out.line(&format!("  {ours} log"))?;
    out.line(&format!("  {ours} changes --subscription {subscription}"))?;
    out.line(&format!("  {ours} subscriptions show {subscription}"))?;
    out.line(&format!("  {ours} licenses list"))?;
    out.line(&format!("  {ours} licenses switch-plan {}", story::BEN.tenant))?;
    out.line(&format!("  open http://{} in a browser", daemon.ops))?;
    out.line(&format!(
        "  curl -s http://{}/v1/entitlements -H 'Authorization: Bearer {}' -d '{{\"product\":\"synoptic-panel\",\"host\":\"web\",\"tenant\":\"{}\",\"user\":\"{}\"}}'",
        daemon.public, world.caller_key(), story::BEN.tenant, story::BEN.user
    ))?;
    out.line("")?;
    Ok(())
}
