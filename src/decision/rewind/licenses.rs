//! The publisher's licenses as they were, as far as one question can rest on them.

use std::collections::{BTreeMap, BTreeSet};

use super::Past;
use crate::decision::{Question, Shown};
use crate::domain::{
    Activation, ActivationId, ActivationWrite, Change, Commit, Entity, Fact, HeldSeat, License,
    LicenseId, LicenseUser, LicenseUsers, Mirror, OverLimit, Policy, TenantId,
};

/// The licenses of which all changes must be known to answer a question about the past: the one that
/// is shown, and those that its tenant is bound to now or, by the changes of the tenant, was since.
pub fn licenses_of_past(
    mirror: &Mirror,
    question: &Question<'_>,
    of_tenant: &[Change],
) -> BTreeSet<LicenseId> {
    let mut ids = BTreeSet::new();
    if let Shown::Typed { id, .. } | Shown::Package(id) | Shown::Named(id) = question.shown {
        ids.insert(id);
    }
    if let Some(tenant) = question.keyed_tenant() {
        ids.extend(mirror.licenses().activations_of_tenant(tenant).map(|it| it.license));
    }
    for fact in of_tenant.iter().flat_map(|it| [&it.before, &it.after]) {
        if let Some(Fact::Activation(it)) = fact {
            ids.insert(it.license);
        }
    }
    ids
}

/// The licenses that a question can rest on, their tenants and users.
pub(super) struct LicenseFacts {
    licenses: BTreeMap<LicenseId, License>,
    activations: BTreeMap<ActivationId, Activation>,
    users: BTreeMap<LicenseId, BTreeMap<LicenseUser, HeldSeat>>,
    /// Those whose anonymous users were in part forgotten since then.
    thinned: BTreeSet<LicenseId>,
}

impl LicenseFacts {
    pub(super) fn of(mirror: &Mirror, question: &Question<'_>, past: Past<'_>) -> Self {
        let book = mirror.licenses();
        let ids = licenses_of_past(mirror, question, past.changes);
        let found = || ids.iter().filter_map(|id| book.license(*id));
        let bound = ids.iter().flat_map(|id| book.activations_of(*id));
        let users = ids.iter().filter_map(|id| Some((*id, book.users(*id)?.iter().collect())));
        Self {
            licenses: found().map(|it| (it.id, it.as_ref().clone())).collect(),
            activations: bound.map(|it| (it.id, it.as_ref().clone())).collect(),
            users: users.collect(),
            thinned: BTreeSet::new(),
        }
    }

    pub(super) fn undo(&mut self, change: &Change) {
        match change.entity {
            Entity::License => self.undo_license(change),
            Entity::HeldSeat => self.undo_place(change),
            Entity::Subscription
            | Entity::Seat
            | Entity::Sku
            | Entity::Tenant
            | Entity::Key
            | Entity::Usage
            | Entity::Notice
            | Entity::Operation
            | Entity::Webhook
            | Entity::Report
            | Entity::Deal
            | Entity::Group
            | Entity::UsageRight
            | Entity::Mapping => {}
        }
    }

    /// What is new goes, what differs or is gone comes back; of what is only said, nothing.
    fn undo_license(&mut self, change: &Change) {
        match &change.after {
            Some(Fact::License(it)) => drop(self.licenses.remove(&it.id)),
            Some(Fact::Activation(it)) => drop(self.activations.remove(&it.id)),
            Some(_) | None => {}
        }
        match &change.before {
            Some(Fact::License(it)) => drop(self.licenses.insert(it.id, it.as_ref().clone())),
            Some(Fact::Activation(it)) => drop(self.activations.insert(it.id, it.as_ref().clone())),
            Some(_) | None => {}
        }
    }

    fn undo_place(&mut self, change: &Change) {
        let Ok(license) = change.id.parse() else { return };
        let Some((tenant, user)) = change.tenant.zip(change.user) else {
            self.thinned.insert(license);
            return;
        };
        let user = LicenseUser::Known(tenant, user);
        let places = self.users.entry(license).or_default();
        match &change.before {
            Some(Fact::HeldSeat(seat)) => drop(places.insert(user, *seat)),
            Some(_) | None => drop(places.remove(&user)),
        }
    }

    /// Writes them down as they were; `false` if that is not on record.
    pub(super) fn put(
        self,
        commit: &mut Commit,
        question: &Question<'_>,
        policy: &Policy,
        past: Past<'_>,
    ) -> bool {
        let Self { licenses, activations, users, thinned } = self;
        let tenant: Option<TenantId> = question.keyed_tenant();
        let theirs = activations.into_values().filter(|it| it.tenant == tenant);
        commit.activations = theirs.map(ActivationWrite::Put).collect();
        for (id, places) in users {
            let then = places.into_iter().filter(|(_, seat)| seat.taken_at <= past.at);
            let then = then.map(|(user, seat)| {
                (user, Some(HeldSeat { last_used: seat.last_used.min(past.at), ..seat }))
            });
            commit.license_users.push((id, then.collect()));
        }
        let mut recorded = true;
        // One that is newer was not there, also where the journal no longer says so.
        for it in licenses.into_values().filter(|it| it.created <= past.at) {
            let users = commit.license_users.iter().find(|(id, _)| *id == it.id);
            let users = users.map(|(_, all)| LicenseUsers::default().with(all));
            let lacks = thinned.contains(&it.id)
                && number_matters(&it, &users.unwrap_or_default(), question, policy, past);
            if lacks {
                recorded = false;
            } else {
                commit.licenses.push(it);
            }
        }
        recorded
    }
}

/// Whether users who are forgotten could have shut this one out: those who are on record do not.
fn number_matters(
    it: &License,
    users: &LicenseUsers,
    question: &Question<'_>,
    policy: &Policy,
    past: Past<'_>,
) -> bool {
    let denies = it.over_limit.unwrap_or(policy.over_limit) == OverLimit::Deny;
    it.max_users().filter(|_| denies).is_some_and(|max| {
        users.before(question.license_user(), max, policy.release_after, past.at) < max
    })
}
