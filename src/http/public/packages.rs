//! Licenses that are shown without a sign-in: carried by a package, or typed. What is guessed here
//! is limited.

use std::net::IpAddr;
use std::time::Instant;

use aws_lc_rs::digest::{SHA256, digest};
use quick_cache::sync::Cache;

use super::Public;
use super::question::Asked;
use crate::decision::{Decision, Reason};
use crate::domain::{LicenseId, ProductId};
use crate::http::problem::Problem;
use crate::tokens::{self, PublicKey};

/// Packages whose signature held, by their SHA-256: each visual on each page shows its own again.
pub(super) struct KnownPackages(Cache<[u8; 32], (ProductId, LicenseId)>);

/// So many packages are remembered; each is some hundred bytes.
const PACKAGES: usize = 4_096;

impl KnownPackages {
    pub(super) fn new() -> Self {
        Self(Cache::new(PACKAGES))
    }
}

impl Public {
    /// The license that a package of this product carries, if we signed it. Keys that signed packages
    /// are never forgotten, so what held once holds.
    pub(super) fn carried_by(&self, package: &str, product: &ProductId) -> Option<LicenseId> {
        let hash = sha256(package);
        let (of, license) = self.packages.0.get(&hash).or_else(|| {
            let found = tokens::verify_package(package, &self.package_keys()).ok()?;
            let known = (found.product, found.license.parse().ok()?);
            self.packages.0.insert(hash, known.clone());
            Some(known)
        })?;
        (of == *product).then_some(license)
    }

    fn package_keys(&self) -> Vec<PublicKey> {
        let keys = self.store.keys().list().into_iter().filter(|it| it.signed_packages);
        keys.map(|it| PublicKey { kid: it.kid, x: it.public.0, y: it.public.1 }).collect()
    }

    /// What guesses at a license are counted by: its id as it would be read, or as it was typed.
    pub(super) fn digest_of_guess(&self, id: &str) -> [u8; 32] {
        let read = id.parse::<LicenseId>();
        self.store
            .keyed("guess", read.map_or_else(|_none| id.to_owned(), |it| it.to_string()).as_bytes())
    }

    /// Whether a license that was typed or carried is looked at: not once too many were wrong.
    pub(super) fn may_show(&self, asked: &Asked, ip: IpAddr) -> Result<(), Problem> {
        let Some(guess) = asked.typed else { return Ok(()) };
        self.limiters.may_show(guess, ip, Instant::now()).map_err(|it| self.limited(it))
    }

    /// Counts a license that was not recognized; the one that goes over the limit of its address is
    /// told so.
    pub(super) fn note_shown(
        &self,
        asked: &Asked,
        decision: &Decision,
        ip: IpAddr,
    ) -> Result<(), Problem> {
        if decision.reason != Reason::LicenseNotRecognized {
            return Ok(());
        }
        if let Some(guess) = asked.typed {
            self.limiters.failed_to_show(guess, ip, Instant::now());
        }
        self.limiters.wrong(ip).map_err(|it| self.limited(it))
    }
}

fn sha256(text: &str) -> [u8; 32] {
    digest(&SHA256, text.as_bytes()).as_ref().try_into().unwrap_or_default()
}
