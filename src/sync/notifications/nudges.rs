//! Many notifications of a tenant are few look-ups, or one run. Pure: time is an argument.
//!
//! Bounded: tenants are those that we subscribed for, users of each are [`BY_NAME_MAX`].

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::domain::{TenantId, UserId};

/// How long the first notification waits for more of its tenant.
const WINDOW: Duration = Duration::from_secs(1);
/// Users who are looked up by name; of more a run reads what changed.
pub(super) const BY_NAME_MAX: usize = 20;
/// Between two runs over one tenant that notifications start.
const RUNS_APART: Duration = Duration::from_mins(1);
/// Tenants that are remembered as run over before those of long ago are forgotten.
const RAN_MAX: usize = 1_024;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Nudges {
    pending: HashMap<TenantId, Pending>,
    due: BTreeSet<(Instant, TenantId)>,
    ran: HashMap<TenantId, Instant>,
}

#[derive(Debug)]
struct Pending {
    due: Instant,
    /// With when each was first told of.
    users: Vec<(UserId, Timestamp)>,
    /// The whole tenant.
    all: bool,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// Look these up; each with when he was first told of.
    Users(TenantId, Vec<(UserId, Timestamp)>),
    /// Read what changed.
    Run(TenantId),
}

impl Nudges {
    /// A user changed.
    pub(super) fn user(&mut self, tenant: TenantId, user: UserId, at: Timestamp, now: Instant) {
        let pending = self.pending(tenant, now);
        if pending.all || pending.users.iter().any(|(it, _)| *it == user) {
            return;
        }
        if pending.users.len() < BY_NAME_MAX {
            pending.users.push((user, at));
        } else {
            self.tenant(tenant, now);
        }
    }

    /// Something changed that a run has to find.
    pub(super) fn tenant(&mut self, tenant: TenantId, now: Instant) {
        let not_before = self.ran.get(&tenant).map_or(now, |ran| *ran + RUNS_APART);
        let pending = self.pending(tenant, now);
        if pending.all {
            return;
        }
        let before = pending.due;
        (pending.all, pending.users) = (true, Vec::new());
        pending.due = before.max(not_before);
        let due = pending.due;
        self.due.remove(&(before, tenant));
        self.due.insert((due, tenant));
    }

    fn pending(&mut self, tenant: TenantId, now: Instant) -> &mut Pending {
        let due = &mut self.due;
        self.pending.entry(tenant).or_insert_with(|| {
            let pending = Pending { due: now + WINDOW, users: Vec::new(), all: false };
            due.insert((pending.due, tenant));
            pending
        })
    }

    /// When the next is due.
    pub(super) fn first_due(&self) -> Option<Instant> {
        self.due.first().map(|(due, _)| *due)
    }

    /// What is due by now, one after the other.
    pub(super) fn next(&mut self, now: Instant) -> Option<Work> {
        let (_, tenant) = self.due.first().copied().filter(|(due, _)| *due <= now)?;
        self.due.pop_first();
        let pending = self.pending.remove(&tenant)?;
        if !pending.all {
            return Some(Work::Users(tenant, pending.users));
        }
        if self.ran.len() >= RAN_MAX {
            self.ran.retain(|_, ran| now.saturating_duration_since(*ran) < RUNS_APART);
        }
        self.ran.insert(tenant, now);
        Some(Work::Run(tenant))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn tenant(n: u128) -> TenantId {
        TenantId::from_uuid(Uuid::from_u128(n)).unwrap()
    }

    fn user(n: usize) -> UserId {
        UserId::from_uuid(Uuid::from_u128(n.try_into().unwrap()))
    }

    fn all(nudges: &mut Nudges, now: Instant) -> Vec<Work> {
        std::iter::from_fn(|| nudges.next(now)).collect()
    }

    const AT: Timestamp = Timestamp::UNIX_EPOCH;

    #[test]
    fn duplicates_within_a_second_are_one_look_up_each() {
        let (mut nudges, now) = (Nudges::default(), Instant::now());
        for _ in 0..1_000 {
            nudges.user(tenant(1), user(1), AT, now);
            nudges.user(tenant(1), user(2), AT, now);
        }
        assert_eq!((nudges.next(now), nudges.first_due()), (None, Some(now + WINDOW)));
        let users = vec![(user(1), AT), (user(2), AT)];
        assert_eq!(all(&mut nudges, now + WINDOW), [Work::Users(tenant(1), users)]);
        assert_eq!(nudges.first_due(), None);
    }

    #[test]
    fn more_than_twenty_users_of_a_tenant_are_one_run_and_runs_are_a_minute_apart() {
        let (mut nudges, mut now) = (Nudges::default(), Instant::now());
        let began = now;
        let mut runs = Vec::new();
        // Three minutes of a script that touches everybody.
        for n in 0..18_000 {
            nudges.user(tenant(1), user(n), AT, now);
            nudges.user(tenant(2), user(1), AT, now);
            now += Duration::from_millis(10);
            for work in all(&mut nudges, now) {
                match work {
                    Work::Run(of) => {
                        assert_eq!(of, tenant(1));
                        runs.push((now - began).as_secs());
                    }
                    Work::Users(of, users) => {
                        assert!(of == tenant(2) && users.len() == 1 || users.len() <= BY_NAME_MAX);
                    }
                }
            }
        }
        assert_eq!(runs, [1, 61, 121], "and the small tenant is never held up");
    }

    #[test]
    fn the_last_of_a_burst_is_not_forgotten() {
        let (mut nudges, now) = (Nudges::default(), Instant::now());
        nudges.tenant(tenant(1), now);
        assert_eq!(all(&mut nudges, now + WINDOW), [Work::Run(tenant(1))]);
        nudges.tenant(tenant(1), now + WINDOW);
        assert_eq!(all(&mut nudges, now + WINDOW + WINDOW), []);
        assert_eq!(all(&mut nudges, now + WINDOW + RUNS_APART), [Work::Run(tenant(1))]);
    }
}
