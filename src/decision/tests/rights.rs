//! What a seat, a subscription and a license are worth alone: rules 2 to 5.

use jiff::SignedDuration;
use uuid::Uuid;

use super::*;
use crate::domain::{HeldSeat, Holders};

// Rules 2 and 3: seats

#[test]
fn a_seat_is_what_its_sku_is_worth() {
    let seat = |status: &str| {
        let paths = vec![path(group(), "Active")];
        let sku = sku(5, status, "P.Panel.Team");
        world(vec![], vec![sku], vec![licence(5, paths)], (None, Some(0)))
    };
    let check = |status, says| check(&seat(status), &visual(), says);
    check("Enabled", "active/seat_by_group");
    check("Warning", "grace/seat_grace");
    check("Suspended", "suspended/seat_suspended");
    check("LockedOut", "suspended/seat_suspended");
    check("Deleted", "expired/seat_ended");
    check("Paused", "unknown/status_unrecognized");
}

#[test]
fn a_path_in_error_is_no_seat_but_another_may_be() {
    let check = |paths: Vec<Path>, says| {
        let licences = vec![licence(5, paths)];
        let skus = vec![sku(5, "Enabled", "p.panel.team")];
        check(&world(vec![], skus, licences, (None, Some(0))), &visual(), says)
    };
    check(vec![], "active/seat_path_unknown");
    check(vec![path(Via::Direct, "Active")], "active/seat_direct");
    check(vec![path(group(), "Active")], "active/seat_by_group");
    check(vec![path(group(), "ActiveWithError")], "active/seat_by_group");
    check(vec![path(group(), "Active"), path(Via::Direct, "Active")], "active/seat_direct");
    check(vec![path(group(), "Active"), path(Via::Direct, "Error")], "active/seat_by_group");
    check(vec![path(group(), "Error")], "unlicensed/seat_in_error");
}

#[test]
fn a_service_plan_that_is_switched_off_or_only_meant_is_no_seat() {
    let off = |mut it: Licence| {
        it.disabled_plans = vec![ServicePlanId::from_uuid(Uuid::from_u128(1005))];
        it
    };
    let meant = |it: Licence| Licence { assigned: false, ..it };
    let check = |it: Licence, says| {
        let skus = vec![sku(5, "Enabled", "p.panel.team")];
        check(&world(vec![], skus, vec![it], (None, Some(0))), &visual(), says)
    };
    check(off(licence(5, vec![])), "unlicensed/seat_switched_off");
    check(meant(licence(5, vec![path(group(), "Active")])), "unlicensed/seat_not_assigned");
}

#[test]
fn of_several_seats_the_best_counts() {
    let skus = vec![sku(5, "Suspended", "p.panel.team"), sku(6, "Warning", "p.panel.team")];
    let licences = vec![licence(5, vec![]), licence(6, vec![])];
    check(&world(vec![], skus, licences, (None, Some(0))), &visual(), "grace/seat_grace");
}

#[test]
fn a_seat_of_another_plan_of_another_user_or_of_no_sku_is_nothing() {
    let none = "unlicensed/not_licensed";
    let other = vec![sku(5, "Enabled", "p.other.team")];
    check(&world(vec![], other, vec![licence(5, vec![])], (None, Some(0))), &visual(), none);
    check(&world(vec![], vec![], vec![licence(5, vec![])], (None, Some(0))), &visual(), none);
    let skus = vec![sku(5, "Enabled", "p.panel.team")];
    let commit = world(vec![], skus, vec![licence(5, vec![])], (None, Some(0)));
    let visual = visual();
    let question = Question { user: Some(user(8)), ..asked(&visual, Host::Web) };
    check_question(&commit, &question, &Policy::default(), none);
    let question = Question { user: None, ..asked(&visual, Host::Web) };
    check_question(&commit, &question, &Policy::default(), "unlicensed/user_needed");
}

