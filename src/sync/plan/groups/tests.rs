//! Groups are folded row by row: slices, replays, removals of every kind.

use super::*;
use crate::domain::{
    CapabilityStatus, Path, PathState, RunId, Sku, SkuId, SourceKey, Tenant, TenantId, Trigger,
    Units, UserLicences, UserTable,
};
use crate::microsoft::{AssignedLicence, MemberRow};

const G: u128 = 0x6a;

fn id(n: u128) -> GroupId {
    GroupId::from_uuid(Uuid::from_u128(n))
}

fn sku() -> SkuId {
    SkuId::from_uuid(Uuid::from_u128(5))
}

fn at(hour: i64) -> Timestamp {
    Timestamp::from_second(1_795_000_000 + hour * 3_600).unwrap()
}

/// Users with a licence through the group.
fn view(holders: &[u128]) -> TenantView {
    let tenant = TenantId::from_uuid(Uuid::from_u128(77)).unwrap();
    let mut view = TenantView::unread(Tenant::heard_of(tenant, None));
    view.skus = [Sku {
        id: sku(),
        part_number: "P".into(),
        status: CapabilityStatus::Enabled,
        service_plans: Vec::new(),
        units: Units::default(),
        next_lifecycle: None,
        missing_since: None,
    }]
    .into();
    let path = Path {
        via: Via::Group(id(G)),
        state: PathState::Active,
        error: None,
        disabled_plans: Vec::new(),
    };
    let licence =
        Licence { sku: sku(), assigned: true, disabled_plans: Vec::new(), paths: vec![path] };
    let held =
        |n: &u128| (UserId::from_uuid(Uuid::from_u128(*n)), UserLicences::new([licence.clone()]));
    view.users = UserTable::new(holders.iter().map(held));
    view
}

fn row(members: &[(u128, bool)]) -> GroupRow {
    let member = |(n, here): &(u128, bool)| MemberRow {
        id: Uuid::from_u128(*n),
        kind: if *n >= 0x6a00 { MemberKind::Group } else { MemberKind::User },
        removed: !here,
    };
    GroupRow {
        id: id(G),
        removed: None,
        name: None,
        licences: None,
        dynamic: None,
        processing: None,
        members: members.iter().map(member).collect(),
    }
}

fn removed(how: Removed) -> GroupRow {
    GroupRow { removed: Some(how), ..row(&[]) }
}

fn listed() -> GroupRow {
    let licence = AssignedLicence { sku: sku(), disabled_plans: Vec::new() };
    let foreign =
        AssignedLicence { sku: SkuId::from_uuid(Uuid::from_u128(6)), disabled_plans: Vec::new() };
    GroupRow {
        name: Some("Finance".into()),
        licences: Some(vec![licence, foreign]),
        dynamic: Some(true),
        processing: Some("ProcessingInProgress".into()),
        ..row(&[])
    }
}

/// The view after these rows, read at this hour.
fn read(view: &TenantView, list: bool, whole: bool, rows: &[GroupRow], hour: i64) -> TenantView {
    read_if_sure(view, (list, false), whole, rows, hour)
}

/// The same; and whether something in the list could not be understood.
fn read_if_sure(
    view: &TenantView,
    (list, unsure): (bool, bool),
    whole: bool,
    rows: &[GroupRow],
    hour: i64,
) -> TenantView {
    let mut said: BTreeMap<GroupId, SaidOfGroup> = BTreeMap::new();
    for row in rows {
        said.entry(row.id).or_default().take(row.clone());
    }
    let feed = Feed { groups: vec![id(G)], cursor: ("c".into(), at(hour)) };
    let found = FoundGroups {
        listed: list.then(|| (id(G), listed())).into_iter().collect(),
        feeds: vec![ReadFeed { feed, whole, said }],
        wanted: [id(G)].into(),
        left_out: 0,
        unsure,
    };
    let key = SourceKey::groups(view.tenant.id);
    let begun =
        Begun { id: RunId(1), key, trigger: Trigger::Schedule, full: false, started: at(hour) };
    let first = view.groups.feeds.is_empty();
    let (groups, changes, _) = groups(view, found, &begun, first, at(hour));
    assert!(
        changes.iter().all(|it| !format!("{it:?}").contains("Finance")),
        "no name in the journal"
    );
    TenantView { groups: Arc::new(groups), ..view.clone() }
}

fn group(view: &TenantView) -> &Group {
    view.groups.get(id(G)).unwrap()
}

/// Members, then those who left.
fn members(view: &TenantView) -> (Vec<u128>, Vec<u128>) {
    let of = |here| {
        let found = group(view).members.iter().filter(|(_, it)| it.here == here);
        let mut all: Vec<u128> = found.map(|(user, _)| user.as_uuid().as_u128()).collect();
        all.sort_unstable();
        all
    };
    (of(true), of(false))
}

