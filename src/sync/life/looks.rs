//! Which subscriptions are read alone, when, and what becomes of it.
//!
//! A purchase that waits, a suspension, a deadline that passed, a status that we do not know,
//! something that a complete list lacked or that could not be read, an order of ours of which no end
//! was seen: each may change at any moment, with or without a webhook. They are read more often than
//! the list, the young ones most; never more than a few at once and so many a minute, and not while
//! the list itself cannot be read.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream;
use jiff::{SignedDuration, Timestamp};
use tokio::time::timeout;
use tracing::{info, warn};

use super::LifeFigures;
use crate::domain::{
    Cause, Commit, Mirror, OddRecord, Outcome, Run, SourceKey, SubscriptionId, SubscriptionStatus,
    Trigger, deadlines, has_passed,
};
use crate::microsoft::{ErrorKind, Meter, MicrosoftError, Read};
use crate::sync::inbox::{Ticket, keep_newer, note_missed};
use crate::sync::orders::under_way;
use crate::sync::subscriptions::Record;
use crate::sync::{Sources, SyncError, Tally, plan};

/// Subscriptions that are read at once.
const AT_ONCE: usize = 5;
/// Subscriptions that are read in one round,
const A_ROUND: usize = 30;
/// and how often there is one: so many a minute.
const ROUND_EVERY: SignedDuration = SignedDuration::from_mins(1);
/// The longest that one look may take.
const LOOK_MAX: Duration = Duration::from_secs(15);
/// The longest pause after rounds that failed.
const PAUSE_MAX: SignedDuration = SignedDuration::from_mins(15);

/// Why a subscription is read alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wanted {
    /// Since when it is worth a look.
    since: Timestamp,
    /// Whether the list tells nothing of it.
    unlisted: bool,
}

/// When which subscription was looked at.
#[derive(Debug, Default)]
pub(super) struct Looks {
    last: HashMap<SubscriptionId, Timestamp>,
    round: Option<Timestamp>,
    /// Those that Microsoft does not know.
    unknown: BTreeSet<SubscriptionId>,
    /// Rounds that failed in a row, and until when none is made.
    failures: u32,
    pause: Option<Timestamp>,
}

/// How long a subscription rests after a look.
fn rest(age: SignedDuration) -> SignedDuration {
    let hours = age.as_hours();
    SignedDuration::from_mins(match hours {
        ..1 => 2,
        1..24 => 5,
        24..168 => 15,
        _ => 60,
    })
}

/// Which subscriptions are worth a look of their own.
fn wanted(mirror: &Mirror, now: Timestamp) -> BTreeMap<SubscriptionId, Wanted> {
    let mut found = BTreeMap::new();
    for it in mirror.subscriptions() {
        let life = mirror.life(it);
        let passed = deadlines(it, &life, now);
        let passed = passed.iter().filter(|it| it.kind.is_pressing() && it.is_past(now));
        let waits = match it.status {
            SubscriptionStatus::PendingFulfillmentStart => it.created.or(Some(life.since)),
            SubscriptionStatus::Suspended | SubscriptionStatus::Unrecognized(_) => Some(life.since),
            SubscriptionStatus::Subscribed | SubscriptionStatus::Unsubscribed => None,
        };
        let missing = life.missing_since.filter(|_| it.status != SubscriptionStatus::Unsubscribed);
        // The youngest reason speaks.
        let since = passed.map(|it| it.at).chain(waits).chain(missing).max();
        if let Some(since) = since {
            found.insert(it.id, Wanted { since, unlisted: missing.is_some() });
        }
    }
    for it in mirror.unread() {
        if let Some(id) = it.id {
            found.insert(id, Wanted { since: it.since, unlisted: true });
        }
    }
    for it in under_way(mirror, now) {
        let new = Wanted { since: it.since, unlisted: false };
        let known = found.entry(it.subscription).or_insert(new);
        known.since = known.since.max(it.since);
    }
    found
}

/// What a look found.
enum Found {
    Understood(Box<(Record, Ticket)>),
    Odd(OddRecord),
    Nothing,
    Trouble(Option<MicrosoftError>),
    /// It was not made: another one met trouble.
    Skipped,
}

