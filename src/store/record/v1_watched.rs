//! Version 1: subscriptions to Graph's change notifications.

use serde::{Deserialize, Serialize};

use super::v1_base::{IdV1, TimeV1, id, tenant, text};
use crate::domain::{ClientState, GraphSubscription, Watched};
use crate::store::StoreError;

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum WatchedV1 {
    Users,
    Groups,
}

/// One subscription.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::store) struct GraphSubscriptionV1 {
    tenant: IdV1,
    watched: WatchedV1,
    id: String,
    client_state: [u8; 32],
    url: String,
    renewed: TimeV1,
    expires: TimeV1,
}

impl From<&GraphSubscription> for GraphSubscriptionV1 {
    fn from(it: &GraphSubscription) -> Self {
        Self {
            tenant: id(it.tenant.as_uuid()),
            watched: match it.watched {
                Watched::Users => WatchedV1::Users,
                Watched::Groups => WatchedV1::Groups,
            },
            id: text(&it.id),
            client_state: *it.client_state.as_bytes(),
            url: text(&it.url),
            renewed: it.renewed.into(),
            expires: it.expires.into(),
        }
    }
}

impl TryFrom<GraphSubscriptionV1> for GraphSubscription {
    type Error = StoreError;

    fn try_from(it: GraphSubscriptionV1) -> Result<Self, StoreError> {
        Ok(Self {
            tenant: tenant(it.tenant)?,
            watched: match it.watched {
                WatchedV1::Users => Watched::Users,
                WatchedV1::Groups => Watched::Groups,
            },
            id: it.id.into(),
            client_state: ClientState::new(it.client_state),
            url: it.url.into(),
            renewed: it.renewed.try_into()?,
            expires: it.expires.try_into()?,
        })
    }
}
