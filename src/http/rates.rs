//! How often one address, tenant or caller may ask.

use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use axum::http::HeaderMap;
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota};

use super::failures::Failures;
use super::problem::Problem;
use crate::domain::{LicenseId, TenantId};

/// More entries than this in one table and those that would be allowed again anyway are dropped.
const ENTRIES_MAX: usize = 100_000;

/// After so many checks a table is looked at: not after each one, since a full table of entries
/// that have not recovered would make every request pay for a look at all of them.
const LOOK_EVERY: u32 = 1_024;

/// One allowance: so many at once, and as many again in that time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many at once.
    pub burst: NonZeroU32,
    /// In which time as many again may follow.
    pub per: Duration,
}

/// How often one tenant is looked at because somebody says that it has consented.
const CONSENTS: Rate =
    Rate { burst: NonZeroU32::MIN.saturating_add(1), per: Duration::from_mins(1) };

/// How often each may ask.
///
/// The defaults let a company of some thousand people start work at nine behind one address:
/// everybody opens a report, every report asks once or a few times. They are there against
/// runaway clients, not against load: an answer costs some tens of microseconds. Contract section
/// 5 for wrong keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rates {
    /// One address, whatever it asks, unless it shows a caller's key.
    pub address: Rate,
    /// All users of one tenant together.
    pub tenant: Rate,
    /// One caller key.
    pub caller: Rate,
    /// One license that is shown by somebody without a caller's key, by all of them together.
    pub license: Rate,
    /// The same on pages that are published to the web: everybody may look at those.
    pub public_license: Rate,
    /// Wrong keys, unknown license ids and bad packages from one address.
    pub wrong: Rate,
    /// Activation keys that are not accepted, of one tenant at one address; likewise wrong licensees
    /// of one license id at one address. Whoever is over it is not judged.
    pub guesses: Rate,
    /// The same of one tenant or license id, from wherever.
    pub guesses_anywhere: Rate,
}

impl Default for Rates {
    fn default() -> Self {
        let rate = |burst, per_s| Rate {
            burst: NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN),
            per: Duration::from_secs(per_s),
        };
        Self {
            address: rate(1_000, 1),
            tenant: rate(2_000, 1),
            // A caller is trusted: this only stops one that runs wild from taking all there is.
            caller: rate(50_000, 1),
            // As much as a tenant: a license is one company's. More than one address may ask, so that
            // no single one uses up what is a license's.
            license: rate(2_000, 1),
            public_license: rate(20_000, 1),
            wrong: rate(10, 60),
            guesses: rate(10, 60),
            guesses_anywhere: rate(300, 60),
        }
    }
}

/// The tables that keep count.
pub(super) struct Limiters {
    address: Table<IpAddr>,
    tenant: Table<TenantId>,
    caller: Table<usize>,
    license: Table<LicenseId>,
    public_license: Table<LicenseId>,
    wrong: Table<IpAddr>,
    consents: Table<TenantId>,
    activations: Guesses<TenantId>,
    licenses: Guesses<[u8; 32]>,
}

/// Failures at one thing: at one address, and from wherever.
struct Guesses<K> {
    here: Failures<(K, IpAddr)>,
    anywhere: Failures<K>,
}

impl<K: Copy + Eq + Hash> Guesses<K> {
    fn new(rule: &'static str, rates: &Rates) -> Self {
        Self {
            here: Failures::new(rule, rates.guesses),
            anywhere: Failures::new(rule, rates.guesses_anywhere),
        }
    }

    fn check(&self, at: K, ip: IpAddr, now: Instant) -> Result<(), Limited> {
        self.here.check(&(at, ip), now)?;
        self.anywhere.check(&at, now)
    }

    /// `new` says that the same did not fail elsewhere just now.
    fn count(&self, at: K, ip: IpAddr, new: bool, now: Instant) {
        self.here.count(&(at, ip), now);
        if new {
            self.anywhere.count(&at, now);
        }
    }
}

impl Limiters {
    pub(super) fn new(rates: &Rates) -> Self {
        Self {
            address: Table::new("address", rates.address),
            tenant: Table::new("tenant", rates.tenant),
            caller: Table::new("caller", rates.caller),
            license: Table::new("license_shown", rates.license),
            public_license: Table::new("public_license_shown", rates.public_license),
            wrong: Table::new("wrong", rates.wrong),
            consents: Table::new("consent", CONSENTS),
            activations: Guesses::new("activation", rates),
            licenses: Guesses::new("license", rates),
        }
    }

    pub(super) fn address(&self, ip: IpAddr) -> Result<(), Limited> {
        self.address.check(&ip)
    }

    pub(super) fn tenant(&self, tenant: TenantId) -> Result<(), Limited> {
        self.tenant.check(&tenant)
    }

    pub(super) fn caller(&self, index: usize) -> Result<(), Limited> {
        self.caller.check(&index)
    }

    /// Whether a license of this id, should there be one, is looked at.
    pub(super) fn license(&self, id: LicenseId) -> Result<(), Limited> {
        self.license.check(&id)
    }

    /// The same on a page that is published to the web.
    pub(super) fn public_license(&self, id: LicenseId) -> Result<(), Limited> {
        self.public_license.check(&id)
    }

    /// Whether an activation key of this tenant's is judged.
    pub(super) fn may_activate(
        &self,
        tenant: TenantId,
        ip: IpAddr,
        now: Instant,
    ) -> Result<(), Limited> {
        self.activations.check(tenant, ip, now)
    }

    /// Counts an activation key that was not accepted.
    pub(super) fn failed_to_activate(&self, tenant: TenantId, ip: IpAddr, now: Instant) {
        self.activations.count(tenant, ip, true, now);
    }

