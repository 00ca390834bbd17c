//! The licence report against deals and against what Graph shows. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::domain::{
    Between, Catalog, Channel, Day, Deal, Difference, Mirror, Plan, Product, ProductId,
    ReportOrigin, ReportedLicence, SourceKey, TenantId, day_of,
};
use crate::sync::seats::SeatFigures;

/// How long before a report was made its figures may be from.
///
/// Source: `visuals-and-isv.md` section 4.5: up to 48 hours; a day more for the time of day.
const DELAY_DAYS: Day = 3;

/// Words for a licence that nobody may use; the list of words is not documented.
const NOT_USABLE: [&str; 8] = [
    "suspended",
    "expired",
    "inactive",
    "cancelled",
    "canceled",
    "deleted",
    "disabled",
    "deprovisioned",
];

/// One plan in one tenant: as reported, as dealt, as mirrored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compared {
    /// The customer's tenant.
    pub tenant: TenantId,
    /// What it is called, if it is mirrored.
    pub name: Option<Arc<str>>,
    /// The Service ID in lower case.
    pub service_id: Arc<str>,
    /// Of which product it is a plan.
    pub product: Option<ProductId>,
    /// What the report says.
    pub report: Option<ReportSays>,
    /// Licences of deals whose contract has begun and is not over; `None` without any deal.
    pub dealt: Option<u64>,
    /// What Graph shows; `None` if the tenant was never completely read.
    pub graph: Option<GraphSays>,
    /// How they differ.
    pub differences: Vec<Difference>,
}

/// What the report says of a plan in a tenant, over all SKU names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportSays {
    /// Licences activated; `None` where a line does not tell.
    pub provisioned: Option<u64>,
    /// Licences assigned; `None` where a line does not tell.
    pub assigned: Option<u64>,
    /// States, in Microsoft's words.
    pub state: Option<Arc<str>>,
    /// The names of its SKUs.
    pub sku_names: Vec<Arc<str>>,
    /// When the oldest of the lines was reported.
    pub reported_at: Timestamp,
    /// How it came here.
    pub origin: ReportOrigin,
}

/// What Graph shows of a plan in a tenant, over all SKUs that are it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GraphSays {
    /// Seats that may be assigned.
    pub bought: u64,
    /// Seats assigned, as Microsoft counts them.
    pub assigned: u64,
    /// Users who hold one, as we mirror them.
    pub users: u64,
    /// Whether a SKU of the tenant is the plan.
    pub found: bool,
}

impl Compared {
    /// Whether somebody should look.
    pub fn differs(&self) -> bool {
        self.differences.iter().any(|it| !it.passes())
    }
}

/// Everything that was compared, in figures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Plans in tenants.
    pub compared: u64,
    /// Those that somebody should look at.
    pub differing: u64,
    /// How often each difference was found.
    pub by_difference: BTreeMap<Difference, u64>,
    /// Licences by product.
    pub by_product: BTreeMap<ProductId, ProductSums>,
}

/// Licences of one product, over all tenants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProductSums {
    /// Activated, by the report.
    pub provisioned: u64,
    /// Assigned, by the report.
    pub assigned: u64,
    /// Of deals that run.
    pub dealt: u64,
    /// That may be assigned, by Graph.
    pub bought: u64,
    /// Assigned, by Graph.
    pub graph_assigned: u64,
}

impl Sums {
    /// Counts what was compared.
    pub fn of(all: &[Compared]) -> Self {
        let mut sums = Self::default();
        for it in all {
            sums.compared = sums.compared.saturating_add(1);
            sums.differing = sums.differing.saturating_add(u64::from(it.differs()));
            for difference in &it.differences {
                let count = sums.by_difference.entry(*difference).or_default();
                *count = count.saturating_add(1);
            }
            let Some(product) = &it.product else { continue };
            let product = sums.by_product.entry(product.clone()).or_default();
            let add = |to: &mut u64, more: Option<u64>| {
                *to = to.saturating_add(more.unwrap_or_default());
            };
            add(&mut product.provisioned, it.report.as_ref().and_then(|it| it.provisioned));
            add(&mut product.assigned, it.report.as_ref().and_then(|it| it.assigned));
            add(&mut product.dealt, it.dealt);
            add(&mut product.bought, it.graph.map(|it| it.bought));
            add(&mut product.graph_assigned, it.graph.map(|it| it.assigned));
        }
        sums
    }
}

