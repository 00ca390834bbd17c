//! The groups of a tenant as Microsoft sees them: who is a member, what they carry, and what of that
//! has reached whom. Membership is the cause, and what a user has comes later.
//!
//! Source: graph-licensing.md sections 4.2 and 5.4.

use super::{GROUPS, SKUS, Tenant, USERS, User, bits, group_id, sku_id, user_id};
use crate::domain::{GroupId, SkuId, UserId};
use crate::microsoft::{AssignedLicence, GroupRow, MemberKind, MemberRow, Removed};
use crate::planted::Chance;

/// Whether a group is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::sync::sim) enum Standing {
    #[default]
    Here,
    /// It can be restored.
    Deleted,
    /// It is gone for good.
    Purged,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Group {
    /// A bit for each user.
    members: u16,
    /// A bit for each SKU.
    pub(super) skus: u8,
    standing: Standing,
    /// Since when it stands so.
    since: u64,
}

/// What has reached a user through a group; a bit for each SKU.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reached {
    /// What was meant for him.
    pub(super) given: u8,
    /// What of it he did not get.
    pub(super) failed: u8,
    /// Because there was no seat.
    short: u8,
    /// Because he has something that excludes it.
    excluded: u8,
    /// What he would not get for that reason, the next time.
    pub(super) bars: u8,
}

impl Reached {
    /// Why he did not get this SKU.
    pub(super) fn error(self, sku: u8) -> Option<&'static str> {
        let words = [
            (self.short, "CountViolation"),
            (self.excluded, "MutuallyExclusiveViolation"),
            (self.failed, "Other"),
        ];
        words.into_iter().find(|(why, _)| why & sku != 0).map(|(_, word)| word)
    }
}

/// Which group this is.
pub(in crate::sync::sim) fn group_number(group: GroupId) -> u8 {
    (group.as_uuid().as_u128() & 0xff) as u8 - 1
}

impl Tenant {
    fn group(&mut self, group: u8) -> &mut Group {
        &mut self.groups[usize::from(group)]
    }

    pub(super) fn join(&mut self, group: u8, user: u8) {
        self.belong(group, user, true);
    }

    pub(super) fn leave(&mut self, group: u8, user: u8) {
        self.belong(group, user, false);
    }

    fn belong(&mut self, group: u8, user: u8, here: bool) {
        let (bit, next) = (1_u16 << user, self.now + 1);
        let it = self.group(group);
        if it.standing == Standing::Here && (it.members & bit != 0) != here {
            it.members ^= bit;
            self.moved.insert((group, user), next);
        }
    }

    /// The group carries this SKU, if it is there.
    pub(super) fn carry(&mut self, group: u8, sku: u8) {
        let it = self.group(group);
        if it.standing == Standing::Here {
            it.skus |= sku;
        }
    }

    /// It does no longer. Where something depends on it, what members inherited becomes their own.
    pub(super) fn no_longer_carry(&mut self, group: u8, sku: u8, chance: &mut Chance) {
        self.group(group).skus &= !sku;
        if chance.once_in(4) {
            for it in self.users.values_mut() {
                let reached = it.through[usize::from(group)];
                it.direct |= reached.given & !reached.failed & sku;
            }
        }
    }

    /// It is deleted, which is refused while it carries something; or restored; or gone for good.
    pub(super) fn come_or_go(&mut self, group: u8, chance: &mut Chance) {
        let next = self.now + 1;
        let it = self.group(group);
        let standing = match it.standing {
            Standing::Here if it.skus == 0 => Standing::Deleted,
            Standing::Deleted if chance.once_in(3) => Standing::Purged,
            Standing::Deleted => Standing::Here,
            same @ (Standing::Here | Standing::Purged) => same,
        };
        if standing != it.standing {
            (it.standing, it.since) = (standing, next);
        }
        if standing == Standing::Purged {
            it.members = 0;
        }
    }

    /// A deleted user is gone for good. No group tells of it.
    pub(super) fn purge(&mut self, user: u8) {
        self.users.remove(&user);
        self.told.insert(user, (self.now + 1, None));
        self.groups.iter_mut().for_each(|it| it.members &= !(1 << user));
    }

    /// Microsoft gives the members of a group what it carries, and takes it from who left. All of a
    /// group's SKUs or none reach a user.
    pub(super) fn process(&mut self, group: u8) {
        let Group { members, skus, .. } = self.groups[usize::from(group)];
        for user in 0..USERS {
            let Some(mut it) = self.users.get(&user).copied() else { continue };
            let reached = &mut it.through[usize::from(group)];
            let wanted = if members & (1 << user) == 0 { 0 } else { skus };
            *reached = Reached { bars: reached.bars, ..Reached::default() };
            let has = it.assigned();
            self.users.insert(user, it);
            let full = bits(wanted & !has).filter(|sku| self.is_full(*sku));
            let short = full.fold(0, |all, sku| all | (1 << sku));
            let reached = &mut it.through[usize::from(group)];
            (reached.given, reached.short) = (wanted, short);
            reached.excluded = wanted & reached.bars & !short;
            reached.failed = if reached.short | reached.excluded == 0 { 0 } else { wanted };
            self.users.insert(user, it);
        }
    }

