//! What a run cost: how many requests it sent and how long Microsoft made it wait; and what it
//! learned on the way of what the tenant permits.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::pace::Pace;
use crate::domain::{Access, Grant, Permission};

/// Something a run does that somebody who watches it may want to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A request goes out.
    Request,
    /// It waits this long because of Microsoft's limits: told to, or to stay under its budget.
    Waiting(Duration),
}

type Hook = Box<dyn Fn(Step) + Send + Sync>;

/// From here on a wait is a long one.
const LONG_WAIT: Duration = Duration::from_secs(5);

/// What somebody who calls Microsoft holds and others wait for: given back while he is made to wait.
pub trait Room: Send + Sync {
    /// Gives it back, if it is held and may be; whether it was.
    fn leave(&self) -> bool;

    /// Waits until there is room again.
    fn come_back(&self) -> BoxFuture<'_, ()>;
}

/// Counts for one run. Passed to every call by reference.
#[derive(Default)]
pub struct Meter {
    requests: AtomicU64,
    throttled_ms: AtomicU64,
    hook: Option<Hook>,
    urgent: bool,
    operators: bool,
    permits: Mutex<Permits>,
    room: Option<Arc<dyn Room>>,
}

/// What the tenant that a run reads permits, by its last token and by its answers.
#[derive(Clone, Copy, Default)]
struct Permits {
    token: Option<Access>,
    answers: Access,
}

impl fmt::Debug for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meter")
            .field("requests", &self.requests())
            .field("throttled", &self.throttled())
            .finish_non_exhaustive()
    }
}

impl Meter {
    /// A meter at zero.
    pub fn new() -> Self {
        Self::default()
    }

    /// A meter that tells `hook` of each step, for progress on a terminal.
    pub fn with_hook(hook: impl Fn(Step) + Send + Sync + 'static) -> Self {
        Self { hook: Some(Box::new(hook)), ..Self::default() }
    }

    /// The meter of one who holds this room, and leaves it during long waits.
    #[must_use]
    pub fn in_room(self, room: Arc<dyn Room>) -> Self {
        Self { room: Some(room), ..self }
    }

    /// The meter of one for whom somebody waits: his calls pass those that nobody waits for.
    #[must_use]
    pub fn urgent(self) -> Self {
        Self { urgent: true, ..self }
    }

    /// The meter of an operator's order: he may have mended what failed a moment ago, so it is tried.
    #[must_use]
    pub fn of_an_operator(self) -> Self {
        Self { operators: true, ..self }
    }

    pub(crate) fn is_operators(&self) -> bool {
        self.operators
    }

    pub(crate) fn is_urgent(&self) -> bool {
        self.urgent
    }

    /// Requests sent to Microsoft, those for tokens and repeated ones included.
    pub fn requests(&self) -> u64 {
        self.requests.load(Relaxed)
    }

    /// How long Microsoft's limits made the run wait.
    pub fn throttled(&self) -> Duration {
        Duration::from_millis(self.throttled_ms.load(Relaxed))
    }

    /// What the tenant permits, as far as this run was told; it reads one tenant only. A token says
    /// all it can, and an answer knows better: a permission may be gone before the token is, and a
    /// role that we do not know may give what the token seems to lack.
    pub fn access(&self) -> Access {
        let Permits { token, answers } = *self.permits();
        let said = token.unwrap_or_default();
        // Another permission shows the SKUs too: that they come is then no word on this one.
        let explained = |permission| {
            permission == Permission::LicenseAssignmentRead
                && said.grant(permission) == Grant::Missing
                && said.grant(Permission::OrganizationRead) == Grant::Granted
        };
        answers.all().fold(said, |access, (permission, grant)| match grant {
            Grant::Granted if explained(permission) => access,
            Grant::Granted | Grant::Missing => access.with(permission, grant),
            Grant::Unknown => access,
        })
    }

    /// A token says what is permitted.
    pub(crate) fn permitted_by_token(&self, access: Access) {
        self.permits().token = Some(access);
    }

    /// A request that needs this permission was answered, or refused for the want of it.
    pub(crate) fn answered(&self, permission: Option<Permission>, grant: Grant) {
        if let Some(permission) = permission {
            let mut permits = self.permits();
            permits.answers = permits.answers.with(permission, grant);
        }
    }

    fn permits(&self) -> MutexGuard<'_, Permits> {
        self.permits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn request(&self) {
        self.requests.fetch_add(1, Relaxed);
        self.tell(Step::Request);
    }

    /// Waits because of Microsoft's limits. Who waits long takes nobody's place meanwhile.
    pub(crate) async fn wait(&self, pace: &Pace, wait: Duration) {
        self.waiting(wait);
        let room = self.room.as_ref().filter(|_| wait >= LONG_WAIT);
        let left = room.filter(|room| room.leave());
        pace.wait(wait).await;
        if let Some(room) = left {
            room.come_back().await;
        }
    }

    fn waiting(&self, wait: Duration) {
        self.throttled_ms.fetch_add(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX), Relaxed);
        self.tell(Step::Waiting(wait));
    }

    fn tell(&self, step: Step) {
        if let Some(hook) = &self.hook {
            hook(step);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_knows_better_than_the_token() {
        let meter = Meter::new();
        assert_eq!(meter.access(), Access::default());
        meter.answered(Some(Permission::GroupRead), Grant::Granted);
        meter.answered(None, Grant::Missing);
        assert_eq!(meter.access().grant(Permission::GroupRead), Grant::Granted);
        assert_eq!(meter.access().grant(Permission::UserRead), Grant::Unknown);
        meter.permitted_by_token(Access::of_roles(["User.Read.All"]));
        assert_eq!(meter.access().grant(Permission::UserRead), Grant::Granted);
        assert_eq!(meter.access().grant(Permission::GroupRead), Grant::Granted, "by another role");
        meter.answered(Some(Permission::UserRead), Grant::Missing);
        meter.answered(Some(Permission::GroupRead), Grant::Missing);
        assert_eq!(meter.access().missing().count(), Permission::ALL.len());
    }

    #[test]
    fn skus_that_another_permission_shows_say_nothing_of_their_own() {
        let sku = Permission::LicenseAssignmentRead;
        let grant = |roles: &[&str]| {
            let meter = Meter::new();
            meter.permitted_by_token(Access::of_roles(roles.iter().copied()));
            meter.answered(Some(sku), Grant::Granted);
            meter.access().grant(sku)
        };
        assert_eq!(grant(&["User.Read.All", "Organization.Read.All"]), Grant::Missing);
        assert_eq!(grant(&["User.Read.All", "Something.New"]), Grant::Granted);
    }
}
