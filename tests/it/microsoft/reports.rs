//! The file of a report, where servers lead on.

use entitled::microsoft::{ErrorKind, MicrosoftError};
use serde_json::json;
use wiremock::ResponseTemplate;

use super::{Pretend, header, ok, raw};

const FILE: &str = "/partner_center/files/r.csv";

async fn download(it: &Pretend) -> Result<Vec<u8>, MicrosoftError> {
    let row = json!({ "executionStatus": "Completed",
        "reportAccessSecureLink": "https://reports.example/files/r.csv?sig=1" });
    let execution = "/partner_center/insights/v1.1/cmp/ScheduledReport/execution/r";
    it.get(execution, vec![ok(json!({ "value": [row] }))]).await;
    let api = it.microsoft.partner_center();
    let latest = api.latest_execution(&it.meter, "r").await.unwrap().unwrap();
    api.download(&it.meter, &latest).await
}

fn leads_to(status: u16, location: &str) -> ResponseTemplate {
    ResponseTemplate::new(status).insert_header("Location", location)
}

#[tokio::test]
async fn one_redirect_on_the_same_host_is_followed_without_our_token() {
    for status in [301, 302, 307, 308] {
        let it = Pretend::new().await;
        it.get(FILE, vec![leads_to(status, "/elsewhere/r.csv?sig=2")]).await;
        it.get("/elsewhere/r.csv", vec![raw(503, ""), raw(200, "Tenant ID")]).await;
        assert_eq!(download(&it).await.unwrap(), b"Tenant ID");
        let sent = it.requests("/r.csv").await;
        let seen: Vec<_> = sent.iter().map(|it| it.url.query().unwrap_or_default()).collect();
        assert_eq!(seen, ["sig=1", "sig=2", "sig=2"]);
        assert!(sent.iter().all(|it| header(it, "authorization").is_empty()));
    }
}

#[tokio::test]
async fn a_redirect_that_leads_away_is_refused_with_the_remedy() {
    for answers in [
        vec![leads_to(302, "https://evil.example/files/r.csv")],
        vec![leads_to(302, "//evil.example/files/r.csv")],
        vec![leads_to(302, "http://")],
        vec![ResponseTemplate::new(302)],
        vec![leads_to(302, &format!("{FILE}?again"))],
    ] {
        let it = Pretend::new().await;
        it.get(FILE, answers).await;
        let error = download(&it).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused, "{error}");
        assert!(error.to_string().contains("[microsoft] report_hosts"), "{error}");
        assert!(!error.to_string().contains("evil"), "{error}");
        assert_eq!(it.slept_s(), [0.0; 0]);
    }
}
