//! Another plan or quantity. Source: marketplace-saas.md 6.6.

use super::*;

fn words(steps: &[OrderStep]) -> Vec<&str> {
    let word = |it| match it {
        &OrderStep::Accepted { .. } => "accepted",
        OrderStep::Looked { status, .. } => status,
        OrderStep::ReadingBack { .. } => "reading back",
        OrderStep::Unseen => "unseen",
    };
    steps.iter().map(word).collect()
}

#[tokio::test]
async fn a_plan_is_changed_and_the_mirror_follows_only_then() {
    let it = Bought::new().await;
    // The first look finds it not begun; where it can be looked at is named on another host.
    let (ordered, steps) = it.told(Bought::request(plan("company"))).await;
    let operation = ended(ordered, OrderEnd::Done).operation.unwrap();
    assert_eq!(words(&steps), ["accepted", "Succeeded"]);
    it.is("company", None, "Subscribed");
    let journal = it.journal();
    assert_eq!(journal[0], "command: asked for plan company in place of team");
    assert_eq!(journal[1], format!("command: plan company is done (operation {operation})"));
    assert_eq!((it.asked("PATCH", ""), journal.len()), (1, 2));
    assert_eq!(it.asked("GET", &format!("/operations/{operation}")), 1, "path and query of it");
}

#[tokio::test]
async fn seats_are_changed() {
    let it = Bought::new().await;
    ended(it.order(Order::Quantity(40)).await, OrderEnd::Done);
    it.is("team", Some(40), "Subscribed");
    assert_eq!(it.journal()[0], "command: asked for quantity 40 in place of 25");
}

#[tokio::test]
async fn an_operation_is_looked_at_until_it_is_over() {
    let it = Bought::new().await;
    let says = |status: &str| {
        json!({"id": "0", "subscriptionId": it.id, "action": "ChangePlan", "planId": "company",
            "status": status, "operationRequestSource": "Partner"})
        .to_string()
    };
    let (send, receive) = tokio::sync::oneshot::channel();
    let told = async {
        let (progress, mut steps) = mpsc::channel(64);
        let request = Bought::request(plan("company"));
        let orders = it.world.daemon.orders.clone();
        let id = it.subscription();
        let order = orders.order(id, request, progress);
        let mut heard = Vec::new();
        let mut send = Some(send);
        let listen = async {
            while let Some(step) = steps.recv().await {
                if let (OrderStep::Accepted { operation }, Some(send)) = (&step, send.take()) {
                    send.send(operation.to_string()).unwrap();
                }
                heard.push(step);
            }
        };
        let (ordered, ()) = tokio::join!(order, listen);
        (ordered, heard)
    };
    let trip = async {
        let operation: String = receive.await.unwrap();
        let next =
            |status: u16, body: &str| Stumble::new("GET", &operation, status, 1).saying(body);
        it.stumble(next(200, &says("NotStarted")));
        it.stumble(next(400, "")); // not known yet
        it.stumble(next(200, "{}")); // cannot be understood
        it.stumble(next(500, ""));
        it.stumble(next(200, &says("InProgress")));
        it.stumble(next(200, &says("Frozen")));
    };
    let ((ordered, steps), ()) = tokio::join!(told, trip);
    ended(ordered, OrderEnd::Done);
    let words = words(&steps);
    assert_eq!(words.last(), Some(&"Succeeded"), "{words:?}");
    assert!(words.contains(&"InProgress") && words.contains(&"unknown"), "{words:?}");
    assert!(it.world.slept() >= Duration::from_secs(50), "{:?}", it.world.slept());
    it.is("company", None, "Subscribed");
}

#[tokio::test]
async fn what_is_so_already_is_success_without_a_call() {
    let it = Bought::new().await;
    ended(it.order(plan("TEAM")).await, OrderEnd::Already);
    ended(it.order(Order::Quantity(25)).await, OrderEnd::Already);
    assert_eq!((it.asked("PATCH", ""), it.journal().len()), (0, 0));
}

