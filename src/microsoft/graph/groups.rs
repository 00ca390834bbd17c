//! Groups: which of them carry a SKU, and who their direct members are.
//! Source: graph-licensing.md sections 4 and 5.

use std::sync::Arc;

use serde_json::Value;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::Graph;
use super::delta::{DeltaFrom, DeltaPage};
use super::endpoint::Endpoint;
use super::parse::{self, AssignedLicence, Removed};
use crate::domain::{GroupId, SkuId, TenantId};
use crate::microsoft::error::{ErrorKind, MicrosoftError};
use crate::microsoft::json::{self, Read};
use crate::microsoft::meter::Meter;

/// Many tenants let us read users but not groups, run after run: no new token each time.
const GROUPS: Endpoint = Endpoint { renews: false, ..Endpoint::new("GET /groups", 1).low() };
const GROUPS_DELTA: Endpoint =
    Endpoint { renews: false, ..Endpoint::new("GET /groups/delta", 1).low() };

/// A group, as much of it as a page tells. `None` means absent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupRow {
    /// Whose row it is. One group may fill many rows, each with other members.
    pub id: GroupId,
    /// Set when the group is gone.
    pub removed: Option<Removed>,
    /// `displayName`.
    pub name: Option<Arc<str>>,
    /// `assignedLicenses`.
    pub licences: Option<Vec<AssignedLicence>>,
    /// Whether `groupTypes` has `DynamicMembership`.
    pub dynamic: Option<bool>,
    /// `licenseProcessingState.state`.
    pub processing: Option<Arc<str>>,
    /// `members@delta`: a slice, to be merged one by one.
    pub members: Vec<MemberRow>,
}

/// A direct member who came or went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberRow {
    /// The member's object id.
    pub id: Uuid,
    /// What it is.
    pub kind: MemberKind,
    /// Whether it is no member any more.
    pub removed: bool,
}

/// What a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberKind {
    /// A user, or nothing was said.
    User,
    /// A group: nothing passes through it.
    Group,
    /// A device, a contact, an application.
    Other,
}

impl Graph {
    /// The groups to which this SKU is assigned, without their members.
    ///
    /// # Errors
    ///
    /// As [`Self::subscribed_skus`]. [`ErrorKind::Consent`] here says nothing of the rest:
    /// groups want a permission of their own.
    ///
    /// Source: graph-licensing.md sections 4.1 and 18.9.
    pub async fn licensed_groups(
        &self,
        meter: &Meter,
        tenant: TenantId,
        sku: SkuId,
    ) -> Result<Vec<Read<GroupRow>>, MicrosoftError> {
        let row = |raw: &RawValue| Read::of(raw, group);
        let large = self.requests.licensed_groups(sku, true).await?;
        match self.collect_once(meter, tenant, GROUPS, large, row).await {
            // This filter with large pages was seen to end in dead page tokens.
            Err(error) if error.kind() == ErrorKind::RestartSequence => {
                let plain = self.requests.licensed_groups(sku, false).await?;
                self.collect_once(meter, tenant, GROUPS, plain, row).await
            }
            whole => whole,
        }
    }

    /// One page of what changed of these groups, at most 50, and of their direct members.
    ///
    /// # Errors
    ///
    /// As [`Self::delta_page`] and [`Self::licensed_groups`].
    ///
    /// Source: graph-licensing.md sections 5.2 to 5.5.
    pub async fn groups_page(
        &self,
        meter: &Meter,
        tenant: TenantId,
        groups: &[GroupId],
        from: DeltaFrom<'_>,
    ) -> Result<DeltaPage<GroupRow>, MicrosoftError> {
        let first = self.requests.groups_delta(groups);
        self.sequence(meter, tenant, (GROUPS_DELTA, from), first, group).await
    }
}

/// # Errors
///
/// What could not be understood.
fn group(value: &Value) -> Result<GroupRow, String> {
    let dynamic = json::list(value, "groupTypes")?.map(|types| {
        let words = types.iter().filter_map(Value::as_str);
        words.into_iter().any(|it| it.eq_ignore_ascii_case("DynamicMembership"))
    });
    let licences = json::list(value, "assignedLicenses")?;
    let licences =
        licences.map(|it| it.iter().map(parse::assigned_licence).collect()).transpose()?;
    let name = json::word(value, "displayName").filter(|it| !it.is_empty());
    let state = value.get("licenseProcessingState").and_then(|it| json::word(it, "state"));
    let members = json::list(value, "members@delta")?.unwrap_or_default();
    Ok(GroupRow {
        id: json::id(value, "id")?,
        removed: parse::removed(value),
        name: name.map(Arc::from),
        licences,
        dynamic,
        processing: state.filter(|it| !it.is_empty()).map(Arc::from),
        members: members.iter().map(member).collect::<Result<_, _>>()?,
    })
}

fn member(value: &Value) -> Result<MemberRow, String> {
    let kind = match json::word(value, "@odata.type") {
        None => MemberKind::User,
        Some(kind) if kind.eq_ignore_ascii_case("#microsoft.graph.user") => MemberKind::User,
        Some(kind) if kind.eq_ignore_ascii_case("#microsoft.graph.group") => MemberKind::Group,
        Some(_) => MemberKind::Other,
    };
    let removed = parse::removed(value).is_some();
    Ok(MemberRow { id: json::id(value, "id")?, kind, removed })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const GROUP: &str = "88888888-9999-4aaa-8bbb-CCCCddddeeee";
    const USER: &str = "11111111-2222-4333-8444-555566667777";

    #[test]
    fn a_slice_of_a_group_names_who_came_and_who_went() {
        let row = group(&json!({ "id": GROUP, "displayName": "Finance",
            "groupTypes": ["Unified", "dynamicmembership"],
            "assignedLicenses": [{ "skuId": USER, "disabledPlans": [] }],
            "licenseProcessingState": { "state": "QueuedForProcessing" },
            "members@delta": [
                { "@odata.type": "#microsoft.graph.user", "id": USER },
                { "@odata.type": "#microsoft.graph.group", "id": GROUP },
                { "@odata.type": "#microsoft.graph.device", "id": GROUP },
                { "id": USER, "@removed": { "reason": "deleted" } },
            ] }))
        .unwrap();
        assert_eq!((row.dynamic, row.licences.as_ref().map(Vec::len)), (Some(true), Some(1)));
        assert_eq!(row.processing.as_deref(), Some("QueuedForProcessing"));
        let members: Vec<_> = row.members.iter().map(|it| (it.kind, it.removed)).collect();
        let wanted = [
            (MemberKind::User, false),
            (MemberKind::Group, false),
            (MemberKind::Other, false),
            (MemberKind::User, true),
        ];
        assert_eq!(members, wanted);
    }

    #[test]
    fn a_row_says_only_what_it_says_and_what_cannot_be_read_is_odd() {
        let bare = group(&json!({ "id": GROUP, "licenseProcessingState": null })).unwrap();
        assert_eq!(
            (bare.dynamic, bare.licences, bare.name, bare.processing),
            (None, None, None, None)
        );
        assert!(bare.members.is_empty() && bare.removed.is_none());
        let gone = group(&json!({ "id": GROUP, "@removed": { "reason": "changed" } })).unwrap();
        assert_eq!(gone.removed, Some(Removed::Changed));
        assert!(group(&json!({ "id": GROUP, "members@delta": [{ "id": "x" }] })).is_err());
        assert!(group(&json!({ "displayName": "nobody" })).is_err());
    }
}
