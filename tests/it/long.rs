//! Long histories of a tenant over HTTP: all that may happen in it, with everything that Graph may
//! do wrong, through restarts and set clocks. Checked after every run: what a failed read must not
//! touch, and what must not be lost while Microsoft shows it; in the end that the mirror is what
//! Microsoft has.
//!
//! Six are played in the suite. `ENTITLED_LONG=1000` plays as many, `ENTITLED_LONG_SEED=<seed>` one
//! again and tells its steps.

use std::collections::BTreeSet;
use std::time::Duration;

use entitled::domain::{Outcome, Run, TenantId};
use entitled::sandbox::{Fault, Faults, NewUser, Options, SkuUnits, World as Microsoft, story};
use entitled::sync::RunRequest;
use jiff::SignedDuration;
use uuid::Uuid;

use crate::sync::{Compared, seats};
use crate::world::World;

const TENANT: Uuid = story::CONTOSO.tenant;
const STEPS: usize = 60;
const SKUS: [Uuid; 2] = [story::SYNOPTIC_SKU, story::E5_SKU];
const GROUPS: [Uuid; 2] = [story::BI_USERS, story::FINANCE];
/// Between a change of a group and its effect on users.
const LAGS: [Duration; 3] = [Duration::ZERO, Duration::from_secs(30), Duration::from_hours(2)];

/// Everything of section 16 of the reference that goes wrong by chance with users, SKUs and groups;
/// beside it come lag and small pages. Usage rights are only read of those who ask, whenever that
/// look-up comes: `tests/it/rights.rs` plays what may go wrong with them.
const FAULTS: [Fault; 15] = [
    Fault::Graph429,
    Fault::Graph429WithoutRetryAfter,
    Fault::Graph500,
    Fault::Graph503,
    Fault::Graph503Html,
    Fault::GraphTruncated,
    Fault::GraphEmptyPage,
    Fault::GraphDuplicates,
    Fault::GraphExpiredPage,
    Fault::Batch429,
    Fault::Batch503,
    Fault::User404,
    Fault::Delta410,
    Fault::DeltaSyncStateNotFound,
    Fault::Token503,
];

/// `SplitMix64`: the same seed, the same history.
struct Chance(u64);

