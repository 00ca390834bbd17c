//! A subscription from purchase to end: our client against the stand-in.

use entitled::domain::{
    Action, OperationStatus, PurchaseToken, SubscriptionId, SubscriptionStatus,
};
use entitled::microsoft::{Acknowledged, Cancelled, Change, ErrorKind, Operation, Read, Verdict};
use entitled::sandbox::{Purchase, story};
use jiff::SignedDuration;
use serde_json::json;

use super::sandbox::Stage;

fn understood(read: Option<Read<Operation>>) -> Operation {
    match read {
        Some(Read::Understood(it, _)) => it,
        other => panic!("it was not understood: {other:?}"),
    }
}

async fn status(stage: &Stage, id: SubscriptionId) -> (SubscriptionStatus, Option<u64>) {
    let marketplace = stage.microsoft.marketplace();
    match marketplace.subscription(&stage.meter, id).await.unwrap() {
        Some(Read::Understood(it, _)) => (it.status, it.quantity),
        other => panic!("it was not understood: {other:?}"),
    }
}

#[tokio::test]
async fn a_subscription_is_followed_from_its_purchase_to_its_end() {
    let stage = Stage::story().await;
    let (marketplace, meter) = (stage.microsoft.marketplace(), &stage.meter);
    let world = &stage.sandbox;
    let pass = |seconds| {
        world.with_world(|it| it.advance_clock(SignedDuration::from_secs(seconds)));
    };
    let purchase = json!({ "tenant": story::CONTOSO.tenant, "user": story::ANA.user,
        "plan": "team", "quantity": 5 });
    let purchase: Purchase = serde_json::from_value(purchase).unwrap();
    let bought = world.with_world(|it| it.buy(purchase)).unwrap();
    let token = world.with_world(|it| it.landing_token(bought)).unwrap();
    let query: String =
        url::form_urlencoded::Serializer::new(String::new()).append_pair("token", &token).finish();
    let token = PurchaseToken::from_query(&query).unwrap();
    let resolved = marketplace.resolve(meter, &token).await.unwrap();
    let id = resolved.id;
    assert_eq!((id.as_uuid(), &*resolved.plan, resolved.quantity), (bought, "team", Some(5)));
    marketplace.activate(meter, id, &resolved.plan, resolved.quantity).await.unwrap();
    assert_eq!(status(&stage, id).await.0, SubscriptionStatus::PendingFulfillmentStart);
    pass(30);
    assert_eq!(status(&stage, id).await.0, SubscriptionStatus::Subscribed);
    assert_eq!(marketplace.plans(meter, id, None).await.unwrap().len(), 3);

    // The customer changes, we agree; too late the second time.
    let operation = world.with_world(|it| it.change_plan(bought, "enterprise")).unwrap();
    let operation = operation.to_string();
    let read = understood(marketplace.operation(meter, id, &operation).await.unwrap());
    assert_eq!((read.action, read.plan.as_deref()), (Action::ChangePlan, Some("enterprise")));
    pass(3);
    assert_eq!(marketplace.operations(meter, id).await.unwrap().len(), 1);
    let say = async || marketplace.acknowledge(meter, id, &operation, Verdict::Success).await;
    assert_eq!(say().await.unwrap(), Acknowledged::Recorded);
    pass(1);
    assert_eq!(say().await.unwrap(), Acknowledged::TooLate);
    assert!(marketplace.operations(meter, id).await.unwrap().is_empty());

    // We change; the answer is lost, and reading back tells.
    let faults = |spec: &str| world.with_world(|it| it.set_faults(spec.parse().unwrap()));
    faults("marketplace.500_after=1");
    let error = marketplace.change(meter, id, Change::Quantity(40)).await.unwrap_err();
    assert!(error.may_have_taken_effect(), "{error}");
    faults("");
    pass(5);
    assert_eq!(status(&stage, id).await.1, Some(40), "it did take effect, once");
    let accepted = marketplace.change(meter, id, Change::Quantity(41)).await.unwrap();
    let locked = marketplace.cancel(meter, id).await.unwrap_err();
    assert_eq!((locked.kind(), locked.may_have_taken_effect()), (ErrorKind::Locked, false));
    let read = understood(marketplace.follow(meter, &accepted).await.unwrap());
    assert_eq!(
        (read.id, read.status),
        (accepted.operation.as_ref().into(), OperationStatus::NotStarted)
    );
    pass(5);
    let read = understood(marketplace.follow(meter, &accepted).await.unwrap());
    assert_eq!(read.status, OperationStatus::Succeeded);
    let same = marketplace.change(meter, id, Change::Quantity(41)).await.unwrap_err();
    assert_eq!(same.kind(), ErrorKind::Rejected);

    let Cancelled::Accepted(_) = marketplace.cancel(meter, id).await.unwrap() else {
        panic!("it had not ended");
    };
    pass(5);
    assert_eq!(status(&stage, id).await.0, SubscriptionStatus::Unsubscribed);
    assert!(matches!(marketplace.cancel(meter, id).await.unwrap(), Cancelled::AlreadyEnded));
    let gone = marketplace.activate(meter, id, "team", None).await.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::NotFound);
}
