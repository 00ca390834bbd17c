//! Metered usage: reports are added up here, one at a time, so that what was acknowledged is in the
//! sum that is sent, exactly once. The events are in memory and on disk, answers to requests with an
//! idempotency key on disk only.

mod pending;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::committer::Job;
use super::layout::{self, Kind, Table};
use super::record::{self, UsageAnswerV1};
use super::{Store, StoreError, pieces};
use crate::domain::{
    OddRecord, Quantity, SubscriptionId, UsageAnswer, UsageEvent, UsageId, UsageKey, UsageState,
    UsageWrite,
};

pub(super) use self::pending::PendingUsage;

/// How many events may be on their way at once; reports that need one more are refused.
const ON_THE_WAY_MAX: usize = 200_000;

/// How many answers are remembered at once; requests that need one more are refused.
const ANSWERS_MAX: usize = 1_000_000;

/// How long an idempotency key is remembered.
///
/// Source: contract section 5.
pub const ANSWERS_KEPT: SignedDuration = SignedDuration::from_hours(24);

/// How long events that are over are kept.
const KEEP: SignedDuration = SignedDuration::from_hours(62 * 24);

/// How many that are over are kept; beyond, the oldest go first.
const OVER_MAX: usize = 500_000;

/// How long events that are over are kept in any case: as long as a report for their hour can come.
const KEEP_AT_LEAST: SignedDuration = SignedDuration::from_hours(48);

/// How many records are removed in one commit.
const FORGOTTEN_AT_ONCE: usize = 500;

/// What a caller reports.
#[derive(Clone, Debug)]
pub struct UsageReport {
    /// What of, and in which hour.
    pub key: UsageKey,
    /// The plan at that moment.
    pub plan: Arc<str>,
    /// When it was used.
    pub at: Timestamp,
    /// How much.
    pub quantity: Quantity,
}

/// Digests of an idempotency key, each caller's own, and of the body it came with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UsageRepeat {
    /// Of caller and key.
    pub key: [u8; 32],
    /// Of the body.
    pub body: [u8; 32],
}

/// Makes an answer's body of what became of reports.
pub type UsageAnswerer = Box<dyn FnOnce(&[UsageOutcome]) -> Vec<u8> + Send>;

/// A request: its good reports, all taken in one commit.
pub struct UsageRequest {
    /// Who asks.
    pub caller: Arc<str>,
    /// The idempotency key, if it has one.
    pub repeat: Option<UsageRepeat>,
    /// What is reported.
    pub reports: Vec<UsageReport>,
    /// When.
    pub now: Timestamp,
    /// Makes the answer's body of what became of the reports.
    pub answer: UsageAnswerer,
}

/// What became of a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UsageOutcome {
    /// It is in the sum of this event.
    Taken(Arc<UsageEvent>),
    /// It comes too late: the hour's event is closed.
    Closed(Arc<UsageEvent>),
    /// The sum would be too large.
    TooLarge,
    /// Too many events are on their way.
    Full,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UsageReceipt {
    /// What could be taken is on disk.
    Done {
        /// Of each report, in their order.
        outcomes: Vec<UsageOutcome>,
        /// What is answered.
        answer: Arc<[u8]>,
    },
    /// It had come before with this idempotency key, and this was answered.
    Again(Arc<[u8]>),
    /// The idempotency key had come before, with another body.
    OtherBody,
    /// Too many idempotency keys are remembered.
    Full,
}

/// What Microsoft said of a closed event.
#[derive(Clone, Debug)]
pub struct UsageVerdict {
    /// Of which.
    pub id: UsageId,
    /// How it stands now.
    pub state: UsageState,
    /// How often Microsoft failed by its own fault.
    pub tries: u32,
}

/// Which events are asked for: those for which every field that is set holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UsageFilter {
    /// Of this subscription.
    pub subscription: Option<SubscriptionId>,
    /// Of hours then or later.
    pub since: Option<Timestamp>,
    /// Of these states, by their words.
    pub states: Vec<&'static str>,
    /// At most so many, the newest ones.
    pub limit: Option<usize>,
}

