//! One batch of users looked up by name: read → plan → commit, by the same code as a run.
//!
//! What is found is taken at its word, as a delta's row is. Who is not found keeps what he has:
//! only a run removes. No cursor moves. A SKU of ours that is new comes into the mirror with the
//! licences of it; that others may hold it too is found by the sweep that is asked for then.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tracing::warn;

use super::order::Turn;
use crate::domain::{
    Commit, Consent, OddRecord, RunId, Sku, SkuId, SourceKey, SourceState, TenantId, TenantView,
    Trigger, UserId, UserLicences, has_passed,
};
use crate::microsoft::{BatchMiss, MicrosoftError, Read};
use crate::sync::directory::With;
use crate::sync::freshness::brings_a_date;
use crate::sync::plan::{self, Found};
use crate::sync::progress::Gauge;
use crate::sync::reading::{Reading, Relevant, merged, readable};
use crate::sync::upstream::DirectoryReads;
use crate::sync::{Begun, End, closed};

/// How long a list of SKUs is good for telling ours from others'.
const SKUS_GOOD_FOR: SignedDuration = SignedDuration::from_mins(15);
/// How often one batch asks when runs commit meanwhile.
const TRIES: u32 = 3;

/// A tenant's SKUs, as a look-up listed them last.
#[derive(Clone, Default)]
pub(in crate::sync) struct Listed {
    at: Option<Timestamp>,
    relevant: Relevant,
    ours: Vec<Sku>,
}

/// What a batch comes to.
#[derive(Default)]
pub(in crate::sync) struct Looked {
    /// To be committed before the turn is dropped; `None` if all is as it is known.
    pub(in crate::sync) commit: Option<Commit>,
    /// For whom something changed.
    pub(in crate::sync) changed: Vec<UserId>,
    /// When Microsoft says that it did, where that is news.
    pub(in crate::sync) changed_at: BTreeMap<UserId, Timestamp>,
    /// The list of SKUs differs from the mirror's, or somebody is gone: a run should see to it.
    pub(in crate::sync) run_due: bool,
    /// Held until the commit is durable; `None` when runs were always quicker, and newer.
    pub(in crate::sync) turn: Option<Turn>,
}

/// Looks these users up. Writes nothing.
///
/// # Errors
///
/// As of [`Graph::assignment_states`](crate::microsoft::Graph::assignment_states).
pub(in crate::sync) async fn look<G: DirectoryReads>(
    with: &With<'_, G>,
    listed: &mut Listed,
    (tenant, users): (TenantId, &[UserId]),
    gauge: &Gauge,
    next_run: &(dyn Fn() -> RunId + Sync),
) -> Result<Looked, MicrosoftError> {
    let looker = Looker { with, tenant, users, gauge };
    let mut before = with.order.before(tenant).await;
    for _ in 0..TRIES {
        let started = (with.clock)();
        let said = looker.read(listed, started).await?;
        match before.turn().await {
            Ok(turn) => return Ok(looker.plan(listed, said, started, turn, next_run)),
            Err(again) => before = again,
        }
    }
    Ok(Looked::default())
}

struct Looker<'a, G> {
    with: &'a With<'a, G>,
    tenant: TenantId,
    users: &'a [UserId],
    gauge: &'a Gauge,
}

/// What was read.
struct Said {
    holds: BTreeMap<UserId, Option<UserLicences>>,
    odd: Vec<OddRecord>,
    changed_at: BTreeMap<UserId, Timestamp>,
    /// Somebody who holds something was not found: a run has to see whether he is gone.
    gone: bool,
}

