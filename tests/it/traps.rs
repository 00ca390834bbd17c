//! What bit users of other integrations: a test for every trap of `marketplace-saas.md` section 11,
//! for every row of its section 8 (`webhook_rows`) and of its section 9 (`life_rows`).

mod buying;
mod life_rows;
mod reading;
mod registration;
mod scene;
mod telling;
mod webhook_forms;
mod webhook_rows;

use std::collections::BTreeMap;

/// How many traps section 11 lists.
const TRAPS: usize = 42;

/// Every file that holds tests of traps.
const FILES: &[&str] = &[
    include_str!("traps/buying.rs"),
    include_str!("traps/reading.rs"),
    include_str!("traps/registration.rs"),
    include_str!("traps/telling.rs"),
];

#[test]
fn every_trap_has_a_test() {
    let mut found: BTreeMap<usize, Vec<&str>> = BTreeMap::new();
    for file in FILES {
        let lines: Vec<&str> = file.lines().collect();
        for pair in lines.windows(2) {
            let is_test = pair[0].trim() == "#[tokio::test]" || pair[0].trim() == "#[test]";
            let name = pair[1].trim().trim_start_matches("async ").strip_prefix("fn trap_");
            if let (true, Some(name)) = (is_test, name) {
                found.entry(name[..2].parse().unwrap()).or_default().push(name);
            }
        }
    }
    let missing: Vec<usize> = (1..=TRAPS).filter(|it| !found.contains_key(it)).collect();
    assert!(missing.is_empty(), "no test for {missing:?}");
    assert_eq!(found.len(), TRAPS, "{found:?}");
}
