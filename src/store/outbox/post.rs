//! Which events a group of commits puts into the outbox. They become durable with the very facts
//! that they tell, in one transaction: neither is ever there without the other.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use tracing::error;
use uuid::Uuid;

use super::{Outbox, WAITING_MAX, body, day_of};
use crate::domain::{
    Commit, Delivery, DeliveryState, DeliveryWrite, EventId, EventState, EventWrite, Mirror,
    Notice, NoticeNumber, Source, SourceKey, SourceState, WebhookEvent,
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
    if shed > 0 {
        error!(
            notify.endpoint = &**endpoint,
            notify.events = shed,
            "Too many events wait for an endpoint of [[notify]]: the oldest were given up; `entitled \
             notify dead` shows them"
        );
    }
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

/// Without refusals that were told today.
fn once_a_day(outbox: &Outbox, notices: Vec<Notice>) -> Vec<Notice> {
    let mut told: HashMap<Arc<str>, i64> = HashMap::new();
    let mut new = |it: &Notice| {
        if !it.kind.is_daily() {
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
            Source::Directory | Source::Groups => self.before.outbox.audience.directory,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        Cause, Change, Consent, NoticeWish, Tenant, TenantId, UserId, UserLicences,
    };
    use crate::store::outbox::{Addressee, Audience};

    fn outbox(wishes: &[(&str, &str)]) -> Outbox {
        let addressee = |(name, wish): &(&str, &str)| Addressee {
            name: Arc::from(*name),
            wishes: vec![wish.parse().unwrap()],
        };
        let endpoints = wishes.iter().map(addressee).collect();
        let audience = Arc::new(Audience { endpoints, ..Audience::default() });
        Outbox { audience, ..Outbox::default() }
    }

    /// A tenant that consents: one event.
    fn granted(number: u128) -> Change {
        let id = TenantId::from_uuid(Uuid::from_u128(number + 1)).unwrap();
        let before = Tenant::heard_of(id, None);
        let after = Tenant { consent: Consent::Granted, ..before.clone() };
        Change::of_tenant(Timestamp::UNIX_EPOCH, Cause::Command, Some(&before), &after)
    }

    fn posted(outbox: &Outbox, changes: Vec<Change>) -> Vec<Arc<Delivery>> {
        let (inbox, mirror) = (Inbox::default(), Mirror::default());
        let before = Before { outbox, inbox: &inbox, mirror: &mirror, now: Timestamp::UNIX_EPOCH };
        let put = |it| match it {
            DeliveryWrite::Put(it) => Some(it),
            DeliveryWrite::Forget(..) => None,
        };
        let commit = Commit { changes, ..Commit::default() };
        writes(&before, &[commit]).into_iter().filter_map(put).collect()
    }

    #[test]
    fn an_event_is_one_whoever_gets_it_and_goes_only_to_those_who_want_it() {
        let outbox = outbox(&[("a", "tenant.*"), ("b", "tenant.consent_granted"), ("c", "sync.*")]);
        let (tenant, user) = (granted(1).tenant.unwrap(), UserId::from_uuid(Uuid::from_u128(9)));
        let nothing = Change::of_user(
            Timestamp::UNIX_EPOCH,
            Cause::Command,
            (tenant, user),
            None,
            Some(UserLicences::default()),
        );
        let found = posted(&outbox, vec![granted(1), nothing, granted(2)]);
        let told: Vec<_> = found.iter().map(|it| (&*it.endpoint, it.number.0)).collect();
        assert_eq!(told, [("a", 1), ("a", 2), ("b", 1), ("b", 2)]);
        assert_eq!((&found[0].id, &found[0].body), (&found[2].id, &found[2].body));
        assert_ne!(found[0].id, found[1].id);
        assert!(posted(&Outbox::default(), vec![granted(1)]).is_empty());
        let everything = Outbox {
            audience: Arc::new(Audience {
                endpoints: vec![Addressee { name: "d".into(), wishes: NoticeWish::everything() }],
                ..Audience::default()
            }),
            ..Outbox::default()
        };
        assert_eq!(posted(&everything, vec![granted(1)]).len(), 1);
    }

    #[test]
    fn when_too_many_wait_the_oldest_are_given_up_and_kept() {
        let mut outbox = outbox(&[("a", "tenant.*")]);
        let is_dead = |it: &&Arc<Delivery>| matches!(it.state, DeliveryState::Dead { .. });
        let first = posted(&outbox, (0..9_999).map(granted).collect());
        assert_eq!(first.iter().filter(is_dead).count(), 0);
        outbox.apply(&first.into_iter().map(DeliveryWrite::Put).collect::<Vec<_>>());
        let more = posted(&outbox, (0..3).map(granted).collect());
        let dead: Vec<u64> = more.iter().filter(is_dead).map(|it| it.number.0).collect();
        assert_eq!((more.len(), dead), (5, vec![1, 2]));
        assert_eq!(more[0].error.as_deref(), Some(SHED));
        outbox.apply(&more.into_iter().map(DeliveryWrite::Put).collect::<Vec<_>>());
        assert_eq!(outbox.lanes["a"].waiting.len(), 10_000);
        // More at once than may wait at all.
        let flood = posted(&outbox, (0..10_007).map(granted).collect());
        outbox.apply(&flood.into_iter().map(DeliveryWrite::Put).collect::<Vec<_>>());
        let lane = &outbox.lanes["a"];
        assert_eq!((lane.waiting.len(), lane.dead.len()), (10_000, 10_009));
        assert_eq!(lane.waiting.keys().next().unwrap().0, 10_010);
    }
}
