//! Customers who move between Microsoft's seats and a license, step by step.

use super::past::{Book, at, id, sale};
use super::*;
use crate::domain::{
    ActivatedBy, Activation, ActivationId, ActivationWrite, HeldSeat, License, LicenseStep,
    LicenseUser, OverLimit, ReportOrigin, ReportedLicence, Sale, SwitchTo, Units,
};

const SERVICE_ID: &str = "p.panel.team";

/// Tenant 1, in which these users hold seats that end on day 60.
fn seated(users: &[u128]) -> Book {
    let sku = Sku { next_lifecycle: Some(at(60)), ..sku(5, "Enabled", SERVICE_ID) };
    let mut commit = world(Vec::new(), vec![sku], Vec::new(), (Some(1), Some(1)));
    commit.users = vec![TenantUsers { tenant: tenant(1), writes: seats(users, true) }];
    let mut book = Book::new();
    book.commit(&commit);
    book
}

fn seats(users: &[u128], held: bool) -> UserWrites {
    let seat = || UserLicences::new(vec![licence(5, vec![path(Via::Direct, "Active")])]);
    UserWrites::Patch(users.iter().map(|it| (user(*it), held.then(seat))).collect())
}

fn issue(book: &mut Book, n: u8, sale: Sale) {
    book.issue(License::issued(id(n), None, sale, at(0)).unwrap(), 0);
}

fn asked(product: &Product, to: Option<SwitchTo>) -> SwitchAsked<'_> {
    SwitchAsked { tenant: tenant(1), product, to, license: None }
}

/// Steps as `act progress`, with who would lose access where anybody would or nobody can tell.
fn steps(plan: &Switch<'_>) -> Vec<String> {
    let step = |it: &SwitchStep| {
        let loses = match it.loses {
            Some(0) => String::new(),
            Some(loses) => format!(" loses {loses}"),
            None => " loses ?".to_owned(),
        };
        format!("{} {}{loses}", it.act, it.progress.as_str())
    };
    plan.steps.iter().map(step).collect()
}

#[track_caller]
fn check(book: &Book, asked: &SwitchAsked<'_>, day: i64, expected: &[&str]) {
    let plan = Switch::plan(&book.mirror, asked, &Policy::default(), at(day));
    assert_eq!(steps(&plan), expected);
}

#[test]
fn from_seats_to_a_license_one_step_after_the_other() {
    let product = visual();
    let mut book = seated(&[9, 10]);
    let to = asked(&product, None);
    let first = ["read done", "issue next", "activate later", "cover later", "stop_renewal later"];
    check(&book, &to, 0, &[&first[..], &["lapse later loses 2"]].concat());
    let plan = Switch::plan(&book.mirror, &to, &Policy::default(), at(0));
    assert_eq!((plan.to, plan.needed, plan.covered()), (SwitchTo::License, Some(2), (2, 0, 0)));
    let by: Vec<_> = plan.steps.iter().map(|it| it.by).collect();
    let days = [46, 46, 46, 46, 59, 60];
    assert_eq!(by, days.map(|day| Some(at(day))), "the new before the old ends");

    issue(&mut book, 1, Sale { period_start: Some(at(60)), max: Some(2), ..sale() });
    check(&book, &to, 1, &[&first[..], &["lapse later loses 2"]].concat());
    let named = SwitchAsked { license: Some(id(1)), ..to };
    let expected = [
        "read done",
        "issue done",
        "activate next",
        "cover later",
        "stop_renewal later",
        "lapse later loses 2",
    ];
    check(&book, &named, 1, &expected);

    book.bind(1, 2);
    // It counts at once, though its paid period begins on day 60.
    let expected = [
        "read done",
        "issue done",
        "activate done",
        "cover done",
        "stop_renewal unseen",
        "lapse next",
    ];
    check(&book, &to, 2, &expected);
    let plan = Switch::plan(&book.mirror, &to, &Policy::default(), at(2));
    assert_eq!((plan.covered(), plan.license_end), ((2, 2, 2), Some(at(90))));

    let gone = TenantUsers { tenant: tenant(1), writes: seats(&[9, 10], false) };
    book.commit(&Commit { users: vec![gone], ..Commit::default() });
    let plan = Switch::plan(
        &book.mirror,
        &asked(&product, Some(SwitchTo::License)),
        &Policy::default(),
        at(61),
    );
    assert!(plan.steps.iter().all(|it| it.progress == Progress::Done), "{:?}", steps(&plan));
}

