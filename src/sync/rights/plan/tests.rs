//! What is believed of usage rights, pass by pass.

use super::*;
use crate::domain::{
    CapabilityStatus, Channel, Commit, Coverage, Features, HybridMode, Licence, Mirror, Path,
    PathState, Product, RunId, ServicePlan, Sku, SkuId, Tenant, TenantId, TenantUsers, Units,
    UserLicences, UserWrites, Via,
};
use std::collections::BTreeMap;
use uuid::Uuid;

const EVERY: SignedDuration = SignedDuration::from_mins(30);
const APP: &str = "app";

pub(in crate::sync::rights) fn user(n: u128) -> UserId {
    UserId::from_uuid(Uuid::from_u128(n))
}

pub(in crate::sync::rights) fn at(minutes: i64) -> Timestamp {
    Timestamp::from_second(1_795_000_000 + minutes * 60).unwrap()
}

fn plan_of(service_id: &str) -> Plan {
    Plan {
        service_id: service_id.parse().unwrap(),
        channel: Channel::Appsource,
        coverage: Coverage::Tenant,
        features: Features::from([]),
        sku_ids: vec![],
        service_plan_ids: vec![],
        release_after: SignedDuration::ZERO,
    }
}

/// Plans `p.panel.team`, `p.panel.pro` and `p.other.pro`: only the first has an id of its own.
pub(in crate::sync::rights) fn catalog() -> Catalog {
    let product = |id: &str, plans: &[&str]| Product {
        id: id.parse().unwrap(),
        name: id.into(),
        hybrid: HybridMode::None,
        features: BTreeMap::new(),
        plans: plans.iter().map(|it| plan_of(it)).collect(),
    };
    Catalog::new([
        product("panel", &["p.panel.team", "p.panel.pro"]),
        product("other", &["p.other.pro"]),
    ])
}

pub(in crate::sync::rights) fn sku_id(n: u128) -> SkuId {
    SkuId::from_uuid(Uuid::from_u128(n))
}

pub(in crate::sync::rights) fn sku(n: u128, part_number: &str, services: &[&str]) -> Sku {
    let service = |(at, name): (u128, &&str)| ServicePlan {
        id: crate::domain::ServicePlanId::from_uuid(Uuid::from_u128(n * 100 + at)),
        name: (*name).into(),
    };
    Sku {
        id: sku_id(n),
        part_number: part_number.into(),
        status: CapabilityStatus::Enabled,
        service_plans: (0..).zip(services).map(service).collect(),
        units: Units { enabled: 10, consumed: 1, ..Units::default() },
        next_lifecycle: None,
        missing_since: None,
    }
}

/// A tenant with these SKUs, the first of which user 90 holds.
pub(in crate::sync::rights) fn tenant(skus: Vec<Sku>) -> TenantView {
    let id = TenantId::from_uuid(Uuid::from_u128(77)).unwrap();
    let path =
        Path { via: Via::Direct, state: PathState::Active, error: None, disabled_plans: vec![] };
    let held = skus.first().map(|it| {
        let licence =
            Licence { sku: it.id, assigned: true, disabled_plans: vec![], paths: vec![path] };
        (user(90), Some(UserLicences::new([licence])))
    });
    let users = TenantUsers { tenant: id, writes: UserWrites::Patch(held.into_iter().collect()) };
    let commit = Commit {
        tenants: vec![Tenant::heard_of(id, None)],
        skus: vec![(id, skus)],
        users: vec![users],
        ..Commit::default()
    };
    view(&Mirror::default().applied(&commit))
}

fn view(mirror: &Mirror) -> TenantView {
    let view = mirror.tenants().next().unwrap();
    view.as_ref().clone()
}

pub(in crate::sync::rights) fn rows(identifiers: &[&str]) -> Vec<RightRow> {
    let row = |it: &&str| RightRow {
        identifier: (*it).to_owned(),
        catalog: None,
        state: "active".into(),
    };
    identifiers.iter().map(row).collect()
}

fn says(who: u128, identifiers: &[&str]) -> RightsOf {
    (user(who), Ok(rows(identifiers)))
}

fn asking(minute: i64) -> Asking<'static> {
    Asking {
        app: APP,
        every: EVERY,
        remove_limit: Share::FIFTH,
        at: at(minute),
        now: at(minute),
        cause: Cause::Run(RunId(1)),
        hides: false,
    }
}

