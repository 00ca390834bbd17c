//! What could not be read is never taken for "no licence": rule 7.

use super::*;
use crate::domain::{Unread, Whose};

fn unread(whose: Whose, offer: Option<&str>, plan: Option<&str>) -> Unread {
    Unread {
        key: "record 1".into(),
        id: None,
        whose,
        offer: offer.map(Arc::from),
        plan: plan.map(Arc::from),
        since: now() - h(1),
        why: "its `quantity` is no number".into(),
    }
}

/// Tenant 1 with these subscriptions, a list read `age` hours ago, and something unread in it.
fn with(subscriptions: Vec<Subscription>, age: Option<i64>, it: Unread) -> Commit {
    let unread = vec![(Arc::clone(&it.key), Some(it))];
    Commit { unread, ..world(subscriptions, vec![], vec![], (age, Some(0))) }
}

#[test]
fn it_makes_unknown_who_could_hold_it_and_nobody_else() {
    let product = saas(Coverage::Tenant);
    let (yes, no) = ("unknown/record_unread", "unlicensed/not_licensed");
    let says = |whose, offer, plan, says| {
        check(&with(vec![], Some(0), unread(whose, offer, plan)), &product, says);
    };
    let theirs = Whose::Tenant(tenant(1));
    says(theirs, None, None, yes);
    says(theirs, Some("suite"), Some("gold"), yes);
    says(theirs, Some("suite-preview"), None, yes);
    says(theirs, None, Some("gold"), yes);
    says(theirs, Some("another"), None, no);
    says(theirs, Some("suite"), Some("silver"), no);
    says(Whose::Tenant(tenant(2)), None, None, no);
    says(Whose::Anybody, None, None, yes);
    says(Whose::Anybody, Some("another"), None, no);
    says(Whose::Nobody, None, None, no);
}

#[test]
fn what_was_found_keeps_its_own_state() {
    let product = saas(Coverage::Tenant);
    let it = || unread(Whose::Tenant(tenant(1)), None, None);
    for (status, says) in [
        ("Subscribed", "active/subscription_active"),
        ("PendingFulfillmentStart", "pending/subscription_pending"),
        ("Suspended", "suspended/subscription_suspended"),
        ("Unsubscribed", "expired/subscription_ended"),
    ] {
        check(&with(vec![subscription(1, status)], Some(0), it()), &product, says);
    }
}

#[test]
fn it_matters_only_where_a_subscription_could_speak() {
    let it = || unread(Whose::Anybody, None, None);
    check(&with(vec![], Some(0), it()), &visual(), "unlicensed/not_licensed");
    let product = saas(Coverage::Tenant);
    let embedded = asked(&product, Host::Embed);
    let commit = with(vec![], Some(0), it());
    check_question(&commit, &embedded, &Policy::default(), "unlicensed/host_unsupported");
    let personal = Question { personal_account: true, ..asked(&product, Host::Web) };
    check_question(&commit, &personal, &Policy::default(), "unlicensed/personal_account");
    check(&with(vec![], None, it()), &product, "unknown/never_read");
}

#[test]
fn the_past_knows_of_it_since_it_was_found() {
    let product = saas(Coverage::Tenant);
    let mirror = mirror(&with(vec![], Some(10), unread(Whose::Anybody, None, None)));
    let question = asked(&product, Host::Web);
    let then = |hours: i64| {
        let past = Past { at: now() - h(hours), changes: &[], journal_since: None, runs: &[] };
        let past = rewind(&mirror, past, &question, &Policy::default());
        answer(&past, &question, &Policy::default(), now() - h(hours)).reason
    };
    assert_eq!((then(0), then(2)), (Reason::RecordUnread, Reason::NotLicensed));
}

#[test]
fn a_user_about_whom_something_was_odd_is_unknown_unless_he_holds_something() {
    let visual = visual();
    let world = |holds: Vec<Licence>, who: u128| {
        let skus = vec![sku(6, "Enabled", "m365.e5"), sku(7, "Enabled", "p.panel.team")];
        let mut commit = world(vec![], skus, holds.clone(), (Some(0), Some(0)));
        let it = UserLicences { unread: true, ..UserLicences::new(holds) };
        let writes = UserWrites::Patch(vec![(user(who), Some(it))]);
        commit.users.push(TenantUsers { tenant: tenant(1), writes });
        commit
    };
    let unknown = "unknown/record_unread";
    check(&world(vec![], 9), &visual, unknown);
    check(&world(vec![], 8), &visual, "unlicensed/not_licensed");
    check(&world(vec![licence(7, vec![])], 9), &visual, "active/seat_path_unknown");
    let intended = Licence { assigned: false, ..licence(7, vec![]) };
    check(&world(vec![intended], 9), &visual, unknown);
    check(&world(vec![], 9), &saas(Coverage::Tenant), "unlicensed/not_licensed");
}

#[test]
fn a_sku_that_a_plan_names_and_the_tenant_does_not_list_makes_its_holder_unknown() {
    let mut visual = visual();
    let says = |visual: &Product, licence, says| {
        let skus = vec![sku(6, "Enabled", "m365.e5")];
        check(&world(vec![], skus, vec![licence], (Some(0), Some(0))), visual, says);
    };
    says(&visual, licence(7, vec![]), "unlicensed/not_licensed");
    visual.plans[0].sku_ids = vec![sku_id(7)];
    says(&visual, licence(7, vec![]), "unknown/record_unread");
    says(&visual, licence(8, vec![]), "unlicensed/not_licensed");
    let intended = Licence { assigned: false, ..licence(7, vec![]) };
    says(&visual, intended, "unlicensed/not_licensed");
}
