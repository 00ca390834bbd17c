//! What has to be done now and then: exports, old log entries, keys, the watchdog.

use std::error::Error;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use sd_notify::NotifyState;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::domain::{Cause, Change, Commit, has_passed};
use crate::http::KEYS_PUBLISHED_FOR;
use crate::store::{Store, StoreError};
use crate::sync::{Clock, SyncError};

/// Between two looks at what is due.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// Between two exports, and two looks for what is old.
const TEND_EVERY: SignedDuration = SignedDuration::from_hours(24);
/// Between two looks for places of licenses that nobody uses any more.
const RELEASE_EVERY: SignedDuration = SignedDuration::from_mins(10);
/// How long the sync log and the change journal are kept.
const KEEP: SignedDuration = SignedDuration::from_hours(400 * 24);

/// How long a signing key stays after it was retired: longer than it is published.
const KEEP_KEYS: SignedDuration =
    SignedDuration::from_secs(KEYS_PUBLISHED_FOR.as_secs() + TEND_EVERY.as_secs());
/// How long the next key is published before it signs, at least: longer than caches keep the key
/// set. It signs at the first [`TEND_EVERY`] after that.
const PUBLISHED_BEFORE: SignedDuration = SignedDuration::from_mins(10);
/// How long the daemon goes on answering with a store that takes no writes any more, before it has
/// itself started afresh. Longer than systemd's start limit takes to count to its end.
const ENDURE: SignedDuration = SignedDuration::from_mins(10);

/// What the configuration says of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Upkeep {
    /// How long a key signs before the next one does.
    pub(super) rotate_keys: SignedDuration,
    /// Until an unused place of a license is free again.
    pub(super) release_after: SignedDuration,
}

/// Does what is due, until cancelled.
///
/// # Errors
///
/// [`SyncError::Store`] once the store has taken no writes for [`ENDURE`]: only a restart can help,
/// and until then answers went on.
pub(super) async fn run(
    store: Store,
    upkeep: Upkeep,
    clock: Clock,
    cancel: CancellationToken,
) -> Result<(), SyncError> {
    let mut last = Last::default();
    let mut refused: Option<Timestamp> = None;
    loop {
        tokio::select! {
            biased;
            () = cancel.cancelled() => return Ok(()),
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        let now = clock();
        last.tend(&store, upkeep, now).await;
        match writes(&store).await {
            Ok(()) => {
                if refused.take().is_some() {
                    info!("The store takes writes again");
                    tell(&[NotifyState::Status("serving")]);
                }
            }
            Err(problem) => {
                let since = *refused.get_or_insert_with(|| complain(&problem, now));
                if !problem.is_transient() && now.duration_since(since) >= ENDURE {
                    return Err(problem.into());
                }
            }
        }
        // The committer has come round, one way or the other: a daemon that hangs there is not
        // fed, and systemd starts it afresh.
        tell(&[NotifyState::Watchdog]);
    }
}

/// When what was done last.
#[derive(Default)]
struct Last {
    tended: Option<Timestamp>,
    released: Option<Timestamp>,
}

impl Last {
    /// Does what is due.
    async fn tend(&mut self, store: &Store, upkeep: Upkeep, now: Timestamp) {
        let due = |last: Option<Timestamp>, every| last.is_none_or(|at| has_passed(every, at, now));
        if due(self.tended, TEND_EVERY) {
            self.tended = Some(now);
            tend(store, now).await;
            renew_key(store, upkeep.rotate_keys, now).await;
        }
        if due(self.released, RELEASE_EVERY) {
            self.released = Some(now);
            release(store, upkeep.release_after, now).await;
        }
    }
}

/// Export, old log entries, old keys. What fails is tried again the next time.
async fn tend(store: &Store, now: Timestamp) {
    let long_ago = |keep| now.checked_sub(keep).unwrap_or(now);
    match store.export(now).await {
        Ok(_) => info!("Exported the store"),
        Err(error) => error!(error = &error as &dyn Error, "The store could not be exported"),
    }
    match store.prune(long_ago(KEEP)).await {
        Ok(gone) => {
            info!(store.runs = gone.runs, store.chunks = gone.chunks, "Dropped old log entries");
        }
        Err(error) => error!(error = &error as &dyn Error, "Old log entries could not be dropped"),
    }
    let (keys, before) = (store.clone(), long_ago(KEEP_KEYS));
    match tokio::task::spawn_blocking(move || keys.keys().prune(before)).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => {
            error!(error = &error as &dyn Error, "Old signing keys could not be dropped");
        }
        Err(error) => {
            error!(error = &error as &dyn Error, "Dropping old signing keys was cut off");
        }
    }
}

