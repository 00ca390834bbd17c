//! The licence report: from Partner Center's analytics API, or brought in by hand as the License
//! dashboard's CSV.
//!
//! The report gives and takes no right; it is compared with what Graph shows and with deals.

mod compare;
mod deals;
mod plan;
mod run;

use std::sync::Arc;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Mutex, MutexGuard};
use tracing::{info, warn};

use super::progress::Gauge;
use super::{Begun, End, RequestError, Sources, SyncHandle, apart, ended};
use crate::domain::{ReportOrigin, Run, SourceKey, Trigger};
use crate::microsoft::{LicenceTable, NoLicenceTable, licence_table};
use crate::store::StoreError;

pub use self::compare::{Compared, GraphSays, ProductSums, ReportSays, Sums, compare, day};
pub use self::deals::{DealWish, Put};
pub use self::plan::{ReportTally, Told};
pub(super) use self::run::run;
pub use crate::microsoft::REPORT_BYTES_MAX;

/// How often the report is read from Partner Center, and whose report is being compared: two that
/// are planned from the same mirror would undo each other.
#[derive(Clone, Debug)]
pub struct Desk {
    every: Result<SignedDuration, RequestError>,
    turn: Arc<Mutex<()>>,
}

impl Default for Desk {
    /// One that reads nothing by itself.
    fn default() -> Self {
        Self::new(Err(RequestError::NoReports))
    }
}

impl Desk {
    /// A desk that reads the report so often, or why it does not.
    pub fn new(every: Result<SignedDuration, RequestError>) -> Self {
        Self { every, turn: Arc::default() }
    }

    /// How often it is read.
    ///
    /// # Errors
    ///
    /// Why it is not.
    pub fn every(&self) -> Result<SignedDuration, RequestError> {
        self.every.clone()
    }

    async fn take(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().await
    }
}

/// A report that was brought in.
#[derive(Clone, Debug)]
pub struct Imported {
    /// The run, as it stands in the log.
    pub run: Run,
    /// What it counted beyond that.
    pub tally: ReportTally,
    /// The rows that nobody understood: the line of the file, and why.
    pub odd: Vec<(u64, String)>,
    /// Columns that mean nothing to us.
    pub ignored: Vec<String>,
}

/// Why a report was not brought in.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// It is none; nothing was written.
    #[error(transparent)]
    NoReport(#[from] NoLicenceTable),
    /// The store could not take it.
    #[error("the store refused the report")]
    Store(#[from] StoreError),
}

impl SyncHandle {
    /// Brings in a License dashboard's CSV that says what was true at `as_of`, as a run of its own.
    /// What lacks in it is only removed when it is the whole report.
    ///
    /// # Errors
    ///
    /// [`ImportError`]: nothing was written.
    pub async fn import_report(
        &self,
        bytes: Bytes,
        as_of: Timestamp,
        whole: bool,
    ) -> Result<Imported, ImportError> {
        let sources = &self.sources;
        let started = (sources.clock)();
        let as_of = as_of.min(started);
        let rows = u64::try_from(bytes.len() / 64).unwrap_or(u64::MAX);
        let table = apart(rows, move || licence_table(&bytes)).await?;
        let odd = table.odd.iter().map(|it| (it.line, it.why.clone())).collect();
        let ignored = table.ignored.clone();
        let begun = Begun {
            id: sources.store.next_run(),
            key: SourceKey::REPORTS,
            trigger: Trigger::Manual,
            full: whole,
            started,
        };
        let told = Told { origin: ReportOrigin::Import, as_of, whole };
        let gauge = Gauge::new(begun.key, Vec::new());
        let (run, tally) = apply(sources, &begun, &gauge, table, told).await?;
        Ok(Imported { run, tally, odd, ignored })
    }
}

/// Brings the mirror to what a report says, in one commit with the run.
async fn apply(
    sources: &Sources,
    begun: &Begun,
    gauge: &Gauge,
    table: LicenceTable,
    told: Told,
) -> Result<(Run, ReportTally), StoreError> {
    let turn = sources.reports.take().await;
    let mirror = sources.store.snapshot();
    let (now, cause, rows) = ((sources.clock)(), begun.cause(), table.seen);
    let (mut commit, tally) =
        apart(rows, move || plan::report(&mirror, table, told, &cause, now)).await;
    let (run, mut state) = ended(sources, begun, gauge, tally.run, End::applied(tally.run.odd));
    state.last_complete = state.last_complete.max(Some(told.as_of));
    if told.whole {
        state.last_full = state.last_full.max(Some(told.as_of));
    }
    commit.sources.push((begun.key, state));
    commit.runs.push(run.clone());
    sources.store.commit(commit).await?;
    drop(turn);
    if tally.run.odd > 0 {
        let odd = tally.run.odd;
        warn!(run.odd = odd, "{odd} row(s) of the licence report could not be understood");
    }
    info!(
        run.id = %run.id,
        run.seen = run.seen,
        run.added = run.added,
        run.changed = run.changed,
        run.removed = run.removed,
        "Took in a licence report"
    );
    Ok((run, tally))
}
