//! One tenant's directory: its SKUs, and who holds ours.
//!
//! With a valid cursor a run reads what changed since (a delta round), otherwise everything (the
//! delta's first enumeration). When it is time, or an operator asks, or the brake holds something,
//! or the catalog asks for other SKUs than before, a sweep over `/users` follows, which shows what
//! delta never tells: changed assignment paths and removals that it lost.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tracing::{debug, info, warn};

use super::lookups::order::{Order, Turn};
use super::plan::{self, Found, Planned};
use super::progress::Gauge;
use super::reading::{Reading, Relevant, Said};
use super::upstream::DirectoryReads;
use super::{Begun, Clock, End, Limits, Sources, SyncError, Tally, closed, failure};
use crate::domain::{
    Catalog, Change, Commit, Consent, Mirror, OddRecord, Outcome, RawRecord, Run, Sku, SourceState,
    Tenant, TenantId, TenantView, UserId,
};
use crate::microsoft::{BatchMiss, DeltaFrom, ErrorKind, Link, MicrosoftError, PageEnd, Read};
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
        since.is_none_or(|since| since > now || now.duration_since(since) >= limit)
    };
    if state.cursor.is_none() || old(state.cursor_issued, CURSOR_LIFE) {
        return Mode::Enumerate;
    }
    let sweep = asked
        || state.held_back > 0
        || state.catalog != with.catalog.fingerprint()
        || old(state.last_full, with.limits.sweep);
    Mode::Delta { sweep }
}

/// Everything a run read, to its end.
struct Complete {
    found: Found,
    cursor: Arc<str>,
    full: bool,
    seen: u64,
    odd: Vec<OddRecord>,
    /// Which SKUs were ours while it was read.
    relevant: Relevant,
    /// A look-up found a SKU that was not listed yet: who else holds it only a sweep shows.
    overtaken: bool,
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
    /// What keeps runs and look-ups of one tenant in order.
    pub(super) order: &'a Order,
    /// The tenant as the mirror has it at that moment.
    pub(super) view: &'a (dyn Fn() -> Arc<TenantView> + Sync),
}

/// What a round comes to: to be committed as a whole, or not at all.
pub(super) struct Round {
    pub(super) commit: Commit,
    pub(super) run: Run,
    /// Why nothing was applied, if so.
    pub(super) error: Option<MicrosoftError>,
    /// To be held until the commit is durable.
    pub(super) turn: Option<Turn>,
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
    let view = || view_of(&sources.store.mirror(), tenant);
    let with = With {
        graph: sources.microsoft.graph(),
        catalog: &sources.catalog,
        limits: sources.limits,
        clock: &sources.clock,
        order: sources.lookups.order(),
        view: &view,
    };
    let Round { commit, run, error, turn } = round(&with, begun, gauge).await;
    for part in planted::parts(commit) {
        sources.store.commit(part).await?;
    }
    drop(turn);
    if error.is_none() {
        info!(
            tenant.id = %tenant, run.seen = run.seen, run.added = run.added,
            run.changed = run.changed, run.removed = run.removed, "Read a directory"
        );
    }
    Ok((run, error))
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
    let view = (with.view)();
    let tenant = view.tenant.id;
    let reading = with.order.reading(tenant);
    let reader = Reader { with, tenant, view: &view, begun, gauge };
    let read = match reader.read().await {
        Ok(read) => read,
        Err(error) => return failed(with, &view, begun, gauge, error),
    };
    // From here on to the commit no look-up of this tenant comes in between.
    let mut turn = reading.turn().await;
    let (before, view) = (&view, &*(with.view)());
    let reader = Reader { view, ..reader };
    let read = match reader.settled(read, before, &turn).await {
        Ok(read) => read,
        Err(error) => return failed(with, view, begun, gauge, error),
    };
    begun.full = read.full;
    let now = (with.clock)();
    turn.committed(now);
    let Planned { mut commit, mut tally, held } =
        plan::directory(view, read.found, begun, with.limits, now);
    tally.seen = read.seen;
    tally.odd = u64::try_from(read.odd.len()).unwrap_or(u64::MAX);
    commit.odd = read.odd;
    let end = match held {
        None => End::applied(tally.odd),
        Some((seats, total)) => {
            let error = plan::held_back(seats, total, begun.id);
            warn!(tenant.id = %tenant, run.held = seats, "The brake holds {seats} of {total} seats");
            End { outcome: Outcome::Partial, error: Some(error.into()) }
        }
    };
    let (run, mut state) = closed(view.directory.clone(), now, begun, gauge, tally, end);
    state.cursor = Some(read.cursor);
    state.cursor_issued = Some(begun.started);
    state.catalog = with.catalog.fingerprint();
    state.held_back = held.map_or(0, |(seats, _)| u32::try_from(seats).unwrap_or(u32::MAX));
    if held.is_none() {
        state.last_complete = Some(begun.started);
        if tally.odd > 0 {
            // The cursor is beyond a row that was not understood, and delta tells nothing twice.
            let last = state.last_full.filter(|_| !read.full);
            state.last_full = soon_again(last, begun.started, with.limits.sweep);
        } else if read.full {
            state.last_full = Some(begun.started);
        }
    }
    if read.overtaken {
        state.last_full = None;
    }
    commit.sources.push((begun.key, state));
    commit.runs.push(run.clone());
    Round { commit, run, error: None, turn: Some(turn) }
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
    if let Some(tenant) = after_refusal(view, error.kind()) {
        commit.changes.push(Change::of_tenant(now, begun.cause(), Some(&view.tenant), &tenant));
        commit.tenants.push(tenant);
    }
    Round { commit, run, error: Some(error), turn: None }
}

