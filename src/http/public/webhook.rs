//! The marketplace tells us that something happens to a subscription. It is written down, then
//! acknowledged; what it means is found out later, from Microsoft itself (`sync::inbox`).
//!
//! Microsoft takes a 4xx for "no, the change may not happen", so none is given for trouble of ours.
//!
//! Source: contract sections 5 and 7; `marketplace-saas.md` section 8.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde_json::{Map, Value};
use tokio::time::timeout;
use uuid::Uuid;

use super::{Public, Shared, body};
use crate::domain::{Action, Announcement, Receipt, SubscriptionId};
use crate::http::edge::Tallied;
use crate::http::limits::HANDLER;
use crate::http::metrics::WebhookLabels;
use crate::http::problem::{Problem, ProblemBody};
use crate::http::who::bearer;
use crate::planted::{Mistake, planted};
use crate::store::{Arrival, Store, StoreError};
use crate::sync::keys::Lookup;
use crate::tokens::{self, TokenError};

/// After how many seconds Microsoft may come again when it was our trouble.
const COME_AGAIN_S: u32 = 60;

/// The longest word of an action that is kept, in bytes.
const ACTION_MAX: usize = 64;

/// Something happens to a subscription. 200 once it is on disk.
#[utoipa::path(
    post, path = "/marketplace/webhook", tag = "marketplace",
    request_body(content = Object, description = "The webhook of SaaS fulfillment v2; unknown and missing fields are accepted"),
    responses(
        (status = 200, description = "The event is on disk, now or since it first came"),
        (status = 400, description = "The body is no JSON object", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "The token is not the marketplace's, or not for us", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "Our own trouble: come again, see Retry-After", body = ProblemBody, content_type = "application/problem+json"),
    ),
    security(("marketplace_token" = [])),
)]
pub(super) async fn receive(
    State(shared): State<Shared>,
    request: Request,
) -> Result<Response, Problem> {
    let (head, body) = request.into_parts();
    let public = &shared.public;
    let result = async {
        let no_token = || Problem::unauthorized("send the marketplace's token");
        let token = bearer(&head.headers).and_then(|it| it.ok_or_else(no_token));
        let token = token.inspect_err(|_none| public.watch.refused("no_token"))?;
        public.verify_marketplace(token).await?;
        public.watch.valid();
        let bytes = body::read(body, &head.headers, shared.body_bytes).await?;
        let arrival = arrival(&bytes, public)?;
        public.keep(arrival).await
    };
    let result = in_time(result).await;
    let outcome = match &result {
        Ok(outcome) => outcome,
        Err(problem) => problem.kind(),
    };
    public.metrics.webhooks.get_or_create(&WebhookLabels { outcome }).inc();
    match result {
        Ok(_outcome) => Ok(StatusCode::OK.into_response()),
        Err(problem) if problem.status() == StatusCode::UNAUTHORIZED => {
            let mut refused = problem.into_response();
            refused.extensions_mut().insert(Tallied);
            Ok(refused)
        }
        Err(problem) => Err(problem),
    }
}

/// One limit for all of it, below the time after which nobody hears us: Microsoft takes a 408 for a
/// refusal.
async fn in_time<T>(work: impl Future<Output = Result<T, Problem>>) -> Result<T, Problem> {
    let late = || Problem::unavailable("this takes too long: come again").retry_after(COME_AGAIN_S);
    timeout(HANDLER, work).await.unwrap_or_else(|_elapsed| Err(late()))
}

impl Public {
    /// Whether it is the marketplace that calls.
    async fn verify_marketplace(&self, token: &str) -> Result<(), Problem> {
        let refused = |error: TokenError| {
            self.watch.refused(error.check());
            Problem::unauthorized(error.to_string())
        };
        let kid = tokens::key_id(token).map_err(refused)?;
        match self.entra.lookup(&kid).await {
            Lookup::Known(keys) => {
                tokens::verify_webhook(token, &keys, &self.webhooks, self.now()).map_err(refused)
            }
            Lookup::Unknown => Err(refused(TokenError::UnknownKey { kid })),
            Lookup::Unavailable => {
                let detail = "Microsoft's signing keys are not there yet: come again";
                Err(Problem::unavailable(detail).retry_after(COME_AGAIN_S))
            }
        }
    }

