//! Entra's signing keys: kept fresh, kept through restarts, and never fetched at an attacker's
//! pace.
//!
//! One task ([`EntraKeys::run`]) fetches; requests only look, and at most ask it to look again.
//! So a fetch belongs to nobody who may hang up, and there is never more than one at a time.

use std::collections::{HashMap, VecDeque};
use std::error::Error;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use futures_util::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::domain::{Commit, Document};
use crate::store::Store;
use crate::tokens::KeySet;

/// The document of the store that keeps the last good set.
pub const DOCUMENT: &str = "entra-keys";

/// How often the keys are read anew without anybody asking.
///
/// Source: Entra, "Signing key rollover": check at least daily; `reliability.md` section 4.2.
const EVERY: Duration = Duration::from_hours(1);

/// How soon to try again after a failure, doubled each time up to [`EVERY`].
const RETRY_FIRST: Duration = Duration::from_secs(10);

/// The longest that one fetch may take.
const FETCH_MAX: Duration = Duration::from_secs(20);

/// Key ids that nobody knows may cause this many fetches in [`WINDOW`].
const FETCHES_IN_WINDOW: usize = 2;

/// See [`FETCHES_IN_WINDOW`]; also how long an id that was looked for in vain is not looked for.
const WINDOW: SignedDuration = SignedDuration::from_mins(5);

/// Ids looked for in vain that are remembered.
const VAIN_MAX: usize = 1_024;

/// Reads the set from Entra: a request with its own timeouts.
pub type Fetch = Arc<dyn Fn() -> BoxFuture<'static, Result<Vec<u8>, FetchError>> + Send + Sync>;

