//! Usage rights: the second witness of a Microsoft-managed licence, for tenants whose directory
//! does not show it; and what plans turn out to be called in a tenant.
//!
//! Read a user at a time, so only of users who matter: whoever was refused (or stands on a right
//! that has grown old) is looked up at once, with his licences ([`UsageRights`] is what
//! [`lookups`](super::lookups) also looks at); whoever has rights is looked at again after each
//! `[sync.directory] rights`, with his tenant's directory ([`follow`]), though that could not be read
//! for a reason of its own ([`are_spared`]).
//!
//! A failed, throttled or forbidden read changes nothing: what is known keeps counting and grows
//! old. What an empty answer means is settled in [`plan`]; what names are learned in [`learn`].
//!
//! Only app-only reads: a visual's own token could be traded for the user's own rights
//! (on-behalf-of), but only within the request that brings it, and no answer waits for Microsoft.

mod learn;
mod plan;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use tracing::{info, warn};

use self::learn::Compared;
use self::plan::{Asking, Ours, Planned};
use super::directory::view_of;
use super::lookups::AlsoLook;
use super::progress::Gauge;
use super::{Begun, End, Sources, SyncError, Tally, logged};
use crate::domain::{
    Change, Cloud, Commit, Mapping, MappingState, MappingWrite, OddRecord, Right, RightsSource,
    SkuId, SourceKey, TenantId, TenantView, Trigger, UserId, UserRights, has_passed,
};
use crate::microsoft::{ErrorKind, Meter, MicrosoftError, Read, RightsOf};

/// How long a tenant that does not let us look is not asked again.
const REFUSED: SignedDuration = SignedDuration::from_hours(1);
/// How many users are looked at again in one pass, whoever was looked at the longest ago first.
const PASS_MAX: usize = 400;
/// How often names are compared in a tenant.
const LEARN_EVERY: SignedDuration = SignedDuration::from_hours(24);
/// How often when somebody's rights are new.
const LEARN_ON_NEWS: SignedDuration = SignedDuration::from_mins(10);
/// Users who are compared: of those with known rights, with new ones, and of those who were just
/// asked for at most so many. Together a batch or two.
const COMPARED: usize = 8;

/// Looks at the rights of whoever was refused.
pub struct UsageRights(Sources);

impl UsageRights {
    /// Looks with these.
    pub const fn new(sources: Sources) -> Self {
        Self(sources)
    }
}

impl AlsoLook for UsageRights {
    fn look<'a>(
        &'a self,
        meter: &'a Meter,
        tenant: TenantId,
        users: &'a [UserId],
    ) -> BoxFuture<'a, Result<Option<Commit>, MicrosoftError>> {
        async move {
            let pass = Pass { sources: &self.0, meter, tenant, trigger: Trigger::Notification };
            pass.over(users, true).await
        }
        .boxed()
    }
}

/// Whether a run over the directory that failed so, or did not, says nothing against reading usage
/// rights: they need the tenant's users only, no SKUs and no delta.
///
/// Source: graph-licensing.md sections 3 and 10.3.
pub(super) fn are_spared(failure: Option<ErrorKind>, reads_users: impl FnOnce() -> bool) -> bool {
    match failure {
        None
        | Some(
            ErrorKind::Resync
            | ErrorKind::RestartSequence
            | ErrorKind::NotFound
            | ErrorKind::Unreadable
            | ErrorKind::Refused
            | ErrorKind::Rejected,
        ) => true,
        Some(ErrorKind::Consent) => reads_users(),
        // It concerns all of the tenant's reads, or all of ours.
        Some(
            ErrorKind::Transient
            | ErrorKind::Throttled
            | ErrorKind::Credential
            | ErrorKind::National
            | ErrorKind::Locked,
        ) => false,
    }
}

