//! Metered usage as metrics, read from the store when somebody asks.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use crate::domain::UsageState;
use crate::store::Store;

/// Reads usage.
pub(super) struct Usage {
    pub(super) store: Store,
}

impl fmt::Debug for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Usage").finish_non_exhaustive()
    }
}

impl Collector for Usage {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let figures = self.store.usage_figures();
        let gauge = |count: usize| ConstGauge::new(i64::try_from(count).unwrap_or(i64::MAX));
        let help = "Usage events that are kept: dead ones are not billed";
        let mut metric =
            encoder.encode_descriptor("usage_events", help, None, MetricType::Gauge)?;
        for (state, count) in UsageState::WORDS.iter().zip(figures.by_state) {
            gauge(count).encode(metric.encode_family(&[("state", *state)])?)?;
        }
        let help = "Usage events for whose hour Microsoft had another quantity before";
        let name = "usage_differing";
        let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        gauge(figures.differing).encode(metric)?;
        let moments = [
            ("usage_oldest_timestamp", "When the oldest usage on its way was used", figures.oldest),
            (
                "usage_runs_out_timestamp",
                "When the first usage on its way runs out: Microsoft takes none after 24 hours",
                figures.runs_out,
            ),
        ];
        for (name, help, at) in moments {
            let Some(at) = at else { continue };
            let unit = Some(&Unit::Seconds);
            let metric = encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?;
            ConstGauge::new(at.as_second()).encode(metric)?;
        }
        Ok(())
    }
}
