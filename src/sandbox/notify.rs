//! Graph's change notifications: who subscribed, whether the address is theirs, what is told and what
//! is lost on the way.
//!
//! What happened is taken from the journals that delta queries read. Source: graph-licensing.md 6.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use axum::http::Method;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::faults::Fault;
use super::wire::{Ask, Reply, later};
use super::world::WorldError;
use super::world::tenant::Tenant;
use super::{Sandbox, World};

/// How long an address may take to prove that it is ours.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often it is looked whether there is something to tell.
const LOOK: Duration = Duration::from_millis(50);
/// Between two tries, and from which age on none is made any more.
const PAUSE: SignedDuration = SignedDuration::from_secs(10);
const GIVEN_UP: SignedDuration = SignedDuration::from_hours(4);
/// How long one is held back when the order is to be another.
const HELD_BACK: SignedDuration = SignedDuration::from_secs(5);
/// The longest life of a subscription, and the shortest, in minutes.
const LIFE_MIN: (i64, i64) = (41_760, 45);
/// Subscriptions of one app in one tenant.
const OF_TENANT_MAX: usize = 100;
/// Notifications in one delivery, waiting deliveries, and deliveries that are remembered.
const TOGETHER_MAX: usize = 50;
const QUEUE_MAX: usize = 10_000;
const LOG_MAX: usize = 20_000;

/// What is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Watched {
    Users,
    Groups,
}

/// A subscription.
#[derive(Clone, Debug)]
pub(crate) struct Hook {
    tenant: Uuid,
    watched: Watched,
    url: String,
    lifecycle: Option<String>,
    state: Option<String>,
    expires: Timestamp,
    /// How far its tenant's journal has been told.
    told: u64,
    /// Both addresses have proved that they are ours.
    live: bool,
}

/// One try to tell a subscriber.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Told {
    /// When, on the sandbox's clock.
    pub at: Timestamp,
    /// Where to.
    pub url: String,
    /// Notifications in it.
    pub count: usize,
    /// The answer's status; `None` if there was none, or if it was lost.
    pub status: Option<u16>,
}

/// A delivery on its way.
#[derive(Clone, Debug)]
struct Letter {
    url: String,
    since: Timestamp,
    value: Vec<Value>,
}

/// All subscriptions, and what is on its way.
#[derive(Debug, Default)]
pub(crate) struct Hooks {
    made: BTreeMap<Uuid, Hook>,
    /// Where an address really is: what a name service would say.
    reach: Option<(String, String)>,
    queue: BTreeMap<(Timestamp, u64), Letter>,
    letters: u64,
    log: VecDeque<Told>,
}

impl Hooks {
    fn put(&mut self, due: Timestamp, letter: Letter) {
        if self.queue.len() < QUEUE_MAX {
            self.letters = self.letters.wrapping_add(1);
            self.queue.insert((due, self.letters), letter);
        }
    }

    fn reached(&self, url: &str) -> String {
        match &self.reach {
            Some((from, to)) => url.replacen(from.as_str(), to, 1),
            None => url.to_owned(),
        }
    }
}

impl World {
    /// Addresses that begin so are really there: what a name service would say.
    pub fn set_reach(&mut self, from: &str, to: &str) {
        self.hooks.reach = Some((from.to_owned(), to.to_owned()));
    }

    /// The latest deliveries of change notifications, oldest first (at most 20,000).
    pub fn notified(&self) -> Vec<Told> {
        self.hooks.log.iter().cloned().collect()
    }

    /// How many subscriptions to change notifications there are in a tenant.
    pub fn subscribers(&self, tenant: Uuid) -> usize {
        self.hooks.made.values().filter(|it| it.tenant == tenant && it.live).count()
    }

    /// Tells what becomes of a tenant's subscriptions: `reauthorizationRequired`, `missed`, or
    /// `subscriptionRemoved`, after which they are gone.
    ///
    /// # Errors
    /// No such word.
    pub fn lifecycle(&mut self, tenant: Uuid, event: &str) -> Result<(), WorldError> {
        const WORDS: [&str; 3] = ["reauthorizationRequired", "missed", "subscriptionRemoved"];
        if !WORDS.contains(&event) {
            let what = "lifecycle event";
            return Err(WorldError::Word(event.to_owned(), what));
        }
        let now = self.now();
        let of = |it: &(&Uuid, &Hook)| it.1.tenant == tenant && it.1.live;
        let hooks: Vec<_> =
            self.hooks.made.iter().filter(of).map(|(id, it)| (*id, it.clone())).collect();
        for (id, hook) in hooks {
            let Some(url) = hook.lifecycle.clone() else { continue };
            let mut told = notification(id, &hook, "updated", None);
            if let Value::Object(fields) = &mut told {
                fields.insert("lifecycleEvent".to_owned(), event.into());
            }
            self.hooks.put(now, Letter { url, since: now, value: vec![told] });
            if event == "subscriptionRemoved" {
                self.hooks.made.remove(&id);
            }
        }
        Ok(())
    }

