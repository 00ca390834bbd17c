//! Staying under Graph's limits: a budget of resource units for each tenant and for the whole app,
//! and the gate that stays shut while Microsoft told us to wait.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::error::{ErrorKind, MicrosoftError};
use super::meter::Meter;
use super::pace::{Pace, THROTTLE_MAX};
use crate::domain::TenantId;

/// How much of a quota we use; the rest is for whoever else uses it.
const SHARE: f64 = 0.8;
/// One app's quota of resource units in one tenant, by the tenant's size; of a tenant that was never
/// counted the smallest holds.
///
/// Source: graph-licensing.md section 8: 3,500, 5,000 and 8,000 in 10 s; below 50 users, up to 500,
/// and above.
fn rate_of(users: usize) -> Rate {
    let units = match users {
        0..50 => 3_500.0,
        50..=500 => 5_000.0,
        _ => 8_000.0,
    };
    Rate { units, per_s: 10.0 }
}

/// The quota of one app over all tenants.
///
/// Source: graph-licensing.md section 8: 150,000 in 20 s.
const APP: Rate = Rate { units: 150_000.0, per_s: 20.0 };
/// How many tenants are remembered before those with a full budget are forgotten.
const LANES_MAX: usize = 20_000;

/// How soon a call is shed when Graph is short, and how much of a budget it leaves to those that are
/// more urgent.
///
/// Source: graph-licensing.md section 8, `x-ms-throttle-priority`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Priority {
    /// Sweeps: they may take as long as they take.
    Low,
    /// What changed.
    Normal,
    /// Somebody waits for the answer.
    High,
}

impl Priority {
    /// The header's value; `None` is what Graph takes for granted.
    pub(crate) const fn header(self) -> Option<&'static str> {
        match self {
            Self::Low => Some("low"),
            Self::Normal => None,
            Self::High => Some("high"),
        }
    }

    /// The share of a full budget that it does not touch.
    const fn leaves(self) -> f64 {
        match self {
            Self::Low => 0.3,
            Self::Normal => 0.1,
            Self::High => 0.0,
        }
    }
}

#[derive(Clone, Copy)]
struct Rate {
    units: f64,
    per_s: f64,
}

/// A token bucket that may go into debt: who takes more than is there waits until it is paid, and
/// whoever comes later waits behind.
#[derive(Clone, Copy)]
struct Bucket {
    level: f64,
    filled_at: Timestamp,
}

impl Bucket {
    fn full(rate: Rate, now: Timestamp) -> Self {
        Self { level: rate.units * SHARE, filled_at: now }
    }

    fn fill(&mut self, rate: Rate, now: Timestamp) {
        let elapsed = now.duration_since(self.filled_at).as_secs_f64().max(0.0);
        self.level =
            (self.level + elapsed * rate.units * SHARE / rate.per_s).min(rate.units * SHARE);
        self.filled_at = now;
    }

    /// How long to wait for what was taken, until there is again what this priority leaves.
    fn take(&mut self, units: f64, rate: Rate, priority: Priority, now: Timestamp) -> Duration {
        self.fill(rate, now);
        self.level -= units;
        let debt = (rate.units * SHARE * priority.leaves() - self.level).max(0.0);
        Duration::try_from_secs_f64(debt * rate.per_s / (rate.units * SHARE)).unwrap_or_default()
    }

    fn is_full(&self, rate: Rate) -> bool {
        self.level >= rate.units * SHARE
    }
}

struct Lane {
    bucket: Bucket,
    shut_until: Option<Timestamp>,
    /// Users that the tenant has at least.
    users: usize,
    /// Users in the enumeration under way.
    counting: usize,
}

impl Lane {
    fn open(rate: Rate, now: Timestamp) -> Self {
        Self { bucket: Bucket::full(rate, now), shut_until: None, users: 0, counting: 0 }
    }

    fn rate(&self) -> Rate {
        rate_of(self.users)
    }
}

struct State {
    app: Lane,
    tenants: HashMap<TenantId, Lane>,
    /// At how many lanes those that say nothing are forgotten next.
    clear_at: usize,
}