/// Usage in figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UsageFigures {
    /// How many events there are of each of [`UsageState::WORDS`].
    pub by_state: [usize; 5],
    /// How many of the duplicates count with another quantity than ours.
    pub differing: usize,
    /// Of those that Microsoft does not have, when the first to run out runs out.
    pub runs_out: Option<Timestamp>,
    /// Of those that Microsoft does not have, when the oldest was used.
    pub oldest: Option<Timestamp>,
    /// When the next sum is closed.
    pub next_due: Option<Timestamp>,
}

impl Store {
    /// Takes reports of usage; returns once what was taken is durable.
    ///
    /// # Errors
    ///
    /// As of [`Self::commit`].
    pub async fn take_usage(&self, request: UsageRequest) -> Result<UsageReceipt, StoreError> {
        let repeat = request.repeat;
        match self.usage_job(UsageJob::Take(request)).await? {
            UsageReply::Receipt(receipt) => Ok(receipt),
            UsageReply::Events(_) => match repeat {
                Some(repeat) => Ok(self.usage_answer(repeat)?.unwrap_or(UsageReceipt::Full)),
                None => Ok(UsageReceipt::Full),
            },
        }
    }

    /// How a request with this idempotency key was answered, if it was. Blocking: reads the disk.
    ///
    /// # Errors
    ///
    /// As of [`Self::runs`].
    pub fn usage_answer(
        &self,
        UsageRepeat { key, body }: UsageRepeat,
    ) -> Result<Option<UsageReceipt>, StoreError> {
        match self.shared.usage().answers.get(&key) {
            None => return Ok(None),
            Some((known, _)) if *known != body => return Ok(Some(UsageReceipt::OtherBody)),
            Some(_) => {}
        }
        let found =
            pieces::read(&*self.shared.engine()?, Table::Facts, &layout::usage_answer(&key))?;
        let Some(payload) = found else { return Ok(None) };
        let it: UsageAnswer =
            record::decode::<UsageAnswerV1>(Kind::UsageAnswer, &payload)?.try_into()?;
        Ok(Some(UsageReceipt::Again(it.answer)))
    }

    /// Closes the sums that are due by now; returns them.
    ///
    /// # Errors
    ///
    /// As of [`Self::commit`].
    pub async fn close_usage(&self, now: Timestamp) -> Result<Vec<Arc<UsageEvent>>, StoreError> {
        if self.shared.usage().due(now).next().is_none() {
            return Ok(Vec::new());
        }
        self.usage_events(UsageJob::Close(now)).await
    }

    /// Notes what Microsoft said of closed events; returns those that were closed until now.
    ///
    /// # Errors
    ///
    /// As of [`Self::commit`].
    pub async fn settle_usage(
        &self,
        verdicts: Vec<UsageVerdict>,
        odd: Vec<OddRecord>,
        now: Timestamp,
    ) -> Result<Vec<Arc<UsageEvent>>, StoreError> {
        self.usage_events(UsageJob::Settle(verdicts, odd, now)).await
    }

    /// Closes a dead event again, so that it is sent once more; returns it, if it was dead.
    ///
    /// # Errors
    ///
    /// As of [`Self::commit`].
    pub async fn revive_usage(
        &self,
        id: UsageId,
        now: Timestamp,
    ) -> Result<Option<Arc<UsageEvent>>, StoreError> {
        Ok(self.usage_events(UsageJob::Revive(id, now)).await?.pop())
    }

    /// Forgets events and answers that are long over.
    ///
    /// # Errors
    ///
    /// As of [`Self::commit`].
    pub async fn prune_usage(&self, now: Timestamp) -> Result<(), StoreError> {
        while self.shared.usage().has_outdated(now) {
            self.usage_events(UsageJob::Prune(now)).await?;
        }
        Ok(())
    }

