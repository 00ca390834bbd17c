//! The law of metering: what was acknowledged is billed, once and to the last digit, whatever fails
//! and whenever the daemon is stopped.

use std::collections::BTreeMap;

use super::*;

/// Chance that is the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

type Key = (Uuid, String, i64);

/// What callers were told is counted, in millionths.
#[derive(Default)]
struct Acknowledged {
    sums: BTreeMap<Key, u64>,
    refused: usize,
}

impl Acknowledged {
    fn take(&mut self, (status, answer): (u16, Value), key: Key, millionths: u64) {
        match status {
            202 => *self.sums.entry(key).or_default() += millionths,
            409 => self.refused += 1,
            status => panic!("{status} {answer}"),
        }
    }
}

async fn report(world: &World, dice: &mut Dice, said: &mut Acknowledged, ids: &[Uuid]) {
    let id = ids[usize::try_from(dice.below(3)).unwrap()];
    let dimension = story::METERS[usize::try_from(dice.below(2)).unwrap()];
    let at = world.now() - SignedDuration::from_mins(i64::try_from(dice.below(150)).unwrap());
    let millionths = 1 + dice.below(5_000_000);
    let text = format!("{}.{:06}", millionths / 1_000_000, millionths % 1_000_000);
    let quantity: Value = serde_json::from_str(&text).unwrap();
    let body = json!({ "subscription": id, "dimension": dimension, "quantity": quantity,
        "at": at.to_string() });
    let idempotency_key = format!("k{}", dice.below(u64::MAX));
    let first = send(world, &body, Some(&idempotency_key)).await;
    if dice.below(3) == 0 {
        let again = send(world, &body, Some(&idempotency_key)).await;
        assert_eq!(first, again);
    }
    said.take(first, (id, dimension.to_owned(), hour_of(at).as_second()), millionths);
}

fn some_faults(dice: &mut Dice) -> Faults {
    let all = [
        Fault::Marketplace429,
        Fault::Marketplace500,
        Fault::Marketplace503Html,
        Fault::Marketplace500After,
        Fault::MarketplaceTruncated,
        Fault::UsagePartial,
        Fault::UsageBatch400,
        Fault::Token503,
    ];
    let seed = dice.below(u64::MAX);
    let chance = [0.3, 0.6, 1.0][usize::try_from(dice.below(3)).unwrap()];
    let one = all[usize::try_from(dice.below(8)).unwrap()];
    let other = all[usize::try_from(dice.below(8)).unwrap()];
    format!("seed={seed}").parse::<Faults>().unwrap().with(one, chance).with(other, chance / 2.0)
}

async fn play(seed: u64) -> (usize, usize) {
    let mut world = world().await;
    let ids = [story::PROSEWARE, story::GRAPHIC, story::COHO].map(|it| subscription(&world, it));
    let (mut dice, mut said) = (Dice(seed), Acknowledged::default());
    for _ in 0..45 {
        match dice.below(10) {
            0..5 => report(&world, &mut dice, &mut said, &ids).await,
            5 => {
                world
                    .advance(SignedDuration::from_mins(1 + i64::try_from(dice.below(25)).unwrap()));
            }
            6 => world.microsoft(|it| it.set_faults(some_faults(&mut dice))),
            7 => world.microsoft(|it| it.set_faults(Faults::default())),
            8 => {
                // Stopped in the middle of a pass, at some moment of it.
                let usage = world.daemon.usage.clone();
                let mut tasks = tokio::task::JoinSet::new();
                tasks.spawn(async move { drop(usage.pass().await) });
                for _ in 0..dice.below(40) {
                    tokio::task::yield_now().await;
                }
                tasks.shutdown().await;
                world.restart().await;
            }
            _ => pass(&world).await,
        }
    }
    world.microsoft(|it| it.set_faults(Faults::default()));
    while world.daemon.store.has_usage_on_the_way() {
        world.advance(SignedDuration::from_mins(6));
        pass(&world).await;
    }
    let told: BTreeMap<Key, u64> = accepted(&world)
        .into_iter()
        .map(|it| {
            let quantity: entitled::domain::Quantity = it.quantity.parse().unwrap();
            ((it.subscription, it.dimension, it.hour_s), quantity.millionths())
        })
        .collect();
    assert_eq!(told, said.sums, "seed {seed}");
    assert!(states(&world).iter().all(|it| ["sent", "duplicate"].contains(it)), "seed {seed}");
    assert_eq!(world.daemon.store.usage_figures().differing, 0, "seed {seed}");
    (told.len(), said.refused)
}

#[tokio::test]
async fn what_is_acknowledged_is_billed_once_to_the_last_digit_whatever_fails() {
    let (mut told, mut refused) = (0, 0);
    for seed in 0..2 {
        let (more, late) = play(seed).await;
        told += more;
        refused += late;
    }
    assert!(told > 15, "only {told} events: the law was hardly tried");
    assert!(refused > 0, "nobody came late: the law was hardly tried");
}
