//! Who waits to be looked up, who was lately, and what may be spent on it. Pure: time is an
//! argument.
//!
//! Everything in here is bounded: those who wait by [`WAITING_MAX`], those who are remembered by
//! [`REMEMBERED_MAX`]; whoever is forgotten is at worst looked up once more.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use quick_cache::unsync::Cache;

use crate::domain::{TenantId, UserId};

/// Users who may wait at once, over all tenants.
pub(super) const WAITING_MAX: usize = 10_000;
/// Users who are remembered as looked up.
const REMEMBERED_MAX: usize = 100_000;
/// Users in one request.
///
/// Source: graph-licensing.md section 7.
pub(super) const BATCH_MAX: usize = 20;
/// Lanes that are kept before those that nobody needs are cleared away.
const LANES_MAX: usize = 1_024;

/// How long after a look-up the same user is looked up again, as long as nothing changes for him:
/// five requests in the first hour, two in every hour after.
const APART: [SignedDuration; 4] = [
    SignedDuration::from_secs(60),
    SignedDuration::from_mins(5),
    SignedDuration::from_mins(15),
    SignedDuration::from_mins(30),
];
/// Whoever asked nothing for so long begins afresh.
const FORGET_AFTER: SignedDuration = SignedDuration::from_hours(6);

/// Seconds after which it pays to ask again, by how often he was looked up in vain.
const ASK_AGAIN_S: [u64; 4] = [5, 10, 20, 40];
/// Coarse on purpose: an answer that says the same as the last need not be signed anew.
const ASK_AGAIN_STEP_S: u64 = 30;

/// How many users of one tenant are looked up at once and then in a second: a tenth of the
/// smallest tenants' quota.
///
/// Source: graph-licensing.md section 8: 3,500 resource units in 10 s, one for each user.
const TENANT: Rate = Rate { burst: 350.0, per_s: 35.0 };
/// The same for all tenants together: a tenth of the app's quota.
///
/// Source: graph-licensing.md section 8: 150,000 in 20 s.
const APP: Rate = Rate { burst: 15_000.0, per_s: 750.0 };

#[derive(Clone, Copy)]
struct Rate {
    burst: f64,
    per_s: f64,
}

/// What may be spent: filled by time, emptied by users.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    level: f64,
    at: Timestamp,
}

impl Bucket {
    fn full(rate: Rate, now: Timestamp) -> Self {
        Self { level: rate.burst, at: now }
    }

    fn fill(&mut self, rate: Rate, now: Timestamp) {
        let elapsed = now.duration_since(self.at).as_secs_f64().max(0.0);
        self.level = (self.level + elapsed * rate.per_s).min(rate.burst);
        self.at = now;
    }

    /// Whole users that it pays for.
    fn users(&self) -> usize {
        (0..BATCH_MAX)
            .take_while(|it| f64::from(u32::try_from(*it).unwrap_or(0)) < self.level.floor())
            .count()
    }

    fn spend(&mut self, users: usize) {
        self.level -= f64::from(u32::try_from(users).unwrap_or(u32::MAX));
    }

    /// How long until it pays for one.
    fn wait(&self, rate: Rate) -> Duration {
        let left = (1.0 - self.level).max(0.0) / rate.per_s;
        Duration::try_from_secs_f64(left).unwrap_or_default()
    }
}

/// One user, as remembered.
#[derive(Clone, Copy, Debug)]
struct Remembered {
    /// How often he was looked up, nothing changing for him.
    times: u8,
    at: Timestamp,
    /// He waits, or the look-up is under way.
    pending: bool,
}

impl Remembered {
    fn next_at(&self) -> Timestamp {
        let apart = step(&APART, self.times);
        self.at.saturating_add(apart).unwrap_or(Timestamp::MAX)
    }

    fn ask_again_s(&self) -> u64 {
        step(&ASK_AGAIN_S, self.times)
    }
}

/// What holds after so many times; the last for all after it.
fn step<T: Copy + Default>(steps: &[T], times: u8) -> T {
    let at = usize::from(times.saturating_sub(1));
    steps.get(at).or(steps.last()).copied().unwrap_or_default()
}

/// One tenant.
#[derive(Debug)]
struct Lane {
    waiting: VecDeque<UserId>,
    busy: bool,
    bucket: Bucket,
    rests_until: Option<Timestamp>,
}

impl Lane {
    fn rests(&self, now: Timestamp) -> bool {
        self.rests_until.is_some_and(|it| it > now)
    }
}

