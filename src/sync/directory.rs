//! One tenant's directory: its SKUs, and who holds ours.
//!
//! With a valid cursor a run reads what changed since (a delta round), otherwise everything (the
//! delta's first enumeration). When it is time, or an operator asks, or the brake holds something,
//! or the catalog asks for other SKUs than before, a sweep over `/users` follows, which shows what
//! delta never tells: changed assignment paths and removals that it lost.

mod reader;
mod sequences;
mod unfinished;

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tracing::{debug, info, warn};

use self::reader::Reader;
pub(super) use self::unfinished::Desk;
use super::freshness::{Way, brings_a_date};
use super::lookups::order::{Order, Turn};
use super::plan::{self, Planned};
use super::progress::Gauge;
use super::upstream::DirectoryReads;
use super::{Begun, Clock, End, Limits, Sources, SyncError, Tally, apart, closed, failure, spread};
use crate::domain::{
    Catalog, Change, Cloud, Commit, Consent, Grant, Mirror, Outcome, ReadWrite, Run, Sequence,
    SourceState, Tenant, TenantId, TenantView, Trigger, Unfinished, UserId, UserWrites,
};
use crate::microsoft::{ErrorKind, MicrosoftError};
use crate::planted::{self, Mistake, planted};

/// A delta token of directory objects lives 7 days; one this old is not tried any more.
///
/// Source: Graph, delta query overview (`graph-licensing.md` section 5.6).
const CURSOR_LIFE: SignedDuration = SignedDuration::from_hours(6 * 24);

/// How soon everything is read again after a run that did not understand all it read.
const AGAIN_WITHIN: SignedDuration = SignedDuration::from_hours(1);

/// How a run reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// The delta's first enumeration: there is no cursor.
    Enumerate,
    /// What changed since the cursor; then, if so, everything.
    Delta { sweep: bool },
}

fn mode<G>(with: &With<'_, G>, state: &SourceState, asked: bool, now: Timestamp) -> Mode {
    let old = |since: Option<Timestamp>, limit| {
        // What lies ahead was noted before the clock was set back: nobody knows how old it is.
        let ahead = |since| since > now && !planted(Mistake::WallClock);
        since.is_none_or(|since| ahead(since) || now.duration_since(since) >= limit)
    };
    if state.cursor.is_none() || old(state.cursor_issued, CURSOR_LIFE) {
        return Mode::Enumerate;
    }
    // One that was cut off, whoever asked for it, is gone on with.
    let under_way = with.unfinished.as_ref().is_some_and(|it| it.of == Sequence::Sweep);
    let sweep = asked
        || under_way
        || state.held_back > 0
        || state.catalog != with.catalog.fingerprint()
        || old(state.last_full, with.limits.sweep);
    Mode::Delta { sweep }
}

/// What a round works with.
pub(super) struct With<'a, G> {
    /// Who is asked.
    pub(super) graph: &'a G,
    /// Which SKUs are ours.
    pub(super) catalog: &'a Catalog,
    /// When everything is read anew, and what may be removed.
    pub(super) limits: Limits,
    /// The time.
    pub(super) clock: &'a Clock,
    /// How far an earlier run was in a reading of the whole tenant.
    pub(super) unfinished: Option<Arc<Unfinished>>,
    /// Where a long reading is laid down while it is under way.
    pub(super) desk: &'a dyn Desk,
    /// When a reading is a long one.
    pub(super) sizes: Sizes,
    /// What keeps runs and look-ups of one tenant in order.
    pub(super) order: &'a Order,
    /// The tenant as the mirror has it at that moment.
    pub(super) view: &'a (dyn Fn() -> Arc<TenantView> + Sync),
}

/// What is much.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    /// Users who are asked for by name at most; of more a list is read, which costs one unit for a
    /// thousand users where a name costs one.
    pub(super) ask_max: usize,
    /// Rows of a long reading after which it is laid down how far it is.
    pub(super) part_rows: u64,
    /// Users of a long reading who are kept loose before they are packed away.
    pub(super) loose_max: usize,
}

impl Sizes {
    pub(super) const REAL: Self = Self { ask_max: 1_000, part_rows: 4_000, loose_max: 4_000 };
}

/// What a round comes to: to be committed as a whole, or not at all.
pub(super) struct Round {
    pub(super) commit: Commit,
    pub(super) run: Run,
    /// Why nothing was applied, or, in a run that is [`Outcome::Partial`], not all.
    pub(super) error: Option<MicrosoftError>,
    /// To be held until the commit is durable.
    pub(super) turn: Option<Turn>,
    /// When Microsoft made what is committed, as far as it says so.
    pub(super) changed_at: Vec<Timestamp>,
}

