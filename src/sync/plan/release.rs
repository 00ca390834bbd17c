//! What the brake holds, written down so that an operator can let go of it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::domain::{
    Cause, Change, Commit, Entity, Fact, HeldBack, Licence, Outcome, RunId, Share, Sku, SkuId,
    SourceKey, SourceState, TenantUsers, TenantView, UserId, UserLicences, UserWrites,
};

/// What a run no longer had, while the brake holds it.
#[derive(Default)]
pub(super) struct Missing {
    users: BTreeMap<SkuId, Vec<UserId>>,
    pub(super) skus: Vec<SkuId>,
}

impl Missing {
    /// A user was read without these.
    pub(super) fn user(&mut self, user: UserId, skus: &[SkuId]) {
        for sku in skus {
            self.users.entry(*sku).or_default().push(user);
        }
    }

    pub(super) fn held_back(self, run: RunId, at: Timestamp, total: usize) -> HeldBack {
        let users = self.users.into_iter().map(|(sku, mut users)| {
            users.sort_unstable();
            (sku, users.into())
        });
        let total = u64::try_from(total).unwrap_or(u64::MAX);
        HeldBack { run, at, total, users: users.collect(), skus: self.skus }
    }
}

/// What is held after a reading that does not say all, such as a look-up of one user or a full one with
/// records that could not be understood: it neither confirms nor drops that users were read with less.
/// The list of SKUs is always whole.
pub(super) fn kept(
    held: Option<&HeldBack>,
    new: Option<HeldBack>,
    listed: &[Sku],
) -> Option<HeldBack> {
    let Some(held) = held else { return new };
    let (more, mut skus) = new.map(|it| (it.users, it.skus)).unwrap_or_default();
    let mut users = held.users.clone();
    for (sku, more) in more {
        let of_sku = users.entry(sku).or_default();
        let all: BTreeSet<UserId> = of_sku.iter().chain(more.iter()).copied().collect();
        *of_sku = all.into_iter().collect();
    }
    let marked = |id: &SkuId| listed.iter().any(|it| it.id == *id && it.missing_since.is_some());
    skus.extend(held.skus.iter().copied().filter(marked));
    skus.sort_unstable();
    skus.dedup();
    let anything = !(skus.is_empty() && users.is_empty());
    anything.then(|| HeldBack { skus, users, ..held.clone() })
}

/// Lets go of what the brake holds, seats and usage rights: it is removed as the read that missed
/// it said, with an entry in the journal for each and one for who released it. `None` if nothing is
/// held. What a later round changed stays as it is.
pub fn release(
    view: &TenantView,
    remove_limit: Share,
    cause: &Cause,
    now: Timestamp,
) -> Option<Commit> {
    let mut commit = Commit::default();
    if let Some(held) = view.held.as_deref() {
        seats(view, held, cause, now, &mut commit);
    }
    rights(view, &view.rights_held(remove_limit), cause, now, &mut commit);
    (!commit.changes.is_empty()).then_some(commit)
}

/// Nothing is remembered of these users: what they have is what the next look shows.
fn rights(view: &TenantView, held: &[UserId], cause: &Cause, now: Timestamp, commit: &mut Commit) {
    if held.is_empty() {
        return;
    }
    let tenant = view.tenant.id;
    let (count, of) = (held.len(), view.rights.holders());
    let words =
        format!("held back: {count} of {of} users' usage rights, which were shown no longer");
    commit.changes.push(noted(view, words, cause, now));
    for user in held {
        let before = view.rights.get(*user).map(|it| &**it);
        commit.changes.push(Change::of_rights(now, cause.clone(), (tenant, *user), before, None));
        commit.rights.push((tenant, *user, None));
    }
}

