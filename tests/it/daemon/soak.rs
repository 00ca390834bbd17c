//! Microsoft at its worst for a while, then well again: what is listed is what is true.

use std::collections::BTreeSet;
use std::sync::Arc;

use entitled::sandbox::{Faults, Options, Sandbox, story};
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::harness::run;
use super::promises::{Seats, assert_same, listed, truth};
use crate::world::{START, World};

const FAULTS: &str = "seed=7,graph.429=0.1,graph.503_html=0.05,graph.truncated=0.05,\
    graph.empty_page=0.2,graph.duplicates=0.2,batch.429=0.2,delta.410=0.05,marketplace.500=0.1,\
    token.503=0.05,page=20";

const WORST: &str = "graph.503_html=0.7,marketplace.500=0.7,token.503=0.5,graph.truncated=0.1";

fn options() -> Options {
    let faults = FAULTS.parse().unwrap();
    Options { seed: 11, tenants: 20, users: 50, faults, ..Options::default() }
}

/// The tenants that a sandbox with these options makes up.
async fn tenants() -> Vec<Uuid> {
    let start = Timestamp::from_second(START).unwrap();
    let (sandbox, _never) = Sandbox::bind(options(), Arc::new(move || start)).await.unwrap();
    let mut all = sandbox.with_world(|it| it.tenants());
    all.retain(|it| *it != story::PUBLISHER_TENANT);
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_every_trouble_at_once_the_seats_listed_are_those_at_microsoft() {
    let tenants = tenants().await;
    let known: Vec<_> = story::CUSTOMERS.iter().map(|it| it.tenant).collect();
    let made_up = tenants.iter().filter(|it| !known.contains(it));
    let extra: Vec<_> = made_up.map(|it| format!("[[tenant]]\nid = \"{it}\"\n")).collect();
    let extra = extra.concat();
    let mut world = World::with(options(), &extra).await;
    for tenant in &tenants {
        let roles = Some(story::ROLES.map(str::to_owned).to_vec());
        world.microsoft(|it| it.consent(*tenant, roles)).unwrap();
    }
    let mut failed = 0;
    for round in 0..6_usize {
        for (n, tenant) in tenants.iter().enumerate() {
            world.microsoft(|it| change(it, *tenant, round + n));
        }
        // One round in which even all tries together do not help.
        let spec = if round == 2 { WORST } else { FAULTS };
        world.microsoft(|it| it.set_faults(spec.parse().unwrap()));
        if round == 3 {
            world.restart().await;
        }
        let runs = world.sync().await;
        failed += runs.iter().filter(|it| it.error.is_some()).count();
        world.advance(SignedDuration::from_mins(10));
    }
    assert!(failed > 5 && !world.slept().is_zero(), "too few faults to prove anything: {failed}");

    world.microsoft(|it| it.set_faults(Faults::default()));
    // A delta round says who holds what; by which way may change without one, as documented, until
    // the next full read.
    run(&world.config_path(), "sync").await.ok();
    let rows = run(&world.config_path(), "seats --json").await.ok().rows();
    let held = world.microsoft(|it| truth(it, &tenants, true));
    assert_eq!(holders(listed(&rows)), holders(held));
    run(&world.config_path(), "sync --full").await.ok();
    for (line, held) in [("seats --json", true), ("seats --errors --json", false)] {
        let rows = run(&world.config_path(), line).await.ok().rows();
        assert_same(&listed(&rows), &world.microsoft(|it| truth(it, &tenants, held)));
    }
    for run in run(&world.config_path(), "sync --full --json").await.ok().rows() {
        let counts = ["added", "changed", "removed"].map(|it| run[it].as_u64().unwrap());
        assert_eq!(counts, [0; 3], "{run}");
    }
}

/// Tenant, user and product, without the ways.
fn holders(seats: Seats) -> BTreeSet<(String, String, &'static str)> {
    seats.into_iter().map(|(tenant, user, product, _)| (tenant, user, product)).collect()
}

/// Somebody gets a seat, somebody loses one, somebody joins or leaves a group, somebody leaves.
fn change(microsoft: &mut entitled::sandbox::World, tenant: Uuid, n: usize) {
    let users = microsoft.users(tenant);
    let Some(user) = users.get(n * 7 % users.len().max(1)).copied() else { return };
    let seat = microsoft.seats(tenant).into_iter().find(|it| it.user == user);
    // What cannot be done in this tenant (no such SKU, no group) is not done.
    drop(match (n % 4, seat) {
        (0, Some(seat)) => microsoft.unassign(tenant, user, seat.sku),
        (1, _) => microsoft.delete_user(tenant, user),
        (2, Some(seat)) if seat.paths.iter().any(Option::is_some) => {
            let group = seat.paths.into_iter().flatten().next().unwrap();
            microsoft.remove_member(tenant, group, user)
        }
        _ => microsoft.assign(tenant, user, story::SYNOPTIC_SKU, &[]),
    });
}
