//! The laws of moving licenses, and what rows come to.

use super::*;
use crate::domain::Product;
use jiff::SignedDuration;

fn now() -> Timestamp {
    "2026-11-21T22:00:00Z".parse().unwrap()
}

fn catalog() -> Catalog {
    let product = |id: &str| Product {
        id: id.parse().unwrap(),
        name: id.into(),
        features: std::collections::BTreeMap::default(),
        hybrid: crate::domain::HybridMode::Entra,
        plans: Vec::new(),
    };
    Catalog::new([product("synoptic-panel"), product("bullet")])
}

fn id(seed: u8) -> LicenseId {
    LicenseId::from_random([seed; LicenseId::RANDOM])
}

/// Takes rows without keys, as if each had its place in the list for a line.
fn take(mirror: &mut Mirror, rows: Vec<Value>, replace: bool) -> Vec<Value> {
    let row = |(line, it): (u64, Value)| {
        let row = it.as_object().cloned().unwrap();
        (Ok(None), ImportRow { line, row })
    };
    let rows: Vec<_> = (1..).zip(rows).map(row).collect();
    let (commit, told) = taken(mirror, &catalog(), &rows, replace, (&Cause::Command, now()));
    if let Some(commit) = commit {
        *mirror = mirror.applied(&commit);
    }
    told
}

fn export(mirror: &Mirror) -> Vec<Value> {
    mirror.licenses().all().map(|it| exported(mirror.licenses(), it)).collect()
}

fn outcomes(told: &[Value]) -> Vec<&str> {
    told.iter().map(|it| it["outcome"].as_str().unwrap()).collect()
}

fn sold(seed: u8) -> Value {
    json!({ "id": id(seed).as_str(), "product": "bullet", "kind": "user", "max": "20",
        "licensee": "Contoso (ana@contoso.example)", "cycle": "yearly" })
}

#[test]
fn the_fields_of_a_row_are_those_that_are_read() {
    let mut mirror = Mirror::default();
    take(&mut mirror, vec![sold(1)], false);
    let all = export(&mirror);
    let names: std::collections::BTreeSet<&str> =
        all[0].as_object().unwrap().keys().map(String::as_str).collect();
    let known = FIELDS.iter().copied().filter(|it| *it != "key").collect();
    assert_eq!(names, known);
}

#[test]
fn a_row_as_people_write_it_is_a_sale_and_the_same_row_again_is_nothing() {
    let mut mirror = Mirror::default();
    assert_eq!(outcomes(&take(&mut mirror, vec![sold(1)], false)), ["new"]);
    let it = mirror.licenses().license(id(1)).unwrap().as_ref().clone();
    assert_eq!((it.max, it.paid_at), (Some(20), Some(now())));
    assert_eq!(it.period_end.unwrap().to_string(), "2027-11-21T22:00:00Z");
    // A table has the column even where this row has nothing in it.
    let mut again = sold(1);
    again["period_end"] = Value::Null;
    again["note"] = json!("from the old shop");
    for row in [sold(1), again] {
        assert_eq!(outcomes(&take(&mut mirror, vec![row], false)), ["same"]);
    }
}

#[test]
fn what_is_here_is_left_alone_unless_it_is_to_be_replaced() {
    let mut mirror = Mirror::default();
    take(&mut mirror, vec![sold(1)], false);
    let mut more = sold(1);
    more["max"] = json!(50);
    let told = take(&mut mirror, vec![more.clone()], false);
    assert_eq!(outcomes(&told), ["refused"]);
    let why = told[0]["why"].as_str().unwrap();
    assert!(why.contains("(max)") && why.contains("--replace"), "{why}");
    assert_eq!(told[0]["differs"], json!({"max": [20, 50]}));
    assert_eq!(mirror.licenses().license(id(1)).unwrap().max, Some(20));
    let told = take(&mut mirror, vec![more.clone()], true);
    assert_eq!(outcomes(&told), ["changed"]);
    assert_eq!(mirror.licenses().license(id(1)).unwrap().max, Some(50));
    assert_eq!(outcomes(&take(&mut mirror, vec![more], true)), ["same"]);
}

#[test]
fn a_license_revoked_here_stays_so() {
    let mut mirror = Mirror::default();
    let mut row = sold(1);
    row["revoked_at"] = json!("2026-11-01");
    take(&mut mirror, vec![row], false);
    let mut row = sold(1);
    row["revoked_at"] = Value::Null;
    let told = take(&mut mirror, vec![row], true);
    assert!(told[0]["why"].as_str().unwrap().contains("for good"), "{told:?}");
}

