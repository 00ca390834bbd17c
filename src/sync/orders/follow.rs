//! What Microsoft took, followed to its end.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tracing::{info, warn};

use super::allowed::shows;
use super::ask::{Client, Trail};
use super::{Order, OrderEnd, OrderError, OrderStep, Ordered, Work};
use crate::domain::{
    Action, Cause, OperationStatus, Subscription, SubscriptionId, SubscriptionStatus,
};
use crate::microsoft::{Meter, Operation, Read};

/// How long Microsoft lets us wait between looks when it does not say.
///
/// Source: marketplace-saas.md section 6.6.
const EVERY: Duration = Duration::from_secs(10);

/// How long after Microsoft was away what became of an order is looked for again.
pub(super) const FOLLOW_AGAIN: Duration = Duration::from_mins(1);

/// How long an operation is followed: usually it takes seconds, sometimes minutes.
const FOLLOW_MAX: Duration = Duration::from_mins(15);

/// So many looks at an operation that Microsoft does not know (any more) are enough.
const UNKNOWN_MAX: u32 = 6;

/// So many looks at the subscription after an operation has succeeded: it may show it minutes later.
const SHOWN_WITHIN: u32 = 12;

/// How often a subscription that is being activated is looked at.
///
/// Source: marketplace-saas.md section 6.2.
const ACTIVATION_EVERY: Duration = Duration::from_secs(30);

impl Work {
    /// Follows an operation by its id, whoever asked for it.
    pub(super) async fn follow(
        &self,
        id: SubscriptionId,
        operation: &str,
        by: &Cause,
        progress: &mpsc::Sender<OrderStep>,
    ) -> Result<Ordered, OrderError> {
        let client = Client { id, by, progress };
        let trail = Trail::Named(operation.to_ascii_lowercase().into());
        let found = self.operation(id, &trail).await?;
        let found = found.ok_or_else(|| OrderError::NoOperation(operation.into()))?;
        match ordered_by(&found) {
            Some(order) => self.follow_order(&client, &order, &trail).await,
            None => Err(OrderError::NoOrder(found.action.as_str().into())),
        }
    }

    /// Looks at the operation until it is over, then at the subscription. Bounded: what goes on
    /// longer is no failure.
    pub(super) async fn follow_order(
        &self,
        client: &Client<'_>,
        order: &Order,
        trail: &Trail,
    ) -> Result<Ordered, OrderError> {
        let operation = trail.operation();
        let wait = match trail {
            Trail::Told(it) => it.wait,
            Trail::Named(_) => EVERY,
        };
        let (mut waited, mut unknown) = (Duration::ZERO, 0_u32);
        while waited < FOLLOW_MAX && unknown < UNKNOWN_MAX {
            self.wait(wait).await?;
            waited = waited.saturating_add(wait);
            let found = match self.operation(client.id, trail).await {
                Ok(found) => found,
                Err(error) if error.is_transient() => {
                    client.tell(OrderStep::ReadingBack { because: error.to_string().into() });
                    continue;
                }
                Err(error) => return Err(error),
            };
            let status = found.map(|it| it.status);
            client.tell(OrderStep::Looked {
                status: status.as_ref().map_or("unknown", OperationStatus::as_str).into(),
                waited,
            });
            match status {
                Some(OperationStatus::Succeeded) => {
                    return self.settle(client, order, Some(operation)).await;
                }
                Some(OperationStatus::Failed) => {
                    return self.failed(client, order, operation).await;
                }
                Some(OperationStatus::Conflict) => {
                    return self.conflict(client, order, operation).await;
                }
                Some(
                    OperationStatus::NotStarted
                    | OperationStatus::InProgress
                    | OperationStatus::Unrecognized(_),
                ) => unknown = 0,
                None => unknown += 1,
            }
        }
        let now = self.look(client.id, client.by).await?;
        if shows(&now, order) {
            return self.settle(client, order, Some(operation)).await;
        }
        warn!(operation.id = &**operation, "An operation goes on for long: no longer followed");
        let end = OrderEnd::UnderWay;
        Ok(Ordered { subscription: now, operation: Some(Arc::clone(operation)), end })
    }

    /// One look at an operation.
    async fn operation(
        &self,
        id: SubscriptionId,
        trail: &Trail,
    ) -> Result<Option<Operation>, OrderError> {
        let (marketplace, meter) = (self.sources.microsoft.marketplace(), Meter::new());
        let found = match trail {
            Trail::Told(accepted) => marketplace.follow(&meter, accepted).await,
            Trail::Named(operation) => marketplace.operation(&meter, id, operation).await,
        };
        match found.map_err(|error| OrderError::of(id, error))? {
            Some(Read::Understood(it, _)) if it.subscription == id => Ok(Some(it)),
            Some(Read::Understood(..)) => {
                warn!("The operation is another subscription's");
                Ok(None)
            }
            Some(Read::Odd { why, .. }) => {
                warn!(why, "The operation cannot be understood");
                Ok(None)
            }
            None => Ok(None),
        }
    }

