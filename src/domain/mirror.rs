//! All facts of one moment, indexed, immutable.

mod loaded;
mod reports;

use std::sync::Arc;

use imbl::{HashMap, OrdMap};

use super::{
    Access, AskedChange, AskedWrite, Commit, Deal, DealId, GraphSubscriptions, Groups, HeldBack,
    Holders, LicenseBook, Life, Mapping, Plan, ProductId, ReadWrite, ReportedLicence, RightsSource,
    RightsTable, Series, SeriesWrite, Share, Sku, SkuId, SkuMatch, Source, SourceKey, SourceState,
    Subscription, SubscriptionId, Tenant, TenantId, TenantUsers, Unfinished, Unread, UseTable,
    UserId, UserTable, UserWrites, mapped, sku_match,
};

/// All that is known of one tenant's directory.
#[derive(Clone, Debug)]
pub struct TenantView {
    /// The tenant and its consent.
    pub tenant: Tenant,
    /// Its SKUs.
    pub skus: Arc<[Sku]>,
    /// What its users hold of the publisher's SKUs.
    pub users: UserTable,
    /// The groups through which they came by it: for explaining, never for deciding.
    pub groups: Arc<Groups>,
    /// What usage rights its users were last shown to hold.
    pub rights: RightsTable,
    /// How far these can be believed.
    pub rights_source: RightsSource,
    /// What plans are called there.
    pub mappings: Arc<[Mapping]>,
    /// How far its directory has been read.
    pub directory: SourceState,
    /// What it permits our app.
    pub access: Access,
    /// What the brake holds of it.
    pub held: Option<Arc<HeldBack>>,
}

impl TenantView {
    /// A tenant of which nothing has been read yet.
    pub fn unread(tenant: Tenant) -> Self {
        Self {
            tenant,
            skus: Arc::from([]),
            users: UserTable::default(),
            groups: Arc::default(),
            rights: RightsTable::default(),
            rights_source: RightsSource::default(),
            mappings: Arc::from([]),
            directory: SourceState::default(),
            access: Access::default(),
            held: None,
        }
    }

    /// Whether the brake holds this user's licence of this SKU: the last complete read no longer
    /// had it. `marked` says whether any of the user's is ([`super::UserLicences::missing_since`]).
    pub fn holds_back(&self, user: UserId, marked: bool, sku: &Sku) -> bool {
        sku.missing_since.is_some()
            || marked && self.held.as_ref().is_some_and(|it| it.holds(user, sku.id))
    }

    /// Whose usage rights the brake holds, by id: they came without theirs, too many at once, and
    /// nobody has been seen with any since, who would show that Microsoft shows us them at all.
    pub fn rights_held(&self, remove_limit: Share) -> Vec<UserId> {
        let missing = self.rights.missing_after(self.rights_source.seen_at());
        let missing: Vec<UserId> = missing.map(|(user, _)| user).collect();
        let brakes = remove_limit.brakes(missing.len(), self.rights.holders());
        if brakes { missing } else { Vec::new() }
    }

    /// The SKU of this id.
    pub fn sku(&self, id: SkuId) -> Option<&Sku> {
        self.skus.iter().find(|it| it.id == id)
    }

    /// Whether the directory lists the plan, and who holds it.
    pub fn lists(&self, plan: &Plan) -> bool {
        let holders = !self.users.is_empty();
        self.skus
            .iter()
            .any(|sku| (holders || sku.units.consumed == 0) && self.sku_match(sku, plan).is_some())
    }

    /// What of a SKU is the plan, here.
    pub fn sku_match(&self, sku: &Sku, plan: &Plan) -> Option<SkuMatch> {
        sku_match(sku, plan, &self.mappings)
    }
}

/// All facts of one moment. Cheap to clone; a later one shares what did not change.
#[derive(Clone, Debug, Default)]
pub struct Mirror {
    subscriptions: OrdMap<SubscriptionId, Arc<Subscription>>,
    by_tenant: HashMap<TenantId, Arc<[SubscriptionId]>>,
    tenants: OrdMap<TenantId, Arc<TenantView>>,
    sources: OrdMap<SourceKey, SourceState>,
    holders: HashMap<SubscriptionId, Arc<Holders>>,
    lives: OrdMap<SubscriptionId, Arc<Life>>,
    unread: OrdMap<Arc<str>, Arc<Unread>>,
    documents: HashMap<Arc<str>, Arc<[u8]>>,
    asked: OrdMap<Arc<str>, Arc<AskedChange>>,
    reported: OrdMap<TenantId, Arc<[ReportedLicence]>>,
    deals: OrdMap<DealId, Arc<Deal>>,
    dealt: OrdMap<TenantId, Arc<[Arc<Deal>]>>,
    unfinished: HashMap<TenantId, Arc<Unfinished>>,
    uses: OrdMap<(TenantId, ProductId), UseTable>,
    series: OrdMap<(TenantId, SkuId), Arc<Series>>,
    licenses: LicenseBook,
    graph_subscriptions: GraphSubscriptions,
    revision: u64,
}

