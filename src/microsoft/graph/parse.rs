//! SKUs, users and their assignments, read tolerantly.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use crate::domain::{
    CapabilityStatus, GroupId, Path, PathState, ServicePlan, ServicePlanId, Sku, SkuId, Units,
    UserId, Via,
};
use crate::microsoft::json::{self, Read};

/// A user, as much of him as a page tells.
///
/// `None` means absent: under `return=minimal` unchanged. `null` is an empty list: cleared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserRow {
    /// Whose row it is. The same user may have several in one sequence: the last one counts.
    pub id: UserId,
    /// Set when the user is gone.
    pub removed: Option<Removed>,
    /// `assignedLicenses`: the effect.
    pub assigned: Option<Vec<AssignedLicence>>,
    /// `licenseAssignmentStates`: the paths, a multiset.
    pub states: Option<Vec<(SkuId, Path)>>,
    /// The latest `lastUpdatedDateTime` of the paths.
    pub changed: Option<Timestamp>,
    /// SKUs of entries that could not be understood otherwise: they are in neither list, which
    /// says nothing about these.
    pub unreadable: Vec<SkuId>,
}

impl Read<UserRow> {
    /// Whose record it is, if it could not be understood but for that.
    pub fn odd_user(&self) -> Option<UserId> {
        let Self::Odd { raw, .. } = self else { return None };
        let value: Value = serde_json::from_str(raw).ok()?;
        json::id(&value, "id").ok()
    }
}

/// How a user or a group went.
///
/// Source: graph-licensing.md section 5.4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removed {
    /// Deleted, and for 30 days restorable.
    Changed,
    /// Gone for good.
    Deleted,
}

/// One entry of `assignedLicenses`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssignedLicence {
    /// Which SKU.
    pub sku: SkuId,
    /// Service plans switched off.
    pub disabled_plans: Vec<ServicePlanId>,
}

/// # Errors
///
/// What could not be understood: a row with an unusable entry that does not even say of which SKU it
/// is, because a licence that is left out would read as one taken away. One that does is
/// [`UserRow::unreadable`].
///
/// Source: graph-licensing.md sections 2.1 and 5.4.
pub(super) fn user(value: &Value) -> Result<UserRow, String> {
    let assigned = json::list(value, "assignedLicenses")?;
    let states = json::list(value, "licenseAssignmentStates")?;
    let changed =
        states.unwrap_or_default().iter().filter_map(|it| json::moment(it, "lastUpdatedDateTime"));
    let mut unreadable = Vec::new();
    let assigned = assigned.map(|it| understood(it, assigned_licence, &mut unreadable));
    let states = states.map(|it| understood(it, state, &mut unreadable));
    Ok(UserRow {
        changed: changed.max(),
        id: json::id(value, "id")?,
        removed: removed(value),
        assigned: assigned.transpose()?,
        states: states.transpose()?,
        unreadable,
    })
}

/// The entries of a list that are understood, and the SKUs of the others.
fn understood<T>(
    entries: &[Value],
    parse: impl Fn(&Value) -> Result<T, String>,
    unreadable: &mut Vec<SkuId>,
) -> Result<Vec<T>, String> {
    let mut all = Vec::with_capacity(entries.len());
    for entry in entries {
        match parse(entry) {
            Ok(it) => all.push(it),
            Err(why) => unreadable.push(json::id(entry, "skuId").map_err(|_none| why)?),
        }
    }
    Ok(all)
}

/// How an object went, if it did.
pub(super) fn removed(value: &Value) -> Option<Removed> {
    value.get("@removed").filter(|it| !it.is_null()).map(|it| {
        let deleted = json::word(it, "reason").is_some_and(|it| it.eq_ignore_ascii_case("deleted"));
        if deleted { Removed::Deleted } else { Removed::Changed }
    })
}

pub(super) fn assigned_licence(value: &Value) -> Result<AssignedLicence, String> {
    let disabled_plans = json::ids(value, "disabledPlans")?;
    Ok(AssignedLicence { sku: json::id(value, "skuId")?, disabled_plans })
}

fn state(value: &Value) -> Result<(SkuId, Path), String> {
    let group = json::word(value, "assignedByGroup").filter(|it| !it.is_empty());
    let via = match group {
        None => Via::Direct,
        Some(_) => Via::Group(json::id::<GroupId>(value, "assignedByGroup")?),
    };
    // A way of which nobody says where it stands takes no licence away: that it was assigned is
    // said elsewhere.
    let word = json::word(value, "state").unwrap_or_default();
    // The documentation says `null` for no error; the literal `None` is seen too.
    let error = json::word(value, "error");
    let error = error.filter(|it| !it.is_empty() && !it.eq_ignore_ascii_case("none"));
    let path = Path {
        via,
        state: PathState::from_word(word),
        error: error.map(Arc::from),
        disabled_plans: json::ids(value, "disabledPlans")?,
    };
    Ok((json::id(value, "skuId")?, path))
}

