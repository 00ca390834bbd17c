//! Which events a group of commits puts into the outbox. They become durable with the very facts
//! that they tell, in one transaction: neither is ever there without the other.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use uuid::Uuid;

use super::{Outbox, WAITING_MAX, body, day_of};
use crate::domain::{
    Commit, Delivery, DeliveryState, DeliveryWrite, EventId, EventState, EventWrite, Mirror,
    Notice, NoticeKind, NoticeNumber, Source, SourceKey, SourceState, WebhookEvent,
};
use crate::store::inbox::Inbox;

/// Why the oldest go when too many wait.
pub(super) const SHED: &str = "too many events wait for this endpoint: the oldest were given up";

/// What was before a group.
pub(in crate::store) struct Before<'a> {
    pub(in crate::store) outbox: &'a Outbox,
    pub(in crate::store) inbox: &'a Inbox,
    pub(in crate::store) mirror: &'a Mirror,
    /// The time, for what says none itself.
    pub(in crate::store) now: Timestamp,
}

/// The events of these commits, for each endpoint that wants them. Nothing is looked at when nobody
/// listens.
pub(in crate::store) fn writes(before: &Before<'_>, commits: &[Commit]) -> Vec<DeliveryWrite> {
    let audience = &before.outbox.audience;
    if audience.endpoints.is_empty() {
        return Vec::new();
    }
    let mut found = Found { before, sources: BTreeMap::new(), webhooks: HashMap::new() };
    let notices: Vec<Notice> = commits.iter().flat_map(|it| found.notices(it)).collect();
    let mut notices = once_a_day(before.outbox, notices);
    notices.retain(|it| before.outbox.is_wanted(it.kind));
    // A number and an id are the event's, whoever gets it.
    let mut number = before.outbox.last;
    let mut numbered = Vec::with_capacity(notices.len());
    for notice in &notices {
        number = number.saturating_add(1);
        let id: Arc<str> = format!("evt_{}", Uuid::new_v4().simple()).into();
        numbered.push((NoticeNumber(number), id, Arc::from(body::of(notice)), notice));
    }
    let mut writes = Vec::new();
    for endpoint in &audience.endpoints {
        let wants = |kind| endpoint.wishes.iter().any(|it| it.wants(kind));
        let wanted = numbered.iter().filter(|(.., notice)| wants(notice.kind));
        let new: Vec<Delivery> = wanted
            .map(|(number, id, body, notice)| Delivery {
                number: *number,
                endpoint: Arc::clone(&endpoint.name),
                id: Arc::clone(id),
                kind: notice.kind,
                subject: Arc::clone(&notice.subject),
                at: notice.at,
                body: Arc::clone(body),
                tries: 0,
                first_try: None,
                last_try: None,
                error: None,
                state: DeliveryState::Waiting { due: None },
            })
            .collect();
        writes.extend(bounded(before, &endpoint.name, new));
    }
    writes
}

/// The new ones, and the oldest ones given up for which there is no room any more.
fn bounded(before: &Before<'_>, endpoint: &Arc<str>, new: Vec<Delivery>) -> Vec<DeliveryWrite> {
    let waiting = before.outbox.lanes.get(endpoint).map(|it| &it.waiting);
    let count = waiting.map_or(0, BTreeMap::len).saturating_add(new.len());
    let mut shed = count.saturating_sub(WAITING_MAX);
    let mut writes = Vec::new();
    for old in waiting.into_iter().flat_map(BTreeMap::values).take(shed) {
        writes.push(DeliveryWrite::Put(Arc::new(old.dead(SHED, before.now))));
    }
    shed = shed.saturating_sub(writes.len());
    for (at, it) in new.into_iter().enumerate() {
        let it = if at < shed { it.dead(SHED, before.now) } else { it };
        writes.push(DeliveryWrite::Put(Arc::new(it)));
    }
    writes
}

/// Without refusals of seats that were told today.
fn once_a_day(outbox: &Outbox, notices: Vec<Notice>) -> Vec<Notice> {
    let mut told: HashMap<Arc<str>, i64> = HashMap::new();
    let mut new = |it: &Notice| {
        if it.kind != NoticeKind::SeatsRefused {
            return true;
        }
        let day = day_of(it.at);
        let last = told.insert(Arc::clone(&it.subject), day);
        last.or_else(|| outbox.refused.get(&it.subject).copied()) != Some(day)
    };
    notices.into_iter().filter(|it| new(it)).collect()
}

/// What the commits so far have made of sources and webhooks.
struct Found<'a> {
    before: &'a Before<'a>,
    sources: BTreeMap<SourceKey, &'a SourceState>,
    webhooks: HashMap<EventId, Arc<WebhookEvent>>,
}

impl<'a> Found<'a> {
    fn notices(&mut self, commit: &'a Commit) -> Vec<Notice> {
        let mut notices: Vec<Notice> = commit.changes.iter().flat_map(Notice::of_change).collect();
        for (key, after) in &commit.sources {
            notices.extend(self.of_source(commit, *key, after));
        }
        for write in &commit.inbox {
            if let EventWrite::Arrived(after, _) | EventWrite::Put(after) = write {
                notices.extend(self.of_webhook(after));
            }
        }
        notices.extend(commit.notices.iter().cloned());
        notices
    }

    fn of_source(
        &mut self,
        commit: &Commit,
        key: SourceKey,
        after: &'a SourceState,
    ) -> Vec<Notice> {
        let known = self.sources.insert(key, after);
        let unread = SourceState::default();
        let earlier = known.or_else(|| self.before.mirror.source(key)).unwrap_or(&unread);
        let limit = match key.source {
            Source::Subscriptions | Source::Reports => self.before.outbox.audience.subscriptions,
            Source::Directory => self.before.outbox.audience.directory,
        };
        let run = commit.runs.iter().find(|it| it.key == key);
        let at = run.map(|it| it.ended).or(after.last_run).unwrap_or(self.before.now);
        Notice::of_source(key, (earlier, after), limit, at)
    }

    fn of_webhook(&mut self, after: &Arc<WebhookEvent>) -> Option<Notice> {
        let earlier = self.webhooks.insert(after.id, Arc::clone(after));
        let earlier = earlier.or_else(|| self.before.inbox.of(after.id));
        let at = match &after.state {
            EventState::Dead { at, .. } | EventState::Done { at, .. } => *at,
            EventState::Waiting => self.before.now,
        };
        Notice::of_webhook(earlier.as_deref(), after, at)
    }
}
