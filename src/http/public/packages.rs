//! Licenses that are shown by somebody without a caller's key: carried by a package, or typed. How often
//! one is shown is limited, and how often it is guessed at.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{Context, SHA256, digest};
use quick_cache::sync::Cache;

use super::question::Asked;
use super::{Public, grid};
use crate::decision::{Decision, Reason};
use crate::domain::{Host, LicenseId, ProductId};
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

/// Somebody who shows a license and is nobody we know.
#[derive(Clone, Copy)]
pub(super) struct Stranger {
    /// From where he asks.
    pub(super) ip: IpAddr,
    /// When his request came in.
    pub(super) came: Instant,
}

/// What he showed that is no package of ours: he may be guessing.
pub(super) struct Guess {
    /// A digest of the license id that was typed, as it would be read.
    id: Option<[u8; 32]>,
    /// A digest of all that was shown.
    whole: [u8; 32],
}

/// Wrong guesses, and when each was counted: at an address, and from wherever.
pub(super) struct CountedGuesses(Cache<([u8; 32], Option<IpAddr>), Instant>);

/// So many of them are remembered; each is some hundred bytes. One that is forgotten counts again.
const GUESSES: usize = 32_768;

/// For so long the same is no other guess: what was mistyped in a report is shown by everybody who
/// opens it, in the office and at home, and again by each of his visuals.
const SAME_FOR: Duration = Duration::from_mins(1);

impl CountedGuesses {
    pub(super) fn new() -> Self {
        Self(Cache::new(GUESSES))
    }

    fn is_new(&self, guess: &Guess, at: Option<IpAddr>, now: Instant) -> bool {
        let key = (guess.whole, at);
        let lately = |at: Instant| now.saturating_duration_since(at) < SAME_FOR;
        let is_new = !self.0.get(&key).is_some_and(lately);
        if is_new {
            self.0.insert(key, now);
        }
        is_new
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

    /// What was shown, to be counted by should it be wrong: id and licensee, or a package.
    pub(super) fn guess(&self, typed: Option<(&str, &str)>, package: &str) -> Guess {
        let id = typed.map(|(id, _)| {
            let read = id.parse::<LicenseId>();
            let text = read.map_or_else(|_none| id.to_owned(), |it| it.to_string());
            self.digests.guess.of(text.as_bytes())
        });
        let mut whole = Context::new(&SHA256);
        for part in [id.unwrap_or_default().as_slice(), package.as_bytes(), b"\0"] {
            whole.update(part);
        }
        whole.update(typed.map_or("", |(_, licensee)| licensee).as_bytes());
        Guess { id, whole: whole.finish().as_ref().try_into().unwrap_or_default() }
    }

    /// Whether a license that was typed or carried is looked at: not once too many guesses at it were
    /// wrong, nor where it is shown too often. Whether there is one makes no difference.
    pub(super) fn may_show(&self, asked: &Asked, from: Stranger) -> Result<(), Problem> {
        let guessed = asked.guess.as_ref().and_then(|it| it.id);
        if let Some(id) = guessed {
            let may = self.limiters.may_show(id, from.ip, Instant::now());
            may.map_err(|it| self.limited(it))?;
        }
        let Some((id, _)) = &asked.license else { return Ok(()) };
        let public = asked.host == Host::PublishToWeb;
        let may =
            if public { self.limiters.public_license(*id) } else { self.limiters.license(*id) };
        may.map_err(|it| self.limited(it))
    }

    /// Counts what was shown and not recognized, whatever else decided; the one that goes over the
    /// limit of its address is told so. What was typed in vain waits here, so that it leaves when all
    /// such do.
    pub(super) async fn note_shown(
        &self,
        asked: &Asked,
        decision: &Decision,
        from: Stranger,
    ) -> Result<(), Problem> {
        let Some(guess) = &asked.guess else { return Ok(()) };
        let wrong = match guess.id {
            Some(_) => decision.license_refused,
            // A package that does not hold opens nothing: beside a right it does no harm.
            None => decision.reason == Reason::LicenseNotRecognized,
        };
        if !wrong {
            return Ok(());
        }
        let limited = self.count(guess, from.ip, Instant::now());
        if guess.id.is_some() {
            grid::refused(from.came).await;
        }
        limited
    }

    fn count(&self, guess: &Guess, ip: IpAddr, now: Instant) -> Result<(), Problem> {
        if !self.guesses.is_new(guess, Some(ip), now) {
            return Ok(());
        }
        if let Some(id) = guess.id {
            let new = self.guesses.is_new(guess, None, now);
            self.limiters.failed_to_show(id, ip, new, now);
        }
        self.limiters.wrong(ip).map_err(|it| self.limited(it))
    }
}

fn sha256(text: &str) -> [u8; 32] {
    digest(&SHA256, text.as_bytes()).as_ref().try_into().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_guess_counts_once_a_minute_at_an_address_and_once_from_everywhere() {
        let (counted, start) = (CountedGuesses::new(), Instant::now());
        let guess = |seed| Guess { id: None, whole: [seed; 32] };
        let [here, elsewhere] = [1, 2].map(|it| Some(IpAddr::from([198, 51, 100, it])));
        let after = |seconds| start + Duration::from_secs(seconds);
        assert!(counted.is_new(&guess(1), here, start));
        assert!(!counted.is_new(&guess(1), here, after(59)));
        assert!(counted.is_new(&guess(2), here, after(59)), "another guess");
        assert!(counted.is_new(&guess(1), elsewhere, after(59)), "at another address");
        assert!(counted.is_new(&guess(1), None, start), "from wherever it came");
        assert!(!counted.is_new(&guess(1), None, after(59)));
        assert!(counted.is_new(&guess(1), here, after(60)), "counted from the first time on");
        assert!(!counted.is_new(&guess(1), here, after(61)));
    }
}
