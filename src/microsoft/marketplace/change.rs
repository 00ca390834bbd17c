//! What we ask the marketplace to do to a subscription: another plan or quantity, or its end.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use super::Marketplace;
use super::call::{Call, refusal};
use super::operation::{self, Operation, plain};
use super::versioned;
use crate::domain::SubscriptionId;
use crate::microsoft::error::{ErrorKind, MicrosoftError};
use crate::microsoft::http::Answer;
use crate::microsoft::json::Read;
use crate::microsoft::link::Link;
use crate::microsoft::meter::Meter;
use crate::microsoft::pace::retry_after;

const CHANGE: &str = "PATCH /api/saas/subscriptions/{id}";
const CANCEL: &str = "DELETE /api/saas/subscriptions/{id}";
/// How long to wait when Microsoft does not say.
///
/// Source: marketplace-saas.md section 6.6.
const WAIT: Duration = Duration::from_secs(10);

/// What is to be another; never both at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change<'a> {
    /// This plan.
    Plan(&'a str),
    /// This many seats.
    Quantity(u64),
}

/// A request that is being carried out.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// The operation; a webhook of the same id follows.
    pub operation: Arc<str>,
    /// Where it can be watched: see [`Marketplace::follow`].
    pub location: Link,
    /// How long to wait before looking.
    pub wait: Duration,
}

/// What became of a request to end a subscription.
#[derive(Clone, Debug)]
pub enum Cancelled {
    /// It is being carried out.
    Accepted(Accepted),
    /// It had ended before.
    AlreadyEnded,
}

impl Marketplace {
    /// Asks for another plan or quantity, which the customer must have agreed to. Nothing has
    /// changed before the operation has succeeded.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Rejected`] when the marketplace will not, [`ErrorKind::Locked`] while another
    /// operation is going on (newer servers say `Rejected` then, too); otherwise as
    /// [`Self::subscription`]. It is not tried again once it may have been accepted: when
    /// [`MicrosoftError::may_have_taken_effect`], read subscription and operations first.
    ///
    /// Source: marketplace-saas.md sections 3.4 and 6.6.
    pub async fn change(
        &self,
        meter: &Meter,
        id: SubscriptionId,
        change: Change<'_>,
    ) -> Result<Accepted, MicrosoftError> {
        let body = match change {
            Change::Plan(plan) => json!({ "planId": plan }),
            Change::Quantity(quantity) => json!({ "quantity": quantity }),
        };
        let call = Call::once(CHANGE, Method::PATCH, self.at(id, "")?).body(&body);
        let read = |answer: &Answer| match answer.status.as_u16() {
            400 => Err(refusal(
                CHANGE,
                answer,
                ErrorKind::Rejected,
                "the change is not possible: the plan is not offered to this customer or the \
                 quantity outside of its limits, nothing would change, the subscription is not \
                 active or bought through a reseller, or another operation is going on; read it",
            )),
            409 => Err(locked(CHANGE, answer)),
            _ => self.read_accepted(id, CHANGE, answer),
        };
        self.call(meter, &call.speaks(&[400, 409]), read).await
    }

    /// Asks to end the subscription.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Rejected`] when we may not, as for most purchases through a reseller;
    /// [`ErrorKind::Locked`] while another operation is going on; otherwise as [`Self::change`].
    ///
    /// Source: marketplace-saas.md section 6.7.
    pub async fn cancel(
        &self,
        meter: &Meter,
        id: SubscriptionId,
    ) -> Result<Cancelled, MicrosoftError> {
        let call = Call::once(CANCEL, Method::DELETE, self.at(id, "")?);
        let read = |answer: &Answer| match answer.status.as_u16() {
            200 => Ok(Cancelled::AlreadyEnded),
            400 => Err(refusal(
                CANCEL,
                answer,
                ErrorKind::Rejected,
                "we may not end this subscription: the customer has to, or the reseller",
            )),
            409 => Err(locked(CANCEL, answer)),
            _ => self.read_accepted(id, CANCEL, answer).map(Cancelled::Accepted),
        };
        self.call(meter, &call.speaks(&[400, 409]), read).await
    }

    /// The operation that an accepted request became; `None` when the marketplace does not know
    /// it (yet).
    ///
    /// # Errors
    ///
    /// As [`Self::subscription`].
    pub async fn follow(
        &self,
        meter: &Meter,
        accepted: &Accepted,
    ) -> Result<Option<Read<Operation>>, MicrosoftError> {
        let url = self.base.url(accepted.location.as_str())?;
        let call = Call::get(operation::ONE, url).speaks(&[400, 404]);
        self.call(meter, &call, operation::read_one).await
    }

    /// Path and query of `Operation-Location`, which names another host; in its place the path
    /// we know, made of `Operation-Id`.
    fn read_accepted(
        &self,
        id: SubscriptionId,
        endpoint: &str,
        answer: &Answer,
    ) -> Result<Accepted, MicrosoftError> {
        let said = answer.header("operation-location").map(|it| self.base.target(it));
        let named = answer.header("operation-id").map(str::trim).and_then(plain);
        let last = said.as_ref().and_then(|it| it.as_ref().ok()).and_then(|target| {
            plain(target.split('?').next()?.trim_end_matches('/').rsplit('/').next()?)
        });
        let operation = named.or(last).map(|it| Arc::from(it.to_ascii_lowercase()));
        let target = match (said, &operation) {
            (Some(Ok(target)), _) => versioned(target),
            (_, Some(operation)) => {
                versioned(format!("/api/saas/subscriptions/{id}/operations/{operation}"))
            }
            (Some(Err(bad)), None) => return Err(bad.into()),
            (None, None) => String::new(),
        };
        let Some(operation) = operation else {
            let what = "it does not say which operation that became; read the subscription";
            return Err(refusal(endpoint, answer, ErrorKind::Unreadable, what));
        };
        let wait = retry_after(&answer.headers, self.pace.now()).unwrap_or(WAIT);
        Ok(Accepted { operation, location: Link::after(None, target, false)?, wait })
    }
}

fn locked(endpoint: &str, answer: &Answer) -> MicrosoftError {
    let what = "another operation on the subscription is going on: try again in some minutes";
    refusal(endpoint, answer, ErrorKind::Locked, what)
}
