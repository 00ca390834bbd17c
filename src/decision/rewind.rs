//! The mirror as it was: what the journal says has changed since is undone.

mod licenses;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use self::licenses::LicenseFacts;
use super::Question;
use crate::domain::{
    Change, Commit, Deal, Entity, Fact, Holders, Mapping, MappingWrite, Mirror, Outcome, Policy,
    RawRecord, ReportedLicence, Run, Sku, Source, SourceKey, SourceState, Subscription,
    SubscriptionId, Tenant, TenantId, TenantUsers, TenantView, Unread, UserId, UserLicences,
    UserRights, UserWrites,
};

pub use self::licenses::licenses_of_past;

/// A moment in the past, and what is recorded of the time since.
#[derive(Clone, Copy, Debug)]
pub struct Past<'a> {
    /// The moment.
    pub at: Timestamp,
    /// The journal, oldest first; what is not newer than [`Self::at`] is not looked at. All changes
    /// since then that concern the tenant must be among them, and all of [`licenses_of_past`].
    pub changes: &'a [Change],
    /// Since when the journal holds every change; `None` if since the beginning.
    pub journal_since: Option<Timestamp>,
    /// The sync log, oldest first: it says which complete reads were known then.
    pub runs: &'a [Run],
}

/// The mirror as it was, as far as it concerns this question: it is answered as it would have been
/// then; of other tenants, users and licenses it holds nothing.
///
/// A source counts as read when the sync log holds a complete run that had ended by then. So a
/// moment before the log begins is answered `unknown`, not guessed. What could not be read then and
/// was understood since is answered as it was understood. So are licenses of the publisher where
/// the journal does not reach back: the mirror then says that they are not on record.
pub fn rewind(mirror: &Mirror, past: Past<'_>, question: &Question<'_>, policy: &Policy) -> Mirror {
    let mut facts = question.keyed_tenant().map(|it| Facts::of(mirror, it, question.user));
    let mut licenses = LicenseFacts::of(mirror, question, past);
    for change in past.changes.iter().rev().filter(|it| it.at > past.at) {
        if let Some(facts) = &mut facts {
            facts.undo(change);
        }
        licenses.undo(change);
    }
    let mut commit = facts.map(|it| it.commit(past)).unwrap_or_default();
    let recorded =
        !is_forgotten(mirror, past, question) && licenses.put(&mut commit, question, policy, past);
    let then = Mirror::default().applied(&commit);
    if recorded { then } else { then.without_record_of_licenses() }
}

/// Whether there were licenses of the product that nobody can tell any more how they stood.
fn is_forgotten(mirror: &Mirror, past: Past<'_>, question: &Question<'_>) -> bool {
    let mut sold = mirror.licenses().of_product(&question.product.id);
    past.journal_since.is_some_and(|since| past.at < since) && sold.any(|it| it.created <= past.at)
}

/// The facts that a question of one user can rest on.
struct Facts {
    key: TenantId,
    user: Option<UserId>,
    subscriptions: BTreeMap<SubscriptionId, Subscription>,
    holders: BTreeMap<SubscriptionId, Holders>,
    tenant: Option<Tenant>,
    skus: Vec<Sku>,
    licences: Option<UserLicences>,
    rights: Option<UserRights>,
    /// What says that the tenant has licences which only usage rights show: known today, and so then.
    hidden: Hidden,
    mappings: Arc<[Mapping]>,
    directory: SourceState,
    list: SourceState,
    unread: Vec<Unread>,
}

impl Facts {
    fn of(mirror: &Mirror, key: TenantId, user: Option<UserId>) -> Self {
        let view = mirror.tenant(key);
        let subscriptions: BTreeMap<_, _> =
            mirror.subscriptions_of(key).map(|it| (it.id, it.as_ref().clone())).collect();
        let holders = subscriptions
            .keys()
            .filter_map(|id| mirror.holders(*id).map(|it| (*id, it.as_ref().clone())));
        Self {
            key,
            user,
            holders: holders.collect(),
            subscriptions,
            tenant: view.map(|it| it.tenant.clone()),
            skus: view.map(|it| it.skus.to_vec()).unwrap_or_default(),
            // Since when something of his could not be understood nobody noted.
            licences: view
                .zip(user)
                .and_then(|(view, user)| view.users.get(user))
                .map(|it| UserLicences { unread: false, ..it }),
            rights: view
                .zip(user)
                .and_then(|(view, user)| Some((**view.rights.get(user)?).clone())),
            hidden: view.map(|view| Hidden::of(mirror, view, user)).unwrap_or_default(),
            mappings: view.map_or_else(|| Arc::from([]), |it| Arc::clone(&it.mappings)),
            directory: view.map(|it| it.directory.clone()).unwrap_or_default(),
            list: mirror.source(SourceKey::SUBSCRIPTIONS).cloned().unwrap_or_default(),
            unread: mirror.unread().map(|it| it.as_ref().clone()).collect(),
        }
    }

    fn undo(&mut self, change: &Change) {
        let here = change.tenant == Some(self.key);
        if change.entity == Entity::Subscription && change.is_note() {
            return;
        }
        match (change.entity, &change.before) {
            (Entity::Subscription, before) => self.undo_subscription(change, before.as_ref()),
            (Entity::Tenant, Some(Fact::Tenant(before))) if here => {
                self.tenant = Some(before.as_ref().clone());
            }
            (Entity::Tenant, None) if here => self.tenant = None,
            (Entity::Sku, before) if here => self.undo_sku(change, before.as_ref()),
            (Entity::Seat, before) if here && change.user == self.user => {
                self.licences = match before {
                    Some(Fact::User(before)) => Some(before.as_ref().clone()),
                    Some(_) | None => None,
                };
            }
            (Entity::UsageRight, before) if here && change.user == self.user => {
                self.rights = match before {
                    Some(Fact::Rights(before)) => Some(before.as_ref().clone()),
                    Some(_) | None => None,
                };
            }
            (Entity::HeldSeat, before) => self.undo_held_seat(change, before.as_ref()),
            (_, _) => {}
        }
    }

