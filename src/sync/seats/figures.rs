//! What is counted of a tenant's seats, and what the figures say. Pure.

use std::collections::HashMap;
use std::sync::Arc;

use crate::domain::{
    AssignmentError, ByGroup, Catalog, Day, Forecast, Mirror, Path, Plan, Product, ProductId,
    SkuId, SkuMatch, TenantId, TenantView, USES_KEPT, UserId, UserLicences, paths_by_group,
    standings,
};

/// Users who are named at most in a list of those without a seat.
pub const SHOWN_MAX: usize = 100;

/// Seats of one plan in one tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeatFigures {
    /// Where.
    pub tenant: TenantId,
    /// What the tenant is called.
    pub name: Option<Arc<str>>,
    /// Of what.
    pub product: ProductId,
    /// The last part of the plan's Service ID.
    pub plan: Arc<str>,
    /// As which SKU.
    pub sku: SkuId,
    /// Seats that may be assigned: enabled and in Microsoft's grace.
    pub bought: u32,
    /// Seats assigned, as Microsoft counts them.
    pub consumed: u32,
    /// Users who hold one, as we mirror them.
    pub assigned: u32,
    /// Users whose every path is in error.
    pub in_error: u32,
    /// Members of licensed groups who wait for one.
    pub waiting: u32,
    /// Users who really used the product in the last 28 days, under pseudonyms.
    pub used: u32,
    /// The same for the last 7 days.
    pub used_in_week: u32,
    /// Users for whom no seat was free: at most [`SHOWN_MAX`].
    pub without: Vec<UserId>,
    /// Members who wait and for whom no seat is free either: at most [`SHOWN_MAX`].
    pub next_without: Vec<UserId>,
    /// When seats run out.
    pub forecast: Forecast,
    /// By how many the assigned ones grew, and in how many days.
    pub growth: Option<(i64, Day)>,
}

impl SeatFigures {
    /// Whether somebody is without a seat now, or more are assigned than there are. What has lapsed
    /// as a whole is no shortage.
    pub fn is_short(&self) -> bool {
        let over = self.bought > 0 && self.consumed > self.bought;
        over || !self.without.is_empty() || !self.next_without.is_empty()
    }
}

/// What was counted of one tenant, and of which state of it.
pub(super) struct Scan {
    view: Arc<TenantView>,
    pub(super) skus: Vec<Counted>,
}

/// What was counted of one plan as one SKU.
pub(super) struct Counted {
    product: ProductId,
    plan: Arc<str>,
    pub(super) sku: SkuId,
    pub(super) bought: u32,
    pub(super) consumed: u32,
    assigned: u32,
    in_error: u32,
    waiting: u32,
    without: Vec<UserId>,
    next_without: Vec<UserId>,
}

/// Counts the tenants that changed since they were counted last.
pub(super) fn scans(
    mirror: &Mirror,
    catalog: &Catalog,
    mut known: HashMap<TenantId, Scan>,
) -> HashMap<TenantId, Scan> {
    let counted = mirror.tenants().filter(|it| !it.skus.is_empty()).map(|view| {
        let id = view.tenant.id;
        let same = known.remove(&id).filter(|it| says_the_same(&it.view, view));
        (id, same.unwrap_or_else(|| Scan { view: Arc::clone(view), skus: count(view, catalog) }))
    });
    counted.collect()
}

/// Whether nothing that is counted differs: a reading that found nothing new changes the view too.
fn says_the_same(a: &Arc<TenantView>, b: &Arc<TenantView>) -> bool {
    Arc::ptr_eq(a, b)
        || Arc::ptr_eq(&a.groups, &b.groups)
            && a.skus == b.skus
            && a.users == b.users
            && a.mappings == b.mappings
}

/// The plans of ours that a tenant's SKUs are.
fn plans<'a>(
    catalog: &'a Catalog,
    view: &'a TenantView,
) -> impl Iterator<Item = (&'a Product, &'a Plan, SkuId, SkuMatch)> {
    let plans = catalog.products().flat_map(|product| {
        let managed = |it: &&Plan| it.channel.is_managed_per_user();
        product.plans.iter().filter(managed).map(move |plan| (product.as_ref(), plan))
    });
    plans.flat_map(move |(product, plan)| {
        let found = move |sku: &'a crate::domain::Sku| {
            Some((product, plan, sku.id, view.sku_match(sku, plan)?))
        };
        view.skus.iter().filter_map(found)
    })
}

