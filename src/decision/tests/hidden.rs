//! A tenant whose licences only usage rights show: whoever was not read is not known to hold none.

use super::*;
use crate::domain::{
    Cause, Change, Deal, DealId, ReportOrigin, ReportedLicence, Right, RunId, UserRights,
};

const NEVER: &str = "unknown/rights_unread";
const NONE: &str = "unlicensed/not_licensed";

/// Tenant 1, read completely: E5 only, nothing of ours.
fn read_tenant() -> Commit {
    world(vec![], vec![sku(6, "Enabled", "m365.e5")], vec![], (Some(0), Some(0)))
}

fn rights(commit: &mut Commit, who: u128, identifiers: &[&str]) {
    let right = |it: &&str| Right {
        identifier: (*it).into(),
        catalog: None,
        state: "active".into(),
        bare: None,
    };
    let it = UserRights::seen(identifiers.iter().map(right).collect(), now());
    commit.rights.push((tenant(1), user(who), Some(it)));
}

fn line(service_id: &str, provisioned: Option<u64>, assigned: Option<u64>) -> ReportedLicence {
    ReportedLicence {
        tenant: tenant(1),
        service_id: service_id.into(),
        sku_name: "".into(),
        provisioned,
        assigned,
        state: None,
        activated: None,
        product: None,
        reported_at: now(),
        origin: ReportOrigin::Import,
    }
}

#[test]
fn the_licence_report_says_that_there_are_some() {
    let says = |line: ReportedLicence, says| {
        let commit = Commit { reported: vec![(tenant(1), vec![line])], ..read_tenant() };
        check(&commit, &visual(), says);
    };
    check(&read_tenant(), &visual(), NONE);
    says(line("p.panel.team", Some(5), Some(0)), NEVER);
    says(line("p.panel.team", Some(5), Some(5)), NEVER);
    says(line("p.panel.team", Some(0), Some(5)), NEVER);
    says(line("p.panel.team", None, None), NEVER);
    says(line("p.panel.team", Some(0), Some(0)), NONE);
    says(line("p.panel.team", Some(0), None), NONE);
    says(line("p.other.team", Some(5), Some(5)), NONE);
}

#[test]
fn a_deal_says_so_even_when_its_contract_is_over() {
    let says = |licences, who, says| {
        let deal = Deal {
            id: DealId(1),
            tenant: tenant(who),
            service_id: "p.panel.team".parse().unwrap(),
            licences,
            starts: None,
            ends: Some(jiff::civil::date(2020, 1, 1)),
            reference: None,
            entered: now(),
        };
        let commit = Commit { deals: vec![(deal.id, Some(Arc::new(deal)))], ..read_tenant() };
        check(&commit, &visual(), says);
    };
    says(5, 1, NEVER);
    says(0, 1, NONE);
    says(5, 2, NONE);
}

#[test]
fn a_purchase_says_so_until_it_ends_or_this_user_was_read() {
    let bought = |status: &str, offer: &str, quantity| {
        let it = subscription(3, status);
        let it = Subscription { offer: offer.into(), plan: "team".into(), quantity, ..it };
        let subscriptions = vec![(it, RawRecord::from("{}"))];
        Commit { subscriptions, ..read_tenant() }
    };
    check(&bought("Subscribed", "panel", Some(5)), &visual(), NEVER);
    check(&bought("Subscribed", "panel-preview", None), &visual(), NEVER);
    check(&bought("Suspended", "panel", Some(5)), &visual(), NEVER);
    check(&bought("Unsubscribed", "panel", Some(5)), &visual(), NONE);
    check(&bought("PendingFulfillmentStart", "panel", Some(5)), &visual(), NONE);
    check(&bought("Subscribed", "panel", Some(0)), &visual(), NONE);
    check(&bought("Subscribed", "other", Some(5)), &visual(), NONE);
    let mut read = bought("Subscribed", "panel", Some(5));
    rights(&mut read, 9, &[]);
    check(&read, &visual(), NONE);
    rights(&mut read, 9, &["p.panel.team"]);
    check(&read, &visual(), "active/seat_path_unknown");
    // Where the publisher keeps the users himself, the subscription is all there is to know.
    let saas = product(HybridMode::None, vec![plan("p.panel.team", Channel::Saas, "maps")]);
    check(&bought("Unsubscribed", "panel", Some(5)), &saas, "expired/subscription_ended");
    check(&bought("Subscribed", "other", Some(5)), &saas, NONE);
}

#[test]
fn a_right_of_somebody_else_says_so_until_this_user_was_read() {
    let mut commit = read_tenant();
    rights(&mut commit, 8, &["p.panel.team"]);
    check(&commit, &visual(), NEVER);
    let other = product(HybridMode::None, vec![plan("p.other.pro", Channel::Appsource, "")]);
    check(&commit, &other, NONE);
    rights(&mut commit, 9, &[]);
    check(&commit, &visual(), NONE);
    let mut commit = read_tenant();
    rights(&mut commit, 8, &["p.panel.team"]);
    rights(&mut commit, 9, &["x.y.z"]);
    check(&commit, &visual(), NONE);
    rights(&mut commit, 9, &["p.panel.team"]);
    check(&commit, &visual(), "active/seat_path_unknown");
}

