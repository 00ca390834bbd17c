//! Numbers, proofs, hosts, what was not read, the choice, the past: rules 1 and 5 to 9.

use jiff::SignedDuration;
use uuid::Uuid;

use super::*;
use crate::domain::{Cause, Change, Entity, OnStale, Outcome, OverLimit, Run, RunId, Trigger};

fn usable(kind: LicenseKind, proof: Proof) -> License<'static> {
    License { kind, proof, ..license() }
}

// Rule 5: numbers and proofs

#[test]
fn users_over_the_maximum_are_warned_or_refused() {
    let product = visual();
    let check = |before, over_limit, host, says| {
        let users = Some(Users { max: 2, before });
        let it = License { users, over_limit, ..license() };
        check_license(it, &asked(&product, host), says).notice
    };
    let (active, over) = ("active/license_active", "unlicensed/over_limit");
    assert_eq!(check(1, None, Host::Web, active), None);
    assert_eq!(check(2, None, Host::Web, active), Some(Notice::OverLimit { max: 2 }));
    assert_eq!(check(2, Some(OverLimit::Deny), Host::Web, over), None);
    assert_eq!(check(1, Some(OverLimit::Deny), Host::Web, active), None);
    assert_eq!(check(9, Some(OverLimit::Deny), Host::PublishToWeb, active), None);
    let users = Some(Users { max: 0, before: 9 });
    let it = License { kind: LicenseKind::Capacity, users, ..license() };
    assert_eq!(check_license(it, &asked(&product, Host::Web), active).notice, None);
    let it = License { users, standing: Standing::Revoked, ..license() };
    check_license(it, &asked(&product, Host::Web), "expired/license_revoked");
}

#[test]
fn the_policy_refuses_where_the_license_does_not_say() {
    let product = visual();
    let known = Known::default();
    let knowledge = Knowledge::of(known, Cloud::Public);
    let policy = Policy { over_limit: OverLimit::Deny, ..Policy::default() };
    let users = Some(Users { max: 1, before: 1 });
    let check = |over_limit, reason| {
        let evidence = [Evidence::License(License { users, over_limit, ..license() })];
        let it = decide(&asked(&product, Host::Web), &evidence, &knowledge, &policy, now());
        assert_eq!(it.reason, reason);
    };
    check(None, Reason::OverLimit);
    check(Some(OverLimit::Warn), Reason::LicenseActive);
}

#[test]
fn a_product_takes_only_the_proofs_of_its_hybrid_mode() {
    let check = |hybrid, proof, says| {
        let product = product(hybrid, vec![]);
        let it = usable(LicenseKind::User, proof);
        check_license(it, &asked(&product, Host::Web), says).source
    };
    let (active, none) = ("active/license_active", "unlicensed/license_not_recognized");
    let id = Proof::IdAndLicensee;
    assert_eq!(check(HybridMode::Licensee, id, active), Some(Channel::Hybrid));
    assert_eq!(check(HybridMode::Entra, id, none), None);
    assert_eq!(check(HybridMode::None, id, none), None);
    let entra = Proof::EntraActivation;
    assert_eq!(check(HybridMode::Entra, entra, active), Some(Channel::Hybrid));
    assert_eq!(check(HybridMode::None, entra, none), None);
    for hybrid in HybridMode::ALL {
        assert_eq!(check(*hybrid, Proof::Package, active), Some(Channel::Direct));
    }
}

#[test]
fn what_was_shown_and_not_recognized_is_said() {
    let visual = visual();
    let nobody =
        Question { tenant: None, user: None, license_refused: true, ..asked(&visual, Host::Web) };
    let (policy, commit) = (Policy::default(), Commit::default());
    check_question(&commit, &nobody, &policy, "unlicensed/license_not_recognized");
    let embedded = Question { host: Host::Embed, ..nobody };
    check_question(&commit, &embedded, &policy, "unlicensed/license_not_recognized");
    let somebody = Question { license_refused: true, ..asked(&visual, Host::Web) };
    check_question(&commit, &somebody, &policy, "unknown/never_read");
}

