//! What is noted about webhooks besides the inbox: those that did not come, came late, were
//! forged. All of it is in memory.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::{Store, StoreError};
use crate::domain::{Action, Commit, EventWrite, NoteKey, SubscriptionId, WebhookNote};

/// How long notes are kept.
const KEEP: SignedDuration = SignedDuration::from_hours(90 * 24);

/// How many notes are kept at most; the oldest goes first.
const NOTES_MAX: usize = 20_000;

impl Store {
    /// What was noted about webhooks then or later, oldest first. Notes are kept for 90 days.
    pub fn webhook_notes(&self, since: Timestamp) -> Vec<WebhookNote> {
        self.shared.inbox().log.since(since)
    }

    /// Whether a change was found for which such a webhook would still come now.
    pub fn webhook_is_missed(
        &self,
        of: Option<SubscriptionId>,
        says: &Action,
        now: Timestamp,
    ) -> bool {
        self.shared.inbox().log.awaits(of, says, now)
    }

    /// Notes something about webhooks; returns once it is durable.
    ///
    /// # Errors
    ///
    /// As of [`Self::commit`].
    pub async fn note_webhook(&self, note: WebhookNote) -> Result<(), StoreError> {
        self.commit(Commit { inbox: vec![EventWrite::Noted(note)], ..Commit::default() }).await
    }
}

/// All notes that are kept.
#[derive(Debug, Default)]
pub(super) struct WebhookLog {
    notes: BTreeMap<NoteKey, WebhookNote>,
}

impl WebhookLog {
    /// Takes over what a commit says, or what is read from disk.
    pub(super) fn put(&mut self, note: WebhookNote) {
        self.notes.insert(note.key(), note);
    }

    pub(super) fn forget(&mut self, key: NoteKey) {
        self.notes.remove(&key);
    }

    fn since(&self, since: Timestamp) -> Vec<WebhookNote> {
        let first = NoteKey { at: since, kind: 0, id: [0; 16] };
        self.notes.range(first..).map(|(_, note)| note.clone()).collect()
    }

    fn awaits(&self, of: Option<SubscriptionId>, says: &Action, now: Timestamp) -> bool {
        self.notes.values().rev().any(|it| match it {
            WebhookNote::Missed(it) => it.awaits(of, says, now),
            WebhookNote::Late(_) | WebhookNote::Forged(_) => false,
        })
    }

    /// What is to be forgotten by now.
    pub(super) fn outdated(&self, now: Timestamp) -> impl Iterator<Item = EventWrite> {
        let too_many = self.notes.len().saturating_sub(NOTES_MAX);
        let old = move |at: Timestamp| now.duration_since(at) >= KEEP;
        let keys = self.notes.keys().enumerate();
        keys.take_while(move |(i, key)| *i < too_many || old(key.at))
            .map(|(_, key)| EventWrite::ForgetNote(*key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ForgedWebhooks;

    #[test]
    fn notes_go_after_ninety_days_or_when_there_are_too_many() {
        let mut log = WebhookLog::default();
        let at = |second| Timestamp::from_second(second).unwrap();
        for second in 0..20_010 {
            let (from, until) = (at(second), at(second));
            log.put(WebhookNote::Forged(ForgedWebhooks {
                from,
                until,
                checks: [("audience".into(), 1)].into(),
            }));
        }
        let check = |now: i64, gone: usize| {
            assert_eq!(log.outdated(at(now)).count(), gone, "{now}");
        };
        check(20_010, 10);
        check(90 * 86_400 + 99, 100);
        check(90 * 86_400 + 20_009, 20_010);
        assert_eq!(log.since(at(20_000)).len(), 10);
    }
}
