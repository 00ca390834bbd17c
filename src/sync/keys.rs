//! Entra's signing keys: kept fresh, kept through restarts, and never fetched at an attacker's
//! pace.
//!
//! One task ([`EntraKeys::run`]) fetches; requests only look, and at most ask it to look again.
//! So a fetch belongs to nobody who may hang up, and there is never more than one at a time.

use std::collections::{HashMap, VecDeque};
use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use futures_util::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};
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
    /// There is none: the token is not good.
    Unknown,
    /// No set was ever read: whether the token is good cannot be told.
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
    rounds: watch::Sender<u64>,
}

/// What requests have asked for.
#[derive(Default)]
struct Asked {
    /// Whether a fetch was asked for or is under way.
    pending: bool,
    /// When fetches were asked for, within the window.
    granted: VecDeque<Timestamp>,
    /// Ids that a fetch did not bring, and when.
    vain: HashMap<Box<str>, Timestamp>,
}

enum Claim {
    /// A fetch may be asked for.
    Granted,
    /// One is on its way anyway.
    Shared,
    /// None will run: too many were asked for, or this id was just looked for.
    Refused,
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
            rounds: watch::Sender::new(0),
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
        let mut rounds = self.rounds.subscribe();
        let claim = self.claim(kid);
        if let Claim::Granted = claim {
            self.look_again.notify_one();
        }
        if let Claim::Granted | Claim::Shared = claim {
            // It ends with this object only; whoever waits has a timeout of his own.
            drop(rounds.changed().await);
            if let Some(known) = self.known(kid) {
                return Lookup::Known(known);
            }
            self.in_vain(kid);
        }
        if self.is_known() { Lookup::Unknown } else { Lookup::Unavailable }
    }

    /// Reads the keys at once, then every hour, sooner after a failure and when asked to, until
    /// cancelled.
    pub async fn run(&self, cancel: CancellationToken) {
        let mut failures = 0_u32;
        loop {
            match self.refresh().await {
                Ok(()) => failures = 0,
                Err(error) => {
                    failures = failures.saturating_add(1);
                    let error = error.as_ref() as &dyn Error;
                    warn!(error, failures, "Signing keys not read, going on with the last good");
                }
            }
            self.set_pending(false);
            self.rounds.send_modify(|it| *it = it.wrapping_add(1));
            tokio::select! {
                biased;
                () = cancel.cancelled() => return,
                () = self.look_again.notified() => {}
                () = sleep(rest(failures)) => {}
            }
            self.set_pending(true);
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

    fn set_pending(&self, pending: bool) {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).pending = pending;
    }

    fn known(&self, kid: &str) -> Option<Arc<KeySet>> {
        self.current.load_full().filter(|it| it.has(kid))
    }

    /// Whether this id is worth a fetch.
    fn claim(&self, kid: &str) -> Claim {
        let now = (self.clock)();
        let recent = |at: &Timestamp| now.duration_since(*at) < WINDOW;
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if asked.vain.get(kid).is_some_and(recent) {
            return Claim::Refused;
        }
        if asked.pending {
            return Claim::Shared;
        }
        asked.granted.retain(recent);
        if asked.granted.len() >= FETCHES_IN_WINDOW {
            return Claim::Refused;
        }
        asked.granted.push_back(now);
        asked.pending = true;
        Claim::Granted
    }

    /// Remembers that this id was looked for.
    fn in_vain(&self, kid: &str) {
        let now = (self.clock)();
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if asked.vain.len() >= VAIN_MAX {
            asked.vain.retain(|_, at| now.duration_since(*at) < WINDOW);
        }
        if asked.vain.len() < VAIN_MAX {
            asked.vain.insert(kid.into(), now);
        }
    }
}

/// How long to rest after so many failures in a row.
fn rest(failures: u32) -> Duration {
    match failures.checked_sub(1) {
        None => EVERY,
        Some(doublings) => RETRY_FIRST.saturating_mul(1 << doublings.min(9)).min(EVERY),
    }
}
