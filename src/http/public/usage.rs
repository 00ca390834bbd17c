//! Servers report metered usage: on disk before the answer, summed up and told to Microsoft once the
//! clock hour is over (`sync::usage`).
//!
//! Source: contract sections 5 and 6; `marketplace-saas.md` section 13.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::Number;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::usage_report::{self, ReportBody};
use super::{Public, Shared, body, client_of, json};
use crate::config::Permission;
use crate::domain::{Quantity, UsageEvent, UsageId, UsageState};
use crate::http::ids::Ids;
use crate::http::once;
use crate::http::problem::{Problem, ProblemBody};
use crate::http::serve::Peer;
use crate::http::who::{Asker, KnownCaller};
use crate::store::{
    UsageAnswerer, UsageOutcome, UsageReceipt, UsageRepeat, UsageReport, UsageRequest,
};

/// Reports in one batch.
const BATCH_MAX: usize = 100;

/// Up to a hundred reports in place of one.
#[derive(Deserialize, ToSchema)]
#[schema(as = UsageReports)]
pub(super) struct UsageBody {
    /// The reports.
    #[schema(value_type = Vec<ReportBody>)]
    events: Option<Vec<Box<RawValue>>>,
}

/// The event that a report was added to: one for each subscription, dimension and clock hour.
#[derive(Serialize, ToSchema)]
#[schema(as = UsageEvent)]
pub(super) struct UsageRow<'a> {
    /// Its number, such as `u17`.
    id: String,
    /// The subscription.
    subscription: String,
    /// The dimension.
    dimension: &'a str,
    /// The plan that it is told for.
    plan: &'a str,
    /// The first moment of the clock hour (UTC).
    hour: String,
    /// The sum of what was reported so far.
    #[schema(value_type = f64)]
    quantity: Number,
    /// How many reports that is.
    reports: u32,
    /// `queued`, `sending`, `sent`, `duplicate` or `dead`.
    state: &'static str,
    /// When it is told to Microsoft.
    due: String,
    /// Of a dead one: why it is not billed.
    why: Option<&'a str>,
}

/// What became of a batch.
#[derive(Serialize, ToSchema)]
#[schema(as = UsageBatch)]
pub(super) struct BatchRow<'a> {
    /// How many reports were taken.
    accepted: usize,
    /// How many were not: these were not counted.
    refused: usize,
    /// The event of each report, or a problem in its place, in their order.
    events: Vec<OneOf<'a>>,
}

/// An event or a problem.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum OneOf<'a> {
    /// The event that the report was added to.
    Event(UsageRow<'a>),
    /// Why it was not taken.
    Problem(ProblemBody<'a>),
}

/// A report that is taken, unless the store will not; or why not.
type Slot = Result<UsageReport, Problem>;

/// Usage is reported: 202 once it is on disk.
#[utoipa::path(
    post, path = "/v1/usage", tag = "usage",
    params(("Idempotency-Key" = Option<String>, Header, description = "Remembered for 24 hours: the same request again is counted once and gets the same answer")),
    request_body(content = ReportBody, description = "A report; or `UsageReports`, up to 100 of them as `events`"),
    responses(
        (status = 202, description = "On disk, to be told to Microsoft when the hour is over; for `events` a `UsageBatch`, look at each", body = UsageRow),
        (status = 400, description = "The body is no report", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "No caller key, or an unknown one", body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, description = "A user's token, or a caller that may not report usage", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "The hour's event was sent already; Microsoft takes no second one", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "A field cannot be accepted, none of `events` was, or the idempotency key came with another body", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests: see Retry-After", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "It cannot be written down: see Retry-After", body = ProblemBody, content_type = "application/problem+json"),
    ),
    security(("caller_key" = [])),
)]
pub(super) async fn report(
    State(shared): State<Shared>,
    request: Request,
) -> Result<Response, Problem> {
    let (head, body) = request.into_parts();
    let public = &shared.public;
    let caller = public.caller_that_may(Permission::Usage, &head).await?;
    let bytes = body::read(body, &head.headers, shared.body_bytes).await?;
    let repeat = once::repeat(&caller.name, "usage", &head.headers, &bytes)?.map(|(it, _)| it);
    if let Some(repeat) = repeat
        && let Some(receipt) = public.store.usage_answer(repeat).map_err(Problem::unwritten)?
    {
        return answered(receipt);
    }
    let whole: UsageBody = body::json(&bytes)?;
    let Some(events) = whole.events else {
        let report = public.usage_report(&body::json(&bytes)?).await?;
        return public.take_one(&caller, repeat, report).await;
    };
    if events.is_empty() || events.len() > BATCH_MAX {
        let detail = format!("{} events; send 1 to {BATCH_MAX} at once", events.len());
        return Err(Problem::invalid(detail).of_field("events"));
    }
    let mut slots = Vec::with_capacity(events.len());
    for event in events {
        slots.push(match serde_json::from_str::<ReportBody>(event.get()) {
            Ok(report) => public.usage_report(&report).await,
            Err(_wrong) => Err(Problem::malformed("this event is no object")),
        });
    }
    public.take_batch(&caller, repeat, slots).await
}

