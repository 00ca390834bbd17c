//! The ledger of webhooks: what the inbox holds, and what no webhook tells, namely those that did
//! not come, came late or were forged. Remarks are stored; how they fit together is worked out
//! anew each time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::{Action, EventId, EventState, SubscriptionId, WebhookEvent};

/// A webhook that comes so long after what it tells, or after we found it ourselves, is late; until
/// then it is only on its way.
pub const ON_ITS_WAY: SignedDuration = SignedDuration::from_mins(10);

/// So long after a change was found its webhook may still be that one: Microsoft tries for 8 hours.
///
/// Source: `marketplace-saas.md` section 8.1.
const MAY_STILL_COME: SignedDuration = SignedDuration::from_hours(9);

/// Something about webhooks that the inbox does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WebhookNote {
    /// A change that Microsoft announces was found before any webhook told of it.
    Missed(MissedWebhook),
    /// A webhook came long after what it tells.
    Late(LateWebhook),
    /// Refused tokens, added up.
    Forged(ForgedWebhooks),
}

/// A change that was found before any webhook told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissedWebhook {
    /// When it was found.
    pub at: Timestamp,
    /// When the subscription was last seen without it.
    pub since: Timestamp,
    /// Whose change.
    pub subscription: SubscriptionId,
    /// What the webhook would have said.
    pub action: Action,
    /// What found it, such as `run r17`.
    pub found_by: Arc<str>,
}

/// A webhook that came long after what it tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LateWebhook {
    /// Which.
    pub event: EventId,
    /// When it came.
    pub at: Timestamp,
    /// When, as it says itself, happened what it tells.
    pub sent: Timestamp,
}

/// Refused tokens, added up: nothing of what was sent is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForgedWebhooks {
    /// The first.
    pub from: Timestamp,
    /// The last.
    pub until: Timestamp,
    /// How many by the check that failed: words of ours.
    pub checks: BTreeMap<Arc<str>, u64>,
}

impl ForgedWebhooks {
    /// How many.
    pub fn count(&self) -> u64 {
        self.checks.values().fold(0, |sum, it| sum.saturating_add(*it))
    }

    /// `audience 12, signature 3`, the most first.
    pub fn words(&self) -> String {
        let mut checks: Vec<(&Arc<str>, &u64)> = self.checks.iter().collect();
        checks.sort_by_key(|(word, count)| (std::cmp::Reverse(**count), Arc::clone(word)));
        let words: Vec<String> =
            checks.into_iter().map(|(word, count)| format!("{word} {count}")).collect();
        words.join(", ")
    }
}

/// Which note: by its time, so that the oldest comes first. What is noted twice is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NoteKey {
    /// When.
    pub at: Timestamp,
    /// Which kind.
    pub kind: u8,
    /// Whose.
    pub id: [u8; 16],
}

impl WebhookNote {
    /// Which note it is.
    pub fn key(&self) -> NoteKey {
        match self {
            Self::Missed(it) => NoteKey { at: it.at, kind: 0, id: *it.subscription.as_bytes() },
            Self::Late(it) => {
                let id = u128::from(it.event.0).to_be_bytes();
                NoteKey { at: it.at, kind: 1, id }
            }
            Self::Forged(it) => NoteKey { at: it.from, kind: 2, id: [0; 16] },
        }
    }
}

/// How long after what it tells a webhook came, if that is late.
pub fn lateness(sent: Option<Timestamp>, came: Timestamp) -> Option<SignedDuration> {
    let late = came.duration_since(sent?);
    (late > ON_ITS_WAY).then_some(late)
}

/// A row of the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WebhookEntry {
    /// A webhook that came.
    Came {
        /// As the inbox has it.
        event: Arc<WebhookEvent>,
        /// By how much it was late.
        late: Option<SignedDuration>,
    },
    /// One that did not come.
    Missed(MissedWebhook),
    /// Some that were none.
    Forged(ForgedWebhooks),
}

impl WebhookEntry {
    /// When it came or was found.
    pub fn at(&self) -> Timestamp {
        match self {
            Self::Came { event, .. } => event.received,
            Self::Missed(it) => it.at,
            Self::Forged(it) => it.from,
        }
    }

