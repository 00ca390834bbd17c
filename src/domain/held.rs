//! What the brake holds: seats that a complete read no longer had, and that count until a second
//! one says the same or an operator lets go.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::{RunId, SkuId, UserId};

/// What the brake holds in one tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldBack {
    /// The run that no longer had it.
    pub run: RunId,
    /// When that run ended.
    pub at: Timestamp,
    /// Seats of the tenant before it.
    pub total: u64,
    /// Who was read without which SKU; sorted.
    pub users: BTreeMap<SkuId, Arc<[UserId]>>,
    /// SKUs that carried seats and are not listed any more.
    pub skus: Vec<SkuId>,
}

impl HeldBack {
    /// Whether this user's seat of this SKU is held.
    pub fn holds(&self, user: UserId, sku: SkuId) -> bool {
        self.users.get(&sku).is_some_and(|it| it.binary_search(&user).is_ok())
    }

    /// In words. So many seats of users and of SKUs are held, see
    /// [`SourceState::held_back`](super::SourceState::held_back).
    pub fn told(&self, seats: u32) -> String {
        let skus = match self.skus.len() {
            0 => String::new(),
            1 => " and a SKU".to_owned(),
            more => format!(" and {more} SKUs"),
        };
        format!(
            "held back: {seats} of {} seats{skus}, which {} no longer saw",
            self.total, self.run
        )
    }
}
