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
