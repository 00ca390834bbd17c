//! May he use it? Answered from the mirror alone: Microsoft being down never delays a customer.

use std::time::Instant;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::answer::Answer;
use super::packages::Stranger;
use super::question::{Asked, QuestionBody};
use super::{Public, Shared, body, client_of, json};
use crate::config::Permission;
use crate::decision::{self, Decision, Reason, SeatOf, SeatUse, Trail};
use crate::domain::{Host, Language, NoticeKind, PlaceRequest, SeatOutcome, SeatRequest};
use crate::http::problem::{Problem, ProblemBody};
use crate::http::serve::Peer;
use crate::http::who::Asker;

/// Questions in one batch.
const BATCH_MAX: usize = 100;

/// How long caches on the way may keep an answer about a page that is published to the web: short, so
/// that it is hardly ever there longer than it is valid, and a revoked license is noticed at once.
const FOR_EVERYBODY: &str = "public, max-age=60";

/// How often a seat that was free is tried for when others take it first.
const TRIES: usize = 3;

/// May this user use this product? 200 also when the answer is no.
#[utoipa::path(
    post, path = "/v1/entitlements", tag = "entitlements",
    request_body = QuestionBody,
    responses(
        (status = 200, description = "The answer, also when it is no; for `publish_to_web` without credentials caches may keep it for a minute", body = Answer),
        (status = 400, description = "The body is no question, or its host is missing or unknown", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "No credentials, or bad ones", body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, description = "The caller may not ask", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "No such product", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "A field cannot be accepted", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests: see Retry-After", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "Temporarily unavailable: see Retry-After", body = ProblemBody, content_type = "application/problem+json"),
    ),
    security((), ("user_token" = []), ("caller_key" = [])),
)]
pub(super) async fn answer_one(
    State(shared): State<Shared>,
    request: Request,
) -> Result<Response, Problem> {
    let came = Instant::now();
    let (head, body) = request.into_parts();
    let public = &shared.public;
    let ip = client_of(head.extensions.get::<Peer>(), &head.headers);
    let asker = public.who(&head.headers, ip).await?;
    let bytes = body::read(body, &head.headers, shared.body_bytes).await?;
    let question =
        Asked::read(body::json::<QuestionBody>(&bytes)?, &asker, accepted(&head.headers), public)?;
    let trusted = matches!(asker, Asker::Caller(_));
    let from = (!trusted && question.shows_something()).then_some(Stranger { ip, came });
    if let Some(stranger) = from {
        public.may_show(&question, stranger)?;
    }
    let mut response = json(StatusCode::OK, public.answer(&question, from).await?);
    // A page for everybody: what was answered to one is the answer to all who send the same body. Caches
    // that keep to the standard keep no answer to a POST; the README says how one is made to.
    if matches!(asker, Asker::Nobody) && question.host == Host::PublishToWeb {
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(FOR_EVERYBODY));
        headers.insert(header::VARY, HeaderValue::from_static("authorization, accept-language"));
    }
    Ok(response)
}

/// Up to a hundred questions at once, for servers.
#[derive(Deserialize, ToSchema)]
pub(super) struct BatchBody {
    /// The questions, each as for `/v1/entitlements`.
    #[schema(value_type = Vec<QuestionBody>)]
    questions: Vec<Value>,
}

/// The answers of a batch.
#[derive(Serialize, ToSchema)]
pub(super) struct BatchAnswer<'a> {
    /// An answer, or a problem for a question that cannot be answered, in the order of the
    /// questions.
    answers: Vec<OneOf<'a>>,
}

