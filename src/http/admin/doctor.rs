//! `doctor`: live checks, one line each, with what to do next. Asks Microsoft now; changes nothing.

use axum::extract::State;
use axum::response::Response;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{Admin, Shared, lines};
use crate::decision::{is_distrusted, is_stale};
use crate::domain::{Cloud, Consent, Mirror, SourceKey, TenantView};
use crate::store::{Guard, StoreReport};
use crate::sync::RequestError;
use crate::sync::doctor::{Checked, Health, REPORT};

/// Checks that wait for a slow reader.
const STEPS: usize = 64;

/// How many tenants are asked live: those that let us in and were read the longest ago. Of the
/// others the mirror tells.
const ASKED_LIVE: usize = 3;

/// A marketplace that sends nothing for so long is worth a look.
const QUIET: SignedDuration = SignedDuration::from_hours(7 * 24);

/// A line for each check, as soon as it is made.
pub(super) async fn examine(State(admin): Shared) -> Response {
    let (send, receive) = mpsc::channel(STEPS);
    let work = async move {
        let (mirror, now) = (admin.store.snapshot(), admin.now());
        let unwritable = admin.store.writable().err().map(|it| it.to_string());
        let own = [store(&admin.store.report(), unwritable), keys(&admin), public_url(&admin)];
        for checked in own {
            tell(&send, &checked).await;
        }
        tell(&send, &admin.upstreams.clock().await).await;
        tell(&send, &admin.upstreams.marketplace().await).await;
        tell(&send, &subscriptions(&mirror, &admin, now)).await;
        tell(&send, &webhooks(&admin, &mirror, now)).await;
        if let Some(checked) = licence_report(&admin).await {
            tell(&send, &checked).await;
        }
        for tenant in live(&mirror) {
            tell(&send, &admin.upstreams.graph(tenant).await).await;
        }
        for checked in tenants(&mirror, &admin, now) {
            tell(&send, &checked).await;
        }
        for checked in endpoints(&admin) {
            tell(&send, &checked).await;
        }
    };
    lines::driven(work, receive)
}

async fn tell(send: &mpsc::Sender<bytes::Bytes>, it: &Checked) {
    // Whoever asked may have left.
    drop(send.send(lines::line(&row(it))).await);
}

fn row(it: &Checked) -> Value {
    json!({"check": it.what, "state": it.health.as_str(), "found": it.found, "next": it.next})
}

fn store(report: &StoreReport, refused: Option<String>) -> Checked {
    let what = "store";
    if let Some(error) = refused {
        let next =
            "free or mend the disk that [store] path names; answers go on, writes are refused";
        return Checked::ill(what, Health::Bad, format!("takes no writes: {error}"), next);
    }
    if let Some(moved) = &report.keys_moved {
        let found = format!("the keys could not be read and were moved to {}", moved.display());
        let next = "restore them from a backup, or let visuals fetch the new ones";
        return Checked::ill(what, Health::Fair, found, next);
    }
    if report.guard.guard != Guard::On {
        let next = "run where seccomp is allowed: without the guard a power cut may lose writes";
        return Checked::ill(what, Health::Fair, "writes may not survive a power cut", next);
    }
    let free = report.free_bytes.map_or_else(String::new, |it| format!(", {} MiB free", it >> 20));
    Checked::good(what, format!("takes writes, {} MiB on disk{free}", report.disk_bytes >> 20))
}

fn keys(admin: &Admin) -> Checked {
    let current = admin.store.keys().current();
    let days = admin.now().duration_since(current.created).as_hours() / 24;
    Checked::good("signing key", format!("{} signs, for {days} days now", current.kid))
}

fn public_url(admin: &Admin) -> Checked {
    match &admin.consent.public_url {
        Some(url) => Checked::good("public address", url.as_str()),
        None => Checked::ill(
            "public address",
            Health::Fair,
            "not set: no landing page, no consent link",
            "set [listen] public_url to what the outside calls this daemon",
        ),
    }
}

fn subscriptions(mirror: &Mirror, admin: &Admin, now: Timestamp) -> Checked {
    let state = mirror.source(SourceKey::SUBSCRIPTIONS);
    let read = state.and_then(|it| it.last_complete);
    let what = "subscriptions";
    match read {
        Some(at) if !is_stale(read, &admin.policy.subscriptions, now) => {
            Checked::good(what, format!("{} mirrored, read {at}", mirror.subscription_count()))
        }
        _ => {
            let error = state.and_then(|it| it.last_error.as_deref()).unwrap_or("no run yet");
            let found = match read {
                Some(at) => format!("last completely read {at}: {error}"),
                None => format!("never completely read: {error}"),
            };
            let next = "mend what the message says, then `entitled sync subscriptions`";
            Checked::ill(what, Health::Bad, found, next)
        }
    }
}

