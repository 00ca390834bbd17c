//! What the publisher may ask for: resolve, activate, change, cancel, and its word on operations.
//! Source: marketplace-saas.md 4, 6, 7.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::offer;
use super::orders::{BEGINNING, CARRYING_OUT, Deed, Operation, Standing, Step};
use super::subscription::Subscription;
use super::{World, WorldError};
use crate::sandbox::chance;
use crate::sandbox::wire::later;

/// How long a landing token is good for.
const TOKEN_LIFE: SignedDuration = SignedDuration::from_hours(24);

/// How long a cancellation costs nothing; annual terms cannot be ended later.
const FREE_FOR: SignedDuration = SignedDuration::from_hours(72);

/// Why a request is refused: the status and what Microsoft would say.
pub(crate) type Refusal = (u16, &'static str);

/// What an accepted cancellation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cancel {
    Accepted(Uuid),
    Already,
}

impl World {
    /// The token that a click on "Configure account" would bring to the landing page, decoded:
    /// 216 characters with `+` and `/` in them. In an address it must be percent-encoded.
    ///
    /// # Errors
    /// No such subscription.
    pub fn landing_token(&mut self, subscription: Uuid) -> Result<String, WorldError> {
        self.bought(subscription)?;
        let now = self.now();
        let mut bytes: Vec<u8> = vec![0xfb, 0xef, 0xff];
        for _ in 0..10 {
            bytes.extend(self.fresh_id().into_bytes());
        }
        bytes.truncate(161);
        let token = STANDARD.encode(bytes);
        self.orders.tokens.retain(|_, (_, until)| *until > now);
        self.orders.tokens.insert(token.clone(), (subscription, later(now, TOKEN_LIFE)));
        Ok(token)
    }

    /// What a landing token stands for, while it is good.
    pub(crate) fn landed(&self, token: &str) -> Option<Subscription> {
        let (id, until) = self.orders.tokens.get(token)?;
        if *until > self.now() { self.subscription(*id) } else { None }
    }

    /// Takes an activation; it takes effect later.
    pub(crate) fn activate(
        &mut self,
        id: Uuid,
        plan: Option<&str>,
        quantity: Option<u64>,
    ) -> Result<(), Refusal> {
        let unknown = (404, "Subscription with the specified id is not found.");
        let subscription = self.subscription(id).ok_or(unknown)?;
        match subscription.saas_subscription_status.as_str() {
            "PendingFulfillmentStart" => {}
            "Subscribed" => return Ok(()),
            "Unsubscribed" => return Err(unknown),
            _ => return Err((400, "The subscription is suspended.")),
        }
        if plan.is_some_and(|plan| !plan.eq_ignore_ascii_case(&subscription.plan_id)) {
            return Err((400, "The plan is not the plan of the subscription."));
        }
        if quantity.is_some_and(|it| Some(it) != subscription.quantity.map(u64::from)) {
            return Err((400, "The quantity is not the quantity of the subscription."));
        }
        let lag = SignedDuration::try_from(self.faults().activation).unwrap_or_default();
        self.plan_step(later(self.now(), lag), Step::Activate(id));
        Ok(())
    }

    /// Takes a request for another plan or quantity.
    pub(crate) fn request_change(
        &mut self,
        operation: Uuid,
        id: Uuid,
        plan: Option<&str>,
        quantity: Option<u64>,
    ) -> Result<Uuid, Refusal> {
        let unknown = (404, "Subscription with the specified id is not found.");
        let before = self.subscription(id).ok_or(unknown)?;
        if before.saas_subscription_status != "Subscribed" {
            return Err((400, "The subscription is not in the state Subscribed."));
        }
        if !before.allowed_customer_operations.iter().any(|it| it == "Update") {
            return Err((400, "Update is not an allowed operation."));
        }
        if self.open_operation(id).is_some() {
            return Err((400, "Another operation is pending on the subscription."));
        }
        let mut after = before.clone();
        let deed = match (plan, quantity) {
            (Some(_), Some(_)) => return Err((400, "Plan and quantity cannot both be changed.")),
            (None, None) => return Err((400, "A plan or a quantity is needed.")),
            (Some(plan), None) => {
                let plan = offer::plan(plan).ok_or((400, "The plan is not available."))?;
                if plan.id == before.plan_id {
                    return Err((400, "The subscription has this plan already."));
                }
                plan.id.clone_into(&mut after.plan_id);
                after.quantity = plan.seats_for(before.quantity);
                Deed::ChangePlan
            }
            (None, Some(quantity)) => {
                let seats = offer::plan(&before.plan_id).and_then(|it| it.seats);
                let (least, most) = seats.ok_or((400, "The plan has no quantity."))?;
                let wanted = u32::try_from(quantity).ok();
                let wanted = wanted.filter(|it| (least..=most).contains(it));
                after.quantity = Some(wanted.ok_or((400, "The quantity is out of range."))?);
                if after.quantity == before.quantity {
                    return Err((400, "The subscription has this quantity already."));
                }
                Deed::ChangeQuantity
            }
        };
        Ok(self.request(operation, deed, &after))
    }

