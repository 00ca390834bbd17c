//! Which source is due when. No event costs more than the source that it is about: with ten
//! thousand tenants something happens all the time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::progress::Progress;
use super::task::TaskStatus;
use crate::domain::{Run, RunId, SourceKey, Trigger};

/// One source and scope.
struct Slot {
    state: State,
    due: Instant,
    /// The source is failing: nudges wait for the backoff.
    failing: bool,
    /// Whether it has ended a run since the start.
    ran: bool,
    /// Asked for while a run was under way, or waiting for its turn.
    next: Next,
    /// Who waits for the run under way.
    waiting: Vec<oneshot::Sender<Run>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    Queued,
    Running(RunId),
}

/// What the next run is to do.
#[derive(Default)]
pub(super) struct Next {
    pub(super) trigger: Option<Trigger>,
    pub(super) full: bool,
    /// Somebody has mended what the source fails for: its backoff does not count.
    anyway: bool,
    pub(super) progress: Vec<mpsc::Sender<Progress>>,
    waiting: Vec<oneshot::Sender<Run>>,
}

/// An operator's wish.
pub(super) struct Wish {
    pub(super) full: bool,
    pub(super) progress: mpsc::Sender<Progress>,
    pub(super) done: oneshot::Sender<Run>,
}

/// See the module.
///
/// Invariant: `due` holds the idle slots, each once.
#[derive(Default)]
pub(super) struct Agenda {
    slots: BTreeMap<SourceKey, Slot>,
    due: BTreeSet<(Instant, SourceKey)>,
    /// Due, and somebody waits for it: before the others.
    asked: VecDeque<SourceKey>,
    /// Due, in the order in which they came.
    ready: VecDeque<SourceKey>,
}

impl Agenda {
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn has(&self, key: SourceKey) -> bool {
        self.slots.contains_key(&key)
    }

    /// Takes a source in that is to be read first at this time. One that is there stays as it is.
    pub(super) fn add(&mut self, key: SourceKey, trigger: Trigger, due: Instant) {
        if self.has(key) {
            return;
        }
        let next = Next { trigger: Some(trigger), ..Next::default() };
        let (state, waiting) = (State::Idle, Vec::new());
        self.slots.insert(key, Slot { state, due, failing: false, ran: false, next, waiting });
        self.due.insert((due, key));
    }

    /// Somebody waits for a run that begins from now on; `Err` gives the wish back when the source
    /// is not known.
    pub(super) fn wish(&mut self, key: SourceKey, wish: Wish, now: Instant) -> Result<(), Wish> {
        let Some(slot) = self.slots.get_mut(&key) else { return Err(wish) };
        slot.next.trigger = Some(Trigger::Manual);
        slot.next.full |= wish.full;
        slot.next.progress.push(wish.progress);
        slot.next.waiting.push(wish.done);
        match slot.state {
            State::Idle => self.put_off(key, now),
            // Before those with whom it waited: there it is passed over.
            State::Queued => self.asked.push_back(key),
            State::Running(_) => {}
        }
        Ok(())
    }

    /// Asks for a run soon; a source that is failing keeps to its backoff, or a storm of nudges
    /// would defeat it.
    pub(super) fn nudge(&mut self, key: SourceKey, trigger: Trigger, now: Instant) {
        let Some(slot) = self.slots.get_mut(&key).filter(|it| !it.failing) else { return };
        slot.next.trigger.get_or_insert(trigger);
        if slot.state == State::Idle {
            self.put_off(key, now);
        }
    }

    /// Asks for a run now, whether the source is failing or not: somebody has mended what it failed
    /// for. Whether the source is known.
    pub(super) fn look_now(&mut self, key: SourceKey, trigger: Trigger, now: Instant) -> bool {
        let Some(slot) = self.slots.get_mut(&key) else { return false };
        slot.next.trigger.get_or_insert(trigger);
        slot.next.anyway = true;
        if slot.state == State::Idle {
            self.put_off(key, now);
        }
        true
    }

