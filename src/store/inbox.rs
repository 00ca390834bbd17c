//! The inbox of webhooks: which came and how far each is. The state of each is in memory, its body
//! on disk only.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::committer::Job;
use super::layout::{self, Table};
use super::webhook_log::WebhookLog;
use super::{Store, StoreError, pieces};
use crate::domain::{
    Action, Announcement, Commit, EventId, EventState, EventWrite, LateWebhook, RawRecord, Receipt,
    SubscriptionId, WebhookEvent, WebhookNote, lateness,
};
use crate::planted::{Mistake, planted};

/// How many webhooks may wait. More of them are refused until some are done; Microsoft comes again
/// for eight hours.
const WAITING_MAX: usize = 20_000;

/// How many webhooks that were given up are kept; the oldest goes first.
const DEAD_MAX: usize = 10_000;

/// How many webhooks that are done are kept at most; the oldest goes first.
const DONE_MAX: usize = 100_000;

/// How long webhooks that are over are kept: that long a repetition is known for one.
const KEEP: SignedDuration = SignedDuration::from_hours(30 * 24);

/// How many webhooks are forgotten in one commit.
const FORGOTTEN_AT_ONCE: usize = 500;

/// A webhook that has just come.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// What it says.
    pub said: Announcement,
    /// Its body as it came.
    pub body: RawRecord,
    /// When it came.
    pub received: Timestamp,
    /// When, as it says itself, happened what it tells.
    pub sent: Option<Timestamp>,
}

/// Which webhooks are asked for: those for which every field that is set holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WebhookFilter {
    /// Those of this subscription.
    pub subscription: Option<SubscriptionId>,
    /// Those that came then or later.
    pub since: Option<Timestamp>,
    /// Only those that were given up.
    pub dead: bool,
    /// At most so many, the newest ones.
    pub limit: Option<usize>,
}

/// How many webhooks there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InboxFigures {
    /// To be looked up.
    pub waiting: usize,
    /// Done.
    pub done: usize,
    /// Given up.
    pub dead: usize,
    /// When the newest one first came.
    pub newest: Option<Timestamp>,
}

impl Store {
    /// Takes a webhook into the inbox; returns once it is durable, so that it may be acknowledged.
    /// What came before is not taken twice.
    ///
    /// # Errors
    ///
    /// As of [`Self::commit`].
    pub async fn receive(&self, arrival: Arrival) -> Result<Receipt, StoreError> {
        self.ask(|reply| Job::Receive(Box::new(arrival), reply)).await
    }

    /// The webhooks that are still to be looked up, in the order of their arrival.
    pub fn waiting_webhooks(&self) -> Vec<Arc<WebhookEvent>> {
        self.shared.inbox().waiting()
    }

    /// The webhook of this id as it stands now.
    pub fn webhook(&self, id: EventId) -> Option<Arc<WebhookEvent>> {
        self.shared.inbox().of(id)
    }

    /// The webhooks that the filter lets through, oldest first. Those that are over are kept for 30
    /// days.
    pub fn webhooks(&self, filter: &WebhookFilter) -> Vec<Arc<WebhookEvent>> {
        self.shared.inbox().find(filter)
    }

    /// Whether a webhook for this subscription came, or was worked on, since then.
    pub fn webhook_announced(&self, id: SubscriptionId, since: Timestamp) -> bool {
        self.shared.inbox().announced(id, since)
    }

    /// Whether a later webhook tells of another change of the same kind to the same subscription.
    pub fn webhook_overtaken(&self, event: &WebhookEvent) -> bool {
        self.shared.inbox().overtaken(event)
    }

    /// The body of a webhook that is not done. Blocking: reads the disk.
    ///
    /// # Errors
    ///
    /// As of [`Self::runs`].
    pub fn webhook_body(&self, id: EventId) -> Result<Option<RawRecord>, StoreError> {
        let found = pieces::read(&*self.shared.engine()?, Table::Facts, &layout::event_body(id))?;
        let text = |it| String::from_utf8(it).map_err(|_bytes| StoreError::damaged("a webhook"));
        Ok(found.map(text).transpose()?.map(RawRecord::from))
    }

    /// The inbox in figures.
    pub fn inbox(&self) -> InboxFigures {
        self.shared.inbox().figures()
    }