#[test]
fn before_a_user_was_read_it_was_not_known_whether_he_holds_none() {
    let then = |commit: &Commit| {
        let (visual, policy) = (visual(), Policy::default());
        let question = asked(&visual, Host::Web);
        // An hour ago he had not been looked up.
        let (who, after) = (user(9), UserRights::seen(vec![], now()));
        let looked_up =
            Change::of_rights(now(), Cause::Run(RunId(1)), (tenant(1), who), None, Some(&after));
        let mut mirror = mirror(commit);
        mirror = mirror
            .applied(&Commit { rights: vec![(tenant(1), who, Some(after))], ..Commit::default() });
        let at = now() - h(1);
        let past = Past { at, changes: &[looked_up], journal_since: None, runs: &[] };
        let it = answer(&rewind(&mirror, past, &question, &policy), &question, &policy, at);
        format!("{}/{}", it.state, it.reason)
    };
    let mut known = world(vec![], vec![sku(6, "Enabled", "m365.e5")], vec![], (Some(5), Some(5)));
    assert_eq!(then(&known), NONE);
    known.reported = vec![(tenant(1), vec![line("p.panel.team", Some(5), Some(5))])];
    assert_eq!(then(&known), NEVER);
    known.reported.clear();
    rights(&mut known, 8, &["p.panel.team"]);
    assert_eq!(then(&known), NEVER);
}

#[test]
fn where_usage_rights_are_switched_off_it_stays_unknown_and_nobody_need_ask_soon() {
    let on = Policy::default();
    let off = Policy { usage_rights: false, ..on };
    let visual = visual();
    let says = |commit: &Commit, policy, says| {
        check_question(commit, &asked(&visual, Host::Web), policy, says)
    };
    let lines = vec![line("p.panel.team", Some(5), Some(5))];
    let mut commit = Commit { reported: vec![(tenant(1), lines)], ..read_tenant() };
    // That nobody looks is no word on whether he holds one.
    let never = says(&commit, &on, NEVER);
    let decision = says(&commit, &off, "unknown/rights_off");
    let none = says(&read_tenant(), &off, NONE);
    assert_eq!((never.check_after_s, never.check_after_s < none.check_after_s), (60, true));
    assert_eq!(decision.check_after_s, none.check_after_s, "no look-up will tell");
    // What was read before they were switched off counts on, and so does what else is known.
    rights(&mut commit, 9, &[]);
    says(&commit, &off, NONE);
    rights(&mut commit, 9, &["p.panel.team"]);
    says(&commit, &off, "active/seat_path_unknown");
    commit.tenants[0].consent = Consent::Revoked;
    commit.rights.clear();
    says(&commit, &off, "unknown/no_consent");
}

#[test]
fn where_the_directory_lists_the_plan_it_knows_who_holds_it() {
    let listed = |licences| {
        let skus = vec![sku(5, "Enabled", "p.panel.team"), sku(6, "Enabled", "m365.e5")];
        let lines = vec![line("p.panel.team", Some(5), Some(5))];
        let mut commit = world(vec![], skus, licences, (Some(0), Some(0)));
        commit.reported = vec![(tenant(1), lines)];
        commit
    };
    check(&listed(vec![licence(6, vec![])]), &visual(), NONE);
    check(&listed(vec![licence(5, vec![])]), &visual(), "active/seat_path_unknown");
}

#[test]
fn it_matters_only_where_such_a_licence_could_speak_and_never_beside_a_right() {
    let lines = vec![line("p.panel.team", Some(5), Some(5))];
    let commit = || Commit { reported: vec![(tenant(1), lines.clone())], ..read_tenant() };
    let (visual, policy) = (visual(), Policy::default());
    let says = |question: &Question<'_>, says| {
        check_question(&commit(), question, &policy, says);
    };
    says(&asked(&visual, Host::Embed), "unlicensed/host_unsupported");
    says(&Question { user: None, ..asked(&visual, Host::Web) }, "unlicensed/user_needed");
    let mut national = commit();
    national.tenants[0].cloud = Cloud::National;
    check_question(&national, &asked(&visual, Host::Web), &policy, "unlicensed/host_unsupported");
    // What is refused or was never read is said first: there somebody can do something.
    let mut refused = commit();
    refused.tenants[0].consent = Consent::Revoked;
    check(&refused, &visual, "unknown/no_consent");
    let mut both = commit();
    both.subscriptions = vec![(subscription(3, "Subscribed"), RawRecord::from("{}"))];
    let plans = vec![
        plan("p.panel.team", Channel::Appsource, "maps"),
        plan("p.suite.gold", Channel::Saas, "maps"),
    ];
    check(&both, &product(HybridMode::None, plans), "active/subscription_active");
}