    fn undo_subscription(&mut self, change: &Change, before: Option<&Fact>) {
        let Ok(id) = change.id.parse() else { return };
        // What was asked or said about it changed nothing.
        if matches!(change.after, Some(Fact::Words(_))) {
            return;
        }
        match before {
            Some(Fact::Subscription(before)) => {
                self.subscriptions.insert(id, before.as_ref().clone());
            }
            Some(_) | None => drop(self.subscriptions.remove(&id)),
        }
    }

    fn undo_sku(&mut self, change: &Change, before: Option<&Fact>) {
        self.skus.retain(|it| it.id.to_string() != *change.id);
        if let Some(Fact::Sku(before)) = before {
            self.skus.push(before.as_ref().clone());
        }
    }

    fn undo_held_seat(&mut self, change: &Change, before: Option<&Fact>) {
        let (Ok(id), Some(key)) = (change.id.parse(), change.tenant.zip(change.user)) else {
            return;
        };
        let now = self.holders.remove(&id).unwrap_or_default();
        let others = now.iter().filter(|(tenant, user, _)| (*tenant, *user) != key);
        let others = others.map(|(tenant, user, seat)| ((tenant, user), seat));
        let then = match before {
            Some(Fact::HeldSeat(seat)) => Some((key, *seat)),
            Some(_) | None => None,
        };
        self.holders.insert(id, Holders::new(others.chain(then)));
    }

    fn commit(self, past: Past<'_>) -> Commit {
        let key = self.key;
        let directory = SourceKey::directory(key);
        let unread = self.unread.into_iter().filter(|it| it.since <= past.at);
        let mut commit = Commit {
            holders: self.holders.into_iter().collect(),
            unread: unread.map(|it| (Arc::clone(&it.key), Some(it))).collect(),
            sources: vec![(
                SourceKey::SUBSCRIPTIONS,
                read_by(self.list, SourceKey::SUBSCRIPTIONS, past),
            )],
            ..Commit::default()
        };
        let raw: RawRecord = Arc::from("{}");
        let theirs = self.subscriptions.into_values();
        let theirs = theirs.filter(|it| it.beneficiary.tenant_id() == Some(key));
        commit.subscriptions = theirs.map(|it| (it, Arc::clone(&raw))).collect();
        let Some(tenant) = self.tenant else { return commit };
        commit.tenants = vec![tenant];
        commit.skus = vec![(key, self.skus)];
        commit.sources.push((directory, read_by(self.directory, directory, past)));
        // What an operator decides about names holds for the past too: the licences were there.
        let proposed = self.mappings.iter().cloned().map(MappingWrite::Propose);
        commit.mappings = proposed.map(|it| (key, it)).collect();
        let rights = self.user.zip(self.rights).into_iter().chain(self.hidden.held);
        commit.rights = rights.map(|(user, rights)| (key, user, Some(rights))).collect();
        commit.reported = vec![(key, self.hidden.reported)];
        commit.deals = self.hidden.deals.into_iter().map(|it| (it.id, Some(it))).collect();
        if let Some((user, licences)) = self.user.zip(self.licences) {
            let writes = UserWrites::Patch(vec![(user, Some(licences))]);
            commit.users = vec![TenantUsers { tenant: key, writes }];
        }
        commit
    }
}

/// Of a tenant's licences that its directory does not list.
#[derive(Default)]
struct Hidden {
    /// All rights that others were shown to hold, as if one held them.
    held: Option<(UserId, UserRights)>,
    reported: Vec<ReportedLicence>,
    deals: Vec<Arc<Deal>>,
}

impl Hidden {
    fn of(mirror: &Mirror, view: &TenantView, user: Option<UserId>) -> Self {
        let tenant = view.tenant.id;
        let others = || view.rights.iter().filter(|it| Some(*it.0) != user);
        let rows: BTreeSet<_> = others().flat_map(|(_, it)| it.rows.iter().cloned()).collect();
        let held = others().next().map(|(other, rights)| {
            (*other, UserRights::seen(rows.into_iter().collect(), rights.read_at))
        });
        Self {
            held,
            reported: mirror.reported_of(tenant).to_vec(),
            deals: mirror.deals_of(tenant).to_vec(),
        }
    }
}

/// What was known of a source then: the last read of all of it that had ended. A list counts only
/// when it was enumerated, also where single records of it could not be understood; of a directory a
/// round of changes counts too, but not one whose removals were held back.
fn read_by(state: SourceState, key: SourceKey, past: Past<'_>) -> SourceState {
    if state.last_complete.is_none_or(|at| at <= past.at) {
        return state;
    }
    let counts = |it: &&Run| match (key.source, it.outcome) {
        (_, Outcome::Failed) => false,
        (Source::Directory | Source::Groups, outcome) => outcome == Outcome::Complete,
        (Source::Subscriptions | Source::Reports, _) => it.full,
    };
    let known = past.runs.iter().filter(|it| it.key == key && it.ended <= past.at).filter(counts);
    SourceState { last_complete: known.map(|it| it.started).max(), ..SourceState::default() }
}
