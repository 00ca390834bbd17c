//! Which subscriptions to make, to renew, to make anew. Pure: time is an argument.
//!
//! A failed one is tried again later and costs nothing but freshness. When Graph says several times
//! in a row that it cannot verify our address, the address is at fault, and all rest; any other
//! refusal concerns the one subscription only.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::Address;
use crate::domain::{
    Cloud, Consent, GraphSubscription, Mirror, Outcome, SourceKey, TenantId, TenantView, Watched,
    has_passed,
};
use crate::microsoft::{ErrorKind, MicrosoftError};
use crate::sync::spread;

/// How long a subscription is asked for, a little below what Microsoft allows.
///
/// Source: graph-licensing.md section 6: 41,760 minutes.
pub(super) const LIFE: SignedDuration = SignedDuration::from_hours(28 * 24);
/// Each is renewed half way, up to so much earlier by its tenant: not all on one day.
const EARLIER_BY: SignedDuration = SignedDuration::from_hours(4 * 24);
/// Subscriptions at most.
///
/// Source: graph-licensing.md section 6: 50,000 of an app over all tenants.
const COUNT_MAX: usize = 45_000;
/// After a failure that passes by itself, doubled with each; and at most.
const AGAIN: SignedDuration = SignedDuration::from_mins(1);
const AGAIN_MAX: SignedDuration = SignedDuration::from_hours(6);
/// Addresses that could not be verified in a row before all rest, and for how long.
const UNVERIFIED_MAX: u32 = 3;
const UNVERIFIED_REST: SignedDuration = SignedDuration::from_hours(1);

/// Which subscription.
pub(super) type Key = (TenantId, Watched);

/// What is to be done about one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    Make(Key),
    Renew(Arc<GraphSubscription>),
    /// It notifies another address than ours is now.
    Replace(Arc<GraphSubscription>),
    /// Nobody wants to be told any more.
    End(Arc<GraphSubscription>),
    /// It has run out, and nobody wants another.
    Forget(Key),
}

impl Deed {
    pub(super) fn key(&self) -> Key {
        match self {
            Self::Make(key) | Self::Forget(key) => *key,
            Self::Renew(it) | Self::Replace(it) | Self::End(it) => (it.tenant, it.watched),
        }
    }
}

/// What somebody should hear of a failure: not of each of thousands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// Nothing: it is tried again.
    Nothing,
    /// Graph cannot verify our address.
    Address,
    /// Graph takes what we ask for as wrong; it will hardly take it the next time.
    Refusal,
}

/// What failed lately.
#[derive(Debug, Default)]
pub(super) struct Failures {
    of: HashMap<Key, (u32, Timestamp)>,
    unverified: u32,
    refusal_heard: bool,
    all_rest_until: Option<Timestamp>,
}

impl Failures {
    fn rests(&self, key: Key, now: Timestamp) -> bool {
        let ahead = |until: Timestamp| now < until && until.duration_since(now) <= AGAIN_MAX;
        self.all_rest_until.is_some_and(ahead) || self.of.get(&key).is_some_and(|it| ahead(it.1))
    }

    /// It is well. If Graph made it anew it has found our address.
    pub(super) fn over(&mut self, key: Key, found_us: bool) {
        self.of.remove(&key);
        if found_us {
            (self.unverified, self.all_rest_until) = (0, None);
            self.refusal_heard = false;
        }
    }

    /// How many could not be had, and are tried again.
    pub(super) fn count(&self) -> usize {
        self.of.len()
    }

