//! Brings the mirror to what Microsoft says.
//!
//! One reconciler per source: **read → plan (pure: mirror × reading → commit) → commit →
//! publish**. A run is made the same way whatever woke it: the clock, a nudge or an operator; a
//! nudge carries nothing but "look". Everything a run found, the cursor that stands for it and its
//! journal are one [`Commit`], so that nothing is ever half applied and a
//! cursor is never ahead of its data. A run that could not read everything removes nothing.
//!
//! | file | subject |
//! |---|---|
//! | [`subscriptions`] | the list of SaaS subscriptions |
//! | [`directory`] | one tenant's SKUs and licences |
//! | `groups` | the groups through which licences come |
//! | [`reading`] | folds pages of users into what they hold |
//! | [`plan`] | mirror × reading → commit, the brake included. Pure |
//! | [`task`] | when which run begins |
//! | [`lookups`] | a refusal has its user looked up at once |
//! | [`notifications`] | Microsoft tells that a user changed |
//! | [`freshness`] | how old changes are when answers follow them |
//! | [`rights`] | usage rights: the second witness, and what plans are called |
//! | `agenda` | which source is due when |
//! | `lanes` | room for many short runs and a few long ones |
//! | `upstream` | what a round asks of Graph, as a seam |
//! | `one` | one run, whatever becomes of it |
//! | `metrics` | what the scheduler counts |
//! | `progress` | how far a run is, for whoever watches |
//! | [`inbox`] | webhooks, worked off |
//! | [`usage`] | metered usage, told to Microsoft |
//! | [`orders`] | what we ask Microsoft to do with one subscription |
//! | [`keys`] | Entra's signing keys |
//! | [`life`] | closer looks, deadlines, retention |
//! | [`reports`] | the licence report of Partner Center |
//! | [`seats`] | seats in figures: bought, assigned, really used |
//! | [`admission`] | whether a tenant lets us in, while its administrator waits |
//! | [`doctor`] | live checks of what stands upstream |
//! | [`sign_in`] | people sign in to the landing page |

pub mod admission;
mod agenda;
pub mod directory;
pub mod doctor;
pub mod freshness;
mod groups;
pub mod inbox;
pub mod keys;
mod lanes;
pub mod life;
pub mod lookups;
mod metrics;
pub mod notifications;
mod one;
pub mod orders;
pub mod plan;
mod progress;
pub mod reading;
pub mod reports;
pub mod rights;
pub mod seats;
pub mod sign_in;
#[cfg(test)]
mod sim;
pub mod subscriptions;
pub mod task;
mod upstream;
pub mod usage;

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::domain::{
    Catalog, Cause, Channel, Commit, Grant, Outcome, Permission, Run, RunId, Share, SourceKey,
    SourceState, TenantId, TenantView, Trigger,
};
use crate::microsoft::{ErrorKind, Meter, Microsoft, MicrosoftError};
use crate::store::{Store, StoreError};

use progress::Gauge;

pub use progress::Progress;
pub use task::{RequestError, RunRequest, Schedule, SyncHandle, TaskStatus, scheduler};

/// The time, asked for and not looked up: tests set it.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Everything a run works with.
#[derive(Clone)]
pub struct Sources {
    /// Where facts go.
    pub store: Store,
    /// Where they come from.
    pub microsoft: Arc<Microsoft>,
    /// Which of them are ours.
    pub catalog: Arc<Catalog>,
    /// The time.
    pub clock: Clock,
    /// Which reading of a subscription is the newer one.
    pub ledger: inbox::Ledger,
    /// How often the licence report is read, and whose is being compared.
    pub reports: reports::Desk,
    /// When a full enumeration is due, and what the brake lets pass.
    pub limits: Limits,
    /// Look-ups after a refusal, and what keeps them and runs in order.
    pub lookups: lookups::Lookups,
    /// How old changes were when they were committed.
    pub freshness: freshness::Ages,
    /// Whose licensed groups a notification told of.
    pub groups_told: notifications::GroupsTold,
}

/// What decides how a run reads and what it may remove.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// After how long a tenant is enumerated in full again (`[sync.directory] sweep`).
    pub sweep: SignedDuration,
    /// The share of a tenant's seats that one full read may remove, and of its users with usage
    /// rights that may lose them while nobody is seen with any
    /// (`[sync.directory] remove_limit`).
    pub remove_limit: Share,
    /// How often a tenant's licensed groups are read (`[sync.groups] every`).
    pub groups: SignedDuration,
    /// How often known usage rights are read again (`[sync.directory] rights`); `None`: never.
    pub rights: Option<SignedDuration>,
}

