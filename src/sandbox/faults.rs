//! What may go wrong on purpose, and how often: `--faults SPEC`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// One kind of trouble that strikes with a probability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The token endpoint is unavailable.
    Token503,
    /// Our app has no service principal in any tenant.
    TokenNoPrincipal,
    /// The marketplace throttles (undocumented there, but tolerated by Microsoft's samples).
    Marketplace429,
    /// The marketplace fails.
    Marketplace500,
    /// A gateway answers for the marketplace, in HTML.
    Marketplace503Html,
    /// A marketplace answer ends in mid-JSON.
    MarketplaceTruncated,
    /// The marketplace does what it was asked, and then fails to say so.
    Marketplace500After,
    /// A page without items that still has a next link.
    MarketplaceEmptyPage,
    /// A page repeats its first item.
    MarketplaceDuplicates,
    /// A next link begins with `https:// https://`, as the documents once had it.
    MarketplaceBadLink,
    /// What a landing token stands for comes without the dates of its term, as in August 2021.
    ResolveWithoutTerm,
    /// The plans a customer may move to lack the present one.
    PlansWithoutCurrent,
    /// Graph throttles, with `Retry-After`.
    Graph429,
    /// Graph throttles and does not say for how long.
    Graph429WithoutRetryAfter,
    /// Graph fails.
    Graph500,
    /// Graph is unavailable, in JSON.
    Graph503,
    /// A gateway answers for Graph, in HTML.
    Graph503Html,
    /// A Graph answer ends in mid-JSON.
    GraphTruncated,
    /// A page without items that still has a next link.
    GraphEmptyPage,
    /// A page repeats some of its items.
    GraphDuplicates,
    /// The token of a next link is refused as expired.
    GraphExpiredPage,
    /// One item of a batch is throttled inside an outer 200.
    Batch429,
    /// One item of a batch fails with 503 inside an outer 200.
    Batch503,
    /// A user who is there is not found by name.
    User404,
    /// A user's usage rights come empty although he has some: not yet.
    RightsEmpty,
    /// A user's usage rights are refused with 403.
    Rights403,
    /// A delta link is answered by 410 with a `Location`.
    Delta410,
    /// A delta link is answered by 400 `syncStateNotFound`.
    DeltaSyncStateNotFound,
    /// An activation fails in the background: the subscription ends.
    ActivationFailure,
    /// The publisher's `Failure` is ignored and the change done all the same.
    FailureIgnored,
    /// The answer to a batch of usage leaves an event out that was looked at.
    UsagePartial,
    /// A batch of usage is refused as a whole.
    UsageBatch400,
    /// Operations are never listed.
    OperationsHidden,
    /// A change ends in `Conflict`, and nothing changes.
    ChangeConflict,
    /// A change that was accepted fails after all, and a webhook takes it back.
    ChangeFailure,
    /// A word on a reinstatement is refused with 400, as one reading of the documents has it.
    ReinstateUnanswerable,
    /// A webhook is delivered twice.
    WebhookDuplicate,
    /// A webhook is never delivered.
    WebhookLoss,
    /// A webhook is held back for five seconds, so that later ones overtake it.
    WebhookReorder,
    /// Beside a webhook comes a forged one.
    WebhookForge,
    /// A webhook has the old shape, whose members are empty.
    WebhookMinimal,
    /// A change notification is delivered twice.
    NotificationDuplicate,
    /// A change notification is never delivered.
    NotificationLoss,
    /// A change notification is held back for five seconds, so that later ones overtake it.
    NotificationReorder,
    /// Beside a change notification comes a forged one.
    NotificationForge,
    /// No address proves that it is its subscriber's.
    NotificationUnverified,
}

