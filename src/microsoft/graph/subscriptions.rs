//! Subscriptions to change notifications: hints that something happened, sent to our public address.
//! Source: graph-licensing.md section 6.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::Graph;
use super::endpoint::Endpoint;
use super::verdict::Linked;
use crate::domain::{ClientState, TenantId, Watched};
use crate::microsoft::error::{ErrorKind, MicrosoftError};
use crate::microsoft::http::Answer;
use crate::microsoft::json as read;
use crate::microsoft::meter::Meter;

pub(super) const CREATE: Endpoint = background("POST /subscriptions");
const RENEW: Endpoint = background("PATCH /subscriptions/{id}");
const DELETE: Endpoint = background("DELETE /subscriptions/{id}");

/// Whoever lets us read may still not let us subscribe: no new token for each refusal.
const fn background(name: &'static str) -> Endpoint {
    Endpoint { renews: false, ..Endpoint::new(name, 1).low() }
}

/// Microsoft's ids of subscriptions are GUIDs; longer ones are none.
const ID_MAX: usize = 64;

/// What is to be told, and where.
#[derive(Clone, Copy, Debug)]
pub struct NewGraphSubscription<'a> {
    /// The collection.
    pub watched: Watched,
    /// `notificationUrl`.
    pub url: &'a str,
    /// `lifecycleNotificationUrl`; it can only be set now.
    pub lifecycle_url: &'a str,
    /// `clientState`.
    pub client_state: &'a ClientState,
    /// `expirationDateTime`.
    pub expires: Timestamp,
}

/// A subscription as Graph made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MadeGraphSubscription {
    /// Its id.
    pub id: Arc<str>,
    /// When it ends; Graph may raise what was asked for.
    pub expires: Timestamp,
}

impl Graph {
    /// Subscribes. Tried once: a second try after a lost answer would make a second one.
    ///
    /// While this waits, Graph asks both addresses whether they are ours.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Consent`] when the tenant does not let us, or has too many already;
    /// [`ErrorKind::Unreadable`] when Graph got no good answer at our addresses, and marked as that;
    /// otherwise as [`Graph::subscribed_skus`].
    pub async fn subscribe(
        &self,
        meter: &Meter,
        tenant: TenantId,
        new: NewGraphSubscription<'_>,
    ) -> Result<MadeGraphSubscription, MicrosoftError> {
        let body = json!({
            "changeType": "updated,deleted",
            "resource": new.watched.as_str(),
            "notificationUrl": new.url,
            "lifecycleNotificationUrl": new.lifecycle_url,
            "expirationDateTime": new.expires.to_string(),
            "clientState": new.client_state.text(),
        });
        let request = self.requests.subscribe(&body).await?;
        let read = |answer: &Answer| {
            let body: Value = read::body(CREATE.name, answer)?;
            let id = read::word(&body, "id").filter(|it| is_id(it));
            let id = id.ok_or_else(|| read::no_json(CREATE.name, answer))?.into();
            let expires = read::moment(&body, "expirationDateTime").unwrap_or(new.expires);
            Ok(MadeGraphSubscription { id, expires })
        };
        self.call_once(meter, tenant, CREATE, &request, Linked::No, read).await
    }

    /// Renews a subscription, which also authorizes it anew: until when.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] when it is gone; otherwise as [`Graph::subscribe`].
    pub async fn renew_subscription(
        &self,
        meter: &Meter,
        tenant: TenantId,
        id: &str,
        expires: Timestamp,
    ) -> Result<Timestamp, MicrosoftError> {
        let body = json!({ "expirationDateTime": expires.to_string() });
        let request = self.requests.renew_subscription(checked(id)?, &body).await?;
        let read = |answer: &Answer| {
            let body: Value = read::body(RENEW.name, answer)?;
            Ok(read::moment(&body, "expirationDateTime").unwrap_or(expires))
        };
        self.call_once(meter, tenant, RENEW, &request, Linked::No, read).await
    }

    /// Ends a subscription.
    ///
    /// # Errors
    ///
    /// As [`Graph::renew_subscription`].
    pub async fn unsubscribe(
        &self,
        meter: &Meter,
        tenant: TenantId,
        id: &str,
    ) -> Result<(), MicrosoftError> {
        let request = self.requests.unsubscribe(checked(id)?).await?;
        self.call_once(meter, tenant, DELETE, &request, Linked::No, |_| Ok(())).await
    }
}

/// Whether it may be put into a path as it is.
fn is_id(text: &str) -> bool {
    let safe = |it: u8| it.is_ascii_alphanumeric() || it == b'-';
    (1..=ID_MAX).contains(&text.len()) && text.bytes().all(safe)
}

fn checked(id: &str) -> Result<&str, MicrosoftError> {
    let refused = || MicrosoftError::new(ErrorKind::NotFound, "no subscription has such an id");
    Some(id).filter(|it| is_id(it)).ok_or_else(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_is_none_never_gets_into_a_path() {
        assert!(is_id("bbbbbbbb-0000-4000-8000-000000000001"));
        for bad in ["", "../users", "a/b", "a?b", "a b", &"a".repeat(65)] {
            assert!(!is_id(bad), "{bad}");
        }
    }
}