/// # Errors
///
/// What could not be understood.
///
/// Source: graph-licensing.md sections 1.1 and 1.3.
pub(super) fn sku(value: &Value) -> Result<Sku, String> {
    let status = json::word(value, "capabilityStatus").unwrap_or_default();
    if status.is_empty() {
        return Err("it has no `capabilityStatus`".into());
    }
    let plan = |it: &Value| -> Result<ServicePlan, String> {
        let name = json::word(it, "servicePlanName").unwrap_or_default().into();
        Ok(ServicePlan { id: json::id(it, "servicePlanId")?, name })
    };
    let plans = json::list(value, "servicePlans")?.unwrap_or_default();
    let units = value.get("prepaidUnits").unwrap_or(&Value::Null);
    Ok(Sku {
        id: json::id(value, "skuId")?,
        part_number: json::word(value, "skuPartNumber").unwrap_or_default().into(),
        status: CapabilityStatus::from_word(status),
        service_plans: plans.iter().map(plan).collect::<Result<_, _>>()?,
        units: Units {
            enabled: figure(units, "enabled"),
            warning: figure(units, "warning"),
            suspended: figure(units, "suspended"),
            locked_out: figure(units, "lockedOut"),
            consumed: figure(value, "consumedUnits"),
        },
        next_lifecycle: None,
        missing_since: None,
    })
}