fn seats(view: &TenantView, held: &HeldBack, cause: &Cause, now: Timestamp, commit: &mut Commit) {
    let tenant = view.tenant.id;
    commit.held.push((tenant, None));
    commit.sources.push((SourceKey::directory(tenant), freed(&view.directory)));
    commit.changes.push(noted(view, held.told(view.directory.held_back), cause, now));
    let mut lost: BTreeMap<UserId, Vec<SkuId>> = BTreeMap::new();
    for (sku, users) in &held.users {
        for user in users.iter() {
            lost.entry(*user).or_default().push(*sku);
        }
    }
    let mut writes = Vec::new();
    for (user, skus) in lost {
        let Some(before) = view.users.get(user).filter(|it| it.missing_since.is_some()) else {
            continue;
        };
        let kept = before.licences.iter().filter(|it: &&Licence| !skus.contains(&it.sku)).cloned();
        let after = UserLicences { unread: before.unread, ..UserLicences::new(kept) };
        let after = Some(after).filter(|it| !it.is_empty());
        let before = UserLicences { missing_since: None, ..before };
        let who = (tenant, user);
        let change = Change::of_user(now, cause.clone(), who, Some(before), after.clone());
        commit.changes.push(change);
        writes.push((user, after));
    }
    if !writes.is_empty() {
        commit.users.push(TenantUsers { tenant, writes: UserWrites::Patch(writes) });
    }
    let gone = |it: &&Sku| it.missing_since.is_some() && held.skus.contains(&it.id);
    for sku in view.skus.iter().filter(gone) {
        let of = (tenant, sku.id);
        commit.changes.push(Change::of_sku(now, cause.clone(), of, Some(sku), None));
    }
    if view.skus.iter().any(|it| gone(&it)) {
        let left = view.skus.iter().filter(|it| !gone(it)).cloned().collect();
        commit.skus.push((tenant, left));
    }
}

/// The source's state without what the brake said. When it was completely read the next run says.
fn freed(state: &SourceState) -> SourceState {
    let braked = state.last_outcome == Some(Outcome::Partial);
    let last_error = state.last_error.clone().filter(|_| !braked);
    SourceState { held_back: 0, last_error, ..state.clone() }
}

