//! The outbox: events for the publisher's own systems, and how far each is. All of it is in memory;
//! what waits is bounded, and so is what is kept of the rest.
//!
//! An event is written by the commit that tells it ([`post`]), so there is no cursor that could be
//! ahead of it or behind it. Without an endpoint nothing is looked at and nothing is written.

mod body;
mod post;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, PoisonError};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tokio::sync::oneshot;

use super::committer::Job;
use super::{Shared, Store, StoreError};
use crate::domain::{
    Commit, Delivery, DeliveryState, DeliveryWrite, LicenseId, LicenseUser, Notice, NoticeKind,
    NoticeNumber, NoticeWish, SubscriptionId, TenantId, UserId,
};

pub(super) use post::{Before, writes};

/// How many events may wait for one endpoint. The oldest are given up for newer ones.
pub(super) const WAITING_MAX: usize = 10_000;

/// How many events that were given up are kept for each endpoint; the oldest goes first.
const DEAD_MAX: usize = 10_000;

/// How many events that were sent are kept for each endpoint; the oldest goes first.
const SENT_MAX: usize = 5_000;

/// How long events that were sent can be replayed.
const KEEP_SENT: SignedDuration = SignedDuration::from_hours(3 * 24);

/// How long events that were given up are kept, and those that wait for an endpoint that the
/// configuration no longer names.
const KEEP_DEAD: SignedDuration = SignedDuration::from_hours(30 * 24);

/// How many events are forgotten in one commit.
const FORGOTTEN_AT_ONCE: usize = 500;

/// Events tried so often hold up later ones of their subject no longer.
const HOLDS_UP: u32 = 4;

/// Who is told what.
#[derive(Clone, Debug, Default)]
pub struct Audience {
    /// The endpoints that events are kept for.
    pub endpoints: Vec<Addressee>,
    /// How old the last complete read of the list of subscriptions may be before its failing is
    /// told.
    pub subscriptions: SignedDuration,
    /// The same of a directory.
    pub directory: SignedDuration,
}

/// An endpoint that events are kept for.
#[derive(Clone, Debug)]
pub struct Addressee {
    /// Its name.
    pub name: Arc<str>,
    /// What it wants.
    pub wishes: Vec<NoticeWish>,
}

/// How many events there are for one endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutboxFigures {
    /// To be sent.
    pub waiting: usize,
    /// Given up.
    pub dead: usize,
    /// Sent, and kept for a replay.
    pub sent: usize,
    /// When the oldest one that waits came to be.
    pub oldest: Option<Timestamp>,
    /// When one was last sent, among those that are kept.
    pub last_sent: Option<Timestamp>,
}

impl Store {
    /// Sets who is told what, from the next commit on.
    pub fn address(&self, audience: Audience) {
        let mut outbox = self.shared.outbox.write().unwrap_or_else(PoisonError::into_inner);
        outbox.audience = Arc::new(audience);
    }

    /// Tells that somebody found no seat free, once per subscription and day. Never waits: what finds
    /// the queue full is told by the next one who is refused.
    pub fn tell_seat_refused(&self, id: SubscriptionId, who: (TenantId, UserId), at: Timestamp) {
        let mirror = self.mirror();
        let Some(subscription) = mirror.subscription(id) else { return };
        self.tell_refused(Notice::seat_refused(subscription, who, at));
    }

    /// Tells that somebody was refused since a license has its maximum of users, once per license and
    /// day; otherwise as [`Self::tell_seat_refused`].
    pub fn tell_license_refused(
        &self,
        id: LicenseId,
        (users, who): (u64, Option<LicenseUser>),
        at: Timestamp,
    ) {
        let mirror = self.mirror();
        let Some(license) = mirror.licenses().license(id) else { return };
        self.tell_refused(Notice::license_user_refused(license, users, who, at));
    }

    fn tell_refused(&self, notice: Notice) {
        if !self.shared.outbox().is_news(&notice) {
            return;
        }
        let (reply, _nobody_waits) = oneshot::channel();
        let commit = Commit { notices: vec![notice], ..Commit::default() };
        drop(self.jobs.try_send(Job::Commit(Box::new(commit), reply)));
    }

    /// Whether any endpoint wants to hear of such events.
    pub fn tells(&self, kind: NoticeKind) -> bool {
        self.shared.outbox().is_wanted(kind)
    }

    /// The body of an event that is sent outside of the outbox.
    pub fn event_body(kind: &str, at: Timestamp, data: &Value) -> String {
        body::envelope(kind, at, data)
    }

