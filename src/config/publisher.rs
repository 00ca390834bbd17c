//! `[publisher]`: who sells.

use super::section::Section;
use crate::domain::TenantId;

/// Who sells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publisher {
    /// The publisher id of Partner Center, in lower case: the first part of every Service ID.
    pub id: String,
    /// The home tenant of the app registrations.
    pub tenant: TenantId,
}

impl Publisher {
    pub(super) fn read(root: &mut Section<'_>) -> Option<Self> {
        root.section("publisher", |it| {
            let id: Option<String> = it.required("id", "\"vizmaker\"");
            let tenant = it.required("tenant", "\"<the Entra tenant id of the publisher>\"");
            if id.as_ref().is_some_and(|id| id.contains(['.', ' '])) {
                it.problem("id", "a publisher id has no dots or spaces; Partner Center shows it under account settings");
                return None;
            }
            Some(Self { id: id?.to_ascii_lowercase(), tenant: tenant? })
        })
    }
}
