//! Mistakes that tests plant on purpose, to see that they are found: a net that never caught
//! anything may have no meshes.
//!
//! Outside of tests none of them exists: [`planted`] is a constant `false` there, and the compiler
//! leaves nothing of what hangs on it.

#[cfg(test)]
mod chance;

use crate::domain::{Announcement, Commit, Subscription, TenantId};

/// A mistake that somebody could make.
///
/// Source: reliability.md, test B3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(test), expect(dead_code, reason = "only tests plant mistakes"))]
pub(crate) enum Mistake {
    /// A delta's `@removed` is overlooked.
    IgnoreRemovals,
    /// A full read adds to what was known, and takes nothing away.
    MergeFullRead,
    /// The cursor is written before the data that it stands for.
    CursorFirst,
    /// Each page of a delta round is committed as it comes.
    CommitPages,
    /// A mass removal is applied at once.
    NoBrake,
    /// What one tenant's users hold is written to another tenant.
    ForeignTenant,
    /// A cursor that Microsoft no longer takes is tried again for ever.
    KeepDeadCursor,
    /// A run writes what it read, whatever look-ups found meanwhile.
    OvertakeLookups,
    /// A look-up writes what it read, whatever a run wrote meanwhile.
    LateLookup,
    /// A sweep that is gone on with takes its old pages for new ones.
    TrustOldPages,
    /// How old something is, is taken from the clock alone, which may have been set back.
    WallClock,
    /// A row of the list of groups that could not be understood counts as a group that carries nothing.
    OddIsNone,
    /// A group that was left out for a while goes on where the others of its sequence are.
    GoOnAfterAGap,
    /// What a page tells of a group's members stands for all of them.
    PageIsAll,
    /// What a webhook says is believed.
    TrustPayload,
    /// A webhook is acknowledged before it is on disk.
    AnswerFirst,
    /// A webhook that comes twice counts twice.
    NoDeduplication,
    /// A link is followed to wherever it leads.
    FollowForeignLink,
}

/// Whether a test has planted this mistake on this thread.
#[cfg(not(test))]
pub(crate) const fn planted(_mistake: Mistake) -> bool {
    false
}

/// Whose data it is: what was read of a tenant is written to that tenant.
#[cfg(not(test))]
pub(crate) const fn owner(tenant: TenantId) -> TenantId {
    tenant
}

/// What is written of a round: all of it at once.
#[cfg(not(test))]
pub(crate) fn parts(commit: Commit) -> [Commit; 1] {
    [commit]
}

/// What a webhook says of a subscription, beside what Microsoft says: nothing follows from it.
#[cfg(not(test))]
pub(crate) fn believed(_said: &Announcement, read: Subscription) -> Subscription {
    read
}

#[cfg(test)]
pub(crate) use chance::Chance;
#[cfg(test)]
pub(crate) use tests::{believed, owner, parts, plant, planted, prove, prove_within};

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::{Announcement, Chance, Commit, Mistake, Subscription, TenantId};
    use crate::domain::{TenantUsers, UserWrites};

    thread_local! {
        static PLANTED: Cell<Option<Mistake>> = const { Cell::new(None) };
    }

    /// Whether a test has planted this mistake on this thread.
    pub(crate) fn planted(mistake: Mistake) -> bool {
        PLANTED.get() == Some(mistake)
    }

    /// Whose data it is, or taken to be.
    pub(crate) fn owner(tenant: TenantId) -> TenantId {
        let swapped = uuid::Uuid::from_u128(tenant.as_uuid().as_u128() ^ 3);
        let foreign = TenantId::from_uuid(swapped).filter(|_| planted(Mistake::ForeignTenant));
        foreign.unwrap_or(tenant)
    }

    /// What is written of a round, and in which order.
    pub(crate) fn parts(commit: Commit) -> Vec<Commit> {
        if planted(Mistake::CursorFirst) {
            let cursor = Commit { sources: commit.sources.clone(), ..Commit::default() };
            return vec![cursor, commit];
        }
        if planted(Mistake::CommitPages) {
            let page = |it| Commit { users: vec![it], ..Commit::default() };
            let (users, rest) = (commit.users, Commit { users: Vec::new(), ..commit });
            return users.into_iter().flat_map(one_by_one).map(page).chain([rest]).collect();
        }
        vec![commit]
    }

    fn one_by_one(whole: TenantUsers) -> Vec<TenantUsers> {
        let tenant = whole.tenant;
        let one =
            |user, holds| TenantUsers { tenant, writes: UserWrites::Patch(vec![(user, holds)]) };
        match whole.writes {
            UserWrites::Patch(users) => {
                users.into_iter().map(|(it, holds)| one(it, holds)).collect()
            }
            UserWrites::Replace(users) => {
                users.iter().map(|(it, holds)| one(it, Some(holds))).collect()
            }
        }
    }

    /// What a subscription is, or taken to be.
    pub(crate) fn believed(said: &Announcement, read: Subscription) -> Subscription {
        if !planted(Mistake::TrustPayload) {
            return read;
        }
        let plan = said.plan.as_ref().unwrap_or(&read.plan);
        let plan = std::sync::Arc::clone(plan);
        Subscription { plan, quantity: said.quantity.or(read.quantity), ..read }
    }

    /// A law holds, and the mistake that would break it is caught by it.
    pub(crate) fn prove(mistake: Mistake, law: impl Fn(&mut Chance) -> Result<(), String>) {
        prove_within(mistake, 2_000, law);
    }

    /// As [`prove`], for a law that takes its time: so many seeds show that it holds.
    pub(crate) fn prove_within(
        mistake: Mistake,
        seeds: u64,
        law: impl Fn(&mut Chance) -> Result<(), String>,
    ) {
        let first_wrong = |seeds: std::ops::Range<u64>| {
            seeds.into_iter().find_map(|it| Some((it, law(&mut Chance::new(it)).err()?)))
        };
        if let Some((seed, what)) = first_wrong(0..seeds) {
            panic!("seed {seed}: {what}");
        }
        plant(Some(mistake));
        let found = first_wrong(0..100_000);
        plant(None);
        let (seed, what) = found.unwrap_or_else(|| panic!("{mistake:?} was not caught"));
        eprintln!("{mistake:?}: seed {seed}: {what}");
    }

    /// Plants a mistake on this thread, or takes it away.
    pub(crate) fn plant(mistake: Option<Mistake>) {
        PLANTED.set(mistake);
    }
}
