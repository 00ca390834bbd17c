//! Who waits to be looked up, who was lately, and what may be spent on it. Pure: time is an
//! argument.
//!
//! Everything in here is bounded: those who wait by [`WAITING_MAX`], those who are remembered by
//! [`REMEMBERED_MAX`]; whoever is forgotten is at worst looked up once more.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use quick_cache::unsync::Cache;

use crate::domain::{TenantId, UserId, has_passed};

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
    /// When a notification told of him that brought him here.
    told: Option<Timestamp>,
    /// When one told of him while the look-up was under way: once more, then.
    again: Option<Timestamp>,
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
        let old = |it: &Remembered| has_passed(FORGET_AFTER, it.at, now);
        let known = known.filter(|it| it.pending || !old(it));
        if let Some(it) = known {
            if it.pending {
                return Wish::Joined(it.ask_again_s());
            }
            // Whoever was looked up because he was told of was not refused yet.
            let left = it.next_at().duration_since(now).as_secs();
            if it.times > 0
                && let Ok(left @ 1..) = u64::try_from(left)
            {
                return Wish::Lately(left.div_ceil(ASK_AGAIN_STEP_S) * ASK_AGAIN_STEP_S);
            }
        }
        let times = known.map_or(0, |it| it.times).saturating_add(1);
        let remembered = Remembered { times, at: now, pending: true, told: None, again: None };
        match self.enqueue(tenant, user, remembered, now) {
            Ok(()) => Wish::Queued(remembered.ask_again_s()),
            Err(wish) => wish,
        }
    }

    /// A notification told of a user, at `at`: he is looked up though he was lately, for now there is
    /// news. Whether he will be; if not, a run has to find it.
    pub(super) fn told(
        &mut self,
        tenant: TenantId,
        user: UserId,
        at: Timestamp,
        now: Timestamp,
    ) -> bool {
        if let Some(mut it) = self.remembered.get_mut(&(tenant, user))
            && it.pending
        {
            let waits = self.lanes.get(&tenant).is_some_and(|it| it.waiting.contains(&user));
            // One that is under way may have been asked before it happened.
            let told = if waits { &mut it.told } else { &mut it.again };
            told.get_or_insert(at);
            return true;
        }
        // As often refused as before: nobody asked.
        let times = self.remembered.get(&(tenant, user)).map_or(0, |it| it.times);
        let it = Remembered { times, at: now, pending: true, told: Some(at), again: None };
        self.enqueue(tenant, user, it, now).is_ok()
    }

    /// When a notification told of whoever is being looked up; `None` if he was refused.
    pub(super) fn told_at(&self, tenant: TenantId, user: UserId) -> Option<Timestamp> {
        self.remembered.peek(&(tenant, user)).and_then(|it| it.told)
    }

    fn enqueue(
        &mut self,
        tenant: TenantId,
        user: UserId,
        remembered: Remembered,
        now: Timestamp,
    ) -> Result<(), Wish> {
        if self.waiting >= WAITING_MAX {
            return Err(Wish::Overflow);
        }
        self.tidy(now);
        let lane = self.lanes.entry(tenant).or_insert_with(|| Lane {
            waiting: VecDeque::new(),
            busy: false,
            bucket: Bucket::full(TENANT, now),
            rests_until: None,
        });
        if lane.rests(now) {
            return Err(Wish::Rests);
        }
        if lane.waiting.is_empty() && !lane.busy {
            self.ready.push_back(tenant);
        }
        lane.waiting.push_back(user);
        self.waiting += 1;
        self.remembered.insert((tenant, user), remembered);
        Ok(())
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
        let again: Vec<_> =
            users.iter().filter_map(|it| Some((*it, self.settled(tenant, *it, now)?))).collect();
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
        for (user, at) in again {
            // A tenant that rests is read by a run when it no longer does.
            self.told(tenant, user, at, now);
        }
    }

    /// When he was told of meanwhile.
    fn settled(&mut self, tenant: TenantId, user: UserId, now: Timestamp) -> Option<Timestamp> {
        let mut it = self.remembered.get_mut(&(tenant, user))?;
        (it.pending, it.at, it.told) = (false, now, None);
        it.again.take()
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
mod tests;
