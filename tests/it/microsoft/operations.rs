//! Operations and changes of a subscription, each trap by itself.

use std::time::Duration;

use entitled::domain::{Action, OperationStatus, RequestSource};
use entitled::microsoft::{
    Accepted, Acknowledged, Cancelled, Change, Credential, ErrorKind, MicrosoftError, Operation,
    Read, Secret, Verdict,
};
use serde_json::{Value, json};
use wiremock::ResponseTemplate;

use super::{Pretend, header, ok, raw};

const ID: &str = "a1a1a1a1-4289-581c-2cb7-db784599a7bd";
const OPERATION: &str = "0e0e0e0e-0000-4000-8000-000000000001";
const SUBSCRIPTION: &str =
    "/marketplace/api/saas/subscriptions/a1a1a1a1-4289-581c-2cb7-db784599a7bd";

fn at(path: &str) -> String {
    format!("{SUBSCRIPTION}{path}")
}

fn one() -> String {
    at(&format!("/operations/{OPERATION}"))
}

fn record(action: &str, status: &str) -> Value {
    json!({ "id": OPERATION, "activityId": OPERATION, "subscriptionId": ID, "offerId": "viz-suite",
        "publisherId": "vizmaker", "planId": "Team", "quantity": 25, "action": action,
        "timeStamp": "2026-05-02T10:11:12.3456789", "status": status,
        "operationRequestSource": "Azure", "errorStatusCode": "" })
}

async fn get(it: &Pretend) -> Result<Option<Read<Operation>>, MicrosoftError> {
    it.microsoft.marketplace().operation(&it.meter, ID.parse().unwrap(), OPERATION).await
}

async fn acknowledge(it: &Pretend, verdict: Verdict) -> Result<Acknowledged, MicrosoftError> {
    let marketplace = it.microsoft.marketplace();
    marketplace.acknowledge(&it.meter, ID.parse().unwrap(), OPERATION, verdict).await
}

async fn change(it: &Pretend, change: Change<'_>) -> Result<Accepted, MicrosoftError> {
    it.microsoft.marketplace().change(&it.meter, ID.parse().unwrap(), change).await
}

async fn cancel(it: &Pretend) -> Result<Cancelled, MicrosoftError> {
    it.microsoft.marketplace().cancel(&it.meter, ID.parse().unwrap()).await
}

fn understood(read: Read<Operation>) -> Operation {
    match read {
        Read::Understood(it, _) => it,
        Read::Odd { why, .. } => panic!("it was not understood: {why}"),
    }
}

fn accepted(location: &str) -> ResponseTemplate {
    ResponseTemplate::new(202)
        .insert_header("Operation-Location", location)
        .insert_header("Retry-After", "10")
}

#[tokio::test]
async fn an_operation_is_read_with_words_of_any_case_and_words_nobody_knows() {
    let it = Pretend::new().await;
    let mut odd = record("Transfer", "");
    odd["operationRequestedSource"] = odd["operationRequestSource"].take();
    odd["quantity"] = json!("");
    odd["planId"] = json!("");
    let answers = vec![ok(record(" changeplan ", "inprogress")), ok(odd)];
    it.get(&one(), answers).await;
    let first = understood(get(&it).await.unwrap().unwrap());
    assert_eq!((&*first.id, first.plan.as_deref()), (OPERATION, Some("team")));
    assert_eq!((first.action, first.status), (Action::ChangePlan, OperationStatus::InProgress));
    assert_eq!((first.quantity, first.source), (Some(25), RequestSource::Azure));
    assert_eq!(first.at.unwrap().to_string(), "2026-05-02T10:11:12.3456789Z", "no zone is UTC");
    let second = understood(get(&it).await.unwrap().unwrap());
    assert_eq!(second.action, Action::Unrecognized("Transfer".into()));
    assert_eq!(second.status, OperationStatus::Unrecognized("".into()));
    assert_eq!((second.quantity, second.plan), (None, None));
    assert_eq!(second.source, RequestSource::Azure, "the misspelt key is understood");
    let request = &it.requests(OPERATION).await[0];
    assert_eq!(request.url.query(), Some("api-version=2018-08-31"));
}

