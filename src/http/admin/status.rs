//! `status`: how fresh everything is, what is going wrong, how much there is.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Admin, Shared, life, rows};
use crate::decision::{LicenseFigures, is_distrusted, is_stale};
use crate::domain::{Freshness, Mirror, Source, SourceKey, SourceState};
use crate::http::problem::Problem;
use crate::sync::{TaskStatus, reads_directory};

/// Records that could not be understood are counted up to here.
const ODD_MAX: usize = 1000;

/// The whole status, worst source first.
pub(super) async fn show(State(admin): Shared) -> Result<Json<Value>, Problem> {
    let (mirror, now) = (admin.store.snapshot(), admin.now());
    let tasks = admin.sync.status();
    // It looks at everybody with a seat in a tenant with a license.
    let (shared, facts) = (Arc::clone(&admin), Arc::clone(&mirror));
    let counting = tokio::task::spawn_blocking(move || super::overlap::count(&shared, &facts, now));
    let covered_twice = counting.await.ok();
    let odd = admin.store.odd_records(ODD_MAX).map_err(super::unreadable)?;
    let report = admin.store.report();
    let writable = admin.store.writable();
    Ok(Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "now": now.to_string(),
        "sources": sources(&admin, &mirror, &tasks, now),
        "runs": {
            "running": tasks.iter().filter(|it| it.running.is_some()).count(),
            "waiting": tasks.iter().filter(|it| it.running.is_none() && it.next_due.is_none()).count(),
            "scheduled": tasks.iter().filter(|it| it.next_due.is_some()).count(),
        },
        "freshness": admin.sync.ages().iter().map(|it| json!({
            "path": it.way.as_str(), "changes": it.count, "median_s": it.median_s, "slowest_s": it.slowest_s,
        })).collect::<Vec<_>>(),
        "notifications": notifications(&admin),
        "store": {
            "disk_bytes": report.disk_bytes,
            "live_bytes": report.live_bytes,
            "free_bytes": report.free_bytes,
            "reserve_bytes": report.reserve_bytes,
            "bloated": report.is_bloated(),
            "guard": report.guard.as_str(),
            "commits": report.commits,
            "last_commit": rows::time(report.last_commit),
            "journal_chunks": report.chunks,
            "last_export": rows::time(report.last_export),
            "keys_moved": report.keys_moved.as_ref().map(|it| it.display().to_string()),
            "writable": writable.is_ok(),
            "error": writable.err().map(|it| it.to_string()),
        },
        "webhooks": super::webhooks::status(&admin, now),
        "subscriptions": subscriptions(&mirror),
        "lives": life::status(&mirror, now),
        "tenants": consents(&mirror),
        "users_with_licences": mirror.tenants().map(|it| it.users.licensed()).sum::<usize>(),
        "seats_taken": taken(&mirror),
        "groups": super::groups::status(&mirror),
        "usage_rights": super::learn::status(&mirror, &admin.catalog, &admin.policy),
        "seats": super::figures::status(&admin),
        "covered_twice": covered_twice,
        "licenses": licenses(&LicenseFigures::of(&mirror, &admin.policy, now)),
        "usage": super::usage::status(&admin),
        "reports": super::reports::status(&admin, &mirror),
        "notify": super::notify::rows(&admin.notify),
        "odd_records": odd.len(),
        "odd": odd.iter().take(5).map(|it| json!({
            "at": it.at.to_string(), "source": it.key.to_string(), "why": *it.why,
        })).collect::<Vec<_>>(),
    })))
}

fn notifications(admin: &Admin) -> Value {
    let (wanted, subscriptions, failing) = admin.notifications.figures();
    json!({ "wanted": wanted, "subscriptions": subscriptions, "failing": failing })
}

