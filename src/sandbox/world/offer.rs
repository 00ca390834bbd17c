//! The plans of the SaaS offer, as `listAvailablePlans` tells them.
//! Source: marketplace-saas.md 5.5.

use crate::sandbox::story;

/// One plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Offered {
    pub(crate) id: &'static str,
    pub(crate) name: &'static str,
    /// Seats that may be bought; `None` for a flat rate.
    pub(crate) seats: Option<(u32, u32)>,
    /// Per month, in whole units of the currency.
    pub(crate) price: u32,
}

/// All of them; the last one is in nobody's configuration, so that a change to it is a change to
/// the unknown.
pub(crate) const PLANS: [Offered; 3] = [
    Offered { id: story::SUITE_COMPANY, name: "Company", seats: None, price: 190 },
    Offered { id: story::SUITE_TEAM, name: "Team", seats: Some((1, 500)), price: 12 },
    Offered { id: story::SUITE_ENTERPRISE, name: "Enterprise", seats: Some((10, 5_000)), price: 9 },
];

/// The plan of this id.
pub(crate) fn plan(id: &str) -> Option<Offered> {
    PLANS.into_iter().find(|plan| plan.id.eq_ignore_ascii_case(id))
}

impl Offered {
    /// How many seats a subscription has that moves here with `seats`.
    pub(crate) fn seats_for(self, seats: Option<u32>) -> Option<u32> {
        self.seats.map(|(least, most)| seats.unwrap_or(least).clamp(least, most))
    }
}
