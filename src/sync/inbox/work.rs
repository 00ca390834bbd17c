//! One look at one webhook: read the operation, answer if Microsoft waits, read the subscription,
//! commit.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use super::ledger::keep_newer;
use super::{Ticket, window};
use crate::config::AcceptChanges;
use crate::domain::{
    Action, Answered, AskedChange, Cause, Commit, EventOutcome, EventState, EventWrite, OddRecord,
    OperationStatus, RawRecord, SourceKey, Subscription, SubscriptionId, SubscriptionStatus,
    WebhookEvent,
};
use crate::microsoft::{ErrorKind, Meter, MicrosoftError, Operation, Read};
use crate::planted;
use crate::store::StoreError;
use crate::sync::{Sources, SyncError, plan};
use crate::telemetry;

/// Until when a question of Microsoft's is to be answered: it decides by itself after 10 s.
///
/// Source: contract section 5; `marketplace-saas.md` section 8.8.
pub(super) const ANSWER_WITHIN: SignedDuration = SignedDuration::from_secs(9);

/// How long one look may take once nobody waits for it.
const LOOK_MAX: Duration = Duration::from_mins(1);

/// How long an operation that is not over is looked at, every few minutes; the list goes on after that.
///
/// Source: `marketplace-saas.md` section 10, step 3. No operation is known to take so long: one that
/// does will not end at all.
const FOLLOW_MAX: SignedDuration = SignedDuration::from_hours(24);

/// How long an operation that asks for a change and that Microsoft does not know is looked for.
const UNKNOWN_FOR: SignedDuration = SignedDuration::from_secs(30);

/// How long a subscription is watched after a refusal, which Microsoft has been seen to ignore.
///
/// Source: `marketplace-saas.md` section 7.3 and section 11, row 14.
const WATCHED_FOR: SignedDuration = SignedDuration::from_secs(60);

/// After so many looks that failed through what was found a webhook is given up.
const TRIES_MAX: u32 = 8;

/// How long answers that are none of the marketplace's (a gateway's page, half an answer) count as
/// Microsoft being away, not as something wrong with the webhook.
const GARBLED_FOR: SignedDuration = SignedDuration::from_hours(3);

/// How long Microsoft may be away before a webhook is given up.
const KEEP_TRYING: SignedDuration = SignedDuration::from_hours(7 * 24);

/// What is to be done with a webhook after a look.
#[derive(Clone, Copy, Debug)]
pub(super) enum Next {
    /// Nothing.
    Over,
    /// Another look.
    Later,
    /// Another look when Microsoft can be read, or the store be written, again: after this rest if
    /// it asked for one. What came later for the same subscription waits for it.
    Away(Option<Duration>),
}

/// What a look works with.
#[derive(Clone)]
pub(super) struct Work {
    pub(super) sources: Sources,
    pub(super) accept: AcceptChanges,
}

/// Why a look came to nothing.
pub(super) enum Trouble {
    Microsoft(MicrosoftError),
    /// It took too long.
    Late,
    Store(StoreError),
    /// What was found is of no use.
    Found(String),
}

impl From<MicrosoftError> for Trouble {
    fn from(error: MicrosoftError) -> Self {
        Self::Microsoft(error)
    }
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// A subscription as it was read.
pub(super) struct Reading {
    pub(super) subscription: Subscription,
    raw: RawRecord,
    ticket: Ticket,
}

/// How long Microsoft still waits for an answer, if it may.
pub(super) fn left(event: &WebhookEvent, now: Timestamp) -> Option<Duration> {
    let waits = event.answered.is_none()
        && (event.said.action.asks() || event.said.action == Action::Reinstate);
    let until = event.received.checked_add(ANSWER_WITHIN).ok()?;
    let left = Duration::try_from(until.duration_since(now)).ok()?;
    (waits && !left.is_zero()).then_some(left)
}

impl Work {
    /// One look.
    pub(super) async fn work_off(&self, event: &WebhookEvent) -> Result<Next, SyncError> {
        let Some(subscription) = event.said.subscription else {
            let why = "it names no subscription, so there is nothing to look up";
            return self.give_up(event, why).await;
        };
        match self.look(event, subscription).await {
            Ok(next) => Ok(next),
            Err(Trouble::Store(error)) => Err(error.into()),
            Err(Trouble::Found(why)) => self.failed(event, &why).await,
            Err(Trouble::Late) => self.away(event, "Microsoft did not answer in time", None).await,
            Err(Trouble::Microsoft(error)) => {
                let why = telemetry::chain(&error);
                let age = (self.sources.clock)().duration_since(event.received);
                let garbled = error.kind() == ErrorKind::Unreadable && age < GARBLED_FOR;
                if is_away(error.kind()) || garbled {
                    self.away(event, &why, error.asked_wait()).await
                } else {
                    self.failed(event, &why).await
                }
            }
        }
    }