fn sources(admin: &Admin, mirror: &Mirror, tasks: &[TaskStatus], now: Timestamp) -> Vec<Value> {
    let unread = SourceState::default();
    let list = mirror.source(SourceKey::SUBSCRIPTIONS).unwrap_or(&unread);
    let list = (SourceKey::SUBSCRIPTIONS, None, None, list);
    let read = mirror.tenants().filter(|it| reads_directory(&admin.catalog, it));
    let views = read.map(|it| {
        let consent = Some(it.tenant.consent.as_str());
        (SourceKey::directory(it.tenant.id), it.tenant.name.clone(), consent, &it.directory)
    });
    let report = mirror.source(SourceKey::REPORTS).map(|it| (SourceKey::REPORTS, None, None, it));
    let mut all: Vec<_> = std::iter::once(list).chain(report).chain(views).collect();
    // Never read first, then the longest ago.
    all.sort_by_key(|(key, _, _, state)| (state.last_complete, *key));
    let row = |(key, name, consent, state): (SourceKey, _, _, &SourceState)| {
        let limits = limits(admin, key);
        let name: Option<Arc<str>> = name;
        let task = tasks.iter().find(|it| it.key == key);
        let view = key.tenant.and_then(|it| mirror.tenant(it));
        let rights = view.map_or(0, |it| it.rights_held(admin.policy.remove_limit).len());
        json!({
            "source": key.source.as_str(),
            "tenant": rows::text(key.tenant),
            "name": name.as_deref(),
            "consent": consent,
            "last_complete": rows::time(state.last_complete),
            "stale": is_stale(state.last_complete, limits, now),
            "distrusted": is_distrusted(state.last_complete, limits, now),
            "last_run": rows::time(state.last_run),
            "outcome": rows::text(state.last_outcome),
            "failures": state.failures,
            "held_back": rights.saturating_add(usize::try_from(state.held_back).unwrap_or(usize::MAX)),
            "running": rows::text(task.and_then(|it| it.running)),
            "next_due": rows::time(task.and_then(|it| it.next_due)),
            "error": state.last_error.as_deref(),
        })
    };
    all.into_iter().map(row).collect()
}

fn limits(admin: &Admin, key: SourceKey) -> &Freshness {
    match key.source {
        Source::Subscriptions => &admin.policy.subscriptions,
        Source::Reports => &admin.policy.reports,
        Source::Directory | Source::Groups => &admin.policy.directory,
    }
}

fn subscriptions(mirror: &Mirror) -> Value {
    let mut by_status: BTreeMap<&str, u64> = BTreeMap::new();
    for it in mirror.subscriptions() {
        let count = by_status.entry(it.status.as_str()).or_default();
        *count = count.saturating_add(1);
    }
    json!({"total": mirror.subscription_count(), "by_status": by_status})
}

fn consents(mirror: &Mirror) -> Value {
    let mut by_consent: BTreeMap<&str, u64> = BTreeMap::new();
    for it in mirror.tenants() {
        let count = by_consent.entry(it.tenant.consent.as_str()).or_default();
        *count = count.saturating_add(1);
    }
    json!({"total": mirror.tenants().count(), "by_consent": by_consent})
}

/// Licenses of the publisher; those that somebody should look at by name.
fn licenses(figures: &LicenseFigures) -> Value {
    let by_state: BTreeMap<&str, u64> =
        figures.by_state().into_iter().map(|(state, count)| (state.as_str(), count)).collect();
    let ending = figures.ending.some.iter().map(|(id, product, state, at)| {
        json!({
            "id": id.as_str(), "product": product.as_str(), "state": state.as_str(),
            "ends": at.to_string(),
        })
    });
    let nearly_full = figures.nearly_full.some.iter().map(|(id, product, _, (users, max))| {
        json!({"id": id.as_str(), "product": product.as_str(), "users": users, "max": max})
    });
    let odd = figures.odd.some.iter().map(|(id, product, _, odd)| {
        let says: Vec<String> = odd.iter().map(ToString::to_string).collect();
        json!({"id": id.as_str(), "product": product.as_str(), "says": says})
    });
    json!({
        "total": figures.total(),
        "by_state": by_state,
        "activations": figures.activations,
        "users": figures.places,
        "ending": {"count": figures.ending.count, "some": ending.collect::<Vec<_>>()},
        "nearly_full": {"count": figures.nearly_full.count, "some": nearly_full.collect::<Vec<_>>()},
        "over_limit": figures.over,
        "odd": {"count": figures.odd.count, "some": odd.collect::<Vec<_>>()},
    })
}

/// Seats of subscriptions with `coverage = "seats"` that somebody has taken, live or not.
fn taken(mirror: &Mirror) -> usize {
    mirror.all_holders().map(|(_, it)| it.iter().count()).sum()
}
