//! Mirror × licence report → commit. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use crate::domain::{
    Cause, Commit, Mirror, OddRecord, ReportOrigin, ReportedLicence, SourceKey, TenantId,
};
use crate::microsoft::{LicenceRow, LicenceTable};
use crate::sync::Tally;

/// What is known of a report beside its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// How it came here.
    pub origin: ReportOrigin,
    /// When it was made.
    pub as_of: Timestamp,
    /// Whether it names every tenant and plan there is, so that what it lacks is gone.
    pub whole: bool,
}

/// What a report changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReportTally {
    /// As for every run.
    pub run: Tally,
    /// Tenants that the report names.
    pub tenants: u64,
    /// Lines that say the same as before.
    pub unchanged: u64,
    /// Lines of which something newer was known.
    pub older: u64,
}

type Key = (Arc<str>, Arc<str>);
type Lines = BTreeMap<Key, ReportedLicence>;

/// What a report changes.
///
/// A line that the mirror has from a newer report stays. What the report lacks is removed only when
/// it is the whole, every row was understood and there was any: a report that is empty says nothing.
pub(super) fn report(
    mirror: &Mirror,
    table: LicenceTable,
    told: Told,
    cause: &Cause,
    now: Timestamp,
) -> (Commit, ReportTally) {
    let mut done =
        Planned { told, cause, now, commit: Commit::default(), tally: ReportTally::default() };
    done.tally.run.seen = table.seen;
    for odd in &table.odd {
        done.tally.run.odd = done.tally.run.odd.saturating_add(1);
        let why = format!("line {}: {}", odd.line, odd.why).into();
        let raw = Arc::clone(&odd.raw);
        done.commit.odd.push(OddRecord { at: now, key: SourceKey::REPORTS, why, raw });
    }
    let removes = told.whole && table.odd.is_empty() && !table.rows.is_empty();
    let mut rows: BTreeMap<TenantId, Vec<LicenceRow>> = BTreeMap::new();
    for row in table.rows {
        rows.entry(row.tenant).or_default().push(row);
    }
    done.tally.tenants = u64::try_from(rows.len()).unwrap_or(u64::MAX);
    if removes {
        for (tenant, _) in mirror.reported() {
            rows.entry(tenant).or_default();
        }
    }
    for (tenant, rows) in rows {
        done.tenant(tenant, mirror.reported_of(tenant), rows, removes);
    }
    (done.commit, done.tally)
}

struct Planned<'a> {
    told: Told,
    cause: &'a Cause,
    now: Timestamp,
    commit: Commit,
    tally: ReportTally,
}

impl Planned<'_> {
    fn tenant(
        &mut self,
        tenant: TenantId,
        known: &[ReportedLicence],
        rows: Vec<LicenceRow>,
        removes: bool,
    ) {
        let key = |it: &ReportedLicence| (Arc::clone(&it.service_id), Arc::clone(&it.sku_name));
        let before: Lines = known.iter().map(|it| (key(it), it.clone())).collect();
        let mut after = before.clone();
        if removes {
            after.retain(|_, it| it.reported_at > self.told.as_of);
        }
        for row in rows {
            let line = self.line(row);
            let key = key(&line);
            match before.get(&key) {
                Some(known) if known.reported_at > line.reported_at => bump(&mut self.tally.older),
                known => {
                    if known.is_some_and(|it| it.says_the_same(&line)) {
                        bump(&mut self.tally.unchanged);
                    }
                    after.insert(key, line);
                }
            }
        }
        self.compare(&before, &after);
        if before != after {
            self.commit.reported.push((tenant, after.into_values().collect()));
        }
    }

    fn line(&self, row: LicenceRow) -> ReportedLicence {
        ReportedLicence {
            tenant: row.tenant,
            service_id: row.service_id,
            sku_name: row.sku_name,
            provisioned: row.provisioned,
            assigned: row.assigned,
            state: row.state,
            activated: row.activated,
            product: row.product,
            reported_at: self.told.as_of,
            origin: self.told.origin,
        }
    }

    /// Counts and writes down what differs.
    fn compare(&mut self, before: &Lines, after: &Lines) {
        let gone = before.keys().filter(|it| !after.contains_key(*it));
        for key in gone.chain(after.keys()) {
            let (was, is) = (before.get(key), after.get(key));
            if was.zip(is).is_some_and(|(was, is)| was.says_the_same(is)) {
                continue;
            }
            match (was, is) {
                (None, _) => bump(&mut self.tally.run.added),
                (Some(_), Some(_)) => bump(&mut self.tally.run.changed),
                (Some(_), None) => bump(&mut self.tally.run.removed),
            }
            let change = ReportedLicence::change(self.now, self.cause.clone(), was, is);
            self.commit.changes.extend(change);
        }
    }
}

