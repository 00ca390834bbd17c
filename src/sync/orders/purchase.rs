//! Purchases: what a token stands for, the activation, the plans there are.

use std::sync::Arc;

use tracing::{info, warn};

use super::{Activated, OrderError, Purchase, Work};
use crate::domain::{Cause, PurchaseToken, Subscription, SubscriptionId, SubscriptionStatus};
use crate::microsoft::{AvailablePlan, ErrorKind, Meter, MicrosoftError, Read};

impl Work {
    pub(super) async fn resolve(
        &self,
        token: &PurchaseToken,
        by: &Cause,
    ) -> Result<Purchase, OrderError> {
        let marketplace = self.sources.microsoft.marketplace();
        let resolved = marketplace.resolve(&Meter::new(), token).await;
        let id = resolved.map_err(of_token)?.id;
        let subscription = self.look(id, by).await?;
        let plan = self.present_plan(&subscription).await;
        Ok(Purchase { subscription, plan })
    }

    /// The plan that was bought, as far as Microsoft tells it: its name is worth no failure.
    pub(super) async fn present_plan(&self, subscription: &Subscription) -> Option<AvailablePlan> {
        if subscription.status == SubscriptionStatus::Unsubscribed {
            return None;
        }
        let plan = Arc::clone(&subscription.plan);
        let told = self.told_plans(subscription.id, Some(&plan)).await;
        let told = told.inspect_err(|error| {
            warn!(error = error as &dyn std::error::Error, "The name of a plan cannot be read");
        });
        told.ok()?.into_iter().find(|it| it.plan == plan)
    }

    pub(super) async fn plans(&self, id: SubscriptionId) -> Result<Vec<AvailablePlan>, OrderError> {
        match self.told_plans(id, None).await {
            // 403 is what the plans of an ended subscription get, too.
            Err(refused @ OrderError::Registration(_)) => match self.read(id).await {
                Ok(it) if it.subscription.status == SubscriptionStatus::Unsubscribed => {
                    Err(OrderError::Ended(id))
                }
                Ok(_) | Err(_) => Err(refused),
            },
            told => told,
        }
    }

    pub(super) async fn told_plans(
        &self,
        id: SubscriptionId,
        plan: Option<&str>,
    ) -> Result<Vec<AvailablePlan>, OrderError> {
        let told = self.sources.microsoft.marketplace().plans(&Meter::new(), id, plan).await;
        let told = told.map_err(|error| OrderError::of(id, error))?;
        let understood = told.into_iter().filter_map(|it| match it {
            Read::Understood(plan, _) => Some(plan),
            Read::Odd { why, .. } => {
                warn!(why, "A plan could not be understood: left out");
                None
            }
        });
        Ok(understood.collect())
    }

    pub(super) async fn activate(
        &self,
        id: SubscriptionId,
        by: &Cause,
    ) -> Result<Activated, OrderError> {
        let mut before = self.look(id, by).await?;
        if let Some(settled) = activatable(&before)? {
            return Ok(settled);
        }
        let _held = if let Some(held) = self.desk.hold(id) {
            held
        } else {
            // Pressed twice, or by two: what the other one came to is looked at.
            let held = self.desk.turn(id).await;
            before = self.look(id, by).await?;
            if let Some(settled) = activatable(&before)? {
                return Ok(settled);
            }
            held
        };
        let (plan, quantity) = (Arc::clone(&before.plan), before.quantity);
        let marketplace = self.sources.microsoft.marketplace();
        match marketplace.activate(&Meter::new(), id, &plan, quantity).await {
            Ok(()) => {
                info!(subscription.id = %id, "Microsoft took an activation");
                self.note(&before, by, format!("activation of plan {plan} accepted")).await?;
                Ok(Activated::Accepted(before))
            }
            Err(error) => self.activation_failed(id, by, error).await,
        }
    }

    /// Whatever was said to an activation: one that reads as live is success.
    ///
    /// Source: marketplace-saas.md sections 3.6 and 6.2.
    async fn activation_failed(
        &self,
        id: SubscriptionId,
        by: &Cause,
        error: MicrosoftError,
    ) -> Result<Activated, OrderError> {
        let unsure = error.may_have_taken_effect();
        let reading = match self.read(id).await {
            Ok(reading) => reading,
            Err(_also) if unsure => return Err(OrderError::Unsure { id, because: error }),
            Err(_also) => return Err(OrderError::of(id, error)),
        };
        let now = reading.subscription.clone();
        if now.status == SubscriptionStatus::Subscribed {
            self.apply(reading, by, Some("activated".to_owned())).await?;
            return Ok(Activated::Already(now));
        }
        self.apply(reading, by, Some(format!("activation failed: {error}"))).await?;
        activatable(&now)?;
        // Microsoft has the subscription: a 404 was about its state, which has just changed.
        if error.kind() == ErrorKind::NotFound {
            return Err(OrderError::Rejected(error));
        }
        Err(if unsure { OrderError::PerhapsActivated(error) } else { OrderError::of(id, error) })
    }
}

/// Whether there is something to activate: `None` if so.
fn activatable(subscription: &Subscription) -> Result<Option<Activated>, OrderError> {
    match &subscription.status {
        SubscriptionStatus::Subscribed => Ok(Some(Activated::Already(subscription.clone()))),
        SubscriptionStatus::Suspended => Err(OrderError::Suspended(subscription.id)),
        SubscriptionStatus::Unsubscribed => Err(OrderError::Ended(subscription.id)),
        // What a new word means is Microsoft's to say.
        SubscriptionStatus::PendingFulfillmentStart | SubscriptionStatus::Unrecognized(_) => {
            Ok(None)
        }
    }
}

fn of_token(error: MicrosoftError) -> OrderError {
    match error.kind() {
        ErrorKind::NotFound => OrderError::Expired,
        ErrorKind::Transient | ErrorKind::Throttled => OrderError::Away(error),
        ErrorKind::Consent | ErrorKind::Credential => OrderError::Registration(error),
        ErrorKind::Resync
        | ErrorKind::RestartSequence
        | ErrorKind::National
        | ErrorKind::Unreadable
        | ErrorKind::Refused
        | ErrorKind::Rejected
        | ErrorKind::Locked => OrderError::Unreadable(error.to_string().into()),
    }
}