/// Places of users who no longer come. What fails is tried again the next time.
async fn release(store: &Store, release_after: SignedDuration, now: Timestamp) {
    match store.release_places(release_after, now).await {
        Ok(0) => {}
        Ok(count) => info!(store.places = count, "Places of licenses are free again"),
        Err(error) => error!(error = &error as &dyn Error, "Unused places could not be freed"),
    }
}

/// Publishes the next key once the one that signs has done so for long enough; the time after that
/// it signs.
async fn renew_key(store: &Store, every: SignedDuration, now: Timestamp) {
    let (before, next) = (store.keys().current(), store.keys().next());
    let since = |it: Timestamp| now.duration_since(it);
    let promotes = next.as_ref().is_some_and(|it| since(it.created) >= PUBLISHED_BEFORE);
    if !promotes && (next.is_some() || since(before.created) < every) {
        return;
    }
    let keys = store.clone();
    let work = move || {
        let keys = keys.keys();
        if promotes { keys.promote(now) } else { keys.announce(now).map(Some) }
    };
    let made = match tokio::task::spawn_blocking(work).await {
        Ok(Ok(Some(made))) => made,
        // Somebody rotated the keys by command in this moment.
        Ok(Ok(None)) => return,
        Ok(Err(error)) => {
            return error!(error = &error as &dyn Error, "No new signing key could be made");
        }
        Err(error) => return error!(error = &error as &dyn Error, "Making a key was cut off"),
    };
    if !promotes {
        return info!(
            key.id = made.kid,
            "The next signing key is published; it signs from tomorrow"
        );
    }
    info!(key.id = made.kid, "A new key signs answers; the one before stays published for a while");
    let changes = vec![Change::of_key(now, Cause::Schedule, &before.kid, &made.kid)];
    if let Err(error) = store.commit(Commit { changes, ..Commit::default() }).await {
        error!(error = &error as &dyn Error, "The journal lacks that a new key signs");
    }
}

/// Whether a write would be taken. There is nothing to write, but the committer has to answer.
async fn writes(store: &Store) -> Result<(), StoreError> {
    store.commit(Commit::default()).await?;
    store.writable()
}

fn complain(problem: &StoreError, now: Timestamp) -> Timestamp {
    error!(error = problem as &dyn Error, "The store takes no writes; answers go on");
    let status = format!("the store takes no writes: {problem}");
    tell(&[NotifyState::Status(&status)]);
    now
}

