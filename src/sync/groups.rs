//! The licensed groups of one tenant and their direct members: for explaining and for early hints.
//!
//! Read with the tenant's directory, when it is time. Which groups carry a SKU of ours is listed anew
//! each time: whether a delta tells of it is not documented. Members come by delta sequences that are
//! limited to those groups, so that nothing is read of the others, however many a tenant has.
//!
//! A tenant that does not let us read groups loses nothing but explanations: no seat hangs on it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tracing::{debug, warn};

use super::plan::{self, FoundGroups, ReadFeed, SaidOfGroup};
use super::progress::Gauge;
use super::upstream::GroupReads;
use super::{Begun, Clock, End, Sources, SyncError, Tally, apart, closed};
use crate::domain::{
    Commit, Feed, GroupId, Groups, OddRecord, Outcome, SourceKey, SourceState, TenantId,
    TenantView, Trigger, Via,
};
use crate::microsoft::{DeltaFrom, ErrorKind, GroupRow, Link, MicrosoftError, PageEnd, Read};
use crate::planted::{Mistake, planted};

/// As for users: a delta token lives 7 days, and one this old is not tried any more.
const CURSOR_LIFE: SignedDuration = SignedDuration::from_hours(6 * 24);

/// How long a group that is gone is still shown.
const GONE_SHOWN: SignedDuration = SignedDuration::from_hours(30 * 24);

/// Reads the groups of the tenant whose directory a run has just read, if it is time.
///
/// What the run read in full is read in full here too: a member who was purged may never be told of.
///
/// # Errors
///
/// [`SyncError::Store`] only: what Microsoft refuses is written down.
pub(super) async fn follow(sources: &Sources, directory: &Begun) -> Result<(), SyncError> {
    let Some(tenant) = directory.key.tenant else { return Ok(()) };
    let (mirror, started) = (sources.store.snapshot(), (sources.clock)());
    let Some(view) = mirror.tenant(tenant) else { return Ok(()) };
    let key = SourceKey::groups(tenant);
    let state = mirror.source(key).cloned().unwrap_or_default();
    let told = sources.groups_told.take(tenant);
    if !is_time(view, &state, directory, told, sources.limits.groups, started) {
        return Ok(());
    }
    let id = sources.store.next_run();
    let (trigger, full) = (directory.trigger, directory.full);
    let begun = Begun { id, key, trigger, full, started };
    let gauge = Gauge::new(key, Vec::new());
    let reader =
        Reader { graph: sources.microsoft.graph(), tenant, view, begun: &begun, gauge: &gauge };
    let of = Arc::clone(view);
    // A large tenant takes a while: not on a thread that answers.
    let users = u64::try_from(view.users.len()).unwrap_or(u64::MAX);
    let named = apart(users, move || named(&of));
    let commit = reader.round(named, state, &sources.clock).await;
    sources.store.commit(commit).await?;
    Ok(())
}

/// Whether groups are to be read after this run over the tenant's directory: when it is time, when
/// somebody asks, or because a notification told of one that carries a licence of ours (runs that
/// notifications start are a minute apart).
pub(super) fn is_time(
    view: &TenantView,
    state: &SourceState,
    directory: &Begun,
    told: bool,
    every: SignedDuration,
    now: Timestamp,
) -> bool {
    let none = view.skus.is_empty() && view.groups.groups.is_empty();
    let asked = directory.full || directory.trigger == Trigger::Manual;
    !none && (asked || told || is_due(state, every, now))
}

/// What is missing when groups may not be read, and what that means.
fn no_permission(tenant: TenantId) -> Arc<str> {
    format!(
        "group names and membership are not readable: permission Group.Read.All is not granted; \
         seats and answers do not need it; `entitled tenants consent-url {tenant}` asks for it"
    )
    .into()
}

fn is_due(state: &SourceState, every: SignedDuration, now: Timestamp) -> bool {
    // What passes by itself is tried again with the next reading of the directory.
    let again = state.last_outcome == Some(Outcome::Failed) && state.failures <= 3;
    let long_ago = |at: Timestamp| at > now || now.duration_since(at) >= every;
    again || state.last_run.is_none_or(long_ago)
}

