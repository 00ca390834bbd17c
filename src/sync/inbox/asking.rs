//! Our word on what a customer asks for: who would lose what is found out and written down first,
//! then Microsoft is told, and afterwards it is looked whether Microsoft did as it was told.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tracing::{info, warn};

use super::work::{self, Trouble, Work};
use super::{impact, policy, window};
use crate::config::AcceptChanges;
use crate::domain::{
    Action, Answered, AskedChange, AskedState, AskedWrite, Cause, Change, Commit, Entity, Fact,
    Mirror, Subscription, Terms, WebhookEvent,
};
use crate::microsoft::{Acknowledged, Meter, Operation, Verdict};
use crate::store::StoreError;

/// An operation that still waits after so long was not decided by Microsoft either: it is given our
/// word late rather than never. Before that, and after the window, it would only be refused.
///
/// Source: `marketplace-saas.md` section 11, row 16.
const HANGS_AFTER: SignedDuration = SignedDuration::from_secs(30);

/// What is kept of the window for saying our word, once it is known.
const FOR_THE_WORD: Duration = Duration::from_secs(2);

/// How long a second look at a subscription may take when nobody waits for it.
const SECOND_LOOK: Duration = Duration::from_secs(10);

/// How long what was asked for is kept after the last thing that came of it.
const KEEP: SignedDuration = SignedDuration::from_hours(30 * 24);

/// How many of them are kept at most; the oldest go first.
const KEPT_MAX: usize = 10_000;

