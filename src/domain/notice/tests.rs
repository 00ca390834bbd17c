//! Which change is told as which event.

use super::*;
use crate::domain::SubscriptionId;
use uuid::Uuid;

fn at(day: i64) -> Timestamp {
    Timestamp::from_second(day * 86_400).unwrap()
}

fn subscription(status: &str) -> Subscription {
    Subscription {
        id: SubscriptionId::from_uuid(Uuid::from_u128(1)),
        plan: "team".into(),
        status: SubscriptionStatus::from_word(status),
        quantity: Some(5),
        term_end: Some(at(30)),
        auto_renew: Some(true),
        observed_at: at(0),
        ..Subscription::sample()
    }
}

#[test]
fn each_difference_of_a_subscription_is_told_as_what_it_is() {
    let check = |before: &str, after: &str, edit: fn(&mut Subscription), told: &str| {
        let before = subscription(before);
        let mut after = subscription(after);
        edit(&mut after);
        let change = Change::of_subscription(at(1), Cause::Command, Some(&before), &after);
        let kinds: Vec<_> = Notice::of_change(&change).iter().map(|it| it.kind.as_str()).collect();
        let told: Vec<String> =
            told.split_whitespace().map(|it| format!("subscription.{it}")).collect();
        assert_eq!(kinds, told, "{before:?} {after:?}");
    };
    let same = |_: &mut Subscription| {};
    check("PendingFulfillmentStart", "Subscribed", same, "activated");
    check("Subscribed", "Suspended", same, "suspended");
    check("Suspended", "Subscribed", same, "reinstated");
    check("Suspended", "Unsubscribed", |it| it.quantity = None, "cancelled");
    check("Subscribed", "Unsubscribed", same, "cancelled");
    check("PendingFulfillmentStart", "Unsubscribed", same, "cancelled");
    check("Unsubscribed", "Subscribed", same, "status_changed");
    check("Subscribed", "Frozen", same, "status_changed");
    check("Subscribed", "Subscribed", same, "");
    check("Subscribed", "Subscribed", |it| it.observed_at = at(9), "");
    check("Subscribed", "Subscribed", |it| it.plan = "b".into(), "plan_changed");
    check("Subscribed", "Subscribed", |it| it.quantity = Some(6), "quantity_changed");
    check("Subscribed", "Subscribed", |it| it.quantity = None, "updated");
    check("Subscribed", "Subscribed", |it| it.name = "other".into(), "updated");
    check("Subscribed", "Subscribed", |it| it.term_end = Some(at(60)), "renewed");
    check("Subscribed", "Subscribed", |it| it.term_end = Some(at(20)), "updated");
    // The term of an activation is its first.
    check("PendingFulfillmentStart", "Subscribed", |it| it.term_end = Some(at(60)), "activated");
    let all = |it: &mut Subscription| {
        it.plan = "b".into();
        it.quantity = Some(9);
        it.term_end = Some(at(60));
    };
    check("Subscribed", "Subscribed", all, "plan_changed quantity_changed renewed");
    check("Subscribed", "Suspended", all, "suspended plan_changed quantity_changed");
}

#[test]
fn consent_is_told_when_it_comes_and_when_it_goes() {
    use Consent::{Granted, Missing, Revoked, Unknown};
    let id = TenantId::from_uuid(Uuid::from_u128(2)).unwrap();
    let tenant = |consent| Tenant { consent, ..Tenant::heard_of(id, None) };
    let check = |before, after, told: Option<NoticeKind>| {
        let (before, after) = (tenant(before), tenant(after));
        let change = Change::of_tenant(at(1), Cause::Command, Some(&before), &after);
        let kinds: Vec<_> = Notice::of_change(&change).iter().map(|it| it.kind).collect();
        assert_eq!(kinds, told.into_iter().collect::<Vec<_>>(), "{before:?} {after:?}");
    };
    check(Unknown, Granted, Some(NoticeKind::ConsentGranted));
    check(Missing, Granted, Some(NoticeKind::ConsentGranted));
    check(Revoked, Granted, Some(NoticeKind::ConsentGranted));
    check(Granted, Revoked, Some(NoticeKind::ConsentRevoked));
    check(Granted, Granted, None);
    check(Unknown, Missing, None);
    check(Unknown, Unknown, None);
}

#[test]
fn a_source_is_told_once_when_it_has_failed_for_long_and_once_when_it_is_well() {
    let state = |failures, complete: Option<i64>, run, held_back| SourceState {
        failures,
        last_complete: complete.map(at),
        last_run: Some(at(run)),
        held_back,
        ..SourceState::default()
    };
    let limit = SignedDuration::from_hours(48);
    let tenant = SourceKey::directory(TenantId::from_uuid(Uuid::from_u128(2)).unwrap());
    let list = SourceKey::SUBSCRIPTIONS;
    let check = |key, before: &SourceState, after: &SourceState, told: &[&str]| {
        let notices = Notice::of_source(key, (before, after), limit, at(0));
        let kinds: Vec<_> = notices.iter().map(|it| it.kind.as_str()).collect();
        assert_eq!(kinds, told, "{before:?} {after:?}");
    };
    let (well, short, long) =
        (state(0, Some(1), 1, 0), state(1, Some(1), 2, 0), state(2, Some(1), 3, 0));
    check(list, &well, &short, &[]);
    check(list, &short, &long, &["sync.failing"]);
    check(list, &long, &state(3, Some(1), 4, 0), &[]);
    check(list, &long, &state(0, Some(5), 5, 0), &["sync.recovered"]);
    check(tenant, &well, &state(0, Some(1), 2, 9), &["sync.held_back"]);
    check(tenant, &state(0, Some(1), 2, 9), &state(0, Some(1), 3, 4), &[]);
    check(tenant, &state(0, Some(1), 2, 9), &well, &["sync.released"]);
    let never = |failures| state(failures, None, 1, 0);
    check(list, &never(2), &never(3), &["sync.failing"]);
    check(tenant, &never(2), &never(3), &[]);
}