    /// So many of the closed events, those that run out first.
    pub fn closed_usage(&self, limit: usize) -> Vec<Arc<UsageEvent>> {
        let usage = self.shared.usage();
        usage.closed.iter().take(limit).filter_map(|(_, id)| usage.of(*id)).collect()
    }

    /// Whether any event is on its way.
    pub fn has_usage_on_the_way(&self) -> bool {
        let usage = self.shared.usage();
        !(usage.open.is_empty() && usage.closed.is_empty())
    }

    /// The event of this number.
    pub fn usage_event(&self, id: UsageId) -> Option<Arc<UsageEvent>> {
        self.shared.usage().of(id)
    }

    /// The events that the filter lets through, oldest first.
    pub fn usage(&self, filter: &UsageFilter) -> Vec<Arc<UsageEvent>> {
        self.shared.usage().find(filter)
    }

    /// Usage in figures.
    pub fn usage_figures(&self) -> UsageFigures {
        self.shared.usage().figures()
    }

    async fn usage_job(&self, job: UsageJob) -> Result<UsageReply, StoreError> {
        self.ask(|reply| Job::Usage(Box::new(job), reply)).await
    }

    async fn usage_events(&self, job: UsageJob) -> Result<Vec<Arc<UsageEvent>>, StoreError> {
        match self.usage_job(job).await? {
            UsageReply::Events(events) => Ok(events),
            UsageReply::Receipt(_) => Ok(Vec::new()),
        }
    }
}

/// What the thread that writes is asked to do about usage.
pub(super) enum UsageJob {
    Take(UsageRequest),
    Close(Timestamp),
    Settle(Vec<UsageVerdict>, Vec<OddRecord>, Timestamp),
    Revive(UsageId, Timestamp),
    Prune(Timestamp),
}

/// What it answers. To [`UsageJob::Take`], `Events` means: answered before, look it up.
pub(super) enum UsageReply {
    Receipt(UsageReceipt),
    Events(Vec<Arc<UsageEvent>>),
}

/// All usage that is kept.
#[derive(Debug, Default)]
pub(super) struct Usage {
    all: BTreeMap<UsageId, Arc<UsageEvent>>,
    by_key: HashMap<UsageKey, UsageId>,
    /// By when they are due.
    open: BTreeSet<(Timestamp, UsageId)>,
    /// By when they run out.
    closed: BTreeSet<(Timestamp, UsageId)>,
    /// By since when they are over.
    over: BTreeSet<(Timestamp, UsageId)>,
    by_state: [usize; 5],
    differing: usize,
    /// Digests of the bodies, and when they came.
    answers: HashMap<[u8; 32], ([u8; 32], Timestamp)>,
    answered: BTreeSet<(Timestamp, [u8; 32])>,
}

impl Usage {
    /// Takes over what is durable.
    pub(super) fn apply(&mut self, writes: &[UsageWrite]) {
        for write in writes {
            match write {
                UsageWrite::Put(event) => self.put(Arc::clone(event)),
                UsageWrite::Forget(id) => self.forget(*id),
                UsageWrite::Remember(it) => self.remember(it),
                UsageWrite::ForgetAnswer(key) => {
                    if let Some((_, at)) = self.answers.remove(key) {
                        self.answered.remove(&(at, *key));
                    }
                }
            }
        }
    }

    /// Takes over an event, or one that is read from disk.
    pub(super) fn put(&mut self, event: Arc<UsageEvent>) {
        self.forget(event.id);
        self.count(&event, true);
        self.by_key.insert(event.key.clone(), event.id);
        self.all.insert(event.id, event);
    }

    pub(super) fn remember(&mut self, it: &UsageAnswer) {
        self.answers.insert(it.key, (it.body, it.at));
        self.answered.insert((it.at, it.key));
    }

