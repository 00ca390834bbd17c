//! Usage on its way to disk: what each job makes of it, seen from after those before it in the group.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use jiff::Timestamp;

use super::{
    ANSWERS_MAX, ON_THE_WAY_MAX, Usage, UsageJob, UsageOutcome, UsageReceipt, UsageRepeat,
    UsageReply, UsageReport, UsageRequest, UsageVerdict,
};
use crate::domain::{
    Cause, Change, Commit, UsageAnswer, UsageEvent, UsageId, UsageKey, UsageState, UsageWrite,
};
use crate::store::licenses::Decided;

/// Usage on its way to disk: seen by what comes after it in the group.
#[derive(Debug, Default)]
pub(in crate::store) struct PendingUsage {
    puts: BTreeMap<UsageId, Arc<UsageEvent>>,
    by_key: HashMap<UsageKey, UsageId>,
    answers: HashMap<[u8; 32], UsageAnswer>,
}

impl PendingUsage {
    /// What is answered, and what must be written.
    pub(in crate::store) fn work(&mut self, usage: &Usage, job: UsageJob) -> (UsageReply, Commit) {
        let mut commit = Commit::default();
        let changed = match job {
            UsageJob::Take(request) => return self.take(usage, request),
            UsageJob::Close(now) => {
                let due: Vec<UsageId> = usage.due(now).collect();
                let due = due.into_iter().filter_map(|id| self.of(usage, id));
                let open = due.filter(|it| it.state == UsageState::Open);
                open.map(|it| it.with(UsageState::Closed)).collect()
            }
            UsageJob::Settle(verdicts, odd, now) => {
                let settled = self.settled(usage, verdicts);
                let over = settled.iter().filter(|it| it.state.over_since().is_some());
                commit.changes.extend(over.map(|it| Change::of_usage(now, None, it)));
                commit.odd = odd;
                settled
            }
            UsageJob::Revive(id, now) => {
                let dead = self.of(usage, id);
                let dead = dead.filter(|it| matches!(it.state, UsageState::Dead { .. }));
                let again = dead.map(|it| UsageEvent { tries: 0, ..it.with(UsageState::Closed) });
                let again: Vec<UsageEvent> = again.into_iter().collect();
                let by_hand =
                    again.iter().map(|it| Change::of_usage(now, Some(Cause::Command), it));
                commit.changes.extend(by_hand);
                again
            }
            UsageJob::Prune(now) => {
                commit.usage = usage.outdated(now);
                return (UsageReply::Events(Vec::new()), commit);
            }
        };
        let changed: Vec<Arc<UsageEvent>> = changed.into_iter().map(Arc::new).collect();
        for event in &changed {
            commit.usage.push(self.put(event));
        }
        (UsageReply::Events(changed), commit)
    }

    fn settled(&self, usage: &Usage, verdicts: Vec<UsageVerdict>) -> Vec<UsageEvent> {
        let settle = |it: UsageVerdict| {
            let event = self.of(usage, it.id)?;
            let closed = event.state == UsageState::Closed;
            closed.then(|| UsageEvent { tries: it.tries, ..event.with(it.state) })
        };
        verdicts.into_iter().filter_map(settle).collect()
    }

    /// What is known of this idempotency key; `None` when it is new and there is room for it.
    pub(in crate::store) fn known(&self, usage: &Usage, it: UsageRepeat) -> Option<Decided> {
        let UsageRepeat { key, body } = it;
        if let Some(known) = self.answers.get(&key) {
            let same = known.body == body;
            let before = || Decided::Before(Some(Arc::clone(&known.answer)));
            return Some(if same { before() } else { Decided::OtherBody });
        }
        if let Some((known, _)) = usage.answers.get(&key) {
            return Some(if *known == body { Decided::Before(None) } else { Decided::OtherBody });
        }
        let full = usage.answers.len().saturating_add(self.answers.len()) >= ANSWERS_MAX;
        full.then_some(Decided::Full)
    }