impl Looks {
    /// Those that are due, the longest rested first; no more than one round takes.
    fn due(&mut self, mirror: &Mirror, now: Timestamp) -> Vec<SubscriptionId> {
        let state = mirror.source(SourceKey::SUBSCRIPTIONS);
        let listed = state.and_then(|it| it.last_complete);
        // While the list cannot be read, neither can these.
        let failing = state.is_none_or(|it| it.failures > 0) || listed.is_none();
        let early = self.round.is_some_and(|at| !has_passed(ROUND_EVERY, at, now));
        if failing || early || self.pause.is_some_and(|until| now < until) {
            return Vec::new();
        }
        let wanted = wanted(mirror, now);
        self.last.retain(|id, _| wanted.contains_key(id));
        let mut due: Vec<(Option<Timestamp>, SubscriptionId)> = wanted
            .iter()
            .map(|(id, it)| {
                let listed = listed.filter(|_| !it.unlisted);
                (self.last.get(id).copied().max(listed), *id, now.duration_since(it.since))
            })
            .filter(|(last, _, age)| last.is_none_or(|it| has_passed(rest(*age), it, now)))
            .map(|(last, id, _)| (last, id))
            .collect();
        due.sort_unstable();
        due.into_iter().take(A_ROUND).map(|(_, id)| id).collect()
    }

    /// Looks at those that are due and brings the mirror to what was read, by the same planning as
    /// the list. A round that changes something is a line of the sync log.
    ///
    /// # Errors
    ///
    /// [`SyncError::Store`] only.
    pub(super) async fn round(
        &mut self,
        sources: &Sources,
        figures: &LifeFigures,
        mirror: &Mirror,
        now: Timestamp,
    ) -> Result<(), SyncError> {
        let due = self.due(mirror, now);
        if due.is_empty() {
            return Ok(());
        }
        self.round = Some(now);
        self.last.extend(due.iter().map(|id| (*id, now)));
        let meter = Meter::new();
        let trouble = AtomicBool::new(false);
        let looks = due.into_iter().map(|id| look(sources, &meter, &trouble, id));
        let found: Vec<_> = stream::iter(looks).buffer_unordered(AT_ONCE).collect().await;
        self.judge(&found, now);
        self.tell_unknown(&found, mirror);
        take_over(sources, figures, found, &meter, now).await
    }

    /// Says of each once that Microsoft does not know it.
    fn tell_unknown(&mut self, found: &[(SubscriptionId, Found)], mirror: &Mirror) {
        for (id, found) in found {
            let news = match found {
                Found::Nothing => self.unknown.insert(*id) && mirror.subscription(*id).is_some(),
                Found::Understood(..) => {
                    self.unknown.remove(id);
                    false
                }
                Found::Odd(_) | Found::Trouble(_) | Found::Skipped => false,
            };
            if news {
                warn!(
                    subscription.id = %id,
                    "Microsoft knows no such subscription: kept as it is, nobody loses anything; \
                     compare with Partner Center"
                );
            }
        }
    }

    /// After trouble the next round waits, longer each time, and as long as Microsoft asks for.
    fn judge(&mut self, found: &[(SubscriptionId, Found)], now: Timestamp) {
        let trouble = found.iter().find_map(|(_, it)| match it {
            Found::Trouble(error) => Some(error.as_ref()),
            Found::Understood(..) | Found::Odd(_) | Found::Nothing | Found::Skipped => None,
        });
        let Some(error) = trouble else {
            (self.failures, self.pause) = (0, None);
            return;
        };
        self.failures = self.failures.saturating_add(1);
        let doubled = ROUND_EVERY.saturating_mul(1 << self.failures.min(4)).min(PAUSE_MAX);
        let asked = error.and_then(MicrosoftError::asked_wait);
        let asked = asked.and_then(|it| SignedDuration::try_from(it).ok()).unwrap_or_default();
        self.pause = now.checked_add(doubled.max(asked)).ok();
        if self.failures == 1 {
            let why = error.map_or_else(|| "it took too long".to_owned(), ToString::to_string);
            warn!(why, "Subscriptions cannot be looked at one by one: the list goes on");
        }
    }
}

