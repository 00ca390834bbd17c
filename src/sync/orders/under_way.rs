//! Orders that are under way, as they are kept on disk: a daemon that was stopped or killed goes on
//! following them, and their subscriptions are looked at more closely.
//!
//! All of them are one document, which is changed on the thread that writes, so that two orders do
//! not forget each other. What is old, or so as was ordered, goes when the next one is written down.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tracing::{info, warn};

use super::allowed::shows;
use super::ask::{Client, Found, Trail};
use super::{Order, OrderEnd, OrderError, Ordered, Work};
use crate::domain::{Cause, Commit, Document, Mirror, SubscriptionId};

/// The document's name.
const NAME: &str = "orders under way";

/// Nothing goes on at Microsoft for so long: what then still does not show never will.
const FORGOTTEN_AFTER: SignedDuration = SignedDuration::from_hours(24);

/// How often what became of an order is looked for after a restart while Microsoft is away.
const TRIES: u32 = 15;

/// An order that Microsoft was asked to carry out, and of which no end was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UnderWay {
    /// Of which subscription.
    pub(crate) subscription: SubscriptionId,
    /// What was ordered.
    pub(super) order: Order,
    /// The operation that Microsoft made of it; `None` if its answer was never seen.
    pub(super) operation: Option<Arc<str>>,
    /// When it was asked for.
    pub(crate) since: Timestamp,
}

/// As it is kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    subscription: String,
    plan: Option<String>,
    /// A number of seats; with neither, it is the end that was ordered.
    quantity: Option<u64>,
    operation: Option<String>,
    since: String,
}

impl From<&UnderWay> for Kept {
    fn from(it: &UnderWay) -> Self {
        let (plan, quantity) = match &it.order {
            Order::Plan(plan) => (Some(plan.to_string()), None),
            Order::Quantity(quantity) => (None, Some(*quantity)),
            Order::Cancel => (None, None),
        };
        Self {
            subscription: it.subscription.to_string(),
            plan,
            quantity,
            operation: it.operation.as_ref().map(ToString::to_string),
            since: it.since.to_string(),
        }
    }
}

impl Kept {
    fn read(self) -> Option<UnderWay> {
        Some(UnderWay {
            subscription: self.subscription.parse().ok()?,
            order: match (self.plan, self.quantity) {
                (Some(plan), _) => Order::Plan(plan.into()),
                (None, Some(quantity)) => Order::Quantity(quantity),
                (None, None) => Order::Cancel,
            },
            operation: self.operation.map(Into::into),
            since: self.since.parse().ok()?,
        })
    }
}

/// The orders that are under way. What cannot be read is none: webhook and list bring its end.
pub(crate) fn under_way(mirror: &Mirror, now: Timestamp) -> Vec<UnderWay> {
    let kept = mirror.document(NAME).map(|it| serde_json::from_slice::<Vec<Kept>>(it));
    let kept = match kept.transpose() {
        Ok(kept) => kept.unwrap_or_default(),
        Err(error) => {
            warn!(error = &error as &dyn std::error::Error, "Orders under way cannot be read");
            Vec::new()
        }
    };
    let open = |it: &UnderWay| {
        let shown = mirror.subscription(it.subscription).is_some_and(|now| shows(now, &it.order));
        !shown && now.duration_since(it.since) < FORGOTTEN_AFTER
    };
    kept.into_iter().filter_map(Kept::read).filter(open).collect()
}

/// The document of these.
fn document(all: &[UnderWay]) -> Document {
    let kept: Vec<Kept> = all.iter().map(Kept::from).collect();
    // Texts and numbers always have a JSON.
    Document { name: NAME.into(), bytes: serde_json::to_vec(&kept).unwrap_or_default() }
}

/// Whether it may still go on at Microsoft.
fn may_go_on(ended: &Result<Ordered, OrderError>) -> bool {
    match ended {
        Ok(it) => it.end == OrderEnd::UnderWay,
        Err(error) => matches!(
            error,
            OrderError::Stopping
                | OrderError::Unsure { .. }
                | OrderError::Away(_)
                | OrderError::Store(_)
        ),
    }
}