    /// It failed. What somebody should hear of it.
    pub(super) fn failed(&mut self, key: Key, error: &MicrosoftError, now: Timestamp) -> Heard {
        let times = self.of.get(&key).map_or(0, |it| it.0).saturating_add(1);
        let doubled = AGAIN.saturating_mul(1_i32.checked_shl(times.min(10)).unwrap_or(i32::MAX));
        let asked = error.asked_wait().and_then(|it| SignedDuration::try_from(it).ok());
        let rest = match error.kind() {
            ErrorKind::Consent | ErrorKind::National => AGAIN_MAX,
            ErrorKind::Transient
            | ErrorKind::Throttled
            | ErrorKind::Credential
            | ErrorKind::Resync
            | ErrorKind::RestartSequence
            | ErrorKind::NotFound
            | ErrorKind::Unreadable
            | ErrorKind::Refused
            | ErrorKind::Rejected
            | ErrorKind::Locked => asked.unwrap_or(doubled).max(doubled).min(AGAIN_MAX),
        };
        self.of.insert(key, (times, now.saturating_add(rest).unwrap_or(now)));
        if !error.is_address_unverified() {
            let refused = error.kind() == ErrorKind::Unreadable && !self.refusal_heard;
            self.refusal_heard |= refused;
            return if refused { Heard::Refusal } else { Heard::Nothing };
        }
        self.unverified = self.unverified.saturating_add(1);
        if self.unverified >= UNVERIFIED_MAX {
            self.all_rest_until = now.saturating_add(UNVERIFIED_REST).ok();
        }
        let heard = self.unverified == 1 || self.unverified == UNVERIFIED_MAX;
        if heard { Heard::Address } else { Heard::Nothing }
    }
}

/// What is due, tenant by tenant. Without an address nobody is to tell us anything.
pub(super) fn due(
    mirror: &Mirror,
    address: Option<&Address>,
    cared_for: &BTreeSet<Key>,
    failures: &Failures,
    now: Timestamp,
) -> Vec<Deed> {
    let mut count = mirror.graph_subscriptions().count();
    let mut due = Vec::new();
    for view in mirror.tenants() {
        for watched in Watched::ALL {
            let key = (view.tenant.id, watched);
            if failures.rests(key, now) {
                continue;
            }
            let there = mirror.graph_subscriptions().of(key.0, watched);
            let wanted = address.is_some() && wanted(mirror, view, watched);
            match there {
                None if wanted && count < COUNT_MAX => {
                    count = count.saturating_add(1);
                    due.push(Deed::Make(key));
                }
                Some(it) if it.expires <= now => {
                    due.push(if wanted { Deed::Make(key) } else { Deed::Forget(key) });
                }
                Some(it) if address.is_none() => due.push(Deed::End(Arc::clone(it))),
                Some(it) if address.is_some_and(|address| it.url != address.notifications) => {
                    due.push(Deed::Replace(Arc::clone(it)));
                }
                Some(it) if cared_for.contains(&key) || renewable(it, now) => {
                    due.push(Deed::Renew(Arc::clone(it)));
                }
                None | Some(_) => {}
            }
        }
    }
    due
}

/// Whether somebody there holds what is ours, and we may look.
fn wanted(mirror: &Mirror, view: &TenantView, watched: Watched) -> bool {
    let (tenant, read) = (&view.tenant, |it: Option<Timestamp>| it.is_some());
    let ours = tenant.consent == Consent::Granted
        && tenant.cloud == Cloud::Public
        && read(view.directory.last_complete)
        && !view.skus.is_empty();
    ours && match watched {
        Watched::Users => true,
        Watched::Groups => {
            let state = mirror.source(SourceKey::groups(tenant.id));
            !view.groups.groups.is_empty()
                && state.is_some_and(|it| it.last_outcome != Some(Outcome::Failed))
        }
    }
}