#[test]
fn a_seat_lasts_until_its_sku_moves_on() {
    let check = |status: &str, after: SignedDuration| {
        let mut sku = sku(5, status, "p.panel.team");
        sku.next_lifecycle = Some(now() + after);
        let commit = world(vec![], vec![sku], vec![licence(5, vec![])], (None, Some(0)));
        let it = answer(&mirror(&commit), &asked(&visual(), Host::Web), &Policy::default(), now());
        (it.period_end, it.grace_end, it.valid_until, it.check_after_s)
    };
    let soon = now() + SignedDuration::from_mins(10);
    let (soon_after, day) = (SignedDuration::from_mins(10), now() + h(24));
    assert_eq!(check("Enabled", soon_after), (Some(soon), None, soon, 600));
    assert_eq!(check("Warning", soon_after), (None, Some(soon), soon, 600));
    assert_eq!(check("Enabled", -h(1)), (None, None, day, 3600));
}

// Rules 3 and 4: subscriptions

#[test]
fn a_subscription_is_what_its_status_says() {
    let check = |status: &str, free_trial: bool, says| {
        let it = Subscription { free_trial, ..subscription(3, status) };
        check(&world(vec![it], vec![], vec![], (Some(0), None)), &saas(Coverage::Tenant), says)
    };
    check("Subscribed", false, "active/subscription_active");
    check("Subscribed", true, "trial/subscription_trial");
    check("PendingFulfillmentStart", false, "pending/subscription_pending");
    check("Suspended", false, "suspended/subscription_suspended");
    check("Unsubscribed", true, "expired/subscription_ended");
    check("Frozen", false, "unknown/status_unrecognized");
}

#[test]
fn a_subscription_covers_its_beneficiary_and_its_plan_only() {
    let check = |change: fn(&mut Subscription), says| {
        let mut it = subscription(3, "Subscribed");
        change(&mut it);
        check(&world(vec![it], vec![], vec![], (Some(0), None)), &saas(Coverage::Tenant), says)
    };
    let (active, none) = ("active/subscription_active", "unlicensed/not_licensed");
    check(|it| it.offer = "suite-preview".into(), active);
    check(|it| it.offer = "suite-beta".into(), none);
    check(|it| it.plan = "silver".into(), none);
    check(|it| std::mem::swap(&mut it.beneficiary, &mut it.purchaser), none);
    check(|it| it.beneficiary.tenant = Some(TenantId::PERSONAL_ACCOUNTS), none);
}

#[test]
fn a_live_subscription_is_never_ended_by_the_clock() {
    let check = |status: &str, term_end: SignedDuration| {
        let it = Subscription { term_end: Some(now() + term_end), ..subscription(3, status) };
        let commit = world(vec![it], vec![], vec![], (Some(0), None));
        let product = saas(Coverage::Tenant);
        let it = answer(&mirror(&commit), &asked(&product, Host::Web), &Policy::default(), now());
        (it.state, it.period_end.map(|end| end.duration_since(now()).as_hours()))
    };
    assert_eq!(check("Subscribed", h(48)), (State::Active, Some(72)));
    assert_eq!(check("Subscribed", -h(12)), (State::Active, Some(12)));
    assert_eq!(check("Subscribed", -h(24)), (State::Active, None));
    assert_eq!(check("Subscribed", -h(900)), (State::Active, None));
    assert_eq!(check("Unsubscribed", -h(48)), (State::Expired, Some(-24)));
    assert_eq!(check("Unsubscribed", h(48)), (State::Expired, None));
}

#[test]
fn seats_are_held_free_or_all_taken() {
    let product = saas(Coverage::Seats);
    let held = |n: u128, unused_h: i64| {
        let seat = HeldSeat { taken_at: now() - h(999), last_used: now() - h(unused_h) };
        ((tenant(1), user(n)), seat)
    };
    let check = |quantity, holders: &[((TenantId, UserId), HeldSeat)], says| {
        let it = Subscription { quantity, ..subscription(3, "Subscribed") };
        let mut commit = world(vec![it], vec![], vec![], (Some(0), None));
        commit.holders.push((sub_id(3), Holders::new(holders.iter().copied())));
        check(&commit, &product, says).seat
    };
    let (active, full) = ("active/subscription_active", "unlicensed/no_free_seat");
    assert!(check(Some(1), &[], active).is_some_and(|it| it.held.is_none() && it.is_due(now())));
    assert!(check(Some(1), &[held(9, 1)], active).is_some_and(|it| !it.is_due(now())));
    assert!(check(Some(1), &[held(9, 13)], active).is_some_and(|it| it.is_due(now())));
    check(Some(1), &[held(8, 1)], full);
    check(Some(2), &[held(8, 1)], active);
    check(Some(1), &[held(8, 721)], active);
    check(Some(1), &[held(8, 1), held(9, 721)], full);
    check(Some(1), &[held(8, 1), held(9, 1)], full);
    check(Some(1), &[held(9, 1), held(10, 1)], active);
    check(None, &[held(8, 1)], active);
    check(None, &[held(9, 1)], active);
    check(Some(0), &[], full);
}

