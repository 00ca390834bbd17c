//! What a run cost: how many requests it sent and how long Microsoft made it wait.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Something a run does that somebody who watches it may want to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A request goes out.
    Request,
    /// It waits this long because of Microsoft's limits: told to, or to stay under its budget.
    Waiting(Duration),
}

type Hook = Box<dyn Fn(Step) + Send + Sync>;

/// Counts for one run. Passed to every call by reference.
#[derive(Default)]
pub struct Meter {
    requests: AtomicU64,
    throttled_ms: AtomicU64,
    hook: Option<Hook>,
    urgent: bool,
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

    /// The meter of one for whom somebody waits: his calls pass those that nobody waits for.
    #[must_use]
    pub fn urgent(self) -> Self {
        Self { urgent: true, ..self }
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

    pub(crate) fn request(&self) {
        self.requests.fetch_add(1, Relaxed);
        self.tell(Step::Request);
    }

    pub(crate) fn waiting(&self, wait: Duration) {
        self.throttled_ms.fetch_add(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX), Relaxed);
        self.tell(Step::Waiting(wait));
    }

    fn tell(&self, step: Step) {
        if let Some(hook) = &self.hook {
            hook(step);
        }
    }
}
