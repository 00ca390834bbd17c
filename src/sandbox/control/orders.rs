//! `{"marketplace": {…}}`: what customers, Microsoft and forgers do about subscriptions.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::sandbox::webhook::{Forgery, Webhook};
use crate::sandbox::world::{Purchase, WorldError};
use crate::sandbox::{Stumble, World};

/// One order: `{"suspend": "<subscription>"}`. Names are those of the methods of [`World`].
#[derive(Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Order {
    Buy(Purchase),
    LandingToken(Uuid),
    ChangePlan {
        subscription: Uuid,
        plan: String,
    },
    ChangeQuantity {
        subscription: Uuid,
        quantity: u32,
    },
    RollBack(Uuid),
    Suspend(Uuid),
    Reinstate(Uuid),
    Renew(Uuid),
    Unsubscribe(Uuid),
    Stumble(Stumble),
    /// `null`: nowhere.
    SetWebhook(Option<Webhook>),
    /// Any JSON, with a genuine token.
    SendWebhook(Box<RawValue>),
    ForgeWebhook {
        subscription: Uuid,
        forgery: Forgery,
    },
}

/// Carries an order out; what it made is in the answer.
pub(super) fn apply(world: &mut World, order: Order) -> Result<Value, WorldError> {
    let operation = match order {
        Order::Buy(purchase) => return Ok(json!({"subscription": world.buy(purchase)?})),
        Order::LandingToken(id) => return Ok(json!({"token": world.landing_token(id)?})),
        Order::SetWebhook(webhook) => {
            world.set_webhook(webhook);
            return Ok(json!({}));
        }
        Order::SendWebhook(body) => {
            world.send_webhook(body.get());
            return Ok(json!({}));
        }
        Order::Stumble(stumble) => {
            world.stumble(stumble);
            return Ok(json!({}));
        }
        Order::ForgeWebhook { subscription, forgery } => {
            world.forge_webhook(subscription, forgery)?;
            return Ok(json!({}));
        }
        Order::ChangePlan { subscription, plan } => world.change_plan(subscription, &plan)?,
        Order::ChangeQuantity { subscription, quantity } => {
            world.change_quantity(subscription, quantity)?
        }
        Order::RollBack(id) => world.roll_back(id)?,
        Order::Suspend(id) => world.suspend(id)?,
        Order::Reinstate(id) => world.reinstate(id)?,
        Order::Renew(id) => world.renew(id)?,
        Order::Unsubscribe(id) => world.unsubscribe(id)?,
    };
    Ok(json!({"operation": operation}))
}
