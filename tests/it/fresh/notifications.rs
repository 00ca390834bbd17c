//! Change notifications: nudges that may be lost, late, twice or forged.

use std::time::Duration;

use entitled::domain::{Commit, GraphSubscription, Outcome, TenantId, Trigger, Watched};
use entitled::sandbox::{Faults, NewUser, Options, story};
use entitled::store::RunFilter;
use jiff::SignedDuration;
use serde_json::json;
use uuid::Uuid;

use crate::sync::seats;
use crate::world::World;

const PRODUCT: &str = "synoptic-panel";
const EXTRA: &str = "[sync.directory]\nnotifications = true\n";

fn contoso() -> TenantId {
    story::CONTOSO.tenant.to_string().parse().unwrap()
}

fn faults(world: &World, spec: &str) {
    world.microsoft(|it| it.set_faults(spec.parse::<Faults>().unwrap()));
}

/// Whoever rested after a failure no longer does, and it is looked what is due.
async fn two_hours_later(world: &World) {
    world.advance(SignedDuration::from_hours(2));
    world.daemon.store.commit(Commit::default()).await.unwrap();
}

fn subscription(world: &World) -> Option<GraphSubscription> {
    let mirror = world.mirror();
    mirror.graph_subscriptions().of(contoso(), Watched::Users).map(|it| it.as_ref().clone())
}

/// A world whose daemon has read everything.
async fn read() -> World {
    let world = World::with(Options::default(), EXTRA).await;
    let public = format!("http://{}", world.daemon.public);
    world.microsoft(|it| it.set_reach("https://lic.vizmaker.example", &public));
    world.sync().await;
    world
}

/// A world whose daemon is told of what happens in Contoso.
async fn subscribed() -> World {
    let world = read().await;
    // Before it was told where the daemon is, Microsoft may have refused.
    two_hours_later(&world).await;
    world.until("a subscription", |it| subscription(it).is_some()).await;
    assert!(world.microsoft(|it| it.subscribers(story::CONTOSO.tenant)) >= 1);
    world
}

fn holds(world: &World, user: Uuid) -> bool {
    let user = user.to_string().parse().unwrap();
    world.mirror().tenant(contoso()).unwrap().users.contains(user)
}

async fn figure(world: &World, name: &str) -> u64 {
    let (_, text) = world.ops("/metrics").await;
    let line = text.lines().find_map(|it| it.strip_prefix(&format!("entitled_{name} ")));
    line.map_or(0, |it| it.parse().unwrap())
}

#[tokio::test]
async fn who_was_assigned_a_licence_is_let_in_before_he_asks() {
    let world = subscribed().await;
    let (tenant, dan) = (story::CONTOSO.tenant, story::DAN);
    let before = world.sandbox.requests().len();
    world.microsoft(|it| it.assign(tenant, dan.user, story::SYNOPTIC_SKU, &[])).unwrap();
    world.until("his licence", |it| holds(it, dan.user)).await;
    // The clock was moved, and nothing was read in full since.
    assert_eq!(world.answer(dan, PRODUCT).await, "active seat_direct stale");
    let asked = world.sandbox.requests().split_off(before);
    assert!(asked.iter().all(|it| !it.target.contains("delta")), "{asked:?}");
    assert_eq!(figure(&world, "change_age_seconds_count{path=\"notification\"}").await, 1);
    assert!(figure(&world, "notifications_total{outcome=\"user\"}").await >= 1);
}

#[tokio::test]
async fn duplicates_late_ones_and_forged_ones_change_nothing() {
    let world = subscribed().await;
    let tenant = story::CONTOSO.tenant;
    faults(&world, "notification.duplicate=0.5,notification.forge=1,notification.reorder=0.5");
    for person in [story::DAN, story::CLEO] {
        world.microsoft(|it| it.assign(tenant, person.user, story::SYNOPTIC_SKU, &[])).unwrap();
    }
    world.microsoft(|it| it.unassign(tenant, story::ANA.user, story::SYNOPTIC_SKU)).unwrap();
    // Five seconds after: those that were held back come too.
    world.sandbox.deliver_notifications().await;
    world.advance(SignedDuration::from_secs(6));
    world.until("all of it", |it| seats(it, tenant).0 == seats(it, tenant).1).await;
    assert!(figure(&world, "notifications_total{outcome=\"unknown\"}").await >= 3);
    assert_eq!(world.answer(story::DAN, PRODUCT).await, "active seat_direct stale");
}

#[tokio::test]
async fn who_joined_a_licensed_group_is_its_member_before_groups_are_due() {
    let world = subscribed().await;
    let (tenant, group) = (story::CONTOSO.tenant, story::BI_USERS);
    let told = |it: &World| {
        let mirror = it.mirror();
        mirror.graph_subscriptions().of(contoso(), Watched::Groups).is_some()
    };
    world.until("a subscription to groups", told).await;
    world.sync_tenant(tenant).await;
    let user = world.microsoft(|it| it.add_user(tenant, NewUser::default())).unwrap();
    world.microsoft(|it| it.add_member(tenant, group, user)).unwrap();
    let (group, user) = (group.to_string().parse().unwrap(), user.to_string().parse().unwrap());
    let is_member = |it: &World| {
        let mirror = it.mirror();
        let group = mirror.tenant(contoso()).unwrap().groups.groups.get(&group).cloned();
        group.is_some_and(|it| it.members.get(user).is_some_and(|it| it.here))
    };
    world.until("the membership", is_member).await;
    assert!(figure(&world, "notifications_total{outcome=\"group\"}").await >= 1);
}

