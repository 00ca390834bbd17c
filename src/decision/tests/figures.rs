//! The publisher's licenses in figures.

use super::past::{Book, at, id, sale};
use super::*;
use crate::domain::{License, LicenseUser, LicenseUserWrites, Sale, Sighted, SightedKind};

#[test]
fn licenses_are_counted_and_those_to_look_at_are_named() {
    let mut book = Book::new();
    let mut sell = |n: u8, sale: Sale| {
        book.issue(License::issued(id(n), None, sale, at(0)).unwrap(), 0);
    };
    let until = |day: i64| Sale { cycle: None, period_end: Some(at(day)), ..sale() };
    sell(1, Sale { max: Some(10), ..until(400) });
    sell(2, Sale { max: Some(10), ..until(20) });
    sell(3, Sale { kind: LicenseKind::Site, domain: Some("a.example".into()), ..until(-10) });
    sell(4, until(-40));
    sell(5, Sale { trial_end: Some(at(29)), cycle: None, ..sale() });
    sell(6, Sale { max: Some(2), ..until(400) });
    let places = |n: u8, count: u8| {
        let seat = crate::domain::HeldSeat { taken_at: at(0), last_used: at(0) };
        let all = (0..count).map(|it| (LicenseUser::Anonymous([it; 16]), Some(seat)));
        (id(n), all.collect::<LicenseUserWrites>())
    };
    let seen = |number: u8| Sighted {
        kind: SightedKind::Tenant,
        text: Arc::from(number.to_string()),
        at: at(0),
    };
    book.commit(&Commit {
        license_users: vec![places(1, 8), places(2, 9), places(6, 3)],
        sighted: vec![(id(1), seen(1)), (id(1), seen(2))],
        ..Commit::default()
    });
    let figures = LicenseFigures::of(&book.mirror, &Policy::default(), at(0));
    assert_eq!((figures.total(), figures.places, figures.activations), (6, 20, 0));
    let states: Vec<_> = figures.by_state().into_iter().collect();
    let expected = [(State::Active, 3), (State::Trial, 1), (State::Grace, 1), (State::Expired, 1)];
    assert_eq!(states, expected);
    assert_eq!(figures.counts.get(&(LicenseKind::Site, State::Grace)), Some(&1));
    // Of the lapsed one the end of its grace; the expired one ends no more.
    let ending: Vec<_> = figures.ending.some.iter().map(|(id, _, _, end)| (*id, *end)).collect();
    assert_eq!(ending, [(id(2), at(20)), (id(3), at(20)), (id(5), at(29))]);
    let full: Vec<_> = figures.nearly_full.some.iter().map(|(id, _, _, it)| (*id, *it)).collect();
    assert_eq!(full, [(id(6), (3, 2)), (id(2), (9, 10))]);
    assert_eq!((figures.nearly_full.count, figures.over), (2, 1));
    assert_eq!((figures.odd.count, figures.odd.some.first().map(|it| it.0)), (1, Some(id(1))));
    // The clock alone makes others of them.
    let later = LicenseFigures::of(&book.mirror, &Policy::default(), at(60));
    assert_eq!((later.places, later.over, later.odd.count), (0, 0, 0));
    assert_eq!(later.by_state().get(&State::Expired), Some(&4));
}
