//! A "no" is a trigger: whoever was refused is looked up by name, at once and once.
//!
//! A refusal may be older than the licence: the delta round comes every ten minutes, and delta
//! itself lags. So each negative or unknown answer that a Microsoft-managed licence could turn
//! asks for one look-up of that user ([`Lookups::wanted`]): it never waits, never fails, and costs
//! Microsoft one item of a `$batch`, with high throttle priority, a few times an hour at most. The
//! answer's `check_after` says when it pays to ask again.
//!
//! Whoever a change notification tells of is looked up by the same queue ([`Lookups::told`]), within
//! the same budget, and though he was looked up a moment ago.
//!
//! A look-up is no run: it moves no cursor, removes nobody who was not found, and stands in the
//! sync log only if it changed something (trigger `notification`). What it may overtake, and what
//! may overtake it, is settled in [`order`].
//!
//! | file | subject |
//! |---|---|
//! | [`queue`] | who waits, who was looked up lately, what may be spent. Pure |
//! | [`order`] | a look-up and a run of one tenant never overwrite newer with older |
//! | [`look`] | one batch: read → plan → commit |
//! | [`work`] | the task that does it |

pub(in crate::sync) mod look;
pub(crate) mod order;
mod queue;
mod work;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::sync::Notify;

use self::order::Order;
use self::queue::{Queue, Wish};
use crate::domain::{Commit, TenantId, UserId};
use crate::microsoft::{Meter, MicrosoftError};

pub use self::work::worker;

/// Where look-ups are asked for. Cheap to clone: all clones are one.
#[derive(Clone, Default)]
pub struct Lookups(Arc<Shared>);

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    more: Notify,
    order: Order,
    figures: Figures,
}

/// What else is looked at for users who were refused, such as their usage rights: after their
/// licences, in batches of at most 20 of one tenant.
pub trait AlsoLook: Send + Sync {
    /// Looks, with the priority that the meter carries. What the commit holds, if there is one, is
    /// written as it is, after the licences that the same look-up found.
    ///
    /// # Errors
    ///
    /// What Microsoft answers; the licences stay written, and the tenant rests as long as the
    /// error asks for.
    fn look<'a>(
        &'a self,
        meter: &'a Meter,
        tenant: TenantId,
        users: &'a [UserId],
    ) -> BoxFuture<'a, Result<Option<Commit>, MicrosoftError>>;
}

#[derive(Default)]
struct Figures {
    wishes: Family<WishLabel, Counter>,
    users: Family<OutcomeLabel, Counter>,
    requests: Counter,
    waiting: Gauge,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WishLabel {
    wish: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

impl Lookups {
    /// This user of this tenant was refused. Returns at once.
    ///
    /// Unit: seconds after which it pays to ask again; `None` if no look-up will come.
    pub fn wanted(&self, tenant: TenantId, user: UserId, now: Timestamp) -> Option<u64> {
        let (wish, waiting) = {
            let mut queue = self.queue();
            (queue.want(tenant, user, now), queue.waiting())
        };
        let label = WishLabel { wish: wish.word() };
        self.0.figures.wishes.get_or_create(&label).inc();
        self.0.figures.waiting.set(i64::try_from(waiting).unwrap_or(i64::MAX));
        if matches!(wish, Wish::Queued(_)) {
            self.0.more.notify_one();
        }
        wish.ask_again_s()
    }

    /// A notification told of this user, at `at`. Returns at once: whether he will be looked up. If
    /// not, a run has to find what happened.
    pub(in crate::sync) fn told(
        &self,
        tenant: TenantId,
        user: UserId,
        at: Timestamp,
        now: Timestamp,
    ) -> bool {
        let will_be = self.queue().told(tenant, user, at, now);
        if will_be {
            self.0.more.notify_one();
        }
        will_be
    }

    /// How many users wait to be looked up.
    pub fn waiting(&self) -> usize {
        self.queue().waiting()
    }

    /// What keeps look-ups and runs of one tenant in order.
    pub(crate) fn order(&self) -> &Order {
        &self.0.order
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Every step leaves it whole, and what is lost with it is asked again.
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers the figures under `entitled_…`.
    pub fn register(&self, registry: &mut Registry) {
        let it = &self.0.figures;
        let help = "Refusals that asked for a look-up of the user, by what came of it: queued, \
                    joined one on its way, looked up lately, the tenant rests, no room (overflow)";
        registry.register("lookups_wanted", help, it.wishes.clone());
        let help = "Users looked up after a refusal or a notification, by what was found";
        registry.register("lookups", help, it.users.clone());
        registry.register("lookup_requests", "Requests sent by look-ups", it.requests.clone());
        registry.register("lookups_waiting", "Users who wait to be looked up", it.waiting.clone());
    }
}
