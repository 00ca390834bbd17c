//! What may be reported, by whom, and what is said to the rest.

use super::*;

#[tokio::test]
async fn each_wrong_field_is_named() {
    let world = world().await;
    let id = proseware(&world);
    let lamna = subscription(&world, story::LAMNA);
    let now = world.now();
    let ago = |minutes: i64| (now - SignedDuration::from_mins(minutes)).to_string();
    let good = json!({ "subscription": id, "dimension": "exports", "quantity": 1, "at": ago(0) });
    for (field, value, says) in [
        ("subscription", Value::Null, "missing"),
        ("subscription", json!(7), "no text"),
        ("subscription", json!("no-guid"), "GUID"),
        ("subscription", json!(Uuid::from_u128(0xdead)), "no subscription"),
        ("subscription", json!(lamna), "not Subscribed"),
        ("dimension", Value::Null, "missing"),
        ("dimension", json!("with space"), "1 to 64"),
        ("dimension", json!(["exports"]), "no text"),
        ("quantity", Value::Null, "missing"),
        ("quantity", json!(0), "more than 0"),
        ("quantity", json!(-3), "more than 0"),
        ("quantity", json!("3"), "no number"),
        ("quantity", json!(0.000_000_1), "6 decimal places"),
        ("quantity", json!(1e300), "larger than"),
        ("at", json!("yesterday"), "`at`"),
        ("at", json!("2026-11-22T09:00:00"), "`at`"),
        ("at", json!(1_795_000_000), "no text"),
        ("at", json!(ago(24 * 60)), "23 hours"),
        ("at", json!(ago(23 * 60 + 1)), "23 hours"),
        ("at", json!(ago(-6)), "future"),
    ] {
        let mut body = good.clone();
        body[field] = value.clone();
        let (status, problem) = send(&world, &body, None).await;
        assert_eq!((status, &problem["field"]), (422, &json!(field)), "{value} {problem}");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(says), "{field} {value}: {detail}");
    }
    assert_eq!(events(&world).len(), 0, "nothing of it was counted");
    for at in [0, 23 * 60, -4] {
        let mut body = good.clone();
        body["at"] = json!(ago(at));
        assert_eq!(send(&world, &body, None).await.0, 202, "{at} minutes ago");
    }
}

#[tokio::test]
async fn what_is_no_report_is_malformed_and_a_batch_has_one_to_a_hundred() {
    let world = world().await;
    let id = proseware(&world);
    for body in [json!([]), json!("usage"), json!({ "events": 3 })] {
        let (status, problem) = send(&world, &body, None).await;
        assert_eq!((status, &problem["type"]), (400, &json!("malformed-body")), "{body}");
    }
    let report = json!({ "subscription": id, "dimension": "exports", "quantity": 1 });
    for count in [0, 101] {
        let (status, problem) =
            send(&world, &json!({ "events": vec![&report; count] }), None).await;
        assert_eq!((status, &problem["field"]), (422, &json!("events")), "{count}");
    }
    let (status, answer) = send(&world, &json!({ "events": vec![&report; 100] }), None).await;
    assert_eq!((status, &answer["accepted"]), (202, &json!(100)));
    let events = events(&world);
    assert_eq!((events.len(), events[0].quantity.to_string()), (1, "100".to_owned()));
}

#[tokio::test]
async fn in_a_batch_the_good_are_taken_and_the_bad_are_named_in_their_places() {
    let world = world().await;
    let good = json!({ "subscription": proseware(&world), "dimension": "exports", "quantity": 2 });
    let bad = json!({ "subscription": proseware(&world), "dimension": "exports", "quantity": 0 });
    let (status, answer) =
        send(&world, &json!({ "events": [good, bad, 7, good] }), Some("k1")).await;
    assert_eq!(status, 202);
    assert_eq!((&answer["accepted"], &answer["refused"]), (&json!(2), &json!(2)));
    assert_eq!(answer["events"][0]["id"], "u1");
    assert_eq!(answer["events"][1]["field"], "quantity");
    assert_eq!(answer["events"][2]["type"], "malformed-body");
    assert_eq!(answer["events"][3]["quantity"], json!(4));
    let (status, problem) = send(&world, &json!({ "events": [bad] }), Some("k2")).await;
    assert_eq!((status, &problem["field"]), (422, &json!("events")));
    let (status, _) = send(&world, &json!({ "events": [good] }), Some("k2")).await;
    assert_eq!(status, 202, "what changed nothing may be corrected under the same key");
}