    /// Moves what is due by now to those that are ready.
    pub(super) fn call_due(&mut self, now: Instant) {
        while self.due.first().is_some_and(|(due, _)| *due <= now) {
            let Some((_, key)) = self.due.pop_first() else { return };
            let Some(slot) = self.slots.get_mut(&key) else { continue };
            slot.state = State::Queued;
            let line = if slot.next.waiting.is_empty() { &mut self.ready } else { &mut self.asked };
            line.push_back(key);
        }
    }

    /// When the next source is due.
    pub(super) fn first_due(&self) -> Option<Instant> {
        self.due.first().map(|(due, _)| *due)
    }

    /// The next run to begin, by this number.
    pub(super) fn begin(&mut self, id: impl FnOnce() -> RunId) -> Option<(SourceKey, RunId, Next)> {
        while let Some(key) = self.asked.pop_front().or_else(|| self.ready.pop_front()) {
            let Some(slot) = self.slots.get_mut(&key) else { continue };
            if slot.state != State::Queued {
                continue; // it was asked for meanwhile and has had its turn
            }
            let id = id();
            slot.state = State::Running(id);
            let mut next = std::mem::take(&mut slot.next);
            slot.waiting = std::mem::take(&mut next.waiting);
            return Some((key, id, next));
        }
        None
    }

    /// A run has ended: the source rests, unless it was asked for meanwhile. The first rest is
    /// shortened by a share of its own, so that sources that began together drift apart.
    pub(super) fn end(&mut self, run: &Run, failing: bool, rest: Duration, now: Instant) {
        let key = run.key;
        let Some(slot) = self.slots.get_mut(&key) else { return };
        let rest = if slot.ran || failing { rest } else { rest.mul_f64(share(run.id)) };
        slot.ran = true;
        slot.failing = failing;
        slot.state = State::Idle;
        for waiting in slot.waiting.drain(..) {
            // Whoever asked may have gone away; the run stands in the log all the same.
            drop(waiting.send(run.clone()));
        }
        let hinted = slot.next.trigger.is_some() && (!failing || slot.next.anyway);
        let again = !slot.next.waiting.is_empty() || hinted;
        slot.due = if again { now } else { now + rest };
        self.due.insert((slot.due, key));
    }

    fn put_off(&mut self, key: SourceKey, due: Instant) {
        let Some(slot) = self.slots.get_mut(&key) else { return };
        self.due.remove(&(slot.due, key));
        slot.due = due;
        self.due.insert((due, key));
    }

    /// Every source, and what it is doing; `instant` and `now` are the same moment.
    pub(super) fn status(&self, instant: Instant, now: Timestamp) -> Vec<TaskStatus> {
        let of = |(key, slot): (&SourceKey, &Slot)| TaskStatus {
            key: *key,
            running: match slot.state {
                State::Running(id) => Some(id),
                State::Idle | State::Queued => None,
            },
            next_due: match slot.state {
                State::Idle => {
                    let left = slot.due.saturating_duration_since(instant);
                    SignedDuration::try_from(left).ok().and_then(|left| now.checked_add(left).ok())
                }
                State::Queued | State::Running(_) => None,
            },
        };
        self.slots.iter().map(of).collect()
    }
}