impl Chance {
    fn below(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut it = self.0;
        it = (it ^ (it >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        it = (it ^ (it >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((it ^ (it >> 31)) % below.max(1) as u64).unwrap()
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
}

struct History {
    world: World,
    chance: Chance,
    tells: bool,
    /// Outcomes, to see that a seed plays the same again.
    trace: Vec<(usize, Outcome, u64)>,
}

impl History {
    async fn new(seed: u64, tells: bool) -> Self {
        let world = World::with(Options { seed, ..Options::default() }, "").await;
        // The first reads of all tenants go side by side; only then do seeds decide.
        world.sync().await;
        Self { world, chance: Chance(seed), tells, trace: Vec::new() }
    }

    fn say(&self, what: impl FnOnce() -> String) {
        if self.tells {
            eprintln!("{}", what());
        }
    }

    async fn play(&mut self) -> Result<(), String> {
        for step in 0..STEPS {
            match self.chance.below(12) {
                0..7 => self.happens(step),
                7 => self.clock(step),
                8 if self.chance.below(4) == 0 => self.restart(step).await,
                _ => self.run(step).await?,
            }
        }
        self.quiet().await
    }

    /// Something happens in the tenant. What Microsoft refuses is a step that does nothing.
    fn happens(&mut self, step: usize) {
        let chance = &mut self.chance;
        let people = self.world.microsoft(|it| it.users(TENANT));
        let (what, sku, group) = (chance.below(18), chance.of(&SKUS), chance.of(&GROUPS));
        let user = if people.is_empty() { Uuid::nil() } else { chance.of(&people) };
        let gone = chance.of(&[story::ANA, story::BEN, story::CLEO, story::DAN, story::EVA]).user;
        let units = SkuUnits { enabled: [2, 40][chance.below(2)], ..SkuUnits::default() };
        let status = chance.of(&["Enabled", "Warning", "Suspended", "LockedOut"]);
        let state = chance.of(&[("Error", "CountViolation"), ("Active", "None")]);
        let roles = [None, Some(Vec::new()), Some(story::ROLES.map(str::to_owned).to_vec())];
        let roles = roles[chance.below(3)].clone();
        // Now and then without the service plan that is ours.
        let off: &[Uuid] = if chance.below(4) == 0 { &[story::SYNOPTIC_PLAN] } else { &[] };
        let done = self.world.microsoft(|it: &mut Microsoft| match what {
            0..3 => it.assign(TENANT, user, sku, off),
            3 | 4 => it.unassign(TENANT, user, sku),
            5 | 6 => it.add_member(TENANT, group, user),
            7 => it.remove_member(TENANT, group, user),
            8 => it.group_license(TENANT, group, sku, Some(off)),
            9 => it.group_license(TENANT, group, sku, None),
            10 => it.set_path(TENANT, user, sku, Some(group), state),
            11 => it.delete_user(TENANT, user),
            12 => it.restore_user(TENANT, gone),
            13 => it.add_user(TENANT, NewUser::default()).map(drop),
            14 => it.sku_status(TENANT, story::SYNOPTIC_SKU, status),
            15 => it.sku_units(TENANT, sku, units),
            16 => it.consent(TENANT, roles.clone()),
            _ => it.purge_user(TENANT, user),
        });
        self.say(|| format!("{step}: {what} {user} {sku} {group} {status} {state:?}: {done:?}"));
    }

    fn clock(&mut self, step: usize) {
        let hours = self.chance.of(&[-2, 1, 6, 25, 49, 24 * 8]);
        self.world.advance(SignedDuration::from_hours(hours));
        self.say(|| format!("{step}: the clock goes by {hours} h"));
    }

    async fn restart(&mut self, step: usize) {
        self.world.microsoft(|it| it.set_faults(Faults::default()));
        self.world.restart().await;
        self.world.sync().await;
        self.say(|| format!("{step}: restarted"));
    }

    async fn run(&mut self, step: usize) -> Result<(), String> {
        let mut faults = Faults::default();
        (faults.seed, faults.page, faults.budget) = (self.chance.0, 4, 0.0);
        faults.lag = self.chance.of(&LAGS);
        if self.chance.below(4) > 0 {
            for fault in FAULTS {
                faults = faults.with(fault, [0.0, 0.04, 0.15][self.chance.below(3)]);
            }
        }
        self.world.microsoft(|it| it.set_faults(faults));
        let full = self.chance.below(5) == 0;
        let (before, shown) = seats(&self.world, TENANT);
        let run = self.read(full).await;
        let (after, still) = seats(&self.world, TENANT);
        self.say(|| format!("{step}: {:?} {} seen {:?}", run.outcome, run.seen, run.error));
        self.trace.push((step, run.outcome, run.seen));
        if run.outcome == Outcome::Failed && before != after {
            return Err(format!("step {step}: a failed read changes what users hold: {run:?}"));
        }
        let held = |it: &Compared| -> BTreeSet<(String, String)> {
            it.iter().filter(|it| it.2).map(|it| (it.0.clone(), it.1.clone())).collect()
        };
        let (before, after) = (held(&before), held(&after));
        let (shown, still) = (held(&shown), held(&still));
        let lost: Vec<_> = before.difference(&after).filter(|it| shown.contains(*it)).collect();
        let lost: Vec<_> = lost.into_iter().filter(|it| still.contains(*it)).collect();
        if lost.is_empty() { Ok(()) } else { Err(format!("step {step}: lost {lost:?} by {run:?}")) }
    }

    async fn read(&self, full: bool) -> Run {
        let tenant: TenantId = TENANT.to_string().parse().unwrap();
        let request = RunRequest { tenant: Some(tenant), full, ..RunRequest::default() };
        self.world.sync_by(request).await.remove(0)
    }

    async fn quiet(&mut self) -> Result<(), String> {
        let roles = story::ROLES.map(str::to_owned).to_vec();
        self.world.microsoft(|it| {
            it.set_faults(Faults::default());
            it.consent(TENANT, Some(roles)).unwrap();
        });
        // What a group does to its members has reached them.
        self.world.advance(SignedDuration::from_hours(3));
        // Whatever the brake holds is let go by the next complete read.
        for full in [false, true, true] {
            let run = self.read(full).await;
            if run.outcome == Outcome::Failed {
                return Err(format!("a quiet Microsoft cannot be read: {run:?}"));
            }
        }
        let (mirrored, truth) = seats(&self.world, TENANT);
        let (more, less) = (mirrored.difference(&truth), truth.difference(&mirrored));
        let (more, less): (Vec<_>, Vec<_>) = (more.collect(), less.collect());
        if !(more.is_empty() && less.is_empty()) {
            return Err(format!("the mirror has {more:?} too many and lacks {less:?}"));
        }
        self.answers_are_right().await
    }

    /// The SKU stands as Microsoft says, and whoever holds its plan is let in, and nobody else.
    async fn answers_are_right(&self) -> Result<(), String> {
        let sku = story::SYNOPTIC_SKU;
        let (people, held, state) = self.world.microsoft(|it| {
            let state = it.sku_state(TENANT, sku).map(str::to_owned);
            (it.users(TENANT), it.seats(TENANT), state.unwrap_or_default())
        });
        let id = sku.to_string().parse().unwrap();
        let mirror = self.world.mirror();
        let known = mirror.tenant(TENANT.to_string().parse().unwrap()).unwrap().sku(id).cloned();
        let known = known.map(|it| it.status.as_str().to_owned());
        if known.as_deref() != Some(&*state) {
            return Err(format!("the SKU is {state}, and the mirror says {known:?}"));
        }
        let usable = ["Enabled", "Warning"].contains(&&*state);
        let has = |user: Uuid| {
            let mut of = held.iter().filter(|it| it.user == user && it.sku == sku && it.held);
            of.any(|it| !it.disabled_plans.contains(&story::SYNOPTIC_PLAN))
        };
        // As many who have it as who have not, as far as there are.
        let (yes, no): (Vec<_>, Vec<_>) = people.iter().copied().partition(|it| has(*it));
        for user in yes.into_iter().take(3).chain(no.into_iter().take(3)) {
            let person = story::Person { tenant: TENANT, user, ..story::ANA };
            let answer = self.world.ask(person, "synoptic-panel", "web").await;
            if answer["usable"] != (usable && has(user)) {
                return Err(format!("{user} of a SKU that is {state}: {answer}"));
            }
        }
        Ok(())
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|it| it.parse().unwrap())
}

async fn play(seed: u64, tells: bool) -> Vec<(usize, Outcome, u64)> {
    let mut history = History::new(seed, tells).await;
    if let Err(what) = history.play().await {
        panic!(
            "seed {seed}: {what}\nagain: ENTITLED_LONG_SEED={seed} cargo nextest run -E \
             'test(long::one_seed)' --no-capture"
        );
    }
    history.world.stop_daemon().await;
    history.trace
}

/// As many as the environment says, from this one on; each half is a test, for two processors.
async fn half(first: u64) {
    let all = number("ENTITLED_LONG").unwrap_or(6);
    for seed in (first..all).step_by(2) {
        play(seed, false).await;
    }
}

#[tokio::test]
async fn even_histories_converge() {
    half(0).await;
}

#[tokio::test]
async fn odd_histories_converge() {
    half(1).await;
}

#[tokio::test]
async fn one_seed_plays_the_same_again() {
    let seed = number("ENTITLED_LONG_SEED");
    let first = play(seed.unwrap_or(3), seed.is_some()).await;
    assert!(first.len() > 5, "{first:?}");
    assert_eq!(play(seed.unwrap_or(3), false).await, first);
}
