//! The subscription object, read tolerantly.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;
use uuid::Uuid;

use crate::domain::{Party, Subscription, SubscriptionId, SubscriptionStatus};
use crate::microsoft::json;

/// One subscription. Unusable is only what has no usable id, status or quantity.
///
/// # Errors
///
/// What could not be understood.
///
/// Source: marketplace-saas.md sections 5.1 to 5.3 and 5.6.
pub(super) fn subscription(value: &Value, now: Timestamp) -> Result<Subscription, String> {
    let id = json::id(value, "id")?;
    let status = json::word(value, "saasSubscriptionStatus").unwrap_or_default();
    if status.is_empty() {
        return Err("it has no `saasSubscriptionStatus`".into());
    }
    let term = value.get("term").unwrap_or(&Value::Null);
    let operations = value.get("allowedCustomerOperations").and_then(Value::as_array);
    let operations = operations.map(Vec::as_slice).unwrap_or_default().iter();
    Ok(Subscription {
        id,
        publisher: json::lower(value, "publisherId"),
        offer: json::lower(value, "offerId"),
        plan: json::lower(value, "planId"),
        // Free text of the buyer's: not even trimmed.
        name: value.get("name").and_then(Value::as_str).unwrap_or_default().into(),
        status: SubscriptionStatus::from_word(status),
        quantity: json::count(value, "quantity")?,
        beneficiary: party(value.get("beneficiary")),
        purchaser: party(value.get("purchaser")),
        term_start: json::moment(term, "startDate"),
        term_end: json::moment(term, "endDate"),
        term_unit: json::word(term, "termUnit").filter(|it| !it.is_empty()).map(Arc::from),
        auto_renew: json::flag(value, "autoRenew"),
        free_trial: json::flag(value, "isFreeTrial").unwrap_or(false),
        allowed_operations: operations
            .filter_map(|it| it.as_str())
            .map(|it| it.trim().into())
            .collect(),
        created: json::moment(value, "created"),
        observed_at: now,
    })
}

/// What can still be made out of a subscription that could not be understood.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Glimpse {
    /// Its id.
    pub id: Option<SubscriptionId>,
    /// Who uses it, as far as it says so.
    pub tenant: Option<Uuid>,
    /// Of which offer it is, in lower case.
    pub offer: Option<Arc<str>>,
    /// Of which plan it is, in lower case.
    pub plan: Option<Arc<str>>,
}

impl Glimpse {
    /// Looks at a record, whatever it is.
    pub fn of(raw: &str) -> Self {
        let value: Value = serde_json::from_str(raw).unwrap_or_default();
        let lower = |key| Some(json::lower(&value, key)).filter(|it| !it.is_empty());
        Self {
            id: json::id(&value, "id").ok(),
            tenant: party(value.get("beneficiary")).tenant,
            offer: lower("offerId"),
            plan: lower("planId"),
        }
    }
}

