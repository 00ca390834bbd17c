//! Graph's change notifications: what we asked to be told of which tenant.
//!
//! Source: graph-licensing.md section 6.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use imbl::{HashMap, OrdMap};
use jiff::Timestamp;
use subtle::ConstantTimeEq as _;

use super::TenantId;

/// What of a tenant is watched: a collection that Graph notifies of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Watched {
    /// `/users`: created, updated, deleted. Which property changed is not told.
    Users,
    /// `/groups`: the same of groups.
    Groups,
}

impl Watched {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Users, Self::Groups];

    /// The resource as Graph has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Users => "users",
            Self::Groups => "groups",
        }
    }
}

/// What Graph sends along so that we know that it is Graph: 32 random bytes, a secret.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ClientState([u8; 32]);

impl ClientState {
    /// These bytes.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// As Graph is given it: 43 characters of at most 128.
    pub fn text(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    /// Whether this text is it. Takes as long for a wrong one as for a right one.
    pub fn is(&self, text: &str) -> bool {
        self.text().as_bytes().ct_eq(text.as_bytes()).into()
    }
}

impl fmt::Debug for ClientState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientState(…)")
    }
}

/// A subscription to Graph's change notifications.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GraphSubscription {
    /// Whose directory.
    pub tenant: TenantId,
    /// What of it.
    pub watched: Watched,
    /// Microsoft's id of the subscription.
    pub id: Arc<str>,
    /// What its notifications carry.
    pub client_state: ClientState,
    /// Where its notifications go.
    pub url: Arc<str>,
    /// Since when it is as it is: made, or renewed.
    pub renewed: Timestamp,
    /// When it ends unless it is renewed.
    pub expires: Timestamp,
}

/// What is written of such subscriptions. A tenant has at most one of each kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GraphSubscriptionWrite {
    /// New, or renewed; in place of the one before.
    Put(Arc<GraphSubscription>),
    /// There is none any more.
    Forget(TenantId, Watched),
}

/// All of them. Cheap to clone; a later one shares what did not change.
#[derive(Clone, Debug, Default)]
pub struct GraphSubscriptions {
    by_tenant: OrdMap<(TenantId, Watched), Arc<GraphSubscription>>,
    by_id: HashMap<Arc<str>, Arc<GraphSubscription>>,
}

impl GraphSubscriptions {
    /// What is watched of a tenant.
    pub fn of(&self, tenant: TenantId, watched: Watched) -> Option<&Arc<GraphSubscription>> {
        self.by_tenant.get(&(tenant, watched))
    }

    /// The one that Microsoft calls so.
    pub fn called(&self, id: &str) -> Option<&Arc<GraphSubscription>> {
        self.by_id.get(id)
    }

    /// All, by tenant.
    pub fn all(&self) -> impl Iterator<Item = &Arc<GraphSubscription>> {
        self.by_tenant.values()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.by_tenant.len()
    }

    /// What a write means.
    pub(super) fn apply(&mut self, write: &GraphSubscriptionWrite) {
        let (key, new) = match write {
            GraphSubscriptionWrite::Put(it) => ((it.tenant, it.watched), Some(it)),
            GraphSubscriptionWrite::Forget(tenant, watched) => ((*tenant, *watched), None),
        };
        if let Some(before) = self.by_tenant.remove(&key) {
            self.by_id.remove(&before.id);
        }
        if let Some(it) = new {
            self.by_tenant.insert(key, Arc::clone(it));
            self.by_id.insert(Arc::clone(&it.id), Arc::clone(it));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_state_knows_its_text_and_never_shows_it() {
        let state = ClientState::new([7; 32]);
        let text = state.text();
        assert_eq!(text.len(), 43);
        assert!(state.is(&text));
        for wrong in ["", &text[1..], &format!("{text}a"), &text.to_uppercase()] {
            assert!(!state.is(wrong), "{wrong}");
        }
        assert!(!format!("{state:?}").contains(&text));
    }
}
