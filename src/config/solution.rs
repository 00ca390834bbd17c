//! What a solution package for Dynamics 365 and Power Apps says of a product's licences: keys of
//! `[[product]]` and `[[product.plan]]`.

use std::sync::Arc;

use url::Url;

use super::section::Section;
use crate::domain::{Channel, ServiceId};

/// What a product's solution package says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Solution {
    /// Whether the app may be installed and run without a licence: its package then demands none.
    pub freemium: bool,
    /// Its plans of channel `isv_app`, in the order of the configuration.
    pub plans: Vec<SolutionPlan>,
}

/// A plan as the package names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SolutionPlan {
    /// Microsoft's name of it.
    pub service_id: ServiceId,
    /// What users without a licence are told that they lack; by default product and plan.
    pub name: Option<Arc<str>>,
    /// Where they read more.
    pub more_info: Option<Url>,
    /// The unique names of the model-driven apps that it opens.
    pub apps: Vec<String>,
}

const OF_THE_APP: [&str; 3] = ["name", "more_info", "apps"];

/// Reads what a plan says of it; `None` for a plan of another channel.
pub(super) fn plan(
    it: &mut Section<'_>,
    channel: Option<Channel>,
    service_id: Option<&ServiceId>,
) -> Option<SolutionPlan> {
    let name: Option<String> = it.optional("name");
    let more_info: Option<Url> = it.optional("more_info");
    let apps: Vec<String> = it.or("apps", Vec::new());
    if channel != Some(Channel::IsvApp) {
        for key in OF_THE_APP {
            if channel.is_some() && it.is_set(key) {
                it.warning(key, "it has no effect here; only isv_app plans go into a solution");
            }
        }
        return None;
    }
    let name = name.map(|it| Arc::from(it.as_str()));
    Some(SolutionPlan { service_id: service_id?.clone(), name, more_info, apps })
}

/// Reads what a product says of it.
pub(super) fn product(it: &mut Section<'_>, plans: Vec<SolutionPlan>) -> Solution {
    let freemium = it.or("freemium", false);
    if freemium && plans.is_empty() {
        it.warning(
            "freemium",
            "it has no effect here; only isv_app plans are installed by licence",
        );
    }
    Solution { freemium, plans }
}