impl Mirror {
    /// Counts up with every commit since the daemon started.
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// The subscription of this id.
    pub fn subscription(&self, id: SubscriptionId) -> Option<&Arc<Subscription>> {
        self.subscriptions.get(&id)
    }

    /// All subscriptions, by id.
    pub fn subscriptions(&self) -> impl Iterator<Item = &Arc<Subscription>> {
        self.subscriptions.values()
    }

    /// How many subscriptions there are.
    pub fn subscription_count(&self) -> usize {
        self.subscriptions.len()
    }

    /// The subscriptions whose beneficiary is this tenant.
    pub fn subscriptions_of(&self, tenant: TenantId) -> impl Iterator<Item = &Arc<Subscription>> {
        let ids = self.by_tenant.get(&tenant).map_or(&[][..], |ids| ids);
        ids.iter().filter_map(|id| self.subscriptions.get(id))
    }

    /// What is known of this tenant; `None` if it was never heard of.
    pub fn tenant(&self, id: TenantId) -> Option<&Arc<TenantView>> {
        self.tenants.get(&id)
    }

    /// All tenants, by id.
    pub fn tenants(&self) -> impl Iterator<Item = &Arc<TenantView>> {
        self.tenants.values()
    }

    /// How many tenants there are.
    pub fn tenant_count(&self) -> usize {
        self.tenants.len()
    }

    /// How far a source has been read.
    pub fn source(&self, key: SourceKey) -> Option<&SourceState> {
        match key {
            SourceKey { source: Source::Directory, tenant: Some(tenant) } => {
                self.tenants.get(&tenant).map(|it| &it.directory)
            }
            SourceKey { .. } => self.sources.get(&key),
        }
    }

    /// Who sits on the seats of a subscription.
    pub fn holders(&self, id: SubscriptionId) -> Option<&Arc<Holders>> {
        self.holders.get(&id)
    }

    /// All subscriptions on whose seats anybody sits.
    pub fn all_holders(&self) -> impl Iterator<Item = (SubscriptionId, &Arc<Holders>)> {
        self.holders.iter().map(|(id, it)| (*id, it))
    }

    /// What is remembered of a subscription. Of those that were mirrored before anything was
    /// remembered, and have not changed since, it is made up from when they were last seen to.
    pub fn life(&self, subscription: &Subscription) -> Life {
        let remembered = self.lives.get(&subscription.id).map(|it| it.as_ref().clone());
        remembered.unwrap_or_else(|| Life::unremembered(subscription))
    }

    /// What could not be read of the list of subscriptions, by key.
    pub fn unread(&self) -> impl Iterator<Item = &Arc<Unread>> {
        self.unread.values()
    }

    /// What is unread under this key.
    pub fn unread_at(&self, key: &str) -> Option<&Arc<Unread>> {
        self.unread.get(key)
    }

    /// Whether both hold the same subscriptions, with the same lives, and the same unread: known
    /// without looking at each.
    pub fn shares_subscriptions(&self, other: &Self) -> bool {
        self.subscriptions.ptr_eq(&other.subscriptions)
            && self.lives.ptr_eq(&other.lives)
            && self.unread.ptr_eq(&other.unread)
    }

    /// All named documents, in no order that means anything.
    pub fn documents(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<[u8]>)> {
        self.documents.iter()
    }

    /// All sources but the directories, with how far they have been read.
    pub fn sources(&self) -> impl Iterator<Item = (SourceKey, &SourceState)> {
        self.sources.iter().map(|(key, state)| (*key, state))
    }

    /// The change that a customer asked for by this operation.
    pub fn asked(&self, operation: &str) -> Option<&Arc<AskedChange>> {
        self.asked.get(operation)
    }

    /// All changes that customers asked for, by operation.
    pub fn all_asked(&self) -> impl Iterator<Item = &Arc<AskedChange>> {
        self.asked.values()
    }

    /// How far the first enumeration of a tenant is, if it was cut off.
    pub fn unfinished(&self, tenant: TenantId) -> Option<&Arc<Unfinished>> {
        self.unfinished.get(&tenant)
    }

    /// All enumerations that were cut off, in no order that means anything.
    pub fn all_unfinished(&self) -> impl Iterator<Item = (TenantId, &Arc<Unfinished>)> {
        self.unfinished.iter().map(|(tenant, it)| (*tenant, it))
    }