    async fn look(&self, event: &WebhookEvent, id: SubscriptionId) -> Result<Next, Trouble> {
        if event.answered == Some(Answered::Refused) && self.sources.store.webhook_overtaken(event)
        {
            return self.leave_to_the_later_one(event).await;
        }
        let meter = Meter::new();
        let (operation, answered) = self.in_time(event, self.operation(&meter, event, id)).await?;
        let event = &WebhookEvent { answered, ..event.clone() };
        let reading = timeout(LOOK_MAX, self.subscription(&meter, event, id)).await;
        let reading = reading.map_err(|_elapsed| Trouble::Late)??;
        let now = (self.sources.clock)();
        let age = now.duration_since(event.received);
        let (followed, old) = (age >= FOLLOW_MAX, age >= UNKNOWN_FOR);
        let overruled = self.overruled(event, &reading.subscription);
        let watched = answered == Some(Answered::Refused) && age < WATCHED_FOR;
        let known_operation = operation.is_some() || event.said.operation.is_none();
        let settled = followed
            || match &operation {
                Some(operation) => {
                    (is_settled(operation, &reading.subscription)
                        || self.is_overtaken(event, operation))
                        && (overruled.is_some() || !watched)
                }
                // It may be too fresh to be found; if it is real it takes effect all the same.
                None => known_operation || !event.said.action.asks() || old,
            };
        let mismatched = operation.as_ref().is_some_and(|it| !agrees(event, it));
        if mismatched {
            warn!(
                "Microsoft says something else of this operation than the webhook did: taken is \
                 what Microsoft says; if this happens often, somebody may be forging webhooks"
            );
        }
        let state = self.apply(event, reading, overruled.as_deref(), |changed| {
            let outcome = match (known_operation, mismatched, changed) {
                (false, _, _) => EventOutcome::UnknownOperation,
                (true, true, _) => EventOutcome::Mismatched,
                (true, false, true) => EventOutcome::Changed,
                (true, false, false) => EventOutcome::Known,
            };
            if settled { EventState::Done { at: now, outcome } } else { EventState::Waiting }
        });
        let state = state.await?;
        Ok(if state.over_since().is_none() { Next::Later } else { self.over(&state) })
    }

    /// What was refused is not watched any more once its customer asks again: what the subscription
    /// then shows would be put down to the wrong one.
    async fn leave_to_the_later_one(&self, event: &WebhookEvent) -> Result<Next, Trouble> {
        let outcome = if event.changed { EventOutcome::Changed } else { EventOutcome::Known };
        let state = EventState::Done { at: (self.sources.clock)(), outcome };
        let event = WebhookEvent { state: state.clone(), ..event.clone() };
        self.write(Commit { inbox: put(event), ..Commit::default() }).await?;
        Ok(self.over(&state))
    }

    fn over(&self, state: &EventState) -> Next {
        self.sources.ledger.ended(state.as_str());
        info!(webhook.outcome = state.as_str(), "Worked a webhook off");
        Next::Over
    }

    /// Whether a change was made and replaced since: the subscription will never show it. A change
    /// begins only when the one before is over, so a later one is enough to know.
    ///
    /// Source: `marketplace-saas.md` sections 6.7 and 7.3: an operation under way locks its subscription.
    fn is_overtaken(&self, event: &WebhookEvent, operation: &Operation) -> bool {
        operation.status.is_over() && self.sources.store.webhook_overtaken(event)
    }

    /// While Microsoft waits for an answer, a look is given up in time for another one.
    async fn in_time<T>(
        &self,
        event: &WebhookEvent,
        work: impl Future<Output = Result<T, Trouble>>,
    ) -> Result<T, Trouble> {
        let left = left(event, (self.sources.clock)()).unwrap_or(LOOK_MAX);
        window::within(sleep(left), work).await.unwrap_or(Err(Trouble::Late))
    }

    /// The operation as Microsoft knows it, and what it was answered.
    async fn operation(
        &self,
        meter: &Meter,
        event: &WebhookEvent,
        id: SubscriptionId,
    ) -> Result<(Option<Operation>, Option<Answered>), Trouble> {
        let Some(name) = &event.said.operation else { return Ok((None, event.answered)) };
        let marketplace = self.sources.microsoft.marketplace();
        let read = || async { Ok(marketplace.operation(meter, id, name).await?) };
        let operation = match self.soonest(meter, event, read).await? {
            Some(Read::Understood(operation, _)) if operation.subscription == id => operation,
            Some(Read::Understood(..)) => {
                warn!("The operation is another subscription's: only the subscription is read");
                return Ok((None, event.answered));
            }
            Some(Read::Odd { why, .. }) => {
                warn!(why, "The operation cannot be understood: only the subscription is read");
                return Ok((None, event.answered));
            }
            None => return Ok((None, event.answered)),
        };
        if event.answered.is_some() {
            return Ok((Some(operation), event.answered));
        }
        // Boxed: few webhooks come so far.
        let answered = Box::pin(self.answer(meter, event, &operation)).await?;
        Ok((Some(operation), answered))
    }

