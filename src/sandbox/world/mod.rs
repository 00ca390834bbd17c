//! What is true in the stand-in: customers, licences, subscriptions, keys, and its own time.
//!
//! `edit` and `supply` change it, `orders` and `requests` are the life of subscriptions, `opening` builds the story, `population` the generated customers.

mod buying;
pub(crate) mod catalog;
mod edit;
mod grouping;
mod licensing;
pub(crate) mod offer;
mod opening;
pub(crate) mod orders;
mod population;
pub(crate) mod requests;
mod shown;
pub(crate) mod subscription;
mod supply;
pub(crate) mod tenant;

use std::collections::{BTreeMap, BTreeSet};
use std::{fmt, io};

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

pub use buying::Purchase;
pub use edit::{NewUser, WorldError};

pub use shown::Shown;
pub use tenant::SkuUnits;

use self::catalog::Catalog;
use self::orders::Orders;
use self::subscription::Shelf;
use self::tenant::{DIRECT, Life, Location, Tenant};
use super::chance::{self, Chance};
use super::faults::{Fault, Faults};
use super::graph::throttle::{Bucket, GraphUse};
use super::keys::KeyRing;
use super::notify::Hooks;
use super::partner_center::Analytics;
use super::sign_in::Visits;
use super::stumble::Stumble;
use super::usage::Meter;
use super::webhook::Post;
use super::wire::{Ask, later};
use super::{Clock, Options, story};

/// The state of the stand-in.
pub struct World {
    base: String,
    clock: Clock,
    offset: SignedDuration,
    seed: u64,
    catalog: Catalog,
    tenants: BTreeMap<Uuid, Tenant>,
    /// The groups that delta sequences were limited to; tokens name them by number.
    limited: Vec<Vec<Uuid>>,
    shelf: Shelf,
    pub(super) orders: Orders,
    pub(super) post: Post,
    pub(super) hooks: Hooks,
    pub(super) meter: Meter,
    pub(super) analytics: Analytics,
    pub(super) visits: Visits,
    keys: KeyRing,
    /// Secrets of our app; false once expired.
    secrets: Vec<(String, bool)>,
    faults: Faults,
    fate: Chance,
    names: Chance,
    bucket: Bucket,
    pub(super) graph_use: GraphUse,
    out: bool,
    foreign_app: bool,
    stumbles: Vec<Stumble>,
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").field("tenants", &self.tenants.len()).finish_non_exhaustive()
    }
}

/// What Microsoft would say about one user and one SKU: the truth to compare a mirror with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seat {
    /// Object id.
    pub user: Uuid,
    /// SKU id.
    pub sku: Uuid,
    /// Some path holds it (not only paths in error).
    pub held: bool,
    /// Service plans disabled on every holding path.
    pub disabled_plans: Vec<Uuid>,
    /// Groups it came through; `None` is direct. Paths in error included.
    pub paths: Vec<Option<Uuid>>,
}

impl World {
    pub(super) fn new(options: &Options, clock: Clock, base: &str) -> io::Result<Self> {
        let secrets = vec![
            (story::CLIENT_SECRET.to_owned(), true),
            (story::EXPIRED_SECRET.to_owned(), false),
        ];
        let mut world = Self {
            base: base.to_owned(),
            clock,
            offset: SignedDuration::ZERO,
            seed: options.seed,
            catalog: Catalog::new(),
            tenants: BTreeMap::new(),
            limited: Vec::new(),
            shelf: Shelf::default(),
            orders: Orders::default(),
            post: Post::default(),
            hooks: Hooks::default(),
            meter: Meter::default(),
            analytics: Analytics::default(),
            visits: Visits::default(),
            keys: options.keys.as_deref().map_or_else(KeyRing::new, KeyRing::kept)?,
            secrets,
            faults: options.faults.clone(),
            fate: Chance::new(options.faults.seed),
            names: Chance::new(options.seed ^ 0x1d5),
            bucket: Bucket::default(),
            graph_use: GraphUse::default(),
            out: false,
            foreign_app: false,
            stumbles: Vec::new(),
        };
        opening::build(&mut world);
        population::build(&mut world, options.tenants, options.users);
        if options.large > 0 {
            population::large(&mut world, options.large);
        }
        Ok(world)
    }

    /// The sandbox's time: the clock and what `advance_clock` added.
    pub fn now(&self) -> Timestamp {
        later((self.clock)(), self.offset)
    }

    /// The same in seconds since 1970.
    pub(crate) fn now_s(&self) -> i64 {
        self.now().as_second()
    }

    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    pub(crate) fn seed(&self) -> u64 {
        self.seed
    }

    pub(crate) fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    pub(crate) fn keys(&self) -> &KeyRing {
        &self.keys
    }

    /// How many subscriptions the publisher has, those that ended included.
    pub fn subscription_count(&self) -> usize {
        self.shelf.len()
    }

    pub(crate) fn shelf(&self) -> &Shelf {
        &self.shelf
    }

    pub(crate) fn tenant(&self, id: Uuid) -> Option<&Tenant> {
        self.tenants.get(&id)
    }

    /// A tenant with everything done that was due.
    pub(crate) fn settled(&mut self, id: Uuid) -> Option<&mut Tenant> {
        let now = self.now_s();
        let tenant = self.tenants.get_mut(&id)?;
        tenant.settle(now);
        Some(tenant)
    }