async fn look(
    sources: &Sources,
    meter: &Meter,
    trouble: &AtomicBool,
    id: SubscriptionId,
) -> (SubscriptionId, Found) {
    if trouble.load(Ordering::Relaxed) {
        return (id, Found::Skipped);
    }
    let ticket = sources.ledger.ticket();
    let began = (sources.clock)();
    let read = timeout(LOOK_MAX, sources.microsoft.marketplace().subscription(meter, id)).await;
    let found = match read {
        Ok(Ok(Some(Read::Understood(mut it, raw)))) if it.id == id => {
            it.observed_at = began;
            Found::Understood(Box::new(((it, raw), ticket)))
        }
        Ok(Ok(Some(Read::Understood(_, raw)))) => {
            let why = "Microsoft answers with another subscription".into();
            Found::Odd(OddRecord { at: began, key: SourceKey::SUBSCRIPTIONS, why, raw })
        }
        Ok(Ok(Some(Read::Odd { why, raw }))) => {
            let (key, why) = (SourceKey::SUBSCRIPTIONS, why.into());
            Found::Odd(OddRecord { at: began, key, why, raw })
        }
        Ok(Ok(None)) => Found::Nothing,
        Ok(Err(error)) => Found::Trouble(Some(error)),
        Err(_elapsed) => Found::Trouble(None),
    };
    if let Found::Trouble(error) = &found {
        // One record that cannot be had stops no other; an API that is away does.
        let alone = error.as_ref().is_some_and(|it| it.kind() == ErrorKind::Unreadable);
        trouble.fetch_or(!alone, Ordering::Relaxed);
    }
    (id, found)
}

/// What was found, sorted.
#[derive(Default)]
struct Sorted {
    readings: BTreeMap<SubscriptionId, (Record, Ticket)>,
    odd: Vec<(SubscriptionId, OddRecord)>,
    nothing: Vec<SubscriptionId>,
    seen: u64,
}

async fn take_over(
    sources: &Sources,
    figures: &LifeFigures,
    found: Vec<(SubscriptionId, Found)>,
    meter: &Meter,
    started: Timestamp,
) -> Result<(), SyncError> {
    let mut sorted = Sorted::default();
    for (id, found) in found {
        sorted.seen = sorted.seen.saturating_add(1);
        match found {
            Found::Understood(reading) => drop(sorted.readings.insert(id, *reading)),
            Found::Odd(odd) => sorted.odd.push((id, odd)),
            Found::Nothing => sorted.nothing.push(id),
            Found::Trouble(_) => figures.looked("failed"),
            Found::Skipped => sorted.seen = sorted.seen.saturating_sub(1),
        }
    }
    let mut applied = sources.ledger.turn().await;
    let mirror = sources.store.snapshot();
    keep_newer(&mut applied, &mut sorted.readings, |(_, ticket)| *ticket);
    sorted.count(figures, &mirror);
    let now = (sources.clock)();
    let (trial, _) = sorted.plan(&mirror, &Cause::Command, now);
    if trial.changes.is_empty() && trial.lives.is_empty() {
        return Ok(());
    }
    let id = sources.store.next_run();
    let (mut commit, tally) = sorted.plan(&mirror, &Cause::Run(id), now);
    commit.runs.push(Run {
        id,
        key: SourceKey::SUBSCRIPTIONS,
        trigger: Trigger::Schedule,
        full: false,
        started,
        ended: now,
        outcome: if tally.odd == 0 { Outcome::Complete } else { Outcome::Partial },
        seen: tally.seen,
        added: tally.added,
        changed: tally.changed,
        removed: 0,
        odd: tally.odd,
        requests: meter.requests(),
        throttled: SignedDuration::try_from(meter.throttled()).unwrap_or(SignedDuration::MAX),
        error: None,
    });
    note_missed(sources, &mirror, &mut commit);
    sources.store.commit(commit).await?;
    drop(applied);
    info!(
        run.id = %id,
        run.seen = tally.seen,
        run.changed = tally.changed,
        "Closer looks at subscriptions found something new"
    );
    Ok(())
}

impl Sorted {
    fn count(&self, figures: &LifeFigures, mirror: &Mirror) {
        for (id, ((reading, _), _)) in &self.readings {
            let same = mirror.subscription(*id).is_some_and(|it| it.says_the_same(reading));
            figures.looked(if same { "same" } else { "changed" });
        }
        self.odd.iter().for_each(|_| figures.looked("odd"));
        self.nothing.iter().for_each(|_| figures.looked("missing"));
    }

    fn plan(&self, mirror: &Mirror, cause: &Cause, now: Timestamp) -> (Commit, Tally) {
        let records = self.readings.iter().map(|(id, (record, _))| (*id, record.clone()));
        let (mut commit, tally) = plan::changed(mirror, records.collect(), cause, now);
        let odd = self.odd.iter().map(|(id, it)| plan::odd(mirror, it.clone(), *id, cause, now));
        let nothing = self.nothing.iter().map(|id| plan::unknown(mirror, *id, cause, now));
        // What is odd as before is not written again.
        for part in odd.chain(nothing).filter(|it| !it.unread.is_empty()) {
            commit.changes.extend(part.changes);
            commit.unread.extend(part.unread);
            commit.odd.extend(part.odd);
        }
        let odd = u64::try_from(self.odd.len()).unwrap_or(u64::MAX);
        (commit, Tally { seen: self.seen, odd, ..tally })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Life, RawRecord, SourceState, Subscription};
    use uuid::Uuid;