#[test]
fn a_usage_right_is_what_its_word_says() {
    let visual = visual();
    let check = |state: &str, age_h: i64, says: &str| {
        let plan = visual.plans.first().unwrap();
        let right = UsageRight { plan, state, as_of: now() - h(age_h) };
        let known = Known { last_complete: Some(now()), ..Known::default() };
        let knowledge = Knowledge::of(known, Cloud::Public);
        let evidence = [Evidence::UsageRight(right)];
        let question = asked(&visual, Host::Web);
        let it = decide(&question, &evidence, &knowledge, &Policy::default(), now());
        assert_eq!(format!("{}/{}", it.state, it.reason), says, "{state}");
    };
    check("Active", 0, "active/seat_path_unknown");
    check("warning", 0, "grace/seat_grace");
    check("suspended", 0, "suspended/seat_suspended");
    check("inactive", 0, "unlicensed/seat_not_assigned");
    check("dormant", 0, "unknown/status_unrecognized");
    check("active", 100, "grace/stale");
}

// Rule 6: hosts

fn one_seat(status: &str, ages: (Option<i64>, Option<i64>)) -> Commit {
    let skus = vec![sku(5, status, "p.panel.team")];
    world(vec![], skus, vec![licence(5, vec![path(group(), "Active")])], ages)
}

#[test]
fn a_seat_counts_only_where_a_user_signs_in() {
    let visual = visual();
    for host in Host::ALL {
        let says = match host {
            Host::Web | Host::Desktop | Host::Mobile | Host::Dashboard => "active/seat_by_group",
            Host::Embed | Host::ReportServer | Host::PublishToWeb | Host::Export => {
                "unlicensed/host_unsupported"
            }
        };
        let question = asked(&visual, *host);
        for age in [Some(0), Some(200), None] {
            let commit = one_seat("Enabled", (None, age));
            let it = answer(&mirror(&commit), &question, &Policy::default(), now());
            let unsupported = says.starts_with("unlicensed");
            assert_eq!(it.reason == Reason::HostUnsupported, unsupported, "{host} {age:?}");
        }
        check_question(&one_seat("Enabled", (None, Some(0))), &question, &Policy::default(), says);
    }
}

#[test]
fn a_site_counts_only_embedded_and_on_its_domain() {
    let product = visual();
    let check = |host, site, domain, says| {
        let it = License { domain, ..usable(LicenseKind::Site, Proof::Package) };
        check_license(it, &Question { site, ..asked(&product, host) }, says)
    };
    let (active, none) = ("active/license_active", "unlicensed/host_unsupported");
    let (site, domain) = (Some("https://bi.contoso.example/r"), Some("contoso.example"));
    check(Host::Embed, site, domain, active);
    check(Host::Embed, Some("https://bi.fabrikam.example"), domain, none);
    check(Host::Embed, None, domain, none);
    check(Host::Embed, site, None, none);
    check(Host::Web, site, domain, "unknown/never_read");
}

#[test]
fn in_a_national_cloud_only_a_package_counts() {
    let mut commit = one_seat("Enabled", (None, Some(0)));
    for it in &mut commit.tenants {
        it.cloud = Cloud::National;
    }
    check(&commit, &visual(), "unlicensed/host_unsupported");
    let known = Known::default();
    let knowledge = Knowledge::of(known, Cloud::National);
    let visual = visual();
    let check = |proof, reason| {
        let evidence = [Evidence::License(usable(LicenseKind::User, proof))];
        let question = asked(&visual, Host::Web);
        let it = decide(&question, &evidence, &knowledge, &Policy::default(), now());
        assert_eq!(it.reason, reason, "{proof:?}");
    };
    check(Proof::Package, Reason::LicenseActive);
    check(Proof::EntraActivation, Reason::HostUnsupported);
}

// Rule 7: what was not read

#[test]
fn not_read_is_unknown_and_read_is_unlicensed() {
    let consent = |mut commit: Commit, consent| {
        for it in &mut commit.tenants {
            it.consent = consent;
        }
        commit
    };
    let directory = |age| world(vec![], vec![], vec![], (None, age));
    let never = SourceState::default();
    let mut begun = directory(Some(0));
    begun.sources = vec![(SourceKey::directory(tenant(1)), never)];
    let visual = visual();
    check(&directory(None), &visual, "unknown/never_read");
    check(&begun, &visual, "unknown/never_read");
    check(&consent(begun.clone(), Consent::Missing), &visual, "unknown/no_consent");
    check(&consent(directory(Some(0)), Consent::Revoked), &visual, "unknown/no_consent");
    check(&directory(Some(0)), &visual, "unlicensed/not_licensed");
    check(&directory(Some(71)), &visual, "unlicensed/not_licensed");
    check(&directory(Some(73)), &visual, "unknown/stale");
    let saas = saas(Coverage::Tenant);
    let list = |age| world(vec![], vec![], vec![], (age, None));
    check(&list(None), &saas, "unknown/never_read");
    check(&list(Some(0)), &saas, "unlicensed/not_licensed");
    check(&list(Some(73)), &saas, "unknown/stale");
}

