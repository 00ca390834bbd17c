//! What rows come to.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::domain::{
    CapabilityStatus, Channel, Coverage, HybridMode, PathState, Plan, Product, ServicePlan,
    ServicePlanId, Tenant, TenantId, Units, Via,
};
use jiff::SignedDuration;
use uuid::Uuid;

fn row(status: &str, enabled: u32, plan: u128) -> Sku {
    let plan = ServicePlanId::from_uuid(Uuid::from_u128(plan));
    Sku {
        id: SkuId::from_uuid(Uuid::from_u128(1)),
        part_number: "P".into(),
        status: CapabilityStatus::from_word(status),
        service_plans: vec![ServicePlan { id: plan, name: "N".into() }],
        units: Units { enabled, consumed: 1, ..Units::default() },
        next_lifecycle: None,
        missing_since: None,
    }
}

#[test]
fn a_sku_of_two_accounts_is_one_whatever_the_order() {
    let (dead, alive) = (row("Suspended", 0, 9), row("Enabled", 5, 7));
    let one = merged([dead.clone(), alive.clone()]);
    assert_eq!(one, merged([alive.clone(), dead]));
    assert_eq!((one.len(), &one[0].status), (1, &CapabilityStatus::Enabled));
    assert_eq!((one[0].units.enabled, one[0].units.consumed), (5, 2));
    assert_eq!(one[0].service_plans.len(), 2);
    let unknown = row("Strange", 0, 7);
    assert_eq!(merged([unknown, row("Deleted", 0, 7)])[0].status, CapabilityStatus::Deleted);
    assert_eq!(merged([alive.clone()]), [alive]);
}

fn user(n: u16) -> UserId {
    UserId::from_uuid(Uuid::from_u128(u128::from(n)))
}

fn id(n: u128) -> SkuId {
    SkuId::from_uuid(Uuid::from_u128(n))
}

/// A catalog that names SKU 1.
fn catalog() -> Catalog {
    let plan = Plan {
        service_id: "p.o.plan".parse().unwrap(),
        channel: Channel::Appsource,
        coverage: Coverage::Tenant,
        features: Arc::from([]),
        sku_ids: vec![id(1)],
        service_plan_ids: Vec::new(),
        release_after: SignedDuration::from_hours(24),
    };
    Catalog::new([Product {
        id: "viz".parse().unwrap(),
        name: "Viz".into(),
        hybrid: HybridMode::None,
        features: BTreeMap::new(),
        plans: vec![plan],
    }])
}

fn view(users: UserTable) -> TenantView {
    let tenant = TenantId::from_uuid(Uuid::from_u128(77)).unwrap();
    TenantView { users, ..TenantView::unread(Tenant::heard_of(tenant, None)) }
}

fn holding(sku: u128) -> UserLicences {
    let seat = Licence { sku: id(sku), assigned: true, disabled_plans: vec![], paths: vec![] };
    UserLicences::new([seat])
}

/// A row that says that the user holds this and came by it somehow.
fn full(n: u16, skus: &[u128]) -> UserRow {
    let assigned = |it: &u128| AssignedLicence { sku: id(*it), disabled_plans: vec![] };
    let assigned = Some(skus.iter().map(assigned).collect());
    UserRow {
        id: user(n),
        removed: None,
        assigned,
        states: Some(vec![]),
        changed: None,
        unreadable: vec![],
    }
}

fn listing(skus: &[u128]) -> Relevant {
    let skus: Vec<Sku> =
        skus.iter().map(|it| Sku { id: id(*it), ..row("Enabled", 9, *it) }).collect();
    Relevant::among(&skus, &catalog(), &[])
}

#[test]
fn a_sku_that_may_be_ours_is_kept_or_leaves_its_holder_unread() {
    let check = |relevant: &Relevant, skus: &[u128], want: Option<UserLicences>| {
        let mut reading = Reading::default();
        reading.take(&full(1, skus), relevant, &view(UserTable::default()));
        assert_eq!(reading.holdings(relevant).get(&user(1)).cloned().flatten(), want, "{skus:?}");
    };
    check(&listing(&[1, 5]), &[1], Some(holding(1)));
    check(&listing(&[1, 5]), &[5], None);
    check(&listing(&[1, 5]), &[6], None);
    // Named by the configuration, and the tenant does not list it.
    check(&listing(&[5]), &[1], Some(holding(1)));
    check(&listing(&[5]), &[5], None);
    // One of the list's rows could not be understood: it may be that of 6.
    check(&listing(&[1, 5]).unless_whole(false), &[6], Some(UserLicences::unread()));
    check(&listing(&[1, 5]).unless_whole(false), &[5], None);
    let both = UserLicences { unread: true, ..holding(1) };
    check(&listing(&[1, 5]).unless_whole(false), &[1, 6], Some(both));
}

#[test]
fn an_entry_that_could_not_be_understood_matters_where_it_may_be_ours() {
    let odd =
        |sku| is_odd(&UserRow { unreadable: vec![id(sku)], ..full(1, &[1]) }, &listing(&[1, 5]));
    assert!(odd(1).unwrap().contains(&id(1).to_string()));
    assert!(odd(6).is_some(), "nobody knows what it is");
    assert_eq!(odd(5), None, "it is another's");
}

