//! The publisher's licenses at moments in the past: what the journal says, and where it says nothing.

use super::*;
use crate::domain::{
    ActivatedBy, Activation, ActivationId, ActivationWrite, BillingCycle, Cause, Change, HeldSeat,
    License, LicenseId, LicenseStep, LicenseUser, NewPeriod, OverLimit, Sale,
};

pub(super) fn at(day: i64) -> Timestamp {
    now() + h(day * 24)
}

/// A store in small: the facts, and what changed.
pub(super) struct Book {
    pub(super) mirror: Mirror,
    pub(super) changes: Vec<Change>,
}

/// A month for Contoso.
pub(super) fn sale() -> Sale {
    Sale {
        product: "panel".parse().unwrap(),
        max: None,
        cycle: Some(BillingCycle::Monthly),
        ..Sale::sample()
    }
}

fn product_of_licenses() -> Product {
    product(HybridMode::Entra, Vec::new())
}

pub(super) fn id(n: u8) -> LicenseId {
    LicenseId::from_random([n; LicenseId::RANDOM])
}

impl Book {
    pub(super) fn new() -> Self {
        Self { mirror: Mirror::default(), changes: Vec::new() }
    }

    pub(super) fn commit(&mut self, commit: &Commit) {
        self.mirror = self.mirror.applied(commit);
        self.changes.extend(commit.changes.iter().cloned());
    }

    fn sell(&mut self, n: u8, day: i64, change: impl FnOnce(&mut License)) {
        let sale = Sale { max: Some(1), over_limit: Some(OverLimit::Deny), ..sale() };
        let mut license = License::issued(id(n), None, sale, at(day)).unwrap();
        change(&mut license);
        self.issue(license, day);
    }

    pub(super) fn issue(&mut self, license: License, day: i64) {
        let change = Change::of_license(at(day), Cause::Command, None, None, &license);
        let commit = Commit { licenses: vec![license], changes: vec![change], ..Commit::default() };
        self.commit(&commit);
    }

    pub(super) fn step(&mut self, n: u8, day: i64, step: &LicenseStep) {
        let before = Arc::clone(self.mirror.licenses().license(id(n)).unwrap());
        let after = before.stepped(step, at(day)).unwrap().license;
        let bound = self.mirror.licenses().activations_of(id(n)).find_map(|it| it.tenant);
        let change = Change::of_license(at(day), Cause::Command, bound, Some(&before), &after);
        let commit = Commit { licenses: vec![after], changes: vec![change], ..Commit::default() };
        self.commit(&commit);
    }

    pub(super) fn bind(&mut self, n: u8, day: i64) {
        let it = Activation {
            id: ActivationId::from_random([n; ActivationId::RANDOM]),
            license: id(n),
            tenant: Some(tenant(1)),
            by: ActivatedBy::User(user(9)),
            at: at(day),
        };
        let change = Change::of_activation(at(day), Cause::Activation, None, Some(&it));
        let activations = vec![ActivationWrite::Put(it)];
        self.commit(&Commit { activations, changes: vec![change], ..Commit::default() });
    }

    fn unbind(&mut self, day: i64) {
        let it = Arc::clone(self.mirror.licenses().activations().next().unwrap());
        let change = Change::of_activation(at(day), Cause::Command, Some(&it), None);
        let activations = vec![ActivationWrite::Remove(it.id)];
        self.commit(&Commit { activations, changes: vec![change], ..Commit::default() });
    }

    pub(super) fn place(&mut self, n: u8, who: u128, day: i64) {
        let key = (tenant(1), user(who));
        let seat = HeldSeat { taken_at: at(day), last_used: at(day) };
        let who = LicenseUser::Known(key.0, key.1);
        let before = self.mirror.licenses().users(id(n)).and_then(|it| it.seat(who));
        let change = Change::of_place(at(day), Cause::Activation, id(n), key, before, Some(seat));
        let license_users = vec![(id(n), vec![(who, Some(seat))])];
        self.commit(&Commit { license_users, changes: vec![change], ..Commit::default() });
    }

    /// What was answered then, from the journal.
    pub(super) fn past(&self, day: i64, question: &Question<'_>) -> Decision {
        let (at, policy) = (at(day), Policy::default());
        let past = Past { at, changes: &self.changes, journal_since: None, runs: &[] };
        answer(&rewind(&self.mirror, past, question, &policy), question, &policy, at)
    }

    fn then(&self, day: i64, shown: Shown<'_>, since: Option<i64>) -> String {
        let product = product_of_licenses();
        let question = Question { shown, ..asked(&product, Host::Web) };
        let policy = Policy::default();
        let past =
            Past { at: at(day), changes: &self.changes, journal_since: since.map(at), runs: &[] };
        let then = rewind(&self.mirror, past, &question, &policy);
        let it = answer(&then, &question, &policy, at(day));
        format!("{}/{}", it.state, it.reason)
    }
}

const NONE: &str = "unlicensed/not_licensed";