/// Looks again at those whose rights were read too long ago, after a run over their directory.
///
/// # Errors
///
/// [`SyncError::Store`] only: what Microsoft refuses is written down, the rest waits for the next
/// run.
pub(super) async fn follow(sources: &Sources, directory: &Begun) -> Result<(), SyncError> {
    let Some((tenant, every)) = directory.key.tenant.zip(sources.limits.rights) else {
        return Ok(());
    };
    let view = view_of(&sources.store.mirror(), tenant);
    let users = due(&view, every, (sources.clock)());
    if users.is_empty() {
        return Ok(());
    }
    let gauge = Gauge::new(SourceKey::directory(tenant), Vec::new());
    let pass = Pass { sources, meter: &gauge.meter, tenant, trigger: directory.trigger };
    match pass.over(&users, false).await {
        Ok(Some(commit)) => Ok(sources.store.commit(commit).await?),
        Ok(None) => Ok(()),
        Err(error) => {
            unread(tenant, &error);
            Ok(())
        }
    }
}

fn unread(tenant: TenantId, error: &MicrosoftError) {
    let error = error as &dyn std::error::Error;
    warn!(tenant.id = %tenant, error, "Usage rights could not be read; what is known keeps counting");
}

/// Whose rights are to be looked at again, the oldest first.
fn due(view: &TenantView, every: SignedDuration, now: Timestamp) -> Vec<UserId> {
    let old = |at: Timestamp| has_passed(every, at, now);
    let looked = |it: &UserRights| it.missing_since.unwrap_or(it.read_at);
    let mut due: Vec<(Timestamp, UserId)> = view
        .rights
        .iter()
        // Whoever holds nothing is looked at again when he asks.
        .filter(|(_, it)| !it.rows.is_empty())
        .map(|(user, it)| (looked(it), *user))
        .filter(|(at, _)| old(*at))
        .collect();
    due.sort_unstable();
    due.truncate(PASS_MAX);
    due.into_iter().map(|(_, user)| user).collect()
}

struct Pass<'a> {
    sources: &'a Sources,
    meter: &'a Meter,
    tenant: TenantId,
    trigger: Trigger,
}

