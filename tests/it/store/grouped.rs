//! Groups with their members, uses and days of seats: there again after a restart, in small values.

use std::collections::BTreeMap;
use std::sync::Arc;

use entitled::domain::{
    Commit, Feed, Gone, Group, GroupId, GroupLicence, Groups, Members, Membership, Point,
    Processing, ProductId, Pseudonym, Series, SeriesWrite, SkuId, TenantId, UseWrite,
};
use uuid::Uuid;

use super::{at, content, folder, now, open, tenant, user};

fn group(n: u128, members: u128) -> Group {
    let here = |n| (user(n), Membership { here: n % 5 != 0, since: (n % 2 == 0).then(now) });
    Group {
        name: Some("Finance".into()),
        licences: vec![GroupLicence {
            sku: SkuId::from_uuid(Uuid::from_u128(9)),
            disabled_plans: Vec::new(),
            since: Some(now()),
        }],
        dynamic: true,
        processing: Some(Processing::InProgress),
        unfinished_since: Some(now()),
        gone: Some((Gone::Deleted, at(1))),
        nested: vec![GroupId::from_uuid(Uuid::from_u128(77))],
        members: Members::new((0..members).map(here)),
        ..Group::unread(GroupId::from_uuid(Uuid::from_u128(0x6a00 + n)))
    }
}

fn groups(groups: impl IntoIterator<Item = Group>) -> Arc<Groups> {
    let groups: BTreeMap<_, _> = groups.into_iter().map(|it| (it.id, Arc::new(it))).collect();
    let cursor = ("/v1.0/groups/delta?$deltatoken=x".into(), now());
    let feeds = vec![Feed { groups: groups.keys().copied().collect(), cursor }];
    Arc::new(Groups { feeds, groups, left_out: 2 })
}

/// One licensed group of 300 members.
pub fn licensed() -> Arc<Groups> {
    groups([group(1, 300)])
}

/// So many users of one product.
pub fn uses(count: u64) -> UseWrite {
    UseWrite {
        tenant: tenant(1),
        product: "synoptic-panel".parse().unwrap(),
        used: (0..count).map(|it| (Pseudonym(it << 40 | 7), 20_000)).collect(),
        today: 20_000,
    }
}

/// Three weeks of a SKU.
pub fn days() -> SeriesWrite {
    let point = |day| Point { day, bought: 50, assigned: day.into() };
    let series = Series::new((1..20).map(point).collect(), true);
    SeriesWrite { tenant: tenant(1), sku: SkuId::from_uuid(Uuid::from_u128(9)), series }
}

#[tokio::test]
async fn a_group_of_thousands_and_its_uses_come_and_go_in_small_values() {
    let folder = folder();
    let (store, _) = open(folder.path());
    let commit = |groups, used| Commit {
        groups: vec![(tenant(1), groups)],
        uses: vec![used],
        ..Commit::default()
    };
    store.commit(commit(groups([group(1, 20_000), group(2, 3)]), uses(9_000))).await.unwrap();
    // Fewer members, a group less, later days.
    let later = UseWrite { used: vec![(Pseudonym(1), 20_030)], today: 20_030, ..uses(0) };
    store.commit(commit(groups([group(1, 700)]), later)).await.unwrap();
    let before = content(&store.mirror());
    assert_eq!(store.report().blobs, 0);
    drop(store);

    let (store, _) = open(folder.path());
    let mirror = store.snapshot();
    assert_eq!(content(&mirror), before);
    let tenant: TenantId = tenant(1);
    let read = &mirror.tenant(tenant).unwrap().groups;
    assert_eq!(*read, groups([group(1, 700)]));
    assert_eq!(read.groups.values().next().unwrap().members.count(), 560);
    let product: ProductId = "synoptic-panel".parse().unwrap();
    assert_eq!(mirror.uses(tenant, &product).unwrap().len(), 1);
}
