//! What the journal says of licenses, of tenants bound to them, and of places taken.

use jiff::Timestamp;

use super::{Activation, License, LicenseId};
use crate::domain::{Cause, Change, Entity, Fact, HeldSeat, TenantId, UserId};

impl Change {
    /// A place among a license's users that was taken, or is free again. `before` is the last one that
    /// he had.
    pub fn of_place(
        at: Timestamp,
        cause: Cause,
        license: LicenseId,
        (tenant, user): (TenantId, UserId),
        before: Option<HeldSeat>,
        after: Option<HeldSeat>,
    ) -> Self {
        Self {
            at,
            cause,
            entity: Entity::HeldSeat,
            id: license.as_str().into(),
            tenant: Some(tenant),
            user: Some(user),
            before: before.map(Fact::HeldSeat),
            after: after.map(Fact::HeldSeat),
        }
    }

    /// Places of anonymous users that are free again. Who they were is not kept.
    pub fn of_anonymous_places(
        at: Timestamp,
        cause: Cause,
        license: LicenseId,
        count: usize,
    ) -> Self {
        let words = format!("places of {count} anonymous users who no longer come");
        Self {
            at,
            cause,
            entity: Entity::HeldSeat,
            id: license.as_str().into(),
            tenant: None,
            user: None,
            before: Some(Fact::Words(words.into())),
            after: None,
        }
    }

    /// A tenant that was bound to a license, or no longer is: of the license's journal.
    pub fn of_activation(
        at: Timestamp,
        cause: Cause,
        before: Option<&Activation>,
        after: Option<&Activation>,
    ) -> Self {
        let fact = |it: &Activation| Fact::Activation(Box::new(it.clone()));
        let which = after.or(before);
        Self {
            at,
            cause,
            entity: Entity::License,
            id: which.map_or("", |it| it.license.as_str()).into(),
            tenant: which.and_then(|it| it.tenant),
            user: None,
            before: before.map(fact),
            after: after.map(fact),
        }
    }

    /// Something about a license that is no fact of it: said in words.
    pub fn noted_of_license(at: Timestamp, cause: Cause, id: LicenseId, words: String) -> Self {
        Self {
            at,
            cause,
            entity: Entity::License,
            id: id.as_str().into(),
            tenant: None,
            user: None,
            before: None,
            after: Some(Fact::Words(words.into())),
        }
    }

    /// A license that is new or differs; `tenant` is one that is bound to it.
    pub fn of_license(
        at: Timestamp,
        cause: Cause,
        tenant: Option<TenantId>,
        before: Option<&License>,
        after: &License,
    ) -> Self {
        let fact = |it: &License| Fact::License(Box::new(it.clone()));
        Self {
            at,
            cause,
            entity: Entity::License,
            id: after.id.as_str().into(),
            tenant,
            user: None,
            before: before.map(fact),
            after: Some(fact(after)),
        }
    }
}
