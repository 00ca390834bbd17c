//! What Microsoft sells: SKUs and their service plans, the publisher's and its own.
//!
//! The reference (graph-licensing.md 0.1) leaves open how an ISV plan is named in `subscribedSkus`.
//! Here the service plan's name is the Partner Center Service ID, in capitals for one of the three,
//! so that a reader that compares letter by letter is found out.

use uuid::Uuid;

use crate::sandbox::story;

/// One service plan of a SKU.
#[derive(Clone, Debug)]
pub(crate) struct PlanKind {
    pub(crate) id: Uuid,
    pub(crate) name: String,
    /// Coarse name in `assignedPlans`.
    pub(crate) service: &'static str,
}

impl PlanKind {
    /// Is it a plan of the publisher's, with a Service ID as its name?
    pub(crate) fn is_publishers(&self) -> bool {
        self.service == PUBLISHERS
    }
}

/// [`PlanKind::service`] of the publisher's plans.
const PUBLISHERS: &str = "ExampleIsvService";

/// One SKU; the same id in every tenant.
#[derive(Clone, Debug)]
pub(crate) struct SkuKind {
    pub(crate) id: Uuid,
    pub(crate) part_number: &'static str,
    pub(crate) plans: Vec<PlanKind>,
}

impl SkuKind {
    /// The plans of a bit mask, in the SKU's order.
    pub(crate) fn plans_in(&self, mask: u32) -> impl Iterator<Item = &PlanKind> {
        let bits = (0..u32::BITS).map(move |bit| mask >> bit & 1 == 1);
        self.plans.iter().zip(bits).filter_map(|(plan, set)| set.then_some(plan))
    }

    /// The bit mask of plan ids; unknown ids are left out.
    pub(crate) fn mask(&self, plans: &[Uuid]) -> u32 {
        let bits = self.plans.iter().zip(0..u32::BITS);
        bits.filter(|(plan, _)| plans.contains(&plan.id)).fold(0, |mask, (_, bit)| mask | 1 << bit)
    }
}

/// Position of a SKU in the catalog.
pub(crate) type Kind = u16;

/// All SKUs of the stand-in.
#[derive(Clone, Debug)]
pub(crate) struct Catalog {
    pub(crate) skus: Vec<SkuKind>,
}

impl Catalog {
    /// The publisher's three SKUs and two of Microsoft's own.
    pub(crate) fn new() -> Self {
        let plan = |id, name: &str, service| PlanKind { id, name: name.to_owned(), service };
        let own = |n: u64, name: &str, service| plan(story::nth(0x9dff, n), name, service);
        let isv = |sku: (Uuid, &'static str), ours: PlanKind| SkuKind {
            id: sku.0,
            part_number: sku.1,
            plans: vec![ours, own(1, "EXCHANGE_S_FOUNDATION", "exchange")],
        };
        let service = PUBLISHERS;
        let synoptic = plan(story::SYNOPTIC_PLAN, story::SYNOPTIC_SERVICE_ID, service);
        let calendar =
            plan(story::CALENDAR_PLAN, &story::CALENDAR_SERVICE_ID.to_uppercase(), service);
        let fieldapp = plan(story::FIELDAPP_PLAN, story::FIELDAPP_SERVICE_ID, service);
        let e5 = ["EXCHANGE_S_ENTERPRISE", "SHAREPOINTENTERPRISE", "TEAMS1", "BI_AZURE_P2"];
        let e5 = e5.into_iter().zip(10..).map(|(name, n)| own(n, name, "exchange")).collect();
        let pro = vec![own(20, "BI_AZURE_P2_PRO", "PowerBI")];
        Self {
            skus: vec![
                isv((story::SYNOPTIC_SKU, "VIZMAKER_SYNOPTIC_TEAM"), synoptic),
                isv((story::CALENDAR_SKU, "VIZMAKER_CALENDAR_PRO"), calendar),
                isv((story::FIELDAPP_SKU, "VIZMAKER_FIELDAPP_PRO"), fieldapp),
                SkuKind { id: story::E5_SKU, part_number: "SPE_E5", plans: e5 },
                SkuKind { id: story::POWER_BI_SKU, part_number: "POWER_BI_PRO", plans: pro },
            ],
        }
    }

    /// Where a SKU id stands.
    pub(crate) fn kind(&self, sku: Uuid) -> Option<Kind> {
        let at = self.skus.iter().position(|kind| kind.id == sku)?;
        Kind::try_from(at).ok()
    }

    /// The SKU at a position.
    pub(crate) fn sku(&self, kind: Kind) -> Option<&SkuKind> {
        self.skus.get(usize::from(kind))
    }
}
