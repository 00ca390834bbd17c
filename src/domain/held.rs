//! What the brake holds: seats that a complete read no longer had, and that count until a second
//! one says the same or an operator lets go.

use std::collections::BTreeMap;
use std::fmt;
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

    /// Seats that users were read without.
    pub fn seats(&self) -> usize {
        self.users.values().map(|it| it.len()).sum()
    }
}

impl fmt::Display for HeldBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "held back: {} of {} seats", self.seats(), self.total)?;
        match self.skus.len() {
            0 => {}
            1 => f.write_str(" and a SKU")?,
            more => write!(f, " and {more} SKUs")?,
        }
        write!(f, ", which {} no longer saw", self.run)
    }
}