fn applied(
    view: &TenantView,
    found: Found,
    state: SourceState,
    begun: &Begun,
    gauge: &Gauge,
    now: Timestamp,
) -> Commit {
    let first = state.last_complete.is_none();
    let (groups, changes, tally) = plan::groups(view, found.groups, begun, first, now);
    let odd = u64::try_from(found.odd.len()).unwrap_or(u64::MAX);
    let tally = Tally { seen: found.seen, odd, ..tally };
    let (run, mut state) = closed(state, now, begun, gauge, tally, End::applied(odd));
    state.last_complete = Some(begun.started);
    // 10,000 tenants that say the same every hour are no log that anybody reads.
    let quiet = Tally { seen: 0, ..tally } == Tally::default();
    let runs = if quiet { Vec::new() } else { vec![run] };
    Commit {
        groups: vec![(begun.key.tenant.unwrap_or(view.tenant.id), Arc::new(groups))],
        sources: vec![(begun.key, state)],
        odd: found.odd,
        changes,
        runs,
        ..Commit::default()
    }
}

/// Nothing is applied. A tenant that goes on refusing is written into the log once.
fn failed(
    error: &MicrosoftError,
    before: SourceState,
    begun: &Begun,
    gauge: &Gauge,
    now: Timestamp,
) -> Commit {
    let refused = error.kind() == ErrorKind::Consent;
    let mut end = End::failed(error);
    if let (true, Some(tenant)) = (refused, begun.key.tenant) {
        end.error = Some(no_permission(tenant));
    }
    let known = refused && before.last_error == end.error;
    let (run, mut state) = closed(before, now, begun, gauge, Tally::default(), end);
    if refused {
        debug!(error = error as &dyn std::error::Error, "Groups may not be read");
        // Only an administrator can mend it: it is looked at again after a full period.
        state.failures = u32::MAX;
    } else {
        warn!(
            error = error as &dyn std::error::Error,
            "Groups could not be read; nothing hangs on them"
        );
    }
    let runs = if known { Vec::new() } else { vec![run] };
    Commit { sources: vec![(begun.key, state)], runs, ..Commit::default() }
}

/// What was read.
struct Found {
    groups: FoundGroups,
    seen: u64,
    odd: Vec<OddRecord>,
}

/// What one reading of a tenant's groups works with.
pub(super) struct Reader<'a, G> {
    pub(super) graph: &'a G,
    pub(super) tenant: TenantId,
    pub(super) view: &'a Arc<TenantView>,
    pub(super) begun: &'a Begun,
    pub(super) gauge: &'a Gauge,
}

