//! How usage gets to Microsoft, whatever Microsoft says and whatever goes wrong on the way.

use std::time::Duration;

use super::*;
use entitled::domain::UsageState;
use entitled::store::ChangeFilter;

#[tokio::test]
async fn an_hours_reports_are_one_event_with_their_exact_sum_also_through_a_restart() {
    let mut world = world().await;
    let id = proseware(&world);
    exports(&world, "0.1").await;
    exports(&world, "0.2").await;
    world.restart().await;
    let answer = exports(&world, "0.000001").await;
    assert_eq!(answer["id"], "u1");
    assert_eq!(answer["quantity"], json!(0.300_001));
    assert_eq!((&answer["reports"], &answer["state"]), (&json!(3), &json!("queued")));
    pass(&world).await;
    assert_eq!(accepted(&world), [], "the hour is not over");
    let used = world.now();
    hour_over(&world);
    pass(&world).await;
    let told = accepted(&world);
    assert_eq!(told.len(), 1);
    assert_eq!((&*told[0].quantity, told[0].subscription), ("0.300001", id));
    assert_eq!((&*told[0].plan, told[0].hour_s), ("company", hour_of(used).as_second()));
    assert_eq!(states(&world), ["sent"]);
    pass(&world).await;
    assert_eq!(accepted(&world)[0].duplicates, 0, "and only once");
    let changes = world.daemon.store.changes(&ChangeFilter::default()).unwrap();
    let last = changes.last().unwrap();
    assert_eq!((last.cause.to_string(), &*last.id), ("caller web-shop".into(), &*id.to_string()));
    assert!(format!("{:?}", last.after).contains("0.300001 of exports"), "{:?}", last.after);
}

#[tokio::test]
async fn hours_dimensions_and_subscriptions_are_events_of_their_own_in_batches_of_25() {
    let world = world().await;
    let all = [story::PROSEWARE, story::GRAPHIC, story::COHO].map(|it| subscription(&world, it));
    let mut reports = Vec::new();
    for hours in 0..16 {
        for id in all {
            for dimension in story::METERS {
                let at = (world.now() - SignedDuration::from_hours(hours)).to_string();
                reports.push(json!({ "subscription": id, "dimension": dimension, "at": at,
                    "quantity": 1 }));
            }
        }
    }
    assert_eq!(reports.len(), 96);
    let (status, answer) = send(&world, &json!({ "events": reports }), None).await;
    assert_eq!((status, &answer["refused"]), (202, &json!(0)), "{answer}");
    hour_over(&world);
    pass(&world).await;
    assert_eq!(accepted(&world).len(), 96);
    assert!(states(&world).iter().all(|it| *it == "sent"));
    assert_eq!(world.microsoft(|it| it.largest_usage_batch()), 25);
}

