//! A change or an end, from the first look to the last.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::mpsc;
use tracing::{info, warn};

use super::allowed::{check, notes, shows};
use super::under_way::UnderWay;
use super::{Order, OrderEnd, OrderError, OrderStep, Ordered, Preview, Request, Work};
use crate::domain::{Action, Cause, Commit, RequestSource, Subscription, SubscriptionId};
use crate::microsoft::{
    Accepted, AvailablePlan, Cancelled, Change, ErrorKind, Meter, MicrosoftError, Operation, Read,
};

/// How often one order is asked for, each time after it was seen that the last one did nothing.
const ASKS_MAX: u32 = 3;

/// How long after a failure that may have taken effect is looked for it: an accepted request takes
/// seconds to show among the operations.
///
/// Source: marketplace-saas.md sections 6.6 and 7.1.
const LOOKS: [Duration; 4] = [
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(20),
];

/// How much Microsoft's clock may be behind ours.
const CLOCKS: SignedDuration = SignedDuration::from_mins(2);

/// An operation to be followed.
#[derive(Clone, Debug)]
pub(super) enum Trail {
    /// Where Microsoft said it can be seen.
    Told(Accepted),
    /// By its id.
    Named(Arc<str>),
}

impl Trail {
    pub(super) fn operation(&self) -> &Arc<str> {
        match self {
            Self::Told(it) => &it.operation,
            Self::Named(it) => it,
        }
    }
}

/// What asking led to.
enum Asked {
    /// An operation.
    Operation(Trail),
    /// The subscription is as it was ordered.
    Shows,
}

/// What is found after a failure, or a restart.
pub(super) enum Found {
    Shows,
    /// What was asked for is being carried out.
    Ours(Arc<str>),
    /// Something else is.
    Another,
    /// The subscription is as before, and nothing is going on.
    Nothing(Box<Subscription>),
}

/// Who orders what, and where they hear of it.
pub(super) struct Client<'a> {
    pub(super) id: SubscriptionId,
    pub(super) by: &'a Cause,
    pub(super) progress: &'a mpsc::Sender<OrderStep>,
}

impl Client<'_> {
    /// Whoever asked may have left or be slow; the order does not wait for them.
    pub(super) fn tell(&self, step: OrderStep) {
        drop(self.progress.try_send(step));
    }
}

impl Work {
    pub(super) async fn order(
        &self,
        id: SubscriptionId,
        request: &Request,
        progress: &mpsc::Sender<OrderStep>,
    ) -> Result<Ordered, OrderError> {
        let Request { order, by, force, wait } = request;
        let client = Client { id, by, progress };
        let _held = self.desk.hold(id).ok_or(OrderError::Busy(id))?;
        let before = self.look(id, by).await?;
        if shows(&before, order) {
            return Ok(Ordered::already(before));
        }
        let plans = self.plans_for(&before, order).await?;
        check(&before, order, &plans, *force, (self.sources.clock)())?;
        let since = (self.sources.clock)().checked_sub(CLOCKS).unwrap_or(Timestamp::MIN);
        let kept = UnderWay { subscription: id, order: order.clone(), operation: None, since };
        let note = self.noting(&before, by, format!("asked for {}", order.over(&before)));
        self.keep(kept.clone(), note).await?;
        let ended = self.carried_out(&client, (before, order), kept, *wait).await;
        self.strike(id, &ended).await;
        ended
    }