#[tokio::test]
async fn only_callers_that_may_report_usage_do() {
    let world = world().await;
    let body = json!({ "subscription": proseware(&world), "dimension": "exports", "quantity": 1 });
    let user = world.token(story::MIA.tenant, story::MIA.user);
    assert_eq!(world.post(USAGE, &user, &body).await.0, 403, "a user's token");
    assert_eq!(world.post(USAGE, "ent_unknown", &body).await.0, 401, "an unknown key");
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("http://{}{USAGE}", world.daemon.public);
    let nobody = client.post(&url).json(&body).send().await.unwrap();
    assert_eq!(nobody.status(), 401);
    let shown = client.get(format!("{url}/u1")).send().await.unwrap();
    assert_eq!(shown.status(), 401);
    let asking = client.get(format!("{url}/u1")).bearer_auth(CALLER_KEY).send().await.unwrap();
    assert_eq!(asking.status(), 404);
}

#[tokio::test]
async fn a_caller_without_the_right_is_refused() {
    let extra = "\n[[caller]]\nname = \"reader\"\nkey_file = \"reader-key\"\nmay = [\"query\"]\n";
    let key = "ent_cmVhZGVyLXJlYWRlci1yZWFkZXItcmVhZGVyLXJlYWRlci0";
    let world = World::with_files(&[("reader-key", key)], extra).await;
    world.sync().await;
    let body = json!({ "subscription": proseware(&world), "dimension": "exports", "quantity": 1 });
    let (status, problem) = world.post(USAGE, key, &body).await;
    assert_eq!((status, &problem["type"]), (403, &json!("forbidden")), "{problem}");
    assert_eq!(events(&world).len(), 0);
}

#[tokio::test]
async fn the_same_request_again_is_counted_once_also_after_a_restart() {
    let mut world = world().await;
    let body = json!({ "subscription": proseware(&world), "dimension": "exports", "quantity": 5 });
    let other = json!({ "subscription": proseware(&world), "dimension": "exports", "quantity": 6 });
    let (first, again) =
        tokio::join!(send(&world, &body, Some("k")), send(&world, &body, Some("k")));
    assert_eq!((first.0, &first), (202, &again), "also both at once");
    world.restart().await;
    world.advance(SignedDuration::from_hours(23));
    assert_eq!(send(&world, &body, Some("k")).await, first, "also when the hour is long over");
    let (status, problem) = send(&world, &other, Some("k")).await;
    assert_eq!((status, &problem["type"]), (422, &json!("idempotency-key-reused")));
    assert_eq!(events(&world)[0].quantity.to_string(), "5");
    world.advance(SignedDuration::from_hours(2));
    world.daemon.store.prune_usage(world.now()).await.unwrap();
    let (status, answer) = send(&world, &other, Some("k")).await;
    assert_eq!((status, &answer["quantity"]), (202, &json!(6)), "24 hours are over");
    let (status, problem) = send(&world, &body, Some(&"x".repeat(256))).await;
    assert_eq!((status, &problem["field"]), (422, &json!("Idempotency-Key")));
}

#[tokio::test]
async fn what_was_used_before_the_end_of_a_subscription_may_still_be_reported() {
    let world = world().await;
    let id = proseware(&world);
    world.advance(SignedDuration::from_mins(30));
    let used = world.now();
    world.advance(SignedDuration::from_mins(10));
    world.microsoft(|it| {
        let mut ended = it.subscription(id).unwrap();
        "Unsubscribed".clone_into(&mut ended.saas_subscription_status);
        it.put_subscription(&ended);
    });
    world.sync().await;
    let body = |at: Timestamp| json!({ "subscription": id, "dimension": "exports", "quantity": 1, "at": at.to_string() });
    assert_eq!(send(&world, &body(used), None).await.0, 202);
    world.advance(SignedDuration::from_mins(1));
    let (status, problem) = send(&world, &body(world.now()), None).await;
    assert_eq!((status, &problem["field"]), (422, &json!("subscription")), "{problem}");
}