    /// Remembers what is answered under this idempotency key.
    pub(in crate::store) fn remember(
        &mut self,
        UsageRepeat { key, body }: UsageRepeat,
        at: Timestamp,
        answer: impl Into<Arc<[u8]>>,
    ) -> UsageWrite {
        let it = UsageAnswer { key, body, at, answer: answer.into() };
        self.answers.insert(key, it.clone());
        UsageWrite::Remember(it)
    }

    fn take(&mut self, usage: &Usage, request: UsageRequest) -> (UsageReply, Commit) {
        let nothing = |receipt| (UsageReply::Receipt(receipt), Commit::default());
        match request.repeat.and_then(|it| self.known(usage, it)) {
            None => {}
            Some(Decided::Before(Some(answer))) => return nothing(UsageReceipt::Again(answer)),
            Some(Decided::Before(None) | Decided::Now) => {
                return (UsageReply::Events(Vec::new()), Commit::default());
            }
            Some(Decided::OtherBody) => return nothing(UsageReceipt::OtherBody),
            Some(Decided::Full) => return nothing(UsageReceipt::Full),
        }
        let mut commit = Commit::default();
        let mut outcomes = Vec::with_capacity(request.reports.len());
        for report in request.reports {
            let outcome = self.add(usage, report, &request.caller, request.now);
            if let UsageOutcome::Taken(event) = &outcome {
                commit.usage.push(self.put(event));
            }
            outcomes.push(outcome);
        }
        let answer: Arc<[u8]> = (request.answer)(&outcomes).into();
        // What changed nothing may be corrected under the same idempotency key.
        let taken = request.repeat.filter(|_| !commit.usage.is_empty());
        if let Some(repeat) = taken {
            commit.usage.push(self.remember(repeat, request.now, Arc::clone(&answer)));
        }
        (UsageReply::Receipt(UsageReceipt::Done { outcomes, answer }), commit)
    }

    fn add(
        &self,
        usage: &Usage,
        it: UsageReport,
        caller: &Arc<str>,
        now: Timestamp,
    ) -> UsageOutcome {
        let id = self.by_key.get(&it.key).or_else(|| usage.by_key.get(&it.key));
        let event = if let Some(known) = id.and_then(|id| self.of(usage, *id)) {
            if known.state != UsageState::Open {
                return UsageOutcome::Closed(known);
            }
            let Some(quantity) = known.quantity.plus(it.quantity) else {
                return UsageOutcome::TooLarge;
            };
            let newest = it.at >= known.effective;
            UsageEvent {
                plan: if newest { it.plan } else { Arc::clone(&known.plan) },
                effective: known.effective.max(it.at),
                quantity,
                reports: known.reports.saturating_add(1),
                last: now,
                caller: Arc::clone(caller),
                ..(*known).clone()
            }
        } else {
            let on_the_way = usage.open.len().saturating_add(usage.closed.len());
            if on_the_way.saturating_add(self.puts.len()) >= ON_THE_WAY_MAX {
                return UsageOutcome::Full;
            }
            let last = self.puts.keys().next_back().max(usage.all.keys().next_back());
            UsageEvent {
                id: UsageId(last.map_or(1, |it| it.0.saturating_add(1))),
                key: it.key,
                plan: it.plan,
                effective: it.at,
                quantity: it.quantity,
                reports: 1,
                first: now,
                last: now,
                caller: Arc::clone(caller),
                tries: 0,
                state: UsageState::Open,
            }
        };
        UsageOutcome::Taken(Arc::new(event))
    }

    fn of(&self, usage: &Usage, id: UsageId) -> Option<Arc<UsageEvent>> {
        self.puts.get(&id).map(Arc::clone).or_else(|| usage.of(id))
    }

    fn put(&mut self, event: &Arc<UsageEvent>) -> UsageWrite {
        self.by_key.insert(event.key.clone(), event.id);
        self.puts.insert(event.id, Arc::clone(event));
        UsageWrite::Put(Arc::clone(event))
    }
}
