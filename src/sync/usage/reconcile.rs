//! What Microsoft has of usage, against what we told it.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use tracing::warn;

use super::UsageSender;
use crate::domain::{SubscriptionId, UsageEvent, UsageState};
use crate::microsoft::{Meter, Read, UsageRow};
use crate::store::UsageFilter;
use crate::sync::SyncError;

/// Sums that differ by less are the same: doubles were added on the other side.
const SAME: f64 = 1e-6;

/// Usage of one subscription, dimension and plan on one day, here and there.
#[derive(Clone, Debug, PartialEq)]
pub struct Reconciled {
    /// The day's first moment (UTC).
    pub day: Timestamp,
    /// Whose.
    pub subscription: SubscriptionId,
    /// Of what.
    pub dimension: Arc<str>,
    /// On which plan.
    pub plan: Arc<str>,
    /// What we told, or tried to tell and found told.
    pub told: f64,
    /// By how many events.
    pub events: u64,
    /// What Microsoft says it was told.
    pub submitted: f64,
    /// What Microsoft bills so far; it may take a day.
    pub processed: f64,
    /// Microsoft's words for it; none where it has nothing.
    pub statuses: Vec<Arc<str>>,
}

impl Reconciled {
    /// Whether Microsoft was told what we told.
    pub fn agrees(&self) -> bool {
        (self.told - self.submitted).abs() <= SAME * self.told.abs().max(1.0)
    }
}

type Key = (Timestamp, SubscriptionId, Arc<str>, Arc<str>);

impl UsageSender {
    /// Compares the days from `since` on.
    ///
    /// # Errors
    ///
    /// [`SyncError::Microsoft`] when Microsoft's part cannot be read.
    pub async fn reconcile(&self, since: Timestamp) -> Result<Vec<Reconciled>, SyncError> {
        let (since, now) = (day_of(since), (self.0.clock)());
        let marketplace = self.0.microsoft.marketplace();
        let rows = marketplace.usage_rows(&Meter::new(), since, now).await?;
        let mut theirs = Vec::new();
        for row in rows {
            match row {
                Read::Understood(row, _) => theirs.push(row),
                Read::Odd { why, .. } => warn!(why, "A row of usage cannot be understood"),
            }
        }
        let filter = UsageFilter {
            since: Some(since),
            states: vec!["sent", "duplicate"],
            ..UsageFilter::default()
        };
        Ok(compared(&self.0.store.usage(&filter), &theirs))
    }
}

fn compared(ours: &[Arc<UsageEvent>], theirs: &[UsageRow]) -> Vec<Reconciled> {
    let mut all: BTreeMap<Key, Reconciled> = BTreeMap::new();
    let empty = |(day, subscription, dimension, plan): Key| Reconciled {
        day,
        subscription,
        dimension,
        plan,
        told: 0.0,
        events: 0,
        submitted: 0.0,
        processed: 0.0,
        statuses: Vec::new(),
    };
    let mut sums: BTreeMap<Key, u128> = BTreeMap::new();
    for it in ours.iter().filter(|it| it.state.over_since().is_some()) {
        debug_assert!(!matches!(it.state, UsageState::Dead { .. }), "it was never told");
        let (dimension, plan) = (Arc::clone(&it.key.dimension), Arc::clone(&it.plan));
        let key = (day_of(it.effective), it.key.subscription, dimension, plan);
        let sum = sums.entry(key.clone()).or_default();
        *sum = sum.saturating_add(u128::from(it.quantity.millionths()));
        let row = all.entry(key.clone()).or_insert_with(|| empty(key));
        row.events = row.events.saturating_add(1);
    }
    for (key, sum) in sums {
        let text = format!("{}.{:06}", sum / 1_000_000, sum % 1_000_000);
        if let Some(row) = all.get_mut(&key) {
            row.told = text.parse().unwrap_or_default();
        }
    }
    for it in theirs {
        let (dimension, plan) = (Arc::clone(&it.dimension), Arc::clone(&it.plan));
        let key = (day_of(it.day), it.subscription, dimension, plan);
        let row = all.entry(key.clone()).or_insert_with(|| empty(key));
        row.submitted += it.submitted;
        row.processed += it.processed;
        if !row.statuses.contains(&it.status) {
            row.statuses.push(Arc::clone(&it.status));
        }
    }
    all.into_values().collect()
}

/// The first moment of the day (UTC).
fn day_of(at: Timestamp) -> Timestamp {
    let second = at.as_second();
    Timestamp::from_second(second - second.rem_euclid(86_400)).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_one_day_are_summed_and_what_only_microsoft_has_is_shown() {
        let day: Timestamp = "2026-11-22T00:00:00Z".parse().unwrap();
        let row = |submitted: f64, status: &str| UsageRow {
            day,
            subscription: SubscriptionId::from_uuid(uuid::Uuid::from_u128(1)),
            dimension: "d".into(),
            plan: "p".into(),
            status: status.into(),
            submitted,
            processed: 0.0,
            events: None,
        };
        let rows = compared(&[], &[row(1.0, "Submitted"), row(2.5, "Accepted")]);
        assert_eq!(rows.len(), 1);
        assert!((rows[0].submitted - 3.5).abs() < SAME);
        assert_eq!(rows[0].statuses.len(), 2);
        assert!(!rows[0].agrees(), "we told nothing");
    }
}