impl Work {
    /// Gives our word on an operation, if Microsoft waits for it and would still hear it.
    pub(super) async fn answer(
        &self,
        meter: &Meter,
        event: &WebhookEvent,
        operation: &Operation,
    ) -> Result<Option<Answered>, Trouble> {
        let age = (self.sources.clock)().duration_since(event.received);
        let heard = age < work::ANSWER_WITHIN || age >= HANGS_AFTER;
        if !policy::waits(operation) || !heard {
            return Ok(None);
        }
        let word = self.word_on(meter, event, operation).await?;
        let verdict = if word.welcomes() { Verdict::Success } else { Verdict::Failure };
        let marketplace = self.sources.microsoft.marketplace();
        let id = operation.subscription;
        let answered = match marketplace.acknowledge(meter, id, &operation.id, verdict).await {
            Ok(Acknowledged::Recorded) if verdict == Verdict::Success => Answered::Accepted,
            Ok(Acknowledged::Recorded) => Answered::Refused,
            Ok(Acknowledged::TooLate) => Answered::TooLate,
            // The documents disagree whether a reinstatement is answered at all.
            Err(_any) if operation.action == Action::Reinstate => Answered::NotTaken,
            Err(error) if work::is_away(error.kind()) => return Err(error.into()),
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                warn!(error, "Microsoft does not take our answer: what it decides is taken over");
                Answered::NotTaken
            }
        };
        self.sources.ledger.answered(answered);
        info!(operation.answered = answered.as_str(), "Answered Microsoft's question");
        let event = WebhookEvent { answered: Some(answered), ..event.clone() };
        self.write(Commit { inbox: work::put(event), ..Commit::default() }).await?;
        Ok(Some(answered))
    }

    /// What we say. A word that was once written down is kept to, whatever has changed since.
    async fn word_on(
        &self,
        meter: &Meter,
        event: &WebhookEvent,
        operation: &Operation,
    ) -> Result<AskedState, Trouble> {
        let mirror = self.sources.store.snapshot();
        let Some(name) = event.said.operation.as_ref().filter(|_| operation.action.asks()) else {
            return Ok(AskedState::Accepted);
        };
        if let Some(noted) = mirror.asked(name) {
            return Ok(noted.state);
        }
        let judged = self.judge(meter, event, operation, &mirror).await?;
        // Of a purchase that nobody has read yet nothing can be lost.
        let Some((known, state)) = judged else { return Ok(AskedState::Accepted) };
        let (catalog, now) = (&self.sources.catalog, (self.sources.clock)());
        let plan = operation.plan.as_ref().filter(|_| operation.action == Action::ChangePlan);
        let asks = impact::terms(catalog, &known, plan, operation.quantity);
        let asked = AskedChange {
            operation: Arc::clone(name),
            subscription: known.id,
            tenant: known.beneficiary.tenant_id(),
            action: operation.action.clone(),
            before: Terms::of(&known),
            impact: impact::of(&mirror, catalog, &known, &asks, now),
            asks,
            at: event.received,
            state,
            since: now,
        };
        self.note(&mirror, asked, now).await
    }

    /// The subscription and what policy says of the change. What would be refused is looked at a
    /// second time: the mirror may not know yet what Microsoft is about to take back.
    async fn judge(
        &self,
        meter: &Meter,
        event: &WebhookEvent,
        operation: &Operation,
        mirror: &Mirror,
    ) -> Result<Option<(Subscription, AskedState)>, Trouble> {
        let id = operation.subscription;
        let (catalog, accept) = (&self.sources.catalog, self.accept);
        let judged = |it: Subscription| {
            let state = policy::judge(operation, &it, catalog, accept);
            (it, state)
        };
        let read = || async { Ok(self.subscription(meter, event, id).await?.subscription) };
        let Some(known) = mirror.subscription(id).map(|it| it.as_ref().clone()) else {
            return match accept {
                AcceptChanges::Always => Ok(None),
                AcceptChanges::KnownPlans | AcceptChanges::Hold => {
                    self.soonest(meter, event, read).await.map(judged).map(Some)
                }
            };
        };
        let (known, state) = judged(known);
        if state.welcomes() {
            return Ok(Some((known, state)));
        }
        let left = work::left(event, (self.sources.clock)());
        let end = left.map_or(SECOND_LOOK, |it| it.saturating_sub(FOR_THE_WORD));
        let fresh = self.soonest(meter, event, read);
        match window::within(tokio::time::sleep(end), fresh).await {
            Some(Ok(fresh)) => Ok(Some(judged(fresh))),
            Some(Err(_)) | None => Ok(Some((known, state))),
        }
    }

    /// Writes a request down with its impact, before anything is said to it.
    async fn note(
        &self,
        mirror: &Mirror,
        mut asked: AskedChange,
        now: Timestamp,
    ) -> Result<AskedState, Trouble> {
        let same: Vec<_> = mirror.all_asked().filter(|it| it.asks_the_same(&asked)).collect();
        let confirmed = same.iter().any(|it| it.confirmed_until().is_some_and(|until| now < until));
        let granted = asked.state == AskedState::Held && confirmed;
        let mut writes = Vec::new();
        if granted {
            asked.state = AskedState::Accepted;
            let accepted = |it: &&Arc<AskedChange>| AskedWrite::Move {
                operation: Arc::clone(&it.operation),
                to: AskedState::Accepted,
                at: now,
            };
            writes.extend(same.iter().map(accepted));
        }
        let what = match asked.state {
            _ if granted => "accepted, as an operator confirmed",
            AskedState::Held => "refused until an operator confirms it",
            AskedState::Refused => "refused by policy",
            AskedState::Accepted
            | AskedState::Confirmed
            | AskedState::Dismissed
            | AskedState::Overruled => "accepted by policy",
        };
        info!(
            operation.word = asked.state.as_str(),
            operation.before = %asked.before,
            operation.asks = %asked.asks,
            impact.users = asked.impact.users_losing(),
            impact = %asked.impact,
            "A customer asks for a change: {what}"
        );
        let after = format!("asks for {}: {}; {what}", asked.asks, asked.impact.with_users());
        let changes = vec![journal(&asked, now, asked.before.to_string(), after)];
        let state = asked.state;
        writes.push(AskedWrite::New(Arc::new(asked)));
        self.write(Commit { asked: writes, changes, ..Commit::default() }).await?;
        Ok(state)
    }

    /// The change that Microsoft made though it was told no, if a subscription shows that it did.
    pub(super) fn overruled(
        &self,
        event: &WebhookEvent,
        subscription: &Subscription,
    ) -> Option<Arc<AskedChange>> {
        let mirror = self.sources.store.mirror();
        let asked = mirror.asked(event.said.operation.as_deref()?)?;
        let against_us = asked.state.may_become(AskedState::Overruled);
        (against_us && asked.is_done_in(subscription)).then(|| Arc::clone(asked))
    }

    /// Says in a commit, in the log and in the figures that Microsoft made a change against our
    /// word.
    ///
    /// Source: `marketplace-saas.md` section 11, row 14.
    pub(super) fn tell_overruled(
        &self,
        event: &WebhookEvent,
        asked: &AskedChange,
        commit: &mut Commit,
    ) {
        let (at, to) = ((self.sources.clock)(), AskedState::Overruled);
        commit.asked.push(AskedWrite::Move { operation: Arc::clone(&asked.operation), to, at });
        let ignored = event.answered == Some(Answered::Refused);
        let what =
            if ignored { "Microsoft ignored our refusal" } else { "our refusal came too late" };
        let after = format!("{what}: the subscription has {} now", asked.asks);
        commit.changes.push(journal(asked, at, asked.state.as_str().to_owned(), after));
        self.sources.ledger.overruled();
        warn!(
            operation.asks = %asked.asks,
            impact = %asked.impact,
            "A change that was refused was made all the same: {what}; what Microsoft says is \
             taken over. To take it back, change the plan or quantity yourself, or ask the customer"
        );
    }

    /// Forgets what was asked for long ago.
    pub(super) async fn forget_asked(&self, now: Timestamp) -> Result<(), StoreError> {
        let asked = outdated(&self.sources.store.snapshot(), now);
        if !asked.is_empty() {
            self.write(Commit { asked, ..Commit::default() }).await?;
        }
        Ok(())
    }
}