#[test]
fn slices_and_replays_add_up_and_a_removal_of_a_stranger_is_nothing() {
    let slices = [row(&[(1, true), (2, true)]), row(&[(3, true), (9, false)]), row(&[(1, true)])];
    let it = read(&view(&[]), true, true, &slices, 0);
    assert_eq!(members(&it), (vec![1, 2, 3], vec![]));
    assert!(group(&it).dynamic && group(&it).licences.len() == 1, "only what is ours");
    assert_eq!(group(&it).members.get(UserId::from_uuid(Uuid::from_u128(1))).unwrap().since, None);
    assert_eq!(group(&it).unfinished_since, Some(at(0)));

    let it = read(&it, true, false, &[row(&[(4, true), (2, false)])], 1);
    assert_eq!(members(&it), (vec![1, 3, 4], vec![]));
    let fourth = group(&it).members.get(UserId::from_uuid(Uuid::from_u128(4))).unwrap();
    assert_eq!(fourth.since, Some(at(1)));
    // He went and came in one round: the last word counts.
    let it = read(&it, true, false, &[row(&[(1, false)]), row(&[(1, true)])], 2);
    assert_eq!(members(&it), (vec![1, 3, 4], vec![]));
    assert_eq!(group(&it).unfinished_since, Some(at(0)), "still the first time it was seen so");
}

#[test]
fn a_whole_reading_drops_whom_it_does_not_name_and_a_round_without_rows_nobody() {
    let it = read(&view(&[]), true, true, &[row(&[(1, true), (2, true), (0x6a01, true)])], 0);
    assert_eq!(group(&it).nested, [id(0x6a01)]);
    let it = read(&it, true, false, &[], 1);
    assert_eq!(members(&it), (vec![1, 2], vec![]));
    let it = read(&it, true, true, &[row(&[(2, true)])], 2);
    assert_eq!((members(&it), group(&it).nested.len()), ((vec![2], vec![]), 0));
}

#[test]
fn a_nested_group_is_noted_and_goes_by_its_id_alone() {
    let it = read(&view(&[]), true, true, &[row(&[(1, true), (0x6a01, true)])], 0);
    let mut gone = row(&[(0x6a01, false)]);
    gone.members[0].kind = MemberKind::User;
    let it = read(&it, true, false, &[gone], 1);
    assert_eq!((members(&it), group(&it).nested.len()), ((vec![1], vec![]), 0));
}

#[test]
fn who_left_is_remembered_while_his_licence_is_still_there() {
    let it = read(&view(&[1]), true, true, &[row(&[(1, true), (2, true)])], 0);
    let it = read(&it, true, false, &[row(&[(1, false), (2, false)])], 1);
    assert_eq!(members(&it), (vec![], vec![1]));
    let left = group(&it).members.get(UserId::from_uuid(Uuid::from_u128(1))).unwrap();
    assert_eq!((left.here, left.since), (false, Some(at(1))));
    // Then the licence goes, and with it the memory.
    let it = TenantView { groups: it.groups, ..view(&[]) };
    let it = read(&it, true, false, &[], 2);
    assert_eq!(members(&it), (vec![], vec![]));
}

#[test]
fn a_deleted_user_stays_a_member_until_microsoft_says_otherwise() {
    let it = read(&view(&[1]), true, true, &[row(&[(1, true)])], 0);
    // users/delta took his licences; the group says nothing.
    let it = TenantView { groups: it.groups, ..view(&[]) };
    let it = read(&it, true, false, &[], 1);
    assert_eq!(members(&it), (vec![1], vec![]));
}

#[test]
fn a_group_goes_softly_comes_back_and_goes_for_good() {
    let gone = |it: &TenantView| group(it).gone.map(|(gone, at)| (gone.as_str(), at));
    let it = read(&view(&[1]), true, true, &[row(&[(1, true)])], 0);
    assert_eq!(gone(&it), None);
    let it = read(&it, false, false, &[removed(Removed::Changed)], 1);
    assert_eq!((gone(&it), group(&it).licences.len()), (Some(("deleted", at(1))), 0));
    assert_eq!(group(&it).name.as_deref(), Some("Finance"));
    let it = read(&it, false, false, &[], 2);
    assert_eq!(gone(&it), Some(("deleted", at(1))));
    let swept = read(&it, false, true, &[], 3);
    assert_eq!(gone(&swept), Some(("deleted", at(1))), "for thirty days it may come back");
    let back = read(&it, true, false, &[row(&[(1, true)])], 3);
    assert_eq!(gone(&back), None);
    let it = read(&it, false, false, &[removed(Removed::Deleted)], 3);
    assert_eq!(gone(&it), Some(("purged", at(3))));
    // Named by a licence, and never shown.
    let it = read(&view(&[1]), false, true, &[], 0);
    assert_eq!(gone(&it), Some(("not_shown", at(0))));
}

#[test]
fn a_list_that_was_not_understood_takes_no_licence_from_a_group() {
    let it = read(&view(&[]), true, true, &[row(&[(1, true)])], 0);
    let kept = read_if_sure(&it, (false, true), false, &[], 1);
    assert_eq!(group(&kept).licences, group(&it).licences);
    let taken = read_if_sure(&it, (false, false), false, &[], 1);
    assert!(group(&taken).licences.is_empty());
}
