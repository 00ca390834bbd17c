//! The life of a subscription: what customers and Microsoft do to it, step by step, and when.
//!
//! Everything has its moment on the sandbox's clock and is done by [`World::settle_orders`], which
//! each question to the marketplace and each delivery calls first. What the publisher may ask for
//! is in `requests`, how it begins in `buying`.
//!
//! Source: marketplace-saas.md 5.4, 8.8, 9.

use std::collections::{BTreeMap, HashMap};

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::buying::{set_term, start};
use super::offer;
use super::subscription::Subscription;
use super::{World, WorldError};
use crate::sandbox::faults::Fault;
use crate::sandbox::wire::later;

/// Microsoft accepts by itself what nobody decided.
const DECISION: SignedDuration = SignedDuration::from_secs(10);
/// Between a decision and its effect.
const PROCESSING: SignedDuration = SignedDuration::from_secs(1);
/// Between our request and its beginning, and its end.
pub(super) const BEGINNING: SignedDuration = SignedDuration::from_secs(2);
pub(super) const CARRYING_OUT: SignedDuration = SignedDuration::from_secs(5);
/// Both for the activation and for the payment after a suspension.
pub(super) const PATIENCE: SignedDuration = SignedDuration::from_hours(30 * 24);

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    ChangePlan,
    ChangeQuantity,
    Suspend,
    Unsubscribe,
    Reinstate,
    Renew,
    Subscribe,
}

impl Deed {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::ChangePlan => "ChangePlan",
            Self::ChangeQuantity => "ChangeQuantity",
            Self::Suspend => "Suspend",
            Self::Unsubscribe => "Unsubscribe",
            Self::Reinstate => "Reinstate",
            Self::Renew => "Renew",
            Self::Subscribe => "Subscribe",
        }
    }

    /// Whether a 4xx to its webhook refuses it.
    pub(crate) fn asks(self) -> bool {
        matches!(self, Self::ChangePlan | Self::ChangeQuantity)
    }
}

/// Where an operation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    NotStarted,
    InProgress,
    Succeeded,
    Failed,
    Conflict,
}

impl Standing {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::NotStarted => "NotStarted",
            Self::InProgress => "InProgress",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::Conflict => "Conflict",
        }
    }

    pub(crate) fn is_open(self) -> bool {
        matches!(self, Self::NotStarted | Self::InProgress)
    }
}

/// One operation.
#[derive(Clone, Debug)]
pub(crate) struct Operation {
    pub(crate) id: Uuid,
    pub(crate) subscription: Uuid,
    pub(crate) deed: Deed,
    pub(crate) standing: Standing,
    /// The plan that is asked for.
    pub(crate) plan: String,
    pub(crate) quantity: Option<u32>,
    /// The publisher asked for it.
    pub(crate) partner: bool,
    pub(crate) at: Timestamp,
    /// What the publisher said to it.
    pub(crate) verdict: Option<bool>,
}

impl Operation {
    /// Whether it asks for another plan or quantity than there is.
    fn is_change_of(&self, now: &Subscription) -> bool {
        self.deed.asks() && (self.plan != now.plan_id || self.quantity != now.quantity)
    }
}

/// Something that is to happen.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// An activation takes effect, or fails.
    Activate(Uuid),
    /// Our own request begins.
    Begin(Uuid),
    /// An operation ends, as decided or because nobody did.
    End(Uuid),
    /// Nobody activated it.
    PendingOver(Uuid),
    /// Nobody paid.
    GraceOver(Uuid),
}

/// Operations, landing tokens and what is to happen.
#[derive(Debug, Default)]
pub(crate) struct Orders {
    pub(super) operations: HashMap<Uuid, Operation>,
    /// In the order of their beginning, per subscription.
    pub(super) of: HashMap<Uuid, Vec<Uuid>>,
    pub(super) tokens: HashMap<String, (Uuid, Timestamp)>,
    due: BTreeMap<(Timestamp, u64), Step>,
    steps: u64,
}

impl World {
    pub(super) fn plan_step(&mut self, at: Timestamp, step: Step) {
        self.orders.steps = self.orders.steps.wrapping_add(1);
        self.orders.due.insert((at, self.orders.steps), step);
    }

