//! What was read of users' rights × the mirror → what changes. Pure.
//!
//! What the directory shows by itself is not kept: where it lists a plan's SKU, it is the one that
//! knows who holds it, and a second, slower witness would only contradict it for a while.
//!
//! An empty answer is the hard part: it may mean "nothing", "the wrong app asks" or "not yet". It
//! takes nothing from anybody before this app has seen rights of ours in this tenant; then at once
//! if somebody else there came with rights in the same pass, otherwise at a second look a whole
//! period later. If so many come without theirs that the brake holds (an app that lost its
//! association in Partner Center is shown nothing of anybody), it takes only from those after whose
//! last look somebody was seen with rights, or whom an operator releases. Whoever is known to hold
//! nothing is remembered where the directory does not list the tenant's licences: only so is "nothing"
//! told from "not read".

use std::collections::HashSet;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::domain::{
    Catalog, Cause, Change, EMPTY_MAX, Plan, Right, RightsSource, Share, TenantView, UserId,
    UserRights, has_passed,
};
use crate::microsoft::{BatchMiss, RightRow, RightsOf};

/// The longest text of Microsoft's that is kept of a right.
const TEXT_MAX: usize = 200;
/// The most rows that are kept of one user.
const ROWS_MAX: usize = 50;
/// How much older a note may be than what it notes, so that looks which find nothing write nothing.
const NOTE_EVERY: SignedDuration = SignedDuration::from_hours(1);

/// Who asked, when, and how long an empty answer waits for a second one.
#[derive(Clone)]
pub(super) struct Asking<'a> {
    /// The client id of our app.
    pub(super) app: &'a str,
    /// `[sync.directory] rights`.
    pub(super) every: SignedDuration,
    /// `[sync.directory] remove_limit`.
    pub(super) remove_limit: Share,
    /// When the reading began.
    pub(super) at: Timestamp,
    /// When it ended.
    pub(super) now: Timestamp,
    /// Which run it is.
    pub(super) cause: Cause,
    /// Whether the tenant has licences of ours that its directory does not list.
    pub(super) hides: bool,
}

/// What changes.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Planned {
    /// Users' rights; `None` forgets them.
    pub(super) rights: Vec<(UserId, Option<UserRights>)>,
    /// How far they are believed, if that differs.
    pub(super) source: Option<RightsSource>,
    /// What differs for somebody.
    pub(super) changes: Vec<Change>,
    /// Answers that were not understood, and why.
    pub(super) odd: Vec<(UserId, String)>,
    /// How many of how many holders the brake holds, if nobody came with rights and it does.
    pub(super) held: Option<(usize, usize)>,
}

/// See the module.
pub(super) fn plan(
    view: &TenantView,
    catalog: &Catalog,
    answers: &[RightsOf],
    asking: &Asking<'_>,
) -> Planned {
    let ours = Ours { view, catalog };
    let read: Vec<(UserId, Result<Vec<Right>, &BatchMiss>)> = answers
        .iter()
        .map(|(user, it)| (*user, it.as_ref().map(|rows| ours.rights(rows))))
        .collect();
    let has_ours = |rows: &[Right]| rows.iter().any(|it| ours.plans_of(it).next().is_some());
    let witnesses: HashSet<UserId> = read
        .iter()
        .filter(|(_, rows)| rows.as_ref().is_ok_and(|it| has_ours(it)))
        .map(|(user, _)| *user)
        .collect();
    let hidden = |it: &Right| ours.plans_of(it).next().is_some() && !ours.directory_shows(it);
    let mut rows = read.iter().filter_map(|(_, it)| it.as_ref().ok()).flatten();
    let asking = &Asking { hides: asking.hides || rows.any(hidden), ..asking.clone() };
    let held = if witnesses.is_empty() { held(&ours, &read, asking) } else { None };
    let mut planned = Planned { held, ..Planned::default() };
    for (user, rows) in read {
        let known = view.rights.get(user);
        // A look-up and a refreshing pass may overtake each other: the later question counts.
        if known.is_some_and(|it| it.read_at > asking.at && it.read_at <= asking.now) {
            continue;
        }
        let others = witnesses.iter().any(|it| *it != user);
        match rows {
            Ok(rows) => {
                let kept: Vec<Right> =
                    rows.into_iter().filter(|it| !ours.directory_shows(it)).collect();
                if kept.is_empty() {
                    let trust = if witnesses.contains(&user) {
                        Trust::Own
                    } else {
                        trust(view, others, asking)
                    };
                    planned.missed(view, user, known, trust, asking);
                } else {
                    planned.seen(view, user, UserRights::seen(kept, asking.at), asking);
                }
            }
            // Nobody follows from one who is gone, nor from an address that is: only if others are
            // still there is he believed to be.
            Err(BatchMiss::Gone) if others => {
                planned.missed(view, user, known, Trust::Own, asking);
            }
            Err(BatchMiss::Gone) => {}
            Err(BatchMiss::Odd(why)) => planned.odd.push((user, why.clone())),
        }
    }
    planned.make_room(view);
    planned.source = source(view, !witnesses.is_empty(), asking);
    planned
}