impl<G: GroupReads> Reader<'_, G> {
    /// Reads, and says what to write: on any failure nothing of what is known of groups. `named` are
    /// the groups that licences came through, asked for when they are needed.
    pub(super) async fn round(
        &self,
        named: impl Future<Output = BTreeSet<GroupId>> + Send,
        before: SourceState,
        clock: &Clock,
    ) -> Commit {
        match self.read(named).await {
            Ok(found) => applied(self.view, found, before, self.begun, self.gauge, clock()),
            Err(error) => failed(&error, before, self.begun, self.gauge, clock()),
        }
    }

    async fn read(
        &self,
        named: impl Future<Output = BTreeSet<GroupId>> + Send,
    ) -> Result<Found, MicrosoftError> {
        let (mut odd, mut listed) = (Vec::new(), BTreeMap::new());
        for sku in self.view.skus.iter() {
            let rows = self.graph.licensed_groups(&self.gauge.meter, self.tenant, sku.id).await?;
            let rows = rows.into_iter().filter_map(|it| self.understood(it, &mut odd));
            listed.extend(rows.map(|it| (it.id, it)));
        }
        let unsure = !(odd.is_empty() || planted(Mistake::OddIsNone));
        let mut seen = u64::try_from(listed.len()).unwrap_or(u64::MAX);
        let (wanted, left_out) = self.wanted(&listed, named.await, unsure);
        let known: &[Feed] = if self.begun.full { &[] } else { &self.view.groups.feeds };
        let (kept, fresh) = arranged(known, &wanted, self.begun.started);
        let mut feeds = Vec::new();
        for feed in kept {
            let cursor = Arc::clone(&feed.cursor.0);
            feeds.push(self.feed(feed.groups, Some(&cursor), &mut seen, &mut odd).await?);
        }
        for groups in fresh {
            feeds.push(self.feed(groups, None, &mut seen, &mut odd).await?);
        }
        Ok(Found { groups: FoundGroups { listed, unsure, feeds, wanted, left_out }, seen, odd })
    }

    /// The groups to follow: those that carry a SKU of ours, those that did and of which the list is
    /// not sure, those that a licence came through, and those that went lately. At most [`Groups::MAX`]; how many more there are.
    fn wanted(
        &self,
        listed: &BTreeMap<GroupId, GroupRow>,
        named: BTreeSet<GroupId>,
        unsure: bool,
    ) -> (BTreeSet<GroupId>, u32) {
        let now = self.begun.started;
        let known = self.view.groups.groups.values();
        let carried = known.filter(|it| unsure && !it.licences.is_empty()).map(|it| it.id);
        let gone = self
            .view
            .groups
            .groups
            .values()
            .filter(|it| it.gone.is_some_and(|(_, at)| now.duration_since(at) < GONE_SHOWN));
        let all = listed.keys().copied().chain(carried).chain(named).chain(gone.map(|it| it.id));
        let (mut wanted, mut left_out) = (BTreeSet::new(), BTreeSet::new());
        for group in all {
            if wanted.len() < Groups::MAX {
                wanted.insert(group);
            } else if !wanted.contains(&group) {
                left_out.insert(group);
            }
        }
        (wanted, u32::try_from(left_out.len()).unwrap_or(u32::MAX))
    }

    /// One sequence to its end; a cursor or page token that is dead costs a new beginning.
    async fn feed(
        &self,
        groups: Vec<GroupId>,
        cursor: Option<&str>,
        seen: &mut u64,
        odd: &mut Vec<OddRecord>,
    ) -> Result<ReadFeed, MicrosoftError> {
        let known = odd.len();
        let mut from = cursor;
        for last in [false, true] {
            match self.sequence(&groups, from, seen, odd).await {
                Ok((said, cursor)) => {
                    let feed = Feed { groups, cursor: (cursor, self.begun.started) };
                    // What was not understood may have named anybody.
                    let whole = from.is_none() && odd.len() == known;
                    return Ok(ReadFeed { feed, whole, said });
                }
                Err(error) if last => return Err(error),
                Err(error) if error.kind() == ErrorKind::RestartSequence => odd.truncate(known),
                Err(error) if error.kind() == ErrorKind::Resync && from.is_some() => {
                    odd.truncate(known);
                    from = None;
                }
                Err(error) => return Err(error),
            }
        }
        Err(MicrosoftError::new(ErrorKind::Transient, "a sequence of groups did not end"))
    }

    async fn sequence(
        &self,
        groups: &[GroupId],
        cursor: Option<&str>,
        seen: &mut u64,
        odd: &mut Vec<OddRecord>,
    ) -> Result<(BTreeMap<GroupId, SaidOfGroup>, Arc<str>), MicrosoftError> {
        let mut said: BTreeMap<GroupId, SaidOfGroup> = BTreeMap::new();
        let mut next: Option<Link> = None;
        loop {
            let from = match (&next, cursor) {
                (Some(link), _) => DeltaFrom::Next(link),
                (None, Some(cursor)) => DeltaFrom::Cursor(cursor),
                (None, None) => DeltaFrom::Start,
            };
            let page = self.graph.groups_page(&self.gauge.meter, self.tenant, groups, from).await?;
            for row in page.rows.into_iter().filter_map(|it| self.understood(it, odd)) {
                *seen = seen.saturating_add(1);
                // Others may be among them where the filter is not kept to.
                if groups.binary_search(&row.id).is_ok() {
                    said.entry(row.id).or_default().take(row);
                }
            }
            match page.end {
                PageEnd::Next(link) => next = Some(link),
                PageEnd::Delta(cursor) => return Ok((said, cursor)),
            }
        }
    }

    fn understood(&self, record: Read<GroupRow>, odd: &mut Vec<OddRecord>) -> Option<GroupRow> {
        match record {
            Read::Understood(it, _) => Some(it),
            Read::Odd { why, raw } => {
                warn!(tenant.id = %self.tenant, why, "A group could not be understood: kept as it came, skipped");
                let (at, key) = (self.begun.started, self.begun.key);
                odd.push(OddRecord { at, key, why: why.into(), raw });
                None
            }
        }
    }
}

/// The groups that licences came through.
pub(super) fn named(view: &TenantView) -> BTreeSet<GroupId> {
    let licences = view.users.iter().flat_map(|(_, it)| it.licences);
    let vias = licences.flat_map(|it| it.paths).map(|it| it.via);
    vias.filter_map(|via| match via {
        Via::Group(group) => Some(group),
        Via::Direct => None,
    })
    .collect()
}

