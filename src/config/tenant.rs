//! `[[tenant]]`: tenants to mirror besides those found in subscriptions and activations.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::section::Section;
use crate::domain::TenantId;

/// A tenant that the operator named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfiguredTenant {
    /// Which one.
    pub id: TenantId,
    /// What the operator calls it.
    pub name: Option<Arc<str>>,
}

pub(super) fn read(root: &mut Section<'_>) -> Vec<ConfiguredTenant> {
    let mut seen = BTreeSet::new();
    root.sections("tenant", |it| {
        let id: Option<TenantId> = it.required("id", "\"<the customer's Entra tenant id>\"");
        let name: Option<String> = it.optional("name");
        let id = id?;
        if !seen.insert(id) {
            it.problem("id", "this tenant is listed twice; remove one");
        }
        Some(ConfiguredTenant { id, name: name.map(|it| it.as_str().into()) })
    })
}