/// Who let go of what.
fn noted(view: &TenantView, held: String, cause: &Cause, at: Timestamp) -> Change {
    let by = cause.operator().unwrap_or_else(|| cause.to_string());
    let tenant = view.tenant.id;
    Change {
        at,
        cause: cause.clone(),
        entity: Entity::Tenant,
        id: tenant.to_string().into(),
        tenant: Some(tenant),
        user: None,
        before: Some(Fact::Words(held.into())),
        after: Some(Fact::Words(format!("released by {by}").into())),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Found;
    use super::super::tests::{apply, enumerate, holds, mirror_of, present, sku, tenant, user};
    use super::*;
    use crate::domain::{Right, UserRights};

    const OPS: Cause = Cause::Operator(7);

    /// The tenant after the release, and what it changed.
    fn released(view: &TenantView) -> (TenantView, Commit) {
        let mirror = mirror_of(view);
        let commit = release(
            mirror.tenant(view.tenant.id).unwrap(),
            Share::FIFTH,
            &OPS,
            Timestamp::UNIX_EPOCH,
        );
        let commit = commit.unwrap();
        let after = mirror.applied(&commit);
        (after.tenant(view.tenant.id).unwrap().as_ref().clone(), commit)
    }

    #[test]
    fn what_is_held_goes_with_an_entry_for_each_and_nothing_else_does() {
        let (mut held, planned) = enumerate(&tenant(30), 1, &[1, 2]);
        assert_eq!(planned.held, Some((28, 30)));
        held.directory.held_back = 28;
        let back = held.held.as_deref().unwrap();
        assert_eq!((back.run, back.total), (RunId(1), 30));
        assert!(back.holds(user(3), sku(1).id) && !back.holds(user(2), sku(1).id));
        let (after, commit) = released(&held);
        assert_eq!((present(&after), commit.changes.len()), (vec![1, 2], 1 + 28));
        let words = |it: &str| Some(Fact::Words(it.into()));
        let note = commit.changes.first().unwrap();
        assert_eq!(note.before, words("held back: 28 of 30 seats, which r1 no longer saw"));
        assert_eq!(note.after, words("released by user id 7"));
        assert!(commit.changes.iter().all(|it| it.cause == OPS));
        assert_eq!(after.held.as_deref(), None);
        assert!(release(&after, Share::FIFTH, &OPS, Timestamp::UNIX_EPOCH).is_none(), "once");
    }

    #[test]
    fn a_user_who_came_back_or_never_lost_all_keeps_what_he_has() {
        let (mut held, _) = enumerate(&tenant(30), 1, &[1]);
        // Told by a later round: his mark is gone.
        held.users = held.users.patched(&[(user(9), Some(holds(1)))]);
        // He holds another of our SKUs that was not missed.
        let both = UserLicences::new([holds(1), holds(2)].into_iter().flat_map(|it| it.licences));
        let both = UserLicences { missing_since: Some(RunId(1)), ..both };
        held.users = held.users.patched(&[(user(10), Some(both))]);
        let (after, _) = released(&held);
        assert_eq!(present(&after), [1, 9, 10]);
        assert_eq!(after.users.get(user(10)), Some(holds(2)));
    }

    #[test]
    fn who_was_not_understood_stays_one_of_whom_nobody_knows() {
        let (mut held, _) = enumerate(&tenant(30), 1, &[1]);
        let marked = held.users.get(user(9)).unwrap();
        let marked = UserLicences { unread: true, ..marked };
        held.users = held.users.patched(&[(user(9), Some(marked))]);
        let (after, commit) = released(&held);
        assert_eq!(after.users.get(user(9)), Some(UserLicences::unread()));
        assert_eq!((after.users.licensed(), commit.changes.len()), (1, 1 + 29));
    }

    #[test]
    fn a_look_at_one_user_neither_confirms_nor_drops_what_is_held() {
        let (held, _) = enumerate(&tenant(30), 1, &[1, 2]);
        let found = Found {
            skus: held.skus.to_vec(),
            told: [(user(3), None), (user(2), Some(holds(1)))].into(),
            ..Found::default()
        };
        let (looked, planned) = apply(&held, found, 2);
        assert_eq!((planned.held, looked.held.as_deref()), (None, held.held.as_deref()));
        assert_eq!(present(&looked).len(), 29, "he was told of in so many words");
        let (after, commit) = released(&looked);
        assert_eq!((present(&after), commit.changes.len()), (vec![1, 2], 1 + 27));
    }

    #[test]
    fn held_usage_rights_go_with_an_entry_for_each() {
        let mut view = tenant(3);
        for n in 1..=7 {
            let rights = |missing_since| UserRights {
                rows: vec![Right {
                    identifier: "p.panel.team".into(),
                    catalog: None,
                    state: "active".into(),
                    bare: None,
                }],
                read_at: Timestamp::UNIX_EPOCH,
                missing_since,
            };
            let missing = (n > 1).then_some(Timestamp::UNIX_EPOCH);
            view.rights.insert(user(n), rights(missing).into());
        }
        let of = |view: &TenantView| release(view, Share::FIFTH, &OPS, Timestamp::UNIX_EPOCH);
        let commit = of(&view).unwrap();
        assert_eq!((commit.rights.len(), commit.changes.len()), (6, 1 + 6));
        assert!(commit.rights.iter().all(|(_, who, it)| *who != user(1) && it.is_none()));
        let words = "held back: 6 of 7 users' usage rights, which were shown no longer";
        assert_eq!(commit.changes[0].before, Some(Fact::Words(words.into())));
        assert!(commit.held.is_empty() && commit.sources.is_empty(), "no seats were");
        // Somebody was seen with rights since: the next look takes what is gone, and no brake holds it.
        view.rights_source.proven = Some(("app".into(), Timestamp::UNIX_EPOCH));
        assert_eq!(of(&view).map(|it| it.changes.len()), None);
    }

    #[test]
    fn a_read_that_was_not_understood_whole_neither_confirms_nor_drops_what_is_held() {
        let (held, _) = enumerate(&tenant(30), 1, &[1, 2]);
        // Whom the list did not name it has as the mirror has them; of two it says that they hold nothing.
        let listed = held.users.patched(&[(user(1), None), (user(3), None)]);
        let found = Found {
            skus: held.skus.to_vec(),
            enumerated: Some(listed),
            unsure: true,
            ..Found::default()
        };
        let (again, planned) = apply(&held, found, 2);
        assert_eq!((planned.held, planned.still), (None, true));
        assert_eq!(again.held.as_deref(), held.held.as_deref());
        assert_eq!(present(&again).len(), 28, "3 was missed twice, 1 is few enough to go");
        let (gone, planned) = enumerate(&again, 3, &[2]);
        assert_eq!((planned.held, planned.still, present(&gone)), (None, false, vec![2]));
    }

    #[test]
    fn what_two_reads_miss_of_different_users_is_held_together() {
        let back = |users: &[u128]| {
            let mut missing = Missing::default();
            users.iter().for_each(|it| missing.user(user(*it), &[sku(1).id]));
            missing.held_back(RunId(1), Timestamp::UNIX_EPOCH, 30)
        };
        let both = kept(Some(&back(&[3, 9])), Some(back(&[5])), &[]).unwrap();
        assert!([3, 5, 9].into_iter().all(|it| both.holds(user(it), sku(1).id)));
    }

    #[test]
    fn a_second_read_that_misses_the_same_leaves_nothing_to_release() {
        let (held, _) = enumerate(&tenant(30), 1, &[1]);
        let (gone, planned) = enumerate(&held, 2, &[1]);
        assert_eq!((planned.held, gone.held.as_deref()), (None, None));
        assert!(release(&gone, Share::FIFTH, &OPS, Timestamp::UNIX_EPOCH).is_none());
    }
}
