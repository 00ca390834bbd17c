//! Traps of reading: words, shapes and pages that crashed others.

use entitled::domain::Outcome;
use entitled::sandbox::{Options, story};
use entitled::sync::RunRequest;
use serde_json::{Value, json};

use super::scene::{Scene, body};

const ODD_ID: &str = "5d0c1f22-7a31-581c-2cb7-90aa3344ee10";

/// Reads the list; it must be complete, with so many records that nobody understands.
async fn reads(scene: &Scene, odd: u64) {
    let source = Some(entitled::domain::Source::Subscriptions);
    let runs = scene.world.sync_by(RunRequest { source, ..RunRequest::default() }).await;
    let outcome = if odd == 0 { Outcome::Complete } else { Outcome::Partial };
    assert_eq!((runs[0].outcome, runs[0].odd), (outcome, odd), "{:?}", runs[0].error);
}

/// Subscriptions with these terms are read, kept as they are, and count.
async fn terms_are_kept(units: &[&str]) {
    let scene = Scene::new().await;
    let id = scene.id(story::MIA);
    for unit in units {
        scene.change(id, |it| (*unit).clone_into(&mut it.term.term_unit));
        reads(&scene, 0).await;
        assert_eq!(scene.mirrored(id).term_unit.as_deref(), Some(*unit));
        assert_eq!(scene.answer(story::MIA).await, "active subscription_active", "{unit}");
    }
}

#[tokio::test]
async fn trap_01_a_term_of_more_years_than_there_were_does_not_break_the_fetch() {
    terms_are_kept(&["P3Y", "2Y", "3Y", "P4Y", "P5Y"]).await;
}

#[tokio::test]
async fn trap_02_a_term_that_is_no_duration_is_kept() {
    terms_are_kept(&["PAY"]).await;
}

#[tokio::test]
async fn trap_03_a_term_made_to_measure_is_kept() {
    terms_are_kept(&["P18M", "P1Y6M", "P45D"]).await;
}

#[tokio::test]
async fn trap_04_an_action_nobody_knew_is_acknowledged_and_the_subscription_read() {
    let scene = Scene::new().await;
    let id = scene.id(story::MIA);
    for (number, action) in (1..).zip(["Renew", "Subscribe", "Transfer", "SomethingOf2031"]) {
        scene.change(id, |it| it.name = format!("after {action}"));
        assert_eq!(scene.told(&body(number, action, id)).await, 200, "{action}");
        assert_eq!(&*scene.mirrored(id).name, format!("after {action}"), "it was read");
        assert_eq!(scene.events().last().unwrap().said.action.as_str(), action, "kept as it is");
    }
}

#[tokio::test]
async fn trap_07_one_failed_item_does_not_abort_the_fetch() {
    let scene = Scene::new().await;
    scene.upsert(ODD_ID, |it| it["quantity"] = json!("a lot"));
    let good = scene.upsert("5d0c1f22-7a31-4c8e-1b2f-90aa3344ee11", |_| {});
    scene.change(scene.id(story::MIA), |it| it.saas_subscription_status = "Suspended".into());
    reads(&scene, 1).await;
    assert_eq!(scene.stands(good).0, "Subscribed", "the one behind it is read");
    assert_eq!(scene.stands(scene.id(story::MIA)).0, "Suspended");
    let kept = scene.world.daemon.store.odd_records(10).unwrap();
    assert!(kept.iter().any(|it| it.raw.contains(ODD_ID)), "and it is kept for a person to see");
}

#[tokio::test]
async fn trap_08_all_pages_are_read_not_only_the_first() {
    let options = Options { tenants: 90, users: 1, ..Options::default() };
    let scene = Scene::of(options, "").await;
    let there = scene.world.microsoft(|it| it.subscription_count());
    assert!(there > 89, "more than the largest page: {there}");
    assert_eq!(scene.world.mirror().subscription_count(), there);
    scene.faults("page=7,marketplace.empty_page=0.5");
    reads(&scene, 0).await;
    assert_eq!(scene.world.mirror().subscription_count(), there, "in small and empty pages");
}

