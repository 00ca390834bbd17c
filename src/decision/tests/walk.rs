//! Licenses day by day through all that may be done to them, by kind and by how they are proven; and
//! the laws that hold whatever is done.

use proptest::prelude::*;

use super::past::{Book, at, id, sale};
use super::*;
use crate::domain::{
    BillingCycle, License, LicenseChange, LicenseRefused, LicenseStep, NewPeriod, OverLimit, Sale,
};

const SITE: &str = "https://bi.contoso.example/report";
const PROOFS: [Proof; 3] = [Proof::EntraActivation, Proof::IdAndLicensee, Proof::Package];
const RENEW: LicenseStep = LicenseStep::Renew(NewPeriod { end: None, cycle: None });

/// A license of this kind.
fn sold(kind: LicenseKind) -> Sale {
    let domain = (kind == LicenseKind::Site).then(|| "bi.contoso.example".into());
    let max = (kind != LicenseKind::Site).then_some(10);
    Sale { kind, max, domain, ..sale() }
}

/// How somebody asks who proves a license of this kind like this.
fn asks(product: &Product, kind: LicenseKind, proof: Proof) -> Question<'_> {
    let host = if kind == LicenseKind::Site { Host::Embed } else { Host::Web };
    let question = Question { site: Some(SITE), ..asked(product, host) };
    match proof {
        Proof::EntraActivation => question,
        Proof::IdAndLicensee => {
            Question { shown: Shown::Typed { id: id(1), licensee: " CONTOSO " }, ..question }
        }
        Proof::Package => Question { shown: Shown::Package(id(1)), ..question },
    }
}

/// A change of nothing that is paid for.
fn terms() -> LicenseChange {
    LicenseChange {
        over_limit: Some(OverLimit::Deny),
        tenants_max: Some(3),
        billing: Some("B-7".into()),
        ..LicenseChange::default()
    }
}

/// What is done on which day, and what is answered from then on.
fn story(kind: LicenseKind) -> Vec<(i64, Option<LicenseStep>, &'static str)> {
    use LicenseStep::{Cancel, Change, Reinstate, Revoke, Suspend};

    let upgrade = match kind {
        LicenseKind::User | LicenseKind::Capacity => {
            LicenseChange { max: Some(50), ..LicenseChange::default() }
        }
        LicenseKind::Site => {
            LicenseChange { domain: Some("contoso.example".into()), ..LicenseChange::default() }
        }
    };
    vec![
        (0, None, "trial/license_trial"),
        (30, None, "active/license_active"),
        (60, None, "grace/license_grace"),
        (90, None, "expired/license_expired"),
        (95, Some(RENEW), "active/license_active"),
        (100, Some(Change(upgrade)), "active/license_active"),
        (110, Some(Cancel), "active/license_active"),
        // The upgrade began a new period of thirty days; cancelled, it ends without grace.
        (130, None, "expired/license_expired"),
        // Whom it is made out to and what is done over its limits bring nothing back.
        (135, Some(Change(terms())), "expired/license_expired"),
        (140, Some(RENEW), "active/license_active"),
        (150, Some(Suspend), "suspended/license_suspended"),
        (155, Some(Reinstate), "active/license_active"),
        (160, Some(Suspend), "suspended/license_suspended"),
        // Payment alone does not make it count again.
        (165, Some(RENEW), "suspended/license_suspended"),
        (170, Some(Reinstate), "active/license_active"),
        (195, None, "grace/license_grace"),
        (197, Some(Change(terms())), "grace/license_grace"),
        (200, Some(RENEW), "active/license_active"),
        (210, Some(Cancel), "active/license_active"),
        (215, Some(Suspend), "suspended/license_suspended"),
        (220, Some(Reinstate), "active/license_active"),
        (230, None, "expired/license_expired"),
        (231, Some(RENEW), "active/license_active"),
        (240, Some(Revoke), "expired/license_revoked"),
        (300, None, "expired/license_revoked"),
    ]
}