    fn is_full(&self, sku: u8) -> bool {
        let has = |it: &&User| !it.deleted && it.assigned() & (1 << sku) != 0;
        self.users.values().filter(has).count() >= self.seats[usize::from(sku)]
    }

    pub(in crate::sync::sim) fn standing(&self, group: u8) -> Standing {
        self.groups[usize::from(group)].standing
    }

    /// Its direct members, deleted users among them.
    pub(in crate::sync::sim) fn members(&self, group: u8) -> Vec<UserId> {
        self.who(group).map(user_id).collect()
    }

    fn who(&self, group: u8) -> impl Iterator<Item = u8> + use<> {
        let members = self.groups[usize::from(group)].members;
        (0..USERS).filter(move |it| members & (1 << it) != 0)
    }

    /// The SKUs that it carries.
    pub(in crate::sync::sim) fn carried(&self, group: u8) -> Vec<SkuId> {
        bits(self.groups[usize::from(group)].skus).map(sku_id).collect()
    }

    /// How far Microsoft is with it.
    pub(in crate::sync::sim) fn processing(&self, group: u8) -> &'static str {
        let Group { members, skus, .. } = self.groups[usize::from(group)];
        let done = |(user, it): (&u8, &User)| {
            let wanted = if members & (1 << user) == 0 { 0 } else { skus };
            it.through[usize::from(group)].given == wanted
        };
        if self.users.iter().all(done) { "ProcessingComplete" } else { "ProcessingInProgress" }
    }

    /// The row of a list for each group that carries this SKU.
    pub(in crate::sync::sim) fn groups_with(&self, sku: SkuId) -> Vec<GroupRow> {
        let carries = |it: &u8| self.carried(*it).contains(&sku);
        let row = |group| GroupRow {
            licences: Some(self.carried(group).into_iter().map(licence).collect()),
            processing: Some(self.processing(group).into()),
            ..self.group_row(group, &[])
        };
        (0..GROUPS).filter(carries).map(row).collect()
    }

    /// A row of a delta: a slice of the members.
    pub(in crate::sync::sim) fn group_row(&self, group: u8, users: &[u8]) -> GroupRow {
        let members = self.groups[usize::from(group)].members;
        let member = |user: &u8| MemberRow {
            id: user_id(*user).as_uuid(),
            kind: MemberKind::User,
            removed: members & (1 << user) == 0,
        };
        let removed = match self.standing(group) {
            Standing::Here => None,
            Standing::Deleted => Some(Removed::Changed),
            Standing::Purged => Some(Removed::Deleted),
        };
        let here = removed.is_none();
        GroupRow {
            id: group_id(group),
            removed,
            name: here.then(|| format!("Group {group}").into()),
            licences: None,
            dynamic: here.then_some(false),
            processing: None,
            members: if here { users.iter().map(member).collect() } else { Vec::new() },
        }
    }

    /// What a sequence from the start tells of a group: whom of its members, and now and then of one
    /// who is none. `None`: nothing.
    pub(in crate::sync::sim) fn all_of_group(
        &self,
        group: u8,
        chance: &mut Chance,
    ) -> Option<Vec<u8>> {
        let mut users: Vec<u8> = self.who(group).collect();
        match self.standing(group) {
            Standing::Here => {
                let other = u8::try_from(chance.below(usize::from(USERS))).unwrap();
                if chance.once_in(4) && !users.contains(&other) {
                    users.push(other);
                }
                Some(users)
            }
            Standing::Deleted => chance.once_in(2).then(Vec::new),
            Standing::Purged => None,
        }
    }

    /// What a sequence tells of a group that changed after a moment. That it is gone for good it may
    /// never tell.
    pub(in crate::sync::sim) fn moved_since(
        &self,
        group: u8,
        since: u64,
        chance: &mut Chance,
    ) -> Option<Vec<u8>> {
        let it = self.groups[usize::from(group)];
        let moved = self.moved.range((group, 0)..=(group, u8::MAX));
        let users: Vec<u8> =
            moved.filter(|(_, at)| **at > since).map(|((_, user), _)| *user).collect();
        let quiet = users.is_empty() && it.since <= since;
        let untold = it.standing == Standing::Purged && chance.once_in(2);
        (!quiet && !untold).then_some(users)
    }
}

fn licence(sku: SkuId) -> AssignedLicence {
    AssignedLicence { sku, disabled_plans: Vec::new() }
}

const _: () = assert!(GROUPS < 8 && SKUS < 8 && USERS < 16, "a bit each");