/// Outside systemd there is no socket to tell, and nobody misses it.
fn tell(states: &[NotifyState<'_>]) {
    drop(sd_notify::notify(states));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{HeldSeat, LicenseId, LicenseUser, TenantId, UserId};
    use crate::store::{ChangeFilter, Guard, StoreOptions};

    #[tokio::test]
    async fn a_key_is_published_a_day_before_it_signs_unless_by_command() {
        let folder = tempfile::tempdir().unwrap();
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let at = move |minutes: i64| start + SignedDuration::from_mins(minutes);
        let day = 24 * 60;
        let open = || {
            let options = StoreOptions {
                guard: Guard::Off,
                ..StoreOptions::new(folder.path().join("store"))
            };
            Store::open(options, start).unwrap().0
        };
        let store = open();
        let every = SignedDuration::from_hours(24 * 90);
        let first = store.keys().current();
        renew_key(&store, every, at(89 * day)).await;
        assert_eq!((store.keys().current(), store.keys().next()), (first.clone(), None));
        renew_key(&store, every, at(90 * day)).await;
        let next = store.keys().next().unwrap();
        assert_eq!(store.keys().current(), first, "it is only published");
        assert_eq!(store.keys().published(), [first.clone(), next.clone()]);
        // A restart, and another look too early.
        store.close().await;
        drop(store);
        let store = open();
        renew_key(&store, every, at(90 * day + 9)).await;
        assert_eq!((store.keys().current(), store.keys().next()), (first, Some(next.clone())));
        renew_key(&store, every, at(90 * day + 10)).await;
        assert_eq!((store.keys().current(), store.keys().next()), (next.clone(), None));
        let changes = store.changes(&ChangeFilter::default()).unwrap();
        assert_eq!(changes.len(), 1, "the journal tells who signs, not who will: {changes:?}");
        // By command the file may have been lost: neither what signs nor what would is used on.
        renew_key(&store, every, at(180 * day)).await;
        let lost = store.keys().next().unwrap();
        let made = store.keys().rotate(at(180 * day + 1)).unwrap();
        assert_eq!((store.keys().current(), store.keys().next()), (made.clone(), None));
        assert!(!store.keys().published().contains(&lost));
        renew_key(&store, every, at(181 * day)).await;
        assert_eq!(store.keys().current(), made);
        store.close().await;
    }

    /// Two users known to Entra and two anonymous ones who come once, and one who comes every day.
    #[tokio::test]
    async fn places_leave_the_disk_as_virtual_months_pass() {
        let folder = tempfile::tempdir().unwrap();
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let at = move |day: i64| start + SignedDuration::from_hours(24 * day);
        let open = || {
            let options = StoreOptions {
                guard: Guard::Off,
                ..StoreOptions::new(folder.path().join("store"))
            };
            Store::open(options, start)
        };
        let (store, _) = open().unwrap();
        let license = LicenseId::from_random([1; LicenseId::RANDOM]);
        let known = |it: u128| {
            let tenant = TenantId::from_uuid(uuid::Uuid::from_u128(1)).unwrap();
            LicenseUser::Known(tenant, UserId::from_uuid(uuid::Uuid::from_u128(it)))
        };
        let came = async |store: &Store, user, day: i64| {
            let seat = HeldSeat { taken_at: at(0), last_used: at(day) };
            let license_users = vec![(license, vec![(user, Some(seat))])];
            store.commit(Commit { license_users, ..Commit::default() }).await.unwrap();
        };
        for user in [known(1), known(2), known(3)] {
            came(&store, user, 0).await;
        }
        for it in 0..2 {
            came(&store, LicenseUser::Anonymous([it; 16]), 0).await;
        }
        let upkeep = Upkeep {
            rotate_keys: SignedDuration::from_hours(24 * 365),
            release_after: SignedDuration::from_hours(24 * 60),
        };
        let mut last = Last::default();
        for (now, left) in [(1, 5), (29, 5), (30, 3), (60, 3), (61, 1), (90, 1)] {
            came(&store, known(3), now).await;
            last.tend(&store, upkeep, at(now)).await;
            let users = store.mirror().licenses().users(license).map(|it| it.len());
            assert_eq!(users, Some(left), "day {now}");
        }
        let filter =
            ChangeFilter { license: Some(license.as_str().into()), ..ChangeFilter::default() };
        let causes = store.changes(&filter).unwrap();
        assert_eq!(
            causes.len(),
            3,
            "two known users, and one line for the anonymous ones: {causes:?}"
        );
        store.close().await;
        drop(store);
        let (again, _) = open().unwrap();
        assert_eq!(again.mirror().licenses().users(license).map(|it| it.len()), Some(1));
        again.close().await;
    }
}
