//! `[marketplace]`: what webhooks of purchases need.

use std::fmt;
use std::str::FromStr;

use super::identity::application_id;
use super::section::Section;

/// What webhooks of the marketplace need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarketplaceSection {
    /// The audience of the webhook's token: the app named in the offer's technical configuration.
    /// By default `identity.client_id`.
    pub app_id: String,
    /// Which changes of plan and quantity are accepted.
    pub accept_changes: AcceptChanges,
}

/// Which changes of plan and quantity are accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcceptChanges {
    /// All.
    Always,
    /// Those to plans of the catalog.
    KnownPlans,
}

impl fmt::Display for AcceptChanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Always => "always",
            Self::KnownPlans => "known_plans",
        })
    }
}

impl FromStr for AcceptChanges {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "always" => Ok(Self::Always),
            "known_plans" => Ok(Self::KnownPlans),
            _ => Err("write \"always\" or \"known_plans\""),
        }
    }
}

impl MarketplaceSection {
    /// `client_id` is that of `[identity]`.
    pub(super) fn read(root: &mut Section<'_>, client_id: Option<&str>) -> Self {
        root.section("marketplace", |it| {
            let app_id = match client_id {
                Some(client_id) => Some(it.or("app_id", client_id.to_owned())),
                None => it.optional("app_id"),
            };
            // Without one there is no client id either, which was reported.
            let app_id = application_id(it, "app_id", app_id).unwrap_or_default();
            let accept_changes = it.or("accept_changes", AcceptChanges::Always);
            Self { app_id, accept_changes }
        })
    }
}
