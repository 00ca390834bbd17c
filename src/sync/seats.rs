//! Seats in figures: what was bought, what is assigned, what is in error, what is really used, and when
//! seats run out.
//!
//! "Used" is counted from answers, under pseudonyms: an answer only drops (tenant, user, product, day)
//! into a bounded queue and never waits. This task turns it into a keyed hash and writes what came once
//! a minute, in one commit. A crash loses the last minute; nothing else hangs on it.

mod figures;
mod shortage;

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use aws_lc_rs::hmac;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{Clock, SyncError};
use crate::domain::{
    Catalog, Commit, Day, Mirror, Point, ProductId, Pseudonym, Series, SeriesWrite, TenantId,
    UseWrite, UserId, day_of,
};
use crate::store::{Store, StoreError};

use self::figures::{Counted, Scan};
pub use self::figures::{SHOWN_MAX, SeatFigures};

/// Between two writes of what came.
const FLUSH_EVERY: Duration = Duration::from_mins(1);
/// Uses that may wait for the task; what comes when it is full is not counted.
const QUEUE: usize = 16_384;
/// Uses that may wait for the next write.
const PENDING_MAX: usize = 200_000;
/// Users that are remembered in all: 28 MB.
const USERS_MAX: usize = 2_000_000;
/// Uses that were noted lately, by a hash: the same one is not queued again.
const LATELY: usize = 1 << 16;

/// A use on its way.
struct Use {
    tenant: TenantId,
    user: UserId,
    product: ProductId,
    day: Day,
}

/// All figures of one moment.
pub type Figures = Arc<Vec<SeatFigures>>;

/// The door to the figures. Cheap to clone.
#[derive(Clone)]
pub struct Seats {
    uses: mpsc::Sender<Use>,
    asks: mpsc::Sender<oneshot::Sender<Figures>>,
    latest: watch::Receiver<Figures>,
    lately: Arc<Lately>,
    counters: Counters,
}

#[derive(Clone, Default)]
struct Counters {
    dropped: Counter,
}

struct Lately {
    hasher: RandomState,
    noted: Box<[AtomicU64]>,
}

impl Lately {
    /// Whether this was noted a short while ago; from now on it was.
    fn is_known(&self, it: &(TenantId, UserId, &ProductId, Day)) -> bool {
        let hash = self.hasher.hash_one(it) | 1;
        let place = usize::try_from(hash >> 32).unwrap_or(0) % self.noted.len().max(1);
        self.noted.get(place).is_some_and(|slot| slot.swap(hash, Relaxed) == hash)
    }

    /// It could not be noted after all.
    fn forget(&self) {
        for slot in &self.noted {
            slot.store(0, Relaxed);
        }
    }
}

impl Seats {
    /// Counts that this user uses this product. Never waits: what finds no room is not counted.
    pub fn note(&self, tenant: TenantId, user: UserId, product: &ProductId, day: Day) {
        if self.lately.is_known(&(tenant, user, product, day)) {
            return;
        }
        let it = Use { tenant, user, product: product.clone(), day };
        if self.uses.try_send(it).is_err() {
            self.counters.dropped.inc();
            // Whoever was dropped asks again, and is counted then.
            self.lately.forget();
        }
    }

    /// The figures as they were at the last look, at most a minute ago.
    pub fn latest(&self) -> Figures {
        Arc::clone(&self.latest.borrow())
    }

    /// The figures now, with all that was noted before; those of the last look while the daemon is
    /// shutting down.
    pub async fn now(&self) -> Figures {
        let (reply, answer) = oneshot::channel();
        if self.asks.send(reply).await.is_err() {
            return self.latest();
        }
        answer.await.unwrap_or_else(|_gone| self.latest())
    }

    /// Registers what is counted under `entitled_…`.
    pub fn register(&self, registry: &mut Registry) {
        let help = "Uses that were not counted because too many came at once";
        registry.register("uses_dropped", help, self.counters.dropped.clone());
    }
}

