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
        let operation = json!({"id": "0", "subscriptionId": it.id, "action": "ChangePlan",
            "planId": "company", "status": status, "operationRequestSource": "Partner"});
        Stumble::new("GET", "operations/*", 200, 1).saying(&operation.to_string())
    };
    let next = |status| Stumble::new("GET", "operations/*", status, 1);
    let steps = [
        says("NotStarted"),
        next(400),                         // not known yet
        next(404),                         // as the documents have it
        next(200).saying("{}"),            // cannot be understood
        Stumble { times: 4, ..next(500) }, // away for a while
        says("InProgress"),
        says("Frozen"),
    ];
    for step in steps {
        it.stumble(step);
    }
    let (ordered, steps) = it.told(Bought::request(plan("company"))).await;
    ended(ordered, OrderEnd::Done);
    let unknown = ["unknown"; 3];
    let [first, rest @ ..] = &words(&steps)[..] else { panic!("{steps:?}") };
    assert_eq!((*first, rest[0], &rest[1..4]), ("accepted", "NotStarted", &unknown[..]));
    assert_eq!(rest[4..], ["reading back", "InProgress", "Frozen", "Succeeded"]);
    assert!(it.world.slept() >= Duration::from_secs(80), "{:?}", it.world.slept());
    it.is("company", None, "Subscribed");
}

#[tokio::test]
async fn an_operation_that_goes_on_for_long_is_no_failure() {
    let it = Bought::new().await;
    let before = it.world.microsoft(|world| world.subscription(it.id)).unwrap();
    let request = Request { wait: false, ..Bought::request(plan("company")) };
    let id = ended(it.told(request).await.0, OrderEnd::UnderWay).operation.unwrap();
    let operation = json!({"id": *id, "subscriptionId": it.id, "action": "ChangePlan",
        "planId": "company", "status": "InProgress"});
    it.stumble(Stumble::new("GET", "operations/*", 200, 999).saying(&operation.to_string()));
    it.stumble(it.trip("GET", 200, 999).saying(&serde_json::to_string(&before).unwrap()));
    let (progress, _steps) = mpsc::channel(256);
    let followed =
        it.world.daemon.orders.follow(it.subscription(), &id, &Cause::Command, &progress).await;
    let followed = ended(followed, OrderEnd::UnderWay);
    assert_eq!(followed.operation.as_deref(), Some(&*id));
    let looks = it.asked("GET", &format!("/operations/{id}"));
    assert!((60..=100).contains(&looks), "a quarter of an hour, every ten seconds: {looks}");
}

#[tokio::test]
async fn a_202_that_names_no_operation_is_read_back() {
    let it = Bought::new().await;
    it.stumble(it.trip("PATCH", 202, 1).but_done());
    ended(it.order(plan("company")).await, OrderEnd::Done);
    assert_eq!(it.asked("PATCH", ""), 1);
    it.is("company", None, "Subscribed");
}

#[tokio::test]
async fn an_operation_that_microsoft_forgets_ends_as_the_subscription_shows() {
    let it = Bought::new().await;
    it.stumble(Stumble::new("GET", "operations/*", 404, 99));
    ended(it.order(plan("company")).await, OrderEnd::Done);
    it.is("company", None, "Subscribed");
}

#[tokio::test]
async fn what_is_so_already_is_success_without_a_call() {
    let it = Bought::new().await;
    ended(it.order(plan("TEAM")).await, OrderEnd::Already);
    ended(it.order(Order::Quantity(25)).await, OrderEnd::Already);
    // The mirror notes that a subscription came back from its end; of orders there is nothing.
    let journal = it.journal();
    let orders: Vec<_> = journal.iter().filter(|it| !it.contains("Unsubscribed")).collect();
    assert_eq!((it.asked("PATCH", ""), &*orders), (0, &[] as &[&String]));
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
    // The mirror notes that a subscription came back from its end; of orders there is nothing.
    let journal = it.journal();
    let orders: Vec<_> = journal.iter().filter(|it| !it.contains("Unsubscribed")).collect();
    assert_eq!((it.asked("PATCH", ""), orders), (0, Vec::new()));
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
}

#[tokio::test]
async fn what_the_subscription_shows_by_then_says_more_than_a_400() {
    for (status, word) in [("Suspended", "suspended"), ("Unsubscribed", "ended")] {
        let it = Bought::new().await;
        let live = it.world.microsoft(|world| world.subscription(it.id)).unwrap();
        it.stumble(it.trip("GET", 200, 1).saying(&serde_json::to_string(&live).unwrap()));
        it.status(status);
        refused(it.order(plan("company")).await, word, &[]);
        assert_eq!(it.asked("PATCH", ""), 1);
        it.is("team", Some(25), status);
    }
}

#[tokio::test]
async fn a_400_to_what_is_being_done_already_is_no_failure() {
    // Throttled in words, done in deed: the second try meets the first one's lock.
    let it = Bought::new().await;
    it.stumble(it.trip("PATCH", 429, 1).but_done());
    ended(it.order(plan("company")).await, OrderEnd::Done);
    it.is("company", None, "Subscribed");
    // And once it is over, that nothing would change.
    let it = Bought::new().await;
    it.stumble(it.trip("PATCH", 429, 1).but_done());
    it.stumble(it.trip("PATCH", 429, 2));
    ended(it.order(plan("company")).await, OrderEnd::Done);
    assert_eq!(it.asked("PATCH", ""), 4);
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
        it.world.daemon.orders.follow(it.subscription(), &id, &Cause::Command, &progress).await
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
    let followed = orders.follow(it.subscription(), &operation, &Cause::Command, &progress).await;
    ended(followed, OrderEnd::Done);
    it.is("team", Some(30), "Subscribed");
    let nobody = Uuid::from_u128(5).to_string();
    let followed = orders.follow(it.subscription(), &nobody, &Cause::Command, &progress).await;
    refused(followed, "no_operation", &["knows no operation"]);
    let suspend = it.world.microsoft(|world| world.suspend(it.id)).unwrap().to_string();
    let followed = orders.follow(it.subscription(), &suspend, &Cause::Command, &progress).await;
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