fn webhooks(admin: &Admin, mirror: &Mirror, now: Timestamp) -> Checked {
    let what = "webhooks";
    if let Some(alarm) = admin.watch.alarm() {
        return Checked::ill(what, Health::Bad, alarm.to_string(), alarm.remedy());
    }
    let dead = admin.store.inbox().dead;
    if dead > 0 {
        let next =
            "`entitled webhooks dead` shows them, `entitled webhooks replay --all` tries again";
        return Checked::ill(what, Health::Fair, format!("{dead} given up"), next);
    }
    let last = admin.watch.last_valid();
    let since = last.map_or_else(|| "the start".to_owned(), |it| it.to_string());
    match last {
        Some(at) if now.duration_since(at) <= QUIET => {
            Checked::good(what, format!("the last one came {at}"))
        }
        _ if mirror.subscription_count() == 0 => {
            Checked::good(what, format!("none came since {since}, and there is no subscription"))
        }
        _ => {
            let url = admin.consent.public_url.as_ref().map_or("{public_url}/", |it| it.as_str());
            let next = format!(
                "if customers changed anything meanwhile, check the connection webhook in Partner \
                 Center (Technical configuration): {}/marketplace/webhook",
                url.trim_end_matches('/')
            );
            Checked::ill(what, Health::Fair, format!("none came since {since}"), next)
        }
    }
}

/// The licence report's API; `None` where no product has such licences.
async fn licence_report(admin: &Admin) -> Option<Checked> {
    match admin.sync.reports_every() {
        Ok(_) => Some(admin.upstreams.partner_center().await),
        Err(RequestError::NoReports) => None,
        Err(why) => Some(Checked::good(REPORT, format!("not asked: {why}"))),
    }
}

/// Tenants that are asked live.
fn live(mirror: &Mirror) -> Vec<crate::domain::TenantId> {
    let mut granted: Vec<_> = mirror
        .tenants()
        .filter(|it| it.tenant.consent == Consent::Granted)
        .map(|it| (it.directory.last_complete, it.tenant.id))
        .collect();
    granted.sort_unstable();
    granted.into_iter().take(ASKED_LIVE).map(|(_, id)| id).collect()
}

/// A line for each tenant with which something is wrong, and one for all the others.
fn tenants(mirror: &Mirror, admin: &Admin, now: Timestamp) -> Vec<Checked> {
    let mut ill = Vec::new();
    let mut well = 0_usize;
    for view in mirror.tenants() {
        match tenant(view, admin, now) {
            Some(checked) => ill.push(checked),
            None => well = well.saturating_add(1),
        }
    }
    let found =
        format!("{well} of {} let us read them and are fresh", well.saturating_add(ill.len()));
    let mut all = vec![Checked::good("tenants", found)];
    all.append(&mut ill);
    all
}

fn tenant(view: &TenantView, admin: &Admin, now: Timestamp) -> Option<Checked> {
    let (it, read) = (&view.tenant, view.directory.last_complete);
    let what = match it.name.as_deref() {
        Some(name) => format!("tenant {} ({name})", it.id),
        None => format!("tenant {}", it.id),
    };
    let ask =
        format!("send its administrator the link of `entitled tenants consent-url {}`", it.id);
    if it.cloud == Cloud::National {
        let next = "nothing: sell it channel direct (`entitled licenses issue`)";
        return Some(Checked::ill(what, Health::Fair, "lives in a national cloud", next));
    }
    match it.consent {
        Consent::Missing => {
            return Some(Checked::ill(what, Health::Fair, "has not consented", ask));
        }
        Consent::Revoked => {
            let found = "let us read it once and does no longer; what is known counts until it is \
                         too old";
            return Some(Checked::ill(what, Health::Bad, found, ask));
        }
        Consent::Granted | Consent::Unknown => {}
    }
    if let Some(permission) = view.access.blinding() {
        let found = format!("does not permit {permission}: {}", view.access.without(permission));
        return Some(Checked::ill(what, Health::Fair, found, ask));
    }
    if let Some(held) = &view.held {
        let next = format!(
            "wait for the next complete read, or `entitled tenants release {}` if it is right",
            it.id
        );
        return Some(Checked::ill(what, Health::Fair, held.told(view.directory.held_back), next));
    }
    let rights = view.rights_held(admin.policy.remove_limit).len();
    if rights > 0 {
        let found = format!(
            "held back: {rights} of {} users came without usage rights, and nobody with any",
            view.rights.holders()
        );
        let next = format!(
            "check that the app's home tenant is associated with your account (Partner Center, \
             Account settings, Tenants), or `entitled tenants release {}` if they are gone indeed",
            it.id
        );
        return Some(Checked::ill(what, Health::Fair, found, next));
    }
    let limits = &admin.policy.directory;
    if !is_stale(read, limits, now) {
        return None;
    }
    let error = view.directory.last_error.as_deref().unwrap_or("no run yet");
    let health = if is_distrusted(read, limits, now) { Health::Bad } else { Health::Fair };
    let next = format!("mend what the message says, then `entitled sync --tenant {}`", it.id);
    Some(Checked::ill(what, health, format!("not read lately: {error}"), next))
}

fn endpoints(admin: &Admin) -> Vec<Checked> {
    let checked = |it: crate::notify::EndpointStatus| {
        let what = format!("events to {}", it.name);
        match it.state {
            "ok" => Checked::good(what, format!("{} wait", it.waiting)),
            state => {
                let error = it.last_error.as_deref().unwrap_or("it takes no events");
                let next = format!("mend the endpoint, then `entitled notify test {}`", it.name);
                Checked::ill(what, Health::Fair, format!("{state}: {error}"), next)
            }
        }
    };
    admin.notify.status().into_iter().map(checked).collect()
}