    /// It is said to be done: the mirror takes over what the subscription shows, and when.
    pub(super) async fn settle(
        &self,
        client: &Client<'_>,
        order: &Order,
        operation: Option<&Arc<str>>,
    ) -> Result<Ordered, OrderError> {
        let mut looks = 1;
        let reading = loop {
            let reading = self.read(client.id).await?;
            if shows(&reading.subscription, order) || looks >= SHOWN_WITHIN {
                break reading;
            }
            looks += 1;
            client.tell(OrderStep::Unseen);
            self.wait(EVERY).await?;
        };
        let subscription = reading.subscription.clone();
        let end = if shows(&subscription, order) { OrderEnd::Done } else { OrderEnd::DoneUnseen };
        let as_what = operation.map(|it| format!(" (operation {it})")).unwrap_or_default();
        self.apply(reading, client.by, Some(format!("{order} is done{as_what}"))).await?;
        info!(subscription.id = %client.id, "An order is done");
        Ok(Ordered { subscription, operation: operation.cloned(), end })
    }

    async fn failed(
        &self,
        client: &Client<'_>,
        order: &Order,
        operation: &Arc<str>,
    ) -> Result<Ordered, OrderError> {
        let reading = self.read(client.id).await?;
        let words = format!("{order} failed at Microsoft (operation {operation})");
        self.apply(reading, client.by, Some(words)).await?;
        Err(OrderError::Failed { operation: Arc::clone(operation) })
    }

    /// The subscription already was so; what it shows decides.
    async fn conflict(
        &self,
        client: &Client<'_>,
        order: &Order,
        operation: &Arc<str>,
    ) -> Result<Ordered, OrderError> {
        let reading = self.read(client.id).await?;
        let subscription = reading.subscription.clone();
        let words = format!("{order} changed nothing: it was so (operation {operation})");
        self.apply(reading, client.by, Some(words)).await?;
        if !shows(&subscription, order) {
            return Err(OrderError::Failed { operation: Arc::clone(operation) });
        }
        let operation = Some(Arc::clone(operation));
        Ok(Ordered { subscription, operation, end: OrderEnd::Already })
    }

    /// Looks at a subscription that is being activated until it is live, or not to be. Bounded.
    pub(super) async fn follow_activation(
        &self,
        id: SubscriptionId,
        by: &Cause,
        progress: &mpsc::Sender<OrderStep>,
    ) -> Result<Ordered, OrderError> {
        let client = Client { id, by, progress };
        let mut waited = Duration::ZERO;
        loop {
            let subscription = match self.look(id, by).await {
                Ok(it) => Some(it),
                Err(error) if error.is_transient() && waited < FOLLOW_MAX => {
                    client.tell(OrderStep::ReadingBack { because: error.to_string().into() });
                    None
                }
                Err(error) => return Err(error),
            };
            if let Some(subscription) = subscription {
                let status = subscription.status.as_str().into();
                client.tell(OrderStep::Looked { status, waited });
                if let Some(end) = activation_end(&subscription)? {
                    return Ok(Ordered { subscription, operation: None, end });
                }
                if waited >= FOLLOW_MAX {
                    let end = OrderEnd::UnderWay;
                    return Ok(Ordered { subscription, operation: None, end });
                }
            }
            self.wait(ACTIVATION_EVERY).await?;
            waited = waited.saturating_add(ACTIVATION_EVERY);
        }
    }
}

/// How an activation ended, if it has.
fn activation_end(subscription: &Subscription) -> Result<Option<OrderEnd>, OrderError> {
    match &subscription.status {
        SubscriptionStatus::Subscribed => Ok(Some(OrderEnd::Done)),
        SubscriptionStatus::Suspended => Err(OrderError::Suspended(subscription.id)),
        SubscriptionStatus::Unsubscribed => Err(OrderError::NotActivated(subscription.id)),
        SubscriptionStatus::PendingFulfillmentStart | SubscriptionStatus::Unrecognized(_) => {
            Ok(None)
        }
    }
}

/// The order that an operation carries out.
fn ordered_by(operation: &Operation) -> Option<Order> {
    match operation.action {
        Action::ChangePlan => operation.plan.clone().map(Order::Plan),
        Action::ChangeQuantity => operation.quantity.map(Order::Quantity),
        Action::Unsubscribe => Some(Order::Cancel),
        Action::Suspend
        | Action::Reinstate
        | Action::Renew
        | Action::Subscribe
        | Action::Unrecognized(_) => None,
    }
}
