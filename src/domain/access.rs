//! What a tenant permits our app, permission by permission.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;

use super::UnknownWord;
use super::product::words;

words!(
    /// An application permission of Graph's that the directory mirror works with.
    ///
    /// Source: graph-licensing.md section 10.3.
    Permission, "permission" {
        /// Users, what is assigned to them, and their changes.
        UserRead = "User.Read.All",
        /// The tenant's SKUs.
        LicenseAssignmentRead = "LicenseAssignment.Read.All",
        /// The tenant's name and its purchases' dates; its SKUs too.
        OrganizationRead = "Organization.Read.All",
        /// Groups and what is assigned to them.
        GroupRead = "Group.Read.All",
    }
);

words!(
    /// Whether a permission was given.
    Grant, "grant" {
        /// Nothing told yet.
        Unknown = "unknown",
        /// It was.
        Granted = "granted",
        /// It was not, or not any more.
        Missing = "missing",
    }
);

impl Permission {
    /// The permissions that hold all of them.
    const OVER_ALL: [&str; 2] = ["Directory.Read.All", "Directory.ReadWrite.All"];

    /// Whether a role gives this permission: it itself, one that may write too, or one over all.
    /// `GroupMember.Read.All` is not among them, since it does not show what a group is licensed for.
    ///
    /// Source: graph-licensing.md sections 1.1, 1.2 and 10.3.
    fn is_in(self, role: &str) -> bool {
        let wider = match self {
            Self::UserRead => Some("User.ReadWrite.All"),
            // Which writing role shows the SKUs is told of `Organization` alone.
            Self::LicenseAssignmentRead => None,
            Self::OrganizationRead => Some("Organization.ReadWrite.All"),
            Self::GroupRead => Some("Group.ReadWrite.All"),
        };
        let names = [self.as_str()].into_iter().chain(wider).chain(Self::OVER_ALL);
        names.into_iter().any(|it| it.eq_ignore_ascii_case(role))
    }

    /// What it is for, in words for the customer's administrator.
    pub const fn purpose(self) -> &'static str {
        match self {
            Self::UserRead => "see which users hold a licence of our products",
            Self::LicenseAssignmentRead => "see which of our products your organization has bought",
            Self::OrganizationRead => "see your organization's name and when a purchase ends",
            Self::GroupRead => "see which group a user's licence comes through",
        }
    }

    /// Whether the mirror can do without it, whatever else is missing.
    pub const fn is_needed(self) -> bool {
        match self {
            Self::UserRead | Self::LicenseAssignmentRead => true,
            Self::OrganizationRead | Self::GroupRead => false,
        }
    }
}

/// What a tenant permits, as the last token and the last answers of Graph showed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    grants: [Grant; Permission::ALL.len()],
    /// Since when it is so; `None` if nothing was told yet.
    pub since: Option<Timestamp>,
}

impl Default for Access {
    fn default() -> Self {
        Self { grants: [Grant::Unknown; Permission::ALL.len()], since: None }
    }
}

