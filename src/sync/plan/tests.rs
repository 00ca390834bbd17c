//! What a run changes, and what the brake holds of it.

use super::*;
use crate::domain::{
    CapabilityStatus, Licence, Mirror, Path, PathState, SourceKey, Trigger, Units, Via,
};
use jiff::SignedDuration;
use uuid::Uuid;

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

pub(super) fn sku(id: u128) -> Sku {
    Sku {
        id: SkuId::from_uuid(Uuid::from_u128(id)),
        part_number: "P".into(),
        status: CapabilityStatus::Enabled,
        service_plans: Vec::new(),
        units: Units::default(),
        next_lifecycle: None,
        missing_since: None,
    }
}

pub(super) fn user(id: u128) -> UserId {
    UserId::from_uuid(Uuid::from_u128(id))
}

pub(super) fn holds(id: u128) -> UserLicences {
    let path =
        Path { via: Via::Direct, state: PathState::Active, error: None, disabled_plans: vec![] };
    let sku = SkuId::from_uuid(Uuid::from_u128(id));
    UserLicences::new([Licence { sku, assigned: true, disabled_plans: vec![], paths: vec![path] }])
}

pub(super) fn tenant(users: u128) -> TenantView {
    let id = TenantId::from_uuid(Uuid::from_u128(77)).unwrap();
    let mut view = TenantView::unread(Tenant::heard_of(id, None));
    view.tenant.consent = Consent::Granted;
    view.skus = [sku(1)].into();
    view.users = UserTable::new((1..=users).map(|it| (user(it), holds(1))));
    view
}

fn run(id: u64) -> Begun {
    let key = SourceKey::directory(tenant(0).tenant.id);
    Begun { id: RunId(id), key, trigger: Trigger::Manual, full: true, started: NOW }
}

/// The tenant after a full read that shows these users.
pub(super) fn enumerate(view: &TenantView, id: u64, present: &[u128]) -> (TenantView, Planned) {
    let enumerated = UserTable::new(present.iter().map(|it| (user(*it), holds(1))));
    let found = Found { skus: vec![sku(1)], enumerated: Some(enumerated), ..Found::default() };
    apply(view, found, id)
}

pub(super) fn apply(view: &TenantView, found: Found, id: u64) -> (TenantView, Planned) {
    let limits = Limits {
        sweep: SignedDuration::from_hours(24),
        remove_limit: crate::domain::Share::FIFTH,
        groups: SignedDuration::from_hours(1),
        rights: None,
    };
    let planned = directory(view, found, &run(id), limits, NOW);
    let mirror = mirror_of(view).applied(&planned.commit);
    (mirror.tenant(view.tenant.id).unwrap().as_ref().clone(), planned)
}

/// A mirror of this tenant alone.
pub(super) fn mirror_of(view: &TenantView) -> Mirror {
    let id = view.tenant.id;
    let writes = UserWrites::Replace(view.users.clone());
    Mirror::default().applied(&Commit {
        tenants: vec![view.tenant.clone()],
        skus: vec![(id, view.skus.to_vec())],
        users: vec![TenantUsers { tenant: id, writes }],
        held: vec![(id, view.held.as_deref().cloned())],
        sources: vec![(SourceKey::directory(id), view.directory.clone())],
        ..Commit::default()
    })
}

pub(super) fn present(view: &TenantView) -> Vec<u128> {
    view.users.iter().map(|(user, _)| user.as_uuid().as_u128()).collect()
}

#[test]
fn a_second_equal_read_changes_nothing() {
    let all: Vec<u128> = (1..=10).collect();
    let (view, first) = enumerate(&tenant(0), 1, &all);
    assert_eq!(first.tally.added, 10);
    let (_, second) = enumerate(&view, 2, &all);
    assert_eq!((second.tally, second.commit.changes.len()), (Tally::default(), 0));
    assert!(second.commit.users.is_empty() && second.commit.tenants.is_empty());
}

#[test]
fn a_mark_that_something_was_not_understood_is_no_change_of_what_is_held() {
    let unread = Some(UserLicences::unread());
    let marked = UserLicences { unread: true, ..holds(1) };
    let told = |view: &TenantView, holds: Option<UserLicences>| {
        let found =
            Found { skus: vec![sku(1)], told: [(user(1), holds)].into(), ..Found::default() };
        let (view, planned) = apply(view, found, 1);
        (view, planned.tally, planned.commit.changes)
    };
    let nobody = Tally::default();
    let (view, tally, changes) = told(&tenant(0), unread.clone());
    assert_eq!((tally, changes.len(), view.users.unread()), (nobody, 0, 1));
    let (view, tally, changes) = told(&view, Some(marked));
    assert_eq!((tally.added, tally.changed, view.users.licensed()), (1, 0, 1));
    assert!(changes[0].before.is_none() && changes[0].after.is_some(), "it is new");
    let (view, tally, changes) = told(&view, unread);
    assert_eq!((tally.removed, tally.changed, view.users.licensed()), (1, 0, 0));
    assert!(changes[0].after.is_none(), "it is gone");
    let (view, tally, changes) = told(&view, None);
    assert_eq!((tally, changes.len(), view.users.len()), (nobody, 0, 0));
}