struct Told {
    view: TenantView,
    app: &'static str,
    hides: bool,
}

impl Told {
    fn new() -> Self {
        Self { view: tenant(vec![]), app: APP, hides: false }
    }

    /// What a pass at this minute changes: how many journal entries, and who holds what after it.
    fn pass(&mut self, minute: i64, answers: &[RightsOf]) -> (usize, Vec<String>) {
        let (at, hides) = (at(minute), self.hides);
        let asking = Asking { app: self.app, at, now: at, hides, ..asking(minute) };
        let planned = plan(&self.view, &catalog(), answers, &asking);
        let tenant = self.view.tenant.id;
        for (user, it) in planned.rights {
            match it {
                Some(it) => self.view.rights.insert(user, Arc::new(it)),
                None => self.view.rights.remove(user),
            }
        }
        if let Some(source) = planned.source {
            self.view.rights_source = source;
        }
        assert!(planned.changes.iter().all(|it| it.tenant == Some(tenant) && it.user.is_some()));
        (planned.changes.len(), self.held())
    }

    /// Who was read and is believed to hold nothing.
    fn without(&self) -> Vec<u128> {
        let without = self.view.rights.iter().filter(|(_, it)| it.rows.is_empty());
        without.map(|(user, _)| user.as_uuid().as_u128()).collect()
    }

    fn held(&self) -> Vec<String> {
        let row = |(user, it): (&UserId, &Arc<UserRights>)| {
            let names: Vec<&str> = it.rows.iter().map(|it| &*it.identifier).collect();
            format!("{} {}", user.as_uuid().as_u128(), names.join("+"))
        };
        self.view.rights.iter().filter(|(_, it)| !it.rows.is_empty()).map(row).collect()
    }
}

const TEAM: &str = "p.panel.TEAM";

#[test]
fn an_empty_answer_is_believed_at_once_when_somebody_else_came_with_rights() {
    let mut told = Told::new();
    assert_eq!(told.pass(0, &[says(1, &[TEAM]), says(2, &[TEAM])]).0, 2);
    let (changes, held) = told.pass(30, &[says(1, &[]), says(2, &[TEAM])]);
    assert_eq!((changes, held), (1, vec![format!("2 {TEAM}")]));
}

#[test]
fn an_empty_answer_alone_is_believed_at_a_second_look_a_period_later() {
    let mut told = Told::new();
    let kept = || vec![format!("1 {TEAM}")];
    told.pass(0, &[says(1, &[TEAM])]);
    assert_eq!(told.pass(30, &[says(1, &[])]), (0, kept()));
    assert_eq!(told.pass(59, &[says(1, &[])]), (0, kept()), "too soon");
    assert_eq!(
        told.view.rights.get(user(1)).unwrap().read_at,
        at(0),
        "what was not seen grows old"
    );
    assert_eq!(told.pass(60, &[says(1, &[])]), (1, vec![]));

    told.pass(61, &[says(1, &[TEAM])]);
    told.pass(91, &[says(1, &[])]);
    told.pass(100, &[says(1, &[TEAM])]);
    assert_eq!(told.pass(121, &[says(1, &[])]), (0, kept()), "it was there in between");
}

#[test]
fn an_empty_answer_to_an_app_that_has_seen_nothing_is_never_believed() {
    let mut told = Told::new();
    told.pass(0, &[says(1, &[TEAM])]);
    told.app = "another";
    for minute in [30, 60, 90, 9_000] {
        assert_eq!(told.pass(minute, &[says(1, &[])]), (0, vec![format!("1 {TEAM}")]));
    }
    assert_eq!(told.pass(9_001, &[says(1, &[]), says(2, &["x.y.z"])]).0, 1, "not ours: no witness");
    assert_eq!(told.held().len(), 2);
    assert_eq!(told.pass(9_002, &[says(1, &[]), says(3, &[TEAM])]).0, 2, "now it has");
    assert!(told.held().iter().all(|it| !it.starts_with("1 ")));
    assert!(told.view.rights_source.is_proven_by("another"));
}