/// Tells the time.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The set could not be read.
#[derive(Debug, thiserror::Error)]
#[error("Entra's signing keys could not be read")]
pub struct FetchError(#[source] pub Box<dyn Error + Send + Sync>);

/// What is known of a key id.
#[derive(Clone, Debug)]
pub enum Lookup {
    /// A key of this id is in this set.
    Known(Arc<KeySet>),
    /// A set that was just read has none: the token is not good.
    Unknown,
    /// No set was ever read, or the one that would show it cannot be read now: whether the token
    /// is good cannot be told.
    ///
    /// Source: contract section 5; `marketplace-saas.md` section 8.5 (503, for Microsoft to come
    /// again).
    Unavailable,
}

/// Entra's signing keys of one authority.
pub struct EntraKeys {
    current: ArcSwapOption<KeySet>,
    store: Store,
    fetch: Fetch,
    clock: Clock,
    asked: Mutex<Asked>,
    look_again: Notify,
    /// Told at the end of each fetch: whether it brought a set.
    rounds: watch::Sender<bool>,
}

/// What requests have asked for.
#[derive(Default)]
struct Asked {
    /// Whether a fetch was asked for or is under way.
    pending: bool,
    /// When fetches were asked for, within the window.
    granted: VecDeque<Timestamp>,
    /// When the last fetch ended, if it brought a set.
    read: Option<Timestamp>,
    /// Ids that a fetch did not bring, and when.
    vain: HashMap<Box<str>, Timestamp>,
}

enum Claim {
    /// A fetch is on its way, for this id or anyway: its end will be told here.
    Round(watch::Receiver<bool>),
    /// None will run: this id was just looked for, or too many fetches were asked for. The flag says
    /// that a set which was just read lacks it.
    Refused { lacking: bool },
}

impl EntraKeys {
    /// The keys as the store has them: answers flow after a restart while Microsoft is down.
    pub fn new(store: Store, fetch: Fetch, clock: Clock) -> Self {
        let stored = store.mirror().document(DOCUMENT).map(Arc::clone);
        let stored = stored.and_then(|bytes| match KeySet::parse(&bytes) {
            Ok(keys) => Some(Arc::new(keys)),
            Err(error) => {
                let error = &error as &dyn Error;
                warn!(error, "Stored signing keys cannot be used, waiting for Entra's");
                None
            }
        });
        Self {
            current: ArcSwapOption::new(stored),
            store,
            fetch,
            clock,
            // The task begins with a fetch.
            asked: Mutex::new(Asked { pending: true, ..Asked::default() }),
            look_again: Notify::new(),
            rounds: watch::Sender::new(false),
        }
    }

    /// Whether any set was ever read.
    pub fn is_known(&self) -> bool {
        self.current.load().is_some()
    }

    /// Looks a key id up, and has Entra asked if nobody knows it: at most two times in five
    /// minutes, whatever ids are sent.
    pub async fn lookup(&self, kid: &str) -> Lookup {
        if let Some(known) = self.known(kid) {
            return Lookup::Known(known);
        }
        let lacking = match self.claim(kid) {
            Claim::Refused { lacking } => lacking,
            Claim::Round(mut end) => {
                // It ends with this object only; whoever waits has a timeout of his own.
                drop(end.changed().await);
                let read = *end.borrow();
                if let Some(known) = self.known(kid) {
                    return Lookup::Known(known);
                }
                // A fetch that failed has shown nothing of this id.
                if read {
                    self.in_vain(kid);
                }
                read
            }
        };
        if lacking { Lookup::Unknown } else { Lookup::Unavailable }
    }

    /// Reads the keys at once, then every hour, sooner after a failure and when asked to, until
    /// cancelled.
    pub async fn run(&self, cancel: CancellationToken) {
        let mut schedule = Schedule { failures: 0, next: Instant::now() };
        let mut scheduled = true;
        loop {
            let read = self.refresh().await;
            schedule.fetched(scheduled, read.is_ok(), Instant::now());
            if let Err(error) = &read {
                let (error, failures) = (error.as_ref() as &dyn Error, schedule.failures);
                warn!(error, failures, "Signing keys not read, going on with the last good");
            }
            self.end_round(read.is_ok());
            scheduled = tokio::select! {
                biased;
                () = cancel.cancelled() => return,
                () = self.look_again.notified() => false,
                () = sleep_until(schedule.next) => true,
            };
            self.asked().pending = true;
        }
    }

    async fn refresh(&self) -> Result<(), Box<dyn Error + Send + Sync>> {
        let bytes = timeout(FETCH_MAX, (self.fetch)()).await??;
        let keys = KeySet::parse(&bytes)?;
        let kept = keys.to_jwks();
        let count = keys.len();
        self.current.store(Some(Arc::new(keys)));
        if self.store.mirror().document(DOCUMENT).is_some_and(|it| it[..] == kept[..]) {
            return Ok(());
        }
        info!(keys = count, "Signing keys of Entra changed");
        let document = Document { name: DOCUMENT.into(), bytes: kept };
        let commit = Commit { documents: vec![document], ..Commit::default() };
        // They are in use already; only a restart while Microsoft is down would miss them.
        if let Err(error) = self.store.commit(commit).await {
            warn!(error = &error as &dyn Error, "Signing keys cannot be stored");
        }
        Ok(())
    }

    fn asked(&self) -> MutexGuard<'_, Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells all who wait how the fetch ended. Who comes later does not hear of this one: he asks
    /// under the same lock.
    fn end_round(&self, read: bool) {
        let now = (self.clock)();
        let mut asked = self.asked();
        asked.pending = false;
        asked.read = read.then_some(now);
        self.rounds.send_replace(read);
    }

    fn known(&self, kid: &str) -> Option<Arc<KeySet>> {
        self.current.load_full().filter(|it| it.has(kid))
    }

    /// Whether this id is worth a fetch; asks for it.
    fn claim(&self, kid: &str) -> Claim {
        let now = (self.clock)();
        let recent = |at: &Timestamp| now.duration_since(*at) < WINDOW;
        let mut asked = self.asked();
        if asked.vain.get(kid).is_some_and(recent) {
            return Claim::Refused { lacking: true };
        }
        if asked.pending {
            return Claim::Round(self.rounds.subscribe());
        }
        asked.granted.retain(recent);
        if asked.granted.len() >= FETCHES_IN_WINDOW {
            return Claim::Refused { lacking: asked.read.as_ref().is_some_and(recent) };
        }
        asked.granted.push_back(now);
        asked.pending = true;
        self.look_again.notify_one();
        Claim::Round(self.rounds.subscribe())
    }

    /// Remembers that this id was looked for.
    fn in_vain(&self, kid: &str) {
        let now = (self.clock)();
        let mut asked = self.asked();
        if asked.vain.len() >= VAIN_MAX {
            asked.vain.retain(|_, at| now.duration_since(*at) < WINDOW);
        }
        if asked.vain.len() < VAIN_MAX {
            asked.vain.insert(kid.into(), now);
        }
    }
}

/// When the keys are read without anybody asking.
struct Schedule {
    /// Failures of such fetches in a row.
    failures: u32,
    next: Instant,
}

impl Schedule {
    /// A fetch has ended; `scheduled` says that nobody asked for it.
    ///
    /// One that a key id asked for and that failed changes nothing: who sends ids of his own would
    /// otherwise cause more fetches than [`FETCHES_IN_WINDOW`].
    fn fetched(&mut self, scheduled: bool, read: bool, now: Instant) {
        match (read, scheduled) {
            (true, _) => self.failures = 0,
            (false, true) => self.failures = self.failures.saturating_add(1),
            (false, false) => return,
        }
        self.next = now + self.rest();
    }

    fn rest(&self) -> Duration {
        match self.failures.checked_sub(1) {
            None => EVERY,
            Some(doublings) => RETRY_FIRST.saturating_mul(1 << doublings.min(9)).min(EVERY),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_schedule_itself_fetched_in_vain_is_tried_again_sooner() {
        let now = Instant::now();
        let mut schedule = Schedule { failures: 0, next: now };
        // Scheduled or not, read or not, at which second; then the next one of the schedule's own.
        for (scheduled, read, at, next) in [
            (true, true, 0, 3_600),
            (false, false, 10, 3_600),
            (false, false, 20, 3_600),
            (false, true, 30, 3_630),
            (true, false, 3_630, 3_640),
            (false, false, 3_635, 3_640),
            (true, false, 3_640, 3_660),
            (true, false, 3_660, 3_700),
            (false, true, 3_690, 7_290),
        ] {
            schedule.fetched(scheduled, read, now + Duration::from_secs(at));
            let next_in = schedule.next.duration_since(now).as_secs();
            assert_eq!(next_in, next, "{scheduled} {read} {at}");
        }
        for _ in 0..100 {
            schedule.fetched(true, false, now);
        }
        assert_eq!(schedule.next.duration_since(now), EVERY, "and never less often");
    }
}