/// Half way to its end, or up to [`EARLIER_BY`] before that; or renewed in what is the future.
fn renewable(it: &GraphSubscription, now: Timestamp) -> bool {
    let half = it.expires.duration_since(it.renewed) / 2;
    let earlier = spread(it.tenant, EARLIER_BY).min(half / 2);
    has_passed(half - earlier, it.renewed, now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        CapabilityStatus, ClientState, Commit, GraphSubscriptionWrite, Sku, SkuId, SourceState,
        Tenant, Units,
    };
    use uuid::Uuid;

    const NOW: i64 = 1_795_000_000;

    fn at(hours: i64) -> Timestamp {
        Timestamp::from_second(NOW + hours * 3_600).unwrap()
    }

    fn tenant(n: u128) -> TenantId {
        TenantId::from_uuid(Uuid::from_u128(n)).unwrap()
    }

    fn address(base: &str) -> Address {
        Address::below(&base.parse().unwrap())
    }

    /// A tenant that was read and has a SKU of ours.
    fn read(n: u128, consent: Consent) -> Commit {
        let id = tenant(n);
        let sku = Sku {
            id: SkuId::from_uuid(Uuid::from_u128(9)),
            part_number: "X".into(),
            status: CapabilityStatus::Enabled,
            service_plans: Vec::new(),
            units: Units::default(),
            next_lifecycle: None,
            missing_since: None,
        };
        let state = SourceState { last_complete: Some(at(0)), ..SourceState::default() };
        Commit {
            tenants: vec![Tenant { id, name: None, consent, cloud: Cloud::Public }],
            skus: vec![(id, vec![sku])],
            sources: vec![(SourceKey::directory(id), state)],
            ..Commit::default()
        }
    }

    fn subscribed(n: u128, base: &str) -> Commit {
        let it = GraphSubscription {
            tenant: tenant(n),
            watched: Watched::Users,
            id: n.to_string().into(),
            client_state: ClientState::new([1; 32]),
            url: address(base).notifications,
            renewed: at(0),
            expires: at(28 * 24),
        };
        let graph_subscriptions = vec![GraphSubscriptionWrite::Put(Arc::new(it))];
        Commit { graph_subscriptions, ..Commit::default() }
    }

    const BASE: &str = "https://x.example/";

    fn words(mirror: &Mirror, cared_for: &BTreeSet<Key>, hours: i64) -> Vec<String> {
        words_at(mirror, Some(&address(BASE)), cared_for, hours)
    }

    fn words_at(
        mirror: &Mirror,
        address: Option<&Address>,
        cared_for: &BTreeSet<Key>,
        hours: i64,
    ) -> Vec<String> {
        let due = due(mirror, address, cared_for, &Failures::default(), at(hours));
        let word = |it: &Deed| match it {
            Deed::Make(_) => "make",
            Deed::Renew(_) => "renew",
            Deed::Replace(_) => "replace",
            Deed::End(_) => "end",
            Deed::Forget(_) => "forget",
        };
        due.iter().map(|it| format!("{} {}", word(it), it.key().0.as_uuid().as_u128())).collect()
    }

    #[test]
    fn only_tenants_that_let_us_in_and_hold_something_are_subscribed_for() {
        let mut mirror = Mirror::default();
        let none = BTreeSet::new();
        for (n, consent) in [(1, Consent::Granted), (2, Consent::Revoked), (3, Consent::Unknown)] {
            mirror = mirror.applied(&read(n, consent));
        }
        mirror = mirror.applied(&Commit { skus: Vec::new(), ..read(4, Consent::Granted) });
        assert_eq!(words(&mirror, &none, 0), ["make 1"]);
        let mirror = mirror.applied(&subscribed(1, BASE));
        assert_eq!(words(&mirror, &none, 0), [""; 0]);
        assert_eq!(words(&mirror, &none, 9 * 24), [""; 0], "renewed within five days of half way");
        assert_eq!(words(&mirror, &none, 14 * 24), ["renew 1"]);
        assert_eq!(words(&mirror, &none, -100), ["renew 1"], "the clock was set back");
        assert_eq!(words(&mirror, &none, 29 * 24), ["make 1"], "it has run out");
        let care = BTreeSet::from([(tenant(1), Watched::Users)]);
        assert_eq!(words(&mirror, &care, 1), ["renew 1"], "reauthorizationRequired");
        let revoked = mirror.applied(&read(1, Consent::Revoked));
        assert_eq!(words(&revoked, &none, 1), [""; 0], "it may come back");
        assert_eq!(words(&revoked, &none, 29 * 24), ["forget 1"]);
        let moved = mirror.applied(&subscribed(1, "https://old.example"));
        assert_eq!(words(&moved, &none, 1), ["replace 1"]);
        let off = |it: &Mirror, hours| words_at(it, None, &none, hours);
        assert_eq!(
            (off(&mirror, 1), off(&mirror, 14 * 24)),
            (vec!["end 1".to_owned()], vec!["end 1".to_owned()])
        );
        assert_eq!(off(&mirror, 29 * 24), ["forget 1"]);
        assert_eq!(off(&Mirror::default().applied(&read(1, Consent::Granted)), 1), [""; 0]);
    }

    #[test]
    fn who_fails_waits_longer_each_time_and_an_address_at_fault_lets_all_rest() {
        let (mut failures, key) = (Failures::default(), (tenant(1), Watched::Users));
        let other = (tenant(2), Watched::Users);
        let transient = MicrosoftError::new(ErrorKind::Transient, "x");
        let mut rests = Vec::new();
        for _ in 0..12 {
            assert_eq!(failures.failed(key, &transient, at(0)), Heard::Nothing);
            let minutes = (0..1_000).find(|it| {
                !failures.rests(key, at(0).saturating_add(SignedDuration::from_mins(*it)).unwrap())
            });
            rests.push(minutes.unwrap());
        }
        assert_eq!(rests[..4], [2, 4, 8, 16]);
        assert_eq!(rests[11], 360);
        assert!(
            !failures.rests(other, at(0)) && !failures.rests(key, at(-24)),
            "the clock is back"
        );
        let unverified = MicrosoftError::new(ErrorKind::Unreadable, "x").address_unverified();
        let told: Vec<_> = (3..9_u128)
            .map(|it| failures.failed((tenant(it), Watched::Users), &unverified, at(0)))
            .collect();
        let (address, nothing) = (Heard::Address, Heard::Nothing);
        assert_eq!(told, [address, nothing, address, nothing, nothing, nothing]);
        assert!(failures.rests(other, at(0)) && !failures.rests(other, at(1)));
        failures.over(key, false);
        assert!(failures.rests(other, at(0)), "renewing one says nothing of the address");
        failures.over(key, true);
        assert!(!failures.rests(other, at(0)) && !failures.rests(key, at(0)));
    }

    #[test]
    fn a_refusal_that_says_nothing_of_our_address_concerns_one_subscription_only() {
        let mut failures = Failures::default();
        let refused = MicrosoftError::new(ErrorKind::Unreadable, "x");
        let unverified = refused.clone().address_unverified();
        let key = |n: u128| (tenant(n), Watched::Users);
        let mut fails = |n, error| failures.failed(key(n), error, at(0));
        let told: Vec<_> = (1..9).map(|it| fails(it, &refused)).collect();
        assert_eq!(told[..3], [Heard::Refusal, Heard::Nothing, Heard::Nothing]);
        assert!(told[3..].iter().all(|it| *it == Heard::Nothing));
        // Nor does it make the count of addresses begin anew, or count with them.
        let told = [&unverified, &refused, &unverified].map(|error| fails(20, error));
        assert_eq!(told, [Heard::Address, Heard::Nothing, Heard::Nothing]);
        assert!((1..9).all(|it| failures.rests(key(it), at(0))), "each waits by itself");
        assert!(!failures.rests(key(30), at(0)), "nobody else does");
        assert_eq!(failures.failed(key(21), &unverified, at(0)), Heard::Address);
        assert!(failures.rests(key(30), at(0)), "the third time in a row");
        failures.over(key(1), true);
        assert_eq!(failures.failed(key(2), &refused, at(0)), Heard::Refusal, "heard anew");
    }
}