    /// Forgets webhooks that are long over, or too many.
    ///
    /// # Errors
    ///
    /// As of [`Self::commit`].
    pub async fn prune_webhooks(&self, now: Timestamp) -> Result<usize, StoreError> {
        let outdated = self.shared.inbox().outdated(now);
        for writes in outdated.chunks(FORGOTTEN_AT_ONCE) {
            self.commit(Commit { inbox: writes.to_vec(), ..Commit::default() }).await?;
        }
        Ok(outdated.len())
    }
}

/// Every webhook that is kept.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    all: BTreeMap<EventId, Arc<WebhookEvent>>,
    by_operation: HashMap<(Arc<str>, Action), EventId>,
    waiting: BTreeSet<EventId>,
    dead: BTreeSet<EventId>,
    /// What is noted besides.
    pub(super) log: WebhookLog,
}

impl Inbox {
    /// Takes over what a commit says, or what is read from disk.
    pub(super) fn put(&mut self, event: Arc<WebhookEvent>) {
        let id = event.id;
        if let Some(operation) = &event.said.operation {
            let key = (Arc::clone(operation), event.said.action.clone());
            self.by_operation.insert(key, id);
        }
        let dead = matches!(event.state, EventState::Dead { .. });
        let waiting = event.state.over_since().is_none();
        for (set, is) in [(&mut self.dead, dead), (&mut self.waiting, waiting)] {
            if is {
                set.insert(id);
            } else {
                set.remove(&id);
            }
        }
        self.all.insert(id, event);
    }

    fn forget(&mut self, id: EventId) {
        let Some(event) = self.all.remove(&id) else { return };
        self.waiting.remove(&id);
        self.dead.remove(&id);
        if let Some(operation) = &event.said.operation {
            self.by_operation.remove(&(Arc::clone(operation), event.said.action.clone()));
        }
    }

    /// Takes over what is durable.
    pub(super) fn apply(&mut self, writes: &[EventWrite]) {
        for write in writes {
            match write {
                EventWrite::Arrived(event, _) | EventWrite::Put(event) => {
                    self.put(Arc::clone(event));
                }
                EventWrite::Forget(id) => self.forget(*id),
                EventWrite::Noted(note) => self.log.put(note.clone()),
                EventWrite::ForgetNote(key) => self.log.forget(*key),
            }
        }
    }

    pub(super) fn of(&self, id: EventId) -> Option<Arc<WebhookEvent>> {
        self.all.get(&id).map(Arc::clone)
    }

    fn of_operation(&self, said: &Announcement) -> Option<Arc<WebhookEvent>> {
        let key = (said.operation.as_ref().map(Arc::clone)?, said.action.clone());
        self.of(*self.by_operation.get(&key)?)
    }

    pub(super) fn waiting(&self) -> Vec<Arc<WebhookEvent>> {
        self.waiting.iter().filter_map(|it| self.of(*it)).collect()
    }

    /// Whether a webhook for this subscription came since then, or still waits.
    pub(super) fn announced(&self, id: SubscriptionId, since: Timestamp) -> bool {
        let names = |it: &Arc<WebhookEvent>| it.said.subscription == Some(id);
        let fresh = |it: &&Arc<WebhookEvent>| {
            it.received >= since || it.state.over_since().is_none_or(|over| over >= since)
        };
        self.all.values().rev().filter(|it| names(it)).any(|it| fresh(&it))
    }

    fn overtaken(&self, event: &WebhookEvent) -> bool {
        let (said, later) = (&event.said, (Bound::Excluded(event.id), Bound::Unbounded));
        let another = |it: &WebhookEvent| {
            it.said.subscription == said.subscription
                && it.said.action == said.action
                && it.said.operation != said.operation
        };
        said.action.asks() && self.all.range(later).any(|(_, it)| another(it))
    }

    pub(super) fn find(&self, filter: &WebhookFilter) -> Vec<Arc<WebhookEvent>> {
        let lets = |it: &&Arc<WebhookEvent>| {
            filter.subscription.is_none_or(|id| it.said.subscription == Some(id))
                && filter.since.is_none_or(|since| it.received >= since)
                && (!filter.dead || matches!(it.state, EventState::Dead { .. }))
        };
        let limit = filter.limit.unwrap_or(usize::MAX);
        let mut found: Vec<_> =
            self.all.values().rev().filter(lets).take(limit).map(Arc::clone).collect();
        found.reverse();
        found
    }

    pub(super) fn figures(&self) -> InboxFigures {
        let (waiting, dead) = (self.waiting.len(), self.dead.len());
        InboxFigures {
            waiting,
            dead,
            done: self.all.len().saturating_sub(waiting).saturating_sub(dead),
            newest: self.all.values().next_back().map(|it| it.received),
        }
    }

