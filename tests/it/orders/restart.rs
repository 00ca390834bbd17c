//! Orders that were under way when the daemon was stopped.

use super::*;

fn says(it: &Bought, words: &str) -> bool {
    it.journal().iter().any(|line| line.contains(words))
}

/// Moved to another plan by an order that nobody waits for.
async fn moved() -> Bought {
    let it = Bought::new().await;
    let request = Request { wait: false, ..Bought::request(plan("enterprise")) };
    let ordered = it.told(request).await.0.unwrap();
    assert_eq!(ordered.end, OrderEnd::UnderWay);
    it
}

#[tokio::test]
async fn an_order_under_way_is_followed_again_after_a_restart_once() {
    let mut it = moved().await;
    assert!(!says(&it, "is done"), "{:?}", it.journal());
    it.world.restart().await;
    it.world
        .until("it is followed to its end", |_| says(&it, "plan enterprise is done (operation "))
        .await;
    it.is("enterprise", Some(25), "Subscribed");
    assert_eq!(it.asked("PATCH", ""), 1, "it is not asked for again");
    it.world.restart().await;
    // Orders are taken again, so whatever was under way has begun before this one.
    it.order(Order::Quantity(30)).await.unwrap();
    let done = it.journal().iter().filter(|it| it.contains("enterprise is done")).count();
    assert_eq!(done, 1, "{:?}", it.journal());
}

#[tokio::test]
async fn an_order_whose_answer_was_never_seen_is_looked_for_and_not_asked_for_again() {
    let mut it = Bought::new().await;
    // Microsoft takes it, and the daemon is gone before it hears so.
    let request = Request { wait: false, ..Bought::request(plan("enterprise")) };
    let operation = it.told(request).await.0.unwrap().operation.unwrap();
    let mirror = it.world.mirror();
    let kept = mirror.document("orders under way").unwrap();
    let text = String::from_utf8(kept.to_vec()).unwrap();
    assert!(text.contains(&*operation), "{text}");
    let text = text.replace(&format!("\"{operation}\""), "null");
    let document =
        entitled::domain::Document { name: "orders under way".into(), bytes: text.into() };
    let commit = entitled::domain::Commit {
        documents: vec![document],
        ..entitled::domain::Commit::default()
    };
    it.world.daemon.store.commit(commit).await.unwrap();
    it.world.restart().await;
    it.world.until("it is found", |_| says(&it, "plan enterprise is done")).await;
    it.is("enterprise", Some(25), "Subscribed");
    assert_eq!(it.asked("PATCH", ""), 1);
}

#[tokio::test]
async fn a_subscription_with_an_order_under_way_is_looked_at_before_the_next_list() {
    let it = moved().await;
    it.world.advance(SignedDuration::from_mins(3));
    it.world
        .until("the change is seen", |world| {
            let mirror = world.mirror();
            &*mirror.subscription(it.subscription()).unwrap().plan == "enterprise"
        })
        .await;
    let runs = it.world.daemon.store.runs(&entitled::store::RunFilter::default()).unwrap();
    assert!(!runs.last().unwrap().full, "by a look of its own: {:?}", runs.last());
}
