//! Build, bind, spawn, notify, supervise, drain.
//!
//! Everything is built and bound before anything is served, so that what is wrong is said at once
//! and by the command that started it. All tasks live in one `JoinSet`: the first that ends unasked
//! ends the daemon in order, and systemd starts all of it afresh, through the one startup path
//! that is tested every day.

mod background;
mod housekeeping;
mod kept;
mod landing;
mod licenses;
mod running;
mod settings;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use self::background::Background;
use self::kept::Bound;
pub use self::kept::Kept;
pub use self::running::Running;
use crate::config::Config;
use crate::http::admin::{self, AdminSettings, AdminState, SocketError};
use crate::http::ops::{self, OpsSettings, OpsState, serve_ops};
use crate::http::public::{PublicSettings, PublicState, serve_public};
use crate::http::{Limits, Metrics, Rates};
use crate::microsoft::{Microsoft, MicrosoftError, Sleep};
use crate::notify::{NotifyError, NotifyHandle};
use crate::store::{Guard, Store, StoreError};
use crate::sync::inbox::{self, Ledger, Watch};
use crate::sync::keys::EntraKeys;
use crate::sync::life::{LifeFigures, Lives};
use crate::sync::lookups::{self, Lookups};
use crate::sync::notifications::Notifications;
use crate::sync::orders::{self, Orders};
use crate::sync::seats::Seats;
use crate::sync::usage::UsageSender;
use crate::sync::{self, Clock, SyncError, SyncHandle};

/// What a daemon takes from outside: tests bring their own.
#[derive(Clone)]
pub struct Surroundings {
    /// The time.
    pub clock: Clock,
    /// How it waits for Microsoft.
    pub sleep: Sleep,
    /// Whether sled is kept from believing that it has synced.
    pub guard: Guard,
    /// Whether reading from Microsoft has threads of its own, below those that answer. Without, one
    /// thread can run all of it in an order that repeats.
    pub read_apart: bool,
}

