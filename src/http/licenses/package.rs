//! The token that is built into a package.

use std::sync::Arc;

use jiff::Timestamp;

use super::{Order, unknown};
use crate::domain::{Catalog, Change, Channel, Commit, License, LicenseId, Mirror, Packaged};
use crate::http::problem::Problem;
use crate::store::Store;
use crate::tokens::{Package, Signer};

/// Signs the token of a license's package, with a key that is kept from now on. The journal has it
/// before anybody has the token, and until when it works: so long a revocation is told.
///
/// Source: contract section 4, `licenses package`; `visuals-and-isv.md` section 1.7: a package works
/// offline while its next payment date lies ahead.
pub(in crate::http) async fn package(
    store: &Store,
    catalog: &Catalog,
    issuer: &str,
    id: LicenseId,
    order: Order,
) -> Result<String, Problem> {
    packable(&store.mirror(), id, order.now)?;
    let keys = store.clone();
    let key = tokio::task::spawn_blocking(move || keys.keys().for_packages()).await;
    let key = key.map_err(|error| Problem::internal("no key was found").because(error))?;
    let key = key.map_err(Problem::unwritten)?;
    let secret = store.keys().pseudonym_secret();
    let unsigned = || Problem::internal("the package cannot be signed");
    let signer = Signer::new(&key.kid, &key.pkcs8, issuer, &secret);
    let signer = signer.map_err(|error| unsigned().because(error))?;

    let now = order.now;
    let noted = store.decide(move |mirror| match packable(mirror, id, now) {
        Ok(license) => (Some(noted(mirror, &license, order)), Ok(license)),
        Err(refused) => (None, Err(refused)),
    });
    let license = noted.await.map_err(Problem::unwritten)??;

    let product = catalog.product(license.product.as_str());
    let features = product.and_then(|it| it.features.get(&Channel::Direct));
    let carried = Package { product: license.product.clone(), license: id.as_str().into() };
    let features = features.iter().flat_map(|it| it.iter()).map(|it| &**it);
    let (kind, until) = (license.kind.as_str(), license.paid_until());
    let token = signer.package(&carried, kind, features, now, until);
    token.map_err(|error| unsigned().because(error))
}

/// The license, if a package of it would be worth anything.
fn packable(mirror: &Mirror, id: LicenseId, now: Timestamp) -> Result<Arc<License>, Problem> {
    let license = mirror.licenses().license(id).ok_or_else(unknown)?;
    let over = license.paid_until().is_some_and(|it| it <= now);
    let why = if license.revoked_at.is_some() {
        "this license was revoked: issue a new one"
    } else if license.suspended_at.is_some() {
        "this license is suspended, and a package would work offline all the same: reinstate it \
         first, then build its package"
    } else if over {
        "the paid time of this license is over: renew it first, then build its package"
    } else {
        return Ok(Arc::clone(license));
    };
    Err(Problem::conflict(why))
}

fn noted(mirror: &Mirror, license: &License, order: Order) -> Commit {
    let until = license.paid_until();
    let before = mirror.licenses().packaged(license.id);
    let packaged = before.map_or(Packaged { until }, |it| it.and(until));
    let end = until.map_or_else(|| "for ever".to_owned(), |it| format!("until {it}"));
    let words = format!("a package was signed, which works offline {end}");
    let change = Change::noted_of_license(order.now, order.cause, license.id, words);
    let packaged = vec![(license.id, packaged)];
    Commit { packaged, changes: vec![change], ..Commit::default() }
}