    /// Does everything that is due, each at its own moment.
    pub(crate) fn settle_orders(&mut self) {
        let now = self.now();
        while let Some(entry) = self.orders.due.first_entry() {
            let (at, _) = *entry.key();
            if at > now {
                break;
            }
            match entry.remove() {
                Step::Activate(id) => self.activated(id, at),
                Step::Begin(id) => self.begun(id, at),
                Step::End(id) => self.ended(id, at),
                Step::PendingOver(id) => {
                    self.give_up(id, "PendingFulfillmentStart", at);
                }
                Step::GraceOver(id) => self.grace_over(id, at),
            }
        }
    }

    /// A subscription to change.
    pub(crate) fn bought(&self, id: Uuid) -> Result<Subscription, WorldError> {
        self.subscription(id).ok_or(WorldError::NoSubscription(id))
    }

    fn bought_in(&mut self, id: Uuid, states: &[&str]) -> Result<Subscription, WorldError> {
        self.settle_orders();
        let subscription = self.bought(id)?;
        let state = subscription.saas_subscription_status.as_str();
        if !states.contains(&state) {
            return Err(WorldError::State(id, state.to_owned()));
        }
        Ok(subscription)
    }

    /// The operation that holds the lock.
    pub(super) fn open_operation(&self, subscription: Uuid) -> Option<&Operation> {
        let ids = self.orders.of.get(&subscription)?.iter().rev();
        ids.filter_map(|id| self.orders.operations.get(id)).find(|it| it.standing.is_open())
    }

    pub(crate) fn operation(&self, id: Uuid) -> Option<&Operation> {
        self.orders.operations.get(&id)
    }

    /// The operations of a subscription, oldest first.
    pub(crate) fn operations_of(&self, subscription: Uuid) -> impl Iterator<Item = &Operation> {
        let ids = self.orders.of.get(&subscription).into_iter().flatten();
        ids.filter_map(|id| self.orders.operations.get(id))
    }

    /// Operations and their standing, oldest first: the truth to compare an inbox with.
    pub fn operations(&mut self, subscription: Uuid) -> Vec<(Uuid, &'static str, &'static str)> {
        self.settle_orders();
        let told = self.operations_of(subscription);
        told.map(|it| (it.id, it.deed.word(), it.standing.word())).collect()
    }

    pub(super) fn note_operation(&mut self, operation: Operation) -> Uuid {
        let id = operation.id;
        self.orders.of.entry(operation.subscription).or_default().push(id);
        self.orders.operations.insert(id, operation);
        id
    }

    /// Notes an operation of Microsoft's or the customer's and tells the publisher. `after` is the
    /// subscription as it will be; what is told is as it was.
    pub(super) fn happen(
        &mut self,
        deed: Deed,
        before: &Subscription,
        after: &Subscription,
        standing: Standing,
        at: Timestamp,
    ) -> Uuid {
        let operation = Operation {
            id: self.fresh_id(),
            subscription: before.id,
            deed,
            standing,
            plan: after.plan_id.clone(),
            quantity: after.quantity,
            partner: false,
            at,
            verdict: None,
        };
        let id = self.note_operation(operation.clone());
        if standing == Standing::Succeeded {
            self.put_subscription(after);
        } else {
            self.plan_step(later(at, DECISION), Step::End(id));
        }
        self.post_event(&operation, before, at);
        id
    }

    fn activated(&mut self, id: Uuid, at: Timestamp) {
        let Ok(mut subscription) = self.bought(id) else { return };
        if subscription.saas_subscription_status != "PendingFulfillmentStart" {
            return;
        }
        if self.strikes(Fault::ActivationFailure) {
            self.give_up(id, "PendingFulfillmentStart", at);
            return;
        }
        start(&mut subscription, at);
        self.put_subscription(&subscription);
    }

