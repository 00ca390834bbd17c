//! What is kept in buckets beside the users' licences, on its way to disk and back: members of
//! groups, uses under pseudonyms; and the days of each SKU.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::StoreError;
use super::layout::{self, Key, Kind, Table};
use super::load::Parts;
use super::plan::Plan;
use super::record::{self, CountV1, GroupV1, GroupsV1, SeriesV1};
use crate::domain::{
    Commit, Group, GroupId, Groups, Members, Mirror, ProductId, SeriesWrite, SkuId, TenantId,
    UseTable,
};

impl Plan {
    /// What became of groups, uses and series is the mirror's to say.
    pub(super) fn grouped(
        &mut self,
        commits: &[Commit],
        before: &Mirror,
        after: &Mirror,
    ) -> Result<(), StoreError> {
        let tenants: BTreeSet<TenantId> =
            commits.iter().flat_map(|it| &it.groups).map(|it| it.0).collect();
        for tenant in tenants {
            self.groups(tenant, before, after)?;
        }
        let used: BTreeSet<(TenantId, ProductId)> = commits
            .iter()
            .flat_map(|it| &it.uses)
            .map(|it| (it.tenant, it.product.clone()))
            .collect();
        for (tenant, product) in used {
            self.uses(tenant, &product, before, after)?;
        }
        let series: BTreeSet<(TenantId, SkuId)> =
            commits.iter().flat_map(|it| &it.series).map(|it| (it.tenant, it.sku)).collect();
        for (tenant, sku) in series {
            let record = after.series(tenant, sku).map(SeriesV1::from);
            let payload = record.as_ref().map(record::encode).transpose()?;
            self.set(
                Table::Facts,
                layout::series(tenant, sku),
                Kind::Uses,
                payload.map(Into::into),
            );
        }
        Ok(())
    }

    fn groups(
        &mut self,
        tenant: TenantId,
        before: &Mirror,
        after: &Mirror,
    ) -> Result<(), StoreError> {
        let none = Arc::new(Groups::default());
        let (old, new) = (
            before.tenant(tenant).map_or(&none, |it| &it.groups),
            after.tenant(tenant).map_or(&none, |it| &it.groups),
        );
        let facts = Table::Facts;
        let record = GroupsV1::from(&**new);
        self.put(facts, layout::groups(tenant), Kind::Groups, &record)?;
        for (id, group) in &new.groups {
            let was = old.get(*id);
            if was.is_some_and(|was| Arc::ptr_eq(was, group) || was == group) {
                continue;
            }
            let record = GroupV1::from(&**group);
            self.put(facts, layout::group(tenant, *id), Kind::Groups, &record)?;
            let old = was.map_or(&[][..], |it| it.members.buckets());
            let key = |number| layout::members(tenant, *id, number);
            self.table(Kind::Groups, key, old, group.members.buckets());
        }
        for (id, group) in old.groups.iter().filter(|(id, _)| new.get(**id).is_none()) {
            self.set(facts, layout::group(tenant, *id), Kind::Groups, None);
            let key = |number| layout::members(tenant, *id, number);
            self.table(Kind::Groups, key, group.members.buckets(), &[]);
        }
        Ok(())
    }

    fn uses(
        &mut self,
        tenant: TenantId,
        product: &ProductId,
        before: &Mirror,
        after: &Mirror,
    ) -> Result<(), StoreError> {
        let (old, new) = (before.uses(tenant, product), after.uses(tenant, product));
        let count = |it: &UseTable| CountV1::of(it.buckets().len(), it.len());
        if old.map(count) != new.map(count) {
            let payload = new.map(count).as_ref().map(record::encode).transpose()?;
            let key = layout::uses(tenant, product);
            self.set(Table::Facts, key, Kind::Uses, payload.map(Into::into));
        }
        let buckets =
            |it: Option<&UseTable>| it.map(|it| it.buckets().to_vec()).unwrap_or_default();
        let key = |number| layout::use_bucket(tenant, product, number);
        self.table(Kind::Uses, key, &buckets(old), &buckets(new));
        Ok(())
    }

    /// The buckets that differ. An empty one has no record.
    fn table(
        &mut self,
        kind: Kind,
        key: impl Fn(usize) -> Key,
        old: &[Arc<[u8]>],
        new: &[Arc<[u8]>],
    ) {
        let empty: Arc<[u8]> = Arc::from([]);
        for number in 0..old.len().max(new.len()) {
            let (was, is) = (old.get(number).unwrap_or(&empty), new.get(number).unwrap_or(&empty));
            if !Arc::ptr_eq(was, is) && was != is {
                let payload = (!is.is_empty()).then(|| Arc::clone(is));
                self.set(Table::Facts, key(number), kind, payload);
            }
        }
    }
}

