//! The Microsoft stand-in: Entra tokens and keys, SaaS fulfillment and Graph on one loopback port.
//!
//! It imports nothing of ours, so that one misreading of a document cannot hide in both ends of a
//! wire. [`World`] is the state and may change while it runs; [`story`] holds the sample customers;
//! `entra`, `marketplace`, `graph` and `partner_center` answer as the reference says Microsoft does; [`Faults`] makes
//! them stumble; `control` is the route by which programs change the world.

mod chance;
mod control;
mod entra;
mod faults;
mod graph;
mod keys;
mod marketplace;
mod notify;
mod partner_center;
mod serve;
mod sign_in;
pub mod story;
mod stumble;
mod usage;
mod webhook;
mod wire;
mod world;

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::{fmt, io};

use jiff::Timestamp;
use tokio::net::TcpListener;
use uuid::Uuid;

pub use entra::{TokenRequest, TokenVersion};
pub use faults::{Fault, Faults, FaultsError};
pub use graph::throttle::GraphUse;
pub use notify::Told;
pub use stumble::Stumble;
pub use usage::AcceptedUsage;
pub use webhook::{Delivery, Fate, Forgery, Webhook};
pub use world::subscription::{Buyer, Subscription, Term};
pub use world::{NewUser, Purchase, Seat, Shown, SkuUnits, World, WorldError};

/// Tells the time; the sandbox adds its own offset.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Request lines kept for [`Sandbox::requests`]; older ones are dropped.
const REQUESTS_MAX: usize = 20_000;

/// How a sandbox starts.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Seed of the generated customers.
    pub seed: u64,
    /// Generated tenants, beside the story's customers.
    pub tenants: usize,
    /// Users of each generated tenant.
    pub users: usize,
    /// Users of one more tenant, a large one; none if 0.
    pub large: usize,
    /// What goes wrong.
    pub faults: Faults,
    /// The folder in which Entra's signing keys are kept, so that tokens outlive a restart; new
    /// ones at each start if there is none.
    pub keys: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            seed: 1,
            tenants: 0,
            users: 0,
            large: 0,
            faults: Faults::default(),
            keys: None,
        }
    }
}

/// One answered request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestLine {
    /// `GET`, `POST`, …
    pub method: String,
    /// Path and query as they arrived.
    pub target: String,
    /// The tenant the request was about, where it was about one.
    pub tenant: Option<Uuid>,
    /// Status of the answer.
    pub status: u16,
}

impl fmt::Display for RequestLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.status, self.method, self.target)?;
        self.tenant.map_or(Ok(()), |tenant| write!(f, " tenant={tenant}"))
    }
}

/// A handle on a running sandbox; cheap to clone.
#[derive(Clone)]
pub struct Sandbox {
    inner: Arc<Inner>,
}

struct Inner {
    base: String,
    http: reqwest::Client,
    world: Mutex<World>,
    lines: Mutex<VecDeque<RequestLine>>,
}

impl Sandbox {
    /// Builds the world, binds the port and returns the handle and the future that serves. The
    /// future never ends by itself; dropping it closes every connection.
    ///
    /// # Errors
    /// The port cannot be bound, or no signing key could be made.
    pub async fn bind(
        options: Options,
        clock: Clock,
    ) -> io::Result<(Self, impl Future<Output = ()> + Send)> {
        let listener = TcpListener::bind(options.listen).await?;
        let base = format!("http://{}", listener.local_addr()?);
        let world = World::new(&options, clock, &base)?;
        let sandbox = Self {
            inner: Arc::new(Inner {
                base,
                http: webhook::client()?,
                world: Mutex::new(world),
                lines: Mutex::new(VecDeque::new()),
            }),
        };
        let serving = serve::run(listener, sandbox.clone());
        Ok((sandbox, serving))
    }

    /// `http://127.0.0.1:PORT`. Below it: `/login`, `/sts` (v1 issuer), `/marketplace`, `/graph`,
    /// `/partner_center`, `/control`.
    pub fn base(&self) -> String {
        self.inner.base.clone()
    }

    /// Looks at or changes the world; requests wait meanwhile.
    pub fn with_world<R>(&self, f: impl FnOnce(&mut World) -> R) -> R {
        f(&mut self.inner.world.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A user's access token as Entra would sign it.
    #[expect(clippy::needless_pass_by_value, reason = "a request is made to be handed over")]
    pub fn user_token(&self, request: TokenRequest) -> String {
        self.with_world(|world| entra::user_token(world, &request))
    }

    /// The latest requests, oldest first (at most 20,000).
    pub fn requests(&self) -> Vec<RequestLine> {
        let lines = self.inner.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().cloned().collect()
    }

    fn note(&self, line: RequestLine) {
        let mut lines = self.inner.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() >= REQUESTS_MAX {
            lines.pop_front();
        }
        lines.push_back(line);
    }
}

impl fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sandbox").field("base", &self.inner.base).finish_non_exhaustive()
    }
}
