//! The licence report from Partner Center's analytics API.
//!
//! A schedule makes a report each period; its latest file is taken. Where there is none yet, one is
//! made at once, and waited for. Everything is found by its name, so a run that was cut off is gone on
//! with by the next one.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tracing::warn;

use super::{Begun, Gauge, Sources, Told, apply};
use crate::domain::{ReportOrigin, Run};
use crate::microsoft::{
    ErrorKind, Execution, LicenceQuery, Meter, MicrosoftError, PartnerCenter, Recurrence,
    licence_table,
};
use crate::sync::{End, SyncError, Tally, apart, ended, failure};

/// The report that is made again and again.
const SCHEDULED: &str = "entitled_licences";
/// The report that is made at once.
const AT_ONCE: &str = "entitled_licences_now";

/// Between two looks at a report that is being made, and how often it is looked at: it takes about
/// eight minutes.
const LOOK_EVERY: Duration = Duration::from_secs(30);
const LOOKS: u32 = 40;

/// How old a report may be to be taken: its figures are two days old anyway.
const RECENT: SignedDuration = SignedDuration::from_hours(24);

/// A file and what is known of it.
struct Taken {
    bytes: Vec<u8>,
    as_of: Timestamp,
    whole: bool,
}

/// Reads the newest report and brings the mirror to it.
///
/// # Errors
///
/// [`SyncError::Store`] only: what Microsoft refuses is written into the run.
pub(crate) async fn run(
    sources: &Sources,
    begun: &Begun,
    gauge: &Gauge,
) -> Result<(Run, Option<MicrosoftError>), SyncError> {
    let read = match read(sources, begun, &gauge.meter).await {
        Ok(Taken { bytes, as_of, whole }) => {
            let rows = u64::try_from(bytes.len() / 64).unwrap_or(u64::MAX);
            let table = apart(rows, move || licence_table(&bytes)).await;
            let told = Told { origin: ReportOrigin::Api, as_of, whole };
            table.map(|it| (it, told)).map_err(|why| {
                let what =
                    format!("the report that Partner Center made is none of licences: {why}");
                MicrosoftError::new(ErrorKind::Unreadable, what)
            })
        }
        Err(error) => Err(error),
    };
    match read {
        Ok((table, told)) => {
            gauge.seen(table.seen);
            let (run, _) = apply(sources, begun, gauge, table, told).await?;
            Ok((run, None))
        }
        Err(error) => {
            let (run, state) = ended(sources, begun, gauge, Tally::default(), End::failed(&error));
            sources.store.commit(failure(run.clone(), begun.key, state)).await?;
            Ok((run, Some(error)))
        }
    }
}

async fn read(sources: &Sources, begun: &Begun, meter: &Meter) -> Result<Taken, MicrosoftError> {
    let api = sources.microsoft.partner_center();
    let every = sources.reports.every().unwrap_or(RECENT);
    let (query, whole) = match api.licence_query(meter).await? {
        None => return Err(none_offered()),
        Some(LicenceQuery::System { id }) => (id, false),
        Some(LicenceQuery::Own { text, whole }) => (kept(api, meter, &text).await?, whole),
    };
    let scheduled = match scheduled(api, meter, &query, every).await {
        Ok(latest) => latest,
        Err(error) => {
            // One made at once does as well.
            let error: &dyn std::error::Error = &error;
            warn!(error, "The licence report could not be scheduled in Partner Center");
            None
        }
    };
    let since = begun.started.checked_sub(every.max(RECENT)).unwrap_or(Timestamp::MIN);
    let recent = |it: &Execution| it.is_completed() && it.generated.is_some_and(|at| at >= since);
    if let Some((id, execution)) = scheduled.filter(|(_, it)| recent(it)) {
        let bytes = file(api, meter, &id, &execution).await?;
        let as_of = execution.generated.unwrap_or(begun.started);
        return Ok(Taken { bytes, as_of, whole });
    }
    let (id, execution) = at_once(api, meter, &query, &recent).await?;
    let bytes = file(api, meter, &id, &execution).await?;
    if let Err(error) = api.delete_report(meter, &id).await {
        let error: &dyn std::error::Error = &error;
        warn!(error, "A report that was taken could not be removed from Partner Center");
    }
    let as_of = execution.generated.unwrap_or(begun.started);
    Ok(Taken { bytes, as_of, whole })
}

