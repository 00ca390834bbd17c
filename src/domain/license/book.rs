//! All licenses of one moment, with their activations and users, indexed.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;
use std::str::FromStr;
use std::sync::Arc;

use imbl::{HashMap, OrdMap};
use jiff::{SignedDuration, Timestamp};

use super::super::product::words;
use super::super::{Commit, ProductId, TenantId, UnknownWord};
use super::anomaly::SEEN_FOR;
use super::{
    Activation, ActivationId, ActivationWrite, License, LicenseId, LicenseUsers, Packaged,
};

words!(
    /// What was seen of where a license is used: declared by a visual, which nobody can prove, or
    /// found at its request.
    SightedKind, "sighting" {
        /// A capacity that it ran on.
        Capacity = "capacity",
        /// A page that embedded it.
        Site = "site",
        /// A tenant whose user showed the license, by a pseudonym.
        Tenant = "tenant",
        /// An address from which it was shown, by a pseudonym.
        Address = "address",
    }
);

/// Something that was seen of where a license is used. Never a ground for an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighted {
    /// What.
    pub kind: SightedKind,
    /// As it said, shortened.
    pub text: Arc<str>,
    /// When.
    pub at: Timestamp,
}

/// How much newer a sighting must be before it is worth a write.
const NEWS_AFTER: SignedDuration = SignedDuration::from_hours(24);

/// What visuals declared, with when first and last.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Sightings(BTreeMap<(SightedKind, Arc<str>), (Timestamp, Timestamp)>);

impl Sightings {
    /// How many different ones of one kind are kept of a license; further ones are not while those
    /// were seen lately.
    pub const MOST: usize = 64;

    /// The longest text that is kept, in characters.
    pub const LONGEST: usize = 120;

    /// These ones.
    pub fn new(
        all: impl IntoIterator<Item = ((SightedKind, Arc<str>), (Timestamp, Timestamp))>,
    ) -> Self {
        Self(all.into_iter().collect())
    }

    /// All of them: what, when first, when last.
    pub fn iter(&self) -> impl Iterator<Item = (SightedKind, &Arc<str>, (Timestamp, Timestamp))> {
        self.0.iter().map(|((kind, text), times)| (*kind, text, *times))
    }

    /// Whether it is worth a write: it is new and there is room, or was seen longest a day ago.
    pub fn is_news(&self, it: &Sighted) -> bool {
        match self.0.get(&(it.kind, Arc::clone(&it.text))) {
            Some((_, last)) => it.at.duration_since(*last) >= NEWS_AFTER,
            None => self.lately(it.kind, it.at) < Self::MOST,
        }
    }

    /// How many different ones of a kind were seen in the seven days before.
    pub fn lately(&self, kind: SightedKind, now: Timestamp) -> usize {
        let of_kind = self.0.iter().filter(|((it, _), _)| *it == kind);
        of_kind.filter(|(_, (_, last))| now.duration_since(*last) <= SEEN_FOR).count()
    }

    pub(super) fn with(&self, it: &Sighted) -> Self {
        let mut next = self.clone();
        let times = next.0.entry((it.kind, Arc::clone(&it.text))).or_insert((it.at, it.at));
        *times = (times.0.min(it.at), times.1.max(it.at));
        let count = next.0.keys().filter(|(kind, _)| *kind == it.kind).count();
        for _ in Self::MOST..count {
            let of_kind = next.0.iter().filter(|((kind, _), _)| *kind == it.kind);
            let oldest = of_kind.min_by_key(|(_, (_, last))| *last);
            let Some(oldest) = oldest.map(|(key, _)| key.clone()) else { break };
            next.0.remove(&oldest);
        }
        next
    }
}

/// Who uses a license, in figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct LicenseCoverage {
    /// How many have a place now.
    pub now: u64,
    /// How many came in the last 28 days, as far as an unused place is kept for as long.
    pub last_28_days: u64,
    /// How many of those who have a place are anonymous: their count is only near the truth.
    pub anonymous: u64,
    /// Since when there are more than the maximum.
    pub over_since: Option<Timestamp>,
}

/// Where a list goes on.
fn behind<Id>(id: Option<Id>) -> Bound<Id> {
    id.map_or(Bound::Unbounded, Bound::Excluded)
}

