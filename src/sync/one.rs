//! One run, whatever becomes of it: it ends as a line of the sync log, or as one that could not be
//! written there.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tracing::{error, warn};

use super::progress::Gauge;
use super::{
    Begun, End, Sources, SyncError, Tally, directory, ended, failure, groups, reads_users, reports,
    rights, subscriptions,
};
use crate::domain::{Outcome, Run, SourceKey};
use crate::microsoft::{ErrorKind, MicrosoftError};
use crate::store::StoreError;

/// One run, from its first request to its commit. A panic inside it is that run's failure: it must
/// not take the other tenants with it.
pub(super) async fn one(sources: Sources, begun: Begun, gauge: Gauge) -> (SourceKey, Performed) {
    let key = begun.key;
    let work: BoxFuture<'_, Performed> = perform(&sources, begun.clone(), &gauge).boxed();
    let work = AssertUnwindSafe(work).catch_unwind().await;
    let result = match work {
        Ok(Err(SyncError::Store(error))) => Ok(unwritten(&sources, &begun, &gauge, &error)),
        Ok(result) => result,
        Err(_panic) => panicked(&sources, &begun, &gauge).await,
    };
    if let Ok((run, _)) = &result {
        gauge.ended(run).await;
    }
    (key, result)
}

/// The run as it stands in the log, and what kept it from being complete.
pub(super) type Performed = Result<(Run, Failure), SyncError>;
type Failure = Option<(ErrorKind, Option<Duration>)>;

async fn perform(sources: &Sources, mut begun: Begun, gauge: &Gauge) -> Performed {
    let (run, error) = match begun.key.tenant {
        Some(tenant) => {
            let read = Box::pin(directory::run(sources, tenant, &mut begun, gauge)).await?;
            if read.1.is_none() {
                groups::follow(sources, &begun).await?;
            }
            let failure = read.1.as_ref().map(MicrosoftError::kind);
            if rights::are_spared(failure, || reads_users(sources, tenant, &gauge.meter)) {
                rights::follow(sources, &begun).await?;
            }
            read
        }
        None if begun.key == SourceKey::REPORTS => reports::run(sources, &begun, gauge).await?,
        None => subscriptions::run(sources, &begun, gauge).await?,
    };
    if let Some(error) = &error {
        let wait = error.asked_wait();
        let error = error as &dyn std::error::Error;
        let wait_s = wait.map(|it| it.as_secs());
        if run.outcome == Outcome::Failed {
            warn!(error, wait_s, "The run failed; what is known keeps counting");
        } else {
            warn!(error, wait_s, "What changed is applied; the list of all users broke off");
        }
    }
    Ok((run, error.map(|error| (error.kind(), error.asked_wait()))))
}

/// Writes down a run that broke an assumption of ours.
async fn panicked(sources: &Sources, begun: &Begun, gauge: &Gauge) -> Performed {
    error!("A run panicked: please report it; the other runs go on");
    let error = "an assumption of this program broke while it read; nothing was applied; please \
                 report it with the log of this run";
    let end = End { outcome: Outcome::Failed, error: Some(error.into()) };
    let (run, state) = ended(sources, begun, gauge, Tally::default(), end);
    sources.store.commit(failure(run.clone(), begun.key, state)).await?;
    Ok((run, Some((ErrorKind::Unreadable, None))))
}

/// A run that the store did not take. It stands in no log; answers go on from what is known. The
/// next run reads the same again, a full period later: somebody has to mend the disk first.
fn unwritten(
    sources: &Sources,
    begun: &Begun,
    gauge: &Gauge,
    refused: &StoreError,
) -> (Run, Failure) {
    let error: &dyn std::error::Error = refused;
    error!(error, "The run could not be written down; what is known keeps counting");
    let error = format!("nothing was applied: {refused}");
    let end = End { outcome: Outcome::Failed, error: Some(error.into()) };
    let (run, _) = ended(sources, begun, gauge, Tally::default(), end);
    (run, Some((ErrorKind::Credential, None)))
}
