//! When refusals leave: at the same moments, however long a look took.

use std::time::{Duration, Instant};

/// Refusals leave at about multiples of this after their request came in: what a look at one key or
/// license costs more than at another, microseconds, tells nobody which of them exists. The timer adds
/// up to a millisecond, to all of them alike.
const REFUSED_AFTER: Duration = Duration::from_millis(10);

/// Waits until a refusal may leave whose request came in then.
pub(super) async fn refused(came: Instant) {
    tokio::time::sleep(until_refused(came.elapsed())).await;
}

/// How long a refusal that took so long already waits.
fn until_refused(took: Duration) -> Duration {
    let over = took.as_nanos() % REFUSED_AFTER.as_nanos();
    REFUSED_AFTER.saturating_sub(Duration::from_nanos(u64::try_from(over).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_leave_at_the_same_moments_whatever_they_took() {
        for micros in [0, 1, 309, 312, 9_999, 10_000, 10_001, 25_000] {
            let took = Duration::from_micros(micros);
            let left = took + until_refused(took);
            assert_eq!(left.as_micros() % REFUSED_AFTER.as_micros(), 0, "{took:?}");
            assert!(left > took && left <= took + REFUSED_AFTER, "{took:?}");
        }
    }
}
