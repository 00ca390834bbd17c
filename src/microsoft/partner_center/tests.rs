//! Discovery, schedules, quotas and downloads, by tables.

use super::*;

fn now() -> Timestamp {
    "2026-11-28T06:00:00Z".parse().unwrap()
}

fn set(name: &str, columns: &[&str], ranges: &[&str]) -> Value {
    json!({"datasetName": name, "selectableColumns": columns, "availableMetrics": ["LicensesAssigned"],
           "availableDateRanges": ranges})
}

#[test]
fn a_data_set_of_licences_is_recognized_and_asked_for_what_it_has() {
    let columns = ["CustomerName", "TenantId", "ServiceID", "SKU Name", "LicensesProvisioned"];
    let Some(LicenceQuery::Own { text, whole }) =
        own_query(&set("ISVLicenseV9", &columns, &["LAST_MONTH", "LIFETIME"]))
    else {
        panic!("not recognized");
    };
    let wanted = "SELECT TenantId,ServiceID,LicensesProvisioned,LicensesAssigned FROM ISVLicenseV9 \
                  TIMESPAN LIFETIME";
    assert_eq!((text.as_str(), whole), (wanted, true));
    let shorter = own_query(&set("licences", &columns, &["last_6_months"]));
    assert!(matches!(shorter, Some(LicenceQuery::Own { whole: false, text })
        if text.ends_with("TIMESPAN LAST_6_MONTHS")));
    assert_eq!(own_query(&set("ISVOrder", &columns, &[])), None);
    assert_eq!(own_query(&set("ISVLicense", &["OfferName", "SKU", "Quantity"], &[])), None);
    assert_eq!(own_query(&set("licence; DROP", &columns, &[])), None);
}

#[test]
fn a_query_of_microsofts_is_recognized_by_its_text() {
    let query = |text: &str| system_query(&json!({"queryId": "q9df4939-x", "query": text}));
    let id = "q9df4939-x".to_owned();
    let good = "SELECT DISTINCT TenantId,ServiceId,Sku FROM ISVLicense TIMESPAN LAST_6_MONTHS";
    assert_eq!(query(good), Some(LicenceQuery::System { id }));
    assert_eq!(query("SELECT TenantId,ServiceId FROM ISVOrder"), None);
    assert_eq!(query("SELECT OfferName FROM ISVLicense"), None);
    assert_eq!(query("nonsense"), None);
}

#[test]
fn a_schedule_has_a_count_and_starts_more_than_four_hours_ahead() {
    let every = |hours| {
        let when = Recurrence::Every(jiff::SignedDuration::from_hours(hours));
        let body = new_report("n", "q", when, now());
        (body["RecurrenceInterval"].as_i64().unwrap(), body["RecurrenceCount"].as_i64().unwrap())
    };
    assert_eq!([every(24), every(1), every(9_999)], [(24, 90), (4, 180), (2160, 1)]);
    let body = new_report("n", "q", Recurrence::Every(jiff::SignedDuration::from_hours(24)), now());
    assert_eq!(body["StartTime"], "2026-11-28T10:30:00Z");
    assert_eq!(body.get("ExecuteNow"), None);
    let once = new_report("n", "q", Recurrence::Now, now());
    assert_eq!((&once["ExecuteNow"], once.get("RecurrenceCount")), (&json!(true), None));
}

#[test]
fn a_schedule_goes_on_while_it_runs_our_query_and_has_executions_left() {
    let job = |status: &str, remaining: Value| {
        let row = json!({"ReportId": "r", "QueryId": "Q", "ReportStatus": status,
                         "RemainingRecurrenceCount": remaining});
        report_job(&row).unwrap()
    };
    assert!(job("Active", Value::Null).goes_on("q", None));
    assert!(job("active", json!(3)).goes_on("q", None));
    assert!(!job("Active", json!(2)).goes_on("q", None));
    assert!(!job("Paused", json!(9)).goes_on("q", None));
    assert!(!job("Active", json!(9)).goes_on("other", None));
    let latest = |remaining: Value| {
        execution(&json!({"executionStatus": "Completed", "remainingRecurrence": remaining}))
    };
    let silent = || job("Active", Value::Null);
    assert!(silent().goes_on("q", latest(json!(3)).as_ref()));
    assert!(!silent().goes_on("q", latest(json!(2)).as_ref()));
    assert!(silent().goes_on("q", latest(Value::Null).as_ref()));
}

#[test]
fn only_a_completed_execution_has_a_file() {
    let row = |status: &str| {
        json!({"executionStatus": status, "reportAccessSecureLink": "https://a.test/r.csv?sig=x",
               "reportGeneratedTime": "2026-03-01T05:09:30"})
    };
    let done = execution(&row("Completed")).unwrap();
    assert!(done.is_completed());
    assert_eq!(done.generated, Some("2026-03-01T05:09:30Z".parse().unwrap()));
    assert!(!execution(&row("Running")).unwrap().is_completed());
    assert!(execution(&json!({})).is_none());
    assert!(!format!("{done:?}").contains("sig"), "{done:?}");
}