impl State {
    fn lane(&mut self, tenant: TenantId, now: Timestamp) -> &mut Lane {
        if self.tenants.len() > self.clear_at {
            self.tenants.retain(|_, lane| {
                let rate = lane.rate();
                lane.bucket.fill(rate, now);
                lane.shut_until.is_some_and(|it| it > now) || !lane.bucket.is_full(rate)
            });
            // If all are in use, not again for each call.
            self.clear_at = LANES_MAX.max(self.tenants.len().saturating_mul(2));
        }
        self.tenants.entry(tenant).or_insert_with(|| Lane::open(rate_of(0), now))
    }

    /// When the gates before this tenant open: the app's and its own.
    fn shut_until(&mut self, tenant: TenantId, now: Timestamp) -> Option<Timestamp> {
        let own = self.lane(tenant, now).shut_until;
        self.app.shut_until.max(own).filter(|it| *it > now)
    }

    /// Opens the gates that were to open then: the wait is over, whatever the clock says.
    fn open(&mut self, tenant: TenantId, until: Timestamp, now: Timestamp) {
        if self.app.shut_until.is_some_and(|it| it <= until) {
            self.app.shut_until = None;
        }
        let lane = self.lane(tenant, now);
        if lane.shut_until.is_some_and(|it| it <= until) {
            lane.shut_until = None;
        }
    }
}

/// Whom a 429 stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) enum Scope {
    /// The one that asked.
    #[default]
    Tenant,
    /// Every tenant of ours.
    App,
}

impl Scope {
    /// The scope that `x-ms-throttle-scope` names: `<Scope>/<Limit>/<app>/<tenant>`.
    ///
    /// Source: graph-licensing.md section 8.
    pub(crate) fn from_header(text: Option<&str>) -> Self {
        let scope = text.and_then(|it| it.split('/').next()).unwrap_or_default().trim();
        if scope.eq_ignore_ascii_case("Application") { Self::App } else { Self::Tenant }
    }
}

/// The budgets and gates of one Graph.
pub(crate) struct Limits {
    state: Mutex<State>,
}

