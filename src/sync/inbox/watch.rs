//! Watches how webhooks do: counts refused tokens without a write for each, says when somebody has
//! to look, and is asked by the listeners for the ledger.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::alarm::{self, Bell, Say, WebhookAlarm};
use crate::domain::{
    ForgedWebhooks, WebhookEntry, WebhookNote, has_passed, lateness, webhook_entries,
};
use crate::store::{Arrival, Store, WebhookFilter};
use crate::sync::Clock;

/// Between two rows of refused tokens, and between two log lines about them: however many come.
const NOTED_EVERY: SignedDuration = SignedDuration::from_mins(10);

/// Between two looks at whether an alarm is due.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// How far before the first row webhooks and notes are looked at: what belongs together lies no
/// further apart.
const BELONGS_WITHIN: SignedDuration = SignedDuration::from_hours(10);

/// Watches how webhooks do. Cheap to clone: all clones are one.
#[derive(Clone)]
pub struct Watch(Arc<Inner>);

struct Inner {
    store: Store,
    clock: Clock,
    alarm_after: SignedDuration,
    refused: Mutex<Refused>,
    /// In ms since 1970; `i64::MIN` while none has come since the start.
    last_valid: AtomicI64,
    wake: Notify,
    late: Counter,
    forged: Family<CheckLabel, Counter>,
}

/// Refused tokens that are not noted yet.
#[derive(Debug, Default)]
struct Refused {
    waiting: Option<ForgedWebhooks>,
    noted: Option<Timestamp>,
}

impl Refused {
    fn is_due(&self, now: Timestamp) -> bool {
        self.noted.is_none_or(|at| has_passed(NOTED_EVERY, at, now))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CheckLabel {
    check: &'static str,
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}

impl Watch {
    /// A watch over this store's webhooks; silence is an alarm after `alarm_after`
    /// (`[marketplace] alarm_after`).
    pub fn new(store: Store, clock: Clock, alarm_after: SignedDuration) -> Self {
        Self(Arc::new(Inner {
            store,
            clock,
            alarm_after,
            refused: Mutex::default(),
            last_valid: AtomicI64::new(i64::MIN),
            wake: Notify::new(),
            late: Counter::default(),
            forged: Family::default(),
        }))
    }

    /// A token was refused: `check` is a word of ours, never anything that was sent.
    pub fn refused(&self, check: &'static str) {
        self.0.forged.get_or_create(&CheckLabel { check }).inc();
        let now = (self.0.clock)();
        let due = {
            let mut refused = self.0.refused();
            let sum = refused.waiting.get_or_insert_with(|| ForgedWebhooks {
                from: now,
                until: now,
                checks: BTreeMap::new(),
            });
            sum.until = sum.until.max(now);
            let count = sum.checks.entry(check.into()).or_default();
            *count = count.saturating_add(1);
            refused.is_due(now)
        };
        if due {
            self.0.wake.notify_one();
        }
    }

    /// A webhook with a good token came, whether or not it can be kept.
    pub fn valid(&self) {
        let now = (self.0.clock)().as_millisecond();
        self.0.last_valid.fetch_max(now, Ordering::Relaxed);
    }

    /// Whether a webhook that comes now for the first time is late, by its own words or since what
    /// it tells was found already; to be asked before it is kept.
    pub fn is_late(&self, it: &Arrival) -> bool {
        lateness(it.sent, it.received).is_some()
            || self.0.store.webhook_is_missed(it.said.subscription, &it.said.action, it.received)
    }

    /// Counts a webhook that was late.
    pub fn late(&self) {
        self.0.late.inc();
    }

    /// When the last webhook came whose token was good; as far as is known after a restart.
    pub fn last_valid(&self) -> Option<Timestamp> {
        let heard = Timestamp::from_millisecond(self.0.last_valid.load(Ordering::Relaxed)).ok();
        heard.max(self.0.store.inbox().newest)
    }

    /// What is wrong now, if anything.
    pub fn alarm(&self) -> Option<WebhookAlarm> {
        let now = (self.0.clock)();
        // What is older than the last valid webhook is over.
        let hour_ago = now.checked_sub(alarm::REFUSED_WITHIN * 2).unwrap_or(now);
        let since = self.last_valid().map_or(Timestamp::MIN, |it| it.min(hour_ago));
        alarm::judge(&self.notes(since), self.last_valid(), self.0.alarm_after, now)
    }

    /// The ledger from then on, oldest first.
    pub fn ledger(&self, since: Timestamp) -> Vec<WebhookEntry> {
        let before = since.checked_sub(BELONGS_WITHIN).unwrap_or(since);
        let filter = WebhookFilter { since: Some(before), ..WebhookFilter::default() };
        let mut entries = webhook_entries(&self.0.store.webhooks(&filter), &self.notes(before));
        entries.retain(|it| it.at() >= since);
        entries
    }

    /// What was noted, and what will be.
    fn notes(&self, since: Timestamp) -> Vec<WebhookNote> {
        let mut notes = self.0.store.webhook_notes(since);
        notes.extend(self.0.refused().waiting.clone().map(WebhookNote::Forged));
        notes
    }

    /// Registers the figures under `entitled_…`.
    pub fn register(&self, registry: &mut Registry) {
        let help = "Webhooks that came long after what they tell, or after we had found it";
        registry.register("webhooks_late", help, self.0.late.clone());
        let help = "Webhooks refused for their token, by the check that failed";
        registry.register("webhooks_forged", help, self.0.forged.clone());
    }

    /// Notes refused tokens and says alarms until cancelled.
    pub async fn run(self, cancel: CancellationToken) {
        let mut bell = Bell::default();
        loop {
            self.note().await;
            self.ring(&mut bell);
            tokio::select! {
                biased;
                () = cancel.cancelled() => break,
                () = self.0.wake.notified() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
        if let Some(rest) = self.0.take(None) {
            self.write(rest).await;
        }
    }

    /// Writes what was refused down, if that is due.
    async fn note(&self) {
        if let Some(due) = self.0.take(Some((self.0.clock)())) {
            let (count, checks) = (due.count(), due.words());
            warn!(
                webhook.refused = count,
                checks,
                "Webhooks were refused for their tokens: if they were genuine, Microsoft takes that \
                 for refused changes; check [publisher] tenant and [marketplace] app_id against \
                 the offer's technical configuration"
            );
            self.write(due).await;
        }
    }

    async fn write(&self, note: ForgedWebhooks) {
        if let Err(error) = self.0.store.note_webhook(WebhookNote::Forged(note)).await {
            let error = &error as &dyn std::error::Error;
            warn!(error, "Refused webhooks cannot be noted");
        }
    }

    fn ring(&self, bell: &mut Bell) {
        let alarm = self.alarm();
        match (bell.hear(alarm.as_ref(), (self.0.clock)()), alarm) {
            (Some(Say::Ring), Some(alarm)) => {
                error!(alarm = alarm.as_str(), "{alarm}: {}", alarm.remedy());
            }
            (Some(Say::Over), _) => info!("Webhooks come as they should again"),
            (Some(Say::Ring) | None, _) => {}
        }
    }
}

impl Inner {
    fn refused(&self) -> MutexGuard<'_, Refused> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is to be noted: with a time only what is due by then.
    fn take(&self, now: Option<Timestamp>) -> Option<ForgedWebhooks> {
        let mut refused = self.refused();
        if refused.waiting.is_none() || now.is_some_and(|now| !refused.is_due(now)) {
            return None;
        }
        refused.noted = now;
        refused.waiting.take()
    }
}