    /// Of which subscription it is, if it names one.
    pub fn subscription(&self) -> Option<SubscriptionId> {
        match self {
            Self::Came { event, .. } => event.said.subscription,
            Self::Missed(it) => Some(it.subscription),
            Self::Forged(_) => None,
        }
    }

    /// How far it is: `waiting`, `done`, `dead`, `missed` or `forged`.
    pub fn state(&self) -> &'static str {
        match self {
            Self::Came { event, .. } if matches!(event.state, EventState::Dead { .. }) => "dead",
            Self::Came { event, .. } if event.state.over_since().is_none() => "waiting",
            Self::Came { .. } => "done",
            Self::Missed(_) => "missed",
            Self::Forged(_) => "forged",
        }
    }

    /// What came of it once it is done.
    pub fn outcome(&self) -> Option<&'static str> {
        match self {
            Self::Came { event, .. } if self.state() == "done" => Some(event.state.as_str()),
            Self::Came { .. } | Self::Missed(_) | Self::Forged(_) => None,
        }
    }

    /// By how much it was late.
    pub fn late(&self) -> Option<SignedDuration> {
        match self {
            Self::Came { late, .. } => *late,
            Self::Missed(_) | Self::Forged(_) => None,
        }
    }

    /// Whether Microsoft delivered it more than once.
    pub fn is_duplicate(&self) -> bool {
        matches!(self, Self::Came { event, .. } if event.deliveries > 1)
    }

    /// Whether one of the words for which the ledger can be asked holds for it: a state, an
    /// outcome, `late` or `duplicate`.
    pub fn is(&self, word: &str) -> bool {
        match word {
            "late" => self.late().is_some(),
            "duplicate" => self.is_duplicate(),
            _ => self.state() == word || self.outcome() == Some(word),
        }
    }
}

/// The ledger, oldest first: each webhook that came, with what was noted of it, and what did not
/// come. A change that was found by us and announced soon after is nobody's fault.
pub fn webhook_entries(events: &[Arc<WebhookEvent>], notes: &[WebhookNote]) -> Vec<WebhookEntry> {
    let mut late: BTreeMap<EventId, SignedDuration> = BTreeMap::new();
    let mut raise = |id: EventId, by: SignedDuration| {
        let known = late.entry(id).or_insert(by);
        *known = by.max(*known);
    };
    let mut of: BTreeMap<SubscriptionId, Vec<&Arc<WebhookEvent>>> = BTreeMap::new();
    for event in events {
        if let Some(id) = event.said.subscription {
            of.entry(id).or_default().push(event);
        }
    }
    let mut taken: BTreeSet<EventId> = BTreeSet::new();
    let mut entries = Vec::new();
    for note in notes {
        match note {
            WebhookNote::Late(it) => raise(it.event, it.at.duration_since(it.sent)),
            WebhookNote::Forged(it) => entries.push(WebhookEntry::Forged(it.clone())),
            WebhookNote::Missed(it) => {
                let candidates = of.get(&it.subscription).into_iter().flatten();
                let mut fitting =
                    candidates.filter(|event| it.is_told_by(event) && !taken.contains(&event.id));
                let Some(event) = fitting.next() else {
                    entries.push(WebhookEntry::Missed(it.clone()));
                    continue;
                };
                taken.insert(event.id);
                let after = event.received.duration_since(it.at);
                if after > ON_ITS_WAY {
                    raise(event.id, after);
                }
            }
        }
    }
    entries.extend(events.iter().map(|event| WebhookEntry::Came {
        event: Arc::clone(event),
        late: late.get(&event.id).copied(),
    }));
    entries.sort_by_key(WebhookEntry::at);
    entries
}

impl MissedWebhook {
    /// Whether this webhook, which came after all, tells of it.
    fn is_told_by(&self, event: &WebhookEvent) -> bool {
        self.awaits(event.said.subscription, &event.said.action, event.received)
    }

    /// Whether a webhook of this subscription and action that comes now would be the one.
    pub fn awaits(&self, of: Option<SubscriptionId>, says: &Action, now: Timestamp) -> bool {
        let after = now.duration_since(self.at);
        of == Some(self.subscription)
            && (*says == self.action || matches!(self.action, Action::Unrecognized(_)))
            && !after.is_negative()
            && after <= MAY_STILL_COME
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Announcement, EventOutcome};
    use uuid::Uuid;

