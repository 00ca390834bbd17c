//! Version 1: metered usage, and how requests about it were answered.

use serde::{Deserialize, Serialize};

use super::v1_base::{IdV1, TimeV1, id, shared, text, text_option, uuid};
use crate::domain::{
    Quantity, SubscriptionId, UsageAnswer, UsageEvent, UsageId, UsageKey, UsageState,
};
use crate::store::StoreError;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::store) enum UsageStateV1 {
    Open,
    Closed,
    Sent { at: TimeV1, reference: Option<String> },
    Duplicate { at: TimeV1, accepted: Option<String>, differs: bool },
    Dead { at: TimeV1, status: Option<String>, why: String },
}

/// A sum of usage.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::store) struct UsageV1 {
    id: u64,
    subscription: IdV1,
    dimension: String,
    hour: TimeV1,
    plan: String,
    effective: TimeV1,
    /// In millionths.
    quantity: u64,
    reports: u32,
    first: TimeV1,
    last: TimeV1,
    caller: String,
    tries: u32,
    state: UsageStateV1,
}

/// An answer to a request with an idempotency key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::store) struct UsageAnswerV1 {
    key: [u8; 32],
    body: [u8; 32],
    at: TimeV1,
    answer: Vec<u8>,
}

impl From<&UsageEvent> for UsageV1 {
    fn from(it: &UsageEvent) -> Self {
        Self {
            id: it.id.0,
            subscription: id(it.key.subscription.as_uuid()),
            dimension: text(&it.key.dimension),
            hour: it.key.hour.into(),
            plan: text(&it.plan),
            effective: it.effective.into(),
            quantity: it.quantity.millionths(),
            reports: it.reports,
            first: it.first.into(),
            last: it.last.into(),
            caller: text(&it.caller),
            tries: it.tries,
            state: match &it.state {
                UsageState::Open => UsageStateV1::Open,
                UsageState::Closed => UsageStateV1::Closed,
                UsageState::Sent { at, reference } => UsageStateV1::Sent {
                    at: (*at).into(),
                    reference: text_option(reference.as_ref()),
                },
                UsageState::Duplicate { at, accepted, differs } => UsageStateV1::Duplicate {
                    at: (*at).into(),
                    accepted: text_option(accepted.as_ref()),
                    differs: *differs,
                },
                UsageState::Dead { at, status, why } => UsageStateV1::Dead {
                    at: (*at).into(),
                    status: text_option(status.as_ref()),
                    why: text(why),
                },
            },
        }
    }
}

impl TryFrom<UsageV1> for UsageEvent {
    type Error = StoreError;

    fn try_from(it: UsageV1) -> Result<Self, StoreError> {
        let quantity = Quantity::from_millionths(it.quantity);
        Ok(Self {
            id: UsageId(it.id),
            key: UsageKey {
                subscription: SubscriptionId::from_uuid(uuid(it.subscription)),
                dimension: it.dimension.into(),
                hour: it.hour.try_into()?,
            },
            plan: it.plan.into(),
            effective: it.effective.try_into()?,
            quantity: quantity.ok_or_else(|| StoreError::damaged("a quantity out of range"))?,
            reports: it.reports,
            first: it.first.try_into()?,
            last: it.last.try_into()?,
            caller: it.caller.into(),
            tries: it.tries,
            state: match it.state {
                UsageStateV1::Open => UsageState::Open,
                UsageStateV1::Closed => UsageState::Closed,
                UsageStateV1::Sent { at, reference } => {
                    UsageState::Sent { at: at.try_into()?, reference: shared(reference) }
                }
                UsageStateV1::Duplicate { at, accepted, differs } => UsageState::Duplicate {
                    at: at.try_into()?,
                    accepted: shared(accepted),
                    differs,
                },
                UsageStateV1::Dead { at, status, why } => {
                    UsageState::Dead { at: at.try_into()?, status: shared(status), why: why.into() }
                }
            },
        })
    }
}

impl From<&UsageAnswer> for UsageAnswerV1 {
    fn from(it: &UsageAnswer) -> Self {
        Self { key: it.key, body: it.body, at: it.at.into(), answer: it.answer.to_vec() }
    }
}

impl TryFrom<UsageAnswerV1> for UsageAnswer {
    type Error = StoreError;

    fn try_from(it: UsageAnswerV1) -> Result<Self, StoreError> {
        let at = it.at.try_into()?;
        Ok(Self { key: it.key, body: it.body, at, answer: it.answer.into() })
    }
}