#[test]
fn a_license_stands_in_the_past_as_it_stood() {
    let mut book = Book::new();
    book.sell(1, 0, |_| {});
    book.bind(1, 2);
    book.step(1, 35, &LicenseStep::Renew(NewPeriod::default()));
    book.step(1, 40, &LicenseStep::Suspend);
    book.step(1, 45, &LicenseStep::Reinstate);
    book.step(1, 50, &LicenseStep::Cancel);
    book.unbind(80);
    book.bind(1, 90);
    book.step(1, 91, &LicenseStep::Revoke);
    for (day, says) in [
        (-1, NONE),
        (0, NONE),
        (1, NONE),
        (2, "active/license_active"),
        (29, "active/license_active"),
        (31, "grace/license_grace"),
        (35, "active/license_active"),
        (39, "active/license_active"),
        (40, "suspended/license_suspended"),
        (44, "suspended/license_suspended"),
        (45, "active/license_active"),
        (51, "active/license_active"),
        (66, "expired/license_expired"),
        (80, NONE),
        (89, NONE),
        (90, "expired/license_expired"),
        (91, "expired/license_revoked"),
        (99, "expired/license_revoked"),
    ] {
        assert_eq!(book.then(day, Shown::Nothing, None), says, "day {day}");
    }
    assert_eq!(book.then(0, Shown::Package(id(1)), None), "active/license_active");
    let not_sold = "unlicensed/license_not_recognized";
    assert_eq!(book.then(-1, Shown::Package(id(1)), None), not_sold);
}

#[test]
fn a_license_issued_anew_was_the_old_one_before() {
    let mut book = Book::new();
    book.sell(1, 0, |_| {});
    book.bind(1, 1);
    let old = Arc::clone(book.mirror.licenses().license(id(1)).unwrap());
    let bound = Arc::clone(book.mirror.licenses().activations().next().unwrap());
    let ended = License { revoked_at: Some(at(5)), ..old.as_ref().clone() };
    let new = License { id: id(2), ..old.as_ref().clone() };
    let moved = Activation { license: id(2), ..bound.as_ref().clone() };
    let cause = Cause::Command;
    book.commit(&Commit {
        changes: vec![
            Change::of_license(at(5), cause.clone(), None, Some(&old), &ended),
            Change::of_license(at(5), cause.clone(), None, None, &new),
            Change::of_activation(at(5), cause, Some(&bound), Some(&moved)),
        ],
        licenses: vec![ended, new],
        activations: vec![ActivationWrite::Put(moved)],
        ..Commit::default()
    });
    for day in [1, 4, 5, 6] {
        assert_eq!(book.then(day, Shown::Nothing, None), "active/license_active", "day {day}");
    }
    let (old, new) = (Shown::Package(id(1)), Shown::Package(id(2)));
    book.unbind(7);
    assert_eq!(book.then(8, old, None), "expired/license_revoked");
    assert_eq!(book.then(8, new, None), "active/license_active");
    assert_eq!(book.then(0, old, None), "active/license_active");
    assert_eq!(book.then(0, new, None), "unlicensed/license_not_recognized");
}

#[test]
fn places_are_those_of_then() {
    let mut book = Book::new();
    book.sell(1, 0, |it| it.period_end = None);
    book.bind(1, 0);
    book.place(1, 8, 3);
    book.place(1, 9, 40);
    for (day, says) in [
        (2, "active/license_active"),
        (3, "unlicensed/over_limit"),
        (33, "unlicensed/over_limit"),
        (34, "active/license_active"),
        (40, "active/license_active"),
    ] {
        assert_eq!(book.then(day, Shown::Nothing, None), says, "day {day}");
    }
    // He comes back behind the other one, and it was so all the same.
    book.place(1, 8, 80);
    assert_eq!(book.then(20, Shown::Nothing, None), "unlicensed/over_limit");
    assert_eq!(book.then(81, Shown::Nothing, None), "unlicensed/over_limit");
    // A place that is free again leaves the disk.
    let gone = Change::of_place(
        at(120),
        Cause::Schedule,
        id(1),
        (tenant(1), user(8)),
        Some(HeldSeat { taken_at: at(80), last_used: at(80) }),
        None,
    );
    let write = (LicenseUser::Known(tenant(1), user(8)), None);
    let license_users = vec![(id(1), vec![write])];
    book.commit(&Commit { license_users, changes: vec![gone], ..Commit::default() });
    assert_eq!(book.then(81, Shown::Nothing, None), "unlicensed/over_limit");
    assert_eq!(book.then(121, Shown::Nothing, None), "active/license_active");
}

#[test]
fn where_forgotten_users_could_have_shut_one_out_the_answer_is_unknown() {
    let mut book = Book::new();
    book.sell(1, 0, |it| {
        it.period_end = None;
        it.max = Some(2);
    });
    book.bind(1, 0);
    book.place(1, 8, 3);
    book.commit(&Commit {
        changes: vec![Change::of_anonymous_places(at(50), Cause::Schedule, id(1), 4)],
        ..Commit::default()
    });
    assert_eq!(book.then(20, Shown::Nothing, None), "unknown/not_recorded");
    assert_eq!(book.then(50, Shown::Nothing, None), "active/license_active");
    book.place(1, 7, 4);
    assert_eq!(book.then(20, Shown::Nothing, None), "unlicensed/over_limit", "known ones suffice");
    let mut generous = Book::new();
    generous.sell(1, 0, |it| it.over_limit = Some(OverLimit::Warn));
    generous.bind(1, 0);
    generous.changes.push(Change::of_anonymous_places(at(50), Cause::Schedule, id(1), 4));
    assert_eq!(generous.then(20, Shown::Nothing, None), "active/license_active");
}

#[test]
fn before_the_journal_begins_the_answer_is_unknown_unless_nothing_was_sold() {
    let mut book = Book::new();
    book.sell(1, 0, |it| it.period_end = None);
    book.bind(1, 2);
    book.changes.clear();
    for (day, says) in [
        (-1, NONE),
        (0, "unknown/not_recorded"),
        (9, "unknown/not_recorded"),
        (10, "active/license_active"),
    ] {
        assert_eq!(book.then(day, Shown::Nothing, Some(10)), says, "day {day}");
    }
    assert_eq!(book.then(9, Shown::Package(id(1)), Some(10)), "unknown/not_recorded");
}
