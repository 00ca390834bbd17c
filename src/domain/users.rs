//! What the users of one tenant hold, immutable and shared.

use std::sync::Arc;

use super::{UserId, UserLicences};

/// What the users of one tenant hold: a persistent table. A copy with changes shares everything
/// that did not change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserTable {
    users: imbl::OrdMap<UserId, Arc<UserLicences>>,
}

impl UserTable {
    /// A table of these users.
    pub fn new(users: impl IntoIterator<Item = (UserId, UserLicences)>) -> Self {
        Self { users: users.into_iter().map(|(user, it)| (user, Arc::new(it))).collect() }
    }

    /// What this user holds.
    pub fn get(&self, user: UserId) -> Option<UserLicences> {
        self.users.get(&user).map(|it| it.as_ref().clone())
    }

    /// How many users hold anything.
    pub fn len(&self) -> usize {
        self.users.len()
    }

    /// Whether nobody holds anything.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// All users who hold anything.
    pub fn iter(&self) -> impl Iterator<Item = (UserId, UserLicences)> {
        self.users.iter().map(|(user, it)| (*user, it.as_ref().clone()))
    }

    /// The table after these users hold this; `None`, or nothing at all, leaves the table.
    #[must_use]
    pub fn patched(&self, writes: &[(UserId, Option<UserLicences>)]) -> Self {
        let mut users = self.users.clone();
        for (user, licences) in writes {
            match licences {
                Some(it) if !it.is_empty() => users.insert(*user, Arc::new(it.clone())),
                Some(_) | None => users.remove(user),
            };
        }
        Self { users }
    }
}