/// The tenant as a refusal shows it, if that differs from what is known.
///
/// Source: contract section 7: a 403 or AADSTS700016 before the first complete read means
/// `missing`, afterwards `revoked`.
fn after_refusal(view: &TenantView, kind: ErrorKind) -> Option<Tenant> {
    let consent = match (kind, view.directory.last_complete) {
        (ErrorKind::Consent, None) => Consent::Missing,
        (ErrorKind::Consent, Some(_)) => Consent::Revoked,
        (ErrorKind::National, _) => {
            let cloud = crate::domain::Cloud::National;
            let tenant = Tenant { cloud, ..view.tenant.clone() };
            return (tenant != view.tenant).then_some(tenant);
        }
        _ => return None,
    };
    let tenant = Tenant { consent, ..view.tenant.clone() };
    (tenant != view.tenant).then_some(tenant)
}

struct Reader<'a, G> {
    with: &'a With<'a, G>,
    tenant: TenantId,
    view: &'a TenantView,
    begun: &'a Begun,
    gauge: &'a Gauge,
}

impl<G: DirectoryReads> Reader<'_, G> {
    fn graph(&self) -> &G {
        self.with.graph
    }

    /// Reads by the mode that the mirror asks for; a cursor that Microsoft no longer takes means
    /// a full enumeration, in the same run.
    async fn read(&self) -> Result<Complete, MicrosoftError> {
        let state = &self.view.directory;
        let mode = mode(self.with, state, self.begun.full, self.begun.started);
        match self.read_by(mode).await {
            Err(error)
                if error.kind() == ErrorKind::Resync
                    && mode != Mode::Enumerate
                    && !planted(Mistake::KeepDeadCursor) =>
            {
                info!(tenant.id = %self.tenant, "The delta cursor is no longer valid: reading in full");
                self.read_by(Mode::Enumerate).await
            }
            result => result,
        }
    }

    async fn read_by(&self, mode: Mode) -> Result<Complete, MicrosoftError> {
        let name = self.name().await;
        let mut odd = Vec::new();
        let mut skus = self.skus(&mut odd).await?;
        let mut relevant = Relevant::among(&skus, self.with.catalog);

        let start = match mode {
            Mode::Enumerate => None,
            Mode::Delta { .. } => self.view.directory.cursor.as_deref(),
        };
        let (mut told, cursor) = self.delta(start, &relevant, &mut odd).await?;
        let mut swept = match mode {
            Mode::Delta { sweep: true } => Some(self.sweep(&relevant, &mut odd).await?),
            Mode::Delta { sweep: false } | Mode::Enumerate => None,
        };

        let strangers = told.strangers.iter().chain(swept.iter().flat_map(|it| &it.strangers));
        if strangers.count() > 0 {
            // Somebody holds a SKU that the list did not have yet: it was made in between.
            skus = self.skus(&mut odd).await?;
            relevant = Relevant::among(&skus, self.with.catalog);
        }
        if mode != Mode::Enumerate && swept.is_none() && self.names_new_skus(&skus, &relevant) {
            // Who held one before it was listed, or while its record could not be understood, was
            // told by earlier rounds, and delta tells nothing twice.
            swept = Some(self.sweep(&relevant, &mut odd).await?);
        }
        self.ask(&mut told, &relevant, &mut odd).await?;
        if let Some(swept) = &mut swept {
            self.ask(swept, &relevant, &mut odd).await?;
        }

        let seen = told.seen.saturating_add(swept.as_ref().map_or(0, |it| it.seen));
        skus.retain(|it| relevant.is_ours(it.id));
        let full = swept.is_some();
        let mut found = Found { skus, name, ..Found::default() };
        match mode {
            Mode::Enumerate => {
                found.told = told.removed_in_words();
                found.enumerated = Some(told.holdings(&relevant));
            }
            Mode::Delta { .. } => {
                found.told = told.holdings(&relevant);
                found.enumerated = swept.map(|it| it.holdings(&relevant));
            }
        }
        if let (Some(enumerated), false) = (&mut found.enumerated, odd.is_empty()) {
            // One of the records that could not be understood may be a user: absence proves
            // nothing in this run.
            for (user, licences) in self.view.users.iter() {
                enumerated.entry(user).or_insert(Some(licences));
            }
        }
        let full = full || mode == Mode::Enumerate;
        Ok(Complete { found, cursor, full, seen, odd, relevant, overtaken: false })
    }

    /// What was read, made as new as what look-ups found since: whomever it would change although
    /// he was looked up lately is asked for once more, by name.
    async fn settled(
        &self,
        mut read: Complete,
        before: &TenantView,
        turn: &Turn,
    ) -> Result<Complete, MicrosoftError> {
        if planted(Mistake::OvertakeLookups) {
            return Ok(read);
        }
        let listed: BTreeSet<_> = read.found.skus.iter().map(|it| it.id).collect();
        let newer = self.view.skus.iter().filter(|it| before.sku(it.id).is_none());
        let newer: Vec<Sku> = newer.filter(|it| !listed.contains(&it.id)).cloned().collect();
        read.overtaken = !newer.is_empty();
        read.relevant.extend(&newer);
        read.found.skus.extend(newer);

        let found = &mut read.found;
        let differs = |user: &UserId| {
            let has = self.view.users.get(*user);
            found.told.get(user).is_some_and(|it| *it != has)
                || found
                    .enumerated
                    .as_ref()
                    .is_some_and(|it| it.get(user).cloned().flatten() != has)
        };
        let mut again = Reading::default();
        again.users.extend(turn.lately().filter(differs).map(|user| (user, Said::Ask)));
        self.ask(&mut again, &read.relevant, &mut read.odd).await?;
        // Whoever is not found keeps what the run says of him.
        again.users.retain(|_, said| *said != Said::Removed);
        for (user, holds) in again.holdings(&read.relevant) {
            let told = found.told.get_mut(&user);
            let told = told.map(|it| it.clone_from(&holds)).is_some();
            match &mut found.enumerated {
                Some(enumerated) => drop(enumerated.insert(user, holds)),
                None => debug_assert!(told, "only whom the run names is asked for"),
            }
        }
        Ok(read)
    }

    /// Whether a SKU of ours is listed that the mirror does not have.
    fn names_new_skus(&self, skus: &[Sku], relevant: &Relevant) -> bool {
        skus.iter().any(|it| relevant.is_ours(it.id) && self.view.sku(it.id).is_none())
    }

    /// What the tenant calls itself, asked once. It is a nicety: a refusal of it says nothing.
    async fn name(&self) -> Option<Arc<str>> {
        if self.view.tenant.name.is_some()
            || !self.begun.full && self.view.directory.cursor.is_some()
        {
            return None;
        }
        match self.graph().organization(&self.gauge.meter, self.tenant).await {
            Ok(organization) => organization.name,
            Err(error) => {
                debug!(
                    error = &error as &dyn std::error::Error,
                    "A tenant's name could not be read"
                );
                None
            }
        }
    }

    /// All SKUs, with the moment at which each will next change its status.
    async fn skus(&self, odd: &mut Vec<OddRecord>) -> Result<Vec<Sku>, MicrosoftError> {
        let records = self.graph().subscribed_skus(&self.gauge.meter, self.tenant).await?;
        let before = odd.len();
        let mut skus: Vec<Sku> =
            records.into_iter().filter_map(|it| self.understood(it, odd)).collect();
        if odd.len() > before {
            // One of those that could not be understood may be one that is known: it stays, and
            // with it whatever users hold of it.
            let listed: BTreeSet<_> = skus.iter().map(|it| it.id).collect();
            skus.extend(self.view.skus.iter().filter(|it| !listed.contains(&it.id)).cloned());
        }
        let lifecycles = match self.graph().lifecycles(&self.gauge.meter, self.tenant).await {
            Ok(lifecycles) => lifecycles,
            Err(error) => {
                // Only says when to look again; `Organization.Read.All` may not be granted.
                debug!(
                    error = &error as &dyn std::error::Error,
                    "directory/subscriptions could not be read"
                );
                Vec::new()
            }
        };
        for sku in &mut skus {
            let of = lifecycles.iter().filter(|(id, at)| *id == sku.id && *at > self.begun.started);
            sku.next_lifecycle = of.map(|(_, at)| *at).min();
        }
        Ok(skus)
    }

    /// A delta round to its end, or the first enumeration; all its pages or nothing. Page tokens
    /// that have run out start it again, once.
    async fn delta(
        &self,
        cursor: Option<&str>,
        relevant: &Relevant,
        odd: &mut Vec<OddRecord>,
    ) -> Result<(Reading, Arc<str>), MicrosoftError> {
        let before = odd.len();
        match self.delta_once(cursor, relevant, odd).await {
            Err(error) if error.kind() == ErrorKind::RestartSequence => {
                odd.truncate(before);
                self.delta_once(cursor, relevant, odd).await
            }
            result => result,
        }
    }

    async fn delta_once(
        &self,
        cursor: Option<&str>,
        relevant: &Relevant,
        odd: &mut Vec<OddRecord>,
    ) -> Result<(Reading, Arc<str>), MicrosoftError> {
        let mut reading = Reading::default();
        let mut next: Option<Link> = None;
        loop {
            let from = match (&next, cursor) {
                (Some(link), _) => DeltaFrom::Next(link),
                (None, Some(cursor)) => DeltaFrom::Cursor(cursor),
                (None, None) => DeltaFrom::Start,
            };
            let page = self.graph().delta_page(&self.gauge.meter, self.tenant, from).await?;
            for row in page.rows.into_iter().filter_map(|it| self.understood(it, odd)) {
                reading.take(&row, relevant, self.view);
            }
            self.gauge.seen(reading.seen);
            match page.end {
                PageEnd::Next(link) => next = Some(link),
                PageEnd::Delta(cursor) => return Ok((reading, cursor)),
            }
        }
    }

    /// Every user of the tenant.
    async fn sweep(
        &self,
        relevant: &Relevant,
        odd: &mut Vec<OddRecord>,
    ) -> Result<Reading, MicrosoftError> {
        let before = odd.len();
        match self.sweep_once(relevant, odd).await {
            Err(error) if error.kind() == ErrorKind::RestartSequence => {
                odd.truncate(before);
                self.sweep_once(relevant, odd).await
            }
            result => result,
        }
    }

    async fn sweep_once(
        &self,
        relevant: &Relevant,
        odd: &mut Vec<OddRecord>,
    ) -> Result<Reading, MicrosoftError> {
        let mut reading = Reading::default();
        let mut next: Option<Link> = None;
        loop {
            let page =
                self.graph().users_page(&self.gauge.meter, self.tenant, next.as_ref()).await?;
            for row in page.records.into_iter().filter_map(|it| self.understood(it, odd)) {
                reading.take(&row, relevant, self.view);
            }
            self.gauge.seen(reading.seen);
            match page.next {
                Some(link) => next = Some(link),
                None => return Ok(reading),
            }
        }
    }

    /// Asks by name for the users whose rows did not say what they hold. What cannot be understood
    /// keeps what the mirror has.
    async fn ask(
        &self,
        reading: &mut Reading,
        relevant: &Relevant,
        odd: &mut Vec<OddRecord>,
    ) -> Result<(), MicrosoftError> {
        let users = reading.to_ask();
        if users.is_empty() {
            return Ok(());
        }
        let answers =
            self.graph().assignment_states(&self.gauge.meter, self.tenant, &users).await?;
        let mut left: BTreeSet<_> = users.into_iter().collect();
        for (user, answer) in answers {
            left.remove(&user);
            match answer {
                Ok(row) => {
                    reading.seen = reading.seen.saturating_sub(1);
                    reading.take(&row, relevant, self.view);
                }
                Err(BatchMiss::Gone) => {
                    reading.users.insert(user, Said::Removed);
                }
                Err(BatchMiss::Odd(why)) => odd.push(self.odd(why, user.to_string().into())),
            }
        }
        left.extend(reading.to_ask());
        for user in left {
            // Nothing was said about him after all: what is known stays.
            let known = self.view.users.get(user).map(|it| it.licences);
            reading.users.insert(user, Said::Holds(known.unwrap_or_default()));
        }
        Ok(())
    }

    fn understood<T>(&self, record: Read<T>, odd: &mut Vec<OddRecord>) -> Option<T> {
        match record {
            Read::Understood(it, _) => Some(it),
            Read::Odd { why, raw } => {
                warn!(tenant.id = %self.tenant, why, "A record could not be understood: kept as it came, skipped");
                odd.push(self.odd(why, raw));
                None
            }
        }
    }

    fn odd(&self, why: String, raw: RawRecord) -> OddRecord {
        OddRecord { at: self.begun.started, key: self.begun.key, why: why.into(), raw }
    }
}

/// A commit that makes these tenants known, so that they are read.
pub fn introduce(tenants: impl IntoIterator<Item = Tenant>) -> Commit {
    Commit { tenants: tenants.into_iter().collect(), ..Commit::default() }
}
