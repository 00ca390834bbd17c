//! One subscription, read now, and the mirror brought to it by the same planning as the list.

use tracing::warn;

use super::{OrderError, Work};
use crate::domain::{
    Cause, Change, Commit, Entity, Fact, OddRecord, RawRecord, SourceKey, Subscription,
    SubscriptionId,
};
use crate::microsoft::{Meter, Read};
use crate::store::StoreError;
use crate::sync::inbox::{Ticket, keep_newer};
use crate::sync::plan;

/// A subscription as it was read.
pub(super) struct Reading {
    pub(super) subscription: Subscription,
    raw: RawRecord,
    ticket: Ticket,
}

impl Work {
    /// The subscription as Microsoft has it now; the mirror is brought to it.
    pub(super) async fn look(
        &self,
        id: SubscriptionId,
        by: &Cause,
    ) -> Result<Subscription, OrderError> {
        let reading = self.read(id).await?;
        let subscription = reading.subscription.clone();
        self.apply(reading, by, None).await?;
        Ok(subscription)
    }

    /// Reads the subscription, and nothing else.
    pub(super) async fn read(&self, id: SubscriptionId) -> Result<Reading, OrderError> {
        let ticket = self.sources.ledger.ticket();
        let began = (self.sources.clock)();
        let marketplace = self.sources.microsoft.marketplace();
        let read = marketplace.subscription(&Meter::new(), id).await;
        match read.map_err(|error| OrderError::of(id, error))? {
            Some(Read::Understood(subscription, raw)) if subscription.id == id => {
                let subscription = Subscription { observed_at: began, ..subscription };
                Ok(Reading { subscription, raw, ticket })
            }
            Some(Read::Understood(..)) => {
                Err(OrderError::Unreadable("it answers with another subscription".into()))
            }
            Some(Read::Odd { why, raw }) => {
                warn!(why, "A subscription could not be understood: kept as it came");
                let (at, key) = (began, SourceKey::SUBSCRIPTIONS);
                let odd = vec![OddRecord { at, key, why: why.as_str().into(), raw }];
                self.write(Commit { odd, ..Commit::default() }).await?;
                Err(OrderError::Unreadable(why.into()))
            }
            None => Err(OrderError::Unknown(id)),
        }
    }

    /// Brings the mirror to a reading, unless a newer one was there first, and notes the words in
    /// the journal, both in one commit.
    pub(super) async fn apply(
        &self,
        reading: Reading,
        by: &Cause,
        words: Option<String>,
    ) -> Result<(), OrderError> {
        let Reading { subscription, raw, ticket } = reading;
        let now = (self.sources.clock)();
        let note = words.map(|it| noted(now, by, &subscription, it));
        let mut readings = [(subscription.id, (subscription, raw))].into();
        let mut applied = self.sources.ledger.turn().await;
        keep_newer(&mut applied, &mut readings, |_| ticket);
        let mirror = self.sources.store.snapshot();
        let (mut commit, tally) = plan::changed(&mirror, readings, by, now);
        commit.changes.extend(note);
        if tally.changed.saturating_add(tally.added) > 0 || !commit.changes.is_empty() {
            self.write(commit).await?;
        }
        Ok(())
    }

    /// Notes in the journal what was asked or what came of it.
    pub(super) async fn note(
        &self,
        subscription: &Subscription,
        by: &Cause,
        words: String,
    ) -> Result<(), OrderError> {
        self.write(self.noting(subscription, by, words)).await?;
        Ok(())
    }

    /// The commit that notes it.
    pub(super) fn noting(&self, subscription: &Subscription, by: &Cause, words: String) -> Commit {
        let change = noted((self.sources.clock)(), by, subscription, words);
        Commit { changes: vec![change], ..Commit::default() }
    }

    async fn write(&self, commit: Commit) -> Result<(), StoreError> {
        self.sources.store.commit(commit).await
    }
}

/// Words about a subscription: a line of the journal that changes no fact.
fn noted(at: jiff::Timestamp, by: &Cause, subscription: &Subscription, words: String) -> Change {
    Change {
        at,
        cause: by.clone(),
        entity: Entity::Subscription,
        id: subscription.id.to_string().into(),
        tenant: subscription.beneficiary.tenant_id(),
        user: subscription.beneficiary.user,
        before: None,
        after: Some(Fact::Words(words.into())),
    }
}
