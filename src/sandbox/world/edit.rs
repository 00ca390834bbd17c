//! What happens to people: users and their assignments. Tests call these methods, and so does
//! `POST /control`; groups are in `grouping`, what is bought and granted is in `supply`.

use uuid::Uuid;

use super::catalog::Kind;
use super::licensing::short;
use super::tenant::{DIRECT, Life, Path, PathState, Tenant, User, Violation};
use super::{World, country};

/// Why a change is impossible.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WorldError {
    /// No such tenant.
    #[error("there is no tenant {0}")]
    Tenant(Uuid),
    /// No such user in the tenant, or not in the needed state.
    #[error("there is no such user {0} in the tenant")]
    User(Uuid),
    /// No such group in the tenant.
    #[error("there is no group {0} in the tenant")]
    Group(Uuid),
    /// Neither in the catalog nor in the tenant.
    #[error("there is no SKU {0} in the tenant")]
    Sku(Uuid),
    /// The user has no such path.
    #[error("the user has no such licence path")]
    Path,
    /// The directory is full.
    #[error("there is no room for another object")]
    Full,
    /// A word that is not known.
    #[error("`{0}` is not a known {1}")]
    Word(String, &'static str),
    /// The text is not a JSON object with an `id`.
    #[error("a subscription is a JSON object with an `id`")]
    Subscription,
    /// No such subscription, or none of the sandbox's own making.
    #[error("there is no subscription {0}")]
    NoSubscription(Uuid),
    /// The subscription is in a state in which this cannot happen to it.
    #[error("subscription {0} is {1}")]
    State(Uuid, String),
    /// An operation on the subscription is going on.
    #[error("an operation on subscription {0} is going on")]
    Locked(Uuid),
    /// Not one of the offer's plans.
    #[error("there is no plan `{0}`; there are company, team and enterprise")]
    Plan(String),
    /// No key could be made.
    #[error("no signing key could be made")]
    Key,
}

/// A user to be added.
#[derive(Clone, Debug, Default)]
pub struct NewUser {
    /// Object id; a fresh one when absent.
    pub id: Option<Uuid>,
    /// Display name; `User 000042` when absent.
    pub name: Option<String>,
    /// Two letters; never set when absent.
    pub usage_location: Option<String>,
}

impl World {
    pub(super) fn edit<R>(
        &mut self,
        tenant: Uuid,
        f: impl FnOnce(&mut Tenant, i64) -> Result<R, WorldError>,
    ) -> Result<R, WorldError> {
        let now = self.now_s();
        let tenant = self.tenants.get_mut(&tenant).ok_or(WorldError::Tenant(tenant))?;
        tenant.settle(now);
        let result = f(tenant, now)?;
        tenant.settle(now);
        Ok(result)
    }

    pub(super) fn kind(&self, sku: Uuid) -> Result<Kind, WorldError> {
        self.catalog.kind(sku).ok_or(WorldError::Sku(sku))
    }

    pub(super) fn mask(&self, kind: Kind, plans: &[Uuid]) -> u32 {
        self.catalog.sku(kind).map_or(0, |sku| sku.mask(plans))
    }

    pub(super) fn lag_s(&self) -> i64 {
        i64::try_from(self.faults.lag.as_secs()).unwrap_or(i64::MAX / 4)
    }

    /// Adds a tenant with an empty directory; `None` as roles: without our app. A tenant that is
    /// there already is left alone.
    pub fn add_tenant(&mut self, tenant: Uuid, name: &str, roles: Option<&[&str]>) {
        let roles = roles.map(|roles| roles.iter().map(|&role| role.to_owned()).collect());
        self.tenants.entry(tenant).or_insert_with(|| Tenant::new(tenant, name, roles));
    }

    /// Adds a user and returns the object id.
    ///
    /// # Errors
    /// No such tenant, or the id is taken.
    pub fn add_user(&mut self, tenant: Uuid, new: NewUser) -> Result<Uuid, WorldError> {
        let id = new.id.unwrap_or_else(|| self.fresh_id());
        self.edit(tenant, |tenant, now| {
            if tenant.index.contains_key(&id) {
                return Err(WorldError::User(id));
            }
            let mut user = User::new(id);
            user.name = new.name.map(String::into_boxed_str);
            if let Some(text) = new.usage_location {
                user.location = country(&text);
            }
            let at = tenant.push(user).ok_or(WorldError::Full)?;
            tenant.journal(at, now, u16::MAX);
            Ok(id)
        })
    }

    fn user(
        &mut self,
        tenant: Uuid,
        user: Uuid,
        f: impl FnOnce(&mut User, i64) -> bool,
    ) -> Result<(), WorldError> {
        self.edit(tenant, |tenant, now| {
            let at = tenant.position(user).ok_or(WorldError::User(user))?;
            let mut done = false;
            tenant.edit(at, now, |user| done = f(user, now));
            if done { Ok(()) } else { Err(WorldError::User(user)) }
        })
    }

    /// Soft-deletes a user; memberships and licence paths wait 30 days.
    ///
    /// # Errors
    /// No such tenant or live user.
    pub fn delete_user(&mut self, tenant: Uuid, user: Uuid) -> Result<(), WorldError> {
        self.user(tenant, user, |user, now| {
            let live = user.life == Life::Live;
            user.life = if live { Life::Deleted(now) } else { user.life };
            live
        })
    }