impl Work {
    /// Writes down that an order is under way, in place of what is known of its subscription, and
    /// what else `commit` says.
    pub(super) async fn keep(&self, it: UnderWay, mut commit: Commit) -> Result<(), OrderError> {
        let now = (self.sources.clock)();
        let decide = move |mirror: &Mirror| {
            let mut all = under_way(mirror, now);
            all.retain(|other| other.subscription != it.subscription);
            all.push(it);
            commit.documents.push(document(&all));
            (Some(commit), ())
        };
        Ok(self.sources.store.decide(decide).await?)
    }

    /// Forgets an order once nothing more comes of it. What cannot be written now is forgotten later.
    pub(super) async fn strike(&self, id: SubscriptionId, ended: &Result<Ordered, OrderError>) {
        if may_go_on(ended) {
            return;
        }
        let now = (self.sources.clock)();
        let decide = move |mirror: &Mirror| {
            let mut all = under_way(mirror, now);
            all.retain(|it| it.subscription != id);
            (Some(Commit { documents: vec![document(&all)], ..Commit::default() }), ())
        };
        if let Err(error) = self.sources.store.decide(decide).await {
            let error = &error as &dyn std::error::Error;
            warn!(error, "That an order has ended cannot be written down");
        }
    }

    /// Goes on with an order that was under way when the daemon was stopped or killed.
    pub(super) async fn resume(self, it: UnderWay) {
        let _held = self.desk.turn(it.subscription).await;
        info!(subscription.id = %it.subscription, "An order was under way: it is followed again");
        let ended = self.resumed(&it).await;
        self.strike(it.subscription, &ended).await;
        match ended {
            Ok(ordered) => info!(
                subscription.id = %it.subscription,
                order.end = ordered.end.as_str(),
                "An order from before the start was followed"
            ),
            Err(OrderError::Stopping) => {}
            Err(error) => warn!(
                subscription.id = %it.subscription,
                error = &error as &dyn std::error::Error,
                "An order from before the start came to nothing, or its end cannot be seen"
            ),
        }
    }

    async fn resumed(&self, it: &UnderWay) -> Result<Ordered, OrderError> {
        let (progress, _nobody) = mpsc::channel(1);
        let client = Client { id: it.subscription, by: &Cause::Command, progress: &progress };
        let operation = match &it.operation {
            Some(operation) => Arc::clone(operation),
            // It was cut off between asking and the answer: what is true is looked for.
            None => match self.looked_for(&client, it).await? {
                Found::Shows => return self.settle(&client, &it.order, None).await,
                Found::Ours(operation) => operation,
                Found::Another => return Err(OrderError::Locked(it.subscription)),
                Found::Nothing(before) => {
                    let words = format!("{} came to nothing: nothing goes on there", it.order);
                    self.note(&before, client.by, words).await?;
                    let end = OrderEnd::Already;
                    return Ok(Ordered { subscription: *before, operation: None, end });
                }
            },
        };
        self.follow_order(&client, &it.order, &Trail::Named(operation)).await
    }

    async fn looked_for(&self, client: &Client<'_>, it: &UnderWay) -> Result<Found, OrderError> {
        let mut tries = 0;
        loop {
            match self.read_back(client, &it.order, it.since, true).await {
                Err(error) if error.is_transient() && tries < TRIES => {
                    tries += 1;
                    self.wait(super::follow::FOLLOW_AGAIN).await?;
                }
                found => return found,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn orders_are_read_back_as_they_were_kept_until_they_are_old() {
        let at = Timestamp::UNIX_EPOCH;
        let of = |number, order, operation: Option<&str>| UnderWay {
            subscription: SubscriptionId::from_uuid(Uuid::from_u128(number)),
            order,
            operation: operation.map(Into::into),
            since: at,
        };
        let all = vec![
            of(1, Order::Plan("team".into()), Some("o-1")),
            of(2, Order::Quantity(7), None),
            of(3, Order::Cancel, Some("o-3")),
        ];
        let documents = vec![document(&all)];
        let mirror = Mirror::default().applied(&Commit { documents, ..Commit::default() });
        assert_eq!(under_way(&mirror, at), all);
        assert!(under_way(&mirror, at + FORGOTTEN_AFTER).is_empty());
        let broken = Document { name: NAME.into(), bytes: b"{".to_vec() };
        let mirror = mirror.applied(&Commit { documents: vec![broken], ..Commit::default() });
        assert!(under_way(&mirror, at).is_empty());
    }
}