/// A run that began: what all its commits and log lines share.
#[derive(Clone, Debug)]
pub(crate) struct Begun {
    pub(crate) id: RunId,
    pub(crate) key: SourceKey,
    pub(crate) trigger: Trigger,
    pub(crate) full: bool,
    pub(crate) started: Timestamp,
}

impl Begun {
    pub(crate) fn cause(&self) -> Cause {
        Cause::Run(self.id)
    }
}

/// What a run counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Records read.
    pub seen: u64,
    /// Facts that are new.
    pub added: u64,
    /// Facts that differ.
    pub changed: u64,
    /// Facts that are gone.
    pub removed: u64,
    /// Records that could not be understood.
    pub odd: u64,
}

/// Why a run ended without applying what it read.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// Microsoft could not be read.
    #[error("{0}")]
    Microsoft(#[from] MicrosoftError),
    /// The store could not take it.
    #[error("the store refused what was read")]
    Store(#[from] StoreError),
    /// A task of the scheduler ended in a way that it cannot.
    #[error("a run ended without saying how")]
    Panicked(#[source] tokio::task::JoinError),
}

/// A part of this span that is a tenant's own, always the same: for what many tenants must not do
/// all at once.
pub(crate) fn spread(tenant: TenantId, over: SignedDuration) -> SignedDuration {
    // Tenant ids are random, but not all of them were made by Microsoft.
    let (high, low) = tenant.as_uuid().as_u64_pair();
    let mixed = (high ^ low.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33;
    let seconds = u64::try_from(over.as_secs()).unwrap_or(0);
    let part = (u128::from(mixed) * u128::from(seconds)) >> 31;
    SignedDuration::from_secs(i64::try_from(part).unwrap_or(0))
}

/// Whether any plan of the catalog is licensed per user in customers' tenants: without one no
/// tenant needs to be read.
pub fn needs_directory(catalog: &Catalog) -> bool {
    let per_user = [Channel::Appsource, Channel::IsvApp];
    catalog.products().any(|product| per_user.iter().any(|channel| product.sells_on(*channel)))
}

/// Whether a tenant's directory is read, or was: where no plan needs it, that it never was is no
/// trouble to show.
pub fn reads_directory(catalog: &Catalog, tenant: &TenantView) -> bool {
    needs_directory(catalog) || tenant.directory.last_run.is_some()
}

/// The log line of a run and the state of its source, whatever became of it.
pub(crate) fn ended(
    sources: &Sources,
    begun: &Begun,
    gauge: &Gauge,
    tally: Tally,
    end: End,
) -> (Run, SourceState) {
    let before = sources.store.snapshot().source(begun.key).cloned().unwrap_or_default();
    closed(before, (sources.clock)(), begun, gauge, tally, end)
}

/// As [`ended`], for one who knows the state of the source and the time.
pub(crate) fn closed(
    before: SourceState,
    ended: Timestamp,
    begun: &Begun,
    gauge: &Gauge,
    tally: Tally,
    end: End,
) -> (Run, SourceState) {
    let run = logged(ended, begun, &gauge.meter, tally, &end);
    let failures = match end.outcome {
        Outcome::Failed => before.failures.saturating_add(1),
        Outcome::Complete | Outcome::Partial => 0,
    };
    let state = SourceState {
        last_run: Some(begun.started),
        last_outcome: Some(end.outcome),
        last_error: end.error,
        failures,
        ..before
    };
    (run, state)
}

/// The log line of a run.
pub(crate) fn logged(
    ended: Timestamp,
    begun: &Begun,
    meter: &Meter,
    tally: Tally,
    end: &End,
) -> Run {
    Run {
        id: begun.id,
        key: begun.key,
        trigger: begun.trigger,
        full: begun.full,
        started: begun.started,
        ended,
        outcome: end.outcome,
        seen: tally.seen,
        added: tally.added,
        changed: tally.changed,
        removed: tally.removed,
        odd: tally.odd,
        requests: meter.requests(),
        throttled: SignedDuration::try_from(meter.throttled()).unwrap_or(SignedDuration::MAX),
        error: end.error.clone(),
    }
}

/// How a run ended, and what an operator should know about it.
pub(crate) struct End {
    pub(crate) outcome: Outcome,
    pub(crate) error: Option<Arc<str>>,
}

impl End {
    /// Applied; records that could not be understood make it partial.
    pub(crate) fn applied(odd: u64) -> Self {
        match odd {
            0 => Self { outcome: Outcome::Complete, error: None },
            _ => Self {
                outcome: Outcome::Partial,
                error: Some(
                    format!(
                        "{odd} record(s) could not be understood: kept as they came and skipped; \
                         `entitled status` counts them, the log says what is wrong with each"
                    )
                    .into(),
                ),
            },
        }
    }

    /// What changed is applied; the list of all users was not read to its end.
    pub(crate) fn cut_off(error: &MicrosoftError) -> Self {
        let error = format!(
            "what changed since the last run is applied, but the list of all users broke off and is \
             gone on with by the next run: {}",
            crate::telemetry::chain(error)
        );
        Self { outcome: Outcome::Partial, error: Some(error.into()) }
    }

    pub(crate) fn failed(error: &MicrosoftError) -> Self {
        Self { outcome: Outcome::Failed, error: Some(crate::telemetry::chain(error).into()) }
    }
}

/// A commit that only says that a run failed.
pub(crate) fn failure(run: Run, key: SourceKey, state: SourceState) -> Commit {
    Commit { sources: vec![(key, state)], runs: vec![run], ..Commit::default() }
}

/// Work on what so many records gave: much of it is done on a thread of its own, so that no answer
/// to a question waits for it.
async fn apart<T: Send + 'static>(records: u64, work: impl FnOnce() -> T + Send + 'static) -> T {
    const MUCH: u64 = 5_000;
    if records < MUCH {
        return work();
    }
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Work that has begun is not cancelled, and a runtime that ends polls nobody.
            Err(_cancelled) => std::future::pending().await,
        },
    }
}

