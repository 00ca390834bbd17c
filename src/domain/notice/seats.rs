//! What the publisher's own systems are told of seats in customers' tenants: that they are short.

use std::sync::Arc;

use jiff::Timestamp;

use super::{About, Notice, NoticeKind};
use crate::domain::{Forecast, ProductId, SkuId, TenantId, UserId};

/// Seats of one plan in one tenant that are short, or soon will be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shortage {
    /// Where.
    pub tenant: TenantId,
    /// Of what.
    pub product: ProductId,
    /// The last part of the plan's Service ID.
    pub plan: Arc<str>,
    /// As which SKU.
    pub sku: SkuId,
    /// Whether somebody is without a seat already, or more are assigned than there are.
    pub now: bool,
    /// Seats that may be assigned.
    pub bought: u32,
    /// Seats assigned, as Microsoft counts them.
    pub consumed: u32,
    /// Users who really used the product in the last 28 days.
    pub used: u32,
    /// When seats run out.
    pub forecast: Forecast,
    /// Users for whom no seat was free; not all, where they are many.
    pub without: Vec<UserId>,
    /// Members of licensed groups for whom none will be; not all, where they are many.
    pub next_without: Vec<UserId>,
}

impl Notice {
    /// Seats are short somewhere.
    pub fn seats_short(it: Shortage, at: Timestamp) -> Self {
        let subject = format!("seats {} {}", it.tenant, it.sku).into();
        Self { kind: NoticeKind::SeatsShort, at, subject, about: About::Shortage(Box::new(it)) }
    }
}
