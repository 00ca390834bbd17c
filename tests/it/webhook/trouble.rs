//! Microsoft away, a restart in between, bodies that are none: nothing is lost, nothing refused.

use entitled::sandbox::{Fault, Faults};

use super::*;

fn away() -> Faults {
    Faults::default().with(Fault::Marketplace500, 1.0)
}

#[tokio::test]
async fn microsoft_being_away_for_an_hour_loses_nothing_and_is_caught_up() {
    let world = World::new().await;
    world.sync().await;
    let id = subscription(&world).id;
    set_status(&world, id, "Suspended");
    world.microsoft(|it| it.set_faults(away()));
    for (number, action) in (1_u128..).zip(["Renew", "ChangePlan", "Suspend"]) {
        assert_eq!(deliver(&world, &body(&operation(number), action, id)).await, 200);
    }
    for _ in 0..3 {
        world.advance(SignedDuration::from_mins(20));
        let before = world.sandbox.requests().len();
        while world.sandbox.requests().len() < before + 3 {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(states(&world), ["waiting"; 3], "no one is given up for that");
    assert_eq!(mirrored(&world, id), "Subscribed");
    world.microsoft(|it| it.set_faults(Faults::default()));
    world.advance(SignedDuration::from_mins(20));
    settled(&world).await;
    assert_eq!(mirrored(&world, id), "Suspended");
}

#[tokio::test]
async fn what_was_acknowledged_is_worked_off_after_a_restart_once() {
    let mut world = World::new().await;
    world.sync().await;
    let id = subscription(&world).id;
    set_status(&world, id, "Suspended");
    world.microsoft(|it| it.set_faults(away()));
    let suspend = body(&operation(1), "Suspend", id);
    assert_eq!(deliver(&world, &suspend).await, 200);
    world.restart().await;
    assert_eq!(all(&world).len(), 1, "it is there again");
    assert_eq!(deliver(&world, &suspend).await, 200);
    world.microsoft(|it| it.set_faults(Faults::default()));
    world.advance(SignedDuration::from_mins(10));
    settled(&world).await;
    assert_eq!(mirrored(&world, id), "Suspended");
    world.restart().await;
    assert_eq!(states(&world), ["unknown_operation"], "and stays done");
    assert_eq!(all(&world)[0].deliveries, 2);
}

#[tokio::test]
async fn what_is_no_json_object_is_refused_and_a_large_body_comes_back_whole() {
    let world = World::new().await;
    world.sync().await;
    let bearer = format!("Bearer {}", world.sandbox.user_token(genuine()));
    for no_object in ["", "[]", "null", "7", "\"x\"", "{", "{\"a\":1}}", "\u{feff}", "a=b"] {
        assert_eq!(send(&world, &bearer, no_object).await, 400, "{no_object}");
    }
    assert_eq!(send(&world, &bearer, vec![b'{', 0xff, b'}']).await, 400);
    assert_eq!(send(&world, &bearer, "x".repeat(70_000)).await, 413);
    assert!(all(&world).is_empty());

    world.microsoft(|it| it.set_faults(away()));
    let id = subscription(&world).id;
    let mut large = body(&operation(1), "Renew", id);
    large["subscription"] = json!({ "name": "é".repeat(30_000) });
    assert_eq!(send(&world, &bearer, format!("\u{feff}{large}\n")).await, 200);
    let kept = world.daemon.store.webhook_body(all(&world)[0].id).unwrap().unwrap();
    assert_eq!(serde_json::from_str::<Value>(&kept).unwrap(), large);
}
