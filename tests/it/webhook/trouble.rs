//! Microsoft away, a restart in between, bodies that are none: nothing is lost, nothing refused.

use entitled::sandbox::{Fate, Fault, Faults};

use super::*;

fn away() -> Faults {
    Faults::default().with(Fault::Marketplace500, 1.0)
}

/// Lets time pass until Microsoft is asked again.
async fn asked_again(world: &World) {
    let before = world.sandbox.requests().len();
    while world.sandbox.requests().len() == before {
        world.advance(SignedDuration::from_mins(1));
        super::orders::wake(world).await;
        let mut revisions = world.daemon.store.revisions();
        drop(tokio::time::timeout(Duration::from_millis(10), revisions.changed()).await);
    }
}

/// Which of these operations were read with success, in order, each once.
fn read_in_order(world: &World, since: usize) -> Vec<String> {
    let mut order: Vec<String> = Vec::new();
    for line in world.sandbox.requests().iter().skip(since) {
        let Some((_, rest)) = line.target.split_once("/operations/") else { continue };
        let id = rest.split('?').next().unwrap().to_owned();
        if line.method == "GET" && [200, 400, 404].contains(&line.status) && !order.contains(&id) {
            order.push(id);
        }
    }
    order
}

#[tokio::test]
async fn an_hour_of_trouble_loses_nothing_refuses_nothing_and_is_caught_up_in_order() {
    let (world, id) = super::orders::told().await;
    let began = world.now();
    let trouble = [
        "marketplace.500=1",
        "marketplace.429=1",
        "marketplace.503_html=1",
        "marketplace.truncated=1",
        "token.503=1,marketplace.500=1",
    ];
    let mut told = Vec::new();
    let mut step = 0;
    while world.now().duration_since(began) < SignedDuration::from_hours(1) || step < 10 {
        world.microsoft(|it| it.set_faults(trouble[step % 5].parse::<Faults>().unwrap()));
        // In the middle of it the customer changes his plan, does not pay, and pays after all.
        let happens = match step {
            0 => Some(world.microsoft(|it| it.change_plan(id, "team")).unwrap()),
            2 => Some(world.microsoft(|it| it.suspend(id)).unwrap()),
            4 => Some(world.microsoft(|it| it.reinstate(id)).unwrap()),
            6 => Some(world.microsoft(|it| it.change_plan(id, "company")).unwrap()),
            7 => Some(world.microsoft(|it| it.renew(id)).unwrap()),
            _ => None,
        };
        told.extend(happens.map(|it| it.to_string()));
        world.advance(SignedDuration::from_secs(12));
        let delivered = world.sandbox.deliver_webhooks().await;
        assert!(delivered.iter().all(|it| matches!(it.fate, Fate::Answered(200))), "{delivered:?}");
        for _ in 0..2 {
            asked_again(&world).await;
        }
        step += 1;
    }
    assert_eq!(states(&world), ["waiting"; 5], "no one is given up for that");
    let old = world.answer(story::MIA, "viz-suite").await;
    assert_eq!(old, "active subscription_active stale", "the mirror goes on answering");
    world.microsoft(|it| it.set_faults(Faults::default()));
    let since = world.sandbox.requests().len();
    super::orders::play_out(&world).await;
    assert_eq!(read_in_order(&world, since), told);
    assert_eq!(mirrored(&world, id), "Subscribed");
    let (mirrored, truth) = super::orders::plan_of(&world, id);
    assert_eq!((mirrored.as_str(), truth.as_str()), ("company", "company"));
    assert!(
        states(&world).iter().all(|it| ["changed", "known"].contains(it)),
        "{:?}",
        states(&world)
    );
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