    /// Asks, and follows what was asked for if it is to be waited for.
    async fn carried_out(
        &self,
        client: &Client<'_>,
        (before, order): (Subscription, &Order),
        kept: UnderWay,
        wait: bool,
    ) -> Result<Ordered, OrderError> {
        let (id, by) = (client.id, client.by);
        let trail = match self.ask(client, order, kept.since).await {
            Ok(Asked::Operation(trail)) => trail,
            Ok(Asked::Shows) => return self.settle(client, order, None).await,
            Err(error) => return Err(self.came_to_nothing(client, &before, order, error).await),
        };
        let operation = Arc::clone(trail.operation());
        info!(subscription.id = %id, operation.id = &*operation, "Microsoft took an order");
        client.tell(OrderStep::Accepted { operation: Arc::clone(&operation) });
        let kept = UnderWay { operation: Some(Arc::clone(&operation)), ..kept };
        if let Err(error) = self.keep(kept, Commit::default()).await {
            // It is looked for by what it does if the daemon is stopped now.
            let error = &error as &dyn std::error::Error;
            warn!(error, "The operation of an order cannot be written down");
        }
        if !wait {
            let words = format!("{order} is being carried out as operation {operation}");
            self.note(&before, by, words).await?;
            let end = OrderEnd::UnderWay;
            return Ok(Ordered { subscription: before, operation: Some(operation), end });
        }
        self.follow_order(client, order, &trail).await.map_err(|error| error.after(operation))
    }

    /// Notes why; a journal that cannot be written hides no reason.
    async fn came_to_nothing(
        &self,
        client: &Client<'_>,
        before: &Subscription,
        order: &Order,
        error: OrderError,
    ) -> OrderError {
        let words = format!("{order} came to nothing: {error}");
        if let Err(unwritten) = self.note(before, client.by, words).await {
            let unwritten = &unwritten as &dyn std::error::Error;
            warn!(error = unwritten, "What became of an order cannot be written down");
        }
        error
    }

    /// What an order would mean; asks for nothing.
    pub(super) async fn preview(
        &self,
        id: SubscriptionId,
        order: &Order,
        force: bool,
        by: &Cause,
    ) -> Result<Preview, OrderError> {
        let subscription = self.look(id, by).await?;
        let now = (self.sources.clock)();
        let already = shows(&subscription, order);
        if !already {
            let plans = self.plans_for(&subscription, order).await?;
            check(&subscription, order, &plans, force, now)?;
        }
        let plan = self.present_plan(&subscription).await;
        let notes = notes(&subscription, order, now);
        Ok(Preview { subscription, plan, already, notes })
    }

    /// The plans by which an order is judged.
    async fn plans_for(
        &self,
        subscription: &Subscription,
        order: &Order,
    ) -> Result<Vec<AvailablePlan>, OrderError> {
        let only = match order {
            Order::Cancel => return Ok(Vec::new()),
            Order::Plan(_) => None,
            Order::Quantity(_) => Some(&*subscription.plan),
        };
        match self.told_plans(subscription.id, only).await {
            // Which they are is not known: why, what is asked for next shows.
            Err(OrderError::Registration(_) | OrderError::Unreadable(_)) => Ok(Vec::new()),
            told => told,
        }
    }

    /// Asks, and asks again only when the last time is seen to have done nothing.
    async fn ask(
        &self,
        client: &Client<'_>,
        order: &Order,
        since: Timestamp,
    ) -> Result<Asked, OrderError> {
        let id = client.id;
        let mut unsure = false;
        let mut asks = 1;
        loop {
            let error = match self.send(id, order).await {
                Ok(asked) => return Ok(asked),
                Err(error) => error,
            };
            unsure |= error.may_have_taken_effect();
            let judged = match error.kind() {
                ErrorKind::Rejected | ErrorKind::Locked => true,
                ErrorKind::Transient
                | ErrorKind::Throttled
                | ErrorKind::Consent
                | ErrorKind::Credential
                | ErrorKind::Resync
                | ErrorKind::RestartSequence
                | ErrorKind::NotFound
                | ErrorKind::National
                | ErrorKind::Unreadable
                | ErrorKind::Refused => false,
            };
            if !unsure && !judged {
                return Err(OrderError::of(id, error));
            }
            client.tell(OrderStep::ReadingBack { because: error.to_string().into() });
            let found = match self.read_back(client, order, since, unsure).await {
                Ok(found) => found,
                Err(OrderError::Stopping) => return Err(OrderError::Stopping),
                Err(_also) if unsure => return Err(OrderError::Unsure { id, because: error }),
                Err(_also) => return Err(OrderError::of(id, error)),
            };
            match found {
                Found::Shows => return Ok(Asked::Shows),
                Found::Ours(operation) => return Ok(Asked::Operation(Trail::Named(operation))),
                Found::Another => return Err(OrderError::Locked(id)),
                Found::Nothing(now) if judged => return Err(self.refused(&now, order, error)),
                Found::Nothing(_) if asks < ASKS_MAX => {
                    let error = &error as &dyn std::error::Error;
                    warn!(
                        error,
                        "An order did nothing, as subscription and operations show: again"
                    );
                    asks += 1;
                }
                Found::Nothing(_) => return Err(OrderError::Away(error)),
            }
        }
    }