fn bump(count: &mut u64) {
    *count = count.saturating_add(1);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::RunId;
    use crate::microsoft::licence_table;

    const HEAD: &str = "Tenant ID,Service ID,SKU Name,Licenses Provisioned,Licenses Assigned\n";
    const CONTOSO: &str = "c0000000-0000-4000-8000-000000000001";
    const FABRIKAM: &str = "f0000000-0000-4000-8000-000000000002";

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    struct Books(Mirror);

    impl Books {
        /// Takes in a report made on that day, and what it counted: added, changed, removed,
        /// unchanged, older.
        #[track_caller]
        fn take(&mut self, rows: &str, day: u8, whole: bool, counts: [u64; 5]) -> Commit {
            let table = licence_table(format!("{HEAD}{rows}").as_bytes()).unwrap();
            let as_of = at(&format!("2026-11-{day:02}T00:00:00Z"));
            let told = Told { origin: ReportOrigin::Import, as_of, whole };
            let now = at("2026-11-28T00:00:00Z");
            let (commit, it) = report(&self.0, table, told, &Cause::Run(RunId(7)), now);
            let run = it.run;
            assert_eq!([run.added, run.changed, run.removed, it.unchanged, it.older], counts);
            let journal = u64::try_from(commit.changes.len()).unwrap();
            assert_eq!(journal, run.added + run.changed + run.removed);
            self.0 = self.0.applied(&commit);
            commit
        }

        fn provisioned(&self) -> Vec<Option<u64>> {
            self.0.reported().flat_map(|(_, it)| it.iter()).map(|it| it.provisioned).collect()
        }
    }

    #[test]
    fn the_same_report_twice_changes_nothing_and_a_newer_one_what_differs() {
        let mut books = Books(Mirror::default());
        let rows = format!("{CONTOSO},a.b.gold,Gold,30,20\n{FABRIKAM},a.b.gold,Gold,5,5\n");
        books.take(&rows, 20, false, [2, 0, 0, 0, 0]);
        books.take(&rows, 20, false, [0, 0, 0, 2, 0]);
        books.take(&format!("{CONTOSO},A.B.Gold,Gold,40,20\n"), 21, false, [0, 1, 0, 0, 0]);
        assert_eq!(books.provisioned(), [Some(40), Some(5)]);
    }

    #[test]
    fn an_older_report_changes_nothing_that_is_known_better() {
        let mut books = Books(Mirror::default());
        books.take(&format!("{CONTOSO},a.b.gold,Gold,30,20\n"), 20, false, [1, 0, 0, 0, 0]);
        let rows = format!("{CONTOSO},a.b.gold,Gold,10,1\n{CONTOSO},a.b.silver,Silver,1,1\n");
        books.take(&rows, 19, true, [1, 0, 0, 0, 1]);
        assert_eq!(books.provisioned(), [Some(30), Some(1)]);
    }

    #[test]
    fn only_the_whole_report_understood_to_its_end_removes_what_it_lacks() {
        let mut books = Books(Mirror::default());
        let contoso = format!("{CONTOSO},a.b.gold,Gold,30,20\n");
        let rows = format!("{contoso}{FABRIKAM},a.b.gold,Gold,5,5\n");
        books.take(&rows, 20, false, [2, 0, 0, 0, 0]);
        books.take(&contoso, 21, false, [0, 0, 0, 1, 0]);
        let odd =
            books.take(&format!("{contoso}nobody,a.b.gold,Gold,1,1\n"), 21, true, [0, 0, 0, 1, 0]);
        assert!(odd.odd[0].why.starts_with("line 3: "), "{}", odd.odd[0].why);
        books.take("", 21, true, [0, 0, 0, 0, 0]);
        assert_eq!(books.provisioned(), [Some(30), Some(5)]);
        books.take(&contoso, 22, true, [0, 0, 1, 1, 0]);
        assert_eq!(books.provisioned(), [Some(30)]);
    }
}