/// All licenses of one moment. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct LicenseBook {
    licenses: OrdMap<LicenseId, Arc<License>>,
    by_key: HashMap<[u8; 32], LicenseId>,
    packaged: HashMap<LicenseId, Packaged>,
    activations: OrdMap<ActivationId, Arc<Activation>>,
    of_tenant: HashMap<TenantId, Arc<[ActivationId]>>,
    of_license: HashMap<LicenseId, Arc<[ActivationId]>>,
    users: HashMap<LicenseId, Arc<LicenseUsers>>,
    sighted: HashMap<LicenseId, Arc<Sightings>>,
    forgotten: bool,
}

impl LicenseBook {
    /// Whether there may have been others than these: only of a moment in the past that is not
    /// wholly on record.
    pub const fn is_forgotten(&self) -> bool {
        self.forgotten
    }

    pub(in crate::domain) const fn forget(&mut self) {
        self.forgotten = true;
    }

    /// The license of this id.
    pub fn license(&self, id: LicenseId) -> Option<&Arc<License>> {
        self.licenses.get(&id)
    }

    /// The license whose activation key has this hash.
    pub fn license_by_key(&self, hash: &[u8; 32]) -> Option<&Arc<License>> {
        self.license(*self.by_key.get(hash)?)
    }

    /// All licenses, by id.
    pub fn all(&self) -> impl Iterator<Item = &Arc<License>> {
        self.licenses.values()
    }

    /// Those behind this one, by id; without one all of them.
    pub fn all_after(&self, id: Option<LicenseId>) -> impl Iterator<Item = &Arc<License>> {
        self.licenses.range((behind(id), Bound::Unbounded)).map(|(_, it)| it)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.licenses.len()
    }

    /// Those of a product, by id.
    pub fn of_product(&self, product: &ProductId) -> impl Iterator<Item = &Arc<License>> {
        self.all().filter(move |it| it.product == *product)
    }

    /// The package of a license that works offline longest, if any was signed.
    pub fn packaged(&self, id: LicenseId) -> Option<Packaged> {
        self.packaged.get(&id).copied()
    }

    /// The activation of this id.
    pub fn activation(&self, id: ActivationId) -> Option<&Arc<Activation>> {
        self.activations.get(&id)
    }

    /// All activations, by id.
    pub fn activations(&self) -> impl Iterator<Item = &Arc<Activation>> {
        self.activations.values()
    }

    /// Those behind this one, by id; without one all of them.
    pub fn activations_after(
        &self,
        id: Option<ActivationId>,
    ) -> impl Iterator<Item = &Arc<Activation>> {
        self.activations.range((behind(id), Bound::Unbounded)).map(|(_, it)| it)
    }

    /// What this tenant is bound to, the oldest first.
    pub fn activations_of_tenant(
        &self,
        tenant: TenantId,
    ) -> impl Iterator<Item = &Arc<Activation>> {
        let ids = self.of_tenant.get(&tenant).map_or(&[][..], |it| it);
        ids.iter().filter_map(|id| self.activations.get(id))
    }

    /// Which tenants are bound to this license, the oldest first.
    pub fn activations_of(&self, license: LicenseId) -> impl Iterator<Item = &Arc<Activation>> {
        let ids = self.of_license.get(&license).map_or(&[][..], |it| it);
        ids.iter().filter_map(|id| self.activations.get(id))
    }

