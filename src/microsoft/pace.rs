//! Waiting: what Microsoft's headers ask for, and our own backoff. Clock, sleep and chance are
//! handed in, so that tests wait for nothing.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use jiff::fmt::rfc2822;
use reqwest::header::{HeaderMap, RETRY_AFTER};

use super::error::{ErrorKind, MicrosoftError};
use super::meter::Meter;

/// Reads the time.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;
/// Waits.
pub type Sleep = Arc<dyn Fn(Duration) -> BoxFuture<'static, ()> + Send + Sync>;
/// A number from 0 (inclusive) to 1 (exclusive), another one each time.
pub type Jitter = Arc<dyn Fn() -> f64 + Send + Sync>;

/// How often one call is tried while the trouble is transient.
const TRIES: u32 = 4;
/// The first backoff, at most.
const BACKOFF_BASE: Duration = Duration::from_secs(1);
/// Any backoff, at most.
const BACKOFF_MAX: Duration = Duration::from_mins(1);
/// How long one call waits for throttling in all; beyond it the caller is told and decides.
pub(crate) const THROTTLE_MAX: Duration = Duration::from_mins(10);

/// Clock, sleep and chance.
#[derive(Clone)]
pub(crate) struct Pace {
    clock: Clock,
    sleep: Sleep,
    jitter: Jitter,
}

impl Pace {
    pub(crate) fn new(clock: Clock, sleep: Sleep, jitter: Jitter) -> Self {
        Self { clock, sleep, jitter }
    }

    pub(crate) fn now(&self) -> Timestamp {
        (self.clock)()
    }

    pub(crate) async fn wait(&self, wait: Duration) {
        if !wait.is_zero() {
            (self.sleep)(wait).await;
        }
    }

    /// Exponential with full jitter: anything from nothing to twice the previous limit.
    fn backoff(&self, failures: u32) -> Duration {
        let doubled = 2_u32.saturating_pow(failures.saturating_sub(1).min(16));
        let limit = BACKOFF_BASE.saturating_mul(doubled).min(BACKOFF_MAX);
        limit.mul_f64((self.jitter)().clamp(0.0, 1.0))
    }

    /// Begins the tries of one call.
    pub(crate) fn tries<'a>(&'a self, meter: &'a Meter) -> Tries<'a> {
        Tries { pace: self, meter, failures: 0, throttles: 0, waited: Duration::ZERO }
    }
}

/// The tries of one call: transient trouble is tried up to four times with backoff; throttling is
/// waited for as long as Microsoft asks, never shorter, at most [`THROTTLE_MAX`] in all.
///
/// Source: graph-licensing.md section 8; marketplace-saas.md section 3.4.
pub(crate) struct Tries<'a> {
    pace: &'a Pace,
    meter: &'a Meter,
    failures: u32,
    throttles: u32,
    waited: Duration,
}

impl Tries<'_> {
    /// Waits until another try makes sense.
    ///
    /// # Errors
    ///
    /// The error itself, when another try makes none.
    pub(crate) async fn again(&mut self, error: MicrosoftError) -> Result<(), MicrosoftError> {
        if !error.may_try_again() {
            return Err(error);
        }
        if error.kind() == ErrorKind::Throttled {
            return self.throttled(error).await;
        }
        self.failures = self.failures.saturating_add(1);
        if self.failures >= TRIES {
            return Err(error);
        }
        let wait = self.pace.backoff(self.failures);
        tracing::debug!(
            error = &error as &dyn std::error::Error,
            wait_s = wait.as_secs_f64(),
            "trying a call to Microsoft again"
        );
        self.pace.wait(wait).await;
        Ok(())
    }

    async fn throttled(&mut self, error: MicrosoftError) -> Result<(), MicrosoftError> {
        self.throttles = self.throttles.saturating_add(1);
        let own = self.pace.backoff(self.throttles).max(BACKOFF_BASE);
        let wait = error.asked_wait().unwrap_or(own);
        self.waited = self.waited.saturating_add(wait);
        if self.waited > THROTTLE_MAX {
            return Err(error.asking(Some(wait)));
        }
        // Where there is a gate, the next try waits at it, together with all others.
        if !error.is_held() {
            self.meter.wait(self.pace, wait).await;
        }
        Ok(())
    }
}

/// How long the server asks us to wait before the next request, if it does.
///
/// Unit: on the wire whole seconds (`120`) or an HTTP date, which is measured against `now`; at
/// least 1 s from here on (zero would spin). `None` when the header is absent or says nothing
/// that can be understood: the caller's own backoff is then the wait.
///
/// Source: RFC 9110 section 10.2.3; graph-licensing.md section 8.
pub(crate) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?;
    retry_after_text(text, now)
}

/// [`retry_after`] of the bare value, as the items of a `$batch` carry it.
pub(crate) fn retry_after_text(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    let seconds = text.parse::<u64>().ok().map(Duration::from_secs);
    let until = |date: jiff::Zoned| {
        // Rounded up: a date names whole seconds, and earlier is too early.
        let wait = Duration::try_from(now.duration_until(date.timestamp())).unwrap_or_default();
        Duration::from_secs(wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0)))
    };
    let asked = seconds.or_else(|| rfc2822::parse(text).ok().map(until))?;
    Some(asked.max(Duration::from_secs(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now: Timestamp = "2026-11-22T10:00:00.5Z".parse().unwrap();
        let check = |text: &str, seconds: Option<u64>| {
            assert_eq!(retry_after_text(text, now), seconds.map(Duration::from_secs), "{text}");
        };
        check("7", Some(7));
        check(" 120 ", Some(120));
        check("0", Some(1));
        check("Sun, 22 Nov 2026 10:00:30 GMT", Some(30));
        check("Sun, 22 Nov 2026 09:00:00 GMT", Some(1));
        check("soon", None);
        check("-5", None);
        check("", None);
    }

    #[test]
    fn backoff_doubles_up_to_its_limit() {
        let (clock, sleep): (Clock, Sleep) =
            (Arc::new(|| Timestamp::UNIX_EPOCH), Arc::new(|_| Box::pin(async {})));
        let pace = Pace::new(clock, sleep, Arc::new(|| 1.0));
        let seconds: Vec<u64> = (1..9).map(|it| pace.backoff(it).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 60, 60]);
    }
}
