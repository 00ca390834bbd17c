//! A license whose id or key leaked gets new ones; and a tenant that was bound is let go.

use serde_json::Value;

use super::{Order, rows, unknown};
use crate::domain::{
    Activation, ActivationId, ActivationWrite, Change, Commit, License, LicenseId, Policy,
};
use crate::http::problem::Problem;
use crate::store::Store;

/// Issues a license anew: everything it was sold with and the tenants that are bound to it go over to
/// a new id and a new activation key, and the old ones are revoked. Users take their places again as
/// they come.
pub(in crate::http) async fn reissue(
    store: &Store,
    policy: &Policy,
    id: LicenseId,
    order: Order,
) -> Result<Value, Problem> {
    let Order { cause, now, .. } = order;
    let new_id = store.new_license_id().map_err(Problem::unwritten)?;
    let key = store.new_activation_key().map_err(Problem::unwritten)?;
    let (key_hash, policy) = (store.hash_key(&key), policy.clone());
    let decided = store.decide(move |mirror| {
        let book = mirror.licenses();
        let Some(old) = book.license(id) else { return (None, Err(unknown())) };
        if old.revoked_at.is_some() {
            let detail = "this license was revoked and stays so: issue a new one";
            return (None, Err(Problem::conflict(detail)));
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
        (Some(Commit { licenses, activations, changes, ..Commit::default() }), Ok(row))
    });
    let mut row = decided.await.map_err(Problem::unwritten)??;
    if let Value::Object(row) = &mut row {
        row.insert("replaces".to_owned(), id.as_str().into());
        row.insert("key".to_owned(), key.expose().into());
    }
    Ok(row)
}

/// Lets a tenant go: its place is free for another one. Again it is not there.
pub(in crate::http) async fn unbind(
    store: &Store,
    id: ActivationId,
    order: Order,
) -> Result<Value, Problem> {
    let Order { cause, now, .. } = order;
    let decided = store.decide(move |mirror| {
        let Some(it) = mirror.licenses().activation(id) else {
            let detail = "there is no activation of this id: `entitled activations list` has them";
            return (None, Err(Problem::not_found(detail)));
        };
        let change = Change::of_activation(now, cause, Some(it), None);
        let activations = vec![ActivationWrite::Remove(id)];
        let commit = Commit { activations, changes: vec![change], ..Commit::default() };
        (Some(commit), Ok(rows::activation(it)))
    });
    decided.await.map_err(Problem::unwritten)?
}