/// Every fault with its name in a SPEC and its meaning; the position is the index into
/// [`Faults::chances`]. Help and README are made of it.
#[rustfmt::skip]
const NAMES: [(Fault, &str, &str); 46] = [
    (Fault::Token503, "token.503", "the token endpoint is unavailable"),
    (Fault::TokenNoPrincipal, "token.7000229", "our app has no service principal: AADSTS7000229"),
    (Fault::Marketplace429, "marketplace.429", "the marketplace throttles"),
    (Fault::Marketplace500, "marketplace.500", "the marketplace fails"),
    (Fault::Marketplace503Html, "marketplace.503_html", "a gateway answers for the marketplace, in HTML"),
    (Fault::MarketplaceTruncated, "marketplace.truncated", "a marketplace answer ends in mid-JSON"),
    (Fault::Marketplace500After, "marketplace.500_after", "the marketplace does what it was asked, and fails to say so"),
    (Fault::MarketplaceEmptyPage, "marketplace.empty_page", "a page of subscriptions is empty and still has a next link"),
    (Fault::MarketplaceDuplicates, "marketplace.duplicates", "a page of subscriptions repeats its first item"),
    (Fault::MarketplaceBadLink, "marketplace.bad_link", "a next link begins with `https:// https://`"),
    (Fault::ResolveWithoutTerm, "resolve.without_term", "a landing token resolves without the dates of the term"),
    (Fault::PlansWithoutCurrent, "plans.without_current", "the available plans lack the present one"),
    (Fault::Graph429, "graph.429", "Graph throttles, with Retry-After"),
    (Fault::Graph429WithoutRetryAfter, "graph.429_without_retry_after", "Graph throttles and does not say for how long"),
    (Fault::Graph500, "graph.500", "Graph fails"),
    (Fault::Graph503, "graph.503", "Graph is unavailable, in JSON"),
    (Fault::Graph503Html, "graph.503_html", "a gateway answers for Graph, in HTML"),
    (Fault::GraphTruncated, "graph.truncated", "a Graph answer ends in mid-JSON"),
    (Fault::GraphEmptyPage, "graph.empty_page", "a page is empty and still has a next link"),
    (Fault::GraphDuplicates, "graph.duplicates", "a page repeats some of its items"),
    (Fault::GraphExpiredPage, "graph.expired_page", "the token of a next link is refused as expired"),
    (Fault::Batch429, "batch.429", "one item of a batch is throttled inside an outer 200"),
    (Fault::Batch503, "batch.503", "one item of a batch fails inside an outer 200"),
    (Fault::User404, "user.404", "a user who is there is not found by name"),
    (Fault::RightsEmpty, "rights.empty", "a user's usage rights come empty although there are some"),
    (Fault::Rights403, "rights.403", "a user's usage rights are refused"),
    (Fault::Delta410, "delta.410", "a delta link is answered by 410 with a Location"),
    (Fault::DeltaSyncStateNotFound, "delta.sync_state_not_found", "a delta link is answered by 400 syncStateNotFound"),
    (Fault::ActivationFailure, "activation.failure", "an activation fails in the background: the subscription ends"),
    (Fault::FailureIgnored, "operation.failure_ignored", "our Failure is ignored and the change is done all the same"),
    (Fault::OperationsHidden, "operation.hidden", "operations are never listed"),
    (Fault::ChangeConflict, "operation.conflict", "a change ends in Conflict and nothing changes"),
    (Fault::ChangeFailure, "operation.failure", "an accepted change fails after all, and a webhook takes it back"),
    (Fault::ReinstateUnanswerable, "operation.reinstate_400", "our word on a reinstatement is refused with 400"),
    (Fault::UsagePartial, "usage.partial", "the answer to a batch of usage leaves an event out"),
    (Fault::UsageBatch400, "usage.batch_400", "a batch of usage is refused as a whole"),
    (Fault::WebhookDuplicate, "webhook.duplicate", "a webhook is delivered twice"),
    (Fault::WebhookLoss, "webhook.loss", "a webhook is never delivered"),
    (Fault::WebhookReorder, "webhook.reorder", "a webhook is held back for 5 s, so that later ones overtake it"),
    (Fault::WebhookForge, "webhook.forge", "beside a webhook comes a forged one"),
    (Fault::WebhookMinimal, "webhook.minimal", "a webhook has the old shape, whose members are empty"),
    (Fault::NotificationDuplicate, "notification.duplicate", "a change notification is delivered twice"),
    (Fault::NotificationLoss, "notification.loss", "a change notification is never delivered"),
    (Fault::NotificationReorder, "notification.reorder", "a change notification is held back for 5 s, so that later ones overtake it"),
    (Fault::NotificationForge, "notification.forge", "beside a change notification comes a forged one"),
    (Fault::NotificationUnverified, "notification.unverified", "a subscription is refused: our address did not prove that it is ours"),
];

