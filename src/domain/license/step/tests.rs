//! Each step, with what it makes of a license and what is refused.

use super::*;

fn at(day: i64) -> Timestamp {
    let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    start + SignedDuration::from_hours(day * 24)
}

fn issued(sale: Sale) -> Result<License, LicenseRefused> {
    License::issued(LicenseId::from_random([1; 18]), None, sale, at(0))
}

fn stepped(it: &License, step: &LicenseStep, day: i64) -> License {
    it.stepped(step, at(day)).unwrap().license
}

const RENEW: LicenseStep = LicenseStep::Renew(NewPeriod { end: None, cycle: None });

#[test]
fn a_cycle_sets_the_dates_that_are_not_named() {
    let check = |cycle, trial: Option<i64>, expected: (Option<i64>, Option<i64>)| {
        let sale = Sale { cycle: Some(cycle), trial_end: trial.map(at), ..Sale::sample() };
        let it = issued(sale).unwrap();
        assert_eq!((it.trial_end, it.period_end), (expected.0.map(at), expected.1.map(at)));
    };
    check(BillingCycle::Trial, None, (Some(30), None));
    check(BillingCycle::Monthly, None, (None, Some(30)));
    check(BillingCycle::Yearly, None, (None, Some(365)));
    check(BillingCycle::ThreeYears, None, (None, Some(1_096)));
    check(BillingCycle::Monthly, Some(30), (Some(30), Some(60)));
    assert_eq!(issued(Sale::sample()).unwrap().period_end, None);
}

#[test]
fn a_new_period_is_as_long_as_the_old_one_from_now() {
    let check = |sale: Sale, day, expected: Option<i64>| {
        let it = stepped(&issued(sale).unwrap(), &RENEW, day);
        assert_eq!((it.period_end, it.paid_at), (expected.map(at), Some(at(day))));
    };
    check(Sale { period_end: Some(at(90)), ..Sale::sample() }, 10, Some(100));
    check(Sale { period_end: Some(at(90)), ..Sale::sample() }, 200, Some(290));
    check(Sale { trial_end: Some(at(30)), ..Sale::sample() }, 10, Some(40));
    check(Sale { cycle: Some(BillingCycle::Yearly), ..Sale::sample() }, 1, Some(366));
    let named =
        Sale { cycle: Some(BillingCycle::Monthly), period_end: Some(at(200)), ..Sale::sample() };
    check(named.clone(), 10, Some(210));
    // Of a trial with a paid period behind it the paid one counts.
    check(Sale { trial_end: Some(at(150)), ..named }, 160, Some(210));
    check(Sale { period_end: Some(at(-5)), ..Sale::sample() }, 0, Some(30));
    check(Sale::sample(), 10, None);
}

#[test]
fn an_upgrade_takes_effect_at_once_and_says_what_was_not_used() {
    let it = issued(Sale { period_end: Some(at(100)), ..Sale::sample() }).unwrap();
    let change = LicenseChange { max: Some(50), ..LicenseChange::default() };
    let done = it.stepped(&LicenseStep::Change(change), at(25)).unwrap();
    assert_eq!((done.license.max, done.license.period_end), (Some(50), Some(at(125))));
    let credit = done.credit.unwrap();
    assert!((credit.share() - 0.75).abs() < 1e-9 && (credit.days() - 75.0).abs() < 1e-9);
    let nothing = LicenseStep::Change(LicenseChange::default());
    assert!(matches!(it.stepped(&nothing, at(1)), Err(LicenseRefused::Field { .. })));
    let trial = issued(Sale { trial_end: Some(at(30)), ..Sale::sample() }).unwrap();
    let more = LicenseChange { max: Some(99), ..LicenseChange::default() };
    let more = stepped(&trial, &LicenseStep::Change(more), 3);
    assert_eq!((more.max, more.paid_at, more.trial_end), (Some(99), None, Some(at(30))));
}

#[test]
fn steps_follow_each_other_as_the_table_says() {
    use LicenseStep::{Cancel, Reinstate, Revoke, Suspend};
    let check = |steps: &[&LicenseStep], says: &str| {
        let mut it = issued(Sale { period_end: Some(at(30)), ..Sale::sample() }).unwrap();
        let mut said = String::new();
        for (step, day) in steps.iter().zip(1..) {
            match it.stepped(step, at(day)) {
                Ok(done) => {
                    said = format!(
                        "{}{}",
                        done.license.standing(),
                        if done.already { "!" } else { "" }
                    );
                    it = done.license;
                }
                Err(refused) => said = refused.to_string(),
            }
        }
        assert!(said.starts_with(says), "{steps:?}: {said}");
    };
    check(&[&Cancel], "cancelled");
    check(&[&Cancel, &Cancel], "cancelled!");
    check(&[&Cancel, &RENEW], "current");
    check(&[&Cancel, &Suspend], "suspended");
    check(&[&Cancel, &Suspend, &Reinstate], "cancelled");
    check(&[&Cancel, &Reinstate], "it is not suspended but cancelled");
    check(&[&Suspend, &RENEW], "suspended");
    check(&[&Suspend, &Reinstate], "current");
    check(&[&Reinstate], "current!");
    check(&[&Revoke, &Revoke], "revoked!");
    for step in [&Cancel, &Suspend, &Reinstate, &RENEW] {
        check(&[&Revoke, step], "it was revoked");
    }
}

