//! Mirror × readings of subscriptions → commit: the same for the list, a webhook and a closer look.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::super::subscriptions::{Listing, Record};
use super::super::{Begun, Tally};
use crate::domain::{
    Cause, Change, Commit, Life, Mirror, OddRecord, RawRecord, Subscription, SubscriptionId,
    SubscriptionStatus, Tenant, TenantId, Unread, Whose,
};
use crate::microsoft::Glimpse;

/// What a whole list of subscriptions changes. `newer` are those of which something newer than the
/// list is known.
///
/// What the list lacks is noted and never taken for gone; what nobody could read is remembered as
/// such, until somebody can or the list no longer holds it.
pub(crate) fn subscriptions(
    mirror: &Mirror,
    listing: Listing,
    newer: &BTreeSet<SubscriptionId>,
    begun: &Begun,
    now: Timestamp,
) -> (Commit, Tally) {
    let cause = begun.cause();
    let count = u64::try_from(listing.odd.len()).unwrap_or(u64::MAX);
    let records = listing.records.into_iter().map(|(id, (record, _))| (id, record)).collect();
    let (mut commit, tally) = changed(mirror, records, &cause, now);
    let mut held: BTreeMap<Arc<str>, Unread> = BTreeMap::new();
    for it in listing.odd.iter().map(|it| unread(mirror, it, None)) {
        let known = it.id.is_some_and(|id| listing.listed.contains(&id) || newer.contains(&id));
        if !known {
            held.insert(Arc::clone(&it.key), it);
        }
    }
    let odd_ids: BTreeSet<SubscriptionId> = held.values().filter_map(|it| it.id).collect();
    for it in held.values() {
        note_unread(mirror, it, &cause, now, &mut commit);
    }
    for it in mirror.unread().filter(|it| it.id.is_none() && !held.contains_key(&it.key)) {
        forget_unread(it, "the list no longer holds it", &cause, now, &mut commit);
    }
    for it in mirror.subscriptions() {
        if listing.listed.contains(&it.id) {
            listed_again(mirror, it, &cause, now, &mut commit);
        }
        let there = [&listing.listed, &odd_ids, newer].iter().any(|ids| ids.contains(&it.id));
        if !there && it.status != SubscriptionStatus::Unsubscribed {
            note_missing(mirror, it, &cause, now, &mut commit);
        }
    }
    (Commit { odd: listing.odd, ..commit }, Tally { seen: listing.seen, odd: count, ..tally })
}

/// What readings of subscriptions change, whoever made them.
pub(crate) fn changed(
    mirror: &Mirror,
    readings: BTreeMap<SubscriptionId, Record>,
    cause: &Cause,
    now: Timestamp,
) -> (Commit, Tally) {
    let (mut commit, mut tally) = (Commit::default(), Tally::default());
    let mut tenants = BTreeSet::new();
    for (id, reading) in readings {
        tenants.extend(reading.0.beneficiary.tenant_id());
        if let Some(it) = mirror.unread_at(&id.to_string()) {
            forget_unread(it, "it can be read", cause, now, &mut commit);
        }
        let before = mirror.subscription(id).map(AsRef::as_ref);
        let life = before.map(|it| mirror.life(it));
        let (subscription, raw) = without_the_purged(reading, life.as_ref());
        match before {
            Some(before) if before.says_the_same(&subscription) => continue,
            Some(_) => tally.changed = tally.changed.saturating_add(1),
            None => tally.added = tally.added.saturating_add(1),
        }
        commit.changes.push(Change::of_subscription(now, cause.clone(), before, &subscription));
        let next = Life::after(before.zip(life.as_ref()), &subscription);
        let known = life.and_then(|it| it.undocumented);
        if let Some(step) = next.undocumented.as_ref().filter(|it| known.as_ref() != Some(it)) {
            let words = format!("{step}, which Microsoft does not document: taken over");
            note(&subscription, (None, Some(words)), cause, now, &mut commit);
        }
        commit.lives.push((id, next));
        commit.subscriptions.push((subscription, raw));
    }
    for tenant in tenants.into_iter().filter(|it| mirror.tenant(*it).is_none()) {
        commit.tenants.push(Tenant::heard_of(tenant, None));
    }
    (commit, tally)
}

