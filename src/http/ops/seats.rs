//! Seats by product: bought, assigned, in error, really used. From the last look of the task that
//! counts them, at most a minute old: nothing is counted here.

use std::collections::BTreeMap;
use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::facts::gauge;
use super::svg::{self, Bar, Part, Text, float};
use crate::domain::Forecast;
use crate::sync::seats::{SeatFigures, Seats};

/// Seats of one product, over all tenants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ProductSeats {
    bought: u64,
    assigned: u64,
    in_error: u64,
    used: u64,
    short: u64,
}

/// By product.
pub(super) fn by_product(figures: &[SeatFigures]) -> BTreeMap<String, ProductSeats> {
    let mut all: BTreeMap<String, ProductSeats> = BTreeMap::new();
    let mut counted = std::collections::BTreeSet::new();
    for it in figures {
        let sum = all.entry(it.product.to_string()).or_default();
        sum.bought += u64::from(it.bought);
        sum.assigned += u64::from(it.consumed);
        sum.in_error += u64::from(it.in_error);
        sum.short += u64::from(it.is_short());
        // A product is used whichever of its plans a tenant has.
        if counted.insert((it.tenant, &it.product)) {
            sum.used += u64::from(it.used);
        }
    }
    all
}

/// A group of bars for each product, and who is short of seats.
pub(super) fn picture(figures: &[SeatFigures]) -> String {
    let products = by_product(figures);
    let most = products.values().map(|it| it.bought.max(it.assigned).max(it.used)).max();
    let bars: Vec<Bar> = products
        .iter()
        .flat_map(|(product, it)| {
            let bar = |name: String, value: u64, class, what: &str| Bar {
                name,
                parts: vec![Part { value: float(value), class, title: format!("{value} {what}") }],
                note: format!("{value} {what}"),
            };
            [
                bar(product.clone(), it.bought, "free", "bought"),
                bar(String::new(), it.assigned, "info", "assigned"),
                bar(String::new(), it.in_error, "bad", "in error"),
                bar(String::new(), it.used, "ok", "used in 28 days"),
            ]
        })
        .collect();
    let short = figures.iter().filter(|it| it.is_short() || runs_out(it));
    let rows = short.take(super::page::SHOWN).map(|it| {
        let name = it.name.as_deref().map_or_else(|| it.tenant.to_string(), str::to_owned);
        format!(
            "<tr><td>{}</td><td>{}</td><td>{} of {}</td><td>{}</td><td>{}</td></tr>",
            Text(&name),
            it.product,
            it.consumed,
            it.bought,
            it.without.len().saturating_add(it.next_without.len()),
            match it.forecast {
                _ if it.is_short() => "short now",
                Forecast::Out => "all assigned",
                Forecast::RunsOut(_) | Forecast::Enough | Forecast::TooSoon => "runs out soon",
            },
        )
    });
    let names = ["tenant", "product", "assigned", "without a seat", ""];
    let short = super::page::table(&names, rows);
    svg::bars(&bars, float(most.unwrap_or(0)), &[]) + "<h3>Short of seats</h3>" + &short
}

fn runs_out(it: &SeatFigures) -> bool {
    matches!(it.forecast, Forecast::Out | Forecast::RunsOut(_))
}

/// A metric: its name, what it is, and where it is taken from.
type Figure = (&'static str, &'static str, fn(&ProductSeats) -> u64);

/// The same as metrics, by product alone.
pub(super) struct SeatMetrics(pub(super) Seats);

impl fmt::Debug for SeatMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SeatMetrics").finish_non_exhaustive()
    }
}

impl Collector for SeatMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let products = by_product(&self.0.latest());
        let figures: [Figure; 5] = [
            ("product_seats_bought", "Seats bought, by product", |it| it.bought),
            ("product_seats_assigned", "Seats assigned, by product", |it| it.assigned),
            ("product_seats_in_error", "Users whose every path is in error, by product", |it| {
                it.in_error
            }),
            ("product_users", "Users who used the product in the last 28 days", |it| it.used),
            ("product_tenants_short", "Tenants with users for whom no seat was free", |it| {
                it.short
            }),
        ];
        for (name, help, figure) in figures {
            let values = products.iter().map(|(product, it)| {
                ([("product", product.clone())], i64::try_from(figure(it)).unwrap_or(i64::MAX))
            });
            gauge(&mut encoder, name, help, None, values)?;
        }
        Ok(())
    }
}
