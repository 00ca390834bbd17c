//! Facts of which a test says only what matters to it.

use entitled::domain::{Party, Subscription, SubscriptionId, SubscriptionStatus};
use jiff::Timestamp;
use uuid::Uuid;

/// A live subscription, of nobody.
pub fn subscription(id: u128) -> Subscription {
    Subscription {
        id: SubscriptionId::from_uuid(Uuid::from_u128(id)),
        publisher: "vizmaker".into(),
        offer: "viz-suite".into(),
        plan: "team".into(),
        name: "n".into(),
        status: SubscriptionStatus::Subscribed,
        quantity: None,
        beneficiary: Party::default(),
        purchaser: Party::default(),
        term_start: None,
        term_end: None,
        term_unit: None,
        auto_renew: None,
        free_trial: false,
        allowed_operations: Vec::new(),
        created: None,
        observed_at: Timestamp::UNIX_EPOCH,
    }
}