/// Why the daemon could not start, or ended without being asked.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The store cannot be opened.
    #[error("the store cannot be opened")]
    Store(#[from] StoreError),
    /// The client for Microsoft cannot be made.
    #[error("the client for Microsoft cannot be made")]
    Microsoft(#[from] MicrosoftError),
    /// The publisher's own systems cannot be told anything.
    #[error("[[notify]] cannot be used")]
    Notify(#[from] NotifyError),
    /// An address is taken or not ours.
    #[error(
        "cannot listen on {address} ({key}): is another daemon running? choose another address, or \
         stop what holds it"
    )]
    Bind {
        /// The configuration's key.
        key: &'static str,
        /// The address or path.
        address: String,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The admin socket is in use or cannot be made.
    #[error("cannot listen for commands (listen.admin)")]
    Admin(#[from] SocketError),
    /// The TLS files cannot be used.
    #[error("listen.tls_certificate and listen.tls_key cannot be used")]
    Tls(#[source] io::Error),
    /// The system gives no threads.
    #[error("no threads to read from Microsoft: are there limits (ulimit -u, systemd's TasksMax)?")]
    Threads(#[source] io::Error),
    /// A task ended that should not.
    #[error(
        "{task} ended unasked; the log says why; the daemon stops so that it is started afresh"
    )]
    Ended {
        /// Which.
        task: &'static str,
        /// Why, if it said so.
        #[source]
        source: Option<SyncError>,
    },
    /// A task panicked.
    #[error("a task panicked; the daemon stops so that it is started afresh; please report it")]
    Panicked(#[source] JoinError),
    /// A blocking part of the start was cut off.
    #[error("the start was cut off")]
    Cut(#[source] JoinError),
}

/// A daemon that serves.
pub struct Daemon {
    /// Where questions are answered.
    pub public: SocketAddr,
    /// Where operators look.
    pub ops: SocketAddr,
    /// Where the command line talks to it.
    pub admin: PathBuf,
    /// Its store.
    pub store: Store,
    /// Its scheduler.
    pub sync: SyncHandle,
    /// Its sender of usage.
    pub usage: UsageSender,
    /// Its orders.
    pub orders: Orders,
    /// What tells the publisher's own systems.
    pub notify: NotifyHandle,
}

/// How a task ended.
pub(crate) struct Exit {
    pub(crate) task: &'static str,
    pub(crate) result: Result<(), SyncError>,
}

impl Daemon {
    /// Builds everything, binds everything, then starts to serve.
    ///
    /// # Errors
    ///
    /// [`DaemonError`]: nothing is left running.
    pub async fn start(
        config: Config,
        surroundings: Surroundings,
    ) -> Result<(Self, Running), DaemonError> {
        Self::start_after(&Kept::default(), config, surroundings).await
    }

    /// The same with what an earlier daemon of this process handed on, as far as the configuration
    /// names the same places. What it does not take over the caller may drop.
    ///
    /// # Errors
    ///
    /// [`DaemonError`]: nothing is left running, and another may be started with the same.
    pub async fn start_after(
        kept: &Kept,
        config: Config,
        surroundings: Surroundings,
    ) -> Result<(Self, Running), DaemonError> {
        let Surroundings { clock, sleep, guard, read_apart } = surroundings;
        let bound = kept.bind(&config.listen).await?;
        let store = kept.open(&config, guard, &clock).await?;
        let kept = bound.kept(&config.listen, &store)?;
        let cancel = CancellationToken::new();
        // Before the first commit, so that none goes untold.
        let (notify, telling) = settings::notifier(&config, &store, &clock, &cancel)?;
        settings::introduce(&config, &store, &clock).await?;
        let to = settings::microsoft(&config);
        let microsoft = Arc::new(Microsoft::new(to, Arc::clone(&clock), Arc::clone(&sleep))?);
        let sources = settings::sources(&config, &store, &microsoft, &clock);
        let background = Background::new(read_apart).map_err(DaemonError::Threads)?;
        let (sync, scheduler) =
            sync::scheduler(sources.clone(), settings::schedule(&config), cancel.clone());
        let (ledger, lookups) = (sources.ledger.clone(), sources.lookups.clone());
        let also = settings::also_looked_at(&sources);
        let looking = lookups::worker(sources.clone(), sync.clone(), also, cancel.clone());
        let (notifications, told) = settings::notifications(&config, &sources, &sync, &cancel);
        let watch = Watch::new(store.clone(), Arc::clone(&clock), config.marketplace.alarm_after);
        let (orders, ordered) = orders::orders(sources.clone(), sleep, cancel.clone());
        let usage = UsageSender::new(store.clone(), Arc::clone(&microsoft), Arc::clone(&clock));
        let sending = usage.clone().worker(cancel.clone());
        let catalog = Arc::new(config.catalog.clone());
        let (seats, counting) =
            sync::seats::seats(store.clone(), catalog, Arc::clone(&clock), cancel.clone());
        let lives = Lives::new(sources.clone(), config.marketplace.keep_cancelled);
        let watched = lives.figures();
        let lives = lives.run(cancel.clone());
        let inbox = inbox::worker(sources, config.marketplace.accept_changes, cancel.clone());
        let parts = Parts {
            config,
            store,
            microsoft,
            sync,
            orders,
            ledger,
            lookups,
            notifications,
            watch,
            watched,
            usage,
            seats,
            notify,
            clock,
            cancel,
        };
        let daemon = parts.daemon(&bound)?;
        let mut tasks = JoinSet::new();
        spawn(&mut tasks, "look-ups", looking);
        spawn(&mut tasks, "change notifications", told);
        spawn(&mut tasks, "the watch over threads", background.watch(parts.cancel.clone()));
        tasks.spawn(async {
            Exit { task: "the scheduler", result: background.run(scheduler).await }
        });
        tasks.spawn(async { Exit { task: "the inbox of webhooks", result: inbox.await } });
        tasks.spawn(async { Exit { task: "the sender of usage", result: sending.await } });
        tasks.spawn(async { Exit { task: "the figures of seats", result: counting.await } });
        tasks.spawn(async { Exit { task: "orders", result: ordered.await } });
        tasks.spawn(async {
            Exit { task: "telling the publisher's systems", result: telling.await }
        });
        tasks.spawn(async { Exit { task: "the watch over lives", result: lives.await } });
        let listeners = parts.serve(daemon.public, bound, &mut tasks)?;
        Ok((daemon, Running { tasks, listeners, cancel: parts.cancel, kept }))
    }
}

/// What the tasks are made of.
struct Parts {
    config: Config,
    store: Store,
    microsoft: Arc<Microsoft>,
    sync: SyncHandle,
    orders: Orders,
    ledger: Ledger,
    lookups: Lookups,
    notifications: Notifications,
    watch: Watch,
    watched: LifeFigures,
    usage: UsageSender,
    seats: Seats,
    notify: NotifyHandle,
    clock: Clock,
    cancel: CancellationToken,
}

impl Parts {
    fn daemon(&self, bound: &Bound) -> Result<Daemon, DaemonError> {
        let address = |listener: &TcpListener, key| {
            listener.local_addr().map_err(|source| DaemonError::Bind {
                key,
                address: String::from("its socket"),
                source,
            })
        };
        Ok(Daemon {
            public: address(&bound.public, "listen.public")?,
            ops: address(&bound.ops, "listen.ops")?,
            admin: self.config.listen.admin.clone(),
            store: self.store.clone(),
            sync: self.sync.clone(),
            usage: self.usage.clone(),
            orders: self.orders.clone(),
            notify: self.notify.clone(),
        })
    }

    /// Spawns everything that serves.
    fn serve(
        &self,
        public: SocketAddr,
        bound: Bound,
        tasks: &mut JoinSet<Exit>,
    ) -> Result<JoinSet<Exit>, DaemonError> {
        let mut listeners = JoinSet::new();
        let metrics = Metrics::default();
        let limits = Limits::default();
        let entra = Arc::new(settings::entra_keys(&self.store, &self.microsoft, &self.clock));
        let tls = self.config.listen.tls.as_ref().map(crate::http::tls::acceptor).transpose();
        let tls = tls.map_err(DaemonError::Tls)?;

        let state = PublicState::new(self.public_settings(public, &entra, &metrics));
        let served = serve_public(bound.public, state, tls, limits, self.cancel.clone());
        spawn(&mut listeners, "the public listener", served);
        let ops = OpsState::new(self.ops_settings(&entra, metrics));
        let ops = serve_ops(bound.ops, ops, limits, self.cancel.clone());
        spawn(&mut listeners, "the ops listener", ops);

        let admin = AdminState::new(self.admin_settings(public));
        spawn(tasks, "the admin socket", admin::serve(bound.admin, admin, self.cancel.clone()));

        let watch = self.watch.clone().run(self.cancel.clone());
        spawn(tasks, "the watch over webhooks", watch);
        let cancel = self.cancel.clone();
        spawn(tasks, "the signing keys", async move { entra.run(cancel).await });
        let (clock, grace) = (Arc::clone(&self.clock), self.config.policy().grace);
        let aging = licenses::run(self.store.clone(), grace, clock, self.cancel.clone());
        spawn(tasks, "the watch over licenses", aging);
        let upkeep = housekeeping::Upkeep {
            rotate_keys: self.config.visuals.rotate_keys,
            release_after: self.config.policy().release_after,
        };
        let clock = Arc::clone(&self.clock);
        let kept = housekeeping::run(self.store.clone(), upkeep, clock, self.cancel.clone());
        tasks.spawn(async { Exit { task: "housekeeping", result: kept.await } });
        Ok(listeners)
    }

    fn admin_settings(&self, public: SocketAddr) -> AdminSettings {
        AdminSettings {
            store: self.store.clone(),
            catalog: Arc::new(self.config.catalog.clone()),
            policy: self.config.policy(),
            messages: Arc::new(self.config.messages.clone()),
            sync: self.sync.clone(),
            usage: self.usage.clone(),
            orders: self.orders.clone(),
            notify: self.notify.clone(),
            notifications: self.notifications.clone(),
            upstreams: settings::upstreams(&self.microsoft, &self.clock),
            watch: self.watch.clone(),
            seats: self.seats.clone(),
            clock: Arc::clone(&self.clock),
            consent: settings::consent_link(&self.config),
            issuer: settings::issuer(&self.config, public),
        }
    }

    fn ops_settings(&self, entra: &Arc<EntraKeys>, metrics: Metrics) -> OpsSettings {
        let sync = self.sync.clone();
        let mut registry = ops::registry();
        self.ledger.register(&mut registry);
        self.lookups.register(&mut registry);
        self.notifications.register(&mut registry);
        self.usage.register(&mut registry);
        self.seats.register(&mut registry);
        self.watch.register(&mut registry);
        sync.register(&mut registry);
        self.orders.register(&mut registry);
        self.notify.register(&mut registry);
        self.watched.register(&mut registry);
        OpsSettings {
            store: self.store.clone(),
            catalog: Arc::new(self.config.catalog.clone()),
            policy: self.config.policy(),
            entra: Arc::clone(entra),
            watch: self.watch.clone(),
            metrics,
            registry,
            activities: Arc::new(move || sync.status()),
            notify: Some(self.notify.clone()),
            seats: Some(self.seats.clone()),
            clock: Arc::clone(&self.clock),
        }
    }

    fn public_settings(
        &self,
        public: SocketAddr,
        entra: &Arc<EntraKeys>,
        metrics: &Metrics,
    ) -> PublicSettings {
        PublicSettings {
            store: self.store.clone(),
            catalog: Arc::new(self.config.catalog.clone()),
            policy: self.config.policy(),
            messages: Arc::new(self.config.messages.clone()),
            callers: self.config.callers.clone(),
            rules: settings::user_rules(&self.config),
            webhooks: settings::webhook_rules(&self.config),
            watch: self.watch.clone(),
            entra: Arc::clone(entra),
            lookups: self.lookups.clone(),
            notifications: self.notifications.clone(),
            landing: Some(landing::settings(
                &self.config,
                &self.microsoft,
                entra,
                self.orders.clone(),
                &self.clock,
            )),
            consent: Some(landing::consent(&self.config, &self.microsoft, self.sync.clone())),
            issuer: settings::issuer(&self.config, public),
            rates: Rates::default(),
            seats: Some(self.seats.clone()),
            metrics: metrics.clone(),
            clock: Arc::clone(&self.clock),
        }
    }
}

fn spawn(
    tasks: &mut JoinSet<Exit>,
    task: &'static str,
    future: impl Future<Output = ()> + Send + 'static,
) {
    tasks.spawn(async move {
        future.await;
        Exit { task, result: Ok(()) }
    });
}
