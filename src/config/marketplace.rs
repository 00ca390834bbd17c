//! `[marketplace]`: what webhooks of purchases need.

use std::fmt;
use std::str::FromStr;

use jiff::SignedDuration;

use super::identity::application_id;
use super::section::Section;
use crate::domain::RETENTION_LEAST;

/// What webhooks of the marketplace need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarketplaceSection {
    /// The audience of the webhook's token: the app named in the offer's technical configuration.
    /// By default `identity.client_id`.
    pub app_id: String,
    /// Which changes of plan and quantity are accepted.
    pub accept_changes: AcceptChanges,
    /// How long what belongs to a customer is kept after its subscription has ended.
    pub keep_cancelled: SignedDuration,
    /// No valid webhook for so long, while changes happened that Microsoft announces, is an alarm.
    pub alarm_after: SignedDuration,
}

/// Which changes of plan and quantity are accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcceptChanges {
    /// All.
    Always,
    /// Those to plans of the catalog.
    KnownPlans,
    /// Those that an operator confirmed: all others are refused, and kept for him to look at.
    Hold,
}

impl fmt::Display for AcceptChanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Always => "always",
            Self::KnownPlans => "known_plans",
            Self::Hold => "hold",
        })
    }
}

impl FromStr for AcceptChanges {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "always" => Ok(Self::Always),
            "known_plans" => Ok(Self::KnownPlans),
            "hold" => Ok(Self::Hold),
            _ => Err("write \"always\", \"known_plans\" or \"hold\""),
        }
    }
}

/// What is kept by default: long enough that a customer who comes back the next month finds all.
const KEEP_CANCELLED: SignedDuration = SignedDuration::from_hours(30 * 24);

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
            let keep_cancelled = it.period("keep_cancelled", KEEP_CANCELLED);
            if keep_cancelled < RETENTION_LEAST && !it.has_problem("keep_cancelled") {
                it.problem(
                    "keep_cancelled",
                    "Microsoft asks for at least 7 days; write \"7d\" or more",
                );
            }
            let alarm_after = it.period("alarm_after", SignedDuration::from_hours(24));
            Self { app_id, accept_changes, keep_cancelled, alarm_after }
        })
    }
}
