//! Generated customers: the same seed gives the same directories and subscriptions.

use uuid::Uuid;

use super::World;
use super::catalog::Kind;
use super::licensing::short;
use super::opening::{bought_by, subscription};
use super::tenant::{
    DIRECT, Group, Location, Path, PathState, SkuUnits, Tenant, TenantSku, User, Violation,
};
use crate::sandbox::chance::{Chance, guid, hash, odd_guid};
use crate::sandbox::story;
use crate::sandbox::wire::DAY_S;

/// Positions in the catalog.
const SYNOPTIC: Kind = 0;
const E5: Kind = 3;

/// Adds `tenants` tenants with `users` users each.
pub(super) fn build(world: &mut World, tenants: usize, users: usize) {
    let now = world.now_s();
    for number in 0..u64::try_from(tenants).unwrap_or(u64::MAX) {
        let seed = hash(&[world.seed, 0x0070_6f70, number]);
        let tenant = tenant(seed, number, users, now);
        subscriptions(world, &tenant, seed, number, now);
        world.tenants.insert(tenant.id, tenant);
    }
}

/// Adds one tenant of so many users, who hold and have bought what others do.
pub(super) fn large(world: &mut World, users: usize) {
    let now = world.now_s();
    let mut tenant = tenant(hash(&[world.seed, 0x006c_6172]), 0, users, now);
    "Large Customer".clone_into(&mut tenant.name);
    world.tenants.insert(tenant.id, tenant);
}

fn tenant(seed: u64, number: u64, users: usize, now: i64) -> Tenant {
    let mut chance = Chance::new(seed);
    let roles = || story::ROLES.map(str::to_owned).to_vec();
    // The first one always works, so that a world of one is worth measuring.
    let consent = match chance.below(20) {
        _ if number == 0 => Some(roles()),
        0 | 1 => None,
        2 => Some(Vec::new()),
        _ => Some(roles()),
    };
    let mut tenant = Tenant::new(guid(&[seed, 1]), &format!("Customer {number:05}"), consent);
    let mut kinds = vec![E5];
    kinds.extend([(0, 70), (1, 25), (2, 15)].into_iter().filter_map(|(kind, percent)| {
        (chance.percent(percent) || (number == 0 && kind == SYNOPTIC)).then_some(kind)
    }));
    groups(&mut tenant, seed, &kinds);
    tenant.users.reserve_exact(users);
    tenant.index.reserve(users);
    let day = now - 40 * DAY_S;
    for at in 0..u64::try_from(users).unwrap_or(u64::MAX) {
        let user = user(&mut chance, guid(&[seed, 2, at]), &tenant.groups, &kinds, day);
        tenant.push(user);
    }
    tenant.skus = kinds.iter().map(|kind| sku(&mut chance, *kind)).collect();
    tenant.recount();
    for sku in &mut tenant.skus {
        let total = sku.consumed + sku.consumed / 10 + 1;
        let none = SkuUnits::default();
        sku.units = match sku.status.as_str() {
            "Warning" => SkuUnits { warning: total, ..none },
            "Suspended" => SkuUnits { suspended: total, ..none },
            _ => SkuUnits { enabled: total, ..none },
        };
    }
    tenant
}

fn sku(chance: &mut Chance, kind: Kind) -> TenantSku {
    let status = match chance.below(20) {
        _ if kind == E5 => "Enabled",
        0 => "Warning",
        1 => "Suspended",
        _ => "Enabled",
    };
    let (units, status) = (SkuUnits::default(), status.to_owned());
    TenantSku { kind, status, units, consumed: 0, trial: chance.percent(5), next_lifecycle_s: None }
}

/// One group for each SKU, and one without licences.
fn groups(tenant: &mut Tenant, seed: u64, kinds: &[Kind]) {
    let licensed = kinds.iter().map(|kind| vec![(*kind, 0)]);
    for (licenses, n) in licensed.chain([Vec::new()]).zip(0..) {
        let (id, name) = (guid(&[seed, 3, n]), format!("Group {n}"));
        tenant.groups.push(Group { licenses, ..Group::new(id, name) });
    }
}

fn user(chance: &mut Chance, id: Uuid, groups: &[Group], kinds: &[Kind], day: i64) -> User {
    let mut user = User::new(id);
    user.enabled = !chance.percent(4);
    user.guest = chance.percent(3);
    if chance.percent(85) {
        let countries = [*b"AT", *b"DE", *b"US", *b"IN", *b"JP"];
        let at = usize::try_from(chance.below(5)).unwrap_or(0);
        user.location = countries.get(at).map_or(Location::Never, |code| Location::Country(*code));
    }
    for kind in kinds {
        // E5 mostly by group; of ours three in ten directly, a quarter by group, some by both.
        let (direct, by_group) = if *kind == E5 { (5, 75) } else { (30, 25) };
        if chance.percent(direct) {
            user.paths.push(active(chance, *kind, DIRECT, day));
        }
        if chance.percent(by_group) {
            let carries = |group: &Group| group.licenses.iter().any(|(on, _)| on == kind);
            let at = groups.iter().position(carries).and_then(|at| u16::try_from(at).ok());
            if let Some(by) = at {
                user.groups.push(by);
                user.paths.push(active(chance, *kind, by, day));
            }
        }
    }
    user.paths.shrink_to_fit();
    user
}

fn active(chance: &mut Chance, sku: Kind, by: u16, day: i64) -> Path {
    // A few people have our plan switched off; groups enable everything.
    let disabled = u32::from(by == DIRECT && chance.percent(2));
    let updated = short(day).saturating_add(u32::try_from(chance.below(1_000_000)).unwrap_or(0));
    Path { sku, by, disabled, state: PathState::Active, error: Violation::None, updated }
}

/// Two of five customers have bought SaaS, some more than once; most of it has ended, as recorded.
fn subscriptions(world: &mut World, tenant: &Tenant, seed: u64, number: u64, now: i64) {
    let mut chance = Chance::new(seed ^ 0x5aa5);
    let count = match chance.below(10) {
        0 | 1 => 1,
        2 => 2,
        3 => 3,
        _ => 0,
    };
    for n in 0..count {
        let status = match chance.below(10) {
            0..=4 => "Unsubscribed",
            5..=7 => "Subscribed",
            8 => "PendingFulfillmentStart",
            _ => "Suspended",
        };
        let team = chance.percent(40);
        let plan = if team { story::SUITE_TEAM } else { story::SUITE_COMPANY };
        let person = tenant.users.first().map_or_else(|| guid(&[seed, 4]), |user| user.id);
        let buyer = bought_by(tenant.id, person, format!("buyer{number}@customer.example"));
        let mut bought = subscription(number + 1_000, now, &tenant.name, buyer, status, plan);
        bought.id = odd_guid(&[seed, 5, n]);
        bought.is_free_trial = status == "Subscribed" && chance.percent(20);
        bought.quantity = team.then(|| 1 + u32::try_from(chance.below(50)).unwrap_or(0));
        world.put_subscription(&bought);
    }
}
