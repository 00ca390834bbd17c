//! What two mirrors say, and what one of them no longer says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::tenant::tenant_id;
use crate::domain::{Mirror, Sku, SkuId, TenantView, UserId, UserLicences};

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

/// Whoever holds something and is taken for one who does not: though records about him, or about what
/// he holds, may not have been understood.
pub(super) fn overlooked(mirror: &Mirror, index: usize, truth: &Holdings) -> Result<(), String> {
    let view = mirror.tenant(tenant_id(index)).ok_or("no such tenant")?;
    let counts = |(user, sku): &(UserId, SkuId)| {
        let has = view.users.get(*user).unwrap_or_default();
        has.unread || has.licences.iter().any(|it| it.assigned && it.sku == *sku)
    };
    match assigned(truth).into_iter().find(|it| !counts(it)) {
        Some((user, sku)) => Err(format!("{user} holds {sku} and counts as one who does not")),
        None => Ok(()),
    }
}

/// What of a tenant is not as Microsoft has it.
pub(super) fn differs(view: &TenantView, truth: &Holdings, skus: &[Sku]) -> Result<(), String> {
    let has = holdings(view);
    if has != *truth {
        return Err(format!("mirror {has:?}\n truth {truth:?}"));
    }
    if *view.skus == *skus { Ok(()) } else { Err(format!("SKUs {:?}", view.skus)) }
}

/// Whether two mirrors say the same of every tenant.
pub(super) fn same(one: &Mirror, other: &Mirror) -> bool {
    let of = |it: &Arc<TenantView>| (it.directory.clone(), Arc::clone(&it.skus), holdings(it));
    one.tenants().map(of).eq(other.tenants().map(of))
}
