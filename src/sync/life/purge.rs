//! What goes when a subscription has been over for long: the raw record, names, users, seats,
//! webhooks that were given up, and what the journal says of them.
//!
//! What stays keeps answers right: id, offer, plan, status, quantity, dates and the beneficiary's
//! tenant, so that the answer stays `expired` and the list showing it again changes nothing.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use tracing::info;

use crate::domain::{
    Cause, Change, Commit, EventWrite, Holders, Life, Mirror, Outcome, RawRecord, Run, SourceKey,
    Subscription, SubscriptionId, SubscriptionStatus, Trigger,
};
use crate::store::{Redaction, Store, WebhookFilter};
use crate::sync::{Sources, SyncError};

/// So many in one commit; the others follow.
const AT_ONCE: usize = 100;

/// Those whose time has come, the first of them.
fn due(mirror: &Mirror, keep: SignedDuration, now: Timestamp) -> Vec<SubscriptionId> {
    let is_due = |it: &&Subscription| {
        let life = mirror.life(it);
        it.status == SubscriptionStatus::Unsubscribed
            && life.purged_at.is_none()
            && now.duration_since(life.since) >= keep
    };
    let all = mirror.subscriptions().map(AsRef::as_ref).filter(is_due);
    all.map(|it| it.id).take(AT_ONCE).collect()
}

/// Purges those whose time has come, and says how many.
///
/// The journal comes first: when this is cut off in between, all of it is done again.
///
/// # Errors
///
/// [`SyncError::Store`].
pub(super) async fn purge(
    sources: &Sources,
    mirror: &Mirror,
    keep: SignedDuration,
    now: Timestamp,
) -> Result<u64, SyncError> {
    let ids = due(mirror, keep, now);
    if ids.is_empty() {
        return Ok(0);
    }
    let tenant =
        |id: &SubscriptionId| mirror.subscription(*id).and_then(|it| it.beneficiary.tenant_id());
    let tenants: BTreeSet<_> = ids.iter().map(tenant).chain([None]).collect();
    let subscriptions = ids.iter().copied().collect();
    sources.store.redact(Redaction { subscriptions, tenants }).await?;

    let turn = sources.ledger.turn().await;
    // A reading may have come meanwhile that says otherwise.
    let mirror = sources.store.snapshot();
    let mut commit = Commit::default();
    let run = sources.store.next_run();
    for it in ids.iter().filter_map(|id| mirror.subscription(*id)) {
        if it.status == SubscriptionStatus::Unsubscribed {
            forget(&sources.store, it, &mirror.life(it), (Cause::Run(run), now), &mut commit);
        }
    }
    let count = u64::try_from(commit.subscriptions.len()).unwrap_or(u64::MAX);
    commit.runs.push(Run {
        id: run,
        key: SourceKey::SUBSCRIPTIONS,
        trigger: Trigger::Schedule,
        full: false,
        started: now,
        ended: (sources.clock)(),
        outcome: Outcome::Complete,
        seen: count,
        added: 0,
        changed: count,
        removed: 0,
        odd: 0,
        requests: 0,
        throttled: SignedDuration::ZERO,
        error: None,
    });
    sources.store.commit(commit).await?;
    drop(turn);
    info!(
        run.id = %run,
        run.changed = count,
        "Removed customers' data of {count} subscription(s) that ended long ago"
    );
    Ok(count)
}

fn forget(
    store: &Store,
    it: &Subscription,
    life: &Life,
    (cause, now): (Cause, Timestamp),
    commit: &mut Commit,
) {
    let given_up =
        WebhookFilter { subscription: Some(it.id), dead: true, ..WebhookFilter::default() };
    let given_up = store.webhooks(&given_up);
    commit.inbox.extend(given_up.iter().map(|it| EventWrite::Forget(it.id)));
    commit.holders.push((it.id, Holders::default()));
    commit.lives.push((it.id, Life { purged_at: Some(now), ..life.clone() }));
    commit.subscriptions.push((it.purged(), RawRecord::from("")));
    let thing = (it.id.to_string().into(), it.beneficiary.tenant_id());
    let words = format!("over since {} at the latest: the customer's data was removed", life.since);
    commit.changes.push(Change::noted(now, cause, thing, None, Some(words)));
}
