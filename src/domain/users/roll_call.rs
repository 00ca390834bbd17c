//! Who of a table's users was named by a list: a bit for each, and not a copy of him.

use super::{Bucket, UserId, UserTable};

/// A table of users, each of whom is called or not.
#[derive(Clone, Debug)]
pub struct RollCall {
    table: UserTable,
    /// How many users are in the buckets before each.
    before: Vec<usize>,
    /// A bit for each user, in the order of the buckets.
    called: Vec<u64>,
}

impl RollCall {
    /// Nobody of this table was called yet.
    pub fn of(table: UserTable) -> Self {
        let before = table.buckets().scan(0_usize, |all, bucket| {
            let before = *all;
            *all = all.saturating_add(Bucket::of(bucket).len());
            Some(before)
        });
        let (before, words) = (before.collect(), table.len().div_ceil(Self::BITS));
        Self { table, before, called: vec![0; words] }
    }

    const BITS: usize = 64;

    /// This user was called. Nothing happens if he is not in the table.
    pub fn call(&mut self, user: UserId) {
        let Some((word, bit)) = self.place(user) else { return };
        if let Some(word) = self.called.get_mut(word) {
            *word |= bit;
        }
    }

    /// Whether he was called: never, if he is not in the table.
    pub fn was_called(&self, user: UserId) -> bool {
        self.place(user).is_some_and(|place| self.is_set(place))
    }

    /// Those of the table who were not called.
    pub fn not_called(&self) -> impl Iterator<Item = UserId> {
        let users = self.table.buckets().flat_map(|it| Bucket::of(it).users());
        users.enumerate().filter(|(at, _)| !self.is_set(Self::bit(*at))).map(|(_, user)| user)
    }

    /// Whether he is in the table.
    pub fn knows(&self, user: UserId) -> bool {
        self.table.contains(user)
    }

    fn place(&self, user: UserId) -> Option<(usize, u64)> {
        let index = self.table.bucket_of(user);
        let in_bucket = Bucket::of(self.table.bucket(index)?).position(user)?;
        Some(Self::bit(self.before.get(index)?.saturating_add(in_bucket)))
    }

    fn bit(at: usize) -> (usize, u64) {
        (at / Self::BITS, 1 << (at % Self::BITS))
    }

    fn is_set(&self, (word, bit): (usize, u64)) -> bool {
        self.called.get(word).is_some_and(|it| it & bit != 0)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::domain::{Licence, SkuId, UserLicences};

    fn user(n: u16) -> UserId {
        UserId::from_uuid(Uuid::from_u128(u128::from(n)))
    }

    proptest! {
        #[test]
        fn who_was_not_called_is_the_table_without_who_was(
            there in prop::collection::btree_set(0_u16..400, 0..200),
            called in prop::collection::vec(0_u16..400, 0..200),
        ) {
            let sku = SkuId::from_uuid(Uuid::from_u128(1));
            let seat = Licence { sku, assigned: true, disabled_plans: vec![], paths: vec![] };
            let holds = UserLicences::new(vec![seat]);
            let table = UserTable::new(there.iter().map(|it| (user(*it), holds.clone())));
            let mut roll = RollCall::of(table);
            for it in &called {
                roll.call(user(*it));
            }
            let called: BTreeSet<u16> = called.into_iter().collect();
            let left: BTreeSet<UserId> = there.difference(&called).map(|it| user(*it)).collect();
            prop_assert_eq!(roll.not_called().collect::<BTreeSet<_>>(), left);
            for it in 0..400 {
                let both = there.contains(&it) && called.contains(&it);
                prop_assert_eq!(roll.was_called(user(it)), both);
                prop_assert_eq!(roll.knows(user(it)), there.contains(&it));
            }
        }
    }
}
