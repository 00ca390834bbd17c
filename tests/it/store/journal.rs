//! The sync log and the change journal, and what nobody understood.

use entitled::domain::{
    Cause, Change, Commit, OddRecord, Outcome, RunId, Source, SourceKey, Subscription,
};
use entitled::store::{ChangeFilter, Opened, RunFilter};

use super::{at, folder, open, run, subscription, tenant, user};

#[tokio::test]
async fn runs_and_changes_are_found_by_what_is_asked() {
    let folder = folder();
    let (store, _) = open(folder.path());
    for n in 0..40_u64 {
        let mut run = run(RunId(n), i64::try_from(n).unwrap());
        if n % 2 == 0 {
            run.key = SourceKey::directory(tenant(u128::from(n % 4)));
        }
        if n % 10 == 3 {
            run.outcome = Outcome::Failed;
        }
        let it = Subscription { name: "x".repeat(500).into(), ..subscription(u128::from(n)) };
        let time = at(i64::try_from(n).unwrap());
        let changes = vec![
            Change::of_subscription(time, Cause::Run(run.id), None, &it),
            Change::of_subscription(time, Cause::Run(run.id), Some(&it), &it),
        ];
        store.commit(Commit { runs: vec![run], changes, ..Commit::default() }).await.unwrap();
    }
    let runs = |filter| {
        let found: Vec<u64> = store.runs(&filter).unwrap().iter().map(|it| it.id.0).collect();
        found
    };
    let any = RunFilter::default;
    assert_eq!(runs(any()), (0..40).collect::<Vec<_>>());
    assert_eq!(runs(RunFilter { limit: 2, ..any() }), [38, 39]);
    assert_eq!(runs(RunFilter { since: Some(at(38)), ..any() }), [38, 39]);
    assert_eq!(runs(RunFilter { id: Some(RunId(7)), ..any() }), [7]);
    assert_eq!(runs(RunFilter { source: Some(Source::Directory), ..any() }).len(), 20);
    assert_eq!(runs(RunFilter { tenant: Some(tenant(2)), ..any() }).len(), 10);

    let changes = |filter| store.changes(&filter).unwrap();
    let any = ChangeFilter::default;
    assert_eq!(changes(any()).len(), 80);
    assert!(changes(any()).is_sorted_by_key(|it| it.at));
    let newest = changes(ChangeFilter { limit: 3, ..any() });
    assert_eq!(newest.iter().map(|it| it.at).collect::<Vec<_>>(), [at(38), at(39), at(39)]);
    let between = ChangeFilter { since: Some(at(5)), until: Some(at(8)), ..any() };
    assert_eq!(changes(between).len(), 6);
    assert_eq!(changes(ChangeFilter { tenant: Some(tenant(1)), ..any() }).len(), 26);
    assert_eq!(changes(ChangeFilter { user: Some(user(4)), ..any() }).len(), 2);
    let of = ChangeFilter { subscription: Some(subscription(4).id), ..any() };
    assert_eq!(changes(of).len(), 2);
    assert!(changes(ChangeFilter { license: Some("L-1".into()), ..any() }).is_empty());

    let pruned = store.prune(at(20)).await.unwrap();
    assert_eq!((pruned.runs, pruned.chunks), (20, 20));
    assert_eq!((runs(RunFilter::default()).len(), changes(any()).len()), (20, 40));
    drop(store);
    let (store, opened) = open(folder.path());
    assert_eq!(opened, Opened::Loaded);
    assert_eq!(store.changes(&any()).unwrap().len(), 40);
}

#[tokio::test]
async fn a_record_nobody_understands_is_kept_once_and_the_oldest_goes() {
    let folder = folder();
    let (store, _) = open(folder.path());
    let odd = |n: i64, hours| OddRecord {
        at: at(hours),
        key: SourceKey::SUBSCRIPTIONS,
        why: "no id".into(),
        raw: format!("{{\"n\": {n}}}").into(),
    };
    for round in 0..3 {
        let odd = (0..400).map(|n| odd(n, round)).collect();
        store.commit(Commit { odd, ..Commit::default() }).await.unwrap();
    }
    assert_eq!(store.odd_records(usize::MAX).unwrap().len(), 400);
    let more = (400..1_200).map(|n| odd(n, 4)).collect();
    store.commit(Commit { odd: more, ..Commit::default() }).await.unwrap();
    assert_eq!(store.odd_records(usize::MAX).unwrap().len(), 1_000);
    assert_eq!(store.odd_records(2).unwrap().last().unwrap().at, at(4));
}