    /// Sends any text to every address of a tenant's subscriptions: what only a forger thinks of.
    pub fn forge_notification(&mut self, tenant: Uuid) {
        let now = self.now();
        let hooks = self.hooks.made.iter().filter(|(_, it)| it.tenant == tenant && it.live);
        let forged: Vec<_> = hooks.map(|(id, it)| (it.url.clone(), forged(*id, it))).collect();
        for (url, told) in forged {
            self.hooks.put(now, Letter { url, since: now, value: vec![told] });
        }
    }

    /// Writes letters about what happened since they were last written.
    fn write_letters(&mut self) {
        let now = self.now();
        let lag =
            SignedDuration::try_from(self.faults().notification).unwrap_or(SignedDuration::ZERO);
        let due = later(now, lag);
        let ids: Vec<Uuid> = self.hooks.made.keys().copied().collect();
        let mut value: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for id in ids {
            let Some(hook) = self.hooks.made.get(&id).cloned() else { continue };
            if hook.expires <= now {
                self.hooks.made.remove(&id);
                continue;
            }
            let tenant = self.settled(hook.tenant).filter(|it| hook.live && it.version > hook.told);
            let Some(tenant) = tenant else { continue };
            let (version, changed) =
                (tenant.version, changed_since(tenant, hook.watched, hook.told));
            if let Some(it) = self.hooks.made.get_mut(&id) {
                it.told = version;
            }
            for (object, gone) in changed {
                let kind = if gone { "deleted" } else { "updated" };
                let told = notification(id, &hook, kind, Some(object));
                self.tell(&hook, id, told, due, &mut value);
            }
        }
        for (url, all) in value {
            for some in all.chunks(TOGETHER_MAX) {
                let letter = Letter { url: url.clone(), since: now, value: some.to_vec() };
                self.hooks.put(due, letter);
            }
        }
    }

    /// One notification, as well as the faults allow.
    fn tell(
        &mut self,
        hook: &Hook,
        id: Uuid,
        told: Value,
        due: Timestamp,
        together: &mut BTreeMap<String, Vec<Value>>,
    ) {
        let alone = |told: Value| {
            let url = hook.url.clone();
            Letter { url, since: due, value: vec![told] }
        };
        if self.strikes(Fault::NotificationForge) {
            self.hooks.put(due, alone(forged(id, hook)));
        }
        if self.strikes(Fault::NotificationLoss) {
            let lost = Told { at: due, url: hook.url.clone(), count: 1, status: None };
            return self.note(lost);
        }
        if self.strikes(Fault::NotificationDuplicate) {
            self.hooks.put(due, alone(told.clone()));
        }
        if self.strikes(Fault::NotificationReorder) {
            return self.hooks.put(later(due, HELD_BACK), alone(told));
        }
        together.entry(hook.url.clone()).or_default().push(told);
    }

    fn note(&mut self, told: Told) {
        if self.hooks.log.len() >= LOG_MAX {
            self.hooks.log.pop_front();
        }
        self.hooks.log.push_back(told);
    }

    /// The next letter that is due, and where it really goes.
    fn next_letter(&mut self) -> Option<(Letter, String)> {
        let now = self.now();
        let entry = self.hooks.queue.first_entry()?;
        if entry.key().0 > now {
            return None;
        }
        let letter = entry.remove();
        let url = self.hooks.reached(&letter.url);
        Some((letter, url))
    }

    /// Done, or to be tried again for four hours.
    fn answered(&mut self, letter: Letter, status: Option<u16>) {
        let at = self.now();
        let (url, count) = (letter.url.clone(), letter.value.len());
        self.note(Told { at, url, count, status });
        let done = status.is_some_and(|it| (200..300).contains(&it));
        if !done && at.duration_since(letter.since) < GIVEN_UP {
            self.hooks.put(later(at, PAUSE), letter);
        }
    }
}

