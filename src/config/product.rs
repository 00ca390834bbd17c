//! `[[product]]` and `[[product.plan]]`: what is sold, on which channel, with which features.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use uuid::Uuid;

use super::section::Section;
use super::solution::{self, Solution, SolutionPlan};
use crate::domain::{
    Catalog, Channel, Coverage, Feature, Features, HybridMode, Plan, Product, ProductId, ServiceId,
    ServicePlanId, SkuId,
};

/// The catalog. `publisher` is `publisher.id`, `release_after` that of `[policy]`.
pub(super) fn read(
    root: &mut Section<'_>,
    publisher: Option<&str>,
    release_after: SignedDuration,
) -> (Catalog, BTreeMap<ProductId, Solution>) {
    let mut seen = Seen::default();
    let all = root.sections("product", |it| product(it, publisher, release_after, &mut seen));
    let solutions = all.iter().map(|(it, solution)| (it.id.clone(), solution.clone())).collect();
    (Catalog::new(all.into_iter().map(|(it, _)| it)), solutions)
}

/// What must not occur twice in the whole catalog.
#[derive(Default)]
struct Seen {
    products: BTreeSet<ProductId>,
    services: BTreeSet<ServiceId>,
    skus: BTreeSet<SkuId>,
    service_plans: BTreeSet<ServicePlanId>,
    /// What each GUID was first said to be.
    guids: BTreeMap<Uuid, (Guid, ServiceId)>,
}

/// What a GUID of the catalog is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Guid {
    Named,
    Sku,
    ServicePlan,
}

impl Guid {
    const fn key(self) -> &'static str {
        match self {
            Self::Named => "service_id",
            Self::Sku => "sku_ids",
            Self::ServicePlan => "service_plan_ids",
        }
    }

    const fn what(self) -> &'static str {
        match self {
            Self::Named => "a part of the Service ID",
            Self::Sku => "a SKU",
            Self::ServicePlan => "a service plan",
        }
    }
}

fn product(
    it: &mut Section<'_>,
    publisher: Option<&str>,
    release_after: SignedDuration,
    seen: &mut Seen,
) -> Option<(Product, Solution)> {
    let id: Option<ProductId> = it.required("id", "\"synoptic-panel\"");
    if let Some(id) = &id
        && !seen.products.insert(id.clone())
    {
        it.problem("id", format!("there is another product `{id}`; ids must differ"));
    }
    let name = match &id {
        Some(id) => Some(it.or("name", id.to_string())),
        None => it.optional("name"),
    };
    let hybrid = it.or("hybrid", HybridMode::None);
    let features = it.section("features", features);
    let plans = it.sections("plan", |it| plan(it, publisher, release_after, &features, seen));
    let (plans, in_solution): (Vec<Plan>, Vec<Option<SolutionPlan>>) = plans.into_iter().unzip();
    let solution = solution::product(it, in_solution.into_iter().flatten().collect());
    let sold_hybrid = plans.iter().any(|it| it.channel == Channel::Hybrid);
    let hybrid_features = features.contains_key(&Channel::Hybrid);
    if hybrid == HybridMode::None && (sold_hybrid || hybrid_features) {
        let what = if sold_hybrid { "a plan" } else { "features" };
        it.warning("hybrid", format!("the product has {what} for channel hybrid; write `hybrid = \"entra\"` or \"licensee\", or remove them"));
    }
    let product = Product { id: id?, name: name?.as_str().into(), hybrid, features, plans };
    Some((product, solution))
}

fn features(it: &mut Section<'_>) -> BTreeMap<Channel, Features> {
    let mut features = BTreeMap::new();
    for channel in Channel::ALL {
        let key = channel.as_str();
        if it.has(key) {
            let list: Vec<String> = it.or(key, Vec::new());
            features.insert(*channel, set(&[], &list));
        } else {
            it.know(key);
        }
    }
    features
}

/// The features of a channel and more, sorted, without repeats.
fn set(channel: &[Feature], more: &[String]) -> Features {
    let all: BTreeSet<Feature> =
        channel.iter().cloned().chain(more.iter().map(|it| Feature::from(it.as_str()))).collect();
    all.into_iter().collect()
}