#[tokio::test]
async fn unknown_operations_get_400_where_404_is_documented() {
    for status in [400, 404] {
        let it = Pretend::new().await;
        let body = json!({ "code": "BadRequest", "message": "operation", "details": [] });
        it.get(&one(), vec![ResponseTemplate::new(status).set_body_json(body.clone())]).await;
        assert!(get(&it).await.unwrap().is_none(), "{status}");
        let answer = ResponseTemplate::new(status).set_body_json(body);
        it.answer("PATCH", &one(), vec![answer]).await;
        let error = acknowledge(&it, Verdict::Success).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{status}");
        assert!(!error.may_have_taken_effect(), "{status}");
        assert_eq!(it.requests(OPERATION).await.len(), 2, "neither is tried again");
    }
}

#[tokio::test]
async fn an_operation_id_that_would_climb_is_not_asked_for() {
    let it = Pretend::new().await;
    let marketplace = it.microsoft.marketplace();
    let id = ID.parse().unwrap();
    for bad in ["", "..", "../../resolve", "a/b", "a?b", "a%2fb", "a b", &"a".repeat(65)] {
        assert!(marketplace.operation(&it.meter, id, bad).await.unwrap().is_none(), "{bad}");
        let error = marketplace.acknowledge(&it.meter, id, bad, Verdict::Success).await;
        assert_eq!(error.unwrap_err().kind(), ErrorKind::NotFound, "{bad}");
    }
    assert_eq!(it.meter.requests(), 0);
}