impl<G: DirectoryReads> Looker<'_, G> {
    async fn read(&self, listed: &mut Listed, now: Timestamp) -> Result<Said, MicrosoftError> {
        let (graph, meter) = (self.with.graph, &self.gauge.meter);
        let good = |at: Timestamp| !has_passed(SKUS_GOOD_FOR, at, now);
        let mut fresh = !listed.at.is_some_and(good);
        if fresh {
            *listed = self.list(now).await?;
        }
        let rows = graph.assignment_states(meter, self.tenant, self.users).await?;
        let view = (self.with.view)();
        // What is known to be ours stays ours, though its record may not have been understood.
        listed.relevant.extend(view.skus.iter());
        let known = &listed.relevant;
        let rows = rows
            .into_iter()
            .map(|(user, row)| (user, row.and_then(|row| readable(row, known))))
            .collect::<Vec<_>>();
        let odd = |(user, row): &(UserId, Result<_, BatchMiss>)| match row {
            Err(BatchMiss::Odd(why)) => Some(self.odd(now, why, *user)),
            // Not found: whether he is gone a run finds out.
            Err(BatchMiss::Gone) | Ok(_) => None,
        };
        let odd: Vec<_> = rows.iter().filter_map(odd).collect();
        let gone = rows
            .iter()
            .any(|(user, row)| matches!(row, Err(BatchMiss::Gone)) && view.users.contains(*user));
        loop {
            let mut reading = Reading::default();
            for (user, row) in &rows {
                match row {
                    Ok(row) => reading.take_named(row, &listed.relevant, &view),
                    Err(BatchMiss::Odd(_)) => reading.take_odd(*user, &view),
                    Err(BatchMiss::Gone) => {}
                }
            }
            if fresh || reading.strangers.is_empty() {
                let holds = reading.holdings(&listed.relevant);
                return Ok(Said { holds, odd, changed_at: reading.changed_at, gone });
            }
            // Somebody holds a SKU that the list did not have yet.
            (*listed, fresh) = (self.list(now).await?, true);
            listed.relevant.extend(view.skus.iter());
        }
    }

    fn odd(&self, at: Timestamp, why: &str, user: UserId) -> OddRecord {
        warn!(tenant.id = %self.tenant, why, "A record could not be understood: kept as it came, skipped");
        let key = SourceKey::directory(self.tenant);
        OddRecord { at, key, why: why.into(), raw: user.to_string().into() }
    }

    /// The SKUs as they are listed now. One that cannot be understood is left to the next run.
    async fn list(&self, now: Timestamp) -> Result<Listed, MicrosoftError> {
        let records = self.with.graph.subscribed_skus(&self.gauge.meter, self.tenant).await?;
        let rows = records.len();
        let understood = records.into_iter().filter_map(|it| match it {
            Read::Understood(sku, _) => Some(sku),
            Read::Odd { .. } => None,
        });
        let understood: Vec<Sku> = understood.collect();
        let whole = understood.len() == rows;
        let mut skus = merged(understood);
        let view = (self.with.view)();
        let relevant = Relevant::among(&skus, self.with.catalog, &view.mappings);
        let relevant = relevant.unless_whole(whole);
        skus.retain(|it| relevant.is_ours(it.id));
        Ok(Listed { at: Some(now), relevant, ours: skus })
    }

    /// What it changes, planned as a delta's rows are.
    fn plan(
        &self,
        listed: &Listed,
        mut said: Said,
        started: Timestamp,
        mut turn: Turn,
        next_run: &(dyn Fn() -> RunId + Sync),
    ) -> Looked {
        let (view, now) = ((self.with.view)(), (self.with.clock)());
        turn.looked(self.users, now);
        let changed =
            |(user, it): &(&UserId, &Option<UserLicences>)| view.users.get(**user) != **it;
        let changed: Vec<UserId> = said.holds.iter().filter(changed).map(|it| *it.0).collect();
        let new: Vec<Sku> = listed
            .ours
            .iter()
            .filter(|it| {
                view.sku(it.id).is_none()
                    && said.holds.values().flatten().any(|of| holds(of, it.id))
            })
            .cloned()
            .collect();
        let moved = |it: &Sku| view.sku(it.id).is_none_or(|known| known.status != it.status);
        let run_due = said.gone || listed.at == Some(started) && listed.ours.iter().any(moved);
        let nothing = changed.is_empty() && view.tenant.consent == Consent::Granted;
        if nothing && said.odd.is_empty() {
            return Looked { run_due, turn: Some(turn), ..Looked::default() };
        }
        let mut changed_at = std::mem::take(&mut said.changed_at);
        changed_at.retain(|user, _| {
            let after = said.holds.get(user).and_then(Option::as_ref);
            brings_a_date(view.users.get(*user).as_ref(), after)
        });
        let commit = self.commit(&view, said, new, (started, now), next_run());
        Looked { commit: Some(commit), changed, changed_at, run_due, turn: Some(turn) }
    }

    fn commit(
        &self,
        view: &Arc<TenantView>,
        said: Said,
        new: Vec<Sku>,
        (started, now): (Timestamp, Timestamp),
        id: RunId,
    ) -> Commit {
        let key = SourceKey::directory(self.tenant);
        let begun = Begun { id, key, trigger: Trigger::Notification, full: false, started };
        let sweep = !new.is_empty();
        let skus = view.skus.iter().cloned().chain(new).collect();
        let found = Found { skus, told: said.holds, ..Found::default() };
        let plan::Planned { mut commit, mut tally, .. } =
            plan::directory(view, found, &begun, self.with.limits, now);
        tally.seen = u64::try_from(self.users.len()).unwrap_or(u64::MAX);
        tally.odd = u64::try_from(said.odd.len()).unwrap_or(u64::MAX);
        commit.odd = said.odd;
        let end = End::applied(tally.odd);
        if !(commit.changes.is_empty() && commit.odd.is_empty()) {
            let state = view.directory.clone();
            commit.runs.push(closed(state, now, &begun, self.gauge, tally, end).0);
        }
        if sweep {
            let state = SourceState { last_full: None, ..view.directory.clone() };
            commit.sources.push((key, state));
        }
        commit
    }
}

fn holds(of: &UserLicences, sku: SkuId) -> bool {
    of.licences.iter().any(|it| it.sku == sku)
}
