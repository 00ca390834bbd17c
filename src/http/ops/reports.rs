//! The licence report against what Graph shows, by product: a picture and metrics.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::facts::gauge;
use super::page;
use super::svg::{self, Bar, Part, Text, float};
use crate::domain::{Catalog, Difference, Mirror, SourceKey};
use crate::store::Store;
use crate::sync::Clock;
use crate::sync::reports::{Compared, ProductSums, Sums, compare, day};
use crate::sync::seats::{SeatFigures, Seats};

/// What was compared.
pub(super) struct ReportFigures {
    all: Vec<Compared>,
    sums: Sums,
}

impl ReportFigures {
    pub(super) fn gather(
        mirror: &Mirror,
        catalog: &Catalog,
        seats: &[SeatFigures],
        now: Timestamp,
    ) -> Self {
        let all = compare(mirror, catalog, seats, day(now));
        Self { sums: Sums::of(&all), all }
    }

    /// Whether there is nothing to show.
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Bars for each product, and what somebody should look at.
    pub(super) fn picture(&self) -> String {
        let most = |it: &ProductSums| {
            [it.provisioned, it.assigned, it.dealt, it.bought, it.graph_assigned].into_iter().max()
        };
        let full = self.sums.by_product.values().filter_map(most).max().unwrap_or(0);
        let bars: Vec<Bar> = self
            .sums
            .by_product
            .iter()
            .flat_map(|(product, it)| {
                let bar = |name: String, value: u64, class, what: &str| Bar {
                    name,
                    parts: vec![Part {
                        value: float(value),
                        class,
                        title: format!("{value} {what}"),
                    }],
                    note: format!("{value} {what}"),
                };
                let none = String::new;
                let mut bars = vec![
                    bar(product.to_string(), it.provisioned, "free", "provisioned (report)"),
                    bar(none(), it.bought, "info", "bought (Graph)"),
                    bar(none(), it.assigned, "free", "assigned (report)"),
                    bar(none(), it.graph_assigned, "info", "assigned (Graph)"),
                ];
                if it.dealt > 0 {
                    bars.insert(2, bar(none(), it.dealt, "warn", "of deals"));
                }
                bars
            })
            .collect();
        let differing = self.all.iter().filter(|it| it.differs());
        let rows = differing.take(page::SHOWN).map(|it| {
            let name = it.name.as_deref().map_or_else(|| it.tenant.to_string(), str::to_owned);
            let look = it.differences.iter().filter(|it| !it.passes());
            let means: Vec<&str> = look.map(|it| it.meaning()).collect();
            format!(
                "<tr><td>{}</td><td>{}</td><td>{}</td></tr>",
                Text(&name),
                Text(&it.service_id),
                Text(&means.join("; "))
            )
        });
        let table = page::table(&["tenant", "plan", "what probably differs"], rows);
        svg::bars(&bars, float(full), &[]) + "<h3>Differences</h3>" + &table
    }
}

/// The same as metrics; nothing before there was a report or a deal.
pub(super) struct ReportMetrics {
    pub(super) store: Store,
    pub(super) catalog: Arc<Catalog>,
    pub(super) seats: Option<Seats>,
    pub(super) clock: Clock,
}

impl fmt::Debug for ReportMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReportMetrics").finish_non_exhaustive()
    }
}

/// A metric: its name, what it is, and where it is taken from.
type Figure = (&'static str, &'static str, fn(&ProductSums) -> u64);

impl Collector for ReportMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mirror = self.store.snapshot();
        if mirror.source(SourceKey::REPORTS).is_none() && mirror.deals().next().is_none() {
            return Ok(());
        }
        let seats = self.seats.as_ref().map(Seats::latest).unwrap_or_default();
        let sums = ReportFigures::gather(&mirror, &self.catalog, &seats, (self.clock)()).sums;
        let whole = |it: u64| i64::try_from(it).unwrap_or(i64::MAX);
        let figures: [Figure; 3] = [
            ("report_provisioned", "Licences activated in tenants, by the licence report", |it| {
                it.provisioned
            }),
            ("report_assigned", "Licences assigned, by the licence report", |it| it.assigned),
            ("report_dealt", "Licences of deals that run, as entered by hand", |it| it.dealt),
        ];
        for (name, help, figure) in figures {
            let values = sums
                .by_product
                .iter()
                .map(|(product, it)| ([("product", product.to_string())], whole(figure(it))));
            gauge(&mut encoder, name, help, None, values)?;
        }
        let help = "Plans in tenants of which report, deals and Graph differ, by how";
        let values = Difference::ALL.iter().map(|it| {
            let count = sums.by_difference.get(it).copied().unwrap_or_default();
            ([("difference", it.as_str())], whole(count))
        });
        gauge(&mut encoder, "report_differences", help, None, values)
    }
}