    fn at(minutes: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minutes)
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
            created: Some(at(0)),
            observed_at: at(0),
            ..Subscription::sample()
        }
    }

    /// Listed at `listed`; a `!` in front of the status: and missing since then.
    fn mirror(statuses: &[&str], listed: i64) -> Mirror {
        let mut commit = Commit::default();
        for (number, status) in (1..).zip(statuses) {
            let it = subscription(number, status.trim_start_matches('!'));
            let missing = status.starts_with('!').then(|| at(listed));
            let life = Life { missing_since: missing, ..Life::unremembered(&it) };
            commit.lives.push((it.id, life));
            commit.subscriptions.push((it, RawRecord::from("{}")));
        }
        let state = SourceState { last_complete: Some(at(listed)), ..SourceState::default() };
        commit.sources.push((SourceKey::SUBSCRIPTIONS, state));
        Mirror::default().applied(&commit)
    }

    fn due(mirror: &Mirror, now: i64) -> usize {
        Looks::default().due(mirror, at(now)).len()
    }

    #[test]
    fn those_that_may_change_soon_are_looked_at_and_the_others_are_not() {
        let check = |status: &str, expected: usize| {
            assert_eq!(due(&mirror(&[status], 0), 3), expected, "{status}");
        };
        check("PendingFulfillmentStart", 1);
        check("Suspended", 1);
        check("Paused", 1);
        check("Subscribed", 0);
        check("Unsubscribed", 0);
        check("!Subscribed", 1);
        check("!Unsubscribed", 0);
    }

    #[test]
    fn the_older_it_is_the_longer_it_rests_and_a_list_is_a_look_too() {
        let pending = ["PendingFulfillmentStart"];
        let (hour, day) = (60, 24 * 60);
        for (listed, now, expected) in [
            (0, 1, 0),
            (0, 2, 1),
            (2 * hour, 2 * hour + 4, 0),
            (2 * hour, 2 * hour + 5, 1),
            (2 * day, 2 * day + 14, 0),
            (2 * day, 2 * day + 15, 1),
            (8 * day, 8 * day + 59, 0),
            (8 * day, 8 * day + 60, 1),
            // Past its deadline it is as young as that again.
            (30 * day, 30 * day + 2, 1),
        ] {
            assert_eq!(due(&mirror(&pending, listed), now), expected, "{listed} {now}");
        }
    }

    #[test]
    fn a_round_takes_so_many_and_the_next_one_waits_a_minute() {
        let mirror = mirror(&["Suspended"; 70], 0);
        let mut looks = Looks::default();
        let mut seen = BTreeSet::new();
        for now in [3, 4, 5] {
            let due = looks.due(&mirror, at(now));
            // The last ten have never been looked at: they come before those that rested.
            assert_eq!(due.len(), 30, "{now}");
            looks.round = Some(at(now));
            looks.last.extend(due.iter().map(|id| (*id, at(now))));
            seen.extend(due);
            assert!(looks.due(&mirror, at(now) + SignedDuration::from_secs(59)).is_empty());
        }
        looks.round = Some(at(9_999));
        assert_eq!(looks.due(&mirror, at(6)).len(), 30, "a clock that was set back stops nothing");
        assert_eq!(seen.len(), 70);
    }

    #[test]
    fn while_the_list_cannot_be_read_nothing_is() {
        let failing =
            SourceState { last_complete: Some(at(0)), failures: 1, ..SourceState::default() };
        let sources = vec![(SourceKey::SUBSCRIPTIONS, failing)];
        let mirror = mirror(&["Suspended"], 0).applied(&Commit { sources, ..Commit::default() });
        assert_eq!(due(&mirror, 60), 0);
    }

    #[test]
    fn trouble_makes_the_next_rounds_wait_longer_and_longer() {
        let mut looks = Looks::default();
        let trouble = [(id(1), Found::Trouble(None))];
        let pauses = (0..5).map(|_| {
            looks.judge(&trouble, at(0));
            looks.pause.unwrap().duration_since(at(0)).as_mins()
        });
        assert_eq!(pauses.collect::<Vec<_>>(), [2, 4, 8, 15, 15]);
        looks.judge(&[(id(1), Found::Nothing)], at(0));
        assert_eq!((looks.pause, looks.failures), (None, 0));
    }
}
