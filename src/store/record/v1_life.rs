//! Version 1: what is remembered of subscriptions, and which could not be read.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::v1_base::{IdV1, TimeV1, id, moment, shared, tenant, text, text_option, time, uuid};
use crate::domain::{Life, SubscriptionId, Undocumented, Unread, Whose};
use crate::store::StoreError;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::store) struct LifeV1 {
    since: TimeV1,
    entered: bool,
    missing_since: Option<TimeV1>,
    purged_at: Option<TimeV1>,
    undocumented: Option<UndocumentedV1>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct UndocumentedV1 {
    at: TimeV1,
    from: String,
    to: String,
}

impl From<&Life> for LifeV1 {
    fn from(it: &Life) -> Self {
        let undocumented = it.undocumented.as_ref().map(|it| UndocumentedV1 {
            at: it.at.into(),
            from: text(&it.from),
            to: text(&it.to),
        });
        Self {
            since: it.since.into(),
            entered: it.entered,
            missing_since: time(it.missing_since),
            purged_at: time(it.purged_at),
            undocumented,
        }
    }
}

impl TryFrom<LifeV1> for Life {
    type Error = StoreError;

    fn try_from(it: LifeV1) -> Result<Self, StoreError> {
        let undocumented = it.undocumented.map(|it| {
            let at = Timestamp::try_from(it.at)?;
            Ok::<_, StoreError>(Undocumented { at, from: it.from.into(), to: it.to.into() })
        });
        Ok(Self {
            since: it.since.try_into()?,
            entered: it.entered,
            missing_since: moment(it.missing_since)?,
            purged_at: moment(it.purged_at)?,
            undocumented: undocumented.transpose()?,
        })
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum WhoseV1 {
    Tenant(IdV1),
    Anybody,
    Nobody,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::store) struct UnreadV1 {
    key: String,
    id: Option<IdV1>,
    whose: WhoseV1,
    offer: Option<String>,
    plan: Option<String>,
    since: TimeV1,
    why: String,
}

impl From<&Unread> for UnreadV1 {
    fn from(it: &Unread) -> Self {
        Self {
            key: text(&it.key),
            id: it.id.map(|it| id(it.as_uuid())),
            whose: match it.whose {
                Whose::Tenant(it) => WhoseV1::Tenant(id(it.as_uuid())),
                Whose::Anybody => WhoseV1::Anybody,
                Whose::Nobody => WhoseV1::Nobody,
            },
            offer: text_option(it.offer.as_ref()),
            plan: text_option(it.plan.as_ref()),
            since: it.since.into(),
            why: text(&it.why),
        }
    }
}

impl TryFrom<UnreadV1> for Unread {
    type Error = StoreError;

    fn try_from(it: UnreadV1) -> Result<Self, StoreError> {
        Ok(Self {
            key: it.key.into(),
            id: it.id.map(|it| SubscriptionId::from_uuid(uuid(it))),
            whose: match it.whose {
                WhoseV1::Tenant(it) => Whose::Tenant(tenant(it)?),
                WhoseV1::Anybody => Whose::Anybody,
                WhoseV1::Nobody => Whose::Nobody,
            },
            offer: shared(it.offer),
            plan: shared(it.plan),
            since: it.since.try_into()?,
            why: it.why.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::layout::Kind;
    use crate::store::record::{decode, encode};
    use uuid::Uuid;

    #[test]
    fn lives_and_the_unread_come_back_as_they_were_written() {
        let at = Timestamp::from_second(7).unwrap();
        let undocumented = Undocumented { at, from: "Unsubscribed".into(), to: "New".into() };
        let bare = Life {
            since: at,
            entered: true,
            missing_since: None,
            purged_at: None,
            undocumented: None,
        };
        let full = Life {
            entered: false,
            missing_since: Some(at),
            purged_at: Some(at),
            undocumented: Some(undocumented),
            ..bare.clone()
        };
        for life in [bare, full] {
            let bytes = encode(&LifeV1::from(&life)).unwrap();
            let back: Life = decode::<LifeV1>(Kind::Life, &bytes).unwrap().try_into().unwrap();
            assert_eq!(back, life);
        }
        let tenant = crate::domain::TenantId::from_uuid(Uuid::from_u128(3)).unwrap();
        for whose in [Whose::Tenant(tenant), Whose::Anybody, Whose::Nobody] {
            let unread = Unread {
                key: "k".into(),
                id: Some(SubscriptionId::from_uuid(Uuid::from_u128(1))),
                whose,
                offer: Some("o".into()),
                plan: None,
                since: at,
                why: "why".into(),
            };
            let bytes = encode(&UnreadV1::from(&unread)).unwrap();
            let back = decode::<UnreadV1>(Kind::Unread, &bytes).unwrap();
            assert_eq!(Unread::try_from(back).unwrap(), unread);
        }
    }
}