    /// The customer asks for another plan: the publisher is told, and 10 seconds later it is so.
    ///
    /// # Errors
    /// No such subscription or plan, not `Subscribed`, or another operation is going on.
    pub fn change_plan(&mut self, id: Uuid, plan: &str) -> Result<Uuid, WorldError> {
        let before = self.free(id)?;
        let plan = offer::plan(plan).ok_or_else(|| WorldError::Plan(plan.to_owned()))?;
        let mut after = before.clone();
        plan.id.clone_into(&mut after.plan_id);
        after.quantity = plan.seats_for(before.quantity);
        Ok(self.happen(Deed::ChangePlan, &before, &after, Standing::InProgress, self.now()))
    }

    /// The customer asks for another number of seats; goes on as [`Self::change_plan`] does.
    ///
    /// # Errors
    /// No such subscription, not `Subscribed`, or another operation is going on.
    pub fn change_quantity(&mut self, id: Uuid, quantity: u32) -> Result<Uuid, WorldError> {
        let before = self.free(id)?;
        let after = Subscription { quantity: Some(quantity), ..before.clone() };
        Ok(self.happen(Deed::ChangeQuantity, &before, &after, Standing::InProgress, self.now()))
    }

    /// A live subscription that no operation holds.
    fn free(&mut self, id: Uuid) -> Result<Subscription, WorldError> {
        let subscription = self.bought_in(id, &["Subscribed"])?;
        match self.open_operation(id) {
            Some(_) => Err(WorldError::Locked(id)),
            None => Ok(subscription),
        }
    }

    /// Microsoft tells of a change that asks for what is so already, as it does after it has
    /// rolled one back. Source: marketplace-saas.md 8.8.
    ///
    /// # Errors
    /// No such subscription, not `Subscribed`, or another operation is going on.
    pub fn roll_back(&mut self, id: Uuid) -> Result<Uuid, WorldError> {
        let before = self.free(id)?;
        Ok(self.happen(Deed::ChangePlan, &before, &before, Standing::InProgress, self.now()))
    }

    /// A payment fails.
    ///
    /// # Errors
    /// No such subscription, or it is not `Subscribed`.
    pub fn suspend(&mut self, id: Uuid) -> Result<Uuid, WorldError> {
        let before = self.bought_in(id, &["Subscribed"])?;
        self.abandon(id);
        let mut after = before.clone();
        "Suspended".clone_into(&mut after.saas_subscription_status);
        let now = self.now();
        self.plan_step(later(now, PATIENCE), Step::GraceOver(id));
        Ok(self.happen(Deed::Suspend, &before, &after, Standing::Succeeded, now))
    }

    /// It is paid after all: the publisher is told, and 10 seconds later it is live.
    ///
    /// # Errors
    /// No such subscription, it is not `Suspended`, or another operation is going on.
    pub fn reinstate(&mut self, id: Uuid) -> Result<Uuid, WorldError> {
        let before = self.bought_in(id, &["Suspended"])?;
        if self.open_operation(id).is_some() {
            return Err(WorldError::Locked(id));
        }
        Ok(self.happen(Deed::Reinstate, &before, &before, Standing::InProgress, self.now()))
    }

    /// The next term begins.
    ///
    /// # Errors
    /// No such subscription, or it is not `Subscribed`.
    pub fn renew(&mut self, id: Uuid) -> Result<Uuid, WorldError> {
        let before = self.bought_in(id, &["Subscribed"])?;
        let now = self.now();
        let mut after = before.clone();
        let end = before.term.end_date.as_deref().and_then(|it| it.parse::<Timestamp>().ok());
        let next = end.map_or(now, |it| later(it, SignedDuration::from_hours(24)));
        set_term(&mut after.term, next);
        Ok(self.happen(Deed::Renew, &before, &after, Standing::Succeeded, now))
    }

    /// The customer cancels, or the term ends.
    ///
    /// # Errors
    /// No such subscription, or it has ended already.
    pub fn unsubscribe(&mut self, id: Uuid) -> Result<Uuid, WorldError> {
        let live = ["PendingFulfillmentStart", "Subscribed", "Suspended"];
        let before = self.bought_in(id, &live)?;
        self.abandon(id);
        Ok(self.end_subscription(before, self.now()))
    }

    fn end_subscription(&mut self, mut subscription: Subscription, at: Timestamp) -> Uuid {
        "Unsubscribed".clone_into(&mut subscription.saas_subscription_status);
        let after = subscription;
        self.happen(Deed::Unsubscribe, &after, &after, Standing::Succeeded, at)
    }

