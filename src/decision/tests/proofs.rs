//! Both proofs of a Microsoft-managed licence, and the names they are matched by.

use super::*;
use crate::domain::{Mapping, MappingState, MappingWrite, Right, Target, UserRights};

fn rights(identifier: &str, state: &str, age_h: i64) -> UserRights {
    let right =
        Right { identifier: identifier.into(), catalog: None, state: state.into(), bare: None };
    UserRights::seen(vec![right], now() - h(age_h))
}

/// State, reason, proof and whether it is stale, of what the mirror holds.
fn says(commit: &Commit) -> String {
    let visual = visual();
    let question = asked(&visual, Host::Web);
    let it = answer(&mirror(commit), &question, &Policy::default(), now());
    let proof = it.proof.map_or("-", EvidenceKind::as_str);
    let stale = if it.stale { " stale" } else { "" };
    format!("{}/{} {proof}{stale}", it.state, it.reason)
}

fn of_user(commit: Commit, it: UserRights) -> Commit {
    let question = visual();
    let asked = asked(&question, Host::Web);
    let who = (asked.tenant.unwrap(), asked.user.unwrap());
    Commit { rights: vec![(who.0, who.1, Some(it))], ..commit }
}

fn seat(status: &str, name: &str, age_h: i64) -> Commit {
    let paths = vec![path(Via::Direct, "Active")];
    let skus = vec![sku(5, status, name)];
    world(vec![], skus, vec![licence(5, paths)], (None, Some(age_h)))
}

#[test]
fn the_best_of_both_proofs_wins_and_each_is_as_old_as_itself() {
    let none = || seat("Enabled", "somebody.elses.plan", 0);
    assert_eq!(says(&none()), "unlicensed/not_licensed -");
    let check = |commit: Commit, (state, age_h), expected: &str| {
        let commit = of_user(commit, rights("P.Panel.TEAM", state, age_h));
        assert_eq!(says(&commit), expected, "{state} {age_h} h");
    };
    check(none(), ("active", 0), "active/seat_path_unknown usage_right");
    check(none(), ("warning", 0), "grace/seat_grace usage_right");
    check(none(), ("active", 2), "active/seat_path_unknown usage_right stale");
    check(none(), ("active", 100), "grace/stale usage_right stale");
    check(none(), ("paused", 0), "unknown/status_unrecognized usage_right");
    check(none(), ("inactive", 0), "unlicensed/seat_not_assigned -");
    let ours = |status, age_h| seat(status, "p.panel.team", age_h);
    check(ours("Enabled", 0), ("active", 0), "active/seat_direct seat");
    check(ours("Suspended", 0), ("active", 0), "active/seat_path_unknown usage_right");
    check(ours("Enabled", 0), ("suspended", 0), "active/seat_direct seat");
    check(ours("Enabled", 2), ("active", 0), "active/seat_path_unknown usage_right");
    check(ours("Enabled", 0), ("active", 2), "active/seat_direct seat");
}

#[test]
fn a_mapping_counts_once_an_operator_confirmed_it_and_in_its_tenant_only() {
    let plan = "p.panel.team".parse().unwrap();
    let sku = Target::ServicePlan(sku_id(5), ServicePlanId::from_uuid(Uuid::from_u128(1005)));
    let right = Target::Right("mscrm.odd".into());
    let with = |tenant, target: &Target, state| {
        let target = target.clone();
        let mapping = Mapping::proposed(Clone::clone(&plan), target, None, 2, "seen", now());
        let mapping = MappingWrite::Propose(Mapping { state, ..mapping });
        let commit = of_user(seat("Enabled", "TELLS_NOTHING", 0), rights("MSCRM.odd", "active", 0));
        says(&Commit { mappings: vec![(tenant, mapping)], ..commit })
    };
    let visual = visual();
    let here = asked(&visual, Host::Web).tenant.unwrap();
    for target in [&sku, &right] {
        for state in [MappingState::Proposed, MappingState::Rejected] {
            assert_eq!(with(here, target, state), "unlicensed/not_licensed -", "{target} {state}");
        }
        let elsewhere = with(tenant(99), target, MappingState::Confirmed);
        assert_eq!(elsewhere, "unlicensed/not_licensed -", "{target}");
    }
    assert_eq!(with(here, &sku, MappingState::Confirmed), "active/seat_direct seat");
    let by_right = with(here, &right, MappingState::Confirmed);
    assert_eq!(by_right, "active/seat_path_unknown usage_right");
}