/// What a subscription that was asked for by its id and could not be understood changes: nothing
/// but that this is remembered.
pub(crate) fn odd(
    mirror: &Mirror,
    odd: OddRecord,
    asked: SubscriptionId,
    cause: &Cause,
    now: Timestamp,
) -> Commit {
    let mut commit = Commit::default();
    note_unread(mirror, &unread(mirror, &odd, Some(asked)), cause, now, &mut commit);
    commit.odd.push(odd);
    commit
}

/// What it changes that Microsoft does not know a subscription of this id: what could not be read
/// of it is over. A mirrored one stays as it is.
pub(crate) fn unknown(
    mirror: &Mirror,
    id: SubscriptionId,
    cause: &Cause,
    now: Timestamp,
) -> Commit {
    let mut commit = Commit::default();
    if let Some(it) = mirror.unread_at(&id.to_string()) {
        forget_unread(it, "Microsoft knows no such subscription", cause, now, &mut commit);
    }
    commit
}

/// The list shows an ended subscription for years: what was purged of it stays so.
fn without_the_purged(reading: Record, life: Option<&Life>) -> Record {
    let ended = reading.0.status == SubscriptionStatus::Unsubscribed;
    if ended && life.is_some_and(|it| it.purged_at.is_some()) {
        (reading.0.purged(), RawRecord::from(""))
    } else {
        reading
    }
}

/// Only the list can say that the list holds it again.
fn listed_again(
    mirror: &Mirror,
    it: &Subscription,
    cause: &Cause,
    now: Timestamp,
    commit: &mut Commit,
) {
    let life = mirror.life(it);
    if life.missing_since.is_none() {
        return;
    }
    match commit.lives.iter_mut().find(|(id, _)| *id == it.id) {
        Some((_, next)) => next.missing_since = None,
        None => commit.lives.push((it.id, Life { missing_since: None, ..life })),
    }
    note(it, (Some(MISSING.to_owned()), None), cause, now, commit);
}

const MISSING: &str = "a complete list lacks it: kept as it is";

fn note_missing(
    mirror: &Mirror,
    it: &Subscription,
    cause: &Cause,
    now: Timestamp,
    commit: &mut Commit,
) {
    let life = mirror.life(it);
    if life.missing_since.is_none() {
        commit.lives.push((it.id, Life { missing_since: Some(now), ..life }));
        note(it, (None, Some(MISSING.to_owned())), cause, now, commit);
    }
}

fn note(
    it: &Subscription,
    (before, after): (Option<String>, Option<String>),
    cause: &Cause,
    now: Timestamp,
    commit: &mut Commit,
) {
    let tenant = it.beneficiary.tenant_id();
    let id = it.id.to_string();
    commit.changes.push(Change::noted(now, cause.clone(), (id.into(), tenant), before, after));
}

/// Whose a record may be that could not be understood.
fn unread(mirror: &Mirror, odd: &OddRecord, asked: Option<SubscriptionId>) -> Unread {
    let seen = Glimpse::of(&odd.raw);
    let id = asked.or(seen.id);
    let known = id.and_then(|id| mirror.subscription(id));
    let whose = match (seen.tenant, known.map(|it| it.beneficiary)) {
        (Some(tenant), _) => TenantId::from_uuid(tenant).map_or(Whose::Nobody, Whose::Tenant),
        (None, Some(known)) => known.tenant_id().map_or(Whose::Nobody, Whose::Tenant),
        (None, None) => Whose::Anybody,
    };
    let key =
        id.map_or_else(|| format!("record {:016x}", fingerprint(&odd.raw)), |it| it.to_string());
    Unread {
        key: key.into(),
        id,
        whose,
        offer: seen.offer.or_else(|| known.map(|it| Arc::clone(&it.offer))),
        plan: seen.plan,
        since: odd.at,
        why: Arc::clone(&odd.why),
    }
}

