//! Readings of large tenants that are under way.

use std::sync::Arc;

use entitled::domain::{Commit, Packed, ReadWrite, Said, Sequence, SkuId, Unfinished};
use entitled::store::Opened;

use super::{folder, licences, now, open, tenant, user};

#[tokio::test]
async fn a_reading_under_way_is_found_again_part_by_part_and_cleared() {
    for of in [Sequence::Enumeration, Sequence::Sweep] {
        is_found_again(of).await;
    }
}

async fn is_found_again(of: Sequence) {
    let folder = folder();
    let (store, _) = open(folder.path());
    let said = |from: u128, to: u128| -> Vec<_> {
        let holds = |n| (user(n), Said::Holds(Packed::of(&licences(7))));
        (from..to)
            .map(holds)
            .chain([(user(to), Said::Ask), (user(to + 1), Said::Removed)])
            .collect()
    };
    let read = |parts, next: &str| {
        let passed_over = vec![SkuId::from_uuid(uuid::Uuid::from_u128(5))];
        let (next, seen) = (next.into(), u64::from(parts) * 4_000);
        Unfinished { of, started: now(), catalog: 3, next, seen, odd: 1, passed_over, parts }
    };
    for (parts, next, from) in [(1, "/v1.0/a", 0), (2, "/v1.0/b", 500)] {
        let (read, users) = (Arc::new(read(parts, next)), said(from, from + 500));
        let step = ReadWrite::LaidDown { tenant: tenant(1), read, users };
        store.commit(Commit { reads: vec![step], ..Commit::default() }).await.unwrap();
    }
    store.close().await;
    drop(store);

    let (store, opened) = open(folder.path());
    assert_eq!(opened, Opened::Loaded);
    let mirror = store.snapshot();
    assert_eq!(mirror.unfinished(tenant(1)).map(|it| &**it), Some(&read(2, "/v1.0/b")));
    assert!(mirror.tenant(tenant(1)).is_none(), "nobody is told of it");
    assert_eq!(store.laid_down(tenant(1), 1).unwrap(), said(0, 500));
    assert_eq!(store.laid_down(tenant(1), 2).unwrap(), said(500, 1_000));
    let step = ReadWrite::Cleared { tenant: tenant(1), parts: 2 };
    store.commit(Commit { reads: vec![step], ..Commit::default() }).await.unwrap();
    assert!(store.laid_down(tenant(1), 1).is_err());
    assert!(store.mirror().unfinished(tenant(1)).is_none());
}