/// Whether a tenant lets us read its users, as far as this work was told, or else runs before it.
fn reads_users(sources: &Sources, tenant: TenantId, meter: &Meter) -> bool {
    let told = meter.access().grant(Permission::UserRead);
    let known = || {
        let view = directory::view_of(&sources.store.mirror(), tenant);
        view.access.grant(Permission::UserRead)
    };
    let grant = if told == Grant::Unknown { known() } else { told };
    grant == Grant::Granted
}

/// How long a source rests after a run.
///
/// Unit: the result is at least a second. Failures that pass by themselves are tried again soon, in
/// doubling steps up to `every`; Microsoft's own wish comes first; what a person must mend is
/// looked at again after a full period, and after an hour at least where a customer must consent.
pub fn rest_after(
    every: SignedDuration,
    failures: u32,
    failure: Option<(ErrorKind, Option<std::time::Duration>)>,
) -> std::time::Duration {
    use std::time::Duration;
    const SOONEST: Duration = Duration::from_secs(15);
    const CONSENT: Duration = Duration::from_hours(1);
    let every = Duration::try_from(every).unwrap_or(SOONEST).max(Duration::from_secs(1));
    match failure {
        None => every,
        Some((ErrorKind::Consent | ErrorKind::National, _)) => every.max(CONSENT),
        Some((ErrorKind::Credential | ErrorKind::Refused, _)) => every,
        Some((
            ErrorKind::Transient
            | ErrorKind::Throttled
            | ErrorKind::Resync
            | ErrorKind::RestartSequence
            | ErrorKind::NotFound
            | ErrorKind::Unreadable
            | ErrorKind::Rejected
            | ErrorKind::Locked,
            asked,
        )) => {
            let doubled = SOONEST.saturating_mul(1_u32 << failures.saturating_sub(1).min(10));
            doubled.min(every).max(asked.unwrap_or_default())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn what_is_spread_over_a_day_fills_every_hour_of_it() {
        let day = SignedDuration::from_hours(24);
        for base in [0, 0x0000_a100_dada_4000_8000_0000_0000_0000_u128, u128::MAX - 5_000] {
            let mut hours = [0_u32; 24];
            for n in 1..=4_800_u128 {
                let tenant = TenantId::from_uuid(uuid::Uuid::from_u128(base + n)).unwrap();
                let part = spread(tenant, day);
                assert_eq!(part, spread(tenant, day), "always the same");
                hours[usize::try_from(part.as_hours()).unwrap()] += 1;
            }
            assert!(hours.iter().all(|it| (100..300).contains(it)), "{hours:?}");
        }
    }

    #[test]
    fn what_passes_by_itself_is_tried_again_soon_and_what_a_person_must_mend_later() {
        let every = SignedDuration::from_mins(10);
        let check = |failures, failure, seconds| {
            let rest = rest_after(every, failures, failure);
            assert_eq!(rest, Duration::from_secs(seconds), "{failures} {failure:?}");
        };
        check(0, None, 600);
        check(1, Some((ErrorKind::Transient, None)), 15);
        check(3, Some((ErrorKind::Transient, None)), 60);
        check(30, Some((ErrorKind::Transient, None)), 600);
        check(1, Some((ErrorKind::Throttled, Some(Duration::from_mins(15)))), 900);
        check(1, Some((ErrorKind::Credential, None)), 600);
        check(1, Some((ErrorKind::Consent, None)), 3600);
    }
}
