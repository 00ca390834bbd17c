//! A first sync of a tenant of 100,000 users over HTTP, then a delta of 5,000 changes, beside
//! what the stand-in needs to send the same pages to a client that does nothing with them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use entitled::config::Config;
use entitled::daemon::{Daemon, Surroundings};
use entitled::domain::{Licence, SkuId, UserId, Via};
use entitled::sandbox::{Faults, Options, Sandbox, story};
use entitled::store::Guard;
use entitled::sync::RunRequest;
use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::support::{row, seconds, title};

const USERS: usize = 100_000;
const CHANGES: usize = 5_000;

pub async fn run() {
    title("Sync over HTTP against the sandbox, store on disk with fsync (guard off: own process)");
    let options =
        Options { tenants: 1, users: USERS, faults: Faults::default(), ..Options::default() };
    let (sandbox, serving) = Sandbox::bind(options, Arc::new(Timestamp::now)).await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(serving);
    let known: Vec<_> = story::CUSTOMERS.iter().map(|it| it.tenant).collect();
    let big = sandbox
        .with_world(|it| it.tenants())
        .into_iter()
        .find(|it| {
            !known.contains(it) && sandbox.with_world(|world| world.users(*it).len()) == USERS
        })
        .unwrap();

    let dir = tempfile::tempdir().unwrap();
    let config = config(&dir, &sandbox.base(), big);
    let surroundings = Surroundings {
        clock: Arc::new(Timestamp::now),
        sleep: Arc::new(|wait: Duration| Box::pin(tokio::time::sleep(wait))),
        guard: Guard::Off,
        read_apart: true,
    };
    let (daemon, running) = Box::pin(Daemon::start(config, surroundings)).await.unwrap();
    let stop = CancellationToken::new();
    let stopped = stop.clone().cancelled_owned();
    tasks.spawn(async move { running.until(stopped).await.unwrap() });

    let begun = Instant::now();
    let first = sync(&daemon, big).await;
    let first_took = begun.elapsed();
    let held =
        daemon.store.snapshot().tenant(big.to_string().parse().unwrap()).unwrap().users.len();
    row(
        "first sync",
        &format!(
            "{} for {} users read, {held} with our SKUs, {} requests",
            seconds(first_took),
            first.seen,
            first.requests
        ),
    );

    edit(&sandbox, &daemon, big);
    let begun = Instant::now();
    let delta = sync(&daemon, big).await;
    let took = begun.elapsed();
    row(
        "delta round",
        &format!(
            "{} for {} rows, {} facts changed, {} requests ({:.1} % of the first sync)",
            seconds(took),
            delta.seen,
            delta.added + delta.changed + delta.removed,
            delta.requests,
            100.0 * took.as_secs_f64() / first_took.as_secs_f64()
        ),
    );
    let begun = Instant::now();
    let idle = sync(&daemon, big).await;
    row(
        "delta round without changes",
        &format!("{} with {} requests", seconds(begun.elapsed()), idle.requests),
    );
    stop.cancel();
    tasks.abort_all();
}

/// Makes so many changes at the source, each to another user.
fn edit(sandbox: &Sandbox, daemon: &Daemon, big: uuid::Uuid) {
    // Whoever holds it directly loses it, the others get it: each is one change.
    let mirror = daemon.store.snapshot();
    let held = &mirror.tenant(big.to_string().parse().unwrap()).unwrap().users;
    let sku = SkuId::from_uuid(story::SYNOPTIC_SKU);
    let is_direct = |it: &Licence| it.sku == sku && it.paths.iter().any(|it| it.via == Via::Direct);
    for user in sandbox.with_world(|it| it.users(big)).into_iter().take(CHANGES) {
        let has = held.get(UserId::from_uuid(user));
        let has = has.is_some_and(|it| it.licences.iter().any(is_direct));
        sandbox.with_world(|it| {
            if has {
                it.unassign(big, user, story::SYNOPTIC_SKU).unwrap();
            } else {
                it.assign(big, user, story::SYNOPTIC_SKU, &[]).unwrap();
            }
        });
    }
}

async fn sync(daemon: &Daemon, tenant: uuid::Uuid) -> entitled::domain::Run {
    let (progress, mut steps) = mpsc::channel(64);
    let request =
        RunRequest { tenant: Some(tenant.to_string().parse().unwrap()), ..RunRequest::default() };
    let (runs, ()) = tokio::join!(daemon.sync.run_now(request, progress), async {
        while steps.recv().await.is_some() {}
    });
    let run = runs.unwrap().remove(0);
    assert!(run.error.is_none(), "{run:?}");
    run
}

fn config(dir: &tempfile::TempDir, sandbox: &str, tenant: uuid::Uuid) -> Config {
    let folder = dir.path().display();
    let text = format!(
        r#"
[publisher]
id = "vizmaker"
tenant = "{home}"
[identity]
client_id = "{client}"
credential = "secret"
[microsoft]
login = "{sandbox}/login"
issuer_v1 = "{sandbox}/sts"
marketplace = "{sandbox}/marketplace"
graph = "{sandbox}/graph"
[store]
path = "{folder}/store"
[listen]
public = "127.0.0.1:0"
ops = "127.0.0.1:0"
admin = "{folder}/admin.sock"
[marketplace]
app_id = "{client}"
[visuals]
audience = ["{audience}"]
callers = ["{power_bi}"]
[[product]]
id = "synoptic-panel"
name = "Synoptic Panel"
hybrid = "none"
[[product.plan]]
service_id = "{service_id}"
channel = "appsource"
[[tenant]]
id = "{tenant}"
"#,
        home = story::PUBLISHER_TENANT,
        client = story::CLIENT_ID,
        audience = story::VISUAL_AUDIENCE,
        power_bi = story::POWER_BI_WEB,
        service_id = story::SYNOPTIC_SERVICE_ID,
    );
    let secret = ("ENTITLED_IDENTITY__SECRET".to_owned(), story::CLIENT_SECRET.to_owned());
    Config::parse(&text, [secret].into_iter()).unwrap().config
}