/// What came of a wish. With it, seconds after which it pays to ask again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// He waits now.
    Queued(u64),
    /// He waits already, or is being looked up.
    Joined(u64),
    /// He was looked up lately.
    Lately(u64),
    /// The tenant does not let us look, or throttles us.
    Rests,
    /// Too many wait.
    Overflow,
}

impl Wish {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Queued(_) => "queued",
            Self::Joined(_) => "joined",
            Self::Lately(_) => "lately",
            Self::Rests => "rests",
            Self::Overflow => "overflow",
        }
    }

    pub(super) fn ask_again_s(self) -> Option<u64> {
        match self {
            Self::Queued(s) | Self::Joined(s) | Self::Lately(s) => Some(s),
            Self::Rests | Self::Overflow => None,
        }
    }
}

/// What is to be done next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Look these up, and say when it is [`Queue::done`].
    Batch(TenantId, Vec<UserId>),
    /// Nothing before so much time has passed.
    Wait(Duration),
    /// Nothing before somebody is wanted or done.
    Idle,
}

/// How a batch ended.
#[derive(Debug)]
pub(super) enum End {
    /// Read; for these something changed.
    Read { changed: Vec<UserId> },
    /// Not read: the tenant rests this long, and whoever waits is let go.
    Rests(SignedDuration),
}

/// See the module.
pub(super) struct Queue {
    lanes: HashMap<TenantId, Lane>,
    /// Tenants of whom somebody waits and nobody is being looked up, in turn.
    ready: VecDeque<TenantId>,
    waiting: usize,
    app: Option<Bucket>,
    remembered: Cache<(TenantId, UserId), Remembered>,
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            lanes: HashMap::new(),
            ready: VecDeque::new(),
            waiting: 0,
            app: None,
            remembered: Cache::new(REMEMBERED_MAX),
        }
    }
}

impl Queue {
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Takes a wish in.
    pub(super) fn want(&mut self, tenant: TenantId, user: UserId, now: Timestamp) -> Wish {
        let known = self.remembered.get(&(tenant, user)).copied();
        // The clock may have been set back: what lies ahead counts as long ago.
        let old = |it: &Remembered| it.at > now || now.duration_since(it.at) >= FORGET_AFTER;
        let known = known.filter(|it| it.pending || !old(it));
        if let Some(it) = known {
            if it.pending {
                return Wish::Joined(it.ask_again_s());
            }
            let left = it.next_at().duration_since(now).as_secs();
            if let Ok(left @ 1..) = u64::try_from(left) {
                return Wish::Lately(left.div_ceil(ASK_AGAIN_STEP_S) * ASK_AGAIN_STEP_S);
            }
        }
        if self.waiting >= WAITING_MAX {
            return Wish::Overflow;
        }
        self.tidy(now);
        let lane = self.lanes.entry(tenant).or_insert_with(|| Lane {
            waiting: VecDeque::new(),
            busy: false,
            bucket: Bucket::full(TENANT, now),
            rests_until: None,
        });
        if lane.rests(now) {
            return Wish::Rests;
        }
        if lane.waiting.is_empty() && !lane.busy {
            self.ready.push_back(tenant);
        }
        lane.waiting.push_back(user);
        self.waiting += 1;
        let times = known.map_or(0, |it| it.times).saturating_add(1);
        let remembered = Remembered { times, at: now, pending: true };
        self.remembered.insert((tenant, user), remembered);
        Wish::Queued(remembered.ask_again_s())
    }

    /// The next batch, each tenant in turn.
    pub(super) fn next(&mut self, now: Timestamp) -> Next {
        let app = self.app.get_or_insert_with(|| Bucket::full(APP, now));
        app.fill(APP, now);
        let mut wait: Option<Duration> = None;
        for _ in 0..self.ready.len() {
            let affordable = app.users();
            if affordable == 0 {
                return Next::Wait(app.wait(APP));
            }
            let Some(tenant) = self.ready.pop_front() else { break };
            let Some(lane) = self.lanes.get_mut(&tenant) else { continue };
            lane.bucket.fill(TENANT, now);
            let users = lane.bucket.users().min(affordable).min(lane.waiting.len());
            if users == 0 {
                let own = lane.bucket.wait(TENANT);
                wait = Some(wait.map_or(own, |it| it.min(own)));
                self.ready.push_back(tenant);
                continue;
            }
            lane.bucket.spend(users);
            app.spend(users);
            lane.busy = true;
            self.waiting -= users;
            return Next::Batch(tenant, lane.waiting.drain(..users).collect());
        }
        wait.map_or(Next::Idle, Next::Wait)
    }

