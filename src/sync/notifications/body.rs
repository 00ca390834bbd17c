//! What a delivery says. Nothing in it is believed before its `clientState` is compared.

use serde_json::Value;
use uuid::Uuid;

use crate::domain::TenantId;

/// Notifications of one delivery that are looked at.
const TOLD_MAX: usize = 1_000;

/// One notification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    /// `subscriptionId`.
    pub(super) subscription: String,
    /// `clientState`; empty if there is none.
    pub(super) client_state: String,
    /// `tenantId`.
    pub(super) tenant: Option<TenantId>,
    pub(super) what: What,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// This object came, changed or went. Which it was is not told apart: it is read.
    Changed(Option<Uuid>),
    /// Something about the subscription itself.
    Lifecycle(Event),
}

/// `lifecycleEvent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    Reauthorize,
    Removed,
    Missed,
    Unrecognized,
}

/// The notifications of a delivery; `None`: it is none.
pub(super) fn read(bytes: &[u8]) -> Option<Vec<Told>> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let body: Value = serde_json::from_slice(bytes).ok()?;
    let told = body.get("value")?.as_array()?;
    Some(told.iter().take(TOLD_MAX).map(one).collect())
}

fn one(it: &Value) -> Told {
    let word = |key: &str| it.get(key).and_then(Value::as_str).unwrap_or_default();
    let what = match word("lifecycleEvent") {
        "" => What::Changed(object(it)),
        "reauthorizationRequired" => What::Lifecycle(Event::Reauthorize),
        "subscriptionRemoved" => What::Lifecycle(Event::Removed),
        "missed" => What::Lifecycle(Event::Missed),
        _ => What::Lifecycle(Event::Unrecognized),
    };
    Told {
        subscription: word("subscriptionId").to_owned(),
        client_state: word("clientState").to_owned(),
        tenant: word("tenantId").parse().ok(),
        what,
    }
}

/// Which object: `resourceData` names it, and `resource` ends with it.
fn object(it: &Value) -> Option<Uuid> {
    let of_data = it.get("resourceData").and_then(|it| it.get("id")).and_then(Value::as_str);
    let of_path = || it.get("resource")?.as_str()?.rsplit('/').next();
    let id = of_data.or_else(of_path)?;
    Uuid::try_parse(id.trim()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn whatever_comes_is_read_or_refused_and_never_a_panic() {
        for none in ["", "[]", "{}", "null", "{\"value\":7}", "\u{0}", "{\"value\":[", "\"value\""]
        {
            assert_eq!(read(none.as_bytes()), None, "{none}");
        }
        assert_eq!(read(b"\xff\xfe"), None);
        let deep = "[".repeat(10_000);
        assert_eq!(read(deep.as_bytes()), None);
        let odd = json!({ "value": [7, null, {}, { "clientState": [], "resource": 5 }] });
        let told = read(odd.to_string().as_bytes()).unwrap();
        assert!(told.iter().all(|it| it.subscription.is_empty() && it.what == What::Changed(None)));
        let many = json!({ "value": vec![json!({}); TOLD_MAX + 1] });
        assert_eq!(read(many.to_string().as_bytes()).unwrap().len(), TOLD_MAX);
    }

    #[test]
    fn the_documented_shape_is_understood() {
        let id = "11111111-2222-4333-8444-555566667777";
        let body = json!({ "value": [{
            "subscriptionId": "b-1", "clientState": "s", "changeType": "updated",
            "tenantId": "0AA00000-1111-4222-8333-444455556666", "resource": format!("Users/{id}"),
            "resourceData": { "@odata.type": "#Microsoft.Graph.User", "id": id.to_uppercase() },
        }] });
        let told = read(body.to_string().as_bytes()).unwrap().remove(0);
        assert_eq!((told.subscription.as_str(), told.client_state.as_str()), ("b-1", "s"));
        assert_eq!(told.tenant.unwrap().to_string(), "0aa00000-1111-4222-8333-444455556666");
        assert_eq!(told.what, What::Changed(Uuid::try_parse(id).ok()));
    }
}