/// Reads a tenant and brings the mirror to it.
///
/// A read that breaks off, is throttled or forbidden removes nothing.
///
/// # Errors
///
/// [`SyncError::Store`] only: what Microsoft refuses is written into the run.
pub(crate) async fn run(
    sources: &Sources,
    tenant: TenantId,
    begun: &mut Begun,
    gauge: &Gauge,
) -> Result<(Run, Option<MicrosoftError>), SyncError> {
    let mirror = sources.store.snapshot();
    let view = || view_of(&sources.store.mirror(), tenant);
    let with = With {
        graph: sources.microsoft.graph(),
        catalog: &sources.catalog,
        limits: sources.limits,
        clock: &sources.clock,
        unfinished: mirror.unfinished(tenant).cloned(),
        desk: &sources.store,
        sizes: Sizes::REAL,
        order: sources.lookups.order(),
        view: &view,
    };
    with.graph.has_users(tenant, view_of(&mirror, tenant).users.len());
    let Round { commit, run, error, turn, changed_at } = Box::pin(round(&with, begun, gauge)).await;
    for part in planted::parts(commit) {
        sources.store.commit(part).await?;
    }
    drop(turn);
    for at in changed_at {
        sources.freshness.committed(way(begun), at, (sources.clock)());
    }
    if error.is_none() {
        info!(
            tenant.id = %tenant, run.seen = run.seen, run.added = run.added,
            run.changed = run.changed, run.removed = run.removed, "Read a directory"
        );
    }
    Ok((run, error))
}

/// How what a run found came to be known.
fn way(begun: &Begun) -> Way {
    match (begun.trigger, begun.full) {
        (Trigger::Notification, _) => Way::Notification,
        (_, true) => Way::Sweep,
        (_, false) => Way::Delta,
    }
}

/// When Microsoft made what a commit changes of users, where it says so.
fn dated(
    view: &TenantView,
    commit: &Commit,
    changed_at: &BTreeMap<UserId, Timestamp>,
) -> Vec<Timestamp> {
    let patches = commit.users.iter().filter_map(|it| match &it.writes {
        UserWrites::Patch(patch) => Some(patch),
        // The first of a tenant: nothing of it is news.
        UserWrites::Replace(_) => None,
    });
    let news = patches
        .flatten()
        .filter(|(user, it)| brings_a_date(view.users.get(*user).as_ref(), it.as_ref()));
    news.filter_map(|(user, _)| changed_at.get(user).copied()).collect()
}

/// A tenant as a mirror has it.
pub(super) fn view_of(mirror: &Mirror, tenant: TenantId) -> Arc<TenantView> {
    let unread = || Arc::new(TenantView::unread(Tenant::heard_of(tenant, None)));
    mirror.tenant(tenant).map_or_else(unread, Arc::clone)
}