#[tokio::test]
async fn trap_09_the_next_page_is_asked_of_our_host_whatever_its_link_says() {
    let scene = Scene::new().await;
    for spec in ["page=2", "page=2,marketplace.bad_link=1"] {
        scene.faults(spec);
        let before = scene.asked("GET", "continuationToken=");
        scene.change(scene.id(story::MIA), |it| it.name = spec.to_owned());
        reads(&scene, 0).await;
        assert!(scene.asked("GET", "continuationToken=") >= before + 4, "{spec}");
        assert_eq!(&*scene.mirrored(scene.id(story::MIA)).name, spec);
    }
}

#[tokio::test]
async fn trap_11_parties_may_have_keys_that_nobody_told_of() {
    let scene = Scene::new().await;
    let id = scene.upsert(ODD_ID, |it| {
        for party in ["beneficiary", "purchaser"] {
            it[party]["iss"] = json!("https://sts.windows.net/x/");
            it[party]["idp"] = json!({ "deep": [1, 2] });
        }
    });
    reads(&scene, 0).await;
    let tenant = scene.mirrored(id).beneficiary.tenant_id().unwrap();
    assert_eq!(tenant.to_string(), story::PROSEWARE.tenant.to_string());
    let raw = scene.world.daemon.store.raw_subscription(scene.mirrored(id).id).unwrap().unwrap();
    assert!(raw.contains("sts.windows.net"), "what is not understood is kept");
}

#[tokio::test]
async fn trap_32_what_the_documents_leave_out_does_no_harm() {
    // Everything but id, status and plan may be missing, null, of another type or unknown.
    let scene = Scene::new().await;
    let kept = ["id", "saasSubscriptionStatus", "planId", "offerId", "publisherId", "beneficiary"];
    for (number, value) in
        (0..).zip([None, Some(Value::Null), Some(json!(7)), Some(json!({"a": [1]}))])
    {
        let id = scene.upsert(&format!("5d0c1f22-7a31-4c8e-1b2f-90aa3344ee2{number}"), |it| {
            let fields = it.as_object_mut().unwrap();
            let names: Vec<String> = fields.keys().cloned().collect();
            for name in names.iter().filter(|it| !kept.contains(&it.as_str())) {
                match &value {
                    Some(value) if name != "quantity" => fields.insert(name.clone(), value.clone()),
                    _ => fields.remove(name),
                };
            }
            fields.insert("brandNew".to_owned(), json!({ "nested": null }));
        });
        reads(&scene, 0).await;
        assert_eq!(scene.stands(id).0, "Subscribed", "{value:?}");
    }
    assert_eq!(scene.answer(story::MIA).await, "active subscription_active");
}

#[tokio::test]
async fn trap_34_ids_need_not_be_version_4() {
    let scene = Scene::new().await;
    let ids = [
        "5d0c1f22-7a31-581c-2cb7-90aa3344ee10",
        "ffffffff-ffff-ffff-ffff-fffffffffffe",
        "00000000-0000-0000-0000-000000000001",
        "A1A1A1A1-4289-F81C-FCB7-DB784599A7BD",
    ];
    for id in ids {
        let id = scene.upsert(id, |_| {});
        reads(&scene, 0).await;
        assert_eq!(scene.stands(id).0, "Subscribed");
        assert_eq!(scene.told(&body(id.as_u128(), "Renew", id)).await, 200, "in webhooks too");
        let event = scene.events().pop().unwrap();
        assert_eq!(event.said.subscription.unwrap().as_uuid(), id);
    }
}

#[tokio::test]
async fn trap_35_a_last_modified_without_a_zone_spoils_no_subscription() {
    let scene = Scene::new().await;
    let id = scene.id(story::MIA);
    assert_eq!(scene.truth(id).last_modified, "0001-01-01T00:00:00", "as Microsoft has it");
    for text in ["0001-01-01T00:00:00", "2026-11-18T10:11:12", "soon", ""] {
        scene.change(id, |it| {
            text.clone_into(&mut it.last_modified);
            it.name = format!("with {text}");
        });
        reads(&scene, 0).await;
        assert_eq!(&*scene.mirrored(id).name, format!("with {text}"));
    }
}

#[tokio::test]
async fn trap_36_times_have_none_to_seven_digits_and_lose_none() {
    let scene = Scene::new().await;
    let id = scene.id(story::MIA);
    for digits in ["", ".1", ".12345", ".123456", ".1234567"] {
        let text = format!("2026-03-04T09:15:02{digits}Z");
        scene.change(id, |it| it.created.clone_from(&text));
        reads(&scene, 0).await;
        assert_eq!(scene.mirrored(id).created.unwrap().to_string(), text);
    }
}
