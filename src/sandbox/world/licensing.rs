//! Group-based licensing: membership is the cause, `assignedLicenses` the effect, some time later.
//! Source: graph-licensing.md 4.2.

use smallvec::SmallVec;

use super::catalog::Kind;
use super::tenant::{DIRECT, Life, Path, PathState, Tenant, Violation};

/// Seconds since 1970 as a path keeps them.
pub(crate) fn short(second: i64) -> u32 {
    u32::try_from(second).unwrap_or(0)
}

impl Tenant {
    /// Lets the background job of group-based licensing do what is due.
    pub(crate) fn settle(&mut self, now: i64) {
        while let Some((due, user)) = self.pending.first().copied() {
            if due > now {
                break;
            }
            self.pending.pop_first();
            self.reprocess(user, now);
        }
    }

    /// Group licences of these users are due at that second.
    pub(crate) fn schedule(&mut self, users: impl IntoIterator<Item = u32>, due: i64) {
        self.pending.extend(users.into_iter().map(|user| (due, user)));
    }

    /// Positions of the members of a group (direct ones: nesting is not followed).
    pub(crate) fn members(&self, group: u16) -> Vec<u32> {
        let users = self.enumerate().filter(|(_, user)| user.groups.contains(&group));
        users.map(|(at, _)| at).collect()
    }

    /// Positions of users with a path in error for a SKU: more units may help them.
    pub(crate) fn short_of(&self, kind: Kind) -> Vec<u32> {
        let lacks = |path: &Path| path.sku == kind && path.error == Violation::Count;
        let users = self.enumerate().filter(|(_, user)| user.paths.iter().any(lacks));
        users.map(|(at, _)| at).collect()
    }

    /// Are units of a SKU free?
    pub(crate) fn is_free(&self, kind: Kind) -> bool {
        self.sku(kind)
            .is_some_and(|sku| sku.consumed < sku.units.enabled.saturating_add(sku.units.warning))
    }

    /// Brings a user's inherited licences to what his groups say.
    fn reprocess(&mut self, at: u32, now: i64) {
        let Some(user) = self.user(at) else { return };
        // A deleted user keeps memberships and paths; restoring brings both back.
        if user.life != Life::Live {
            return;
        }
        let direct = user.paths.iter().copied().filter(|path| path.by == DIRECT);
        let mut paths: SmallVec<[Path; 1]> = direct.collect();
        for by in &user.groups {
            let licenses = self.groups.get(usize::from(*by)).map(|group| group.licenses.clone());
            let wanted = licenses.unwrap_or_default();
            let fits = |kind: Kind| {
                paths.iter().chain(&user.paths).any(|path| path.sku == kind && path.holds())
                    || self.is_free(kind)
            };
            // All or nothing: one product that fails blocks the group's others for this user.
            let all_fit = wanted.iter().all(|(kind, _)| fits(*kind));
            let inherited: SmallVec<[Path; 2]> = wanted
                .iter()
                .map(|(kind, disabled)| {
                    let (state, error) = match (all_fit, fits(*kind)) {
                        (true, _) => (PathState::Active, Violation::None),
                        (false, false) => (PathState::Error, Violation::Count),
                        (false, true) => (PathState::Error, Violation::Other),
                    };
                    let fresh = Path {
                        sku: *kind,
                        by: *by,
                        disabled: *disabled,
                        state,
                        error,
                        updated: short(now),
                    };
                    let same = |old: &&Path| Path { updated: fresh.updated, ..**old } == fresh;
                    user.paths.iter().find(same).copied().unwrap_or(fresh)
                })
                .collect();
            paths.extend(inherited);
        }
        self.edit(at, now, |user| user.paths = paths);
    }
}