#[tokio::test]
async fn what_comes_after_its_hour_was_sent_is_refused_with_the_reason() {
    let world = world().await;
    let used = world.now();
    exports(&world, "1").await;
    hour_over(&world);
    pass(&world).await;
    let late = |dimension: &str| {
        json!({ "subscription": proseware(&world), "dimension": dimension, "quantity": 1,
            "at": used.to_string() })
    };
    let (status, problem) = send(&world, &late("exports"), None).await;
    assert_eq!((status, &problem["type"]), (409, &json!("hour-closed")), "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("u1"));
    let (status, answer) = send(&world, &late("refreshes"), None).await;
    assert_eq!(status, 202, "nothing of this dimension was sent: {answer}");
    pass(&world).await;
    assert_eq!(accepted(&world).len(), 1, "others may come late, too");
    world.advance(SignedDuration::from_mins(6));
    pass(&world).await;
    assert_eq!(accepted(&world).len(), 2);
}

#[tokio::test]
async fn every_word_of_microsofts_is_understood() {
    let mut world = world().await;
    let mut expected = Vec::new();
    for (word, state) in [
        ("Accepted", "sent"),
        ("Expired", "dead"),
        ("ResourceNotFound", "dead"),
        ("ResourceNotAuthorized", "dead"),
        ("ResourceNotActive", "dead"),
        ("InvalidDimension", "dead"),
        ("InvalidQuantity", "dead"),
        ("BadArgument", "dead"),
        ("Deferred", "dead"),
        ("Duplicate", "duplicate"),
    ] {
        world.microsoft(|it| it.answer_usage(Some(word.to_owned())));
        exports(&world, "1").await;
        hour_over(&world);
        pass(&world).await;
        expected.push(state);
        assert_eq!(states(&world), expected, "{word}");
        if let UsageState::Dead { status, why, .. } = &events(&world).last().unwrap().state {
            assert_eq!(status.as_deref(), Some(word));
            assert!(!why.is_empty());
        }
    }
    let odd = world.daemon.store.odd_records(10).unwrap();
    assert_eq!(odd.len(), 1, "the word nobody knows is kept as it came");
    assert!(odd[0].raw.contains("Deferred"), "{}", odd[0].raw);
    let before = events(&world);
    world.restart().await;
    assert_eq!(events(&world), before, "all of it is on disk");
}

#[tokio::test]
async fn a_fault_of_microsofts_is_tried_again_three_times_with_rests_and_dead_after_that() {
    let world = world().await;
    world.microsoft(|it| it.answer_usage(Some("Error".to_owned())));
    exports(&world, "1").await;
    hour_over(&world);
    pass(&world).await;
    let tries = || events(&world)[0].tries;
    assert_eq!((states(&world)[0], tries()), ("sending", 1));
    pass(&world).await;
    assert_eq!(tries(), 1, "it rests");
    while states(&world) == ["sending"] {
        world.advance(SignedDuration::from_mins(6));
        pass(&world).await;
    }
    assert_eq!((states(&world)[0], tries()), ("dead", 4));
    world.microsoft(|it| it.answer_usage(None));
    let id = events(&world)[0].id;
    assert!(world.daemon.usage.retry(id).await.unwrap().is_some());
    pass(&world).await;
    assert_eq!(states(&world), ["sent"]);
    assert!(world.daemon.usage.retry(id).await.unwrap().is_none(), "only dead ones");
}

#[tokio::test]
async fn one_bad_event_does_not_spoil_the_batch() {
    let world = world().await;
    faults(&world, &[Fault::UsageBatch400]);
    exports(&world, "1").await;
    let body = json!({ "subscription": proseware(&world), "dimension": "unheard", "quantity": 1 });
    assert_eq!(send(&world, &body, None).await.0, 202);
    hour_over(&world);
    pass(&world).await;
    assert_eq!(states(&world), ["sent", "dead"]);
    let dead = &events(&world)[1];
    assert!(matches!(&dead.state, UsageState::Dead { why, .. } if why.contains("`unheard`")));
    assert_eq!(accepted(&world).len(), 1);
}

#[tokio::test]
async fn an_answer_that_is_lost_after_the_event_was_taken_bills_it_once() {
    let mut world = world().await;
    faults(&world, &[Fault::Marketplace500After]);
    exports(&world, "2.5").await;
    hour_over(&world);
    pass(&world).await;
    assert_eq!(accepted(&world).len(), 1, "it was taken");
    assert_eq!(states(&world), ["sending"], "which we cannot know");
    assert!(world.daemon.usage.trouble().is_some());
    world.restart().await;
    faults(&world, &[]);
    pass(&world).await;
    is_known_before(&world);
    assert_eq!(world.daemon.usage.trouble(), None);
}

#[tokio::test]
async fn alone_an_event_whose_answer_is_lost_is_a_conflict_at_the_second_try() {
    let world = world().await;
    // The conflict is no success, so the fault lets it through.
    faults(&world, &[Fault::UsageBatch400, Fault::Marketplace500After]);
    exports(&world, "2.5").await;
    hour_over(&world);
    pass(&world).await;
    is_known_before(&world);
}

/// One event of 2.5 was taken, and taken for the same one when it came again.
fn is_known_before(world: &World) {
    let it = &events(world)[0];
    let UsageState::Duplicate { accepted: counts, differs, .. } = &it.state else {
        panic!("{it:?}")
    };
    assert_eq!((counts.as_deref(), *differs), (Some("2.5"), false));
    assert_eq!(accepted(world).len(), 1);
}

#[tokio::test]
async fn killed_between_sending_and_noting_it_is_sent_again_and_counts_once() {
    let mut world = world().await;
    exports(&world, "7").await;
    // A token is fetched, nothing is sent.
    faults(&world, &[Fault::Marketplace500]);
    hour_over(&world);
    pass(&world).await;
    assert_eq!(accepted(&world), []);
    // The answer takes longer than the daemon lives.
    world.microsoft(|it| it.set_faults("slow=10m".parse().unwrap()));
    world.advance(SignedDuration::from_mins(6));
    let usage = world.daemon.usage.clone();
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move { drop(usage.pass().await) });
    while accepted(&world).is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    tasks.shutdown().await;
    world.restart().await;
    assert_eq!(states(&world), ["sending"]);
    faults(&world, &[]);
    pass(&world).await;
    assert_eq!(states(&world), ["duplicate"]);
    assert_eq!((accepted(&world).len(), accepted(&world)[0].duplicates), (1, 1));
}