#[tokio::test]
async fn no_operations_come_in_many_shapes() {
    for (status, body, count) in [
        (200, String::new(), 0),
        (200, "\u{feff} ".into(), 0),
        (200, "{}".into(), 0),
        (200, "[]".into(), 0),
        (200, r#"{"operations":[]}"#.into(), 0),
        (200, r#"{"operations":null}"#.into(), 0),
        (404, String::new(), 0),
        (400, r#"{"message":"x"}"#.into(), 0),
        (200, json!([record("Renew", "Succeeded")]).to_string(), 1),
        (200, json!({ "operations": [record("Renew", "x"), 7] }).to_string(), 2),
    ] {
        let it = Pretend::new().await;
        it.get(&at("/operations"), vec![raw(status, &body)]).await;
        let marketplace = it.microsoft.marketplace();
        let told = marketplace.operations(&it.meter, ID.parse().unwrap()).await.unwrap();
        assert_eq!(told.len(), count, "{status} {body}");
        assert!(told.get(1).is_none_or(|it| matches!(it, Read::Odd { .. })), "{body}");
    }
    let it = Pretend::new().await;
    it.get(&at("/operations"), vec![raw(200, "<html>")]).await;
    let told = it.microsoft.marketplace().operations(&it.meter, ID.parse().unwrap()).await;
    assert_eq!(
        told.unwrap_err().kind(),
        ErrorKind::Unreadable,
        "a gateway's page is no empty list"
    );
}

#[tokio::test]
async fn a_verdict_is_the_documented_word_and_409_means_too_late() {
    let it = Pretend::new().await;
    let answers = vec![raw(200, ""), raw(200, ""), raw(409, r#"{"message":"<request id>"}"#)];
    it.answer("PATCH", &one(), answers).await;
    assert_eq!(acknowledge(&it, Verdict::Success).await.unwrap(), Acknowledged::Recorded);
    assert_eq!(acknowledge(&it, Verdict::Failure).await.unwrap(), Acknowledged::Recorded);
    assert_eq!(acknowledge(&it, Verdict::Success).await.unwrap(), Acknowledged::TooLate);
    let bodies: Vec<Value> =
        it.requests(OPERATION).await.iter().map(|it| it.body_json().unwrap()).collect();
    let word = |word: &str| json!({ "status": word });
    assert_eq!(bodies, [word("Success"), word("Failure"), word("Success")]);
}

#[tokio::test]
async fn a_repeated_verdict_keeps_its_request_id_even_with_another_token() {
    let it = Pretend::new().await;
    let answers = vec![raw(500, ""), raw(401, ""), raw(502, "<html>"), raw(200, "")];
    it.answer("PATCH", &one(), answers).await;
    assert_eq!(acknowledge(&it, Verdict::Success).await.unwrap(), Acknowledged::Recorded);
    let requests = it.requests(OPERATION).await;
    assert_eq!(requests.len(), 4);
    for name in ["x-ms-requestid", "x-ms-correlationid"] {
        let first = header(&requests[0], name);
        assert!(!first.is_empty() && requests.iter().all(|it| header(it, name) == first), "{name}");
    }
    it.get(&one(), vec![raw(500, ""), ok(record("Renew", "Succeeded"))]).await;
    get(&it).await.unwrap();
    let requests = it.requests(OPERATION).await;
    let ids: Vec<_> = requests[4..].iter().map(|it| header(it, "x-ms-requestid")).collect();
    assert_ne!(ids[0], ids[1], "what only reads has an id for each request");
}

#[tokio::test]
async fn a_verdict_that_may_have_arrived_says_so() {
    let it = Pretend::new().await;
    it.answer("PATCH", &one(), vec![raw(500, "")]).await;
    let error = acknowledge(&it, Verdict::Success).await.unwrap_err();
    assert_eq!((error.kind(), error.may_have_taken_effect()), (ErrorKind::Transient, true));
    assert_eq!(it.requests(OPERATION).await.len(), 4, "it may be said again");

    // A refusal of the second try does not tell what the first one did.
    let it = Pretend::new().await;
    it.answer("PATCH", &one(), vec![raw(504, ""), raw(400, "{}")]).await;
    let error = acknowledge(&it, Verdict::Success).await.unwrap_err();
    assert_eq!((error.kind(), error.may_have_taken_effect()), (ErrorKind::NotFound, true));
}

#[tokio::test]
async fn a_change_names_plan_or_quantity_and_is_followed_on_our_host() {
    let it = Pretend::new().await;
    let location = format!(
        "https://main.prod.marketplaceapi.azure.com/api/saas/subscriptions/{ID}/operations/{OPERATION}?api-version=2018-08-31"
    );
    it.answer("PATCH", SUBSCRIPTION, vec![accepted(&location)]).await;
    let not_begun = record("ChangePlan", "NotStarted");
    it.get(&one(), vec![raw(404, ""), ok(not_begun)]).await;
    let told = change(&it, Change::Plan("gold")).await.unwrap();
    assert_eq!((&*told.operation, told.wait), (OPERATION, Duration::from_secs(10)));
    let marketplace = it.microsoft.marketplace();
    assert!(marketplace.follow(&it.meter, &told).await.unwrap().is_none(), "not known yet");
    let operation = understood(marketplace.follow(&it.meter, &told).await.unwrap().unwrap());
    assert_eq!(operation.status, OperationStatus::NotStarted);
    change(&it, Change::Quantity(40)).await.unwrap();
    let bodies: Vec<Value> =
        it.requests(ID).await.iter().map(|it| it.body_json().unwrap()).collect();
    assert_eq!(bodies, [json!({ "planId": "gold" }), json!({ "quantity": 40 })]);
}

#[tokio::test]
async fn a_location_out_of_the_api_is_not_followed() {
    for location in ["https://evil.example/steal", "https://evil.example/api/saas/../x", "ftp://h"]
    {
        let it = Pretend::new().await;
        let named = accepted(location).insert_header("Operation-Id", OPERATION);
        it.answer("PATCH", SUBSCRIPTION, vec![accepted(location), named]).await;
        let error = change(&it, Change::Quantity(4)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused, "{location}");
        assert!(error.may_have_taken_effect(), "it was accepted, whatever the link");
        // The operation's id is enough to find it on our own host.
        it.get(&one(), vec![ok(record("ChangeQuantity", "InProgress"))]).await;
        let told = change(&it, Change::Quantity(4)).await.unwrap();
        let read = it.microsoft.marketplace().follow(&it.meter, &told).await.unwrap().unwrap();
        assert_eq!(&*understood(read).id, OPERATION);
    }
}

#[tokio::test]
async fn an_accepted_change_that_names_no_operation_asks_for_a_look() {
    let it = Pretend::new().await;
    it.answer("PATCH", SUBSCRIPTION, vec![raw(202, "")]).await;
    let error = change(&it, Change::Quantity(4)).await.unwrap_err();
    assert_eq!((error.kind(), error.may_have_taken_effect()), (ErrorKind::Unreadable, true));
    assert_eq!(it.requests(ID).await.len(), 1);
}

#[tokio::test]
async fn a_change_is_asked_for_once_when_it_may_have_been_heard() {
    for status in [408, 500, 502, 503, 504] {
        let it = Pretend::new().await;
        it.answer("PATCH", SUBSCRIPTION, vec![raw(status, "")]).await;
        it.answer("DELETE", SUBSCRIPTION, vec![raw(status, "")]).await;
        let error = change(&it, Change::Plan("gold")).await.unwrap_err();
        assert!(error.may_have_taken_effect(), "{status}: {error}");
        assert!(cancel(&it).await.unwrap_err().may_have_taken_effect(), "{status}");
        assert_eq!(it.requests(ID).await.len(), 2, "{status}");
    }
    for (status, kind) in [
        (400, ErrorKind::Rejected),
        (403, ErrorKind::Consent),
        (404, ErrorKind::NotFound),
        (409, ErrorKind::Locked),
    ] {
        let it = Pretend::new().await;
        let body = json!({ "code": "BadRequest", "message": "mia@customer.example" });
        let answer = ResponseTemplate::new(status).set_body_json(body);
        it.answer("PATCH", SUBSCRIPTION, vec![answer.clone()]).await;
        it.answer("DELETE", SUBSCRIPTION, vec![answer]).await;
        for error in
            [change(&it, Change::Plan("gold")).await.unwrap_err(), cancel(&it).await.unwrap_err()]
        {
            assert_eq!((error.kind(), error.may_have_taken_effect()), (kind, false), "{error}");
            assert!(!error.to_string().contains("mia@"), "{error}");
        }
    }
}

#[tokio::test]
async fn throttling_and_a_dead_host_are_certain_not_to_have_changed_anything() {
    let it = Pretend::new().await;
    let busy = ResponseTemplate::new(429).insert_header("Retry-After", "7");
    let location = format!("https://h.example/api/saas/subscriptions/{ID}/operations/{OPERATION}");
    it.answer("PATCH", SUBSCRIPTION, vec![busy, accepted(&location)]).await;
    let told = change(&it, Change::Plan("gold")).await.unwrap();
    assert!(told.location.as_str().ends_with("?api-version=2018-08-31"), "{:?}", told.location);
    assert_eq!(it.slept_s(), [7.0]);
    let requests = it.requests(ID).await;
    assert_eq!(header(&requests[0], "x-ms-requestid"), header(&requests[1], "x-ms-requestid"));

    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nobody = format!("http://{nobody}").parse().unwrap();
    let it = Pretend::at(Credential::Secret(Secret::new("x")), Some(nobody)).await;
    it.give_tokens().await;
    let error = change(&it, Change::Plan("gold")).await.unwrap_err();
    assert_eq!((error.kind(), error.may_have_taken_effect()), (ErrorKind::Transient, false));
    assert_eq!(it.meter.requests(), 5, "a token and four tries: none of them went out");
}

#[tokio::test]
async fn a_token_endpoint_that_is_down_leaves_no_doubt() {
    let it = Pretend::without_tokens().await;
    let tokens = format!("/login/{}/oauth2/v2.0/token", super::HOME);
    it.answer("POST", &tokens, vec![raw(503, "<html>")]).await;
    let error = change(&it, Change::Plan("gold")).await.unwrap_err();
    assert_eq!((error.kind(), error.may_have_taken_effect()), (ErrorKind::Transient, false));
    assert!(it.requests(ID).await.is_empty());
}

#[tokio::test]
async fn ending_what_has_ended_is_no_failure() {
    let it = Pretend::new().await;
    let location = format!("https://h.example/api/saas/subscriptions/{ID}/operations/{OPERATION}");
    it.answer("DELETE", SUBSCRIPTION, vec![accepted(&location), raw(200, "")]).await;
    let Cancelled::Accepted(told) = cancel(&it).await.unwrap() else { panic!("not accepted") };
    assert_eq!(&*told.operation, OPERATION);
    assert!(matches!(cancel(&it).await.unwrap(), Cancelled::AlreadyEnded));
}