/// How many of how many holders would be without rights if what nobody bears witness to were
/// believed: in this pass and in those before; `None` if these are few enough to go.
fn held(
    ours: &Ours<'_>,
    read: &[(UserId, Result<Vec<Right>, &BatchMiss>)],
    asking: &Asking<'_>,
) -> Option<(usize, usize)> {
    let view = ours.view;
    let holds = |user: &UserId| view.rights.get(*user).is_some_and(|it| !it.rows.is_empty());
    let mut lost: HashSet<UserId> =
        view.rights.missing_after(witnessed(view, asking)).map(|(user, _)| user).collect();
    for (user, rows) in read.iter().filter(|(user, _)| holds(user)) {
        match rows {
            Ok(rows) if rows.iter().all(|it| ours.directory_shows(it)) => lost.insert(*user),
            Ok(_) => lost.remove(user),
            Err(_) => false,
        };
    }
    let total = view.rights.holders();
    asking.remove_limit.brakes(lost.len(), total).then_some((lost.len(), total))
}

/// When this app last saw anybody's rights. What lies ahead was noted before the clock was set back.
fn witnessed(view: &TenantView, asking: &Asking<'_>) -> Option<Timestamp> {
    let source = &view.rights_source;
    source.seen_at().filter(|at| source.is_proven_by(asking.app) && *at <= asking.at)
}

/// How far an empty answer is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trust {
    /// The answer itself shows that we see: at once.
    Own,
    /// At a second look, if the brake does not hold.
    Twice,
    /// Not at all: this app has seen nobody's rights there.
    None,
}

fn trust(view: &TenantView, others: bool, asking: &Asking<'_>) -> Trust {
    match (others, view.rights_source.is_proven_by(asking.app)) {
        (true, _) => Trust::Own,
        (false, true) => Trust::Twice,
        (false, false) => Trust::None,
    }
}

impl Planned {
    fn seen(&mut self, view: &TenantView, user: UserId, new: UserRights, asking: &Asking<'_>) {
        let known = view.rights.get(user);
        if known.is_none_or(|it| it.rows != new.rows) {
            self.change(view, user, known.map(|it| &**it), Some(&new), asking);
        }
        self.rights.push((user, Some(new)));
    }

    /// He came without what he is known to hold, or without anything.
    fn missed(
        &mut self,
        view: &TenantView,
        user: UserId,
        known: Option<&Arc<UserRights>>,
        trust: Trust,
        asking: &Asking<'_>,
    ) {
        let nothing = asking.hides.then(|| UserRights::seen(Vec::new(), asking.at));
        let Some(known) = known.filter(|it| !it.rows.is_empty()) else {
            let differs = known.is_some() != nothing.is_some();
            if trust != Trust::None && differs {
                self.rights.push((user, nothing));
            }
            return;
        };
        // What lies ahead was noted before the clock was set back.
        let since = known.missing_since.filter(|it| *it <= asking.at);
        let waited = since.is_some_and(|it| asking.at.duration_since(it) >= asking.every);
        let held = self.held.is_some() && since > witnessed(view, asking);
        match (trust, since) {
            (Trust::None, _) => {}
            (Trust::Twice, Some(_)) if !waited => {}
            // Marked anew, or whoever was not looked at for longer would never get his turn.
            (Trust::Twice, _) if since.is_none() || held => {
                let waiting = UserRights { missing_since: Some(asking.at), ..(**known).clone() };
                self.rights.push((user, Some(waiting)));
            }
            (Trust::Own | Trust::Twice, _) => {
                self.change(view, user, Some(known), None, asking);
                self.rights.push((user, nothing));
            }
        }
    }