/// Tells records apart that do not even say their id.
fn fingerprint(raw: &str) -> u64 {
    let next = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    raw.bytes().fold(0xcbf2_9ce4_8422_2325, next)
}

fn note_unread(mirror: &Mirror, it: &Unread, cause: &Cause, now: Timestamp, commit: &mut Commit) {
    let before = mirror.unread_at(&it.key);
    if before.is_some_and(|before| before.says_the_same(it)) {
        return;
    }
    let since = before.map_or(it.since, |before| before.since);
    let words = |it: &Unread| format!("could not be read: {}", it.why);
    let thing = (Arc::clone(&it.key), tenant_of(it));
    let was = before.map(|it| words(it));
    commit.changes.push(Change::noted(now, cause.clone(), thing, was, Some(words(it))));
    commit.unread.push((Arc::clone(&it.key), Some(Unread { since, ..it.clone() })));
}

fn forget_unread(it: &Unread, why: &str, cause: &Cause, now: Timestamp, commit: &mut Commit) {
    let thing = (Arc::clone(&it.key), tenant_of(it));
    let (before, after) = (format!("could not be read: {}", it.why), why.to_owned());
    commit.changes.push(Change::noted(now, cause.clone(), thing, Some(before), Some(after)));
    commit.unread.push((Arc::clone(&it.key), None));
}

