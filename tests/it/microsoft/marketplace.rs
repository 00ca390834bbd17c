//! The subscription list and its traps.

use entitled::domain::{Subscription, SubscriptionStatus};
use entitled::microsoft::{Credential, ErrorKind, Link, MicrosoftError, Page, Read, Secret};
use serde_json::{Value, json};
use wiremock::ResponseTemplate;

use super::{Pretend, header, ok, raw};

const LIST: &str = "/marketplace/api/saas/subscriptions";
const ALPHA: &str = "a1a1a1a1-4289-581c-2cb7-db784599a7bd";
const BETA: &str = "b2b2b2b2-4289-181c-fcb7-db784599a7bd";

fn record(id: &str, status: &str) -> Value {
    json!({ "id": id, "publisherId": "vizmaker", "offerId": "viz-suite", "name": "n", "planId": "team",
        "saasSubscriptionStatus": status, "lastModified": "0001-01-01T00:00:00" })
}

fn page(records: &[Value], next: Option<&str>) -> ResponseTemplate {
    let mut body = json!({ "subscriptions": records });
    if let Some(next) = next {
        body["@nextLink"] = json!(next);
    }
    ok(body)
}

async fn list(it: &Pretend, next: Option<&Link>) -> Result<Page<Subscription>, MicrosoftError> {
    it.microsoft.marketplace().list_page(&it.meter, next).await
}

fn ids(page: &Page<Subscription>) -> Vec<String> {
    let id = |it: &Read<Subscription>| match it {
        Read::Understood(it, _) => it.id.to_string(),
        Read::Odd { why, .. } => format!("odd: {why}"),
    };
    page.records.iter().map(id).collect()
}

#[tokio::test]
async fn pages_are_followed_on_our_host_though_their_links_name_another() {
    let it = Pretend::new().await;
    let query = "continuationToken=%5b%7b%22token%22%3anull%7d%5d&api-version=2018-08-31";
    let link =
        format!("https://main.prod.marketplaceapi.azure.com/api/saas/subscriptions/?{query}");
    it.get(LIST, vec![page(&[], Some(&link))]).await;
    it.get(&format!("{LIST}/"), vec![page(&[record(ALPHA, "Subscribed")], Some(""))]).await;

    let first = list(&it, None).await.unwrap();
    assert!(first.records.is_empty(), "an empty page may have a next one");
    let second = list(&it, first.next.as_ref()).await.unwrap();
    assert_eq!(ids(&second), [ALPHA]);
    assert!(second.next.is_none());

    let requests = it.requests("/subscriptions/").await;
    assert_eq!(requests[0].url.query(), Some(query), "the encoding is kept, lower case and all");
    assert!(header(&requests[0], "authorization").starts_with("Bearer e30."));
    assert!(!header(&requests[0], "x-ms-requestid").is_empty());
    assert!(!header(&requests[0], "x-ms-correlationid").is_empty());
    assert_eq!(header(&requests[0], "content-type"), "application/json");
    assert_eq!(it.meter.requests(), 3, "a token and two pages");
}

#[tokio::test]
async fn a_link_out_of_the_api_is_not_followed() {
    for link in [
        "https://marketplaceapi.microsoft.com/api/other?continuationToken=x",
        "https://evil.example/steal?continuationToken=x",
        "https://evil.example/api/saas/../../steal",
        "ftp://evil.example/api/saas/x",
    ] {
        let it = Pretend::new().await;
        it.get(LIST, vec![page(&[record(ALPHA, "Subscribed")], Some(link))]).await;
        let error = list(&it, None).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused, "{link}");
        assert!(!error.to_string().contains("evil"), "{error}");
    }
}

