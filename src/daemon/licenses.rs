//! Looks at the clock for licenses: what time does to them is told to the publisher's systems, each
//! step once, also across restarts: how far it was told is kept with the license, in one commit with
//! the event.

use std::error::Error;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::decision::time_step;
use crate::domain::{Commit, License, LicenseBook, LicenseId, Mirror, Notice, has_passed};
use crate::store::{Store, StoreError};
use crate::sync::Clock;

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// So many licenses are told of in one commit.
const AT_ONCE: usize = 100;

/// Looks until cancelled. What fails is tried again at the next look; `grace` is `policy.grace`.
pub(super) async fn run(
    store: Store,
    grace: SignedDuration,
    clock: Clock,
    cancel: CancellationToken,
) {
    let mut revisions = store.revisions();
    let every = SignedDuration::try_from(LOOK_EVERY).unwrap_or_default();
    let mut looked: Option<Timestamp> = None;
    let mut failed = false;
    loop {
        let now = clock();
        // Most commits are about other things.
        if looked.is_none_or(|at| has_passed(every, at, now)) {
            looked = Some(now);
            let told = tell(&store, grace, now).await;
            if let Err(error) = &told
                && !failed
            {
                let error = error as &dyn Error;
                error!(error, "What time did to licenses could not be written down: tried again");
            }
            failed = told.is_err();
        }
        tokio::select! {
            biased;
            () = cancel.cancelled() => return,
            Ok(()) = revisions.changed() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

/// Tells what time did to licenses and was not told yet.
async fn tell(store: &Store, grace: SignedDuration, now: Timestamp) -> Result<(), StoreError> {
    let mirror = store.snapshot();
    let untold = mirror.licenses().all().filter(|it| step(it, grace, now).is_some());
    let untold: Vec<LicenseId> = untold.map(|it| it.id).collect();
    for ids in untold.chunks(AT_ONCE) {
        let ids = ids.to_vec();
        // Somebody may have renewed one of them in between.
        let decide = move |mirror: &Mirror| (Some(steps(mirror.licenses(), &ids, grace, now)), ());
        store.decide(decide).await?;
    }
    Ok(())
}

/// What is to be told of these licenses, with how far they are told then.
fn steps(book: &LicenseBook, ids: &[LicenseId], grace: SignedDuration, now: Timestamp) -> Commit {
    let steps = ids.iter().filter_map(|id| step(book.license(*id)?, grace, now));
    let (licenses, notices) = steps.unzip();
    Commit { notices, licenses, ..Commit::default() }
}

/// The license as it is told by then, and what is to be told of it; `None` if it was told.
fn step(it: &License, grace: SignedDuration, now: Timestamp) -> Option<(License, Notice)> {
    let (told, ends) = time_step(it, grace, now).filter(|(told, _)| it.told < *told)?;
    let license = License { told, ..it.clone() };
    let notice = Notice::of_license_time(&license, (told, ends), now)?;
    Some((license, notice))
}
