//! What the list and the webhooks share: which reading of a subscription is the newer one, and how
//! webhooks do.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use tokio::sync::{Mutex, MutexGuard};

use crate::domain::{Answered, SubscriptionId};

/// The moment at which a request began, among all requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

/// Which reading of each subscription was applied last.
pub(crate) type Applied = HashMap<SubscriptionId, Ticket>;

/// Shared by all that read subscriptions. Cheap to clone: all clones are one.
#[derive(Clone, Debug, Default)]
pub struct Ledger(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    next: AtomicU64,
    applied: Mutex<Applied>,
    figures: Figures,
}

#[derive(Debug, Default)]
struct Figures {
    missed: Counter,
    ended: Family<OutcomeLabel, Counter>,
    answered: Family<AnswerLabel, Counter>,
    overruled: Counter,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AnswerLabel {
    answer: &'static str,
}

impl Ledger {
    /// To be taken before a request is sent: what it brings is as new as this.
    pub(crate) fn ticket(&self) -> Ticket {
        Ticket(self.0.next.fetch_add(1, Ordering::Relaxed).saturating_add(1))
    }

    /// Whose turn it is to plan and commit subscriptions: one at a time, so that what was compared
    /// is what is replaced. A reading that is older than the one applied is to be dropped.
    pub(crate) async fn turn(&self) -> MutexGuard<'_, Applied> {
        self.0.applied.lock().await
    }

    pub(crate) fn missed(&self) {
        self.0.figures.missed.inc();
    }

    pub(crate) fn ended(&self, outcome: &'static str) {
        self.0.figures.ended.get_or_create(&OutcomeLabel { outcome }).inc();
    }

    pub(crate) fn answered(&self, answer: Answered) {
        let answer = match answer {
            Answered::Accepted => "accepted",
            Answered::Refused => "refused",
            Answered::TooLate => "too_late",
            Answered::NotTaken => "not_taken",
        };
        self.0.figures.answered.get_or_create(&AnswerLabel { answer }).inc();
    }

    pub(crate) fn overruled(&self) {
        self.0.figures.overruled.inc();
    }

    /// Registers the figures under `entitled_…`.
    pub fn register(&self, registry: &mut Registry) {
        let it = &self.0.figures;
        let help = "Changes of subscriptions that were found before any webhook announced them";
        registry.register("webhooks_missed", help, it.missed.clone());
        let help = "Webhooks that were worked off, by what came of them";
        registry.register("webhooks_ended", help, it.ended.clone());
        let help = "Microsoft's questions about changes, by what became of our answer";
        registry.register("operations_answered", help, it.answered.clone());
        let help = "Changes that Microsoft made although we refused them";
        registry.register("operations_overruled", help, it.overruled.clone());
    }
}

/// Takes readings that are older than what was applied out, and notes the others.
pub(crate) fn keep_newer<T>(
    applied: &mut Applied,
    readings: &mut std::collections::BTreeMap<SubscriptionId, T>,
    ticket_of: impl Fn(&T) -> Ticket,
) {
    readings.retain(|id, reading| {
        let ticket = ticket_of(reading);
        let newer = applied.get(id).is_none_or(|it| *it < ticket);
        if newer {
            applied.insert(*id, ticket);
        }
        newer
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use uuid::Uuid;

    #[test]
    fn a_reading_that_began_earlier_never_replaces_one_that_began_later() {
        let ledger = Ledger::default();
        let (slow, fast) = (ledger.ticket(), ledger.ticket());
        let id = SubscriptionId::from_uuid(Uuid::from_u128(1));
        let mut applied = Applied::default();
        let mut kept = |ticket| {
            let mut readings = BTreeMap::from([(id, ticket)]);
            keep_newer(&mut applied, &mut readings, |it| *it);
            !readings.is_empty()
        };
        assert!(kept(fast));
        assert!(!kept(slow), "it was under way when the other was sent");
        assert!(kept(ledger.ticket()));
    }
}