    /// Who used a product in a tenant lately.
    pub fn uses(&self, tenant: TenantId, product: &ProductId) -> Option<&UseTable> {
        self.uses.get(&(tenant, product.clone()))
    }

    /// Who used what lately, by tenant and product.
    pub fn all_uses(&self) -> impl Iterator<Item = (TenantId, &ProductId, &UseTable)> {
        self.uses.iter().map(|((tenant, product), it)| (*tenant, product, it))
    }

    /// How many seats of a SKU were bought and assigned, day by day.
    pub fn series(&self, tenant: TenantId, sku: SkuId) -> Option<&Arc<Series>> {
        self.series.get(&(tenant, sku))
    }

    /// All such series.
    pub fn all_series(&self) -> impl Iterator<Item = (TenantId, SkuId, &Arc<Series>)> {
        self.series.iter().map(|((tenant, sku), it)| (*tenant, *sku, it))
    }

    /// The licenses that the publisher sold itself.
    pub const fn licenses(&self) -> &LicenseBook {
        &self.licenses
    }

    /// The subscriptions to Graph's change notifications.
    pub const fn graph_subscriptions(&self) -> &GraphSubscriptions {
        &self.graph_subscriptions
    }

    /// The mirror of a moment in the past of which it is not on record which licenses there were.
    #[must_use]
    pub fn without_record_of_licenses(mut self) -> Self {
        self.licenses.forget();
        self
    }

    /// A named document.
    pub fn document(&self, name: &str) -> Option<&Arc<[u8]>> {
        self.documents.get(name)
    }

    /// The mirror after a commit: the one place that says what a commit means in memory.
    #[must_use]
    pub fn applied(&self, commit: &Commit) -> Self {
        let mut next = self.clone();
        next.revision = self.revision.wrapping_add(1);
        for (subscription, _) in &commit.subscriptions {
            next.put_subscription(subscription);
        }
        for (id, life) in &commit.lives {
            next.lives.insert(*id, Arc::new(life.clone()));
        }
        for (key, unread) in &commit.unread {
            match unread {
                Some(it) => drop(next.unread.insert(Arc::clone(key), Arc::new(it.clone()))),
                None => drop(next.unread.remove(key)),
            }
        }
        for tenant in &commit.tenants {
            next.change_tenant(tenant.id, |view| view.tenant = tenant.clone());
        }
        for (tenant, access) in &commit.access {
            next.change_tenant(*tenant, |view| view.access = *access);
        }
        for (tenant, held) in &commit.held {
            next.change_tenant(*tenant, |view| view.held = held.clone().map(Arc::new));
        }
        for (tenant, skus) in &commit.skus {
            next.change_tenant(*tenant, |view| view.skus = skus.as_slice().into());
        }
        for TenantUsers { tenant, writes } in &commit.users {
            next.change_tenant(*tenant, |view| match writes {
                UserWrites::Patch(writes) => view.users = view.users.patched(writes),
                UserWrites::Replace(users) => view.users = users.clone(),
            });
        }
        for write in &commit.reads {
            match write {
                ReadWrite::LaidDown { tenant, read, .. } => {
                    drop(next.unfinished.insert(*tenant, Arc::clone(read)));
                }
                ReadWrite::Cleared { tenant, .. } => drop(next.unfinished.remove(tenant)),
            }
        }
        for (tenant, groups) in &commit.groups {
            next.change_tenant(*tenant, |view| view.groups = Arc::clone(groups));
        }
        next.put_figures(commit);
        next.apply_rights(commit);
        for (key, state) in &commit.sources {
            match key {
                SourceKey { source: Source::Directory, tenant: Some(tenant) } => {
                    next.change_tenant(*tenant, |view| view.directory = state.clone());
                }
                SourceKey { .. } => drop(next.sources.insert(*key, state.clone())),
            }
        }
        for (id, holders) in &commit.holders {
            if holders.iter().next().is_none() {
                next.holders.remove(id);
            } else {
                next.holders.insert(*id, Arc::new(holders.clone()));
            }
        }
        for document in &commit.documents {
            next.documents.insert(Arc::clone(&document.name), document.bytes.as_slice().into());
        }
        for write in &commit.asked {
            next.put_asked(write);
        }
        next.put_reports(commit);
        next.licenses.apply(commit);
        commit.graph_subscriptions.iter().for_each(|it| next.graph_subscriptions.apply(it));
        next
    }

