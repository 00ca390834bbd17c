//! A "no" is a trigger.

use entitled::domain::Trigger;
use entitled::sandbox::story;
use entitled::store::RunFilter;
use serde_json::json;

use crate::world::World;

const PRODUCT: &str = "synoptic-panel";

#[tokio::test]
async fn a_no_turns_into_a_yes_without_waiting_for_the_next_round() {
    let world = World::new().await;
    world.sync().await;
    let (contoso, dan) = (story::CONTOSO.tenant, story::DAN);
    world.microsoft(|it| it.assign(contoso, dan.user, story::SYNOPTIC_SKU, &[])).unwrap();
    let before = world.sandbox.requests().len();
    let answer = world.ask(dan, PRODUCT, "web").await;
    assert_eq!((&answer["state"], &answer["check_after"]), (&json!("unlicensed"), &json!(5)));
    // Nobody's clock moves, so nothing else is due.
    let tenant = contoso.to_string().parse().unwrap();
    let user = dan.user.to_string().parse().unwrap();
    let holds = |it: &World| it.mirror().tenant(tenant).unwrap().users.get(user).is_some();
    world.until("his licence", holds).await;
    assert_eq!(world.answer(dan, PRODUCT).await, "active seat_direct");

    let asked = world.sandbox.requests().split_off(before);
    let asked: Vec<_> = asked.iter().map(|it| it.target.split('?').next().unwrap()).collect();
    assert!(asked.iter().all(|it| !it.contains("delta")), "{asked:?}");
    assert_eq!(asked.iter().filter(|it| it.ends_with("v1.0/$batch")).count(), 1, "{asked:?}");
    let of_it = RunFilter { tenant: Some(tenant), limit: 1, ..RunFilter::default() };
    let run = world.daemon.store.runs(&of_it).unwrap().remove(0);
    assert_eq!((run.trigger, run.seen, run.added), (Trigger::Notification, 1, 1));
    let (_, metrics) = world.ops("/metrics").await;
    assert!(metrics.contains("entitled_lookups_total{outcome=\"changed\"} 1"), "{metrics}");
}
