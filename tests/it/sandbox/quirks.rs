//! What Microsoft really does where its documents say something else, one quirk after the other.

use entitled::sandbox::{Faults, Purchase};

use super::orders::Shop;
use super::*;

fn set(shop: &Shop, spec: &str) {
    shop.world(|world| world.set_faults(spec.parse().unwrap()));
}

#[tokio::test]
async fn every_fault_is_listed_with_its_meaning_and_the_readme_has_the_same_table() {
    let listed: Vec<_> = Faults::listing().collect();
    let readme = include_str!("../../../README.md");
    let names: BTreeSet<_> = listed.iter().map(|(written, _)| written.clone()).collect();
    assert_eq!(names.len(), listed.len());
    for (written, meaning) in listed {
        let spec = if written.contains('=') { written.clone() } else { format!("{written}=0.1") };
        assert_ne!(spec.parse::<Faults>().unwrap(), Faults::default(), "{written} does something");
        let row = format!("| `{written}` | {meaning} |");
        assert!(readme.contains(&row), "README lacks: {row}");
    }
}

#[tokio::test]
async fn a_next_link_may_be_malformed() {
    let spec = "page=3,marketplace.bad_link=1";
    let probe = Probe::with(spec).await;
    let token = probe.token(story::PUBLISHER_TENANT, MARKETPLACE).await;
    let page = probe.ask(&token, LIST, &[]).await.json();
    let link = page["@nextLink"].as_str().unwrap();
    assert!(link.starts_with("https:// https://main.prod.marketplaceapi.azure.com/api/"), "{link}");
    assert!(link.contains("continuationToken=%5b%7b"), "lower-case hex: {link}");
}

#[tokio::test]
async fn resolving_may_lose_the_term_and_plans_the_present_one() {
    let shop = Shop::new("resolve.without_term=1,plans.without_current=1").await;
    let id = shop.buy("team", Some(5));
    let token = shop.world(|world| world.landing_token(id)).unwrap();
    let told = shop.resolve(&token).await.json();
    assert!(told["subscription"]["term"].get("startDate").is_none(), "{told}");
    assert!(told["subscription"]["term"].get("endDate").is_none(), "{told}");
    let one = shop.get(&id.to_string()).await.json();
    assert!(one["term"]["startDate"].is_string(), "but reading it tells them");
    let plans = shop.get(&format!("{id}/listAvailablePlans")).await.json();
    let names: Vec<_> = plans["plans"].as_array().unwrap().iter().map(|it| &it["planId"]).collect();
    assert_eq!(names, ["company", "enterprise"]);
    let unknown = shop.plans(id, "gold").await;
    assert_eq!((unknown.status, unknown.json()), (200, json!({"plans": []})));
}

#[tokio::test]
async fn operations_may_never_be_listed_though_each_can_be_read() {
    let shop = Shop::new("operation.hidden=1").await;
    let id = shop.buy("team", Some(5));
    let operation = shop.world(|world| world.change_quantity(id, 6)).unwrap();
    shop.pass(5);
    assert_eq!(shop.get(&format!("{id}/operations")).await.json(), json!({}));
    let one = shop.get(&format!("{id}/operations/{operation}")).await.json();
    assert_eq!(one["status"], "InProgress");
}

#[tokio::test]
async fn a_change_may_end_in_conflict_or_fail_and_be_taken_back() {
    let shop = Shop::new("operation.conflict=1").await;
    shop.answers(200).await;
    let id = shop.buy("team", Some(5));
    shop.world(|world| world.change_quantity(id, 6)).unwrap();
    shop.pass(10);
    assert_eq!(shop.standing(id)[1], ("ChangeQuantity", "Conflict"));
    assert_eq!(shop.get(&id.to_string()).await.json()["quantity"], 5);

    set(&shop, "operation.failure=1");
    shop.world(|world| world.change_plan(id, "enterprise")).unwrap();
    shop.pass(10);
    assert_eq!(shop.standing(id)[2..], [("ChangePlan", "Failed"), ("ChangePlan", "InProgress")]);
    shop.deliver().await;
    let revert = shop.received().await.pop().unwrap();
    assert_eq!(
        (&revert["planId"], &revert["subscription"]["planId"]),
        (&json!("team"), &json!("team"))
    );
    shop.pass(10);
    assert_eq!(shop.standing(id)[3], ("ChangePlan", "Succeeded"), "and is not taken back again");
    assert_eq!(shop.get(&id.to_string()).await.json()["planId"], "team");
}

#[tokio::test]
async fn a_word_on_a_reinstatement_may_be_refused_and_it_happens_all_the_same() {
    let shop = Shop::new("operation.reinstate_400=1").await;
    let id = shop.buy("company", None);
    let operation =
        shop.world(|world| world.suspend(id).and_then(|_| world.reinstate(id))).unwrap();
    let one = format!("{id}/operations/{operation}");
    assert_eq!(shop.patch(&one, &json!({"status": "Success"})).await.status, 400);
    shop.pass(10);
    assert_eq!(shop.status(id).await, "Subscribed");
}

#[tokio::test]
async fn an_annual_subscription_can_be_cancelled_for_three_days() {
    let shop = Shop::new("").await;
    let year = |id| {
        shop.world(|world| {
            let mut it = world.subscription(id).unwrap();
            "P1Y".clone_into(&mut it.term.term_unit);
            world.put_subscription(&it);
        });
    };
    let (early, late, monthly) =
        (shop.buy("company", None), shop.buy("company", None), shop.buy("company", None));
    year(early);
    year(late);
    let cancel =
        async |shop: &Shop, id: Uuid| shop.call(reqwest::Method::DELETE, &id.to_string(), "").await;
    assert_eq!(cancel(&shop, early).await.status, 202);
    shop.pass(73 * 3_600);
    let shop = shop.with_new_token().await;
    let answer = cancel(&shop, late).await;
    assert_eq!((answer.status, answer.text.contains("72 hours")), (400, true), "{}", answer.text);
    assert_eq!(cancel(&shop, monthly).await.status, 202);
}

#[tokio::test]
async fn a_reseller_s_customer_reads_only_and_a_free_text_name_may_be_empty() {
    let shop = Shop::new("").await;
    let purchase: Purchase = serde_json::from_value(json!({"tenant": story::COHO.tenant,
        "user": story::RUTH.user, "plan": "company", "reseller": story::RESELLER_TENANT}))
    .unwrap();
    let id = shop.world(|world| world.buy(purchase)).unwrap();
    let one = shop.get(&id.to_string()).await.json();
    assert_eq!((&one["name"], &one["allowedCustomerOperations"]), (&json!(""), &json!(["Read"])));
    assert_ne!(one["purchaser"]["tenantId"], one["beneficiary"]["tenantId"]);
}