/// Every tenant's groups as if no member had been read yet: what an export held may be days old.
pub(super) fn without_cursors(mirror: &Mirror) -> Vec<(TenantId, Arc<Groups>)> {
    let read = mirror.tenants().filter(|it| !it.groups.feeds.is_empty());
    let forgotten = read.map(|it| {
        let groups = Groups { feeds: Vec::new(), ..it.groups.as_ref().clone() };
        (it.tenant.id, Arc::new(groups))
    });
    forgotten.collect()
}

/// Who used which product where.
type Tables = Vec<((TenantId, ProductId), UseTable)>;

type Buckets = Vec<(usize, Arc<[u8]>)>;

/// The same, as it comes by.
#[derive(Default)]
pub(super) struct Grouped {
    tenants: BTreeMap<TenantId, Groups>,
    groups: BTreeMap<(TenantId, GroupId), GroupV1>,
    members: BTreeMap<(TenantId, GroupId), Buckets>,
    uses: BTreeMap<(TenantId, ProductId), CountV1>,
    used: BTreeMap<(TenantId, ProductId), Buckets>,
    series: Vec<SeriesWrite>,
}

impl Grouped {
    /// Takes in one record.
    pub(super) fn take(
        &mut self,
        key: &[u8],
        kind: Kind,
        payload: &[u8],
    ) -> Result<(), StoreError> {
        let mut parts = Parts(key).skip(1)?;
        let tenant = parts.tenant()?;
        let part = parts.byte()?;
        match (kind, part) {
            (Kind::Groups, layout::WHOLE) => {
                let it = record::decode::<GroupsV1>(kind, payload)?.try_into()?;
                self.tenants.insert(tenant, it);
            }
            (Kind::Groups, layout::ONE) => {
                let id = (tenant, GroupId::from_uuid(parts.uuid()?));
                self.groups.insert(id, record::decode(kind, payload)?);
            }
            (Kind::Groups, layout::BUCKET) => {
                let id = (tenant, GroupId::from_uuid(parts.uuid()?));
                self.members.entry(id).or_default().push((parts.number()?, payload.into()));
            }
            (Kind::Uses, layout::WHOLE) => {
                self.uses.insert((tenant, parts.product()?), record::decode(kind, payload)?);
            }
            (Kind::Uses, layout::BUCKET) => {
                let product = parts.product()?;
                let bucket = (parts.number()?, payload.into());
                self.used.entry((tenant, product)).or_default().push(bucket);
            }
            (Kind::Uses, layout::ONE) => {
                let sku = SkuId::from_uuid(parts.uuid()?);
                let series = record::decode::<SeriesV1>(kind, payload)?.into();
                self.series.push(SeriesWrite { tenant, sku, series });
            }
            _ => return Err(StoreError::damaged(format!("a {kind:?} record of no known part"))),
        }
        Ok(())
    }

    /// What a commit says of it.
    pub(super) fn commit(&mut self, commit: &mut Commit) -> Result<(), StoreError> {
        for ((tenant, id), record) in std::mem::take(&mut self.groups) {
            let buckets = self.members.remove(&(tenant, id)).unwrap_or_default();
            let count = record.members;
            let members = Members::from_buckets(filled(count, buckets)?);
            let members = members.map_err(|_bad| wrong("cannot be read"))?;
            counted(count, members.entries())?;
            let group: Group = record.with(id, members)?;
            self.tenants.entry(tenant).or_default().groups.insert(id, Arc::new(group));
        }
        if !self.members.is_empty() {
            return Err(wrong("have no count"));
        }
        let groups = std::mem::take(&mut self.tenants).into_iter();
        commit.groups.extend(groups.map(|(tenant, it)| (tenant, Arc::new(it))));
        commit.series.append(&mut self.series);
        Ok(())
    }

    /// Who used what.
    pub(super) fn tables(&mut self) -> Result<Tables, StoreError> {
        let mut tables = Vec::new();
        for (key, count) in std::mem::take(&mut self.uses) {
            let buckets = self.used.remove(&key).unwrap_or_default();
            let table = UseTable::from_buckets(filled(count, buckets)?);
            let table = table.map_err(|_bad| wrong("cannot be read"))?;
            counted(count, table.len())?;
            tables.push((key, table));
        }
        if self.used.is_empty() { Ok(tables) } else { Err(wrong("have no count")) }
    }
}

fn wrong(what: &str) -> StoreError {
    StoreError::damaged(format!("the members of a group, or the uses of a product, {what}"))
}

fn counted(count: CountV1, found: usize) -> Result<(), StoreError> {
    let same = u64::try_from(found) == Ok(count.entries);
    if same { Ok(()) } else { Err(wrong("are not as many as were written")) }
}

/// All buckets, those without a record empty.
fn filled(count: CountV1, buckets: Buckets) -> Result<Vec<Arc<[u8]>>, StoreError> {
    let number = usize::try_from(count.buckets).ok().filter(|it| *it <= 1 << 24);
    let mut all = vec![Arc::from([]); number.ok_or_else(|| wrong("have far too many buckets"))?];
    for (number, bytes) in buckets {
        *all.get_mut(number).ok_or_else(|| wrong("have a bucket too many"))? = bytes;
    }
    Ok(all)
}