const fn tenant_of(it: &Unread) -> Option<TenantId> {
    match it.whose {
        Whose::Tenant(tenant) => Some(tenant),
        Whose::Anybody | Whose::Nobody => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Party, RunId, SourceKey, Trigger};
    use uuid::Uuid;

    const ODD: &str = r#"{"id": "00000000-0000-0000-0000-000000000009", "quantity": "many"}"#;

    fn at(minutes: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_mins(minutes)
    }

    fn id(number: u128) -> SubscriptionId {
        SubscriptionId::from_uuid(Uuid::from_u128(number))
    }

    fn subscription(number: u128, status: &str) -> Subscription {
        Subscription {
            id: id(number),
            plan: "team".into(),
            name: "somebody's".into(),
            status: SubscriptionStatus::from_word(status),
            beneficiary: Party { tenant: Some(Uuid::from_u128(77)), user: None },
            observed_at: at(0),
            ..Subscription::sample()
        }
    }

    fn odd_record(raw: &str) -> OddRecord {
        let (key, why) = (SourceKey::SUBSCRIPTIONS, "it is odd".into());
        OddRecord { at: at(0), key, why, raw: raw.into() }
    }

    /// The mirror after a list of these records, of which something newer is known of some.
    fn listed(
        mirror: &Mirror,
        records: &[(u128, &str)],
        odd: &[&str],
        newer: &[u128],
    ) -> (Mirror, Commit) {
        let begun = Begun {
            id: RunId(1),
            key: SourceKey::SUBSCRIPTIONS,
            trigger: Trigger::Schedule,
            full: true,
            started: at(0),
        };
        let mut listing = Listing::default();
        for (number, status) in records {
            let record = (subscription(*number, status), RawRecord::from("{}"));
            listing.listed.insert(id(*number));
            listing.records.insert(id(*number), (record, listing.began));
        }
        listing.odd = odd.iter().map(|raw| odd_record(raw)).collect();
        let newer = newer.iter().map(|it| id(*it)).collect();
        let (commit, _) = subscriptions(mirror, listing, &newer, &begun, at(1));
        (mirror.applied(&commit), commit)
    }

    fn missing(mirror: &Mirror) -> Vec<u128> {
        let lacks = |it: &&Arc<Subscription>| mirror.life(it).missing_since.is_some();
        mirror.subscriptions().filter(lacks).map(|it| it.id.as_uuid().as_u128()).collect()
    }

    #[test]
    fn what_a_list_lacks_is_noted_unless_it_ended_or_came_meanwhile() {
        let live = "Subscribed";
        let all = [(1, live), (2, live), (3, "Unsubscribed"), (4, live)];
        let (mirror, _) = listed(&Mirror::default(), &all, &[], &[]);
        let (mirror, commit) = listed(&mirror, &[(1, live)], &[], &[4]);
        assert_eq!((missing(&mirror), commit.changes.len()), (vec![2], 1));
        let (mirror, commit) = listed(&mirror, &[(1, live)], &[], &[4]);
        assert_eq!((missing(&mirror), commit.changes.len()), (vec![2], 0), "said once");
        let readings = [(id(2), (subscription(2, live), RawRecord::from("{}")))].into();
        let (commit, _) = changed(&mirror, readings, &Cause::Command, at(1));
        assert!(commit.lives.is_empty(), "only a list can say that the list has it");
        let (mirror, commit) = listed(&mirror, &[(1, live), (2, "Suspended"), (4, live)], &[], &[]);
        assert_eq!((missing(&mirror), commit.changes.len()), (vec![], 2));
    }

    #[test]
    fn what_cannot_be_read_is_remembered_until_it_can() {
        let unread = |mirror: &Mirror| mirror.unread().map(|it| it.whose).collect::<Vec<_>>();
        let (mirror, commit) = listed(&Mirror::default(), &[], &[ODD, "{}"], &[]);
        assert_eq!((unread(&mirror), commit.changes.len()), (vec![Whose::Anybody; 2], 2));
        let (mirror, commit) = listed(&mirror, &[], &[ODD, "{}"], &[]);
        assert_eq!((commit.changes.len(), commit.unread.len()), (0, 0), "nothing new");
        let (mirror, _) = listed(&mirror, &[], &[], &[]);
        assert_eq!(mirror.unread().filter_map(|it| it.id).collect::<Vec<_>>(), [id(9)]);
        let gone = unknown(&mirror, id(9), &Cause::Command, at(2));
        assert_eq!(mirror.applied(&gone).unread().count(), 0);
        let (mirror, _) = listed(&mirror, &[(9, "Subscribed")], &[], &[]);
        assert_eq!(mirror.unread().count(), 0);
        // It was read alone while the list was on its way.
        let (mirror, _) = listed(&mirror, &[], &[ODD], &[9]);
        assert_eq!(mirror.unread().count(), 0);
        // Of one that is known it is known whose it is.
        let (mirror, _) = listed(&mirror, &[], &[ODD], &[]);
        let tenant = TenantId::from_uuid(Uuid::from_u128(77)).unwrap();
        assert_eq!(unread(&mirror), [Whose::Tenant(tenant)]);
        assert!(missing(&mirror).is_empty(), "odd is not missing");
    }

    #[test]
    fn what_was_purged_stays_so_while_it_is_over() {
        let (mirror, _) = listed(&Mirror::default(), &[(1, "Unsubscribed")], &[], &[]);
        let it = mirror.subscription(id(1)).unwrap();
        let life = Life { purged_at: Some(at(9)), ..mirror.life(it) };
        let subscriptions = vec![(it.purged(), RawRecord::from(""))];
        let purge = Commit { lives: vec![(id(1), life)], subscriptions, ..Commit::default() };
        let purged = mirror.applied(&purge);
        let (same, commit) = listed(&purged, &[(1, "Unsubscribed")], &[], &[]);
        assert!(commit.subscriptions.is_empty() && commit.changes.is_empty());
        let (back, _) = listed(&same, &[(1, "Subscribed")], &[], &[]);
        assert_eq!(&*back.subscription(id(1)).unwrap().name, "somebody's");
        assert_eq!(back.life(back.subscription(id(1)).unwrap()).purged_at, None);
    }
}