#[test]
fn only_a_source_that_could_hold_a_right_matters() {
    let both =
        Product { plans: [visual().plans, saas(Coverage::Tenant).plans].concat(), ..visual() };
    let commit = |ages| world(vec![], vec![], vec![], ages);
    check(&commit((Some(0), None)), &both, "unknown/never_read");
    check(&commit((None, Some(0))), &both, "unknown/never_read");
    let it = check(&commit((Some(2), Some(0))), &both, "unlicensed/not_licensed");
    assert_eq!((it.as_of, it.stale), (Some(now() - h(2)), true));
    let own = product(HybridMode::Entra, vec![]);
    let it = check(&commit((None, None)), &own, "unlicensed/not_licensed");
    assert_eq!((it.as_of, it.stale), (Some(now()), false));
}

#[test]
fn evidence_that_was_found_keeps_its_own_state() {
    let both =
        Product { plans: [visual().plans, saas(Coverage::Seats).plans].concat(), ..visual() };
    let check = |status: &str, quantity, says| {
        let it = Subscription { quantity, ..subscription(3, status) };
        check(&world(vec![it], vec![], vec![], (Some(0), None)), &both, says)
    };
    check("Unsubscribed", None, "expired/subscription_ended");
    check("Suspended", None, "suspended/subscription_suspended");
    check("Subscribed", Some(0), "unlicensed/no_free_seat");
}

#[test]
fn a_seat_in_error_is_no_evidence_where_something_was_not_read() {
    let both =
        Product { plans: [visual().plans, saas(Coverage::Tenant).plans].concat(), ..visual() };
    let skus = || vec![sku(5, "Enabled", "p.panel.team")];
    let failed = || vec![licence(5, vec![path(group(), "Error")])];
    check(&world(vec![], skus(), failed(), (None, Some(0))), &both, "unknown/never_read");
    check(&world(vec![], skus(), failed(), (Some(0), Some(99))), &both, "unknown/stale");
    check(&world(vec![], skus(), failed(), (Some(0), Some(0))), &both, "unlicensed/seat_in_error");
}

#[test]
fn nothing_is_keyed_on_a_personal_account() {
    let it = Question { personal_account: true, ..asked(&visual(), Host::Web) }.keyed_tenant();
    assert_eq!(it, None);
    let visual = visual();
    let question = Question { personal_account: true, ..asked(&visual, Host::Web) };
    let says = "unlicensed/personal_account";
    check_question(&one_seat("Enabled", (None, Some(0))), &question, &Policy::default(), says);
}

// Rule 8: age

#[test]
fn an_old_right_counts_until_it_is_no_longer_trusted() {
    let check = |on_stale, age, says, stale| {
        let policy = Policy { on_stale, ..Policy::default() };
        let commit = one_seat("Enabled", (None, age));
        let visual = visual();
        let it = check_question(&commit, &asked(&visual, Host::Web), &policy, says);
        assert_eq!((it.stale, it.as_of), (stale, age.map(|age| now() - h(age))), "{age:?}");
    };
    for on_stale in OnStale::ALL {
        check(*on_stale, Some(1), "active/seat_by_group", false);
        check(*on_stale, Some(2), "active/seat_by_group", true);
        check(*on_stale, Some(72), "active/seat_by_group", true);
    }
    check(OnStale::Grace, Some(73), "grace/stale", true);
    check(OnStale::Deny, Some(73), "unknown/stale", true);
}

#[test]
fn age_changes_nothing_about_a_right_that_is_over() {
    for on_stale in OnStale::ALL {
        let policy = Policy { on_stale: *on_stale, ..Policy::default() };
        let visual = visual();
        let question = asked(&visual, Host::Web);
        let commit = one_seat("Suspended", (None, Some(999)));
        let it = check_question(&commit, &question, &policy, "suspended/seat_suspended");
        assert!(it.stale);
    }
}

#[test]
fn a_withdrawn_consent_lets_found_rights_count_by_age() {
    let check = |age, says| {
        let mut commit = one_seat("Enabled", (None, Some(age)));
        for it in &mut commit.tenants {
            it.consent = Consent::Revoked;
        }
        check(&commit, &visual(), says)
    };
    check(2, "active/seat_by_group");
    // Then as long as one who does not pay, and no longer.
    let end = now() + h(72 - 73 + 30 * 24);
    assert_eq!(check(73, "grace/stale").grace_end, Some(end));
    check(72 + 30 * 24 - 1, "grace/stale");
    let it = check(72 + 30 * 24, "unknown/no_consent");
    assert_eq!((it.usable, it.grace_end, it.stale), (false, None, true));
    // Microsoft that cannot be reached is nobody's fault: there the grace has no end.
    let unreachable = one_seat("Enabled", (None, Some(9_999)));
    assert_eq!(super::check(&unreachable, &visual(), "grace/stale").grace_end, None);
}