/// The door to the figures, and the task behind it.
pub fn seats(
    store: Store,
    catalog: Arc<Catalog>,
    clock: Clock,
    cancel: CancellationToken,
) -> (Seats, impl Future<Output = Result<(), SyncError>> + Send) {
    let (uses, noted) = mpsc::channel(QUEUE);
    let (asks, asked) = mpsc::channel(8);
    let (publish, latest) = watch::channel(Figures::default());
    let noted_lately = (0..LATELY).map(|_| AtomicU64::new(0)).collect();
    let lately = Arc::new(Lately { hasher: RandomState::new(), noted: noted_lately });
    let handle = Seats { uses, asks, latest, lately, counters: Counters::default() };
    // Of its own purpose: who reads one pseudonym of ours finds no other.
    let secret = hmac::Key::new(hmac::HMAC_SHA256, &store.keys().pseudonym_secret());
    let key = hmac::sign(&secret, b"entitled uses 1");
    let worker = Worker {
        store,
        catalog,
        clock,
        key: hmac::Key::new(hmac::HMAC_SHA256, key.as_ref()),
        pending: BTreeMap::new(),
        waiting: 0,
        scans: HashMap::new(),
        publish,
    };
    (handle, worker.run(noted, asked, cancel))
}

struct Worker {
    store: Store,
    catalog: Arc<Catalog>,
    clock: Clock,
    key: hmac::Key,
    /// Uses not yet written.
    pending: BTreeMap<(TenantId, ProductId), Vec<(Pseudonym, Day)>>,
    waiting: usize,
    /// What was counted of each tenant, and of which state of it.
    scans: HashMap<TenantId, Scan>,
    publish: watch::Sender<Figures>,
}

impl Worker {
    /// Counts until cancelled; then writes what came.
    async fn run(
        mut self,
        mut noted: mpsc::Receiver<Use>,
        mut asked: mpsc::Receiver<oneshot::Sender<Figures>>,
        cancel: CancellationToken,
    ) -> Result<(), SyncError> {
        let mut due = tokio::time::Instant::now() + FLUSH_EVERY;
        let mut batch = Vec::new();
        loop {
            tokio::select! {
                biased;
                () = cancel.cancelled() => break,
                count = noted.recv_many(&mut batch, 1_024), if self.waiting < PENDING_MAX => {
                    if count == 0 {
                        break;
                    }
                    self.take(&mut batch);
                }
                Some(reply) = asked.recv() => {
                    while let Ok(it) = noted.try_recv() {
                        batch.push(it);
                    }
                    self.take(&mut batch);
                    let figures = self.look().await;
                    // Whoever asked may have gone away.
                    drop(reply.send(figures));
                }
                () = tokio::time::sleep_until(due) => {
                    drop(self.look().await);
                    due = tokio::time::Instant::now() + FLUSH_EVERY;
                }
            }
        }
        while let Ok(it) = noted.try_recv() {
            batch.push(it);
        }
        self.take(&mut batch);
        self.write().await;
        Ok(())
    }

    /// Uses become pseudonyms; nobody's id is kept any longer than that.
    fn take(&mut self, batch: &mut Vec<Use>) {
        for Use { tenant, user, product, day } in batch.drain(..) {
            let who = pseudonym(&self.key, tenant, user, &product);
            self.pending.entry((tenant, product)).or_default().push((who, day));
            self.waiting = self.waiting.saturating_add(1);
        }
    }

    /// Writes what came, looks at everything, and publishes it.
    async fn look(&mut self) -> Figures {
        self.write().await;
        let (mirror, today) = (self.store.snapshot(), day_of((self.clock)()));
        let (catalog, known) = (Arc::clone(&self.catalog), std::mem::take(&mut self.scans));
        let counted = Arc::clone(&mirror);
        // A tenant of 300,000 users takes a while: not on a thread that answers.
        let scans = tokio::task::spawn_blocking(move || figures::scans(&counted, &catalog, known));
        self.scans = scans.await.unwrap_or_default();
        let series = days(&mirror, &self.scans, today);
        if !series.is_empty() {
            let commit = Commit { series, ..Commit::default() };
            if let Err(error) = self.store.commit(commit).await {
                complain(&error, "The days of seats could not be written");
            }
        }
        let mirror = self.store.snapshot();
        let figures = Arc::new(figures::all(&mirror, &self.scans, today));
        for commit in shortage::told(&mirror, &figures, today, (self.clock)()) {
            if let Err(error) = self.store.commit(commit).await {
                complain(&error, "That seats are short could not be told yet");
                break;
            }
        }
        self.publish.send_replace(Arc::clone(&figures));
        figures
    }

