//! `sync`: run now, and stream how far it is.

use axum::extract::{Query, State};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{Shared, lines, parsed, rows};
use crate::http::problem::Problem;
use crate::sync::{Progress, RunRequest};

/// Steps that wait for a slow reader; more are not worth waiting for.
const STEPS: usize = 64;

/// What to read.
#[derive(Deserialize)]
pub(super) struct SyncQuery {
    source: Option<String>,
    tenant: Option<String>,
    #[serde(default)]
    full: bool,
}

/// Lines `{"progress": …}` while it goes on, then `{"run": …}` for each run, or `{"error": …}`;
/// the last line is `{"done": true}`.
pub(super) async fn now(
    State(admin): Shared,
    Query(query): Query<SyncQuery>,
) -> Result<Response, Problem> {
    let request = RunRequest {
        source: parsed("source", query.source.as_deref())?,
        tenant: parsed("tenant", query.tenant.as_deref())?,
        full: query.full,
    };
    let (send, receive) = mpsc::channel(STEPS);
    let work = async move {
        let (progress, mut steps) = mpsc::channel(STEPS);
        let running = admin.sync.run_now(request, progress);
        let told = async {
            while let Some(step) = steps.recv().await {
                // Whoever asked may have left; the runs go on.
                drop(send.send(lines::line(&json!({"progress": step_row(&step)}))).await);
            }
        };
        let (ended, ()) = tokio::join!(running, told);
        let last: Vec<Value> = match ended {
            Ok(runs) => runs.iter().map(|it| json!({"run": rows::run(it)})).collect(),
            Err(error) => vec![json!({"error": error.to_string()})],
        };
        for row in last.iter().chain([&json!({"done": true})]) {
            drop(send.send(lines::line(row)).await);
        }
    };
    Ok(lines::driven(work, receive))
}

fn step_row(it: &Progress) -> Value {
    json!({
        "source": it.key.source.as_str(),
        "tenant": rows::text(it.key.tenant),
        "seen": it.seen,
        "requests": it.requests,
        "throttled_s": it.throttled.as_secs_f64(),
        "ended": it.ended.as_ref().map(|it| it.outcome.as_str()),
    })
}
