//! Where parts of a reading lie in the simulation.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, ready};

use crate::domain::{Commit, ReadWrite, Said, TenantId, UserId};
use crate::store::StoreError;
use crate::sync::directory;

type Part = Vec<(UserId, Said)>;

/// See the module.
#[derive(Default)]
pub(super) struct Desk(Mutex<State>);

#[derive(Default)]
struct State {
    /// Commits of the round under way, durable at once.
    kept: Vec<Commit>,
    parts: BTreeMap<(TenantId, u32), Part>,
}

impl Desk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// What was made durable since it was last asked.
    pub(super) fn kept(&self) -> Vec<Commit> {
        std::mem::take(&mut self.state().kept)
    }

    /// As the store does with a commit.
    pub(super) fn apply(&self, commit: &Commit) {
        let mut state = self.state();
        for write in &commit.reads {
            match write {
                ReadWrite::LaidDown { tenant, read, users } => {
                    state.parts.insert((*tenant, read.parts), users.clone());
                }
                ReadWrite::Cleared { tenant, parts } => {
                    for part in 1..=*parts {
                        state.parts.remove(&(*tenant, part));
                    }
                }
            }
        }
    }

    /// Whether nothing of a tenant lies there.
    pub(super) fn is_clear(&self, tenant: TenantId) -> bool {
        self.state().parts.keys().all(|(of, _)| *of != tenant)
    }
}

impl directory::Desk for Desk {
    fn keep(&self, commit: Commit) -> BoxFuture<'_, Result<(), StoreError>> {
        self.apply(&commit);
        self.state().kept.push(commit);
        ready(Ok(())).boxed()
    }

    fn part(&self, tenant: TenantId, part: u32) -> BoxFuture<'_, Result<Part, StoreError>> {
        let found = self.state().parts.get(&(tenant, part)).cloned();
        ready(found.ok_or(StoreError::Closed)).boxed()
    }
}