#[test]
fn a_few_may_go_at_once() {
    let (view, planned) = enumerate(&tenant(10), 1, &[1, 2, 3, 4, 5]);
    assert_eq!((planned.held, planned.tally.removed), (None, 5));
    assert_eq!(present(&view), [1, 2, 3, 4, 5]);
}

#[test]
fn a_mass_removal_needs_a_second_complete_read() {
    let (held, planned) = enumerate(&tenant(30), 1, &[1]);
    assert_eq!((planned.held, planned.tally.removed), (Some((29, 30)), 0));
    assert_eq!(present(&held).len(), 30);
    assert!(planned.commit.changes.is_empty());

    let (gone, planned) = enumerate(&held, 2, &[1]);
    assert_eq!((planned.held, planned.tally.removed), (None, 29));
    assert_eq!(present(&gone), [1]);
}

#[test]
fn whoever_is_back_in_the_second_read_never_lost_anything() {
    let all: Vec<u128> = (1..=30).collect();
    let (held, _) = enumerate(&tenant(30), 1, &[1]);
    let (back, planned) = enumerate(&held, 2, &all);
    assert_eq!((planned.held, planned.tally), (None, Tally::default()));
    assert!(back.users.iter().all(|(_, it)| it.missing_since.is_none()));
}

#[test]
fn different_ones_missing_each_time_are_held_each_time() {
    let (held, _) = enumerate(&tenant(40), 1, &(1..=20).collect::<Vec<_>>());
    let (view, planned) = enumerate(&held, 2, &(21..=40).collect::<Vec<_>>());
    assert_eq!(planned.held, Some((20, 40)));
    assert_eq!(present(&view).len(), 40);
}

#[test]
fn what_the_tenant_removes_in_so_many_words_counts_at_once() {
    let told = (1..=30).map(|it| (user(it), None)).collect();
    let found = Found { skus: vec![sku(1)], told, ..Found::default() };
    let (view, planned) = apply(&tenant(30), found, 1);
    assert_eq!((planned.held, planned.tally.removed), (None, 30));
    assert!(view.users.is_empty());
}

#[test]
fn a_sku_that_carried_seats_and_is_gone_waits_for_a_second_read() {
    let (held, planned) = apply(&tenant(30), Found::default(), 1);
    assert_eq!(planned.held, Some((30, 30)));
    assert_eq!(held.skus.len(), 1);
    let (gone, planned) = apply(&held, Found::default(), 2);
    assert_eq!((planned.held, planned.tally.removed), (None, 1));
    assert!(gone.skus.is_empty());
}

#[test]
fn a_lapsed_sku_counts_at_once() {
    let mut lapsed = sku(1);
    lapsed.status = CapabilityStatus::Suspended;
    let found = Found { skus: vec![lapsed], ..Found::default() };
    let (view, planned) = apply(&tenant(30), found, 1);
    assert_eq!((planned.held, planned.tally.changed), (None, 1));
    assert_eq!(view.skus[0].status, CapabilityStatus::Suspended);
}

#[test]
fn the_number_of_assigned_units_alone_is_no_change() {
    let mut busier = sku(1);
    busier.units.consumed = 7;
    let found = Found { skus: vec![busier], ..Found::default() };
    let (view, planned) = apply(&tenant(3), found, 1);
    assert_eq!(planned.tally, Tally::default());
    assert_eq!(view.skus[0].units.consumed, 7);
}

/// The tenant whose users hold all of these SKUs, ten each.
fn of_plans(plans: u128) -> TenantView {
    let mut view = tenant(0);
    view.skus = (1..=plans).map(sku).collect();
    let of = |plan: u128| (1..=10).map(move |it| (user(plan * 100 + it), holds(plan)));
    view.users = UserTable::new((1..=plans).flat_map(of));
    view
}

