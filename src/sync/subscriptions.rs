//! The list of SaaS subscriptions: every page, then one commit.

use std::collections::{BTreeMap, BTreeSet};

use tracing::{info, warn};

use super::inbox::{Ticket, keep_newer, note_missed};
use super::progress::Gauge;
use super::{Begun, End, Sources, SyncError, Tally, ended, failure, plan};
use crate::domain::{OddRecord, RawRecord, Run, SourceKey, Subscription, SubscriptionId};
use crate::microsoft::{ErrorKind, Link, MicrosoftError, Read};

/// A subscription and how Microsoft sent it.
pub type Record = (Subscription, RawRecord);

/// The whole list, as read.
#[derive(Debug, Default)]
pub struct Listing {
    /// By id: a record that comes twice counts as it came last.
    pub records: BTreeMap<SubscriptionId, (Record, Ticket)>,
    /// All that it holds, whatever becomes of the records.
    pub listed: BTreeSet<SubscriptionId>,
    /// When it began to be read.
    pub began: Ticket,
    /// What could not be understood.
    pub odd: Vec<OddRecord>,
    /// Records read.
    pub seen: u64,
}

/// Reads the list to its end and brings the mirror to it.
///
/// A list that breaks off changes nothing. Nothing is removed because the list lacks it.
///
/// # Errors
///
/// [`SyncError::Store`] only: what Microsoft refuses is written into the run.
pub(crate) async fn run(
    sources: &Sources,
    begun: &Begun,
    gauge: &Gauge,
) -> Result<(Run, Option<MicrosoftError>), SyncError> {
    let mut listing = match read(sources, begun, gauge).await {
        Ok(listing) => listing,
        Err(error) => {
            let (run, state) = ended(sources, begun, gauge, Tally::default(), End::failed(&error));
            sources.store.commit(failure(run.clone(), begun.key, state)).await?;
            return Ok((run, Some(error)));
        }
    };
    // From here on no webhook may come between what is compared and what is written.
    let mut applied = sources.ledger.turn().await;
    let mirror = sources.store.snapshot();
    // What was read alone while the list was on its way is newer than the list.
    let since = listing.began;
    let newer = applied.iter().filter(|(_, ticket)| **ticket > since).map(|(id, _)| *id).collect();
    keep_newer(&mut applied, &mut listing.records, |(_, ticket)| *ticket);
    let (mut commit, tally) =
        plan::subscriptions(&mirror, listing, &newer, begun, (sources.clock)());
    let (run, mut state) = ended(sources, begun, gauge, tally, End::applied(tally.odd));
    state.last_complete = Some(begun.started);
    state.last_full = Some(begun.started);
    commit.sources.push((SourceKey::SUBSCRIPTIONS, state));
    commit.runs.push(run.clone());
    let missing = commit.lives.iter().filter(|(_, it)| it.missing_since.is_some()).count();
    if missing > 0 {
        warn!(
            run.missing = missing,
            "The complete list lacks {missing} known subscription(s): kept as they are, and looked \
             at one by one"
        );
    }
    note_missed(sources, &mirror, &mut commit);
    sources.store.commit(commit).await?;
    drop(applied);
    info!(
        run.seen = tally.seen,
        run.changed = tally.changed,
        run.added = tally.added,
        "Read the subscriptions"
    );
    Ok((run, None))
}

/// Every page. A continuation token that has run out starts the list again, once.
async fn read(sources: &Sources, begun: &Begun, gauge: &Gauge) -> Result<Listing, MicrosoftError> {
    match read_once(sources, begun, gauge).await {
        Err(error) if error.kind() == ErrorKind::RestartSequence => {
            read_once(sources, begun, gauge).await
        }
        result => result,
    }
}

async fn read_once(
    sources: &Sources,
    begun: &Begun,
    gauge: &Gauge,
) -> Result<Listing, MicrosoftError> {
    let mut listing = Listing { began: sources.ledger.ticket(), ..Listing::default() };
    let mut next: Option<Link> = None;
    loop {
        let ticket = sources.ledger.ticket();
        let page = sources.microsoft.marketplace().list_page(&gauge.meter, next.as_ref()).await?;
        for record in page.records {
            listing.seen = listing.seen.saturating_add(1);
            match record {
                Read::Understood(mut subscription, raw) => {
                    subscription.observed_at = begun.started;
                    listing.listed.insert(subscription.id);
                    listing.records.insert(subscription.id, ((subscription, raw), ticket));
                }
                Read::Odd { why, raw } => {
                    warn!(why, "A subscription could not be understood: kept as it came, skipped");
                    let (at, key) = (begun.started, begun.key);
                    listing.odd.push(OddRecord { at, key, why: why.into(), raw });
                }
            }
        }
        gauge.seen(listing.seen);
        match page.next {
            Some(link) => next = Some(link),
            None => return Ok(listing),
        }
    }
}
