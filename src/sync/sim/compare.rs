//! What two mirrors say, and what one of them no longer says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::tenant::tenant_id;
use crate::domain::{Mirror, SkuId, TenantView, UserId, UserLicences};

pub(super) type Holdings = BTreeMap<UserId, UserLicences>;

pub(super) fn holdings(view: &TenantView) -> Holdings {
    view.users.iter().collect()
}

/// Who holds what, however it came.
pub(super) fn assigned(holdings: &Holdings) -> BTreeSet<(UserId, SkuId)> {
    let of = |(user, it): (&UserId, &UserLicences)| {
        let held = it.licences.iter().filter(|it| it.assigned);
        held.map(|it| (*user, it.sku)).collect::<Vec<_>>()
    };
    holdings.iter().flat_map(of).collect()
}

/// How many licences of a tenant a mirror no longer has that it had and that are still there. One
/// whose SKU is not listed gives no right.
pub(super) fn lost(before: &Mirror, after: &Mirror, index: usize, truth: &Holdings) -> usize {
    let of = |mirror: &Mirror| {
        let view = mirror.tenant(tenant_id(index));
        let rights = view.map(|it| {
            let held = assigned(&holdings(it)).into_iter();
            held.filter(|(_, sku)| it.sku(*sku).is_some()).collect()
        });
        rights.unwrap_or_default()
    };
    let (before, after): (BTreeSet<_>, BTreeSet<_>) = (of(before), of(after));
    let truth = assigned(truth);
    before.difference(&after).filter(|it| truth.contains(it)).count()
}

/// Whether two mirrors say the same of every tenant.
pub(super) fn same(one: &Mirror, other: &Mirror) -> bool {
    let of = |it: &Arc<TenantView>| (it.directory.clone(), Arc::clone(&it.skus), holdings(it));
    one.tenants().map(of).eq(other.tenants().map(of))
}