    /// What is to be forgotten by now.
    pub(super) fn outdated(&self, now: Timestamp) -> Vec<EventWrite> {
        let old = |it: &WebhookEvent| {
            it.state.over_since().is_some_and(|over| now.duration_since(over) >= KEEP)
        };
        let too_many = self.figures().done.saturating_sub(DONE_MAX);
        let done =
            self.all.keys().filter(|id| !self.waiting.contains(id) && !self.dead.contains(id));
        let mut gone: BTreeSet<EventId> = done.take(too_many).copied().collect();
        gone.extend(self.dead.iter().take(self.dead.len().saturating_sub(DEAD_MAX)));
        gone.extend(self.all.values().filter(|it| old(it)).map(|it| it.id));
        gone.into_iter().map(EventWrite::Forget).chain(self.log.outdated(now)).collect()
    }
}

/// Webhooks on their way to disk together: seen by those that come after them in the group.
#[derive(Debug, Default)]
pub(super) struct Pending {
    puts: BTreeMap<EventId, Arc<WebhookEvent>>,
    waiting: usize,
}

impl Pending {
    /// What becomes of a webhook, and what must be written for it.
    pub(super) fn take(&mut self, inbox: &Inbox, it: Arrival) -> (Receipt, Option<Commit>) {
        let here = self.puts.values().find(|other| other.said.repeats(&it.said)).map(Arc::clone);
        let known = here.or_else(|| inbox.of_operation(&it.said));
        let known = known.filter(|_| !planted(Mistake::NoDeduplication));
        let mut late = None;
        let write = if let Some(known) = known {
            let known = self.puts.get(&known.id).map_or(known, Arc::clone);
            let deliveries = known.deliveries.saturating_add(1);
            EventWrite::Put(Arc::new(WebhookEvent { deliveries, ..(*known).clone() }))
        } else {
            if inbox.waiting.len().saturating_add(self.waiting) >= WAITING_MAX {
                return (Receipt::Full, None);
            }
            self.waiting = self.waiting.saturating_add(1);
            let last = self.puts.keys().next_back().max(inbox.all.keys().next_back());
            let event = WebhookEvent {
                id: EventId(last.map_or(1, |it| it.0.saturating_add(1))),
                said: it.said,
                received: it.received,
                deliveries: 1,
                tries: 0,
                changed: false,
                answered: None,
                state: EventState::Waiting,
            };
            late =
                it.sent.filter(|sent| lateness(Some(*sent), it.received).is_some()).map(|sent| {
                    let note = LateWebhook { event: event.id, at: event.received, sent };
                    EventWrite::Noted(WebhookNote::Late(note))
                });
            EventWrite::Arrived(Arc::new(event), it.body)
        };
        let receipt = match &write {
            EventWrite::Arrived(..) => Receipt::New,
            EventWrite::Put(_)
            | EventWrite::Forget(_)
            | EventWrite::Noted(_)
            | EventWrite::ForgetNote(_) => Receipt::Duplicate,
        };
        self.note(&write);
        let inbox = std::iter::once(write).chain(late).collect();
        (receipt, Some(Commit { inbox, ..Commit::default() }))
    }

    /// Makes a commit say of its webhooks what came meanwhile: how often each was delivered.
    pub(super) fn rebase(&mut self, inbox: &Inbox, commit: &mut Commit) {
        for write in &mut commit.inbox {
            if let EventWrite::Put(event) = write {
                let newest =
                    self.puts.get(&event.id).map(Arc::clone).or_else(|| inbox.of(event.id));
                let deliveries = newest.map_or(0, |it| it.deliveries).max(event.deliveries);
                if deliveries != event.deliveries {
                    *event = Arc::new(WebhookEvent { deliveries, ..(**event).clone() });
                }
            }
            self.note(write);
        }
    }