/// One round over a tenant: everything is read, then planned. Writes nothing.
pub(super) async fn round<G: DirectoryReads>(
    with: &With<'_, G>,
    begun: &mut Begun,
    gauge: &Gauge,
) -> Round {
    let before = &(with.view)();
    let tenant = before.tenant.id;
    let reading = with.order.reading(tenant);
    let parts = with.unfinished.as_ref().map_or(0, |it| it.parts).into();
    let reader = Reader { with, tenant, view: before, begun, gauge, parts };
    let read = match reader.read().await {
        Ok(read) => read,
        Err(error) => {
            let error = of_its_cloud(with, before, gauge, error).await;
            return failed(with, before, begun, gauge, error);
        }
    };
    // From here on to the commit no look-up of this tenant comes in between.
    let mut turn = reading.turn().await;
    let view = &(with.view)();
    let reader = Reader { view, ..reader };
    let read = match reader.settled(read, before, &turn).await {
        Ok(read) => read,
        Err(error) => return failed(with, view, begun, gauge, error),
    };
    let parts = reader.parts.into_inner();
    begun.full = read.full;
    let now = (with.clock)();
    turn.committed(now);
    let (of, by, limits, found) = (Arc::clone(view), begun.clone(), with.limits, read.found);
    let planned = apart(read.seen, move || plan::directory(&of, found, &by, limits, now));
    let Planned { mut commit, mut tally, held, still } = planned.await;
    tally.seen = read.seen;
    tally.odd = read.odd_count;
    commit.odd = read.odd;
    // A list that was cut off is gone on with by the next run.
    let cut_off = read.unlisted.is_some();
    if parts > 0 && !cut_off {
        commit.reads.push(ReadWrite::Cleared { tenant, parts });
    }
    let end = match (held, &read.unlisted) {
        (Some(held), _) => braked(tenant, held, begun),
        (None, Some(error)) => End::cut_off(error),
        (None, None) => End::applied(tally.odd),
    };
    let (run, mut state) = closed(view.directory.clone(), now, begun, gauge, tally, end);
    state.cursor = Some(read.cursor);
    state.cursor_issued = Some(begun.started);
    if cut_off {
        state.failures = view.directory.failures.saturating_add(1);
    } else {
        state.catalog = with.catalog.fingerprint();
    }
    if !still {
        state.held_back = held.map_or(0, |(seats, _)| u32::try_from(seats).unwrap_or(u32::MAX));
    }
    if held.is_none() {
        state.last_complete = Some(begun.started);
        if tally.odd > 0 || read.unfound {
            // The cursor is beyond a row that was not understood, or that the user himself did not
            // confirm, and delta tells nothing twice.
            let last = state.last_full.filter(|_| !read.full);
            state.last_full = soon_again(last, begun.started, with.limits.sweep);
        } else if read.full {
            state.last_full = Some(at_its_hour(tenant, read.began, with.limits.sweep));
        }
    }
    if read.overtaken {
        state.last_full = None;
    }
    permitted(view, begun, gauge, now, &mut commit);
    commit.sources.push((begun.key, state));
    commit.runs.push(run.clone());
    let changed_at = dated(view, &commit, &read.changed_at);
    Round { commit, run, error: read.unlisted, turn: Some(turn), changed_at }
}

/// A run of which the brake holds something.
fn braked(tenant: TenantId, (seats, total): (usize, usize), begun: &Begun) -> End {
    let error = plan::held_back(seats, total, begun.id);
    warn!(tenant.id = %tenant, run.held = seats, "The brake holds {seats} of {total} seats");
    End { outcome: Outcome::Partial, error: Some(error.into()) }
}

/// A full read of now, put back to the tenant's own hour: the next is due at that hour, so that the
/// sweeps of many tenants that were first read together spread over the day and stay there.
fn at_its_hour(tenant: TenantId, now: Timestamp, sweep: SignedDuration) -> Timestamp {
    let own = spread(tenant, sweep).as_secs();
    let since = (now.as_second().saturating_sub(own)).rem_euclid(sweep.as_secs().max(1));
    now.checked_sub(SignedDuration::from_secs(since)).unwrap_or(now)
}

/// When the last full read was, put back so far that the next one is due within
/// [`AGAIN_WITHIN`].
fn soon_again(last: Option<Timestamp>, now: Timestamp, sweep: SignedDuration) -> Option<Timestamp> {
    let due = now.checked_sub(sweep.saturating_sub(AGAIN_WITHIN).max(SignedDuration::ZERO)).ok()?;
    Some(last.map_or(due, |last| last.min(due)))
}

/// A run that applied nothing, and what it says about the tenant's consent.
fn failed<G>(
    with: &With<'_, G>,
    view: &TenantView,
    begun: &Begun,
    gauge: &Gauge,
    error: MicrosoftError,
) -> Round {
    let (before, now) = (view.directory.clone(), (with.clock)());
    let (run, mut state) = closed(before, now, begun, gauge, Tally::default(), End::failed(&error));
    if matches!(error.kind(), ErrorKind::Resync) && !planted(Mistake::KeepDeadCursor) {
        state.cursor = None;
    }
    let mut commit = failure(run.clone(), begun.key, state);
    permitted(view, begun, gauge, now, &mut commit);
    if let Some(tenant) = after_refusal(view, error.kind()) {
        commit.changes.push(Change::of_tenant(now, begun.cause(), Some(&view.tenant), &tenant));
        commit.tenants.push(tenant);
    }
    Round { commit, run, error: Some(error), turn: None, changed_at: Vec::new() }
}

