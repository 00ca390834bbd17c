//! The connection webhook: what is told, to whom, how often, and what goes wrong on the way.
//!
//! Letters wait in a queue on the sandbox's clock. The serving future delivers what is due, unless
//! [`World::deliver_by_hand`] leaves that to [`Sandbox::deliver_webhooks`].
//!
//! Source: marketplace-saas.md 8.

mod payload;
mod token;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

pub(crate) use self::payload::source;
pub use self::token::Forgery;
use super::entra::TokenVersion;
use super::faults::Fault;
use super::wire::later;
use super::world::orders::{Deed, Operation, Standing};
use super::world::subscription::Subscription;
use super::world::{World, WorldError};
use super::{Sandbox, story};

/// About 500 tries in 8 hours. The spacing is not published.
const TRIES_MAX: u32 = 500;
const PAUSE: SignedDuration = SignedDuration::from_millis(57_600);
/// How long a letter is held back when the order is to be another.
const HELD_BACK: SignedDuration = SignedDuration::from_secs(5);
/// How long the receiver may take. Not published either.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often the serving future looks for letters.
const LOOK: Duration = Duration::from_millis(50);
/// Letters that wait, and deliveries that are remembered.
const QUEUE_MAX: usize = 100_000;
const LOG_MAX: usize = 20_000;

/// Where webhooks go and how their tokens look.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// Partner Center's connection webhook.
    pub url: String,
    /// Follows the app registration's manifest; may change at any time.
    #[serde(default)]
    pub version: TokenVersion,
    /// `aud`: the application id, or its App ID URI (`api://…`) in v1 tokens.
    #[serde(default = "default_audience")]
    pub audience: String,
}

fn default_audience() -> String {
    story::MARKETPLACE_APP_ID.to_string()
}

impl Webhook {
    /// To this address, with v2 tokens for the story's app.
    pub fn to(url: &str) -> Self {
        let version = TokenVersion::default();
        Self { url: url.to_owned(), version, audience: default_audience() }
    }
}

/// What became of one try to tell the publisher.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// The receiver answered with this status.
    Answered(u16),
    /// Nobody answered in time.
    Unanswered,
    /// It was lost and will never come.
    Lost,
    /// The last of 500 tries failed.
    GivenUp,
}

/// One try to tell the publisher.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Delivery {
    /// When, on the sandbox's clock.
    pub at: Timestamp,
    /// The operation it tells of, as the payload has it.
    pub operation: Option<Uuid>,
    /// `ChangePlan` and so on, as the payload has it.
    pub action: String,
    /// 1 for the first try.
    pub attempt: u32,
    /// In which way it was forged.
    pub forged: Option<Forgery>,
    /// What came of it.
    pub fate: Fate,
}

/// A webhook on its way.
#[derive(Clone, Debug)]
struct Letter {
    operation: Option<Uuid>,
    action: String,
    body: String,
    attempt: u32,
    forged: Option<Forgery>,
}

/// What one try needs.
struct Parcel {
    letter: Letter,
    url: String,
    token: Option<String>,
}

/// The queue, and what became of those before.
#[derive(Debug, Default)]
pub(crate) struct Post {
    target: Option<Webhook>,
    by_hand: bool,
    queue: BTreeMap<(Timestamp, u64), Letter>,
    letters: u64,
    log: VecDeque<Delivery>,
}

impl Post {
    fn put(&mut self, due: Timestamp, letter: Letter) {
        if self.queue.len() < QUEUE_MAX {
            self.letters = self.letters.wrapping_add(1);
            self.queue.insert((due, self.letters), letter);
        }
    }

    fn note(&mut self, at: Timestamp, letter: &Letter, fate: Fate) -> Delivery {
        let Letter { operation, attempt, forged, .. } = *letter;
        let action = letter.action.clone();
        let delivery = Delivery { at, operation, action, attempt, forged, fate };
        if self.log.len() >= LOG_MAX {
            self.log.pop_front();
        }
        self.log.push_back(delivery.clone());
        delivery
    }
}

impl World {
    /// Sets where webhooks go; `None`: nowhere, and what happens meanwhile is never told.
    pub fn set_webhook(&mut self, webhook: Option<Webhook>) {
        self.post.target = webhook;
    }

    /// Whether letters wait for [`Sandbox::deliver_webhooks`] in place of the serving future.
    pub fn deliver_by_hand(&mut self, on: bool) {
        self.post.by_hand = on;
    }

    /// The latest tries, oldest first (at most 20,000), what was lost included.
    pub fn deliveries(&self) -> Vec<Delivery> {
        self.post.log.iter().cloned().collect()
    }

    /// How many letters wait for their moment or their next try.
    pub fn webhooks_waiting(&self) -> usize {
        self.post.queue.len()
    }

    /// Tells the publisher of an operation, as well as the faults allow.
    pub(super) fn post_event(
        &mut self,
        operation: &Operation,
        subscription: &Subscription,
        at: Timestamp,
    ) {
        if self.post.target.is_none() {
            return;
        }
        let minimal = self.strikes(Fault::WebhookMinimal);
        let body = if minimal {
            payload::minimal(operation)
        } else {
            payload::full(operation, subscription)
        };
        let letter = Letter {
            operation: Some(operation.id),
            action: operation.deed.word().to_owned(),
            body: body.to_string(),
            attempt: 1,
            forged: None,
        };
        if self.strikes(Fault::WebhookForge) {
            let forgery = Forgery::nth(self.fate().draw());
            self.post_forgery(operation, subscription, forgery, at);
        }
        if self.strikes(Fault::WebhookLoss) {
            self.post.note(at, &letter, Fate::Lost);
            return;
        }
        if self.strikes(Fault::WebhookDuplicate) {
            self.post.put(at, letter.clone());
        }
        let late = self.strikes(Fault::WebhookReorder);
        self.post.put(if late { later(at, HELD_BACK) } else { at }, letter);
    }