    /// Writes it down. The word says what became of it.
    async fn keep(&self, arrival: Arrival) -> Result<&'static str, Problem> {
        let come_again = |detail: &str| Problem::unavailable(detail).retry_after(COME_AGAIN_S);
        let late = self.watch.is_late(&arrival);
        match kept(&self.store, arrival).await {
            Ok(Receipt::New) => {
                if late {
                    self.watch.late();
                }
                Ok("new")
            }
            Ok(Receipt::Duplicate) => Ok("duplicate"),
            Ok(Receipt::Full) => Err(come_again("too many webhooks wait: come again")),
            Err(error) => Err(come_again("it cannot be written down: come again").because(error)),
        }
    }
}

/// Puts it on disk; what comes back may be acknowledged.
async fn kept(store: &Store, arrival: Arrival) -> Result<Receipt, StoreError> {
    if planted(Mistake::AnswerFirst) {
        let store = store.clone();
        #[expect(clippy::disallowed_methods, reason = "the mistake of one who watches nothing")]
        tokio::spawn(async move { store.receive(arrival).await });
        return Ok(Receipt::New);
    }
    store.receive(arrival).await
}

fn arrival(bytes: &[u8], public: &Public) -> Result<Arrival, Problem> {
    // Some senders put a byte order mark before it.
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let Ok(Value::Object(fields)) = serde_json::from_slice(bytes) else {
        return Err(Problem::malformed("send a JSON object"));
    };
    let body = String::from_utf8_lossy(bytes).into_owned().into();
    Ok(Arrival { said: read(&fields), body, received: public.now(), sent: sent(&fields) })
}

/// When, as the body says, happened what it tells. Some of Microsoft's moments name no zone: those
/// are UTC.
///
/// Source: `marketplace-saas.md` sections 8.4 and 11 (trap 35).
fn sent(fields: &Map<String, Value>) -> Option<Timestamp> {
    let text = fields.get("timeStamp")?.as_str()?.trim();
    text.parse().or_else(|_no_zone| format!("{text}Z").parse()).ok()
}

