//! Changes that Microsoft announces by webhook, found before any webhook told of them.

use jiff::SignedDuration;
use tracing::warn;

use crate::domain::{
    Action, Commit, Entity, EventWrite, Fact, Mirror, MissedWebhook, SourceKey, Subscription,
    SubscriptionStatus, WebhookNote,
};
use crate::sync::Sources;

/// How long before the last list a webhook may have come for what is found now.
const ANNOUNCED_WITHIN: SignedDuration = SignedDuration::from_mins(10);

/// Notes, in the commit that holds them, the changes of subscriptions that no webhook announced.
/// For whoever found them by looking: the list, or a closer look. The first list has nothing to
/// compare with.
pub(crate) fn note_missed(sources: &Sources, mirror: &Mirror, commit: &mut Commit) {
    let listed = mirror.source(SourceKey::SUBSCRIPTIONS).and_then(|it| it.last_complete);
    let Some(listed) = listed else { return };
    let since = listed.checked_sub(ANNOUNCED_WITHIN).unwrap_or(listed);
    for change in commit.changes.iter().filter(|it| it.entity == Entity::Subscription) {
        let (Some(Fact::Subscription(before)), Some(Fact::Subscription(after))) =
            (&change.before, &change.after)
        else {
            continue;
        };
        let Some(action) = announcing(before, after) else { continue };
        if sources.store.webhook_announced(after.id, since) {
            continue;
        }
        sources.ledger.missed();
        warn!(
            subscription.id = %after.id,
            webhook.action = action.as_str(),
            "A change was found that no webhook has announced so far: is the connection webhook of \
             the offer's technical configuration our /marketplace/webhook?"
        );
        let found_by = change.cause.to_string().into();
        let note = MissedWebhook {
            at: change.at,
            since: listed,
            subscription: after.id,
            action,
            found_by,
        };
        commit.inbox.push(EventWrite::Noted(WebhookNote::Missed(note)));
    }
}

/// By which webhook Microsoft announces what differs between two readings of a subscription, if by
/// any.
///
/// Activation, a new name and the switch for renewal come without one.
///
/// Source: `marketplace-saas.md` sections 8.2 and 9.
fn announcing(before: &Subscription, after: &Subscription) -> Option<Action> {
    if before.status == SubscriptionStatus::PendingFulfillmentStart {
        return None;
    }
    if before.status != after.status {
        return Some(match &after.status {
            SubscriptionStatus::Suspended => Action::Suspend,
            SubscriptionStatus::Unsubscribed => Action::Unsubscribe,
            SubscriptionStatus::Subscribed => Action::Reinstate,
            SubscriptionStatus::PendingFulfillmentStart => return None,
            // Nobody knows what such a change will be called.
            SubscriptionStatus::Unrecognized(_) => Action::Unrecognized("".into()),
        });
    }
    if before.plan != after.plan {
        return Some(Action::ChangePlan);
    }
    if before.quantity != after.quantity && after.quantity.is_some() {
        return Some(Action::ChangeQuantity);
    }
    (before.term_end < after.term_end).then_some(Action::Renew)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::SubscriptionId;
    use jiff::Timestamp;
    use uuid::Uuid;

    fn subscription() -> Subscription {
        Subscription {
            id: SubscriptionId::from_uuid(Uuid::from_u128(1)),
            plan: "team".into(),
            status: SubscriptionStatus::Subscribed,
            quantity: Some(5),
            term_end: Some(Timestamp::UNIX_EPOCH),
            auto_renew: Some(true),
            ..Subscription::sample()
        }
    }

    #[test]
    fn webhooks_are_missed_for_what_microsoft_announces_only() {
        let check = |change: &dyn Fn(&mut Subscription), announced| {
            let before = subscription();
            let mut after = subscription();
            change(&mut after);
            let word = announcing(&before, &after);
            assert_eq!(word.as_ref().map(Action::as_str), announced, "{after:?}");
        };
        check(&|it| it.status = SubscriptionStatus::Suspended, Some("Suspend"));
        check(&|it| it.status = SubscriptionStatus::Unsubscribed, Some("Unsubscribe"));
        check(&|it| it.status = SubscriptionStatus::from_word("Frozen"), Some(""));
        check(&|it| it.plan = "enterprise".into(), Some("ChangePlan"));
        check(&|it| it.quantity = Some(6), Some("ChangeQuantity"));
        check(&|it| it.quantity = None, None);
        check(&|it| it.term_end = Some(Timestamp::from_second(86_400).unwrap()), Some("Renew"));
        check(&|it| it.name = "another".into(), None);
        check(&|it| it.auto_renew = Some(false), None);
        let with = |status| Subscription { status, ..subscription() };
        let pending = with(SubscriptionStatus::PendingFulfillmentStart);
        assert_eq!(announcing(&pending, &subscription()), None, "an activation is not announced");
        let suspended = with(SubscriptionStatus::Suspended);
        assert_eq!(announcing(&suspended, &subscription()), Some(Action::Reinstate));
    }
}