    /// A forger says that the subscription has ended.
    ///
    /// # Errors
    /// No such subscription.
    pub fn forge_webhook(&mut self, id: Uuid, forgery: Forgery) -> Result<(), WorldError> {
        let subscription = self.bought(id)?;
        let at = self.now();
        let operation = Operation {
            id: self.fresh_id(),
            subscription: id,
            deed: Deed::Unsubscribe,
            standing: Standing::Succeeded,
            plan: subscription.plan_id.clone(),
            quantity: subscription.quantity,
            partner: false,
            at,
            verdict: None,
        };
        self.post_forgery(&operation, &subscription, forgery, at);
        Ok(())
    }

    fn post_forgery(
        &mut self,
        operation: &Operation,
        subscription: &Subscription,
        forgery: Forgery,
        at: Timestamp,
    ) {
        // What a forger wants to be believed; never the id of something that happened.
        let lie = Operation { id: self.fresh_id(), deed: Deed::Unsubscribe, ..operation.clone() };
        let letter = Letter {
            operation: Some(lie.id),
            action: lie.deed.word().to_owned(),
            body: payload::full(&lie, subscription).to_string(),
            attempt: 1,
            forged: Some(forgery),
        };
        self.post.put(at, letter);
    }

    /// Sends any text with a genuine token: for shapes that only Microsoft thinks of.
    pub fn send_webhook(&mut self, body: &str) {
        let value: Value = serde_json::from_str(body).unwrap_or_default();
        let word = |key: &str| value.get(key).and_then(Value::as_str);
        let letter = Letter {
            operation: word("id").and_then(|id| id.parse().ok()),
            action: word("action").unwrap_or_default().to_owned(),
            body: body.to_owned(),
            attempt: 1,
            forged: None,
        };
        let now = self.now();
        self.post.put(now, letter);
    }

    /// The next letter that is due.
    fn next_parcel(&mut self) -> Option<Parcel> {
        self.settle_orders();
        let target = self.post.target.clone()?;
        let now = self.now();
        let entry = self.post.queue.first_entry()?;
        if entry.key().0 > now {
            return None;
        }
        let letter = entry.remove();
        let token = token::mint(self, &target, letter.forged);
        Some(Parcel { letter, url: target.url, token })
    }

    /// What the publisher's answer means: done, refused, or to be tried again.
    fn delivered(&mut self, letter: Letter, answer: Option<u16>) -> Delivery {
        let now = self.now();
        let fate = answer.map_or(Fate::Unanswered, Fate::Answered);
        let told = self.post.note(now, &letter, fate);
        if letter.forged.is_some() {
            return told;
        }
        match answer {
            Some(200..=299) => {}
            // Whether other 4xx are tried again is not published: here they are not.
            Some(status @ 400..=499) if ![408, 429].contains(&status) => self.refused(&letter),
            _ if letter.attempt >= TRIES_MAX => {
                self.post.note(now, &letter, Fate::GivenUp);
            }
            _ => {
                let attempt = letter.attempt.saturating_add(1);
                self.post.put(later(now, PAUSE), Letter { attempt, ..letter });
            }
        }
        told
    }

    /// A 4xx refuses a change that still waits for a word.
    fn refused(&mut self, letter: &Letter) {
        let operation = letter.operation.and_then(|id| self.operation(id));
        let waits = operation.filter(|it| {
            let open = it.standing == Standing::InProgress && it.verdict.is_none();
            it.deed.asks() && !it.partner && open
        });
        if let Some(id) = waits.map(|it| it.id) {
            self.decided(id, false);
        }
    }
}

/// The client that delivers.
///
/// # Errors
/// TLS cannot be set up.
pub(crate) fn client() -> io::Result<reqwest::Client> {
    let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE);
    client.redirect(reqwest::redirect::Policy::none()).build().map_err(io::Error::other)
}

impl Sandbox {
    /// Delivers what is due, one after the other, and says what came of it; what failed waits for
    /// its next try.
    pub async fn deliver_webhooks(&self) -> Vec<Delivery> {
        let mut told = Vec::new();
        while let Some(Parcel { letter, url, token }) = self.with_world(World::next_parcel) {
            let mut request = self.inner.http.post(url).body(letter.body.clone());
            request = request.header("content-type", "application/json");
            if let Some(token) = token {
                request = request.bearer_auth(token);
            }
            let answer = request.send().await.ok().map(|it| it.status().as_u16());
            told.push(self.with_world(|world| world.delivered(letter, answer)));
        }
        told
    }
}

/// Delivers as long as it is run.
pub(crate) async fn pump(sandbox: &Sandbox) {
    loop {
        if !sandbox.with_world(|world| world.post.by_hand) {
            sandbox.deliver_webhooks().await;
        }
        tokio::time::sleep(LOOK).await;
    }
}
