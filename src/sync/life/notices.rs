//! Log lines about deadlines that come near and steps that nobody documents, each once.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use tracing::{info, warn};

use crate::domain::{
    Deadline, DeadlineKind, Mirror, NEAR, SourceKey, Subscription, SubscriptionId, deadlines,
};

/// The last day before a deadline.
const DAY: SignedDuration = SignedDuration::from_hours(24);

/// So many lines at once; the rest is counted.
const LINES: usize = 10;

/// What is said about a deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Said {
    /// It is a week away, or less.
    Week,
    /// It is a day away, or less.
    Day,
    /// It has passed.
    Past,
}

/// A line about a deadline.
type Line = (SubscriptionId, DeadlineKind, Timestamp, Said);

/// What was said.
#[derive(Debug, Default)]
pub(super) struct Notices {
    begun: bool,
    said: BTreeSet<Line>,
    undocumented: BTreeMap<SubscriptionId, Timestamp>,
}

impl Notices {
    /// Says what was not said yet. What came near before the last run before a restart was.
    pub(super) fn tell(&mut self, mirror: &Mirror, now: Timestamp) {
        let before = mirror.source(SourceKey::SUBSCRIPTIONS).and_then(|it| it.last_run);
        let before = before.filter(|_| !self.begun);
        let fresh = !std::mem::replace(&mut self.begun, true);
        let mut current = BTreeSet::new();
        let mut new = Vec::new();
        for it in mirror.subscriptions() {
            self.tell_undocumented(mirror, it, before);
            for deadline in deadlines(it, &mirror.life(it), now) {
                let Some((said, began)) = stage(&deadline, now) else { continue };
                let line = (it.id, deadline.kind, deadline.at, said);
                current.insert(line);
                let old = fresh && before.is_some_and(|before| began <= before);
                if !old && !self.said.contains(&line) {
                    new.push((deadline, it, said));
                }
            }
        }
        self.said = current;
        for (deadline, it, said) in new.iter().take(LINES) {
            tell(deadline, it, *said);
        }
        if let Some(more) = new.len().checked_sub(LINES).filter(|it| *it > 0) {
            warn!("{more} more deadlines came near: `entitled subscriptions --due 7d` lists them");
        }
    }

    fn tell_undocumented(&mut self, mirror: &Mirror, it: &Subscription, before: Option<Timestamp>) {
        let Some(step) = mirror.life(it).undocumented else { return };
        let known = self.undocumented.insert(it.id, step.at) == Some(step.at);
        if known || before.is_some_and(|before| step.at <= before) {
            return;
        }
        warn!(
            subscription.id = %it.id,
            "A subscription that was {} is now {}: Microsoft documents no such step; what it says \
             is taken over",
            step.from,
            step.to
        );
    }
}

/// What is to be said of a deadline now, and since when.
fn stage(it: &Deadline, now: Timestamp) -> Option<(Said, Timestamp)> {
    if !it.kind.is_pressing() {
        return None;
    }
    let ago = |before| it.at.checked_sub(before).unwrap_or(it.at);
    if it.is_past(now) {
        Some((Said::Past, it.at))
    } else if it.is_within(DAY, now) {
        Some((Said::Day, ago(DAY)))
    } else {
        it.is_within(NEAR, now).then(|| (Said::Week, ago(NEAR)))
    }
}

fn tell(deadline: &Deadline, it: &Subscription, said: Said) {
    let (kind, at, why) = (deadline.kind.as_str(), deadline.at, deadline.why());
    let id = it.id;
    match said {
        Said::Week => info!(
            subscription.id = %id,
            deadline = kind,
            deadline.at = %at,
            "Subscription {id} has a deadline within a week, at {at}: {why}"
        ),
        Said::Day => warn!(
            subscription.id = %id,
            deadline = kind,
            deadline.at = %at,
            "Subscription {id} has a deadline within a day, at {at}: {why}"
        ),
        Said::Past => warn!(
            subscription.id = %id,
            deadline = kind,
            deadline.at = %at,
            "Subscription {id} has passed a deadline, at {at}, and Microsoft does not say that it \
             took effect: {why}"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Commit, Life, RawRecord, SourceState, SubscriptionStatus, Undocumented};
    use uuid::Uuid;

    fn at(days: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_hours(days * 24)
    }

    fn mirror(last_run: Option<i64>) -> Mirror {
        let subscription = Subscription {
            id: SubscriptionId::from_uuid(Uuid::from_u128(1)),
            plan: "team".into(),
            status: SubscriptionStatus::Suspended,
            observed_at: at(10),
            ..Subscription::sample()
        };
        let undocumented =
            Undocumented { at: at(10), from: "Unsubscribed".into(), to: "Suspended".into() };
        let life = Life { undocumented: Some(undocumented), ..Life::unremembered(&subscription) };
        let state = SourceState { last_run: last_run.map(at), ..SourceState::default() };
        Mirror::default().applied(&Commit {
            lives: vec![(subscription.id, life)],
            subscriptions: vec![(subscription, RawRecord::from("{}"))],
            sources: vec![(SourceKey::SUBSCRIPTIONS, state)],
            ..Commit::default()
        })
    }

    /// What is said on each of these days; nothing is lost from one to the next.
    fn said(last_run: Option<i64>, days: &[i64]) -> Vec<Option<Said>> {
        let (mirror, mut notices) = (mirror(last_run), Notices::default());
        let each = days.iter().map(|day| {
            let before = notices.said.clone();
            notices.tell(&mirror, at(*day));
            notices.said.difference(&before).map(|it| it.3).next()
        });
        each.collect()
    }

    #[test]
    fn a_deadline_is_told_a_week_before_a_day_before_and_when_it_has_passed() {
        // Suspended on day 10: over on day 40.
        let (week, day, past) = (Some(Said::Week), Some(Said::Day), Some(Said::Past));
        let days = [20, 32, 33, 34, 38, 39, 39, 40, 50];
        let told = [None, None, week, None, None, day, None, past, None];
        assert_eq!(said(Some(11), &days), told);
    }

    #[test]
    fn a_step_that_nobody_documents_is_told_once() {
        let (mirror, mut notices) = (mirror(Some(11)), Notices::default());
        notices.tell(&mirror, at(12));
        assert_eq!(notices.undocumented.len(), 1);
        let known = notices.undocumented.clone();
        notices.tell(&mirror, at(13));
        assert_eq!(notices.undocumented, known);
    }
}