#[test]
fn a_subscription_from_before_the_first_list_is_as_old_as_its_reading() {
    let commit = world(vec![subscription(3, "Subscribed")], vec![], vec![], (None, None));
    let it = check(&commit, &saas(Coverage::Tenant), "active/subscription_active");
    assert_eq!((it.as_of, it.stale), (Some(now() - h(5)), true));
}

// Rule 1: the choice

#[test]
fn the_best_state_wins_then_features_then_the_longest() {
    let few = plan("p.panel.few", Channel::Appsource, "a");
    let many = plan("p.panel.many", Channel::Appsource, "a b");
    let product = product(HybridMode::None, vec![few, many]);
    let check = |seats: &[(u128, &str, &str, Option<i64>)], winner: &str| {
        let skus = seats.iter().map(|(n, status, plan, ends)| {
            let name = format!("p.panel.{plan}");
            Sku { next_lifecycle: ends.map(|ends| now() + h(ends)), ..sku(*n, status, &name) }
        });
        let licences = seats.iter().map(|(n, ..)| licence(*n, vec![])).collect();
        let commit = world(vec![], skus.collect(), licences, (None, Some(0)));
        let (it, trail) =
            explain(&mirror(&commit), &asked(&product, Host::Web), &Policy::default(), now());
        let plan = it.plan.map(|it| it.plan().to_owned()).unwrap_or_default();
        let ends = it.period_end.map(|end| end.duration_since(now()).as_hours());
        assert_eq!(format!("{plan} {ends:?}"), winner);
        trail.steps.get(1).map(|it| it.rule.clone()).unwrap_or_default()
    };
    let rule = check(&[(5, "Warning", "many", None), (6, "Enabled", "few", None)], "few None");
    assert_eq!(rule, "active is better than grace (rule 1)");
    let rule =
        check(&[(5, "Enabled", "few", None), (6, "Enabled", "many", Some(1))], "many Some(1)");
    assert_eq!(rule, "as good, but with fewer features than appsource (rule 1)");
    let rule =
        check(&[(5, "Enabled", "few", Some(9)), (6, "Enabled", "few", Some(8))], "few Some(9)");
    assert_eq!(rule, "as good, but it ends sooner (rule 1)");
    check(&[(5, "Enabled", "few", Some(9)), (6, "Enabled", "few", None)], "few None");
    check(&[(5, "Suspended", "few", None), (6, "Deleted", "many", None)], "few None");
}

#[test]
fn only_a_usable_answer_unlocks_features_and_lasts_a_day() {
    let it = check(&one_seat("Enabled", (None, Some(0))), &visual(), "active/seat_by_group");
    assert_eq!((it.features.len(), it.valid_until), (1, now() + h(24)));
    assert_eq!((it.source, it.check_after_s), (Some(Channel::Appsource), 3600));
    assert_eq!(it.plan.map(|it| it.plan().to_owned()).as_deref(), Some("team"));
    let it = check(&one_seat("Suspended", (None, Some(0))), &visual(), "suspended/seat_suspended");
    let short = now() + SignedDuration::from_mins(5);
    assert_eq!((it.features.len(), it.valid_until, it.check_after_s), (0, short, 300));
}

// Rule 9: the trail

#[test]
fn the_trail_names_paths_errors_sources_and_rules() {
    let paths = vec![path(group(), "Error"), path(Via::Direct, "Active")];
    let skus = vec![sku(5, "Enabled", "p.panel.team")];
    let commit = world(vec![], skus, vec![licence(5, paths)], (None, Some(2)));
    let visual = visual();
    let ask = |host| explain(&mirror(&commit), &asked(&visual, host), &Policy::default(), now()).1;
    let trail = ask(Host::Web);
    let says = format!(
        "Enabled; direct: Active; group {}: Error CountViolation (no seat was free when Microsoft \
         assigned it)",
        Uuid::from_u128(GROUP)
    );
    assert_eq!(trail.steps.first().map(|it| it.says.clone()), Some(says));
    let source = trail.sources.first().map(|it| it.says);
    assert_eq!(source, Some("read, but longer ago than its max_age (rule 8)"));
    let trail = ask(Host::Export);
    let step = trail.steps.first().unwrap();
    assert_eq!(step.fate, Fate::Dropped);
    assert_eq!(step.rule, "channel appsource does not count in host export here (rule 6)");
    assert!(trail.sources.is_empty());
}