    const ONE: SubscriptionId = SubscriptionId::from_uuid(Uuid::from_u128(1));

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(minute * 60).unwrap()
    }

    fn event(id: u64, minute: i64, action: Action, deliveries: u32) -> Arc<WebhookEvent> {
        let said = Announcement {
            operation: Some(id.to_string().into()),
            action,
            subscription: Some(ONE),
            plan: None,
            quantity: None,
        };
        Arc::new(WebhookEvent {
            id: EventId(id),
            said,
            received: at(minute),
            deliveries,
            tries: 0,
            changed: false,
            answered: None,
            state: EventState::Done { at: at(minute), outcome: EventOutcome::Known },
        })
    }

    fn missed(minute: i64, action: Action) -> WebhookNote {
        let (since, found_by) = (at(minute - 15), "run r1".into());
        let it = MissedWebhook { at: at(minute), since, subscription: ONE, action, found_by };
        WebhookNote::Missed(it)
    }

    /// Each row as minute, state and minutes of lateness.
    fn check(events: &[Arc<WebhookEvent>], notes: &[WebhookNote], expected: &[(i64, &str, i64)]) {
        let entries = webhook_entries(events, notes);
        let got: Vec<_> = entries
            .iter()
            .map(|it| {
                let late = it.late().map_or(0, |it| it.as_secs() / 60);
                (it.at().as_second() / 60, it.state(), late)
            })
            .collect();
        assert_eq!(got, expected);
    }

    #[test]
    fn what_was_found_first_is_missed_until_its_webhook_comes() {
        let suspended = [missed(100, Action::Suspend)];
        let come = |minute| [event(7, minute, Action::Suspend, 1)];
        check(&[], &suspended, &[(100, "missed", 0)]);
        check(&come(105), &suspended, &[(105, "done", 0)]);
        check(&come(160), &suspended, &[(160, "done", 60)]);
        check(&come(99), &suspended, &[(99, "done", 0), (100, "missed", 0)]);
        check(&come(641), &suspended, &[(100, "missed", 0), (641, "done", 0)]);
        let other = [event(7, 160, Action::Renew, 1)];
        check(&other, &suspended, &[(100, "missed", 0), (160, "done", 0)]);
    }

    #[test]
    fn one_webhook_tells_of_one_change_only() {
        let notes = [missed(100, Action::Renew), missed(200, Action::Renew)];
        let events = [event(7, 260, Action::Renew, 1)];
        check(&events, &notes, &[(200, "missed", 0), (260, "done", 160)]);
    }

    #[test]
    fn what_a_webhook_says_of_itself_makes_it_late_too() {
        let late = LateWebhook { event: EventId(7), at: at(100), sent: at(40) };
        let events = [event(7, 100, Action::Renew, 2)];
        check(&events, &[WebhookNote::Late(late)], &[(100, "done", 60)]);
        assert_eq!(lateness(Some(at(90)), at(100)), None, "ten minutes are on its way");
        assert_eq!(lateness(Some(at(120)), at(100)), None, "a clock that is wrong");
        assert_eq!(lateness(None, at(100)), None);
        assert_eq!(lateness(Some(at(89)), at(100)), Some(SignedDuration::from_mins(11)));
    }

    #[test]
    fn the_ledger_can_be_asked_for_states_outcomes_and_what_is_odd() {
        let events = [event(7, 100, Action::Renew, 2)];
        let checks = [("audience".into(), 2), ("signature".into(), 12)].into();
        let forged = ForgedWebhooks { from: at(50), until: at(51), checks };
        let entries = webhook_entries(&events, &[WebhookNote::Forged(forged.clone())]);
        let of = |word: &str| entries.iter().filter(|it| it.is(word)).count();
        let words = ["done", "known", "duplicate", "forged", "late", "missed", "changed"];
        assert_eq!(words.map(of), [1, 1, 1, 1, 0, 0, 0]);
        assert_eq!((forged.count(), forged.words().as_str()), (14, "signature 12, audience 2"));
    }
}
