//! The landing page's token, the plans, and the activation.

use std::io::Write;
use std::sync::{Arc, Mutex};

use entitled::domain::{PurchaseToken, SubscriptionStatus};
use entitled::microsoft::{AvailablePlan, ErrorKind, MicrosoftError, Read, Resolved};
use serde_json::{Value, json};
use wiremock::ResponseTemplate;

use super::{Pretend, header, ok, raw};

const ID: &str = "a1a1a1a1-4289-581c-2cb7-db784599a7bd";
const RESOLVE: &str = "/marketplace/api/saas/subscriptions/resolve";

fn at(path: &str) -> String {
    format!("/marketplace/api/saas/subscriptions/{ID}{path}")
}

async fn resolve(it: &Pretend) -> Result<Resolved, MicrosoftError> {
    let token = PurchaseToken::from_query("token=ab%2Bcd%2Fef%252F%3D").unwrap();
    it.microsoft.marketplace().resolve(&it.meter, &token).await
}

async fn activate(it: &Pretend, quantity: Option<u64>) -> Result<(), MicrosoftError> {
    it.microsoft.marketplace().activate(&it.meter, ID.parse().unwrap(), "team", quantity).await
}

async fn plans(
    it: &Pretend,
    plan: Option<&str>,
) -> Result<Vec<Read<AvailablePlan>>, MicrosoftError> {
    it.microsoft.marketplace().plans(&it.meter, ID.parse().unwrap(), plan).await
}

fn resolved() -> Value {
    json!({ "id": ID, "subscriptionName": "Viz", "offerId": "Viz-Suite", "planId": "Team",
        "quantity": "", "subscription": { "id": ID, "saasSubscriptionStatus": "Subscribed",
            "beneficiary": { "tenantId": "0b0b0b0b-1111-4222-8333-444444444444", "iss": "x", "idp": "y" } } })
}

#[tokio::test]
async fn a_purchase_token_is_sent_decoded_once_and_what_it_stands_for_is_read() {
    let it = Pretend::new().await;
    let mut bare = resolved();
    bare["subscription"] = Value::Null;
    it.answer("POST", RESOLVE, vec![raw(503, "<html>"), ok(resolved()), ok(bare)]).await;
    let told = resolve(&it).await.unwrap();
    assert_eq!(
        (told.id.to_string().as_str(), &*told.plan, &*told.offer),
        (ID, "team", "viz-suite")
    );
    assert_eq!((told.quantity, &*told.name), (None, "Viz"));
    let Some(Read::Understood(subscription, _)) = told.subscription else { panic!("not read") };
    assert_eq!(subscription.status, SubscriptionStatus::Subscribed);
    assert_eq!(subscription.term_end, None, "the dates were missing from here for weeks");
    assert!(resolve(&it).await.unwrap().subscription.is_none());
    let requests = it.requests("/resolve").await;
    assert_eq!(requests.len(), 3, "a bad moment is sat out");
    assert_eq!(header(&requests[0], "x-ms-marketplace-token"), "ab+cd/ef%2F=");
    assert_eq!((header(&requests[0], "content-length"), requests[0].body.len()), ("0", 0));
}