impl Limits {
    pub(crate) fn new(now: Timestamp) -> Self {
        let (app, tenants) = (Lane::open(APP, now), HashMap::new());
        Self { state: Mutex::new(State { app, tenants, clear_at: LANES_MAX }) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Numbers only: a panic elsewhere cannot have left them half written.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the gates and for the budget, then charges it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Throttled`] when a gate stays shut longer than one call may wait.
    pub(crate) async fn enter(
        &self,
        tenant: TenantId,
        (units, priority): (u32, Priority),
        pace: &Pace,
        meter: &Meter,
    ) -> Result<(), MicrosoftError> {
        loop {
            let now = pace.now();
            let Some(until) = self.state().shut_until(tenant, now) else { break };
            let wait = Duration::try_from(until.duration_since(now)).unwrap_or_default();
            if wait > THROTTLE_MAX {
                return Err(throttled(Some(wait)).held_at_the_gate());
            }
            meter.wait(pace, wait).await;
            self.state().open(tenant, until, pace.now());
        }
        let now = pace.now();
        let wait = {
            let mut state = self.state();
            let (lane, units) = (state.lane(tenant, now), f64::from(units));
            let rate = lane.rate();
            let own = lane.bucket.take(units, rate, priority, now);
            own.max(state.app.bucket.take(units, APP, priority, now))
        };
        if !wait.is_zero() {
            meter.wait(pace, wait).await;
        }
        Ok(())
    }

    /// Corrects the budget by what Microsoft says the call really cost.
    pub(crate) fn correct(&self, tenant: TenantId, charged: u32, real: u32, now: Timestamp) {
        let more = f64::from(real) - f64::from(charged);
        let mut state = self.state();
        state.lane(tenant, now).bucket.level -= more;
        state.app.bucket.level -= more;
    }

    /// A page of an enumeration of a tenant's users: its first one or a further one.
    pub(crate) fn counted(&self, tenant: TenantId, first: bool, rows: usize, now: Timestamp) {
        let mut state = self.state();
        let lane = state.lane(tenant, now);
        lane.counting = if first { rows } else { lane.counting.saturating_add(rows) };
        lane.users = lane.users.max(lane.counting);
    }

    /// A tenant has so many users at least.
    pub(crate) fn has_users(&self, tenant: TenantId, users: usize, now: Timestamp) {
        let mut state = self.state();
        let lane = state.lane(tenant, now);
        lane.users = lane.users.max(users);
    }

    /// Shuts a gate.
    pub(crate) fn shut(&self, scope: Scope, tenant: TenantId, wait: Duration, now: Timestamp) {
        let wait = SignedDuration::try_from(wait).unwrap_or(SignedDuration::MAX);
        let until = now.checked_add(wait).unwrap_or(Timestamp::MAX);
        let mut state = self.state();
        let lane = match scope {
            Scope::App => &mut state.app,
            Scope::Tenant => state.lane(tenant, now),
        };
        lane.shut_until = lane.shut_until.max(Some(until));
    }
}

/// What the caller hears when waiting was not enough.
pub(crate) fn throttled(wait: Option<Duration>) -> MicrosoftError {
    let what = match wait {
        Some(wait) => format!("Microsoft throttles us and asks us to wait {} s", wait.as_secs()),
        None => "Microsoft throttles us and does not say for how long".into(),
    };
    MicrosoftError::new(ErrorKind::Throttled, what).asking(wait)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::microsoft::meter::Room;
    use futures_util::future::BoxFuture;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
    use uuid::Uuid;

    /// A pace whose sleep moves its clock, and the milliseconds slept so far.
    fn pace() -> (Pace, Arc<AtomicU64>) {
        let slept = Arc::new(AtomicU64::new(0));
        let (read, add) = (Arc::clone(&slept), Arc::clone(&slept));
        let clock = Arc::new(move || {
            let millis = i64::try_from(read.load(SeqCst)).unwrap();
            Timestamp::UNIX_EPOCH + SignedDuration::from_millis(millis)
        });
        let sleep =
            Arc::new(move |wait: Duration| -> futures_util::future::BoxFuture<'static, ()> {
                add.fetch_add(u64::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap(), SeqCst);
                Box::pin(async {})
            });
        (Pace::new(clock, sleep, Arc::new(|| 0.5)), slept)
    }

    const ONE: (u32, Priority) = (1, Priority::Normal);

    fn tenant(n: u128) -> TenantId {
        TenantId::from_uuid(Uuid::from_u128(n)).unwrap()
    }

    #[tokio::test]
    async fn a_tenant_stays_within_its_share_of_the_quota() {
        let (pace, slept) = pace();
        let (limits, meter) = (Limits::new(pace.now()), Meter::new());
        for _ in 0..5_600 {
            limits.enter(tenant(1), ONE, &pace, &meter).await.unwrap();
        }
        let ms = slept.load(SeqCst);
        assert!((9_900..=13_000).contains(&ms), "2,520 at once, 2,800 more in 10 s: {ms} ms");
        let before = slept.load(SeqCst);
        limits.enter(tenant(2), (100, Priority::Normal), &pace, &meter).await.unwrap();
        assert_eq!(slept.load(SeqCst), before, "another tenant has its own budget");
    }

    #[tokio::test]
    async fn a_large_tenant_may_be_asked_more_once_it_was_counted() {
        let (pace, slept) = pace();
        let (limits, meter) = (Limits::new(pace.now()), Meter::new());
        limits.counted(tenant(1), true, 200, pace.now());
        for _ in 0..10 {
            limits.counted(tenant(1), false, 200, pace.now());
        }
        limits.has_users(tenant(2), 499, pace.now());
        let time = async |tenant| {
            let before = slept.load(SeqCst);
            for _ in 0..200 {
                limits.enter(tenant, (100, Priority::Normal), &pace, &meter).await.unwrap();
            }
            slept.load(SeqCst) - before
        };
        let (large, medium, small) =
            (time(tenant(1)).await, time(tenant(2)).await, time(tenant(3)).await);
        assert!(large < 28_000 && (36_000..46_000).contains(&medium) && small > 56_000);
    }

    #[tokio::test]
    async fn who_waits_for_an_answer_passes_the_sweeps() {
        let (pace, slept) = pace();
        let (limits, meter) = (Limits::new(pace.now()), Meter::new());
        for _ in 0..1_960 {
            limits.enter(tenant(1), (1, Priority::Low), &pace, &meter).await.unwrap();
        }
        assert_eq!(slept.load(SeqCst), 0, "seven tenths of 2,800 are there for sweeps");
        limits.enter(tenant(1), (10, Priority::Low), &pace, &meter).await.unwrap();
        let waited = slept.load(SeqCst);
        assert!(waited > 0, "the rest is not");
        limits.enter(tenant(1), (500, Priority::Normal), &pace, &meter).await.unwrap();
        assert_eq!(slept.load(SeqCst), waited);
        limits.enter(tenant(1), (200, Priority::High), &pace, &meter).await.unwrap();
        assert_eq!(slept.load(SeqCst), waited, "the last tenth is for people");
    }

    #[tokio::test]
    async fn an_app_wide_429_stops_every_tenant_and_a_tenants_only_itself() {
        let (pace, slept) = pace();
        let (limits, meter) = (Limits::new(pace.now()), Meter::new());
        limits.shut(Scope::Tenant, tenant(1), Duration::from_secs(7), pace.now());
        limits.enter(tenant(2), ONE, &pace, &meter).await.unwrap();
        assert_eq!(slept.load(SeqCst), 0);
        limits.shut(Scope::App, tenant(1), Duration::from_secs(20), pace.now());
        limits.enter(tenant(2), ONE, &pace, &meter).await.unwrap();
        assert_eq!((slept.load(SeqCst), meter.throttled()), (20_000, Duration::from_secs(20)));
        limits.shut(Scope::App, tenant(1), Duration::from_hours(1), pace.now());
        let error = limits.enter(tenant(2), ONE, &pace, &meter).await.unwrap_err();
        assert_eq!(error.asked_wait(), Some(Duration::from_hours(1)));
    }

    /// Notes who left when, and never lets anybody leave twice.
    #[derive(Default)]
    struct Seat(Mutex<Vec<&'static str>>);

    impl Room for Seat {
        fn leave(&self) -> bool {
            self.0.lock().unwrap().push("left");
            true
        }

        fn come_back(&self) -> BoxFuture<'_, ()> {
            Box::pin(async { self.0.lock().unwrap().push("back") })
        }
    }

    #[tokio::test]
    async fn who_waits_long_gives_his_room_to_others_meanwhile() {
        let (pace, _) = pace();
        let seat = Arc::new(Seat::default());
        let room = Arc::clone(&seat);
        let (limits, meter) = (Limits::new(pace.now()), Meter::new().in_room(room));
        limits.shut(Scope::Tenant, tenant(1), Duration::from_secs(4), pace.now());
        limits.enter(tenant(1), ONE, &pace, &meter).await.unwrap();
        assert!(seat.0.lock().unwrap().is_empty(), "a moment is not worth it");
        limits.shut(Scope::Tenant, tenant(1), Duration::from_mins(5), pace.now());
        limits.enter(tenant(1), ONE, &pace, &meter).await.unwrap();
        let mut tries = pace.tries(&meter);
        tries.again(throttled(Some(Duration::from_secs(30)))).await.unwrap();
        assert_eq!(*seat.0.lock().unwrap(), ["left", "back", "left", "back"]);
    }

    #[test]
    fn the_scope_is_read_from_its_first_part() {
        let check = |text, scope| assert_eq!(Scope::from_header(text), scope, "{text:?}");
        check(Some("Application/ReadWrite/app"), Scope::App);
        check(Some("Tenant_Application/Read/app/tenant"), Scope::Tenant);
        check(Some("Tenant/Read/app/tenant"), Scope::Tenant);
        check(Some(""), Scope::Tenant);
        check(None, Scope::Tenant);
    }
}