    /// What was going on fails.
    pub(super) fn abandon(&mut self, subscription: Uuid) {
        while let Some(id) = self.open_operation(subscription).map(|it| it.id) {
            if let Some(operation) = self.orders.operations.get_mut(&id) {
                operation.standing = Standing::Failed;
            }
        }
    }

    fn give_up(&mut self, id: Uuid, while_it_is: &str, at: Timestamp) -> bool {
        let Ok(subscription) = self.bought(id) else { return false };
        if subscription.saas_subscription_status != while_it_is {
            return false;
        }
        self.abandon(id);
        self.end_subscription(subscription, at);
        true
    }

    /// Thirty days after the *last* suspension: an earlier one may have been paid.
    fn grace_over(&mut self, id: Uuid, at: Timestamp) {
        let last = self.operations_of(id).filter(|it| it.deed == Deed::Suspend).last();
        if last.is_some_and(|it| later(it.at, PATIENCE) <= at) {
            self.give_up(id, "Suspended", at);
        }
    }

    /// The publisher decided, or refused by its answer to the webhook.
    pub(crate) fn decided(&mut self, id: Uuid, yes: bool) {
        let at = later(self.now(), PROCESSING);
        if let Some(operation) = self.orders.operations.get_mut(&id) {
            operation.verdict = Some(yes);
            self.plan_step(at, Step::End(id));
        }
    }

    fn begun(&mut self, id: Uuid, at: Timestamp) {
        let Some(operation) = self.orders.operations.get_mut(&id) else { return };
        if operation.standing != Standing::NotStarted {
            return;
        }
        operation.standing = Standing::InProgress;
        let operation = operation.clone();
        if operation.deed.asks()
            && let Ok(before) = self.bought(operation.subscription)
        {
            self.post_event(&operation, &before, at);
        }
    }

    /// Ends an operation: refused, or done, or what it would do can no longer be done.
    fn ended(&mut self, id: Uuid, at: Timestamp) {
        let Some(operation) = self.orders.operations.get(&id).cloned() else { return };
        if !operation.standing.is_open() {
            return;
        }
        let ignored = operation.verdict == Some(false) && self.strikes(Fault::FailureIgnored);
        let done = operation.verdict != Some(false) || ignored;
        let Ok(mut subscription) = self.bought(operation.subscription) else { return };
        let needs = if operation.deed == Deed::Reinstate { "Suspended" } else { "Subscribed" };
        let ends = operation.deed == Deed::Unsubscribe;
        let done = done && (ends || subscription.saas_subscription_status == needs);
        let conflict = done && operation.deed.asks() && self.strikes(Fault::ChangeConflict);
        let fails =
            done && operation.is_change_of(&subscription) && self.strikes(Fault::ChangeFailure);
        let done = done && !conflict && !fails;
        if let Some(slot) = self.orders.operations.get_mut(&id) {
            slot.standing = match (done, conflict) {
                (true, _) => Standing::Succeeded,
                (false, true) => Standing::Conflict,
                (false, false) => Standing::Failed,
            };
        }
        if fails {
            // What was told is taken back: a change to what there is. Source: 8.8.
            self.happen(operation.deed, &subscription, &subscription, Standing::InProgress, at);
        }
        if !done {
            return;
        }
        match operation.deed {
            Deed::ChangePlan | Deed::ChangeQuantity => {
                subscription.plan_id.clone_from(&operation.plan);
                subscription.quantity = operation.quantity;
            }
            Deed::Unsubscribe => {
                "Unsubscribed".clone_into(&mut subscription.saas_subscription_status);
            }
            Deed::Reinstate => {
                "Subscribed".clone_into(&mut subscription.saas_subscription_status);
            }
            Deed::Suspend | Deed::Renew | Deed::Subscribe => {}
        }
        self.put_subscription(&subscription);
        if ends {
            let operation = Operation { standing: Standing::Succeeded, ..operation };
            self.post_event(&operation, &subscription, at);
        }
    }
}

/// With seven digits after the point, as Microsoft has it.
pub(crate) fn precise(at: Timestamp) -> String {
    format!("{at:.7}")
}