#[tokio::test]
async fn an_expired_token_tells_the_buyer_what_to_click() {
    for status in [400, 404] {
        let it = Pretend::new().await;
        it.answer("POST", RESOLVE, vec![raw(status, r#"{"message":"ab+cd/ef%2F="}"#)]).await;
        let error = resolve(&it).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{status}");
        assert!(error.to_string().contains("configure or manage"), "{error}");
        assert!(!error.to_string().contains("ab+cd"), "{error}");
        assert_eq!(it.requests("/resolve").await.len(), 1, "it stays expired");
    }
}

#[tokio::test]
async fn a_purchase_token_is_in_no_log_line_and_no_error() {
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);
    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let lines = Lines::default();
    let writer = lines.clone();
    let logging = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let logging = tracing::subscriber::set_default(logging);
    let it = Pretend::new().await;
    it.answer("POST", RESOLVE, vec![raw(500, "ab+cd/ef%2F="), raw(403, "\"ab+cd/ef%2F=\"")]).await;
    let error = resolve(&it).await.unwrap_err();
    drop(logging);
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap() + &format!("{error:?}");
    assert!(text.contains("POST /api/saas/subscriptions/resolve"), "the call itself is logged");
    assert!(!text.contains("ab+cd") && !text.contains("ab%2Bcd"), "{text}");
}

#[tokio::test]
async fn an_activation_sends_what_old_and_new_servers_want() {
    let it = Pretend::new().await;
    it.answer("POST", &at("/activate"), vec![raw(200, ""), raw(202, "{}")]).await;
    activate(&it, Some(25)).await.unwrap();
    activate(&it, None).await.unwrap();
    let bodies: Vec<Value> =
        it.requests("/activate").await.iter().map(|it| it.body_json().unwrap()).collect();
    assert_eq!(bodies, [json!({ "planId": "team", "quantity": 25 }), json!({ "planId": "team" })]);
}

#[tokio::test]
async fn an_activation_tells_what_is_certain_from_what_is_not() {
    let check = async |answers: Vec<u16>, kind: ErrorKind, perhaps: bool, requests: usize| {
        let it = Pretend::new().await;
        let answers = answers.into_iter().map(|it| raw(it, "\"Some text\"")).collect();
        it.answer("POST", &at("/activate"), answers).await;
        let error = activate(&it, None).await.unwrap_err();
        assert_eq!((error.kind(), error.may_have_taken_effect()), (kind, perhaps), "{error}");
        assert_eq!(it.requests("/activate").await.len(), requests, "{error}");
    };
    check(vec![400], ErrorKind::Rejected, false, 1).await;
    check(vec![404], ErrorKind::NotFound, false, 1).await;
    check(vec![403], ErrorKind::Consent, false, 2).await;
    check(vec![500], ErrorKind::Transient, true, 4).await;
    // The first try may have activated it: then the second one is refused.
    check(vec![500, 400], ErrorKind::Rejected, true, 2).await;
}

#[tokio::test]
async fn plans_are_read_with_their_prices_and_one_odd_plan_spoils_no_other() {
    let it = Pretend::new().await;
    let plan = json!({ "planId": "Gold", "displayName": "Gold", "isPrivate": true, "minQuantity": 1,
        "maxQuantity": 500, "hasFreeTrials": false, "isPricePerSeat": true, "isStopSell": false,
        "market": "AT", "planComponents": { "recurrentBillingTerms": [
            { "currency": "EUR", "price": 12.5, "termUnit": "PAY", "termDescription": "x" }] },
        "sourceOffers": [{ "externalId": "0b0b0b0b-1111-4222-8333-444444444444" }] });
    let flat = json!({ "planId": "company", "planComponents": {} });
    it.get(
        &at("/listAvailablePlans"),
        vec![ok(json!({ "plans": [plan, { "displayName": "?" }, flat] })), raw(200, "")],
    )
    .await;
    let told = plans(&it, Some("a&b=c")).await.unwrap();
    let Read::Understood(gold, _) = &told[0] else { panic!("not understood") };
    assert_eq!((&*gold.plan, gold.min_quantity, gold.max_quantity), ("gold", Some(1), Some(500)));
    assert!(gold.private && gold.per_seat && !gold.stop_sell && !gold.free_trial);
    let term = &gold.terms[0];
    assert_eq!((&*term.unit, &*term.currency, &*term.price), ("PAY", "EUR", "12.5"));
    assert_eq!(gold.private_offers.len(), 1);
    assert!(matches!(&told[1], Read::Odd { .. }));
    let Read::Understood(flat, _) = &told[2] else { panic!("not understood") };
    assert_eq!((flat.max_quantity, flat.per_seat), (None, false));
    assert!(plans(&it, None).await.unwrap().is_empty());
    let requests = it.requests("/listAvailablePlans").await;
    assert_eq!(requests[0].url.query(), Some("api-version=2018-08-31&planId=a%26b%3Dc"));
}

#[tokio::test]
async fn no_plans_for_what_has_ended() {
    let it = Pretend::new().await;
    let answer = ResponseTemplate::new(403).set_body_json(json!("No."));
    it.get(&at("/listAvailablePlans"), vec![answer]).await;
    let error = plans(&it, None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Consent);
    assert!(error.to_string().contains("has ended"), "{error}");
}