    fn note(&mut self, write: &EventWrite) {
        match write {
            EventWrite::Arrived(event, _) | EventWrite::Put(event) => {
                self.puts.insert(event.id, Arc::clone(event));
            }
            EventWrite::Forget(_) | EventWrite::Noted(_) | EventWrite::ForgetNote(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::EventOutcome;
    use crate::planted::{Chance, prove};

    fn said(number: u64) -> Announcement {
        Announcement {
            operation: Some(number.to_string().into()),
            action: Action::Renew,
            subscription: None,
            plan: None,
            quantity: None,
        }
    }

    fn arrival(number: u64) -> Arrival {
        Arrival {
            said: said(number),
            body: "{}".into(),
            received: Timestamp::UNIX_EPOCH,
            sent: None,
        }
    }

    /// However often and in whatever groups a webhook comes, it is one event.
    #[test]
    fn what_comes_twice_is_one_event_and_one_who_counts_it_twice_is_found_out() {
        prove(Mistake::NoDeduplication, |chance: &mut Chance| {
            let (mut inbox, mut distinct) = (Inbox::default(), std::collections::BTreeSet::new());
            let mut came = 0;
            for _ in 0..=chance.below(4) {
                let mut group = Pending::default();
                let mut writes = Vec::new();
                for _ in 0..chance.below(5) {
                    let number = chance.below(4) as u64;
                    distinct.insert(number);
                    came += 1;
                    let (_, commit) = group.take(&inbox, arrival(number));
                    writes.extend(commit.into_iter().flat_map(|it| it.inbox));
                }
                inbox.apply(&writes);
            }
            let delivered: u32 = inbox.all.values().map(|it| it.deliveries).sum();
            if inbox.all.len() == distinct.len() && delivered == came {
                return Ok(());
            }
            let (events, of) = (inbox.all.len(), distinct.len());
            Err(format!("{events} events, {delivered} deliveries where {of} came {came} times"))
        });
    }

    fn over(id: u64, dead: bool) -> Arc<WebhookEvent> {
        let at = Timestamp::UNIX_EPOCH;
        let done = EventState::Done { at, outcome: EventOutcome::Known };
        let state = if dead { EventState::Dead { at, why: "w".into() } } else { done };
        Arc::new(WebhookEvent {
            id: EventId(id),
            said: said(id),
            received: at,
            deliveries: 1,
            tries: 0,
            changed: false,
            answered: None,
            state,
        })
    }

    #[test]
    fn a_full_inbox_takes_repetitions_and_nothing_new() {
        let (mut inbox, mut group) = (Inbox::default(), Pending::default());
        for number in 0..20_000 {
            let mut group = Pending::default();
            let (receipt, commit) = group.take(&inbox, arrival(number));
            assert_eq!(receipt, Receipt::New);
            inbox.apply(&commit.unwrap().inbox);
        }
        assert_eq!(group.take(&inbox, arrival(7)).0, Receipt::Duplicate);
        let (receipt, commit) = group.take(&inbox, arrival(20_000));
        assert!(receipt == Receipt::Full && commit.is_none());
        inbox.apply(&[EventWrite::Put(over(1, false))]);
        assert_eq!(group.take(&inbox, arrival(20_000)).0, Receipt::New);
    }

    #[test]
    fn within_one_group_what_comes_twice_is_known_and_no_delivery_is_forgotten() {
        let (mut inbox, mut group) = (Inbox::default(), Pending::default());
        let (_, first) = group.take(&inbox, arrival(1));
        let (receipt, second) = group.take(&inbox, arrival(1));
        assert_eq!(receipt, Receipt::Duplicate);
        // The worker had looked before the second came.
        let mut worked =
            Commit { inbox: vec![EventWrite::Put(over(1, false))], ..Commit::default() };
        group.rebase(&inbox, &mut worked);
        for commit in [first.unwrap(), second.unwrap(), worked] {
            inbox.apply(&commit.inbox);
        }
        let kept = inbox.of(EventId(1)).unwrap();
        assert_eq!((kept.deliveries, kept.state.as_str()), (2, "known"));
    }

    #[test]
    fn what_is_long_over_or_too_many_is_forgotten_and_what_waits_never() {
        let mut inbox = Inbox::default();
        let (_, waits) = Pending::default().take(&inbox, arrival(1));
        inbox.apply(&waits.unwrap().inbox);
        for id in 2..=10_010 {
            inbox.put(over(id, true));
        }
        inbox.put(over(20_000, false));
        let check = |inbox: &Inbox, days: i64, gone: usize| {
            let now = Timestamp::from_second(days * 86_400).unwrap();
            assert_eq!(inbox.outdated(now).len(), gone, "{days}");
        };
        check(&inbox, 29, 9); // one dead one more than are kept, nine times
        check(&inbox, 30, 10_010);
        let all = inbox.outdated(Timestamp::MAX);
        inbox.apply(&all);
        let left = inbox.figures();
        assert_eq!((left.waiting, left.done, left.dead), (1, 0, 0));
    }
}