    /// Takes a request to end a subscription. A reinstatement that waits for a word holds no lock
    /// against it: cancelling is how it is refused.
    pub(crate) fn request_end(&mut self, operation: Uuid, id: Uuid) -> Result<Cancel, Refusal> {
        let unknown = (404, "Subscription with the specified id is not found.");
        let subscription = self.subscription(id).ok_or(unknown)?;
        if subscription.saas_subscription_status == "Unsubscribed" {
            return Ok(Cancel::Already);
        }
        if !subscription.allowed_customer_operations.iter().any(|it| it == "Delete") {
            return Err((400, "Delete is not an allowed operation."));
        }
        if is_long(&subscription) && !self.is_free(&subscription) {
            return Err((400, "An annual subscription cannot be canceled after 72 hours."));
        }
        match self.open_operation(id).map(|it| it.deed) {
            Some(Deed::Reinstate) => self.abandon(id),
            Some(_) => return Err((409, "Another operation is pending on the subscription.")),
            None => {}
        }
        Ok(Cancel::Accepted(self.request(operation, Deed::Unsubscribe, &subscription)))
    }

    /// Whether it was bought less than 72 hours ago, or never activated.
    /// Source: marketplace-saas.md 6.7.
    fn is_free(&self, subscription: &Subscription) -> bool {
        let bought: Option<Timestamp> = subscription.created.parse().ok();
        subscription.saas_subscription_status == "PendingFulfillmentStart"
            || bought.is_none_or(|it| self.now() <= later(it, FREE_FOR))
    }

    fn request(&mut self, id: Uuid, deed: Deed, after: &Subscription) -> Uuid {
        let now = self.now();
        let operation = Operation {
            id,
            subscription: after.id,
            deed,
            standing: Standing::NotStarted,
            plan: after.plan_id.clone(),
            quantity: after.quantity,
            partner: true,
            at: now,
            verdict: None,
        };
        self.plan_step(later(now, BEGINNING), Step::Begin(id));
        self.plan_step(later(now, CARRYING_OUT), Step::End(id));
        self.note_operation(operation)
    }

    /// The publisher's word on an operation. Any word is taken; only `Failure` refuses and only
    /// `Success` accepts, the others change nothing.
    pub(crate) fn decide(&mut self, id: Uuid, of: Uuid, word: &str) -> Result<(), u16> {
        let known = self.operation(id).filter(|it| it.subscription == of).ok_or(400_u16)?;
        if known.partner {
            return Err(500);
        }
        if known.standing != Standing::InProgress || known.verdict.is_some() {
            return Err(409);
        }
        match word {
            "Success" => self.decided(id, true),
            "Failure" => self.decided(id, false),
            _ => {}
        }
        Ok(())
    }

    /// Operations that are being carried out and old enough to be listed: the listing is
    /// eventually consistent. Source: marketplace-saas.md 7.1.
    pub(crate) fn listed_operations(&self, of: Uuid) -> Vec<&Operation> {
        let listed: Timestamp = later(self.now(), -BEGINNING);
        let open = |it: &&Operation| it.standing == Standing::InProgress && it.at <= listed;
        self.operations_of(of).filter(open).collect()
    }

    /// A marketplace id nobody had before.
    pub(super) fn fresh_odd_id(&mut self) -> Uuid {
        let (high, low) = self.fresh_id().as_u64_pair();
        chance::odd_guid(&[high, low])
    }
}

/// Whether the term is counted in years.
fn is_long(subscription: &Subscription) -> bool {
    subscription.term.term_unit.ends_with('Y') && subscription.term.term_unit != "PAY"
}