/// A line of the journal about a request.
fn journal(asked: &AskedChange, at: Timestamp, before: String, after: String) -> Change {
    Change {
        at,
        cause: Cause::Webhook(Arc::clone(&asked.operation)),
        entity: Entity::Operation,
        id: asked.subscription.to_string().into(),
        tenant: asked.tenant,
        user: None,
        before: Some(Fact::Words(before.into())),
        after: Some(Fact::Words(after.into())),
    }
}

/// What is long over, and the oldest of what is too much.
fn outdated(mirror: &Mirror, now: Timestamp) -> Vec<AskedWrite> {
    let mut all: Vec<_> = mirror.all_asked().collect();
    all.sort_by_key(|it| it.since);
    let too_many = all.len().saturating_sub(KEPT_MAX);
    let old = |it: &AskedChange| now.duration_since(it.since) >= KEEP;
    let gone = all.into_iter().enumerate().filter(|(at, it)| *at < too_many || old(it));
    gone.map(|(_, it)| AskedWrite::Forget(Arc::clone(&it.operation))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Impact, Losers, SubscriptionId};
    use uuid::Uuid;

    #[test]
    fn what_was_asked_long_ago_or_is_too_much_is_forgotten() {
        let mirror = |count: i64| {
            let asked = |it: i64| AskedChange {
                operation: it.to_string().into(),
                subscription: SubscriptionId::from_uuid(Uuid::nil()),
                tenant: None,
                action: Action::ChangePlan,
                before: Terms { plan: "a".into(), quantity: None },
                asks: Terms { plan: "b".into(), quantity: None },
                at: Timestamp::UNIX_EPOCH,
                impact: Impact {
                    plan_known: true,
                    losers: Losers::Nobody,
                    features_lost: Vec::new(),
                    features_won: Vec::new(),
                    coverage_before: None,
                    coverage_after: None,
                },
                state: AskedState::Held,
                since: Timestamp::from_second(it).unwrap(),
            };
            let asked = (0..count).map(|it| AskedWrite::New(Arc::new(asked(it)))).collect();
            Mirror::default().applied(&Commit { asked, ..Commit::default() })
        };
        let check = |count, now, gone: &[&str]| {
            let writes = outdated(&mirror(count), Timestamp::from_second(now).unwrap());
            let found: Vec<&str> = writes.iter().map(|it| &**it.operation()).collect();
            assert_eq!(found, gone);
        };
        let days = 30 * 86_400;
        check(3, days - 1, &[]);
        check(3, days + 1, &["0", "1"]);
        check(10_002, 20_000, &["0", "1"]);
    }
}
