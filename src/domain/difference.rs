//! How the licence report, deals and what Graph shows may differ, and what that probably means.

use std::fmt;
use std::str::FromStr;

use super::UnknownWord;
use super::product::words;

words!(
    /// How what the publisher is told of a plan in a tenant differs from what Graph shows.
    Difference, "difference" {
        /// The report names a plan that is none of ours.
        UnknownPlan = "unknown_plan",
        /// Microsoft manages licences of the plan, and the configuration has it on another channel.
        OtherChannel = "other_channel",
        /// The tenant was never completely read.
        NotMirrored = "not_mirrored",
        /// The tenant was read, and no SKU of it is the plan.
        NoSku = "no_sku",
        /// Graph shows the plan, the report does not.
        NotReported = "not_reported",
        /// A newer report no longer names what an older one did.
        LeftOut = "left_out",
        /// The report's figures are those that Graph showed some days before.
        Late = "late",
        /// More licences are reported than can be assigned.
        MoreReported = "more_reported",
        /// Fewer licences are reported than can be assigned.
        FewerReported = "fewer_reported",
        /// Report and Graph differ in how many are assigned.
        Assigned = "assigned",
        /// The report says that more are assigned than there are.
        OverAssigned = "over_assigned",
        /// The report says that the licence is over, Graph that it counts.
        NotUsable = "not_usable",
        /// The deals entered by hand name another number than is provisioned.
        DealDiffers = "deal_differs",
        /// A deal was entered by hand, and the report has nothing of it.
        DealNotProvisioned = "deal_not_provisioned",
        /// All contracts are over, and the licences are still provisioned.
        DealEnded = "deal_ended",
    }
);

impl Difference {
    /// Whether it passes by itself: nobody has to look.
    pub const fn passes(self) -> bool {
        matches!(self, Self::Late)
    }

    /// What it probably means, and what helps.
    ///
    /// Source: `visuals-and-isv.md` sections 4.3 to 4.5 (48 hours of delay; deals have no API and
    /// no end of their own).
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::UnknownPlan => {
                "no product has a plan of this Service ID, so nobody's licence of it counts: add \
                 it as [[product.plan]]"
            }
            Self::OtherChannel => {
                "Microsoft manages licences of this plan, and the configuration has it on a \
                 channel without them: use channel appsource or isv_app"
            }
            Self::NotMirrored => {
                "the tenant was never completely read, so nobody knows who holds them: its \
                 administrator must consent (entitled tenants consent-url T)"
            }
            Self::NoSku => {
                "the tenant was read, and no SKU of it is known to be this plan: name the plan's \
                 sku_ids or service_plan_ids, or the licences ended after the report"
            }
            Self::NotReported => {
                "the tenant has it, the report does not: bought in the last 48 hours, or the \
                 report was downloaded with a filter"
            }
            Self::LeftOut => {
                "the newest report no longer names it: it was downloaded with a filter, or the \
                 licences are gone (reports import --whole says so)"
            }
            Self::Late => {
                "Graph showed the report's figures a few days ago: the report is late, nothing is \
                 wrong"
            }
            Self::MoreReported => {
                "more are reported than can be assigned: some are suspended or have lapsed, or \
                 were cancelled in the last 48 hours"
            }
            Self::FewerReported => {
                "fewer are reported than can be assigned: some were bought in the last 48 hours, \
                 or another SKU of the tenant is taken for this plan"
            }
            Self::Assigned => {
                "assigned or taken away in the last 48 hours; if it stays, another SKU of the \
                 tenant is taken for this plan"
            }
            Self::OverAssigned => {
                "more are assigned than there are: seats lapsed or were cancelled while they were \
                 assigned; some users' licences will turn to errors"
            }
            Self::NotUsable => {
                "the report says that it is over, Graph still lets users have it: Microsoft is \
                 about to take it away, or the report is older than a renewal"
            }
            Self::DealDiffers => {
                "the deals name another number: a change made in Partner Center was not entered \
                 here, or the licences were not yet updated on the deal"
            }
            Self::DealNotProvisioned => {
                "the report has nothing of this deal: its licences were not yet activated (Manage \
                 Licenses on the deal), less than 48 hours ago, or in another tenant"
            }
            Self::DealEnded => {
                "the contracts are over and the licences go on, for nothing ends them by itself: \
                 enter the renewal, or remove the licences on the deal"
            }
        }
    }
}