/// What a body names. Nothing in it is needed; nothing in it is believed.
fn read(fields: &Map<String, Value>) -> Announcement {
    let word = |name: &str| fields.get(name).and_then(Value::as_str).map_or("", str::trim);
    let id = |text: &str| Uuid::try_parse(text.trim()).ok().filter(|it| !it.is_nil());
    let inner = fields.get("subscription").and_then(|it| it.get("id")).and_then(Value::as_str);
    let subscription = id(word("subscriptionId")).or_else(|| id(inner?));
    let action = match word("action") {
        "" => word("operationType"), // a shape that Microsoft once documented
        action => action,
    };
    let quantity = match fields.get("quantity") {
        Some(Value::Number(number)) => number.as_u64(),
        Some(Value::String(text)) => text.trim().parse().ok(),
        _ => None,
    };
    let plan = word("planId").to_ascii_lowercase();
    Announcement {
        operation: id(word("id")).map(|it| Arc::from(it.to_string())),
        action: Action::from_word(
            action.get(..action.floor_char_boundary(ACTION_MAX)).unwrap_or_default(),
        ),
        subscription: subscription.map(SubscriptionId::from_uuid),
        plan: (!plan.is_empty()).then(|| plan.into()),
        quantity,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planted::{Chance, prove_within};
    use crate::store::{Guard, StoreOptions};
    use serde_json::json;

    const OPERATION: &str = "a1000000-0000-4000-8000-000000000002";
    const SUBSCRIPTION: &str = "5d0c1f22-7a31-4c8e-1b2f-90aa3344ee10";

    /// What is read, as: operation, action, subscription, plan, quantity.
    fn check(body: &Value, expected: [&str; 5]) {
        let it = read(body.as_object().unwrap());
        let quantity = it.quantity.map(|it| it.to_string());
        let got = [
            it.operation.as_deref().unwrap_or("-").to_owned(),
            it.action.as_str().to_owned(),
            it.subscription.map_or("-".to_owned(), |it| it.to_string()),
            it.plan.as_deref().unwrap_or("-").to_owned(),
            quantity.unwrap_or_else(|| "-".to_owned()),
        ];
        assert_eq!(got, expected, "{body}");
    }

    #[test]
    fn every_shape_that_was_ever_seen_is_understood() {
        let (o, s) = (OPERATION, SUBSCRIPTION);
        let full = json!({ "id": o, "activityId": o, "planId": "Enterprise", "quantity": 25,
            "subscriptionId": s, "action": "ChangePlan", "status": "InProgress",
            "subscription": { "id": s, "planId": "team" }, "purchaseToken": null });
        check(&full, [o, "ChangePlan", s, "enterprise", "25"]);
        // Section 8.4: really received.
        let minimal = json!({ "id": o, "subscriptionId": s, "offerId": "", "planId": "",
            "quantity": "", "action": "Unsubscribe", "status": "" });
        check(&minimal, [o, "Unsubscribe", s, "-", "-"]);
        check(
            &json!({ "subscriptionId": s, "operationType": "Reinstate" }),
            ["-", "Reinstate", s, "-", "-"],
        );
        check(
            &json!({ "id": o.to_uppercase(), "subscription": { "id": s.to_uppercase() },
            "action": " suspended ", "quantity": "20" }),
            [o, "Suspend", s, "-", "20"],
        );
        check(
            &json!({ "id": o, "subscriptionId": s, "action": "Transfer" }),
            [o, "Transfer", s, "-", "-"],
        );
    }

    #[test]
    fn what_cannot_be_an_id_is_none_and_nothing_is_ever_too_odd() {
        check(&json!({}), ["-", "", "-", "-", "-"]);
        check(
            &json!({ "id": "../../x", "subscriptionId": 7, "action": ["x"], "planId": {} }),
            ["-", "", "-", "-", "-"],
        );
        check(
            &json!({ "id": "00000000-0000-0000-0000-000000000000", "quantity": -1 }),
            ["-", "", "-", "-", "-"],
        );
        check(
            &json!({ "quantity": 1.5, "action": "é".repeat(40) }),
            ["-", &"é".repeat(32), "-", "-", "-"],
        );
    }

    /// Promise 1: whatever was answered with 200 is there when the process is not any more.
    fn law(chance: &mut Chance) -> Result<(), String> {
        let folder = tempfile::tempdir().unwrap();
        let options = || StoreOptions { guard: Guard::Off, ..StoreOptions::new(folder.path()) };
        let runtime = || tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (store, _) = Store::open(options(), Timestamp::UNIX_EPOCH).unwrap();
        let mut acknowledged = 0;
        let serving = runtime();
        serving.block_on(async {
            let (count, closes) = (1 + chance.below(4), chance.below(5));
            for number in 0..count {
                if number == closes {
                    store.close().await;
                }
                let id = Uuid::from_u128(1 + number as u128).to_string();
                let fields = json!({ "id": id, "action": "Suspend" });
                let said = read(fields.as_object().unwrap());
                let body = fields.to_string().into();
                let it = Arrival { said, body, received: Timestamp::UNIX_EPOCH, sent: None };
                acknowledged += usize::from(kept(&store, it).await.is_ok());
            }
        });
        // What was not on its way to disk yet goes with the process.
        drop(serving);
        runtime().block_on(store.close());
        drop(store);
        let (store, _) = Store::open(options(), Timestamp::UNIX_EPOCH).unwrap();
        let lost = acknowledged.saturating_sub(store.inbox().waiting);
        runtime().block_on(store.close());
        if lost == 0 { Ok(()) } else { Err(format!("{lost} of {acknowledged} lost")) }
    }

    #[test]
    fn an_acknowledged_webhook_is_on_disk_and_one_who_answers_first_is_found_out() {
        prove_within(Mistake::AnswerFirst, 10, law);
    }
}