/// A tenant in which users 1 to 10 hold rights since minute 0, and what it is told of each of them.
fn ten() -> (Told, impl Fn(std::ops::RangeInclusive<u128>, &[&str]) -> Vec<RightsOf>) {
    let mut told = Told::new();
    let say = |users: std::ops::RangeInclusive<u128>, rows: &[&str]| {
        users.map(|it| says(it, rows)).collect::<Vec<_>>()
    };
    assert_eq!(told.pass(0, &say(1..=10, &[TEAM])).0, 10);
    (told, say)
}

#[test]
fn many_who_come_empty_are_held_until_somebody_comes_with_rights() {
    let (mut told, say) = ten();
    let held = |told: &Told| told.view.rights_held(Share::FIFTH).len();
    for minute in [30, 60, 90, 9_000] {
        let (changes, holders) = told.pass(minute, &say(1..=10, &[]));
        assert_eq!((changes, holders.len(), held(&told)), (0, 10, 10), "{minute}");
    }
    // One look-up shows that we see: they are to be seen empty once more, and go.
    assert_eq!(told.pass(9_001, &say(10..=10, &[TEAM])).0, 0);
    assert_eq!((told.held().len(), held(&told)), (10, 0));
    assert_eq!(told.pass(9_029, &say(1..=9, &[])).0, 0, "too soon");
    assert_eq!(told.pass(9_030, &say(1..=9, &[])), (9, vec![format!("10 {TEAM}")]));
}

#[test]
fn many_who_come_empty_one_by_one_are_held_like_a_pass_of_them() {
    let (mut told, say) = ten();
    for user in 1..=10 {
        told.pass(29 + i64::try_from(user).unwrap(), &say(user..=user, &[]));
    }
    for user in 1..=10 {
        let (changes, holders) =
            told.pass(70 + i64::try_from(user).unwrap(), &say(user..=user, &[]));
        assert_eq!((changes, holders.len()), (0, 10), "{user}");
    }
    // Who is seen again is not held any more.
    assert_eq!(told.pass(90, &say(1..=10, &[TEAM])).0, 0);
    assert!(!told.view.rights.misses_any());
}

#[test]
fn few_who_come_empty_go_at_the_second_look() {
    let (mut told, say) = ten();
    told.pass(30, &say(1..=5, &[]));
    assert_eq!(told.view.rights_held(Share::FIFTH), []);
    assert_eq!(told.pass(60, &say(1..=5, &[])).0, 5);
    told.pass(61, &say(6..=10, &[TEAM]));
    assert_eq!(told.held().len(), 5);
}

#[test]
fn what_was_not_read_changes_nothing() {
    let mut told = Told::new();
    told.pass(0, &[says(1, &[TEAM])]);
    let odd = (user(1), Err(BatchMiss::Odd("odd".into())));
    let gone = (user(1), Err(BatchMiss::Gone));
    let kept = vec![format!("1 {TEAM}")];
    assert_eq!(told.pass(30, std::slice::from_ref(&odd)), (0, kept.clone()));
    assert_eq!(told.pass(60, std::slice::from_ref(&gone)), (0, kept.clone()));
    assert_eq!(told.pass(90, std::slice::from_ref(&gone)), (0, kept));
    assert_eq!(
        told.pass(91, &[gone, says(2, &[TEAM])]).1,
        [format!("2 {TEAM}")],
        "others are there"
    );
}

#[test]
fn where_the_directory_lists_a_plan_usage_rights_to_it_are_not_kept() {
    let mut told = Told::new();
    told.pass(0, &[says(1, &[TEAM])]);
    told.view.skus = [sku(5, "p.panel.team", &[])].into();
    let (changes, held) = told.pass(30, &[says(1, &[TEAM, "p.panel.pro"])]);
    assert_eq!((changes, held.len()), (1, 1), "a SKU whose holders are not shown tells nothing");
    told.view.users = tenant(vec![sku(5, "p.panel.team", &[])]).users;
    let (changes, held) = told.pass(60, &[says(1, &[TEAM, "p.panel.pro"])]);
    assert_eq!((changes, held), (1, vec!["1 p.panel.pro".to_owned()]));
    assert_eq!(told.pass(90, &[says(1, &[TEAM])]), (1, vec![]), "the rest is gone at once");
    assert_eq!(told.pass(91, &[says(2, &[TEAM])]), (0, vec![]));
}