impl Access {
    /// What the `roles` of a token give.
    pub fn of_roles<'a>(roles: impl IntoIterator<Item = &'a str>) -> Self {
        let mut access = Self { grants: [Grant::Missing; Permission::ALL.len()], since: None };
        for role in roles {
            for permission in Permission::ALL {
                if permission.is_in(role) {
                    access = access.with(*permission, Grant::Granted);
                }
            }
        }
        access
    }

    /// Nothing is given: our app is not known in the tenant, or may not get a token.
    pub const fn none() -> Self {
        Self { grants: [Grant::Missing; Permission::ALL.len()], since: None }
    }

    /// Whether this permission was given.
    pub fn grant(&self, permission: Permission) -> Grant {
        self.all().find(|(it, _)| *it == permission).map_or(Grant::Unknown, |(_, grant)| grant)
    }

    /// All permissions, in order.
    pub fn all(&self) -> impl Iterator<Item = (Permission, Grant)> + use<> {
        Permission::ALL.iter().copied().zip(self.grants)
    }

    /// The same, with this said of one permission.
    #[must_use]
    pub fn with(mut self, permission: Permission, grant: Grant) -> Self {
        for (known, slot) in Permission::ALL.iter().zip(&mut self.grants) {
            if *known == permission {
                *slot = grant;
            }
        }
        self
    }

    /// The same, since then.
    #[must_use]
    pub const fn since(self, since: Option<Timestamp>) -> Self {
        Self { since, ..self }
    }

    /// Whether both say the same of every permission.
    pub fn says_as(&self, other: &Self) -> bool {
        self.grants == other.grants
    }

    /// The permissions that were not given.
    pub fn missing(&self) -> impl Iterator<Item = Permission> + use<> {
        self.all().filter(|(_, it)| *it == Grant::Missing).map(|(it, _)| it)
    }

    /// The permission for want of which nobody's licence can be told there.
    pub fn blinding(&self) -> Option<Permission> {
        let shows_skus = self.grant(Permission::OrganizationRead) == Grant::Granted;
        self.missing().find(|it| match it {
            Permission::UserRead => true,
            Permission::LicenseAssignmentRead => !shows_skus,
            Permission::OrganizationRead | Permission::GroupRead => false,
        })
    }

    /// What works without this permission, as the rest is: a sentence.
    ///
    /// Source: graph-licensing.md sections 1.1, 1.2 and 10.3.
    pub fn without(&self, permission: Permission) -> &'static str {
        match permission {
            Permission::UserRead => {
                "nobody's licence can be seen: answers that hang on one are unknown; subscriptions \
                 and the publisher's own licenses work as before"
            }
            Permission::LicenseAssignmentRead
                if self.grant(Permission::OrganizationRead) == Grant::Granted =>
            {
                "everything works: Organization.Read.All shows the purchased products too"
            }
            Permission::LicenseAssignmentRead => {
                "no licence can be told to be of one of our products: answers that hang on one are \
                 unknown; subscriptions and the publisher's own licenses work as before"
            }
            Permission::OrganizationRead => {
                "licences count all the same; the tenant's name stays unknown, and that a purchase \
                 lapsed is seen some minutes later"
            }
            Permission::GroupRead => {
                "licences through groups count all the same; a group shows by its id, without \
                 its name"
            }
        }
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (permission, grant)) in self.all().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(f, "{comma}{permission} {grant}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_say_what_was_given_and_what_was_not() {
        let words = |roles: &[&str]| {
            let access = Access::of_roles(roles.iter().copied());
            access.missing().map(Permission::as_str).collect::<Vec<_>>().join(" ")
        };
        let all = "User.Read.All LicenseAssignment.Read.All Organization.Read.All Group.Read.All";
        assert_eq!(words(&[]), all);
        assert_eq!(words(&["Mail.Read"]), all);
        assert_eq!(words(&["directory.read.all"]), "");
        assert_eq!(words(&["Directory.ReadWrite.All"]), "");
        assert_eq!(
            words(&["User.ReadWrite.All", "Organization.ReadWrite.All"]),
            "LicenseAssignment.Read.All Group.Read.All"
        );
        assert_eq!(
            words(&["Group.ReadWrite.All", "GroupMember.Read.All"]),
            "User.Read.All LicenseAssignment.Read.All Organization.Read.All"
        );
        assert_eq!(
            words(&["User.Read.All", "Organization.Read.All"]),
            "LicenseAssignment.Read.All Group.Read.All"
        );
        let said = Access::of_roles(["User.Read.All"]).to_string();
        assert!(said.starts_with("User.Read.All granted, LicenseAssignment.Read.All missing, "));
        let unknown = Access::default();
        assert_eq!(unknown.missing().count(), 0);
        assert!(unknown.all().all(|(_, it)| it == Grant::Unknown));
    }

    #[test]
    fn what_makes_blind_is_what_nothing_else_stands_in_for() {
        let check = |roles: &[&str], blinding: Option<Permission>| {
            assert_eq!(Access::of_roles(roles.iter().copied()).blinding(), blinding, "{roles:?}");
        };
        check(&["Directory.Read.All"], None);
        check(&["User.Read.All", "Organization.Read.All"], None);
        check(&["User.ReadWrite.All", "Organization.ReadWrite.All"], None);
        check(&["User.Read.All", "LicenseAssignment.Read.All"], None);
        check(&["User.Read.All", "Group.Read.All"], Some(Permission::LicenseAssignmentRead));
        check(&["LicenseAssignment.Read.All"], Some(Permission::UserRead));
        assert_eq!(Access::default().blinding(), None);
    }

    #[test]
    fn what_still_works_depends_on_the_rest() {
        let check = |roles: &[&str], words: &str| {
            let access = Access::of_roles(roles.iter().copied());
            let says = access.without(Permission::LicenseAssignmentRead);
            assert!(says.contains(words), "{roles:?}: {says}");
        };
        check(&["User.Read.All"], "unknown");
        check(&["User.Read.All", "Organization.Read.All"], "everything works");
    }
}