    fn forget(&mut self, id: UsageId) {
        if let Some(event) = self.all.remove(&id) {
            self.count(&event, false);
            self.by_key.remove(&event.key);
        }
    }

    /// Puts an event into the sets it belongs to, or takes it out of them.
    fn count(&mut self, it: &UsageEvent, add: bool) {
        let (set, at) = match &it.state {
            UsageState::Open => (&mut self.open, it.due()),
            UsageState::Closed => (&mut self.closed, it.runs_out()),
            UsageState::Sent { at, .. }
            | UsageState::Duplicate { at, .. }
            | UsageState::Dead { at, .. } => (&mut self.over, *at),
        };
        if add {
            set.insert((at, it.id));
        } else {
            set.remove(&(at, it.id));
        }
        let differs = matches!(it.state, UsageState::Duplicate { differs: true, .. });
        let word = UsageState::WORDS.iter().position(|word| *word == it.state.as_str());
        let counts = self.by_state.get_mut(word.unwrap_or_default());
        for count in counts.into_iter().chain(differs.then_some(&mut self.differing)) {
            *count = if add { count.saturating_add(1) } else { count.saturating_sub(1) };
        }
    }

    fn of(&self, id: UsageId) -> Option<Arc<UsageEvent>> {
        self.all.get(&id).map(Arc::clone)
    }

    fn due(&self, now: Timestamp) -> impl Iterator<Item = UsageId> {
        self.open.iter().take_while(move |(due, _)| *due <= now).map(|(_, id)| *id)
    }

    /// Every answer that is remembered: the digest of its body, and when it was given.
    #[cfg(test)]
    pub(super) fn answers(&self) -> impl Iterator<Item = (&[u8; 32], &([u8; 32], Timestamp))> {
        self.answers.iter()
    }

    pub(super) fn find(&self, filter: &UsageFilter) -> Vec<Arc<UsageEvent>> {
        let lets = |it: &&Arc<UsageEvent>| {
            filter.subscription.is_none_or(|id| it.key.subscription == id)
                && filter.since.is_none_or(|since| it.key.hour >= since)
                && (filter.states.is_empty() || filter.states.contains(&it.state.as_str()))
        };
        let newest = self.all.values().rev().filter(lets).take(filter.limit.unwrap_or(usize::MAX));
        let mut found: Vec<_> = newest.map(Arc::clone).collect();
        found.reverse();
        found
    }

    fn figures(&self) -> UsageFigures {
        let on_the_way = self.open.iter().chain(&self.closed).filter_map(|(_, id)| self.of(*id));
        let effective = on_the_way.map(|it| it.effective).min();
        let closed = self.closed.first().map(|(at, _)| *at);
        let open = effective.and_then(|it| it.checked_add(crate::domain::USAGE_WINDOW).ok());
        UsageFigures {
            by_state: self.by_state,
            differing: self.differing,
            runs_out: closed.into_iter().chain(open).min(),
            oldest: effective,
            next_due: self.open.first().map(|(at, _)| *at),
        }
    }

    /// Events and answers to be forgotten by now, a part of them.
    fn outdated(&self, now: Timestamp) -> Vec<UsageWrite> {
        let older = |at: Timestamp, than: SignedDuration| now.duration_since(at) >= than;
        let too_many = self.over.len().saturating_sub(OVER_MAX);
        let events = self.over.iter().enumerate().take_while(|(place, (at, _))| {
            older(*at, KEEP) || (*place < too_many && older(*at, KEEP_AT_LEAST))
        });
        let events = events.map(|(_, (_, id))| UsageWrite::Forget(*id));
        let answers = self.answered.iter().take_while(|(at, _)| older(*at, ANSWERS_KEPT));
        let answers = answers.map(|(_, key)| UsageWrite::ForgetAnswer(*key));
        events.chain(answers).take(FORGOTTEN_AT_ONCE).collect()
    }

    fn has_outdated(&self, now: Timestamp) -> bool {
        !self.outdated(now).is_empty()
    }
}