/// An answer or a problem.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "batches are written as bytes from kept answers; this describes them")]
pub(super) enum OneOf<'a> {
    /// The answer.
    Answer(Box<Answer<'a>>),
    /// Why there is none.
    Problem(ProblemBody<'a>),
}

/// Many questions of a server at once.
#[utoipa::path(
    post, path = "/v1/entitlements/batch", tag = "entitlements",
    request_body = BatchBody,
    responses(
        (status = 200, description = "Answers in the order of the questions; a problem in place of a bad one", body = BatchAnswer),
        (status = 400, description = "The body is no batch", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "No caller key, or an unknown one", body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, description = "A user's token, or a caller that may not ask", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "The body is larger than 256 KiB", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "More than 100 questions", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests: see Retry-After", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "Temporarily unavailable: see Retry-After", body = ProblemBody, content_type = "application/problem+json"),
    ),
    security(("caller_key" = [])),
)]
pub(super) async fn answer_batch(
    State(shared): State<Shared>,
    request: Request,
) -> Result<Response, Problem> {
    let (head, body) = request.into_parts();
    let public = &shared.public;
    let ip = client_of(head.extensions.get::<Peer>(), &head.headers);
    let asker = public.who(&head.headers, ip).await?;
    match &asker {
        Asker::Caller(caller) => caller.check(Permission::Query)?,
        Asker::User(_) => {
            return Err(Problem::forbidden("batches are for servers with a caller key"));
        }
        Asker::Nobody => return Err(Problem::unauthorized("send a caller key")),
    }
    let bytes = body::read(body, &head.headers, body::MANY_BYTES).await?;
    let batch: BatchBody = body::json(&bytes)?;
    let count = batch.questions.len();
    if count > BATCH_MAX {
        let detail = format!("{count} questions; send at most {BATCH_MAX} at once");
        return Err(Problem::invalid(detail).of_field("questions"));
    }
    let accepted = accepted(&head.headers);
    // Together, so that seats that have to be taken share one write to the disk.
    let answers = join_all(
        batch.questions.into_iter().map(|it| answer_or_problem(it, &asker, accepted, public)),
    )
    .await;
    let mut whole = Vec::with_capacity(answers.iter().map(|it| it.len() + 1).sum::<usize>() + 16);
    whole.extend_from_slice(br#"{"answers":["#);
    whole.extend_from_slice(&answers.join(&b','));
    whole.extend_from_slice(b"]}");
    Ok(json(StatusCode::OK, whole))
}

async fn answer_or_problem(
    question: Value,
    asker: &Asker,
    language: Option<Language>,
    public: &Public,
) -> Bytes {
    let answer = async {
        let body: QuestionBody = serde_json::from_value(question).map_err(|_wrong| {
            Problem::malformed("this question is no object, or a field has another type")
        })?;
        public.answer(&Asked::read(body, asker, language, public)?, None).await
    };
    answer
        .await
        .unwrap_or_else(|problem| serde_json::to_vec(&problem.body()).unwrap_or_default().into())
}

/// The language that the head of a request asks for.
fn accepted(headers: &HeaderMap) -> Option<Language> {
    Language::accepted(headers.get(header::ACCEPT_LANGUAGE)?.to_str().ok()?)
}

impl Public {
    /// Answers a question. A seat that the answer rests on is on disk before the answer is given.
    /// `from` is somebody who shows a license and is nobody we know: should it be none, that is counted
    /// against him.
    async fn answer(&self, asked: &Asked, from: Option<Stranger>) -> Result<Bytes, Problem> {
        for attempt in 0..TRIES {
            let now = self.now();
            let (decision, trail) = self.decide(asked, now);
            if attempt == 0 {
                if let Some(stranger) = from {
                    self.note_shown(asked, &decision, stranger).await?;
                }
                self.note_sighted(asked, &decision, from.map(|it| it.ip), now);
                self.note_licensee(asked, &decision, now).await;
            }
            if decision.reason == Reason::NoFreeSeat {
                self.tell_refused(asked, now);
            } else if decision.reason == Reason::OverLimit {
                self.tell_over_limit(asked, now);
            }
            let due = decision.seat.filter(|it| it.is_due(now));
            if asked.explain && due.is_some() {
                return self.explained(asked, &decision, trail, now);
            }
            let Some(seat) = due else {
                let decision = self.look_again(asked, decision, now);
                return self.signed(asked, decision, trail, now);
            };
            match self.take(asked, seat, now).await {
                Ok(()) => {}
                // He holds it already; only that he used it could not be written down.
                Err(_unwritten) if seat.held.is_some() => {
                    return self.signed(asked, decision, trail, now);
                }
                Err(problem) => return Err(problem),
            }
        }
        let detail = "the seats of this subscription are changing hands: try again in a moment";
        Err(Problem::unavailable(detail).retry_after(1))
    }

    fn decide(&self, asked: &Asked, now: jiff::Timestamp) -> (Decision, Option<Trail>) {
        let (mirror, question) = (self.store.mirror(), asked.question());
        if asked.explain {
            let (decision, mut trail) = decision::explain(&mirror, &question, &self.policy, now);
            // That a guess was right, where the product does not take it, is told to nobody.
            if asked.guess.is_some() {
                trail.steps.retain(|it| it.reason != Reason::LicenseNotRecognized);
            }
            (decision, Some(trail))
        } else {
            (decision::answer(&mirror, &question, &self.policy, now), None)
        }
    }

    /// The publisher may want to sell more seats: he is told, and nobody waits for it.
    fn tell_refused(&self, asked: &Asked, now: jiff::Timestamp) {
        if !self.store.tells(NoticeKind::SeatsRefused) {
            return;
        }
        let Some(who) = asked.tenant.zip(asked.user) else { return };
        if let Some(id) = decision::full_subscription(&self.store.mirror(), &asked.question(), now)
        {
            self.store.tell_seat_refused(id, who, now);
        }
    }

    /// As [`Self::tell_refused`], of a license that has its maximum of users.
    fn tell_over_limit(&self, asked: &Asked, now: jiff::Timestamp) {
        if !self.store.tells(NoticeKind::LicenseUserRefused) {
            return;
        }
        let (mirror, question) = (self.store.mirror(), asked.question());
        if let Some((id, users)) = decision::full_license(&mirror, &question, &self.policy, now) {
            self.store.tell_license_refused(id, (users, question.license_user()), now);
        }
    }

    async fn take(
        &self,
        asked: &Asked,
        seat: SeatUse,
        now: jiff::Timestamp,
    ) -> Result<(), Problem> {
        let (quantity, release_after) = (seat.quantity, seat.release_after);
        let cause = asked.cause.clone();
        let taken = match seat.of {
            SeatOf::License(license) => {
                let Some(user) = asked.question().license_user() else { return Ok(()) };
                let request = PlaceRequest { license, user, quantity, release_after, now, cause };
                self.store.take_place(request).await
            }
            SeatOf::Subscription(subscription) => {
                let Some((tenant, user)) = asked.tenant.zip(asked.user) else { return Ok(()) };
                let request =
                    SeatRequest { subscription, tenant, user, quantity, release_after, now, cause };
                self.store.take_seat(request).await
            }
        };
        match taken {
            Ok(SeatOutcome::Holds) => drop(self.metrics.seats_taken.inc()),
            // The next decision sees who took the last one.
            Ok(SeatOutcome::NoneFree) => {}
            Err(error) => {
                let detail = "the seat cannot be written down: try again in a moment";
                return Err(Problem::unavailable(detail).retry_after(5).because(error));
            }
        }
        Ok(())
    }
}
