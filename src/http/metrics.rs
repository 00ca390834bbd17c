//! What the listeners count about themselves. Facts about the data are not counted here but read
//! from the mirror when somebody asks (`ops::facts`).

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// The upper edges of the duration buckets, in seconds.
const BUCKETS_S: [f64; 11] =
    [0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.0, 10.0];

/// Counted by the listeners. Cheap to clone: all clones count together.
#[derive(Clone, Debug)]
pub struct Metrics {
    pub(super) requests: Family<RequestLabels, Histogram, fn() -> Histogram>,
    pub(super) in_flight: Gauge,
    pub(super) decisions: Family<StateLabel, Counter>,
    pub(super) answers: Family<SignatureLabel, Counter>,
    pub(super) limited: Family<RuleLabel, Counter>,
    pub(super) seats_taken: Counter,
    pub(super) webhooks: Family<WebhookLabels, Counter>,
}

/// Labels of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct RequestLabels {
    /// The route's template, never the path; empty where none matched.
    pub(super) route: Route,
    /// The status answered.
    pub(super) status: u16,
}

/// Label of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct StateLabel {
    /// The state's word.
    pub(super) state: &'static str,
}

/// Label of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct SignatureLabel {
    /// `new`, or `kept` from an equal answer shortly before.
    pub(super) signature: &'static str,
}

/// Label of a webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct WebhookLabels {
    /// `new`, `duplicate`, or the `type` of the problem that was answered.
    pub(super) outcome: &'static str,
}

/// Label of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct RuleLabel {
    /// Which limit.
    pub(super) rule: &'static str,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            requests: Family::new_with_constructor(|| Histogram::new(BUCKETS_S)),
            in_flight: Gauge::default(),
            decisions: Family::default(),
            answers: Family::default(),
            limited: Family::default(),
            seats_taken: Counter::default(),
            webhooks: Family::default(),
        }
    }
}

impl Metrics {
    /// Registers them under `entitled_…`.
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register_with_unit(
            "http_request_duration",
            "How long answers took",
            Unit::Seconds,
            self.requests.clone(),
        );
        let help = "Requests being answered";
        registry.register("http_requests_in_flight", help, self.in_flight.clone());
        registry.register("decisions", "Decisions by state", self.decisions.clone());
        let help = "Answers by whether a signature was made or kept";
        registry.register("answers", help, self.answers.clone());
        let help = "Requests refused by a limit";
        registry.register("http_limited", help, self.limited.clone());
        let help = "Webhooks received, by what they were answered";
        registry.register("webhooks", help, self.webhooks.clone());
        let help = "Seats taken by a question";
        registry.register("seats_taken", help, self.seats_taken.clone());
    }
}

/// A route's template as a label.
pub(super) type Route = &'static str;