    /// Writes what came in one commit, with what is too old dropped. What cannot be written waits.
    async fn write(&mut self) {
        let (mirror, today) = (self.store.snapshot(), day_of((self.clock)()));
        let mut remembered: usize = mirror.all_uses().map(|(_, _, it)| it.len()).sum();
        let mut writes: Vec<UseWrite> = Vec::new();
        for ((tenant, product), noted) in &self.pending {
            let known = mirror.uses(*tenant, product);
            let mut used = noted.clone();
            used.retain(|(who, _)| {
                let known = known.is_some_and(|it| it.knows(*who));
                remembered = remembered.saturating_add(usize::from(!known));
                known || remembered <= USERS_MAX
            });
            writes.push(UseWrite { tenant: *tenant, product: product.clone(), used, today });
        }
        let written =
            |tenant, product: &ProductId| self.pending.contains_key(&(tenant, product.clone()));
        let overdue = mirror.all_uses().filter(|(tenant, product, table)| {
            !written(*tenant, product) && table.is_overdue(today)
        });
        writes.extend(overdue.map(|(tenant, product, _)| UseWrite {
            tenant,
            product: product.clone(),
            used: Vec::new(),
            today,
        }));
        if writes.is_empty() {
            return;
        }
        match self.store.commit(Commit { uses: writes, ..Commit::default() }).await {
            Ok(()) => {
                self.pending.clear();
                self.waiting = 0;
            }
            Err(error) => complain(&error, "Uses could not be written yet"),
        }
    }
}

/// Today's figures of every SKU that differ from the last ones.
fn days(mirror: &Mirror, scans: &HashMap<TenantId, Scan>, today: Day) -> Vec<SeriesWrite> {
    let counted = scans.iter().flat_map(|(tenant, it)| it.skus.iter().map(|it| (*tenant, it)));
    let mut writes: BTreeMap<_, SeriesWrite> = BTreeMap::new();
    for (tenant, Counted { sku, bought, consumed, .. }) in counted {
        let before = mirror.series(tenant, *sku).map(|it| it.as_ref().clone()).unwrap_or_default();
        let point = Point { day: today, bought: *bought, assigned: *consumed };
        let series: Series = before.with(point);
        if series != before {
            writes.insert((tenant, *sku), SeriesWrite { tenant, sku: *sku, series });
        }
    }
    writes.into_values().collect()
}

/// A user of a product, as nobody can read him back.
fn pseudonym(key: &hmac::Key, tenant: TenantId, user: UserId, product: &ProductId) -> Pseudonym {
    let mut text = Vec::with_capacity(96);
    text.extend(tenant.as_bytes());
    text.extend(user.as_bytes());
    text.extend(product.as_str().as_bytes());
    let tag = hmac::sign(key, &text);
    Pseudonym(tag.as_ref().first_chunk::<8>().map_or(0, |it| u64::from_be_bytes(*it)))
}

fn complain(error: &StoreError, message: &str) {
    warn!(error = error as &dyn std::error::Error, "{message}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn a_pseudonym_depends_on_the_key_and_on_all_three() {
        let key = |byte| hmac::Key::new(hmac::HMAC_SHA256, &[byte; 32]);
        let tenant = |n| TenantId::from_uuid(Uuid::from_u128(n)).unwrap();
        let user = |n| UserId::from_uuid(Uuid::from_u128(n));
        let product = |text: &str| text.parse::<ProductId>().unwrap();
        let one = pseudonym(&key(1), tenant(1), user(1), &product("a"));
        assert_eq!(one, pseudonym(&key(1), tenant(1), user(1), &product("a")));
        let others = [
            pseudonym(&key(2), tenant(1), user(1), &product("a")),
            pseudonym(&key(1), tenant(2), user(1), &product("a")),
            pseudonym(&key(1), tenant(1), user(2), &product("a")),
            pseudonym(&key(1), tenant(1), user(1), &product("b")),
        ];
        assert!(others.iter().all(|it| *it != one));
    }

    #[test]
    fn what_was_noted_lately_is_not_noted_again_until_it_was_dropped() {
        let noted = (0..64).map(|_| AtomicU64::new(0)).collect();
        let lately = Lately { hasher: RandomState::new(), noted };
        let product = "a".parse::<ProductId>().unwrap();
        let tenant = TenantId::from_uuid(Uuid::from_u128(1)).unwrap();
        let it = (tenant, UserId::from_uuid(Uuid::from_u128(1)), &product, 7);
        assert!(!lately.is_known(&it));
        assert!(lately.is_known(&it));
        lately.forget();
        assert!(!lately.is_known(&it));
    }
}