    /// Why Microsoft will not: what the subscription shows by now says more than its answer.
    fn refused(&self, now: &Subscription, order: &Order, error: MicrosoftError) -> OrderError {
        match check(now, order, &[], true, (self.sources.clock)()) {
            Err(known) => known,
            Ok(()) => OrderError::of(now.id, error),
        }
    }

    async fn send(&self, id: SubscriptionId, order: &Order) -> Result<Asked, MicrosoftError> {
        let marketplace = self.sources.microsoft.marketplace();
        let meter = Meter::new();
        let accepted = match order {
            Order::Plan(plan) => marketplace.change(&meter, id, Change::Plan(plan)).await?,
            Order::Quantity(it) => marketplace.change(&meter, id, Change::Quantity(*it)).await?,
            Order::Cancel => match marketplace.cancel(&meter, id).await? {
                Cancelled::Accepted(accepted) => accepted,
                Cancelled::AlreadyEnded => return Ok(Asked::Shows),
            },
        };
        Ok(Asked::Operation(Trail::Told(accepted)))
    }

    /// Whether an order took effect after all. When that is open it is looked for some times, for
    /// operations are listed late; a plain refusal needs one look.
    ///
    /// Source: marketplace-saas.md sections 3.4 and 7.1.
    pub(super) async fn read_back(
        &self,
        client: &Client<'_>,
        order: &Order,
        since: Timestamp,
        unsure: bool,
    ) -> Result<Found, OrderError> {
        let mut waits = LOOKS.into_iter();
        loop {
            let now = self.look(client.id, client.by).await?;
            if shows(&now, order) {
                return Ok(Found::Shows);
            }
            let listed = self.sources.microsoft.marketplace();
            let listed = listed.operations(&Meter::new(), client.id).await;
            let listed = listed.map_err(|error| OrderError::of(client.id, error))?;
            let open = listed.into_iter().filter_map(|it| match it {
                Read::Understood(it, _) if !it.status.is_over() => Some(it),
                Read::Understood(..) | Read::Odd { .. } => None,
            });
            let open: Vec<Operation> = open.collect();
            if let Some(ours) = open.iter().find(|it| is_ours(it, order, since)) {
                return Ok(Found::Ours(Arc::clone(&ours.id)));
            }
            if !open.is_empty() {
                return Ok(Found::Another);
            }
            match waits.next().filter(|_| unsure) {
                Some(wait) => self.wait(wait).await?,
                None => return Ok(Found::Nothing(Box::new(now))),
            }
        }
    }
}

/// Whether an operation is what we have just asked for.
fn is_ours(operation: &Operation, order: &Order, since: Timestamp) -> bool {
    let same = match order {
        Order::Plan(plan) => {
            operation.action == Action::ChangePlan
                && operation.plan.as_ref().is_none_or(|it| it.eq_ignore_ascii_case(plan))
        }
        Order::Quantity(quantity) => {
            operation.action == Action::ChangeQuantity
                && operation.quantity.is_none_or(|it| it == *quantity)
        }
        Order::Cancel => operation.action == Action::Unsubscribe,
    };
    let ours = match &operation.source {
        RequestSource::Partner => true,
        RequestSource::Azure => false,
        RequestSource::Unrecognized(word) => word.is_empty(), // may be left out
    };
    same && ours && operation.at.is_none_or(|it| it >= since)
}