#[tokio::test]
async fn a_subscription_is_renewed_when_graph_asks_and_made_anew_when_it_is_gone() {
    let world = subscribed().await;
    let tenant = story::CONTOSO.tenant;
    let first = subscription(&world).unwrap();
    world.advance(SignedDuration::from_hours(1));
    world.microsoft(|it| it.lifecycle(tenant, "reauthorizationRequired")).unwrap();
    let renewed = |it: &World| subscription(it).is_some_and(|it| it.renewed > first.renewed);
    world.until("the renewal", renewed).await;
    let second = subscription(&world).unwrap();
    assert_eq!((&second.id, second.client_state), (&first.id, first.client_state));
    assert!(second.expires > first.expires);

    // What nobody told of while it was gone is found by the run that follows.
    world.microsoft(|it| it.lifecycle(tenant, "subscriptionRemoved")).unwrap();
    world.microsoft(|it| it.assign(tenant, story::DAN.user, story::SYNOPTIC_SKU, &[])).unwrap();
    let remade = |it: &World| subscription(it).is_some_and(|it| it.id != first.id);
    world.until("a new one", remade).await;
    world.until("what happened meanwhile", |it| holds(it, story::DAN.user)).await;
    let of_it = RunFilter { tenant: Some(contoso()), limit: 1, ..RunFilter::default() };
    let run = world.daemon.store.runs(&of_it).unwrap().remove(0);
    assert_eq!((run.trigger, run.outcome), (Trigger::Notification, Outcome::Complete));
}

#[tokio::test]
async fn once_switched_off_it_ends_them_and_only_asks() {
    let mut world = subscribed().await;
    let there = |it: &World| it.microsoft(|it| it.subscribers(story::CONTOSO.tenant));
    assert!(there(&world) > 0);
    world.reconfigure("").await;
    world.until("the end of them", |it| subscription(it).is_none() && there(it) == 0).await;
    assert_eq!(figure(&world, "graph_subscriptions_kept_total{outcome=\"failed\"}").await, 0);
}

#[tokio::test]
async fn where_graph_takes_no_subscription_delta_goes_on_and_one_is_made_later() {
    let world = read().await;
    faults(&world, "notification.unverified=1");
    two_hours_later(&world).await;
    let refused = |it: &World| {
        let asked = it.sandbox.requests();
        asked.iter().any(|it| it.target.ends_with("/subscriptions") && it.status == 400)
    };
    world.until("a try", refused).await;
    world
        .microsoft(|it| it.assign(story::CONTOSO.tenant, story::DAN.user, story::SYNOPTIC_SKU, &[]))
        .unwrap();
    assert_eq!(world.sync_tenant(story::CONTOSO.tenant).await.outcome, Outcome::Complete);
    assert_eq!(world.answer(story::DAN, PRODUCT).await, "active seat_direct");
    faults(&world, "");
    two_hours_later(&world).await;
    world.until("a subscription", |it| subscription(it).is_some()).await;
}

#[tokio::test]
async fn the_handshake_echoes_plain_text_and_strangers_get_nothing() {
    let world = World::new().await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let post = async |path: &str, body: String| {
        let url = format!("http://{}{path}", world.daemon.public);
        let answer = client.post(url).body(body).send().await.unwrap();
        let kind = answer.headers().get("content-type").map(|it| it.to_str().unwrap().to_owned());
        (answer.status().as_u16(), kind.unwrap_or_default(), answer.text().await.unwrap())
    };
    let plain = "text/plain; charset=utf-8".to_owned();
    for path in ["/graph/notifications", "/graph/lifecycle"] {
        let asked = format!("{path}?validationToken=a%3A+%3Cb%3E%2B%C3%A9");
        let echoed = (200, plain.clone(), "a: <b>+\u{e9}".to_owned());
        assert_eq!(post(&asked, String::new()).await, echoed);
        let long = format!("{path}?validationToken={}", "x".repeat(1_025));
        assert_eq!(post(&long, String::new()).await.0, 400);
        for none in ["", "[]", "{\"value\":", "{\"value\":{}}"] {
            assert_eq!(post(path, none.to_owned()).await.0, 400, "{none}");
        }
        let stranger = json!({ "value": [{ "subscriptionId": "x", "clientState": "y" }] });
        assert_eq!(post(path, stranger.to_string()).await, (202, String::new(), String::new()));
        assert_eq!(post(path, "x".repeat(300_000)).await.0, 413);
    }
    assert_eq!(figure(&world, "notifications_total{outcome=\"unknown\"}").await, 2);
    assert_eq!(figure(&world, "graph_subscriptions").await, 0, "nobody asked for any");
}
