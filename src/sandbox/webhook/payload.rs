//! What a webhook says, in the shapes that were really received.
//! Source: marketplace-saas.md 8.3, 8.4.

use serde_json::{Value, json};

use crate::sandbox::chance;
use crate::sandbox::story;
use crate::sandbox::world::orders::{Deed, Operation, precise};
use crate::sandbox::world::subscription::Subscription;

/// The whole shape; the subscription is as it was before.
pub(super) fn full(operation: &Operation, subscription: &Subscription) -> Value {
    // Samples of 2022 have the state before a suspension, those of 2023 the one after.
    let newer = chance::hash(&chance::halves(operation.id)) & 1 == 0;
    let status = if operation.deed == Deed::Suspend && newer {
        "Suspended"
    } else {
        subscription.saas_subscription_status.as_str()
    };
    json!({
        "id": operation.id,
        "activityId": operation.id,
        "publisherId": subscription.publisher_id,
        "offerId": subscription.offer_id,
        "planId": operation.plan,
        // A flat rate has one of itself here and none below.
        "quantity": operation.quantity.unwrap_or(1),
        "subscriptionId": subscription.id,
        "timeStamp": precise(operation.at),
        "action": operation.deed.word(),
        "status": operation.standing.word(),
        "operationRequestSource": source(operation),
        "subscription": {
            "id": subscription.id,
            "name": subscription.name,
            "publisherId": subscription.publisher_id,
            "offerId": subscription.offer_id,
            "planId": subscription.plan_id,
            "quantity": subscription.quantity,
            "beneficiary": subscription.beneficiary,
            "purchaser": subscription.purchaser,
            "allowedCustomerOperations": subscription.allowed_customer_operations,
            "sessionMode": subscription.session_mode,
            "isFreeTrial": subscription.is_free_trial,
            "isTest": subscription.is_test,
            "sandboxType": subscription.sandbox_type,
            "saasSubscriptionStatus": status,
            "term": {
                "startDate": subscription.term.start_date,
                "endDate": subscription.term.end_date,
                "termUnit": subscription.term.term_unit,
                "chargeDuration": null,
            },
            "autoRenew": subscription.auto_renew,
            "created": subscription.created,
            "lastModified": precise(operation.at),
        },
        "purchaseToken": null,
    })
}

/// The old shape: members present but empty, and an activity id of its own.
pub(super) fn minimal(operation: &Operation) -> Value {
    json!({
        "id": operation.id,
        "activityId": chance::guid(&chance::halves(operation.id)),
        "subscriptionId": operation.subscription,
        "publisherId": story::PUBLISHER,
        "offerId": "",
        "planId": "",
        "quantity": "",
        "timeStamp": precise(operation.at),
        "action": operation.deed.word(),
        "status": "",
        "operationRequestSource": source(operation),
    })
}

/// Who asked for it.
pub(crate) fn source(operation: &Operation) -> &'static str {
    if operation.partner { "Partner" } else { "Azure" }
}