impl Pass<'_> {
    /// Reads these users' rights and says what changes; `None` if nothing does.
    async fn over(
        &self,
        users: &[UserId],
        may_learn: bool,
    ) -> Result<Option<Commit>, MicrosoftError> {
        let sources = self.sources;
        let (Some(every), at) = (sources.limits.rights, (sources.clock)()) else {
            return Ok(None);
        };
        let view = view_of(&sources.store.mirror(), self.tenant);
        if view.tenant.cloud != Cloud::Public || view.rights_source.is_refused(at, REFUSED) {
            return Ok(None);
        }
        let graph = sources.microsoft.graph();
        let answers = match graph.usage_rights(self.meter, self.tenant, users).await {
            Ok(answers) => answers,
            Err(error) => return self.refused(&view, error, at),
        };
        let (mirror, now) = (sources.store.snapshot(), (sources.clock)());
        let view = view_of(&mirror, self.tenant);
        let mut ours = sources.catalog.products().flat_map(|it| &it.plans);
        let hides = ours.any(|it| it.channel.is_managed_per_user() && mirror.hides(&view, it));
        let begun = Begun {
            id: sources.store.next_run(),
            key: SourceKey::directory(self.tenant),
            trigger: self.trigger,
            full: false,
            started: at,
        };
        let app = sources.microsoft.app();
        let remove_limit = sources.limits.remove_limit;
        let asking = Asking { app, every, remove_limit, at, now, cause: begun.cause(), hides };
        let mut planned = plan::plan(&view, &sources.catalog, &answers, &asking);
        if let Some((held, of)) = planned.held.filter(|_| view.rights_held(remove_limit).is_empty())
        {
            warn!(
                tenant.id = %self.tenant, rights.held = held, rights.holders = of,
                "The brake holds {held} of {of} users' usage rights: they came without, and nobody \
                 with any. Check that the app's home tenant is associated with the publisher's account \
                 (Partner Center, Account settings, Tenants); if they are gone indeed, run \
                 `entitled tenants release {}`", self.tenant
            );
        }
        let mut mappings = Vec::new();
        if may_learn && learning_is_due(&view, &planned, now) {
            mappings = self.learned(&view, &answers, &planned, now).await;
            let source = planned.source.take().unwrap_or_else(|| view.rights_source.clone());
            planned.source = Some(RightsSource { learned_at: Some(now), ..source });
        }
        Ok(self.commit(&begun, users.len(), planned, mappings, now))
    }

    fn commit(
        &self,
        begun: &Begun,
        users: usize,
        planned: Planned,
        mappings: Vec<Mapping>,
        now: Timestamp,
    ) -> Option<Commit> {
        let Planned { rights, source, changes, odd, held: _ } = planned;
        if rights.is_empty() && source.is_none() && odd.is_empty() && mappings.is_empty() {
            return None;
        }
        let tenant = self.tenant;
        let count = |it: usize| u64::try_from(it).unwrap_or(u64::MAX);
        let kind = |before: bool, after: bool| {
            let of = |it: &&Change| (it.before.is_some(), it.after.is_some()) == (before, after);
            count(changes.iter().filter(of).count())
        };
        let tally = Tally {
            seen: count(users),
            added: kind(false, true),
            changed: kind(true, true),
            removed: kind(true, false),
            odd: count(odd.len()),
        };
        let mut runs = Vec::new();
        if !(changes.is_empty() && odd.is_empty()) {
            info!(
                tenant.id = %tenant, run.added = tally.added, run.changed = tally.changed,
                run.removed = tally.removed, run.odd = tally.odd, "Read usage rights"
            );
            runs.push(logged(now, begun, self.meter, tally, &End::applied(tally.odd)));
        }
        let odd = odd.into_iter().map(|(user, why)| {
            warn!(tenant.id = %tenant, why, "Usage rights could not be understood: skipped");
            OddRecord { at: now, key: begun.key, why: why.into(), raw: user.to_string().into() }
        });
        Some(Commit {
            rights: rights.into_iter().map(|(user, it)| (tenant, user, it)).collect(),
            rights_sources: source.into_iter().map(|it| (tenant, it)).collect(),
            mappings: mappings.into_iter().map(|it| (tenant, MappingWrite::Propose(it))).collect(),
            odd: odd.collect(),
            changes,
            runs,
            ..Commit::default()
        })
    }

    /// A refusal is noted and rests; only throttling concerns the tenant's other reads too.
    fn refused(
        &self,
        view: &TenantView,
        error: MicrosoftError,
        at: Timestamp,
    ) -> Result<Option<Commit>, MicrosoftError> {
        let source = &view.rights_source;
        match error.kind() {
            ErrorKind::Throttled => Err(error),
            ErrorKind::Consent | ErrorKind::NotFound | ErrorKind::National => {
                let why = format!(
                    "usage rights are not readable: User.Read.All is not granted, or Microsoft does \
                     not count this app as the publisher's (Partner Center, Account settings, \
                     Tenants); licences that the directory shows do not need them: {}",
                    crate::telemetry::chain(&error)
                );
                let refused = Some((why.into(), at));
                let source = RightsSource { refused, ..source.clone() };
                let rights_sources = vec![(self.tenant, source)];
                Ok(Some(Commit { rights_sources, ..Commit::default() }))
            }
            ErrorKind::Transient
            | ErrorKind::Credential
            | ErrorKind::Resync
            | ErrorKind::RestartSequence
            | ErrorKind::Refused
            | ErrorKind::Rejected
            | ErrorKind::Locked
            | ErrorKind::Unreadable => {
                unread(self.tenant, &error);
                Ok(None)
            }
        }
    }

    /// What plans may be called there. What cannot be read for it is left for another time.
    async fn learned(
        &self,
        view: &Arc<TenantView>,
        answers: &[RightsOf],
        planned: &Planned,
        now: Timestamp,
    ) -> Vec<Mapping> {
        match self.compared(view, answers, planned, now).await {
            Ok(proposals) => proposals.into_iter().filter(|it| is_news(view, it)).collect(),
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                info!(tenant.id = %self.tenant, error, "Names of plans could not be compared this time");
                Vec::new()
            }
        }
    }

    async fn compared(
        &self,
        view: &Arc<TenantView>,
        answers: &[RightsOf],
        planned: &Planned,
        now: Timestamp,
    ) -> Result<Vec<Mapping>, MicrosoftError> {
        let ours = Ours { view, catalog: &self.sources.catalog };
        let graph = self.sources.microsoft.graph();
        let skus = graph.subscribed_skus(self.meter, self.tenant).await?;
        let skus: Vec<_> = skus
            .into_iter()
            .filter_map(|it| match it {
                Read::Understood(sku, _) => Some(sku),
                Read::Odd { .. } => None,
            })
            .collect();
        let mut rights: BTreeMap<UserId, Vec<Right>> = BTreeMap::new();
        let known = view.rights.iter().filter(|(_, it)| !it.rows.is_empty()).take(COMPARED);
        rights.extend(known.map(|(user, it)| (*user, it.rows.clone())));
        let found = planned.rights.iter().filter_map(|(user, it)| Some((*user, it.as_ref()?)));
        rights.extend(found.take(COMPARED).map(|(user, it)| (user, it.rows.clone())));
        let mut held: BTreeMap<UserId, BTreeSet<SkuId>> = BTreeMap::new();
        if !rights.is_empty() {
            for (user, it) in answers.iter().take(COMPARED) {
                if let Ok(rows) = it {
                    rights.entry(*user).or_insert_with(|| ours.rights(rows));
                }
            }
            let users: Vec<UserId> = rights.keys().copied().collect();
            let rows = graph.assignment_states(self.meter, self.tenant, &users).await?;
            held.extend(rows.into_iter().filter_map(|(user, row)| {
                let assigned = row.ok()?.assigned?;
                Some((user, assigned.into_iter().map(|it| it.sku).collect()))
            }));
        }
        let compared = Compared { ours: &ours, skus: &skus, held: &held, rights: &rights, now };
        Ok(learn::proposals(&compared))
    }
}

