//! Version 1: webhooks.

use serde::{Deserialize, Serialize};

use super::v1_base::{IdV1, TimeV1, id, shared, text, text_option, uuid};
use crate::domain::{
    Action, Announcement, Answered, EventId, EventOutcome, EventState, SubscriptionId, WebhookEvent,
};
use crate::store::StoreError;

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(in crate::store) enum AnsweredV1 {
    Accepted,
    Refused,
    TooLate,
    NotTaken,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(in crate::store) enum OutcomeV1 {
    Changed,
    Known,
    Mismatched,
    UnknownOperation,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::store) enum StateV1 {
    Waiting,
    Done { at: TimeV1, outcome: OutcomeV1 },
    Dead { at: TimeV1, why: String },
}

/// A webhook. Its body is a record of its own, which never changes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::store) struct EventV1 {
    id: u64,
    operation: Option<String>,
    /// Microsoft's word.
    action: String,
    subscription: Option<IdV1>,
    plan: Option<String>,
    quantity: Option<u64>,
    received: TimeV1,
    deliveries: u32,
    tries: u32,
    changed: bool,
    answered: Option<AnsweredV1>,
    state: StateV1,
}

impl From<&WebhookEvent> for EventV1 {
    fn from(it: &WebhookEvent) -> Self {
        Self {
            id: it.id.0,
            operation: text_option(it.said.operation.as_ref()),
            action: it.said.action.as_str().to_owned(),
            subscription: it.said.subscription.map(|it| id(it.as_uuid())),
            plan: text_option(it.said.plan.as_ref()),
            quantity: it.said.quantity,
            received: it.received.into(),
            deliveries: it.deliveries,
            tries: it.tries,
            changed: it.changed,
            answered: it.answered.map(|it| match it {
                Answered::Accepted => AnsweredV1::Accepted,
                Answered::Refused => AnsweredV1::Refused,
                Answered::TooLate => AnsweredV1::TooLate,
                Answered::NotTaken => AnsweredV1::NotTaken,
            }),
            state: match &it.state {
                EventState::Waiting => StateV1::Waiting,
                EventState::Done { at, outcome } => {
                    let outcome = match outcome {
                        EventOutcome::Changed => OutcomeV1::Changed,
                        EventOutcome::Known => OutcomeV1::Known,
                        EventOutcome::Mismatched => OutcomeV1::Mismatched,
                        EventOutcome::UnknownOperation => OutcomeV1::UnknownOperation,
                    };
                    StateV1::Done { at: (*at).into(), outcome }
                }
                EventState::Dead { at, why } => StateV1::Dead { at: (*at).into(), why: text(why) },
            },
        }
    }
}

impl TryFrom<EventV1> for WebhookEvent {
    type Error = StoreError;

    fn try_from(it: EventV1) -> Result<Self, StoreError> {
        let said = Announcement {
            operation: shared(it.operation),
            action: Action::from_word(&it.action),
            subscription: it.subscription.map(|it| SubscriptionId::from_uuid(uuid(it))),
            plan: shared(it.plan),
            quantity: it.quantity,
        };
        Ok(Self {
            id: EventId(it.id),
            said,
            received: it.received.try_into()?,
            deliveries: it.deliveries,
            tries: it.tries,
            changed: it.changed,
            answered: it.answered.map(|it| match it {
                AnsweredV1::Accepted => Answered::Accepted,
                AnsweredV1::Refused => Answered::Refused,
                AnsweredV1::TooLate => Answered::TooLate,
                AnsweredV1::NotTaken => Answered::NotTaken,
            }),
            state: match it.state {
                StateV1::Waiting => EventState::Waiting,
                StateV1::Done { at, outcome } => {
                    let outcome = match outcome {
                        OutcomeV1::Changed => EventOutcome::Changed,
                        OutcomeV1::Known => EventOutcome::Known,
                        OutcomeV1::Mismatched => EventOutcome::Mismatched,
                        OutcomeV1::UnknownOperation => EventOutcome::UnknownOperation,
                    };
                    EventState::Done { at: at.try_into()?, outcome }
                }
                StateV1::Dead { at, why } => {
                    EventState::Dead { at: at.try_into()?, why: why.into() }
                }
            },
        })
    }
}
