//! A decision in-process: flat in the size of the tenant, the number of tenants and of groups.

use std::collections::HashMap;
use std::hint::black_box;

use entitled::decision::{Question, answer};
use entitled::domain::{Host, Mirror, Policy, TenantId, UserId};
use jiff::Timestamp;

use crate::support::{self, Numbers, median_ns, row, title, user};

pub fn run() {
    title("A decision in-process (median of 41 batches of 20,000 random users)");
    let now = Timestamp::from_second(1_795_000_000).unwrap();
    let shapes = [
        ("1 tenant of 1,000, direct", 1, 1_000, 0),
        ("1 tenant of 100,000, direct", 1, 100_000, 0),
        ("1 tenant of 1,000,000, direct", 1, 1_000_000, 0),
        ("1 tenant of 1,000,000, one group", 1, 1_000_000, 1),
        ("1 tenant of 1,000,000, 1,000 groups", 1, 1_000_000, 1_000),
        ("10,000 tenants of 100", 10_000, 100, 3),
    ];
    for (what, tenants, users, groups) in shapes {
        let mut mirror = Mirror::default();
        for number in 0..tenants {
            mirror = mirror.applied(&support::commit(number, users, groups, now));
        }
        let decided = decide(&mirror, tenants, users, now);
        let plain = hash_map(tenants, users);
        row(
            what,
            &format!(
                "{decided:>6.0} ns   ({:.1} x a look-up in a HashMap of as many: {plain:.0} ns)",
                decided / plain
            ),
        );
    }
}

fn decide(mirror: &Mirror, tenants: usize, users: usize, now: Timestamp) -> f64 {
    let (product, policy) = (support::product(), Policy::default());
    let mut numbers = Numbers(7);
    let asked = asked(&mut numbers, tenants, users);
    let mut next = 0;
    median_ns(41, 20_000, || {
        let (tenant, user) = asked[next % asked.len()];
        next += 1;
        let question = Question::of_user(&product, Host::Web, tenant, Some(user));
        let decision = answer(mirror, &question, &policy, now);
        assert!(black_box(decision).usable);
    })
}

fn hash_map(tenants: usize, users: usize) -> f64 {
    let mut numbers = Numbers(7);
    let all = (0..tenants).flat_map(|it| {
        (0..users).map(move |user_no| ((support::tenant(it), user(it, user_no)), 1_u64))
    });
    let map: HashMap<(TenantId, UserId), u64> = all.collect();
    let asked = asked(&mut numbers, tenants, users);
    let mut next = 0;
    median_ns(41, 20_000, || {
        next += 1;
        assert!(black_box(map.get(&asked[next % asked.len()])).is_some());
    })
}

fn asked(numbers: &mut Numbers, tenants: usize, users: usize) -> Vec<(TenantId, UserId)> {
    let mut one = || {
        let number = numbers.below(tenants);
        (support::tenant(number), user(number, numbers.below(users)))
    };
    (0..200_000).map(|_| one()).collect()
}