/// An event that reports were added to, and how far it is.
#[utoipa::path(
    get, path = "/v1/usage/{id}", tag = "usage",
    params(("id" = String, Path, description = "The event's number, such as u17")),
    responses(
        (status = 200, description = "The event", body = UsageRow),
        (status = 401, description = "No caller key, or an unknown one", body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, description = "A user's token, or a caller that may not report usage", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "No such event", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests: see Retry-After", body = ProblemBody, content_type = "application/problem+json"),
    ),
    security(("caller_key" = [])),
)]
pub(super) async fn show(
    State(shared): State<Shared>,
    Ids(id): Ids<String>,
    request: Request,
) -> Result<Response, Problem> {
    let public = &shared.public;
    let (head, _) = request.into_parts();
    public.caller_that_may(Permission::Usage, &head).await?;
    let event = id.parse::<UsageId>().ok().and_then(|id| public.store.usage_event(id));
    let event = event.ok_or_else(|| Problem::not_found("there is no usage event of this id"))?;
    Ok(json(StatusCode::OK, text(&row(&event))))
}

impl Public {
    /// The caller, if it may do this.
    pub(super) async fn caller_that_may(
        &self,
        permission: Permission,
        head: &Parts,
    ) -> Result<Arc<KnownCaller>, Problem> {
        let ip = client_of(head.extensions.get::<Peer>(), &head.headers);
        match self.who(&head.headers, ip).await? {
            Asker::Caller(caller) => {
                caller.check(permission)?;
                Ok(caller)
            }
            Asker::User(_) => Err(Problem::forbidden("this is for servers with a caller key")),
            Asker::Nobody => Err(Problem::unauthorized("send a caller key")),
        }
    }

    async fn usage_report(&self, report: &ReportBody) -> Slot {
        usage_report::read(report, &self.store, self.now()).await
    }

    async fn take_one(
        &self,
        caller: &KnownCaller,
        repeat: Option<UsageRepeat>,
        report: UsageReport,
    ) -> Result<Response, Problem> {
        let answer = |outcomes: &[UsageOutcome]| match outcomes {
            [UsageOutcome::Taken(event)] => text(&row(event)),
            _ => Vec::new(),
        };
        let receipt = self.take_usage(caller, repeat, vec![report], Box::new(answer)).await?;
        if let UsageReceipt::Done { outcomes, .. } = &receipt
            && let Some(problem) = outcomes.iter().find_map(not_taken)
        {
            return Err(problem);
        }
        answered(receipt)
    }

    async fn take_batch(
        &self,
        caller: &KnownCaller,
        repeat: Option<UsageRepeat>,
        slots: Vec<Slot>,
    ) -> Result<Response, Problem> {
        let mut reports = Vec::with_capacity(slots.len());
        let mut refused: Vec<Option<Problem>> = Vec::with_capacity(slots.len());
        for slot in slots {
            match slot {
                Ok(report) => {
                    reports.push(report);
                    refused.push(None);
                }
                Err(problem) => refused.push(Some(problem)),
            }
        }
        let first = refused.iter().flatten().next().cloned();
        let answer = move |outcomes: &[UsageOutcome]| batch(&refused, outcomes);
        let receipt = self.take_usage(caller, repeat, reports, Box::new(answer)).await?;
        if let UsageReceipt::Done { outcomes, .. } = &receipt
            && !outcomes.iter().any(|it| matches!(it, UsageOutcome::Taken(_)))
        {
            let first = first.or_else(|| outcomes.iter().find_map(not_taken));
            let why = first.map(|it| it.body().detail().to_owned()).unwrap_or_default();
            let detail = format!("none of the events was taken; one of them: {why}");
            return Err(Problem::invalid(detail).of_field("events"));
        }
        answered(receipt)
    }