#[test]
fn a_license_that_refuses_whoever_is_too_many_is_too_small_for_the_seats() {
    let product = visual();
    let mut book = seated(&[9, 10, 11]);
    let small = Sale { max: Some(2), over_limit: Some(OverLimit::Deny), ..sale() };
    issue(&mut book, 1, small);
    book.bind(1, 0);
    let to = asked(&product, None);
    let expected = [
        "read done",
        "issue done",
        "activate done",
        "raise next",
        "cover later",
        "stop_renewal later",
        "lapse later loses 1",
    ];
    check(&book, &to, 1, &expected);
    // Two of one place each are taken: a third has none, and it is always the same one.
    let plan = Switch::plan(&book.mirror, &to, &Policy::default(), at(1));
    assert_eq!(plan.too_small(), Some(3));
    let losers: Vec<_> = plan.users.iter().filter(|it| it.loses).map(|it| it.user).collect();
    assert_eq!(losers, [user(11)]);
    book.place(1, 11, 1);
    let plan = Switch::plan(&book.mirror, &to, &Policy::default(), at(1));
    let losers: Vec<_> = plan.users.iter().filter(|it| it.loses).map(|it| it.user).collect();
    assert_eq!((losers, plan.too_small()), (vec![user(10)], Some(3)), "who has a place keeps it");
}

#[test]
fn of_a_tenant_that_cannot_be_read_nobody_is_said_to_be_covered_or_to_lose() {
    let product = visual();
    let mut book = Book::new();
    let mut tenants = world(Vec::new(), Vec::new(), Vec::new(), (None, Some(1)));
    tenants.sources.clear();
    for it in &mut tenants.tenants {
        it.consent = Consent::Missing;
    }
    let line = ReportedLicence {
        tenant: tenant(1),
        service_id: SERVICE_ID.into(),
        sku_name: "Team".into(),
        provisioned: Some(20),
        assigned: Some(12),
        state: None,
        activated: None,
        product: None,
        reported_at: at(0),
        origin: ReportOrigin::Import,
    };
    tenants.users.clear();
    tenants.reported = vec![(tenant(1), vec![line])];
    book.commit(&tenants);
    issue(&mut book, 1, sale());
    book.bind(1, 0);
    let expected = [
        "read next",
        "issue done",
        "activate done",
        "cover later",
        "stop_renewal later",
        "lapse later loses ?",
    ];
    check(&book, &asked(&product, Some(SwitchTo::License)), 1, &expected);
    let plan = Switch::plan(
        &book.mirror,
        &asked(&product, Some(SwitchTo::License)),
        &Policy::default(),
        at(1),
    );
    assert_eq!((plan.read, plan.refused, plan.needed), (None, true, Some(12)));
}

#[test]
fn back_to_seats_whoever_has_a_place_needs_one_before_the_license_ends() {
    let product = visual();
    let mut book = seated(&[9]);
    issue(&mut book, 1, sale());
    book.bind(1, 0);
    book.place(1, 9, 0);
    book.place(1, 10, 0);
    let back = asked(&product, Some(SwitchTo::Appsource));
    let plan = Switch::plan(&book.mirror, &back, &Policy::default(), at(1));
    assert_eq!((plan.needed, plan.steps[4].by), (Some(2), plan.license_end));
    let expected =
        ["read done", "buy next", "assign later", "cancel later", "expire later loses 1"];
    assert_eq!(steps(&plan), expected);

    let mut units = sku(5, "Enabled", SERVICE_ID);
    units.units.enabled = 2;
    let seat = TenantUsers { tenant: tenant(1), writes: seats(&[10], true) };
    let skus = vec![(tenant(1), vec![units])];
    book.commit(&Commit { users: vec![seat], skus, ..Commit::default() });
    let expected = ["read done", "buy done", "assign done", "cancel next", "expire later"];
    check(&book, &back, 1, &expected);
    book.step(1, 2, &LicenseStep::Cancel);
    let expected = ["read done", "buy done", "assign done", "cancel done", "expire next"];
    check(&book, &back, 2, &expected);
    let done = ["read done", "buy done", "assign done", "cancel done", "expire done"];
    check(&book, &back, 31, &done);
}

