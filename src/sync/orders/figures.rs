//! Orders in figures.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::{Activated, Order, OrderError, Ordered};

/// What became of orders, counted. Cheap to clone: all clones are one.
#[derive(Clone, Debug, Default)]
pub(super) struct Figures {
    ended: Family<Label, Counter>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Label {
    order: &'static str,
    outcome: &'static str,
}

impl Figures {
    pub(super) fn activated(&self, result: &Result<Activated, OrderError>) {
        let outcome = match result {
            Ok(Activated::Accepted(_)) => "accepted",
            Ok(Activated::Already(_)) => "already",
            Err(error) => error.word(),
        };
        self.count("activate", outcome);
    }

    pub(super) fn ordered(&self, order: &Order, result: &Result<Ordered, OrderError>) {
        let order = match order {
            Order::Plan(_) => "change_plan",
            Order::Quantity(_) => "change_quantity",
            Order::Cancel => "cancel",
        };
        self.count(order, result.as_ref().map_or_else(OrderError::word, |it| it.end.as_str()));
    }

    fn count(&self, order: &'static str, outcome: &'static str) {
        self.ended.get_or_create(&Label { order, outcome }).inc();
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        let help = "Orders of ours on subscriptions, by what became of them";
        registry.register("orders", help, self.ended.clone());
    }
}