    fn change(
        &mut self,
        view: &TenantView,
        user: UserId,
        before: Option<&UserRights>,
        after: Option<&UserRights>,
        asking: &Asking<'_>,
    ) {
        let who = (view.tenant.id, user);
        let change = Change::of_rights(asking.at, asking.cause.clone(), who, before, after);
        self.changes.push(change);
    }

    /// Of more who hold nothing than are remembered, those are forgotten who were looked at the longest
    /// ago. Nobody loses anything by it: the journal is not told.
    fn make_room(&mut self, view: &TenantView) {
        let known = view.rights.len().saturating_sub(view.rights.holders());
        let most = known.saturating_add(self.rights.len());
        if most <= EMPTY_MAX {
            return;
        }
        let empty = |it: &UserRights| it.rows.is_empty();
        let named: HashSet<UserId> = self.rights.iter().map(|(user, _)| *user).collect();
        let new = self.rights.iter().filter(|(_, it)| it.as_ref().is_some_and(empty)).count();
        let others = view.rights.iter().filter(|(user, it)| empty(it) && !named.contains(user));
        let mut oldest: Vec<_> = others.map(|(user, it)| (it.read_at, *user)).collect();
        let over = (oldest.len() + new).saturating_sub(EMPTY_MAX);
        oldest.sort_unstable();
        self.rights.extend(oldest.into_iter().take(over).map(|(_, user)| (user, None)));
    }
}

/// The notes on the source, if they are to be renewed.
fn source(view: &TenantView, proven: bool, asking: &Asking<'_>) -> Option<RightsSource> {
    let before = &view.rights_source;
    let old = |at: Timestamp| has_passed(NOTE_EVERY, at, asking.at);
    let mut source = RightsSource { refused: None, ..before.clone() };
    if source.read_at.is_none_or(old) {
        source.read_at = Some(asking.at);
    }
    // Whoever came without his rights waits for a witness after that.
    let awaited = view.rights.misses_any();
    let noted = before.proven.as_ref().is_some_and(|(app, at)| **app == *asking.app && !old(*at));
    if proven && (awaited || !noted) {
        source.proven = Some((asking.app.into(), asking.at));
    }
    (source != *before).then_some(source)
}

/// What of a tenant's rights is the publisher's.
pub(super) struct Ours<'a> {
    pub(super) view: &'a TenantView,
    pub(super) catalog: &'a Catalog,
}

impl<'a> Ours<'a> {
    /// Every plan of which Microsoft manages licences.
    pub(super) fn plans(&self) -> impl Iterator<Item = &'a Plan> + use<'a> {
        let plans = self.catalog.products().flat_map(|it| &it.plans);
        plans.filter(|it| it.channel.is_managed_per_user())
    }

    /// The plans that a right is one to.
    pub(super) fn plans_of<'r>(&'r self, right: &'r Right) -> impl Iterator<Item = &'a Plan> + 'r {
        self.plans().filter(|it| right.is_of(it, &self.view.mappings))
    }

    /// The one plan whose last part this is.
    pub(super) fn plan_called(&self, last_part: &str) -> Option<&'a Plan> {
        let mut found =
            self.plans().filter(|it| it.service_id.plan().eq_ignore_ascii_case(last_part));
        let first = found.next()?;
        found.all(|it| it.service_id == first.service_id).then_some(first)
    }

    fn directory_shows(&self, right: &Right) -> bool {
        let mut plans = self.plans_of(right).peekable();
        plans.peek().is_some() && plans.all(|it| self.view.lists(it))
    }

    /// The rows as they are kept: sorted, cut to what a licence can be.
    pub(super) fn rights(&self, rows: &[RightRow]) -> Vec<Right> {
        let short = |it: &str| -> Arc<str> { it.chars().take(TEXT_MAX).collect::<String>().into() };
        let right = |it: &RightRow| Right {
            identifier: short(&it.identifier),
            catalog: it.catalog.as_deref().map(short),
            state: short(&it.state),
            bare: self.plan_called(&it.identifier).map(|it| it.service_id.clone()),
        };
        let mut rights: Vec<Right> = rows.iter().map(right).collect();
        // Those of ours first, so that they are not the ones that are cut off.
        rights.sort_by_key(|it| self.plans_of(it).next().is_none());
        rights.truncate(ROWS_MAX);
        rights
    }
}

#[cfg(test)]
pub(in crate::sync::rights) mod tests;