    /// The licenses that this tenant is bound to for this product.
    pub fn bound<'a>(
        &'a self,
        tenant: TenantId,
        product: &'a ProductId,
    ) -> impl Iterator<Item = &'a Arc<License>> {
        let licenses = self.activations_of_tenant(tenant).filter_map(|it| self.license(it.license));
        licenses.filter(move |it| it.product == *product)
    }

    /// Who uses a license.
    pub fn users(&self, id: LicenseId) -> Option<&Arc<LicenseUsers>> {
        self.users.get(&id)
    }

    /// All licenses that anybody uses.
    pub fn all_users(&self) -> impl Iterator<Item = (LicenseId, &Arc<LicenseUsers>)> {
        self.users.iter().map(|(id, it)| (*id, it))
    }

    /// Who uses a license, in figures.
    pub fn coverage(
        &self,
        it: &License,
        release_after: SignedDuration,
        now: Timestamp,
    ) -> LicenseCoverage {
        let Some(users) = self.users(it.id) else { return LicenseCoverage::default() };
        let month = now.saturating_sub(SignedDuration::from_hours(28 * 24)).unwrap_or(now);
        LicenseCoverage {
            now: users.in_use(release_after, now),
            last_28_days: users.used_since(month),
            anonymous: users.anonymous_in_use(release_after, now),
            over_since: it.max_users().and_then(|max| users.over_since(max, release_after, now)),
        }
    }

    /// What visuals declared of where they run by this license.
    pub fn sightings(&self, id: LicenseId) -> Option<&Arc<Sightings>> {
        self.sighted.get(&id)
    }

    /// All licenses of which anything was declared.
    pub fn all_sightings(&self) -> impl Iterator<Item = (LicenseId, &Arc<Sightings>)> {
        self.sighted.iter().map(|(id, it)| (*id, it))
    }

    /// Takes over what a commit says of licenses.
    pub(in crate::domain) fn apply(&mut self, commit: &Commit) {
        for it in &commit.licenses {
            self.put(it);
        }
        self.packaged.extend(commit.packaged.iter().copied());
        for it in &commit.activations {
            match it {
                ActivationWrite::Put(it) => self.bind(it),
                ActivationWrite::Remove(id) => self.unbind(*id),
            }
        }
        for (id, writes) in &commit.license_users {
            let next = self.users.get(id).map(|it| it.with(writes));
            self.set_users(*id, next.unwrap_or_else(|| LicenseUsers::default().with(writes)));
        }
        for (id, it) in &commit.sighted {
            let next = self.sighted.get(id).map(|all| all.with(it));
            let next = next.unwrap_or_else(|| Sightings::default().with(it));
            self.sighted.insert(*id, Arc::new(next));
        }
    }

    /// Takes over what was read from disk.
    pub(in crate::domain) fn set_users(&mut self, id: LicenseId, users: LicenseUsers) {
        if users.is_empty() {
            self.users.remove(&id);
        } else {
            self.users.insert(id, Arc::new(users));
        }
    }

    /// Takes over what was read from disk.
    pub(in crate::domain) fn set_sightings(&mut self, id: LicenseId, it: Sightings) {
        self.sighted.insert(id, Arc::new(it));
    }

    fn put(&mut self, it: &License) {
        let before = self.licenses.insert(it.id, Arc::new(it.clone()));
        let old = before.and_then(|it| it.key_hash);
        if let Some(hash) = old.filter(|hash| self.by_key.get(hash) == Some(&it.id)) {
            self.by_key.remove(&hash);
        }
        if let Some(hash) = it.key_hash {
            self.by_key.insert(hash, it.id);
        }
    }

    fn bind(&mut self, it: &Activation) {
        self.unbind(it.id);
        let put = |ids: Option<&Arc<[ActivationId]>>| -> Arc<[ActivationId]> {
            ids.iter().flat_map(|it| it.iter().copied()).chain([it.id]).collect()
        };
        if let Some(tenant) = it.tenant {
            let ids = put(self.of_tenant.get(&tenant));
            self.of_tenant.insert(tenant, ids);
        }
        let ids = put(self.of_license.get(&it.license));
        self.of_license.insert(it.license, ids);
        self.activations.insert(it.id, Arc::new(it.clone()));
        // Oldest first, also after they were read from disk in the order of their ids.
        let at = |all: &OrdMap<ActivationId, Arc<Activation>>, id: &ActivationId| {
            all.get(id).map(|it| (it.at, *id))
        };
        let lists = it.tenant.and_then(|tenant| self.of_tenant.get_mut(&tenant)).into_iter();
        for ids in lists.chain(self.of_license.get_mut(&it.license)) {
            let mut sorted = ids.to_vec();
            sorted.sort_by_key(|id| at(&self.activations, id));
            *ids = sorted.into();
        }
    }

    fn unbind(&mut self, id: ActivationId) {
        let Some(it) = self.activations.remove(&id) else { return };
        let without = |ids: &Arc<[ActivationId]>| -> Arc<[ActivationId]> {
            ids.iter().copied().filter(|it| *it != id).collect()
        };
        if let Some(ids) = it.tenant.and_then(|tenant| self.of_tenant.get_mut(&tenant)) {
            *ids = without(ids);
        }
        if let Some(ids) = self.of_license.get_mut(&it.license) {
            *ids = without(ids);
        }
    }
}
