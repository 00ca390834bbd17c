//! One pass: close what is due, send what is closed, note what came of it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tracing::{error, info, warn};

use super::{Pace, USAGE_ALARM, UsageSender, verdict};
use crate::domain::{OddRecord, SourceKey, UsageEvent, UsageState};
use crate::microsoft::{ErrorKind, Meter, MicrosoftError, USAGE_BATCH_MAX, UsageSaid, UsageStatus};
use crate::store::{StoreError, UsageVerdict};
use crate::sync::SyncError;
use crate::telemetry;

/// How many events one pass sends at most.
const PASS_MAX: usize = 100 * USAGE_BATCH_MAX;

/// The rest after the first failure; it doubles with each that follows.
const REST: SignedDuration = SignedDuration::from_secs(15);
const REST_MAX: SignedDuration = SignedDuration::from_mins(5);
/// The longest rest while an event is about to run out, unless Microsoft asks for a longer one.
const REST_URGENT: SignedDuration = SignedDuration::from_secs(30);

impl UsageSender {
    /// Closes the sums that are due and sends what is closed, unless it rests after a failure.
    ///
    /// # Errors
    ///
    /// [`SyncError::Store`]: what was sent is not noted, and will be sent again.
    pub async fn pass(&self) -> Result<(), SyncError> {
        let mut pace = self.0.pace.lock().await;
        let now = (self.0.clock)();
        self.0.store.close_usage(now).await?;
        let closed = self.0.store.closed_usage(PASS_MAX);
        let Some(first) = closed.first() else {
            *pace = Pace::default();
            self.set_trouble(None);
            return Ok(());
        };
        let urgent = left(first, now) <= USAGE_ALARM;
        let hurried = self.0.hurry.swap(false, Ordering::Relaxed);
        if !hurried && pace.not_before.is_some_and(|at| now < at) {
            alarm(&mut pace, &closed, now);
            return Ok(());
        }
        for batch in closed.chunks(USAGE_BATCH_MAX) {
            if let Err(error) = self.batch(batch).await? {
                self.failed(&mut pace, &error).await?;
                return Ok(());
            }
        }
        self.set_trouble(None);
        // What Microsoft failed on, or did not speak of, is not sent again at once.
        let unsettled = self.0.store.closed_usage(PASS_MAX);
        alarm(&mut pace, &unsettled, now);
        pace.not_before = unsettled.first().map(|_| rested(&mut pace.failures, None, urgent, now));
        if unsettled.is_empty() {
            pace.failures = 0;
        }
        Ok(())
    }

    /// Sends a batch and notes what came of it. The inner error is Microsoft's.
    async fn batch(
        &self,
        events: &[Arc<UsageEvent>],
    ) -> Result<Result<(), MicrosoftError>, StoreError> {
        let marketplace = self.0.microsoft.marketplace();
        let meter = Meter::new();
        match marketplace.tell_usage(&meter, events).await {
            Ok(said) => {
                self.note(events, &said).await?;
                return Ok(Ok(()));
            }
            Err(error) if error.kind() != ErrorKind::Rejected => return Ok(Err(error)),
            // One of them spoils the others: each speaks for itself.
            Err(error) => warn!(
                error = &error as &dyn std::error::Error,
                "Microsoft refuses a batch of usage as a whole: its events are sent one by one"
            ),
        }
        for event in events {
            match marketplace.tell_one_usage(&meter, event).await {
                Ok(said) => self.note(std::slice::from_ref(event), &[said]).await?,
                Err(error) => return Ok(Err(error)),
            }
        }
        Ok(Ok(()))
    }

    async fn note(&self, events: &[Arc<UsageEvent>], said: &[UsageSaid]) -> Result<(), StoreError> {
        let now = (self.0.clock)();
        let (mut verdicts, mut odd) = (Vec::new(), Vec::new());
        for it in said {
            let Some(event) = events.iter().find(|event| event.id == it.id) else { continue };
            self.counted(verdict::label(&it.status), 1);
            if matches!(it.status, UsageStatus::Unrecognized(_)) {
                let why = "usage was answered with a status that is not known".into();
                let key = SourceKey::SUBSCRIPTIONS;
                odd.push(OddRecord { at: now, key, why, raw: Arc::clone(&it.raw) });
            }
            verdicts.push(verdict::of(event, it, now));
        }
        self.settle(verdicts, odd, now).await
    }

