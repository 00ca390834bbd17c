//! A license whose id or key leaked gets new ones; and a tenant that was bound is let go.

use serde_json::Value;

use super::{NewKey, Order, answered, rows, unknown};
use crate::domain::{
    Activation, ActivationId, ActivationWrite, Change, Commit, License, LicenseId, Policy,
};
use crate::http::problem::Problem;
use crate::store::Store;

/// Issues a license anew: everything it was sold with and the tenants that are bound to it go over to
/// a new id and a new activation key, and the old ones are revoked. Users take their places again as
/// they come. Repeated under its idempotency key it is done once, and the key is the same again.
pub(in crate::http) async fn reissue(
    store: &Store,
    policy: &Policy,
    id: LicenseId,
    order: Order,
) -> Result<Value, Problem> {
    let Order { cause, repeat, now } = order;
    let new_id = store.new_license_id().map_err(Problem::unwritten)?;
    let (repeat, secret) = repeat.unzip();
    let key = NewKey::draw(store, secret)?;
    let (key_hash, policy) = (store.hash_key(&key.of(new_id)), policy.clone());
    let done = store.decide_once(repeat, now, move |mirror| {
        let book = mirror.licenses();
        let old = book.license(id).ok_or_else(unknown)?;
        if old.revoked_at.is_some() {
            let detail = "this license was revoked and stays so: issue a new one";
            return Err(Problem::conflict(detail));
        }
        let new = License { id: new_id, key_hash: Some(key_hash), ..old.as_ref().clone() };
        let ended = License { revoked_at: Some(now), ..old.as_ref().clone() };
        let mut changes = vec![
            Change::of_license(now, cause.clone(), None, Some(old), &ended),
            Change::of_license(now, cause.clone(), None, None, &new),
        ];
        let mut activations = Vec::new();
        for before in book.activations_of(id) {
            let after = Activation { license: new_id, ..before.as_ref().clone() };
            changes.push(Change::of_activation(now, cause.clone(), Some(before), Some(&after)));
            activations.push(ActivationWrite::Put(after));
        }
        let row = rows::license(book, &new, &policy, now);
        let licenses = vec![ended, new];
        let commit = Commit { licenses, activations, changes, ..Commit::default() };
        Ok((Some(commit), serde_json::to_vec(&row).unwrap_or_default()))
    });
    let mut row = key.shown_in(answered(done.await)?);
    if let Value::Object(row) = &mut row {
        row.insert("replaces".to_owned(), id.as_str().into());
    }
    Ok(row)
}

/// Lets a tenant go: its place is free for another one. Again it is not there, unless it is the same
/// request by its idempotency key.
pub(in crate::http) async fn unbind(
    store: &Store,
    id: ActivationId,
    order: Order,
) -> Result<Value, Problem> {
    let Order { cause, repeat, now } = order;
    let repeat = repeat.map(|(it, _)| it);
    let done = store.decide_once(repeat, now, move |mirror| {
        let it = mirror.licenses().activation(id).ok_or_else(|| {
            let detail = "there is no activation of this id: `entitled activations list` has them";
            Problem::not_found(detail)
        })?;
        let change = Change::of_activation(now, cause, Some(it), None);
        let activations = vec![ActivationWrite::Remove(id)];
        let commit = Commit { activations, changes: vec![change], ..Commit::default() };
        Ok((Some(commit), serde_json::to_vec(&rows::activation(it)).unwrap_or_default()))
    });
    answered(done.await)
}
