//! What we ask Microsoft to do with one subscription: activate it, change it, end it.
//!
//! Every order has the same shape: **read the subscription → refuse here what can be known here →
//! note in the journal what is asked → ask once → follow to the end → read the subscription, which
//! is what the mirror is brought to**. What Microsoft promises is never applied, only what it shows.
//! After a failure that may have taken effect nothing is asked again before subscription and
//! operations have been read back.
//!
//! An order that was begun goes on when whoever asked for it has left; a stop of the daemon cuts
//! waits short, and what then goes on at Microsoft comes by webhook and list.
//!
//! | file | subject |
//! |---|---|
//! | `purchase` | purchase tokens, activations, plans |
//! | `reading` | one subscription, read now, and the mirror brought to it |
//! | `error` | why an order came to nothing, by what a person must do |

mod error;
mod purchase;
mod reading;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, error};

use super::{Sources, SyncError};
use crate::domain::{Cause, PurchaseToken, Subscription, SubscriptionId};
use crate::microsoft::Sleep;

pub use self::error::OrderError;
pub use crate::microsoft::{AvailablePlan, BillingTerm};

/// Orders that wait to be begun; more are made to wait by whoever asks.
const WAITING: usize = 64;

/// The door to orders. Cheap to clone: all clones are one.
#[derive(Clone)]
pub struct Orders {
    work: Work,
    begin: mpsc::Sender<BoxFuture<'static, ()>>,
}

/// What a purchase token stands for.
#[derive(Clone, Debug)]
pub struct Purchase {
    /// The subscription, read on its own: what the token brings may lack the term.
    pub subscription: Subscription,
    /// Its plan with name and prices, where Microsoft tells it: the present plan may be missing
    /// from the list of plans, and an ended subscription has none.
    pub plan: Option<AvailablePlan>,
}

/// What became of an activation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Activated {
    /// Microsoft took it; until it takes effect, which may need minutes, the subscription reads as
    /// before: see [`Orders::look`].
    Accepted(Subscription),
    /// It is live.
    Already(Subscription),
}

impl Activated {
    /// The subscription as it was read last.
    pub const fn subscription(&self) -> &Subscription {
        match self {
            Self::Accepted(it) | Self::Already(it) => it,
        }
    }
}

/// The orders of a daemon, and the future that carries them out until cancelled.
pub fn orders(
    sources: Sources,
    sleep: Sleep,
    cancel: CancellationToken,
) -> (Orders, impl Future<Output = Result<(), SyncError>> + Send) {
    let (begin, begun) = mpsc::channel(WAITING);
    let busy = Arc::default();
    let work = Work { sources, sleep, cancel: cancel.clone(), busy };
    (Orders { work, begin }, carry_out(begun, cancel))
}

/// Runs what is begun. When cancelled it takes nothing more and lets what was begun come to a good
/// place: the waits of an order end by themselves then.
async fn carry_out(
    mut begun: mpsc::Receiver<BoxFuture<'static, ()>>,
    cancel: CancellationToken,
) -> Result<(), SyncError> {
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = cancel.cancelled() => break,
            Some(ended) = tasks.join_next() => report(ended),
            Some(order) = begun.recv() => {
                tasks.spawn(order);
            }
        }
    }
    while let Some(ended) = tasks.join_next().await {
        report(ended);
    }
    Ok(())
}

/// One order's fault ends no other, and whoever asked hears of it.
fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(panicked) = ended {
        let error = &panicked as &dyn std::error::Error;
        error!(error, "An order panicked: please report it; others go on");
    }
}

impl Orders {
    /// What a buyer's token stands for, whatever its state; the mirror is brought to it.
    ///
    /// # Errors
    ///
    /// [`OrderError::Expired`] for a token that is no longer good or never was; otherwise as
    /// [`Self::look`].
    ///
    /// Source: marketplace-saas.md sections 4 and 6.1.
    pub async fn resolve(&self, token: &PurchaseToken) -> Result<Purchase, OrderError> {
        self.work.resolve(token, &Cause::Activation).await
    }

    /// Activates a purchase, from which on the customer pays. It does not wait for the end: follow
    /// it with [`Self::look`] until the status is another. One that is live is success.
    ///
    /// # Errors
    ///
    /// [`OrderError`]; one that [`OrderError::is_transient`] may be tried again: activating twice
    /// does no harm.
    ///
    /// Source: marketplace-saas.md section 6.2.
    pub async fn activate(&self, id: SubscriptionId, by: Cause) -> Result<Activated, OrderError> {
        let work = self.work.clone();
        self.run(async move { work.activate(id, &by).await }).await
    }

    /// The subscription as Microsoft has it now; the mirror is brought to it.
    ///
    /// # Errors
    ///
    /// [`OrderError::Unknown`] when there is none of this id, [`OrderError::Registration`] when our
    /// app may not look, [`OrderError::Away`] when Microsoft cannot be read.
    pub async fn look(&self, id: SubscriptionId) -> Result<Subscription, OrderError> {
        self.work.look(id, &Cause::Activation).await
    }

    /// The plans that the customer may move to, in Microsoft's order. The present one may be
    /// missing.
    ///
    /// # Errors
    ///
    /// [`OrderError::Ended`] when the subscription has ended and so has none; otherwise as
    /// [`Self::look`].
    ///
    /// Source: marketplace-saas.md section 6.5.
    pub async fn plans(&self, id: SubscriptionId) -> Result<Vec<AvailablePlan>, OrderError> {
        self.work.plans(id).await
    }

    /// Carries out on a task of its own, so that nothing is cut in two when whoever asks leaves.
    async fn run<T: Send + 'static>(
        &self,
        order: impl Future<Output = Result<T, OrderError>> + Send + 'static,
    ) -> Result<T, OrderError> {
        let (tell, told) = oneshot::channel();
        let order = async move { drop(tell.send(order.await)) };
        let begun = self.begin.send(Box::pin(order.in_current_span())).await;
        begun.map_err(|_closed| OrderError::Stopping)?;
        told.await.unwrap_or(Err(OrderError::Stopping))
    }
}

/// What orders work with.
#[derive(Clone)]
struct Work {
    sources: Sources,
    sleep: Sleep,
    cancel: CancellationToken,
    busy: Arc<Mutex<BTreeSet<SubscriptionId>>>,
}

/// A subscription that one order has for itself.
struct Held {
    id: SubscriptionId,
    busy: Arc<Mutex<BTreeSet<SubscriptionId>>>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

impl Work {
    /// One order at a time for each subscription.
    fn hold(&self, id: SubscriptionId) -> Result<Held, OrderError> {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        if !busy.insert(id) {
            return Err(OrderError::Busy(id));
        }
        Ok(Held { id, busy: Arc::clone(&self.busy) })
    }

    /// Waits, unless the daemon stops.
    async fn wait(&self, wait: Duration) -> Result<(), OrderError> {
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(OrderError::Stopping),
            () = (self.sleep)(wait) => Ok(()),
        }
    }
}