    /// The events for an endpoint that may be sent now, oldest first, at most `most`: of each subject
    /// the oldest alone, and none of the subjects that are `busy`. What was tried before `well` is
    /// due whatever its rest.
    pub fn due_events(
        &self,
        endpoint: &str,
        (now, well): (Timestamp, Option<Timestamp>),
        busy: &BTreeSet<Arc<str>>,
        most: usize,
    ) -> Vec<Arc<Delivery>> {
        let outbox = self.shared.outbox();
        let mut seen: HashSet<&str> = busy.iter().map(|it| &**it).collect();
        let waiting = outbox.lanes.get(endpoint).into_iter().flat_map(|it| it.waiting.values());
        let mut due = Vec::new();
        for it in waiting {
            if due.len() >= most {
                break;
            }
            if seen.contains(&*it.subject) {
                continue;
            }
            let is_due = is_due(it, now, well);
            if is_due {
                due.push(Arc::clone(it));
            }
            if is_due || it.tries < HOLDS_UP {
                seen.insert(&it.subject);
            }
        }
        due
    }

    /// Whether any event is still to be sent.
    pub fn has_events_waiting(&self) -> bool {
        self.shared.outbox().lanes.values().any(|it| !it.waiting.is_empty())
    }

    /// The events for an endpoint that wait since then or longer, oldest first.
    pub fn events_waiting_since(&self, endpoint: &str, since: Timestamp) -> Vec<Arc<Delivery>> {
        let outbox = self.shared.outbox();
        let waiting = outbox.lanes.get(endpoint).into_iter().flat_map(|it| it.waiting.values());
        waiting.filter(|it| it.at <= since).map(Arc::clone).collect()
    }

    /// Every event that is kept, of one endpoint or of all, oldest first.
    pub fn events(&self, endpoint: Option<&str>) -> Vec<Arc<Delivery>> {
        let outbox = self.shared.outbox();
        let lanes =
            outbox.lanes.iter().filter(|(name, _)| endpoint.is_none_or(|it| it == &***name));
        let mut all: Vec<_> = lanes.flat_map(|(_, it)| it.all()).map(Arc::clone).collect();
        all.sort_by(|a, b| (a.number, &a.endpoint).cmp(&(b.number, &b.endpoint)));
        all
    }

    /// The event of this number for this endpoint, as it stands now.
    pub fn event(&self, endpoint: &str, number: NoticeNumber) -> Option<Arc<Delivery>> {
        let outbox = self.shared.outbox();
        let lane = outbox.lanes.get(endpoint)?;
        let tables = [&lane.waiting, &lane.sent, &lane.dead];
        tables.into_iter().find_map(|it| it.get(&number)).map(Arc::clone)
    }

    /// The outbox in figures, by endpoint; also endpoints that are no longer configured.
    pub fn outbox(&self) -> BTreeMap<Arc<str>, OutboxFigures> {
        let outbox = self.shared.outbox();
        outbox.lanes.iter().map(|(name, it)| (Arc::clone(name), it.figures())).collect()
    }

    /// Forgets events that are long over, or too many.
    ///
    /// # Errors
    ///
    /// As of [`Self::commit`].
    pub async fn prune_events(&self, now: Timestamp) -> Result<usize, StoreError> {
        let outdated = self.shared.outbox().outdated(now);
        for writes in outdated.chunks(FORGOTTEN_AT_ONCE) {
            self.commit(Commit { outbox: writes.to_vec(), ..Commit::default() }).await?;
        }
        Ok(outdated.len())
    }
}

impl Shared {
    pub(super) fn outbox(&self) -> std::sync::RwLockReadGuard<'_, Outbox> {
        self.outbox.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether an event may be sent now.
fn is_due(it: &Delivery, now: Timestamp, well: Option<Timestamp>) -> bool {
    let DeliveryState::Waiting { due } = it.state else { return false };
    let before = |well| it.last_try.is_some_and(|tried| tried < well);
    due.is_none_or(|due| due <= now) || well.is_some_and(before)
}

/// Days since 1970, in UTC.
fn day_of(at: Timestamp) -> i64 {
    at.as_second().div_euclid(86_400)
}

/// The events of one endpoint.
#[derive(Debug, Default)]
struct Lane {
    waiting: BTreeMap<NoticeNumber, Arc<Delivery>>,
    sent: BTreeMap<NoticeNumber, Arc<Delivery>>,
    dead: BTreeMap<NoticeNumber, Arc<Delivery>>,
}

impl Lane {
    fn all(&self) -> impl Iterator<Item = &Arc<Delivery>> {
        self.waiting.values().chain(self.sent.values()).chain(self.dead.values())
    }