/// What the run learned of what the tenant permits, if that differs from what is known. What it was
/// not told stays as it was. The first time is no change of anything.
fn permitted(view: &TenantView, begun: &Begun, gauge: &Gauge, now: Timestamp, commit: &mut Commit) {
    let (tenant, before) = (view.tenant.id, view.access);
    let told = gauge.meter.access().all().filter(|(_, grant)| *grant != Grant::Unknown);
    let after = told.fold(before, |access, (permission, grant)| access.with(permission, grant));
    if after.says_as(&before) {
        return;
    }
    if before.since.is_some() {
        commit.changes.push(Change::of_access(now, begun.cause(), tenant, &before, &after));
    }
    commit.access.push((tenant, after.since(Some(now))));
}

/// A tenant that was never read and gives no token may live in another cloud, which not every
/// refusal says: its public metadata do.
async fn of_its_cloud<G: DirectoryReads>(
    with: &With<'_, G>,
    view: &TenantView,
    gauge: &Gauge,
    error: MicrosoftError,
) -> MicrosoftError {
    let tenant = view.tenant.id;
    if error.kind() != ErrorKind::Consent || view.directory.last_complete.is_some() {
        return error;
    }
    match with.graph.cloud(&gauge.meter, tenant).await {
        Ok(Some(Cloud::National)) => {
            let what = format!(
                "tenant {tenant} lives in a national or government cloud, where only channel \
                 direct speaks: nothing is read of it"
            );
            MicrosoftError::new(ErrorKind::National, what)
        }
        Ok(Some(Cloud::Public) | None) => error,
        Err(unasked) => {
            debug!(error = &unasked as &dyn std::error::Error, "A tenant's cloud is not known");
            error
        }
    }
}

/// The tenant as a refusal shows it, if that differs from what is known.
///
/// Source: contract section 7: a 403 or AADSTS700016 before the first complete read means
/// `missing`, afterwards `revoked`; promise 4.
fn after_refusal(view: &TenantView, kind: ErrorKind) -> Option<Tenant> {
    let consent = match (kind, view.directory.last_complete) {
        (ErrorKind::Consent, None) => Consent::Missing,
        (ErrorKind::Consent, Some(_)) => Consent::Revoked,
        // What was read once does not move to another cloud: a stray refusal takes nothing.
        (ErrorKind::National, Some(_)) => Consent::Revoked,
        (ErrorKind::National, None) => {
            let tenant = Tenant { cloud: Cloud::National, ..view.tenant.clone() };
            return (tenant != view.tenant).then_some(tenant);
        }
        _ => return None,
    };
    let tenant = Tenant { consent, ..view.tenant.clone() };
    (tenant != view.tenant).then_some(tenant)
}

/// A commit that makes these tenants known, so that they are read.
pub fn introduce(tenants: impl IntoIterator<Item = Tenant>) -> Commit {
    Commit { tenants: tenants.into_iter().collect(), ..Commit::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sweep_is_due_within_its_period_and_always_at_the_tenants_own_hour() {
        let sweep = SignedDuration::from_hours(24);
        for n in 1..=50_u128 {
            let tenant = TenantId::from_uuid(uuid::Uuid::from_u128(n << 70)).unwrap();
            let mut hours = std::collections::BTreeSet::new();
            for hour in 0..48 {
                let now = Timestamp::from_second(1_795_000_000 + hour * 3_600).unwrap();
                let noted = at_its_hour(tenant, now, sweep);
                assert!(noted <= now && now.duration_since(noted) < sweep);
                hours.insert(noted.as_second().rem_euclid(86_400));
            }
            assert_eq!(hours.len(), 1, "whenever it was read in full");
        }
        let now = Timestamp::from_second(7).unwrap();
        let tenant = TenantId::from_uuid(uuid::Uuid::from_u128(1)).unwrap();
        assert_eq!(at_its_hour(tenant, now, SignedDuration::ZERO), now);
    }

    #[test]
    fn a_tenant_that_was_read_does_not_move_to_another_cloud_by_a_refusal() {
        let id = TenantId::from_uuid(uuid::Uuid::from_u128(9)).unwrap();
        let mut view = TenantView::unread(Tenant::heard_of(id, None));
        let after = |view: &TenantView| after_refusal(view, ErrorKind::National);
        let unread = after(&view).unwrap();
        assert_eq!((unread.cloud, unread.consent), (Cloud::National, view.tenant.consent));
        view.directory.last_complete = Some(Timestamp::UNIX_EPOCH);
        let read = after(&view).unwrap();
        assert_eq!((read.cloud, read.consent), (view.tenant.cloud, Consent::Revoked));
        view.tenant = read;
        assert_eq!(after(&view), None, "once");
    }
}