#[test]
fn seats_that_are_taken_hide_no_other_state() {
    let it = Subscription { quantity: Some(0), ..subscription(3, "Suspended") };
    let commit = world(vec![it], vec![], vec![], (Some(0), None));
    let says = "suspended/subscription_suspended";
    assert_eq!(check(&commit, &saas(Coverage::Seats), says).seat, None);
    let it = Subscription { quantity: Some(5), ..subscription(3, "Subscribed") };
    let commit = world(vec![it], vec![], vec![], (Some(0), None));
    let product = saas(Coverage::Seats);
    let question = Question { user: None, ..asked(&product, Host::Web) };
    check_question(&commit, &question, &Policy::default(), "unlicensed/user_needed");
}

#[test]
fn a_license_goes_from_trial_over_paid_and_overdue_to_its_end() {
    use Standing::{Cancelled, Current, Revoked, Suspended};
    let product = visual();
    let check = |standing, trial: Option<i64>, paid: Option<i64>, period: Option<i64>, says| {
        let at = |hours: Option<i64>| hours.map(|hours| now() + h(hours));
        let (trial_end, paid_at, period_end) = (at(trial), at(paid), at(period));
        let it = License { standing, trial_end, paid_at, period_end, ..license() };
        check_license(it, &asked(&product, Host::Web), says)
    };
    let grace_h = 30 * 24;
    check(Current, None, None, None, "active/license_active");
    check(Current, None, None, Some(1), "active/license_active");
    check(Current, None, None, Some(0), "grace/license_grace");
    check(Current, None, None, Some(1 - grace_h), "grace/license_grace");
    check(Current, None, None, Some(-grace_h), "expired/license_expired");
    check(Cancelled, None, None, Some(1), "active/license_active");
    check(Cancelled, None, None, Some(0), "expired/license_expired");
    check(Suspended, None, None, Some(1), "suspended/license_suspended");
    check(Revoked, None, None, Some(1), "expired/license_revoked");
    check(Current, Some(1), None, None, "trial/license_trial");
    check(Cancelled, Some(1), None, None, "trial/license_trial");
    check(Current, Some(0), None, None, "expired/license_expired");
    check(Current, Some(1), Some(-1), Some(9), "active/license_active");
    check(Current, Some(1), Some(1), Some(9), "trial/license_trial");
    // What is paid begins later: it counts from its issue on, so that nobody is without a right while
    // he moves here from seats that he still pays for.
    check(Current, None, Some(1), Some(9), "active/license_active");
    check(Current, Some(-9), Some(-1), Some(-1), "grace/license_grace");
    check(Suspended, Some(1), None, None, "suspended/license_suspended");
    check(Revoked, Some(1), None, None, "expired/license_revoked");
}

#[test]
fn a_license_says_until_when() {
    let product = visual();
    let question = asked(&product, Host::Web);
    let it = License { period_end: Some(now() + h(2)), ..license() };
    let it = check_license(it, &question, "active/license_active");
    assert_eq!((it.period_end, it.grace_end), (Some(now() + h(2)), None));
    assert_eq!((it.valid_until, it.as_of, it.stale), (now() + h(2), Some(now()), false));
    let it = License { period_end: Some(now() - h(718)), ..license() };
    let it = check_license(it, &question, "grace/license_grace");
    assert_eq!((it.grace_end, it.valid_until), (Some(now() + h(2)), now() + h(2)));
    assert_eq!(it.features.len(), 2);
}