fn count(view: &TenantView, catalog: &Catalog) -> Vec<Counted> {
    let mut all: Vec<(Counted, SkuMatch)> = plans(catalog, view)
        .map(|(product, plan, sku, found)| {
            let units = view.sku(sku).map(|it| it.units).unwrap_or_default();
            let counted = Counted {
                product: product.id.clone(),
                plan: plan.service_id.plan().into(),
                sku,
                bought: units.bought(),
                consumed: units.consumed,
                assigned: 0,
                in_error: 0,
                waiting: 0,
                without: Vec::new(),
                next_without: Vec::new(),
            };
            (counted, found)
        })
        .collect();
    for (user, held) in view.users.iter() {
        for (counted, found) in &mut all {
            count_user(counted, *found, user, &held);
        }
    }
    let paths = paths_by_group(view);
    let mut waiting: Vec<(UserId, SkuId)> = Vec::new();
    for (id, group) in &view.groups.groups {
        let waits = standings(group, paths.get(id)).into_iter().filter(|it| {
            // Who has it by another path waits for nothing.
            let has = view.users.get(it.user).is_some_and(|held| {
                held.licences.iter().any(|licence| licence.sku == it.sku && licence.assigned)
            });
            matches!(it.standing, ByGroup::Waiting(_)) && !has
        });
        waiting.extend(waits.map(|it| (it.user, it.sku)));
    }
    waiting.sort_unstable();
    waiting.dedup();
    for (counted, _) in &mut all {
        let users: Vec<UserId> =
            waiting.iter().filter(|it| it.1 == counted.sku).map(|it| it.0).collect();
        counted.waiting = clipped(users.len());
        let free = counted.bought.saturating_sub(counted.consumed);
        let free = usize::try_from(free).unwrap_or(usize::MAX);
        counted.next_without = users.into_iter().skip(free).take(SHOWN_MAX).collect();
    }
    all.into_iter().map(|(counted, _)| counted).collect()
}

fn count_user(counted: &mut Counted, found: SkuMatch, user: UserId, held: &UserLicences) {
    let Some(licence) = held.licences.iter().find(|it| it.sku == counted.sku) else { return };
    if licence.holds(found) {
        counted.assigned = counted.assigned.saturating_add(1);
    } else if licence.only_errors() {
        counted.in_error = counted.in_error.saturating_add(1);
        let no_seat = |it: &Path| {
            it.error.as_deref().and_then(AssignmentError::from_word)
                == Some(AssignmentError::CountViolation)
        };
        if licence.paths.iter().any(no_seat) && counted.without.len() < SHOWN_MAX {
            counted.without.push(user);
        }
    }
}

/// The figures, by tenant and product.
pub(super) fn all(
    mirror: &Mirror,
    scans: &HashMap<TenantId, Scan>,
    today: Day,
) -> Vec<SeatFigures> {
    let mut all: Vec<SeatFigures> = Vec::new();
    for (tenant, scan) in scans {
        for it in &scan.skus {
            let table = mirror.uses(*tenant, &it.product);
            let used = |days| clipped(table.map_or(0, |it| it.users_within(days, today)));
            let series = mirror.series(*tenant, it.sku);
            all.push(SeatFigures {
                tenant: *tenant,
                name: scan.view.tenant.name.clone(),
                product: it.product.clone(),
                plan: Arc::clone(&it.plan),
                sku: it.sku,
                bought: it.bought,
                consumed: it.consumed,
                assigned: it.assigned,
                in_error: it.in_error,
                waiting: it.waiting,
                used: used(USES_KEPT),
                used_in_week: used(7),
                without: it.without.clone(),
                next_without: it.next_without.clone(),
                forecast: series.map_or(Forecast::TooSoon, |it| it.forecast(today)),
                growth: series.and_then(|it| it.growth(today)),
            });
        }
    }
    all.sort_by(|a, b| (a.tenant, &a.product, &a.plan).cmp(&(b.tenant, &b.product, &b.plan)));
    all
}

fn clipped(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
