//! `log webhooks` and `webhooks`: the ledger, single webhooks, those that were given up.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{ConnectInfo, Query, State};
use axum::response::Response;
use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::lines::Left;
use super::socket::Operator;
use super::{Admin, Shared, lines, needed, parsed, rows, unreadable};
use crate::domain::{
    Cause, Change, Commit, Entity, EventId, EventState, EventWrite, Fact, SubscriptionId,
    WebhookEntry, WebhookEvent,
};
use crate::http::disk;
use crate::http::ids::Ids;
use crate::http::problem::Problem;
use crate::store::WebhookFilter;

/// How far back `status` looks.
const DAY: SignedDuration = SignedDuration::from_hours(24);

/// The shortest time between two looks for those who follow.
const FOLLOW_EVERY: Duration = Duration::from_millis(200);

/// Webhooks that wait again in one commit.
const REPLAYED_AT_ONCE: usize = 500;

/// Which rows are asked for.
#[derive(Deserialize)]
pub(super) struct LedgerQuery {
    state: Option<String>,
    since: Option<String>,
    subscription: Option<String>,
    #[serde(default)]
    follow: bool,
}

/// Which rows of the ledger are wanted.
struct Wanted {
    since: Timestamp,
    subscription: Option<SubscriptionId>,
    state: Option<String>,
}

impl Wanted {
    fn entries(&self, admin: &Admin) -> Vec<WebhookEntry> {
        let mut entries = admin.watch.ledger(self.since);
        entries.retain(|it| {
            self.subscription.is_none_or(|id| it.subscription() == Some(id))
                && self.state.as_deref().is_none_or(|word| it.is(word))
        });
        entries
    }
}

/// Which webhooks are to be worked off again.
#[derive(Deserialize)]
pub(super) struct ReplayQuery {
    id: Option<String>,
    #[serde(default)]
    all: bool,
}

/// The ledger, oldest first; with `follow` it goes on with each row that is new or differs.
pub(super) async fn list(
    State(admin): Shared,
    Query(query): Query<LedgerQuery>,
) -> Result<Response, Problem> {
    let since: Option<Timestamp> = parsed("since", query.since.as_deref())?;
    let wanted = Wanted {
        since: since.unwrap_or(Timestamp::MIN),
        subscription: parsed("subscription", query.subscription.as_deref())?,
        state: query.state,
    };
    if query.follow {
        let (send, receive) = mpsc::channel(lines::WAITING);
        return Ok(lines::driven(async move { drop(follow(&admin, wanted, send).await) }, receive));
    }
    let entries = wanted.entries(&admin);
    Ok(lines::rows(move |sink| entries.iter().try_for_each(|it| sink.row(&row(it)))))
}

/// Sends what there is, then what comes or changes, until the daemon stops or nobody reads.
async fn follow(admin: &Admin, mut wanted: Wanted, send: mpsc::Sender<Bytes>) -> Result<(), Left> {
    // Registered before the first look, so that nothing falls between.
    let mut revisions = admin.store.revisions();
    // Lines as they were sent last, of what may still change.
    let mut shown: BTreeMap<String, Bytes> = BTreeMap::new();
    loop {
        revisions.mark_unchanged();
        let mut now = BTreeMap::new();
        for entry in wanted.entries(admin) {
            let told = row(&entry);
            let (key, line) = (key(&told), lines::line(&told));
            if shown.get(&key) != Some(&line) {
                send.send(line.clone()).await.map_err(|_closed| Left)?;
            }
            now.insert(key, line);
        }
        shown = now;
        // What is older than this is over, or was given up: it is replayed seldom.
        let old = admin.now().checked_sub(DAY).unwrap_or(Timestamp::MIN);
        wanted.since = wanted.since.max(old);
        let next = async {
            // In a burst one look tells many.
            tokio::time::sleep(FOLLOW_EVERY).await;
            revisions.changed().await
        };
        tokio::select! {
            biased;
            () = admin.cancel.cancelled() => return Ok(()),
            changed = next => changed.map_err(|_closed| Left)?,
        }
    }
}

/// What a row is told by from others: its number, or what was missed and when.
fn key(row: &Value) -> String {
    let of = |name: &str| row.get(name).unwrap_or(&Value::Null).to_string();
    if row.get("id").is_some_and(Value::is_u64) {
        return of("id");
    }
    ["at", "state", "action", "subscription"].map(of).join(" ")
}

/// One webhook with its body as it came; the body of one that is done is no longer kept.
pub(super) async fn show(
    State(admin): Shared,
    Ids(id): Ids<String>,
) -> Result<Json<Value>, Problem> {
    let event = found(&admin, &id)?;
    let entries = admin.watch.ledger(event.received);
    let entry = entries
        .into_iter()
        .find(|it| matches!(it, WebhookEntry::Came { event: it, .. } if it.id == event.id));
    let entry = entry.unwrap_or(WebhookEntry::Came { event: Arc::clone(&event), late: None });
    let id = event.id;
    let body = disk::look(&admin.store, move |it| it.webhook_body(id)).await?;
    let body = body.map_err(unreadable)?;
    let mut row = row(&entry);
    if let Value::Object(row) = &mut row {
        row.insert("plan".to_owned(), json!(event.said.plan.as_deref()));
        row.insert("quantity".to_owned(), json!(event.said.quantity));
        row.insert("over".to_owned(), rows::time(event.state.over_since()));
        row.insert("body".to_owned(), json!(body.as_deref()));
    }
    Ok(Json(row))
}

