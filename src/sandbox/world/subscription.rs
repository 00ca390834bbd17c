//! Marketplace SaaS subscriptions, in the order and with the quirks of the recorded answers.
//! Source: marketplace-saas.md 5.1 to 5.3.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Who uses or who paid.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Buyer {
    /// May be empty.
    pub email_id: String,
    /// Object id of the person.
    pub object_id: Uuid,
    /// Entra tenant, or the one all personal accounts share.
    pub tenant_id: Uuid,
    /// 16 upper-case hex digits, or null.
    pub puid: Option<String>,
}

/// The billing term; both dates are absent before activation.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Term {
    /// Midnight UTC of the first day.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_date: Option<String>,
    /// Midnight UTC of the last valid day.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_date: Option<String>,
    /// `P1M`, `P1Y`, …: an open set.
    pub term_unit: String,
}

/// One subscription; serialises with the recorded keys in the recorded order.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Subscription {
    /// 128 bits, mostly no version 4.
    pub id: Uuid,
    /// Partner Center publisher id.
    pub publisher_id: String,
    /// Offer, with `-preview` for previews.
    pub offer_id: String,
    /// Chosen by the buyer.
    pub name: String,
    /// `PendingFulfillmentStart`, `Subscribed`, `Suspended`, `Unsubscribed`.
    pub saas_subscription_status: String,
    /// The customer who uses it.
    pub beneficiary: Buyer,
    /// Who paid: another tenant for CSP.
    pub purchaser: Buyer,
    /// Current plan.
    pub plan_id: String,
    /// Billing term.
    pub term: Term,
    /// `true` on all recorded subscriptions.
    pub auto_renew: bool,
    /// Not relevant.
    pub is_test: bool,
    /// Inside a free trial.
    pub is_free_trial: bool,
    /// About the beneficiary; CSP: `Read` alone.
    pub allowed_customer_operations: Vec<String>,
    /// `None`.
    pub sandbox_type: String,
    /// 5 to 7 fractional digits.
    pub created: String,
    /// Always `0001-01-01T00:00:00`, without a zone.
    pub last_modified: String,
    /// Absent for flat-rate plans.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quantity: Option<u32>,
    /// `None`.
    pub session_mode: String,
}

/// All subscriptions of the publisher, as JSON text: what `upsert` brought is returned byte by byte.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    order: Vec<(Uuid, Box<str>)>,
    index: HashMap<Uuid, usize>,
}

impl Shelf {
    /// Adds or replaces; the place in the listing stays.
    pub(crate) fn put(&mut self, id: Uuid, text: String) {
        let text = text.into_boxed_str();
        if let Some(slot) = self.index.get(&id).and_then(|at| self.order.get_mut(*at)) {
            slot.1 = text;
        } else {
            self.index.insert(id, self.order.len());
            self.order.push((id, text));
        }
    }

    /// One as JSON text.
    pub(crate) fn one(&self, id: Uuid) -> Option<&str> {
        self.index.get(&id).and_then(|at| self.order.get(*at)).map(|(_, text)| text.as_ref())
    }

    /// JSON texts from a position on.
    pub(crate) fn from(&self, start: usize) -> impl Iterator<Item = &str> {
        self.order.iter().skip(start).map(|(_, text)| text.as_ref())
    }

    /// How many.
    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }

    /// Forgets all: for worlds that replay other listings.
    pub(crate) fn clear(&mut self) {
        self.order.clear();
        self.index.clear();
    }
}
