//! The end of a subscription. Source: marketplace-saas.md 6.7.

use super::*;

#[tokio::test]
async fn a_subscription_is_ended_and_the_customer_asks_in_vain() {
    let it = Bought::new().await;
    let operation = ended(it.order(Order::Cancel).await, OrderEnd::Done).operation.unwrap();
    it.is("team", Some(25), "Unsubscribed");
    let journal = it.journal();
    assert_eq!(journal[0], "command: asked for the end");
    assert_eq!(journal[1], format!("command: the end is done (operation {operation})"));
}

#[tokio::test]
async fn what_has_ended_is_success_whoever_says_so() {
    let it = Bought::new().await;
    // Newer servers answer 200 to what had ended.
    it.stumble(it.trip("DELETE", 200, 1));
    it.stumble(Stumble::new("GET", "operations", 200, 9));
    let told = it.order(Order::Cancel).await.unwrap();
    assert_eq!(told.end, OrderEnd::DoneUnseen, "the subscription is what is believed");
    it.is("team", Some(25), "Subscribed");
    it.status("Unsubscribed");
    ended(it.order(Order::Cancel).await, OrderEnd::Already);
    it.is("team", Some(25), "Unsubscribed");
    assert_eq!(it.asked("DELETE", ""), 1);
}

#[tokio::test]
async fn what_is_pending_or_suspended_can_be_ended() {
    for status in ["PendingFulfillmentStart", "Suspended"] {
        let it = Bought::new().await;
        it.status(status);
        ended(it.order(Order::Cancel).await, OrderEnd::Done);
        it.is("team", Some(25), "Unsubscribed");
    }
}

#[tokio::test]
async fn a_resellers_customer_is_not_ours_to_end() {
    let it = Bought::new().await;
    it.edit(|it| it.allowed_customer_operations = vec!["Read".to_owned()]);
    refused(it.forced(Order::Cancel).await, "not_allowed", &["`Delete`", "reseller"]);
    assert_eq!(it.asked("DELETE", ""), 0);
    // Where the subscription does not say so, Microsoft does.
    it.edit(|it| it.allowed_customer_operations = vec!["Delete".to_owned()]);
    it.stumble(it.trip("DELETE", 400, 1));
    refused(it.order(Order::Cancel).await, "rejected", &["may not end this subscription"]);
    it.is("team", Some(25), "Subscribed");
}

#[tokio::test]
async fn a_year_is_ended_within_72_hours_and_not_later() {
    let it = Bought::new().await;
    it.edit(|it| it.term.term_unit = "P1Y".to_owned());
    it.world.advance(SignedDuration::from_hours(49));
    let says = ["72 hours", "nobody but the customer", "--force"];
    refused(it.order(Order::Cancel).await, "long_term", &says);
    assert_eq!(it.asked("DELETE", ""), 0);
    refused(it.forced(Order::Cancel).await, "rejected", &["may not end"]);
    assert_eq!(it.asked("DELETE", ""), 1);
    it.is("team", Some(25), "Subscribed");

    let it = Bought::new().await;
    it.edit(|it| it.term.term_unit = "P1Y".to_owned());
    it.world.advance(SignedDuration::from_hours(47));
    ended(it.order(Order::Cancel).await, OrderEnd::Done);
}

#[tokio::test]
async fn a_lock_is_told_and_is_over_in_minutes() {
    let it = Bought::new().await;
    it.world.microsoft(|world| world.change_quantity(it.id, 26)).unwrap();
    it.world.advance(SignedDuration::from_secs(3));
    refused(it.order(Order::Cancel).await, "locked", &["try again in some minutes"]);
    it.world.advance(SignedDuration::from_mins(1));
    ended(it.order(Order::Cancel).await, OrderEnd::Done);
}

#[tokio::test]
async fn a_preview_says_what_it_means_and_asks_for_nothing() {
    let it = Bought::new().await;
    let orders = &it.world.daemon.orders;
    let told = orders.preview(it.subscription(), &Order::Cancel, false).await.unwrap();
    assert_eq!(&*told.plan.unwrap().name, "Team");
    assert!(told.notes.join(" ").contains("72 hours") && !told.already);
    let told = orders.preview(it.subscription(), &plan("gold"), false).await;
    refused(told, "not_offered", &[]);
    assert_eq!((it.asked("DELETE", ""), it.journal().len()), (0, 0));
}
