//! Version 1: what is noted about webhooks.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::v1_base::{IdV1, TimeV1, id, text, uuid};
use crate::domain::{
    Action, EventId, ForgedWebhooks, LateWebhook, MissedWebhook, SubscriptionId, WebhookNote,
};
use crate::store::StoreError;

/// A note about webhooks.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::store) struct NoteV1(KindV1);

#[derive(Clone, Debug, Serialize, Deserialize)]
enum KindV1 {
    Missed {
        at: TimeV1,
        since: TimeV1,
        subscription: IdV1,
        /// Microsoft's word.
        action: String,
        found_by: String,
    },
    Late {
        event: u64,
        at: TimeV1,
        sent: TimeV1,
    },
    Forged {
        from: TimeV1,
        until: TimeV1,
        checks: Vec<(String, u64)>,
    },
}

impl From<&WebhookNote> for NoteV1 {
    fn from(it: &WebhookNote) -> Self {
        Self(match it {
            WebhookNote::Missed(it) => KindV1::Missed {
                at: it.at.into(),
                since: it.since.into(),
                subscription: id(it.subscription.as_uuid()),
                action: it.action.as_str().to_owned(),
                found_by: text(&it.found_by),
            },
            WebhookNote::Late(it) => {
                KindV1::Late { event: it.event.0, at: it.at.into(), sent: it.sent.into() }
            }
            WebhookNote::Forged(it) => KindV1::Forged {
                from: it.from.into(),
                until: it.until.into(),
                checks: it.checks.iter().map(|(word, count)| (text(word), *count)).collect(),
            },
        })
    }
}

impl TryFrom<NoteV1> for WebhookNote {
    type Error = StoreError;

    fn try_from(it: NoteV1) -> Result<Self, StoreError> {
        Ok(match it.0 {
            KindV1::Missed { at, since, subscription, action, found_by } => {
                Self::Missed(MissedWebhook {
                    at: at.try_into()?,
                    since: since.try_into()?,
                    subscription: SubscriptionId::from_uuid(uuid(subscription)),
                    action: Action::from_word(&action),
                    found_by: found_by.into(),
                })
            }
            KindV1::Late { event, at, sent } => Self::Late(LateWebhook {
                event: EventId(event),
                at: at.try_into()?,
                sent: sent.try_into()?,
            }),
            KindV1::Forged { from, until, checks } => Self::Forged(ForgedWebhooks {
                from: from.try_into()?,
                until: until.try_into()?,
                checks: checks.into_iter().map(|(word, it)| (Arc::from(word), it)).collect(),
            }),
        })
    }
}