// The past

#[test]
fn the_past_is_the_mirror_with_what_came_since_undone() {
    let at = |hours| now() - h(hours);
    let (user_id, before, after) = (user(9), None, UserLicences::new([licence(5, vec![])]));
    let (run, key) = (Cause::Run(RunId(4)), (tenant(1), user_id));
    let sold = subscription(3, "Subscribed");
    let ended = subscription(3, "Unsubscribed");
    let changes = [
        Change::of_sku(
            at(9),
            run.clone(),
            (tenant(1), sku_id(5)),
            None,
            Some(&sku(5, "Enabled", "p.panel.team")),
        ),
        Change::of_subscription(at(8), run.clone(), None, &sold),
        Change::of_user(at(6), run.clone(), key, before, Some(after)),
        Change::of_subscription(at(4), run, Some(&sold), &ended),
    ];
    let mut skus = vec![sku(5, "Enabled", "p.panel.team")];
    let commit =
        world(vec![ended], std::mem::take(&mut skus), vec![licence(5, vec![])], (Some(0), Some(0)));
    let full = |key, hours| Run {
        id: RunId(1),
        key,
        trigger: Trigger::Schedule,
        full: true,
        started: at(hours),
        ended: at(hours),
        outcome: Outcome::Complete,
        seen: 0,
        added: 0,
        changed: 0,
        removed: 0,
        odd: 0,
        requests: 0,
        throttled: SignedDuration::ZERO,
        error: None,
    };
    let both = |hours| {
        [full(SourceKey::SUBSCRIPTIONS, hours), full(SourceKey::directory(tenant(1)), hours)]
    };
    let runs: Vec<Run> = [9, 7, 5, 3].into_iter().flat_map(both).collect();
    let (visual, saas) = (visual(), saas(Coverage::Tenant));
    let check = |hours, seat: &str, bought: &str| {
        let past = Past { at: at(hours), changes: &changes, journal_since: None, runs: &runs };
        let ask = |product| {
            let question = Question { user: Some(user_id), ..asked(product, Host::Web) };
            let then = rewind(&mirror(&commit), past, &question, &Policy::default());
            let it = answer(&then, &question, &Policy::default(), at(hours));
            format!("{}/{}", it.state, it.reason)
        };
        assert_eq!(
            (ask(&visual).as_str(), ask(&saas).as_str()),
            (seat, bought),
            "{hours} hours ago"
        );
    };
    let none = "unlicensed/not_licensed";
    check(10, "unknown/never_read", "unknown/never_read");
    check(9, none, none);
    check(8, none, "active/subscription_active");
    check(7, none, "active/subscription_active");
    check(6, "active/seat_path_unknown", "active/subscription_active");
    check(4, "active/seat_path_unknown", "expired/subscription_ended");
    check(0, "active/seat_path_unknown", "expired/subscription_ended");
}

#[test]
fn the_past_knows_who_sat_where_and_which_tenants_were_there() {
    let at = |hours| now() - h(hours);
    let product = saas(Coverage::Seats);
    let seat = crate::domain::HeldSeat { taken_at: at(3), last_used: at(1) };
    let other = (tenant(1), user(8));
    let it = Subscription { quantity: Some(1), ..subscription(3, "Subscribed") };
    let mut commit = world(vec![it], vec![], vec![], (Some(9), Some(9)));
    commit.holders.push((sub_id(3), crate::domain::Holders::new([(other, seat)])));
    let changes = [
        Change::of_tenant(at(5), Cause::Command, None, commit.tenants.first().unwrap()),
        Change::of_held_seat(at(3), Cause::Activation, sub_id(3), other, None, seat),
    ];
    assert_eq!(changes.last().map(|it| it.entity), Some(Entity::HeldSeat));
    let ask = |hours| {
        let past = Past { at: at(hours), changes: &changes, journal_since: None, runs: &[] };
        let question = asked(&product, Host::Web);
        let then = rewind(&mirror(&commit), past, &question, &Policy::default());
        let it = answer(&then, &question, &Policy::default(), at(hours));
        (it.reason, then.tenant(tenant(1)).is_some())
    };
    assert_eq!(ask(2), (Reason::NoFreeSeat, true));
    assert_eq!(ask(4), (Reason::SubscriptionActive, true));
    assert_eq!(ask(6), (Reason::SubscriptionActive, false));
}