#[test]
fn an_odd_row_takes_nothing_and_says_that_nobody_knows_the_rest() {
    let known = view(UserTable::new([(user(1), holding(1))]));
    let relevant = listing(&[1]);
    let mut reading = Reading::default();
    (1..=3).for_each(|it| reading.take_odd(user(it), &known));
    reading.take(&full(3, &[]), &relevant, &known);
    let says = reading.holdings(&relevant);
    let marked = |sku| Some(UserLicences { unread: true, ..holding(sku) });
    assert_eq!(says[&user(1)], marked(1), "what is known stays");
    assert_eq!(says[&user(2)], Some(UserLicences::unread()));
    assert_eq!(says[&user(3)], None, "a row that was understood counts more");
    reading.take(&full(3, &[1]), &relevant, &known);
    reading.take_odd(user(3), &known);
    assert_eq!(reading.holdings(&relevant)[&user(3)], marked(1), "what was said stays");
    reading.take(&full(1, &[]), &relevant, &known);
    assert_eq!(reading.holdings(&relevant)[&user(1)], None, "the next row says all");

    let gone = UserRow { removed: Some(crate::microsoft::Removed::Deleted), ..full(1, &[]) };
    reading.take(&gone, &relevant, &known);
    reading.take_odd(user(1), &known);
    assert_eq!(reading.holdings(&relevant)[&user(1)], Some(UserLicences::unread()), "he is back");
}

#[test]
fn what_is_not_said_is_asked_for_once_and_then_believed() {
    let (relevant, nobody) = (listing(&[1]), view(UserTable::default()));
    let path = |sku| {
        let (via, state) = (Via::Direct, PathState::Error);
        (id(sku), Path { via, state, error: None, disabled_plans: vec![] })
    };
    let asks = |row: &UserRow| {
        let mut reading = Reading::default();
        reading.take(row, &relevant, &nobody);
        reading.to_ask() == [row.id]
    };
    let silent = UserRow { assigned: None, states: None, ..full(1, &[]) };
    assert!(!asks(&silent), "nothing of ours is named");
    assert!(asks(&UserRow { states: Some(vec![path(1)]), ..silent.clone() }), "a failed way");
    let foreign = Relevant { known: [id(5)].into(), ..listing(&[1]) };
    let mut reading = Reading::default();
    reading.take(&UserRow { states: Some(vec![path(5)]), ..silent }, &foreign, &nobody);
    assert_eq!(reading.to_ask(), [], "a foreign one");

    let without_ways = UserRow { states: None, ..full(1, &[1]) };
    assert!(asks(&without_ways));
    let mut reading = Reading::default();
    reading.take_named(&without_ways, &relevant, &nobody);
    assert_eq!(reading.holdings(&relevant)[&user(1)], Some(holding(1)), "there is no better row");
}

fn rows() -> impl Strategy<Value = Vec<(u16, Option<Vec<u128>>)>> {
    let skus = prop::collection::btree_set(1_u128..4, 0..3).prop_map(|it| it.into_iter().collect());
    prop::collection::vec((0_u16..40, prop::option::weighted(0.9, skus)), 0..60)
}

proptest! {
    /// However little of a list is kept loose, and in however many parts it is laid down and taken up
    /// again, it comes to the last word about everybody.
    #[test]
    fn a_list_is_the_last_word_about_everybody(
        before in prop::collection::btree_map(0_u16..40, 1_u128..4, 0..30),
        rows in rows(),
        (loose_max, every, keeps) in (0_usize..8, 1_usize..20, any::<bool>()),
    ) {
        // SKU 3 is on no list: what users hold of it goes in the end.
        let relevant = listing(&[1, 2, 5]);
        let before: BTreeMap<UserId, UserLicences> =
            before.into_iter().map(|(it, sku)| (user(it), holding(sku))).collect();
        let mirrored = view(UserTable::new(before.clone()));
        let list = || Reading::of_list(&mirrored.users, loose_max).in_parts();
        let (mut reading, mut again) = (list(), list());
        let mut last: BTreeMap<UserId, Option<UserLicences>> = BTreeMap::new();
        for (at, (who, skus)) in rows.iter().enumerate() {
            let row = match skus {
                Some(skus) => full(*who, skus),
                None => UserRow { removed: Some(crate::microsoft::Removed::Deleted), ..full(*who, &[]) },
            };
            reading.take(&row, &relevant, &mirrored);
            if at % every == 0 {
                again.take_part(reading.part(), &relevant);
            }
            // Only SKU 1 is ours.
            let ours = skus.iter().flatten().any(|it| *it == 1).then(|| holding(1));
            last.insert(user(*who), ours);
        }
        again.take_part(reading.part(), &relevant);
        let mut want: BTreeMap<UserId, UserLicences> = BTreeMap::new();
        if keeps {
            want.extend(before);
        }
        for (who, holds) in last {
            match holds {
                Some(holds) => want.insert(who, holds),
                None => want.remove(&who),
            };
        }
        for reading in [reading, again] {
            let table = reading.table(&relevant, keeps);
            prop_assert_eq!(table.iter().collect::<BTreeMap<_, _>>(), want.clone());
        }
    }
}
