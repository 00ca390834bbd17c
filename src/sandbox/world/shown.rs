//! How a SKU of the publisher's is shown, where Microsoft's documents leave it open.
//!
//! Source: graph-licensing.md 0.1 and 19.

use std::borrow::Cow;

use uuid::Uuid;

use super::catalog::Kind;
use super::tenant::{Tenant, User};
use super::{World, WorldError};
use crate::sandbox::chance::{guid, halves, hash};

/// Where a SKU is shown, and under which names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shown {
    /// In the directory, its service plan under its Service ID; in usage rights too.
    #[default]
    Plainly,
    /// In usage rights alone.
    ByRights,
    /// In usage rights alone, and there under GUIDs.
    ByOddRights,
    /// In the directory under code names; in usage rights under its Service ID.
    Coded,
}

impl World {
    /// Shows a SKU of a tenant so from now on; delta says nothing of it.
    ///
    /// # Errors
    /// No such tenant or SKU.
    pub fn sku_shown(&mut self, tenant: Uuid, sku: Uuid, shown: Shown) -> Result<(), WorldError> {
        let kind = self.kind(sku)?;
        self.edit(tenant, |tenant, _| {
            tenant.shown.retain(|(known, _)| *known != kind);
            tenant.shown.push((kind, shown));
            Ok(())
        })
    }
}

impl Tenant {
    /// How this SKU is shown here.
    pub(crate) fn shows(&self, kind: Kind) -> Shown {
        let shown = self.shown.iter().find(|(known, _)| *known == kind);
        shown.map_or(Shown::Plainly, |(_, shown)| *shown)
    }

    /// Whether the directory shows it at all.
    pub(crate) fn lists(&self, kind: Kind) -> bool {
        matches!(self.shows(kind), Shown::Plainly | Shown::Coded)
    }

    /// A user as the directory shows him.
    pub(crate) fn listed<'u>(&self, user: &'u User) -> Cow<'u, User> {
        if user.paths.iter().all(|path| self.lists(path.sku)) {
            return Cow::Borrowed(user);
        }
        let mut listed = user.clone();
        listed.paths.retain(|path| self.lists(path.sku));
        Cow::Owned(listed)
    }

    /// The name that the directory gives to something of this SKU.
    pub(crate) fn named(&self, kind: Kind, id: Uuid, name: &str) -> String {
        match self.shows(kind) {
            Shown::Coded => format!("CODE_{:08X}", hash(&halves(id)) >> 32),
            Shown::Plainly | Shown::ByRights | Shown::ByOddRights => name.to_owned(),
        }
    }

    /// What usage rights call a service plan.
    pub(crate) fn identifier(&self, kind: Kind, plan: Uuid, name: &str) -> String {
        match self.shows(kind) {
            Shown::ByOddRights => {
                let [a, b] = [1, 2].map(|salt| guid(&[hash(&halves(plan)), salt]));
                format!("mscrm.{a}.{b}")
            }
            Shown::Plainly | Shown::ByRights | Shown::Coded => name.to_owned(),
        }
    }
}