/// A party, of whom anything may be missing.
fn party(value: Option<&Value>) -> Party {
    let Some(value) = value else { return Party::default() };
    let tenant = json::word(value, "tenantId").and_then(|it| Uuid::try_parse(it).ok());
    Party {
        tenant: tenant.filter(|it| !it.is_nil()),
        user: json::word(value, "objectId").and_then(|it| it.parse().ok()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn full() -> Value {
        json!({
            "id": "5D0C1F22-7A31-4C8E-1B2F-90AA3344EE10", "publisherId": "VizMaker",
            "offerId": "viz-suite", "name": " Viz Suite ", "saasSubscriptionStatus": " subscribed ",
            "beneficiary": { "emailId": "mia@customer.example",
                "objectId": "0A0A0A0A-1111-4222-8333-444444444444",
                "tenantId": "9188040D-6c67-4c5b-b112-36a304b66dad", "iss": "x" },
            "purchaser": null, "planId": "Team",
            "term": { "startDate": "2026-03-05T00:00:00Z", "endDate": "2026-04-04", "termUnit": "PAY" },
            "autoRenew": true, "isFreeTrial": false, "allowedCustomerOperations": null,
            "created": "2026-03-04T09:15:02.1234567Z", "lastModified": "0001-01-01T00:00:00",
            "quantity": "25", "somethingNew": { "a": [1] }
        })
    }

    #[test]
    fn everything_odd_at_once_is_still_understood() {
        let it = subscription(&full(), Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(it.id.to_string(), "5d0c1f22-7a31-4c8e-1b2f-90aa3344ee10");
        assert_eq!((&*it.publisher, &*it.plan, &*it.name), ("vizmaker", "team", " Viz Suite "));
        assert_eq!((it.status, it.quantity), (SubscriptionStatus::Subscribed, Some(25)));
        assert_eq!(it.term_end.unwrap().to_string(), "2026-04-04T00:00:00Z");
        assert_eq!(it.term_unit.as_deref(), Some("PAY"));
        assert_eq!(it.beneficiary.tenant_id(), None, "everybody's tenant is no key");
        assert!(it.beneficiary.tenant.is_some() && it.beneficiary.user.is_some());
        assert_eq!(it.purchaser, Party::default());
    }

    #[test]
    fn only_id_status_and_quantity_can_make_a_record_odd() {
        let check = |key: &str, value: Value, why: Option<&str>| {
            let mut record = full();
            record[key] = value;
            let got = subscription(&record, Timestamp::UNIX_EPOCH).err();
            assert_eq!(got.is_some(), why.is_some(), "{key}: {got:?}");
            assert!(got.unwrap_or_default().contains(why.unwrap_or_default()));
        };
        check("id", json!(null), Some("`id`"));
        check("id", json!("not-an-id"), Some("`id`"));
        check("id", json!("00000000-0000-0000-0000-000000000000"), Some("`id`"));
        check("saasSubscriptionStatus", json!(""), Some("saasSubscriptionStatus"));
        check("saasSubscriptionStatus", json!(3), Some("saasSubscriptionStatus"));
        check("quantity", json!("many"), Some("quantity"));
        check("saasSubscriptionStatus", json!("Paused"), None);
        for key in ["beneficiary", "term", "autoRenew", "isFreeTrial", "created", "name", "planId"]
        {
            check(key, json!(null), None);
            check(key, json!(7), None);
        }
        assert!(subscription(&json!([]), Timestamp::UNIX_EPOCH).is_err());
    }

    #[test]
    fn of_a_record_that_is_odd_it_is_still_seen_whose_it_may_be() {
        let mut odd = full();
        odd["quantity"] = json!("many");
        odd["beneficiary"]["tenantId"] = json!("0C0C0C0C-1111-4222-8333-444444444444");
        let it = Glimpse::of(&odd.to_string());
        assert_eq!(it.id.unwrap().to_string(), "5d0c1f22-7a31-4c8e-1b2f-90aa3344ee10");
        assert_eq!(it.tenant.unwrap().to_string(), "0c0c0c0c-1111-4222-8333-444444444444");
        assert_eq!((it.offer.as_deref(), it.plan.as_deref()), (Some("viz-suite"), Some("team")));
        odd["beneficiary"] = json!("?");
        odd["offerId"] = json!("");
        let less = Glimpse::of(&odd.to_string());
        assert_eq!((less.tenant, less.offer), (None, None));
        for nothing in ["", "[]", "7", "{}", "not json"] {
            assert_eq!(Glimpse::of(nothing), Glimpse::default(), "{nothing}");
        }
    }

    #[test]
    fn a_word_microsoft_added_later_is_kept() {
        let mut record = full();
        record["saasSubscriptionStatus"] = json!("Paused");
        let it = subscription(&record, Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(it.status, SubscriptionStatus::Unrecognized("Paused".into()));
    }
}
