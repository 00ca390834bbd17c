//! Mistakes that tests plant on purpose, to see that they are found: a net that never caught
//! anything may have no meshes.
//!
//! Outside of tests none of them exists: [`planted`] is a constant `false` there, and the compiler
//! leaves nothing of what hangs on it.

use crate::domain::{Commit, TenantId};

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

#[cfg(test)]
pub(crate) use tests::{owner, parts, plant, planted};

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::{Commit, Mistake, TenantId};
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
                users.into_iter().map(|(it, holds)| one(it, Some(holds))).collect()
            }
        }
    }

    /// Plants a mistake on this thread, or takes it away.
    pub(crate) fn plant(mistake: Option<Mistake>) {
        PLANTED.set(mistake);
    }
}