/// The settings of a SPEC that are no probabilities: name, example, meaning.
#[rustfmt::skip]
const SETTINGS: [(&str, &str, &str); 7] = [
    ("seed", "7", "another seed draws other faults"),
    ("lag", "30s", "between a change of a group and its effect on users"),
    ("activation", "5m", "between an accepted activation and its effect"),
    ("notification", "10s", "between a change of the directory and its notification"),
    ("slow", "200ms", "how much longer every answer takes"),
    ("page", "5", "the largest page of lists; 0 leaves Microsoft's sizes"),
    ("budget", "0.1", "factor on Graph's quotas; 0 never throttles"),
];

/// How much goes wrong. Parsed from `name=value,…`; the default is a faultless Microsoft.
#[derive(Clone, Debug, PartialEq)]
pub struct Faults {
    /// Seed of the draws.
    pub seed: u64,
    chances: Box<[f64; NAMES.len()]>,
    /// Time between a group membership or group licence change and its effect on users.
    pub lag: Duration,
    /// Time between an accepted activation and its effect; half a minute unless set.
    pub activation: Duration,
    /// Time between a change of the directory and its notification.
    pub notification: Duration,
    /// Time every answer takes longer.
    pub slow: Duration,
    /// Largest page of lists; 0 leaves Microsoft's sizes.
    pub page: usize,
    /// Factor on Graph's resource unit quotas: 0.01 throttles early, 0 never throttles.
    pub budget: f64,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            seed: 0,
            chances: Box::new([0.0; NAMES.len()]),
            lag: Duration::ZERO,
            activation: Duration::from_secs(30),
            notification: Duration::ZERO,
            slow: Duration::ZERO,
            page: 0,
            budget: 1.0,
        }
    }
}

impl Faults {
    /// All that a SPEC may name, as it is written and what it means.
    pub fn listing() -> impl Iterator<Item = (String, &'static str)> {
        let settings = SETTINGS.iter().map(|(name, example, what)| {
            let written = format!("{name}={example}");
            (written, *what)
        });
        settings.chain(NAMES.iter().map(|(_, name, what)| ((*name).to_owned(), *what)))
    }

    /// Probability of `fault`, 0 to 1.
    pub fn chance(&self, fault: Fault) -> f64 {
        let position = NAMES.iter().position(|(known, ..)| *known == fault);
        position.and_then(|at| self.chances.get(at)).copied().unwrap_or(0.0)
    }

    /// Sets the probability of `fault`, clamped to 0 to 1.
    #[must_use]
    pub fn with(mut self, fault: Fault, chance: f64) -> Self {
        let position = NAMES.iter().position(|(known, ..)| *known == fault);
        if let Some(slot) = position.and_then(|at| self.chances.get_mut(at)) {
            *slot = chance.clamp(0.0, 1.0);
        }
        self
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), FaultsError> {
        let bad = |expected| FaultsError::Value {
            name: name.to_owned(),
            value: value.to_owned(),
            expected,
        };
        match name {
            "seed" => self.seed = value.parse().ok().ok_or_else(|| bad("a whole number"))?,
            "page" => self.page = value.parse().ok().ok_or_else(|| bad("a whole number"))?,
            "lag" => self.lag = duration(value).ok_or_else(|| bad("a duration like 30s"))?,
            "slow" => self.slow = duration(value).ok_or_else(|| bad("a duration like 200ms"))?,
            "activation" => {
                self.activation = duration(value).ok_or_else(|| bad("a duration like 30s"))?;
            }
            "notification" => {
                self.notification = duration(value).ok_or_else(|| bad("a duration like 10s"))?;
            }
            "budget" => {
                let budget: f64 = value.parse().ok().ok_or_else(|| bad("a factor like 0.1"))?;
                if !budget.is_finite() || budget < 0.0 {
                    return Err(bad("a factor like 0.1"));
                }
                self.budget = budget;
            }
            _ => {
                let position = NAMES.iter().position(|(_, known, _)| *known == name);
                let slot = position.and_then(|at| self.chances.get_mut(at));
                let slot = slot.ok_or_else(|| FaultsError::Name(name.to_owned()))?;
                let chance: f64 =
                    value.parse().ok().ok_or_else(|| bad("a probability from 0 to 1"))?;
                if !(0.0..=1.0).contains(&chance) {
                    return Err(bad("a probability from 0 to 1"));
                }
                *slot = chance;
            }
        }
        Ok(())
    }
}