#[tokio::test]
async fn sloppy_links_still_lead_on() {
    for link in [
        "https:// https://marketplaceapi.microsoft.com/api/saas/subscriptions?continuationToken=a%2bb",
        "?continuationToken=a%2bb",
        "main.prod.marketplaceapi.azure.com/x?api-version=2018-08-31&continuationToken=a%2bb",
    ] {
        let it = Pretend::new().await;
        let second = page(&[record(BETA, "Suspended")], None);
        it.get(LIST, vec![page(&[record(ALPHA, "Subscribed")], Some(link)), second]).await;
        let first = list(&it, None).await.unwrap();
        assert_eq!(ids(&list(&it, first.next.as_ref()).await.unwrap()), [BETA], "{link}");
        let query = it.requests("/subscriptions").await[1].url.query().unwrap().to_owned();
        assert_eq!(query, "continuationToken=a%2bb&api-version=2018-08-31");
    }
}

#[tokio::test]
async fn a_list_that_bites_its_tail_ends_as_an_error() {
    let it = Pretend::new().await;
    let link = "https://h.example/api/saas/subscriptions?continuationToken=x";
    it.get(LIST, vec![page(&[], Some(link))]).await;
    let first = list(&it, None).await.unwrap();
    let error = list(&it, first.next.as_ref()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreadable);
}

#[tokio::test]
async fn no_body_is_an_empty_list_and_a_byte_order_mark_is_no_harm() {
    let it = Pretend::new().await;
    let marked = format!("\u{feff}{} \r\n", json!({ "subscriptions": [record(ALPHA, "x")] }));
    it.get(LIST, vec![raw(200, ""), raw(200, &marked)]).await;
    let empty = list(&it, None).await.unwrap();
    assert!(empty.records.is_empty() && empty.next.is_none());
    assert_eq!(ids(&list(&it, None).await.unwrap()), [ALPHA]);
}

#[tokio::test]
async fn an_odd_record_does_not_spoil_the_others() {
    let it = Pretend::new().await;
    let mut odd = record(BETA, "Subscribed");
    odd["quantity"] = json!("a lot");
    let raw = odd.to_string();
    let records = [record("no id", "x"), odd, json!(7), record(ALPHA, "BrandNewWord")];
    it.get(LIST, vec![page(&records, None)]).await;
    let page = list(&it, None).await.unwrap();
    let Read::Odd { why, raw: kept } = &page.records[1] else { panic!("it was understood") };
    assert!(why.contains("quantity"), "{why}");
    assert_eq!(kept.parse::<Value>().unwrap(), raw.parse::<Value>().unwrap());
    assert!(matches!(&page.records[2], Read::Odd { .. }));
    let Read::Understood(last, _) = &page.records[3] else { panic!("it was not understood") };
    assert_eq!(last.status, SubscriptionStatus::Unrecognized("BrandNewWord".into()));
}

#[tokio::test]
async fn a_refused_token_is_renewed_once_and_only_once() {
    let it = Pretend::new().await;
    it.get(LIST, vec![raw(401, ""), page(&[record(ALPHA, "x")], None), raw(403, "\"No.\"")]).await;
    assert_eq!(ids(&list(&it, None).await.unwrap()), [ALPHA]);
    assert_eq!(it.requests("/token").await.len(), 2);

    let error = list(&it, None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Consent, "a 403 with a bare string is still a 403");
    assert!(error.to_string().contains("Partner Center"), "{error}");
    assert_eq!(it.requests("/subscriptions").await.len(), 4);
    assert_eq!(it.requests("/token").await.len(), 3);
    assert!(it.slept_s().is_empty(), "nothing here is cured by waiting");
}

#[tokio::test]
async fn a_dead_continuation_token_restarts_the_list_but_a_bad_first_request_does_not() {
    let it = Pretend::new().await;
    let link = "https://h.example/api/saas/subscriptions?continuationToken=x";
    let bad = ResponseTemplate::new(400).set_body_json(json!({ "code": "BadRequest" }));
    it.get(LIST, vec![page(&[], Some(link)), bad]).await;
    let first = list(&it, None).await.unwrap();
    let error = list(&it, first.next.as_ref()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::RestartSequence);
    let error = list(&it, None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreadable);
}