    /// Removes a user for good.
    ///
    /// # Errors
    /// No such tenant or user.
    pub fn purge_user(&mut self, tenant: Uuid, user: Uuid) -> Result<(), WorldError> {
        self.user(tenant, user, |user, _| {
            user.life = Life::Purged;
            user.groups.clear();
            user.paths.clear();
            true
        })
    }

    /// Brings a soft-deleted user back.
    ///
    /// # Errors
    /// No such tenant or soft-deleted user.
    pub fn restore_user(&mut self, tenant: Uuid, user: Uuid) -> Result<(), WorldError> {
        self.user(tenant, user, |user, _| {
            let deleted = matches!(user.life, Life::Deleted(_));
            user.life = Life::Live;
            deleted
        })?;
        let lag_s = self.lag_s();
        // His groups may have changed meanwhile.
        self.edit(tenant, |tenant, now| {
            tenant.schedule(tenant.position(user), now.saturating_add(lag_s));
            Ok(())
        })
    }

    /// Blocks or unblocks sign-in; licences stay.
    ///
    /// # Errors
    /// No such tenant or user.
    pub fn set_enabled(&mut self, tenant: Uuid, user: Uuid, on: bool) -> Result<(), WorldError> {
        self.user(tenant, user, |user, _| {
            user.enabled = on;
            true
        })
    }

    /// Sets the usage location; `None` clears it.
    ///
    /// # Errors
    /// No such tenant or user.
    pub fn set_location(
        &mut self,
        tenant: Uuid,
        user: Uuid,
        location: Option<&str>,
    ) -> Result<(), WorldError> {
        self.user(tenant, user, |user, _| {
            user.location = country(location.unwrap_or_default());
            true
        })
    }

    /// Assigns a SKU directly, or changes what is disabled.
    ///
    /// # Errors
    /// No such tenant, user or SKU.
    pub fn assign(
        &mut self,
        tenant: Uuid,
        user: Uuid,
        sku: Uuid,
        disabled: &[Uuid],
    ) -> Result<(), WorldError> {
        let kind = self.kind(sku)?;
        let disabled = self.mask(kind, disabled);
        let known = self.tenant(tenant).is_some_and(|tenant| tenant.sku(kind).is_some());
        if !known {
            return Err(WorldError::Sku(sku));
        }
        self.user(tenant, user, |user, now| {
            user.paths.retain(|path| path.sku != kind || path.by != DIRECT);
            let (state, error) = (PathState::Active, Violation::None);
            let updated = short(now);
            user.paths.push(Path { sku: kind, by: DIRECT, disabled, state, error, updated });
            true
        })
    }

    /// Takes a direct assignment away.
    ///
    /// # Errors
    /// No such tenant, user or SKU. A user without the assignment is fine.
    pub fn unassign(&mut self, tenant: Uuid, user: Uuid, sku: Uuid) -> Result<(), WorldError> {
        let kind = self.kind(sku)?;
        self.user(tenant, user, |user, _| {
            user.paths.retain(|path| path.sku != kind || path.by != DIRECT);
            true
        })
    }

    /// Puts a path into a state (`Active`, `ActiveWithError`, `Disabled`, `Error`) with an error
    /// word (`CountViolation`, …, or `None`); `group` absent is the direct path.
    ///
    /// # Errors
    /// No such tenant, user, SKU, group, path or word.
    pub fn set_path(
        &mut self,
        tenant: Uuid,
        user: Uuid,
        sku: Uuid,
        group: Option<Uuid>,
        (state, error): (&str, &str),
    ) -> Result<(), WorldError> {
        let kind = self.kind(sku)?;
        let state = parse_state(state)?;
        let error = parse_violation(error)?;
        let by = match (group, self.tenant(tenant)) {
            (_, None) => return Err(WorldError::Tenant(tenant)),
            (None, _) => DIRECT,
            (Some(id), Some(tenant)) => tenant.group(id).ok_or(WorldError::Group(id))?.0,
        };
        let mut found = false;
        self.user(tenant, user, |user, now| {
            for path in user.paths.iter_mut().filter(|path| path.sku == kind && path.by == by) {
                (path.state, path.error, path.updated) = (state, error, short(now));
                found = true;
            }
            true
        })?;
        if found { Ok(()) } else { Err(WorldError::Path) }
    }
}

fn parse_state(word: &str) -> Result<PathState, WorldError> {
    match word {
        "Active" => Ok(PathState::Active),
        "ActiveWithError" => Ok(PathState::ActiveWithError),
        "Disabled" => Ok(PathState::Disabled),
        "Error" => Ok(PathState::Error),
        _ => Err(WorldError::Word(word.to_owned(), "state")),
    }
}

fn parse_violation(word: &str) -> Result<Violation, WorldError> {
    match word {
        "None" | "" => Ok(Violation::None),
        "CountViolation" => Ok(Violation::Count),
        "MutuallyExclusiveViolation" => Ok(Violation::MutuallyExclusive),
        "DependencyViolation" => Ok(Violation::Dependency),
        "ProhibitedInUsageLocationViolation" => Ok(Violation::UsageLocation),
        "UniquenessViolation" => Ok(Violation::Uniqueness),
        "Other" => Ok(Violation::Other),
        _ => Err(WorldError::Word(word.to_owned(), "error")),
    }
}
