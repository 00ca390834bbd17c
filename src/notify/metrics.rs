//! What is counted of events: tries by endpoint since the start; what waits is read from the outbox
//! when somebody asks.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use super::NotifyHandle;

/// Counters over all tries. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Metrics {
    sent: Family<EndpointLabel, Counter>,
    failed: Family<EndpointLabel, Counter>,
    given_up: Family<EndpointLabel, Counter>,
}

/// Endpoints are named by the configuration: a closed set.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EndpointLabel {
    endpoint: String,
}

impl Metrics {
    pub(super) fn sent(&self, endpoint: &str) {
        self.sent.get_or_create(&label(endpoint)).inc();
    }

    pub(super) fn failed(&self, endpoint: &str) {
        self.failed.get_or_create(&label(endpoint)).inc();
    }

    pub(super) fn given_up(&self, endpoint: &str, count: usize) {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        self.given_up.get_or_create(&label(endpoint)).inc_by(count);
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        let help = "Events that endpoints took";
        registry.register("notify_sent", help, self.sent.clone());
        let help = "Tries to hand an event over that failed";
        registry.register("notify_failed", help, self.failed.clone());
        let help = "Events given up after three days of tries";
        registry.register("notify_given_up", help, self.given_up.clone());
    }
}

fn label(endpoint: &str) -> EndpointLabel {
    EndpointLabel { endpoint: endpoint.to_owned() }
}

/// Reads what waits.
pub(super) struct Queues(pub(super) NotifyHandle);

impl fmt::Debug for Queues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queues").finish_non_exhaustive()
    }
}

impl Collector for Queues {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let all = self.0.status();
        let count = |it: usize| i64::try_from(it).unwrap_or(i64::MAX);
        let mut gauge = |name, help, unit: Option<&Unit>, values: Vec<(String, i64)>| {
            let mut metric = encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?;
            for (endpoint, value) in values {
                let labels = [("endpoint", endpoint)];
                ConstGauge::new(value).encode(metric.encode_family(&labels)?)?;
            }
            Ok::<(), fmt::Error>(())
        };
        let each = |value: &dyn Fn(&super::EndpointStatus) -> Option<i64>| {
            let value = |it| Some((super::EndpointStatus::clone(it).name.to_string(), value(it)?));
            all.iter().filter_map(value).collect::<Vec<_>>()
        };
        let help = "Events to be sent";
        gauge("notify_waiting", help, None, each(&|it| Some(count(it.waiting))))?;
        let help = "Events given up and kept for a replay";
        gauge("notify_dead", help, None, each(&|it| Some(count(it.dead))))?;
        let help = "1 while an endpoint takes no events";
        gauge("notify_failing", help, None, each(&|it| Some(i64::from(it.state != "ok"))))?;
        let help = "When the oldest event that waits came to be";
        let oldest = each(&|it| it.oldest.map(jiff::Timestamp::as_second));
        gauge("notify_oldest_timestamp", help, Some(&Unit::Seconds), oldest)
    }
}
