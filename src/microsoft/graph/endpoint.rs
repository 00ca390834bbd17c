//! The calls to Graph: what each is called, what it costs, how urgent it is.

use crate::domain::Permission;
use crate::microsoft::limits::Priority;
use crate::microsoft::meter::Meter;

/// What one kind of call is called in logs and what it costs in resource units.
///
/// Source: graph-licensing.md section 8, base cost less one for `$select`.
#[derive(Clone, Copy)]
pub(super) struct Endpoint {
    pub(super) name: &'static str,
    pub(super) units: u32,
    pub(super) priority: Priority,
    /// Whether a 403 may come from a token older than the consent, and is tried with a new one.
    pub(super) renews: bool,
    /// The permission without which it is refused.
    pub(super) needs: Option<Permission>,
}

impl Endpoint {
    pub(super) const fn new(name: &'static str, units: u32) -> Self {
        Self { name, units, priority: Priority::Normal, renews: true, needs: None }
    }

    /// A call that is refused without this permission.
    ///
    /// Source: graph-licensing.md section 10.3.
    pub(super) const fn needing(self, permission: Permission) -> Self {
        Self { needs: Some(permission), ..self }
    }

    /// A background read: the first to be shed when Graph is short.
    pub(super) const fn low(self) -> Self {
        Self { priority: Priority::Low, ..self }
    }

    /// As somebody asks who counts with this meter.
    pub(super) fn for_one_with(self, meter: &Meter) -> Self {
        let priority = if meter.is_urgent() { Priority::High } else { self.priority };
        Self { priority, ..self }
    }
}

/// The header that says how urgent a request is.
///
/// Source: graph-licensing.md section 8.
pub(super) const PRIORITY: &str = "x-ms-throttle-priority";

pub(super) const ORGANIZATION: Endpoint =
    Endpoint::new("GET /organization", 1).needing(Permission::OrganizationRead);
pub(super) const SKUS: Endpoint =
    Endpoint::new("GET /subscribedSkus", 2).needing(Permission::LicenseAssignmentRead);
pub(super) const DELTA: Endpoint =
    Endpoint::new("GET /users/delta", 1).needing(Permission::UserRead);
pub(super) const USERS: Endpoint =
    Endpoint::new("GET /users", 1).low().needing(Permission::UserRead);
/// Many tenants let us read users but not this, run after run: no new token each time.
pub(super) const SUBSCRIPTIONS: Endpoint = Endpoint {
    renews: false,
    ..Endpoint::new("GET /directory/subscriptions", 1).needing(Permission::OrganizationRead)
};