/// What a site's license is worth to whoever signs in: embedded pages let only packages speak.
fn expected(kind: LicenseKind, proof: Proof, says: &'static str) -> &'static str {
    match (kind, proof) {
        (LicenseKind::Site, Proof::EntraActivation | Proof::IdAndLicensee) => {
            "unlicensed/host_unsupported"
        }
        (_, _) => says,
    }
}

#[test]
fn a_license_lives_through_all_that_may_happen_day_by_day() {
    let product = product(HybridMode::Licensee, Vec::new());
    for kind in LicenseKind::ALL {
        for proof in PROOFS {
            let question = asks(&product, *kind, proof);
            let mut book = Book::new();
            let sale = Sale { trial_end: Some(at(30)), ..sold(*kind) };
            book.issue(License::issued(id(1), None, sale, at(0)).unwrap(), 0);
            if proof == Proof::EntraActivation {
                book.bind(1, 0);
            }
            let story = story(*kind);
            let mut answered = Vec::new();
            let mut says = "";
            for day in 0..310 {
                for (_, step, then) in story.iter().filter(|(on, ..)| *on == day) {
                    if let Some(step) = step {
                        book.step(1, day, step);
                    }
                    says = expected(*kind, proof, then);
                }
                let it = answer(&book.mirror, &question, &Policy::default(), at(day));
                let said = format!("{}/{}", it.state, it.reason);
                assert_eq!(said, says, "{kind} proven by {proof:?}, day {day}");
                let end = it.grace_end.or(it.period_end);
                let keeps = end.is_none_or(|end| it.valid_until <= end);
                assert!(keeps || !it.usable, "{kind} {proof:?} {day}: kept beyond {end:?}");
                answered.push(it);
            }
            for (day, it) in (0..).zip(answered) {
                let past = book.past(day, &question);
                assert_eq!(past, it, "{kind} proven by {proof:?}: day {day} as the journal has it");
            }
        }
    }
}

#[test]
fn a_renewal_is_felt_at_its_moment_and_an_end_too() {
    let product = product(HybridMode::Licensee, Vec::new());
    let question = asks(&product, LicenseKind::User, Proof::Package);
    let mut book = Book::new();
    book.issue(License::issued(id(1), None, sold(LicenseKind::User), at(0)).unwrap(), 0);
    let ask = |book: &Book, moment: Timestamp| {
        answer(&book.mirror, &question, &Policy::default(), moment).state
    };
    let before = SignedDuration::from_nanos(1);
    assert_eq!(ask(&book, at(30) - before), State::Active);
    assert_eq!(ask(&book, at(30)), State::Grace);
    assert_eq!(ask(&book, at(60) - before), State::Grace);
    assert_eq!(ask(&book, at(60)), State::Expired);
    book.step(1, 60, &RENEW);
    assert_eq!(ask(&book, at(60)), State::Active);
    book.step(1, 61, &LicenseStep::Cancel);
    assert_eq!(ask(&book, at(90) - before), State::Active);
    assert_eq!(ask(&book, at(90)), State::Expired);
}

/// A license as it may be sold, and what may be done to it with the days in between.
fn lives() -> impl Strategy<Value = (Sale, Vec<(i64, LicenseStep)>)> {
    let cycle = proptest::option::of(proptest::sample::select(BillingCycle::ALL));
    let day = || proptest::option::of(-20_i64..90);
    let kind = proptest::sample::select(LicenseKind::ALL);
    let sale = (kind, cycle, day(), day()).prop_map(|(kind, cycle, trial, end)| Sale {
        cycle,
        trial_end: trial.map(at),
        period_end: end.map(at),
        ..sold(kind)
    });
    let period = || {
        (day(), cycle_of_paid())
            .prop_map(|(end, cycle)| NewPeriod { end: end.map(|it| at(it + 200)), cycle })
    };
    let change = (1_u64..99, period()).prop_map(|(max, period)| {
        LicenseStep::Change(LicenseChange { max: Some(max), period, ..LicenseChange::default() })
    });
    let step = prop_oneof![
        3 => Just(RENEW),
        1 => period().prop_map(LicenseStep::Renew),
        2 => change,
        1 => Just(LicenseStep::Change(terms())),
        2 => Just(LicenseStep::Cancel),
        2 => Just(LicenseStep::Suspend),
        3 => Just(LicenseStep::Reinstate),
        1 => Just(LicenseStep::Revoke),
    ];
    (sale, proptest::collection::vec((0_i64..50, step), 0..9))
}

fn cycle_of_paid() -> impl Strategy<Value = Option<BillingCycle>> {
    let paid = vec![BillingCycle::Monthly, BillingCycle::Yearly, BillingCycle::ThreeYears];
    proptest::option::weighted(0.3, proptest::sample::select(paid))
}

/// What a step may do to a license, whatever it is.
fn obeys(before: &License, step: &LicenseStep, day: i64) -> Result<Option<License>, TestCaseError> {
    let done = match before.stepped(step, at(day)) {
        Ok(done) => done,
        Err(LicenseRefused::Standing(_)) => {
            let over = before.cancelled_at.is_some()
                && before.paid_until().is_some_and(|end| end <= at(day));
            let stays = before.revoked_at.is_some()
                || *step == LicenseStep::Reinstate
                || over && matches!(step, LicenseStep::Change(_));
            prop_assert!(stays, "{step:?} was refused");
            return Ok(None);
        }
        Err(LicenseRefused::Field { .. }) => return Ok(None),
    };
    let after = done.license;
    if *step == RENEW {
        // A license that nobody had paid has no period yet.
        let paid = before.paid_at.is_some_and(|paid| paid <= at(day));
        let end = |it: &License| it.period_end.unwrap_or(Timestamp::MAX);
        prop_assert!(!paid || end(&after) >= end(before), "{before:?} became {after:?}");
    }
    if *step == LicenseStep::Change(terms()) {
        let times = |it: &License| (it.trial_end, it.paid_at, it.period_start, it.period_end);
        prop_assert_eq!(times(&after), times(before));
        prop_assert_eq!((after.standing(), done.credit), (before.standing(), None));
    }
    match after.stepped(step, at(day)) {
        Ok(again) => {
            prop_assert!(again.already && again.license == after, "{step:?} twice differs");
        }
        // What is cancelled is not reinstated but renewed, also where it was suspended before.
        Err(refused) => {
            let cancelled = after.standing() == Standing::Cancelled;
            prop_assert!(cancelled && *step == LicenseStep::Reinstate, "{step:?} twice: {refused}");
        }
    }
    prop_assert_eq!(after.id, before.id);
    prop_assert!(before.revoked_at.is_none() || after.revoked_at == before.revoked_at);
    if let Some(credit) = done.credit {
        prop_assert!((0.0..=1.0).contains(&credit.share()), "{credit:?}");
    }
    Ok(Some(after))
}

proptest! {
    #[test]
    fn whatever_is_done_to_a_license_the_laws_hold((sale, steps) in lives()) {
        let product = product(HybridMode::Licensee, Vec::new());
        let kind = sale.kind;
        let question = asks(&product, kind, Proof::Package);
        let policy = Policy::default();
        let Ok(first) = License::issued(id(1), None, sale, at(0)) else { return Ok(()) };
        let mut book = Book::new();
        book.issue(first, 0);
        let (mut day, mut answered) = (0, Vec::new());
        let steps = steps.into_iter().map(|(days, step)| (days, Some(step)));
        for (days, step) in steps.chain([(120, None)]) {
            // The last answer before, as long as nothing is done.
            let mut last: Option<Decision> = None;
            for passing in day..day + days {
                let it = answer(&book.mirror, &question, &policy, at(passing));
                let license = book.mirror.licenses().license(id(1)).unwrap();
                let stands = license_now(license, policy.grace, at(passing));
                prop_assert_eq!((it.state, it.reason), (stands.state, stands.reason));
                prop_assert!(license.revoked_at.is_none() || it.state == State::Expired);
                // By itself it only gets worse; but a trial that is paid ahead becomes active.
                if let Some(last) = last {
                    let paid_ahead = (last.state, it.state) == (State::Trial, State::Active);
                    prop_assert!(last.state <= it.state || paid_ahead, "{last:?} then {it:?}");
                }
                last = Some(it.clone());
                answered.push((passing, it));
            }
            day += days;
            let before = std::sync::Arc::clone(book.mirror.licenses().license(id(1)).unwrap());
            if let Some(step) = step && obeys(&before, &step, day)?.is_some() {
                book.step(1, day, &step);
            }
        }
        for (day, it) in answered {
            prop_assert_eq!(book.past(day, &question), it, "day {} as the journal has it", day);
        }
    }
}
