//! `log` and `changes`: what was done, and what it changed.

use std::collections::BTreeSet;

use axum::extract::{Query, State};
use axum::response::Response;
use bytes::Bytes;
use serde::Deserialize;
use tokio::sync::mpsc;

use super::lines::{self, Left};
use super::{Admin, Shared, parsed, rows, unreadable};
use crate::domain::{LicenseId, Outcome, Run, RunId};
use crate::http::problem::Problem;
use crate::store::{ChangeFilter, RunFilter};

/// Among so many of the newest runs `--follow` looks for those that have ended.
const WINDOW: usize = 1024;

/// Which runs are asked for.
#[derive(Deserialize)]
pub(super) struct LogQuery {
    source: Option<String>,
    tenant: Option<String>,
    since: Option<String>,
    run: Option<String>,
    #[serde(default)]
    failed: bool,
    #[serde(default)]
    follow: bool,
}

/// Which changes are asked for.
#[derive(Deserialize)]
pub(super) struct ChangesQuery {
    tenant: Option<String>,
    user: Option<String>,
    subscription: Option<String>,
    license: Option<String>,
    since: Option<String>,
}

/// Runs, oldest first.
struct Wanted {
    filter: RunFilter,
    /// Only those that were not complete.
    failed: bool,
}

impl Wanted {
    fn read(query: &LogQuery) -> Result<Self, Problem> {
        let filter = RunFilter {
            source: parsed("source", query.source.as_deref())?,
            tenant: parsed("tenant", query.tenant.as_deref())?,
            since: parsed("since", query.since.as_deref())?,
            id: parsed("run", query.run.as_deref())?,
            limit: usize::MAX,
            ..RunFilter::default()
        };
        Ok(Self { filter, failed: query.failed })
    }

    fn runs(&self, admin: &Admin) -> Result<Vec<Run>, Problem> {
        let mut runs = admin.store.runs(&self.filter).map_err(unreadable)?;
        runs.retain(|it| !self.failed || it.outcome != Outcome::Complete);
        Ok(runs)
    }
}

/// The sync log; with `follow` it goes on with each run that ends.
pub(super) async fn runs(
    State(admin): Shared,
    Query(query): Query<LogQuery>,
) -> Result<Response, Problem> {
    let wanted = Wanted::read(&query)?;
    if query.follow {
        let (send, receive) = mpsc::channel(lines::WAITING);
        return Ok(lines::driven(async move { drop(follow(&admin, wanted, send).await) }, receive));
    }
    let runs = wanted.runs(&admin)?;
    if let Some(id) = wanted.filter.id.filter(|_| runs.is_empty()) {
        return Err(Problem::not_found(format!("there is no run {id} in the sync log")));
    }
    Ok(lines::all(runs.iter().map(rows::run)))
}

/// Sends what there is, then what comes, until the daemon stops or nobody reads.
async fn follow(admin: &Admin, mut wanted: Wanted, send: mpsc::Sender<Bytes>) -> Result<(), Left> {
    // Registered before the first look, so that no run falls between.
    let mut revisions = admin.store.revisions();
    let mut shown: BTreeSet<RunId> = BTreeSet::new();
    loop {
        revisions.mark_unchanged();
        // A log that cannot be read just now can be once the store is well again.
        for run in wanted.runs(admin).unwrap_or_default() {
            if shown.insert(run.id) {
                send.send(lines::line(&rows::run(&run))).await.map_err(|_closed| Left)?;
            }
        }
        // A long run has an old number when it ends at last: so a window, not the newest alone.
        wanted.filter.limit = WINDOW;
        while shown.len() > 4 * WINDOW {
            shown.pop_first();
        }
        tokio::select! {
            biased;
            () = admin.cancel.cancelled() => return Ok(()),
            changed = revisions.changed() => changed.map_err(|_closed| Left)?,
        }
    }
}

/// The change journal, oldest first.
pub(super) async fn changes(
    State(admin): Shared,
    Query(query): Query<ChangesQuery>,
) -> Result<Response, Problem> {
    let filter = ChangeFilter {
        tenant: parsed("tenant", query.tenant.as_deref())?,
        user: parsed("user", query.user.as_deref())?,
        subscription: parsed("subscription", query.subscription.as_deref())?,
        license: parsed::<LicenseId>("license", query.license.as_deref())?
            .map(|it| it.to_string().into()),
        since: parsed("since", query.since.as_deref())?,
        limit: usize::MAX,
        ..ChangeFilter::default()
    };
    let changes = admin.store.changes(&filter).map_err(unreadable)?;
    Ok(lines::rows(move |sink| changes.iter().try_for_each(|it| sink.row(&rows::change(it)))))
}