    pub(crate) fn bucket(&mut self) -> &mut Bucket {
        &mut self.bucket
    }

    /// What Graph was asked for so far, and how near to its quotas that came.
    pub fn graph_use(&self) -> GraphUse {
        self.graph_use
    }

    /// `Some(true)`: a good secret; `Some(false)`: expired.
    pub(crate) fn secret(&self, secret: &str) -> Option<bool> {
        self.secrets.iter().find(|(known, _)| known == secret).map(|(_, good)| *good)
    }

    /// What goes wrong at present.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    pub(crate) fn is_out(&self) -> bool {
        self.out
    }

    /// Does this fault strike now?
    pub(crate) fn strikes(&mut self, fault: Fault) -> bool {
        let chance = self.faults.chance(fault);
        self.fate.hits(chance)
    }

    /// Lets the marketplace, Graph or Partner Center stumble over its next requests of a kind, after those ordered before.
    pub fn stumble(&mut self, stumble: Stumble) {
        self.stumbles.push(stumble);
    }

    /// What this request stumbles over.
    pub(crate) fn stumbles(&mut self, ask: &Ask) -> Option<Stumble> {
        let stumble = self.stumbles.iter_mut().find(|it| it.times > 0 && it.fits(ask))?;
        if stumble.after > 0 {
            stumble.after -= 1;
            return None;
        }
        stumble.times -= 1;
        Some(stumble.clone())
    }

    /// Whether Graph takes our app for somebody else's, who sees nobody's usage rights.
    /// Source: graph-licensing.md 3.
    pub fn set_foreign_app(&mut self, on: bool) {
        self.foreign_app = on;
    }

    pub(crate) fn is_foreign_app(&self) -> bool {
        self.foreign_app
    }

    /// The next draw of the faults' chance.
    pub(crate) fn fate(&mut self) -> &mut Chance {
        &mut self.fate
    }

    /// An id nobody had before.
    pub(crate) fn fresh_id(&mut self) -> Uuid {
        chance::guid(&[self.seed, self.names.draw()])
    }

    /// Display name and sign-in name of a user, also of one the directory does not know.
    pub(crate) fn person(&self, tenant: Uuid, user: Uuid) -> (String, String) {
        let known = self.tenant(tenant).and_then(|tenant| {
            let at = tenant.index.get(&user)?;
            Some(tenant.names(*at))
        });
        known.unwrap_or_else(|| ("Guest".to_owned(), format!("guest@{tenant}.example")))
    }

    /// Tenants, the publisher's included, in the order of their ids.
    pub fn tenants(&self) -> Vec<Uuid> {
        self.tenants.keys().copied().collect()
    }

    /// Object ids of a tenant's users that are neither deleted nor purged.
    pub fn users(&self, tenant: Uuid) -> Vec<Uuid> {
        let users = self.tenant(tenant).into_iter().flat_map(|tenant| &tenant.users);
        users.filter(|user| user.life == Life::Live).map(|user| user.id).collect()
    }

    /// All licences of a tenant's users, sorted by user and SKU, once the background job has run.
    pub fn seats(&mut self, tenant: Uuid) -> Vec<Seat> {
        if self.settled(tenant).is_none() {
            return Vec::new();
        }
        let Some(tenant) = self.tenants.get(&tenant) else { return Vec::new() };
        let mut seats = Vec::new();
        for user in tenant.users.iter().filter(|user| user.life == Life::Live) {
            let held = user.held();
            for kind in user.paths.iter().map(|path| path.sku).collect::<BTreeSet<_>>() {
                let Some(sku) = self.catalog.sku(kind) else { continue };
                let disabled = held.iter().find(|(held, _)| *held == kind).map(|(_, mask)| *mask);
                let mut paths: Vec<_> = user
                    .paths
                    .iter()
                    .filter(|path| path.sku == kind)
                    .map(|path| tenant.groups.get(usize::from(path.by)).map(|group| group.id))
                    .collect();
                paths.sort_unstable();
                seats.push(Seat {
                    user: user.id,
                    sku: sku.id,
                    held: disabled.is_some(),
                    disabled_plans: sku
                        .plans_in(disabled.unwrap_or(0))
                        .map(|plan| plan.id)
                        .collect(),
                    paths,
                });
            }
        }
        seats.sort_unstable_by_key(|seat| (seat.user, seat.sku));
        seats
    }
}

impl Tenant {
    /// Display name and sign-in name of the user at a position.
    pub(crate) fn names(&self, at: u32) -> (String, String) {
        let domain = self.domain();
        match self.user(at).and_then(|user| user.name.as_deref()) {
            Some(name) => (name.to_owned(), format!("{}@{domain}", name.to_lowercase())),
            None => (format!("User {at:06}"), format!("user{at}@{domain}")),
        }
    }

    /// Id of the group a path came by.
    pub(crate) fn group_id(&self, by: u16) -> Option<Uuid> {
        if by == DIRECT { None } else { self.groups.get(usize::from(by)).map(|group| group.id) }
    }
}

/// `AT` and so on, as two letters.
pub(crate) fn country(text: &str) -> Location {
    match text.as_bytes() {
        [a, b] if a.is_ascii_alphabetic() && b.is_ascii_alphabetic() => {
            Location::Country([a.to_ascii_uppercase(), b.to_ascii_uppercase()])
        }
        _ => Location::Cleared,
    }
}