fn none_offered() -> MicrosoftError {
    MicrosoftError::new(
        ErrorKind::Refused,
        "Partner Center offers our app no data set of licences with tenant and Service ID; \
         download the License dashboard's CSV instead (Insights, Licenses, Download data) and \
         bring it in: entitled reports import FILE",
    )
}

/// The id of the query with this text, which its name tells.
async fn kept(api: &PartnerCenter, meter: &Meter, text: &str) -> Result<String, MicrosoftError> {
    let name = format!("{SCHEDULED}_{:08x}", fingerprint(text));
    match api.query(meter, &name).await? {
        Some(query) => Ok(query.id),
        None => Ok(api.create_query(meter, &name, text).await?.id),
    }
}

/// FNV-1a.
fn fingerprint(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// The schedule's id and its latest execution; one that runs out, or that runs another query, is made
/// anew.
async fn scheduled(
    api: &PartnerCenter,
    meter: &Meter,
    query: &str,
    every: SignedDuration,
) -> Result<Option<(String, Execution)>, MicrosoftError> {
    let known = api.report(meter, SCHEDULED).await?;
    if let Some(job) = known {
        let latest = api.latest_execution(meter, &job.id).await?;
        if job.goes_on(query, latest.as_ref()) {
            return Ok(latest.map(|it| (job.id, it)));
        }
        api.delete_report(meter, &job.id).await?;
    }
    api.create_report(meter, SCHEDULED, query, Recurrence::Every(every)).await?;
    Ok(None)
}

/// A report that is made at once, waited for; one that a run before asked for is gone on with.
async fn at_once(
    api: &PartnerCenter,
    meter: &Meter,
    query: &str,
    recent: &impl Fn(&Execution) -> bool,
) -> Result<(String, Execution), MicrosoftError> {
    let known = match api.report(meter, AT_ONCE).await? {
        Some(job) if job.query.eq_ignore_ascii_case(query) => {
            match api.latest_execution(meter, &job.id).await? {
                Some(old) if old.is_completed() && !recent(&old) => Err(job),
                Some(done) if done.is_completed() => return Ok((job.id, done)),
                Some(_) | None => Ok(Some(job)),
            }
        }
        Some(job) => Err(job),
        None => Ok(None),
    };
    let job = match known {
        Ok(Some(job)) => job,
        Ok(None) => api.create_report(meter, AT_ONCE, query, Recurrence::Now).await?,
        Err(old) => {
            api.delete_report(meter, &old.id).await?;
            api.create_report(meter, AT_ONCE, query, Recurrence::Now).await?
        }
    };
    for _ in 0..LOOKS {
        let latest = api.latest_execution(meter, &job.id).await?;
        if let Some(done) = latest.filter(Execution::is_completed) {
            return Ok((job.id, done));
        }
        api.wait(LOOK_EVERY).await;
    }
    let what = "Partner Center is still making the report: the next run takes it";
    Err(MicrosoftError::new(ErrorKind::Transient, what))
}

/// The file of an execution; a link that has run out is asked for again, once.
async fn file(
    api: &PartnerCenter,
    meter: &Meter,
    report: &str,
    execution: &Execution,
) -> Result<Vec<u8>, MicrosoftError> {
    match api.download(meter, execution).await {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            match api.latest_execution(meter, report).await? {
                Some(again) => api.download(meter, &again).await,
                None => Err(error),
            }
        }
        result => result,
    }
}