#[tokio::test]
async fn what_can_be_known_is_refused_before_anything_is_asked() {
    let it = Bought::new().await;
    refused(it.order(plan("gold")).await, "not_offered", &["company, team, enterprise", "--force"]);
    refused(it.order(Order::Quantity(501)).await, "seats", &["1 to 500 seats"]);
    let old = json!({"plans": [{"planId": "company", "isStopSell": true}]}).to_string();
    it.stumble(Stumble::new("GET", "listAvailablePlans", 200, 1).saying(&old));
    refused(it.order(plan("company")).await, "stop_sell", &["no longer sold"]);
    it.edit(|it| it.allowed_customer_operations = vec!["Read".to_owned()]);
    for order in [plan("company"), Order::Quantity(30)] {
        refused(it.order(order).await, "not_allowed", &["`Update`", "reseller"]);
    }
    it.edit(|it| it.allowed_customer_operations = vec!["Update".to_owned()]);
    it.status("Suspended");
    refused(it.order(plan("company")).await, "suspended", &["has to pay"]);
    it.status("Unsubscribed");
    refused(it.order(plan("company")).await, "ended", &["buy again"]);
    it.status("PendingFulfillmentStart");
    refused(it.order(plan("company")).await, "not_active", &["entitled subscriptions activate"]);
    it.status("Subscribed");
    it.edit(|it| (it.plan_id, it.quantity) = ("company".to_owned(), None));
    refused(it.order(Order::Quantity(30)).await, "flat_rate", &["change the plan instead"]);
    assert_eq!((it.asked("PATCH", ""), it.journal().len()), (0, 0));
}

#[tokio::test]
async fn seats_of_a_plan_that_is_not_listed_are_microsofts_to_judge() {
    let it = Bought::new().await;
    let none = Stumble::new("GET", "listAvailablePlans", 200, 2).saying("{\"plans\":[]}");
    it.stumble(none);
    ended(it.order(Order::Quantity(30)).await, OrderEnd::Done);
    refused(it.order(Order::Quantity(9_999)).await, "rejected", &["outside of its limits"]);
    it.is("team", Some(30), "Subscribed");
}

#[tokio::test]
async fn what_microsoft_refuses_is_read_back_and_noted() {
    let it = Bought::new().await;
    refused(it.forced(plan("gold")).await, "rejected", &["not offered to this customer"]);
    let journal = it.journal();
    assert_eq!(journal[0], "command: asked for plan gold in place of team");
    assert!(journal[1].starts_with("command: plan gold came to nothing: Microsoft refuses"));
    // What the subscription shows by then says more than a 400.
    let check = async |change: fn(&mut Subscription), word: &str| {
        let it = Bought::new().await;
        let orders = it.world.daemon.orders.clone();
        let (progress, _steps) = mpsc::channel(64);
        let order = orders.order(it.subscription(), Bought::request(plan("company")), progress);
        it.stumble(it.trip("PATCH", 400, 1));
        let meanwhile = async {
            while it.asked("PATCH", "") == 0 {
                tokio::task::yield_now().await;
            }
            it.edit(change);
        };
        // Seen only when it is read back: the stand-in changes in between.
        let (told, ()) = tokio::join!(order, meanwhile);
        let told = told.map_err(|error| error.word());
        assert!(matches!(told, Err(it) if it == word || it == "rejected"), "{told:?}");
    };
    check(|it| it.saas_subscription_status = "Suspended".to_owned(), "suspended").await;
    check(|it| it.saas_subscription_status = "Unsubscribed".to_owned(), "ended").await;
}

#[tokio::test]
async fn a_change_that_was_made_meanwhile_is_no_failure() {
    let it = Bought::new().await;
    // The same order came first from somewhere else: a 400 says that nothing would change.
    let taken = it.trip("PATCH", 400, 1).but_done();
    it.stumble(taken);
    it.world.advance(SignedDuration::from_secs(1));
    let ordered = it.order(plan("company")).await;
    assert!(ordered.is_ok() || ordered.as_ref().is_err_and(|it| it.word() == "rejected"));
    it.world.advance(SignedDuration::from_secs(10));
    ended(it.order(plan("company")).await, OrderEnd::Already);
    it.is("company", None, "Subscribed");
}