#[test]
fn an_empty_list_of_skus_is_held_as_a_whole_however_small_each_sku_is() {
    // 16 and a half percent each: none alone is more than a fifth.
    let view = of_plans(6);
    let (held, planned) = apply(&view, Found::default(), 1);
    assert_eq!((planned.held, planned.tally.removed, held.skus.len()), (Some((60, 60)), 0, 6));
    assert!(held.skus.iter().all(|it| it.missing_since == Some(RunId(1))));

    let (cut, planned) = apply(&view, Found { skus: vec![sku(1), sku(2)], ..Found::default() }, 1);
    assert_eq!((planned.held, cut.skus.len()), (Some((40, 60)), 6));
    let back = cut.held.as_deref().unwrap();
    assert_eq!(back.skus.len(), 4);

    let (gone, planned) = apply(&cut, Found { skus: vec![sku(1), sku(2)], ..Found::default() }, 2);
    assert_eq!((planned.held, planned.tally.removed, gone.skus.len()), (None, 4, 2));
}

#[test]
fn users_and_skus_that_are_missing_add_up_and_no_seat_counts_twice() {
    let view = of_plans(6);
    let all: Vec<_> = view.users.iter().collect();
    // Nine of ten of one plan are missing (15 %), and another plan as a whole (17 %).
    let shown = |it: &&(UserId, UserLicences)| !(102..=110).contains(&it.0.as_uuid().as_u128());
    let enumerated = UserTable::new(all.iter().filter(shown).cloned());
    let skus = || (1..=5).map(sku).collect();
    let found = Found { skus: skus(), enumerated: Some(enumerated), ..Found::default() };
    let (held, planned) = apply(&view, found, 1);
    assert_eq!((planned.held, present(&held).len(), held.skus.len()), (Some((19, 60)), 60, 6));

    // The users of the sixth plan are missing with it.
    let shown = |it: &&(UserId, UserLicences)| it.0.as_uuid().as_u128() < 600;
    let enumerated = UserTable::new(all.iter().filter(shown).cloned());
    let found = Found { skus: skus(), enumerated: Some(enumerated), ..Found::default() };
    let (gone, planned) = apply(&view, found, 1);
    assert_eq!((planned.held, present(&gone).len(), gone.skus.len()), (None, 50, 5));
}

#[test]
fn a_sku_that_carried_nobody_goes_at_once_and_takes_nobody_with_it() {
    let mut view = of_plans(6);
    view.skus = (1..=7).map(sku).collect();
    let (held, planned) = apply(&view, Found::default(), 1);
    assert_eq!((planned.held, planned.tally.removed, held.skus.len()), (Some((60, 60)), 1, 6));
}

#[test]
fn users_of_a_sku_that_a_second_read_misses_too_are_not_held_a_second_time() {
    let (held, _) = apply(&tenant(30), Found::default(), 1);
    let enumerated = Some(UserTable::default());
    let (gone, planned) = apply(&held, Found { enumerated, ..Found::default() }, 2);
    assert_eq!((planned.held, present(&gone), gone.skus.len()), (None, vec![], 0));
}

#[test]
fn what_was_held_of_one_sku_says_nothing_of_another() {
    let mut view = tenant(30);
    view.skus = [sku(1), sku(2)].into();
    let both = |_| UserLicences::new([1, 2].into_iter().flat_map(|it| holds(it).licences));
    view.users = UserTable::new((1..=30).map(|it| (user(it), both(it))));
    let reads = |view: &TenantView, plan: u128, run: u64| {
        let enumerated = Some(UserTable::new((1..=30).map(|it| (user(it), holds(plan)))));
        apply(view, Found { skus: vec![sku(1), sku(2)], enumerated, ..Found::default() }, run)
    };
    let seats = |view: &TenantView| view.users.iter().map(|(_, it)| assigned(&it).count()).sum();
    let (held, planned) = reads(&view, 2, 1);
    assert_eq!((planned.held, seats(&held)), (Some((30, 60)), 60));
    // The second read misses what the first one showed.
    let (still, planned) = reads(&held, 1, 2);
    assert_eq!((planned.held, seats(&still)), (Some((30, 60)), 60));
    let back = still.held.as_deref().unwrap();
    assert!(back.holds(user(1), sku(2).id) && !back.holds(user(1), sku(1).id));
    // The third says the same as the second.
    let (gone, planned) = reads(&still, 1, 3);
    assert_eq!((planned.held, seats(&gone)), (None, 30));
}

#[test]
fn who_is_held_for_one_sku_has_another_that_he_got_meanwhile() {
    let mut view = tenant(30);
    view.skus = [sku(1), sku(2)].into();
    let enumerated = Some(UserTable::new((1..=30).map(|it| (user(it), holds(2)))));
    let found = Found { skus: vec![sku(1), sku(2)], enumerated, ..Found::default() };
    let (held, planned) = apply(&view, found, 1);
    assert_eq!(planned.held, Some((30, 30)));
    let has = held.users.get(user(7)).unwrap();
    assert!(assigns(&has, sku(1).id) && assigns(&has, sku(2).id) && has.missing_since.is_some());
}
