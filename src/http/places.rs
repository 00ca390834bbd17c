//! Places that are given out and given back: connections and requests at once, in all and to one
//! address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// How many places each address of another machine holds. As large as the number of places in all,
/// so bounded.
#[derive(Default)]
pub(super) struct Addresses(Mutex<HashMap<IpAddr, usize>>);

/// One place of an address; given back when dropped.
pub(super) struct Place {
    addresses: Arc<Addresses>,
    /// `None` if it is not counted.
    ip: Option<IpAddr>,
}

impl Addresses {
    /// One more place for this address, if it may have one. This machine always may: a proxy on it
    /// brings everybody.
    pub(super) fn enter(self: &Arc<Self>, ip: IpAddr, max: usize) -> Option<Place> {
        if ip.is_loopback() {
            return Some(Place { addresses: Arc::clone(self), ip: None });
        }
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = held.entry(ip).or_default();
        if *count >= max {
            return None;
        }
        *count = count.saturating_add(1);
        Some(Place { addresses: Arc::clone(self), ip: Some(ip) })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(ip) = self.ip else { return };
        let mut held = self.addresses.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = held.get_mut(&ip) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                held.remove(&ip);
            }
        }
    }
}

/// Requests at once that share a number of places. One address has at most half of them: whoever
/// sends slowly, or much, leaves room for the others.
///
/// Source: `reliability.md` section 4.1 (load shedding, reserved lanes).
pub(super) struct Lane {
    max: usize,
    taken: AtomicUsize,
    addresses: Arc<Addresses>,
}

/// A request's place in a lane; given back when dropped.
pub(super) struct Taken<'a> {
    lane: &'a Lane,
    _of_address: Place,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoPlace {
    /// All are taken.
    Full,
    /// This address holds its half.
    AddressFull,
}

impl NoPlace {
    /// As it is counted.
    pub(super) const fn rule(self) -> &'static str {
        match self {
            Self::Full => "in_flight",
            Self::AddressFull => "in_flight_of_address",
        }
    }
}

impl Lane {
    pub(super) fn new(max: usize) -> Self {
        Self { max, taken: AtomicUsize::new(0), addresses: Arc::default() }
    }

    /// A place for a request of this address.
    pub(super) fn enter(&self, ip: IpAddr) -> Result<Taken<'_>, NoPlace> {
        let half = self.max.div_ceil(2);
        let of_address = self.addresses.enter(ip, half).ok_or(NoPlace::AddressFull)?;
        let before = self.taken.fetch_add(1, Ordering::Relaxed);
        // From here on dropping gives the place back, whether or not it was one too many.
        let taken = Taken { lane: self, _of_address: of_address };
        if before < self.max { Ok(taken) } else { Err(NoPlace::Full) }
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.lane.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: [u8; 4] = [203, 0, 113, 7];
    const OTHER: [u8; 4] = [203, 0, 113, 8];

    #[test]
    fn an_address_gets_so_many_places_and_gets_them_back() {
        let (addresses, ip) = (Arc::new(Addresses::default()), IpAddr::from(ONE));
        let first = addresses.enter(ip, 2);
        let second = addresses.enter(ip, 2);
        assert!(first.is_some() && second.is_some() && addresses.enter(ip, 2).is_none());
        assert!(addresses.enter(IpAddr::from(OTHER), 2).is_some(), "another's are its own");
        drop(first);
        assert!(addresses.enter(ip, 2).is_some());
        drop(second);
        assert!(addresses.0.lock().unwrap().is_empty());
    }

    #[test]
    fn a_proxy_on_this_machine_brings_everybody() {
        let addresses = Arc::new(Addresses::default());
        for ip in ["127.0.0.1", "127.8.8.8", "::1"] {
            let places: Vec<_> = (0..9).map(|_| addresses.enter(ip.parse().unwrap(), 2)).collect();
            assert!(places.iter().all(Option::is_some), "{ip}");
        }
    }

    #[test]
    fn one_address_has_half_of_a_lane() {
        let lane = Lane::new(4);
        let enter = |ip: [u8; 4]| lane.enter(ip.into());
        let (first, second) = (enter(ONE), enter(ONE));
        assert!(first.is_ok() && second.is_ok());
        assert_eq!(enter(ONE).err(), Some(NoPlace::AddressFull));
        let (third, fourth) = (enter(OTHER), enter([127, 0, 0, 1]));
        assert!(third.is_ok() && fourth.is_ok());
        assert_eq!(enter([203, 0, 113, 9]).err(), Some(NoPlace::Full));
        drop(first);
        assert!(enter(ONE).is_ok());
        drop((second, third, fourth));
        assert_eq!(lane.taken.load(Ordering::Relaxed), 0, "all were given back");
        assert!(lane.addresses.0.lock().unwrap().is_empty());
        assert_eq!(Lane::new(0).enter([127, 0, 0, 1].into()).err(), Some(NoPlace::Full));
    }
}