    /// A batch has ended.
    pub(super) fn done(&mut self, tenant: TenantId, users: &[UserId], end: &End, now: Timestamp) {
        for user in users {
            self.settled(tenant, *user, now);
        }
        let Some(lane) = self.lanes.get_mut(&tenant) else { return };
        lane.busy = false;
        match end {
            End::Read { changed } => {
                for user in changed {
                    self.remembered.remove(&(tenant, *user));
                }
            }
            End::Rests(rest) => {
                lane.rests_until = now.saturating_add(*rest).ok();
                let left: Vec<_> = lane.waiting.drain(..).collect();
                self.waiting -= left.len();
                for user in left {
                    self.remembered.remove(&(tenant, user));
                }
            }
        }
        if self.lanes.get(&tenant).is_some_and(|it| !it.waiting.is_empty()) {
            self.ready.push_back(tenant);
        }
    }

    fn settled(&mut self, tenant: TenantId, user: UserId, now: Timestamp) {
        if let Some(mut it) = self.remembered.get_mut(&(tenant, user)) {
            it.pending = false;
            it.at = now;
        }
    }

    /// Clears lanes away that say nothing any more.
    fn tidy(&mut self, now: Timestamp) {
        if self.lanes.len() < LANES_MAX {
            return;
        }
        self.lanes.retain(|_, lane| {
            lane.bucket.fill(TENANT, now);
            let full = lane.bucket.level >= TENANT.burst;
            lane.busy || !lane.waiting.is_empty() || lane.rests(now) || !full
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use uuid::Uuid;

    fn tenant(n: u128) -> TenantId {
        TenantId::from_uuid(Uuid::from_u128(n)).unwrap()
    }

    fn user(n: usize) -> UserId {
        UserId::from_uuid(Uuid::from_u128(u128::try_from(n).unwrap()))
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_795_000_000 + seconds).unwrap()
    }

    fn read() -> End {
        End::Read { changed: Vec::new() }
    }

    #[test]
    fn a_thousand_refusals_of_one_user_are_one_look_up() {
        let mut queue = Queue::default();
        assert_eq!(queue.want(tenant(1), user(1), at(0)), Wish::Queued(5));
        for _ in 0..999 {
            assert_eq!(queue.want(tenant(1), user(1), at(0)), Wish::Joined(5));
        }
        assert_eq!(queue.next(at(0)), Next::Batch(tenant(1), vec![user(1)]));
        assert_eq!(queue.want(tenant(1), user(1), at(1)), Wish::Joined(5), "while under way");
        assert_eq!(queue.next(at(1)), Next::Idle);
        queue.done(tenant(1), &[user(1)], &read(), at(1));
        assert_eq!((queue.next(at(1)), queue.waiting()), (Next::Idle, 0));
        assert_eq!(queue.want(tenant(1), user(1), at(2)), Wish::Lately(60));
        assert_eq!(queue.want(tenant(1), user(1), at(60)), Wish::Lately(30));
        assert_eq!(queue.want(tenant(1), user(1), at(61)), Wish::Queued(10));
    }

    #[test]
    fn who_asks_every_second_costs_five_requests_in_an_hour_and_two_in_each_after() {
        let mut queue = Queue::default();
        let mut looked = Vec::new();
        for second in 0..4 * 3_600 {
            queue.want(tenant(1), user(1), at(second));
            if let Next::Batch(tenant, users) = queue.next(at(second)) {
                looked.push(second);
                queue.done(tenant, &users, &read(), at(second));
            }
        }
        assert_eq!(looked[..5], [0, 60, 360, 1_260, 3_060]);
        let in_hour = |hour: i64| looked.iter().filter(|it| **it / 3_600 == hour).count();
        assert_eq!([in_hour(0), in_hour(1), in_hour(2), in_hour(3)], [5, 2, 2, 2]);
    }

    #[test]
    fn who_got_what_he_wanted_or_was_quiet_begins_afresh() {
        let mut queue = Queue::default();
        let mut once = |second, end: End| {
            let wish = queue.want(tenant(1), user(1), at(second));
            if let Next::Batch(tenant, users) = queue.next(at(second)) {
                queue.done(tenant, &users, &end, at(second));
            }
            wish
        };
        once(0, read());
        assert_eq!(once(100, End::Read { changed: vec![user(1)] }), Wish::Queued(10));
        assert_eq!(once(101, read()), Wish::Queued(5), "something changed for him");
        assert_eq!(once(102, read()), Wish::Lately(60));
        assert_eq!(once(102 + 6 * 3_600, read()), Wish::Queued(5), "long ago");
        assert_eq!(once(-9_000, read()), Wish::Queued(5), "the clock was set back");
    }

    #[test]
    fn more_than_ten_thousand_do_not_wait_and_nobody_is_blocked() {
        let mut queue = Queue::default();
        for it in 0..WAITING_MAX {
            assert_eq!(queue.want(tenant(1), user(it), at(0)).word(), "queued");
        }
        assert_eq!(queue.want(tenant(2), user(0), at(0)), Wish::Overflow);
        assert_eq!(queue.want(tenant(1), user(7), at(0)).word(), "joined");
        let Next::Batch(_, users) = queue.next(at(0)) else { panic!() };
        assert_eq!(users.len(), BATCH_MAX);
        assert_eq!(queue.want(tenant(2), user(0), at(0)).word(), "queued");
    }

    #[test]
    fn a_crowd_in_one_tenant_holds_up_no_other_and_stays_within_its_budget() {
        let mut queue = Queue::default();
        for it in 0..5_000 {
            queue.want(tenant(1), user(it), at(0));
        }
        queue.want(tenant(2), user(1), at(0));
        let Next::Batch(first, users) = queue.next(at(0)) else { panic!() };
        assert_eq!(queue.next(at(0)), Next::Batch(tenant(2), vec![user(1)]));
        assert_eq!(queue.next(at(0)), Next::Idle, "one batch of a tenant at a time");
        queue.done(first, &users, &read(), at(0));
        let mut looked = users.len();
        let mut step = |second, queue: &mut Queue| {
            while let Next::Batch(tenant, users) = queue.next(at(second)) {
                looked += users.len();
                queue.done(tenant, &users, &read(), at(second));
            }
            looked
        };
        assert_eq!(step(0, &mut queue), 350, "the burst");
        assert!(matches!(queue.next(at(0)), Next::Wait(wait) if wait < Duration::from_millis(30)));
        assert_eq!(step(10, &mut queue), 700, "and 35 in a second");
    }

    #[test]
    fn a_tenant_that_refuses_rests_and_nobody_of_it_waits_meanwhile() {
        let mut queue = Queue::default();
        for it in 0..50 {
            queue.want(tenant(1), user(it), at(0));
        }
        let Next::Batch(tenant, users) = queue.next(at(0)) else { panic!() };
        queue.done(tenant, &users, &End::Rests(SignedDuration::from_hours(1)), at(0));
        assert_eq!((queue.waiting(), queue.next(at(1))), (0, Next::Idle));
        assert_eq!(queue.want(tenant, user(40), at(3_599)), Wish::Rests);
        assert_eq!(queue.want(tenant, user(40), at(3_600)), Wish::Queued(5));
    }

    proptest! {
        #[test]
        fn every_wish_is_served_once_and_what_waits_is_counted(
            wishes in prop::collection::vec((0_u128..6, 0_usize..60, 0_i64..3), 1..300),
        ) {
            let mut queue = Queue::default();
            let (mut now, mut queued, mut served) = (0, 0, 0);
            let mut under_way = VecDeque::new();
            for (at_tenant, at_user, step) in wishes {
                now += step;
                let wish = queue.want(tenant(at_tenant + 1), user(at_user), at(now));
                queued += usize::from(matches!(wish, Wish::Queued(_)));
                if step == 1 && let Next::Batch(tenant, users) = queue.next(at(now)) {
                    prop_assert!(under_way.iter().all(|(it, _)| *it != tenant));
                    served += users.len();
                    under_way.push_back((tenant, users));
                }
                if step == 2 && let Some((tenant, users)) = under_way.pop_front() {
                    queue.done(tenant, &users, &read(), at(now));
                }
                prop_assert_eq!(queue.waiting(), queued - served);
            }
            for (tenant, users) in under_way {
                queue.done(tenant, &users, &read(), at(now));
            }
            loop {
                match queue.next(at(now)) {
                    Next::Batch(tenant, users) => {
                        served += users.len();
                        queue.done(tenant, &users, &read(), at(now));
                    }
                    Next::Wait(_) => now += 1,
                    Next::Idle => break,
                }
            }
            prop_assert_eq!((queued, queue.waiting()), (served, 0));
        }
    }
}