    fn put_figures(&mut self, commit: &Commit) {
        for it in &commit.uses {
            let key = (it.tenant, it.product.clone());
            let table = self.uses.get(&key).cloned().unwrap_or_default();
            let table = table.noted(&it.used, it.today);
            if table.is_empty() {
                self.uses.remove(&key);
            } else {
                self.uses.insert(key, table);
            }
        }
        for SeriesWrite { tenant, sku, series } in &commit.series {
            let key = (*tenant, *sku);
            if series.points().is_empty() {
                self.series.remove(&key);
            } else {
                self.series.insert(key, Arc::new(series.clone()));
            }
        }
    }

    fn apply_rights(&mut self, commit: &Commit) {
        for (tenant, user, rights) in &commit.rights {
            if rights.is_none() && self.tenants.get(tenant).is_none() {
                continue;
            }
            self.change_tenant(*tenant, |view| match rights {
                Some(it) => view.rights.insert(*user, Arc::new(it.clone())),
                None => view.rights.remove(*user),
            });
        }
        for (tenant, source) in &commit.rights_sources {
            self.change_tenant(*tenant, |view| view.rights_source = source.clone());
        }
        for (tenant, write) in &commit.mappings {
            self.change_tenant(*tenant, |view| {
                if let Some(next) = mapped(&view.mappings, write) {
                    view.mappings = next.into();
                }
            });
        }
    }

    fn put_asked(&mut self, write: &AskedWrite) {
        let operation = write.operation();
        let known = self.asked.get(operation);
        let next = match write {
            AskedWrite::New(it) => known.is_none().then(|| Arc::clone(it)),
            AskedWrite::Move { to, at, .. } => {
                known.filter(|it| it.state.may_become(*to)).map(|it| Arc::new(it.moved(*to, *at)))
            }
            AskedWrite::Forget(_) => return drop(self.asked.remove(operation)),
        };
        if let Some(next) = next {
            self.asked.insert(Arc::clone(operation), next);
        }
    }

    fn put_subscription(&mut self, subscription: &Subscription) {
        let id = subscription.id;
        let before = self.subscriptions.insert(id, Arc::new(subscription.clone()));
        let before = before.and_then(|it| it.beneficiary.tenant_id());
        let after = subscription.beneficiary.tenant_id();
        if before == after {
            return;
        }
        if let Some(tenant) = before {
            let left = self.subscriptions_of(tenant).map(|it| it.id).filter(|it| *it != id);
            let left: Arc<[SubscriptionId]> = left.collect();
            self.by_tenant.insert(tenant, left);
        }
        if let Some(tenant) = after {
            let ids: Arc<[SubscriptionId]> =
                self.subscriptions_of(tenant).map(|it| it.id).chain([id]).collect();
            self.by_tenant.insert(tenant, ids);
        }
    }

    fn change_tenant(&mut self, id: TenantId, change: impl FnOnce(&mut TenantView)) {
        let unread = || Arc::new(TenantView::unread(Tenant::heard_of(id, None)));
        let view = self.tenants.entry(id).or_insert_with(unread);
        change(Arc::make_mut(view));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Party, RawRecord, SubscriptionStatus};
    use uuid::Uuid;

    fn subscription(id: u128, tenant: u128) -> Subscription {
        let party = Party { tenant: Some(Uuid::from_u128(tenant)), user: None };
        Subscription {
            id: SubscriptionId::from_uuid(Uuid::from_u128(id)),
            plan: "q".into(),
            status: SubscriptionStatus::Subscribed,
            beneficiary: party,
            purchaser: party,
            ..Subscription::sample()
        }
    }

    #[test]
    fn a_subscription_is_found_by_the_tenant_it_last_named() {
        let put = |mirror: Mirror, id, tenant| {
            let subscriptions = vec![(subscription(id, tenant), RawRecord::from("{}"))];
            mirror.applied(&Commit { subscriptions, ..Commit::default() })
        };
        let mirror = put(put(put(Mirror::default(), 1, 10), 2, 10), 1, 11);
        let of = |tenant| {
            let tenant = TenantId::from_uuid(Uuid::from_u128(tenant)).unwrap();
            mirror.subscriptions_of(tenant).map(|it| it.id.as_uuid().as_u128()).collect::<Vec<_>>()
        };
        assert_eq!((of(10), of(11), of(12)), (vec![2], vec![1], vec![]));
    }

    #[test]
    fn the_tenant_of_all_personal_accounts_is_no_key() {
        let personal = TenantId::PERSONAL_ACCOUNTS.as_u128();
        let subscriptions = vec![(subscription(1, personal), RawRecord::from("{}"))];
        let mirror = Mirror::default().applied(&Commit { subscriptions, ..Commit::default() });
        assert_eq!((mirror.subscription_count(), mirror.by_tenant.len()), (1, 0));
    }
}
