//! The places of a license's users in the two orders that are asked for: who came first, and who was
//! here longest ago. Kept beside the users, so that nobody is counted anew for each answer.

use std::cmp::Ordering;

use imbl::Vector;
use jiff::{SignedDuration, Timestamp};

use super::ANONYMOUS_FOR;

/// A place in the order in which places were taken: when, in seconds, and whose. Of two users with
/// one tag both are counted, so that it need not be unique.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Slot {
    pub(super) taken: i64,
    pub(super) tag: u64,
}

/// A place in the order of last use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Use {
    pub(super) used: i64,
    pub(super) slot: Slot,
}

/// All places of a license.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(super) struct Order {
    taken: Vector<Slot>,
    known: Vector<Use>,
    anonymous: Vector<Use>,
}

impl Order {
    /// These places, which are anonymous where it says so.
    pub(super) fn new(all: impl IntoIterator<Item = (Use, bool)>) -> Self {
        let (mut taken, mut known, mut anonymous) = (Vec::new(), Vec::new(), Vec::new());
        for (it, is_anonymous) in all {
            taken.push(it.slot);
            if is_anonymous { anonymous.push(it) } else { known.push(it) }
        }
        taken.sort_unstable();
        known.sort_unstable();
        anonymous.sort_unstable();
        Self { taken: taken.into(), known: known.into(), anonymous: anonymous.into() }
    }

    pub(super) fn insert(&mut self, it: Use, is_anonymous: bool) {
        put(&mut self.taken, it.slot);
        put(self.group(is_anonymous), it);
    }

    pub(super) fn remove(&mut self, it: Use, is_anonymous: bool) {
        take(&mut self.taken, &it.slot);
        take(self.group(is_anonymous), &it);
    }

    /// How many places were taken before this one. `looks` is told of each place that is looked at.
    pub(super) fn rank(&self, slot: Slot, looks: impl FnMut()) -> usize {
        first_not(&self.taken, |it| *it < slot, looks)
    }

    /// How many places there are: all, and the anonymous among them.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.taken.len(), self.anonymous.len())
    }

    /// The place of this number in the order in which they were taken.
    pub(super) fn nth(&self, number: usize) -> Option<Slot> {
        self.taken.get(number).copied()
    }

    /// How many were used then or later: all of them, and the anonymous among them.
    pub(super) fn used_since(&self, then: i64) -> (usize, usize) {
        let since = |all: &Vector<Use>| all.len() - first_not(all, |it| it.used < then, || ());
        let anonymous = since(&self.anonymous);
        (since(&self.known) + anonymous, anonymous)
    }

    /// How many places are free again though they are still here: all, and the anonymous among them.
    pub(super) fn free_count(
        &self,
        release_after: SignedDuration,
        now: Timestamp,
    ) -> (usize, usize) {
        let [known, anonymous] = self.groups(release_after).map(|(all, kept)| {
            let from = kept_since(kept, now);
            first_not(all, |it| it.used < from, || ())
        });
        (known + anonymous, anonymous)
    }

    /// These places themselves: few, since housekeeping takes them away.
    pub(super) fn free(&self, release_after: SignedDuration, now: Timestamp) -> Vec<Slot> {
        let mut free = Vec::new();
        for (all, kept) in self.groups(release_after) {
            let from = kept_since(kept, now);
            free.extend(all.iter().take_while(|it| it.used < from).map(|it| it.slot));
        }
        free
    }

    /// Whose place is kept for how long.
    fn groups(&self, release_after: SignedDuration) -> [(&Vector<Use>, SignedDuration); 2] {
        let anonymous = release_after.min(ANONYMOUS_FOR);
        [(&self.known, release_after), (&self.anonymous, anonymous)]
    }

    const fn group(&mut self, is_anonymous: bool) -> &mut Vector<Use> {
        if is_anonymous { &mut self.anonymous } else { &mut self.known }
    }
}

/// Whoever was here before this second has no place any more.
fn kept_since(kept: SignedDuration, now: Timestamp) -> i64 {
    let last = now.saturating_sub(kept).unwrap_or(Timestamp::MIN);
    // Times are kept to the second, rounded down: of a moment within a second the next one counts.
    last.as_second() + i64::from(last.subsec_nanosecond() > 0)
}

/// How many at the front of a sorted list are so.
fn first_not<T: Clone>(
    all: &Vector<T>,
    mut is: impl FnMut(&T) -> bool,
    mut looks: impl FnMut(),
) -> usize {
    let found = all.binary_search_by(|it| {
        looks();
        if is(it) { Ordering::Less } else { Ordering::Greater }
    });
    found.unwrap_or_else(|place| place)
}

fn put<T: Clone + Ord>(all: &mut Vector<T>, it: T) {
    let place = first_not(all, |other| *other < it, || ());
    all.insert(place, it);
}

fn take<T: Clone + Ord>(all: &mut Vector<T>, it: &T) {
    let place = first_not(all, |other| other < it, || ());
    if all.get(place) == Some(it) {
        all.remove(place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(number: u32) -> Use {
        let (taken, tag) = (i64::from(number / 3), u64::from(number));
        Use { used: i64::from(number % 997), slot: Slot { taken, tag } }
    }

    #[test]
    fn a_place_among_a_hundred_thousand_is_found_by_looking_at_a_score_of_them() {
        let all = 100_000;
        let order = Order::new((0..all).map(|it| (place(it), it % 5 == 0)));
        let mut most = 0;
        for number in (0..all).step_by(991) {
            let mut looks = 0;
            assert_eq!(order.rank(place(number).slot, || looks += 1), number as usize);
            most = most.max(looks);
        }
        assert!(most <= 18, "{most} looks");
    }

    #[test]
    fn places_that_come_and_go_stay_in_order() {
        let mut order = Order::default();
        for number in (0..2_000).rev() {
            order.insert(place(number), number % 5 == 0);
        }
        assert_eq!(order, Order::new((0..2_000).map(|it| (place(it), it % 5 == 0))));
        for number in (0..2_000).filter(|it| it % 7 != 0) {
            order.remove(place(number), number % 5 == 0);
        }
        let left = (0..2_000).filter(|it| it % 7 == 0);
        assert_eq!(order, Order::new(left.map(|it| (place(it), it % 5 == 0))));
        order.remove(place(1), false);
        assert_eq!(order.counts(), (286, 58), "what is not there is not removed");
    }
}
