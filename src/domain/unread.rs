//! What the list of subscriptions holds and nobody could read: not to be taken for "no licence".

use std::sync::Arc;

use jiff::Timestamp;

use super::{Channel, Product, SubscriptionId, TenantId};

/// A subscription that could not be read, as far as it could be made out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread {
    /// Its id, or what stands for one where not even that could be read.
    pub key: Arc<str>,
    /// Its id.
    pub id: Option<SubscriptionId>,
    /// Whose it is.
    pub whose: Whose,
    /// Of which offer it is, in lower case.
    pub offer: Option<Arc<str>>,
    /// Of which plan it is, in lower case.
    pub plan: Option<Arc<str>>,
    /// Since when it could not be read.
    pub since: Timestamp,
    /// What could not be understood; no content.
    pub why: Arc<str>,
}

/// Whose a subscription is that could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// This tenant's.
    Tenant(TenantId),
    /// It did not say: any tenant's.
    Anybody,
    /// A personal account's: no tenant's.
    Nobody,
}

impl Unread {
    /// Whether it could have spoken for the product in this tenant.
    pub fn could_speak_for(&self, tenant: TenantId, product: &Product) -> bool {
        let theirs = match self.whose {
            Whose::Tenant(it) => it == tenant,
            Whose::Anybody => true,
            Whose::Nobody => false,
        };
        let plans = product.plans.iter().filter(|it| it.channel == Channel::Saas);
        theirs && plans.map(|it| &it.service_id).any(|it| self.is_of(it.offer(), it.plan()))
    }

    fn is_of(&self, offer: &str, plan: &str) -> bool {
        let live = |it: &str| it.strip_suffix("-preview").unwrap_or(it).eq_ignore_ascii_case(offer);
        let same_offer =
            self.offer.as_deref().is_none_or(|it| it.eq_ignore_ascii_case(offer) || live(it));
        same_offer && self.plan.as_deref().is_none_or(|it| it.eq_ignore_ascii_case(plan))
    }

    /// Whether both say the same, whenever it began.
    pub fn says_the_same(&self, other: &Self) -> bool {
        *self == Self { since: self.since, ..other.clone() }
    }
}