/// The day of a moment, in UTC.
pub fn day(now: Timestamp) -> Date {
    now.to_zoned(TimeZone::UTC).date()
}

type Key = (TenantId, Arc<str>);

/// Everything that is known of one key.
#[derive(Default)]
struct Known<'a> {
    lines: Vec<&'a ReportedLicence>,
    deals: Vec<&'a Deal>,
    seats: Vec<&'a SeatFigures>,
}

/// Every plan in every tenant that the report, a deal or, once there was a report, Graph names.
pub fn compare(
    mirror: &Mirror,
    catalog: &Catalog,
    seats: &[SeatFigures],
    today: Date,
) -> Vec<Compared> {
    let plans: BTreeMap<&str, (&Product, &Plan)> = catalog
        .products()
        .flat_map(|product| product.plans.iter().map(move |plan| (product.as_ref(), plan)))
        .map(|(product, plan)| (plan.service_id.as_str(), (product, plan)))
        .collect();
    let newest = mirror.source(SourceKey::REPORTS).and_then(|it| it.last_complete);
    let mut all: BTreeMap<Key, Known<'_>> = BTreeMap::new();
    for line in mirror.reported().flat_map(|(_, lines)| lines.iter()) {
        all.entry((line.tenant, Arc::clone(&line.service_id))).or_default().lines.push(line);
    }
    for deal in mirror.deals() {
        let key = (deal.tenant, deal.service_id.as_str().into());
        all.entry(key).or_default().deals.push(deal);
    }
    for it in seats {
        let of_it = |(_, (product, plan)): &(&&str, &(&Product, &Plan))| {
            product.id == it.product && plan.service_id.plan() == &*it.plan
        };
        let Some((service_id, _)) = plans.iter().find(of_it) else { continue };
        let key = (it.tenant, Arc::from(*service_id));
        let counts = newest.is_some() && (it.bought > 0 || it.consumed > 0);
        if counts || all.contains_key(&key) {
            all.entry(key).or_default().seats.push(it);
        }
    }
    let one = |((tenant, service_id), known): (Key, Known<'_>)| {
        let plan = plans.get(&*service_id).copied();
        one(mirror, (tenant, service_id, plan), &known, newest, today)
    };
    all.into_iter().map(one).collect()
}

fn one(
    mirror: &Mirror,
    (tenant, service_id, plan): (TenantId, Arc<str>, Option<(&Product, &Plan)>),
    known: &Known<'_>,
    newest: Option<Timestamp>,
    today: Date,
) -> Compared {
    let view = mirror.tenant(tenant);
    let was_read = view.is_some_and(|it| it.directory.last_complete.is_some());
    let graph = was_read.then(|| graph_says(&known.seats));
    let mut it = Compared {
        tenant,
        name: view.and_then(|it| it.tenant.name.clone()),
        service_id,
        product: plan.map(|(product, _)| product.id.clone()),
        report: report_says(&known.lines),
        dealt: dealt(&known.deals, today),
        graph,
        differences: Vec::new(),
    };
    let mut found = of_place(&it, plan.map(|(_, plan)| plan.channel), newest);
    found.extend(of_figures(&it, mirror, &known.seats));
    found.extend(of_deals(&it, &known.deals, today));
    it.differences = found;
    it
}

fn report_says(lines: &[&ReportedLicence]) -> Option<ReportSays> {
    let first = lines.first()?;
    let sum = |count: fn(&ReportedLicence) -> Option<u64>| {
        lines.iter().try_fold(0_u64, |sum, it| Some(sum.saturating_add(count(it)?)))
    };
    let mut states: Vec<&str> = lines.iter().filter_map(|it| it.state.as_deref()).collect();
    states.dedup();
    Some(ReportSays {
        provisioned: sum(|it| it.provisioned),
        assigned: sum(|it| it.assigned),
        state: (!states.is_empty()).then(|| states.join(", ").into()),
        sku_names: lines.iter().map(|it| Arc::clone(&it.sku_name)).collect(),
        reported_at: lines.iter().map(|it| it.reported_at).min().unwrap_or(first.reported_at),
        origin: first.origin,
    })
}

