//! `$batch`: many users read with one request. Each item is throttled, found missing or refused
//! by itself inside an outer 200.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use serde_json::{Value, json};

use super::endpoint::PRIORITY;
use super::requests::USER_FIELDS;
use super::verdict::{self, Asked, Linked};
use super::{Endpoint, Graph, UserRow, parse};
use crate::domain::{TenantId, UserId};
use crate::microsoft::error::{ErrorKind, MicrosoftError};
use crate::microsoft::http::Answer;
use crate::microsoft::json as read;
use crate::microsoft::limits::{Scope, throttled};
use crate::microsoft::meter::Meter;
use crate::microsoft::pace::retry_after_text;

/// How many requests one batch holds.
///
/// Source: graph-licensing.md section 7.
pub(super) const ITEMS_MAX: usize = 20;
/// Microsoft throttles items without saying for how long: then this.
const WAIT_UNTOLD: Duration = Duration::from_secs(5);

/// Why a user's row was not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BatchMiss {
    /// There is no such user (any more).
    Gone,
    /// The answer for him was not understood; nothing follows from that.
    Odd(String),
}

type Outcome<T> = Result<T, BatchMiss>;

/// One question about one user: the path below the version.
pub(super) type Question = (UserId, String);

/// Which batch, and how the answer about a user is read.
pub(super) struct Kind<T> {
    /// What it is called in logs.
    pub(super) name: &'static str,
    /// Where it is posted to; all its items use that version.
    pub(super) target: &'static str,
    /// What each item prefers.
    pub(super) prefer: Option<&'static str>,
    /// Reads the body of an item.
    pub(super) read: fn(&Graph, UserId, &Value) -> Result<T, String>,
}

const STATES: Kind<UserRow> = Kind {
    name: "POST /$batch",
    target: "/v1.0/$batch",
    prefer: None,
    read: |_, user, body| match parse::user(body)? {
        row if row.id == user => Ok(row),
        _ => Err("the answer is about another user".into()),
    },
};

/// What became of one round of a batch.
struct Round<T> {
    done: Vec<(UserId, Outcome<T>)>,
    /// Throttled or in transient trouble.
    again: Vec<Question>,
    wait: Option<Duration>,
    throttled: bool,
    scope: Scope,
    looks_like: String,
}

impl Graph {
    /// These users with their assignments and the paths of them, in the order asked for.
    ///
    /// # Errors
    ///
    /// As [`Graph::subscribed_skus`], for the whole and for items that stay throttled or in
    /// transient trouble.
    pub async fn assignment_states(
        &self,
        meter: &Meter,
        tenant: TenantId,
        users: &[UserId],
    ) -> Result<Vec<(UserId, Outcome<UserRow>)>, MicrosoftError> {
        let fields = USER_FIELDS.join(",");
        let mut rows = Vec::with_capacity(users.len());
        for chunk in users.chunks(ITEMS_MAX) {
            let question = |user: &UserId| (*user, format!("/users/{user}?$select={fields}"));
            let questions = chunk.iter().map(question).collect();
            let mut found = self.batch_to_the_end(meter, tenant, &STATES, questions).await?;
            rows.extend(chunk.iter().filter_map(|user| Some((*user, found.remove(user)?))));
        }
        Ok(rows)
    }

    /// One batch, its throttled items again and again as retries allow.
    pub(super) async fn batch_to_the_end<T>(
        &self,
        meter: &Meter,
        tenant: TenantId,
        kind: &Kind<T>,
        questions: Vec<Question>,
    ) -> Result<HashMap<UserId, Outcome<T>>, MicrosoftError> {
        let (all, mut open, mut done) = (questions.len(), questions, HashMap::new());
        let mut tries = self.pace.tries(meter);
        while !open.is_empty() {
            let round = match self.batch_once(meter, tenant, kind, &open).await {
                Ok(round) => round,
                Err(error) => {
                    tries.again(error).await?;
                    continue;
                }
            };
            done.extend(round.done);
            open = round.again;
            if round.throttled {
                let wait = round.wait.unwrap_or(WAIT_UNTOLD);
                self.limits.shut(round.scope, tenant, wait, self.pace.now());
                tries.again(throttled(Some(wait)).held_at_the_gate()).await?;
            } else if !open.is_empty() {
                let (left, name, why) = (open.len(), kind.name, round.looks_like);
                let what = format!(
                    "Graph ({name}) of tenant {tenant} leaves {left} of {all} users unanswered: {why}"
                );
                tries.again(MicrosoftError::new(ErrorKind::Transient, what)).await?;
            }
        }
        Ok(done)
    }

