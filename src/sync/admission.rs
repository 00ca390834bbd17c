//! Whether a tenant lets us in, seen by going in: for a page before which its administrator sits.

use std::sync::Arc;

use tracing::info;

use crate::domain::{Access, Grant, Permission, TenantId};
use crate::microsoft::{Meter, Microsoft};

/// Knocks at tenants' doors.
#[derive(Clone)]
pub struct Doorkeeper(Arc<Microsoft>);

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// The tenant lets us in.
    Confirmed {
        /// What it calls itself, if it lets us see that.
        name: Option<Arc<str>>,
        /// What it permits.
        access: Access,
    },
    /// It does not, or Microsoft does not show it yet.
    NotSeen,
}

impl Admission {
    /// For the log.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Confirmed { .. } => "confirmed",
            Self::NotSeen => "not seen",
        }
    }
}

impl Doorkeeper {
    /// Knocks with our own app.
    pub const fn new(microsoft: Arc<Microsoft>) -> Self {
        Self(microsoft)
    }

    /// Asks for a new token of the tenant, since what was consented to shows in new ones only, and
    /// reads what it calls itself. A tenant that gives a token with permissions and no word about
    /// itself lets us in too: nobody but Entra makes that token.
    ///
    /// Source: graph-licensing.md sections 10.1 and 10.2.
    pub async fn admission(&self, tenant: TenantId) -> Admission {
        let (graph, meter) = (self.0.graph(), Meter::new().urgent());
        graph.renew_token(tenant).await;
        let name = match graph.organization(&meter, tenant).await {
            Ok(organization) => organization.name,
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                info!(error, tenant.id = %tenant, "A tenant does not tell its name");
                None
            }
        };
        let access = meter.access();
        let is_let_in = access.grant(Permission::UserRead) == Grant::Granted || name.is_some();
        if is_let_in { Admission::Confirmed { name, access } } else { Admission::NotSeen }
    }
}
