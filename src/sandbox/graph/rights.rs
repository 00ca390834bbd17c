//! `users/{id}/usageRights`, beta only: what a user holds of the publisher's plans.
//! Source: graph-licensing.md 3.

use serde_json::{Value, json};

use super::error::GraphError;
use super::users::find;
use super::{Answer, Caller};
use crate::sandbox::World;
use crate::sandbox::chance::{guid, halves, hash};
use crate::sandbox::faults::Fault;
use crate::sandbox::wire::{Ask, Reply};

/// One condition of a filter: a field and the values it may have.
#[derive(Debug, PartialEq, Eq)]
struct Condition<'f> {
    field: &'static str,
    values: Vec<&'f str>,
}

impl<'f> Condition<'f> {
    /// Reads `state eq 'x'` or `state in ('x','y')`; the same for `serviceIdentifier`.
    fn read(text: &'f str) -> Option<Self> {
        let (name, rest) = text.trim().split_once(' ')?;
        let field = ["state", "serviceIdentifier"].into_iter().find(|field| *field == name)?;
        let quoted = |text: &'f str| {
            let inner = text.trim().strip_prefix('\'')?.strip_suffix('\'')?;
            (!inner.contains('\'')).then_some(inner)
        };
        let rest = rest.trim();
        let values = if let Some(value) = rest.strip_prefix("eq ") {
            vec![quoted(value)?]
        } else {
            let list = rest.strip_prefix("in")?.trim().strip_prefix('(')?.strip_suffix(')')?;
            list.split(',').map(quoted).collect::<Option<_>>()?
        };
        Some(Self { field, values })
    }

    fn takes(&self, row: &Value) -> bool {
        let own = row.get(self.field).and_then(Value::as_str).unwrap_or_default();
        self.values.iter().any(|value| value.eq_ignore_ascii_case(own))
    }
}

/// The documented shapes: one condition, or one on each of the two fields.
fn filter(text: &str) -> Option<Vec<Condition<'_>>> {
    let read: Vec<_> = text.split(" and ").map(Condition::read).collect::<Option<_>>()?;
    match read.as_slice() {
        [_] => Some(read),
        [a, b] if a.field != b.field => Some(read),
        _ => None,
    }
}

/// The state of a right, from that of its SKU; words nobody has seen yet come as the enum's last.
fn state(status: &str) -> &'static str {
    match status {
        "Enabled" => "active",
        "Warning" => "warning",
        "Suspended" | "LockedOut" => "suspended",
        "Deleted" => "inactive",
        _ => "unknownFutureValue",
    }
}

/// `GET /beta/users/{id}/usageRights`. An app that is not the publisher's sees nothing and is not
/// told why.
pub(super) fn list(world: &mut World, ask: &Ask, caller: &Caller, id: &str) -> Answer {
    let text = ask.option("$filter");
    let conditions = match text {
        None => Vec::new(),
        Some(text) => filter(text)
            .ok_or_else(|| GraphError::unsupported(format!("Unsupported filter '{text}'.")))?,
    };
    if world.strikes(Fault::Rights403) {
        let message = "Insufficient privileges to complete the operation.";
        return Err(GraphError::new(403, "Authorization_RequestDenied", message));
    }
    let unseen = world.strikes(Fault::RightsEmpty) || world.is_foreign_app();
    let (tenant, _, user) = find(world, caller, id)?;
    let mut rows: Vec<Value> = Vec::new();
    for (kind, disabled) in user.held() {
        let Some(sku) = world.catalog().sku(kind) else { continue };
        let status = tenant.sku(kind).map_or("Deleted", |sku| sku.status.as_str());
        for plan in sku.plans_in(!disabled).filter(|plan| plan.is_publishers()) {
            rows.push(json!({
                "id": guid(&[hash(&halves(user.id)), hash(&halves(plan.id))]),
                "catalogId": format!("{}:0001", sku.part_number),
                "serviceIdentifier": tenant.identifier(kind, plan.id, &plan.name),
                "state": state(status),
            }));
        }
    }
    if unseen {
        rows.clear();
    }
    rows.retain(|row| conditions.iter().all(|condition| condition.takes(row)));
    let context = format!("{}/graph/beta/$metadata#users('{id}')/usageRights", world.base());
    Ok(Reply::json(200, &json!({"@odata.context": context, "value": rows})))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_documented_filters_are_read() {
        let check = |text: &str, expected: Option<&[&str]>| {
            let values = filter(text).map(|read| {
                read.into_iter().flat_map(|condition| condition.values).collect::<Vec<_>>()
            });
            assert_eq!(values.as_deref(), expected, "{text}");
        };
        check("state eq 'active'", Some(&["active"]));
        check("serviceIdentifier in ('a.b', 'c.d')", Some(&["a.b", "c.d"]));
        check("state in ('active') and serviceIdentifier eq 'a'", Some(&["active", "a"]));
        check("state eq active", None);
        check("state ne 'active'", None);
        check("catalogId eq 'x'", None);
        check("state eq 'a' and state eq 'b'", None);
        check("state eq 'a' or state eq 'b'", None);
    }
}
