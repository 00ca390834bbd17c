//! What a solution package for Dynamics 365 and Power Apps says of a product's licences: keys of
//! `[[product]]` and `[[product.plan]]`.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use url::Url;

use super::section::Section;
use crate::domain::{Channel, ServiceId};

/// Who may install an app from AppSource ("Allow install even if licences are not assigned").
///
/// Source: `visuals-and-isv.md` section 4.1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Install {
    /// Who has a licence; the package demands one.
    #[default]
    Licensed,
    /// Anyone: freemium. The package must then not demand a licence.
    Anyone,
}

impl FromStr for Install {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "licensed" => Ok(Self::Licensed),
            "anyone" => Ok(Self::Anyone),
            _ => Err(format!("`{text}` is neither \"licensed\" nor \"anyone\"")),
        }
    }
}

impl fmt::Display for Install {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Licensed => "licensed",
            Self::Anyone => "anyone",
        })
    }
}

/// What a product's solution package says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Solution {
    /// Who may install it.
    pub install: Install,
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
    let install = it.or("install", Install::default());
    if install == Install::Anyone && plans.is_empty() {
        it.warning("install", "it has no effect here; only isv_app plans are installed by licence");
    }
    Solution { install, plans }
}