    async fn batch_once<T>(
        &self,
        meter: &Meter,
        tenant: TenantId,
        kind: &Kind<T>,
        questions: &[Question],
    ) -> Result<Round<T>, MicrosoftError> {
        let units = u32::try_from(questions.len()).unwrap_or(u32::MAX);
        let endpoint = Endpoint::new(kind.name, units).for_one_with(meter);
        // Each item is throttled by itself, so each says how urgent it is.
        let priority = endpoint.priority.header();
        let headers = [(PRIORITY, priority), ("Prefer", kind.prefer)];
        let headers: BTreeMap<&str, &str> =
            headers.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        let item = |(at, (_, url)): (usize, &Question)| json!({ "id": at.to_string(), "method": "GET", "url": url, "headers": headers });
        let items: Vec<Value> = questions.iter().enumerate().map(item).collect();
        let body = json!({ "requests": items });
        let mut request = self.requests.batch(kind.target, &body).await?;
        if let Some(priority) = priority {
            request = request.with(PRIORITY, priority);
        }
        let read = |answer: &Answer| -> Result<Vec<Value>, MicrosoftError> {
            let mut body: Value = read::body(kind.name, answer)?;
            match body.get_mut("responses").map(Value::take) {
                Some(Value::Array(responses)) => Ok(responses),
                _ => Err(read::no_json(kind.name, answer)),
            }
        };
        let responses = self.call_once(meter, tenant, endpoint, &request, Linked::No, read).await?;
        self.sort_out(meter, tenant, kind, questions, &responses).await
    }

    async fn sort_out<T>(
        &self,
        meter: &Meter,
        tenant: TenantId,
        kind: &Kind<T>,
        questions: &[Question],
        responses: &[Value],
    ) -> Result<Round<T>, MicrosoftError> {
        let (token, _) = self.tokens.token(meter, tenant, &self.resource).await?;
        let asked = Asked { endpoint: kind.name, tenant, token: &token, linked: Linked::No };
        let mut by_id = HashMap::new();
        for response in responses {
            let id = response
                .get("id")
                .map(|it| it.as_str().map_or_else(|| it.to_string(), str::to_owned));
            by_id.extend(id.map(|id| (id, response)));
        }
        let mut round = Round {
            done: Vec::new(),
            again: Vec::new(),
            wait: None,
            throttled: false,
            scope: Scope::default(),
            looks_like: String::new(),
        };
        for (at, question) in questions.iter().enumerate() {
            let Some(response) = by_id.get(&at.to_string()) else {
                round.looks_like = "no response for them".into();
                round.again.push(question.clone());
                continue;
            };
            match self.item(kind, question.0, response, asked) {
                Ok(outcome) => round.done.push((question.0, outcome)),
                Err(error) if error.kind() == ErrorKind::Throttled => {
                    let wait = header(response, "retry-after");
                    let wait = wait.and_then(|it| retry_after_text(&it, self.pace.now()));
                    round.wait = round.wait.max(wait);
                    round.throttled = true;
                    if let Some(scope) = header(response, "x-ms-throttle-scope") {
                        round.scope = round.scope.max(Scope::from_header(Some(&scope)));
                    }
                    round.again.push(question.clone());
                }
                Err(error) if error.may_try_again() => {
                    round.looks_like = error.to_string();
                    round.again.push(question.clone());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(round)
    }

    /// What one item says; errors are those of the tenant, not of the user.
    fn item<T>(
        &self,
        kind: &Kind<T>,
        user: UserId,
        response: &Value,
        asked: Asked<'_>,
    ) -> Result<Outcome<T>, MicrosoftError> {
        let status = read::count(response, "status").ok().flatten().unwrap_or(0);
        let status = u16::try_from(status).unwrap_or(0);
        let body = response.get("body").unwrap_or(&Value::Null);
        if (200..300).contains(&status) {
            return Ok((kind.read)(self, user, body).map_err(BatchMiss::Odd));
        }
        let codes = verdict::codes(body);
        let error = verdict::of_status(status, &codes, "an item's error", asked);
        match error.kind() {
            ErrorKind::NotFound => Ok(Err(BatchMiss::Gone)),
            ErrorKind::Unreadable => Ok(Err(BatchMiss::Odd(error.to_string()))),
            ErrorKind::Transient
            | ErrorKind::Throttled
            | ErrorKind::Consent
            | ErrorKind::Credential
            | ErrorKind::Resync
            | ErrorKind::RestartSequence
            | ErrorKind::National
            | ErrorKind::Refused
            | ErrorKind::Rejected
            | ErrorKind::Locked => Err(error),
        }
    }
}

/// A header of an item, whatever its case; a number is as good as text.
fn header(response: &Value, name: &str) -> Option<String> {
    let headers = response.get("headers")?.as_object()?;
    let (_, value) = headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name))?;
    Some(value.as_str().map_or_else(|| value.to_string(), str::to_owned))
}