/// `200ms`, `30s`, `5m`, `2h`, `1d`.
fn duration(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let number: u64 = number.parse().ok()?;
    let ms_per_unit = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(ms_per_unit).map(Duration::from_millis)
}

/// Why a SPEC is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FaultsError {
    /// No such fault or setting.
    #[error("`{0}` is not a known fault; known are {known}", known = known())]
    Name(String),
    /// The name is known, its value is not usable.
    #[error("`{name}={value}`: expected {expected}")]
    Value {
        /// The setting.
        name: String,
        /// What was given.
        value: String,
        /// What would do.
        expected: &'static str,
    },
    /// A part without `=`.
    #[error("`{0}` has no value; write it as `{0}=VALUE`")]
    NoValue(String),
}

fn known() -> String {
    let names = NAMES.iter().map(|(_, name, _)| *name);
    SETTINGS.iter().map(|(name, ..)| *name).chain(names).collect::<Vec<_>>().join(", ")
}

impl FromStr for Faults {
    type Err = FaultsError;

    fn from_str(spec: &str) -> Result<Self, FaultsError> {
        let mut faults = Self::default();
        for part in spec.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (name, value) =
                part.split_once('=').ok_or_else(|| FaultsError::NoValue(part.to_owned()))?;
            faults.set(name.trim(), value.trim())?;
        }
        Ok(faults)
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed={}", self.seed)?;
        for ((_, name, _), chance) in NAMES.iter().zip(self.chances.iter()) {
            if *chance > 0.0 {
                write!(f, ",{name}={chance}")?;
            }
        }
        write!(f, ",lag={}ms,slow={}ms", self.lag.as_millis(), self.slow.as_millis())?;
        write!(f, ",activation={}ms", self.activation.as_millis())?;
        write!(f, ",notification={}ms", self.notification.as_millis())?;
        write!(f, ",page={},budget={}", self.page, self.budget)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spec_reads_back_as_written() {
        let spec = "seed=7, graph.429=0.05,batch.429=1,delta.410=0.01,lag=30s,slow=200ms,page=9,budget=0.5";
        let faults: Faults = spec.parse().unwrap();
        assert!((faults.chance(Fault::Graph429) - 0.05).abs() < 1e-9);
        assert!((faults.chance(Fault::Batch429) - 1.0).abs() < 1e-9);
        assert_eq!((faults.seed, faults.page, faults.lag.as_secs()), (7, 9, 30));
        assert_eq!(faults.to_string().parse::<Faults>().unwrap(), faults);
        assert_eq!("".parse::<Faults>().unwrap(), Faults::default());
    }

    #[test]
    fn a_bad_spec_says_what_would_do() {
        let message = |spec: &str| spec.parse::<Faults>().unwrap_err().to_string();
        let unknown = message("graph.430=1");
        assert!(unknown.contains("graph.430") && unknown.contains("graph.429_without_retry_after"));
        assert!(unknown.contains("lag"));
        assert!(message("graph.429=2").contains("0 to 1"));
        assert!(message("graph.429=NaN").contains("0 to 1"));
        assert!(message("lag=soon").contains("30s"));
        assert!(message("lag").contains("lag=VALUE"));
        assert!(message("budget=-1").contains("factor"));
    }

    #[test]
    fn every_fault_has_its_own_name() {
        for (fault, name, _) in NAMES {
            let faults: Faults = format!("{name}=0.5").parse().unwrap();
            assert_eq!(faults, Faults::default().with(fault, 0.5), "{name}");
        }
    }
}
