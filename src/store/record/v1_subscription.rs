//! Version 1: subscriptions, who sits on their seats, and records nobody understood.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::v1_base::{
    IdV1, SourceKeyV1, TimeV1, id, moment, shared, text, text_option, time, uuid,
};
use crate::domain::{
    HeldSeat, OddRecord, Party, Subscription, SubscriptionId, SubscriptionStatus, UserId,
};
use crate::store::StoreError;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::store) enum StatusV1 {
    PendingFulfillmentStart,
    Subscribed,
    Suspended,
    Unsubscribed,
    Unrecognized(String),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::store) struct PartyV1 {
    tenant: Option<IdV1>,
    user: Option<IdV1>,
}

impl From<Party> for PartyV1 {
    fn from(it: Party) -> Self {
        Self { tenant: it.tenant.map(id), user: it.user.map(|it| id(it.as_uuid())) }
    }
}

impl From<PartyV1> for Party {
    fn from(it: PartyV1) -> Self {
        Self { tenant: it.tenant.map(uuid), user: it.user.map(|it| UserId::from_uuid(uuid(it))) }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::store) struct SubscriptionV1 {
    id: IdV1,
    publisher: String,
    offer: String,
    plan: String,
    name: String,
    status: StatusV1,
    quantity: Option<u64>,
    beneficiary: PartyV1,
    purchaser: PartyV1,
    term_start: Option<TimeV1>,
    term_end: Option<TimeV1>,
    term_unit: Option<String>,
    auto_renew: Option<bool>,
    free_trial: bool,
    allowed_operations: Vec<String>,
    created: Option<TimeV1>,
    observed_at: TimeV1,
}

impl From<&Subscription> for SubscriptionV1 {
    fn from(it: &Subscription) -> Self {
        let status = match &it.status {
            SubscriptionStatus::PendingFulfillmentStart => StatusV1::PendingFulfillmentStart,
            SubscriptionStatus::Subscribed => StatusV1::Subscribed,
            SubscriptionStatus::Suspended => StatusV1::Suspended,
            SubscriptionStatus::Unsubscribed => StatusV1::Unsubscribed,
            SubscriptionStatus::Unrecognized(word) => StatusV1::Unrecognized(text(word)),
        };
        Self {
            id: id(it.id.as_uuid()),
            publisher: text(&it.publisher),
            offer: text(&it.offer),
            plan: text(&it.plan),
            name: text(&it.name),
            status,
            quantity: it.quantity,
            beneficiary: it.beneficiary.into(),
            purchaser: it.purchaser.into(),
            term_start: time(it.term_start),
            term_end: time(it.term_end),
            term_unit: text_option(it.term_unit.as_ref()),
            auto_renew: it.auto_renew,
            free_trial: it.free_trial,
            allowed_operations: it.allowed_operations.iter().map(text).collect(),
            created: time(it.created),
            observed_at: it.observed_at.into(),
        }
    }
}

impl TryFrom<SubscriptionV1> for Subscription {
    type Error = StoreError;

    fn try_from(it: SubscriptionV1) -> Result<Self, StoreError> {
        let status = match it.status {
            StatusV1::PendingFulfillmentStart => SubscriptionStatus::PendingFulfillmentStart,
            StatusV1::Subscribed => SubscriptionStatus::Subscribed,
            StatusV1::Suspended => SubscriptionStatus::Suspended,
            StatusV1::Unsubscribed => SubscriptionStatus::Unsubscribed,
            StatusV1::Unrecognized(word) => SubscriptionStatus::Unrecognized(word.into()),
        };
        Ok(Self {
            id: SubscriptionId::from_uuid(uuid(it.id)),
            publisher: it.publisher.into(),
            offer: it.offer.into(),
            plan: it.plan.into(),
            name: it.name.into(),
            status,
            quantity: it.quantity,
            beneficiary: it.beneficiary.into(),
            purchaser: it.purchaser.into(),
            term_start: moment(it.term_start)?,
            term_end: moment(it.term_end)?,
            term_unit: shared(it.term_unit),
            auto_renew: it.auto_renew,
            free_trial: it.free_trial,
            allowed_operations: it.allowed_operations.into_iter().map(Into::into).collect(),
            created: moment(it.created)?,
            observed_at: it.observed_at.try_into()?,
        })
    }
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(in crate::store) struct HeldSeatV1 {
    taken_at: TimeV1,
    last_used: TimeV1,
}

impl From<HeldSeat> for HeldSeatV1 {
    fn from(it: HeldSeat) -> Self {
        Self { taken_at: it.taken_at.into(), last_used: it.last_used.into() }
    }
}

impl TryFrom<HeldSeatV1> for HeldSeat {
    type Error = StoreError;

    fn try_from(it: HeldSeatV1) -> Result<Self, StoreError> {
        Ok(Self { taken_at: it.taken_at.try_into()?, last_used: it.last_used.try_into()? })
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::store) struct OddV1 {
    at: TimeV1,
    key: SourceKeyV1,
    why: String,
    raw: String,
}

impl From<&OddRecord> for OddV1 {
    fn from(it: &OddRecord) -> Self {
        Self { at: it.at.into(), key: it.key.into(), why: text(&it.why), raw: text(&it.raw) }
    }
}

impl TryFrom<OddV1> for OddRecord {
    type Error = StoreError;

    fn try_from(it: OddV1) -> Result<Self, StoreError> {
        let at = Timestamp::try_from(it.at)?;
        Ok(Self { at, key: it.key.try_into()?, why: it.why.into(), raw: it.raw.into() })
    }
}
