//! What the store keeps in tables of its own, put into the mirror that it has loaded.

use super::Mirror;
use crate::domain::{LicenseId, LicenseUsers, ProductId, Sightings, TenantId, UseTable, UserTable};

impl Mirror {
    /// The mirror with who used what lately, as it was read from disk.
    #[must_use]
    pub fn with_uses(
        mut self,
        uses: impl IntoIterator<Item = ((TenantId, ProductId), UseTable)>,
    ) -> Self {
        self.uses.extend(uses);
        self
    }

    /// The mirror with what these tenants' users hold, as it was read from disk.
    #[must_use]
    pub fn with_users(mut self, users: impl IntoIterator<Item = (TenantId, UserTable)>) -> Self {
        for (tenant, table) in users {
            self.change_tenant(tenant, |view| view.users = table);
        }
        self
    }

    /// The mirror with who uses licenses and what was declared of them, as it was read from disk.
    #[must_use]
    pub fn with_license_users(
        mut self,
        users: impl IntoIterator<Item = (LicenseId, LicenseUsers)>,
        sighted: impl IntoIterator<Item = (LicenseId, Sightings)>,
    ) -> Self {
        for (id, users) in users {
            self.licenses.set_users(id, users);
        }
        for (id, it) in sighted {
            self.licenses.set_sightings(id, it);
        }
        self
    }
}