    /// Asks what must be known in time, and asks again beside it while Microsoft waits for our word
    /// and does not throttle us.
    pub(super) async fn soonest<T, Asked>(
        &self,
        meter: &Meter,
        event: &WebhookEvent,
        ask: impl Fn() -> Asked,
    ) -> Result<T, Trouble>
    where
        Asked: Future<Output = Result<T, Trouble>>,
    {
        if left(event, (self.sources.clock)()).is_none() {
            return ask().await;
        }
        let hold_back = || !meter.throttled().is_zero();
        Box::pin(window::first(ask, tokio::time::sleep, hold_back)).await
    }

    pub(super) async fn subscription(
        &self,
        meter: &Meter,
        event: &WebhookEvent,
        id: SubscriptionId,
    ) -> Result<Reading, Trouble> {
        let ticket = self.sources.ledger.ticket();
        let began = (self.sources.clock)();
        match self.sources.microsoft.marketplace().subscription(meter, id).await? {
            Some(Read::Understood(subscription, raw)) if subscription.id == id => {
                let subscription = Subscription { observed_at: began, ..subscription };
                Ok(Reading { subscription, raw, ticket })
            }
            Some(Read::Understood(..)) => {
                Err(Trouble::Found("Microsoft answers with another subscription".into()))
            }
            Some(Read::Odd { why, raw }) => {
                let why = format!("the subscription cannot be understood: {why}");
                let key = SourceKey::SUBSCRIPTIONS;
                let odd = OddRecord { at: began, key, why: why.as_str().into(), raw };
                let mirror = self.sources.store.snapshot();
                self.write(plan::odd(&mirror, odd, id, &cause(event), began)).await?;
                Err(Trouble::Found(why))
            }
            None => Err(Trouble::Found("Microsoft knows no such subscription".into())),
        }
    }

    /// Brings the mirror to a reading, unless a newer one was there first, and says of the webhook
    /// how it stands, both in one commit.
    async fn apply(
        &self,
        event: &WebhookEvent,
        reading: Reading,
        overruled: Option<&AskedChange>,
        state_if: impl FnOnce(bool) -> EventState,
    ) -> Result<EventState, Trouble> {
        let Reading { subscription, raw, ticket } = reading;
        let subscription = planted::believed(&event.said, subscription);
        let cause = cause(event);
        let mut readings = [(subscription.id, (subscription, raw))].into();
        let mut applied = self.sources.ledger.turn().await;
        keep_newer(&mut applied, &mut readings, |_| ticket);
        let mirror = self.sources.store.snapshot();
        let (mut commit, tally) = plan::changed(&mirror, readings, &cause, (self.sources.clock)());
        let changed = event.changed || tally.changed.saturating_add(tally.added) > 0;
        let state = state_if(changed);
        let event = WebhookEvent { changed, state: state.clone(), ..event.clone() };
        if let Some(asked) = overruled {
            self.tell_overruled(&event, asked, &mut commit);
        }
        commit.inbox = put(event);
        self.write(commit).await?;
        Ok(state)
    }

    /// Microsoft cannot be read: that is no fault of the webhook's.
    async fn away(
        &self,
        event: &WebhookEvent,
        why: &str,
        asked: Option<Duration>,
    ) -> Result<Next, SyncError> {
        let now = (self.sources.clock)();
        if now.duration_since(event.received) >= KEEP_TRYING {
            return self.give_up(event, why).await;
        }
        warn!(why, "A webhook waits until Microsoft can be read");
        Ok(Next::Away(asked))
    }

    /// A look failed through what was found; after some of them it is given up.
    pub(super) async fn failed(&self, event: &WebhookEvent, why: &str) -> Result<Next, SyncError> {
        let tries = event.tries.saturating_add(1);
        if tries >= TRIES_MAX {
            return self.give_up(&WebhookEvent { tries, ..event.clone() }, why).await;
        }
        warn!(why, webhook.tries = tries, "A webhook could not be worked off: tried again");
        let commit =
            Commit { inbox: put(WebhookEvent { tries, ..event.clone() }), ..Commit::default() };
        self.write(commit).await?;
        Ok(Next::Later)
    }

    async fn give_up(&self, event: &WebhookEvent, why: &str) -> Result<Next, SyncError> {
        let at = (self.sources.clock)();
        let state = EventState::Dead { at, why: why.into() };
        self.sources.ledger.ended(state.as_str());
        warn!(
            why,
            "A webhook was given up and is kept with its body; the list of subscriptions goes on \
             catching what it may have meant"
        );
        let commit =
            Commit { inbox: put(WebhookEvent { state, ..event.clone() }), ..Commit::default() };
        self.write(commit).await?;
        Ok(Next::Over)
    }