    fn forget(&mut self, number: NoticeNumber) {
        for table in [&mut self.waiting, &mut self.sent, &mut self.dead] {
            table.remove(&number);
        }
    }

    fn figures(&self) -> OutboxFigures {
        let sent = |it: &Arc<Delivery>| match it.state {
            DeliveryState::Sent { at } => Some(at),
            DeliveryState::Waiting { .. } | DeliveryState::Dead { .. } => None,
        };
        OutboxFigures {
            waiting: self.waiting.len(),
            dead: self.dead.len(),
            sent: self.sent.len(),
            oldest: self.waiting.values().map(|it| it.at).min(),
            last_sent: self.sent.values().filter_map(sent).max(),
        }
    }
}

/// Every event that is kept.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    audience: Arc<Audience>,
    lanes: BTreeMap<Arc<str>, Lane>,
    /// On which day the seats of each subscription, and the places of each license, were last told
    /// to be refused.
    refused: HashMap<Arc<str>, i64>,
    last: u64,
}

impl Outbox {
    /// Takes over what a commit says, or what is read from disk.
    pub(super) fn put(&mut self, it: Arc<Delivery>) {
        self.last = self.last.max(it.number.0);
        if it.kind.is_daily() {
            let day = day_of(it.at);
            let last = self.refused.entry(Arc::clone(&it.subject)).or_insert(day);
            *last = day.max(*last);
        }
        let lane = self.lanes.entry(Arc::clone(&it.endpoint)).or_default();
        lane.forget(it.number);
        let table = match it.state {
            DeliveryState::Waiting { .. } => &mut lane.waiting,
            DeliveryState::Sent { .. } => &mut lane.sent,
            DeliveryState::Dead { .. } => &mut lane.dead,
        };
        table.insert(it.number, it);
    }

    /// Every event, in no order that means anything.
    #[cfg(test)]
    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Delivery>> {
        self.lanes.values().flat_map(Lane::all)
    }

    /// Takes over what is durable.
    pub(super) fn apply(&mut self, writes: &[DeliveryWrite]) {
        for write in writes {
            match write {
                DeliveryWrite::Put(it) => self.put(Arc::clone(it)),
                DeliveryWrite::Forget(number, endpoint) => {
                    if let Some(lane) = self.lanes.get_mut(endpoint) {
                        lane.forget(*number);
                    }
                }
            }
        }
        self.lanes.retain(|_, lane| lane.all().next().is_some());
    }

    fn is_wanted(&self, kind: NoticeKind) -> bool {
        let wishes = self.audience.endpoints.iter().flat_map(|it| &it.wishes);
        wishes.into_iter().any(|it| it.wants(kind))
    }

    fn is_news(&self, it: &Notice) -> bool {
        self.is_wanted(it.kind) && self.refused.get(&it.subject) != Some(&day_of(it.at))
    }

    /// What is to be forgotten by now.
    fn outdated(&self, now: Timestamp) -> Vec<DeliveryWrite> {
        let old = |at: Timestamp, keep| now.duration_since(at) >= keep;
        let mut gone = Vec::new();
        for (name, lane) in &self.lanes {
            let configured = self.audience.endpoints.iter().any(|it| it.name == *name);
            let orphans = lane.waiting.values().filter(|it| !configured && old(it.at, KEEP_DEAD));
            let too_many = lane.sent.len().saturating_sub(SENT_MAX);
            let sent = lane.sent.values().enumerate().filter(|(place, it)| match it.state {
                DeliveryState::Sent { at } => *place < too_many || old(at, KEEP_SENT),
                DeliveryState::Waiting { .. } | DeliveryState::Dead { .. } => false,
            });
            let too_many = lane.dead.len().saturating_sub(DEAD_MAX);
            let dead = lane.dead.values().enumerate().filter(|(place, it)| match it.state {
                DeliveryState::Dead { at } => *place < too_many || old(at, KEEP_DEAD),
                DeliveryState::Waiting { .. } | DeliveryState::Sent { .. } => false,
            });
            let over = sent.chain(dead).map(|(_, it)| it).chain(orphans);
            gone.extend(over.map(|it| DeliveryWrite::Forget(it.number, Arc::clone(name))));
        }
        gone
    }
}