/// Objects that changed, and whether each is gone for good.
fn changed_since(tenant: &Tenant, watched: Watched, told: u64) -> Vec<(Uuid, bool)> {
    use super::world::tenant::Life;
    let mut changed = BTreeMap::new();
    match watched {
        Watched::Users => {
            for entry in tenant.journal.iter().filter(|it| it.version > told) {
                if let Some(user) = tenant.user(entry.user) {
                    changed.insert(user.id, user.life == Life::Purged);
                }
            }
        }
        Watched::Groups => {
            for entry in tenant.group_journal.iter().filter(|it| it.version > told) {
                if let Some(group) = tenant.groups.get(usize::from(entry.group)) {
                    changed.insert(group.id, group.life == Life::Purged);
                }
            }
        }
    }
    changed.into_iter().collect()
}

fn notification(id: Uuid, hook: &Hook, kind: &str, object: Option<Uuid>) -> Value {
    let (names, name) = match hook.watched {
        Watched::Users => ("Users", "User"),
        Watched::Groups => ("Groups", "Group"),
    };
    let mut told = json!({
        "subscriptionId": id, "subscriptionExpirationDateTime": hook.expires.to_string(),
        "changeType": kind, "clientState": hook.state, "tenantId": hook.tenant,
        "resource": names,
    });
    if let (Some(object), Value::Object(fields)) = (object, &mut told) {
        let path = format!("{names}/{object}");
        let kind = format!("#Microsoft.Graph.{name}");
        let data = json!({ "@odata.type": kind, "@odata.id": path, "id": object });
        fields.insert("resource".to_owned(), path.into());
        fields.insert("resourceData".to_owned(), data);
    }
    told
}

/// What one writes who has seen the id and not the state.
fn forged(id: Uuid, hook: &Hook) -> Value {
    let hook = Hook { state: Some("guessed".to_owned()), ..hook.clone() };
    notification(id, &hook, "deleted", Some(id))
}

/// Whether this request makes a subscription: then the addresses are asked before it is answered.
pub(crate) fn subscribes(ask: &Ask) -> bool {
    let path = ask.path();
    ask.method == Method::POST
        && matches!(path.as_slice(), ["graph", "v1.0" | "beta", "subscriptions"])
}

/// A subscription, not live yet. Source: graph-licensing.md 6.
pub(crate) fn create(world: &mut World, ask: &Ask, tenant: Uuid) -> Result<Reply, String> {
    let body: Value = serde_json::from_slice(&ask.body).map_err(|it| it.to_string())?;
    let text_of = |key: &str| body.get(key).and_then(Value::as_str).map(str::to_owned);
    let watched = match text_of("resource").as_deref().map(|it| it.trim_matches('/')) {
        Some("users") => Watched::Users,
        Some("groups") => Watched::Groups,
        _ => return Err("The sandbox notifies of users and groups.".to_owned()),
    };
    let kinds = text_of("changeType").unwrap_or_default();
    if kinds.split(',').any(|it| !["updated", "deleted"].contains(&it.trim())) {
        return Err("changeType is updated or deleted for this resource.".to_owned());
    }
    let url = text_of("notificationUrl").ok_or("notificationUrl is missing.")?;
    let state = text_of("clientState");
    if state.as_ref().is_some_and(|it| it.len() > 128) {
        return Err("clientState is longer than 128 characters.".to_owned());
    }
    let expires = expiration(world, &body)?;
    let of_tenant = world.hooks.made.values().filter(|it| it.tenant == tenant).count();
    if of_tenant >= OF_TENANT_MAX {
        return Err("There are too many subscriptions in this tenant.".to_owned());
    }
    let told = world.tenant(tenant).map_or(0, |it| it.version);
    let lifecycle = text_of("lifecycleNotificationUrl");
    let hook = Hook { tenant, watched, url, lifecycle, state, expires, told, live: false };
    let id = world.fresh_id();
    let reply = Reply::json(201, &shown(id, &hook));
    world.hooks.made.insert(id, hook);
    Ok(reply.about(tenant))
}

/// A new end of one that is there.
pub(crate) fn renew(
    world: &mut World,
    ask: &Ask,
    tenant: Uuid,
    id: &str,
) -> Option<Result<Reply, String>> {
    let id: Uuid = id.parse().ok()?;
    let now = world.now();
    let there = |it: &&Hook| it.tenant == tenant && it.expires > now;
    world.hooks.made.get(&id).filter(there)?;
    let body: Value = serde_json::from_slice(&ask.body).unwrap_or_default();
    let expires = match expiration(world, &body) {
        Ok(expires) => expires,
        Err(error) => return Some(Err(error)),
    };
    let hook = world.hooks.made.get_mut(&id)?;
    hook.expires = expires;
    Some(Ok(Reply::json(200, &shown(id, hook))))
}