    pub(super) async fn write(&self, commit: Commit) -> Result<(), StoreError> {
        self.sources.store.commit(commit).await
    }
}

/// What a webhook's changes are put down to.
fn cause(event: &WebhookEvent) -> Cause {
    event.said.operation.as_ref().map_or_else(
        || Cause::Webhook(format!("without an operation, number {}", event.id.0).into()),
        |it| Cause::Webhook(Arc::clone(it)),
    )
}

pub(super) fn put(event: WebhookEvent) -> Vec<EventWrite> {
    vec![EventWrite::Put(Arc::new(event))]
}

/// Whether trouble is Microsoft's or our registration's, not the webhook's.
pub(super) fn is_away(kind: ErrorKind) -> bool {
    match kind {
        ErrorKind::Transient
        | ErrorKind::Throttled
        | ErrorKind::Consent
        | ErrorKind::Credential => true,
        ErrorKind::Resync
        | ErrorKind::RestartSequence
        | ErrorKind::NotFound
        | ErrorKind::National
        | ErrorKind::Unreadable
        | ErrorKind::Refused
        | ErrorKind::Rejected
        | ErrorKind::Locked => false,
    }
}

/// Whether the webhook said what Microsoft says. What a webhook leaves out is no lie.
fn agrees(event: &WebhookEvent, operation: &Operation) -> bool {
    let said = &event.said;
    let same_plan = said.plan.is_none() || operation.plan.is_none() || said.plan == operation.plan;
    let same_quantity = said.quantity.is_none()
        || operation.quantity.is_none()
        || said.quantity == operation.quantity;
    said.action == operation.action
        && (operation.action != Action::ChangePlan || same_plan)
        && (operation.action != Action::ChangeQuantity || same_quantity)
}

/// Whether nothing more will come of an operation, and the subscription already shows it.
///
/// Source: `marketplace-saas.md` sections 8.8 and 9: a subscription may show a change minutes after
/// it was accepted.
fn is_settled(operation: &Operation, subscription: &Subscription) -> bool {
    if !operation.status.is_over() {
        // Only what is decided somewhere has an end to wait for; a reinstatement ends with what the
        // subscription shows, whatever becomes of its operation.
        let reinstated = subscription.status == SubscriptionStatus::Subscribed;
        let waits = operation.action == Action::Reinstate && !reinstated;
        return !(operation.action.asks() || waits);
    }
    if operation.status != OperationStatus::Succeeded {
        return true;
    }
    match operation.action {
        Action::ChangePlan => operation.plan.as_ref().is_none_or(|it| *it == subscription.plan),
        Action::ChangeQuantity => {
            operation.quantity.is_none_or(|it| subscription.quantity.is_none_or(|has| has == it))
        }
        Action::Suspend
        | Action::Unsubscribe
        | Action::Reinstate
        | Action::Renew
        | Action::Subscribe
        | Action::Unrecognized(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Announcement, Mirror};
    use crate::planted::{Mistake, prove};
    use uuid::Uuid;

    fn subscription(plan: &str, quantity: u64) -> Subscription {
        Subscription {
            id: SubscriptionId::from_uuid(Uuid::from_u128(7)),
            plan: plan.into(),
            status: SubscriptionStatus::Subscribed,
            quantity: Some(quantity),
            ..Subscription::sample()
        }
    }

    /// Whatever a webhook says, what is written is what Microsoft says when it is asked.
    #[test]
    fn nothing_of_a_webhook_is_believed_and_one_who_believes_it_is_found_out() {
        prove(Mistake::TrustPayload, |chance| {
            let mut any = || (["team", "company"][chance.below(2)], chance.below(9) as u64);
            let (told, real) = (any(), any());
            let said = Announcement {
                operation: Some("o".into()),
                action: Action::ChangePlan,
                subscription: Some(subscription(real.0, real.1).id),
                plan: chance.once_in(2).then(|| told.0.into()),
                quantity: chance.once_in(2).then_some(told.1),
            };
            let taken = planted::believed(&said, subscription(real.0, real.1));
            let readings = [(taken.id, (taken, RawRecord::from("{}")))].into();
            let cause = Cause::Webhook("o".into());
            let at = Timestamp::UNIX_EPOCH;
            let (commit, _) = plan::changed(&Mirror::default(), readings, &cause, at);
            let written = commit.subscriptions.first().map(|(it, _)| (&*it.plan, it.quantity));
            if written == Some((real.0, Some(real.1))) {
                return Ok(());
            }
            Err(format!("Microsoft says {real:?}, the webhook {told:?}, written is {written:?}"))
        });
    }
}
