//! What we ask Microsoft to do with one subscription: activate it, change it, end it.
//!
//! Every order has the same shape: **read the subscription → refuse here what can be known here →
//! note in the journal what is asked → ask once → follow to the end → read the subscription, which
//! is what the mirror is brought to**. What Microsoft promises is never applied, only what it shows.
//! After a failure that may have taken effect nothing is asked again before subscription and
//! operations have been read back.
//!
//! An order that was begun goes on when whoever asked for it has left. A stop of the daemon cuts
//! waits short, and so does a kill: which orders are under way is on disk, and after the start they
//! are followed again.
//!
//! | file | subject |
//! |---|---|
//! | `order` | orders, and what becomes of them, as types |
//! | `purchase` | purchase tokens, activations, plans |
//! | `allowed` | what can be known before anything is asked |
//! | `ask` | a change or an end: asked once, read back after a failure |
//! | `follow` | what Microsoft took, followed to its end |
//! | `under_way` | orders under way on disk, and how they go on after a start |
//! | `reading` | one subscription, read now, and the mirror brought to it |
//! | `figures` | what became of orders, counted |
//! | `error` | why an order came to nothing, by what a person must do |

mod allowed;
mod ask;
mod error;
mod figures;
mod follow;
mod order;
mod purchase;
mod reading;
mod under_way;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use prometheus_client::registry::Registry;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, error};

use self::figures::Figures;
use super::{Sources, SyncError};
use crate::domain::{Cause, PurchaseToken, Subscription, SubscriptionId};
use crate::microsoft::Sleep;

pub use self::error::OrderError;
pub use self::order::{Activated, Order, OrderEnd, OrderStep, Ordered, Preview, Purchase, Request};
pub(crate) use self::under_way::under_way;
pub use crate::microsoft::{AvailablePlan, BillingTerm};

/// Orders that wait to be begun; more are made to wait by whoever asks.
const WAITING: usize = 64;

/// The door to orders. Cheap to clone: all clones are one.
#[derive(Clone)]
pub struct Orders {
    work: Work,
    begin: mpsc::Sender<BoxFuture<'static, ()>>,
}

/// The orders of a daemon, and the future that carries them out until cancelled.
pub fn orders(
    sources: Sources,
    sleep: Sleep,
    cancel: CancellationToken,
) -> (Orders, impl Future<Output = Result<(), SyncError>> + Send) {
    let (begin, waiting) = mpsc::channel(WAITING);
    let (desk, figures) = (Desk::default(), Figures::default());
    let work = Work { sources, sleep, cancel: cancel.clone(), desk, figures };
    (Orders { work: work.clone(), begin }, carry_out(work, waiting, cancel))
}

/// Goes on with what was under way, and runs what is begun. When cancelled it takes nothing more and lets what was begun come to a good
/// place: the waits of an order end by themselves then.
async fn carry_out(
    work: Work,
    mut waiting: mpsc::Receiver<BoxFuture<'static, ()>>,
    cancel: CancellationToken,
) -> Result<(), SyncError> {
    let mut tasks = JoinSet::new();
    let before = under_way(&work.sources.store.snapshot(), (work.sources.clock)());
    for it in before {
        tasks.spawn(work.clone().resume(it));
    }
    loop {
        tokio::select! {
            biased;
            () = cancel.cancelled() => break,
            Some(ended) = tasks.join_next() => report(ended),
            Some(order) = waiting.recv() => {
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
        let order = async move {
            let activated = work.activate(id, &by).await;
            // Here, for whoever asked may have left.
            work.figures.activated(&activated);
            activated
        };
        self.run(order).await
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

    /// Changes plan or quantity, or ends the subscription, and follows that to its end if it is
    /// to be waited for. What is so already is success without a request.
    ///
    /// # Errors
    ///
    /// [`OrderError`]: what can be known here is refused before anything is asked. Nothing is asked
    /// a second time before it is seen that the first time did nothing.
    ///
    /// Source: marketplace-saas.md sections 3.4, 6.6 and 6.7.
    pub async fn order(
        &self,
        id: SubscriptionId,
        request: Request,
        progress: mpsc::Sender<OrderStep>,
    ) -> Result<Ordered, OrderError> {
        let (work, figures) = (self.work.clone(), self.work.figures.clone());
        let order = async move {
            let ordered = work.order(id, &request, &progress).await;
            figures.ordered(&request.order, &ordered);
            ordered
        };
        self.run(order).await
    }

    /// What an order would mean: the subscription as it is now, and who pays what. Asks for nothing.
    ///
    /// # Errors
    ///
    /// What forbids it, as for [`Self::order`].
    pub async fn preview(
        &self,
        id: SubscriptionId,
        order: &Order,
        force: bool,
    ) -> Result<Preview, OrderError> {
        self.work.preview(id, order, force, &Cause::Command).await
    }

    /// Follows an operation, whoever asked for it, to its end.
    ///
    /// # Errors
    ///
    /// [`OrderError::NoOperation`] when Microsoft knows none of this id, [`OrderError::NoOrder`]
    /// when it is none that can be ordered, [`OrderError::Failed`] when it came to nothing.
    pub async fn follow(
        &self,
        id: SubscriptionId,
        operation: &str,
        by: &Cause,
        progress: &mpsc::Sender<OrderStep>,
    ) -> Result<Ordered, OrderError> {
        self.work.follow(id, operation, by, progress).await
    }

    /// Looks at a subscription that is being activated until it is live.
    ///
    /// # Errors
    ///
    /// [`OrderError::NotActivated`] when it has ended instead.
    pub async fn follow_activation(
        &self,
        id: SubscriptionId,
        by: &Cause,
        progress: &mpsc::Sender<OrderStep>,
    ) -> Result<Ordered, OrderError> {
        self.work.follow_activation(id, by, progress).await
    }

    /// Registers what became of orders as `entitled_orders`.
    pub fn register(&self, registry: &mut Registry) {
        self.work.figures.register(registry);
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
    desk: Desk,
    figures: Figures,
}

/// Which subscriptions have an order under way. Cheap to clone: all clones are one.
#[derive(Clone, Default)]
struct Desk(Arc<Shared>);

#[derive(Default)]
struct Shared {
    busy: Mutex<BTreeSet<SubscriptionId>>,
    freed: Notify,
}

/// A subscription that one order has for itself.
struct Held {
    id: SubscriptionId,
    desk: Desk,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.desk.busy().remove(&self.id);
        self.desk.0.freed.notify_waiters();
    }
}

impl Desk {
    fn busy(&self) -> MutexGuard<'_, BTreeSet<SubscriptionId>> {
        self.0.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One order at a time for each subscription: `None` while another one has it.
    fn hold(&self, id: SubscriptionId) -> Option<Held> {
        self.busy().insert(id).then(|| Held { id, desk: self.clone() })
    }

    /// The same, when its turn has come.
    async fn turn(&self, id: SubscriptionId) -> Held {
        loop {
            let freed = self.0.freed.notified();
            if let Some(held) = self.hold(id) {
                return held;
            }
            freed.await;
        }
    }
}

impl Work {
    /// Waits, unless the daemon stops.
    async fn wait(&self, wait: Duration) -> Result<(), OrderError> {
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(OrderError::Stopping),
            () = (self.sleep)(wait) => Ok(()),
        }
    }
}