#[tokio::test]
async fn what_is_no_answer_is_tried_four_times_and_told_safely() {
    let html = "<html><body>mia@customer.example says Bad Gateway";
    let cut = r#"{"subscriptions":[{"id":"a","emailId":"mia@customer.example"#;
    for (status, body, kind, words) in [
        (503, html, ErrorKind::Transient, "HTML"),
        (502, "", ErrorKind::Transient, "an empty body"),
        (200, html, ErrorKind::Unreadable, "HTML"),
        (200, cut, ErrorKind::Unreadable, "59 bytes of JSON"),
        (200, "{}", ErrorKind::Unreadable, "JSON"),
        (200, r#"{"subscriptions":[],"@nextLink":7}"#, ErrorKind::Unreadable, "JSON"),
    ] {
        let it = Pretend::new().await;
        it.get(LIST, vec![raw(status, body)]).await;
        let error = list(&it, None).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{status} {body}");
        assert!(error.to_string().contains(words), "{error}");
        assert!(!error.to_string().contains("customer.example"), "{error}");
        assert_eq!(it.requests("/subscriptions").await.len(), 4);
        assert_eq!(it.slept_s(), [0.5, 1.0, 2.0]);
    }
}

#[tokio::test]
async fn a_bad_moment_costs_a_second_try_and_nothing_else() {
    let it = Pretend::new().await;
    it.get(LIST, vec![raw(500, ""), raw(200, "{\"subscr"), page(&[record(ALPHA, "x")], None)])
        .await;
    assert_eq!(ids(&list(&it, None).await.unwrap()), [ALPHA]);
    assert_eq!(it.meter.throttled().as_secs(), 0, "backing off is not being throttled");
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let it = Pretend::new().await;
    let elsewhere = format!("{}/elsewhere", it.server.uri());
    it.get(LIST, vec![ResponseTemplate::new(302).insert_header("Location", &*elsewhere)]).await;
    let error = list(&it, None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert!(it.requests("/elsewhere").await.is_empty());
}

#[tokio::test]
async fn an_answer_without_end_is_cut_off() {
    let it = Pretend::new().await;
    it.get(LIST, vec![raw(200, &" ".repeat(16 * 1024 * 1024 + 1))]).await;
    let error = list(&it, None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreadable);
    assert!(error.to_string().contains("larger than"), "{error}");
}

#[tokio::test]
async fn one_subscription_is_read_by_its_id() {
    let it = Pretend::new().await;
    let at = |id: &str| format!("{LIST}/{id}");
    it.get(&at(ALPHA), vec![ok(record(ALPHA, "Suspended"))]).await;
    it.get(&at(BETA), vec![raw(404, r#"{"message":"none"}"#)]).await;
    let marketplace = it.microsoft.marketplace();
    let found = marketplace.subscription(&it.meter, ALPHA.parse().unwrap()).await.unwrap();
    let Some(Read::Understood(found, raw)) = found else { panic!("it was not understood") };
    assert_eq!(found.status, SubscriptionStatus::Suspended);
    assert!(raw.contains("lastModified"));
    let missing = marketplace.subscription(&it.meter, BETA.parse().unwrap()).await.unwrap();
    assert!(missing.is_none());
}

#[tokio::test]
async fn a_host_that_cannot_be_reached_is_transient_and_its_address_is_not_told() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nobody = format!("http://{nobody}").parse().unwrap();
    let it = Pretend::at(Credential::Secret(Secret::new("x")), Some(nobody)).await;
    it.give_tokens().await;
    let error = list(&it, None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transient);
    assert!(error.to_string().contains("cannot be reached"), "{error}");
    assert!(!error.to_string().contains("127.0.0.1"), "{error}");
}

#[tokio::test]
async fn a_host_that_speaks_no_tls_is_told_apart_from_an_answer() {
    let plain = Pretend::new().await;
    let https = plain.server.uri().replace("http://", "https://").parse().unwrap();
    let it = Pretend::at(Credential::Secret(Secret::new("x")), Some(https)).await;
    it.give_tokens().await;
    let error = list(&it, None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transient);
    assert!(error.to_string().contains("InvalidContentType"), "{error}");
    assert!(plain.requests("/subscriptions").await.is_empty());
}