    /// Whether a licensee that was typed for this license id, by its digest, is judged.
    pub(super) fn may_show(&self, id: [u8; 32], ip: IpAddr, now: Instant) -> Result<(), Limited> {
        self.licenses.check(id, ip, now)
    }

    /// Counts a license id and licensee that were not recognized; `new` says that the same were not
    /// shown elsewhere just now.
    pub(super) fn failed_to_show(&self, id: [u8; 32], ip: IpAddr, new: bool, now: Instant) {
        self.licenses.count(id, ip, new, now);
    }

    /// Whether this tenant is looked at because somebody at this address says, without our link, that
    /// it has consented. Counted as a wrong key is, whatever becomes of it: which tenants we know is
    /// nobody's business.
    pub(super) fn consent(&self, ip: IpAddr, tenant: TenantId) -> Result<(), Limited> {
        self.wrong(ip)?;
        self.consents.check(&tenant)
    }

    /// Counts a wrong key. The one that goes over the limit is told so instead of being judged.
    pub(super) fn wrong(&self, ip: IpAddr) -> Result<(), Limited> {
        self.wrong.check(&ip)
    }
}

/// A limit was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limited {
    /// Which.
    pub(super) rule: &'static str,
    /// After how many seconds it is open again.
    pub(super) wait_s: u32,
}

impl From<Limited> for Problem {
    fn from(it: Limited) -> Self {
        let detail = format!("ask again in {} s, and less often", it.wait_s);
        Self::too_many(detail).retry_after(it.wait_s)
    }
}

struct Table<K: Clone + Eq + Hash> {
    rule: &'static str,
    checks: AtomicU32,
    limiter: DefaultKeyedRateLimiter<K>,
}

impl<K: Clone + Eq + Hash> Table<K> {
    fn new(rule: &'static str, rate: Rate) -> Self {
        // One comes back each `per / burst`; a rate of no time at all is one a nanosecond.
        let each = (rate.per / rate.burst.get()).max(Duration::from_nanos(1));
        let quota = Quota::with_period(each).unwrap_or(Quota::per_second(rate.burst));
        let quota = quota.allow_burst(rate.burst);
        Self { rule, checks: AtomicU32::new(0), limiter: DefaultKeyedRateLimiter::keyed(quota) }
    }

    fn check(&self, key: &K) -> Result<(), Limited> {
        // Bounded: entries that have recovered are worth nothing. Those that have not are at most
        // as many as requests came in one recovery time, which other limits bound.
        let look = self.checks.fetch_add(1, Ordering::Relaxed).is_multiple_of(LOOK_EVERY);
        if look && self.limiter.len() >= ENTRIES_MAX {
            self.limiter.retain_recent();
        }
        self.limiter.check_key(key).map_err(|not_until| {
            let wait = not_until.wait_time_from(DefaultClock::default().now());
            let wait_s = u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).saturating_add(1);
            Limited { rule: self.rule, wait_s }
        })
    }
}

/// Whose request it is: the connection's address, or what a proxy on this machine says it is.
///
/// Only a local peer is believed, and of what it sends only the last entry, which it added itself.
/// An IPv6 client holds a /64, so that is what counts as one address.
pub(super) fn client(peer: IpAddr, headers: &HeaderMap) -> IpAddr {
    let forwarded = || {
        let last = headers.get_all("x-forwarded-for").iter().next_back()?.to_str().ok()?;
        last.rsplit(',').next()?.trim().parse::<IpAddr>().ok()
    };
    let ip = if peer.is_loopback() { forwarded().unwrap_or(peer) } else { peer };
    match ip.to_canonical() {
        v4 @ IpAddr::V4(_) => v4,
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_proxy_on_this_machine_is_believed() {
        let check = |peer: &str, forwarded: &[&str], expected: &str| {
            let mut headers = HeaderMap::new();
            for it in forwarded {
                headers.append("x-forwarded-for", it.parse().unwrap());
            }
            let found = client(peer.parse().unwrap(), &headers);
            assert_eq!(found, expected.parse::<IpAddr>().unwrap(), "{peer} {forwarded:?}");
        };
        check("203.0.113.7", &["198.51.100.1"], "203.0.113.7");
        check("127.0.0.1", &[], "127.0.0.1");
        check("127.0.0.1", &["6.6.6.6, 198.51.100.1"], "198.51.100.1");
        check("127.0.0.1", &["6.6.6.6", "198.51.100.1"], "198.51.100.1");
        check("127.0.0.1", &["nonsense"], "127.0.0.1");
        check("2001:db8::1:2:3:4", &[], "2001:db8::");
        check("::ffff:203.0.113.7", &[], "203.0.113.7");
    }

    #[test]
    fn entries_that_have_recovered_are_dropped() {
        let table = Table::new("address", Rate { burst: NonZeroU32::MIN, per: Duration::ZERO });
        for key in 0..=(2 * ENTRIES_MAX) {
            assert!(table.check(&key).is_ok());
        }
        let most = ENTRIES_MAX + usize::try_from(LOOK_EVERY).unwrap();
        assert!(table.limiter.len() <= most, "{}", table.limiter.len());
    }

    #[test]
    fn a_burst_ends_and_the_wait_is_told() {
        let per = Duration::from_mins(1);
        let table = Table::new("wrong", Rate { burst: NonZeroU32::new(3).unwrap(), per });
        assert!((0..3).all(|_| table.check(&1).is_ok()));
        let limited = table.check(&1).unwrap_err();
        assert!((15..=21).contains(&limited.wait_s), "{limited:?}");
        assert!(table.check(&2).is_ok(), "another key has its own allowance");
    }
}