#[test]
fn a_plan_id_alone_is_a_name_only_if_no_other_plan_has_it() {
    let catalog = catalog();
    let view = tenant(vec![]);
    let ours = Ours { view: &view, catalog: &catalog };
    let check = |identifier: &str, plan: Option<&str>| {
        let rights = ours.rights(&rows(&[identifier]));
        let of: Vec<&str> = ours.plans_of(&rights[0]).map(|it| it.service_id.as_str()).collect();
        assert_eq!(of, plan.into_iter().collect::<Vec<_>>(), "{identifier}");
    };
    check("Team", Some("p.panel.team"));
    check("pro", None);
    check("P.Other.Pro", Some("p.other.pro"));
    check("q.panel.team", None);
}

#[test]
fn a_later_question_is_not_overtaken_by_an_earlier_one() {
    let mut told = Told::new();
    told.pass(10, &[says(1, &[TEAM]), says(2, &[TEAM])]);
    let asking = Asking { now: at(11), ..asking(9) };
    let planned = plan(&told.view, &catalog(), &[says(1, &[]), says(2, &[TEAM])], &asking);
    assert_eq!((planned.rights.len(), planned.changes.len()), (0, 0));
    let back = Asking { at: at(5), now: at(6), ..asking };
    let planned = plan(&told.view, &catalog(), &[says(1, &["p.panel.pro"])], &back);
    assert_eq!(planned.changes.len(), 1, "the clock was set back");
}

#[test]
fn a_look_that_finds_nothing_writes_nothing() {
    let mut told = Told::new();
    told.pass(0, &[says(1, &[])]);
    assert_eq!(plan(&told.view, &catalog(), &[says(1, &[])], &asking(5)), Planned::default());
}

#[test]
fn of_too_many_who_hold_nothing_the_oldest_are_forgotten_and_never_one_who_holds_something() {
    let most = u128::try_from(EMPTY_MAX).unwrap();
    let check = |empty: bool, answer: &RightsOf, forgets: Option<u128>, changes| {
        let mut told = Told { hides: true, ..Told::new() };
        told.view.rights_source.proven = Some((APP.into(), at(0)));
        let catalog = catalog();
        let view = tenant(vec![]);
        let rows = Ours { view: &view, catalog: &catalog }.rights(&rows(&[TEAM]));
        for n in 0..most {
            let rows = if empty { vec![] } else { rows.clone() };
            let it = UserRights::seen(rows, at(if n == 7 { 0 } else { 5 }));
            told.view.rights.insert(user(n), Arc::new(it));
        }
        assert_eq!(told.pass(10, std::slice::from_ref(answer)).0, changes);
        assert_eq!(told.view.rights.len(), EMPTY_MAX + usize::from(forgets.is_none()));
        let gone = (0..most).find(|it| told.view.rights.get(user(*it)).is_none());
        assert_eq!(gone, forgets);
    };
    check(false, &says(999_999, &[TEAM]), None, 1);
    check(false, &says(999_999, &[]), None, 0);
    check(true, &says(999_999, &[TEAM]), None, 1);
    check(true, &says(999_999, &[]), Some(7), 0);
}

#[test]
fn who_holds_nothing_is_remembered_only_where_licences_are_hidden_and_the_app_sees() {
    let mut told = Told::new();
    told.pass(0, &[says(1, &[])]);
    told.hides = true;
    told.pass(1, &[says(1, &[])]);
    assert_eq!(told.without(), [], "this app has seen nobody's rights: silence says nothing");
    told.pass(2, &[says(2, &[TEAM])]);
    told.pass(3, &[says(1, &[])]);
    assert_eq!((told.without(), told.held().len()), (vec![1], 1));
    // Who loses what he had is known to hold nothing from then on.
    told.pass(4, &[says(2, &[]), says(3, &[TEAM])]);
    assert_eq!(told.without(), [1, 2]);
    let (changes, _) = told.pass(5, &[says(1, &[]), says(2, &[])]);
    assert_eq!(changes, 0);
    assert_eq!(told.pass(6, &[says(1, &[TEAM])]).0, 1);
    assert_eq!(told.without(), [2]);
    // The directory shows everything now: nobody is remembered for nothing.
    told.hides = false;
    told.pass(7, &[says(2, &[])]);
    assert_eq!(told.without(), []);
}

#[test]
fn one_who_came_without_beside_one_with_rights_is_remembered_at_once() {
    let mut told = Told::new();
    told.pass(0, &[says(1, &[]), says(2, &[TEAM])]);
    assert_eq!(told.without(), [1]);
}
