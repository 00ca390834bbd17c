//! What is proposed of a tenant's names, and what is not.

use super::*;
use crate::domain::TenantView;
use crate::sync::rights::plan::tests::{at, catalog, rows, sku, sku_id, tenant, user};

struct Scene {
    view: TenantView,
    skus: Vec<Sku>,
    held: BTreeMap<UserId, BTreeSet<SkuId>>,
    rights: BTreeMap<UserId, Vec<Right>>,
}

impl Scene {
    fn new(skus: Vec<Sku>) -> Self {
        let (held, rights) = (BTreeMap::new(), BTreeMap::new());
        Self { view: tenant(vec![]), skus, held, rights }
    }

    fn with(mut self, who: u128, skus: &[u128], identifiers: &[&str]) -> Self {
        let catalog = catalog();
        let ours = Ours { view: &self.view, catalog: &catalog };
        self.rights.insert(user(who), ours.rights(&rows(identifiers)));
        self.held.insert(user(who), skus.iter().map(|it| sku_id(*it)).collect());
        self
    }

    /// Plan, target and users of each proposal.
    fn proposes(&self) -> Vec<String> {
        let catalog = catalog();
        let ours = Ours { view: &self.view, catalog: &catalog };
        let compared = Compared {
            ours: &ours,
            skus: &self.skus,
            held: &self.held,
            rights: &self.rights,
            now: at(0),
        };
        let line = |it: Mapping| format!("{} {} {}", it.service_id, it.target.kind(), it.users);
        let mut lines: Vec<String> = proposals(&compared).into_iter().map(line).collect();
        lines.sort();
        lines
    }
}

const TEAM: &str = "p.panel.team";

#[test]
fn a_bare_plan_id_as_a_name_is_proposed_if_it_is_one_plans_alone() {
    let check = |part_number: &str, service: &str, expected: &[&str]| {
        let found = Scene::new(vec![sku(5, part_number, &[service])]).proposes();
        assert_eq!(found, expected, "{part_number} {service}");
    };
    check("TEAM", "x", &["p.panel.team sku 0"]);
    check("x", "Team", &["p.panel.team service_plan 0"]);
    check("pro", "pro", &[]);
    check("x", "p.panel.team", &[]);
}

#[test]
fn a_sku_that_goes_with_the_right_is_proposed() {
    let skus = || vec![sku(5, "CODE", &["ONLY"]), sku(6, "E5", &["A", "B"])];
    let two = Scene::new(skus()).with(1, &[5, 6], &[TEAM]).with(2, &[5, 6], &[TEAM]);
    let told_apart = two.with(3, &[6], &[]);
    assert_eq!(told_apart.proposes(), ["p.panel.team service_plan 2"]);
    let one = Scene::new(skus()).with(1, &[5], &[TEAM]);
    assert_eq!(one.proposes(), [""; 0], "one person proves nothing");
    let contradicted = Scene::new(skus()).with(1, &[5], &[TEAM]).with(2, &[], &[TEAM]);
    assert_eq!(contradicted.with(3, &[6], &[]).proposes(), [""; 0]);
    let everybody = Scene::new(skus()).with(1, &[5], &[TEAM]).with(2, &[5], &[]);
    assert_eq!(everybody.proposes(), [""; 0]);
    let many: Vec<Sku> = (5..9).map(|it| sku(it, "CODE", &[])).collect();
    let alike = Scene::new(many).with(1, &[5, 6, 7, 8], &[TEAM]).with(2, &[], &[]);
    assert_eq!(alike.proposes(), [""; 0], "nobody can tell which of them");
}

#[test]
fn an_unknown_right_is_proposed_for_what_the_directory_does_not_list() {
    let odd = Scene::new(vec![]).with(1, &[], &["mscrm.x.y"]).with(2, &[], &["MSCRM.x.y"]);
    let all =
        ["p.other.pro usage_right 2", "p.panel.pro usage_right 2", "p.panel.team usage_right 2"];
    assert_eq!(odd.proposes(), all);
    let named = Scene::new(vec![]).with(1, &[], &["mscrm.x.team"]);
    assert_eq!(named.proposes(), ["p.panel.team usage_right 1"]);
    let listed = Scene { view: tenant(vec![sku(5, "p.panel.team", &[])]), ..named };
    assert_eq!(listed.proposes().len(), 2, "not for the one that is listed");
}
