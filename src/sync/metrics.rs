//! What the scheduler counts. Facts about the mirror are read at scrape time instead.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::{Registry, Unit};

use crate::domain::Run;

/// Counters over all runs since the daemon started. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Metrics {
    runs: Family<RunLabels, Counter>,
    requests: Family<SourceLabel, Counter>,
    throttled: Family<SourceLabel, Counter<f64, std::sync::atomic::AtomicU64>>,
    odd: Family<SourceLabel, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RunLabels {
    source: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SourceLabel {
    source: &'static str,
}

impl Metrics {
    /// Counts a run that ended.
    pub(super) fn ended(&self, run: &Run) {
        let source = run.key.source.as_str();
        let label = SourceLabel { source };
        self.runs.get_or_create(&RunLabels { source, outcome: run.outcome.as_str() }).inc();
        self.requests.get_or_create(&label).inc_by(run.requests);
        self.throttled.get_or_create(&label).inc_by(run.throttled.as_secs_f64());
        self.odd.get_or_create(&label).inc_by(run.odd);
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("runs", "Runs that ended", self.runs.clone());
        let help = "Requests sent to Microsoft by runs";
        registry.register("microsoft_requests", help, self.requests.clone());
        let help = "Time that Microsoft's limits made runs wait";
        registry.register_with_unit("throttled", help, Unit::Seconds, self.throttled.clone());
        let help = "Records that could not be understood: kept as they came, skipped";
        registry.register("odd_records", help, self.odd.clone());
    }
}