/// Puts webhooks that were given up back among those that wait. What is not given up stays as it
/// is, so that asking again does nothing.
pub(super) async fn replay(
    State(admin): Shared,
    Query(query): Query<ReplayQuery>,
    ConnectInfo(operator): ConnectInfo<Operator>,
) -> Result<Response, Problem> {
    let events = match (&query.id, query.all) {
        (Some(id), false) => vec![found(&admin, id)?],
        (None, true) => {
            admin.store.webhooks(&WebhookFilter { dead: true, ..WebhookFilter::default() })
        }
        (Some(_), true) | (None, false) => {
            return Err(Problem::invalid("name one webhook, or all of them").of_field("id"));
        }
    };
    let (now, mut replayed) = (admin.now(), Vec::new());
    for some in events.chunks(REPLAYED_AT_ONCE) {
        let mut commit = Commit::default();
        for event in some {
            let EventState::Dead { why, .. } = &event.state else {
                replayed.push(answer(event, false));
                continue;
            };
            let again =
                WebhookEvent { state: EventState::Waiting, tries: 0, ..WebhookEvent::clone(event) };
            let again = Arc::new(again);
            commit.changes.push(revived(event, why, (operator.cause(), now)));
            replayed.push(answer(&again, true));
            commit.inbox.push(EventWrite::Put(again));
        }
        if !commit.inbox.is_empty() {
            admin.store.commit(commit).await.map_err(unreadable)?;
        }
    }
    Ok(lines::all(replayed))
}

fn answer(event: &Arc<WebhookEvent>, replayed: bool) -> Value {
    let entry = WebhookEntry::Came { event: Arc::clone(event), late: None };
    let mut row = row(&entry);
    if let Value::Object(row) = &mut row {
        row.insert("replayed".to_owned(), json!(replayed));
    }
    row
}

fn revived(event: &WebhookEvent, why: &str, (cause, at): (Cause, Timestamp)) -> Change {
    Change {
        at,
        cause,
        entity: Entity::Webhook,
        id: event.id.0.to_string().into(),
        tenant: None,
        user: None,
        before: Some(Fact::Words(format!("given up: {why}").into())),
        after: Some(Fact::Words("waits to be worked off again".into())),
    }
}

fn found(admin: &Admin, id: &str) -> Result<Arc<WebhookEvent>, Problem> {
    let id = EventId(needed("id", id)?);
    let missing = || Problem::not_found(format!("there is no webhook {} in the inbox", id.0));
    admin.store.webhook(id).ok_or_else(missing)
}

/// A row of `log webhooks`.
fn row(it: &WebhookEntry) -> Value {
    let seconds = |it: SignedDuration| it.as_secs();
    let mut row = json!({
        "at": it.at().to_string(),
        "id": null,
        "operation": null,
        "action": null,
        "subscription": rows::text(it.subscription()),
        "state": it.state(),
        "deliveries": 0,
        "tries": 0,
        "outcome": it.outcome(),
        "why": null,
        "answered": null,
        "late_s": it.late().map(seconds),
    });
    let more = match it {
        WebhookEntry::Came { event, .. } => {
            let why =
                if let EventState::Dead { why, .. } = &event.state { Some(why) } else { None };
            json!({
                "id": event.id.0,
                "operation": event.said.operation.as_deref(),
                "action": event.said.action.as_str(),
                "deliveries": event.deliveries,
                "tries": event.tries,
                "why": why.map(|it| &**it),
                "answered": event.answered.map(crate::domain::Answered::as_str),
            })
        }
        WebhookEntry::Missed(missed) => json!({
            "action": Some(missed.action.as_str()).filter(|it| !it.is_empty()),
            "why": format!(
                "the change was found by {}, after {:.0}; no webhook told of it",
                missed.found_by, missed.since
            ),
        }),
        WebhookEntry::Forged(forged) => json!({
            "deliveries": forged.count(),
            "why": format!("refused until {:.0}, by failed check: {}", forged.until, forged.words()),
        }),
    };
    if let (Value::Object(row), Value::Object(more)) = (&mut row, more) {
        row.extend(more);
    }
    row
}

/// What `status` says of webhooks.
pub(super) fn status(admin: &Admin, now: Timestamp) -> Value {
    let entries = admin.watch.ledger(now.checked_sub(DAY).unwrap_or(now));
    let count = |word: &str| entries.iter().filter(|it| it.is(word)).count();
    let came = entries.iter().filter(|it| matches!(it, WebhookEntry::Came { .. })).count();
    let forged = |it: &WebhookEntry| match it {
        WebhookEntry::Forged(it) => it.count(),
        WebhookEntry::Came { .. } | WebhookEntry::Missed(_) => 0,
    };
    let inbox = admin.store.inbox();
    let oldest = admin.store.waiting_webhooks().first().map(|it| it.received);
    let alarm = admin
        .watch
        .alarm()
        .map(|it| json!({ "kind": it.as_str(), "what": it.to_string(), "remedy": it.remedy() }));
    json!({
        "last_valid": rows::time(admin.watch.last_valid()),
        "waiting": inbox.waiting,
        "oldest_waiting": rows::time(oldest),
        "dead": inbox.dead,
        "last_day": {
            "came": came,
            "late": count("late"),
            "duplicate": count("duplicate"),
            "mismatched": count("mismatched"),
            "missed": count("missed"),
            "forged": entries.iter().map(forged).sum::<u64>(),
        },
        "alarm": alarm,
    })
}