/// Which sequences go on, and which groups begin a new one. Too many small ones begin anew together.
fn arranged(
    feeds: &[Feed],
    wanted: &BTreeSet<GroupId>,
    now: Timestamp,
) -> (Vec<Feed>, Vec<Vec<GroupId>>) {
    let chunks = |groups: Vec<GroupId>| -> Vec<Vec<GroupId>> {
        groups.chunks(Feed::MAX).map(<[_]>::to_vec).collect()
    };
    let fits = |it: &&Feed| {
        let issued = it.cursor.1;
        let young = issued <= now && now.duration_since(issued) < CURSOR_LIFE;
        young && it.groups.iter().any(|group| wanted.contains(group))
    };
    let mut kept: Vec<Feed> = feeds.iter().filter(fits).cloned().collect();
    // Who is left out now is forgotten, and begins anew if he is ever wanted again: what the sequence
    // tells until then nobody takes in.
    for feed in kept.iter_mut().filter(|_| !planted(Mistake::GoOnAfterAGap)) {
        feed.groups.retain(|group| wanted.contains(group));
    }
    let followed: BTreeSet<GroupId> = kept.iter().flat_map(|it| it.groups.clone()).collect();
    let fresh = chunks(wanted.difference(&followed).copied().collect());
    let enough = wanted.len().div_ceil(Feed::MAX).saturating_mul(2).saturating_add(2);
    if kept.len().saturating_add(fresh.len()) > enough {
        return (Vec::new(), chunks(wanted.iter().copied().collect()));
    }
    (kept, fresh)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planted::prove;
    use uuid::Uuid;

    fn group(n: u128) -> GroupId {
        GroupId::from_uuid(Uuid::from_u128(n))
    }

    fn feed(groups: std::ops::Range<u128>, hours: i64) -> Feed {
        let at = Timestamp::from_second(hours * 3_600).unwrap();
        Feed { groups: groups.map(group).collect(), cursor: ("c".into(), at) }
    }

    #[test]
    fn sequences_go_on_while_they_are_young_and_not_too_many() {
        let now = Timestamp::from_second(1_000 * 3_600).unwrap();
        let check =
            |feeds: &[Feed], wanted: std::ops::Range<u128>, kept: usize, fresh: &[usize]| {
                let wanted = wanted.map(group).collect();
                let (old, new) = arranged(feeds, &wanted, now);
                let new: Vec<usize> = new.iter().map(Vec::len).collect();
                assert_eq!((old.len(), &new[..]), (kept, fresh));
            };
        check(&[], 0..120, 0, &[50, 50, 20]);
        check(&[feed(0..50, 999)], 0..51, 1, &[1]);
        check(&[feed(0..50, 999)], 60..61, 0, &[1]);
        check(&[feed(0..50, 1_000 - 6 * 24)], 0..50, 0, &[50]);
        check(&[feed(0..50, 1_001)], 0..50, 0, &[50]);
        check(&[], 0..0, 0, &[]);
        let many: Vec<Feed> = (0..5).map(|n| feed(n..n + 1, 999)).collect();
        check(&many, 0..5, 0, &[5]);
        check(&many[..4], 0..4, 4, &[]);
        // 49 was not wanted for a while: what was told of it meanwhile is lost.
        let (kept, _) = arranged(&[feed(0..50, 999)], &(0..49).map(group).collect(), now);
        assert_eq!(kept[0].groups.len(), 49);
        check(&kept, 0..50, 1, &[1]);
    }

    #[test]
    fn who_was_left_out_begins_anew_and_whoever_lets_him_go_on_is_found_out() {
        let now = Timestamp::from_second(1_000 * 3_600).unwrap();
        prove(Mistake::GoOnAfterAGap, |chance| {
            let (mut feeds, mut before) = (Vec::new(), BTreeSet::new());
            for _ in 0..4 {
                let wanted: BTreeSet<_> = (0..3).map(group).filter(|_| chance.once_in(2)).collect();
                let (kept, fresh) = arranged(&feeds, &wanted, now);
                let anew: BTreeSet<_> = fresh.iter().flatten().copied().collect();
                if let Some(it) = wanted.difference(&before).find(|it| !anew.contains(it)) {
                    return Err(format!("{it} goes on after a gap: {kept:?}"));
                }
                let cursor = || ("c".into(), now);
                let begun = fresh.into_iter().map(|groups| Feed { groups, cursor: cursor() });
                feeds = kept.into_iter().chain(begun).collect();
                before = wanted;
            }
            Ok(())
        });
    }

    #[test]
    fn a_refusal_waits_for_the_next_period_and_a_hiccup_does_not() {
        let now = Timestamp::from_second(1_000_000).unwrap();
        let every = SignedDuration::from_hours(1);
        let ago = |s| now.checked_sub(SignedDuration::from_secs(s)).ok();
        let check = |last_run, failures, wanted| {
            let last_outcome = (failures > 0).then_some(Outcome::Failed);
            let state = SourceState { last_run, last_outcome, failures, ..SourceState::default() };
            assert_eq!(is_due(&state, every, now), wanted, "{last_run:?} {failures}");
        };
        check(None, 0, true);
        check(ago(3_600), 0, true);
        check(ago(3_599), 0, false);
        check(ago(-5), 0, true);
        check(ago(10), 1, true);
        check(ago(10), u32::MAX, false);
        check(ago(3_600), u32::MAX, true);
    }
}