#[tokio::test]
async fn a_lock_is_told_whether_it_is_a_400_or_a_409() {
    let it = Bought::new().await;
    it.world.microsoft(|world| world.change_quantity(it.id, 26)).unwrap();
    it.world.advance(SignedDuration::from_secs(3));
    refused(it.order(plan("company")).await, "locked", &["try again in some minutes"]);
    it.world.advance(SignedDuration::from_mins(1));
    it.stumble(it.trip("PATCH", 409, 1));
    let error = it.order(plan("company")).await.unwrap_err();
    assert!(error.word() == "locked" && error.is_transient());
    assert!(it.journal().last().unwrap().contains("came to nothing: another operation"));
    ended(it.order(plan("company")).await, OrderEnd::Done);
}

#[tokio::test]
async fn a_conflict_and_a_failure_end_as_the_subscription_shows() {
    let check = async |status: &str, makes: Option<&str>| {
        let it = Bought::new().await;
        let operation = json!({"id": "0", "subscriptionId": it.id, "action": "ChangePlan",
            "planId": "company", "status": status});
        let accepted = Request { wait: false, ..Bought::request(plan("company")) };
        let under_way = ended(it.told(accepted).await.0, OrderEnd::UnderWay);
        let id = under_way.operation.unwrap();
        if let Some(plan) = makes {
            it.edit(|it| it.plan_id = plan.to_owned());
        }
        let told = Stumble::new("GET", &id, 200, 9).saying(&operation.to_string());
        it.stumble(told);
        let (progress, _steps) = mpsc::channel(64);
        it.world.daemon.orders.follow(it.subscription(), &id, &progress).await
    };
    ended(check("Conflict", Some("company")).await, OrderEnd::Already);
    let failed = check("Failed", None).await;
    refused(failed, "failed", &["could not carry it out", "nothing has changed"]);
}

#[tokio::test]
async fn an_order_that_is_not_waited_for_can_be_followed_later() {
    let it = Bought::new().await;
    let request = Request { wait: false, ..Bought::request(Order::Quantity(30)) };
    let operation = ended(it.told(request).await.0, OrderEnd::UnderWay).operation.unwrap();
    it.is("team", Some(25), "Subscribed");
    assert!(it.journal()[1].contains(&format!("carried out as operation {operation}")));
    let (progress, _steps) = mpsc::channel(64);
    let orders = &it.world.daemon.orders;
    let followed = orders.follow(it.subscription(), &operation, &progress).await;
    ended(followed, OrderEnd::Done);
    it.is("team", Some(30), "Subscribed");
    let nobody = Uuid::from_u128(5).to_string();
    let followed = orders.follow(it.subscription(), &nobody, &progress).await;
    refused(followed, "no_operation", &["knows no operation"]);
    let suspend = it.world.microsoft(|world| world.suspend(it.id)).unwrap().to_string();
    let followed = orders.follow(it.subscription(), &suspend, &progress).await;
    refused(followed, "no_order", &["`Suspend`"]);
}

#[tokio::test]
async fn one_order_at_a_time_for_each_subscription() {
    let it = Bought::new().await;
    let (first, second) = tokio::join!(it.order(plan("company")), it.order(Order::Quantity(30)));
    ended(first, OrderEnd::Done);
    refused(second, "busy", &["another order"]);
    ended(it.order(plan("team")).await, OrderEnd::Done);
}

#[tokio::test]
async fn an_order_goes_on_when_whoever_asked_has_left() {
    let it = Bought::new().await;
    let (progress, mut steps) = mpsc::channel(64);
    let orders = it.world.daemon.orders.clone();
    let order = orders.order(it.subscription(), Bought::request(plan("company")), progress);
    tokio::select! {
        _ = order => panic!("it was to be left"),
        step = steps.recv() => assert!(matches!(step, Some(OrderStep::Accepted { .. }))),
    }
    let mut revisions = it.world.daemon.store.revisions();
    while it.journal().len() < 2 {
        revisions.changed().await.unwrap();
    }
    it.is("company", None, "Subscribed");
}