#[test]
fn a_license_that_other_tenants_use_is_not_cancelled() {
    let product = visual();
    let mut book = seated(&[9]);
    issue(&mut book, 1, Sale { tenants_max: 2, ..sale() });
    book.bind(1, 0);
    let other = Activation {
        id: ActivationId::from_random([7; ActivationId::RANDOM]),
        license: id(1),
        tenant: Some(tenant(2)),
        by: ActivatedBy::User(user(9)),
        at: at(0),
    };
    let activations = vec![ActivationWrite::Put(other)];
    book.commit(&Commit { activations, ..Commit::default() });
    book.place(1, 10, 0);
    let back = asked(&product, Some(SwitchTo::Appsource));
    let expected = ["read done", "buy next", "assign later", "release later loses 1"];
    check(&book, &back, 1, &expected);
}

/// So many users of packages of license 1, known by their number alone.
fn anonymous(book: &mut Book, users: u8, day: i64) {
    let seat = Some(HeldSeat { taken_at: at(day), last_used: at(day) });
    let users = (0..users).map(|it| (LicenseUser::Anonymous([it; 16]), seat)).collect();
    book.commit(&Commit { license_users: vec![(id(1), users)], ..Commit::default() });
}

#[test]
fn of_users_without_a_name_nobody_is_said_to_keep_access() {
    let team = plan(SERVICE_ID, Channel::Appsource, "maps");
    let product = product(HybridMode::None, vec![team]);
    let mut book = seated(&[]);
    let mut bought = sku(5, "Warning", SERVICE_ID);
    bought.units = Units { enabled: 1, warning: 1, ..Units::default() };
    book.commit(&Commit { skus: vec![(tenant(1), vec![bought])], ..Commit::default() });
    issue(&mut book, 1, Sale { max: Some(5), ..sale() });
    anonymous(&mut book, 2, 0);
    let named = |to| SwitchAsked { license: Some(id(1)), ..asked(&product, Some(to)) };

    let back = named(SwitchTo::Appsource);
    // What is bought is good for both, also in Microsoft's grace; who gets it nobody can tell.
    let expected =
        ["read done", "buy done", "assign unseen", "cancel later", "expire later loses ?"];
    check(&book, &back, 1, &expected);
    let plan = Switch::plan(&book.mirror, &back, &Policy::default(), at(1));
    assert_eq!((plan.needed, plan.anonymous(), plan.users.len()), (Some(2), 2, 0));

    // Towards the license: whoever has a seat may use a package already, and may not.
    let mut book = book;
    let seat = TenantUsers { tenant: tenant(1), writes: seats(&[9], true) };
    book.commit(&Commit { users: vec![seat], ..Commit::default() });
    let plan = Switch::plan(&book.mirror, &named(SwitchTo::License), &Policy::default(), at(1));
    let lapse = plan.steps.last().unwrap();
    assert_eq!((lapse.act.as_str(), lapse.loses), ("lapse", None));
    // An id that no longer lives is nobody.
    book.step(1, 29, &LicenseStep::Renew(crate::domain::NewPeriod::default()));
    let plan = Switch::plan(&book.mirror, &back, &Policy::default(), at(32));
    assert_eq!(plan.anonymous(), 0);
}

#[test]
fn a_sku_that_is_two_plans_was_bought_once() {
    let team = plan(SERVICE_ID, Channel::Appsource, "maps");
    let same = Plan { sku_ids: vec![sku_id(5)], ..plan("p.panel.pro", Channel::Appsource, "") };
    let product = product(HybridMode::Entra, vec![team, same]);
    let mut book = seated(&[9]);
    let mut bought = sku(5, "Enabled", SERVICE_ID);
    bought.units = Units { enabled: 1, ..Units::default() };
    book.commit(&Commit { skus: vec![(tenant(1), vec![bought])], ..Commit::default() });
    issue(&mut book, 1, sale());
    book.bind(1, 0);
    book.place(1, 9, 0);
    book.place(1, 10, 0);
    let back = asked(&product, Some(SwitchTo::Appsource));
    let plan = Switch::plan(&book.mirror, &back, &Policy::default(), at(1));
    assert_eq!((plan.bought.len(), plan.needed), (2, Some(2)));
    assert_eq!(steps(&plan)[1], "buy next", "one seat, and two who need one");
}