/// From a half to the whole, by a number.
fn share(run: RunId) -> f64 {
    let draw = u32::try_from(run.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33).unwrap_or(0);
    0.5 + f64::from(draw) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Outcome, TenantId};
    use uuid::Uuid;

    fn key(tenant: u128) -> SourceKey {
        SourceKey::directory(TenantId::from_uuid(Uuid::from_u128(tenant)).unwrap())
    }

    fn run(key: SourceKey, id: RunId) -> Run {
        Run {
            id,
            key,
            trigger: Trigger::Schedule,
            full: false,
            started: Timestamp::UNIX_EPOCH,
            ended: Timestamp::UNIX_EPOCH,
            outcome: Outcome::Complete,
            seen: 0,
            added: 0,
            changed: 0,
            removed: 0,
            odd: 0,
            requests: 0,
            throttled: SignedDuration::ZERO,
            error: None,
        }
    }

    fn wish() -> (Wish, oneshot::Receiver<Run>) {
        let (done, run) = oneshot::channel();
        (Wish { full: true, progress: mpsc::channel(1).0, done }, run)
    }

    fn begin(agenda: &mut Agenda) -> Option<SourceKey> {
        agenda.begin(|| RunId(1)).map(|(key, ..)| key)
    }

    #[test]
    fn what_somebody_waits_for_comes_before_what_is_only_due() {
        let (mut agenda, now) = (Agenda::default(), Instant::now());
        for tenant in 1..=4 {
            agenda.add(key(tenant), Trigger::Start, now);
        }
        agenda.call_due(now);
        let (wish_3, mut answer) = wish();
        assert!(agenda.wish(key(3), wish_3, now).is_ok());
        let order: Vec<_> = std::iter::from_fn(|| begin(&mut agenda)).collect();
        assert_eq!(order, [key(3), key(1), key(2), key(4)], "and nobody twice");
        agenda.end(&run(key(3), RunId(1)), false, Duration::from_mins(10), now);
        assert_eq!(answer.try_recv().unwrap().key, key(3));
        assert!(agenda.wish(key(9), wish().0, now).is_err(), "not known");
    }

    #[test]
    fn asked_for_while_it_runs_it_runs_once_more_and_only_once() {
        let (mut agenda, now) = (Agenda::default(), Instant::now());
        agenda.add(key(1), Trigger::Start, now);
        agenda.call_due(now);
        assert_eq!(begin(&mut agenda), Some(key(1)));
        for _ in 0..3 {
            agenda.nudge(key(1), Trigger::Notification, now);
        }
        assert_eq!(agenda.first_due(), None, "two runs of one source never overlap");
        agenda.end(&run(key(1), RunId(1)), false, Duration::from_mins(10), now);
        agenda.call_due(now);
        assert_eq!((begin(&mut agenda), begin(&mut agenda)), (Some(key(1)), None));
        agenda.end(&run(key(1), RunId(2)), true, Duration::from_mins(10), now);
        agenda.nudge(key(1), Trigger::Notification, now);
        assert_eq!(agenda.first_due(), Some(now + Duration::from_mins(10)), "it is failing");
    }

    #[test]
    fn tenants_that_began_together_are_spread_over_the_period() {
        let (mut agenda, now) = (Agenda::default(), Instant::now());
        let rest = Duration::from_mins(10);
        for tenant in 1..=1_000 {
            agenda.add(key(tenant), Trigger::Start, now);
        }
        agenda.call_due(now);
        let mut number = 0;
        while let Some((key, id, _)) = agenda.begin(|| {
            number += 1;
            RunId(number)
        }) {
            agenda.end(&run(key, id), false, rest, now);
        }
        let within = |minute: u64| {
            let range = now + Duration::from_mins(minute)..now + Duration::from_mins(minute + 1);
            agenda.due.iter().filter(|(due, _)| range.contains(due)).count()
        };
        let by_minute: Vec<_> = (0..10).map(within).collect();
        assert!(by_minute[5..].iter().all(|it| (150..250).contains(it)), "{by_minute:?}");
        assert_eq!(agenda.status(now, Timestamp::UNIX_EPOCH).len(), 1_000);
    }

    #[test]
    fn somebody_who_mended_it_is_not_kept_waiting_by_the_backoff() {
        let (mut agenda, start) = (Agenda::default(), Instant::now());
        assert!(!agenda.look_now(key(1), Trigger::Manual, start), "nobody knows it");
        agenda.add(key(1), Trigger::Start, start);
        agenda.call_due(start);
        let (of, id, _) = agenda.begin(|| RunId(1)).unwrap();
        agenda.end(&run(of, id), true, Duration::from_hours(1), start);
        let due = agenda.first_due().unwrap();
        assert!(due > start);
        agenda.nudge(key(1), Trigger::Notification, start);
        assert_eq!(agenda.first_due(), Some(due), "a nudge waits");
        assert!(agenda.look_now(key(1), Trigger::Manual, start));
        assert_eq!(agenda.first_due(), Some(start));
        // While it runs, it is remembered: what the run read may be from before.
        agenda.call_due(start);
        let (of, id, _) = agenda.begin(|| RunId(2)).unwrap();
        assert!(agenda.look_now(key(1), Trigger::Manual, start));
        agenda.end(&run(of, id), true, Duration::from_hours(1), start);
        assert_eq!(agenda.first_due(), Some(start));
    }
}