#[tokio::test]
async fn another_quantity_that_counts_for_the_hour_is_reported() {
    let world = world().await;
    exports(&world, "3").await;
    hour_over(&world);
    pass(&world).await;
    // Somebody else, or this daemon with an older store, has told of the hour before.
    let known = accepted(&world)[0].clone();
    exports(&world, "4").await;
    world.microsoft(|it| it.note_usage(known.subscription, "exports", hour_of(world.now()), "9"));
    hour_over(&world);
    pass(&world).await;
    let it = &events(&world)[1];
    let UsageState::Duplicate { accepted, differs, .. } = &it.state else { panic!("{it:?}") };
    assert_eq!((accepted.as_deref(), *differs), (Some("9"), true));
    let (_, metrics) = world.ops("/metrics").await;
    assert!(metrics.contains("entitled_usage_differing 1"), "{metrics}");
}

#[tokio::test]
async fn what_is_about_to_run_out_alarms_and_what_has_run_out_is_dead_with_the_reason() {
    let world = world().await;
    world.microsoft(|it| it.outage(true));
    exports(&world, "1").await;
    hour_over(&world);
    pass(&world).await;
    assert_eq!(states(&world), ["sending"]);
    let runs_out = events(&world)[0].runs_out();
    let (_, metrics) = world.ops("/metrics").await;
    let line = format!("entitled_usage_runs_out_timestamp_seconds {}", runs_out.as_second());
    assert!(metrics.contains(&line), "{metrics}");
    assert!(metrics.contains("entitled_usage_events{state=\"sending\"} 1"), "{metrics}");
    let left = runs_out.duration_since(world.now());
    world.advance(left - SignedDuration::from_mins(90));
    pass(&world).await;
    assert_eq!(states(&world), ["sending"]);
    world.advance(SignedDuration::from_mins(91));
    pass(&world).await;
    let it = &events(&world)[0];
    let UsageState::Dead { why, .. } = &it.state else { panic!("{it:?}") };
    assert!(why.contains("24 hours passed"), "{why}");
    assert_eq!(accepted(&world), []);
}

#[tokio::test]
async fn after_a_long_sleep_microsoft_is_asked_before_anything_is_given_up() {
    let mut world = world().await;
    faults(&world, &[Fault::Marketplace500After]);
    exports(&world, "1").await;
    hour_over(&world);
    pass(&world).await;
    assert_eq!((accepted(&world).len(), states(&world)[0]), (1, "sending"));
    world.stop_daemon().await;
    world.advance(SignedDuration::from_hours(30));
    world.restart().await;
    faults(&world, &[]);
    pass(&world).await;
    // Microsoft looks at the age first: what it says is what is shown.
    assert_eq!(states(&world), ["dead"]);
    let it = &events(&world)[0];
    assert!(matches!(&it.state, UsageState::Dead { status: Some(it), .. } if **it == *"Expired"));
}

#[tokio::test]
async fn a_plan_that_changes_within_the_hour_makes_one_event_of_the_newer_plan() {
    let world = world().await;
    let id = proseware(&world);
    exports(&world, "1").await;
    world.microsoft(|it| {
        let mut changed = it.subscription(id).unwrap();
        "enterprise".clone_into(&mut changed.plan_id);
        it.put_subscription(&changed);
    });
    world.advance(SignedDuration::from_mins(1));
    world.sync().await;
    world.advance(SignedDuration::from_mins(1));
    exports(&world, "2").await;
    let all = events(&world);
    assert_eq!((all.len(), &*all[0].plan), (1, "enterprise"));
    assert_eq!(all[0].quantity.to_string(), "3");
}