fn plan(
    it: &mut Section<'_>,
    publisher: Option<&str>,
    release_after: SignedDuration,
    features: &BTreeMap<Channel, Features>,
    seen: &mut Seen,
) -> Option<(Plan, Option<SolutionPlan>)> {
    let service_id: Option<ServiceId> = it.required("service_id", "\"vizmaker.synoptic.team\"");
    let channel: Option<Channel> = it.required("channel", "\"appsource\"");
    let coverage = it.or("coverage", Coverage::Tenant);
    let more: Vec<String> = it.or("features", Vec::new());
    let sku_ids: Vec<SkuId> = it.or("sku_ids", Vec::new());
    let service_plan_ids: Vec<ServicePlanId> = it.or("service_plan_ids", Vec::new());
    let release_after = it.period("release_after", release_after);
    if let Some(id) = &service_id {
        check_service_id(it, id, publisher, seen);
    }
    let twice = "another plan has the same id; one assignment would count for both";
    if !sku_ids.iter().all(|it| seen.skus.insert(*it)) {
        it.warning("sku_ids", twice);
    }
    if !service_plan_ids.iter().all(|it| seen.service_plans.insert(*it)) {
        it.warning("service_plan_ids", twice);
    }
    if let Some((id, channel)) = service_id.as_ref().zip(channel) {
        let managed = channel.is_managed_per_user();
        let ids = (&*sku_ids, &*service_plan_ids);
        check_guids(it, id, if managed { ids } else { (&[], &[]) }, seen);
    }
    let in_solution = solution::plan(it, channel, service_id.as_ref());
    let channel = channel?;
    check_effect(it, channel, coverage);
    let base = features.get(&channel).map_or(&[][..], |it| it);
    let plan = Plan {
        service_id: service_id?,
        channel,
        coverage,
        features: set(base, &more),
        sku_ids,
        service_plan_ids,
        release_after,
    };
    Some((plan, in_solution))
}

fn check_service_id(
    it: &mut Section<'_>,
    id: &ServiceId,
    publisher: Option<&str>,
    seen: &mut Seen,
) {
    if !seen.services.insert(id.clone()) {
        it.problem(
            "service_id",
            format!("there is another plan `{id}`; each plan is one product's and one channel's"),
        );
    }
    if let Some(publisher) = publisher
        && id.publisher() != publisher
    {
        it.warning("service_id", format!("it begins with `{}`, not with publisher.id `{publisher}`; Partner Center shows the Service ID on the plan's overview", id.publisher()));
    }
}

/// A GUID that is one thing of this plan and another of another plan's is a slip of the pen: a usage
/// right that carries it would count for both.
///
/// Source: graph-licensing.md section 0.1: identifiers of usage rights are seen as
/// `mscrm.<guid>.<guid>`, and nobody says what the GUIDs are.
fn check_guids(
    it: &mut Section<'_>,
    id: &ServiceId,
    (skus, service_plans): (&[SkuId], &[ServicePlanId]),
    seen: &mut Seen,
) {
    let named = id.as_str().split('.').filter_map(|part| part.parse().ok());
    let named = named.map(|guid| (guid, Guid::Named));
    let skus = skus.iter().map(|it| (it.as_uuid(), Guid::Sku));
    let service_plans = service_plans.iter().map(|it| (it.as_uuid(), Guid::ServicePlan));
    for (guid, is) in named.chain(skus).chain(service_plans) {
        let (was, of) = seen.guids.entry(guid).or_insert_with(|| (is, id.clone()));
        if *was != is && of != id {
            let message = format!(
                "{guid} is {} here and {} of plan `{of}`: a licence that is called by it would \
                 count for both; look up what it is and remove the other (entitled tenants learn T \
                 shows what a tenant's SKUs are)",
                is.what(),
                was.what()
            );
            it.problem(is.key(), message);
        }
    }
}

/// Names keys that have no effect on this channel.
fn check_effect(it: &mut Section<'_>, channel: Channel, coverage: Coverage) {
    let saas = channel == Channel::Saas;
    if it.is_set("coverage") && !saas {
        it.warning(
            "coverage",
            format!("it has no effect on channel {channel}; only saas plans have a coverage"),
        );
    }
    if it.is_set("release_after") && !(saas && coverage == Coverage::Seats) {
        it.warning(
            "release_after",
            "it has no effect here; only saas plans with coverage = \"seats\" release seats",
        );
    }
    if !matches!(channel, Channel::Appsource | Channel::IsvApp) {
        for key in ["sku_ids", "service_plan_ids"] {
            if it.is_set(key) {
                it.warning(key, format!("it has no effect on channel {channel}; only appsource and isv_app plans have licences of Microsoft"));
            }
        }
    }
}