fn graph_says(seats: &[&SeatFigures]) -> GraphSays {
    let sum = |count: fn(&SeatFigures) -> u32| seats.iter().map(|it| u64::from(count(it))).sum();
    GraphSays {
        bought: sum(|it| it.bought),
        assigned: sum(|it| it.consumed),
        users: sum(|it| it.assigned),
        found: !seats.is_empty(),
    }
}

fn dealt(deals: &[&Deal], today: Date) -> Option<u64> {
    let live = deals.iter().filter(|it| it.has_begun(today) && !it.is_over(today));
    (!deals.is_empty()).then(|| live.fold(0, |sum, it| it.licences.saturating_add(sum)))
}

/// Whether each of the sources knows of it at all.
fn of_place(it: &Compared, channel: Option<Channel>, newest: Option<Timestamp>) -> Vec<Difference> {
    let mut found = Vec::new();
    match channel {
        None => found.push(Difference::UnknownPlan),
        Some(channel) if !channel.is_managed_per_user() => found.push(Difference::OtherChannel),
        Some(_) => match it.graph {
            None => found.push(Difference::NotMirrored),
            Some(GraphSays { found: false, .. }) if it.report.is_some() => {
                found.push(Difference::NoSku);
            }
            Some(_) => {}
        },
    }
    match &it.report {
        None if it.dealt.is_none() => found.push(Difference::NotReported),
        Some(report) if newest.is_some_and(|newest| report.reported_at < newest) => {
            found.push(Difference::LeftOut);
        }
        None | Some(_) => {}
    }
    found
}

/// Whether report and Graph count the same.
fn of_figures(it: &Compared, mirror: &Mirror, seats: &[&SeatFigures]) -> Vec<Difference> {
    let mut found = Vec::new();
    let Some(report) = &it.report else { return found };
    let pair = report.provisioned.zip(report.assigned);
    if pair.is_some_and(|(provisioned, assigned)| assigned > provisioned) {
        found.push(Difference::OverAssigned);
    }
    let Some(graph) = it.graph.filter(|it| it.found) else { return found };
    let mut counted = Vec::new();
    match report.provisioned {
        Some(reported) if reported > graph.bought => counted.push(Difference::MoreReported),
        Some(reported) if reported < graph.bought => counted.push(Difference::FewerReported),
        Some(_) | None => {}
    }
    if report.assigned.is_some_and(|reported| reported != graph.assigned) {
        counted.push(Difference::Assigned);
    }
    if !counted.is_empty() && was_so(mirror, report, seats) {
        counted = vec![Difference::Late];
    }
    found.extend(counted);
    let over = |it: &str| NOT_USABLE.iter().any(|word| it.eq_ignore_ascii_case(word));
    let states = report.state.iter().flat_map(|it| it.split(", "));
    if graph.bought > 0 && report.state.is_some() && states.into_iter().all(over) {
        found.push(Difference::NotUsable);
    }
    found
}

/// Whether Graph showed what the report says in the days before it was made, or figures on both sides
/// of it: seats that were sold and taken in between are counted at different hours. A SKU that was
/// not there yet had none.
fn was_so(mirror: &Mirror, report: &ReportSays, seats: &[&SeatFigures]) -> bool {
    let made = day_of(report.reported_at);
    let from = made.saturating_sub(DELAY_DAYS);
    let between = |it: &&SeatFigures| mirror.series(it.tenant, it.sku)?.between(from, made);
    let shown: Vec<_> = seats.iter().filter_map(between).collect();
    let fits = |reported: Option<u64>, count: fn(&(Between, Between)) -> Between| {
        let sum = |end: fn(Between) -> u32| -> u64 {
            shown.iter().map(|it| u64::from(end(count(it)))).sum()
        };
        reported.is_none_or(|it| (sum(|it| it.0)..=sum(|it| it.1)).contains(&it))
    };
    !shown.is_empty() && fits(report.provisioned, |it| it.0) && fits(report.assigned, |it| it.1)
}

/// Whether the deals say the same as the report.
fn of_deals(it: &Compared, deals: &[&Deal], today: Date) -> Option<Difference> {
    let agreed = it.dealt?;
    let provisioned = match &it.report {
        Some(report) => report.provisioned?,
        None => return (agreed > 0).then_some(Difference::DealNotProvisioned),
    };
    if deals.iter().all(|it| it.is_over(today)) {
        return (provisioned > 0).then_some(Difference::DealEnded);
    }
    (agreed != provisioned).then_some(Difference::DealDiffers)
}

#[cfg(test)]
mod tests;