    async fn settle(
        &self,
        verdicts: Vec<UsageVerdict>,
        odd: Vec<OddRecord>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        for event in self.0.store.settle_usage(verdicts, odd, now).await? {
            tell(&event);
        }
        Ok(())
    }

    /// No answer came: it rests; what has run out meanwhile is given up.
    async fn failed(&self, pace: &mut Pace, error: &MicrosoftError) -> Result<(), StoreError> {
        let now = (self.0.clock)();
        // Batches before this one may have been taken.
        let closed = self.0.store.closed_usage(PASS_MAX);
        let why = telemetry::chain(error);
        self.counted("failed", 1);
        self.set_trouble(Some(&why));
        let urgent = closed.first().is_some_and(|it| left(it, now) <= USAGE_ALARM);
        pace.not_before = Some(rested(&mut pace.failures, error.asked_wait(), urgent, now));
        alarm(pace, &closed, now);
        warn!(why, usage.waiting = closed.len(), "Usage waits until Microsoft takes it");
        let over = closed.iter().filter(|it| left(it, now) <= SignedDuration::ZERO);
        let verdicts: Vec<_> = over.map(|it| verdict::run_out(it, &why, now)).collect();
        if verdicts.is_empty() { Ok(()) } else { self.settle(verdicts, Vec::new(), now).await }
    }
}

/// How long Microsoft still takes it.
fn left(event: &UsageEvent, now: Timestamp) -> SignedDuration {
    event.runs_out().duration_since(now)
}

/// Until when to rest.
fn rested(failures: &mut u32, asked: Option<Duration>, urgent: bool, now: Timestamp) -> Timestamp {
    let own = (REST * (1_i32 << (*failures).min(10))).min(REST_MAX);
    let own = if urgent { own.min(REST_URGENT) } else { own };
    *failures = failures.saturating_add(1);
    let asked = asked.and_then(|it| SignedDuration::try_from(it).ok()).unwrap_or_default();
    now.checked_add(own.max(asked)).unwrap_or(now)
}

/// Once for each event that was tried in vain and is about to run out.
fn alarm(pace: &mut Pace, closed: &[Arc<UsageEvent>], now: Timestamp) {
    for event in closed.iter().take_while(|it| left(it, now) <= USAGE_ALARM) {
        if pace.alarmed.insert(event.id) {
            error!(
                usage.id = %event.id,
                subscription.id = %event.key.subscription,
                usage.runs_out = %event.runs_out(),
                "Usage is about to run out: Microsoft takes it for 24 hours only, and has not \
                 taken it yet; see `entitled usage --state sending` and `entitled status`"
            );
        }
    }
}

fn tell(event: &UsageEvent) {
    let (id, subscription) = (event.id, event.key.subscription);
    match &event.state {
        UsageState::Dead { why, .. } => error!(
            usage.id = %id,
            subscription.id = %subscription,
            why = &**why,
            "Usage was given up and is not billed: see `entitled usage dead`"
        ),
        UsageState::Duplicate { differs: true, accepted, .. } => error!(
            usage.id = %id,
            subscription.id = %subscription,
            usage.accepted = accepted.as_deref(),
            usage.quantity = %event.quantity,
            "Microsoft had another quantity for this hour before, which counts and cannot be \
             corrected: does another program report usage of this subscription?"
        ),
        UsageState::Sent { .. } | UsageState::Duplicate { .. } => info!(
            usage.id = %id,
            subscription.id = %subscription,
            usage.quantity = %event.quantity,
            usage.state = event.state.as_str(),
            "Microsoft has usage"
        ),
        UsageState::Open | UsageState::Closed => {
            warn!(usage.id = %id, subscription.id = %subscription, "Microsoft failed on usage");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rests_double_and_are_short_when_time_runs_out_unless_microsoft_asks() {
        let now = Timestamp::UNIX_EPOCH;
        let check = |before: u32, asked: Option<u64>, urgent: bool, seconds: i64| {
            let mut failures = before;
            let until = rested(&mut failures, asked.map(Duration::from_secs), urgent, now);
            assert_eq!(until.as_second(), seconds, "{before} {asked:?} {urgent}");
            assert_eq!(failures, before + 1);
        };
        check(0, None, false, 15);
        check(2, None, false, 60);
        check(40, None, false, 300);
        check(40, None, true, 30);
        check(0, Some(120), true, 120);
    }
}
