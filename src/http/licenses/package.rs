//! The token that is built into a package.

use jiff::Timestamp;

use super::unknown;
use crate::domain::{Catalog, Channel, License, LicenseId};
use crate::http::problem::Problem;
use crate::store::Store;
use crate::tokens::{Package, Signer};

/// Signs the token of a license's package, with a key that is kept from now on.
///
/// Source: contract section 4, `licenses package`; `visuals-and-isv.md` section 1.7: a package works
/// offline while its next payment date lies ahead.
pub(in crate::http) async fn package(
    store: &Store,
    catalog: &Catalog,
    issuer: &str,
    (id, now): (LicenseId, Timestamp),
) -> Result<String, Problem> {
    let license = store.mirror().licenses().license(id).cloned().ok_or_else(unknown)?;
    let until = next_payment(&license);
    if license.revoked_at.is_some() {
        return Err(Problem::conflict("this license was revoked: issue a new one"));
    }
    if until.is_some_and(|it| it <= now) {
        let detail =
            "the paid time of this license is over: renew it first, then build its package";
        return Err(Problem::conflict(detail));
    }
    let product = catalog.product(license.product.as_str());
    let features = product.and_then(|it| it.features.get(&Channel::Direct));
    let keys = store.clone();
    let key = tokio::task::spawn_blocking(move || keys.keys().for_packages()).await;
    let key = key.map_err(|error| Problem::internal("no key was found").because(error))?;
    let key = key.map_err(Problem::unwritten)?;
    let secret = store.keys().pseudonym_secret();
    let unsigned = || Problem::internal("the package cannot be signed");
    let signer = Signer::new(&key.kid, &key.pkcs8, issuer, &secret);
    let signer = signer.map_err(|error| unsigned().because(error))?;
    let carried = Package { product: license.product.clone(), license: id.as_str().into() };
    let features = features.iter().flat_map(|it| it.iter()).map(|it| &**it);
    let token = signer.package(&carried, license.kind.as_str(), features, now, until);
    token.map_err(|error| unsigned().because(error))
}

/// Until when it works offline: what is paid, or else its trial.
fn next_payment(license: &License) -> Option<Timestamp> {
    if license.paid_at.is_some() { license.period_end } else { license.trial_end }
}