#[test]
fn an_odd_row_is_refused_alone_and_says_what_is_wrong() {
    let wrong = |name: &str, value: Value| {
        let mut row = sold(2);
        row[name] = value;
        row
    };
    let bound = json!({"id": "A-1", "tenant": null, "by": "licensee", "at": null});
    let rows = vec![
        (json!({"product": "bullet"}), "no `id`"),
        (wrong("id", json!("4711")), "`id`"),
        (wrong("product", json!("retired")), "`product`: `retired` is no product"),
        (wrong("kind", json!("team")), "`kind`"),
        (wrong("max", json!("many")), "`max`"),
        (wrong("period_end", json!("31.12.2026")), "`period_end`: write a moment"),
        (wrong("paid_at", Value::Null), "`paid_at`"),
        (wrong("told", json!("all")), "`told`"),
        (wrong("bound", json!("contoso")), "`bound` is no list"),
        (wrong("bound", json!(7)), "`bound` is no list"),
        (wrong("bound", json!([bound])), "`bound`"),
        (wrong("licensee", json!("a\nb")), "`licensee`"),
        (sold(3), ""),
    ];
    let mut mirror = Mirror::default();
    let told = take(&mut mirror, rows.iter().map(|(it, _)| it.clone()).collect(), true);
    for ((row, expected), told) in rows.iter().zip(&told) {
        let why = told["why"].as_str().unwrap_or_default();
        assert!(why.contains(expected), "{row}: {why}");
        assert_eq!(told["outcome"] == "refused", !expected.is_empty());
    }
    assert_eq!(mirror.licenses().count(), 1);
}

#[test]
fn tenants_that_are_bound_go_with_their_license_and_exactly_they() {
    let activation = crate::domain::ActivationId::from_random([1; 10]);
    let tenant = "0b0b0b0b-1111-4222-8333-444444444444";
    let mut row = sold(1);
    row["bound"] = json!([{"id": activation.as_str(), "tenant": tenant, "by": "command",
        "at": "2026-11-01T00:00:00Z"}]);
    let mut mirror = Mirror::default();
    assert_eq!(outcomes(&take(&mut mirror, vec![row.clone()], false)), ["new"]);
    let found = mirror.licenses().activation(activation).unwrap();
    assert_eq!(found.tenant.unwrap().to_string(), tenant);
    // As a table carries it.
    row["bound"] = json!(row["bound"].to_string());
    assert_eq!(outcomes(&take(&mut mirror, vec![row.clone()], false)), ["same"]);
    let mut other = sold(2);
    other["bound"] = row["bound"].clone();
    let told = take(&mut mirror, vec![other], true);
    assert!(told[0]["why"].as_str().unwrap().contains("another license"), "{told:?}");
    assert_eq!(outcomes(&take(&mut mirror, vec![sold(1)], true)), ["same"], "nothing is said");
    row["bound"] = Value::Null;
    assert_eq!(outcomes(&take(&mut mirror, vec![row], true)), ["changed"]);
    assert_eq!(mirror.licenses().activations().count(), 0);
}

#[test]
fn a_row_that_comes_twice_in_a_batch_counts_once() {
    let mut mirror = Mirror::default();
    let mut other = sold(1);
    other["max"] = json!(3);
    let told = take(&mut mirror, vec![sold(1), sold(1), other], false);
    assert_eq!(outcomes(&told), ["new", "same", "refused"]);
}

#[test]
fn licenses_that_went_through_everything_come_back_the_same() {
    use crate::domain::{LicenseChange, LicenseStep, NewPeriod};
    let day = |days: i64| now() + SignedDuration::from_hours(24 * days);
    let renew = |end| LicenseStep::Renew(NewPeriod { end, cycle: None });
    let change = LicenseStep::Change(LicenseChange { max: Some(7), ..LicenseChange::default() });
    let walks: [&[LicenseStep]; 6] = [
        &[],
        &[renew(Some(day(2)))],
        &[renew(None), LicenseStep::Cancel],
        &[LicenseStep::Suspend, change],
        &[LicenseStep::Revoke],
        &[LicenseStep::Cancel, LicenseStep::Suspend, LicenseStep::Reinstate],
    ];
    let mut mirror = Mirror::default();
    let mut seed = 0;
    for cycle in ["trial", "monthly", "yearly", "three_years"] {
        for walk in walks {
            seed += 1;
            let mut row = sold(seed);
            row["cycle"] = json!(cycle);
            row["trial_end"] = json!("2026-12-10");
            take(&mut mirror, vec![row], false);
            let mut it = mirror.licenses().license(id(seed)).unwrap().as_ref().clone();
            for (step, at) in walk.iter().zip(1..) {
                it = it.stepped(step, day(at)).unwrap().license;
            }
            mirror = mirror.applied(&Commit { licenses: vec![it], ..Commit::default() });
        }
    }
    let first = export(&mirror);
    let mut elsewhere = Mirror::default();
    let told = take(&mut elsewhere, first.clone(), false);
    assert_eq!(outcomes(&told), vec!["new"; 24]);
    assert_eq!(export(&elsewhere), first);
    for (a, b) in mirror.licenses().all().zip(elsewhere.licenses().all()) {
        assert_eq!(a, b);
    }
    let again = take(&mut mirror, first, true);
    assert_eq!(outcomes(&again), vec!["same"; 24]);
}