/// Ends one.
pub(crate) fn delete(world: &mut World, tenant: Uuid, id: &str) -> Option<Reply> {
    let id: Uuid = id.parse().ok()?;
    world.hooks.made.get(&id).filter(|it| it.tenant == tenant)?;
    world.hooks.made.remove(&id);
    Some(Reply::empty(204))
}

/// Those of a tenant.
pub(crate) fn list(world: &World, tenant: Uuid) -> Reply {
    let hooks = world.hooks.made.iter().filter(|(_, it)| it.tenant == tenant && it.live);
    let rows: Vec<_> = hooks.map(|(id, it)| shown(*id, it)).collect();
    Reply::json(200, &json!({ "value": rows }))
}

fn shown(id: Uuid, hook: &Hook) -> Value {
    let resource = match hook.watched {
        Watched::Users => "users",
        Watched::Groups => "groups",
    };
    json!({
        "id": id, "resource": resource, "changeType": "updated,deleted",
        "notificationUrl": hook.url, "lifecycleNotificationUrl": hook.lifecycle,
        "expirationDateTime": hook.expires.to_string(), "clientState": hook.state,
    })
}

/// Too short a life is raised, too long a one refused.
fn expiration(world: &World, body: &Value) -> Result<Timestamp, String> {
    let text = body.get("expirationDateTime").and_then(Value::as_str).unwrap_or_default();
    let asked: Timestamp = text.parse().map_err(|_bad| "expirationDateTime is missing.")?;
    let (longest, shortest) = LIFE_MIN;
    let minutes = |it| later(world.now(), SignedDuration::from_mins(it));
    if asked > minutes(longest) {
        return Err(format!(
            "Subscription expiration can only be {longest} minutes in the future."
        ));
    }
    Ok(asked.max(minutes(shortest)))
}

impl Sandbox {
    /// Asks the addresses of a subscription that was just made whether they are its maker's.
    pub(crate) async fn verify(&self, reply: Reply) -> Reply {
        let body: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        let id = body.get("id").and_then(Value::as_str).and_then(|it| it.parse::<Uuid>().ok());
        let Some(id) = id.filter(|_| reply.status == 201) else { return reply };
        let urls = ["notificationUrl", "lifecycleNotificationUrl"];
        let mut verified = !self.with_world(|it| it.strikes(Fault::NotificationUnverified));
        for url in urls.iter().filter_map(|it| body.get(*it)?.as_str()) {
            verified = verified && self.is_verified(url).await;
        }
        self.with_world(|world| {
            if let Some(hook) = world.hooks.made.get_mut(&id).filter(|_| verified) {
                hook.live = true;
                return reply;
            }
            world.hooks.made.remove(&id);
            let message = "Subscription validation request failed. Notification endpoint must \
                           respond with 200 OK to validation request.";
            let error = json!({ "code": "ValidationError", "message": message });
            Reply::json(400, &json!({ "error": error }))
        })
    }

    /// 200, plain text, exactly the decoded token.
    async fn is_verified(&self, url: &str) -> bool {
        let token = self.with_world(|it| {
            let id = it.fresh_id();
            format!("Validation: Testing client application reachability + é for {id}")
        });
        let url = self.with_world(|it| it.hooks.reached(url));
        let encoded: String = url::form_urlencoded::byte_serialize(token.as_bytes()).collect();
        let mark = if url.contains('?') { '&' } else { '?' };
        let request = self.inner.http.post(format!("{url}{mark}validationToken={encoded}"));
        let request = request.header("content-type", "text/plain; charset=utf-8").timeout(PATIENCE);
        let Ok(answer) = request.send().await else { return false };
        let plain = answer.headers().get("content-type").and_then(|it| it.to_str().ok());
        let plain = plain.is_some_and(|it| it.starts_with("text/plain"));
        let ok = answer.status().as_u16() == 200 && plain;
        ok && answer.text().await.is_ok_and(|it| it == token)
    }

    /// Delivers what is due, one after the other.
    pub async fn deliver_notifications(&self) {
        self.with_world(World::write_letters);
        while let Some((letter, url)) = self.with_world(World::next_letter) {
            let body = json!({ "value": letter.value, "validationTokens": [] }).to_string();
            let request = self.inner.http.post(url).body(body);
            let request = request.header("content-type", "application/json");
            let status = request.send().await.ok().map(|it| it.status().as_u16());
            self.with_world(|world| world.answered(letter, status));
        }
    }
}

/// Delivers as long as it is run.
pub(crate) async fn pump(sandbox: &Sandbox) {
    loop {
        sandbox.deliver_notifications().await;
        tokio::time::sleep(LOOK).await;
    }
}
