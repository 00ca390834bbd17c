//! `accept_changes = "hold"`: refused until an operator confirms; who would lose what is told.

use entitled::domain::{AskedState, Commit, HeldSeat, Holders, UserId};
use entitled::sandbox::{Faults, Options};
use entitled::store::ChangeFilter;

use super::orders::{plan_of, play_out, tell, told_to};
use super::*;
use crate::cli::with;

async fn holding() -> (World, Uuid) {
    let extra = "[marketplace]\naccept_changes = \"hold\"\n";
    let world = World::with(Options::default(), extra).await;
    world.sync().await;
    told_to(world).await
}

fn state(world: &World, operation: Uuid) -> Option<AskedState> {
    world.mirror().asked(&operation.to_string()).map(|it| it.state)
}

/// What Microsoft was told, in order.
fn patches(world: &World) -> usize {
    let patch = |it: &&entitled::sandbox::RequestLine| it.method == "PATCH";
    world.sandbox.requests().iter().filter(patch).count()
}

/// The journal's lines of what a customer asked for: cause, before, after.
async fn told_of(world: &World, id: Uuid) -> Vec<[String; 3]> {
    let line = format!("changes --subscription {id} --json");
    let rows = with(&world.config_path(), &line).await.ok().rows();
    let text = |row: &Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
    let asked = rows.iter().filter(|it| it["entity"] == "operation");
    asked.map(|it| ["cause", "before", "after"].map(|name| text(it, name))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_waits_for_an_operator_and_then_for_the_customer_to_ask_again() {
    let (mut world, id) = holding().await;
    let config = world.config_path();
    let first = world.microsoft(|it| it.change_plan(id, "team")).unwrap();
    play_out(&world).await;
    let company = ("company".to_owned(), "company".to_owned());
    assert_eq!((plan_of(&world, id), state(&world, first)), (company, Some(AskedState::Held)));

    world.restart().await;
    tell(&world);
    let held = with(&config, "subscriptions held --json").await.ok().rows();
    assert_eq!(held.len(), 1);
    let row = &held[0];
    assert_eq!(row["operation"], first.to_string());
    let (_, metrics) = world.ops("/metrics").await;
    assert!(metrics.contains("\nentitled_changes_held 1\n"), "{metrics}");
    assert_eq!((&row["subscription"], &row["state"]), (&json!(id), &json!("held")));
    assert_eq!((&row["has"]["plan"], &row["asks"]["plan"]), (&json!("company"), &json!("team")));
    assert_eq!(row["impact"]["coverage_after"], "seats");
    assert_eq!(row["impact"]["features_won"], json!(["viz-suite: alerts"]));
    assert_eq!(row["impact"]["loses_access"], "all_but_seats");
    let table = with(&config, "subscriptions held").await.ok().out;
    assert!(table.contains(&first.to_string()) && table.contains("company →"), "{table}");

    let confirmed = with(&config, &format!("subscriptions confirm {first}")).await.ok().out;
    let promise = "the customer's next identical request";
    assert!(confirmed.contains(promise) && confirmed.contains("within 7 days"), "{confirmed}");
    assert_eq!(patches(&world), 1, "the old one is over: nothing is said to Microsoft");
    let second = world.microsoft(|it| it.change_plan(id, "team")).unwrap();
    play_out(&world).await;
    assert_eq!(plan_of(&world, id), ("team".to_owned(), "team".to_owned()));
    let accepted = Some(AskedState::Accepted);
    assert_eq!((state(&world, first), state(&world, second)), (accepted, accepted));
    assert_eq!(with(&config, "subscriptions held --json").await.ok().rows().len(), 0);
    assert_eq!(with(&config, "subscriptions held --all --json").await.ok().rows().len(), 2);

    // It was for that request, once.
    let back = world.microsoft(|it| it.change_plan(id, "company")).unwrap();
    play_out(&world).await;
    assert_eq!(state(&world, back), Some(AskedState::Held));
    let journal = told_of(&world, id).await;
    let ends: Vec<&str> = journal.iter().map(|it| it[2].rsplit("; ").next().unwrap()).collect();
    let (held, granted) = ("refused until an operator confirms it", "accepted, as an operator");
    assert!(ends[0] == held && ends[2].starts_with(granted) && ends[3] == held, "{journal:?}");
    assert_eq!(journal[0][0], format!("webhook {first}"));
    assert!(journal[0][1].starts_with("plan company"), "{journal:?}");
    assert!(journal[0][2].contains("asks for plan team"), "{journal:?}");
    assert!(journal[0][2].contains("won: viz-suite: alerts"), "{journal:?}");
    assert_eq!(journal[1][0], "command");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_is_asked_for_again_within_the_minute_is_put_down_to_the_request_that_made_it()
 {
    let (world, id) = holding().await;
    let first = world.microsoft(|it| it.change_plan(id, "team")).unwrap();
    world.sandbox.deliver_webhooks().await;
    let refused = |it: &World| {
        let events = all(it);
        events.iter().any(|it| it.answered == Some(entitled::domain::Answered::Refused))
    };
    world.until("the refusal", refused).await;
    with(&world.config_path(), &format!("subscriptions confirm {first}")).await.ok();
    // The first is over at Microsoft, and still watched by us.
    world.advance(SignedDuration::from_secs(2));
    let second = world.microsoft(|it| it.change_plan(id, "team")).unwrap();
    play_out(&world).await;
    assert_eq!(plan_of(&world, id), ("team".to_owned(), "team".to_owned()));
    let line = format!("changes --subscription {id} --json");
    let rows = with(&world.config_path(), &line).await.ok().rows();
    let made: Vec<&Value> = rows.iter().filter(|it| it["entity"] == "subscription").collect();
    assert_eq!(made.last().unwrap()["cause"], format!("webhook {second}"), "{made:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_dismissed_or_long_confirmed_is_held_again_and_what_is_over_cannot_be_decided() {
    let (world, id) = holding().await;
    let config = world.config_path();
    let decide = async |word: &str, operation: Uuid| {
        with(&config, &format!("subscriptions {word} {operation}")).await
    };
    let ask = async || {
        let operation = world.microsoft(|it| it.change_plan(id, "team")).unwrap();
        play_out(&world).await;
        operation
    };
    let first = ask().await;
    assert!(decide("dismiss", first).await.ok().out.contains("held again"));
    let second = ask().await;
    assert_eq!(state(&world, second), Some(AskedState::Held));
    decide("confirm", second).await.ok();
    world.advance(SignedDuration::from_hours(7 * 24));
    let row = with(&config, "subscriptions held --json").await.ok().rows().remove(0);
    assert_eq!(row["state"], "expired");
    let third = ask().await;
    assert_eq!(state(&world, third), Some(AskedState::Held), "the week was over");
    decide("confirm", third).await.ok();
    let fourth = ask().await;
    assert_eq!(state(&world, fourth), Some(AskedState::Accepted));
    let late = decide("dismiss", fourth).await;
    assert!(late.code == 1 && late.err.contains("it is accepted"), "{}", late.err);
    let unknown = decide("confirm", Uuid::from_u128(1)).await;
    assert!(
        unknown.code == 1 && unknown.err.contains("no change was asked for"),
        "{}",
        unknown.err
    );
}

#[tokio::test]
async fn a_refusal_that_microsoft_ignores_is_seen_told_counted_and_taken_over() {
    let (world, id) = holding().await;
    world.microsoft(|it| it.set_faults("operation.failure_ignored=1".parse::<Faults>().unwrap()));
    let operation = world.microsoft(|it| it.change_plan(id, "team")).unwrap();
    play_out(&world).await;
    assert_eq!(all(&world)[0].answered, Some(entitled::domain::Answered::Refused));
    assert_eq!(plan_of(&world, id), ("team".to_owned(), "team".to_owned()));
    assert_eq!(state(&world, operation), Some(AskedState::Overruled));
    let (_, metrics) = world.ops("/metrics").await;
    assert!(metrics.contains("entitled_operations_overruled_total 1"), "{metrics}");
    let changes = world.daemon.store.changes(&ChangeFilter::default()).unwrap();
    let last = format!("{:?}", changes.last().unwrap().after);
    assert!(
        last.contains("Microsoft ignored our refusal: the subscription has plan team"),
        "{last}"
    );
}

#[tokio::test]
async fn what_microsoft_takes_back_is_accepted_even_when_the_mirror_is_behind() {
    let (world, id) = holding().await;
    let plain = world.microsoft(|it| it.roll_back(id)).unwrap();
    play_out(&world).await;
    assert_eq!(state(&world, plain), Some(AskedState::Accepted));
    world.microsoft(|it| {
        let mut subscription = it.subscription(id).unwrap();
        "team".clone_into(&mut subscription.plan_id);
        it.put_subscription(&subscription);
    });
    let unseen = world.microsoft(|it| it.roll_back(id)).unwrap();
    play_out(&world).await;
    assert_eq!(state(&world, unseen), Some(AskedState::Accepted));
    assert_eq!(plan_of(&world, id), ("team".to_owned(), "team".to_owned()));
}

#[tokio::test]
async fn with_any_policy_it_is_told_beforehand_who_loses_a_seat_and_those_do() {
    let (world, id) = super::orders::told().await;
    world.microsoft(|it| {
        let mut subscription = it.subscription(id).unwrap();
        "team".clone_into(&mut subscription.plan_id);
        subscription.quantity = Some(4);
        it.put_subscription(&subscription);
    });
    world.sync().await;
    let tenant = story::MIA.tenant.to_string().parse().unwrap();
    let user = |it: u128| UserId::from_uuid(Uuid::from_u128(it));
    let seats = (1..=4_i64).map(|it| {
        let taken_at = world.now() - SignedDuration::from_mins(60 - it);
        let number = it.unsigned_abs().into();
        ((tenant, user(number)), HeldSeat { taken_at, last_used: world.now() })
    });
    let holders = vec![(SubscriptionId::from_uuid(id), Holders::new(seats))];
    world.daemon.store.commit(Commit { holders, ..Commit::default() }).await.unwrap();

    let operation = world.microsoft(|it| it.change_quantity(id, 2)).unwrap();
    play_out(&world).await;
    let mirror = world.mirror();
    let asked = mirror.asked(&operation.to_string()).unwrap();
    assert_eq!(
        (asked.state, asked.impact.users()),
        (AskedState::Accepted, &[user(3), user(4)][..])
    );
    let usable = async |it: u128| {
        let body = json!({ "product": "viz-suite", "host": "web", "tenant": story::MIA.tenant,
            "user": Uuid::from_u128(it) });
        let asked = world.post("/v1/entitlements", crate::world::CALLER_KEY, &body);
        asked.await.1["usable"].as_bool().unwrap()
    };
    let answers = [usable(1).await, usable(2).await, usable(3).await, usable(4).await];
    assert_eq!(answers, [true, true, false, false]);
    let changes = world.daemon.store.changes(&ChangeFilter::default()).unwrap();
    let told = changes.iter().position(|it| it.entity == entitled::domain::Entity::Operation);
    let words = format!("{:?}", changes[told.unwrap()].after);
    assert!(words.contains("2 users lose their seats") && words.contains(&user(4).to_string()));
    assert!(told.unwrap() < changes.len() - 1, "before the subscription changed");
}
