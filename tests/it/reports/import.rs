//! `reports import`, as a process against the daemon.

use super::*;

const CONTOSO: &str = "c0000000-0000-4000-8000-00000000c001";
const FABRIKAM: &str = "c0000000-0000-4000-8000-00000000c002";

const COUNTS: [&str; 6] = ["seen", "added", "changed", "removed", "odd", "unchanged"];

/// As Partner Center and a spreadsheet of some country may write it.
fn dashboard() -> String {
    format!(
        "\u{feff}Customer Name,Service ID,Licenses Assigned,Tenant ID,Activation Date,\
         Licenses Provisioned,License State,SKU Name,Reseller\r\n\
         \"Contoso, Ltd.\",VizMaker.Tracker.Gold,20,{CONTOSO},3/14/2026,\"1,030\",Active,Gold,\r\n\
         ****,vizmaker.tracker.gold,5,{FABRIKAM},2026-03-14T00:00:00,5,Active,Gold,\r\n\
         Nobody,vizmaker.tracker.gold,5,not-a-tenant,,5,Active,Gold,\r\n"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dashboards_file_is_taken_in_once_with_the_rows_that_it_skipped() {
    let mut world = World::new().await;
    let path = file(&world, "licences.csv", &dashboard());
    let row = run(&world, &format!("reports import {path} --json"), b"").await.row();
    assert_eq!(some(&row, &COUNTS), json!([3, 2, 0, 0, 1, 0]));
    assert_eq!(
        some(&row, &["source", "trigger", "outcome", "tenants"]),
        json!(["reports", "manual", "partial", 2])
    );
    assert_eq!(row["odd_rows"], json!([{"line": 4, "why": "its Tenant ID is no tenant"}]));
    assert_eq!(row["ignored_columns"], json!(["Customer Name", "Reseller"]));

    let again = run(&world, "reports import - --json", dashboard().as_bytes()).await.row();
    assert_eq!(some(&again, &COUNTS), json!([3, 0, 0, 0, 1, 2]));
    let told = run(&world, &format!("reports import {path}"), b"").await;
    assert!(told.out.contains("0 new, 0 changed, 0 gone, 2 as before"), "{}", told.out);
    assert!(told.out.contains("line 4: its Tenant ID is no tenant"), "{}", told.out);

    let log = run(&world, "log --source reports --json", b"").await.rows();
    assert_eq!(log.len(), 3);
    assert_eq!(some(&log[0], &["run", "seen", "added"]), some(&row, &["run", "seen", "added"]));
    let changes = run(&world, &format!("changes --tenant {CONTOSO} --json"), b"").await.rows();
    assert_eq!(
        some(&changes[0], &["entity", "id", "after"]),
        json!([
            "report",
            "vizmaker.tracker.gold (Gold)",
            "1030 provisioned, 20 assigned, Active, activated 2026-03-14 (import)"
        ])
    );
    assert_eq!(changes[0]["cause"], format!("run {}", row["run"].as_str().unwrap()));
    assert_eq!(changes.len(), 1);

    world.restart().await;
    let mirror = world.mirror();
    let lines = mirror.reported_of(CONTOSO.parse().unwrap());
    assert_eq!(lines.iter().map(|it| it.provisioned).collect::<Vec<_>>(), [Some(1030)]);
    assert_eq!(world.daemon.store.odd_records(10).unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_licence_report_is_refused_and_leaves_no_run() {
    let world = World::new().await;
    run(&world, "reports import -", b"a,b\n1,2\n")
        .await
        .fails(2, &["this is no licence report", "Tenant ID and Service ID", "this one has: a, b"]);
    run(&world, "reports import -", b"").await.fails(2, &["it is empty"]);
    run(&world, "reports import /nowhere/at/all.csv", b"")
        .await
        .fails(1, &["cannot read /nowhere/at/all.csv", "No such file", "License dashboard"]);
    run(&world, "reports import - --as-of never", b"").await.fails(2, &["2026-11-01"]);
    assert_eq!(run(&world, "log --source reports --json", b"").await.rows(), [Value::Null; 0]);
}
