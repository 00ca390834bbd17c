//! Version 1: events on their way to the publisher's own systems.

use serde::{Deserialize, Serialize};

use super::v1_base::{TimeV1, moment, shared, text, text_option, time, word};
use crate::domain::{Delivery, DeliveryState, NoticeNumber};
use crate::store::StoreError;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::store) enum SentV1 {
    Waiting { due: Option<TimeV1> },
    Sent { at: TimeV1 },
    Dead { at: TimeV1 },
}

/// An event for one endpoint, with what is sent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::store) struct DeliveryV1 {
    number: u64,
    endpoint: String,
    id: String,
    /// The type's word.
    kind: String,
    subject: String,
    at: TimeV1,
    body: String,
    tries: u32,
    first_try: Option<TimeV1>,
    last_try: Option<TimeV1>,
    error: Option<String>,
    state: SentV1,
}

impl From<&Delivery> for DeliveryV1 {
    fn from(it: &Delivery) -> Self {
        Self {
            number: it.number.0,
            endpoint: text(&it.endpoint),
            id: text(&it.id),
            kind: it.kind.as_str().to_owned(),
            subject: text(&it.subject),
            at: it.at.into(),
            body: text(&it.body),
            tries: it.tries,
            first_try: time(it.first_try),
            last_try: time(it.last_try),
            error: text_option(it.error.as_ref()),
            state: match it.state {
                DeliveryState::Waiting { due } => SentV1::Waiting { due: time(due) },
                DeliveryState::Sent { at } => SentV1::Sent { at: at.into() },
                DeliveryState::Dead { at } => SentV1::Dead { at: at.into() },
            },
        }
    }
}

impl TryFrom<DeliveryV1> for Delivery {
    type Error = StoreError;

    fn try_from(it: DeliveryV1) -> Result<Self, StoreError> {
        Ok(Self {
            number: NoticeNumber(it.number),
            endpoint: it.endpoint.into(),
            id: it.id.into(),
            kind: word(&it.kind)?,
            subject: it.subject.into(),
            at: it.at.try_into()?,
            body: it.body.into(),
            tries: it.tries,
            first_try: moment(it.first_try)?,
            last_try: moment(it.last_try)?,
            error: shared(it.error),
            state: match it.state {
                SentV1::Waiting { due } => DeliveryState::Waiting { due: moment(due)? },
                SentV1::Sent { at } => DeliveryState::Sent { at: at.try_into()? },
                SentV1::Dead { at } => DeliveryState::Dead { at: at.try_into()? },
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::NoticeKind;
    use crate::store::layout::Kind;
    use crate::store::record::{decode, encode};
    use jiff::Timestamp;

    #[test]
    fn every_event_in_every_state_is_read_as_it_was_written() {
        let at = Timestamp::from_second(7).unwrap();
        let states = [
            DeliveryState::Waiting { due: None },
            DeliveryState::Waiting { due: Some(at) },
            DeliveryState::Sent { at },
            DeliveryState::Dead { at },
        ];
        for kind in NoticeKind::ALL {
            for state in states {
                let it = Delivery {
                    number: NoticeNumber(3),
                    endpoint: "billing".into(),
                    id: "evt_1".into(),
                    kind: *kind,
                    subject: "subscription 1".into(),
                    at,
                    body: "{}".into(),
                    tries: 2,
                    first_try: Some(at),
                    last_try: None,
                    error: Some("it answered 500".into()),
                    state,
                };
                let bytes = encode(&DeliveryV1::from(&it)).unwrap();
                let read: DeliveryV1 = decode(Kind::Delivery, &bytes).unwrap();
                assert_eq!(Delivery::try_from(read).unwrap(), it);
            }
        }
    }
}