/// Whether names are to be compared: once a day, or because of rights that are new.
fn learning_is_due(view: &TenantView, planned: &Planned, now: Timestamp) -> bool {
    let news = planned.changes.iter().any(|it| it.after.is_some());
    let every = if news { LEARN_ON_NEWS } else { LEARN_EVERY };
    let last = view.rights_source.learned_at;
    last.is_none_or(|at| has_passed(every, at, now))
}

/// Whether a proposal is new, or says something new of one that waits.
fn is_news(view: &TenantView, proposal: &Mapping) -> bool {
    view.mappings.iter().find(|it| it.id == proposal.id).is_none_or(|known| {
        known.state == MappingState::Proposed
            && (known.users, &known.evidence) != (proposal.users, &proposal.evidence)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_of_the_directory_alone_lets_usage_rights_be_read() {
        let check = |failure, reads_users, spared| {
            assert_eq!(are_spared(failure, || reads_users), spared, "{failure:?}");
        };
        check(None, false, true);
        // The SKUs may not be read, the users may.
        check(Some(ErrorKind::Consent), true, true);
        check(Some(ErrorKind::Consent), false, false);
        for alone in [ErrorKind::Resync, ErrorKind::RestartSequence, ErrorKind::Unreadable] {
            check(Some(alone), false, true);
        }
        for all in [ErrorKind::Transient, ErrorKind::Throttled, ErrorKind::Credential] {
            check(Some(all), true, false);
        }
        check(Some(ErrorKind::National), true, false);
    }
}