/// A figure that is only shown: what cannot be read is nought.
fn figure(value: &Value, key: &str) -> u32 {
    let count = json::count(value, key).ok().flatten().unwrap_or(0);
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// When a subscription behind a SKU will change its status; `None` when that is not said.
///
/// Source: graph-licensing.md section 1.2.
pub(super) fn lifecycle(value: &Value) -> Option<(SkuId, Timestamp)> {
    Some((json::id(value, "skuId").ok()?, json::moment(value, "nextLifecycleDateTime")?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const USER: &str = "11111111-2222-4333-8444-55556666ABCD";
    const SKU: &str = "5BB00000-aaaa-4bbb-8ccc-ddddeeeeffff";
    const GROUP: &str = "88888888-9999-4aaa-8bbb-ccccddddeeee";

    #[test]
    fn absent_is_unchanged_and_null_is_cleared() {
        let check = |row: Value, assigned: Option<usize>, states: Option<usize>| {
            let it = user(&row).unwrap();
            assert_eq!(it.assigned.map(|it| it.len()), assigned, "{row}");
            assert_eq!(it.states.map(|it| it.len()), states, "{row}");
        };
        check(json!({ "id": USER }), None, None);
        check(json!({ "id": USER, "assignedLicenses": null }), Some(0), None);
        check(
            json!({ "id": USER, "assignedLicenses": [], "licenseAssignmentStates": null }),
            Some(0),
            Some(0),
        );
        check(json!({ "id": USER, "assignedLicenses": [{ "skuId": SKU }] }), Some(1), None);
    }

    #[test]
    fn each_path_of_an_assignment_is_kept() {
        let row = json!({ "id": USER, "licenseAssignmentStates": [
            { "skuId": SKU, "assignedByGroup": null, "state": "Active", "error": "None" },
            { "skuId": SKU, "assignedByGroup": "", "state": "active", "error": "" },
            { "skuId": SKU, "assignedByGroup": GROUP.to_uppercase(), "state": "Error",
              "error": "CountViolation", "disabledPlans": [SKU] },
            { "skuId": SKU, "assignedByGroup": GROUP, "state": "Reviewing", "error": null } ] });
        let states = user(&row).unwrap().states.unwrap();
        let group = Via::Group(GROUP.parse().unwrap());
        let via: Vec<Via> = states.iter().map(|(_, path)| path.via).collect();
        assert_eq!(via, [Via::Direct, Via::Direct, group, group]);
        let errors: Vec<_> = states.iter().map(|(_, path)| path.error.as_deref()).collect();
        assert_eq!(errors, [None, None, Some("CountViolation"), None]);
        assert_eq!(states[3].1.state, PathState::Unrecognized("Reviewing".into()));
        assert_eq!(states[2].1.disabled_plans.len(), 1);
        assert_eq!(states[0].0.to_string(), SKU.to_lowercase());
    }

    #[test]
    fn a_removed_user_says_how_he_went() {
        let check = |removed: Value, want: Option<Removed>| {
            let row = user(&json!({ "id": USER, "@removed": removed })).unwrap();
            assert_eq!(row.removed, want);
        };
        check(json!({ "reason": "changed" }), Some(Removed::Changed));
        check(json!({ "reason": "deleted" }), Some(Removed::Deleted));
        check(json!({ "reason": "somethingNew" }), Some(Removed::Changed));
        check(json!({}), Some(Removed::Changed));
        check(json!(null), None);
    }

    #[test]
    fn a_row_with_an_entry_of_nobody_knows_what_is_odd_as_a_whole() {
        let check = |row: Value, why: &str| {
            let error = user(&row).unwrap_err();
            assert!(error.contains(why), "{error}");
        };
        check(json!({}), "`id`");
        check(json!({ "id": USER, "assignedLicenses": [{ "skuId": "x" }] }), "`skuId`");
        check(json!({ "id": USER, "assignedLicenses": {} }), "no list");
        let bad = json!({ "skuId": "x", "assignedByGroup": "everyone", "state": "Active" });
        check(json!({ "id": USER, "licenseAssignmentStates": [bad] }), "assignedByGroup");
    }

    #[test]
    fn an_entry_that_says_its_sku_and_no_more_is_unreadable_by_itself() {
        let of_plan = json!({ "skuId": SKU, "disabledPlans": [1] });
        let by_group = json!({ "skuId": GROUP, "assignedByGroup": "everyone", "state": "Active" });
        let good = json!({ "skuId": USER });
        let row = user(&json!({ "id": USER, "assignedLicenses": [of_plan, good],
            "licenseAssignmentStates": [by_group] }));
        let row = row.unwrap();
        let unreadable: Vec<_> = row.unreadable.iter().map(ToString::to_string).collect();
        assert_eq!(unreadable, [SKU.to_lowercase(), GROUP.to_owned()]);
        assert_eq!((row.assigned.unwrap().len(), row.states.unwrap().len()), (1, 0));
    }

    #[test]
    fn a_way_without_a_state_and_a_null_among_ids_spoil_no_row() {
        let row = json!({ "id": USER,
            "assignedLicenses": [{ "skuId": SKU, "disabledPlans": [null] }],
            "licenseAssignmentStates": [{ "skuId": SKU, "state": null }, { "skuId": SKU }] });
        let row = user(&row).unwrap();
        assert_eq!(row.assigned.unwrap()[0].disabled_plans, []);
        let states: Vec<_> = row.states.unwrap().into_iter().map(|it| it.1.state).collect();
        assert_eq!(
            states,
            [PathState::Unrecognized("".into()), PathState::Unrecognized("".into())]
        );
    }

    #[test]
    fn an_odd_record_may_say_whose_it_is() {
        let read = |row: &str| {
            let raw = serde_json::value::RawValue::from_string(row.to_owned()).unwrap();
            Read::of(&raw, user).odd_user()
        };
        let of_user = format!(r#"{{"id":"{USER}","assignedLicenses":[{{"skuId":"x"}}]}}"#);
        assert_eq!(read(&of_user), USER.parse().ok());
        assert_eq!(read(r#"{"id":"x"}"#), None);
        assert_eq!(read(&format!(r#"{{"id":"{USER}"}}"#)), None, "it is not odd");
    }

    #[test]
    fn a_sku_needs_id_and_status_only() {
        let plain = json!({ "skuId": SKU, "capabilityStatus": "enabled", "consumedUnits": 41,
            "prepaidUnits": { "enabled": 0, "warning": 50, "lockedOut": -1 },
            "servicePlans": [{ "servicePlanId": GROUP, "servicePlanName": "Viz.Team" }] });
        let it = sku(&plain).unwrap();
        assert_eq!(it.status, CapabilityStatus::Enabled);
        assert_eq!((it.units.warning, it.units.consumed, it.units.locked_out), (50, 41, 0));
        assert_eq!(&*it.service_plans[0].name, "Viz.Team");
        assert!(sku(&json!({ "skuId": SKU })).unwrap_err().contains("capabilityStatus"));
        assert!(sku(&json!({ "capabilityStatus": "Enabled" })).unwrap_err().contains("skuId"));
        assert!(sku(&json!({ "skuId": SKU, "capabilityStatus": "Paused" })).is_ok());
    }
}