#[test]
fn what_cannot_be_sold_is_refused_by_its_field() {
    let check = |sale: Sale, name: &str| {
        let error = issued(sale).unwrap_err().to_string();
        assert!(error.starts_with(&format!("`{name}`")), "{error}");
    };
    check(Sale { licensee: " ".into(), ..Sale::sample() }, "licensee");
    check(Sale { max: Some(0), ..Sale::sample() }, "max");
    check(Sale { tenants_max: 0, ..Sale::sample() }, "tenants_max");
    check(Sale { kind: LicenseKind::Site, ..Sale::sample() }, "domain");
    check(Sale { domain: Some("a.example".into()), ..Sale::sample() }, "domain");
    check(Sale { node: Some("P1".into()), ..Sale::sample() }, "node");
    let (trial_end, period_end) = (Some(at(30)), Some(at(30)));
    check(Sale { period_end, trial_end, ..Sale::sample() }, "period_end");
}

/// A license of 30 days, or with a trial before that.
fn lived(trial: Option<i64>, end: Option<i64>, steps: &[(i64, LicenseStep)]) -> License {
    let sale = Sale { trial_end: trial.map(at), period_end: end.map(at), ..Sale::sample() };
    let first = issued(sale).unwrap();
    steps.iter().fold(first, |it, (day, step)| stepped(&it, step, *day))
}

#[test]
fn a_change_begins_a_period_only_where_it_covers_something_else_or_names_one() {
    type Times = (Option<i64>, Option<i64>, Option<i64>);
    let times = |it: &License| {
        let day = |then: Timestamp| then.duration_since(at(0)).as_hours() / 24;
        (it.trial_end.map(day), it.paid_at.map(day), it.period_end.map(day))
    };
    let check = |license: &License, change: &LicenseChange, day, expected: Times| {
        let done = license.stepped(&LicenseStep::Change(change.clone()), at(day)).unwrap();
        assert_eq!(times(&done.license), expected, "{change:?} on day {day}");
        let anew = times(license) != expected;
        assert!(
            anew || done.credit.is_none(),
            "{change:?} on day {day} credits a period that runs"
        );
        assert_eq!(done.license.cancelled_at, license.cancelled_at);
    };
    let none = LicenseChange::default();
    let more = LicenseChange { max: Some(50), ..none.clone() };
    let monthly = NewPeriod { end: None, cycle: Some(BillingCycle::Monthly) };
    let paid = LicenseChange { period: monthly, ..none.clone() };
    let kept = [
        LicenseChange { over_limit: Some(OverLimit::Deny), ..none.clone() },
        LicenseChange { tenants_max: Some(3), ..none.clone() },
        LicenseChange { licensee: Some("Fabrikam".into()), ..none.clone() },
        LicenseChange { billing: Some("B-7".into()), ..none },
    ];
    let current = lived(None, Some(30), &[]);
    let cancelled = lived(None, Some(30), &[(1, LicenseStep::Cancel)]);
    for it in &kept {
        // While it runs, in its grace, and long after it.
        for day in [10, 40, 100] {
            check(&current, it, day, (None, Some(0), Some(30)));
            check(&cancelled, it, day, (None, Some(0), Some(30)));
        }
        check(&lived(Some(20), None, &[]), it, 10, (Some(20), None, None));
        check(&lived(Some(20), Some(50), &[]), it, 10, (Some(20), Some(20), Some(50)));
    }
    for day in [10, 40, 100] {
        check(&current, &more, day, (None, Some(day), Some(day + 30)));
    }
    check(&cancelled, &more, 10, (None, Some(10), Some(40)));
    // Nothing that was paid has begun: the trial goes on, and its users are more at once.
    check(&lived(Some(20), None, &[]), &more, 10, (Some(20), None, None));
    check(&lived(Some(20), Some(50), &[]), &more, 10, (Some(20), Some(20), Some(50)));
    check(&lived(Some(20), Some(50), &[]), &more, 25, (Some(20), Some(25), Some(55)));
    check(&lived(Some(20), Some(50), &[]), &paid, 10, (Some(20), Some(10), Some(40)));
    let later =
        issued(Sale { period_start: Some(at(60)), period_end: Some(at(90)), ..Sale::sample() });
    check(&later.unwrap(), &more, 10, (None, Some(60), Some(90)));
}

#[test]
fn what_was_cancelled_and_is_over_comes_back_by_a_renewal_alone() {
    let more = LicenseChange { max: Some(50), ..LicenseChange::default() };
    let named = NewPeriod { end: Some(at(200)), cycle: None };
    let named = LicenseChange { period: named, ..LicenseChange::default() };
    for it in [
        lived(None, Some(30), &[(1, LicenseStep::Cancel)]),
        lived(Some(30), None, &[(1, LicenseStep::Cancel)]),
        lived(Some(10), Some(30), &[(1, LicenseStep::Cancel)]),
        lived(None, Some(30), &[(1, LicenseStep::Cancel), (2, LicenseStep::Suspend)]),
    ] {
        for change in [&more, &named] {
            let step = LicenseStep::Change(change.clone());
            let refused = it.stepped(&step, at(30)).unwrap_err().to_string();
            assert!(refused.contains("`renew` it first"), "{refused}");
            let renewed = stepped(&it, &RENEW, 30);
            assert_eq!(renewed.cancelled_at, None);
            assert!(renewed.stepped(&step, at(30)).is_ok());
        }
    }
}

#[test]
fn a_company_that_changed_its_name_is_known_by_the_new_one_alone() {
    let renamed = LicenseChange {
        licensee: Some("Fabrikam".into()),
        billing: Some("B-7".into()),
        ..LicenseChange::default()
    };
    let it = stepped(&lived(None, Some(30), &[]), &LicenseStep::Change(renamed), 3);
    assert!(it.is_licensee(" FABRIKAM ") && !it.is_licensee("Contoso"));
    assert_eq!(it.billing.as_deref(), Some("B-7"));
}