    async fn take_usage(
        &self,
        caller: &KnownCaller,
        repeat: Option<UsageRepeat>,
        reports: Vec<UsageReport>,
        answer: UsageAnswerer,
    ) -> Result<UsageReceipt, Problem> {
        let caller = Arc::clone(&caller.name);
        let request = UsageRequest { caller, repeat, reports, now: self.now(), answer };
        self.store.take_usage(request).await.map_err(Problem::unwritten)
    }
}

fn batch(refused: &[Option<Problem>], outcomes: &[UsageOutcome]) -> Vec<u8> {
    let problems: Vec<Option<Problem>> = outcomes.iter().map(not_taken).collect();
    let mut taken = outcomes.iter().zip(&problems);
    let mut events = Vec::with_capacity(refused.len());
    for slot in refused {
        let one = match slot {
            Some(problem) => Some(OneOf::Problem(problem.body())),
            None => taken.next().and_then(|(outcome, problem)| match (outcome, problem) {
                (UsageOutcome::Taken(event), _) => Some(OneOf::Event(row(event))),
                (_, problem) => problem.as_ref().map(|it| OneOf::Problem(it.body())),
            }),
        };
        events.extend(one);
    }
    let accepted = events.iter().filter(|it| matches!(it, OneOf::Event(_))).count();
    text(&BatchRow { accepted, refused: events.len().saturating_sub(accepted), events })
}

/// Why a report was not taken, if so.
fn not_taken(outcome: &UsageOutcome) -> Option<Problem> {
    match outcome {
        UsageOutcome::Taken(_) => None,
        UsageOutcome::Closed(event) => {
            let detail = format!(
                "the usage of `{}` in the hour of {} was closed as {}: Microsoft takes one event an \
                 hour and no corrections",
                event.key.dimension, event.key.hour, event.id
            );
            Some(Problem::hour_closed(detail).of_field("at"))
        }
        UsageOutcome::TooLarge => {
            let detail = "the sum of the hour would be larger than 1,000,000,000,000";
            Some(Problem::invalid(detail).of_field("quantity"))
        }
        UsageOutcome::Full => {
            let detail = "too much usage waits for Microsoft: try again later";
            Some(Problem::unavailable(detail).retry_after(60))
        }
    }
}

fn answered(receipt: UsageReceipt) -> Result<Response, Problem> {
    match receipt {
        UsageReceipt::Done { answer, .. } | UsageReceipt::Again(answer) => {
            Ok(json(StatusCode::ACCEPTED, answer.to_vec()))
        }
        UsageReceipt::OtherBody => Err(Problem::other_body()),
        UsageReceipt::Full => Err(Problem::too_many_keys()),
    }
}

fn row(it: &UsageEvent) -> UsageRow<'_> {
    UsageRow {
        id: it.id.to_string(),
        subscription: it.key.subscription.to_string(),
        dimension: &it.key.dimension,
        plan: &it.plan,
        hour: it.key.hour.to_string(),
        quantity: number(it.quantity),
        reports: it.reports,
        state: it.state.as_str(),
        due: it.due().to_string(),
        why: match &it.state {
            UsageState::Dead { why, .. } => Some(why),
            UsageState::Open
            | UsageState::Closed
            | UsageState::Sent { .. }
            | UsageState::Duplicate { .. } => None,
        },
    }
}

fn number(it: Quantity) -> Number {
    it.to_string().parse().unwrap_or_else(|_no_number| Number::from(0))
}

/// A row always has a text.
fn text(it: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(it).unwrap_or_default()
}
